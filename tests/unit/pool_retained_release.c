/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is retained is let go of when no stripe counts on it any more, and not while that is not known;
 * nothing that lies there is believed.
 */
#include "tests/unit/pool_retained_world.h"

#include <stdio.h>
#include <string.h>

/* What came after the job had looked, or was needed anew since, is not let go of. */
static void test_release_leaves_what_is_new(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 76);
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    static const char text[3][8] = {"one", "two", "three"};
    struct mrmr_digest digest[3];
    uint8_t got[8];
    struct pool_retained *retained;
    for (unsigned i = 0; i < 3; i++)
        digest[i] = mrmr_digest_of(text[i], 8);
    rig_ok(pool_retained_save(drv, &retained_names, &digest[0], text[0], 8));
    rig_ok(pool_retained_save(drv, &retained_names, &digest[1], text[1], 8));
    rig_ok(pool_retained_list(rig->pool, &retained));
    struct pool_sync_report report;
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_retained_save(drv, &retained_names, &digest[1], text[1], 8));
    rig_ok(pool_retained_save(drv, &retained_names, &digest[2], text[2], 8));
    rig_ok(pool_retained_release(rig->pool, &job, retained));
    pool_retained_free(retained);
    assert_int_equal(pool_retained_read(drv, &digest[0], got, 8), MRMR_ABSENT);
    rig_ok(pool_retained_read(drv, &digest[1], got, 8));
    rig_ok(pool_retained_read(drv, &digest[2], got, 8));
    assert_memory_equal(got, text[2], 8);
    /* One that was being made when the power went. */
    char temp[POOL_RETAINED_PATH];
    struct drv_file *file;
    snprintf(temp, sizeof temp, POOL_RETAINED "/ab/ab~0123456789abcdef");
    rig_ok(drv_mkdirs(rig->drive[0].raw, POOL_RETAINED "/ab", 0700));
    rig_ok(drv_file_open(rig->drive[0].raw, temp, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    rig_sync(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_destroy(rig);
}

/* The scan has not seen the change yet, as when it could not look into a folder: what is LIVE to the
 * catalog is looked for in its place. Of two files with the same bytes each needs them. */
static void test_release_looks_for_what_is_live(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 82);
    struct pool_job job = rig_job(rig);
    struct pool_retained *retained;
    rig_ok(save(rig, "f0", 0, 2));
    unsigned n = count_retained(rig, 0);
    rig_edit(rig, "f0", 10, 10);
    rig_ok(pool_retained_list(rig->pool, &retained));
    rig_ok(pool_retained_release(rig->pool, &job, retained));
    pool_retained_free(retained);
    assert_int_equal(count_retained(rig, 0), n - 1); /* leaf 1 is in its place */
    reads_all_but(rig, "f0", 0);
    rig_destroy(rig);
}

/* What the rig has of the file, in a new one with its name. */
static void put_copy(struct rig *rig, const char *path)
{
    static uint8_t buf[RIG_LEAF];
    const struct rig_file *file = rig_find(rig, path);
    struct drv_file *f;
    rig_ok(drv_file_open(
        rig->drive[file->drive].raw, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0644, &f));
    for (uint64_t at = 0; at < file->size; at += RIG_LEAF) {
        uint64_t left = file->size - at, n = left < RIG_LEAF ? left : RIG_LEAF;
        rig_expected(file, at, buf, n);
        rig_ok(drv_file_write(f, at, buf, n));
    }
    drv_file_close(f);
}

/* Another file has the name by now, and begins with the same bytes: they are its own, and whoever overwrites them keeps
 * nothing for the one that was replaced. Nothing was recorded, as when the power went. */
static void test_release_looks_for_the_very_file(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 98);
    struct pool_job job = rig_job(rig);
    const struct pool_sync_options release = {.release = true};
    rig_ok(delete_file(rig, "f0"));
    const unsigned n = count_retained(rig, 0);
    put_copy(rig, "f0");
    for (unsigned i = 0; i < 2; i++) {
        rig_ok(pool_sync(rig->pool, &job, &release, &rig->report));
        assert_int_equal(count_retained(rig, 0), n);
    }
    rig_edit(rig, "f0", 0, 2 * RIG_MIB);
    reads_all_but(rig, "f0", 0);
    rig_destroy(rig);
}

