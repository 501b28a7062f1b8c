/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Watching folders: one descriptor and one thread a watch. Events come from fanotify where this
 * process may have them of the whole file system, else from inotify, folder by folder.
 *
 * The kernel knows a folder by an id and the caller by a key; two tables, each found through its own
 * hash, lead from one to the other. A folder that is watched twice (it was moved, and is looked at
 * under its new name before the old one is given up) keeps its id and gets the newer key: removing
 * the older key then does nothing.
 *
 * Threads: add and remove from any thread; the lock guards the tables and is held by the thread
 * while it looks a key up, never while it calls fn.
 */
#include "drivers/local_watch_internal.h"

#include "base/cleanup.h"
#include "base/log.h"
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

struct watched { /* a folder */
    struct watched *next_id, *next_key;
    uint64_t key;
    struct watch_id id;
};

/* By all watches of this process that have a most. */
static atomic_size_t taken;

/* --- the tables --- */

static size_t bucket_of(const struct local_watch *w, uint64_t value)
{
    return (size_t)((value * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (w->buckets - 1);
}

/* FNV-1a. */
static uint64_t hash_of(const struct watch_id *id)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < id->size; i++)
        hash = (hash ^ id->bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static bool same_id(const struct watch_id *a, const struct watch_id *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static struct watched *find_id_locked(const struct local_watch *w, const struct watch_id *id)
{
    struct watched *at = w->by_id[bucket_of(w, hash_of(id))];
    while (at && !same_id(&at->id, id))
        at = at->next_id;
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
    struct watched **id = &w->by_id[bucket_of(w, hash_of(&folder->id))];
    struct watched **key = &w->by_key[bucket_of(w, folder->key)];
    folder->next_id = *id;
    folder->next_key = *key;
    *id = *key = folder;
    w->n++;
}

static void unlink_locked(struct local_watch *w, struct watched *folder)
{
    struct watched **at = &w->by_id[bucket_of(w, hash_of(&folder->id))];
    while (*at != folder)
        at = &(*at)->next_id;
    *at = folder->next_id;
    at = &w->by_key[bucket_of(w, folder->key)];
    while (*at != folder)
        at = &(*at)->next_key;
    *at = folder->next_key;
    w->n--;
}

static void forget_locked(struct local_watch *w, struct watched *folder)
{
    unlink_locked(w, folder);
    free(folder);
    if (w->most)
        atomic_fetch_sub(&taken, 1);
}

/* Twice the buckets; as they are if there is no memory. */
static void grow_locked(struct local_watch *w)
{
    struct local_watch more = {.buckets = w->buckets * 2};
    more.by_id = calloc(more.buckets, sizeof(struct watched *));
    more.by_key = calloc(more.buckets, sizeof(struct watched *));
    if (!more.by_id || !more.by_key) {
        free(more.by_id);
        free(more.by_key);
        return;
    }
    for (size_t i = 0; i < w->buckets; i++) {
        for (struct watched *at = w->by_id[i], *next; at; at = next) {
            next = at->next_id;
            link_locked(&more, at);
        }
    }
    free(w->by_id);
    free(w->by_key);
    w->by_id = more.by_id;
    w->by_key = more.by_key;
    w->buckets = more.buckets;
}

/* --- events --- */

bool local_watch_key(
    struct local_watch *w, const struct watch_id *id, bool ended, uint64_t *ret_key)
{
    mrmr_locked(&w->lock);
    struct watched *folder = find_id_locked(w, id);
    if (!folder)
        return false;
    *ret_key = folder->key;
    if (ended)
        forget_locked(w, folder);
    return true;
}

/* While only things happen that nobody watches, or that we do ourselves, events are left to gather for
 * so long, once all are read: 20,000 files made and removed elsewhere in the file system cost us 0.04 s
 * then, and 0.29 s if each event is read when it comes. */
enum { GATHER_MS = 20 };

static void mounts_tell(struct local_watch *w)
{
    const enum local_mounts_change change = local_mounts_changed(&w->mounts);
    if (change != LOCAL_MOUNTS_NONE)
        w->fn(change == LOCAL_MOUNTS_ROOT ? DRV_EVENT_ROOT : DRV_EVENT_LOST, DRV_WHO_OTHERS, 0,
            NULL, w->arg);
}

static void *watch_run(void *arg)
{
    struct local_watch *w = arg;
    struct pollfd fds[] = {{w->fd, POLLIN, 0}, {w->stop_fd, POLLIN, 0}, {w->mounts.fd, POLLPRI, 0}};
    char buf[65536] __attribute__((aligned(8)));
    mounts_tell(w);
    while (!fds[1].revents) {
        if (poll(fds, sizeof fds / sizeof *fds, -1) < 0)
            continue;
        if (fds[2].revents)
            mounts_tell(w);
        if (!fds[0].revents)
            continue;
        ssize_t n = read(w->fd, buf, sizeof buf);
        if (n > 0 && !w->source->take(w, buf, (size_t)n) && n < (ssize_t)sizeof buf / 2)
            poll(&fds[1], 1, GATHER_MS);
    }
    return NULL;
}

/* --- ops --- */

static void watch_free(struct local_watch *w)
{
    if (w->most)
        atomic_fetch_sub(&taken, w->n);
    for (size_t i = 0; w->by_id && i < w->buckets; i++)
        for (struct watched *at = w->by_id[i], *next; at; at = next) {
            next = at->next_id;
            free(at);
        }
    if (w->fd >= 0)
        close(w->fd);
    if (w->stop_fd >= 0)
        close(w->stop_fd);
    local_mounts_close(&w->mounts);
    free(w->by_id);
    free(w->by_key);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* One mark for everything, if that can be had; a watch for each folder, if not. */
static mrmr_err source_open(struct local_watch *w)
{
    const struct watch_source *const sources[] = {&local_fanotify, &local_inotify};
    mrmr_err err = MRMR_UNSUPPORTED;
    for (size_t i = 0; err && i < sizeof sources / sizeof *sources; i++) {
        if (i)
            mrmr_log_story(MRMR_LOG_INFO, "folders are watched one by one");
        if (w->fd >= 0)
            close(w->fd);
        w->fd = -1;
        w->watch.tells_who = false;
        w->source = sources[i];
        err = w->source->open(w);
    }
    return err;
}

static mrmr_err watch_start(struct local_watch *w)
{
    w->by_id = calloc(w->buckets, sizeof(struct watched *));
    w->by_key = calloc(w->buckets, sizeof(struct watched *));
    if (!w->by_id || !w->by_key)
        return mrmr_nomem();
    w->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (w->stop_fd < 0)
        return mrmr_fail_errno(errno, "watch", "");
    MRMR_TRY(source_open(w));
    int err = pthread_create(&w->thread, NULL, watch_run, w);
    return err ? mrmr_fail_errno(err, "watch", "") : MRMR_OK;
}

mrmr_err local_watch_open(struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch)
{
    const struct local *local = (const struct local *)drv;
    if (local->shared)
        return mrmr_err_path(
            mrmr_fail(MRMR_UNSUPPORTED, "changes that others make there are not told of"),
            local->root);
    struct local_watch *w = calloc(1, sizeof *w);
    if (!w)
        return mrmr_nomem();
    w->watch.drv = drv;
    w->fn = fn;
    w->arg = arg;
    w->fd = w->stop_fd = -1;
    w->buckets = 64;
    local_mounts_open(&w->mounts, local->root, local->root_fd);
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

/* Makes it one of the folders. False: there are as many as may be. */
static bool link_new_locked(struct local_watch *w, struct watched *folder)
{
    if (w->most && atomic_fetch_add(&taken, 1) >= w->most) {
        atomic_fetch_sub(&taken, 1);
        return false;
    }
    link_locked(w, folder);
    if (w->n > w->buckets)
        grow_locked(w);
    return true;
}

mrmr_err local_watch_add(struct drv_watch *watch, const char *path, uint64_t key)
{
    struct local_watch *w = (struct local_watch *)watch;
    struct local *local = (struct local *)watch->drv;
    mrmr_autoclose int fd = -1;
    mrmr_autofree struct watched *folder = calloc(1, sizeof *folder);
    if (!folder)
        return mrmr_nomem();
    MRMR_TRY(local_open(local, "watch", path, O_PATH | O_DIRECTORY, &fd));
    folder->key = key;
    /* Under the lock: an event that comes at once waits until the key is known. */
    mrmr_locked(&w->lock);
    int err = w->source->add(w, fd, &folder->id);
    if (err)
        return local_fail(local, err, "watch", path);
    struct watched *old = find_key_locked(w, key);
    if (old && !same_id(&old->id, &folder->id)) { /* the key's folder is another one now */
        w->source->drop(w, &old->id);
        forget_locked(w, old);
    }
    old = find_id_locked(w, &folder->id);
    if (old)
        forget_locked(w, old);
    if (!link_new_locked(w, folder)) {
        w->source->drop(w, &folder->id);
        return local_fail(local, ENOSPC, "watch", path);
    }
    folder = NULL;
    return MRMR_OK;
}

void local_watch_remove(struct drv_watch *watch, uint64_t key)
{
    struct local_watch *w = (struct local_watch *)watch;
    mrmr_locked(&w->lock);
    struct watched *folder = find_key_locked(w, key);
    if (!folder)
        return;
    w->source->drop(w, &folder->id);
    forget_locked(w, folder);
}
