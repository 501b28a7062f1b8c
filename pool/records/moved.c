/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/moved.h"
#include "pool/drive/hung.h"
#include "pool/records/moved_format.h"

#include "base/durable.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#define MOVED_MOST ((uint64_t)256 << 20)
#define MOVED_GONE_MOST ((uint64_t)32 << 20)    /* beyond it no names that went: some 300,000 */
#define MOVED_LINKED_MOST (MOVED_GONE_MOST / 2) /* and none that were made, which say less */

/* --- one record --- */

enum { CHECKED = offsetof(struct moved_head, drive) }; /* from here on */

static void record_check(const char *record, size_t size, uint8_t ret_check[16])
{
    struct mrmr_digest digest = mrmr_digest_of(record + CHECKED, size - CHECKED);
    memcpy(ret_check, digest.bytes, 16);
}

/* What a name that went is taken back by has none either. */
static bool may_lack_to(enum pool_moved_kind kind)
{
    return moved_is_alone(kind) || kind == POOL_MOVED_UNDONE;
}

static mrmr_err record_make(int64_t drive, const char *from, const char *to,
    enum pool_moved_kind kind, const uint64_t inodes[2], struct mrmr_bytes *record)
{
    size_t nfrom = strlen(from), nto = strlen(to);
    MRMR_TRY(drv_path_check(from));
    MRMR_TRY(drv_path_check(to));
    if (!nfrom || (nto ? moved_is_alone(kind) : !may_lack_to(kind)))
        return mrmr_fail(MRMR_INVALID, "a drive's root is not renamed");
    if (nfrom > POOL_MOVED_PATH_MOST || nto > POOL_MOVED_PATH_MOST)
        return mrmr_fail(MRMR_NAME_TOO_LONG, "the path is too long to be renamed");
    struct moved_head head = {.magic = MOVED_MAGIC,
        .drive = drive,
        .size = (uint32_t)(sizeof head + nfrom + nto + 2 + MOVED_INODES),
        .kind = kind,
        .from = (uint32_t)nfrom,
        .to = (uint32_t)nto};
    MRMR_TRY(mrmr_bytes_add(record, &head, sizeof head));
    MRMR_TRY(mrmr_bytes_add(record, from, nfrom + 1));
    MRMR_TRY(mrmr_bytes_add(record, to, nto + 1));
    MRMR_TRY(mrmr_bytes_add(record, inodes, MOVED_INODES));
    record_check(record->data, record->size, head.check);
    memcpy(record->data, &head, sizeof head);
    return MRMR_OK;
}

static bool head_fits(const struct moved_head *head, size_t left)
{
    size_t paths = (size_t)head->from + head->to + 2;
    return head->kind >= POOL_MOVED_RENAME && head->kind <= POOL_MOVED_LIVES && head->from &&
           (head->to ? !moved_is_alone((enum pool_moved_kind)head->kind)
                     : may_lack_to((enum pool_moved_kind)head->kind)) &&
           head->from <= POOL_MOVED_PATH_MOST && head->to <= POOL_MOVED_PATH_MOST &&
           (head->size == sizeof *head + paths ||
               head->size == sizeof *head + paths + MOVED_INODES) &&
           head->size <= left;
}

/* A right digest is no reason to believe a path (I9). */
static bool path_is_right(const char *path, size_t size)
{
    return memchr(path, '\0', size + 1) == path + size && !drv_path_check(path);
}

static bool record_is_right(
    const char *data, size_t left, size_t *waste, struct moved_record *ret_record)
{
    struct moved_head head;
    uint8_t check[sizeof head.check];
    if (left < sizeof head)
        return false;
    memcpy(&head, data, sizeof head);
    if (!head_fits(&head, left) || !*waste)
        return false;
    record_check(data, head.size, check);
    if (memcmp(check, head.check, sizeof check) != 0) {
        *waste -= head.size < *waste ? head.size : *waste;
        return false;
    }
    const char *from = data + sizeof head, *to = from + head.from + 1;
    if (!path_is_right(from, head.from) || !path_is_right(to, head.to))
        return false;
    *ret_record = (struct moved_record){.drive = head.drive,
        .kind = (enum pool_moved_kind)head.kind,
        .from = from,
        .to = to,
        .size = head.size};
    if (head.size > sizeof head + head.from + head.to + 2)
        memcpy(ret_record->inode, to + head.to + 1, MOVED_INODES);
    return true;
}

bool moved_next(
    const struct mrmr_bytes *bytes, size_t *at, size_t *waste, struct moved_record *ret_record)
{
    static const uint64_t magic = MOVED_MAGIC;
    while (*at < bytes->size) {
        const char *found = memmem(bytes->data + *at, bytes->size - *at, &magic, sizeof magic);
        if (!found)
            break;
        size_t begin = (size_t)(found - bytes->data);
        if (record_is_right(found, bytes->size - begin, waste, ret_record)) {
            ret_record->at = begin;
            *at = begin + ret_record->size;
            return true;
        }
        *at = begin + 1;
    }
    return false;
}

