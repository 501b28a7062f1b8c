/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One stripe: its shape, its rows' files, and, deep, every byte: leaves against digests, rows
 * against blocks, and the decoding of every choice of members that its margin lets go.
 */
#include "pool/check.h"
#include "pool/stripe/lane.h"
#include "pool/stripe/manifest.h"

#include "parity/code.h"
#include <string.h>

enum { CHOICES_MOST = 256 };

struct check_stripe {
    struct check *check;
    const struct meta_stripe *image;
    struct pool_view *view;
    char uuid[MRMR_UUID_TEXT];
    bool bad;     /* what is wrong was told: no bytes are compared */
    bool changed; /* a file was edited since the scan: its bytes are nobody's fault */
};

#define stripe_say(s, fmt, ...)                                                                    \
    do {                                                                                           \
        (s)->bad = true;                                                                           \
        pool_check_say((s)->check, "stripe %s: " fmt, (s)->uuid, ##__VA_ARGS__);                   \
    } while (0)
#define stripe_say_story(s, fmt, ...)                                                              \
    do {                                                                                           \
        (s)->bad = true;                                                                           \
        pool_check_say_story((s)->check, "stripe %s: " fmt, (s)->uuid, ##__VA_ARGS__);             \
    } while (0)

/* --- Shape (I6) --- */

static void shape_extents(struct check_stripe *s, const struct meta_block *block)
{
    uint64_t end = 0;
    for (size_t i = 0; i < block->extents; i++) {
        const struct meta_extent *extent = &s->image->extent[block->first_extent + i];
        if (extent->drive != block->drive)
            stripe_say(s, "an extent is in another drive's block");
        if (!extent->leaves || extent->bytes > extent->leaves * META_LEAF ||
            extent->bytes <= (extent->leaves - 1) * META_LEAF)
            stripe_say(s, "an extent of %llu leaves has %llu bytes",
                (unsigned long long)extent->leaves, (unsigned long long)extent->bytes);
        if (extent->place < end)
            stripe_say(s, "two extents overlap at %llu", (unsigned long long)extent->place);
        end = extent->place + extent->bytes;
    }
    if (end != block->length)
        stripe_say(s, "a block of %llu bytes ends at %llu", (unsigned long long)block->length,
            (unsigned long long)end);
}

static void shape_blocks(struct check_stripe *s)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < s->image->blocks; i++) {
        const struct meta_block *block = &s->image->block[i];
        const struct pool_drive *drive = pool_drive_by_id(s->check->pool, block->drive);
        longest = block->length > longest ? block->length : longest;
        if (!drive)
            stripe_say(s, "a block is on a drive that the pool does not have");
        else if (drive->meta.slot != block->slot)
            stripe_say(s, "a block has slot %u, its drive %s has %u", block->slot, drive->meta.name,
                drive->meta.slot);
        for (size_t j = 0; j < i; j++)
            if (s->image->block[j].drive == block->drive || s->image->block[j].slot == block->slot)
                stripe_say(s, "two blocks are on one drive or slot");
        shape_extents(s, block);
    }
    if (longest != s->image->length)
        stripe_say(s, "its length is %llu, its longest block has %llu",
            (unsigned long long)s->image->length, (unsigned long long)longest);
}

static void shape_rows(struct check_stripe *s)
{
    for (size_t i = 0; i < s->image->rows; i++) {
        const struct meta_row *row = &s->image->row[i];
        if (row->index >= META_ROWS_MAX)
            stripe_say(s, "it has a row %u", row->index);
        if (!pool_drive_by_id(s->check->pool, row->drive))
            stripe_say(s, "row %u is on a drive that the pool does not have", row->index);
        if (row->state != META_ROW_LOST && pool_image_block(s->image, row->drive))
            stripe_say(s, "row %u and a block are on one drive", row->index);
        for (size_t j = 0; j < i; j++)
            if (s->image->row[j].index == row->index)
                stripe_say(s, "row %u is there twice", row->index);
            else if (s->image->row[j].drive == row->drive && row->state == META_ROW_OK &&
                     s->image->row[j].state == META_ROW_OK)
                stripe_say(
                    s, "rows %u and %u are on one drive", s->image->row[j].index, row->index);
    }
}

static void stripe_shape(struct check_stripe *s)
{
    if (!s->image->generation || !s->image->blocks || !s->image->rows || !s->image->length)
        stripe_say(s, "it has %zu blocks, %zu rows, %llu bytes, generation %llu", s->image->blocks,
            s->image->rows, (unsigned long long)s->image->length,
            (unsigned long long)s->image->generation);
    shape_blocks(s);
    shape_rows(s);
}

