/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Room for rows, and slack.
 *
 * Room is what the file system says this user may still write, less the drive's reserve, less the
 * slack that is still to be made; and not more than max-usage leaves. What is written beside rows
 * (the drive's identity, the catalog's copies, folders) is not asked for room; it must not come out
 * of the reserve either, so where there is one, as much as the catalog takes is left beside it.
 * max-usage counts what the catalog knows to lie on the drive: the files it shows (by size) and the
 * rows of ours; what else lies on the same file system is not counted.
 *
 * Slack is the file .mrmr/slack, allocated, of twice the size of the largest row. A row for which there is no other room is made in
 * its very blocks, and those of the row that it replaces are the slack then (row.c, stripe.c): whoever else
 * writes to a full drive finds nothing free in between. Only the first one gives a part of it away, which is kept again where
 * there is room. Where the file system does not write over blocks in place, or a row is longer than the slack, all of it is given away for
 * the row, and the one that is replaced is the slack then, too. A reserve that is
 * kept free does the same service, so slack takes nothing of it. It holds nothing, so it needs no
 * crash argument: whether it is there or not after a crash, it is looked at before it is reckoned
 * with. Drives that cannot allocate have none; their room is smaller by it all the same.
 *
 * A small part of every drive that may have originals is kept beside it, as room for pointers
 * (pointers.h): so that what lies on a full drive can be removed.
 */
#include "pool/drive/drive.h"
#include "pool/retained/pointers.h"

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

#define SLACK_PATH POOL_SLACK

bool pool_drive_may_hold_rows(const struct meta_drive *meta)
{
    return (meta->role == META_ROLE_DATA || meta->role == META_ROLE_PARITY) &&
           (meta->state == META_DRIVE_ACTIVE || meta->state == META_DRIVE_REBUILDING);
}

/* --- The block size --- */

enum { BLOCK_LEAVES_MAX = 32, BLOCKS_A_DRIVE = 256 };

/* A 256th of the smallest drive as a power of two, 1 MiB to 32 MiB. */
static uint64_t block_by_drives(struct pool *pool)
{
    uint64_t smallest = UINT64_MAX;
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        mrmr_locked(&drive->lock);
        if (drive->meta.state != META_DRIVE_RETIRED && drive->meta.total &&
            drive->meta.total < smallest)
            smallest = drive->meta.total;
    }
    uint64_t block = BLOCK_LEAVES_MAX * META_LEAF;
    while (block > META_LEAF && block > smallest / BLOCKS_A_DRIVE)
        block /= 2;
    return block;
}

mrmr_err pool_block_size(struct pool *pool, uint64_t *ret_bytes)
{
    uint64_t set;
    MRMR_TRY(pool_setting_u64(pool, "block-size", &set));
    *ret_bytes = set ? set : block_by_drives(pool);
    return MRMR_OK;
}

enum { SLACK_LEAST = 64 << 10 }; /* for less than that it is not made anew */

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* What may be taken of the drive without touching its reserve. */
static mrmr_err space_usable(struct pool *pool, const struct pool_drive *drive, uint64_t *ret_bytes)
{
    struct drv_space space;
    uint64_t beside_rows = 0;
    MRMR_TRY(mrmr_err_drive(drv_space(drive->drv, &space), drive->meta.name));
    if (drive->meta.reserve)
        MRMR_TRY(meta_size(pool->meta, &beside_rows));
    *ret_bytes = less(less(space.avail, drive->meta.reserve), beside_rows);
    return MRMR_OK;
}

/* --- Slack --- */

static mrmr_err slack_wanted(struct pool *pool, const struct pool_drive *drive, uint64_t *ret_bytes)
{
    uint64_t block;
    MRMR_TRY(pool_block_size(pool, &block));
    *ret_bytes = pool_drive_may_hold_rows(&drive->meta) ? 2 * pool_row_bound(block) : 0;
    return MRMR_OK;
}

/* Bytes of it that are allocated; 0 if there is none. */
static mrmr_err slack_there(struct pool_drive *drive, uint64_t *ret_bytes)
{
    struct drv_stat stat;
    mrmr_err err = drv_stat(drive->drv, SLACK_PATH, &stat);
    if (err == MRMR_ABSENT) {
        *ret_bytes = 0;
        return MRMR_OK;
    }
    if (err)
        return mrmr_err_drive(err, drive->meta.name);
    *ret_bytes = stat.allocated < stat.size ? stat.allocated : stat.size;
    return MRMR_OK;
}

/* --- room for pointers --- */

static mrmr_err pointers_lack(struct pool_drive *drive, uint64_t *ret_wanted, uint64_t *ret_lack)
{
    struct drv_space space;
    uint64_t there;
    *ret_wanted = *ret_lack = 0;
    if (drive->meta.role == META_ROLE_PARITY || !pool_drive_writable(drive))
        return MRMR_OK;
    MRMR_TRY(mrmr_err_drive(drv_space(drive->drv, &space), drive->meta.name));
    MRMR_TRY(mrmr_err_drive(pool_pointers_room(drive->drv, &there), drive->meta.name));
    *ret_wanted = pool_pointers_wanted(space.total);
    *ret_lack = less(*ret_wanted, there);
    return MRMR_OK;
}

static mrmr_err pointers_keep(struct pool *pool, struct pool_drive *drive)
{
    uint64_t wanted, lack, usable;
    MRMR_TRY(pointers_lack(drive, &wanted, &lack));
    if (!lack)
        return MRMR_OK;
    MRMR_TRY(space_usable(pool, drive, &usable));
    mrmr_err err = pool_pointers_make(drive->drv, wanted - less(lack, usable));
    /* No room after all, or no such means here: as slack. */
    if (err == MRMR_SPACE || mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED)
        return MRMR_OK;
    return mrmr_err_drive(err, drive->meta.name);
}

