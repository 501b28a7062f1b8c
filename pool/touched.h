/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inodes whose bytes were changed, or which were removed, through MRMR. What the scan finds of them
 * is the user's word, however much it is and whatever the times say, and causes no hold (I5).
 *
 * The file `touched` in the pool's folder has a record for each: the drive's id in the catalog and
 * the inode's number, 8 bytes each, as this machine has them. Records are appended, and not synced:
 * where one is lost, the worst that comes of it is a hold that asks the user.
 *
 * Whoever adds is among the writers (writers.h), opens the file anew at each epoch that it has not
 * seen, and adds before it makes the change. The scan loads the records after it has walked the
 * drives, and drops those that were there before it began.
 */
#ifndef MRMR_POOL_TOUCHED_H
#define MRMR_POOL_TOUCHED_H

#include "pool/engine.h"

struct pool_touched_inode {
    int64_t drive;
    uint64_t ino;
};

/* To add: a descriptor, to be closed by the caller. */
mrmr_err pool_touched_open(int dirfd, int *ret_fd);
mrmr_err pool_touched_add(int fd, int64_t drive, uint64_t ino);

struct pool_touched {
    struct pool_touched_inode *inode; /* sorted */
    size_t n;
};
/* Bytes of records; 0 if there are none. */
mrmr_err pool_touched_size(struct pool *pool, uint64_t *ret_size);
mrmr_err pool_touched_load(struct pool *pool, struct pool_touched *ret_touched);
bool pool_touched_has(const struct pool_touched *touched, int64_t drive, uint64_t ino);
void pool_touched_free(struct pool_touched *touched);
/* A scan has ended: records of these drives within the first `size` bytes are done with, and a new
 * epoch begins, since inodes may be other nodes now. POOL_OWN. */
mrmr_err pool_touched_drop(struct pool *pool, const struct pool_job *job, uint64_t size,
    const int64_t drives[], size_t ndrives);

#endif
