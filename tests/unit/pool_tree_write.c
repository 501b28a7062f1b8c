/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree, changed, while another handle owns the pool and syncs it: whatever is done to a protected
 * file lowers nobody else's protection (I3): before the scan, after it, and when nothing is retained any more.
 */
#include "tests/unit/pool_tree_world.h"

#include "base/text.h"
#include "pool/retained/retained.h"

#include <stdio.h>
#include <string.h>

static void test_overwritten(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 171);
    overwrite(&w, "f0", RIG_MIB + 10, 100);
    unsigned n = count_retained(w.rig, 0);
    assert_int_equal(n, 1);
    overwrite(&w, "f0", RIG_MIB + 5000, 100); /* the leaf is kept already */
    assert_int_equal(count_retained(w.rig, 0), n);
    overwrite(&w, "f0", 2 * RIG_MIB - 10, 20); /* two leaves */
    assert_int_equal(count_retained(w.rig, 0), n + 1);
    end(&w, "f0");
}

static void test_cut_short(void **state)
{
    const struct pool_attr set = {.size = RIG_MIB / 2};
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 172);
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_ok(pool_tree_set(w.tree, NULL, node, NULL, POOL_SET_SIZE, &set, &attr));
    assert_int_equal(attr.size, set.size);
    pool_tree_forget(w.tree, node, 1);
    rig_find(w.rig, "f0")->size = set.size;
    end(&w, "f0");
}

static void test_appended(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 173);
    overwrite(&w, "f0", rig_find(w.rig, "f0")->size, 3 * RIG_MIB / 2);
    end(&w, "f0");
}

static void test_punched(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 174);
    struct pool_tree_file *file = open_file(&w, "f0");
    mrmr_err err = pool_tree_file_range(file, POOL_RANGE_PUNCH, RIG_MIB, RIG_MIB / 2);
    pool_tree_file_close(file);
    rig_ok(err);
    struct rig_file *known = rig_find(w.rig, "f0");
    known->hole_begin = RIG_MIB;
    known->hole_end = RIG_MIB + RIG_MIB / 2;
    end(&w, "f0");
}

static void test_unlinked(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 175);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    assert_int_equal(try_look(&w, POOL_ROOT, "f0"), MRMR_ABSENT);
    rig_find(w.rig, "f0")->there = false;
    end(&w, "f0");
}

/* After the scan nothing leads from the inode to what is kept of it but what the tree remembers. */
static void test_unlinked_scanned_and_written_to(void **state)
{
    struct world w;
    struct pool_attr attr;
    uint8_t got[7];
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 176);
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    rig_ok(pool_tree_file_attr(file, &attr));
    assert_int_equal(attr.nlink, 0);
    rig_find(w.rig, "f0")->there = false;
    reads_all_but(w.rig, "f0", 0);
    no_new_rows(w.rig);
    rig_sync(w.rig);
    rig_clear_faults(w.rig);
    rig_ok(pool_tree_file_write(file, RIG_MIB + 7, "written", 7));
    rig_ok(pool_tree_file_write(file, 0, "written", 7));
    rig_ok(pool_tree_file_read(file, RIG_MIB + 7, got, 7, &n));
    assert_int_equal(n, 7);
    assert_memory_equal(got, "written", 7);
    reads_all_but(w.rig, NULL, 0);
    pool_tree_file_close(file);
    end(&w, "f0");
}

static void test_replaced(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 177);
    rig_put(w.rig, 0, "new", 1000)->there = false; /* it is not protected yet */
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    rig_find(w.rig, "f0")->there = false;
    rig_ok(pool_tree_file_write(file, 5, "late", 4));
    pool_tree_file_close(file);
    end(&w, "f0");
}

/* A protected file, or a folder of some, has another name: its bytes are found by whoever needs them. */
static void test_renamed(void **state)
{
    const struct pool_new made = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 194);
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "folder", &made, &attr));
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "f0", attr.node, "inner", 0));
    strcpy(rig_find(w.rig, "f0")->path, "folder/inner");
    reads_all_but(w.rig, "folder/inner", 0);
    rig_sync(w.rig);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "folder", POOL_ROOT, "other folder", 0));
    strcpy(rig_find(w.rig, "folder/inner")->path, "other folder/inner");
    reads_all_but(w.rig, "other folder/inner", 0);
    rig_ok(pool_tree_rename(
        w.tree, NULL, attr.node, "inner", POOL_ROOT, "other", POOL_RENAME_EXCHANGE));
    strcpy(rig_find(w.rig, "other")->path, "x");
    strcpy(rig_find(w.rig, "other folder/inner")->path, "other");
    struct rig_file *other = rig_find(w.rig, "x");
    strcpy(other->path, "other folder/inner");
    other->there = false; /* the catalog knows neither by its new name */
    reads_all_but(w.rig, "other", 0);
    other->there = true;
    rig_sync(w.rig);
    reads_all_but(w.rig, NULL, 0);
    close_tree(&w);
    end_after(&w);
}

