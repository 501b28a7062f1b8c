/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Verified bytes of any leaf a stripe counts on, with up to as many blocks gone or wrong as there
 * are rows.
 *
 * Any byte range of a stripe decodes alone. First the survivors are read as they are and the result
 * is checked: a digest of 256 bits says all. Only if it is wrong are the survivors themselves
 * checked, leaf by leaf, and those that are wrong become erasures too (I7); and if a row lies
 * consistently, the others are tried without it. Bytes that did not pass
 * the check never leave this file; what was wrong on the way is told as an event (rot.h).
 */
#include "pool/retained/retained.h"
#include "pool/stripe/rot.h"
#include "pool/stripe/view.h"

#include "parity/code.h"
#include "pool/stripe/buffers.h"
#include <stdio.h>
#include <string.h>

enum { AWAY_MOST = 8 };

/* One range of a stripe, wanted of one block. */
struct decode {
    struct pool *pool;
    struct pool_view *view;
    const struct meta_extent *extent;
    uint64_t leaf;
    uint64_t at; /* in the stripe */
    uint32_t size;
    bool verify;      /* check every survivor, too */
    uint32_t without; /* rows that are not to be used, by index */
    struct rot_list *rot;

    /* By block of the image: its bytes, NULL for zeros or an erasure. */
    uint8_t *known[META_SLOTS_MAX];
    uint8_t known_slot[META_SLOTS_MAX], erased_slot[META_SLOTS_MAX];
    unsigned nknown, nerased; /* erased_slot[0] is the target's */
    uint8_t *row[META_ROWS_MAX], row_index[META_ROWS_MAX];
    unsigned nrows;

    int64_t away[AWAY_MOST]; /* drives that did not answer, for the story */
    unsigned naway;
};

static mrmr_err leaf_check(
    const struct meta_extent *extent, uint64_t leaf, const void *buf, uint32_t size)
{
    struct mrmr_digest got = mrmr_digest_of(buf, size);
    if (mrmr_digest_equal(&got, &extent->digests[leaf]))
        return MRMR_OK;
    return mrmr_fail(MRMR_DIGEST, NULL);
}

static mrmr_err leaf_from_file(
    struct drv_file *file, const struct meta_extent *extent, uint64_t leaf, void *buf)
{
    uint32_t size = pool_leaf_size(extent, leaf);
    MRMR_TRY(drv_file_read_exact(file, (extent->first + leaf) * META_LEAF, buf, size));
    return leaf_check(extent, leaf, buf, size);
}

/* From its place (file: NULL if that is not to be had), else from where its file was renamed to, or
 * where it is retained. */
static mrmr_err leaf_still_there(const struct decode *d, struct drv_file *file,
    const struct meta_extent *extent, uint64_t leaf, void *buf)
{
    const mrmr_err there = file ? leaf_from_file(file, extent, leaf, buf) : MRMR_ABSENT;
    mrmr_err err = there;
    if (err && !mrmr_ran_short(err) && extent->state != META_GONE)
        err = pool_node_leaf_moved(d->pool, extent, leaf, buf);
    if (err)
        err = pool_retained_leaf(d->pool, extent, leaf, buf);
    if (err)
        rot_add_leaf(d->rot, extent, leaf, there);
    return err;
}

/* The part of one extent that lies in the range, into buf (whose first byte is the range's), leaf by
 * leaf, each checked. */
static mrmr_err decode_read_leaves(const struct decode *d, struct drv_file *file,
    const struct meta_extent *extent, uint64_t from, uint64_t to, uint8_t *buf)
{
    uint8_t *scratch = pool_buffers_get(d->pool->buffers, META_LEAF);
    mrmr_err err = scratch ? MRMR_OK : mrmr_nomem();
    for (uint64_t i = from / META_LEAF; !err && i * META_LEAF < to; i++) {
        err = leaf_still_there(d, file, extent, i, scratch);
        uint64_t a = i * META_LEAF, b = a + pool_leaf_size(extent, i);
        uint64_t lo = a > from ? a : from, hi = b < to ? b : to;
        if (!err)
            memcpy(buf + (extent->place + lo - d->at), scratch + (lo - a), hi - lo);
    }
    pool_buffers_put(d->pool->buffers, scratch, META_LEAF);
    return err;
}

