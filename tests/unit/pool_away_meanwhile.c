/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is removed through the mount, or directly, while its drive is being rebuilt: it goes, and stays
 * removed, and the rebuild goes on; whether the mount has seen by then that another drive has the lost one's place, or that
 * it was given up, or has not.
 */
#include "tests/unit/pool_away_world.h"

#include "tests/support/pause.h"
#include <string.h>

/* What the mount knows when it is asked: the drive is away as far as it has seen, or it has followed. */
enum knows { KNOWS_NOTHING, KNOWS_ALL };

/* Once, in the middle of a rebuild. */
struct meanwhile {
    struct world w;
    struct held held;
    enum knows knows;
    void (*does)(struct world *w);
    bool done;
};

static struct meanwhile *the_case; /* taps have no argument */

static void begin_lost(
    struct meanwhile *m, uint64_t seed, enum knows knows, void (*does)(struct world *w))
{
    *m = (struct meanwhile){.knows = knows, .does = does};
    begin_away(&m->w, RIG_MEM, seed);
}

static void is_lost(struct meanwhile *m)
{
    close_tree(&m->w);
    rig_take_away(m->w.rig, 0);
    hold_monitor(&m->w, &m->held);
    assert_false(tree_live(&m->w.tree->drive[0]));
    rig_reopen(m->w.rig);
    the_case = m;
}

