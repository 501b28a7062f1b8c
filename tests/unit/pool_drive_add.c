/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Taking folders into a pool: what is written, in which order, and everything that is refused.
 */
#include "tests/unit/pool_drive_world.h"

#include "drivers/fault.h"
#include "drivers/mem.h"
#include "tests/support/skip.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void test_add(void **state)
{
    struct world *w = *state;
    world_mkdir(world_path(w, "a"));
    world_write(world_path(w, "a/file"), "hello");
    assert_ok(world_try_add(w, world_path(w, "a")));
    struct pool_drive *a = pool_drive_by_name(w->pool, "a");
    assert_non_null(a);
    assert_int_equal(a->presence, POOL_PRESENT);
    assert_string_equal(a->meta.domain, "a");
    assert_int_equal(a->meta.role, META_ROLE_DATA);
    assert_true(a->meta.root > 0);

    struct pool_identity identity = world_identity(world_path(w, "a"));
    assert_true(mrmr_uuid_equal(&identity.pool, &w->pool->uuid));
    assert_true(mrmr_uuid_equal(&identity.uuid, &a->meta.uuid));
    assert_true(pool_session_equal(&identity.session, &a->meta.session));
    assert_string_equal(identity.name, "a");
    assert_int_equal(identity.slot, a->meta.slot);
    struct stat st;
    assert_int_equal(stat(world_path(w, "a/.mrmr"), &st), 0);
    assert_int_equal(
        st.st_mode & 07777, 0700); /* parity tells of files that not everybody may read */
    assert_int_equal(stat(world_path(w, "a/.mrmr/README"), &st), 0);
    assert_true(st.st_size > 100);
    assert_int_equal(stat(world_path(w, "a/.mrmr/FORMAT"), &st), 0);
    assert_true(st.st_size > 100);

    world_close(w);
    world_open(w);
    a = pool_drive_by_name(w->pool, "a");
    assert_int_equal(a->presence, POOL_PRESENT);
    assert_int_equal(world_events(w, "drive-added", NULL), 1);
}

static void test_words(void **state)
{
    struct world *w = *state;
    world_mkdir(world_path(w, "x"));
    world_mkdir(world_path(w, "x/disk"));
    world_add(w, "disk");
    /* The same last component: another name; and the domains are not shared by that. */
    assert_ok(world_try_add(w, world_path(w, "x/disk")));
    assert_non_null(pool_drive_by_name(w->pool, "disk-2"));
    assert_string_equal(pool_drive_by_name(w->pool, "disk-2")->meta.domain, "disk-2");

    world_mkdir(world_path(w, "b"));
    struct pool_drive_spec spec = {.uri = world_path(w, "b"), .name = "disk"};
    expect_failure(pool_drive_add(w->pool, &spec), MRMR_EXISTS, "disk", "another name");
    const char *const bad[] = {"", ".x", "-x", "a b", "a/b", "a\nb", "\xff",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec.name = bad[i];
        expect_failure(pool_drive_add(w->pool, &spec), MRMR_INVALID, "name");
    }
    spec.name = "b";
    spec.role = "boss";
    expect_failure(pool_drive_add(w->pool, &spec), MRMR_INVALID, "boss", "parity");
    spec.role = "cache";
    expect_failure(pool_drive_add(w->pool, &spec), MRMR_UNSUPPORTED, "cache", "parity");
    spec.role = "parity";
    spec.domain = "";
    expect_failure(pool_drive_add(w->pool, &spec), MRMR_INVALID, "domain");
    spec.domain = "shelf 1";
    spec.reserve = 1 << 20;
    assert_int_equal(access(world_path(w, "b/.mrmr"), F_OK), -1); /* nothing was touched so far */
    assert_ok(pool_drive_add(w->pool, &spec));
    struct pool_drive *b = pool_drive_by_name(w->pool, "b");
    assert_int_equal(b->meta.role, META_ROLE_PARITY);
    assert_string_equal(b->meta.domain, "shelf 1");
    assert_int_equal(b->meta.reserve, 1 << 20);
    /* One disk beneath: that is told, save where a domain was said. */
    char text[512];
    assert_int_equal(world_events(w, "same-disk", text), 1);
    assert_non_null(strstr(text, "mrmr set drive.disk-2.domain disk"));
}

