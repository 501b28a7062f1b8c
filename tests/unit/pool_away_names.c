/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was removed through the mount from a drive that answered, or replaced there, does not show when
 * the drive goes before a scan has seen it; what was not removed after all, and what has another name,
 * shows and is read.
 */
#include "pool/records/moved.h"
#include "tests/unit/pool_tree_user.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include "tests/support/pause.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct rig_file *file_of(struct world *w, const char *path)
{
    return rig_find(w->rig, path);
}

/* One more drive than the world has; what is removed lies on the first one. */
static void begin_names(struct world *w, enum rig_kind kind, uint64_t seed)
{
    struct drv *raw;
    begin(w, kind, seed);
    close_tree(w);
    raw = w->rig->drive[0].raw;
    rig_put(w->rig, 0, "folder/in/one", 1000);
    rig_put(w->rig, 0, "folder/two", 3000);
    rig_put(w->rig, 0, "folder/empty", 0);
    rig_put(w->rig, 0, "old", 5000);
    rig_put(w->rig, 0, "saved", 6000);
    rig_put(w->rig, 0, "edited", 7000);
    rig_put(w->rig, 0, "linked", 8000);
    rig_ok(drv_link(raw, "linked", "folder/link"));
    rig_ok(drv_symlink(raw, "f1", "symlink"));
    rig_protect_all(w->rig);
    rig_add_drive(w->rig);
    open_tree(w);
}

static void destroy(struct world *w)
{
    if (w->tree)
        close_tree(w);
    rig_destroy(w->rig);
}

static uint64_t moved_size(struct world *w)
{
    struct stat st = {.st_size = 0};
    fstatat(w->rig->pool->dirfd, "moved", &st, 0);
    return (uint64_t)st.st_size;
}

static void comes_to_be(struct world *w, const char *name)
{
    int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (is_there(w, name)) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
}

/* On the first drive: what an editor writes the catalog does not know. */
static void writes(struct world *w, const char *name)
{
    struct drv_file *file;
    rig_ok(
        drv_file_open(w->rig->drive[0].raw, name, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, "anew", 4));
    drv_file_close(file);
    comes_to_be(w, name);
}

/* Files of one name and of two, one without bytes, a symlink, a folder and what was in it; one by what
 * the catalog knows, and one by what it does not. */
static void some_are_removed(struct world *w)
{
    removes(w, "f0");
    removes(w, "folder/empty");
    removes(w, "folder/in/one");
    rig_ok(rmdir_at(w, "folder/in"));
    rig_ok(unlink_at(w, "symlink"));
    rig_ok(unlink_at(w, "folder/link"));
    file_of(w, "edited")->there = false;
    renames(w, "old", "edited", 0);
    writes(w, "new");
    file_of(w, "saved")->there = false;
    rig_ok(pool_tree_rename(w->tree, NULL, POOL_ROOT, "new", POOL_ROOT, "saved", 0));
}

