/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/change/tree_record.h"

#include "pool/records/spare.h"
#include "pool/records/touched.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Taking back a record of a rename that could not be written yet. */
struct undone {
    struct undone *next;
    struct tree_renamed renamed; /* its texts are below */
    char text[];                 /* from, to */
};

struct tree_records {
    struct pool *pool;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    int touched, moved; /* -1: not open */
    uint64_t epoch;     /* in which they were opened */
    struct undone *undone;
    uint64_t lost;    /* names that went, and could not be recorded */
    bool told;        /* of the last of them */
    bool told_linked; /* that names which were made could not be */
    bool told_out;    /* that the pool's folder is full, and nothing spare is left */
};

/* --- life --- */

mrmr_err tree_records_open(struct pool *pool, struct tree_records **ret_records)
{
    struct tree_records *records = calloc(1, sizeof *records);
    if (!records)
        return mrmr_nomem();
    records->pool = pool;
    records->touched = records->moved = -1;
    pthread_mutex_init(&records->lock, NULL);
    pool_spare_make(pool->dirfd);
    *ret_records = records;
    return MRMR_OK;
}

static void files_close(struct tree_records *records)
{
    if (records->touched >= 0)
        close(records->touched);
    if (records->moved >= 0)
        close(records->moved);
    records->touched = records->moved = -1;
}

void tree_records_close(struct tree_records *records)
{
    if (!records)
        return;
    files_close(records);
    for (struct undone *u; (u = records->undone) != NULL; free(u))
        records->undone = u->next;
    pthread_mutex_destroy(&records->lock);
    free(records);
}

/* A scan was there since: it may have made room. */
static void files_now_locked(struct tree_records *records, uint64_t epoch)
{
    if (records->epoch == epoch)
        return;
    files_close(records);
    pool_spare_make(records->pool->dirfd);
    records->told_out = false;
    records->epoch = epoch;
}

/* The record could not be written, and can be now, perhaps. */
static bool again_locked(struct tree_records *records, mrmr_err err)
{
    const struct pool *pool = records->pool;
    if (!pool_spare_wanted(err))
        return false;
    if (pool_spare_gives(pool->dirfd, pool->dir, err))
        return true;
    if (!records->told_out)
        mrmr_log(MRMR_LOG_WARN,
            "the pool's folder %s is full: make room there; until then nothing can be removed, "
            "renamed or written",
            pool->dir);
    records->told_out = true;
    return false;
}

/* --- touched --- */

static mrmr_err touched_locked(
    struct tree_records *records, int64_t drive, uint64_t ino, int64_t as)
{
    if (records->touched < 0)
        MRMR_TRY(pool_touched_open(records->pool->dirfd, &records->touched));
    return pool_touched_add(records->touched, drive, ino, as);
}

mrmr_err tree_record_touched(
    struct tree_records *records, int64_t drive, uint64_t ino, int64_t as, uint64_t epoch)
{
    mrmr_err err;
    mrmr_locked(&records->lock);
    files_now_locked(records, epoch);
    do
        err = touched_locked(records, drive, ino, as);
    while (again_locked(records, err));
    return err;
}

/* --- moved --- */

static mrmr_err moved_try_locked(struct tree_records *records)
{
    if (records->moved < 0)
        MRMR_TRY(pool_moved_open(records->pool->dirfd, &records->moved));
    for (struct undone *u; (u = records->undone) != NULL; free(u)) {
        MRMR_TRY(pool_moved_add_inodes(records->moved, u->renamed.drive, u->renamed.from,
            u->renamed.to, POOL_MOVED_UNDONE, u->renamed.inode, true));
        records->undone = u->next;
    }
    return MRMR_OK;
}

/* The file is open afterwards, and nothing is owed to it. */
static mrmr_err moved_ready_locked(struct tree_records *records, uint64_t epoch)
{
    mrmr_err err;
    files_now_locked(records, epoch);
    do
        err = moved_try_locked(records);
    while (again_locked(records, err));
    return err;
}

/* The file is open. */
static mrmr_err moved_add_locked(struct tree_records *records, const struct tree_renamed *renamed,
    enum pool_moved_kind kind, bool durable)
{
    mrmr_err err;
    do
        err = pool_moved_add_inodes(records->moved, renamed->drive, renamed->from, renamed->to,
            kind, renamed->inode, durable);
    while (again_locked(records, err));
    return err;
}

