/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was put in place is recorded: the last step of a batch, whose crash argument is in restore.c. All is one transaction, while
 * nobody writes.
 */
#include "pool/jobs/rebuild.h"
#include "pool/records/names.h"

#include <string.h>

/* --- Folders --- */

static mrmr_err restore_target_names(struct restore *item, struct pool_names **ret_names)
{
    struct rebuild *rebuild = item->rebuild;
    for (size_t i = 0; i < rebuild->pool->ndrives; i++) {
        if (rebuild->pool->drives[i] != item->target)
            continue;
        if (!rebuild->target_names[i])
            MRMR_TRY(pool_names_create(
                rebuild->pool, &item->target->meta, NULL, &rebuild->target_names[i]));
        *ret_names = rebuild->target_names[i];
        return MRMR_OK;
    }
    return mrmr_fail(MRMR_NO_DRIVE, NULL);
}

/* What the target's catalog has of this folder, which may have been renamed there since its last scan, or
 * of that name below the folder above; else it is made. *node: the folder above, then this. */
static mrmr_err restore_folder_step(struct restore *item, struct pool_names *names,
    const char *path, const char *name, struct meta_node *node)
{
    struct meta *meta = item->rebuild->pool->meta;
    const int64_t above = node->id;
    struct drv_stat stat;
    mrmr_err err = pool_names_lookup(names, path, node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR || (!err && !node->id))
        err = meta_lookup(meta, above, name, node);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    MRMR_TRY(drv_stat(item->target->drv, path, &stat));
    pool_node_from_stat(node, &stat);
    node->id = 0;
    node->drive = item->target->meta.id;
    node->version = 1;
    return meta_node_add(meta, node, above, name);
}

/* The target's folder node for a folder of the lost drive (the first `size` bytes of its path); made
 * where the catalog has none. */
static mrmr_err restore_folder_node(
    struct restore *item, const char *folder, size_t size, int64_t *ret_node)
{
    mrmr_autofree char *path = strndup(folder, size);
    struct meta_node node = {.id = item->target->meta.root};
    struct pool_names *names;
    if (!path)
        return mrmr_nomem();
    MRMR_TRY(restore_target_names(item, &names));
    for (size_t at = 0; at < size;) {
        char *name = path + at;
        at += strcspn(name, "/");
        bool last = path[at] == '\0';
        path[at] = '\0';
        MRMR_TRY(restore_folder_step(item, names, path, name, &node));
        if (!last)
            path[at] = '/';
        at++;
    }
    *ret_node = node.id;
    return MRMR_OK;
}

/* --- Nodes --- */

static mrmr_err restore_move_name(struct restore *item, const struct restore_name *name)
{
    struct meta *meta = item->rebuild->pool->meta;
    int64_t to;
    if (pool_restore_is_gone(item, name))
        return meta_name_remove(meta, name->parent, name->name);
    const char *slash = strrchr(name->path, '/');
    MRMR_TRY(restore_folder_node(item, name->path, slash ? (size_t)(slash - name->path) : 0, &to));
    mrmr_err err =
        meta_name_move(meta, name->parent, name->name, to, slash ? slash + 1 : name->path);
    /* Another file has it there: the file keeps those of its names that it could get. */
    return err == MRMR_EXISTS ? meta_name_remove(meta, name->parent, name->name) : err;
}

/* A file that moved to another drive: there it is exposed, and its old extents stand in for it
 * until it is protected (I6). */
static mrmr_err restore_expose_moved(struct restore *item)
{
    struct meta *meta = item->rebuild->pool->meta;
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n, nranges;
    MRMR_TRY(meta_extents_of(meta, item->node.id, &extents, &n));
    MRMR_TRY(meta_exposed_of(meta, item->node.id, &ranges, &nranges));
    MRMR_TRY(meta_extents_mark(meta, item->node.id, META_LIVE, META_STALE));
    MRMR_TRY(meta_extents_mark(meta, item->node.id, META_MISSING, META_STALE));
    MRMR_TRY(meta_extents_mark(meta, item->node.id, META_SUSPECT, META_STALE));
    for (size_t i = 0; i < nranges; i++) {
        MRMR_TRY(meta_unexpose(meta, item->node.id, ranges[i].first, ranges[i].leaves));
        ranges[i].drive = item->target->meta.id;
        MRMR_TRY(meta_expose(meta, &ranges[i]));
    }
    for (size_t i = 0; i < n; i++) {
        if (!pool_extent_wanted(&extents[i]))
            continue;
        struct meta_exposed range = {.drive = item->target->meta.id,
            .node = item->node.id,
            .first = extents[i].first,
            .leaves = extents[i].leaves,
            .bytes = extents[i].bytes,
            .since = mrmr_clock_real()};
        MRMR_TRY(meta_expose(meta, &range));
    }
    return MRMR_OK;
}

/* On a drive that has the lost one's place the next scan judges that, by the inode that it had: it may have been
 * renamed, or was removed through MRMR. Nothing is claimed of its bytes. Elsewhere nothing came of it: it is on the lost
 * drive yet. */
static mrmr_err restore_record_went(struct restore *item)
{
    const bool placed = item->node.type != META_DIR;
    item->state = RESTORE_WENT;
    if (item->rebuild->away || !placed)
        return MRMR_OK;
    item->node.ino = item->there.ino;
    item->node.ctime = item->there.ctime;
    item->node.btime = item->there.btime;
    item->node.nlink = item->there.nlink;
    return meta_node_store(item->rebuild->pool->meta, &item->node);
}

