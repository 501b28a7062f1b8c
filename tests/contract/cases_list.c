/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Listing: every entry once, with the stat it would get alone, also while the folder changes.
 */
#include "contract.h"

#include <stdlib.h>

/* With names as long as PADDING makes them, more than a driver reads of a folder at once (256 KiB). */
#define MANY 1200
#define PADDING 230

/* Entries are named "e<number>-", with PADDING; how often each was seen. */
struct seen {
    struct contract *c;
    unsigned times[2 * MANY];
    unsigned total;
};

static mrmr_err count_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct seen *seen = arg;
    assert_ok(err);
    assert_non_null(stat);
    seen->total++;
    assert_int_equal(name[0], 'e');
    unsigned n = (unsigned)atoi(name + 1);
    assert_true(n < 2 * MANY);
    seen->times[n]++;
    return MRMR_OK;
}

static void name_entry(char path[PADDING + 32], unsigned n)
{
    snprintf(path, PADDING + 32, "d/e%u-%0*u", n, PADDING, n);
}

static void make_many(struct contract *c, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char path[PADDING + 32];
        name_entry(path, i);
        make_file(c, path, "");
    }
}

static void every_entry_once(void **state)
{
    struct contract *c = *state;
    mrmr_autofree struct seen *seen = calloc(1, sizeof *seen);
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    assert_ok(drv_list(c->drv, "d", count_entry, seen));
    assert_int_equal(seen->total, 0);
    make_many(c, 0, MANY);
    assert_ok(drv_list(c->drv, "d", count_entry, seen));
    assert_int_equal(seen->total, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(seen->times[i], 1);
}

/* While listing: remove odd entries of the first half, make new ones. */
static mrmr_err change_folder(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct seen *seen = arg;
    char path[PADDING + 32];
    if (seen->total % 3 == 0 && seen->total / 3 < MANY / 4) {
        unsigned n = seen->total / 3;
        name_entry(path, 2 * n + 1);
        assert_ok(drv_unlink(seen->c->drv, path));
        name_entry(path, MANY + n);
        make_file(seen->c, path, "");
    }
    return count_entry(name, stat, err, arg);
}

static void a_folder_may_change_meanwhile(void **state)
{
    struct contract *c = *state;
    mrmr_autofree struct seen *seen = calloc(1, sizeof *seen);
    seen->c = c;
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    make_many(c, 0, MANY);
    assert_ok(drv_list(c->drv, "d", change_folder, seen));
    for (unsigned i = 0; i < 2 * MANY; i++) {
        bool stays = i < MANY && (i % 2 == 0 || i >= MANY / 2);
        if (stays)
            assert_int_equal(seen->times[i], 1);
        else
            assert_true(seen->times[i] <= 1);
    }
}

static mrmr_err compare_stat(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct seen *seen = arg;
    assert_ok(err);
    const struct drv_stat alone = stat_of(seen->c, name);
    assert_int_equal(stat->type, alone.type);
    assert_int_equal(stat->mode, alone.mode);
    assert_int_equal(stat->size, alone.size);
    assert_int_equal(stat->ino, alone.ino);
    assert_int_equal(stat->dev, alone.dev);
    assert_int_equal(stat->mtime, alone.mtime);
    assert_int_equal(stat->ctime, alone.ctime);
    assert_int_equal(stat->btime, alone.btime);
    assert_int_equal(stat->nlink, alone.nlink);
    seen->total++;
    return MRMR_OK;
}

static void stats_are_those_of_stat(void **state)
{
    struct contract *c = *state;
    mrmr_autofree struct seen *seen = calloc(1, sizeof *seen);
    unsigned made = 2;
    seen->c = c;
    make_file(c, "file", "12345");
    assert_ok(drv_mkdir(c->drv, "folder", 0711));
    if (contract_can(c, DRV_CAP_SYMLINK)) {
        assert_ok(drv_symlink(c->drv, "file", "link"));
        assert_ok(drv_symlink(c->drv, "nowhere", "dangling"));
        made += 2;
    }
    if (contract_can(c, DRV_CAP_HARDLINK)) {
        assert_ok(drv_link(c->drv, "file", "second"));
        made++;
    }
    if (contract_can(c, DRV_CAP_SPECIAL)) {
        assert_ok(drv_mknod(c->drv, "fifo", DRV_FIFO, 0600, 0));
        made++;
    }
    assert_ok(drv_list(c->drv, "", compare_stat, seen));
    assert_int_equal(seen->total, made);
}

static mrmr_err stop_at_second(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name;
    (void)stat;
    (void)err;
    unsigned *n = arg;
    return ++*n == 2 ? mrmr_fail(MRMR_HELD, NULL) : MRMR_OK;
}

static void an_error_stops_the_listing(void **state)
{
    struct contract *c = *state;
    unsigned n = 0;
    make_file(c, "a", "");
    make_file(c, "b", "");
    make_file(c, "c", "");
    assert_err(drv_list(c->drv, "", stop_at_second, &n), MRMR_HELD);
    assert_int_equal(n, 2);
}

const struct CMUnitTest cases_list[] = {
    CASE(every_entry_once),
    CASE(a_folder_may_change_meanwhile),
    CASE(stats_are_those_of_stat),
    CASE(an_error_stops_the_listing),
};
const size_t cases_list_count = sizeof cases_list / sizeof *cases_list;
