/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rebuild: the content of a drive comes back, and the parity that lay on it.
 *
 *   onto a fresh drive   that one takes the lost one's place in the catalog, with its slot and
 * everything that refers to it; the lost one's uuid is retired for ever (I6). From then on the
 * drive is being rebuilt until nothing is left to do. onto itself          it is present, and files
 * on it vanished or changed: what is protected is put back. into free space      it is gone and
 * nothing takes its place: its files go to other drives, where they are exposed until the next
 * protect; the old stripes go on standing in for them until then.
 *
 * Crash argument. Rows that lie on the fresh drive already and would meet something of the lost one there go to others
 * before, each by a commit of stripe.c's; a cut leaves some, and the next run goes on. The others are the heir's: nothing that
 * they are decoded by says on which drive they lie. Taking over is one catalog transaction, which also lists what is to do;
 * before it nothing else has happened, after it the rebuild goes on from the list. Whether the drive may be given up is asked
 * before anything is done, and again right before that transaction. The rest is restore.c's, batch by batch,
 * and stripe.c's for the rows.
 *
 * A mount may be writing meanwhile, also to the fresh drive, and asks by the drive's id what stripes
 * count on. So the ids change while the writers stand still, and a new epoch begins before: its next
 * change looks first which medium has which id (tree_members.c). Where that is cut off between the
 * epoch and the transaction the mount has looked for nothing. The kernel, which uses files directly,
 * looks at nothing: while it uses one on the fresh drive, that takes over nothing.
 */
#include "pool/rebuild.h"
#include "pool/detached.h"
#include "pool/direct.h"
#include "pool/failing.h"
#include "pool/hung.h"
#include "pool/names.h"
#include "pool/retained.h"
#include "pool/touched.h"

#include "base/text.h"
#include "pool/drive.h"
#include "pool/margin.h"
#include <stdio.h>
#include <string.h>

enum { REBUILD_BATCH = 256 };

/* --- What is asked --- */

/* why: it stays there. */
static mrmr_err rebuild_onto_full(
    const struct rebuild *rebuild, const struct pool_drive *onto, const char *what, const char *why)
{
    return mrmr_err_hint(
        mrmr_fail(MRMR_CONFLICT,
            "drive '%s' holds %s already, so it cannot take the place of '%s'%s%s", onto->meta.name,
            what, rebuild->drive->meta.name, *why ? "; it stays there: " : "", why),
        "leave --onto out to rebuild into free space, which that drive's is, too; or add another "
        "empty drive");
}

static mrmr_err rebuild_find_onto(struct rebuild *rebuild, struct pool_drive **ret_onto)
{
    const char *name = rebuild->options->onto;
    struct pool_drive *onto = pool_drive_by_name(rebuild->pool, name);
    struct meta_totals totals;
    if (!onto)
        return mrmr_err_hint(mrmr_fail(MRMR_NO_DRIVE, "the pool has no drive '%s'", name),
            "add it with `mrmr add-drive`, then rebuild onto it by its name");
    if (onto == rebuild->drive)
        return mrmr_fail(
            MRMR_INVALID, "drive '%s' cannot take its own place; leave --onto out", name);
    if (rebuild->drive->presence == POOL_PRESENT)
        return mrmr_err_hint(
            mrmr_fail(MRMR_CONFLICT, "drive '%s' is present: nothing has to take its place",
                rebuild->drive->meta.name),
            "without --onto, rebuild puts back what is missing on it");
    if (!pool_drive_writable(onto))
        return mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "it cannot be written now"), name);
    MRMR_TRY(meta_totals(rebuild->pool->meta, onto->meta.id, &totals));
    if (totals.files || totals.extents)
        return rebuild_onto_full(rebuild, onto, "files", "");
    *ret_onto = onto;
    return MRMR_OK;
}

/* By its place: what is open on it goes on answering where it was unmounted lazily, or its root moved, until it is closed. */
static mrmr_err rebuild_finds(const struct pool_drive *drive)
{
    struct drv *drv = NULL;
    struct pool_identity found;
    MRMR_TRY(drv_open(drive->meta.uri, &drv));
    mrmr_err err = pool_identity_read(drv, &found);
    drv_close(drv);
    if (!err && !mrmr_uuid_equal(&found.uuid, &drive->meta.uuid))
        return mrmr_fail(MRMR_OFFLINE, "another drive is in its place");
    return err;
}

/* A drive may have gone since the pool was opened: those that answer no more are away. */
static mrmr_err rebuild_look_again(const struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        if (drive == rebuild->drive || !pool_drive_present(drive))
            continue;
        mrmr_err err = pool_drive_writable(drive) ? pool_drive_still_ours(pool, drive) : MRMR_OK;
        if (!err)
            err = rebuild_finds(drive);
        if (mrmr_ran_short(err))
            return err;
        if (!err || !pool_drive_present(drive))
            continue;
        mrmr_log_story(MRMR_LOG_WARN, "a drive does not answer, and counts as away");
        mrmr_locked(&drive->lock);
        pool_drive_verdict(drive, POOL_AWAY);
    }
    return MRMR_OK;
}

