/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A catalog from the text of its copies, which may be hostile (I9). No text of a copy is ever given
 * to SQLite: a line is parsed into one of the forms of table.h, whose table and columns must be
 * ours, and values, which are bound. CREATE lines are for people with sqlite3; here the schema is
 * made by schema.c. A statement must change exactly the one row that it means.
 *
 * Crash argument. All is done to path~, without any sync; it is synced, checked and then renamed to
 * path, which must not be there. A cut before leaves path~, which the next attempt starts anew.
 */
#include "meta/schema.h"
#include "meta/table.h"
#include "meta/transaction.h"

#include "base/clock.h"
#include "base/text.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define RESTORE_VALUES (2 * META_COLUMNS_MAX)

enum restore_phase {
    RESTORE_IDLE,
    RESTORE_BEGIN,  /* "BEGIN;" is next */
    RESTORE_LABEL,  /* of a base: the version */
    RESTORE_ROWS,   /* statements, then "COMMIT;" */
    RESTORE_WHOLE,  /* nothing more */
    RESTORE_BROKEN, /* undo or destroy */
};

struct restore_value {
    int type;
    int64_t number;
    size_t at, size; /* text and blobs: in restore->bytes */
};

struct meta_restore {
    char *path;
    struct meta meta; /* its path is path~; only db and cached statements are used */
    struct meta_table tables[META_TABLES];
    bool base, labelled, finished;
    enum restore_phase phase;

    sqlite3_stmt *insert[META_TABLES];
    sqlite3_stmt *other; /* the last statement that was not an insert */
    struct mrmr_bytes other_sql;

    /* The line being parsed. */
    const char *at, *end;
    struct mrmr_bytes sql, bytes;
    struct restore_value value[RESTORE_VALUES];
    int values;
};

/* --- Parsing
 * --------------------------------------------------------------------------------------- */

static mrmr_err line_bad(const struct meta_restore *r, const char *what)
{
    int shown = r->end - r->at < 40 ? (int)(r->end - r->at) : 40;
    return mrmr_fail(MRMR_FORMAT, "it holds a line that no copy of a catalog has: %s, at \"%.*s\"",
        what, shown, r->at);
}

