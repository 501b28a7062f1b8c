/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is done with the record of a file that was being brought to another drive (tree_pair.h), left by a cut
 * (tree_bring.c has the crash argument).
 */
#include "pool/tree_bring.h"
#include "pool/tree_change.h"
#include "pool/tree_look.h"
#include "pool/tree_number.h"

#include "drivers/guard.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static mrmr_err clear_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)stat;
    (void)err;
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

/* It may have a file's number already (tree_bring.c), which what is made with its inode must not have. */
static mrmr_err clear_copy(struct tree_drive *drive, const char *path)
{
    struct pool_tree *tree = drive->tree;
    struct drv_stat stat;
    MRMR_TRY(drv_stat(drive->drive->drv, path, &stat));
    tree_number_forget(tree, (size_t)(drive - tree->drive), stat.ino);
    return drv_unlink(drive->drive->drv, path);
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
            clear_copy(drive, path.data))
            mrmr_log_story(MRMR_LOG_INFO, "clearing away a copy that was not finished");
    }
}

static bool is_file(const struct drv_stat *stat, uint64_t ino)
{
    return stat->type == DRV_REG && stat->ino == ino;
}

/* Somebody has changed the file where it was, and nobody the copy, as far as that can be told: where size and time do not, it was not
 * changed after the file. */
static bool copy_is_old(struct pool_tree *tree, const struct tree_pair *record,
    const struct drv_stat *file, const struct drv_stat *copy)
{
    return record->knows && is_file(file, record->file.ino) && is_file(copy, record->copy.ino) &&
           copy->size == record->copy.size && copy->mtime == record->copy.mtime &&
           (!tree_pair_touched(tree, record->from, &record->file, file) ||
               file->ctime > copy->ctime);
}

/* Nobody has changed the file since it was copied, also not with its time set back; and the copy is the one that was made. What a
 * record of before says of the file is less. */
static bool file_is_over(struct pool_tree *tree, const struct tree_pair *record,
    const struct drv_stat *file, const struct drv_stat *copy)
{
    if (record->file.ino && (!is_file(file, record->file.ino) ||
                                tree_pair_touched(tree, record->from, &record->file, file)))
        return false;
    if (record->knows && !is_file(copy, record->copy.ino))
        return false;
    return file->type == DRV_REG && copy->type == DRV_REG && file->size == copy->size &&
           file->mtime == copy->mtime;
}

static bool is_none(mrmr_err err)
{
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR;
}

/* What the drive has there is recorded as removed, or late: the other one is the file. */
static bool is_over(
    struct pool_tree *tree, size_t drive, const char *path, const struct drv_stat *stat)
{
    tree_gone_refresh(tree);
    return tree_gone_hides_stat(tree, drive, "", path, stat);
}

static mrmr_err finish_copies(struct pool_tree *tree, const struct tree_pair *record)
{
    struct drv_stat a, b;
    uint64_t epoch;
    mrmr_err err = drv_stat(tree->drive[record->from].drive->drv, record->path, &a);
    if (!err)
        err = drv_stat(tree->drive[record->to].drive->drv, record->path, &b);
    if (is_none(err))
        return MRMR_OK;
    MRMR_TRY(err);
    if (is_over(tree, record->from, record->path, &a) ||
        is_over(tree, record->to, record->path, &b))
        return MRMR_OK;
    const bool over = file_is_over(tree, record, &a, &b);
    if (!over && !copy_is_old(tree, record, &a, &b))
        return MRMR_OK; /* one of them was changed since: both are somebody's */
    if (over)
        MRMR_TRY(tree_place_sync_name(tree, record->to, record->path));
    MRMR_TRY(tree_change_begin(tree, &epoch));
    err = tree_keep_taken(
        tree, over ? record->from : record->to, record->path, over ? &a : &b, epoch);
    tree_change_end(tree);
    return err;
}

/* The drive is away. What the catalog has of it is recorded as removed, by which it is compared if it may have been edited since
 * (gone_version.c); what the catalog never had is recorded as late. One that was recorded before a cut is not the other
 * besides, nor anew when it was applied already. */
static mrmr_err goes_when_back(
    struct pool_tree *tree, size_t from, const char *path, const struct drv_stat *file)
{
    struct meta_node known;
    mrmr_err err = tree_catalog_without(tree, from, path, &known);
    if (err && !is_none(err))
        return err;
    const bool is = !err && (int)known.type == (int)file->type && known.ino == file->ino;
    const bool seen = is && known.size == file->size && known.mtime == file->mtime;
    tree_gone_refresh(tree);
    if (seen && (tree_gone_hides_node(tree, from, "", path, &known) ||
                    (file->ctime && known.ctime > file->ctime))) /* a scan saw it changed */
        return MRMR_OK;
    if (!seen)
        MRMR_TRY(tree_gone_late(tree, from, POOL_GONE_LATE_COPY, path, file));
    return is ? tree_gone_add(tree, from, path, &known) : MRMR_OK;
}

mrmr_err tree_bring_goes_later(
    struct pool_tree *tree, size_t from, const char *path, const struct drv_stat *file)
{
    return tree_live(&tree->drive[from])
               ? tree_gone_late(tree, from, POOL_GONE_LATE_COPY, path, file)
               : goes_when_back(tree, from, path, file);
}

