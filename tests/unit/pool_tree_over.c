/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file is renamed over one of another drive, of which no sync knows, and which is the newer one by its time: it is the one or the
 * other afterwards, and the one that was renamed once that was said. And which of two copies shows that no sync saw apart.
 */
#include "tests/unit/pool_tree_world.h"

#include <stdio.h>

enum { OLD_SIZE = 3000, NEW_SIZE = 2000 };

static mrmr_err rename_over(struct world *w)
{
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "far", POOL_ROOT, "near", 0));
    return sync_folder(w, POOL_ROOT);
}

static void goes_back_in_time(struct rig *rig, unsigned drive, const char *path)
{
    struct drv_stat stat;
    rig_ok(drv_stat(rig->drive[drive].raw, path, &stat));
    stat.mtime -= 3600 * MRMR_NS_PER_S;
    rig_ok(drv_set_attr(rig->drive[drive].raw, path, DRV_ATTR_MTIME, &stat));
}

enum known { NONE, RENAMED, BOTH, CAME /* both, the one that is replaced by another name */ };

/* What a sync has seen. */
static void begin_two(struct world *w, enum rig_kind kind, enum known known)
{
    begin(w, kind, 231);
    rig_put(w->rig, 1, "far", NEW_SIZE)->there = false;
    goes_back_in_time(w->rig, 1, "far");
    if (known == BOTH || known == CAME)
        rig_put(w->rig, 0, known == CAME ? "was" : "near", OLD_SIZE)->there = false;
    if (known) {
        close_tree(w);
        rig_protect_all(w->rig);
        open_tree(w);
    }
    if (known == CAME)
        rig_ok(pool_tree_rename(w->tree, NULL, POOL_ROOT, "was", POOL_ROOT, "near", 0));
    if (known < BOTH)
        rig_put(w->rig, 0, "near", OLD_SIZE)->there = false;
}

static void shows_renamed(struct world *w)
{
    assert_int_equal(look(w, POOL_ROOT, "near").size, NEW_SIZE);
    assert_int_equal(mrmr_class_of(try_look(w, POOL_ROOT, "far")), MRMR_CLASS_ABSENT);
}

static void is_renamed(struct world *w)
{
    shows_renamed(w);
    assert_false(rig_holds(w->rig, 0, "near"));
}

static void is_one_or_the_other(struct world *w, bool renamed)
{
    if (renamed || look(w, POOL_ROOT, "near").size == NEW_SIZE) {
        is_renamed(w);
        return;
    }
    assert_int_equal(look(w, POOL_ROOT, "near").size, OLD_SIZE);
    assert_int_equal(look(w, POOL_ROOT, "far").size, NEW_SIZE);
}

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    const struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)drive;
    for (unsigned d = 0; d < rig->n; d++)
        drv_fault_add(rig->drive[d].fault, &rule, NULL);
}

struct way {
    enum known known;
    bool late, power;
};

/* It ends at call n, and with it the power or the process alone; true: it was through before. */
static bool ends_at(const struct way *way, uint64_t n, uint64_t seed)
{
    struct world w;
    begin_two(&w, RIG_MEM_CUT, way->known);
    rig_sync_drives(w.rig);
    rig_tap(w.rig, RIG_CUTS, n, way->late, tap_cut);
    const bool through = rename_over(&w) == MRMR_OK && w.rig->tap_left;
    close_tree(&w);
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    if (way->power)
        rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    for (unsigned i = 0; i < 2; i++) { /* whoever opens it once more finds the same */
        open_tree(&w);
        is_one_or_the_other(&w, through);
        close_tree(&w);
    }
    rig_sync(w.rig);
    open_tree(&w);
    is_one_or_the_other(&w, through);
    close_tree(&w);
    rig_destroy(w.rig);
    return through;
}

static void test_ends_in_the_middle(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("tree_over"), cuts = 0;
    static const char *const knows[] = {"neither", "one", "both", "both, and one by another name"};
    for (unsigned i = 0; i < 16; i++) {
        const struct way way = {i / 4, i & 1, i & 2};
        uint64_t n = 0;
        while (!ends_at(&way, n, rig_hash(seed + cuts++)))
            assert_true(n++ < 1000);
        print_message("%s, %s the call, %s: %llu calls\n", knows[way.known],
            way.late ? "after" : "before", way.power ? "power" : "process", (unsigned long long)n);
    }
    printf("%llu cuts\n", (unsigned long long)cuts);
}

/* --- the other drive goes --- */

static void tap_away(struct rig *rig, struct rig_drive *drive)
{
    assert_ptr_equal(drive, &rig->drive[0]);
    rig_take_away(rig, 0);
}

