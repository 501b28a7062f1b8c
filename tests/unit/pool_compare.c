/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Changed files, leaf by leaf: what stays protected, what is exposed, what is held.
 */
#include "pool_scan_world.h"

#include <stdio.h>
#include <string.h>

/* A file of whole leaves and a bit, protected, beside enough others that nothing is too much. */
static struct meta_node protected_file(struct scan_world *w, const char *path, uint64_t size)
{
    char name[32];
    scan_world_mkdir(w, "ballast");
    for (int i = 0; i < 20; i++)
        scan_world_file(w, (snprintf(name, sizeof name, "ballast/%d", i), name), 10, 1);
    scan_world_file(w, path, size, 1);
    scan_world_scan(w);
    scan_world_protect(w, path);
    assert_int_equal(scan_world_exposed(w, path), 0);
    return scan_world_node(w, path);
}

static void edit(struct scan_world *w, const char *path, uint64_t offset, uint64_t size)
{
    int64_t mtime = scan_world_get_mtime(w, path);
    scan_world_write(w, path, offset, size, 99);
    if (scan_world_get_mtime(w, path) == mtime)
        scan_world_mtime(w, path, mtime + MRMR_NS_PER_S);
}

static void an_edit_costs_the_leaves_it_touched(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 5 * LEAF + 100);
    edit(w, "f", 2 * LEAF + 17, 5);
    scan_world_scan(w);
    assert_states(w, node.id, "SSSSSS");
    assert_int_equal(scan_world_node(w, "f").version, node.version + 1);
    assert_int_equal(scan_world_exposed(w, "f"), 5 * LEAF + 100); /* until it is compared */
    scan_world_compare(w);
    assert_states(w, node.id, "LLGLLL");
    assert_int_equal(scan_world_exposed(w, "f"), LEAF);
    scan_world_check(w);
    scan_world_protect(w, "f");
    scan_world_check(w);
}

static void an_append_leaves_a_prefix_in_place(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 2 * LEAF + 100);
    edit(w, "f", 2 * LEAF + 100, 50);
    scan_world_sync(w);
    assert_states(w, node.id, "LLT");
    assert_int_equal(scan_world_exposed(w, "f"), 150);
    scan_world_check(w);
    /* Once more, before anybody protected it: the prefix is still one. */
    edit(w, "f", 2 * LEAF + 150, LEAF);
    scan_world_sync(w);
    assert_states(w, node.id, "LLT");
    assert_int_equal(scan_world_exposed(w, "f"), LEAF + 150);
    scan_world_protect(w, "f");
    scan_world_check(w);
    /* And when even the prefix is written over, it is none any more. */
    edit(w, "f", 2 * LEAF, 5);
    scan_world_sync(w);
    assert_states(w, node.id, "LLGGL");
    scan_world_check(w);
}

static void a_shortened_file_loses_its_end(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 3 * LEAF + 100);
    scan_world_truncate(w, "f", LEAF + 10);
    scan_world_mtime(w, "f", node.mtime + MRMR_NS_PER_S);
    scan_world_sync(w);
    assert_states(w, node.id, "LGGG");
    assert_int_equal(scan_world_exposed(w, "f"), 10);
    scan_world_check(w);
}

static void a_touched_file_stays_protected(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 3 * LEAF);
    scan_world_mtime(w, "f", node.mtime + MRMR_NS_PER_S);
    scan_world_sync(w);
    assert_states(w, node.id, "LLL");
    assert_int_equal(scan_world_exposed(w, "f"), 0);
    /* Back in time is no edit either, if the bytes are the same. */
    scan_world_mtime(w, "f", node.mtime - MRMR_NS_PER_S);
    scan_world_sync(w);
    assert_states(w, node.id, "LLL");
    assert_int_equal(scan_world_held(w), 0);
    assert_int_equal(scan_world_node(w, "f").mtime, node.mtime - MRMR_NS_PER_S);
    scan_world_check(w);
}

