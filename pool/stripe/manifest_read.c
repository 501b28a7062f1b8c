/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Footer, then manifest: first all of it against its digest, so that rot is called rot, then its
 * text, so that what is well digested but makes no sense is called that. Read in leaves: memory
 * does not grow with what the file claims.
 */
#include "pool/stripe/manifest.h"

#include <string.h>

#include "pool/stripe/gzip.h"

MRMR_DEFINE_AUTO(struct pool_gunzip, pool_gunzip_destroy);
MRMR_DEFINE_AUTO(struct pool_manifest_parser, pool_manifest_parser_destroy);
MRMR_DEFINE_AUTO(struct pool_manifest, pool_manifest_free);
MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

static mrmr_err read_footer(struct drv_file *file, struct pool_footer *ret_footer)
{
    struct drv_stat stat;
    uint8_t tail[POOL_FOOTER_SIZE_MAX];
    MRMR_TRY(drv_file_stat(file, &stat));
    size_t size = stat.size < sizeof tail ? (size_t)stat.size : sizeof tail;
    if (size)
        MRMR_TRY(drv_file_read_exact(file, stat.size - size, tail, size));
    return pool_footer_parse(tail, size, stat.size, ret_footer);
}

/* The manifest's bytes, a leaf at a time; the last one read stays in buf. */
struct source {
    struct drv_file *file;
    const struct pool_footer *footer;
    char *buf;
    size_t size;    /* of what is in it */
    uint64_t index; /* which leaf that is; UINT64_MAX: none */
};

static mrmr_err source_leaf(struct source *source, uint64_t index)
{
    if (source->index == index)
        return MRMR_OK;
    uint64_t at = index * META_LEAF, rest = source->footer->manifest_length - at;
    size_t size = (size_t)(rest < META_LEAF ? rest : META_LEAF);
    source->index = UINT64_MAX;
    MRMR_TRY(
        drv_file_read_exact(source->file, source->footer->payload_length + at, source->buf, size));
    source->size = size;
    source->index = index;
    return MRMR_OK;
}

static uint64_t source_leaves(const struct source *source)
{
    return (source->footer->manifest_length + META_LEAF - 1) / META_LEAF;
}

static mrmr_err source_verify(struct source *source)
{
    struct mrmr_digest leaf[POOL_MANIFEST_MAX / META_LEAF];
    uint64_t leaves = source_leaves(source);
    for (uint64_t i = 0; i < leaves; i++) {
        MRMR_TRY(source_leaf(source, i));
        leaf[i] = mrmr_digest_of(source->buf, source->size);
    }
    struct mrmr_digest digest =
        mrmr_digest_tree((size_t)leaves, leaf, source->footer->manifest_length);
    if (!mrmr_digest_equal(&digest, &source->footer->manifest))
        return mrmr_fail(MRMR_DIGEST, "its manifest does not match its digest");
    return MRMR_OK;
}

static mrmr_err read_text(const char *text, size_t size, bool *ret_enough, void *arg)
{
    return pool_manifest_parser_feed(arg, text, size, ret_enough);
}

static mrmr_err source_parse(
    struct source *source, enum pool_manifest_part part, struct pool_manifest **ret_manifest)
{
    MRMR_AUTO(pool_manifest_parser_destroy) struct pool_manifest_parser *parser = NULL;
    MRMR_AUTO(pool_gunzip_destroy) struct pool_gunzip *gunzip = NULL;
    MRMR_TRY(pool_manifest_parser_create(part, &parser));
    MRMR_TRY(pool_gunzip_create(POOL_MANIFEST_TEXT_MAX, read_text, parser, &gunzip));
    for (uint64_t i = 0; i < source_leaves(source) && !pool_gunzip_enough(gunzip); i++) {
        MRMR_TRY(source_leaf(source, i));
        MRMR_TRY(pool_gunzip_feed(gunzip, source->buf, source->size));
    }
    MRMR_TRY(pool_gunzip_finish(gunzip));
    return pool_manifest_parser_finish(parser, ret_manifest);
}

static mrmr_err read_agree(const struct pool_footer *footer, const struct pool_manifest *manifest)
{
    if (manifest->length != footer->payload_length)
        return mrmr_fail(MRMR_FORMAT, "footer and manifest disagree on the payload's length");
    struct mrmr_digest digest =
        mrmr_digest_tree(manifest->leaves, manifest->payload, manifest->length);
    if (!mrmr_digest_equal(&digest, &footer->payload))
        return mrmr_fail(MRMR_FORMAT, "footer and manifest disagree on the payload's digests");
    return MRMR_OK;
}

mrmr_err pool_manifest_of_file(struct drv_file *file, enum pool_manifest_part part,
    struct pool_footer *ret_footer, struct pool_manifest **ret_manifest)
{
    struct pool_footer footer;
    MRMR_TRY(read_footer(file, &footer));
    mrmr_autofree char *buf =
        malloc((size_t)(footer.manifest_length < META_LEAF ? footer.manifest_length : META_LEAF));
    if (!buf)
        return mrmr_nomem();
    struct source source = {.file = file, .footer = &footer, .buf = buf, .index = UINT64_MAX};
    MRMR_AUTO(pool_manifest_free) struct pool_manifest *manifest = NULL;
    MRMR_TRY(source_verify(&source));
    MRMR_TRY(source_parse(&source, part, &manifest));
    MRMR_TRY(read_agree(&footer, manifest));
    *ret_footer = footer;
    *ret_manifest = mrmr_steal(manifest);
    return MRMR_OK;
}

mrmr_err pool_manifest_read(struct drv *drv, const char *path, struct pool_manifest **ret_manifest)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct pool_footer footer;
    mrmr_err err = drv_file_open(drv, path, DRV_OPEN_READ, 0, &file);
    if (!err)
        err = pool_manifest_of_file(file, POOL_MANIFEST_WHOLE, &footer, ret_manifest);
    return err ? mrmr_err_op(mrmr_err_path(err, path), "read a manifest") : MRMR_OK;
}
