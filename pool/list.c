/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ls and where: the trees of all drives merged by name, by the names that things have now (names.h).
 * Copies of one path come newest first (meta_node_newer; I9). Of a folder that lies on
 * several drives ls shows one entry, the newest; where shows each.
 *
 * where looks at the drives, too. What is there otherwise than the catalog has it, or is not in it, is shown as
 * it is: its version is 0, all of it is exposed, and it is newer than what the catalog knows, as in the
 * live tree; of several such the modification time decides. What a drive that answers does not have any more is shown as the
 * catalog has it: its bytes can be read still.
 *
 * Memory: one folder of each drive. What is shown is read in several steps: beside a writer two
 * lines may be of two moments.
 */
#include "pool/margin.h"
#include "pool/merge.h"
#include "pool/records/gone.h"
#include "pool/records/names.h"
#include "pool/scan/scan.h"

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

static mrmr_err list_tell_reach(struct pool *pool, const char *name, const struct meta_node *node,
    const struct pool_reach *reach, pool_entry_fn fn, void *arg)
{
    const struct pool_drive *drive = pool_drive_by_id(pool, node->drive);
    struct pool_entry entry = {
        .name = name,
        .drive = drive ? drive->meta.name : "",
        .type = list_type(node->type),
        .mode = node->mode,
        .uid = node->uid,
        .gid = node->gid,
        .size = node->size,
        .exposed_bytes = reach->exposed_bytes,
        .mtime = node->mtime,
        .version = node->version,
        .survives = reach->survives,
        .present = pool_drive_readable(drive),
        .degraded = reach->degraded,
    };
    return fn(&entry, arg);
}

static mrmr_err list_tell(struct pool_margins *margins, struct pool *pool, const char *name,
    const struct meta_node *node, pool_entry_fn fn, void *arg)
{
    struct pool_reach reach = {.survives = (int)pool_redundancy(pool)};
    if (node->type == META_REG)
        MRMR_TRY(pool_node_reach(margins, node, &reach));
    return list_tell_reach(pool, name, node, &reach, fn, arg);
}

/* --- Copies of one path --- */

