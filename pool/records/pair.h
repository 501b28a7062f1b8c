/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Records of two drives that both have a path for a moment, where one of the two is to go: a file that is brought from
 * one to the other (tree_bring.c), and one that is renamed over another drive's (tree_move_over.c). A file
 * `<prefix><16 hex>` of the pool's folder for each. Who writes them says in what order, and why; what was brought is read by a
 * scan, too (brought.h).
 *
 * Threads: any. Errors: those of the pool's folder; MRMR_FORMAT: it is none.
 */
#ifndef MRMR_POOL_PAIR_H
#define MRMR_POOL_PAIR_H

#include "pool/engine.h"

enum { POOL_PAIR_NAME = 32 };

struct pool_pair {
    int64_t from, to; /* drives, by their ids in the catalog */
    const char *path; /* of the file on both; of whoever made it */
    bool knows;       /* of one that was read: what both are, as all that are written now */
    struct drv_stat
        file; /* on `from`: inode, size and times; a change time or one of birth of 0 is not known */
    struct drv_stat copy; /* on `to`: type, inode, size and times; likewise */
};

/* One that no record has. */
mrmr_err pool_pair_name(const char *prefix, char ret_name[POOL_PAIR_NAME]);
/* By this name, in the place of one that has it. Durable on return. */
mrmr_err pool_pair_put(struct pool *pool, const struct pool_pair *pair, const char *name);
/* Its path is of the text. */
mrmr_err pool_pair_read(
    struct pool *pool, const char *name, struct mrmr_bytes *text, struct pool_pair *ret_pair);

#endif
