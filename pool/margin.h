/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Margins: how many further drives a stripe, an extent or a file can lose now. The catalog names
 * facts; this reckons with who is there.
 *
 * A stripe's margin is its intact rows on readable drives, less its blocks that are on absent
 * drives or dirty (an extent MISSING, GONE or SUSPECT). An extent's is reckoned likewise, but only
 * blocks that miss bytes in the extent's own range count: it is never less than its stripe's.
 *
 * A struct pool_margins remembers stripes without dirt: for one listing or status, by one thread,
 * while nothing is committed.
 */
#ifndef MRMR_POOL_MARGIN_H
#define MRMR_POOL_MARGIN_H

#include "pool/engine.h"

struct pool_margins; /* about 100 KiB */
mrmr_err pool_margins_create(struct pool *pool, struct pool_margins **ret_margins);
void pool_margins_destroy(struct pool_margins *margins); /* NULL-safe */

/* -1 or less: more is missing than there are rows. */
int pool_brief_margin(struct pool *pool, const struct meta_stripe_brief *brief);
/* Of extent e of the image; *ret_erased: its own bytes are not in place. */
int pool_extent_margin(struct pool *pool, const struct meta_stripe *stripe,
    const struct meta_extent *e, bool *ret_erased);

struct pool_reach {
    int survives; /* further drives' loss that every byte survives; -1: some byte cannot be read now
                   */
    bool degraded; /* some byte can be read by reconstruction only */
    uint64_t exposed_bytes;
};
/* Of a regular file; redundancy is what a file without bytes is said to survive. */
mrmr_err pool_node_reach(
    struct pool_margins *margins, const struct meta_node *node, struct pool_reach *ret_reach);

#endif
