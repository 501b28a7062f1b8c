/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was done through the mount to a drive that never comes back is done to the catalog, before
 * anything of it is restored and once more afterwards: what was removed while it was away (gone.h) is
 * out of it, so that no old copy comes back to life; what was renamed since its last scan (moved.h)
 * has its new name, under which it is restored; and folders whose attributes were changed while it was
 * away (later.h) have those. Of a drive that may come back both stay as they are.
 *
 * Crash argument. All that is done to the catalog is one transaction, and only after its commit the
 * records go, each kind in one durable step. A cut before the commit leaves everything to the next
 * run. One after it leaves records of what is done: a removal finds nothing at its path, or another
 * node, since no two files have had the same inode, times and size at once; a rename does not find the inode that it is
 * of where that was. Neither does anything then.
 *
 * What was removed or replaced since the drive's last scan, while it answered, is restored unless
 * something else is known to have its path (rebuild_went.c), and an event tells of it. Else it is taken out of the
 * catalog in the same transaction. So is what is in the way of what was renamed.
 *
 * A file that is removed while it is being restored is recorded among the writers. The batch's commit
 * stops them, looks once more, and takes the name that it had given away again, if the file there is
 * what it has put there (pool_restore_late); the node stays to do, by which the end of the run, or the next one after a
 * cut, knows that it is to be taken out of the catalog. A copy that has its name by then and is in no catalog is somebody's new
 * file, as after any cut between a batch's names and its commit. What is removed by a record after that commit, by a mount
 * that has not seen yet that the drive is there, lies on the drive and is to do no more: the record stays, and whoever
 * takes the drive into service takes the file from it.
 */
#include "pool/drive/hung.h"
#include "pool/jobs/rebuild_forget.h"
#include "pool/records/later.h"

#include <string.h>

/* --- what was removed --- */

static mrmr_err forget_one(struct forgetting *f, const struct pool_gone_record *record)
{
    struct meta *meta = f->rebuild->pool->meta;
    struct name_at at;
    bool found, full, lost;
    if (record->kind != POOL_GONE_REMOVED)
        return MRMR_OK;
    MRMR_TRY(forget_find(meta, f->rebuild->drive->meta.root, record->path, &at, &found));
    if (!found || !pool_gone_has(f->rebuild->gone, record->path, &at.node))
        return MRMR_OK;
    MRMR_TRY(forget_is_lost(f->rebuild, at.node.id, &lost));
    if (!lost)
        return mrmr_bytes_add(&f->there, &record->id, sizeof record->id);
    MRMR_TRY(forget_has_children(meta, &at.node, &full));
    if (full) /* what is in it is renamed yet, or was not known: then it comes back */
        return mrmr_bytes_add(&f->full, &at.node.id, sizeof at.node.id);
    f->removed++;
    return forget_take_out(f, &at);
}

static mrmr_err name_of(int64_t parent, const char *name, void *arg)
{
    struct name_at *at = arg;
    if (at->name) /* a folder has one */
        return MRMR_OK;
    at->parent = parent;
    at->name = strdup(name);
    return at->name ? MRMR_OK : mrmr_nomem();
}

/* A folder that is empty by now, wherever it is. */
static mrmr_err forget_emptied(struct forgetting *f, int64_t id)
{
    struct meta *meta = f->rebuild->pool->meta;
    struct name_at at = {.name = NULL};
    bool full;
    mrmr_err err = meta_node_get(meta, id, &at.node);
    if (err)
        return forget_is_absent(err) ? MRMR_OK : err;
    MRMR_TRY(forget_has_children(meta, &at.node, &full));
    if (full)
        return MRMR_OK;
    err = meta_names(meta, id, name_of, &at);
    mrmr_autofree char *name = (char *)(uintptr_t)at.name;
    if (err || !name)
        return err;
    f->removed++;
    return forget_take_out(f, &at);
}

/* --- what was renamed, or went, before the drive did --- */

