/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/drive/failing.h"
#include "pool/drive/drive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAILING "failing"
#define FAILED "failed"
enum { NAME = 64 };

static const char *name_of(const char *what, const struct mrmr_uuid *drive, char name[NAME])
{
    char uuid[MRMR_UUID_TEXT];
    snprintf(name, NAME, "%s-%s", what, mrmr_uuid_print(drive, uuid));
    return name;
}

static bool is_noted(const struct pool *pool, const char *what, const struct mrmr_uuid *drive)
{
    char name[NAME];
    struct stat st;
    return fstatat(pool->dirfd, name_of(what, drive, name), &st, AT_SYMLINK_NOFOLLOW) == 0;
}

enum pool_failing pool_failing_get(const struct pool *pool, const struct mrmr_uuid *drive)
{
    return is_noted(pool, FAILING, drive)  ? POOL_FAILING_HERE
           : is_noted(pool, FAILED, drive) ? POOL_FAILING_WENT
                                           : POOL_FAILING_NOT;
}

mrmr_err pool_failing_set(const struct pool *pool, const struct mrmr_uuid *drive)
{
    char name[NAME];
    mrmr_autoclose int fd = openat(pool->dirfd, name_of(FAILING, drive, name),
        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 || fsync(pool->dirfd) < 0)
        return mrmr_fail_errno(errno, "note that a drive fails", name);
    return MRMR_OK;
}

void pool_failing_goes(const struct pool *pool, const struct mrmr_uuid *drive)
{
    char was[NAME], name[NAME];
    if (!renameat(
            pool->dirfd, name_of(FAILING, drive, was), pool->dirfd, name_of(FAILED, drive, name)) ||
        errno == ENOENT)
        return;
    mrmr_fail_errno(errno, "note that a drive is gone", was);
    mrmr_log_story(MRMR_LOG_INFO, "it will not be used when it is there again");
}

static void forget(const struct pool *pool, const char *what, const struct mrmr_uuid *drive)
{
    char name[NAME];
    if (unlinkat(pool->dirfd, name_of(what, drive, name), 0) < 0 && errno != ENOENT)
        mrmr_log(MRMR_LOG_WARN, "%s cannot be removed from the pool's folder", name);
}

void pool_failing_back(const struct pool *pool, const struct mrmr_uuid *drive)
{
    forget(pool, FAILED, drive);
}

void pool_failing_over(const struct pool *pool, const struct mrmr_uuid *drive)
{
    forget(pool, FAILING, drive);
    forget(pool, FAILED, drive);
}

mrmr_err pool_failing_fail(const char *name)
{
    mrmr_fail(MRMR_IO, "it answered errors again and again, and was taken out of service");
    mrmr_err_drive(MRMR_IO, name);
    return mrmr_err_hint(MRMR_IO,
        "look at its cable, its power and the system's log; to use it again: mrmr attach %s; to "
        "bring its files to other drives: mrmr rebuild %s",
        name, name);
}

static void tell(struct pool *pool, const struct pool_job *job, const struct pool_drive *drive)
{
    const char *name = drive->meta.name;
    pool_tell(pool, job, true, "drive-failing", drive,
        "drive %s answers errors again and again; what can be read of it is protected. Look at its "
        "cable, its power and the system's log; what is damaged on it: mrmr scrub --repair; if it "
        "is dying: mrmr add-drive another, take this one away, and mrmr rebuild %s",
        name, name);
}

/* Keeps the story of how the job ended. */
void pool_failing_tell(struct pool *pool, const struct pool_job *job)
{
    struct mrmr_story story;
    uint64_t limit = 0;
    mrmr_story_save(&story);
    if (pool_setting_u64(pool, "error-limit", &limit))
        mrmr_log_story(MRMR_LOG_INFO, "reading settings");
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        const unsigned errors = drive->drv ? drv_error_seconds(drive->drv) : 0;
        if (limit && errors > drive->errors_told && errors - drive->errors_told >= limit)
            tell(pool, job, drive);
        drive->errors_told = errors;
    }
    mrmr_story_restore(&story);
}
