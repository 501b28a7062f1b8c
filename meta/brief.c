/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Stripes without their extents. Four cursors walk stripes, blocks, rows and off extents (those
 * that are not LIVE) side by side in the order of their keys, so neither memory nor time depends on
 * how many extents there are: their number is kept in the block, and the off ones have an index of
 * their own.
 */
#include "meta/query.h"

#include <string.h>

enum { CURSOR_STRIPE, CURSOR_BLOCK, CURSOR_ROW, CURSOR_OFF, CURSORS };

struct brief_walk {
    struct meta_query q[CURSORS];
    bool row[CURSORS]; /* the cursor is on a row */
};

static void brief_walk_end(struct brief_walk *walk)
{
    for (int i = 0; i < CURSORS; i++)
        meta_query_end(&walk->q[i]);
}
#define autowalk __attribute__((cleanup(brief_walk_end)))

static mrmr_err walk_next(struct brief_walk *walk, int cursor)
{
    return meta_query_step(&walk->q[cursor], &walk->row[cursor]);
}

static mrmr_err walk_start(struct meta *meta, struct brief_walk *walk, int64_t least, int64_t most)
{
    static const char *const sql[CURSORS] = {
        "SELECT id, uuid, generation, length, scrubbed FROM stripe "
        "WHERE id BETWEEN ? AND ? ORDER BY id",
        "SELECT stripe, drive, length, extents FROM block "
        "WHERE stripe BETWEEN ? AND ? ORDER BY stripe, slot",
        "SELECT stripe, idx, drive, state, file_size FROM row "
        "WHERE stripe BETWEEN ? AND ? ORDER BY stripe, idx",
        "SELECT stripe, drive, state, count(*) FROM extent INDEXED BY extent_drive_off "
        "WHERE state <> 0 AND stripe BETWEEN ? AND ? GROUP BY stripe, drive, state "
        "ORDER BY stripe, drive, state",
    };
    for (int i = 0; i < CURSORS; i++) {
        MRMR_TRY(meta_query_start(
            meta, &walk->q[i], sql[i], META_ARGS(META_INT(least), META_INT(most))));
        MRMR_TRY(walk_next(walk, i));
    }
    return MRMR_OK;
}

/* Is the cursor on a row of this stripe? Rows of stripes that do not exist are passed over. */
static mrmr_err walk_at(struct brief_walk *walk, int cursor, int64_t stripe, bool *ret_at)
{
    for (;;) {
        if (!walk->row[cursor]) {
            *ret_at = false;
            return MRMR_OK;
        }
        int64_t at = meta_col_id(&walk->q[cursor], 0);
        MRMR_TRY(meta_query_sound(&walk->q[cursor]));
        if (at >= stripe) {
            *ret_at = at == stripe;
            return MRMR_OK;
        }
        MRMR_TRY(walk_next(walk, cursor));
    }
}

static mrmr_err brief_head(struct meta_query *q, struct meta_stripe_brief *brief)
{
    brief->id = meta_col_id(q, 0);
    meta_col_fixed(q, 1, brief->uuid.bytes, sizeof brief->uuid.bytes);
    brief->generation = (uint64_t)meta_col_range(q, 2, 1, INT64_MAX);
    brief->length = meta_col_u64(q, 3);
    brief->scrubbed = meta_col_int(q, 4);
    brief->blocks = brief->rows = brief->dirty_blocks = brief->unwanted = brief->wanted = 0;
    return meta_query_sound(q);
}

static mrmr_err brief_blocks(
    struct meta *meta, struct brief_walk *walk, struct meta_stripe_brief *brief)
{
    struct meta_query *q = &walk->q[CURSOR_BLOCK];
    for (bool at;;) {
        MRMR_TRY(walk_at(walk, CURSOR_BLOCK, brief->id, &at));
        if (!at)
            return MRMR_OK;
        if (brief->blocks == META_SLOTS_MAX)
            return meta_corrupt(meta, "a stripe has too many blocks");
        struct meta_brief_block *block = &brief->block[brief->blocks++];
        block->drive = meta_col_id(q, 1);
        block->length = (uint64_t)meta_col_range(q, 2, 0, (int64_t)brief->length);
        block->dirty = false;
        brief->wanted += (uint32_t)meta_col_range(q, 3, 0, INT32_MAX / META_SLOTS_MAX);
        MRMR_TRY(meta_query_sound(q));
        MRMR_TRY(walk_next(walk, CURSOR_BLOCK));
    }
}

static mrmr_err brief_rows(
    struct meta *meta, struct brief_walk *walk, struct meta_stripe_brief *brief)
{
    struct meta_query *q = &walk->q[CURSOR_ROW];
    for (bool at;;) {
        MRMR_TRY(walk_at(walk, CURSOR_ROW, brief->id, &at));
        if (!at)
            return MRMR_OK;
        if (brief->rows == META_ROWS_MAX)
            return meta_corrupt(meta, "a stripe has too many rows");
        struct meta_row *row = &brief->row[brief->rows++];
        row->index = (uint8_t)meta_col_range(q, 1, 0, META_ROWS_MAX - 1);
        row->drive = meta_col_id(q, 2);
        row->state = (enum meta_row_state)meta_col_range(q, 3, META_ROW_OK, META_ROW_LOST);
        row->file_size = meta_col_u64(q, 4);
        MRMR_TRY(meta_query_sound(q));
        MRMR_TRY(walk_next(walk, CURSOR_ROW));
    }
}