/* Over one that is protected, too. */
static void test_renamed_over(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 195);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "f0", 0));
    strcpy(rig_find(w.rig, "f0")->path, "gone");
    rig_find(w.rig, "gone")->there = false;
    strcpy(rig_find(w.rig, "other")->path, "f0");
    end(&w, "f0");
}

/* A replacement from another drive: what it replaces goes, and is kept. */
static void test_replaced_across_drives(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 178);
    rig_put(w.rig, 3, "new", RIG_MIB + 1)->there = false; /* it is not protected yet */
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    rig_find(w.rig, "f0")->there = false;
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_true(rig_holds(w.rig, 3, "f0"));
    end(&w, "f0");
}

static void test_linked(void **state)
{
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 179);
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_ok(pool_tree_link(w.tree, NULL, node, POOL_ROOT, "link", &attr));
    assert_int_equal(attr.node, node);
    assert_int_equal(attr.nlink, 2);
    pool_tree_forget(w.tree, node, 2);
    struct pool_tree_file *file = open_file(&w, "link");
    write_part(&w, file, "f0", 2 * RIG_MIB + 1, 1000);
    pool_tree_file_close(file);
    assert_int_equal(count_retained(w.rig, 0), 1);
    end(&w, "f0");
}

/* A leaf that was saved cannot be read just now: the file has other bytes there, so nothing is led to it instead. */
static void test_a_saved_leaf_cannot_be_read(void **state)
{
    const struct drv_fault_rule fails = {
        .ops = DRV_FAULT_FILE_READ, .prefix = POOL_RETAINED "/", .times = 1, .err = MRMR_NOMEM};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 109);
    overwrite(&w, "f0", 0, 100);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &fails, NULL));
    assert_int_equal(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"), MRMR_NOMEM);
    rig_clear_faults(w.rig);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    rig_find(w.rig, "f0")->there = false;
    end(&w, "f0");
}

/* It may never be read again: the file goes all the same, and where that has the bytes they are found in it. */
static void test_a_saved_leaf_is_unreadable(void **state)
{
    struct drv_fault_rule fails = {.ops = DRV_FAULT_FILE_READ, .err = MRMR_IO};
    struct world w;
    char prefix[64], hex[3];
    uint8_t *leaf = malloc(RIG_MIB), *got = malloc(RIG_MIB);
    (void)state;
    begin(&w, RIG_LOCAL, 111);
    struct drv *drv = rig_pool_drive(w.rig, 0)->drv;
    pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;
    overwrite(&w, "f0", 0, 100);
    rig_expected(rig_find(w.rig, "f0"), RIG_MIB, leaf, RIG_MIB);
    const struct mrmr_digest digest = mrmr_digest_of(leaf, RIG_MIB);
    rig_ok(pool_retained_save(drv, &names, &digest, leaf, RIG_MIB));
    mrmr_text_hex(digest.bytes, 1, hex);
    snprintf(prefix, sizeof prefix, POOL_RETAINED "/%s/", hex);
    fails.prefix = prefix;
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &fails, NULL));
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    rig_ok(pool_retained_read(drv, &digest, got, RIG_MIB));
    assert_memory_equal(got, leaf, RIG_MIB);
    free(leaf);
    free(got);
    rig_clear_faults(w.rig);
    rig_find(w.rig, "f0")->there = false;
    end(&w, "f0");
}

/* They are kept in the very file that changes. */
static void test_several_leaves_of_a_removed_file(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 110);
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    write_part(&w, file, "f0", RIG_MIB - 50, 100);
    pool_tree_file_close(file);
    rig_find(w.rig, "f0")->there = false;
    end(&w, "f0");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overwritten),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_appended),
        cmocka_unit_test(test_punched),
        cmocka_unit_test(test_unlinked),
        cmocka_unit_test(test_unlinked_scanned_and_written_to),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_renamed_over),
        cmocka_unit_test(test_replaced_across_drives),
        cmocka_unit_test(test_linked),
        cmocka_unit_test(test_a_saved_leaf_cannot_be_read),
        cmocka_unit_test(test_a_saved_leaf_is_unreadable),
        cmocka_unit_test(test_several_leaves_of_a_removed_file),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_write", tests, NULL, NULL);
}
