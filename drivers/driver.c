/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table of backends, and the wrappers through which every layer calls them. A wrapper refuses
 * arguments that break the contract, so a backend may rely on them: a path passed drv_path_check,
 * offset + size fits an int64, flags are known ones, and the root itself reaches only the ops that
 * make sense on it.
 */
#include "drivers/driver_internal.h"
#include "drivers/pace.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define DRV_SCHEMES_MAX 16
#define DRV_TARGET_MAX 4095 /* Linux keeps no longer symlink */

static const struct drv_ops *drv_schemes[DRV_SCHEMES_MAX] = {&drv_local_ops, &drv_mem_ops};
static size_t drv_scheme_count = 2;

/* --- errors --- */

static mrmr_err seen(struct drv *drv, mrmr_err err)
{
    if (err != MRMR_IO)
        return err;
    const int64_t now = mrmr_clock_monotonic() / MRMR_NS_PER_S;
    if (atomic_exchange(&drv->error_at, now) != now)
        atomic_fetch_add(&drv->error_seconds, 1);
    return err;
}

unsigned drv_error_seconds(const struct drv *drv)
{
    return atomic_load(&((struct drv *)drv)->error_seconds);
}

/* --- the table --- */

static bool scheme_valid(const char *scheme)
{
    return scheme && *scheme &&
           scheme[strspn(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-")] == '\0';
}

static const struct drv_ops *scheme_find(const char *scheme, size_t size)
{
    for (size_t i = 0; i < drv_scheme_count; i++)
        if (strlen(drv_schemes[i]->scheme) == size && !memcmp(drv_schemes[i]->scheme, scheme, size))
            return drv_schemes[i];
    return NULL;
}

static bool ops_readable(const struct drv_ops *ops)
{
    return ops->open && ops->close && ops->info && ops->space && ops->stat && ops->list &&
           ops->file_open && ops->file_close && ops->file_stat && ops->file_read;
}

static bool ops_writable(const struct drv_ops *ops)
{
    return ops->file_write && ops->file_truncate && ops->file_sync && ops->dir_sync && ops->mkdir &&
           ops->unlink && ops->rmdir && ops->rename && ops->set_attr;
}

static bool ops_writes_nothing(const struct drv_ops *ops)
{
    return !ops->file_write && !ops->file_truncate && !ops->file_allocate && !ops->mkdir &&
           !ops->unlink && !ops->rmdir && !ops->rename && !ops->link && !ops->symlink &&
           !ops->mknod && !ops->set_attr && !ops->xattr_set && !ops->clone && !ops->file_range &&
           !ops->file_copy && !ops->file_clone_range && !ops->file_set_attr &&
           !ops->file_open_unnamed && !ops->file_link && !ops->unlink_may;
}

mrmr_err drv_register(const struct drv_ops *ops)
{
    if (!ops || !scheme_valid(ops->scheme))
        return mrmr_fail(MRMR_INVALID, "a driver needs a scheme of lower-case letters and digits");
    if (!ops_readable(ops))
        return mrmr_fail(MRMR_INVALID, "driver '%s' lacks a required operation", ops->scheme);
    if (!ops_writable(ops) && !ops_writes_nothing(ops))
        return mrmr_fail(MRMR_INVALID,
            "driver '%s' can write, but lacks an operation that writing needs", ops->scheme);
    bool watch = ops->watch_open && ops->watch_close && ops->watch_add && ops->watch_remove;
    if (!watch && (ops->watch_open || ops->watch_close || ops->watch_add || ops->watch_remove))
        return mrmr_fail(MRMR_INVALID, "driver '%s' has half of the watch operations", ops->scheme);
    if (!ops->let_go != !ops->take_up)
        return mrmr_fail(MRMR_INVALID,
            "driver '%s' lets go of what it does not take up, or the other way round", ops->scheme);
    if (scheme_find(ops->scheme, strlen(ops->scheme)))
        return mrmr_fail(MRMR_EXISTS, "there is a driver '%s' already", ops->scheme);
    if (drv_scheme_count == DRV_SCHEMES_MAX)
        return mrmr_fail(MRMR_SPACE, "more than %d drivers", DRV_SCHEMES_MAX);
    drv_schemes[drv_scheme_count++] = ops;
    return MRMR_OK;
}

const char *drv_uri_rest(const char *uri, const char *scheme)
{
    size_t n = strlen(scheme);
    return !strncmp(uri, scheme, n) && !strncmp(uri + n, "://", 3) ? uri + n + 3 : NULL;
}

/* The forms that drv_open understands, for people: "/absolute/path, mem://…". */
static mrmr_err uri_refused(const char *uri, const char *why)
{
    char forms[256] = "/absolute/path";
    size_t at = strlen(forms);
    for (size_t i = 0; i < drv_scheme_count && at < sizeof forms; i++)
        if (drv_schemes[i] != &drv_local_ops)
            at += (size_t)snprintf(
                forms + at, sizeof forms - at, ", %s://...", drv_schemes[i]->scheme);
    return mrmr_err_hint(mrmr_err_op(mrmr_fail(MRMR_INVALID, "'%s' %s", uri, why), "open drive"),
        "a drive is one of: %s", forms);
}

static mrmr_err uri_ops(const char *uri, const struct drv_ops **ret_ops)
{
    const char *sep = strstr(uri, "://");
    size_t size = sep ? (size_t)(sep - uri) : 0;
    if (uri[0] == '/')
        *ret_ops = &drv_local_ops;
    else if (!sep || memchr(uri, '/', size))
        return uri_refused(uri, uri[0] ? "is a relative path" : "is empty");
    else if (!(*ret_ops = scheme_find(uri, size)))
        return uri_refused(uri, "names a kind of drive that this program does not know");
    return MRMR_OK;
}

mrmr_err drv_open(const char *uri, struct drv **ret_drv)
{
    const struct drv_ops *ops = NULL;
    mrmr_err err = uri ? uri_ops(uri, &ops) : mrmr_fail(MRMR_INVALID, "no URI");
    struct drv *drv = NULL;
    struct drv_info info;
    if (!err)
        err = ops->open(uri, &drv);
    if (err)
        return err;
    err = drv_info(drv, &info);
    if (!err && (info.caps & DRV_CAP_WRITABLE) && !ops_writable(ops))
        err = mrmr_fail(MRMR_INTERNAL, "driver '%s' reports a writable drive that it cannot write",
            ops->scheme);
    if (err) {
        drv_close(drv);
        return err;
    }
    *ret_drv = drv;
    return MRMR_OK;
}

void drv_close(struct drv *drv)
{
    if (drv)
        drv->ops->close(drv);
}

/* --- checks --- */

static mrmr_err path_refused(mrmr_err err, const char *path, const char *why)
{
    return mrmr_err_path(mrmr_fail(err, "%s", why), path);
}

mrmr_err drv_path_check(const char *path)
{
    if (!path)
        return mrmr_fail(MRMR_INVALID, "no path");
    if (!*path)
        return MRMR_OK;
    for (const char *at = path;; at++) {
        size_t n = strcspn(at, "/");
        if (n == 0)
            return path_refused(MRMR_INVALID, path,
                *path == '/' ? "a path on a drive does not begin with '/'"
                             : "the path has an empty component");
        if ((n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
            return path_refused(MRMR_INVALID, path, "the path has a component '.' or '..'");
        if (n > 255)
            return path_refused(
                MRMR_NAME_TOO_LONG, path, "the path has a component of more than 255 bytes");
        at += n;
        if (!*at)
            return MRMR_OK;
    }
}

/* A path to something below the root. */
static mrmr_err path_check_below(const char *path)
{
    mrmr_err err = drv_path_check(path);
    return err || *path ? err
                        : mrmr_fail(MRMR_INVALID, "the root of the drive itself cannot be that");
}

static bool mode_valid(uint32_t mode)
{
    return !(mode & ~(07777U | DRV_MODE_INHERIT));
}

static mrmr_err attr_check(unsigned what, const struct drv_stat *attr)
{
    const unsigned all = DRV_ATTR_MODE | DRV_ATTR_OWNER | DRV_ATTR_MTIME | DRV_ATTR_ATIME;
    if (what & ~all || ((what & DRV_ATTR_MODE) && attr->mode & ~07777U))
        return mrmr_fail(MRMR_INVALID, "unknown attribute, or a mode beyond 07777");
    return MRMR_OK;
}

static mrmr_err range_check(uint64_t offset, uint64_t size)
{
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return mrmr_fail(MRMR_INVALID, "a range beyond the largest file");
    return MRMR_OK;
}

static mrmr_err op_missing(const struct drv *drv, const char *op, const char *path)
{
    mrmr_err err = mrmr_fail(MRMR_UNSUPPORTED, "the '%s' driver has no %s", drv->ops->scheme, op);
    return mrmr_err_path(mrmr_err_op(err, op), path);
}

/* `DRV_NEED(drv, op, path);` leaves the wrapper if the backend lacks the op. */
#define DRV_NEED(drv, op, path)                                                                    \
    do {                                                                                           \
        if (!(drv)->ops->op)                                                                       \
            return op_missing(drv, #op, path);                                                     \
    } while (0)

#define DRV_CHECK(check, op)                                                                       \
    do {                                                                                           \
        mrmr_err drv_check_ = (check);                                                             \
        if (drv_check_)                                                                            \
            return mrmr_err_op(drv_check_, op);                                                    \
    } while (0)

/* --- wrappers: looking --- */

mrmr_err drv_info(struct drv *drv, struct drv_info *ret_info)
{
    return drv->ops->info(drv, ret_info);
}

mrmr_err drv_space(struct drv *drv, struct drv_space *ret_space)
{
    return drv->ops->space(drv, ret_space);
}

mrmr_err drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    DRV_CHECK(drv_path_check(path), "stat");
    return seen(drv, drv->ops->stat(drv, path, ret_stat));
}

mrmr_err drv_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg)
{
    DRV_CHECK(drv_path_check(path), "list");
    return seen(drv, drv->ops->list(drv, path, fn, arg));
}

mrmr_err drv_readlink(struct drv *drv, const char *path, struct mrmr_bytes *target)
{
    DRV_CHECK(path_check_below(path), "readlink");
    DRV_NEED(drv, readlink, path);
    return drv->ops->readlink(drv, path, target);
}

mrmr_err drv_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg)
{
    DRV_CHECK(drv_path_check(path), "list attributes");
    DRV_NEED(drv, xattr_list, path);
    return drv->ops->xattr_list(drv, path, fn, arg);
}

mrmr_err drv_file_xattr_list(struct drv_file *file, drv_xattr_fn fn, void *arg)
{
    DRV_NEED(file->drv, file_xattr_list, NULL);
    return file->drv->ops->file_xattr_list(file, fn, arg);
}

/* --- wrappers: open files --- */

static mrmr_err open_check(struct drv *drv, const char *path, unsigned flags, uint32_t mode)
{
    DRV_CHECK(path_check_below(path), "open");
    if (!(flags & (DRV_OPEN_READ | DRV_OPEN_WRITE)) ||
        flags & ~(unsigned)(DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE) ||
        ((flags & DRV_OPEN_CREATE) && (!(flags & DRV_OPEN_WRITE) || !mode_valid(mode))))
        return mrmr_err_path(
            mrmr_fail(MRMR_INVALID, "open flags %#x, mode %#o", flags, mode), path);
    if (flags & DRV_OPEN_WRITE)
        DRV_NEED(drv, file_write, path);
    return MRMR_OK;
}

mrmr_err drv_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    MRMR_TRY(open_check(drv, path, flags, mode));
    return seen(drv, drv->ops->file_open(drv, path, flags, mode, ret_file));
}

mrmr_err drv_file_open_stat(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
    struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    struct drv_file *file;
    MRMR_TRY(open_check(drv, path, flags, mode));
    if (drv->ops->file_open_stat)
        return seen(drv, drv->ops->file_open_stat(drv, path, flags, mode, ret_file, ret_stat));
    MRMR_TRY(drv->ops->file_open(drv, path, flags, mode, &file));
    mrmr_err err = file->drv->ops->file_stat(file, ret_stat);
    if (err)
        drv_file_close(file);
    else
        *ret_file = file;
    return err;
}

mrmr_err drv_file_open_unnamed(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    DRV_CHECK(drv_path_check(path), "create");
    if (!(flags & DRV_OPEN_WRITE) || flags & ~(unsigned)(DRV_OPEN_READ | DRV_OPEN_WRITE) ||
        !mode_valid(mode))
        return mrmr_err_path(
            mrmr_fail(MRMR_INVALID, "open flags %#x, mode %#o", flags, mode), path);
    DRV_NEED(drv, file_open_unnamed, path);
    return drv->ops->file_open_unnamed(drv, path, flags, mode, ret_file);
}

void drv_file_close(struct drv_file *file)
{
    if (file)
        file->drv->ops->file_close(file);
}

mrmr_err drv_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    return file->drv->ops->file_stat(file, ret_stat);
}

