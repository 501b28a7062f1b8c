/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Exposed ranges, as stripe_store.c needs them. Called with meta->lock held.
 */
#ifndef MRMR_META_EXPOSED_H
#define MRMR_META_EXPOSED_H

#include "meta/query.h"

/* Does one range of the node cover [first, first + leaves)? Neighbours are always merged, so no two
 * ever need to. */
mrmr_err meta_exposed_covers(struct meta *meta, int64_t drive, int64_t node, uint64_t first,
    uint64_t leaves, bool *ret_covers);

#endif
