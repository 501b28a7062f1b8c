/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that inodes of the catalog's were given since the last scan, by inode: they are asked for when a name goes.
 */
#include "pool/records/moved_map.h"

#include <string.h>

enum { LINKED_LEAST = 64 };

static size_t *bucket_of(const struct pool_moved *map, int64_t drive, uint64_t inode)
{
    const uint64_t hash = (inode ^ (uint64_t)drive << 48) * UINT64_C(0x9e3779b97f4a7c15);
    return &map->linked_bucket[(hash >> 32) & (map->linked_room - 1)];
}

static void enter(struct pool_moved *map, size_t i)
{
    size_t *bucket = bucket_of(map, map->linked[i].drive, map->linked[i].inode);
    map->linked[i].before = *bucket;
    *bucket = i + 1;
}

static mrmr_err grow(struct pool_moved *map)
{
    const size_t room = map->linked_room ? 2 * map->linked_room : LINKED_LEAST;
    struct moved_linked *linked = realloc(map->linked, room * sizeof *linked);
    if (!linked)
        return mrmr_nomem();
    map->linked = linked;
    size_t *bucket = calloc(room, sizeof *bucket);
    if (!bucket)
        return mrmr_nomem();
    free(map->linked_bucket);
    map->linked_bucket = bucket;
    map->linked_room = room;
    for (size_t i = 0; i < map->nlinked; i++)
        enter(map, i);
    return MRMR_OK;
}

mrmr_err moved_linked_add(struct pool_moved *map, const struct moved_record *record)
{
    if (map->nlinked == map->linked_room)
        MRMR_TRY(grow(map));
    map->linked[map->nlinked] = (struct moved_linked){
        .drive = record->drive, .inode = record->inode[0], .path = map->text.size};
    MRMR_TRY(mrmr_bytes_add(&map->text, record->from, strlen(record->from) + 1));
    enter(map, map->nlinked++);
    return MRMR_OK;
}

void moved_linked_clear(struct pool_moved *map)
{
    map->nlinked = 0;
    if (map->linked_bucket)
        memset(map->linked_bucket, 0, map->linked_room * sizeof *map->linked_bucket);
}

static mrmr_err linked_locked(
    const struct pool_moved *map, int64_t drive, uint64_t inode, struct mrmr_bytes *paths)
{
    size_t n = 0;
    size_t i = map->nlinked ? *bucket_of(map, drive, inode) : 0;
    for (; i && n < POOL_MOVED_MOST; i = map->linked[i - 1].before) {
        const struct moved_linked *linked = &map->linked[i - 1];
        const char *path = map->text.data + linked->path;
        if (linked->drive != drive || linked->inode != inode)
            continue;
        MRMR_TRY(mrmr_bytes_add(paths, path, strlen(path) + 1));
        n++;
    }
    return MRMR_OK;
}

mrmr_err pool_moved_linked(
    struct pool *pool, int64_t drive, uint64_t inode, struct mrmr_bytes *paths)
{
    if (!pool->moved)
        return MRMR_OK;
    mrmr_locked(&pool->moved->lock);
    MRMR_TRY(moved_map_refresh_locked(pool));
    return linked_locked(pool->moved, drive, inode, paths);
}
