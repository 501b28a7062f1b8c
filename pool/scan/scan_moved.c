/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was renamed through MRMR while the walk was under way: from a folder that was not read yet to
 * one that was, and so it was seen nowhere. Before anything is taken for vanished, or for replaced by
 * something else, it is looked for where the records (moved.h) say that it may be. A folder in which
 * such a thing lies is looked at again, and it is found there as anything that moves is.
 */
#include "pool/records/moved.h"
#include "pool/scan/scan.h"

#include <string.h>

enum { ESCAPE_TRIES = 8 };

struct escape {
    struct pool_scan_drive *scan;
    struct pool_scan_ids seen;   /* nodes that the walk found elsewhere, and that wait for a name */
    struct pool_scan_ids gone;   /* nodes of which it did not find a name */
    struct pool_scan_ids looked; /* folders that are to be looked at again */
};
typedef mrmr_err (*escape_fn)(struct escape *escape, const struct meta_change *change);

/* An entry is left out, or a folder above it. */
static bool escape_is_excluded(const struct pool_scan_drive *scan, const char *path)
{
    mrmr_autofree char *copy = strdup(path);
    for (char *name = copy, *slash; name; name = slash ? slash + 1 : NULL) {
        slash = strchr(name, '/');
        if (slash)
            *slash = '\0';
        if (name > copy)
            name[-1] = '\0';
        if (pool_scan_excluded(scan->excludes, name > copy ? copy : "", name))
            return true;
        if (name > copy)
            name[-1] = '/';
    }
    return false;
}

/* The nearest folder above the path that the catalog knows, which is the root at last. *ret_its: the
 * path lies in that very folder. */
static mrmr_err escape_folder(
    struct escape *escape, const char *path, int64_t *ret_folder, bool *ret_its)
{
    struct pool_scan_drive *scan = escape->scan;
    mrmr_autofree char *folder = strdup(path);
    if (!folder)
        return mrmr_nomem();
    *ret_its = true;
    for (char *slash; (slash = strrchr(folder, '/')); *ret_its = false) {
        struct meta_node node;
        *slash = '\0';
        mrmr_err err = meta_lookup_path(scan->pool->meta, scan->drive->meta.root, folder, &node);
        if (!err && node.type == META_DIR) {
            *ret_folder = node.id;
            return MRMR_OK;
        }
        if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
            return err;
    }
    *ret_folder = scan->drive->meta.root;
    return MRMR_OK;
}

/* It is at the path: its folder is looked at again, once. Where no inode would tell the walk, the
 * move is staged here. */
static mrmr_err escape_found(struct escape *escape, const struct meta_node *node, const char *path,
    const struct drv_stat *stat)
{
    struct pool_scan_drive *scan = escape->scan;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int64_t folder;
    bool its;
    MRMR_TRY(escape_folder(escape, path, &folder, &its));
    if (!(scan->drive->info.caps & DRV_CAP_STABLE_INO) && its) {
        struct meta_change moved = {
            .drive = node->drive, .kind = META_CHANGE_APPEARED, .node = node->id, .parent = folder};
        if (strlen(name) > META_NAME_MAX)
            return MRMR_OK;
        memcpy(moved.name, name, strlen(name) + 1);
        pool_node_from_stat(&moved.now, stat);
        return meta_change_add(scan->pool->meta, &moved);
    }
    if (pool_scan_ids_has(&escape->looked, folder))
        return MRMR_OK;
    MRMR_TRY(pool_scan_ids_add(&escape->looked, folder));
    return pool_scan_list_add(&scan->revisit, folder);
}

/* Not to know whether it is there is not to know that it is gone. */
static mrmr_err escape_unknown(struct escape *escape, const struct meta_node *node, mrmr_err err)
{
    struct pool_scan_drive *scan = escape->scan;
    if (err == MRMR_OFFLINE || err == MRMR_TIMEOUT || err == MRMR_UNAVAILABLE) {
        scan->worker->stopped = true;
        return mrmr_err_drive(err, scan->drive->meta.name);
    }
    if (mrmr_ran_short(err) || err == MRMR_CANCELLED)
        return err;
    return pool_scan_ids_add(&scan->escaped, node->id);
}

/* What is there is known by that path already. A folder is known twice then, and a file by two names, and by the other one it is
 * nowhere. A file of which a name was not found itself may have been renamed to the other under the walk, when that was read. */
