/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive is back: what was asked of it while it was away is done on it first (gone_apply.h, where the crash argument is).
 *
 * A drive that comes back serves first, so that every op on it has its deadline, and is not live until
 * what is recorded for it was applied: nothing is shown from it before. Recording and becoming live
 * exclude each other (gone_gate), so no record is made for a drive that nobody applies any more. A removal that could
 * not be applied stays hidden by its record, as long as it is what was removed. What may be another version, by its change
 * time, and was not compared yet, is hidden, too, but nothing is put in its place. A name or an attribute that could
 * not be changed would show as it was: such a drive goes on returning, for as long as it takes. What it has
 * shows by the catalog and the records, as that of a drive that is away, and is read from it by the
 * paths that it has, or by reconstruction; changes are recorded, too. The monitor tries again. Each drive comes back in
 * a thread of its own (tree_drives.c). While another process applies what is recorded, as a sync one of whose drives
 * hangs, that waits for a moment only: it is as if it could not be applied. So does a drive on which what came late (gone_late.c)
 * is new and cannot be removed: what is made there from then on could be taken for it.
 *
 * What is left of a drive that is live is tried again, too, less and less often: it does not show, and takes room.
 *
 * Whoever gives such a name to something new has what is hidden taken from it first, or, if that cannot be at this
 * moment, makes it on another drive; where no other would do, he is told (MRMR_BUSY): that a name is taken by what
 * nobody sees is no answer.
 *
 * gone_gate is held over a record's being written, and taken before the tree's lock. Who holds it never
 * enters the writers: they wait for whoever waits for it.
 */
#include "pool/return/tree_return.h"
#include "pool/change/tree_change.h"
#include "pool/return/gone_apply.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_watch.h"
#include "pool/writers.h"

#include <string.h>

enum { GONE_ROUNDS = 16 };

/* What does not show, and is left, takes room only; and comparing it takes its drive's time. */
#define LEFT_MOST (3600 * MRMR_NS_PER_S)

/* As often as a drive that is out of service is looked for, and then less and less. */
static void again_after(struct tree_drive *drive, int64_t most)
{
    static const int64_t least = 3 * MRMR_NS_PER_S;
    int64_t after = 2 * drive->again_after;
    drive->again_after = after < least ? least : after > most ? most : after;
    drive->again_at = mrmr_clock_monotonic() + drive->again_after;
}

void tree_return_left(struct tree_drive *drive)
{
    if (drive->gone_left)
        return;
    drive->gone_left = true;
    again_after(drive, LEFT_MOST);
}

/* --- what has a name still --- */

static const int64_t yield_waits = MRMR_NS_PER_S / 5;

static bool in_the_way(struct pool_tree *tree, const char *folder, const char *name, size_t drive)
{
    struct tree_drive *own = &tree->drive[drive];
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct drv_stat stat;
    return own->gone_left && tree_live(own) && !tree_join(folder, name, &path) &&
           !drv_stat(own->drive->drv, path.data, &stat) &&
           tree_gone_hides_stat(tree, drive, folder, name, &stat);
}

mrmr_err tree_return_busy(const struct tree_drive *drive, const char *path)
{
    mrmr_err err = mrmr_fail(MRMR_BUSY, "what was removed by this name while the drive was away is "
                                        "on it still, and cannot be taken from it now");
    return mrmr_err_hint(mrmr_err_path(mrmr_err_drive(err, drive->drive->meta.name), path),
        "try again when no sync is under way, or run: mrmr sync");
}

static mrmr_err yields_on(
    struct pool_tree *tree, const char *folder, const char *name, size_t drive)
{
    struct tree_drive *own = &tree->drive[drive];
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, known = MRMR_BYTES_INIT;
    MRMR_TRY(tree_join(folder, name, &path));
    const bool has = !tree_catalog_path(tree, drive, path.data, &known);
    const char *const either[2] = {path.data, has ? known.data : NULL};
    atomic_store(&tree->kept, true); /* of what goes now */
    if (pool_writers_inside() ||
        pool_gone_apply_name(tree->pool, tree->gone, own->drive, &own->keeping, either,
            mrmr_clock_monotonic() + yield_waits) ||
        in_the_way(tree, folder, name, drive))
        return tree_return_busy(own, path.data);
    return MRMR_OK;
}

mrmr_err tree_return_yields(
    struct pool_tree *tree, struct tree_node *folder, const char *name, const struct tree_set *on)
{
    for (size_t i = 0; i < tree->ndrives; i++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        if (!tree_set_has(on, i) || !tree->drive[i].gone_left)
            continue;
        MRMR_TRY(tree_path(tree, folder, &path));
        if (in_the_way(tree, path.data ? path.data : "", name, i))
            MRMR_TRY(yields_on(tree, path.data ? path.data : "", name, i));
    }
    return MRMR_OK;
}

/* --- coming back --- */

struct waiting {
    size_t n, later; /* later: of these, those with which it does not become live */
};

/* A name or an attribute that would show as it was; and what may have come late and is new, or a new name: what is made there
 * from now on could be taken for it. */
