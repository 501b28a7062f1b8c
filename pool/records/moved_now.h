/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive's records as steps, for those who read them: moved_now.c (which count, and where a path comes
 * from and leads by them), moved_index.c (the steps of a path), moved_places.c (what lies below a folder
 * by them). Everybody else asks by moved.h.
 *
 * Ownership: of pool_moved_now, but for the paths, which are pool_moved_steps's. Threads: those of moved.h.
 */
#ifndef MRMR_POOL_MOVED_NOW_H
#define MRMR_POOL_MOVED_NOW_H

#include "pool/records/moved.h"

#include <stdatomic.h>
#include <stddef.h>

enum { NOW_NONE = -1 };

enum now_what { NOW_STALE, NOW_KNOWN, NOW_UNKNOWN, NOW_NOT_ASKED };

struct now_step {
    enum pool_moved_kind kind;
    const char *path[2]; /* from, to; of a name that went the first alone */
    size_t size[2];
    enum now_what what[2]; /* what was at from, and at to if it is exchanged */
    bool counts;
    char *origin[2]; /* where the catalog has what is at the other path then; NULL: nowhere */
    char *now[2];    /* where what was at this path is now; NULL: nowhere */
};

struct now_side { /* a path of a step, in its bucket */
    size_t step;
    unsigned side;
    ptrdiff_t next; /* put in before, or NOW_NONE */
};

/* The steps by their paths: in a bucket those come first that were put in last. */
struct now_index {
    struct now_side *side; /* two for each step; in a bucket if it was put in */
    ptrdiff_t *bucket;
};

/* Which names that went were asked of. */
struct now_asked {
    size_t upto; /* steps that are judged, and in the index */
    bool asking; /* of one now */
    bool all;    /* up to there; then it is of each that comes */
};

struct pool_moved_now {
    struct pool *pool;
    int64_t drive, root;
    struct pool_moved_steps steps; /* owns the paths */
    struct now_step *step;
    struct now_index back, forth; /* put in in order, and the other way round */
    size_t buckets;               /* of each; a power of two */
    struct now_asked *asked;      /* its own memory, as looks */
    const char **place;           /* where what the catalog knows is now, sorted; of the steps */
    size_t places;
    atomic_ullong
        *looks; /* at places and names, so far; its own memory, for it changes when asked */
};

/* --- moved_index.c --- */

/* A step, and which of its paths is the one that was looked for, or a folder above it. */
struct now_found {
    ptrdiff_t step; /* or NOW_NONE */
    unsigned side;
};

mrmr_err now_index_create(const struct pool_moved_now *now, struct now_index *index);
void now_index_destroy(struct now_index *index); /* also of one that was never made, of zeros */
/* No step is in it any more. */
void now_index_clear(const struct pool_moved_now *now, const struct now_index *index);
/* The step's paths, if it counts. */
void now_index_put(const struct pool_moved_now *now, const struct now_index *index, size_t at);
/* The latest step before `to` that has to do with the path; with last false the earliest from `to` on.
 * What is looked at is taken from *work: once that is 0, what comes of it is no answer. */
struct now_found now_find(
    const struct pool_moved_now *now, const char *path, size_t to, bool last, unsigned *work);

/* --- moved_places.c --- */

/* Once it is known where each step's things are now. */
void now_places_make(struct pool_moved_now *now);

#endif
