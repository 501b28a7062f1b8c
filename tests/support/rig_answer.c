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

static bool rig_gone(struct rig *rig, int64_t drive_id)
{
    unsigned i = rig_index(rig, drive_id);
    return i == RIG_DRIVES_MAX || !rig_present(rig, i) ||
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

/* Its bytes are in its file: because that is as the catalog knows it, or, whatever is known of it,
 * byte by byte. What is right will be read, for all that the catalog suspects it. */
static bool rig_extent_is_there(struct rig *rig, const struct meta_extent *extent)
{
    struct meta_node node;
    struct drv_stat stat;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (extent->state == META_GONE || meta_node_get(rig->pool->meta, extent->node, &node) ||
        meta_path(rig->pool->meta, node.id, &path))
        return false;
    unsigned i = rig_index(rig, node.drive);
    if (i == RIG_DRIVES_MAX || drv_stat(rig->drive[i].raw, path.data, &stat))
        return false;
    bool known = (extent->state == META_LIVE || extent->state == META_STALE) && !rig->rotten &&
                 stat.size == node.size && stat.mtime == node.mtime && stat.ino == node.ino;
    return known || rig_extent_is_right(rig->drive[i].raw, path.data, extent);
}

/* As the catalog says, and no rot that nobody has found yet; or damaged, it says, and every byte is
 * right. */
static bool rig_row_is_right(
    struct rig *rig, const struct meta_stripe *image, const struct meta_row *row)
{
    static uint8_t buf[RIG_LEAF];
    struct pool_row_reader *reader = NULL;
    if (row->state == META_ROW_OK && !rig->rotten)
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
    struct rig *rig, const struct meta_stripe *image, const struct meta_block *block)
{
    if (rig_gone(rig, block->drive))
        return true;
    for (size_t i = 0; i < block->extents; i++)
        if (!rig_extent_is_there(rig, &image->extent[block->first_extent + i]))
            return true;
    return false;
}

/* A stripe's members, as bits of the rig's drives: what is on a drive that is there and is right.
 * Two rows on one drive would be one bit: they fall together. */
struct claim {
    uint32_t rows, blocks;
    unsigned lacking; /* blocks that are erasures already */
};

/* Of all stripes, by their ids. */
struct claims {
    struct claim *at;
    size_t n;
};

static struct claim claim_of(struct rig *rig, int64_t stripe)
{
    struct meta_stripe image = {0};
    struct claim claim = {0};
    rig_ok(meta_stripe_load(rig->pool->meta, stripe, &image));
    for (size_t i = 0; i < image.rows; i++)
        if (!rig_gone(rig, image.row[i].drive) && rig_row_is_right(rig, &image, &image.row[i]))
            claim.rows |= UINT32_C(1) << rig_index(rig, image.row[i].drive);
    for (size_t i = 0; i < image.blocks; i++)
        if (rig_block_lacks(rig, &image, &image.block[i]))
            claim.lacking++;
        else
            claim.blocks |= UINT32_C(1) << rig_index(rig, image.block[i].drive);
    meta_stripe_free(&image);
    return claim;
}

static void claims_of(struct rig *rig, struct claims *claims)
{
    enum { BATCH = 64 };
    int64_t ids[BATCH], time = -1, last = 0;
    size_t n;
    *claims = (struct claims){0};
    for (;;) {
        rig_ok(meta_stripes_to_scrub(rig->pool->meta, time, last, INT64_MAX, ids, BATCH, &n));
        if (!n)
            return;
        for (size_t i = 0; i < n; i++) {
            if ((size_t)ids[i] >= claims->n) {
                size_t room = (size_t)ids[i] + BATCH;
                claims->at = realloc(claims->at, room * sizeof *claims->at);
                assert_non_null(claims->at);
                memset(claims->at + claims->n, 0, (room - claims->n) * sizeof *claims->at);
                claims->n = room;
            }
            claims->at[ids[i]] = claim_of(rig, ids[i]);
        }
        struct meta_stripe_brief *brief = malloc(sizeof *brief);
        assert_non_null(brief);
        rig_ok(meta_stripe_brief_get(rig->pool->meta, ids[n - 1], brief));
        time = brief->scrubbed;
        last = ids[n - 1];
        free(brief);
    }
}

static void claims_free(struct claims *claims)
{
    free(claims->at);
}

/* The stripe's margin allows for these drives to be away. */
static bool claims_allow(const struct claims *claims, int64_t stripe, unsigned away)
{
    const struct claim *claim = &claims->at[stripe];
    assert_true(stripe > 0 && (size_t)stripe < claims->n);
    return __builtin_popcount(claim->rows & ~away) >=
           (int)claim->lacking + __builtin_popcount(claim->blocks & away);
}

/* What the catalog has of one file. */
struct known {
    struct meta_node node;
    struct meta_extent *extent;
    size_t extents;
    struct meta_exposed *range;
    size_t ranges;
    bool current; /* it was not edited since: what is claimed must be what its user wrote */
    bool there;   /* the catalog has the file; else all else is nothing */
};

static void known_free(struct known *known)
{
    free(known->extent);
    free(known->range);
}

static bool known_is_exposed(const struct known *known, uint64_t leaf)
{
    for (size_t i = 0; i < known->ranges; i++)
        if (leaf >= known->range[i].first && leaf - known->range[i].first < known->range[i].leaves)
            return true;
    return false;
}

static uint32_t rig_leaf_size(const struct rig_file *file, uint64_t leaf)
{
    uint64_t rest = file->size - leaf * RIG_LEAF;
    return (uint32_t)(rest < RIG_LEAF ? rest : RIG_LEAF);
}

/* The extent holds the leaf as its user wrote it, whatever its state. */
static bool rig_extent_has(
    const struct rig_file *file, const struct meta_extent *extent, uint64_t leaf)
{
    static uint8_t buf[RIG_LEAF];
    uint32_t n = rig_leaf_size(file, leaf);
    if (pool_leaf_size(extent, leaf - extent->first) != n)
        return false;
    rig_expected(file, leaf * RIG_LEAF, buf, n);
    struct mrmr_digest digest = mrmr_digest_of(buf, n);
    return mrmr_digest_equal(&digest, &extent->digests[leaf - extent->first]);
}

/* The pool would give this leaf from this extent: it is wanted, or stands in for what is exposed,
 * or only waits to be compared. */
static bool known_gives(const struct known *known, const struct rig_file *file,
    const struct meta_extent *extent, uint64_t leaf)
{
    if (leaf < extent->first || leaf - extent->first >= extent->leaves ||
        leaf * RIG_LEAF >= file->size)
        return false;
    if (extent->state == META_LIVE || extent->state == META_MISSING)
        return known->current || rig_extent_has(file, extent, leaf);
    bool exposed = known_is_exposed(known, leaf);
    return (exposed ? extent->state == META_STALE
                    : extent->state == META_SUSPECT && known->node.recheck) &&
           rig_extent_has(file, extent, leaf);
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

/* False if the catalog does not have the file. */
static bool rig_known(struct rig *rig, const struct rig_file *file, struct known *ret_known)
{
    struct known known = {0};
    if (!file->there || rig_node_of(rig, file, &known.node))
        return false;
    known.there = true;
    known.current = rig_is_current(rig, file, &known.node);
    rig_ok(meta_extents_of(rig->pool->meta, known.node.id, &known.extent, &known.extents));
    rig_ok(meta_exposed_of(rig->pool->meta, known.node.id, &known.range, &known.ranges));
    *ret_known = known;
    return true;
}

/* Everything of it is claimed, with these drives away. */
static void rig_must_be_whole(const struct known *known, const struct rig_file *file,
    const struct claims *claims, unsigned away)
{
    if (known->ranges)
        fail_msg("%s of d%u has exposed bytes", file->path, file->drive);
    for (size_t i = 0; i < known->extents; i++)
        if ((known->extent[i].state == META_LIVE || known->extent[i].state == META_MISSING) &&
            !claims_allow(claims, known->extent[i].stripe, away))
            fail_msg(
                "%s: a stripe has not the margin for being without drives %#x", file->path, away);
}

/* Its original can be opened where the catalog has it. */
static bool rig_is_there(struct rig *rig, const struct meta_node *node, const char *path,
    unsigned away, struct drv_stat *ret_stat)
{
    unsigned drive = rig_index(rig, node->drive);
    return drive < RIG_DRIVES_MAX && !(away >> drive & 1) && !rig_gone(rig, node->drive) &&
           !drv_stat(rig->drive[drive].raw, path, ret_stat);
}

static bool rig_claims(const struct known *known, const struct rig_file *file,
    const struct claims *claims, uint64_t leaf, unsigned away)
{
    for (size_t i = 0; i < known->extents; i++)
        if (known_gives(known, file, &known->extent[i], leaf) &&
            claims_allow(claims, known->extent[i].stripe, away))
            return true;
    return false;
}

static void rig_must_be_known(const struct known *known, const struct rig_file *file)
{
    if (file->there && !known->there)
        fail_msg("%s of d%u is not in the catalog", file->path, file->drive);
}

/* The leaves of one file that are claimed with `away` gone, in bytes; with `read` they are read and
 * compared, and all: holes, too. */
static uint64_t rig_verify_file(struct rig *rig, const struct claims *claims,
    const struct known *known, const struct rig_file *file, unsigned away, unsigned flags, bool all,
    bool read)
{
    struct drv_stat stat;
    struct pool_file *f = NULL;
    uint64_t bytes = 0;
    char how[64];
    if (all)
        rig_must_be_known(known, file);
    if (!known->there || rig_is_there(rig, &known->node, file->path, away, &stat))
        return 0;
    snprintf(how, sizeof how, "without drives %#x, flags %u", away, flags);
    if (all)
        rig_must_be_whole(known, file, claims, away);
    if (read)
        rig_ok(pool_file_open(rig->pool, file->path, flags, &f));
    for (uint64_t leaf = 0; leaf * RIG_LEAF < file->size; leaf++) {
        bool claimed = rig_claims(known, file, claims, leaf, away);
        if (claimed)
            bytes += rig_leaf_size(file, leaf);
        if (read && (claimed || (all && leaf < 64)))
            rig_verify_leaf(f, file, leaf, how);
    }
    pool_file_close(f);
    return bytes;
}

static uint64_t rig_verify_claims(struct rig *rig, const struct claims *claims,
    const struct known known[], unsigned away, bool all, bool read)
{
    uint64_t bytes = 0;
    unsigned taken = 0;
    for (unsigned i = 0; i < rig->n; i++)
        if (read && away >> i & 1 && rig_present(rig, i)) {
            rig_take_away(rig, i);
            taken |= 1U << i;
        }
    for (size_t i = 0; i < rig->files; i++)
        bytes += rig_verify_file(rig, claims, &known[i], &rig->file[i], away, 0, all, read);
    for (unsigned i = 0; i < rig->n; i++)
        if (taken >> i & 1)
            rig_bring_back(rig, i);
    if (read)
        pool_views_forget(rig->pool, 0);
    return bytes;
}

/* What the catalog has of each file. */
static struct known *rig_know_all(struct rig *rig)
{
    struct known *known = calloc(rig->files + 1, sizeof *known);
    assert_non_null(known);
    for (size_t i = 0; i < rig->files; i++)
        rig_known(rig, &rig->file[i], &known[i]);
    return known;
}

static void rig_forget_all(struct rig *rig, struct known *known)
{
    for (size_t i = 0; i < rig->files; i++)
        known_free(&known[i]);
    free(known);
}

uint64_t rig_verify_without(struct rig *rig, unsigned away, bool all)
{
    struct claims claims;
    claims_of(rig, &claims);
    struct known *known = rig_know_all(rig);
    uint64_t bytes = rig_verify_claims(rig, &claims, known, away, all, true);
    rig_forget_all(rig, known);
    claims_free(&claims);
    return bytes;
}

uint64_t rig_verify(struct rig *rig, bool all)
{
    static unsigned turn; /* another third each time */
    const bool each = rig_all();
    unsigned r = pool_redundancy(rig->pool), choice = turn++;
    uint64_t bytes = 0;
    struct claims claims;
    claims_of(rig, &claims);
    struct known *known = rig_know_all(rig);
    for (unsigned away = 0; away < 1U << rig->n; away++) {
        unsigned losses = (unsigned)__builtin_popcount(away);
        if (losses == r || (!all && losses < r)) {
            bool read = each || choice++ % 3 == 0;
            bytes += rig_verify_claims(rig, &claims, known, away, all, read);
        }
    }
    rig_forget_all(rig, known);
    claims_free(&claims);
    return bytes;
}

uint64_t rig_verify_decoded(struct rig *rig)
{
    uint64_t bytes = 0;
    struct claims claims;
    claims_of(rig, &claims);
    struct known *known = rig_know_all(rig);
    for (size_t i = 0; i < rig->files; i++)
        bytes += rig_verify_file(rig, &claims, &known[i], &rig->file[i], 1U << rig->file[i].drive,
            POOL_READ_DECODE, true, true);
    rig_forget_all(rig, known);
    claims_free(&claims);
    return bytes;
}

/* --- Promises --- */

/* The leaf can be read with these drives away, by what the catalog has. */
static bool rig_leaf_stands(const struct known *known, const struct rig_file *file,
    const struct claims *claims, uint64_t leaf, bool in_place, unsigned drive, unsigned away)
{
    if (in_place && !(away >> drive & 1))
        return true;
    for (size_t i = 0; i < known->extents; i++)
        if (known_gives(known, file, &known->extent[i], leaf) &&
            claims_allow(claims, known->extent[i].stripe, away))
            return true;
    return false;
}

/* How many drives of those that are there may be lost, whichever they are, up to `most`; -1 if the
 * leaf cannot even be read as things are. */
static int rig_leaf_survives(struct rig *rig, const struct known *known,
    const struct rig_file *file, const struct claims *claims, uint64_t leaf, bool in_place,
    unsigned most)
{
    unsigned drive = rig_index(rig, known->node.drive), there = 0;
    int survives = (int)most;
    for (unsigned i = 0; i < rig->n; i++)
        there |= rig_present(rig, i) && rig_pool_drive(rig, i) ? 1U << i : 0;
    for (unsigned away = 0; away < 1U << rig->n; away++) {
        int losses = __builtin_popcount(away);
        if (!(away & ~there) && losses <= survives &&
            !rig_leaf_stands(known, file, claims, leaf, in_place, drive, away))
            survives = losses - 1;
    }
    return survives;
}

/* For each leaf of a file; free(). NULL if it is not known as it is. */
static int8_t *rig_file_survives(struct rig *rig, const struct rig_file *file,
    const struct claims *claims, unsigned most, size_t *ret_leaves)
{
    struct known known;
    struct drv_stat stat;
    if (!rig_known(rig, file, &known))
        return NULL;
    *ret_leaves = (file->size + RIG_LEAF - 1) / RIG_LEAF;
    int8_t *survives = known.current ? calloc(*ret_leaves + 1, 1) : NULL;
    bool in_place = rig_is_there(rig, &known.node, file->path, 0, &stat) &&
                    stat.size == known.node.size && stat.mtime == known.node.mtime;
    if (in_place && rig->rotten)
        in_place = rig_original_is_right(rig, rig_index(rig, known.node.drive), file);
    for (size_t leaf = 0; survives && leaf < *ret_leaves; leaf++)
        survives[leaf] = (int8_t)rig_leaf_survives(rig, &known, file, claims, leaf, in_place, most);
    known_free(&known);
    return survives;
}

void rig_promise(struct rig *rig)
{
    struct claims claims;
    rig_promise_free(rig);
    claims_of(rig, &claims);
    rig->promise = calloc(rig->files + 1, sizeof *rig->promise);
    assert_non_null(rig->promise);
    rig->promises = rig->files;
    for (size_t i = 0; i < rig->files; i++)
        rig->promise[i].survives = rig_file_survives(
            rig, &rig->file[i], &claims, pool_redundancy(rig->pool), &rig->promise[i].leaves);
    claims_free(&claims);
}

void rig_promise_free(struct rig *rig)
{
    for (size_t i = 0; i < rig->promises; i++)
        free(rig->promise[i].survives);
    free(rig->promise);
    rig->promise = NULL;
    rig->promises = 0;
}

uint64_t rig_promise_check(struct rig *rig, unsigned spent)
{
    struct claims claims;
    unsigned most = pool_redundancy(rig->pool);
    uint64_t leaves = 0;
    claims_of(rig, &claims);
    for (size_t i = 0; i < rig->promises; i++) {
        const struct rig_promise *promise = &rig->promise[i];
        size_t n = 0;
        if (!promise->survives || !rig->file[i].there)
            continue; /* nothing, or the user took it */
        int8_t *now = rig_file_survives(rig, &rig->file[i], &claims, most, &n);
        for (size_t leaf = 0; leaf < promise->leaves; leaf++) {
            int was = promise->survives[leaf] - (int)spent;
            was = was < (int)most ? was : (int)most;
            int is = now && leaf < n ? now[leaf] : -1;
            if (is < was) {
                rig_print_stripes(rig);
                fail_msg("%s leaf %zu must survive the loss of %d drives; now it is %d",
                    rig->file[i].path, leaf, was, is);
            }
            leaves += was > 0;
        }
        free(now);
    }
    claims_free(&claims);
    return leaves;
}

/* --- To look at --- */

struct meta_stripe rig_stripe_of(struct rig *rig, const char *path, uint64_t leaf)
{
    struct meta_stripe image = {0};
    mrmr_autofree struct meta_extent *extent = NULL;
    rig_ok(meta_extent_at(rig->pool->meta, rig_node(rig, path).id, leaf, &extent));
    rig_ok(meta_stripe_load(rig->pool->meta, extent->stripe, &image));
    return image;
}

unsigned rig_row_drive(const struct meta_stripe *image, unsigned index)
{
    return (unsigned)image->row[index].drive - 1;
}

bool rig_holds(struct rig *rig, unsigned drive, const char *path)
{
    struct drv_stat stat;
    return !drv_stat(rig->drive[drive].raw, path, &stat);
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
