/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One drive that is followed (hear.h): its watch, the folders that are in it, and whether it is there.
 *
 * The watch's events come on its own thread, which notes what there is to do, and tells that something was changed. This thread looks
 * at what may be a new folder, and puts it into the watch with all below it. What happened in it before was not heard, so
 * it tells again after that.
 *
 * A drive that is away, or is not to be used, is looked for every few seconds, by its identity file and without opening
 * anything. Once it is there again, all of it is looked through.
 *
 * Opening a drive tries out what it can do, on files without a name (drivers/local_probe.c); whoever opens one does. Some kernels tell of that as of a
 * file "#1234" in the root, where no name came: so a name of that kind is looked at before it is told of.
 */
#include "pool/detached.h"
#include "pool/drive.h"
#include "pool/failing.h"
#include "pool/hear.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

static const int64_t away_wait = 3 * MRMR_NS_PER_S;
static const int64_t failed_wait =
    60 * MRMR_NS_PER_S; /* another drive is there, or it answers errors */
static const int64_t gather_wait =
    MRMR_NS_PER_S / 5; /* what comes together is looked at together */
enum { REST_FACTOR = 9, TODO_MOST = 10000 };

struct hear_todo {
    struct hear_todo *next;
    bool told; /* else it is, if there is such a thing */
    char path[];
};

struct hear_drive {
    struct hear *hear;
    struct mrmr_uuid uuid;
    char *uri, *name;
    pthread_t thread;
    pthread_cond_t wake; /* with lock */

    /* The thread's. */
    struct drv *drv;
    struct drv_watch *watch;
    uint64_t
        dev; /* of the root: others are mounted there, or btrfs subvolumes, which are none of the drive */
    int64_t walk_again; /* monotonic: not looked through as a whole before this */
    bool said_full, said_failed;

    pthread_mutex_t lock;
    /* Guarded by lock. */
    bool stop;
    bool gone; /* the root is not what was opened any more */
    bool lost; /* not all was told of: its folders may be others */
    struct hear_folders folders;
    struct hear_todo *todo, **todo_last;
    size_t ntodo;
};

static void tell(const struct hear_drive *d)
{
    eventfd_write(d->hear->wake, 1);
}

/* --- events --- */

static void todo_add_locked(struct hear_drive *d, const char *folder, const char *name, bool told)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    struct hear_todo *todo = d->ntodo < TODO_MOST ? malloc(sizeof *todo + size) : NULL;
    pthread_cond_signal(&d->wake);
    if (!todo) {
        d->lost = true;
        return;
    }
    todo->next = NULL;
    todo->told = told;
    snprintf(todo->path, size, "%s%s%s", folder, *folder && *name ? "/" : "", name);
    *d->todo_last = todo;
    d->todo_last = &todo->next;
    d->ntodo++;
}

/* As a file without a name is called. */
static bool is_nameless(const char *name)
{
    return name[0] == '#' && name[1] && !name[1 + strspn(name + 1, "0123456789")];
}

/* Of a folder, or of what has this name in it. True: something was changed. */
static bool thing_locked(
    struct hear_drive *d, enum drv_event event, const char *folder, const char *name)
{
    if (!folder || (name && pool_scan_excluded(&d->hear->excludes, folder, name)))
        return false;
    const bool sure = !name || event == DRV_EVENT_NAME || !is_nameless(name);
    if (event == DRV_EVENT_NAME || !sure)
        todo_add_locked(d, folder, name, sure);
    return sure;
}

/* The folder is another one now, or none. */
static bool folder_locked(struct hear_drive *d, const char *folder)
{
    if (!folder)
        return false;
    if (*folder)
        todo_add_locked(d, folder, "", true);
    d->gone = d->gone || !*folder;
    pthread_cond_signal(&d->wake);
    return true;
}

static bool event_locked(
    struct hear_drive *d, enum drv_event event, const char *folder, const char *name)
{
    switch (event) {
    case DRV_EVENT_NAME:
    case DRV_EVENT_BYTES:
    case DRV_EVENT_ATTRS:
        return thing_locked(d, event, folder, name);
    case DRV_EVENT_MOVED:
    case DRV_EVENT_END:
        return folder_locked(d, folder);
    case DRV_EVENT_LOST:
        d->lost = true;
        break;
    case DRV_EVENT_ROOT:
        d->gone = true;
        break;
    }
    pthread_cond_signal(&d->wake);
    return true;
}

