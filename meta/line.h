/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One line of a copy's text, parsed and carried out (I9): it is one of the statements of table.h,
 * about tables and columns that are ours, with values, which are bound. No text of it is given to
 * SQLite. A statement must change exactly the one row that it means, but where it empties a small
 * table or trims events. Not for anyone outside meta/.
 *
 * Errors: MRMR_FORMAT for anything else, and for a row that the schema refuses; what SQLite says of
 * the catalog itself.
 */
#ifndef MRMR_META_LINE_H
#define MRMR_META_LINE_H

#include "meta/table.h"

#define META_LINE_VALUES (2 * META_COLUMNS_MAX)

struct meta_line_value {
    int type; /* SQLITE_INTEGER … */
    int64_t number;
    size_t at, size; /* text and blobs: in bytes */
};

/* Zero-initialised, then meta set. */
struct meta_line {
    struct meta *meta; /* of which db and path are used */
    struct meta_table tables[META_TABLES];
    sqlite3_stmt *insert[META_TABLES];
    sqlite3_stmt *other; /* the last statement that was not an insert */
    struct mrmr_bytes other_sql;

    const char *at, *end; /* what is left of the line */
    struct mrmr_bytes sql, bytes;
    struct meta_line_value value[META_LINE_VALUES];
    int values;
};

void meta_line_set(struct meta_line *line, const char *text, size_t size);
/* The word stands here: step behind it. */
bool meta_line_take(struct meta_line *line, const char *word);
/* The word is all that is left. */
bool meta_line_is(struct meta_line *line, const char *word);
mrmr_err meta_line_integer(struct meta_line *line, int64_t *ret_number);
/* An INSERT, UPDATE or DELETE, whole; *ret_known false if it is none of the three. The tables are
 * loaded. */
mrmr_err meta_line_statement(struct meta_line *line, bool *ret_known);
/* MRMR_FORMAT, with what stands here. */
mrmr_err meta_line_bad(const struct meta_line *line, const char *what);
void meta_line_close(struct meta_line *line); /* statements and memory; before the connection */

#endif