mrmr_err drv_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    *ret_got = 0;
    DRV_CHECK(range_check(offset, size), "read");
    mrmr_err err = seen(file->drv, file->drv->ops->file_read(file, offset, buf, size, ret_got));
    drv_pace_take(*ret_got);
    return err;
}

mrmr_err drv_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
    DRV_CHECK(range_check(offset, 0), "find data");
    if (file->drv->ops->file_next_data)
        return file->drv->ops->file_next_data(file, offset, ret_start, ret_end);
    struct drv_stat stat;
    mrmr_err err = drv_file_stat(file, &stat);
    if (err)
        return err;
    *ret_start = offset < stat.size ? offset : stat.size;
    *ret_end = stat.size;
    return MRMR_OK;
}

void drv_file_advise(struct drv_file *file, uint64_t offset, uint64_t size, bool drop)
{
    if (file->drv->ops->file_advise && offset <= INT64_MAX && size <= INT64_MAX - offset)
        file->drv->ops->file_advise(file, offset, size, drop);
}

mrmr_err drv_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size)
{
    DRV_NEED(file->drv, file_write, NULL);
    DRV_CHECK(range_check(offset, size), "write");
    mrmr_err err = seen(file->drv, file->drv->ops->file_write(file, offset, buf, size));
    drv_pace_take(size);
    return err;
}

