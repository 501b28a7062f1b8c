/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree, changed: new things and names go where they should, and a rename that was begun is
 * finished.
 */
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void test_new_things(void **state)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0751};
    const struct pool_new symlink = {.kind = POOL_LNK, .target = "no/where"};
    struct pool_attr attr, file_attr, again;
    struct pool_tree_file *file;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 181);
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "folder", &folder, &attr));
    assert_int_equal(attr.mode, 0751);
    assert_int_equal(pool_tree_make(w.tree, NULL, POOL_ROOT, "f1", &folder, &again), MRMR_EXISTS);
    assert_int_equal(
        pool_tree_make(w.tree, NULL, POOL_ROOT, ".mrmr", &folder, &again), MRMR_DENIED);
    rig_ok(pool_tree_make(w.tree, NULL, attr.node, "symlink", &symlink, &again));
    pool_tree_forget(w.tree, again.node, 1);
    rig_ok(pool_tree_create(w.tree, NULL, attr.node, "file", 0640, &file_attr, &file));
    assert_int_equal(file_attr.mode, 0640);
    rig_ok(pool_tree_file_write(file, 5, "text", 4));
    rig_ok(pool_tree_file_sync(file));
    pool_tree_file_close(file);
    again = look(&w, attr.node, "file");
    assert_int_equal(again.node, file_attr.node);
    assert_int_equal(again.size, 9);
    assert_int_equal(pool_tree_rmdir(w.tree, NULL, POOL_ROOT, "folder"), MRMR_NOT_EMPTY);
    rig_ok(pool_tree_unlink(w.tree, NULL, attr.node, "file"));
    rig_ok(pool_tree_unlink(w.tree, NULL, attr.node, "symlink"));
    assert_int_equal(pool_tree_unlink(w.tree, NULL, attr.node, "file"), MRMR_ABSENT);
    assert_int_equal(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "folder"), MRMR_IS_DIR);
    assert_int_equal(pool_tree_rmdir(w.tree, NULL, POOL_ROOT, "f1"), MRMR_NOT_DIR);
    rig_ok(pool_tree_rmdir(w.tree, NULL, POOL_ROOT, "folder"));
    assert_int_equal(try_look(&w, POOL_ROOT, "folder"), MRMR_ABSENT);
    for (unsigned d = 0; d < DRIVES; d++)
        assert_false(rig_holds(w.rig, d, "folder"));
    pool_tree_forget(w.tree, again.node, 2);
    pool_tree_forget(w.tree, attr.node, 1);
    close_tree(&w);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    rig_destroy(w.rig);
}

/* What is new goes to the drive that is used least, and the folders above it are made there with the
 * attributes they have. */
