/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Is what is claimed as protected there, whichever drives go?
 */
#include "tests/support/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- pool_check --- */

struct findings {
    size_t n;
    char first[512];
};

static void finding_seen(const char *finding, void *arg)
{
    struct findings *seen = arg;
    if (!seen->n++)
        snprintf(seen->first, sizeof seen->first, "%s", finding);
}

size_t rig_findings(struct rig *rig, bool deep, char *first)
{
    struct findings seen = {0};
    mrmr_err err = pool_check(rig->pool, deep, finding_seen, &seen);
    if (err != MRMR_CORRUPT)
        rig_ok(err);
    assert_int_equal(err == MRMR_CORRUPT, seen.n > 0);
    if (first)
        memcpy(first, seen.first, sizeof seen.first);
    return seen.n;
}

void rig_check(struct rig *rig)
{
    char first[512];
    size_t n = rig_findings(rig, true, first);
    if (n)
        fail_msg("pool_check has %zu findings; the first: %s", n, first);
}

/* --- What the catalog says --- */

/* Where the user put it, or wherever a rebuild brought it. */
static mrmr_err rig_node_of(
    struct rig *rig, const struct rig_file *file, struct meta_node *ret_node)
{
    struct pool *pool = rig->pool;
    const struct pool_drive *drive = rig_pool_drive(rig, file->drive);
    if (drive && !meta_lookup_path(pool->meta, drive->meta.root, file->path, ret_node))
        return MRMR_OK;
    for (size_t i = 0; i < pool->ndrives; i++)
        if (!meta_lookup_path(pool->meta, pool->drives[i]->meta.root, file->path, ret_node))
            return MRMR_OK;
    return MRMR_ABSENT;
}

struct meta_node rig_node(struct rig *rig, const char *path)
{
    struct meta_node node;
    const struct rig_file *file = rig_find(rig, path);
    assert_non_null(file);
    rig_ok(rig_node_of(rig, file, &node));
    return node;
}

const char *rig_states(struct rig *rig, const char *path)
{
    static char text[256];
    struct meta_node node = rig_node(rig, path);
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n, at = 0;
    rig_ok(meta_extents_of(rig->pool->meta, node.id, &extents, &n));
    for (size_t i = 0; i < n; i++)
        for (uint64_t j = 0; j < extents[i].leaves && at < sizeof text - 1; j++)
            text[at++] = "LMTGS"[extents[i].state];
    text[at] = '\0';
    return text;
}

struct meta_totals rig_totals(struct rig *rig)
{
    struct meta_totals totals;
    rig_ok(meta_totals(rig->pool->meta, 0, &totals));
    return totals;
}

/* --- With drives away --- */

static unsigned rig_index(struct rig *rig, int64_t drive_id)
{
    const struct pool_drive *drive = pool_drive_by_id(rig->pool, drive_id);
    for (unsigned i = 0; drive && i < rig->n; i++)
        if (strcmp(rig->drive[i].name, drive->meta.name) == 0)
            return i;
    return RIG_DRIVES_MAX; /* retired: nowhere */
}

static bool rig_gone(struct rig *rig, unsigned away, int64_t drive_id)
{
    unsigned i = rig_index(rig, drive_id);
    return i == RIG_DRIVES_MAX || away >> i & 1 || !rig_present(rig, i) ||
           !pool_drive_readable(pool_drive_by_id(rig->pool, drive_id));
}

static bool rig_extent_is_right(struct drv *raw, const char *path, const struct meta_extent *extent)
{
    static uint8_t buf[RIG_LEAF];
    struct drv_file *file = NULL;
    bool right = !drv_file_open(raw, path, DRV_OPEN_READ, 0, &file);
    for (uint64_t i = 0; right && i < extent->leaves; i++) {
        uint32_t n = pool_leaf_size(extent, i);
        right = !drv_file_read_exact(file, (extent->first + i) * RIG_LEAF, buf, n);
        struct mrmr_digest digest = mrmr_digest_of(buf, n);
        right = right && mrmr_digest_equal(&digest, &extent->digests[i]);
    }
    drv_file_close(file);
    return right;
}

