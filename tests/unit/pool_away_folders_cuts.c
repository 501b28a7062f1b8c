/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The process dies, or the power goes, while a folder is changed whose drive is away, or while it is done on
 * the drive that is back: it is finished, or waits still.
 */
#include "tests/unit/pool_away_folders_world.h"

#include "base/durable.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void tap_die(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

/* The call came, and is one of the few after which the rig cannot step in. */
enum { LIVED_ON = 4 };

/* False: there was no such call. */
static bool dies(struct world *w, uint64_t n, bool late, void (*what)(struct world *w))
{
    int status;
    rig_tap(w->rig, RIG_CUTS, n, late, tap_die);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        what(w);
        _exit(w->rig->tap_left > n ? LIVED_ON : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_untap(w->rig);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == LIVED_ON);
    return WIFSIGNALED(status) || WEXITSTATUS(status) == LIVED_ON;
}

/* The process that does what was asked dies at a call; who opens the tree next goes on. */
static bool killed_at(uint64_t n, bool late)
{
    struct world w;
    begin_attributes(&w, RIG_LOCAL, 531);
    some_are_renamed(&w);
    sets(&w, "far/b", 0711, 0, some_time);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_close(w.rig);
    bool died = dies(&w, n, late, open_tree);
    rig_open(w.rig);
    open_tree(&w);
    they_have_new_names(&w);
    the_drive_has_new_names(&w);
    assert_int_equal(records(&w, false), 0);
    end_well(&w);
    return died;
}

static void test_killed(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("away_folders_killed"), n = 0, step = rig_all() ? 1 : 17;
    for (n = rig_hash(seed) % step; killed_at(n, rig_hash(seed + n) % 2); n += step)
        assert_true(n < 1000);
    print_message("up to call %llu\n", (unsigned long long)n);
    assert_true(n > 20);
}

/* While it is renamed on the drives that are there: it is finished on them, and waits for the other. */
static void rename_a(struct world *w)
{
    open_tree(w);
    pool_tree_rename(w->tree, NULL, POOL_ROOT, "a", POOL_ROOT, "z", 0);
}

static bool killed_while_it_is_renamed(uint64_t n, bool late)
{
    struct world w;
    begin_folders(&w, RIG_LOCAL, 532);
    rig_put(w.rig, 2, "a/four", 10);
    close_tree(&w);
    rig_close(w.rig);
    bool died = dies(&w, n, late, rename_a);
    rig_open(w.rig);
    open_tree(&w);
    bool is_new = is_there(&w, "z") == MRMR_OK;
    if (is_new)
        for (size_t i = 0; i < w.rig->files; i++)
            if (strncmp(w.rig->file[i].path, "a/", 2) == 0)
                w.rig->file[i].path[0] = 'z';
    is_absent(&w, is_new ? "a" : "z");
    reads(&w, is_new ? "z/one" : "a/one");
    reads(&w, is_new ? "z/four" : "a/four");
    comes_back(&w, NULL);
    reads(&w, is_new ? "z/sub/two" : "a/sub/two");
    is_absent(&w, is_new ? "a" : "z");
    end_well(&w);
    return died;
}

static void test_killed_while_it_is_renamed(void **state)
{
    (void)state;
    uint64_t n = 0;
    while (killed_while_it_is_renamed(n / 2, n % 2))
        assert_true(n++ < 100);
    assert_true(n >= 4);
}

/* The process died after some of the records: all that it had written by then. */
enum { HAS_INTENT = 1, HAS_WAITING = 2, HAS_MOVED = 4 };

static void keep_record(struct world *w, const char *name, bool keep)
{
    if (!keep)
        assert_int_equal(unlinkat(w->rig->pool->dirfd, name, 0), 0);
}

static void begin_cut(struct world *w, uint64_t seed, unsigned has_records)
{
    char record[100];
    begin_folders(w, RIG_MEM, seed);
    struct drv_stat stat;
    rig_ok(drv_stat(w->rig->drive[0].raw, "deep", &stat));
    renames(w, "deep", "z", 0);
    close_tree(w);
    keep_record(w, "gone", has_records & HAS_WAITING);
    keep_record(w, "moved", has_records & HAS_MOVED);
    int n = snprintf(record, sizeof record, "1:%llu %cdeep%cz", (unsigned long long)stat.ino, 0, 0);
    if (has_records & HAS_INTENT)
        rig_ok(mrmr_durable_replace(
            w->rig->pool->dirfd, "rename-0123456789abcdef", record, (size_t)n + 1, 0600));
}

