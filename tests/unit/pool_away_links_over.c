/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A protected file's name is taken by another file, on its drive or on another, or goes, while the file has names besides: what shows
 * while its drive is away, also where that died, or what was done could not be recorded, in the middle of it.
 */
#include "tests/unit/pool_away_links_world.h"

#include "pool/change/tree_record.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SEED = 1061 };

/* --- what is recorded --- */

static unsigned syncs; /* of the file `moved` */

/* In the place of the library's. */
int fdatasync(int fd)
{
    char link[40], path[400];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path);
    syncs += n > 6 && memcmp(path + n - 6, "/moved", 6) == 0;
    return (int)syscall(SYS_fdatasync, fd);
}

static unsigned steps_of(struct world *w, enum pool_moved_kind kind)
{
    struct pool_moved_steps steps;
    unsigned n = 0;
    rig_ok(pool_moved_steps(w->pool, rig_pool_drive(w->rig, 0)->meta.id, &steps));
    for (size_t i = 0; i < steps.n; i++)
        n += steps.step[i].kind == kind;
    pool_moved_steps_free(&steps);
    return n;
}

static void moved_is(struct world *w, off_t size)
{
    char path[300];
    snprintf(path, sizeof path, "%s/pool/moved", w->rig->dir);
    assert_int_equal(truncate(path, size), 0);
}

static unsigned over_records(struct world *w)
{
    char path[300];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/pool", w->rig->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        n += strncmp(entry->d_name, "over-", 5) == 0;
    closedir(dir);
    return n;
}

/* --- on its drive --- */

/* In this process, and in the next. */
static void read_both(struct world *w, const char *a, const char *b, const char *has_not)
{
    for (unsigned i = 0; i < 2; i++) {
        reads(w, a);
        reads(w, b);
        lists(w, "", a, has_not);
        lists(w, "", b, has_not);
        close_tree(w);
        open_tree(w);
    }
}

/* `ln f0 c`, `mv other f0` */
static void replaces(struct world *w)
{
    links(w, "f0", "c");
    is_now(w, "f0", "c");
    rig_ok(rename_at(w, "other", "f0", 0));
}

static void test_replaced_by_what_is_known(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED);
    replaces(&w);
    goes_away(&w);
    read_both(&w, "c", "f0", "other");
    ends_well(&w);
}

static void test_replaced_and_rebuilt(void **state)
{
    const struct pool_rebuild_options options = {.drive = "d0"};
    struct pool_rebuild_report report;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 1);
    replaces(&w);
    goes_away(&w);
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    unsigned found = 0;
    for (unsigned d = 1; d < w.rig->n; d++) {
        found += rig_holds(w.rig, d, "c") && rig_original_is_right(w.rig, d, file_of(&w, "c"));
        found += rig_holds(w.rig, d, "f0") && rig_original_is_right(w.rig, d, file_of(&w, "f0"));
    }
    assert_int_equal(found, 2);
    destroy(&w);
}

/* The rename fails: all is as it was. */
static void test_not_replaced(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 2);
    links(&w, "f0", "c");
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_RENAME, .prefix = "other", .times = 1, .err = MRMR_DENIED};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    assert_int_equal(rename_at(&w, "other", "f0", 0), MRMR_DENIED);
    rig_clear_faults(w.rig);
    goes_away(&w);
    read_both(&w, "f0", "other", "c");
    ends_well(&w);
}

/* --- the catalog has the other name --- */

static void test_the_other_is_known(void **state)
{
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 3);
    links(&w, "f0", "c");
    close_tree(&w);
    rig_sync(w.rig);
    open_tree(&w);
    rig_ok(look_at(&w, "f0", &attr));
    rig_ok(look_at(&w, "c", &attr)); /* and is held, as by whoever has looked */
    syncs = 0;
    rig_ok(unlink_at(&w, "f0"));
    assert_int_equal(syncs, 0);
    assert_int_equal(steps_of(&w, POOL_MOVED_REMOVED), 1);
    assert_int_equal(steps_of(&w, POOL_MOVED_RENAME), 0);
    is_now(&w, "f0", "c");
    goes_away(&w);
    reads_it(&w, "c", "f0");
    ends_well(&w);
}

