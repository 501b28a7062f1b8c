/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Copies of the catalog on the drives: what each drive has after jobs and absences, and that the catalog
 * comes back from any one of them, with our code and with zcat and sqlite3 alone.
 */
#include "catalog_same.h"
#include "pool_catalog_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- Chains --------------------------------------------------------------------------------------
 */

static void base_then_logs(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    catalog_assert_has(w, "a", 0, 0);
    catalog_copy_now(w);
    for (unsigned logs = 0; logs < 5; logs++) {
        catalog_assert_has(w, "a", 1, logs);
        catalog_assert_has(w, "b", 1, logs);
        catalog_assert_restores(w, "a");
        catalog_assert_restores(w, "b");
        catalog_change(w);
        catalog_copy_now(w);
    }
    struct stat st;
    assert_int_equal(stat(catalog_has(w, "a").base_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* The catalog that was restored is a pool's again: it opens, and its next copy is a base. */
static void restored_catalogs_go_on(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_copy_now(w);
    catalog_change(w);
    catalog_copy_now(w);
    int64_t upto = catalog_has(w, "a").upto;
    assert_ok(catalog_restore(w, world_path(w, "a")));
    catalog_assert_restores(w, "a");
    /* Copies were cut that the restored catalog does not know of. */
    catalog_change(w);
    catalog_copy_now(w);
    catalog_change(w);
    catalog_copy_now(w);
    assert_true(catalog_has(w, "a").upto > upto);
    upto = catalog_has(w, "a").upto;
    /* Attached, the drive is in the session that the copy knows; closing would go on to the next.
     */
    w->pool->drives[0]->attached = false;
    world_close(w);
    world_remove(world_path(w, "pool"));
    assert_int_equal(rename(world_path(w, "again"), world_path(w, "pool")), 0);
    world_open(w);
    assert_int_equal(w->pool->drives[0]->presence, POOL_PRESENT);
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 0);
    assert_true(catalog_has(w, "a").base > upto);
    catalog_assert_restores(w, "a");
}

static void no_change_writes_nothing(void **state)
{
    struct world *w = *state;
    struct pool_sync_report report;
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        world_add(w, names[i]);
        for (int k = 0; k < 20; k++) {
            char path[64];
            snprintf(path, sizeof path, "%s/f%d", names[i], k);
            world_write(world_path(w, path), path);
        }
    }
    assert_ok(pool_sync(w->pool, &catalog_job, NULL, &report));
    catalog_copy_now(w);
    world_close(w);
    for (int run_no = 0; run_no < 3; run_no++) {
        mrmr_autofree char *before[3] = {NULL};
        for (int i = 0; i < 3; i++)
            before[i] = world_tree(world_path(w, names[i]));
        world_open(w);
        assert_ok(pool_sync(w->pool, &catalog_job, NULL, &report));
        catalog_copy_now(w);
        world_close(w);
        for (int i = 0; i < 3; i++) {
            char *after = world_tree(world_path(w, names[i]));
            assert_string_equal(before[i], after);
            free(after);
        }
        for (int i = 1; i < 3; i++)
            free(before[i]);
    }
    world_open(w);
    world_write(world_path(w, "a/new"), "new");
    assert_ok(pool_sync(w->pool, &catalog_job, NULL, &report));
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 1);
    catalog_assert_restores(w, "a");
}

/* Closing copies onto the drives that were in use, so that an interrupted job loses nothing. */
static void closing_copies(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    world_add(w, "b");
    assert_ok(pool_drive_attach(w->pool, a));
    catalog_change(w);
    world_close(w);
    catalog_assert_has(w, "a", 1, 0);
    catalog_assert_has(w, "b", 0, 0);
    world_open(w);
    a = pool_drive_by_name(w->pool, "a");
    assert_ok(pool_drive_attach(w->pool, a));
    catalog_change(w);
    world_close(w);
    catalog_assert_has(w, "a", 1, 1);
    world_open(w);
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 1);
    catalog_assert_has(w, "b", 1, 0);
    assert_int_equal(catalog_has(w, "a").upto, catalog_has(w, "b").upto);
}

static void many_logs_make_a_base(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_copy_now(w);
    int64_t base = catalog_has(w, "a").base;
    for (unsigned i = 0; i < 64; i++) {
        catalog_change(w);
        catalog_copy_now(w);
    }
    catalog_assert_has(w, "a", 1, 64);
    assert_int_equal(catalog_has(w, "a").base, base);
    catalog_change(w);
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 0);
    catalog_assert_restores(w, "a");
}

static void large_logs_make_a_base(void **state)
{
    struct world *w = *state;
    struct pool_drive *a = world_add(w, "a");
    uint8_t noise[30000];
    catalog_copy_now(w);
    for (unsigned i = 0; i < 2; i++) {
        catalog_assert_has(w, "a", 1, i);
        catalog_change(w);
        assert_ok(mrmr_random(noise, sizeof noise));
        assert_ok(meta_attr_set(w->pool->meta, a->meta.root, noise, sizeof noise));
        catalog_copy_now(w);
    }
    catalog_assert_has(w, "a", 1, 2);
    catalog_change(w);
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 0);
    catalog_assert_restores(w, "a");
}

/* --- Drives that come and go --- */

