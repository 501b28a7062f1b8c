/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives that are detached while the tree shows them (tree_detach.c). The monitor's, all of it.
 */
#ifndef MRMR_POOL_TREE_DETACH_H
#define MRMR_POOL_TREE_DETACH_H

#include "pool/tree/tree_drives.h"

/* Whether somebody asks for a drive, which is let go of then, if nobody is in the way. True: a question stands, and another may
 * come at once. *ret_ended: a question is over that was answered, and its drive is to be looked for, or is detached. */
bool tree_detach_look(struct pool_tree *tree, bool *ret_ended);
/* Before anything is changed: of those that are in service from the start. */
void tree_detach_start(struct pool_tree *tree);
/* About to be put into service: that is noted, if it was detached (detached.h). False: it could not be; it stays out. */
bool tree_detach_back(struct tree_drive *drive);
/* What the catalog says by now: who is detached is out of service. After the look: detach_ask.h. */
void tree_detach_follow(struct pool_tree *tree);
/* It is not to be put into service. */
static inline bool tree_detach_is_out(const struct tree_drive *drive)
{
    return drive->asked || drive->detached || drive->failing || drive->fails;
}

#endif
