/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives of the tree that are back: what was asked of one while it was away is done on it, and then it is live; and what could not be
 * taken from one, and shows nowhere, is tried again, and yields its name to something new.
 *
 * Threads and locks: as each says; gone_gate (tree.h) is taken inside. Errors: the drive's; what is asked of it waits then.
 */
#ifndef MRMR_POOL_TREE_RETURN_H
#define MRMR_POOL_TREE_RETURN_H

#include "pool/tree/tree.h"

/* What is recorded is open, and was done on the drives that are there, before anything shows. */
mrmr_err tree_return_start(struct pool_tree *tree);
void tree_return_stop(struct pool_tree *tree);
/* The drive serves again, and is returning: what was removed goes, what was changed is, and it is live. False:
 * that cannot be done now, and it is returning still. Of the thread that takes it into service. */
bool tree_return_begin(struct tree_drive *drive);
/* It is live, and what could not be taken from it is to be tried again by now (the monitor's); and that, by its thread. */
bool tree_return_is_left(const struct tree_drive *drive);
void tree_return_again(struct tree_drive *drive);
/* Something is left on it, which is live. With gone_gate held. */
void tree_return_left(struct tree_drive *drive);
/* What was removed, and shows nowhere, has the name on these drives still: it goes now, or, MRMR_BUSY, cannot yet, as among
 * the writers. Fine if nothing of the kind is there. */
mrmr_err tree_return_yields(
    struct pool_tree *tree, struct tree_node *folder, const char *name, const struct tree_set *on);
mrmr_err tree_return_busy(const struct tree_drive *drive, const char *path); /* so it is told */

#endif
