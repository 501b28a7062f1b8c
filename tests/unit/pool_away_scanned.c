/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file that was made since the last scan is met by the next one under its name, and loses that through the mount before the
 * catalog has it: when the drive goes then it shows by the name that it has, and by no other. What the scan did not meet under its old name is in
 * nobody's way.
 */
#include "tests/unit/pool_tree_user.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SEED = 1400, OWN = 5 /* the drive that has all of it */, X = 1111, Y = 2222, NEW = 3333 };

/* Of the scan: before it looks into z, when it has read a; and when it has met all, and the catalog has nothing of it for good. */
enum moment { EARLY, MET, MOMENTS };

struct scanned {
    struct world w;
    void (*at[MOMENTS])(struct world *w);
    bool done[MOMENTS];
};

static void happens(struct scanned *s, enum moment moment)
{
    if (s->done[moment])
        return;
    s->done[moment] = true;
    if (s->at[moment])
        s->at[moment](&s->w);
}

static void early_hook(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    happens(arg, EARLY);
}

static void met_hook(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    happens(arg, MET);
}

static void file_made(struct world *w, const char *path, size_t size)
{
    static const char bytes[NEW];
    struct pool_tree_file *file;
    struct pool_attr attr;
    const char *name;
    const uint64_t folder = folder_of(w, path, &name);
    rig_ok(pool_tree_create(w->tree, NULL, folder, name, 0600, &attr, &file));
    rig_ok(pool_tree_file_write(file, 0, bytes, size));
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
    assert_true(rig_holds(w->rig, OWN, path));
}

static void linked(struct world *w, const char *from, const char *to)
{
    struct pool_attr attr, made;
    const char *name;
    const uint64_t folder = folder_of(w, to, &name);
    rig_ok(look_at(w, from, &attr));
    rig_ok(pool_tree_link(w->tree, NULL, attr.node, folder, name, &made));
    pool_tree_forget(w->tree, attr.node, 2);
}

static uint64_t moved_size(struct world *w)
{
    struct stat st = {.st_size = 0};
    fstatat(w->rig->pool->dirfd, "moved", &st, 0);
    return (uint64_t)st.st_size;
}

static void drive_goes(struct world *w)
{
    close_tree(w);
    rig_reopen(w->rig);
    rig_take_away(w->rig, OWN);
    open_tree(w);
}

static void drive_is_back(struct world *w)
{
    close_tree(w);
    rig_bring_back(w->rig, OWN);
    rig_reopen(w->rig);
}

static void rule_add(struct scanned *s, uint32_t op, const char *prefix, drv_fault_hook hook)
{
    const struct drv_fault_rule rule = {
        .ops = op, .prefix = prefix, .action = DRV_FAULT_HOOK, .hook = hook, .arg = s};
    rig_ok(drv_fault_add(s->w.rig->drive[OWN].fault, &rule, NULL));
}

/* z/x and z/y, a/x and a/y were made since the last scan. */
static void begin_scanned(struct scanned *s, uint64_t seed)
{
    struct world *w = &s->w;
    begin(w, RIG_LOCAL, seed);
    close_tree(w);
    rig_add_drive(w->rig);
    rig_put(w->rig, OWN, "a/keep", 4000);
    rig_put(w->rig, OWN, "z/keep", 4000);
    rig_protect_all(w->rig);
    open_tree(w);
    file_made(w, "a/x", X);
    file_made(w, "a/y", Y);
    file_made(w, "z/x", X);
    file_made(w, "z/y", Y);
}

static void scan(struct scanned *s)
{
    rule_add(s, DRV_FAULT_LIST, "z", early_hook);
    rule_add(s, DRV_FAULT_SYNC_ALL, NULL, met_hook);
    rig_sync(s->w.rig);
    rig_clear_faults(s->w.rig);
    assert_int_equal(s->w.rig->report.held, 0);
    assert_true(s->done[EARLY] && s->done[MET]);
}

/* Whatever the catalog has by then; and at last all is as it should be, and nothing is recorded any more. */
static void shows_right(
    uint64_t seed, struct scanned *s, void (*shows)(struct world *w, bool scanned))
{
    struct world *w = &s->w;
    begin_scanned(s, SEED + seed);
    scan(s);
    drive_goes(w);
    shows(w, false);
    drive_is_back(w);
    rig_sync(w->rig);
    assert_int_equal(w->rig->report.held, 0);
    assert_int_equal(moved_size(w), 0);
    rig_take_away(w->rig, OWN);
    open_tree(w);
    shows(w, true);
    drive_is_back(w);
    rig_verify(w->rig, true);
    rig_destroy(w->rig);
}

