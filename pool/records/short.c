/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/short.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHORT_NAME "short"
#define RELEASED_NAME "released"
#define DAEMON_NAME "daemon"

mrmr_err pool_short_tell(int dirfd)
{
    mrmr_autoclose int fd =
        openat(dirfd, SHORT_NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || futimens(fd, NULL) < 0)
        return mrmr_fail_errno(errno, "touch", SHORT_NAME);
    return MRMR_OK;
}

bool pool_short_heard(int dirfd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    mrmr_autoclose int fd =
        openat(dirfd, DAEMON_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static mrmr_err released_read(int fd, struct pool_short *ret_short)
{
    struct pool_short read = {0};
    ssize_t n;
    do
        n = pread(fd, &read, sizeof read, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return mrmr_fail_errno(errno, "read", RELEASED_NAME);
    *ret_short = n == sizeof read ? read : (struct pool_short){0};
    return MRMR_OK;
}

mrmr_err pool_short_look(int dirfd, struct pool_short *ret_short)
{
    mrmr_autoclose int fd =
        openat(dirfd, RELEASED_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0)
        return released_read(fd, ret_short);
    if (errno != ENOENT)
        return mrmr_fail_errno(errno, "open", RELEASED_NAME);
    *ret_short = (struct pool_short){0};
    return MRMR_OK;
}

bool pool_short_recent(int dirfd, int64_t ns)
{
    struct stat st;
    if (fstatat(dirfd, RELEASED_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    const int64_t at = st.st_mtim.tv_sec * MRMR_NS_PER_S + st.st_mtim.tv_nsec;
    return mrmr_clock_real() - at <= ns;
}

static mrmr_err step_write(int dirfd, enum pool_short_step step)
{
    struct pool_short now;
    ssize_t n;
    mrmr_autoclose int fd =
        openat(dirfd, RELEASED_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", RELEASED_NAME);
    MRMR_TRY(released_read(fd, &now));
    now.began += step == POOL_SHORT_BEGAN;
    now.turns += step == POOL_SHORT_TURN;
    if (step == POOL_SHORT_ENDED)
        now.ended = now.began; /* those that were killed are over, too */
    do
        n = pwrite(fd, &now, sizeof now, 0);
    while (n < 0 && errno == EINTR);
    return n == sizeof now ? MRMR_OK
                           : mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", RELEASED_NAME);
}

void pool_short_step(int dirfd, enum pool_short_step step)
{
    if (step_write(dirfd, step))
        mrmr_log_story(MRMR_LOG_INFO, "how far a release is could not be noted");
}
