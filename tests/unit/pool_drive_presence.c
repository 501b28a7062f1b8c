/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is at a root (I5): away, foreign, diverged, failed; and that nothing on such a drive is
 * written.
 */
#include "pool/drive/drive.h"
#include "tests/unit/pool_drive_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct pool_drive *drive(struct world *w, const char *name)
{
    return pool_drive_by_name(w->pool, name);
}

/* Everything that may write to a drive refuses, and the tree is as it was. */
static void assert_untouched(struct world *w, const char *name, const char *root, mrmr_err err)
{
    mrmr_autofree char *before = world_tree(root);
    assert_int_equal(pool_drive_attach(w->pool, drive(w, name)), err);
    assert_int_equal(pool_drive_still_ours(w->pool, drive(w, name)), err);
    assert_int_equal(pool_drive_slack_keep(w->pool, drive(w, name)), err);
    assert_int_equal(pool_drive_slack_give(w->pool, drive(w, name)), err);
    assert_ok(pool_drive_detach(w->pool, drive(w, name)));
    assert_ok(pool_intents_settle(w->pool));
    world_close(w);
    world_open(w);
    world_close(w);
    mrmr_autofree char *after = world_tree(root);
    assert_string_equal(before, after);
    world_open(w);
}

static void test_missing(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "b")), 0);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_AWAY, "/a", "not there", "mount", "mrmr set drive.a.uri",
        "mrmr rebuild a");
    assert_null(drive(w, "a")->drv);
    assert_false(drive(w, "a")->meta.present);
    expect_failure(pool_drive_attach(w->pool, drive(w, "a")), MRMR_OFFLINE, "drive a", "/a");
    world_close(w);

    world_mkdir(world_path(w, "a"));
    world_open(w);
    expect_presence(drive(w, "a"), POOL_AWAY, "/a", "mount");
    world_close(w);
    assert_int_equal(access(world_path(w, "a/.mrmr"), F_OK), -1);

    assert_int_equal(rmdir(world_path(w, "a")), 0);
    world_write(world_path(w, "a"), "a file");
    world_open(w);
    expect_presence(drive(w, "a"), POOL_AWAY, "/a");
    world_close(w);

    assert_int_equal(unlink(world_path(w, "a")), 0);
    assert_int_equal(rename(world_path(w, "b"), world_path(w, "a")), 0);
    world_open(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_true(drive(w, "a")->meta.present);
}

/* Each change is told of once, however often the pool is opened, and by its owner alone. */
static void test_lost_and_returned(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    char text[512];
    world_add(w, "a");
    world_close(w);
    world_open(w);
    assert_int_equal(world_events(w, "drive-lost", NULL), 0);
    for (size_t round = 1; round <= 2; round++) {
        world_close(w);
        assert_int_equal(rename(world_path(w, "a"), world_path(w, "b")), 0);
        assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
        pool_close(look);
        for (unsigned i = 0; i < 2; i++) {
            world_open(w);
            assert_int_equal(world_events(w, "drive-lost", text), round);
            assert_int_equal(world_events(w, "drive-returned", NULL), round - 1);
            world_close(w);
        }
        assert_non_null(strstr(text, "drive a "));
        assert_non_null(strstr(text, "not there"));
        assert_int_equal(rename(world_path(w, "b"), world_path(w, "a")), 0);
        for (unsigned i = 0; i < 2; i++) {
            world_open(w);
            assert_int_equal(world_events(w, "drive-lost", NULL), round);
            assert_int_equal(world_events(w, "drive-returned", text), round);
            assert_non_null(strstr(text, "drive a "));
            world_close(w);
        }
        world_open(w);
    }
}

static void test_identity_removed(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_close(w);
    assert_int_equal(unlink(world_path(w, "a/.mrmr/drive")), 0);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_AWAY, ".mrmr/drive was removed", "mount");
    assert_untouched(w, "a", world_path(w, "a"), MRMR_OFFLINE);
}

static void test_identity_hostile(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_close(w);
    world_write(world_path(w, "a/.mrmr/drive"), "format=1\npool=x\n");
    world_open(w);
    expect_presence(drive(w, "a"), POOL_FAILED, "malformed", "check");
    assert_untouched(w, "a", world_path(w, "a"), MRMR_FORMAT);
    world_write(world_path(w, "a/.mrmr/drive"), "format=2\nnew=thing\n");
    world_close(w);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_FAILED, "newer version");
    assert_untouched(w, "a", world_path(w, "a"), MRMR_NEWER);
}

