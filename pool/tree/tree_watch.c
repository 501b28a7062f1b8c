/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What happens to the tree from outside: changes made on the drives, drives that go and come back.
 *
 * Events of a drive's watch come on the watch's own thread. They mark names unsure and tell whoever
 * caches them; they never look at a drive. Looking is the monitor's work: at names that may be
 * folders, so that a folder that gains or loses a copy is loaded anew; at all folders, after a drive
 * went or came or events were lost; and every few seconds at drives (tree_drives.c).
 */
#include "pool/tree/tree_watch.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_detach.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_load.h"

#include "drivers/guard.h"
#include "pool/change/tree_replaced.h"
#include "pool/drive/drive.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const int64_t look_interval = 3 * MRMR_NS_PER_S; /* at drives that are out of service */
static const int64_t look_tick = MRMR_NS_PER_S / 10;    /* while one is under way */
static const int64_t ask_interval = MRMR_NS_PER_S;
static const int64_t ask_tick =
    MRMR_NS_PER_S / 50; /* while one asks, who has stopped the writers then */

/* --- telling --- */

void tree_tell_name(struct pool_tree *tree, uint64_t folder, const char *name)
{
    if (tree->events.name_changed)
        tree->events.name_changed(folder, name, tree->events.arg);
}

void tree_tell_node(struct pool_tree *tree, uint64_t node, bool bytes)
{
    if (tree->events.node_changed)
        tree->events.node_changed(node, bytes, tree->events.arg);
}

/* --- the monitor's list --- */

void tree_later_locked(
    struct pool_tree *tree, enum tree_todo_kind kind, uint64_t number, const char *name)
{
    size_t size = strlen(name) + 1;
    struct tree_todo *todo = malloc(sizeof *todo + size);
    if (!todo)
        return;
    todo->next = NULL;
    todo->kind = kind;
    todo->number = number;
    memcpy(todo->name, name, size);
    *tree->todo_last = todo;
    tree->todo_last = &todo->next;
    pthread_cond_signal(&tree->monitor_wake);
}

bool tree_silent(struct tree_drive *drive, mrmr_err err)
{
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE)
        return false;
    if (mrmr_of_one_thing(err) && tree_live(drive)) {
        mrmr_locked(&drive->tree->lock);
        drive->suspect = drive->tree->suspects = true;
        pthread_cond_signal(&drive->tree->monitor_wake);
    }
    return true;
}

/* --- events --- */

/* Whether it is of our own doing, as far as is told. */
static bool event_own(enum drv_who who, int64_t own_until)
{
    return who != DRV_WHO_OTHERS && own_until > mrmr_clock_monotonic();
}

static void event_name(
    struct tree_drive *drive, enum drv_who who, uint64_t number, const char *name)
{
    struct pool_tree *tree = drive->tree;
    bool own = false;
    {
        mrmr_locked(&tree->lock);
        struct tree_node *folder = tree_find_locked(tree, number);
        if (!folder || folder->kind != POOL_DIR)
            return;
        const struct tree_name *old = folder->valid ? tree_map_find(&folder->map, name) : NULL;
        own = old ? event_own(who, old->own_until) /* else we took it, and nothing was left */
                  : who == DRV_WHO_US && event_own(who, folder->own_until);
        if (own && who == DRV_WHO_US) /* whoever did it said all there is to say */
            return;
        if (own)
            tree_known_own_event_locked(folder, (size_t)(drive - tree->drive));
        else
            tree_known_void_locked(folder, (size_t)(drive - tree->drive));
        /* The monitor looks at what may be a folder, once for all that happens until then. */
        if (folder->valid && !(old && old->unsure) &&
            (!old || !old->number || old->kind == POOL_DIR))
            tree_later_locked(tree, TREE_LOOK, number, name);
        bool ours = old && old->own;
        struct tree_name *shows = tree_name_touch_locked(folder, name);
        if (shows) {
            shows->own = ours;
            tree_name_doubt(shows, (size_t)(drive - tree->drive));
        }
    }
    if (!own)
        tree_tell_name(tree, number, name);
}

