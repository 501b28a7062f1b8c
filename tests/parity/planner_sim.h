/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool of numbers that executes the planner's operations to the letter and refuses, by a failed
 * assertion, any that breaks its word: two members on one drive, a room exceeded, a stripe touched
 * twice, bytes lost or counted twice.
 *
 * Ownership: sim_stop() frees all. Threads: one. Units: bytes.
 */
#ifndef MRMR_TESTS_PLANNER_SIM_H
#define MRMR_TESTS_PLANNER_SIM_H

#include "parity/planner.h"

#define SIM_ABSENT UINT32_MAX
#define SIM_MAX PARITY_PLANNER_DRIVES_MAX

struct sim_stripe {
    uint32_t length;
    unsigned rows;
    bool frozen;
    uint8_t row_drive[PARITY_PLANNER_ROWS_MAX];
    uint32_t *end;  /* by drive; SIM_ABSENT where it has no block */
    uint32_t *live; /* of these, bytes still wanted */
    unsigned plan;  /* the last plan that touched it */
};

struct sim {
    struct parity_planner_config config;
    unsigned drives;
    uint64_t size[SIM_MAX];    /* for data and rows */
    uint64_t data[SIM_MAX];    /* of originals, protected or exposed */
    uint64_t exposed[SIM_MAX]; /* of these */
    uint64_t rows[SIM_MAX];
    uint32_t domain[SIM_MAX];
    unsigned flags[SIM_MAX];
    struct sim_stripe *stripe;
    size_t stripes, stripes_room, alive;
    unsigned plans;
    uint64_t left[SIM_MAX]; /* of the last plan */
    enum parity_planner_reason reason[SIM_MAX];
    uint64_t ops[PARITY_PLANNER_DEEPEN + 1]; /* executed in all, by kind */
};

/* Every drive its own domain and fit for rows; nothing on them. */
void sim_start(
    struct sim *sim, unsigned drives, unsigned redundancy, uint32_t block, uint32_t grain);
void sim_stop(struct sim *sim);

/* New originals. */
void sim_store(struct sim *sim, unsigned drive, uint64_t bytes);

/* A stripe that is there from the start, all of these blocks full; row_drive and block_drive end
 * with -1. */
void sim_stripe(
    struct sim *sim, uint32_t length, const int row_drive[], const int block_drive[], bool frozen);

/* Delete the block of that drive in that stripe: at its end down to `keep` bytes, or with keep_end
 * in the middle, where it leaves a gap. */
void sim_delete(struct sim *sim, size_t stripe, unsigned drive, uint32_t keep, bool keep_end);

/* One plan of at most max operations, executed; how many there were. */
unsigned sim_plan(struct sim *sim, unsigned max);

/* Plans until one is empty; how many there were. */
unsigned sim_settle(struct sim *sim);

/* After sim_settle(): nothing is left exposed that one row more anywhere could protect. */
void sim_check_exhausted(const struct sim *sim);

uint64_t sim_parity(const struct sim *sim);
uint64_t sim_exposed(const struct sim *sim);
/* Redundancy times M* for what the pool holds; false where that is not feasible. */
bool sim_optimum(const struct sim *sim, uint64_t *ret_parity);
/* Members of one domain in one stripe, the most there are. */
unsigned sim_crowd(const struct sim *sim);
/* Bytes of stripes in which a domain has more members than the redundancy. */
uint64_t sim_unsafe(const struct sim *sim);

/* A small generator with its whole state in one word. */
uint64_t sim_random(uint64_t *state);
double sim_unit(uint64_t *state);
uint64_t sim_seed(void); /* from MRMR_SEED, else the time; printed */

#endif
