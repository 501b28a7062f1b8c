/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Confinement (I9). Every path is resolved by openat2(2) from the root's descriptor with
 * RESOLVE_BENEATH, NO_SYMLINKS, NO_MAGICLINKS and NO_XDEV, so the kernel itself refuses to leave
 * the root, also while somebody renames folders below it. A path longer than the kernel takes at
 * once is walked in pieces, each confined to the one before.
 */
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>

#define LOCAL_PIECE_MAX                                                                            \
    4000 /* bytes of path for one openat2: below PATH_MAX (4,096) with room for a component */

/* A rename may race with the walk: the kernel wants to be asked again then, and gets on. Or somebody has a
 * lease on the file (we ourselves, for a moment: local_file_is_written), and this asked him for it. Whoever
 * owns a file can have one and keep it, for the kernel's lease-break-time, so it is not waited for long: the
 * file is busy, and the drive is well. */
enum { TRIES_AT_ONCE = 100 };
static const int64_t lease_waits = MRMR_NS_PER_S;

/* False: that was long enough. until: 0 before the first time. */
static bool try_again(unsigned tries, int64_t *until)
{
    if (tries < TRIES_AT_ONCE)
        return true;
    const int64_t now = mrmr_clock_monotonic();
    if (!*until)
        *until = now + lease_waits;
    nanosleep(&(const struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    return now < *until;
}

static int open_confined(int dir_fd, const char *path, int flags, unsigned mode)
{
    /* A symlink as the last component: O_NOFOLLOW with O_PATH opens the link itself; where a folder
     * is wanted that would be ENOTDIR, and without it NO_SYMLINKS says ELOOP, as in the middle of a
     * path. */
    const int follow = flags & O_DIRECTORY ? 0 : O_NOFOLLOW;
    struct open_how how = {
        .flags = (uint64_t)(flags | follow | O_CLOEXEC),
        .mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    int64_t until = 0;
    for (unsigned tries = 0;; tries++) {
        int fd = (int)syscall(SYS_openat2, dir_fd, *path ? path : ".", &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            return fd;
        if (errno == EAGAIN && !try_again(tries, &until)) {
            errno = EAGAIN;
            return -1;
        }
    }
}

/* Open the folder that the first size bytes of path name; -1 with errno. */
static int open_folder(int root_fd, const char *path, size_t size)
{
    char piece[LOCAL_PIECE_MAX + 1];
    mrmr_autoclose int at_fd = -1;
    while (size) {
        size_t n = size;
        if (n > LOCAL_PIECE_MAX) {
            const char *slash = memrchr(path, '/', LOCAL_PIECE_MAX);
            n = (size_t)(slash - path); /* there is one: components have at most 255 bytes */
        }
        memcpy(piece, path, n);
        piece[n] = '\0';
        int fd = open_confined(at_fd < 0 ? root_fd : at_fd, piece, O_PATH | O_DIRECTORY, 0);
        if (fd < 0)
            return -1;
        if (at_fd >= 0)
            close(at_fd);
        at_fd = fd;
        n += n < size; /* the slash */
        path += n;
        size -= n;
    }
    return mrmr_steal_fd(&at_fd);
}

mrmr_err local_place_get(
    struct local *local, const char *op, const char *path, struct local_place *ret_place)
{
    const char *slash = strrchr(path, '/');
    if (!slash) {
        *ret_place = (struct local_place){local->root_fd, false, path};
        return MRMR_OK;
    }
    int fd = open_folder(local->root_fd, path, (size_t)(slash - path));
    if (fd < 0)
        return local_fail(local, errno, op, path);
    *ret_place = (struct local_place){fd, true, slash + 1};
    return MRMR_OK;
}

void local_place_put(struct local_place *place)
{
    int saved = errno;
    if (place->owned)
        close(place->dir_fd);
    *place = (struct local_place)LOCAL_PLACE_INIT;
    errno = saved;
}

int local_place_open(const struct local_place *place, int flags, unsigned mode)
{
    return open_confined(place->dir_fd, place->name, flags, mode);
}

mrmr_err local_open(struct local *local, const char *op, const char *path, int flags, int *ret_fd)
{
    local_autoplace struct local_place place = LOCAL_PLACE_INIT;
    int fd;
    if (strlen(path) <= LOCAL_PIECE_MAX) {
        fd = open_confined(local->root_fd, path, flags, 0);
    } else {
        MRMR_TRY(local_place_get(local, op, path, &place));
        fd = local_place_open(&place, flags, 0);
    }
    if (fd < 0)
        return local_fail(local, errno, op, path);
    *ret_fd = fd;
    return MRMR_OK;
}

/* The root is still a folder of a file system that answers. */
static bool root_answers(const struct local *local)
{
    struct stat st;
    struct statfs fs;
    return fstat(local->root_fd, &st) == 0 && st.st_nlink > 0 && fstatfs(local->root_fd, &fs) == 0;
}

mrmr_err local_fail(const struct local *local, int err, const char *op, const char *path)
{
    mrmr_err code = mrmr_fail_errno(err, op, path);
    switch (err) {
    case ENOENT:
    case EIO:
        if (root_answers(local))
            return code;
        code = mrmr_fail(MRMR_OFFLINE, "the root of the drive, %s, is gone", local->root);
        return mrmr_err_path(mrmr_err_op(code, op), path);
    case E2BIG: /* what the system says of it is of argument lists */
        code = mrmr_fail(MRMR_VALUE_TOO_LARGE, "too large for this file system");
        return mrmr_err_path(mrmr_err_op(code, op), path);
    case EAGAIN:
        code = mrmr_err_hint(
            mrmr_fail(MRMR_BUSY, "another program has a lease on it and does not give it back"),
            "end that program, or try again in a minute: the kernel takes the lease away then");
        return mrmr_err_path(mrmr_err_op(code, op), path);
    case EBADF:
        code = mrmr_fail(MRMR_INVALID, "the file was not opened for that");
        return mrmr_err_path(mrmr_err_op(code, op), path);
    case ERANGE:
    case EOVERFLOW:
        code = mrmr_fail(MRMR_INVALID, "a value that this file system cannot keep");
        return mrmr_err_path(mrmr_err_op(code, op), path);
    default:
        return code;
    }
}
