/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a sync makes of files of which only attributes, or names, were changed through the mount: that excuses nothing
 * that became of their bytes meanwhile.
 */
#include "tests/unit/pool_tree_user.h"

#include <string.h>

static void sets_mode(struct world *w, const char *path)
{
    struct pool_attr attr;
    const struct pool_attr set = {.mode = 0600};
    rig_ok(look_at(w, path, &attr));
    rig_ok(pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr));
    assert_int_equal(attr.mode & 0777, 0600);
}

static void sets_xattr(struct world *w, const char *path)
{
    struct pool_attr attr;
    rig_ok(look_at(w, path, &attr));
    rig_ok(pool_tree_set_xattr(w->tree, NULL, attr.node, "user.tag", "x", 1, 0));
}

static void gets_a_name(struct world *w, const char *path)
{
    struct pool_attr attr;
    rig_ok(look_at(w, path, &attr));
    rig_ok(pool_tree_link(w->tree, NULL, attr.node, POOL_ROOT, "another", &attr));
}

static void had_another_name(struct world *w, const char *path)
{
    gets_a_name(w, path);
    rig_protect_all(w->rig);
    rig_ok(unlink_at(w, "another"));
}

/* Rot is told from an edit by what is protected; it is found, and repaired, since parity has not given it up. */
static void rots_beside(uint64_t seed, void (*change)(struct world *w, const char *path))
{
    struct world w;
    begin(&w, RIG_LOCAL, seed);
    rig_rot(w.rig, 0, "f0", RIG_MIB + 5);
    change(&w, "f0");
    close_tree(&w);
    rig_sync(w.rig);
    assert_int_equal(rig_scrub(w.rig, true).repaired, 1);
    assert_true(rig_original_is_right(w.rig, 0, rig_find(w.rig, "f0")));
    rig_destroy(w.rig);
}

static void test_rot_is_no_edit(void **state)
{
    (void)state;
    rots_beside(701, sets_mode);
    rots_beside(702, sets_xattr);
    rots_beside(703, gets_a_name);
}

static void test_rot_is_no_lost_name(void **state)
{
    (void)state;
    rots_beside(704, had_another_name);
}

/* All that a drive has vanishes from it, past the tree. */
static void test_what_vanishes_is_held(void **state)
{
    static const char *const files[] = {"f0", "other"};
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 705);
    rig_protect_all(w.rig);
    for (unsigned i = 0; i < 2; i++)
        sets_mode(&w, files[i]);
    close_tree(&w);
    for (unsigned i = 0; i < 2; i++)
        rig_unlink(w.rig, files[i]);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.drives_held, 1);
    rig_destroy(w.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rot_is_no_edit),
        cmocka_unit_test(test_rot_is_no_lost_name),
        cmocka_unit_test(test_what_vanishes_is_held),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_attrs", tests, NULL, NULL);
}
