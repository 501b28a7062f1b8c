/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The red team's list: files that change under a job, and users who write to what is repaired.
 */
#include "pool_engine_red_team.h"

#include <stdio.h>

/* --- Files that change under the job --- */

struct hand {
    struct rig *rig;
    const char *path;
    unsigned left, done;
    int64_t mtime; /* to set back to; 0: no */
};

/* The user writes, in the middle of a call of the engine. */
static void hand_edits(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_edit(hand->rig, hand->path, 123, 50);
        hand->done++;
    }
}

static void test_red_team_file_written_between_read_and_commit(void **state)
{
    struct rig *rig = *state;
    for (unsigned d = 0; d < 3; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 3 * RIG_MIB);
    }
    /* The row is being named: all has been read, nothing is committed. */
    struct hand hand = {.rig = rig, .path = "f1", .left = 1};
    struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
        .prefix = ".mrmr/parity",
        .action = DRV_FAULT_HOOK,
        .hook = hand_edits,
        .arg = &hand};
    for (unsigned d = 0; d < rig->n; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_int_equal(hand.done, 1);
    rig_check(rig);
    rig_verify(rig, false);
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

static void hand_appends(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_append(hand->rig, hand->path, 700 * 1024);
        hand->done++;
    }
}

static void hand_truncates(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_truncate(hand->rig, hand->path, RIG_MIB + 10);
        hand->done++;
    }
}

static void hand_unlinks(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_unlink(hand->rig, hand->path);
        hand->done++;
    }
}

/* As editors save: a new file beside it takes its name. */
static void hand_renames_over(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        struct rig *rig = hand->rig;
        struct rig_file *old = rig_find(rig, hand->path);
        unsigned drive = old->drive;
        rig_put(rig, drive, ".save", 5 * RIG_MIB + 4321);
        rig_find(rig, hand->path)->there = false;
        rig_ok(drv_rename(rig->drive[drive].raw, ".save", hand->path, DRV_RENAME_REPLACE));
        struct rig_file *saved = rig_find(rig, ".save");
        snprintf(saved->path, sizeof saved->path, "%s", hand->path);
        hand->done++;
    }
}

/* The user's hand comes in before the file is read for the `at`th time: nothing is claimed that was
 * not read as it is, and the neighbour's protection is no worse for it. */
static void hand_meets_reader(enum rig_kind kind, drv_fault_hook change, unsigned at)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind, .seed = 46 + at});
    rig_put(rig, 2, "there", 2 * RIG_MIB);
    rig_protect_all(rig);
    rig_put(rig, 0, "f0", 6 * RIG_MIB);
    rig_put(rig, 0, "stays", 1000); /* a drive that is empty all at once would be held */
    rig_put(rig, 1, "f1", 2 * RIG_MIB);
    rig_promise(rig);
    struct hand hand = {.rig = rig, .path = "f0", .left = at};
    struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ,
        .prefix = "f0",
        .action = DRV_FAULT_HOOK,
        .hook = change,
        .arg = &hand};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_int_equal(hand.done, 1);
    rig_check(rig);
    assert_true(rig_promise_check(rig, 1) > 0); /* what was protected of f0 may share its stripe */
    assert_true(rig_verify(rig, false) > 0);
    if (rig_find(rig, "f0"))
        assert_true(rig->report.exposed_bytes >= 2 * RIG_MIB); /* not claimed */
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    assert_true(rig_verify(rig, true) > 0);
    rig_destroy(rig);
}

static void hand_meets_readers(drv_fault_hook change)
{
    for (unsigned at = 1; at <= 5; at += 2) {
        hand_meets_reader(RIG_MEM, change, at);
        hand_meets_reader(RIG_LOCAL, change, at);
    }
}

static void test_red_team_file_edited_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_edits);
}

static void test_red_team_file_appended_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_appends);
}

static void test_red_team_file_truncated_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_truncates);
}

static void test_red_team_file_unlinked_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_unlinks);
}

static void test_red_team_file_replaced_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_renames_over);
}

/* The old short leaf counts as it lies, until the longer one is protected. */
static void test_red_team_append_to_a_short_last_leaf(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, RIG_MIB + 500 * 1024);
    rig_append(rig, "f0", 700 * 1024);
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    rig_ok(pool_compare(rig->pool, &job, &rig->report));
    assert_string_equal(rig_states(rig, "f0"), "LT");
    assert_true(rig->report.exposed_bytes >= 700 * 1024);
    rig_check(rig);
    rig_verify(rig, false);
    for (unsigned d = 1; d < 3; d++) /* the neighbours have lost nothing */
        assert_true(rig_verify_without(rig, 1U << d | 8, false) >= RIG_MIB + 500 * 1024);
    rig_protect_all(rig);
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    rig_check(rig);
    rig_verify(rig, true);
}

/* Size, time and inode are as they were: only the bytes, and the time of the inode's own change,
 * are not. */
