/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The steps that have to do with a path: of it, or of a folder above it, found by hash.
 */
#include "pool/records/moved_now.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *path, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)path[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

void now_index_clear(const struct pool_moved_now *now, const struct now_index *index)
{
    for (size_t i = 0; i < now->buckets; i++)
        index->bucket[i] = NOW_NONE;
}

mrmr_err now_index_create(const struct pool_moved_now *now, struct now_index *index)
{
    index->side = calloc(2 * now->steps.n + 1, sizeof *index->side);
    index->bucket = calloc(now->buckets, sizeof *index->bucket);
    if (!index->side || !index->bucket)
        return mrmr_nomem();
    now_index_clear(now, index);
    return MRMR_OK;
}

void now_index_destroy(struct now_index *index)
{
    free(index->side);
    free(index->bucket);
}

void now_index_put(const struct pool_moved_now *now, const struct now_index *index, size_t at)
{
    const struct now_step *step = &now->step[at];
    for (unsigned side = 0; step->counts && side < 2 && step->path[side]; side++) {
        uint64_t hash = hash_of(step->path[side], step->size[side]);
        ptrdiff_t *bucket = &index->bucket[hash & (now->buckets - 1)];
        index->side[2 * at + side] = (struct now_side){at, side, *bucket};
        *bucket = (ptrdiff_t)(2 * at + side);
    }
}

/* The latest of those before `to` that was put in; with last false the earliest from `to` on. */
static void find_in(const struct pool_moved_now *now, const char *path, size_t size, size_t to,
    bool last, struct now_found *found, unsigned *work)
{
    const struct now_index *index = last ? &now->back : &now->forth;
    ptrdiff_t i = index->bucket[hash_of(path, size) & (now->buckets - 1)];
    for (; i != NOW_NONE && *work; i = index->side[i].next, --*work) {
        const struct now_side *side = &index->side[i];
        const struct now_step *step = &now->step[side->step];
        ptrdiff_t at = (ptrdiff_t)side->step;
        if (!step->counts || (last ? side->step >= to : side->step < to) ||
            step->size[side->side] != size || memcmp(step->path[side->side], path, size) != 0)
            continue;
        if (found->step == NOW_NONE || (last ? at > found->step : at < found->step))
            *found = (struct now_found){at, side->side};
        return;
    }
}

struct now_found now_find(
    const struct pool_moved_now *now, const char *path, size_t to, bool last, unsigned *work)
{
    struct now_found found = {.step = NOW_NONE};
    for (size_t size = 0; path[size] && *work;) {
        --*work;
        size += strcspn(path + size + 1, "/") + 1;
        find_in(now, path, size, to, last, &found, work);
    }
    return found;
}
