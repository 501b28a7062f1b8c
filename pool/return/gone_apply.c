/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was removed while its drive was away goes from the drive.
 *
 * A record's path is the catalog's. What was renamed since the last scan before it was removed is where
 * the records of renames lead (moved.h): the first place at which the version lies that was removed.
 *
 * How one goes, if it is what was removed: gone_take.h.
 *
 * Each removal runs among the writers, or while they stand still, and the scan is told of it before (touched.h): it holds nothing
 * for it. Then the folders that the names lay in are synced, and then the records are over (gone.h).
 * After that comes what else was asked of folders (later_apply.h).
 *
 * A name that somebody gives to something new meanwhile is freed before the others of its drive (one name alone), by the
 * same steps.
 *
 * A folder that is not empty may have in it what was renamed before it was removed, and is to be done yet. So
 * its record waits, is tried once more before each rename onto its name and after all of them, and only
 * then it is told of that it is kept. What goes so is synced, and its record over, before the rename: a cut
 * before that finds nothing there, or an empty folder that is removed again, and one after it does not take
 * what has the name by then for it.
 */
#include "pool/return/gone_apply.h"
#include "pool/drive/drive.h"
#include "pool/drive/hung.h"
#include "pool/retained/pointers.h"
#include "pool/return/gone_take.h"
#include "pool/return/later_apply.h"
#include "pool/writers.h"

#include "base/text.h"
#include <string.h>

struct applying {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_drive *drive;
    struct pool_gone *gone;
    struct gone_take take;
    struct pool_gone_list list;
    bool told_late;        /* that comparing takes longer than there is time */
    struct mrmr_bytes ids; /* of what is over */
    size_t settled;        /* of these, and recorded so */
    size_t *full;          /* places in the list, in order: folders that were not empty */
    size_t nfull;
    struct mrmr_bytes folder;   /* of the last name that was removed; to be synced */
    struct mrmr_bytes unsynced; /* ids whose names lay in it */
    bool folder_used;
};

/* A mount has for each drive that comes back: for waiting for whoever applies now, and for comparing. */
#define APPLY_WAITS (2 * MRMR_NS_PER_S)
#define APPLY_NAME_WAITS (MRMR_NS_PER_S / 5) /* and for one name */
#define APPLY_COMPARES (5 * MRMR_NS_PER_S)

/* --- what becomes of a record --- */

static void tell_kept(struct applying *a, const struct pool_gone_record *record)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const char *how =
        record->kind == POOL_GONE_LATE
            ? "is a copy that came late, after its drive had hung, and was changed since"
            : "was removed while the drive was away, and is not what it was";
    if (mrmr_text_print(&path, record->path, strlen(record->path)))
        return;
    pool_tell(a->pool, a->job, true, "conflict", a->drive, "on drive %s, '%.900s' %s: it is kept",
        a->drive->meta.name, path.data, how);
    if (a->pool->access != POOL_OWN)
        mrmr_log(MRMR_LOG_WARN, "drive %s: '%.900s' %s: it is kept", a->drive->meta.name, path.data,
            how);
}

/* Else somebody else's file has the name, of which nothing was asked. */
static bool late_is_changed(struct applying *a, const struct pool_gone_record *record)
{
    struct drv_stat stat;
    return !drv_stat(a->drive->drv, record->path, &stat) && pool_gone_late_changed(record, &stat);
}

