/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of tree_bring.c, tree_bring_record.c and tree_move_over.c.
 */
#ifndef MRMR_POOL_TREE_BRING_H
#define MRMR_POOL_TREE_BRING_H

#include "pool/brought.h"
#include "pool/tree_pair.h"

#define TREE_BRING_FOLDER POOL_DOT "/moving"
#define TREE_BRING_RECORD POOL_BROUGHT_BEGUN
#define TREE_BRING_TRY "try-b-" /* of what says nothing */
#define TREE_BRING_LATE                                                                            \
    "late-" /* of a copy that is not wanted, and of which nothing else says so */

/* A record that its bringing still looks after. On the stack; guarded by the tree's lock. */
struct tree_bring_begun {
    struct tree_bring_begun *next;
    char record[TREE_PAIR_NAME];
};

/* --- tree_bring_record.c --- */

/* It is through: the record is for whoever asks what was brought (brought.h), who removes it. */
void tree_bring_ended(struct pool_tree *tree, const char *record);
/* What lies on that drive at the path, which is this, by its change time, too, if that is not 0, was brought elsewhere, or replaced, and could
 * not be removed: it does not show, and goes when it can. What the catalog has of it neither. Durable on return. Among the writers. */
mrmr_err tree_bring_goes_later(
    struct pool_tree *tree, size_t from, const char *path, const struct drv_stat *file);

#endif
