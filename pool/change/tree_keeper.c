/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One tree at a time changes a pool: it holds the lock of that, and is among the writers for each change.
 */
#include "pool/change/tree_keep.h"
#include "pool/records/mounted.h"

#include "pool/change/tree_replaced.h"
#include "pool/writers.h"

/* Several changes in a row, and not what a commit would notice. */
static const int64_t stay_in = 2 * 1000 * 1000; /* ns */

/* The last chance for what could not be written before. */
static void keeper_settle(struct pool_tree *tree)
{
    struct tree_keeper *keeper = tree->keeper;
    uint64_t epoch;
    if (!keeper->records || !tree_records_owe(keeper->records))
        return;
    mrmr_err err = pool_writers_begin(keeper->writers, &epoch);
    if (!err) {
        err = tree_records_settle(keeper->records, epoch);
        pool_writers_end();
    }
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "taking back the record of a rename");
}

void tree_keep_stop(struct pool_tree *tree)
{
    struct tree_keeper *keeper = tree->keeper;
    if (!keeper)
        return;
    keeper_settle(tree);
    tree->keeper = NULL;
    pool_writers_close(keeper->writers);
    if (keeper->shown)
        tree->pool->mountfd = keeper->mounted;
    else if (keeper->mounted >= 0)
        close(keeper->mounted);
    tree_records_close(keeper->records);
    pool_written_close(keeper->written);
    free(keeper);
}

void pool_tree_shown_at(struct pool_tree *tree, const char *mountpoint)
{
    if (!tree->keeper)
        return;
    pool_mounted_tell(tree->keeper->mounted, mountpoint);
    tree->keeper->shown = true;
}

mrmr_err tree_keep_start(struct pool_tree *tree)
{
    struct tree_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return mrmr_nomem();
    keeper->mounted = -1;
    tree->keeper = keeper;
    mrmr_err err = tree_records_open(tree->pool, &keeper->records);
    if (!err)
        err = pool_writers_open(tree->pool->dirfd, &keeper->writers);
    if (!err) {
        pool_writers_stay(keeper->writers, stay_in);
        /* What one knows of files that are removed and open, and what it has begun, another does not. */
        err = pool_mounted_lock(tree->pool->dirfd, tree->pool->dir, &keeper->mounted);
    }
    if (!err)
        err = pool_written_open(tree->pool->dirfd, &keeper->written);
    /* Whoever was here before may have been killed before it said so; and the file by which that is told is there from now on. */
    atomic_store(&tree->kept, !err);
    if (mrmr_class_of(err) != MRMR_CLASS_DENIED)
        return err;
    mrmr_log_story(
        MRMR_LOG_INFO, "the pool's folder cannot be written, so its files cannot either");
    tree_keep_stop(tree);
    return MRMR_OK;
}

bool pool_tree_writable(const struct pool_tree *tree)
{
    return tree->keeper;
}

mrmr_err tree_change_begin(struct pool_tree *tree, uint64_t *ret_epoch)
{
    if (!tree->keeper)
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    MRMR_TRY(pool_writers_begin(tree->keeper->writers, ret_epoch));
    atomic_store_explicit(&tree->changed, true, memory_order_relaxed);
    mrmr_err err = tree_drives_look_among(tree, *ret_epoch);
    if (!err)
        err = tree_replaced_look_among(tree);
    if (err)
        pool_writers_end();
    return err;
}

mrmr_err tree_change_beside(struct pool_tree *tree)
{
    if (!tree->keeper)
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    atomic_store_explicit(&tree->changed, true, memory_order_relaxed);
    return pool_writers_beside(tree->keeper->writers);
}

void tree_change_end(struct pool_tree *tree)
{
    (void)tree;
    pool_writers_end();
}

mrmr_err tree_keep_epoch(struct pool_tree *tree, uint64_t *ret_epoch)
{
    return pool_writers_epoch(tree->keeper->writers, ret_epoch);
}

bool tree_keep_scanned(const struct pool_tree *tree)
{
    return pool_writers_scanned(tree->keeper->writers);
}

uint64_t tree_keep_stays(struct pool_tree *tree)
{
    return pool_writers_stays(tree->keeper->writers);
}
