/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that are removed while their drive is away (gone.h): recorded, hidden, and taken from the
 * drive when it is back.
 *
 * A drive that comes back serves first, so that every op on it has its deadline, and is not live until
 * what is recorded for it was applied: nothing is shown from it before. Recording and becoming live
 * exclude each other (gone_gate), so no record is made for a drive that nobody applies any more. What could not be
 * applied stays hidden by its record, as long as it is what was removed.
 *
 * gone_gate is held over a record's being written, and taken before the tree's lock. Who holds it never
 * enters the writers: they wait for whoever waits for it.
 */
#include "pool/gone.h"
#include "pool/tree.h"

#include <string.h>

enum { GONE_ROUNDS = 16 };

/* --- what does not show --- */

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

bool tree_gone_hides_stat(struct pool_tree *tree, size_t drive, const char *folder,
    const char *name, const struct drv_stat *stat)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, known = MRMR_BYTES_INIT;
    const struct pool_drive *own = tree->drive[drive].drive;
    if (!pool_gone_any(tree->gone) || tree_join(folder, name, &path))
        return false;
    return pool_gone_waits(tree->gone, own, path.data, stat) ||
           (tree->drive[drive].gone_left && !tree_catalog_path(tree, drive, path.data, &known) &&
               pool_gone_waits(tree->gone, own, known.data, stat));
}

/* --- recording --- */

mrmr_err tree_gone_add(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *node)
{
    mrmr_locked(&tree->gone_gate);
    if (tree_live(&tree->drive[drive]))
        return mrmr_err_drive(
            mrmr_fail(MRMR_CHANGED, "it came back just now"), tree->drive[drive].drive->meta.name);
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT;
    MRMR_TRY(tree_catalog_path(tree, drive, path, &known));
    return pool_gone_add(tree->gone, known.data, node);
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
    MRMR_TRY(tree_later_shows(tree, drive, path, &node));
    *ret_node = node;
    return MRMR_OK;
}

/* --- coming back --- */

static size_t waiting(struct pool_tree *tree, const struct tree_drive *drive)
{
    struct pool_gone_list list;
    if (!pool_gone_any(tree->gone) ||
        pool_gone_list(tree->gone, drive->drive->meta.id, false, &list))
        return 0;
    size_t n = list.n;
    pool_gone_list_free(&list);
    return n;
}

/* True: nothing was recorded meanwhile, and the drive is live from now on. */
static bool becomes_live(struct tree_drive *drive, size_t left)
{
    mrmr_locked(&drive->tree->gone_gate);
    if (waiting(drive->tree, drive) > left)
        return false;
    drive->returning = false;
    return true;
}

static mrmr_err apply(struct tree_drive *drive, size_t *ret_left)
{
    struct pool_tree *tree = drive->tree;
    *ret_left = SIZE_MAX;
    drive->gone_left = true;
    if (!tree->keeper || !(drive->drive->info.caps & DRV_CAP_WRITABLE))
        return MRMR_OK;
    mrmr_err err =
        pool_gone_apply(tree->pool, NULL, tree->gone, drive->drive, &drive->keeping, ret_left);
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "removing what was removed while a drive was away");
    else
        drive->gone_left = *ret_left > 0;
    return err;
}

void tree_gone_return(struct tree_drive *drive)
{
    for (unsigned i = 0; i < GONE_ROUNDS; i++) {
        size_t left;
        if (apply(drive, &left))
            left = SIZE_MAX;
        if (becomes_live(drive, left))
            return;
    }
    becomes_live(drive, SIZE_MAX); /* whoever removes on and on: the rest is hidden */
}

/* --- life --- */

mrmr_err tree_gone_start(struct pool_tree *tree)
{
    MRMR_TRY(pool_gone_open(tree->pool->dirfd, tree->keeper != NULL, &tree->gone));
    for (size_t i = 0; i < tree->ndrives; i++) {
        size_t left;
        if (tree_live(&tree->drive[i]))
            apply(&tree->drive[i], &left);
    }
    return MRMR_OK;
}

void tree_gone_stop(struct pool_tree *tree)
{
    pool_gone_close(tree->gone);
    tree->gone = NULL;
}
