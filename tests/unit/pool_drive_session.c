/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sessions: attach, detach and still_ours, cut at every step, by a kill, an error or a power cut;
 * slack and boots on the side.
 */
#include "tests/unit/pool_drive_world.h"

#include "drivers/fault.h"
#include "drivers/mem.h"
#include "pool/drive/drive.h"
#include "pool/retained/pointers.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void assert_session_is_recorded(const struct pool_drive *drive, const char *root)
{
    struct pool_identity identity = world_identity(root);
    assert_true(pool_session_equal(&identity.session, &drive->meta.session));
}

static void test_attach_detach(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    const char *root = world_path(w, "a");
    struct meta_session first = a->meta.session;
    assert_string_equal(a->meta.boot, "");
    assert_ok(pool_drive_attach(w->pool, a));
    struct meta_session second = a->meta.session;
    assert_int_equal(second.number, first.number + 1);
    assert_memory_not_equal(second.token, first.token, sizeof first.token);
    assert_session_is_recorded(a, root);
    assert_int_not_equal(a->meta.boot[0], '\0');
    /* Once per process. */
    assert_ok(pool_drive_attach(w->pool, a));
    assert_true(pool_session_equal(&a->meta.session, &second));
    assert_ok(pool_drive_still_ours(w->pool, a));
    assert_ok(pool_drive_detach(w->pool, a));
    assert_int_equal(a->meta.session.number, first.number + 2);
    assert_memory_not_equal(a->meta.session.token, second.token, sizeof second.token);
    assert_session_is_recorded(a, root);
    assert_string_equal(a->meta.boot, "");
    assert_ok(pool_drive_detach(w->pool, a));
    assert_int_equal(a->meta.session.number, first.number + 2);
    /* close detaches what is attached, and the catalog has it all. */
    assert_ok(pool_drive_attach(w->pool, a));
    world_close(w);
    world_open(w);
    a = pool_drive_by_name(w->pool, "a");
    assert_int_equal(a->presence, POOL_PRESENT);
    assert_int_equal(a->meta.session.number, first.number + 4);
    assert_string_equal(a->meta.boot, "");
    assert_session_is_recorded(a, world_path(w, "a"));
}

static void test_not_in_a_transaction(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    struct meta_session before = a->meta.session;
    assert_ok(meta_begin(w->pool->meta));
    assert_int_not_equal(pool_drive_attach(w->pool, a), MRMR_OK);
    meta_rollback(w->pool->meta);
    struct pool_identity identity = world_identity(world_path(w, "a"));
    assert_true(pool_session_equal(&identity.session, &before));
    assert_ok(pool_drive_attach(w->pool, a));
}

/* Killed before and after each change that attach and detach make on the drive. */
static void test_killed(void **state)
{
    struct world *w = *state;
    struct drv_fault *fault;
    world_add(w, "a");
    world_close(w);
    unsigned n = 0;
    for (bool done = false; !done; n++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES,
                .after = n / 2,
                .times = 1,
                .action = DRV_FAULT_KILL,
                .late = n % 2};
            world_open(w);
            struct pool_drive *a = pool_drive_by_name(w->pool, "a");
            struct drv *wrapped;
            if (drv_fault_create(&fault) || drv_fault_wrap(a->drv, fault, &wrapped) ||
                drv_fault_add(fault, &rule, NULL))
                _exit(2);
            a->drv = wrapped;
            if (pool_drive_attach(w->pool, a) || pool_drive_detach(w->pool, a))
                _exit(1);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        done = WIFEXITED(status);
        if (done)
            assert_int_equal(WEXITSTATUS(status), 0);
        world_open(w);
        struct pool_drive *a = pool_drive_by_name(w->pool, "a");
        assert_int_equal(a->presence, POOL_PRESENT);
        assert_session_is_recorded(a, world_path(w, "a"));
        assert_ok(pool_drive_attach(w->pool, a));
        assert_ok(pool_drive_still_ours(w->pool, a));
        world_close(w);
    }
    assert_true(n >= 2 * 8); /* both replaces have four changes at least */
    world_open(w);
}

