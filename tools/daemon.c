/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/daemon.h"
#include "tools/auto_rebuild.h"
#include "tools/daemon_task.h"
#include "tools/daemon_wire.h"
#include "tools/hook.h"
#include "tools/mrmr.h"
#include "tools/worker.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOCK_NAME "daemon"
#define CHANGED_NAME "changed" /* the mount touches it */

enum { CALLERS_MOST = 64 };

static const int64_t again_after = 60 * MRMR_NS_PER_S; /* a job of the worker failed */

struct caller {
    int fd; /* -1: it went away */
    bool asks;
    struct daemon_request request; /* if it asks */
    bool told;                     /* that it waits */
    struct caller *next;
};

/* What a look tells of the pool. */
struct looked {
    bool is; /* else nothing is known, and nothing is done by itself */
    uint64_t settle, scan_interval, scrub_interval; /* s */
    bool paused;
    uint64_t exposed; /* bytes, and files without any */
    char quiet_hours[32], on_event[8192];
};

struct daemon {
    const char *dir;
    int dirfd, lock, listener, signals, notify, until;
    bool ends;
    struct caller *callers; /* in the order in which they came */
    struct daemon_task task;
    struct looked looked;
    struct pool *pool; /* its catalog alone; NULL: it could not be opened yet */
    struct pool_follow *follow;
    struct hook *hook;
    bool look_due, synced_since_look;
    int64_t look_again; /* one failed: not before this; 0: none did */
    struct worker_view view;
    struct auto_rebuild rebuild;
    char rebuilds[64];    /* the drive of TASK_REBUILD */
    int64_t changed_last; /* that we know of; 0: none */
    int64_t due;          /* when the worker is to be asked again */
    sigset_t before;
};

/* --- callers --- */

static void request_free(struct daemon_request *request)
{
    for (size_t i = 0; i < DAEMON_FDS; i++)
        if (request->fd[i] >= 0)
            close(request->fd[i]);
    free(request->argv);
    request->argv = NULL;
}

static void caller_free(struct caller *caller)
{
    if (caller->fd >= 0)
        close(caller->fd);
    if (caller->asks)
        request_free(&caller->request);
    free(caller);
}

static void caller_remove(struct daemon *d, struct caller *caller)
{
    for (struct caller **at = &d->callers; *at; at = &(*at)->next)
        if (*at == caller) {
            *at = caller->next;
            break;
        }
    caller_free(caller);
}

/* Its command goes on, if it runs; one that waits has nobody any more who wants it. */
static void caller_went(struct daemon *d, struct caller *caller)
{
    if (d->task.caller != caller)
        return caller_remove(d, caller);
    close(caller->fd);
    caller->fd = -1;
}

/* No descriptor is left, or the like: whoever calls is there still, and would wake us at once. */
static void callers_wait(void)
{
    const struct timespec moment = {0, 100 * 1000000};
    mrmr_log_story(MRMR_LOG_WARN, "a caller waits");
    nanosleep(&moment, NULL);
}

static void callers_come(struct daemon *d)
{
    size_t n = 0;
    for (const struct caller *c = d->callers; c; c = c->next)
        n++;
    for (;;) {
        int fd;
        mrmr_err err = daemon_accept(d->listener, &fd);
        if (err == MRMR_DENIED)
            continue;
        if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
            callers_wait();
        if (err)
            return;
        struct caller *caller = n < CALLERS_MOST ? calloc(1, sizeof *caller) : NULL;
        if (!caller) {
            daemon_send_text(
                fd, DAEMON_REFUSED, "the pool's daemon has too many callers; try again");
            close(fd);
            continue;
        }
        n++;
        caller->fd = fd;
        struct caller **end = &d->callers;
        while (*end)
            end = &(*end)->next;
        *end = caller;
    }
}

/* --- what a look said --- */

static void looked_line(struct looked *looked, const char *key, const char *value)
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
    struct looked looked = {.is = true};
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
    d->view.exposed = looked.exposed > 0;
    if (d->synced_since_look)
        d->view.idle = looked.exposed == d->looked.exposed ? d->view.idle + 1 : 0;
    d->synced_since_look = false;
    d->looked = looked;
    if (hook_set(d->hook, looked.on_event))
        mrmr_log_story(MRMR_LOG_WARN, "the setting on-event");
}