/* --- The rows' files (I2) --- */

static const struct pool_manifest_block *manifest_block(
    const struct pool_manifest *manifest, uint8_t slot)
{
    for (size_t i = 0; i < manifest->blocks; i++)
        if (manifest->block[i].slot == slot)
            return &manifest->block[i];
    return NULL;
}

/* The manifest's digest of the leaf at `place`; NULL if it has none there. */
static const struct mrmr_digest *manifest_leaf(
    const struct pool_manifest *manifest, const struct pool_manifest_block *block, uint64_t place)
{
    size_t lo = 0, hi = block->extents;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct pool_manifest_extent *extent = &manifest->extent[block->first_extent + mid];
        if (place < extent->place)
            hi = mid;
        else if (place >= extent->place + extent->bytes)
            lo = mid + 1;
        else if ((place - extent->place) % META_LEAF)
            return NULL;
        else
            return &manifest->digest[extent->digest + (place - extent->place) / META_LEAF];
    }
    return NULL;
}

static void row_manifest_extent(struct check_stripe *s, const struct meta_row *row,
    const struct pool_manifest *manifest, const struct pool_manifest_block *block,
    const struct meta_extent *extent)
{
    for (uint64_t i = 0; i < extent->leaves; i++) {
        const struct mrmr_digest *digest =
            manifest_leaf(manifest, block, extent->place + i * META_LEAF);
        if (digest && mrmr_digest_equal(digest, &extent->digests[i]))
            continue;
        stripe_say(s,
            "the manifest of row %u and the catalog differ about what is at %llu of slot %u",
            row->index, (unsigned long long)(extent->place + i * META_LEAF), block->slot);
        return;
    }
}

/* What the manifest says is what the catalog says, leaf by leaf (I8). */
static void row_manifest(
    struct check_stripe *s, const struct meta_row *row, const struct pool_manifest *manifest)
{
    if (manifest->length != s->image->length || manifest->blocks != s->image->blocks)
        stripe_say(s, "the manifest of row %u has another shape than the catalog", row->index);
    for (size_t i = 0; i < s->image->blocks; i++) {
        const struct meta_block *ours = &s->image->block[i];
        const struct pool_manifest_block *block = manifest_block(manifest, ours->slot);
        if (!block) {
            stripe_say(s, "the manifest of row %u has no block on slot %u", row->index, ours->slot);
            continue;
        }
        for (size_t e = 0; e < ours->extents; e++)
            row_manifest_extent(s, row, manifest, block, &s->image->extent[ours->first_extent + e]);
    }
}

static mrmr_err row_whole(
    struct check_stripe *s, const struct meta_row *row, struct drv *drv, const char *path)
{
    struct drv_file *file = NULL;
    struct pool_footer footer;
    struct pool_manifest *manifest = NULL;
    mrmr_err err = drv_file_open(drv, path, DRV_OPEN_READ, 0, &file);
    if (!err)
        err = pool_manifest_of_file(file, POOL_MANIFEST_WHOLE, &footer, &manifest);
    if (!err)
        row_manifest(s, row, manifest);
    else if (!mrmr_ran_short(err))
        stripe_say_story(s, "the manifest of row %u", row->index);
    pool_manifest_free(manifest);
    drv_file_close(file);
    return mrmr_ran_short(err) ? err : MRMR_OK;
}

static mrmr_err stripe_row(struct check_stripe *s, const struct meta_row *row)
{
    struct pool_drive *drive = pool_drive_by_id(s->check->pool, row->drive);
    char path[POOL_ROW_PATH];
    struct drv_stat stat;
    if (row->state != META_ROW_OK || !pool_drive_readable(drive))
        return MRMR_OK;
    pool_row_path(&s->image->uuid, s->image->generation, row->index, path);
    if (drv_stat(drive->drv, path, &stat)) {
        stripe_say_story(s, "row %u on drive %s", row->index, drive->meta.name);
        return MRMR_OK;
    }
    if (stat.type != DRV_REG || stat.size != row->file_size)
        stripe_say(s, "row %u on drive %s has %llu bytes, the catalog says %llu", row->index,
            drive->meta.name, (unsigned long long)stat.size, (unsigned long long)row->file_size);
    struct pool_row_reader *reader = NULL;
    mrmr_err err = pool_row_open(
        drive->drv, &s->image->uuid, s->image->generation, row->index, s->image->length, &reader);
    pool_row_close(reader);
    if (mrmr_ran_short(err))
        return err;
    if (err)
        stripe_say_story(s, "row %u on drive %s", row->index, drive->meta.name);
    else if (s->check->deep)
        return row_whole(s, row, drive->drv, path);
    return MRMR_OK;
}

