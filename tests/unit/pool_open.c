/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool's life: create, open, the lock, catalogs that cannot be used.
 */
#include "tests/support/skip.h"
#include "tests/unit/pool_drive_world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void test_create(void **state)
{
    struct world *w = *state;
    expect_failure(pool_create(world_path(w, "pool")), MRMR_BUSY, "'test'");
    struct mrmr_uuid uuid = w->pool->uuid;
    world_close(w);
    expect_failure(pool_create(world_path(w, "pool")), MRMR_EXISTS, "already", "--pool");
    world_open(w);
    assert_true(mrmr_uuid_equal(&uuid, &w->pool->uuid));
    assert_ok(pool_create(world_path(w, "deep/er/pool")));
    struct stat st;
    assert_int_equal(stat(world_path(w, "deep/er/pool"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    struct pool *other = NULL;
    assert_ok(pool_open(world_path(w, "deep/er/pool/"), POOL_OWN, "test", &other));
    assert_false(mrmr_uuid_equal(&other->uuid, &w->pool->uuid));
    pool_close(other);
    /* Not on a drive: it would be protected as the user's file, by itself. */
    world_add(w, "a");
    expect_failure(
        pool_create(world_path(w, "a/mypool")), MRMR_INVALID, "lies on", "drive of a pool");
    expect_failure(pool_create(world_path(w, "a")), MRMR_INVALID, "drive of a pool");
    world_write(world_path(w, "file"), "x");
    assert_int_equal(mrmr_class_of(pool_create(world_path(w, "file/pool"))), MRMR_CLASS_INVALID);
    assert_int_equal(pool_create(""), MRMR_INVALID);
}

static void test_absent(void **state)
{
    struct world *w = *state;
    struct pool *pool = NULL;
    expect_failure(pool_open(world_path(w, "none"), POOL_OWN, "test", &pool), MRMR_ABSENT,
        "no pool", "mrmr init");
    world_mkdir(world_path(w, "empty"));
    expect_failure(
        pool_open(world_path(w, "empty"), POOL_OWN, "test", &pool), MRMR_ABSENT, "no pool");
    expect_failure(
        pool_open(world_path(w, "empty"), POOL_LOOK, "test", &pool), MRMR_ABSENT, "no pool");
    assert_null(pool);
    assert_int_equal(rmdir(world_path(w, "empty")), 0); /* nothing was left in it */
}

/* Cut between the making of the catalog and its filling. */
static void test_unfinished(void **state)
{
    struct world *w = *state;
    struct pool *pool = NULL;
    struct meta *meta = NULL;
    world_mkdir(world_path(w, "half"));
    assert_ok(meta_open(world_path(w, "half/catalog.sqlite"), META_CREATE, &meta));
    meta_close(meta);
    expect_failure(pool_open(world_path(w, "half"), POOL_OWN, "test", &pool), MRMR_ABSENT,
        "never finished", "mrmr init");
    assert_ok(pool_create(world_path(w, "half")));
    assert_ok(pool_open(world_path(w, "half"), POOL_OWN, "test", &pool));
    pool_close(pool);
}

/* Two commands at once, in two processes. */
static void test_busy(void **state)
{
    struct world *w = *state;
    world_close(w);
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct pool *pool = NULL;
        mrmr_err err = pool_open(world_path(w, "pool"), POOL_OWN, "first command", &pool);
        if (write(ready[1], err ? "x" : "r", 1) != 1)
            _exit(2);
        for (;;)
            pause(); /* until it is killed: the lock must go with it */
    }
    char got = 0;
    assert_int_equal(read(ready[0], &got, 1), 1);
    assert_int_equal(got, 'r');
    char who[32];
    snprintf(who, sizeof who, "(process %ld)", (long)pid);
    struct pool *pool = NULL;
    expect_failure(pool_open(world_path(w, "pool"), POOL_OWN, "second", &pool), MRMR_BUSY,
        "'first command'", who, "wait");
    assert_null(pool);
    /* Looking is always possible. */
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "second", &pool));
    assert_int_equal(pool_redundancy(pool), 1);
    pool_close(pool);
    pool = NULL;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_ok(pool_open(world_path(w, "pool"), POOL_OWN, "second", &pool));
    pool_close(pool);
    close(ready[0]);
    close(ready[1]);
    world_open(w);
}