/* Another drive on which something of the stripe lies, or is still to be brought back to; NULL: no
 * drive that is connected, and no rebuild that is ended, would give more of it. */
static const struct pool_drive *rebuild_waits_for(
    const struct rebuild *rebuild, const struct meta_stripe_brief *brief)
{
    for (uint32_t i = 0; i < brief->blocks; i++) {
        const struct pool_drive *drive = pool_drive_by_id(rebuild->pool, brief->block[i].drive);
        if (drive && drive != rebuild->drive &&
            (!pool_drive_present(drive) ||
                (brief->block[i].dirty && drive->meta.state == META_DRIVE_REBUILDING)))
            return drive;
    }
    for (uint32_t i = 0; i < brief->rows; i++) {
        const struct pool_drive *drive = pool_drive_by_id(rebuild->pool, brief->row[i].drive);
        if (drive && drive != rebuild->drive && brief->row[i].state == META_ROW_OK &&
            !pool_drive_present(drive))
            return drive;
    }
    return NULL;
}

/* The drive's stripes that cannot be decoded now, and might be later; *ret_for: what the first one
 * waits for. */
static mrmr_err rebuild_count_waiting(
    const struct rebuild *rebuild, uint64_t *ret_n, const struct pool_drive **ret_for)
{
    struct pool *pool = rebuild->pool;
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    int64_t ids[REBUILD_BATCH], after = 0;
    size_t n;
    *ret_n = 0;
    if (!brief)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_stripes_of_drive(
            pool->meta, rebuild->drive->meta.id, after, ids, REBUILD_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            after = ids[i];
            MRMR_TRY(meta_stripe_brief_get(pool->meta, ids[i], brief));
            const struct pool_drive *other = rebuild_waits_for(rebuild, brief);
            if (!other || pool_brief_margin(pool, brief) >= 0)
                continue;
            if (!*ret_n)
                *ret_for = other;
            ++*ret_n;
        }
    } while (n);
    return MRMR_OK;
}

/* The other is there, and most of it can be read. */
static mrmr_err rebuild_needs_failing(
    const struct rebuild *rebuild, const struct pool_drive *other, uint64_t waiting)
{
    const char *name = rebuild->drive->meta.name;
    return mrmr_err_hint(
        mrmr_fail(MRMR_OFFLINE,
            "drive '%s' is not given up now: %llu of its stripes cannot be decoded while '%s' is "
            "out of service for its errors",
            name, (unsigned long long)waiting, other->meta.name),
        "use it again for that, as far as it can be read: mrmr attach %s; then run rebuild again",
        other->meta.name);
}

/* --- Whether it may be given up by itself --- */

/* As it is at this moment: whoever decided that may have looked a while ago. */
static mrmr_err rebuild_is_lost(struct rebuild *rebuild, bool *ret_lost)
{
    struct pool *pool = rebuild->pool;
    struct pool_drive *drive = rebuild->drive;
    struct meta_exposed_total exposed;
    struct pool_touched touched;
    unsigned out = 0;
    pool_drive_look(pool, drive);
    for (size_t i = 0; i < pool->ndrives; i++) {
        bool over;
        MRMR_TRY(pool_drive_is_over(pool, pool->drives[i], &over));
        out += !over && pool->drives[i]->presence != POOL_PRESENT &&
               pool->drives[i]->presence != POOL_DETACHED;
    }
    MRMR_TRY(meta_exposed_total(pool->meta, drive->meta.id, &exposed));
    MRMR_TRY(pool_touched_load(pool, &touched));
    *ret_lost = pool_drive_is_lost(drive) && !exposed.files && !exposed.bytes &&
                !pool_touched_count(&touched, drive->meta.id) && out <= pool_redundancy(pool);
    pool_touched_free(&touched);
    return MRMR_OK;
}

/* *ret_begins false: nothing is to be done, which the report says. */
static mrmr_err rebuild_may_begin(struct rebuild *rebuild, bool *ret_begins)
{
    *ret_begins = true;
    if (!rebuild->options->if_lost || rebuild->drive->meta.state == META_DRIVE_RETIRED)
        return MRMR_OK;
    MRMR_TRY(rebuild_is_lost(rebuild, ret_begins));
    rebuild->report->not_lost = !*ret_begins;
    return MRMR_OK;
}

/* A drive is given up for good, and its rows count no more from then on: not for a hub that came
 * unplugged, when nothing could be made again and the other stripes would be left with less. */
