/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of tree_bring.c, tree_bring_copy.c, tree_bring_record.c and tree_move_over.c.
 */
#ifndef MRMR_POOL_TREE_BRING_H
#define MRMR_POOL_TREE_BRING_H

#include "pool/change/tree_pair.h"
#include "pool/records/brought.h"
#include "pool/tree/tree_node.h"

#define TREE_BRING_FOLDER POOL_DOT "/moving"
#define TREE_BRING_RECORD POOL_BROUGHT_BEGUN
#define TREE_BRING_TRY "try-b-" /* of what says nothing */
/* Of which nothing else may say so: a copy that is not wanted, and a file that is over, since its copy is it. */
#define TREE_BRING_LATE "late-"
#define TREE_BRING_OVER POOL_BROUGHT_BEGUN "over-"

enum { BRING_PATH = sizeof TREE_BRING_FOLDER + 20 };

/* One that is under way: of the thread that brings it. */
struct bringing {
    struct pool_tree *tree;
    struct tree_node *node, *folder;
    size_t from, to;
    char name[META_NAME_MAX + 1];
    struct mrmr_bytes path;
    char temp[BRING_PATH];
    bool live; /* the drive it comes from */
    struct drv_stat stat;
    struct meta_node known; /* if it is not live */
    uint64_t generation;
    uint64_t to_ino;      /* of the copy that has the file's number; 0: none has yet */
    bool named;           /* the copy has the file's path, or may get it yet */
    struct drv_stat copy; /* it is this; its ctime is 0 if that is not known */
    bool to_failed;       /* what failed, failed on the drive it goes to */
    bool gave_way;        /* to whoever changes its name: nothing was done */
    bool stays;           /* it did so often enough: whoever waits for it has waited, too */
};

/* A record that its bringing still looks after. On the stack; guarded by the tree's lock. */
struct tree_bring_begun {
    struct tree_bring_begun *next;
    char record[POOL_PAIR_NAME];
};

/* --- tree_bring_copy.c --- */

/* Makes b->temp on b->to, durably. MRMR_BUSY, and gave_way: somebody changes its name. Whatever the end, the file of that name is the
 * caller's. */
mrmr_err tree_bring_copy(struct bringing *b);
/* With the paths held: a folder above it may have been renamed while its bytes were copied. Its own name
 * nobody changes, as it is leaving. */
mrmr_err tree_bring_path_now(struct bringing *b);
/* It is that drive's own word. Returns the error. */
mrmr_err tree_bring_to_said(struct bringing *b, mrmr_err err);

/* --- tree_bring_record.c --- */

/* It gets this prefix for its own: POOL_BROUGHT_ENDED if it is through, and the record is for whoever asks what was brought (brought.h),
 * who removes it. */
void tree_bring_record_is(struct pool_tree *tree, const char *record, const char *prefix);
/* What lies on that drive at the path, which is this, by its change time, too, if that is not 0, was brought elsewhere, or replaced, and could
 * not be removed: it does not show, and goes when it can. What the catalog has of it neither. Durable on return. Among the writers. */
mrmr_err tree_bring_goes_later(
    struct pool_tree *tree, size_t from, const char *path, const struct drv_stat *file);

#endif
