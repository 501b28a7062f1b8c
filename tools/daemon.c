/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/daemon.h"
#include "tools/daemon_inside.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
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
#include <unistd.h>

#define CHANGED_NAME "changed" /* the mount touches it, */
#define KEPT_NAME "kept"       /* this when there may be something to let go of, */
#define SHORT_NAME "short"     /* and this when somebody waits for room; */
#define MOUNTED_NAME "mounted" /* it closes this when it has ended, however that was */

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
    const int64_t now = mrmr_clock_boot();
    if (d->follow || now < d->events_again)
        return;
    d->events_again = now + 60 * MRMR_NS_PER_S;
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
        daemon_hear_stop(d);
        events_close(d);
        d->events_again = 0;
        events_open(d);
    }
    hook_step(d->hook);
}

/* --- a task that ended --- */

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void task_ended(struct daemon *d, int status)
{
    if (d->task.says >= 0)
        daemon_task_hear(&d->task);
    if (d->task.kind == TASK_CALLER) {
        daemon_worker_unsure(d);
        daemon_caller_ended(d, code_of(status));
    } else {
        daemon_worker_ended(d, code_of(status));
    }
    daemon_task_clear(&d->task);
}

static bool has_ended(const struct daemon_task *task, int *ret_status)
{
    if (task->kind == TASK_NONE)
        return false;
    const pid_t pid = waitpid(task->pid, ret_status, WNOHANG);
    if (pid < 0 && errno == ECHILD) /* somebody else was told how */
        *ret_status = SIGKILL;
    return pid == task->pid || (pid < 0 && errno == ECHILD);
}

/* Other children are the hook's. */
static void children_ended(struct daemon *d)
{
    int status = 0;
    if (has_ended(&d->task, &status))
        task_ended(d, status);
    if (has_ended(&d->hear, &status))
        daemon_hear_ended(d);
}

/* --- what is next --- */

static void next(struct daemon *d)
{
    struct caller *waits = daemon_caller_waits(d);
    daemon_hear_next(d);
    if (d->task.kind != TASK_NONE) {
        if (waits) {
            daemon_worker_stop(d);
            daemon_callers_tell(d);
        } else {
            daemon_worker_yield(d);
        }
        return;
    }
    if (waits) {
        if (daemon_hear_lets_go(d, waits))
            daemon_caller_begin(d, waits);
    } else if (!d->ends) {
        events_open(d);
        daemon_worker_next(d);
    }
}

void daemon_end_begin(struct daemon *d)
{
    d->ends = true;
    daemon_worker_stop(d);
    daemon_hear_stop(d);
    if (d->listener >= 0) {
        unlinkat(d->dirfd, DAEMON_SOCKET, 0);
        close(d->listener);
        d->listener = -1;
    }
    if (d->lock >= 0)
        close(d->lock);
    d->lock = -1;
}

/* --- the loop --- */

static void signals_came(struct daemon *d)
{
    struct signalfd_siginfo info;
    while (read(d->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD)
            daemon_end_begin(d);
    children_ended(d);
}

/* Other files there are closed, too: the catalog's. */
static void change_came(struct daemon *d, const struct inotify_event *event)
{
    const char *name = event->len ? event->name : "";
    const bool all = event->mask & IN_Q_OVERFLOW, closed = event->mask & IN_CLOSE_WRITE;
    if (all || (!closed && strcmp(name, CHANGED_NAME) == 0))
        daemon_worker_changed(d);
    if (all || strcmp(name, closed ? MOUNTED_NAME : KEPT_NAME) == 0)
        daemon_worker_kept(d);
    if (all || (!closed && strcmp(name, SHORT_NAME) == 0))
        daemon_worker_short(d);
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
            change_came(d, event);
            at += (ssize_t)(sizeof *event + event->len);
        }
}

enum {
    POLL_LISTENER,
    POLL_SIGNALS,
    POLL_NOTIFY,
    POLL_UNTIL,
    POLL_SAYS,
    POLL_HEAR,
    POLL_FOLLOW,
    POLL_HOOK,
    POLL_FIXED
};

