/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the tree leaves out (set exclude). Anyone may ask at any moment, and it may be set otherwise
 * meanwhile: what was set before stays as long as the tree does.
 */
#include "pool/tree/tree.h"

#include <string.h>

struct tree_excludes {
    struct pool_scan_excludes excludes;
    struct mrmr_bytes text; /* as it was set */
    struct tree_excludes *before;
};

const struct pool_scan_excludes *tree_excludes(const struct pool_tree *tree)
{
    struct tree_excludes *now = tree->excludes;
    return &now->excludes;
}

static void excludes_free(struct tree_excludes *excludes)
{
    if (!excludes)
        return;
    pool_scan_excludes_free(&excludes->excludes);
    mrmr_bytes_free(&excludes->text);
    free(excludes);
}

static mrmr_err excludes_text(struct pool_tree *tree, struct mrmr_bytes *text)
{
    mrmr_err err = meta_get(tree->pool->meta, "exclude", text);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

static bool is_text(const struct tree_excludes *excludes, const struct mrmr_bytes *text)
{
    return excludes && excludes->text.size == text->size &&
           (!text->size || memcmp(excludes->text.data, text->data, text->size) == 0);
}

static mrmr_err excludes_take(struct pool_tree *tree)
{
    struct tree_excludes *excludes = calloc(1, sizeof *excludes);
    mrmr_err err = excludes ? excludes_text(tree, &excludes->text) : mrmr_nomem();
    if (!err)
        err = pool_scan_excludes_load(tree->pool, &excludes->excludes);
    if (err) {
        excludes_free(excludes);
        return err;
    }
    excludes->before = tree->excludes;
    tree->excludes = excludes;
    return MRMR_OK;
}

mrmr_err tree_excludes_start(struct pool_tree *tree)
{
    return excludes_take(tree);
}

/* Set otherwise between the two reads it has the former text, and is looked at again. */
mrmr_err tree_excludes_follow(struct pool_tree *tree)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(excludes_text(tree, &text));
    if (is_text(tree->excludes, &text))
        return MRMR_OK;
    MRMR_TRY(excludes_take(tree));
    mrmr_locked(&tree->lock);
    for (size_t i = 0; i < tree->ndrives; i++)
        tree->drive[i].changed = true; /* every folder is read anew */
    return MRMR_OK;
}

void tree_excludes_stop(struct pool_tree *tree)
{
    for (struct tree_excludes *now; (now = tree->excludes) != NULL; excludes_free(now))
        tree->excludes = now->before;
}