/* The same, as it is in the file where that may be believed. */
static mrmr_err decode_read_extent(
    const struct decode *d, const struct meta_extent *extent, uint8_t *buf)
{
    struct drv_file *file = NULL;
    uint64_t from = d->at > extent->place ? d->at - extent->place : 0;
    uint64_t to = d->at + d->size - extent->place;
    if (to > extent->bytes)
        to = extent->bytes;
    mrmr_err err =
        extent->state == META_GONE ? MRMR_ABSENT : pool_node_open(d->pool, extent->node, &file);
    if (!err && !d->verify && extent->state == META_LIVE) {
        err = drv_file_read_exact(file, extent->first * META_LEAF + from,
            buf + (extent->place + from - d->at), to - from);
        if (err)
            rot_add_leaf(d->rot, extent, from / META_LEAF, err);
    } else if (!mrmr_ran_short(err))
        err = decode_read_leaves(d, file, extent, from, to, buf);
    drv_file_close(file);
    return err;
}

/* The first extent of the block that ends after `at`; they are sorted by place. */
static size_t block_extent_after(
    const struct meta_stripe *image, const struct meta_block *block, uint64_t at)
{
    size_t lo = 0, hi = block->extents;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct meta_extent *extent = &image->extent[block->first_extent + mid];
        if (extent->place + extent->bytes > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* A block's bytes over the range. *ret_buf stays NULL where they are all zeros. */
static mrmr_err decode_read_block(
    const struct decode *d, const struct meta_block *block, uint8_t **ret_buf)
{
    const struct meta_stripe *image = &d->view->image;
    uint8_t *buf = NULL;
    for (size_t i = block_extent_after(image, block, d->at); i < block->extents; i++) {
        const struct meta_extent *extent = &image->extent[block->first_extent + i];
        if (extent->place >= d->at + d->size)
            break;
        if (!buf) {
            buf = pool_buffers_get(d->pool->buffers, META_LEAF);
            if (!buf)
                return mrmr_nomem();
            memset(buf, 0, d->size);
        }
        mrmr_err err = decode_read_extent(d, extent, buf);
        if (err) {
            pool_buffers_put(d->pool->buffers, buf, META_LEAF);
            return err;
        }
    }
    *ret_buf = buf;
    return MRMR_OK;
}

static void decode_away(struct decode *d, int64_t id, mrmr_err err)
{
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE &&
        pool_drive_readable(pool_drive_by_id(d->pool, id)))
        return;
    for (unsigned i = 0; i < d->naway; i++)
        if (d->away[i] == id)
            return;
    if (d->naway < AWAY_MOST)
        d->away[d->naway++] = id;
}

static mrmr_err decode_read_blocks(struct decode *d)
{
    const struct meta_stripe *image = &d->view->image;
    for (size_t i = 0; i < image->blocks; i++) {
        const struct meta_block *block = &image->block[i];
        if (block->drive == d->extent->drive) {
            decode_away(d, block->drive, MRMR_OK);
            d->erased_slot[d->nerased] = d->erased_slot[0];
            d->erased_slot[0] = block->slot;
            d->nerased++;
            continue;
        }
        uint8_t *buf = NULL;
        mrmr_err err = decode_read_block(d, block, &buf);
        if (mrmr_ran_short(err))
            return err;
        if (err) {
            decode_away(d, block->drive, err);
            d->erased_slot[d->nerased++] = block->slot;
        } else {
            d->known[d->nknown] = buf;
            d->known_slot[d->nknown++] = block->slot;
        }
    }
    return MRMR_OK;
}

/* A row's bytes over the range; checked leaf by leaf when the survivors are. */
static mrmr_err decode_read_row(struct decode *d, unsigned index, uint8_t *buf)
{
    struct pool_row_reader *reader;
    MRMR_TRY(pool_view_row(d->pool, d->view, index, &reader));
    if (!d->verify)
        return pool_row_read(reader, d->at, buf, d->size);
    uint8_t *scratch = pool_buffers_get(d->pool->buffers, META_LEAF);
    if (!scratch)
        return mrmr_nomem();
    mrmr_err err = MRMR_OK;
    for (uint64_t leaf = d->at / META_LEAF; !err && leaf * META_LEAF < d->at + d->size; leaf++) {
        size_t got = 0;
        err = pool_row_read_leaves(reader, leaf, 1, scratch, &got);
        uint64_t a = leaf * META_LEAF, lo = a > d->at ? a : d->at, hi = a + got;
        if (hi > d->at + d->size)
            hi = d->at + d->size;
        if (!err)
            memcpy(buf + (lo - d->at), scratch + (lo - a), hi - lo);
    }
    pool_buffers_put(d->pool->buffers, scratch, META_LEAF);
    return err;
}

/* Rows of one kind: those that are as they should be, or those of which something is damaged or was
 * not found, but which may hold just this range. */
static mrmr_err decode_read_rows_of(struct decode *d, bool intact)
{
    const struct meta_stripe *image = &d->view->image;
    for (size_t i = 0; i < image->rows && d->nrows < d->nerased; i++) {
        if ((image->row[i].state == META_ROW_OK) != intact ||
            (d->without & UINT32_C(1) << image->row[i].index))
            continue;
        uint8_t *buf = pool_buffers_get(d->pool->buffers, META_LEAF);
        if (!buf)
            return mrmr_nomem();
        mrmr_err err = decode_read_row(d, image->row[i].index, buf);
        if (err) {
            decode_away(d, image->row[i].drive, err);
            pool_buffers_put(d->pool->buffers, buf, META_LEAF);
            if (mrmr_ran_short(err))
                return err;
            rot_add_row(d->rot, image->row[i].index, err);
            continue;
        }
        d->row[d->nrows] = buf;
        d->row_index[d->nrows++] = image->row[i].index;
    }
    return MRMR_OK;
}

/* "; away: red, blue" */
static const char *away_names(const struct decode *d, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < d->naway && n < size; i++) {
        const struct pool_drive *drive = pool_drive_by_id(d->pool, d->away[i]);
        n += (size_t)snprintf(
            buf + n, size - n, "%s%s", i ? ", " : "; away: ", drive ? drive->meta.name : "?");
    }
    return buf;
}

