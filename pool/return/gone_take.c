/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One name that was removed while its drive was away is taken from the drive (gone_take.h).
 */
#include "pool/return/gone_take.h"
#include "pool/drive/hung.h"
#include "pool/records/touched.h"
#include "pool/retained/retained.h"
#include "pool/writers.h"

/* The change time of an inode after one of its names was removed here: that was us. */
struct own {
    uint64_t ino;
    int64_t ctime;
};

static mrmr_err touch(struct gone_take *t, uint64_t ino)
{
    int fd;
    MRMR_TRY(pool_touched_open(t->pool->dirfd, &fd));
    mrmr_err err = pool_touched_add(fd, t->drive->meta.id, ino, POOL_TOUCHED_NAME);
    close(fd);
    return err;
}

/* It has the name beside where things are retained, and no other through which anyone could change it. */
static mrmr_err judge_taken(struct gone_take *t, const struct pool_gone_record *record,
    const char *taken, bool counted, bool *ret_kept)
{
    struct drv *drv = t->drive->drv;
    struct drv_stat stat;
    mrmr_err err = drv_stat(drv, taken, &stat);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        pool_retained_put_back(drv, taken, t->path); /* it could be anyone's */
        return mrmr_story_restore(&story);
    }
    *ret_kept = !pool_gone_is(record, &t->drive->info, &stat);
    if (*ret_kept)
        return pool_retained_put_back(drv, taken, t->path);
    if (counted)
        MRMR_TRY(pool_retained_taken(drv, taken, t->path));
    MRMR_TRY(drv_dir_sync(drv, POOL_RETAINED_FILES));
    return counted ? MRMR_OK : drv_unlink(drv, taken);
}

static mrmr_err take_file(struct gone_take *t, const struct pool_gone_record *record,
    const struct pool_retained_leaf leaves[], size_t n, bool *ret_kept)
{
    struct drv *drv = t->drive->drv;
    char taken[POOL_RETAINED_PATH];
    MRMR_TRY(pool_retained_keep(drv, t->path, leaves, n, POOL_RETAINED_TAKE, taken));
    return judge_taken(t, record, taken, n > 0, ret_kept);
}

/* One of its names is gone. */
static void own_note(struct gone_take *t, struct drv_file *file)
{
    struct drv_stat stat;
    if (drv_file_stat(file, &stat) || !stat.ino)
        return;
    const struct own own = {stat.ino, stat.ctime};
    if (mrmr_bytes_add(&t->own, &own, sizeof own)) /* its other names are compared */
        mrmr_log_story(MRMR_LOG_INFO, "removing names of one file");
}

static bool own_has(const struct gone_take *t, const struct drv_stat *stat)
{
    const struct own *own = (const struct own *)(const void *)t->own.data;
    for (size_t i = t->own.size / sizeof *own; i-- > 0;)
        if (own[i].ino == stat->ino)
            return stat->ctime && own[i].ctime == stat->ctime;
    return false;
}

static mrmr_err remove_name(struct gone_take *t, const struct pool_gone_record *record,
    const struct drv_stat *stat, bool *ret_kept)
{
    mrmr_autofree struct pool_retained_leaf *leaves = NULL;
    size_t n = 0;
    bool known;
    MRMR_TRY(pool_retained_counted(t->pool, t->drive, t->path, stat->ino, &leaves, &n, &known));
    if (known && stat->ino)
        MRMR_TRY(touch(t, stat->ino));
    bool found = false;
    mrmr_err err = MRMR_OK;
    if (t->keeping)
        pthread_mutex_lock(t->keeping);
    if (n && stat->nlink > 1) /* tree_keep.c */
        err = pool_inode_found_but(t->pool, t->drive, stat->ino, t->path, &found);
    if (!err)
        err = take_file(t, record, leaves, found ? 0 : n, ret_kept);
    if (t->keeping)
        pthread_mutex_unlock(t->keeping);
    return err;
}

