/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/daemon_inside.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SCRUBBED "scrubbed "

static const int64_t again_after = 60 * MRMR_NS_PER_S; /* a job failed */
static const int64_t look_every = 3600 * MRMR_NS_PER_S;
static const int64_t look_fresh = 60 * MRMR_NS_PER_S; /* auto_rebuild.h */

/* --- what a look said --- */

static void looked_line(struct daemon_looked *looked, const char *key, const char *value)
{
    uint64_t n = 0;
    mrmr_text_u64(value, &n);
    if (strcmp(key, "settle") == 0)
        looked->settle = n;
    else if (strcmp(key, "scan-interval") == 0)
        looked->scan_interval = n;
    else if (strcmp(key, "scrub-interval") == 0)
        looked->scrub_interval = n;
    else if (strcmp(key, "paused") == 0)
        looked->paused = n > 0;
    else if (strcmp(key, "exposed") == 0)
        looked->exposed = n;
    else if (strcmp(key, "quiet-hours") == 0)
        snprintf(looked->quiet_hours, sizeof looked->quiet_hours, "%s", value);
    else if (strcmp(key, "on-event") == 0)
        snprintf(looked->on_event, sizeof looked->on_event, "%s", value);
}

static void looked_take(struct daemon *d)
{
    struct daemon_looked looked = {.is = true};
    auto_rebuild_look(&d->rebuild);
    char *rest = d->task.said.data, *line;
    while (rest && (line = strsep(&rest, "\n"))) {
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value++ = '\0';
        looked_line(&looked, line, value);
        auto_rebuild_line(&d->rebuild, line, value);
    }
    auto_rebuild_looked(&d->rebuild, mrmr_clock_monotonic());
    d->looked_at = mrmr_clock_boot();
    d->view.exposed = looked.exposed > 0;
    if (d->synced_since_look)
        d->view.idle = looked.exposed == d->looked.exposed ? d->view.idle + 1 : 0;
    d->synced_since_look = false;
    d->looked = looked;
    if (hook_set(d->hook, looked.on_event))
        mrmr_log_story(MRMR_LOG_WARN, "the setting on-event");
}

/* --- whether it may --- */

static bool is_quiet_hour(const struct daemon_looked *looked)
{
    const time_t now = time(NULL);
    struct tm local;
    unsigned from, to;
    if (!mrmr_text_hours(looked->quiet_hours, &from, &to) || !localtime_r(&now, &local))
        return false;
    const unsigned minute = (unsigned)(local.tm_hour * 60 + local.tm_min);
    return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}

const char *daemon_worker_rests(const struct daemon *d)
{
    return d->looked.paused            ? "paused (mrmr set worker running)"
           : is_quiet_hour(&d->looked) ? "these are the quiet hours (mrmr get quiet-hours)"
                                       : "";
}

/* --- the scrub of the day --- */

/* In the file of the lock, so that it is not done again after each start: "scrubbed SECONDS", since 1970. What is torn, or of a
 * time to come, says nothing, and costs one scrub more. */
void daemon_worker_recall(struct daemon *d)
{
    char text[64] = "";
    uint64_t seconds;
    const ssize_t n = pread(d->lock, text, sizeof text - 1, 0);
    const int64_t now = mrmr_clock_real();
    if (n <= 0 || strncmp(text, SCRUBBED, strlen(SCRUBBED)) != 0 || !strchr(text, '\n'))
        return;
    *strchr(text, '\n') = '\0';
    if (!mrmr_text_u64(text + strlen(SCRUBBED), &seconds) ||
        seconds > (uint64_t)(now / MRMR_NS_PER_S))
        return;
    const int64_t at = mrmr_clock_boot() - (now - (int64_t)seconds * MRMR_NS_PER_S);
    d->view.scrubbed = at ? at : -1;
}

static void scrub_ended(struct daemon *d, int64_t now)
{
    char text[64];
    const int n =
        snprintf(text, sizeof text, SCRUBBED "%" PRId64 "\n", mrmr_clock_real() / MRMR_NS_PER_S);
    d->view.scrubbed = now;
    d->scrub_part = 0;
    /* The lock may have been let go of by now. */
    mrmr_autoclose int fd = openat(d->dirfd, DAEMON_LOCK, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) < 0)
        mrmr_log(MRMR_LOG_INFO, "when the last scrub was could not be noted");
}

/* --- its jobs --- */

