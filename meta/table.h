/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The catalog's tables as SQL text: what a copy holds of each, and its rows as statements of one
 * form, one a line. Not for anyone outside meta/.
 *
 * The list in table.c says which tables are copied. One that must never leave this computer
 * (passwords, keys) is kept out of the copies by leaving it out of that list, and naming it in the
 * test that compares the list with the schema.
 *
 * The forms, which line.c takes, and nothing else:
 *
 *     INSERT INTO node VALUES(7,1,…);
 *     UPDATE node SET size=5,mtime=-1 WHERE id=7;
 *     DELETE FROM name WHERE parent=1 AND name=CAST('img.cr2' AS BLOB);
 *     DELETE FROM setting;                                   small tables, which a log holds whole
 *     DELETE FROM event WHERE id<7;                          events are only added and trimmed;
 *     DELETE FROM event WHERE id>9;                          or > before those after 9 are added
 *
 * Values: NULL, decimal integers, 'text', CAST('text' AS BLOB) for a blob that is printable ASCII,
 * X'hex' for any other, CAST(X'hex' AS TEXT) for text with control characters. So a line never
 * holds a line end, and file names can be searched for with grep.
 */
#ifndef MRMR_META_TABLE_H
#define MRMR_META_TABLE_H

#include "meta/query.h"

enum meta_table_kind {
    META_TABLE_RECORDED, /* the journal records its changes */
    META_TABLE_SMALL,    /* each log holds it whole */
    META_TABLE_EVENT,    /* each log holds the rows added since the last */
};

#define META_TABLES 19
#define META_COLUMNS_MAX 24
#define META_COLUMN_NAME 32
#define META_TEMPLATE_MAX 256

struct meta_column {
    char name[META_COLUMN_NAME];
    bool key;    /* part of the primary key */
    bool unique; /* part of a UNIQUE index: an UPDATE of it depends on the order of statements */
};

struct meta_table {
    const char *name;
    enum meta_table_kind kind;
    int columns;
    struct meta_column column[META_COLUMNS_MAX];
    char insert[META_TEMPLATE_MAX]; /* "INSERT INTO node VALUES(?,?,…)" */
    char where[META_TEMPLATE_MAX];  /* " WHERE parent=? AND name=?" */
};

/* All copied tables as the open database has them, in the order in which a base holds them; the
 * last one is SQLite's own sqlite_sequence, which says which ids were ever given out. MRMR_CORRUPT
 * if one is not there. */
mrmr_err meta_tables_load(struct meta *meta, sqlite3 *db, struct meta_table tables[META_TABLES]);
const struct meta_table *meta_table_find(
    const struct meta_table tables[META_TABLES], const char *name, size_t size);

mrmr_err meta_table_print_value(struct mrmr_bytes *text, sqlite3_value *value);
/* Append one statement with its line end. row[i] is column i; where a column is not wanted row[i]
 * may be NULL. */
mrmr_err meta_table_print_insert(
    struct mrmr_bytes *text, const struct meta_table *table, sqlite3_value *const row[]);
mrmr_err meta_table_print_delete(
    struct mrmr_bytes *text, const struct meta_table *table, sqlite3_value *const row[]);
/* now[i] is the new value of column i, NULL if it stays; old has the key. */
mrmr_err meta_table_print_update(struct mrmr_bytes *text, const struct meta_table *table,
    sqlite3_value *const old[], sqlite3_value *const now[]);
/* The row on which the statement stands. */
void meta_table_row(sqlite3_stmt *stmt, const struct meta_table *table, sqlite3_value *row[]);

#endif
