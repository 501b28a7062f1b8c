/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Copies of the catalog that are damaged, foreign or hostile: they are told from whole ones, replaced, and
 * never believed.
 */
#include "catalog_same.h"
#include "pool_catalog_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void flip(const char *path, off_t at, unsigned char mask)
{
    unsigned char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void keep(struct world *w, const char *name)
{
    char command[3000];
    snprintf(command, sizeof command, "sqlite3 '%s' \"VACUUM INTO '%s'\"", catalog_path(w),
        world_path(w, name));
    catalog_run(command);
}

/* By another reader of gzip. */
static bool says_the_same(const char *good, const char *damaged)
{
    char command[9000];
    snprintf(command, sizeof command,
        "bash -c \"cmp -s <(zcat < '%s') <(zcat < '%s' 2>/dev/null)\"", good, damaged);
    return system(command) == 0;
}

/* Each byte of a log flipped, and it cut at each length: it is used whole or not at all, and what
 * is left is the state before it. Never a crash, never half of it. */
static void damaged_logs(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_change(w);
    catalog_copy_now(w);
    catalog_change(w);
    catalog_copy_now(w);
    keep(w, "before.sqlite");
    catalog_change(w);
    catalog_copy_now(w);
    struct catalog_has h = catalog_has(w, "a");
    char good[640];
    snprintf(good, sizeof good, "%s", world_path(w, "good"));
    world_copy(h.log_path, good);
    off_t size = size_of(good);
    for (off_t at = 0; at < 2 * size; at += 1 + size / 40) {
        if (at < size)
            flip(h.log_path, at, (unsigned char)(1u << (at % 8)));
        else
            assert_int_equal(truncate(h.log_path, at - size), 0);
        mrmr_err err = catalog_restore(w, world_path(w, "a"));
        assert_ok(err);
        /* A flip in the gzip header (time, system), or of bits behind the last code of a part, is no damage. */
        if (!catalog_same(catalog_path(w), catalog_again(w))) {
            const char *event = catalog_event(w);
            if (!strstr(event, "catalog-restored") || !strstr(event, "log-"))
                fail_msg("no word of it: %s", event);
            char command[3000];
            snprintf(command, sizeof command,
                "sqlite3 '%s' \"DELETE FROM event WHERE kind = 'catalog-restored'; "
                "UPDATE sqlite_sequence SET seq = coalesce((SELECT max(id) FROM event), 0) "
                "WHERE name = 'event'\"",
                catalog_again(w));
            catalog_run(command);
            catalog_assert_same(world_path(w, "before.sqlite"), catalog_again(w));
        } else if (!says_the_same(good, h.log_path)) {
            fail_msg("the damage at %ld of %ld was not found", (long)at, (long)size);
        }
        unlink(h.log_path);
        world_copy(good, h.log_path);
    }
    catalog_assert_restores(w, "a");
}

/* One byte of a base, and the end of a log: a scrub finds each, and the drive has a whole chain
 * again; its neighbour's stays. */
static void damaged_copies_are_replaced(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    catalog_copy_now(w);
    catalog_change(w);
    catalog_copy_now(w);
    catalog_change(w);
    catalog_copy_now(w);
    struct catalog_has a = catalog_has(w, "a"), b = catalog_has(w, "b");
    for (unsigned i = 0; i < 2; i++) {
        const char *path = i ? a.log_path : a.base_path;
        uint64_t damaged = 7;
        if (i)
            assert_int_equal(truncate(path, size_of(path) - 3), 0);
        else
            flip(path, size_of(path) / 2, 1);
        assert_ok(pool_catalog_copy(w->pool, &catalog_job, POOL_COPIES_VERIFIED, &damaged));
        assert_int_equal(damaged, 1);
        assert_ok(pool_catalog_copy(w->pool, &catalog_job, POOL_COPIES_VERIFIED, &damaged));
        assert_int_equal(damaged, 0);
        assert_ok(catalog_restore(w, world_path(w, "a")));
        catalog_change(w);
        catalog_copy_now(w);
        a = catalog_has(w, "a");
    }
    assert_true(catalog_has(w, "b").base == b.base);
}

static void damaged_bases(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_change(w);
    catalog_copy_now(w);
    struct catalog_has h = catalog_has(w, "a");
    char good[640];
    snprintf(good, sizeof good, "%s", world_path(w, "good"));
    world_copy(h.base_path, good);
    off_t size = size_of(good);
    for (off_t at = 10; at < 2 * size; at += 1 + size / 40) {
        if (at < size)
            flip(h.base_path, at, (unsigned char)(1u << (at % 8)));
        else
            assert_int_equal(truncate(h.base_path, at - size), 0);
        mrmr_err err = catalog_restore(w, world_path(w, "a"));
        if (err || at >= size) {
            assert_int_equal(mrmr_class_of(err), MRMR_CLASS_CORRUPT);
            assert_int_equal(access(catalog_again(w), F_OK), -1);
        } else { /* a bit that says nothing: of a gzip header, or behind a last code */
            catalog_assert_same(catalog_path(w), catalog_again(w));
            unlink(catalog_again(w));
        }
        unlink(h.base_path);
        world_copy(good, h.base_path);
    }
    /* An older base that is whole is better than a newer one that is not. */
    char older[640];
    snprintf(older, sizeof older, "%s", h.base_path);
    keep(w, "before.sqlite");
    catalog_change(w);
    world_remove(h.base_path);
    catalog_copy_now(w);
    world_copy(good, older);
    catalog_assert_has(w, "a", 2, 0);
    flip(catalog_has(w, "a").base_path, size / 2, 0x10);
    assert_ok(catalog_restore(w, world_path(w, "a")));
    assert_non_null(strstr(catalog_event(w), "base-"));
}

/* gzip'd text that is no copy, one of another pool, of another sequence, with more behind its end,
 * or a missing link. */
static void foreign_copies(void **state)
{
    struct world *w = *state;
    static const char *const edits[] = {
        "/^-- pool/y/0123456789abcdef/123456789abcdef0/",
        "s/^-- sequence .*/-- sequence 5/",
        "s/^-- kind base/-- kind log/",
        "s/format 1/format 2/",
        "/^-- pool/d",
        "/^-- sequence/d",
        "/^-- kind/d",
        "s/^-- kind base/-- kind base\\n-- after 5/",
        "\\$d",
        "s/^-- end .*/-- end 5/",
        "\\$s/\\$/\\nBEGIN;/",
        "s/^COMMIT;/COMMIT;\\nDROP TABLE node;/",
        "s/^BEGIN;/BEGIN;\\nCREATE TRIGGER/;s/^INSERT INTO setting.*/ATTACH 'x' AS y;/",
        "s/^INSERT INTO setting VALUES('pool.uuid.*/&\\n&/",
        "1d",
        "d",
    };
    world_add(w, "a");
    catalog_copy_now(w);
    struct catalog_has h = catalog_has(w, "a");
    char command[3000];
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        snprintf(command, sizeof command,
            "cp '%s' '%s' && zcat '%s' | sed \"%s\" | gzip > '%s/x' && mv '%s/x' '%s'", h.base_path,
            world_path(w, "good"), h.base_path, edits[i], w->dir, w->dir, h.base_path);
        catalog_run(command);
        mrmr_err err = catalog_restore(w, world_path(w, "a"));
        if (mrmr_class_of(err) != MRMR_CLASS_CORRUPT && err != MRMR_NEWER)
            fail_msg("%s gave '%s'", edits[i], mrmr_err_name(err));
        assert_int_equal(access(catalog_again(w), F_OK), -1);
        snprintf(command, sizeof command, "mv '%s' '%s'", world_path(w, "good"), h.base_path);
        catalog_run(command);
    }
    catalog_assert_restores(w, "a");
    /* The link in the middle is gone: what came after it does not count. */
    keep(w, "before.sqlite");
    catalog_change(w);
    catalog_copy_now(w);
    struct catalog_has middle = catalog_has(w, "a");
    catalog_change(w);
    catalog_copy_now(w);
    world_remove(middle.log_path);
    assert_ok(catalog_restore(w, world_path(w, "a")));
    assert_non_null(strstr(catalog_event(w), "is missing"));
}