static void another_mode_alone_is_read_and_compared(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 3 * LEAF);
    assert_ok(
        drv_set_attr(scan_world_drv(w), "f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0600}));
    scan_world_sync(w);
    struct meta_node now = scan_world_node(w, "f");
    assert_int_equal(now.version, node.version);
    assert_int_equal(now.mode, 0600);
    assert_false(now.recheck);
    assert_states(w, node.id, "LLL");
    scan_world_check(w);
}

/* The edit that hides: size and time as before. */
static void an_edit_with_the_time_put_back_is_held(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 3 * LEAF);
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_CTIME))
        return;
    scan_world_write(w, "f", LEAF, 100, 99);
    scan_world_mtime(w, "f", node.mtime);
    scan_world_sync(w);
    assert_states(w, node.id, "LML");
    assert_int_equal(w->report.held, 1);
    assert_int_equal(scan_world_held(w), 1);
    assert_int_equal(scan_world_exposed(w, "f"), 0);
    assert_int_equal(scan_world_events(w, "held"), 1);
    uint64_t reads = drv_fault_calls(w->fault[0], DRV_FAULT_FILE_READ);
    scan_world_sync(w); /* nothing new: it is not read again and again */
    assert_int_equal(drv_fault_calls(w->fault[0], DRV_FAULT_FILE_READ), reads);
    assert_int_equal(scan_world_held(w), 1);
    scan_world_accept(w);
    assert_states(w, node.id, "LGL");
    assert_int_equal(scan_world_exposed(w, "f"), LEAF);
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void the_right_bytes_put_back_end_the_hold(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 3 * LEAF);
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_CTIME))
        return;
    scan_world_write(w, "f", LEAF, 100, 99);
    scan_world_mtime(w, "f", node.mtime);
    scan_world_sync(w);
    assert_states(w, node.id, "LML");
    scan_world_write(w, "f", LEAF, 100, 1);
    scan_world_mtime(w, "f", node.mtime);
    scan_world_sync(w);
    assert_states(w, node.id, "LLL");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

/* Every inode new, as when a drive was copied to a larger one. */
static void a_copied_tree_is_compared_and_stays_protected(void **state)
{
    struct scan_world *w = *state;
    protected_file(w, "f", 100);
    scan_world_mkdir(w, "a/b");
    scan_world_file(w, "a/b/x", 2 * LEAF, 3);
    scan_world_scan(w);
    scan_world_protect(w, "a/b/x");
    struct meta_node x = scan_world_node(w, "a/b/x"), b = scan_world_node(w, "a/b");
    scan_world_mkdir(w, "new/b");
    scan_world_file(w, "new/b/x", 2 * LEAF, 3);
    scan_world_mtime(w, "new/b/x", x.mtime);
    scan_world_unlink(w, "a/b/x");
    scan_world_rmdir(w, "a/b");
    scan_world_rmdir(w, "a");
    scan_world_rename(w, "new", "a");
    scan_world_sync(w);
    assert_int_equal(w->report.vanished + w->report.added + w->report.changed, 0);
    assert_int_equal(scan_world_node(w, "a/b").id, b.id);
    assert_int_equal(scan_world_node(w, "a/b/x").id, x.id);
    assert_states(w, x.id, "LL");
    scan_world_check(w);
}

/* By the change time that a drive keeps, a later change is told from what was compared; else it waits. */
static bool tells_later_changes(const struct scan_world *w)
{
    return w->drive[0]->info.caps & DRV_CAP_STABLE_CTIME;
}

static void what_changes_after_the_scan_is_compared_as_it_is(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 4 * LEAF);
    edit(w, "f", 5, 5);
    scan_world_scan(w);
    edit(w, "f", LEAF + 5, 5); /* after the scan */
    scan_world_compare(w);
    if (tells_later_changes(w)) {
        assert_states(w, node.id, "GGLL");
        assert_int_equal(w->report.skipped, 0);
        assert_int_equal(scan_world_exposed(w, "f"), 2 * LEAF);
    } else {
        assert_states(w, node.id, "SSSS");
        assert_int_equal(w->report.skipped, 1);
        assert_int_equal(scan_world_events(w, "file-skipped"), 1);
        assert_non_null(strstr(w->last, "f"));
    }
    scan_world_sync(w);
    assert_states(w, node.id, "GGLL");
    scan_world_check(w);
}

/* The scan that found it is not the last that looks: what changes behind the comparison is found, too. */
static void what_changes_after_it_was_compared_is_found(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 4 * LEAF);
    edit(w, "f", 5, 5);
    scan_world_scan(w);
    edit(w, "f", LEAF + 5, 5);
    scan_world_compare(w);
    int64_t mtime = scan_world_get_mtime(w, "f");
    scan_world_write(w, "f", 2 * LEAF, 5, 99);
    scan_world_mtime(w, "f", mtime); /* as who hides it would */
    scan_world_sync(w);
    assert_states(w, node.id, "GGGL");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

