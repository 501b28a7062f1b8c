/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/direct.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include "pool/records/direct_format.h"
#include "pool/records/mounted.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

#define DIRECT_NAME "direct"

enum {
    RECORD = sizeof(struct direct_record),
    DIRECT_BYTES = sizeof(struct direct_head) + POOL_DIRECT_MOST * RECORD,
    SAME_INODE = 8,
};

struct pool_direct {
    int dirfd;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    int fd; /* -1: not open yet */
    /* What is left behind the owner may drop at any time. */
    enum place_use { PLACE_FREE, PLACE_OURS, PLACE_LEFT } use[POOL_DIRECT_MOST];
};

static off_t place_at(unsigned place)
{
    return (off_t)sizeof(struct direct_head) + (off_t)place * RECORD;
}

/* What was recorded before the machine was started is of no process that there is. */
static void boot_id(char ret_boot[sizeof((struct direct_head){0}.boot)])
{
    const size_t size = sizeof((struct direct_head){0}.boot);
    mrmr_autoclose int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    memset(ret_boot, 0, size);
    if (fd < 0 || read(fd, ret_boot, size - 1) < 0)
        memset(ret_boot, 0, size); /* then records stay for ever, and each is looked into */
}

static struct direct_head head_now(void)
{
    struct direct_head head = {.magic = DIRECT_MAGIC};
    boot_id(head.boot);
    return head;
}

/* --- the records --- */

struct records {
    struct mrmr_bytes bytes;
    size_t n;
};

static struct direct_record record_at(const struct records *records, size_t i)
{
    struct direct_record record;
    memcpy(&record, records->bytes.data + place_at((unsigned)i), sizeof record);
    return record;
}

/* None, if there is no file, or it is of an earlier life of the machine. */
static mrmr_err records_read(int dirfd, struct records *records)
{
    const struct direct_head now = head_now();
    struct direct_head head;
    mrmr_err err = mrmr_durable_read(dirfd, DIRECT_NAME, DIRECT_BYTES, &records->bytes);
    records->n = 0;
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    if (records->bytes.size < sizeof head)
        return MRMR_OK; /* it is being made */
    memcpy(&head, records->bytes.data, sizeof head);
    if (head.magic != DIRECT_MAGIC)
        return mrmr_err_hint(mrmr_err_path(mrmr_fail(MRMR_CORRUPT,
                                               "it does not say which files are in use through the "
                                               "mount's passthrough"),
                                 DIRECT_NAME),
            "unmount the pool, remove the file `direct` from the pool's folder, and start the "
            "machine anew "
            "if programs used files of the mount until now");
    if (memcmp(head.boot, now.boot, sizeof head.boot) == 0)
        records->n = (records->bytes.size - sizeof head) / RECORD;
    return MRMR_OK;
}

static mrmr_err record_write(int fd, unsigned place, const struct direct_record *record)
{
    ssize_t n = pwrite(fd, record, RECORD, place_at(place));
    return n == RECORD ? MRMR_OK : mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", DIRECT_NAME);
}

/* --- the mount --- */

