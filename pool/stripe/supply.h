/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The exposed ranges of one drive, handed out block by block: what has been exposed for longest first,
 * so that where there is room for a part only, or the work ends early, what is left is what has been
 * in danger for least. What is young is left out (young.h).
 *
 * By age, but roughly: ranges come in spans of time, each as long as a quarter of the age at which it
 * begins, and a minute at least; within a span they come in the order in which the drive was scanned,
 * which is how its files are read best. And the end of a block may be filled with a piece that fits,
 * from a window of ranges ahead. Each span costs a walk over what is exposed on the drive, and even a
 * year has no more than some fifty; what one scan found is one.
 *
 * Of a file that is written to all the time, leaves that were written to a moment ago, or are cut off by now, are left out.
 *
 * Each leaf is handed out once. Memory: one window a drive. One thread at a time.
 */
#ifndef MRMR_POOL_SUPPLY_H
#define MRMR_POOL_SUPPLY_H

#include "pool/stripe/young.h"

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
    const struct pool_young *young;
    struct meta_exposed range[POOL_SUPPLY_WINDOW];
    size_t head, n;
    int64_t oldest, newest; /* the span of time at hand, both included */
    int64_t last_node;      /* of the last range of it loaded, and its last leaf */
    uint64_t last_leaf;
    bool begun, end;
    struct meta_node node; /* whose leaves were looked at last; id 0: none */
    bool hot;              /* some of them may have been written to a moment ago (young.h) */
    uint64_t size;         /* then: of its file now */
};

void pool_supply_init(struct pool_supply *supply, int64_t drive, const struct pool_skips *skips,
    const struct pool_young *young);

/* Add up to `most` extents of up to `room` bytes to the image, in the drive's block from `place`
 * on. *ret_bytes: how many bytes; 0 if there is nothing (that fits). */
mrmr_err pool_supply_pack(struct pool_supply *supply, struct pool_image *image, uint64_t place,
    uint64_t room, size_t most, uint64_t *ret_bytes);

#endif
