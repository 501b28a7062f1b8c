/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * I5: what vanishes or changes in bulk, or in a way no edit has, is held until the user says yes.
 */
#include "pool_scan_world.h"

#include <stdio.h>
#include <string.h>

enum { FILES = 20 };

static char *name_of(int i)
{
    static char name[4][32];
    static int turn;
    char *path = name[turn++ % 4];
    snprintf(path, sizeof name[0], "dir/%02d", i);
    return path;
}

static void twenty_files(struct scan_world *w)
{
    scan_world_mkdir(w, "dir");
    for (int i = 0; i < FILES; i++)
        scan_world_file(w, name_of(i), 2 * LEAF, 1);
    scan_world_scan(w);
    for (int i = 0; i < FILES; i++)
        scan_world_protect(w, name_of(i));
}

static void a_few_losses_take_effect(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    int64_t id = scan_world_node(w, name_of(0)).id;
    for (int i = 0; i < 6; i++) /* 30 %, not more */
        scan_world_unlink(w, name_of(i));
    scan_world_sync(w);
    struct meta_node node;
    assert_int_equal(w->report.drives_held, 0);
    assert_int_equal(w->report.vanished, 6);
    assert_int_equal(meta_node_get(w->pool.meta, id, &node), MRMR_ABSENT);
    scan_world_check(w);
}

