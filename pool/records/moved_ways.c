/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a path may lead through the records.
 *
 * It is led through them in order: the next one that is of it, or of a folder above it, is
 * taken as done, and the way without it is put aside. The end of the first way is where the file is
 * if every rename was made; then come those without the latest one, and so on: a record whose rename
 * failed, and records that are older than what the catalog knows, are on some of these ways. One that
 * was taken back is taken for not done first, and the way with it is put aside. How many steps are
 * taken is bounded, and so is how many ends are looked at. Names that went are no part of that. By which other name what
 * one led to lives on is, but for who counts on what it finds; if that was taken back, for nobody.
 */
#include "pool/records/moved_map.h"

#include <string.h>

enum {
    WAYS_FIRST = 16384, /* steps of the first way, */
    WAYS_STEPS = 256,   /* and of all others together */
    WAYS_ASIDE = 256,   /* ways that are put aside */
    WAYS_LENGTH = 16 << 20,
};

struct way {
    char *path;
    uint64_t record; /* those from here on are still to be looked at */
};

struct search {
    const struct pool_moved *map;
    int64_t drive;
    const char *path;
    bool sure;       /* without names that may not last */
    struct way *way; /* WAYS_ASIDE; the last one goes on first */
    size_t n;
    bool ended;    /* one way has */
    size_t length; /* of all paths that were looked at, together */
    struct pool_moved_paths *ends;
};

/* Takes the path. Where there is no more room the oldest one is forgotten. */
static void search_push(struct search *search, char *path, uint64_t record)
{
    if (search->n == WAYS_ASIDE) {
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
    const struct moved_entry *entry =
        moved_map_next(search->map, search->drive, way.path, way.record);
    char *led = NULL;
    const bool leads = entry && !(entry->lives && (search->sure || entry->undone));
    mrmr_err err = leads ? search_lead(search, entry, way.path, &led) : MRMR_OK;
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
    return !err && search->n && search->length < WAYS_LENGTH;
}

static mrmr_err search_run(struct search *search)
{
    char *path = strdup(search->path);
    if (!path)
        return mrmr_nomem();
    search_push(search, path, 0);
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; search_goes_on(search, err) && !search->ended && i < WAYS_FIRST; i++)
        err = search_step(search);
    for (unsigned i = 0; search_goes_on(search, err) && i < WAYS_STEPS; i++)
        err = search_step(search);
    while (search->n)
        free(search->way[--search->n].path);
    return err;
}

/* Most paths are in no record. */
static mrmr_err paths_locked(struct pool_moved *map, int64_t drive, const char *path, bool sure,
    struct pool_moved_paths *ends)
{
    ends->stamp = map->stamp;
    if (!*path || !moved_map_next(map, drive, path, 0))
        return MRMR_OK;
    mrmr_autofree struct way *way = calloc(WAYS_ASIDE, sizeof *way);
    struct search search = {
        .map = map, .drive = drive, .path = path, .sure = sure, .way = way, .ends = ends};
    return way ? search_run(&search) : mrmr_nomem();
}

static mrmr_err paths_find(struct pool *pool, int64_t drive, const char *path, bool sure,
    struct pool_moved_paths *ret_paths)
{
    struct pool_moved_paths ends = {.n = 0};
    mrmr_err err = MRMR_OK;
    if (pool->moved) {
        mrmr_locked(&pool->moved->lock);
        err = moved_map_refresh_locked(pool);
        if (!err)
            err = paths_locked(pool->moved, drive, path, sure, &ends);
    }
    if (err)
        pool_moved_paths_free(&ends);
    else
        *ret_paths = ends;
    return err;
}

mrmr_err pool_moved_paths(
    struct pool *pool, int64_t drive, const char *path, struct pool_moved_paths *ret_paths)
{
    return paths_find(pool, drive, path, false, ret_paths);
}

mrmr_err pool_moved_paths_sure(
    struct pool *pool, int64_t drive, const char *path, struct pool_moved_paths *ret_paths)
{
    return paths_find(pool, drive, path, true, ret_paths);
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
    MRMR_TRY(moved_map_refresh_locked(pool));
    for (size_t i = 0; i < map->n && !*ret_concerns; i++)
        *ret_concerns = map->entry[i].drive == drive &&
                        (!*path || path_overlaps(map->text.data + map->entry[i].from, path) ||
                            path_overlaps(map->text.data + map->entry[i].to, path));
    return MRMR_OK;
}