static void test_swapped(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "t")), 0);
    assert_int_equal(rename(world_path(w, "b"), world_path(w, "a")), 0);
    assert_int_equal(rename(world_path(w, "t"), world_path(w, "b")), 0);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_FOREIGN, "'a' and 'b' are swapped", "right way round");
    expect_presence(drive(w, "b"), POOL_FOREIGN, "'b' and 'a' are swapped");
    assert_untouched(w, "a", world_path(w, "a"), MRMR_CONFLICT);
    assert_untouched(w, "b", world_path(w, "b"), MRMR_CONFLICT);
    world_close(w);
    /* One of them only. */
    assert_int_equal(rename(world_path(w, "b"), world_path(w, "elsewhere")), 0);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_FOREIGN, "the drive 'b' is at", "where 'a' belongs",
        "mrmr set drive.a.uri");
    assert_int_equal(drive(w, "b")->presence, POOL_AWAY);
    /* The user's word puts it right. */
    assert_ok(pool_set(w->pool, "drive.a.uri", world_path(w, "elsewhere")));
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_ok(pool_set(w->pool, "drive.b.uri", world_path(w, "a")));
    assert_int_equal(drive(w, "b")->presence, POOL_PRESENT);
    world_close(w);
    world_open(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_int_equal(drive(w, "b")->presence, POOL_PRESENT);
}

static void test_other_pool(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    assert_ok(pool_create(world_path(w, "pool2")));
    struct pool *other = NULL;
    assert_ok(pool_open(world_path(w, "pool2"), POOL_OWN, "test", &other));
    world_mkdir(world_path(w, "b"));
    struct pool_drive_spec spec = {.uri = world_path(w, "b")};
    assert_ok(pool_drive_add(other, &spec));
    pool_close(other);
    world_close(w);
    assert_int_equal(rename(world_path(w, "a"), world_path(w, "t")), 0);
    assert_int_equal(rename(world_path(w, "b"), world_path(w, "a")), 0);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_FOREIGN, "another pool", "mount the right drive");
    assert_untouched(w, "a", world_path(w, "a"), MRMR_CONFLICT);
}

static void test_old_image(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_write(world_path(w, "a/file"), "one");
    world_close(w);
    world_copy(world_path(w, "a"), world_path(w, "image"));
    world_open(w);
    assert_ok(pool_drive_attach(w->pool, drive(w, "a")));
    world_close(w);
    world_remove(world_path(w, "a"));
    assert_int_equal(rename(world_path(w, "image"), world_path(w, "a")), 0);
    world_open(w);
    expect_presence(drive(w, "a"), POOL_DIVERGED, "old image", "mrmr rebuild a");
    assert_true(pool_drive_readable(drive(w, "a")));
    assert_untouched(w, "a", world_path(w, "a"), MRMR_DIVERGED);
    expect_presence(drive(w, "a"), POOL_DIVERGED, "old image");
}

/* A catalog restored from an old copy, or run from a second host, meets drives that are further on;
 * among its intents is one to drop a parity file that the drives count on by now. */
static void test_old_catalog(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    world_mkdir(world_path(w, "a/.mrmr/parity"));
    world_mkdir(world_path(w, "a/.mrmr/parity/3f"));
    world_write(world_path(w, "a/.mrmr/parity/3f/3f00000000000000000000000000000e-g7.0"),
        "a row that counts");
    world_write(world_path(w, "a/file"), "one");
    world_close(w);
    world_copy(world_path(w, "pool"), world_path(w, "old"));
    world_open(w);
    a = drive(w, "a");
    assert_ok(pool_drive_attach(w->pool, a));
    world_close(w);
    world_remove(world_path(w, "pool"));
    assert_int_equal(rename(world_path(w, "old"), world_path(w, "pool")), 0);

    struct meta *meta = NULL;
    struct mrmr_bytes path = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_fmt(&path, "%s/catalog.sqlite", world_path(w, "pool")));
    assert_ok(meta_open(path.data, 0, &meta));
    mrmr_bytes_free(&path);
    struct meta_intent intent = {.kind = META_INTENT_DROP,
        .drive = 1,
        .file = "parity/3f/3f00000000000000000000000000000e-g7.0"};
    struct meta_drive *drives = NULL;
    size_t n = 0;
    assert_ok(meta_drives(meta, &drives, &n));
    intent.drive = drives[0].id;
    meta_drives_free(drives, n);
    assert_ok(meta_intent_add(meta, &intent));
    meta_close(meta);

    mrmr_autofree char *before = world_tree(world_path(w, "a"));
    world_open(w);
    expect_presence(drive(w, "a"), POOL_DIVERGED, "restored from an old copy", "newest catalog");
    assert_untouched(w, "a", world_path(w, "a"), MRMR_DIVERGED);
    mrmr_autofree char *after = world_tree(world_path(w, "a"));
    assert_string_equal(before, after);
    /* Neither is it taken in anew. */
    expect_failure(world_try_add(w, world_path(w, "a")), MRMR_EXISTS, "'a'");
}