static void test_red_team_touch_r_edit(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 2 * RIG_MIB);
    struct rig_file was = *rig_find(rig, "f0");
    int64_t mtime = rig_mtime(rig, "f0");
    rig_edit(rig, "f0", RIG_MIB + 9, 100);
    rig_set_mtime(rig, "f0", mtime);
    rig_sync(rig);
    assert_int_equal(rig->report.held, 1);
    assert_string_equal(rig_states(rig, "f0"), "LM");
    rig_check_originals(rig); /* what the user wrote stays where it is */
    rig_check(rig);
    struct rig_file now = *rig_find(rig, "f0");
    *rig_find(rig, "f0") = was; /* and what was protected can still be had */
    assert_int_equal(rig_verify_without(rig, 1, true), 2 * RIG_MIB);
    assert_int_equal(rig_verify_without(rig, 2, true), 2 * RIG_MIB);
    *rig_find(rig, "f0") = now;
    struct pool_job job = rig_job(rig);
    rig_ok(pool_sync(
        rig->pool, &job, &(struct pool_sync_options){.accept_changes = true}, &rig->report));
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

/* It shrank, and its time did not move: not an edit of a user. */
static void test_red_team_file_truncated_by_fsck(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 2 * RIG_MIB + 10);
    struct rig_file was = *rig_find(rig, "f1");
    int64_t mtime = rig_mtime(rig, "f1");
    rig_truncate(rig, "f1", RIG_MIB / 2);
    rig_set_mtime(rig, "f1", mtime);
    rig_sync(rig);
    rig_check(rig);
    *rig_find(rig, "f1") = was;
    /* Every byte of what was there, with its drive gone besides. */
    assert_int_equal(rig_verify_without(rig, 2, true), 2 * RIG_MIB + 10);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(
        rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1", .path = "f1"}, &report));
    assert_int_equal(report.files, 1);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* --- Repair and a user --- */

static void hand_replaces(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_put(hand->rig, rig_find(hand->rig, hand->path)->drive, hand->path, RIG_MIB + 99);
        hand->done++;
    }
}

/* A user saves the rotten file, in place or as a new one, before or after the exchange: what the
 * user saved is what is there. */
static void repair_meets_user(struct rig *rig, drv_fault_hook save, bool late)
{
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 1, "f1", RIG_MIB + 1);
    struct hand hand = {.rig = rig, .path = "f1", .left = 1};
    struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
        .prefix = "f1", /* only the exchange names it */
        .action = DRV_FAULT_HOOK,
        .late = late,
        .hook = save,
        .arg = &hand};
    rig_ok(drv_fault_add(rig->drive[1].fault, &rule, NULL));
    rig_scrub(rig, true);
    rig_clear_faults(rig);
    assert_int_equal(hand.done, 1);
    rig_protect_all(rig);
    rig_scrub(rig, true);
    rig_protect_all(rig);
    rig_check(rig);
}

static void test_red_team_repair_meets_a_user_who_saves_before(void **state)
{
    struct rig *rig = *state;
    repair_meets_user(rig, hand_replaces, false);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

static void test_red_team_repair_meets_a_user_who_saves_after(void **state)
{
    struct rig *rig = *state;
    repair_meets_user(rig, hand_replaces, true);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

/* In place: of what the user had not written, the rotten byte may stay or be right; what was
 * written is there. */
static void repair_meets_writer(struct rig *rig, bool late)
{
    repair_meets_user(rig, hand_edits, late);
    uint8_t got[50], wanted[50];
    struct drv_file *file = NULL;
    rig_ok(drv_file_open(rig->drive[1].raw, "f1", DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read_exact(file, 123, got, sizeof got));
    drv_file_close(file);
    rig_expected(rig_find(rig, "f1"), 123, wanted, sizeof wanted);
    assert_memory_equal(got, wanted, sizeof got);
}

static void test_red_team_repair_meets_a_writer_before(void **state)
{
    repair_meets_writer(*state, false);
}

static void test_red_team_repair_meets_a_writer_after(void **state)
{
    repair_meets_writer(*state, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(test_red_team_file_written_between_read_and_commit),
        cmocka_unit_test(test_red_team_file_edited_while_it_is_read),
        cmocka_unit_test(test_red_team_file_appended_while_it_is_read),
        cmocka_unit_test(test_red_team_file_truncated_while_it_is_read),
        cmocka_unit_test(test_red_team_file_unlinked_while_it_is_read),
        cmocka_unit_test(test_red_team_file_replaced_while_it_is_read),
        rig_test(test_red_team_append_to_a_short_last_leaf),
        rig_test(test_red_team_touch_r_edit),
        rig_test(test_red_team_file_truncated_by_fsck),
        rig_test(test_red_team_repair_meets_a_user_who_saves_before),
        rig_test(test_red_team_repair_meets_a_user_who_saves_after),
        rig_test(test_red_team_repair_meets_a_writer_before),
        rig_test(test_red_team_repair_meets_a_writer_after),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
