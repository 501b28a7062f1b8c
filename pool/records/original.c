/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A node's file, to be read: at the catalog's path, or where it was renamed to through MRMR since the
 * last scan (moved.h), or at another of its names. All who read what stripes count on open it here; and
 * who lets a name of it go asks here whether it is found without that.
 *
 * Which file it is tells its inode, where the drive calls those stable; else its size and time, which
 * say less. Neither is more than a guess at where to read: the digests decide.
 */
#include "pool/records/moved.h"
#include "pool/scan/scan.h"

#include <string.h>
#include <strings.h>

enum { ORIGINAL_TRIES = 4 };

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

/* What is looked for, and where that may be. */
struct original {
    struct meta_node node;
    struct pool_drive *drive;
    struct mrmr_bytes path;
    struct pool_moved_paths moved;
};

static void original_free(struct original *o)
{
    mrmr_bytes_free(&o->path);
    pool_moved_paths_free(&o->moved);
}

static mrmr_err original_find(struct pool *pool, int64_t node, struct original *o)
{
    if (!node)
        return mrmr_fail(MRMR_ABSENT, "its file is gone");
    MRMR_TRY(meta_node_get(pool->meta, node, &o->node));
    o->drive = pool_drive_by_id(pool, o->node.drive);
    if (!pool_drive_readable(o->drive))
        return mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, NULL), o->drive ? o->drive->meta.name : "?");
    return meta_path(pool->meta, node, &o->path);
}

static const char *original_path(const struct original *o)
{
    return o->path.size ? o->path.data : "";
}

static mrmr_err original_open_at(
    const struct original *o, const char *path, struct drv_file **ret_file)
{
    return mrmr_err_drive(
        drv_file_open(o->drive->drv, path, DRV_OPEN_READ, 0, ret_file), o->drive->meta.name);
}

bool pool_node_is(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat)
{
    struct meta_node now = {0};
    if ((int)stat->type != (int)node->type)
        return false;
    pool_node_from_stat(&now, stat);
    if ((info->caps & DRV_CAP_STABLE_INO) && node->ino && now.ino)
        return !pool_scan_is_other(info, node, &now);
    return node->type == META_REG && node->size == now.size && node->mtime == now.mtime;
}

static mrmr_err original_check(const struct original *o, struct drv_file *file)
{
    struct drv_stat stat;
    MRMR_TRY(mrmr_err_drive(drv_file_stat(file, &stat), o->drive->meta.name));
    return pool_node_is(&o->drive->info, &o->node, &stat)
               ? MRMR_OK
               : mrmr_fail(MRMR_ABSENT, "it was renamed, and another file is there");
}

/* At one of the places that the records name. err: why it is not at the catalog's. */
static mrmr_err original_open_moved(
    const struct original *o, mrmr_err err, struct drv_file **ret_file)
{
    for (size_t i = 0; i < o->moved.n && mrmr_class_of(err) == MRMR_CLASS_ABSENT; i++) {
        MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
        err = original_open_at(o, o->moved.path[i], &file);
        if (!err)
            err = original_check(o, file);
        if (!err)
            *ret_file = mrmr_steal(file);
        if (err == MRMR_NOT_DIR)
            err = mrmr_fail(MRMR_ABSENT, NULL);
    }
    return err;
}

/* The records are looked at after the path was: they are older than the rename. */
static mrmr_err original_open_once(
    struct pool *pool, struct original *o, struct drv_file **ret_file)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    mrmr_err err = original_open_at(o, original_path(o), &file);
    if (mrmr_ran_short(err))
        return err;
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (pool_moved_any(pool))
        MRMR_TRY(pool_moved_paths(pool, o->node.drive, original_path(o), &o->moved));
    if (!o->moved.n) {
        *ret_file = mrmr_steal(file);
        return err ? mrmr_story_restore(&story) : MRMR_OK;
    }
    if (!err)
        err = original_check(o, file);
    if (!err)
        *ret_file = mrmr_steal(file);
    else if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        err = original_open_moved(o, MRMR_ABSENT, ret_file);
    return err;
}

/* Whether the catalog, or the records, say by now something else than they did. */
static mrmr_err original_is_new(struct pool *pool, const struct original *was, bool *ret_new)
{
    struct original now = {.path = MRMR_BYTES_INIT};
    mrmr_err err = original_find(pool, was->node.id, &now);
    if (!err)
        err = pool_moved_paths(pool, now.node.drive, original_path(&now), &now.moved);
    if (!err)
        *ret_new = now.moved.stamp != was->moved.stamp ||
                   strcmp(original_path(&now), original_path(was)) != 0;
    original_free(&now);
    return err;
}

/* --- hard links --- */

/* The very inode that the catalog has. */
static bool node_is_open(
    const struct pool_drive *drive, const struct meta_node *node, struct drv_file *file)
{
    struct drv_stat stat;
    return file && (!(drive->info.caps & DRV_CAP_STABLE_INO) ||
                       (!drv_file_stat(file, &stat) && stat.ino == node->ino));
}