/* As many rows as there are erasures, of those that can be read. */
static mrmr_err decode_read_rows(struct decode *d)
{
    char away[192];
    MRMR_TRY(decode_read_rows_of(d, true));
    MRMR_TRY(decode_read_rows_of(d, false));
    if (d->nrows < d->nerased)
        return mrmr_err_hint(
            mrmr_fail(MRMR_LOST, "%u blocks are missing or changed and only %u rows can be read%s",
                d->nerased, d->nrows, away_names(d, away, sizeof away)),
            "bring back a drive that is away, or a row that was found damaged");
    return MRMR_OK;
}

static mrmr_err decode_solve(struct decode *d, uint8_t *buf)
{
    struct parity_decoder *decoder = NULL;
    MRMR_TRY(parity_decoder_create(
        d->nknown, d->known_slot, d->nerased, d->erased_slot, d->nrows, d->row_index, &decoder));
    uint8_t *out[META_ROWS_MAX] = {buf}; /* the others are not wanted */
    mrmr_err err = parity_decode(
        decoder, (const uint8_t *const *)d->known, (const uint8_t *const *)d->row, out, d->size);
    parity_decoder_destroy(decoder);
    return err;
}

/* One try: read survivors and rows, solve, check. */
static mrmr_err decode_try(struct pool *pool, struct pool_view *view,
    const struct meta_extent *extent, uint64_t leaf, bool verify, uint32_t without,
    struct rot_list *rot, void *buf)
{
    struct decode d = {.pool = pool,
        .view = view,
        .extent = extent,
        .leaf = leaf,
        .at = extent->place + leaf * META_LEAF,
        .size = pool_leaf_size(extent, leaf),
        .verify = verify,
        .without = without,
        .rot = rot};
    mrmr_err err = decode_read_blocks(&d);
    if (!err)
        err = decode_read_rows(&d);
    if (!err)
        err = decode_solve(&d, buf);
    if (!err)
        err = leaf_check(extent, leaf, buf, d.size);
    for (unsigned i = 0; i < d.nknown; i++)
        pool_buffers_put(pool->buffers, d.known[i], META_LEAF);
    for (unsigned i = 0; i < d.nrows; i++)
        pool_buffers_put(pool->buffers, d.row[i], META_LEAF);
    return err;
}

