/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is renamed through MRMR while a scan is under way lowers nobody's protection either.
 */
#include "tests/unit/pool_moved_world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct late {
    struct mount *m;
    void (*change)(struct mount *m);
    bool done;
};

static void late_hook(void *arg, enum drv_fault_op op, const char *path)
{
    struct late *late = arg;
    (void)op, (void)path;
    if (late->done)
        return;
    late->done = true;
    late->change(late->m);
}

/* Files in folders that are read early (a) and late (z), and in between the change; then a look as
 * above, but that what was renamed may stay noted for one more scan. */
static void under_the_walk(
    uint64_t seed, void (*before)(struct mount *), void (*change)(struct mount *))
{
    struct mount *m = begin(seed);
    struct late late = {.m = m, .change = change};
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST,
        .prefix = "m",
        .action = DRV_FAULT_HOOK,
        .hook = late_hook,
        .arg = &late};
    rig_put(m->rig, 0, "a/keep", 4000);
    rig_put(m->rig, 0, "m/keep", 4000);
    rig_put(m->rig, 0, "z/f", 2 * RIG_MIB - 5);
    rig_put(m->rig, 0, "z/g", 2 * RIG_MIB - 5);
    rig_put(m->rig, 0, "z/sub/h", RIG_MIB);
    rig_put(m->rig, 0, "z/sub/i", RIG_MIB);
    for (unsigned i = 0; i < 40; i++) {
        char path[32];
        snprintf(path, sizeof path, "z/many/%u", i);
        rig_put(m->rig, 0, path, 500);
    }
    rig_protect_all(m->rig);
    mount_note(m);
    if (before)
        before(m);
    no_new_rows(m->rig);
    rig_ok(drv_fault_add(m->rig->drive[0].fault, &rule, NULL));
    rig_sync(m->rig);
    assert_true(late.done);
    assert_int_equal(m->rig->report.held, 0);
    assert_int_equal(m->rig->report.drives_held, 0);
    assert_int_equal(m->rig->report.vanished, 0);
    /* Where the catalog has them by now. */
    for (size_t i = 0; i < m->rig->files; i++) {
        struct meta_node node;
        int64_t root = rig_pool_drive(m->rig, m->rig->file[i].drive)->meta.root;
        if (!meta_lookup_path(m->rig->pool->meta, root, m->rig->file[i].path, &node))
            snprintf(m->was[i], sizeof m->was[i], "%s", m->rig->file[i].path);
        all_is_live(m, i);
    }
    reads_all(m);
    rig_clear_faults(m->rig);
    renames_harm_nobody(m);
}

static void late_file(struct mount *m)
{
    move(m, "z/f", "a/f");
}

static void test_a_file_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(21, NULL, late_file);
}

/* And once more when it is looked for. */
static void later_hook(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    move(arg, "a/f", "a/g");
}

static void late_and_later(struct mount *m)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT,
        .prefix = "a/f",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = later_hook,
        .arg = m};
    move(m, "z/f", "a/f");
    rig_ok(drv_fault_add(m->rig->drive[0].fault, &rule, NULL));
}

static void test_a_file_under_the_look(void **state)
{
    (void)state;
    under_the_walk(30, NULL, late_and_later);
}

static void late_many(struct mount *m)
{
    move(m, "z/f", "a/f");
    move(m, "a/f", "a/f2");
    move(m, "z/g", "z/f");
    move(m, "z/sub", "a/sub");
    move(m, "a/sub/h", "a/h");
}

static void test_many_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(22, NULL, late_many);
}

/* Into folders that were not there when the one above was read; of one that is gone itself then. */
static void late_folders(struct mount *m)
{
    rig_ok(drv_mkdirs(m->rig->drive[0].raw, "a/new/er", 0700));
    move(m, "z/f", "a/new/er/f");
    move(m, "z/sub/h", "a/h");
    move(m, "z/sub/i", "a/new/i");
    rig_ok(drv_rmdir(m->rig->drive[0].raw, "z/sub"));
}

static void test_new_folders_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(23, NULL, late_folders);
}

/* A folder in which something was renamed before the scan, and which is itself renamed under it. */
static void early_inside(struct mount *m)
{
    move(m, "z/sub/h", "z/sub/h2");
    move(m, "z/f", "z/f2");
}

static void late_around(struct mount *m)
{
    move(m, "z", "a/z");
}

static void test_a_folder_renamed_before_it_is_read(void **state)
{
    (void)state;
    under_the_walk(24, early_inside, late_around);
}

static void late_exchange(struct mount *m)
{
    exchange(m, "a", "z");
}

static void test_an_exchange_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(25, early_inside, late_exchange);
}

static void late_out_of_it(struct mount *m)
{
    move(m, "z/sub/h", "a/h");
    move(m, "z/sub/i", "m/i"); /* which is not read yet */
    rig_ok(drv_rmdir(m->rig->drive[0].raw, "z/sub"));
}

static void test_out_of_a_folder_that_goes(void **state)
{
    (void)state;
    under_the_walk(29, NULL, late_out_of_it);
}

/* A folder that the walk has met under its new name already, and meets once more: it is one folder still. */
static void early_met(struct mount *m)
{
    move(m, "z/sub", "a/sub");
}