/* The catalog has it, and its file has gone elsewhere: it shows by what is recorded alone. */
static void test_the_other_is_known_elsewhere(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 4);
    links(&w, "f0", "c");
    close_tree(&w);
    rig_sync(w.rig);
    open_tree(&w);
    rig_ok(rename_at(&w, "c", "d", 0));
    links(&w, "d", "c");
    rig_ok(unlink_at(&w, "d"));
    rig_ok(unlink_at(&w, "f0"));
    is_now(&w, "f0", "c");
    goes_away(&w);
    reads_it(&w, "c", "f0 d");
    ends_well(&w);
}

/* By the name that it has again it is removed while its drive is away; by that it is not there any more, and its other name is not taken
 * for it. */
static void test_the_wrong_name_stays(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 5);
    links(&w, "f0", "c");
    rig_ok(unlink_at(&w, "f0"));
    links(&w, "c", "f0");
    goes_away(&w);
    rig_ok(unlink_at(&w, "f0"));
    rig_ok(drv_unlink(w.rig->drive[0].raw, "f0"));
    is_now(&w, "f0", "c");
    comes_back(&w, NULL);
    assert_true(rig_holds(w.rig, 0, "c"));
    goes_away(&w);
    ends_well(&w);
}

/* --- the drive dies --- */

/* From the look number `after` on at the name c. */
static void does_not_answer(struct world *w, uint64_t after, mrmr_err err)
{
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_STAT, .prefix = "c", .after = after, .err = err};
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
}

/* Nobody else looks at it meanwhile. */
static void begin_held(struct world *w, struct held *held, uint64_t seed)
{
    begin(w, RIG_LOCAL, seed);
    close_tree(w);
    hold_monitor(w, held);
    links(w, "f0", "c");
}

/* By the records alone. */
static void without_the_drive(struct world *w, struct held *held)
{
    rig_clear_faults(w->rig);
    release_monitor(held);
    close_tree(w);
    rig_take_away(w->rig, 0);
    open_tree(w);
}

/* That it does not answer does not say that the other name went, too. */
static void test_it_dies_after_the_record(void **state)
{
    struct world w;
    struct held held;
    (void)state;
    begin_held(&w, &held, SEED + 6);
    does_not_answer(&w, 1, MRMR_OFFLINE);
    rig_ok(unlink_at(&w, "f0"));
    is_now(&w, "f0", "c");
    without_the_drive(&w, &held);
    reads_it(&w, "c", "f0");
    ends_well(&w);
}

/* Nor that there is none. */
static void test_it_dies_before_the_record(void **state)
{
    struct world w;
    struct held held;
    (void)state;
    begin_held(&w, &held, SEED + 7);
    does_not_answer(&w, 0, MRMR_OFFLINE);
    rig_ok(unlink_at(&w, "f0"));
    without_the_drive(&w, &held);
    reads_it(&w, "f0", "c");
    destroy(&w);
}

static void test_it_dies_before_a_rename(void **state)
{
    struct world w;
    struct held held;
    (void)state;
    begin_held(&w, &held, SEED + 8);
    does_not_answer(&w, 0, MRMR_IO);
    assert_int_equal(rename_at(&w, "other", "f0", 0), MRMR_IO);
    without_the_drive(&w, &held);
    read_both(&w, "f0", "other", "c");
    ends_well(&w);
}