static mrmr_err rebuild_may_give_up(const struct rebuild *rebuild)
{
    const char *name = rebuild->drive->meta.name, *onto = rebuild->options->onto;
    const struct pool_drive *other = NULL;
    uint64_t waiting;
    if (rebuild->drive->meta.state == META_DRIVE_RETIRED || rebuild->options->accept_losses)
        return MRMR_OK;
    MRMR_TRY(rebuild_look_again(rebuild));
    MRMR_TRY(rebuild_count_waiting(rebuild, &waiting, &other));
    if (!waiting)
        return MRMR_OK;
    if (other->failing)
        return rebuild_needs_failing(rebuild, other, waiting);
    onto = onto && strcmp(onto, name) != 0 ? onto : NULL;
    return mrmr_err_hint(
        mrmr_fail(MRMR_OFFLINE,
            "drive '%s' is not given up now: %llu of its stripes cannot be decoded while '%s' is "
            "%s too",
            name, (unsigned long long)waiting, other->meta.name,
            pool_drive_present(other) ? "not whole" : "away"),
        "connect one of them, or finish its rebuild; or, if all are lost for good: mrmr rebuild "
        "%s%s%s --accept-losses",
        name, onto ? " --onto " : "", onto ? onto : "");
}

static bool rebuild_is_there(const struct pool_drive *drive)
{
    return drive->presence != POOL_AWAY && drive->presence != POOL_FOREIGN &&
           !(drive->presence == POOL_DETACHED && drive->mark_gone);
}

/* A drive that is back is not given up by any word. One that only answers again may hold its files all the same. */
static mrmr_err rebuild_is_not_back(struct rebuild *rebuild)
{
    struct pool_drive *drive = rebuild->drive;
    const bool was_there = rebuild_is_there(drive);
    if (drive->meta.state == META_DRIVE_RETIRED)
        return MRMR_OK;
    pool_views_forget(rebuild->pool, 0); /* they hold rows as they were opened before */
    pool_drive_look(rebuild->pool, drive);
    if (drive->presence != POOL_PRESENT &&
        (was_there || !rebuild_is_there(drive) || rebuild->options->accept_losses))
        return MRMR_OK;
    if (drive->presence == POOL_PRESENT)
        return mrmr_err_hint(
            mrmr_fail(MRMR_CONFLICT, "drive '%s' is back, and is not given up", drive->meta.name),
            "`mrmr rebuild %s` puts back what is missing on it; to give it up all the same, "
            "unmount or unplug it first",
            drive->meta.name);
    return mrmr_err_hint(mrmr_fail(MRMR_CONFLICT,
                             "drive '%s' answers again, and is not given up: what is on it may be "
                             "whole",
                             drive->meta.name),
        "`mrmr drives` says what is wrong with it; to give it up all the same, unmount or unplug "
        "it first");
}

struct rebuild_last {
    struct rebuild *rebuild;
    struct pool_drive *fresh; /* what takes the place; or NULL */
};

/* Nothing happens any more but the transaction: rows that had to go elsewhere first may have taken hours, in which drives go
 * and come. Drives are opened for it, which may hang: nobody waits for that. */
static mrmr_err rebuild_look_last(void *arg)
{
    const struct rebuild_last *last = arg;
    MRMR_TRY(rebuild_is_not_back(last->rebuild));
    MRMR_TRY(rebuild_may_give_up(last->rebuild));
    return last->fresh ? pool_drive_still_ours(last->rebuild->pool, last->fresh) : MRMR_OK;
}

/* --- Taking over --- */

/* Every row on the drive is lost. */
static mrmr_err rebuild_lose_rows(struct pool *pool, int64_t drive)
{
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    int64_t ids[REBUILD_BATCH], after = 0;
    if (!brief)
        return mrmr_nomem();
    for (;;) {
        size_t n;
        MRMR_TRY(meta_stripes_of_drive(pool->meta, drive, after, ids, REBUILD_BATCH, &n));
        if (!n)
            return MRMR_OK;
        for (size_t i = 0; i < n; i++) {
            MRMR_TRY(meta_stripe_brief_get(pool->meta, ids[i], brief));
            for (uint32_t j = 0; j < brief->rows; j++) {
                if (brief->row[j].drive != drive)
                    continue;
                brief->row[j].state = META_ROW_LOST;
                MRMR_TRY(meta_row_store(pool->meta, ids[i], &brief->row[j]));
            }
        }
        after = ids[n - 1];
    }
}

/* Intents for files on a medium that is gone mean nothing any more. */
static mrmr_err rebuild_forget_intents(struct pool *pool, int64_t drive)
{
    mrmr_autofree struct meta_intent *intents = calloc(REBUILD_BATCH, sizeof *intents);
    size_t n;
    if (!intents)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_intents_after(pool->meta, drive, 0, intents, REBUILD_BATCH, &n));
        for (size_t i = 0; i < n; i++)
            MRMR_TRY(meta_intent_remove(pool->meta, intents[i].id));
    } while (n);
    return MRMR_OK;
}

