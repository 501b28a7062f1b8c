/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was retained is not there any more, or is other bytes: whoever counts on it finds out.
 */
#include "tests/unit/pool_retained_world.h"

#include <stdio.h>
#include <string.h>

/* What was retained and is not there any more: whoever looks says so, and a scrub counts it as gone;
 * so does a rebuild of the drive. */
static void lose_retained(struct rig *rig)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct drv *raw = rig->drive[0].raw;
    rig_ok(drv_list(raw, POOL_RETAINED_FILES, list_name, &names));
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) {
        char path[POOL_RETAINED_PATH];
        snprintf(path, sizeof path, POOL_RETAINED_FILES "/%.40s", names.data + at);
        rig_ok(drv_unlink(raw, path));
    }
    mrmr_bytes_free(&names);
}

static void test_retained_bytes_are_lost(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 85);
    char finding[512];
    const char *beside = beside_f0(rig);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    no_new_rows(rig);
    rig_sync(rig);
    assert_int_equal(margin_of(rig, beside), 2);
    assert_int_equal(rig_findings(rig, true, finding), 0);
    lose_retained(rig);
    assert_true(rig_findings(rig, true, finding) > 0);
    rig_scrub(rig, false);
    assert_int_equal(margin_of(rig, beside), 1);
    assert_int_equal(rig_findings(rig, true, finding), 0);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* --- kept, by its name and size, and not by its bytes --- */

/* Other bytes, in the whole file that was kept, or in the first leaf that was saved by itself. */
static void rot_retained(struct rig *rig, bool whole)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct drv *raw = rig->drive[0].raw;
    struct drv_file *file = NULL;
    char folder[POOL_RETAINED_PATH] = POOL_RETAINED_FILES, path[POOL_RETAINED_PATH + 80];
    if (!whole) {
        rig_ok(drv_list(raw, POOL_RETAINED, list_name, &names));
        const char *name = names.data;
        name += strcmp(name, "files") == 0 ? sizeof "files" : 0;
        snprintf(folder, sizeof folder, POOL_RETAINED "/%.80s", name);
        mrmr_bytes_clear(&names);
    }
    rig_ok(drv_list(raw, folder, list_name, &names));
    snprintf(path, sizeof path, "%s/%.70s", folder, names.data);
    mrmr_bytes_free(&names);
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE, 0, &file));
    for (uint64_t leaf = 0; leaf < (whole ? FILE_LEAVES : 1); leaf++)
        rig_ok(drv_file_write(file, leaf * RIG_MIB + 5, "rot", 3));
    drv_file_close(file);
}

/* Whoever reads what is kept holds no transaction meanwhile. */
static void no_transaction(void *arg, enum drv_fault_op op, const char *path)
{
    struct rig *rig = arg;
    (void)op, (void)path;
    rig_ok(meta_begin(rig->pool->meta));
    rig_ok(meta_commit(rig->pool->meta));
}

static void test_a_scan_reads_what_is_kept(void **state)
{
    (void)state;
    for (int rotten = 0; rotten < 2; rotten++) {
        struct rig *rig = begin(RIG_LOCAL, 88);
        struct pool_job job = rig_job(rig);
        const char *beside = beside_f0(rig);
        unsigned id;
        rig_put(rig, 0, "other", 5000);
        rig_protect_all(rig);
        rig_ok(delete_file(rig, "f0"));
        rig_find(rig, "f0")->there = false;
        if (rotten)
            rot_retained(rig, true);
        const struct drv_fault_rule read = {.ops = DRV_FAULT_FILE_READ,
            .prefix = POOL_RETAINED,
            .action = DRV_FAULT_HOOK,
            .hook = no_transaction,
            .arg = rig};
        rig_ok(drv_fault_add(rig->drive[0].fault, &read, &id));
        rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
        assert_int_equal(rig->report.vanished, 1);
        assert_int_equal(drv_fault_hits(rig->drive[0].fault, id), FILE_LEAVES);
        assert_int_equal(margin_of(rig, beside), rotten ? 1 : 2);
        rig_clear_faults(rig);
        rig_protect_all(rig);
        rig_check(rig);
        rig_verify(rig, true);
        rig_destroy(rig);
    }
}

/* What nothing is kept of is not looked for byte by byte. */
static void test_a_scan_reads_nothing_else(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 89);
    struct pool_job job = rig_job(rig);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(save(rig, "other", 0, 1));
    rig_unlink(rig, "f0");
    unsigned reads = rig_count_reads(rig, 0, POOL_RETAINED);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    assert_int_equal(rig->report.vanished, 1);
    assert_int_equal(rig_reads(rig, 0, reads), 0);
    rig_destroy(rig);
}

static void test_a_comparison_reads_what_is_kept(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 90);
    const char *beside = beside_f0(rig);
    rig_ok(save(rig, "f0", 0, 1));
    rot_retained(rig, false);
    rig_edit(rig, "f0", 10, 100);
    no_new_rows(rig);
    rig_sync(rig);
    assert_int_equal(margin_of(rig, beside), 1);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* Rows beyond the redundancy may be what is left: they do not go for bytes that are said to be kept.
 */
static void test_rows_are_not_dropped_for_what_is_said_to_be_kept(void **state)
{
    (void)state;
    for (int rotten = 0; rotten < 2; rotten++) {
        struct rig *rig = begin(RIG_LOCAL, 92);
        const char *beside = beside_f0(rig);
        rig_put(rig, 0, "other", 5000);
        rig_protect_all(rig);
        rig_ok(delete_file(rig, "f0"));
        rig_find(rig, "f0")->there = false;
        no_new_rows(rig);
        rig_sync(rig);
        assert_int_equal(margin_of(rig, beside), 2);
        if (rotten)
            rot_retained(rig, true);
        rig_ok(pool_set_redundancy(rig->pool, 1));
        rig_sync(rig);
        assert_int_equal(margin_of(rig, beside), 1);
        struct meta_stripe image = rig_stripe_of(rig, beside, 0);
        assert_int_equal(image.rows, rotten ? 2 : 1);
        meta_stripe_free(&image);
        for (unsigned d = 1; d < DRIVES; d++) {
            rig_take_away(rig, d);
            reads_but(rig, NULL);
            rig_bring_back(rig, d);
            pool_views_forget(rig->pool, 0);
        }
        rig_clear_faults(rig);
        rig_protect_all(rig);
        rig_check(rig);
        rig_verify(rig, true);
        rig_destroy(rig);
    }
}

static void test_the_drive_is_lost(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 86);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    char finding[512];
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    no_new_rows(rig);
    rig_sync(rig);
    rig_close(rig);
    rig_take_away(rig, 0);
    rig_open(rig);
    unsigned fresh = rig_add_drive(rig);
    char name[16];
    snprintf(name, sizeof name, "d%u", fresh);
    no_new_rows(rig);
    rig_ok(pool_rebuild(
        rig->pool, &job, &(struct pool_rebuild_options){.drive = "d0", .onto = name}, &report));
    assert_int_equal(rig_findings(rig, true, finding), 0);
    rig_clear_faults(rig);
    rig_destroy(rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retained_bytes_are_lost),
        cmocka_unit_test(test_a_scan_reads_what_is_kept),
        cmocka_unit_test(test_a_scan_reads_nothing_else),
        cmocka_unit_test(test_a_comparison_reads_what_is_kept),
        cmocka_unit_test(test_rows_are_not_dropped_for_what_is_said_to_be_kept),
        cmocka_unit_test(test_the_drive_is_lost),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_retained_rotten", tests, NULL, NULL);
}
