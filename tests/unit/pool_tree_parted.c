/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree and files without a name: those that lost it while somebody held them, and those that
 * never had one.
 */
#include "pool/tree/tree_file.h"
#include "tests/unit/pool_tree_world.h"

#include <string.h>

static struct pool_tree_file *opened(struct world *w, uint64_t node, bool writing)
{
    struct pool_tree_file *file = NULL;
    bool same;
    rig_ok(pool_tree_file_open(w->tree, node, writing, &file, &same));
    return file;
}

static mrmr_err not_opened(struct world *w, uint64_t node)
{
    struct pool_tree_file *file;
    bool same;
    return pool_tree_file_open(w->tree, node, false, &file, &same);
}

static void reads(struct pool_tree_file *file, const void *bytes, size_t size)
{
    char got[64];
    size_t n;
    rig_ok(pool_tree_file_read(file, 0, got, size, &n));
    assert_int_equal(n, size);
    assert_memory_equal(got, bytes, size);
}

static struct pool_attr made(struct world *w, const char *name, const char *bytes)
{
    struct pool_tree_file *file;
    struct pool_attr attr;
    rig_ok(pool_tree_create(w->tree, NULL, POOL_ROOT, name, 0644, &attr, &file));
    rig_ok(pool_tree_file_write(file, 0, bytes, strlen(bytes)));
    pool_tree_file_close(file);
    return attr;
}

static void finish(struct world *w)
{
    close_tree(w);
    rig_destroy(w->rig);
}

/* It is found, loses its name in one way or the other, and is opened: it is what was found. What is
 * written then, to bytes that count, is kept before. */
static void test_opened_after_it_lost_its_name(void **state)
{
    struct world w;
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        const char *name = way < 2 ? "f0" : "f1"; /* of the first drive, and of another */
        begin(&w, RIG_LOCAL, 301 + way);
        uint64_t node = look(&w, POOL_ROOT, name).node;
        if (way % 2) {
            pool_tree_forget(w.tree, made(&w, "new", "new").node, 1);
            rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, name, 0));
        } else {
            rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, name));
        }
        rig_find(w.rig, name)->there = false;
        assert_int_equal(w.tree->nparted, 1);
        struct pool_tree_file *file = opened(&w, node, true);
        rig_ok(pool_tree_file_write(file, 0, "written", 7));
        reads(file, "written", 7);
        pool_tree_file_close(file);
        file = opened(&w, node, false);
        reads(file, "written", 7);
        pool_tree_file_close(file);
        pool_tree_forget(w.tree, node, 1);
        assert_int_equal(w.tree->nparted, 0);
        assert_int_not_equal(not_opened(&w, node), MRMR_OK);
        reads_all_but(w.rig, NULL, 0);
        if (way < 2)
            end(&w, name);
        else
            finish(&w);
    }
}

/* A symlink leads where it led. */
static void test_a_symlink_that_lost_its_name(void **state)
{
    const struct pool_new what = {.kind = POOL_LNK, .mode = 0777, .target = "where it led"};
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 303);
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "link", &what, &attr));
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "link"));
    rig_ok(pool_tree_readlink(w.tree, attr.node, &target));
    assert_string_equal(target.data, "where it led");
    pool_tree_forget(w.tree, attr.node, 1);
    finish(&w);
}

/* Only so many are kept, the latest; none on a drive that went; none of what keeps its name. */
static void test_how_much_is_kept(void **state)
{
    struct world w;
    uint64_t node[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    (void)state;
    begin(&w, RIG_LOCAL, 304);
    w.tree->parted_most = 2;
    for (unsigned i = 0; i < 4; i++)
        node[i] = made(&w, names[i], names[i]).node;
    for (unsigned i = 0; i < 3; i++)
        rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, names[i]));
    assert_int_equal(w.tree->nparted, 2);
    assert_int_equal(mrmr_class_of(not_opened(&w, node[0])), MRMR_CLASS_ABSENT);
    for (unsigned i = 1; i < 4; i++) {
        struct pool_tree_file *file = opened(&w, node[i], true);
        reads(file, names[i], 1);
        pool_tree_file_close(file);
    }
    for (size_t i = 0; i < w.tree->ndrives; i++)
        tree_files_let_go(w.tree, i);
    assert_int_equal(w.tree->nparted, 0);
    assert_int_equal(mrmr_class_of(not_opened(&w, node[2])), MRMR_CLASS_ABSENT);
    for (unsigned i = 0; i < 4; i++)
        pool_tree_forget(w.tree, node[i], 1);
    finish(&w);
}

