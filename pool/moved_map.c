/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The records in memory, and where a path may lead through them. What was read stays for as long as
 * the file only grows; what is new in it is added.
 *
 * A path is led through the records in order: the next one that is of it, or of a folder above it, is
 * taken as done, and the way without it is put aside. The end of the first way is where the file is
 * if every rename was made; then come those without the latest one, and so on: a record whose rename
 * failed, and records that are older than what the catalog knows, are on some of these ways. One that
 * was taken back is taken for not done first, and the way with it is put aside. How many steps are
 * taken is bounded, and so is how many ends are looked at. Names that went are no part of that.
 */
#include "pool/moved.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MAP_FIRST = 16384, /* steps of the first way, */
    MAP_STEPS = 256,   /* and of all others together */
    MAP_ASIDE = 256,   /* ways that are put aside */
    MAP_LENGTH = 16 << 20,
    MAP_BUCKETS = 64
};

/* What was at `from` may be at `to`. */
struct moved_entry {
    int64_t drive;
    size_t from, to; /* in the map's text */
    size_t nfrom;
    uint64_t record; /* its number; an exchange is two entries */
    uint64_t inode[2];
    bool exchange, back; /* back: the second of the two */
    bool undone;         /* it is recorded that it was not made */
    size_t next;         /* in its bucket, 1 and up, later in the file; 0: none */
};

/* A name that went. */
struct moved_gone {
    int64_t drive;
    size_t path; /* in the map's text */
    uint64_t record;
    uint64_t inode[2]; /* with the time of birth */
    enum pool_moved_kind kind;
    bool undone; /* it has the name again */
};

/* The drives that have records. */
struct moved_drive {
    int64_t id;
    uint64_t stamp; /* of the last one of its records; 0: it has none now */
};

struct moved_bucket {
    size_t first, last; /* 1 and up; 0: none */
};

struct pool_moved {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    int fd; /* open for as long as what was read of it counts, so that its number is no other's */
    uint64_t seen, done; /* bytes: its size when it was looked at; what need not be read again */
    struct mrmr_bytes text;
    struct moved_entry *entry;
    size_t n, room;
    struct moved_bucket *bucket;
    size_t buckets; /* a power of two, or 0 */
    struct moved_gone *gone;
    size_t ngone, gone_room;
    struct moved_drive *drive;
    size_t ndrives;
    uint64_t records, stamp; /* records: also of those that were forgotten again */
    bool told;               /* that it cannot be read */
};

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

static void map_undo_gone(struct pool_moved *map, const struct moved_record *record)
{
    for (size_t i = map->ngone; i-- > 0;) {
        struct moved_gone *gone = &map->gone[i];
        if (gone->drive != record->drive || gone->inode[0] != record->inode[0] ||
            gone->inode[1] != record->inode[1] ||
            strcmp(map->text.data + gone->path, record->from) != 0)
            continue;
        gone->undone = true;
        return;
    }
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
        if (entry->back || !is_of(map, entry, record))
            continue;
        entry->undone = true;
        if (entry->exchange)
            map->entry[i + 1].undone = true;
        return;
    }
}

static struct moved_drive *map_drive(const struct pool_moved *map, int64_t id)
{
    for (size_t i = 0; i < map->ndrives; i++)
        if (map->drive[i].id == id)
            return &map->drive[i];
    return NULL;
}