static uint64_t seed_of_run(void)
{
    const char *set = getenv("MRMR_SEED");
    uint64_t seed = set ? strtoull(set, NULL, 0) : (uint64_t)mrmr_clock_real();
    print_message("seed %llu (MRMR_SEED)\n", (unsigned long long)seed);
    return seed;
}

/* Each change in turn fails, once or for good; then the power goes, and whatever the drive kept of
 * it is known to the catalog. */
static void test_power_cut(void **state)
{
    struct world *w = *state;
    uint64_t seed = seed_of_run();
    struct drv_fault *fault;
    assert_ok(drv_fault_create(&fault));
    assert_ok(drv_fault_serve(fault, "p", "mem://p?cut=1"));
    assert_ok(world_try_add(w, "fault://p"));
    unsigned cuts = 0;
    for (unsigned n = 0, late = 0, misses = 0; misses < 2; late = !late, n += !late) {
        for (uint64_t times = 0; times < 2; times++, cuts++) {
            struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES,
                .after = n,
                .times = times,
                .action = DRV_FAULT_ERROR,
                .late = late,
                .err = MRMR_IO};
            unsigned id;
            struct pool_drive *p = pool_drive_by_name(w->pool, "p");
            assert_ok(drv_fault_add(fault, &rule, &id));
            pool_drive_attach(w->pool, p);
            if (times) /* the same process tries again after one error */
                pool_drive_attach(w->pool, p);
            pool_drive_detach(w->pool, p);
            misses += drv_fault_hits(fault, id) == 0;
            assert_ok(drv_mem_power_cut("p", seed + cuts));
            world_close(w);
            drv_fault_clear(fault);
            world_open(w);
            p = pool_drive_by_name(w->pool, "p");
            if (p->presence != POOL_PRESENT)
                fail_msg("n %u late %u times %u: %s", n, late, (unsigned)times, p->why.text);
            assert_ok(pool_drive_attach(w->pool, p));
            assert_ok(pool_drive_detach(w->pool, p));
        }
    }
    assert_true(cuts > 20);
    world_close(w);
    drv_fault_destroy(fault);
    world_open(w);
}

/* A session that was renamed into place and not synced is adopted: then it must stay, whatever a
 * power cut takes. */
static void test_adopted_is_durable(void **state)
{
    struct world *w = *state;
    uint64_t seed = seed_of_run();
    struct drv_fault *fault;
    assert_ok(drv_fault_create(&fault));
    assert_ok(drv_fault_serve(fault, "p", "mem://p?cut=1"));
    assert_ok(world_try_add(w, "fault://p"));
    for (unsigned i = 0; i < 16; i++) {
        struct drv_fault_rule rule = {
            .ops = DRV_FAULT_DIR_SYNC, .times = 1, .action = DRV_FAULT_ERROR, .err = MRMR_IO};
        struct pool_drive *p = pool_drive_by_name(w->pool, "p");
        struct meta_session before = p->meta.session;
        assert_ok(drv_fault_add(fault, &rule, NULL));
        assert_int_equal(pool_drive_attach(w->pool, p), MRMR_IO);
        drv_fault_clear(fault);
        assert_true(pool_session_equal(&before, &p->meta.session));
        pool_drive_look(w->pool, p);
        assert_int_equal(p->presence, POOL_PRESENT);
        assert_false(pool_session_equal(&before, &p->meta.session));
        assert_ok(drv_mem_power_cut("p", seed + i));
        world_close(w);
        world_open(w);
        assert_int_equal(pool_drive_by_name(w->pool, "p")->presence, POOL_PRESENT);
    }
    world_close(w);
    drv_fault_destroy(fault);
    world_open(w);
}

/* An attach that fails after the drive was written, and another that fails before: the drive holds
 * the first one's session, and the catalog must not have forgotten it. */
