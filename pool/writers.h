/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool's owner, which commits stripes, and whoever writes to originals on the user's behalf (the
 * mount), in this process or in another. A write asks first whether a stripe counts on what it is
 * going to change (I3); that answer must hold until the write is done, and a commit must not claim
 * what was written since it was read. So they exclude each other: writers enter and leave, any
 * number at once; a commit stops them, looks once more at the files it claims, commits and lets them
 * go on. So does whoever puts another inode in the place of a file (repair.c, restore.c).
 *
 * The file `writers` in the pool's folder has locks (one for the writers that are in, one at which
 * new ones wait while somebody wants to stop them, one a drive for those that are late on it, one for
 * as long as a scan is under way) and two numbers of 8 bytes:
 *
 *     epoch    what stripes count on may be another than before, and so may the inode that has a
 *              file's name: who holds it open finds that in replaced.h
 *     turn     another one for each writer that came, or whose process stayed in: nobody has since, if
 *              it is the same
 *
 * A change is late when the guard of a drive (guard.h) gave an op of it up: the caller has his
 * answer, and what he wanted may happen yet, as long as the op hangs in the kernel. Until it has ended, however late, whatever is claimed of a file
 * of that drive could be changed after that. So whoever stops the writers says for which drives, and
 * waits for those that are late there. What is late on another drive changes nothing on these, nor what
 * stripes count on there: what it overwrites was kept before it was issued, and its drive is claimed
 * nothing of. A change of which ops of several drives were given up is late on each, until the last of
 * them has ended. Where it is not known which drive it was, it is late for everybody.
 *
 * Lock order. Who writes takes the gate, then the lock of those that are in, shared, and gives the gate
 * back; a change that becomes late takes its drives' locks, shared, while it is in. Who stops takes the
 * gate, then the other. A drive's lock nobody takes but those that are late, and nobody waits for it
 * with a lock: who stops asks for it, with the gate open, and once more when all stand still. So no two
 * wait for each other, however many drives a change has, and a drive that is added needs no step: its
 * lock is the byte that its medium names (pool_drive_medium, hung.h).
 *
 * The kernel gives the locks back when a process ends, however it ends. One that is killed ends when
 * its last thread has left the kernel, so what hangs uninterruptibly, as in a disk that does not
 * answer, has its lock until it is over. Where a kill ends the wait (FUSE, NFS), the request may
 * still lie with a server, and be carried out after a commit. To the pool that is a change made
 * directly on the drive: the next scan finds it, its stripes have a margin less until then, and what
 * they counted on before was saved before the write was issued.
 *
 * A process that writes again and again would take and give its lock each time, for more than the
 * change itself costs. So a handle may stay in for a moment (pool_writers_stay): the lock is kept for so
 * long after the gate was passed last, though nobody is in, and given back then, by a thread of the
 * handle. Whoever comes meanwhile is in at once: nobody can have stopped the writers since, so the epoch
 * is the same, and the turn, which only those compare who stop, is another one for each time that
 * the lock was taken. Whoever stops them waits for that moment, too, and no longer: after it all go
 * through the gate. A process that is killed in it has no lock; one that is frozen in it (a
 * signal, a freezer) keeps whoever stops waiting, as one that is frozen inside of a change does.
 *
 * While a scan is under way the catalog may come to have any inode by any name that the walk has met, and only the scan's end tells
 * which: so for who records what became of the catalog's names (moved.h) it has all of them. The owner takes a lock for that
 * while the writers stand still, before the walk begins, with a new epoch, and gives it back after the scan's last commit; the kernel does when
 * he dies. A change that was made before that stop is met by the walk as it is then. One after the lock was given back finds in the catalog
 * what was committed: it asks for the lock first, and for the inode then. One in between is recorded, and its record is not dropped by this
 * scan, but by the next one that has seen all of the drive.
 *
 * The numbers need not survive anything: they are compared within the life of one process. They are
 * read and written as a file is, and not mapped: a full disk is an error then, and no signal.
 *
 * Whoever stops waits for those that are in, and all others wait at the gate meanwhile. One that
 * hangs with its drive must not take everybody along: the wait ends with MRMR_BUSY, by default a
 * little after a drive's deadline (set drive-timeout). By then the guard of a drive has given up
 * whatever hung, and its writer has left, or is late; only a sync may take longer on a healthy drive,
 * and is not worth that all the others wait for it: the job ends, and can be run again. The wait for
 * those that are late ends likewise, and the gate is open meanwhile. Which drive it was late_on tells,
 * and hung.h leaves such a drive out of the job.
 *
 * What was read before the wait is as old as the wait was long, and a drive that a writer hung with
 * is no drive to be asked while all wait: stop_after looks first, and again if it had to wait.
 *
 * Threads: any. Those of one handle stop writers one after another. A handle is for writing or for
 * stopping, not for both. One that was closed lives on while changes of it are late.
 */
