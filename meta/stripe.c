/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/extent.h"
#include "meta/transaction.h"

#include <string.h>

void meta_stripe_free(struct meta_stripe *stripe)
{
    free(stripe->memory);
    memset(stripe, 0, sizeof *stripe);
}

static mrmr_err no_stripe(int64_t id)
{
    return mrmr_fail(MRMR_NO_STRIPE, "the catalog has no stripe %lld", (long long)id);
}

static mrmr_err load_head(struct meta *meta, int64_t id, struct meta_stripe *head)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT uuid, generation, length, made, scrubbed FROM stripe WHERE id = ?",
        META_ARGS(META_INT(id))));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    if (!row)
        return no_stripe(id);
    head->id = id;
    meta_col_fixed(&q, 0, head->uuid.bytes, sizeof head->uuid.bytes);
    head->generation = (uint64_t)meta_col_range(&q, 1, 1, INT64_MAX);
    head->length = meta_col_u64(&q, 2);
    head->made = meta_col_int(&q, 3);
    head->scrubbed = meta_col_int(&q, 4);
    return meta_query_sound(&q);
}

static mrmr_err load_blocks(struct meta *meta, struct meta_stripe *head, struct meta_block *blocks)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT slot, drive, length FROM block WHERE stripe = ? ORDER BY slot",
        META_ARGS(META_INT(head->id))));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        if (head->blocks == META_SLOTS_MAX)
            return meta_corrupt(meta, "a stripe has too many blocks");
        struct meta_block *block = &blocks[head->blocks++];
        *block = (struct meta_block){.slot = (uint8_t)meta_col_range(&q, 0, 0, META_SLOTS_MAX - 1)};
        block->drive = meta_col_id(&q, 1);
        block->length = (uint64_t)meta_col_range(&q, 2, 0, (int64_t)head->length);
        MRMR_TRY(meta_query_sound(&q));
    }
}

static mrmr_err load_rows(struct meta *meta, struct meta_stripe *head, struct meta_row *rows)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT idx, drive, state, file_size FROM row WHERE stripe = ? ORDER BY idx",
        META_ARGS(META_INT(head->id))));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        if (head->rows == META_ROWS_MAX)
            return meta_corrupt(meta, "a stripe has too many rows");
        struct meta_row *to = &rows[head->rows++];
        *to = (struct meta_row){.index = (uint8_t)meta_col_range(&q, 0, 0, META_ROWS_MAX - 1)};
        to->drive = meta_col_id(&q, 1);
        to->state = (enum meta_row_state)meta_col_range(&q, 2, META_ROW_OK, META_ROW_LOST);
        to->file_size = meta_col_u64(&q, 3);
        MRMR_TRY(meta_query_sound(&q));
    }
}

static mrmr_err load_extents(struct meta *meta, int64_t id, struct meta_extent_list *list)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_EXTENT_COLUMNS " FROM extent WHERE stripe = ? ORDER BY drive, place",
        META_ARGS(META_INT(id))));
    return meta_extent_list_read(list, &q);
}

/* The extents of one drive are one run of the list, sorted by place: it must fit the block without
 * overlaps. */
static mrmr_err block_take_extents(
    struct meta *meta, struct meta_block *block, const struct meta_extent_list *list)
{
    size_t at = 0;
    while (at < list->n && list->extent[at].drive != block->drive)
        at++;
    uint64_t end = 0;
    block->first_extent = at;
    for (; at < list->n && list->extent[at].drive == block->drive; at++) {
        const struct meta_extent *e = &list->extent[at];
        if (e->place < end || e->bytes > block->length || e->place > block->length - e->bytes)
            return meta_corrupt(meta,
                "extents of stripe %lld overlap or lie outside of their block",
                (long long)e->stripe);
        end = e->place + e->bytes;
        block->extents++;
    }
    return MRMR_OK;
}

/* Everything in one allocation, in the order blocks, rows, extents, digests; from drive order into
 * block order. */
static mrmr_err load_lay_out(const struct meta_stripe *head, const struct meta_block *blocks,
    const struct meta_row *rows, const struct meta_extent_list *list,
    struct meta_stripe *ret_stripe)
{
    struct meta_stripe out = *head;
    out.extents = list->n;
    out.memory = malloc(out.blocks * sizeof *blocks + out.rows * sizeof *rows +
                        out.extents * sizeof *list->extent + list->digests.size + 1);
    if (!out.memory)
        return mrmr_nomem();
    out.block = out.memory;
    out.row = (struct meta_row *)(out.block + out.blocks);
    out.extent = (struct meta_extent *)(out.row + out.rows);
    struct mrmr_digest *digests = (struct mrmr_digest *)(out.extent + out.extents);
    memcpy(out.block, blocks, out.blocks * sizeof *blocks);
    memcpy(out.row, rows, out.rows * sizeof *rows);
    for (size_t i = 0; i < list->n; i++) /* for now the place of its digests in the list */
        list->extent[i].digests =
            (struct mrmr_digest *)list->digests.data +
            (i ? (size_t)(list->extent[i - 1].digests - (struct mrmr_digest *)list->digests.data) +
                        list->extent[i - 1].leaves
               : 0);
    size_t n = 0;
    for (size_t b = 0; b < out.blocks; b++) {
        struct meta_block *block = &out.block[b];
        const struct meta_extent *from = list->n ? &list->extent[block->first_extent] : NULL;
        block->first_extent = n;
        for (size_t i = 0; i < block->extents; i++, n++) {
            out.extent[n] = from[i];
            memcpy(digests, from[i].digests, (size_t)from[i].leaves * sizeof *digests);
            out.extent[n].digests = digests;
            digests += from[i].leaves;
        }
    }
    *ret_stripe = out;
    return MRMR_OK;
}

