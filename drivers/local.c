/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The driver for a folder of this machine: opening it, its names, and the table of its ops.
 *
 * A URI is an absolute path (or local:///path), made canonical when it is opened; from then on the
 * drive is the folder that was found, whatever later happens to its name. A root deleted meanwhile,
 * or a file system that was shut down, is OFFLINE.
 */
#include "drivers/driver_internal.h"
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* One getdents64 for some thousands of names; they are looked at in inode order, which is the order
 * on the medium. */
#define LOCAL_LIST_BUFFER (256 << 10)

/* --- open and close --- */

static void local_let_go(struct drv *drv)
{
    struct local *local = (struct local *)drv;
    if (local->root_fd >= 0)
        close(local->root_fd);
    if (local->sync_fd >= 0)
        close(local->sync_fd);
    local->root_fd = local->sync_fd = -1;
}

static void local_close(struct drv *drv)
{
    struct local *local = (struct local *)drv;
    if (!local)
        return;
    local_let_go(drv);
    free(local->root);
    free(local);
}

static mrmr_err open_fail(int err, const char *path)
{
    mrmr_err code = mrmr_fail_errno(err, "open drive", path);
    if (err != ENOENT)
        return code;
    code = mrmr_fail(MRMR_NO_DRIVE, "there is no such folder");
    return mrmr_err_hint(
        mrmr_err_path(mrmr_err_op(code, "open drive"), path), "mount it, or make it first");
}

/* The kernel must have openat2 and /proc, on which confinement and attributes stand. */
static mrmr_err check_kernel(struct local *local)
{
    local_autoplace struct local_place root = LOCAL_PLACE_INIT;
    MRMR_TRY(local_place_get(local, "open drive", "", &root));
    mrmr_autoclose int fd = local_place_open(&root, O_PATH | O_DIRECTORY, 0);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return mrmr_err_hint(mrmr_fail(MRMR_UNSUPPORTED, "the kernel refuses openat2"),
            "Linux 5.8 or newer is needed, and a sandbox must let openat2 through");
    if (fd < 0)
        return open_fail(errno, local->root);
    if (access("/proc/self/fd", X_OK) < 0)
        return mrmr_err_hint(
            mrmr_fail(MRMR_UNSUPPORTED, "/proc is not there"), "mount proc on /proc");
    return MRMR_OK;
}

static mrmr_err local_open_root(struct local *local)
{
    struct stat st;
    local->root_fd = open(local->root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (local->root_fd < 0 || fstat(local->root_fd, &st) < 0)
        return open_fail(errno, local->root);
    local->dev = st.st_dev;
    local->ino = st.st_ino;
    MRMR_TRY(check_kernel(local));
    local->sync_fd = openat(local->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return local_probe(local);
}

static mrmr_err local_drv_open(const char *uri, struct drv **ret_drv)
{
    const char *rest = drv_uri_rest(uri, "local"), *path = rest ? rest : uri;
    if (*path != '/')
        return mrmr_err_path(mrmr_fail(MRMR_INVALID, "a local drive is an absolute path"), path);
    struct local *local = calloc(1, sizeof *local);
    if (!local)
        return mrmr_nomem();
    local->drv.ops = &drv_local_ops;
    local->root_fd = local->sync_fd = -1;
    local->root = realpath(path, NULL);
    mrmr_err err = local->root ? local_open_root(local) : open_fail(errno, path);
    if (err) {
        local_close(&local->drv);
        return err;
    }
    *ret_drv = &local->drv;
    return MRMR_OK;
}

/* What it can do was tried out when it was opened. */
static mrmr_err local_take_up(struct drv *drv)
{
    struct local *local = (struct local *)drv;
    struct stat st;
    mrmr_autoclose int fd = open(local->root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return open_fail(errno, local->root);
    if (st.st_dev != local->dev || st.st_ino != local->ino)
        return mrmr_err_path(mrmr_fail(MRMR_NO_DRIVE, "another folder is there"), local->root);
    local->root_fd = mrmr_steal_fd(&fd);
    local->sync_fd = openat(local->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return MRMR_OK;
}

static mrmr_err local_info(struct drv *drv, struct drv_info *ret_info)
{
    *ret_info = ((struct local *)drv)->info;
    return MRMR_OK;
}

/* What a file system keeps back for root is left to it, also when we are root: it is there for the
 * system's own needs. */
static mrmr_err local_space(struct drv *drv, struct drv_space *ret_space)
{
    struct local *local = (struct local *)drv;
    struct statvfs fs;
    struct stat st;
    if (fstatvfs(local->root_fd, &fs) < 0 || fstat(local->root_fd, &st) < 0)
        return local_fail(local, errno, "space", "");
    if (st.st_nlink == 0)
        return local_fail(local, ENOENT, "space", "");
    *ret_space = (struct drv_space){
        .total = (uint64_t)fs.f_blocks * fs.f_frsize,
        .avail = (uint64_t)fs.f_bavail * fs.f_frsize,
        .files_avail = fs.f_files ? fs.f_favail : UINT64_MAX,
    };
    return MRMR_OK;
}

/* --- listing --- */

struct local_listing {
    struct local *local;
    const char *path;
    int fd;
    drv_list_fn fn;
    void *arg;
};

static mrmr_err list_entry(const struct local_listing *l, const char *name)
{
    struct drv_stat stat;
    int err = local_statx(l->local, l->fd, name, &stat);
    if (!err)
        return l->fn(name, &stat, MRMR_OK, l->arg);
    char path[1024]; /* as much as a story keeps */
    snprintf(path, sizeof path, "%s%s%s", l->path, *l->path ? "/" : "", name);
    mrmr_err code = local_fail(l->local, err, "stat", path);
    if (code == MRMR_ABSENT)
        return MRMR_OK; /* it vanished in between */
    if (code == MRMR_OFFLINE)
        return code;
    return l->fn(name, NULL, code, l->arg);
}

static int entry_compare(const void *a, const void *b)
{
    const struct dirent64 *x = *(const struct dirent64 *const *)a;
    const struct dirent64 *y = *(const struct dirent64 *const *)b;
    return (x->d_ino > y->d_ino) - (x->d_ino < y->d_ino);
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Report one buffer full of entries. order has room for as many as fit into the buffer. */
static mrmr_err list_buffer(
    const struct local_listing *l, const char *buf, size_t size, const struct dirent64 **order)
{
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        const struct dirent64 *entry = (const struct dirent64 *)(buf + at);
        at += entry->d_reclen;
        if (!is_dots(entry->d_name))
            order[n++] = entry;
    }
    qsort(order, n, sizeof *order, entry_compare);
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(list_entry(l, order[i]->d_name));
    return MRMR_OK;
}

static mrmr_err list_run(const struct local_listing *l)
{
    enum { ENTRY_LEAST = 24 }; /* the shortest record getdents64 makes */
    mrmr_autofree char *buf = malloc(LOCAL_LIST_BUFFER);
    mrmr_autofree const struct dirent64 **order =
        malloc(LOCAL_LIST_BUFFER / ENTRY_LEAST * sizeof *order);
    if (!buf || !order)
        return mrmr_nomem();
    for (;;) {
        ssize_t n = getdents64(l->fd, buf, LOCAL_LIST_BUFFER);
        if (n < 0)
            return local_fail(l->local, errno, "list", l->path);
        if (n == 0)
            return MRMR_OK;
        MRMR_TRY(list_buffer(l, buf, (size_t)n, order));
    }
}

static mrmr_err open_listing(struct local *local, const char *path, int *ret_fd)
{
    LOCAL_ACT("list", path);
    return local_open(local, "list", path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, ret_fd);
}

static mrmr_err local_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg)
{
    struct local *local = (struct local *)drv;
    mrmr_autoclose int fd = -1;
    MRMR_TRY(open_listing(local, path, &fd));
    struct stat st;
    if (fstat(fd, &st) < 0)
        return local_fail(local, errno, "list", path);
    if (st.st_nlink == 0) /* a deleted folder lists as empty; it is not */
        return local_fail(local, ENOENT, "list", path);
    const struct local_listing listing = {local, path, fd, fn, arg};
    return list_run(&listing);
}

static mrmr_err local_readlink(struct drv *drv, const char *path, struct mrmr_bytes *target)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    char buf[PATH_MAX];
    LOCAL_ACT("readlink", path);
    MRMR_TRY(local_place_get(local, "readlink", path, &place));
    ssize_t n = readlinkat(place.dir_fd, place.name, buf, sizeof buf);
    if (n < 0)
        return local_fail(local, errno, "readlink", path);
    return mrmr_bytes_add(target, buf, (size_t)n);
}

/* --- names --- */

static mrmr_err local_dir_sync(struct drv *drv, const char *path)
{
    struct local *local = (struct local *)drv;
    mrmr_autoclose int fd = -1;
    MRMR_TRY(local_open(local, "sync folder", path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, &fd));
    if (fsync(fd) == 0)
        return MRMR_OK;
    return local_fail(local, errno == EINVAL ? EOPNOTSUPP : errno, "sync folder", path);
}

static mrmr_err local_sync_all(struct drv *drv)
{
    struct local *local = (struct local *)drv;
    if (local->sync_fd < 0)
        return local_fail(local, EACCES, "sync", "");
    return syncfs(local->sync_fd) < 0 ? local_fail(local, errno, "sync", "") : MRMR_OK;
}

static mrmr_err local_mkdir(struct drv *drv, const char *path, uint32_t mode)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    LOCAL_ACT("mkdir", path);
    MRMR_TRY(local_place_get(local, "mkdir", path, &place));
    if (mkdirat(place.dir_fd, place.name, mode & 07777) < 0)
        return local_fail(local, errno, "mkdir", path);
    int err = local_mode_exact(local, &place, mode);
    if (!err)
        return MRMR_OK;
    unlinkat(place.dir_fd, place.name, AT_REMOVEDIR);
    return local_fail(local, err, "mkdir", path);
}

static mrmr_err local_unlink(struct drv *drv, const char *path)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    LOCAL_ACT("unlink", path);
    MRMR_TRY(local_place_get(local, "unlink", path, &place));
    return unlinkat(place.dir_fd, place.name, 0) < 0 ? local_fail(local, errno, "unlink", path)
                                                     : MRMR_OK;
}

/* local_act.c says who this is: 0, and the process itself, have the right over what is anybody's. */
static bool keeps_what_is_anothers(const struct stat *folder, const struct stat *st)
{
    const uid_t me = (uid_t)setfsuid((uid_t)-1);
    return folder->st_mode & S_ISVTX && me != 0 && me != folder->st_uid && me != st->st_uid;
}

/* Asked of the system call itself: libc would ask for another user than the one that the thread acts as where the
 * kernel has no such call. */
static mrmr_err local_unlink_may(struct drv *drv, const char *path)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    struct stat folder, st;
    LOCAL_ACT("unlink", path);
    MRMR_TRY(local_place_get(local, "unlink", path, &place));
    if (syscall(SYS_faccessat2, place.dir_fd, ".", W_OK | X_OK, AT_EACCESS) < 0 ||
        fstat(place.dir_fd, &folder) < 0 ||
        fstatat(place.dir_fd, place.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return local_fail(local, errno, "unlink", path);
    return keeps_what_is_anothers(&folder, &st) ? local_fail(local, EPERM, "unlink", path)
                                                : MRMR_OK;
}

static mrmr_err local_rmdir(struct drv *drv, const char *path)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    LOCAL_ACT("rmdir", path);
    MRMR_TRY(local_place_get(local, "rmdir", path, &place));
    if (unlinkat(place.dir_fd, place.name, AT_REMOVEDIR) == 0)
        return MRMR_OK;
    return local_fail(local, errno == EEXIST ? ENOTEMPTY : errno, "rmdir", path);
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return !strncmp(path, folder, n) && path[n] == '/';
}

/* A file system without a flag says EINVAL, which is also what a folder moved into itself gets. */
static int rename_errno(int err, const char *from, const char *to, unsigned flags)
{
    bool into_itself = is_below(to, from) || is_below(from, to);
    if (err == EINVAL && flags != DRV_RENAME_REPLACE && !into_itself)
        return EOPNOTSUPP;
    return err == EEXIST && flags != DRV_RENAME_NOREPLACE ? ENOTEMPTY : err;
}

static mrmr_err local_rename(struct drv *drv, const char *from, const char *to, unsigned flags)
{
    static const unsigned kernel_flags[] = {
        [DRV_RENAME_REPLACE] = 0,
        [DRV_RENAME_NOREPLACE] = RENAME_NOREPLACE,
        [DRV_RENAME_EXCHANGE] = RENAME_EXCHANGE,
    };
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place src = LOCAL_PLACE_INIT, dst = LOCAL_PLACE_INIT;
    LOCAL_ACT("rename", from);
    MRMR_TRY(local_place_get(local, "rename", from, &src));
    MRMR_TRY(local_place_get(local, "rename to", to, &dst));
    if (renameat2(src.dir_fd, src.name, dst.dir_fd, dst.name, kernel_flags[flags]) == 0)
        return MRMR_OK;
    int err = rename_errno(errno, from, to, flags);
    return local_fail(local, err, "rename", err == EEXIST ? to : from);
}

static mrmr_err local_link(struct drv *drv, const char *from, const char *to)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place src = LOCAL_PLACE_INIT, dst = LOCAL_PLACE_INIT;
    struct drv_stat stat;
    LOCAL_ACT("link", from);
    MRMR_TRY(local_place_get(local, "link", from, &src));
    MRMR_TRY(local_place_get(local, "link to", to, &dst));
    if (linkat(src.dir_fd, src.name, dst.dir_fd, dst.name, 0) == 0)
        return MRMR_OK;
    int err = errno;
    if (err == EPERM && !local_statx(local, src.dir_fd, src.name, &stat) && stat.type == DRV_DIR)
        err = EISDIR;
    return local_fail(local, err, "link", err == EEXIST ? to : from);
}

