/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A release: room comes back to the drives (I3). What was removed or overwritten through MRMR is taken into the
 * catalog without a scan (retained_take.c); what nobody wants any more and is retained is taken out of the
 * stripes, row by row with deltas where they can be (mend.c); and what no stripe counts on any more is removed
 * (retained_release.c). In turns, so that whoever waits for room has some of it soon: a release of the retained bytes looks
 * at all that the catalog has of the drive, so a turn lasts several times as long as that did.
 *
 * Crash argument. Each of the three has its own, and none depends on the one before it having been whole: a
 * cut leaves a catalog that counts on less, stripes that hold more than is wanted, or retained bytes that
 * nothing counts on, and the next release, or sync, goes on from there.
 */
#include "pool/drive/hung.h"
#include "pool/records/short.h"
#include "pool/retained/retained.h"

#include <string.h>

enum { TURN_LEAST_MS = 2000, TURN_OF_LETTING_GO = 8 };

struct release {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_sync_report *report;
    struct pool_mend_turn turn;
    struct pool_retained_taken taken;
    int64_t took;  /* the last letting go, ns */
    bool progress; /* in this round through the stripes */
    bool late;     /* something was taken in when a part of the round was over */
};

static uint64_t release_changes(const struct release *r)
{
    return r->report->stripes_changed + r->report->rows_dropped;
}

static mrmr_err release_let_go(struct release *r, struct pool_retained *retained)
{
    int64_t from = mrmr_clock_monotonic();
    MRMR_TRY(pool_retained_release(r->pool, r->job, retained));
    r->took = mrmr_clock_monotonic() - from;
    r->report->released_bytes += pool_retained_freed(retained);
    return MRMR_OK;
}

/* *ret_any false: nothing is retained anywhere. */
static mrmr_err release_turn(struct release *r, bool *ret_any)
{
    struct pool_retained *retained = NULL;
    uint64_t leaves = 0, before = release_changes(r);
    const int64_t least = TURN_LEAST_MS * (MRMR_NS_PER_S / 1000);
    const int64_t turn =
        r->took * TURN_OF_LETTING_GO > least ? r->took * TURN_OF_LETTING_GO : least;
    MRMR_TRY(pool_retained_list(r->pool, &retained));
    *ret_any = pool_retained_list_any(retained);
    mrmr_err err = MRMR_OK;
    r->taken.turn = turn;
    if (*ret_any)
        err = pool_retained_take_in(r->pool, r->job, retained, &r->taken, &leaves);
    r->report->retained_leaves += leaves;
    r->late = r->late || (leaves && r->turn.at);
    r->turn.until = mrmr_clock_monotonic() + turn;
    if (!err && *ret_any)
        err = pool_mend_release(r->pool, r->job, &r->turn, r->report);
    if (!err && *ret_any)
        err = release_let_go(r, retained);
    r->report->release_left_out = pool_retained_left_out(retained);
    r->progress = r->progress || release_changes(r) != before;
    pool_retained_free(retained);
    return err;
}

/* What waits for room is tried again for as long as some comes free. */
static mrmr_err release_all(struct release *r)
{
    bool any = true;
    while (any) {
        MRMR_TRY(release_turn(r, &any));
        if (!r->turn.all)
            continue;
        r->report->release_waits = r->turn.waits;
        memcpy(r->report->release_cause, r->turn.cause, sizeof r->turn.cause);
        if (r->taken.all && !r->late && (!r->turn.waits || !r->progress))
            return MRMR_OK;
        r->turn = (struct pool_mend_turn){0};
        r->progress = r->late = false;
    }
    return MRMR_OK;
}

mrmr_err pool_release(
    struct pool *pool, const struct pool_job *job, struct pool_sync_report *ret_report)
{
    struct pool_sync_report report = {0};
    struct release release = {.pool = pool, .job = job, .report = &report};
    struct meta_exposed_total exposed;
    if (pool->access != POOL_OWN)
        return mrmr_fail(MRMR_READONLY, "the pool was opened to look only");
    pool_hung_leave_out(pool, job);
    pool_short_step(pool->dirfd, POOL_SHORT_BEGAN);
    mrmr_err err = release_all(&release);
    mrmr_bytes_free(&release.taken.looked);
    pool_short_step(pool->dirfd, POOL_SHORT_ENDED);
    if (!err)
        err = meta_exposed_total(pool->meta, 0, &exposed);
    if (!err) {
        report.exposed_bytes = exposed.bytes;
        report.exposed_files = exposed.files;
    }
    *ret_report = report;
    return err;
}
