/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a drive's guard gave up, and what happens yet: nothing is claimed of the file until it has.
 */
#include "pool/change/tree_change.h"
#include "pool/drive/hung.h"
#include "pool/tree/tree_file.h"
#include "tests/unit/pool_tree_hang.h"

#include "base/cleanup.h"
#include "drivers/guard.h"
#include <string.h>

enum { MOMENT_MS = 100, LONG_S = 20 };

/* A tree whose guards give up after a second; f0 is hard-linked, so it stays on its drive, and its
 * first leaf is to be encoded anew. */
static void begin_hanging(struct world *w, struct hang *hang, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    close_tree(w);
    rig_ok(drv_link(w->rig->drive[0].raw, "f0", "f0-also"));
    rig_protect_all(w->rig);
    rig_ok(pool_set(w->rig->pool, "drive-timeout", "1"));
    open_tree(w);
    overwrite(w, "f0", 10, 1000);
    hang_begin(hang);
}

static void end_hanging(struct world *w, struct hang *hang)
{
    rig_check_originals(w->rig);
    end_after(w);
    hang_end(hang);
}

static void hang_once(struct world *w, struct hang *hang, uint32_t ops)
{
    hang_at(w, hang, 0, ops, "f0", false);
}

/* The writer is told in time, and what he wrote is not there yet. */
static void write_that_hangs(struct world *w, struct hang *hang)
{
    struct rig_file *known = rig_find(w->rig, "f0");
    uint8_t buf[500];
    struct pool_tree_file *file = open_file(w, "f0");
    known->patch[known->patches++] = (struct rig_patch){3000, sizeof buf, 17};
    rig_expected(known, 3000, buf, sizeof buf);
    hang_once(w, hang, DRV_FAULT_FILE_WRITE);
    int64_t begin = mrmr_clock_monotonic();
    mrmr_err err = pool_tree_file_write(file, 3000, buf, sizeof buf);
    assert_int_equal(mrmr_class_of(err), MRMR_CLASS_UNAVAILABLE);
    assert_true(mrmr_clock_monotonic() - begin < LONG_S * MRMR_NS_PER_S);
    assert_int_equal(sem_trywait(&hang->begun), 0);
    assert_false(rig_original_is_right(w->rig, 0, known));
    pool_tree_file_close(file);
}

static mrmr_err try_sync(struct world *w)
{
    struct pool_job job = rig_job(w->rig);
    return pool_sync(w->rig->pool, &job, NULL, &w->rig->report);
}

static mrmr_err find_hangs(const struct pool_event *event, void *arg)
{
    *(bool *)arg |= !strcmp(event->kind, "drive-hangs") && !strcmp(event->drive, "d0");
    return MRMR_OK;
}

/* A sync does without the drive, tells so, and protects what is on the others. */
static void not_claimed(struct world *w, const char *elsewhere)
{
    struct rig *rig = w->rig;
    bool told = false;
    const int64_t before = rig_node(rig, "f0").mtime;
    assert_int_not_equal(before, rig_mtime(rig, "f0")); /* there is something to claim of it */
    rig_put(rig, 1, elsewhere, RIG_MIB);
    pool_writers_wait_at_most(rig->pool->writers, MOMENT_MS * INT64_C(1000000));
    rig_ok(try_sync(w));
    assert_int_equal(rig->report.drives_away, 1);
    assert_int_equal(rig_pool_drive(rig, 0)->presence, POOL_FAILED);
    assert_non_null(strstr(rig_pool_drive(rig, 0)->why.text, "may be written yet"));
    rig_ok(pool_events(rig->pool, 0, 100, find_hangs, &told));
    assert_true(told);
    assert_int_equal(rig_node(rig, "f0").mtime, before);
    assert_string_equal(rig_states(rig, elsewhere), "L");
    rig_check(rig);
}

static void test_a_write_lands_late(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_hanging(&w, &hang, 301);
    write_that_hangs(&w, &hang);
    not_claimed(&w, "one");
    overwrite(&w, "f1", 50, 1000); /* nobody else waits for it */
    not_claimed(&w, "two");
    hang_ends(&w, &hang, 0);
    rig_protect_all(w.rig); /* the drive, too */
    assert_int_equal(rig_node(w.rig, "f0").mtime, rig_mtime(w.rig, "f0"));
    close_tree(&w);
    end_hanging(&w, &hang);
}

/* The mount is gone, and its thread is in the kernel still. */
static void test_the_tree_is_closed_meanwhile(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_hanging(&w, &hang, 302);
    write_that_hangs(&w, &hang);
    close_tree(&w);
    not_claimed(&w, "one");
    hang_ends(&w, &hang, 0);
    rig_protect_all(w.rig); /* the drive, too */
    assert_int_equal(rig_node(w.rig, "f0").mtime, rig_mtime(w.rig, "f0"));
    end_hanging(&w, &hang);
}

