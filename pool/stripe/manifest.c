/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parser is a machine over lines: each record is a word and a fixed number of fields, allowed
 * at certain stages only.
 */
#include "pool/stripe/manifest.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

enum stage {
    AT_START = 1 << 0,
    AT_STRIPE = 1 << 1,
    AT_GENERATION = 1 << 2,
    AT_ROW = 1 << 3,
    AT_ROWS = 1 << 4,
    AT_LENGTH = 1 << 5,
    AT_PAYLOAD = 1 << 6,
    AT_SHARED = 1 << 7,
    AT_POOL = 1 << 8,
    AT_SUPERSEDES = 1 << 9, /* or a block */
    AT_BLOCK = 1 << 10,     /* inside one: a file, an extent, another block, the end */
    AT_LEAF = 1 << 11,
    AT_END = 1 << 12,
};

#define FIELDS_MAX 9

struct pool_manifest_parser {
    enum pool_manifest_part part;
    enum stage stage;
    struct pool_manifest *m;
    struct mrmr_bytes line;
    uint64_t line_number;
    size_t due;         /* leaf digests still to come */
    bool file_here;     /* a file was named in this block */
    uint64_t block_end; /* of the last extent in this block */
    size_t supersedes_room, block_room, file_room, extent_room, digest_room;
};

void pool_manifest_free(struct pool_manifest *manifest)
{
    if (!manifest)
        return;
    free(manifest->payload);
    free(manifest->supersedes);
    free(manifest->block);
    free(manifest->file);
    free(manifest->extent);
    free(manifest->digest);
    mrmr_bytes_free(&manifest->text);
    free(manifest);
}

static mrmr_err bad(const struct pool_manifest_parser *p, const char *why)
{
    return mrmr_fail(MRMR_FORMAT, "manifest line %" PRIu64 ": %s", p->line_number, why);
}

/* Room for one more of `count` items. */
static mrmr_err grow(void *array, size_t count, size_t size, size_t *room)
{
    if (count < *room)
        return MRMR_OK;
    size_t more = *room ? 2 * *room : 16;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, more * size);
    if (!grown)
        return mrmr_nomem();
    memcpy(array, &grown, sizeof grown);
    *room = more;
    return MRMR_OK;
}

/* A number from least to most. */
static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *ret_value)
{
    uint64_t value;
    if (!mrmr_text_u64(text, &value) || value < least || value > most)
        return false;
    *ret_value = value;
    return true;
}

static bool number_32(const char *text, uint32_t *ret_value)
{
    uint64_t value;
    if (!number(text, 0, UINT32_MAX, &value))
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static bool octal_mode(const char *text, uint32_t *ret_mode)
{
    uint32_t mode = 0;
    if (!*text || strlen(text) > 4)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '7')
            return false;
        mode = 8 * mode + (uint32_t)(*text - '0');
    }
    *ret_mode = mode;
    return true;
}

static bool digest(const char *text, struct mrmr_digest *ret_digest)
{
    return strlen(text) == 2 * MRMR_DIGEST_SIZE &&
           mrmr_text_unhex(text, MRMR_DIGEST_SIZE, ret_digest->bytes);
}

/* --- The head --- */

static mrmr_err take_magic(struct pool_manifest_parser *p, char **field)
{
    uint64_t version;
    if (!number(field[0], 1, UINT32_MAX, &version))
        return bad(p, "no format version");
    if (version != POOL_PARITY_VERSION)
        return mrmr_fail(MRMR_NEWER, "its manifest has format version %" PRIu64, version);
    p->stage = AT_STRIPE;
    return MRMR_OK;
}

static mrmr_err take_stripe(struct pool_manifest_parser *p, char **field)
{
    if (!mrmr_uuid_parse(field[0], &p->m->stripe))
        return bad(p, "the stripe has no uuid");
    p->stage = AT_GENERATION;
    return MRMR_OK;
}

static mrmr_err take_generation(struct pool_manifest_parser *p, char **field)
{
    if (!number(field[0], 1, INT64_MAX, &p->m->generation))
        return bad(p, "the generation is out of bounds");
    p->stage = AT_ROW;
    return MRMR_OK;
}

static mrmr_err take_row(struct pool_manifest_parser *p, char **field)
{
    uint64_t row;
    if (!number(field[0], 0, META_ROWS_MAX - 1, &row))
        return bad(p, "the row is out of bounds");
    p->m->row = (unsigned)row;
    p->stage = AT_ROWS;
    return MRMR_OK;
}