static bool line_take(struct meta_restore *r, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return false;
    r->at += size;
    return true;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t line_word(const struct meta_restore *r)
{
    const char *p = r->at;
    while (p < r->end && is_word(*p))
        p++;
    return (size_t)(p - r->at);
}

static mrmr_err parse_table(struct meta_restore *r, const struct meta_table **ret_table)
{
    size_t size = line_word(r);
    const struct meta_table *table = meta_table_find(r->tables, r->at, size);
    if (!table)
        return line_bad(r, "an unknown table");
    r->at += size;
    *ret_table = table;
    return MRMR_OK;
}

static struct restore_value *value_add(struct meta_restore *r, int type)
{
    if (r->values == RESTORE_VALUES)
        return NULL;
    struct restore_value *value = &r->value[r->values++];
    *value = (struct restore_value){.type = type, .at = r->bytes.size};
    return value;
}

/* Behind the opening quote. */
static mrmr_err parse_quoted(struct meta_restore *r)
{
    for (;;) {
        const char *quote = memchr(r->at, '\'', (size_t)(r->end - r->at));
        if (!quote)
            return line_bad(r, "a text without an end");
        MRMR_TRY(mrmr_bytes_add(&r->bytes, r->at, (size_t)(quote - r->at)));
        r->at = quote + 1;
        if (r->at == r->end || *r->at != '\'')
            return MRMR_OK;
        MRMR_TRY(mrmr_bytes_add(&r->bytes, "'", 1));
        r->at++;
    }
}

/* Behind X'. */
static mrmr_err parse_hex(struct meta_restore *r)
{
    const char *quote = memchr(r->at, '\'', (size_t)(r->end - r->at));
    size_t digits = quote ? (size_t)(quote - r->at) : 1;
    if (digits % 2)
        return line_bad(r, "a blob of half a byte");
    MRMR_TRY(mrmr_bytes_reserve(&r->bytes, digits / 2));
    /* unhex takes a string: the quote is not a digit, so it ends there in any case. */
    if (!mrmr_text_unhex(r->at, digits / 2, r->bytes.data + r->bytes.size))
        return line_bad(r, "a blob that is not hexadecimal");
    r->bytes.size += digits / 2;
    r->at = quote + 1;
    return MRMR_OK;
}

static mrmr_err parse_bytes(struct meta_restore *r, struct restore_value *value)
{
    bool cast = line_take(r, "CAST(");
    if (line_take(r, "'")) {
        value->type = cast ? SQLITE_BLOB : SQLITE_TEXT;
        MRMR_TRY(parse_quoted(r));
    } else if (line_take(r, "X'")) {
        value->type = cast ? SQLITE_TEXT : SQLITE_BLOB;
        MRMR_TRY(parse_hex(r));
    } else {
        return line_bad(r, "no value");
    }
    value->size = r->bytes.size - value->at;
    if (cast && !line_take(r, value->type == SQLITE_BLOB ? " AS BLOB)" : " AS TEXT)"))
        return line_bad(r, "a bad cast");
    return MRMR_OK;
}

static mrmr_err parse_integer(struct meta_restore *r, struct restore_value *value)
{
    char digits[24];
    size_t n = 0;
    while (r->at + n < r->end && n < sizeof digits - 1 &&
           ((r->at[n] >= '0' && r->at[n] <= '9') || (n == 0 && r->at[n] == '-'))) {
        digits[n] = r->at[n];
        n++;
    }
    digits[n] = '\0';
    if (!mrmr_text_i64(digits, &value->number))
        return line_bad(r, "no whole number");
    r->at += n;
    return MRMR_OK;
}

static mrmr_err parse_value(struct meta_restore *r)
{
    struct restore_value *value = value_add(r, SQLITE_INTEGER);
    if (!value)
        return line_bad(r, "too many values");
    if (line_take(r, "NULL")) {
        value->type = SQLITE_NULL;
        return MRMR_OK;
    }
    char c = r->at < r->end ? *r->at : '\0';
    if (c == '-' || (c >= '0' && c <= '9'))
        return parse_integer(r, value);
    return parse_bytes(r, value);
}

static mrmr_err parse_end(struct meta_restore *r)
{
    return r->end - r->at == 1 && *r->at == ';' ? MRMR_OK : line_bad(r, "more than one statement");
}

static mrmr_err parse_where(struct meta_restore *r, const struct meta_table *table)
{
    const char *word = " WHERE ";
    for (int i = 0; i < table->columns; i++) {
        if (!table->column[i].key)
            continue;
        if (!line_take(r, word) || !line_take(r, table->column[i].name) || !line_take(r, "="))
            return line_bad(r, "not the table's key");
        MRMR_TRY(parse_value(r));
        word = " AND ";
    }
    MRMR_TRY(mrmr_bytes_str(&r->sql, table->where));
    return parse_end(r);
}

/* --- Running
 * --------------------------------------------------------------------------------------- */

static int value_bind(struct meta_restore *r, sqlite3_stmt *stmt, int i)
{
    const struct restore_value *value = &r->value[i];
    const char *bytes = value->size ? r->bytes.data + value->at : "";
    switch (value->type) {
    case SQLITE_INTEGER:
        return sqlite3_bind_int64(stmt, i + 1, value->number);
    case SQLITE_TEXT:
        return sqlite3_bind_text(stmt, i + 1, bytes, (int)value->size, SQLITE_STATIC);
    case SQLITE_BLOB:
        return sqlite3_bind_blob(stmt, i + 1, bytes, (int)value->size, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(stmt, i + 1);
    }
}

/* What the rows themselves make SQLite refuse is the copy's fault, not the catalog's. */
static mrmr_err run_fail(struct meta_restore *r, const struct meta_table *table, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return mrmr_fail(MRMR_FORMAT, "it holds an impossible row of '%s': %s", table->name,
            sqlite3_errmsg(r->meta.db));
    default:
        return meta_sqlite_fail(&r->meta, rc);
    }
}

/* exact: one row, no more and no fewer. */
static mrmr_err run_bound(
    struct meta_restore *r, const struct meta_table *table, sqlite3_stmt *stmt, bool exact)
{
    int rc = SQLITE_OK;
    if (sqlite3_bind_parameter_count(stmt) != r->values)
        return line_bad(r, "not as many values as columns");
    for (int i = 0; !rc && i < r->values; i++)
        rc = value_bind(r, stmt, i);
    if (!rc)
        rc = sqlite3_step(stmt);
    mrmr_err err = rc == SQLITE_DONE ? MRMR_OK : run_fail(r, table, rc);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    if (!err && exact && sqlite3_changes64(r->meta.db) != 1)
        err = mrmr_fail(MRMR_FORMAT, "it changes a row of '%s' that is not there", table->name);
    return err;
}

static mrmr_err run_other(struct meta_restore *r, const struct meta_table *table, bool exact)
{
    if (!r->other || strcmp(r->other_sql.data, r->sql.data) != 0) {
        sqlite3_finalize(r->other);
        r->other = NULL;
        mrmr_bytes_clear(&r->other_sql);
        MRMR_TRY(mrmr_bytes_str(&r->other_sql, r->sql.data));
        MRMR_TRY(meta_sqlite_fail(
            &r->meta, sqlite3_prepare_v2(r->meta.db, r->sql.data, -1, &r->other, NULL)));
    }
    return run_bound(r, table, r->other, exact);
}

static mrmr_err take_insert(struct meta_restore *r)
{
    const struct meta_table *table;
    MRMR_TRY(parse_table(r, &table));
    if (!line_take(r, " VALUES("))
        return line_bad(r, "no values");
    do
        MRMR_TRY(parse_value(r));
    while (line_take(r, ","));
    if (!line_take(r, ")"))
        return line_bad(r, "no end of the values");
    MRMR_TRY(parse_end(r));
    sqlite3_stmt **stmt = &r->insert[table - r->tables];
    if (!*stmt)
        MRMR_TRY(meta_sqlite_fail(
            &r->meta, sqlite3_prepare_v2(r->meta.db, table->insert, -1, stmt, NULL)));
    return run_bound(r, table, *stmt, true);
}

/* The column whose name stands here; keys do not change. */
static mrmr_err parse_column(
    struct meta_restore *r, const struct meta_table *table, const struct meta_column **ret_column)
{
    size_t size = line_word(r);
    for (int i = 0; i < table->columns; i++) {
        const struct meta_column *column = &table->column[i];
        if (column->key || strlen(column->name) != size || memcmp(column->name, r->at, size) != 0)
            continue;
        r->at += size;
        *ret_column = column;
        return MRMR_OK;
    }
    return line_bad(r, "an unknown column");
}

static mrmr_err take_update(struct meta_restore *r)
{
    const struct meta_table *table;
    MRMR_TRY(parse_table(r, &table));
    if (!line_take(r, " SET "))
        return line_bad(r, "nothing to set");
    MRMR_TRY(mrmr_bytes_fmt(&r->sql, "UPDATE %s SET ", table->name));
    do {
        const struct meta_column *column;
        MRMR_TRY(parse_column(r, table, &column));
        MRMR_TRY(mrmr_bytes_fmt(&r->sql, "%s%s=?", r->values ? "," : "", column->name));
        if (!line_take(r, "="))
            return line_bad(r, "no value");
        MRMR_TRY(parse_value(r));
    } while (line_take(r, ","));
    if (!table->where[0])
        return line_bad(r, "a table without a key");
    MRMR_TRY(parse_where(r, table));
    return run_other(r, table, true);
}

static mrmr_err take_delete(struct meta_restore *r)
{
    const struct meta_table *table;
    MRMR_TRY(parse_table(r, &table));
    MRMR_TRY(mrmr_bytes_fmt(&r->sql, "DELETE FROM %s", table->name));
    if (table->kind == META_TABLE_SMALL) {
        MRMR_TRY(parse_end(r));
        return run_other(r, table, false);
    }
    if (table->kind == META_TABLE_EVENT) {
        bool below = line_take(r, " WHERE id<");
        if (!below && !line_take(r, " WHERE id>"))
            return line_bad(r, "not how events go");
        MRMR_TRY(parse_value(r));
        MRMR_TRY(mrmr_bytes_str(&r->sql, below ? " WHERE id<?" : " WHERE id>?"));
        MRMR_TRY(parse_end(r));
        return run_other(r, table, false);
    }
    MRMR_TRY(parse_where(r, table));
    return run_other(r, table, true);
}

/* --- A copy, line by line
 * ---------------------------------------------------------------------------- */

static mrmr_err restore_exec(struct meta_restore *r, const char *sql)
{
    return meta_sqlite_fail(&r->meta, sqlite3_exec(r->meta.db, sql, NULL, NULL, NULL));
}

/* The first lines of a base: application and version; then the schema can be made. */
static mrmr_err take_label(struct meta_restore *r)
{
    char ours[48];
    struct restore_value *version = &r->value[0];
    snprintf(ours, sizeof ours, "PRAGMA application_id=%d;", META_APPLICATION);
    if (!r->labelled) {
        if (!line_take(r, ours) || r->at != r->end)
            return line_bad(r, "not a catalog of mrmr");
        r->labelled = true;
        return MRMR_OK;
    }
    if (!line_take(r, "PRAGMA user_version="))
        return line_bad(r, "no version");
    MRMR_TRY(parse_integer(r, version));
    MRMR_TRY(parse_end(r));
    if (version->number > META_SCHEMA) {
        mrmr_fail(MRMR_NEWER,
            "its catalog has schema version %lld, and this program knows "
            "versions up to %d",
            (long long)version->number, META_SCHEMA);
        return mrmr_err_hint(MRMR_NEWER, "use the mrmr that made it, or a newer one");
    }
    if (version->number < 1)
        return mrmr_fail(MRMR_FORMAT, "its catalog has an impossible version");
    MRMR_TRY(meta_schema_make(&r->meta, (int)version->number));
    MRMR_TRY(meta_tables_load(&r->meta, r->meta.db, r->tables));
    r->phase = RESTORE_ROWS;
    return MRMR_OK;
}

static mrmr_err take_row(struct meta_restore *r)
{
    if (line_take(r, "INSERT INTO "))
        return take_insert(r);
    if (line_take(r, "UPDATE "))
        return take_update(r);
    if (line_take(r, "DELETE FROM "))
        return take_delete(r);
    if (line_take(r, "COMMIT;") && r->at == r->end) {
        r->phase = RESTORE_WHOLE;
        return MRMR_OK;
    }
    if (r->base && line_take(r, "CREATE "))
        return MRMR_OK;
    return line_bad(r, "an unknown statement");
}

static mrmr_err take_line(struct meta_restore *r)
{
    switch (r->phase) {
    case RESTORE_BEGIN:
        if (!line_take(r, "BEGIN;") || r->at != r->end)
            return line_bad(r, "no begin");
        r->phase = r->base ? RESTORE_LABEL : RESTORE_ROWS;
        return MRMR_OK;
    case RESTORE_LABEL:
        return take_label(r);
    case RESTORE_ROWS:
        return take_row(r);
    default:
        return line_bad(r, "more behind its end");
    }
}

mrmr_err meta_restore_line(struct meta_restore *r, const char *line, size_t size)
{
    if (r->phase == RESTORE_BROKEN || r->phase == RESTORE_IDLE)
        return mrmr_fail(MRMR_INTERNAL, "no copy of a catalog is being restored");
    r->at = line;
    r->end = line + size;
    r->values = 0;
    mrmr_bytes_clear(&r->sql);
    mrmr_bytes_clear(&r->bytes);
    mrmr_err err;
    if (size > META_RESTORE_LINE || memchr(line, '\0', size))
        err = line_bad(r, "too long, or with a NUL byte");
    else
        err = take_line(r);
    if (err)
        r->phase = RESTORE_BROKEN;
    return err;
}

mrmr_err meta_restore_begin(struct meta_restore *r, bool base)
{
    if (r->phase != RESTORE_IDLE || base == r->labelled)
        return mrmr_fail(MRMR_INTERNAL, "a catalog is restored from one base, then its logs");
    MRMR_TRY(restore_exec(r, "BEGIN"));
    r->base = base;
    r->phase = RESTORE_BEGIN;
    return MRMR_OK;
}

mrmr_err meta_restore_end(struct meta_restore *r)
{
    mrmr_err err = MRMR_OK;
    if (r->phase != RESTORE_WHOLE)
        err = mrmr_fail(MRMR_TRUNCATED, "it breaks off");
    if (!err)
        err = restore_exec(r, "COMMIT");
    r->phase = err ? RESTORE_BROKEN : RESTORE_IDLE;
    return err;
}

void meta_restore_undo(struct meta_restore *r)
{
    struct mrmr_story story;
    if (r->phase == RESTORE_IDLE)
        return;
    mrmr_story_save(&story);
    if (sqlite3_get_autocommit(r->meta.db) || restore_exec(r, "ROLLBACK"))
        r->phase = RESTORE_BROKEN;
    else
        r->phase = r->base ? RESTORE_BROKEN : RESTORE_IDLE;
    mrmr_story_restore(&story);
}

/* --- The file
 * ----------------------------------------------------------------------------------------- */

static void restore_close(struct meta_restore *r)
{
    for (size_t i = 0; i < META_TABLES; i++)
        sqlite3_finalize(r->insert[i]);
    memset(r->insert, 0, sizeof r->insert);
    sqlite3_finalize(r->other);
    r->other = NULL;
    for (size_t i = 0; i < META_CACHED; i++)
        sqlite3_finalize(r->meta.cached[i].stmt);
    memset(r->meta.cached, 0, sizeof r->meta.cached);
    sqlite3_close(r->meta.db);
    r->meta.db = NULL;
}

static void restore_unlink(const struct meta_restore *r)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
        if (!mrmr_bytes_fmt(&name, "%s%s", r->meta.path, suffixes[i]))
            unlink(name.data);
    }
}

