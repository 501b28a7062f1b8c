/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives that are detached and attached by the user's word: what the catalog and the drive say then, when one comes back by
 * itself, what is refused, and cuts at every step, by a kill, an error or a power cut. No mount: pool_tree_detach.c.
 */
#include "tests/unit/pool_drive_world.h"

#include "drivers/fault.h"
#include "drivers/mem.h"
#include "pool/drive/detached.h"
#include "pool/drive/drive.h"
#include "pool/drive/failing.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pool_drive *drive(struct world *w, const char *name)
{
    return pool_drive_by_name(w->pool, name);
}

static void reopen(struct world *w)
{
    world_close(w);
    world_open(w);
}

static mrmr_err detach(struct world *w, const char *name, struct pool_detach_report *ret_report)
{
    return pool_detach(w->pool, NULL, name, ret_report);
}

static void detach_now(struct world *w, const char *name)
{
    struct pool_detach_report report;
    assert_ok(detach(w, name, &report));
    assert_int_equal(drive(w, name)->presence, POOL_DETACHED);
}

static void assert_session_is_recorded(struct world *w, const char *name)
{
    struct pool_identity identity = world_identity(world_path(w, name));
    assert_true(pool_session_equal(&identity.session, &drive(w, name)->meta.session));
}

static size_t unplugged(const struct world *w)
{
    mrmr_autofree char *tree = world_tree(world_path(w, "pool"));
    size_t n = 0;
    for (const char *at = tree; (at = strstr(at, "unplugged-")); at++)
        n++;
    return n;
}

static enum pool_detached state_of(struct world *w, const char *name)
{
    enum pool_detached state;
    struct mrmr_uuid mark;
    assert_ok(pool_detached_get(w->pool, &drive(w, name)->meta.uuid, &state, &mark));
    return state;
}

/* --- both ways --- */

static void test_detach_attach(void **state)
{
    struct world *w = *state;
    struct pool_detach_report report;
    world_add(w, "a");
    world_add(w, "b");
    assert_ok(pool_drive_attach(w->pool, drive(w, "a")));
    const uint64_t before = drive(w, "a")->meta.session.number;
    assert_ok(detach(w, "a", &report));
    assert_false(report.away);
    expect_presence(drive(w, "a"), POOL_DETACHED, "it was detached", "unmounted", "mrmr attach a");
    assert_null(drive(w, "a")->drv);
    assert_int_equal(drive(w, "a")->meta.session.number, before + 1);
    assert_session_is_recorded(w, "a");
    assert_string_equal(drive(w, "a")->meta.boot, "");
    assert_int_equal(world_events(w, "drive-detached", NULL), 1);
    /* Whoever opens the pool finds it so, and writes nothing there, as long as it has not gone. */
    mrmr_autofree char *tree = world_tree(world_path(w, "a"));
    for (unsigned i = 0; i < 2; i++) {
        reopen(w);
        assert_int_equal(drive(w, "a")->presence, POOL_DETACHED);
        assert_false(drive(w, "a")->meta.present);
        assert_int_equal(drive(w, "b")->presence, POOL_PRESENT);
    }
    mrmr_autofree char *after = world_tree(world_path(w, "a"));
    assert_string_equal(tree, after);
    expect_failure(detach(w, "a", &report), MRMR_EXISTS, "drive a", "detached already", "unmounted",
        "mrmr attach a");
    assert_ok(pool_attach(w->pool, "a", NULL));
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_ok(pool_attach(w->pool, "a", NULL)); /* it is in service */
    assert_ok(pool_drive_attach(w->pool, drive(w, "a")));
    reopen(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_true(drive(w, "a")->meta.present);
    assert_int_equal(world_events(w, "drive-attached", NULL), 1);
    assert_int_equal(unplugged(w), 0);
}

/* It was seen gone, and is there again: nobody has to say anything. */
static void test_comes_back_by_itself(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    world_add(w, "a");
    world_add(w, "b");
    detach_now(w, "a");
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "elsewhere")), 0);
    world_mkdir(world_path(w, "a")); /* as where nothing is mounted any more */
    /* Who only looks sees it, too. */
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    expect_presence(
        pool_drive_by_name(look, "a"), POOL_DETACHED, "is not there", "when it is back");
    pool_close(look);
    assert_int_equal(unplugged(w), 1);
    assert_int_equal(rmdir(world_path(w, "a")), 0);
    assert_int_equal(rename(world_path(w, "elsewhere"), world_path(w, "a")), 0);
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_int_equal(pool_drive_by_name(look, "a")->presence, POOL_PRESENT);
    pool_close(look);
    assert_int_equal(unplugged(w), 1); /* until the catalog says so */
    world_open(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_int_equal(state_of(w, "a"), POOL_DETACHED_NOT);
    assert_int_equal(unplugged(w), 0);
    assert_int_equal(world_events(w, "drive-attached", NULL), 1);
    /* The next time begins anew. */
    detach_now(w, "a");
    reopen(w);
    assert_int_equal(drive(w, "a")->presence, POOL_DETACHED);
    assert_int_equal(state_of(w, "a"), POOL_DETACHED_HERE);
    assert_ok(pool_attach(w->pool, "a", NULL));
}

