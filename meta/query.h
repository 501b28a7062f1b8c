/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the catalog share: the connection, and queries as scoped objects. Not for
 * anyone outside meta/.
 *
 * A query is a cached prepared statement between meta_query_start and the end of its scope, which
 * resets it on every path:
 *
 *     meta_autoquery struct meta_query q = META_QUERY_INIT;
 *     MRMR_TRY(meta_query_start(meta, &q, "SELECT uri FROM drive WHERE id = ?",
 * META_ARGS(META_INT(id)))); bool row; MRMR_TRY(meta_query_step(&q, &row));
 *
 * Everything here is called with meta->lock held. Blobs and texts that are bound must live as long
 * as the query.
 *
 * Distrust (I9). The file may be hostile, so a column is only read through the meta_col_*
 * functions, which check type and bounds: a bad value reads as 0 and is remembered, and
 * meta_query_sound() turns it into MRMR_CORRUPT.
 */
#ifndef MRMR_META_QUERY_H
#define MRMR_META_QUERY_H

#include "base/cleanup.h"
#include "meta/meta.h"

#include <pthread.h>
#include <sqlite3.h>

#define META_CACHED 256 /* a power of two, well above the number of SQL texts in this folder */

struct meta_cached {
    const char *sql; /* compared as a pointer: every text is a string literal */
    sqlite3_stmt *stmt;
    bool busy;
};

struct meta {
    /* Immutable after open. */
    sqlite3 *db;
    char *path;
    bool readonly;

    pthread_mutex_t lock; /* recursive: the functions of meta.h call one another */

    /* Guarded by lock. */
    struct meta_cached cached[META_CACHED];
    bool open;          /* between meta_begin and meta_commit */
    unsigned atomic;    /* inside meta_atomically */
    unsigned depth;     /* nested write scopes (transaction.c) */
    unsigned callbacks; /* callbacks that are running */
    int64_t changes;    /* SQLite's count of changed rows at the outermost write scope */
    mrmr_err failed;    /* the sticky error of the open transaction, and its story */
    struct mrmr_story story;
    int64_t sequence,
        sequence_end;             /* reserved values of node.sequence that are not given out yet */
    bool shares;                  /* all changes have one value now: */
    int64_t shared;               /* this one; 0: none was given yet */
    struct meta_journal *journal; /* NULL: none runs (journal.c) */
    int64_t stored;               /* monotonic: when a node was stored last */
};

enum meta_arg_kind { META_ARG_END, META_ARG_INT, META_ARG_ID, META_ARG_TEXT, META_ARG_BLOB };

struct meta_arg {
    enum meta_arg_kind kind;
    int64_t number;
    const void *data;
    size_t size;
};
#define META_INT(value)                                                                            \
    {                                                                                              \
        .kind = META_ARG_INT, .number = (int64_t)(value)                                           \
    }
#define META_ID(value) /* NULL if 0 */                                                             \
    {                                                                                              \
        .kind = META_ARG_ID, .number = (value)                                                     \
    }
#define META_TEXT(string)                                                                          \
    {                                                                                              \
        .kind = META_ARG_TEXT, .data = (string)                                                    \
    }
#define META_BLOB(pointer, length)                                                                 \
    {                                                                                              \
        .kind = META_ARG_BLOB, .data = (pointer), .size = (length)                                 \
    }
#define META_ARGS(...)                                                                             \
    (const struct meta_arg[])                                                                      \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            .kind = META_ARG_END                                                                   \
        }                                                                                          \
    }

struct meta_query {
    struct meta *meta;
    sqlite3_stmt *stmt;
    struct meta_cached *cached; /* NULL: prepared for this use alone */
    int bad;                    /* 1 + the first column with an impossible value; 0 = none */
};
#define META_QUERY_INIT                                                                            \
    {                                                                                              \
        NULL, NULL, NULL, 0                                                                        \
    }
#define meta_autoquery __attribute__((cleanup(meta_query_end)))

/* sql must be a string literal. args may be NULL. */
mrmr_err meta_query_start(
    struct meta *meta, struct meta_query *q, const char *sql, const struct meta_arg *args);
mrmr_err meta_query_step(struct meta_query *q, bool *ret_row);
void meta_query_end(struct meta_query *q); /* idempotent */
mrmr_err meta_query_sound(const struct meta_query *q);

/* The whole of a statement that gives no rows. */
mrmr_err meta_run(struct meta *meta, const char *sql, const struct meta_arg *args);
/* The first row's only column; *ret_found false if there is no row. A NULL counts as no row. */
mrmr_err meta_run_int(struct meta *meta, const char *sql, const struct meta_arg *args,
    bool *ret_found, int64_t *ret_value);
/* The first column of at most `most` rows, each ≥ 1. */
mrmr_err meta_run_ids(struct meta *meta, const char *sql, const struct meta_arg *args,
    int64_t *ret_ids, size_t most, size_t *ret_n);

int64_t meta_col_int(struct meta_query *q, int col);
int64_t meta_col_range(struct meta_query *q, int col, int64_t least, int64_t most);
uint64_t meta_col_u64(struct meta_query *q, int col); /* 0 … INT64_MAX */
int64_t meta_col_id(struct meta_query *q, int col);   /* ≥ 1 */
/* Copy into buf; too long, or with a NUL inside, is bad. Also takes a blob. */
void meta_col_text(struct meta_query *q, int col, char *buf, size_t size);
/* The same as a fresh string; NULL after q->bad or on no memory (then *err is set). */
char *meta_col_dup(struct meta_query *q, int col, mrmr_err *err);
void meta_col_blob(struct meta_query *q, int col, const void **ret_data, size_t *ret_size);
void meta_col_fixed(
    struct meta_query *q, int col, void *data, size_t size); /* a blob of exactly size */
void meta_col_bad(struct meta_query *q, int col);

/* A story for what SQLite returned. */
mrmr_err meta_sqlite_fail(struct meta *meta, int rc);
/* MRMR_CORRUPT with path and next step. */
mrmr_err meta_corrupt(struct meta *meta, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Values that SQLite's signed integers hold. */
static inline bool meta_fits(uint64_t value)
{
    return value <= INT64_MAX;
}

#define META_LEAVES_MAX ((uint64_t)INT64_MAX / META_LEAF)

/* first, leaves, bytes of a run of leaves of which only the last may be short. */
static inline bool meta_run_sane(uint64_t first, uint64_t leaves, uint64_t bytes)
{
    return leaves >= 1 && first <= META_LEAVES_MAX && leaves <= META_LEAVES_MAX - first &&
           bytes > (leaves - 1) * META_LEAF && bytes <= leaves * META_LEAF;
}

#endif
