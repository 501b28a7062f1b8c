/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Paths that lead to one place: a drive is told where by a path, which is made of names and used a moment
 * later. If a folder on the way were renamed in between, the path would lead nowhere, or, where another
 * took its name, to another file.
 *
 * So whoever changes something by a path holds all paths from before he makes it until the drives have
 * answered, with any number of others; a folder is renamed by whoever holds them alone. What somebody
 * does directly on a drive no lock of ours keeps off: who removes or moves a file looks at its inode, too.
 *
 * Who waits for them alone goes before those that come later, or a pool in which much is made could never
 * have a folder renamed. A folder's rename so waits for each op that is under way, at worst for a drive's
 * deadline, and what is made or removed meanwhile waits for it.
 *
 * A drive that comes back has its folders renamed before it is live (tree_gone.c): nothing is done there by
 * a path of the tree until then, and from then on it has the names that the paths are made of. So the
 * monitor needs no hold of them, and never waits here.
 */
#include "pool/tree_change.h"

void tree_paths_start(struct pool_tree *tree)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&tree->paths, &attr);
    pthread_rwlockattr_destroy(&attr);
}

void tree_paths_stop(struct pool_tree *tree)
{
    pthread_rwlock_destroy(&tree->paths);
}

struct pool_tree *tree_paths_hold(struct pool_tree *tree)
{
    pthread_rwlock_rdlock(&tree->paths);
    return tree;
}

struct pool_tree *tree_paths_change(struct pool_tree *tree)
{
    pthread_rwlock_wrlock(&tree->paths);
    return tree;
}

void tree_paths_let_go(struct pool_tree *const *tree)
{
    pthread_rwlock_unlock(&(*tree)->paths);
}