static void event(enum drv_event what, enum drv_who who, uint64_t key, const char *name, void *arg)
{
    struct hear_drive *d = arg;
    bool changed;
    (void)who; /* whoever protects is another process */
    {
        mrmr_locked(&d->lock);
        changed = event_locked(d, what, hear_folders_path(&d->folders, key), name);
    }
    if (changed)
        tell(d);
}

/* --- looking through --- */

static bool is_stopped(struct hear_drive *d)
{
    mrmr_locked(&d->lock);
    return d->stop || d->gone;
}

struct walk {
    struct hear_drive *drive;
    const char *folder;
    struct mrmr_bytes paths; /* each with its NUL */
    size_t n;                /* of them */
    bool all;                /* of the drive: what is not seen is none of it any more */
    bool full;               /* no more are collected */
    bool over;               /* nor followed, */
    bool system;             /* since the system has no more watches */
};

static mrmr_err walk_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct walk *walk = arg;
    if (is_stopped(walk->drive))
        return mrmr_fail(MRMR_CANCELLED, NULL);
    if (err || stat->type != DRV_DIR || stat->dev != walk->drive->dev ||
        pool_scan_excluded(&walk->drive->hear->excludes, walk->folder, name))
        return MRMR_OK;
    walk->full = walk->full || walk->n >= HEAR_FOLDERS_MOST;
    if (walk->full)
        return mrmr_fail(MRMR_CANCELLED, NULL); /* enough of this one */
    walk->n++;
    return mrmr_bytes_fmt(
        &walk->paths, "%s%s%s%c", walk->folder, *walk->folder ? "/" : "", name, 0);
}

static void unwatch(uint64_t key, void *arg)
{
    drv_watch_remove(((struct hear_drive *)arg)->watch, key);
}

/* What is not seen any more makes room, and if it is there after all it is seen soon. */
static mrmr_err folder_know(struct walk *walk, const char *path)
{
    struct hear_drive *d = walk->drive;
    mrmr_locked(&d->lock);
    mrmr_err err = hear_folders_add(&d->folders, path);
    if (err != MRMR_SPACE || !walk->all)
        return err;
    hear_folders_sweep(&d->folders, unwatch, d);
    return hear_folders_add(&d->folders, path);
}

static mrmr_err folder_add(struct walk *walk, const char *path)
{
    struct hear_drive *d = walk->drive;
    MRMR_TRY(folder_know(walk, path));
    mrmr_err err = drv_watch_add(d->watch, path, hear_folders_key(path));
    if (!err)
        return MRMR_OK;
    walk->system = walk->system || err == MRMR_SPACE;
    mrmr_locked(&d->lock);
    hear_folders_remove(&d->folders, path, unwatch, d);
    return err;
}

static void say_full(struct hear_drive *d, bool system)
{
    size_t n;
    {
        mrmr_locked(&d->lock);
        n = d->folders.n;
    }
    if (!d->said_full)
        mrmr_log(MRMR_LOG_WARN,
            "drive %s: changes are heard of in %zu of its folders; those in the others are found "
            "when it is looked through (mrmr get "
            "scan-interval): %s",
            d->name, n,
            system ? "the system has no more watches (fs.inotify.max_user_watches)"
                   : "no more are followed");
    d->said_full = true;
}

static mrmr_err walk_folder(struct walk *walk, const char *path)
{
    walk->folder = path;
    mrmr_err err = folder_add(walk, path);
    walk->over = err == MRMR_SPACE;
    if (!err && !walk->full)
        err = drv_list(walk->drive->drv, path, walk_entry, walk);
    return mrmr_ran_short(err) ? err : MRMR_OK; /* it went, or may not be read */
}

/* The folder, then those in it, level by level: where not all can be followed those at the top are. Once that many are known
 * no other is looked for. True: all of them are followed. */
static bool walk_from(struct walk *walk, const char *top)
{
    mrmr_err err = mrmr_bytes_add(&walk->paths, top, strlen(top) + 1);
    for (size_t at = 0; !err && !walk->over && at < walk->paths.size && !is_stopped(walk->drive);) {
        mrmr_autofree char *path = strdup(walk->paths.data + at);
        at += path ? strlen(path) + 1 : 0;
        err = path ? walk_folder(walk, path) : mrmr_nomem();
    }
    mrmr_bytes_free(&walk->paths);
    if (walk->full || walk->over)
        say_full(walk->drive, walk->system);
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "not all folders of a drive are followed");
    return !err && !walk->full && !walk->over && !is_stopped(walk->drive);
}

