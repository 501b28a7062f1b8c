/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/text.h"

#include "meta/schema.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define TEXT_PIECE (128 << 10)

struct meta_text {
    /* A spool. */
    int fd; /* -1: a dump */
    uint64_t size;
    /* A dump. meta is for stories alone: its connection is the dump's own. */
    struct meta meta;
    struct meta_table *tables;
};

void meta_text_free(struct meta_text *text)
{
    if (!text)
        return;
    if (text->fd >= 0)
        close(text->fd);
    for (size_t i = 0; i < META_CACHED; i++)
        sqlite3_finalize(text->meta.cached[i].stmt);
    sqlite3_close(text->meta.db);
    free(text->meta.path);
    free(text->tables);
    free(text);
}

MRMR_DEFINE_AUTO(struct meta_text, meta_text_free);

static mrmr_err text_create(const char *path, struct meta_text **ret_text)
{
    struct meta_text *text = calloc(1, sizeof *text);
    if (!text)
        return mrmr_nomem();
    text->fd = -1;
    text->meta.path = strdup(path);
    if (!text->meta.path) {
        free(text);
        return mrmr_nomem();
    }
    *ret_text = text;
    return MRMR_OK;
}

/* --- Spools --------------------------------------------------------------------------------------
 */

/* Where a file system cannot make files without a name, one with a name that goes at once. */
static int spool_open(char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
    if (mrmr_bytes_fmt(&name, "%s/catalog-log-XXXXXX", folder)) {
        errno = ENOMEM;
        return -1;
    }
    fd = mkostemp(name.data, O_CLOEXEC);
    if (fd >= 0)
        unlink(name.data);
    return fd;
}

mrmr_err meta_text_spool(const char *path, struct meta_text **ret_text)
{
    MRMR_AUTO(meta_text_free) struct meta_text *text = NULL;
    MRMR_TRY(text_create(path, &text));
    const char *slash = strrchr(path, '/');
    mrmr_autofree char *folder =
        slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder)
        return mrmr_nomem();
    text->fd = spool_open(folder);
    if (text->fd < 0)
        return mrmr_fail_errno(errno, "make a log of the catalog in", folder);
    *ret_text = mrmr_steal(text);
    return MRMR_OK;
}