static void test_failed_twice(void **state)
{
    struct world *w = *state;
    struct drv_fault *fault;
    assert_ok(drv_fault_create(&fault));
    assert_ok(drv_fault_serve(fault, "p", "mem://p"));
    assert_ok(world_try_add(w, "fault://p"));
    struct pool_drive *p = pool_drive_by_name(w->pool, "p");
    struct drv_fault_rule late = {.ops = DRV_FAULT_RENAME,
        .times = 1,
        .action = DRV_FAULT_ERROR,
        .late = true,
        .err = MRMR_IO};
    struct drv_fault_rule early = {
        .ops = DRV_FAULT_CREATE, .action = DRV_FAULT_ERROR, .err = MRMR_IO};
    assert_ok(drv_fault_add(fault, &late, NULL));
    assert_int_equal(pool_drive_attach(w->pool, p), MRMR_IO);
    assert_ok(drv_fault_add(fault, &early, NULL));
    assert_int_equal(pool_drive_attach(w->pool, p), MRMR_IO);
    drv_fault_clear(fault);
    world_close(w);
    world_open(w);
    p = pool_drive_by_name(w->pool, "p");
    assert_int_equal(p->presence, POOL_PRESENT);
    assert_ok(pool_drive_attach(w->pool, p));
    world_close(w);
    drv_fault_destroy(fault);
    world_open(w);
}

static void write_session(const char *root, uint64_t number, uint8_t token)
{
    struct drv *drv = NULL;
    struct pool_identity identity = world_identity(root);
    identity.session.number = number;
    memset(identity.session.token, token, sizeof identity.session.token);
    assert_ok(drv_open(root, &drv));
    assert_ok(pool_identity_write(drv, &identity));
    drv_close(drv);
}

/* Somebody else attaches the drive while we use it. */
static void test_still_ours(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a"), *b = world_add(w, "b"), *c = world_add(w, "c");
    assert_ok(pool_drive_attach(w->pool, a));
    assert_ok(pool_drive_attach(w->pool, b));
    assert_ok(pool_drive_attach(w->pool, c));
    write_session(world_path(w, "a"), a->meta.session.number + 1, 7);
    expect_failure(pool_drive_still_ours(w->pool, a), MRMR_DIVERGED, "another computer", "drive a");
    expect_presence(a, POOL_DIVERGED, "diverged");
    assert_true(pool_drive_readable(a));
    assert_false(pool_drive_writable(a));
    assert_int_equal(pool_drive_still_ours(w->pool, a), MRMR_DIVERGED);
    assert_int_equal(
        pool_drive_attach(w->pool, a), MRMR_OK); /* attached it was; nothing is written */
    assert_int_equal(unlink(world_path(w, "a/.mrmr/slack")), 0);
    assert_int_equal(pool_drive_slack_keep(w->pool, a), MRMR_DIVERGED);
    assert_int_equal(pool_drive_slack_give(w->pool, a), MRMR_DIVERGED);
    assert_int_not_equal(access(world_path(w, "a/.mrmr/slack"), F_OK), 0);

    assert_int_equal(unlink(world_path(w, "b/.mrmr/drive")), 0);
    expect_failure(pool_drive_still_ours(w->pool, b), MRMR_DIVERGED, "removed");
    world_write(world_path(w, "c/.mrmr/drive"), "nonsense");
    assert_int_equal(pool_drive_still_ours(w->pool, c), MRMR_FORMAT);

    mrmr_autofree char *before = world_tree(w->dir);
    mrmr_autofree char *a_before = world_tree(world_path(w, "a"));
    assert_non_null(strstr(before, a_before));
    world_close(w); /* detaches nothing that is not ours */
    mrmr_autofree char *a_after = world_tree(world_path(w, "a"));
    assert_string_equal(a_before, a_after);
    world_open(w);
    expect_presence(pool_drive_by_name(w->pool, "a"), POOL_DIVERGED, "diverged");
    expect_failure(
        pool_drive_attach(w->pool, pool_drive_by_name(w->pool, "a")), MRMR_DIVERGED, "diverged");
    expect_presence(pool_drive_by_name(w->pool, "c"), POOL_FAILED, "cannot be read");
}

