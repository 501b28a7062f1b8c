/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A folder's names (tree_map.c): on which drives each lies, and what it shows. What makes them and keeps
 * them true is tree_load.h's and tree_watch.h's.
 *
 * Ownership: of the map; a name is good until it is removed, or the map is freed. Threads: who has the map
 * locks it; for the map of a node that is the tree's lock.
 */
#ifndef MRMR_POOL_TREE_MAP_H
#define MRMR_POOL_TREE_MAP_H

#include "pool/tree/tree_drives.h"

/* What one name shows. */
struct tree_name {
    struct tree_name *next;
    uint64_t place;     /* in the list: from the hash of the name; places are distinct */
    uint64_t number;    /* of its node; 0: not known */
    int64_t mtime;      /* of a file: of the copy that shows */
    struct tree_set on; /* a folder's drives; of anything else the one that shows */
    enum pool_kind kind;
    bool several;      /* there are copies that do not show */
    bool unsure;       /* look at the drives before this is believed */
    bool own;          /* because of a change of ours, whose end is not known */
    uint16_t doubt;    /* the drive that has to be looked at, counted from 1, or TREE_DOUBT_ALL */
    uint32_t events;   /* another one with each event about it; 0: there was none */
    int64_t own_until; /* monotonic: events are of our own doing */
    char name[];
};

struct tree_map {
    struct tree_name **bucket; /* by the first `bits` of the place, so buckets are in its order */
    unsigned bits;
    size_t n;
};

enum { TREE_DOUBT_NONE, TREE_DOUBT_ALL = UINT16_MAX };
/* It is not what it was, on this drive. */
static inline void tree_name_doubt(struct tree_name *name, size_t drive)
{
    bool same = name->doubt == TREE_DOUBT_NONE || name->doubt == drive + 1;
    name->unsure = true;
    name->doubt = same ? (uint16_t)(drive + 1) : TREE_DOUBT_ALL;
}
static inline void tree_name_doubt_all(struct tree_name *name)
{
    name->unsure = true;
    name->doubt = TREE_DOUBT_ALL;
}

void tree_map_free(struct tree_map *map); /* the memory; reusable afterwards */
struct tree_name *tree_map_find(const struct tree_map *map, const char *name);
/* A new one, or the one that is there. NULL without memory. */
struct tree_name *tree_map_add(struct tree_map *map, const char *name);
void tree_map_remove(struct tree_map *map, const char *name);
/* The first name at or after the place; NULL at the end. */
struct tree_name *tree_map_at(const struct tree_map *map, uint64_t place);

#endif
