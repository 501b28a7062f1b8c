/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders that are renamed, and have their attributes changed, while a drive on which they lie is away:
 * seen at once, after a remount, when it is back, as it was or not, and when it never comes back.
 */
#include "tests/unit/pool_away_folders_world.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include "tests/support/pause.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- names --- */

static void renamed(enum rig_kind kind, uint64_t seed)
{
    struct world w;
    begin_folders(&w, kind, seed);
    some_are_renamed(&w);
    they_have_new_names(&w);
    remount(&w);
    they_have_new_names(&w);
    comes_back(&w, NULL);
    they_have_new_names(&w);
    the_drive_has_new_names(&w);
    assert_int_equal(records(&w, false), 0);
    rig_take_away(w.rig, 0); /* not scanned yet */
    remount(&w);
    they_have_new_names(&w);
    comes_back(&w, NULL);
    they_have_new_names(&w);
    close_tree(&w);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), 0);
    rig_take_away(w.rig, 0);
    open_tree(&w); /* by the catalog */
    they_have_new_names(&w);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_renamed(void **state)
{
    (void)state;
    renamed(RIG_MEM, 501);
    renamed(RIG_LOCAL, 502);
}

/* No mount sees it come back. */
static void test_renamed_and_scanned(void **state)
{
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM, 503);
    some_are_renamed(&w);
    sets(&w, "far/b", 0711, 0, some_time);
    close_tree(&w);
    rig_reopen(w.rig);
    rig_sync(w.rig); /* of the others: what waits does so still */
    open_tree(&w);
    they_have_new_names(&w);
    shows(&w, "far/b", 0711, 0, some_time);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    all_is_well(&w);
    the_drive_has_new_names(&w);
    has_attrs(w.rig, 0, "far/b", 0711, 0, some_time);
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_changes_below_a_new_name(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file;
    (void)state;
    begin_folders(&w, RIG_MEM, 504);
    renames(&w, "a", "z", 0);
    rig_ok(look_at(&w, "z/one", &attr));
    file = open_node(&w, attr.node);
    write_part(&w, file, "z/one", 100, 500);
    pool_tree_file_close(file);
    rig_find(w.rig, "z/one")->drive = 1;
    for (unsigned d = 1; d < DRIVES; d++)
        if (rig_holds(w.rig, d, "z/one"))
            rig_find(w.rig, "z/one")->drive = d;
    reads(&w, "z/one");
    removes(&w, "z/sub/two");
    rig_ok(rmdir_at(&w, "z/sub"));
    renames(&w, "z", "y", 0);
    reads(&w, "y/one");
    comes_back(&w, NULL);
    reads(&w, "y/one");
    reads(&w, "y/three");
    assert_false(rig_holds(w.rig, 0, "y/one"));
    assert_false(rig_holds(w.rig, 0, "y/sub"));
    assert_false(rig_holds(w.rig, 0, "a"));
    assert_true(rig_holds(w.rig, 0, "y"));
    end_well(&w);
}

/* A folder that the drive has not, in one that it has: something of the drive went through it, and then both got other names. On
 * the drive nothing is left of it, under either name of the one above. */
static void test_through_a_folder_that_moves_on(void **state)
{
    struct world w;
    (void)state;
    for (unsigned remounted = 0; remounted < 2; remounted++) {
        begin_folders(&w, RIG_MEM, 523 + remounted);
        makes(&w, "a/new");
        makes(&w, "a/new/below");
        renames(&w, "deep/in", "a/new/below/in", 0);
        renames(&w, "a/new/below/in", "far/in", 0);
        if (remounted)
            remount(&w);
        renames(&w, "a/new", "n", 0);
        renames(&w, "a", "z", 0);
        comes_back(&w, NULL);
        is_absent(&w, "z/new");
        is_absent(&w, "a");
        assert_false(rig_holds(w.rig, 0, "z/new"));
        assert_true(rig_holds(w.rig, 0, "z/one"));
        assert_true(rig_holds(w.rig, 0, "far/in/it"));
        rig_ok(is_there(&w, "n/below"));
        end_well(&w);
    }
}

