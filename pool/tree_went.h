/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that went while what they led to lives on under one that the catalog does not have yet: `ln a c`,
 * `rm a`. Were it recorded that `a` went, nothing would show of the file when its drive goes before
 * the next scan. So `a` shows until then, and that it went is recorded when the last name goes.
 *
 * They are in memory alone: a process that ends before leaves a name that shows once more if the
 * drive goes, until the next scan, as a record that could not be written does (moved.h). So do those
 * that are too many. Threads: the caller's lock.
 */
#ifndef MRMR_POOL_TREE_WENT_H
#define MRMR_POOL_TREE_WENT_H

#include "pool/engine.h"

struct tree_went {
    struct tree_went *next;
    int64_t drive;
    uint64_t ino;
    uint64_t
        kept; /* the epoch in which it went to where the file is kept, which is a name of it, too */
    char path[]; /* by which it went */
};

struct tree_went_list {
    struct tree_went *first;
    size_t n;
};

/* Adds how many names of a node the catalog has. Needs no lock. */
mrmr_err tree_went_names(struct pool *pool, int64_t node, size_t *names);
/* What has this stat, of before a name of it went, keeps one that the catalog does not have. Needs no
 * lock. */
mrmr_err tree_went_lives(
    struct pool *pool, int64_t drive, const struct drv_stat *stat, bool *ret_lives);

#define TREE_WENT_NOT_KEPT UINT64_MAX
/* MRMR_SPACE: there are too many. */
mrmr_err tree_went_keep(
    struct tree_went_list *list, int64_t drive, uint64_t ino, const char *path, uint64_t kept);
/* So many of an inode's went to where it is kept; what was kept in an earlier epoch is let go of. */
size_t tree_went_kept(
    const struct tree_went_list *list, int64_t drive, uint64_t ino, uint64_t epoch);
/* One of this inode, off the list, owned: free(); NULL: there is none. */
struct tree_went *tree_went_take(struct tree_went_list *list, int64_t drive, uint64_t ino);
void tree_went_clear(struct tree_went_list *list);

#endif