/* --- adding --- */

/* Its name must stay, too, when the power goes; once something is in it, that was seen to. */
static mrmr_err open_durable(int dirfd, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", MOVED_NAME);
    if (st.st_size == 0 && fsync(dirfd) < 0)
        return mrmr_fail_errno(errno, "fsync", MOVED_NAME);
    return MRMR_OK;
}

mrmr_err pool_moved_open(int dirfd, int *ret_fd)
{
    mrmr_autoclose int fd =
        openat(dirfd, MOVED_NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", MOVED_NAME);
    MRMR_TRY(open_durable(dirfd, fd));
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

/* The record is there, if not for certain, and its rename is not made. */
static mrmr_err add_undone(
    int fd, int64_t drive, const char *from, const char *to, const uint64_t inodes[2])
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (pool_moved_add_inodes(fd, drive, from, to, POOL_MOVED_UNDONE, inodes, false))
        mrmr_log_story(MRMR_LOG_WARN, "taking back the record of a rename");
    return mrmr_story_restore(&story);
}

/* What comes after `most` bytes nobody would read. */
static mrmr_err record_add(int fd, const struct mrmr_bytes *record, uint64_t most)
{
    struct stat st;
    ssize_t n;
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", MOVED_NAME);
    if ((uint64_t)st.st_size > most - record->size)
        return mrmr_err_hint(
            mrmr_fail(MRMR_SPACE, "too much was renamed or removed since the last sync"),
            "run mrmr sync");
    do
        n = write(fd, record->data, record->size);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)record->size) /* a part of it is no record */
        return mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", MOVED_NAME);
    return MRMR_OK;
}

mrmr_err pool_moved_add_gone(int fd, int64_t drive, const char *path, enum pool_moved_kind kind,
    uint64_t inode, int64_t btime)
{
    mrmr_autobytes struct mrmr_bytes record = MRMR_BYTES_INIT;
    const uint64_t inodes[2] = {inode, (uint64_t)btime};
    MRMR_TRY(record_make(drive, path, "", kind, inodes, &record));
    return record_add(fd, &record, MOVED_GONE_MOST);
}

mrmr_err pool_moved_add_lives(
    int fd, int64_t drive, const char *path, const char *to, uint64_t inode)
{
    mrmr_autobytes struct mrmr_bytes record = MRMR_BYTES_INIT;
    MRMR_TRY(
        record_make(drive, path, to, POOL_MOVED_LIVES, (const uint64_t[2]){inode, 0}, &record));
    MRMR_TRY(record_add(fd, &record, MOVED_GONE_MOST));
    return fdatasync(fd) == 0 ? MRMR_OK : mrmr_fail_errno(errno, "fdatasync", MOVED_NAME);
}

mrmr_err pool_moved_add_linked(int fd, int64_t drive, const char *path, uint64_t inode)
{
    mrmr_autobytes struct mrmr_bytes record = MRMR_BYTES_INIT;
    MRMR_TRY(
        record_make(drive, path, "", POOL_MOVED_LINKED, (const uint64_t[2]){inode, 0}, &record));
    return record_add(fd, &record, MOVED_LINKED_MOST);
}

mrmr_err pool_moved_add_inodes(int fd, int64_t drive, const char *from, const char *to,
    enum pool_moved_kind kind, const uint64_t inodes[2], bool durable)
{
    mrmr_autobytes struct mrmr_bytes record = MRMR_BYTES_INIT;
    MRMR_TRY(record_make(drive, from, to, kind, inodes, &record));
    MRMR_TRY(record_add(fd, &record, MOVED_MOST));
    if (!durable || fdatasync(fd) == 0)
        return MRMR_OK;
    mrmr_err err = mrmr_fail_errno(errno, "fdatasync", MOVED_NAME);
    return kind == POOL_MOVED_UNDONE ? err : add_undone(fd, drive, from, to, inodes);
}

mrmr_err pool_moved_add(int fd, int64_t drive, const char *from, const char *to,
    enum pool_moved_kind kind, bool durable)
{
    return pool_moved_add_inodes(fd, drive, from, to, kind, (const uint64_t[2]){0, 0}, durable);
}

/* --- reading --- */

