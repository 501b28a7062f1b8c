/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Renames that meet what is rare: a drive that takes two names for one, or that fails in the middle, and somebody
 * who waits for them.
 */
#include "pool/change/tree_change.h"
#include "tests/support/pause.h"
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include "drivers/driver_internal.h"
#include <ctype.h>
#include <pthread.h>
#include <string.h>

/* Drives in memory tell no upper case from lower where they are asked for a name. The linker leads calls of
 * drv_stat here (--wrap). */
static atomic_bool folds;
mrmr_err __real_drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat);
mrmr_err __wrap_drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat);
mrmr_err __wrap_drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    char other[64];
    mrmr_err err = __real_drv_stat(drv, path, ret_stat);
    if (err != MRMR_ABSENT || !atomic_load(&folds) || strcmp(drv->ops->scheme, "mem") != 0 ||
        strlen(path) >= sizeof other)
        return err;
    for (size_t i = 0; i <= strlen(path); i++)
        other[i] = (char)(islower((unsigned char)path[i]) ? toupper((unsigned char)path[i])
                                                          : tolower((unsigned char)path[i]));
    return __real_drv_stat(drv, other, ret_stat);
}

static void begin_here(struct world *w, uint64_t seed)
{
    atomic_store(&folds, false);
    begin(w, RIG_MEM, seed);
}

static void finish(struct world *w)
{
    atomic_store(&folds, false);
    rig_clear_faults(w->rig);
    close_tree(w);
    rig_destroy(w->rig);
}

static mrmr_err rename_in_root(struct world *w, const char *from, const char *to, unsigned flags)
{
    return pool_tree_rename(w->tree, NULL, POOL_ROOT, from, POOL_ROOT, to, flags);
}

/* --- another spelling --- */

static bool listed_as(const struct pool_dir_entry *entry, void *arg)
{
    const char **name = arg;
    if (strcasecmp(entry->name, "name") == 0) {
        assert_null(*name); /* it is one file */
        *name = strcmp(entry->name, "NAME") == 0 ? "NAME" : "name";
    }
    return true;
}

static void shows_as(struct world *w, const char *name)
{
    const char *is = NULL;
    rig_ok(pool_tree_list(w->tree, POOL_ROOT, 0, false, listed_as, &is));
    assert_non_null(is);
    assert_string_equal(is, name);
    assert_true(rig_holds(w->rig, 0, name));
}

/* asked: somebody asked for the other name before, so that it is known. */
static void respelled(bool folder, bool asked)
{
    struct world w;
    begin_here(&w, 401);
    if (folder)
        rig_put(w.rig, 0, "name/inside", 10)->there = false;
    else
        rig_put(w.rig, 0, "name", 10)->there = false;
    uint64_t node = look(&w, POOL_ROOT, "name").node;
    atomic_store(&folds, true);
    if (asked) {
        mrmr_locked(&w.tree->lock);
        tree_name_touch_locked(w.tree->root, "NAME");
    }
    if (asked)
        assert_int_equal(look(&w, POOL_ROOT, "NAME").node, node);
    rig_ok(rename_in_root(&w, "name", "NAME", 0));
    atomic_store(&folds, false);
    assert_false(rig_holds(w.rig, 0, "name"));
    assert_true(rig_holds(w.rig, 0, folder ? "NAME/inside" : "NAME"));
    atomic_store(&folds, true);
    shows_as(&w, "NAME");
    assert_int_equal(look(&w, POOL_ROOT, "NAME").node, node);
    finish(&w);
}

static void test_a_file_is_spelled_another_way(void **state)
{
    (void)state;
    respelled(false, false);
    respelled(false, true);
}

static void test_a_folder_is_spelled_another_way(void **state)
{
    (void)state;
    respelled(true, true);
}

/* Both are names of their own: nothing happens, as rename(2) has it. */
static void test_two_names_stay(void **state)
{
    struct world w;
    (void)state;
    begin_here(&w, 402);
    rig_put(w.rig, 0, "name", 10)->there = false;
    rig_ok(drv_link(w.rig->drive[0].raw, "name", "NAME"));
    rig_ok(rename_in_root(&w, "name", "NAME", 0));
    assert_true(rig_holds(w.rig, 0, "name") && rig_holds(w.rig, 0, "NAME"));
    assert_int_equal(rename_in_root(&w, "name", "NAME", POOL_RENAME_NOREPLACE), MRMR_EXISTS);
    finish(&w);
}

/* --- a drive that fails --- */

static void fails(struct world *w, unsigned drive, uint32_t ops, const char *prefix, uint64_t after,
    uint64_t times)
{
    const struct drv_fault_rule rule = {
        .ops = ops, .prefix = prefix, .after = after, .times = times, .err = MRMR_DENIED};
    rig_ok(drv_fault_add(w->rig->drive[drive].fault, &rule, NULL));
}

/* What is replaced lies on another drive, and cannot be removed there, or must not be yet: the rename was made,
 * and whoever asked for it does not take his only copy for one that is left over. */
static void replaces_on_another(unsigned drive, uint32_t ops, const char *prefix)
{
    struct world w;
    begin_here(&w, 403);
    rig_put(w.rig, 0, "new", 10)->there = false;
    uint64_t node = look(&w, POOL_ROOT, "new").node;
    fails(&w, drive, ops, prefix, 0, 0);
    rig_ok(rename_in_root(&w, "new", "f1", 0));
    assert_true(rig_holds(w.rig, 0, "f1") && rig_holds(w.rig, 1, "f1"));
    assert_false(rig_holds(w.rig, 0, "new"));
    assert_int_equal(look(&w, POOL_ROOT, "f1").node, node);
    finish(&w);
}