/* --- events --- */

static void events_close(struct daemon *d)
{
    pool_follow_destroy(d->follow);
    pool_close(d->pool);
    d->follow = NULL;
    d->pool = NULL;
}

/* From now on. A catalog that was replaced is opened anew. */
static void events_open(struct daemon *d)
{
    if (d->follow)
        return;
    mrmr_err err = pool_open(d->dir, POOL_CATALOG, "mrmr daemon", &d->pool);
    if (!err)
        err = pool_follow_create(d->pool, 0, 0, &d->follow);
    if (!err)
        return;
    mrmr_log_story(MRMR_LOG_WARN, "events cannot be followed");
    events_close(d);
}

static void events_tell(struct daemon *d)
{
    mrmr_err err = d->follow ? pool_follow_look(d->follow, hook_event, d->hook) : MRMR_OK;
    if (err == MRMR_CHANGED) { /* the catalog was replaced */
        events_close(d);
        events_open(d);
    }
    hook_step(d->hook);
}

/* --- a task that ended --- */

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void caller_ended(struct daemon *d, int code)
{
    struct caller *caller = d->task.caller;
    const char byte = (char)code;
    if (caller->fd >= 0)
        daemon_send(caller->fd, DAEMON_ENDED, &byte, 1);
    caller_remove(d, caller);
    d->look_due = true; /* a setting, or what is exposed */
}

static void sync_ended(struct daemon *d, int code)
{
    const int64_t now = mrmr_clock_monotonic();
    const bool fine = code == 0 || code == 3;
    if (d->task.stopped)
        return; /* it goes on when whoever came is done */
    if (!fine) {
        d->view.again = now + again_after;
        return;
    }
    d->view.synced = now;
    d->view.took = now - d->task.begun;
    d->view.changed =
        d->changed_last > d->task.begun ? d->changed_last : 0; /* it may have been past that */
    d->look_due = d->synced_since_look = true;
}

static void task_ended(struct daemon *d, int status)
{
    const int code = code_of(status);
    const int64_t now = mrmr_clock_monotonic();
    if (d->task.says >= 0)
        daemon_task_hear(&d->task);
    switch (d->task.kind) {
    case TASK_CALLER:
        caller_ended(d, code);
        break;
    case TASK_LOOK:
        if (code == 0)
            looked_take(d);
        else if (!d->task.stopped)
            d->look_again = now + again_after;
        break;
    case TASK_SYNC:
        sync_ended(d, code);
        break;
    case TASK_SCRUB:
        if (!d->task.stopped && (code == 0 || code == 3))
            d->view.scrubbed = now;
        else if (!d->task.stopped)
            d->view.again = now + again_after;
        break;
    case TASK_REBUILD:
        if (!d->task.stopped)
            auto_rebuild_ended(&d->rebuild, d->rebuilds, now, code == 0 || code == 3);
        d->look_due = true;
        break;
    case TASK_NONE:
        break;
    }
    daemon_task_clear(&d->task);
}

/* Other children are the hook's. */
static void children_ended(struct daemon *d)
{
    int status = 0;
    if (d->task.kind == TASK_NONE)
        return;
    const pid_t pid = waitpid(d->task.pid, &status, WNOHANG);
    if (pid == d->task.pid)
        task_ended(d, status);
    else if (pid < 0 && errno == ECHILD) /* somebody else was told how */
        task_ended(d, SIGKILL);
}

/* --- what is next --- */

static struct caller *who_waits(const struct daemon *d)
{
    for (struct caller *c = d->callers; c; c = c->next)
        if (c->asks && d->task.caller != c)
            return c;
    return NULL;
}

/* One of the worker's own, once: a second signal would be a hard one. */
static void own_stop(struct daemon *d)
{
    if (d->task.kind == TASK_NONE || d->task.kind == TASK_CALLER || d->task.stopped)
        return;
    d->task.stopped = true;
    kill(d->task.pid, SIGTERM);
    d->look_due = d->look_due || d->task.kind == TASK_LOOK;
}

/* Whoever comes from now on runs by himself, or goes to the next daemon, which may begin; those that are here are served. */
static void end_begin(struct daemon *d)
{
    d->ends = true;
    own_stop(d);
    if (d->listener >= 0) {
        unlinkat(d->dirfd, DAEMON_SOCKET, 0);
        close(d->listener);
        d->listener = -1;
    }
    if (d->lock >= 0)
        close(d->lock);
    d->lock = -1;
}