static mrmr_err folder_sync(struct applying *a)
{
    if (!a->folder_used)
        return MRMR_OK;
    mrmr_err err = drv_dir_sync(a->drive->drv, a->folder.data ? a->folder.data : "");
    if (err == MRMR_DENIED) /* who may not read a folder cannot sync it alone */
        err = drv_sync_all(a->drive->drv);
    if (err && mrmr_class_of(err) != MRMR_CLASS_UNSUPPORTED &&
        mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    MRMR_TRY(mrmr_bytes_add(&a->ids, a->unsynced.data, a->unsynced.size));
    mrmr_bytes_clear(&a->unsynced);
    a->folder_used = false;
    return MRMR_OK;
}

/* The name is about to be removed: what was removed in another folder is durable first. */
static mrmr_err folder_is(struct applying *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    if (a->folder_used && a->folder.size == size &&
        (!size || memcmp(a->folder.data, path, size) == 0))
        return MRMR_OK;
    MRMR_TRY(folder_sync(a));
    mrmr_bytes_clear(&a->folder);
    MRMR_TRY(mrmr_bytes_add(&a->folder, path, size));
    a->folder_used = true;
    return MRMR_OK;
}

/* --- one name --- */

static mrmr_err apply_at(struct applying *a, const struct pool_gone_record *record)
{
    bool kept = false;
    MRMR_TRY(folder_is(a, a->take.path));
    mrmr_err err = gone_take(&a->take, record, &kept);
    const bool late = record->kind == POOL_GONE_LATE;
    /* It is gone, or its folder is, or something that is no folder has that one's place. Or others have put something
     * into a folder that came late. */
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
        (late && err == MRMR_NOT_EMPTY))
        err = MRMR_OK;
    MRMR_TRY(err);
    if (kept && (!late || late_is_changed(a, record)))
        tell_kept(a, record);
    return mrmr_bytes_add(&a->unsynced, &record->id, sizeof record->id);
}

static mrmr_err apply_one(struct applying *a, const struct pool_gone_record *record)
{
    struct pool_moved_paths moved = {.n = 0};
    if (pool_moved_any(a->pool))
        MRMR_TRY(pool_moved_paths(a->pool, record->drive, record->path, &moved));
    gone_take_find(&a->take, record, &moved);
    mrmr_err err = apply_at(a, record);
    a->take.path = NULL;
    pool_moved_paths_free(&moved);
    return err;
}

/* --- all of a drive --- */

/* Each of them would say the same. */
static bool is_told(struct applying *a, mrmr_err err)
{
    const bool late = err == MRMR_BUSY && a->take.until && mrmr_clock_monotonic() >= a->take.until;
    const bool told = late && a->told_late;
    a->told_late = a->told_late || late;
    return told;
}

/* Nothing more can be done on this drive now. */
static bool ends_it(const struct applying *a, mrmr_err err)
{
    return a->take.busy || mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE || mrmr_ran_short(err) ||
           err == MRMR_CANCELLED;
}

static mrmr_err apply_list(struct applying *a)
{
    for (size_t i = 0; i < a->list.n; i++) {
        MRMR_TRY(pool_job_poll(a->job));
        if (!pool_gone_takes(&a->list.record[i]))
            continue;
        mrmr_err err = apply_one(a, &a->list.record[i]);
        if (err == MRMR_NOT_EMPTY)
            a->full[a->nfull++] = i;
        if (!err || err == MRMR_NOT_EMPTY)
            continue;
        mrmr_err_path(mrmr_err_drive(err, a->drive->meta.name), a->list.record[i].path);
        if (ends_it(a, err))
            return err;
        if (is_told(a, err))
            continue;
        pool_tell_story(a->pool, a->job, true, "removal-waits", a->drive,
            "what was removed while its drive was away is there still");
        if (a->pool->access != POOL_OWN)
            mrmr_log_story(
                MRMR_LOG_WARN, "what was removed while its drive was away is there still");
    }
    return mrmr_err_drive(folder_sync(a), a->drive->meta.name);
}

/* What is durable by now is over, however it ended. */
static mrmr_err settle_after(struct applying *a, mrmr_err err)
{
    struct mrmr_story story;
    size_t n = a->ids.size / sizeof(uint64_t);
    if (err)
        mrmr_story_save(&story);
    mrmr_err settled = MRMR_OK;
    if (n > a->settled)
        settled = pool_gone_settle(
            a->gone, (uint64_t *)(void *)a->ids.data + a->settled, n - a->settled, false);
    if (!settled)
        a->settled = n;
    return err ? mrmr_story_restore(&story) : settled;
}

