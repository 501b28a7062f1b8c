/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the planner's files share; nobody else includes it.
 *
 * planner.c           the phases, in the order in which they give operations
 * planner_fluid.c     how long the new stripes must be in all, and each drive's share of their rows
 * planner_make.c      the schedule: from those shares to stripes, one at a time
 * planner_known.c     the existing stripes, held compactly
 * planner_absorb.c    what they can still take: widen, fill, grow
 * planner_merge.c     merge and deepen
 * planner_capacity.c  the closed forms: optimum, best, capacity
 *
 * Threads: none. Ownership: struct parity_planner owns all that it points to.
 */
#ifndef MRMR_PARITY_PLANNER_INTERNAL_H
#define MRMR_PARITY_PLANNER_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "parity/planner.h"

#define PLANNER_MAX PARITY_PLANNER_DRIVES_MAX

static inline uint64_t planner_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t planner_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* a - b, or 0 if that is negative. */
static inline uint64_t planner_less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* The least x in [low, high] with value(x) >= target, for a concave function; false if there is
 * none. */
bool parity_planner_search(int64_t (*value)(const void *context, uint64_t x), const void *context,
    uint64_t low, uint64_t high, int64_t target, uint64_t *ret_x);

/* --- the fluid problem, in units of the grain --- */

struct planner_fluid {
    unsigned drives, domains, rows;
    uint64_t block;               /* the longest that one stripe may be */
    uint64_t data[PLANNER_MAX];   /* to be protected */
    uint64_t room[PLANNER_MAX];   /* for rows */
    uint64_t used[PLANNER_MAX];   /* for levelling */
    uint16_t domain[PLANNER_MAX]; /* 0 … domains-1 */
};

struct planner_share {
    uint64_t length;            /* of all the new stripes: M */
    uint64_t data[PLANNER_MAX]; /* what of the data they protect */
    uint64_t rows[PLANNER_MAX]; /* bytes of rows on each drive; the sum is rows · M */
};

/* The most that can be protected, and the least M that does it. Returns the sum of data protected.
 */
uint64_t parity_planner_fluid_best(const struct planner_fluid *fluid, uint64_t *ret_length);

/* The same with each drive's share; domains are kept apart where that costs little. */
void parity_planner_fluid_share(const struct planner_fluid *fluid, struct planner_share *ret_share);

/* --- the schedule of new stripes --- */

struct planner_make {
    bool running;
    unsigned rows;
    uint64_t block; /* in units of the grain */
    uint64_t left;  /* units of stripe length still to come */
    uint64_t data[PLANNER_MAX];
    uint64_t share[PLANNER_MAX]; /* of rows */
    uint64_t domain_load[PLANNER_MAX];
};

/* --- the existing stripes --- */

struct planner_known {
    uint64_t id;
    size_t at; /* in bytes[]: drives of the rows, drives of the blocks, then drive and end of short
                  blocks */
    uint32_t length;
    uint8_t rows, blocks, shorts;
    bool touched;
};

enum planner_place { PLANNER_ABSENT, PLANNER_BLOCK, PLANNER_ROW };

/* One stripe spread out by drive. */
struct planner_view {
    uint32_t index;
    uint32_t length;
    unsigned rows, blocks;
    uint8_t row_drive[PARITY_PLANNER_ROWS_MAX];
    uint8_t place[PLANNER_MAX];   /* enum planner_place */
    uint32_t end[PLANNER_MAX];    /* of blocks */
    uint16_t domain[PLANNER_MAX]; /* members in each domain */
};

enum planner_phase {
    PLANNER_LOAD,
    PLANNER_ABSORB,
    PLANNER_GROW,
    PLANNER_MERGE,
    PLANNER_MAKE,
    PLANNER_SQUEEZE,
    PLANNER_DEEPEN,
    PLANNER_LOW_ABSORB,
    PLANNER_LOW_MAKE,
    PLANNER_DONE,
};

struct parity_planner {
    struct parity_planner_config config;
    unsigned drives, domains;
    uint64_t exposed[PLANNER_MAX];
    uint64_t room[PLANNER_MAX]; /* 0 without PARITY_PLANNER_ROWS */
    uint64_t used[PLANNER_MAX];
    uint16_t domain[PLANNER_MAX];
    bool may_row[PLANNER_MAX];

    struct planner_known *known;
    size_t knowns, knowns_room;
    uint8_t *bytes;
    size_t bytes_len, bytes_room;

    enum planner_phase phase;
    bool entered;   /* the phase has been prepared */
    unsigned rows;  /* of the stripes this phase makes or adds to */
    uint32_t *list; /* indexes into known[], for the phase that runs */
    size_t listed, next;
    unsigned sweep;
    unsigned tries; /* growths weighed */
    uint64_t
        later[PLANNER_MAX];   /* GROW: what the listed stripes from here on take without growing */
    bool choosy[PLANNER_MAX]; /* ABSORB: can keep its domain apart in what it takes */
    uint32_t bucket[PLANNER_MAX + 2];     /* MERGE: where in list[] the stripes of k blocks start */
    uint32_t bucket_end[PLANNER_MAX + 2]; /* … and end, less those that are merged already */
    uint32_t misses;                      /* MERGE: in a row */
    struct planner_make make;
    uint64_t merges, shallow;
    struct planner_view view, other;
};

mrmr_err parity_planner_known_put(
    struct parity_planner *planner, const struct parity_planner_stripe *stripe);
void parity_planner_known_view(
    const struct parity_planner *planner, uint32_t index, struct planner_view *ret_view);
/* Room in the drive's block, or for a new one, with the stripe at that length; 0 if too little to
 * use. */
uint64_t parity_planner_known_avail(const struct parity_planner *planner,
    const struct planner_view *view, unsigned drive, uint32_t length);

/* Each phase: enter prepares it, step fills *op and returns true, or false when it is through. */
mrmr_err parity_planner_absorb_enter(struct parity_planner *planner);
bool parity_planner_absorb_step(struct parity_planner *planner, struct parity_planner_op *op);
mrmr_err parity_planner_grow_enter(struct parity_planner *planner);
bool parity_planner_grow_step(struct parity_planner *planner, struct parity_planner_op *op);
mrmr_err parity_planner_merge_enter(struct parity_planner *planner);
bool parity_planner_merge_step(struct parity_planner *planner, struct parity_planner_op *op);
mrmr_err parity_planner_deepen_enter(struct parity_planner *planner);
bool parity_planner_deepen_step(struct parity_planner *planner, struct parity_planner_op *op);
mrmr_err parity_planner_make_enter(struct parity_planner *planner);
bool parity_planner_make_step(struct parity_planner *planner, struct parity_planner_op *op);

/* The fluid problem of these exposed bytes, in units of the grain. */
void parity_planner_make_fluid(const struct parity_planner *planner, const uint64_t exposed[],
    struct planner_fluid *ret_fluid);

/* The drive for one more row of `bytes`: none that is taken; a domain with room under the
 * redundancy first, then the least used. -1 if there is none. domain_count may be NULL. */
int parity_planner_merge_row_drive(const struct parity_planner *planner, const uint8_t taken[],
    const uint16_t domain_count[], uint64_t bytes);

/* Take room for rows that grow by `bytes` on a drive. */
static inline void parity_planner_take(
    struct parity_planner *planner, unsigned drive, uint64_t bytes)
{
    planner->room[drive] -= planner_min(bytes, planner->room[drive]);
    planner->used[drive] += bytes;
}

#endif