mrmr_err drv_file_truncate(struct drv_file *file, uint64_t size)
{
    DRV_NEED(file->drv, file_truncate, NULL);
    DRV_CHECK(range_check(size, 0), "truncate");
    return file->drv->ops->file_truncate(file, size);
}

mrmr_err drv_file_allocate(struct drv_file *file, uint64_t size)
{
    DRV_NEED(file->drv, file_allocate, NULL);
    DRV_CHECK(range_check(size, 0), "allocate");
    return file->drv->ops->file_allocate(file, size);
}

mrmr_err drv_file_range(struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size)
{
    DRV_NEED(file->drv, file_range, NULL);
    DRV_CHECK(range_check(offset, size), "change range");
    if ((unsigned)what > DRV_RANGE_ZERO_KEEP)
        return mrmr_fail(MRMR_INVALID, "unknown change %d of a range", (int)what);
    return size ? file->drv->ops->file_range(file, what, offset, size) : MRMR_OK;
}

/* Two ranges of open files, which must be of one drive. */
static mrmr_err two_ranges_check(const struct drv_file *from, uint64_t from_offset,
    const struct drv_file *to, uint64_t to_offset, uint64_t size)
{
    if (from->drv != to->drv)
        return mrmr_fail(MRMR_CROSS_DEVICE, "the files are on different drives");
    mrmr_err err = range_check(from_offset, size);
    return err ? err : range_check(to_offset, size);
}

