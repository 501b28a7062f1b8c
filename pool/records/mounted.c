/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/mounted.h"
#include "pool/pool.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/durable.h"
#include "base/log.h"
#include "base/mounts.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "mounted"
enum { TEXT_MOST = PATH_MAX + 32 };

static const int64_t ending_waits = 5 * MRMR_NS_PER_S;

static void nap(void)
{
    const struct timespec moment = {0, 20 * 1000000};
    nanosleep(&moment, NULL);
}

/* --- the text --- */

static void text_set(int fd, const char *text, size_t size)
{
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, size, 0) != (ssize_t)size)
        mrmr_log(MRMR_LOG_INFO, "where the pool is mounted could not be noted");
}

void pool_mounted_tell(int fd, const char *mountpoint)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    if (!mrmr_bytes_fmt(&text, "%ld %s", (long)getpid(), mountpoint))
        text_set(fd, text.data, text.size);
}

/* "pid mountpoint", cut in two; NULL: it has not come to it yet. */
static char *text_read(int dirfd, struct mrmr_bytes *text)
{
    if (mrmr_durable_read(dirfd, FILE_NAME, TEXT_MOST, text))
        mrmr_bytes_clear(text);
    char *where = text->size ? strchr(text->data, ' ') : NULL;
    if (where)
        *where++ = '\0';
    return where;
}

/* --- the lock --- */

static mrmr_err busy(int dirfd, const char *dir)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    const char *where = text_read(dirfd, &text);
    if (!where)
        return mrmr_err_hint(mrmr_fail(MRMR_BUSY, "the pool %s is mounted already", dir),
            "use that mount, or unmount it first (mrmr umount)");
    return mrmr_mounts_hint(
        mrmr_fail(
            MRMR_BUSY, "the pool %s is mounted at %s already (process %s)", dir, where, text.data),
        "use that mount, or unmount it first: mrmr umount", where);
}

/* Nothing is mounted any more where it was. */
static bool is_ending(int dirfd)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct mrmr_mounted mounted;
    const char *where = text_read(dirfd, &text);
    return where && !mrmr_mounts_at(where, &mounted) && strcmp(mounted.type, MRMR_MOUNTS_POOL) != 0;
}

mrmr_err pool_mounted_lock(int dirfd, const char *dir, int *ret_fd)
{
    const int64_t until = mrmr_clock_monotonic() + ending_waits;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    mrmr_autoclose int fd =
        openat(dirfd, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", FILE_NAME);
    while (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return mrmr_fail_errno(errno, "lock", FILE_NAME);
        if (mrmr_clock_monotonic() >= until || !is_ending(dirfd))
            return busy(dirfd, dir);
        nap();
    }
    text_set(fd, "", 0); /* that of who had it before */
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

mrmr_err pool_mounted_is(int dirfd, bool *ret_mounted)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    mrmr_autoclose int fd =
        openat(dirfd, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    *ret_mounted = false;
    if (fd < 0)
        return errno == ENOENT ? MRMR_OK : mrmr_fail_errno(errno, "open", FILE_NAME);
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return mrmr_fail_errno(errno, "look at the lock of", FILE_NAME);
    *ret_mounted = lock.l_type != F_UNLCK;
    return MRMR_OK;
}

/* It is still the same that has it, and was mounted there. */
static mrmr_err serves(int dirfd, const char *mountpoint, struct mrmr_bytes *who, bool *ret_serves)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(pool_mounted_is(dirfd, ret_serves));
    if (!*ret_serves)
        return MRMR_OK;
    const char *where = text_read(dirfd, &text);
    const bool same = where && strcmp(where, mountpoint) == 0 &&
                      (!who->size || strcmp(who->data, text.data) == 0);
    if (same && !who->size)
        MRMR_TRY(mrmr_bytes_str(who, text.data));
    *ret_serves = same;
    return MRMR_OK;
}

mrmr_err pool_mount_ended(const char *dir, const char *mountpoint, int64_t timeout, bool *ret_ended)
{
    mrmr_autobytes struct mrmr_bytes who = MRMR_BYTES_INIT;
    const int64_t until = mrmr_clock_monotonic() + timeout;
    mrmr_autoclose int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return mrmr_fail_errno(errno, "open", dir);
    for (bool is = true; is;) {
        MRMR_TRY(serves(dirfd, mountpoint, &who, &is));
        *ret_ended = !is;
        if (!is || mrmr_clock_monotonic() >= until)
            return MRMR_OK;
        nap();
    }
    return MRMR_OK;
}
