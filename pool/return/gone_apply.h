/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was removed while its drive was away, and what came late, goes from the drive; then comes what else was asked of its folders
 * (later_apply.h). For whoever takes a drive into service, and for the scan.
 *
 * Guarantee: only what was removed goes, or what we made (I1). The crash argument is gone.h's, and gone_apply.c's. Threads: any; one
 * applies at a time, of all processes. Errors: the drive's, and the pool's folder's; the records that are not over wait.
 */
#ifndef MRMR_POOL_GONE_APPLY_H
#define MRMR_POOL_GONE_APPLY_H

#include "pool/records/gone.h"

/* Removes from the drive what is recorded for it. The drive answers, and may be written. The pool's owner waits
 * for whoever does so now, and a mount for a moment: MRMR_BUSY, which names the owner. keeping is
 * held over making something retained on it; NULL: the owner, for whom the writers stand still for each name that goes. *ret_left (may be NULL): records that wait
 * still, each of which is told of. Not among the writers. */
mrmr_err pool_gone_apply(struct pool *pool, const struct pool_job *job, struct pool_gone *gone,
    struct pool_drive *drive, pthread_mutex_t *keeping, size_t *ret_left);

/* The same of a file or folder alone that was removed from either of these paths (of the catalog; NULL: none), as far as
 * nothing need be compared. until: monotonic. MRMR_BUSY: it is there still; another applies, or it failed, of
 * which was told. Not among the writers. */
mrmr_err pool_gone_apply_name(struct pool *pool, struct pool_gone *gone, struct pool_drive *drive,
    pthread_mutex_t *keeping, const char *const path[2], int64_t until);

#endif