static void they_do_not_show(struct world *w)
{
    static const char *const gone[] = {
        "f0", "folder/empty", "folder/in", "symlink", "folder/link", "old", "new", "saved"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        assert_int_equal(is_there(w, gone[i]), MRMR_ABSENT);
    lists(w, "", "linked edited folder other f1", "f0 symlink old new saved");
    lists(w, "folder", "two", "empty in link");
    reads(w, "linked"); /* also what has lost its other name */
    reads(w, "edited");
    reads(w, "folder/two");
}

static void removed_then_away(enum rig_kind kind, uint64_t seed)
{
    struct world w;
    begin_names(&w, kind, seed);
    some_are_removed(&w);
    goes_away(&w);
    they_do_not_show(&w);
    close_tree(&w);
    open_tree(&w); /* by the records alone */
    they_do_not_show(&w);
    comes_back(&w, NULL);
    comes_to_be(&w, "saved"); /* nobody takes it for the one that was replaced */
    lists(&w, "", "saved edited linked", "f0 old new");
    rig_ok(unlink_at(&w, "saved"));
    close_tree(&w);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_int_equal(moved_size(&w), 0);
    rig_take_away(w.rig, 0);
    open_tree(&w); /* by the catalog */
    they_do_not_show(&w);
    destroy(&w);
}

static void test_removed_then_away(void **state)
{
    (void)state;
    removed_then_away(RIG_LOCAL, 461);
    removed_then_away(RIG_MEM, 462);
}

/* What the catalog does not know needs no record; of what it knows there is one for each name. */
static void test_what_is_recorded(void **state)
{
    struct world w;
    (void)state;
    begin_names(&w, RIG_LOCAL, 463);
    writes(&w, "new");
    makes(&w, "made");
    rig_ok(drv_link(w.rig->drive[0].raw, "new", "newer"));
    comes_to_be(&w, "newer");
    rig_ok(unlink_at(&w, "newer")); /* of two names, */
    rig_ok(unlink_at(&w, "new"));   /* and the only one: another way */
    rig_ok(rmdir_at(&w, "made"));
    assert_int_equal(moved_size(&w), 0);
    removes(&w, "f0");
    uint64_t one = moved_size(&w);
    assert_true(one > 0 && one < 128);
    removes(&w, "f1");
    assert_int_equal(moved_size(&w), 2 * one);
    destroy(&w);
}

/* What lives on by a name that was made on the drive, and was seen, shows by that. */
static void test_of_two_names_one_is_new(void **state)
{
    struct world w;
    struct pool_attr attr;
    (void)state;
    begin_names(&w, RIG_LOCAL, 473);
    rig_ok(drv_link(w.rig->drive[0].raw, "old", "older"));
    rig_ok(drv_link(w.rig->drive[0].raw, "saved", "safer"));
    comes_to_be(&w, "older");
    comes_to_be(&w, "safer");
    rig_ok(look_at(&w, "older", &attr)); /* and is held, as by whoever has looked */
    rig_ok(look_at(&w, "safer", &attr));
    rig_ok(unlink_at(&w, "old"));
    rig_ok(unlink_at(&w, "saved"));
    rig_ok(unlink_at(&w, "safer"));
    strcpy(file_of(&w, "old")->path, "older");
    goes_away(&w);
    for (unsigned i = 0; i < 2; i++) {
        reads(&w, "older");
        lists(&w, "", "older", "old saved safer");
        close_tree(&w);
        open_tree(&w);
    }
    destroy(&w);
}

/* A name that the catalog has is linked to its inode again: it did not go. */
static void test_linked_again(void **state)
{
    const struct pool_rebuild_options options = {.drive = "d0", .path = "folder/link"};
    struct pool_rebuild_report report;
    struct pool_attr attr, linked;
    struct world w;
    (void)state;
    begin_names(&w, RIG_LOCAL, 474);
    const char *name;
    rig_ok(unlink_at(&w, "folder/link"));
    rig_ok(look_at(&w, "linked", &attr));
    uint64_t folder = folder_of(&w, "folder/link", &name);
    rig_ok(pool_tree_link(w.tree, NULL, attr.node, folder, name, &linked));
    rig_ok(unlink_at(&w, "linked"));
    goes_away(&w);
    close_tree(&w);
    open_tree(&w); /* by the records alone */
    lists(&w, "folder", "link", "");
    lists(&w, "", "f0", "linked");
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    unsigned n = 0;
    for (unsigned d = 1; d < w.rig->n; d++) {
        n += rig_holds(w.rig, d, "folder/link");
        assert_false(rig_holds(w.rig, d, "linked"));
    }
    assert_int_equal(n, 1);
    destroy(&w);
}

/* And each change of it that goes wrong takes no more than itself along. */
static void test_other_changes_go_on(void **state)
{
    struct world w;
    (void)state;
    begin_names(&w, RIG_LOCAL, 464);
    removes(&w, "f0");
    renames(&w, "old", "f0", 0); /* its name is another one's */
    rig_ok(unlink_at(&w, "folder/link"));
    renames(&w, "linked", "folder/link", 0);
    removes(&w, "folder/in/one");
    rig_ok(rmdir_at(&w, "folder/in"));
    makes(&w, "folder/in");
    renames(&w, "saved", "folder/in/one", 0);
    renames(&w, "folder", "other-folder", 0);
    removes(&w, "other-folder/two");
    goes_away(&w);
    for (unsigned i = 0; i < 2; i++) {
        reads(&w, "f0");
        reads(&w, "other-folder/link");
        reads(&w, "other-folder/in/one");
        lists(&w, "", "f0 other-folder", "old linked saved folder");
        lists(&w, "other-folder", "in empty link", "two");
        lists(&w, "other-folder/in", "one", "two");
        close_tree(&w);
        open_tree(&w);
    }
    destroy(&w);
}

/* A process of its own does it; true: it was killed. The pool is closed, before and after. */
static bool is_killed(struct world *w, void (*changes)(struct world *w))
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        rig_open(w->rig);
        open_tree(w);
        changes(w);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status);
}