static mrmr_err take_rows(struct pool_manifest_parser *p, char **field)
{
    uint64_t rows;
    if (!number(field[0], 1, META_ROWS_MAX, &rows))
        return bad(p, "the number of rows is out of bounds");
    p->m->rows = (unsigned)rows;
    p->stage = AT_LENGTH;
    return MRMR_OK;
}

static mrmr_err take_length(struct pool_manifest_parser *p, char **field)
{
    if (!number(field[0], 1, POOL_PARITY_LENGTH_MAX, &p->m->length))
        return bad(p, "the length is out of bounds");
    p->due = (size_t)((p->m->length + META_LEAF - 1) / META_LEAF); /* 4,096 at most */
    p->m->payload = calloc(p->due, sizeof *p->m->payload);
    if (!p->m->payload)
        return mrmr_nomem();
    p->stage = AT_PAYLOAD;
    return MRMR_OK;
}

static mrmr_err take_payload(struct pool_manifest_parser *p, char **field)
{
    if (!digest(field[0], &p->m->payload[p->m->leaves]))
        return bad(p, "a digest is 64 hex digits");
    p->m->leaves++;
    if (--p->due == 0)
        p->stage = AT_SHARED;
    return MRMR_OK;
}

/* --- The part that the rows share --- */

static mrmr_err take_shared(struct pool_manifest_parser *p, char **field)
{
    struct mrmr_uuid stripe;
    uint64_t generation, length;
    if (!mrmr_uuid_parse(field[0], &stripe) || !number(field[1], 1, INT64_MAX, &generation) ||
        !number(field[2], 1, POOL_PARITY_LENGTH_MAX, &length))
        return bad(p, "stripe, generation or length is no such thing");
    if (!mrmr_uuid_equal(&stripe, &p->m->stripe) || generation != p->m->generation ||
        length != p->m->length)
        return bad(p, "it speaks of another stripe, generation or length than the head");
    p->stage = AT_POOL;
    return MRMR_OK;
}

static mrmr_err take_pool(struct pool_manifest_parser *p, char **field)
{
    if (!mrmr_uuid_parse(field[0], &p->m->pool))
        return bad(p, "the pool has no uuid");
    p->stage = AT_SUPERSEDES;
    return MRMR_OK;
}

static mrmr_err take_supersedes(struct pool_manifest_parser *p, char **field)
{
    struct pool_manifest *m = p->m;
    struct pool_superseded old;
    if (!mrmr_uuid_parse(field[0], &old.stripe) || !number(field[1], 1, INT64_MAX, &old.generation))
        return bad(p, "stripe or generation is no such thing");
    if (mrmr_uuid_equal(&old.stripe, &m->stripe) && old.generation >= m->generation)
        return bad(p, "a generation supersedes itself or a later one");
    if (m->superseded == POOL_MANIFEST_SUPERSEDES_MAX)
        return bad(p, "too many generations are superseded");
    MRMR_TRY(grow(&m->supersedes, m->superseded, sizeof *m->supersedes, &p->supersedes_room));
    m->supersedes[m->superseded++] = old;
    return MRMR_OK;
}

static mrmr_err block_name(struct pool_manifest_parser *p, const char *text, char name[64])
{
    mrmr_autobytes struct mrmr_bytes decoded = MRMR_BYTES_INIT;
    mrmr_err err = mrmr_text_decode(&decoded, text, strlen(text));
    if (mrmr_ran_short(err))
        return err;
    if (err || decoded.size >= 64)
        return bad(p, "the drive's name is no name");
    memcpy(name, decoded.data, decoded.size + 1);
    return MRMR_OK;
}

static mrmr_err block_distinct(
    const struct pool_manifest_parser *p, const struct pool_manifest_block *block)
{
    const struct pool_manifest *m = p->m;
    if (m->blocks && m->block[m->blocks - 1].slot >= block->slot)
        return bad(p, "the blocks are not in the order of their slots");
    for (size_t i = 0; i < m->blocks; i++)
        if (mrmr_uuid_equal(&m->block[i].drive, &block->drive))
            return bad(p, "two blocks lie on one drive");
    return MRMR_OK;
}