/* A megabyte of gzip can hold a gigabyte of text. */
static void bombs(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    catalog_copy_now(w);
    struct catalog_has h = catalog_has(w, "a");
    char command[3000];
    snprintf(command, sizeof command,
        "(zcat '%s' | sed '/^COMMIT/,$d'; yes \"INSERT INTO slot_used VALUES(7);\" | head -c "
        "300000000) | gzip -1 > '%s/x' && mv '%s/x' '%s'",
        h.base_path, w->dir, w->dir, h.base_path);
    catalog_run(command);
    assert_int_equal(mrmr_class_of(catalog_restore(w, world_path(w, "a"))), MRMR_CLASS_CORRUPT);
    snprintf(command, sizeof command, "head -c 400000000 /dev/zero | tr '\\0' '-' | gzip -1 > '%s'",
        h.base_path);
    catalog_run(command);
    assert_int_equal(mrmr_class_of(catalog_restore(w, world_path(w, "a"))), MRMR_CLASS_CORRUPT);
}

static void restore_refuses(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "empty");
    catalog_copy_now(w);
    world_remove(world_path(w, "empty/.mrmr/catalog"));
    expect_failure(
        catalog_restore(w, world_path(w, "empty")), MRMR_ABSENT, "no copy of the catalog");
    expect_failure(pool_catalog_restore(world_path(w, "pool"), world_path(w, "a")), MRMR_EXISTS,
        "there is a catalog");
    assert_int_equal(
        mrmr_class_of(catalog_restore(w, world_path(w, "nowhere"))), MRMR_CLASS_ABSENT);
    assert_true(pool_catalog_restore(world_path(w, "a/inside"), world_path(w, "a")) != MRMR_OK);
    assert_int_equal(access(world_path(w, "a/inside/catalog.sqlite"), F_OK), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(damaged_logs),
        TEST(damaged_copies_are_replaced),
        TEST(damaged_bases),
        TEST(foreign_copies),
        TEST(bombs),
        TEST(restore_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
