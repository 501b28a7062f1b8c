/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Storing a stripe's image. Everything that can refuse is looked at before the first row is
 * written, so a refusal (MRMR_CHANGED, MRMR_INVALID, MRMR_ABSENT) leaves nothing behind, inside of
 * a transaction as well as alone.
 */
#include "meta/exposed.h"
#include "meta/extent.h"
#include "meta/node.h"
#include "meta/transaction.h"

#include <string.h>

static mrmr_err invalid(const char *text)
{
    return mrmr_fail(MRMR_INVALID, "a stripe's image: %s", text);
}

static mrmr_err image_extents_sane(const struct meta_stripe *s, const struct meta_block *block)
{
    uint64_t end = 0;
    for (size_t i = 0; i < block->extents; i++) {
        const struct meta_extent *e = &s->extent[block->first_extent + i];
        if (e->drive != block->drive || !e->digests || (unsigned)e->state > META_SUSPECT)
            return invalid("an extent's drive, digests or state are wrong");
        if (!meta_run_sane(e->first, e->leaves, e->bytes) || !meta_fits(e->version) || e->node < 0)
            return invalid("an extent's leaves and bytes do not go together");
        if (e->place < end || e->bytes > block->length || e->place > block->length - e->bytes)
            return invalid("extents overlap or lie outside of their block");
        end = e->place + e->bytes;
    }
    return MRMR_OK;
}

/* Blocks by slot, on distinct drives; their extents one after another, all of them. */
static mrmr_err image_blocks_sane(const struct meta_stripe *s)
{
    size_t extents = 0;
    for (size_t i = 0; i < s->blocks; i++) {
        const struct meta_block *b = &s->block[i];
        if (b->slot >= META_SLOTS_MAX || (i && b->slot <= s->block[i - 1].slot))
            return invalid("its blocks are not sorted by slot");
        if (b->length > s->length)
            return invalid("a block is longer than the stripe");
        for (size_t j = 0; j < i; j++)
            if (s->block[j].drive == b->drive)
                return invalid("two blocks lie on one drive");
        if (b->first_extent != extents || b->extents > s->extents - extents)
            return invalid("its blocks do not share out its extents");
        MRMR_TRY(image_extents_sane(s, b));
        extents += b->extents;
    }
    return extents == s->extents ? MRMR_OK : invalid("an extent has no block");
}

static mrmr_err image_rows_sane(const struct meta_stripe *s)
{
    for (size_t i = 0; i < s->rows; i++) {
        const struct meta_row *r = &s->row[i];
        if (r->index >= META_ROWS_MAX || (i && r->index <= s->row[i - 1].index))
            return invalid("its rows are not sorted by index");
        if ((unsigned)r->state > META_ROW_LOST || !meta_fits(r->file_size))
            return invalid("a row's state or size is out of bounds");
        for (size_t j = 0; j < s->blocks; j++)
            if (s->block[j].drive == r->drive)
                return invalid("a block and a row lie on one drive");
    }
    return MRMR_OK;
}

static mrmr_err image_sane(const struct meta_stripe *s)
{
    if (!s->generation || !meta_fits(s->generation) || !meta_fits(s->length))
        return invalid("its generation or length is out of bounds");
    if (s->blocks > META_SLOTS_MAX || s->rows > META_ROWS_MAX)
        return invalid("it has too many blocks or rows");
    MRMR_TRY(image_blocks_sane(s));
    return image_rows_sane(s);
}

static mrmr_err changed(const char *text, int64_t id)
{
    return mrmr_fail(
        MRMR_CHANGED, "%s %lld is not as it was when it was read", text, (long long)id);
}

static mrmr_err generation_check(struct meta *meta, const struct meta_stripe *s, uint64_t expected)
{
    if (!s->id)
        return expected ? invalid("a new stripe has no generation before it") : MRMR_OK;
    bool found;
    int64_t generation;
    MRMR_TRY(meta_run_int(meta, "SELECT generation FROM stripe WHERE id = ?",
        META_ARGS(META_INT(s->id)), &found, &generation));
    if (!found || (uint64_t)generation != expected)
        return changed("stripe", s->id);
    return MRMR_OK;
}

