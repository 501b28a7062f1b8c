/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Events from fanotify(7): one mark for the whole file system, however many folders are watched. It
 * takes CAP_SYS_ADMIN, and a file system that has file handles.
 *
 * The kernel tells of everything that happens in the file system, and names each folder by its file
 * handle, which holds the inode's generation: a folder that is made with the inode of one that was
 * removed is another. What lies outside of the root, or in a folder that nobody looked into, costs
 * the making of an event, and one look into a table for many of them at once. Reading is not told of at all. Several things
 * that one process does to one name before anyone reads of them are one event of several bits.
 *
 * Each event names the process (the thread group) whose system call it was. What the kernel does for a
 * file that a user of the mount has in passthrough counts as that user's.
 *
 * inotify tells of a folder's attributes in the folder above, too; this does not.
 */
#include "drivers/local_watch_internal.h"

#include <string.h>
#include <sys/fanotify.h>

#define FANOTIFY_NAMES (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)
#define FANOTIFY_BYTES (FAN_MODIFY | FAN_CLOSE_WRITE)
#define FANOTIFY_MASK                                                                              \
    (FANOTIFY_NAMES | FANOTIFY_BYTES | FAN_ATTRIB | FAN_DELETE_SELF | FAN_MOVE_SELF | FAN_ONDIR)

static bool id_of(const struct file_handle *handle, size_t room, struct watch_id *ret_id)
{
    if (room < sizeof *handle || handle->handle_bytes > room - sizeof *handle ||
        handle->handle_bytes > WATCH_HANDLE_MOST)
        return false;
    memcpy(ret_id->bytes, &handle->handle_type, sizeof handle->handle_type);
    memcpy(ret_id->bytes + sizeof handle->handle_type, handle->f_handle, handle->handle_bytes);
    ret_id->size = (uint32_t)sizeof handle->handle_type + handle->handle_bytes;
    return true;
}

static int fanotify_source_add(struct local_watch *w, int folder_fd, struct watch_id *ret_id)
{
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } made = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id;
    (void)w;
    if (name_to_handle_at(folder_fd, "", &made.handle, &mount_id, AT_EMPTY_PATH) < 0)
        return errno;
    return id_of(&made.handle, sizeof made, ret_id) ? 0 : EOVERFLOW;
}

static void fanotify_source_drop(struct local_watch *w, const struct watch_id *id)
{
    (void)w;
    (void)id;
}

static mrmr_err fanotify_source_open(struct local_watch *w)
{
    const struct local *local = (const struct local *)w->watch.drv;
    struct watch_id root;
    w->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME,
        O_RDONLY | O_LARGEFILE | O_CLOEXEC);
    if (w->fd < 0)
        return mrmr_fail_errno(errno, "watch file system", local->root);
    if (fanotify_mark(w->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FANOTIFY_MASK, AT_FDCWD,
            local_fd_name(local->root_fd).text) < 0)
        return mrmr_fail_errno(errno, "watch file system", local->root);
    w->watch.tells_who = true;
    w->self = getpid();
    int err = fanotify_source_add(w, local->root_fd, &root);
    return err ? mrmr_fail_errno(err, "watch file system", local->root) : MRMR_OK;
}

/* --- what the kernel tells --- */

/* The folder that an event is of, and the name in it: "." for the folder itself. False: it says
 * neither. */
static bool place_of(const struct fanotify_event_metadata *event, const char *raw,
    struct watch_id *ret_id, const char **ret_name)
{
    const char *at = raw + event->metadata_len, *end = raw + event->event_len;
    while (end - at >= (ptrdiff_t)sizeof(struct fanotify_event_info_fid)) {
        const struct fanotify_event_info_fid *info =
            (const struct fanotify_event_info_fid *)(const void *)at;
        const char *next = at + info->hdr.len;
        if (info->hdr.len < sizeof *info || next > end)
            return false;
        if (info->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
            const struct file_handle *handle = (const struct file_handle *)(info + 1);
            if (!id_of(handle, (size_t)(next - (const char *)handle), ret_id))
                return false;
            *ret_name = (const char *)handle->f_handle + handle->handle_bytes;
            return memchr(*ret_name, 0, (size_t)(next - *ret_name)) != NULL;
        }
        at = next;
    }
    return false;
}

/* Of the folder itself. */
static void tell_folder(struct local_watch *w, uint64_t mask, enum drv_who who, uint64_t key)
{
    if (mask & FAN_DELETE_SELF)
        w->fn(DRV_EVENT_END, who, key, NULL, w->arg);
    else if (mask & FAN_MOVE_SELF)
        w->fn(DRV_EVENT_MOVED, who, key, NULL, w->arg);
    else if (mask & FAN_ATTRIB)
        w->fn(DRV_EVENT_ATTRS, who, key, NULL, w->arg);
}

static void tell_name(
    struct local_watch *w, uint64_t mask, enum drv_who who, uint64_t key, const char *name)
{
    if (mask & FANOTIFY_NAMES)
        w->fn(DRV_EVENT_NAME, who, key, name, w->arg);
    if (mask & FANOTIFY_BYTES)
        w->fn(DRV_EVENT_BYTES, who, key, name, w->arg);
    if (mask & FAN_ATTRIB)
        w->fn(DRV_EVENT_ATTRS, who, key, name, w->arg);
}

/* False: it is of no folder that is watched, or of our own doing. */
static bool tell(
    struct local_watch *w, const struct fanotify_event_metadata *event, const char *raw)
{
    struct watch_id id;
    const char *name;
    uint64_t key;
    if (event->mask & FAN_Q_OVERFLOW || !place_of(event, raw, &id, &name)) {
        w->fn(DRV_EVENT_LOST, DRV_WHO_UNKNOWN, 0, NULL, w->arg);
        return true;
    }
    const enum drv_who who = event->pid == w->self ? DRV_WHO_US : DRV_WHO_OTHERS;
    bool itself = strcmp(name, ".") == 0;
    if (!local_watch_key(w, &id, itself && event->mask & FAN_DELETE_SELF, &key))
        return false;
    if (itself)
        tell_folder(w, event->mask, who, key);
    else
        tell_name(w, event->mask, who, key, name);
    return who != DRV_WHO_US;
}

static bool fanotify_source_take(struct local_watch *w, const char *buf, size_t size)
{
    struct fanotify_event_metadata event; /* in what was read it is not aligned */
    bool told = false;
    for (size_t at = 0; size - at >= sizeof event; at += event.event_len) {
        memcpy(&event, buf + at, sizeof event);
        if (event.event_len < sizeof event || event.event_len > size - at)
            break;
        told = tell(w, &event, buf + at) || told;
    }
    return told;
}

const struct watch_source local_fanotify = {
    fanotify_source_open, fanotify_source_add, fanotify_source_drop, fanotify_source_take};