static void test_bad_roots(void **state)
{
    struct world *w = *state;
    expect_failure(world_try_add(w, world_path(w, "none")), MRMR_NO_DRIVE, "none", "mount");
    expect_failure(world_try_add(w, "relative"), MRMR_INVALID, "relative");
    expect_failure(world_try_add(w, "gopher://host/x"), MRMR_INVALID, "gopher");
    world_write(world_path(w, "file"), "x");
    expect_failure(world_try_add(w, world_path(w, "file")), MRMR_NOT_DIR, "file", "folder");
    world_mkdir(world_path(w, "dotfile"));
    world_write(world_path(w, "dotfile/.mrmr"), "mine");
    expect_failure(world_try_add(w, world_path(w, "dotfile")), MRMR_NOT_DIR, ".mrmr");
    assert_int_equal(w->pool->ndrives, 0);
}

static void test_places(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_mkdir(world_path(w, "a/sub"));
    world_mkdir(world_path(w, "a/sub/deep"));
    world_mkdir(world_path(w, "ab")); /* begins alike, and is no part of it */
    world_mkdir(world_path(w, "pool/inside"));
    expect_failure(world_try_add(w, world_path(w, "a/sub/deep")), MRMR_INVALID, "inside", "'a'");
    expect_failure(world_try_add(w, w->dir), MRMR_INVALID, "around", "pool's own folder");
    expect_failure(world_try_add(w, world_path(w, "pool")), MRMR_INVALID, "pool's own folder");
    expect_failure(world_try_add(w, world_path(w, "pool/inside")), MRMR_INVALID, "inside",
        "pool's own folder");
    expect_failure(world_try_add(w, "/"), MRMR_INVALID, "around");
    assert_int_equal(symlink(world_path(w, "a/sub"), world_path(w, "link")), 0);
    expect_failure(world_try_add(w, world_path(w, "link")), MRMR_INVALID, "inside", "'a'");
    expect_failure(world_try_add(w, world_path(w, "ab/../a/sub")), MRMR_INVALID, "inside", "'a'");
    assert_ok(world_try_add(w, world_path(w, "ab")));
    /* Around a drive, beside the pool. */
    world_mkdir(world_path(w, "outer"));
    world_mkdir(world_path(w, "outer/c"));
    assert_ok(world_try_add(w, world_path(w, "outer/c")));
    expect_failure(world_try_add(w, world_path(w, "outer")), MRMR_INVALID, "around", "'c'");
    /* The place of a drive that is away now. */
    world_close(w);
    assert_int_equal(rename(world_path(w, "outer/c"), world_path(w, "c2")), 0);
    world_open(w);
    expect_failure(world_try_add(w, world_path(w, "outer")), MRMR_INVALID, "around", "'c'");
    assert_int_equal(w->pool->ndrives, 3);
}

static void test_known(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    expect_failure(world_try_add(w, world_path(w, "a")), MRMR_EXISTS, "already", "'a'");
    char pool2[600];
    snprintf(pool2, sizeof pool2, "%s", world_path(w, "pool2"));
    assert_ok(pool_create(pool2));
    struct pool *other = NULL;
    assert_ok(pool_open(pool2, POOL_OWN, "test", &other));
    struct pool_drive_spec spec = {.uri = world_path(w, "a")};
    mrmr_autofree char *before = world_tree(world_path(w, "a"));
    mrmr_err err = pool_drive_add(other, &spec);
    expect_failure(err, MRMR_EXISTS, "another pool", "--pool", "move");
    /* Below a drive of a pool that this one knows nothing of. */
    world_mkdir(world_path(w, "a/sub"));
    spec.uri = world_path(w, "a/sub");
    expect_failure(pool_drive_add(other, &spec), MRMR_INVALID, "inside", "drive of a pool");
    pool_close(other);
    assert_int_equal(rmdir(world_path(w, "a/sub")), 0);
    mrmr_autofree char *after = world_tree(world_path(w, "a/.mrmr"));
    assert_non_null(strstr(before, after)); /* as it was */
}