void meta_restore_destroy(struct meta_restore *r)
{
    if (!r)
        return;
    restore_close(r);
    if (!r->finished && r->meta.path)
        restore_unlink(r);
    mrmr_bytes_free(&r->other_sql);
    mrmr_bytes_free(&r->sql);
    mrmr_bytes_free(&r->bytes);
    free(r->meta.path);
    free(r->path);
    free(r);
}

static mrmr_err restore_open(struct meta_restore *r)
{
    restore_unlink(r);
    mrmr_autoclose int fd =
        open(r->meta.path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "create", r->meta.path);
    int rc = sqlite3_open_v2(
        r->meta.path, &r->meta.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    MRMR_TRY(meta_sqlite_fail(&r->meta, rc));
    sqlite3_extended_result_codes(r->meta.db, 1);
    sqlite3_limit(r->meta.db, SQLITE_LIMIT_LENGTH, 4 * META_RESTORE_LINE);
    sqlite3_limit(r->meta.db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_db_config(r->meta.db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return restore_exec(r, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF;"
                           "PRAGMA foreign_keys = OFF; PRAGMA temp_store = FILE;"
                           "PRAGMA cache_size = -32768");
}

/* Absolute or with a slash, so that SQLite sees neither ":memory:" nor "file:". */
mrmr_err meta_restore_create(const char *path, struct meta_restore **ret_restore)
{
    struct meta_restore *r = calloc(1, sizeof *r);
    mrmr_autobytes struct mrmr_bytes temp = MRMR_BYTES_INIT;
    if (!r)
        return mrmr_nomem();
    mrmr_err err = mrmr_bytes_fmt(&temp, "%s%s~", path[0] == '/' ? "" : "./", path);
    if (!err && !(r->path = strdup(path)))
        err = mrmr_nomem();
    if (!err) {
        r->meta.path = mrmr_steal(temp.data);
        err = restore_open(r);
    }
    if (err) {
        meta_restore_destroy(r);
        return err;
    }
    *ret_restore = r;
    return MRMR_OK;
}

/* Opened as a catalog it is brought up to this program's schema first. */
static mrmr_err restore_note(struct meta *meta, const char *warning)
{
    struct meta_event event = {.time = mrmr_clock_real(), .kind = "catalog-restored"};
    MRMR_TRY(meta_write(meta,
        "INSERT INTO counter (name, value) VALUES ('copy.open', 1) "
        "ON CONFLICT (name) DO UPDATE SET value = 1",
        NULL));
    if (!warning)
        return MRMR_OK;
    mrmr_autofree char *text = strdup(warning);
    if (!text)
        return mrmr_nomem();
    event.warning = true;
    event.text = text;
    return meta_event_add(meta, &event);
}

static mrmr_err restore_check(const char *path, const char *warning)
{
    struct meta *meta = NULL;
    MRMR_TRY(meta_open(path, 0, &meta));
    mrmr_err err = restore_note(meta, warning);
    if (!err)
        err = meta_check(meta);
    struct mrmr_story story;
    mrmr_story_save(&story);
    meta_close(meta);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}

static mrmr_err restore_name(struct meta_restore *r)
{
    mrmr_autoclose int fd = open(r->meta.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        return mrmr_fail_errno(errno, "sync", r->meta.path);
    if (renameat2(AT_FDCWD, r->meta.path, AT_FDCWD, r->path, RENAME_NOREPLACE))
        return mrmr_fail_errno(errno, "rename", r->path);
    r->finished = true;
    const char *slash = strrchr(r->path, '/');
    mrmr_autofree char *folder =
        slash ? strndup(r->path, slash == r->path ? 1 : (size_t)(slash - r->path)) : strdup(".");
    if (!folder)
        return mrmr_nomem();
    mrmr_autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir))
        return mrmr_fail_errno(errno, "sync", folder);
    return MRMR_OK;
}

mrmr_err meta_restore_finish(struct meta_restore *r, const char *warning)
{
    if (r->phase != RESTORE_IDLE || !r->labelled)
        return mrmr_fail(MRMR_INTERNAL, "no whole copy of a catalog was restored");
    restore_close(r);
    MRMR_TRY(restore_check(r->meta.path, warning));
    return restore_name(r);
}
