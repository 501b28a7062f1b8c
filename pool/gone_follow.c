/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Records go by the catalog's paths, and a scan has brought those up to date (gone.h): what they are of
 * is found by the records of renames, and given the path that the catalog has now. What is to be set on
 * a folder is found by its inode, too, wherever somebody moved it; what is to be removed is not, since
 * that one's word is the later one.
 */
#include "pool/gone.h"
#include "pool/moved.h"

#include <string.h>

static mrmr_err is_there(struct pool *pool, const struct pool_drive *drive,
    const struct pool_gone_record *record, const char *path, bool *ret_is)
{
    struct meta_node node;
    mrmr_err err = meta_lookup_path(pool->meta, drive->meta.root, path, &node);
    *ret_is = !err && pool_gone_is_node(record, &node);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

static mrmr_err find_moved(struct pool *pool, const struct pool_drive *drive,
    const struct pool_gone_record *record, char **ret_path)
{
    struct pool_moved_paths moved = {.n = 0};
    bool is = false;
    if (!pool_moved_any(pool))
        return MRMR_OK;
    MRMR_TRY(pool_moved_paths(pool, record->drive, record->path, &moved));
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && !is && i < moved.n; i++) {
        err = is_there(pool, drive, record, moved.path[i], &is);
        if (!err && is)
            *ret_path = mrmr_steal(moved.path[i]);
    }
    pool_moved_paths_free(&moved);
    return err;
}

mrmr_err pool_gone_by_inode(
    struct pool *pool, const struct pool_gone_record *record, char **ret_path)
{
    enum { MOST = 8 };
    struct meta_node node[MOST];
    size_t n;
    *ret_path = NULL;
    if (!record->ino)
        return MRMR_OK;
    MRMR_TRY(meta_node_by_ino(pool->meta, record->drive, record->ino, node, MOST, &n));
    for (size_t i = 0; i < n; i++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        if (!pool_gone_is_node(record, &node[i]))
            continue;
        MRMR_TRY(meta_path(pool->meta, node[i].id, &path));
        *ret_path = path.size ? strdup(path.data) : NULL;
        return path.size && !*ret_path ? mrmr_nomem() : MRMR_OK;
    }
    return MRMR_OK;
}

/* NULL: it is where it was, or nowhere. */
static mrmr_err path_now(struct pool *pool, const struct pool_drive *drive,
    const struct pool_gone_record *record, char **ret_path)
{
    bool is;
    *ret_path = NULL;
    MRMR_TRY(is_there(pool, drive, record, record->path, &is));
    if (is)
        return MRMR_OK;
    MRMR_TRY(find_moved(pool, drive, record, ret_path));
    if (!*ret_path && record->kind != POOL_GONE_REMOVED)
        MRMR_TRY(pool_gone_by_inode(pool, record, ret_path));
    return MRMR_OK;
}

static mrmr_err follow(struct pool *pool, struct pool_gone *gone, const struct pool_drive *drive,
    const struct pool_gone_list *list)
{
    struct pool_gone_path *paths = calloc(list->n + 1, sizeof *paths);
    mrmr_err err = paths ? MRMR_OK : mrmr_nomem();
    size_t n = 0;
    for (size_t i = 0; !err && i < list->n; i++) {
        paths[n].id = list->record[i].id;
        err = path_now(pool, drive, &list->record[i], &paths[n].path);
        n += !err && paths[n].path;
    }
    if (!err)
        err = pool_gone_repath(gone, paths, n);
    while (n > 0)
        free(paths[--n].path);
    free(paths);
    return err;
}

mrmr_err pool_gone_follow(struct pool *pool, struct pool_gone *gone, const struct pool_drive *drive)
{
    mrmr_err err = MRMR_OK;
    for (unsigned over = 0; !err && pool_gone_any(gone) && over < 2; over++) {
        struct pool_gone_list list;
        MRMR_TRY(pool_gone_list(gone, drive->meta.id, over, &list));
        err = follow(pool, gone, drive, &list);
        pool_gone_list_free(&list);
    }
    return err;
}
