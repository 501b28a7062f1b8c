/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An op of a drive that hangs until it is let go on.
 */
#ifndef MRMR_TESTS_POOL_TREE_HANG_H
#define MRMR_TESTS_POOL_TREE_HANG_H

#include "tests/unit/pool_tree_world.h"

#include <semaphore.h>

struct hang {
    sem_t begun, go_on;
};

void hang_begin(struct hang *hang);
void hang_end(struct hang *hang);
/* A hook of a rule; the hang is its argument. */
void hang_here(void *arg, enum drv_fault_op op, const char *path);
/* Once; late: when it has been carried out, as where its answer hangs. */
void hang_at(
    struct world *w, struct hang *hang, size_t drive, uint32_t ops, const char *prefix, bool late);
/* It goes on, and has ended. */
void hang_ends(struct world *w, struct hang *hang, size_t drive);
void moment(void);
void wait_live(struct world *w, size_t drive);

#endif