/* What the worker is at is left for whoever came; what another asked for is waited for. */
static void make_way(struct daemon *d)
{
    char text[128];
    own_stop(d);
    snprintf(
        text, sizeof text, "mrmr %s (process %ld) is under way", d->task.name, (long)d->task.pid);
    for (struct caller *c = d->callers; c; c = c->next)
        if (c->asks && c != d->task.caller && !c->told) {
            c->told = true;
            daemon_send_text(c->fd, DAEMON_WAITS, text);
        }
}

static void caller_next(struct daemon *d, struct caller *caller)
{
    char text[512];
    if (!daemon_task_begin(&d->task, &caller->request, &d->before)) {
        d->task.caller = caller;
        snprintf(text, sizeof text, "%ld", (long)d->task.pid);
        daemon_send_text(caller->fd, DAEMON_BEGUN, text);
        return;
    }
    daemon_send_text(
        caller->fd, DAEMON_REFUSED, mrmr_story_print(mrmr_story_get(), text, sizeof text));
    caller_remove(d, caller);
}

static bool is_quiet_hour(const struct looked *looked)
{
    const time_t now = time(NULL);
    struct tm local;
    unsigned from, to;
    if (!mrmr_text_hours(looked->quiet_hours, &from, &to) || !localtime_r(&now, &local))
        return false;
    const unsigned minute = (unsigned)(local.tm_hour * 60 + local.tm_min);
    return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}

static const char *why_rests(const struct daemon *d)
{
    return d->looked.paused            ? "paused (mrmr set worker running)"
           : is_quiet_hour(&d->looked) ? "these are the quiet hours (mrmr get quiet-hours)"
                                       : "";
}

static mrmr_err look_begin(struct daemon *d)
{
    char program[] = "mrmr", option[] = "--pool", command[] = "daemon-look";
    mrmr_autofree char *dir = strdup(d->dir);
    char *const argv[] = {program, option, dir, command, NULL};
    return dir ? daemon_task_begin_own(&d->task, TASK_LOOK, argv, "look", &d->before)
               : mrmr_nomem();
}

/* What a look said before holds while the next one fails. */
static void look_next(struct daemon *d)
{
    const int64_t now = mrmr_clock_monotonic();
    d->due = d->look_again;
    if (now < d->look_again)
        return;
    d->look_due = false;
    d->look_again = 0;
    events_open(d);
    if (!look_begin(d))
        return;
    mrmr_log_story(MRMR_LOG_WARN, "the pool could not be looked at");
    d->due = d->look_again = now + again_after;
}

static mrmr_err sync_begin(struct daemon *d)
{
    char program[] = "mrmr", option[] = "--pool", command[] = "sync", low[] = "--background";
    char settle[] = "--settle", seconds[32];
    mrmr_autofree char *dir = strdup(d->dir);
    snprintf(seconds, sizeof seconds, "%llus", (unsigned long long)d->looked.settle);
    char *const argv[] = {program, option, dir, command, low, settle, seconds, NULL};
    return dir ? daemon_task_begin_own(&d->task, TASK_SYNC, argv, "sync", &d->before)
               : mrmr_nomem();
}

static mrmr_err scrub_begin(struct daemon *d)
{
    static const uint64_t a_day = 24 * 3600;
    char program[] = "mrmr", option[] = "--pool", command[] = "scrub", low[] = "--background";
    char older[] = "--older-than", seconds[32], percent[] = "--percent", part[16];
    mrmr_autofree char *dir = strdup(d->dir);
    const uint64_t days = d->looked.scrub_interval / a_day;
    snprintf(seconds, sizeof seconds, "%llus", (unsigned long long)d->looked.scrub_interval);
    snprintf(part, sizeof part, "%llu", (unsigned long long)(days > 1 ? 100 / days + 1 : 100));
    char *const argv[] = {program, option, dir, command, low, older, seconds, percent, part, NULL};
    return dir ? daemon_task_begin_own(&d->task, TASK_SCRUB, argv, "scrub", &d->before)
               : mrmr_nomem();
}

