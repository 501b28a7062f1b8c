/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was asked of a drive that hangs, was given up, and comes late: it never hides what was made elsewhere meanwhile,
 * or changed, and goes (gone_late.c). As nobody takes it back when the process is killed, nobody does here.
 */
#include "pool/change/tree_change.h"
#include "pool/drive/hung.h"
#include "pool/records/gone.h"
#include "pool/tree/tree_file.h"
#include "tests/unit/pool_tree_hang.h"
#include "tests/unit/pool_tree_user.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void begin_late(struct world *w, struct hang *hang, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    close_tree(w);
    rig_ok(pool_set(w->rig->pool, "drive-timeout", "1"));
    open_tree(w);
    hang_begin(hang);
}

static void end_late(struct world *w, struct hang *hang)
{
    rig_check_originals(w->rig);
    end_after(w);
    hang_end(hang);
}

static size_t next_drive(struct world *w)
{
    const struct tree_set none = {{0}};
    size_t drive;
    rig_ok(tree_place_choose(w->tree, &none, 0, &drive));
    return drive;
}

/* Elsewhere, and it is acknowledged. */
static void writes_anew(struct world *w, const char *name, size_t but)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    rig_ok(pool_tree_create(w->tree, NULL, POOL_ROOT, name, 0644, &attr, &file));
    assert_int_not_equal(tree_file_drive(file), but);
    rig_ok(pool_tree_file_write(file, 0, "precious", 8));
    rig_ok(pool_tree_file_sync(file));
    pool_tree_file_close(file);
}

static mrmr_err sync_without(struct world *w)
{
    struct pool_job job = rig_job(w->rig);
    return pool_sync(w->rig->pool, &job, NULL, &w->rig->report);
}

static void shows_it(struct world *w, const char *name)
{
    const struct pool_attr attr = look(w, POOL_ROOT, name);
    assert_int_equal(attr.kind, POOL_REG);
    assert_int_equal(attr.size, 8);
}

static void gives_up(struct world *w, struct hang *hang, size_t drive, mrmr_err err)
{
    assert_int_not_equal(err, MRMR_OK);
    assert_int_equal(sem_trywait(&hang->begun), 0);
    assert_false(tree_live(&w->tree->drive[drive]));
    assert_true(pool_drive_hangs(w->rig->pool, w->rig->pool->drives[drive])); /* whoever asks */
}

/* It comes, and lies there. */
static void comes_late(struct world *w, struct hang *hang, size_t drive, const char *name)
{
    const struct drv_fault_rule stays = {
        .ops = DRV_FAULT_UNLINK, .prefix = name, .times = 1, .err = MRMR_IO};
    unsigned id;
    rig_ok(drv_fault_add(w->rig->drive[drive].fault, &stays, &id));
    hang_ends(w, hang, drive);
    drv_fault_remove(w->rig->drive[drive].fault, id);
    assert_true(rig_holds(w->rig, (unsigned)drive, name));
}

/* --- what is new --- */

static mrmr_err make(struct world *w, enum pool_kind kind, const char *name)
{
    const struct pool_new what = {.kind = kind, .mode = 0755, .target = "somewhere"};
    struct pool_attr attr;
    if (kind == POOL_REG) /* another name of a file */
        return pool_tree_link(w->tree, NULL, look(w, POOL_ROOT, "f0").node, POOL_ROOT, name, &attr);
    return pool_tree_make(w->tree, NULL, POOL_ROOT, name, &what, &attr);
}

/* The process ends while it hangs, and the next one finds it. */
static void is_made_late(struct world *w, uint32_t op, enum pool_kind kind, const char *name)
{
    struct hang hang;
    const size_t drive = kind == POOL_REG ? 0 : next_drive(w);
    hang_begin(&hang);
    hang_at(w, &hang, drive, op, name, false);
    gives_up(w, &hang, drive, make(w, kind, name));
    assert_int_equal(records(w, false), 1);
    writes_anew(w, name, drive);
    close_tree(w);
    comes_late(w, &hang, drive, name);
    open_tree(w);
    assert_true(tree_live(&w->tree->drive[drive]));
    shows_it(w, name);
    assert_false(rig_holds(w->rig, (unsigned)drive, name));
    hang_end(&hang);
}

static void create_hangs(struct world *w, struct hang *hang, size_t drive, const char *name)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    hang_at(w, hang, drive, DRV_FAULT_CREATE, name, false);
    gives_up(w, hang, drive, pool_tree_create(w->tree, NULL, POOL_ROOT, name, 0644, &attr, &file));
}

