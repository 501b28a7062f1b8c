/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/engine.h"

#include <string.h>

struct meta_block *pool_image_block(const struct meta_stripe *stripe, int64_t drive)
{
    for (size_t i = 0; i < stripe->blocks; i++)
        if (stripe->block[i].drive == drive)
            return &stripe->block[i];
    return NULL;
}

struct meta_row *pool_image_row(const struct meta_stripe *stripe, unsigned index)
{
    for (size_t i = 0; i < stripe->rows; i++)
        if (stripe->row[i].index == index)
            return &stripe->row[i];
    return NULL;
}

static bool image_block_dirty(const struct meta_stripe *stripe, const struct meta_block *block)
{
    for (size_t i = 0; i < block->extents; i++) {
        enum meta_extent_state state = stripe->extent[block->first_extent + i].state;
        if (state != META_LIVE && state != META_STALE)
            return true;
    }
    return false;
}

int pool_image_margin(struct pool *pool, const struct meta_stripe *stripe)
{
    int margin = 0;
    for (size_t i = 0; i < stripe->rows; i++)
        if (stripe->row[i].state == META_ROW_OK &&
            pool_drive_present(pool_drive_by_id(pool, stripe->row[i].drive)))
            margin++;
    for (size_t i = 0; i < stripe->blocks; i++)
        if (!pool_drive_present(pool_drive_by_id(pool, stripe->block[i].drive)) ||
            image_block_dirty(stripe, &stripe->block[i]))
            margin--;
    return margin;
}

void pool_image_init(struct pool_image *image)
{
    memset(image, 0, sizeof *image);
}

void pool_image_free(struct pool_image *image)
{
    free(image->extent);
    pool_image_init(image);
}

