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
 * What was removed or replaced since the drive's last scan, while it answered, is restored: a newer
 * version may have been put in its place, was not protected, and went with the drive, so the older one
 * is the best that there is. Too much that comes back can be removed again, and an event tells of it.
 *
 * A file that is removed while it is being restored is recorded among the writers. The batch's commit
 * stops them, looks once more, and takes the name that it had given away again, if the file there is
 * what it has put there (pool_restore_late). A cut in between leaves the record and the node: the next
 * run begins with taking it out of the catalog, and a copy that has its name by then and is in no catalog is somebody's new
 * file, as after any cut between a batch's names and its commit.
 */
#include "pool/hung.h"
#include "pool/later.h"
#include "pool/moved.h"
#include "pool/rebuild.h"

#include <string.h>

/* --- names in the catalog --- */

struct name_at {
    struct meta_node node;
    int64_t parent;
    const char *name; /* in the path */
};

static bool is_absent(mrmr_err err)
{
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR;
}

static mrmr_err find(
    struct meta *meta, int64_t root, const char *path, struct name_at *ret_at, bool *ret_found)
{
    const char *slash = strrchr(path, '/');
    mrmr_autofree char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
    struct meta_node parent;
    if (!folder)
        return mrmr_nomem();
    *ret_found = false;
    mrmr_err err = meta_lookup_path(meta, root, folder, &parent);
    ret_at->name = slash ? slash + 1 : path;
    ret_at->parent = parent.id;
    if (!err)
        err = meta_lookup(meta, parent.id, ret_at->name, &ret_at->node);
    *ret_found = !err;
    return is_absent(err) ? MRMR_OK : err;
}

static mrmr_err count_name(int64_t parent, const char *name, void *arg)
{
    (void)parent;
    (void)name;
    ++*(size_t *)arg;
    return MRMR_OK;
}

static mrmr_err has_children(struct meta *meta, const struct meta_node *node, bool *ret_has)
{
    mrmr_autofree struct meta_child *children = NULL;
    size_t n = 0;
    if (node->type == META_DIR)
        MRMR_TRY(meta_children(meta, node->id, &children, &n));
    *ret_has = n > 0;
    return MRMR_OK;
}

/* The name goes, and with the last one the node: its bytes went with their drive. */
static mrmr_err take_out(struct meta *meta, const struct name_at *at)
{
    size_t names = 0;
    MRMR_TRY(meta_name_remove(meta, at->parent, at->name));
    MRMR_TRY(meta_names(meta, at->node.id, count_name, &names));
    if (names)
        return MRMR_OK;
    MRMR_TRY(meta_extents_mark(meta, at->node.id, META_STALE, META_GONE));
    return meta_node_remove(meta, at->node.id);
}

/* --- what was removed --- */

struct forgetting {
    struct rebuild *rebuild;
    struct pool_gone_list gone, over;
    struct pool_moved_steps moved;
    uint64_t moved_size;
    struct mrmr_bytes full; /* ids of nodes, in order */
};

static mrmr_err forget_one(struct forgetting *f, const struct pool_gone_record *record)
{
    struct meta *meta = f->rebuild->pool->meta;
    struct name_at at;
    bool found, full;
    if (record->kind != POOL_GONE_REMOVED)
        return MRMR_OK;
    MRMR_TRY(find(meta, f->rebuild->drive->meta.root, record->path, &at, &found));
    if (!found || !pool_gone_has(f->rebuild->gone, record->path, &at.node))
        return MRMR_OK;
    MRMR_TRY(has_children(meta, &at.node, &full));
    if (full) /* what is in it is renamed yet, or was not known: then it comes back */
        return mrmr_bytes_add(&f->full, &at.node.id, sizeof at.node.id);
    f->rebuild->removed++;
    return take_out(meta, &at);
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
        return is_absent(err) ? MRMR_OK : err;
    MRMR_TRY(has_children(meta, &at.node, &full));
    if (full)
        return MRMR_OK;
    err = meta_names(meta, id, name_of, &at);
    mrmr_autofree char *name = (char *)(uintptr_t)at.name;
    if (err || !name)
        return err;
    f->rebuild->removed++;
    return take_out(meta, &at);
}

/* --- what was renamed --- */

/* What was there is what was renamed, and is not yet known elsewhere. */
static bool is_inode(const struct meta_node *node, uint64_t inode)
{
    return !inode || !node->ino || node->ino == inode;
}

/* One that came to be after the last scan: as the one above it, until somebody sets it right. */
static mrmr_err add_folder(struct meta *meta, const struct meta_node *above, int64_t drive,
    const char *name, struct meta_node *ret_node)
{
    struct meta_node node = {.drive = drive,
        .type = META_DIR,
        .mode = above->mode,
        .uid = above->uid,
        .gid = above->gid,
        .nlink = 2,
        .mtime = mrmr_clock_real(),
        .version = 1};
    MRMR_TRY(meta_node_add(meta, &node, above->id, name));
    *ret_node = node;
    return MRMR_OK;
}

