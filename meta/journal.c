/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The journal: what changed since the last copy of the catalog.
 *
 * SQLite's session extension notes which rows of the large tables change, as long as the process
 * runs; what it gives is the net effect, so a row that came and went is nothing, and neither is
 * anything that was rolled back. When its notes outgrow JOURNAL_NOTES they become SQL text in a
 * spool, an unlinked file beside the catalog; a spool that outgrows JOURNAL_SPOOL is given up: a
 * base is then the better copy. Small tables and new events are not watched: each log holds them.
 *
 * Four counters of the catalog say where the copies are:
 *
 *     copy.sequence   the last copy that was cut; a number that only grows
 *     copy.open       1: rows of large tables changed since, and only the process that changed them
 *                     knows which
 *     copy.small      a digest of what matters in the small tables, as of that copy
 *     copy.event      the last event in it
 *
 * Crash argument. copy.open is set in the very transaction that holds the first change after a
 * copy, so there is no catalog with changes that neither a copy nor copy.open tells of. Who opens
 * a catalog with copy.open set makes a base. A cut sets copy.sequence and clears copy.open in one
 * transaction; the text of the log is complete before that commits, and reaches the drives after
 * it. Where it does not (the process ends, a drive fails), the drive's copies end before
 * copy.sequence, which their names tell: that drive gets a base.
 *
 * The order of statements in a log: a changeset has none, and a row may take the place of another
 * in a UNIQUE index. So first all rows go that are deleted or whose unique columns change, then
 * come the updates, then the new rows and those that went only to come back.
 */
#define SQLITE_ENABLE_SESSION 1
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include "meta/journal.h"

#include "base/log.h"
#include "meta/table.h"
#include "meta/text.h"
#include "meta/transaction.h"
#include <stdio.h>
#include <string.h>

/* A library that was built without the extension has none of them: each cut is a base then. */
#pragma weak sqlite3session_create
#pragma weak sqlite3session_delete
#pragma weak sqlite3session_attach
#pragma weak sqlite3session_object_config
#pragma weak sqlite3session_changeset
#pragma weak sqlite3session_changeset_size
#pragma weak sqlite3session_isempty
#pragma weak sqlite3session_memory_used
#pragma weak sqlite3changeset_start
#pragma weak sqlite3changeset_next
#pragma weak sqlite3changeset_op
#pragma weak sqlite3changeset_old
#pragma weak sqlite3changeset_new
#pragma weak sqlite3changeset_finalize

/* Adding 42,000 files: with 8 MiB the peak grew by 16 to 40 MB, with 2 MiB by 5 MB, and it took no
 * longer. */
#define JOURNAL_NOTES (2 << 20)
#define JOURNAL_SPOOL (64 << 20) /* the log of about 200,000 new files */

struct meta_journal {
    struct meta_table tables[META_TABLES];
    sqlite3_session *session; /* NULL: nothing is recorded, only a base helps */
    struct meta_text *spool;  /* NULL: nothing was spooled yet */
    bool marked;              /* copy.open is set in the catalog */
    bool marking;             /* … and in the open transaction */
    int64_t changes;          /* without the extension: SQLite's count of changes at the cut */
};

static bool journal_possible(void)
{
    return sqlite3session_create && sqlite3session_changeset_size && sqlite3session_memory_used &&
           sqlite3_compileoption_used("ENABLE_SESSION") &&
           sqlite3_compileoption_used("ENABLE_PREUPDATE_HOOK");
}

static mrmr_err counter_get(struct meta *meta, const char *name, int64_t *ret_value)
{
    bool found;
    int64_t value = 0;
    MRMR_TRY(meta_run_int(meta, "SELECT value FROM counter WHERE name = ?",
        META_ARGS(META_TEXT(name)), &found, &value));
    *ret_value = found ? value : 0;
    return MRMR_OK;
}

