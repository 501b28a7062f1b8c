/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a rebuild does to the catalog where a drive is given up: a fresh one takes its place, with its slot and everything that refers to
 * it; or nothing does, and it is retired, until nothing refers to it any more. Its uuid is retired for ever either way (I6).
 *
 * Crash argument. Rows that lie on the fresh drive already and would meet something of the lost one there go to others
 * before, each by a commit of stripe.c's; a cut leaves some, and the next run goes on. The others are the heir's: nothing that
 * they are decoded by says on which drive they lie. Taking over is one catalog transaction, which also lists what is to do, and so is
 * retiring; before it nothing else has happened. Whether the drive may be given up is asked before anything is done, and
 * again right before that transaction.
 *
 * A mount may be writing meanwhile, also to the fresh drive, and asks by the drive's id what stripes
 * count on. So the ids change while the writers stand still, and a new epoch begins before: its next
 * change looks first which medium has which id (tree_members.c). Where that is cut off between the
 * epoch and the transaction the mount has looked for nothing. The kernel, which uses files directly,
 * looks at nothing: while it uses one on the fresh drive, that takes over nothing.
 */
#include "pool/drive/detached.h"
#include "pool/drive/hung.h"
#include "pool/jobs/rebuild.h"
#include "pool/records/direct.h"
#include "pool/retained/retained.h"

#include <stdio.h>
#include <string.h>

enum { TAKE_BATCH = 256 };

/* --- What is asked of the fresh drive --- */

/* why: it stays there. */
static mrmr_err take_refuses(
    const struct rebuild *rebuild, const struct pool_drive *onto, const char *what, const char *why)
{
    return mrmr_err_hint(
        mrmr_fail(MRMR_CONFLICT,
            "drive '%s' holds %s already, so it cannot take the place of '%s'%s%s", onto->meta.name,
            what, rebuild->drive->meta.name, *why ? "; it stays there: " : "", why),
        "leave --onto out to rebuild into free space, which that drive's is, too; or add another "
        "empty drive");
}

static mrmr_err take_find_onto(struct rebuild *rebuild, struct pool_drive **ret_onto)
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
        return take_refuses(rebuild, onto, "files", "");
    *ret_onto = onto;
    return MRMR_OK;
}

/* --- The last look --- */

struct take_last {
    struct rebuild *rebuild;
    struct pool_drive *fresh; /* what takes the place; or NULL */
};

/* Nothing happens any more but the transaction: rows that had to go elsewhere first may have taken hours, in which drives go
 * and come. Drives are opened for it, which may hang: nobody waits for that. */
static mrmr_err take_look_last(void *arg)
{
    const struct take_last *last = arg;
    MRMR_TRY(pool_rebuild_is_not_back(last->rebuild));
    MRMR_TRY(pool_rebuild_may_give_up(last->rebuild));
    return last->fresh ? pool_drive_still_ours(last->rebuild->pool, last->fresh) : MRMR_OK;
}

/* --- What goes with a lost medium --- */

/* Every row on the drive is lost. */
static mrmr_err take_lose_rows(struct pool *pool, int64_t drive)
{
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    int64_t ids[TAKE_BATCH], after = 0;
    if (!brief)
        return mrmr_nomem();
    for (;;) {
        size_t n;
        MRMR_TRY(meta_stripes_of_drive(pool->meta, drive, after, ids, TAKE_BATCH, &n));
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
static mrmr_err take_forget_intents(struct pool *pool, int64_t drive)
{
    mrmr_autofree struct meta_intent *intents = calloc(TAKE_BATCH, sizeof *intents);
    size_t n;
    if (!intents)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_intents_after(pool->meta, drive, 0, intents, TAKE_BATCH, &n));
        for (size_t i = 0; i < n; i++)
            MRMR_TRY(meta_intent_remove(pool->meta, intents[i].id));
    } while (n);
    return MRMR_OK;
}

static mrmr_err take_miss_files(struct pool *pool, int64_t drive)
{
    mrmr_autofree struct meta_node *nodes = calloc(TAKE_BATCH, sizeof *nodes);
    int64_t after = 0;
    if (!nodes)
        return mrmr_nomem();
    for (;;) {
        size_t n;
        MRMR_TRY(meta_nodes_after(pool->meta, drive, after, nodes, TAKE_BATCH, &n));
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
static mrmr_err take_clear_folder(struct meta *meta, int64_t folder, bool *ret_empty)
{
    mrmr_autofree struct meta_child *children = NULL;
    size_t n;
    MRMR_TRY(meta_children(meta, folder, &children, &n));
    *ret_empty = true;
    for (size_t i = 0; i < n; i++) {
        bool empty = false;
        if (children[i].node.type == META_DIR)
            MRMR_TRY(take_clear_folder(meta, children[i].node.id, &empty));
        if (empty) {
            MRMR_TRY(meta_name_remove(meta, folder, children[i].name));
            MRMR_TRY(meta_node_remove(meta, children[i].node.id));
        }
        *ret_empty = *ret_empty && empty;
    }
    return MRMR_OK;
}

/* --- Taking over --- */

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
        return take_refuses(
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
    MRMR_TRY(take_clear_folder(t->rebuild->pool->meta, t->onto->meta.root, &empty));
    return empty ? MRMR_OK : take_refuses(t->rebuild, t->onto, "files", "");
}

static mrmr_err takeover_rows(const struct takeover *t)
{
    struct meta *meta = t->rebuild->pool->meta;
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    int64_t ids[TAKE_BATCH], after = 0;
    size_t n;
    if (!brief)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_stripes_of_drive(meta, t->onto->meta.id, after, ids, TAKE_BATCH, &n));
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
    mrmr_autofree struct meta_intent *intents = calloc(TAKE_BATCH, sizeof *intents);
    size_t n;
    if (!intents)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_intents_after(meta, t->onto->meta.id, 0, intents, TAKE_BATCH, &n));
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
    MRMR_TRY(take_forget_intents(pool, lost->id));
    MRMR_TRY(takeover_intents(t));
    MRMR_TRY(meta_changes_clear(meta, lost->id, META_CHANGE_HELD));
    MRMR_TRY(take_lose_rows(pool, lost->id));
    MRMR_TRY(takeover_rows(t));
    MRMR_TRY(takeover_folders(t));
    MRMR_TRY(meta_drive_remove(meta, fresh->id));
    MRMR_TRY(meta_drive_store(meta, &heir));
    MRMR_TRY(take_miss_files(pool, lost->id));
    return meta_todo_add_drive(meta, POOL_REBUILD_JOB, lost->id, &todo);
}