/* *ret_folder 0: something that is no folder lies in the way. */
static mrmr_err make_folders(const struct rebuild *rebuild, const char *path, int64_t *ret_folder)
{
    struct meta *meta = rebuild->pool->meta;
    struct meta_node at;
    MRMR_TRY(meta_node_get(meta, rebuild->drive->meta.root, &at));
    *ret_folder = 0;
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        mrmr_autofree char *name = strndup(path, (size_t)(slash - path));
        struct meta_node next;
        if (!name)
            return mrmr_nomem();
        mrmr_err err = meta_lookup(meta, at.id, name, &next);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            err = add_folder(meta, &at, rebuild->drive->meta.id, name, &next);
        MRMR_TRY(err);
        if (next.type != META_DIR)
            return MRMR_OK;
        at = next;
    }
    *ret_folder = at.id;
    return MRMR_OK;
}

static mrmr_err exchange(struct meta *meta, const struct name_at *a, const struct name_at *b)
{
    MRMR_TRY(meta_name_remove(meta, a->parent, a->name));
    MRMR_TRY(meta_name_move(meta, b->parent, b->name, a->parent, a->name));
    return meta_name_add(meta, b->parent, b->name, a->node.id);
}

/* The name is free afterwards, if it may be. */
static mrmr_err make_room(
    struct meta *meta, const struct name_at *from, const struct name_at *to, bool *ret_free)
{
    bool full;
    MRMR_TRY(has_children(meta, &to->node, &full));
    *ret_free = !full && to->node.id != from->node.id;
    return *ret_free ? take_out(meta, to) : MRMR_OK;
}

static mrmr_err rename_to(struct forgetting *f, const struct name_at *from, const char *to)
{
    struct meta *meta = f->rebuild->pool->meta;
    const char *slash = strrchr(to, '/');
    int64_t folder;
    MRMR_TRY(make_folders(f->rebuild, to, &folder));
    if (!folder)
        return MRMR_OK;
    return meta_name_move(meta, from->parent, from->name, folder, slash ? slash + 1 : to);
}

static mrmr_err rename_one(struct forgetting *f, const struct pool_moved_step *step)
{
    struct meta *meta = f->rebuild->pool->meta;
    int64_t root = f->rebuild->drive->meta.root;
    struct name_at from, to;
    bool has_from, has_to, free = true;
    MRMR_TRY(find(meta, root, step->from, &from, &has_from));
    MRMR_TRY(find(meta, root, step->to, &to, &has_to));
    bool is_from = has_from && is_inode(&from.node, step->inode[0]);
    bool is_to = has_to && is_inode(&to.node, step->inode[1]);
    if (step->kind == POOL_MOVED_EXCHANGE && is_from && is_to)
        return exchange(meta, &from, &to);
    if (step->kind == POOL_MOVED_EXCHANGE && !has_from && is_to)
        return rename_to(f, &to, step->from);
    if (!is_from || (step->kind == POOL_MOVED_EXCHANGE && has_to))
        return MRMR_OK;
    if (has_to && to.node.id == from.node.id) /* two names of one file: the old one went */
        return meta_name_remove(meta, from.parent, from.name);
    if (has_to)
        MRMR_TRY(make_room(meta, &from, &to, &free));
    return free ? rename_to(f, &from, step->to) : MRMR_OK;
}

/* A name that went from the drive before that did comes back. */
static mrmr_err comes_back(struct forgetting *f, const struct pool_moved_step *step)
{
    const uint64_t *inode = step->inode;
    struct name_at at;
    bool found;
    MRMR_TRY(find(f->rebuild->pool->meta, f->rebuild->drive->meta.root, step->from, &at, &found));
    if (found && at.node.ino == inode[0] &&
        (!inode[1] || !at.node.btime || (int64_t)inode[1] == at.node.btime))
        f->rebuild->back++;
    return MRMR_OK;
}

static mrmr_err step_one(struct forgetting *f, const struct pool_moved_step *step)
{
    const bool went = step->kind == POOL_MOVED_REMOVED || step->kind == POOL_MOVED_REPLACED;
    return went ? comes_back(f, step) : rename_one(f, step);
}

