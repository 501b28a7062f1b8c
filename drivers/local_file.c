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
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

mrmr_err local_file_fail(const struct local_file *f, int err, const char *op)
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

static mrmr_err check_regular_fd(
    struct local *local, int fd, const char *path, struct drv_stat *ret_stat)
{
    int err = local_statx(local, fd, "", ret_stat);
    return err ? local_fail(local, err, "open", path) : not_regular(ret_stat->type, path);
}

static int open_flags(unsigned flags)
{
    int how = flags & DRV_OPEN_WRITE ? flags & DRV_OPEN_READ ? O_RDWR : O_WRONLY : O_RDONLY;
    return how | O_NONBLOCK | O_NOCTTY;
}

/* Open an existing regular file at the place. */
static mrmr_err open_existing(struct local *local, const struct local_place *place, int flags,
    const char *path, int *ret_fd, struct drv_stat *ret_stat)
{
    MRMR_TRY(check_regular_name(local, place, path));
    mrmr_autoclose int fd = local_place_open(place, flags | O_NOATIME, 0);
    if (fd < 0 && errno == EPERM) /* only the owner may leave access times alone */
        fd = local_place_open(place, flags, 0);
    if (fd < 0)
        return local_fail(local, errno, "open", path);
    MRMR_TRY(check_regular_fd(local, fd, path, ret_stat));
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

/* Give a new file exactly this mode, if that is wanted; returns 0 or an errno. */
static int mode_exact_fd(const struct local *local, int fd, uint32_t mode)
{
    struct stat st;
    if (mode & DRV_MODE_INHERIT || !(local->info.caps & DRV_CAP_MODE))
        return 0;
    if (fstat(fd, &st) < 0)
        return errno;
    return (st.st_mode & 07777) != mode && fchmod(fd, mode) < 0 ? errno : 0;
}

static mrmr_err open_new(struct local *local, const struct local_place *place, int flags,
    uint32_t mode, const char *path, int *ret_fd)
{
    mrmr_autoclose int fd = local_place_open(place, flags | O_CREAT | O_EXCL, mode & 07777);
    if (fd < 0)
        return local_fail(local, errno, "create", path);
    int err = mode_exact_fd(local, fd, mode);
    if (err) {
        unlinkat(place->dir_fd, place->name, 0);
        return local_fail(local, err, "create", path);
    }
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

/* A file of this descriptor, which is taken. */
static mrmr_err file_create(struct drv *drv, const char *path, int *fd, struct drv_file **ret_file)
{
    size_t size = strlen(path) + 1;
    struct local_file *f = malloc(sizeof *f + size);
    if (!f)
        return mrmr_nomem();
    f->file.drv = drv;
    f->fd = mrmr_steal_fd(fd);
    memcpy(f->path, path, size);
    *ret_file = &f->file;
    return MRMR_OK;
}

/* *ret_stat: of a file that was there. */
static mrmr_err file_open(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
    struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    mrmr_autoclose int fd = -1;
    const int how = open_flags(flags);
    LOCAL_ACT("open", path);
    MRMR_TRY(local_place_get(local, "open", path, &place));
    MRMR_TRY(flags & DRV_OPEN_CREATE ? open_new(local, &place, how, mode, path, &fd)
                                     : open_existing(local, &place, how, path, &fd, ret_stat));
    mrmr_err err = file_create(drv, path, &fd, ret_file);
    if (err && (flags & DRV_OPEN_CREATE))
        unlinkat(place.dir_fd, place.name, 0);
    return err;
}

mrmr_err local_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct drv_stat unused;
    return file_open(drv, path, flags, mode, ret_file, &unused);
}

mrmr_err local_file_open_stat(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
    struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    struct drv_file *file;
    struct drv_stat stat;
    MRMR_TRY(file_open(drv, path, flags, mode, &file, &stat));
    mrmr_err err = flags & DRV_OPEN_CREATE ? local_file_stat(file, &stat) : MRMR_OK;
    if (err) {
        local_file_close(file);
        return err;
    }
    *ret_file = file;
    *ret_stat = stat;
    return MRMR_OK;
}

mrmr_err local_file_open_unnamed(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    mrmr_autoclose int fd = -1;
    LOCAL_ACT("create unnamed", path);
    MRMR_TRY(local_place_get(local, "create unnamed", path, &place));
    fd = local_place_open(&place, open_flags(flags) | O_TMPFILE, mode & 07777);
    int err = fd < 0 ? errno : mode_exact_fd(local, fd, mode);
    if (err)
        return local_fail(local, err, "create unnamed", path);
    return file_create(drv, path, &fd, ret_file);
}

/* By its name in /proc: AT_EMPTY_PATH wants a capability that who acts as a user lacks. */
mrmr_err local_file_link(struct drv_file *file, const char *path)
{
    struct local_file *f = (struct local_file *)file;
    struct local *local = (struct local *)file->drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    LOCAL_ACT("link", path);
    MRMR_TRY(local_place_get(local, "link", path, &place));
    if (linkat(AT_FDCWD, local_fd_name(f->fd).text, place.dir_fd, place.name, AT_SYMLINK_FOLLOW) ==
        0)
        return MRMR_OK;
    return local_fail(local, errno, "link", path);
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
    return err ? local_file_fail(f, err, "stat") : MRMR_OK;
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
            err = local_file_fail(f, errno, "read");
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
        return local_file_fail(f, errno, "find data");
    if (fstat(f->fd, &st) < 0)
        return local_file_fail(f, errno, "find data");
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

/* Never 0, which a program may take for none. */
mrmr_err local_file_descriptor(struct drv_file *file, int *ret_fd)
{
    const struct local_file *f = (struct local_file *)file;
    int fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return local_file_fail(f, errno, "open once more");
    *ret_fd = fd;
    return MRMR_OK;
}

/* A lease to read is had only where nobody writes (fcntl(2)): the kernel counts descriptors and
 * mappings of every process alike. It is given back at once; who opens the file for writing in that
 * moment waits for it (or, with O_NONBLOCK, is told EWOULDBLOCK), and the signal that this brings is
 * one that nobody minds. */
mrmr_err local_file_is_written(struct drv_file *file, bool *ret_written)
{
    const struct local_file *f = (struct local_file *)file;
    if (fcntl(f->fd, F_SETSIG, SIGURG) < 0)
        return local_file_fail(f, errno, "look who writes");
    if (fcntl(f->fd, F_SETLEASE, F_RDLCK) == 0) {
        fcntl(f->fd, F_SETLEASE, F_UNLCK);
        *ret_written = false;
        return MRMR_OK;
    }
    if (errno == EINVAL || errno == ENOLCK)
        return mrmr_err_path(
            mrmr_fail(MRMR_UNSUPPORTED, "the file system cannot tell who writes a file"), f->path);
    if (errno != EAGAIN)
        return local_file_fail(f, errno, "look who writes");
    *ret_written = true;
    return MRMR_OK;
}

/* --- writing --- */

mrmr_err local_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size)
{
    struct local_file *f = (struct local_file *)file;
    const char *p = buf;
    LOCAL_ACT("write", f->path);
    while (size) {
        ssize_t n = pwrite(f->fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return local_file_fail(f, n < 0 ? errno : EIO, "write");
        p += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return MRMR_OK;
}

mrmr_err local_file_truncate(struct drv_file *file, uint64_t size)
{
    struct local_file *f = (struct local_file *)file;
    LOCAL_ACT("truncate", f->path);
    return ftruncate(f->fd, (off_t)size) < 0 ? local_file_fail(f, errno, "truncate") : MRMR_OK;
}

mrmr_err local_file_sync(struct drv_file *file)
{
    struct local_file *f = (struct local_file *)file;
    return fsync(f->fd) < 0 ? local_file_fail(f, errno, "sync") : MRMR_OK;
}

/* --- reflink --- */

mrmr_err local_clone(struct drv *drv, const char *from, const char *to)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place src = LOCAL_PLACE_INIT, dst = LOCAL_PLACE_INIT;
    mrmr_autoclose int src_fd = -1, dst_fd = -1;
    struct drv_stat stat;
    struct stat st;
    LOCAL_ACT("clone", from);
    MRMR_TRY(local_place_get(local, "clone", from, &src));
    MRMR_TRY(local_place_get(local, "clone to", to, &dst));
    MRMR_TRY(open_existing(local, &src, O_RDONLY | O_NONBLOCK, from, &src_fd, &stat));
    if (fstat(src_fd, &st) < 0)
        return local_fail(local, errno, "clone", from);
    MRMR_TRY(open_new(local, &dst, O_WRONLY, st.st_mode & 07777, to, &dst_fd));
    if (ioctl(dst_fd, FICLONE, src_fd) == 0)
        return MRMR_OK;
    mrmr_err err = local_clone_fail(local, errno, from);
    unlinkat(dst.dir_fd, dst.name, 0);
    return err;
}
