/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Settling: what the intents in the catalog say is finished or undone, at start and at the end of
 * each job.
 *
 * Crash argument. A file is removed only if a durable intent names it and the catalog's image does
 * not have it, so settling may be interrupted anywhere and run again: removing an absent file is
 * fine. Of a row that was being made again in place of a damaged one only the temporary file goes:
 * whichever of the two has the name, something may depend on it. An intent is removed only after the
 * removal of its file is durable (the folder is synced first), so no superseded row can come back
 * unnamed. Intents for drives that are away stay: a MAKE becomes a removal, a DROP is the obsolete
 * row.
 */
#include "pool/engine.h"

#include <stdio.h>
#include <string.h>

enum { SETTLE_BATCH = 256 };

/* The catalog's current image has this very file. Damaged, it may still be what other leaves are
 * decoded from, or the whole one that was to take its place: *ret_intact tells. */
static mrmr_err settle_counts(struct pool *pool, const struct mrmr_uuid *uuid, uint64_t generation,
    unsigned index, int64_t drive, bool *ret_counts, bool *ret_intact)
{
    int64_t id;
    *ret_counts = *ret_intact = false;
    mrmr_err err = meta_stripe_by_uuid(pool->meta, uuid, &id);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    if (!brief)
        return mrmr_nomem();
    MRMR_TRY(meta_stripe_brief_get(pool->meta, id, brief));
    for (uint32_t i = 0; brief->generation == generation && i < brief->rows; i++)
        if (brief->row[i].index == index && brief->row[i].drive == drive) {
            *ret_counts = true;
            *ret_intact = brief->row[i].state == META_ROW_OK;
        }
    return MRMR_OK;
}

static mrmr_err settle_remove_file(
    struct pool_drive *drive, const struct meta_intent *intent, bool temp_only)
{
    char path[POOL_ROW_PATH + sizeof POOL_DOT], temp[sizeof path + 1];
    snprintf(path, sizeof path, POOL_DOT "/%s", intent->file);
    snprintf(temp, sizeof temp, "%s~", path);
    mrmr_err gone = temp_only ? drv_unlink(drive->drv, temp) : pool_row_remove(drive->drv, path);
    if (gone && mrmr_class_of(gone) != MRMR_CLASS_ABSENT)
        return gone;
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
    bool counts, intact;
    *ret_done = false;
    if (!pool_row_file_parse(intent->file, &uuid, &generation, &index))
        return mrmr_err_path(mrmr_fail(MRMR_CORRUPT, "an intent names no row"), intent->file);
    MRMR_TRY(settle_counts(pool, &uuid, generation, index, intent->drive, &counts, &intact));
    *ret_done = counts && intact;
    if (*ret_done || !pool_drive_writable(drive) ||
        (!counts && pool_view_pinned(pool, &uuid, generation)))
        return MRMR_OK;
    mrmr_err err = pool_drive_attach(pool, drive);
    if (!err)
        err = settle_remove_file(drive, intent, counts);
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
