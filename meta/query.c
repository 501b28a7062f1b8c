/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/query.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What made SQLite give up on a system call. It keeps errno for some calls only; for the others the
 * thread's own, which was cleared before the step, still tells a full quota and its kin from a
 * failing medium. */
static mrmr_err sqlite_io_code(struct meta *meta, int own)
{
    int sys = meta->db ? sqlite3_system_errno(meta->db) : 0;
    if (!sys && (own == ENOSPC || own == EDQUOT || own == EFBIG || own == EROFS))
        sys = own;
    if (sys == EFBIG)
        return MRMR_SPACE; /* there is no way on but room for another catalog, either */
    return sys ? mrmr_err_from_errno(sys) : MRMR_IO;
}

static mrmr_err sqlite_code(struct meta *meta, int rc, int own)
{
    switch (rc) {
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_ROWID:
        return MRMR_EXISTS;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return MRMR_ABSENT;
    case SQLITE_IOERR_NOMEM:
        return MRMR_NOMEM;
    case SQLITE_IOERR_CORRUPTFS:
        return MRMR_CORRUPT;
    }
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
        return MRMR_INVALID;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* the SQL is ours and fixed: the schema is not the one it was written for */
    case SQLITE_SCHEMA: /* likewise */
    case SQLITE_MISMATCH:
        return MRMR_CORRUPT;
    case SQLITE_NOMEM:
        return MRMR_NOMEM;
    case SQLITE_FULL:
        return MRMR_SPACE;
    case SQLITE_READONLY:
        return MRMR_READONLY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return MRMR_DENIED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: /* somebody is opening it, or was stopped in the middle of that */
        return MRMR_BUSY;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return sqlite_io_code(meta, own);
    case SQLITE_INTERRUPT:
        return MRMR_CANCELLED;
    default:
        return MRMR_INTERNAL;
    }
}

static mrmr_err sqlite_hint(mrmr_err err)
{
    switch (mrmr_class_of(err)) {
    case MRMR_CLASS_CORRUPT:
        return mrmr_err_hint(err,
            "move it and its -wal and -shm files away, and in its folder make it anew from the "
            "copy on a drive: zcat DRIVE/.mrmr/catalog/*.sql.gz | sqlite3 -bail catalog.sqlite; "
            "docs/FORMAT.md, Copies of the catalog, says more");
    case MRMR_CLASS_SPACE:
        return mrmr_err_hint(err, "make room on the file system that holds the catalog");
    default:
        if (err == MRMR_BUSY)
            return mrmr_err_hint(err, "another process writes to it: wait for it to finish");
        if (err == MRMR_READONLY)
            return mrmr_err_hint(err, "make the catalog and its folder writable");
        return err;
    }
}

mrmr_err meta_sqlite_fail(struct meta *meta, int rc)
{
    if (rc == SQLITE_OK)
        return MRMR_OK;
    mrmr_err err = sqlite_code(meta, rc, errno);
    const char *words = meta->db ? sqlite3_errmsg(meta->db) : sqlite3_errstr(rc);
    mrmr_fail(err, "the catalog: %s (SQLite %d)", words, rc);
    mrmr_err_path(err, meta->path);
    return sqlite_hint(err);
}

mrmr_err meta_corrupt(struct meta *meta, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mrmr_fail(MRMR_CORRUPT, "the catalog is damaged: %s", text);
    mrmr_err_path(MRMR_CORRUPT, meta->path);
    return sqlite_hint(MRMR_CORRUPT);
}

/* The cache's entry for a text: its own, a free one, or NULL if the table is full. */
static struct meta_cached *cached_find(struct meta *meta, const char *sql)
{
    size_t at = (size_t)(((uintptr_t)sql >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    for (size_t i = 0; i < META_CACHED; i++) {
        struct meta_cached *cached = &meta->cached[(at + i) % META_CACHED];
        if (!cached->sql || cached->sql == sql)
            return cached;
    }
    return NULL;
}

static mrmr_err query_prepare(struct meta *meta, struct meta_query *q, const char *sql)
{
    struct meta_cached *cached = cached_find(meta, sql);
    if (cached && cached->busy)
        cached = NULL; /* a callback runs the query that called it */
    if (cached && cached->stmt) {
        q->stmt = cached->stmt;
    } else {
        int rc = sqlite3_prepare_v3(
            meta->db, sql, -1, cached ? SQLITE_PREPARE_PERSISTENT : 0, &q->stmt, NULL);
        if (rc)
            return meta_sqlite_fail(meta, rc);
        if (cached)
            *cached = (struct meta_cached){sql, q->stmt, false};
    }
    q->cached = cached;
    if (cached)
        cached->busy = true;
    return MRMR_OK;
}

static int query_bind(sqlite3_stmt *stmt, int at, const struct meta_arg *arg)
{
    switch (arg->kind) {
    case META_ARG_ID:
        if (!arg->number)
            return sqlite3_bind_null(stmt, at);
        return sqlite3_bind_int64(stmt, at, arg->number);
    case META_ARG_INT:
        return sqlite3_bind_int64(stmt, at, arg->number);
    case META_ARG_TEXT:
        return sqlite3_bind_text(stmt, at, arg->data, -1, SQLITE_STATIC);
    case META_ARG_BLOB:
        return sqlite3_bind_blob64(stmt, at, arg->size ? arg->data : "", arg->size, SQLITE_STATIC);
    case META_ARG_END:
        break;
    }
    return SQLITE_MISUSE;
}

mrmr_err meta_query_start(
    struct meta *meta, struct meta_query *q, const char *sql, const struct meta_arg *args)
{
    *q = (struct meta_query){.meta = meta};
    MRMR_TRY(query_prepare(meta, q, sql));
    int wanted =
        sqlite3_bind_parameter_count(q->stmt); /* an insert may want fewer than its update */
    for (int i = 0; i < wanted && args && args[i].kind != META_ARG_END; i++) {
        int rc = query_bind(q->stmt, i + 1, &args[i]);
        if (rc) {
            mrmr_err err = meta_sqlite_fail(meta, rc);
            meta_query_end(q);
            return err;
        }
    }
    return MRMR_OK;
}

mrmr_err meta_query_step(struct meta_query *q, bool *ret_row)
{
    errno = 0; /* for sqlite_io_code */
    int rc = sqlite3_step(q->stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return meta_sqlite_fail(q->meta, rc);
    *ret_row = rc == SQLITE_ROW;
    return MRMR_OK;
}

void meta_query_end(struct meta_query *q)
{
    if (!q->stmt)
        return;
    if (q->cached) {
        sqlite3_reset(q->stmt);
        sqlite3_clear_bindings(q->stmt);
        q->cached->busy = false;
    } else {
        sqlite3_finalize(q->stmt);
    }
    *q = (struct meta_query)META_QUERY_INIT;
}

mrmr_err meta_query_sound(const struct meta_query *q)
{
    if (!q->bad)
        return MRMR_OK;
    const char *name = sqlite3_column_name(q->stmt, q->bad - 1);
    return meta_corrupt(q->meta, "it holds an impossible %s", name ? name : "value");
}

mrmr_err meta_run(struct meta *meta, const char *sql, const struct meta_arg *args)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, sql, args));
    bool row = true;
    while (row)
        MRMR_TRY(meta_query_step(&q, &row));
    return MRMR_OK;
}

