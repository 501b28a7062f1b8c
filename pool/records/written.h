/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which leaves of which files were written to through MRMR, and since when not: what is written between the reading of a file's
 * bytes for parity and the commit cancels the leaves that it touches, and not all of the file (I3, I4).
 *
 * The file `written` in the pool's folder (written_format.h) has a moment for each of a fixed number of places. The place of a leaf comes from its
 * drive, inode and number; others may have the same one, and then each counts as written when any is. What touches more than
 * POOL_WRITTEN_WIDE leaves is noted of the inode as a whole, in places for that alone: all of a file would count as written as long as anybody
 * writes to a leaf that has its place. Of a resize it is what lies between where the file ended and where it ends (tree_write.c). So it does not grow, and a note is one number written.
 *
 * All of an inode is noted also where nobody is told which leaves, before the kernel gets it to use it itself (direct.h); in use it is
 * not claimed, so what is stored of it by then was noted since, or had ended.
 *
 * Against who writes meanwhile. Whoever writes notes the leaves among the writers (writers.h), before the write is issued.
 * Whoever reads for a commit takes a moment while they stand still, before its first read (begin), and asks while they stand
 * still again, at the commit (load, has). A write that was issued before begin had ended by then; one that was issued since, and ended or not,
 * as where it is late on another drive, was noted since. A note is never of an earlier moment than the last begin, which is in the file for that: so it
 * does not matter whether the clocks of the two are one.
 *
 * Crash argument. Nothing needs to be durable: what was begun before a cut is not committed after it. Who mounts makes the file anew,
 * with another life; who began under another life is told that all was written. Where a note cannot be made, the file
 * is cut to nothing, which takes no room, and has no life from then on; if not even that can be done, the write fails. Where the file is
 * not there, is another kind's, or was never made, all counts as written, and who asks goes by the file's stat alone, as by
 * a mount that does not note. So it does where nobody has the file's lock, which whoever notes has for as long as he is there: it was left behind, and
 * who mounted since may be of a version that does not know of it.
 *
 * Not seen: what is changed directly on a drive, for which there is the scan.
 *
 * Threads: a handle by any number; the rest as its pool.
 */
#ifndef MRMR_POOL_WRITTEN_H
#define MRMR_POOL_WRITTEN_H

#include "pool/engine.h"

enum { POOL_WRITTEN_WIDE = 64 };

/* --- who writes --- */

struct pool_written;
/* By whoever has the lock (mounted.h). dirfd: the pool's folder; it must stay open. A full folder is no error: then nothing is noted, and
 * all counts as written. */
mrmr_err pool_written_open(int dirfd, struct pool_written **ret_written);
void pool_written_close(struct pool_written *written); /* NULL-safe */
/* Among the writers, before bytes [from, to) are changed; none: nothing is noted. */
mrmr_err pool_written_note(
    struct pool_written *written, int64_t drive, uint64_t ino, uint64_t from, uint64_t to);

/* --- who reads for a commit --- */

/* A moment, of a life of the file; zeros: nothing is known. */
struct pool_written_since {
    uint64_t life;
    int64_t moment; /* of the monotonic clock, as near as can be */
};
/* While the writers stand still. */
struct pool_written_since pool_written_begin(struct pool *pool);

struct pool_written_table {
    uint64_t life; /* 0: nothing is known */
    int64_t *moment;
};
/* What was noted so far. MRMR_NOMEM. */
mrmr_err pool_written_load(struct pool *pool, struct pool_written_table *ret_table);
void pool_written_free(struct pool_written_table *table);
/* The leaf was written to since, or it is not known that it was not. */
bool pool_written_has(const struct pool_written_table *table, struct pool_written_since since,
    int64_t drive, uint64_t ino, uint64_t leaf);

#endif