/* Where it was another drive is by now: it has gone. */
static void test_another_in_its_place(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    world_add(w, "c");
    detach_now(w, "a");
    detach_now(w, "c");
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "away")), 0);
    assert_int_equal(rename(world_path(w, "c"), world_path(w, "a")), 0);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_DETACHED, "is not there");
    assert_null(drive(w, "a")->drv);
    assert_int_equal(unplugged(w), 2);
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "c")), 0);
    assert_int_equal(rename(world_path(w, "away"), world_path(w, "a")), 0);
    world_open(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_int_equal(drive(w, "c")->presence, POOL_PRESENT);
}

/* What is open keeps a file system from being unmounted, for a moment too. */
static void test_nobody_opens_it(void **state)
{
    struct world *w = *state;
    char events[4096], dot[4096];
    world_add(w, "a");
    world_add(w, "b");
    detach_now(w, "a");
    world_close(w);
    const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    snprintf(dot, sizeof dot, "%s/" POOL_DOT, world_path(w, "a"));
    assert_true(fd >= 0);
    assert_true(inotify_add_watch(fd, world_path(w, "a"), IN_OPEN | IN_CREATE | IN_MODIFY) >= 0);
    assert_true(inotify_add_watch(fd, dot, IN_OPEN | IN_CREATE | IN_MODIFY) >= 0);
    for (unsigned i = 0; i < 3; i++) {
        world_open(w);
        expect_presence(drive(w, "a"), POOL_DETACHED, "there still");
        world_close(w);
    }
    assert_true(read(fd, events, sizeof events) < 0 && errno == EAGAIN);
    world_open(w);
    assert_ok(pool_attach(w->pool, "a", NULL));
    assert_true(read(fd, events, sizeof events) > 0); /* such are heard of */
    close(fd);
}

static void test_away(void **state)
{
    struct world *w = *state;
    struct pool_detach_report report;
    world_add(w, "a");
    world_add(w, "b");
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "away")), 0);
    world_open(w);
    assert_ok(detach(w, "a", &report));
    assert_true(report.away);
    expect_presence(drive(w, "a"), POOL_DETACHED, "is not there");
    expect_failure(detach(w, "a", &report), MRMR_EXISTS, "detached already", "not there");
    expect_failure(pool_attach(w->pool, "a", NULL), MRMR_OFFLINE, "drive a", "not there", "mount");
    expect_presence(drive(w, "a"), POOL_DETACHED, "is not there");
    reopen(w);
    assert_int_equal(drive(w, "a")->presence, POOL_DETACHED);
    world_close(w);
    assert_int_equal(rename(world_path(w, "away"), world_path(w, "a")), 0);
    world_open(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_int_equal(unplugged(w), 0);
}

/* --- elsewhere --- */

