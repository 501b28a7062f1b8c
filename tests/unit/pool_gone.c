/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is removed while its drive is away: it does not show any more, it goes from the drive when that
 * is back, by whoever sees it first, and nobody else's protection goes with it (I3); what is another
 * version by then stays.
 */
#include "pool/return/gone_apply.h"
#include "tests/unit/pool_gone_world.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MANY = 30 };

/* --- files --- */

static void test_unlinked(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 301);
    unsigned entries = count_ls(&w, "");
    rig_ok(is_there(&w, "f0"));
    removes(&w, "f0");
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(is_listed(&w, "f0"));
    assert_int_equal(unlink_at(&w, "f0"), MRMR_ABSENT);
    assert_int_equal(count_ls(&w, ""), entries - 1); /* by the catalog */
    assert_int_equal(pool_where(w.rig->pool, "f0", count_listed, &entries), MRMR_ABSENT);
    close_tree(&w); /* it is remembered */
    open_tree(&w);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(is_listed(&w, "f0"));
    rig_ok(is_there(&w, "other"));
    assert_true(rig_holds(w.rig, 0, "f0"));
    comes_back(&w, "f0");
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_false(is_listed(&w, "f0"));
    rig_ok(is_there(&w, "other"));
    assert_int_equal(records(&w, false), 0);
    goes_away(&w); /* the catalog has it still */
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    no_new_rows(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_int_equal(records(&w, true), 0);
    nobody_suffers(w.rig, "f0");
}

/* Nobody looks until the owner syncs. */
static void test_unlinked_then_sync(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 302);
    removes(&w, "f0");
    close_tree(&w);
    rig_sync(w.rig); /* the drive is not there: nothing is forgotten */
    assert_int_equal(records(&w, false), 1);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    no_new_rows(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    nobody_suffers(w.rig, "f0");
}

/* By the first who opens a tree. */
static void test_unlinked_then_mount(void **state)
{
    struct world w;
    struct pool_status status;
    (void)state;
    begin_away(&w, 303);
    removes(&w, "f0");
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    open_tree(&w);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_ok(pool_status(w.rig->pool, &status)); /* nothing is exposed by that */
    assert_true(!status.touched_files && !status.touched_oldest);
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* Its folder is read anew a moment after the drive is live. */
static void shows_again(struct world *w, const char *path)
{
    const int64_t end = mrmr_clock_monotonic() + 20 * MRMR_NS_PER_S;
    while (is_there(w, path) == MRMR_ABSENT && mrmr_clock_monotonic() < end)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    rig_ok(is_there(w, path));
}

/* Somebody changed it on the drive while that was not ours. */
static void test_another_version(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 304);
    rig_ok(unlink_at(&w, "f0"));
    rig_edit(w.rig, "f0", 100, 5000);
    comes_back(&w, NULL);
    assert_true(rig_holds(w.rig, 0, "f0"));
    shows_again(&w, "f0");
    assert_int_equal(records(&w, false), 0);
    close_tree(&w);
    rig_protect_all(w.rig);
    assert_int_equal(records(&w, true), 0);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

static mrmr_err count_conflicts(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "conflict") == 0;
    return MRMR_OK;
}

/* The same, with the name given to another file meanwhile; the owner tells of it. */
static void test_made_anew_and_another_version(void **state)
{
    struct world w;
    unsigned conflicts = 0;
    (void)state;
    begin_away(&w, 305);
    rig_ok(unlink_at(&w, "f0"));
    make_anew(&w, "f0", "new");
    rig_edit(w.rig, "f0", 100, 5000);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    rig_ok(pool_events(w.rig->pool, 0, 1000, count_conflicts, &conflicts));
    assert_int_equal(conflicts, 1);
    assert_true(rig_holds(w.rig, 0, "f0"));
    rig_check_originals(w.rig);
    destroy(&w);
}

static void test_made_anew(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 306);
    removes(&w, "f0");
    make_anew(&w, "f0", "new");
    assert_true(has_text(&w, "f0", "new"));
    comes_back(&w, NULL);
    assert_true(has_text(&w, "f0", "new"));
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_ok(unlink_at(&w, "f0"));
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

