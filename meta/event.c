/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/transaction.h"

mrmr_err meta_event_add(struct meta *meta, const struct meta_event *event)
{
    return meta_write(meta,
        "INSERT INTO event (time, kind, warning, drive, text) VALUES (?, ?, ?, ?, ?)",
        META_ARGS(META_INT(event->time), META_TEXT(event->kind), META_INT(event->warning),
            META_TEXT(event->drive), META_TEXT(event->text ? event->text : "")));
}

static mrmr_err event_pass(struct meta_query *q, meta_event_fn fn, void *arg)
{
    mrmr_err err = MRMR_OK;
    struct meta_event event = {.id = meta_col_id(q, 0), .time = meta_col_int(q, 1)};
    meta_col_text(q, 2, event.kind, sizeof event.kind);
    event.warning = meta_col_range(q, 3, 0, 1);
    meta_col_text(q, 4, event.drive, sizeof event.drive);
    mrmr_autofree char *text = meta_col_dup(q, 5, &err);
    event.text = text;
    MRMR_TRY(err);
    MRMR_TRY(meta_query_sound(q));
    return fn(&event, arg);
}

mrmr_err meta_events(struct meta *meta, int64_t after, size_t last, meta_event_fn fn, void *arg)
{
    mrmr_locked(&meta->lock);
    int64_t most = last && last < INT64_MAX ? (int64_t)last : INT64_MAX;
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT id, time, kind, warning, drive, text FROM event WHERE id > ?1 AND id >= coalesce("
        "(SELECT min(id) FROM (SELECT id FROM event WHERE id > ?1 ORDER BY id DESC LIMIT ?2)), 0) "
        "ORDER BY id",
        META_ARGS(META_INT(after), META_INT(most))));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        meta->callbacks++;
        mrmr_err err = event_pass(&q, fn, arg);
        meta->callbacks--;
        MRMR_TRY(err);
    }
}

mrmr_err meta_events_trim(struct meta *meta, size_t keep)
{
    return meta_write(meta,
        "DELETE FROM event WHERE id <= (SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?)",
        META_ARGS(META_INT(keep < INT64_MAX ? keep : INT64_MAX)));
}
