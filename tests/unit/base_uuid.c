/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/uuid.h"

#include "tests/unit/base_check.h"

static void made_ones_are_version_4_and_distinct(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct mrmr_uuid made[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        assert_ok(mrmr_uuid_make(&made[i]));
        assert_int_equal(made[i].bytes[6] >> 4, 4);
        assert_int_equal(made[i].bytes[8] >> 6, 2);
        for (unsigned j = 0; j < i; j++)
            assert_false(mrmr_uuid_equal(&made[i], &made[j]));
    }
}

static void print_and_parse_are_inverse(void **state)
{
    (void)state;
    struct mrmr_uuid uuid;
    for (unsigned i = 0; i < MRMR_UUID_SIZE; i++)
        uuid.bytes[i] = (uint8_t)(0x11 * i);
    char text[MRMR_UUID_TEXT];
    assert_ptr_equal(mrmr_uuid_print(&uuid, text), text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
    struct mrmr_uuid back;
    assert_true(mrmr_uuid_parse(text, &back));
    assert_true(mrmr_uuid_equal(&uuid, &back));
}

static void parse_refuses_every_other_form(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0", "00112233445566778899aabbccddeeff",
        "{00112233-4455-6677-8899-aabbccddeef}", "0011223-34455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeefg", " 0112233-4455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899_aabbccddeeff", "0x112233-4455-6677-8899-aabbccddeeff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mrmr_uuid uuid, before;
        memset(&uuid, 0x5a, sizeof uuid);
        before = uuid;
        assert_false(mrmr_uuid_parse(bad[i], &uuid));
        assert_true(mrmr_uuid_equal(&uuid, &before));
    }
}

static void random_fills_all_it_was_given(void **state)
{
    (void)state;
    /* A byte that is never written stays 0 in all eight rounds; by chance that happens once in
     * 2^64. */
    static uint8_t data[1000], seen[1000];
    for (unsigned round = 0; round < 8; round++) {
        memset(data, 0, sizeof data);
        assert_ok(mrmr_random(data, sizeof data));
        for (size_t i = 0; i < sizeof data; i++)
            seen[i] |= data[i];
    }
    for (size_t i = 0; i < sizeof seen; i++)
        assert_int_not_equal(seen[i], 0);
    assert_ok(mrmr_random(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_ones_are_version_4_and_distinct),
        cmocka_unit_test(print_and_parse_are_inverse),
        cmocka_unit_test(parse_refuses_every_other_form),
        cmocka_unit_test(random_fills_all_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
