/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/transaction.h"

#include <string.h>

static mrmr_err intent_add_locked(struct meta *meta, const struct meta_intent *intent)
{
    if ((unsigned)intent->kind > META_INTENT_DROP || !intent->file[0])
        return mrmr_fail(MRMR_INVALID, "an intent has no file or an unknown kind");
    return meta_run(meta, "INSERT INTO intent (kind, drive, file) VALUES (?, ?, ?)",
        META_ARGS(META_INT(intent->kind), META_INT(intent->drive), META_TEXT(intent->file)));
}

mrmr_err meta_intent_add(struct meta *meta, struct meta_intent *intent)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    mrmr_err err = intent_add_locked(meta, intent);
    int64_t id = sqlite3_last_insert_rowid(meta->db);
    MRMR_TRY(meta_write_end(meta, err));
    intent->id = id;
    return MRMR_OK;
}

mrmr_err meta_intent_remove(struct meta *meta, int64_t id)
{
    return meta_write(meta, "DELETE FROM intent WHERE id = ?", META_ARGS(META_INT(id)));
}

/* The file lies below .mrmr, whatever the catalog says (I9). */
static bool intent_file_sane(const char *file)
{
    if (!file[0] || file[0] == '/')
        return false;
    for (const char *at = file;;) {
        size_t n = strcspn(at, "/");
        if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        if (!at[n])
            return true;
        at += n + 1;
    }
}

static mrmr_err intent_read(struct meta_query *q, struct meta_intent *intent)
{
    intent->id = meta_col_id(q, 0);
    intent->kind = (enum meta_intent_kind)meta_col_range(q, 1, META_INTENT_MAKE, META_INTENT_DROP);
    intent->drive = meta_col_id(q, 2);
    meta_col_text(q, 3, intent->file, sizeof intent->file);
    if (!intent_file_sane(intent->file))
        meta_col_bad(q, 3);
    return meta_query_sound(q);
}

static mrmr_err intents_read(
    struct meta_query *q, struct meta_intent *ret_intents, size_t most, size_t *ret_n)
{
    size_t n = 0;
    while (n < most) {
        bool row;
        MRMR_TRY(meta_query_step(q, &row));
        if (!row)
            break;
        MRMR_TRY(intent_read(q, &ret_intents[n]));
        n++;
    }
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err meta_intents_after(struct meta *meta, int64_t drive, int64_t after,
    struct meta_intent *ret_intents, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    const struct meta_arg *args = META_ARGS(META_INT(after), META_INT(most), META_INT(drive));
    MRMR_TRY(drive ? meta_query_start(meta, &q,
                         "SELECT id, kind, drive, file FROM intent "
                         "WHERE drive = ?3 AND id > ?1 ORDER BY id LIMIT ?2",
                         args)
                   : meta_query_start(meta, &q,
                         "SELECT id, kind, drive, file FROM intent "
                         "WHERE id > ?1 ORDER BY id LIMIT ?2",
                         args));
    return intents_read(&q, ret_intents, most, ret_n);
}

mrmr_err meta_intents_between(struct meta *meta, const char *from, const char *before,
    struct meta_intent *ret_intents, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT id, kind, drive, file FROM intent WHERE file >= ? AND file < ? "
        "ORDER BY id DESC LIMIT ?",
        META_ARGS(META_TEXT(from), META_TEXT(before), META_INT(most))));
    return intents_read(&q, ret_intents, most, ret_n);
}