static mrmr_err counter_set(struct meta *meta, const char *name, int64_t value)
{
    return meta_run(meta,
        "INSERT INTO counter (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        META_ARGS(META_TEXT(name), META_INT(value)));
}

/* --- Recording -------------------------------------------------------------------------------- */

static void journal_stop(struct meta_journal *j)
{
    if (j->session)
        sqlite3session_delete(j->session);
    j->session = NULL;
    meta_text_free(j->spool);
    j->spool = NULL;
}

/* Statements that were prepared before there was a session may take short cuts that it does not
 * see. */
static void journal_forget_statements(struct meta *meta)
{
    for (size_t i = 0; i < META_CACHED; i++) {
        struct meta_cached *cached = &meta->cached[i];
        if (cached->busy || !cached->stmt)
            continue;
        sqlite3_finalize(cached->stmt);
        cached->stmt = NULL;
    }
}

static mrmr_err journal_attach(struct meta *meta, struct meta_journal *j)
{
    int size = 1;
    int rc = sqlite3session_create(meta->db, "main", &j->session);
    if (!rc)
        rc = sqlite3session_object_config(j->session, SQLITE_SESSION_OBJCONFIG_SIZE, &size);
    for (size_t i = 0; !rc && i < META_TABLES; i++)
        if (j->tables[i].kind == META_TABLE_RECORDED)
            rc = sqlite3session_attach(j->session, j->tables[i].name);
    return meta_sqlite_fail(meta, rc);
}

/* From the state of now on. */
static void journal_record(struct meta *meta, struct meta_journal *j)
{
    journal_stop(j);
    j->changes = sqlite3_total_changes64(meta->db);
    if (!journal_possible()) {
        mrmr_log(MRMR_LOG_INFO, "this SQLite has no session extension: each copy of the catalog on "
                                "the drives is a whole one");
        return;
    }
    journal_forget_statements(meta);
    if (journal_attach(meta, j)) {
        mrmr_log_story(MRMR_LOG_WARN, "recording the catalog's changes");
        journal_stop(j);
    }
}

mrmr_err meta_journal_start(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    if (meta->journal || meta->readonly || meta->open || meta->depth)
        return mrmr_fail(MRMR_INTERNAL, "the catalog's journal cannot start now");
    struct meta_journal *j = calloc(1, sizeof *j);
    if (!j)
        return mrmr_nomem();
    int64_t sequence = 0, open = 0;
    mrmr_err err = meta_tables_load(meta, meta->db, j->tables);
    if (!err)
        err = counter_get(meta, "copy.sequence", &sequence);
    if (!err)
        err = counter_get(meta, "copy.open", &open);
    if (err) {
        free(j);
        return err;
    }
    j->marked = open != 0;
    j->changes = sqlite3_total_changes64(meta->db);
    meta->journal = j;
    if (sequence > 0 && !open)
        journal_record(meta, j);
    return MRMR_OK;
}

void meta_journal_close(struct meta *meta)
{
    if (!meta->journal)
        return;
    journal_stop(meta->journal);
    free(meta->journal);
    meta->journal = NULL;
}

mrmr_err meta_journal_commit(struct meta *meta)
{
    struct meta_journal *j = meta->journal;
    /* Without a session nobody knows what changed: all of it counts. */
    if (!j || j->marked || (j->session && sqlite3session_isempty(j->session)))
        return MRMR_OK;
    j->marking = true;
    return counter_set(meta, "copy.open", 1);
}

/* --- From notes to text -------------------------------------------------------------------------
 */

enum journal_phase { JOURNAL_DELETES, JOURNAL_UPDATES, JOURNAL_INSERTS, JOURNAL_PHASES };

struct journal_change {
    const struct meta_table *table;
    int op;
    sqlite3_value *old[META_COLUMNS_MAX], *now[META_COLUMNS_MAX];
    bool displaces; /* an update of unique columns */
};

static mrmr_err change_load(
    struct meta *meta, sqlite3_changeset_iter *iter, struct journal_change *change)
{
    const char *name;
    int columns, indirect;
    int rc = sqlite3changeset_op(iter, &name, &columns, &change->op, &indirect);
    if (rc)
        return meta_sqlite_fail(meta, rc);
    change->table = meta_table_find(meta->journal->tables, name, strlen(name));
    if (!change->table || change->table->columns != columns)
        return mrmr_fail(MRMR_INTERNAL, "the journal recorded the unknown table '%s'", name);
    change->displaces = false;
    memset(change->old, 0, sizeof change->old);
    memset(change->now, 0, sizeof change->now);
    for (int i = 0; !rc && i < columns; i++) {
        if (change->op != SQLITE_INSERT)
            rc = sqlite3changeset_old(iter, i, &change->old[i]);
        if (!rc && change->op != SQLITE_DELETE)
            rc = sqlite3changeset_new(iter, i, &change->now[i]);
        if (change->op == SQLITE_UPDATE && change->now[i] && change->table->column[i].unique)
            change->displaces = true;
    }
    return meta_sqlite_fail(meta, rc);
}

/* An update's whole row, as it is in the catalog: a changeset has only the columns that changed. */
static mrmr_err change_print_row(
    struct meta *meta, struct mrmr_bytes *text, const struct journal_change *change)
{
    const struct meta_table *table = change->table;
    mrmr_autobytes struct mrmr_bytes sql = MRMR_BYTES_INIT;
    sqlite3_stmt *stmt = NULL;
    sqlite3_value *row[META_COLUMNS_MAX];
    MRMR_TRY(mrmr_bytes_fmt(&sql, "SELECT * FROM %s%s", table->name, table->where));
    int rc = sqlite3_prepare_v2(meta->db, sql.data, -1, &stmt, NULL);
    for (int i = 0, at = 0; !rc && i < table->columns; i++)
        if (table->column[i].key)
            rc = sqlite3_bind_value(stmt, ++at, change->old[i]);
    if (!rc)
        rc = sqlite3_step(stmt);
    mrmr_err err;
    if (rc == SQLITE_ROW) {
        meta_table_row(stmt, table, row);
        err = meta_table_print_insert(text, table, row);
    } else {
        err = rc == SQLITE_DONE
                  ? mrmr_fail(MRMR_INTERNAL, "the journal lost a row of '%s'", table->name)
                  : meta_sqlite_fail(meta, rc);
    }
    sqlite3_finalize(stmt);
    return err;
}

static mrmr_err change_print(struct meta *meta, struct mrmr_bytes *text,
    const struct journal_change *change, enum journal_phase phase)
{
    bool update = change->op == SQLITE_UPDATE;
    switch (phase) {
    case JOURNAL_DELETES:
        if (change->op == SQLITE_DELETE || change->displaces)
            return meta_table_print_delete(text, change->table, change->old);
        return MRMR_OK;
    case JOURNAL_UPDATES:
        if (update && !change->displaces)
            return meta_table_print_update(text, change->table, change->old, change->now);
        return MRMR_OK;
    default:
        if (change->op == SQLITE_INSERT)
            return meta_table_print_insert(text, change->table, change->now);
        return change->displaces ? change_print_row(meta, text, change) : MRMR_OK;
    }
}

static mrmr_err changeset_print_phase(
    struct meta *meta, void *changeset, int size, enum journal_phase phase)
{
    struct journal_change change;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    sqlite3_changeset_iter *iter = NULL;
    mrmr_err err = meta_sqlite_fail(meta, sqlite3changeset_start(&iter, size, changeset));
    int rc = SQLITE_DONE;
    while (!err && (rc = sqlite3changeset_next(iter)) == SQLITE_ROW) {
        err = change_load(meta, iter, &change);
        if (!err)
            err = change_print(meta, &text, &change, phase);
        if (!err)
            err = meta_text_spill(meta->journal->spool, &text, false);
    }
    if (!err && rc != SQLITE_DONE)
        err = meta_sqlite_fail(meta, rc);
    sqlite3changeset_finalize(iter);
    return err ? err : meta_text_spill(meta->journal->spool, &text, true);
}

static mrmr_err journal_spool(struct meta *meta)
{
    struct meta_journal *j = meta->journal;
    if (j->spool)
        return MRMR_OK;
    MRMR_TRY(meta_text_spool(meta->path, &j->spool));
    return meta_text_add(j->spool, "BEGIN;\n", 7);
}

static mrmr_err changeset_print(struct meta *meta, void *changeset, int size)
{
    MRMR_TRY(journal_spool(meta));
    for (enum journal_phase phase = 0; phase < JOURNAL_PHASES; phase++)
        MRMR_TRY(changeset_print_phase(meta, changeset, size, phase));
    return MRMR_OK;
}

/* What the session noted goes to the spool. The session still has it: the caller starts another, or
 * gives up. */
static mrmr_err journal_print_notes(struct meta *meta)
{
    int size = 0;
    void *changeset = NULL;
    int rc = sqlite3session_changeset(meta->journal->session, &size, &changeset);
    mrmr_err err = meta_sqlite_fail(meta, rc);
    if (!err && size)
        err = changeset_print(meta, changeset, size);
    sqlite3_free(changeset);
    return err;
}

/* Outside of a transaction: notes to the spool, and fresh notes. */
static void journal_flush(struct meta *meta)
{
    struct meta_journal *j = meta->journal;
    struct meta_text *spool;
    if (journal_print_notes(meta)) {
        mrmr_log_story(MRMR_LOG_WARN, "recording the catalog's changes");
        journal_stop(j);
        return;
    }
    spool = mrmr_steal(j->spool);
    if (spool && meta_text_size(spool) > JOURNAL_SPOOL) {
        meta_text_free(spool);
        journal_stop(j);
        return;
    }
    journal_record(meta, j);
    if (j->session)
        j->spool = spool;
    else
        meta_text_free(spool);
}

void meta_journal_committed(struct meta *meta, bool kept)
{
    struct meta_journal *j = meta->journal;
    if (!j)
        return;
    j->marked = j->marked || (kept && j->marking);
    j->marking = false;
    if (!kept || !j->session)
        return;
    if (sqlite3session_memory_used(j->session) > JOURNAL_NOTES ||
        sqlite3session_changeset_size(j->session) > JOURNAL_NOTES)
        journal_flush(meta);
}

/* --- The small tables ---------------------------------------------------------------------------
 */

static mrmr_err rows_digest(struct meta *meta, struct mrmr_bytes *text, const char *sql)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, sql, NULL));
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return mrmr_bytes_str(text, "\n");
        for (int i = 0; i < sqlite3_column_count(q.stmt); i++) {
            MRMR_TRY(meta_table_print_value(text, sqlite3_column_value(q.stmt, i)));
            MRMR_TRY(mrmr_bytes_str(text, ";"));
        }
    }
}

