/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive that is away for good, with files and folders on it that were protected, and what is left of it once it
 * was rebuilt elsewhere.
 */
#ifndef MRMR_TESTS_POOL_AWAY_WORLD_H
#define MRMR_TESTS_POOL_AWAY_WORLD_H

#include "tests/unit/pool_tree_user.h"

/* One more drive than the world has, which is empty; what is to go away lies on the first. The tree is open. */
void begin_away(struct world *w, enum rig_kind kind, uint64_t seed);
/* Of the first drive. */
mrmr_err try_rebuild(struct world *w, const char *onto, const char *path);
/* The rig finds its files on whichever drive they are now. */
void moved_off(struct world *w);
/* All that the rig expects is there and protected after a sync. The tree is closed; destroys the rig. */
void all_is_well(struct world *w);

/* In the journal of what was removed, whether they wait or are over. */
size_t all_records(struct world *w);
mrmr_err where(struct world *w, const char *path);

#endif
