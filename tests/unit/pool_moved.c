/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is renamed through MRMR lowers nobody's protection: not before the next scan, and not after it.
 */
#include "tests/unit/pool_moved_world.h"

#include <string.h>

static void test_a_file(void **state)
{
    (void)state;
    struct mount *m = begin(1);
    move(m, "f0a", "renamed");
    reads_all(m);
    move(m, "f0b", "in/f0b");
    move(m, "renamed", "again");
    renames_harm_nobody(m);
}

static void test_a_folder(void **state)
{
    (void)state;
    struct mount *m = begin_with(2, MANY);
    move(m, "in", "out");
    move(m, "out/deep", "deep");
    renames_harm_nobody(m);
}

static void test_a_folder_and_back(void **state)
{
    (void)state;
    struct mount *m = begin(3);
    move(m, "in", "out");
    move(m, "out/1", "out/one");
    move(m, "out/deep/er", "deeper");
    reads_all(m);
    move(m, "out", "in");
    move(m, "in/2", "in/1");
    rig_find(m->rig, "in/1"); /* there was none by then */
    renames_harm_nobody(m);
}

static void test_a_swap(void **state)
{
    (void)state;
    struct mount *m = begin(4);
    move(m, "f0a", "third");
    move(m, "f0b", "f0a");
    move(m, "third", "f0b");
    renames_harm_nobody(m);
}

/* Of the same size and time, so that these say nothing. */
static void test_an_exchange(void **state)
{
    (void)state;
    struct mount *m = begin(5);
    rig_set_mtime(m->rig, "f0a", rig_mtime(m->rig, "f0b"));
    rig_protect_all(m->rig);
    exchange(m, "f0a", "f0b");
    reads_all(m);
    exchange(m, "in/deep", "f0a");
    move(m, "in", "out");
    renames_harm_nobody(m);
}

/* Over a file that is retained before. */
static void test_over_another(void **state)
{
    (void)state;
    struct mount *m = begin(6);
    struct drv *drv = rig_pool_drive(m->rig, 0)->drv;
    struct meta_node node = rig_node(m->rig, "f0b");
    struct pool_retained_leaf leaf[8];
    struct meta_extent *extents;
    char kept[POOL_RETAINED_PATH];
    size_t n, leaves = 0;
    rig_ok(meta_extents_of(m->rig->pool->meta, node.id, &extents, &n));
    for (size_t e = 0; e < n; e++)
        for (uint64_t i = 0; i < extents[e].leaves; i++)
            leaf[leaves++] = (struct pool_retained_leaf){
                extents[e].first + i, pool_leaf_size(&extents[e], i), extents[e].digests[i]};
    free(extents);
    rig_ok(pool_retained_point(drv, leaf, leaves, kept));
    rig_ok(drv_link(drv, "f0b", kept));
    rig_find(m->rig, "f0b")->there = false;
    move(m, "f0a", "f0b");
    reads_all(m);
    no_new_rows(m->rig);
    rig_sync(m->rig);
    assert_int_equal(moved_size(m), 0);
    mount_note(m);
    reads_all(m);
    rig_clear_faults(m->rig);
    rig_protect_all(m->rig);
    rig_check(m->rig);
    rig_verify(m->rig, true);
    end(m);
}

/* Records whose renames failed, or were cut off, between others. */
static void test_records_without_a_rename(void **state)
{
    (void)state;
    struct mount *m = begin(7);
    record(m, "f0a", "never", POOL_MOVED_RENAME);
    record(m, "in", "f0b", POOL_MOVED_EXCHANGE);
    reads_all(m);
    record(m, "f0b", "in", POOL_MOVED_UNDONE); /* of none */
    record(m, "in", "f0b", POOL_MOVED_UNDONE);
    record(m, "f0a", "never", POOL_MOVED_UNDONE);
    record(m, "f0a", "never", POOL_MOVED_UNDONE);
    reads_all(m);
    move(m, "f0b", "never");
    record(m, "f0a", "neither", POOL_MOVED_RENAME);
    move(m, "f0a", "there");
    move(m, "in", "inside");
    record(m, "inside/1", "inside/one", POOL_MOVED_RENAME);
    renames_harm_nobody(m);
}

/* A stripe's rows are made anew from what was renamed since the scan; a scrub finds it, too. path: the
 * catalog's. */
