/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The writing of manifests. Paths and attributes are looked up once for a generation, not for each
 * row, and the text is packed once: rows differ in their heads only.
 */
#include "pool/stripe/manifest.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "pool/stripe/gzip.h"

/* What a head may take at most, packed or not: its digests do not shrink below 32 bytes each, and
 * it has 4,096 at most. */
#define HEAD_MAX (UINT64_C(1) << 20)

struct builder {
    struct pool *pool;
    const struct meta_stripe *stripe;
    struct mrmr_bytes text;
    struct pool_paths paths;
};

static mrmr_err build_start(
    struct builder *b, const struct pool_superseded supersedes[], size_t nsupersedes)
{
    char uuid[MRMR_UUID_TEXT];
    MRMR_TRY(mrmr_bytes_fmt(&b->text, "shared %s %" PRIu64 " %" PRIu64 "\n",
        mrmr_uuid_print(&b->stripe->uuid, uuid), b->stripe->generation, b->stripe->length));
    MRMR_TRY(mrmr_bytes_fmt(&b->text, "pool %s\n", mrmr_uuid_print(&b->pool->uuid, uuid)));
    for (size_t i = 0; i < nsupersedes; i++)
        MRMR_TRY(mrmr_bytes_fmt(&b->text, "supersedes %s %" PRIu64 "\n",
            mrmr_uuid_print(&supersedes[i].stripe, uuid), supersedes[i].generation));
    return MRMR_OK;
}

static mrmr_err build_block(struct builder *b, const struct meta_block *block)
{
    const struct pool_drive *drive = pool_drive_by_id(b->pool, block->drive);
    if (!drive)
        return mrmr_fail(MRMR_INTERNAL,
            "a block on drive %" PRId64 ", which the pool does not have", block->drive);
    char uuid[MRMR_UUID_TEXT];
    MRMR_TRY(mrmr_bytes_fmt(&b->text, "block %u %s %" PRIu64 " ", block->slot,
        mrmr_uuid_print(&drive->meta.uuid, uuid), block->length));
    MRMR_TRY(mrmr_text_encode(&b->text, drive->meta.name, strlen(drive->meta.name)));
    return mrmr_bytes_str(&b->text, "\n");
}

/* "?" stands for no path; a file of that name is written as %3F. */
static mrmr_err build_path(struct builder *b, int64_t node)
{
    const char *path = NULL;
    mrmr_err err = pool_paths_get(b->pool, &b->paths, node, &path);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    if (err || !*path || strlen(path) > POOL_MANIFEST_PATH_MAX)
        return mrmr_bytes_str(&b->text, "?\n");
    if (strcmp(path, "?") == 0)
        return mrmr_bytes_str(&b->text, "%3F\n");
    MRMR_TRY(mrmr_text_encode(&b->text, path, strlen(path)));
    return mrmr_bytes_str(&b->text, "\n");
}

static mrmr_err build_file(struct builder *b, int64_t id)
{
    struct meta_node node;
    mrmr_err err = id ? meta_node_get(b->pool->meta, id, &node) : MRMR_ABSENT;
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return mrmr_bytes_str(&b->text, "file 0 0 0 0 0 0000 0 0 ?\n");
    if (err)
        return err;
    MRMR_TRY(mrmr_bytes_fmt(&b->text,
        "file %" PRId64 " %" PRIu64 " %" PRId64 " %" PRIu64 " %" PRId64 " %04o %u %u ", node.id,
        node.version, node.sequence, node.size, node.mtime, node.mode & 07777, node.uid, node.gid));
    return build_path(b, id);
}

static const char *build_state(enum meta_extent_state state)
{
    switch (state) {
    case META_LIVE:
        return "live";
    case META_MISSING:
        return "missing";
    case META_STALE:
        return "stale";
    case META_GONE:
        return "gone";
    case META_SUSPECT:
        return "suspect";
    }
    return "gone";
}

static mrmr_err build_extent(struct builder *b, const struct meta_extent *extent)
{
    MRMR_TRY(mrmr_bytes_fmt(&b->text, "extent %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n",
        extent->place, extent->first, extent->bytes, extent->version, build_state(extent->state)));
    for (uint64_t i = 0; i < extent->leaves; i++)
        MRMR_TRY(pool_manifest_digest(&b->text, "leaf ", &extent->digests[i]));
    return MRMR_OK;
}

static mrmr_err build_extents(struct builder *b, const struct meta_block *block)
{
    for (size_t i = 0; i < block->extents; i++) {
        const struct meta_extent *extent = &b->stripe->extent[block->first_extent + i];
        if (i == 0 || extent->node != extent[-1].node)
            MRMR_TRY(build_file(b, extent->node));
        MRMR_TRY(build_extent(b, extent));
        if (b->text.size > POOL_MANIFEST_TEXT_MAX - HEAD_MAX)
            return mrmr_fail(MRMR_SPACE,
                "a stripe of %zu extents needs a manifest of more than %" PRIu64 " bytes",
                b->stripe->extents, POOL_MANIFEST_TEXT_MAX);
    }
    return MRMR_OK;
}

static mrmr_err build_text(
    struct builder *b, const struct pool_superseded supersedes[], size_t nsupersedes)
{
    MRMR_TRY(build_start(b, supersedes, nsupersedes));
    for (size_t i = 0; i < b->stripe->blocks; i++) {
        MRMR_TRY(build_block(b, &b->stripe->block[i]));
        MRMR_TRY(build_extents(b, &b->stripe->block[i]));
    }
    return mrmr_bytes_str(&b->text, "end\n");
}

static mrmr_err build_check(const struct meta_stripe *stripe, size_t nsupersedes)
{
    if (stripe->length == 0 || stripe->length > POOL_PARITY_LENGTH_MAX || stripe->blocks == 0)
        return mrmr_fail(MRMR_INTERNAL,
            "no parity file can be of a stripe of %zu blocks and %" PRIu64 " bytes", stripe->blocks,
            stripe->length);
    if (stripe->extents > POOL_STRIPE_EXTENTS_MAX || nsupersedes > POOL_MANIFEST_SUPERSEDES_MAX)
        return mrmr_fail(MRMR_SPACE,
            "a stripe has %d extents and supersedes %d generations at most, not %zu and %zu",
            POOL_STRIPE_EXTENTS_MAX, POOL_MANIFEST_SUPERSEDES_MAX, stripe->extents, nsupersedes);
    return MRMR_OK;
}

mrmr_err pool_manifest_build(struct pool *pool, const struct meta_stripe *stripe,
    const struct pool_superseded supersedes[], size_t nsupersedes, struct mrmr_bytes *ret_body)
{
    MRMR_TRY(build_check(stripe, nsupersedes));
    struct builder b = {.pool = pool, .stripe = stripe};
    mrmr_autobytes struct mrmr_bytes body = MRMR_BYTES_INIT;
    mrmr_err err = build_text(&b, supersedes, nsupersedes);
    if (!err)
        err = pool_gzip_add(&body, b.text.data, b.text.size);
    if (!err && body.size > pool_manifest_limit(stripe->length) - HEAD_MAX)
        err = mrmr_fail(MRMR_SPACE,
            "the manifest of %zu extents takes %zu bytes, too many for a stripe of %" PRIu64,
            stripe->extents, body.size, stripe->length);
    mrmr_bytes_free(&b.text);
    pool_paths_free(&b.paths);
    if (err)
        return err;
    mrmr_bytes_free(ret_body);
    *ret_body = body;
    body = (struct mrmr_bytes)MRMR_BYTES_INIT;
    return MRMR_OK;
}
