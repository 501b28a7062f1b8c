/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was removed while its drive was away goes only if it is the version that was removed: an edit in
 * place that kept the size and set the time back stays, whatever is known of it, and an event tells of
 * it (I4); what only has another change time, and the same bytes, goes.
 */
#include "pool/records/gone.h"
#include "tests/support/rig.h"

#include <string.h>

enum { SIZE = 2 * RIG_MIB + 77 };

struct away {
    struct rig *rig;
    struct pool_gone *gone; /* the mount's */
};

/* protect: else the catalog knows f0, and nobody has protected it. */
static void begin(struct away *w, uint64_t seed, bool protect)
{
    *w = (struct away){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .drives = 3, .seed = seed})};
    const struct pool_job job = rig_job(w->rig);
    rig_put(w->rig, 0, "other", 1000);
    rig_put(w->rig, 1, "f1", SIZE);
    rig_put(w->rig, 2, "f2", SIZE);
    rig_sync(w->rig);
    rig_put(w->rig, 0, "f0", SIZE);
    rig_ok(pool_scan(w->rig->pool, &job, false, &w->rig->report));
    if (protect)
        rig_protect_all(w->rig);
    rig_ok(pool_gone_open(w->rig->pool->dirfd, true, &w->gone));
}

static void end(struct away *w)
{
    pool_gone_close(w->gone);
    rig_protect_all(w->rig);
    rig_check(w->rig);
    rig_verify(w->rig, false);
    rig_destroy(w->rig);
}

/* As a mount to which the drive is away. */
static void removes(struct away *w, const char *path, bool dated)
{
    struct meta_node node = rig_node(w->rig, "f0");
    if (!dated)
        node.ctime = 0; /* as recorded before there was one */
    rig_ok(pool_gone_add(w->gone, path, &node));
}

static void edits(struct away *w)
{
    const int64_t then = rig_mtime(w->rig, "f0");
    rig_edit(w->rig, "f0", SIZE - 40, 20);
    rig_set_mtime(w->rig, "f0", then);
}

static size_t waits(struct away *w)
{
    struct pool_gone_list list;
    rig_ok(pool_gone_refresh(w->gone));
    rig_ok(pool_gone_list(w->gone, 0, false, &list));
    const size_t n = list.n;
    pool_gone_list_free(&list);
    return n;
}

static mrmr_err count_conflicts(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "conflict") == 0;
    return MRMR_OK;
}

/* The drive is back. */
static void comes_back(struct away *w, bool stays)
{
    unsigned conflicts = 0;
    if (!stays)
        rig_find(w->rig, "f0")->there = false;
    rig_sync(w->rig);
    assert_int_equal(rig_holds(w->rig, 0, "f0"), stays);
    assert_int_equal(waits(w), 0);
    rig_ok(pool_events(w->rig->pool, 0, 1000, count_conflicts, &conflicts));
    assert_int_equal(conflicts, stays);
    rig_check_originals(w->rig);
}

/* --- an edit that hides itself --- */

static void edited(uint64_t seed, bool protect, bool dated)
{
    struct away w;
    begin(&w, seed, protect);
    removes(&w, "f0", dated);
    edits(&w);
    comes_back(&w, true);
    const struct pool_job job = rig_job(w.rig);
    rig_ok(
        pool_scan(w.rig->pool, &job, true, &w.rig->report)); /* it is held until the user's yes */
    end(&w);
}

static void test_edited(void **state)
{
    (void)state;
    edited(951, true, true);
}

static void test_edited_and_never_protected(void **state)
{
    (void)state;
    edited(952, false, true);
}

static void test_edited_and_an_old_record(void **state)
{
    (void)state;
    edited(953, true, false);
}

/* The catalog's bytes are those of the edit by now, which the user said yes to. */
static void test_edited_and_taken_in(void **state)
{
    struct pool_gone_list list;
    struct drv_stat stat;
    struct away w;
    bool same;
    (void)state;
    begin(&w, 954, true);
    const struct pool_job job = rig_job(w.rig);
    struct pool_drive *drive = rig_pool_drive(w.rig, 0);
    removes(&w, "f0", true);
    rig_ok(pool_gone_list(w.gone, 0, false, &list));
    uint64_t id = list.record->id;
    rig_ok(pool_gone_settle(w.gone, &id, 1, true)); /* nobody applies it now */
    edits(&w);
    rig_sync(w.rig); /* it is held */
    rig_ok(pool_scan(w.rig->pool, &job, true, &w.rig->report));
    rig_protect_all(w.rig);
    rig_ok(drv_stat(drive->drv, "f0", &stat));
    rig_ok(pool_gone_same(w.rig->pool, NULL, drive, list.record, "f0", 0, &stat, &same));
    assert_false(same);
    pool_gone_list_free(&list);
    end(&w);
}

/* --- the same bytes --- */

