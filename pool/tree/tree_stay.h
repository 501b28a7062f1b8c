/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who wants a node's file to stay where it is, and who brings it elsewhere: each waits for the other.
 *
 * Threads: any; takes the tree's lock. Never fails.
 */
#ifndef MRMR_POOL_TREE_STAY_H
#define MRMR_POOL_TREE_STAY_H

#include "pool/tree/tree.h"

/* Between these the node's file is not brought elsewhere. May nest. */
void tree_stay_begin(struct pool_tree *tree, struct tree_node *node);
/* For a change of its names, during which nobody may look into the folder: whoever copies it gives way, and begins
 * anew after it. */
void tree_stay_begin_name(struct pool_tree *tree, struct tree_node *node);
void tree_stay_end(struct pool_tree *tree, struct tree_node *node);

/* For who brings it. */

/* Between these nobody else changes it. False: it is not on that drive any more, and nothing began. */
bool tree_leave_begin(struct pool_tree *tree, struct tree_node *node, size_t from);
void tree_leave_end(struct pool_tree *tree, struct tree_node *node);

#endif
