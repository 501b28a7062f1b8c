/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/bytes.h"

#include "tests/unit/base_check.h"

static void appends_join_and_stay_terminated(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&b, "one"));
    assert_ok(mrmr_bytes_add(&b, "\0x", 2));
    assert_ok(mrmr_bytes_add(&b, NULL, 0));
    assert_ok(mrmr_bytes_fmt(&b, " %d %s", 42, "two"));
    assert_int_equal(b.size, 12);
    assert_memory_equal(b.data, "one\0x 42 two", 13);
}

static void it_grows_past_any_first_size(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    for (unsigned i = 0; i < 100000; i++) {
        char byte = (char)(i % 251);
        assert_ok(mrmr_bytes_add(&b, &byte, 1));
    }
    assert_int_equal(b.size, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal((unsigned char)b.data[i], i % 251);
    assert_int_equal(b.data[b.size], 0);
}

static void a_failed_append_leaves_it_unchanged(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&b, "kept"));
    char *data = b.data;
    assert_err(mrmr_bytes_reserve(&b, SIZE_MAX), MRMR_NOMEM);
    assert_err(mrmr_bytes_reserve(&b, SIZE_MAX / 2 - b.size), MRMR_NOMEM);
    assert_err(mrmr_bytes_add(&b, "x", SIZE_MAX - 2), MRMR_NOMEM);
    assert_ptr_equal(b.data, data);
    assert_int_equal(b.size, 4);
    assert_string_equal(b.data, "kept");
}

static void clear_keeps_the_memory_and_free_gives_it_back(void **state)
{
    (void)state;
    struct mrmr_bytes b = MRMR_BYTES_INIT;
    mrmr_bytes_clear(&b);
    assert_ok(mrmr_bytes_str(&b, "something"));
    char *data = b.data;
    mrmr_bytes_clear(&b);
    assert_ptr_equal(b.data, data);
    assert_int_equal(b.size, 0);
    assert_string_equal(b.data, "");
    mrmr_bytes_free(&b);
    assert_null(b.data);
    assert_ok(mrmr_bytes_str(&b, "again"));
    assert_string_equal(b.data, "again");
    mrmr_bytes_free(&b);
}

static void reserve_makes_room_without_moving_later(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_reserve(&b, 5000));
    char *data = b.data;
    for (unsigned i = 0; i < 1000; i++)
        assert_ok(mrmr_bytes_str(&b, "12345"));
    assert_ptr_equal(b.data, data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_join_and_stay_terminated),
        cmocka_unit_test(it_grows_past_any_first_size),
        cmocka_unit_test(a_failed_append_leaves_it_unchanged),
        cmocka_unit_test(clear_keeps_the_memory_and_free_gives_it_back),
        cmocka_unit_test(reserve_makes_room_without_moving_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
