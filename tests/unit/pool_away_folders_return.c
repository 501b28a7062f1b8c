/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The drive of folders that were changed while it was away is back, and cannot take what was asked of it:
 * for now, or at all; or only in another order.
 */
#include "tests/unit/pool_away_folders_world.h"

#include <string.h>

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

/* --- it refuses for now --- */

/* Whatever says nothing for ever: it waits, over mounts and scans, until it can be done. */
static void refused_for_now(uint64_t seed, uint32_t ops, mrmr_err err)
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
    close_tree(&w);
    drv_fault_remove(w.rig->drive[0].fault, rule);
    open_tree(&w);
    assert_int_equal(records(&w, false), 0);
    reads(&w, "z/one");
    shows(&w, "deep", 0700, 0, some_time);
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
        refused_for_now(541, DRV_FAULT_RENAME, errs[i]);
        refused_for_now(542, DRV_FAULT_SET_ATTR, errs[i]);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_for_now),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_folders_return", tests, NULL, NULL);
}
