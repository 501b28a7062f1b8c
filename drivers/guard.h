/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A decorator that keeps a drive which hangs from taking its callers with it: no op of the inner
 * drive runs on the caller's thread. A bounded number of threads of the guard's own run them, each
 * with a deadline. An op that does not come back in time is given up (MRMR_TIMEOUT), its thread is
 * left to the kernel, and the drive is cut off: from then on every op is MRMR_OFFLINE at once, those
 * that wait included, until another inner drive is put in. An inner drive that says MRMR_OFFLINE is
 * cut off likewise.
 *
 *     drv_guard_create(&options, &drv);      cut off, until:
 *     drv_guard_put(drv, inner);
 *
 * An inner drive that answers MRMR_IO (EIO and its kin, by which media fail, and no other errno), whatever for, in as many different seconds of a minute as is set is cut off, too, with
 * MRMR_IO: a burst of them, as where somebody reads a bad place, counts once a second.
 *
 * States: cut off <-> serving one inner drive. A file stays with the inner drive on which it was
 * opened: after a cut it is MRMR_OFFLINE for ever, also when the same root is put in again.
 *
 * The deadline is counted from when an op begins. Before that it may wait as long for a thread, or
 * longer while slow ops run (below), which have half of the threads at most.
 *
 * Listing has its deadline for each entry, not for the whole. Slow ops: syncing, cloning and copying
 * write out what is in memory, which takes long on a healthy slow disk, so file_sync, dir_sync,
 * sync_all, clone, file_clone_range and file_copy have ten times the deadline. A copy is of 64 MiB
 * at most; the caller goes on, as after any short copy.
 *
 * A change that was given up, or was under way when the drive was cut off, may or may not have
 * happened, or may happen yet, as long as drv_guard_stuck() counts its thread. It reads nothing of
 * the caller's by then. Whoever must know when it is over begins a hold (hold.h) before the op: that
 * lasts until the op has come back from the inner drive, however late. A file that is made too late goes
 * again before that, if it is still empty: its caller may have made it elsewhere.
 *
 * Ops run as the caller that their thread acts as (drv_act_as).
 *
 * Threads: any function, any time. Ownership: put takes the inner drive, which is closed when it was
 * cut off and its last op and file are done: a drive that hangs for ever is never closed, nor is the
 * memory of the ops that hang in it given back.
 */
#ifndef MRMR_DRIVERS_GUARD_H
#define MRMR_DRIVERS_GUARD_H

#include "drivers/driver.h"

struct drv_guard_options {
    unsigned threads; /* at once, for one inner drive */
    int64_t deadline; /* ns */
    int64_t id;       /* the drive's, for whoever holds (drv_hold_gave_up); 0: none */
    /* enum drv_cap: an inner drive that has not all of these is only read. Whatever would change something on it, and opening a
     * file to write, is MRMR_READONLY; and it is not DRV_CAP_WRITABLE. */
    uint32_t changes_take;
    /* Called once after each cut, from the thread that found it, without a lock. May be NULL. */
    void (*cut)(mrmr_err why, void *arg);
    void *arg;
};

mrmr_err drv_guard_create(const struct drv_guard_options *options, struct drv **ret_guard);
/* What an inner drive with these can do behind it. */
uint32_t drv_guard_caps(const struct drv *guard, uint32_t caps);
/* Serve this drive from now on. One that was served before is cut off, without a call. */
mrmr_err drv_guard_put(struct drv *guard, struct drv *inner);
/* Cut off by the caller's own judgement; nothing if it is already. */
void drv_guard_cut(struct drv *guard, mrmr_err why);
bool drv_guard_serves(struct drv *guard);
/* Seconds with errors in a minute, 1 to 60, of which an inner drive is cut off; 0, as at first: never. */
void drv_guard_error_limit(struct drv *guard, unsigned seconds);
/* Every inner drive that was ever put in is closed: nothing of them is held open by it, or by files of it. */
bool drv_guard_idle(struct drv *guard);
/* Ops that were given up and have not come back. */
unsigned drv_guard_stuck(struct drv *guard);
/* For how long the op that has run longest has been running, of those of the drive that is served now; ns, 0: none runs. */
int64_t drv_guard_slowest(struct drv *guard);
/* Changes, and all for which somebody holds (hold.h), of these and of those that ran when their inner
 * drive was cut off. Whoever puts an inner drive in before they are over may have a later change
 * overtaken by them. */
unsigned drv_guard_late(struct drv *guard);

#endif