bool tree_records_owe(struct tree_records *records)
{
    mrmr_locked(&records->lock);
    return records->undone;
}

mrmr_err tree_records_settle(struct tree_records *records, uint64_t epoch)
{
    mrmr_locked(&records->lock);
    return moved_ready_locked(records, epoch);
}

static mrmr_err went_locked(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, enum pool_moved_kind kind, const char *other, uint64_t epoch)
{
    MRMR_TRY(moved_ready_locked(records, epoch));
    return kind == POOL_MOVED_LIVES
               ? pool_moved_add_lives(records->moved, drive, path, other, stat->ino)
               : pool_moved_add_gone(records->moved, drive, path, kind, stat->ino, stat->btime);
}

static void lost_locked(struct tree_records *records)
{
    records->lost++;
    if (!records->told)
        mrmr_log_story(MRMR_LOG_WARN,
            "names that are removed now are listed again if their drive goes before the next sync");
    records->told = true;
}

void tree_record_went(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, enum pool_moved_kind kind, const char *other, uint64_t epoch)
{
    mrmr_locked(&records->lock);
    if (went_locked(records, drive, path, stat, kind, other, epoch))
        lost_locked(records);
    else
        records->told = false;
}

void tree_record_not(struct tree_records *records)
{
    mrmr_locked(&records->lock);
    lost_locked(records);
}

uint64_t tree_records_lost(struct tree_records *records)
{
    mrmr_locked(&records->lock);
    return records->lost;
}

mrmr_err tree_records_sync(struct tree_records *records)
{
    mrmr_locked(&records->lock);
    if (records->moved < 0) /* what was recorded in another epoch need not be durable for that */
        MRMR_TRY(pool_moved_open(records->pool->dirfd, &records->moved));
    if (fdatasync(records->moved) < 0)
        return mrmr_fail_errno(errno, "fdatasync", MOVED_NAME);
    return MRMR_OK;
}

mrmr_err tree_record_renamed(
    struct tree_records *records, const struct tree_renamed *renamed, bool durable, uint64_t epoch)
{
    mrmr_locked(&records->lock);
    MRMR_TRY(moved_ready_locked(records, epoch));
    return moved_add_locked(
        records, renamed, renamed->exchange ? POOL_MOVED_EXCHANGE : POOL_MOVED_RENAME, durable);
}

static mrmr_err owe_locked(struct tree_records *records, const struct tree_renamed *renamed)
{
    const size_t nfrom = strlen(renamed->from) + 1, nto = strlen(renamed->to) + 1;
    struct undone *u = malloc(sizeof *u + nfrom + nto);
    if (!u)
        return mrmr_nomem();
    memcpy(u->text, renamed->from, nfrom);
    memcpy(u->text + nfrom, renamed->to, nto);
    u->renamed = *renamed;
    u->renamed.from = u->text;
    u->renamed.to = u->text + nfrom;
    u->next = records->undone;
    records->undone = u;
    return MRMR_OK;
}

mrmr_err tree_record_undone(
    struct tree_records *records, const struct tree_renamed *renamed, uint64_t epoch)
{
    mrmr_locked(&records->lock);
    MRMR_TRY(owe_locked(records, renamed));
    return moved_ready_locked(records, epoch);
}

mrmr_err tree_record_stays(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    const struct tree_renamed again = {
        .drive = drive, .from = path, .to = "", .inode = {stat->ino, (uint64_t)stat->btime}};
    mrmr_locked(&records->lock);
    MRMR_TRY(moved_ready_locked(records, epoch));
    return moved_add_locked(records, &again, POOL_MOVED_UNDONE, false);
}

static mrmr_err linked_locked(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    MRMR_TRY(moved_ready_locked(records, epoch));
    return pool_moved_add_linked(records->moved, drive, path, stat->ino);
}

void tree_record_linked(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    mrmr_locked(&records->lock);
    const bool failed = linked_locked(records, drive, path, stat, epoch);
    if (failed && !records->told_linked)
        mrmr_log_story(MRMR_LOG_WARN,
            "names that are made now are not listed if their drive goes before the next sync");
    records->told_linked = failed;
}
