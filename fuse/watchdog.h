/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A mount that the kernel cannot take down by itself.
 *
 * The kernel ends a mount's connection when the last descriptor of it is closed, which is when the
 * last thread of its process is gone. A thread that tells the kernel of a name (invalidate.c) waits
 * for the lock of the folder, and no signal ends that. If who holds the lock waits for an answer of
 * ours, then a process that is killed at this moment never ends, and whoever uses the mount hangs,
 * up to the next boot. So a process beside it, which does nothing else, is told by the kernel when
 * it dies, and aborts the connection: what waits for an answer gets ECONNABORTED, and the mount stays,
 * dead, until the next one there clears it away. So does this
 * process when it ends by itself: the tree's threads, which it waits for, may be such threads.
 *
 * That takes the connection's file in fusectl (/sys/fs/fuse/connections, which systemd mounts, and
 * whose files belong to who mounted), or root. Without either nothing can be done: it is logged.
 *
 * Threads: one, the one that started it and that the process begins with.
 */
#ifndef MRMR_FUSE_WATCHDOG_H
#define MRMR_FUSE_WATCHDOG_H

#include "base/err.h"
#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

struct mfs_connection {
    uint32_t device; /* its number in fusectl; 0: nothing is mounted, or it cannot be had */
    char path[PATH_MAX];
};

struct mfs_watchdog {
    pid_t pid; /* 0: none */
    int pipe;  /* to it */
    struct mfs_connection connection;
};

/* Before any thread starts. MRMR_INTERNAL… as fork and pipe fail. */
mrmr_err mfs_watchdog_start(struct mfs_watchdog *ret_dog);
/* From now on this is mounted there, by us. The path is canonical. */
void mfs_watchdog_mounted(struct mfs_watchdog *dog, const char *mountpoint);
/* Nobody serves it any more. What is not ours is left alone. */
void mfs_watchdog_abort(const struct mfs_watchdog *dog);
/* This process ends by itself. */
void mfs_watchdog_stop(struct mfs_watchdog *dog);

#endif
