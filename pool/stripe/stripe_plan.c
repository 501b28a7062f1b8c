/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a stripe's next generation is made from and which rows are made: from all its data, or from
 * the old rows and the bytes that come and go.
 */
#include "pool/stripe/stripe.h"

#include <stdio.h>
#include <string.h>

enum { CHANGES_AT_ONCE = 2 };

static bool run_makes_row(const struct pool_change *change, const struct meta_row *row)
{
    if (!change->rows_only)
        return true;
    const struct meta_row *old = pool_image_row(&change->old, row->index);
    return !old || old->state != META_ROW_OK || old->drive != row->drive;
}

/* I6: another row would be on the same drive, one of next or one of old that stays. */
static bool run_row_meets_row(const struct pool_change *change, const struct meta_row *row)
{
    const struct meta_stripe *next = &change->next, *old = &change->old;
    for (size_t i = 0; i < next->rows; i++)
        if (next->row[i].index != row->index && next->row[i].drive == row->drive)
            return true;
    for (size_t i = 0; change->rows_only && i < old->rows; i++)
        if (old->row[i].index != row->index && old->row[i].drive == row->drive &&
            !pool_image_row(next, old->row[i].index))
            return true;
    return false;
}

static mrmr_err run_plan_rows(struct pool_run *run)
{
    struct meta_stripe *next = &run->change->next;
    for (size_t i = 0; i < next->rows; i++) {
        if (!run_makes_row(run->change, &next->row[i]))
            continue;
        next->row[i].state = META_ROW_OK;
        struct pool_run_row *row = &run->row[run->nrows];
        row->run = run;
        row->row = &next->row[i];
        row->drive = pool_drive_by_id(run->pool, row->row->drive);
        if (!pool_drive_writable(row->drive))
            return mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "it shall take row %u", row->row->index),
                row->drive ? row->drive->meta.name : "?");
        if (pool_image_block(next, row->row->drive) || run_row_meets_row(run->change, row->row))
            return mrmr_fail(MRMR_INTERNAL, "two members of one stripe on one drive");
        pool_row_path(&next->uuid, next->generation, row->row->index, row->path);
        run->nrows++;
    }
    return run->nrows ? MRMR_OK : mrmr_fail(MRMR_INTERNAL, "a generation without rows");
}

static mrmr_err run_add_lane(struct pool_run *run, struct pool_lane **ret_lane)
{
    if (run->nlanes == run->lanes_room)
        return mrmr_fail(MRMR_INTERNAL, "more lanes than members");
    struct pool_lane *lane = &run->lanes[run->nlanes++];
    lane->pool = run->pool;
    lane->job = run->job;
    lane->view = run->view;
    *ret_lane = lane;
    return MRMR_OK;
}

static int by_extent_id(const void *a, const void *b)
{
    int64_t x = (*(const struct meta_extent *const *)a)->id;
    int64_t y = (*(const struct meta_extent *const *)b)->id;
    return x < y ? -1 : x > y;
}

/* The image's extents by id; free(). */
static const struct meta_extent **extents_by_id(const struct meta_stripe *image)
{
    const struct meta_extent **by_id = calloc(image->extents + 1, sizeof *by_id);
    for (size_t i = 0; by_id && i < image->extents; i++)
        by_id[i] = &image->extent[i];
    if (by_id && image->extents)
        qsort(by_id, image->extents, sizeof *by_id, by_extent_id);
    return by_id;
}

static const struct meta_extent *extent_find(
    const struct meta_extent *const *by_id, size_t n, int64_t id)
{
    struct meta_extent key = {.id = id};
    const struct meta_extent *k = &key;
    const struct meta_extent *const *hit =
        n ? bsearch(&k, by_id, n, sizeof *by_id, by_extent_id) : NULL;
    return hit ? *hit : NULL;
}

enum lane_what { LANE_ALL, LANE_NEW };

/* None if there are none; else the items are the lane's. */
static mrmr_err run_lane_of_items(
    struct pool_run *run, unsigned slot, struct pool_lane_item **items, size_t n)
{
    struct pool_lane *lane = NULL;
    if (!n)
        return MRMR_OK;
    MRMR_TRY(run_add_lane(run, &lane));
    lane->items = mrmr_steal(*items);
    lane->nitems = n;
    lane->slot = slot;
    return MRMR_OK;
}

/* A lane for one block of next: all its extents, or the new ones. None if there is nothing to read.
 */
static mrmr_err run_lane_of_block(struct pool_run *run, const struct meta_block *block,
    enum lane_what what, const struct meta_extent *const *by_id, size_t n)
{
    struct meta_stripe *next = &run->change->next;
    mrmr_autofree struct pool_lane_item *items = calloc(block->extents + 1, sizeof *items);
    if (!items)
        return mrmr_nomem();
    size_t count = 0;
    for (size_t i = 0; i < block->extents; i++) {
        struct meta_extent *extent = &next->extent[block->first_extent + i];
        if (what == LANE_NEW && extent->id)
            continue;
        const struct meta_extent *from = extent->id ? extent_find(by_id, n, extent->id) : NULL;
        if (extent->id && !from)
            return mrmr_fail(MRMR_CHANGED, "an extent is not the stripe's any more");
        items[count++] = (struct pool_lane_item){extent, from};
    }
    return run_lane_of_items(run, block->slot, &items, count);
}

/* A lane for what leaves one block of the old image. */
static mrmr_err run_lane_of_removed(struct pool_run *run, const struct meta_block *block,
    const struct meta_extent *const *kept, size_t nkept)
{
    const struct meta_stripe *old = pool_view_image(run->view);
    mrmr_autofree struct pool_lane_item *items = calloc(block->extents + 1, sizeof *items);
    if (!items)
        return mrmr_nomem();
    size_t count = 0;
    for (size_t i = 0; i < block->extents; i++) {
        struct meta_extent *extent = &old->extent[block->first_extent + i];
        if (!extent_find(kept, nkept, extent->id))
            items[count++] = (struct pool_lane_item){extent, extent};
    }
    return run_lane_of_items(run, block->slot, &items, count);
}