static void attach_in_between(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    (void)op, (void)path;
    assert_ok(pool_drive_attach(w->pool, pool_drive_by_name(w->pool, "p")));
}

/* Somebody of ours attaches the drive between still_ours' look at the drive and its look at the
 * entry. */
static void test_attach_in_between(void **state)
{
    struct world *w = *state;
    struct drv_fault *fault;
    assert_ok(drv_fault_create(&fault));
    assert_ok(drv_fault_serve(fault, "p", "mem://p"));
    assert_ok(world_try_add(w, "fault://p"));
    struct pool_drive *p = pool_drive_by_name(w->pool, "p");
    struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ,
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .late = true,
        .hook = attach_in_between,
        .arg = w};
    uint64_t number = p->meta.session.number;
    unsigned id;
    assert_ok(drv_fault_add(fault, &rule, &id));
    assert_ok(pool_drive_still_ours(w->pool, p));
    assert_int_equal(drv_fault_hits(fault, id), 1);
    assert_int_equal(p->meta.session.number, number + 1);
    assert_int_equal(p->presence, POOL_PRESENT);
    world_close(w);
    drv_fault_destroy(fault);
    world_open(w);
}

static void *attach_thread(void *arg)
{
    struct world *w = arg;
    struct pool_drive *a = pool_drive_by_name(w->pool, "a");
    for (unsigned i = 0; i < 50; i++)
        if (pool_drive_still_ours(w->pool, a) || pool_drive_attach(w->pool, a) ||
            pool_drive_still_ours(w->pool, a))
            return arg;
    return NULL;
}

static void test_threads(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    uint64_t number = a->meta.session.number;
    pthread_t thread[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, attach_thread, w), 0);
    for (unsigned i = 0; i < 4; i++) {
        void *result;
        assert_int_equal(pthread_join(thread[i], &result), 0);
        assert_null(result);
    }
    assert_int_equal(a->meta.session.number, number + 1);
}

/* An uncleanly ended attachment of an earlier boot is remembered until a scan has judged it. */
static void test_boot(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    assert_ok(pool_drive_attach(w->pool, a));
    char now[40];
    memcpy(now, a->meta.boot, sizeof now);
    assert_int_equal(strlen(now), 36);
    snprintf(a->meta.boot, sizeof a->meta.boot, "earlier");
    assert_ok(pool_drive_detach(w->pool, a));
    assert_string_equal(a->meta.boot, "earlier");
    assert_ok(pool_drive_attach(w->pool, a));
    assert_string_equal(a->meta.boot, "earlier");
    /* Only a scan settles it, whatever the clock says. */
    a->meta.scanned = INT64_MAX;
    assert_ok(pool_drive_detach(w->pool, a));
    assert_string_equal(a->meta.boot, "earlier");
    assert_ok(pool_drive_attach(w->pool, a));
    struct pool_sync_report report = {0};
    assert_ok(pool_scan(w->pool, NULL, false, &report));
    assert_string_equal(a->meta.boot, now);
    assert_ok(pool_drive_detach(w->pool, a));
    assert_string_equal(a->meta.boot, "");
    snprintf(a->meta.boot, sizeof a->meta.boot, "earlier");
    assert_ok(pool_scan(w->pool, NULL, false, &report));
    assert_string_equal(a->meta.boot, "");
}