static void is_of(struct world *w, const char *path, uint64_t size)
{
    struct pool_attr attr;
    mrmr_err err = look_at(w, path, &attr);
    if (err || attr.size != size)
        fail_msg("'%s': %s, %llu bytes", path, mrmr_err_name(err), (unsigned long long)attr.size);
    pool_tree_forget(w->tree, attr.node, 1);
}

/* --- under the name that it had --- */

static void is_renamed(struct world *w)
{
    rig_ok(rename_at(w, "a/x", "z/x2", 0));
    rig_ok(rename_at(w, "z/x", "a/x2", 0));
}

static void shows_renamed(struct world *w, bool scanned)
{
    (void)scanned;
    is_of(w, "z/x2", X);
    is_of(w, "a/x2", X);
    lists(w, "a", "keep y x2", "x");
    lists(w, "z", "keep y x2", "x");
}

static void test_renamed(void **state)
{
    (void)state;
    struct scanned s = {.at = {[MET] = is_renamed}};
    shows_right(1, &s, shows_renamed);
}

static void is_removed(struct world *w)
{
    rig_ok(unlink_at(w, "a/x"));
    rig_ok(unlink_at(w, "z/x"));
    rig_ok(unlink_at(w, "z/y"));
    rig_ok(unlink_at(w, "z/new"));
    rig_ok(rmdir_at(w, "z/folder"));
}

/* By a mount that has made it beside the scan, and knows that nothing counts on it. */
static void one_is_made(struct world *w)
{
    file_made(w, "z/new", NEW);
    makes(w, "z/folder");
}

static void shows_removed(struct world *w, bool scanned)
{
    (void)scanned;
    lists(w, "a", "keep y", "x");
    lists(w, "z", "keep", "x y new folder");
    assert_int_equal(is_there(w, "z/x"), MRMR_ABSENT);
}

static void test_removed(void **state)
{
    (void)state;
    struct scanned s = {.at = {one_is_made, is_removed}};
    shows_right(2, &s, shows_removed);
}

/* By another that was met, and by one that was not: that one is nobody's until the next scan. */
static void is_replaced(struct world *w)
{
    rig_ok(rename_at(w, "a/x", "a/y", 0));
    file_made(w, "a/new", NEW);
    rig_ok(rename_at(w, "a/new", "z/x", 0));
    rig_ok(rename_at(w, "z/y", "z/y2", 0));
    file_made(w, "z/y", NEW);
}

static void shows_replaced(struct world *w, bool scanned)
{
    is_of(w, "a/y", X);
    is_of(w, "z/y2", Y);
    lists(w, "a", "keep y", "x new");
    lists(w, "z", scanned ? "keep x y y2" : "keep y2", scanned ? "none" : "x y");
}

static void test_replaced(void **state)
{
    (void)state;
    struct scanned s = {.at = {[MET] = is_replaced}};
    shows_right(3, &s, shows_replaced);
}

/* The one lives on by its new name; the other has its name again. */
static void is_linked(struct world *w)
{
    linked(w, "a/x", "a/x2");
    rig_ok(unlink_at(w, "a/x"));
    linked(w, "z/x", "z/x2");
    rig_ok(unlink_at(w, "z/x"));
    linked(w, "z/x2", "z/x");
}

static void shows_linked(struct world *w, bool scanned)
{
    is_of(w, "a/x2", X);
    is_of(w, "z/x", X);
    lists(w, "a", "keep y x2", "x");
    lists(w, "z", scanned ? "keep y x x2" : "keep y x", "none");
}

static void test_linked(void **state)
{
    (void)state;
    struct scanned s = {.at = {[MET] = is_linked}};
    shows_right(4, &s, shows_linked);
}

static void is_exchanged(struct world *w)
{
    rig_ok(rename_at(w, "a/x", "a/y", POOL_RENAME_EXCHANGE));
    rig_ok(rename_at(w, "z/keep", "z/x", POOL_RENAME_EXCHANGE));
}

static void shows_exchanged(struct world *w, bool scanned)
{
    (void)scanned;
    is_of(w, "a/x", Y);
    is_of(w, "a/y", X);
    is_of(w, "z/x", 4000);
    is_of(w, "z/keep", X);
}

static void test_exchanged(void **state)
{
    (void)state;
    struct scanned s = {.at = {[MET] = is_exchanged}};
    shows_right(5, &s, shows_exchanged);
}

/* --- not under that name --- */

/* To where the walk has been, and to where it comes, so that it meets nothing of the one, and the other by its new name; and something new has the
 * names by then. */
