/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ls and where: the trees of all drives merged by name, by the names that things have now (names.h).
 * Copies of one path come newest first by the catalog's own sequence (I9). Of a folder that lies on
 * several drives ls shows one entry, the newest; where shows each.
 *
 * Memory: one folder of each drive. What is shown is read in several steps: beside a writer two
 * lines may be of two moments.
 */
#include "pool/gone.h"
#include "pool/margin.h"
#include "pool/merge.h"
#include "pool/names.h"

#include <string.h>

MRMR_DEFINE_AUTO(struct pool_margins, pool_margins_destroy);

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

/* Of each drive that is no drive any more: NULL. */
struct names {
    struct pool *pool;
    struct pool_gone *gone;
    struct pool_names **of;
};

static void names_end(struct names *names)
{
    for (size_t i = 0; names->of && i < names->pool->ndrives; i++)
        pool_names_destroy(names->of[i]);
    free(names->of);
    pool_gone_close(names->gone);
}

static mrmr_err names_begin(struct names *names)
{
    struct pool *pool = names->pool;
    names->of = calloc(pool->ndrives + 1, sizeof(struct pool_names *));
    if (!names->of)
        return mrmr_nomem();
    MRMR_TRY(pool_gone_open(pool->dirfd, false, &names->gone));
    for (size_t i = 0; i < pool->ndrives; i++) {
        bool over;
        MRMR_TRY(pool_drive_is_over(pool, pool->drives[i], &over));
        if (!over)
            MRMR_TRY(pool_names_create(pool, &pool->drives[i]->meta, names->gone, &names->of[i]));
    }
    return MRMR_OK;
}

/* The nodes of a path on all drives, newest first; MRMR_ABSENT if there are none. free(). */
static mrmr_err list_copies(
    const struct names *names, const char *path, struct meta_node **ret_nodes, size_t *ret_n)
{
    const size_t ndrives = names->pool->ndrives;
    mrmr_autofree struct meta_node *nodes = calloc(ndrives + 1, sizeof *nodes);
    size_t n = 0;
    if (!nodes)
        return mrmr_nomem();
    for (size_t i = 0; i < ndrives; i++) {
        mrmr_err err =
            names->of[i] ? pool_names_lookup(names->of[i], path, &nodes[n]) : MRMR_ABSENT;
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

static mrmr_err where_in(const struct names *names, const char *path, pool_entry_fn fn, void *arg)
{
    mrmr_autofree struct meta_node *nodes = NULL;
    MRMR_AUTO(pool_margins_destroy) struct pool_margins *margins = NULL;
    size_t n = 0;
    MRMR_TRY(list_copies(names, path, &nodes, &n));
    MRMR_TRY(pool_margins_create(names->pool, &margins));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(list_tell(margins, names->pool, path, &nodes[i], fn, arg));
    return MRMR_OK;
}

/* With the path as it is clean. */
static mrmr_err with_names(struct pool *pool, const char *path, pool_entry_fn fn, void *arg,
    mrmr_err (*run)(const struct names *names, const char *path, pool_entry_fn fn, void *arg))
{
    mrmr_autofree char *clean = NULL;
    struct names names = {.pool = pool};
    pool_drives_still(pool);
    MRMR_TRY(list_normalise(path, &clean));
    mrmr_err err = names_begin(&names);
    if (!err)
        err = run(&names, clean, fn, arg);
    names_end(&names);
    return err;
}

mrmr_err pool_where(struct pool *pool, const char *path, pool_entry_fn fn, void *arg)
{
    return with_names(pool, path, fn, arg, where_in);
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

/* What each drive has in the folder. */
static mrmr_err ls_merge(
    const struct names *names, const char *path, size_t *ret_folders, struct pool_merge *merge)
{
    MRMR_TRY(pool_merge_create(names->pool->ndrives, merge));
    for (size_t i = 0; i < names->pool->ndrives; i++) {
        struct meta_child *children;
        struct meta_node node;
        size_t n;
        mrmr_err err = names->of[i] ? pool_names_lookup(names->of[i], path, &node) : MRMR_ABSENT;
        if (!err && node.type == META_DIR)
            err = pool_names_children(names->of[i], path, &children, &n);
        else if (!err)
            err = MRMR_NOT_DIR;
        if (!err)
            pool_merge_add(merge, children, n);
        else if (mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
            return err;
        *ret_folders += !err;
    }
    return MRMR_OK;
}

static mrmr_err ls_in(const struct names *names, const char *path, pool_entry_fn fn, void *arg)
{
    mrmr_autofree struct meta_node *nodes = NULL;
    MRMR_AUTO(pool_margins_destroy) struct pool_margins *margins = NULL;
    __attribute__((cleanup(pool_merge_free))) struct pool_merge merge = {0};
    size_t n = 0, nfolders = 0;
    MRMR_TRY(list_copies(names, path, &nodes, &n)); /* who is told that nothing is there */
    MRMR_TRY(ls_merge(names, path, &nfolders, &merge));
    if (!nfolders)
        return mrmr_err_path(mrmr_fail(MRMR_NOT_DIR, NULL), path);
    MRMR_TRY(pool_margins_create(names->pool, &margins));
    while (pool_merge_next(&merge))
        MRMR_TRY(ls_entry(names->pool, margins, &merge, fn, arg));
    return MRMR_OK;
}

mrmr_err pool_ls(struct pool *pool, const char *path, pool_entry_fn fn, void *arg)
{
    return with_names(pool, path, fn, arg, ls_in);
}
