/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A folder's names, found by name and listed in the order of a hash of the name.
 *
 * A name's place is the hash's first 56 bits and 6 more that tell apart names with the same 56: the
 * first free value, given when the name is added and kept. Place 0 is no name's.
 */
#include "pool/tree/tree.h"

#include <string.h>

enum { MAP_HASH_BITS = 56, MAP_TIE_BITS = 6, MAP_FIRST = 16 };

static uint64_t name_hash(const char *name)
{
    struct mrmr_digest digest = mrmr_digest_of(name, strlen(name));
    uint64_t hash;
    memcpy(&hash, digest.bytes, sizeof hash);
    return hash >> (64 - MAP_HASH_BITS);
}

static size_t bucket_of(const struct tree_map *map, uint64_t hash)
{
    return map->bits ? hash >> (MAP_HASH_BITS - map->bits) : 0;
}

static uint64_t hash_of_place(uint64_t place)
{
    return place < MAP_FIRST ? 0 : (place - MAP_FIRST) >> MAP_TIE_BITS;
}

void tree_map_free(struct tree_map *map)
{
    size_t buckets = map->bucket ? (size_t)1 << map->bits : 0;
    for (size_t i = 0; i < buckets; i++)
        for (struct tree_name *at = map->bucket[i], *next; at; at = next) {
            next = at->next;
            free(at);
        }
    free(map->bucket);
    *map = (struct tree_map){.bucket = NULL};
}

/* Four times the buckets, each split in order; as it was if there is no memory. */
static void map_grow(struct tree_map *map)
{
    struct tree_map more = {.bits = map->bits + 2, .n = map->n};
    more.bucket = calloc((size_t)1 << more.bits, sizeof *more.bucket);
    if (!more.bucket)
        return;
    struct tree_name **end = NULL;
    size_t last = SIZE_MAX;
    for (size_t i = 0; i < (size_t)1 << map->bits; i++) {
        for (struct tree_name *at = map->bucket[i], *next; at; at = next) {
            size_t bucket = bucket_of(&more, hash_of_place(at->place));
            next = at->next;
            if (bucket != last)
                end = &more.bucket[bucket];
            last = bucket;
            *end = at;
            at->next = NULL;
            end = &at->next;
        }
    }
    free(map->bucket);
    *map = more;
}

struct tree_name *tree_map_find(const struct tree_map *map, const char *name)
{
    if (!map->bucket)
        return NULL;
    struct tree_name *at = map->bucket[bucket_of(map, name_hash(name))];
    while (at && strcmp(at->name, name) != 0)
        at = at->next;
    return at;
}

struct tree_name *tree_map_add(struct tree_map *map, const char *name)
{
    struct tree_name *found = tree_map_find(map, name);
    if (found)
        return found;
    if (!map->bucket && !(map->bucket = calloc(1, sizeof *map->bucket)))
        return NULL;
    if (map->n >= (size_t)2 << map->bits)
        map_grow(map);
    size_t size = strlen(name) + 1;
    struct tree_name *made = calloc(1, sizeof *made + size);
    if (!made)
        return NULL;
    memcpy(made->name, name, size);
    uint64_t hash = name_hash(name);
    made->place = (hash << MAP_TIE_BITS) + MAP_FIRST;
    struct tree_name **at = &map->bucket[bucket_of(map, hash)];
    for (; *at && (*at)->place <= made->place; at = &(*at)->next)
        made->place += (*at)->place == made->place;
    made->next = *at;
    *at = made;
    map->n++;
    return made;
}

void tree_map_remove(struct tree_map *map, const char *name)
{
    if (!map->bucket)
        return;
    struct tree_name **at = &map->bucket[bucket_of(map, name_hash(name))];
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    struct tree_name *found = *at;
    if (!found)
        return;
    *at = found->next;
    free(found);
    map->n--;
}

struct tree_name *tree_map_at(const struct tree_map *map, uint64_t place)
{
    uint64_t hash = hash_of_place(place);
    if (!map->bucket || hash >> MAP_HASH_BITS)
        return NULL;
    for (size_t i = bucket_of(map, hash); i < (size_t)1 << map->bits; i++)
        for (struct tree_name *at = map->bucket[i]; at; at = at->next)
            if (at->place >= place)
                return at;
    return NULL;
}
