/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Jobs to be disturbed: each prepares a pool in which the job has every kind of work to do, runs
 * it, and says afterwards whether what was promised holds. For tests/fault and tests/crash.
 */
#ifndef MRMR_TESTS_SUPPORT_SCENARIO_H
#define MRMR_TESTS_SUPPORT_SCENARIO_H

#include "tests/support/rig.h"

struct scenario {
    const char *name;
    void (*prepare)(struct rig *rig); /* the pool is open */
    mrmr_err (*run)(struct rig *rig); /* may be run again after it was interrupted anywhere */
    unsigned drives, redundancy;      /* 0: 5, and 2 */
    bool fresh; /* it reads what nobody has digests of yet: a lie about that is believed */
    void (*done)(struct rig *rig); /* an undisturbed run did what it is here for; may be NULL */
};
extern const struct scenario scenarios[];
extern const size_t nscenarios;

/* A prepared pool, closed, everything synced. How many losses each leaf of each file survives is
 * remembered (rig_promise). */
struct rig *scenario_begin(const struct scenario *scenario, enum rig_kind kind, uint64_t seed);
/* After the disturbance, faults cleared, the pool closed: it opens, no finding, everything survives
 * as many losses as before (I2), less `spent`, and what is claimed is given back whichever drives go; then the
 * job runs undisturbed to its end, and everything is protected. Destroys the rig. */
void scenario_end(const struct scenario *scenario, struct rig *rig, unsigned spent);
/* The same without a disturbance; and what is promised before it is read. For each of n masks of
 * ops: how many calls of them the job makes. Returns how long it takes, in ns. */
int64_t scenario_measure(const struct scenario *scenario, enum rig_kind kind, uint64_t seed,
    const uint32_t ops[], size_t n, uint64_t ret_calls[]);

/* Two stripes of one block and one row each, on four drives, that the next plan makes one. For a
 * rig of 6 drives, redundancy 1 and nothing in it. */
void scenario_two_stripes(struct rig *rig);
/* The same before the user's deletions are seen. */
void scenario_two_stripes_with_more(struct rig *rig);

#endif
