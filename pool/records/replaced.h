/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that got another inode in their place, the same file to its user: what repair.c exchanged.
 * Whoever holds one open, as a mount does, has to come to the new inode, and to know it for the same
 * file.
 *
 * The file `replaced` in the pool's folder has a record for each, 32 bytes as this machine has them:
 * the drive's id in the catalog, the inode that had the place, the one that has it now, and the birth
 * time of the first. Records are appended and not synced: only a process that holds something open
 * needs them, and they are of no use to a later one.
 *
 * Whoever adds one has stopped the writers (writers.h), adds it before the exchange, and lets them go
 * after it. So a reader who is among the writers sees both or neither, or a record of an exchange that
 * failed: he looks at what has the place now. Who mounts drops all records, among the writers likewise.
 */
#ifndef MRMR_POOL_REPLACED_H
#define MRMR_POOL_REPLACED_H

#include "pool/engine.h"

struct pool_replaced {
    int64_t drive;
    uint64_t was, now;
    int64_t btime; /* of what was there */
};

/* Nothing to do where the drive has no stable inode numbers. */
mrmr_err pool_replaced_add(struct pool *pool, const struct pool_drive *drive,
    const struct drv_stat *was, const struct drv_stat *now);

/* To read: a descriptor, to be closed by the caller, of an empty file. Among the writers. */
mrmr_err pool_replaced_open(int dirfd, int *ret_fd);
mrmr_err pool_replaced_size(int fd, uint64_t *ret_size);
/* Appends what is there from `offset` on, as struct pool_replaced. */
mrmr_err pool_replaced_read(int fd, uint64_t offset, struct mrmr_bytes *records);

#endif
