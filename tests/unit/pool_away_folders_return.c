/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The drive of folders that were changed while it was away is back, and cannot take what was asked of it:
 * for now, or at all; or only in another order.
 */
#include "pool/records/later.h"
#include "pool/return/gone_apply.h"
#include "tests/unit/pool_away_folders_world.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include "tests/support/pause.h"
#include <string.h>
#include <unistd.h>

static unsigned fails(struct world *w, uint32_t ops, mrmr_err err)
{
    const struct drv_fault_rule rule = {.ops = ops, .err = err};
    unsigned id;
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, &id));
    return id;
}

static void is_done(struct world *w)
{
    assert_true(rig_holds(w->rig, 0, "z/one"));
    assert_false(rig_holds(w->rig, 0, "a"));
    has_attrs(w->rig, 0, "deep", 0700, 0, some_time);
}

/* Never as it was. */
static void all_shows(struct world *w)
{
    reads(w, "z/one");
    reads(w, "z/three");
    is_absent(w, "a");
    shows(w, "deep", 0700, 0, some_time);
    reads(w, "deep/in/it");
}

/* --- it refuses for now --- */

/* Whatever says nothing for ever: it waits, over mounts and scans, until it can be done. */
static void refused_for_now(uint64_t seed, uint32_t ops, mrmr_err err, bool scanned)
{
    struct world w;
    begin_attributes(&w, RIG_MEM, seed);
    renames(&w, "a", "z", 0);
    sets(&w, "deep", 0700, 0, some_time);
    size_t n = records(&w, false);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    unsigned rule = fails(&w, ops, err);
    open_tree(&w);
    assert_true(records(&w, false) > 0 && records(&w, false) <= n);
    all_shows(&w);
    close_tree(&w);
    if (scanned) {
        rig_reopen(w.rig);
        rig_sync(w.rig);
        assert_true(records(&w, false) > 0);
        rig_take_away(w.rig, 0); /* nobody asks it before it shows */
        open_tree(&w);
        all_shows(&w);
        close_tree(&w);
        rig_bring_back(w.rig, 0);
    }
    drv_fault_remove(w.rig->drive[0].fault, rule);
    open_tree(&w);
    assert_int_equal(records(&w, false), 0);
    all_shows(&w);
    is_done(&w);
    close_tree(&w);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_refused_for_now(void **state)
{
    static const mrmr_err errs[] = {
        MRMR_SPACE, MRMR_READONLY, MRMR_DENIED, MRMR_BUSY, MRMR_TIMEOUT};
    (void)state;
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) {
        refused_for_now(541, DRV_FAULT_RENAME, errs[i], i == 0);
        refused_for_now(542, DRV_FAULT_SET_ATTR, errs[i], false);
    }
}

static void opened_with_rule(struct world *w, const struct drv_fault_rule *rule, unsigned *ret_id)
{
    close_tree(w);
    rig_bring_back(w->rig, 0);
    rig_ok(drv_fault_add(w->rig->drive[0].fault, rule, ret_id));
    open_tree(w);
    close_tree(w);
    rig_reopen(w->rig);
    rig_sync(w->rig);
    assert_true(rig_holds(w->rig, 0, "z"));
}

/* The drive has the new name, and a scan has seen it there, before it takes what was asked of the folder
 * besides. */
static void test_renamed_and_scanned_before_it_is_set(void **state)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_SET_ATTR, .err = MRMR_READONLY};
    struct world w;
    unsigned id;
    (void)state;
    begin_attributes(&w, RIG_MEM, 549);
    renames(&w, "a", "z", 0);
    sets(&w, "z", 0701, 0, some_time);
    opened_with_rule(&w, &rule, &id);
    assert_true(records(&w, false) > 0);
    rig_take_away(w.rig, 0);
    open_tree(&w);
    shows(&w, "z", 0701, 0, some_time);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    drv_fault_remove(w.rig->drive[0].fault, id);
    open_tree(&w);
    assert_int_equal(records(&w, false), 0);
    shows(&w, "z", 0701, 0, some_time);
    has_attrs(w.rig, 0, "z", 0701, 0, some_time);
    end_well(&w);
}