static void test_renamed_over(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 307);
    make_anew(&w, "new", "new");
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    rig_find(w.rig, "f0")->there = false;
    assert_true(has_text(&w, "f0", "new"));
    assert_int_equal(records(&w, false), 1);
    comes_back(&w, "new");
    assert_true(has_text(&w, "f0", "new"));
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_ok(unlink_at(&w, "f0"));
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* An older copy, which did not show, does not show in the place of the one that was renamed. */
static void test_hidden_copies(void **state)
{
    struct world w;
    struct drv_file *raw;
    (void)state;
    begin_away(&w, 308);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_put(w.rig, 0, "twice", 100)->there = false;
    rig_sync(w.rig);
    rig_ok(
        drv_file_open(w.rig->drive[2].raw, "twice", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    rig_ok(drv_file_write(raw, 0, "newer", 5));
    drv_file_close(raw);
    rig_take_away(w.rig, 0);
    open_tree(&w);
    assert_true(has_text(&w, "twice", "newer"));
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "twice", POOL_ROOT, "moved", 0));
    assert_int_equal(is_there(&w, "twice"), MRMR_ABSENT);
    comes_back(&w, "twice");
    assert_false(rig_holds(w.rig, 0, "twice"));
    assert_true(has_text(&w, "moved", "newer"));
    destroy(&w);
}

/* One of two names of a file. */
static void test_one_of_two_names(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 309);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "link"));
    rig_reopen(w.rig);
    rig_sync(w.rig);
    rig_take_away(w.rig, 0);
    open_tree(&w);
    rig_ok(unlink_at(&w, "link"));
    rig_ok(is_there(&w, "f0"));
    comes_back(&w, "link");
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_false(rig_holds(w.rig, 0, "link"));
    assert_int_equal(count_retained(w.rig, 0), 0); /* it is where it was */
    close_tree(&w);
    rig_sync(w.rig);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

/* --- folders --- */

static void test_folders(void **state)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin_away(&w, 310);
    assert_int_equal(rmdir_at(&w, "folder"), MRMR_NOT_EMPTY);
    assert_int_equal(rmdir_at(&w, "folder/in"), MRMR_NOT_EMPTY);
    removes(&w, "folder/in/one");
    rig_ok(rmdir_at(&w, "folder/in"));
    assert_int_equal(is_there(&w, "folder/in"), MRMR_ABSENT);
    assert_int_equal(rmdir_at(&w, "folder"), MRMR_NOT_EMPTY);
    removes(&w, "folder/two");
    removes(&w, "folder/three");
    rig_ok(rmdir_at(&w, "folder"));
    assert_int_equal(is_there(&w, "folder"), MRMR_ABSENT);
    assert_false(is_listed(&w, "folder"));
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "folder", &folder, &attr)); /* anew */
    assert_int_equal(rmdir_at(&w, "folder/in"), MRMR_ABSENT);
    comes_back(&w, "folder/in");
    rig_ok(is_there(&w, "folder"));
    assert_false(rig_holds(w.rig, 0, "folder"));
    pool_tree_forget(w.tree, attr.node, 1);
    close_tree(&w);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

/* Something new lies in it on the drive. */
static void test_folder_is_not_empty(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 311);
    removes(&w, "folder/in/one");
    rig_ok(rmdir_at(&w, "folder/in"));
    rig_put(w.rig, 0, "folder/in/late", 100);
    comes_back(&w, NULL);
    int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (is_there(&w, "folder/in/late")) /* its folders are read anew in a moment */
        assert_true(mrmr_clock_monotonic() < until);
    assert_int_equal(is_there(&w, "folder/in/one"), MRMR_ABSENT);
    assert_false(rig_holds(w.rig, 0, "folder/in/one"));
    rig_check_originals(w.rig);
    destroy(&w);
}

