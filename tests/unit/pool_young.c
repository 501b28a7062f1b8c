/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is protected when: nothing that changed a moment ago, if that is asked for, and what has been
 * exposed for longest first.
 */
#include "tests/support/rig.h"

#include "pool/stripe/young.h"

#include <stdatomic.h>
#include <stdio.h>

enum { SETTLE = 60 };
#define SECONDS(n) ((n)*MRMR_NS_PER_S)

/* The linker leads calls of mrmr_clock_real here (--wrap): the machine's clock is wrong by so much. */
static _Atomic int64_t clock_ahead;
int64_t __real_mrmr_clock_real(void);
int64_t __wrap_mrmr_clock_real(void);
int64_t __wrap_mrmr_clock_real(void)
{
    return __real_mrmr_clock_real() + atomic_load(&clock_ahead);
}

static void later(int64_t seconds)
{
    atomic_fetch_add(&clock_ahead, SECONDS(seconds));
}

static int setup(void **state)
{
    atomic_store(&clock_ahead, 0);
    *state = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 71});
    return 0;
}

static int teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}

static void sync_settled(struct rig *rig)
{
    struct pool_job job = rig_job(rig);
    const struct pool_sync_options options = {.settle = SETTLE};
    rig_ok(pool_sync(rig->pool, &job, &options, &rig->report));
}

/* So much waits, of so many files, and nothing else is exposed or needs a look. */
static void waits(struct rig *rig, uint64_t files, uint64_t bytes)
{
    const struct pool_sync_report *r = &rig->report;
    assert_int_equal(r->waiting_files, files);
    assert_int_equal(r->waiting_bytes, bytes);
    assert_int_equal(r->exposed_files, files);
    assert_int_equal(r->exposed_bytes, bytes);
    assert_int_equal(r->settle, SETTLE);
    assert_int_equal(r->skipped + r->held + r->unreadable + r->lost_bytes, 0);
    assert_true(files ? r->settles > mrmr_clock_real() - SECONDS(SETTLE) : r->settles == 0);
    rig_check(rig);
    rig_check_originals(rig);
}

static uint64_t exposed_of(struct rig *rig, const char *path)
{
    struct meta_exposed *ranges = NULL;
    uint64_t bytes = 0;
    size_t n;
    rig_ok(meta_exposed_of(rig->pool->meta, rig_node(rig, path).id, &ranges, &n));
    for (size_t i = 0; i < n; i++)
        bytes += ranges[i].bytes;
    free(ranges);
    return bytes;
}

static void test_what_is_younger_waits_and_what_is_older_does_not(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "old", 2 * RIG_MIB);
    rig_put(rig, 1, "a/old", RIG_MIB + 5);
    later(SETTLE);
    rig_put(rig, 1, "a/first", 2 * RIG_MIB + 1);
    later(20);
    rig_put(rig, 2, "second", 100);
    rig_put(rig, 0, "third", RIG_MIB);
    sync_settled(rig);
    waits(rig, 3, 3 * RIG_MIB + 101);
    assert_int_equal(rig->report.protected_files, 2);
    assert_int_equal(exposed_of(rig, "old") + exposed_of(rig, "a/old"), 0);
    assert_int_equal(rig->report.settles, rig_node(rig, "a/first").ctime + SECONDS(SETTLE));

    later(SETTLE - 20); /* the first has settled, and nothing else */
    sync_settled(rig);
    waits(rig, 2, RIG_MIB + 100);
    assert_int_equal(exposed_of(rig, "a/first"), 0);
    assert_int_equal(rig->report.settles, rig_node(rig, "second").ctime + SECONDS(SETTLE));

    rig_append(rig, "second", 7); /* changed again, it waits anew */
    later(20);
    sync_settled(rig);
    waits(rig, 1, 107);
    later(SETTLE);
    sync_settled(rig);
    waits(rig, 0, 0);
    assert_true(rig_verify(rig, true) > 0);
}

/* It is exposed for ten minutes, and for no longer than the next sync. */
static void test_what_never_rests_is_protected_at_last(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "log", RIG_MIB);
    for (unsigned i = 0; i < 12; i++) {
        sync_settled(rig);
        assert_int_equal(rig->report.waiting_files, 1);
        later(SETTLE - 10);
        rig_append(rig, "log", 100);
    }
    sync_settled(rig);
    assert_int_equal(rig->report.waiting_files, 0);
    assert_int_equal(exposed_of(rig, "log"), 0);
}

