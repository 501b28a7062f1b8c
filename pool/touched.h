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
 *
 * Where a drive has no stable ctime, a time that is set back hides a write: there a file whose inode
 * is here is never unchanged by its stat alone. A stripe claims nothing of it, the next scan has it
 * read and compared, and its record stays until a scan has seen all of the drive. Without stable
 * inode numbers either, nothing tells.
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
/* By its stat the file may be unchanged, and it is not to be believed: see above. */
static inline bool pool_touched_hides(
    const struct pool_touched *touched, const struct pool_drive *drive, uint64_t ino)
{
    return !(drive->info.caps & DRV_CAP_STABLE_CTIME) &&
           pool_touched_has(touched, drive->meta.id, ino);
}
/* The same, where nothing is loaded. */
mrmr_err pool_touched_may_hide(
    struct pool *pool, const struct pool_drive *drive, uint64_t ino, bool *ret_may);
void pool_touched_free(struct pool_touched *touched);
/* A scan has ended: records of these drives within the first `size` bytes are done with, and a new
 * epoch begins, since inodes may be other nodes now. A drive on which a change hangs keeps its records,
 * and drives[] is without it after. POOL_OWN. */
mrmr_err pool_touched_drop(
    struct pool *pool, const struct pool_job *job, uint64_t size, int64_t drives[], size_t ndrives);

#endif
