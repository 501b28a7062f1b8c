/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Row files: one parity block of one generation, written once and never changed (I2).
 *
 * Crash argument. Whoever makes a row has a MAKE intent for its final name in the catalog, durable,
 * before pool_row_create. From there on, whatever is cut off where:
 *
 * 1. Before or while the folders are made: perhaps empty folders, which are never removed and harm
 * nobody.
 * 2. While bytes are written to the temporary name (final + "~"): a temp file. Settling the intent
 * removes it; so does a second create of the same row, which starts from nothing.
 * 3. After file_sync, before the rename: the same.
 * 4. After the rename, before the folders are synced: if only the process died, the file is whole
 * under its final name (its bytes were synced before it had it); if the power went, the name is
 * there or not. No catalog commit counts on it, since finish has not returned: settling the intent
 * removes it, and a second attempt renames over it.
 * 5. After finish returned: bytes, name, and every folder on the way are durable. All three folders
 * are synced each time, not only when this call made them: one made by an attempt that was killed
 * may be known to the kernel and not to the disk. Where nothing changed a folder sync is nearly
 * free.
 *
 * A row for which its drive has no room but the slack's takes the file that is that slack: it is renamed to the
 * temporary name, written over, and cut to its length at the end, so that its blocks are nobody's to take at any moment. A cut
 * leaves it under the temporary name, where settling removes it as any other; slack holds nothing, and is
 * made anew where there is room.
 *
 * So a final name never stands for half a file: what has it passed file_sync first. What a medium
 * makes of it later is the digests' to find. Renaming over an existing final name is right only
 * because nothing counts on a file that has an intent; a row that a commit counts on has none, and
 * its generation is never made twice.
 */
#include "pool/stripe/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "pool/stripe/gzip.h"

#define ROW_PARITY POOL_DOT "/parity"
#define ROW_FOLDER_MODE 0700
#define ROW_MODE 0600
#define ROW_BATCH 32 /* leaves digested at once */

void pool_row_path(
    const struct mrmr_uuid *stripe, uint64_t generation, unsigned index, char path[POOL_ROW_PATH])
{
    char hex[2 * MRMR_UUID_SIZE + 1];
    mrmr_text_hex(stripe->bytes, MRMR_UUID_SIZE, hex);
    snprintf(
        path, POOL_ROW_PATH, ROW_PARITY "/%.2s/%s-g%" PRIu64 ".%u", hex, hex, generation, index);
}

bool pool_row_file_parse(
    const char *file, struct mrmr_uuid *ret_stripe, uint64_t *ret_generation, unsigned *ret_index)
{
    const char *name = strrchr(file, '/');
    char hex[2 * MRMR_UUID_SIZE + 1];
    if (!name || strlen(++name) < sizeof hex + strlen("g1.0"))
        return false;
    memcpy(hex, name, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    return mrmr_text_unhex(hex, MRMR_UUID_SIZE, ret_stripe) &&
           sscanf(name + sizeof hex - 1, "-g%" SCNu64 ".%u", ret_generation, ret_index) == 2;
}

/* The leaves of a part of a payload, up to ROW_BATCH of them. */
static size_t row_spans(const char *data, size_t size, struct mrmr_span span[ROW_BATCH])
{
    size_t n = 0;
    for (size_t at = 0; at < size && n < ROW_BATCH; at += META_LEAF, n++)
        span[n] = (struct mrmr_span){data + at, size - at < META_LEAF ? size - at : META_LEAF};
    return n;
}

/* --- Writing --- */

struct pool_row_writer {
    struct drv *drv;
    struct drv_file *file;
    struct pool_manifest head; /* its payload grows as bytes come */
    size_t room;
    bool named;       /* the temporary name is gone */
    const char *from; /* what became the temporary file; NULL: it is new */
    char path[POOL_ROW_PATH], temp[POOL_ROW_PATH + 1];
};

/* The file's folder: the path without its last component. */
static void row_folder(const char *path, char folder[POOL_ROW_PATH])
{
    snprintf(folder, POOL_ROW_PATH, "%.*s", (int)(strrchr(path, '/') - path), path);
}

static mrmr_err row_create_temp(struct pool_row_writer *w)
{
    unsigned flags = DRV_OPEN_WRITE | DRV_OPEN_CREATE;
    mrmr_err err = drv_file_open(w->drv, w->temp, flags, ROW_MODE, &w->file);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
        char folder[POOL_ROW_PATH];
        row_folder(w->path, folder);
        MRMR_TRY(drv_mkdirs(w->drv, folder, ROW_FOLDER_MODE));
        err = drv_file_open(w->drv, w->temp, flags, ROW_MODE, &w->file);
    }
    if (err == MRMR_EXISTS) { /* cut point 2 or 3 of an earlier attempt */
        MRMR_TRY(drv_unlink(w->drv, w->temp));
        err = drv_file_open(w->drv, w->temp, flags, ROW_MODE, &w->file);
    }
    return err;
}