static mrmr_err file_open(int dirfd, int *ret_fd)
{
    *ret_fd = openat(dirfd, DIRECT_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return *ret_fd < 0 ? mrmr_fail_errno(errno, "open", DIRECT_NAME) : MRMR_OK;
}

static mrmr_err left_behind(struct pool_direct *direct, const struct records *records)
{
    for (size_t i = 0; i < records->n; i++) {
        struct direct_record record = record_at(records, i);
        direct->use[i] = record.state == DIRECT_NONE ? PLACE_FREE : PLACE_LEFT;
        if (record.state == DIRECT_NONE || record.state == DIRECT_LEFT)
            continue;
        record.state = DIRECT_LEFT;
        MRMR_TRY(record_write(direct->fd, (unsigned)i, &record));
    }
    return MRMR_OK;
}

static mrmr_err direct_start(struct pool_direct *direct)
{
    struct records records = {.bytes = MRMR_BYTES_INIT};
    mrmr_err err = records_read(direct->dirfd, &records);
    if (!err && records.n) {
        err = file_open(direct->dirfd, &direct->fd);
        if (!err)
            err = left_behind(direct, &records);
    }
    mrmr_bytes_free(&records.bytes);
    return err;
}

/* Most mounts never need it. What is there has no record of this life of the machine. */
static mrmr_err file_ready_locked(struct pool_direct *direct)
{
    const struct direct_head head = head_now();
    if (direct->fd >= 0)
        return MRMR_OK;
    MRMR_TRY(mrmr_durable_replace(direct->dirfd, DIRECT_NAME, &head, sizeof head, 0600));
    return file_open(direct->dirfd, &direct->fd);
}

mrmr_err pool_direct_open(int dirfd, struct pool_direct **ret_direct)
{
    struct pool_direct *direct = calloc(1, sizeof *direct);
    if (!direct)
        return mrmr_nomem();
    direct->dirfd = dirfd;
    direct->fd = -1;
    pthread_mutex_init(&direct->lock, NULL);
    mrmr_err err = direct_start(direct);
    if (err)
        pool_direct_close(direct);
    else
        *ret_direct = direct;
    return err;
}

void pool_direct_close(struct pool_direct *direct)
{
    if (!direct)
        return;
    if (direct->fd >= 0)
        close(direct->fd);
    pthread_mutex_destroy(&direct->lock);
    free(direct);
}

static bool is_dropped(const struct pool_direct *direct, unsigned place)
{
    struct direct_record record;
    return direct->use[place] == PLACE_LEFT &&
           pread(direct->fd, &record, RECORD, place_at(place)) == RECORD &&
           record.state == DIRECT_NONE;
}

static mrmr_err place_find_locked(const struct pool_direct *direct, unsigned *ret_place)
{
    for (unsigned i = 0; i < POOL_DIRECT_MOST; i++)
        if (direct->use[i] == PLACE_FREE) {
            *ret_place = i;
            return MRMR_OK;
        }
    for (unsigned i = 0; i < POOL_DIRECT_MOST; i++)
        if (is_dropped(direct, i)) {
            *ret_place = i;
            return MRMR_OK;
        }
    return mrmr_fail(MRMR_SPACE, "%d files are in use directly already", POOL_DIRECT_MOST);
}

mrmr_err pool_direct_add(
    struct pool_direct *direct, int64_t drive, uint64_t ino, unsigned *ret_place)
{
    const struct direct_record record = {.drive = drive, .ino = ino, .state = DIRECT_HELD};
    unsigned place;
    mrmr_locked(&direct->lock);
    MRMR_TRY(file_ready_locked(direct));
    MRMR_TRY(place_find_locked(direct, &place));
    MRMR_TRY(record_write(direct->fd, place, &record));
    direct->use[place] = PLACE_OURS;
    *ret_place = place;
    return MRMR_OK;
}

mrmr_err pool_direct_has(struct pool_direct *direct, int64_t drive, uint64_t ino, bool *ret_has)
{
    struct records records = {.bytes = MRMR_BYTES_INIT};
    *ret_has = false;
    {
        mrmr_locked(&direct->lock);
        if (direct->fd < 0)
            return MRMR_OK;
    }
    mrmr_err err = records_read(direct->dirfd, &records);
    for (size_t i = 0; !err && !*ret_has && i < records.n; i++) {
        const struct direct_record record = record_at(&records, i);
        *ret_has = record.state != DIRECT_NONE && record.drive == drive && record.ino == ino;
    }
    mrmr_bytes_free(&records.bytes);
    return err;
}

void pool_direct_remove(struct pool_direct *direct, unsigned place)
{
    const struct direct_record none = {.state = DIRECT_NONE};
    mrmr_locked(&direct->lock);
    if (record_write(direct->fd, place, &none))
        mrmr_log_story(MRMR_LOG_WARN, "a file stays unprotected until the next mount");
    else
        direct->use[place] = PLACE_FREE;
}

void pool_direct_leave(struct pool_direct *direct, unsigned place)
{
    struct direct_record record = {.state = DIRECT_NONE};
    mrmr_locked(&direct->lock);
    if (pread(direct->fd, &record, RECORD, place_at(place)) != RECORD)
        return; /* it counts as held while this mount is, and as left behind afterwards */
    record.state = DIRECT_LEFT;
    if (record_write(direct->fd, place, &record))
        mrmr_log_story(MRMR_LOG_WARN, "a file stays unprotected until the next mount");
    else
        direct->use[place] = PLACE_LEFT;
}

/* --- the owner --- */

/* MRMR_OK: nobody writes this file, and whoever maps it can only read. */
static mrmr_err look_who_writes(struct pool *pool, const struct meta_node *node)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct drv_stat stat;
    bool written;
    MRMR_TRY(pool_node_open(pool, node->id, &file));
    MRMR_TRY(drv_file_stat(file, &stat));
    if (stat.ino != node->ino)
        return mrmr_fail(MRMR_CHANGED, "another file has its name");
    MRMR_TRY(drv_file_is_written(file, &written));
    if (!written)
        return MRMR_OK;
    return mrmr_err_hint(mrmr_fail(MRMR_CHANGED, "a program uses it since a mount with passthrough "
                                                 "that has ended, and what it writes is not seen"),
        "end that program (see: fuser on the file's path on its drive); the next sync protects the "
        "file");
}

