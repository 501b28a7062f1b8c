/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mend: what nothing can give back is given up, on the user's word. A drive that is away may still bring it back, so every one of
 * the stripe has to be there, before its bytes are read and after that.
 *
 * Crash argument. The verdict and what it exposes are one step: before it the stripe waits as it did, and after it the
 * leaves are exposed, as they are in the file now.
 */
#include "pool/jobs/mend.h"

struct mend_give_up {
    const struct meta_extent *extent;
    const struct meta_verdict *verdict; /* one a leaf */
};

/* The verdict and what it exposes are one step: a leaf that is in no extent and not exposed would
 * be a hole. */
static mrmr_err mend_give_up_in(struct meta *meta, void *arg)
{
    const struct mend_give_up *g = arg;
    const struct meta_extent *extent = g->extent;
    struct meta_node node;
    MRMR_TRY(meta_extent_judge(meta, extent->id, g->verdict, extent->leaves));
    if (!extent->node)
        return MRMR_OK;
    MRMR_TRY(meta_node_get(meta, extent->node, &node));
    for (uint64_t i = 0; i < extent->leaves; i++) {
        struct meta_exposed range = {.drive = node.drive,
            .node = extent->node,
            .first = extent->first + i,
            .leaves = 1,
            .bytes = pool_leaf_size(extent, i),
            .since = mrmr_clock_real()};
        if (g->verdict[i].state == META_GONE)
            MRMR_TRY(meta_expose(meta, &range));
    }
    return MRMR_OK;
}

bool pool_stripe_answers(struct pool *pool, const struct meta_stripe *stripe)
{
    for (size_t i = 0; i < stripe->blocks + stripe->rows; i++) {
        struct pool_drive *drive = pool_drive_by_id(pool,
            i < stripe->blocks ? stripe->block[i].drive : stripe->row[i - stripe->blocks].drive);
        struct drv_space space;
        if (i >= stripe->blocks && stripe->row[i - stripe->blocks].state == META_ROW_LOST)
            continue;
        if (!pool_drive_present(drive) || drv_space(drive->drv, &space) ||
            (pool_drive_writable(drive) && pool_drive_still_ours(pool, drive)))
            return false;
    }
    return true;
}

/* The user's word was given: leaves of an extent that nothing can give back are not waited for any
 * longer. */
static mrmr_err mend_give_up_extent(
    struct mend *m, struct pool_view *view, const struct meta_extent *extent)
{
    mrmr_autofree struct meta_verdict *verdict = calloc(extent->leaves, sizeof *verdict);
    mrmr_autofree void *buf = malloc(META_LEAF);
    if (!verdict || !buf)
        return mrmr_nomem();
    uint64_t lost = 0;
    for (uint64_t i = 0; i < extent->leaves; i++) {
        mrmr_err err = pool_leaf_read(m->pool, view, extent, i, POOL_LEAF_ANY, buf, NULL);
        if (err && err != MRMR_LOST)
            return err;
        lost += err == MRMR_LOST;
        verdict[i] = (struct meta_verdict){1, err ? META_GONE : extent->state, false};
    }
    if (!lost)
        return MRMR_OK;
    /* Looked at again after the reading: a drive that went meanwhile makes anything look lost. */
    if (!pool_stripe_answers(m->pool, pool_view_image(view)))
        return mrmr_fail(MRMR_LOST, "bytes of it can be read again when its drives are back");
    struct mend_give_up give_up = {extent, verdict};
    MRMR_TRY(meta_atomically(m->pool->meta, mend_give_up_in, &give_up));
    m->report->lost_bytes += lost * META_LEAF;
    return MRMR_OK;
}

mrmr_err pool_mend_give_up(struct mend *m, const struct meta_stripe *stripe)
{
    if (!pool_stripe_answers(m->pool, stripe))
        return mrmr_fail(MRMR_LOST, "bytes of it can be read again when its drives are back");
    struct pool_view *view = NULL;
    MRMR_TRY(pool_view_get(m->pool, stripe->id, &view));
    const struct meta_stripe *image = pool_view_image(view);
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && i < image->extents; i++)
        if (pool_extent_wanted(&image->extent[i]))
            err = mend_give_up_extent(m, view, &image->extent[i]);
    pool_view_put(m->pool, view);
    pool_views_forget(m->pool, stripe->id);
    return err;
}
