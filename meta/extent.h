/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading extents out of queries into one allocation. Called with meta->lock held.
 */
#ifndef MRMR_META_EXTENT_H
#define MRMR_META_EXTENT_H

#include "meta/query.h"

#define META_EXTENT_COLUMNS                                                                        \
    "id, stripe, drive, place, node, first, leaves, bytes, version, state, digests"

/* Zero-initialise; digests of extent[i] follow those of extent[i - 1] in `digests`. */
struct meta_extent_list {
    struct meta_extent *extent;
    size_t n, room;
    struct mrmr_bytes digests;
};
void meta_extent_list_end(struct meta_extent_list *list);
#define meta_autoextents __attribute__((cleanup(meta_extent_list_end)))

/* All rows of a query that gives META_EXTENT_COLUMNS. */
mrmr_err meta_extent_list_read(struct meta_extent_list *list, struct meta_query *q);

/* The list as one allocation: n extents, and their digests behind them. */
mrmr_err meta_extent_list_finish(struct meta_extent_list *list, struct meta_extent **ret_extents);

mrmr_err meta_extent_insert(struct meta *meta, const struct meta_extent *extent);

#endif