/* The monitor goes on, at once, until the drive is another one to it, or given up. */
static void follow(struct meanwhile *m)
{
    const struct tree_drive *drive = &m->w.tree->drive[0];
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    release_monitor(&m->held);
    while (drive->drive->meta.state != META_DRIVE_RETIRED && !tree_live(drive) && !drive->left) {
        {
            mrmr_locked(&m->w.tree->lock);
            m->w.tree->suspects = true;
            pthread_cond_signal(&m->w.tree->monitor_wake);
        }
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
}

static void do_it(struct meanwhile *m)
{
    if (m->done)
        return;
    m->done = true;
    if (m->knows == KNOWS_ALL)
        follow(m);
    m->does(&m->w);
}

static void tap(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    do_it(the_case);
}

/* Each target's copies are synced, then names are given, then those are synced, and nothing is recorded yet. */
static void tap_placed(struct rig *rig, struct rig_drive *drive)
{
    bool placed = false;
    for (unsigned d = 1; d < rig->n; d++)
        placed = placed || rig_holds(rig, d, "f0");
    if (placed)
        tap(rig, drive);
    else
        rig_tap(rig, DRV_FAULT_SYNC_ALL, 0, true, tap_placed);
}

/* A batch has been recorded. */
static void progress(const struct pool_progress *progress, void *arg)
{
    (void)arg;
    if (strcmp(progress->phase, "rebuild") == 0)
        do_it(the_case);
}

enum { BEFORE_COPIES, ONCE_PLACED, ONCE_RECORDED };

static struct pool_rebuild_report rebuild_beside(
    struct meanwhile *m, const char *onto, unsigned moment)
{
    const struct pool_rebuild_options options = {.drive = "d0", .onto = onto};
    struct pool_job job = rig_job(m->w.rig);
    struct pool_rebuild_report report;
    if (moment == BEFORE_COPIES)
        rig_tap(m->w.rig, DRV_FAULT_CREATE, 0, true, tap);
    else if (moment == ONCE_PLACED)
        rig_tap(m->w.rig, DRV_FAULT_SYNC_ALL, 0, true, tap_placed);
    else
        job.progress = progress;
    rig_ok(pool_rebuild(m->w.rig->pool, &job, &options, &report));
    rig_untap(m->w.rig);
    assert_true(m->done);
    return report;
}

/* It is nowhere, as far as the mount and the drives say. */
static void is_gone(struct world *w, const char *path)
{
    mrmr_err err = is_there(w, path);
    if (err != MRMR_ABSENT)
        fail_msg("'%s': %s", path, mrmr_err_name(err));
    for (unsigned d = 1; d < w->rig->n; d++)
        assert_false(rig_holds(w->rig, d, path));
}

static void ends(struct meanwhile *m)
{
    follow(m);
    close_tree(&m->w);
    sem_destroy(&m->held.begun);
    sem_destroy(&m->held.go_on);
    all_is_well(&m->w);
}

/* A sync takes in what a mount did to a drive that was there. */
static void stays_gone(struct meanwhile *m, const char *path)
{
    follow(m);
    is_gone(&m->w, path);
    rig_sync(m->w.rig);
    assert_int_equal(m->w.rig->report.held, 0);
    is_gone(&m->w, path);
    assert_int_equal(where(&m->w, path), MRMR_ABSENT);
    assert_int_equal(all_records(&m->w), 0);
}

/* --- a file --- */

static void remove_f0(struct world *w)
{
    removes(w, "f0");
}

/* What was given up is there until it is brought elsewhere. */
static void read_all_and_remove_f0(struct world *w)
{
    reads(w, "f0");
    reads(w, "folder/in/one");
    lists(w, "", "f0 folder kept one", "d0");
    removes(w, "f0");
}

static void removed_meanwhile(uint64_t seed, enum knows knows, const char *onto, unsigned moment)
{
    struct meanwhile m;
    const bool shows = knows == KNOWS_ALL && moment == BEFORE_COPIES;
    begin_lost(&m, seed, knows, shows ? read_all_and_remove_f0 : remove_f0);
    is_lost(&m);
    struct pool_rebuild_report report = rebuild_beside(&m, onto, moment);
    assert_int_equal(report.failed + report.conflicts, 0);
    if (!onto || (knows == KNOWS_NOTHING && moment != ONCE_RECORDED)) {
        is_gone(&m.w, "f0");
        assert_int_equal(where(&m.w, "f0"), MRMR_ABSENT);
        assert_int_equal(all_records(&m.w), 0);
    }
    stays_gone(&m, "f0");
    ends(&m);
}

static void test_before_it_is_copied(void **state)
{
    (void)state;
    removed_meanwhile(411, KNOWS_ALL, NULL, BEFORE_COPIES);
    if (rig_all())
        removed_meanwhile(412, KNOWS_NOTHING, NULL, BEFORE_COPIES);
}

static void test_once_it_has_its_name(void **state)
{
    (void)state;
    removed_meanwhile(413, KNOWS_ALL, "d5", ONCE_PLACED);
    removed_meanwhile(414, KNOWS_NOTHING, "d5", ONCE_PLACED);
    if (rig_all())
        removed_meanwhile(415, KNOWS_ALL, NULL, ONCE_PLACED);
}

/* By a record, of a drive that is there already. */
static void test_once_it_is_recorded(void **state)
{
    (void)state;
    removed_meanwhile(416, KNOWS_NOTHING, "d5", ONCE_RECORDED);
}

/* --- one name of two --- */

static void remove_linked(struct world *w)
{
    rig_ok(pool_tree_unlink(w->tree, NULL, POOL_ROOT, "linked"));
}

static void unlink_f0(struct world *w)
{
    rig_ok(pool_tree_unlink(w->tree, NULL, POOL_ROOT, "f0"));
    strcpy(rig_find(w->rig, "f0")->path, "linked");
}

static void one_name_of_two(uint64_t seed, enum knows knows, void (*does)(struct world *w))
{
    struct meanwhile m;
    struct drv_stat stat;
    begin_lost(&m, seed, knows, does);
    rig_ok(drv_link(m.w.rig->drive[0].raw, "f0", "linked"));
    rig_sync(m.w.rig);
    is_lost(&m);
    struct pool_rebuild_report report = rebuild_beside(&m, "d5", ONCE_PLACED);
    assert_int_equal(report.failed + report.conflicts, 0);
    stays_gone(&m, does == unlink_f0 ? "f0" : "linked");
    rig_ok(drv_stat(m.w.rig->drive[5].raw, does == unlink_f0 ? "linked" : "f0", &stat));
    assert_int_equal(stat.nlink, 1);
    ends(&m);
}

static void test_one_name_of_two(void **state)
{
    (void)state;
    one_name_of_two(417, KNOWS_NOTHING, unlink_f0);
    if (!rig_all())
        return;
    one_name_of_two(418, KNOWS_NOTHING, remove_linked);
    one_name_of_two(419, KNOWS_ALL, unlink_f0);
}

/* --- a folder --- */

static void remove_folder(struct world *w)
{
    removes(w, "folder/in/one");
    rig_ok(rmdir_at(w, "folder/in"));
}

static void folder_meanwhile(uint64_t seed, const char *onto)
{
    struct meanwhile m;
    begin_lost(&m, seed, KNOWS_ALL, remove_folder);
    is_lost(&m);
    struct pool_rebuild_report report = rebuild_beside(&m, onto, ONCE_PLACED);
    assert_int_equal(report.failed + report.conflicts, 0);
    stays_gone(&m, "folder/in/one");
    stays_gone(&m, "folder/in");
    ends(&m);
}

static void test_a_folder(void **state)
{
    (void)state;
    folder_meanwhile(421, NULL);
    if (rig_all())
        folder_meanwhile(422, "d5");
}

/* --- directly --- */

static void remove_directly(struct world *w)
{
    unsigned n = 0;
    for (unsigned d = 1; d < w->rig->n; d++)
        if (rig_holds(w->rig, d, "f0")) {
            rig_ok(drv_unlink(w->rig->drive[d].raw, "f0"));
            n++;
        }
    assert_int_equal(n, 1);
}

static void test_directly_on_the_drive(void **state)
{
    struct meanwhile m;
    (void)state;
    begin_lost(&m, 423, KNOWS_NOTHING, remove_directly);
    is_lost(&m);
    struct pool_rebuild_report report = rebuild_beside(&m, "d5", ONCE_PLACED);
    assert_int_equal(report.failed, 0);
    rig_find(m.w.rig, "f0")->there = false;
    stays_gone(&m, "f0");
    ends(&m);
}

/* Nothing says yet that it was ever on that drive: it is on the lost one still. */
static void test_directly_in_free_space(void **state)
{
    struct meanwhile m;
    (void)state;
    begin_lost(&m, 424, KNOWS_ALL, remove_directly);
    is_lost(&m);
    struct pool_rebuild_report report = rebuild_beside(&m, NULL, ONCE_PLACED);
    assert_int_equal(report.failed, 1);
    reads(&m.w, "f0");
    rig_sync(m.w.rig);
    reads(&m.w, "f0");
    rig_ok(try_rebuild(&m.w, NULL, NULL));
    reads(&m.w, "f0");
    ends(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_it_is_copied),
        cmocka_unit_test(test_once_it_has_its_name),
        cmocka_unit_test(test_once_it_is_recorded),
        cmocka_unit_test(test_one_name_of_two),
        cmocka_unit_test(test_a_folder),
        cmocka_unit_test(test_directly_on_the_drive),
        cmocka_unit_test(test_directly_in_free_space),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_meanwhile", tests, NULL, NULL);
}