static mrmr_err uuid_check(struct meta *meta, const struct meta_stripe *s)
{
    bool found;
    int64_t id;
    MRMR_TRY(meta_run_int(meta, "SELECT id FROM stripe WHERE uuid = ?",
        META_ARGS(META_BLOB(s->uuid.bytes, sizeof s->uuid.bytes)), &found, &id));
    if (found && id != s->id)
        return mrmr_fail(MRMR_EXISTS, "the catalog has a stripe of this uuid already");
    return MRMR_OK;
}

/* The drives that the image names must be known; the insert would find out too late. */
static mrmr_err drive_check(struct meta *meta, int64_t drive)
{
    bool found;
    int64_t id;
    MRMR_TRY(meta_run_int(
        meta, "SELECT id FROM drive WHERE id = ?", META_ARGS(META_INT(drive)), &found, &id));
    return found ? MRMR_OK
                 : mrmr_fail(MRMR_ABSENT, "the catalog has no drive %lld", (long long)drive);
}

/* An extent whose node has been removed since is stale knowledge: the image must be made anew. */
static mrmr_err nodes_check(struct meta *meta, const struct meta_stripe *s)
{
    int64_t last = 0;
    for (size_t i = 0; i < s->extents; i++) {
        const struct meta_extent *e = &s->extent[i];
        if (!e->node || e->node == last)
            continue;
        bool found;
        int64_t id;
        MRMR_TRY(meta_run_int(
            meta, "SELECT id FROM node WHERE id = ?", META_ARGS(META_INT(e->node)), &found, &id));
        if (!found)
            return changed("node", e->node);
        last = e->node;
    }
    return MRMR_OK;
}

static mrmr_err claim_check(struct meta *meta, const struct meta_claim *claim)
{
    struct meta_node node;
    mrmr_err err = meta_node_get(meta, claim->node, &node);
    if (err == MRMR_ABSENT)
        return changed("node", claim->node);
    MRMR_TRY(err);
    if (node.version != claim->version)
        return changed("node", claim->node);
    bool covers;
    MRMR_TRY(
        meta_exposed_covers(meta, node.drive, claim->node, claim->first, claim->leaves, &covers));
    return covers ? MRMR_OK : changed("what is exposed of node", claim->node);
}

