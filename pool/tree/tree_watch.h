/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What happens on the drives is heard of, and told (tree_watch.c: events, and the monitor), and what we
 * changed ourselves is told when it is due (tree_due.c).
 */
#ifndef MRMR_POOL_TREE_WATCH_H
#define MRMR_POOL_TREE_WATCH_H

#include "pool/tree/tree.h"

/* --- tree_watch.c --- */

mrmr_err tree_watch_start(struct pool_tree *tree);
void tree_watch_stop(struct pool_tree *tree);
/* Whoever protects by himself is told that something was changed, or kept, since the last time. The monitor's, and at the end for what came
 * after its last turn. */
void tree_changed_tell(struct pool_tree *tree);
/* Watch a drive's copy of a folder. False: it is not watched. */
bool tree_watch_folder(struct tree_drive *drive, const char *path, uint64_t number);
void tree_unwatch_locked(struct pool_tree *tree, const struct tree_node *folder);
/* For the monitor. Without memory it is not done: a map that should be loaded is stale by then. */
void tree_later_locked(
    struct pool_tree *tree, enum tree_todo_kind kind, uint64_t number, const char *name);
void tree_tell_name(struct pool_tree *tree, uint64_t folder, const char *name);
void tree_tell_node(struct pool_tree *tree, uint64_t node, bool bytes);
/* Nothing that is known of what lies on the drive counts any more; the monitor reads its folders anew, and tells. */
void tree_unknown_locked(struct tree_drive *drive);
/* The drive serves anew: a watch of what served before knows nothing of it. */
void tree_watch_drive(struct tree_drive *drive);
/* The drive is out of service: nothing here holds on to what it was. The monitor's. */
void tree_drive_let_go(struct tree_drive *drive);

/* --- tree_due.c --- */

/* We changed it just now: whoever keeps its attributes is told, after tree_own_window. */
void tree_due_locked(struct pool_tree *tree, struct tree_node *node);
/* Monotonic: when there is something to tell. INT64_MAX: nothing. */
int64_t tree_due_next_locked(const struct pool_tree *tree);
/* Of all that is due by now. The monitor's. */
void tree_due_tell(struct pool_tree *tree);
void tree_due_forget(struct pool_tree *tree);

#endif