/* The drive's records are others than they were. */
static mrmr_err map_stamp(struct pool_moved *map, int64_t id)
{
    struct moved_drive *drive = map_drive(map, id);
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
static const struct moved_entry *map_next(
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

static mrmr_err map_refresh_locked(struct pool *pool)
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
    pool->moved->told = map_refresh_locked(pool) != MRMR_OK;
    if (pool->moved->told && !told)
        mrmr_log_story(MRMR_LOG_WARN, "the list of what was renamed since the last sync");
    return pool->moved->n > 0;
}

/* --- ways --- */

struct way {
    char *path;
    uint64_t record; /* those from here on are still to be looked at */
};

struct search {
    const struct pool_moved *map;
    int64_t drive;
    const char *path;
    struct way *way; /* MAP_ASIDE; the last one goes on first */
    size_t n;
    bool ended;    /* one way has */
    size_t length; /* of all paths that were looked at, together */
    struct pool_moved_paths *ends;
};

/* Takes the path. Where there is no more room the oldest one is forgotten. */
static void search_push(struct search *search, char *path, uint64_t record)
{
    if (search->n == MAP_ASIDE) {
        free(search->way[0].path);
        memmove(search->way, search->way + 1, --search->n * sizeof *search->way);
    }
    search->way[search->n++] = (struct way){path, record};
}

/* Takes the path. */
static void search_end(struct search *search, char *path)
{
    struct pool_moved_paths *ends = search->ends;
    search->ended = true;
    bool known = strcmp(path, search->path) == 0;
    for (size_t i = 0; i < ends->n; i++)
        known = known || strcmp(path, ends->path[i]) == 0;
    if (known || ends->n == POOL_MOVED_MOST)
        free(path);
    else
        ends->path[ends->n++] = path;
}

/* The path with what the entry says; *ret_path NULL: there is no such path. */
static mrmr_err search_lead(
    const struct search *search, const struct moved_entry *entry, const char *path, char **ret_path)
{
    const char *to = search->map->text.data + entry->to, *rest = path + entry->nfrom;
    size_t nto = strlen(to), nrest = strlen(rest);
    *ret_path = NULL;
    if (nto + nrest > POOL_MOVED_PATH_MOST)
        return MRMR_OK;
    char *led = malloc(nto + nrest + 1);
    if (!led)
        return mrmr_nomem();
    memcpy(led, to, nto);
    memcpy(led + nto, rest, nrest + 1);
    *ret_path = led;
    return MRMR_OK;
}

static mrmr_err search_step(struct search *search)
{
    struct way way = search->way[--search->n];
    search->length += strlen(way.path);
    const struct moved_entry *entry = map_next(search->map, search->drive, way.path, way.record);
    char *led = NULL;
    mrmr_err err = entry ? search_lead(search, entry, way.path, &led) : MRMR_OK;
    if (err) {
        free(way.path);
        return err;
    }
    if (!entry) {
        search_end(search, way.path);
        return MRMR_OK;
    }
    if (led && entry->undone)
        search_push(search, led, entry->record + 1);
    search_push(search, way.path, entry->record + 1);
    if (led && !entry->undone)
        search_push(search, led, entry->record + 1);
    return MRMR_OK;
}

static bool search_goes_on(const struct search *search, mrmr_err err)
{
    return !err && search->n && search->length < MAP_LENGTH;
}

static mrmr_err search_run(struct search *search)
{
    char *path = strdup(search->path);
    if (!path)
        return mrmr_nomem();
    search_push(search, path, 0);
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; search_goes_on(search, err) && !search->ended && i < MAP_FIRST; i++)
        err = search_step(search);
    for (unsigned i = 0; search_goes_on(search, err) && i < MAP_STEPS; i++)
        err = search_step(search);
    while (search->n)
        free(search->way[--search->n].path);
    return err;
}

/* Most paths are in no record. */
static mrmr_err paths_locked(
    struct pool_moved *map, int64_t drive, const char *path, struct pool_moved_paths *ends)
{
    ends->stamp = map->stamp;
    if (!*path || !map_next(map, drive, path, 0))
        return MRMR_OK;
    mrmr_autofree struct way *way = calloc(MAP_ASIDE, sizeof *way);
    struct search search = {.map = map, .drive = drive, .path = path, .way = way, .ends = ends};
    return way ? search_run(&search) : mrmr_nomem();
}

mrmr_err pool_moved_paths(
    struct pool *pool, int64_t drive, const char *path, struct pool_moved_paths *ret_paths)
{
    struct pool_moved_paths ends = {.n = 0};
    mrmr_err err = MRMR_OK;
    if (pool->moved) {
        mrmr_locked(&pool->moved->lock);
        err = map_refresh_locked(pool);
        if (!err)
            err = paths_locked(pool->moved, drive, path, &ends);
    }
    if (err)
        pool_moved_paths_free(&ends);
    else
        *ret_paths = ends;
    return err;
}

void pool_moved_paths_free(struct pool_moved_paths *paths)
{
    while (paths->n)
        free(paths->path[--paths->n]);
}

/* One is the other, or a folder above it. */
static bool path_overlaps(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (!*a && (!*b || *b == '/')) || (!*b && *a == '/');
}

