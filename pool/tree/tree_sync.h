/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was acknowledged of a node, and is not known to be durable yet (tree_sync.c).
 *
 * Threads: any; takes the tree's lock, or wants it held, as the name says.
 */
#ifndef MRMR_POOL_TREE_SYNC_H
#define MRMR_POOL_TREE_SYNC_H

#include "pool/tree/tree.h"

/* Before something of a node changes on a drive, and before that is acknowledged. */
void tree_owe(struct pool_tree *tree, struct tree_node *node, size_t drive);
void tree_owe_locked(struct tree_node *node, size_t drive);
void tree_owe_live(struct pool_tree *tree, struct tree_node *node, const struct tree_set *on);
/* Around a sync of all of it: what it returned. MRMR_IO, once for each place in which to keep what was
 * seen: something was lost since. */
uint64_t tree_sync_begin(struct pool_tree *tree, struct tree_node *node);
mrmr_err tree_sync_end(
    struct pool_tree *tree, struct tree_node *node, uint64_t owed, uint64_t *seen, mrmr_err err);
/* For one that is opened now: what it needs not be told. */
uint64_t tree_seen_locked(const struct tree_node *node);
/* The drive has gone. */
void tree_lost_locked(struct pool_tree *tree, size_t drive);
/* All that was owed on the drive is durable. */
void tree_paid_locked(struct pool_tree *tree, size_t drive);
/* Of a node that is new in the table and lies on these drives, as far as is known. */
uint64_t tree_lost_of_locked(const struct pool_tree *tree, const struct tree_set *on);
/* It stays in the table, though nobody holds it. */
bool tree_remembers_locked(struct pool_tree *tree, struct tree_node *node);

#endif
