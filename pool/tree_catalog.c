/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the catalog knows of a drive, by the paths at which things are now: what was renamed through
 * MRMR since the last scan has its new name, and the old one leads nowhere (moved_now.c). So a drive
 * that goes away shows what it showed before.
 *
 * A folder that was made since the last scan, and into which something was moved, is none of the
 * catalog's: it is shown as the nearest folder above it that is.
 *
 * What the records say is worked out once for each drive, and anew when they are others, or when the
 * drive went. Locks: the drive's known_lock, over that; none is taken under it but the catalog's and
 * that of the records.
 */
#include "pool/moved.h"
#include "pool/tree.h"

#include <string.h>

/* --- what the records say --- */

static void forget_locked(struct tree_drive *drive)
{
    pool_moved_now_destroy(drive->known);
    drive->known = NULL;
}

void tree_catalog_forget(struct tree_drive *drive)
{
    mrmr_locked(&drive->known_lock);
    forget_locked(drive);
}

/* *ret_now NULL: there are no records. */
static mrmr_err now_locked(struct tree_drive *drive, const struct pool_moved_now **ret_now)
{
    struct pool *pool = drive->tree->pool;
    uint64_t stamp;
    bool any, same = false;
    *ret_now = NULL;
    MRMR_TRY(pool_moved_stamp(pool, drive->drive->meta.id, &stamp, &any));
    if (drive->known && any)
        MRMR_TRY(pool_moved_now_same(drive->known, stamp, &same));
    if (!same)
        forget_locked(drive);
    if (any && !drive->known)
        MRMR_TRY(pool_moved_now_create(
            pool, drive->drive->meta.id, drive->drive->meta.root, &drive->known));
    *ret_now = drive->known;
    return MRMR_OK;
}

/* --- one path --- */

static mrmr_err lookup(struct tree_drive *drive, const char *path, struct meta_node *ret_node)
{
    return meta_lookup_path(drive->tree->pool->meta, drive->drive->meta.root, path, ret_node);
}

static mrmr_err lookup_origin(struct tree_drive *drive, const struct pool_moved_now *now,
    const char *path, struct meta_node *ret_node)
{
    mrmr_autobytes struct mrmr_bytes origin = MRMR_BYTES_INIT;
    MRMR_TRY(pool_moved_now_origin(now, path, &origin));
    return lookup(drive, origin.data, ret_node);
}

/* No node of the catalog, but things lie in it that are. */
static mrmr_err lookup_made(struct tree_drive *drive, const struct pool_moved_now *now,
    const char *path, struct meta_node *ret_node)
{
    mrmr_autofree char *above = strdup(path);
    struct meta_node node;
    mrmr_err err = MRMR_ABSENT;
    if (!above)
        return mrmr_nomem();
    if (!pool_moved_now_leads(now, path))
        return mrmr_fail(MRMR_ABSENT, NULL);
    while (err && *above) {
        char *slash = strrchr(above, '/');
        *(slash ? slash : above) = '\0';
        err = lookup_origin(drive, now, above, &node);
    }
    MRMR_TRY(err);
    *ret_node = (struct meta_node){.drive = node.drive,
        .type = META_DIR,
        .mode = node.mode,
        .uid = node.uid,
        .gid = node.gid,
        .nlink = 2,
        .mtime = node.mtime,
        .ctime = node.ctime};
    return MRMR_OK;
}

/* Of a drive that answers all is asked that is asked often, and mostly nothing was renamed: who asks
 * compares size and time. */
static bool is_found(struct tree_drive *drive, const char *path, struct meta_node *ret_node)
{
    return tree_live(drive) && lookup(drive, path, ret_node) == MRMR_OK;
}

static mrmr_err catalog_locked(
    struct tree_drive *drive, const char *path, struct meta_node *ret_node)
{
    const struct pool_moved_now *now;
    if (is_found(drive, path, ret_node))
        return MRMR_OK;
    MRMR_TRY(now_locked(drive, &now));
    if (!now)
        return lookup(drive, path, ret_node);
    mrmr_err err = lookup_origin(drive, now, path, ret_node);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    return lookup_made(drive, now, path, ret_node);
}

