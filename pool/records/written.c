/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/written.h"
#include "pool/records/written_format.h"

#include "base/uuid.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WRITTEN_NAME "written"
#define WRITTEN_TEMP "written~"

enum { MOMENT = sizeof(int64_t), HEAD = sizeof(struct written_head) };
#define WRITTEN_SIZE (HEAD + (WRITTEN_PLACES + WRITTEN_DRIVES) * (size_t)MOMENT)

/* Instead of a leaf's number: all of the inode; its size, or that a name of it went. */
#define WRITTEN_ALL UINT64_MAX
#define WRITTEN_END (UINT64_MAX - 1)

struct pool_written {
    int fd;             /* -1: nothing can be noted, and nobody believes that anything is */
    atomic_bool broken; /* likewise, since a note could not be made */
};

static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static size_t place_of(int64_t drive, uint64_t ino, uint64_t leaf)
{
    const uint64_t mix = mixed(mixed(mixed((uint64_t)drive) + ino) + leaf);
    if (leaf == WRITTEN_END)
        return WRITTEN_LEAVES + WRITTEN_WHOLE + mix % WRITTEN_SIZES;
    return leaf == WRITTEN_ALL ? WRITTEN_LEAVES + mix % WRITTEN_WHOLE : mix % WRITTEN_LEAVES;
}

static off_t at_place(size_t place)
{
    return (off_t)(HEAD + place * MOMENT);
}