/* Something of what has this name changed. */
static void event_thing(
    struct tree_drive *drive, enum drv_who who, uint64_t number, const char *name, bool bytes)
{
    struct pool_tree *tree = drive->tree;
    uint64_t changed = 0;
    {
        mrmr_locked(&tree->lock);
        struct tree_node *folder = tree_find_locked(tree, number);
        struct tree_name *shows = folder ? tree_map_find(&folder->map, name) : NULL;
        if (!shows || !shows->number)
            return;
        changed = shows->number;
        struct tree_node *node = tree_find_locked(tree, changed);
        if (node && node->kind == POOL_DIR)
            tree_known_void_locked(node, (size_t)(drive - tree->drive));
        if (node && !bytes) {
            node->uncapped_at = node->plain_at = 0;
            node->attr_events = mrmr_clock_monotonic();
        }
        /* While it is written through us, or was a moment ago, this is what we did; and who has it in
         * passthrough writes in his own name, of which all is told when he is done (tree_direct.c). */
        if (node && ((node->direct && bytes) || (node->writers && who != DRV_WHO_OTHERS) ||
                        event_own(who, node->own_until)))
            return;
        if (node)
            node->changes++;
        /* What is being told to the kernel now may be older than this event. */
        if (folder->busy)
            tree_later_locked(tree, TREE_TELL, changed, "");
    }
    tree_tell_node(tree, changed, bytes);
}

/* The folder's own attributes. */
static void event_attrs(struct tree_drive *drive, enum drv_who who, uint64_t number)
{
    struct pool_tree *tree = drive->tree;
    {
        mrmr_locked(&tree->lock);
        struct tree_node *folder = tree_find_locked(tree, number);
        if (folder) {
            folder->acl = TREE_ACL_UNKNOWN;
            tree_known_void_locked(folder, (size_t)(drive - tree->drive));
        }
        if (folder && event_own(who, folder->own_until))
            return;
    }
    tree_tell_node(tree, number, false);
}

/* The watch on a folder is of no use any more. */
static void event_folder(struct tree_drive *drive, uint64_t number)
{
    struct pool_tree *tree = drive->tree;
    mrmr_locked(&tree->lock);
    struct tree_node *folder = tree_find_locked(tree, number);
    if (!folder)
        return;
    folder->valid = false;
    folder->lost = folder->loading;
    folder->version++;
    tree_later_locked(tree, TREE_LOAD, number, "");
}

void tree_unknown_locked(struct tree_drive *drive)
{
    struct pool_tree *tree = drive->tree;
    for (size_t i = 0; i < tree->buckets; i++)
        for (struct tree_node *node = tree->table[i]; node; node = node->next) {
            if (!tree_set_has(&node->on, (size_t)(drive - tree->drive)))
                continue;
            node->valid = false;
            node->lost = node->loading;
            node->changes++;
        }
    drive->changed = true;
    pthread_cond_signal(&tree->monitor_wake);
}

static void event_lost(struct tree_drive *drive)
{
    mrmr_log(MRMR_LOG_INFO, "drive %s: not every change was told of: every folder is read anew",
        drive->drive->meta.name);
    mrmr_locked(&drive->tree->lock);
    tree_unknown_locked(drive);
}

/* Whether the drive is there still, and where, is asked by the monitor at once. */
static void event_root(struct tree_drive *drive)
{
    mrmr_locked(&drive->tree->lock);
    drive->suspect = drive->tree->suspects = true;
    pthread_cond_signal(&drive->tree->monitor_wake);
}

static void tree_event(
    enum drv_event event, enum drv_who who, uint64_t key, const char *name, void *arg)
{
    struct tree_drive *drive = arg;
    atomic_store_explicit(&drive->tree->changed, true, memory_order_relaxed);
    switch (event) {
    case DRV_EVENT_NAME:
        event_name(drive, who, key, name);
        return;
    case DRV_EVENT_BYTES:
    case DRV_EVENT_ATTRS:
        if (name)
            event_thing(drive, who, key, name, event == DRV_EVENT_BYTES);
        else
            event_attrs(drive, who, key);
        return;
    case DRV_EVENT_MOVED:
    case DRV_EVENT_END:
        event_folder(drive, key);
        return;
    case DRV_EVENT_LOST:
        event_lost(drive);
        return;
    case DRV_EVENT_ROOT:
        event_root(drive);
        return;
    }
}