static mrmr_err escape_is_known(
    const struct escape *escape, const struct meta_node *node, const char *path, bool *ret_known)
{
    const struct pool_scan_drive *scan = escape->scan;
    struct meta_node known;
    if (node->type != META_DIR && pool_scan_ids_has(&escape->gone, node->id))
        return MRMR_OK;
    if (!(scan->drive->info.caps & DRV_CAP_STABLE_INO) || !node->ino)
        return MRMR_OK;
    mrmr_err err = meta_lookup_path(scan->pool->meta, scan->drive->meta.root, path, &known);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        return MRMR_OK;
    MRMR_TRY(err);
    *ret_known = known.type == node->type && known.ino == node->ino &&
                 !pool_scan_is_other(&scan->drive->info, node, &known);
    return MRMR_OK;
}

/* At one of the places that the records name. */
static mrmr_err escape_look_at(struct escape *escape, const struct meta_node *node,
    const char *from, const struct pool_moved_paths *moved, bool *ret_there)
{
    struct pool_scan_drive *scan = escape->scan;
    for (size_t i = 0; i < moved->n; i++) {
        const char *path = moved->path[i];
        struct drv_stat stat;
        mrmr_err err =
            escape_is_excluded(scan, path) ? MRMR_ABSENT : drv_stat(scan->drive->drv, path, &stat);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
            (!err && !pool_node_is(&scan->drive->info, node, &stat)))
            continue;
        bool known = false;
        if (!err && strcmp(path, from) != 0)
            MRMR_TRY(escape_is_known(escape, node, path, &known));
        if (known)
            continue;
        *ret_there = true;
        if (err)
            return escape_unknown(escape, node, err);
        MRMR_TRY(pool_scan_ids_add(&scan->escaped, node->id));
        return escape_found(escape, node, path, &stat);
    }
    return MRMR_OK;
}

/* *ret_there: it was seen, or what the catalog has at this path is elsewhere, or nobody can say. It
 * may be renamed again while it is looked for: there is a new record then. */
static mrmr_err escape_look(
    struct escape *escape, const struct meta_node *node, const char *path, bool *ret_there)
{
    struct pool_scan_drive *scan = escape->scan;
    struct pool_moved_paths moved = {.n = 0};
    uint64_t before = 0;
    *ret_there = pool_scan_ids_has(&escape->seen, node->id);
    for (unsigned i = 0; !*ret_there && i < ESCAPE_TRIES; i++) {
        MRMR_TRY(pool_moved_paths(scan->pool, node->drive, path, &moved));
        bool known = i && moved.stamp == before;
        before = moved.stamp;
        mrmr_err err = known ? MRMR_OK : escape_look_at(escape, node, path, &moved, ret_there);
        known = known || !moved.n;
        pool_moved_paths_free(&moved);
        if (err || known)
            return err;
    }
    if (*ret_there)
        return MRMR_OK;
    *ret_there = true;
    return pool_scan_ids_add(&scan->escaped, node->id);
}

/* A folder that is gone, and what was in it may have been moved out before. */
static mrmr_err escape_look_below(struct escape *escape, int64_t folder)
{
    struct meta *meta = escape->scan->pool->meta;
    struct pool_scan_list list = {.n = 0};
    mrmr_err err = pool_scan_list_add(&list, folder);
    while (!err && list.n) {
        mrmr_autofree struct meta_child *children = NULL;
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        int64_t at = list.id[--list.n];
        size_t n = 0;
        err = meta_path(meta, at, &path);
        if (!err)
            err = meta_children(meta, at, &children, &n);
        size_t size = path.size;
        for (size_t i = 0; !err && i < n; i++) {
            bool there = false;
            path.size = size;
            err = mrmr_bytes_fmt(&path, "%s%s", size ? "/" : "", children[i].name);
            if (!err)
                err = escape_look(escape, &children[i].node, path.data, &there);
            if (!err && !there && children[i].node.type == META_DIR)
                err = pool_scan_list_add(&list, children[i].node.id);
        }
    }
    pool_scan_list_free(&list);
    return err;
}

/* It is not there, or may be another. */
static bool escape_is_possible(const struct pool_scan_drive *scan, const struct meta_change *change,
    const struct meta_node *node)
{
    const struct drv_info *info = &scan->drive->info;
    return change->kind == META_CHANGE_VANISHED || !(info->caps & DRV_CAP_STABLE_INO) ||
           pool_scan_is_other(info, node, &change->now);
}

static mrmr_err escape_change(struct escape *escape, const struct meta_change *change)
{
    struct pool_scan_drive *scan = escape->scan;
    struct meta_node node;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    bool there;
    mrmr_err err = meta_lookup(scan->pool->meta, change->parent, change->name, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || (!err && node.id != change->node))
        return MRMR_OK; /* it was found by now */
    MRMR_TRY(err);
    if (pool_scan_ids_has(&scan->hidden, node.id) || !escape_is_possible(scan, change, &node))
        return MRMR_OK;
    MRMR_TRY(meta_path(scan->pool->meta, change->parent, &path));
    MRMR_TRY(mrmr_bytes_fmt(&path, "%s%s", path.size ? "/" : "", change->name));
    MRMR_TRY(escape_look(escape, &node, path.data, &there));
    return there || node.type != META_DIR ? MRMR_OK : escape_look_below(escape, node.id);
}