static mrmr_err step_one(struct forgetting *f, size_t at)
{
    const struct pool_moved_step *step = &f->moved.step[at];
    return moved_is_gone(step->kind) ? forget_went(f, at) : forget_rename(f, step);
}

/* A rename that the drive has not made: its record in `moved` may be missing after a cut. */
static mrmr_err rename_waiting(struct forgetting *f, const struct pool_gone_record *record)
{
    struct pool_later_rename rename;
    struct name_at from;
    bool found;
    if (!pool_later_rename(record, &rename))
        return MRMR_OK;
    MRMR_TRY(forget_find(
        f->rebuild->pool->meta, f->rebuild->drive->meta.root, rename.from, &from, &found));
    if (!found || from.node.ino != record->ino || from.node.btime != record->btime)
        return MRMR_OK; /* mostly it has been done by now */
    const struct pool_moved_step step = {.kind = POOL_MOVED_RENAME,
        .from = (char *)(uintptr_t)rename.from,
        .to = (char *)(uintptr_t)rename.to,
        .inode = {record->ino, 0}};
    return forget_rename(f, &step);
}

/* --- attributes of folders --- */

/* All that was asked of the folder, in order, by its first record. */
static mrmr_err set_folder(struct forgetting *f, const struct pool_gone_record *record)
{
    struct pool *pool = f->rebuild->pool;
    mrmr_autobytes struct mrmr_bytes attrs = MRMR_BYTES_INIT;
    struct meta_node node;
    if (record->kind != POOL_GONE_SET)
        return MRMR_OK;
    mrmr_err err = meta_lookup_path(pool->meta, f->rebuild->drive->meta.root, record->path, &node);
    if (err)
        return forget_is_absent(err) ? MRMR_OK : err;
    if (node.type != META_DIR || node.ino != record->ino || node.btime != record->btime)
        return MRMR_OK;
    MRMR_TRY(pool_later_attrs(pool, f->rebuild->gone, record->path, &node, &attrs));
    MRMR_TRY(pool_later_node(f->rebuild->gone, record->path, &node));
    MRMR_TRY(meta_node_store(pool->meta, &node));
    return meta_attr_set(pool->meta, node.id, attrs.data, attrs.size);
}

/* --- all of it --- */

/* Paths of removals are the catalog's, so they come first; and those of attributes before them. A folder
 * from which something is renamed is empty only after that. */
static mrmr_err forget_in(struct meta *meta, void *arg)
{
    struct forgetting *f = arg;
    (void)meta;
    mrmr_bytes_clear(&f->full);
    mrmr_bytes_clear(&f->unrenamed);
    mrmr_bytes_clear(&f->there);
    f->removed = f->back = 0;
    f->look = false;
    MRMR_TRY(forget_went_begin(f));
    for (size_t i = 0; i < f->over.n; i++)
        MRMR_TRY(set_folder(f, &f->over.record[i]));
    for (size_t i = 0; i < f->gone.n; i++)
        MRMR_TRY(set_folder(f, &f->gone.record[i]));
    for (size_t i = 0; i < f->over.n; i++)
        MRMR_TRY(forget_one(f, &f->over.record[i]));
    for (size_t i = 0; i < f->gone.n; i++)
        MRMR_TRY(forget_one(f, &f->gone.record[i]));
    for (size_t i = 0; i < f->moved.n; i++)
        MRMR_TRY(step_one(f, i));
    for (size_t i = 0; i < f->gone.n; i++)
        MRMR_TRY(rename_waiting(f, &f->gone.record[i]));
    for (size_t at = 0; at < f->full.size; at += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, f->full.data + at, sizeof id);
        MRMR_TRY(forget_emptied(f, id));
    }
    return forget_went_settle(f);
}

/* What it removed has been restored: it is taken from the drive as from any that was away. */
static bool is_there(const struct forgetting *f, uint64_t record)
{
    for (size_t at = 0; at < f->there.size; at += sizeof record)
        if (memcmp(f->there.data + at, &record, sizeof record) == 0)
            return true;
    return false;
}

