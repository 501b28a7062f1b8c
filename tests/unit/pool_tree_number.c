/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers of files that were brought to other drives, and of what has their inodes by then: no two files have the same one, or each
 * shows, and takes, the bytes of the other.
 */
#include "pool/tree/tree_number.h"
#include "tests/unit/pool_tree_world.h"

#include <stdio.h>
#include <string.h>

enum { INODE = 132, FAR = 1000000, CHAIN = 5 };

/* A file that had the inode was brought elsewhere, one that had it after that, too, and so on. */
static void test_each_has_its_own(void **state)
{
    struct world w;
    uint64_t number[CHAIN];
    (void)state;
    begin(&w, RIG_MEM, 1301);
    for (unsigned i = 0; i < CHAIN; i++) {
        number[i] = tree_number(w.tree, 0, INODE, "", "");
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(number[i], number[j]);
        rig_ok(tree_number_keep(w.tree, 1, FAR + i, number[i], 7));
        assert_int_equal(tree_number(w.tree, 1, FAR + i, "", ""), number[i]);
    }
    close_tree(&w);
    open_tree(&w);
    for (unsigned i = 0; i < CHAIN; i++)
        assert_int_equal(tree_number(w.tree, 1, FAR + i, "", ""), number[i]);
    close_tree(&w);
    end_after(&w);
}

/* All numbers that the next inodes of all drives would have are another file's. */
static void numbers_are_taken(struct world *w, bool taken)
{
    for (size_t d = 0; d < DRIVES; d++) {
        struct drv_stat stat;
        char path[32];
        snprintf(path, sizeof path, "f%zu", d);
        rig_ok(drv_stat(w->rig->drive[d].raw, path, &stat));
        for (uint64_t i = 0; i < 200; i++)
            if (taken)
                rig_ok(tree_number_keep(w->tree, d, FAR + i,
                    (uint64_t)w->rig->pool->drives[d]->meta.id << 48 | (stat.ino + i + 1), 7));
            else
                tree_number_forget(w->tree, d, FAR + i);
    }
}

/* Whoever has a file that was made while its number was another's goes on having it when that one is gone. */
static void test_it_keeps_its_number(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file;
    (void)state;
    begin(&w, RIG_MEM, 1302);
    numbers_are_taken(&w, true);
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "new", 0644, &attr, &file));
    pool_tree_file_close(file);
    const uint64_t number = attr.node;
    assert_true(number >> 47 & 1); /* it is not its inode's */
    numbers_are_taken(&w, false);
    assert_int_equal(look(&w, POOL_ROOT, "new").node, number);
    close_tree(&w);
    open_tree(&w);
    assert_int_equal(look(&w, POOL_ROOT, "new").node, number);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "new"));
    close_tree(&w);
    end_after(&w);
}

/* It was brought once, and could not be brought further. */
static void test_not_brought_further(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 1303);
    drive_is_full(w.rig, 0);
    struct pool_tree_file *file = open_file(&w, "f0");
    const uint64_t number = look(&w, POOL_ROOT, "f0").node;
    write_part(&w, file, "f0", 10, 4);
    for (unsigned d = 0; d < DRIVES; d++) {
        const struct drv_fault_rule rule = {
            .ops = DRV_FAULT_DIR_SYNC, .err = MRMR_INVALID, .times = 0};
        if (rig_holds(w.rig, d, "f0"))
            drive_is_full(w.rig, d);
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &rule, NULL));
    }
    assert_int_not_equal(pool_tree_file_write(file, 20, "lost", 4), MRMR_OK);
    rig_clear_faults(w.rig);
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, number);
    write_part(&w, file, "f0", 30, 4);
    pool_tree_file_close(file);
    for (unsigned d = 0; d < DRIVES; d++)
        if (rig_holds(w.rig, d, "f0"))
            rig_find(w.rig, "f0")->drive = d;
    rig_check_originals(w.rig);
    close_tree(&w);
    end_after(&w);
}

/* A cut after the copy had the number, and before it had the name. */
static void test_a_copy_without_a_name(void **state)
{
    static const char copy[] = ".mrmr/moving/0123456789abcdef";
    struct world w;
    struct drv_stat stat;
    struct drv_file *file;
    (void)state;
    begin(&w, RIG_MEM, 1304);
    const uint64_t number = look(&w, POOL_ROOT, "f0").node;
    struct drv *drv = w.rig->drive[1].raw;
    rig_ok(drv_mkdirs(drv, ".mrmr/moving", 0700));
    rig_ok(drv_file_open(drv, copy, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    rig_ok(drv_stat(drv, copy, &stat));
    rig_ok(tree_number_keep(w.tree, 1, stat.ino, number, 7));
    close_tree(&w);
    open_tree(&w);
    assert_int_not_equal(tree_number(w.tree, 1, stat.ino, "", ""), number);
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, number);
    close_tree(&w);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_has_its_own),
        cmocka_unit_test(test_it_keeps_its_number),
        cmocka_unit_test(test_not_brought_further),
        cmocka_unit_test(test_a_copy_without_a_name),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_number", tests, NULL, NULL);
}