/* And before it lets something in it be removed: that comes back to life nowhere. */
static void test_renamed_and_scanned_before_it_is_removed(void **state)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES, .part = "/one", .err = MRMR_BUSY};
    struct world w;
    unsigned id;
    (void)state;
    begin_folders(&w, RIG_MEM, 552);
    removes(&w, "a/one");
    renames(&w, "a", "z", 0);
    opened_with_rule(&w, &rule, &id);
    assert_true(rig_holds(w.rig, 0, "z/one"));
    assert_int_equal(records(&w, false), 1);
    rig_take_away(w.rig, 0);
    open_tree(&w);
    is_absent(&w, "z/one");
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    drv_fault_remove(w.rig->drive[0].fault, id);
    open_tree(&w);
    is_absent(&w, "z/one");
    assert_false(rig_holds(w.rig, 0, "z/one"));
    assert_int_equal(count_conflicts(&w), 0);
    end_well(&w);
}

/* The mount sees it come back, and goes on trying. */
static void refused_for_a_while(uint64_t seed, uint32_t ops, mrmr_err err)
{
    struct world w;
    begin_attributes(&w, RIG_MEM, seed);
    renames(&w, "a", "z", 0);
    sets(&w, "deep", 0700, 0, some_time);
    unsigned rule = fails(&w, ops, err);
    rig_bring_back(w.rig, 0);
    int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (!drv_fault_hits(w.rig->drive[0].fault, rule)) {
        all_shows(&w);
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    while (!__atomic_load_n(&w.tree->drive[0].told_waits, __ATOMIC_RELAXED)) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    assert_false(tree_live(&w.tree->drive[0]));
    all_shows(&w);
    renames(&w, "z/sub", "z/below", 0); /* it waits, too */
    removes(&w, "z/below/two");
    drv_fault_remove(w.rig->drive[0].fault, rule);
    while (!tree_live(&w.tree->drive[0])) {
        all_shows(&w);
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    all_shows(&w);
    assert_int_equal(records(&w, false), 0);
    assert_true(rig_holds(w.rig, 0, "z/below"));
    assert_false(rig_holds(w.rig, 0, "z/below/two"));
    is_done(&w);
    end_well(&w);
}

static void test_refused_for_a_while(void **state)
{
    (void)state;
    refused_for_a_while(546, DRV_FAULT_RENAME, MRMR_SPACE);
    refused_for_a_while(546, DRV_FAULT_SET_ATTR, MRMR_READONLY);
}

/* A folder that its user may enter and not read cannot be synced alone; and one in such a one that he may not
 * even enter cannot be looked at. */
static void not_to_be_read(uint64_t seed, const char *prefix, uint32_t ops, uint64_t times)
{
    const struct drv_fault_rule rule = {
        .ops = ops, .prefix = prefix, .times = times, .err = MRMR_DENIED};
    struct world w;
    unsigned id;
    begin_attributes(&w, RIG_MEM, seed);
    removes(&w, "a/sub/two");
    renames(&w, "a", "far/z", 0);
    sets(&w, "deep", 0700, 0, some_time);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, &id));
    open_tree(&w);
    assert_true(drv_fault_hits(w.rig->drive[0].fault, id) > 0);
    assert_int_equal(records(&w, false), 0);
    assert_true(rig_holds(w.rig, 0, "far/z/one"));
    assert_false(rig_holds(w.rig, 0, "far/z/sub/two"));
    has_attrs(w.rig, 0, "deep", 0700, 0, some_time);
    rig_clear_faults(w.rig);
    end_well(&w);
}

static void test_not_to_be_read(void **state)
{
    (void)state;
    not_to_be_read(547, "a", DRV_FAULT_DIR_SYNC, 0);
    not_to_be_read(547, "far", DRV_FAULT_DIR_SYNC, 0);
    not_to_be_read(547, "deep", DRV_FAULT_DIR_SYNC, 0);
    not_to_be_read(547, "deep", DRV_FAULT_STAT, 1);
}

/* --- names that are not what they seem --- */

/* The drive cannot tell one folder from another: one that has the new name is not the one that was renamed
 * as long as the old name is there. */
static void test_cannot_tell_folders(void **state)
{
    struct world w;
    struct pool_gone *gone;
    size_t left;
    (void)state;
    begin_folders(&w, RIG_MEM, 548);
    renames(&w, "a", "z", 0);
    renames(&w, "deep", "y", 0);
    close_tree(&w);
    rig_ok(drv_mkdir(w.rig->drive[0].raw, "z", 0700));
    rig_ok(drv_rename(w.rig->drive[0].raw, "deep", "y", 0)); /* as before a cut */
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    struct pool_drive *drive = rig_pool_drive(w.rig, 0);
    struct pool_job job = rig_job(w.rig);
    drive->info.caps &= ~(uint32_t)(DRV_CAP_STABLE_INO | DRV_CAP_BTIME);
    rig_ok(pool_gone_open(w.rig->pool->dirfd, true, &gone));
    rig_ok(pool_gone_apply(w.rig->pool, &job, gone, drive, NULL, &left));
    pool_gone_close(gone);
    assert_int_equal(left, 0);
    assert_int_equal(count_conflicts(&w), 1);
    assert_true(rig_holds(w.rig, 0, "a/one"));
    strcpy(rig_find(w.rig, "z/one")->path, "a/one");
    strcpy(rig_find(w.rig, "z/sub/two")->path, "a/sub/two");
    rig_reopen(w.rig);
    open_tree(&w);
    reads(&w, "a/one");
    reads(&w, "y/in/it");
    end_well(&w);
}

