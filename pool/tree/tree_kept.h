/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names by which we keep files that have other names, too (retained.h): the file system counts them, people do not.
 *
 * Of a drive they are found in the folder in which they lie, at the first look at a file of several names since the drive
 * is in service, and noted as they are made by this tree; each is looked at whenever it matters, so what a sync has let go
 * of does not count. What another process keeps meanwhile (a sync that takes what waits for the drive, gone.h) is not
 * known, and counts until that sync lets go of it, at its end.
 *
 * Threads: any; locks of its own, under which nothing of the tree's is taken. Never fails: if the drive does not say
 * what lies there the log tells so, and a count may be too high.
 */
#ifndef MRMR_POOL_TREE_KEPT_H
#define MRMR_POOL_TREE_KEPT_H

#include "drivers/driver.h"
#include <pthread.h>

struct tree_drive;

/* Of one drive. */
struct tree_kept {
    pthread_mutex_t reading; /* over looking into the folder, I/O included */
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct tree_kept_name *name; /* by inode */
    size_t n, room;
    size_t most;      /* so many are noted; beyond that the folder is looked at anew */
    bool all;         /* those that were there before are among them */
    uint32_t changes; /* that they were forgotten */
    int64_t again_at; /* monotonic: the folder could not be read; 0: not so */
};

void tree_kept_start(struct tree_kept *kept);
void tree_kept_stop(struct tree_kept *kept);
/* A file that has other names, too, is kept at this path. */
void tree_kept_add(struct tree_drive *drive, uint64_t ino, const char *path);
/* The drive has gone, or another medium serves: it is looked at anew. */
void tree_kept_forget(struct tree_drive *drive);
/* How many names has what has this stat, without those. 0: it is known by an open file, or lost its name just now. */
uint32_t tree_kept_nlink(struct tree_drive *drive, const struct drv_stat *stat);

#endif