/* A folder that the drive has not, and in it one that it has, which was emptied and removed in the end: both go. */
static void test_removed_from_a_folder_that_was_made(void **state)
{
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM, 525);
    makes(&w, "new");
    renames(&w, "deep", "new/deep", 0);
    renames(&w, "new/deep/in", "a/in", 0);
    rig_ok(rmdir_at(&w, "new/deep"));
    rig_ok(rmdir_at(&w, "new"));
    comes_back(&w, NULL);
    is_absent(&w, "new");
    assert_false(rig_holds(w.rig, 0, "new"));
    assert_true(rig_holds(w.rig, 0, "a/in/it"));
    end_well(&w);
}

/* Of a folder that lies there since the last scan nobody knows while the drive is away, unless what the catalog knows lies in it. */
static void test_where_it_had_none(void **state)
{
    struct world w;
    (void)state;
    for (unsigned remounted = 0; remounted < 2; remounted++) {
        begin_folders(&w, RIG_MEM, 527 + remounted);
        comes_back(&w, NULL);
        renames(&w, "deep/in", "far/in", 0);
        rig_take_away(w.rig, 0);
        if (remounted)
            remount(&w);
        assert_int_equal(rename_at(&w, "far", "z", 0), MRMR_OFFLINE);
        reads(&w, "far/in/it");
        reads(&w, "far/away");
        comes_back(&w, NULL);
        renames(&w, "far/in", "deep/in", 0);
        rig_take_away(w.rig, 0);
        if (remounted)
            remount(&w);
        renames(&w, "far", "z", 0);
        reads(&w, "z/away");
        is_absent(&w, "far");
        comes_back(&w, NULL);
        reads(&w, "z/away");
        reads(&w, "deep/in/it");
        rig_ok(rmdir_at(&w, "far"));
        end_well(&w);
    }
}

/* The drive takes the first name, and not the second one yet: what was made for the first one is not left. */
static void test_made_and_cut_short(void **state)
{
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_RENAME, .part = "sub", .err = MRMR_SPACE, .times = 1};
    struct world w;
    unsigned id;
    (void)state;
    begin_folders(&w, RIG_MEM, 526);
    makes(&w, "far/new");
    renames(&w, "a/sub", "far/new/sub", 0);
    renames(&w, "far/new/sub", "far/sub", 0);
    renames(&w, "far/new", "n", 0);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, &id));
    comes_back(&w, NULL);
    assert_true(drv_fault_hits(w.rig->drive[0].fault, id) > 0);
    is_absent(&w, "far/new");
    assert_false(rig_holds(w.rig, 0, "far/new"));
    assert_true(rig_holds(w.rig, 0, "far/sub/two"));
    end_well(&w);
}

/* And removed in the end: neither name comes back to life; nor does a folder through which it went. By
 * the mount, or by a scan, which tells. */