/* What a drive was last seen with, and its session, change with every run: they are in each log,
 * but are no reason for one. */
static mrmr_err small_digest(struct meta *meta, int64_t *ret_digest)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(rows_digest(meta, &text, "SELECT key, value FROM setting ORDER BY key"));
    MRMR_TRY(rows_digest(meta, &text,
        "SELECT id, uuid, name, uri, domain, role, state, slot, reserve, max_usage, root, hold, "
        "replaces FROM drive ORDER BY id"));
    MRMR_TRY(rows_digest(meta, &text, "SELECT slot FROM slot_used ORDER BY slot"));
    MRMR_TRY(rows_digest(meta, &text, "SELECT uuid, name FROM retired ORDER BY uuid"));
    struct mrmr_digest digest = mrmr_digest_of(text.data, text.size);
    memcpy(ret_digest, digest.bytes, sizeof *ret_digest);
    return MRMR_OK;
}

static mrmr_err print_rows(struct meta *meta, const struct meta_table *table, int64_t after)
{
    struct meta_text *spool = meta->journal->spool;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    if (table->kind == META_TABLE_SMALL)
        MRMR_TRY(mrmr_bytes_fmt(&text, "DELETE FROM %s;\n", table->name));
    return meta_text_rows(meta, meta->db, table, after, &text, meta_text_to_spool, spool);
}