/* Nor what is kept before a write: its file is not written to at all. */
static void test_keeping_hangs(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_hanging(&w, &hang, 303);
    struct pool_tree_file *file = open_file(&w, "f0");
    hang_once(&w, &hang, DRV_FAULT_FILE_READ);
    mrmr_err err = pool_tree_file_write(file, 2 * RIG_MIB, "x", 1);
    assert_int_equal(mrmr_class_of(err), MRMR_CLASS_UNAVAILABLE);
    assert_int_equal(sem_trywait(&hang.begun), 0);
    pool_tree_file_close(file);
    not_claimed(&w, "one");
    hang_ends(&w, &hang, 0);
    rig_protect_all(w.rig); /* the drive, too */
    assert_int_equal(rig_node(w.rig, "f0").mtime, rig_mtime(w.rig, "f0"));
    close_tree(&w);
    end_hanging(&w, &hang);
}

/* Another file takes its place when the drive serves again, before whoever was told that it did not has come to let go of what he kept. */
static void test_a_replacement_comes_late(void **state)
{
    struct world w;
    struct hang hang;
    struct drv_stat stat, kept;
    struct tree_replacing replaced;
    uint64_t epoch;
    (void)state;
    begin_hanging(&w, &hang, 308);
    struct drv *drv = w.tree->drive[1].drive->drv, *raw = w.rig->drive[1].raw;
    rig_put(w.rig, 1, "new", 1000);
    rig_ok(drv_stat(drv, "f1", &stat));
    rig_ok(tree_change_begin(w.tree, &epoch));
    rig_ok(tree_keep_replaced(w.tree, 1, "f1", &stat, epoch, &replaced));
    assert_true(replaced.kept[0]);
    hang_at(&w, &hang, 1, DRV_FAULT_RENAME, "new", false);
    mrmr_err err = drv_rename(drv, "new", "f1", DRV_RENAME_REPLACE);
    assert_int_equal(mrmr_class_of(err), MRMR_CLASS_UNAVAILABLE);
    sem_post(&hang.go_on);
    wait_live(&w, 1);
    assert_int_equal(drv_stat(raw, "new", &kept), MRMR_ABSENT);
    tree_keep_replaced_end(w.tree, 1, "f1", &stat, epoch, &replaced, err);
    tree_change_end(w.tree);
    rig_ok(drv_stat(raw, replaced.kept, &kept));
    assert_int_equal(kept.ino, stat.ino);
    rig_find(w.rig, "f1")->there = false;
    strcpy(rig_find(w.rig, "new")->path, "f1");
    close_tree(&w);
    end_hanging(&w, &hang);
}

/* It answers again, but what is written now could be overtaken by what was given up: the monitor, which
 * looks every three seconds, does not take it back. */
static void test_a_drive_stays_away_meanwhile(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_hanging(&w, &hang, 304);
    write_that_hangs(&w, &hang);
    for (unsigned i = 0; i < 400; i++, moment())
        assert_false(tree_live(&w.tree->drive[0]));
    assert_int_equal(drv_guard_late(w.tree->drive[0].drive->drv), 1);
    sem_post(&hang.go_on);
    wait_live(&w, 0);
    assert_int_equal(drv_guard_late(w.tree->drive[0].drive->drv), 0);
    struct pool_tree_file *file = open_file(&w, "f0");
    write_part(&w, file, "f0", 3000, 4); /* over what came late */
    pool_tree_file_close(file);
    close_tree(&w);
    end_hanging(&w, &hang);
}

/* Who was told that it failed has made it elsewhere, and it is not empty. */
static void test_a_create_comes_late(void **state)
{
    struct world w;
    struct hang hang;
    struct pool_attr attr;
    struct pool_tree_file *file;
    struct drv_stat stat;
    (void)state;
    begin_hanging(&w, &hang, 305);
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "probe", 0644, &attr, &file));
    size_t drive = tree_file_drive(file);
    pool_tree_file_close(file);
    hang_at(&w, &hang, drive, DRV_FAULT_CREATE, "new", false);
    assert_int_not_equal(
        pool_tree_create(w.tree, NULL, POOL_ROOT, "new", 0644, &attr, &file), MRMR_OK);
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "new", 0644, &attr, &file));
    assert_int_not_equal(tree_file_drive(file), drive);
    rig_ok(pool_tree_file_write(file, 0, "precious", 8));
    rig_ok(pool_tree_file_sync(file));
    pool_tree_file_close(file);
    while (drv_guard_stuck(w.tree->drive[drive].drive->drv) != 1)
        moment();
    sem_post(&hang.go_on);
    while (drv_guard_stuck(w.tree->drive[drive].drive->drv) ||
           drv_stat(w.rig->drive[drive].raw, "new", &stat) == MRMR_OK)
        moment();
    wait_live(&w, drive);
    attr = look(&w, POOL_ROOT, "new");
    assert_int_equal(attr.size, 8);
    close_tree(&w);
    end_hanging(&w, &hang);
}

