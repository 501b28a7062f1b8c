/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive that is away for good, or comes back as it was: what was removed meanwhile stays removed, what was
 * renamed has its new name, wherever it is read from or restored to.
 */
#include "pool/records/gone.h"
#include "pool/records/moved.h"
#include "tests/unit/pool_away_world.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void some_are_removed(struct world *w, enum rig_kind kind, uint64_t seed)
{
    begin_away(w, kind, seed);
    goes_away(w);
    removes(w, "f0");
    removes(w, "folder/in/one");
    removes(w, "folder/empty");
    rig_ok(rmdir_at(w, "folder/in"));
}

static void they_stay_removed(struct world *w)
{
    static const char *const removed[] = {"f0", "folder/in/one", "folder/in", "folder/empty"};
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
        for (unsigned d = 1; d < w->rig->n; d++)
            assert_false(rig_holds(w->rig, d, removed[i]));
        assert_int_equal(where(w, removed[i]), MRMR_ABSENT);
    }
    rig_ok(where(w, "folder/two"));
    assert_int_equal(all_records(w), 0);
}

static void rebuilt(enum rig_kind kind, uint64_t seed, const char *onto)
{
    struct world w;
    some_are_removed(&w, kind, seed);
    close_tree(&w);
    rig_reopen(w.rig);
    rig_ok(try_rebuild(&w, onto, NULL));
    they_stay_removed(&w);
    open_tree(&w);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_int_equal(is_there(&w, "folder/in"), MRMR_ABSENT);
    rig_ok(is_there(&w, "folder/two"));
    close_tree(&w);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    they_stay_removed(&w);
    all_is_well(&w);
}

static void test_rebuilt_elsewhere(void **state)
{
    (void)state;
    rebuilt(RIG_LOCAL, 401, NULL);
    rebuilt(RIG_MEM, 402, NULL);
}

static void test_rebuilt_onto_a_fresh_drive(void **state)
{
    (void)state;
    rebuilt(RIG_LOCAL, 403, "d5");
    rebuilt(RIG_MEM, 404, "d5");
}

/* It may come back: what was removed waits for that, and is not brought elsewhere. */
static void test_rebuilt_in_part(void **state)
{
    struct world w;
    (void)state;
    some_are_removed(&w, RIG_LOCAL, 405);
    close_tree(&w);
    rig_reopen(w.rig);
    rig_ok(try_rebuild(&w, NULL, "folder"));
    rig_ok(try_rebuild(&w, NULL, "f0"));
    assert_true(drives_with(w.rig, "folder/two") >= 1);
    assert_int_equal(drives_with(w.rig, "f0"), 1); /* on the one that is away */
    assert_int_equal(drives_with(w.rig, "folder/in/one"), 1);
    assert_int_equal(all_records(&w), 4);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    assert_int_equal(drives_with(w.rig, "f0"), 0);
    assert_int_equal(drives_with(w.rig, "folder/in"), 0);
    assert_int_equal(all_records(&w), 0);
    rig_destroy(w.rig);
}

/* What has the name by then is another file, also where it looks much the same. */
static void test_not_applied_to_what_is_newer(void **state)
{
    struct world w;
    (void)state;
    some_are_removed(&w, RIG_LOCAL, 406);
    close_tree(&w);
    struct drv_stat was;
    rig_ok(drv_stat(w.rig->drive[0].raw, "f0", &was));
    rig_reopen(w.rig);
    rig_ok(try_rebuild(&w, "d5", NULL));
    rig_put(w.rig, 5, "f0", FILE_LEAVES * RIG_MIB - 100);
    rig_set_mtime(w.rig, "f0", was.mtime);
    open_tree(&w);
    rig_ok(is_there(&w, "f0"));
    close_tree(&w);
    rig_sync(w.rig);
    assert_true(rig_holds(w.rig, 5, "f0"));
    all_is_well(&w);
}

