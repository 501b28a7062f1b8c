/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/margin.h"

#include <limits.h>
#include <string.h>

enum { MARGIN_SLOTS = 4096, REACH_TRIES = 8 };

struct margin_slot {
    int64_t stripe; /* 0: free */
    int margin;
    bool dirty;
};

struct pool_margins {
    struct pool *pool;
    struct meta_stripe_brief brief;
    struct margin_slot slot[MARGIN_SLOTS];
};

mrmr_err pool_margins_create(struct pool *pool, struct pool_margins **ret_margins)
{
    struct pool_margins *margins = calloc(1, sizeof *margins);
    if (!margins)
        return mrmr_nomem();
    margins->pool = pool;
    *ret_margins = margins;
    return MRMR_OK;
}

void pool_margins_destroy(struct pool_margins *margins)
{
    free(margins);
}

static bool drive_there(struct pool *pool, int64_t id)
{
    return pool_drive_present(pool_drive_by_id(pool, id));
}

static int rows_there(struct pool *pool, const struct meta_row row[], size_t n)
{
    int there = 0;
    for (size_t i = 0; i < n; i++)
        there += row[i].state == META_ROW_OK && drive_there(pool, row[i].drive);
    return there;
}

int pool_brief_margin(struct pool *pool, const struct meta_stripe_brief *brief)
{
    int margin = rows_there(pool, brief->row, brief->rows);
    for (size_t i = 0; i < brief->blocks; i++)
        margin -= brief->block[i].dirty || !drive_there(pool, brief->block[i].drive);
    return margin;
}

static bool extent_erased(const struct meta_extent *e)
{
    return e->state == META_MISSING || e->state == META_GONE || e->state == META_SUSPECT;
}

/* Whether the block misses bytes within [start, end). */
static bool block_misses(struct pool *pool, const struct meta_stripe *stripe,
    const struct meta_block *block, uint64_t start, uint64_t end)
{
    if (!drive_there(pool, block->drive))
        return start < block->length;
    for (size_t i = 0; i < block->extents; i++) {
        const struct meta_extent *e = &stripe->extent[block->first_extent + i];
        if (extent_erased(e) && e->place < end && start < e->place + e->bytes)
            return true;
    }
    return false;
}

int pool_extent_margin(struct pool *pool, const struct meta_stripe *stripe,
    const struct meta_extent *e, bool *ret_erased)
{
    int margin = rows_there(pool, stripe->row, stripe->rows);
    for (size_t i = 0; i < stripe->blocks; i++)
        margin -= block_misses(pool, stripe, &stripe->block[i], e->place, e->place + e->bytes);
    *ret_erased = extent_erased(e) || !drive_there(pool, e->drive);
    return margin;
}

/* --- Of a file --- */

static mrmr_err margins_slot(
    struct pool_margins *margins, int64_t stripe, const struct margin_slot **ret_slot)
{
    struct margin_slot *slot = &margins->slot[(uint64_t)stripe % MARGIN_SLOTS];
    if (slot->stripe != stripe) {
        MRMR_TRY(meta_stripe_brief_get(margins->pool->meta, stripe, &margins->brief));
        slot->stripe = stripe;
        slot->margin = pool_brief_margin(margins->pool, &margins->brief);
        slot->dirty = margins->brief.dirty_blocks > 0;
    }
    *ret_slot = slot;
    return MRMR_OK;
}

/* In a dirty stripe the extent's own range decides. */
static mrmr_err margins_look_close(
    struct pool_margins *margins, const struct meta_extent *e, int *ret_margin)
{
    struct pool_view *view;
    bool erased;
    MRMR_TRY(pool_view_get(margins->pool, e->stripe, &view));
    *ret_margin = pool_extent_margin(margins->pool, pool_view_image(view), e, &erased);
    pool_view_put(margins->pool, view);
    return MRMR_OK;
}

static mrmr_err reach_extent(
    struct pool_margins *margins, const struct meta_extent *e, struct pool_reach *reach)
{
    const struct margin_slot *slot;
    /* A suspect file is there and can be read, whatever became of the bytes that were coded. */
    bool erased = e->state == META_MISSING || !drive_there(margins->pool, e->drive);
    MRMR_TRY(margins_slot(margins, e->stripe, &slot));
    int margin = slot->margin;
    if (slot->dirty)
        MRMR_TRY(margins_look_close(margins, e, &margin));
    /* What is in place can be read whatever the rows say. */
    if (margin < 0)
        margin = erased ? -1 : 0;
    if (margin < reach->survives)
        reach->survives = margin;
    reach->degraded = reach->degraded || erased;
    return MRMR_OK;
}

static bool extent_counts(const struct meta_extent *e)
{
    return e->state == META_LIVE || e->state == META_MISSING || e->state == META_SUSPECT;
}

/* *ret_gone: beside a writer, the stripe of one is by now. */
static mrmr_err reach_extents(struct pool_margins *margins, const struct meta_node *node,
    struct pool_reach *reach, bool *ret_gone)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n = 0;
    MRMR_TRY(meta_extents_of(margins->pool->meta, node->id, &extents, &n));
    for (size_t i = 0; i < n && !*ret_gone; i++) {
        if (!extent_counts(&extents[i]))
            continue;
        mrmr_err err = reach_extent(margins, &extents[i], reach);
        *ret_gone = mrmr_class_of(err) == MRMR_CLASS_ABSENT;
        if (err && !*ret_gone)
            return err;
    }
    return MRMR_OK;
}

static mrmr_err reach_once(struct pool_margins *margins, const struct meta_node *node,
    struct pool_reach *ret_reach, bool *ret_gone)
{
    struct pool_reach reach = {.survives = INT_MAX};
    mrmr_autofree struct meta_exposed *exposed = NULL;
    size_t n = 0;
    MRMR_TRY(meta_exposed_of(margins->pool->meta, node->id, &exposed, &n));
    for (size_t i = 0; i < n; i++)
        reach.exposed_bytes += exposed[i].bytes;
    if (n)
        reach.survives = drive_there(margins->pool, node->drive) ? 0 : -1;
    MRMR_TRY(reach_extents(margins, node, &reach, ret_gone));
    if (reach.survives == INT_MAX)
        reach.survives = (int)pool_redundancy(margins->pool);
    *ret_reach = reach;
    return MRMR_OK;
}

/* What takes the place of a stripe that has gone may survive less than all others: nothing is claimed without it. */
mrmr_err pool_node_reach(
    struct pool_margins *margins, const struct meta_node *node, struct pool_reach *ret_reach)
{
    struct pool_reach reach;
    bool gone = true;
    for (unsigned i = 0; gone && i < REACH_TRIES; i++) {
        gone = false;
        MRMR_TRY(reach_once(margins, node, &reach, &gone));
    }
    if (gone && reach.survives > 0)
        reach.survives = 0;
    *ret_reach = reach;
    return MRMR_OK;
}
