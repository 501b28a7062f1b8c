/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Removing protected files for other users: who removes one is asked for his right to it on the drive on which it lies
 * (I3: what goes is moved by the process itself, which may do anything). As root.
 */
#include "tests/support/skip.h"
#include "tests/unit/pool_tree_user.h"

#include <string.h>
#include <unistd.h>

static const struct pool_caller ann = {.uid = 1000, .gid = 1001};
enum { ANN = 1000, BOB = 1002 };

static void give(struct world *w, const char *path, uint32_t uid, uint32_t mode)
{
    const struct drv_stat attr = {.mode = mode, .uid = uid, .gid = uid};
    rig_ok(drv_set_attr(w->rig->drive[0].raw, path, DRV_ATTR_OWNER | DRV_ATTR_MODE, &attr));
}

/* Protected files in a folder, two of them somebody's; the tree asks for nobody's rights, and the kernel asks for those of the
 * folder on another drive, perhaps. */
static void begin_rights(struct world *w, uint64_t seed)
{
    static const char *const files[] = {"d/file", "d/other", "d/hers"};
    if (geteuid() != 0)
        skip_for("to act as another user takes root");
    begin(w, RIG_LOCAL, seed);
    close_tree(w);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        rig_put(w->rig, 0, files[i], 5000);
    rig_protect_all(w->rig);
    give(w, "", 0, 0755);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        give(w, files[i], i < 2 ? BOB : ANN, 0666);
    open_tree(w);
}

static void ends(struct world *w)
{
    close_tree(w);
    rig_destroy(w->rig);
}

static mrmr_err ann_removes(struct world *w, const char *path)
{
    const char *name;
    const uint64_t folder = folder_of(w, path, &name);
    return pool_tree_unlink(w->tree, &ann, folder, name);
}

static void is_refused(struct world *w, const char *path, uint32_t owner, uint32_t mode)
{
    const unsigned kept = count_retained(w->rig, 0);
    give(w, "d", owner, mode);
    assert_int_equal(ann_removes(w, path), MRMR_DENIED);
    assert_int_equal(count_retained(w->rig, 0), kept);
    reads(w, path);
}

static void is_removed(struct world *w, const char *path, uint32_t owner, uint32_t mode)
{
    const unsigned kept = count_retained(w->rig, 0);
    give(w, "d", owner, mode);
    rig_ok(ann_removes(w, path));
    assert_int_equal(is_there(w, path), MRMR_ABSENT);
    assert_true(count_retained(w->rig, 0) > kept);
    rig_find(w->rig, path)->there = false;
}

static void test_removed(void **state)
{
    struct world w;
    (void)state;
    begin_rights(&w, 871);
    is_refused(&w, "d/file", 0, 0755);
    is_refused(&w, "d/file", BOB, 0775);
    is_refused(&w, "d/file", BOB, 0776); /* she may not look for anything in it */
    is_refused(&w, "d/file", 0, 01777);
    is_refused(&w, "d/file", BOB, 01777);
    is_removed(&w, "d/file", BOB, 0777);
    is_removed(&w, "d/other", ANN, 01777);
    is_removed(&w, "d/hers", BOB, 01777);
    reads_all_but(w.rig, NULL, 0);
    ends(&w);
}

/* Another file takes its place: nothing is left of what was kept for that. */
static void test_replaced(void **state)
{
    struct world w;
    struct pool_attr attr;
    const char *name;
    (void)state;
    begin_rights(&w, 874);
    rig_put(w.rig, 0, "d/mine", 1000)->there = false;
    give(&w, "d/mine", ANN, 0600);
    give(&w, "d", 0, 01777);
    const uint64_t folder = folder_of(&w, "d/file", &name);
    assert_int_equal(pool_tree_rename(w.tree, &ann, folder, "mine", folder, name, 0), MRMR_DENIED);
    rig_ok(look_at(&w, "d/file", &attr));
    assert_int_equal(attr.nlink, 1);
    reads(&w, "d/file");
    give(&w, "d", 0, 0777);
    rig_ok(pool_tree_rename(w.tree, &ann, folder, "mine", folder, name, 0));
    rig_find(w.rig, "d/file")->there = false;
    reads_all_but(w.rig, NULL, 0);
    ends(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
