/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The records in memory, by drive and path. What was read stays for as long as the file only grows; what
 * is new in it is added.
 */
#include "pool/records/moved_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { MAP_BUCKETS = 64 };

mrmr_err pool_moved_create(struct pool *pool)
{
    struct pool_moved *map = calloc(1, sizeof *map);
    if (!map)
        return mrmr_nomem();
    pthread_mutex_init(&map->lock, NULL);
    map->fd = -1;
    pool->moved = map;
    return MRMR_OK;
}

static void map_clear(struct pool_moved *map)
{
    if (map->fd >= 0)
        close(map->fd);
    map->fd = -1;
    map->seen = map->done = 0;
    map->n = map->ngone = 0;
    moved_linked_clear(map);
    for (size_t i = 0; i < map->ndrives; i++)
        map->drive[i].stamp = 0;
    mrmr_bytes_clear(&map->text);
    if (map->bucket)
        memset(map->bucket, 0, map->buckets * sizeof *map->bucket);
    map->stamp++;
}

void pool_moved_destroy(struct pool *pool)
{
    struct pool_moved *map = mrmr_steal(pool->moved);
    if (!map)
        return;
    map_clear(map);
    mrmr_bytes_free(&map->text);
    free(map->entry);
    free(map->bucket);
    free(map->gone);
    free(map->linked);
    free(map->linked_bucket);
    free(map->drive);
    pthread_mutex_destroy(&map->lock);
    free(map);
}

/* --- by drive and path --- */

/* FNV-1a, which goes on from a folder's hash to what is in it. */
static uint64_t hash_begin(int64_t drive)
{
    return UINT64_C(0xcbf29ce484222325) ^ (uint64_t)drive;
}

