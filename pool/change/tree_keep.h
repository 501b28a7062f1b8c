/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files share that keep what stripes count on before originals change (tree_keep.c has the crash argument):
 * tree_keeper.c (the one tree that changes the pool), tree_counted.c (what counts of an inode, and of its bytes),
 * tree_keep.c (whole files), tree_keep_names.c (what is recorded of names). For these alone; others see tree_change.h.
 *
 * Threads: any. Errors: the catalog's, the drive's, and those of touched.h.
 */
#ifndef MRMR_POOL_TREE_KEEP_H
#define MRMR_POOL_TREE_KEEP_H

#include "pool/change/tree_change.h"
#include "pool/change/tree_record.h"
#include "pool/records/written.h"
#include "pool/retained/retained.h"

struct tree_keeper {
    struct pool_writers *writers;
    int mounted; /* its lock: nobody else changes drives through a tree of this pool; -1: none */
    bool shown;  /* and a mountpoint was told */
    struct tree_records *records;
    struct pool_written *written; /* which leaves, for who reads them for a commit */
};

/* What stripes count on of one inode. */
struct tree_counted {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct tree_inode inode; /* of which all that follows is */
    uint32_t births;
    bool known, for_ever;
    uint64_t epoch;
    struct tree_end { /* where the file ended when that was asked first, or was made to since */
        uint64_t size, epoch;
        bool is;
    } end;
    bool in_catalog, touched, named; /* recorded: that it may change; that a name of it goes */
    struct tree_attrs_of {           /* recorded: that its attributes were changed */
        struct tree_inode inode;
        uint32_t births;
        uint64_t epoch;
        bool is;
    } attrs;
    struct pool_retained_leaf *leaf; /* by leaf; size 0: it is kept, or was not there any more */
    size_t n;
    struct pool_retained_leaf *went; /* that counted when a name went, and there were others */
    size_t nwent;
    struct tree_saving *saving; /* what is being kept, by threads that have let go of the lock */
    pthread_cond_t saved;       /* one of them is through */
};

static inline int64_t tree_keep_id(const struct pool_tree *tree, size_t drive)
{
    return tree->drive[drive].drive->meta.id;
}

/* --- tree_counted.c --- */

/* Zero-initialise one that is no node's; clear frees what it has. */
void tree_counted_clear(struct tree_counted *counted);
/* Of all nodes that the catalog has with this inode. MRMR_READONLY: the drive has no inode numbers that last. */
mrmr_err tree_counted_load(
    struct pool_tree *tree, const struct tree_inode *inode, struct tree_counted *counted);
/* It stays as long as the node does; births: which of the inodes that had its number it is of. NULL: no memory. */
struct tree_counted *tree_counted_of(
    struct pool_tree *tree, struct tree_node *node, uint32_t *ret_births);
/* *known is set if the catalog has it, or a scan that is under way may be about to give it that; so is in_catalog. */
mrmr_err tree_counted_in_catalog(
    struct pool_tree *tree, const struct tree_inode *inode, bool *known);
/* The scan shall know that it was us (I5). as: touched.h has what that may be. */
mrmr_err tree_keep_touch(
    struct pool_tree *tree, const struct tree_inode *inode, int64_t as, uint64_t epoch);
/* The same, once an epoch; bytes: else only a name of it goes. */
mrmr_err tree_counted_touch(struct pool_tree *tree, const struct tree_inode *inode,
    struct tree_counted *counted, bool bytes, uint64_t epoch);

/* --- tree_keep_names.c --- */

/* Of what the catalog has: a name of it went, as POOL_MOVED_REMOVED if it has no other that is known. */
void tree_keep_name_went(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch);
/* The same where another file is renamed to it. Before that is recorded, since by that the name leads to the other: where it lives
 * on, if it does. *ret_other "": by no name that need be recorded. On failure it is not to be replaced. */
mrmr_err tree_keep_name_goes(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, struct mrmr_bytes *ret_other);
/* After that: it was replaced, or was not. */
void tree_keep_name_replaced(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, const struct mrmr_bytes *other, uint64_t epoch);
void tree_keep_name_stays(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, const struct mrmr_bytes *other, uint64_t epoch);

#endif