#ifndef MRMR_POOL_WRITERS_H
#define MRMR_POOL_WRITERS_H

#include "base/err.h"

struct pool_job;
struct pool_writers;

/* dirfd: the pool's folder, which must be writable. */
mrmr_err pool_writers_open(int dirfd, struct pool_writers **ret_writers);
void pool_writers_close(struct pool_writers *writers); /* NULL-safe */
/* How long a stop waits at most, ns; before others use the handle. */
void pool_writers_wait_at_most(struct pool_writers *writers, int64_t ns);

/* How long it stays in, ns; 0, the default: not at all. Likewise before others use the handle. */
void pool_writers_stay(struct pool_writers *writers, int64_t ns);

/* Until leave, nothing that was not counted on becomes so. *ret_epoch: what was found out at the
 * same epoch before still holds. */
mrmr_err pool_writers_enter(struct pool_writers *writers, uint64_t *ret_epoch);
void pool_writers_leave(struct pool_writers *writers);
/* For who is in: another number for each time in between which they may have stood still. */
uint64_t pool_writers_stays(struct pool_writers *writers);
/* For who is not in: if an enter says the same later, nothing has been committed since. */
mrmr_err pool_writers_epoch(struct pool_writers *writers, uint64_t *ret_epoch);
/* The same around a change whose ops go through guards, on one thread: what of it was given up is late,
 * from end until it has ended. Never one inside another. */
mrmr_err pool_writers_begin(struct pool_writers *writers, uint64_t *ret_epoch);
void pool_writers_end(void);
/* The same without being in, for a change that touches nothing that anyone claims, as a new name: it stops for nobody, and is late
 * if it is given up. */
mrmr_err pool_writers_beside(struct pool_writers *writers);
/* This thread is between the two. */
bool pool_writers_inside(void);

/* Waits for those that are in; nobody enters until go. MRMR_BUSY: they did not leave in time;
 * MRMR_CANCELLED: the job (may be NULL) was. Then nobody is stopped. */
mrmr_err pool_writers_stop(struct pool_writers *writers, const struct pool_job *job);
/* The same for what concerns these drives alone, each by its medium (hung.h): what is late on others is
 * not waited for. With none, it is for what concerns no file. */
#define POOL_WRITERS_DRIVES (UINT64_C(1) << 62) /* a medium is below that, and above 0 */
struct pool_writers_of {
    const int64_t *drive;
    size_t n;
};
mrmr_err pool_writers_stop_of(
    struct pool_writers *writers, const struct pool_job *job, const struct pool_writers_of *drives);
/* A change is late on the drive, in any process, now. Of a pool's folder without such a file: none. */
mrmr_err pool_writers_late_on(int dirfd, int64_t drive, bool *ret_late);
/* The same after a look, which is not older than a moment when they stand still: it is taken while
 * they write, and again if the stop had to wait. Its error is returned, and nobody is stopped. */
typedef mrmr_err (*pool_writers_look)(void *arg);
mrmr_err pool_writers_stop_after(struct pool_writers *writers, const struct pool_job *job,
    const struct pool_writers_of *drives, pool_writers_look look, void *arg);
void pool_writers_go(struct pool_writers *writers);
/* A scan is under way from the one, while they are stopped, which begins a new epoch, to the other, of which nothing can come but that it
 * seems to be for longer. */
mrmr_err pool_writers_scan_begin(struct pool_writers *writers);
void pool_writers_scan_end(struct pool_writers *writers);
/* By another handle. True also where that cannot be found out. Who is in, or has asked for the epoch before, may remember it for that epoch. */
bool pool_writers_scanned(const struct pool_writers *writers);
/* Both while they are stopped; before a commit. */
mrmr_err pool_writers_new_epoch(struct pool_writers *writers);
mrmr_err pool_writers_turn(const struct pool_writers *writers, uint64_t *ret_turn);

#endif
