/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Open files of the local driver: positional reads and writes on one descriptor.
 *
 * A file is looked at before it is opened, so that a FIFO or a device is never opened (opening one
 * has effects), and looked at again through the descriptor, so that one swapped in between is not
 * read either.
 */
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

struct local_file {
    struct drv_file file;
    int fd;
    char path[]; /* as it was opened; for messages */
};

static mrmr_err file_fail(const struct local_file *f, int err, const char *op)
{
    return local_fail((struct local *)f->file.drv, err, op, f->path);
}

/* --- opening --- */

static mrmr_err not_regular(enum drv_type type, const char *path)
{
    if (type == DRV_REG)
        return MRMR_OK;
    mrmr_err err = type == DRV_DIR ? mrmr_fail(MRMR_IS_DIR, NULL)
                                   : mrmr_fail(MRMR_INVALID, "not a regular file");
    return mrmr_err_path(mrmr_err_op(err, "open"), path);
}

static mrmr_err check_regular_name(
    struct local *local, const struct local_place *place, const char *path)
{
    struct drv_stat stat;
    int err = local_statx(local, place->dir_fd, place->name, &stat);
    return err ? local_fail(local, err, "open", path) : not_regular(stat.type, path);
}

static mrmr_err check_regular_fd(struct local *local, int fd, const char *path)
{
    struct drv_stat stat;
    int err = local_statx(local, fd, "", &stat);
    return err ? local_fail(local, err, "open", path) : not_regular(stat.type, path);
}

static int open_flags(unsigned flags)
{
    int how = flags & DRV_OPEN_WRITE ? flags & DRV_OPEN_READ ? O_RDWR : O_WRONLY : O_RDONLY;
    return how | O_NONBLOCK | O_NOCTTY;
}