mrmr_err pool_image_add_extent(struct pool_image *image, const struct meta_extent *extent)
{
    if (image->head.extents == image->room) {
        size_t room = image->room ? 2 * image->room : 64;
        struct meta_extent *grown = realloc(image->extent, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        image->extent = grown;
        image->room = room;
    }
    image->extent[image->head.extents++] = *extent;
    return MRMR_OK;
}

mrmr_err pool_image_add_row(struct pool_image *image, unsigned index, int64_t drive)
{
    if (image->head.rows == META_ROWS_MAX)
        return mrmr_fail(MRMR_INTERNAL, "more than %d rows", META_ROWS_MAX);
    image->row[image->head.rows++] =
        (struct meta_row){.index = (uint8_t)index, .drive = drive, .state = META_ROW_OK};
    return MRMR_OK;
}

mrmr_err pool_extent_still_counts(
    struct pool *pool, const struct meta_extent *extent, bool *ret_counts)
{
    *ret_counts = false;
    if (extent->state != META_STALE || !extent->node)
        return MRMR_OK;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n;
    MRMR_TRY(meta_exposed_of(pool->meta, extent->node, &ranges, &n));
    for (size_t i = 0; i < n; i++)
        if (ranges[i].first < extent->first + extent->leaves &&
            extent->first < ranges[i].first + ranges[i].leaves)
            *ret_counts = true;
    return MRMR_OK;
}

mrmr_err pool_image_start_from(
    struct pool *pool, struct pool_image *image, const struct meta_stripe *stripe)
{
    pool_image_init(image);
    image->head.id = stripe->id;
    image->head.uuid = stripe->uuid;
    image->head.generation = stripe->generation;
    image->head.made = stripe->made;
    image->head.scrubbed = stripe->scrubbed;
    for (size_t i = 0; i < stripe->rows; i++)
        image->row[image->head.rows++] = stripe->row[i];
    for (size_t i = 0; i < stripe->extents; i++) {
        bool keep;
        MRMR_TRY(pool_extent_still_counts(pool, &stripe->extent[i], &keep));
        if (keep || pool_extent_wanted(&stripe->extent[i]))
            MRMR_TRY(pool_image_add_extent(image, &stripe->extent[i]));
    }
    return MRMR_OK;
}

static int image_by_drive_and_place(const void *a, const void *b)
{
    const struct meta_extent *x = a, *y = b;
    if (x->drive != y->drive)
        return x->drive < y->drive ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int image_by_slot(const void *a, const void *b)
{
    const struct meta_block *x = a, *y = b;
    return (int)x->slot - (int)y->slot;
}

static int image_by_index(const void *a, const void *b)
{
    const struct meta_row *x = a, *y = b;
    return (int)x->index - (int)y->index;
}

/* Blocks from the sorted extents, each with where its run of them starts. */
static mrmr_err image_make_blocks(struct pool *pool, struct pool_image *image, bool compact)
{
    image->head.blocks = 0;
    image->head.length = 0;
    struct meta_block *block = NULL;
    for (size_t i = 0; i < image->head.extents; i++) {
        struct meta_extent *extent = &image->extent[i];
        if (!block || block->drive != extent->drive) {
            struct pool_drive *drive = pool_drive_by_id(pool, extent->drive);
            if (!drive || image->head.blocks == META_SLOTS_MAX)
                return mrmr_fail(MRMR_INTERNAL, "a block on a drive that the pool does not know");
            block = &image->block[image->head.blocks++];
            *block = (struct meta_block){
                .drive = extent->drive, .slot = drive->meta.slot, .first_extent = i};
        }
        if (compact)
            extent->place = block->length;
        if (extent->place < block->length)
            return mrmr_fail(MRMR_INTERNAL, "two extents overlap in a block");
        block->length = extent->place + extent->bytes;
        block->extents++;
        if (block->length > image->head.length)
            image->head.length = block->length;
    }
    qsort(image->block, image->head.blocks, sizeof *image->block, image_by_slot);
    qsort(image->row, image->head.rows, sizeof *image->row, image_by_index);
    return MRMR_OK;
}

/* One allocation: blocks, rows, extents in the order of their blocks, digests. */
static mrmr_err image_lay_out(const struct pool_image *image, struct meta_stripe *ret_stripe)
{
    struct meta_stripe out = image->head;
    size_t leaves = 0;
    for (size_t i = 0; i < out.extents; i++)
        leaves += image->extent[i].leaves;
    size_t size = out.blocks * sizeof *out.block + out.rows * sizeof *out.row +
                  out.extents * sizeof *out.extent + leaves * sizeof(struct mrmr_digest);
    out.memory = calloc(1, size ? size : 1);
    if (!out.memory)
        return mrmr_nomem();
    out.extent = out.memory;
    out.block = (struct meta_block *)(out.extent + out.extents);
    out.row = (struct meta_row *)(out.block + out.blocks);
    struct mrmr_digest *digest = (struct mrmr_digest *)(out.row + out.rows);
    memcpy(out.row, image->row, out.rows * sizeof *out.row);
    size_t at = 0;
    for (size_t i = 0; i < out.blocks; i++) {
        out.block[i] = image->block[i];
        out.block[i].first_extent = at;
        for (size_t j = 0; j < out.block[i].extents; j++, at++) {
            struct meta_extent *extent = &out.extent[at];
            *extent = image->extent[image->block[i].first_extent + j];
            if (extent->digests)
                memcpy(digest, extent->digests, extent->leaves * sizeof *digest);
            extent->digests = digest;
            digest += extent->leaves;
        }
    }
    *ret_stripe = out;
    return MRMR_OK;
}

mrmr_err pool_image_finish(
    struct pool *pool, struct pool_image *image, bool compact, struct meta_stripe *ret_stripe)
{
    if (image->head.extents)
        qsort(image->extent, image->head.extents, sizeof *image->extent, image_by_drive_and_place);
    MRMR_TRY(image_make_blocks(pool, image, compact));
    return image_lay_out(image, ret_stripe);
}
