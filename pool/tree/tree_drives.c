/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The tree's drives: each behind a guard, looked for while it is out of service, and new ones.
 *
 * A look at what is at a root may hang like any other op, so it has a thread of its own, one a drive,
 * which nobody waits for. A drive that was added to the pool since is one that is out of service at
 * first. What a drive that comes back has to do first has a thread, too, which is waited for before the drive is looked
 * for again, before another takes its place, and at the end.
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_detach.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_watch.h"

#include "drivers/guard.h"
#include "pool/drive/detached.h"
#include "pool/drive/drive.h"
#include "pool/drive/failing.h"
#include "pool/drive/hung.h"
#include "pool/retained/pointers.h"
#include "pool/return/tree_return.h"
#include "pool/tree/tree_sync.h"
#include <assert.h>
#include <string.h>

enum { DRIVE_THREADS = 8 };

/* --- guards --- */

static void drive_cut(mrmr_err why, void *arg)
{
    struct tree_drive *drive = arg;
    drive->fails = why == MRMR_IO || drive->fails; /* noted by the monitor */
    drive->cuts++;
    pool_pointers_forget(drive->drive->drv);
    tree_kept_forget(drive);
    tree_catalog_forget(drive);
    {
        mrmr_locked(&drive->tree->lock);
        if (drive->tree->stop)
            return;
        drive->changed = true;
        atomic_store(&drive->tree->changed, true);
        atomic_store(
            &drive->tree->kept, true); /* what a release takes in waited for it, or waits now */
        tree_lost_locked(drive->tree, (size_t)(drive - drive->tree->drive));
        pthread_cond_signal(&drive->tree->monitor_wake);
    }
    tree_failing_limit(drive->tree);
    mrmr_err_drive(mrmr_story_get()->err, drive->drive->meta.name);
    mrmr_log_story(MRMR_LOG_WARN, "a drive is out of service");
}

/* It may be writable now, or not any more. Nobody looks at it before the drive was in service once; after
 * that others may at any moment: what can change is atomic, and the rest stays, of the same file system. */
static void info_take(struct pool_drive *own)
{
    struct drv_info now;
    if (drv_info(own->drv, &now))
        return;
    if (!(now.caps & DRV_CAP_STABLE_INO) && own->info.caps != now.caps)
        mrmr_log(MRMR_LOG_WARN,
            "drive %s: its file system (%s) has no inode numbers that last: what lies on it is "
            "read "
            "through the mount, and not changed; new files go to other drives",
            own->meta.name, now.fs_name);
    if (own->presence != POOL_PRESENT && own->presence != POOL_DIVERGED) {
        own->info = now;
        return;
    }
    own->info.caps = now.caps;
    own->info.time_grain = now.time_grain;
    own->info.is_mountpoint = now.is_mountpoint;
}

mrmr_err tree_drive_guard(struct tree_drive *drive, struct pool_drive *own)
{
    struct drv_stat root;
    struct drv *guard;
    const struct drv_guard_options options = {.threads = DRIVE_THREADS,
        .deadline = drive->tree->deadline,
        .id = pool_drive_medium(&own->meta),
        .changes_take = DRV_CAP_STABLE_INO,
        .cut = drive_cut,
        .arg = drive};
    MRMR_TRY(drv_guard_create(&options, &guard));
    struct drv *inner = own->drv;
    own->drv = guard;
    if (own->presence != POOL_PRESENT && own->presence != POOL_DIVERGED) {
        drv_close(inner);
        return MRMR_OK;
    }
    MRMR_TRY(drv_guard_put(guard, inner));
    info_take(own);
    if (drv_stat(guard, "", &root) == MRMR_OK)
        drive->dev = root.dev;
    return MRMR_OK;
}

/* --- drives that are out of service --- */

struct tree_probe { /* shared by the monitor and a thread; the last frees it */
    atomic_uint refs;
    atomic_bool done;
    char *uri;
    struct pool_detached_stamp stamp; /* of what was detached: detached.h */
    bool detached;                    /* nothing is opened */
    unsigned cuts;                    /* of the drive, when it began */
    /* Set before done. */
    mrmr_err err;
    struct drv *drv;
    struct drv_stat root;
    struct pool_identity found;
    bool gone; /* of one that is detached, of which nothing else is set but root.dev */
};