/* A failed open leaves the lock to others. */
static void test_bad_catalog(void **state)
{
    struct world *w = *state;
    world_close(w);
    struct pool *pool = NULL;
    world_copy(world_path(w, "pool"), world_path(w, "bad"));
    world_write(world_path(w, "bad/catalog.sqlite"),
        "this is no database, and it is long enough to be looked at as one");
    for (unsigned i = 0; i < 2; i++) {
        mrmr_err err = pool_open(world_path(w, "bad"), POOL_OWN, "test", &pool);
        assert_int_equal(mrmr_class_of(err), MRMR_CLASS_CORRUPT);
        expect_failure(err, err, "catalog");
    }
    assert_null(pool);
    world_open(w);
}

static void as_nobody(struct world *w, mrmr_err wanted)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct pool *pool = NULL;
        if (setuid(65534))
            _exit(9);
        mrmr_err err = pool_open(world_path(w, "pool"), POOL_OWN, "test", &pool);
        if (mrmr_class_of(err) != mrmr_class_of(wanted) || !mrmr_story_get()->hint[0])
            fprintf(stderr, "%s: %s; %s\n", mrmr_err_name(err), mrmr_story_get()->text,
                mrmr_story_get()->hint);
        _exit(mrmr_class_of(err) == mrmr_class_of(wanted) && mrmr_story_get()->hint[0] ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_read_only(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0)
        skip_for("to become another user takes root");
    world_close(w);
    assert_int_equal(chmod(w->dir, 0755), 0);
    as_nobody(w, MRMR_DENIED); /* the folder is not theirs */
    assert_int_equal(chmod(world_path(w, "pool"), 0777), 0);
    assert_int_equal(chmod(world_path(w, "pool/lock"), 0666), 0);
    assert_int_equal(chmod(world_path(w, "pool/catalog.sqlite"), 0444), 0);
    as_nobody(w, MRMR_READONLY); /* nor is the catalog */
    world_open(w);
}

static void test_tell(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    char text[512];
    pool_tell(w->pool, NULL, true, "test-kind", a, "%d is told", 42);
    assert_int_equal(world_events(w, "test-kind", text), 1);
    assert_string_equal(text, "42 is told");
    mrmr_err_hint(mrmr_fail(MRMR_SPACE, "it is full"), "make room");
    pool_tell_story(w->pool, NULL, true, "test-story", NULL, "doing it");
    assert_int_equal(mrmr_story_get()->err, MRMR_SPACE); /* telling keeps the story */
    assert_int_equal(world_events(w, "test-story", text), 1);
    assert_string_equal(text, "doing it: it is full; make room");
}

struct notices {
    size_t n;
    bool warning;
    char text[200];
};

static void notice(bool warning, const char *text, void *arg)
{
    struct notices *notices = arg;
    notices->n++;
    notices->warning = warning;
    snprintf(notices->text, sizeof notices->text, "%s", text);
}

static void test_notice(void **state)
{
    struct world *w = *state;
    struct notices notices = {0};
    struct pool_job job = {.notice = notice, .arg = &notices};
    pool_tell(w->pool, &job, true, "test-kind", NULL, "look here");
    assert_int_equal(notices.n, 1);
    assert_true(notices.warning);
    assert_string_equal(notices.text, "look here");
}

int main(void)
{
#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_create),
        WORLD_TEST(test_absent),
        WORLD_TEST(test_unfinished),
        WORLD_TEST(test_busy),
        WORLD_TEST(test_bad_catalog),
        WORLD_TEST(test_read_only),
        WORLD_TEST(test_tell),
        WORLD_TEST(test_notice),
    };
    return cmocka_run_group_tests_name("pool_open", tests, NULL, NULL);
}