static mrmr_err rebuild_miss_files(struct pool *pool, int64_t drive)
{
    mrmr_autofree struct meta_node *nodes = calloc(REBUILD_BATCH, sizeof *nodes);
    int64_t after = 0;
    if (!nodes)
        return mrmr_nomem();
    for (;;) {
        size_t n;
        MRMR_TRY(meta_nodes_after(pool->meta, drive, after, nodes, REBUILD_BATCH, &n));
        if (!n)
            return pool_retained_lost(pool, drive);
        for (size_t i = 0; i < n; i++) {
            MRMR_TRY(meta_extents_mark(pool->meta, nodes[i].id, META_LIVE, META_MISSING));
            MRMR_TRY(meta_extents_mark(pool->meta, nodes[i].id, META_SUSPECT, META_MISSING));
            MRMR_TRY(pool_stale_settle(pool, &nodes[i]));
        }
        after = nodes[n - 1].id;
    }
}

/* What the catalog has of a drive is out of it if that is folders alone, bottom up. *ret_empty: all gone. */
static mrmr_err rebuild_clear_folder(struct meta *meta, int64_t folder, bool *ret_empty)
{
    mrmr_autofree struct meta_child *children = NULL;
    size_t n;
    MRMR_TRY(meta_children(meta, folder, &children, &n));
    *ret_empty = true;
    for (size_t i = 0; i < n; i++) {
        bool empty = false;
        if (children[i].node.type == META_DIR)
            MRMR_TRY(rebuild_clear_folder(meta, children[i].node.id, &empty));
        if (empty) {
            MRMR_TRY(meta_name_remove(meta, folder, children[i].name));
            MRMR_TRY(meta_node_remove(meta, children[i].node.id));
        }
        *ret_empty = *ret_empty && empty;
    }
    return MRMR_OK;
}

struct takeover {
    struct rebuild *rebuild;
    struct pool_drive *onto;
    char cause
        [POOL_MEND_CAUSE]; /* why a row on the fresh drive could not go elsewhere; "": not known */
};

/* A sync that ran since the fresh drive was added, as a daemon's does, may have put rows there: they are the
 * heir's. None of a stripe that has something on the lost one: they would lie on one drive (I6). */
static mrmr_err takeover_row(const struct takeover *t, const struct meta_stripe_brief *brief)
{
    const struct meta_drive *lost = &t->rebuild->drive->meta, *fresh = &t->onto->meta;
    bool meets = false;
    for (uint32_t i = 0; i < brief->blocks; i++)
        meets = meets || brief->block[i].drive == lost->id;
    for (uint32_t j = 0; j < brief->rows; j++)
        meets = meets || brief->row[j].drive == lost->id;
    if (meets)
        return rebuild_onto_full(
            t->rebuild, t->onto, "parity", *t->cause ? t->cause : "no other drive has room for it");
    for (uint32_t j = 0; j < brief->rows; j++) {
        struct meta_row row = brief->row[j];
        if (row.drive != fresh->id)
            continue;
        row.drive = lost->id;
        MRMR_TRY(meta_row_store(t->rebuild->pool->meta, brief->id, &row));
    }
    return MRMR_OK;
}

/* Folders that a scan found on the fresh drive are found again, on the heir. */
static mrmr_err takeover_folders(const struct takeover *t)
{
    bool empty;
    MRMR_TRY(rebuild_clear_folder(t->rebuild->pool->meta, t->onto->meta.root, &empty));
    return empty ? MRMR_OK : rebuild_onto_full(t->rebuild, t->onto, "files", "");
}

static mrmr_err takeover_rows(const struct takeover *t)
{
    struct meta *meta = t->rebuild->pool->meta;
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    int64_t ids[REBUILD_BATCH], after = 0;
    size_t n;
    if (!brief)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_stripes_of_drive(meta, t->onto->meta.id, after, ids, REBUILD_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            after = ids[i];
            MRMR_TRY(meta_stripe_brief_get(meta, ids[i], brief));
            MRMR_TRY(takeover_row(t, brief));
        }
    } while (n);
    return MRMR_OK;
}

/* What they name lies on the fresh one's medium: rows that went elsewhere, and could not be removed yet. */
static mrmr_err takeover_intents(const struct takeover *t)
{
    struct meta *meta = t->rebuild->pool->meta;
    mrmr_autofree struct meta_intent *intents = calloc(REBUILD_BATCH, sizeof *intents);
    size_t n;
    if (!intents)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_intents_after(meta, t->onto->meta.id, 0, intents, REBUILD_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            MRMR_TRY(meta_intent_remove(meta, intents[i].id));
            intents[i].drive = t->rebuild->drive->meta.id;
            MRMR_TRY(meta_intent_add(meta, &intents[i]));
        }
    } while (n);
    return MRMR_OK;
}

/* The lost drive's record gets the fresh one's medium: its uuid, place, session; the fresh one's
 * own record goes. */