/* --- Every leaf (I4, I7) --- */

/* Its file is not as the catalog knows it: edited since the last scan. */
static bool leaf_was_edited(struct check_stripe *s, const struct meta_extent *extent)
{
    struct pool *pool = s->check->pool;
    struct meta_node node;
    struct drv_stat stat;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (meta_node_get(pool->meta, extent->node, &node) || meta_path(pool->meta, node.id, &path))
        return true;
    struct pool_drive *drive = pool_drive_by_id(pool, node.drive);
    return !pool_drive_readable(drive) || drv_stat(drive->drv, path.data, &stat) ||
           pool_stat_same(&drive->info, &node, &stat) != POOL_SAME;
}

static mrmr_err stripe_extent(struct check_stripe *s, const struct meta_extent *extent)
{
    mrmr_autofree uint8_t *buf = malloc(META_LEAF);
    if (!buf)
        return mrmr_nomem();
    bool in_place = extent->state == META_LIVE || extent->state == META_STALE;
    for (uint64_t i = 0; i < extent->leaves; i++) {
        mrmr_err err = MRMR_OK;
        if (in_place && pool_drive_readable(pool_drive_by_id(s->check->pool, extent->drive)))
            err = pool_leaf_read(s->check->pool, s->view, extent, i, POOL_LEAF_DIRECT, buf, NULL);
        if (mrmr_ran_short(err))
            return err;
        if (!err)
            continue;
        if (!extent->node && extent->state == META_STALE)
            stripe_say_story(s, "leaf %llu of a file that is gone is not retained",
                (unsigned long long)(extent->first + i));
        if (leaf_was_edited(s, extent)) {
            s->changed = true;
            continue;
        }
        stripe_say_story(s, "leaf %llu of node %lld is not what was coded",
            (unsigned long long)(extent->first + i), (long long)extent->node);
    }
    return MRMR_OK;
}

static mrmr_err stripe_extents(struct check_stripe *s)
{
    const struct meta_stripe *image = pool_view_image(s->view);
    for (size_t i = 0; i < image->extents; i++)
        MRMR_TRY(stripe_extent(s, &image->extent[i]));
    return MRMR_OK;
}

/* --- Rows against blocks, and every choice of what may go (I7) --- */

struct sums {
    struct check_stripe *s;
    struct pool_lane *lanes; /* blocks, then rows */
    size_t nlanes, blocks;
    size_t window;
    uint8_t *zeros, *scratch[META_ROWS_MAX];
    /* Of the window at hand, by lane. */
    uint8_t *bytes[META_SLOTS_MAX + META_ROWS_MAX];
    bool gone[META_SLOTS_MAX + META_ROWS_MAX]; /* an erasure already */
    unsigned margin;
    uint64_t random;
};

static bool sums_block_gone(const struct sums *t, const struct meta_block *block)
{
    const struct meta_stripe *image = pool_view_image(t->s->view);
    if (!pool_drive_readable(pool_drive_by_id(t->s->check->pool, block->drive)))
        return true;
    for (size_t i = 0; i < block->extents; i++) {
        enum meta_extent_state state = image->extent[block->first_extent + i].state;
        if (state != META_LIVE && state != META_STALE)
            return true;
    }
    return false;
}

static mrmr_err sums_lane(
    struct sums *t, const struct meta_block *block, const struct meta_row *row)
{
    const struct meta_stripe *image = pool_view_image(t->s->view);
    size_t at = t->nlanes++;
    struct pool_lane *lane = &t->lanes[at];
    lane->pool = t->s->check->pool;
    lane->view = t->s->view;
    lane->length = image->length;
    lane->window = t->window;
    lane->is_row = row != NULL;
    if (row) {
        lane->index = row->index;
        return MRMR_OK;
    }
    t->gone[at] = sums_block_gone(t, block);
    lane->slot = block->slot;
    lane->items = calloc(block->extents, sizeof *lane->items);
    if (!lane->items)
        return mrmr_nomem();
    lane->nitems = block->extents;
    for (size_t i = 0; i < block->extents; i++)
        lane->items[i].from = lane->items[i].to = &image->extent[block->first_extent + i];
    return MRMR_OK;
}

