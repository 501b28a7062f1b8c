/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/mrmr_print.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

enum { COLUMNS_MAX = 16 };

/* --- Names, times, words --- */

char *mrmr_print_escaped(const char *name)
{
    struct mrmr_bytes text = MRMR_BYTES_INIT;
    if (mrmr_text_print(&text, name, strlen(name)) || mrmr_bytes_reserve(&text, 1)) {
        mrmr_bytes_free(&text);
        return NULL;
    }
    text.data[text.size] = '\0';
    return text.data;
}

void mrmr_print_name(FILE *out, const char *name)
{
    mrmr_autofree char *text = mrmr_print_escaped(name);
    fputs(text ? text : "(out of memory)", out);
}

const char *mrmr_print_time_utc(int64_t ns, char buf[MRMR_PRINT_TIME])
{
    struct timespec ts = mrmr_clock_to_timespec(ns);
    struct tm tm;
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(buf, MRMR_PRINT_TIME, "%Y-%m-%dT%H:%M:%S", &tm);
    if (ts.tv_nsec)
        n += (size_t)snprintf(buf + n, MRMR_PRINT_TIME - n, ".%09ld", ts.tv_nsec);
    snprintf(buf + n, MRMR_PRINT_TIME - n, "Z");
    return buf;
}

const char *mrmr_print_time_local(int64_t ns, char buf[MRMR_PRINT_TIME])
{
    struct timespec ts = mrmr_clock_to_timespec(ns);
    struct tm tm;
    localtime_r(&ts.tv_sec, &tm);
    if (ns == 0)
        snprintf(buf, MRMR_PRINT_TIME, "never");
    else
        strftime(buf, MRMR_PRINT_TIME, "%Y-%m-%d %H:%M", &tm);
    return buf;
}

const char *mrmr_print_count(uint64_t n, const char *one, const char *many, char *buf, size_t size)
{
    snprintf(buf, size, "%" PRIu64 " %s", n, n == 1 ? one : many);
    return buf;
}

const char *mrmr_print_presence(enum pool_presence presence)
{
    static const char *const words[] = {
        [POOL_PRESENT] = "present",
        [POOL_AWAY] = "away",
        [POOL_FOREIGN] = "foreign",
        [POOL_DIVERGED] = "diverged",
        [POOL_FAILED] = "failed",
        [POOL_DETACHED] = "detached",
    };
    return words[presence];
}

const char *mrmr_print_type(enum pool_type type)
{
    static const char *const words[] = {
        [POOL_FILE] = "file",
        [POOL_FOLDER] = "folder",
        [POOL_SYMLINK] = "symlink",
        [POOL_OTHER] = "other",
    };
    return words[type];
}

size_t mrmr_print_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* --- Tables --- */

void mrmr_table_cell(struct mrmr_table *table, const char *fmt, ...)
{
    mrmr_autofree char *raw = NULL, *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&raw, fmt, args) < 0)
        raw = NULL;
    va_end(args);
    text = raw ? mrmr_print_escaped(raw) : NULL;
    mrmr_err err = text ? mrmr_bytes_add(&table->cells, text, strlen(text) + 1) : mrmr_nomem();
    table->err = table->err ? table->err : err;
}

void mrmr_table_size(struct mrmr_table *table, uint64_t bytes)
{
    char text[MRMR_TEXT_SHORT];
    mrmr_table_cell(table, "%s", mrmr_text_print_size(bytes, text));
}

static void table_measure(const struct mrmr_table *table, size_t columns, size_t *width)
{
    size_t column = 0;
    for (size_t at = 0; at < table->cells.size; at += strlen(table->cells.data + at) + 1) {
        size_t n = mrmr_print_width(table->cells.data + at);
        width[column] = n > width[column] ? n : width[column];
        column = (column + 1) % columns;
    }
}

mrmr_err mrmr_table_print(struct mrmr_table *table, FILE *out, unsigned indent)
{
    size_t columns = strlen(table->columns), column = 0, width[COLUMNS_MAX] = {0};
    columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
    table_measure(table, columns, width);
    for (size_t at = 0; !table->err && at < table->cells.size;) {
        const char *cell = table->cells.data + at;
        int pad = (int)(width[column] - mrmr_print_width(cell));
        bool last = column + 1 == columns;
        fprintf(out, "%*s", column ? 2 : (int)indent, "");
        if (table->columns[column] == 'r')
            fprintf(out, "%*s%s", pad, "", cell);
        else
            fprintf(out, "%s%*s", cell, last ? 0 : pad, "");
        if (last)
            fputc('\n', out);
        column = last ? 0 : column + 1;
        at += strlen(cell) + 1;
    }
    mrmr_bytes_free(&table->cells);
    return table->err;
}
