/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parity_fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "pool/stripe/gzip.h"
#include "pool/stripe/manifest.h"

/* --- A drive of one file in memory --- */

struct fuzz_file {
    struct drv_file base;
    struct drv drv;
    const uint8_t *data;
    size_t size;
};

static mrmr_err fuzz_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    const struct fuzz_file *f = (const struct fuzz_file *)file;
    *ret_stat = (struct drv_stat){.type = DRV_REG, .size = f->size};
    return MRMR_OK;
}

static mrmr_err fuzz_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    const struct fuzz_file *f = (const struct fuzz_file *)file;
    size_t got = offset >= f->size ? 0 : f->size - (size_t)offset;
    if (got > size)
        got = size;
    if (got)
        memcpy(buf, f->data + offset, got);
    *ret_got = got;
    return MRMR_OK;
}

static const struct drv_ops fuzz_ops = {
    .scheme = "fuzz", .file_stat = fuzz_stat, .file_read = fuzz_read};

/* --- What must hold of all that is accepted --- */

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check_path(const struct pool_manifest *m, const struct pool_manifest_file *file)
{
    const char *path = pool_manifest_path(m, file);
    if (!path)
        return;
    must(*path && drv_path_check(path) == MRMR_OK);
    must(strcmp(path, ".mrmr") != 0 && strncmp(path, ".mrmr/", 6) != 0);
}

static void check_block(const struct pool_manifest *m, size_t i, size_t *digests)
{
    const struct pool_manifest_block *block = &m->block[i];
    uint64_t end = 0;
    must(block->length <= m->length && block->length > 0);
    must(i == 0 || block[-1].slot < block->slot);
    for (size_t j = block->first_extent; j < block->first_extent + block->extents; j++) {
        const struct pool_manifest_extent *extent = &m->extent[j];
        must(extent->block == i && extent->file < m->files && extent->bytes > 0);
        must(extent->place >= end && extent->place + extent->bytes <= block->length);
        must(extent->leaves == (extent->bytes + META_LEAF - 1) / META_LEAF);
        must(extent->digest == *digests && *digests + extent->leaves <= m->digests);
        *digests += extent->leaves;
        end = extent->place + extent->bytes;
    }
}

static void check(const struct pool_manifest *m)
{
    must(m->generation > 0 && m->row < META_ROWS_MAX && m->rows > 0 && m->rows <= META_ROWS_MAX);
    must(m->length > 0 && m->leaves == (m->length + META_LEAF - 1) / META_LEAF);
    size_t digests = 0, extents = 0;
    for (size_t i = 0; i < m->blocks; i++) {
        must(m->block[i].first_extent == extents);
        extents += m->block[i].extents;
        check_block(m, i, &digests);
    }
    must(digests == m->digests && extents == m->extents);
    for (size_t i = 0; i < m->files; i++)
        check_path(m, &m->file[i]);
}

/* --- The entries --- */

static mrmr_err accepted(mrmr_err err, struct pool_manifest *m)
{
    if (!err)
        check(m);
    else
        must(!m && (mrmr_class_of(err) == MRMR_CLASS_CORRUPT || err == MRMR_NEWER));
    pool_manifest_free(m);
    return err;
}

mrmr_err parity_fuzz_text(const uint8_t *data, size_t size)
{
    struct pool_manifest *m = NULL;
    mrmr_err err = pool_manifest_parse((const char *)data, size, &m);
    return accepted(err, m);
}

static mrmr_err fuzz_feed(const char *text, size_t size, bool *ret_enough, void *arg)
{
    return pool_manifest_parser_feed(arg, text, size, ret_enough);
}

/* In pieces, whose size depends on the input, so that every border between pieces comes up. */
mrmr_err parity_fuzz_gzip(const uint8_t *data, size_t size)
{
    struct pool_manifest *m = NULL;
    struct pool_manifest_parser *parser = NULL;
    struct pool_gunzip *gunzip = NULL;
    must(pool_manifest_parser_create(POOL_MANIFEST_WHOLE, &parser) == MRMR_OK);
    must(pool_gunzip_create(1 << 20, fuzz_feed, parser, &gunzip) == MRMR_OK);
    mrmr_err err = MRMR_OK;
    size_t piece = 1 + size % 61;
    for (size_t at = 0; !err && at < size; at += piece)
        err = pool_gunzip_feed(gunzip, data + at, size - at < piece ? size - at : piece);
    if (!err)
        err = pool_gunzip_finish(gunzip);
    if (!err)
        err = pool_manifest_parser_finish(parser, &m);
    pool_gunzip_destroy(gunzip);
    pool_manifest_parser_destroy(parser);
    return accepted(err, m);
}

mrmr_err parity_fuzz_file(const uint8_t *data, size_t size)
{
    struct fuzz_file file = {.drv.ops = &fuzz_ops, .data = data, .size = size};
    file.base.drv = &file.drv;
    struct pool_footer footer;
    struct pool_manifest *head = NULL, *m = NULL;
    mrmr_err err = pool_manifest_of_file(&file.base, POOL_MANIFEST_HEAD, &footer, &head);
    must(err || (footer.payload_length + footer.manifest_length + POOL_FOOTER_SIZE == size &&
                    head->length == footer.payload_length && head->extents == 0));
    accepted(err, head);
    mrmr_err whole = pool_manifest_of_file(&file.base, POOL_MANIFEST_WHOLE, &footer, &m);
    must(!err || whole); /* who reads more accepts no more */
    return accepted(whole, m);
}

mrmr_err parity_fuzz_fixed(const uint8_t *data, size_t size)
{
    if (size < POOL_FOOTER_SIZE + 16)
        return parity_fuzz_file(data, size);
    uint8_t *copy = malloc(size);
    must(copy != NULL);
    memcpy(copy, data, size);
    uint64_t payload = 0;
    for (unsigned i = 0; i < 3; i++)
        payload |= (uint64_t)copy[size - POOL_FOOTER_SIZE + i] << (8 * i);
    payload = 1 + (payload - 1) % (size - POOL_FOOTER_SIZE - 1);
    struct pool_footer footer = {
        .payload_length = payload, .manifest_length = size - POOL_FOOTER_SIZE - payload};
    struct mrmr_digest leaf[64];
    size_t n = 0;
    for (uint64_t at = 0; at < footer.manifest_length && n < 64; at += META_LEAF, n++) {
        uint64_t rest = footer.manifest_length - at;
        leaf[n] =
            mrmr_digest_of(copy + payload + at, (size_t)(rest < META_LEAF ? rest : META_LEAF));
    }
    footer.manifest = mrmr_digest_tree(n, leaf, footer.manifest_length);
    memcpy(&footer.payload, copy + size - POOL_FOOTER_SIZE + 16, sizeof footer.payload);
    pool_footer_print(&footer, copy + size - POOL_FOOTER_SIZE);
    mrmr_err err = parity_fuzz_file(copy, size);
    free(copy);
    return err;
}
