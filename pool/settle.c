/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Settling: what the intents in the catalog say is finished or undone, at start and at the end of
 * each job.
 *
 * Crash argument. A file is removed only if a durable intent names it and the catalog's image does
 * not count on it, so settling may be interrupted anywhere and run again: removing an absent file
 * is fine. An intent is removed only after the removal of its file is durable (the folder is synced
 * first), so no superseded row can come back unnamed. Intents for drives that are away stay: a MAKE
 * becomes a removal, a DROP is the obsolete row.
 */
#include "pool/engine.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

enum { SETTLE_BATCH = 256 };

/* "parity/3f/<32 hex>-g<generation>.<index>" */
static bool row_file_parse(
    const char *file, struct mrmr_uuid *ret_stripe, uint64_t *ret_generation, unsigned *ret_index)
{
    const char *name = strrchr(file, '/');
    if (!name || strlen(name) < 2 * MRMR_UUID_SIZE + 6)
        return false;
    name++;
    char hex[2 * MRMR_UUID_SIZE + 1];
    memcpy(hex, name, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    unsigned long long generation;
    return mrmr_text_unhex(hex, MRMR_UUID_SIZE, ret_stripe) &&
           sscanf(name + sizeof hex - 1, "-g%llu.%u", &generation, ret_index) == 2 &&
           ((*ret_generation = generation), true);
}

/* The catalog's current image counts on this very file. */
static mrmr_err settle_counts(struct pool *pool, const struct meta_intent *intent, bool *ret_counts)
{
    struct mrmr_uuid uuid;
    uint64_t generation;
    unsigned index;
    *ret_counts = false;
    if (!row_file_parse(intent->file, &uuid, &generation, &index))
        return mrmr_err_path(mrmr_fail(MRMR_CORRUPT, "an intent names no row"), intent->file);
    int64_t id;
    mrmr_err err = meta_stripe_by_uuid(pool->meta, &uuid, &id);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    if (!brief)
        return mrmr_nomem();
    MRMR_TRY(meta_stripe_brief_get(pool->meta, id, brief));
    for (uint32_t i = 0; brief->generation == generation && i < brief->rows; i++)
        if (brief->row[i].index == index && brief->row[i].drive == intent->drive &&
            brief->row[i].state == META_ROW_OK)
            *ret_counts = true;
    return MRMR_OK;
}

static mrmr_err settle_remove_file(struct pool_drive *drive, const struct meta_intent *intent)
{
    char path[POOL_ROW_PATH + sizeof POOL_DOT];
    snprintf(path, sizeof path, POOL_DOT "/%s", intent->file);
    MRMR_TRY(pool_row_remove(drive->drv, path));
    *strrchr(path, '/') = '\0';
    mrmr_err err = drv_dir_sync(drive->drv, path);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

/* *ret_done: the intent can go. */
static mrmr_err settle_one(struct pool *pool, const struct meta_intent *intent, bool *ret_done)
{
    struct pool_drive *drive = pool_drive_by_id(pool, intent->drive);
    struct mrmr_uuid uuid;
    uint64_t generation;
    unsigned index;
    bool counts;
    *ret_done = false;
    MRMR_TRY(settle_counts(pool, intent, &counts));
    if (counts) {
        *ret_done = true;
        return MRMR_OK;
    }
    if (!pool_drive_writable(drive) || (row_file_parse(intent->file, &uuid, &generation, &index) &&
                                           pool_view_pinned(pool, &uuid, generation)))
        return MRMR_OK;
    mrmr_err err = pool_drive_attach(pool, drive);
    if (!err)
        err = settle_remove_file(drive, intent);
    if (err) {
        mrmr_err_drive(err, drive->meta.name);
        mrmr_log_story(MRMR_LOG_INFO, "a superseded row stays for now");
        return MRMR_OK;
    }
    *ret_done = true;
    return MRMR_OK;
}

struct settle_batch {
    struct meta_intent intent[SETTLE_BATCH];
    bool done[SETTLE_BATCH];
    size_t n;
};

static mrmr_err settle_forget(struct meta *meta, void *arg)
{
    const struct settle_batch *batch = arg;
    for (size_t i = 0; i < batch->n; i++)
        if (batch->done[i])
            MRMR_TRY(meta_intent_remove(meta, batch->intent[i].id));
    return MRMR_OK;
}

mrmr_err pool_intents_settle(struct pool *pool)
{
    mrmr_autofree struct settle_batch *batch = malloc(sizeof *batch);
    if (!batch)
        return mrmr_nomem();
    int64_t after = 0;
    for (;;) {
        MRMR_TRY(meta_intents_after(pool->meta, 0, after, batch->intent, SETTLE_BATCH, &batch->n));
        if (!batch->n)
            return MRMR_OK;
        bool any = false;
        for (size_t i = 0; i < batch->n; i++) {
            MRMR_TRY(settle_one(pool, &batch->intent[i], &batch->done[i]));
            any = any || batch->done[i];
        }
        after = batch->intent[batch->n - 1].id;
        if (any)
            MRMR_TRY(meta_atomically(pool->meta, settle_forget, batch));
    }
}
