/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is done with the record of a file that was being brought to another drive (tree_pair.h), left by a cut
 * (tree_bring.c has the crash argument).
 */
#include "pool/tree_bring.h"
#include "pool/tree_change.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static mrmr_err clear_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)stat;
    (void)err;
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

/* What lies under .mrmr/moving has no name that anyone knows. */
static void clear_drive(struct tree_drive *drive)
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct drv *drv = drive->drive->drv;
    if (!tree_live(drive) || drv_list(drv, TREE_BRING_FOLDER, clear_entry, &names))
        return;
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        if (mrmr_bytes_fmt(&path, TREE_BRING_FOLDER "/%s", names.data + at) ||
            drv_unlink(drv, path.data))
            mrmr_log_story(MRMR_LOG_INFO, "clearing away a copy that was not finished");
    }
}

static bool is_file(const struct drv_stat *stat, uint64_t ino)
{
    return stat->type == DRV_REG && stat->ino == ino;
}

/* The file was changed where it was, and is there still; nobody has changed the copy. */
static bool copy_is_old(
    const struct tree_pair *record, const struct drv_stat *file, const struct drv_stat *copy)
{
    return record->knows && is_file(file, record->file.ino) && is_file(copy, record->copy.ino) &&
           copy->size == record->copy.size && copy->mtime == record->copy.mtime;
}

static mrmr_err finish_copies(struct pool_tree *tree, const struct tree_pair *record)
{
    struct drv_stat a, b;
    uint64_t epoch;
    mrmr_err err = drv_stat(tree->drive[record->from].drive->drv, record->path, &a);
    if (!err)
        err = drv_stat(tree->drive[record->to].drive->drv, record->path, &b);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        return MRMR_OK;
    MRMR_TRY(err);
    const bool equal =
        a.type == DRV_REG && b.type == DRV_REG && a.size == b.size && a.mtime == b.mtime;
    if (!equal && !copy_is_old(record, &a, &b))
        return MRMR_OK; /* one of them was changed since: both are somebody's */
    if (equal)
        MRMR_TRY(tree_place_sync_name(tree, record->to, record->path));
    MRMR_TRY(tree_change_begin(tree, &epoch));
    err = tree_keep_taken(
        tree, equal ? record->from : record->to, record->path, equal ? &a : &b, epoch);
    tree_change_end(tree);
    return err;
}

/* The drive that it went to is away, and what was asked of it may come late. */
static mrmr_err finish_late(struct pool_tree *tree, const struct tree_pair *record)
{
    struct drv_stat file;
    mrmr_err err = drv_stat(tree->drive[record->from].drive->drv, record->path, &file);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        return MRMR_OK;
    MRMR_TRY(err);
    return is_file(&file, record->file.ino)
               ? tree_gone_late(tree, record->to, POOL_GONE_LATE_COPY, record->path, &record->copy)
               : MRMR_OK;
}

void tree_bring_ended(struct pool_tree *tree, const char *record)
{
    char ended[TREE_PAIR_NAME];
    snprintf(ended, sizeof ended, POOL_BROUGHT_ENDED "%s", record + strlen(TREE_BRING_RECORD));
    if (renameat(tree->pool->dirfd, record, tree->pool->dirfd, ended) < 0)
        mrmr_log(MRMR_LOG_WARN, "the record of a file that was brought to another drive stays");
}

static mrmr_err record_take_up(struct pool_tree *tree, const char *name, void *arg)
{
    (void)arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct tree_pair record;
    bool ours;
    MRMR_TRY(tree_pair_read(tree, name, &text, &record, &ours));
    if (ours && !tree_live(&tree->drive[record.from]))
        return MRMR_OK; /* the next time */
    if (!ours)
        mrmr_log(MRMR_LOG_INFO, "the pool has lost a drive that a copy of %s was made on, or from",
            record.path);
    else if (tree_live(&tree->drive[record.to]))
        MRMR_TRY(finish_copies(tree, &record));
    else if (record.knows)
        MRMR_TRY(finish_late(tree, &record));
    else
        return MRMR_OK;
    if (ours)
        tree_bring_ended(tree, name);
    else
        unlinkat(tree->pool->dirfd, name, 0);
    return MRMR_OK;
}

static mrmr_err try_clear(struct pool_tree *tree, const char *name, void *arg)
{
    (void)arg;
    unlinkat(tree->pool->dirfd, name, 0);
    return MRMR_OK;
}

mrmr_err tree_brings_finish(struct pool_tree *tree)
{
    if (!pool_tree_writable(tree))
        return MRMR_OK;
    for (size_t i = 0; i < tree->ndrives; i++)
        clear_drive(&tree->drive[i]);
    MRMR_TRY(tree_records_each(tree, TREE_BRING_TRY, try_clear, NULL));
    return tree_records_each(tree, TREE_BRING_RECORD, record_take_up, NULL);
}
