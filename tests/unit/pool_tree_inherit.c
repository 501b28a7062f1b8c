/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two folders never have one number: one that somebody makes on a drive where another one was before,
 * which we renamed or removed, or he did. What is removed in the one is still there in the other. And
 * a folder that stays what it is keeps its number.
 */
#include "tests/unit/pool_drive_world.h"

#include "pool/tree/tree.h"
#include "pool/tree/tree_load.h"
#include "tests/support/elsewhere.h"
#include "tests/support/pause.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DRIVES = 2 };

struct lived {
    struct world *w;
    struct pool *pool;
    struct pool_tree *tree;
    char path[2][300];
    unsigned turn;
};

static const struct pool_tree_events events = {.name_changed = NULL};

/* The last two stay what they are. */
static const char *on_drive(struct lived *l, unsigned drive, const char *name)
{
    char below[64];
    snprintf(below, sizeof below, "d%u/%s", drive, name);
    l->turn ^= 1;
    strcpy(l->path[l->turn], world_path(l->w, below));
    return l->path[l->turn];
}

/* "a" lies on these drives of the two, with a file "f"; it is held, and was looked into. */
static uint64_t live(struct lived *l, struct world *w, bool first, bool second)
{
    struct pool_attr attr;
    int64_t keep;
    *l = (struct lived){.w = w};
    for (unsigned d = 0; d < DRIVES; d++) {
        char name[8];
        snprintf(name, sizeof name, "d%u", d);
        world_add(w, name);
        if (!(d ? second : first))
            continue;
        world_mkdir(on_drive(l, d, "a"));
        world_write(on_drive(l, d, "a/f"), "only copy");
    }
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &l->pool));
    assert_ok(pool_tree_open(l->pool, &events, &l->tree));
    assert_ok(pool_tree_lookup(l->tree, POOL_ROOT, "a", &attr, &keep));
    const uint64_t a = attr.node;
    assert_ok(pool_tree_lookup(l->tree, a, "f", &attr, &keep));
    return a;
}

static void leave(struct lived *l)
{
    pool_tree_close(l->tree);
    pool_close(l->pool);
}

/* What the name leads to, once it leads to something with this file in it. */
static uint64_t wait_for(struct lived *l, const char *name, const char *file)
{
    const int64_t until = mrmr_clock_monotonic() + 20 * MRMR_NS_PER_S;
    struct pool_attr folder, attr;
    int64_t keep;
    do {
        assert_true(mrmr_clock_monotonic() < until);
        pause_a_while();
    } while (pool_tree_lookup(l->tree, POOL_ROOT, name, &folder, &keep) ||
             pool_tree_lookup(l->tree, folder.node, file, &attr, &keep));
    return folder.node;
}

static bool is_there(struct lived *l, unsigned drive, const char *name)
{
    struct stat st;
    return lstat(on_drive(l, drive, name), &st) == 0;
}

/* Somebody makes "a" on the drive, with "f" and "new" in it. */
static void made_by_others(struct lived *l, unsigned drive)
{
    if (!elsewhere())
        return;
    world_mkdir(on_drive(l, drive, "a"));
    world_write(on_drive(l, drive, "a/f"), "of somebody else");
    world_write(on_drive(l, drive, "a/new"), "");
    _exit(0);
}

static void moved_by_others(struct lived *l, unsigned drive)
{
    if (elsewhere())
        _exit(rename(on_drive(l, drive, "a"), on_drive(l, drive, "b")));
}

/* "b" was "a", and "a" is another one: each is changed by its own number, in either order. Until events have told of "b" the other
 * one may be taken for what was "a". */
static void are_two(struct lived *l, bool b_first)
{
    wait_for(l, b_first ? "b" : "a", b_first ? "f" : "new");
    const uint64_t b = wait_for(l, "b", "f"), a = wait_for(l, "a", "new");
    assert_int_equal(wait_for(l, "b", "f"), b);
    assert_int_equal(wait_for(l, "a", "new"), a);
    assert_int_not_equal(a, b);
    assert_ok(pool_tree_unlink(l->tree, NULL, a, "f"));
    assert_true(is_there(l, 0, "b/f"));
    assert_false(is_there(l, 0, "a/f"));
    assert_ok(pool_tree_unlink(l->tree, NULL, b, "f"));
    assert_false(is_there(l, 0, "b/f"));
    assert_true(is_there(l, 0, "a/new"));
}

static void test_made_where_we_renamed(void **state)
{
    struct lived l;
    const uint64_t was = live(&l, *state, true, false);
    assert_ok(pool_tree_rename(l.tree, NULL, POOL_ROOT, "a", POOL_ROOT, "b", 0));
    made_by_others(&l, 0);
    assert_int_equal(wait_for(&l, "b", "f"), was);
    are_two(&l, true);
    leave(&l);
}

/* The whole of the parent is read anew in between. */
static void test_made_where_we_renamed_and_read_anew(void **state)
{
    struct lived l;
    struct tree_node *root;
    live(&l, *state, true, false);
    assert_ok(pool_tree_rename(l.tree, NULL, POOL_ROOT, "a", POOL_ROOT, "b", 0));
    made_by_others(&l, 0);
    assert_ok(tree_node(l.tree, POOL_ROOT, true, &root));
    assert_ok(tree_folder_reload(l.tree, root));
    tree_put(l.tree, root);
    are_two(&l, false);
    leave(&l);
}

static void test_made_where_we_removed(void **state)
{
    struct lived l;
    const uint64_t was = live(&l, *state, true, false);
    const int holds = open(on_drive(&l, 0, "a"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(holds >= 0); /* nothing else gets its inode */
    assert_ok(pool_tree_unlink(l.tree, NULL, was, "f"));
    assert_ok(pool_tree_rmdir(l.tree, NULL, POOL_ROOT, "a"));
    made_by_others(&l, 0);
    assert_int_not_equal(wait_for(&l, "a", "new"), was);
    close(holds);
    leave(&l);
}

/* On one drive of the two, and nobody has looked at "b" when "a" is there again. */
static void test_made_where_others_renamed(void **state)
{
    struct lived l;
    live(&l, *state, true, true);
    moved_by_others(&l, 0);
    made_by_others(&l, 0);
    are_two(&l, false);
    leave(&l);
}

/* The copy on the other drive stays. */
static void test_one_copy_renamed_by_others(void **state)
{
    struct lived l;
    live(&l, *state, true, true);
    moved_by_others(&l, 0);
    wait_for(&l, "b", "f");
    const int64_t until = mrmr_clock_monotonic() + 5 * MRMR_NS_PER_S;
    while (wait_for(&l, "b", "f") == wait_for(&l, "a", "f")) /* until the event is here */
        assert_true(mrmr_clock_monotonic() < until);
    assert_ok(pool_tree_unlink(l.tree, NULL, wait_for(&l, "a", "f"), "f"));
    assert_true(is_there(&l, 0, "b/f"));
    assert_false(is_there(&l, 1, "a/f"));
    leave(&l);
}

/* A copy comes on the first drive: what was held is still what the name leads to. */
static void test_a_further_copy_changes_no_number(void **state)
{
    struct lived l;
    const uint64_t was = live(&l, *state, false, true);
    made_by_others(&l, 0);
    assert_int_equal(wait_for(&l, "a", "new"), was);
    leave(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_where_we_renamed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_made_where_we_renamed_and_read_anew, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_made_where_we_removed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_made_where_others_renamed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_one_copy_renamed_by_others, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_further_copy_changes_no_number, world_setup, world_teardown),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
