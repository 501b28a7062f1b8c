/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/drive/failing.h"
#include "pool/drive/hung.h"
#include "pool/engine.h"
#include "pool/events/noted.h"
#include "pool/records/brought.h"
#include "pool/records/touched.h"
#include "pool/retained/retained.h"

enum { SYNC_ROUNDS = 4096, SYNC_BATCH = 256 };

static uint64_t sync_changes(const struct pool_sync_report *report)
{
    return report->stripes_made + report->stripes_changed + report->rows_made +
           report->rows_dropped;
}

/* Mending exposes what has to move and protecting makes old bytes superfluous, so they take turns
 * until neither has anything to do. */
mrmr_err pool_mend_and_protect(struct pool *pool, const struct pool_job *job,
    const struct pool_sync_options *options, struct pool_sync_report *report)
{
    const bool accept_losses = options && options->accept_changes;
    uint64_t skipped = report->skipped;
    for (unsigned round = 0; round < SYNC_ROUNDS; round++) {
        report->skipped = skipped; /* each round tries them again, and counts them */
        uint64_t before = sync_changes(report);
        MRMR_TRY(pool_mend(pool, job, accept_losses, report));
        MRMR_TRY(pool_protect(pool, job, options, report));
        if (sync_changes(report) == before)
            break;
    }
    return pool_mend_return(pool);
}

/* The extent's first leaf is lost for good: a drive that is away will not bring it back. */
static mrmr_err sync_is_lost(
    struct pool *pool, const struct meta_extent *extent, void *buf, bool *ret_lost)
{
    struct meta_stripe stripe = {0};
    *ret_lost = false;
    if (!pool_extent_wanted(extent) ||
        pool_extent_leaf_read(pool, extent, 0, POOL_LEAF_ANY, buf, NULL) != MRMR_LOST)
        return MRMR_OK;
    MRMR_TRY(meta_stripe_load(pool->meta, extent->stripe, &stripe));
    *ret_lost = pool_stripe_answers(pool, &stripe);
    meta_stripe_free(&stripe);
    return MRMR_OK;
}

/* A rebuild can bring the node back whole, as far as is known. tried: one has gone through all that
 * waits, and what has no bytes and still waits could not be made. */
static mrmr_err sync_comes_back(
    struct pool *pool, const struct meta_node *node, bool tried, bool *ret_whole)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    mrmr_autofree void *buf = malloc(META_LEAF);
    size_t n = 0, nranges = 0, size;
    bool lost = false;
    if (!buf)
        return mrmr_nomem();
    MRMR_TRY(meta_extents_of(pool->meta, node->id, &extents, &n));
    MRMR_TRY(meta_exposed_of(pool->meta, node->id, &ranges, &nranges));
    for (size_t i = 0; i < n && !lost; i++)
        MRMR_TRY(sync_is_lost(pool, &extents[i], buf, &lost));
    for (size_t i = 0; i < nranges && !lost; i++)
        lost = pool_leaf_stand_in(pool, node, ranges[i].first, buf, &size) != MRMR_OK;
    *ret_whole = !lost && (n || nranges || !tried);
    return MRMR_OK;
}

/* Something that waits to be brought back to the drive can be. */
static mrmr_err sync_rebuild_goes_on(
    struct pool *pool, const struct pool_drive *drive, bool *ret_goes_on)
{
    int64_t nodes[SYNC_BATCH], after = 0;
    size_t n;
    bool tried;
    *ret_goes_on = false;
    MRMR_TRY(pool_rebuild_was_tried(pool, drive, &tried));
    do {
        MRMR_TRY(meta_todo_after(pool->meta, POOL_REBUILD_JOB, after, nodes, SYNC_BATCH, &n));
        for (size_t i = 0; i < n && !*ret_goes_on; i++) {
            struct meta_node node;
            after = nodes[i];
            MRMR_TRY(meta_node_get(pool->meta, nodes[i], &node));
            if (node.drive == drive->meta.id)
                MRMR_TRY(sync_comes_back(pool, &node, tried, ret_goes_on));
        }
    } while (n && !*ret_goes_on);
    return MRMR_OK;
}