static void dies(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

static void some_are_removed_and_it_dies(struct world *w)
{
    some_are_removed(w);
    dies(NULL, NULL);
}

/* What it acknowledged is removed. */
static void test_killed_after_it(void **state)
{
    static const char *const removed[] = {"f0", "folder/empty", "folder/in/one", "edited", "saved"};
    struct world w;
    (void)state;
    begin_names(&w, RIG_LOCAL, 465);
    close_tree(&w);
    rig_close(w.rig);
    assert_true(is_killed(&w, some_are_removed_and_it_dies));
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++)
        file_of(&w, removed[i])->there = false;
    strcpy(file_of(&w, "old")->path, "edited");
    rig_take_away(w.rig, 0);
    rig_open(w.rig);
    open_tree(&w);
    they_do_not_show(&w);
    destroy(&w);
}

static void one_is_removed(struct world *w)
{
    removes(w, "f0");
}

/* Between the name's end and its record: it shows once more, and is read; no harm comes of it. */
static void test_killed_before_its_record(void **state)
{
    struct world w;
    (void)state;
    begin_names(&w, RIG_LOCAL, 466);
    close_tree(&w);
    rig_close(w.rig);
    rig_tap(w.rig, DRV_FAULT_RENAME, 0, true, dies); /* to where it is kept */
    assert_true(is_killed(&w, one_is_removed));
    rig_untap(w.rig);
    rig_open(w.rig);
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_take_away(w.rig, 0);
    open_tree(&w);
    reads(&w, "f0");
    comes_back(&w, NULL);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    close_tree(&w);
    rig_reopen(w.rig);
    file_of(&w, "f0")->there = false;
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    rig_verify(w.rig, true);
    destroy(&w);
}

/* A cut after the scan's commit, before the records were dropped: something else has the name by then, or
 * the name is another's in the catalog. */
static void test_records_that_stayed(void **state)
{
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    struct world w;
    (void)state;
    begin_names(&w, RIG_LOCAL, 467);
    some_are_removed(&w);
    rig_ok(mrmr_durable_read(w.rig->pool->dirfd, "moved", 1 << 20, &list));
    close_tree(&w);
    rig_put(w.rig, 0, "f0", 1234);
    rig_put(w.rig, 0, "folder/in/one", 4321);
    rig_protect_all(w.rig);
    rig_ok(mrmr_durable_replace(w.rig->pool->dirfd, "moved", list.data, list.size, 0600));
    rig_take_away(w.rig, 0);
    open_tree(&w);
    reads(&w, "f0");
    reads(&w, "folder/in/one");
    reads(&w, "linked");
    reads(&w, "edited");
    lists(&w, "", "f0 linked edited folder", "old symlink");
    lists(&w, "folder", "two in", "empty link");
    destroy(&w);
}

/* --- a drive that never comes back --- */

/* What may have been put in the place of what was removed or replaced went with the drive: the older
 * version is restored. What was renamed has its new name. */
