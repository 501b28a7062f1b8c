/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The invariants, executed: what must hold between catalog and drives whenever no job runs (I1-I7).
 * Here: the catalog itself, drives and their sessions, what covers each file, parity files that
 * nobody knows, what a job left behind, intents. Stripe by stripe: check_stripe.c.
 *
 * Memory: one stripe's image, one file's extents, one folder's listing at a time.
 */
#include "pool/check.h"
#include "pool/drive/drive.h"

#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CHECK_BATCH = 128 };

void pool_check_say(struct check *check, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    check->findings++;
    if (check->fn)
        check->fn(text, check->arg);
}

void pool_check_say_story(struct check *check, const char *fmt, ...)
{
    char what[512], story[1024];
    va_list args;
    mrmr_story_print(mrmr_story_get(), story, sizeof story);
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    pool_check_say(check, "%s: %s", what, story);
}

/* --- Drives (I5, I6) --- */

static void check_slots(struct check *check)
{
    const struct pool *pool = check->pool;
    for (size_t i = 0; i < pool->ndrives; i++)
        for (size_t j = 0; j < i; j++)
            if (pool->drives[i]->meta.slot == pool->drives[j]->meta.slot)
                pool_check_say(check, "drives %s and %s have the same slot %u",
                    pool->drives[i]->meta.name, pool->drives[j]->meta.name,
                    pool->drives[i]->meta.slot);
}

/* A uuid that was given up is never one of the pool's again. */
static mrmr_err check_retired(struct check *check, const struct pool_drive *drive)
{
    bool retired = false;
    MRMR_TRY(meta_uuid_is_retired(check->pool->meta, &drive->meta.uuid, &retired));
    if (retired && drive->meta.state != META_DRIVE_RETIRED)
        pool_check_say(
            check, "drive %s has the uuid of a drive that was given up for good", drive->meta.name);
    return MRMR_OK;
}

/* A drive that took another's place gets its slot when it is attached. */
static void check_session(struct check *check, const struct pool_drive *drive)
{
    struct pool_identity found;
    if (drive->presence != POOL_PRESENT)
        return;
    if (pool_identity_read(drive->drv, &found)) {
        pool_check_say_story(check, "drive %s: its identity cannot be read", drive->meta.name);
        return;
    }
    if (!mrmr_uuid_equal(&found.pool, &check->pool->uuid) ||
        !mrmr_uuid_equal(&found.uuid, &drive->meta.uuid))
        pool_check_say(check, "drive %s: another drive's identity is there", drive->meta.name);
    else if (pool_session_judge(&drive->meta, &found.session) != POOL_SESSION_RECORDED)
        pool_check_say(check, "drive %s: it is in session %llu, the catalog says %llu",
            drive->meta.name, (unsigned long long)found.session.number,
            (unsigned long long)drive->meta.session.number);
    else if (found.slot != drive->meta.slot && drive->meta.state != META_DRIVE_REBUILDING)
        pool_check_say(check, "drive %s: it says slot %u, the catalog %u", drive->meta.name,
            found.slot, drive->meta.slot);
}

/* --- What covers a file (I4) --- */

struct cover {
    uint64_t first, leaves;
    bool exposed;
};

