/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/stripe/supply.h"
#include "pool/stripe/lane.h"

#include <string.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

#define SPAN_LEAST (60 * MRMR_NS_PER_S)

/* Where node is, or would be inserted. */
static size_t skips_find(const struct pool_skips *skips, int64_t node)
{
    size_t lo = 0, hi = skips->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (skips->node[mid] < node)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool pool_skips_has(const struct pool_skips *skips, int64_t node)
{
    size_t at = skips_find(skips, node);
    return at < skips->n && skips->node[at] == node;
}

mrmr_err pool_skips_add(struct pool_skips *skips, int64_t node)
{
    if (pool_skips_has(skips, node))
        return MRMR_OK;
    if (skips->n == skips->room) {
        size_t room = skips->room ? 2 * skips->room : 64;
        int64_t *grown = realloc(skips->node, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        skips->node = grown;
        skips->room = room;
    }
    size_t at = skips_find(skips, node);
    memmove(skips->node + at + 1, skips->node + at, (skips->n - at) * sizeof *skips->node);
    skips->node[at] = node;
    skips->n++;
    return MRMR_OK;
}

void pool_supply_init(struct pool_supply *supply, int64_t drive, const struct pool_skips *skips,
    const struct pool_young *young)
{
    memset(supply, 0, sizeof *supply);
    supply->pool = young->pool;
    supply->drive = drive;
    supply->skips = skips;
    supply->young = young;
}

/* Where a span of time that begins there ends. What a clock that was wrong dates before 1970 is one,
 * and so is the last minute with all that is to come. */
static int64_t span_end(int64_t begin, int64_t now)
{
    if (begin < 0)
        return -1;
    int64_t age = now - begin, length = age / 4 > SPAN_LEAST ? age / 4 : SPAN_LEAST;
    return age <= length ? INT64_MAX : begin + length;
}

/* The next span with anything in it. */
static mrmr_err supply_next_span(struct pool_supply *supply)
{
    int64_t from = supply->begun ? supply->newest : INT64_MIN;
    bool any = false;
    if (supply->begun && from < INT64_MAX)
        from++;
    if (!supply->begun || supply->newest < INT64_MAX)
        MRMR_TRY(
            meta_exposed_oldest(supply->pool->meta, supply->drive, from, &any, &supply->oldest));
    supply->begun = true;
    supply->end = !any;
    if (any)
        supply->newest = span_end(supply->oldest, supply->young->now);
    supply->last_node = 0;
    supply->last_leaf = 0;
    return MRMR_OK;
}

/* Of what was loaded behind the window, what is not young becomes part of it. */
static mrmr_err supply_take(struct pool_supply *supply, size_t got)
{
    const struct meta_exposed *from = supply->range + supply->n;
    for (size_t i = 0; i < got; i++) {
        int64_t until;
        MRMR_TRY(pool_young_until(supply->young, &from[i], &until));
        if (!until)
            supply->range[supply->n++] = from[i];
    }
    return MRMR_OK;
}

/* As much more of the span as there is room for. */
static mrmr_err supply_load(struct pool_supply *supply)
{
    size_t got, most = POOL_SUPPLY_WINDOW - supply->n;
    struct meta_exposed *into = supply->range + supply->n;
    MRMR_TRY(meta_exposed_aged(supply->pool->meta, supply->drive, supply->oldest, supply->newest,
        supply->last_node, supply->last_leaf, into, most, &got));
    if (got) {
        /* A commit may cut the front of the last range meanwhile; what it leaves of it begins later
         * and is in the window already. */
        supply->last_node = into[got - 1].node;
        supply->last_leaf = into[got - 1].first + into[got - 1].leaves - 1;
    }
    MRMR_TRY(supply_take(supply, got));
    return got < most ? supply_next_span(supply) : MRMR_OK;
}

static mrmr_err supply_refill(struct pool_supply *supply)
{
    if (supply->end || supply->n - supply->head > POOL_SUPPLY_WINDOW / 2)
        return MRMR_OK;
    memmove(supply->range, supply->range + supply->head,
        (supply->n - supply->head) * sizeof *supply->range);
    supply->n -= supply->head;
    supply->head = 0;
    if (!supply->begun)
        MRMR_TRY(supply_next_span(supply));
    while (!supply->end && supply->n <= POOL_SUPPLY_WINDOW / 2)
        MRMR_TRY(supply_load(supply));
    return MRMR_OK;
}

/* Add the range's leaves [first, first + leaves) to the block. */
static mrmr_err supply_give(struct pool_supply *supply, const struct meta_exposed *range,
    struct pool_image *image, uint64_t place)
{
    struct meta_node node;
    mrmr_err err = meta_node_get(supply->pool->meta, range->node, &node);
    MRMR_TRY(err);
    struct meta_extent extent = {.drive = supply->drive,
        .node = range->node,
        .place = place,
        .first = range->first,
        .leaves = range->leaves,
        .bytes = range->bytes,
        .version = node.version,
        .state = META_LIVE};
    return pool_image_add_extent(image, &extent);
}

static void supply_drop_head(struct pool_supply *supply)
{
    supply->head++;
}

/* What cannot be looked at is found by who reads it. */
static uint64_t supply_size_now(const struct pool_supply *supply)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct drv_stat stat;
    return pool_node_open(supply->pool, supply->node.id, &file) || drv_file_stat(file, &stat)
               ? UINT64_MAX
               : stat.size;
}

static mrmr_err supply_look(struct pool_supply *supply, int64_t node)
{
    if (supply->node.id == node || !supply->young->rested.life)
        return MRMR_OK;
    supply->hot = false;
    mrmr_err err = meta_node_get(supply->pool->meta, node, &supply->node);
    if (err)
        supply->node.id = 0;
    else
        supply->hot = pool_young_is_hot(supply->young, &supply->node);
    if (supply->hot)
        supply->size = supply_size_now(supply);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err; /* giving it fails, too */
}

static bool supply_leaf_is_hot(const struct pool_supply *supply, uint64_t leaf)
{
    return supply->hot && (pool_leaf_is_cut(&supply->node, leaf, supply->size) ||
                              pool_young_leaf_is_hot(supply->young, &supply->node, leaf));
}

/* Leaves that are hot are cut off its front. *ret_leaves: how many follow that are not; 0: nothing is left of it. */
static mrmr_err supply_rested(
    struct pool_supply *supply, struct meta_exposed *range, uint64_t *ret_leaves)
{
    uint64_t n = 0;
    MRMR_TRY(supply_look(supply, range->node));
    for (; range->leaves && supply_leaf_is_hot(supply, range->first); range->leaves--) {
        range->first++;
        range->bytes -= range->bytes < META_LEAF ? range->bytes : META_LEAF;
    }
    if (!supply->hot)
        n = range->leaves;
    while (n < range->leaves && !supply_leaf_is_hot(supply, range->first + n))
        n++;
    *ret_leaves = n;
    return MRMR_OK;
}

/* Cut off the front of a range: as many whole leaves as fit, or all of it. False if nothing fits.
 */
static bool range_cut_front(struct meta_exposed *range, uint64_t room, struct meta_exposed *ret_cut)
{
    struct meta_exposed cut = *range;
    if (range->bytes > room) {
        cut.leaves = room / META_LEAF;
        cut.bytes = cut.leaves * META_LEAF;
        if (!cut.leaves)
            return false;
    }
    range->first += cut.leaves;
    range->leaves -= cut.leaves;
    range->bytes -= cut.bytes;
    *ret_cut = cut;
    return true;
}

/* The bytes that a range can give to a gap smaller than a leaf: all of it, or its short last leaf;
 * 0 if none. */
static uint64_t range_tail(const struct meta_exposed *range)
{
    return range->leaves ? range->bytes - (range->leaves - 1) * META_LEAF : 0;
}

/* The largest piece in the window that fits a gap, if it is not hot. */
static bool supply_cut_for_gap(
    struct pool_supply *supply, uint64_t gap, struct meta_exposed *ret_cut)
{
    struct meta_exposed *best = NULL;
    for (size_t i = supply->head; i < supply->n; i++) {
        struct meta_exposed *range = &supply->range[i];
        uint64_t tail = range_tail(range);
        if (tail && tail <= gap && (!best || tail > range_tail(best)) &&
            !pool_skips_has(supply->skips, range->node))
            best = range;
    }
    if (!best || supply_look(supply, best->node) ||
        supply_leaf_is_hot(supply, best->first + best->leaves - 1))
        return false;
    *ret_cut = *best;
    ret_cut->first += best->leaves - 1;
    ret_cut->leaves = 1;
    ret_cut->bytes = range_tail(best);
    best->leaves--;
    best->bytes -= ret_cut->bytes;
    return true;
}

mrmr_err pool_supply_pack(struct pool_supply *supply, struct pool_image *image, uint64_t place,
    uint64_t room, size_t most, uint64_t *ret_bytes)
{
    uint64_t given = 0;
    most += image->head.extents;
    while (given < room && image->head.extents < most) {
        MRMR_TRY(supply_refill(supply));
        if (supply->head == supply->n)
            break;
        struct meta_exposed *head = &supply->range[supply->head], cut;
        if (!head->leaves || pool_skips_has(supply->skips, head->node)) {
            supply_drop_head(supply);
            continue;
        }
        uint64_t rested, left = room - given;
        MRMR_TRY(supply_rested(supply, head, &rested));
        if (!rested)
            continue;
        if (rested < head->leaves && rested * META_LEAF < left)
            left = rested * META_LEAF;
        if (!range_cut_front(head, left, &cut) && !supply_cut_for_gap(supply, left, &cut))
            break;
        mrmr_err err = supply_give(supply, &cut, image, place + given);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            continue; /* the node went since; its range goes with it */
        MRMR_TRY(err);
        given += cut.bytes;
    }
    *ret_bytes = given;
    return MRMR_OK;
}