struct node_names {
    struct pool *pool;
    const struct pool_drive *drive;
    const struct meta_node *node;
    struct mrmr_bytes list;
};

static mrmr_err node_name_add(int64_t parent, const char *name, void *arg)
{
    struct node_names *names = arg;
    MRMR_TRY(mrmr_bytes_add(&names->list, &parent, sizeof parent));
    return mrmr_bytes_add(&names->list, name, strlen(name) + 1);
}

/* At a path which is that of the name, or where it was renamed to. */
static mrmr_err node_open_path(
    const struct node_names *names, const char *path, struct drv_file **ret_file)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    MRMR_TRY(drv_file_open(names->drive->drv, path, DRV_OPEN_READ, 0, &file));
    if (!node_is_open(names->drive, names->node, file))
        return mrmr_fail(MRMR_ABSENT, "another file has its name");
    *ret_file = mrmr_steal(file);
    return MRMR_OK;
}

/* The name's path, as the catalog has it, and where the records say that it may be (moved.h). */
typedef mrmr_err (*moved_paths_fn)(
    struct pool *pool, int64_t drive, const char *path, struct pool_moved_paths *ret_paths);
static mrmr_err name_paths(const struct node_names *names, int64_t parent, const char *name,
    moved_paths_fn paths, struct mrmr_bytes *path, struct pool_moved_paths *ret_moved)
{
    struct pool *pool = names->pool;
    MRMR_TRY(meta_path(pool->meta, parent, path));
    MRMR_TRY(mrmr_bytes_fmt(path, "%s%s", path->size ? "/" : "", name));
    return pool_moved_any(pool) ? paths(pool, names->node->drive, path->data, ret_moved) : MRMR_OK;
}

static mrmr_err node_open_name(
    const struct node_names *names, int64_t parent, const char *name, struct drv_file **ret_file)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct pool_moved_paths moved = {.n = 0};
    MRMR_TRY(name_paths(names, parent, name, pool_moved_paths, &path, &moved));
    mrmr_err err = node_open_path(names, path.data, ret_file);
    for (size_t i = 0; err && !mrmr_ran_short(err) && i < moved.n; i++)
        err = node_open_path(names, moved.path[i], ret_file);
    pool_moved_paths_free(&moved);
    return err;
}

/* Calls fn with each name that the catalog has of the node, until it says that it is done. */
typedef mrmr_err (*node_name_fn)(
    const struct node_names *names, int64_t parent, const char *name, void *arg, bool *ret_done);

static mrmr_err node_each_name(struct node_names *names, node_name_fn fn, void *arg)
{
    bool done = false;
    mrmr_err err = meta_names(names->pool->meta, names->node->id, node_name_add, names);
    for (size_t at = 0; !err && !done && at < names->list.size;) {
        int64_t parent;
        memcpy(&parent, names->list.data + at, sizeof parent);
        const char *name = names->list.data + at + sizeof parent;
        at += sizeof parent + strlen(name) + 1;
        err = fn(names, parent, name, arg, &done);
    }
    mrmr_bytes_free(&names->list);
    return err;
}

struct opening {
    struct drv_file **ret_file;
    mrmr_err err; /* of the name that was tried last */
};

static mrmr_err node_open_try(
    const struct node_names *names, int64_t parent, const char *name, void *arg, bool *ret_done)
{
    struct opening *opening = arg;
    opening->err = node_open_name(names, parent, name, opening->ret_file);
    *ret_done = !opening->err;
    return mrmr_ran_short(opening->err) ? opening->err : MRMR_OK;
}

/* Of the names that the catalog has the first may be gone, or be another file's, since the last scan:
 * the bytes are still there if another one leads to them. */
static mrmr_err node_open_other(struct pool *pool, const struct pool_drive *drive,
    const struct meta_node *node, struct drv_file **ret_file)
{
    struct node_names names = {.pool = pool, .drive = drive, .node = node};
    struct opening opening = {.ret_file = ret_file, .err = mrmr_fail(MRMR_ABSENT, NULL)};
    MRMR_TRY(node_each_name(&names, node_open_try, &opening));
    return opening.err;
}

/* --- without one of its names --- */

struct finding {
    const char *but;
    bool found;
};

/* Letters are compared as a drive might that tells no upper case from lower. */
static bool path_leads(const struct node_names *names, const char *path, const char *but)
{
    struct drv_stat stat;
    return strcasecmp(path, but) != 0 && !drv_stat(names->drive->drv, path, &stat) &&
           stat.type == DRV_REG && stat.ino == names->node->ino;
}

