/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The folders of a drive that is followed (hear.h) are put into its watch. What cannot be looked at keeps what is known of it and below it, and
 * is looked at again after a second, and then less and less often: a folder may not be read for as long as a drive answers
 * errors, or for good. Of very many some are not tried again by themselves: all is looked through once the others can be looked at, and until then all
 * that is known is kept.
 */
#include "pool/drive/hear_drive.h"

#include <string.h>

static const int64_t hindered_first = MRMR_NS_PER_S, hindered_last = 60 * MRMR_NS_PER_S;
static const int64_t all_again_wait = 60 * MRMR_NS_PER_S;
enum { REST_FACTOR = 9 };

/* --- what hinders --- */

/* It is none of the drive's folders; any other error says nothing of it. */
static bool is_gone(mrmr_err err)
{
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR || err == MRMR_LOOP ||
           err == MRMR_CROSS_DEVICE;
}

/* All is looked through again, and not soon. */
static void all_again(struct hear_drive *d)
{
    const int64_t again = mrmr_clock_monotonic() + all_again_wait;
    d->walk_again = d->walk_again > again ? d->walk_again : again;
    mrmr_locked(&d->lock);
    d->lost = true;
}

static void again_at(struct hear_drive *d)
{
    const int64_t twice = 2 * d->hindered_wait;
    d->hindered_wait = twice < hindered_first  ? hindered_first
                       : twice > hindered_last ? hindered_last
                                               : twice;
    d->hindered_again = mrmr_clock_monotonic() + d->hindered_wait;
}

static void hindered_too_many(struct hear_drive *d)
{
    d->hindered_more = true;
    if (!d->said_hindered)
        mrmr_log(MRMR_LOG_WARN,
            "drive %s: more than %d of its folders cannot be read; what is changed in "
            "the others meanwhile may be found only when it is looked through (mrmr get "
            "scan-interval)",
            d->name, (int)HEAR_TODO_MOST);
    d->said_hindered = true;
}

/* In the folder; name "": the folder itself. */
static void hindered(struct hear_drive *d, const char *folder, const char *name, mrmr_err err)
{
    if (d->nhindered >= HEAR_TODO_MOST) {
        hindered_too_many(d);
        return;
    }
    struct hear_todo *todo = hear_todo_new(folder, name, false);
    if (!todo) {
        all_again(d);
        return;
    }
    mrmr_err_path(mrmr_err_drive(mrmr_fail(err, NULL), d->name), todo->path);
    mrmr_log_story(MRMR_LOG_INFO, "changes there are not all heard of for now");
    if (!d->hindered)
        again_at(d);
    todo->next = d->hindered;
    d->hindered = todo;
    d->nhindered++;
}

static struct hear_todo *hindered_take(struct hear_drive *d)
{
    struct hear_todo *todo = d->hindered;
    d->hindered = NULL;
    d->nhindered = 0;
    return todo;
}

void hear_hindered_look(struct hear_drive *d)
{
    if (!d->hindered || mrmr_clock_monotonic() < d->hindered_again)
        return;
    hear_look_at_each(d, hindered_take(d));
    if (d->hindered || hear_is_stopped(d))
        return;
    d->hindered_wait = 0;
    mrmr_locked(&d->lock);
    d->lost = d->lost || d->hindered_more;
}

void hear_hindered_clear(struct hear_drive *d)
{
    hear_todo_free(hindered_take(d));
    d->hindered_wait = 0;
    d->hindered_more = false;
}

/* --- looking through --- */

struct walk {
    struct hear_drive *drive;
    const char *folder;
    struct mrmr_bytes paths; /* each with its NUL */
    size_t n;                /* of them */
    bool all;                /* of the drive: what is not seen is none of it any more */
    bool looked;             /* into the first of them */
    bool full;               /* no more are collected */
    bool over;               /* nor followed, */
    bool system;             /* since the system has no more watches */
};

static mrmr_err walk_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct walk *walk = arg;
    if (hear_is_stopped(walk->drive))
        return mrmr_fail(MRMR_CANCELLED, NULL);
    if (pool_scan_excluded(&walk->drive->hear->excludes, walk->folder, name))
        return MRMR_OK;
    if (err && !is_gone(err))
        hindered(walk->drive, walk->folder, name, err);
    if (err || stat->type != DRV_DIR || stat->dev != walk->drive->dev)
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