/* The others gave the right bytes. With fewer left out they did not, so each of these is wrong. */
static void rows_lie(const struct pool_view *view, uint32_t without, struct rot_list *rot)
{
    for (size_t i = 0; i < view->image.rows; i++)
        if (without & UINT32_C(1) << view->image.row[i].index)
            rot_add_row(rot, view->image.row[i].index, MRMR_CHANGED);
}

/* Blocks have their digests in the catalog, but a row is only known to agree with itself: one that
 * lies is found by leaving rows out. */
static mrmr_err leaf_decode_without(struct pool *pool, struct pool_view *view,
    const struct meta_extent *extent, uint64_t leaf, struct rot_list *rot, void *buf)
{
    mrmr_err err = MRMR_DIGEST;
    uint32_t all = 0;
    for (size_t i = 0; i < view->image.rows; i++)
        all |= UINT32_C(1) << view->image.row[i].index;
    for (uint32_t without = 1; without < all && (err == MRMR_DIGEST || err == MRMR_LOST);
         without++) {
        if (without & ~all)
            continue;
        err = decode_try(pool, view, extent, leaf, true, without, rot, buf);
        if (!err)
            rows_lie(view, without, rot);
    }
    return err;
}

/* there: what its place said; MRMR_OK: it was not asked. */
static mrmr_err leaf_decode(struct pool *pool, struct pool_view *view,
    const struct meta_extent *extent, uint64_t leaf, mrmr_err there, void *buf)
{
    struct rot_list rot = {.n = 0};
    if (there)
        rot_add_leaf(&rot, extent, leaf, there);
    mrmr_err err = decode_try(pool, view, extent, leaf, false, 0, &rot, buf);
    if (err && !mrmr_ran_short(err))
        err = decode_try(pool, view, extent, leaf, true, 0, &rot, buf);
    bool lies = err == MRMR_DIGEST;
    if (lies)
        err = leaf_decode_without(pool, view, extent, leaf, &rot, buf);
    if (lies && (err == MRMR_DIGEST || err == MRMR_LOST))
        err = mrmr_fail(MRMR_LOST, "what the survivors give does not match the recorded digest");
    if (err) {
        char uuid[MRMR_UUID_TEXT];
        mrmr_err_stripe(err, mrmr_uuid_print(&view->image.uuid, uuid));
    }
    rot_tell(pool, view, &rot);
    return err;
}

/* Where its file was renamed to; else as it was. */
static mrmr_err leaf_elsewhere(
    struct pool *pool, const struct meta_extent *extent, uint64_t leaf, void *buf)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    return pool_node_leaf_moved(pool, extent, leaf, buf) ? mrmr_story_restore(&story) : MRMR_OK;
}

mrmr_err pool_leaf_read(struct pool *pool, struct pool_view *view, const struct meta_extent *extent,
    uint64_t i, enum pool_leaf_how how, void *buf, bool *ret_decoded)
{
    if (i >= extent->leaves)
        return mrmr_fail(MRMR_INTERNAL, "leaf beyond its extent");
    mrmr_err err = MRMR_ABSENT, there = MRMR_OK;
    if (how != POOL_LEAF_DECODE && extent->state != META_GONE) {
        struct drv_file *file = NULL;
        err = pool_node_open(pool, extent->node, &file);
        if (!err)
            err = leaf_from_file(file, extent, i, buf);
        drv_file_close(file);
        there = err;
        if (err && !mrmr_ran_short(err))
            err = leaf_elsewhere(pool, extent, i, buf);
    }
    bool retained =
        how == POOL_LEAF_ANY || (how == POOL_LEAF_DIRECT && extent->state == META_STALE);
    if (err && !mrmr_ran_short(err) && retained) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        err = pool_retained_leaf(pool, extent, i, buf) ? mrmr_story_restore(&story) : MRMR_OK;
    }
    bool decode = err && how != POOL_LEAF_DIRECT && !mrmr_ran_short(err);
    if (decode)
        err = leaf_decode(pool, view, extent, i, there, buf);
    if (!err && ret_decoded)
        *ret_decoded = decode;
    return err;
}

/* The view's own extent of this id. */
static const struct meta_extent *view_extent(const struct pool_view *view, int64_t id)
{
    for (size_t i = 0; i < view->image.extents; i++)
        if (view->image.extent[i].id == id)
            return &view->image.extent[i];
    return NULL;
}

