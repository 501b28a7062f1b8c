/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The folders of a drive that are followed: what is added, removed with all below it, and what is not there any more when all was looked through anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool/drive/hear.h"
#include <stdio.h>
#include <string.h>

#define assert_ok(expr) assert_int_equal(expr, MRMR_OK)

static void count_gone(uint64_t key, void *arg)
{
    (void)key;
    ++*(size_t *)arg;
}

static bool has(const struct hear_folders *folders, const char *path)
{
    const char *found = hear_folders_path(folders, hear_folders_key(path));
    return found && strcmp(found, path) == 0;
}

static void test_removed_with_what_is_below(void **state)
{
    struct hear_folders folders = {.n = 0};
    size_t gone = 0;
    (void)state;
    assert_ok(hear_folders_add(&folders, ""));
    assert_ok(hear_folders_add(&folders, "a"));
    assert_ok(hear_folders_add(&folders, "a/b"));
    assert_ok(hear_folders_add(&folders, "ab"));
    hear_folders_remove(&folders, "a", count_gone, &gone);
    assert_int_equal(gone, 2);
    assert_true(has(&folders, "") && has(&folders, "ab"));
    assert_false(has(&folders, "a") || has(&folders, "a/b"));
    hear_folders_clear(&folders);
}

static void test_swept(void **state)
{
    struct hear_folders folders = {.n = 0};
    size_t gone = 0;
    char path[32];
    (void)state;
    for (int i = 0; i < HEAR_FOLDERS_MOST; i++) {
        snprintf(path, sizeof path, "%d", i);
        assert_ok(hear_folders_add(&folders, path));
    }
    assert_int_equal(hear_folders_add(&folders, "more"), MRMR_SPACE);
    hear_folders_begin(&folders);
    assert_ok(hear_folders_add(&folders, "7"));
    assert_int_equal(hear_folders_add(&folders, "more"), MRMR_SPACE);
    hear_folders_sweep(&folders, count_gone, &gone);
    assert_int_equal(gone, HEAR_FOLDERS_MOST - 1);
    assert_ok(hear_folders_add(&folders, "more"));
    assert_true(folders.n == 2 && has(&folders, "7") && has(&folders, "more"));
    hear_folders_sweep(&folders, count_gone, &gone);
    assert_int_equal(folders.n, 2);
    hear_folders_clear(&folders);
}

static void test_kept_with_what_is_below(void **state)
{
    struct hear_folders folders = {.n = 0};
    size_t gone = 0;
    (void)state;
    hear_folders_keep(&folders, "none");
    assert_ok(hear_folders_add(&folders, ""));
    assert_ok(hear_folders_add(&folders, "a"));
    assert_ok(hear_folders_add(&folders, "a/b"));
    assert_ok(hear_folders_add(&folders, "ab"));
    hear_folders_begin(&folders);
    assert_ok(hear_folders_add(&folders, ""));
    hear_folders_keep(&folders, "a");
    hear_folders_keep(&folders, "none");
    hear_folders_sweep(&folders, count_gone, &gone);
    assert_int_equal(gone, 1);
    assert_true(has(&folders, "") && has(&folders, "a") && has(&folders, "a/b"));
    assert_false(has(&folders, "ab") || has(&folders, "none"));
    hear_folders_clear(&folders);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_with_what_is_below),
        cmocka_unit_test(test_swept),
        cmocka_unit_test(test_kept_with_what_is_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
