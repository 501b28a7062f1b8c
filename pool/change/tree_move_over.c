/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file is renamed over one that another drive has, and that may hide it as long as it is there: it is the newer one by what the
 * catalog knows of both, or by their times, or comes to be that, as by a scan that finds out that it was renamed, too, or since it has another
 * name by which it is written to. That may be on a drive that is away; then it is what the catalog has.
 *
 * Crash argument. (1) A record `over-<16 hex>` (pair.h) in the pool's folder, durable: the drive and the inode of what is
 * renamed, the other drive and what lies there, and the new path. (2) The rename, on the one drive. (3) That is durable.
 * (4) What the other drive has is removed, as any other (tree_keep.c), and (5) that is durable. (6) The record goes. A cut
 * before (2) leaves a record, and another inode, or none, by the new path: nothing was renamed, and the record goes. One
 * after it leaves the inode by its new path: whoever opens the tree next makes that durable, removes what the other drive
 * has, if that is what was recorded, and goes on at (5). A power cut may take (2) back until (3), and (4) until (5), and leaves
 * one of these. A record that comes to life after (6) finds nothing left to do. By (5) it is durable, too, that the catalog's
 * name on the other drive went (moved.h): else what it led to would show in the place of what was renamed when that drive goes. A
 * cut between the removal and that is seen to by whoever opens the tree next; so is what could not be recorded.
 *
 * Where the other drive goes away before (4), or may have it still afterwards, it is recorded, after (3), as removed, or, if the catalog does
 * not have it, as a copy that came late (gone_late.c): so it does not show while its drive is away, nor when that is back, and goes, if nobody
 * has changed it, by its change time, too (I4). If that fails the record stays. Of a drive that was away before (2) it is recorded by (4) as removed. Where the rename itself fails the record goes: should it be made late, on a drive that hangs, whoever asked was
 * told that both are as they were, and may count on what he would have replaced.
 */
#include "pool/change/tree_bring.h"
#include "pool/change/tree_move.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_look.h"

#include <string.h>
#include <unistd.h>

#define RECORD_PREFIX "over-"

struct over {
    struct tree_pair pair; /* without its path */
    bool away;             /* the other drive was, before it was renamed */
    uint64_t lost;         /* names that went without a record before that (tree_keep_names_sync) */
    char record[POOL_PAIR_NAME];
};

/* --- before --- */

/* What the other drive has; of one that is away what the catalog has of it. */
static mrmr_err other_stat(struct moving *m, size_t drive, struct drv_stat *ret_stat)
{
    struct tree_drive *own = &m->tree->drive[drive];
    struct meta_node node;
    if (tree_live(own))
        return drv_stat(own->drive->drv, m->to_path.data, ret_stat);
    MRMR_TRY(tree_gone_known(m->tree, drive, m->to_path.data, &node));
    *ret_stat = (struct drv_stat){.type = (enum drv_type)node.type,
        .size = node.size,
        .nlink = node.nlink,
        .ino = node.ino,
        .mtime = node.mtime,
        .ctime = node.ctime};
    return MRMR_OK;
}

static mrmr_err over_drive(
    struct moving *m, size_t shown, const struct drv_stat *from, size_t drive)
{
    struct over over = {.pair = {.from = shown, .to = drive, .file = *from},
        .away = !tree_live(&m->tree->drive[drive]),
        .lost = tree_keep_names_lost(m->tree)};
    struct drv_stat *copy = &over.pair.copy;
    if (other_stat(m, drive, copy) || copy->type == DRV_DIR || !copy->ino)
        return MRMR_OK; /* there is nothing, or it cannot be replaced; whoever replaces it is told that */
    over.pair.path = m->to_path.data;
    MRMR_TRY(tree_pair_write(m->tree, &over.pair, RECORD_PREFIX, over.record));
    over.pair.path = NULL;
    mrmr_err err = mrmr_bytes_add(&m->over, &over, sizeof over);
    if (err)
        unlinkat(m->tree->pool->dirfd, over.record, 0);
    return err;
}

mrmr_err moving_over_begin(struct moving *m, size_t shown)
{
    const struct tree_set on = tree_spot(m->tree, m->to_folder).on;
    struct drv *drv = m->tree->drive[shown].drive->drv;
    struct drv_stat from, there;
    mrmr_bytes_clear(&m->over);
    if (!m->replaces || (!m->to->several && tree_set_has(&m->to->on, shown)))
        return MRMR_OK;
    if (drv_stat(drv, m->from_path.data, &from) || !from.ino)
        return MRMR_OK; /* whoever renames it is told so: also that nothing can be renamed where inodes have no numbers */
    if (!drv_stat(drv, m->to_path.data, &there) && there.ino == from.ino)
        return MRMR_OK; /* its inode would not tell whether it was renamed */
    for (size_t i = 0; i < m->tree->ndrives; i++)
        if (i != shown && tree_set_has(&on, i) &&
            (m->to->several || tree_set_has(&m->to->on, i) || !tree_live(&m->tree->drive[i])))
            MRMR_TRY(over_drive(m, shown, &from, i));
    return MRMR_OK;
}

/* --- after --- */

/* And nobody has edited it since. */
static bool is_copy(
    const struct pool_tree *tree, const struct tree_pair *pair, const struct drv_stat *stat)
{
    return stat->type == pair->copy.type && stat->ino == pair->copy.ino &&
           stat->size == pair->copy.size && stat->mtime == pair->copy.mtime &&
           !tree_pair_touched(tree, pair->to, &pair->copy, stat);
}

