/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Ranges of a node neither overlap nor touch; all but the last leaf of a range are whole. So a
 * range's bytes follow from its ends and the size of its last leaf.
 */
#include "meta/exposed.h"
#include "meta/node.h"
#include "meta/transaction.h"

struct range {
    uint64_t first, end; /* leaves */
    uint64_t tail;       /* bytes of the last leaf */
    int64_t since;
};

static uint64_t range_bytes(const struct range *range)
{
    return (range->end - range->first - 1) * META_LEAF + range->tail;
}

/* Four columns: first, leaves, bytes, since. */
static mrmr_err range_read(struct meta_query *q, int col, struct range *ret_range)
{
    uint64_t first = meta_col_u64(q, col);
    uint64_t leaves = meta_col_u64(q, col + 1);
    uint64_t bytes = meta_col_u64(q, col + 2);
    int64_t since = meta_col_int(q, col + 3);
    if (!meta_run_sane(first, leaves, bytes))
        meta_col_bad(q, col);
    MRMR_TRY(meta_query_sound(q));
    *ret_range = (struct range){first, first + leaves, bytes - (leaves - 1) * META_LEAF, since};
    return MRMR_OK;
}

/* Ranges of a node with first ≤ ?3, highest first. */
static mrmr_err ranges_down(
    struct meta *meta, struct meta_query *q, int64_t drive, int64_t node, uint64_t from)
{
    return meta_query_start(meta, q,
        "SELECT first, leaves, bytes, since FROM exposed "
        "WHERE drive = ? AND node = ? AND first <= ? ORDER BY first DESC",
        META_ARGS(META_INT(drive), META_INT(node), META_INT(from)));
}

static mrmr_err range_insert(
    struct meta *meta, int64_t drive, int64_t node, const struct range *range)
{
    return meta_run(meta,
        "INSERT INTO exposed (drive, node, first, leaves, bytes, since) VALUES (?, ?, ?, ?, ?, ?)",
        META_ARGS(META_INT(drive), META_INT(node), META_INT(range->first),
            META_INT(range->end - range->first), META_INT(range_bytes(range)),
            META_INT(range->since)));
}

/* Ranges that begin in [first, end). */
static mrmr_err ranges_delete(
    struct meta *meta, int64_t drive, int64_t node, uint64_t first, uint64_t end)
{
    return meta_run(meta,
        "DELETE FROM exposed WHERE drive = ? AND node = ? AND first >= ? AND first < ?",
        META_ARGS(META_INT(drive), META_INT(node), META_INT(first), META_INT(end)));
}

/* Grow range over all that it touches; *ret_grown tells whether there was any. */
static mrmr_err range_unite(
    struct meta *meta, int64_t drive, int64_t node, struct range *range, bool *ret_grown)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(ranges_down(meta, &q, drive, node, range->end));
    *ret_grown = false;
    for (;;) {
        bool row;
        struct range old;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        MRMR_TRY(range_read(&q, 0, &old));
        if (old.end < range->first)
            return MRMR_OK;
        *ret_grown = true;
        if (old.end > range->end) {
            range->end = old.end;
            range->tail = old.tail;
        }
        if (old.first < range->first)
            range->first = old.first;
        if (old.since < range->since)
            range->since = old.since;
    }
}

static mrmr_err expose_locked(struct meta *meta, const struct meta_exposed *in)
{
    if (!meta_run_sane(in->first, in->leaves, in->bytes))
        return mrmr_fail(MRMR_INVALID, "a range of leaves and its bytes do not go together");
    struct meta_node node;
    MRMR_TRY(meta_node_get(meta, in->node, &node));
    if (node.drive != in->drive || node.type != META_REG)
        return mrmr_fail(MRMR_INVALID, "node %lld is not a file of drive %lld", (long long)in->node,
            (long long)in->drive);
    struct range range = {
        in->first, in->first + in->leaves, in->bytes - (in->leaves - 1) * META_LEAF, in->since};
    bool grown;
    MRMR_TRY(range_unite(meta, in->drive, in->node, &range, &grown));
    if (grown)
        MRMR_TRY(ranges_delete(meta, in->drive, in->node, range.first, range.end));
    return range_insert(meta, in->drive, in->node, &range);
}

