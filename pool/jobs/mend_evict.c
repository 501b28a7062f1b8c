/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mend: blocks that leave a stripe in which there is no drive left for a row.
 *
 * Crash argument. Their extents become STALE and their leaves exposed in one transaction. STALE extents of
 * exposed leaves go on being encoded and decoded (pool_extent_still_counts), so nothing is less safe until new
 * stripes have taken the leaves up; cut anywhere, the next run either goes on or takes them back
 * (pool_mend_return).
 */
#include "pool/drive/drive.h"
#include "pool/jobs/mend.h"

enum {
    MEND_BATCH = 64,
    MEND_EVICTIONS = 256 /* a round: protect takes them up before there are more */
};

/* A stripe that spans every drive has no room for another row. Its smallest blocks leave it: their
 * leaves are exposed again, and the old extents stand in for them, so nothing is less safe, until
 * new stripes have taken them up; then this stripe is encoded without them and gets its rows. */
static mrmr_err mend_evict_extent(struct mend *m, const struct meta_extent *extent)
{
    struct meta_verdict stale = {extent->leaves, META_STALE, false};
    struct meta_exposed range = {.drive = extent->drive,
        .node = extent->node,
        .first = extent->first,
        .leaves = extent->leaves,
        .bytes = extent->bytes,
        .since = mrmr_clock_real()};
    struct meta_node node;
    MRMR_TRY(meta_node_get(m->pool->meta, extent->node, &node));
    range.drive = node.drive;
    MRMR_TRY(meta_extent_judge(m->pool->meta, extent->id, &stale, 1));
    return meta_expose(m->pool->meta, &range);
}

struct mend_evict {
    struct mend *mend;
    const struct meta_stripe *stripe;
    size_t blocks; /* how many shall leave */
};

static mrmr_err mend_evict_in(struct meta *meta, void *arg)
{
    (void)meta;
    const struct mend_evict *evict = arg;
    bool left[META_SLOTS_MAX] = {false};
    for (size_t n = 0; n < evict->blocks; n++) {
        size_t smallest = SIZE_MAX;
        for (size_t i = 0; i < evict->stripe->blocks; i++)
            if (!left[i] && (smallest == SIZE_MAX || evict->stripe->block[i].length <
                                                         evict->stripe->block[smallest].length))
                smallest = i;
        left[smallest] = true;
        const struct meta_block *block = &evict->stripe->block[smallest];
        for (size_t i = 0; i < block->extents; i++)
            MRMR_TRY(
                mend_evict_extent(evict->mend, &evict->stripe->extent[block->first_extent + i]));
    }
    return MRMR_OK;
}

static bool image_all_live(const struct meta_stripe *stripe)
{
    for (size_t i = 0; i < stripe->extents; i++)
        if (stripe->extent[i].state != META_LIVE)
            return false;
    return true;
}

/* Drives that may hold rows, and are in the stripe or have room for a row of it; the room that all
 * have together; and whether one of them is not in the stripe. One without room is no place for a
 * row: counted, it would keep the stripe from giving up a block for ever. */
static size_t mend_row_drives(
    struct mend *m, const struct meta_stripe *stripe, uint64_t *ret_room, bool *ret_free)
{
    size_t drives = 0;
    *ret_room = 0;
    *ret_free = false;
    for (size_t i = 0; i < m->pool->ndrives; i++) {
        const struct pool_drive *drive = m->pool->drives[i];
        uint64_t room;
        bool in = pool_image_block(stripe, drive->meta.id) != NULL;
        if (!pool_drive_writable(drive) || !pool_drive_may_hold_rows(&drive->meta) ||
            pool_drive_room(m->pool, m->pool->drives[i], &room))
            continue;
        for (size_t j = 0; j < stripe->rows; j++)
            in = in ||
                 (stripe->row[j].drive == drive->meta.id && stripe->row[j].state == META_ROW_OK);
        bool takes = !in && room >= pool_row_bound(stripe->length);
        drives += in || takes;
        *ret_room += room;
        *ret_free = *ret_free || takes;
    }
    return drives;
}

/* Only what is whole is rearranged, only where enough drives are at hand for all rows and a block,
 * and only as much as the room they have takes up twice over: rows of new stripes for what leaves,
 * and the rows that this one lacks. */
mrmr_err pool_mend_deepen(struct mend *m, const struct meta_stripe *stripe)
{
    size_t rows = 0;
    for (size_t i = 0; i < stripe->rows; i++)
        rows += stripe->row[i].state == META_ROW_OK;
    uint64_t room, need = 2 * m->redundancy * pool_row_bound(stripe->length);
    bool free_drive;
    size_t drives = mend_row_drives(m, stripe, &room, &free_drive);
    size_t wanted = stripe->blocks + m->redundancy;
    if (rows >= m->redundancy || free_drive || drives <= m->redundancy || wanted <= drives ||
        wanted - drives >= stripe->blocks || !image_all_live(stripe) ||
        pool_image_margin(m->pool, stripe) != (int)rows || m->evicted == MEND_EVICTIONS ||
        room < m->evict_room + need)
        return MRMR_OK;
    struct mend_evict evict = {m, stripe, wanted - drives};
    MRMR_TRY(meta_atomically(m->pool->meta, mend_evict_in, &evict));
    pool_views_forget(m->pool, stripe->id);
    m->evicted++;
    m->evict_room += need;
    return MRMR_OK;
}

static mrmr_err mend_return_in(struct meta *meta, void *arg)
{
    const struct mend_evict *back = arg;
    int64_t last = 0;
    for (size_t i = 0; i < back->stripe->extents; i++) {
        const struct meta_extent *extent = &back->stripe->extent[i];
        struct meta_node node;
        if (extent->state != META_STALE || !extent->node || extent->node == last)
            continue;
        last = extent->node;
        MRMR_TRY(meta_node_get(meta, last, &node));
        MRMR_TRY(pool_stale_return(back->mend->pool, &node));
    }
    return MRMR_OK;
}

mrmr_err pool_mend_return(struct pool *pool)
{
    struct mend m = {.pool = pool, .redundancy = pool_redundancy(pool)};
    int64_t ids[MEND_BATCH], after = 0;
    for (;;) {
        size_t n;
        MRMR_TRY(meta_stripes_to_mend(pool->meta, after, m.redundancy, ids, MEND_BATCH, &n));
        if (!n)
            return MRMR_OK;
        for (size_t i = 0; i < n; i++) {
            struct meta_stripe stripe = {0};
            MRMR_TRY(meta_stripe_load(pool->meta, ids[i], &stripe));
            struct mend_evict back = {.mend = &m, .stripe = &stripe};
            mrmr_err err = meta_atomically(pool->meta, mend_return_in, &back);
            meta_stripe_free(&stripe);
            MRMR_TRY(err);
            pool_views_forget(pool, ids[i]);
        }
        after = ids[n - 1];
    }
}
