/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/spare.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPARE_NAME "spare"

/* A part has room for 16,000 records of what was touched, or some 2,000 names. Of what is free no more than an
 * eighth is taken. */
enum { PART = 256 << 10, PARTS = 16, LEAVES = 8 };

static int spare_open(int dirfd, int more)
{
    return openat(dirfd, SPARE_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | more, 0600);
}

/* Part by part: a file system that frees whole extents alone frees these. */
void pool_spare_make(int dirfd)
{
    struct statvfs fs;
    struct stat st;
    mrmr_autoclose int fd = spare_open(dirfd, O_CREAT);
    if (fd < 0 || fstat(fd, &st) < 0 || fstatvfs(fd, &fs) < 0)
        return;
    uint64_t free = (uint64_t)fs.f_bavail * fs.f_frsize;
    for (uint64_t at = (uint64_t)st.st_size / PART * PART; at < (uint64_t)PARTS * PART;
         at += PART) {
        if (free / LEAVES < PART || fallocate(fd, 0, (off_t)at, PART) < 0)
            return;
        free -= PART;
    }
}

/* A bound of ours is none of the file system's. */
bool pool_spare_wanted(mrmr_err err)
{
    const struct mrmr_story *story = mrmr_story_get();
    return err == MRMR_SPACE && story->err == err &&
           (story->foreign == ENOSPC || story->foreign == EDQUOT);
}

bool pool_spare_gives(int dirfd, const char *dir, mrmr_err err)
{
    struct stat st;
    if (!pool_spare_wanted(err))
        return false;
    mrmr_autoclose int fd = spare_open(dirfd, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
        return false;
    const off_t left = st.st_size > PART ? (st.st_size - 1) / PART * PART : 0;
    if (ftruncate(fd, left) < 0)
        return false;
    mrmr_log(MRMR_LOG_WARN,
        "the pool's folder%s%s is full: make room there, while names can be removed and renamed "
        "still",
        dir ? " " : "", dir ? dir : "");
    return true;
}

mrmr_err pool_spare_record(
    int dirfd, const char *dir, const char *name, const struct mrmr_bytes *text)
{
    mrmr_err err;
    do
        err = mrmr_durable_replace(dirfd, name, text->data, text->size, 0600);
    while (pool_spare_gives(dirfd, dir, err));
    return err;
}
