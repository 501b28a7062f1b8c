/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What users do to a live tree, by paths of several names; the rig expects it from then on. And the
 * first drive comes back.
 */
#ifndef MRMR_TESTS_POOL_TREE_USER_H
#define MRMR_TESTS_POOL_TREE_USER_H

#include "tests/unit/pool_tree_world.h"

/* Held. */
mrmr_err look_at(struct world *w, const char *path, struct pool_attr *ret_attr);
mrmr_err is_there(struct world *w, const char *path);
/* The folder of a path, held until the tree is closed; and the name in it. */
uint64_t folder_of(struct world *w, const char *path, const char **ret_name);
mrmr_err unlink_at(struct world *w, const char *path);
/* And the rig does not expect it any more. */
void removes(struct world *w, const char *path);
mrmr_err rmdir_at(struct world *w, const char *path);
/* The rig expects what lies below it at its new name, too. */
mrmr_err rename_at(struct world *w, const char *from, const char *to, unsigned flags);
void renames(struct world *w, const char *from, const char *to, unsigned flags);
/* Each byte is what it must be. */
void reads(struct world *w, const char *path);

void makes(struct world *w, const char *path); /* a folder */
/* The folder has each of these names, once, and none of those. */
void lists(struct world *w, const char *path, const char *has, const char *has_not);

/* The first drive. */
void goes_away(struct world *w);
/* Whenever the name (NULL: none) is asked for meanwhile it is not there. */
void comes_back(struct world *w, const char *removed);
/* How many lie in the journal; over: those that were applied, else those that wait. */
size_t records(struct world *w, bool over);

#endif
