/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attributes: stat, owner, mode, times, extended attributes (POSIX ACLs are two of them).
 *
 * What names a thing is an O_PATH descriptor, which never follows and never opens a device. Calls
 * that take no such descriptor go through its /proc/self/fd name, which reaches exactly the thing,
 * a symlink included.
 */
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* The kernel's bounds on a list of names and on a value (XATTR_LIST_MAX, XATTR_SIZE_MAX). */
#define LOCAL_XATTR_MAX 65536

struct local_fd_name local_fd_name(int fd)
{
    struct local_fd_name name;
    snprintf(name.text, sizeof name.text, "/proc/self/fd/%d", fd);
    return name;
}

/* --- stat --- */

static enum drv_type type_of(unsigned mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return DRV_DIR;
    case S_IFLNK:
        return DRV_SYMLINK;
    case S_IFIFO:
        return DRV_FIFO;
    case S_IFSOCK:
        return DRV_SOCKET;
    case S_IFCHR:
        return DRV_CHAR;
    case S_IFBLK:
        return DRV_BLOCK;
    default:
        return DRV_REG;
    }
}

static int64_t time_of(const struct statx_timestamp *t)
{
    return mrmr_clock_from_timespec(&(struct timespec){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec});
}

/* A file system mounted below the root has a device of its own, except a bind mount of the same
 * one: that is given a number no device has, so that nobody takes it for a part of the drive. */
static uint64_t dev_of(const struct local *local, const struct statx *sx, bool is_root)
{
    uint64_t dev = makedev(sx->stx_dev_major, sx->stx_dev_minor);
    bool mounted = sx->stx_attributes & STATX_ATTR_MOUNT_ROOT;
    return mounted && !is_root && dev == local->dev ? ~dev : dev;
}

int local_statx(const struct local *local, int dir_fd, const char *name, struct drv_stat *ret_stat)
{
    struct statx sx;
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
    if (statx(dir_fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0)
        return errno;
    const uint32_t caps = local->info.caps;
    const bool btime = (caps & DRV_CAP_BTIME) && (sx.stx_mask & STATX_BTIME);
    *ret_stat = (struct drv_stat){
        .type = type_of(sx.stx_mode),
        .mode = sx.stx_mode & 07777,
        .uid = sx.stx_uid,
        .gid = sx.stx_gid,
        .nlink = sx.stx_nlink,
        .size = sx.stx_size,
        .allocated = sx.stx_blocks * 512,
        .ino = caps & DRV_CAP_STABLE_INO ? sx.stx_ino : 0,
        .dev = dev_of(local, &sx, dir_fd == local->root_fd && !*name),
        .rdev = makedev(sx.stx_rdev_major, sx.stx_rdev_minor),
        .mtime = time_of(&sx.stx_mtime),
        .ctime = caps & DRV_CAP_STABLE_CTIME ? time_of(&sx.stx_ctime) : 0,
        .btime = btime ? time_of(&sx.stx_btime) : 0,
        .atime = time_of(&sx.stx_atime),
    };
    return 0;
}

mrmr_err local_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    LOCAL_ACT("stat", path);
    MRMR_TRY(local_place_get(local, "stat", path, &place));
    struct drv_stat stat;
    int err = local_statx(local, place.dir_fd, place.name, &stat);
    if (err)
        return local_fail(local, err, "stat", path);
    if (!*path && stat.nlink == 0)
        return local_fail(local, ENOENT, "stat", path);
    *ret_stat = stat;
    return MRMR_OK;
}

/* --- mode, owner, time --- */

int local_chmod_fd(int fd, uint32_t mode)
{
    return chmod(local_fd_name(fd).text, mode) < 0 ? errno : 0;
}