static void mass_disappearance_holds_the_drive(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    struct meta_node first = scan_world_node(w, name_of(0));
    for (int i = 0; i < 7; i++)
        scan_world_rename(w, name_of(i), (char[]){'t', (char)('0' + i), 0});
    /* Out of sight, and with other contents to be found later. */
    for (int i = 0; i < 7; i++)
        scan_world_unlink(w, (char[]){'t', (char)('0' + i), 0});
    scan_world_write(w, name_of(10), 0, 10, 9);
    scan_world_mtime(w, name_of(10), scan_world_node(w, name_of(10)).mtime + 5);
    scan_world_file(w, "new", 77, 1);
    scan_world_sync(w);
    assert_int_equal(w->report.drives_held, 1);
    assert_int_equal(w->report.held, 8);
    assert_int_equal(w->report.vanished + w->report.changed, 0);
    assert_non_null(strstr(w->drive[0]->meta.hold, "of 21 files 7 vanished and 1 changed since "));
    assert_non_null(strstr(w->last, "--accept-changes"));
    assert_int_equal(scan_world_events(w, "hold"), 1);
    assert_states(w, first.id, "MM");
    assert_int_equal(scan_world_node(w, name_of(0)).id, first.id);
    assert_states(w, scan_world_node(w, name_of(10)).id, "MM");
    assert_int_equal(scan_world_node(w, name_of(10)).version, 1);
    assert_states(w, scan_world_node(w, name_of(15)).id, "LL");
    assert_int_equal(scan_world_exposed(w, "new"), 77); /* new files are taken in all the same */

    /* It goes on, and is not told as news again. */
    scan_world_sync(w);
    assert_int_equal(w->report.drives_held, 1);
    assert_int_equal(scan_world_events(w, "hold"), 1);
    assert_states(w, first.id, "MM");

    /* The user says yes. */
    scan_world_accept(w);
    assert_int_equal(w->drive[0]->meta.hold[0], 0);
    assert_int_equal(w->report.vanished, 7);
    struct meta_node node;
    assert_int_equal(meta_node_get(w->pool.meta, first.id, &node), MRMR_ABSENT);
    assert_states(w, scan_world_node(w, name_of(10)).id, "GL");
    assert_int_equal(scan_world_exposed(w, name_of(10)), LEAF);
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void a_hold_ends_when_everything_is_back(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    int64_t id = scan_world_node(w, name_of(3)).id;
    if (!(w->drive[0]->info.caps & DRV_CAP_BTIME))
        return;
    scan_world_rename(w, "dir", POOL_DOT); /* where the scan does not look */
    scan_world_sync(w);
    assert_int_equal(w->report.drives_held, 1);
    assert_states(w, id, "MM");
    scan_world_rename(w, POOL_DOT, "dir");
    scan_world_scan(w);
    assert_int_equal(w->report.drives_held, 0);
    assert_int_equal(w->drive[0]->meta.hold[0], 0);
    assert_states(w, id, "SS"); /* not believed before it is read */
    scan_world_compare(w);
    assert_states(w, id, "LL");
    assert_int_equal(scan_world_events(w, "hold-lifted"), 1);
    scan_world_check(w);
}

static void a_hold_does_not_end_below_its_threshold(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    for (int i = 0; i < 8; i++)
        scan_world_unlink(w, name_of(i));
    scan_world_scan(w);
    assert_int_equal(w->report.drives_held, 1);
    for (int i = 1; i < 8; i++) { /* from a backup: seven of eight */
        scan_world_file(w, name_of(i), 2 * LEAF, 1);
        scan_world_mtime(w, name_of(i), scan_world_node(w, name_of(i)).mtime);
    }
    scan_world_sync(w);
    assert_int_equal(w->report.drives_held, 1);
    assert_states(w, scan_world_node(w, name_of(0)).id, "MM");
    assert_states(w, scan_world_node(w, name_of(1)).id, "LL");
    scan_world_accept(w);
    scan_world_check(w);
}

static void an_emptied_drive_is_held_however_small(void **state)
{
    struct scan_world *w = *state;
    scan_world_file(w, "only", 10, 1);
    scan_world_scan(w);
    scan_world_protect(w, "only");
    scan_world_unlink(w, "only");
    scan_world_scan(w);
    assert_int_equal(w->report.drives_held, 1);
    assert_states(w, scan_world_node(w, "only").id, "M");
}

static void the_number_of_files_holds_too(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    assert_ok(meta_set(w->pool.meta, "hold-files", "3"));
    for (int i = 0; i < 3; i++)
        scan_world_unlink(w, name_of(i));
    scan_world_scan(w);
    assert_int_equal(w->report.drives_held, 0);
    for (int i = 3; i < 7; i++)
        scan_world_unlink(w, name_of(i));
    scan_world_scan(w);
    assert_int_equal(w->report.drives_held, 1);
}

static void a_top_folder_that_empties_holds_the_drive(void **state)
{
    struct scan_world *w = *state;
    char path[32];
    scan_world_mkdir(w, "photos");
    scan_world_mkdir(w, "rest");
    for (int i = 0; i < 400; i++)
        scan_world_file(
            w, (snprintf(path, sizeof path, "%s/%d", i < 120 ? "photos" : "rest", i), path), 1, 1);
    scan_world_scan(w);
    for (int i = 0; i < 40; i++)
        scan_world_unlink(w, (snprintf(path, sizeof path, "photos/%d", i), path));
    scan_world_scan(w);
    assert_int_equal(w->report.drives_held, 1);
    assert_non_null(strstr(w->drive[0]->meta.hold, "of 120 files in photos 40 vanished"));
}

static void mass_moves_are_no_loss(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_INO))
        return;
    scan_world_mkdir(w, "other");
    for (int i = 0; i < FILES; i++) {
        char path[32];
        scan_world_rename(w, name_of(i), (snprintf(path, sizeof path, "other/%d", i), path));
    }
    scan_world_rmdir(w, "dir");
    scan_world_sync(w);
    assert_int_equal(w->report.drives_held, 0);
    assert_int_equal(w->report.moved, FILES);
    assert_states(w, scan_world_node(w, "other/7").id, "LL");
    scan_world_check(w);
}

