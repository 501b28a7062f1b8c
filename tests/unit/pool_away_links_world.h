/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that get other names, and lose the one that the catalog has, before their drive goes: the first one.
 */
#ifndef MRMR_TESTS_POOL_AWAY_LINKS_WORLD_H
#define MRMR_TESTS_POOL_AWAY_LINKS_WORLD_H

#include "tests/unit/pool_tree_user.h"

void links(struct world *w, const char *from, const char *to);
struct rig_file *file_of(struct world *w, const char *path);
/* What the rig knew by the one name has the other. */
void is_now(struct world *w, const char *was, const char *path);
void destroy(struct world *w);
/* Until the tree has heard of what was made directly on a drive. */
void comes_to_be(struct world *w, const char *path);
/* Without the first drive: in this process, and in whichever comes next. */
void reads_it(struct world *w, const char *path, const char *has_not);
/* And with it, and after a sync. Destroys the rig. */
void ends_well(struct world *w);
/* A process of its own does it, and is killed. The pool is closed, before and after. */
void is_killed(struct world *w, void (*changes)(struct world *w));
/* The catalog saw f0's drive alone since f1 was there: by its sequence f0 is the newer one. */
void f0_is_newer(struct world *w);

#endif
