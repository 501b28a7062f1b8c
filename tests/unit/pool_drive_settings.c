/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Settings: defaults, canonical forms, bounds, drives' settings, and redundancy against the drives
 * at hand.
 */
#include "tests/unit/pool_drive_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_setting(struct world *w, const char *key, const char *value)
{
    mrmr_autobytes struct mrmr_bytes got = MRMR_BYTES_INIT;
    assert_ok(pool_get(w->pool, key, &got));
    assert_string_equal(got.data ? got.data : "", value);
}

static const struct {
    const char *key, *value, *kept; /* NULL: refused */
} sets[] = {
    {"block-size", "8M", "8388608"},
    {"block-size", "8388608", "8388608"},
    {"block-size", "0", "0"},
    {"block-size", "1M", "1048576"},
    {"block-size", "1000000", NULL},
    {"block-size", "512K", NULL},
    {"block-size", "1G", NULL},
    {"block-size", "-1M", NULL},
    {"block-size", "", NULL},
    {"memory", "64M", "67108864"},
    {"memory", "1M", NULL},
    {"memory", "0", NULL},
    {"hold-percent", "1", "1"},
    {"hold-percent", "100", "100"},
    {"hold-percent", "101", NULL},
    {"hold-percent", "0", NULL},
    {"hold-percent", "30%", NULL},
    {"hold-files", "5", "5"},
    {"hold-files", "many", NULL},
    {"settle", "0", "0"},
    {"settle", "86400", "86400"},
    {"settle", "86401", NULL},
    {"settle", "10m", "600"},
    {"settle", "1d", "86400"},
    {"settle", "25h", NULL},
    {"settle", "1.5m", NULL},
    {"drive-timeout", "45", "45"},
    {"drive-timeout", "2m", "120"},
    {"drive-timeout", "2h", NULL},
    {"room-wait", "0", "0"},
    {"room-wait", "3600", "3600"},
    {"room-wait", "1h", "3600"},
    {"room-wait", "3601", NULL},
    {"retain-share", "1", "1"},
    {"retain-share", "101", NULL},
    {"worker", "paused", "paused"},
    {"worker", "off", NULL},
    {"worker-rate", "4M", "4194304"},
    {"worker-rate", "0", "0"},
    {"worker-rate", "1K", NULL},
    {"worker-rate", "fast", NULL},
    {"exposed-alarm", "12h", "43200"},
    {"exposed-alarm", "0", "0"},
    {"exposed-alarm", "59s", NULL},
    {"exposed-alarm", "-1h", NULL},
    {"remote-ttl", "1", "1"},
    {"remote-ttl", "3600", "3600"},
    {"remote-ttl", "0", NULL},
    {"remote-ttl", "3601", NULL},
    {"remote-ttl", "5s", "5"},
    {"remote-ttl", "0s", NULL},
    {"exclude", "*.tmp:cache/*", "*.tmp:cache/*"},
    {"exclude", "", ""},
    {"redundancy", "9", NULL},
    {"redundancy", "0", NULL},
    {"redundancy", "-1", NULL},
    {"redundancy", "two", NULL},
};

static void test_values(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        mrmr_err err = pool_set(w->pool, sets[i].key, sets[i].value);
        if (!sets[i].kept) {
            expect_failure(err, MRMR_INVALID, sets[i].value);
        } else {
            assert_ok(err);
            assert_setting(w, sets[i].key, sets[i].kept);
        }
    }
}

static void test_keys(void **state)
{
    struct world *w = *state;
    expect_failure(pool_set(w->pool, "colour", "red"), MRMR_INVALID, "colour", "mrmr get");
    expect_failure(pool_set(w->pool, "hold-file", "5"), MRMR_INVALID, "hold-file'", "hold-files",
        "hold-percent", "mrmr get");
    expect_failure(pool_set(w->pool, "worker-rat", "5"), MRMR_INVALID, "worker-rate", "mrmr get");
    mrmr_autobytes struct mrmr_bytes got = MRMR_BYTES_INIT;
    expect_failure(pool_get(w->pool, "colour", &got), MRMR_INVALID, "colour");
    expect_failure(pool_set(w->pool, "pool.uuid", "x"), MRMR_INVALID, "pool.uuid");
}

