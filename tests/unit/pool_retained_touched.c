/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is changed through MRMR is seen and not held, also where its size and time say nothing; and
 * what is written before a stripe's commit is not claimed.
 */
#include "tests/unit/pool_retained_world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* --- no hold --- */

enum { MANY = 40 };

/* All files of a drive go, and one of another is cut short with an older time; through MRMR or by someone else.
 * How many files and drives are held. */
static uint64_t much_changes(bool through_mrmr, uint64_t *ret_drives)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = DRIVES, .seed = 81});
    char path[32];
    for (unsigned d = 0; d < DRIVES; d++)
        for (unsigned i = 0; i < (d ? 3 : MANY); i++) {
            snprintf(path, sizeof path, "d%u/%u", d, i);
            rig_put(rig, d, path, 3000);
        }
    rig_protect_all(rig);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "d0/%u", i);
        if (through_mrmr) {
            touch(rig, path);
            rig_ok(delete_file(rig, path));
            rig_find(rig, path)->there = false;
        } else {
            rig_unlink(rig, path);
        }
    }
    int64_t mtime = rig_mtime(rig, "d1/0");
    if (through_mrmr) {
        touch(rig, "d1/0");
        rig_ok(save(rig, "d1/0", 0, 1));
    }
    rig_truncate(rig, "d1/0", 100);
    rig_set_mtime(rig, "d1/0", mtime - MRMR_NS_PER_S);
    rig_sync(rig);
    uint64_t held = rig->report.held;
    *ret_drives = rig->report.drives_held;
    if (through_mrmr) {
        assert_int_equal(rig->report.vanished, MANY);
        rig_protect_all(rig);
        rig_check(rig);
        rig_verify(rig, true);
        /* What was touched once is not so for ever. */
        rig_put(rig, 1, "d1/new", 3000);
        rig_protect_all(rig);
        mtime = rig_mtime(rig, "d1/0");
        rig_truncate(rig, "d1/0", 50);
        rig_set_mtime(rig, "d1/0", mtime);
        rig_sync(rig);
        assert_int_equal(rig->report.held, 1);
    }
    rig_destroy(rig);
    return held;
}

static void test_what_is_done_through_mrmr_is_not_held(void **state)
{
    uint64_t drives;
    (void)state;
    assert_int_equal(much_changes(true, &drives), 0);
    assert_int_equal(drives, 0);
    assert_true(much_changes(false, &drives) > 0);
    assert_int_equal(drives, 1);
}

/* --- a time that is set back --- */

/* On drive 0, through MRMR, and the user, or a program of the user's, sets the time. */
static void edit_in_hiding(struct rig *rig, const char *path, uint64_t leaf)
{
    int64_t mtime = rig_mtime(rig, path);
    touch(rig, path);
    rig_ok(save(rig, path, leaf, leaf + 1));
    rig_edit(rig, path, leaf * RIG_MIB + 10, 100);
    rig_set_mtime(rig, path, mtime);
    /* A drive without a ctime gives none. */
    struct meta_node node = rig_node(rig, path);
    struct drv_stat stat;
    rig_ok(drv_stat(rig->drive[0].raw, path, &stat));
    node.ctime = stat.ctime;
    rig_ok(meta_node_store(rig->pool->meta, &node));
}

static uint64_t touched_size(struct rig *rig)
{
    uint64_t size;
    rig_ok(pool_touched_size(rig->pool, &size));
    return size;
}

static void test_a_scan_sees_what_hides(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 93);
    no_ctime(rig);
    edit_in_hiding(rig, "f0", 1);
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 1);
    assert_int_equal(rig->report.held, 0);
    assert_int_equal(touched_size(rig), 0);
    rig_protect_all(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 0);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* What the scan cannot look at it has not seen: it is told of it again. */
static void test_what_hides_where_a_scan_cannot_look(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 94);
    const struct drv_fault_rule dark = {
        .ops = DRV_FAULT_LIST, .prefix = "folder", .err = MRMR_DENIED};
    rig_put(rig, 0, "folder/file", 2 * RIG_MIB);
    rig_protect_all(rig);
    no_ctime(rig);
    edit_in_hiding(rig, "folder/file", 1);
    rig_ok(drv_fault_add(rig->drive[0].fault, &dark, NULL));
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 0);
    assert_true(touched_size(rig) > 0);
    rig_clear_faults(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.changed, 1);
    assert_int_equal(touched_size(rig), 0);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

static void test_a_scrub_does_not_repair_what_hides(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 95);
    no_ctime(rig);
    edit_in_hiding(rig, "f0", 1);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.edited, 1);
    assert_int_equal(report.damaged + report.repaired, 0);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* --- writers and commits --- */

struct late_write {
    struct rig *rig;
    struct pool_writers *writers;
    bool hides;
    atomic_bool done;
};

/* A write to a file whose bytes are all read by now, before its stripe is committed. */
static void write_late(void *arg, enum drv_fault_op op, const char *path)
{
    struct late_write *late = arg;
    uint64_t epoch;
    (void)op, (void)path;
    if (atomic_exchange(&late->done, true))
        return;
    rig_ok(pool_writers_enter(late->writers, &epoch));
    int64_t mtime = rig_mtime(late->rig, "f0");
    if (late->hides)
        touch(late->rig, "f0");
    rig_edit(late->rig, "f0", RIG_MIB + 1, 10);
    if (late->hides)
        rig_set_mtime(late->rig, "f0", mtime);
    pool_writers_leave(late->writers);
}

static void late_write_cancels(bool hides)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = DRIVES, .seed = 80});
    struct late_write late = {.rig = rig, .hides = hides};
    const struct drv_fault_rule when_named = {.ops = DRV_FAULT_RENAME,
        .prefix = ".mrmr/parity",
        .action = DRV_FAULT_HOOK,
        .hook = write_late,
        .arg = &late};
    for (unsigned d = 0; d < 2; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 2 * RIG_MIB);
    }
    if (hides)
        no_ctime(rig);
    rig_ok(pool_writers_open(rig->pool->dirfd, &late.writers));
    for (unsigned d = 0; d < DRIVES; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &when_named, NULL));
    struct pool_job job = rig_job(rig);
    struct pool_sync_report report;
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_protect(rig->pool, &job, NULL, &report));
    assert_true(late.done);
    assert_null(strchr(rig_states(rig, "f0"), 'L'));
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    pool_writers_close(late.writers);
    rig_destroy(rig);
}

static void test_a_write_before_the_commit_cancels_the_claim(void **state)
{
    (void)state;
    late_write_cancels(false);
    late_write_cancels(true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_done_through_mrmr_is_not_held),
        cmocka_unit_test(test_a_scan_sees_what_hides),
        cmocka_unit_test(test_what_hides_where_a_scan_cannot_look),
        cmocka_unit_test(test_a_scrub_does_not_repair_what_hides),
        cmocka_unit_test(test_a_write_before_the_commit_cancels_the_claim),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_retained_touched", tests, NULL, NULL);
}
