/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives that are detached: out of service by the user's word, until he says otherwise or plugs them in
 * again. That one is detached stands in the catalog's settings, beside those that people set, as
 * "detached.<uuid of the drive>", and its value is the mark: another uuid for each time; and after it the stamp of the file
 * .mrmr/drive, its time, device, inode and birth time as numbers, by which another drive in that place is told without opening anything on it: the time is
 * another one, and so is one of the others. (What is touched has another time; and after a restart a device has another number.)
 *
 * A detached drive is not used, though it may be there yet, about to be unmounted: until `mrmr attach`, or
 * until it was seen gone and is there again. Gone is what has no root, or a root that is not the drive's; where a process
 * had the drive in service before, also one on another device. Whoever looks sees that, also who does
 * not own the pool and cannot write its catalog, as a mount. So it is a file in the pool's folder,
 * "unplugged-<mark>", which has nothing in it. Who takes such a drive into service and cannot write the catalog gives
 * that file another name first, "plugged-<mark>": from then on the drive is none that is detached, and whoever finds it
 * gone, a moment later or after a power cut, says so as of any other.
 *
 * Crash argument. The mark is set and taken out by one transaction of the catalog each, set together with
 * the end of the drive's session (drive_session.c). The file is not synced: where it is lost in a power cut
 * the drive is not seen gone, and stays detached, as long as nobody sees it gone again. The other name is synced before the first
 * byte is written to the drive: what was written there is on no drive that counts as detached. It takes no room that
 * the first did not have. No mark is ever used again, so a file that is left says
 * nothing of a later one. Both are removed after the mark is out of the catalog; one that is left is rubbish of no bytes.
 *
 * Threads: any.
 */
#ifndef MRMR_POOL_DETACHED_H
#define MRMR_POOL_DETACHED_H

#include "pool/engine.h"

enum pool_detached {
    POOL_DETACHED_NOT,
    POOL_DETACHED_HERE, /* not seen gone since */
    POOL_DETACHED_WENT, /* it is used when it is there again */
    POOL_DETACHED_BACK, /* it was used since, so it is not detached; the mark goes with the next who may take it out */
};
/* The drive of this uuid, now. *ret_mark: unless it is not. */
mrmr_err pool_detached_get(struct pool *pool, const struct mrmr_uuid *drive,
    enum pool_detached *ret_detached, struct mrmr_uuid *ret_mark);
/* Of its file .mrmr/drive; times in ns. 0: not known. */
struct pool_detached_stamp {
    int64_t time;
    uint64_t dev, ino;
    int64_t born;
};
struct pool_detached_stamp pool_detached_stamp(const struct pool_drive *drive);
/* Inside the caller's transaction; mark NULL: it is not any more. */
mrmr_err pool_detached_set(struct meta *meta, const struct mrmr_uuid *drive,
    const struct mrmr_uuid *mark, const struct pool_detached_stamp *stamp);

/* It is gone now. A pool's folder that cannot be written is logged. */
void pool_detached_goes(const struct pool *pool, const struct mrmr_uuid *mark);
/* It was seen gone, and is about to be used: durable. Any error: it is not to be used. */
mrmr_err pool_detached_back(const struct pool *pool, const struct mrmr_uuid *mark);
/* The mark is out of the catalog. */
void pool_detached_over(const struct pool *pool, const struct mrmr_uuid *mark);

/* As it was then; all 0: not known. */
struct pool_detached_stamp pool_detached_stamp_then(
    struct pool *pool, const struct mrmr_uuid *drive);
/* What is at a place, without opening anything there if it is of this computer: what is open keeps a file system from
 * being unmounted. *ret_gone: no identity of a drive, or another than that with the stamp (NULL: any). *ret_dev: on which device, else.
 * It may hang with the drive. */
mrmr_err pool_detached_look(
    const char *uri, const struct pool_detached_stamp *stamp, bool *ret_gone, uint64_t *ret_dev);

#endif
