/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Room in the pool's folder for when its file system is full: what is changed through a mount is recorded there
 * first, and a removal, which is what would make room, must not fail for want of a few bytes.
 *
 * The file `spare` in the pool's folder holds nothing but room. A mount makes it, and makes it whole again
 * when there is room once more; who cannot write a record for want of room gives a part of it back and
 * tries again. Another program may be the faster one to take that: there are more parts. Where the
 * file system allocates no room before it is used there is none.
 *
 * Crash argument. It has no bytes that anyone reads: after a cut it is some length, or not there.
 *
 * Threads and processes: any.
 */
#ifndef MRMR_POOL_SPARE_H
#define MRMR_POOL_SPARE_H

#include "base/bytes.h"

/* dirfd: the pool's folder. It is as long as it should be then, if there is that much room. */
void pool_spare_make(int dirfd);
/* err is what this thread was told just now of a file in the pool's folder, and it was for want of room there. */
bool pool_spare_wanted(mrmr_err err);
/* So it was, and there is some now: try again. Each part that is given is told of; dir: the folder's path, NULL if it
 * is not known here. */
bool pool_spare_gives(int dirfd, const char *dir, mrmr_err err);
/* mrmr_durable_replace of a record, which takes what it needs of the room. */
mrmr_err pool_spare_record(
    int dirfd, const char *dir, const char *name, const struct mrmr_bytes *text);

#endif
