/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Telling people: a notice now, and an event in the catalog for later. Telling never fails what it
 * tells about: an event that cannot be recorded goes to the log.
 */
#include "pool/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TELL_TEXT = 1536 };

static void tell(struct pool *pool, const struct pool_job *job, bool warning, const char *kind,
    const struct pool_drive *drive, char *text)
{
    if (job && job->notice)
        job->notice(warning, text, job->arg);
    if (pool->access != POOL_OWN)
        return;
    struct mrmr_story kept;
    mrmr_story_save(&kept); /* the caller may still return the error that it tells about */
    struct meta_event event = {.time = mrmr_clock_real(), .warning = warning, .text = text};
    snprintf(event.kind, sizeof event.kind, "%s", kind);
    snprintf(event.drive, sizeof event.drive, "%s", drive ? drive->meta.name : "");
    if (meta_event_add(pool->meta, &event)) {
        mrmr_log_story(MRMR_LOG_WARN, "recording an event");
        mrmr_log(warning ? MRMR_LOG_WARN : MRMR_LOG_INFO, "%s: %s", kind, text);
    }
    mrmr_story_restore(&kept);
}

void pool_tell(struct pool *pool, const struct pool_job *job, bool warning, const char *kind,
    const struct pool_drive *drive, const char *fmt, ...)
{
    char text[TELL_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    tell(pool, job, warning, kind, drive, text);
}

void pool_tell_story(struct pool *pool, const struct pool_job *job, bool warning, const char *kind,
    const struct pool_drive *drive, const char *what)
{
    char text[TELL_TEXT];
    int n = snprintf(text, sizeof text, "%s: ", what);
    if (n < 0 || (size_t)n >= sizeof text)
        n = 0;
    mrmr_story_print(mrmr_story_get(), text + n, sizeof text - (size_t)n);
    tell(pool, job, warning, kind, drive, text);
}

struct events_pass {
    pool_event_fn fn;
    void *arg;
};

static mrmr_err events_pass(const struct meta_event *event, void *arg)
{
    const struct events_pass *pass = arg;
    struct pool_event out = {
        .id = event->id,
        .time = event->time,
        .kind = event->kind,
        .drive = event->drive,
        .text = event->text,
        .warning = event->warning,
    };
    return pass->fn(&out, pass->arg);
}

mrmr_err pool_events(struct pool *pool, int64_t after, size_t last, pool_event_fn fn, void *arg)
{
    struct events_pass pass = {fn, arg};
    return meta_events(pool->meta, after, last, events_pass, &pass);
}