static void walk(struct hear_drive *d, const char *top)
{
    struct walk walk = {.drive = d, .paths = MRMR_BYTES_INIT, .n = 1};
    walk_from(&walk, top);
}

static void walk_all(struct hear_drive *d)
{
    struct walk walk = {.drive = d, .paths = MRMR_BYTES_INIT, .n = 1, .all = true};
    const int64_t begun = mrmr_clock_monotonic();
    {
        mrmr_locked(&d->lock);
        d->lost = false;
        hear_folders_begin(&d->folders);
    }
    if (walk_from(&walk, "")) {
        mrmr_locked(&d->lock);
        hear_folders_sweep(&d->folders, unwatch, d);
        d->said_full = false;
    }
    const int64_t now = mrmr_clock_monotonic();
    d->walk_again = now + REST_FACTOR * (now - begun);
}

/* --- what there is to do --- */

static void todo_free(struct hear_todo *todo)
{
    for (struct hear_todo *next; todo; todo = next) {
        next = todo->next;
        free(todo);
    }
}

static struct hear_todo *todo_take(struct hear_drive *d)
{
    mrmr_locked(&d->lock);
    struct hear_todo *todo = d->todo;
    d->todo = NULL;
    d->todo_last = &d->todo;
    d->ntodo = 0;
    return todo;
}

static void todo_do(struct hear_drive *d, const struct hear_todo *todo)
{
    struct drv_stat stat;
    const mrmr_err err = drv_stat(d->drv, todo->path, &stat);
    if (!err && stat.type == DRV_DIR && stat.dev == d->dev) {
        walk(d, todo->path);
        tell(d);
        return;
    }
    if (!err && !todo->told)
        tell(d);
    mrmr_locked(&d->lock);
    hear_folders_remove(&d->folders, todo->path, unwatch, d);
}

/* Until the drive is to be let go of for good, or so long has passed (monotonic; INT64_MAX: for ever), or there is something to do. */
static void wait_locked(struct hear_drive *d, int64_t until, bool for_todo)
{
    const struct timespec at = mrmr_clock_to_timespec(until);
    while (!d->stop && !d->gone && !(for_todo && (d->todo || d->lost)) &&
           mrmr_clock_monotonic() < until) {
        if (until == INT64_MAX)
            pthread_cond_wait(&d->wake, &d->lock);
        else
            pthread_cond_timedwait(&d->wake, &d->lock, &at);
    }
}

/* True: all is to be looked through, which is done for a tenth of the time at most. */
static bool todo_wait(struct hear_drive *d)
{
    mrmr_locked(&d->lock);
    wait_locked(d, INT64_MAX, true);
    wait_locked(d, mrmr_clock_monotonic() + gather_wait, false);
    if (d->lost)
        wait_locked(d, d->walk_again, false);
    return d->lost;
}

/* It is there, and looked through. To the end of that. */
static void follow(struct hear_drive *d)
{
    for (;;) {
        const bool all = todo_wait(d);
        if (is_stopped(d) || drv_take_up(d->drv))
            return;
        struct hear_todo *todo = todo_take(d);
        for (const struct hear_todo *one = todo; one && !all; one = one->next)
            todo_do(d, one);
        todo_free(todo);
        if (all) {
            walk_all(d);
            tell(d);
        }
        drv_let_go(d->drv);
    }
}

/* --- whether it is there --- */

/* A detached one that is seen gone is used when it is back. */
static bool is_detached(struct hear_drive *d)
{
    struct pool *pool = d->hear->pool;
    enum pool_detached detached;
    struct mrmr_uuid mark;
    uint64_t dev;
    bool gone = false;
    if (pool_detached_get(pool, &d->uuid, &detached, &mark))
        return true;
    if (detached != POOL_DETACHED_HERE)
        return false;
    const struct pool_detached_stamp stamp = pool_detached_stamp_then(pool, &d->uuid);
    if (!pool_detached_look(d->uri, &stamp, &gone, &dev) && gone)
        pool_detached_goes(pool, &mark);
    return true;
}