/* A rename that the drive has not made: its record in `moved` may be missing after a cut. */
static mrmr_err rename_waiting(struct forgetting *f, const struct pool_gone_record *record)
{
    struct pool_later_rename rename;
    struct name_at from;
    bool found;
    if (!pool_later_rename(record, &rename))
        return MRMR_OK;
    MRMR_TRY(
        find(f->rebuild->pool->meta, f->rebuild->drive->meta.root, rename.from, &from, &found));
    if (!found || from.node.ino != record->ino || from.node.btime != record->btime)
        return MRMR_OK; /* mostly it has been done by now */
    const struct pool_moved_step step = {.kind = POOL_MOVED_RENAME,
        .from = (char *)(uintptr_t)rename.from,
        .to = (char *)(uintptr_t)rename.to,
        .inode = {record->ino, 0}};
    return rename_one(f, &step);
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
        return is_absent(err) ? MRMR_OK : err;
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
    for (size_t i = 0; i < f->over.n; i++)
        MRMR_TRY(set_folder(f, &f->over.record[i]));
    for (size_t i = 0; i < f->gone.n; i++)
        MRMR_TRY(set_folder(f, &f->gone.record[i]));
    for (size_t i = 0; i < f->over.n; i++)
        MRMR_TRY(forget_one(f, &f->over.record[i]));
    for (size_t i = 0; i < f->gone.n; i++)
        MRMR_TRY(forget_one(f, &f->gone.record[i]));
    for (size_t i = 0; i < f->moved.n; i++)
        MRMR_TRY(step_one(f, &f->moved.step[i]));
    for (size_t i = 0; i < f->gone.n; i++)
        MRMR_TRY(rename_waiting(f, &f->gone.record[i]));
    for (size_t at = 0; at < f->full.size; at += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, f->full.data + at, sizeof id);
        MRMR_TRY(forget_emptied(f, id));
    }
    return MRMR_OK;
}

static mrmr_err settle(struct forgetting *f)
{
    mrmr_autofree uint64_t *ids = calloc(f->gone.n + f->over.n + 1, sizeof *ids);
    size_t n = 0;
    if (!ids)
        return mrmr_nomem();
    for (size_t i = 0; i < f->over.n; i++)
        ids[n++] = f->over.record[i].id;
    for (size_t i = 0; i < f->gone.n; i++)
        ids[n++] = f->gone.record[i].id;
    MRMR_TRY(pool_gone_settle(f->rebuild->gone, ids, n, true));
    return f->moved.n ? pool_moved_drop(f->rebuild->pool, f->rebuild->job, f->moved_size,
                            &f->rebuild->drive->meta.id, 1)
                      : MRMR_OK;
}

/* Writers stand still: what they recorded goes by the names that the catalog has until then. */
static mrmr_err forget_all(struct forgetting *f)
{
    struct rebuild *rebuild = f->rebuild;
    int64_t drive = rebuild->drive->meta.id;
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

static mrmr_err forget(struct forgetting *f)
{
    struct rebuild *rebuild = f->rebuild;
    uint64_t stamp;
    bool any;
    MRMR_TRY(pool_moved_stamp(rebuild->pool, rebuild->drive->meta.id, &stamp, &any));
    if (any)
        MRMR_TRY(pool_moved_size(rebuild->pool, rebuild->job, &f->moved_size));
    /* What hangs on a drive that never comes back, perhaps for ever, changes nothing any more; what is
     * recorded is in the catalog's names whether it was done there or not. */
    MRMR_TRY(pool_stop_for(
        rebuild->pool, rebuild->job, &rebuild->drive->meta.id, rebuild->away ? 0 : 1));
    mrmr_err err = forget_all(f);
    pool_writers_go(rebuild->pool->writers);
    MRMR_TRY(err);
    return f->over.n || f->gone.n || f->moved.n ? settle(f) : MRMR_OK;
}

mrmr_err pool_rebuild_forget(struct rebuild *rebuild)
{
    struct forgetting f = {.rebuild = rebuild, .full = MRMR_BYTES_INIT};
    if (rebuild->drive->meta.state == META_DRIVE_ACTIVE)
        return MRMR_OK;
    mrmr_err err = forget(&f);
    pool_gone_list_free(&f.gone);
    pool_gone_list_free(&f.over);
    pool_moved_steps_free(&f.moved);
    mrmr_bytes_free(&f.full);
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
    return is_absent(err) ? MRMR_OK : mrmr_err_drive(err, item->target->meta.name);
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

mrmr_err pool_restore_late(struct restore *item)
{
    if (item->held || item->node.type == META_DIR || !pool_gone_any(item->rebuild->gone) ||
        (item->state != RESTORE_PLACED && item->state != RESTORE_KEPT))
        return MRMR_OK;
    item->alive = item->late = false;
    MRMR_TRY(pool_restore_names(item, late_name));
    if (!item->alive)
        item->state = RESTORE_ENDED;
    else if (item->late) /* with fewer names it is another to whoever compares */
        MRMR_TRY(drv_stat(item->target->drv, item->path.data, &item->there));
    return MRMR_OK;
}