static void test_least_used(void **state)
{
    struct pool_attr attr, folder;
    struct pool_tree_file *file;
    struct world w;
    struct drv_stat stat;
    const struct drv_stat mode = {.mode = 0750, .mtime = 1000000007 * MRMR_NS_PER_S};
    (void)state;
    begin(&w, RIG_MEM, 182);
    close_tree(&w);
    rig_put(w.rig, 0, "a/b/there", 10 * RIG_MIB);
    rig_put(w.rig, 1, "x1", 20 * RIG_MIB);
    rig_put(w.rig, 2, "x2", 20 * RIG_MIB);
    rig_put(w.rig, 4, "x4", 20 * RIG_MIB);
    rig_ok(drv_set_attr(w.rig->drive[0].raw, "a/b", DRV_ATTR_MODE | DRV_ATTR_MTIME, &mode));
    rig_ok(drv_set_attr(w.rig->drive[0].raw, "a", DRV_ATTR_MODE | DRV_ATTR_MTIME, &mode));
    open_tree(&w);
    uint64_t a = look(&w, POOL_ROOT, "a").node;
    folder = look(&w, a, "b");
    rig_ok(pool_tree_create(w.tree, NULL, folder.node, "new", 0600, &attr, &file));
    pool_tree_file_close(file);
    assert_true(rig_holds(w.rig, 3, "a/b/new"));
    rig_ok(drv_stat(w.rig->drive[3].raw, "a/b", &stat));
    assert_int_equal(stat.mode, 0750);
    rig_ok(drv_stat(w.rig->drive[3].raw, "a", &stat));
    assert_int_equal(stat.mode, 0750);
    assert_int_equal(stat.mtime, mode.mtime); /* nothing was put into it */
    assert_int_equal(look(&w, folder.node, "there").size, 10 * RIG_MIB);
    assert_int_equal(look(&w, folder.node, "new").node, attr.node);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The drives' room is looked at again with the next new file. */
static void room_is_old(struct world *w)
{
    mrmr_locked(&w->tree->lock);
    w->tree->room_at = 0;
}

/* A new file, and so much written to it. Returns its drive. */
static unsigned place(struct world *w, const char *name, unsigned mib)
{
    static const uint8_t bytes[4 * RIG_MIB];
    struct pool_attr attr;
    struct pool_tree_file *file;
    unsigned drive = 0;
    room_is_old(w);
    rig_ok(pool_tree_create(w->tree, NULL, POOL_ROOT, name, 0600, &attr, &file));
    for (unsigned i = 0; i < mib / 4; i++)
        rig_ok(pool_tree_file_write(file, i % 2 * sizeof bytes, bytes, sizeof bytes));
    pool_tree_file_close(file);
    while (drive < DRIVES && !rig_holds(w->rig, drive, name))
        drive++;
    return drive;
}

/* Of a folder the catalog tells how much lies there, and not of what came after the last scan: that counts
 * however often it is looked. */
static void test_least_used_since_the_scan(void **state)
{
    struct pool_sync_report report = {0};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 183);
    const unsigned first = place(&w, "one", 40);
    assert_int_equal(place(&w, "two", 40), first); /* it stays for 64 MiB */
    assert_int_not_equal(place(&w, "three", 0), first);
    assert_int_equal(w.tree->drive[first].room.since, 80 * RIG_MIB);
    struct pool_job job = rig_job(w.rig);
    rig_ok(pool_scan(w.rig->pool, &job, false, &report));
    place(&w, "four", 0);
    assert_int_equal(w.tree->drive[first].room.since, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_renames(void **state)
{
    struct world w;
    const struct pool_new made = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    (void)state;
    begin(&w, RIG_LOCAL, 183);
    rig_put(w.rig, 0, "many/zero", 1000);
    rig_put(w.rig, 1, "many/one", 1000);
    rig_put(w.rig, 2, "many/deep/two", 1000);
    rig_put(w.rig, 1, "full/of", 10);
    uint64_t many = look(&w, POOL_ROOT, "many").node;
    uint64_t deep = look(&w, many, "deep").node;
    /* A folder of three drives, over an empty one that lies on another, too. */
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "empty", &made, &attr));
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "many", POOL_ROOT, "full", 0), MRMR_NOT_EMPTY);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "many", POOL_ROOT, "f1", 0), MRMR_NOT_DIR);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "f1", POOL_ROOT, "many", 0), MRMR_IS_DIR);
    assert_int_equal(pool_tree_rename(w.tree, NULL, POOL_ROOT, "many", POOL_ROOT, "empty",
                         POOL_RENAME_NOREPLACE),
        MRMR_EXISTS);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "none", POOL_ROOT, "x", 0), MRMR_ABSENT);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "many", POOL_ROOT, "empty", 0));
    assert_int_equal(try_look(&w, POOL_ROOT, "many"), MRMR_ABSENT);
    assert_int_equal(look(&w, POOL_ROOT, "empty").node, many);
    assert_int_equal(look(&w, many, "deep").node, deep);
    for (unsigned d = 0; d < DRIVES; d++)
        assert_false(rig_holds(w.rig, d, "many"));
    assert_true(rig_holds(w.rig, 0, "empty/zero") && rig_holds(w.rig, 1, "empty/one") &&
                rig_holds(w.rig, 2, "empty/deep/two"));
    /* Into a folder that its drive has not yet. */
    uint64_t two = look(&w, deep, "two").node, full = look(&w, POOL_ROOT, "full").node;
    rig_ok(pool_tree_rename(w.tree, NULL, deep, "two", full, "two", 0));
    assert_true(rig_holds(w.rig, 2, "full/two"));
    assert_int_equal(look(&w, full, "two").node, two);
    /* Exchanges: on one drive, or not at all. */
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "f1", POOL_ROOT, "f2", POOL_RENAME_EXCHANGE),
        MRMR_CROSS_DEVICE);
    uint64_t f0 = look(&w, POOL_ROOT, "f0").node, other = look(&w, POOL_ROOT, "other").node;
    rig_ok(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "f0", POOL_ROOT, "other", POOL_RENAME_EXCHANGE));
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, other);
    assert_int_equal(look(&w, POOL_ROOT, "other").node, f0);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The power went while a folder of several drives was renamed: whoever looks next finishes it. */
