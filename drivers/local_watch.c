/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Watching folders with inotify(7): one descriptor and one thread a watch.
 *
 * The kernel knows a watch by a number of its own and the caller by a key; two tables, each found
 * through its own hash, lead from one to the other. A number is used again only after 2^31 others,
 * but a folder that is watched twice (it was moved, and is looked at under its new name before the
 * old one is given up) keeps its number and gets the newer key: removing the older key then does
 * nothing.
 *
 * Threads: add and remove from any thread; the lock guards the tables and is held by the thread
 * while it looks a key up, never while it calls fn.
 */
#include "drivers/local_internal.h"

#include "base/cleanup.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#define WATCH_MASK                                                                                 \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE |            \
        IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

struct watched { /* a folder */
    struct watched *next_wd, *next_key;
    int wd;
    uint64_t key;
};

struct local_watch {
    struct drv_watch watch;
    drv_event_fn fn;
    void *arg;
    int inotify_fd, stop_fd;
    pthread_t thread;

    pthread_mutex_t lock;
    /* Guarded by lock: every folder is in both tables. */
    size_t n, buckets; /* a power of two */
    struct watched **by_wd, **by_key;
};

/* --- the tables --- */

static size_t bucket_of(const struct local_watch *w, uint64_t value)
{
    return (size_t)((value * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (w->buckets - 1);
}

static struct watched *find_wd_locked(const struct local_watch *w, int wd)
{
    struct watched *at = w->by_wd[bucket_of(w, (uint64_t)wd)];
    while (at && at->wd != wd)
        at = at->next_wd;
    return at;
}

static struct watched *find_key_locked(const struct local_watch *w, uint64_t key)
{
    struct watched *at = w->by_key[bucket_of(w, key)];
    while (at && at->key != key)
        at = at->next_key;
    return at;
}

static void link_locked(struct local_watch *w, struct watched *folder)
{
    struct watched **wd = &w->by_wd[bucket_of(w, (uint64_t)folder->wd)];
    struct watched **key = &w->by_key[bucket_of(w, folder->key)];
    folder->next_wd = *wd;
    folder->next_key = *key;
    *wd = *key = folder;
    w->n++;
}

static void unlink_locked(struct local_watch *w, struct watched *folder)
{
    struct watched **at = &w->by_wd[bucket_of(w, (uint64_t)folder->wd)];
    while (*at != folder)
        at = &(*at)->next_wd;
    *at = folder->next_wd;
    at = &w->by_key[bucket_of(w, folder->key)];
    while (*at != folder)
        at = &(*at)->next_key;
    *at = folder->next_key;
    w->n--;
}

/* Twice the buckets; as they are if there is no memory. */
static void grow_locked(struct local_watch *w)
{
    struct local_watch more = {.buckets = w->buckets * 2};
    more.by_wd = calloc(more.buckets, sizeof(struct watched *));
    more.by_key = calloc(more.buckets, sizeof(struct watched *));
    if (!more.by_wd || !more.by_key) {
        free(more.by_wd);
        free(more.by_key);
        return;
    }
    for (size_t i = 0; i < w->buckets; i++) {
        for (struct watched *at = w->by_wd[i], *next; at; at = next) {
            next = at->next_wd;
            link_locked(&more, at);
        }
    }
    free(w->by_wd);
    free(w->by_key);
    w->by_wd = more.by_wd;
    w->by_key = more.by_key;
    w->buckets = more.buckets;
}

/* --- what the kernel tells --- */

/* False: of no folder that is watched now. */
static bool key_of(struct local_watch *w, int wd, bool ended, uint64_t *ret_key)
{
    mrmr_locked(&w->lock);
    struct watched *folder = find_wd_locked(w, wd);
    if (!folder)
        return false;
    *ret_key = folder->key;
    if (ended) {
        unlink_locked(w, folder);
        free(folder);
    }
    return true;
}

static void tell(struct local_watch *w, const struct inotify_event *event)
{
    const char *name = event->len ? event->name : NULL;
    uint64_t key = 0;
    if (event->mask & IN_Q_OVERFLOW)
        w->fn(DRV_EVENT_LOST, 0, NULL, w->arg);
    if (event->wd < 0 || !key_of(w, event->wd, event->mask & IN_IGNORED, &key))
        return;
    if (event->mask & IN_IGNORED)
        w->fn(DRV_EVENT_END, key, NULL, w->arg);
    else if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
        w->fn(DRV_EVENT_MOVED, key, NULL, w->arg);
    else if (name && event->mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
        w->fn(DRV_EVENT_NAME, key, name, w->arg);
    else if (name && event->mask & (IN_MODIFY | IN_CLOSE_WRITE))
        w->fn(DRV_EVENT_BYTES, key, name, w->arg);
    else if (event->mask & IN_ATTRIB)
        w->fn(DRV_EVENT_ATTRS, key, name, w->arg);
}

static void *watch_run(void *arg)
{
    struct local_watch *w = arg;
    struct pollfd fds[2] = {{.fd = w->inotify_fd, .events = POLLIN}, {w->stop_fd, POLLIN, 0}};
    char buf[65536] __attribute__((aligned(8)));
    while (!fds[1].revents) {
        if (poll(fds, 2, -1) < 0 || !fds[0].revents)
            continue;
        ssize_t n = read(w->inotify_fd, buf, sizeof buf);
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const struct inotify_event *)(buf + at);
            tell(w, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    return NULL;
}

/* --- ops --- */

static void watch_free(struct local_watch *w)
{
    for (size_t i = 0; w->by_wd && i < w->buckets; i++)
        for (struct watched *at = w->by_wd[i], *next; at; at = next) {
            next = at->next_wd;
            free(at);
        }
    if (w->inotify_fd >= 0)
        close(w->inotify_fd);
    if (w->stop_fd >= 0)
        close(w->stop_fd);
    free(w->by_wd);
    free(w->by_key);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static mrmr_err watch_start(struct local_watch *w)
{
    w->by_wd = calloc(w->buckets, sizeof(struct watched *));
    w->by_key = calloc(w->buckets, sizeof(struct watched *));
    if (!w->by_wd || !w->by_key)
        return mrmr_nomem();
    w->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    w->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (w->inotify_fd < 0 || w->stop_fd < 0)
        return mrmr_err_hint(mrmr_fail_errno(errno, "watch", ""),
            "the system's limit is fs.inotify.max_user_instances");
    int err = pthread_create(&w->thread, NULL, watch_run, w);
    return err ? mrmr_fail_errno(err, "watch", "") : MRMR_OK;
}

mrmr_err local_watch_open(struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch)
{
    struct local_watch *w = calloc(1, sizeof *w);
    if (!w)
        return mrmr_nomem();
    w->watch.drv = drv;
    w->fn = fn;
    w->arg = arg;
    w->inotify_fd = w->stop_fd = -1;
    w->buckets = 64;
    pthread_mutex_init(&w->lock, NULL);
    mrmr_err err = watch_start(w);
    if (err) {
        watch_free(w);
        return err;
    }
    *ret_watch = &w->watch;
    return MRMR_OK;
}

void local_watch_close(struct drv_watch *watch)
{
    struct local_watch *w = (struct local_watch *)watch;
    eventfd_write(w->stop_fd, 1);
    pthread_join(w->thread, NULL);
    watch_free(w);
}

mrmr_err local_watch_add(struct drv_watch *watch, const char *path, uint64_t key)
{
    struct local_watch *w = (struct local_watch *)watch;
    struct local *local = (struct local *)watch->drv;
    mrmr_autoclose int fd = -1;
    mrmr_autofree struct watched *folder = calloc(1, sizeof *folder);
    char name[40];
    if (!folder)
        return mrmr_nomem();
    MRMR_TRY(local_open(local, "watch", path, O_PATH | O_DIRECTORY, &fd));
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    /* Under the lock: an event that comes at once waits until the key is known. */
    mrmr_locked(&w->lock);
    int wd = inotify_add_watch(w->inotify_fd, name, WATCH_MASK);
    if (wd < 0)
        return local_fail(local, errno, "watch", path);
    struct watched *old = find_key_locked(w, key);
    if (old && old->wd != wd) { /* the key's folder is another one now */
        inotify_rm_watch(w->inotify_fd, old->wd);
        unlink_locked(w, old);
        free(old);
    }
    old = find_wd_locked(w, wd);
    if (old) {
        unlink_locked(w, old);
        free(old);
    }
    *folder = (struct watched){.wd = wd, .key = key};
    link_locked(w, folder);
    folder = NULL;
    if (w->n > w->buckets)
        grow_locked(w);
    return MRMR_OK;
}

void local_watch_remove(struct drv_watch *watch, uint64_t key)
{
    struct local_watch *w = (struct local_watch *)watch;
    mrmr_locked(&w->lock);
    struct watched *folder = find_key_locked(w, key);
    if (!folder)
        return;
    inotify_rm_watch(w->inotify_fd, folder->wd);
    unlink_locked(w, folder);
    free(folder);
}
