/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/tree/tree_went.h"

#include "pool/records/moved.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"

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

mrmr_err tree_went_leads(
    struct pool_tree *tree, size_t drive, const char *path, uint64_t ino, bool *ret_leads)
{
    struct drv_stat stat;
    mrmr_err err = drv_stat(tree->drive[drive].drive->drv, path, &stat);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    *ret_leads = !err && stat.type != DRV_DIR && stat.ino == ino;
    return MRMR_OK;
}

/* What was asked for, and what it led to. */
struct wanted {
    struct pool_tree *tree;
    size_t drive;
    const char *path;
    uint64_t ino;
    struct mrmr_bytes *other;
    bool shows;             /* by a name that the catalog has */
    struct mrmr_story dark; /* of the first name of which nothing is known, if there is one */
};

/* The catalog has it by this name, and it shows by that, or by another. */
static mrmr_err is_known(struct wanted *wanted, const char *path, bool *ret_known)
{
    struct pool *pool = wanted->tree->pool;
    const struct meta_drive *own = &wanted->tree->drive[wanted->drive].drive->meta;
    struct meta_node node;
    bool renamed;
    mrmr_err err = meta_lookup_path(pool->meta, own->root, path, &node);
    *ret_known = !err && node.ino == wanted->ino;
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    if (!*ret_known || wanted->shows)
        return MRMR_OK;
    MRMR_TRY(pool_moved_concerns(pool, own->id, path, &renamed));
    wanted->shows = *ret_known = !renamed;
    return MRMR_OK;
}

static mrmr_err ask_for(struct wanted *wanted, const char *path)
{
    bool known = strcmp(path, wanted->path) == 0, leads = false;
    if (!known)
        MRMR_TRY(is_known(wanted, path, &known));
    if (!known)
        MRMR_TRY(tree_went_leads(wanted->tree, wanted->drive, path, wanted->ino, &leads));
    return leads ? mrmr_bytes_str(wanted->other, path) : MRMR_OK;
}

/* One name that does not answer says nothing of the others. */
static void keep_dark(struct wanted *wanted, mrmr_err err)
{
    if (err && !wanted->dark.err)
        mrmr_story_save(&wanted->dark);
}

/* By a name that was made through MRMR, or that this was renamed to since. */
static void look_for_made(struct wanted *wanted, const char *path)
{
    const int64_t id = wanted->tree->drive[wanted->drive].drive->meta.id;
    struct pool_moved_paths moved = {.n = 0};
    keep_dark(wanted, ask_for(wanted, path));
    if (wanted->other->size)
        return;
    keep_dark(wanted, pool_moved_paths(wanted->tree->pool, id, path, &moved));
    for (size_t i = 0; i < moved.n && !wanted->other->size; i++)
        keep_dark(wanted, ask_for(wanted, moved.path[i]));
    pool_moved_paths_free(&moved);
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
    struct wanted wanted = {tree, drive, path, stat->ino, ret_other, false, {.err = MRMR_OK}};
    mrmr_autobytes struct mrmr_bytes made = MRMR_BYTES_INIT, known = MRMR_BYTES_INIT;
    mrmr_bytes_clear(ret_other);
    if (stat->type == DRV_DIR || stat->nlink <= 1 || !stat->ino)
        return MRMR_OK;
    MRMR_TRY(pool_moved_linked(tree->pool, tree->drive[drive].drive->meta.id, stat->ino, &made));
    for (size_t at = 0; at < made.size && !ret_other->size; at += strlen(made.data + at) + 1)
        look_for_made(&wanted, made.data + at);
    if (ret_other->size)
        return MRMR_OK;
    MRMR_TRY(seen(&wanted, &known));
    for (size_t at = 0; at < known.size && !ret_other->size; at += strlen(known.data + at) + 1)
        keep_dark(&wanted, ask_for(&wanted, known.data + at));
    return ret_other->size || !wanted.dark.err ? MRMR_OK : mrmr_story_restore(&wanted.dark);
}