/* The first of its names becomes the one that it has now, and the others go. */
static mrmr_err restore_incomplete_name(struct restore *item, const struct restore_name *name)
{
    struct meta *meta = item->rebuild->pool->meta;
    const char *slash = strrchr(item->path.data, '/');
    int64_t to;
    if (item->named)
        return meta_name_remove(meta, name->parent, name->name);
    MRMR_TRY(restore_folder_node(
        item, item->path.data, slash ? (size_t)(slash - item->path.data) : 0, &to));
    mrmr_err err =
        meta_name_move(meta, name->parent, name->name, to, slash ? slash + 1 : item->path.data);
    item->named = !err;
    return err == MRMR_EXISTS ? meta_name_remove(meta, name->parent, name->name) : err;
}

/* *ret_goes_on: the node has the file; else a scan has met it, and the node is out of the catalog. */
static mrmr_err restore_record_incomplete(struct restore *item, bool *ret_goes_on)
{
    struct meta *meta = item->rebuild->pool->meta;
    mrmr_autobytes struct mrmr_bytes was = MRMR_BYTES_INIT;
    MRMR_TRY(meta_path(meta, item->node.id, &was));
    MRMR_TRY(pool_restore_names(item, restore_incomplete_name));
    *ret_goes_on = item->named;
    MRMR_TRY(
        item->named ? pool_restore_give_up_missing(item) : meta_node_remove(meta, item->node.id));
    return pool_restore_tell_incomplete(item, was.data);
}

/* It is not what was put there: a user's, and the node is still to do. */
static mrmr_err restore_incomplete_went(struct restore *item)
{
    item->rebuild->report->failed++;
    item->rebuild->report->failed_bytes += item->node.size;
    item->state = RESTORE_FAILED;
    pool_tell(item->rebuild->pool, NULL, true, "restore-failed", item->target,
        "'%.1000s' was changed or removed while it was brought there; run rebuild again",
        item->path.data);
    return MRMR_OK;
}

static mrmr_err restore_record_node(struct restore *item)
{
    struct meta *meta = item->rebuild->pool->meta;
    struct drv_stat stat;
    bool goes_on = true;
    if (item->held)
        return MRMR_OK; /* repair recorded it */
    mrmr_err err = pool_restore_stat(item, &stat);
    if (item->incomplete && (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
                                (!err && !pool_restore_is_there(item, &stat))))
        return restore_incomplete_went(item);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        return restore_record_went(item);
    MRMR_TRY(err);
    /* A user saved it: the next scan takes that in. What went to another drive claims nothing. */
    if (!item->rebuild->away && item->node.type == META_REG &&
        !pool_restore_is_there(item, &stat)) {
        item->state = RESTORE_ENDED;
        return MRMR_OK;
    }
    if (item->incomplete)
        MRMR_TRY(restore_record_incomplete(item, &goes_on));
    if (!goes_on)
        return MRMR_OK;
    /* What the drive or this user cannot hold stays as the catalog had it. */
    item->node.ino = stat.ino;
    item->node.ctime = stat.ctime;
    item->node.btime = stat.btime;
    item->node.nlink = stat.nlink;
    if (!item->rebuild->away) {
        MRMR_TRY(meta_node_store(meta, &item->node));
        return meta_extents_mark(meta, item->node.id, META_MISSING, META_LIVE);
    }
    if (item->node.type == META_DIR) {
        int64_t folder;
        return restore_folder_node(item, item->path.data, item->path.size, &folder);
    }
    item->node.drive = item->target->meta.id;
    if (!item->incomplete)
        MRMR_TRY(pool_restore_names(item, restore_move_name));
    MRMR_TRY(meta_node_store(meta, &item->node));
    return restore_expose_moved(item);
}

/* The next scan must not take the other file for an edit, and let go of what is protected. */
static mrmr_err restore_hold(struct restore *item)
{
    struct meta_change held = {
        .drive = item->node.drive, .kind = META_CHANGE_HELD, .node = item->node.id};
    pool_node_from_stat(&held.now, &item->other);
    return meta_change_add(item->rebuild->pool->meta, &held);
}

/* All its names were removed: the end of the run takes it out of the catalog. */
static bool restore_is_late(const struct restore *item)
{
    return item->state == RESTORE_ENDED && item->late && !item->alive;
}

mrmr_err pool_restore_record(struct meta *meta, void *arg)
{
    const struct restore_set *set = arg;
    for (size_t i = 0; i < set->n; i++) {
        struct restore *item = &set->items[i];
        if (item->state == RESTORE_PLACED || item->state == RESTORE_KEPT)
            MRMR_TRY(restore_record_node(item));
        if (item->conflict)
            MRMR_TRY(restore_hold(item));
        if (item->state == RESTORE_LEFT)
            continue;
        if ((item->state != RESTORE_FAILED && !restore_is_late(item)) ||
            item->rebuild->drive->meta.state != META_DRIVE_REBUILDING)
            MRMR_TRY(meta_todo_done(meta, POOL_REBUILD_JOB, item->node.id));
    }
    return MRMR_OK;
}