static void away_and_back(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    catalog_copy_now(w);
    catalog_change(w);
    catalog_copy_now(w);
    world_close(w);
    assert_int_equal(rename(world_path(w, "b"), world_path(w, "aside")), 0);
    world_open(w);
    catalog_change(w);
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 2);
    world_close(w);
    assert_int_equal(rename(world_path(w, "aside"), world_path(w, "b")), 0);
    struct catalog_has old = catalog_has(w, "b");
    world_open(w);
    catalog_copy_now(w); /* nothing changed, but b is behind */
    catalog_assert_has(w, "a", 1, 2);
    catalog_assert_has(w, "b", 1, 0);
    assert_true(catalog_has(w, "b").base > old.upto);
    assert_int_equal(catalog_has(w, "b").upto, catalog_has(w, "a").upto);
    assert_ok(catalog_restore(w, world_path(w, "a")));
    catalog_change(w);
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 3);
    catalog_assert_has(w, "b", 1, 1);
    catalog_assert_restores(w, "a");
    catalog_assert_restores(w, "b");
}

/* A process that died before it copied: nobody knows what changed. */
static void a_killed_process_leaves_a_gap(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_copy_now(w);
    struct catalog_has before = catalog_has(w, "a");
    world_close(w);
    pid_t pid = fork();
    if (pid == 0) {
        w->pool = NULL;
        world_open(w);
        catalog_change(w);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    world_open(w);
    catalog_copy_now(w);
    catalog_assert_has(w, "a", 1, 0);
    assert_true(catalog_has(w, "a").base > before.upto);
    catalog_assert_restores(w, "a");
}

static void who_may_not_write_does_not(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_copy_now(w);
    catalog_change(w);
    world_close(w);
    /* Another catalog has taken the drive since: it diverged. */
    struct pool_identity identity = world_identity(world_path(w, "a"));
    identity.session.number += 7;
    struct drv *drv = NULL;
    assert_ok(drv_open(world_path(w, "a"), &drv));
    assert_ok(pool_identity_write(drv, &identity));
    drv_close(drv);
    mrmr_autofree char *before = world_tree(world_path(w, "a"));
    world_open(w);
    catalog_change(w);
    catalog_copy_now(w);
    world_close(w);
    mrmr_autofree char *after = world_tree(world_path(w, "a"));
    assert_string_equal(before, after);
    struct pool *look = NULL;
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_ok(pool_catalog_copy(look, &catalog_job, POOL_COPIES_ALL, NULL));
    pool_close(look);
    world_open(w);
}

/* Names of others in the folder, and temps of an interrupted round. */
static void strangers_in_the_folder(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_copy_now(w);
    struct catalog_has h = catalog_has(w, "a");
    char temp[640];
    snprintf(temp, sizeof temp, "%s~", h.base_path);
    world_write(temp, "half");
    world_write(world_path(w, "a/.mrmr/catalog/notes.txt"), "mine");
    world_write(world_path(w, "a/.mrmr/catalog/base-7.sql.gz"), "not a name of ours");
    world_mkdir(world_path(w, "a/.mrmr/catalog/base-999999999999.sql.gz"));
    catalog_change(w);
    catalog_copy_now(w);
    assert_int_equal(access(temp, F_OK), 0); /* only a base cleans up */
    world_remove(h.base_path);
    catalog_copy_now(w);
    assert_int_equal(access(temp, F_OK), -1);
    assert_int_equal(access(world_path(w, "a/.mrmr/catalog/notes.txt"), F_OK), 0);
    assert_int_equal(access(world_path(w, "a/.mrmr/catalog/base-7.sql.gz"), F_OK), 0);
    assert_ok(catalog_restore(w, world_path(w, "a")));
    catalog_assert_same(catalog_path(w), catalog_again(w));
}

/* Runs the command in the folder of the drive's copies. */
static int in_copies(const struct world *w, const char *command)
{
    char line[1024];
    snprintf(line, sizeof line, "cd '%s' && %s", world_path(w, "a/.mrmr/catalog"), command);
    return system(line);
}

/* What a drive says is not run: it is in no copy, and one that has it all the same is not believed. */
static void on_event_is_not_restored(void **state)
{
    struct world *w = *state;
    struct pool *again = NULL;
    mrmr_autobytes struct mrmr_bytes kept = MRMR_BYTES_INIT, program = MRMR_BYTES_INIT;
    world_add(w, "a");
    assert_ok(pool_set(w->pool, "memory", "32M"));
    assert_ok(pool_set(w->pool, "on-event", "/bin/sh -c true"));
    catalog_copy_now(w);
    assert_int_equal(in_copies(w, "zcat *.gz | grep -q \"'memory'\""), 0);
    assert_int_not_equal(in_copies(w, "zcat *.gz | grep on-event"), 0);
    assert_int_equal(in_copies(w, "for f in *.gz; do zcat $f | "
                                  "sed \"s/^COMMIT/INSERT INTO setting VALUES('on-event','"
                                  "\\/bin\\/sh');\\n&/\" | gzip >x && mv x $f; done"),
        0);
    assert_int_equal(in_copies(w, "zcat *.gz | grep -q \"'on-event','/bin/sh'\""), 0);
    assert_ok(catalog_restore(w, world_path(w, "a")));
    assert_ok(pool_open(world_path(w, "again"), POOL_LOOK, "test", &again));
    assert_ok(pool_get(again, "on-event", &program));
    assert_int_equal(program.size, 0);
    assert_ok(pool_get(again, "memory", &kept));
    assert_string_equal(kept.data, "33554432");
    pool_close(again);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(base_then_logs),
        TEST(restored_catalogs_go_on),
        TEST(no_change_writes_nothing),
        TEST(closing_copies),
        TEST(many_logs_make_a_base),
        TEST(large_logs_make_a_base),
        TEST(away_and_back),
        TEST(a_killed_process_leaves_a_gap),
        TEST(who_may_not_write_does_not),
        TEST(strangers_in_the_folder),
        TEST(on_event_is_not_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