/* One of two names. */
static void test_one_name_of_two(void **state)
{
    struct world w;
    struct drv_stat stat;
    (void)state;
    begin_away(&w, RIG_LOCAL, 407);
    close_tree(&w);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "linked"));
    rig_sync(w.rig);
    open_tree(&w);
    goes_away(&w);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "linked"));
    close_tree(&w);
    rig_reopen(w.rig);
    rig_ok(try_rebuild(&w, "d5", NULL));
    assert_false(rig_holds(w.rig, 5, "linked"));
    rig_ok(drv_stat(w.rig->drive[5].raw, "f0", &stat));
    assert_int_equal(stat.nlink, 1);
    all_is_well(&w);
}

/* --- the process dies --- */

static void tap_die(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

/* The pool is closed. True: it died before it had ended. */
static bool rebuild_and_die(struct world *w, const char *onto, uint64_t n)
{
    int status;
    rig_tap(w->rig, RIG_CUTS, n, n % 2, tap_die);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        rig_open(w->rig);
        _exit(try_rebuild(w, onto, NULL) ? 1 : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_untap(w->rig);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void killed_at(const char *onto, uint64_t n)
{
    struct world w;
    some_are_removed(&w, RIG_LOCAL, 420 + n);
    close_tree(&w);
    rig_close(w.rig);
    bool died = rebuild_and_die(&w, onto, n);
    assert_true(died || onto); /* that way takes fewer calls */
    rig_open(w.rig);
    mrmr_err err = try_rebuild(&w, onto, NULL);
    if (err != MRMR_NO_DRIVE) /* else all had been done */
        rig_ok(err);
    they_stay_removed(&w);
    all_is_well(&w);
}

static void test_killed_while_it_is_rebuilt(void **state)
{
    struct world w;
    (void)state;
    some_are_removed(&w, RIG_LOCAL, 420);
    close_tree(&w);
    rig_reopen(w.rig);
    uint64_t calls = rig_calls(w.rig, RIG_CUTS);
    rig_ok(try_rebuild(&w, NULL, NULL));
    calls = rig_calls(w.rig, RIG_CUTS) - calls;
    all_is_well(&w);
    assert_true(calls > 40);
    uint64_t stride = rig_all() ? 1 : calls / 4;
    for (uint64_t n = stride / 2; n < calls; n += stride)
        killed_at(n / stride % 2 ? "d5" : NULL, n);
}

/* --- what was renamed, and not scanned since --- */

/* A file, a folder, one below it; into folders that the catalog does not know, which are renamed, too;
 * one over another; two for one another. */
static void some_are_renamed(struct world *w, enum rig_kind kind, uint64_t seed)
{
    begin_away(w, kind, seed);
    renames(w, "f0", "renamed", 0);
    renames(w, "folder", "other-folder", 0);
    renames(w, "other-folder/two", "other-folder/three", 0);
    makes(w, "made");
    makes(w, "made/in");
    renames(w, "kept", "made/in/kept", 0);
    renames(w, "made", "made-again", 0);
    renames(w, "deep/below", "made-again/below", 0);
    rig_find(w->rig, "other")->there = false;
    renames(w, "over", "other", 0);
    renames(w, "one", "between", 0);
    renames(w, "another", "one", 0);
    renames(w, "between", "another", 0);
    struct rig_file *one = rig_find(w->rig, "one"), *another = rig_find(w->rig, "another");
    rig_ok(pool_tree_rename(
        w->tree, NULL, POOL_ROOT, "one", POOL_ROOT, "another", POOL_RENAME_EXCHANGE));
    strcpy(one->path, "another");
    strcpy(another->path, "one");
    renames(w, "one", "between", 0);
    renames(w, "another", "one", 0);
    renames(w, "between", "another", 0);
}

static void they_have_new_names(struct world *w)
{
    static const char *const there[] = {"renamed", "other-folder/three", "other-folder/in/one",
        "other-folder/empty", "made-again/in/kept", "made-again/below/it", "other", "one",
        "another"};
    static const char *const not_there[] = {"f0", "folder", "folder/two", "other-folder/two",
        "kept", "made", "made/in/kept", "deep/below", "over", "between", "deep/below/it"};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        reads(w, there[i]);
    for (size_t i = 0; i < sizeof not_there / sizeof *not_there; i++)
        assert_int_equal(is_there(w, not_there[i]), MRMR_ABSENT);
    lists(w, "", "renamed other-folder made-again other one another deep f1",
        "f0 folder kept made over between");
    lists(w, "other-folder", "three in empty", "two");
    lists(w, "made-again", "in below", "kept it");
    lists(w, "made-again/in", "kept", "in");
}

static void renamed_then_away(enum rig_kind kind, uint64_t seed)
{
    struct world w;
    some_are_renamed(&w, kind, seed);
    goes_away(&w);
    they_have_new_names(&w);
    close_tree(&w);
    open_tree(&w); /* by the records alone */
    they_have_new_names(&w);
    comes_back(&w, NULL);
    they_have_new_names(&w);
    close_tree(&w);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    rig_take_away(w.rig, 0);
    open_tree(&w); /* by the catalog */
    they_have_new_names(&w);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    all_is_well(&w);
}

static void test_renamed_then_away(void **state)
{
    (void)state;
    renamed_then_away(RIG_LOCAL, 441);
}

static void test_renamed_then_away_in_memory(void **state)
{
    (void)state;
    renamed_then_away(RIG_MEM, 442);
}

/* The catalog knows of the renames, and the records were not dropped: a cut after the scan's commit. */
static void test_renamed_scanned_and_away(void **state)
{
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    struct world w;
    (void)state;
    some_are_renamed(&w, RIG_LOCAL, 443);
    rig_ok(mrmr_durable_read(w.rig->pool->dirfd, "moved", 1 << 20, &list));
    close_tree(&w);
    rig_sync(w.rig);
    rig_ok(mrmr_durable_replace(w.rig->pool->dirfd, "moved", list.data, list.size, 0600));
    rig_take_away(w.rig, 0);
    open_tree(&w);
    they_have_new_names(&w);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* And removed under the new name. */
static void test_renamed_then_removed(void **state)
{
    struct world w;
    (void)state;
    some_are_renamed(&w, RIG_LOCAL, 444);
    goes_away(&w);
    removes(&w, "renamed");
    removes(&w, "other-folder/in/one");
    rig_ok(rmdir_at(&w, "other-folder/in"));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(is_there(&w, "renamed"), MRMR_ABSENT);
        assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
        assert_int_equal(is_there(&w, "other-folder/in"), MRMR_ABSENT);
        if (i == 0)
            comes_back(&w, NULL);
        else if (i == 1)
            goes_away(&w);
    }
    assert_false(rig_holds(w.rig, 0, "renamed"));
    assert_false(rig_holds(w.rig, 0, "other-folder/in"));
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_int_equal(all_records(&w), 0);
    all_is_well(&w);
}

/* Thousands of times, alone and with what is in it: not slower than that takes, and right. */
static void test_renamed_forth_and_back(void **state)
{
    enum { TIMES = 5000 };
    struct world w;
    int fd;
    (void)state;
    begin_away(&w, RIG_MEM, 448);
    const int64_t drive = rig_pool_drive(w.rig, 0)->meta.id;
    const uint64_t file[2] = {rig_node(w.rig, "f0").ino}, folder[2] = {0};
    close_tree(&w);
    rig_take_away(w.rig, 0);
    rig_ok(pool_moved_open(w.rig->pool->dirfd, &fd));
    for (unsigned i = 0; i < TIMES; i++)
        for (unsigned back = 0; back < 2; back++) {
            rig_ok(pool_moved_add_inodes(fd, drive, back ? "there" : "f0", back ? "f0" : "there",
                POOL_MOVED_RENAME, file, false));
            rig_ok(pool_moved_add_inodes(fd, drive, back ? "dir" : "folder",
                back ? "folder" : "dir", POOL_MOVED_RENAME, folder, false));
            rig_ok(pool_moved_add(fd, drive, "one", "one/one/one/one", POOL_MOVED_RENAME, false));
        }
    rig_ok(pool_moved_add_inodes(fd, drive, "f0", "there", POOL_MOVED_RENAME, file, false));
    close(fd);
    strcpy(rig_find(w.rig, "f0")->path, "there");
    int64_t begun = mrmr_clock_monotonic();
    open_tree(&w);
    reads(&w, "there");
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    is_there(&w, "folder/two"); /* so long a way may be given up */
    is_there(&w, "one/one/one/one");
    assert_true(mrmr_clock_monotonic() - begun < 60 * MRMR_NS_PER_S);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The drive did not make it: it is where it was. */
static void test_not_renamed_then_away(void **state)
{
    struct world w;
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME, .err = MRMR_SPACE};
    (void)state;
    begin_away(&w, RIG_LOCAL, 447);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "f0", POOL_ROOT, "renamed", 0), MRMR_SPACE);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "folder", POOL_ROOT, "other-folder", 0),
        MRMR_SPACE);
    assert_int_equal(pool_tree_rename(w.tree, NULL, POOL_ROOT, "one", POOL_ROOT, "another",
                         POOL_RENAME_EXCHANGE),
        MRMR_SPACE);
    rig_clear_faults(w.rig);
    goes_away(&w);
    reads(&w, "f0");
    reads(&w, "folder/two");
    reads(&w, "one");
    lists(&w, "", "f0 folder one another", "renamed other-folder");
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The same, where something has the name. */
static void is_not_renamed_over(struct world *w, uint64_t seed)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME, .err = MRMR_SPACE};
    begin_away(w, RIG_LOCAL, seed);
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
    assert_int_equal(
        pool_tree_rename(w->tree, NULL, POOL_ROOT, "over", POOL_ROOT, "another", 0), MRMR_SPACE);
    rig_clear_faults(w->rig);
}

