/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/text.h"

#include "base/uuid.h"
#include "tests/unit/base_check.h"

static void every_byte_survives_percent_encoding(void **state)
{
    (void)state;
    char all[255];
    for (unsigned i = 0; i < sizeof all; i++)
        all[i] = (char)(i + 1);
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT, back = MRMR_BYTES_INIT;
    assert_ok(mrmr_text_encode(&text, all, sizeof all));
    for (size_t i = 0; i < text.size; i++)
        assert_in_range((unsigned char)text.data[i], 0x21, 0x7e);
    assert_ok(mrmr_text_decode(&back, text.data, text.size));
    assert_int_equal(back.size, sizeof all);
    assert_memory_equal(back.data, all, sizeof all);
}

static void encoding_has_one_form(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&b, "path="));
    assert_ok(mrmr_text_encode(&b, "a/b c%\n\xff~!", 10));
    assert_string_equal(b.data, "path=a/b%20c%25%0A%FF~!");
    mrmr_bytes_clear(&b);
    assert_ok(mrmr_text_encode(&b, "", 0));
    assert_string_equal(b.data, "");
}

static void decoding_takes_either_case_and_appends(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&b, "x"));
    assert_ok(mrmr_text_decode(&b, "%0a%0A%fFy", 10));
    assert_int_equal(b.size, 5);
    assert_memory_equal(b.data, "x\n\n\xffy", 6);
}

static void decoding_refuses_what_encode_never_writes(void **state)
{
    (void)state;
    static const char *const bad[] = {"%", "a%", "%4", "%4", "%G0", "%0G", "%00", "a b", "tab\t",
        "\x7f", "\xc3\xa9", "%%41", "% 1", "%+1", "ok%2", "line\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
        assert_ok(mrmr_bytes_str(&b, "kept"));
        assert_err(mrmr_text_decode(&b, bad[i], strlen(bad[i])), MRMR_FORMAT);
        assert_int_equal(b.size, 4);
        assert_string_equal(b.data, "kept");
    }
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_err(mrmr_text_decode(&b, "%41", 2), MRMR_FORMAT); /* the third digit is not part of it */
    assert_err(mrmr_text_decode(&b, "a\0b", 3), MRMR_FORMAT);
}

static void hex_is_lower_case_and_exact(void **state)
{
    (void)state;
    const uint8_t data[4] = {0x00, 0x9f, 0xa0, 0xff};
    char hex[9];
    mrmr_text_hex(data, 4, hex);
    assert_string_equal(hex, "009fa0ff");
    uint8_t back[4] = {1, 2, 3, 4};
    assert_true(mrmr_text_unhex("009fA0Ff", 4, back));
    assert_memory_equal(back, data, 4);
    static const char *const bad[] = {"", "009fa0f", "009fa0f ", "0x9fa0ff", "009fa0fg"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(mrmr_text_unhex(bad[i], 4, back));
        assert_memory_equal(back, data, 4);
    }
}

static void unsigned_numbers_fill_the_string(void **state)
{
    (void)state;
    uint64_t value = 77;
    assert_true(mrmr_text_u64("0", &value) && value == 0);
    assert_true(mrmr_text_u64("18446744073709551615", &value) && value == UINT64_MAX);
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "a",
        "18446744073709551616", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        value = 77;
        assert_false(mrmr_text_u64(bad[i], &value));
        assert_true(value == 77);
    }
}

static void signed_numbers_reach_both_ends(void **state)
{
    (void)state;
    int64_t value = 77;
    assert_true(mrmr_text_i64("-9223372036854775808", &value) && value == INT64_MIN);
    assert_true(mrmr_text_i64("9223372036854775807", &value) && value == INT64_MAX);
    assert_true(mrmr_text_i64("-1", &value) && value == -1);
    assert_true(mrmr_text_i64("-0", &value) && value == 0);
    static const char *const bad[] = {
        "", "-", "--1", "+1", "- 1", "9223372036854775808", "-9223372036854775809", "1-"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        value = 77;
        assert_false(mrmr_text_i64(bad[i], &value));
        assert_true(value == 77);
    }
}

