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

/* f0 leaves drive 0, which is full, for room to append to it. Where it is now. */
static unsigned bring(struct world *w)
{
    struct rig_file *file = rig_find(w->rig, "f0");
    unsigned to = 0;
    drive_is_full(w->rig, 0);
    overwrite(w, "f0", file->size, RIG_MIB + 100);
    rig_clear_faults(w->rig);
    assert_int_equal(drives_with(w->rig, "f0"), 1);
    while (!rig_holds(w->rig, to, "f0"))
        to++;
    assert_true(to > 0);
    file->drive = to;
    assert_int_equal(records(w->rig), 1);
    return to;
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_release_leaves_it),
        cmocka_unit_test(test_a_sync_ends_it),
        cmocka_unit_test(test_it_is_not_forgotten_while_its_drive_is_away),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_brought", tests, NULL, NULL);
}
