/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ls and where: the trees of all drives merged by name. Copies of one path come newest first by the
 * catalog's own sequence (I9). Of a folder that lies on several drives ls shows one entry, the
 * newest; where shows each, by the name that it has now, also if no scan has seen its rename. What was removed while its drive was away is not shown (gone.h).
 *
 * Memory: one folder of each drive. What is shown is read in several steps: beside a writer two
 * lines may be of two moments.
 */
#include "pool/gone.h"
#include "pool/margin.h"
#include "pool/merge.h"
#include "pool/moved.h"

#include <string.h>

MRMR_DEFINE_AUTO(struct pool_margins, pool_margins_destroy);
MRMR_DEFINE_AUTO(struct pool_gone, pool_gone_close);

/* Without leading and trailing '/' and doubled ones, "." dropped; ".." is refused. free(). */
static mrmr_err list_normalise(const char *path, char **ret_path)
{
    mrmr_autofree char *clean = malloc(strlen(path) + 1);
    if (!clean)
        return mrmr_nomem();
    size_t at = 0;
    while (*path) {
        size_t n = strcspn(path, "/");
        if (n == 2 && memcmp(path, "..", 2) == 0)
            return mrmr_fail(MRMR_INVALID, "a path in the pool holds no '..'");
        if (n > META_NAME_MAX)
            return mrmr_fail(MRMR_NAME_TOO_LONG, NULL);
        if (n && !(n == 1 && *path == '.')) {
            if (at)
                clean[at++] = '/';
            memcpy(clean + at, path, n);
            at += n;
        }
        path += n + (path[n] == '/');
    }
    clean[at] = '\0';
    *ret_path = mrmr_steal(clean);
    return MRMR_OK;
}

static enum pool_type list_type(enum meta_type type)
{
    switch (type) {
    case META_REG:
        return POOL_FILE;
    case META_DIR:
        return POOL_FOLDER;
    case META_SYMLINK:
        return POOL_SYMLINK;
    default:
        return POOL_OTHER;
    }
}

static mrmr_err list_tell(struct pool_margins *margins, struct pool *pool, const char *name,
    const struct meta_node *node, pool_entry_fn fn, void *arg)
{
    const struct pool_drive *drive = pool_drive_by_id(pool, node->drive);
    struct pool_reach reach = {.survives = (int)pool_redundancy(pool)};
    if (node->type == META_REG)
        MRMR_TRY(pool_node_reach(margins, node, &reach));
    struct pool_entry entry = {
        .name = name,
        .drive = drive ? drive->meta.name : "",
        .type = list_type(node->type),
        .mode = node->mode,
        .uid = node->uid,
        .gid = node->gid,
        .size = node->size,
        .exposed_bytes = reach.exposed_bytes,
        .mtime = node->mtime,
        .version = node->version,
        .survives = reach.survives,
        .present = pool_drive_readable(drive),
        .degraded = reach.degraded,
    };
    return fn(&entry, arg);
}

/* --- Copies of one path --- */

static int list_newest_first(const void *a, const void *b)
{
    const struct meta_node *x = a, *y = b;
    return x->sequence < y->sequence ? 1 : x->sequence > y->sequence ? -1 : 0;
}

/* By the name that it has now, whether a scan has seen that or not. *ret_origin: the catalog's path. */
static mrmr_err list_lookup_moved(struct pool *pool, const struct meta_drive *meta,
    const char *path, struct mrmr_bytes *ret_origin, struct meta_node *ret_node)
{
    struct pool_moved_now *now = NULL;
    MRMR_TRY(pool_moved_now_create(pool, meta->id, meta->root, &now));
    mrmr_err err = pool_moved_now_origin(now, path, ret_origin);
    pool_moved_now_destroy(now);
    MRMR_TRY(err);
    return meta_lookup_path(pool->meta, meta->root, ret_origin->data, ret_node);
}

/* As it is shown: without what was removed. */
static mrmr_err list_lookup(struct pool *pool, struct pool_gone *gone,
    const struct meta_drive *meta, const char *path, bool moved, struct meta_node *ret_node)
{
    mrmr_autobytes struct mrmr_bytes origin = MRMR_BYTES_INIT;
    if (moved && pool_moved_any(pool))
        MRMR_TRY(list_lookup_moved(pool, meta, path, &origin, ret_node));
    else
        MRMR_TRY(meta_lookup_path(pool->meta, meta->root, path, ret_node));
    return pool_gone_has(gone, origin.data ? origin.data : path, ret_node) ? MRMR_ABSENT : MRMR_OK;
}

/* The nodes of a path on all drives, newest first; MRMR_ABSENT if there are none. moved: by the names
 * that things have now, else by those that the last scan saw. free(). */