static mrmr_err run_lane_of_row(struct pool_run *run, struct pool_view *view, unsigned index)
{
    struct pool_lane *lane = NULL;
    MRMR_TRY(run_add_lane(run, &lane));
    lane->view = view;
    lane->is_row = true;
    lane->index = index;
    return MRMR_OK;
}

static mrmr_err run_plan_data(struct pool_run *run)
{
    const struct meta_stripe *old = run->view ? pool_view_image(run->view) : &run->change->old;
    mrmr_autofree const struct meta_extent **by_id = extents_by_id(old);
    if (!by_id)
        return mrmr_nomem();
    struct meta_stripe *next = &run->change->next;
    for (size_t i = 0; i < next->blocks; i++)
        MRMR_TRY(run_lane_of_block(run, &next->block[i], LANE_ALL, by_id, old->extents));
    return MRMR_OK;
}

static mrmr_err run_plan_delta(struct pool_run *run)
{
    struct meta_stripe *next = &run->change->next;
    const struct meta_stripe *old = pool_view_image(run->view);
    mrmr_autofree const struct meta_extent **kept = extents_by_id(next);
    if (!kept)
        return mrmr_nomem();
    for (unsigned i = 0; i < run->nrows; i++) {
        MRMR_TRY(run_lane_of_row(run, run->view, run->row[i].row->index));
        if (run->other_view)
            MRMR_TRY(run_lane_of_row(run, run->other_view, run->row[i].row->index));
    }
    for (size_t i = 0; i < next->blocks; i++)
        MRMR_TRY(run_lane_of_block(run, &next->block[i], LANE_NEW, kept, next->extents));
    for (size_t i = 0; i < old->blocks; i++)
        MRMR_TRY(run_lane_of_removed(run, &old->block[i], kept, next->extents));
    return MRMR_OK;
}

static mrmr_err run_size_window(struct pool_run *run)
{
    MRMR_TRY(
        pool_lane_window(run->pool, CHANGES_AT_ONCE * (run->nlanes + run->nrows), &run->window));
    uint64_t length = run->change->next.length;
    for (size_t i = 0; i < run->nlanes; i++) {
        run->lanes[i].window = run->window;
        run->lanes[i].length = length;
    }
    return MRMR_OK;
}

static mrmr_err run_view(
    struct pool_run *run, const struct meta_stripe *image, struct pool_view **ret_view)
{
    if (!image->id)
        return MRMR_OK;
    MRMR_TRY(pool_view_get(run->pool, image->id, ret_view));
    if (pool_view_image(*ret_view)->generation != image->generation)
        return mrmr_fail(MRMR_CHANGED, "the stripe has a newer generation");
    return MRMR_OK;
}

/* Widen, fill and merge need every block and row (I2): a stripe that could lose fewer than its rows
 * already must not gain members. */
static mrmr_err run_check_whole(struct pool_run *run, const struct meta_stripe *image)
{
    if (image->id && pool_image_margin(run->pool, image) != (int)image->rows)
        return mrmr_fail(MRMR_CONFLICT, "a block or row of it is missing or damaged");
    return MRMR_OK;
}

static bool run_gains(const struct pool_change *change)
{
    if (change->other.id)
        return true;
    for (size_t i = 0; change->old.id && i < change->next.extents; i++)
        if (!change->next.extent[i].id)
            return true;
    return false;
}

/* The next generation's number is higher than any that a file of the stripe may carry which was
 * named and never committed: on a drive that went away before it could be undone. */
static mrmr_err run_number_generation(struct pool_run *run)
{
    struct pool_change *change = run->change;
    struct meta_intent intent[4 * META_ROWS_MAX];
    char from[POOL_ROW_PATH], before[POOL_ROW_PATH + 1];
    size_t n;
    if (change->rows_only || !change->old.id)
        return MRMR_OK;
    pool_row_path(&change->next.uuid, 1, 0, from);
    strrchr(from, 'g')[0] = '\0'; /* before the generation */
    snprintf(before, sizeof before, "%s~", from);
    MRMR_TRY(meta_intents_between(run->pool->meta, from + sizeof POOL_DOT, before + sizeof POOL_DOT,
        intent, sizeof intent / sizeof *intent, &n));
    for (size_t i = 0; i < n; i++) {
        struct mrmr_uuid uuid;
        uint64_t generation;
        unsigned index;
        if (pool_row_file_parse(intent[i].file, &uuid, &generation, &index) &&
            generation >= change->next.generation)
            change->next.generation = generation + 1;
    }
    return MRMR_OK;
}

mrmr_err pool_run_plan(struct pool_run *run)
{
    struct pool_change *change = run->change;
    if (run_gains(change)) {
        MRMR_TRY(run_check_whole(run, &change->old));
        MRMR_TRY(run_check_whole(run, &change->other));
    }
    MRMR_TRY(run_view(run, &change->old, &run->view));
    MRMR_TRY(run_view(run, &change->other, &run->other_view));
    MRMR_TRY(run_number_generation(run));
    MRMR_TRY(run_plan_rows(run));
    run->lanes_room = 2 * META_SLOTS_MAX + 2 * META_ROWS_MAX;
    run->lanes = calloc(run->lanes_room, sizeof *run->lanes);
    if (!run->lanes)
        return mrmr_nomem();
    MRMR_TRY(change->mode == POOL_CHANGE_DATA ? run_plan_data(run) : run_plan_delta(run));
    return run_size_window(run);
}
