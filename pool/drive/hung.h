/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives on which a change hangs that was made through the pool's mount: the mount has given it up
 * after its deadline (guard.h), and it may be carried out yet (writers.h). No such drive takes part in
 * what the owner of the pool does: nothing of it is scanned, claimed, let go of or replaced, its files
 * and what is kept of them stay as they are, and the other drives are protected without it. It counts
 * as one that failed, for as long as the change hangs, or until the job after that: within a job there
 * are verdicts only. What is open on the drive stays so until the next one begins, and a drive that answers
 * again was not scanned in this one.
 *
 * Nothing here asks the drive, which might not answer: the kernel is asked for the locks of those that
 * are late.
 *
 * Threads: hangs and the stops any; the others the owner's, between changes.
 */
#ifndef MRMR_POOL_HUNG_H
#define MRMR_POOL_HUNG_H

#include "pool/engine.h"
#include "pool/writers.h"

/* What a change is late on: the medium that a drive is now, by its uuid, and not its place in the
 * catalog. A fresh drive that takes over the place of one on which a change hangs for good
 * (rebuild --onto) is another medium, on which nothing hangs. Positive. */
int64_t pool_drive_medium(const struct meta_drive *meta);
/* Now. If the locks cannot be looked at it does not, which is logged. */
bool pool_drive_hangs(const struct pool *pool, const struct pool_drive *drive);
/* The verdict on a drive that hangs: it has failed. */
void pool_drive_hung_verdict(struct pool_drive *drive);
/* In a job: it hangs, and is left out of the rest, which is told. */
void pool_drive_leave_out(struct pool *pool, const struct pool_job *job, struct pool_drive *drive);
/* A job begins, nobody holds a view, and nothing else is open on a drive: drives that hang are left
 * out of it, and told of; one that hung before and does not any more is looked at again. */
void pool_hung_leave_out(struct pool *pool, const struct pool_job *job);

/* Writers stand still for what concerns these drives alone. MRMR_OFFLINE, with the drive: a change
 * hangs on it, and has not ended while it was waited for; the caller leaves the drive out. MRMR_BUSY,
 * MRMR_CANCELLED: as pool_writers_stop. go: pool_writers_go. */
mrmr_err pool_stop_for(
    struct pool *pool, const struct pool_job *job, const int64_t drives[], size_t n);
mrmr_err pool_stop_for_after(struct pool *pool, const struct pool_job *job, const int64_t drives[],
    size_t n, pool_writers_look look, void *arg);
/* The same for those of them on which no change hangs: the first *n are left. */
mrmr_err pool_stop_for_some(
    struct pool *pool, const struct pool_job *job, int64_t drives[], size_t *n);
/* For all drives that are in service. Those on which a change hangs are left out from then on: who
 * goes by what is in service looks after this. */
mrmr_err pool_stop_for_all(struct pool *pool, const struct pool_job *job);

#endif