static mrmr_err set_mode(struct world *w, uint32_t mode)
{
    const struct pool_attr set = {.mode = mode};
    struct pool_attr attr = look(w, POOL_ROOT, "f0");
    return pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr);
}

/* A mode that is set late does not take back the one that was set after it. */
static void test_a_mode_is_set_late(void **state)
{
    struct world w;
    struct hang hang;
    struct drv_stat stat;
    (void)state;
    begin_hanging(&w, &hang, 234);
    hang_once(&w, &hang, DRV_FAULT_SET_ATTR);
    assert_int_equal(mrmr_class_of(set_mode(&w, 0600)), MRMR_CLASS_UNAVAILABLE);
    assert_int_equal(sem_trywait(&hang.begun), 0);
    assert_true(drv_guard_late(w.tree->drive[0].drive->drv) > 0);
    assert_true(pool_drive_hangs(w.rig->pool, rig_pool_drive(w.rig, 0))); /* whoever asks */
    hang_ends(&w, &hang, 0);
    while (!tree_live(&w.tree->drive[0]))
        moment();
    rig_ok(set_mode(&w, 0640));
    rig_ok(drv_stat(w.rig->drive[0].raw, "f0", &stat));
    assert_int_equal(stat.mode, 0640);
    end_hanging(&w, &hang);
}

/* On one bad sector, and until its identity was read the drive is looked at. */
static void one_error(struct world *w, const struct drv_fault_rule *identity)
{
    rig_ok(drv_fault_add(w->rig->drive[0].fault, identity, NULL));
    tree_silent(&w->tree->drive[0], MRMR_IO);
}

/* A look that began while the drive was in service ends after a write hung there: that what it found is
 * the drive's does not put it back, for the write may be carried out yet. */
static void test_a_look_from_before(void **state)
{
    struct world w;
    struct hang hang, look;
    (void)state;
    begin_hanging(&w, &hang, 306);
    hang_begin(&look);
    const struct drv_fault_rule identity = {.ops = DRV_FAULT_FILE_OPEN | DRV_FAULT_FILE_READ,
        .prefix = POOL_DOT "/drive",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = hang_here,
        .arg = &look};
    one_error(&w, &identity);
    assert_int_equal(sem_wait(&look.begun), 0);
    write_that_hangs(&w, &hang);
    sem_post(&look.go_on);
    for (unsigned i = 0; i < 50; i++, moment()) /* the monitor comes by ten times a second */
        assert_false(tree_live(&w.tree->drive[0]));
    assert_int_equal(drv_guard_late(w.tree->drive[0].drive->drv), 1);
    hang_ends(&w, &hang, 0);
    wait_live(&w, 0);
    close_tree(&w);
    end_hanging(&w, &hang);
    hang_end(&look);
}

static bool is_suspect(struct world *w)
{
    mrmr_locked(&w->tree->lock);
    return w->tree->drive[0].suspect;
}

/* That a process has no descriptor or no memory for a look says nothing of the drive; that its medium
 * fails does. */
static void test_a_look_without_memory(void **state)
{
    struct world w;
    struct drv_fault_rule identity = {
        .ops = DRV_FAULT_FILE_OPEN, .prefix = POOL_DOT "/drive", .times = 1, .err = MRMR_NOMEM};
    (void)state;
    begin(&w, RIG_MEM, 307);
    one_error(&w, &identity);
    while (is_suspect(&w))
        moment();
    for (unsigned i = 0; i < 20; i++, moment())
        assert_true(tree_live(&w.tree->drive[0]));
    identity.err = MRMR_IO;
    one_error(&w, &identity);
    while (tree_live(&w.tree->drive[0]))
        moment();
    wait_live(&w, 0);
    close_tree(&w);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_write_lands_late),
        cmocka_unit_test(test_the_tree_is_closed_meanwhile),
        cmocka_unit_test(test_keeping_hangs),
        cmocka_unit_test(test_a_replacement_comes_late),
        cmocka_unit_test(test_a_drive_stays_away_meanwhile),
        cmocka_unit_test(test_a_create_comes_late),
        cmocka_unit_test(test_a_mode_is_set_late),
        cmocka_unit_test(test_a_look_from_before),
        cmocka_unit_test(test_a_look_without_memory),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_late", tests, NULL, NULL);
}
