/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inodes whose bytes were changed, or which were removed, through MRMR. What the scan finds of them
 * is the user's word, however much it is and whatever the times say, and causes no hold (I5).
 *
 * The file `touched` in the pool's folder has a record for each: the drive's id in the catalog and
 * the inode's number, 8 bytes each, as this machine has them; with POOL_TOUCHED_NAME in the first if
 * only a name of it was to go, and its bytes stayed: then the catalog's version of them is still what
 * whoever has another name of it reads, or has it since its name stayed after all. With POOL_TOUCHED_ATTRS its
 * attributes were changed, after the fact and before that is acknowledged, and its bytes are still the catalog's: they
 * are read, compared and held as before, but a copy made of what the catalog has would be without what was set. In the first is
 * also when that was, for status: seconds since 1970, above the drive's id. Records are appended, and not synced:
 * where one is lost, the worst that comes of it is a hold that asks the user.
 *
 * Whoever adds is among the writers (writers.h), opens the file anew at each epoch that it has not
 * seen, and adds before it makes the change, or, of attributes, among the same writers after it. A scan begins with setting the file aside while they
 * stand still, as `touched.cut`, and a new epoch; then it makes one of that and of what earlier scans
 * did not come to an end with: `touched.old`, sorted, each inode once. It loads the records after it
 * has walked the drives, and drops from `touched.old` those of the drives that it has judged. What is
 * touched meanwhile is in `touched` again, for the next.
 *
 * Crash argument. A record is in one of the three files from when it was added until it is dropped:
 *
 *  1  renaming touched to touched.cut. Before: nothing has changed. After: all read both. It is done
 *     only where no touched.cut is left.
 *  2  the new epoch. If it cannot be written the scan ends, and writers go on adding to touched.cut,
 *     which the next scan takes in after they stood still once more.
 *  3  touched.old replaced, durably, by the two together. Before: as 1. After: what is in touched.cut
 *     is there twice, which says nothing more.
 *  4  removing touched.cut. Not synced: if it comes back, its records are taken for newer than they
 *     are, once more. What that does: no hold for a file that was changed through MRMR before.
 *
 * When a sync is through it does 1 to 4 once more, and drops those records whose files are in the catalog as they are
 * (touched_same.c): the scan met them after the change, and they would be nobody's until the next one.
 *
 * Who reads without being the owner reads in this order, too: a record that moves on is seen.
 *
 * Bounds. `touched` takes POOL_TOUCHED_MOST bytes of records, some 4 million, and `touched.old` as
 * much. Beyond that there is a mark instead, one a drive: anything may have been touched there. In
 * `touched.old` the drive with most records gets it.
 * What a mark costs. The next scan of that drive holds nothing for what vanished or changed there,
 * since nobody can tell any more what of it was the user's word: a real mass loss that comes between
 * two scans together with millions of changes through the mount is taken for the user's. It is told
 * of, as an event with the drive's name. It does so once: the scan that has judged the drive drops the
 * mark like any record, and one that is made meanwhile is for the next. A hold that was there before
 * is not lifted by it: there the mark, which stays as long as the hold does, excuses nothing. On a
 * drive without a stable ctime all files are read and compared in that scan, and until then stripes
 * claim nothing there.
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
    int64_t drive; /* and POOL_TOUCHED_NAME or POOL_TOUCHED_ATTRS, and when; below */
    uint64_t ino;
};
/* The drive's id, which the catalog counts up from 1; a second; and so many of these, to the year 2242, so that each is a time of
 * ours, whatever a record has; 0: it is not known. */
#define POOL_TOUCHED_DRIVE INT64_C(0xffffff)
#define POOL_TOUCHED_SECOND (INT64_C(1) << 24)
#define POOL_TOUCHED_SECONDS INT64_C(0x1ffffffff)
#define POOL_TOUCHED_NAME (INT64_C(1) << 62)
#define POOL_TOUCHED_ATTRS (INT64_C(1) << 61)

