/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Copies of the catalog on the drives of a pool: made, looked at, and restored from, for tests.
 */
#ifndef MRMR_TESTS_UNIT_POOL_CATALOG_WORLD_H
#define MRMR_TESTS_UNIT_POOL_CATALOG_WORLD_H

#include "pool_drive_world.h"

extern const struct pool_job catalog_job;

struct catalog_has {
    unsigned bases, logs, others;
    int64_t base, upto;
    char base_path[600], log_path[600]; /* the newest */
};

/* Of the pool; of the one that was restored last. */
const char *catalog_path(struct world *w);
const char *catalog_again(struct world *w);
/* To all drives. */
void catalog_copy_now(struct world *w);
/* A change that matters, in a large table and in a small one. */
void catalog_change(struct world *w);
/* What a drive has. */
struct catalog_has catalog_has(struct world *w, const char *drive);
void catalog_assert_has(struct world *w, const char *drive, unsigned bases, unsigned logs);
/* By the shell; it must succeed. */
void catalog_run(const char *command);
/* A new pool, from one drive or copy. */
mrmr_err catalog_restore(struct world *w, const char *uri);
/* By hand, and with our code: it is the pool's catalog. */
void catalog_assert_restores(struct world *w, const char *drive);
/* The newest event of a restored catalog. */
const char *catalog_event(struct world *w);

#endif