static bool read_all(int fd, void *buf, size_t size, off_t at)
{
    ssize_t n;
    do
        n = pread(fd, buf, size, at);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

static bool write_all(int fd, const void *buf, size_t size, off_t at)
{
    ssize_t n;
    do
        n = pwrite(fd, buf, size, at);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

/* --- who writes --- */

static bool life_make(uint64_t *ret_life)
{
    struct mrmr_uuid uuid;
    if (mrmr_uuid_make(&uuid))
        return false;
    memcpy(ret_life, &uuid, sizeof *ret_life);
    *ret_life |= 1;
    return true;
}

/* As long as the description is open: the handle's, and its process's, however it ends. */
static bool lock_take(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static bool lock_is_had(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Its room is taken now, so that a note needs none later where the file system writes in place. */
static bool file_fill(int fd)
{
    struct written_head head = {.magic = WRITTEN_MAGIC};
    return life_make(&head.life) && ftruncate(fd, WRITTEN_SIZE) == 0 &&
           posix_fallocate(fd, 0, WRITTEN_SIZE) == 0 && write_all(fd, &head, HEAD, 0);
}

static int file_make(int dirfd)
{
    int fd = openat(dirfd, WRITTEN_TEMP, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && file_fill(fd) && lock_take(fd) &&
        renameat(dirfd, WRITTEN_TEMP, dirfd, WRITTEN_NAME) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    unlinkat(dirfd, WRITTEN_TEMP, 0);
    return -1;
}

mrmr_err pool_written_open(int dirfd, struct pool_written **ret_written)
{
    /* The one of before says nothing of what this one writes. */
    if (unlinkat(dirfd, WRITTEN_NAME, 0) < 0 && errno != ENOENT)
        return mrmr_fail_errno(errno, "remove", WRITTEN_NAME);
    struct pool_written *written = calloc(1, sizeof *written);
    if (!written)
        return mrmr_nomem();
    written->fd = file_make(dirfd);
    if (written->fd < 0)
        mrmr_log(MRMR_LOG_INFO, "the file `written` cannot be made in the pool's folder: what is "
                                "written to while it is protected is left to the next sync");
    *ret_written = written;
    return MRMR_OK;
}

void pool_written_close(struct pool_written *written)
{
    if (!written)
        return;
    if (written->fd >= 0)
        close(written->fd);
    free(written);
}

static bool note(
    struct pool_written *written, int64_t drive, uint64_t ino, uint64_t leaf, int64_t moment)
{
    const size_t place = place_of(drive, ino, leaf);
    return write_all(written->fd, &moment, MOMENT, at_place(place));
}

static bool note_now(const struct pool_written *written, int64_t *ret_now)
{
    int64_t least;
    if (!read_all(written->fd, &least, MOMENT, offsetof(struct written_head, moment)))
        return false;
    const int64_t now = mrmr_clock_monotonic();
    *ret_now = now > least ? now : least;
    return true;
}

static bool note_all(
    struct pool_written *written, int64_t drive, uint64_t ino, uint64_t from, uint64_t to)
{
    const uint64_t first = from / META_LEAF, end = (to - 1) / META_LEAF + 1;
    int64_t now;
    if (!note_now(written, &now))
        return false;
    if (end - first > POOL_WRITTEN_WIDE)
        return note(written, drive, ino, WRITTEN_ALL, now);
    for (uint64_t leaf = first; leaf < end; leaf++)
        if (!note(written, drive, ino, leaf, now))
            return false;
    return true;
}

static bool notes(struct pool_written *written)
{
    return written->fd >= 0 && !atomic_load(&written->broken);
}

/* Nobody believes what was noted any more. */
static mrmr_err note_failed(struct pool_written *written)
{
    if (ftruncate(written->fd, 0) < 0)
        return mrmr_fail_errno(errno, "write", WRITTEN_NAME);
    atomic_store(&written->broken, true);
    return MRMR_OK;
}

mrmr_err pool_written_note(
    struct pool_written *written, int64_t drive, uint64_t ino, uint64_t from, uint64_t to)
{
    if (from >= to || !notes(written) || note_all(written, drive, ino, from, to))
        return MRMR_OK;
    return note_failed(written);
}

mrmr_err pool_written_note_end(struct pool_written *written, int64_t drive, uint64_t ino)
{
    int64_t now;
    if (!notes(written) || (note_now(written, &now) && note(written, drive, ino, WRITTEN_END, now)))
        return MRMR_OK;
    return note_failed(written);
}

/* --- who reads --- */

/* -1: there is none that says anything. */
static int file_open(struct pool *pool, int how, struct written_head *ret_head)
{
    int fd = openat(pool->dirfd, WRITTEN_NAME, how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -1;
    if (read_all(fd, ret_head, HEAD, 0) && ret_head->magic == WRITTEN_MAGIC && ret_head->life &&
        lock_is_had(fd))
        return fd;
    close(fd);
    return -1;
}

struct pool_written_since pool_written_begin(struct pool *pool)
{
    struct written_head head;
    mrmr_autoclose int fd = file_open(pool, O_RDWR, &head);
    struct pool_written_since since = {0};
    if (fd < 0)
        return since;
    const int64_t now = mrmr_clock_monotonic();
    head.moment = now > head.moment ? now : head.moment + 1;
    if (write_all(fd, &head.moment, MOMENT, offsetof(struct written_head, moment)))
        since = (struct pool_written_since){head.life, head.moment};
    return since;
}

mrmr_err pool_written_load(struct pool *pool, struct pool_written_table *ret_table)
{
    struct written_head head;
    const size_t size = WRITTEN_PLACES * (size_t)MOMENT;
    mrmr_autoclose int fd = file_open(pool, O_RDONLY, &head);
    *ret_table = (struct pool_written_table){0};
    if (fd < 0)
        return MRMR_OK;
    int64_t *moment = malloc(size);
    if (!moment)
        return mrmr_nomem();
    if (read_all(fd, moment, size, HEAD))
        *ret_table = (struct pool_written_table){head.life, moment};
    else
        free(moment);
    return MRMR_OK;
}

void pool_written_free(struct pool_written_table *table)
{
    free(table->moment);
    *table = (struct pool_written_table){0};
}

bool pool_written_has(const struct pool_written_table *table, struct pool_written_since since,
    int64_t drive, uint64_t ino, uint64_t leaf)
{
    if (!since.life || table->life != since.life)
        return true;
    return table->moment[place_of(drive, ino, leaf)] >= since.moment ||
           table->moment[place_of(drive, ino, WRITTEN_ALL)] >= since.moment;
}

/* --- who reads without the drive --- */

bool pool_written_lives(struct pool *pool)
{
    struct written_head head;
    mrmr_autoclose int fd = file_open(pool, O_RDONLY, &head);
    return fd >= 0;
}

/* 0: a drive of so high a number has no place. */
static off_t at_drive(int64_t drive)
{
    return drive > 0 && drive < WRITTEN_DRIVES ? at_place(WRITTEN_PLACES + (size_t)drive) : 0;
}

void pool_written_scanned(struct pool *pool, struct pool_written_since since, int64_t drive)
{
    struct written_head head;
    const off_t at = at_drive(drive);
    mrmr_autoclose int fd = at && since.life ? file_open(pool, O_RDWR, &head) : -1;
    if (fd >= 0 && head.life == since.life)
        (void)write_all(
            fd, &since.moment, MOMENT, at); /* else an older one stays, which is as true */
}

struct pool_written_since pool_written_since_scan(struct pool *pool, int64_t drive)
{
    struct written_head head;
    struct pool_written_since since = {0};
    const off_t at = at_drive(drive);
    mrmr_autoclose int fd = at ? file_open(pool, O_RDONLY, &head) : -1;
    if (fd >= 0 && read_all(fd, &since.moment, MOMENT, at) && since.moment > 0)
        since.life = head.life;
    return since;
}

static bool not_since(int fd, int64_t since, int64_t drive, uint64_t ino, uint64_t leaf)
{
    int64_t moment;
    return read_all(fd, &moment, MOMENT, at_place(place_of(drive, ino, leaf))) && moment < since;
}

bool pool_written_is_same(
    struct pool *pool, struct pool_written_since since, int64_t drive, uint64_t ino, uint64_t leaf)
{
    struct written_head head;
    mrmr_autoclose int fd = since.life && ino ? file_open(pool, O_RDONLY, &head) : -1;
    return fd >= 0 && head.life == since.life &&
           not_since(fd, since.moment, drive, ino, WRITTEN_END) &&
           not_since(fd, since.moment, drive, ino, WRITTEN_ALL) &&
           (leaf == POOL_WRITTEN_NO_LEAF || not_since(fd, since.moment, drive, ino, leaf));
}