/* Which medium is which drive changes, or whether it is one. fresh: the one that is to be; or NULL. */
static mrmr_err take_among(struct rebuild *rebuild, struct pool_drive *fresh,
    mrmr_err (*change)(struct meta *meta, void *arg), void *arg)
{
    struct pool *pool = rebuild->pool;
    const int64_t id = fresh ? fresh->meta.id : 0;
    struct take_last last = {rebuild, fresh};
    MRMR_TRY(pool_stop_for_after(pool, rebuild->job, &id, fresh ? 1 : 0, take_look_last, &last));
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
static mrmr_err take_reload(struct pool *pool)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool_drive_detach(pool, pool->drives[i]))
            mrmr_log_story(MRMR_LOG_WARN, "detaching a drive");
    pool_views_forget(pool, 0);
    pool_drives_unload(pool);
    return pool_drives_load(pool);
}

mrmr_err pool_rebuild_take_over(struct rebuild *rebuild)
{
    struct takeover t = {.rebuild = rebuild};
    struct pool *pool = rebuild->pool;
    struct pool_sync_report moved = {0};
    int64_t id = rebuild->drive->meta.id;
    MRMR_TRY(take_find_onto(rebuild, &t.onto));
    MRMR_TRY(pool_rebuild_may_give_up(rebuild));
    MRMR_TRY(pool_mend_leave(pool, rebuild->job, t.onto->meta.id, id, &moved, t.cause));
    rebuild->report->rows += moved.rows_made;
    MRMR_TRY(pool_drive_still_ours(pool, t.onto));
    MRMR_TRY(pool_drive_detach(pool, t.onto));
    MRMR_TRY(take_among(rebuild, t.onto, takeover_in, &t));
    MRMR_TRY(take_reload(pool));
    rebuild->drive = pool_drive_by_id(pool, id);
    if (!pool_drive_writable(rebuild->drive))
        return mrmr_fail(MRMR_OFFLINE, "the fresh drive went away");
    MRMR_TRY(pool_drive_attach(pool, rebuild->drive)); /* writes the slot it took over */
    pool_tell(pool, rebuild->job, false, "rebuild-started", rebuild->drive,
        "drive %s takes the place of the lost one", rebuild->drive->meta.name);
    return MRMR_OK;
}

/* Nothing takes its place: it is gone for good, and its rows are made again elsewhere. */
static mrmr_err take_retire_in(struct meta *meta, void *arg)
{
    struct rebuild *rebuild = arg;
    struct pool_drive *drive = rebuild->drive;
    if (drive->meta.state != META_DRIVE_RETIRED)
        MRMR_TRY(pool_rebuild_tell_older(rebuild));
    MRMR_TRY(meta_uuid_retire(meta, &drive->meta.uuid, drive->meta.name));
    MRMR_TRY(take_forget_intents(rebuild->pool, drive->meta.id));
    MRMR_TRY(take_lose_rows(rebuild->pool, drive->meta.id));
    MRMR_TRY(pool_detached_set(meta, &drive->meta.uuid, NULL, NULL));
    drive->meta.state = META_DRIVE_RETIRED;
    return meta_drive_store(meta, &drive->meta);
}

mrmr_err pool_rebuild_retire(struct rebuild *rebuild)
{
    return take_among(rebuild, NULL, take_retire_in, rebuild);
}

/* --- Nothing refers to it any more --- */

struct let_go {
    struct pool *pool;
    struct pool_drive *drive;
};

/* Its rows that were superseded since it was retired are not waited for either. */
static mrmr_err take_clear_drive(struct meta *meta, void *arg)
{
    const struct let_go *go = arg;
    bool empty;
    MRMR_TRY(take_forget_intents(go->pool, go->drive->meta.id));
    return take_clear_folder(meta, go->drive->meta.root, &empty);
}

/* *ret_gone: nothing referred to it any more, and it is out of the catalog. */
static mrmr_err take_let_go(
    struct pool *pool, const struct pool_job *job, struct pool_drive *drive, bool *ret_gone)
{
    struct let_go go = {pool, drive};
    MRMR_TRY(meta_atomically(pool->meta, take_clear_drive, &go));
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
            MRMR_TRY(take_let_go(pool, job, pool->drives[i], &gone));
        any = any || gone;
    }
    return any ? take_reload(pool) : MRMR_OK;
}