static void test_another_place(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    for (unsigned i = 0; i < 2; i++) {
        const char *from = world_path(w, i ? "moved" : "a"), *to = world_path(w, i ? "a" : "moved");
        detach_now(w, "a");
        assert_int_equal(rename(from, to), 0);
        if (i)
            assert_ok(world_try_add(w, to)); /* known again, and wanted */
        else
            assert_ok(pool_attach(w->pool, "a", to));
        assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
        assert_string_equal(drive(w, "a")->meta.uri, to);
        reopen(w);
        assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
        assert_int_equal(unplugged(w), 0);
    }
    detach_now(w, "a");
    expect_failure(world_try_add(w, world_path(w, "a")), MRMR_EXISTS, "detached", "mrmr attach a");
    /* Its own place is none to move to; what is no drive, or another, is not it. */
    world_mkdir(world_path(w, "empty"));
    expect_failure(pool_attach(w->pool, "a", world_path(w, "empty")), MRMR_OFFLINE, "no drive");
    expect_failure(pool_attach(w->pool, "a", world_path(w, "b")), MRMR_CONFLICT, "not the drive");
    expect_failure(pool_attach(w->pool, "a", world_path(w, "nowhere")), MRMR_NO_DRIVE, "nowhere");
    /* Nor is a copy, while the drive is where it was. */
    world_copy(world_path(w, "a"), world_path(w, "copy"));
    expect_failure(
        pool_attach(w->pool, "a", world_path(w, "copy")), MRMR_EXISTS, "also at", "only one");
    assert_int_equal(drive(w, "a")->presence, POOL_DETACHED);
    assert_ok(pool_attach(w->pool, "a", world_path(w, "a")));
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
}

/* --- refused --- */

static void test_diverged(void **state)
{
    struct world *w = *state;
    struct pool_detach_report report;
    world_add(w, "a");
    world_add(w, "b");
    world_copy(world_path(w, "a"), world_path(w, "old"));
    detach_now(w, "a");
    world_remove(world_path(w, "a"));
    world_copy(world_path(w, "old"), world_path(w, "a"));
    expect_failure(
        pool_attach(w->pool, "a", NULL), MRMR_DIVERGED, "drive a", "old image", "mrmr rebuild a");
    assert_int_equal(drive(w, "a")->presence, POOL_DETACHED);
    world_remove(world_path(w, "a"));
    expect_failure(
        pool_attach(w->pool, "a", world_path(w, "old")), MRMR_DIVERGED, "drive a", "old image");
    assert_int_equal(drive(w, "a")->presence, POOL_DETACHED);
    /* One that is in service, and is not what the catalog knows. */
    reopen(w);
    world_copy(world_path(w, "b"), world_path(w, "old b"));
    assert_ok(pool_drive_attach(w->pool, drive(w, "b")));
    world_close(w);
    world_remove(world_path(w, "b"));
    world_copy(world_path(w, "old b"), world_path(w, "b"));
    world_open(w);
    expect_failure(detach(w, "b", &report), MRMR_DIVERGED, "drive b");
    assert_int_equal(drive(w, "b")->presence, POOL_DIVERGED);
}

static void test_refused(void **state)
{
    struct world *w = *state;
    struct pool_detach_report report;
    struct pool *look = NULL;
    world_add(w, "a");
    expect_failure(detach(w, "a", &report), MRMR_CONFLICT, "drive a", "last drive", "mrmr umount");
    world_add(w, "b");
    expect_failure(detach(w, "c", &report), MRMR_NO_DRIVE, "no drive 'c'", "mrmr drives");
    expect_failure(pool_attach(w->pool, "c", NULL), MRMR_NO_DRIVE, "no drive 'c'");
    drive(w, "a")->meta.state = META_DRIVE_REBUILDING;
    expect_failure(
        detach(w, "a", &report), MRMR_BUSY, "drive a", "being rebuilt", "mrmr rebuild a");
    drive(w, "a")->meta.state = META_DRIVE_ACTIVE;
    assert_ok(meta_todo_add(w->pool->meta, POOL_REBUILD_JOB, drive(w, "a")->meta.root));
    expect_failure(detach(w, "a", &report), MRMR_BUSY, "being rebuilt");
    assert_ok(meta_todo_done(w->pool->meta, POOL_REBUILD_JOB, drive(w, "a")->meta.root));
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_int_equal(pool_detach(look, NULL, "a", &report), MRMR_READONLY);
    pool_close(look);
    detach_now(w, "a");
    expect_failure(detach(w, "b", &report), MRMR_CONFLICT, "last drive");
    /* It is there: what is missing on it needs no other drives' room. */
    struct pool_rebuild_report rebuilt;
    const struct pool_rebuild_options options = {.drive = "a"};
    expect_failure(pool_rebuild(w->pool, NULL, &options, &rebuilt), MRMR_CONFLICT, "still there",
        "mrmr attach a");
    world_remove(world_path(w, "a"));
    reopen(w);
    assert_ok(pool_rebuild(w->pool, NULL, &options, &rebuilt)); /* given up, with its mark */
    assert_null(drive(w, "a"));
}

