/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was brought from one drive to another through a mount (tree_bring.c), and is not protected there yet: what stripes count
 * on of it stays counted until then (I6). By its removal alone it would be taken for a file that nobody wants.
 *
 * The pool's folder has a record for each (tree_pair.h), durable before the copy has a name: `bring-<16 hex>` while it is
 * brought, and `brought-<16 hex>` from when it is through. The owner removes those when nothing counts by them any more. Both are
 * looked at, so it does not matter which name a cut leaves.
 *
 *     before a scan    a release leaves the source alone (retained_take.c).
 *     in a scan        the source is not taken for vanished, and keeps its node and extents.
 *     after it         the source's extents are given to the copy's node, as bytes that stand in for those leaves that are
 *                      the same in both, by reading; what is kept of others nobody wants. So the copy can be read, and rebuilt, from the stripes as
 *                      far as its bytes are the ones that it came with, and when it is protected what stood in for it is taken out.
 *
 * Where the copy cannot be looked at, as its drive is away, the source stays as it is; also where that drive is gone for good, until the user says
 * --accept-changes. A copy that nobody has any more, since the user removed it, counts for nothing.
 *
 * Crash argument. No drive is written to. Extents, names and the source's node change in one transaction. Records are removed
 * after that, and are not missed before: one of a source that the catalog does not have says nothing.
 *
 * Threads: the owner's. Errors: of the pool's folder and the catalog.
 */
#ifndef MRMR_POOL_BROUGHT_H
#define MRMR_POOL_BROUGHT_H

#include "pool/engine.h"

#define POOL_BROUGHT_BEGUN "bring-"
#define POOL_BROUGHT_ENDED "brought-"

struct pool_brought_file;
struct pool_brought {
    struct pool_brought_file *file;
    size_t n;
};
mrmr_err pool_brought_load(struct pool *pool, struct pool_brought *ret_brought);
void pool_brought_free(struct pool_brought *brought);

/* What stripes count on of the node counts for what it was brought to. scanned: all drives that are there have just been walked, so a copy that the
 * catalog does not have, and that is not at its path, is gone. accept: the user gives up what is on drives that the pool has not any more. */
mrmr_err pool_brought_counts(struct pool *pool, const struct pool_brought *brought,
    const struct meta_node *node, bool scanned, bool accept, bool *ret_counts);
/* Of the nodes that the catalog has of files that were brought from the drive, those that do. */
typedef mrmr_err (*pool_brought_fn)(int64_t node, void *arg);
mrmr_err pool_brought_each(struct pool *pool, const struct pool_brought *brought, int64_t drive,
    bool accept, pool_brought_fn fn, void *arg);

/* After a scan, and outside of a transaction: sources stand in for their copies, and records that say nothing any more go. What cannot be
 * now, since its file is written to or its drive does not answer, is as it was, for the next time. */
mrmr_err pool_brought_settle(struct pool *pool, const struct pool_job *job);

#endif