static void rows_are_made(struct mount *m, const char *of)
{
    struct pool_job job = rig_job(m->rig);
    struct pool_sync_report report = {0};
    struct meta_stripe image = rig_stripe_of(m->rig, of, 0);
    char path[POOL_ROW_PATH];
    unsigned d = rig_row_drive(&image, 0);
    pool_row_path(&image.uuid, image.generation, 0, path);
    meta_stripe_free(&image);
    rig_ok(drv_unlink(m->rig->drive[d].raw, path));
    struct pool_scrub_report scrub = rig_scrub(m->rig, false);
    assert_int_equal(scrub.damaged, 0);
    assert_int_equal(scrub.edited, 0);
    assert_int_equal(scrub.rows_damaged, 1);
    uint64_t opened = rig_calls(m->rig, DRV_FAULT_CREATE);
    rig_ok(pool_mend(m->rig->pool, &job, false, &report));
    assert_true(rig_calls(m->rig, DRV_FAULT_CREATE) > opened);
    assert_int_equal(rig_scrub(m->rig, false).rows_damaged, 0);
}

static void test_rows_are_made_from_it(void **state)
{
    (void)state;
    struct mount *m = begin(8);
    exchange(m, "f0a", "f0b");
    move(m, "in", "out");
    rows_are_made(m, "f0a");
    renames_harm_nobody(m);
}

/* --- drives without stable inodes --- */

static void no_inodes(struct mount *m)
{
    const uint32_t stable = DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME | DRV_CAP_BTIME;
    rig_pool_drive(m->rig, 0)->info.caps &= ~stable;
    for (size_t i = 0; i < m->pool->ndrives; i++)
        if (m->pool->drives[i]->meta.id == rig_pool_drive(m->rig, 0)->meta.id)
            m->pool->drives[i]->info.caps &= ~stable;
}

/* Nothing but size and time says which file it is, and here they lie: the digests tell. */
static void test_an_exchange_without_inodes(void **state)
{
    (void)state;
    struct mount *m = begin(11);
    rig_set_mtime(m->rig, "f0a", rig_mtime(m->rig, "f0b"));
    rig_protect_all(m->rig);
    no_inodes(m);
    exchange(m, "f0a", "f0b");
    reads_all(m);
    rows_are_made(m, "f0a");
    end(m);
}

/* What was edited is not compared with what came in its place since the scan. */
static void test_a_compare_without_inodes(void **state)
{
    (void)state;
    struct mount *m = begin(13);
    struct pool_job job = rig_job(m->rig);
    struct pool_sync_report report = {0};
    no_inodes(m);
    rig_set_mtime(m->rig, "f0a", mrmr_clock_real());
    rig_ok(pool_scan(m->rig->pool, &job, false, &report));
    assert_null(strpbrk(rig_states(m->rig, "f0a"), "LG"));
    rig_set_mtime(m->rig, "f0b", rig_mtime(m->rig, "f0a"));
    exchange(m, "f0a", "f0b");
    rig_ok(pool_compare(m->rig->pool, &job, &report));
    assert_null(strpbrk(rig_states(m->rig, "f0a"), "LG"));
    rig_find(m->rig, "f0a")->there = rig_find(m->rig, "f0b")->there = false;
    reads_all(m);
    end(m);
}

/* A scan cannot tell by inodes what moved: the records do. */
static void test_a_scan_without_inodes(void **state)
{
    (void)state;
    struct mount *m = begin(12);
    no_inodes(m);
    move(m, "f0a", "renamed");
    move(m, "in", "out");
    move(m, "out/1", "out/one");
    move(m, "out/deep/er", "f0a");
    reads_all(m);
    no_new_rows(m->rig);
    rig_sync(m->rig);
    assert_int_equal(m->rig->report.held, 0);
    mount_note(m);
    for (size_t i = 0; i < m->rig->files; i++)
        all_is_live(m, i);
    reads_all(m);
    rig_sync(m->rig);
    assert_int_equal(moved_size(m), 0);
    reads_all(m);
    rig_clear_faults(m->rig);
    rig_protect_all(m->rig);
    rig_check(m->rig);
    end(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file),
        cmocka_unit_test(test_a_folder),
        cmocka_unit_test(test_a_folder_and_back),
        cmocka_unit_test(test_a_swap),
        cmocka_unit_test(test_an_exchange),
        cmocka_unit_test(test_over_another),
        cmocka_unit_test(test_records_without_a_rename),
        cmocka_unit_test(test_rows_are_made_from_it),
        cmocka_unit_test(test_an_exchange_without_inodes),
        cmocka_unit_test(test_a_compare_without_inodes),
        cmocka_unit_test(test_a_scan_without_inodes),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_moved", tests, NULL, NULL);
}
