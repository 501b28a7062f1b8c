/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a folder's names are those yet that were read, where nobody tells (tree_times.c).
 *
 * Input on drives: no lock is held.
 */
#ifndef MRMR_POOL_TREE_TIMES_H
#define MRMR_POOL_TREE_TIMES_H

#include "pool/tree/tree_drives.h"

/* When a folder's names changed last, on each of its drives that is not watched. */
struct tree_times {
    struct tree_time {
        size_t drive;
        uint64_t ino;
        int64_t ctime; /* the drive's */
        int64_t since; /* monotonic: when it was first seen */
    } * at;            /* owned */
    size_t n;
    bool fresh;   /* one of them may be from the tick in which the folder was read */
    bool unknown; /* one of them cannot be had, or not be trusted */
};

void tree_times_free(struct tree_times *times); /* the memory; reusable afterwards */
/* Before the drive's copy of the folder is read. was: of the time before. */
void tree_times_take(struct tree_times *times, const struct tree_times *was,
    const struct tree_drive *drive, const char *path);
/* The names that were read after these times were taken are those that are there now. */
bool tree_times_same(
    const struct pool_tree *tree, const struct tree_times *times, const char *path);
mrmr_err tree_times_copy(const struct tree_times *times, struct tree_times *ret_copy);

#endif