static void renamed_then_removed(uint64_t seed, bool scanned)
{
    struct world w;
    begin_folders(&w, RIG_MEM, seed);
    makes(&w, "new");
    renames(&w, "a", "new/a", 0);
    renames(&w, "new/a", "a", 0);
    rig_ok(rmdir_at(&w, "new"));
    renames(&w, "deep", "far/deep", 0);
    removes(&w, "far/deep/in/it");
    rig_ok(rmdir_at(&w, "far/deep/in"));
    rig_ok(rmdir_at(&w, "far/deep"));
    renames(&w, "a", "far/deep", 0);
    if (!scanned) {
        comes_back(&w, NULL);
        reads(&w, "far/deep/one");
    } else {
        rig_bring_back(w.rig, 0);
    }
    close_tree(&w);
    all_is_well(&w);
    assert_false(rig_holds(w.rig, 0, "deep"));
    assert_false(rig_holds(w.rig, 0, "far/deep/in"));
    assert_false(rig_holds(w.rig, 0, "new"));
    assert_true(rig_holds(w.rig, 0, "far/deep/one"));
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_renamed_then_removed(void **state)
{
    (void)state;
    renamed_then_removed(505, false);
    renamed_then_removed(505, true);
}

static void test_refused(void **state)
{
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM, 506);
    assert_int_equal(rename_at(&w, "a", "empty", POOL_RENAME_NOREPLACE), MRMR_EXISTS);
    assert_int_equal(rename_at(&w, "a", "deep", 0), MRMR_NOT_EMPTY);
    assert_int_equal(rename_at(&w, "deep", "empty", POOL_RENAME_EXCHANGE), MRMR_CROSS_DEVICE);
    assert_int_equal(rename_at(&w, "deep", "far/away", 0), MRMR_NOT_DIR);
    assert_int_equal(rename_at(&w, "deep", "deep/in/deep", 0), MRMR_INVALID);
    renames(&w, "a", "free", POOL_RENAME_NOREPLACE);
    reads(&w, "free/one");
    assert_int_equal(records(&w, false), 1);
    comes_back(&w, NULL);
    end_well(&w);
}

/* It cannot be recorded: it is as it was, on every drive. */
static void not_recorded(uint64_t seed, const char *path, const char *file)
{
    struct world w;
    begin_folders(&w, RIG_MEM, seed);
    rig_ok(is_there(&w, path));
    assert_int_equal(
        mkdirat(w.rig->pool->dirfd, file, 0700), 0); /* where a record would be written */
    mrmr_err err = pool_tree_rename(w.tree, NULL, POOL_ROOT, path, POOL_ROOT, "z", 0);
    assert_int_equal(unlinkat(w.rig->pool->dirfd, file, AT_REMOVEDIR), 0);
    assert_int_not_equal(err, MRMR_OK);
    for (unsigned i = 0; i < 2; i++) {
        reads(&w, "a/one");
        reads(&w, "a/three");
        reads(&w, "deep/in/it");
        is_absent(&w, "z");
        assert_int_equal(records(&w, false), 0);
        remount(&w);
    }
    comes_back(&w, NULL);
    end_well(&w);
}

static void test_not_recorded(void **state)
{
    (void)state;
    not_recorded(507, "a", "gone");
    not_recorded(508, "deep", "gone");
}

/* Nothing more can be written to this file, and no record can go from the journal. */
static mrmr_err renames_with_full(struct world *w, const char *file, const char *from)
{
    enum { MOST = 1 << 16 };
    const struct rlimit most = {MOST, RLIM_INFINITY};
    struct rlimit was;
    mrmr_autofree char *zeros = calloc(1, MOST); /* no record at all, and no room for one */
    rig_ok(mrmr_durable_replace(w->rig->pool->dirfd, file, zeros, MOST, 0600));
    assert_int_equal(mkdirat(w->rig->pool->dirfd, ".gone.new", 0700), 0); /* for want of room */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &most), 0);
    mrmr_err err = pool_tree_rename(w->tree, NULL, POOL_ROOT, from, POOL_ROOT, "z", 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(unlinkat(w->rig->pool->dirfd, ".gone.new", AT_REMOVEDIR), 0);
    return err;
}

/* Nor can the other of its records: nothing is left of the first. */
static void not_recorded_twice(uint64_t seed, const char *file)
{
    struct world w;
    begin_folders(&w, RIG_MEM, seed);
    rig_ok(is_there(&w, "deep"));
    assert_int_not_equal(renames_with_full(&w, file, "deep"), MRMR_OK);
    assert_int_equal(records(&w, false), 0);
    is_absent(&w, "z");
    remount(&w);
    reads(&w, "deep/in/it");
    comes_back(&w, NULL);
    reads(&w, "deep/in/it");
    is_absent(&w, "z");
    end_well(&w);
}

