/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The records of two drives that both have a path for a moment (pair.h), by the tree's drives.
 *
 * Threads: any. Errors: pair.h's.
 */
#ifndef MRMR_POOL_TREE_PAIR_H
#define MRMR_POOL_TREE_PAIR_H

#include "pool/records/pair.h"
#include "pool/tree/tree.h"

struct tree_pair {
    size_t from, to;  /* drives of the tree */
    const char *path; /* of the file on both; of whoever made it */
    bool knows;       /* of one that was read: what both are, as all that are written now */
    struct drv_stat
        file; /* on `from`: inode, size and times; a change time or one of birth of 0 is not known */
    struct drv_stat copy; /* on `to`: type, inode, size and times; likewise */
};

/* What lies on a drive that is there has another change time than what was recorded of it: it may have been edited in place, and
 * its time set back. */
bool tree_pair_touched(const struct pool_tree *tree, size_t drive, const struct drv_stat *recorded,
    const struct drv_stat *now);

/* By a name that no record has. Durable on return. */
mrmr_err tree_pair_write(struct pool_tree *tree, const struct tree_pair *pair, const char *prefix,
    char ret_name[POOL_PAIR_NAME]);
/* The same by this name, in the place of one that has it. */
mrmr_err tree_pair_put(struct pool_tree *tree, const struct tree_pair *pair, const char *name);
/* Its path is of the text. *ret_ours: both drives are the tree's; else it says nothing of them. */
mrmr_err tree_pair_read(struct pool_tree *tree, const char *name, struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours);

#endif