/* Open an existing regular file at the place. */
static mrmr_err open_existing(
    struct local *local, const struct local_place *place, int flags, const char *path, int *ret_fd)
{
    MRMR_TRY(check_regular_name(local, place, path));
    mrmr_autoclose int fd = local_place_open(place, flags | O_NOATIME, 0);
    if (fd < 0 && errno == EPERM) /* only the owner may leave access times alone */
        fd = local_place_open(place, flags, 0);
    if (fd < 0)
        return local_fail(local, errno, "open", path);
    MRMR_TRY(check_regular_fd(local, fd, path));
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

static mrmr_err open_new(struct local *local, const struct local_place *place, int flags,
    uint32_t mode, const char *path, int *ret_fd)
{
    mrmr_autoclose int fd = local_place_open(place, flags | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return local_fail(local, errno, "create", path);
    struct stat st;
    int err = fstat(fd, &st) < 0 ? errno : 0;
    if (!err && (local->info.caps & DRV_CAP_MODE) && (st.st_mode & 07777) != mode &&
        fchmod(fd, mode) < 0)
        err = errno;
    if (err) {
        unlinkat(place->dir_fd, place->name, 0);
        return local_fail(local, err, "create", path);
    }
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

mrmr_err local_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    mrmr_autoclose int fd = -1;
    MRMR_TRY(local_place_get(local, "open", path, &place));
    size_t size = strlen(path) + 1;
    mrmr_autofree struct local_file *f = malloc(sizeof *f + size);
    if (!f)
        return mrmr_nomem();
    const int how = open_flags(flags);
    MRMR_TRY(flags & DRV_OPEN_CREATE ? open_new(local, &place, how, mode, path, &fd)
                                     : open_existing(local, &place, how, path, &fd));
    f->file.drv = drv;
    f->fd = mrmr_steal_fd(&fd);
    memcpy(f->path, path, size);
    *ret_file = &mrmr_steal(f)->file;
    return MRMR_OK;
}

void local_file_close(struct drv_file *file)
{
    struct local_file *f = (struct local_file *)file;
    close(f->fd);
    free(f);
}

/* --- reading --- */

mrmr_err local_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    struct local_file *f = (struct local_file *)file;
    int err = local_statx((struct local *)file->drv, f->fd, "", ret_stat);
    return err ? file_fail(f, err, "stat") : MRMR_OK;
}

mrmr_err local_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct local_file *f = (struct local_file *)file;
    size_t got = 0;
    mrmr_err err = MRMR_OK;
    while (got < size) {
        ssize_t n = pread(f->fd, (char *)buf + got, size - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err = file_fail(f, errno, "read");
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    *ret_got = got;
    return err;
}

mrmr_err local_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
    struct local_file *f = (struct local_file *)file;
    off_t start = lseek(f->fd, (off_t)offset, SEEK_DATA);
    off_t end = start < 0 ? -1 : lseek(f->fd, start, SEEK_HOLE);
    if (start >= 0 && end > start) {
        *ret_start = (uint64_t)start;
        *ret_end = (uint64_t)end;
        return MRMR_OK;
    }
    struct stat st;
    if ((start < 0 || end < 0) && errno != ENXIO)
        return file_fail(f, errno, "find data");
    if (fstat(f->fd, &st) < 0)
        return file_fail(f, errno, "find data");
    *ret_start = *ret_end = (uint64_t)st.st_size;
    return MRMR_OK;
}

void local_file_advise(struct drv_file *file, uint64_t offset, uint64_t size, bool drop)
{
    struct local_file *f = (struct local_file *)file;
    if (drop) {
        posix_fadvise(f->fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
        return;
    }
    if (offset == 0) /* a wider read-ahead window for all that follows */
        posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    posix_fadvise(f->fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
}

/* --- writing --- */

mrmr_err local_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size)
{
    struct local_file *f = (struct local_file *)file;
    const char *p = buf;
    while (size) {
        ssize_t n = pwrite(f->fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return file_fail(f, n < 0 ? errno : EIO, "write");
        p += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return MRMR_OK;
}

mrmr_err local_file_truncate(struct drv_file *file, uint64_t size)
{
    struct local_file *f = (struct local_file *)file;
    return ftruncate(f->fd, (off_t)size) < 0 ? file_fail(f, errno, "truncate") : MRMR_OK;
}

mrmr_err local_file_allocate(struct drv_file *file, uint64_t size)
{
    struct local_file *f = (struct local_file *)file;
    if (size == 0)
        return MRMR_OK;
    int rc;
    do
        rc = fallocate(f->fd, 0, 0, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? file_fail(f, errno, "allocate") : MRMR_OK;
}

mrmr_err local_file_sync(struct drv_file *file)
{
    struct local_file *f = (struct local_file *)file;
    return fsync(f->fd) < 0 ? file_fail(f, errno, "sync") : MRMR_OK;
}

/* --- reflink --- */

static mrmr_err clone_fail(struct local *local, int err, const char *from)
{
    /* btrfs and XFS say EINVAL for files of kinds that cannot share (a swap file, no checksums on
     * one side only). */
    return local_fail(local, err == EINVAL ? EOPNOTSUPP : err, "clone", from);
}

mrmr_err local_clone(struct drv *drv, const char *from, const char *to)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place src = LOCAL_PLACE_INIT, dst = LOCAL_PLACE_INIT;
    mrmr_autoclose int src_fd = -1, dst_fd = -1;
    struct stat st;
    MRMR_TRY(local_place_get(local, "clone", from, &src));
    MRMR_TRY(local_place_get(local, "clone to", to, &dst));
    MRMR_TRY(open_existing(local, &src, O_RDONLY | O_NONBLOCK, from, &src_fd));
    if (fstat(src_fd, &st) < 0)
        return local_fail(local, errno, "clone", from);
    MRMR_TRY(open_new(local, &dst, O_WRONLY, st.st_mode & 07777, to, &dst_fd));
    if (ioctl(dst_fd, FICLONE, src_fd) == 0)
        return MRMR_OK;
    mrmr_err err = clone_fail(local, errno, from);
    unlinkat(dst.dir_fd, dst.name, 0);
    return err;
}
