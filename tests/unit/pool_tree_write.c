/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree, changed, while another handle owns the pool and syncs it: names go where they
 * should, and whatever is done to a protected file lowers nobody else's protection (I3): before the
 * scan, after it, and when nothing is retained any more.
 */
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include <stdio.h>
#include <string.h>

/* --- what is counted on --- */

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

/* --- names --- */

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

/* Copies that do not show go with the one that does. */
static void test_hidden_copies(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 185);
    rig_put(w.rig, 1, "twice", 1000);
    struct drv_file *raw;
    rig_ok(
        drv_file_open(w.rig->drive[2].raw, "twice", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    rig_ok(drv_file_write(raw, 0, "newer", 5));
    drv_file_close(raw);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "twice", POOL_ROOT, "moved", 0));
    assert_int_equal(try_look(&w, POOL_ROOT, "twice"), MRMR_ABSENT);
    assert_true(rig_holds(w.rig, 1, "moved") && rig_holds(w.rig, 2, "moved"));
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "moved"));
    assert_int_equal(try_look(&w, POOL_ROOT, "moved"), MRMR_ABSENT);
    assert_false(rig_holds(w.rig, 1, "moved") || rig_holds(w.rig, 2, "moved"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- drives that are away, or full --- */

static void test_drives_fail(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file;
    (void)state;
    begin(&w, RIG_MEM, 186);
    const struct drv_fault_rule full = {.ops = DRV_FAULT_CREATE, .err = MRMR_SPACE};
    for (unsigned d = 0; d < DRIVES - 1; d++)
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &full, NULL));
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "one", 0600, &attr, &file));
    pool_tree_file_close(file);
    assert_true(rig_holds(w.rig, DRIVES - 1, "one"));
    rig_ok(drv_fault_add(w.rig->drive[DRIVES - 1].fault, &full, NULL));
    assert_int_equal(
        pool_tree_create(w.tree, NULL, POOL_ROOT, "two", 0600, &attr, &file), MRMR_SPACE);
    assert_int_equal(try_look(&w, POOL_ROOT, "two"), MRMR_ABSENT);
    rig_clear_faults(w.rig);
    /* What is new goes elsewhere, and what is removed goes when the drive is back (pool_gone.c). */
    rig_take_away(w.rig, 0);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    rig_find(w.rig, "f0")->there = false;
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "three", 0600, &attr, &file));
    rig_ok(pool_tree_file_write(file, 0, "x", 1));
    pool_tree_file_close(file);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_protect_all(w.rig);
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_check(w.rig);
    rig_verify(w.rig, true);
    rig_destroy(w.rig);
}

/* A file whose drive is away is brought to another, from parity, before it is changed; the old one
 * goes when its drive is back. */
static void test_written_while_away(void **state)
{
    const struct pool_attr mode = {.mode = 0600};
    static uint8_t got[RIG_MIB], wanted[RIG_MIB];
    struct world w;
    struct pool_attr attr;
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 198);
    struct pool_tree_file *file = open_file(&w, "f0");
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_take_away(w.rig, 0);
    write_part(&w, file, "f0", RIG_MIB + 3, 1000);
    struct rig_file *known = rig_find(w.rig, "f0");
    for (uint64_t at = 0; at < known->size; at += RIG_MIB) {
        rig_ok(pool_tree_file_read(file, at, got, RIG_MIB, &n));
        rig_expected(known, at, wanted, n);
        assert_memory_equal(got, wanted, n);
    }
    rig_ok(pool_tree_set(w.tree, NULL, node, NULL, POOL_SET_MODE, &mode, &attr));
    assert_int_equal(attr.mode, 0600);
    assert_int_equal(attr.node, node);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "another", 0));
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, node);
    assert_int_equal(try_look(&w, POOL_ROOT, "other"), MRMR_ABSENT);
    pool_tree_file_close(file);
    close_tree(&w);
    assert_true(rig_holds(w.rig, 0, "f0") && rig_holds(w.rig, 0, "other"));
    rig_bring_back(w.rig, 0);
    strcpy(rig_find(w.rig, "other")->path, "another");
    for (unsigned d = 1; d < DRIVES; d++) {
        if (rig_holds(w.rig, d, "f0"))
            known->drive = d;
        if (rig_holds(w.rig, d, "another"))
            rig_find(w.rig, "another")->drive = d;
    }
    rig_protect_all(w.rig);
    assert_false(rig_holds(w.rig, 0, "f0") || rig_holds(w.rig, 0, "other"));
    rig_check_originals(w.rig);
    end_after(&w);
}

/* Bytes that were written, and not protected when their drive went, are not made up from old ones. */
static void test_away_before_it_was_protected(void **state)
{
    struct world w;
    struct pool_tree_file *file;
    struct pool_attr attr;
    uint8_t got[4];
    size_t n;
    bool same;
    (void)state;
    begin(&w, RIG_MEM, 199);
    overwrite(&w, "f0", 10, 1000);
    attr = look(&w, POOL_ROOT, "f0");
    rig_take_away(w.rig, 0);
    mrmr_err err = pool_tree_file_open(w.tree, attr.node, false, &file, &same);
    if (!err) {
        err = pool_tree_file_read(file, 0, got, 4, &n);
        pool_tree_file_close(file);
    }
    assert_int_equal(err, MRMR_OFFLINE);
    if (!pool_tree_file_open(w.tree, attr.node, true, &file, &same)) {
        assert_int_equal(pool_tree_file_write(file, 0, "x", 1), MRMR_OFFLINE);
        pool_tree_file_close(file);
    }
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    rig_check_originals(w.rig);
    rig_destroy(w.rig);
}