/* Nor does what may not be asked for: it is not given up for gone, and is rebuilt. */
static void test_what_may_not_be_looked_at(void **state)
{
    const struct pool_rebuild_options options = {.drive = "d0"};
    struct pool_rebuild_report report;
    struct world w;
    struct held held;
    (void)state;
    begin_held(&w, &held, SEED + 16);
    does_not_answer(&w, 0, MRMR_DENIED);
    rig_ok(unlink_at(&w, "f0"));
    without_the_drive(&w, &held);
    reads(&w, "f0");
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    unsigned found = 0;
    for (unsigned d = 1; d < w.rig->n; d++)
        found += rig_holds(w.rig, d, "f0") && rig_original_is_right(w.rig, d, file_of(&w, "f0"));
    assert_int_equal(found, 1);
    destroy(&w);
}

/* One that does not answer decides for no other: neither whether there is one, nor whether what is asked for may be done. */
static void by_the_name_that_answers(uint64_t seed, mrmr_err err, bool replace)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT, .prefix = "c", .err = err};
    struct world w;
    struct held held;
    begin_held(&w, &held, seed);
    links(&w, "f0", "d");
    links(&w, "f0", "c2"); /* the last one made is asked for first */
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    is_now(&w, "f0", "d");
    rig_ok(replace ? rename_at(&w, "other", "f0", 0) : unlink_at(&w, "f0"));
    without_the_drive(&w, &held);
    reads(&w, "d");
    lists(&w, "", "d", replace ? "c c2 other" : "c c2 f0");
    destroy(&w);
}

static void test_one_that_does_not_answer(void **state)
{
    (void)state;
    by_the_name_that_answers(SEED + 17, MRMR_IO, false);
    by_the_name_that_answers(SEED + 18, MRMR_DENIED, false);
    by_the_name_that_answers(SEED + 19, MRMR_IO, true);
}

/* --- over another drive's file --- */

static void dies(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

static void renames_and_dies(struct world *w)
{
    rig_tap(w->rig, DRV_FAULT_RENAME, 0, true, dies);
    rig_ok(rename_at(w, "f1", "f0", 0));
}

static void removes_and_dies(struct world *w)
{
    rig_tap(w->rig, DRV_FAULT_RENAME, 1, true, dies); /* f1's own, then f0's to where it is kept */
    rig_ok(rename_at(w, "f1", "f0", 0));
}

/* What was to be replaced is edited after the cut, and has its size and time again. */
static void test_edited_after_a_cut(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 9);
    f0_is_newer(&w);
    is_killed(&w, renames_and_dies);
    assert_int_equal(over_records(&w), 1);
    const int64_t mtime = rig_mtime(w.rig, "f0");
    rig_edit(w.rig, "f0", 0, 1000);
    rig_set_mtime(w.rig, "f0", mtime);
    rig_open(w.rig);
    open_tree(&w);
    assert_int_equal(over_records(&w), 0);
    assert_true(rig_original_is_right(w.rig, 0, file_of(&w, "f0")));
    destroy(&w);
}

/* What nobody has edited goes. */
static void test_not_edited_after_a_cut(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 10);
    f0_is_newer(&w);
    is_killed(&w, renames_and_dies);
    rig_open(w.rig);
    open_tree(&w);
    assert_int_equal(over_records(&w), 0);
    assert_false(rig_holds(w.rig, 0, "f0"));
    destroy(&w);
}

/* That its name went cannot be recorded: whoever opens the tree next makes up for it. */
static void test_not_recorded(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 11);
    f0_is_newer(&w);
    links(&w, "f4", "g"); /* so that there are records */
    moved_is(&w, 33 << 20);
    file_of(&w, "f0")->there = false;
    rig_ok(rename_at(&w, "f1", "f0", 0));
    assert_int_equal(over_records(&w), 1);
    close_tree(&w);
    moved_is(&w, 0);
    open_tree(&w);
    assert_int_equal(over_records(&w), 0);
    goes_away(&w);
    reads_it(&w, "f0", "f1");
    destroy(&w);
}