/* The file at w->from becomes the temporary one. MRMR_ABSENT: there is none. */
static mrmr_err row_take_room(struct pool_row_writer *w)
{
    char folder[POOL_ROW_PATH];
    row_folder(w->path, folder);
    MRMR_TRY(drv_mkdirs(w->drv, folder, ROW_FOLDER_MODE));
    MRMR_TRY(drv_rename(w->drv, w->from, w->temp, DRV_RENAME_REPLACE));
    return drv_file_open(w->drv, w->temp, DRV_OPEN_WRITE, ROW_MODE, &w->file);
}

static mrmr_err row_begin(struct pool_row_writer *w)
{
    mrmr_err err = w->from ? row_take_room(w) : row_create_temp(w);
    if (!w->from || mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    w->from = NULL;
    return row_create_temp(w);
}

mrmr_err pool_row_create_in(struct drv *drv, const struct mrmr_uuid *stripe, uint64_t generation,
    unsigned index, const char *room, struct pool_row_writer **ret_writer)
{
    if (index >= META_ROWS_MAX || generation == 0 || generation > INT64_MAX)
        return mrmr_fail(
            MRMR_INTERNAL, "no row %u of generation %" PRIu64 " can be", index, generation);
    struct pool_row_writer *w = calloc(1, sizeof *w);
    if (!w)
        return mrmr_nomem();
    w->drv = drv;
    w->head.stripe = *stripe;
    w->head.generation = generation;
    w->head.row = index;
    pool_row_path(stripe, generation, index, w->path);
    snprintf(w->temp, sizeof w->temp, "%s~", w->path);
    w->from = room;
    mrmr_err err = row_begin(w);
    if (err) {
        free(w);
        return mrmr_err_op(err, "make a row");
    }
    *ret_writer = w;
    return MRMR_OK;
}

mrmr_err pool_row_create(struct drv *drv, const struct mrmr_uuid *stripe, uint64_t generation,
    unsigned index, struct pool_row_writer **ret_writer)
{
    return pool_row_create_in(drv, stripe, generation, index, NULL, ret_writer);
}

static mrmr_err row_reserve(struct pool_row_writer *w, size_t leaves)
{
    if (w->head.leaves + leaves <= w->room)
        return MRMR_OK;
    size_t room = 2 * w->room + leaves;
    struct mrmr_digest *grown = realloc(w->head.payload, room * sizeof *grown);
    if (!grown)
        return mrmr_nomem();
    w->head.payload = grown;
    w->room = room;
    return MRMR_OK;
}

static void row_digest(struct pool_row_writer *w, const char *data, size_t size)
{
    for (size_t at = 0; at < size; at += ROW_BATCH * META_LEAF) {
        struct mrmr_span span[ROW_BATCH];
        size_t n = row_spans(data + at, size - at, span);
        mrmr_digest_batch(n, span, w->head.payload + w->head.leaves);
        w->head.leaves += n;
    }
}

mrmr_err pool_row_append(struct pool_row_writer *w, const void *data, size_t size)
{
    if (size == 0)
        return MRMR_OK;
    if (w->head.length % META_LEAF || size > POOL_PARITY_LENGTH_MAX - w->head.length)
        return mrmr_fail(
            MRMR_INTERNAL, "a row of %" PRIu64 " bytes cannot take %zu more", w->head.length, size);
    MRMR_TRY(row_reserve(w, (size + META_LEAF - 1) / META_LEAF));
    mrmr_err err = drv_file_write(w->file, w->head.length, data, size);
    if (err)
        return mrmr_err_op(err, "make a row");
    row_digest(w, data, size);
    w->head.length += size;
    return MRMR_OK;
}

/* The same digest that a reader computes leaf by leaf. */
static struct mrmr_digest row_manifest_digest(const struct mrmr_bytes *manifest)
{
    struct mrmr_span span[POOL_MANIFEST_MAX / META_LEAF];
    struct mrmr_digest leaf[POOL_MANIFEST_MAX / META_LEAF];
    size_t n = 0;
    for (size_t at = 0; at < manifest->size; at += META_LEAF, n++) {
        size_t rest = manifest->size - at;
        span[n] = (struct mrmr_span){manifest->data + at, rest < META_LEAF ? rest : META_LEAF};
    }
    mrmr_digest_batch(n, span, leaf);
    return mrmr_digest_tree(n, leaf, manifest->size);
}

/* Head, shared body and footer in one buffer, so that they go out in one write. */
static mrmr_err row_tail(
    struct pool_row_writer *w, const struct mrmr_bytes *body, struct mrmr_bytes *tail)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct pool_footer footer = {.payload_length = w->head.length};
    uint8_t bytes[POOL_FOOTER_SIZE];
    MRMR_TRY(pool_manifest_head(&w->head, &text));
    MRMR_TRY(pool_gzip_add(tail, text.data, text.size));
    MRMR_TRY(mrmr_bytes_add(tail, body->data, body->size));
    if (tail->size > pool_manifest_limit(w->head.length))
        return mrmr_fail(MRMR_SPACE, "a manifest of %zu bytes is too long", tail->size);
    footer.manifest_length = tail->size;
    footer.payload = mrmr_digest_tree(w->head.leaves, w->head.payload, w->head.length);
    footer.manifest = row_manifest_digest(tail);
    pool_footer_print(&footer, bytes);
    return mrmr_bytes_add(tail, bytes, sizeof bytes);
}