static mrmr_err takeover_in(struct meta *meta, void *arg)
{
    struct takeover *t = arg;
    struct pool *pool = t->rebuild->pool;
    const struct meta_drive *lost = &t->rebuild->drive->meta, *fresh = &t->onto->meta;
    struct meta_drive heir = *fresh;
    heir.id = lost->id;
    heir.slot = lost->slot;
    heir.root = lost->root;
    heir.state = META_DRIVE_REBUILDING;
    heir.replaces = lost->uuid;
    heir.scanned = lost->scanned;
    heir.hold[0] = '\0';
    uint64_t todo;
    MRMR_TRY(pool_rebuild_tell_older(t->rebuild));
    MRMR_TRY(meta_uuid_retire(meta, &lost->uuid, lost->name));
    MRMR_TRY(pool_detached_set(meta, &lost->uuid, NULL, NULL));
    MRMR_TRY(rebuild_forget_intents(pool, lost->id));
    MRMR_TRY(takeover_intents(t));
    MRMR_TRY(meta_changes_clear(meta, lost->id, META_CHANGE_HELD));
    MRMR_TRY(rebuild_lose_rows(pool, lost->id));
    MRMR_TRY(takeover_rows(t));
    MRMR_TRY(takeover_folders(t));
    MRMR_TRY(meta_drive_remove(meta, fresh->id));
    MRMR_TRY(meta_drive_store(meta, &heir));
    MRMR_TRY(rebuild_miss_files(pool, lost->id));
    return meta_todo_add_drive(meta, POOL_REBUILD_JOB, lost->id, &todo);
}

/* Which medium is which drive changes, or whether it is one. fresh: the one that is to be; or NULL. */
static mrmr_err rebuild_among(struct rebuild *rebuild, struct pool_drive *fresh,
    mrmr_err (*change)(struct meta *meta, void *arg), void *arg)
{
    struct pool *pool = rebuild->pool;
    const int64_t id = fresh ? fresh->meta.id : 0;
    struct rebuild_last last = {rebuild, fresh};
    MRMR_TRY(pool_stop_for_after(pool, rebuild->job, &id, fresh ? 1 : 0, rebuild_look_last, &last));
    mrmr_err err = fresh ? pool_direct_none_on(pool, fresh) : MRMR_OK;
    if (!err)
        err = pool_writers_new_epoch(pool->writers);
    if (!err)
        err = meta_atomically(pool->meta, change, arg);
    pool_writers_go(pool->writers);
    return err;
}

/* Look at the drives anew. Nothing may hold on to the old ones: no view with an open row, no
 * session. */
static mrmr_err rebuild_reload(struct pool *pool)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool_drive_detach(pool, pool->drives[i]))
            mrmr_log_story(MRMR_LOG_WARN, "detaching a drive");
    pool_views_forget(pool, 0);
    pool_drives_unload(pool);
    return pool_drives_load(pool);
}

static mrmr_err rebuild_take_over(struct rebuild *rebuild)
{
    struct takeover t = {.rebuild = rebuild};
    struct pool *pool = rebuild->pool;
    struct pool_sync_report moved = {0};
    int64_t id = rebuild->drive->meta.id;
    MRMR_TRY(rebuild_find_onto(rebuild, &t.onto));
    MRMR_TRY(rebuild_may_give_up(rebuild));
    MRMR_TRY(pool_mend_leave(pool, rebuild->job, t.onto->meta.id, id, &moved, t.cause));
    rebuild->report->rows += moved.rows_made;
    MRMR_TRY(pool_drive_still_ours(pool, t.onto));
    MRMR_TRY(pool_drive_detach(pool, t.onto));
    MRMR_TRY(rebuild_among(rebuild, t.onto, takeover_in, &t));
    MRMR_TRY(rebuild_reload(pool));
    rebuild->drive = pool_drive_by_id(pool, id);
    if (!pool_drive_writable(rebuild->drive))
        return mrmr_fail(MRMR_OFFLINE, "the fresh drive went away");
    MRMR_TRY(pool_drive_attach(pool, rebuild->drive)); /* writes the slot it took over */
    pool_tell(pool, rebuild->job, false, "rebuild-started", rebuild->drive,
        "drive %s takes the place of the lost one", rebuild->drive->meta.name);
    return MRMR_OK;
}

/* Nothing takes its place: it is gone for good, and its rows are made again elsewhere. */
static mrmr_err retire_in(struct meta *meta, void *arg)
{
    struct rebuild *rebuild = arg;
    struct pool_drive *drive = rebuild->drive;
    if (drive->meta.state != META_DRIVE_RETIRED)
        MRMR_TRY(pool_rebuild_tell_older(rebuild));
    MRMR_TRY(meta_uuid_retire(meta, &drive->meta.uuid, drive->meta.name));
    MRMR_TRY(rebuild_forget_intents(rebuild->pool, drive->meta.id));
    MRMR_TRY(rebuild_lose_rows(rebuild->pool, drive->meta.id));
    MRMR_TRY(pool_detached_set(meta, &drive->meta.uuid, NULL, NULL));
    drive->meta.state = META_DRIVE_RETIRED;
    return meta_drive_store(meta, &drive->meta);
}

/* --- The list --- */

static bool path_is_below(const char *path, const char *top)
{
    size_t n = strlen(top);
    return strncmp(path, top, n) == 0 && (n == 0 || path[n] == '\0' || path[n] == '/');
}

