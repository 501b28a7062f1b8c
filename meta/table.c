/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/table.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

/* What a row refers to comes before it. */
static const struct {
    const char *name;
    enum meta_table_kind kind;
} table_list[META_TABLES] = {
    {"setting", META_TABLE_SMALL},
    {"counter", META_TABLE_SMALL},
    {"drive", META_TABLE_SMALL},
    {"slot_used", META_TABLE_SMALL},
    {"retired", META_TABLE_SMALL},
    {"node", META_TABLE_RECORDED},
    {"name", META_TABLE_RECORDED},
    {"attr", META_TABLE_RECORDED},
    {"target", META_TABLE_RECORDED},
    {"change", META_TABLE_RECORDED},
    {"exposed", META_TABLE_RECORDED},
    {"stripe", META_TABLE_RECORDED},
    {"block", META_TABLE_RECORDED},
    {"row", META_TABLE_RECORDED},
    {"extent", META_TABLE_RECORDED},
    {"intent", META_TABLE_RECORDED},
    {"todo", META_TABLE_RECORDED},
    {"event", META_TABLE_EVENT},
    {"sqlite_sequence", META_TABLE_SMALL},
};

/* --- What the tables are like --------------------------------------------------------------- */

static const char table_columns[] =
    "SELECT name, pk, EXISTS (SELECT 1 FROM pragma_index_list(?1) l, pragma_index_info(l.name) i"
    " WHERE l.\"unique\" AND i.name = c.name) FROM pragma_table_info(?1) c ORDER BY cid";

static mrmr_err table_take_column(struct meta *meta, struct meta_table *table, sqlite3_stmt *stmt)
{
    const char *name = (const char *)sqlite3_column_text(stmt, 0);
    if (table->columns == META_COLUMNS_MAX || !name || strlen(name) >= META_COLUMN_NAME)
        return meta_corrupt(meta, "'%s' has impossible columns", table->name);
    struct meta_column *column = &table->column[table->columns++];
    snprintf(column->name, sizeof column->name, "%s", name);
    column->key = sqlite3_column_int(stmt, 1) > 0;
    column->unique = sqlite3_column_int(stmt, 2) > 0;
    return MRMR_OK;
}

static mrmr_err table_load_columns(struct meta *meta, sqlite3 *db, struct meta_table *table)
{
    sqlite3_stmt *stmt = NULL;
    MRMR_TRY(meta_sqlite_fail(meta, sqlite3_prepare_v2(db, table_columns, -1, &stmt, NULL)));
    int rc = sqlite3_bind_text(stmt, 1, table->name, -1, SQLITE_STATIC);
    mrmr_err err = meta_sqlite_fail(meta, rc);
    while (!err && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        err = table_take_column(meta, table, stmt);
    if (!err && rc != SQLITE_DONE)
        err = meta_sqlite_fail(meta, rc);
    sqlite3_finalize(stmt);
    if (!err && !table->columns)
        err = meta_corrupt(meta, "it has no table '%s'", table->name);
    return err;
}

static void table_templates(struct meta_table *table)
{
    int n = snprintf(table->insert, sizeof table->insert, "INSERT INTO %s VALUES(", table->name);
    int k = 0;
    for (int i = 0; i < table->columns; i++) {
        n += snprintf(table->insert + n, sizeof table->insert - (size_t)n, i ? ",?" : "?");
        if (table->column[i].key)
            k += snprintf(table->where + k, sizeof table->where - (size_t)k, "%s%s=?",
                k ? " AND " : " WHERE ", table->column[i].name);
    }
    snprintf(table->insert + n, sizeof table->insert - (size_t)n, ")");
}

mrmr_err meta_tables_load(struct meta *meta, sqlite3 *db, struct meta_table tables[META_TABLES])
{
    memset(tables, 0, META_TABLES * sizeof *tables);
    for (size_t i = 0; i < META_TABLES; i++) {
        tables[i].name = table_list[i].name;
        tables[i].kind = table_list[i].kind;
        MRMR_TRY(table_load_columns(meta, db, &tables[i]));
        table_templates(&tables[i]);
    }
    return MRMR_OK;
}

const struct meta_table *meta_table_find(
    const struct meta_table tables[META_TABLES], const char *name, size_t size)
{
    for (size_t i = 0; i < META_TABLES; i++)
        if (strlen(tables[i].name) == size && memcmp(tables[i].name, name, size) == 0)
            return &tables[i];
    return NULL;
}

/* --- Values ----------------------------------------------------------------------------------- */

static bool is_printable(const unsigned char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (s[i] < 0x20 || s[i] > 0x7e)
            return false;
    return true;
}

static bool has_control(const unsigned char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (s[i] < 0x20 || s[i] == 0x7f)
            return true;
    return false;
}

static mrmr_err print_quoted(struct mrmr_bytes *text, const char *s, size_t size)
{
    MRMR_TRY(mrmr_bytes_reserve(text, 2 * size + 2));
    char *to = text->data + text->size;
    *to++ = '\'';
    for (size_t i = 0; i < size; i++) {
        if (s[i] == '\'')
            *to++ = '\'';
        *to++ = s[i];
    }
    *to++ = '\'';
    *to = '\0';
    text->size = (size_t)(to - text->data);
    return MRMR_OK;
}

static mrmr_err print_hex(struct mrmr_bytes *text, const void *data, size_t size)
{
    MRMR_TRY(mrmr_bytes_reserve(text, 2 * size + 4));
    MRMR_TRY(mrmr_bytes_str(text, "X'"));
    mrmr_text_hex(data, size, text->data + text->size);
    text->size += 2 * size;
    return mrmr_bytes_str(text, "'");
}

static mrmr_err print_cast(struct mrmr_bytes *text, const char *s, size_t size, bool quoted)
{
    MRMR_TRY(mrmr_bytes_str(text, "CAST("));
    MRMR_TRY(quoted ? print_quoted(text, s, size) : print_hex(text, s, size));
    return mrmr_bytes_str(text, quoted ? " AS BLOB)" : " AS TEXT)");
}

static mrmr_err print_bytes(struct mrmr_bytes *text, sqlite3_value *value, bool blob)
{
    const char *s = sqlite3_value_blob(value);
    size_t size = (size_t)sqlite3_value_bytes(value);
    if (size && !s)
        return mrmr_nomem();
    s = size ? s : "";
    const unsigned char *bytes = (const unsigned char *)s;
    if (blob)
        return size && is_printable(bytes, size) ? print_cast(text, s, size, true)
                                                 : print_hex(text, s, size);
    if (has_control(bytes, size) || !mrmr_text_is_utf8(s, size))
        return print_cast(text, s, size, false);
    return print_quoted(text, s, size);
}

static mrmr_err print_integer(struct mrmr_bytes *text, int64_t value)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--at = '-';
    return mrmr_bytes_add(text, at, (size_t)(digits + sizeof digits - at));
}

