/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files whose bytes the kernel reads and writes without asking (the mount's passthrough), and those
 * who must know of them: a stripe may not count on such a file, since nobody would keep its old
 * bytes (I3), nor see that they changed while they were read (I4).
 *
 * The file `direct` in the pool's folder says which inodes of which drives those are. The mount
 * records one before the kernel gets it, and takes the record away when nobody uses the file that way
 * any more: not when it was closed, since a mapping outlives that and is seen by nobody, but when the
 * drive's file system says that nobody writes it (drv_file_is_written). The pool's owner, in whatever
 * process, leaves out what is recorded.
 *
 * Both look among the writers, or while they stand still (writers.h), so there are two orders:
 *
 *     recorded, then claimed    the commit sees the record, and leaves the file out
 *     claimed, then opened      the mount sees in the catalog, of its present epoch, that a stripe
 *                               counts on the inode, takes its record back, and opens it as any other
 *
 * A file may be recorded and let go of again between the first read of its bytes for a stripe and the
 * commit. A stripe looks for records before that read, too. So what used the file came later; a first
 * store through a mapping to a page then is a fault that sets the times, as any write does, and the commit
 * compares them, because whoever records has been among the writers. (What was mapped before may
 * store without a fault, and without a trace, until the kernel writes the page out.)
 *
 * Crash argument. Nothing needs to be durable: a power cut ends every use. A mount that is killed ends none: what is
 * open or mapped goes on. Its records stay, being a file's bytes and not locks. The next mount takes
 * them for left behind; whoever protects looks at such a file himself, and drops the record if nobody
 * writes it, or leaves the file out if somebody does, or it cannot be told. Records of before the
 * machine was started are none. A record that is torn by a kill counts as left behind.
 *
 * Bounded: no more than POOL_DIRECT_MOST inodes at a time.
 *
 * Threads: a handle by any number; the rest as its pool.
 */
#ifndef MRMR_POOL_DIRECT_H
#define MRMR_POOL_DIRECT_H

#include "pool/engine.h"

enum { POOL_DIRECT_MOST = 4096 };

/* --- the mount --- */

struct pool_direct;
/* By whoever has the lock (mounted.h). dirfd: the pool's folder; it must stay open. What is recorded there was left behind. */
mrmr_err pool_direct_open(int dirfd, struct pool_direct **ret_direct);
void pool_direct_close(struct pool_direct *direct); /* NULL-safe; what is recorded is left behind */
/* Among the writers. MRMR_SPACE: too many are in use. */
mrmr_err pool_direct_add(
    struct pool_direct *direct, int64_t drive, uint64_t ino, unsigned *ret_place);
/* Somebody uses it, of this mount or of one before, as far as is recorded. */
mrmr_err pool_direct_has(struct pool_direct *direct, int64_t drive, uint64_t ino, bool *ret_has);
/* Nobody uses it, for sure. A record that cannot be taken away stays, and leaves the file out. */
void pool_direct_remove(struct pool_direct *direct, unsigned place);
/* Who uses it will not be known any more. */
void pool_direct_leave(struct pool_direct *direct, unsigned place);

/* --- the owner --- */

/* Before stripes are planned: what was left behind and nobody writes is dropped, and fn is told each
 * node of the catalog that is in use, with the reason as the story. */
typedef mrmr_err (*pool_direct_fn)(int64_t node, const struct pool_drive *drive, void *arg);
mrmr_err pool_direct_settle(struct pool *pool, pool_direct_fn fn, void *arg);
/* While the writers stand still: none of the files that this claims anew is in use. MRMR_CHANGED, with
 * the node. */
mrmr_err pool_direct_claims(struct pool *pool, const struct meta_stripe *next, int64_t *ret_node);
/* While the writers stand still, before the drive gets another id: no file on it is in use.
 * MRMR_BUSY. */
mrmr_err pool_direct_none_on(struct pool *pool, const struct pool_drive *drive);
/* How many are recorded. */
mrmr_err pool_direct_count(struct pool *pool, uint64_t *ret_n);

#endif