static void probe_put(struct tree_probe *probe)
{
    if (!probe || atomic_fetch_sub(&probe->refs, 1) != 1)
        return;
    drv_close(probe->drv);
    free(probe->uri);
    free(probe);
}

static mrmr_err probe_look(struct tree_probe *probe)
{
    if (probe->detached)
        return pool_detached_look(probe->uri, &probe->stamp, &probe->gone, &probe->root.dev);
    MRMR_TRY(drv_open(probe->uri, &probe->drv));
    MRMR_TRY(pool_identity_read(probe->drv, &probe->found));
    return drv_stat(probe->drv, "", &probe->root);
}

static void *probe_run(void *arg)
{
    struct tree_probe *probe = arg;
    probe->err = probe_look(probe);
    atomic_store(&probe->done, true);
    probe_put(probe);
    return NULL;
}

static void probe_start(struct tree_drive *drive)
{
    struct tree_probe *probe = calloc(1, sizeof *probe);
    pthread_t thread;
    if (!probe || !(probe->uri = strdup(drive->drive->meta.uri))) {
        free(probe);
        return;
    }
    probe->refs = 2;
    probe->cuts = drive->cuts;
    probe->detached = drive->detached || drive->failing;
    if (drive->detached)
        probe->stamp = pool_detached_stamp_then(drive->tree->pool, &drive->drive->meta.uuid);
    if (pthread_create(&thread, NULL, probe_run, probe)) {
        probe->refs = 1;
        probe_put(probe);
        return;
    }
    pthread_detach(thread);
    drive->probe = probe;
}

