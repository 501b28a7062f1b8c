/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/line.h"

#include "base/text.h"
#include <string.h>

/* --- Parsing --- */

mrmr_err meta_line_bad(const struct meta_line *line, const char *what)
{
    int shown = line->end - line->at < 40 ? (int)(line->end - line->at) : 40;
    return mrmr_fail(MRMR_FORMAT, "it holds a line that no copy of a catalog has: %s, at \"%.*s\"",
        what, shown, line->at);
}

bool meta_line_take(struct meta_line *line, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(line->end - line->at) < size || memcmp(line->at, word, size) != 0)
        return false;
    line->at += size;
    return true;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t line_word(const struct meta_line *line)
{
    const char *p = line->at;
    while (p < line->end && is_word(*p))
        p++;
    return (size_t)(p - line->at);
}

static mrmr_err parse_table(struct meta_line *line, const struct meta_table **ret_table)
{
    size_t size = line_word(line);
    const struct meta_table *table = meta_table_find(line->tables, line->at, size);
    if (!table)
        return meta_line_bad(line, "an unknown table");
    line->at += size;
    *ret_table = table;
    return MRMR_OK;
}

static struct meta_line_value *value_add(struct meta_line *line, int type)
{
    if (line->values == META_LINE_VALUES)
        return NULL;
    struct meta_line_value *value = &line->value[line->values++];
    *value = (struct meta_line_value){.type = type, .at = line->bytes.size};
    return value;
}

/* Behind the opening quote. */
static mrmr_err parse_quoted(struct meta_line *line)
{
    for (;;) {
        const char *quote = memchr(line->at, '\'', (size_t)(line->end - line->at));
        if (!quote)
            return meta_line_bad(line, "a text without an end");
        MRMR_TRY(mrmr_bytes_add(&line->bytes, line->at, (size_t)(quote - line->at)));
        line->at = quote + 1;
        if (line->at == line->end || *line->at != '\'')
            return MRMR_OK;
        MRMR_TRY(mrmr_bytes_add(&line->bytes, "'", 1));
        line->at++;
    }
}

/* Behind X'. */
static mrmr_err parse_hex(struct meta_line *line)
{
    const char *quote = memchr(line->at, '\'', (size_t)(line->end - line->at));
    size_t digits = quote ? (size_t)(quote - line->at) : 1;
    if (digits % 2)
        return meta_line_bad(line, "a blob of half a byte");
    MRMR_TRY(mrmr_bytes_reserve(&line->bytes, digits / 2));
    /* unhex takes a string: the quote is not a digit, so it ends there in any case. */
    if (!mrmr_text_unhex(line->at, digits / 2, line->bytes.data + line->bytes.size))
        return meta_line_bad(line, "a blob that is not hexadecimal");
    line->bytes.size += digits / 2;
    line->at = quote + 1;
    return MRMR_OK;
}

static mrmr_err parse_bytes(struct meta_line *line, struct meta_line_value *value)
{
    bool cast = meta_line_take(line, "CAST(");
    if (meta_line_take(line, "'")) {
        value->type = cast ? SQLITE_BLOB : SQLITE_TEXT;
        MRMR_TRY(parse_quoted(line));
    } else if (meta_line_take(line, "X'")) {
        value->type = cast ? SQLITE_TEXT : SQLITE_BLOB;
        MRMR_TRY(parse_hex(line));
    } else {
        return meta_line_bad(line, "no value");
    }
    value->size = line->bytes.size - value->at;
    if (cast && !meta_line_take(line, value->type == SQLITE_BLOB ? " AS BLOB)" : " AS TEXT)"))
        return meta_line_bad(line, "a bad cast");
    return MRMR_OK;
}

mrmr_err meta_line_integer(struct meta_line *line, int64_t *ret_number)
{
    char digits[24];
    size_t n = 0;
    while (line->at + n < line->end && n < sizeof digits - 1 &&
           ((line->at[n] >= '0' && line->at[n] <= '9') || (n == 0 && line->at[n] == '-'))) {
        digits[n] = line->at[n];
        n++;
    }
    digits[n] = '\0';
    if (!mrmr_text_i64(digits, ret_number))
        return meta_line_bad(line, "no whole number");
    line->at += n;
    return MRMR_OK;
}