#define POOL_TOUCHED_MOST (UINT64_C(64) << 20) /* bytes */
/* The inode of a mark. */
#define POOL_TOUCHED_ALL UINT64_MAX

/* To add: a descriptor, to be closed by the caller. An inode without a number is not recorded. as: 0 of its bytes, or
 * one of the two above. It is of now. MRMR_INVALID: no drive has such an id. */
mrmr_err pool_touched_open(int dirfd, int *ret_fd);
mrmr_err pool_touched_add(int fd, int64_t drive, uint64_t ino, int64_t as);

struct pool_touched {
    struct pool_touched_inode *inode; /* sorted, each once, as of its bytes if there is
                                         such a record, else of all else that was recorded, and
                                         since when it counts (count); of a drive with a mark
                                         for all that alone */
    size_t n;
};
/* Bytes of records in all files; 0 if there are none. */
mrmr_err pool_touched_size(struct pool *pool, uint64_t *ret_size);
mrmr_err pool_touched_load(struct pool *pool, struct pool_touched *ret_touched);
/* Its bytes were changed, or a name of it was to go. */
bool pool_touched_has(const struct pool_touched *touched, int64_t drive, uint64_t ino);
/* Its bytes were. */
bool pool_touched_has_bytes(const struct pool_touched *touched, int64_t drive, uint64_t ino);
/* This record is of bytes of one inode of the drive. */
static inline bool pool_touched_is_bytes(const struct pool_touched_inode *record, int64_t drive)
{
    static const int64_t kinds = POOL_TOUCHED_NAME | POOL_TOUCHED_ATTRS;
    return (record->drive & (POOL_TOUCHED_DRIVE | kinds)) == drive &&
           record->ino != POOL_TOUCHED_ALL;
}
/* There is a mark for all. */
bool pool_touched_all(const struct pool_touched *touched, int64_t drive);
/* The same as has, where nothing is loaded: what is sorted is searched, and not read. */
mrmr_err pool_touched_find(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has);
/* The same, of bytes that were changed. */
mrmr_err pool_touched_find_bytes(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has);
/* The same, and there is a record of that inode: of a drive with a mark for all nothing else is known to have been changed through MRMR. */
mrmr_err pool_touched_find_itself(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has);
/* The same as find, of bytes or attributes that were changed. */
mrmr_err pool_touched_find_attrs(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has);
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
/* Inodes of the drive whose bytes or attributes were changed, there or removed since; UINT64_MAX: there is a mark for all. */
uint64_t pool_touched_count(const struct pool_touched *touched, int64_t drive);
/* When the first of those was touched, by the clock as it was then, to the second; 0: there are none, or it is not known. */
int64_t pool_touched_since(const struct pool_touched *touched, int64_t drive);
void pool_touched_free(struct pool_touched *touched);
/* A scan begins: what is recorded so far is set aside. POOL_OWN. */
mrmr_err pool_touched_begin(struct pool *pool, const struct pool_job *job);
/* It has ended: what was set aside of these drives is done with, and a new epoch begins, since inodes
 * may be other nodes now. A drive on which a change hangs keeps its records, and drives[] is without
 * it after. POOL_OWN. */
mrmr_err pool_touched_drop(
    struct pool *pool, const struct pool_job *job, int64_t drives[], size_t ndrives);
/* A sync is through: what was touched while it ran, and is in the catalog as it is now, is done with, too
 * (touched_same.c). POOL_OWN, and not inside a transaction. */
mrmr_err pool_touched_settle(struct pool *pool, const struct pool_job *job);

/* --- for touched_same.c --- */

/* Something was touched since records were last set aside. */
mrmr_err pool_touched_any(struct pool *pool, bool *ret_any);
/* Of what was set aside of these drives only that stays of which it is said; and marks. */
typedef mrmr_err (*pool_touched_left)(int64_t drive, uint64_t ino, void *arg, bool *ret_left);
mrmr_err pool_touched_drop_but(
    struct pool *pool, const int64_t drives[], size_t ndrives, pool_touched_left left, void *arg);

#endif