mrmr_err drv_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied)
{
    DRV_CHECK(two_ranges_check(from, from_offset, to, to_offset, size), "copy");
    DRV_NEED(from->drv, file_copy, NULL);
    return from->drv->ops->file_copy(from, from_offset, to, to_offset, size, ret_copied);
}

mrmr_err drv_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size)
{
    DRV_CHECK(two_ranges_check(from, from_offset, to, to_offset, size), "clone range");
    DRV_NEED(from->drv, file_clone_range, NULL);
    return from->drv->ops->file_clone_range(from, from_offset, to, to_offset, size);
}

mrmr_err drv_file_set_attr(struct drv_file *file, unsigned what, const struct drv_stat *attr)
{
    DRV_NEED(file->drv, file_set_attr, NULL);
    DRV_CHECK(attr_check(what, attr), "set attributes");
    return file->drv->ops->file_set_attr(file, what, attr);
}

mrmr_err drv_file_link(struct drv_file *file, const char *path)
{
    DRV_CHECK(path_check_below(path), "link");
    DRV_NEED(file->drv, file_link, path);
    return file->drv->ops->file_link(file, path);
}

mrmr_err drv_file_sync(struct drv_file *file)
{
    DRV_NEED(file->drv, file_sync, NULL);
    return seen(file->drv, file->drv->ops->file_sync(file));
}