/* The writer sees nothing of it, nor who reads it, nor who looks again after a restart. */
static void test_a_full_drive(void **state)
{
    struct world w;
    struct pool_attr attr;
    static uint8_t got[RIG_MIB], wanted[RIG_MIB];
    bool same;
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 190);
    struct pool_tree_file *file = open_file(&w, "f0"), *reader;
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_ok(pool_tree_file_open(w.tree, node, false, &reader, &same));
    drive_is_full(w.rig, 0);
    write_part(&w, file, "f0", 3 * RIG_MIB - 200, RIG_MIB);
    write_part(&w, file, "f0", 1000, 1000);
    rig_clear_faults(w.rig);
    struct rig_file *known = rig_find(w.rig, "f0");
    for (uint64_t at = 0; at < known->size; at += RIG_MIB) {
        rig_ok(pool_tree_file_read(reader, at, got, RIG_MIB, &n));
        rig_expected(known, at, wanted, n);
        assert_memory_equal(got, wanted, n);
    }
    rig_ok(pool_tree_file_sync(file));
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    attr = look(&w, POOL_ROOT, "f0");
    assert_int_equal(attr.node, node);
    assert_int_equal(attr.size, known->size);
    pool_tree_file_close(reader);
    pool_tree_file_close(file);
    close_tree(&w);
    open_tree(&w);
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, node);
    assert_int_equal(look(&w, POOL_ROOT, "f0").generation, attr.generation);
    /* What has the inode's number afterwards is another file. */
    assert_int_not_equal(look(&w, POOL_ROOT, "other").node, node);
    known->there = false; /* it is not protected where it lies now */
    close_tree(&w);
    reads_all_but(w.rig, NULL, 0);
    known->there = true;
    end_after(&w);
}

/* Every drive is: then it is said, and nothing has changed. */
static void test_all_drives_are_full(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 192);
    struct pool_tree_file *file = open_file(&w, "f0");
    for (unsigned d = 0; d < DRIVES; d++)
        drive_is_full(w.rig, d);
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    rig_clear_faults(w.rig);
    rig_check_originals(w.rig);
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    write_part(&w, file, "f0", 10, 4);
    pool_tree_file_close(file);
    end(&w, "f0");
}

/* The power went when both drives had the file: the one that it came from goes; and a copy that has
 * no name yet. */
static void test_a_copy_is_finished(void **state)
{
    static const char record[] = "1 2\0f0";
    struct world w;
    char path[320];
    struct drv_stat stat;
    struct drv_file *raw;
    (void)state;
    begin(&w, RIG_LOCAL, 193);
    close_tree(&w);
    struct rig_file *known = rig_find(w.rig, "f0");
    mrmr_autofree uint8_t *buf = malloc(known->size);
    rig_expected(known, 0, buf, known->size);
    rig_ok(drv_stat(w.rig->drive[0].raw, "f0", &stat));
    rig_ok(drv_file_open(w.rig->drive[1].raw, "f0", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    rig_ok(drv_file_write(raw, 0, buf, known->size));
    rig_ok(drv_file_set_attr(raw, DRV_ATTR_MTIME, &stat));
    drv_file_close(raw);
    rig_ok(drv_mkdirs(w.rig->drive[1].raw, ".mrmr/moving", 0700));
    rig_ok(drv_file_open(
        w.rig->drive[1].raw, ".mrmr/moving/x", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    drv_file_close(raw);
    snprintf(path, sizeof path, "%s/pool/bring-0123456789abcdef", w.rig->dir);
    FILE *f = fopen(path, "w");
    assert_int_equal(fwrite(record, sizeof record, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    open_tree(&w);
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_true(rig_holds(w.rig, 1, "f0"));
    assert_false(rig_holds(w.rig, 1, ".mrmr/moving/x"));
    assert_int_equal(access(path, F_OK), -1);
    close_tree(&w);
    reads_all_but(w.rig, "f0", 0);
    rig_destroy(w.rig);
}

/* A write whose saving fails does not happen. */
static void test_saving_fails(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 187);
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_CHANGES, .prefix = ".mrmr/retained", .err = MRMR_SPACE};
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &full, NULL));
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    assert_int_equal(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"), MRMR_SPACE);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "f0", 0), MRMR_SPACE);
    pool_tree_file_close(file);
    rig_check_originals(w.rig);
    rig_clear_faults(w.rig);
    overwrite(&w, "f0", 10, 4);
    end(&w, "f0");
}

/* What was written is never read back as what it was, when its drive goes. */
static void test_no_old_bytes(void **state)
{
    struct world w;
    uint8_t got[4];
    size_t n;
    (void)state;
    begin(&w, RIG_MEM, 188);
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(pool_tree_file_read(file, 0, got, 4, &n));
    rig_ok(pool_tree_file_write(file, 0, "new!", 4));
    rig_take_away(w.rig, 0);
    assert_int_not_equal(pool_tree_file_read(file, 0, got, 4, &n), MRMR_OK);
    pool_tree_file_close(file);
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- the power --- */

static mrmr_err cut_overwrite(struct world *w)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    static uint8_t noise[2 * RIG_MIB];
    int64_t keep;
    bool same;
    MRMR_TRY(pool_tree_lookup(w->tree, POOL_ROOT, "f0", &attr, &keep));
    MRMR_TRY(pool_tree_file_open(w->tree, attr.node, true, &file, &same));
    mrmr_err err = pool_tree_file_write(file, 1000, noise, sizeof noise);
    pool_tree_file_close(file);
    return err;
}

static mrmr_err cut_short(struct world *w)
{
    const struct pool_attr set = {.size = 5};
    struct pool_attr attr;
    int64_t keep;
    MRMR_TRY(pool_tree_lookup(w->tree, POOL_ROOT, "f0", &attr, &keep));
    return pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_SIZE, &set, &attr);
}

static mrmr_err cut_unlink(struct world *w)
{
    MRMR_TRY(pool_tree_unlink(w->tree, NULL, POOL_ROOT, "f0"));
    return sync_folder(w, POOL_ROOT);
}

static mrmr_err cut_replace(struct world *w)
{
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    return sync_folder(w, POOL_ROOT);
}

static mrmr_err cut_replace_across(struct world *w)
{
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "far", POOL_ROOT, "f0", 0));
    return sync_folder(w, POOL_ROOT);
}