/* Those that were trimmed, and, where a base was made of the last copy's state a while after it,
 * those that this base has already. */
static mrmr_err print_events(struct meta *meta, const struct meta_table *table, int64_t after)
{
    bool found;
    int64_t least = 0;
    char line[128];
    MRMR_TRY(meta_run_int(meta, "SELECT min(id) FROM event", NULL, &found, &least));
    if (!found || least > after)
        least = after + 1;
    int n = snprintf(line, sizeof line,
        "DELETE FROM event WHERE id<%lld;\nDELETE FROM event WHERE id>%lld;\n", (long long)least,
        (long long)after);
    MRMR_TRY(meta_text_add(meta->journal->spool, line, (size_t)n));
    return print_rows(meta, table, after);
}

/* --- Copies --- */

static bool journal_whole(const struct meta_journal *j)
{
    return j && j->session;
}

/* Nothing came of what was noted. */
static mrmr_err journal_unmark(struct meta *meta)
{
    struct meta_journal *j = meta->journal;
    if (!j->marked)
        return MRMR_OK;
    MRMR_TRY(meta_write(meta, "UPDATE counter SET value = 0 WHERE name = 'copy.open'", NULL));
    j->marked = false;
    return MRMR_OK;
}

static mrmr_err state_changed(struct meta *meta, bool *ret_changed)
{
    struct meta_journal *j = meta->journal;
    int64_t now = 0, then = 0;
    if (!j->session) {
        *ret_changed = journal_possible() || sqlite3_total_changes64(meta->db) != j->changes;
        return MRMR_OK;
    }
    if (!sqlite3session_isempty(j->session))
        journal_flush(meta);
    MRMR_TRY(small_digest(meta, &now));
    MRMR_TRY(counter_get(meta, "copy.small", &then));
    *ret_changed = !j->session || j->spool || now != then;
    return *ret_changed ? MRMR_OK : journal_unmark(meta);
}

