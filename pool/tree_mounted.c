/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lock that lets one tree at a time change a pool, and who has it.
 *
 * It is one of the file `mounted` in the pool's folder, and goes with its process. The text of the file, "pid
 * mountpoint", is for whoever comes second: it is not believed where nobody has the lock, and nothing but a message
 * goes by it. So it is not synced, and a pool's folder without room costs the message its end alone.
 */
#include "pool/direct.h"
#include "pool/tree_change.h"

#include "base/durable.h"
#include "base/mounts.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

enum { TEXT_MOST = PATH_MAX + 32 };

static void text_set(int fd, const char *text, size_t size)
{
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, size, 0) != (ssize_t)size)
        mrmr_log(MRMR_LOG_INFO, "where the pool is mounted could not be noted");
}

void tree_mounted_tell(int fd, const char *mountpoint)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    if (!mrmr_bytes_fmt(&text, "%ld %s", (long)getpid(), mountpoint))
        text_set(fd, text.data, text.size);
}

static mrmr_err mounted_busy(const struct pool *pool)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    if (mrmr_durable_read(pool->dirfd, POOL_MOUNTED_NAME, TEXT_MOST, &text))
        mrmr_bytes_clear(&text);
    char *where = text.size ? strchr(text.data, ' ') : NULL;
    if (!where) /* it has not come to it yet */
        return mrmr_err_hint(mrmr_fail(MRMR_BUSY, "the pool %s is mounted already", pool->dir),
            "use that mount, or unmount it first (mrmr umount)");
    *where++ = '\0';
    return mrmr_mounts_hint(
        mrmr_fail(MRMR_BUSY, "the pool %s is mounted at %s already (process %s)", pool->dir, where,
            text.data),
        "use that mount, or unmount it first: mrmr umount", where);
}

mrmr_err tree_mounted_lock(const struct pool *pool, int *ret_fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    mrmr_autoclose int fd =
        openat(pool->dirfd, POOL_MOUNTED_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", POOL_MOUNTED_NAME);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        return errno == EAGAIN || errno == EACCES
                   ? mounted_busy(pool)
                   : mrmr_fail_errno(errno, "lock", POOL_MOUNTED_NAME);
    text_set(fd, "", 0); /* that of who had it before */
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}
