/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was brought to another drive, since its own is full: a release does not take it for what nobody wants (I6), until a scan has
 * met the copy.
 */
#include "pool/records/brought.h"
#include "tests/unit/pool_tree_world.h"

#include <stdio.h>
#include <string.h>

static void sync_with(struct rig *rig, const struct pool_sync_options *options)
{
    struct pool_job job = rig_job(rig);
    rig_ok(pool_sync(rig->pool, &job, options, &rig->report));
}

static void release(struct rig *rig)
{
    sync_with(rig, &(struct pool_sync_options){.release = true});
}

static bool is_known(struct rig *rig, unsigned drive, const char *path)
{
    struct meta_node node;
    return !meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, drive)->meta.root, path, &node);
}

static size_t records(struct rig *rig)
{
    struct pool_brought brought;
    rig_ok(pool_brought_load(rig->pool, &brought));
    const size_t n = brought.n;
    pool_brought_free(&brought);
    return n;
}

/* The file leaves its drive, which is full, for room to append to it. Where it is now. */
static unsigned bring_from(struct world *w, unsigned from, const char *name)
{
    struct rig_file *file = rig_find(w->rig, name);
    unsigned to = 0;
    drive_is_full(w->rig, from);
    overwrite(w, name, file->size, RIG_MIB + 100);
    rig_clear_faults(w->rig);
    assert_int_equal(drives_with(w->rig, name), 1);
    while (!rig_holds(w->rig, to, name))
        to++;
    assert_true(to != from);
    file->drive = to;
    assert_int_equal(records(w->rig), 1);
    return to;
}

static unsigned bring(struct world *w)
{
    return bring_from(w, 0, "f0");
}

static void test_a_release_leaves_it(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 401);
    const unsigned to = bring(&w), n = count_retained(w.rig, 0);
    assert_true(n > FILE_LEAVES);
    release(w.rig);
    assert_int_equal(w.rig->report.retained_leaves, 0);
    assert_int_equal(count_retained(w.rig, 0), n);
    assert_true(is_known(w.rig, 0, "f0"));
    reads_all_but(w.rig, "f0", to);
    close_tree(&w);
    end_after(&w);
}

/* Then it is free, as anything that was removed. */
static void test_a_sync_ends_it(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 402);
    bring(&w);
    close_tree(&w);
    sync_with(w.rig, NULL);
    assert_int_equal(records(w.rig), 0);
    assert_int_equal(count_retained(w.rig, 0), 0);
    assert_false(is_known(w.rig, 0, "f0"));
    rig_check(w.rig);
    rig_verify(w.rig, true);
    rig_destroy(w.rig);
}

/* The source's drive was not there when the scan ran. */
static void test_it_is_not_forgotten_while_its_drive_is_away(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 403);
    bring(&w);
    close_tree(&w);
    rig_take_away(w.rig, 0);
    rig_reopen(w.rig);
    sync_with(w.rig, NULL);
    assert_int_equal(records(w.rig), 1);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    open_tree(&w);
    close_tree(&w);
    end_after(&w);
}

/* The copy's drive was not there: what the source's has kept counts as before, however often a scan runs; and that it has vanished, as all that
 * the drive had, holds nothing. */
static unsigned begin_unmet(struct world *w, uint64_t seed)
{
    begin(w, RIG_LOCAL, seed);
    const unsigned to = bring_from(w, 1, "f1"), n = count_retained(w->rig, 1);
    assert_true(n > FILE_LEAVES);
    close_tree(w);
    rig_take_away(w->rig, to);
    rig_reopen(w->rig);
    for (unsigned i = 0; i < 3; i++) {
        sync_with(w->rig, &(struct pool_sync_options){.accept_changes = i == 1});
        assert_int_equal(records(w->rig), 1);
        assert_true(is_known(w->rig, 1, "f1"));
        assert_int_equal(count_retained(w->rig, 1), n);
        assert_false(rig_pool_drive(w->rig, 1)->meta.hold[0]);
    }
    return to;
}

static void test_a_scan_that_has_not_met_the_copy(void **state)
{
    (void)state;
    struct world w;
    const unsigned to = begin_unmet(&w, 404);
    rig_bring_back(w.rig, to);
    rig_reopen(w.rig);
    sync_with(w.rig, NULL);
    assert_int_equal(records(w.rig), 0);
    assert_false(is_known(w.rig, 1, "f1"));
    assert_int_equal(count_retained(w.rig, 1), 0);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    rig_destroy(w.rig);
}

/* It never comes back: what was brought is where it was. */
static void test_the_copy_is_lost(void **state)
{
    (void)state;
    struct world w;
    const unsigned to = begin_unmet(&w, 405);
    struct pool_rebuild_report report;
    struct pool_job job = rig_job(w.rig);
    const struct pool_rebuild_options options = {
        .drive = w.rig->drive[to].name, .accept_losses = true};
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    sync_with(w.rig, NULL);
    sync_with(w.rig, NULL);
    assert_int_equal(records(w.rig), 0);
    assert_true(is_known(w.rig, 1, "f1"));
    const struct pool_rebuild_options back = {.drive = w.rig->drive[1].name, .path = "f1"};
    rig_ok(pool_rebuild(w.rig->pool, &job, &back, &report));
    assert_int_equal(report.files, 1);
    rig_find(w.rig, "f1")->drive = 1;
    assert_true(rig_holds(w.rig, 1, "f1"));
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_release_leaves_it),
        cmocka_unit_test(test_a_sync_ends_it),
        cmocka_unit_test(test_it_is_not_forgotten_while_its_drive_is_away),
        cmocka_unit_test(test_a_scan_that_has_not_met_the_copy),
        cmocka_unit_test(test_the_copy_is_lost),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_brought", tests, NULL, NULL);
}
