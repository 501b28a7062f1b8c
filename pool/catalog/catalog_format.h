/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Format: the copies of the catalog on a drive (I8). docs/FORMAT.md is the full word on it.
 *
 *     .mrmr/catalog/base-<sequence>.sql.gz              the whole catalog as of that sequence
 *     .mrmr/catalog/log-<base>-<sequence>.sql.gz        from the copy before to that sequence
 *     …~                                                one being written; counts for nothing
 *
 * Sequences are decimal, 12 digits or more, with zeros in front: names sort in their order. A file
 * is one gzip member of lines:
 *
 *     -- mrmr catalog copy, format 1
 *     -- <key> <value>                  kind, pool, sequence, after (logs); others are for people
 *     BEGIN; … COMMIT;                  meta/table.h has the forms
 *     -- end <sequence>
 *
 * A reader of format 1 refuses another format (MRMR_NEWER), a file whose sequence is not its
 * name's, a log whose `after` is not the sequence it stands at, and anything behind `end`. Keys
 * that it does not know it passes over.
 */
#ifndef MRMR_POOL_CATALOG_FORMAT_H
#define MRMR_POOL_CATALOG_FORMAT_H

#include "pool/engine.h"

#include <stdio.h>
#include <string.h>

#define POOL_CATALOG POOL_DOT "/catalog"
#define POOL_CATALOG_PATH 96
#define POOL_CATALOG_MAGIC "-- mrmr catalog copy, format "
#define POOL_CATALOG_FORMAT 1
/* A name on a drive may be anybody's (I9): one beyond this says nothing about which sequence is next,
 * else one such name would push the next beyond the digits that a name has. */
#define POOL_CATALOG_SEQUENCE_MOST INT64_C(100000000000000000) /* 10^17: in seconds, for ever */
#define POOL_CATALOG_ENTRIES 4096 /* more names in the folder are not looked at */

struct pool_catalog_name {
    bool log;
    int64_t base, sequence; /* of a base both are its sequence */
};

/* "012…" up to the character `until`; NULL if it is no such number. */
static inline const char *pool_catalog_digits(const char *p, char until, int64_t *ret_value)
{
    size_t digits = strspn(p, "0123456789");
    if (digits < 12 || digits > 18 || p[digits] != until)
        return NULL;
    *ret_value = 0;
    for (size_t i = 0; i < digits; i++)
        *ret_value = 10 * *ret_value + (p[i] - '0');
    return p + digits + 1;
}

/* A name in the folder, without its path. */
static inline bool pool_catalog_name_parse(const char *name, struct pool_catalog_name *ret_name)
{
    struct pool_catalog_name got = {.log = strncmp(name, "log-", 4) == 0};
    const char *p = got.log ? name + 4 : strncmp(name, "base-", 5) == 0 ? name + 5 : NULL;
    if (p && got.log)
        p = pool_catalog_digits(p, '-', &got.base);
    if (p)
        p = pool_catalog_digits(p, '.', &got.sequence);
    if (!p || strcmp(p, "sql.gz") != 0)
        return false;
    if (!got.log)
        got.base = got.sequence;
    if (got.sequence > POOL_CATALOG_SEQUENCE_MOST + (INT64_C(1) << 32))
        return false;
    *ret_name = got;
    return got.sequence > 0 && (!got.log || got.sequence > got.base);
}

static inline void pool_catalog_name_print(
    const struct pool_catalog_name *name, char path[POOL_CATALOG_PATH])
{
    if (name->log)
        snprintf(path, POOL_CATALOG_PATH, POOL_CATALOG "/log-%012lld-%012lld.sql.gz",
            (long long)name->base, (long long)name->sequence);
    else
        snprintf(path, POOL_CATALOG_PATH, POOL_CATALOG "/base-%012lld.sql.gz",
            (long long)name->sequence);
}

/* Reads a copy whole: its gzip, its first line, its end (catalog_check.c). What its lines say is
 * judged by whoever restores it. MRMR_FORMAT, TRUNCATED, or what the drive answers. */
mrmr_err pool_catalog_file_check(struct drv *drv, const struct pool_catalog_name *name);

#endif