static void removed_then_rebuilt(uint64_t seed, const char *onto)
{
    static const char *const back[] = {"symlink", "folder/link"};
    unsigned links = 0;
    const struct pool_rebuild_options options = {.drive = "d0", .onto = onto};
    struct pool_rebuild_report report;
    struct world w;
    begin_names(&w, RIG_LOCAL, seed);
    struct rig_file *const removed[] = {file_of(&w, "saved"), file_of(&w, "f0"),
        file_of(&w, "folder/empty"), file_of(&w, "folder/in/one")};
    some_are_removed(&w);
    renames(&w, "folder/two", "folder/two~", 0);
    rig_ok(unlink_at(&w, "folder/two~"));
    goes_away(&w);
    assert_int_equal(is_there(&w, "folder/two~"), MRMR_ABSENT);
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    for (unsigned d = 1; d < w.rig->n; d++) {
        for (size_t i = 0; i < sizeof back / sizeof *back; i++)
            links += rig_holds(w.rig, d, back[i]);
        assert_false(rig_holds(w.rig, d, "old"));
    }
    assert_int_equal(links, sizeof back / sizeof *back);
    assert_int_equal(moved_size(&w), 0);
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++)
        removed[i]->there = true;
    for (size_t i = 0; i < w.rig->files; i++)
        for (unsigned d = 1; w.rig->file[i].there && !w.rig->file[i].drive && d < w.rig->n; d++)
            if (rig_holds(w.rig, d, w.rig->file[i].path))
                w.rig->file[i].drive = d;
    rig_protect_all(w.rig);
    rig_check_originals(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

static void test_removed_then_rebuilt(void **state)
{
    (void)state;
    removed_then_rebuilt(470, NULL);
    removed_then_rebuilt(471, "d5");
}

/* --- what did not go after all --- */

static void is_refused(struct world *w, uint32_t op, const char *path)
{
    const struct drv_fault_rule rule = {.ops = op, .err = MRMR_DENIED};
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
    assert_int_equal(unlink_at(w, path), MRMR_DENIED);
    rig_clear_faults(w->rig);
}

static void test_not_removed_then_away(void **state)
{
    struct world w;
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME, .err = MRMR_DENIED};
    (void)state;
    begin_names(&w, RIG_LOCAL, 468);
    is_refused(&w, DRV_FAULT_RENAME, "f0");
    is_refused(&w, DRV_FAULT_UNLINK, "linked");
    writes(&w, "new");
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "old", POOL_ROOT, "edited", 0), MRMR_DENIED);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "saved", 0), MRMR_DENIED);
    rig_clear_faults(w.rig);
    goes_away(&w);
    for (unsigned i = 0; i < 2; i++) {
        reads(&w, "f0");
        reads(&w, "linked");
        reads(&w, "old");
        reads(&w, "edited");
        reads(&w, "saved");
        close_tree(&w);
        open_tree(&w);
    }
    destroy(&w);
}

/* What is written is not what the catalog has, whatever its name. */
static void test_written_then_away(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file;
    bool same;
    (void)state;
    begin_names(&w, RIG_LOCAL, 469);
    is_refused(&w, DRV_FAULT_UNLINK, "linked"); /* that was noted first */
    rig_ok(look_at(&w, "linked", &attr));
    rig_ok(pool_tree_file_open(w.tree, attr.node, true, &file, &same));
    rig_ok(pool_tree_file_write(file, 5, "new", 3));
    pool_tree_file_close(file);
    goes_away(&w);
    rig_ok(look_at(&w, "linked", &attr));
    assert_int_not_equal(pool_tree_file_open(w.tree, attr.node, false, &file, &same), MRMR_OK);
    destroy(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_then_away),
        cmocka_unit_test(test_what_is_recorded),
        cmocka_unit_test(test_of_two_names_one_is_new),
        cmocka_unit_test(test_linked_again),
        cmocka_unit_test(test_other_changes_go_on),
        cmocka_unit_test(test_killed_after_it),
        cmocka_unit_test(test_killed_before_its_record),
        cmocka_unit_test(test_records_that_stayed),
        cmocka_unit_test(test_removed_then_rebuilt),
        cmocka_unit_test(test_not_removed_then_away),
        cmocka_unit_test(test_written_then_away),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_names", tests, NULL, NULL);
}
