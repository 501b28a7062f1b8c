/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/events/told.h"

#include <string.h>

enum { TOLD_LEAST = 64 };

static const int64_t a_day = 24 * 3600 * MRMR_NS_PER_S;

struct told_one {
    uint64_t key; /* 0: free */
    uint64_t drive;
    int64_t time; /* INT64_MIN: it is over */
};

struct pool_told {
    pthread_mutex_t loading; /* held while the catalog is read: taken before the lock */
    bool loaded;             /* guarded by it */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct told_one *one; /* a hash table, at most half full */
    size_t n, room;
};

/* Found anew by whoever looks, for as long as it is so. */
static const char *const standing[] = {"exposed-long", "lost", "stripe-waits", "stripe-left",
    "file-skipped", "drive-hangs", "drive-failed", "drive-trouble", "unreadable", "damage-found",
    "held", "hidden", "touched-all", "removal-waits", "saved-aside", "conflict", "repair-conflict",
    "repair-failed", "restore-failed", "not-renamed", "rebuild-unfinished", "catalog-copy"};
/* After these, of the same drive or of none, it is another time. */
static const char *const endings[] = {
    "drive-returned", "drive-attached", "damage-repaired", "hold-lifted", "rebuild-done"};

static bool is_among(const char *kind, const char *const kinds[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

#define IS_AMONG(kind, kinds) is_among(kind, kinds, sizeof(kinds) / sizeof *(kinds))

mrmr_err pool_told_create(struct pool *pool)
{
    pool->told = calloc(1, sizeof *pool->told);
    if (!pool->told)
        return mrmr_nomem();
    pthread_mutex_init(&pool->told->loading, NULL);
    pthread_mutex_init(&pool->told->lock, NULL);
    return MRMR_OK;
}

void pool_told_destroy(struct pool *pool)
{
    if (!pool->told)
        return;
    pthread_mutex_destroy(&pool->told->loading);
    pthread_mutex_destroy(&pool->told->lock);
    free(pool->told->one);
    free(pool->told);
    pool->told = NULL;
}

/* --- the table --- */

/* Never 0. */
static uint64_t key_of(const char *text, size_t size)
{
    const struct mrmr_digest digest = mrmr_digest_of(text, size);
    uint64_t key;
    memcpy(&key, digest.bytes, sizeof key);
    return key ? key : 1;
}

static uint64_t drive_key(const char *drive)
{
    return drive[0] ? key_of(drive, strlen(drive)) : 0;
}

/* 0: without memory. */
static uint64_t event_key(const char *kind, const char *drive, const char *text)
{
    mrmr_autobytes struct mrmr_bytes what = MRMR_BYTES_INIT;
    return mrmr_bytes_fmt(&what, "%s\n%s\n%s", kind, drive, text) ? 0
                                                                  : key_of(what.data, what.size);
}

/* Its place, or the free one where it goes. There is one. */
static struct told_one *place_of(struct told_one *table, size_t room, uint64_t key)
{
    size_t at = (size_t)key & (room - 1);
    while (table[at].key && table[at].key != key)
        at = (at + 1) & (room - 1);
    return &table[at];
}

static bool has_room_locked(struct pool_told *told)
{
    if (told->n < told->room / 2)
        return true;
    const size_t room = told->room ? 2 * told->room : TOLD_LEAST;
    struct told_one *grown = calloc(room, sizeof *grown);
    if (!grown)
        return false;
    for (size_t i = 0; i < told->room; i++)
        if (told->one[i].key)
            *place_of(grown, room, told->one[i].key) = told->one[i];
    free(told->one);
    told->one = grown;
    told->room = room;
    return true;
}

static void put_locked(struct pool_told *told, uint64_t key, uint64_t drive, int64_t time)
{
    if (!key || !has_room_locked(told))
        return;
    struct told_one *one = place_of(told->one, told->room, key);
    told->n += one->key == 0;
    *one = (struct told_one){key, drive, time};
}

static bool has_locked(const struct pool_told *told, uint64_t key, int64_t time)
{
    if (!key || !told->room)
        return false;
    const struct told_one *one = place_of(told->one, told->room, key);
    return one->key && one->time != INT64_MIN && one->time > time - a_day &&
           one->time < time + a_day;
}

static void end_locked(struct pool_told *told, uint64_t drive)
{
    for (size_t i = 0; i < told->room; i++)
        if (told->one[i].drive == drive || told->one[i].drive == 0)
            told->one[i].time = INT64_MIN;
}

/* --- the interface --- */

static void add(
    struct pool_told *told, int64_t time, const char *kind, const char *drive, const char *text)
{
    const bool ends = IS_AMONG(kind, endings);
    if (!ends && !IS_AMONG(kind, standing))
        return;
    const uint64_t of = drive_key(drive), key = ends ? 0 : event_key(kind, drive, text);
    mrmr_locked(&told->lock);
    if (ends)
        end_locked(told, of);
    else
        put_locked(told, key, of, time);
}

static mrmr_err load_one(const struct meta_event *event, void *told)
{
    add(told, event->time, event->kind, event->drive, event->text);
    return MRMR_OK;
}

static void load(struct pool *pool)
{
    struct pool_told *told = pool->told;
    struct mrmr_story kept;
    mrmr_locked(&told->loading);
    if (told->loaded)
        return;
    told->loaded = true;
    mrmr_story_save(&kept);
    if (meta_events(pool->meta, 0, 0, load_one, told))
        mrmr_log_story(MRMR_LOG_WARN, "which events were told already");
    mrmr_story_restore(&kept);
}

bool pool_told_knows(
    struct pool *pool, int64_t time, const char *kind, const char *drive, const char *text)
{
    if (!IS_AMONG(kind, standing))
        return false;
    load(pool);
    const uint64_t key = event_key(kind, drive, text);
    mrmr_locked(&pool->told->lock);
    return has_locked(pool->told, key, time);
}

void pool_told_add(
    struct pool *pool, int64_t time, const char *kind, const char *drive, const char *text)
{
    add(pool->told, time, kind, drive, text);
}