static uint64_t hash_add(uint64_t hash, const char *path, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)path[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static struct moved_bucket *map_bucket(const struct pool_moved *map, uint64_t hash)
{
    return &map->bucket[(hash ^ hash >> 32) & (map->buckets - 1)];
}

static void map_link(struct pool_moved *map, size_t i)
{
    struct moved_entry *entry = &map->entry[i];
    uint64_t hash = hash_begin(entry->drive);
    struct moved_bucket *bucket =
        map_bucket(map, hash_add(hash, map->text.data + entry->from, entry->nfrom));
    entry->next = 0;
    if (bucket->last)
        map->entry[bucket->last - 1].next = i + 1;
    else
        bucket->first = i + 1;
    bucket->last = i + 1;
}

static mrmr_err map_grow(struct pool_moved *map)
{
    size_t room = map->room ? 2 * map->room : MAP_BUCKETS;
    struct moved_entry *entry = realloc(map->entry, room * sizeof *entry);
    if (!entry)
        return mrmr_nomem();
    map->entry = entry;
    struct moved_bucket *bucket = calloc(room, sizeof *bucket);
    if (!bucket)
        return mrmr_nomem();
    free(map->bucket);
    map->bucket = bucket;
    map->buckets = map->room = room;
    for (size_t i = 0; i < map->n; i++)
        map_link(map, i);
    return MRMR_OK;
}

static mrmr_err map_add_entry(
    struct pool_moved *map, const struct moved_record *record, size_t from, size_t to, bool back)
{
    if (map->n == map->room)
        MRMR_TRY(map_grow(map));
    map->entry[map->n] = (struct moved_entry){.drive = record->drive,
        .from = from,
        .to = to,
        .nfrom = strlen(map->text.data + from),
        .record = map->records,
        .inode = {record->inode[0], record->inode[1]},
        .exchange = record->kind == POOL_MOVED_EXCHANGE,
        .lives = record->kind == POOL_MOVED_LIVES,
        .back = back};
    map_link(map, map->n++);
    return MRMR_OK;
}

static bool is_of(const struct pool_moved *map, const struct moved_entry *entry,
    const struct moved_record *record)
{
    return entry->drive == record->drive && entry->inode[0] == record->inode[0] &&
           entry->inode[1] == record->inode[1] &&
           strcmp(map->text.data + entry->from, record->from) == 0 &&
           strcmp(map->text.data + entry->to, record->to) == 0;
}

/* When it was born is not always known. */
static struct moved_gone *last_gone(const struct pool_moved *map, const struct moved_record *record)
{
    for (size_t i = map->ngone; i-- > 0;) {
        struct moved_gone *gone = &map->gone[i];
        if (gone->drive == record->drive && gone->inode[0] == record->inode[0] &&
            (!gone->inode[1] || !record->inode[1] || gone->inode[1] == record->inode[1]) &&
            strcmp(map->text.data + gone->path, record->from) == 0)
            return gone;
    }
    return NULL;
}

static struct moved_entry *last_lives(
    const struct pool_moved *map, const struct moved_record *record)
{
    for (size_t i = map->n; i-- > 0;) {
        struct moved_entry *entry = &map->entry[i];
        if (entry->lives && entry->drive == record->drive && entry->inode[0] == record->inode[0] &&
            strcmp(map->text.data + entry->from, record->from) == 0)
            return entry;
    }
    return NULL;
}

/* A name that went is there again: whatever was said of that last. */
static void map_undo_gone(struct pool_moved *map, const struct moved_record *record)
{
    struct moved_gone *gone = last_gone(map, record);
    struct moved_entry *lives = last_lives(map, record);
    if (lives && (!gone || lives->record > gone->record))
        lives->undone = true;
    else if (gone)
        gone->undone = true;
}

/* Mostly it is the last one: whoever renames takes it back at once. Both are dropped together, so that
 * it is there. To be told of it twice does not change it. */
static void map_undo(struct pool_moved *map, const struct moved_record *record)
{
    if (!*record->to) {
        map_undo_gone(map, record);
        return;
    }
    for (size_t i = map->n; i-- > 0;) {
        struct moved_entry *entry = &map->entry[i];
        if (entry->back || entry->lives || !is_of(map, entry, record))
            continue;
        entry->undone = true;
        if (entry->exchange)
            map->entry[i + 1].undone = true;
        return;
    }
}

struct moved_drive *moved_map_drive(const struct pool_moved *map, int64_t id)
{
    for (size_t i = 0; i < map->ndrives; i++)
        if (map->drive[i].id == id)
            return &map->drive[i];
    return NULL;
}

/* The drive's records are others than they were. */
static mrmr_err map_stamp(struct pool_moved *map, int64_t id)
{
    struct moved_drive *drive = moved_map_drive(map, id);
    if (!drive) {
        struct moved_drive *more = realloc(map->drive, (map->ndrives + 1) * sizeof *more);
        if (!more)
            return mrmr_nomem();
        map->drive = more;
        drive = &more[map->ndrives++];
    }
    *drive = (struct moved_drive){id, ++map->records};
    return MRMR_OK;
}

static mrmr_err map_add_gone(struct pool_moved *map, const struct moved_record *record)
{
    if (map->ngone == map->gone_room) {
        size_t room = map->gone_room ? 2 * map->gone_room : MAP_BUCKETS;
        struct moved_gone *more = realloc(map->gone, room * sizeof *more);
        if (!more)
            return mrmr_nomem();
        map->gone = more;
        map->gone_room = room;
    }
    map->gone[map->ngone++] = (struct moved_gone){.drive = record->drive,
        .path = map->text.size,
        .record = map->records,
        .inode = {record->inode[0], record->inode[1]},
        .kind = record->kind};
    return mrmr_bytes_add(&map->text, record->from, strlen(record->from) + 1);
}

static mrmr_err map_add(struct pool_moved *map, const struct moved_record *record)
{
    if (record->kind == POOL_MOVED_LINKED)
        return moved_linked_add(map, record);
    MRMR_TRY(map_stamp(map, record->drive));
    if (moved_is_gone(record->kind))
        return map_add_gone(map, record);
    if (record->kind == POOL_MOVED_UNDONE) {
        map_undo(map, record);
        return MRMR_OK;
    }
    size_t from = map->text.size;
    MRMR_TRY(mrmr_bytes_add(&map->text, record->from, strlen(record->from) + 1));
    size_t to = map->text.size;
    MRMR_TRY(mrmr_bytes_add(&map->text, record->to, strlen(record->to) + 1));
    MRMR_TRY(map_add_entry(map, record, from, to, false));
    if (record->kind == POOL_MOVED_EXCHANGE)
        MRMR_TRY(map_add_entry(map, record, to, from, true));
    return MRMR_OK;
}

/* The entry of just this path, which has this hash, whose record is the first from `record` on. */
static const struct moved_entry *map_find(const struct pool_moved *map, uint64_t hash,
    int64_t drive, const char *path, size_t size, uint64_t record)
{
    size_t i = map->n ? map_bucket(map, hash)->first : 0;
    while (i) {
        const struct moved_entry *entry = &map->entry[i - 1];
        if (entry->record >= record && entry->drive == drive && entry->nfrom == size &&
            memcmp(map->text.data + entry->from, path, size) == 0)
            return entry;
        i = entry->next;
    }
    return NULL;
}

/* The first from `record` on that is of the path or of a folder above it. */
const struct moved_entry *moved_map_next(
    const struct pool_moved *map, int64_t drive, const char *path, uint64_t record)
{
    const struct moved_entry *first = NULL;
    uint64_t hash = hash_begin(drive);
    for (size_t i = 0; path[i];) {
        size_t n = strcspn(path + i + 1, "/") + 1; /* with the '/' before it */
        hash = hash_add(hash, path + i, n);
        i += n;
        const struct moved_entry *entry = map_find(map, hash, drive, path, i, record);
        if (entry && (!first || entry->record < first->record))
            first = entry;
    }
    return first;
}

/* --- the file --- */

static mrmr_err map_read(struct pool_moved *map)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    struct moved_record record;
    size_t at = 0, behind = 0, waste = MOVED_WASTE;
    MRMR_TRY(moved_read(map->fd, map->done, &bytes));
    while (moved_next(&bytes, &at, &waste, &record)) {
        MRMR_TRY(map_add(map, &record));
        behind = at;
    }
    if (!waste)
        mrmr_log(MRMR_LOG_WARN, "much of the pool's list of renames is damaged, and left out");
    map->seen = map->done + bytes.size;
    /* What is left may be a record that is just being added. What can be none is not read again. */
    map->done = waste ? map->done + behind : map->seen;
    map->stamp++;
    return MRMR_OK;
}