/* The drive of the file is away. The copy is the file, if it has its path. */
static mrmr_err finish_away(struct pool_tree *tree, const struct tree_pair *record)
{
    struct drv_stat copy, file = record->file;
    uint64_t epoch;
    mrmr_err err = drv_stat(tree->drive[record->to].drive->drv, record->path, &copy);
    if (is_none(err))
        return MRMR_OK;
    MRMR_TRY(err);
    if (!is_file(&copy, record->copy.ino) || is_over(tree, record->to, record->path, &copy))
        return MRMR_OK;
    if (!file.mtime) { /* a record of before */
        file.size = record->copy.size;
        file.mtime = record->copy.mtime;
    }
    MRMR_TRY(tree_place_sync_name(tree, record->to, record->path));
    MRMR_TRY(tree_change_begin(tree, &epoch));
    err = tree_bring_goes_later(tree, record->from, record->path, &file);
    tree_change_end(tree);
    return err;
}

/* The drive that it went to is away, and what was asked of it may come late. */
static mrmr_err finish_late(struct pool_tree *tree, const struct tree_pair *record)
{
    struct drv_stat file;
    mrmr_err err = drv_stat(tree->drive[record->from].drive->drv, record->path, &file);
    if (is_none(err))
        return MRMR_OK;
    MRMR_TRY(err);
    return is_file(&file, record->file.ino) && !is_over(tree, record->from, record->path, &file)
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

/* What can be asked of its drives. */
enum can { CAN_NOTHING, CAN_BOTH, CAN_COPY, CAN_FILE };

static mrmr_err record_judge(
    struct pool_tree *tree, const char *name, const struct tree_pair *record, enum can can)
{
    switch (can) {
    case CAN_BOTH:
        MRMR_TRY(finish_copies(tree, record));
        break;
    case CAN_COPY:
        MRMR_TRY(finish_away(tree, record));
        break;
    case CAN_FILE:
        MRMR_TRY(finish_late(tree, record));
        break;
    default:
        return MRMR_OK; /* the next time */
    }
    tree_bring_ended(tree, name);
    return MRMR_OK;
}

/* --- the tree is opened --- */

static enum can can_now(struct pool_tree *tree, const struct tree_pair *record)
{
    const bool file = tree_live(&tree->drive[record->from]);
    const bool copy = tree_live(&tree->drive[record->to]);
    if (file && copy)
        return CAN_BOTH;
    if (!record->knows)
        return CAN_NOTHING;
    return copy ? CAN_COPY : file ? CAN_FILE : CAN_NOTHING;
}

static mrmr_err record_take_up(struct pool_tree *tree, const char *name, void *arg)
{
    (void)arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct tree_pair record;
    bool ours;
    MRMR_TRY(tree_pair_read(tree, name, &text, &record, &ours));
    if (ours)
        return record_judge(tree, name, &record, can_now(tree, &record));
    mrmr_log(MRMR_LOG_INFO, "the pool has lost a drive that a copy of %s was made on, or from",
        record.path);
    unlinkat(tree->pool->dirfd, name, 0);
    return MRMR_OK;
}

/* Of a copy that is not wanted, for sure. */
static mrmr_err late_take_up(struct pool_tree *tree, const char *name, void *arg)
{
    (void)arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct tree_pair record;
    bool ours;
    MRMR_TRY(tree_pair_read(tree, name, &text, &record, &ours));
    if (ours)
        MRMR_TRY(tree_gone_late(tree, record.to, POOL_GONE_LATE_COPY, record.path, &record.copy));
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
    mrmr_locked(&tree->brings_gate);
    for (size_t i = 0; i < tree->ndrives; i++)
        clear_drive(&tree->drive[i]);
    MRMR_TRY(tree_records_each(tree, TREE_BRING_TRY, try_clear, NULL));
    MRMR_TRY(tree_records_each(tree, TREE_BRING_LATE, late_take_up, NULL));
    return tree_records_each(tree, TREE_BRING_RECORD, record_take_up, NULL);
}

/* --- a drive is back --- */

static bool is_begun(struct pool_tree *tree, const char *name)
{
    mrmr_locked(&tree->lock);
    for (const struct tree_bring_begun *at = tree->begun; at; at = at->next)
        if (strcmp(at->record, name) == 0)
            return true;
    return false;
}

static bool serves(const struct tree_drive *drive)
{
    return drive->drive->presence == POOL_PRESENT && drv_guard_serves(drive->drive->drv);
}

/* Where the file is live it is the one that shows, and may have been changed by now; the copy did not show since the tree was opened, or
 * it could not be told then, and is told before it does. */
static enum can can_returning(struct pool_tree *tree, const struct tree_pair *record, size_t drive)
{
    if (!record->knows)
        return CAN_NOTHING;
    if (tree_live(&tree->drive[record->from]))
        return record->to == drive ? CAN_FILE : CAN_NOTHING;
    if (record->to == drive || (record->from == drive && serves(&tree->drive[record->to])))
        return CAN_COPY;
    return record->from == drive ? CAN_FILE : CAN_NOTHING;
}

struct returning {
    size_t drive;
    bool unclear; /* something could not be told, or not be recorded */
};

static mrmr_err record_returns(struct pool_tree *tree, const char *name, void *arg)
{
    struct returning *r = arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct tree_pair record;
    bool ours;
    if (is_begun(tree, name))
        return MRMR_OK;
    MRMR_TRY(tree_pair_read(tree, name, &text, &record, &ours));
    if (!ours)
        return MRMR_OK;
    mrmr_err err = record_judge(tree, name, &record, can_returning(tree, &record, r->drive));
    r->unclear = r->unclear || err;
    return err;
}

bool tree_brings_return(struct pool_tree *tree, size_t drive)
{
    struct returning r = {.drive = drive};
    if (!pool_tree_writable(tree))
        return true;
    mrmr_locked(&tree->brings_gate);
    mrmr_err err = tree_records_each(tree, TREE_BRING_RECORD, record_returns, &r);
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "finishing what was brought to or from a drive");
    return !err && !r.unclear;
}
