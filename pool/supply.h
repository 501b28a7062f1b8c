/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The exposed ranges of one drive, in the order in which it was scanned, handed out block by block.
 * Each leaf is handed out once; a window of ranges ahead is kept so that the end of a block can be
 * filled with a piece that fits. Memory: one window a drive. One thread at a time.
 */
#ifndef MRMR_POOL_SUPPLY_H
#define MRMR_POOL_SUPPLY_H

#include "pool/engine.h"

/* Nodes that are left out for now: they changed while they were read, or cannot be read. Sorted. */
struct pool_skips {
    int64_t *node;
    size_t n, room;
};
mrmr_err pool_skips_add(struct pool_skips *skips, int64_t node);
bool pool_skips_has(const struct pool_skips *skips, int64_t node);

enum { POOL_SUPPLY_WINDOW = 1024 };

struct pool_supply {
    struct pool *pool;
    int64_t drive;
    const struct pool_skips *skips;
    struct meta_exposed range[POOL_SUPPLY_WINDOW];
    size_t head, n;
    int64_t last_node; /* of the last range loaded, and its last leaf */
    uint64_t last_leaf;
    bool end;
};

void pool_supply_init(
    struct pool_supply *supply, struct pool *pool, int64_t drive, const struct pool_skips *skips);

/* Add up to `most` extents of up to `room` bytes to the image, in the drive's block from `place`
 * on. *ret_bytes: how many bytes; 0 if there is nothing (that fits). */
mrmr_err pool_supply_pack(struct pool_supply *supply, struct pool_image *image, uint64_t place,
    uint64_t room, size_t most, uint64_t *ret_bytes);

#endif