/* Of what is appended meanwhile the catalog knows nothing yet: neither that the last leaf is longer. */
static void what_grows_after_the_scan_is_compared_as_far_as_it_was(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 2 * LEAF + 100);
    edit(w, "f", 5, 5);
    scan_world_scan(w);
    edit(w, "f", 2 * LEAF + 100, LEAF);
    scan_world_compare(w);
    assert_states(w, node.id, tells_later_changes(w) ? "GLL" : "SSS");
    if (tells_later_changes(w))
        assert_int_equal(scan_world_exposed(w, "f"), LEAF);
    scan_world_sync(w);
    assert_states(w, node.id, "GLT");
    assert_int_equal(scan_world_exposed(w, "f"), LEAF + 100 + LEAF);
    scan_world_check(w);
}

/* Holes stay holes, though so much lies behind what the catalog knows that it seems to have none. */
static void what_grows_after_the_scan_keeps_its_holes(void **state)
{
    struct scan_world *w = *state;
    if (!(w->drive[0]->info.caps & DRV_CAP_SPARSE) || !tells_later_changes(w))
        return;
    protected_file(w, "f", 2 * LEAF);
    scan_world_truncate(w, "f", 4 * LEAF);
    edit(w, "f", 5, 5);
    scan_world_scan(w);
    edit(w, "f", 4 * LEAF, 3 * LEAF);
    scan_world_compare(w);
    assert_int_equal(scan_world_exposed(w, "f"), LEAF);
    scan_world_sync(w);
    assert_int_equal(scan_world_exposed(w, "f"), 4 * LEAF);
    scan_world_check(w);
}

/* A file whose end goes to and fro: what is not cut off is as it was, and whoever shares parity with it has that margin. */
static void what_is_cut_short_after_the_scan_is_compared_as_it_is(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 4 * LEAF + 100);
    edit(w, "f", LEAF + 5, 5);
    scan_world_scan(w);
    scan_world_truncate(w, "f", 2 * LEAF + 1);
    scan_world_compare(w);
    assert_states(w, node.id, tells_later_changes(w) ? "LGGGG" : "SSSSS");
    assert_int_equal(w->report.skipped, !tells_later_changes(w));
    if (tells_later_changes(w))
        assert_int_equal(scan_world_exposed(w, "f"), 3 * LEAF + 100);
    scan_world_sync(w);
    assert_states(w, node.id, "LGGGG");
    assert_int_equal(scan_world_exposed(w, "f"), LEAF + 1);
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

/* A file that says of itself that it is longer than it can be read is not what anybody cut. */
static void what_is_short_without_a_change_waits(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 2 * LEAF);
    edit(w, "f", 5, 5);
    scan_world_scan(w);
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_FILE_READ,
            .times = 1,
            .action = DRV_FAULT_ERROR,
            .err = MRMR_TRUNCATED},
        NULL));
    scan_world_compare(w);
    assert_states(w, node.id, "SS");
    assert_int_equal(w->report.skipped, 1);
    scan_world_compare(w);
    assert_states(w, node.id, "GL");
}

/* Another file is no later change of this one. */
static void what_is_replaced_after_the_scan_waits(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 2 * LEAF);
    scan_world_file(w, "g", 2 * LEAF, 1);
    scan_world_sync(w);
    edit(w, "f", 5, 5);
    scan_world_scan(w);
    scan_world_unlink(w, "f");
    scan_world_rename(w, "g", "f");
    scan_world_compare(w);
    assert_states(w, node.id, "SS");
}

/* Nobody is accused of what may be an edit. */
static void what_should_be_as_it_was_and_changes_waits(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 2 * LEAF);
    if (!tells_later_changes(w))
        return;
    assert_ok(
        drv_set_attr(scan_world_drv(w), "f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0600}));
    scan_world_scan(w);
    edit(w, "f", 5, 5);
    scan_world_compare(w);
    assert_states(w, node.id, "SS");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_sync(w);
    assert_states(w, node.id, "GL");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

/* Also if it is a change of the mode that comes between: the edit is still an edit. */
static void an_edit_that_waits_is_no_damage(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 2 * LEAF);
    edit(w, "f", 5, 5);
    scan_world_scan(w);
    assert_ok(
        drv_set_attr(scan_world_drv(w), "f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0600}));
    scan_world_sync(w);
    assert_states(w, node.id, "GL");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void hook_edit(void *arg, enum drv_fault_op op, const char *path)
{
    struct scan_world *w = arg;
    (void)op, (void)path;
    const int64_t mtime = scan_world_get_mtime(w, "f");
    scan_world_write(w, "f", LEAF + 5, 5, 99);
    scan_world_mtime(w, "f", mtime + MRMR_NS_PER_S);
}

/* Behind the leaves that were read already: they were in place, and the next scan finds that they are not. */
static void what_changes_during_the_reading_is_found_by_the_next_scan(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 2 * LEAF);
    scan_world_mtime(w, "f", node.mtime + MRMR_NS_PER_S);
    scan_world_scan(w);
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_FILE_READ,
            .times = 1,
            .after = 1,
            .late = true,
            .action = DRV_FAULT_HOOK,
            .hook = hook_edit,
            .arg = w},
        NULL));
    scan_world_compare(w);
    assert_states(w, node.id, tells_later_changes(w) ? "LL" : "SS");
    assert_int_equal(w->report.skipped, !tells_later_changes(w));
    scan_world_sync(w);
    assert_states(w, node.id, "LG");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void leaves_that_cannot_be_read_count_as_missing(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 3 * LEAF);
    assert_ok(
        drv_set_attr(scan_world_drv(w), "f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0600}));
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_FILE_READ,
            .after = 1,
            .times = 1,
            .action = DRV_FAULT_ERROR,
            .err = MRMR_IO},
        NULL));
    scan_world_sync(w);
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_CTIME))
        return;
    assert_states(w, node.id, "LML");
    assert_int_equal(scan_world_events(w, "unreadable"), 1);
}