mrmr_err drv_file_descriptor(struct drv_file *file, int *ret_fd)
{
    DRV_NEED(file->drv, file_descriptor, NULL);
    return file->drv->ops->file_descriptor(file, ret_fd);
}

mrmr_err drv_file_is_written(struct drv_file *file, bool *ret_written)
{
    DRV_NEED(file->drv, file_is_written, NULL);
    return file->drv->ops->file_is_written(file, ret_written);
}

/* --- wrappers: names and attributes --- */

mrmr_err drv_dir_sync(struct drv *drv, const char *path)
{
    DRV_CHECK(drv_path_check(path), "sync folder");
    DRV_NEED(drv, dir_sync, path);
    return seen(drv, drv->ops->dir_sync(drv, path));
}

mrmr_err drv_sync_all(struct drv *drv)
{
    DRV_NEED(drv, sync_all, NULL);
    return seen(drv, drv->ops->sync_all(drv));
}

mrmr_err drv_mkdir(struct drv *drv, const char *path, uint32_t mode)
{
    DRV_CHECK(path_check_below(path), "mkdir");
    DRV_NEED(drv, mkdir, path);
    if (!mode_valid(mode))
        return mrmr_err_path(mrmr_fail(MRMR_INVALID, "mode %#o", mode), path);
    return drv->ops->mkdir(drv, path, mode);
}

mrmr_err drv_unlink(struct drv *drv, const char *path)
{
    DRV_CHECK(path_check_below(path), "unlink");
    DRV_NEED(drv, unlink, path);
    return drv->ops->unlink(drv, path);
}

mrmr_err drv_unlink_may(struct drv *drv, const char *path)
{
    DRV_CHECK(path_check_below(path), "unlink");
    return drv->ops->unlink_may ? drv->ops->unlink_may(drv, path) : MRMR_OK;
}

mrmr_err drv_rmdir(struct drv *drv, const char *path)
{
    DRV_CHECK(path_check_below(path), "rmdir");
    DRV_NEED(drv, rmdir, path);
    return drv->ops->rmdir(drv, path);
}

