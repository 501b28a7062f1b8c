/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/names.h"
#include "pool/records/gone.h"
#include "pool/records/moved.h"

#include <string.h>

struct pool_names {
    struct pool *pool;
    int64_t drive, root;
    struct pool_gone *gone;
    struct pool_moved_now *now; /* NULL: not worked out, or there are no records */
    bool held;                  /* it stays */
};

/* --- what the records say --- */

void pool_names_forget(struct pool_names *names)
{
    pool_moved_now_destroy(names->now);
    names->now = NULL;
}

/* *ret_now NULL: there are no records. */
static mrmr_err records_now(struct pool_names *names, const struct pool_moved_now **ret_now)
{
    uint64_t stamp;
    bool any, same = false;
    *ret_now = names->now;
    if (names->held)
        return MRMR_OK;
    MRMR_TRY(pool_moved_stamp(names->pool, names->drive, &stamp, &any));
    if (names->now && any)
        MRMR_TRY(pool_moved_now_same(names->now, stamp, &same));
    if (!same)
        pool_names_forget(names);
    if (any && !names->now)
        MRMR_TRY(pool_moved_now_create(names->pool, names->drive, names->root, &names->now));
    *ret_now = names->now;
    return MRMR_OK;
}

mrmr_err pool_names_hold(struct pool_names *names)
{
    const struct pool_moved_now *now;
    MRMR_TRY(records_now(names, &now));
    names->held = true;
    return MRMR_OK;
}

/* --- one path --- */

static bool is_gone(
    const struct pool_names *names, const char *origin, const struct meta_node *node)
{
    return names->gone && pool_gone_any(names->gone) && pool_gone_has(names->gone, origin, node);
}

/* By the catalog's path. */
static mrmr_err lookup(
    const struct pool_names *names, const char *origin, struct meta_node *ret_node)
{
    struct meta_node node;
    MRMR_TRY(meta_lookup_path(names->pool->meta, names->root, origin, &node));
    if (is_gone(names, origin, &node))
        return mrmr_fail(MRMR_ABSENT, "it was removed");
    *ret_node = node;
    return MRMR_OK;
}

static mrmr_err lookup_origin(const struct pool_names *names, const struct pool_moved_now *now,
    const char *path, struct meta_node *ret_node)
{
    mrmr_autobytes struct mrmr_bytes origin = MRMR_BYTES_INIT;
    MRMR_TRY(pool_moved_now_origin(now, path, &origin));
    return lookup(names, origin.data, ret_node);
}