static void a_held_drive_holds_replaced_files_too(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_INO))
        return;
    int64_t one = scan_world_node(w, name_of(1)).id;
    for (int i = 5; i < 15; i++)
        scan_world_unlink(w, name_of(i));
    scan_world_rename(w, name_of(0), name_of(1)); /* 0's file where 1's was */
    scan_world_sync(w);
    assert_int_equal(w->report.drives_held, 1);
    assert_int_equal(scan_world_node(w, name_of(1)).id, one);
    assert_states(w, one, "MM");
    scan_world_accept(w);
    scan_world_check(w);
}

/* --- Single files --- */

/* As it is seen while a file is being cut short: the new size, the old times. */
static void seen_half_cut(struct scan_world *w, const char *name, uint64_t size)
{
    struct drv_stat stat;
    scan_world_truncate(w, name, size);
    assert_ok(drv_stat(scan_world_drv(w), name, &stat));
    struct meta_node node = scan_world_node(w, name);
    node.mtime = stat.mtime;
    node.ctime = stat.ctime;
    assert_ok(meta_node_store(w->pool.meta, &node));
}

static void cut_further(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op;
    scan_world_truncate(arg, path, LEAF / 2);
}

static void a_file_that_is_being_cut_short_is_no_hold(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    seen_half_cut(w, name_of(4), LEAF + 5);
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_STAT,
            .part = name_of(4),
            .after = 2,
            .times = 1,
            .action = DRV_FAULT_HOOK,
            .hook = cut_further,
            .arg = w},
        NULL));
    scan_world_sync(w);
    assert_int_equal(w->report.held, 0);
    assert_int_equal(scan_world_events(w, "held"), 0);
    assert_int_equal(scan_world_node(w, name_of(4)).size, LEAF / 2);
    scan_world_check(w);
}

static void a_file_that_stays_cut_short_without_a_time_is_held(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    seen_half_cut(w, name_of(4), LEAF + 5);
    scan_world_sync(w);
    assert_int_equal(w->report.held, 1);
    assert_states(w, scan_world_node(w, name_of(4)).id, "MM");
}

/* Two edits in one tick of the clock leave one time. The scan that saw the file between them could
 * not compare it any more: nothing of what it saw is protected. */
static void two_edits_in_one_tick_are_edits(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    scan_world_write(w, name_of(4), LEAF / 4, LEAF / 4, 8);
    scan_world_scan(w);
    struct meta_node node = scan_world_node(w, name_of(4));
    assert_states(w, node.id, "SS");
    scan_world_truncate(w, name_of(4), LEAF + LEAF / 2);
    scan_world_mtime(w, name_of(4), node.mtime);
    scan_world_sync(w);
    assert_int_equal(w->report.held, 0);
    assert_int_equal(scan_world_held(w), 0);
    assert_int_equal(scan_world_events(w, "held"), 0);
    assert_int_equal(scan_world_node(w, name_of(4)).size, LEAF + LEAF / 2);
    assert_states(w, node.id, "GG");
    scan_world_check(w);
}