static int cover_order(const void *a, const void *b)
{
    const struct cover *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

struct check_file {
    struct check *check;
    const struct meta_node *node;
    const char *path; /* on its drive */
    struct pool_drive *drive;
    bool suspect; /* changed and not compared yet: its old extents and its exposed ranges overlap */
};

static void file_say(const struct check_file *f, const char *what, uint64_t leaf)
{
    pool_check_say(f->check, "'%s' on drive %s: leaf %llu %s", f->path, f->drive->meta.name,
        (unsigned long long)leaf, what);
}

static uint64_t file_leaves(const struct meta_node *node)
{
    return node->size / META_LEAF + (node->size % META_LEAF != 0);
}

/* A run of leaves lies in the file and has its bytes. */
static bool file_run_fits(
    const struct meta_node *node, uint64_t first, uint64_t leaves, uint64_t bytes)
{
    uint64_t end = first + leaves, all = file_leaves(node);
    if (!leaves || end > all)
        return false;
    uint64_t wanted = end == all ? node->size - first * META_LEAF : leaves * META_LEAF;
    return bytes == wanted;
}

/* Leaves [a, b) that nothing covers read as zeros. */
static mrmr_err file_check_hole(const struct check_file *f, uint64_t a, uint64_t b)
{
    struct drv_file *file = NULL;
    struct drv_stat stat;
    if (!f->check->deep || !pool_drive_readable(f->drive) ||
        drv_file_open(f->drive->drv, f->path, DRV_OPEN_READ, 0, &file))
        return MRMR_OK; /* that it is not there is not this look's question */
    mrmr_autofree uint8_t *buf = malloc(META_LEAF);
    mrmr_err err = buf ? drv_file_stat(file, &stat) : mrmr_nomem();
    bool same = !err && pool_stat_same(&f->drive->info, f->node, &stat) == POOL_SAME;
    uint64_t at = a * META_LEAF,
             end = b * META_LEAF < f->node->size ? b * META_LEAF : f->node->size;
    while (same && !err && at < end) {
        uint64_t start = at, stop = end;
        err = drv_file_next_data(file, at, &start, &stop);
        if (err || start >= end)
            break;
        uint64_t n = (stop < end ? stop : end) - start;
        n = n < META_LEAF ? n : META_LEAF;
        err = drv_file_read_exact(file, start, buf, n);
        for (uint64_t i = 0; !err && i < n; i++)
            if (buf[i]) {
                file_say(f, "has bytes, and neither a stripe nor an exposed range covers it",
                    (start + i) / META_LEAF);
                at = end;
                break;
            }
        at = at < end ? start + n : end;
    }
    drv_file_close(file);
    return mrmr_ran_short(err) ? err : MRMR_OK;
}

static mrmr_err file_check_cover(const struct check_file *f, struct cover *cover, size_t n)
{
    uint64_t at = 0;
    if (n)
        qsort(cover, n, sizeof *cover, cover_order);
    for (size_t i = 0; i < n; i++) {
        if (cover[i].first < at && !f->suspect)
            file_say(f, "is covered twice", cover[i].first);
        if (cover[i].first > at)
            MRMR_TRY(file_check_hole(f, at, cover[i].first));
        uint64_t end = cover[i].first + cover[i].leaves;
        at = end > at ? end : at;
    }
    return at < file_leaves(f->node) ? file_check_hole(f, at, file_leaves(f->node)) : MRMR_OK;
}

static void file_check_extent(struct check_file *f, const struct meta_extent *extent)
{
    bool placed = extent->state == META_LIVE || extent->state == META_MISSING;
    if (placed && !file_run_fits(f->node, extent->first, extent->leaves, extent->bytes))
        file_say(f, "begins an extent that does not fit the file", extent->first);
    if (placed && extent->drive != f->node->drive)
        file_say(f, "is in a block of a drive that its file is not on", extent->first);
    if (extent->version > f->node->version)
        file_say(f, "is of a version that the file never had", extent->first);
}

static mrmr_err file_check(struct check_file *f)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t nextents, nranges, n = 0;
    MRMR_TRY(meta_extents_of(f->check->pool->meta, f->node->id, &extents, &nextents));
    MRMR_TRY(meta_exposed_of(f->check->pool->meta, f->node->id, &ranges, &nranges));
    mrmr_autofree struct cover *cover = calloc(nextents + nranges + 1, sizeof *cover);
    if (!cover)
        return mrmr_nomem();
    for (size_t i = 0; i < nextents; i++) {
        file_check_extent(f, &extents[i]);
        f->suspect = f->suspect || extents[i].state == META_SUSPECT;
        if (pool_extent_wanted(&extents[i]))
            cover[n++] = (struct cover){extents[i].first, extents[i].leaves, false};
    }
    for (size_t i = 0; i < nranges; i++) {
        if (!file_run_fits(f->node, ranges[i].first, ranges[i].leaves, ranges[i].bytes))
            file_say(f, "begins an exposed range that does not fit the file", ranges[i].first);
        cover[n++] = (struct cover){ranges[i].first, ranges[i].leaves, true};
    }
    return file_check_cover(f, cover, n);
}

static mrmr_err check_files(struct check *check, struct pool_drive *drive)
{
    mrmr_autofree struct meta_node *nodes = calloc(CHECK_BATCH, sizeof *nodes);
    struct pool_paths paths = {0};
    int64_t after = 0;
    size_t n = 0;
    mrmr_err err = nodes ? MRMR_OK : mrmr_nomem();
    do {
        if (!err)
            err =
                meta_nodes_after(check->pool->meta, drive->meta.id, after, nodes, CHECK_BATCH, &n);
        for (size_t i = 0; !err && i < n; i++) {
            struct check_file f = {.check = check, .node = &nodes[i], .drive = drive};
            after = nodes[i].id;
            if (nodes[i].type != META_REG)
                continue;
            err = pool_paths_get(check->pool, &paths, nodes[i].id, &f.path);
            if (!err)
                err = file_check(&f);
        }
    } while (!err && n);
    pool_paths_free(&paths);
    return err;
}

/* --- Parity files and intents (I2, I5) --- */

