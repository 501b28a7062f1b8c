/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives that answer errors again and again while a mount uses them: such a drive is out of service until the user says
 * otherwise (mrmr attach), or until it was seen gone, as where it is plugged into another port, and is there again. Its files are
 * read by reconstruction meanwhile, and what is written goes elsewhere.
 *
 * A job of the owner leaves it in service, and goes on past what cannot be read: what can be read of a drive that dies is to be
 * protected while it can, and repaired; it tells of it.
 *
 * Who finds that is a mount, which cannot write the catalog. So it is a file in the pool's folder, which has nothing in it:
 * "failing-<uuid of the drive>", and when the drive was seen gone "failed-<uuid>": then it is used when it is there, and the
 * file is removed by whoever uses it. (detached.h is the same by the user's word.)
 *
 * Crash argument. The first name is synced; before it is, the mount alone leaves the drive out, and who starts
 * after a power cut finds out anew. No bytes hang on it: what was acknowledged is on the drive, or was told to be lost when the drive was cut
 * off (guard.h), as of any drive that goes. A file that is left of a drive which was given up is rubbish of no bytes.
 *
 * Threads: any.
 */
#ifndef MRMR_POOL_FAILING_H
#define MRMR_POOL_FAILING_H

#include "pool/engine.h"

enum pool_failing {
    POOL_FAILING_NOT,
    POOL_FAILING_HERE, /* not seen gone since */
    POOL_FAILING_WENT, /* it is used when it is there again */
};
enum pool_failing pool_failing_get(const struct pool *pool, const struct mrmr_uuid *drive);
/* Durable. */
mrmr_err pool_failing_set(const struct pool *pool, const struct mrmr_uuid *drive);
/* It is gone now. A pool's folder that cannot be written is logged. */
void pool_failing_goes(const struct pool *pool, const struct mrmr_uuid *drive);
/* It was seen gone, and is used again: that it failed since, which another may have noted just now, stays. */
void pool_failing_back(const struct pool *pool, const struct mrmr_uuid *drive);
/* It is used again by the user's word. */
void pool_failing_over(const struct pool *pool, const struct mrmr_uuid *drive);
/* The owner's job is at its end: the drives that answered errors in so many different seconds of it (set error-limit) are told of. */
void pool_failing_tell(struct pool *pool, const struct pool_job *job);
/* The story of one that is out of service for that; returns MRMR_IO. */
mrmr_err pool_failing_fail(const char *name);

#endif
