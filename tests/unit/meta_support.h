/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What every test of meta/ shares: a catalog in a folder of its own, drives, files and stripes in
 * it, a seeded generator, and a second connection that writes what no program should (hostile
 * catalogs).
 */
#ifndef MRMR_TESTS_UNIT_META_SUPPORT_H
#define MRMR_TESTS_UNIT_META_SUPPORT_H

#include "meta/meta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

static inline void check_err(
    mrmr_err got, mrmr_err want, const char *expr, const char *file, int line)
{
    if (got == want)
        return;
    char story[1024];
    print_error("%s gave '%s' where '%s' was expected; the story: %s\n", expr, mrmr_err_name(got),
        mrmr_err_name(want), mrmr_story_print(mrmr_story_get(), story, sizeof story));
    _fail(file, line);
}
#define assert_err(expr, want) check_err((expr), (want), #expr, __FILE__, __LINE__)
#define assert_ok(expr) assert_err(expr, MRMR_OK)
#define assert_told(word) assert_non_null(strstr(story_text(), word))

static inline const char *story_text(void)
{
    static char text[2048];
    return mrmr_story_print(mrmr_story_get(), text, sizeof text);
}

/* --- Random numbers: MRMR_SEED, or the time; printed --- */

struct rng {
    uint64_t state;
};
static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
    return rng_next(rng) % n;
}
struct rng rng_seeded(const char *test);

/* --- The world of a test --- */

struct world {
    char dir[64];
    char path[96]; /* dir/catalog.sqlite */
    struct meta *meta;
};
int world_setup(void **state);    /* an empty, open catalog */
int world_teardown(void **state); /* whatever is open is closed, and the folder removed */
/* Over what is there. */
void copy_file(const char *from, const char *to);
void world_reopen(struct world *w);
/* Run SQL on the file from outside, constraints off; fails the test if SQLite does not like it. */
void world_sql(struct world *w, const char *sql);
/* The single integer a query gives, from outside. */
int64_t world_int(struct world *w, const char *sql);

struct meta_drive make_drive(struct world *w, const char *name); /* uri is static */
/* A regular file (or another type), version 1, in the folder parent. */
struct meta_node make_node(struct world *w, const struct meta_drive *drive, int64_t parent,
    const char *name, enum meta_type type, uint64_t size);
void make_exposed(struct world *w, const struct meta_node *node); /* the whole of it */
/* A stripe with one block per file (each on a drive of its own, slots from `drives`), rows on the
 * other drives. */
int64_t make_stripe(struct world *w, const struct meta_drive drives[],
    const struct meta_node files[], size_t n, const struct meta_drive row_drives[], size_t rows);
struct mrmr_digest make_digest(uint64_t of);

static inline uint64_t leaves_of(uint64_t size)
{
    return (size + META_LEAF - 1) / META_LEAF;
}

#endif