/* --- cuts --- */

/* Killed before and after each change that detach makes on the drive. */
static void test_killed(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    world_close(w);
    unsigned n = 0, in_service = 0;
    for (bool done = false; !done; n++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES,
                .after = n / 2,
                .times = 1,
                .action = DRV_FAULT_KILL,
                .late = n % 2};
            struct pool_detach_report report;
            struct drv_fault *fault;
            struct drv *wrapped;
            world_open(w);
            struct pool_drive *a = drive(w, "a");
            if (drv_fault_create(&fault) || drv_fault_wrap(a->drv, fault, &wrapped) ||
                drv_fault_add(fault, &rule, NULL))
                _exit(2);
            a->drv = wrapped;
            if (detach(w, "a", &report))
                _exit(1);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        done = WIFEXITED(status);
        if (done)
            assert_int_equal(WEXITSTATUS(status), 0);
        world_open(w);
        const enum pool_presence presence = drive(w, "a")->presence;
        assert_int_equal(presence, done ? POOL_DETACHED : POOL_PRESENT);
        in_service += presence == POOL_PRESENT;
        assert_session_is_recorded(w, "a");
        assert_ok(pool_attach(w->pool, "a", NULL));
        assert_ok(pool_drive_attach(w->pool, drive(w, "a")));
        assert_ok(pool_drive_still_ours(w->pool, drive(w, "a")));
        world_close(w);
    }
    assert_true(in_service >= 2 * 4);
    world_open(w);
}

static uint64_t seed_of_run(void)
{
    const char *set = getenv("MRMR_SEED");
    uint64_t seed = set ? strtoull(set, NULL, 0) : (uint64_t)mrmr_clock_real();
    print_message("seed %llu (MRMR_SEED)\n", (unsigned long long)seed);
    return seed;
}

/* Each change, and each sync, in turn fails; then the power goes: it is in service, or detached, and in a session that is known. */
static void test_power_cut(void **state)
{
    struct world *w = *state;
    uint64_t seed = seed_of_run();
    struct drv_fault *fault;
    unsigned cuts = 0, failed = 0;
    world_add(w, "b");
    assert_ok(drv_fault_create(&fault));
    assert_ok(drv_fault_serve(fault, "p", "mem://p?cut=1"));
    assert_ok(world_try_add(w, "fault://p"));
    for (unsigned n = 0, late = 0, misses = 0; misses < 2; late = !late, n += !late, cuts++) {
        struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES | DRV_FAULT_SYNC_ALL,
            .after = n,
            .times = 1,
            .action = DRV_FAULT_ERROR,
            .late = late,
            .err = MRMR_IO};
        struct pool_detach_report report;
        unsigned id;
        assert_ok(
            pool_catalog_copy(w->pool, NULL, POOL_COPIES_ALL, NULL)); /* so that detach need not */
        assert_ok(drv_fault_add(fault, &rule, &id));
        mrmr_err err = detach(w, "p", &report);
        failed += err != MRMR_OK;
        misses += drv_fault_hits(fault, id) == 0;
        const enum pool_presence presence = drive(w, "p")->presence;
        assert_int_equal(presence, err ? POOL_PRESENT : POOL_DETACHED);
        assert_ok(drv_mem_power_cut("p", seed + cuts));
        world_close(w);
        drv_fault_clear(fault);
        world_open(w);
        assert_int_equal(drive(w, "p")->presence, presence);
        assert_ok(pool_attach(w->pool, "p", NULL));
        assert_ok(pool_drive_attach(w->pool, drive(w, "p")));
    }
    assert_true(cuts > 10 && failed >= 2 * 6); /* two syncs, and the identity's four or more */
    world_close(w);
    drv_fault_destroy(fault);
    world_open(w);
}

