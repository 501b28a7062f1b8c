/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Between local_watch.c (folders and their keys, the thread) and the two sources of events,
 * local_fanotify.c (one mark for the whole file system) and local_inotify.c (one a folder); and local_mounts.c, which
 * tells of what no event does.
 *
 * A source calls each folder by an id of its own: some bytes, the same in what it tells and when a
 * folder is added.
 */
#ifndef MRMR_DRIVERS_LOCAL_WATCH_INTERNAL_H
#define MRMR_DRIVERS_LOCAL_WATCH_INTERNAL_H

#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>

enum { WATCH_HANDLE_MOST = 40 }; /* bytes; btrfs has the longest of the usual ones, 20 */

struct watch_id {
    uint32_t size;
    unsigned char bytes[sizeof(int) + WATCH_HANDLE_MOST];
};

/* By one thread at a time. */
struct local_mounts {
    const char *root; /* not owned */
    int fd;           /* poll(2) gives POLLPRI when anything was mounted; -1: none */
    /* When it was looked at last: */
    struct mrmr_bytes below; /* what was mounted below the root */
    uint64_t over;           /* the mount nearest to the root: its id, see proc(5); 0: not known */
};
enum local_mounts_change { LOCAL_MOUNTS_NONE, LOCAL_MOUNTS_BELOW, LOCAL_MOUNTS_ROOT };

/* Something else may be mounted at the root by then than what is open: the first look for changes tells. */
void local_mounts_open(struct local_mounts *mounts, const char *root, int root_fd);
/* Since the last time; BELOW also where that cannot be told. */
enum local_mounts_change local_mounts_changed(struct local_mounts *mounts);
void local_mounts_close(struct local_mounts *mounts);

struct watched;
struct watch_source;

struct local_watch {
    struct drv_watch watch;
    const struct watch_source *source;
    drv_event_fn fn;
    void *arg;
    int fd, stop_fd; /* fd: the source's events are read from it */
    size_t most;     /* of the system's watches, for all of this process; 0: it takes none */
    struct local_mounts mounts;
    pid_t self; /* this process, as the kernel names it to the source */
    pthread_t thread;

    pthread_mutex_t lock;
    /* Guarded by lock: every folder is in both tables. */
    size_t n, buckets; /* a power of two */
    struct watched **by_id, **by_key;
};

struct watch_source {
    /* Sets w->fd, and w->most where each folder takes one of the system's watches. Whatever the error, the other source may be tried. */
    mrmr_err (*open)(struct local_watch *w);
    /* From now on events of this folder are told, by this id. Returns 0 or an errno. */
    int (*add)(struct local_watch *w, int folder_fd, struct watch_id *ret_id);
    /* They need not be told any more; the id may be unknown by now. */
    void (*drop)(struct local_watch *w, const struct watch_id *id);
    /* What was read from the fd. False: nothing in it was of a folder that is watched, and of others'
     * doing. */
    bool (*take)(struct local_watch *w, const char *buf, size_t size);
};

extern const struct watch_source local_fanotify, local_inotify;

/* False: of no folder that is watched now. ended: it is not from now on. */
bool local_watch_key(
    struct local_watch *w, const struct watch_id *id, bool ended, uint64_t *ret_key);

#endif