static mrmr_err take_block(struct pool_manifest_parser *p, char **field)
{
    struct pool_manifest *m = p->m;
    struct pool_manifest_block block = {.first_extent = m->extents};
    uint64_t slot;
    if (!number(field[0], 0, META_SLOTS_MAX - 1, &slot))
        return bad(p, "the slot is out of bounds");
    block.slot = (uint8_t)slot;
    if (!mrmr_uuid_parse(field[1], &block.drive))
        return bad(p, "the drive has no uuid");
    if (!number(field[2], 1, m->length, &block.length))
        return bad(p, "the block is empty or longer than the stripe");
    MRMR_TRY(block_name(p, field[3], block.name));
    MRMR_TRY(block_distinct(p, &block));
    MRMR_TRY(grow(&m->block, m->blocks, sizeof *m->block, &p->block_room));
    m->block[m->blocks++] = block;
    p->block_end = 0;
    p->file_here = false;
    p->stage = AT_BLOCK;
    return MRMR_OK;
}

static mrmr_err file_path(
    struct pool_manifest_parser *p, const char *text, struct pool_manifest_file *file)
{
    struct mrmr_bytes *paths = &p->m->text;
    if (strcmp(text, "?") == 0)
        return MRMR_OK;
    size_t at = paths->size;
    mrmr_err err = mrmr_text_decode(paths, text, strlen(text));
    if (mrmr_ran_short(err))
        return err;
    if (err)
        return bad(p, "the path is not encoded as it should be");
    const char *path = paths->data + at;
    size_t size = paths->size - at;
    if (size == 0 || size > POOL_MANIFEST_PATH_MAX || drv_path_check(path) != MRMR_OK)
        return bad(p, "the path is empty, absolute, too long or leaves its drive");
    size_t dot = strlen(POOL_DOT);
    if (strncmp(path, POOL_DOT, dot) == 0 && (path[dot] == '/' || path[dot] == '\0'))
        return bad(p, "the path leads into " POOL_DOT);
    file->path = at + 1;
    return mrmr_bytes_add(paths, "", 1);
}

static mrmr_err take_file(struct pool_manifest_parser *p, char **field)
{
    struct pool_manifest *m = p->m;
    struct pool_manifest_file file = {0};
    if (!number(field[0], 0, INT64_MAX, &file.id) ||
        !number(field[1], 0, INT64_MAX, &file.version) ||
        !number(field[2], 0, INT64_MAX, &file.sequence) ||
        !number(field[3], 0, POOL_MANIFEST_FILE_MAX, &file.size) ||
        !mrmr_text_i64(field[4], &file.mtime) || !octal_mode(field[5], &file.mode) ||
        !number_32(field[6], &file.uid) || !number_32(field[7], &file.gid))
        return bad(p, "a number of the file is none, or out of bounds");
    MRMR_TRY(file_path(p, field[8], &file));
    if (m->files > POOL_STRIPE_EXTENTS_MAX)
        return bad(p, "too many files");
    MRMR_TRY(grow(&m->file, m->files, sizeof *m->file, &p->file_room));
    m->file[m->files++] = file;
    p->file_here = true;
    return MRMR_OK;
}

static const char *const state_word[] = {
    [META_LIVE] = "live",
    [META_MISSING] = "missing",
    [META_STALE] = "stale",
    [META_GONE] = "gone",
    [META_SUSPECT] = "suspect",
};

static bool extent_state(const char *text, enum meta_extent_state *ret_state)
{
    for (unsigned i = 0; i < sizeof state_word / sizeof *state_word; i++)
        if (strcmp(text, state_word[i]) == 0) {
            *ret_state = (enum meta_extent_state)i;
            return true;
        }
    return false;
}

static mrmr_err extent_fits(
    const struct pool_manifest_parser *p, const struct pool_manifest_extent *extent)
{
    uint64_t length = p->m->block[p->m->blocks - 1].length;
    if (extent->place < p->block_end)
        return bad(p, "the extent overlaps the one before it");
    if (extent->place > length || extent->bytes > length - extent->place)
        return bad(p, "the extent ends beyond its block");
    if (extent->first > POOL_MANIFEST_FILE_MAX / META_LEAF ||
        extent->first * META_LEAF > POOL_MANIFEST_FILE_MAX - extent->bytes)
        return bad(p, "the extent ends beyond what a file can be");
    return MRMR_OK;
}

