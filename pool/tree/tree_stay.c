/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Changes of a node's file, its names and its attributes want it to stay where it is; whoever brings it to another drive
 * (tree_bring.c) waits for them, and they for him.
 */
#include "pool/tree/tree_stay.h"

static void stay_locked(struct pool_tree *tree, struct tree_node *node)
{
    while (node->leaving && !node->staying) /* one more of those that are waited for does no harm */
        pthread_cond_wait(&tree->moved, &tree->lock);
    node->staying++;
}

void tree_stay_begin(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    stay_locked(tree, node);
}

void tree_stay_begin_name(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->names_wait++;
    stay_locked(tree, node);
    node->names_wait--;
}

void tree_stay_end(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    if (--node->staying == 0)
        pthread_cond_broadcast(&tree->moved);
}

bool tree_leave_begin(struct pool_tree *tree, struct tree_node *node, size_t from)
{
    mrmr_locked(&tree->lock);
    while (node->leaving || node->names_wait)
        pthread_cond_wait(&tree->moved, &tree->lock);
    if (!tree_set_has(&node->on, from))
        return false;
    node->leaving = true;
    while (node->staying)
        pthread_cond_wait(&tree->moved, &tree->lock);
    return true;
}

void tree_leave_end(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->leaving = false;
    pthread_cond_broadcast(&tree->moved);
}
