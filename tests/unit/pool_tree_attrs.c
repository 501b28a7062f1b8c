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

/* That a file went with its drive is not that it has no such attribute. */
static void test_no_attribute_and_no_file(void **state)
{
    struct world w;
    struct pool_attr attr;
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    (void)state;
    begin(&w, RIG_LOCAL, 471);
    rig_put(w.rig, 0, "new", 100)->there = false;
    attr = look(&w, POOL_ROOT, "new");
    assert_int_equal(pool_tree_xattr(w.tree, attr.node, "user.none", &value), MRMR_NO_ATTR);
    assert_int_equal(
        pool_tree_set_xattr(w.tree, NULL, attr.node, "user.none", NULL, 0, 0), MRMR_NO_ATTR);
    rig_take_away(w.rig, 0);
    assert_int_equal(pool_tree_xattr(w.tree, attr.node, "user.none", &value), MRMR_OFFLINE);
    assert_int_equal(
        pool_tree_set_xattr(w.tree, NULL, attr.node, "user.one", "x", 1, 0), MRMR_OFFLINE);
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rot_is_no_edit),
        cmocka_unit_test(test_rot_is_no_lost_name),
        cmocka_unit_test(test_what_vanishes_is_held),
        cmocka_unit_test(test_no_attribute_and_no_file),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_attrs", tests, NULL, NULL);
}