static mrmr_err copy_ready(struct meta *meta)
{
    if (!meta->journal)
        return mrmr_fail(MRMR_INTERNAL, "the catalog's journal does not run");
    if (meta->open || meta->depth || meta->callbacks)
        return mrmr_fail(MRMR_BUSY, "the catalog cannot be copied inside a transaction");
    return MRMR_OK;
}

mrmr_err meta_copy_state(struct meta *meta, struct meta_copy_state *ret_state)
{
    mrmr_locked(&meta->lock);
    struct meta_copy_state state = {0};
    MRMR_TRY(copy_ready(meta));
    MRMR_TRY(counter_get(meta, "copy.sequence", &state.sequence));
    MRMR_TRY(state_changed(meta, &state.changed));
    state.whole = journal_whole(meta->journal);
    *ret_state = state;
    return MRMR_OK;
}

static mrmr_err cut_log(struct meta *meta, int64_t last_event)
{
    struct meta_journal *j = meta->journal;
    MRMR_TRY(journal_spool(meta));
    MRMR_TRY(journal_print_notes(meta));
    for (size_t i = 0; i < META_TABLES; i++) {
        if (j->tables[i].kind == META_TABLE_SMALL)
            MRMR_TRY(print_rows(meta, &j->tables[i], 0));
        else if (j->tables[i].kind == META_TABLE_EVENT)
            MRMR_TRY(print_events(meta, &j->tables[i], last_event));
    }
    return meta_text_add(j->spool, "COMMIT;\n", 8);
}

static mrmr_err cut_inside(struct meta *meta, int64_t sequence, bool log)
{
    bool found;
    int64_t small, was_event, event = 0;
    MRMR_TRY(small_digest(meta, &small));
    MRMR_TRY(counter_get(meta, "copy.event", &was_event));
    MRMR_TRY(meta_run_int(meta, "SELECT max(id) FROM event", NULL, &found, &event));
    MRMR_TRY(counter_set(meta, "copy.sequence", sequence));
    MRMR_TRY(counter_set(meta, "copy.small", small));
    MRMR_TRY(counter_set(meta, "copy.event", found ? event : was_event));
    MRMR_TRY(counter_set(meta, "copy.open", journal_possible() ? 0 : 1));
    return log ? cut_log(meta, was_event) : MRMR_OK;
}

/* The cut's own transaction. Whatever fails, the journal is given up: the spool has half of a log.
 */
static mrmr_err cut(struct meta *meta, int64_t sequence, bool log, struct meta_text **ret_log)
{
    struct meta_journal *j = meta->journal;
    MRMR_TRY(meta_run(meta, "BEGIN IMMEDIATE", NULL));
    mrmr_err err = cut_inside(meta, sequence, log);
    if (!err)
        err = meta_run(meta, "COMMIT", NULL);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        if (!sqlite3_get_autocommit(meta->db))
            meta_run(meta, "ROLLBACK", NULL);
        journal_stop(j);
        return mrmr_story_restore(&story);
    }
    struct meta_text *text = mrmr_steal(j->spool);
    j->marked = !journal_possible();
    journal_record(meta, j);
    if (log)
        *ret_log = text;
    else
        meta_text_free(text);
    return MRMR_OK;
}

/* A base of the last copy's state, a while after it: nothing that matters has changed since. */
static mrmr_err cut_again(struct meta *meta)
{
    bool changed;
    MRMR_TRY(state_changed(meta, &changed));
    return changed ? mrmr_fail(MRMR_CHANGED, "the catalog has changed since its last copy")
                   : MRMR_OK;
}

mrmr_err meta_copy_cut(
    struct meta *meta, int64_t sequence, struct meta_text **ret_log, struct meta_text **ret_base)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(copy_ready(meta));
    int64_t was;
    struct meta_text *log = NULL, *base = NULL;
    MRMR_TRY(counter_get(meta, "copy.sequence", &was));
    if (sequence < was || sequence < 1 ||
        (ret_log && (sequence == was || !journal_whole(meta->journal))))
        return mrmr_fail(
            MRMR_INTERNAL, "the catalog cannot be copied as %lld", (long long)sequence);
    if (sequence == was)
        MRMR_TRY(cut_again(meta));
    else
        MRMR_TRY(cut(meta, sequence, ret_log != NULL, &log));
    mrmr_err err = ret_base ? meta_text_dump(meta, &base) : MRMR_OK;
    if (err) {
        meta_text_free(log);
        return err;
    }
    if (ret_log)
        *ret_log = log;
    if (ret_base)
        *ret_base = base;
    return MRMR_OK;
}