/* f0 gets the name "other", and loses its first one to what is retained: the very inode. It is long enough ago. */
static void give_another_name(struct rig *rig)
{
    struct drv *drv = rig->drive[0].raw;
    char kept[POOL_RETAINED_PATH];
    struct drv_stat stat;
    rig_ok(point(rig, "f0", kept));
    touch(rig, "f0");
    rig_ok(drv_link(drv, "f0", "other"));
    rig_ok(drv_rename(drv, "f0", kept, DRV_RENAME_REPLACE));
    rig_find(rig, "f0")->there = false;
    rig_ok(drv_stat(drv, "other", &stat));
    assert_int_equal(stat.nlink, 2);
    pool_tick_wait(&rig_pool_drive(rig, 0)->info, &stat, mrmr_clock_monotonic());
}

static bool is_as_known(struct rig *rig, const char *path)
{
    const struct meta_node node = node_at(rig, path);
    struct drv_stat stat;
    rig_ok(drv_stat(rig->drive[0].raw, path, &stat));
    return pool_stat_same(&rig_pool_drive(rig, 0)->info, &node, &stat) == POOL_SAME &&
           node.nlink == stat.nlink;
}

/* What only loses a name by that, and keeps the user's, is nothing that has to be compared. */
static void test_release_changes_no_file_that_has_a_name(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 99);
    give_another_name(rig);
    const int64_t sequence = rig_node(rig, "f1").sequence;
    rig_sync(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    assert_true(is_as_known(rig, "other"));
    assert_int_equal(node_at(rig, "other").nlink, 1);
    assert_int_equal(rig_node(rig, "f1").sequence, sequence);
    rig_destroy(rig);
}

struct writing {
    struct rig *rig;
    unsigned times;
};

static void write_past(void *arg, enum drv_fault_op op, const char *path)
{
    struct writing *writing = arg;
    struct drv_file *file;
    (void)op;
    (void)path;
    writing->times++;
    rig_ok(drv_file_open(writing->rig->drive[0].raw, "other", DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 0, "edited", 6));
    drv_file_close(file);
}

static void link_past(void *arg, enum drv_fault_op op, const char *path)
{
    struct writing *writing = arg;
    (void)op;
    (void)path;
    writing->times++;
    rig_ok(drv_link(writing->rig->drive[0].raw, "other", "third"));
}

/* Somebody changes it directly in that moment: that is no name that went. */
static void beside_somebody(uint64_t seed, void (*hook)(void *, enum drv_fault_op, const char *))
{
    struct rig *rig = begin(RIG_LOCAL, seed);
    struct writing writing = {.rig = rig};
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_UNLINK,
        .prefix = POOL_RETAINED_FILES,
        .action = DRV_FAULT_HOOK,
        .hook = hook,
        .arg = &writing};
    give_another_name(rig);
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_int_equal(writing.times, 1);
    assert_false(is_as_known(rig, "other"));
    rig_destroy(rig);
}

static void test_release_beside_somebody_who_writes(void **state)
{
    (void)state;
    beside_somebody(100, write_past);
}

/* By the name that is new the catalog does not have it. */
static void test_release_beside_somebody_who_links(void **state)
{
    (void)state;
    beside_somebody(99, link_past);
}

static void chmod_past(void *arg, enum drv_fault_op op, const char *path)
{
    struct writing *writing = arg;
    const struct drv_stat attr = {.mode = 0400};
    (void)op;
    (void)path;
    writing->times++;
    rig_ok(drv_set_attr(writing->rig->drive[0].raw, "other", DRV_ATTR_MODE, &attr));
}

/* The same of a change that its size and its time do not tell of: as its name goes (a call of `op`, after so many), or right after. */
static void is_seen_by_a_scan(uint64_t seed, enum drv_fault_op op, uint64_t after)
{
    struct rig *rig = begin(RIG_LOCAL, seed);
    struct writing writing = {.rig = rig};
    const struct drv_fault_rule rule = {.ops = op,
        .prefix = POOL_RETAINED_FILES,
        .after = after,
        .times = 1,
        .late = true,
        .action = DRV_FAULT_HOOK,
        .hook = chmod_past,
        .arg = &writing};
    give_another_name(rig);
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_int_equal(writing.times, 1);
    assert_false(is_as_known(rig, "other"));
    rig_sync(rig);
    assert_int_equal(node_at(rig, "other").mode, 0400);
    rig_destroy(rig);
}