static mrmr_err map_open(struct pool *pool)
{
    struct pool_moved *map = pool->moved;
    map->fd = openat(pool->dirfd, MOVED_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (map->fd < 0 && errno != ENOENT)
        return mrmr_fail_errno(errno, "open", MOVED_NAME);
    return MRMR_OK;
}

/* It is the file that is open, and did not grow. *ret_same: it is that file. */
static bool map_is_fresh(const struct pool *pool, bool *ret_same)
{
    const struct pool_moved *map = pool->moved;
    struct stat now, ours;
    bool there = fstatat(pool->dirfd, MOVED_NAME, &now, AT_SYMLINK_NOFOLLOW) == 0;
    *ret_same = there && map->fd >= 0 && fstat(map->fd, &ours) == 0 && now.st_dev == ours.st_dev &&
                now.st_ino == ours.st_ino && (uint64_t)now.st_size >= map->seen;
    if (!there)
        return errno == ENOENT && map->fd < 0;
    return *ret_same && (uint64_t)now.st_size == map->seen;
}

mrmr_err moved_map_refresh_locked(struct pool *pool)
{
    struct pool_moved *map = pool->moved;
    bool same;
    if (map_is_fresh(pool, &same))
        return MRMR_OK;
    mrmr_err err = MRMR_OK;
    if (!same) {
        map_clear(map);
        err = map_open(pool);
    }
    if (!err && map->fd >= 0)
        err = map_read(map);
    if (err)
        map_clear(map);
    return err;
}

bool pool_moved_any(struct pool *pool)
{
    if (!pool->moved)
        return false;
    mrmr_locked(&pool->moved->lock);
    bool told = pool->moved->told;
    pool->moved->told = moved_map_refresh_locked(pool) != MRMR_OK;
    if (pool->moved->told && !told)
        mrmr_log_story(MRMR_LOG_WARN, "the list of what was renamed since the last sync");
    return pool->moved->n > 0;
}
