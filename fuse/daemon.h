/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool's daemon beside the mount: `mrmr daemon`, of the folder in which this program lies, for as long as the mount is
 * there. Where one runs already it waits until that ends. One that ends by itself is started anew after ten seconds, and after twice as long each
 * time that it did not last for ten minutes, up to that; it is told of once. It is a process of
 * its own: whatever becomes of it, the mount goes on, and what is new waits to be protected.
 *
 * Threads: start and stop by one; a thread of its own waits for the process. Errors: what fails is logged, and tried again.
 */
#ifndef MRMR_FUSE_DAEMON_H
#define MRMR_FUSE_DAEMON_H

#include "base/thread.h"
#include <sys/resource.h>
#include <sys/types.h>

struct mfs_daemon {
    bool runs; /* the thread */
    const char *pool;
    bool to_syslog;
    struct rlimit files; /* what it gets */
    int wake;            /* an eventfd: it is to end */
    pthread_t thread;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    bool ends;
    int input; /* closed, it ends; -1: it does not run */
};

/* pool: its folder, which must live until stop. files: how many it, and what it runs, may have open, as before the mount
 * took all that there are. */
void mfs_daemon_start(
    struct mfs_daemon *daemon, const char *pool, const struct rlimit *files, bool to_syslog);
/* ns until it is started anew, of one that lasted so long; before: what that was the last time, 0: it is the first. */
int64_t mfs_daemon_wait(int64_t before, int64_t lasted);
/* It is asked to end, and waited for, but for no more than some seconds: what somebody asked it for goes on. Nothing to
 * do if it never began. */
void mfs_daemon_stop(struct mfs_daemon *daemon);

#endif