/* An empty folder of a drive that is away, replaced by another one. */
static void test_folder_renamed_over(void **state)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin_away(&w, 312);
    removes(&w, "folder/in/one");
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "new", &folder, &attr));
    const char *name;
    uint64_t to = folder_of(&w, "folder/in", &name);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", to, name, 0));
    comes_back(&w, "new");
    rig_ok(is_there(&w, "folder/in"));
    assert_false(rig_holds(w.rig, 0, "folder/in"));
    pool_tree_forget(w.tree, attr.node, 1);
    destroy(&w);
}

/* Most of a drive's files, with their folder: the user's word, and no hold. */
static void remove_many(uint64_t seed, bool away)
{
    struct world w;
    char path[40];
    begin_away(&w, seed);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_ok(pool_set(w.rig->pool, "hold-percent", "30"));
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many/%u", i);
        rig_put(w.rig, 0, path, 5000 + i);
    }
    rig_protect_all(w.rig);
    if (away)
        rig_take_away(w.rig, 0);
    open_tree(&w);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many/%u", i);
        removes(&w, path);
    }
    rig_ok(rmdir_at(&w, "many"));
    if (away)
        comes_back(&w, "many");
    assert_false(rig_holds(w.rig, 0, "many"));
    close_tree(&w);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_string_equal(rig_pool_drive(w.rig, 0)->meta.hold, "");
    rig_protect_all(w.rig);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

static void test_many(void **state)
{
    (void)state;
    remove_many(313, true);
}

static void test_many_present(void **state)
{
    (void)state;
    remove_many(319, false);
}

/* --- what fails --- */

/* It cannot be taken from the drive: it does not show all the same, and goes next time. */
static void test_applying_fails(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 314);
    removes(&w, "f0");
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_CHANGES, .prefix = ".mrmr/retained", .err = MRMR_SPACE};
    rig_bring_back(w.rig, 0);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &full, NULL));
    int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (!tree_live(&w.tree->drive[0]))
        assert_true(mrmr_clock_monotonic() < until);
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(is_listed(&w, "f0"));
    assert_int_equal(records(&w, false), 1);
    rig_reopen(w.rig); /* it sees the drive, too, and the name is none of the pool all the same */
    unsigned copies = 0;
    assert_int_equal(pool_where(w.rig->pool, "f0", count_listed, &copies), MRMR_ABSENT);
    struct pool_status status;
    rig_ok(pool_status(w.rig->pool, &status));
    assert_int_equal(status.noted, 1); /* that it waits */
    close_tree(&w);
    rig_clear_faults(w.rig);
    open_tree(&w);
    assert_false(rig_holds(w.rig, 0, "f0"));
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* Another process is at it, and waits for a drive of its own: this one serves all the same, and goes on
 * hiding what was removed. A mount tells who that is. */
static void test_another_applies(void **state)
{
    struct pool_gone *other;
    struct world w;
    size_t left;
    (void)state;
    begin_away(&w, 315);
    removes(&w, "f0");
    rig_ok(pool_gone_open(w.rig->pool->dirfd, true, &other));
    rig_ok(pool_gone_apply_begin(other, NULL, 0, 0));
    comes_back(&w, "f0");
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(records(&w, false), 1);
    assert_int_equal(pool_gone_apply(w.pool, NULL, w.tree->gone, w.tree->drive[0].drive,
                         &w.tree->drive[0].keeping, &left),
        MRMR_BUSY);
    assert_non_null(strstr(mrmr_story_get()->text, "is in use by"));
    pool_gone_apply_end(other);
    pool_gone_close(other);
    close_tree(&w);
    open_tree(&w);
    assert_false(rig_holds(w.rig, 0, "f0"));
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* An edit in place that set its time back, and that nobody has compared yet, is not replaced, nor removed for a copy. */
static void test_edited_and_not_compared(void **state)
{
    struct world w;
    struct pool_gone *other;
    unsigned conflicts = 0;
    (void)state;
    begin_away(&w, 317);
    rig_ok(unlink_at(&w, "f0"));
    const int64_t then = rig_mtime(w.rig, "f0");
    rig_edit(w.rig, "f0", 100, 5000);
    rig_set_mtime(w.rig, "f0", then);
    rig_ok(pool_gone_open(w.rig->pool->dirfd, true, &other));
    rig_ok(pool_gone_apply_begin(other, NULL, 0, 0));
    comes_back(&w, NULL);
    assert_int_equal(records(&w, false), 1);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    rig_ok(is_there(&w, "other")); /* on the same drive */
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "f0", 0), MRMR_BUSY);
    rig_ok(is_there(&w, "other"));
    pool_gone_apply_end(other);
    pool_gone_close(other);
    close_tree(&w);
    rig_sync(w.rig);
    rig_ok(pool_events(w.rig->pool, 0, 1000, count_conflicts, &conflicts));
    assert_int_equal(conflicts, 1);
    assert_true(rig_holds(w.rig, 0, "f0"));
    rig_check_originals(w.rig);
    destroy(&w);
}

