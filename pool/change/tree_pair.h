/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Records of two drives that both have a path for a moment, where one of the two is to go: a file that is brought from
 * one to the other (tree_bring.c), and one that is renamed over another drive's (tree_move_over.c). A file
 * `<prefix><16 hex>` of the pool's folder for each. Who writes them says in what order, and why.
 *
 * Threads: any. Errors: those of the pool's folder; MRMR_FORMAT: it is none.
 */
#ifndef MRMR_POOL_TREE_PAIR_H
#define MRMR_POOL_TREE_PAIR_H

#include "drivers/driver.h"
#include "pool/tree/tree.h"

enum { TREE_PAIR_NAME = 32 };

struct tree_pair {
    size_t from, to;  /* drives of the tree */
    const char *path; /* of the file on both; of whoever made it */
    bool knows;       /* of one that was read: what both are, as all that are written now */
    struct drv_stat
        file; /* on `from`: inode, size and times; a change time or one of birth of 0 is not known */
    struct drv_stat copy; /* on `to`: type, inode, size and times; likewise */
};

/* The same by the drives' ids in the catalog, for who has no tree. The path is of the text. False: it is none. */
struct tree_pair_ids {
    int64_t from, to;
    const char *path;
    bool knows;
    struct drv_stat file, copy;
};
bool tree_pair_parse(const struct mrmr_bytes *text, struct tree_pair_ids *ret_ids);

/* What lies on a drive that is there has another change time than what was recorded of it: it may have been edited in place, and
 * its time set back. */
bool tree_pair_touched(const struct pool_tree *tree, size_t drive, const struct drv_stat *recorded,
    const struct drv_stat *now);

/* One that no record has. */
mrmr_err tree_pair_name(const char *prefix, char ret_name[TREE_PAIR_NAME]);
/* Durable on return. */
mrmr_err tree_pair_write(struct pool_tree *tree, const struct tree_pair *pair, const char *prefix,
    char ret_name[TREE_PAIR_NAME]);
/* The same by this name, in the place of one that has it. */
mrmr_err tree_pair_put(struct pool_tree *tree, const struct tree_pair *pair, const char *name);
/* Its path is of the text. *ret_ours: both drives are the tree's; else it says nothing of them. */
mrmr_err tree_pair_read(struct pool_tree *tree, const char *name, struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours);

#endif