static mrmr_err settle(struct forgetting *f)
{
    mrmr_autofree uint64_t *ids = calloc(f->gone.n + f->over.n + 1, sizeof *ids);
    size_t n = 0;
    if (!ids)
        return mrmr_nomem();
    for (size_t i = 0; i < f->over.n; i++)
        if (!is_there(f, f->over.record[i].id))
            ids[n++] = f->over.record[i].id;
    for (size_t i = 0; i < f->gone.n; i++)
        if (!is_there(f, f->gone.record[i].id))
            ids[n++] = f->gone.record[i].id;
    MRMR_TRY(pool_gone_settle(f->rebuild->gone, ids, n, true));
    return f->moved.n ? pool_moved_drop(f->rebuild->pool, f->rebuild->job, f->moved_size,
                            &f->rebuild->drive->meta.id, 1)
                      : MRMR_OK;
}

static void lists_free(struct forgetting *f)
{
    pool_gone_list_free(&f->gone);
    pool_gone_list_free(&f->over);
    pool_moved_steps_free(&f->moved);
}

/* Writers stand still: what they recorded goes by the names that the catalog has until then. */
static mrmr_err forget_all(struct forgetting *f)
{
    struct rebuild *rebuild = f->rebuild;
    int64_t drive = rebuild->drive->meta.id;
    lists_free(f);
    MRMR_TRY(pool_gone_refresh(rebuild->gone));
    MRMR_TRY(pool_gone_list(rebuild->gone, drive, true, &f->over));
    MRMR_TRY(pool_gone_list(rebuild->gone, drive, false, &f->gone));
    if (f->moved_size)
        MRMR_TRY(pool_moved_steps(rebuild->pool, drive, &f->moved));
    if (!f->over.n && !f->gone.n && !f->moved.n)
        return MRMR_OK;
    MRMR_TRY(pool_writers_new_epoch(rebuild->pool->writers));
    return meta_atomically(rebuild->pool->meta, forget_in, f);
}

static mrmr_err forget_once(struct forgetting *f)
{
    struct rebuild *rebuild = f->rebuild;
    uint64_t stamp;
    bool any;
    f->look = false;
    MRMR_TRY(pool_moved_stamp(rebuild->pool, rebuild->drive->meta.id, &stamp, &any));
    if (any)
        MRMR_TRY(pool_moved_size(rebuild->pool, rebuild->job, &f->moved_size));
    /* What hangs on a drive that never comes back, perhaps for ever, changes nothing any more; what is
     * recorded is in the catalog's names whether it was done there or not. */
    MRMR_TRY(pool_stop_for(
        rebuild->pool, rebuild->job, &rebuild->drive->meta.id, rebuild->away ? 0 : 1));
    mrmr_err err = forget_all(f);
    pool_writers_go(rebuild->pool->writers);
    return err;
}

static void tell_unrenamed(const struct forgetting *f)
{
    for (size_t at = 0; at < f->unrenamed.size;) {
        const char *from = f->unrenamed.data + at, *to = from + strlen(from) + 1;
        at += strlen(from) + 1 + strlen(to) + 1;
        pool_tell(f->rebuild->pool, f->rebuild->job, true, "not-renamed", f->rebuild->drive,
            "drive %s: '%.700s' was renamed to '%.700s' after its last scan, and keeps its old "
            "name, "
            "since something else is at the new one; rename it again",
            f->rebuild->drive->meta.name, from, to);
    }
}

static mrmr_err forget(struct forgetting *f)
{
    mrmr_err err;
    while ((err = forget_once(f)) != MRMR_OK && f->look) {
        MRMR_TRY(pool_job_poll(f->rebuild->job));
        MRMR_TRY(forget_went_look(f));
    }
    MRMR_TRY(err);
    f->rebuild->removed += f->removed;
    f->rebuild->back += f->back;
    tell_unrenamed(f);
    return f->over.n || f->gone.n || f->moved.n ? settle(f) : MRMR_OK;
}

