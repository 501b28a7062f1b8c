/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hearing of changes (hear.h): all drives of this computer, for as long as no mount is there. Whether one is says the lock of the
 * file `mounted`, and when that is to be looked at its events: it is written when a mount begins, and closed when one has ended, a moment
 * before its lock goes.
 */
#include "pool/drive/hear.h"
#include "pool/drive/drive.h"
#include "pool/records/mounted.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#define MOUNTED "mounted" /* mounted.c's */

static const int64_t tell_interval = MRMR_NS_PER_S / 4;
static const int64_t lock_moment = MRMR_NS_PER_S;
static const int64_t blind_interval = 5 * MRMR_NS_PER_S;
static const int64_t patience = MRMR_NS_PER_S; /* with drives, at the end */

struct hearing {
    struct pool *pool;
    struct hear *hear; /* NULL: no drive is followed */
    int wake;
    int notify; /* of the pool's folder; -1: it cannot be watched */
    struct hear_drive **drive;
    size_t n;
    int64_t look_at; /* monotonic: whether a mount is there; INT64_MAX: when something happens */
    unsigned looks;  /* so many times */
    int64_t told;    /* likewise */
    bool owed;       /* something was changed since */
    bool hangs;      /* threads are left, which use all this */
    void (*changed)(void *arg);
    void *arg;
};

/* --- the drives --- */

static void hear_free(struct hear *hear)
{
    if (hear)
        pool_scan_excludes_free(&hear->excludes);
    free(hear);
}

/* All have the same time, since they end at once: one that hangs takes none from the others. Of such a one all that it uses is left to it. */
static void drives_end(struct hearing *h)
{
    const int64_t until = mrmr_clock_monotonic() + patience;
    bool hangs = false;
    for (size_t i = 0; i < h->n; i++)
        hear_drive_stop(h->drive[i]);
    for (size_t i = 0; i < h->n; i++) {
        if (!hear_drive_destroy(h->drive[i], until))
            continue;
        mrmr_log_story(MRMR_LOG_WARN, "changes on the drives");
        hangs = true;
    }
    if (!hangs)
        hear_free(h->hear);
    free(h->drive);
    h->drive = NULL;
    h->n = 0;
    h->hear = NULL;
    h->hangs = h->hangs || hangs;
}

static mrmr_err drives_add(struct hearing *h, const struct meta_drive *metas, size_t n)
{
    h->drive = calloc(n ? n : 1, sizeof(struct hear_drive *));
    if (!h->drive)
        return mrmr_nomem();
    for (size_t i = 0; i < n; i++) {
        if (metas[i].state == META_DRIVE_RETIRED || !pool_place_is_local(metas[i].uri))
            continue;
        MRMR_TRY(hear_drive_start(h->hear, &metas[i], &h->drive[h->n]));
        h->n++;
    }
    return MRMR_OK;
}

static mrmr_err drives_begin(struct hearing *h)
{
    struct meta_drive *metas = NULL;
    size_t n = 0;
    h->hear = calloc(1, sizeof *h->hear);
    if (!h->hear)
        return mrmr_nomem();
    h->hear->pool = h->pool;
    h->hear->wake = h->wake;
    MRMR_TRY(pool_scan_excludes_load(h->pool, &h->hear->excludes));
    mrmr_err err = meta_drives(h->pool->meta, &metas, &n);
    if (!err)
        err = drives_add(h, metas, n);
    meta_drives_free(metas, n);
    return err;
}

/* --- whether a mount is there --- */

static void notify_add(const struct hearing *h)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (h->notify >= 0 && !mrmr_bytes_fmt(&path, "%s/" MOUNTED, h->pool->dir))
        (void)inotify_add_watch(h->notify, path.data, IN_MODIFY | IN_CLOSE_WRITE | IN_DONT_FOLLOW);
}

/* Where it cannot be had, it is looked every few seconds. */
static void notify_begin(struct hearing *h)
{
    h->notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (h->notify >= 0 && inotify_add_watch(h->notify, h->pool->dir, IN_CREATE | IN_ONLYDIR) >= 0)
        return;
    mrmr_err_hint(mrmr_fail_errno(errno, "watch", h->pool->dir),
        "the system's limits are fs.inotify.max_user_instances and max_user_watches");
    mrmr_log_story(MRMR_LOG_INFO, "whether a mount begins or ends");
    if (h->notify >= 0)
        close(h->notify);
    h->notify = -1;
}

static void notify_came(struct hearing *h)
{
    char buf[4096];
    while (read(h->notify, buf, sizeof buf) > 0)
        ;
    h->look_at = mrmr_clock_monotonic();
    h->looks = 2; /* who ends has his lock a moment longer than the file is open */
}

static mrmr_err mount_look(struct hearing *h)
{
    bool mounted;
    notify_add(h);
    MRMR_TRY(pool_mounted_is(h->pool->dirfd, &mounted));
    h->looks -= h->looks > 0;
    h->look_at = h->notify < 0 ? mrmr_clock_monotonic() + blind_interval
                 : h->looks    ? mrmr_clock_monotonic() + lock_moment
                               : INT64_MAX;
    if (mounted && h->hear)
        drives_end(h);
    return !mounted && !h->hear ? drives_begin(h) : MRMR_OK;
}

/* --- the loop --- */

static int wait_ms(const struct hearing *h, int64_t now)
{
    const int64_t tell_at = h->owed ? h->told + tell_interval : INT64_MAX;
    const int64_t until = tell_at < h->look_at ? tell_at : h->look_at;
    if (until == INT64_MAX)
        return -1;
    return until <= now ? 0 : (int)((until - now) / 1000000 + 1);
}

/* Now and then at most, while something goes on. */
static void changed_tell(struct hearing *h, int64_t now)
{
    if (!h->owed || now < h->told + tell_interval)
        return;
    h->owed = false;
    h->told = now;
    h->changed(h->arg);
}

/* *ret_on false: it is to end. */
static mrmr_err turn(struct hearing *h, int until, bool *ret_on)
{
    struct pollfd fds[] = {{until, POLLIN, 0}, {h->notify, POLLIN, 0}, {h->wake, POLLIN, 0}};
    eventfd_t n;
    if (mrmr_clock_monotonic() >= h->look_at)
        MRMR_TRY(mount_look(h));
    changed_tell(h, mrmr_clock_monotonic());
    if (poll(fds, sizeof fds / sizeof *fds, wait_ms(h, mrmr_clock_monotonic())) < 0)
        return errno == EINTR ? MRMR_OK : mrmr_fail_errno(errno, "wait", h->pool->dir);
    *ret_on = !fds[0].revents;
    if (fds[1].revents)
        notify_came(h);
    if (fds[2].revents && eventfd_read(h->wake, &n) == 0)
        h->owed = true;
    return MRMR_OK;
}

mrmr_err pool_hear(
    struct pool *pool, int until, void (*changed)(void *arg), void *arg, bool *ret_hangs)
{
    struct hearing h = {.pool = pool,
        .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .notify = -1,
        .told = -tell_interval,
        .changed = changed,
        .arg = arg};
    struct mrmr_story story;
    mrmr_err err = h.wake < 0 ? mrmr_fail_errno(errno, "hear", pool->dir) : MRMR_OK;
    notify_begin(&h);
    for (bool on = true; !err && on;)
        err = turn(&h, until, &on);
    mrmr_story_save(&story);
    drives_end(&h);
    if (h.notify >= 0)
        close(h.notify);
    if (h.wake >= 0 && !h.hangs)
        close(h.wake);
    *ret_hangs = h.hangs;
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}
