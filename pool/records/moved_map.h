/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The records of `moved` in memory, for those who read them there: moved_map.c (what the file says, kept
 * fresh), moved_ways.c (where a path may lead), moved_steps.c (all of a drive), moved_linked.c (names that were
 * made). Everybody else asks by moved.h.
 *
 * Invariant: entries are in the order of the file, and so is each bucket; entry.record and gone.record
 * count together. What was taken back stays, and is marked. What is returned is the map's, until its lock
 * is let go of, which is held over input of the file, too.
 */
#ifndef MRMR_POOL_MOVED_MAP_H
#define MRMR_POOL_MOVED_MAP_H

#include "pool/records/moved.h"

/* What was at `from` may be at `to`. */
struct moved_entry {
    int64_t drive;
    size_t from, to; /* in the map's text */
    size_t nfrom;
    uint64_t record; /* its number; an exchange is two entries */
    uint64_t inode[2];
    bool exchange, back; /* back: the second of the two */
    bool undone;         /* it is recorded that it was not made */
    bool lives;          /* a name went, and this is another one of what it led to */
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

/* A name that an inode of the catalog's was given. */
struct moved_linked {
    int64_t drive;
    uint64_t inode;
    size_t path;   /* in the map's text */
    size_t before; /* in its bucket, 1 and up, earlier in the file; 0: none */
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
    struct moved_linked *linked;
    size_t nlinked, linked_room;
    size_t *linked_bucket; /* the last one of each, 1 and up; linked_room of them, a power of two */
    struct moved_drive *drive;
    size_t ndrives;
    uint64_t records, stamp; /* records: also of those that were forgotten again */
    bool told;               /* that it cannot be read */
};

/* All with the lock held. */
/* What is in the file now is in the map; if that cannot be read, nothing is. */
mrmr_err moved_map_refresh_locked(struct pool *pool);
/* The first from `record` on that is of the path or of a folder above it; NULL: none. */
const struct moved_entry *moved_map_next(
    const struct pool_moved *map, int64_t drive, const char *path, uint64_t record);
/* NULL: it never had any. */
struct moved_drive *moved_map_drive(const struct pool_moved *map, int64_t id);
mrmr_err moved_linked_add(struct pool_moved *map, const struct moved_record *record);
void moved_linked_clear(struct pool_moved *map);

#endif
