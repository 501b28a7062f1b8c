/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "tools/mrmr_job.h"
#include "tools/mrmr_print.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>

enum { FOLLOW_LAST = 10, FOLLOW_EVERY_MS = 1000, FOLLOW_SETTLE_MS = 50 };

static void event_members(struct mrmr_json *json, const struct pool_event *event)
{
    mrmr_json_signed(json, "id", event->id);
    mrmr_json_time(json, "time", event->time);
    mrmr_json_text(json, "kind", event->kind);
    if (event->drive[0])
        mrmr_json_name(json, "drive", event->drive);
    else
        mrmr_json_text(json, "drive", NULL);
    mrmr_json_bool(json, "warning", event->warning);
    mrmr_json_name(json, "text", event->text);
}

static mrmr_err events_json(const struct pool_event *event, void *arg)
{
    struct mrmr_json *json = arg;
    mrmr_json_open(json, NULL, '{');
    event_members(json, event);
    mrmr_json_close(json);
    return ferror(stdout) ? mrmr_fail(MRMR_IO, NULL) : json->err;
}

static mrmr_err events_print(const struct pool_event *event, void *arg)
{
    char time[MRMR_PRINT_TIME];
    (void)arg;
    printf("%s  %s %-16s ", mrmr_print_time_local(event->time, time), event->warning ? "!" : " ",
        event->kind);
    if (event->drive[0]) {
        mrmr_print_name(stdout, event->drive);
        fputs(": ", stdout);
    }
    mrmr_print_name(stdout, event->text);
    putchar('\n');
    return ferror(stdout) ? mrmr_fail(MRMR_IO, NULL) : MRMR_OK;
}

static mrmr_err events_in(struct cmd_call *call, struct pool *pool)
{
    struct mrmr_json json;
    uint64_t last = 50;
    MRMR_TRY(cmd_value_number(call, "last", 0, SIZE_MAX, &last));
    if (!call->json)
        return pool_events(pool, 0, (size_t)last, events_print, NULL);
    mrmr_json_begin(&json, stdout);
    mrmr_json_open(&json, "events", '[');
    mrmr_err err = pool_events(pool, 0, (size_t)last, events_json, &json);
    mrmr_err shown = mrmr_json_end(&json);
    return err ? err : shown;
}

/* --- as they come --- */

static mrmr_err follow_one(const struct pool_event *event, void *arg)
{
    const struct cmd_call *call = arg;
    struct mrmr_json json;
    mrmr_err err;
    if (call->json) {
        mrmr_json_begin_line(&json, stdout);
        event_members(&json, event);
        err = mrmr_json_end(&json);
    } else {
        err = events_print(event, NULL);
    }
    return !err && fflush(stdout) ? mrmr_fail(MRMR_IO, NULL) : err;
}

/* Until there may be something, or a moment has passed. False: nobody reads what is printed any more. */
static bool follow_wait(int fd, int milliseconds)
{
    struct pollfd wait[] = {{.fd = STDOUT_FILENO}, {.fd = fd, .events = POLLIN}};
    return poll(wait, 2, milliseconds) <= 0 || !(wait[0].revents & (POLLERR | POLLHUP));
}

static mrmr_err follow_until(
    struct cmd_call *call, struct pool_follow *follow, const struct pool_job *job)
{
    for (;;) {
        mrmr_err err = pool_follow_look(follow, follow_one, call);
        if (err && err != MRMR_BUSY) /* it is then tried again */
            return err;
        if (!follow_wait(pool_follow_fd(follow), FOLLOW_EVERY_MS) ||
            /* What woke us is written, and not committed yet; and more of it may follow. */
            !follow_wait(-1, FOLLOW_SETTLE_MS)) {
            call->exit = CMD_SIGNAL + SIGPIPE;
            return MRMR_OK;
        }
        if (mrmr_cancelled(job->cancel))
            return mrmr_fail(MRMR_CANCELLED, NULL);
    }
}

static mrmr_err follow_in(struct cmd_call *call, struct pool *pool)
{
    struct pool_follow *follow = NULL;
    uint64_t last = FOLLOW_LAST;
    MRMR_TRY(cmd_value_number(call, "last", 0, SIZE_MAX, &last));
    MRMR_TRY(pool_follow_create(pool, 0, last ? (size_t)last : SIZE_MAX, &follow));
    mrmr_err err = follow_until(call, follow, mrmr_job_start(call));
    err = mrmr_job_end(call, err, NULL);
    pool_follow_destroy(follow);
    return err;
}

static mrmr_err events_run(struct cmd_call *call)
{
    uint64_t last;
    MRMR_TRY(cmd_value_number(call, "last", 0, SIZE_MAX, &last)); /* before the pool is opened */
    return cmd_with_pool(call, POOL_CATALOG, cmd_flag(call, "follow") ? follow_in : events_in);
}

const struct cmd cmd_events = {
    .name = "events",
    .args = "",
    .summary = "show what happened, oldest first",
    .text = "Shows what happened, oldest first; what needed a look is marked with '!'. With "
            "--follow it goes "
            "on with\nwhat happens, as it happens, until it is interrupted; with --json that is "
            "one object a line.",
    .options =
        {{"last", 0, "N",
             "so many events; 0: all that are kept; else 50, or 10 before those that follow"},
            {"follow", 'f', NULL, "go on with what happens from now on"}},
    .run = events_run,
};
