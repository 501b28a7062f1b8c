/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of what a rebuild does to the catalog before it restores anything: rebuild_gone.c does what
 * was removed while the drive was away, and all of it in one transaction; rebuild_moved.c what was
 * renamed; rebuild_went.c decides of what was removed before the drive went whether it comes back.
 *
 * Threads: one. Unless it says otherwise each is called inside of the transaction.
 */
#ifndef MRMR_POOL_REBUILD_FORGET_H
#define MRMR_POOL_REBUILD_FORGET_H

#include "pool/jobs/rebuild.h"
#include "pool/records/moved.h"

struct forget_went;

struct forgetting {
    struct rebuild *rebuild;
    struct pool_gone_list gone, over;
    struct pool_moved_steps moved;
    uint64_t moved_size;
    struct forget_went *went;
    /* Of one try of the transaction. */
    struct mrmr_bytes full;      /* ids of nodes, in order */
    struct mrmr_bytes unrenamed; /* from and to of each, with their NULs */
    struct mrmr_bytes there;     /* ids of records that wait: of what has been restored */
    uint64_t removed, back;
    bool look; /* forget_went_look has to look for something */
};

/* --- names in the catalog: rebuild_moved.c --- */

struct name_at {
    struct meta_node node;
    int64_t parent;
    const char *name; /* in the path */
};

bool forget_is_absent(mrmr_err err);
mrmr_err forget_find(
    struct meta *meta, int64_t root, const char *path, struct name_at *ret_at, bool *ret_found);
mrmr_err forget_has_children(struct meta *meta, const struct meta_node *node, bool *ret_has);
/* The name goes, and with the last one the node: its bytes went with their drive. */
mrmr_err forget_take_out(struct forgetting *f, const struct name_at *at);

/* A record of a rename. What cannot be done is noted in f->unrenamed. */
mrmr_err forget_rename(struct forgetting *f, const struct pool_moved_step *step);

/* --- names that went: rebuild_went.c --- */

mrmr_err forget_went_create(struct forgetting *f);
void forget_went_destroy(struct forgetting *f); /* NULL-safe */
/* Before each try: of no name is known that it went, and there may be other steps. */
mrmr_err forget_went_begin(struct forgetting *f);

/* Nothing of the node is on a drive that is there. */
mrmr_err forget_is_lost(const struct rebuild *rebuild, int64_t node, bool *ret_lost);
/* The step f->moved.step[at] is of a name that went: so did the catalog's, if it is of the same inode. */
mrmr_err forget_went(struct forgetting *f, size_t at);
/* By a step before. */
bool forget_went_is(const struct forgetting *f, int64_t parent, const char *name, int64_t node);
/* Another thing may have its name and its number now. */
void forget_went_is_over(struct forgetting *f, const struct name_at *at);
/* Everything in the folder went by a step before; then it is taken out. *ret_empty: there is nothing in
 * it any more. */
mrmr_err forget_went_clear(struct forgetting *f, const struct meta_node *folder, bool *ret_empty);

/* After all renames: what went stays in the catalog, and so is restored, if nothing else is known to
 * have its path. Where f->look is set after it, not all of them have been looked for: it fails with
 * MRMR_CHANGED, and when no transaction is open any more, and writers go on, forget_went_look is called
 * and all is done once more. */
mrmr_err forget_went_settle(struct forgetting *f);
mrmr_err forget_went_look(struct forgetting *f);

#endif