static void sizes_are_binary(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"4096", 4096}, {"4096B", 4096}, {"100K", 102400}, {"100k", 102400},
        {"1.5GiB", UINT64_C(1610612736)}, {"1.5 GiB", UINT64_C(1610612736)},
        {"1.5GB", UINT64_C(1610612736)}, {"20T", UINT64_C(20) << 40}, {"0", 0}, {"0.25M", 262144},
        {"15.999999999E", UINT64_C(18446744072556630111)}, {"18446744073709551615", UINT64_MAX},
        {"15E", UINT64_C(15) << 60}, {"1P", UINT64_C(1) << 50}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 77;
        if (!mrmr_text_size(good[i].text, &bytes) || bytes != good[i].bytes)
            fail_msg("'%s' gave %llu", good[i].text, (unsigned long long)bytes);
    }
    static const char *const bad[] = {"", "K", "-1K", "1.5", "1.5B", "1.K", ".5K", "1KK", "1Kx",
        "1X", "1 ", " 1", "1  K", "16E", "18446744073709551616", "1.0000000000K", "1,5K", "1iB",
        "9999999999P"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t bytes = 77;
        if (mrmr_text_size(bad[i], &bytes) || bytes != 77)
            fail_msg("'%s' was taken as %llu", bad[i], (unsigned long long)bytes);
    }
}

static void durations_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seconds;
    } good[] = {{"90s", 90}, {"15m", 900}, {"12h", 43200}, {"30d", 2592000}, {"2w", 1209600},
        {"5", 5}, {"0", 0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t seconds = 77;
        if (!mrmr_text_duration(good[i].text, &seconds) || seconds != good[i].seconds)
            fail_msg("'%s' gave %llu", good[i].text, (unsigned long long)seconds);
    }
    static const char *const bad[] = {
        "", "s", "-1s", "1.5h", "1y", "1 h", "1hh", "1h30m", "18446744073709551615w", "S"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t seconds = 77;
        if (mrmr_text_duration(bad[i], &seconds) || seconds != 77)
            fail_msg("'%s' was taken as %llu", bad[i], (unsigned long long)seconds);
    }
}

static void people_read_sizes_and_durations(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *text;
    } sizes[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"},
        {UINT64_C(1610612736), "1.5 GiB"}, {1048575, "1.0 MiB"}, {1047552, "1023 KiB"},
        {UINT64_C(100) << 20, "100 MiB"}, {UINT64_C(20) << 40, "20.0 TiB"},
        {UINT64_MAX, "16.0 EiB"}},
      durations[] = {{0, "0 s"}, {59, "59 s"}, {60, "1 min"}, {61, "1 min 1 s"},
          {7500, "2 h 5 min"}, {7201, "2 h"}, {86399, "23 h 59 min"}, {86400, "1 d"},
          {90000, "1 d 1 h"}};
    char buf[MRMR_TEXT_SHORT];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_string_equal(mrmr_text_print_size(sizes[i].value, buf), sizes[i].text);
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        assert_string_equal(mrmr_text_print_duration(durations[i].value, buf), durations[i].text);
    assert_string_equal(mrmr_text_print_duration(UINT64_MAX, buf), "213503982334601 d 7 h");
}

/* Well-formed and malformed sequences by the Unicode standard's table 3-7. */
static const struct {
    const char *text;
    bool good;
} utf8[] = {
    {"", true},
    {"plain", true},
    {"\xc2\x80", true},
    {"\xdf\xbf", true},
    {"\xe0\xa0\x80", true},
    {"\xed\x9f\xbf", true},
    {"\xee\x80\x80", true},
    {"\xef\xbf\xbf", true},
    {"\xf0\x90\x80\x80", true},
    {"\xf4\x8f\xbf\xbf", true},
    {"a\xc3\xa9z", true},
    {"\x80", false},
    {"\xbf", false},
    {"\xc0\xaf", false}, /* overlong */
    {"\xc1\xbf", false},
    {"\xe0\x9f\xbf", false},
    {"\xf0\x8f\xbf\xbf", false},
    {"\xed\xa0\x80", false}, /* a surrogate */
    {"\xed\xbf\xbf", false},
    {"\xf4\x90\x80\x80", false}, /* past the end */
    {"\xf5\x80\x80\x80", false},
    {"\xff", false},
    {"\xc3", false}, /* cut short */
    {"\xe2\x82", false},
    {"\xf0\x9f\x98", false},
    {"\xe2\x28\xa1", false},
    {"\xf0\x9f\x28\x80", false},
    {"\xf0\x9f\x98\x28", false},
};

