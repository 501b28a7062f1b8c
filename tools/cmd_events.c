/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/hook.h"
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

/* --- on-event, tried --- */

static mrmr_err try_until_ended(struct hook *hook, const struct pool_job *job)
{
    struct pollfd wait = {.fd = hook_fd(hook), .events = POLLIN};
    for (hook_step(hook); !hook_idle(hook); hook_step(hook)) {
        if (mrmr_cancelled(job->cancel))
            return mrmr_fail(MRMR_CANCELLED, NULL);
        poll(&wait, 1, FOLLOW_EVERY_MS);
    }
    if (hook_counts(hook).well)
        return MRMR_OK;
    return mrmr_err_hint(mrmr_fail(MRMR_INVALID, "the program of on-event did not do well"),
        "see above; put it right, or set another one: mrmr set on-event PROGRAM");
}

static mrmr_err try_with(struct cmd_call *call, struct hook *hook, const char *command)
{
    const struct pool_event event = {.time = mrmr_clock_real(),
        .kind = "test",
        .drive = "",
        .text = "this is a test of on-event"};
    MRMR_TRY(hook_set(hook, command));
    MRMR_TRY(hook_event(&event, hook));
    mrmr_err err = try_until_ended(hook, mrmr_job_start(call));
    return mrmr_job_end(call, err, NULL);
}

static mrmr_err try_tell(struct cmd_call *call, const char *command)
{
    struct mrmr_json json;
    if (call->json) {
        mrmr_json_begin(&json, stdout);
        mrmr_json_name(&json, "on_event", command);
        return mrmr_json_end(&json);
    }
    if (!call->quiet)
        puts("The program of on-event ran, and ended well.");
    return MRMR_OK;
}

static mrmr_err try_in(struct cmd_call *call, struct pool *pool)
{
    mrmr_autobytes struct mrmr_bytes command = MRMR_BYTES_INIT;
    struct hook *hook = NULL;
    MRMR_TRY(pool_get(pool, "on-event", &command));
    if (!command.size)
        return mrmr_err_hint(
            mrmr_fail(MRMR_ABSENT, "on-event is not set: no program is run for events"),
            "set one: mrmr set on-event /PATH/TO/PROGRAM");
    MRMR_TRY(hook_create(&(struct hook_options){.pool = pool_home(pool)}, &hook));
    mrmr_err err = try_with(call, hook, command.data);
    hook_destroy(hook);
    return !err && call->exit == CMD_DONE ? try_tell(call, command.data) : err;
}

static cmd_pool_fn events_what(const struct cmd_call *call)
{
    if (cmd_flag(call, "try-hook"))
        return try_in;
    return cmd_flag(call, "follow") ? follow_in : events_in;
}

static mrmr_err events_run(struct cmd_call *call)
{
    uint64_t last;
    if (cmd_flag(call, "try-hook") && (cmd_flag(call, "follow") || cmd_flag(call, "last")))
        return cmd_usage(call, "--try-hook shows no events, so --last and --follow say nothing");
    MRMR_TRY(cmd_value_number(call, "last", 0, SIZE_MAX, &last)); /* before the pool is opened */
    return cmd_with_pool(call, POOL_CATALOG, events_what(call));
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
            {"follow", 'f', NULL, "go on with what happens from now on"},
            {"try-hook", 0, NULL,
                "instead run the program of on-event once, with an event of kind 'test'"}},
    .run = events_run,
};