/* --- folders that were not empty --- */

static bool full_is_at(const struct applying *a, const char *path, const struct drv_stat *stat)
{
    const bool known = a->drive->info.caps & DRV_CAP_STABLE_INO;
    for (size_t i = 0; i < a->nfull; i++) {
        const struct pool_gone_record *record = &a->list.record[a->full[i]];
        if (pool_gone_is(record, &a->drive->info, stat) &&
            ((known && record->ino) || strcmp(record->path, path) == 0))
            return true;
    }
    return false;
}

/* In order, so that what lies in one goes before it. */
static mrmr_err full_again(struct applying *a, bool last)
{
    size_t left = 0;
    for (size_t i = 0; i < a->nfull; i++) {
        const struct pool_gone_record *record = &a->list.record[a->full[i]];
        mrmr_err err = apply_one(a, record);
        if (err == MRMR_NOT_EMPTY && last) {
            tell_kept(a, record);
            err = mrmr_bytes_add(&a->unsynced, &record->id, sizeof record->id);
        } else if (err == MRMR_NOT_EMPTY) {
            a->full[left++] = a->full[i];
            err = MRMR_OK;
        }
        MRMR_TRY(err); /* what has gone by now finds nothing there the next time */
    }
    a->nfull = left;
    return folder_sync(a);
}

/* later.h: their names are asked for. What is removed is durable, and over, before that. */
static mrmr_err full_before(void *arg, const char *to)
{
    struct applying *a = arg;
    struct drv_stat stat;
    if (!a->nfull || (to && (drv_stat(a->drive->drv, to, &stat) || !full_is_at(a, to, &stat))))
        return MRMR_OK;
    return settle_after(a, full_again(a, !to));
}

static void applying_free(struct applying *a)
{
    pool_writers_close(a->take.writers);
    pool_gone_list_free(&a->list);
    free(a->full);
    mrmr_bytes_free(&a->ids);
    mrmr_bytes_free(&a->take.own);
    mrmr_bytes_free(&a->folder);
    mrmr_bytes_free(&a->unsynced);
}

/* And what else was asked of folders, between looking at them and the end. */
static mrmr_err apply_all(struct applying *a, size_t *ret_left)
{
    struct pool_later *later;
    size_t removals = 0, left = 0;
    for (size_t i = 0; i < a->list.n; i++)
        removals += pool_gone_takes(&a->list.record[i]);
    MRMR_TRY(
        pool_later_begin(a->pool, a->job, a->gone, a->drive, a->take.writers, &a->list, &later));
    mrmr_err err = settle_after(a, apply_list(a));
    left = a->list.n - removals;
    if (!err)
        err = pool_later_run(later, full_before, a, &left);
    *ret_left = removals - a->settled + left;
    pool_later_end(later);
    return err;
}

/* When a mount must be done with what takes that long; the pool's owner takes the time. */
static int64_t until_of(const struct applying *a, int64_t after)
{
    return a->pool->access == POOL_OWN ? 0 : mrmr_clock_monotonic() + after;
}

static mrmr_err apply_begin(struct applying *a)
{
    /* Another drive of this mount that comes back may take its time: nobody would do this one later. */
    mrmr_err err =
        pool_gone_apply_begin(a->gone, a->job, 0, a->pool->access == POOL_OWN ? 0 : APPLY_WAITS);
    return err == MRMR_BUSY ? pool_busy(a->pool) : err;
}

/* What nobody has found yet would be done with, and come after that. */
static mrmr_err nothing_comes_yet(const struct applying *a)
{
    bool late = false;
    for (size_t i = 0; i < a->list.n; i++)
        late = late || a->list.record[i].kind == POOL_GONE_LATE;
    return late && pool_drive_hangs(a->pool, a->drive)
               ? mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "what was asked of it may come yet"),
                     a->drive->meta.name)
               : MRMR_OK;
}

