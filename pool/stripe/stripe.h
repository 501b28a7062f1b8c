/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A change of one stripe on its way to the commit: what stripe.c hands to the planning of its lanes
 * and rows and to their making. The whole's crash argument is stripe.c's.
 */
#ifndef MRMR_POOL_STRIPE_H
#define MRMR_POOL_STRIPE_H

#include "pool/records/written.h"
#include "pool/stripe/lane.h"

/* One row file being made. */
struct pool_run_row {
    struct pool_run *run;
    struct meta_row *row; /* in change->next */
    struct pool_drive *drive;
    char path[POOL_ROW_PATH];
    int64_t intent;
    struct pool_row_writer *writer;
    bool named; /* finished: the final name is there */
    bool slack; /* it is made in the drive's slack */
    struct pool_ring ring;
    pthread_t thread;
    bool started;
    struct mrmr_story story;
};

struct pool_run {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_change *change;
    struct pool_view *view, *other_view;
    struct pool_lane *lanes;
    size_t nlanes, lanes_room;
    struct pool_run_row row[META_ROWS_MAX];
    unsigned nrows;
    struct pool_drive *gave
        [META_ROWS_MAX]; /* their slack, so that a row has room beside the one that it replaces */
    unsigned ngave;
    size_t window;
    uint64_t turn;                   /* of writers, when it began */
    struct pool_written_since since; /* likewise: what is noted from then on was written since */
    struct mrmr_bytes body;          /* of the manifests */
};

/* stripe_plan.c: the views of the generations that are read (pinned), the next one's number, the rows
 * that are made and on which drives, and the lanes that they are made from. Writes nothing; sets no
 * row of next but its state. MRMR_CHANGED: a stripe has a newer generation. MRMR_CONFLICT: it would
 * gain members, and is not whole (I2). MRMR_OFFLINE: a drive that shall take a row cannot be
 * written. What it took is run's, also on failure. */
mrmr_err pool_run_plan(struct pool_run *run);

/* stripe_make.c: all rows, written, synced and named. The intents must be durable. On failure all
 * threads have ended; what is on the drives is the caller's to undo. MRMR_CHANGED with
 * change->unstable: a file changed while it was read. */
mrmr_err pool_run_make(struct pool_run *run);

#endif