/* Its file is as the catalog knows it. */
static bool rig_is_unchanged(struct rig *rig, const struct meta_extent *extent)
{
    struct meta_node node;
    struct drv_stat stat;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (meta_node_get(rig->pool->meta, extent->node, &node) ||
        meta_path(rig->pool->meta, node.id, &path))
        return false;
    unsigned i = rig_index(rig, node.drive);
    return i < RIG_DRIVES_MAX && !drv_stat(rig->drive[i].raw, path.data, &stat) &&
           stat.size == node.size && stat.mtime == node.mtime && stat.ino == node.ino &&
           (!rig->rotten || rig_extent_is_right(rig->drive[i].raw, path.data, extent));
}

/* As the catalog says, and no rot that nobody has found yet. */
static bool rig_row_is_right(
    struct rig *rig, const struct meta_stripe *image, const struct meta_row *row)
{
    static uint8_t buf[RIG_LEAF];
    struct pool_row_reader *reader = NULL;
    if (row->state != META_ROW_OK)
        return false;
    if (!rig->rotten)
        return true;
    mrmr_err err = pool_row_open(rig->drive[rig_index(rig, row->drive)].raw, &image->uuid,
        image->generation, row->index, image->length, &reader);
    for (uint64_t leaf = 0; !err && leaf * RIG_LEAF < image->length; leaf++) {
        size_t got;
        err = pool_row_read_leaves(reader, leaf, 1, buf, &got);
    }
    pool_row_close(reader);
    return !err;
}

static bool rig_block_lacks(
    struct rig *rig, unsigned away, const struct meta_stripe *image, const struct meta_block *block)
{
    if (rig_gone(rig, away, block->drive))
        return true;
    for (size_t i = 0; i < block->extents; i++) {
        const struct meta_extent *extent = &image->extent[block->first_extent + i];
        if ((extent->state != META_LIVE && extent->state != META_STALE) ||
            !rig_is_unchanged(rig, extent))
            return true;
    }
    return false;
}

/* The stripe's margin allows for these drives to be away. */
static bool rig_is_claimed(struct rig *rig, unsigned away, int64_t stripe)
{
    struct meta_stripe image = {0};
    rig_ok(meta_stripe_load(rig->pool->meta, stripe, &image));
    int margin = 0;
    for (size_t i = 0; i < image.rows; i++)
        margin += !rig_gone(rig, away, image.row[i].drive) &&
                  rig_row_is_right(rig, &image, &image.row[i]);
    for (size_t i = 0; i < image.blocks; i++)
        margin -= rig_block_lacks(rig, away, &image, &image.block[i]);
    meta_stripe_free(&image);
    return margin >= 0;
}

enum { CLAIMS = 256 };
struct claims {
    struct {
        int64_t stripe;
        bool claimed;
    } known[CLAIMS];
};

static bool claims_ask(struct claims *claims, struct rig *rig, unsigned away, int64_t stripe)
{
    size_t at = (uint64_t)stripe % CLAIMS;
    if (claims->known[at].stripe != stripe) {
        claims->known[at].claimed = rig_is_claimed(rig, away, stripe);
        claims->known[at].stripe = stripe;
    }
    return claims->known[at].claimed;
}

static void rig_verify_leaf(
    struct pool_file *f, const struct rig_file *file, uint64_t leaf, const char *how)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    char text[1024];
    uint64_t at = leaf * RIG_LEAF, n = file->size - at < RIG_LEAF ? file->size - at : RIG_LEAF;
    size_t size = 0;
    mrmr_err err = pool_file_read(f, at, got, n, &size);
    if (err)
        fail_msg("%s leaf %" PRIu64 " (%s): %s: %s", file->path, leaf, how, mrmr_err_name(err),
            mrmr_story_print(mrmr_story_get(), text, sizeof text));
    assert_int_equal(size, n);
    rig_expected(file, at, wanted, n);
    if (memcmp(got, wanted, n) != 0)
        fail_msg(
            "%s leaf %" PRIu64 " (%s): other bytes than its user wrote", file->path, leaf, how);
}

/* The version that the model knows is the one that the catalog knows. */
static bool rig_is_current(
    struct rig *rig, const struct rig_file *file, const struct meta_node *node)
{
    unsigned i = rig_index(rig, node->drive);
    struct drv_stat stat;
    if (node->size != file->size)
        return false;
    return i == RIG_DRIVES_MAX || drv_stat(rig->drive[i].raw, file->path, &stat) ||
           (stat.size == node->size && stat.mtime == node->mtime);
}

