/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/transaction.h"

mrmr_err meta_get(struct meta *meta, const char *key, struct mrmr_bytes *value)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(
        meta, &q, "SELECT value FROM setting WHERE key = ?", META_ARGS(META_TEXT(key))));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    if (!row)
        return mrmr_fail(MRMR_ABSENT, "the catalog has no setting '%s'", key);
    mrmr_err err = MRMR_OK;
    mrmr_autofree char *text = meta_col_dup(&q, 0, &err);
    MRMR_TRY(err);
    MRMR_TRY(meta_query_sound(&q));
    return mrmr_bytes_str(value, text);
}

mrmr_err meta_set(struct meta *meta, const char *key, const char *value)
{
    if (!value)
        return meta_write(meta, "DELETE FROM setting WHERE key = ?", META_ARGS(META_TEXT(key)));
    return meta_write(meta,
        "INSERT INTO setting (key, value) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        META_ARGS(META_TEXT(key), META_TEXT(value)));
}

static mrmr_err setting_pass(struct meta_query *q, meta_setting_fn fn, void *arg)
{
    mrmr_err err = MRMR_OK;
    mrmr_autofree char *key = meta_col_dup(q, 0, &err);
    mrmr_autofree char *value = meta_col_dup(q, 1, &err);
    MRMR_TRY(err);
    MRMR_TRY(meta_query_sound(q));
    return fn(key, value, arg);
}

mrmr_err meta_settings(struct meta *meta, meta_setting_fn fn, void *arg)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, "SELECT key, value FROM setting ORDER BY key", NULL));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        meta->callbacks++;
        mrmr_err err = setting_pass(&q, fn, arg);
        meta->callbacks--;
        MRMR_TRY(err);
    }
}