int local_mode_exact(const struct local *local, const struct local_place *place, uint32_t mode)
{
    if (mode & DRV_MODE_INHERIT)
        return 0;
    mrmr_autoclose int fd = local_place_open(place, O_PATH, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno;
    if (!(local->info.caps & DRV_CAP_MODE) || (st.st_mode & 07777) == mode)
        return 0;
    return local_chmod_fd(fd, mode);
}

static struct timespec time_to_set(bool set, int64_t time)
{
    if (!set)
        return (struct timespec){.tv_nsec = UTIME_OMIT};
    return time == DRV_TIME_NOW ? (struct timespec){.tv_nsec = UTIME_NOW}
                                : mrmr_clock_to_timespec(time);
}

/* Owner before mode: a change of owner clears the set-id bits. */
static int set_attr_fd(int fd, unsigned what, const struct drv_stat *attr)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return errno;
    const uid_t uid = what & DRV_ATTR_UID ? attr->uid : (uid_t)-1;
    const gid_t gid = what & DRV_ATTR_GID ? attr->gid : (gid_t)-1;
    if ((what & DRV_ATTR_OWNER) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        return errno;
    int err = 0;
    if ((what & DRV_ATTR_MODE) && !S_ISLNK(st.st_mode))
        err = local_chmod_fd(fd, attr->mode);
    const struct timespec times[2] = {
        time_to_set(what & DRV_ATTR_ATIME, attr->atime),
        time_to_set(what & DRV_ATTR_MTIME, attr->mtime),
    };
    if (!err && (what & (DRV_ATTR_ATIME | DRV_ATTR_MTIME)) &&
        utimensat(fd, "", times, AT_EMPTY_PATH) < 0)
        err = errno;
    return err;
}

mrmr_err local_set_attr(
    struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr)
{
    struct local *local = (struct local *)drv;
    mrmr_autoclose int fd = -1;
    LOCAL_ACT("set attributes", path);
    MRMR_TRY(local_open(local, "set attributes", path, O_PATH, &fd));
    int err = set_attr_fd(fd, what, attr);
    return err ? local_fail(local, err, "set attributes", path) : MRMR_OK;
}

mrmr_err local_file_set_attr(struct drv_file *file, unsigned what, const struct drv_stat *attr)
{
    struct local_file *f = (struct local_file *)file;
    LOCAL_ACT("set attributes", f->path);
    int err = set_attr_fd(f->fd, what, attr);
    return err ? local_file_fail(f, err, "set attributes") : MRMR_OK;
}

/* --- extended attributes --- */

/* The names, NUL after NUL, into buf of LOCAL_XATTR_MAX bytes; returns their size or -1 with errno.
 */
static ssize_t xattr_names(const char *thing, char *buf)
{
    ssize_t n = listxattr(thing, buf, LOCAL_XATTR_MAX);
    return n < 0 && errno == ENOTSUP ? 0 : n;
}

/* Attributes that may be listed but not read are another's business (security.* of a label manager,
 * trusted.*). */
static bool xattr_unreadable(int err)
{
    return err == ENODATA || err == EPERM || err == EACCES || err == ENOTSUP;
}

/* Every attribute as its size, its name with NUL, and its value, appended to b. */
static mrmr_err xattrs_read_fd(struct local *local, int fd, const char *path, struct mrmr_bytes *b)
{
    mrmr_autofree char *buf = malloc(2 * LOCAL_XATTR_MAX);
    if (!buf)
        return mrmr_nomem();
    const struct local_fd_name thing = local_fd_name(fd);
    char *value = buf + LOCAL_XATTR_MAX;
    ssize_t size = xattr_names(thing.text, buf);
    if (size < 0)
        return local_fail(local, errno, "list attributes", path);
    for (const char *name = buf; name < buf + size; name += strlen(name) + 1) {
        ssize_t n = getxattr(thing.text, name, value, LOCAL_XATTR_MAX);
        if (n < 0 && xattr_unreadable(errno))
            continue;
        if (n < 0)
            return local_fail(local, errno, "read attribute", path);
        const size_t length = (size_t)n;
        MRMR_TRY(mrmr_bytes_add(b, &length, sizeof length));
        MRMR_TRY(mrmr_bytes_add(b, name, strlen(name) + 1));
        MRMR_TRY(mrmr_bytes_add(b, value, length));
    }
    return MRMR_OK;
}

static mrmr_err xattrs_read(struct local *local, const char *path, struct mrmr_bytes *b)
{
    mrmr_autoclose int fd = -1;
    LOCAL_ACT("list attributes", path);
    MRMR_TRY(local_open(local, "list attributes", path, O_PATH, &fd));
    return xattrs_read_fd(local, fd, path, b);
}

static mrmr_err xattrs_tell(const struct mrmr_bytes *b, drv_xattr_fn fn, void *arg)
{
    for (size_t at = 0; at < b->size;) {
        size_t size;
        memcpy(&size, b->data + at, sizeof size);
        const char *name = b->data + at + sizeof size, *value = name + strlen(name) + 1;
        MRMR_TRY(fn(name, value, size, arg));
        at = (size_t)(value - b->data) + size;
    }
    return MRMR_OK;
}

/* Read first and told then: fn does not run as another user. */
mrmr_err local_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg)
{
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    MRMR_TRY(xattrs_read((struct local *)drv, path, &b));
    return xattrs_tell(&b, fn, arg);
}

mrmr_err local_file_xattr_list(struct drv_file *file, drv_xattr_fn fn, void *arg)
{
    const struct local_file *f = (const struct local_file *)file;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    MRMR_TRY(xattrs_read_fd((struct local *)file->drv, f->fd, f->path, &b));
    return xattrs_tell(&b, fn, arg);
}

mrmr_err local_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size)
{
    struct local *local = (struct local *)drv;
    mrmr_autoclose int fd = -1;
    LOCAL_ACT("set attribute", path);
    MRMR_TRY(local_open(local, "set attribute", path, O_PATH, &fd));
    const struct local_fd_name thing = local_fd_name(fd);
    int rc = value ? setxattr(thing.text, name, value, size, 0) : removexattr(thing.text, name);
    if (rc < 0 && !value && errno == ENODATA)
        return mrmr_err_path(mrmr_fail(MRMR_NO_ATTR, NULL), path);
    return rc < 0 ? local_fail(local, errno, "set attribute", path) : MRMR_OK;
}