static mrmr_err rebuild_name_is_below(struct restore *item, const struct restore_name *name)
{
    item->alive =
        item->alive || (name->path && path_is_below(name->path, item->rebuild->options->path));
    return MRMR_OK;
}

/* By any of its names. */
static mrmr_err rebuild_is_below(
    struct rebuild *rebuild, const struct meta_node *node, bool *ret_below)
{
    struct restore item = {.rebuild = rebuild, .node = *node};
    if (node->id != rebuild->drive->meta.root)
        MRMR_TRY(pool_restore_names(&item, rebuild_name_is_below));
    *ret_below = item.alive;
    return MRMR_OK;
}

static mrmr_err rebuild_list_path(struct meta *meta, void *arg)
{
    struct rebuild *rebuild = arg;
    mrmr_autofree struct meta_node *nodes = calloc(REBUILD_BATCH, sizeof *nodes);
    int64_t after = 0;
    size_t n, listed = 0;
    if (!nodes)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_nodes_after(meta, rebuild->drive->meta.id, after, nodes, REBUILD_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            bool below;
            after = nodes[i].id;
            MRMR_TRY(rebuild_is_below(rebuild, &nodes[i], &below));
            if (!below)
                continue;
            MRMR_TRY(meta_todo_add(meta, POOL_REBUILD_JOB, nodes[i].id));
            listed++;
        }
    } while (n);
    if (!listed)
        return mrmr_err_drive(mrmr_fail(MRMR_ABSENT, "the catalog knows nothing at '%s' on it",
                                  rebuild->options->path),
            rebuild->drive->meta.name);
    return MRMR_OK;
}

static mrmr_err rebuild_list(struct rebuild *rebuild)
{
    struct meta *meta = rebuild->pool->meta;
    uint64_t n;
    if (rebuild->drive->meta.state == META_DRIVE_REBUILDING)
        return MRMR_OK; /* the takeover listed everything, and what is done is off the list */
    if (rebuild->options->path)
        return meta_atomically(meta, rebuild_list_path, rebuild);
    return meta_todo_add_drive(meta, POOL_REBUILD_JOB, rebuild->drive->meta.id, &n);
}

static void rebuild_progress(struct rebuild *rebuild)
{
    const struct pool_rebuild_report *report = rebuild->report;
    if (rebuild->job && rebuild->job->progress)
        rebuild->job->progress(&(struct pool_progress){.phase = "rebuild",
                                   .bytes = report->bytes,
                                   .bytes_total = rebuild->bytes_total,
                                   .items = report->files + report->folders + report->others +
                                            report->kept + report->conflicts + report->failed,
                                   .items_total = rebuild->items_total},
            rebuild->job->arg);
}

static mrmr_err rebuild_batches(struct rebuild *rebuild)
{
    int64_t nodes[REBUILD_BATCH], after = 0;
    for (;;) {
        size_t n;
        MRMR_TRY(pool_job_poll(rebuild->job));
        MRMR_TRY(meta_todo_after(
            rebuild->pool->meta, POOL_REBUILD_JOB, after, nodes, REBUILD_BATCH, &n));
        if (!n)
            return MRMR_OK;
        MRMR_TRY(pool_restore_batch(rebuild, nodes, n));
        after = nodes[n - 1];
        rebuild_progress(rebuild);
    }
}

/* A drive that is full is no place for what comes back, unless it is its own. */
static mrmr_err rebuild_work_begin(struct rebuild *rebuild, struct pool_drive *drive)
{
    if (!pool_drive_writable(drive))
        return MRMR_OK;
    mrmr_err err = pool_work_begin(rebuild->pool, drive);
    if (err != MRMR_SPACE || drive == rebuild->drive)
        return err;
    mrmr_log_story(MRMR_LOG_INFO, "a full drive takes no files");
    return MRMR_OK;
}

static mrmr_err rebuild_files(struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    struct mrmr_story story;
    MRMR_TRY(pool_rebuild_forget(rebuild));
    MRMR_TRY(rebuild_list(rebuild));
    MRMR_TRY(meta_todo_totals(pool->meta, POOL_REBUILD_JOB, rebuild->drive->meta.id,
        &rebuild->items_total, &rebuild->bytes_total));
    for (size_t i = 0; i < pool->ndrives; i++)
        MRMR_TRY(rebuild_work_begin(rebuild, pool->drives[i]));
    mrmr_err err = rebuild_batches(rebuild);
    if (!err && rebuild->drive->meta.state == META_DRIVE_REBUILDING)
        err = pool_restore_note_all(rebuild);
    mrmr_story_save(&story);
    mrmr_err folders = pool_restore_folders(rebuild); /* also of a run that was cut short */
    if (err)
        return mrmr_story_restore(&story);
    MRMR_TRY(folders);
    return pool_rebuild_forget(rebuild); /* what was removed meanwhile */
}

/* --- The end --- */

