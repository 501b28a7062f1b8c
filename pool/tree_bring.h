/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of tree_bring.c, tree_bring_record.c and tree_move_over.c, and of tree_emptied.c, which puts another file in
 * the place of one likewise.
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
enum { TREE_BRING_PATH = sizeof TREE_BRING_FOLDER + 20 };

/* A record that its bringing still looks after. On the stack; guarded by the tree's lock. */
struct tree_bring_begun {
    struct tree_bring_begun *next;
    char record[TREE_PAIR_NAME];
};

/* --- tree_bring.c --- */

/* Between these the node is somebody's who puts another file in the place of its own: nobody else changes that, its names or
 * its attributes. False, and nothing begins: it is not on that drive. */
bool tree_leave_begin(struct pool_tree *tree, struct tree_node *node, size_t from);
void tree_leave_end(struct pool_tree *tree, struct tree_node *node);
/* The folder that it lies in, counted, and its name there, which is zeroed before. MRMR_UNSUPPORTED: it has none. */
mrmr_err tree_leave_names(struct pool_tree *tree, struct tree_node *node,
    struct tree_node **ret_folder, char ret_name[META_NAME_MAX + 1]);
/* With the paths held, since a folder above it may be renamed otherwise. */
mrmr_err tree_leave_path(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct mrmr_bytes *path);

/* --- tree_bring_record.c --- */

/* It is through: the record is for whoever asks what was brought (brought.h), who removes it. */
void tree_bring_ended(struct pool_tree *tree, const char *record);
/* What lies on that drive at the path, which is this or what the catalog has of it, was brought elsewhere, or replaced, and could not be
 * removed: it does not show, and goes when it can. Durable on return. Among the writers. */
mrmr_err tree_bring_goes_later(
    struct pool_tree *tree, size_t from, const char *path, const struct drv_stat *file);

#endif