static mrmr_err rebuild_begin(struct daemon *d, const char *name)
{
    char program[] = "mrmr", option[] = "--pool", command[] = "rebuild";
    mrmr_autofree char *dir = strdup(d->dir);
    snprintf(d->rebuilds, sizeof d->rebuilds, "%s", name);
    char *const argv[] = {program, option, dir, command, d->rebuilds, NULL};
    if (!dir)
        return mrmr_nomem();
    mrmr_log(
        MRMR_LOG_WARN, "drive %s: it is lost, and brought to other drives (auto-rebuild)", name);
    return daemon_task_begin_own(&d->task, TASK_REBUILD, argv, "rebuild", &d->before);
}

/* True: it comes before what else is due, of which this is when to ask again. */
static bool rebuild_next(struct daemon *d, int64_t now, int64_t *ret_again)
{
    const char *name;
    switch (auto_rebuild_due(&d->rebuild, now, &name, ret_again)) {
    case AUTO_REBUILD_NONE:
        return false;
    case AUTO_REBUILD_LOOK:
        d->look_due = true;
        return true;
    case AUTO_REBUILD_BEGIN:
        if (!rebuild_begin(d, name))
            return true;
        mrmr_log_story(MRMR_LOG_WARN, "a lost drive");
        auto_rebuild_ended(&d->rebuild, name, now, false);
        return true;
    }
    return false;
}

static void worker_next(struct daemon *d)
{
    int64_t rebuild_at = INT64_MAX;
    struct worker_view view = d->view;
    view.now = mrmr_clock_monotonic();
    view.rests = d->looked.paused || is_quiet_hour(&d->looked);
    view.settle = (int64_t)d->looked.settle * MRMR_NS_PER_S;
    view.scan_every = (int64_t)d->looked.scan_interval * MRMR_NS_PER_S;
    view.scrubs = d->looked.scrub_interval > 0;
    d->due = view.now;
    if (!view.rests && rebuild_next(d, view.now, &rebuild_at))
        return;
    const enum worker_job job = worker_due(&view, &d->due);
    d->due = rebuild_at < d->due ? rebuild_at : d->due;
    mrmr_err err = job == WORKER_SYNC    ? sync_begin(d)
                   : job == WORKER_SCRUB ? scrub_begin(d)
                                         : MRMR_OK;
    if (err) {
        mrmr_log_story(MRMR_LOG_WARN, "what was due could not be started");
        d->view.again = view.now + again_after;
    }
}

static void next(struct daemon *d)
{
    struct caller *waits = who_waits(d);
    if (d->task.kind != TASK_NONE) {
        if (waits)
            make_way(d);
        else if (d->task.kind != TASK_LOOK && is_quiet_hour(&d->looked))
            own_stop(d);
        return;
    }
    if (waits) {
        caller_next(d, waits);
    } else if (d->ends) {
        return;
    } else if (d->look_due || d->look_again) {
        look_next(d);
    } else if (d->looked.is) {
        worker_next(d);
    }
}

/* --- what callers say --- */

static void state_tell(const struct daemon *d, struct caller *caller)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    const char *does = d->task.kind == TASK_LOOK ? "" : d->task.name;
    const char *why = why_rests(d);
    if (!mrmr_bytes_add(&text, does, strlen(does) + 1) &&
        !mrmr_bytes_add(&text, d->task.progress, strlen(d->task.progress) + 1) &&
        !mrmr_bytes_add(&text, why, strlen(why) + 1))
        daemon_send(caller->fd, DAEMON_IS, text.data, text.size);
}