static mrmr_err row_sync_folders(struct pool_row_writer *w)
{
    char folder[POOL_ROW_PATH];
    row_folder(w->path, folder);
    MRMR_TRY(drv_dir_sync(w->drv, folder));
    MRMR_TRY(drv_dir_sync(w->drv, ROW_PARITY));
    return drv_dir_sync(w->drv, POOL_DOT);
}

static mrmr_err row_finish(struct pool_row_writer *w, const struct mrmr_bytes *tail)
{
    MRMR_TRY(drv_file_write(w->file, w->head.length, tail->data, tail->size));
    if (w->from)
        MRMR_TRY(drv_file_truncate(w->file, w->head.length + tail->size));
    MRMR_TRY(drv_file_sync(w->file));
    drv_file_close(mrmr_steal(w->file));
    MRMR_TRY(drv_rename(w->drv, w->temp, w->path, DRV_RENAME_REPLACE));
    w->named = true;
    return row_sync_folders(w);
}

mrmr_err pool_row_finish(struct pool_row_writer *w, unsigned rows, const struct mrmr_bytes *body,
    uint64_t *ret_file_size)
{
    if (w->head.length == 0 || !w->file || rows == 0 || rows > META_ROWS_MAX)
        return mrmr_fail(MRMR_INTERNAL, "a row without payload, of no row, or finished twice");
    mrmr_autobytes struct mrmr_bytes tail = MRMR_BYTES_INIT;
    w->head.rows = rows;
    MRMR_TRY(row_tail(w, body, &tail));
    mrmr_err err = row_finish(w, &tail);
    if (err)
        return mrmr_err_op(err, "make a row");
    *ret_file_size = w->head.length + tail.size;
    return MRMR_OK;
}

void pool_row_discard(struct pool_row_writer *w)
{
    if (!w)
        return;
    drv_file_close(w->file);
    if (!w->named) {
        struct mrmr_story story; /* the caller's failure, which led here, stays the story */
        mrmr_story_save(&story);
        if (!w->from || drv_rename(w->drv, w->temp, w->from, DRV_RENAME_REPLACE))
            drv_unlink(w->drv, w->temp); /* left behind if that fails: the intent covers it */
        mrmr_story_restore(&story);
    }
    free(w->head.payload);
    free(w);
}