static void test_release_beside_somebody_who_changes_attributes(void **state)
{
    (void)state;
    is_seen_by_a_scan(101, DRV_FAULT_UNLINK, 0);
    /* Right after its name went, and after the last look: a tick later, so that it has another change time (where the kernel's clock is fine, as of 6.13, it would at once). */
    for (unsigned i = 0; i < 6; i++)
        is_seen_by_a_scan(102 + i, DRV_FAULT_FILE_STAT, 2 + i % 2);
}

enum { MANY = 150 }; /* more than two batches */

static void release_many(struct rig *rig)
{
    struct drv *drv = rig->drive[0].raw;
    char path[32], kept[POOL_RETAINED_PATH];
    struct drv_stat stat;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many%u", i);
        rig_put(rig, 0, path, 1000 + i);
    }
    rig_protect_all(rig);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many%u", i);
        snprintf(kept, sizeof kept, POOL_RETAINED_FILES "/%016x", i);
        rig_ok(drv_mkdirs(drv, POOL_RETAINED_FILES, 0700));
        rig_ok(drv_link(drv, path, kept));
    }
    rig_sync(rig); /* takes in that the files have two names, and lets go of one */
    rig_ok(drv_stat(drv, path, &stat));
    assert_int_equal(stat.nlink, 1);
    assert_int_equal(count_retained(rig, 0), 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many%u", i);
        assert_true(is_as_known(rig, path));
    }
    rig_destroy(rig);
}

static void test_release_of_many_that_have_a_name(void **state)
{
    (void)state;
    release_many(begin(RIG_LOCAL, 108));
}

/* Another machine stamps: a tick is waited for where files are read, and before and after names go, but for many at once. */
static void test_release_of_many_on_another_machine(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 109);
    struct drv_info *info = &rig_pool_drive(rig, 0)->info;
    const int64_t begun = mrmr_clock_monotonic(), grain = MRMR_NS_PER_S / 20;
    info->caps &= ~(unsigned)DRV_CAP_OUR_CLOCK;
    info->time_grain = grain;
    release_many(rig);
    assert_true(mrmr_clock_monotonic() - begun < MANY * 2 * grain);
}

/* Not to know where a symlink leads is not to know that it leads nowhere. */
static void test_release_in_the_dark(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 87);
    const struct drv_fault_rule dark = {
        .ops = DRV_FAULT_READLINK, .prefix = POOL_RETAINED, .err = MRMR_SPACE};
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    no_new_rows(rig);
    rig_sync(rig);
    rig_ok(drv_fault_add(rig->drive[0].fault, &dark, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_true(count_retained(rig, 0) > FILE_LEAVES); /* the symlinks, and the file */
    reads_all_but(rig, NULL, 0);
    rig_destroy(rig);
}

/* The first folder of saved leaves; as it cannot be listed. */
static unsigned darken_a_folder(struct rig *rig, mrmr_err err)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    char folder[POOL_RETAINED_PATH];
    unsigned n = 0;
    const char *name;
    rig_ok(drv_list(rig->drive[0].raw, POOL_RETAINED, list_name, &names));
    for (name = names.data; strcmp(name, "files") == 0; name += strlen(name) + 1)
        ;
    snprintf(folder, sizeof folder, POOL_RETAINED "/%.80s", name);
    mrmr_bytes_free(&names);
    rig_ok(drv_list(rig->drive[0].raw, folder, count_entry, &n));
    const struct drv_fault_rule dark = {.ops = DRV_FAULT_LIST, .prefix = folder, .err = err};
    rig_ok(drv_fault_add(rig->drive[0].fault, &dark, NULL));
    return n;
}