static void test_rename_is_finished(void **state)
{
    char record[100];
    struct drv_stat stat[3];
    struct world w;
    char path[320];
    (void)state;
    begin(&w, RIG_LOCAL, 184);
    close_tree(&w);
    rig_put(w.rig, 0, "moved/zero", 1000);
    rig_put(w.rig, 1, "many/one", 1000);
    rig_put(w.rig, 2, "many/two", 1000);
    snprintf(path, sizeof path, "%s/pool/rename-0123456789abcdef", w.rig->dir);
    rig_ok(drv_stat(w.rig->drive[0].raw, "moved", &stat[0]));
    rig_ok(drv_stat(w.rig->drive[1].raw, "many", &stat[1]));
    rig_ok(drv_stat(w.rig->drive[2].raw, "many", &stat[2]));
    int n = snprintf(record, sizeof record, "1:%llu 2:%llu 3:%llu %cmany%cmoved",
        (unsigned long long)stat[0].ino, (unsigned long long)stat[1].ino,
        (unsigned long long)stat[2].ino, 0, 0);
    FILE *f = fopen(path, "w");
    assert_int_equal(fwrite(record, (size_t)n + 1, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    open_tree(&w);
    assert_int_equal(try_look(&w, POOL_ROOT, "many"), MRMR_ABSENT);
    uint64_t moved = look(&w, POOL_ROOT, "moved").node;
    look(&w, moved, "zero");
    look(&w, moved, "one");
    look(&w, moved, "two");
    assert_int_equal(access(path, F_OK), -1);
    close_tree(&w);
    rig_destroy(w.rig);
}

static unsigned renames_recorded(struct world *w)
{
    char path[320];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/pool", w->rig->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += strncmp(entry->d_name, "rename-", 7) == 0;
    closedir(dir);
    return n;
}

/* A rename that was made and is not known to be durable is not made once more by whoever looks next, if the folder
 * was renamed again since: that waits until the drive can be synced. */
static void test_renamed_again_before_it_was_durable(void **state)
{
    const struct drv_fault_rule no_sync = {
        .ops = DRV_FAULT_DIR_SYNC | DRV_FAULT_SYNC_ALL, .err = MRMR_IO};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 187);
    close_tree(&w);
    rig_put(w.rig, 1, "many/one", 1000);
    rig_put(w.rig, 2, "many/two", 1000);
    open_tree(&w);
    rig_ok(drv_fault_add(w.rig->drive[2].fault, &no_sync, NULL));
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "many", POOL_ROOT, "moved", 0));
    assert_int_equal(renames_recorded(&w), 1);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "moved", POOL_ROOT, "many", 0), MRMR_IO);
    look(&w, POOL_ROOT, "moved");
    rig_clear_faults(w.rig);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "moved", POOL_ROOT, "many", 0));
    assert_int_equal(renames_recorded(&w), 0);
    close_tree(&w);
    open_tree(&w);
    assert_int_equal(try_look(&w, POOL_ROOT, "moved"), MRMR_ABSENT);
    const uint64_t many = look(&w, POOL_ROOT, "many").node;
    look(&w, many, "one");
    look(&w, many, "two");
    close_tree(&w);
    rig_destroy(w.rig);
}

/* In a thread whose stack would not do for a frame a level. */
static void *makes_deep(void *arg)
{
    enum { LEVELS = 1000 };
    const struct drv_fault_rule full = {.ops = DRV_FAULT_CREATE, .err = MRMR_SPACE};
    const struct pool_new what = {.kind = POOL_DIR, .mode = 0755};
    struct world *w = arg;
    struct pool_attr attr = {.node = POOL_ROOT};
    struct pool_tree_file *file;
    unsigned on = 0;
    for (unsigned i = 0; i < LEVELS; i++)
        rig_ok(pool_tree_make(w->tree, NULL, attr.node, "d", &what, &attr));
    while (!rig_holds(w->rig, on, "d"))
        on++;
    rig_ok(drv_fault_add(w->rig->drive[on].fault, &full, NULL));
    rig_ok(pool_tree_create(w->tree, NULL, attr.node, "file", 0600, &attr, &file));
    pool_tree_file_close(file);
    rig_clear_faults(w->rig);
    return w;
}