static void leaves_its_name(struct world *w)
{
    rig_ok(rename_at(w, "z/x", "a/x2", 0));
    file_made(w, "z/x", NEW);
    rig_ok(rename_at(w, "z/y", "z/y2", 0));
    file_made(w, "z/y", NEW);
}

static void shows_what_came(struct world *w, bool scanned)
{
    is_of(w, "z/x", NEW);
    is_of(w, "z/y", NEW);
    is_of(w, "z/y2", Y);
    lists(w, "z", "keep x y y2", "none");
    lists(w, "a", scanned ? "keep x y x2" : "keep x y", scanned ? "none" : "x2");
}

static void test_another_has_its_name(void **state)
{
    (void)state;
    struct scanned s = {.at = {leaves_its_name}};
    shows_right(6, &s, shows_what_came);
}

/* Folders, and what is in them. */
static void folders_come_and_go(struct world *w)
{
    makes(w, "z/d");
    rig_ok(rename_at(w, "z/d", "z/e", 0));
    rig_ok(rename_at(w, "z/keep", "z/e/was", 0));
    rig_ok(rename_at(w, "z/e", "z/g", 0));
    makes(w, "z/d");
    file_made(w, "z/d/in", NEW);
    makes(w, "z/e");
    file_made(w, "z/e/in", NEW);
    rig_ok(rename_at(w, "z/g/was", "z/keep", 0));
    rig_ok(rmdir_at(w, "z/g"));
    makes(w, "z/g");
    file_made(w, "z/g/in", NEW);
}

static void shows_folders(struct world *w, bool scanned)
{
    static const char *const in[] = {"z/d", "z/e", "z/g"};
    (void)scanned;
    lists(w, "z", "keep d e g", "none");
    reads(w, "z/keep");
    for (unsigned i = 0; i < 3; i++) {
        char path[16];
        snprintf(path, sizeof path, "%s/in", in[i]);
        lists(w, in[i], "in", "was");
        is_of(w, path, NEW);
    }
}

static void test_another_folder_has_its_name(void **state)
{
    (void)state;
    struct scanned s = {.at = {folders_come_and_go}};
    shows_right(9, &s, shows_folders);
}

/* It is gone when something new has the name that it was given, or comes by that as it did. */
static void comes_and_goes(struct world *w)
{
    rig_ok(rename_at(w, "z/x", "z/w", 0));
    rig_ok(unlink_at(w, "z/w"));
    file_made(w, "z/w", NEW);
    rig_ok(rename_at(w, "z/y", "z/v", 0));
    file_made(w, "z/y", NEW);
    rig_ok(rename_at(w, "z/y", "z/v", 0));
}

static void shows_what_is_there(struct world *w, bool scanned)
{
    (void)scanned;
    is_of(w, "z/w", NEW);
    is_of(w, "z/v", NEW);
    lists(w, "z", "keep w v", "x y");
}

static void test_another_has_its_new_name(void **state)
{
    (void)state;
    struct scanned s = {.at = {comes_and_goes}};
    shows_right(7, &s, shows_what_is_there);
}

/* --- when the scan is over --- */

static mrmr_err is_cancelled(struct scanned *s)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST, .prefix = "z", .err = MRMR_NOMEM};
    struct pool_job job = rig_job(s->w.rig);
    struct pool_sync_report report;
    rig_ok(drv_fault_add(s->w.rig->drive[OWN].fault, &rule, NULL));
    mrmr_err err = pool_scan(s->w.rig->pool, &job, false, &report);
    rig_clear_faults(s->w.rig);
    return err;
}

/* Of what the catalog does not have nothing is recorded then, also where the scan failed. */
static void test_after_it(void **state)
{
    (void)state;
    struct scanned s = {.done = {true, true}};
    begin_scanned(&s, SEED + 8);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t size;
        if (i)
            assert_int_equal(is_cancelled(&s), MRMR_NOMEM);
        else
            scan(&s);
        size = moved_size(&s.w);
        file_made(&s.w, "z/new", NEW);
        rig_ok(rename_at(&s.w, "z/new", "z/w", 0));
        rig_ok(unlink_at(&s.w, "z/w"));
        assert_int_equal(moved_size(&s.w), size);
    }
    rig_ok(unlink_at(&s.w, "z/x"));
    assert_int_not_equal(moved_size(&s.w), 0);
    close_tree(&s.w);
    rig_destroy(s.w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_linked),
        cmocka_unit_test(test_exchanged),
        cmocka_unit_test(test_another_has_its_name),
        cmocka_unit_test(test_another_has_its_new_name),
        cmocka_unit_test(test_another_folder_has_its_name),
        cmocka_unit_test(test_after_it),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_scanned", tests, NULL, NULL);
}
