/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/tree/tree_gone.h"
#include "pool/records/gone.h"
#include "pool/records/later.h"
#include "pool/tree/tree_look.h"

void tree_gone_refresh(struct pool_tree *tree)
{
    if (pool_gone_refresh(tree->gone))
        mrmr_log_story(MRMR_LOG_WARN, "what was removed from drives that are away");
}

/* By the catalog's path: a thing may have been renamed before it was removed. */
static bool is_gone(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *node)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    return pool_gone_any(tree->gone) && !tree_catalog_path(tree, drive, path, &known) &&
           pool_gone_has(tree->gone, known.data, node);
}

bool tree_gone_hides_node(struct pool_tree *tree, size_t drive, const char *folder,
    const char *name, const struct meta_node *node)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    return pool_gone_any(tree->gone) && !tree_join(folder, name, &path) &&
           is_gone(tree, drive, path.data, node);
}

static bool waits(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, bool *ret_surely)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    const struct pool_drive *own = tree->drive[drive].drive;
    return pool_gone_waits(tree->gone, own, path, stat, ret_surely) ||
           (tree->drive[drive].gone_left && !tree_catalog_path(tree, drive, path, &known) &&
               pool_gone_waits(tree->gone, own, known.data, stat, ret_surely));
}

bool tree_gone_hides_stat(struct pool_tree *tree, size_t drive, const char *folder,
    const char *name, const struct drv_stat *stat)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    bool surely;
    return pool_gone_any(tree->gone) && !tree_join(folder, name, &path) &&
           waits(tree, drive, path.data, stat, &surely);
}

mrmr_err tree_gone_compared(
    struct pool_tree *tree, size_t drive, const char *path, const struct drv_stat *stat)
{
    bool surely;
    if (!pool_gone_any(tree->gone) || !waits(tree, drive, path, stat, &surely) || surely)
        return MRMR_OK;
    return mrmr_err_hint(
        mrmr_err_drive(mrmr_fail(MRMR_BUSY, "a file that was removed while its drive was away lies "
                                            "there still, and may have been changed since"),
            tree->drive[drive].drive->meta.name),
        "mrmr sync compares it");
}

mrmr_err tree_gone_known(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node)
{
    struct meta_node node;
    mrmr_err err = tree_catalog(tree, drive, path, &node);
    if (err == MRMR_NOT_DIR)
        err = MRMR_ABSENT;
    MRMR_TRY(err);
    tree_gone_refresh(tree);
    if (is_gone(tree, drive, path, &node))
        return mrmr_fail(MRMR_ABSENT, "it was removed");
    MRMR_TRY(tree_gone_shows(tree, drive, path, &node));
    *ret_node = node;
    return MRMR_OK;
}

mrmr_err tree_gone_shows(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *node)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    if (node->type != META_DIR || !pool_gone_any(tree->gone))
        return MRMR_OK;
    MRMR_TRY(tree_catalog_path(tree, drive, path, &known));
    return pool_later_node(tree->gone, known.data ? known.data : "", node);
}

mrmr_err tree_gone_attrs(struct pool_tree *tree, size_t drive, const char *path,
    const struct meta_node *node, struct mrmr_bytes *ret_blob)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    if (node->type == META_DIR && pool_gone_any(tree->gone))
        MRMR_TRY(tree_catalog_path(tree, drive, path, &known));
    return pool_later_attrs(tree->pool, tree->gone, known.data ? known.data : path, node, ret_blob);
}