static mrmr_err sums_prepare(struct sums *t)
{
    const struct meta_stripe *image = pool_view_image(t->s->view);
    t->window = META_LEAF;
    t->lanes = calloc(image->blocks + image->rows, sizeof *t->lanes);
    t->zeros = calloc(1, t->window);
    if (!t->lanes || !t->zeros)
        return mrmr_nomem();
    for (unsigned i = 0; i < META_ROWS_MAX; i++)
        if (!(t->scratch[i] = malloc(t->window)))
            return mrmr_nomem();
    for (size_t i = 0; i < image->blocks; i++)
        MRMR_TRY(sums_lane(t, &image->block[i], NULL));
    t->blocks = t->nlanes;
    for (size_t i = 0; i < image->rows; i++)
        if (image->row[i].state == META_ROW_OK &&
            pool_drive_readable(pool_drive_by_id(t->s->check->pool, image->row[i].drive)))
            MRMR_TRY(sums_lane(t, NULL, &image->row[i]));
    return MRMR_OK;
}

/* All rows are the sum of all blocks. */
static mrmr_err sums_rows(struct sums *t, size_t size)
{
    struct parity_part parts[META_SLOTS_MAX];
    uint8_t index[META_ROWS_MAX];
    unsigned k = 0, m = 0;
    for (size_t i = 0; i < t->blocks; i++)
        parts[k++] = (struct parity_part){t->lanes[i].slot, t->bytes[i]};
    for (size_t i = t->blocks; i < t->nlanes; i++)
        index[m++] = (uint8_t)t->lanes[i].index;
    MRMR_TRY(parity_encode(k, parts, m, index, t->scratch, size));
    for (unsigned j = 0; j < m; j++)
        if (memcmp(t->scratch[j], t->bytes[t->blocks + j], size) != 0)
            stripe_say(t->s, "row %u is not the sum of its blocks", index[j]);
    return MRMR_OK;
}

/* With these members away, the rows that stay give the blocks. */
static mrmr_err sums_choice(struct sums *t, const bool away[], size_t size)
{
    uint8_t known[META_SLOTS_MAX], missing[META_SLOTS_MAX], rows[META_ROWS_MAX];
    const uint8_t *data[META_SLOTS_MAX], *row_data[META_ROWS_MAX];
    size_t which[META_SLOTS_MAX];
    unsigned nk = 0, ne = 0, nr = 0;
    for (size_t i = 0; i < t->blocks; i++) {
        if (away[i]) {
            which[ne] = i;
            missing[ne++] = t->lanes[i].slot;
        } else {
            data[nk] = t->bytes[i];
            known[nk++] = t->lanes[i].slot;
        }
    }
    for (size_t i = t->blocks; i < t->nlanes; i++)
        if (!away[i]) {
            row_data[nr] = t->bytes[i];
            rows[nr++] = (uint8_t)t->lanes[i].index;
        }
    if (!ne)
        return MRMR_OK;
    struct parity_decoder *decoder = NULL;
    mrmr_err err = parity_decoder_create(nk, known, ne, missing, nr, rows, &decoder);
    if (!err)
        err = parity_decode(decoder, data, row_data, t->scratch, size);
    parity_decoder_destroy(decoder);
    if (mrmr_ran_short(err))
        return err;
    if (err)
        stripe_say_story(t->s, "%u blocks away", ne);
    for (unsigned i = 0; !err && i < ne; i++) {
        const uint8_t *wanted = t->bytes[which[i]] ? t->bytes[which[i]] : t->zeros;
        if (memcmp(t->scratch[i], wanted, size) != 0)
            stripe_say(t->s, "the block on slot %u decodes to other bytes", missing[i]);
    }
    return MRMR_OK;
}

/* Every choice of `more` further members, the first at or after `from`; a stop after CHOICES_MOST.
 */
static mrmr_err sums_choices(
    struct sums *t, bool away[], size_t from, unsigned more, unsigned *left, size_t size)
{
    if (!*left || t->s->bad)
        return MRMR_OK;
    if (!more) {
        --*left;
        return sums_choice(t, away, size);
    }
    for (size_t i = from; i < t->nlanes; i++) {
        if (away[i])
            continue;
        away[i] = true;
        mrmr_err err = sums_choices(t, away, i + 1, more - 1, left, size);
        away[i] = false;
        MRMR_TRY(err);
    }
    return MRMR_OK;
}