mrmr_err daemon_own_begin(const struct daemon *d, struct daemon_task *task,
    enum daemon_task_kind kind, const char *name, const char *const words[])
{
    enum { WORDS_MOST = 12 };
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    char *argv[WORDS_MOST + 1];
    size_t n = 0, at = 0;
    MRMR_TRY(mrmr_bytes_fmt(&text, "mrmr%c--pool%c%s%c", 0, 0, d->dir, 0));
    for (size_t i = 0; words[i]; i++)
        MRMR_TRY(mrmr_bytes_add(&text, words[i], strlen(words[i]) + 1));
    for (; at < text.size && n < WORDS_MOST; at += strlen(text.data + at) + 1)
        argv[n++] = text.data + at;
    argv[n] = NULL;
    return daemon_task_begin_own(task, kind, argv, name, &d->before);
}

static mrmr_err own_begin(
    struct daemon *d, enum daemon_task_kind kind, const char *name, const char *const words[])
{
    return daemon_own_begin(d, &d->task, kind, name, words);
}

static mrmr_err look_begin(struct daemon *d)
{
    return own_begin(d, TASK_LOOK, "look", (const char *const[]){"daemon-look", NULL});
}

static mrmr_err sync_begin(struct daemon *d)
{
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%" PRIu64 "s", d->looked.settle);
    return own_begin(d, TASK_SYNC, "sync",
        (const char *const[]){"sync", "--background", "--settle", seconds, NULL});
}

static mrmr_err scrub_begin(struct daemon *d)
{
    static const uint64_t a_day = 24 * 3600;
    char seconds[32], part[32], done[32];
    const int64_t now = mrmr_clock_boot();
    const uint64_t days = d->looked.scrub_interval / a_day;
    snprintf(seconds, sizeof seconds, "%" PRIu64 "s", d->looked.scrub_interval);
    snprintf(part, sizeof part, "%" PRIu64, days > 1 ? 100 / days + 1 : 100);
    if (!d->scrub_part || now - d->scrub_part >= (int64_t)a_day * MRMR_NS_PER_S) {
        d->scrub_part = now;
        d->scrub_done = 0;
    }
    snprintf(done, sizeof done, "%" PRIu64, d->scrub_done);
    return own_begin(d, TASK_SCRUB, "scrub",
        (const char *const[]){"scrub", "--background", "--older-than", seconds, "--percent", part,
            "--done", done, NULL});
}

/* Who waits for room does not wait for whoever else uses the drives, too. */
static mrmr_err release_begin(struct daemon *d)
{
    return own_begin(d, TASK_RELEASE, "release",
        (const char *const[]){
            "sync", "--release", d->view.waits_for_room ? NULL : "--background", NULL});
}

static mrmr_err rebuild_begin(struct daemon *d, const char *name)
{
    snprintf(d->rebuilds, sizeof d->rebuilds, "%s", name);
    mrmr_log(
        MRMR_LOG_WARN, "drive %s: it is lost, and brought to other drives (auto-rebuild)", name);
    /* As it is by then: the look is older, and others may come first. */
    return own_begin(d, TASK_REBUILD, "rebuild",
        (const char *const[]){"rebuild", "--background", "--if-lost", d->rebuilds, NULL});
}

void daemon_worker_stop(struct daemon *d)
{
    if (d->task.kind == TASK_NONE || d->task.kind == TASK_CALLER || d->task.stopped)
        return;
    d->task.stopped = true; /* once: a second signal would be a hard one */
    kill(d->task.pid, SIGTERM);
    d->look_due = d->look_due || d->task.kind == TASK_LOOK;
}

/* As it is now. */
static struct worker_view view_now(const struct daemon *d, int64_t now)
{
    struct worker_view view = d->view;
    view.now = now;
    /* Without a look nothing is known but that somebody waits for room. */
    view.rests = !d->looked.is || d->looked.paused || is_quiet_hour(&d->looked);
    view.gone = d->looked.is ? view.gone : 0;
    view.unsure = d->looked.is ? view.unsure : 0;
    view.settle = (int64_t)d->looked.settle * MRMR_NS_PER_S;
    view.scan_every = (int64_t)d->looked.scan_interval * MRMR_NS_PER_S;
    view.scrubs = d->looked.scrub_interval > 0;
    return view;
}

/* For who waits for room. A sync that is stopped again and again would never come to anything: each time it has longer. */
static int64_t room_at(const struct daemon *d)
{
    static const int64_t turn = 60 * MRMR_NS_PER_S;
    if (!d->view.waits_for_room)
        return INT64_MAX;
    const int64_t sync = d->task.begun + d->room_stops * turn;
    return d->task.kind == TASK_SYNC && sync > d->view.release_again ? sync : d->view.release_again;
}