/* The leaves of one file that are claimed with `away` gone; the bytes compared. */
static uint64_t rig_verify_file(struct rig *rig, struct claims *claims, const struct rig_file *file,
    unsigned away, unsigned flags, bool all)
{
    struct meta_node node;
    char how[64];
    if (rig_node_of(rig, file, &node)) {
        if (all)
            fail_msg("%s of d%u is not in the catalog", file->path, file->drive);
        return 0;
    }
    if (!rig_gone(rig, away, node.drive) || !rig_is_current(rig, file, &node))
        return 0;
    snprintf(how, sizeof how, "without drives %#x, flags %u", away, flags);
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n, exposed;
    rig_ok(meta_extents_of(rig->pool->meta, node.id, &extents, &n));
    rig_ok(meta_exposed_of(rig->pool->meta, node.id, &ranges, &exposed));
    if (all && exposed)
        fail_msg("%s of d%u has exposed bytes", file->path, file->drive);
    struct pool_file *f = NULL;
    rig_ok(pool_file_open(rig->pool, file->path, flags, &f));
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (extents[i].state != META_LIVE && extents[i].state != META_MISSING)
            continue;
        if (!claims_ask(claims, rig, away, extents[i].stripe)) {
            if (all)
                fail_msg("%s: a stripe has not the margin for it (%s)", file->path, how);
            continue;
        }
        for (uint64_t j = 0; j < extents[i].leaves; j++)
            rig_verify_leaf(f, file, extents[i].first + j, how);
        bytes += extents[i].bytes;
    }
    for (uint64_t leaf = 0; all && leaf * RIG_LEAF < file->size && leaf < 64; leaf++)
        rig_verify_leaf(f, file, leaf, how); /* holes, too */
    pool_file_close(f);
    return bytes;
}

uint64_t rig_verify_without(struct rig *rig, unsigned away, bool all)
{
    struct claims claims = {0};
    uint64_t bytes = 0;
    unsigned taken = 0;
    for (unsigned i = 0; i < rig->n; i++)
        if (away >> i & 1 && rig_present(rig, i)) {
            rig_take_away(rig, i);
            taken |= 1U << i;
        }
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].there)
            bytes += rig_verify_file(rig, &claims, &rig->file[i], away, 0, all);
    for (unsigned i = 0; i < rig->n; i++)
        if (taken >> i & 1)
            rig_bring_back(rig, i);
    pool_views_forget(rig->pool, 0);
    return bytes;
}

uint64_t rig_verify(struct rig *rig, bool all)
{
    unsigned r = pool_redundancy(rig->pool);
    uint64_t bytes = 0;
    for (unsigned away = 0; away < 1U << rig->n; away++)
        if ((unsigned)__builtin_popcount(away) == r)
            bytes += rig_verify_without(rig, away, all);
    return bytes;
}

uint64_t rig_verify_decoded(struct rig *rig)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < rig->files; i++) {
        struct claims claims = {0};
        if (rig->file[i].there)
            bytes += rig_verify_file(
                rig, &claims, &rig->file[i], 1U << rig->file[i].drive, POOL_READ_DECODE, true);
    }
    return bytes;
}

static mrmr_err dump_brief(const struct meta_stripe_brief *brief, void *arg)
{
    (void)arg;
    printf("  stripe %lld g%llu length %llu:", (long long)brief->id,
        (unsigned long long)brief->generation, (unsigned long long)brief->length);
    for (uint32_t i = 0; i < brief->blocks; i++)
        printf(" block d%lld %llu%s", (long long)brief->block[i].drive - 1,
            (unsigned long long)brief->block[i].length, brief->block[i].dirty ? " dirty" : "");
    for (uint32_t i = 0; i < brief->rows; i++)
        printf(" row%u d%lld%s", brief->row[i].index, (long long)brief->row[i].drive - 1,
            brief->row[i].state ? " BAD" : "");
    printf(" wanted %u unwanted %u\n", brief->wanted, brief->unwanted);
    return MRMR_OK;
}

void rig_print_stripes(struct rig *rig)
{
    rig_ok(meta_stripes(rig->pool->meta, dump_brief, NULL));
}
