/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/engine.h"

enum { SYNC_ROUNDS = 4096, SYNC_BATCH = 256 };

static uint64_t sync_changes(const struct pool_sync_report *report)
{
    return report->stripes_made + report->stripes_changed + report->rows_made +
           report->rows_dropped;
}

/* Mending exposes what has to move and protecting makes old bytes superfluous, so they take turns
 * until neither has anything to do. */
mrmr_err pool_mend_and_protect(struct pool *pool, const struct pool_job *job, bool accept_losses,
    struct pool_sync_report *report)
{
    uint64_t skipped = report->skipped;
    for (unsigned round = 0; round < SYNC_ROUNDS; round++) {
        report->skipped = skipped; /* each round tries them again, and counts them */
        uint64_t before = sync_changes(report);
        MRMR_TRY(pool_mend(pool, job, accept_losses, report));
        MRMR_TRY(pool_protect(pool, job, report));
        if (sync_changes(report) == before)
            break;
    }
    return pool_mend_return(pool);
}

/* The user's word on a drive that is being rebuilt: what could not be brought back is given up, and
 * the drive is one like the others again. */
static mrmr_err sync_end_rebuild(struct pool *pool, struct pool_drive *drive)
{
    int64_t nodes[SYNC_BATCH], after = 0;
    size_t n;
    if (drive->meta.state != META_DRIVE_REBUILDING || !pool_drive_present(drive))
        return MRMR_OK;
    do {
        MRMR_TRY(meta_todo_after(pool->meta, "rebuild", after, nodes, SYNC_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            struct meta_node node;
            after = nodes[i];
            MRMR_TRY(meta_node_get(pool->meta, nodes[i], &node));
            if (node.drive == drive->meta.id)
                MRMR_TRY(meta_todo_done(pool->meta, "rebuild", nodes[i]));
        }
    } while (n);
    drive->meta.state = META_DRIVE_ACTIVE;
    return meta_drive_store(pool->meta, &drive->meta);
}

mrmr_err pool_sync(struct pool *pool, const struct pool_job *job, bool accept_changes,
    struct pool_sync_report *ret_report)
{
    struct pool_sync_report report = {0};
    for (size_t i = 0; accept_changes && i < pool->ndrives; i++)
        MRMR_TRY(sync_end_rebuild(pool, pool->drives[i]));
    mrmr_err err = pool_scan(pool, job, accept_changes, &report);
    if (!err)
        err = pool_compare(pool, job, &report);
    pool_views_forget(pool, 0); /* extents got other states and ids */
    if (!err)
        err = pool_mend_and_protect(pool, job, accept_changes, &report);
    if (!err)
        err = pool_let_go_retired(pool, job);
    if (!err)
        err = pool_catalog_copy(pool, job, POOL_COPIES_ALL, NULL);
    *ret_report = report;
    return err;
}