mrmr_err meta_text_add(struct meta_text *text, const char *data, size_t size)
{
    while (size) {
        ssize_t n = pwrite(text->fd, data, size, (off_t)text->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return mrmr_fail_errno(n ? errno : EIO, "write a log of the catalog", text->meta.path);
        data += n;
        size -= (size_t)n;
        text->size += (uint64_t)n;
    }
    return MRMR_OK;
}

uint64_t meta_text_size(const struct meta_text *text)
{
    return text->size;
}

mrmr_err meta_text_spill(struct meta_text *text, struct mrmr_bytes *buffer, bool end)
{
    if (!buffer->size || (!end && buffer->size < TEXT_PIECE))
        return MRMR_OK;
    mrmr_err err = meta_text_add(text, buffer->data, buffer->size);
    mrmr_bytes_clear(buffer);
    return err;
}

mrmr_err meta_text_to_spool(const char *data, size_t size, void *arg)
{
    return meta_text_add(arg, data, size);
}

static mrmr_err spool_read(struct meta_text *text, meta_text_fn fn, void *arg)
{
    mrmr_autofree char *buf = malloc(TEXT_PIECE);
    if (!buf)
        return mrmr_nomem();
    for (uint64_t at = 0; at < text->size;) {
        ssize_t n = pread(text->fd, buf, TEXT_PIECE, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return mrmr_fail_errno(n ? errno : EIO, "read a log of the catalog", text->meta.path);
        MRMR_TRY(fn(buf, (size_t)n, arg));
        at += (uint64_t)n;
    }
    return MRMR_OK;
}

/* --- Dumps --- */

static mrmr_err dump_exec(struct meta_text *text, const char *sql)
{
    return meta_sqlite_fail(&text->meta, sqlite3_exec(text->meta.db, sql, NULL, NULL, NULL));
}

/* The first read fixes what the transaction sees. */
mrmr_err meta_text_dump(struct meta *meta, struct meta_text **ret_text)
{
    MRMR_AUTO(meta_text_free) struct meta_text *text = NULL;
    MRMR_TRY(text_create(meta->path, &text));
    text->tables = calloc(META_TABLES, sizeof *text->tables);
    if (!text->tables)
        return mrmr_nomem();
    int rc = sqlite3_open_v2(
        meta->path, &text->meta.db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    MRMR_TRY(meta_sqlite_fail(&text->meta, rc));
    sqlite3_busy_timeout(text->meta.db, 2000);
    sqlite3_db_config(text->meta.db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    MRMR_TRY(dump_exec(text, "PRAGMA cell_size_check = ON; BEGIN; SELECT 1 FROM setting"));
    MRMR_TRY(meta_tables_load(&text->meta, text->meta.db, text->tables));
    *ret_text = mrmr_steal(text);
    return MRMR_OK;
}

static mrmr_err text_pass(struct mrmr_bytes *text, meta_text_fn fn, void *arg, bool end)
{
    if (!text->size || (!end && text->size < TEXT_PIECE))
        return MRMR_OK;
    mrmr_err err = fn(text->data, text->size, arg);
    mrmr_bytes_clear(text);
    return err;
}

static mrmr_err rows_print(struct meta *meta, sqlite3_stmt *stmt, const struct meta_table *table,
    struct mrmr_bytes *text, meta_text_fn fn, void *arg)
{
    sqlite3_value *row[META_COLUMNS_MAX];
    for (;;) {
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_DONE)
            return text_pass(text, fn, arg, true);
        if (rc != SQLITE_ROW)
            return meta_sqlite_fail(meta, rc);
        meta_table_row(stmt, table, row);
        MRMR_TRY(meta_table_print_insert(text, table, row));
        MRMR_TRY(text_pass(text, fn, arg, false));
    }
}

mrmr_err meta_text_rows(struct meta *meta, sqlite3 *db, const struct meta_table *table,
    int64_t after, struct mrmr_bytes *text, meta_text_fn fn, void *arg)
{
    char sql[96];
    bool event = table->kind == META_TABLE_EVENT;
    sqlite3_stmt *stmt = NULL;
    const char *where = event                                 ? " WHERE id > ?"
                        : strcmp(table->name, "setting") == 0 ? " WHERE key <> '" META_SETTING_LOCAL
                                                                "'"
                                                              : "";
    snprintf(sql, sizeof sql, "SELECT * FROM %s%s", table->name, where);
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (!rc && event)
        rc = sqlite3_bind_int64(stmt, 1, after);
    mrmr_err err = meta_sqlite_fail(meta, rc);
    if (!err)
        err = rows_print(meta, stmt, table, text, fn, arg);
    sqlite3_finalize(stmt);
    return err;
}

/* Ours are on one line each; what a person has added on several is not copied. */
static mrmr_err dump_schema(struct meta_text *text, const char *sql, meta_text_fn fn, void *arg)
{
    mrmr_autobytes struct mrmr_bytes out = MRMR_BYTES_INIT;
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(text->meta.db, sql, -1, &stmt, NULL);
    mrmr_err err = meta_sqlite_fail(&text->meta, rc);
    while (!err && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        const char *create = (const char *)sqlite3_column_text(stmt, 1);
        bool table = sqlite3_column_int(stmt, 2);
        if (!name || !create || strpbrk(create, "\r\n") ||
            (table && (strncmp(name, "sqlite_", 7) == 0 ||
                          !meta_table_find(text->tables, name, strlen(name)))))
            continue;
        err = mrmr_bytes_fmt(&out, "%s;\n", create);
    }
    if (!err && rc != SQLITE_DONE)
        err = meta_sqlite_fail(&text->meta, rc);
    sqlite3_finalize(stmt);
    return err ? err : text_pass(&out, fn, arg, true);
}

static mrmr_err dump_head(struct meta_text *text, meta_text_fn fn, void *arg)
{
    int version;
    char head[128];
    MRMR_TRY(meta_schema_probe(&text->meta, &version));
    int n = snprintf(head, sizeof head,
        "BEGIN;\nPRAGMA application_id=%d;\nPRAGMA user_version=%d;\n", META_APPLICATION, version);
    return fn(head, (size_t)n, arg);
}

static mrmr_err dump_tables(struct meta_text *text, meta_text_fn fn, void *arg)
{
    mrmr_autobytes struct mrmr_bytes out = MRMR_BYTES_INIT;
    for (size_t i = 0; i < META_TABLES; i++) {
        /* The inserts before have filled it. */
        if (i == META_TABLES - 1)
            MRMR_TRY(mrmr_bytes_fmt(&out, "DELETE FROM %s;\n", text->tables[i].name));
        MRMR_TRY(meta_text_rows(&text->meta, text->meta.db, &text->tables[i], 0, &out, fn, arg));
    }
    return MRMR_OK;
}

static mrmr_err dump_read(struct meta_text *text, meta_text_fn fn, void *arg)
{
    MRMR_TRY(dump_head(text, fn, arg));
    MRMR_TRY(dump_schema(text,
        "SELECT name, sql, 1 FROM sqlite_schema WHERE type = 'table' ORDER BY rowid", fn, arg));
    MRMR_TRY(dump_tables(text, fn, arg));
    MRMR_TRY(dump_schema(text,
        "SELECT name, sql, 0 FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        " ORDER BY rowid",
        fn, arg));
    MRMR_TRY(dump_schema(text,
        "SELECT name, sql, 0 FROM sqlite_schema WHERE type = 'view' ORDER BY rowid", fn, arg));
    return fn("COMMIT;\n", 8, arg);
}

mrmr_err meta_text_read(struct meta_text *text, meta_text_fn fn, void *arg)
{
    return text->fd >= 0 ? spool_read(text, fn, arg) : dump_read(text, fn, arg);
}
