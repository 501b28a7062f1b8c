/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Events from inotify(7): one watch a folder, of which each user may have so many. It takes no right
 * but that of reading the folder.
 *
 * The kernel knows a watch by a number, and uses one again only after 2^31 others. A folder that is
 * added twice keeps its number.
 */
#include "drivers/local_watch_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#define INOTIFY_MASK                                                                               \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE |            \
        IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

static struct watch_id id_of(int wd)
{
    struct watch_id id = {.size = sizeof wd};
    memcpy(id.bytes, &wd, sizeof wd);
    return id;
}

/* Half of what a user may have is left to his other programs. Where it cannot be known the kernel bounds it alone. */
static size_t watches_most(void)
{
    unsigned long most = 0;
    FILE *limit = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
    const bool known = limit && fscanf(limit, "%lu", &most) == 1;
    if (limit)
        fclose(limit);
    return known && most > 1 ? most / 2 : 0;
}

static mrmr_err inotify_source_open(struct local_watch *w)
{
    w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->fd < 0)
        return mrmr_err_hint(mrmr_fail_errno(errno, "watch", ""),
            "the system's limit is fs.inotify.max_user_instances");
    w->most = watches_most();
    return MRMR_OK;
}

static int inotify_source_add(struct local_watch *w, int folder_fd, struct watch_id *ret_id)
{
    int wd = inotify_add_watch(w->fd, local_fd_name(folder_fd).text, INOTIFY_MASK);
    if (wd < 0)
        return errno;
    *ret_id = id_of(wd);
    return 0;
}

static void inotify_source_drop(struct local_watch *w, const struct watch_id *id)
{
    int wd;
    memcpy(&wd, id->bytes, sizeof wd);
    inotify_rm_watch(w->fd, wd);
}

static void tell(struct local_watch *w, const struct inotify_event *event)
{
    const struct watch_id id = id_of(event->wd);
    const char *name = event->len ? event->name : NULL;
    uint64_t key = 0;
    if (event->mask & IN_Q_OVERFLOW)
        w->fn(DRV_EVENT_LOST, DRV_WHO_UNKNOWN, 0, NULL, w->arg);
    if (event->wd < 0 || !local_watch_key(w, &id, event->mask & IN_IGNORED, &key))
        return;
    if (event->mask & IN_IGNORED)
        w->fn(DRV_EVENT_END, DRV_WHO_UNKNOWN, key, NULL, w->arg);
    else if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
        w->fn(DRV_EVENT_MOVED, DRV_WHO_UNKNOWN, key, NULL, w->arg);
    else if (name && event->mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
        w->fn(DRV_EVENT_NAME, DRV_WHO_UNKNOWN, key, name, w->arg);
    else if (name && event->mask & (IN_MODIFY | IN_CLOSE_WRITE))
        w->fn(DRV_EVENT_BYTES, DRV_WHO_UNKNOWN, key, name, w->arg);
    else if (event->mask & IN_ATTRIB)
        w->fn(DRV_EVENT_ATTRS, DRV_WHO_UNKNOWN, key, name, w->arg);
}

static bool inotify_source_take(struct local_watch *w, const char *buf, size_t size)
{
    for (size_t at = 0; at < size;) {
        const struct inotify_event *event = (const struct inotify_event *)(buf + at);
        tell(w, event);
        at += sizeof *event + event->len;
    }
    return true;
}

const struct watch_source local_inotify = {
    inotify_source_open, inotify_source_add, inotify_source_drop, inotify_source_take};
