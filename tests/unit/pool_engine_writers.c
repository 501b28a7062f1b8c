/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Jobs of the pool's owner, and writers beside them (writers.h): what is put in the place of a file
 * is put there while they stand still, what they wrote before that stays, and the catalog knows of it
 * when they go on.
 */
#include "pool/writers.h"
#include "tests/support/rig.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MOMENT_MS = 100 };

static void moment(void)
{
    const struct timespec ts = {.tv_nsec = MOMENT_MS * 1000000L};
    nanosleep(&ts, NULL);
}

/* The user's hand, as the mount's: another handle, as of another process. */
struct mount {
    struct rig *rig;
    struct pool_writers *writers;
    pthread_t thread;
    const char *path;
    atomic_bool started, in;
    uint64_t epoch; /* when it came in */
    bool known;     /* the catalog had the inode that was there by then */
};

static int setup(void **state)
{
    struct mount *mount = calloc(1, sizeof *mount);
    mount->rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .seed = 91});
    rig_ok(pool_writers_open(mount->rig->pool->dirfd, &mount->writers));
    *state = mount;
    return 0;
}

static int teardown(void **state)
{
    struct mount *mount = *state;
    if (mount->started)
        pthread_join(mount->thread, NULL);
    pool_writers_close(mount->writers);
    rig_destroy(mount->rig);
    free(mount);
    return 0;
}

static void hook_on(struct mount *mount, unsigned drive, uint32_t ops, const char *prefix,
    uint64_t after, bool late, drv_fault_hook hook)
{
    struct drv_fault_rule rule = {.ops = ops,
        .prefix = prefix,
        .after = after,
        .times = 1,
        .late = late,
        .action = DRV_FAULT_HOOK,
        .hook = hook,
        .arg = mount};
    rig_ok(drv_fault_add(mount->rig->drive[drive].fault, &rule, NULL));
}

static uint64_t epoch_now(struct mount *mount)
{
    uint64_t epoch;
    rig_ok(pool_writers_enter(mount->writers, &epoch));
    pool_writers_leave(mount->writers);
    return epoch;
}

/* --- in the place of a file --- */

/* Comes as soon as it may, and looks. */
static void *come_in(void *arg)
{
    struct mount *mount = arg;
    struct rig *rig = mount->rig;
    struct drv_stat stat;
    rig_ok(pool_writers_enter(mount->writers, &mount->epoch));
    atomic_store(&mount->in, true);
    struct meta_node node = rig_node(rig, mount->path);
    rig_ok(drv_stat(rig->drive[rig_find(rig, mount->path)->drive].raw, mount->path, &stat));
    mount->known = node.ino == stat.ino && node.ctime == stat.ctime;
    pool_writers_leave(mount->writers);
    return NULL;
}

/* A file gets its place: nobody comes in now. */
static void nobody_comes_in(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    assert_false(atomic_exchange(&mount->started, true));
    assert_int_equal(pthread_create(&mount->thread, NULL, come_in, mount), 0);
    moment();
    assert_false(atomic_load(&mount->in));
}

static void test_a_repaired_file_is_placed_while_writers_stand_still(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 1, "f1", RIG_MIB + 1);
    uint64_t before = epoch_now(mount);
    hook_on(mount, 1, DRV_FAULT_RENAME, "f1", 0, false, nobody_comes_in);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.repaired, 1);
    assert_true(mount->started);
    pthread_join(mount->thread, NULL);
    mount->started = false;
    assert_true(mount->in);
    assert_true(mount->known);
    assert_true(mount->epoch > before);
    rig_check_originals(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* Saves, with the time set back: as much as a user can do to hide it. */
static void save_in_hiding(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    rig_ok(pool_writers_enter(mount->writers, &mount->epoch));
    int64_t mtime = rig_mtime(mount->rig, mount->path);
    rig_edit(mount->rig, mount->path, 100, 50);
    rig_set_mtime(mount->rig, mount->path, mtime);
    pool_writers_leave(mount->writers);
    atomic_store(&mount->in, true);
}

static mrmr_err count_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name, (void)stat, (void)err;
    ++*(unsigned *)arg;
    return MRMR_OK;
}

/* What is known of the file stays known: it was not even exchanged. */
static void test_who_saves_before_a_repair_keeps_the_place(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 1, "f1", RIG_MIB + 1);
    hook_on(mount, 1, DRV_FAULT_RENAME, ".mrmr/work", 0, true, save_in_hiding);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_true(mount->in);
    assert_int_equal(report.repaired, 0);
    assert_string_equal(rig_states(rig, "f1"), "LM");
    uint8_t got[50], wanted[50];
    struct drv_file *file = NULL;
    rig_ok(drv_file_open(rig->drive[1].raw, "f1", DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read_exact(file, 100, got, sizeof got));
    drv_file_close(file);
    rig_expected(rig_find(rig, "f1"), 100, wanted, sizeof wanted);
    assert_memory_equal(got, wanted, sizeof got);
    unsigned kept = 0;
    rig_ok(drv_list(rig->drive[1].raw, POOL_QUARANTINE, count_entry, &kept));
    assert_int_equal(kept, 0);
}

/* --- where nothing was --- */

static void test_a_restored_file_is_placed_while_writers_stand_still(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    uint64_t before = epoch_now(mount);
    rig_ok(drv_unlink(rig->drive[1].raw, "f1"));
    hook_on(mount, 1, DRV_FAULT_RENAME, "f1", 0, false, nobody_comes_in);
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1"}, &report));
    assert_int_equal(report.files, 1);
    assert_true(mount->started);
    assert_true(epoch_now(mount) > before);
    rig_check_originals(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* Once it is there, a user may write to it: nothing is claimed of it then. */
static void test_who_saves_a_restored_file_is_seen(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_ok(drv_unlink(rig->drive[1].raw, "f1"));
    rig_put(rig, 1, "other", 1000);
    rig_sync(rig); /* held: all that was there vanished */
    assert_string_equal(rig_states(rig, "f1"), "MM");
    hook_on(mount, 1, DRV_FAULT_SYNC_ALL, NULL, 1, false, save_in_hiding);
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1"}, &report));
    assert_true(mount->in);
    assert_string_equal(rig_states(rig, "f1"), "MM");
    rig_check(rig);
    rig_sync(rig);
    rig_check(rig);
    rig_check_originals(rig);
}

int main(void)
{
#define mount_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        mount_test(test_a_repaired_file_is_placed_while_writers_stand_still),
        mount_test(test_who_saves_before_a_repair_keeps_the_place),
        mount_test(test_a_restored_file_is_placed_while_writers_stand_still),
        mount_test(test_who_saves_a_restored_file_is_seen),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_engine_writers", tests, NULL, NULL);
}
