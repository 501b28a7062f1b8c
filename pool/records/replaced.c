/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/replaced.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLACED_NAME "replaced"
enum { RECORD = sizeof(struct pool_replaced), RECORDS_AT_ONCE = 128 };

static mrmr_err replaced_open(int dirfd, int flags, int *ret_fd)
{
    int fd = openat(dirfd, REPLACED_NAME, flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", REPLACED_NAME);
    *ret_fd = fd;
    return MRMR_OK;
}

mrmr_err pool_replaced_size(int fd, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", REPLACED_NAME);
    *ret_size = (uint64_t)st.st_size;
    return MRMR_OK;
}

/* At a multiple of its length: a part of one, which a full disk or a kill left, is written over. */
static mrmr_err replaced_append(int fd, const struct pool_replaced *record)
{
    uint64_t size;
    MRMR_TRY(pool_replaced_size(fd, &size));
    ssize_t n;
    do
        n = pwrite(fd, record, RECORD, (off_t)(size - size % RECORD));
    while (n < 0 && errno == EINTR);
    return n == RECORD ? MRMR_OK : mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", REPLACED_NAME);
}

mrmr_err pool_replaced_add(struct pool *pool, const struct pool_drive *drive,
    const struct drv_stat *was, const struct drv_stat *now)
{
    const struct pool_replaced record = {drive->meta.id, was->ino, now->ino, was->btime};
    int fd;
    if (!(drive->info.caps & DRV_CAP_STABLE_INO))
        return MRMR_OK;
    MRMR_TRY(replaced_open(pool->dirfd, O_WRONLY, &fd));
    mrmr_err err = replaced_append(fd, &record);
    close(fd);
    return err;
}

mrmr_err pool_replaced_open(int dirfd, int *ret_fd)
{
    int fd;
    MRMR_TRY(replaced_open(dirfd, O_RDWR, &fd));
    if (ftruncate(fd, 0) < 0) {
        mrmr_err err = mrmr_fail_errno(errno, "empty", REPLACED_NAME);
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return MRMR_OK;
}

mrmr_err pool_replaced_read(int fd, uint64_t offset, struct mrmr_bytes *records)
{
    struct pool_replaced buf[RECORDS_AT_ONCE];
    ssize_t n;
    do {
        n = pread(fd, buf, sizeof buf, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mrmr_fail_errno(errno, "read", REPLACED_NAME);
        n -= n % RECORD;
        offset += (uint64_t)n;
        MRMR_TRY(mrmr_bytes_add(records, buf, (size_t)n));
    } while (n);
    return MRMR_OK;
}