mrmr_err moved_read(int fd, uint64_t offset, struct mrmr_bytes *bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", MOVED_NAME);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > MOVED_MOST)
        return mrmr_err_hint(mrmr_fail(MRMR_CORRUPT,
                                 "the file %s in the pool's folder is no list of "
                                 "renames, or too large",
                                 MOVED_NAME),
            "remove it, then run mrmr sync");
    uint64_t left = (uint64_t)st.st_size > offset ? (uint64_t)st.st_size - offset : 0;
    MRMR_TRY(mrmr_bytes_reserve(bytes, left + 1));
    while (left) {
        ssize_t n = pread(fd, bytes->data + bytes->size, left, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mrmr_fail_errno(errno, "read", MOVED_NAME);
        if (n == 0)
            break;
        bytes->size += (size_t)n;
        offset += (uint64_t)n;
        left -= (uint64_t)n;
    }
    return MRMR_OK;
}

/* --- the scan --- */

static mrmr_err size_now(struct pool *pool, uint64_t *ret_size)
{
    struct stat st = {.st_size = 0};
    if (fstatat(pool->dirfd, MOVED_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
        return mrmr_fail_errno(errno, "stat", MOVED_NAME);
    *ret_size = (uint64_t)st.st_size;
    return MRMR_OK;
}

mrmr_err pool_moved_size(struct pool *pool, const struct pool_job *job, uint64_t *ret_size)
{
    /* Who is in may have added a record and not renamed yet: the walk might see the old name. */
    MRMR_TRY(pool_stop_for_all(pool, job));
    mrmr_err err = size_now(pool, ret_size);
    pool_writers_go(pool->writers);
    return err;
}

mrmr_err pool_moved_begin(struct pool *pool, const struct pool_job *job, uint64_t *ret_size)
{
    MRMR_TRY(pool_stop_for_all(pool, job));
    mrmr_err err = size_now(pool, ret_size);
    if (!err)
        err = pool_writers_scan_begin(pool->writers);
    pool_writers_go(pool->writers);
    return err;
}

void pool_moved_end(struct pool *pool)
{
    pool_writers_scan_end(pool->writers);
}

/* Its drive was scanned, or done with, or is no drive any more. What one that was given up has still is shown by them. */
static bool drop_is_over(
    struct pool *pool, const struct moved_record *record, const int64_t drives[], size_t n)
{
    const struct pool_drive *drive = pool_drive_by_id(pool, record->drive);
    for (size_t i = 0; i < n; i++)
        if (drives[i] == record->drive)
            return true;
    return !drive;
}

/* Nobody adds meanwhile. */
static mrmr_err drop_rewrite(
    struct pool *pool, uint64_t size, const int64_t drives[], size_t ndrives)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    struct moved_record record;
    size_t at = 0, kept = 0, waste = MOVED_WASTE;
    mrmr_autoclose int fd =
        openat(pool->dirfd, MOVED_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? MRMR_OK : mrmr_fail_errno(errno, "open", MOVED_NAME);
    MRMR_TRY(moved_read(fd, 0, &bytes));
    while (moved_next(&bytes, &at, &waste, &record)) {
        if (record.at < size && drop_is_over(pool, &record, drives, ndrives))
            continue;
        memmove(bytes.data + kept, bytes.data + record.at, record.size);
        kept += record.size;
    }
    if (kept == bytes.size)
        return MRMR_OK;
    MRMR_TRY(mrmr_durable_replace(pool->dirfd, MOVED_NAME, bytes.data, kept, 0600));
    return pool_writers_new_epoch(pool->writers);
}

/* What hangs on a drive that was given up is not waited for: those come last, and are left in any case. */
static mrmr_err drop_stop(
    struct pool *pool, const struct pool_job *job, int64_t drives[], size_t *ndrives)
{
    const size_t all = *ndrives;
    size_t n = 0;
    for (size_t i = 0; i < all; i++) {
        const struct pool_drive *drive = pool_drive_by_id(pool, drives[i]);
        const int64_t id = drives[i];
        if (!drive || drive->meta.state == META_DRIVE_RETIRED)
            continue;
        drives[i] = drives[n];
        drives[n++] = id;
    }
    *ndrives = n;
    MRMR_TRY(pool_stop_for_some(pool, job, drives, ndrives));
    for (size_t i = n; i < all; i++)
        drives[(*ndrives)++] = drives[i];
    return MRMR_OK;
}

mrmr_err pool_moved_drop_after(struct pool *pool, const struct pool_job *job, uint64_t size,
    int64_t drives[], size_t ndrives, pool_moved_last last, void *arg)
{
    if (!size || !ndrives)
        return MRMR_OK;
    MRMR_TRY(drop_stop(pool, job, drives, &ndrives));
    mrmr_err err = last ? last(arg, drives, &ndrives) : MRMR_OK;
    if (!err)
        err = drop_rewrite(pool, size, drives, ndrives);
    pool_writers_go(pool->writers);
    return err;
}

mrmr_err pool_moved_drop(
    struct pool *pool, const struct pool_job *job, uint64_t size, int64_t drives[], size_t ndrives)
{
    return pool_moved_drop_after(pool, job, size, drives, ndrives, NULL, NULL);
}