struct let_go {
    struct pool *pool;
    struct pool_drive *drive;
};

/* Its rows that were superseded since it was retired are not waited for either. */
static mrmr_err rebuild_clear_drive(struct meta *meta, void *arg)
{
    const struct let_go *go = arg;
    bool empty;
    MRMR_TRY(rebuild_forget_intents(go->pool, go->drive->meta.id));
    return rebuild_clear_folder(meta, go->drive->meta.root, &empty);
}

/* *ret_gone: nothing referred to it any more, and it is out of the catalog. */
static mrmr_err rebuild_let_go(
    struct pool *pool, const struct pool_job *job, struct pool_drive *drive, bool *ret_gone)
{
    struct let_go go = {pool, drive};
    MRMR_TRY(meta_atomically(pool->meta, rebuild_clear_drive, &go));
    mrmr_err err = meta_drive_remove(pool->meta, drive->meta.id);
    *ret_gone = !err;
    if (err == MRMR_BUSY)
        return MRMR_OK; /* what could not be brought back still lies there, as far as we know */
    MRMR_TRY(err);
    return pool_rebuild_tell_gone(pool, job, drive);
}

mrmr_err pool_let_go_retired(struct pool *pool, const struct pool_job *job)
{
    bool any = false;
    for (size_t i = 0; i < pool->ndrives; i++) {
        bool gone = false;
        if (pool->drives[i]->meta.state == META_DRIVE_RETIRED)
            MRMR_TRY(rebuild_let_go(pool, job, pool->drives[i], &gone));
        any = any || gone;
    }
    return any ? rebuild_reload(pool) : MRMR_OK;
}

/* In the catalog's settings, beside those that people set: "rebuild-tried.<uuid>". */
static const char *rebuild_tried_key(const struct pool_drive *drive, char key[64])
{
    char uuid[MRMR_UUID_TEXT];
    snprintf(key, 64, "rebuild-tried.%s", mrmr_uuid_print(&drive->meta.uuid, uuid));
    return key;
}

mrmr_err pool_rebuild_was_tried(struct pool *pool, const struct pool_drive *drive, bool *ret_tried)
{
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    char key[64];
    mrmr_err err = meta_get(pool->meta, rebuild_tried_key(drive, key), &value);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    *ret_tried = !err && value.size == 1 && value.data[0] == '1';
    return MRMR_OK;
}

static mrmr_err rebuild_note_tried(const struct rebuild *rebuild, bool tried)
{
    char key[64];
    bool was;
    MRMR_TRY(pool_rebuild_was_tried(rebuild->pool, rebuild->drive, &was));
    if (was == tried)
        return MRMR_OK;
    return meta_set(rebuild->pool->meta, rebuild_tried_key(rebuild->drive, key), tried ? "1" : "0");
}

/* Before the drive is let go of, if it is. */
static void rebuild_tell(struct rebuild *rebuild, bool whole)
{
    const struct pool_rebuild_report *r = rebuild->report;
    char size[MRMR_TEXT_SHORT];
    pool_tell(rebuild->pool, rebuild->job, !whole, "rebuild-done", rebuild->drive,
        "drive %s: %llu files (%s) and %llu folders restored, %llu were there already, %llu parity "
        "rows made; %llu failed, %llu conflicts",
        rebuild->drive->meta.name, (unsigned long long)r->files,
        mrmr_text_print_size(r->bytes, size), (unsigned long long)r->folders,
        (unsigned long long)r->kept, (unsigned long long)r->rows, (unsigned long long)r->failed,
        (unsigned long long)r->conflicts);
}

static mrmr_err rebuild_finish(struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    struct pool_sync_report mended = {0};
    uint64_t left, bytes;
    MRMR_TRY(pool_mend_and_protect(pool, rebuild->job, NULL, &mended));
    rebuild->report->rows += mended.rows_made;
    MRMR_TRY(
        meta_todo_totals(pool->meta, POOL_REBUILD_JOB, rebuild->drive->meta.id, &left, &bytes));
    if (rebuild->away) {
        rebuild_tell(rebuild, left == 0);
        return pool_let_go_retired(pool, rebuild->job);
    }
    MRMR_TRY(rebuild_note_tried(rebuild, left != 0));
    if (left == 0 && rebuild->drive->meta.state == META_DRIVE_REBUILDING) {
        rebuild->drive->meta.state = META_DRIVE_ACTIVE;
        MRMR_TRY(meta_drive_store(pool->meta, &rebuild->drive->meta));
    }
    rebuild_tell(rebuild, left == 0);
    return MRMR_OK;
}

/* The same command again after it was interrupted: the lost drive's name went when the fresh one
 * took its place. */
static struct pool_drive *rebuild_heir(const struct rebuild *rebuild)
{
    const char *onto = rebuild->options->onto;
    struct pool_drive *drive = onto ? pool_drive_by_name(rebuild->pool, onto) : NULL;
    return drive && drive->meta.state == META_DRIVE_REBUILDING ? drive : NULL;
}

