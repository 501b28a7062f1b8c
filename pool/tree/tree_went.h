/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that went while what they led to lives on under one that the catalog does not have yet: `ln a c`,
 * `rm a`. That one is found here, so that the file shows by it, and by no other, when its drive goes before the next scan (moved.h
 * has the crash argument).
 *
 * It is one that was made through MRMR since the last scan, or that somebody has looked at, and leads to the inode at this moment.
 * One that was made directly on the drive, and that nobody has seen, is not found. One that the catalog has shows by itself, and is
 * none of them, unless a record of a rename has to do with it. Threads: any; takes the tree's lock, and is
 * not called with it held. I/O on the drive.
 */
#ifndef MRMR_POOL_TREE_WENT_H
#define MRMR_POOL_TREE_WENT_H

#include "pool/tree/tree.h"

/* Adds how many names of a node the catalog has. Needs no lock. */
mrmr_err tree_went_names(struct pool *pool, int64_t node, size_t *names);
/* The name at this path goes, or went, or another file has it: another one of what has this stat, of before that.
 * *ret_other "": there is none that is known, and need be recorded. Errors: none was found, and of one that may lead there the drive
 * did not say whether it does. */
mrmr_err tree_went_other(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, struct mrmr_bytes *ret_other);
/* Whether the name leads to this inode. An error: the drive did not say, as when it does not answer, or somebody's folder may not be
 * looked into; nothing is known then. */
mrmr_err tree_went_leads(
    struct pool_tree *tree, size_t drive, const char *path, uint64_t ino, bool *ret_leads);

#endif