/* Another time alone says nothing; another file with another time is another drive's, or was written elsewhere. */
static void test_its_file_is_touched(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    detach_now(w, "a");
    mrmr_autofree char *path = NULL, *copy = NULL;
    assert_true(asprintf(&path, "%s/" POOL_IDENTITY_PATH, world_path(w, "a")) > 0);
    assert_true(asprintf(&copy, "%s.copy", path) > 0);
    const struct timespec later[] = {{2000000000, 0}, {2000000000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    reopen(w);
    expect_presence(drive(w, "a"), POOL_DETACHED, "is there still");
    reopen(w);
    expect_presence(drive(w, "a"), POOL_DETACHED, "is there still");
    world_copy(path, copy);
    assert_int_equal(rename(copy, path), 0);
    reopen(w);
    expect_presence(drive(w, "a"), POOL_DETACHED, "is not there");
    reopen(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
}

/* A catalog of before has the time alone, or not even that. */
static void test_stamps_of_before(void **state)
{
    struct world *w = *state;
    static const char *const stamps[] = {"", " 0", " 5", " 5 1", " 5 1 2 3 4", " x"};
    static const bool fine[] = {true, true, true, false, false, false};
    static const bool gone[] = {false, false, true};
    world_add(w, "a");
    world_add(w, "b");
    char key[64], uuid[MRMR_UUID_TEXT], value[128];
    snprintf(key, sizeof key, "detached.%s", mrmr_uuid_print(&drive(w, "a")->meta.uuid, uuid));
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++) {
        struct mrmr_uuid mark;
        enum pool_detached is;
        assert_ok(mrmr_uuid_make(&mark));
        snprintf(value, sizeof value, "%s%s", mrmr_uuid_print(&mark, uuid), stamps[i]);
        assert_ok(meta_set(w->pool->meta, key, value));
        const mrmr_err err = pool_detached_get(w->pool, &drive(w, "a")->meta.uuid, &is, &mark);
        assert_int_equal(err, fine[i] ? MRMR_OK : MRMR_CORRUPT);
        if (err)
            continue;
        reopen(w);
        assert_int_equal(state_of(w, "a"), gone[i] ? POOL_DETACHED_WENT : POOL_DETACHED_HERE);
    }
    assert_ok(meta_set(w->pool->meta, key, NULL));
}

/* One that gave errors, and is plugged in elsewhere now: the user's word, too. */
static void test_failing_elsewhere(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    const struct mrmr_uuid uuid = drive(w, "a")->meta.uuid;
    assert_ok(pool_failing_set(w->pool, &uuid));
    reopen(w);
    assert_int_equal(drive(w, "a")->presence, POOL_FAILED);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "elsewhere")), 0);
    assert_ok(pool_attach(w->pool, "a", world_path(w, "elsewhere")));
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_int_equal(pool_failing_get(w->pool, &uuid), POOL_FAILING_NOT);
    reopen(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
}

/* Another process found that it fails while this one took it back. */
static void test_fails_again(void **state)
{
    struct world *w = *state;
    const struct mrmr_uuid uuid = world_add(w, "a")->meta.uuid;
    assert_ok(pool_failing_set(w->pool, &uuid));
    pool_failing_goes(w->pool, &uuid);
    assert_int_equal(pool_failing_get(w->pool, &uuid), POOL_FAILING_WENT);
    assert_ok(pool_failing_set(w->pool, &uuid));
    pool_failing_back(w->pool, &uuid);
    assert_int_equal(pool_failing_get(w->pool, &uuid), POOL_FAILING_HERE);
    pool_failing_over(w->pool, &uuid);
    assert_int_equal(pool_failing_get(w->pool, &uuid), POOL_FAILING_NOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_detach_attach, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_its_file_is_touched, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_stamps_of_before, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_failing_elsewhere, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_fails_again, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_comes_back_by_itself, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_another_in_its_place, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_nobody_opens_it, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_away, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_another_place, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_diverged, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_killed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_power_cut, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