mrmr_err meta_expose(struct meta *meta, const struct meta_exposed *range)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, expose_locked(meta, range));
}

/* What of the node's ranges lies outside of [first, end) but in a range that reaches into it: at
 * most one piece on either side (leaves 0: none). *ret_lowest: where the lowest such range begins.
 */
static mrmr_err range_cut(struct meta *meta, int64_t drive, int64_t node, uint64_t first,
    uint64_t end, struct range *ret_left, struct range *ret_right, uint64_t *ret_lowest)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(ranges_down(meta, &q, drive, node, end - 1));
    *ret_left = *ret_right = (struct range){0, 0, 0, 0};
    *ret_lowest = end;
    for (;;) {
        bool row;
        struct range old;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        MRMR_TRY(range_read(&q, 0, &old));
        if (old.end <= first)
            return MRMR_OK;
        *ret_lowest = old.first;
        if (old.end > end)
            *ret_right = (struct range){end, old.end, old.tail, old.since};
        if (old.first < first)
            *ret_left = (struct range){old.first, first, META_LEAF, old.since};
    }
}

static mrmr_err unexpose_locked(struct meta *meta, int64_t id, uint64_t first, uint64_t leaves)
{
    if (!leaves)
        return MRMR_OK;
    if (first > META_LEAVES_MAX)
        return mrmr_fail(MRMR_INVALID, "a range of leaves begins beyond 8 EiB");
    uint64_t end = leaves < META_LEAVES_MAX + 1 - first ? first + leaves : META_LEAVES_MAX + 1;
    struct meta_node node;
    MRMR_TRY(meta_node_get(meta, id, &node));
    struct range left, right;
    uint64_t lowest;
    MRMR_TRY(range_cut(meta, node.drive, id, first, end, &left, &right, &lowest));
    if (lowest == end)
        return MRMR_OK; /* nothing is exposed there */
    MRMR_TRY(ranges_delete(meta, node.drive, id, lowest, end));
    if (left.end)
        MRMR_TRY(range_insert(meta, node.drive, id, &left));
    return right.end ? range_insert(meta, node.drive, id, &right) : MRMR_OK;
}

mrmr_err meta_unexpose(struct meta *meta, int64_t node, uint64_t first, uint64_t leaves)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, unexpose_locked(meta, node, first, leaves));
}

mrmr_err meta_exposed_covers(struct meta *meta, int64_t drive, int64_t node, uint64_t first,
    uint64_t leaves, bool *ret_covers)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(ranges_down(meta, &q, drive, node, first));
    bool row;
    struct range range = {0, 0, 0, 0};
    MRMR_TRY(meta_query_step(&q, &row));
    if (row)
        MRMR_TRY(range_read(&q, 0, &range));
    *ret_covers = range.end > first && leaves <= range.end - first;
    return MRMR_OK;
}

/* drive, node, first, leaves, bytes, since */
static mrmr_err exposed_read(struct meta_query *q, struct meta_exposed *ret_exposed)
{
    struct range range;
    int64_t drive = meta_col_id(q, 0), node = meta_col_id(q, 1);
    MRMR_TRY(range_read(q, 2, &range));
    *ret_exposed = (struct meta_exposed){
        drive, node, range.first, range.end - range.first, range_bytes(&range), range.since};
    return MRMR_OK;
}