static void test_without_it_nothing_waits(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 3, RIG_MIB);
    rig_sync(rig);
    assert_int_equal(rig->report.exposed_bytes + rig->report.waiting_files, 0);
    assert_int_equal(rig->report.settle + (uint64_t)rig->report.settles, 0);
    assert_true(rig_verify(rig, true) > 0);
}

/* A drive whose driver knows no stable ctime: the modification time alone says it, also if it is old
 * because somebody set it. */
static void test_the_mtime_where_there_is_no_other(void **state)
{
    struct rig *rig = *state;
    rig_pool_drive(rig, 1)->info.caps &= ~(uint32_t)DRV_CAP_STABLE_CTIME;
    for (unsigned d = 0; d < 2; d++) {
        rig_put(rig, d, d ? "without" : "with", RIG_MIB);
        rig_set_mtime(rig, d ? "without" : "with", mrmr_clock_real() - SECONDS(2 * SETTLE));
    }
    sync_settled(rig);
    waits(rig, 1, RIG_MIB);
    assert_int_equal(exposed_of(rig, "without"), 0);
}

/* A time to come is a change now, but no longer than since the file was found. */
static void test_a_time_to_come(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "odd", RIG_MIB);
    rig_set_mtime(rig, "odd", mrmr_clock_real() + SECONDS(1000000000));
    later(10 * SETTLE);
    const int64_t found = mrmr_clock_real();
    sync_settled(rig);
    waits(rig, 1, RIG_MIB);
    assert_in_range(
        rig->report.settles, found + SECONDS(SETTLE), mrmr_clock_real() + SECONDS(SETTLE));
    later(SETTLE / 2);
    sync_settled(rig);
    waits(rig, 1, RIG_MIB);
    later(SETTLE / 2);
    sync_settled(rig);
    waits(rig, 0, 0);
    assert_true(rig_verify(rig, true) > 0);
}

/* A clock that was ahead, and is right again: what was made by it, whether it was found then or later,
 * is protected all the same. */
static void test_a_clock_that_was_set_back(void **state)
{
    struct rig *rig = *state;
    const int64_t year = 365 * 86400;
    later(year);
    rig_put(rig, 0, "found then", RIG_MIB);
    sync_settled(rig);
    waits(rig, 1, RIG_MIB);
    rig_put(rig, 1, "found later", RIG_MIB);
    later(-year);
    sync_settled(rig);
    waits(rig, 1, RIG_MIB);
    assert_int_equal(exposed_of(rig, "found then"), 0);
    later(SETTLE);
    sync_settled(rig);
    waits(rig, 0, 0);
    assert_true(rig_verify(rig, true) > 0);
}