mrmr_err meta_stripe_load(struct meta *meta, int64_t id, struct meta_stripe *ret_stripe)
{
    mrmr_locked(&meta->lock);
    struct meta_stripe head = {.id = 0};
    struct meta_block blocks[META_SLOTS_MAX];
    struct meta_row rows[META_ROWS_MAX];
    meta_autoextents struct meta_extent_list list = {.n = 0};
    MRMR_TRY(load_head(meta, id, &head));
    MRMR_TRY(load_blocks(meta, &head, blocks));
    MRMR_TRY(load_rows(meta, &head, rows));
    MRMR_TRY(load_extents(meta, id, &list));
    size_t taken = 0;
    for (size_t b = 0; b < head.blocks; b++) {
        for (size_t c = 0; c < b; c++)
            if (blocks[c].drive == blocks[b].drive)
                return meta_corrupt(meta, "stripe %lld has two blocks on one drive", (long long)id);
        MRMR_TRY(block_take_extents(meta, &blocks[b], &list));
        taken += blocks[b].extents;
    }
    if (taken != list.n)
        return meta_corrupt(meta, "stripe %lld has an extent without a block", (long long)id);
    return load_lay_out(&head, blocks, rows, &list, ret_stripe);
}

mrmr_err meta_stripe_by_uuid(struct meta *meta, const struct mrmr_uuid *uuid, int64_t *ret_id)
{
    mrmr_locked(&meta->lock);
    bool found;
    MRMR_TRY(meta_run_int(meta, "SELECT id FROM stripe WHERE uuid = ?",
        META_ARGS(META_BLOB(uuid->bytes, sizeof uuid->bytes)), &found, ret_id));
    if (found)
        return MRMR_OK;
    char text[MRMR_UUID_TEXT];
    mrmr_fail(MRMR_NO_STRIPE, "the catalog does not know this stripe");
    return mrmr_err_stripe(MRMR_NO_STRIPE, mrmr_uuid_print(uuid, text));
}

static mrmr_err members_delete(struct meta *meta, int64_t id)
{
    const struct meta_arg *arg = META_ARGS(META_INT(id));
    MRMR_TRY(meta_run(meta, "DELETE FROM extent WHERE stripe = ?", arg));
    MRMR_TRY(meta_run(meta, "DELETE FROM block WHERE stripe = ?", arg));
    return meta_run(meta, "DELETE FROM row WHERE stripe = ?", arg);
}

static mrmr_err changed_one(struct meta *meta, int64_t id)
{
    return sqlite3_changes64(meta->db) ? MRMR_OK : no_stripe(id);
}

static mrmr_err remove_locked(struct meta *meta, int64_t id)
{
    MRMR_TRY(members_delete(meta, id));
    MRMR_TRY(meta_run(meta, "DELETE FROM stripe WHERE id = ?", META_ARGS(META_INT(id))));
    return changed_one(meta, id);
}

mrmr_err meta_stripe_remove(struct meta *meta, int64_t id)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, remove_locked(meta, id));
}

static mrmr_err scrubbed_locked(struct meta *meta, int64_t id, int64_t when)
{
    MRMR_TRY(meta_run(meta, "UPDATE stripe SET scrubbed = ? WHERE id = ?",
        META_ARGS(META_INT(when), META_INT(id))));
    return changed_one(meta, id);
}

mrmr_err meta_stripe_scrubbed(struct meta *meta, int64_t id, int64_t when)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, scrubbed_locked(meta, id, when));
}

mrmr_err meta_row_store(struct meta *meta, int64_t stripe, const struct meta_row *row)
{
    if (row->index >= META_ROWS_MAX || (unsigned)row->state > META_ROW_LOST ||
        !meta_fits(row->file_size))
        return mrmr_fail(MRMR_INVALID, "a row's index, state or size is out of bounds");
    return meta_write(meta,
        "INSERT INTO row (stripe, idx, drive, state, file_size) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (stripe, idx) DO UPDATE SET drive = excluded.drive, state = excluded.state, "
        "file_size = excluded.file_size",
        META_ARGS(META_INT(stripe), META_INT(row->index), META_INT(row->drive),
            META_INT(row->state), META_INT(row->file_size)));
}

static mrmr_err row_remove_locked(struct meta *meta, int64_t stripe, uint8_t index)
{
    MRMR_TRY(meta_run(meta, "DELETE FROM row WHERE stripe = ? AND idx = ?",
        META_ARGS(META_INT(stripe), META_INT(index))));
    return sqlite3_changes64(meta->db)
               ? MRMR_OK
               : mrmr_fail(MRMR_ABSENT, "stripe %lld has no row %u", (long long)stripe, index);
}

mrmr_err meta_row_remove(struct meta *meta, int64_t stripe, uint8_t index)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, row_remove_locked(meta, stripe, index));
}
