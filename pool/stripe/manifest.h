/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The manifest of a parity file: all that is known about its stripe, as text (docs/FORMAT.md), and
 * the reading of it. The writing is pool_manifest_build (engine.h).
 *
 * Guarantees. What parses is within bounds and consistent: blocks sorted by slot on distinct
 * drives; extents of a block in order, without overlap, inside their block, which is inside the
 * stripe; as many digests as leaves; paths relative, without "", ".", ".." components and not below
 * ".mrmr". Memory is bounded by a small multiple of the text, and nothing is allocated by a number
 * that the text claims. Non-guarantees. Paths, times, owners and names are hints (I8): they tell
 * what was true when the generation was made.
 *
 * Ownership: the manifest owns all it points to. Threads: pure; a parser belongs to one thread, a
 * manifest may be shared. Errors: MRMR_FORMAT with the line and the reason, MRMR_TRUNCATED,
 * MRMR_NEWER, MRMR_NOMEM.
 */
#ifndef MRMR_POOL_MANIFEST_H
#define MRMR_POOL_MANIFEST_H

#include "pool/engine.h"
#include "pool/stripe/footer.h"

struct pool_manifest_block {
    uint8_t slot;
    struct mrmr_uuid drive;
    char name[64]; /* of the drive, when it was written */
    uint64_t length;
    size_t first_extent, extents; /* in manifest->extent */
};

/* A file as it was known when the generation was made; one file may come several times. */
struct pool_manifest_file {
    uint64_t id;       /* the catalog's: never reused; 0 = the file was gone already */
    uint64_t version;  /* of its content */
    uint64_t sequence; /* the catalog's order of changes */
    uint64_t size;
    int64_t mtime; /* ns */
    uint32_t mode, uid, gid;
    size_t path; /* offset + 1 in manifest->text; 0 = none */
};

struct pool_manifest_extent {
    uint32_t block, file;          /* indexes */
    uint64_t place;                /* in the block */
    uint64_t first, leaves, bytes; /* of the file */
    uint64_t version;              /* of the file, when this was coded */
    size_t digest;                 /* its leaves' digests start there in manifest->digest */
    enum meta_extent_state state;
};

struct pool_manifest {
    /* The head: this row. */
    struct mrmr_uuid stripe;
    uint64_t generation, length;
    unsigned row, rows; /* rows: how many there were when it was written */
    size_t leaves;      /* of the payload */
    struct mrmr_digest *payload;

    /* The rest: the same in every row of the generation. Empty if only the head was read. */
    struct mrmr_uuid pool;
    struct pool_superseded *supersedes;
    struct pool_manifest_block *block;
    struct pool_manifest_file *file;
    struct pool_manifest_extent *extent;
    struct mrmr_digest *digest;
    size_t superseded, blocks, files, extents, digests;
    struct mrmr_bytes text; /* the paths */
};

void pool_manifest_free(struct pool_manifest *manifest); /* NULL-safe */

/* NULL: none is known. */
static inline const char *pool_manifest_path(
    const struct pool_manifest *manifest, const struct pool_manifest_file *file)
{
    return file->path ? manifest->text.data + file->path - 1 : NULL;
}

/* Text in pieces of any size. HEAD: only the head is kept, and *ret_enough is set when it is
 * complete. */
enum pool_manifest_part { POOL_MANIFEST_HEAD, POOL_MANIFEST_WHOLE };
struct pool_manifest_parser;
mrmr_err pool_manifest_parser_create(
    enum pool_manifest_part part, struct pool_manifest_parser **ret_parser);
mrmr_err pool_manifest_parser_feed(
    struct pool_manifest_parser *parser, const char *text, size_t size, bool *ret_enough);
mrmr_err pool_manifest_parser_finish(
    struct pool_manifest_parser *parser, struct pool_manifest **ret_manifest);
void pool_manifest_parser_destroy(struct pool_manifest_parser *parser); /* NULL-safe */

/* All of it at once. */
mrmr_err pool_manifest_parse(const char *text, size_t size, struct pool_manifest **ret_manifest);

/* The head of a row's manifest as text, appended. */
mrmr_err pool_manifest_head(const struct pool_manifest *head, struct mrmr_bytes *text);
/* A record of one digest, appended; word with the space behind it. */
mrmr_err pool_manifest_digest(
    struct mrmr_bytes *text, const char *word, const struct mrmr_digest *value);

/* --- manifest_read.c: out of a parity file. Bounded memory; errors as row.c's --- */

/* Footer and manifest of an open parity file, checked against their digests and each other; the
 * payload is not read. */
mrmr_err pool_manifest_of_file(struct drv_file *file, enum pool_manifest_part part,
    struct pool_footer *ret_footer, struct pool_manifest **ret_manifest);
/* The same by path, whatever stripe it is of: for recover, and for files that nobody knows. */
mrmr_err pool_manifest_read(struct drv *drv, const char *path, struct pool_manifest **ret_manifest);

#endif