static void a_file_that_may_not_be_opened_is_told(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", LEAF);
    edit(w, "f", 0, 1);
    scan_world_scan(w);
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_FILE_OPEN,
            .prefix = "f",
            .action = DRV_FAULT_ERROR,
            .err = MRMR_DENIED},
        NULL));
    scan_world_compare(w);
    assert_states(w, node.id, "S");
    assert_int_equal(w->report.skipped, 1);
    assert_non_null(strstr(w->last, "f"));
    drv_fault_clear(w->fault[0]);
    scan_world_compare(w);
    assert_states(w, node.id, "G");
}

static void a_hole_punched_is_an_erasure_and_not_exposed(void **state)
{
    struct scan_world *w = *state;
    struct meta_node node = protected_file(w, "f", 3 * LEAF);
    if (!(w->drive[0]->info.caps & DRV_CAP_SPARSE))
        return;
    scan_world_truncate(w, "f", LEAF);
    scan_world_truncate(w, "f", 3 * LEAF);
    scan_world_mtime(w, "f", node.mtime + MRMR_NS_PER_S);
    scan_world_sync(w);
    assert_states(w, node.id, "LGG");
    assert_int_equal(scan_world_exposed(w, "f"), 0);
    scan_world_check(w);
}

/* --- The clock --- */

static const int64_t grain = 30 * 1000 * 1000;

static int64_t waited_for(const struct drv_info *info, const struct drv_stat *stat, int64_t seen)
{
    const int64_t start = mrmr_clock_monotonic();
    pool_tick_wait(info, stat, seen);
    return mrmr_clock_monotonic() - start;
}

static void a_fresh_file_is_waited_for(void **state)
{
    (void)state;
    const struct drv_info info = {
        .time_grain = grain, .caps = DRV_CAP_STABLE_CTIME | DRV_CAP_OUR_CLOCK};
    struct drv_stat stat = {.mtime = 1, .ctime = mrmr_clock_real()};
    assert_false(pool_tick_over(&info, &stat, stat.ctime));
    pool_tick_wait(&info, &stat, mrmr_clock_monotonic());
    assert_true(mrmr_clock_real() - stat.ctime >= 2 * grain);
    assert_true(pool_tick_over(&info, &stat, mrmr_clock_real()));
    stat.ctime -= 3600 * MRMR_NS_PER_S;
    const struct drv_info coarse = {.time_grain = 1000 * MRMR_NS_PER_S, .caps = info.caps};
    assert_true(waited_for(&coarse, &stat, mrmr_clock_monotonic()) < grain * 30);
}

/* As of a camera whose clock is wrong, or of ours before it was set back, when that may come to be once more: once for all that were seen at
 * the same time. */
static void a_time_to_come_is_waited_for_once(void **state)
{
    (void)state;
    const int64_t now = mrmr_clock_real();
    const struct drv_info info = {.time_grain = grain, .caps = DRV_CAP_OUR_CLOCK};
    const struct drv_stat stat = {.mtime = now + 9 * 365 * 86400 * MRMR_NS_PER_S};
    assert_false(pool_tick_over(&info, &stat, now));
    const int64_t seen = mrmr_clock_monotonic();
    assert_true(waited_for(&info, &stat, seen) >= grain);
    assert_true(mrmr_clock_monotonic() - seen >= 2 * grain);
    const struct drv_info coarse = {.time_grain = 3600 * MRMR_NS_PER_S, .caps = DRV_CAP_OUR_CLOCK};
    assert_true(waited_for(&coarse, &stat, seen - 2 * coarse.time_grain) < MRMR_NS_PER_S);
}