/* It was asked for by the path that the catalog had when a scan was about to find the folder elsewhere. */
static void test_set_by_the_path_before_a_scan(void **state)
{
    struct world w;
    struct pool_gone *gone;
    struct meta_node node;
    struct drv_stat stat;
    size_t left;
    (void)state;
    begin_folders(&w, RIG_MEM, 553);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_ok(drv_rename(w.rig->drive[0].raw, "deep", "y", 0));
    strcpy(rig_find(w.rig, "deep/in/it")->path, "y/in/it");
    rig_reopen(w.rig);
    rig_sync(w.rig);
    struct pool *pool = w.rig->pool;
    struct pool_drive *drive = rig_pool_drive(w.rig, 0);
    struct pool_job job = rig_job(w.rig);
    struct pool_later_set set = {
        .fixed = {.asked = mrmr_clock_real(), .what = DRV_ATTR_MODE, .now = {.mode = 0705}}};
    rig_ok(meta_lookup_path(pool->meta, drive->meta.root, "y", &node));
    rig_ok(pool_gone_open(pool->dirfd, true, &gone));
    rig_ok(pool_later_add_set(pool, gone, "deep", &node, &set));
    rig_ok(pool_gone_apply(pool, &job, gone, drive, NULL, &left));
    pool_gone_close(gone);
    assert_int_equal(left, 0);
    assert_int_equal(count_conflicts(&w), 0);
    rig_ok(drv_stat(w.rig->drive[0].raw, "y", &stat));
    assert_int_equal(stat.mode, 0705);
    rig_reopen(w.rig);
    open_tree(&w);
    end_well(&w);
}

/* --- what the catalog has seen since --- */

/* The latest of all copies shows. */
#define OTHER_TIME (some_time + 77)

/* The folder has what was asked of it, and then somebody sets something else there, or puts another in its
 * place; a scan has seen that, and was cut before it let go of the records. */
static void cut_after_the_scan(struct world *w, uint64_t seed, bool replaced)
{
    mrmr_autobytes struct mrmr_bytes journal = MRMR_BYTES_INIT;
    const struct drv_stat other = {.mode = 0755, .mtime = OTHER_TIME};
    begin_attributes(w, RIG_MEM, seed);
    sets(w, "deep", 0700, 0, some_time);
    close_tree(w);
    rig_bring_back(w->rig, 0);
    open_tree(w);
    close_tree(w);
    has_attrs(w->rig, 0, "deep", 0700, 0, some_time);
    struct drv *drv = w->rig->drive[0].raw;
    if (replaced) {
        rig_ok(drv_rename(drv, "deep", "y", 0));
        strcpy(rig_find(w->rig, "deep/in/it")->path, "y/in/it");
        rig_ok(drv_mkdir(drv, "deep", 0755));
    }
    rig_ok(drv_set_attr(drv, "deep", DRV_ATTR_MODE | DRV_ATTR_MTIME, &other));
    rig_ok(drv_xattr_set(drv, "deep", "user.one", "other", 5));
    rig_ok(mrmr_durable_read(w->rig->pool->dirfd, "gone", 1 << 20, &journal));
    assert_true(records(w, true) > 0);
    rig_reopen(w->rig);
    rig_sync(w->rig);
    assert_int_equal(records(w, true), 0);
    rig_ok(mrmr_durable_replace(w->rig->pool->dirfd, "gone", journal.data, journal.size, 0600));
    assert_true(records(w, true) > 0);
    rig_take_away(w->rig, 0);
}

static mrmr_err see_other(const char *name, const void *value, size_t size, void *arg)
{
    if (strcmp(name, "user.one") == 0)
        *(bool *)arg = size == 5 && memcmp(value, "other", 5) == 0;
    return MRMR_OK;
}