/* Another drive of this mount takes its time: what waits for this one is done after that, however long it is. */
static void test_waits_for_another_drive(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 320);
    removes(&w, "f0");
    rig_ok(pool_gone_apply_begin(w.tree->gone, NULL, 0, 0));
    rig_bring_back(w.rig, 0);
    const int64_t end =
        mrmr_clock_monotonic() + 6 * MRMR_NS_PER_S; /* it is looked for once in three seconds */
    while (mrmr_clock_monotonic() < end && !tree_live(&w.tree->drive[0]))
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_false(tree_live(&w.tree->drive[0]));
    pool_gone_apply_end(w.tree->gone);
    while (!tree_live(&w.tree->drive[0]))
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(records(&w, false), 0);
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* At the first thing that is done to the drive that comes back another one comes back, too. */
static void another_comes_back(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    const int64_t end = mrmr_clock_monotonic() + 20 * MRMR_NS_PER_S;
    (void)op;
    (void)path;
    rig_bring_back(w->rig, 1);
    while (!tree_live(&w->tree->drive[1]) && mrmr_clock_monotonic() < end)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Whatever a drive that comes back has to do first, and for how long, the others are looked after. */
static void test_two_come_back(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 318);
    removes(&w, "f0");
    rig_take_away(w.rig, 1);
    rig_ok(is_there(&w, "f1"));
    assert_false(tree_live(&w.tree->drive[1]));
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_RENAME | DRV_FAULT_UNLINK,
        .prefix = "f0",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = another_comes_back,
        .arg = &w};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    comes_back(&w, "f0");
    assert_true(tree_live(&w.tree->drive[1]));
    assert_false(rig_holds(w.rig, 0, "f0"));
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* It has a name besides that no scan has seen. */
static void test_unlinked_and_linked_besides(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 319);
    removes(&w, "f0");
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "besides"));
    comes_back(&w, NULL);
    assert_false(rig_holds(w.rig, 0, "f0"));
    close_tree(&w);
    rig_ok(drv_mkdirs(w.rig->drive[0].raw, ".Trash-9", 0755)); /* which is left out */
    rig_ok(drv_rename(w.rig->drive[0].raw, "besides", ".Trash-9/x", 0));
    nobody_suffers(w.rig, "f0");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unlinked),
        cmocka_unit_test(test_unlinked_then_sync),
        cmocka_unit_test(test_unlinked_then_mount),
        cmocka_unit_test(test_another_version),
        cmocka_unit_test(test_made_anew_and_another_version),
        cmocka_unit_test(test_made_anew),
        cmocka_unit_test(test_renamed_over),
        cmocka_unit_test(test_hidden_copies),
        cmocka_unit_test(test_one_of_two_names),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_folder_is_not_empty),
        cmocka_unit_test(test_folder_renamed_over),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_present),
        cmocka_unit_test(test_applying_fails),
        cmocka_unit_test(test_another_applies),
        cmocka_unit_test(test_edited_and_not_compared),
        cmocka_unit_test(test_two_come_back),
        cmocka_unit_test(test_waits_for_another_drive),
        cmocka_unit_test(test_unlinked_and_linked_besides),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone", tests, NULL, NULL);
}