static mrmr_err parse_value(struct meta_line *line)
{
    struct meta_line_value *value = value_add(line, SQLITE_INTEGER);
    if (!value)
        return meta_line_bad(line, "too many values");
    if (meta_line_take(line, "NULL")) {
        value->type = SQLITE_NULL;
        return MRMR_OK;
    }
    char c = line->at < line->end ? *line->at : '\0';
    if (c == '-' || (c >= '0' && c <= '9'))
        return meta_line_integer(line, &value->number);
    return parse_bytes(line, value);
}

static mrmr_err parse_end(struct meta_line *line)
{
    return line->end - line->at == 1 && *line->at == ';'
               ? MRMR_OK
               : meta_line_bad(line, "more than one statement");
}

static mrmr_err parse_where(struct meta_line *line, const struct meta_table *table)
{
    const char *word = " WHERE ";
    for (int i = 0; i < table->columns; i++) {
        if (!table->column[i].key)
            continue;
        if (!meta_line_take(line, word) || !meta_line_take(line, table->column[i].name) ||
            !meta_line_take(line, "="))
            return meta_line_bad(line, "not the table's key");
        MRMR_TRY(parse_value(line));
        word = " AND ";
    }
    MRMR_TRY(mrmr_bytes_str(&line->sql, table->where));
    return parse_end(line);
}

/* --- Running --- */

static int value_bind(struct meta_line *line, sqlite3_stmt *stmt, int i)
{
    const struct meta_line_value *value = &line->value[i];
    const char *bytes = value->size ? line->bytes.data + value->at : "";
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
static mrmr_err run_fail(struct meta_line *line, const struct meta_table *table, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return mrmr_fail(MRMR_FORMAT, "it holds an impossible row of '%s': %s", table->name,
            sqlite3_errmsg(line->meta->db));
    default:
        return meta_sqlite_fail(line->meta, rc);
    }
}

/* exact: one row, no more and no fewer. */
static mrmr_err run_bound(
    struct meta_line *line, const struct meta_table *table, sqlite3_stmt *stmt, bool exact)
{
    int rc = SQLITE_OK;
    if (sqlite3_bind_parameter_count(stmt) != line->values)
        return meta_line_bad(line, "not as many values as columns");
    for (int i = 0; !rc && i < line->values; i++)
        rc = value_bind(line, stmt, i);
    if (!rc)
        rc = sqlite3_step(stmt);
    mrmr_err err = rc == SQLITE_DONE ? MRMR_OK : run_fail(line, table, rc);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    if (!err && exact && sqlite3_changes64(line->meta->db) != 1)
        err = mrmr_fail(MRMR_FORMAT, "it changes a row of '%s' that is not there", table->name);
    return err;
}

static mrmr_err run_other(struct meta_line *line, const struct meta_table *table, bool exact)
{
    if (!line->other || strcmp(line->other_sql.data, line->sql.data) != 0) {
        sqlite3_finalize(line->other);
        line->other = NULL;
        mrmr_bytes_clear(&line->other_sql);
        MRMR_TRY(mrmr_bytes_str(&line->other_sql, line->sql.data));
        MRMR_TRY(meta_sqlite_fail(line->meta,
            sqlite3_prepare_v2(line->meta->db, line->sql.data, -1, &line->other, NULL)));
    }
    return run_bound(line, table, line->other, exact);
}

static mrmr_err take_insert(struct meta_line *line)
{
    const struct meta_table *table;
    MRMR_TRY(parse_table(line, &table));
    if (!meta_line_take(line, " VALUES("))
        return meta_line_bad(line, "no values");
    do
        MRMR_TRY(parse_value(line));
    while (meta_line_take(line, ","));
    if (!meta_line_take(line, ")"))
        return meta_line_bad(line, "no end of the values");
    MRMR_TRY(parse_end(line));
    sqlite3_stmt **stmt = &line->insert[table - line->tables];
    if (!*stmt)
        MRMR_TRY(meta_sqlite_fail(
            line->meta, sqlite3_prepare_v2(line->meta->db, table->insert, -1, stmt, NULL)));
    return run_bound(line, table, *stmt, true);
}