/* "<32 hex>-g<generation>.<index>", with a '~' behind while it is being made. */
static bool row_name_parse(const char *name, struct mrmr_uuid *ret_stripe, uint64_t *ret_generation,
    unsigned *ret_index, bool *ret_temp)
{
    char hex[2 * MRMR_UUID_SIZE + 1], rest[3] = "";
    unsigned long long generation;
    if (strlen(name) < sizeof hex + 4)
        return false;
    memcpy(hex, name, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    int got = sscanf(name + sizeof hex - 1, "-g%llu.%u%2s", &generation, ret_index, rest);
    *ret_temp = strcmp(rest, "~") == 0;
    *ret_generation = generation;
    return got >= 2 && (!rest[0] || *ret_temp) && mrmr_text_unhex(hex, MRMR_UUID_SIZE, ret_stripe);
}

/* The catalog's image of the stripe has this row on this drive. */
static mrmr_err row_file_is_known(
    struct check *check, const struct pool_drive *drive, const char *name, bool *ret_known)
{
    struct mrmr_uuid uuid;
    uint64_t generation;
    unsigned index;
    bool temp;
    int64_t id;
    *ret_known = false;
    if (!row_name_parse(name, &uuid, &generation, &index, &temp) || temp)
        return MRMR_OK;
    mrmr_err err = meta_stripe_by_uuid(check->pool->meta, &uuid, &id);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    if (!brief)
        return mrmr_nomem();
    MRMR_TRY(meta_stripe_brief_get(check->pool->meta, id, brief));
    for (uint32_t i = 0; i < brief->rows; i++)
        *ret_known =
            *ret_known || (brief->generation == generation && brief->row[i].index == index &&
                              brief->row[i].drive == drive->meta.id);
    return MRMR_OK;
}

/* An intent names it; one for a file covers its temporary name. */
static mrmr_err row_file_is_intended(
    struct check *check, const struct pool_drive *drive, const char *file, bool *ret_intended)
{
    mrmr_autofree struct meta_intent *intents = calloc(CHECK_BATCH, sizeof *intents);
    size_t length = strlen(file), n;
    int64_t after = 0;
    if (!intents)
        return mrmr_nomem();
    if (length && file[length - 1] == '~')
        length--;
    *ret_intended = false;
    do {
        MRMR_TRY(
            meta_intents_after(check->pool->meta, drive->meta.id, after, intents, CHECK_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            after = intents[i].id;
            if (strncmp(intents[i].file, file, length) == 0 && !intents[i].file[length])
                *ret_intended = true;
        }
    } while (n && !*ret_intended);
    return MRMR_OK;
}

struct check_listing {
    struct check *check;
    struct pool_drive *drive;
    struct mrmr_bytes folders; /* names of the folders in .mrmr/parity, one after another */
    const char *folder;
};

static mrmr_err listing_folder(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct check_listing *listing = arg;
    if (!err && stat->type == DRV_DIR)
        return mrmr_bytes_add(&listing->folders, name, strlen(name) + 1);
    pool_check_say(listing->check, "drive %s: '%s' has no business in .mrmr/parity",
        listing->drive->meta.name, name);
    return MRMR_OK;
}

static mrmr_err listing_row(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct check_listing *listing = arg;
    char file[2 * META_NAME_MAX + 16];
    bool known = false;
    (void)err;
    snprintf(file, sizeof file, "parity/%s/%s", listing->folder, name);
    if (stat && stat->type == DRV_REG)
        MRMR_TRY(row_file_is_known(listing->check, listing->drive, name, &known));
    if (!known)
        MRMR_TRY(row_file_is_intended(listing->check, listing->drive, file, &known));
    if (!known)
        pool_check_say(listing->check,
            "drive %s: neither a stripe nor an intent of the catalog knows .mrmr/%s",
            listing->drive->meta.name, file);
    return MRMR_OK;
}

static mrmr_err check_listing_failed(
    struct check *check, const struct pool_drive *drive, const char *folder, mrmr_err err)
{
    if (!err || mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    if (mrmr_ran_short(err) || mrmr_class_of(err) == MRMR_CLASS_INTERNAL)
        return err;
    pool_check_say_story(check, "drive %s: %s cannot be listed", drive->meta.name, folder);
    return MRMR_OK;
}

static mrmr_err check_parity_files(struct check *check, struct pool_drive *drive)
{
    struct check_listing listing = {.check = check, .drive = drive};
    if (drive->presence != POOL_PRESENT)
        return MRMR_OK;
    mrmr_err err = drv_list(drive->drv, POOL_DOT "/parity", listing_folder, &listing);
    err = check_listing_failed(check, drive, POOL_DOT "/parity", err);
    for (size_t at = 0; !err && at < listing.folders.size; at += strlen(listing.folder) + 1) {
        char path[META_NAME_MAX + 32];
        listing.folder = listing.folders.data + at;
        snprintf(path, sizeof path, POOL_DOT "/parity/%s", listing.folder);
        err = drv_list(drive->drv, path, listing_row, &listing);
        err = check_listing_failed(check, drive, path, err);
    }
    mrmr_bytes_free(&listing.folders);
    return err;
}

/* --- What a job left behind (I1) --- */

static mrmr_err leftover_work(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct check_listing *listing = arg;
    (void)stat, (void)err;
    pool_check_say(listing->check, "drive %s: a job left " POOL_WORK "/%s behind",
        listing->drive->meta.name, name);
    return MRMR_OK;
}

static mrmr_err leftover_pending(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct check_listing *listing = arg;
    (void)stat, (void)err;
    if (strncmp(name, "pending-", 8) == 0)
        pool_check_say(listing->check, "drive %s: a repair left " POOL_QUARANTINE "/%s behind",
            listing->drive->meta.name, name);
    return MRMR_OK;
}

static mrmr_err check_leftovers(struct check *check, struct pool_drive *drive)
{
    struct check_listing listing = {.check = check, .drive = drive};
    if (!pool_drive_writable(drive))
        return MRMR_OK;
    mrmr_err err = drv_list(drive->drv, POOL_WORK, leftover_work, &listing);
    MRMR_TRY(check_listing_failed(check, drive, POOL_WORK, err));
    err = drv_list(drive->drv, POOL_QUARANTINE, leftover_pending, &listing);
    return check_listing_failed(check, drive, POOL_QUARANTINE, err);
}

static mrmr_err check_intents(struct check *check)
{
    mrmr_autofree struct meta_intent *intents = calloc(CHECK_BATCH, sizeof *intents);
    int64_t after = 0;
    size_t n;
    if (!intents)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_intents_after(check->pool->meta, 0, after, intents, CHECK_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            struct mrmr_uuid uuid;
            uint64_t generation;
            unsigned index;
            bool temp;
            const char *name = strrchr(intents[i].file, '/');
            after = intents[i].id;
            if (!name || strncmp(intents[i].file, "parity/", 7) != 0 ||
                !row_name_parse(name + 1, &uuid, &generation, &index, &temp) || temp)
                pool_check_say(check, "an intent names no row: '%s'", intents[i].file);
            else if (!pool_drive_by_id(check->pool, intents[i].drive))
                pool_check_say(check, "an intent is for a drive that the pool does not have: '%s'",
                    intents[i].file);
        }
    } while (n);
    return MRMR_OK;
}

/* --- The whole --- */

static mrmr_err check_catalog(struct check *check)
{
    mrmr_err err = meta_check(check->pool->meta);
    if (mrmr_class_of(err) != MRMR_CLASS_CORRUPT)
        return err;
    pool_check_say_story(check, "the catalog");
    return MRMR_OK;
}

static mrmr_err check_stripes(struct check *check)
{
    int64_t ids[CHECK_BATCH], scrubbed = -1, last = 0;
    size_t n;
    do {
        MRMR_TRY(meta_stripes_to_scrub(
            check->pool->meta, scrubbed, last, INT64_MAX, ids, CHECK_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            struct meta_stripe image = {0};
            MRMR_TRY(meta_stripe_load(check->pool->meta, ids[i], &image));
            scrubbed = image.scrubbed;
            last = ids[i];
            mrmr_err err = pool_check_stripe(check, &image);
            meta_stripe_free(&image);
            MRMR_TRY(err);
        }
    } while (n);
    return MRMR_OK;
}

static mrmr_err check_all(struct check *check)
{
    MRMR_TRY(check_catalog(check));
    check_slots(check);
    for (size_t i = 0; i < check->pool->ndrives; i++) {
        check_session(check, check->pool->drives[i]);
        MRMR_TRY(check_retired(check, check->pool->drives[i]));
        MRMR_TRY(check_files(check, check->pool->drives[i]));
        MRMR_TRY(check_parity_files(check, check->pool->drives[i]));
        MRMR_TRY(check_leftovers(check, check->pool->drives[i]));
    }
    MRMR_TRY(check_intents(check));
    return check_stripes(check);
}

mrmr_err pool_check(
    struct pool *pool, bool deep, void (*fn)(const char *finding, void *arg), void *arg)
{
    struct check check = {.pool = pool, .deep = deep, .fn = fn, .arg = arg};
    MRMR_TRY(check_all(&check));
    return check.findings
               ? mrmr_fail(MRMR_CORRUPT, "%llu findings", (unsigned long long)check.findings)
               : MRMR_OK;
}