mrmr_err pool_extent_leaf_read(struct pool *pool, const struct meta_extent *extent, uint64_t leaf,
    enum pool_leaf_how how, void *buf, bool *ret_decoded)
{
    struct pool_view *view = NULL;
    MRMR_TRY(pool_view_get(pool, extent->stripe, &view));
    const struct meta_extent *own = view_extent(view, extent->id);
    mrmr_err err = own ? pool_leaf_read(pool, view, own, leaf, how, buf, ret_decoded)
                       : mrmr_fail(MRMR_CHANGED, "its stripe has a newer generation");
    pool_view_put(pool, view);
    /* Another process may own the pool, and tells nobody of its commits: look the stripe up again. */
    if (err == MRMR_CHANGED || err == MRMR_LOST)
        pool_views_forget(pool, extent->stripe);
    return err;
}

/* The leaf of this file as it is now would have this size: an older, shorter last leaf is no
 * stand-in. */
bool pool_stand_in_fits(
    const struct meta_node *node, const struct meta_extent *extent, uint64_t leaf)
{
    if (extent->state != META_STALE || leaf < extent->first ||
        leaf >= extent->first + extent->leaves || leaf * META_LEAF >= node->size)
        return false;
    uint64_t rest = node->size - leaf * META_LEAF;
    return pool_leaf_size(extent, leaf - extent->first) == (rest < META_LEAF ? rest : META_LEAF);
}

mrmr_err pool_leaf_stand_in(
    struct pool *pool, const struct meta_node *node, uint64_t leaf, void *buf, size_t *ret_size)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    mrmr_err err = mrmr_fail(MRMR_ABSENT, "nothing stands in for it");
    MRMR_TRY(meta_extents_of(pool->meta, node->id, &extents, &n));
    for (size_t i = 0; i < n; i++) {
        if (!pool_stand_in_fits(node, &extents[i], leaf))
            continue;
        err = pool_extent_leaf_read(
            pool, &extents[i], leaf - extents[i].first, POOL_LEAF_ANY, buf, NULL);
        if (!err) {
            *ret_size = pool_leaf_size(&extents[i], leaf - extents[i].first);
            break;
        }
    }
    return err;
}

/* Leaves of a STALE extent that stand in for exposed ones get the state `to` and are exposed no
 * longer; the others get `other`. */
static mrmr_err stale_verdict(struct pool *pool, const struct meta_node *node,
    const struct meta_exposed ranges[], size_t nranges, const struct meta_extent *extent,
    enum meta_extent_state to, enum meta_extent_state other)
{
    mrmr_autofree struct meta_verdict *verdict = calloc(extent->leaves, sizeof *verdict);
    if (!verdict)
        return mrmr_nomem();
    for (uint64_t i = 0; i < extent->leaves; i++) {
        uint64_t leaf = extent->first + i;
        bool exposed = false;
        for (size_t r = 0; r < nranges; r++)
            exposed =
                exposed || (leaf >= ranges[r].first && leaf < ranges[r].first + ranges[r].leaves);
        bool wanted = exposed && pool_stand_in_fits(node, extent, leaf);
        verdict[i] = (struct meta_verdict){1, wanted ? to : other, false};
        if (wanted)
            MRMR_TRY(meta_unexpose(pool->meta, node->id, leaf, 1));
    }
    return meta_extent_judge(pool->meta, extent->id, verdict, extent->leaves);
}

static mrmr_err stale_all(struct pool *pool, const struct meta_node *node,
    enum meta_extent_state to, enum meta_extent_state other, bool in_place)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n, nranges;
    MRMR_TRY(meta_extents_of(pool->meta, node->id, &extents, &n));
    MRMR_TRY(meta_exposed_of(pool->meta, node->id, &ranges, &nranges));
    for (size_t i = 0; i < n; i++)
        if (extents[i].state == META_STALE && (!in_place || extents[i].drive == node->drive))
            MRMR_TRY(stale_verdict(pool, node, ranges, nranges, &extents[i], to, other));
    return MRMR_OK;
}

mrmr_err pool_stale_settle(struct pool *pool, const struct meta_node *node)
{
    return stale_all(pool, node, META_MISSING, META_GONE, false);
}

mrmr_err pool_stale_return(struct pool *pool, const struct meta_node *node)
{
    return stale_all(pool, node, META_LIVE, META_STALE, true);
}