static void utf8_is_judged_by_the_standard(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof utf8 / sizeof *utf8; i++)
        assert_int_equal(mrmr_text_is_utf8(utf8[i].text, strlen(utf8[i].text)), utf8[i].good);
    assert_false(mrmr_text_is_utf8("\xc3\xa9", 1)); /* the second byte is not part of it */
}

static void json_escapes_what_json_must(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    static const char odd[] = "a\"b\\c\n\t\r\b\f\x01\x1f\0z\xc3\xa9";
    assert_ok(mrmr_text_json(&b, odd, sizeof odd - 1));
    assert_string_equal(b.data, "\"a\\\"b\\\\c\\n\\t\\r\\b\\f\\u0001\\u001f\\u0000z\xc3\xa9\"");
    mrmr_bytes_clear(&b);
    assert_ok(mrmr_text_json(&b, "", 0));
    assert_string_equal(b.data, "\"\"");
}

static void json_and_terminal_text_are_utf8_whatever_comes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t noise[24];
        assert_ok(mrmr_random(noise, sizeof noise));
        mrmr_autobytes struct mrmr_bytes json = MRMR_BYTES_INIT, shown = MRMR_BYTES_INIT;
        assert_ok(mrmr_text_json(&json, (char *)noise, sizeof noise));
        assert_ok(mrmr_text_print(&shown, (char *)noise, sizeof noise));
        assert_true(mrmr_text_is_utf8(json.data, json.size));
        assert_true(mrmr_text_is_utf8(shown.data, shown.size));
        for (size_t i = 0; i < json.size; i++)
            assert_true((unsigned char)json.data[i] >= 0x20);
        for (size_t i = 0; i < shown.size; i++)
            assert_true((unsigned char)shown.data[i] >= 0x20);
    }
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_text_json(&b, "x\xffy", 3));
    assert_string_equal(b.data, "\"x\xef\xbf\xbdy\"");
}

static void a_terminal_sees_no_control_characters(void **state)
{
    (void)state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    static const char odd[] = "a\033[2J\\\xc3\xa9\xff\x7f\xc2\x9b";
    assert_ok(mrmr_text_print(&b, odd, sizeof odd - 1));
    assert_string_equal(b.data, "a\\x1b[2J\\\\\xc3\xa9\\xff\\x7f\\xc2\\x9b");
}

static void a_shell_takes_it_for_one_word(void **state)
{
    static const char *const words[][2] = {
        {"/mnt/pool-1.a_b", "/mnt/pool-1.a_b"},
        {"", "''"},
        {"a b", "'a b'"},
        {"it's", "'it'\\''s'"},
        {"$HOME`x`\\", "'$HOME`x`\\'"},
        {"~", "'~'"},
    };
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        mrmr_bytes_clear(&b);
        assert_ok(mrmr_text_shell(&b, words[i][0]));
        assert_string_equal(b.data, words[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_survives_percent_encoding),
        cmocka_unit_test(encoding_has_one_form),
        cmocka_unit_test(decoding_takes_either_case_and_appends),
        cmocka_unit_test(decoding_refuses_what_encode_never_writes),
        cmocka_unit_test(hex_is_lower_case_and_exact),
        cmocka_unit_test(unsigned_numbers_fill_the_string),
        cmocka_unit_test(signed_numbers_reach_both_ends),
        cmocka_unit_test(sizes_are_binary),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(people_read_sizes_and_durations),
        cmocka_unit_test(utf8_is_judged_by_the_standard),
        cmocka_unit_test(json_escapes_what_json_must),
        cmocka_unit_test(json_and_terminal_text_are_utf8_whatever_comes),
        cmocka_unit_test(a_terminal_sees_no_control_characters),
        cmocka_unit_test(a_shell_takes_it_for_one_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
