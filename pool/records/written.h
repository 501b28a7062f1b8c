/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which leaves of which files were written to through MRMR, and since when not: what is written between the reading of a file's
 * bytes for parity and the commit cancels the leaves that it touches, and not all of the file (I3, I4); and of a file that was written to
 * since its drive was scanned, and whose drive is away, the other leaves can be read.
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
 * Who reads without the drive. A scan takes a moment, too, while the writers stand still, before it walks, and leaves it here for each drive that it
 * has judged, when that is in the catalog (scanned). Of a leaf with no note since then the file has had the same bytes ever since. What the
 * catalog says is in place on that drive was read there, or found to be as it was read, after that moment: by the scan itself, by the
 * comparison of what it found changed, which counts for nothing until it is compared, or by a commit. So whatever the file had at that look
 * it has now, and that is what the catalog has the digest of. This holds for each moment that was left here, however much was
 * scanned and committed since: who reads takes it before he asks the catalog, and goes by it for as long as he has the file open. It does not hold where
 * the file ends elsewhere, or its inode may be another file's: what makes a file longer than it was, and what takes a name from it, is noted of the inode by
 * itself, in places for that alone, since the leaves of a file that grows are claimed all the same; what makes it shorter is noted of what it cuts off,
 * and from there on it grows: the scan may have met it as it was then. A moment is
 * left only where the scan saw all of the drive and held nothing; where no change was late (writers.h), which would have been noted before that moment,
 * and done after it; and where no file was in direct use then: of one that began since, all of it was noted since.
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
/* Likewise, before it may become longer than it is, or a name of it goes. */
mrmr_err pool_written_note_end(struct pool_written *written, int64_t drive, uint64_t ino);

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

/* --- who reads without the drive --- */

/* Somebody notes. */
bool pool_written_lives(struct pool *pool);
/* The drive was judged by a scan that began with this moment. Where that cannot be left, it was not. */
void pool_written_scanned(struct pool *pool, struct pool_written_since since, int64_t drive);
/* That moment; zeros: there is none. Before the catalog is asked. */
struct pool_written_since pool_written_since_scan(struct pool *pool, int64_t drive);
/* Neither the file's size nor what has its inode, nor the leaf, is another since, for all that was done through MRMR. False: it may be. */
#define POOL_WRITTEN_NO_LEAF UINT64_MAX
bool pool_written_is_same(
    struct pool *pool, struct pool_written_since since, int64_t drive, uint64_t ino, uint64_t leaf);

#endif