/* A folder may lie as deep as anybody likes, and has to be made on a further drive. */
static void test_deep(void **state)
{
    struct world w;
    pthread_attr_t attr;
    pthread_t thread;
    void *made = NULL;
    (void)state;
    begin(&w, RIG_MEM, 188);
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, 512 << 10), 0);
    assert_int_equal(pthread_create(&thread, &attr, makes_deep, &w), 0);
    pthread_join(thread, &made);
    pthread_attr_destroy(&attr);
    assert_non_null(made);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void writes_raw(struct world *w, unsigned drive, const char *path, const char *text)
{
    struct drv_file *raw;
    rig_ok(drv_file_open(
        w->rig->drive[drive].raw, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    rig_ok(drv_file_write(raw, 0, text, strlen(text)));
    drv_file_close(raw);
}

/* Copies that do not show go with the one that does. */
static void test_hidden_copies(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 185);
    rig_put(w.rig, 1, "twice", 1000);
    writes_raw(&w, 2, "twice", "newer");
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "twice", POOL_ROOT, "moved", 0));
    assert_int_equal(try_look(&w, POOL_ROOT, "twice"), MRMR_ABSENT);
    assert_true(rig_holds(w.rig, 1, "moved") && rig_holds(w.rig, 2, "moved"));
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "moved"));
    assert_int_equal(try_look(&w, POOL_ROOT, "moved"), MRMR_ABSENT);
    assert_false(rig_holds(w.rig, 1, "moved") || rig_holds(w.rig, 2, "moved"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* What a rename replaced on another drive could not be removed: what was renamed shows, although the catalog knows
 * it for longer; whether the drives are there or not. */
static void test_replaced_and_not_removed(void **state)
{
    const struct drv_fault_rule refused = {
        .ops = DRV_FAULT_RENAME | DRV_FAULT_UNLINK, .prefix = "late", .err = MRMR_DENIED};
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 186);
    close_tree(&w);
    rig_put(w.rig, 3, "late", 2000);
    rig_protect_all(w.rig);
    rig_ok(drv_fault_add(w.rig->drive[3].fault, &refused, NULL));
    open_tree(&w);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "late", 0));
    assert_true(rig_holds(w.rig, 0, "late") && rig_holds(w.rig, 3, "late"));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(look(&w, POOL_ROOT, "late").size, rig_find(w.rig, "other")->size);
        close_tree(&w);
        if (i == 1)
            rig_take_away(w.rig, 3);
        if (i == 2)
            rig_bring_back(w.rig, 3);
        if (i == 2)
            rig_take_away(w.rig, 0);
        open_tree(&w);
    }
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Two copies of a name are renamed, by it or with their folder, and a scan sees the newer one alone: that shows still. */
static void test_copies_of_which_one_is_scanned(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 187);
    close_tree(&w);
    rig_put(w.rig, 1, "twice", 1000);
    rig_put(w.rig, 1, "folder/twice", 1000);
    rig_protect_all(w.rig);
    writes_raw(&w, 2, "twice", "newer");
    rig_ok(drv_mkdirs(w.rig->drive[2].raw, "folder", 0755));
    writes_raw(&w, 2, "folder/twice", "newer");
    rig_sync(w.rig);
    open_tree(&w);
    assert_int_equal(look(&w, POOL_ROOT, "twice").size, 5);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "twice", POOL_ROOT, "moved", 0));
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "folder", POOL_ROOT, "inner", 0));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(look(&w, POOL_ROOT, "moved").size, 5);
        uint64_t inner = look(&w, POOL_ROOT, "inner").node;
        assert_int_equal(look(&w, inner, "twice").size, 5);
        close_tree(&w);
        if (i == 0) {
            rig_take_away(w.rig, 1);
            rig_sync(w.rig);
        }
        if (i == 1)
            rig_bring_back(w.rig, 1);
        open_tree(&w);
    }
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_things),
        cmocka_unit_test(test_least_used),
        cmocka_unit_test(test_least_used_since_the_scan),
        cmocka_unit_test(test_renames),
        cmocka_unit_test(test_rename_is_finished),
        cmocka_unit_test(test_renamed_again_before_it_was_durable),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_hidden_copies),
        cmocka_unit_test(test_replaced_and_not_removed),
        cmocka_unit_test(test_copies_of_which_one_is_scanned),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_names", tests, NULL, NULL);
}