static void test_slack(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    assert_ok(pool_set(w->pool, "block-size", "2M"));
    struct stat st;
    uint64_t room, wanted = 2 * pool_row_bound(2 << 20);
    assert_ok(pool_drive_slack_keep(w->pool, a));
    assert_int_equal(stat(world_path(w, "a/.mrmr/slack"), &st), 0);
    assert_int_equal(st.st_size, wanted);
    assert_true((uint64_t)st.st_blocks * 512 >= wanted);
    assert_ok(pool_drive_slack_give(w->pool, a));
    assert_int_equal(stat(world_path(w, "a/.mrmr/slack"), &st), -1);
    assert_ok(pool_drive_slack_give(w->pool, a));
    /* A larger block wants more; a drive without parity none. */
    assert_ok(pool_drive_slack_keep(w->pool, a));
    assert_ok(pool_set(w->pool, "block-size", "3M"));
    assert_ok(pool_drive_slack_keep(w->pool, a));
    assert_int_equal(stat(world_path(w, "a/.mrmr/slack"), &st), 0);
    assert_true((uint64_t)st.st_size > wanted);
    world_add(w, "b");
    world_add(w, "c");
    assert_ok(pool_set(w->pool, "drive.a.role", "removable"));
    assert_ok(pool_drive_slack_keep(w->pool, a));
    assert_int_equal(stat(world_path(w, "a/.mrmr/slack"), &st), -1);
    assert_ok(pool_drive_room(w->pool, a, &room));
    assert_int_equal(room, 0);
}

static void test_room(void **state)
{
    struct world *w = *state;
    assert_ok(world_try_add(w, "mem://r?size=64M"));
    struct pool_drive *r = pool_drive_by_name(w->pool, "r");
    assert_non_null(r);
    assert_ok(pool_set(w->pool, "block-size", "1M"));
    uint64_t slack = 2 * pool_row_bound(1 << 20), room;
    struct drv_space space;
    assert_ok(drv_space(r->drv, &space));
    slack += pool_pointers_wanted(space.total);
    assert_ok(pool_drive_room(w->pool, r, &room));
    assert_int_equal(room, space.avail - slack);
    /* The slack was reckoned with before it was there; the same room is left when it is. */
    uint64_t room_with;
    assert_ok(pool_drive_slack_keep(w->pool, r));
    assert_ok(pool_drive_room(w->pool, r, &room_with));
    assert_true(room_with <= room && room - room_with < 64 << 10);
    assert_ok(pool_drive_slack_give(w->pool, r));
    slack -= pool_pointers_wanted(space.total); /* it is there now, and taken from what is free */
    assert_ok(drv_space(r->drv, &space));
    assert_ok(pool_set(w->pool, "drive.r.reserve", "10M"));
    assert_ok(pool_drive_room(w->pool, r, &room));
    uint64_t catalog; /* its copies do not come out of the reserve */
    assert_ok(meta_size(w->pool->meta, &catalog));
    assert_true(catalog > 64 << 10);
    assert_int_equal(room, space.avail - slack - (10 << 20) - catalog);
    assert_ok(pool_set(w->pool, "drive.r.max-usage", "5M"));
    assert_ok(pool_drive_room(w->pool, r, &room));
    assert_int_equal(room, 5 << 20);
    assert_ok(pool_set(w->pool, "drive.r.max-usage", "0"));
    assert_ok(pool_set(w->pool, "drive.r.reserve", "1T"));
    assert_ok(pool_drive_room(w->pool, r, &room));
    assert_int_equal(room, 0);
    r->presence = POOL_DIVERGED;
    assert_ok(pool_set(w->pool, "drive.r.reserve", "0"));
    assert_ok(pool_drive_room(w->pool, r, &room));
    assert_int_equal(room, 0);
    r->presence = POOL_PRESENT;
    /* No room for slack is no failure. */
    assert_ok(pool_set(w->pool, "block-size", "256M"));
    assert_ok(pool_drive_slack_keep(w->pool, r));
}

static int teardown(void **state)
{
    int result = world_teardown(state);
    drv_mem_reset_all();
    return result;
}

int main(void)
{
#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_attach_detach),
        WORLD_TEST(test_not_in_a_transaction),
        WORLD_TEST(test_killed),
        WORLD_TEST(test_power_cut),
        WORLD_TEST(test_adopted_is_durable),
        WORLD_TEST(test_failed_twice),
        WORLD_TEST(test_still_ours),
        WORLD_TEST(test_attach_in_between),
        WORLD_TEST(test_threads),
        WORLD_TEST(test_boot),
        WORLD_TEST(test_slack),
        WORLD_TEST(test_room),
    };
    return cmocka_run_group_tests_name("pool_drive_session", tests, NULL, NULL);
}