/* A removal that fails leaves nothing open. */
static void test_nothing_is_kept_of_what_stays(void **state)
{
    const struct drv_fault_rule denied = {.ops = DRV_FAULT_UNLINK, .part = "n", .err = MRMR_DENIED};
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 305);
    uint64_t node = made(&w, "n", "n").node;
    for (unsigned i = 0; i < DRIVES; i++)
        rig_ok(drv_fault_add(w.rig->drive[i].fault, &denied, NULL));
    assert_int_equal(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "n"), MRMR_DENIED);
    rig_clear_faults(w.rig);
    assert_int_equal(w.tree->nparted, 0);
    pool_tree_forget(w.tree, node, 1);
    finish(&w);
}

/* A look at the drives that began before a name went and came again says nothing about it: what is
 * known of the name never has the same count twice. */
static void test_a_name_that_comes_again(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 306);
    look(&w, POOL_ROOT, "f0");
    {
        mrmr_locked(&w.tree->lock);
        uint32_t last = 0;
        for (unsigned i = 0; i < 8; i++) {
            const struct tree_name *name = tree_name_touch_locked(w.tree->root, "n");
            assert_true(name->events > last);
            last = name->events;
            if (i % 2)
                tree_map_remove(&w.tree->root->map, "n");
        }
    }
    finish(&w);
}

/* Made without a name, written, named: it is a file as any other, and protected. */
static void test_a_file_without_a_name(void **state)
{
    struct world w;
    struct pool_tree_file *file, *other;
    struct pool_attr attr, named, second;
    (void)state;
    begin(&w, RIG_LOCAL, 307);
    rig_ok(pool_tree_create_unnamed(w.tree, NULL, POOL_ROOT, 0640, &attr, &file));
    rig_ok(pool_tree_create_unnamed(w.tree, NULL, POOL_ROOT, 0640, &second, &other));
    assert_int_not_equal(attr.node, second.node);
    rig_ok(pool_tree_file_write(file, 0, "bytes", 5));
    rig_ok(pool_tree_attr(w.tree, attr.node, &named));
    assert_int_equal(named.nlink, 0);
    assert_int_equal(named.size, 5);
    assert_int_equal(pool_tree_link(w.tree, NULL, attr.node, POOL_ROOT, "f0", &named), MRMR_EXISTS);
    rig_ok(pool_tree_link(w.tree, NULL, attr.node, POOL_ROOT, "named", &named));
    assert_int_equal(named.node, attr.node);
    assert_int_equal(named.nlink, 1);
    assert_int_equal(look(&w, POOL_ROOT, "named").node, attr.node);
    rig_ok(pool_tree_file_write(file, 5, " more", 5));
    reads(file, "bytes more", 10);
    pool_tree_file_close(file);
    /* Nobody has it open any more, and it never had a name. */
    pool_tree_file_close(other);
    assert_int_equal(
        mrmr_class_of(pool_tree_link(w.tree, NULL, second.node, POOL_ROOT, "late", &named)),
        MRMR_CLASS_ABSENT);
    pool_tree_forget(w.tree, second.node, 1);
    pool_tree_forget(w.tree, attr.node, 3);
    assert_int_equal(drives_with(w.rig, "named"), 1);
    end_after(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opened_after_it_lost_its_name),
        cmocka_unit_test(test_a_symlink_that_lost_its_name),
        cmocka_unit_test(test_how_much_is_kept),
        cmocka_unit_test(test_nothing_is_kept_of_what_stays),
        cmocka_unit_test(test_a_name_that_comes_again),
        cmocka_unit_test(test_a_file_without_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
