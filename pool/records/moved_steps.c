/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * All records of a drive, in order, for who reads them backwards (moved_now.c), makes them (rebuild), or
 * asks whether there are others by now.
 */
#include "pool/records/moved_map.h"

#include <string.h>

static uint64_t stamp_of(const struct pool_moved *map, int64_t id)
{
    const struct moved_drive *drive = moved_map_drive(map, id);
    return drive ? drive->stamp : 0;
}

mrmr_err pool_moved_stamp(struct pool *pool, int64_t drive, uint64_t *ret_stamp, bool *ret_any)
{
    struct pool_moved *map = pool->moved;
    *ret_any = false;
    if (!map)
        return MRMR_OK;
    mrmr_locked(&map->lock);
    MRMR_TRY(moved_map_refresh_locked(pool));
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
        err = moved_map_refresh_locked(pool);
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