static mrmr_err cut_bring(struct world *w)
{
    drive_is_full(w->rig, 0);
    return cut_overwrite(w);
}

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    const struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)drive;
    for (unsigned d = 0; d < rig->n; d++)
        drv_fault_add(rig->drive[d].fault, &rule, NULL);
}

/* One of the names is there, whole: old or new. */
static void still_there(struct world *w)
{
    struct pool_tree_file *file = open_file(w, "f0");
    struct pool_attr attr;
    uint8_t got[10];
    size_t n;
    rig_ok(pool_tree_file_attr(file, &attr));
    rig_ok(pool_tree_file_read(file, attr.size > 10 ? attr.size - 10 : 0, got, 10, &n));
    pool_tree_file_close(file);
}

/* The power goes at call n; true: the change was through before. */
static bool power_goes_at(mrmr_err (*change)(struct world *w), uint64_t n, bool late, uint64_t seed)
{
    struct world w;
    begin(&w, RIG_MEM_CUT, 196);
    rig_put(w.rig, 0, "new", 2000)->there = false;
    rig_put(w.rig, 1, "far", 2000)->there = false;
    rig_sync_drives(w.rig);
    rig_tap(w.rig, RIG_CUTS, n, late, tap_cut);
    bool through = change(&w) == MRMR_OK && w.rig->tap_left;
    close_tree(&w);
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    reads_without(w.rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    open_tree(&w);
    if (change != cut_unlink)
        still_there(&w);
    close_tree(&w);
    reads_without(w.rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    rig_destroy(w.rig);
    return through;
}

static void test_power_cuts(void **state)
{
    static mrmr_err (*const changes[])(struct world *) = {
        cut_overwrite, cut_short, cut_unlink, cut_replace, cut_replace_across, cut_bring};
    (void)state;
    uint64_t seed = rig_seed("tree_power_cuts"), cuts = 0;
    /* Normally at some of the calls only. */
    const bool all = rig_all();
    const uint64_t step = all ? 1 : 13;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (int late = 0; late < 2; late++) {
            uint64_t n = rig_hash(seed + i) % step;
            if (!all && late != (int)(rig_hash(seed - i) % 2))
                continue;
            while (!power_goes_at(changes[i], n, late, rig_hash(seed + cuts++)))
                assert_true((n += step) < 1000);
            print_message("change %zu, %s: up to call %llu\n", i, late ? "after" : "before",
                (unsigned long long)n);
        }
    printf("%llu cuts\n", (unsigned long long)cuts);
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
        cmocka_unit_test(test_new_things),
        cmocka_unit_test(test_least_used),
        cmocka_unit_test(test_least_used_since_the_scan),
        cmocka_unit_test(test_renames),
        cmocka_unit_test(test_rename_is_finished),
        cmocka_unit_test(test_hidden_copies),
        cmocka_unit_test(test_drives_fail),
        cmocka_unit_test(test_written_while_away),
        cmocka_unit_test(test_away_before_it_was_protected),
        cmocka_unit_test(test_a_full_drive),
        cmocka_unit_test(test_all_drives_are_full),
        cmocka_unit_test(test_a_copy_is_finished),
        cmocka_unit_test(test_saving_fails),
        cmocka_unit_test(test_no_old_bytes),
        cmocka_unit_test(test_power_cuts),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_write", tests, NULL, NULL);
}