/* A scrub goes on with its part the next time; what is new is not to wait for that. */
static int64_t sync_at(const struct daemon *d)
{
    int64_t at;
    if (d->task.kind != TASK_SCRUB || !d->view.changed)
        return INT64_MAX;
    struct worker_view view = view_now(d, d->task.begun);
    view.scrubs = view.waits_for_room = false;
    view.gone = view.unsure = 0;
    return worker_due(&view, &at) == WORKER_SYNC ? view.now : at;
}

int64_t daemon_worker_yields_at(const struct daemon *d)
{
    if (d->task.kind == TASK_CALLER || d->task.kind == TASK_RELEASE || d->task.stopped)
        return INT64_MAX;
    const int64_t room = room_at(d), sync = sync_at(d);
    return room < sync ? room : sync;
}

void daemon_worker_yield(struct daemon *d)
{
    const bool may =
        d->task.kind == TASK_SYNC || d->task.kind == TASK_SCRUB || d->task.kind == TASK_REBUILD;
    const bool rests = may && is_quiet_hour(&d->looked);
    const int64_t now = mrmr_clock_boot();
    if (!rests && now < daemon_worker_yields_at(d))
        return;
    d->room_stops += !d->task.stopped && d->task.kind == TASK_SYNC && room_at(d) <= now;
    daemon_worker_stop(d);
}

/* --- what is due --- */

void daemon_worker_changed(struct daemon *d)
{
    d->changed_last = mrmr_clock_boot();
    if (!d->view.changed)
        d->view.changed = d->changed_last;
    if (!d->nothing_kept && !d->view.unsure)
        d->view.unsure = d->changed_last;
}

void daemon_worker_kept(struct daemon *d)
{
    d->gone_last = mrmr_clock_boot();
    if (!d->view.gone)
        d->view.gone = d->gone_last;
}

void daemon_worker_unsure(struct daemon *d)
{
    d->nothing_kept = false;
    d->view.left = 0;
}

void daemon_worker_short(struct daemon *d)
{
    d->short_last = mrmr_clock_boot();
    d->view.waits_for_room = true;
}

static void begin_failed(struct daemon *d, const char *what, int64_t *again, int64_t now)
{
    mrmr_log_story(MRMR_LOG_WARN, what);
    *again = now + again_after;
    d->due = d->due < *again ? d->due : *again;
}

static void job_begin(struct daemon *d, enum worker_job job, int64_t now)
{
    if (job == WORKER_RELEASE) {
        if (release_begin(d))
            begin_failed(d, "a release could not be started", &d->view.release_again, now);
    } else if (job == WORKER_SYNC ? sync_begin(d) : scrub_begin(d)) {
        begin_failed(d, "what was due could not be started", &d->view.again, now);
    }
}

/* By the time that the computer was awake, since nobody plugs in a drive while it sleeps; but a look is as old as it is. */
static enum auto_rebuild_job rebuild_due(
    const struct daemon *d, int64_t now, const char **ret_name, int64_t *ret_again)
{
    const int64_t awake = mrmr_clock_monotonic();
    const enum auto_rebuild_job job = auto_rebuild_due(&d->rebuild, awake, ret_name, ret_again);
    if (*ret_again != INT64_MAX)
        *ret_again += now - awake;
    return job == AUTO_REBUILD_BEGIN && now - d->looked_at > look_fresh ? AUTO_REBUILD_LOOK : job;
}

/* True: it comes before what else is due, of which this is when to ask again. */
static bool rebuild_next(struct daemon *d, int64_t now, int64_t *ret_again)
{
    const char *name;
    switch (rebuild_due(d, now, &name, ret_again)) {
    case AUTO_REBUILD_NONE:
        return false;
    case AUTO_REBUILD_LOOK:
        d->look_due = true;
        d->due = now;
        *ret_again = d->look_again; /* one failed just now */
        return now >= d->look_again;
    case AUTO_REBUILD_BEGIN:
        d->due = now;
        if (!rebuild_begin(d, name))
            return true;
        mrmr_log_story(MRMR_LOG_WARN, "a lost drive");
        auto_rebuild_ended(&d->rebuild, name, mrmr_clock_monotonic(), false);
        return true;
    }
    return false;
}

/* Of what the last look said, which holds while the next one fails. */
static void due_begin(struct daemon *d, int64_t now)
{
    const struct worker_view view = view_now(d, now);
    int64_t rebuild_at = INT64_MAX;
    if (!view.rests && !view.waits_for_room && rebuild_next(d, now, &rebuild_at))
        return;
    const enum worker_job job = worker_due(&view, &d->due);
    d->due = rebuild_at < d->due ? rebuild_at : d->due;
    if (job != WORKER_RESTS)
        job_begin(d, job, now);
}