static int wait_ms(const struct daemon *d)
{
    /* The quiet hours begin and end by the clock; and an event may be there of which nothing woke us. */
    const int most = d->looked.on_event[0] ? 1000 : 60000;
    const int64_t worker = d->task.kind == TASK_NONE ? d->due : daemon_worker_yields_at(d);
    const int64_t hear = daemon_hear_due(d), due = hear < worker ? hear : worker;
    if (due == INT64_MAX)
        return most;
    const int64_t left = due - mrmr_clock_boot();
    const int64_t ms = left <= 0 ? 0 : left / 1000000 + 1;
    return ms > most ? most : (int)ms;
}

static mrmr_err turn(struct daemon *d)
{
    struct pollfd fds[POLL_FIXED + DAEMON_CALLERS_MOST] = {
        [POLL_LISTENER] = {d->listener, POLLIN, 0},
        [POLL_SIGNALS] = {d->signals, POLLIN, 0},
        [POLL_NOTIFY] = {d->notify, POLLIN, 0},
        [POLL_UNTIL] = {d->until, POLLIN, 0},
        [POLL_SAYS] = {d->task.says, POLLIN, 0},
        [POLL_HEAR] = {d->hear.says, POLLIN, 0},
        [POLL_FOLLOW] = {d->follow ? pool_follow_fd(d->follow) : -1, POLLIN, 0},
        [POLL_HOOK] = {hook_fd(d->hook), POLLIN, 0}};
    struct caller *of[DAEMON_CALLERS_MOST];
    nfds_t n = 0;
    for (struct caller *c = d->callers; c && n < DAEMON_CALLERS_MOST; c = c->next, n++) {
        of[n] = c;
        fds[POLL_FIXED + n] = (struct pollfd){c->fd, POLLIN, 0};
    }
    if (poll(fds, POLL_FIXED + n, wait_ms(d)) < 0)
        return errno == EINTR ? MRMR_OK : mrmr_fail_errno(errno, "wait", d->dir);
    /* Each of these removes no other. */
    for (nfds_t i = 0; i < n; i++)
        if (fds[POLL_FIXED + i].revents)
            daemon_caller_says(d, of[i]);
    if (fds[POLL_SAYS].revents && d->task.says == fds[POLL_SAYS].fd)
        daemon_task_hear(&d->task);
    if (fds[POLL_HEAR].revents && d->hear.says == fds[POLL_HEAR].fd)
        daemon_hear_says(d);
    if (fds[POLL_NOTIFY].revents)
        changes_came(d);
    if (fds[POLL_LISTENER].revents)
        daemon_callers_come(d);
    if (fds[POLL_UNTIL].revents) {
        d->until = -1;
        daemon_end_begin(d);
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
    d->lock = openat(d->dirfd, DAEMON_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock < 0)
        return mrmr_fail_errno(errno, "open", DAEMON_LOCK);
    while (fcntl(d->lock, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return mrmr_fail_errno(errno, "lock", DAEMON_LOCK);
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
    if (d->notify < 0 || inotify_add_watch(d->notify, path,
                             IN_ATTRIB | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
        return mrmr_fail_errno(errno, "watch", d->dir);
    MRMR_TRY(hook_create(&(struct hook_options){.pool = d->dir}, &d->hook));
    events_open(d);
    daemon_worker_recall(d);
    MRMR_TRY(daemon_listen(d->dirfd, &d->listener));
    return fcntl(d->listener, F_SETFL, O_NONBLOCK) < 0 ? mrmr_fail_errno(errno, "serve", d->dir)
                                                       : MRMR_OK;
}

static void stop(struct daemon *d)
{
    const int fds[] = {d->listener, d->notify, d->signals, d->lock, d->dirfd};
    if (d->listener >= 0)
        unlinkat(d->dirfd, DAEMON_SOCKET, 0);
    daemon_hear_end(d); /* whoever waits for our end may unmount a drive then */
    while (d->callers)
        daemon_caller_remove(d, d->callers);
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
        .task = {.says = -1},
        .hear = {.says = -1}};
    struct mrmr_story story;
    mrmr_err err = start(&d);
    if (!err && ready && !d.ends)
        ready(arg);
    while (!err && !(d.ends && d.task.kind == TASK_NONE && !daemon_caller_waits(&d))) {
        next(&d);
        if (d.ends && d.task.kind == TASK_NONE)
            break;
        err = turn(&d);
    }
    mrmr_story_save(&story);
    stop(&d);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}