/* --- watches --- */

static struct drv_watch *watch_get(struct tree_drive *drive)
{
    mrmr_locked(&drive->tree->lock);
    if (drive->watch)
        drive->watch_users++;
    return drive->watch;
}

static void watch_put(struct tree_drive *drive)
{
    mrmr_locked(&drive->tree->lock);
    if (--drive->watch_users == 0)
        pthread_cond_broadcast(&drive->tree->moved);
}

bool tree_watch_folder(struct tree_drive *drive, const char *path, uint64_t number)
{
    struct drv_watch *watch = watch_get(drive);
    if (!watch)
        return false;
    bool watched = drv_watch_add(watch, path, number) == MRMR_OK;
    watch_put(drive);
    return watched;
}

void tree_unwatch_locked(struct pool_tree *tree, const struct tree_node *folder)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree->drive[i].watch)
            drv_watch_remove(tree->drive[i].watch, folder->number);
}

/* Another watch, or none, takes the place of the one before, which nobody uses any more then. */
static void watch_replace(struct tree_drive *drive, struct drv_watch *watch)
{
    struct drv_watch *old;
    {
        mrmr_locked(&drive->tree->lock);
        old = drive->watch;
        drive->watch = watch;
        while (drive->watch_users)
            pthread_cond_wait(&drive->tree->moved, &drive->tree->lock);
    }
    drv_watch_close(old);
}

void tree_watch_drive(struct tree_drive *drive)
{
    struct drv_watch *watch = NULL;
    mrmr_err err = drv_watch_open(drive->drive->drv, tree_event, drive, &watch);
    drive->silent = err == MRMR_UNSUPPORTED;
    drive->tells_who = watch && watch->tells_who;
    if (drive->silent)
        mrmr_log(MRMR_LOG_INFO, "drive %s: it tells of no changes: they are seen after remote-ttl",
            drive->drive->meta.name);
    else if (err)
        mrmr_log_story(MRMR_LOG_INFO, "changes on a drive are looked for once a second");
    watch_replace(drive, watch);
}

void tree_drive_let_go(struct tree_drive *drive)
{
    struct pool_tree *tree = drive->tree;
    drive->tells_who = false;
    watch_replace(drive, NULL);
    tree_files_let_go(tree, (size_t)(drive - tree->drive));
    pool_views_forget(tree->pool, 0);
}

/* --- loading anew --- */

static mrmr_err todo_look(struct pool_tree *tree, const struct tree_todo *todo)
{
    struct tree_node *folder;
    struct tree_name shows;
    MRMR_TRY(tree_node(tree, todo->number, true, &folder));
    mrmr_err err = tree_name_get(tree, folder, todo->name, &shows);
    mrmr_locked(&tree->lock);
    const struct tree_name *now = tree_map_find(&folder->map, todo->name);
    if (now && now->unsure && mrmr_class_of(err) <= MRMR_CLASS_ABSENT) /* it changed meanwhile */
        tree_later_locked(tree, TREE_LOOK, todo->number, todo->name);
    tree_put_locked(tree, folder);
    return err;
}

static mrmr_err todo_load(struct pool_tree *tree, uint64_t number)
{
    struct tree_node *folder;
    MRMR_TRY(tree_node(tree, number, true, &folder));
    mrmr_err err = tree_folder_reload(tree, folder);
    if (err) /* whoever looks into it next is told why */
        tree_tell_node(tree, number, false);
    tree_put(tree, folder);
    return err;
}

static void todo_run(struct pool_tree *tree, const struct tree_todo *todo)
{
    mrmr_err err = MRMR_OK;
    switch (todo->kind) {
    case TREE_LOOK:
        err = todo_look(tree, todo);
        break;
    case TREE_LOAD:
        err = todo_load(tree, todo->number);
        break;
    case TREE_TELL:
    case TREE_TELL_ATTRS:
        tree_tell_node(tree, todo->number, todo->kind == TREE_TELL);
        break;
    case TREE_TELL_NAME:
        tree_tell_name(tree, todo->number, todo->name);
        break;
    }
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        mrmr_log_story(MRMR_LOG_INFO, "looking at a folder anew");
}