static void test_cut_between_records(void **state)
{
    static const unsigned cuts[] = {HAS_INTENT, HAS_INTENT | HAS_WAITING, HAS_INTENT | HAS_MOVED,
        HAS_INTENT | HAS_WAITING | HAS_MOVED, HAS_WAITING | HAS_MOVED};
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct world w;
        begin_cut(&w, 534, cuts[i]);
        for (unsigned twice = 0; twice < 2; twice++) {
            open_tree(&w);
            reads(&w, "z/in/it");
            is_absent(&w, "deep");
            assert_int_equal(records(&w, false), 1);
            close_tree(&w);
        }
        assert_int_equal(faccessat(w.rig->pool->dirfd, "rename-0123456789abcdef", F_OK, 0), -1);
        open_tree(&w);
        comes_back(&w, NULL);
        assert_true(rig_holds(w.rig, 0, "z/in/it"));
        end_well(&w);
    }
}

/* And nobody opened the tree before the drive was given up. */
static void test_cut_and_rebuilt(void **state)
{
    struct world w;
    (void)state;
    begin_cut(&w, 535, HAS_WAITING);
    is_rebuilt_onto_d5(&w);
    assert_true(rig_holds(w.rig, 5, "z/in/it"));
    assert_false(rig_holds(w.rig, 5, "deep"));
    rig_destroy(w.rig);
}

/* The power of the drive goes while it is done, and what was not synced may be lost. */
static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    const struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)drive;
    for (unsigned d = 0; d < rig->n; d++)
        drv_fault_add(rig->drive[d].fault, &rule, NULL);
}

static bool power_goes_at(uint64_t n, bool late, uint64_t seed)
{
    struct world w;
    begin_attributes(&w, RIG_MEM_CUT, 533);
    some_are_renamed(&w);
    sets(&w, "far/b", 0711, 0, some_time);
    close_tree(&w);
    rig_sync_drives(w.rig);
    rig_bring_back(w.rig, 0);
    rig_tap(w.rig, RIG_CUTS, n, late, tap_cut);
    if (!try_open_tree(&w))
        close_tree(&w);
    bool cut = w.rig->tap_left > n; /* it counts on, from below 0 */
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    open_tree(&w);
    they_have_new_names(&w);
    the_drive_has_new_names(&w);
    end_well(&w);
    return cut;
}

static void test_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("away_folders_power"), step = rig_all() ? 1 : 13, n;
    for (n = rig_hash(seed) % step; power_goes_at(n, rig_hash(seed + n) % 2, rig_hash(seed ^ n));
         n += step)
        assert_true(n < 1000);
    print_message("up to call %llu\n", (unsigned long long)n);
    assert_true(n > 20);
}

/* A rename on two drives that are there, and the power goes just after it: on both, or on neither. */
static void power_goes_after(uint64_t seed)
{
    struct world w;
    begin_folders(&w, RIG_MEM_CUT, 536);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    open_tree(&w);
    renames(&w, "a", "far/z", 0);
    close_tree(&w);
    rig_close(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    open_tree(&w);
    reads(&w, "far/z/one");
    reads(&w, "far/z/three");
    is_absent(&w, "a");
    for (unsigned d = 0; d < 2; d++)
        assert_true(rig_holds(w.rig, d, "far/z") && !rig_holds(w.rig, d, "a"));
    end_well(&w);
}

static void test_power_cut_after_it(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("away_folders_power_after");
    for (unsigned i = 0; i < 8; i++)
        power_goes_after(seed + i);
}

/* It cannot be made durable now: its record stays, and the next one sees to it. */
static void test_not_durable(void **state)
{
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_DIR_SYNC | DRV_FAULT_SYNC_ALL, .err = MRMR_SPACE};
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM_CUT, 537);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    open_tree(&w);
    rig_ok(is_there(&w, "a"));
    rig_ok(drv_fault_add(w.rig->drive[1].fault, &rule, NULL));
    renames(&w, "a", "z", 0);
    close_tree(&w);
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, 1);
    rig_open(w.rig);
    open_tree(&w);
    reads(&w, "z/one");
    reads(&w, "z/three");
    is_absent(&w, "a");
    end_well(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_killed_while_it_is_renamed),
        cmocka_unit_test(test_cut_between_records),
        cmocka_unit_test(test_cut_and_rebuilt),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_power_cut_after_it),
        cmocka_unit_test(test_not_durable),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_folders_cuts", tests, NULL, NULL);
}
