/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/drive/hung.h"
#include "pool/drive/drive.h"

#include <assert.h>
#include <string.h>

int64_t pool_drive_medium(const struct meta_drive *meta)
{
    uint64_t medium;
    static_assert(sizeof medium <= sizeof meta->uuid.bytes, "a part of it");
    memcpy(&medium, meta->uuid.bytes, sizeof medium);
    medium &= POOL_WRITERS_DRIVES - 1;
    return medium ? (int64_t)medium : 1;
}

bool pool_drive_hangs(const struct pool *pool, const struct pool_drive *drive)
{
    bool late = false;
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (drive->meta.id > 0 &&
        pool_writers_late_on(pool->dirfd, pool_drive_medium(&drive->meta), &late))
        mrmr_log_story(MRMR_LOG_WARN, "looking whether a change hangs on a drive");
    mrmr_story_restore(&story);
    return late;
}

static mrmr_err hung_fail(const char *name)
{
    mrmr_fail(MRMR_OFFLINE,
        "something that was written through the pool's mount hangs on it: it was "
        "given up, and may be written yet");
    mrmr_err_drive(MRMR_OFFLINE, name);
    return mrmr_err_hint(MRMR_OFFLINE, "nothing is lost: put the drive right, or unplug it, so "
                                       "that the kernel gives up, too; then "
                                       "run the command again");
}

void pool_drive_hung_verdict(struct pool_drive *drive)
{
    hung_fail(drive->meta.name);
    mrmr_locked(&drive->lock);
    mrmr_story_save(&drive->why);
    drive->presence = POOL_FAILED;
    drive->hung = true;
}

void pool_drive_leave_out(struct pool *pool, const struct pool_job *job, struct pool_drive *drive)
{
    pool_drive_hung_verdict(drive);
    pool_tell(pool, job, true, "drive-hangs", drive,
        "drive %s is left out: something that was written to it through the mount hangs, and may "
        "be "
        "written yet; its files stay as they are, and are protected when it answers",
        drive->meta.name);
}

void pool_hung_leave_out(struct pool *pool, const struct pool_job *job)
{
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        if (drive->meta.state == META_DRIVE_RETIRED || (!drive->hung && !pool_drive_present(drive)))
            continue;
        if (pool_drive_hangs(pool, drive)) {
            pool_drive_leave_out(pool, job, drive);
        } else if (drive->hung) {
            drive->hung = false;
            pool_views_forget(pool, 0); /* they hold rows as they were opened before */
            pool_drive_look(pool, drive);
            if (pool_drive_note(pool, drive, false))
                mrmr_log_story(MRMR_LOG_WARN, "recording that a drive answers again");
        }
    }
}

/* A stop that ended as busy: because of one of these drives? */
static mrmr_err stop_why(struct pool *pool, mrmr_err err, const int64_t drives[], size_t n)
{
    for (size_t i = 0; err == MRMR_BUSY && i < n; i++) {
        const struct pool_drive *drive = pool_drive_by_id(pool, drives[i]);
        if (drive && pool_drive_hangs(pool, drive))
            return hung_fail(drive->meta.name);
    }
    return err;
}

/* By their media, owned. */
static mrmr_err media_of(
    struct pool *pool, const int64_t drives[], size_t n, int64_t **ret_media, size_t *ret_n)
{
    int64_t *media = calloc(n + 1, sizeof *media);
    if (!media)
        return mrmr_nomem();
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct pool_drive *drive = pool_drive_by_id(pool, drives[i]);
        if (drive)
            media[(*ret_n)++] = pool_drive_medium(&drive->meta);
    }
    *ret_media = media;
    return MRMR_OK;
}

mrmr_err pool_stop_for(
    struct pool *pool, const struct pool_job *job, const int64_t drives[], size_t n)
{
    mrmr_autofree int64_t *media = NULL;
    size_t nmedia;
    MRMR_TRY(media_of(pool, drives, n, &media, &nmedia));
    const struct pool_writers_of of = {media, nmedia};
    return stop_why(pool, pool_writers_stop_of(pool->writers, job, &of), drives, n);
}

mrmr_err pool_stop_for_after(struct pool *pool, const struct pool_job *job, const int64_t drives[],
    size_t n, pool_writers_look look, void *arg)
{
    mrmr_autofree int64_t *media = NULL;
    size_t nmedia;
    MRMR_TRY(media_of(pool, drives, n, &media, &nmedia));
    const struct pool_writers_of of = {media, nmedia};
    mrmr_err err = pool_writers_stop_after(pool->writers, job, &of, look, arg);
    return stop_why(pool, err, drives, n);
}

static size_t without_hung(struct pool *pool, int64_t drives[], size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        const struct pool_drive *drive = pool_drive_by_id(pool, drives[i]);
        if (!drive || !pool_drive_hangs(pool, drive))
            drives[left++] = drives[i];
    }
    return left;
}

mrmr_err pool_stop_for_some(
    struct pool *pool, const struct pool_job *job, int64_t drives[], size_t *n)
{
    mrmr_err err;
    while ((err = pool_stop_for(pool, job, drives, *n)) == MRMR_OFFLINE)
        *n = without_hung(pool, drives, *n);
    return err;
}

mrmr_err pool_stop_for_all(struct pool *pool, const struct pool_job *job)
{
    mrmr_autofree int64_t *drives = calloc(pool->ndrives + 1, sizeof *drives);
    if (!drives)
        return mrmr_nomem();
    for (;;) {
        size_t n = 0;
        for (size_t i = 0; i < pool->ndrives; i++)
            if (pool_drive_present(pool->drives[i]))
                drives[n++] = pool->drives[i]->meta.id;
        mrmr_err err = pool_stop_for(pool, job, drives, n);
        if (err != MRMR_OFFLINE)
            return err;
        for (size_t i = 0; i < pool->ndrives; i++)
            if (pool_drive_present(pool->drives[i]) && pool_drive_hangs(pool, pool->drives[i]))
                pool_drive_leave_out(pool, job, pool->drives[i]);
    }
}