static mrmr_err list_copies(struct pool *pool, struct pool_gone *gone, const char *path, bool moved,
    struct meta_node **ret_nodes, size_t *ret_n)
{
    mrmr_autofree struct meta_node *nodes = calloc(pool->ndrives + 1, sizeof *nodes);
    size_t n = 0;
    if (!nodes)
        return mrmr_nomem();
    for (size_t i = 0; i < pool->ndrives; i++) {
        const struct meta_drive *meta = &pool->drives[i]->meta;
        bool over;
        MRMR_TRY(pool_drive_is_over(pool, pool->drives[i], &over));
        if (over)
            continue;
        mrmr_err err = list_lookup(pool, gone, meta, path, moved, &nodes[n]);
        if (!err)
            n++;
        else if (mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
            return err;
    }
    if (!n) {
        mrmr_err_path(
            mrmr_fail(MRMR_ABSENT, "it is not in the pool, as far as the last scan saw"), path);
        return mrmr_err_hint(MRMR_ABSENT, "if it is new: mrmr sync");
    }
    qsort(nodes, n, sizeof *nodes, list_newest_first);
    *ret_nodes = mrmr_steal(nodes);
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err pool_where(struct pool *pool, const char *path, pool_entry_fn fn, void *arg)
{
    mrmr_autofree char *clean = NULL;
    mrmr_autofree struct meta_node *nodes = NULL;
    MRMR_AUTO(pool_margins_destroy) struct pool_margins *margins = NULL;
    MRMR_AUTO(pool_gone_close) struct pool_gone *gone = NULL;
    size_t n = 0;
    pool_drives_still(pool);
    MRMR_TRY(list_normalise(path, &clean));
    MRMR_TRY(pool_gone_open(pool->dirfd, false, &gone));
    MRMR_TRY(list_copies(pool, gone, clean, true, &nodes, &n));
    MRMR_TRY(pool_margins_create(pool, &margins));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(list_tell(margins, pool, clean, &nodes[i], fn, arg));
    return MRMR_OK;
}

/* --- A folder --- */

static mrmr_err ls_entry(struct pool *pool, struct pool_margins *margins, struct pool_merge *merge,
    pool_entry_fn fn, void *arg)
{
    bool folder_told = false;
    qsort(merge->found, merge->nfound, sizeof *merge->found, list_newest_first);
    for (size_t i = 0; i < merge->nfound; i++) {
        bool folder = merge->found[i].type == META_DIR;
        if (folder && folder_told)
            continue;
        folder_told = folder_told || folder;
        MRMR_TRY(list_tell(margins, pool, merge->name, &merge->found[i], fn, arg));
    }
    return MRMR_OK;
}

static mrmr_err ls_leave_out(struct pool_gone *gone, const char *folder, struct pool_merge *merge)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    size_t kept = 0;
    if (!pool_gone_any(gone))
        return MRMR_OK;
    MRMR_TRY(mrmr_bytes_fmt(&path, "%s%s%s", folder, *folder ? "/" : "", merge->name));
    for (size_t i = 0; i < merge->nfound; i++)
        if (!pool_gone_has(gone, path.data, &merge->found[i]))
            merge->found[kept++] = merge->found[i];
    merge->nfound = kept;
    return MRMR_OK;
}

mrmr_err pool_ls(struct pool *pool, const char *path, pool_entry_fn fn, void *arg)
{
    mrmr_autofree char *clean = NULL;
    mrmr_autofree struct meta_node *nodes = NULL;
    MRMR_AUTO(pool_margins_destroy) struct pool_margins *margins = NULL;
    MRMR_AUTO(pool_gone_close) struct pool_gone *gone = NULL;
    __attribute__((cleanup(pool_merge_free))) struct pool_merge merge = {0};
    size_t n = 0, nfolders = 0;
    pool_drives_still(pool);
    MRMR_TRY(list_normalise(path, &clean));
    MRMR_TRY(pool_gone_open(pool->dirfd, false, &gone));
    MRMR_TRY(list_copies(pool, gone, clean, false, &nodes, &n));
    mrmr_autofree int64_t *folders = calloc(n, sizeof *folders);
    if (!folders)
        return mrmr_nomem();
    for (size_t i = 0; i < n; i++)
        if (nodes[i].type == META_DIR)
            folders[nfolders++] = nodes[i].id;
    if (!nfolders)
        return mrmr_err_path(mrmr_fail(MRMR_NOT_DIR, NULL), clean);
    MRMR_TRY(pool_margins_create(pool, &margins));
    MRMR_TRY(pool_merge_start(pool, folders, nfolders, &merge));
    while (pool_merge_next(&merge)) {
        MRMR_TRY(ls_leave_out(gone, clean, &merge));
        MRMR_TRY(ls_entry(pool, margins, &merge, fn, arg));
    }
    return MRMR_OK;
}