/* Both hosts in the same session number: the token tells. */
static void test_second_host(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_close(w);
    world_copy(world_path(w, "pool"), world_path(w, "host2"));
    struct pool *other = NULL;
    assert_ok(pool_open(world_path(w, "host2"), POOL_OWN, "test", &other));
    world_open(w);
    /* Both found it as they know it. The first that attaches has it. */
    assert_ok(pool_drive_attach(other, pool_drive_by_name(other, "a")));
    expect_failure(pool_drive_attach(w->pool, drive(w, "a")), MRMR_DIVERGED, "another computer");
    assert_untouched(w, "a", world_path(w, "a"), MRMR_DIVERGED);
    assert_ok(pool_drive_still_ours(other, pool_drive_by_name(other, "a")));
    pool_close(other);
}

/* Who looks read the catalog before the owner went on to other sessions, and looks at the drive after it. */
static void test_look_at_one_that_goes_on(void **state)
{
    struct world *w = *state;
    struct pool_drive *own = world_add(w, "red");
    struct pool *look;
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_int_equal(look->drives[0]->presence, POOL_PRESENT);
    assert_ok(pool_drive_attach(w->pool, own));
    assert_ok(pool_drive_detach(w->pool, own));
    assert_ok(pool_drive_attach(w->pool, own));
    pool_drive_look(look, look->drives[0]);
    assert_int_equal(look->drives[0]->presence, POOL_PRESENT);
    pool_close(look);
}

static void test_look(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    /* The process died between the drive and the catalog. */
    struct pool_identity identity = world_identity(world_path(w, "a"));
    identity.session.number++;
    memset(identity.session.token, 5, sizeof identity.session.token);
    a->meta.intended = identity.session;
    assert_ok(meta_drive_store(w->pool->meta, &a->meta));
    world_close(w);
    struct drv *drv = NULL;
    assert_ok(drv_open(world_path(w, "a"), &drv));
    assert_ok(pool_identity_write(drv, &identity));
    drv_close(drv);
    mrmr_autofree char *before = world_tree(world_path(w, "a"));
    struct pool *look = NULL;
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_int_equal(pool_drive_by_name(look, "a")->presence, POOL_PRESENT);
    assert_int_not_equal(pool_drive_attach(look, pool_drive_by_name(look, "a")), MRMR_OK);
    pool_close(look);
    mrmr_autofree char *after = world_tree(world_path(w, "a"));
    assert_string_equal(before, after);
    world_open(w);
    assert_int_equal(drive(w, "a")->presence, POOL_PRESENT);
    assert_true(pool_session_equal(&drive(w, "a")->meta.session, &identity.session));
    assert_int_equal(drive(w, "a")->meta.intended.number, 0);
}

static void test_views(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    world_close(w);
    assert_int_equal(rename(world_path(w, "b"), world_path(w, "x")), 0);
    world_open(w);
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n = 0;
    assert_ok(pool_drives(w->pool, &views, &n));
    assert_int_equal(n, 2);
    assert_string_equal(views[0].name, "a");
    assert_string_equal(views[0].role, "data");
    assert_string_equal(views[0].state, "active");
    assert_string_equal(views[0].uri, world_path(w, "a"));
    assert_string_equal(views[0].why, "");
    assert_true(views[0].total > 0);
    assert_true(views[0].seen > 0);
    assert_int_equal(views[1].presence, POOL_AWAY);
    assert_non_null(strstr(views[1].why, "mount"));
    assert_true(views[1].total > 0); /* as last seen */
    assert_int_not_equal(views[0].slot, views[1].slot);
    mrmr_autofree struct pool_drive_view *known = NULL;
    assert_ok(pool_drives_known(w->pool, &known, &n));
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) { /* but for what is counted, or asked of a drive */
        assert_memory_equal(&known[i], &views[i], offsetof(struct pool_drive_view, total));
        assert_int_equal(known[i].total, 0);
    }
}

int main(void)
{
#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_missing),
        WORLD_TEST(test_lost_and_returned),
        WORLD_TEST(test_identity_removed),
        WORLD_TEST(test_identity_hostile),
        WORLD_TEST(test_swapped),
        WORLD_TEST(test_other_pool),
        WORLD_TEST(test_old_image),
        WORLD_TEST(test_old_catalog),
        WORLD_TEST(test_second_host),
        WORLD_TEST(test_look_at_one_that_goes_on),
        WORLD_TEST(test_look),
        WORLD_TEST(test_views),
    };
    return cmocka_run_group_tests_name("pool_drive_presence", tests, NULL, NULL);
}