/* The user's word on a drive that is being rebuilt: what could not be brought back is given up, and
 * the drive is one like the others again. */
static mrmr_err sync_end_rebuild(
    struct pool *pool, const struct pool_job *job, struct pool_drive *drive)
{
    int64_t nodes[SYNC_BATCH], after = 0;
    size_t n;
    if (drive->meta.state != META_DRIVE_REBUILDING || !pool_drive_present(drive))
        return MRMR_OK;
    bool goes_on;
    MRMR_TRY(sync_rebuild_goes_on(pool, drive, &goes_on));
    if (goes_on) {
        pool_tell(pool, job, true, "rebuild-unfinished", drive,
            "drive %s is not whole yet, and what it lacks can still be brought back: nothing of "
            "it is given up; go on with: mrmr rebuild %s",
            drive->meta.name, drive->meta.name);
        return MRMR_OK;
    }
    do {
        MRMR_TRY(meta_todo_after(pool->meta, POOL_REBUILD_JOB, after, nodes, SYNC_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            struct meta_node node;
            after = nodes[i];
            MRMR_TRY(meta_node_get(pool->meta, nodes[i], &node));
            if (node.drive == drive->meta.id)
                MRMR_TRY(meta_todo_done(pool->meta, POOL_REBUILD_JOB, nodes[i]));
        }
    } while (n);
    drive->meta.state = META_DRIVE_ACTIVE;
    return meta_drive_store(pool->meta, &drive->meta);
}

/* A look that was broken off is gone on with. */
static mrmr_err sync_looked(struct pool *pool, mrmr_err err)
{
    struct mrmr_story story;
    if (!err)
        return meta_sequence_shared(pool->meta, true);
    mrmr_story_save(&story);
    meta_sequence_shared(pool->meta, false);
    return mrmr_story_restore(&story);
}

mrmr_err pool_sync(struct pool *pool, const struct pool_job *job,
    const struct pool_sync_options *options, struct pool_sync_report *ret_report)
{
    const bool accept_changes = options && options->accept_changes;
    const int64_t begun = mrmr_clock_monotonic();
    struct pool_sync_report report = {0};
    struct pool_retained *retained = NULL;
    struct pool_brought brought = {.n = 0};
    if (options && options->release)
        return pool_release(pool, job, ret_report);
    for (size_t i = 0; accept_changes && i < pool->ndrives; i++)
        MRMR_TRY(sync_end_rebuild(pool, job, pool->drives[i]));
    MRMR_TRY(pool_noted_take(pool, job));
    pool_hung_leave_out(pool, job);
    MRMR_TRY(pool_brought_load(pool, &brought));
    mrmr_err err = pool_retained_list(pool, &retained);
    meta_sequence_share(pool->meta);
    if (!err)
        err = pool_scan(pool, job, accept_changes, &report);
    if (!err)
        pool_brought_forget(pool, &brought);
    pool_brought_free(&brought);
    report.looking = mrmr_clock_monotonic() - begun;
    if (!err)
        err = pool_compare(pool, job, &report);
    err = sync_looked(pool, err);
    pool_views_forget(pool, 0); /* extents got other states and ids */
    if (!err)
        err = pool_mend_and_protect(pool, job, options, &report);
    if (!err)
        err = pool_touched_settle(pool, job);
    if (!err)
        err = pool_retained_release(pool, job, retained);
    pool_retained_free(retained);
    pool_failing_tell(pool, job);
    if (!err)
        err = pool_let_go_retired(pool, job);
    if (!err)
        err = pool_catalog_copy(pool, job, POOL_COPIES_ALL, NULL);
    *ret_report = report;
    return err;
}