mrmr_err tree_catalog(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node)
{
    struct tree_drive *own = &tree->drive[drive];
    mrmr_locked(&own->known_lock);
    return catalog_locked(own, path, ret_node);
}

mrmr_err tree_catalog_path(
    struct pool_tree *tree, size_t drive, const char *path, struct mrmr_bytes *ret_path)
{
    struct tree_drive *own = &tree->drive[drive];
    const struct pool_moved_now *now;
    mrmr_locked(&own->known_lock);
    MRMR_TRY(now_locked(own, &now));
    mrmr_err err = now ? pool_moved_now_origin(now, path, ret_path) : MRMR_ABSENT;
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    if (!err)
        return MRMR_OK;
    mrmr_bytes_clear(ret_path);
    return mrmr_bytes_str(ret_path, path);
}

/* --- a folder --- */

struct children {
    struct tree_drive *drive;
    const struct pool_moved_now *now;
    const char *folder;
    struct mrmr_bytes origin; /* of the folder */
    tree_known_fn fn;
    void *arg;
};

/* The name leads to what the catalog has by the same name in the folder. */
static mrmr_err is_still(const struct children *c, const char *name, bool *ret_still)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, origin = MRMR_BYTES_INIT,
                                     same = MRMR_BYTES_INIT;
    MRMR_TRY(tree_join(c->folder, name, &path));
    MRMR_TRY(tree_join(c->origin.data ? c->origin.data : "", name, &same));
    mrmr_err err = pool_moved_now_origin(c->now, path.data, &origin);
    *ret_still = !err && strcmp(origin.data, same.data) == 0;
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

static mrmr_err children_of(const struct children *c, const struct meta_node *folder)
{
    mrmr_autofree struct meta_child *child = NULL;
    size_t n = 0;
    if (folder->id && folder->type == META_DIR)
        MRMR_TRY(meta_children(c->drive->tree->pool->meta, folder->id, &child, &n));
    for (size_t i = 0; i < n; i++) {
        bool still = true;
        if (c->now)
            MRMR_TRY(is_still(c, child[i].name, &still));
        if (still)
            MRMR_TRY(c->fn(child[i].name, &child[i].node, c->arg));
    }
    return MRMR_OK;
}

/* One that was moved here, or a folder that was made here. */
static mrmr_err child_moved(const struct children *c, const char *name, bool in_catalog)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct meta_node node;
    bool still = false;
    MRMR_TRY(tree_join(c->folder, name, &path));
    mrmr_err err = catalog_locked(c->drive, path.data, &node);
    if (!err && node.id && in_catalog)
        err = is_still(c, name, &still);
    if (!err && !still)
        err = c->fn(name, &node, c->arg);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

static mrmr_err children_locked(struct children *c)
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct meta_node node;
    MRMR_TRY(now_locked(c->drive, &c->now));
    MRMR_TRY(catalog_locked(c->drive, c->folder, &node));
    if (c->now && node.id)
        MRMR_TRY(pool_moved_now_origin(c->now, c->folder, &c->origin));
    MRMR_TRY(children_of(c, &node));
    if (c->now)
        MRMR_TRY(pool_moved_now_names(c->now, c->folder, &names));
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1)
        MRMR_TRY(child_moved(c, names.data + at, node.id != 0));
    return MRMR_OK;
}

mrmr_err tree_catalog_list(
    struct pool_tree *tree, size_t drive, const char *folder, tree_known_fn fn, void *arg)
{
    struct children c = {.drive = &tree->drive[drive], .folder = folder, .fn = fn, .arg = arg};
    mrmr_locked(&c.drive->known_lock);
    mrmr_err err = children_locked(&c);
    mrmr_bytes_free(&c.origin);
    return err;
}