/* As it is asked to let go of what it has: before that, or when it has. */
static void goes_and_returns(bool late)
{
    struct world w;
    begin_two(&w, RIG_MEM, NONE);
    rig_tap(w.rig, DRV_FAULT_UNLINK, 0, late, tap_away);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "far", POOL_ROOT, "near", 0));
    assert_false(rig_present(w.rig, 0));
    assert_int_equal(look(&w, POOL_ROOT, "near").size, NEW_SIZE);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_clear_faults(w.rig);
    rig_reopen(w.rig);
    open_tree(&w);
    is_renamed(&w);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_the_other_drive_goes(void **state)
{
    (void)state;
    goes_and_returns(false);
    goes_and_returns(true);
}

/* --- what the next mount leaves --- */

static void dies_once_renamed(struct world *w)
{
    rig_tap(w->rig, DRV_FAULT_RENAME, 0, true, tap_cut);
    rename_over(w);
    close_tree(w);
    rig_close(w->rig);
    rig_clear_faults(w->rig);
    assert_true(rig_holds(w->rig, 0, "near"));
    assert_true(rig_holds(w->rig, 1, "near"));
}

/* Somebody writes to the one that was to go before the pool is mounted again: nobody takes it from him. */
static void test_what_was_changed_since_stays(void **state)
{
    struct drv_file *file;
    struct world w;
    (void)state;
    begin_two(&w, RIG_MEM, NONE);
    dies_once_renamed(&w);
    rig_ok(drv_file_open(w.rig->drive[0].raw, "near", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_truncate(file, OLD_SIZE + 10));
    drv_file_close(file);
    rig_open(w.rig);
    open_tree(&w);
    assert_true(rig_holds(w.rig, 0, "near"));
    assert_true(rig_holds(w.rig, 1, "near"));
    assert_int_equal(look(&w, POOL_ROOT, "near").size, OLD_SIZE + 10);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Its drive is away when the pool is mounted again. Somebody edits it elsewhere, in place, and sets its time back: nobody takes it
 * from him. */
static void test_what_was_edited_elsewhere_stays(void **state)
{
    struct world w;
    struct drv_file *file;
    struct drv_stat stat;
    (void)state;
    begin_two(&w, RIG_MEM, NONE);
    struct drv *drv = w.rig->drive[0].raw;
    dies_once_renamed(&w);
    rig_take_away(w.rig, 0);
    rig_open(w.rig);
    open_tree(&w);
    close_tree(&w);
    rig_close(w.rig);
    rig_bring_back(w.rig, 0);
    rig_ok(drv_stat(drv, "near", &stat));
    rig_ok(drv_file_open(drv, "near", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 100, "EDIT", 4));
    drv_file_close(file);
    rig_ok(drv_set_attr(drv, "near", DRV_ATTR_MTIME, &stat));
    rig_open(w.rig);
    open_tree(&w);
    assert_true(rig_holds(w.rig, 0, "near"));
    assert_true(rig_holds(w.rig, 1, "near"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The one that was renamed is changed before the pool is mounted again: it was renamed all the same. */
static void test_what_was_renamed_is_changed_since(void **state)
{
    struct drv_file *file;
    struct world w;
    (void)state;
    begin_two(&w, RIG_MEM, NONE);
    dies_once_renamed(&w);
    rig_ok(drv_file_open(w.rig->drive[1].raw, "near", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_truncate(file, NEW_SIZE + 10));
    drv_file_close(file);
    goes_back_in_time(w.rig, 1, "near");
    rig_open(w.rig);
    open_tree(&w);
    assert_int_equal(look(&w, POOL_ROOT, "near").size, NEW_SIZE + 10);
    assert_false(rig_holds(w.rig, 0, "near"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* A sync that finds both at once, and something of what was to go changed: the one that was renamed is the newer one still. */
static void test_a_sync_knows_which_came(void **state)
{
    struct world w;
    struct drv_stat stat;
    (void)state;
    begin_two(&w, RIG_MEM, BOTH);
    dies_once_renamed(&w);
    rig_ok(drv_stat(w.rig->drive[0].raw, "near", &stat));
    stat.mode ^= 0100;
    rig_ok(drv_set_attr(w.rig->drive[0].raw, "near", DRV_ATTR_MODE, &stat));
    rig_open(w.rig);
    rig_sync(w.rig);
    open_tree(&w);
    shows_renamed(&w);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The drive of what goes is away when the pool is mounted again, and comes back later. */
static void test_its_drive_is_away_then(void **state)
{
    struct world w;
    (void)state;
    begin_two(&w, RIG_MEM, NONE);
    dies_once_renamed(&w);
    rig_take_away(w.rig, 0);
    rig_open(w.rig);
    open_tree(&w);
    assert_int_equal(look(&w, POOL_ROOT, "near").size, NEW_SIZE);
    close_tree(&w);
    rig_close(w.rig);
    rig_bring_back(w.rig, 0);
    rig_open(w.rig);
    open_tree(&w);
    is_renamed(&w);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* What was to go has another name, by which it is written to later: it is the newer one then, and hides nothing. */
static void has_another_name(bool away)
{
    struct world w;
    begin(&w, RIG_MEM, 236 + away);
    rig_put(w.rig, 0, "near", OLD_SIZE)->there = false;
    rig_ok(drv_link(w.rig->drive[0].raw, "near", "beside"));
    goes_back_in_time(w.rig, 0, "near");
    rig_put(w.rig, 1, "far", NEW_SIZE)->there = false;
    close_tree(&w);
    if (away) {
        rig_protect_all(w.rig);
        rig_take_away(w.rig, 0);
        rig_reopen(w.rig);
    }
    open_tree(&w);
    dies_once_renamed(&w);
    for (unsigned i = 0; i < 2; i++) { /* as it was then, and with all of them */
        if (i && away)
            rig_bring_back(w.rig, 0);
        rig_open(w.rig);
        open_tree(&w);
        shows_renamed(&w);
        close_tree(&w);
        rig_close(w.rig);
    }
    assert_false(rig_holds(w.rig, 0, "near"));
    rig_open(w.rig);
    open_tree(&w);
    struct pool_tree_file *file = open_file(&w, "beside");
    rig_ok(pool_tree_file_write(file, OLD_SIZE, "more", 4));
    pool_tree_file_close(file);
    close_tree(&w);
    open_tree(&w);
    is_renamed(&w);
    assert_int_equal(look(&w, POOL_ROOT, "beside").size, OLD_SIZE + 4);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_it_has_another_name(void **state)
{
    (void)state;
    has_another_name(false);
    has_another_name(true);
}

/* --- copies that one sync found --- */

static void cancels(void *arg, enum drv_fault_op op, const char *path)
{
    struct mrmr_cancel *cancel = arg;
    (void)op;
    (void)path;
    atomic_store(&cancel->flag, true);
}

static void shows_the_later(unsigned later)
{
    struct world w;
    begin(&w, RIG_MEM, 232 + later);
    for (unsigned d = 0; d < 2; d++)
        rig_put(w.rig, d, d == later ? "twice" : "beside/twice", d == later ? 500 : 400)->there =
            false;
    rig_ok(drv_rename(w.rig->drive[!later].raw, "beside/twice", "twice", DRV_RENAME_NOREPLACE));
    goes_back_in_time(w.rig, !later, "twice");
    assert_int_equal(look(&w, POOL_ROOT, "twice").size, 500);
    for (unsigned i = 0; i < 2; i++) {
        close_tree(&w);
        rig_sync(w.rig);
        open_tree(&w);
        assert_int_equal(look(&w, POOL_ROOT, "twice").size, 500);
    }
    close_tree(&w);
    rig_destroy(w.rig);
}

/* One that ends between the drives, too: the next one goes on with it. */
static void test_a_sync_that_is_broken_off(void **state)
{
    struct world w;
    (void)state;
    for (uint64_t n = 0;; n++) {
        begin(&w, RIG_MEM, 240);
        rig_put(w.rig, 1, "twice", 400)->there = false;
        goes_back_in_time(w.rig, 1, "twice");
        rig_put(w.rig, 0, "beside/twice", 500)->there = false;
        rig_ok(drv_rename(w.rig->drive[0].raw, "beside/twice", "twice", DRV_RENAME_NOREPLACE));
        close_tree(&w);
        struct mrmr_cancel cancel = {false};
        const struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ,
            .after = n,
            .times = 1,
            .action = DRV_FAULT_HOOK,
            .hook = cancels,
            .arg = &cancel};
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
        rig_ok(drv_fault_add(w.rig->drive[1].fault, &rule, NULL));
        struct pool_job job = rig_job(w.rig);
        job.cancel = &cancel;
        mrmr_err err = pool_sync(w.rig->pool, &job, false, &w.rig->report);
        assert_true(!err || err == MRMR_CANCELLED);
        rig_clear_faults(w.rig);
        rig_sync(w.rig);
        open_tree(&w);
        assert_int_equal(look(&w, POOL_ROOT, "twice").size, 500);
        close_tree(&w);
        rig_destroy(w.rig);
        if (!err)
            return;
    }
}

static void test_a_sync_changes_nothing_in_what_shows(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++)
        shows_the_later(i % 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_in_the_middle),
        cmocka_unit_test(test_the_other_drive_goes),
        cmocka_unit_test(test_what_was_changed_since_stays),
        cmocka_unit_test(test_what_was_edited_elsewhere_stays),
        cmocka_unit_test(test_what_was_renamed_is_changed_since),
        cmocka_unit_test(test_its_drive_is_away_then),
        cmocka_unit_test(test_it_has_another_name),
        cmocka_unit_test(test_a_sync_knows_which_came),
        cmocka_unit_test(test_a_sync_changes_nothing_in_what_shows),
        cmocka_unit_test(test_a_sync_that_is_broken_off),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_over", tests, NULL, NULL);
}