/* Folders that were read, or files, that lie on any of these drives. */
static mrmr_err numbers_on(
    struct pool_tree *tree, const struct tree_set *drives, bool folders, struct mrmr_bytes *numbers)
{
    mrmr_locked(&tree->lock);
    for (size_t i = 0; i < tree->buckets; i++)
        for (const struct tree_node *node = tree->table[i]; node; node = node->next) {
            bool wanted =
                folders ? node->kind == POOL_DIR && node->version : node->kind != POOL_DIR;
            if (wanted && tree_set_meet(&node->on, drives))
                MRMR_TRY(mrmr_bytes_add(numbers, &node->number, sizeof node->number));
        }
    return MRMR_OK;
}

/* The drives went or came: folders on them are read, and of files on them is told: their bytes are
 * what they were, unless size or time say otherwise, which the kernel sees for itself. A folder that
 * turns up on one of them is found through the folder it lies in. */
static void reload_on(struct pool_tree *tree, const struct tree_set *drives)
{
    mrmr_autobytes struct mrmr_bytes folders = MRMR_BYTES_INIT, files = MRMR_BYTES_INIT;
    for (size_t i = 0; i < tree->ndrives; i++)
        if (!tree_live(&tree->drive[i]))
            tree_drive_let_go(&tree->drive[i]);
    if (numbers_on(tree, drives, true, &folders) || numbers_on(tree, drives, false, &files))
        return;
    const uint64_t *number = (const uint64_t *)(const void *)folders.data;
    for (size_t i = 0; i < folders.size / sizeof *number; i++)
        todo_load(tree, number[i]);
    number = (const uint64_t *)(const void *)files.data;
    for (size_t i = 0; i < files.size / sizeof *number; i++)
        tree_tell_node(tree, number[i], false);
}

/* --- the monitor --- */