/* The column whose name stands here; keys do not change. */
static mrmr_err parse_column(
    struct meta_line *line, const struct meta_table *table, const struct meta_column **ret_column)
{
    size_t size = line_word(line);
    for (int i = 0; i < table->columns; i++) {
        const struct meta_column *column = &table->column[i];
        if (column->key || strlen(column->name) != size ||
            memcmp(column->name, line->at, size) != 0)
            continue;
        line->at += size;
        *ret_column = column;
        return MRMR_OK;
    }
    return meta_line_bad(line, "an unknown column");
}

static mrmr_err take_update(struct meta_line *line)
{
    const struct meta_table *table;
    MRMR_TRY(parse_table(line, &table));
    if (!meta_line_take(line, " SET "))
        return meta_line_bad(line, "nothing to set");
    MRMR_TRY(mrmr_bytes_fmt(&line->sql, "UPDATE %s SET ", table->name));
    do {
        const struct meta_column *column = NULL;
        MRMR_TRY(parse_column(line, table, &column));
        MRMR_TRY(mrmr_bytes_fmt(&line->sql, "%s%s=?", line->values ? "," : "", column->name));
        if (!meta_line_take(line, "="))
            return meta_line_bad(line, "no value");
        MRMR_TRY(parse_value(line));
    } while (meta_line_take(line, ","));
    if (!table->where[0])
        return meta_line_bad(line, "a table without a key");
    MRMR_TRY(parse_where(line, table));
    return run_other(line, table, true);
}

static mrmr_err take_delete(struct meta_line *line)
{
    const struct meta_table *table;
    MRMR_TRY(parse_table(line, &table));
    MRMR_TRY(mrmr_bytes_fmt(&line->sql, "DELETE FROM %s", table->name));
    if (table->kind == META_TABLE_SMALL) {
        MRMR_TRY(parse_end(line));
        return run_other(line, table, false);
    }
    if (table->kind == META_TABLE_EVENT) {
        bool below = meta_line_take(line, " WHERE id<");
        if (!below && !meta_line_take(line, " WHERE id>"))
            return meta_line_bad(line, "not how events go");
        MRMR_TRY(parse_value(line));
        MRMR_TRY(mrmr_bytes_str(&line->sql, below ? " WHERE id<?" : " WHERE id>?"));
        MRMR_TRY(parse_end(line));
        return run_other(line, table, false);
    }
    MRMR_TRY(parse_where(line, table));
    return run_other(line, table, true);
}

mrmr_err meta_line_statement(struct meta_line *line, bool *ret_known)
{
    *ret_known = true;
    if (meta_line_take(line, "INSERT INTO "))
        return take_insert(line);
    if (meta_line_take(line, "UPDATE "))
        return take_update(line);
    if (meta_line_take(line, "DELETE FROM "))
        return take_delete(line);
    *ret_known = false;
    return MRMR_OK;
}

void meta_line_set(struct meta_line *line, const char *text, size_t size)
{
    line->at = text;
    line->end = text + size;
    line->values = 0;
    mrmr_bytes_clear(&line->sql);
    mrmr_bytes_clear(&line->bytes);
}

bool meta_line_is(struct meta_line *line, const char *word)
{
    return (size_t)(line->end - line->at) == strlen(word) && meta_line_take(line, word);
}

void meta_line_close(struct meta_line *line)
{
    for (size_t i = 0; i < META_TABLES; i++)
        sqlite3_finalize(line->insert[i]);
    memset(line->insert, 0, sizeof line->insert);
    sqlite3_finalize(line->other);
    line->other = NULL;
    mrmr_bytes_free(&line->other_sql);
    mrmr_bytes_free(&line->sql);
    mrmr_bytes_free(&line->bytes);
}
