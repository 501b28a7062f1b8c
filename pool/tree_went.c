/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/tree_went.h"

#include "pool/moved.h"
#include "pool/tree_look.h"
#include "pool/tree_number.h"

#include <string.h>

enum { SEEN_MOST = 16 };

static mrmr_err count_name(int64_t parent, const char *name, void *arg)
{
    (void)parent;
    (void)name;
    ++*(size_t *)arg;
    return MRMR_OK;
}

mrmr_err tree_went_names(struct pool *pool, int64_t node, size_t *names)
{
    return meta_names(pool->meta, node, count_name, names);
}

bool tree_went_leads(struct pool_tree *tree, size_t drive, const char *path, uint64_t ino)
{
    struct drv_stat stat;
    struct mrmr_story story;
    mrmr_story_save(&story);
    const bool leads = !drv_stat(tree->drive[drive].drive->drv, path, &stat) &&
                       stat.type != DRV_DIR && stat.ino == ino;
    mrmr_story_restore(&story);
    return leads;
}

/* What was asked for, and what it led to. */
struct wanted {
    struct pool_tree *tree;
    size_t drive;
    const char *path;
    uint64_t ino;
};

static bool is_wanted(const struct wanted *wanted, const char *path)
{
    return strcmp(path, wanted->path) != 0 &&
           tree_went_leads(wanted->tree, wanted->drive, path, wanted->ino);
}

/* By a name that was made through MRMR, or that this was renamed to since. */
static mrmr_err look_for_made(
    const struct wanted *wanted, const char *path, struct mrmr_bytes *ret_other)
{
    struct pool *pool = wanted->tree->pool;
    struct pool_moved_paths moved = {.n = 0};
    mrmr_err err = MRMR_OK;
    if (is_wanted(wanted, path))
        return mrmr_bytes_str(ret_other, path);
    MRMR_TRY(
        pool_moved_paths(pool, wanted->tree->drive[wanted->drive].drive->meta.id, path, &moved));
    for (size_t i = 0; i < moved.n && !err && !ret_other->size; i++)
        if (is_wanted(wanted, moved.path[i]))
            err = mrmr_bytes_str(ret_other, moved.path[i]);
    pool_moved_paths_free(&moved);
    return err;
}

/* All that the tree has seen, each with its NUL. */
static mrmr_err seen(const struct wanted *wanted, struct mrmr_bytes *paths)
{
    struct pool_tree *tree = wanted->tree;
    const char *slash = strrchr(wanted->path, '/');
    mrmr_locked(&tree->lock);
    const struct tree_node *node = tree_find_locked(
        tree, tree_number(tree, wanted->drive, wanted->ino, "", slash ? slash + 1 : wanted->path));
    const struct tree_link *link = node ? node->links : NULL;
    for (unsigned n = 0; link && n < SEEN_MOST; link = link->next, n++) {
        mrmr_autobytes struct mrmr_bytes folder = MRMR_BYTES_INIT, path = MRMR_BYTES_INIT;
        MRMR_TRY(tree_path_locked(link->parent, &folder));
        MRMR_TRY(tree_join(folder.data ? folder.data : "", link->name, &path));
        MRMR_TRY(mrmr_bytes_add(paths, path.data, path.size + 1));
    }
    return MRMR_OK;
}

mrmr_err tree_went_other(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, struct mrmr_bytes *ret_other)
{
    const struct wanted wanted = {tree, drive, path, stat->ino};
    mrmr_autobytes struct mrmr_bytes made = MRMR_BYTES_INIT, known = MRMR_BYTES_INIT;
    mrmr_bytes_clear(ret_other);
    if (stat->type == DRV_DIR || stat->nlink <= 1 || !stat->ino)
        return MRMR_OK;
    MRMR_TRY(pool_moved_linked(tree->pool, tree->drive[drive].drive->meta.id, stat->ino, &made));
    for (size_t at = 0; at < made.size && !ret_other->size; at += strlen(made.data + at) + 1)
        MRMR_TRY(look_for_made(&wanted, made.data + at, ret_other));
    if (ret_other->size)
        return MRMR_OK;
    MRMR_TRY(seen(&wanted, &known));
    for (size_t at = 0; at < known.size && !ret_other->size; at += strlen(known.data + at) + 1)
        if (is_wanted(&wanted, known.data + at))
            MRMR_TRY(mrmr_bytes_str(ret_other, known.data + at));
    return MRMR_OK;
}