static mrmr_err is_in_use(void)
{
    return mrmr_err_hint(
        mrmr_fail(MRMR_CHANGED, "it is in use directly: open, or mapped, through the mount's "
                                "passthrough, where what is written is not seen"),
        "nothing is to be done: the next sync after it was closed protects it");
}

/* To the story of why it is left out. */
static mrmr_err with_path(struct pool *pool, int64_t node)
{
    struct pool_paths paths = {.parent = 0};
    struct mrmr_story story;
    const char *path;
    mrmr_story_save(&story);
    mrmr_err err = pool_paths_get(pool, &paths, node, &path);
    mrmr_story_restore(&story);
    if (!err)
        mrmr_err_path(story.err, path);
    pool_paths_free(&paths);
    return story.err;
}

struct settling {
    struct pool *pool;
    bool mounted;
    pool_direct_fn fn;
    void *arg;
};

/* Why a file stays out is more than that it could not be told. */
static mrmr_err not_told(mrmr_err err)
{
    struct mrmr_story story;
    if (err == MRMR_CHANGED)
        return err;
    mrmr_story_save(&story);
    mrmr_fail(MRMR_CHANGED,
        "it was in use through a mount with passthrough that has ended, and whether a program "
        "still writes it cannot be told%s%s",
        story.text[0] ? ": " : "", story.text);
    return mrmr_err_hint(MRMR_CHANGED, "run the command as root, or start the machine anew");
}

static mrmr_err settle_node(const struct settling *settling, const struct direct_record *record,
    const struct meta_node *node, bool *ret_free)
{
    struct pool_drive *drive = pool_drive_by_id(settling->pool, node->drive);
    bool held = record->state == DIRECT_HELD && settling->mounted;
    mrmr_err err = held ? is_in_use() : look_who_writes(settling->pool, node);
    *ret_free = !err;
    if (!err)
        return MRMR_OK;
    if (mrmr_ran_short(err))
        return err;
    if (!held)
        not_told(err);
    with_path(settling->pool, node->id);
    return settling->fn(node->id, drive, settling->arg);
}

/* What the catalog does not have nobody claims, and its record stays. */
static mrmr_err settle_record(
    const struct settling *settling, const struct direct_record *record, bool *ret_free)
{
    struct meta_node nodes[SAME_INODE];
    size_t n = 0;
    MRMR_TRY(
        meta_node_by_ino(settling->pool->meta, record->drive, record->ino, nodes, SAME_INODE, &n));
    *ret_free = n > 0;
    for (size_t i = 0; i < n; i++) {
        bool is_free;
        MRMR_TRY(settle_node(settling, record, &nodes[i], &is_free));
        *ret_free = *ret_free && is_free;
    }
    return MRMR_OK;
}