static void test_things_are_made_late(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_late(&w, &hang, 701);
    is_made_late(&w, DRV_FAULT_MKDIR, POOL_DIR, "folder");
    is_made_late(&w, DRV_FAULT_SYMLINK, POOL_LNK, "symlink");
    is_made_late(&w, DRV_FAULT_MKNOD, POOL_FIFO, "fifo");
    is_made_late(&w, DRV_FAULT_LINK, POOL_REG, "name");
    close_tree(&w);
    end_late(&w, &hang);
}

static void test_a_file_is_made_late(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_late(&w, &hang, 702);
    size_t drive = next_drive(&w);
    create_hangs(&w, &hang, drive, "new");
    writes_anew(&w, "new", drive);
    assert_int_equal(records(&w, false), 1);
    close_tree(&w);
    comes_late(&w, &hang, drive, "new");
    open_tree(&w);
    shows_it(&w, "new");
    assert_false(rig_holds(w.rig, (unsigned)drive, "new"));
    assert_int_equal(records(&w, false), 0);
    drive = next_drive(&w); /* while the process lives, and the drive does not let it go at first */
    create_hangs(&w, &hang, drive, "other new");
    writes_anew(&w, "other new", drive);
    const struct drv_fault_rule stays = {
        .ops = DRV_FAULT_RENAME, .prefix = "other new", .times = 1, .err = MRMR_IO};
    rig_ok(drv_fault_add(w.rig->drive[drive].fault, &stays, NULL));
    comes_late(&w, &hang, drive, "other new");
    wait_live(&w, drive);
    shows_it(&w, "other new");
    assert_false(rig_holds(w.rig, (unsigned)drive, "other new"));
    close_tree(&w);
    rig_protect_all(w.rig);
    open_tree(&w);
    assert_int_equal(records(&w, true), 0); /* no longer than until a scan */
    close_tree(&w);
    end_late(&w, &hang);
}

/* A sync is the first to take the drive into service. */
static void test_a_sync_finds_it(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_late(&w, &hang, 703);
    const size_t drive = next_drive(&w);
    create_hangs(&w, &hang, drive, "new");
    writes_anew(&w, "new", drive);
    close_tree(&w);
    comes_late(&w, &hang, drive, "new");
    rig_protect_all(w.rig);
    assert_false(rig_holds(w.rig, (unsigned)drive, "new"));
    open_tree(&w);
    shows_it(&w, "new");
    close_tree(&w);
    end_late(&w, &hang);
}

/* Somebody writes to it before anyone looks, and somebody puts another file there: both are theirs. */
static void test_it_was_written(void **state)
{
    struct world w;
    struct hang hang;
    struct drv_file *file;
    (void)state;
    begin_late(&w, &hang, 704);
    const size_t drive = next_drive(&w);
    create_hangs(&w, &hang, drive, "new");
    close_tree(&w);
    comes_late(&w, &hang, drive, "new");
    rig_ok(drv_file_open(w.rig->drive[drive].raw, "new", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 0, "directly", 8));
    drv_file_close(file);
    open_tree(&w);
    shows_it(&w, "new");
    assert_true(rig_holds(w.rig, (unsigned)drive, "new"));
    assert_int_equal(records(&w, false), 0);
    close_tree(&w);
    end_late(&w, &hang);
}

/* It did not come: what is made there once the drive is in service is no late one. */
static void test_it_does_not_come(void **state)
{
    struct world w;
    struct hang hang;
    struct pool_attr attr;
    struct pool_tree_file *file;
    (void)state;
    begin_late(&w, &hang, 705);
    const size_t drive = next_drive(&w);
    create_hangs(&w, &hang, drive, "new");
    hang_ends(&w, &hang, drive); /* it is taken back */
    wait_live(&w, drive);
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "new", 0644, &attr, &file));
    assert_int_equal(tree_file_drive(file), drive);
    pool_tree_file_close(file);
    close_tree(&w);
    open_tree(&w);
    assert_int_equal(look(&w, POOL_ROOT, "new").size, 0);
    assert_int_equal(records(&w, false), 0);
    close_tree(&w);
    end_late(&w, &hang);
}

/* The file is brought elsewhere for it, changed, and protected so: the old one goes by the name that it got late. */
static void test_a_rename_comes_late(void **state)
{
    struct world w;
    struct hang hang;
    (void)state;
    begin_late(&w, &hang, 706);
    hang_at(&w, &hang, 1, DRV_FAULT_RENAME, "f1", false);
    rig_ok(rename_at(&w, "f1", "moved", 0));
    overwrite(&w, "moved", 3000, 1000);
    rig_ok(sync_without(&w));
    hang_ends(&w, &hang, 1);
    assert_true(rig_holds(w.rig, 1, "moved"));
    wait_live(&w, 1);
    assert_int_equal(drives_with(w.rig, "moved"), 1);
    assert_false(rig_holds(w.rig, 1, "moved"));
    reads(&w, "moved");
    close_tree(&w);
    rig_destroy(w.rig);
    hang_end(&hang);
}