/* Its clock may be ahead or behind: the times say nothing, but when they were seen does. */
static void what_another_machine_stamps_is_waited_for(void **state)
{
    (void)state;
    const struct drv_info info = {.time_grain = grain, .caps = DRV_CAP_STABLE_CTIME};
    const struct drv_info coarse = {
        .time_grain = 3600 * MRMR_NS_PER_S, .caps = DRV_CAP_STABLE_CTIME};
    const int64_t hours[] = {-24, -1, 0, 1, 24};
    for (size_t i = 0; i < sizeof hours / sizeof *hours; i++) {
        const int64_t now = mrmr_clock_real();
        const struct drv_stat stat = {.mtime = 1, .ctime = now + hours[i] * 3600 * MRMR_NS_PER_S};
        assert_false(pool_tick_over(&info, &stat, now));
        const int64_t seen = mrmr_clock_monotonic(), took = waited_for(&info, &stat, seen);
        assert_true(mrmr_clock_monotonic() - seen >= 2 * grain);
        assert_true(took < 3600 * MRMR_NS_PER_S / 2); /* and not until our clock says so */
        /* Once for all that were seen then. */
        assert_true(waited_for(&coarse, &stat, seen - 2 * coarse.time_grain) < MRMR_NS_PER_S);
    }
}

static void what_is_unchanged_depends_on_the_drive(void **state)
{
    (void)state;
    struct drv_info info = {.caps = DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME | DRV_CAP_BTIME};
    const struct drv_stat stat = {
        .type = DRV_REG, .size = 5, .mtime = 6, .ctime = 7, .btime = 8, .ino = 9};
    struct meta_node node = {.type = META_REG};
    pool_node_from_stat(&node, &stat);
    assert_int_equal(pool_stat_same(&info, &node, &stat), POOL_SAME);
    struct drv_stat other = stat;
    other.ctime++;
    assert_int_equal(pool_stat_same(&info, &node, &other), POOL_RECHECK);
    other = stat;
    other.ino++;
    assert_int_equal(pool_stat_same(&info, &node, &other), POOL_RECHECK);
    other = stat;
    other.btime++;
    assert_int_equal(pool_stat_same(&info, &node, &other), POOL_RECHECK);
    other.ino++;
    other.ctime++;
    info.caps = 0;
    assert_int_equal(pool_stat_same(&info, &node, &other), POOL_SAME);
    other.mtime--;
    assert_int_equal(pool_stat_same(&info, &node, &other), POOL_DIFFERENT);
    other = stat;
    other.size++;
    assert_int_equal(pool_stat_same(&info, &node, &other), POOL_DIFFERENT);
    other = stat;
    other.type = DRV_FIFO;
    assert_int_equal(pool_stat_same(&info, &node, &other), POOL_DIFFERENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(an_edit_costs_the_leaves_it_touched),
        BOTH(an_append_leaves_a_prefix_in_place),
        BOTH(a_shortened_file_loses_its_end),
        BOTH(a_touched_file_stays_protected),
        BOTH(another_mode_alone_is_read_and_compared),
        BOTH(an_edit_with_the_time_put_back_is_held),
        BOTH(the_right_bytes_put_back_end_the_hold),
        BOTH(a_copied_tree_is_compared_and_stays_protected),
        BOTH(what_changes_after_the_scan_is_compared_as_it_is),
        BOTH(what_changes_after_it_was_compared_is_found),
        BOTH(what_grows_after_the_scan_is_compared_as_far_as_it_was),
        BOTH(what_grows_after_the_scan_keeps_its_holes),
        BOTH(what_is_cut_short_after_the_scan_is_compared_as_it_is),
        BOTH(what_is_short_without_a_change_waits),
        BOTH(what_is_replaced_after_the_scan_waits),
        BOTH(what_should_be_as_it_was_and_changes_waits),
        BOTH(an_edit_that_waits_is_no_damage),
        BOTH(what_changes_during_the_reading_is_found_by_the_next_scan),
        BOTH(leaves_that_cannot_be_read_count_as_missing),
        BOTH(a_file_that_may_not_be_opened_is_told),
        BOTH(a_hole_punched_is_an_erasure_and_not_exposed),
        cmocka_unit_test(a_fresh_file_is_waited_for),
        cmocka_unit_test(a_time_to_come_is_waited_for_once),
        cmocka_unit_test(what_another_machine_stamps_is_waited_for),
        cmocka_unit_test(what_is_unchanged_depends_on_the_drive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
