/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a pool may be mounted, and what a mount whose process died left there.
 */
#include "fuse/mfs.h"

#include "base/mounts.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

/* --- who may mount --- */

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    for (path = path ? path : "/usr/bin:/bin"; *path;) {
        size_t n = strcspn(path, ":");
        char name[4096];
        snprintf(name, sizeof name, "%.*s/%s", (int)n, path, program);
        if (access(name, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static mrmr_err check_fuse(void)
{
    mrmr_autoclose int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return mrmr_err_hint(mrmr_fail(MRMR_UNSUPPORTED, "there is no /dev/fuse"),
            "load the kernel's module: modprobe fuse");
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return mrmr_err_hint(mrmr_fail(MRMR_DENIED, "/dev/fuse cannot be opened by this user"),
            "see its mode and group, and add the user to that group");
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", "/dev/fuse");
    if (geteuid() != 0 && !in_path("fusermount3"))
        return mrmr_err_hint(
            mrmr_fail(MRMR_UNSUPPORTED, "fusermount3 is missing, with which users mount"),
            "install the package fuse3");
    return MRMR_OK;
}

/* --- what is there --- */

/* Another one's may be served again, and who uses it may still hope for that. */
static mrmr_err not_ours(const char *path, const char *type)
{
    if (!*type)
        return mrmr_err_hint(
            mrmr_fail(MRMR_BUSY, "%s lies below a mount that nobody serves any more", path),
            "unmount that one, or mount elsewhere");
    return mrmr_mounts_hint(
        mrmr_fail(MRMR_BUSY,
            "a file system of type %s is mounted at %s, and nobody serves it any more", type, path),
        "mount elsewhere, or, if it is not needed: umount -l", path);
}

static mrmr_err clear_dead(const char *path, const char *type)
{
    int status = 0;
    if (strcmp(type, MRMR_MOUNTS_POOL) != 0)
        return not_ours(path, type);
    if (geteuid() == 0)
        return umount2(path, MNT_DETACH) == 0 ? MRMR_OK
                                              : mrmr_fail_errno(errno, "clear a dead mount", path);
    pid_t child = fork();
    if (child == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "--", path, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || status)
        return mrmr_mounts_hint(
            mrmr_fail(MRMR_BUSY, "a dead mount is at %s", path), "clear it: fusermount3 -uz", path);
    return MRMR_OK;
}

static mrmr_err check_empty(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder)
        return mrmr_fail_errno(errno, "mount", path);
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(folder));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(folder);
    if (empty)
        return MRMR_OK;
    return mrmr_err_hint(
        mrmr_fail(MRMR_NOT_EMPTY, "%s is not empty: what is in it would be hidden", path),
        "mount on an empty folder");
}

static bool is_inside(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    while (n && folder[n - 1] == '/')
        n--;
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n]);
}

static mrmr_err check_place(struct pool *pool, const char *pool_dir, const char *path)
{
    mrmr_autofree struct pool_drive_view *views = NULL;
    mrmr_autofree char *home = realpath(pool_dir, NULL);
    size_t n = 0;
    MRMR_TRY(pool_drives_known(pool, &views, &n));
    for (size_t i = 0; i < n; i++)
        if (views[i].uri[0] == '/' && is_inside(path, views[i].uri))
            return mrmr_err_hint(mrmr_fail(MRMR_INVALID, "%s lies on the drive '%s' of this pool",
                                     path, views[i].name),
                "mount outside of the drives");
    if (home && is_inside(path, home))
        return mrmr_err_hint(mrmr_fail(MRMR_INVALID, "%s lies in the pool's own folder", path),
            "mount outside of it");
    return MRMR_OK;
}

static mrmr_err resolve(const char *given, char **ret_path)
{
    mrmr_err err = mrmr_mounts_path(given, "mount", ret_path);
    return mrmr_err_hint(err, mrmr_class_of(err) == MRMR_CLASS_ABSENT ? "make the folder first"
                                                                      : "see the folders above it");
}

mrmr_err mfs_mountpoint_check(struct pool *pool, const struct mfs_options *options, char **ret_path)
{
    mrmr_autofree char *path = NULL;
    struct mrmr_mounted mounted;
    struct stat st;
    struct statvfs fs;
    MRMR_TRY(check_fuse());
    MRMR_TRY(resolve(options->mountpoint, &path));
    MRMR_TRY(check_place(pool, options->pool, path));
    MRMR_TRY(mrmr_mounts_at(path, &mounted));
    if (options->fake && strcmp(mounted.type, MRMR_MOUNTS_POOL) == 0) {
        *ret_path = mrmr_steal(path);
        return MRMR_OK;
    }
    /* Attributes may still be the kernel's own; this is asked of whoever serves the mount. */
    if (statvfs(path, &fs) < 0 && errno == ENOTCONN) {
        MRMR_TRY(clear_dead(path, mounted.type));
        MRMR_TRY(mrmr_mounts_at(path, &mounted));
    }
    if (stat(path, &st) < 0)
        return mrmr_fail_errno(errno, "mount", path);
    if (strcmp(mounted.type, MRMR_MOUNTS_POOL) == 0)
        return mrmr_mounts_hint(mrmr_fail(MRMR_BUSY, "a pool is mounted at %s already", path),
            "use it, or unmount it first: mrmr umount", path);
    if (!S_ISDIR(st.st_mode))
        return mrmr_err_path(mrmr_fail(MRMR_NOT_DIR, NULL), path);
    MRMR_TRY(check_empty(path));
    *ret_path = mrmr_steal(path);
    return MRMR_OK;
}