static void a_file_cut_short_without_a_newer_time_is_held(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    struct meta_node node = scan_world_node(w, name_of(4));
    scan_world_truncate(w, name_of(4), LEAF / 2);
    scan_world_mtime(w, name_of(4), node.mtime);
    scan_world_sync(w);
    assert_int_equal(w->report.held, 1);
    assert_int_equal(w->report.drives_held, 0);
    assert_int_equal(scan_world_held(w), 1);
    assert_int_equal(scan_world_events(w, "held"), 1);
    assert_non_null(strstr(w->last, "dir/04"));
    assert_states(w, node.id, "MM");
    assert_int_equal(scan_world_node(w, name_of(4)).size, 2 * LEAF);
    assert_int_equal(scan_world_exposed(w, name_of(4)), 0);

    /* Held is held, also when it is written to again. */
    scan_world_write(w, name_of(4), 0, LEAF / 4, 8);
    scan_world_sync(w);
    assert_int_equal(w->report.held, 1);
    assert_int_equal(scan_world_events(w, "held"), 1);
    assert_states(w, node.id, "MM");

    /* As it was: compared, and live. */
    scan_world_write(w, name_of(4), 0, 2 * LEAF, 1);
    scan_world_mtime(w, name_of(4), node.mtime);
    scan_world_sync(w);
    assert_states(w, node.id, "LL");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void a_cut_file_is_taken_when_the_user_says_yes(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    struct meta_node node = scan_world_node(w, name_of(4));
    scan_world_truncate(w, name_of(4), LEAF);
    scan_world_mtime(w, name_of(4), node.mtime);
    scan_world_sync(w);
    assert_states(w, node.id, "MM");
    scan_world_accept(w);
    assert_states(w, node.id, "LG");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void losses_after_the_power_went_are_held(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    scan_world_file(w, "bare", 5, 1);
    scan_world_scan(w);
    struct meta_node gone = scan_world_node(w, name_of(2)), cut = scan_world_node(w, name_of(3));
    strcpy(w->drive[0]->meta.boot, "6b1ee4f4-0000-4000-8000-000000000000");
    w->drive[0]->meta.scanned = 1; /* long before this boot */
    scan_world_unlink(w, name_of(2));
    scan_world_unlink(w, "bare");
    scan_world_truncate(w, name_of(3), 0); /* its time is newer, as after a replayed journal */
    scan_world_sync(w);
    assert_int_equal(w->report.held, 2);
    assert_states(w, gone.id, "MM");
    assert_states(w, cut.id, "MM");
    assert_int_equal(scan_world_node(w, name_of(2)).id, gone.id);
    struct meta_node node;
    assert_false(scan_world_knows(w, "bare", &node)); /* nothing could give it back */

    /* The next scan is not after a crash, yet these stay. */
    scan_world_sync(w);
    assert_int_equal(scan_world_held(w), 2);
    assert_states(w, gone.id, "MM");
    scan_world_unlink(w, name_of(9));
    scan_world_sync(w);
    assert_false(scan_world_knows(w, name_of(9), &node));
    scan_world_accept(w);
    assert_false(scan_world_knows(w, name_of(2), &node));
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void a_restoring_drive_lacks_nothing(void **state)
{
    struct scan_world *w = *state;
    twenty_files(w);
    uint64_t n;
    w->drive[0]->meta.state = META_DRIVE_REBUILDING;
    assert_ok(meta_todo_add_drive(w->pool.meta, "rebuild", w->drive[0]->meta.id, &n));
    for (int i = 0; i < FILES; i++)
        scan_world_unlink(w, name_of(i));
    scan_world_file(w, name_of(0), 5, 1); /* half restored */
    scan_world_sync(w);
    assert_int_equal(w->report.drives_held + w->report.held + w->report.vanished, 0);
    assert_states(w, scan_world_node(w, name_of(0)).id, "LL");
    assert_int_equal(scan_world_node(w, name_of(0)).size, 2 * LEAF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_few_losses_take_effect),
        BOTH(mass_disappearance_holds_the_drive),
        BOTH(a_hold_ends_when_everything_is_back),
        BOTH(a_hold_does_not_end_below_its_threshold),
        BOTH(an_emptied_drive_is_held_however_small),
        BOTH(the_number_of_files_holds_too),
        BOTH(a_top_folder_that_empties_holds_the_drive),
        BOTH(mass_moves_are_no_loss),
        BOTH(a_held_drive_holds_replaced_files_too),
        BOTH(a_file_that_is_being_cut_short_is_no_hold),
        BOTH(a_file_that_stays_cut_short_without_a_time_is_held),
        BOTH(two_edits_in_one_tick_are_edits),
        BOTH(a_file_cut_short_without_a_newer_time_is_held),
        BOTH(a_cut_file_is_taken_when_the_user_says_yes),
        BOTH(losses_after_the_power_went_are_held),
        BOTH(a_restoring_drive_lacks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
