/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that a repair put another inode in the place of (replaced.h), while the tree shows them (tree_replaced.c).
 *
 * Threads: any. Errors: those of the pool's folder, and of the writers.
 */
#ifndef MRMR_POOL_TREE_REPLACED_H
#define MRMR_POOL_TREE_REPLACED_H

#include "pool/tree/tree.h"

mrmr_err tree_replaced_start(struct pool_tree *tree);
void tree_replaced_stop(struct pool_tree *tree);
/* What was replaced until now has its number again, and is opened anew by whoever has it open. Without
 * a lock; it may wait while the writers stand still. */
mrmr_err tree_replaced_look(struct pool_tree *tree);
mrmr_err tree_replaced_look_among(struct pool_tree *tree); /* the writers */

#endif
