/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Of a folder's attributes that were answered before a change of ours, and may have come to the kernel
 * after it, is told once the change is old; what is answered meanwhile is not kept for longer.
 */
#include "tests/unit/pool_drive_world.h"

#include "pool/tree/tree.h"
#include "tests/support/pause.h"
#include "tests/support/rights.h"
#include "tests/support/skip.h"
#include <stdio.h>

enum { TIMES = 50 };

struct lived {
    struct pool *pool;
    struct pool_tree *tree;
    uint64_t folder;
    atomic_uint told; /* of the folder's attributes */
};

static void node_changed(uint64_t node, bool bytes, void *arg)
{
    struct lived *l = arg;
    (void)bytes;
    atomic_fetch_add(&l->told, node == l->folder);
}

static struct pool_attr attr_of(struct lived *l)
{
    struct pool_attr attr;
    assert_ok(pool_tree_attr(l->tree, l->folder, &attr));
    return attr;
}

static struct pool_attr lookup(struct lived *l)
{
    struct pool_attr attr;
    int64_t keep;
    assert_ok(pool_tree_lookup(l->tree, POOL_ROOT, "dir", &attr, &keep));
    return attr;
}

static void make(struct lived *l, unsigned i)
{
    const struct pool_new what = {.kind = POOL_REG, .mode = 0644};
    struct pool_attr attr;
    char name[32];
    snprintf(name, sizeof name, "made %u", i);
    assert_ok(pool_tree_make(l->tree, NULL, l->folder, name, &what, &attr));
}

static void live(struct lived *l, struct world *w)
{
    const struct pool_tree_events events = {.node_changed = node_changed, .arg = l};
    struct pool_attr attr;
    int64_t keep;
    world_add(w, "d0");
    world_add(w, "d1");
    world_mkdir(world_path(w, "d0/dir"));
    world_mkdir(world_path(w, "d1/dir"));
    world_write(world_path(w, "d1/dir/here"), "");
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &l->pool));
    assert_ok(pool_tree_open(l->pool, &events, &l->tree));
    l->folder = lookup(l).node;
    assert_ok(
        pool_tree_lookup(l->tree, l->folder, "here", &attr, &keep)); /* it is watched from now on */
}

static void until_told(struct lived *l, unsigned before)
{
    while (atomic_load(&l->told) == before) /* the test's time limit ends it */
        pause_a_while();
}

static void test_told_once_it_is_old(void **state)
{
    struct lived l = {.told = 0};
    if (!may_administer())
        skip_for("it takes CAP_SYS_ADMIN: else nothing is kept for long while it changes");
    live(&l, *state);
    assert_int_equal(attr_of(&l).keep, POOL_KEEP);
    const int64_t start = mrmr_clock_monotonic();
    for (unsigned i = 0; i < TIMES; i++) {
        make(&l, i);
        assert_in_range(attr_of(&l).keep, 0, tree_own_window);
        assert_int_equal(lookup(&l).keep_name, POOL_KEEP);
    }
    const int64_t made = mrmr_clock_monotonic();
    until_told(&l, 0);
    assert_true(mrmr_clock_monotonic() >= start + tree_own_window);
    while (mrmr_clock_monotonic() < made + 2 * tree_own_window)
        pause_a_while();
    /* once for all changes of a window, and each window ends after the first change in it */
    assert_in_range(atomic_load(&l.told), 1, 1 + (made - start) / tree_own_window + 1);
    assert_int_equal(attr_of(&l).keep, POOL_KEEP);
    const unsigned before = atomic_load(&l.told);
    make(&l, TIMES);
    until_told(&l, before);
    make(&l, TIMES + 1); /* it is told of when the tree is closed, or not any more */
    pool_tree_close(l.tree);
    pool_close(l.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_told_once_it_is_old, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