/* Each case by itself, times as seconds from now. */
static void test_until_when(void **state)
{
    struct rig *rig = *state;
    enum { YEAR = 365 * 86400, NEVER = INT32_MIN };
    static const struct {
        int32_t mtime, ctime, since;
        bool stable;
        int32_t until; /* 0: it does not wait */
    } cases[] = {
        {-59, -59, -1, true, 1},
        {-60, -60, -1, true, 0}, /* at its very end */
        {-70, -59, -1, true, 1}, /* the later one of both */
        {-59, -70, -1, true, 1},
        {-70, -59, -1, false, 0}, /* the ctime is nothing there */
        {-59, -70, -1, false, 1},
        {0, 0, 0, true, 60},
        {YEAR, -70, -1, true, 59}, /* to come: since it was found */
        {-70, YEAR, -1, true, 59},
        {-70, YEAR, -1, false, 0},
        {YEAR, YEAR, -60, true, 0},
        {YEAR, YEAR, YEAR, true, 0}, /* nothing tells */
        {1, 1, 1, true, 0},
        {NEVER, NEVER, NEVER, true, 0},
    };
    struct pool_young young;
    rig_put(rig, 0, "file", 10);
    rig_sync(rig);
    pool_young_init(&young, rig->pool, SETTLE);
    struct meta_node node = rig_node(rig, "file");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t until = -1;
        if (cases[i].stable)
            rig_pool_drive(rig, 0)->info.caps |= DRV_CAP_STABLE_CTIME;
        else
            rig_pool_drive(rig, 0)->info.caps &= ~(uint32_t)DRV_CAP_STABLE_CTIME;
        node.mtime = young.now + SECONDS(cases[i].mtime);
        node.ctime = young.now + SECONDS(cases[i].ctime);
        rig_ok(meta_node_store(rig->pool->meta, &node));
        const struct meta_exposed range = {node.drive, node.id, 0, 1, 10,
            cases[i].since == NEVER ? INT64_MIN : young.now + SECONDS(cases[i].since)};
        rig_ok(pool_young_until(&young, &range, &until));
        if (until != (cases[i].until ? young.now + SECONDS(cases[i].until) : 0))
            fail_msg("case %zu: %lld", i, (long long)(until - young.now));
    }
    const struct meta_exposed gone = {node.drive, 999999, 0, 1, 10, 0};
    int64_t until = -1;
    rig_ok(pool_young_until(&young, &gone, &until));
    assert_int_equal(until, 0);
    pool_young_init(&young, rig->pool, UINT64_MAX); /* for ever, and no overflow */
    node.mtime = node.ctime = young.now;
    rig_ok(meta_node_store(rig->pool->meta, &node));
    const struct meta_exposed here = {node.drive, node.id, 0, 1, 10, 0};
    rig_ok(pool_young_until(&young, &here, &until));
    assert_int_equal(until, INT64_MAX);
}

/* What a stripe lost is made up for at once; only the changed leaf itself waits. */
static void test_mending_does_not_wait(void **state)
{
    struct rig *rig = *state;
    struct pool_status status;
    rig_fill(rig, 1, 2, 5, 1000); /* so that one that vanishes is not many */
    rig_one_each(rig, 5, 3 * RIG_MIB);
    later(2 * SETTLE);
    rig_edit(rig, "f0", RIG_MIB + 17, 100);
    rig_unlink(rig, "f1");
    sync_settled(rig);
    waits(rig, 1, RIG_MIB);
    assert_true(rig->report.stripes_changed > 0);
    rig_ok(pool_status(rig->pool, &status));
    assert_true(status.stripes > 0);
    assert_int_equal(status.margin[2], status.stripes);
    assert_string_equal(rig_states(rig, "f0"), "LL");
    assert_true(rig_verify(rig, false) > 0);
    later(SETTLE);
    sync_settled(rig);
    waits(rig, 0, 0);
    assert_true(rig_verify(rig, true) > 0);
}

/* Rows that a drive took with it are made again of what is young, too. */
static void test_rows_are_made_again_at_once(void **state)
{
    struct rig *rig = *state;
    struct pool_status status;
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_put(rig, 3, "young", 10);
    rig_put(rig, 4, "younger", 10);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    char path[POOL_ROW_PATH];
    pool_row_path(&image.uuid, image.generation, 0, path);
    rig_ok(drv_unlink(rig->drive[rig_row_drive(&image, 0)].raw, path));
    meta_stripe_free(&image);
    rig_scrub(rig, false);
    sync_settled(rig);
    waits(rig, 2, 20);
    assert_true(rig->report.rows_made > 0);
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.margin[2], status.stripes);
}

/* Blocks leave stripes that have no drive left for another row, and what is young goes into no new one
 * yet: it stays where it was, as safe as it was, until it has settled. */
static void test_more_rows_for_what_is_young(void **state)
{
    struct rig *rig = *state;
    struct pool_status status;
    rig_ok(pool_set_redundancy(rig->pool, 1));
    rig_fill(rig, 0, rig->n, 4, 2 * RIG_MIB);
    rig_protect_all(rig);
    rig_promise(rig);
    rig_ok(pool_set_redundancy(rig->pool, 2));
    sync_settled(rig);
    rig_check(rig);
    rig_promise_check(rig, 0);
    assert_true(rig->report.waiting_files > 0);
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.exposed_bytes + status.margin[0], 0);
    assert_true(status.margin[1] > 0);
    later(SETTLE);
    for (unsigned i = 0; i < 4; i++)
        sync_settled(rig);
    waits(rig, 0, 0);
    rig_promise_check(rig, 0);
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.margin[2], status.stripes);
    assert_true(rig_verify(rig, true) > 0);
}

