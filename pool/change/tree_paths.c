/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Paths that lead to one place: a drive is told where by a path, which is made of names and used a moment
 * later. If a folder on the way were renamed in between, the path would lead nowhere, or, where another
 * took its name, to another file.
 *
 * So whoever changes something by a path holds it from before he makes it until the drives have answered,
 * with any number of others; whoever renames a folder has it, and all below it, alone. What somebody
 * does directly on a drive no lock of ours keeps off: who removes or moves a file looks at its inode, too.
 *
 * They stand in one row, in the order in which they came, and each waits for those before him that he is
 * in the way of: so a folder in which much is made can be renamed nevertheless, and a drive that hangs holds up
 * renames of folders above what hangs, and what is done below those, at worst for its deadline (that of a sync
 * for a rename that makes its names durable), and nothing else.
 *
 * A drive that comes back has its folders renamed before it is live (tree_return.h): nothing is done there by
 * a path of the tree until then, and from then on it has the names that the paths are made of. So the
 * monitor needs no hold of them, and never waits here.
 */
#include "pool/change/tree_change.h"

/* By any of its names. */
static bool is_below_locked(const struct tree_node *node, const struct tree_node *folder)
{
    if (node == folder)
        return true;
    for (const struct tree_link *link = node->links; link; link = link->next)
        if (is_below_locked(link->parent, folder))
            return true;
    return false;
}

static bool any_below_locked(
    const struct tree_node *const node[2], const struct tree_node *const folder[2])
{
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0; j < 2; j++)
            if (node[i] && folder[j] && is_below_locked(node[i], folder[j]))
                return true;
    return false;
}

/* What one goes by, or renames, is at or below what the other renames. */
static bool moves_away_locked(const struct tree_paths *one, const struct tree_paths *other)
{
    return one->moving &&
           (any_below_locked(other->by, one->moves) || any_below_locked(other->moves, one->moves));
}

static bool must_wait_locked(const struct tree_paths *paths)
{
    const struct pool_tree *tree = paths->tree;
    for (const struct tree_paths *at = tree->paths; at != paths; at = at->next)
        if (at->all || paths->all || moves_away_locked(at, paths) || moves_away_locked(paths, at))
            return true;
    return false;
}

void tree_paths_hold(struct tree_paths *paths)
{
    struct pool_tree *tree = paths->tree;
    struct tree_paths **last = &tree->paths;
    mrmr_locked(&tree->lock);
    while (*last)
        last = &(*last)->next;
    paths->next = NULL;
    *last = paths;
    tree->paths_moving += paths->moving;
    while (tree->paths_moving && must_wait_locked(paths)) {
        tree->paths_waiting++;
        pthread_cond_wait(&tree->paths_left, &tree->lock);
        tree->paths_waiting--;
    }
}

void tree_paths_let_go(struct tree_paths *paths)
{
    struct pool_tree *tree = paths->tree;
    struct tree_paths **at = &tree->paths;
    mrmr_locked(&tree->lock);
    while (*at != paths)
        at = &(*at)->next;
    *at = paths->next;
    tree->paths_moving -= paths->moving;
    if (tree->paths_waiting)
        pthread_cond_broadcast(&tree->paths_left);
}