static void both_are_there(struct world *w)
{
    reads(w, "another");
    reads(w, "over");
    goes_away(w);
    reads(w, "over");
    lists(w, "", "over another", "nothing");
    reads(w, "another"); /* its name was about to go, and its bytes were not to change */
    close_tree(w);
    rig_reopen(w->rig);
    rig_ok(try_rebuild(w, "d5", NULL));
    assert_true(rig_holds(w->rig, 5, "over"));
    assert_true(rig_holds(w->rig, 5, "another"));
    rig_destroy(w->rig);
}

static void test_not_renamed_over_then_rebuilt(void **state)
{
    struct world w;
    (void)state;
    is_not_renamed_over(&w, 449);
    both_are_there(&w);
}

/* Nor can that be recorded at once: it is as soon as it can. */
static void no_file_grows(struct rig *rig, struct rig_drive *drive)
{
    const struct rlimit none = {0, RLIM_INFINITY};
    (void)rig;
    (void)drive;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
}

static void not_recorded_that_it_failed(uint64_t seed, bool next)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME, .err = MRMR_SPACE};
    struct world w;
    struct rlimit was;
    begin_away(&w, RIG_LOCAL, seed);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    rig_tap(w.rig, DRV_FAULT_RENAME, 0, false, no_file_grows);
    mrmr_err err = pool_tree_rename(w.tree, NULL, POOL_ROOT, "over", POOL_ROOT, "another", 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    rig_untap(w.rig);
    rig_clear_faults(w.rig);
    signal(SIGXFSZ, handler);
    assert_int_equal(err, MRMR_IO);
    if (next) {
        rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "f0", POOL_ROOT, "renamed", 0));
    } else {
        close_tree(&w);
        open_tree(&w);
    }
    both_are_there(&w);
}