/* No node of the catalog, but things lie in it that are. */
static mrmr_err lookup_made(const struct pool_names *names, const struct pool_moved_now *now,
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
        err = lookup_origin(names, now, above, &node);
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

mrmr_err pool_names_lookup(struct pool_names *names, const char *path, struct meta_node *ret_node)
{
    const struct pool_moved_now *now;
    MRMR_TRY(records_now(names, &now));
    if (!now)
        return lookup(names, path, ret_node);
    mrmr_err err = lookup_origin(names, now, path, ret_node);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    return lookup_made(names, now, path, ret_node);
}

mrmr_err pool_names_origin(struct pool_names *names, const char *path, struct mrmr_bytes *ret_path)
{
    const struct pool_moved_now *now;
    MRMR_TRY(records_now(names, &now));
    mrmr_err err = now ? pool_moved_now_origin(now, path, ret_path) : MRMR_ABSENT;
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    mrmr_bytes_clear(ret_path);
    return mrmr_bytes_str(ret_path, path);
}

mrmr_err pool_names_place(struct pool_names *names, const char *path, struct mrmr_bytes *ret_path)
{
    const struct pool_moved_now *now;
    struct meta_node node;
    MRMR_TRY(lookup(names, path, &node));
    MRMR_TRY(records_now(names, &now));
    if (now)
        return pool_moved_now_place(now, path, ret_path);
    mrmr_bytes_clear(ret_path);
    return mrmr_bytes_str(ret_path, path);
}

static mrmr_err add_name(int64_t parent, const char *name, void *arg)
{
    struct mrmr_bytes *list = arg;
    MRMR_TRY(mrmr_bytes_add(list, &parent, sizeof parent));
    return mrmr_bytes_add(list, name, strlen(name) + 1);
}

static mrmr_err add_place(
    struct pool_names *names, int64_t parent, const char *name, struct mrmr_bytes *paths)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, place = MRMR_BYTES_INIT;
    mrmr_err err = meta_path(names->pool->meta, parent, &path);
    if (!err)
        err = mrmr_bytes_fmt(&path, "%s%s", path.size ? "/" : "", name);
    if (!err)
        err = pool_names_place(names, path.data, &place);
    if (!err)
        err = mrmr_bytes_add(paths, place.data, place.size + 1);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

mrmr_err pool_names_places(struct pool_names *names, int64_t node, struct mrmr_bytes *paths)
{
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    MRMR_TRY(meta_names(names->pool->meta, node, add_name, &list));
    for (size_t at = 0; at < list.size;) {
        int64_t parent;
        memcpy(&parent, list.data + at, sizeof parent);
        const char *name = list.data + at + sizeof parent;
        at += sizeof parent + strlen(name) + 1;
        MRMR_TRY(add_place(names, parent, name, paths));
    }
    return MRMR_OK;
}

/* --- a folder --- */

struct listing {
    struct pool_names *names;
    const struct pool_moved_now *now;
    const char *folder;
    struct mrmr_bytes origin; /* of the folder */
    pool_names_fn fn;
    void *arg;
};

static mrmr_err join(const char *folder, const char *name, struct mrmr_bytes *path)
{
    return mrmr_bytes_fmt(path, "%s%s%s", folder, *folder ? "/" : "", name);
}

/* The name leads to what the catalog has by the same name in the folder. *ret_origin: that. */
static mrmr_err is_still(
    const struct listing *l, const char *name, struct mrmr_bytes *ret_origin, bool *ret_still)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, origin = MRMR_BYTES_INIT;
    MRMR_TRY(join(l->origin.data, name, ret_origin));
    *ret_still = true;
    if (!l->now)
        return MRMR_OK;
    MRMR_TRY(join(l->folder, name, &path));
    mrmr_err err = pool_moved_now_origin(l->now, path.data, &origin);
    *ret_still = !err && strcmp(origin.data, ret_origin->data) == 0;
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

static mrmr_err list_known(const struct listing *l, const struct meta_node *folder)
{
    mrmr_autofree struct meta_child *child = NULL;
    size_t n = 0;
    if (folder->id && folder->type == META_DIR)
        MRMR_TRY(meta_children(l->names->pool->meta, folder->id, &child, &n));
    for (size_t i = 0; i < n; i++) {
        mrmr_autobytes struct mrmr_bytes origin = MRMR_BYTES_INIT;
        bool still;
        MRMR_TRY(is_still(l, child[i].name, &origin, &still));
        if (still && !is_gone(l->names, origin.data, &child[i].node))
            MRMR_TRY(l->fn(child[i].name, &child[i].node, l->arg));
    }
    return MRMR_OK;
}

/* One that was moved here, or a folder that was made here. */
static mrmr_err list_moved(const struct listing *l, const char *name, bool in_catalog)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, origin = MRMR_BYTES_INIT;
    struct meta_node node;
    bool still = false;
    MRMR_TRY(join(l->folder, name, &path));
    mrmr_err err = pool_names_lookup(l->names, path.data, &node);
    if (!err && node.id && in_catalog)
        err = is_still(l, name, &origin, &still);
    if (!err && !still)
        err = l->fn(name, &node, l->arg);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

static mrmr_err list(struct listing *l)
{
    mrmr_autobytes struct mrmr_bytes moved = MRMR_BYTES_INIT;
    struct meta_node node;
    MRMR_TRY(pool_names_lookup(l->names, l->folder, &node));
    MRMR_TRY(records_now(l->names, &l->now));
    MRMR_TRY(mrmr_bytes_str(&l->origin, l->folder));
    if (l->now && node.id)
        MRMR_TRY(pool_moved_now_origin(l->now, l->folder, &l->origin));
    MRMR_TRY(list_known(l, &node));
    if (l->now)
        MRMR_TRY(pool_moved_now_names(l->now, l->folder, &moved));
    for (size_t at = 0; at < moved.size; at += strlen(moved.data + at) + 1)
        MRMR_TRY(list_moved(l, moved.data + at, node.id != 0));
    return MRMR_OK;
}

mrmr_err pool_names_list(struct pool_names *names, const char *folder, pool_names_fn fn, void *arg)
{
    struct listing l = {.names = names, .folder = folder, .fn = fn, .arg = arg};
    mrmr_err err = list(&l);
    mrmr_bytes_free(&l.origin);
    return err;
}

/* --- the same, as an array --- */

struct collecting {
    struct mrmr_bytes nodes, names;
};

static mrmr_err collect(const char *name, const struct meta_node *node, void *arg)
{
    struct collecting *c = arg;
    MRMR_TRY(mrmr_bytes_add(&c->nodes, node, sizeof *node));
    return mrmr_bytes_add(&c->names, name, strlen(name) + 1);
}

static int child_compare(const void *a, const void *b)
{
    return strcmp(((const struct meta_child *)a)->name, ((const struct meta_child *)b)->name);
}

static mrmr_err children_of(
    const struct collecting *c, struct meta_child **ret_children, size_t *ret_n)
{
    const size_t n = c->nodes.size / sizeof(struct meta_node);
    struct meta_child *child = malloc((n + 1) * sizeof *child + c->names.size);
    if (!child)
        return mrmr_nomem();
    char *name = (char *)(child + n + 1);
    if (c->names.size)
        memcpy(name, c->names.data, c->names.size);
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        child[i].name = name;
        memcpy(
            &child[i].node, c->nodes.data + i * sizeof(struct meta_node), sizeof(struct meta_node));
    }
    qsort(child, n, sizeof *child, child_compare);
    *ret_children = child;
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err pool_names_children(
    struct pool_names *names, const char *folder, struct meta_child **ret_children, size_t *ret_n)
{
    struct collecting c = {MRMR_BYTES_INIT, MRMR_BYTES_INIT};
    mrmr_err err = pool_names_list(names, folder, collect, &c);
    if (!err)
        err = children_of(&c, ret_children, ret_n);
    mrmr_bytes_free(&c.nodes);
    mrmr_bytes_free(&c.names);
    return err;
}

/* --- life --- */

mrmr_err pool_names_create(struct pool *pool, const struct meta_drive *drive,
    struct pool_gone *gone, struct pool_names **ret_names)
{
    struct pool_names *names = calloc(1, sizeof *names);
    if (!names)
        return mrmr_nomem();
    *names =
        (struct pool_names){.pool = pool, .drive = drive->id, .root = drive->root, .gone = gone};
    *ret_names = names;
    return MRMR_OK;
}

void pool_names_destroy(struct pool_names *names)
{
    if (!names)
        return;
    pool_names_forget(names);
    free(names);
}
