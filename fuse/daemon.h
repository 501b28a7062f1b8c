/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool's daemon beside the mount: `mrmr daemon`, of the folder in which this program lies, for as long as the mount is
 * there. Where one runs already it waits until that ends. One that ends by itself is started anew, after a while. It is a process of
 * its own: whatever becomes of it, the mount goes on, and what is new waits to be protected.
 *
 * Threads: start and stop by one; a thread of its own waits for the process. Errors: what fails is logged, and tried again.
 */
#ifndef MRMR_FUSE_DAEMON_H
#define MRMR_FUSE_DAEMON_H

#include "base/thread.h"
#include <sys/types.h>

struct mfs_daemon {
    bool runs; /* the thread */
    const char *pool;
    bool to_syslog;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Guarded by lock. */
    bool ends;
    int input; /* closed, it ends; -1: it does not run */
};

/* pool: its folder, which must live until stop. */
void mfs_daemon_start(struct mfs_daemon *daemon, const char *pool, bool to_syslog);
/* It is asked to end, and waited for, but for no more than some seconds: what somebody asked it for goes on. */
void mfs_daemon_stop(struct mfs_daemon *daemon);

#endif