mrmr_err meta_run_int(struct meta *meta, const char *sql, const struct meta_arg *args,
    bool *ret_found, int64_t *ret_value)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, sql, args));
    bool row = false;
    MRMR_TRY(meta_query_step(&q, &row));
    bool found = row && sqlite3_column_type(q.stmt, 0) != SQLITE_NULL;
    int64_t value = found ? meta_col_int(&q, 0) : 0;
    MRMR_TRY(meta_query_sound(&q));
    while (row) /* to its end, so that a statement that writes and returns is done */
        MRMR_TRY(meta_query_step(&q, &row));
    *ret_found = found;
    if (found)
        *ret_value = value;
    return MRMR_OK;
}

mrmr_err meta_run_ids(struct meta *meta, const char *sql, const struct meta_arg *args,
    int64_t *ret_ids, size_t most, size_t *ret_n)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, sql, args));
    size_t n = 0;
    bool row = true;
    while (n < most) {
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            break;
        ret_ids[n++] = meta_col_id(&q, 0);
    }
    MRMR_TRY(meta_query_sound(&q));
    *ret_n = n;
    return MRMR_OK;
}

void meta_col_bad(struct meta_query *q, int col)
{
    if (!q->bad)
        q->bad = col + 1;
}

int64_t meta_col_int(struct meta_query *q, int col)
{
    return meta_col_range(q, col, INT64_MIN, INT64_MAX);
}

int64_t meta_col_range(struct meta_query *q, int col, int64_t least, int64_t most)
{
    int64_t value = sqlite3_column_int64(q->stmt, col);
    if (sqlite3_column_type(q->stmt, col) == SQLITE_INTEGER && value >= least && value <= most)
        return value;
    meta_col_bad(q, col);
    return 0;
}

uint64_t meta_col_u64(struct meta_query *q, int col)
{
    return (uint64_t)meta_col_range(q, col, 0, INT64_MAX);
}

int64_t meta_col_id(struct meta_query *q, int col)
{
    return meta_col_range(q, col, 1, INT64_MAX);
}

void meta_col_blob(struct meta_query *q, int col, const void **ret_data, size_t *ret_size)
{
    int type = sqlite3_column_type(q->stmt, col);
    const void *data = NULL;
    int size = 0;
    if (type == SQLITE_BLOB || type == SQLITE_TEXT) {
        data = sqlite3_column_blob(q->stmt, col); /* NULL for an empty one */
        size = sqlite3_column_bytes(q->stmt, col);
    }
    if ((type != SQLITE_BLOB && type != SQLITE_TEXT) || size < 0 || (size && !data)) {
        meta_col_bad(q, col);
        size = 0;
    }
    *ret_data = size ? data : "";
    *ret_size = (size_t)size;
}

void meta_col_text(struct meta_query *q, int col, char *buf, size_t size)
{
    const void *data;
    size_t n;
    meta_col_blob(q, col, &data, &n);
    if (n >= size || memchr(data, '\0', n)) {
        meta_col_bad(q, col);
        n = 0;
    }
    memcpy(buf, data, n);
    buf[n] = '\0';
}

char *meta_col_dup(struct meta_query *q, int col, mrmr_err *err)
{
    const void *data;
    size_t n;
    meta_col_blob(q, col, &data, &n);
    if (memchr(data, '\0', n)) {
        meta_col_bad(q, col);
        return NULL;
    }
    char *copy = malloc(n + 1);
    if (!copy) {
        *err = mrmr_nomem();
        return NULL;
    }
    memcpy(copy, data, n);
    copy[n] = '\0';
    return copy;
}

void meta_col_fixed(struct meta_query *q, int col, void *data, size_t size)
{
    const void *from;
    size_t n;
    meta_col_blob(q, col, &from, &n);
    if (n == size)
        memcpy(data, from, n);
    else
        meta_col_bad(q, col);
}
