/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The drives of the live tree: sets of them by their place, what the tree has of each, and how they go and
 * come (tree_drives.c).
 *
 * A drive's place does not change. Locks: the tree's, where it says so; the rest stays as it was made, or
 * is the monitor's.
 */
#ifndef MRMR_POOL_TREE_DRIVES_H
#define MRMR_POOL_TREE_DRIVES_H

#include "pool/engine.h"
#include "pool/tree/tree_kept.h"
#include <semaphore.h>

struct pool_tree;

/* --- sets --- */

enum { TREE_DRIVES_MAX = 256 };

/* Drives, by their place in pool->drives. */
struct tree_set {
    uint64_t word[TREE_DRIVES_MAX / 64];
};
static inline void tree_set_add(struct tree_set *set, size_t i)
{
    set->word[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline void tree_set_remove(struct tree_set *set, size_t i)
{
    set->word[i / 64] &= ~(UINT64_C(1) << (i % 64));
}
static inline bool tree_set_has(const struct tree_set *set, size_t i)
{
    return set->word[i / 64] >> (i % 64) & 1;
}
static inline size_t tree_set_first(const struct tree_set *set) /* it is not empty */
{
    size_t i = 0;
    while (i < TREE_DRIVES_MAX - 1 && !tree_set_has(set, i))
        i++;
    return i;
}
static inline bool tree_set_equal(const struct tree_set *a, const struct tree_set *b)
{
    return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
           a->word[3] == b->word[3];
}
static inline bool tree_set_meet(const struct tree_set *a, const struct tree_set *b)
{
    return a->word[0] & b->word[0] || a->word[1] & b->word[1] || a->word[2] & b->word[2] ||
           a->word[3] & b->word[3];
}

/* --- a drive --- */

/* Threads that keep leaves of files on one drive at a time, each with 1 MiB, or 4 of many that follow each other: twice as many
 * as the guard has syncing. */
enum { TREE_SAVERS = 8 };

struct tree_probe;

struct tree_drive {
    struct pool_tree *tree;
    struct pool_drive *_Atomic drive; /* another one takes its place: tree_members.c */
    _Atomic uint64_t dev;    /* of its root, while it is live; for what is mounted below it */
    struct drv_watch *watch; /* NULL: none. Changed by the monitor only, under the lock */
    unsigned watch_users;    /* guarded by lock */
    atomic_bool silent;      /* no events can be had of it, ever: set remote-ttl */
    atomic_bool tells_who;   /* its events say whether we did it */
    bool changed;            /* it went or came, or events of it were lost; guarded by lock */
    bool suspect;            /* it gave an error: is it still there? guarded by lock */
    bool forgot;   /* that something was owed on it, by a node that is no more; guarded by lock */
    uint64_t loss; /* the loss of that; guarded by lock */
    struct tree_probe *probe; /* the monitor's */
    bool asked, detached;     /* the monitor's: tree_detach.h */
    bool went;                /* it was detached, and gone since; likewise */
    atomic_bool fails;        /* it was cut off for its errors, which is not noted yet */
    bool failing;             /* the monitor's: tree_failing.c */
    struct mrmr_uuid mark;    /* of both: detached.h; the monitor's */
    struct tree_coming
        *coming;      /* the monitor's: it serves, and is coming back in a thread of its own */
    atomic_uint cuts; /* so far */
    atomic_bool left; /* it is out of the catalog, and has nothing any more */

    pthread_mutex_t known_lock;
    struct pool_names *known; /* guarded by known_lock; tree_catalog.c's */
    int64_t
        known_at; /* likewise: when the drive had been looked through last, as far as is known */

    atomic_bool
        gone_left; /* it is live, and something that was removed could not be taken from it */
    atomic_bool returning; /* it serves, and what was asked of it meanwhile is done first */
    _Atomic int64_t again_at,
        again_after;         /* monotonic, ns: when that is tried again, or what is left */
    bool told_waits;         /* that it cannot be done now; likewise */
    pthread_mutex_t placing; /* over making a folder on it, I/O included */
    pthread_mutex_t
        keeping;  /* over making something retained on it, I/O included; names alone of leaves */
    sem_t savers; /* threads that may keep leaves of files on it yet */
    pthread_mutex_t alone; /* who takes all of them */
    struct tree_kept kept; /* tree_kept.c's */
    struct tree_room {     /* guarded by lock */
        uint64_t used;     /* bytes, when it was last looked */
        uint64_t avail;    /* bytes that originals may take */
        uint64_t since;    /* of used: written since the last scan */
        int64_t scanned;   /* when that scan ended; 0: never */
        bool known;
    } room;
    _Atomic uint64_t placed;     /* bytes written since it was last looked */
    _Atomic uint64_t kept_bytes; /* bytes, since a release was asked for last (tree_room.h) */
};

/* Its files are seen as they are now. */
bool tree_live(const struct tree_drive *drive);
/* Nobody answered, or the medium failed: ask the catalog. The monitor looks after the drive then. */
bool tree_silent(struct tree_drive *drive, mrmr_err err);

/* --- tree_failing.c: drives that answer errors again and again (failing.h). The monitor's --- */

/* What is to be noted is, and what is known by now holds. */
void tree_failing_follow(struct pool_tree *tree);
/* By how many errors each is cut off, as of who is in service now. Any thread; nothing held. */
void tree_failing_limit(struct pool_tree *tree);
/* It was seen gone. */
void tree_failing_goes(struct tree_drive *drive);

/* --- tree_drives.c --- */

/* From now on every op on it goes through a guard, which is to be the tree's at this place. */
mrmr_err tree_drive_guard(struct tree_drive *drive, struct pool_drive *own);
/* At what is at the root of a drive that is out of service, or gave an error. The monitor's. True: a
 * look is under way. */
bool tree_drive_look(struct tree_drive *drive, bool may_start);
/* A change on it failed so: whether it is out of service, by which the change may go on elsewhere, or later. Where it
 * did not answer its identity is asked for at once, and without that it is taken out of service. Keeps the story. */
bool tree_drive_failed(struct tree_drive *drive, mrmr_err err);
/* What was asked of it while it was away is being done on it. The monitor's. */
bool tree_drive_is_coming(const struct tree_drive *drive);
void tree_drive_leave(struct tree_drive *drive);

/* --- tree_members.c: the pool's drives, as the catalog has them now --- */

mrmr_err tree_drives_start(struct pool_tree *tree);
/* Those that were added since, that have left, and what is set of them. The monitor's. True: any that
 * is out of service is to be looked for now. */
bool tree_drives_follow(struct pool_tree *tree);
/* Among the writers: none is in service that is not what the catalog of this epoch has in its place. */
mrmr_err tree_drives_look_among(struct pool_tree *tree, uint64_t epoch);
/* What serves in this place is what the catalog has there now. */
bool tree_drive_is_member(struct tree_drive *drive);

#endif