struct monitor {
    struct pool_tree *tree;
    int64_t until;   /* monotonic: when drives are looked after again */
    int64_t look_at; /* monotonic: when looks may begin again */
    int64_t ask_at;  /* monotonic: when it is seen whether a drive is to be detached */
    struct tree_todo *todo;
    bool reload;
    struct tree_set changed; /* drives that went or came */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What there is to do, taken out of the tree. False: stop. */
static bool monitor_wait(struct monitor *monitor)
{
    struct pool_tree *tree = monitor->tree;
    mrmr_locked(&tree->lock);
    monitor->changed = (struct tree_set){{0}};
    monitor->reload = false;
    for (;;) {
        for (size_t i = 0; i < tree->ndrives; i++) {
            if (!tree->drive[i].changed)
                continue;
            tree_set_add(&monitor->changed, i);
            tree->drive[i].changed = false;
            monitor->reload = true;
        }
        const int64_t due = tree_due_next_locked(tree);
        const int64_t until = least(due, least(monitor->until, monitor->ask_at));
        const struct timespec at = mrmr_clock_to_timespec(until);
        if (tree->stop || tree->todo || monitor->reload || tree->suspects ||
            mrmr_clock_monotonic() >= until)
            break;
        pthread_cond_timedwait(&tree->monitor_wake, &tree->lock, &at);
    }
    if (tree->suspects)
        monitor->until = 0;
    monitor->todo = tree->todo;
    tree->todo = NULL;
    tree->todo_last = &tree->todo;
    tree->suspects = false;
    return !tree->stop;
}

static void monitor_todo(struct monitor *monitor, bool run)
{
    for (struct tree_todo *todo = monitor->todo, *next; todo; todo = next) {
        next = todo->next;
        if (run)
            todo_run(monitor->tree, todo);
        free(todo);
    }
}

static mrmr_err settings_read(struct pool_tree *tree)
{
    bool verify;
    uint64_t ttl, errors, share;
    MRMR_TRY(pool_setting_u64(tree->pool, "error-limit", &errors));
    MRMR_TRY(pool_setting_on(tree->pool, "verify-reads", &verify));
    MRMR_TRY(pool_setting_u64(tree->pool, "remote-ttl", &ttl));
    MRMR_TRY(pool_setting_u64(tree->pool, "retain-share", &share));
    MRMR_TRY(tree_excludes_follow(tree));
    tree->error_limit = (unsigned)errors;
    tree->redundancy = pool_redundancy(tree->pool);
    tree_failing_limit(tree);
    tree->verify = verify;
    tree->remote_ttl = (int64_t)ttl * MRMR_NS_PER_S;
    tree->retain_share = share;
    return MRMR_OK;
}

static bool noted_touch(const struct pool_tree *tree, const char *name)
{
    mrmr_autoclose int fd =
        openat(tree->pool->dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && futimens(fd, NULL) == 0)
        return true;
    mrmr_log(MRMR_LOG_DEBUG, "%s could not be touched, which is tried again", name);
    return false;
}

static void noted_tell(const struct pool_tree *tree, atomic_bool *note, const char *name)
{
    if (atomic_exchange(note, false) && !noted_touch(tree, name))
        atomic_store(note, true);
}

/* The file `changed` in the pool's folder has the time of the last change that was made or seen here, but for some seconds:
 * whoever protects by himself watches it; and the file `kept` that of the last by which a release may have something to let go of, for whoever
 * does that while he rests. They say nothing else, and are not synced. */
void tree_changed_tell(struct pool_tree *tree)
{
    if (!tree->keeper)
        return;
    noted_tell(tree, &tree->changed, "changed");
    noted_tell(tree, &tree->kept, "kept");
}

static void monitor_drives(struct monitor *monitor)
{
    struct pool_tree *tree = monitor->tree;
    int64_t now = mrmr_clock_monotonic();
    bool may_start = tree_drives_follow(tree) || now >= monitor->look_at, looking = false;
    tree_detach_follow(tree);
    tree_failing_follow(tree);
    for (size_t i = 0; i < tree->ndrives; i++)
        looking = tree_drive_look(&tree->drive[i], may_start) || looking;
    if (may_start)
        monitor->look_at = now + look_interval;
    monitor->until = looking ? now + look_tick : monitor->look_at;
    if (tree_replaced_look(
            tree)) /* what the kernel keeps of one that nobody asks for is old, too */
        mrmr_log_story(MRMR_LOG_INFO, "looking for files that were repaired");
    if (settings_read(tree))
        mrmr_log_story(MRMR_LOG_INFO, "reading settings");
    tree_changed_tell(tree);
}

static void monitor_asked(struct monitor *monitor)
{
    bool ended;
    const bool stands = tree_detach_look(monitor->tree, &ended);
    const int64_t now = mrmr_clock_monotonic();
    monitor->ask_at = now + (stands ? ask_tick : ask_interval);
    if (stands)
        monitor->until = least(monitor->until, now + look_tick);
    if (ended)
        monitor->until = monitor->look_at = 0;
}

static void *monitor_run(void *arg)
{
    struct monitor monitor = {.tree = arg};
    while (monitor_wait(&monitor)) {
        if (monitor.reload)
            reload_on(monitor.tree, &monitor.changed);
        monitor_todo(&monitor, true);
        tree_due_tell(monitor.tree);
        monitor_asked(&monitor);
        if (mrmr_clock_monotonic() >= monitor.until)
            monitor_drives(&monitor);
    }
    monitor_todo(&monitor, false);
    return NULL;
}

mrmr_err tree_watch_start(struct pool_tree *tree)
{
    MRMR_TRY(settings_read(tree));
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_live(&tree->drive[i]))
            tree_watch_drive(&tree->drive[i]);
    int err = pthread_create(&tree->monitor, NULL, monitor_run, tree);
    if (err)
        return mrmr_fail_errno(err, "start thread", "");
    tree->monitored = true;
    return MRMR_OK;
}

void tree_watch_stop(struct pool_tree *tree)
{
    atomic_store(&tree->leaving.flag, true);
    {
        mrmr_locked(&tree->lock);
        tree->stop = true;
        pthread_cond_signal(&tree->monitor_wake);
    }
    if (tree->monitored)
        pthread_join(tree->monitor, NULL);
    for (size_t i = 0; i < tree->ndrives; i++) {
        drv_watch_close(tree->drive[i].watch);
        tree->drive[i].watch = NULL;
        tree_drive_leave(&tree->drive[i]);
    }
}