/* --- Slack again --- */

static mrmr_err slack_remove(struct pool_drive *drive)
{
    mrmr_err err = drv_unlink(drive->drv, SLACK_PATH);
    return err == MRMR_ABSENT ? MRMR_OK : mrmr_err_drive(err, drive->meta.name);
}

static mrmr_err slack_allocate(struct pool_drive *drive, uint64_t bytes)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    mrmr_err err =
        drv_file_open(drive->drv, SLACK_PATH, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file);
    if (err == MRMR_EXISTS)
        err = drv_file_open(drive->drv, SLACK_PATH, DRV_OPEN_WRITE, 0600, &file);
    return err ? err : drv_file_allocate(file, bytes);
}

mrmr_err pool_drive_slack_lend_locked(struct pool_drive *drive, bool all, bool *ret_lent)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    uint64_t there;
    MRMR_TRY(slack_there(drive, &there));
    *ret_lent = there > 0;
    if (all || there <= SLACK_LEAST) {
        MRMR_TRY(slack_remove(drive));
        return drv_dir_sync(drive->drv, POOL_DOT);
    }
    MRMR_TRY(drv_file_open(drive->drv, SLACK_PATH, DRV_OPEN_WRITE, 0600, &file));
    MRMR_TRY(drv_file_truncate(file, there - SLACK_LEAST));
    return drv_file_sync(file); /* some file systems have it free only then */
}

/* As much of it as there is room for: a drive that is full by a little less than it should be is
 * the one that will need it. */
static mrmr_err slack_allocate_most(struct pool_drive *drive, uint64_t bytes)
{
    mrmr_err err = slack_allocate(drive, bytes);
    for (; err == MRMR_SPACE && bytes > SLACK_LEAST; err = slack_allocate(drive, bytes))
        bytes -= bytes / 16;
    return err;
}

mrmr_err pool_drive_slack_keep_locked(struct pool *pool, struct pool_drive *drive)
{
    uint64_t wanted, there, usable;
    MRMR_TRY(pointers_keep(pool, drive));
    MRMR_TRY(slack_wanted(pool, drive, &wanted));
    MRMR_TRY(slack_there(drive, &there));
    if (wanted == 0)
        return there ? slack_remove(drive) : MRMR_OK;
    if (there >= wanted)
        return MRMR_OK;
    MRMR_TRY(space_usable(pool, drive, &usable));
    if (usable < SLACK_LEAST)
        return MRMR_OK;
    mrmr_err err = slack_allocate_most(drive, usable + there < wanted ? usable + there : wanted);
    if (err && !there) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        slack_remove(drive);
        mrmr_story_restore(&story);
    }
    /* No room after all, or no such means here: that is no failure of the job. */
    if (err == MRMR_SPACE || mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED)
        return MRMR_OK;
    return mrmr_err_drive(err, drive->meta.name);
}

/* One that was left out of the job since it was attached is not asked: it may hang, or be another's. */
static mrmr_err slack_ready(struct pool *pool, struct pool_drive *drive)
{
    MRMR_TRY(pool_drive_may_write(pool, drive));
    return pool_drive_attach(pool, drive);
}

mrmr_err pool_drive_slack_keep(struct pool *pool, struct pool_drive *drive)
{
    MRMR_TRY(slack_ready(pool, drive));
    mrmr_locked(&drive->gate);
    return pool_drive_slack_keep_locked(pool, drive);
}

mrmr_err pool_drive_slack_give(struct pool *pool, struct pool_drive *drive)
{
    MRMR_TRY(slack_ready(pool, drive));
    mrmr_locked(&drive->gate);
    return slack_remove(drive);
}

bool pool_drive_slack_has(struct pool_drive *drive, uint64_t bytes)
{
    uint64_t there;
    mrmr_locked(&drive->gate);
    return !slack_there(drive, &there) && there >= bytes;
}

mrmr_err pool_drive_slack_put(struct pool_drive *drive, const char *path)
{
    mrmr_locked(&drive->gate);
    return mrmr_err_drive(
        drv_rename(drive->drv, path, SLACK_PATH, DRV_RENAME_REPLACE), drive->meta.name);
}

/* --- Room --- */

mrmr_err pool_drive_free(struct pool *pool, struct pool_drive *drive, uint64_t *ret_bytes)
{
    uint64_t usable, wanted, there, pointers, lack;
    MRMR_TRY(space_usable(pool, drive, &usable));
    MRMR_TRY(slack_wanted(pool, drive, &wanted));
    MRMR_TRY(slack_there(drive, &there));
    MRMR_TRY(pointers_lack(drive, &pointers, &lack));
    uint64_t room = less(less(usable, less(wanted, there)), lack);
    if (drive->meta.max_usage) {
        struct meta_totals totals;
        MRMR_TRY(meta_totals(pool->meta, drive->meta.id, &totals));
        uint64_t left = less(less(drive->meta.max_usage, totals.file_bytes), totals.row_bytes);
        room = room < left ? room : left;
    }
    *ret_bytes = room;
    return MRMR_OK;
}

mrmr_err pool_drive_room(struct pool *pool, struct pool_drive *drive, uint64_t *ret_bytes)
{
    if (!pool_drive_writable(drive) || !pool_drive_may_hold_rows(&drive->meta)) {
        *ret_bytes = 0;
        return MRMR_OK;
    }
    return pool_drive_free(pool, drive, ret_bytes);
}