/* What is at the root is this drive, in a session that the catalog knows by now. */
static bool probe_is_ours(struct tree_drive *drive, const struct tree_probe *probe)
{
    struct pool *pool = drive->tree->pool;
    struct meta_drive *metas = NULL;
    size_t n = 0;
    bool ours = false;
    if (probe->err || !mrmr_uuid_equal(&probe->found.pool, &pool->uuid) ||
        !mrmr_uuid_equal(&probe->found.uuid, &drive->drive->meta.uuid) ||
        meta_drives(pool->meta, &metas, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (metas[i].id == drive->drive->meta.id && metas[i].state != META_DRIVE_RETIRED &&
            mrmr_uuid_equal(&metas[i].uuid, &probe->found.uuid))
            ours = pool_session_judge(&metas[i], &probe->found.session) != POOL_SESSION_STRANGE;
    meta_drives_free(metas, n);
    return ours;
}

/* Everything on it is done anew: it has been away, or can do other things than before. */
static bool probe_put_to_use(struct tree_drive *drive, struct tree_probe *probe)
{
    struct pool_drive *own = drive->drive;
    struct drv *drv = mrmr_steal(probe->drv);
    const bool was = drive->returning;
    if (!tree_detach_back(drive)) {
        drv_close(drv);
        return false;
    }
    drive->dev = probe->root.dev; /* before anyone lists it */
    drive->returning = true;
    pool_pointers_forget(own->drv);
    tree_kept_forget(drive);
    {
        mrmr_locked(
            &drive->tree->lock); /* before anything can be synced there, whoever was faster */
        tree_lost_locked(drive->tree, (size_t)(drive - drive->tree->drive));
    }
    if (drv_guard_put(own->drv, drv)) {
        drive->returning = was;
        return false;
    }
    info_take(own);
    own->presence = POOL_PRESENT;
    if (drive->tree->keeper &&
        pool_failing_get(drive->tree->pool, &own->meta.uuid) == POOL_FAILING_WENT)
        pool_failing_back(drive->tree->pool, &own->meta.uuid);
    if (tree_drive_is_member(drive))
        return true;
    mrmr_fail(MRMR_OFFLINE, "it has left its place in the pool just now");
    drv_guard_cut(own->drv, MRMR_OFFLINE);
    return false;
}

static bool is_returning(const struct tree_drive *drive)
{
    return drive->returning && drive->drive->presence == POOL_PRESENT &&
           drv_guard_serves(drive->drive->drv);
}

/* It serves already, and has something to do first (tree_return.h): it may be possible now. */
static bool probe_is_same(const struct tree_drive *drive, const struct tree_probe *probe)
{
    struct drv_info now;
    return is_returning(drive) && !drv_info(probe->drv, &now) &&
           drv_guard_caps(drive->drive->drv, now.caps) == drive->drive->info.caps &&
           probe->root.dev == drive->dev;
}

static void is_changed(struct tree_drive *drive)
{
    mrmr_locked(&drive->tree->lock);
    drive->changed = true;
    atomic_store(&drive->tree->changed, true); /* for whoever protects: what is on it now? */
    atomic_store(
        &drive->tree->kept, true); /* and for whoever lets go: it may have waited for that */
    pthread_cond_signal(&drive->tree->monitor_wake);
}

/* What was asked of it while it was away may take as long as it likes: meanwhile the monitor looks after the other
 * drives. Nobody else takes it back, and none takes its place in the pool, until that is over. */
struct tree_coming {
    struct tree_drive *drive;
    pthread_t thread;
    bool again; /* it is live, and something is left on it */
    atomic_bool done;
};

static void *coming_run(void *arg)
{
    struct tree_coming *coming = arg;
    if (coming->again)
        tree_return_again(coming->drive);
    else if (tree_return_begin(coming->drive) && tree_live(coming->drive))
        mrmr_log(MRMR_LOG_WARN, "drive %s: it is in service", coming->drive->drive->meta.name);
    atomic_store(&coming->done, true);
    return NULL;
}

static void coming_begin(struct tree_drive *drive, bool again)
{
    struct tree_coming *coming = calloc(1, sizeof *coming);
    if (!coming) /* the next look tries again */
        return;
    coming->drive = drive;
    coming->again = again;
    if (pthread_create(&coming->thread, NULL, coming_run, coming))
        free(coming);
    else
        drive->coming = coming;
}

static void coming_end(struct tree_drive *drive)
{
    struct tree_coming *coming = mrmr_steal(drive->coming);
    if (!coming)
        return;
    pthread_join(coming->thread, NULL);
    free(coming);
}

/* While it was not live nobody watched it (tree_watch.c). */
static void coming_over(struct tree_drive *drive)
{
    const bool again = drive->coming->again;
    coming_end(drive);
    if (again || !tree_live(drive))
        return;
    if (!drive->watch)
        tree_watch_drive(drive);
    is_changed(drive);
}

static void probe_take(struct tree_drive *drive, struct tree_probe *probe)
{
    if (!probe_is_same(drive, probe)) {
        if (!probe_put_to_use(drive, probe))
            return;
        is_changed(drive);
    }
    tree_catalog_forget(drive);
    pool_views_forget(drive->tree->pool, 0); /* they hold rows as they were opened before */
    tree_watch_drive(drive);
    coming_begin(drive, false);
}

/* A change that was given up may land after a later one: until it is over the drive is away. */
static bool nothing_hangs(struct tree_drive *drive)
{
    /* Also one of a mount that was killed. */
    return !drv_guard_late(drive->drive->drv) && !pool_drive_hangs(drive->tree->pool, drive->drive);
}

/* What was found says something of the drive as it is now. A look may have begun while it was in service,
 * before something hung on it. */
static bool probe_is_good(struct tree_drive *drive, const struct tree_probe *probe)
{
    return probe->cuts == drive->cuts && nothing_hangs(drive) && probe_is_ours(drive, probe);
}

/* It is not there any more, or another is, or its medium fails. What the process lacks, as memory or
 * descriptors, says nothing of the drive. */
static bool probe_says_bad(const struct tree_drive *drive, const struct tree_probe *probe)
{
    const enum mrmr_class class = mrmr_class_of(probe->err);
    if (!probe->err)
        return !mrmr_uuid_equal(&probe->found.uuid, &drive->drive->meta.uuid);
    return class == MRMR_CLASS_UNAVAILABLE || class == MRMR_CLASS_CORRUPT ||
           class == MRMR_CLASS_ABSENT || probe->err == MRMR_NOT_DIR || probe->err == MRMR_LOOP;
}

/* As long as it stays where it was nobody uses it. */
static void probe_judge_detached(struct tree_drive *drive, const struct tree_probe *probe)
{
    const bool anew = drive->dev && probe->root.dev && probe->root.dev != drive->dev;
    if (probe->err || !(probe->gone || anew))
        return;
    if (drive->detached)
        pool_detached_goes(drive->tree->pool, &drive->mark);
    if (drive->failing)
        tree_failing_goes(drive);
}

/* A drive that gave errors, and whose identity cannot be read any more, is of no use. One that can
 * be read may have a bad place: its files are read by reconstruction where they must be. */
static void probe_judge(struct tree_drive *drive, struct tree_probe *probe)
{
    if (probe->detached) {
        probe_judge_detached(drive, probe);
        return;
    }
    if (tree_detach_is_out(drive))
        return;
    if (!tree_live(drive)) {
        if (probe_is_good(drive, probe))
            probe_take(drive, probe);
        return;
    }
    {
        mrmr_locked(&drive->tree->lock);
        drive->suspect = false;
    }
    if (probe_says_bad(drive, probe)) {
        mrmr_fail(MRMR_OFFLINE, probe->err
                                    ? "it was unmounted, or fails: its identity cannot be read"
                                    : "another drive is where it was");
        drv_guard_cut(drive->drive->drv, MRMR_OFFLINE);
    } else if (!probe->err && probe->root.dev != drive->dev) {
        mrmr_fail(MRMR_OFFLINE, "it was mounted anew"); /* the next look finds it there */
        drv_guard_cut(drive->drive->drv, MRMR_OFFLINE);
    }
}

bool tree_drive_failed(struct tree_drive *drive, mrmr_err err)
{
    struct pool_identity found;
    struct mrmr_story story;
    if (!err)
        return false;
    if (mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE && tree_live(drive)) {
        mrmr_story_save(&story);
        if (mrmr_class_of(pool_identity_read(drive->drive->drv, &found)) == MRMR_CLASS_UNAVAILABLE)
            drv_guard_cut(drive->drive->drv, MRMR_OFFLINE);
        mrmr_story_restore(&story);
    }
    return !tree_live(drive);
}

static bool probe_wanted(struct tree_drive *drive)
{
    if (drive->asked)
        return false;
    if (is_returning(drive) && mrmr_clock_monotonic() < drive->again_at)
        return false;
    mrmr_locked(&drive->tree->lock);
    return drive->drive->meta.state != META_DRIVE_RETIRED && (drive->suspect || !tree_live(drive));
}

static bool probe_may_start(struct tree_drive *drive)
{
    enum { STUCK_MOST = 32 };
    return drv_guard_stuck(drive->drive->drv) < STUCK_MOST &&
           (tree_live(drive) || nothing_hangs(drive));
}

bool tree_drive_look(struct tree_drive *drive, bool may_start)
{
    struct tree_probe *probe = drive->probe;
    if (drive->coming) {
        if (!atomic_load(&drive->coming->done))
            return true;
        coming_over(drive);
    }
    if (may_start && !probe && tree_return_is_left(drive))
        coming_begin(drive, true);
    if (!probe && may_start && probe_wanted(drive) && probe_may_start(drive))
        probe_start(drive);
    if (!probe || !atomic_load(&probe->done))
        return drive->probe != NULL;
    probe_judge(drive, probe);
    drive->probe = NULL;
    probe_put(probe);
    return drive->coming != NULL;
}

bool tree_drive_is_coming(const struct tree_drive *drive)
{
    return drive->coming && !atomic_load(&drive->coming->done);
}

void tree_drive_leave(struct tree_drive *drive)
{
    coming_end(drive);
    probe_put(drive->probe);
    drive->probe = NULL;
}