/* Where there are too many choices: some of them, others in each window. */
static mrmr_err sums_sample(struct sums *t, size_t size)
{
    for (unsigned n = 0; n < CHOICES_MOST / 8 && !t->s->bad; n++) {
        bool away[META_SLOTS_MAX + META_ROWS_MAX];
        memcpy(away, t->gone, sizeof away);
        for (unsigned more = t->margin; more;) {
            t->random = t->random * UINT64_C(6364136223846793005) + 1442695040888963407;
            size_t i = (t->random >> 33) % t->nlanes;
            if (!away[i]) {
                away[i] = true;
                more--;
            }
        }
        MRMR_TRY(sums_choice(t, away, size));
    }
    return MRMR_OK;
}

static uint64_t choices_of(uint64_t n, unsigned k)
{
    uint64_t c = 1;
    for (unsigned i = 0; i < k; i++)
        c = c * (n - i) / (i + 1);
    return c;
}

static mrmr_err sums_window(struct sums *t, size_t size)
{
    uint64_t there = 0;
    for (size_t i = 0; i < t->nlanes; i++) {
        size_t used;
        MRMR_TRY(pool_ring_get_begin(&t->lanes[i].ring, &t->bytes[i], &used));
        if (!used)
            t->bytes[i] = t->lanes[i].is_row ? t->zeros : NULL;
        there += !t->gone[i];
    }
    mrmr_err err = sums_rows(t, size);
    unsigned left = CHOICES_MOST;
    if (!err && choices_of(there, t->margin) <= CHOICES_MOST)
        err = sums_choices(t, t->gone, 0, t->margin, &left, size);
    else if (!err)
        err = sums_sample(t, size);
    for (size_t i = 0; i < t->nlanes; i++)
        pool_ring_get_end(&t->lanes[i].ring);
    return err;
}

static mrmr_err sums_run(struct sums *t)
{
    MRMR_TRY(sums_prepare(t));
    for (size_t i = 0; i < t->nlanes; i++)
        MRMR_TRY(pool_lane_start(&t->lanes[i]));
    uint64_t length = pool_view_image(t->s->view)->length;
    for (uint64_t a = 0; a < length && !t->s->bad; a += t->window)
        MRMR_TRY(sums_window(t, a + t->window < length ? t->window : length - a));
    return MRMR_OK;
}

/* The error of a lane, which tells more than the ring's. */
static mrmr_err sums_end(struct sums *t, mrmr_err err)
{
    for (size_t i = 0; i < t->nlanes; i++) {
        mrmr_err lane_err = pool_lane_join(&t->lanes[i]);
        if (err && lane_err && lane_err != MRMR_CANCELLED)
            err = lane_err;
        pool_lane_free(&t->lanes[i]);
    }
    for (unsigned i = 0; i < META_ROWS_MAX; i++)
        free(t->scratch[i]);
    free(t->lanes);
    free(t->zeros);
    return err;
}

static mrmr_err stripe_sums(struct check_stripe *s)
{
    int margin = pool_image_margin(s->check->pool, s->image);
    if (margin < 0 || s->changed || s->bad)
        return MRMR_OK; /* what is lost is known, what was edited is the next scan's */
    struct sums t = {.s = s, .margin = (unsigned)margin, .random = s->image->generation + 1};
    memcpy(&t.random, &s->image->uuid, sizeof t.random);
    mrmr_err err = sums_end(&t, sums_run(&t));
    if (err && !mrmr_ran_short(err)) {
        stripe_say_story(s, "it does not give back its bytes");
        err = MRMR_OK;
    }
    return err;
}

mrmr_err pool_check_stripe(struct check *check, const struct meta_stripe *image)
{
    struct check_stripe s = {.check = check, .image = image};
    mrmr_uuid_print(&image->uuid, s.uuid);
    stripe_shape(&s);
    for (size_t i = 0; i < image->rows; i++)
        MRMR_TRY(stripe_row(&s, &image->row[i]));
    if (!check->deep)
        return MRMR_OK;
    pool_views_forget(check->pool, image->id);
    MRMR_TRY(pool_view_get(check->pool, image->id, &s.view));
    mrmr_err err = stripe_extents(&s);
    if (!err)
        err = stripe_sums(&s);
    pool_view_put(check->pool, s.view);
    return err;
}