/* Only what is in it stays. */
static void test_release_beside_a_dark_folder(void **state)
{
    (void)state;
    static const mrmr_err errs[] = {MRMR_DENIED, MRMR_IO, MRMR_LOOP};
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) {
        struct rig *rig = begin(RIG_MEM, 96);
        rig_ok(save(rig, "f0", 0, FILE_LEAVES));
        assert_int_equal(count_retained(rig, 0), FILE_LEAVES);
        unsigned dark = darken_a_folder(rig, errs[i]);
        assert_true(dark < FILE_LEAVES);
        rig_sync(rig);
        assert_int_equal(count_retained(rig, 0), dark);
        rig_clear_faults(rig);
        rig_sync(rig);
        assert_int_equal(count_retained(rig, 0), 0);
        rig_destroy(rig);
    }
}

/* What cannot be seen may lead to any file. */
static void test_release_does_not_guess_what_leads_to_a_file(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 97);
    unsigned files = 0;
    rig_put(rig, 0, "one", 5000);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete_file(rig, "one"));
    rig_find(rig, "one")->there = false;
    no_new_rows(rig);
    assert_int_equal(darken_a_folder(rig, MRMR_DENIED), 1);
    rig_sync(rig);
    rig_sync(rig);
    rig_ok(drv_list(rig->drive[0].raw, POOL_RETAINED_FILES, count_entry, &files));
    assert_int_equal(files, 1);
    reads_all_but(rig, NULL, 0);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_sync(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_destroy(rig);
}

/* Nothing that lies there is believed, nor led out of the folder by. */
static void test_hostile(void **state)
{
    (void)state;
    static const char *const targets[] = {"../files/0123456789abcdef#0", "../../../f1#0",
        "../files/0123456789abcdef", "../files/0123456789abcdef#99999999999999999999",
        "../files/0123456789abcdef#-1", "../files/../../drive#0", "", "/etc/passwd"};
    struct rig *rig = begin(RIG_LOCAL, 77);
    struct drv *drv = rig_pool_drive(rig, 0)->drv, *raw = rig->drive[0].raw;
    static uint8_t buf[RIG_LEAF];
    struct mrmr_digest digest = mrmr_digest_of("bytes", 5);
    char path[POOL_RETAINED_PATH], hex[2 * MRMR_DIGEST_SIZE + 1];
    rig_ok(pool_retained_save(drv, &retained_names, &digest, "bytes", 5));
    rig_ok(pool_retained_read(drv, &digest, buf, 5));
    for (size_t i = 0; i < MRMR_DIGEST_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest.bytes[i]);
    snprintf(path, sizeof path, POOL_RETAINED "/%.2s/%s", hex, hex);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        rig_ok(drv_unlink(raw, path));
        if (*targets[i])
            rig_ok(drv_symlink(raw, targets[i], path));
        else
            rig_ok(drv_mkdir(raw, path, 0700));
        assert_true(pool_retained_read(drv, &digest, buf, 5) != MRMR_OK);
        if (!*targets[i]) {
            rig_ok(drv_rmdir(raw, path));
            rig_ok(drv_symlink(raw, "x", path));
        }
    }
    rig_ok(drv_unlink(raw, path));
    struct drv_file *file;
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, "lies!", 5));
    drv_file_close(file);
    assert_int_equal(pool_retained_read(drv, &digest, buf, 5), MRMR_DIGEST);
    rig_ok(pool_retained_save(drv, &retained_names, &digest, "bytes", 5)); /* made anew */
    rig_ok(pool_retained_read(drv, &digest, buf, 5));
    rig_sync(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    rig_destroy(rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_release_leaves_what_is_new),
        cmocka_unit_test(test_release_looks_for_what_is_live),
        cmocka_unit_test(test_release_looks_for_the_very_file),
        cmocka_unit_test(test_release_changes_no_file_that_has_a_name),
        cmocka_unit_test(test_release_beside_somebody_who_writes),
        cmocka_unit_test(test_release_beside_somebody_who_links),
        cmocka_unit_test(test_release_beside_somebody_who_changes_attributes),
        cmocka_unit_test(test_release_of_many_that_have_a_name),
        cmocka_unit_test(test_release_of_many_on_another_machine),
        cmocka_unit_test(test_release_in_the_dark),
        cmocka_unit_test(test_release_beside_a_dark_folder),
        cmocka_unit_test(test_release_does_not_guess_what_leads_to_a_file),
        cmocka_unit_test(test_hostile),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_retained_release", tests, NULL, NULL);
}