static mrmr_err row_unlink(struct drv *drv, const char *path)
{
    mrmr_err err = drv_unlink(drv, path);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

mrmr_err pool_row_remove(struct drv *drv, const char *path)
{
    char temp[POOL_ROW_PATH + 1];
    if (snprintf(temp, sizeof temp, "%s~", path) >= (int)sizeof temp)
        return mrmr_fail(MRMR_INVALID, "no row has such a path");
    MRMR_TRY(row_unlink(drv, temp));
    return row_unlink(drv, path);
}

/* --- Reading --- */

struct pool_row_reader {
    struct drv_file *file;
    struct pool_manifest *head; /* and no more of the manifest than that */
    char path[POOL_ROW_PATH];
};

static mrmr_err row_is(const struct pool_manifest *head, const struct mrmr_uuid *stripe,
    uint64_t generation, unsigned index, uint64_t length)
{
    if (!mrmr_uuid_equal(&head->stripe, stripe))
        return mrmr_fail(MRMR_FORMAT, "it belongs to another stripe");
    if (head->generation != generation || head->row != index)
        return mrmr_fail(MRMR_FORMAT,
            "it is row %u of generation %" PRIu64 ", not row %u of %" PRIu64, head->row,
            head->generation, index, generation);
    if (head->length != length)
        return mrmr_fail(MRMR_FORMAT, "its payload has %" PRIu64 " bytes, the stripe %" PRIu64,
            head->length, length);
    return MRMR_OK;
}

mrmr_err pool_row_open(struct drv *drv, const struct mrmr_uuid *stripe, uint64_t generation,
    unsigned index, uint64_t length, struct pool_row_reader **ret_reader)
{
    struct pool_row_reader *r = calloc(1, sizeof *r);
    struct pool_footer footer;
    if (!r)
        return mrmr_nomem();
    pool_row_path(stripe, generation, index, r->path);
    mrmr_err err = drv_file_open(drv, r->path, DRV_OPEN_READ, 0, &r->file);
    if (!err)
        err = pool_manifest_of_file(r->file, POOL_MANIFEST_HEAD, &footer, &r->head);
    if (!err)
        err = row_is(r->head, stripe, generation, index, length);
    if (err) {
        mrmr_err_op(mrmr_err_path(err, r->path), "open a row");
        pool_row_close(r);
        return err;
    }
    *ret_reader = r;
    return MRMR_OK;
}

mrmr_err pool_row_read(struct pool_row_reader *r, uint64_t offset, void *buf, size_t size)
{
    if (offset > r->head->length || size > r->head->length - offset)
        return mrmr_fail(MRMR_INTERNAL, "bytes %" PRIu64 " + %zu are beyond a payload of %" PRIu64,
            offset, size, r->head->length);
    mrmr_err err = drv_file_read_exact(r->file, offset, buf, size);
    return err ? mrmr_err_op(mrmr_err_path(err, r->path), "read a row") : MRMR_OK;
}

/* Up to ROW_BATCH leaves of `size` bytes together. */
static mrmr_err row_check(
    const struct pool_row_reader *r, uint64_t first, const char *data, size_t size)
{
    struct mrmr_span span[ROW_BATCH];
    struct mrmr_digest digest[ROW_BATCH];
    size_t n = row_spans(data, size, span);
    mrmr_digest_batch(n, span, digest);
    for (size_t i = 0; i < n; i++)
        if (!mrmr_digest_equal(&digest[i], &r->head->payload[first + i]))
            return mrmr_fail(MRMR_DIGEST,
                "leaf %" PRIu64 " of the payload does not match its digest", first + i);
    return MRMR_OK;
}

mrmr_err pool_row_read_leaves(
    struct pool_row_reader *r, uint64_t first, size_t n, void *buf, size_t *ret_size)
{
    if (first >= r->head->leaves)
        return mrmr_fail(MRMR_INTERNAL, "leaf %" PRIu64 " is beyond a payload of %zu leaves", first,
            r->head->leaves);
    uint64_t rest = r->head->length - first * META_LEAF;
    size_t size = rest / META_LEAF < n ? (size_t)rest : n * META_LEAF;
    MRMR_TRY(pool_row_read(r, first * META_LEAF, buf, size));
    for (size_t at = 0; at < size; at += ROW_BATCH * META_LEAF) {
        size_t part = size - at < ROW_BATCH * META_LEAF ? size - at : ROW_BATCH * META_LEAF;
        mrmr_err err = row_check(r, first + at / META_LEAF, (const char *)buf + at, part);
        if (err)
            return mrmr_err_op(mrmr_err_path(err, r->path), "read a row");
    }
    *ret_size = size;
    return MRMR_OK;
}

const struct mrmr_digest *pool_row_digests(const struct pool_row_reader *r)
{
    return r->head->payload;
}

void pool_row_close(struct pool_row_reader *r)
{
    if (!r)
        return;
    drv_file_close(r->file);
    pool_manifest_free(r->head);
    free(r);
}