static void test_not_recorded_twice(void **state)
{
    (void)state;
    not_recorded_twice(509, "moved");
    not_recorded_twice(509, "gone");
}

/* The journal has room for what is removed, and for nothing else any more. */
static void test_room_for_removals(void **state)
{
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM, 550);
    removes(&w, "a/one");
    mrmr_autoclose int fd = openat(w.rig->pool->dirfd, "gone", O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, 64 << 20), 0);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "deep", POOL_ROOT, "z", 0), MRMR_SPACE);
    reads(&w, "deep/in/it");
    removes(&w, "deep/in/it");
    assert_int_equal(records(&w, false), 2);
    comes_back(&w, NULL);
    assert_true(rig_holds(w.rig, 0, "deep/in"));
    end_well(&w);
}

/* --- the drive comes back changed --- */

static void each_has_its_own(struct world *w)
{
    static const char *const has[] = {"a/one", "z", "deep", "moved/in/it"};
    for (size_t i = 0; i < sizeof has / sizeof *has; i++)
        assert_true(rig_holds(w->rig, 0, has[i]));
    assert_false(rig_holds(w->rig, 0, "y"));
    rig_take_away(w->rig, 0);
    remount(w);
    reads(w, "a/one");
    reads(w, "z/three");
    is_absent(w, "y");
    close_tree(w);
    rig_bring_back(w->rig, 0);
}

/* Something has the new name, and something else the old one. */
static void something_has_the_name(uint64_t seed, bool scanned)
{
    struct world w;
    begin_folders(&w, RIG_MEM, seed);
    renames(&w, "a", "z", 0);
    renames(&w, "deep", "y", 0);
    close_tree(&w);
    rig_ok(drv_mkdir(w.rig->drive[0].raw, "z", 0700));
    rig_ok(drv_rename(w.rig->drive[0].raw, "deep", "moved", DRV_RENAME_NOREPLACE));
    rig_ok(drv_mkdir(w.rig->drive[0].raw, "deep", 0700)); /* another one */
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    if (scanned)
        rig_sync(w.rig);
    open_tree(&w);
    assert_int_equal(records(&w, false), 0);
    strcpy(rig_find(w.rig, "z/one")->path, "a/one"); /* what the drive has is so */
    strcpy(rig_find(w.rig, "z/sub/two")->path, "a/sub/two");
    strcpy(rig_find(w.rig, "y/in/it")->path, "moved/in/it");
    each_has_its_own(&w);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), 2);
    rig_destroy(w.rig);
}

static void test_something_has_the_name(void **state)
{
    (void)state;
    something_has_the_name(510, true);
    something_has_the_name(510, false);
}

/* --- attributes --- */