static mrmr_err local_symlink(struct drv *drv, const char *target, const char *path)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    LOCAL_ACT("symlink", path);
    MRMR_TRY(local_place_get(local, "symlink", path, &place));
    return symlinkat(target, place.dir_fd, place.name) < 0
               ? local_fail(local, errno, "symlink", path)
               : MRMR_OK;
}

static mrmr_err local_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev)
{
    struct local *local = (struct local *)drv;
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    const mode_t kind = type == DRV_FIFO     ? S_IFIFO
                        : type == DRV_SOCKET ? S_IFSOCK
                        : type == DRV_CHAR   ? S_IFCHR
                                             : S_IFBLK;
    LOCAL_ACT("mknod", path);
    MRMR_TRY(local_place_get(local, "mknod", path, &place));
    if (mknodat(place.dir_fd, place.name, kind | (mode & 07777), (dev_t)rdev) < 0)
        return local_fail(local, errno, "mknod", path);
    int err = local_mode_exact(local, &place, mode);
    if (!err)
        return MRMR_OK;
    unlinkat(place.dir_fd, place.name, 0);
    return local_fail(local, err, "mknod", path);
}

const struct drv_ops drv_local_ops = {
    .scheme = "local",
    .open = local_drv_open,
    .close = local_close,
    .info = local_info,
    .space = local_space,
    .stat = local_stat,
    .list = local_list,
    .file_open = local_file_open,
    .file_open_stat = local_file_open_stat,
    .file_close = local_file_close,
    .file_stat = local_file_stat,
    .file_read = local_file_read,
    .file_next_data = local_file_next_data,
    .file_descriptor = local_file_descriptor,
    .file_is_written = local_file_is_written,
    .file_advise = local_file_advise,
    .readlink = local_readlink,
    .xattr_list = local_xattr_list,
    .file_xattr_list = local_file_xattr_list,
    .file_write = local_file_write,
    .file_truncate = local_file_truncate,
    .file_allocate = local_file_allocate,
    .file_range = local_file_range,
    .file_copy = local_file_copy,
    .file_clone_range = local_file_clone_range,
    .file_set_attr = local_file_set_attr,
    .file_open_unnamed = local_file_open_unnamed,
    .file_link = local_file_link,
    .file_sync = local_file_sync,
    .dir_sync = local_dir_sync,
    .sync_all = local_sync_all,
    .mkdir = local_mkdir,
    .unlink = local_unlink,
    .unlink_may = local_unlink_may,
    .rmdir = local_rmdir,
    .rename = local_rename,
    .link = local_link,
    .symlink = local_symlink,
    .mknod = local_mknod,
    .set_attr = local_set_attr,
    .xattr_set = local_xattr_set,
    .clone = local_clone,
    .watch_open = local_watch_open,
    .watch_close = local_watch_close,
    .watch_add = local_watch_add,
    .watch_remove = local_watch_remove,
    .let_go = local_let_go,
    .take_up = local_take_up,
};