/* The catalog has it where it was met first, until the next scan. */
static void late_again(struct mount *m)
{
    move(m, "a/sub", "z/again");
    for (size_t i = 0; i < m->rig->files; i++)
        if (strncmp(m->rig->file[i].path, "z/again/", 8) == 0)
            snprintf(m->was[i], sizeof m->was[i], "a/sub/%s", m->rig->file[i].path + 8);
}

static void test_a_folder_met_twice(void **state)
{
    (void)state;
    under_the_walk(31, early_met, late_again);
}

/* As a catalog has it in which an earlier scan met a folder twice, or gave what is in it a second name there: that is over with the next
 * one, and what was changed of the file is known by then. */
static void known_twice(uint64_t seed, bool also_below)
{
    struct mount *m = begin(seed);
    struct meta *meta = m->rig->pool->meta;
    struct drv *drv = rig_pool_drive(m->rig, 0)->drv;
    const int64_t root = rig_pool_drive(m->rig, 0)->meta.root;
    struct meta_node old, folder, again, file;
    rig_put(m->rig, 0, "a/keep", 4000);
    rig_put(m->rig, 0, "z/sub/h", RIG_MIB);
    rig_protect_all(m->rig);
    mount_note(m);
    rig_ok(meta_lookup_path(meta, root, "z/sub", &old));
    rig_ok(meta_lookup_path(meta, root, "z/sub/h", &file));
    rig_ok(meta_lookup_path(meta, root, "a", &folder));
    move(m, "z/sub", "a/sub");
    again = old;
    rig_ok(meta_node_add(meta, &again, folder.id, "sub"));
    if (also_below) {
        const struct drv_stat attr = {.mode = 0604};
        rig_ok(meta_name_add(meta, again.id, "h", file.id));
        rig_ok(drv_set_attr(drv, "a/sub/h", DRV_ATTR_MODE, &attr));
    }
    rig_sync(m->rig);
    assert_int_not_equal(meta_lookup_path(meta, root, "z/sub", &old), MRMR_OK);
    rig_ok(meta_node_get(meta, file.id, &file));
    if (also_below)
        assert_int_equal(file.mode & 0777, 0604);
    assert_int_equal(m->rig->report.skipped, 0);
    mount_note(m);
    renames_harm_nobody(m);
}

static void test_a_folder_known_twice(void **state)
{
    (void)state;
    known_twice(32, false);
}

static void test_a_file_known_twice(void **state)
{
    (void)state;
    known_twice(33, true);
}

/* Another file comes in its place. */
static void late_replaced(struct mount *m)
{
    static const char text[] = "another file";
    struct drv_file *file;
    move(m, "z/f", "a/f~");
    rig_ok(
        drv_file_open(m->rig->drive[0].raw, "z/f", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, text, sizeof text));
    drv_file_close(file);
}

static void test_replaced_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(26, NULL, late_replaced);
}

/* Much at once: not lost, and no hold. */
static void early_limit(struct mount *m)
{
    rig_ok(pool_set(m->rig->pool, "hold-percent", "30"));
}

static void late_much(struct mount *m)
{
    move(m, "z/many", "a/many");
}

static void test_no_hold_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(27, early_limit, late_much);
}

/* A rename that is noted, and not made yet, when a scan begins. */
struct slow {
    struct mount *m;
    atomic_bool in, asked;
};

static void *slow_rename(void *arg)
{
    struct slow *slow = arg;
    struct mount *m = slow->m;
    const struct timespec moment = {.tv_nsec = 200 * 1000000L};
    uint64_t epoch;
    rig_ok(pool_writers_enter(m->writers, &epoch));
    record(m, "f0a", "renamed", POOL_MOVED_RENAME);
    slow->in = true;
    while (!slow->asked)
        nanosleep(&(struct timespec){.tv_nsec = 1000000L}, NULL);
    nanosleep(&moment, NULL);
    rig_ok(drv_rename(m->rig->drive[0].raw, "f0a", "renamed", DRV_RENAME_REPLACE));
    pool_writers_leave(m->writers);
    return NULL;
}

static void test_a_scan_begins_after_it(void **state)
{
    (void)state;
    struct mount *m = begin(28);
    struct slow slow = {.m = m};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, slow_rename, &slow), 0);
    while (!slow.in)
        nanosleep(&(struct timespec){.tv_nsec = 1000000L}, NULL);
    slow.asked = true;
    rig_sync(m->rig);
    pthread_join(thread, NULL);
    rig_moved(m->rig, "f0a", "renamed");
    assert_int_equal(moved_size(m), 0);
    mount_note(m);
    reads_all(m);
    renames_harm_nobody(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_under_the_walk),
        cmocka_unit_test(test_a_file_under_the_look),
        cmocka_unit_test(test_many_under_the_walk),
        cmocka_unit_test(test_new_folders_under_the_walk),
        cmocka_unit_test(test_out_of_a_folder_that_goes),
        cmocka_unit_test(test_a_folder_renamed_before_it_is_read),
        cmocka_unit_test(test_an_exchange_under_the_walk),
        cmocka_unit_test(test_a_folder_met_twice),
        cmocka_unit_test(test_a_folder_known_twice),
        cmocka_unit_test(test_a_file_known_twice),
        cmocka_unit_test(test_replaced_under_the_walk),
        cmocka_unit_test(test_no_hold_under_the_walk),
        cmocka_unit_test(test_a_scan_begins_after_it),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_moved_walk", tests, NULL, NULL);
}
