/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/engine.h"

enum { SYNC_ROUNDS = 16 };

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
    return MRMR_OK;
}

mrmr_err pool_sync(struct pool *pool, const struct pool_job *job, bool accept_changes,
    struct pool_sync_report *ret_report)
{
    struct pool_sync_report report = {0};
    mrmr_err err = pool_scan(pool, job, accept_changes, &report);
    if (!err)
        err = pool_compare(pool, job, &report);
    pool_views_forget(pool, 0); /* extents got other states and ids */
    if (!err)
        err = pool_mend_and_protect(pool, job, accept_changes, &report);
    *ret_report = report;
    return err;
}