/* A name besides. */
static void touched(uint64_t seed, bool dated)
{
    struct away w;
    begin(&w, seed, true);
    removes(&w, "f0", dated);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "besides"));
    rig_ok(drv_unlink(w.rig->drive[0].raw, "besides"));
    assert_int_not_equal(waits(&w), 0);
    comes_back(&w, false);
    end(&w);
}

static void test_touched(void **state)
{
    (void)state;
    touched(955, true);
}

static void test_an_old_record(void **state)
{
    (void)state;
    touched(956, false);
}

/* The rig writes no holes: the user's hand does. */
static void writes_into_it(struct away *w)
{
    struct drv_file *file;
    rig_ok(drv_file_open(w->rig->drive[0].raw, "f0", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, RIG_MIB + 5, "into it", 7));
    drv_file_close(file);
}

/* A file with nothing but a hole, or with one between its bytes; or somebody wrote into that. */
static void has_a_hole(uint64_t seed, uint64_t a, uint64_t b, bool writes)
{
    struct away w;
    begin(&w, seed, true);
    rig_unlink(w.rig, "f0");
    rig_put_sparse(w.rig, 0, "f0", SIZE, a, b);
    rig_protect_all(w.rig);
    removes(&w, "f0", true);
    if (writes) {
        const int64_t then = rig_mtime(w.rig, "f0");
        writes_into_it(&w);
        rig_set_mtime(w.rig, "f0", then);
    } else {
        rig_ok(drv_link(w.rig->drive[0].raw, "f0", "besides"));
        rig_ok(drv_unlink(w.rig->drive[0].raw, "besides"));
    }
    rig_find(w.rig, "f0")->there = false; /* its bytes are looked at here */
    rig_sync(w.rig);
    assert_int_equal(rig_holds(w.rig, 0, "f0"), writes);
    assert_int_equal(waits(&w), 0);
    pool_gone_close(w.gone);
    rig_destroy(w.rig);
}

static void test_holes(void **state)
{
    (void)state;
    for (unsigned writes = 0; writes < 2; writes++) {
        has_a_hole(960 + writes, 0, SIZE, writes);
        has_a_hole(962 + writes, RIG_MIB, 2 * RIG_MIB, writes);
    }
}

/* Nobody has protected it, and somebody made it all zeros: that it is a hole is nobody's word. */
static void test_a_hole_that_is_exposed(void **state)
{
    struct away w;
    struct drv_file *file;
    (void)state;
    begin(&w, 964, false);
    const int64_t then = rig_mtime(w.rig, "f0");
    removes(&w, "f0", true);
    rig_ok(drv_file_open(w.rig->drive[0].raw, "f0", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_truncate(file, 0));
    rig_ok(drv_file_truncate(file, SIZE));
    drv_file_close(file);
    rig_set_mtime(w.rig, "f0", then);
    rig_find(w.rig, "f0")->there = false;
    rig_sync(w.rig);
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(waits(&w), 0);
    pool_gone_close(w.gone);
    rig_destroy(w.rig);
}

/* Both names of a file that nobody protected: the first one's removal changes the second one's time. */
static void test_both_names(void **state)
{
    const struct pool_job job = {0};
    struct away w;
    (void)state;
    begin(&w, 957, false);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "link"));
    rig_ok(pool_scan(w.rig->pool, &job, false, &w.rig->report));
    removes(&w, "f0", true);
    removes(&w, "link", true);
    comes_back(&w, false);
    assert_false(rig_holds(w.rig, 0, "link"));
    end(&w);
}

/* A mount has no time for it. */
static void test_no_time(void **state)
{
    struct pool_gone_list list;
    struct drv_stat stat;
    struct away w;
    bool same;
    (void)state;
    begin(&w, 958, true);
    struct pool_drive *drive = rig_pool_drive(w.rig, 0);
    removes(&w, "f0", true);
    rig_ok(pool_gone_list(w.gone, 0, false, &list));
    rig_ok(drv_stat(drive->drv, "f0", &stat));
    rig_ok(pool_gone_same(w.rig->pool, NULL, drive, list.record, "f0", 1, &stat, &same));
    assert_true(same); /* it has the time of then */
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "besides"));
    rig_ok(drv_stat(drive->drv, "f0", &stat));
    assert_int_equal(
        pool_gone_same(w.rig->pool, NULL, drive, list.record, "f0", 1, &stat, &same), MRMR_BUSY);
    rig_ok(pool_gone_same(w.rig->pool, NULL, drive, list.record, "f0", 0, &stat, &same));
    assert_true(same);
    rig_ok(drv_unlink(w.rig->drive[0].raw, "besides"));
    pool_gone_list_free(&list);
    comes_back(&w, false);
    end(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edited),
        cmocka_unit_test(test_edited_and_never_protected),
        cmocka_unit_test(test_edited_and_an_old_record),
        cmocka_unit_test(test_edited_and_taken_in),
        cmocka_unit_test(test_touched),
        cmocka_unit_test(test_an_old_record),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_a_hole_that_is_exposed),
        cmocka_unit_test(test_both_names),
        cmocka_unit_test(test_no_time),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_version", tests, NULL, NULL);
}