/* Nothing is opened for that. */
static bool is_there(struct hear_drive *d)
{
    bool gone = true;
    uint64_t dev;
    return !is_detached(d) && pool_failing_get(d->hear->pool, &d->uuid) != POOL_FAILING_HERE &&
           !pool_detached_look(d->uri, NULL, &gone, &dev) && !gone;
}

static mrmr_err open_ours(struct hear_drive *d)
{
    struct pool_identity found;
    struct drv_stat root;
    MRMR_TRY(drv_open(d->uri, &d->drv));
    MRMR_TRY(pool_identity_read(d->drv, &found));
    if (!mrmr_uuid_equal(&found.pool, &d->hear->pool->uuid) ||
        !mrmr_uuid_equal(&found.uuid, &d->uuid))
        return mrmr_fail(MRMR_NO_DRIVE, "another drive is there");
    MRMR_TRY(drv_stat(d->drv, "", &root));
    d->dev = root.dev;
    return drv_watch_open(d->drv, event, d, &d->watch);
}

static void say_failed(struct hear_drive *d, mrmr_err err)
{
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || d->said_failed)
        return;
    mrmr_err_drive(err, d->name);
    mrmr_log_story(MRMR_LOG_WARN, "changes that are made on a drive are found when it is looked "
                                  "through (mrmr get scan-interval) alone");
    d->said_failed = true;
}

/* From when on it is looked for again, if it cannot be followed; monotonic, INT64_MAX: never. */
static mrmr_err begin(struct hear_drive *d, int64_t *ret_again)
{
    *ret_again = mrmr_clock_monotonic() + away_wait;
    {
        mrmr_locked(&d->lock);
        d->gone = false;
    }
    if (!is_there(d))
        return MRMR_OFFLINE;
    const mrmr_err err = open_ours(d);
    if (!err) {
        walk_all(d);
        drv_let_go(d->drv);
        return MRMR_OK;
    }
    *ret_again = err == MRMR_UNSUPPORTED ? INT64_MAX : mrmr_clock_monotonic() + failed_wait;
    say_failed(d, err);
    return err;
}

static void end(struct hear_drive *d)
{
    drv_watch_close(d->watch);
    drv_close(d->drv);
    d->watch = NULL;
    d->drv = NULL;
    todo_free(todo_take(d));
    mrmr_locked(&d->lock);
    hear_folders_clear(&d->folders);
}

static void *run(void *arg)
{
    struct hear_drive *d = arg;
    for (bool stop = false; !stop;) {
        int64_t again;
        const bool begun = begin(d, &again) == MRMR_OK;
        if (begun) {
            tell(d);
            follow(d);
        }
        end(d);
        mrmr_locked(&d->lock);
        stop = d->stop;
        if (begun && !stop) /* it went */
            tell(d);
        d->gone = false;
        wait_locked(d, begun ? mrmr_clock_monotonic() + away_wait : again, false);
        stop = d->stop;
    }
    return NULL;
}

/* --- life --- */

static void drive_free(struct hear_drive *d)
{
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    free(d->uri);
    free(d->name);
    free(d);
}

mrmr_err hear_drive_start(
    struct hear *hear, const struct meta_drive *meta, struct hear_drive **ret_drive)
{
    pthread_condattr_t attr;
    struct hear_drive *d = calloc(1, sizeof *d);
    if (!d)
        return mrmr_nomem();
    d->hear = hear;
    d->uuid = meta->uuid;
    d->todo_last = &d->todo;
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attr);
    pthread_condattr_destroy(&attr);
    d->uri = strdup(meta->uri);
    d->name = strdup(meta->name);
    mrmr_err err = d->uri && d->name ? MRMR_OK : mrmr_nomem();
    const int why = err ? 0 : pthread_create(&d->thread, NULL, run, d);
    if (why)
        err = mrmr_fail_errno(why, "start thread", "");
    if (err)
        drive_free(d);
    else
        *ret_drive = d;
    return err;
}

void hear_drive_stop(struct hear_drive *d)
{
    mrmr_locked(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->wake);
}

mrmr_err hear_drive_destroy(struct hear_drive *d, int64_t until)
{
    const struct timespec at = mrmr_clock_to_timespec(until);
    if (pthread_clockjoin_np(d->thread, NULL, CLOCK_MONOTONIC, &at))
        return mrmr_err_drive(mrmr_fail(MRMR_TIMEOUT, "it hangs while it is looked at"), d->name);
    drive_free(d);
    return MRMR_OK;
}