static void test_unmounted(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "gone")), 0);
    world_mkdir(world_path(w, "a")); /* the mountpoint with nothing mounted */
    world_open(w);
    expect_presence(pool_drive_by_name(w->pool, "a"), POOL_AWAY, "a", "mount");
    expect_failure(
        world_try_add(w, world_path(w, "a")), MRMR_OFFLINE, "'a'", "not mounted", "rebuild a");
    assert_int_equal(access(world_path(w, "a/.mrmr"), F_OK), -1);
}

static void test_moved(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "new")), 0);
    world_open(w);
    assert_int_equal(pool_drive_by_name(w->pool, "a")->presence, POOL_AWAY);
    assert_ok(world_try_add(w, world_path(w, "new")));
    assert_int_equal(w->pool->ndrives, 2);
    struct pool_drive *a = pool_drive_by_name(w->pool, "a");
    assert_int_equal(a->presence, POOL_PRESENT);
    assert_string_equal(a->meta.uri, world_path(w, "new"));
    assert_int_equal(world_events(w, "drive-moved", NULL), 1);
    /* A copy beside the drive itself is not the drive. */
    world_copy(world_path(w, "new"), world_path(w, "copy"));
    expect_failure(world_try_add(w, world_path(w, "copy")), MRMR_EXISTS, "copy", "'a'");
    world_close(w);
    world_open(w);
    assert_int_equal(pool_drive_by_name(w->pool, "a")->presence, POOL_PRESENT);
    assert_string_equal(pool_drive_by_name(w->pool, "a")->meta.uri, world_path(w, "new"));
}

static void test_retired(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    assert_ok(meta_uuid_retire(w->pool->meta, &a->meta.uuid, "a"));
    a->meta.state = META_DRIVE_RETIRED;
    assert_ok(meta_drive_store(w->pool->meta, &a->meta));
    world_close(w);
    world_open(w);
    mrmr_autofree char *before = world_tree(world_path(w, "a"));
    expect_failure(world_try_add(w, world_path(w, "a")), MRMR_CONFLICT, "retired", "move");
    mrmr_autofree char *after = world_tree(world_path(w, "a"));
    assert_string_equal(before, after);
    world_remove(world_path(w, "a/.mrmr"));
    assert_ok(world_try_add(w, world_path(w, "a")));
}

/* A catalog from before the drive was added. */
static void test_ahead(void **state)
{
    struct world *w = *state;
    world_close(w);
    world_copy(world_path(w, "pool"), world_path(w, "old"));
    world_open(w);
    world_add(w, "a");
    struct mrmr_uuid uuid = pool_drive_by_name(w->pool, "a")->meta.uuid;
    uint64_t session = pool_drive_by_name(w->pool, "a")->meta.session.number;
    world_close(w);
    world_remove(world_path(w, "pool"));
    assert_int_equal(rename(world_path(w, "old"), world_path(w, "pool")), 0);

    world_open(w);
    world_mkdir(world_path(w, "a/.mrmr/parity"));
    world_mkdir(world_path(w, "a/.mrmr/parity/3f"));
    world_write(world_path(w, "a/.mrmr/parity/3f/x"), "parity");
    mrmr_autofree char *before = world_tree(world_path(w, "a"));
    expect_failure(world_try_add(w, world_path(w, "a")), MRMR_DIVERGED, "older than the drive",
        "newest catalog");
    mrmr_autofree char *after = world_tree(world_path(w, "a"));
    assert_string_equal(before, after);
    /* The same without an identity. */
    assert_int_equal(rename(world_path(w, "a/.mrmr/drive"), world_path(w, "drive")), 0);
    expect_failure(world_try_add(w, world_path(w, "a")), MRMR_DIVERGED, "missing", "move");
    assert_int_equal(rename(world_path(w, "drive"), world_path(w, "a/.mrmr/drive")), 0);
    /* Without parity it is an add that was cut short: adopted, in a later session. */
    world_remove(world_path(w, "a/.mrmr/parity/3f"));
    assert_ok(world_try_add(w, world_path(w, "a")));
    struct pool_drive *a = pool_drive_by_name(w->pool, "a");
    assert_true(mrmr_uuid_equal(&a->meta.uuid, &uuid));
    assert_true(a->meta.session.number > session);
}

