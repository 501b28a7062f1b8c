/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One drive that is followed (hear.h): its thread, and whether it is there.
 *
 * The watch's events come on the watch's own thread, which notes what there is to do, and tells that something was changed (hear_event.c). This thread looks
 * at what may be a new folder, and puts it into the watch with all below it (hear_walk.c). What happened in it before was not heard, so
 * it tells again after that.
 *
 * A drive that is away, or is not to be used, is looked for every few seconds, by its identity file and without opening
 * anything, or having it mounted. Once it is there again, all of it is looked through.
 */
#include "pool/drive/hear_drive.h"
#include "pool/drive/detached.h"
#include "pool/drive/drive.h"
#include "pool/drive/failing.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

static const int64_t away_wait = 3 * MRMR_NS_PER_S;
static const int64_t failed_wait =
    60 * MRMR_NS_PER_S; /* another drive is there, or it answers errors */
static const int64_t gather_wait =
    MRMR_NS_PER_S / 5; /* what comes together is looked at together */

void hear_tell(const struct hear_drive *d)
{
    eventfd_write(d->hear->wake, 1);
}

bool hear_is_stopped(struct hear_drive *d)
{
    mrmr_locked(&d->lock);
    return d->stop || d->gone;
}

/* --- following --- */

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
    wait_locked(d, d->hindered ? d->hindered_again : INT64_MAX, true);
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
        if (hear_is_stopped(d) || drv_take_up(d->drv))
            return;
        struct hear_todo *todo = hear_todo_take(d);
        if (all) {
            hear_todo_free(todo); /* it is looked at with the rest */
            hear_walk_all(d);
            hear_tell(d);
        } else {
            hear_look_at_each(d, todo);
            hear_hindered_look(d);
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

/* Nothing is opened for that, nor mounted: what the system unmounts where nobody uses it stays that, and nothing is changed on it. */
static bool is_there(struct hear_drive *d)
{
    bool gone = true;
    uint64_t dev;
    return !drv_is_automount(d->uri) && !is_detached(d) &&
           pool_failing_get(d->hear->pool, &d->uuid) != POOL_FAILING_HERE &&
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
    return drv_watch_open(d->drv, hear_event, d, &d->watch);
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
        hear_walk_all(d);
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
    hear_todo_free(hear_todo_take(d));
    hear_hindered_clear(d);
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
            hear_tell(d);
            follow(d);
        }
        end(d);
        const bool went = begun && !drv_is_automount(d->uri);
        mrmr_locked(&d->lock);
        stop = d->stop;
        if (went && !stop)
            hear_tell(d);
        d->gone = false;
        wait_locked(d, begun ? mrmr_clock_monotonic() + away_wait : again, false);
        stop = d->stop;
    }
    mrmr_locked(&d->lock);
    d->ended = true;
    pthread_cond_signal(&d->wake);
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

/* From the stop on nobody waits but one: the thread, or whoever waits for its end. */
static bool wait_ended(struct hear_drive *d, int64_t until)
{
    const struct timespec at = mrmr_clock_to_timespec(until);
    mrmr_locked(&d->lock);
    while (!d->ended && mrmr_clock_monotonic() < until)
        pthread_cond_timedwait(&d->wake, &d->lock, &at);
    return d->ended;
}

mrmr_err hear_drive_destroy(struct hear_drive *d, int64_t until)
{
    if (!wait_ended(d, until))
        return mrmr_err_drive(mrmr_fail(MRMR_TIMEOUT, "it hangs while it is looked at"), d->name);
    pthread_join(d->thread, NULL);
    drive_free(d);
    return MRMR_OK;
}
