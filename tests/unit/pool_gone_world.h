/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A live tree of a pool one of whose drives is away, and what users remove of it meanwhile.
 */
#ifndef MRMR_TESTS_POOL_GONE_WORLD_H
#define MRMR_TESTS_POOL_GONE_WORLD_H

#include "pool/gone.h"
#include "tests/unit/pool_tree_world.h"

/* As begin, and with folders, on two drives; the first one is away when it is left. */
void begin_away(struct world *w, uint64_t seed);
/* Closes the tree, if it is open. */
void destroy(struct world *w);
/* By a path of several names; held. */
mrmr_err look_at(struct world *w, const char *path, struct pool_attr *ret_attr);
mrmr_err is_there(struct world *w, const char *path);
/* The folder of a path, held until the tree is closed; and the name in it. */
uint64_t folder_of(struct world *w, const char *path, const char **ret_name);
mrmr_err unlink_at(struct world *w, const char *path);
/* And the rig does not expect it any more. */
void removes(struct world *w, const char *path);
mrmr_err rmdir_at(struct world *w, const char *path);
bool is_listed(struct world *w, const char *path);
void make_anew(struct world *w, const char *name, const char *text);
bool has_text(struct world *w, const char *name, const char *text);
/* For pool_ls and pool_where: counts in an unsigned. */
mrmr_err count_listed(const struct pool_entry *entry, void *arg);
unsigned count_ls(struct world *w, const char *path);
/* Under the tree. Whenever the name (NULL: none) is asked for meanwhile it is not there. */
void comes_back(struct world *w, const char *removed);
void goes_away(struct world *w);
/* How many lie in the journal; over: those that were applied, else those that wait. */
size_t records(struct world *w, bool over);

#endif
