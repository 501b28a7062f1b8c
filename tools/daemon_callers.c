/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/daemon_inside.h"

#include "base/cleanup.h"
#include "base/log.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- who is there --- */

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

void daemon_caller_remove(struct daemon *d, struct caller *caller)
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
        return daemon_caller_remove(d, caller);
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

void daemon_callers_come(struct daemon *d)
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
        struct caller *caller = n < DAEMON_CALLERS_MOST ? calloc(1, sizeof *caller) : NULL;
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

struct caller *daemon_caller_waits(const struct daemon *d)
{
    for (struct caller *c = d->callers; c; c = c->next)
        if (c->asks && d->task.caller != c)
            return c;
    return NULL;
}

/* --- their commands --- */

void daemon_callers_tell(struct daemon *d)
{
    char text[128];
    snprintf(
        text, sizeof text, "mrmr %s (process %ld) is under way", d->task.name, (long)d->task.pid);
    for (struct caller *c = d->callers; c; c = c->next)
        if (c->asks && c != d->task.caller && !c->told) {
            c->told = true;
            daemon_send_text(c->fd, DAEMON_WAITS, text);
        }
}

/* From its first word on it is the daemon's, and whoever asked does not run it himself, whatever becomes of the daemon: so it
 * is said before the command is there. */
void daemon_caller_begin(struct daemon *d, struct caller *caller)
{
    char text[512];
    if (daemon_send_text(caller->fd, DAEMON_BEGINS, ""))
        return caller_went(d, caller);
    if (!daemon_task_begin(&d->task, &caller->request, &d->before)) {
        d->task.caller = caller;
        snprintf(text, sizeof text, "%ld", (long)d->task.pid);
        daemon_send_text(caller->fd, DAEMON_BEGUN, text);
        return;
    }
    daemon_send_text(
        caller->fd, DAEMON_REFUSED, mrmr_story_print(mrmr_story_get(), text, sizeof text));
    daemon_caller_remove(d, caller);
}

void daemon_caller_ended(struct daemon *d, int code)
{
    struct caller *caller = d->task.caller;
    const char byte = (char)code;
    if (caller->fd >= 0)
        daemon_send(caller->fd, DAEMON_ENDED, &byte, 1);
    daemon_caller_remove(d, caller);
    d->look_due = true; /* a setting, or what is exposed */
}

/* --- what they say --- */

static void state_tell(const struct daemon *d, struct caller *caller)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    const char *does = d->task.kind == TASK_LOOK ? "" : d->task.name;
    const char *why = daemon_worker_rests(d);
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
    daemon_caller_remove(d, caller);
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
        daemon_caller_remove(d, caller);
    }
}

void daemon_caller_says(struct daemon *d, struct caller *caller)
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
        daemon_end_begin(d);
        daemon_send_text(caller->fd, DAEMON_IS, "");
        return;
    default:
        return caller_went(d, caller);
    }
}