static void test_not_recorded_that_it_failed(void **state)
{
    (void)state;
    not_recorded_that_it_failed(450, true);
    not_recorded_that_it_failed(451, false);
}

static void renamed_then_rebuilt(enum rig_kind kind, uint64_t seed, const char *onto)
{
    struct world w;
    some_are_renamed(&w, kind, seed);
    goes_away(&w);
    removes(&w, "other-folder/in/one");
    close_tree(&w);
    rig_reopen(w.rig);
    rig_ok(try_rebuild(&w, onto, NULL));
    for (unsigned d = 1; d < w.rig->n; d++) {
        assert_false(rig_holds(w.rig, d, "f0"));
        assert_false(rig_holds(w.rig, d, "folder/two"));
        assert_false(rig_holds(w.rig, d, "other-folder/in/one"));
    }
    open_tree(&w);
    reads(&w, "renamed");
    reads(&w, "made-again/in/kept");
    reads(&w, "another");
    close_tree(&w);
    assert_int_equal(all_records(&w), 0);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    all_is_well(&w);
}

static void test_renamed_then_rebuilt(void **state)
{
    (void)state;
    renamed_then_rebuilt(RIG_LOCAL, 445, "d5");
    renamed_then_rebuilt(RIG_MEM, 446, NULL);
}

