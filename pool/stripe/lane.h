/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Lanes: the sources of a stripe's next generation, each a thread that reads one block's extents or
 * one old row in order and puts windows of it into a ring. What a lane puts is checked (what is
 * known already) or digested (what is new).
 */
#ifndef MRMR_POOL_LANE_H
#define MRMR_POOL_LANE_H

#include "pool/engine.h"
#include "pool/stripe/ring.h"

/* One extent to read: `to` says where it stands in what is made, `from` where it stood in the
 * view's image (NULL: it is new). */
struct pool_lane_item {
    struct meta_extent *to;
    const struct meta_extent *from;
};

struct pool_lane {
    /* Set before the thread starts. */
    struct pool *pool;
    const struct pool_job *job;
    struct pool_view
        *view; /* of the generation that `from` and rows belong to; NULL if all is new */
    struct pool_lane_item *items; /* a block's extents by their place in `to`; owned */
    size_t nitems;
    uint8_t slot;
    enum pool_leaf_how how; /* of items with a `from` */
    bool is_row;            /* reads row `index` of the view instead of items */
    unsigned index;
    uint64_t length; /* of the stripe that is made; the view's row may be shorter, or longer */
    size_t window;   /* bytes; a multiple of META_LEAF */
    struct pool_drive *turn_on; /* waits for its turn to read this drive; NULL: does not */
    uint64_t turn;

    struct pool_ring ring;
    pthread_t thread;
    bool started;

    /* The thread's own; the owner looks after joining. */
    struct mrmr_story story;
    int64_t unstable; /* the node that could not be read as the catalog knows it; 0 = none */
    size_t item;
    uint64_t leaf;
    struct drv_file *file; /* of the new extent being read */
    bool hot;              /* it was found to be written to all the time */
    bool cut;              /* and to end before a leaf that was to be read */
    struct pool_drive *file_drive;
    struct meta_node node;
    struct meta_extent *former; /* stand in for the new extent being read; owned */
    size_t formers;
    struct pool_paths paths;
    struct drv_file *known; /* the original of the known extent being read */
    int64_t known_node;
    uint8_t *carry; /* a leaf that crosses the end of a window */
    uint64_t carry_at, carry_end;
};

/* How many bytes one buffer of each ring gets, so that all stay within `set memory` where that
 * gives each a leaf at least. */
mrmr_err pool_lane_window(struct pool *pool, size_t rings, size_t *ret_bytes);

mrmr_err pool_lane_start(struct pool_lane *lane);
/* Closes the ring, joins, and restores the lane's story if it failed. */
mrmr_err pool_lane_join(struct pool_lane *lane);
void pool_lane_free(struct pool_lane *lane);

/* The node's file is not as the catalog has it since it was written to through MRMR after the scan: what is read of it now may be claimed, but
 * for the leaves that are written to before the commit (written.h). */
bool pool_lane_hot(struct pool *pool, const struct pool_drive *drive, const struct meta_node *node,
    const struct drv_stat *stat);
/* A file of this size ends before that leaf of the node does. */
static inline bool pool_leaf_is_cut(const struct meta_node *node, uint64_t leaf, uint64_t size)
{
    const uint64_t at = leaf * META_LEAF, left = node->size > at ? node->size - at : 0;
    return size < at + (left < META_LEAF ? left : META_LEAF);
}

#endif
