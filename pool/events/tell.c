/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Telling people: a notice now, and an event in the catalog for later. Telling never fails what it
 * tells about: an event that cannot be recorded goes to the log. Who does not own the pool notes the
 * event (noted.h), and what was noted is shown with the catalog's. What was recorded already is told now, and not
 * recorded again (told.h).
 */
#include "pool/events/noted.h"
#include "pool/events/told.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TELL_TEXT = 1536 };

static void tell(struct pool *pool, const struct pool_job *job, bool warning, const char *kind,
    const struct pool_drive *drive, char *text)
{
    if (job && job->notice)
        job->notice(warning, text, job->arg);
    const char *name = drive ? drive->meta.name : "";
    const int64_t now = mrmr_clock_real();
    if (pool_told_knows(pool, now, kind, name, text))
        return;
    if (pool->access != POOL_OWN) {
        const struct pool_note note = {now, warning, kind, name, text, NULL, 0};
        pool_noted_add(pool, &note, true);
        return;
    }
    struct mrmr_story kept;
    mrmr_story_save(&kept); /* the caller may still return the error that it tells about */
    struct meta_event event = {.time = now, .warning = warning, .text = text};
    snprintf(event.kind, sizeof event.kind, "%s", kind);
    snprintf(event.drive, sizeof event.drive, "%s", name);
    if (!meta_event_add(pool->meta, &event)) {
        pool_told_add(pool, now, kind, name, text);
    } else {
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
    struct pool_noted_list noted;
    size_t left; /* of these, from here on */
    pool_event_fn fn;
    void *arg;
};

/* It was taken in since it was read. */
static void noted_is_in(struct pool_noted_list *noted, const struct meta_event *event)
{
    for (size_t i = 0; i < noted->n && noted->entry[i].time <= event->time; i++)
        if (noted->entry[i].time == event->time && strcmp(noted->entry[i].text, event->text) == 0)
            noted->entry[i].kind[0] = '\0';
}

static mrmr_err events_pass(const struct meta_event *event, void *arg)
{
    struct events_pass *pass = arg;
    struct pool_event out = {
        .id = event->id,
        .time = event->time,
        .kind = event->kind,
        .drive = event->drive,
        .text = event->text,
        .warning = event->warning,
    };
    noted_is_in(&pass->noted, event);
    return pass->fn(&out, pass->arg);
}

static mrmr_err events_noted(const struct events_pass *pass)
{
    for (size_t i = pass->left; i < pass->noted.n; i++) {
        const struct pool_noted_entry *entry = &pass->noted.entry[i];
        struct pool_event out = {
            .time = entry->time,
            .kind = entry->kind,
            .drive = entry->drive,
            .text = entry->text,
            .warning = entry->warning,
        };
        if (entry->kind[0])
            MRMR_TRY(pass->fn(&out, pass->arg));
    }
    return MRMR_OK;
}

mrmr_err pool_events(struct pool *pool, int64_t after, size_t last, pool_event_fn fn, void *arg)
{
    struct events_pass pass = {.fn = fn, .arg = arg};
    MRMR_TRY(pool_noted_load(pool, &pass.noted));
    mrmr_err err = MRMR_OK;
    if (last && pass.noted.n >= last)
        pass.left = pass.noted.n - last;
    else
        err = meta_events(pool->meta, after, last ? last - pass.noted.n : 0, events_pass, &pass);
    if (!err)
        err = events_noted(&pass);
    pool_noted_list_free(&pass.noted);
    return err;
}