static void test_what_is_replaced_stays(void **state)
{
    (void)state;
    replaces_on_another(1, DRV_FAULT_RENAME | DRV_FAULT_UNLINK, "f1");
    replaces_on_another(0, DRV_FAULT_DIR_SYNC, NULL);
}

/* One drive renamed a folder, the next one refused, and the way back failed: the next mount makes it. */
static void test_the_way_back_fails(void **state)
{
    struct world w;
    (void)state;
    begin_here(&w, 404);
    rig_put(w.rig, 0, "F/a", 10)->there = false;
    rig_put(w.rig, 1, "F/b", 10)->there = false;
    fails(&w, 0, DRV_FAULT_RENAME, "F", 1, 1);
    fails(&w, 1, DRV_FAULT_RENAME, "F", 0, 1);
    assert_int_equal(rename_in_root(&w, "F", "G", 0), MRMR_DENIED);
    assert_true(rig_holds(w.rig, 0, "G/a") && rig_holds(w.rig, 1, "F/b"));
    rig_clear_faults(w.rig);
    for (unsigned i = 0; i < 2; i++) { /* and that is all: what is renamed then has its name */
        close_tree(&w);
        open_tree(&w);
        assert_true(rig_holds(w.rig, 0, "F/a") && rig_holds(w.rig, 1, "F/b"));
        assert_int_equal(drives_with(w.rig, "G"), 0);
    }
    finish(&w);
}

static void makes_a_copy(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    (void)op, (void)path;
    rig_put(w->rig, 0, "F/a", 10)->there = false;
}

/* A folder lies on a drive on which nobody saw it: it was asked before, and the others after that. It has one name all the
 * same when it was renamed. */
static void test_a_copy_that_was_not_seen(void **state)
{
    struct world w;
    (void)state;
    begin_here(&w, 407);
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_LIST,
        .action = DRV_FAULT_HOOK,
        .hook = makes_a_copy,
        .arg = &w,
        .times = 1};
    rig_put(w.rig, 1, "F/b", 10)->there = false;
    rig_ok(drv_fault_add(w.rig->drive[1].fault, &hook, NULL));
    rig_ok(rename_in_root(&w, "F", "G", 0));
    assert_true(rig_holds(w.rig, 0, "G/a") && rig_holds(w.rig, 1, "G/b"));
    assert_int_equal(drives_with(w.rig, "F/a") + drives_with(w.rig, "F/b"), 0);
    const uint64_t folder = look(&w, POOL_ROOT, "G").node;
    assert_int_equal(look(&w, folder, "a").size, 10);
    finish(&w);
}

/* --- who waits for whom --- */

/* Somebody reads a folder, a copy of which was removed directly, and waits for the renames under way to know
 * where it is; the one that is looks anew where its own folder, which was below, lies. */
struct meanwhile {
    struct world *w;
    uint64_t to;
    pthread_t thread;
    bool began;
};

static void *move_now(void *arg)
{
    struct meanwhile *m = arg;
    rig_ok(pool_tree_rename(m->w->tree, NULL, POOL_ROOT, "f0", m->to, "f0", 0));
    return NULL;
}

static bool moving(struct world *w)
{
    mrmr_locked(&w->tree->lock);
    return w->tree->moving || w->tree->moves;
}

static void removed_while_it_is_read(void *arg, enum drv_fault_op op, const char *path)
{
    struct meanwhile *m = arg;
    (void)op, (void)path;
    rig_ok(drv_rmdir(m->w->rig->drive[0].raw, "P/to"));
    rig_ok(drv_rmdir(m->w->rig->drive[0].raw, "P"));
    m->began = pthread_create(&m->thread, NULL, move_now, m) == 0;
    while (m->began && !moving(m->w))
        pause_a_while();
}

static void test_renamed_while_a_folder_is_read(void **state)
{
    struct world w;
    struct meanwhile m = {.w = &w};
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_LIST,
        .prefix = "P",
        .action = DRV_FAULT_HOOK,
        .hook = removed_while_it_is_read,
        .arg = &m,
        .times = 1};
    struct tree_node *node;
    (void)state;
    begin_here(&w, 405);
    for (unsigned d = 0; d < 2; d++) {
        rig_ok(drv_mkdir(w.rig->drive[d].raw, "P", 0755));
        rig_ok(drv_mkdir(w.rig->drive[d].raw, "P/to", 0755));
    }
    uint64_t folder = look(&w, POOL_ROOT, "P").node;
    m.to = look(&w, folder, "to").node;
    try_look(&w, m.to, "nothing");
    rig_ok(tree_node(w.tree, folder, true, &node));
    {
        mrmr_locked(&w.tree->lock);
        node->valid = false;
    }
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    try_look(&w, folder, "to");
    assert_true(m.began);
    pthread_join(m.thread, NULL);
    assert_true(rig_holds(w.rig, 0, "P/to/f0"));
    tree_put(w.tree, node);
    finish(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_spelled_another_way),
        cmocka_unit_test(test_a_folder_is_spelled_another_way),
        cmocka_unit_test(test_two_names_stay),
        cmocka_unit_test(test_what_is_replaced_stays),
        cmocka_unit_test(test_the_way_back_fails),
        cmocka_unit_test(test_a_copy_that_was_not_seen),
        cmocka_unit_test(test_renamed_while_a_folder_is_read),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_moves", tests, NULL, NULL);
}