/* Another process may have applied them meanwhile: the list is made once nobody does. */
static mrmr_err apply_alone(struct applying *a, size_t *ret_left)
{
    MRMR_TRY(pool_gone_refresh(a->gone));
    MRMR_TRY(pool_gone_list(a->gone, a->drive->meta.id, false, &a->list));
    *ret_left = a->list.n;
    if (!a->list.n)
        return MRMR_OK;
    MRMR_TRY(nothing_comes_yet(a));
    if (a->pool->access == POOL_OWN) {
        pool_pointers_forget(a->drive->drv); /* it may have been elsewhere */
        MRMR_TRY(pool_drive_attach(a->pool, a->drive));
    }
    MRMR_TRY(pool_writers_open(a->pool->dirfd, &a->take.writers));
    a->take.until = until_of(a, APPLY_COMPARES);
    a->full = calloc(a->list.n, sizeof *a->full);
    return a->full ? apply_all(a, ret_left) : mrmr_nomem();
}

static bool any_waits(struct pool_gone *gone, int64_t drive)
{
    struct pool_gone_list list;
    if (!pool_gone_any(gone) || pool_gone_list(gone, drive, false, &list))
        return pool_gone_any(gone);
    bool any = list.n > 0;
    pool_gone_list_free(&list);
    return any;
}

mrmr_err pool_gone_apply(struct pool *pool, const struct pool_job *job, struct pool_gone *gone,
    struct pool_drive *drive, pthread_mutex_t *keeping, size_t *ret_left)
{
    struct applying a = {.pool = pool,
        .job = job,
        .gone = gone,
        .drive = drive,
        .take = {.pool = pool, .job = job, .drive = drive, .keeping = keeping}};
    size_t left = 0;
    MRMR_TRY(pool_gone_refresh(gone));
    if (!any_waits(gone, drive->meta.id)) {
        if (ret_left)
            *ret_left = 0;
        return MRMR_OK;
    }
    MRMR_TRY(apply_begin(&a));
    mrmr_err err = apply_alone(&a, &left);
    pool_gone_apply_end(gone);
    applying_free(&a);
    if (ret_left)
        *ret_left = left;
    return err;
}

/* --- one name alone --- */

static bool is_either(const char *name, const char *const path[2])
{
    return (path[0] && strcmp(name, path[0]) == 0) || (path[1] && strcmp(name, path[1]) == 0);
}

static void list_only(struct pool_gone_list *list, const char *const path[2])
{
    size_t left = 0;
    for (size_t i = 0; i < list->n; i++) {
        struct pool_gone_record *record = &list->record[i];
        if (pool_gone_takes(record) && is_either(record->path, path))
            list->record[left++] = *record;
        else
            free(record->path);
    }
    list->n = left;
}

static mrmr_err apply_name(struct applying *a, const char *const path[2])
{
    MRMR_TRY(pool_gone_refresh(a->gone));
    MRMR_TRY(pool_gone_list(a->gone, a->drive->meta.id, false, &a->list));
    list_only(&a->list, path);
    if (!a->list.n)
        return MRMR_OK;
    MRMR_TRY(pool_writers_open(a->pool->dirfd, &a->take.writers));
    a->full = calloc(a->list.n, sizeof *a->full);
    if (!a->full)
        return mrmr_nomem();
    MRMR_TRY(settle_after(a, apply_list(a)));
    return a->settled == a->list.n ? MRMR_OK : mrmr_fail(MRMR_BUSY, NULL);
}

mrmr_err pool_gone_apply_name(struct pool *pool, struct pool_gone *gone, struct pool_drive *drive,
    pthread_mutex_t *keeping, const char *const path[2], int64_t until)
{
    struct applying a = {.pool = pool,
        .gone = gone,
        .drive = drive,
        .take = {.pool = pool, .drive = drive, .keeping = keeping, .until = until}};
    MRMR_TRY(pool_gone_apply_begin(gone, NULL, until, APPLY_NAME_WAITS));
    mrmr_err err = apply_name(&a, path);
    pool_gone_apply_end(gone);
    applying_free(&a);
    return err;
}
