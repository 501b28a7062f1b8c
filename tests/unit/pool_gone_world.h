/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A live tree of a pool one of whose drives is away, and what users remove of it meanwhile.
 */
#ifndef MRMR_TESTS_POOL_GONE_WORLD_H
#define MRMR_TESTS_POOL_GONE_WORLD_H

#include "pool/records/gone.h"
#include "tests/unit/pool_tree_user.h"

/* As begin, and with folders, on two drives; the first one is away when it is left. */
void begin_away(struct world *w, uint64_t seed);
/* Closes the tree, if it is open. */
void destroy(struct world *w);
bool is_listed(struct world *w, const char *path);
void make_anew(struct world *w, const char *name, const char *text);
bool has_text(struct world *w, const char *name, const char *text);
/* For pool_ls and pool_where: counts in an unsigned. */
mrmr_err count_listed(const struct pool_entry *entry, void *arg);
unsigned count_ls(struct world *w, const char *path);

#endif