static mrmr_err escape_seen(struct escape *escape, const struct meta_change *change)
{
    return pool_scan_ids_add(&escape->seen, change->node);
}

static mrmr_err escape_gone(struct escape *escape, const struct meta_change *change)
{
    return pool_scan_ids_add(&escape->gone, change->node);
}

static mrmr_err escape_changes(struct escape *escape, enum meta_change_kind kind, escape_fn fn)
{
    enum { BATCH = 32 };
    struct pool_scan_drive *scan = escape->scan;
    mrmr_autofree struct meta_change *changes = calloc(BATCH, sizeof *changes);
    int64_t after = 0;
    size_t n = 0;
    if (!changes)
        return mrmr_nomem();
    do {
        MRMR_TRY(pool_job_poll(scan->job));
        MRMR_TRY(meta_changes_after(
            scan->pool->meta, scan->drive->meta.id, kind, after, changes, BATCH, &n));
        for (size_t i = 0; i < n; i++)
            MRMR_TRY(fn(escape, &changes[i]));
        after = n ? changes[n - 1].id : after;
    } while (n);
    return MRMR_OK;
}

mrmr_err pool_scan_escaped(struct pool_scan_drive *scan)
{
    struct escape escape = {.scan = scan};
    pool_scan_ids_free(&scan->escaped);
    mrmr_err err = escape_changes(&escape, META_CHANGE_APPEARED, escape_seen);
    if (!err)
        err = escape_changes(&escape, META_CHANGE_VANISHED, escape_gone);
    if (!err)
        err = escape_changes(&escape, META_CHANGE_VANISHED, escape_change);
    if (!err)
        err = escape_changes(&escape, META_CHANGE_CHANGED, escape_change);
    if (!err)
        err = escape_changes(&escape, META_CHANGE_RECHECK, escape_change);
    pool_scan_ids_free(&escape.seen);
    pool_scan_ids_free(&escape.gone);
    pool_scan_ids_free(&escape.looked);
    return err;
}

mrmr_err pool_scan_unseen(struct pool_scan_drive *scan, const char *path)
{
    return mrmr_bytes_add(&scan->unseen, path, strlen(path) + 1);
}

mrmr_err pool_scan_is_done_with_moves(struct pool_scan_drive *scan, bool *ret_done)
{
    bool open = scan->hold || scan->replacing || scan->stranded.n || scan->escaped.n;
    for (size_t at = 0; !open && at < scan->unseen.size; at += strlen(scan->unseen.data + at) + 1)
        MRMR_TRY(
            pool_moved_concerns(scan->pool, scan->drive->meta.id, scan->unseen.data + at, &open));
    *ret_done = !open;
    return MRMR_OK;
}

/* --- names that came together --- */

/* A node, not the one that the change is of, is what was seen. */
static mrmr_err is_known_already(
    const struct pool_scan_drive *scan, const struct meta_change *change, bool *ret_known)
{
    enum { MOST = 8 };
    const struct drv_info *info = &scan->drive->info;
    struct meta_node nodes[MOST];
    size_t n = 0;
    *ret_known = false;
    if (!(info->caps & DRV_CAP_STABLE_INO) || !change->now.ino)
        return MRMR_OK;
    MRMR_TRY(
        meta_node_by_ino(scan->pool->meta, scan->drive->meta.id, change->now.ino, nodes, MOST, &n));
    for (size_t i = 0; i < n && !*ret_known; i++)
        *ret_known = nodes[i].id != change->node && nodes[i].type == change->now.type &&
                     !pool_scan_is_other(info, &nodes[i], &change->now);
    return MRMR_OK;
}

mrmr_err pool_scan_linked(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta *meta = scan->pool->meta;
    struct meta_change gone = *change;
    struct meta_node there;
    bool known;
    mrmr_err err = meta_lookup(meta, change->parent, change->name, &there);
    if (err || there.id != change->node)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
    if (!pool_scan_is_other(&scan->drive->info, &there, &change->now))
        return MRMR_OK;
    MRMR_TRY(is_known_already(scan, change, &known));
    if (!known)
        return MRMR_OK;
    gone.kind = META_CHANGE_VANISHED;
    MRMR_TRY(meta_change_remove(meta, change->id));
    MRMR_TRY(meta_change_add(meta, &gone));
    MRMR_TRY(pool_scan_ids_add(&scan->replaced, change->node));
    return pool_scan_list_add(&scan->revisit, change->parent);
}