static void run_asked(
    struct daemon *d, struct caller *caller, const struct mrmr_bytes *message, int fds[DAEMON_FDS])
{
    if (caller->asks || fds[0] < 0 || daemon_request_parse(message, fds, &caller->request)) {
        for (size_t i = 0; i < DAEMON_FDS; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        return caller_went(d, caller);
    }
    caller->asks = true;
    if (strcmp(caller->request.version, MRMR_VERSION) == 0 && !d->ends)
        return;
    daemon_send_text(caller->fd, DAEMON_REFUSED,
        d->ends ? "the pool's daemon is ending; try again"
                : "the pool's daemon is of another version; end it (mrmr daemon --stop), and start "
                  "it anew");
    caller_remove(d, caller);
}

static void signal_asked(struct daemon *d, struct caller *caller, int number)
{
    if (number != SIGINT && number != SIGTERM)
        return;
    if (d->task.caller == caller)
        kill(d->task.pid, number);
    else if (caller->asks) {
        const char code = (char)(128 + number);
        daemon_send(caller->fd, DAEMON_ENDED, &code, 1);
        caller_remove(d, caller);
    }
}

static void caller_says(struct daemon *d, struct caller *caller)
{
    mrmr_autobytes struct mrmr_bytes message = MRMR_BYTES_INIT;
    int fds[DAEMON_FDS];
    mrmr_err err = daemon_receive(caller->fd, &message, fds);
    if (err == MRMR_BUSY)
        return;
    if (err)
        return caller_went(d, caller);
    if (message.data[0] == DAEMON_RUN)
        return run_asked(d, caller, &message, fds);
    for (size_t i = 0; i < DAEMON_FDS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    switch (message.data[0]) {
    case DAEMON_SIGNAL:
        return signal_asked(d, caller, message.size > 1 ? message.data[1] : 0);
    case DAEMON_STATE:
        return state_tell(d, caller);
    case DAEMON_STOP:
        end_begin(d);
        daemon_send_text(caller->fd, DAEMON_IS, "");
        return;
    default:
        return caller_went(d, caller);
    }
}

/* --- the loop --- */

static void signals_came(struct daemon *d)
{
    struct signalfd_siginfo info;
    while (read(d->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            end_begin(d);
    children_ended(d);
}

static void changed_now(struct daemon *d)
{
    d->changed_last = mrmr_clock_monotonic();
    if (!d->view.changed)
        d->view.changed = d->changed_last;
}

static void changes_came(struct daemon *d)
{
    union {
        struct inotify_event event;
        char room[4096];
    } buf;
    ssize_t n;
    while ((n = read(d->notify, &buf, sizeof buf)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event =
                (const struct inotify_event *)(const void *)(buf.room + at);
            if ((event->len && strcmp(event->name, CHANGED_NAME) == 0) ||
                event->mask & IN_Q_OVERFLOW)
                changed_now(d);
            at += (ssize_t)(sizeof *event + event->len);
        }
}

enum {
    POLL_LISTENER,
    POLL_SIGNALS,
    POLL_NOTIFY,
    POLL_UNTIL,
    POLL_SAYS,
    POLL_FOLLOW,
    POLL_HOOK,
    POLL_FIXED
};

static int wait_ms(const struct daemon *d)
{
    /* The quiet hours begin and end by the clock; and an event may be there of which nothing woke us. */
    const int most = d->looked.on_event[0] ? 1000 : 60000;
    if (d->task.kind != TASK_NONE || d->due == INT64_MAX)
        return most;
    const int64_t left = d->due - mrmr_clock_monotonic();
    const int64_t ms = left <= 0 ? 0 : left / 1000000 + 1;
    return ms > most ? most : (int)ms;
}

static mrmr_err turn(struct daemon *d)
{
    struct pollfd fds[POLL_FIXED + CALLERS_MOST] = {[POLL_LISTENER] = {d->listener, POLLIN, 0},
        [POLL_SIGNALS] = {d->signals, POLLIN, 0},
        [POLL_NOTIFY] = {d->notify, POLLIN, 0},
        [POLL_UNTIL] = {d->until, POLLIN, 0},
        [POLL_SAYS] = {d->task.says, POLLIN, 0},
        [POLL_FOLLOW] = {d->follow ? pool_follow_fd(d->follow) : -1, POLLIN, 0},
        [POLL_HOOK] = {hook_fd(d->hook), POLLIN, 0}};
    struct caller *of[CALLERS_MOST];
    nfds_t n = 0;
    for (struct caller *c = d->callers; c && n < CALLERS_MOST; c = c->next, n++) {
        of[n] = c;
        fds[POLL_FIXED + n] = (struct pollfd){c->fd, POLLIN, 0};
    }
    if (poll(fds, POLL_FIXED + n, wait_ms(d)) < 0)
        return errno == EINTR ? MRMR_OK : mrmr_fail_errno(errno, "wait", d->dir);
    /* Each of these removes no other. */
    for (nfds_t i = 0; i < n; i++)
        if (fds[POLL_FIXED + i].revents)
            caller_says(d, of[i]);
    if (fds[POLL_SAYS].revents && d->task.says == fds[POLL_SAYS].fd)
        daemon_task_hear(&d->task);
    if (fds[POLL_NOTIFY].revents)
        changes_came(d);
    if (fds[POLL_LISTENER].revents)
        callers_come(d);
    if (fds[POLL_UNTIL].revents) {
        d->until = -1;
        end_begin(d);
    }
    if (fds[POLL_SIGNALS].revents)
        signals_came(d);
    events_tell(d);
    return MRMR_OK;
}

/* --- life --- */

/* False: with nobody who wants it any more. */
static bool lock_wait(const struct daemon *d)
{
    struct pollfd until = {.fd = d->until, .events = POLLIN};
    return poll(&until, 1, 1000) <= 0;
}

static mrmr_err lock_take(struct daemon *d)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    d->lock = openat(d->dirfd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock < 0)
        return mrmr_fail_errno(errno, "open", LOCK_NAME);
    while (fcntl(d->lock, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return mrmr_fail_errno(errno, "lock", LOCK_NAME);
        if (d->until < 0)
            return mrmr_fail(MRMR_BUSY, "the pool %s has a daemon already", d->dir);
        if (!lock_wait(d)) {
            d->ends = true;
            return MRMR_OK;
        }
    }
    return MRMR_OK;
}

static mrmr_err signals_take(struct daemon *d)
{
    const struct sigaction ordinary = {.sa_handler = SIG_DFL};
    sigset_t taken;
    sigaction(SIGCHLD, &ordinary, NULL); /* whoever started us may not have wanted to hear of his */
    sigemptyset(&taken);
    sigaddset(&taken, SIGCHLD);
    sigaddset(&taken, SIGINT);
    sigaddset(&taken, SIGTERM);
    sigprocmask(SIG_BLOCK, &taken, &d->before);
    d->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    return d->signals < 0 ? mrmr_fail_errno(errno, "serve", d->dir) : MRMR_OK;
}

static mrmr_err start(struct daemon *d)
{
    char path[32];
    d->dirfd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dirfd < 0)
        return mrmr_fail_errno(errno, "open", d->dir);
    MRMR_TRY(lock_take(d));
    if (d->ends)
        return MRMR_OK;
    MRMR_TRY(signals_take(d));
    snprintf(path, sizeof path, "/proc/self/fd/%d", d->dirfd);
    d->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (d->notify < 0 ||
        inotify_add_watch(d->notify, path, IN_ATTRIB | IN_CREATE | IN_MOVED_TO) < 0)
        return mrmr_fail_errno(errno, "watch", d->dir);
    MRMR_TRY(hook_create(&(struct hook_options){.pool = d->dir}, &d->hook));
    events_open(d);
    MRMR_TRY(daemon_listen(d->dirfd, &d->listener));
    return fcntl(d->listener, F_SETFL, O_NONBLOCK) < 0 ? mrmr_fail_errno(errno, "serve", d->dir)
                                                       : MRMR_OK;
}

static void stop(struct daemon *d)
{
    const int fds[] = {d->listener, d->notify, d->signals, d->lock, d->dirfd};
    if (d->listener >= 0)
        unlinkat(d->dirfd, DAEMON_SOCKET, 0);
    while (d->callers)
        caller_remove(d, d->callers);
    daemon_task_clear(&d->task);
    hook_destroy(d->hook);
    events_close(d);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (d->signals >= 0)
        sigprocmask(SIG_SETMASK, &d->before, NULL);
}

mrmr_err daemon_serve(const char *dir, int until, void (*ready)(void *arg), void *arg)
{
    struct daemon d = {.dir = dir,
        .dirfd = -1,
        .lock = -1,
        .listener = -1,
        .signals = -1,
        .notify = -1,
        .until = until,
        .look_due = true,
        .task = {.says = -1}};
    struct mrmr_story story;
    mrmr_err err = start(&d);
    if (!err && ready && !d.ends)
        ready(arg);
    while (!err && !(d.ends && d.task.kind == TASK_NONE && !who_waits(&d))) {
        next(&d);
        if (d.ends && d.task.kind == TASK_NONE)
            break;
        err = turn(&d);
    }
    mrmr_story_save(&story);
    stop(&d);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}