mrmr_err pool_rebuild_forget(struct rebuild *rebuild)
{
    struct forgetting f = {.rebuild = rebuild,
        .full = MRMR_BYTES_INIT,
        .unrenamed = MRMR_BYTES_INIT,
        .there = MRMR_BYTES_INIT};
    if (rebuild->drive->meta.state == META_DRIVE_ACTIVE)
        return MRMR_OK;
    mrmr_err err = forget_went_create(&f);
    if (!err)
        err = forget(&f);
    forget_went_destroy(&f);
    lists_free(&f);
    mrmr_bytes_free(&f.full);
    mrmr_bytes_free(&f.unrenamed);
    mrmr_bytes_free(&f.there);
    return err;
}

/* --- one node --- */

bool pool_restore_is_gone(const struct restore *item, const struct restore_name *name)
{
    struct pool_gone *gone = item->rebuild->gone;
    return !name->path || (pool_gone_any(gone) && pool_gone_has(gone, name->known, &item->known));
}

static mrmr_err first_name(struct restore *item, const struct restore_name *name)
{
    return item->path.size || pool_restore_is_gone(item, name)
               ? MRMR_OK
               : mrmr_bytes_str(&item->path, name->path);
}

mrmr_err pool_restore_path(struct restore *item)
{
    struct rebuild *rebuild = item->rebuild;
    item->known = item->node;
    MRMR_TRY(pool_gone_refresh(rebuild->gone));
    if ((!rebuild->names && !pool_gone_any(rebuild->gone)) ||
        item->node.id == rebuild->drive->meta.root)
        return meta_path(rebuild->pool->meta, item->node.id, &item->path);
    return pool_restore_names(item, first_name);
}

/* Only what was put there. */
static mrmr_err unplace(struct restore *item, const char *path)
{
    struct drv *drv = item->target->drv;
    struct drv_stat stat;
    mrmr_err err = drv_stat(drv, path, &stat);
    if (!err && stat.type == item->there.type && stat.ino == item->there.ino &&
        stat.size == item->there.size && stat.mtime == item->there.mtime)
        err = drv_unlink(drv, path);
    return forget_is_absent(err) ? MRMR_OK : mrmr_err_drive(err, item->target->meta.name);
}

static mrmr_err late_name(struct restore *item, const struct restore_name *name)
{
    if (!pool_restore_is_gone(item, name)) {
        item->alive = true;
        return MRMR_OK;
    }
    if (!name->path) /* before this run began: nothing was placed */
        return MRMR_OK;
    item->late = true;
    return item->state == RESTORE_PLACED ? unplace(item, name->path) : MRMR_OK;
}

/* With fewer names it is another to whoever compares, and is looked for by one that it has still. */
static mrmr_err late_look(struct restore *item)
{
    mrmr_bytes_clear(&item->path);
    MRMR_TRY(pool_restore_names(item, first_name));
    mrmr_err err = drv_stat(item->target->drv, item->path.data, &item->there);
    return forget_is_absent(err) ? MRMR_OK : mrmr_err_drive(err, item->target->meta.name);
}

mrmr_err pool_restore_late(struct restore *item)
{
    if (item->held || item->node.type == META_DIR || !pool_gone_any(item->rebuild->gone) ||
        (item->state != RESTORE_PLACED && item->state != RESTORE_KEPT))
        return MRMR_OK;
    item->alive = item->late = false;
    MRMR_TRY(pool_restore_names(item, late_name));
    if (!item->alive && item->incomplete && item->state == RESTORE_PLACED)
        MRMR_TRY(unplace(item, item->path.data));
    if (!item->alive)
        item->state = RESTORE_ENDED;
    return item->alive && item->late && !item->incomplete ? late_look(item) : MRMR_OK;
}