/* A place that was left behind is written by nobody else while it is that. */
static mrmr_err record_drop(struct pool *pool, unsigned place)
{
    const struct direct_record none = {.state = DIRECT_NONE};
    mrmr_autoclose int fd = -1;
    MRMR_TRY(file_open(pool->dirfd, &fd));
    return record_write(fd, place, &none);
}

mrmr_err pool_direct_settle(struct pool *pool, pool_direct_fn fn, void *arg)
{
    struct settling settling = {.pool = pool, .fn = fn, .arg = arg};
    struct records records = {.bytes = MRMR_BYTES_INIT};
    /* In this order: what was held when it was read, and nobody holds then, is left behind. */
    mrmr_err err = records_read(pool->dirfd, &records);
    if (!err && records.n)
        err = pool_mounted_is(pool->dirfd, &settling.mounted);
    for (size_t i = 0; !err && i < records.n; i++) {
        const struct direct_record record = record_at(&records, i);
        bool is_free = false;
        if (record.state != DIRECT_NONE)
            err = settle_record(&settling, &record, &is_free);
        if (!err && is_free)
            err = record_drop(pool, (unsigned)i);
    }
    mrmr_bytes_free(&records.bytes);
    return err;
}

mrmr_err pool_direct_none_on(struct pool *pool, const struct pool_drive *drive)
{
    struct records records = {.bytes = MRMR_BYTES_INIT};
    mrmr_err err = records_read(pool->dirfd, &records);
    for (size_t i = 0; !err && i < records.n; i++) {
        const struct direct_record record = record_at(&records, i);
        if (record.state != DIRECT_NONE && record.drive == drive->meta.id)
            err = mrmr_err_hint(
                mrmr_fail(MRMR_BUSY,
                    "a file on drive '%s' is in use directly: open, or mapped, through the "
                    "mount's passthrough",
                    drive->meta.name),
                "close what was made there, then run the command again; where a mount has "
                "ended meanwhile, start the machine anew first");
    }
    mrmr_bytes_free(&records.bytes);
    return err;
}

static bool is_recorded(const struct records *records, const struct meta_node *node)
{
    for (size_t i = 0; i < records->n; i++) {
        const struct direct_record record = record_at(records, i);
        if (record.state != DIRECT_NONE && record.drive == node->drive && record.ino == node->ino)
            return true;
    }
    return false;
}

static mrmr_err claims_free(struct pool *pool, const struct records *records,
    const struct meta_stripe *next, int64_t *ret_node)
{
    int64_t last = 0;
    for (size_t i = 0; i < next->extents; i++) {
        struct meta_node node;
        if (next->extent[i].id || next->extent[i].node == last)
            continue;
        last = next->extent[i].node;
        MRMR_TRY(meta_node_get(pool->meta, last, &node));
        if (!is_recorded(records, &node))
            continue;
        *ret_node = last;
        is_in_use();
        return with_path(pool, last);
    }
    return MRMR_OK;
}

mrmr_err pool_direct_claims(struct pool *pool, const struct meta_stripe *next, int64_t *ret_node)
{
    struct records records = {.bytes = MRMR_BYTES_INIT};
    mrmr_err err = records_read(pool->dirfd, &records);
    if (!err && records.n)
        err = claims_free(pool, &records, next, ret_node);
    mrmr_bytes_free(&records.bytes);
    return err;
}

mrmr_err pool_direct_count(struct pool *pool, uint64_t *ret_n)
{
    struct records records = {.bytes = MRMR_BYTES_INIT};
    uint64_t n = 0;
    mrmr_err err = records_read(pool->dirfd, &records);
    for (size_t i = 0; i < records.n; i++)
        n += record_at(&records, i).state != DIRECT_NONE;
    mrmr_bytes_free(&records.bytes);
    if (!err)
        *ret_n = n;
    return err;
}
