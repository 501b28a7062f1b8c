/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/touched.h"
#include "pool/hung.h"

#include "base/durable.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define TOUCHED_NAME "touched"
enum { RECORD = sizeof(struct pool_touched_inode), TOUCHED_MOST = 1 << 30 };

mrmr_err pool_touched_open(int dirfd, int *ret_fd)
{
    int fd =
        openat(dirfd, TOUCHED_NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", TOUCHED_NAME);
    *ret_fd = fd;
    return MRMR_OK;
}

mrmr_err pool_touched_add(int fd, int64_t drive, uint64_t ino)
{
    const struct pool_touched_inode record = {drive, ino};
    ssize_t n;
    do
        n = write(fd, &record, sizeof record);
    while (n < 0 && errno == EINTR);
    return n == RECORD ? MRMR_OK : mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", TOUCHED_NAME);
}

mrmr_err pool_touched_size(struct pool *pool, uint64_t *ret_size)
{
    struct stat st;
    *ret_size = 0;
    if (fstatat(pool->dirfd, TOUCHED_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
        *ret_size = (uint64_t)st.st_size;
    else if (errno != ENOENT)
        return mrmr_fail_errno(errno, "stat", TOUCHED_NAME);
    return MRMR_OK;
}

static mrmr_err touched_read(struct pool *pool, struct mrmr_bytes *bytes)
{
    mrmr_err err = mrmr_durable_read(pool->dirfd, TOUCHED_NAME, TOUCHED_MOST, bytes);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

static int inode_compare(const void *a, const void *b)
{
    const struct pool_touched_inode *x = a, *y = b;
    if (x->drive != y->drive)
        return x->drive < y->drive ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

mrmr_err pool_touched_load(struct pool *pool, struct pool_touched *ret_touched)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    MRMR_TRY(touched_read(pool, &bytes));
    struct pool_touched touched = {.n = bytes.size / RECORD};
    touched.inode = malloc(touched.n * RECORD + 1);
    if (!touched.inode)
        return mrmr_nomem();
    if (touched.n) {
        memcpy(touched.inode, bytes.data, touched.n * RECORD);
        qsort(touched.inode, touched.n, RECORD, inode_compare);
    }
    *ret_touched = touched;
    return MRMR_OK;
}

bool pool_touched_has(const struct pool_touched *touched, int64_t drive, uint64_t ino)
{
    const struct pool_touched_inode wanted = {drive, ino};
    return ino && touched->n && bsearch(&wanted, touched->inode, touched->n, RECORD, inode_compare);
}

mrmr_err pool_touched_may_hide(
    struct pool *pool, const struct pool_drive *drive, uint64_t ino, bool *ret_may)
{
    struct pool_touched touched;
    *ret_may = false;
    if (drive->info.caps & DRV_CAP_STABLE_CTIME)
        return MRMR_OK;
    MRMR_TRY(pool_touched_load(pool, &touched));
    *ret_may = pool_touched_hides(&touched, drive, ino);
    pool_touched_free(&touched);
    return MRMR_OK;
}

void pool_touched_free(struct pool_touched *touched)
{
    free(touched->inode);
    *touched = (struct pool_touched){.n = 0};
}

static bool is_one_of(int64_t drive, const int64_t drives[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (drives[i] == drive)
            return true;
    return false;
}

/* Nobody adds meanwhile.. */
static mrmr_err touched_rewrite(
    struct pool *pool, uint64_t size, const int64_t drives[], size_t ndrives)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    size_t kept = 0;
    MRMR_TRY(touched_read(pool, &bytes));
    for (size_t at = 0; at + RECORD <= bytes.size; at += RECORD) {
        struct pool_touched_inode record;
        memcpy(&record, bytes.data + at, RECORD);
        if (at < size && is_one_of(record.drive, drives, ndrives))
            continue;
        memmove(bytes.data + kept, &record, RECORD);
        kept += RECORD;
    }
    return kept == bytes.size
               ? MRMR_OK
               : mrmr_durable_replace(pool->dirfd, TOUCHED_NAME, bytes.data, kept, 0600);
}

mrmr_err pool_touched_drop(
    struct pool *pool, const struct pool_job *job, uint64_t size, int64_t drives[], size_t ndrives)
{
    MRMR_TRY(pool_stop_for_some(pool, job, drives, &ndrives));
    mrmr_err err = pool_writers_new_epoch(pool->writers);
    if (!err && size && ndrives)
        err = touched_rewrite(pool, size, drives, ndrives);
    pool_writers_go(pool->writers);
    return err;
}
