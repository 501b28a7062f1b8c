/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/durable.h"

#include "base/cleanup.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static mrmr_err durable_write_all(int fd, const char *name, const void *data, size_t size)
{
    const char *p = data;
    while (size) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return mrmr_fail_errno(n < 0 ? errno : EIO, "write", name);
        p += n;
        size -= (size_t)n;
    }
    if (fsync(fd) < 0)
        return mrmr_fail_errno(errno, "fsync", name);
    return MRMR_OK;
}

mrmr_err mrmr_durable_replace(
    int dirfd, const char *name, const void *data, size_t size, unsigned mode)
{
    char temp[300];
    if (snprintf(temp, sizeof temp, ".%s.new", name) >= (int)sizeof temp)
        return mrmr_fail_errno(ENAMETOOLONG, "create", name);
    mrmr_autoclose int fd =
        openat(dirfd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return mrmr_fail_errno(errno, "create", temp);
    mrmr_err err = durable_write_all(fd, temp, data, size);
    if (!err && renameat(dirfd, temp, dirfd, name) < 0)
        err = mrmr_fail_errno(errno, "rename", name);
    if (err) {
        unlinkat(dirfd, temp, 0);
        return err;
    }
    if (fsync(dirfd) < 0)
        return mrmr_fail_errno(errno, "fsync folder of", name);
    return MRMR_OK;
}

static mrmr_err durable_read_all(int fd, const char *name, size_t most, struct mrmr_bytes *b)
{
    size_t got = 0;
    for (;;) {
        MRMR_TRY(mrmr_bytes_reserve(b, 4096));
        ssize_t n = read(fd, b->data + b->size, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mrmr_fail_errno(errno, "read", name);
        if (n == 0)
            return MRMR_OK;
        b->size += (size_t)n;
        b->data[b->size] = '\0';
        got += (size_t)n;
        if (got > most)
            return mrmr_err_path(
                mrmr_fail(MRMR_SPACE, "larger than the %zu bytes it may have", most), name);
    }
}

mrmr_err mrmr_durable_read(int dirfd, const char *name, size_t most, struct mrmr_bytes *b)
{
    mrmr_autoclose int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", name);
    size_t before = b->size;
    mrmr_err err = durable_read_all(fd, name, most, b);
    if (err && b->data) { /* a failed append leaves the buffer as it was */
        b->size = before;
        b->data[before] = '\0';
    }
    return err;
}
