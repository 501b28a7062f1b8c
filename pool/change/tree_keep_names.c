/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is recorded of names that went, were made, or lead elsewhere (moved.h). No bytes depend on it.
 */
#include "pool/change/tree_keep.h"

#include "pool/tree/tree_look.h"
#include "pool/tree/tree_went.h"
#include "pool/writers.h"

/* Where it lives on was looked at before that was recorded, and may have gone since. A drive that does not answer has not said so. */
static void look_again(struct pool_tree *tree, size_t drive, const char *other,
    const struct drv_stat *stat, uint64_t epoch)
{
    bool leads;
    if (!tree_went_leads(tree, drive, other, stat->ino, &leads) && !leads)
        tree_record_went(tree->keeper->records, tree_keep_id(tree, drive), other, stat,
            POOL_MOVED_REMOVED, NULL, epoch);
}

void tree_keep_name_went(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    mrmr_autobytes struct mrmr_bytes other = MRMR_BYTES_INIT;
    struct tree_records *records = tree->keeper->records;
    const int64_t id = tree_keep_id(tree, drive);
    if (tree_went_other(tree, drive, path, stat, &other)) {
        tree_record_not(records);
    } else if (other.size) {
        tree_record_went(records, id, path, stat, POOL_MOVED_LIVES, other.data, epoch);
        look_again(tree, drive, other.data, stat, epoch);
    } else {
        tree_record_went(records, id, path, stat, POOL_MOVED_REMOVED, NULL, epoch);
    }
}

mrmr_err tree_keep_name_goes(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, struct mrmr_bytes *ret_other)
{
    MRMR_TRY(tree_went_other(tree, drive, path, stat, ret_other));
    if (ret_other->size)
        tree_record_went(tree->keeper->records, tree_keep_id(tree, drive), path, stat,
            POOL_MOVED_LIVES, ret_other->data, epoch);
    return MRMR_OK;
}

void tree_keep_name_replaced(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, const struct mrmr_bytes *other, uint64_t epoch)
{
    if (other->size)
        look_again(tree, drive, other->data, stat, epoch);
    else
        tree_record_went(tree->keeper->records, tree_keep_id(tree, drive), path, stat,
            POOL_MOVED_REPLACED, NULL, epoch);
}

void tree_keep_name_stays(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, const struct mrmr_bytes *other, uint64_t epoch)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (other->size &&
        tree_record_stays(tree->keeper->records, tree_keep_id(tree, drive), path, stat, epoch))
        mrmr_log_story(MRMR_LOG_WARN,
            "a name that was not replaced is not listed if its drive goes before the next sync");
    mrmr_story_restore(&story);
}

void tree_keep_named(struct pool_tree *tree, struct tree_node *node, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    bool known = !counted;
    if (counted) {
        mrmr_locked(&counted->lock);
        known =
            counted->in_catalog || counted->inode.drive != drive || counted->inode.ino != stat->ino;
    }
    if (known)
        tree_keep_name_went(tree, drive, path, stat, epoch);
}

static mrmr_err linked(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    const struct meta_drive *own = &tree->drive[drive].drive->meta;
    const struct tree_inode inode = {drive, stat->ino};
    struct meta_node node;
    bool known = false;
    MRMR_TRY(tree_counted_in_catalog(tree, &inode, &known));
    if (!known)
        return MRMR_OK;
    const bool scanned = tree_keep_scanned(tree);
    mrmr_err err = meta_lookup_path(tree->pool->meta, own->root, path, &node);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    if (scanned || (!err && node.ino == stat->ino))
        MRMR_TRY(tree_record_stays(tree->keeper->records, own->id, path, stat, epoch));
    tree_record_linked(tree->keeper->records, own->id, path, stat, epoch);
    return MRMR_OK;
}

void tree_keep_linked(
    struct pool_tree *tree, size_t drive, const char *path, const struct drv_stat *stat)
{
    uint64_t epoch;
    if (!stat->ino)
        return;
    mrmr_err err = pool_writers_begin(tree->keeper->writers, &epoch);
    if (!err) {
        err = linked(tree, drive, path, stat, epoch);
        pool_writers_end();
    }
    if (err)
        mrmr_log_story(MRMR_LOG_WARN,
            "a name that was made is not listed if its drive goes before the next sync");
}

mrmr_err tree_keep_went(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    struct meta_node node;
    const bool scanned = tree_keep_scanned(tree);
    mrmr_err err = tree_catalog_without(tree, drive, path, &node);
    const bool none = mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR;
    if (!none)
        MRMR_TRY(err);
    if (!scanned && (none || node.ino != stat->ino))
        return MRMR_OK;
    struct drv_stat had = *stat;
    had.nlink = UINT32_MAX; /* nobody knows any more */
    tree_keep_name_went(tree, drive, path, &had, epoch);
    return MRMR_OK;
}

uint64_t tree_keep_names_lost(struct pool_tree *tree)
{
    return tree_records_lost(tree->keeper->records);
}

mrmr_err tree_keep_names_sync(struct pool_tree *tree, uint64_t lost)
{
    if (tree_records_lost(tree->keeper->records) != lost)
        return mrmr_fail(MRMR_IO, "that a name went could not be recorded");
    return tree_records_sync(tree->keeper->records);
}

/* Whether the catalog has it, or may have it soon, and stripes may count on it, or on what lies below it. */
static mrmr_err whether_known(
    struct pool_tree *tree, size_t drive, const struct drv_stat *stat, bool *known, bool *counts)
{
    const struct tree_inode inode = {drive, stat->ino};
    struct tree_counted counted = {.known = false};
    if (stat->type == DRV_DIR)
        *known = *counts = true;
    if (stat->type != DRV_REG)
        return *known ? MRMR_OK : tree_counted_in_catalog(tree, &inode, known);
    mrmr_err err = tree_counted_load(tree, &inode, &counted);
    *known = *known || counted.in_catalog;
    *counts = *counts || counted.n > 0;
    tree_counted_clear(&counted);
    return err;
}

mrmr_err tree_keep_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *stat, const struct drv_stat *exchanged, uint64_t epoch)
{
    const struct tree_renamed renamed = {tree_keep_id(tree, drive), from, to, exchanged,
        {stat->ino, exchanged ? exchanged->ino : 0}};
    bool known = false, counts = false;
    MRMR_TRY(whether_known(tree, drive, stat, &known, &counts));
    if (exchanged)
        MRMR_TRY(whether_known(tree, drive, exchanged, &known, &counts));
    /* What the catalog has not, and is not about to have, nobody needs to find. */
    return known ? tree_record_renamed(tree->keeper->records, &renamed, counts, epoch) : MRMR_OK;
}

/* Durable in any case: what had the new name may count where what was to have it does not. */
mrmr_err tree_keep_not_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *stat, const struct drv_stat *exchanged, uint64_t epoch)
{
    const struct tree_renamed renamed = {tree_keep_id(tree, drive), from, to, exchanged,
        {stat->ino, exchanged ? exchanged->ino : 0}};
    bool known = false, counts = false;
    if (whether_known(tree, drive, stat, &known, &counts) ||
        (exchanged && whether_known(tree, drive, exchanged, &known, &counts)))
        known = true; /* of what was not recorded it says nothing */
    return known ? tree_record_undone(tree->keeper->records, &renamed, epoch) : MRMR_OK;
}