mrmr_err drv_rename(struct drv *drv, const char *from, const char *to, unsigned flags)
{
    DRV_CHECK(path_check_below(from), "rename");
    DRV_CHECK(path_check_below(to), "rename");
    DRV_NEED(drv, rename, from);
    if (flags > DRV_RENAME_EXCHANGE)
        return mrmr_err_path(mrmr_fail(MRMR_INVALID, "rename flags %#x", flags), from);
    return drv->ops->rename(drv, from, to, flags);
}

mrmr_err drv_link(struct drv *drv, const char *from, const char *to)
{
    DRV_CHECK(path_check_below(from), "link");
    DRV_CHECK(path_check_below(to), "link");
    DRV_NEED(drv, link, from);
    return drv->ops->link(drv, from, to);
}

mrmr_err drv_symlink(struct drv *drv, const char *target, const char *path)
{
    DRV_CHECK(path_check_below(path), "symlink");
    DRV_NEED(drv, symlink, path);
    size_t size = target ? strlen(target) : 0;
    if (!size)
        return path_refused(MRMR_INVALID, path, "a symlink needs a target");
    if (size > DRV_TARGET_MAX)
        return path_refused(MRMR_NAME_TOO_LONG, path, "the target of the symlink is too long");
    return drv->ops->symlink(drv, target, path);
}

mrmr_err drv_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev)
{
    DRV_CHECK(path_check_below(path), "mknod");
    DRV_NEED(drv, mknod, path);
    bool special = type == DRV_FIFO || type == DRV_SOCKET || type == DRV_CHAR || type == DRV_BLOCK;
    if (!special || !mode_valid(mode))
        return path_refused(
            MRMR_INVALID, path, "only FIFOs, sockets and devices are made this way");
    return drv->ops->mknod(drv, path, type, mode, rdev);
}

mrmr_err drv_set_attr(struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr)
{
    DRV_CHECK(drv_path_check(path), "set attributes");
    DRV_NEED(drv, set_attr, path);
    mrmr_err err = attr_check(what, attr);
    if (err)
        return mrmr_err_path(mrmr_err_op(err, "set attributes"), path);
    return drv->ops->set_attr(drv, path, what, attr);
}

mrmr_err drv_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size)
{
    DRV_CHECK(drv_path_check(path), "set attribute");
    DRV_NEED(drv, xattr_set, path);
    if (!name || !strchr(name, '.') || (!value && size))
        return path_refused(MRMR_INVALID, path,
            "an extended attribute needs a name with its namespace, and a value");
    if (strlen(name) > 255)
        return path_refused(
            MRMR_NAME_TOO_LONG, path, "the name of the attribute has more than 255 bytes");
    return drv->ops->xattr_set(drv, path, name, value, size);
}

mrmr_err drv_clone(struct drv *drv, const char *from, const char *to)
{
    DRV_CHECK(path_check_below(from), "clone");
    DRV_CHECK(path_check_below(to), "clone");
    DRV_NEED(drv, clone, from);
    return drv->ops->clone(drv, from, to);
}

/* --- wrappers: watching --- */

mrmr_err drv_watch_open(struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch)
{
    DRV_NEED(drv, watch_open, NULL);
    return drv->ops->watch_open(drv, fn, arg, ret_watch);
}

void drv_watch_close(struct drv_watch *watch)
{
    if (watch)
        watch->drv->ops->watch_close(watch);
}

mrmr_err drv_watch_add(struct drv_watch *watch, const char *path, uint64_t key)
{
    DRV_CHECK(drv_path_check(path), "watch");
    return watch->drv->ops->watch_add(watch, path, key);
}

void drv_watch_remove(struct drv_watch *watch, uint64_t key)
{
    watch->drv->ops->watch_remove(watch, key);
}

/* --- wrappers: letting go --- */

void drv_let_go(struct drv *drv)
{
    if (drv->ops->let_go)
        drv->ops->let_go(drv);
}

mrmr_err drv_take_up(struct drv *drv)
{
    return drv->ops->take_up ? drv->ops->take_up(drv) : MRMR_OK;
}