/* --- copies --- */

/* f1 is full of its drive's: a write brings it elsewhere, and the name of the copy hangs there. Where. */
static size_t bring_hangs(struct world *w, struct hang *hang, bool late)
{
    size_t to = DRIVES;
    struct pool_tree_file *file = open_file(w, "f1");
    drive_is_full(w->rig, 1);
    for (size_t i = 0; i < DRIVES; i++)
        if (i != 1)
            hang_at(w, hang, i, DRV_FAULT_RENAME, ".mrmr/moving", late);
    mrmr_err err = pool_tree_file_write(file, 10, "lost", 4);
    pool_tree_file_close(file);
    for (size_t i = 0; i < DRIVES; i++)
        to = tree_live(&w->tree->drive[i]) ? to : i;
    assert_true(to < DRIVES);
    gives_up(w, hang, to, err);
    rig_clear_faults(w->rig); /* there is room where it is, */
    return to;
}

static void one_is_there(struct world *w, size_t to)
{
    assert_int_equal(drives_with(w->rig, "f1"), 1);
    assert_false(rig_holds(w->rig, (unsigned)to, "f1"));
    reads(w, "f1");
}

/* The file is written where it is, and protected so: the copy is older, and no catalog knows it. */
static void is_named_late(uint64_t seed, bool late, bool reopens)
{
    struct world w;
    struct hang hang;
    begin_late(&w, &hang, seed);
    const size_t to = bring_hangs(&w, &hang, late);
    overwrite(&w, "f1", 3000, 1000);
    rig_ok(sync_without(&w));
    if (reopens)
        close_tree(&w);
    comes_late(&w, &hang, to, "f1");
    if (reopens)
        open_tree(&w);
    else
        wait_live(&w, to);
    one_is_there(&w, to);
    close_tree(&w);
    end_late(&w, &hang);
}

static void test_a_copy_is_named_late(void **state)
{
    (void)state;
    is_named_late(711, false, true);
    is_named_late(712, true, false);
}

/* Its drive goes when the copy has its name, before it is looked at; the file is removed, and does not come
 * back with the drive. */
static void goes(void *arg, enum drv_fault_op op, const char *path)
{
    struct rig_drive *drive = arg;
    const struct drv_fault_rule off = {.err = MRMR_OFFLINE};
    (void)op, (void)path;
    rig_ok(drv_fault_add(drive->fault, &off, NULL));
}

static void test_the_drive_goes(void **state)
{
    struct world w;
    size_t to = DRIVES;
    (void)state;
    begin(&w, RIG_MEM, 713);
    struct pool_tree_file *file = open_file(&w, "f1");
    drive_is_full(w.rig, 1);
    for (size_t i = 0; i < DRIVES; i++) {
        const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
            .prefix = ".mrmr/moving",
            .times = 1,
            .action = DRV_FAULT_HOOK,
            .late = true,
            .hook = goes,
            .arg = &w.rig->drive[i]};
        rig_ok(drv_fault_add(w.rig->drive[i].fault, &rule, NULL));
    }
    assert_int_not_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_OK);
    pool_tree_file_close(file);
    for (size_t i = 0; i < DRIVES; i++)
        to = tree_live(&w.tree->drive[i]) ? to : i;
    assert_true(to < DRIVES && rig_holds(w.rig, (unsigned)to, "f1"));
    removes(&w, "f1");
    rig_clear_faults(w.rig);
    wait_live(&w, to);
    assert_int_equal(is_there(&w, "f1"), MRMR_ABSENT);
    assert_int_equal(drives_with(w.rig, "f1"), 0);
    close_tree(&w);
    end_after(&w);
}

/* --- the record of one that was cut --- */

#define RECORD "bring-0123456789abcdef"

/* As one that was cut in (3): f1 went from drive 1 to drive 2. old: as it was written before. */
static void cut_in_between(struct world *w, bool old)
{
    char text[300];
    uint8_t *buf = malloc(FILE_LEAVES * RIG_MIB);
    struct drv *to = w->rig->drive[2].raw;
    struct drv_stat a, b;
    struct drv_file *file;
    rig_ok(drv_stat(w->rig->drive[1].raw, "f1", &a));
    assert_non_null(buf);
    rig_expected(rig_find(w->rig, "f1"), 0, buf, a.size);
    rig_ok(drv_file_open(to, "f1", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0644, &file));
    rig_ok(drv_file_write(file, 0, buf, a.size));
    drv_file_close(file);
    free(buf);
    rig_ok(drv_set_attr(to, "f1", DRV_ATTR_MTIME, &a));
    rig_ok(drv_stat(to, "f1", &b));
    int n = snprintf(text, sizeof text, "%lld %lld", (long long)w->rig->pool->drives[1]->meta.id,
        (long long)w->rig->pool->drives[2]->meta.id);
    if (!old)
        n += snprintf(text + n, sizeof text - (size_t)n,
            " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %d %" PRIu64 " %" PRId64 " %" PRId64
            " 0 %" PRId64,
            a.ino, b.ino, b.size, b.mtime, (int)b.type, a.size, a.mtime, a.ctime, a.btime);
    memcpy(text + n, "\0f1", 4);
    rig_ok(mrmr_durable_replace(w->rig->pool->dirfd, RECORD, text, (size_t)n + 4, 0600));
}