static void test_the_catalog_is_newer(void **state)
{
    (void)state;
    for (unsigned replaced = 0; replaced < 2; replaced++) {
        struct pool_attr attr;
        struct world w;
        bool other = false;
        cut_after_the_scan(&w, 554, replaced);
        open_tree(&w);
        rig_ok(look_at(&w, "deep", &attr));
        assert_int_equal(attr.mode, 0755);
        assert_int_equal(attr.mtime, OTHER_TIME);
        rig_ok(pool_tree_xattrs(w.tree, attr.node, see_other, &other));
        assert_true(other);
        if (replaced)
            shows(&w, "y", 0700, 0, some_time);
        comes_back(&w, NULL);
        end_well(&w);
    }
}

static void test_the_catalog_is_newer_and_rebuilt(void **state)
{
    struct world w;
    struct drv_stat stat;
    bool other = false;
    (void)state;
    cut_after_the_scan(&w, 555, false);
    is_rebuilt_onto_d5(&w);
    rig_ok(drv_stat(w.rig->drive[5].raw, "deep", &stat));
    assert_int_equal(stat.mode, 0755);
    assert_int_equal(stat.mtime, OTHER_TIME);
    rig_ok(drv_xattr_list(w.rig->drive[5].raw, "deep", see_other, &other));
    assert_true(other);
    rig_destroy(w.rig);
}

/* --- a folder that was emptied by renames --- */

/* And its name is another's by then, if asked for. */
static void begin_emptied(struct world *w, uint64_t seed, bool again)
{
    begin_folders(w, RIG_MEM, seed);
    renames(w, "deep/in", "z", 0);
    rig_ok(rmdir_at(w, "deep"));
    if (again)
        renames(w, "a", "deep", 0);
}

static void has_emptied(struct world *w, bool again)
{
    reads(w, "z/it");
    is_absent(w, again ? "a" : "deep");
    is_absent(w, "deep/in");
    if (again)
        reads(w, "deep/one");
    if (again)
        reads(w, "deep/three");
}

static void emptied(uint64_t seed, bool again, bool scanned)
{
    struct world w;
    begin_emptied(&w, seed, again);
    has_emptied(&w, again);
    if (scanned) {
        rig_bring_back(w.rig, 0);
    } else {
        comes_back(&w, NULL);
        has_emptied(&w, again);
    }
    close_tree(&w);
    all_is_well(&w);
    assert_int_equal(rig_holds(w.rig, 0, "deep"), again);
    assert_int_equal(rig_holds(w.rig, 0, "deep/sub/two"), again);
    assert_true(rig_holds(w.rig, 0, "z/it"));
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_emptied(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        emptied(543, i & 1, i & 2);
}

/* Somebody put something into it: it is kept, and told of once. */
static void test_not_emptied(void **state)
{
    struct world w;
    (void)state;
    begin_emptied(&w, 544, false);
    close_tree(&w);
    rig_put(w.rig, 0, "deep/new", 100);
    rig_bring_back(w.rig, 0);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), 1);
    open_tree(&w);
    reads(&w, "deep/new");
    is_absent(&w, "deep/in");
    end_well(&w);
}

static void test_emptied_and_rebuilt(void **state)
{
    struct world w;
    (void)state;
    for (unsigned again = 0; again < 2; again++) {
        begin_emptied(&w, 545, again);
        close_tree(&w);
        is_rebuilt_onto_d5(&w);
        assert_true(rig_holds(w.rig, 5, "z/it"));
        assert_false(rig_holds(w.rig, 5, "deep/in"));
        assert_int_equal(rig_holds(w.rig, 5, "deep"), again);
        assert_int_equal(rig_holds(w.rig, 5, "deep/sub/two"), again);
        rig_destroy(w.rig);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_for_now),
        cmocka_unit_test(test_renamed_and_scanned_before_it_is_set),
        cmocka_unit_test(test_renamed_and_scanned_before_it_is_removed),
        cmocka_unit_test(test_refused_for_a_while),
        cmocka_unit_test(test_not_to_be_read),
        cmocka_unit_test(test_cannot_tell_folders),
        cmocka_unit_test(test_set_by_the_path_before_a_scan),
        cmocka_unit_test(test_the_catalog_is_newer),
        cmocka_unit_test(test_the_catalog_is_newer_and_rebuilt),
        cmocka_unit_test(test_emptied),
        cmocka_unit_test(test_not_emptied),
        cmocka_unit_test(test_emptied_and_rebuilt),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_folders_return", tests, NULL, NULL);
}
