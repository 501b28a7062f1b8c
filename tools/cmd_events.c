/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "tools/mrmr_print.h"
#include <stdio.h>

static mrmr_err events_json(const struct pool_event *event, void *arg)
{
    struct mrmr_json *json = arg;
    mrmr_json_open(json, NULL, '{');
    mrmr_json_signed(json, "id", event->id);
    mrmr_json_time(json, "time", event->time);
    mrmr_json_text(json, "kind", event->kind);
    if (event->drive[0])
        mrmr_json_name(json, "drive", event->drive);
    else
        mrmr_json_text(json, "drive", NULL);
    mrmr_json_bool(json, "warning", event->warning);
    mrmr_json_name(json, "text", event->text);
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

static mrmr_err events_run(struct cmd_call *call)
{
    uint64_t last;
    MRMR_TRY(cmd_value_number(call, "last", 0, SIZE_MAX, &last)); /* before the pool is opened */
    return cmd_with_pool(call, POOL_LOOK, events_in);
}

const struct cmd cmd_events = {
    .name = "events",
    .args = "",
    .summary = "show what happened, oldest first",
    .text = "Shows what happened, oldest first; what needed a look is marked with '!'.",
    .options = {{"last", 0, "N", "so many events; 0: all that are kept; else 50"}},
    .run = events_run,
};
