/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "catalog_same.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

const char *const catalog_tables[CATALOG_TABLES] = {"setting", "counter", "drive", "slot_used",
    "retired", "node", "name", "attr", "target", "change", "exposed", "stripe", "block", "row",
    "extent", "intent", "todo", "event", "sqlite_sequence"};

static void print_hex(const unsigned char *blob, int size, struct mrmr_bytes *out)
{
    static const char digits[] = "0123456789abcdef";
    char part[512];
    for (int at = 0, n = 0; at < size; at++) {
        part[n++] = digits[blob[at] >> 4];
        part[n++] = digits[blob[at] & 15];
        if (n == sizeof part || at == size - 1) {
            assert_int_equal(mrmr_bytes_add(out, part, (size_t)n), MRMR_OK);
            n = 0;
        }
    }
}

static void print_row(sqlite3_stmt *stmt, struct mrmr_bytes *out)
{
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        int size = sqlite3_column_bytes(stmt, i);
        const unsigned char *blob = sqlite3_column_blob(stmt, i);
        mrmr_bytes_fmt(out, "%d:", sqlite3_column_type(stmt, i));
        print_hex(blob, size, out);
        mrmr_bytes_str(out, " ");
    }
    mrmr_bytes_str(out, "\n");
}

/* All but sqlite_sequence have a primary key, and come in its order. */
static void print_table(sqlite3 *db, const char *table, struct mrmr_bytes *out)
{
    char sql[128];
    const char *rest = "";
    sqlite3_stmt *stmt;
    if (strcmp(table, "counter") == 0)
        rest = " WHERE name <> 'copy.open'";
    else if (strcmp(table, "sqlite_sequence") == 0)
        rest = " ORDER BY name";
    snprintf(sql, sizeof sql, "SELECT * FROM %s%s", table, rest);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL))
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    mrmr_bytes_str(out, "");
    while (sqlite3_step(stmt) == SQLITE_ROW)
        print_row(stmt, out);
    sqlite3_finalize(stmt);
}

static bool same(const char *a, const char *b, bool tell)
{
    sqlite3 *dba, *dbb;
    bool equal = true;
    assert_int_equal(sqlite3_open_v2(a, &dba, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_open_v2(b, &dbb, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    for (int i = 0; i < CATALOG_TABLES && equal; i++) {
        struct mrmr_bytes ta = MRMR_BYTES_INIT, tb = MRMR_BYTES_INIT;
        print_table(dba, catalog_tables[i], &ta);
        print_table(dbb, catalog_tables[i], &tb);
        equal = strcmp(ta.data, tb.data) == 0;
        if (!equal && tell)
            fail_msg("'%s' differs:\n%.2000s\n---\n%.2000s", catalog_tables[i], ta.data, tb.data);
        mrmr_bytes_free(&ta);
        mrmr_bytes_free(&tb);
    }
    sqlite3_close(dba);
    sqlite3_close(dbb);
    return equal;
}

void catalog_assert_same(const char *a, const char *b)
{
    same(a, b, true);
}

bool catalog_same(const char *a, const char *b)
{
    return same(a, b, false);
}
