/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A protected file gets another name, and loses the one that the catalog has: while its drive is away it shows by the new one, and
 * by no other, whoever has that, in whichever process, and however often it was done. And what stripes count on is kept all the same.
 */
#include "tests/unit/pool_away_links_world.h"

#include <signal.h>
#include <string.h>

enum { SEED = 1021 };

/* `ln from to`, `rm from` */
static void follows(struct world *w, const char *from, const char *to)
{
    links(w, from, to);
    rig_ok(unlink_at(w, from));
}

static void test_it_shows_by_the_new_name(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED);
    follows(&w, "f0", "c");
    is_now(&w, "f0", "c");
    goes_away(&w);
    reads_it(&w, "c", "f0");
    ends_well(&w);
}

/* The name that it lost is its again. */
static void test_linked_again(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 14);
    follows(&w, "f0", "c");
    links(&w, "c", "f0");
    goes_away(&w);
    reads_it(&w, "f0", "c");
    ends_well(&w);
}

static void test_several_times(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 1);
    links(&w, "f0", "d");
    follows(&w, "f0", "c"); /* either of them */
    rig_ok(unlink_at(&w, "c"));
    follows(&w, "d", "e");
    rig_ok(rename_at(&w, "e", "g", 0));
    follows(&w, "g", "h");
    is_now(&w, "f0", "h");
    goes_away(&w);
    reads_it(&w, "h", "f0 c d e g");
    ends_well(&w);
}

/* The new name was renamed, and its folder, before the old one went. */
static void test_renamed_meanwhile(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 2);
    makes(&w, "folder");
    links(&w, "f0", "folder/c");
    rig_ok(rename_at(&w, "folder/c", "folder/d", 0));
    rig_ok(rename_at(&w, "folder", "other-folder", 0));
    close_tree(&w); /* who opens it next has seen none of them */
    open_tree(&w);
    rig_ok(unlink_at(&w, "f0"));
    is_now(&w, "f0", "other-folder/d");
    goes_away(&w);
    for (unsigned i = 0; i < 2; i++) {
        reads(&w, "other-folder/d");
        lists(&w, "", "other-folder", "f0 folder");
        lists(&w, "other-folder", "d", "c");
        close_tree(&w);
        open_tree(&w);
    }
    ends_well(&w);
}

static void test_all_names_go(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 3);
    links(&w, "f0", "c");
    links(&w, "f0", "d");
    rig_ok(unlink_at(&w, "f0"));
    close_tree(&w); /* in a process that has made none of them */
    open_tree(&w);
    rig_ok(unlink_at(&w, "d"));
    rig_ok(unlink_at(&w, "c"));
    file_of(&w, "f0")->there = false;
    goes_away(&w);
    for (unsigned i = 0; i < 2; i++) {
        lists(&w, "", "f1", "f0 c d");
        close_tree(&w);
        open_tree(&w);
    }
    ends_well(&w);
}

/* While its drive is away the new one is removed, too, and goes when that is back. */
static void test_removed_while_away(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 4);
    follows(&w, "f0", "c");
    goes_away(&w);
    rig_ok(unlink_at(&w, "c"));
    file_of(&w, "f0")->there = false;
    lists(&w, "", "f1", "f0 c");
    comes_back(&w, "c");
    lists(&w, "", "f1", "f0 c");
    assert_false(rig_holds(w.rig, 0, "c"));
    goes_away(&w);
    lists(&w, "", "f1", "f0 c");
    ends_well(&w);
}

/* --- another file has the name that went --- */

/* f1 is on another drive, and older in the catalog than what shows of f0. */
static void takes_its_name(struct world *w)
{
    links(w, "f0", "c");
    rig_ok(rename_at(w, "f1", "f0", 0));
}

static void took_its_name(struct world *w)
{
    is_now(w, "f0", "c");
    if (file_of(w, "c")->drive != 0)
        fail();
    is_now(w, "f1", "f0");
}

static void shows_what_took_it(struct world *w)
{
    for (unsigned i = 0; i < 2; i++) {
        reads(w, "f0");
        reads(w, "c");
        lists(w, "", "f0 c", "f1");
        close_tree(w);
        open_tree(w);
    }
}

static void test_another_has_its_name(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 5);
    f0_is_newer(&w);
    links(&w, "f0", "c");
    is_now(&w, "f0", "c");
    rig_ok(rename_at(&w, "f1", "f0", 0));
    shows_what_took_it(&w);
    goes_away(&w);
    shows_what_took_it(&w);
    ends_well(&w);
}

static void test_another_has_its_name_and_it_is_killed(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 6);
    f0_is_newer(&w);
    is_killed(&w, takes_its_name);
    took_its_name(&w);
    rig_take_away(w.rig, 0);
    rig_open(w.rig);
    open_tree(&w);
    shows_what_took_it(&w);
    ends_well(&w);
}