/* The process is killed at each change of the drive in turn; the next add takes the drive in. */
static void test_killed(void **state)
{
    struct world *w = *state;
    unsigned n = 0;
    for (bool done = false; !done; n++) {
        char name[16], uri[32];
        snprintf(name, sizeof name, "k%u", n);
        snprintf(uri, sizeof uri, "fault://%s", name);
        world_mkdir(world_path(w, name));
        world_close(w);
        pid_t pid = fork();
        if (pid == 0) {
            struct drv_fault *fault;
            struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES,
                .after = n / 2,
                .times = 1,
                .action = DRV_FAULT_KILL,
                .late = n % 2};
            world_open(w);
            if (drv_fault_create(&fault) || drv_fault_serve(fault, name, world_path(w, name)) ||
                drv_fault_add(fault, &rule, NULL))
                _exit(2);
            _exit(world_try_add(w, uri) ? 1 : 0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        done = WIFEXITED(status);
        if (done)
            assert_int_equal(WEXITSTATUS(status), 0);
        world_open(w);
        if (done)
            break;
        assert_int_equal(w->pool->ndrives, n);
        assert_ok(world_try_add(w, world_path(w, name)));
        assert_int_equal(pool_drive_by_name(w->pool, name)->presence, POOL_PRESENT);
    }
    assert_true(n >= 2 * 8);
}

/* Any change fails once: the add fails, or does not mind; the next one succeeds. */
static void test_failing(void **state)
{
    struct world *w = *state;
    unsigned n = 0;
    for (bool hit = true; hit; n++) {
        char name[16], uri[32], mem[32];
        unsigned id;
        snprintf(name, sizeof name, "f%u", n);
        snprintf(uri, sizeof uri, "fault://%s", name);
        snprintf(mem, sizeof mem, "mem://%s", name);
        struct drv_fault_rule rule = {
            .after = n, .times = 1, .action = DRV_FAULT_ERROR, .err = MRMR_IO};
        struct drv_fault *fault;
        assert_ok(drv_fault_create(&fault));
        assert_ok(drv_fault_serve(fault, name, mem));
        assert_ok(drv_fault_add(fault, &rule, &id));
        mrmr_err err = world_try_add(w, uri);
        hit = drv_fault_hits(fault, id) > 0;
        drv_fault_clear(fault);
        if (err) {
            assert_int_equal(err, MRMR_IO);
            mrmr_err again = world_try_add(w, uri);
            /* It may have come into the catalog, and failed to answer afterwards. */
            assert_true(again == MRMR_OK || again == MRMR_EXISTS);
        }
        assert_int_equal(w->pool->ndrives, n + 1);
        drv_fault_destroy(fault);
    }
    assert_true(n > 15);
}

static void test_read_only(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0)
        skip_for("to become another user takes root");
    world_mkdir(world_path(w, "a"));
    assert_int_equal(chmod(w->dir, 0755), 0);
    assert_int_equal(chmod(world_path(w, "a"), 0555), 0);
    pid_t pid = fork();
    if (pid == 0) { /* root may write anywhere: somebody else asks */
        if (setuid(65534))
            _exit(9);
        mrmr_err err = world_try_add(w, world_path(w, "a"));
        const struct mrmr_story *story = mrmr_story_get();
        _exit(err == MRMR_READONLY && strstr(story->text, "read-only") && story->hint[0] ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);

    assert_int_equal(chmod(world_path(w, "a"), 0), 0);
    pid = fork();
    if (pid == 0) {
        if (setuid(65534))
            _exit(9);
        mrmr_err err = world_try_add(w, world_path(w, "a"));
        _exit(mrmr_class_of(err) == MRMR_CLASS_DENIED && mrmr_story_get()->hint[0] ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
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
        WORLD_TEST(test_add),
        WORLD_TEST(test_words),
        WORLD_TEST(test_bad_roots),
        WORLD_TEST(test_places),
        WORLD_TEST(test_known),
        WORLD_TEST(test_unmounted),
        WORLD_TEST(test_moved),
        WORLD_TEST(test_retired),
        WORLD_TEST(test_ahead),
        WORLD_TEST(test_killed),
        WORLD_TEST(test_failing),
        WORLD_TEST(test_read_only),
    };
    return cmocka_run_group_tests_name("pool_drive_add", tests, NULL, NULL);
}
