/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of tree_move.c: one rename under way, and its two kinds.
 *
 * Threads: that of the caller. Errors: as those of pool_tree_rename.
 */
#ifndef MRMR_POOL_TREE_MOVE_H
#define MRMR_POOL_TREE_MOVE_H

#include "pool/change/tree_change.h"

struct moving {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *from_folder, *to_folder;
    const char *from_name, *to_name;
    unsigned flags;
    struct tree_name *from, *to; /* what they show */
    struct tree_node *from_node, *to_node;
    size_t from_drive; /* of a file; SIZE_MAX: nobody knows yet */
    bool replaces;     /* to shows something */
    bool stale;  /* the drive has something else by the name, or nothing: it was changed there */
    bool folded; /* the drive takes both names for one */
    struct mrmr_bytes from_path, to_path;
    struct tree_set waits;  /* drives that rename it when they are back */
    struct mrmr_bytes over; /* of a file: tree_move_over.c's */
    uint64_t epoch;
};

/* --- tree_move.c --- */

/* On this drive, as whoever asked for it; the folders of both names are owed a sync. */
mrmr_err moving_rename(struct moving *m, size_t drive, unsigned flags);
/* It is recorded before it is made. from: what is renamed. */
mrmr_err moving_record(struct moving *m, size_t drive, const struct drv_stat *from);
/* It was recorded, and not made. Returns the error of the moment. */
mrmr_err moving_not_made(struct moving *m, size_t drive, const struct drv_stat *from);
/* The folder of the new name is looked for on its drives once more. */
mrmr_err moving_place_anew(struct moving *m);
/* Of removing what need not be there: it is not. */
bool moving_is_fine(mrmr_err err);
/* A name leads to another node than before. */
void moving_node_moved(struct pool_tree *tree, uint64_t number, struct tree_node *from,
    const char *from_name, struct tree_node *to, const char *to_name);
/* The new name does not lead to this node any more. */
void moving_node_removed(struct moving *m, struct tree_node *node);

/* --- tree_move_file.c --- */

mrmr_err moving_file(struct moving *m);
mrmr_err moving_exchange(struct moving *m);

/* --- tree_move_over.c --- */

/* Before a file of drive `shown` is renamed over what another drive has: what would hide it there afterwards, if nobody came
 * to remove it, is recorded, durably. */
mrmr_err moving_over_begin(struct moving *m, size_t shown);
/* After that was removed, as far as it could be; or nothing was renamed. What could not stays recorded. Keeps the story. */
void moving_over_end(struct moving *m, bool made);

/* --- tree_move_folder.c --- */

mrmr_err moving_folder(struct moving *m);

#endif