static void test_program(void **state)
{
    struct world *w = *state;
    char value[4200], program[300];
    snprintf(program, sizeof program, "%s", world_path(w, "hook"));
    world_write(program, "#!/bin/sh\n");
    expect_failure(pool_set(w->pool, "on-event", program), MRMR_INVALID, program, "on-event",
        "not be executed", "chmod +x");
    assert_int_equal(chmod(program, 0755), 0);
    char folder[300];
    snprintf(folder, sizeof folder, "%s", world_path(w, "pool"));
    assert_int_equal(chmod(folder, 0777), 0);
    expect_failure(
        pool_set(w->pool, "on-event", program), MRMR_DENIED, folder, "by everybody", "chmod go-w");
    assert_setting(w, "on-event", "");
    assert_int_equal(chmod(folder, 0700), 0);
    assert_ok(pool_set(w->pool, "on-event", program));
    assert_setting(w, "on-event", program);
    snprintf(value, sizeof value, " %s\tone  two", program);
    assert_ok(pool_set(w->pool, "on-event", value));
    assert_setting(w, "on-event", value);
    for (unsigned i = 0; i < 3; i++) {
        const char *const relative[] = {"hook", "./hook x", " "};
        expect_failure(pool_set(w->pool, "on-event", relative[i]), MRMR_INVALID, "on-event",
            "no absolute path", "/PATH/TO/PROGRAM");
    }
    expect_failure(pool_set(w->pool, "on-event", world_path(w, "nothing")), MRMR_INVALID,
        world_path(w, "nothing"), "not there", "set it again");
    expect_failure(pool_set(w->pool, "on-event", w->dir), MRMR_INVALID, w->dir, "no file");
    memset(value, 'x', sizeof value);
    value[0] = '/';
    value[sizeof value - 1] = '\0';
    expect_failure(pool_set(w->pool, "on-event", value), MRMR_INVALID, "on-event", "too long");
    assert_int_equal(unlink(program), 0); /* which changes nothing */
    snprintf(value, sizeof value, " %s\tone  two", program);
    assert_setting(w, "on-event", value);
    assert_ok(pool_set(w->pool, "on-event", ""));
    assert_setting(w, "on-event", "");
}

struct listed {
    size_t n, defaults;
    bool bad;
};

static mrmr_err list_setting(
    const char *key, const char *value, const char *meaning, bool is_default, void *arg)
{
    struct listed *listed = arg;
    listed->n++;
    listed->defaults += is_default;
    listed->bad = listed->bad || !key[0] || !meaning[0] || !value;
    return MRMR_OK;
}

static void test_list(void **state)
{
    struct world *w = *state;
    struct listed before = {0}, after = {0};
    assert_ok(pool_settings(w->pool, list_setting, &before));
    assert_int_equal(before.n, before.defaults);
    assert_true(before.n >= 5);
    world_add(w, "a");
    assert_ok(pool_set(w->pool, "memory", "32M"));
    assert_ok(pool_settings(w->pool, list_setting, &after));
    assert_int_equal(after.n, before.n + 6);
    assert_int_equal(after.defaults, before.n - 1 + 3);
    assert_false(after.bad);
}

static void test_drive_settings(void **state)
{
    struct world *w = *state;
    world_add(w, "a");
    world_add(w, "b");
    assert_ok(pool_set(w->pool, "drive.a.reserve", "10G"));
    assert_setting(w, "drive.a.reserve", "10737418240");
    assert_ok(pool_set(w->pool, "drive.a.domain", "shelf"));
    assert_ok(pool_set(w->pool, "drive.a.name", "a.b"));
    assert_setting(w, "drive.a.b.domain", "shelf");
    expect_failure(pool_set(w->pool, "drive.a.b.name", "b"), MRMR_EXISTS, "b");
    expect_failure(pool_set(w->pool, "drive.a.b.name", "x y"), MRMR_INVALID, "x y");
    expect_failure(pool_set(w->pool, "drive.none.reserve", "1"), MRMR_NO_DRIVE, "none");
    expect_failure(pool_set(w->pool, "drive.b.colour", "1"), MRMR_INVALID, "colour");
    expect_failure(pool_set(w->pool, "drive.b", "1"), MRMR_INVALID, "drive.b");
    expect_failure(pool_set(w->pool, "drive.b.max-usage", "lots"), MRMR_INVALID, "lots");
    expect_failure(pool_set(w->pool, "drive.b.role", "king"), MRMR_INVALID, "king");
    expect_failure(
        pool_set(w->pool, "drive.b.uri", world_path(w, "nowhere")), MRMR_NO_DRIVE, "nowhere");
    world_mkdir(world_path(w, "empty"));
    expect_failure(
        pool_set(w->pool, "drive.b.uri", world_path(w, "empty")), MRMR_OFFLINE, "holds no drive");
    expect_failure(
        pool_set(w->pool, "drive.b.uri", world_path(w, "a")), MRMR_CONFLICT, "not the drive 'b'");
    /* The new name reaches the drive with the next session. */
    assert_ok(pool_drive_attach(w->pool, pool_drive_by_name(w->pool, "a.b")));
    assert_string_equal(world_identity(world_path(w, "a")).name, "a.b");
    world_close(w);
    world_open(w);
    assert_setting(w, "drive.a.b.reserve", "10737418240");
    assert_int_equal(pool_drive_by_name(w->pool, "a.b")->presence, POOL_PRESENT);
}