mrmr_err pool_moved_concerns(struct pool *pool, int64_t drive, const char *path, bool *ret_concerns)
{
    struct pool_moved *map = pool->moved;
    *ret_concerns = false;
    if (!map)
        return MRMR_OK;
    mrmr_locked(&map->lock);
    MRMR_TRY(map_refresh_locked(pool));
    for (size_t i = 0; i < map->n && !*ret_concerns; i++)
        *ret_concerns = map->entry[i].drive == drive &&
                        (!*path || path_overlaps(map->text.data + map->entry[i].from, path) ||
                            path_overlaps(map->text.data + map->entry[i].to, path));
    return MRMR_OK;
}

/* --- all of a drive --- */

static uint64_t stamp_of(const struct pool_moved *map, int64_t id)
{
    const struct moved_drive *drive = map_drive(map, id);
    return drive ? drive->stamp : 0;
}

mrmr_err pool_moved_stamp(struct pool *pool, int64_t drive, uint64_t *ret_stamp, bool *ret_any)
{
    struct pool_moved *map = pool->moved;
    *ret_any = false;
    if (!map)
        return MRMR_OK;
    mrmr_locked(&map->lock);
    MRMR_TRY(map_refresh_locked(pool));
    *ret_stamp = stamp_of(map, drive);
    *ret_any = *ret_stamp != 0;
    return MRMR_OK;
}

static mrmr_err steps_add_gone(
    struct pool_moved_steps *steps, const struct pool_moved *map, const struct moved_gone *gone)
{
    struct pool_moved_step step = {.kind = gone->kind,
        .from = strdup(map->text.data + gone->path),
        .inode = {gone->inode[0], gone->inode[1]}};
    steps->step[steps->n++] = step;
    return step.from ? MRMR_OK : mrmr_nomem();
}

static mrmr_err steps_add(
    struct pool_moved_steps *steps, const struct pool_moved *map, const struct moved_entry *entry)
{
    struct pool_moved_step step = {
        .kind = entry->exchange ? POOL_MOVED_EXCHANGE : POOL_MOVED_RENAME,
        .from = strdup(map->text.data + entry->from),
        .to = strdup(map->text.data + entry->to),
        .inode = {entry->inode[0], entry->inode[1]}};
    steps->step[steps->n++] = step;
    return step.from && step.to ? MRMR_OK : mrmr_nomem();
}

static bool is_step(const struct moved_entry *entry, int64_t drive)
{
    return entry->drive == drive && !entry->back && !entry->undone;
}

static mrmr_err steps_locked(
    const struct pool_moved *map, int64_t drive, struct pool_moved_steps *steps)
{
    size_t n = 0, g = 0;
    for (size_t i = 0; i < map->n; i++)
        n += is_step(&map->entry[i], drive);
    for (size_t i = 0; i < map->ngone; i++)
        n += map->gone[i].drive == drive && !map->gone[i].undone;
    steps->stamp = stamp_of(map, drive);
    steps->step = calloc(n + 1, sizeof *steps->step);
    mrmr_err err = steps->step ? MRMR_OK : mrmr_nomem();
    for (size_t i = 0; !err && i <= map->n; i++) {
        for (;
             !err && g < map->ngone && (i == map->n || map->gone[g].record < map->entry[i].record);
             g++)
            if (map->gone[g].drive == drive && !map->gone[g].undone)
                err = steps_add_gone(steps, map, &map->gone[g]);
        if (!err && i < map->n && is_step(&map->entry[i], drive))
            err = steps_add(steps, map, &map->entry[i]);
    }
    return err;
}

mrmr_err pool_moved_steps(struct pool *pool, int64_t drive, struct pool_moved_steps *ret_steps)
{
    struct pool_moved_steps steps = {.n = 0};
    mrmr_err err = MRMR_OK;
    if (pool->moved) {
        mrmr_locked(&pool->moved->lock);
        err = map_refresh_locked(pool);
        if (!err)
            err = steps_locked(pool->moved, drive, &steps);
    }
    if (err)
        pool_moved_steps_free(&steps);
    else
        *ret_steps = steps;
    return err;
}

void pool_moved_steps_free(struct pool_moved_steps *steps)
{
    for (size_t i = 0; i < steps->n; i++) {
        free(steps->step[i].from);
        free(steps->step[i].to);
    }
    free(steps->step);
    *steps = (struct pool_moved_steps){.n = 0};
}