/* *ret_there: it lies there still. Else that it went is durable, and recorded. */
static mrmr_err copy_went(
    struct pool_tree *tree, const struct tree_pair *pair, uint64_t lost, bool *ret_there)
{
    struct drv_stat stat;
    mrmr_err err = drv_stat(tree->drive[pair->to].drive->drv, pair->path, &stat);
    *ret_there = !err && is_copy(tree, pair, &stat);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    err = *ret_there ? MRMR_OK : tree_place_sync_name(tree, pair->to, pair->path);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = MRMR_OK; /* the folder went, too */
    return err || *ret_there ? err : tree_keep_names_sync(tree, lost);
}

/* That it was removed is recorded, if it could be. */
static mrmr_err over_done_away(
    struct pool_tree *tree, const struct tree_pair *pair, bool *ret_there)
{
    struct meta_node node;
    mrmr_err err = tree_gone_known(tree, pair->to, pair->path, &node);
    *ret_there = !err && node.ino == pair->copy.ino;
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

static mrmr_err over_done(struct pool_tree *tree, const struct over *over, bool *ret_there)
{
    const struct tree_pair *pair = &over->pair;
    struct tree_drive *own = &tree->drive[pair->to];
    if (over->away && !tree_live(own))
        return over_done_away(tree, pair, ret_there);
    mrmr_err err = tree_live(own) ? copy_went(tree, pair, over->lost, ret_there) : MRMR_OFFLINE;
    if (!err || !tree_drive_failed(own, err))
        return err;
    *ret_there = false;
    MRMR_TRY(
        tree_place_sync_name(tree, pair->from, pair->path)); /* it may be why nothing was removed */
    err = tree_bring_goes_later(tree, pair->to, pair->path, &pair->copy);
    return err == MRMR_CHANGED /* it came back just now */
               ? tree_bring_goes_later(tree, pair->to, pair->path, &pair->copy)
               : err;
}

void moving_over_end(struct moving *m, bool made)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    for (size_t at = 0; at < m->over.size; at += sizeof(struct over)) {
        struct over over;
        bool there = false;
        memcpy(&over, m->over.data + at, sizeof over);
        over.pair.path = m->to_path.data;
        mrmr_err err = made ? over_done(m->tree, &over, &there) : MRMR_OK;
        if (err)
            mrmr_log_story(MRMR_LOG_WARN, "a file that was replaced may not be gone for good yet");
        if (!err && !there)
            unlinkat(m->tree->pool->dirfd, over.record, 0);
    }
    if (!made && m->over.size && fsync(m->tree->pool->dirfd) < 0)
        mrmr_log(MRMR_LOG_WARN, "that a rename failed may be forgotten if the power goes now");
    mrmr_bytes_clear(&m->over);
    mrmr_story_restore(&story);
}

/* --- after a crash --- */

static mrmr_err finish_removal(struct pool_tree *tree, const struct tree_pair *pair)
{
    struct drv_stat stat;
    uint64_t epoch;
    mrmr_err err = drv_stat(tree->drive[pair->to].drive->drv, pair->path, &stat);
    const bool went = mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR;
    if (!went)
        MRMR_TRY(err);
    if (!went && !is_copy(tree, pair, &stat))
        return MRMR_OK; /* it was changed since: both are somebody's */
    MRMR_TRY(tree_change_begin(tree, &epoch));
    err = went ? tree_keep_went(tree, pair->to, pair->path, &pair->copy, epoch)
               : tree_keep_taken(tree, pair->to, pair->path, &stat, epoch);
    tree_change_end(tree);
    return err;
}

static mrmr_err finish_away(struct pool_tree *tree, const struct tree_pair *pair)
{
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(tree, &epoch));
    mrmr_err err = tree_bring_goes_later(tree, pair->to, pair->path, &pair->copy);
    tree_change_end(tree);
    return err;
}

/* It was renamed, and may have been changed since, or another one has its inode by now. */
static bool is_moved(const struct tree_pair *pair, const struct drv_stat *stat)
{
    if (stat->type == DRV_DIR || stat->ino != pair->file.ino)
        return false;
    return pair->file.btime ? stat->btime == pair->file.btime
                            : stat->size == pair->file.size && stat->mtime == pair->file.mtime;
}

static mrmr_err finish_pair(struct pool_tree *tree, const struct tree_pair *pair)
{
    struct drv_stat moved;
    bool there = false;
    mrmr_err err = drv_stat(tree->drive[pair->from].drive->drv, pair->path, &moved);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        return MRMR_OK;
    MRMR_TRY(err);
    if (!is_moved(pair, &moved))
        return MRMR_OK; /* it was not renamed, or is somebody's by now */
    MRMR_TRY(tree_place_sync_name(tree, pair->from, pair->path));
    if (!tree_live(&tree->drive[pair->to]))
        return finish_away(tree, pair);
    const uint64_t lost = tree_keep_names_lost(tree);
    MRMR_TRY(finish_removal(tree, pair));
    return copy_went(tree, pair, lost, &there);
}

static mrmr_err record_take_up(struct pool_tree *tree, const char *name, void *arg)
{
    (void)arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct tree_pair pair;
    bool ours;
    MRMR_TRY(tree_pair_read(tree, name, &text, &pair, &ours));
    if (ours && !tree_live(&tree->drive[pair.from]))
        return MRMR_OK; /* the next time */
    if (ours && pair.knows)
        MRMR_TRY(finish_pair(tree, &pair));
    unlinkat(tree->pool->dirfd, name, 0);
    return MRMR_OK;
}

mrmr_err tree_overs_finish(struct pool_tree *tree)
{
    return pool_tree_writable(tree) ? tree_records_each(tree, RECORD_PREFIX, record_take_up, NULL)
                                    : MRMR_OK;
}