static mrmr_err node_find_name(
    const struct node_names *names, int64_t parent, const char *name, void *arg, bool *ret_done)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct pool_moved_paths moved = {.n = 0};
    struct finding *finding = arg;
    MRMR_TRY(name_paths(names, parent, name, pool_moved_paths_sure, &path, &moved));
    finding->found = path_leads(names, path.data, finding->but);
    for (size_t i = 0; !finding->found && i < moved.n; i++)
        finding->found = path_leads(names, moved.path[i], finding->but);
    pool_moved_paths_free(&moved);
    *ret_done = finding->found;
    return MRMR_OK;
}

/* Who reads tries other names than the first of a node that has several, and of no other. */
static mrmr_err node_found_but(struct pool *pool, const struct pool_drive *drive,
    const struct meta_node *node, const char *but, bool *ret_found)
{
    struct node_names names = {.pool = pool, .drive = drive, .node = node};
    struct finding finding = {.but = but};
    if (node->nlink > 1)
        MRMR_TRY(node_each_name(&names, node_find_name, &finding));
    *ret_found = finding.found;
    return MRMR_OK;
}

mrmr_err pool_inode_found_but(struct pool *pool, const struct pool_drive *drive, uint64_t ino,
    const char *but, bool *ret_found)
{
    enum { MOST = 8 };
    const uint32_t needs = DRV_CAP_STABLE_INO | DRV_CAP_CASE_SENSITIVE;
    struct meta_node node[MOST];
    bool found = ino && (drive->info.caps & needs) == needs;
    size_t n = 0;
    if (found)
        MRMR_TRY(meta_node_by_ino(pool->meta, drive->meta.id, ino, node, MOST, &n));
    found = found && n > 0 && n < MOST;
    for (size_t i = 0; found && i < n; i++)
        MRMR_TRY(node_found_but(pool, drive, &node[i], but, &found));
    *ret_found = found;
    return MRMR_OK;
}

/* The drive says that the name is gone, or leads to what is no file. */
static bool node_is_gone(mrmr_err err)
{
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || mrmr_class_of(err) == MRMR_CLASS_INVALID;
}

/* What was opened, or not, is not the file: another name may lead to it still. */
static mrmr_err original_open_linked(
    struct pool *pool, const struct original *o, mrmr_err err, struct drv_file **file)
{
    struct drv_file *other = NULL;
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (o->node.nlink <= 1 || (err ? !node_is_gone(err) : node_is_open(o->drive, &o->node, *file)))
        return err;
    if (node_open_other(pool, o->drive, &o->node, &other))
        return err ? mrmr_story_restore(&story) : MRMR_OK;
    drv_file_close(*file);
    *file = other;
    return MRMR_OK;
}

/* --- all of it --- */

static mrmr_err original_try(
    struct pool *pool, int64_t node, struct drv_file **ret_file, bool *ret_again)
{
    struct original o = {.path = MRMR_BYTES_INIT};
    struct mrmr_story story;
    *ret_again = false;
    mrmr_err err = original_find(pool, node, &o);
    if (!err) {
        struct drv_file *file = NULL;
        err = original_open_once(pool, &o, &file);
        err = original_open_linked(pool, &o, err, &file);
        if (!err)
            *ret_file = file;
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
            mrmr_story_save(&story);
            if (original_is_new(pool, &o, ret_again))
                *ret_again = false;
            mrmr_story_restore(&story);
        }
    }
    original_free(&o);
    return err;
}

mrmr_err pool_node_open(struct pool *pool, int64_t node, struct drv_file **ret_file)
{
    bool again = true;
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; again && i < ORIGINAL_TRIES; i++)
        err = original_try(pool, node, ret_file, &again);
    return err;
}

static mrmr_err original_leaf(const struct original *o, const char *path,
    const struct meta_extent *extent, uint64_t i, void *buf)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    uint32_t size = pool_leaf_size(extent, i);
    MRMR_TRY(original_open_at(o, path, &file));
    MRMR_TRY(drv_file_read_exact(file, (extent->first + i) * META_LEAF, buf, size));
    struct mrmr_digest got = mrmr_digest_of(buf, size);
    return mrmr_digest_equal(&got, &extent->digests[i]) ? MRMR_OK : mrmr_fail(MRMR_DIGEST, NULL);
}

mrmr_err pool_node_leaf_moved(
    struct pool *pool, const struct meta_extent *extent, uint64_t i, void *buf)
{
    struct original o = {.path = MRMR_BYTES_INIT};
    if (!pool_moved_any(pool))
        return mrmr_fail(MRMR_ABSENT, NULL);
    mrmr_err err = original_find(pool, extent->node, &o);
    if (!err)
        err = pool_moved_paths(pool, o.node.drive, original_path(&o), &o.moved);
    if (!err && o.moved.n)
        err = original_leaf(&o, original_path(&o), extent, i, buf);
    else if (!err)
        err = mrmr_fail(MRMR_ABSENT, NULL);
    for (size_t k = 0; err && !mrmr_ran_short(err) && k < o.moved.n; k++)
        err = original_leaf(&o, o.moved.path[k], extent, i, buf);
    original_free(&o);
    return err;
}