/* --- Which first --- */

static void limit_rows(struct rig *rig, unsigned drive, uint64_t bytes)
{
    char key[64], value[32];
    struct pool_drive_view *views = NULL;
    size_t n;
    rig_ok(pool_drives(rig->pool, &views, &n));
    snprintf(key, sizeof key, "drive.%s.max-usage", rig->drive[drive].name);
    snprintf(value, sizeof value, "%llu",
        (unsigned long long)(views[drive].row_bytes + views[drive].file_bytes + bytes));
    free(views);
    rig_ok(pool_set(rig->pool, key, value));
}

static int setup_narrow(void **state)
{
    atomic_store(&clock_ahead, 0);
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 2, .redundancy = 1, .seed = 72});
    rig_ok(pool_set(rig->pool, "drive.d0.role", "removable")); /* all rows on the other one */
    *state = rig;
    return 0;
}

/* Room for one of two: that which was found first has it, although the other comes first on the
 * drive. */
static void test_room_for_part_goes_to_the_oldest(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "changed", 2 * RIG_MIB);
    rig_protect_all(rig);
    limit_rows(rig, 1, 1);
    later(1000);
    rig_put(rig, 0, "older", 2 * RIG_MIB);
    rig_sync(rig);
    assert_int_equal(rig->report.exposed_bytes, 2 * RIG_MIB); /* no room */
    later(1000);
    rig_edit(rig, "changed", 0, 2 * RIG_MIB); /* which gives its row's room away */
    assert_true(rig_node(rig, "changed").id < rig_node(rig, "older").id);
    rig_sync(rig);
    assert_int_equal(rig->report.exposed_bytes, 2 * RIG_MIB);
    assert_int_equal(exposed_of(rig, "older"), 0);
    assert_int_equal(exposed_of(rig, "changed"), 2 * RIG_MIB);
    limit_rows(rig, 1, 16 * RIG_MIB);
    rig_protect_all(rig);
    assert_true(rig_verify(rig, true) > 0);
}

/* What waits takes no room and no place from what does not. */
static void test_room_for_part_is_not_kept_for_what_waits(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "waits", 2 * RIG_MIB);
    rig_put(rig, 0, "old", 2 * RIG_MIB);
    later(2 * SETTLE);
    rig_edit(rig, "waits", 0, 1);
    limit_rows(rig, 1, 2 * RIG_MIB + 400 * 1024);
    sync_settled(rig);
    waits(rig, 1, 2 * RIG_MIB);
    assert_int_equal(exposed_of(rig, "old"), 0);
}

/* The plan is made for what is taken: parity is as little as if the rest were not there. */
static void test_what_waits_is_not_planned_for(void **state)
{
    struct rig *rig = *state;
    rig_add_drive(rig);
    for (unsigned d = 0; d < 3; d++) {
        rig_put(rig, d, d == 0 ? "f0" : d == 1 ? "f1" : "f2", 6 * RIG_MIB);
        if (d)
            rig_put(rig, d, d == 1 ? "g1" : "g2", RIG_MIB);
    }
    rig_ok(pool_set(rig->pool, "drive.d0.role", "data"));
    later(2 * SETTLE);
    rig_edit(rig, "f0", 0, 1);
    sync_settled(rig);
    waits(rig, 1, 6 * RIG_MIB);
    struct meta_totals totals = rig_totals(rig);
    assert_in_range(totals.row_bytes, 7 * RIG_MIB, 7 * RIG_MIB + RIG_MIB / 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define NARROW(f) cmocka_unit_test_setup_teardown(f, setup_narrow, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_younger_waits_and_what_is_older_does_not),
        TEST(test_what_never_rests_is_protected_at_last),
        TEST(test_without_it_nothing_waits),
        TEST(test_the_mtime_where_there_is_no_other),
        TEST(test_a_time_to_come),
        TEST(test_a_clock_that_was_set_back),
        TEST(test_until_when),
        TEST(test_mending_does_not_wait),
        TEST(test_rows_are_made_again_at_once),
        TEST(test_more_rows_for_what_is_young),
        NARROW(test_room_for_part_goes_to_the_oldest),
        NARROW(test_room_for_part_is_not_kept_for_what_waits),
        NARROW(test_what_waits_is_not_planned_for),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