static bool is_recorded(struct world *w)
{
    return faccessat(w->rig->pool->dirfd, RECORD, F_OK, 0) == 0;
}

/* It does not say what they were: nothing goes. */
static void test_a_record_of_before(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 720);
    close_tree(&w);
    cut_in_between(&w, true);
    open_tree(&w);
    assert_false(is_recorded(&w));
    assert_int_equal(drives_with(w.rig, "f1"), 2);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_a_copy_that_is_it(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 721);
    close_tree(&w);
    cut_in_between(&w, false);
    open_tree(&w);
    assert_false(is_recorded(&w));
    assert_int_equal(drives_with(w.rig, "f1"), 1);
    assert_false(rig_holds(w.rig, 1, "f1"));
    reads(&w, "f1");
    rig_find(w.rig, "f1")->drive = 2;
    close_tree(&w);
    end_after(&w);
}

/* The file was changed since, and is protected so. */
static void test_a_copy_that_is_old(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 722);
    close_tree(&w);
    cut_in_between(&w, false);
    rig_edit(w.rig, "f1", 3000, 1000);
    open_tree(&w);
    assert_false(is_recorded(&w));
    one_is_there(&w, 2);
    close_tree(&w);
    end_after(&w);
}

/* Its drive is away: the copy is recorded, and the file may be changed. */
static void test_a_copy_on_a_drive_that_is_away(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 723);
    close_tree(&w);
    cut_in_between(&w, false);
    rig_take_away(w.rig, 2);
    open_tree(&w);
    assert_false(is_recorded(&w));
    assert_int_equal(records(&w, false), 1);
    overwrite(&w, "f1", 3000, 1000);
    rig_ok(sync_without(&w));
    rig_bring_back(w.rig, 2);
    wait_live(&w, 2);
    one_is_there(&w, 2);
    close_tree(&w);
    rig_reopen(w.rig);
    end_after(&w);
}

/* As before, and somebody changed the copy on its drive: it stays, as a conflict. */
static void test_a_copy_that_was_changed(void **state)
{
    struct world w;
    struct drv_file *file;
    (void)state;
    begin(&w, RIG_MEM, 724);
    close_tree(&w);
    cut_in_between(&w, false);
    rig_take_away(w.rig, 2);
    open_tree(&w);
    rig_ok(drv_file_open(w.rig->drive[2].raw, "f1", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 0, "directly", 8));
    drv_file_close(file);
    rig_bring_back(w.rig, 2);
    wait_live(&w, 2);
    assert_true(rig_holds(w.rig, 2, "f1"));
    assert_int_equal(records(&w, false), 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- what is left of a drive that is in service --- */

/* Nobody runs a sync: the monitor tries again. */
static void test_what_is_left_is_tried_again(void **state)
{
    const struct drv_fault_rule stays = {
        .ops = DRV_FAULT_RENAME | DRV_FAULT_LINK | DRV_FAULT_UNLINK,
        .prefix = "f0",
        .err = MRMR_IO};
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 731);
    goes_away(&w);
    removes(&w, "f0");
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &stays, NULL));
    comes_back(&w, "f0");
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(records(&w, false), 1);
    rig_clear_faults(w.rig);
    const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (records(&w, false)) {
        assert_true(mrmr_clock_monotonic() < until);
        moment();
    }
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    close_tree(&w);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_things_are_made_late),
        cmocka_unit_test(test_a_file_is_made_late),
        cmocka_unit_test(test_a_sync_finds_it),
        cmocka_unit_test(test_it_was_written),
        cmocka_unit_test(test_it_does_not_come),
        cmocka_unit_test(test_a_rename_comes_late),
        cmocka_unit_test(test_a_copy_is_named_late),
        cmocka_unit_test(test_the_drive_goes),
        cmocka_unit_test(test_a_record_of_before),
        cmocka_unit_test(test_a_copy_that_is_it),
        cmocka_unit_test(test_a_copy_that_is_old),
        cmocka_unit_test(test_a_copy_on_a_drive_that_is_away),
        cmocka_unit_test(test_a_copy_that_was_changed),
        cmocka_unit_test(test_what_is_left_is_tried_again),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_given_up", tests, NULL, NULL);
}