static mrmr_err remove_file(struct gone_take *t, const struct pool_gone_record *record,
    const struct drv_stat *stat, bool *ret_kept)
{
    struct drv_file *file = NULL;
    if (stat->nlink > 1 && drv_file_open(t->drive->drv, t->path, DRV_OPEN_READ, 0, &file))
        file = NULL; /* its other names are compared */
    mrmr_err err = remove_name(t, record, stat, ret_kept);
    if (file && !err && !*ret_kept)
        own_note(t, file);
    drv_file_close(file);
    return err;
}

/* MRMR_NOT_EMPTY: it waits for renames. */
static mrmr_err remove_folder(struct gone_take *t, const struct drv_stat *stat)
{
    if (stat->ino)
        MRMR_TRY(touch(t, stat->ino));
    return drv_rmdir(t->drive->drv, t->path);
}

static mrmr_err apply_locked(
    struct gone_take *t, const struct pool_gone_record *record, bool *ret_kept)
{
    struct drv_stat stat;
    MRMR_TRY(drv_stat(t->drive->drv, t->path, &stat));
    *ret_kept = !pool_gone_is(record, &t->drive->info, &stat) ||
                (stat.type == DRV_REG && (t->drive->info.caps & DRV_CAP_STABLE_CTIME) &&
                    stat.ctime != t->ctime);
    if (*ret_kept)
        return MRMR_OK;
    switch (stat.type) {
    case DRV_REG:
        return remove_file(t, record, &stat, ret_kept);
    case DRV_DIR:
        return remove_folder(t, &stat);
    default:
        return drv_unlink(t->drive->drv, t->path);
    }
}

void gone_take_find(struct gone_take *t, const struct pool_gone_record *record,
    const struct pool_moved_paths *moved)
{
    struct drv *drv = t->drive->drv;
    struct drv_stat stat;
    t->path = record->path;
    if (record->kind == POOL_GONE_LATE) /* it had no other name */
        return;
    if (drv_stat(drv, t->path, &stat) == MRMR_OK && pool_gone_is(record, &t->drive->info, &stat))
        return;
    for (size_t i = 0; i < moved->n; i++)
        if (drv_stat(drv, moved->path[i], &stat) == MRMR_OK &&
            pool_gone_is(record, &t->drive->info, &stat)) {
            t->path = moved->path[i];
            return;
        }
}

/* Before anyone waits for it. */
static mrmr_err judge(struct gone_take *t, const struct pool_gone_record *record, bool *ret_kept)
{
    struct drv_stat stat;
    bool same = true;
    MRMR_TRY(drv_stat(t->drive->drv, t->path, &stat));
    if (!own_has(t, &stat))
        MRMR_TRY(
            pool_gone_same(t->pool, t->job, t->drive, record, t->path, t->until, &stat, &same));
    *ret_kept = !same;
    t->ctime = stat.ctime;
    return MRMR_OK;
}

/* Who stands still does so for this one name: what is compared was compared. */
static mrmr_err begin(struct gone_take *t)
{
    uint64_t epoch;
    if (t->keeping)
        return pool_writers_begin(t->writers, &epoch);
    mrmr_err err = pool_stop_for(t->pool, t->job, &t->drive->meta.id, 1);
    t->busy = err != MRMR_OK;
    return err;
}

static void end(struct gone_take *t)
{
    if (t->keeping)
        pool_writers_end(); /* an op that the drive does not answer may be carried out yet */
    else
        pool_writers_go(t->pool->writers);
}

mrmr_err gone_take(struct gone_take *t, const struct pool_gone_record *record, bool *ret_kept)
{
    MRMR_TRY(judge(t, record, ret_kept));
    if (*ret_kept)
        return MRMR_OK;
    MRMR_TRY(begin(t));
    mrmr_err err = apply_locked(t, record, ret_kept);
    end(t);
    return err;
}
