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
};
extern const struct scenario scenarios[];
extern const size_t nscenarios;

/* A prepared pool, closed, everything synced. */
struct rig *scenario_begin(const struct scenario *scenario, enum rig_kind kind, uint64_t seed);
/* After the disturbance, faults cleared, the pool closed: it opens, no finding, what is claimed is
 * given back whichever drives go; then the job runs undisturbed to its end, and everything is
 * protected. Destroys the rig. */
void scenario_end(const struct scenario *scenario, struct rig *rig);

#endif