/* The rows of a query that gives such columns. */
static mrmr_err exposed_list(
    struct meta_query *q, struct meta_exposed *ret_ranges, size_t most, size_t *ret_n)
{
    size_t n = 0;
    while (n < most) {
        bool row;
        MRMR_TRY(meta_query_step(q, &row));
        if (!row)
            break;
        MRMR_TRY(exposed_read(q, &ret_ranges[n]));
        n++;
    }
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err meta_exposed_after(struct meta *meta, int64_t drive, int64_t node, uint64_t first,
    struct meta_exposed *ret_ranges, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT drive, node, first, leaves, bytes, since FROM exposed "
        "WHERE drive = ? AND (node, first) > (?, ?) ORDER BY node, first LIMIT ?",
        META_ARGS(META_INT(drive), META_INT(node), META_INT(first), META_INT(most))));
    return exposed_list(&q, ret_ranges, most, ret_n);
}

mrmr_err meta_exposed_aged(struct meta *meta, int64_t drive, int64_t oldest, int64_t newest,
    int64_t node, uint64_t first, struct meta_exposed *ret_ranges, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT drive, node, first, leaves, bytes, since FROM exposed WHERE drive = ? "
        "AND (node, first) > (?, ?) AND since BETWEEN ? AND ? ORDER BY node, first LIMIT ?",
        META_ARGS(META_INT(drive), META_INT(node), META_INT(first), META_INT(oldest),
            META_INT(newest), META_INT(most))));
    return exposed_list(&q, ret_ranges, most, ret_n);
}

mrmr_err meta_exposed_oldest(
    struct meta *meta, int64_t drive, int64_t from, bool *ret_any, int64_t *ret_since)
{
    mrmr_locked(&meta->lock);
    bool any;
    int64_t since = 0;
    MRMR_TRY(meta_run_int(meta, "SELECT min(since) FROM exposed WHERE drive = ? AND since >= ?",
        META_ARGS(META_INT(drive), META_INT(from)), &any, &since));
    *ret_any = any;
    if (any)
        *ret_since = since;
    return MRMR_OK;
}

mrmr_err meta_exposed_of(
    struct meta *meta, int64_t id, struct meta_exposed **ret_ranges, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    struct meta_node node;
    MRMR_TRY(meta_node_get(meta, id, &node));
    mrmr_autobytes struct mrmr_bytes ranges = MRMR_BYTES_INIT;
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT drive, node, first, leaves, bytes, since FROM exposed "
        "WHERE drive = ? AND node = ? ORDER BY first",
        META_ARGS(META_INT(node.drive), META_INT(id))));
    for (;;) {
        bool row;
        struct meta_exposed range;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            break;
        MRMR_TRY(exposed_read(&q, &range));
        MRMR_TRY(mrmr_bytes_add(&ranges, &range, sizeof range));
    }
    *ret_n = ranges.size / sizeof **ret_ranges;
    *ret_ranges = (struct meta_exposed *)mrmr_steal(ranges.data); /* NULL if there are none */
    return MRMR_OK;
}

/* In the order of the primary key, so a file's ranges come together and nothing is sorted. */
static mrmr_err exposed_sum(struct meta_query *q, struct meta_exposed_total *total)
{
    int64_t last = 0;
    for (;;) {
        bool row;
        struct meta_exposed range;
        MRMR_TRY(meta_query_step(q, &row));
        if (!row)
            return MRMR_OK;
        MRMR_TRY(exposed_read(q, &range));
        total->bytes += range.bytes;
        total->files += range.node != last;
        if (!total->oldest || range.since < total->oldest)
            total->oldest = range.since;
        last = range.node;
    }
}

mrmr_err meta_exposed_total(struct meta *meta, int64_t drive, struct meta_exposed_total *ret_total)
{
    mrmr_locked(&meta->lock);
    struct meta_exposed_total total = {0, 0, 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT drive, node, first, leaves, bytes, since FROM exposed "
        "WHERE drive BETWEEN ? AND ? ORDER BY drive, node, first",
        META_ARGS(META_INT(drive ? drive : 1), META_INT(drive ? drive : INT64_MAX))));
    MRMR_TRY(exposed_sum(&q, &total));
    *ret_total = total;
    return MRMR_OK;
}