static mrmr_err rebuild_no_drive(const struct pool_rebuild_options *options)
{
    mrmr_fail(MRMR_NO_DRIVE, "the pool has no drive '%s'", options->drive);
    if (!options->onto)
        return mrmr_err_hint(MRMR_NO_DRIVE, "`mrmr drives` lists them");
    return mrmr_err_hint(MRMR_NO_DRIVE,
        "`mrmr drives` lists them; where '%s' has taken its place already: mrmr rebuild %s",
        options->onto, options->onto);
}

/* What is done to the catalog itself where the drive is given up is only looked up where it is not. */
static mrmr_err rebuild_names(struct rebuild *rebuild)
{
    if (!rebuild->away || rebuild->drive->meta.state != META_DRIVE_ACTIVE)
        return MRMR_OK;
    MRMR_TRY(pool_names_create(rebuild->pool, &rebuild->drive->meta, NULL, &rebuild->names));
    return pool_names_hold(rebuild->names);
}

/* One that is not there any more may be given up as any that is away; this one only needs to be used again. */
static mrmr_err rebuild_is_detached(const struct pool_drive *drive)
{
    mrmr_fail(MRMR_CONFLICT, "it is detached, and still there");
    return mrmr_err_hint(mrmr_err_drive(MRMR_CONFLICT, drive->meta.name),
        "to put back what is missing on it: mrmr attach %s first; to give it up, unmount it first",
        drive->meta.name);
}

static mrmr_err rebuild_run(struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    rebuild->drive = pool_drive_by_name(pool, rebuild->options->drive);
    struct pool_drive *heir = rebuild->drive ? NULL : rebuild_heir(rebuild);
    if (heir)
        rebuild->drive = heir;
    if (!rebuild->drive)
        return rebuild_no_drive(rebuild->options);
    bool begins;
    MRMR_TRY(rebuild_may_begin(rebuild, &begins));
    if (!begins)
        return MRMR_OK;
    if (rebuild->drive->presence == POOL_DETACHED && !rebuild->drive->mark_gone)
        return rebuild_is_detached(rebuild->drive);
    if (rebuild->options->onto && !heir)
        MRMR_TRY(rebuild_take_over(rebuild));
    if (rebuild->drive->presence == POOL_DIVERGED || rebuild->drive->presence == POOL_FOREIGN)
        return mrmr_story_restore(&rebuild->drive->why);
    rebuild->away = !pool_drive_writable(rebuild->drive);
    if (rebuild->away && rebuild->drive->presence == POOL_PRESENT)
        return mrmr_err_hint(
            mrmr_err_drive(mrmr_fail(MRMR_READONLY, "it is there, but cannot be written"),
                rebuild->drive->meta.name),
            "mount it writable; or unmount it and run rebuild again, to bring its files to other "
            "drives");
    if (rebuild->away && !rebuild->options->path)
        MRMR_TRY(rebuild_among(rebuild, NULL, retire_in, rebuild));
    MRMR_TRY(pool_gone_open(pool->dirfd, true, &rebuild->gone));
    mrmr_err err = rebuild_names(rebuild);
    if (!err)
        err = rebuild_files(rebuild);
    pool_names_destroy(rebuild->names);
    for (size_t i = 0; i < pool->ndrives; i++)
        pool_names_destroy(rebuild->target_names[i]);
    for (size_t i = 0; i < rebuild->nfolders; i++)
        free(rebuild->folders[i].path);
    free(rebuild->folders);
    pool_gone_close(rebuild->gone);
    MRMR_TRY(err);
    if (rebuild->removed)
        pool_tell(pool, rebuild->job, false, "not-restored", rebuild->drive,
            "drive %s: %llu files and folders were removed since its last scan, and stay removed",
            rebuild->drive->meta.name, (unsigned long long)rebuild->removed);
    if (rebuild->back)
        pool_tell(pool, rebuild->job, false, "restored-removed", rebuild->drive,
            "drive %s: %llu files and folders that were removed or replaced after its last scan "
            "are "
            "back, since what was put in their place may have gone with the drive; remove again "
            "what "
            "is not wanted",
            rebuild->drive->meta.name, (unsigned long long)rebuild->back);
    return rebuild_finish(rebuild);
}

mrmr_err pool_rebuild(struct pool *pool, const struct pool_job *job,
    const struct pool_rebuild_options *options, struct pool_rebuild_report *ret_report)
{
    struct pool_rebuild_report report = {0};
    if (options->if_lost && (options->onto || options->path))
        return mrmr_fail(
            MRMR_INVALID, "if it is lost it is given up: into free space, and all of it");
    struct rebuild rebuild = {.pool = pool, .job = job, .options = options, .report = &report};
    mrmr_err err = rebuild_run(&rebuild);
    pool_failing_tell(pool, job);
    if (!err && !report.not_lost)
        err = pool_catalog_copy(pool, job, POOL_COPIES_ALL, NULL);
    *ret_report = report;
    return err;
}