static int claim_order(const void *a, const void *b)
{
    const struct meta_claim *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Each by itself is exposed; no leaf may be claimed twice. */
static mrmr_err claims_check_distinct(const struct meta_claim claims[], size_t n)
{
    mrmr_autofree struct meta_claim *sorted = calloc(n + 1, sizeof *sorted);
    if (!sorted)
        return mrmr_nomem();
    if (n) {
        memcpy(sorted, claims, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, claim_order);
    }
    for (size_t i = 1; i < n; i++)
        if (sorted[i].node == sorted[i - 1].node &&
            sorted[i].first - sorted[i - 1].first < sorted[i - 1].leaves)
            return changed("what is exposed of node", sorted[i].node);
    return MRMR_OK;
}

static mrmr_err store_check(struct meta *meta, const struct meta_stripe *s, uint64_t expected,
    const struct meta_claim claims[], size_t nclaims)
{
    MRMR_TRY(image_sane(s));
    MRMR_TRY(generation_check(meta, s, expected));
    MRMR_TRY(uuid_check(meta, s));
    for (size_t i = 0; i < s->blocks; i++)
        MRMR_TRY(drive_check(meta, s->block[i].drive));
    for (size_t i = 0; i < s->rows; i++)
        MRMR_TRY(drive_check(meta, s->row[i].drive));
    MRMR_TRY(nodes_check(meta, s));
    for (size_t i = 0; i < nclaims; i++)
        MRMR_TRY(claim_check(meta, &claims[i]));
    return claims_check_distinct(claims, nclaims);
}

static mrmr_err head_write(struct meta *meta, const struct meta_stripe *s, int64_t *ret_id)
{
    const struct meta_arg *args =
        META_ARGS(META_BLOB(s->uuid.bytes, sizeof s->uuid.bytes), META_INT(s->generation),
            META_INT(s->length), META_INT(s->made), META_INT(s->scrubbed), META_INT(s->id));
    *ret_id = s->id;
    if (s->id) {
        MRMR_TRY(meta_run(meta,
            "UPDATE stripe SET uuid = ?1, generation = ?2, length = ?3, made = ?4, scrubbed = ?5 "
            "WHERE id = ?6",
            args));
        const struct meta_arg *id = META_ARGS(META_INT(s->id));
        MRMR_TRY(meta_run(meta, "DELETE FROM extent WHERE stripe = ?", id));
        MRMR_TRY(meta_run(meta, "DELETE FROM block WHERE stripe = ?", id));
        return meta_run(meta, "DELETE FROM row WHERE stripe = ?", id);
    }
    MRMR_TRY(meta_run(meta,
        "INSERT INTO stripe (uuid, generation, length, made, scrubbed) VALUES (?, ?, ?, ?, ?)",
        args));
    *ret_id = sqlite3_last_insert_rowid(meta->db);
    return MRMR_OK;
}

static mrmr_err blocks_write(struct meta *meta, const struct meta_stripe *s, int64_t id)
{
    for (size_t i = 0; i < s->blocks; i++) {
        const struct meta_block *b = &s->block[i];
        uint64_t bytes = 0;
        for (size_t j = 0; j < b->extents; j++)
            bytes += s->extent[b->first_extent + j].bytes;
        MRMR_TRY(meta_run(meta,
            "INSERT INTO block (stripe, slot, drive, length, extents, bytes) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            META_ARGS(META_INT(id), META_INT(b->slot), META_INT(b->drive), META_INT(b->length),
                META_INT(b->extents), META_INT(bytes))));
    }
    return MRMR_OK;
}

/* *ret_first: the first extent's id; the others follow without gaps, for nobody else inserts
 * meanwhile. */
static mrmr_err extents_write(
    struct meta *meta, const struct meta_stripe *s, int64_t id, int64_t *ret_first)
{
    for (size_t i = 0; i < s->extents; i++) {
        struct meta_extent e = s->extent[i];
        e.stripe = id;
        MRMR_TRY(meta_extent_insert(meta, &e));
        int64_t got = sqlite3_last_insert_rowid(meta->db);
        if (i == 0)
            *ret_first = got;
        else if (got != *ret_first + (int64_t)i)
            return mrmr_fail(MRMR_INTERNAL, "the catalog gave extents ids with gaps");
    }
    return MRMR_OK;
}

static mrmr_err store_locked(struct meta *meta, const struct meta_stripe *s, uint64_t expected,
    const struct meta_claim claims[], size_t nclaims, int64_t *ret_id, int64_t *ret_first)
{
    MRMR_TRY(store_check(meta, s, expected, claims, nclaims));
    MRMR_TRY(head_write(meta, s, ret_id));
    MRMR_TRY(blocks_write(meta, s, *ret_id));
    for (size_t i = 0; i < s->rows; i++)
        MRMR_TRY(meta_row_store(meta, *ret_id, &s->row[i]));
    MRMR_TRY(extents_write(meta, s, *ret_id, ret_first));
    for (size_t i = 0; i < nclaims; i++)
        MRMR_TRY(meta_unexpose(meta, claims[i].node, claims[i].first, claims[i].leaves));
    return MRMR_OK;
}

mrmr_err meta_stripe_store(struct meta *meta, struct meta_stripe *stripe,
    uint64_t expected_generation, const struct meta_claim claims[], size_t nclaims)
{
    mrmr_locked(&meta->lock);
    int64_t id = 0, first = 0;
    MRMR_TRY(meta_write_begin(meta));
    MRMR_TRY(meta_write_end(
        meta, store_locked(meta, stripe, expected_generation, claims, nclaims, &id, &first)));
    stripe->id = id;
    for (size_t i = 0; i < stripe->extents; i++) {
        stripe->extent[i].id = first + (int64_t)i;
        stripe->extent[i].stripe = id;
    }
    return MRMR_OK;
}
