/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attributes that are told of once more, a while after we changed them.
 *
 * Whoever asks for them while we change them may be answered with what they were before, and get that
 * answer later than the one of the change itself. The kernel asks anew after each change, but has done
 * so by then, and keeps what is old for as long as it was told. So what is found out while a change is
 * young is kept for no longer than that (tree_look.c), and what was answered before is let go of when
 * the change is old: once for all changes of that time.
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_watch.h"

struct tree_due {
    struct tree_due *next;
    uint64_t number;
    int64_t at; /* monotonic */
};

/* Without memory it is not told of, and is old until the time that was said with it is over. */
void tree_due_locked(struct pool_tree *tree, struct tree_node *node)
{
    if (!node->kept || node->due)
        return;
    struct tree_due *due = malloc(sizeof *due);
    if (!due)
        return;
    *due = (struct tree_due){NULL, node->number, mrmr_clock_monotonic() + tree_own_window};
    node->due = true;
    if (!tree->due)
        pthread_cond_signal(&tree->monitor_wake);
    *(tree->due ? &tree->due_last->next : &tree->due) = due;
    tree->due_last = due;
}

int64_t tree_due_next_locked(const struct pool_tree *tree)
{
    return tree->due ? tree->due->at : INT64_MAX;
}

/* The first one, if it is due. */
static struct tree_due *take(struct pool_tree *tree, int64_t now)
{
    mrmr_locked(&tree->lock);
    struct tree_due *due = tree->due;
    if (!due || due->at > now)
        return NULL;
    tree->due = due->next;
    struct tree_node *node = tree_find_locked(tree, due->number);
    if (node)
        node->due = false; /* what changes from now on is told of again */
    return due;
}

void tree_due_tell(struct pool_tree *tree)
{
    const int64_t now = mrmr_clock_monotonic();
    for (struct tree_due *due; (due = take(tree, now)) != NULL; free(due))
        tree_tell_node(tree, due->number, false);
}

void tree_due_forget(struct pool_tree *tree)
{
    for (struct tree_due *due; (due = take(tree, INT64_MAX)) != NULL;)
        free(due);
}
