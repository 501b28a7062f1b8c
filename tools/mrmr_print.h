/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Output for people: names escaped, times, tables whose columns are aligned. Widths are counted in
 * characters, not in bytes. One thread.
 */
#ifndef MRMR_TOOLS_MRMR_PRINT_H
#define MRMR_TOOLS_MRMR_PRINT_H

#include "base/bytes.h"
#include "pool/pool.h"
#include <stdio.h>

/* A name with control characters and what is not UTF-8 as \xHH. free(); NULL: out of memory. */
char *mrmr_print_escaped(const char *name);
/* The same written to a stream. */
void mrmr_print_name(FILE *out, const char *name);

enum { MRMR_PRINT_TIME = 48 };
/* RFC 3339 in UTC; a fraction only if there is one. Returns buf. */
const char *mrmr_print_time_utc(int64_t ns, char buf[MRMR_PRINT_TIME]);
/* "2026-02-03 14:05", local; "never" for 0. Returns buf. */
const char *mrmr_print_time_local(int64_t ns, char buf[MRMR_PRINT_TIME]);

/* "1 file", "3 files" */
const char *mrmr_print_count(uint64_t n, const char *one, const char *many, char *buf, size_t size);

const char *mrmr_print_presence(enum pool_presence presence);
const char *mrmr_print_type(enum pool_type type);

/* How many characters text takes, as far as UTF-8 tells. */
size_t mrmr_print_width(const char *text);

/* A table is filled cell by cell, then printed. columns: one letter each, 'l' or 'r' aligned.
 * Zero-initialised but for columns. Cells are escaped. */
struct mrmr_table {
    const char *columns;
    struct mrmr_bytes cells; /* each with its NUL */
    mrmr_err err;            /* kept; returned by print */
};
void mrmr_table_cell(struct mrmr_table *table, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void mrmr_table_size(struct mrmr_table *table, uint64_t bytes);
/* Prints it, each line after indent spaces, and frees it. */
mrmr_err mrmr_table_print(struct mrmr_table *table, FILE *out, unsigned indent);

#endif
