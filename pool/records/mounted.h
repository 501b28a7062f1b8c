/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lock that lets one mount at a time change a pool, and who has it.
 *
 * It is one of the file `mounted` in the pool's folder, and goes with its process. The text of the file, "pid
 * mountpoint", is for whoever comes second: it is not believed where nobody has the lock, and nothing but a message, and whether
 * it is worth waiting a moment, goes by it. So it is not synced, and a pool's folder without room costs the message its end alone.
 *
 * Who is unmounted has let go of the mount before he has let go of the pool, and of its drives: it takes him a moment to end.
 *
 * Threads and processes: any. Errors: the pool's folder's.
 */
#ifndef MRMR_POOL_MOUNTED_H
#define MRMR_POOL_MOUNTED_H

#include "base/err.h"

/* *ret_fd has the lock until it is closed. Whoever was just unmounted is waited for, for a few seconds. MRMR_BUSY: another has
 * it, and where it is mounted is told. dir: the folder's path, for that. */
mrmr_err pool_mounted_lock(int dirfd, const char *dir, int *ret_fd);
void pool_mounted_tell(int fd, const char *mountpoint);
/* Whether somebody has it. */
mrmr_err pool_mounted_is(int dirfd, bool *ret_mounted);

#endif