static void dies(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

static void takes_its_name_and_dies(struct world *w)
{
    links(w, "f0", "c");
    rig_tap(w->rig, DRV_FAULT_RENAME, 1, true, dies); /* f1's own, then f0's to where it is kept */
    rig_ok(rename_at(w, "f1", "f0", 0));
}

/* Between the end of the name and its record: whoever opens it next, with the drive there, makes up for it. */
static void test_killed_before_its_record(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 7);
    f0_is_newer(&w);
    is_killed(&w, takes_its_name_and_dies);
    took_its_name(&w);
    rig_open(w.rig);
    open_tree(&w);
    goes_away(&w);
    shows_what_took_it(&w);
    ends_well(&w);
}

/* What is made anew by the name is not protected, and went with the drive: nobody gets the other's bytes for it. */
static void test_made_anew(void **state)
{
    struct world w;
    const struct pool_new new = {.kind = POOL_REG, .mode = 0600};
    struct pool_attr attr;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 8);
    follows(&w, "f0", "c");
    is_now(&w, "f0", "c");
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "f0", &new, &attr));
    if (!rig_holds(w.rig, 0, "f0")) { /* wherever it was put, what follows is of the first drive */
        rig_ok(unlink_at(&w, "f0"));
        struct drv_file *file;
        rig_ok(drv_file_open(
            w.rig->drive[0].raw, "f0", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
        drv_file_close(file);
    }
    goes_away(&w);
    reads_it(&w, "c", "f0");
    destroy(&w);
}

/* As an editor saves: what was there has another name, and what the catalog does not know takes its place. */
static void test_replaced(void **state)
{
    struct world w;
    struct drv_file *file;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 11);
    links(&w, "f0", "f0~");
    is_now(&w, "f0", "f0~");
    rig_ok(
        drv_file_open(w.rig->drive[0].raw, "new", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    comes_to_be(&w, "new");
    rig_ok(rename_at(&w, "new", "f0", 0));
    goes_away(&w);
    reads_it(&w, "f0~", "f0 new");
    comes_back(&w, NULL);
    lists(&w, "", "f0 f0~", "new");
    destroy(&w);
}

static void goes_too(void *arg, enum drv_fault_op op, const char *path)
{
    struct drv *raw = arg;
    struct drv_file *file;
    (void)op;
    rig_ok(drv_unlink(raw, path));
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
}

/* Between the look at the other name and the record: what has that by then does not show as the file. */
static void test_the_other_goes_meanwhile(void **state)
{
    struct world w;
    struct held held;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 12);
    close_tree(&w);
    hold_monitor(&w, &held); /* it would look at it, too */
    links(&w, "f0", "c");
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT,
        .prefix = "c",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .late = true,
        .hook = goes_too,
        .arg = w.rig->drive[0].raw};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    rig_ok(unlink_at(&w, "f0"));
    rig_clear_faults(w.rig);
    release_monitor(&held);
    close_tree(&w);
    rig_take_away(w.rig, 0);
    open_tree(&w); /* by the records alone */
    lists(&w, "", "f1", "f0 c");
    destroy(&w);
}

/* --- what stripes count on --- */

/* The names that the catalog has went; that another is recorded is no reason to keep nothing: it may be lost. */
static void test_kept_all_the_same(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 9);
    links(&w, "f0", "b");
    close_tree(&w);
    rig_sync(w.rig);
    open_tree(&w);
    follows(&w, "f0", "c");
    rig_ok(unlink_at(&w, "b"));
    close_tree(&w);
    rig_close(w.rig);
    rig_ok(drv_unlink(w.rig->drive[0].raw, "c")); /* as if it had not been durable */
    file_of(&w, "f0")->there = false;
    rig_open(w.rig);
    nobody_suffers(w.rig, "f0");
}

/* --- a drive that never comes back --- */

static void test_rebuilt(void **state)
{
    const struct pool_rebuild_options options = {.drive = "d0"};
    struct pool_rebuild_report report;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 10);
    takes_its_name(&w);
    goes_away(&w);
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    is_now(&w, "f0", "c");
    strcpy(w.rig->file[1].path, "f0");
    unsigned c = 0, f0 = 0;
    for (unsigned d = 1; d < w.rig->n; d++) {
        c += rig_holds(w.rig, d, "c") ? d : 0;
        f0 += rig_holds(w.rig, d, "f0");
    }
    assert_true(c > 0);
    assert_int_equal(f0, 1);
    assert_true(rig_original_is_right(w.rig, c, file_of(&w, "c")));
    destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_shows_by_the_new_name),
        cmocka_unit_test(test_linked_again),
        cmocka_unit_test(test_several_times),
        cmocka_unit_test(test_renamed_meanwhile),
        cmocka_unit_test(test_all_names_go),
        cmocka_unit_test(test_removed_while_away),
        cmocka_unit_test(test_another_has_its_name),
        cmocka_unit_test(test_another_has_its_name_and_it_is_killed),
        cmocka_unit_test(test_killed_before_its_record),
        cmocka_unit_test(test_made_anew),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_the_other_goes_meanwhile),
        cmocka_unit_test(test_kept_all_the_same),
        cmocka_unit_test(test_rebuilt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