static mrmr_err take_extent(struct pool_manifest_parser *p, char **field)
{
    struct pool_manifest *m = p->m;
    struct pool_manifest_extent extent = {.digest = m->digests};
    if (!p->file_here)
        return bad(p, "an extent without a file");
    if (!number(field[0], 0, POOL_PARITY_LENGTH_MAX, &extent.place) ||
        !number(field[1], 0, INT64_MAX, &extent.first) ||
        !number(field[2], 1, POOL_PARITY_LENGTH_MAX, &extent.bytes) ||
        !number(field[3], 0, INT64_MAX, &extent.version) || !extent_state(field[4], &extent.state))
        return bad(p, "a field of the extent is none, or out of bounds");
    MRMR_TRY(extent_fits(p, &extent));
    if (m->extents == POOL_STRIPE_EXTENTS_MAX)
        return bad(p, "too many extents");
    extent.block = (uint32_t)(m->blocks - 1);
    extent.file = (uint32_t)(m->files - 1);
    extent.leaves = (extent.bytes + META_LEAF - 1) / META_LEAF;
    MRMR_TRY(grow(&m->extent, m->extents, sizeof *m->extent, &p->extent_room));
    m->extent[m->extents++] = extent;
    m->block[m->blocks - 1].extents++;
    p->block_end = extent.place + extent.bytes;
    p->due = (size_t)extent.leaves;
    p->stage = AT_LEAF;
    return MRMR_OK;
}

static mrmr_err take_leaf(struct pool_manifest_parser *p, char **field)
{
    struct pool_manifest *m = p->m;
    MRMR_TRY(grow(&m->digest, m->digests, sizeof *m->digest, &p->digest_room));
    if (!digest(field[0], &m->digest[m->digests]))
        return bad(p, "a digest is 64 hex digits");
    m->digests++;
    if (--p->due == 0)
        p->stage = AT_BLOCK;
    return MRMR_OK;
}

static mrmr_err take_end(struct pool_manifest_parser *p, char **field)
{
    (void)field;
    p->stage = AT_END;
    return MRMR_OK;
}

/* --- Lines --- */

static const struct record {
    const char *word;
    unsigned fields;
    unsigned stages;
    mrmr_err (*take)(struct pool_manifest_parser *p, char **field);
} record[] = {
    {"leaf", 1, AT_LEAF, take_leaf},
    {"extent", 5, AT_BLOCK, take_extent},
    {"file", 9, AT_BLOCK, take_file},
    {"block", 4, AT_SUPERSEDES | AT_BLOCK, take_block},
    {"payload", 1, AT_PAYLOAD, take_payload},
    {"mrmr-parity", 1, AT_START, take_magic},
    {"stripe", 1, AT_STRIPE, take_stripe},
    {"generation", 1, AT_GENERATION, take_generation},
    {"row", 1, AT_ROW, take_row},
    {"rows", 1, AT_ROWS, take_rows},
    {"length", 1, AT_LENGTH, take_length},
    {"shared", 3, AT_SHARED, take_shared},
    {"pool", 1, AT_POOL, take_pool},
    {"supersedes", 2, AT_SUPERSEDES, take_supersedes},
    {"end", 0, AT_BLOCK, take_end},
};

/* The words of a line, NUL-terminated in place; fields + 1 of them, or 0 if there are too many or
 * an empty one. */
static unsigned split(char *line, char *word[FIELDS_MAX + 1])
{
    unsigned n = 0;
    for (char *at = line; at;) {
        char *space = strchr(at, ' ');
        if (space)
            *space++ = '\0';
        if (!*at || n > FIELDS_MAX)
            return 0;
        word[n++] = at;
        at = space;
    }
    return n;
}

static mrmr_err parser_line(struct pool_manifest_parser *p)
{
    p->line_number++;
    char *word[FIELDS_MAX + 1];
    if (memchr(p->line.data, '\0', p->line.size))
        return bad(p, "a NUL");
    unsigned words = split(p->line.data, word);
    for (size_t i = 0; words && i < sizeof record / sizeof *record; i++) {
        if (strcmp(record[i].word, word[0]) != 0)
            continue;
        if (!(record[i].stages & p->stage))
            return bad(p, "a record where it may not be");
        if (record[i].fields != words - 1)
            return bad(p, "a record with too few or too many fields");
        return record[i].take(p, word + 1);
    }
    return bad(p, "not a record");
}