static void test_redundancy(void **state)
{
    struct world *w = *state;
    assert_int_equal(pool_redundancy(w->pool), 1);
    expect_failure(
        pool_set_redundancy(w->pool, 2), MRMR_INVALID, "at least 3 drives", "has 0", "add a drive");
    world_add(w, "a");
    world_add(w, "b");
    world_add(w, "c");
    expect_failure(pool_set_redundancy(w->pool, 3), MRMR_INVALID, "redundancy 3",
        "at least 4 drives", "has 3");
    assert_ok(pool_set_redundancy(w->pool, 2));
    assert_int_equal(pool_redundancy(w->pool), 2);
    expect_failure(pool_set_redundancy(w->pool, 9), MRMR_INVALID, "9");
    /* Two of the three may hold parity, then one: that is too few. */
    assert_ok(pool_set(w->pool, "drive.a.role", "removable"));
    expect_failure(pool_set(w->pool, "drive.b.role", "removable"), MRMR_INVALID, "hold parity");
    assert_setting(w, "drive.b.role", "data");
    assert_int_equal(world_events(w, "redundancy", NULL), 1);
    world_close(w);
    world_open(w);
    assert_int_equal(pool_redundancy(w->pool), 2);
    assert_ok(pool_set(w->pool, "redundancy", "1"));
    assert_ok(pool_set(w->pool, "drive.b.role", "removable"));
}

static void test_block_size(void **state)
{
    struct world *w = *state;
    uint64_t bytes;
    assert_ok(pool_block_size(w->pool, &bytes));
    assert_int_equal(bytes, 32 << 20);
    struct pool_drive *a = world_add(w, "a"), *b = world_add(w, "b");
    a->meta.total = b->meta.total = UINT64_C(1) << 40;
    assert_ok(pool_block_size(w->pool, &bytes));
    assert_int_equal(bytes, 32 << 20);
    b->meta.total = UINT64_C(3) << 30; /* a 256th is 12 MiB */
    assert_ok(pool_block_size(w->pool, &bytes));
    assert_int_equal(bytes, 8 << 20);
    b->meta.total = 1 << 20;
    assert_ok(pool_block_size(w->pool, &bytes));
    assert_int_equal(bytes, 1 << 20);
    assert_ok(pool_set(w->pool, "block-size", "5M"));
    assert_ok(pool_block_size(w->pool, &bytes));
    assert_int_equal(bytes, 5 << 20);
}

static void test_look_only(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_int_equal(pool_set(look, "memory", "32M"), MRMR_READONLY);
    assert_int_equal(pool_set_redundancy(look, 1), MRMR_READONLY);
    struct pool_drive_spec spec = {.uri = w->dir};
    assert_int_equal(pool_drive_add(look, &spec), MRMR_READONLY);
    pool_close(look);
}

int main(void)
{
#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_values),
        WORLD_TEST(test_keys),
        WORLD_TEST(test_program),
        WORLD_TEST(test_list),
        WORLD_TEST(test_drive_settings),
        WORLD_TEST(test_redundancy),
        WORLD_TEST(test_block_size),
        WORLD_TEST(test_look_only),
    };
    return cmocka_run_group_tests_name("pool_drive_settings", tests, NULL, NULL);
}