static void attributes(enum rig_kind kind, uint64_t seed, uint32_t uid)
{
    struct world w;
    begin_attributes(&w, kind, seed);
    sets(&w, "a", 0700, 0, some_time + 9); /* overridden */
    sets(&w, "a", 0710, uid, some_time);
    sets(&w, "deep", 0701, uid, some_time + 1); /* on that drive alone */
    renames(&w, "a", "far/z", 0);
    removes(&w, "far/z/one");
    sets(&w, "far/z", 0711, uid, some_time + 2);
    for (unsigned i = 0; i < 2; i++) {
        shows(&w, "far/z", 0711, uid, some_time + 2);
        shows(&w, "deep", 0701, uid, some_time + 1);
        remount(&w);
    }
    comes_back(&w, NULL);
    shows(&w, "far/z", 0711, uid, some_time + 2);
    shows(&w, "deep", 0701, uid, some_time + 1);
    for (unsigned d = 0; d < 2; d++)
        has_attrs(w.rig, d, "far/z", 0711, uid, some_time + 2);
    has_attrs(w.rig, 0, "deep", 0701, uid, some_time + 1);
    rig_take_away(w.rig, 0);
    remount(&w);
    shows(&w, "far/z", 0711, uid, some_time + 2);
    comes_back(&w, NULL);
    close_tree(&w);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_attributes(void **state)
{
    (void)state;
    attributes(RIG_MEM, 511, 77);
    attributes(RIG_LOCAL, 512, 0);
}

/* The last word counts, and only of the folder that it was said of. */
static void test_attributes_changed_meanwhile(void **state)
{
    struct drv_stat stat = {.mode = 0555, .mtime = some_time + 50};
    struct world w;
    (void)state;
    begin_attributes(&w, RIG_MEM, 513);
    rig_ok(
        drv_set_attr(w.rig->drive[0].raw, "a/sub", DRV_ATTR_MODE, &stat)); /* before it is asked */
    sets(&w, "a", 0710, 0, some_time);
    sets(&w, "a/sub", 0710, 0, some_time);
    removes(&w, "a/one"); /* which is no change of somebody else's */
    sets(&w, "deep", 0701, 0, some_time);
    close_tree(&w);
    a_tick_passes();
    rig_ok(drv_set_attr(w.rig->drive[0].raw, "a", DRV_ATTR_MODE | DRV_ATTR_MTIME, &stat));
    rig_ok(drv_rename(w.rig->drive[0].raw, "deep", "moved", DRV_RENAME_NOREPLACE));
    rig_ok(drv_mkdir(w.rig->drive[0].raw, "deep", 0500));
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    assert_true(count_conflicts(&w) >= 2);
    rig_ok(drv_stat(w.rig->drive[0].raw, "a", &stat));
    assert_int_equal(stat.mode, 0555);
    assert_int_equal(stat.mtime, some_time + 50);
    has_attrs(w.rig, 0, "a/sub", 0710, 0, some_time);
    rig_ok(drv_stat(w.rig->drive[0].raw, "deep", &stat));
    assert_int_equal(stat.mode, 0500);
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    rig_destroy(w.rig);
}

/* --- it never comes back --- */

static void rebuilt(enum rig_kind kind, uint64_t seed, const char *onto)
{
    struct world w;
    begin_attributes(&w, kind, seed);
    rig_add_drive(w.rig);
    remount(&w);
    some_are_renamed(&w);
    sets(&w, "far/b", 0711, 0, some_time);
    sets(&w, "deep/in", 0701, 0, some_time);
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = onto};
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    for (unsigned d = 1; d < w.rig->n; d++) {
        static const char *const not [] = {"a", "empty", "deep/it", "far/b/one"};
        for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
            assert_false(rig_holds(w.rig, d, not [i]));
        if (rig_holds(w.rig, d, "deep/in"))
            has_attrs(w.rig, d, "deep/in", 0701, 0, some_time);
        for (size_t i = 0; i < w.rig->files; i++)
            if (w.rig->file[i].there && w.rig->file[i].drive == 0 &&
                rig_holds(w.rig, d, w.rig->file[i].path))
                w.rig->file[i].drive = d;
    }
    open_tree(&w);
    they_have_new_names(&w);
    shows(&w, "far/b", 0711, 0, some_time);
    end_well(&w);
}

static void test_rebuilt(void **state)
{
    (void)state;
    rebuilt(RIG_MEM, 521, NULL);
    rebuilt(RIG_LOCAL, 522, "d5");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_renamed_and_scanned),
        cmocka_unit_test(test_changes_below_a_new_name),
        cmocka_unit_test(test_through_a_folder_that_moves_on),
        cmocka_unit_test(test_removed_from_a_folder_that_was_made),
        cmocka_unit_test(test_where_it_had_none),
        cmocka_unit_test(test_made_and_cut_short),
        cmocka_unit_test(test_renamed_then_removed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_recorded),
        cmocka_unit_test(test_not_recorded_twice),
        cmocka_unit_test(test_room_for_removals),
        cmocka_unit_test(test_something_has_the_name),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_attributes_changed_meanwhile),
        cmocka_unit_test(test_rebuilt),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_folders", tests, NULL, NULL);
}