/* --- the power goes --- */

static void brings(struct world *w)
{
    struct pool_attr attr;
    rig_ok(look_at(w, "a/b/f", &attr));
    drive_is_full(w->rig, 0);
    struct pool_tree_file *file = open_node(w, attr.node);
    rig_ok(pool_tree_file_write(file, 5, "new", 3));
    pool_tree_file_close(file);
}

static void replaces(struct world *w)
{
    const char *name;
    uint64_t folder = folder_of(w, "a/b/f", &name);
    rig_ok(pool_tree_rename(w->tree, NULL, POOL_ROOT, "far", folder, name, 0));
}

static unsigned counters[2][DRIVES];
static uint64_t synced[2]; /* of a/b and a, and of all folders */

static void tap_counts(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    for (unsigned i = 0; i < 2; i++)
        for (unsigned d = 1; d < DRIVES; d++)
            synced[i] += rig_reads(rig, d, counters[i][d]);
}

/* A power cut in memory takes the folders above a renamed file along, which no file system promises:
 * so the syncs themselves are looked at, at the moment at which the file goes from its first drive. */
static void is_synced_before(void (*change)(struct world *w), uint64_t seed)
{
    struct world w;
    begin(&w, RIG_MEM, seed);
    close_tree(&w);
    rig_put(w.rig, 0, "a/b/f", 5000);
    rig_put(w.rig, 1, "far", 2000);
    open_tree(&w);
    for (unsigned d = 1; d < DRIVES; d++) {
        struct drv_fault_rule rule = {
            .ops = DRV_FAULT_DIR_SYNC, .prefix = "a", .action = DRV_FAULT_DELAY};
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &rule, &counters[0][d]));
        rule.prefix = NULL;
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &rule, &counters[1][d]));
    }
    synced[0] = synced[1] = 0;
    rig_tap(w.rig, DRV_FAULT_UNLINK, 0, false, tap_counts);
    change(&w);
    rig_untap(w.rig);
    assert_true(synced[0] >= 2);
    assert_true(synced[1] >= 3);
    assert_false(rig_holds(w.rig, 0, "a/b/f"));
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_folders_are_synced_before_a_file_goes(void **state)
{
    (void)state;
    is_synced_before(brings, 431);
    is_synced_before(replaces, 432);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rebuilt_elsewhere),
        cmocka_unit_test(test_rebuilt_onto_a_fresh_drive),
        cmocka_unit_test(test_rebuilt_in_part),
        cmocka_unit_test(test_not_applied_to_what_is_newer),
        cmocka_unit_test(test_one_name_of_two),
        cmocka_unit_test(test_killed_while_it_is_rebuilt),
        cmocka_unit_test(test_renamed_then_away),
        cmocka_unit_test(test_renamed_then_away_in_memory),
        cmocka_unit_test(test_renamed_scanned_and_away),
        cmocka_unit_test(test_renamed_then_removed),
        cmocka_unit_test(test_renamed_forth_and_back),
        cmocka_unit_test(test_not_renamed_then_away),
        cmocka_unit_test(test_not_renamed_over_then_rebuilt),
        cmocka_unit_test(test_not_recorded_that_it_failed),
        cmocka_unit_test(test_renamed_then_rebuilt),
        cmocka_unit_test(test_folders_are_synced_before_a_file_goes),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away", tests, NULL, NULL);
}
