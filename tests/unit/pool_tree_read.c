/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What an open file of the live tree holds, when others change it on its drive meanwhile: what was opened, or
 * what is there now, and never what is neither.
 */
#include "tests/unit/pool_tree_world.h"

#include "pool/change/tree_change.h"
#include "tests/support/pause.h"
#include <string.h>

enum { PART = 64 };

/* Bytes that the rig expects now; and that the error is this. */
static void reads(struct world *w, struct pool_tree_file *file, const char *path, uint64_t offset,
    mrmr_err wanted)
{
    uint8_t got[PART], expected[PART];
    size_t n = 0;
    assert_int_equal(pool_tree_file_read(file, offset, got, PART, &n), wanted);
    if (wanted)
        return;
    assert_int_equal(n, PART);
    rig_expected(rig_find(w->rig, path), offset, expected, PART);
    assert_memory_equal(got, expected, PART);
}

static struct pool_tree_file *open_to_read(struct world *w, const char *name)
{
    struct pool_tree_file *file;
    struct pool_attr attr = look(w, POOL_ROOT, name);
    bool same;
    rig_ok(pool_tree_file_open(w->tree, attr.node, false, &file, &same));
    pool_tree_forget(w->tree, attr.node, 1);
    return file;
}

/* Verified, and made from parity where it rotted, until it is another file. */
static void test_verified_until_it_changes(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 420);
    close_tree(&w);
    rig_ok(pool_set(w.rig->pool, "verify-reads", "on"));
    open_tree(&w);
    while (!w.tree->verify)
        pause_a_while();
    rig_rot(w.rig, 0, "f0", 10);
    struct pool_tree_file *file = open_to_read(&w, "f0");
    reads(&w, file, "f0", 0, MRMR_OK);
    rig_edit(w.rig, "f0", 2 * RIG_MIB, PART);
    reads(&w, file, "f0", 2 * RIG_MIB, MRMR_OK);
    const uint64_t end = rig_find(w.rig, "f0")->size;
    rig_append(w.rig, "f0", PART);
    reads(&w, file, "f0", end, MRMR_OK);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Where it cannot be read what was opened is made, unless it is that no more. */
static void test_unreadable(void **state)
{
    const struct drv_fault_rule sector = {
        .ops = DRV_FAULT_FILE_READ, .prefix = "f0", .err = MRMR_IO};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 421);
    struct pool_tree_file *file = open_to_read(&w, "f0");
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &sector, NULL));
    reads(&w, file, "f0", 0, MRMR_OK);
    rig_edit(w.rig, "f0", 0, PART);
    reads(&w, file, "f0", 0, MRMR_IO);
    rig_clear_faults(w.rig);
    reads(&w, file, "f0", 0, MRMR_OK);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- another file has its path since the drive was looked through --- */

enum { MOST = 3 << 20 };

/* Of the one thing that was asked for: the drive is live. */
static void fails(struct world *w, uint32_t ops)
{
    const struct drv_fault_rule rule = {.ops = ops, .prefix = "f0", .err = MRMR_IO};
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
}

/* A protected file of the same drive, over the other one, as editors save. */
static void begin_saved(struct world *w, uint64_t seed, bool is_protected)
{
    begin(w, RIG_MEM, seed);
    close_tree(w);
    rig_put(w->rig, 0, "other", RIG_MIB / 2);
    if (is_protected)
        rig_protect_all(w->rig);
    open_tree(w);
    rig_ok(pool_tree_rename(w->tree, NULL, POOL_ROOT, "other", POOL_ROOT, "f0", 0));
    rig_find(w->rig, "f0")->there = false;
    strcpy(rig_find(w->rig, "other")->path, "f0");
}

static void ends(struct world *w)
{
    rig_clear_faults(w->rig);
    close_tree(w);
    rig_destroy(w->rig);
}

/* What is protected of the one that is there is made, and never the other's. */
static void test_another_cannot_be_opened(void **state)
{
    struct world w;
    (void)state;
    begin_saved(&w, 423, true);
    fails(&w, DRV_FAULT_FILE_OPEN | DRV_FAULT_STAT);
    assert_int_equal(look(&w, POOL_ROOT, "f0").size, RIG_MIB / 2);
    struct pool_tree_file *file = open_to_read(&w, "f0");
    reads(&w, file, "f0", RIG_MIB / 4, MRMR_OK);
    pool_tree_file_close(file);
    ends(&w);
}

static void test_another_that_nobody_knows(void **state)
{
    struct world w;
    struct pool_tree_file *file;
    bool same;
    (void)state;
    begin_saved(&w, 424, false);
    const uint64_t node = look(&w, POOL_ROOT, "f0").node;
    fails(&w, DRV_FAULT_FILE_OPEN);
    assert_int_not_equal(pool_tree_file_open(w.tree, node, false, &file, &same), MRMR_OK);
    ends(&w);
}

/* Of the same size and time: the inode tells. */
static void test_another_of_the_same_time(void **state)
{
    struct world w;
    struct drv_stat stat;
    (void)state;
    begin(&w, RIG_MEM, 425);
    close_tree(&w);
    struct drv *drv = w.rig->drive[0].raw;
    rig_ok(drv_stat(drv, "f0", &stat));
    assert_true(stat.size <= MOST);
    rig_put(w.rig, 0, "other", stat.size);
    rig_ok(drv_set_attr(drv, "other", DRV_ATTR_MTIME, &stat));
    rig_ok(pool_set(w.rig->pool, "verify-reads", "on"));
    open_tree(&w);
    while (!w.tree->verify)
        pause_a_while();
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "f0", 0));
    rig_find(w.rig, "f0")->there = false;
    strcpy(rig_find(w.rig, "other")->path, "f0");
    struct pool_tree_file *file = open_to_read(&w, "f0");
    reads(&w, file, "f0", 100, MRMR_OK);
    pool_tree_file_close(file);
    ends(&w);
}

struct bring {
    struct world *w;
    struct tree_node *node;
};

static void bring_it(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op;
    (void)path;
    const struct bring *bring = arg;
    rig_ok(tree_bring(bring->w->tree, bring->node, 0, 0));
}

/* Opened on its drive, and brought to another before anybody knows that it is open. */
static void test_brought_while_it_is_opened(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 422);
    struct bring bring = {.w = &w};
    const uint64_t number = look(&w, POOL_ROOT, "f0").node;
    rig_ok(tree_node(w.tree, number, false, &bring.node));
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_FILE_OPEN,
        .prefix = "f0",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .late = true,
        .hook = bring_it,
        .arg = &bring};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    struct pool_tree_file *file = open_to_read(&w, "f0");
    assert_false(rig_holds(w.rig, 0, "f0"));
    reads(&w, file, "f0", RIG_MIB, MRMR_OK);
    pool_tree_file_close(file);
    tree_put(w.tree, bring.node);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verified_until_it_changes),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_another_cannot_be_opened),
        cmocka_unit_test(test_another_that_nobody_knows),
        cmocka_unit_test(test_another_of_the_same_time),
        cmocka_unit_test(test_brought_while_it_is_opened),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_read", tests, NULL, NULL);
}