mrmr_err meta_table_print_value(struct mrmr_bytes *text, sqlite3_value *value)
{
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        return print_integer(text, sqlite3_value_int64(value));
    case SQLITE_TEXT:
        return print_bytes(text, value, false);
    case SQLITE_BLOB:
        return print_bytes(text, value, true);
    case SQLITE_NULL:
        return mrmr_bytes_str(text, "NULL");
    default:
        return mrmr_fail(MRMR_CORRUPT, "the catalog holds a value of a type that it never stores");
    }
}

/* --- Statements ------------------------------------------------------------------------------- */

static mrmr_err print_where(
    struct mrmr_bytes *text, const struct meta_table *table, sqlite3_value *const row[])
{
    const char *word = " WHERE ";
    for (int i = 0; i < table->columns; i++) {
        if (!table->column[i].key)
            continue;
        MRMR_TRY(mrmr_bytes_str(text, word));
        MRMR_TRY(mrmr_bytes_str(text, table->column[i].name));
        MRMR_TRY(mrmr_bytes_add(text, "=", 1));
        MRMR_TRY(meta_table_print_value(text, row[i]));
        word = " AND ";
    }
    return mrmr_bytes_add(text, ";\n", 2);
}

mrmr_err meta_table_print_insert(
    struct mrmr_bytes *text, const struct meta_table *table, sqlite3_value *const row[])
{
    MRMR_TRY(mrmr_bytes_add(text, "INSERT INTO ", 12));
    MRMR_TRY(mrmr_bytes_str(text, table->name));
    MRMR_TRY(mrmr_bytes_add(text, " VALUES(", 8));
    for (int i = 0; i < table->columns; i++) {
        if (i)
            MRMR_TRY(mrmr_bytes_add(text, ",", 1));
        MRMR_TRY(meta_table_print_value(text, row[i]));
    }
    return mrmr_bytes_add(text, ");\n", 3);
}

mrmr_err meta_table_print_delete(
    struct mrmr_bytes *text, const struct meta_table *table, sqlite3_value *const row[])
{
    MRMR_TRY(mrmr_bytes_str(text, "DELETE FROM "));
    MRMR_TRY(mrmr_bytes_str(text, table->name));
    return print_where(text, table, row);
}

mrmr_err meta_table_print_update(struct mrmr_bytes *text, const struct meta_table *table,
    sqlite3_value *const old[], sqlite3_value *const now[])
{
    MRMR_TRY(mrmr_bytes_str(text, "UPDATE "));
    MRMR_TRY(mrmr_bytes_str(text, table->name));
    const char *word = " SET ";
    for (int i = 0; i < table->columns; i++) {
        if (!now[i])
            continue;
        MRMR_TRY(mrmr_bytes_str(text, word));
        MRMR_TRY(mrmr_bytes_str(text, table->column[i].name));
        MRMR_TRY(mrmr_bytes_add(text, "=", 1));
        MRMR_TRY(meta_table_print_value(text, now[i]));
        word = ",";
    }
    return print_where(text, table, old);
}

void meta_table_row(sqlite3_stmt *stmt, const struct meta_table *table, sqlite3_value *row[])
{
    for (int i = 0; i < table->columns; i++)
        row[i] = sqlite3_column_value(stmt, i);
}
