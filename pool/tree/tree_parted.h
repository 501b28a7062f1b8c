/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What lost its last name that is known, and is held by somebody: a descriptor of it is kept (tree_parted.c).
 */
#ifndef MRMR_POOL_TREE_PARTED_H
#define MRMR_POOL_TREE_PARTED_H

#include "pool/tree/tree.h"

void tree_parted_start(struct pool_tree *tree);
/* Before the last name of the node that is known goes from a drive, or goes to another: it is kept,
 * if that can be. What has this stat is at the path. No lock is held. */
void tree_parted_keep(struct pool_tree *tree, struct tree_node *node, size_t drive,
    const char *path, const struct drv_stat *stat);
/* The same after it went: takes the open file. */
void tree_parted_take(
    struct pool_tree *tree, struct tree_node *node, size_t drive, struct drv_named *named);
/* The name did not go. */
void tree_parted_drop(struct pool_tree *tree, struct tree_node *node);
/* The drive went; TREE_DRIVES_MAX: all of them. */
void tree_parted_let_go(struct pool_tree *tree, size_t drive);
/* The node goes, or lies elsewhere now; with the tree's lock held. Whoever has it takes what was let
 * go of, and clears it when he has left the lock; if he does not, the next one does. */
void tree_parted_leave_locked(struct pool_tree *tree, struct tree_node *node);
struct tree_parted *tree_let_go_take_locked(struct pool_tree *tree);
void tree_parted_clear(struct tree_parted *list); /* NULL-safe */
/* Counted; NULL: there is none. */
struct tree_original *tree_parted_original_locked(const struct tree_node *node, bool writing);
bool tree_parted_open_locked(const struct tree_node *node);
/* Appends what the symlink led to. MRMR_ABSENT: it is not kept. */
mrmr_err tree_parted_target(
    struct pool_tree *tree, const struct tree_node *node, struct mrmr_bytes *target);

#endif