mrmr_err pool_manifest_parser_create(
    enum pool_manifest_part part, struct pool_manifest_parser **ret_parser)
{
    struct pool_manifest_parser *p = calloc(1, sizeof *p);
    if (!p)
        return mrmr_nomem();
    p->m = calloc(1, sizeof *p->m);
    if (!p->m || mrmr_bytes_reserve(&p->line, 256) != MRMR_OK) {
        pool_manifest_parser_destroy(p);
        return mrmr_nomem();
    }
    p->part = part;
    p->stage = AT_START;
    *ret_parser = p;
    return MRMR_OK;
}

void pool_manifest_parser_destroy(struct pool_manifest_parser *p)
{
    if (!p)
        return;
    pool_manifest_free(p->m);
    mrmr_bytes_free(&p->line);
    free(p);
}

static bool parser_enough(const struct pool_manifest_parser *p)
{
    return p->part == POOL_MANIFEST_HEAD && p->stage == AT_SHARED;
}

mrmr_err pool_manifest_parser_feed(
    struct pool_manifest_parser *p, const char *text, size_t size, bool *ret_enough)
{
    while (size && !parser_enough(p)) {
        const char *newline = memchr(text, '\n', size);
        size_t piece = newline ? (size_t)(newline - text) : size;
        if (piece > POOL_MANIFEST_LINE_MAX - p->line.size) {
            p->line_number++;
            return bad(p, "the line is too long");
        }
        MRMR_TRY(mrmr_bytes_add(&p->line, text, piece));
        if (!newline)
            break;
        MRMR_TRY(parser_line(p));
        mrmr_bytes_clear(&p->line);
        text = newline + 1;
        size -= piece + 1;
    }
    *ret_enough = parser_enough(p);
    return MRMR_OK;
}

mrmr_err pool_manifest_parser_finish(
    struct pool_manifest_parser *p, struct pool_manifest **ret_manifest)
{
    if (!parser_enough(p) && (p->stage != AT_END || p->line.size))
        return mrmr_fail(
            MRMR_TRUNCATED, "the manifest breaks off after line %" PRIu64, p->line_number);
    *ret_manifest = mrmr_steal(p->m);
    return MRMR_OK;
}

MRMR_DEFINE_AUTO(struct pool_manifest_parser, pool_manifest_parser_destroy);

mrmr_err pool_manifest_parse(const char *text, size_t size, struct pool_manifest **ret_manifest)
{
    MRMR_AUTO(pool_manifest_parser_destroy) struct pool_manifest_parser *p = NULL;
    bool enough;
    if (size > POOL_MANIFEST_TEXT_MAX)
        return mrmr_fail(MRMR_FORMAT, "a manifest of %zu bytes is out of bounds", size);
    MRMR_TRY(pool_manifest_parser_create(POOL_MANIFEST_WHOLE, &p));
    MRMR_TRY(pool_manifest_parser_feed(p, text, size, &enough));
    return pool_manifest_parser_finish(p, ret_manifest);
}

/* --- The head as text --- */

mrmr_err pool_manifest_digest(
    struct mrmr_bytes *text, const char *word, const struct mrmr_digest *value)
{
    char hex[2 * MRMR_DIGEST_SIZE + 2];
    mrmr_text_hex(value->bytes, MRMR_DIGEST_SIZE, hex);
    hex[2 * MRMR_DIGEST_SIZE] = '\n';
    MRMR_TRY(mrmr_bytes_str(text, word));
    return mrmr_bytes_add(text, hex, 2 * MRMR_DIGEST_SIZE + 1);
}

mrmr_err pool_manifest_head(const struct pool_manifest *head, struct mrmr_bytes *text)
{
    char uuid[MRMR_UUID_TEXT];
    MRMR_TRY(mrmr_bytes_fmt(text,
        "mrmr-parity %d\nstripe %s\ngeneration %" PRIu64 "\nrow %u\nrows %u\nlength %" PRIu64 "\n",
        POOL_PARITY_VERSION, mrmr_uuid_print(&head->stripe, uuid), head->generation, head->row,
        head->rows, head->length));
    for (size_t i = 0; i < head->leaves; i++)
        MRMR_TRY(pool_manifest_digest(text, "payload ", &head->payload[i]));
    return MRMR_OK;
}