static void goes(struct rig *rig, struct rig_drive *drive)
{
    assert_ptr_equal(drive, &rig->drive[0]);
    rig_take_away(rig, 0);
}

/* Its drive goes when it was removed, and does not say any more by which name it lives on. */
static void test_it_dies_with_the_other(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 15);
    f0_is_newer(&w);
    links(&w, "f0", "c");
    is_now(&w, "f0", "c");
    rig_tap(w.rig, DRV_FAULT_RENAME, 1, true, goes); /* f1's own, then f0's to where it is kept */
    rig_ok(rename_at(&w, "f1", "f0", 0));
    assert_false(rig_present(w.rig, 0));
    reads_it(&w, "f0", "f1");
    rig_untap(w.rig);
    ends_well(&w);
}

/* What was recorded in another epoch is synced, too. */
static void test_durable(void **state)
{
    const struct drv_stat stat = {.ino = 5};
    struct tree_records *records;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 12);
    rig_ok(tree_records_open(w.pool, &records));
    tree_record_went(records, 1, "a", &stat, POOL_MOVED_REMOVED, NULL, 1);
    rig_ok(tree_record_touched(records, 1, 5, 0, 2));
    syncs = 0;
    rig_ok(tree_records_sync(records));
    assert_int_equal(syncs, 1);
    tree_records_close(records);
    destroy(&w);
}

/* It has a name that nobody had seen: what was recorded after a cut, when nobody knew any more when it was born, is taken back when it is
 * given its old one. */
static void test_given_again_after_a_cut(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 13);
    f0_is_newer(&w);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "c"));
    is_killed(&w, removes_and_dies);
    rig_open(w.rig);
    open_tree(&w);
    assert_int_equal(over_records(&w), 0);
    assert_int_equal(steps_of(&w, POOL_MOVED_REMOVED), 1);
    rig_ok(unlink_at(&w, "f0")); /* what was renamed to it */
    links(&w, "c", "f0");
    assert_int_equal(steps_of(&w, POOL_MOVED_REMOVED), 0);
    goes_away(&w);
    reads_it(&w, "f0", "c");
    destroy(&w);
}

/* --- what was made cannot be recorded --- */

static void count(enum mrmr_log_level level, const char *line, void *arg)
{
    unsigned *warned = arg;
    (void)level;
    *warned += strstr(line, "names that are made now") != NULL;
}

static void test_it_is_told_once(void **state)
{
    struct world w;
    unsigned warned = 0;
    (void)state;
    begin(&w, RIG_LOCAL, SEED + 14);
    links(&w, "f0", "a");
    moved_is(&w, 17 << 20);
    mrmr_log_set(count, &warned, MRMR_LOG_WARN);
    links(&w, "f0", "b");
    links(&w, "f0", "c");
    mrmr_log_set(NULL, NULL, MRMR_LOG_WARN);
    assert_int_equal(warned, 1);
    destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaced_by_what_is_known),
        cmocka_unit_test(test_replaced_and_rebuilt),
        cmocka_unit_test(test_not_replaced),
        cmocka_unit_test(test_the_other_is_known),
        cmocka_unit_test(test_the_other_is_known_elsewhere),
        cmocka_unit_test(test_the_wrong_name_stays),
        cmocka_unit_test(test_it_dies_after_the_record),
        cmocka_unit_test(test_it_dies_before_the_record),
        cmocka_unit_test(test_it_dies_before_a_rename),
        cmocka_unit_test(test_what_may_not_be_looked_at),
        cmocka_unit_test(test_one_that_does_not_answer),
        cmocka_unit_test(test_edited_after_a_cut),
        cmocka_unit_test(test_not_edited_after_a_cut),
        cmocka_unit_test(test_not_recorded),
        cmocka_unit_test(test_it_dies_with_the_other),
        cmocka_unit_test(test_durable),
        cmocka_unit_test(test_given_again_after_a_cut),
        cmocka_unit_test(test_it_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