static bool look_is_due(struct daemon *d, int64_t now)
{
    d->look_due = d->look_due || now >= d->look_regular;
    return d->look_due && now >= d->look_again;
}

void daemon_worker_next(struct daemon *d)
{
    const int64_t now = mrmr_clock_boot();
    const bool release_first = d->view.waits_for_room && now >= d->view.release_again;
    if (!release_first && look_is_due(d, now)) {
        d->due = INT64_MAX;
        d->look_due = false;
        d->look_regular = now + look_every;
        if (look_begin(d)) {
            begin_failed(d, "a look at the pool could not be started", &d->look_again, now);
            d->look_due = true;
        }
        return;
    }
    due_begin(d, now);
    const int64_t look = d->look_due ? d->look_again : d->look_regular;
    d->due = d->due < look ? d->due : look;
}

/* --- what came of it --- */

static bool is_fine(int code)
{
    return code == 0 || code == 3;
}

/* What came while it was under way may have come behind it. */
static int64_t since(int64_t last, const struct daemon *d)
{
    return last > d->task.begun ? last : 0;
}

/* While the computer slept nothing was done. */
static int64_t lasted(const struct daemon *d)
{
    return mrmr_clock_monotonic() - d->task.begun_awake;
}

static void sync_ended(struct daemon *d, int64_t now)
{
    d->view.synced = now;
    d->view.looking = d->task.looking ? d->task.looking : lasted(d);
    d->view.changed = since(d->changed_last, d);
    d->view.gone = since(d->gone_last, d);
    d->view.unsure = d->view.changed;
    d->view.waits_for_room = since(d->short_last, d);
    d->room_stops = 0;
    d->look_due = d->synced_since_look = true;
}

/* It is under way half of the time at most, however often somebody is short of room. */
static void release_ended(struct daemon *d, int code, int64_t now)
{
    const bool knew = d->nothing_kept;
    d->nothing_kept =
        code == 0 && d->task.let_go; /* else some waits, as for a drive that is away */
    d->view.gone = since(d->gone_last, d);
    /* Where nothing was kept before, either, a change meanwhile was no drive's return. */
    d->view.unsure = knew && d->nothing_kept ? 0 : since(d->changed_last, d);
    d->view.released = now;
    d->view.left = d->nothing_kept ? 0 : d->view.left + !d->view.waits_for_room;
    d->view.waits_for_room = since(d->short_last, d);
    d->view.release_again = now + lasted(d);
}

/* As where somebody had the pool, whom the daemon does not know. Whoever waits for room does so for a while yet. */
static void release_failed(struct daemon *d, int64_t now)
{
    static const int64_t soon = 5 * MRMR_NS_PER_S, patience = 30 * MRMR_NS_PER_S;
    d->view.waits_for_room = d->short_last && now - d->short_last < patience;
    d->view.release_again = now + (d->view.waits_for_room ? soon : again_after);
}

void daemon_worker_ended(struct daemon *d, int code)
{
    const int64_t now = mrmr_clock_boot();
    const bool fine = is_fine(code) || d->task.scrubbed_all;
    if (d->task.kind == TASK_SCRUB)
        d->scrub_done += d->task.scrubbed;
    if (d->task.kind != TASK_LOOK && d->task.kind != TASK_RELEASE)
        daemon_worker_unsure(d);
    if (d->task.stopped && !fine)
        return; /* it goes on when whoever came is done */
    switch (d->task.kind) {
    case TASK_LOOK:
        if (code == 0)
            looked_take(d);
        d->look_due = d->look_due || code != 0;
        d->look_again = code ? now + again_after : 0;
        break;
    case TASK_SYNC:
        if (fine)
            sync_ended(d, now);
        break;
    case TASK_SCRUB:
        if (fine)
            scrub_ended(d, now);
        break;
    case TASK_RELEASE:
        if (fine)
            release_ended(d, code, now);
        else
            release_failed(d, now);
        break;
    case TASK_REBUILD:
        auto_rebuild_ended(&d->rebuild, d->rebuilds, mrmr_clock_monotonic(), code == 0);
        daemon_hear_stop(d); /* the drives are others now */
        d->look_due = true;
        break;
    default:
        break;
    }
    if (!fine && (d->task.kind == TASK_SYNC || d->task.kind == TASK_SCRUB))
        d->view.again = now + again_after;
}