static int list_newest_first(const void *a, const void *b)
{
    const struct meta_node *x = a, *y = b;
    return meta_node_newer(y, x) - meta_node_newer(x, y);
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

/* --- where --- */

/* A copy as it is on its drive now, or, if that does not say, as the catalog has it. */
struct copy {
    struct meta_node node;
    bool known; /* the catalog has it as it is */
};

static int copy_newest_first(const void *a, const void *b)
{
    const struct copy *x = a, *y = b;
    if (x->known != y->known)
        return x->known ? 1 : -1;
    return x->known ? list_newest_first(&x->node, &y->node)
                    : (x->node.mtime < y->node.mtime) - (x->node.mtime > y->node.mtime);
}

/* Neither it nor what it lies in is left out. */
static mrmr_err where_may_be(struct pool *pool, const char *path, bool *ret_may)
{
    struct pool_scan_excludes excludes;
    mrmr_autofree char *folder = strdup(path);
    char *slash = folder;
    if (!folder)
        return mrmr_nomem();
    MRMR_TRY(pool_scan_excludes_load(pool, &excludes));
    for (*ret_may = true; *path && slash && *ret_may;) {
        slash = strrchr(folder, '/');
        if (slash)
            *slash = '\0';
        *ret_may = !pool_scan_excluded(&excludes, slash ? folder : "", slash ? slash + 1 : folder);
    }
    pool_scan_excludes_free(&excludes);
    return MRMR_OK;
}

/* As it is there. False: there is nothing, or nobody knows, or it is none of the tree: it is left out,
 * or waits to be removed. */
static bool where_live(const struct names *names, size_t i, const char *path, bool known, bool may,
    struct drv_stat *ret_stat)
{
    const struct pool_drive *drive = names->pool->drives[i];
    return pool_drive_readable(drive) && !drv_stat(drive->drv, path, ret_stat) &&
           (known || (may && !pool_gone_waits(names->gone, drive, path, ret_stat, NULL)));
}

static mrmr_err where_is_as_known(const struct names *names, size_t i, const struct meta_node *node,
    const struct drv_stat *stat, bool *ret_is)
{
    const struct pool_drive *drive = names->pool->drives[i];
    mrmr_autobytes struct mrmr_bytes paths = MRMR_BYTES_INIT;
    const struct pool_found_file found = {
        .ino = drive->info.caps & DRV_CAP_STABLE_INO ? stat->ino : 0,
        .size = stat->size,
        .mtime = stat->mtime,
        .ctime = stat->ctime,
        .nlink = stat->nlink};
    *ret_is = (int)stat->type == (int)node->type;
    if (!*ret_is || node->type != META_REG)
        return MRMR_OK;
    *ret_is = pool_node_claims(node, &found);
    if (!*ret_is || pool_node_keeps_names(&drive->info, node, &found, drive->meta.scanned))
        return MRMR_OK;
    MRMR_TRY(pool_names_places(names->of[i], node->id, &paths));
    *ret_is = pool_node_has_names(drive->drv, node, &found, &paths);
    return MRMR_OK;
}

/* Not if it was written to through a mount, and no scan came after that: while its drive is away, a mount does not
 * give all that the catalog has, either, but what was not written to, as far as that is known (written.h). */
static mrmr_err where_is_current(struct pool *pool, struct copy *copy)
{
    bool touched = false;
    if (copy->node.type == META_REG)
        MRMR_TRY(pool_touched_find_bytes(pool, copy->node.drive, copy->node.ino, &touched));
    copy->known = !touched;
    copy->node.version = touched ? 0 : copy->node.version;
    return MRMR_OK;
}

/* *ret_is: it has one. */
static mrmr_err where_on(const struct names *names, size_t i, const char *path, bool may,
    struct copy *ret_copy, bool *ret_is)
{
    struct copy copy = {.known = true};
    struct drv_stat stat;
    mrmr_err err = names->of[i] ? pool_names_lookup(names->of[i], path, &copy.node) : MRMR_ABSENT;
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    if (!err)
        MRMR_TRY(where_is_current(names->pool, &copy));
    bool live = names->of[i] && where_live(names, i, path, !err, may, &stat);
    bool is_known = !err && copy.known;
    if (live && is_known)
        MRMR_TRY(where_is_as_known(names, i, &copy.node, &stat, &is_known));
    if (live && !is_known) {
        copy = (struct copy){.node.drive = names->pool->drives[i]->meta.id};
        pool_node_from_stat(&copy.node, &stat);
    }
    *ret_is = live || !err;
    *ret_copy = copy;
    return MRMR_OK;
}

static mrmr_err where_tell(struct pool_margins *margins, struct pool *pool, const char *path,
    const struct copy *copy, pool_entry_fn fn, void *arg)
{
    const bool there = pool_drive_readable(pool_drive_by_id(pool, copy->node.drive));
    const struct pool_reach none = {.survives = there ? 0 : -1,
        .exposed_bytes = copy->node.type == META_REG ? copy->node.size : 0};
    return copy->known ? list_tell(margins, pool, path, &copy->node, fn, arg)
                       : list_tell_reach(pool, path, &copy->node, &none, fn, arg);
}

static mrmr_err where_in(const struct names *names, const char *path, pool_entry_fn fn, void *arg)
{
    const size_t ndrives = names->pool->ndrives;
    MRMR_AUTO(pool_margins_destroy) struct pool_margins *margins = NULL;
    mrmr_autofree struct copy *copies = calloc(ndrives + 1, sizeof *copies);
    size_t n = 0;
    bool may, is;
    if (!copies)
        return mrmr_nomem();
    MRMR_TRY(where_may_be(names->pool, path, &may));
    for (size_t i = 0; i < ndrives; i++) {
        MRMR_TRY(where_on(names, i, path, may, &copies[n], &is));
        n += is;
    }
    if (!n) {
        mrmr_err_path(mrmr_fail(MRMR_ABSENT, "neither the catalog nor a drive has it"), path);
        return mrmr_err_hint(MRMR_ABSENT,
            "see what there is: mrmr ls; and whether all drives are there: mrmr drives");
    }
    qsort(copies, n, sizeof *copies, copy_newest_first);
    MRMR_TRY(pool_margins_create(names->pool, &margins));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(where_tell(margins, names->pool, path, &copies[i], fn, arg));
    return MRMR_OK;
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