/* Of what could not be looked at nothing is known to have gone. */
static void sweep_locked(struct hear_drive *d)
{
    if (d->hindered_more)
        return;
    for (const struct hear_todo *todo = d->hindered; todo; todo = todo->next)
        hear_folders_keep(&d->folders, todo->path);
    hear_folders_sweep(&d->folders, unwatch, d);
}

/* What is not seen any more makes room, and if it is there after all it is seen soon. */
static mrmr_err folder_know(struct walk *walk, const char *path)
{
    struct hear_drive *d = walk->drive;
    mrmr_locked(&d->lock);
    mrmr_err err = hear_folders_add(&d->folders, path);
    if (err != MRMR_SPACE || !walk->all)
        return err;
    sweep_locked(d);
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
    if (err == MRMR_SPACE || is_gone(err)) {
        mrmr_locked(&d->lock);
        hear_folders_remove(&d->folders, path, unwatch, d);
    }
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
            system ? "half of the system's watches, or all that are free, are taken "
                     "(fs.inotify.max_user_watches)"
                   : "no more are followed");
    d->said_full = true;
}

static mrmr_err walk_folder(struct walk *walk, const char *path, bool top)
{
    walk->folder = path;
    mrmr_err err = folder_add(walk, path);
    walk->over = err == MRMR_SPACE;
    if (!err && !walk->full)
        err = drv_list(walk->drive->drv, path, walk_entry, walk);
    if (mrmr_ran_short(err))
        return err;
    if (!err || err == MRMR_CANCELLED)
        walk->looked = walk->looked || top;
    else if (!walk->over && !is_gone(err))
        hindered(walk->drive, path, "", err);
    return MRMR_OK;
}

/* The folder, then those in it, level by level: where not all can be followed those at the top are. Once that many are known
 * no other is looked for. True: all of them are followed. */
static bool walk_from(struct walk *walk, const char *top)
{
    mrmr_err err = mrmr_bytes_add(&walk->paths, top, strlen(top) + 1);
    for (size_t at = 0;
         !err && !walk->over && at < walk->paths.size && !hear_is_stopped(walk->drive);) {
        mrmr_autofree char *path = strdup(walk->paths.data + at);
        err = path ? walk_folder(walk, path, !at) : mrmr_nomem();
        at += path ? strlen(path) + 1 : 0;
    }
    mrmr_bytes_free(&walk->paths);
    if (walk->full || walk->over)
        say_full(walk->drive, walk->system);
    if (err) {
        mrmr_log_story(MRMR_LOG_WARN, "not all folders of a drive are followed");
        all_again(walk->drive);
    }
    return !err && !walk->full && !walk->over && !hear_is_stopped(walk->drive);
}

bool hear_walk(struct hear_drive *d, const char *top)
{
    struct walk walk = {.drive = d, .paths = MRMR_BYTES_INIT, .n = 1};
    walk_from(&walk, top);
    return walk.looked;
}

void hear_walk_all(struct hear_drive *d)
{
    struct walk walk = {.drive = d, .paths = MRMR_BYTES_INIT, .n = 1, .all = true};
    const int64_t begun = mrmr_clock_monotonic();
    hear_hindered_clear(d);
    {
        mrmr_locked(&d->lock);
        d->lost = false;
        hear_folders_begin(&d->folders);
    }
    if (walk_from(&walk, "")) {
        mrmr_locked(&d->lock);
        sweep_locked(d);
        d->said_full = false;
    }
    const int64_t now = mrmr_clock_monotonic(), rested = now + REST_FACTOR * (now - begun);
    d->walk_again = d->walk_again > rested ? d->walk_again : rested;
}

/* A folder is walked, and what is none any more forgotten; told of as far as that was not. */
static void look_at(struct hear_drive *d, const struct hear_todo *todo)
{
    struct drv_stat stat;
    const mrmr_err err = drv_stat(d->drv, todo->path, &stat);
    if (err && !is_gone(err)) {
        hindered(d, todo->path, "", err);
        return;
    }
    if (!err && stat.type == DRV_DIR && stat.dev == d->dev) {
        if (hear_walk(d, todo->path) || todo->told)
            hear_tell(d);
        return;
    }
    if (!err && !todo->told)
        hear_tell(d);
    mrmr_locked(&d->lock);
    hear_folders_remove(&d->folders, todo->path, unwatch, d);
}

void hear_look_at_each(struct hear_drive *d, struct hear_todo *todo)
{
    for (const struct hear_todo *one = todo; one && !hear_is_stopped(d); one = one->next)
        look_at(d, one);
    hear_todo_free(todo);
}