static bool holds_back(const struct tree_drive *drive, const struct pool_gone_record *record)
{
    if (record->kind == POOL_GONE_LATE)
        return !pool_gone_late_is_copy(record) && drive->drive->info.caps & DRV_CAP_WRITABLE;
    return record->kind != POOL_GONE_REMOVED;
}

/* Without memory to count them something may wait. */
static struct waiting waiting(struct pool_tree *tree, const struct tree_drive *drive)
{
    struct pool_gone_list list;
    struct waiting w = {0, 0};
    if (!pool_gone_any(tree->gone))
        return w;
    if (pool_gone_list(tree->gone, drive->drive->meta.id, false, &list))
        return (struct waiting){1, 1};
    w.n = list.n;
    for (size_t i = 0; i < list.n; i++)
        w.later += holds_back(drive, &list.record[i]);
    pool_gone_list_free(&list);
    return w;
}

enum back { BACK_LIVE, BACK_AGAIN, BACK_WAITS };

/* Live: nothing was recorded meanwhile but what is hidden, from now on. Again: there is more to do. */
static enum back becomes_live(struct tree_drive *drive, size_t left)
{
    mrmr_locked(&drive->tree->gone_gate);
    const struct waiting w = waiting(drive->tree, drive);
    if (w.n > left)
        return BACK_AGAIN;
    if (w.later)
        return BACK_WAITS;
    drive->gone_left = w.n > 0; /* also of what was recorded since */
    mrmr_locked(&drive->tree->lock);
    drive->returning = false;
    if (drive->tree
            ->monitored) /* else nothing is known yet. What lies on it shows from this moment on */
        tree_unknown_locked(drive);
    return BACK_LIVE;
}

static mrmr_err apply(struct tree_drive *drive, size_t *ret_left)
{
    struct pool_tree *tree = drive->tree;
    const struct pool_job job = {.cancel = &tree->leaving};
    *ret_left = SIZE_MAX;
    drive->gone_left = true;
    if (!tree->keeper || !(drive->drive->info.caps & DRV_CAP_WRITABLE)) {
        tree_gone_refresh(tree);
        return MRMR_OK;
    }
    mrmr_err err =
        pool_gone_apply(tree->pool, &job, tree->gone, drive->drive, &drive->keeping, ret_left);
    atomic_store(&tree->kept, true);
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "what was asked of a drive while it was away");
    return err;
}

static void try_again_later(struct tree_drive *drive)
{
    again_after(drive, 60 * MRMR_NS_PER_S);
    if (!drive->told_waits)
        mrmr_log(MRMR_LOG_WARN,
            "drive %s: it is there, but what was asked of it while it was away, as names and "
            "attributes that were changed, "
            "cannot be done on it%s: until it is, nothing is written to it, and what it has "
            "is read by the catalog, under the new names",
            drive->drive->meta.name,
            drive->drive->info.caps & DRV_CAP_WRITABLE ? "" : ", which is read-only");
    drive->told_waits = true;
}

/* opens: the tree does, and looks at what was brought once all drives are live that can be (tree_bring_record.c). */
static bool returns(struct tree_drive *drive, bool opens)
{
    enum back back = BACK_AGAIN;
    for (unsigned i = 0; back == BACK_AGAIN && i < GONE_ROUNDS; i++) {
        size_t left;
        if (apply(drive, &left))
            left = SIZE_MAX;
        const bool told =
            opens || tree_brings_return(drive->tree, (size_t)(drive - drive->tree->drive));
        back = told ? becomes_live(drive, left) : BACK_WAITS;
    }
    if (back == BACK_AGAIN) /* whoever removes on and on: the rest is hidden */
        back = becomes_live(drive, SIZE_MAX);
    if (back != BACK_LIVE) {
        try_again_later(drive);
        return false;
    }
    drive->again_at = drive->again_after = 0;
    drive->told_waits = false;
    if (drive->gone_left)
        again_after(drive, LEFT_MOST);
    return true;
}

bool tree_return_begin(struct tree_drive *drive)
{
    return returns(drive, false);
}

bool tree_return_is_left(const struct tree_drive *drive)
{
    return drive->gone_left && tree_live(drive) && drive->tree->keeper &&
           drive->drive->info.caps & DRV_CAP_WRITABLE && mrmr_clock_monotonic() >= drive->again_at;
}

void tree_return_again(struct tree_drive *drive)
{
    size_t left;
    apply(drive, &left);
    mrmr_locked(&drive->tree->gone_gate);
    drive->gone_left = waiting(drive->tree, drive).n > 0; /* also of what was recorded since */
    if (drive->gone_left)
        again_after(drive, LEFT_MOST);
    else
        drive->again_at = drive->again_after = 0;
}

/* --- life --- */

mrmr_err tree_return_start(struct pool_tree *tree)
{
    MRMR_TRY(pool_gone_open(tree->pool->dirfd, tree->keeper != NULL, &tree->gone));
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_live(&tree->drive[i])) {
            tree->drive[i].returning = true;
            returns(&tree->drive[i], true);
        }
    return MRMR_OK;
}

void tree_return_stop(struct pool_tree *tree)
{
    pool_gone_close(tree->gone);
    tree->gone = NULL;
}