/* A STALE extent can still be read; the other states make its block an erasure. */
static mrmr_err brief_off_one(struct meta *meta, struct meta_stripe_brief *brief, int64_t drive,
    enum meta_extent_state state, uint32_t n)
{
    struct meta_brief_block *block = NULL;
    for (uint32_t i = 0; i < brief->blocks && !block; i++)
        if (brief->block[i].drive == drive)
            block = &brief->block[i];
    if (!block)
        return meta_corrupt(
            meta, "stripe %lld has an extent without a block", (long long)brief->id);
    if (state != META_STALE && !block->dirty) {
        block->dirty = true;
        brief->dirty_blocks++;
    }
    if (state == META_STALE || state == META_GONE) {
        if (n > brief->wanted)
            return meta_corrupt(
                meta, "stripe %lld has more extents than its blocks say", (long long)brief->id);
        brief->unwanted += n;
        brief->wanted -= n;
    }
    return MRMR_OK;
}

static mrmr_err brief_off(
    struct meta *meta, struct brief_walk *walk, struct meta_stripe_brief *brief)
{
    struct meta_query *q = &walk->q[CURSOR_OFF];
    for (bool at;;) {
        MRMR_TRY(walk_at(walk, CURSOR_OFF, brief->id, &at));
        if (!at)
            return MRMR_OK;
        int64_t drive = meta_col_id(q, 1);
        enum meta_extent_state state =
            (enum meta_extent_state)meta_col_range(q, 2, META_MISSING, META_SUSPECT);
        uint32_t n = (uint32_t)meta_col_range(q, 3, 0, INT32_MAX);
        MRMR_TRY(meta_query_sound(q));
        MRMR_TRY(brief_off_one(meta, brief, drive, state, n));
        MRMR_TRY(walk_next(walk, CURSOR_OFF));
    }
}

/* The stripe under the first cursor. */
static mrmr_err brief_read(
    struct meta *meta, struct brief_walk *walk, struct meta_stripe_brief *brief)
{
    MRMR_TRY(brief_head(&walk->q[CURSOR_STRIPE], brief));
    MRMR_TRY(brief_blocks(meta, walk, brief));
    MRMR_TRY(brief_rows(meta, walk, brief));
    return brief_off(meta, walk, brief);
}

mrmr_err meta_stripes(struct meta *meta, meta_brief_fn fn, void *arg)
{
    mrmr_locked(&meta->lock);
    autowalk struct brief_walk walk = {.q = {META_QUERY_INIT}};
    MRMR_TRY(walk_start(meta, &walk, 1, INT64_MAX));
    struct meta_stripe_brief brief;
    while (walk.row[CURSOR_STRIPE]) {
        MRMR_TRY(brief_read(meta, &walk, &brief));
        meta->callbacks++;
        mrmr_err err = fn(&brief, arg);
        meta->callbacks--;
        MRMR_TRY(err);
        MRMR_TRY(walk_next(&walk, CURSOR_STRIPE));
    }
    return MRMR_OK;
}

mrmr_err meta_stripe_brief_get(struct meta *meta, int64_t id, struct meta_stripe_brief *ret_brief)
{
    mrmr_locked(&meta->lock);
    autowalk struct brief_walk walk = {.q = {META_QUERY_INIT}};
    MRMR_TRY(walk_start(meta, &walk, id, id));
    if (!walk.row[CURSOR_STRIPE])
        return mrmr_fail(MRMR_NO_STRIPE, "the catalog has no stripe %lld", (long long)id);
    struct meta_stripe_brief brief;
    MRMR_TRY(brief_read(meta, &walk, &brief));
    *ret_brief = brief;
    return MRMR_OK;
}

/* --- Lists of ids --- */

mrmr_err meta_stripes_to_mend(
    struct meta *meta, int64_t after, unsigned rows, int64_t *ret_ids, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    return meta_run_ids(meta,
        "SELECT id FROM stripe s WHERE id > ?1 AND ("
        "(SELECT count(*) FROM row r WHERE r.stripe = s.id) <> ?2"
        " OR EXISTS (SELECT 1 FROM row r WHERE r.stripe = s.id AND r.state <> 0)"
        " OR EXISTS (SELECT 1 FROM extent e INDEXED BY extent_drive_off WHERE e.stripe = s.id"
        "  AND e.state <> 0 AND e.state IN (1, 2, 3))) ORDER BY id LIMIT ?3",
        META_ARGS(META_INT(after), META_INT(rows), META_INT(most)), ret_ids, most, ret_n);
}

mrmr_err meta_stripes_to_scrub(struct meta *meta, int64_t scrubbed, int64_t id, int64_t before,
    int64_t *ret_ids, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    return meta_run_ids(meta,
        "SELECT id FROM stripe WHERE (scrubbed, id) > (?, ?) AND scrubbed < ? "
        "ORDER BY scrubbed, id LIMIT ?",
        META_ARGS(META_INT(scrubbed), META_INT(id), META_INT(before), META_INT(most)), ret_ids,
        most, ret_n);
}

mrmr_err meta_stripes_of_drive(
    struct meta *meta, int64_t drive, int64_t after, int64_t *ret_ids, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    return meta_run_ids(meta,
        "SELECT stripe FROM block WHERE drive = ?1 AND stripe > ?2 UNION "
        "SELECT stripe FROM row WHERE drive = ?1 AND stripe > ?2 ORDER BY 1 LIMIT ?3",
        META_ARGS(META_INT(drive), META_INT(after), META_INT(most)), ret_ids, most, ret_n);
}
