/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which lost drive is brought to other drives by itself, and when.
 */
#include "tests/unit/base_check.h"
#include "tools/auto_rebuild.h"

#include "base/clock.h"
#include <stdio.h>
#include <string.h>

#define S MRMR_NS_PER_S
enum { MINUTE = 60, HOUR = 3600, DAY = 24 * HOUR, DELAY = 6 * HOUR };
static const int64_t start = 1000 * S;

struct look {
    const char *blue, *green; /* NULL: it is none of the pool's */
    const char *on;
    uint64_t redundancy, room, only, bytes;
};

static const struct look usual = {"lost", "present", "on", 1, 1000, 0, 500};

static void line(struct auto_rebuild *ar, const char *key, unsigned long long value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", value);
    auto_rebuild_line(ar, key, text);
}

static void look(struct auto_rebuild *ar, int64_t now, const struct look *l)
{
    char text[200];
    auto_rebuild_look(ar);
    auto_rebuild_line(ar, "settle", "60");
    auto_rebuild_line(ar, "auto-rebuild", l->on);
    line(ar, "auto-rebuild-delay", DELAY);
    line(ar, "redundancy", l->redundancy);
    line(ar, "storable", l->room);
    snprintf(text, sizeof text, "11-22 %s %llu %llu the blue=one", l->blue,
        (unsigned long long)l->only, (unsigned long long)l->bytes);
    if (l->blue)
        auto_rebuild_line(ar, "drive", text);
    snprintf(text, sizeof text, "33-44 %s 0 10 green", l->green);
    if (l->green)
        auto_rebuild_line(ar, "drive", text);
    auto_rebuild_looked(ar, now);
}

static enum auto_rebuild_job due(const struct auto_rebuild *ar, int64_t now, int64_t again)
{
    const char *name = "";
    int64_t at;
    enum auto_rebuild_job job = auto_rebuild_due(ar, now, &name, &at);
    assert_true(at == again);
    if (job == AUTO_REBUILD_BEGIN)
        assert_string_equal(name, "the blue=one");
    return job;
}

/* Lost for all that time, and never due. */
static void never(const struct look *l)
{
    struct auto_rebuild ar = {.on = false};
    for (int64_t t = 0; t <= 2 * DELAY; t += HOUR)
        look(&ar, start + t * S, l);
    assert_int_equal(due(&ar, start + 2 * DELAY * S, INT64_MAX), AUTO_REBUILD_NONE);
}

static void test_after_the_delay(void **state)
{
    struct auto_rebuild ar = {.on = false};
    const int64_t at = start + DELAY * S;
    (void)state;
    assert_int_equal(due(&ar, start, INT64_MAX), AUTO_REBUILD_NONE); /* nothing is known */
    look(&ar, start, &usual);
    assert_int_equal(due(&ar, start, at), AUTO_REBUILD_NONE);
    look(&ar, start + 5 * HOUR * S, &usual);
    assert_int_equal(due(&ar, at - 1, at), AUTO_REBUILD_NONE);
    assert_int_equal(due(&ar, at, at), AUTO_REBUILD_LOOK); /* an hour ago it was lost */
    look(&ar, at, &usual);
    assert_int_equal(due(&ar, at, at), AUTO_REBUILD_BEGIN);
    assert_int_equal(due(&ar, at + MINUTE * S, at), AUTO_REBUILD_BEGIN);
    assert_int_equal(due(&ar, at + MINUTE * S + 1, at), AUTO_REBUILD_LOOK);
}

static void test_it_comes_back(void **state)
{
    struct auto_rebuild ar = {.on = false};
    struct look there = usual, none = usual;
    const int64_t later = start + 5 * HOUR * S;
    (void)state;
    there.blue = "present";
    none.blue = NULL;
    look(&ar, start, &usual);
    look(&ar, start + HOUR * S, &there);
    assert_int_equal(due(&ar, start + DELAY * S, INT64_MAX), AUTO_REBUILD_NONE);
    look(&ar, later, &usual);
    assert_int_equal(due(&ar, start + DELAY * S, later + DELAY * S), AUTO_REBUILD_NONE);
    look(&ar, later + HOUR * S, &none); /* it has left the pool, and another has its name */
    look(&ar, later + 2 * HOUR * S, &usual);
    assert_int_equal(
        due(&ar, later + DELAY * S, later + (2 * HOUR + DELAY) * S), AUTO_REBUILD_NONE);
}

static void test_what_speaks_against_it(void **state)
{
    struct look l = usual;
    (void)state;
    l.on = "off";
    never(&l);
    l = usual;
    l.blue = "detached";
    never(&l);
    l.blue = "diverged";
    never(&l);
    l.blue = "present";
    never(&l);
    l = usual;
    l.green = "lost"; /* two at once, of which one may be lost */
    never(&l);
    l.green = "out"; /* whatever it is with the other */
    never(&l);
    l = usual;
    l.blue = "out"; /* held, never looked through, or there and unreadable */
    never(&l);
    l = usual;
    l.only = 1;
    never(&l);
    l = usual;
    l.room = 499;
    never(&l);
}

static void test_two_of_two(void **state)
{
    struct auto_rebuild ar = {.on = false};
    struct look l = usual;
    (void)state;
    look(&ar, start, &l);
    l.green = "lost";
    l.redundancy = 2;
    look(&ar, start + DELAY * S, &l);
    assert_int_equal(due(&ar, start + DELAY * S, start + DELAY * S), AUTO_REBUILD_BEGIN);
}

static void test_begun_and_failing(void **state)
{
    struct auto_rebuild ar = {.on = false};
    struct look l = usual;
    int64_t now = start;
    (void)state;
    l.blue = "begun";
    l.only = 7;
    l.room = 0;
    l.green = "lost"; /* what can be had of it is, all the same */
    look(&ar, now, &l);
    assert_int_equal(due(&ar, now, 0), AUTO_REBUILD_BEGIN); /* at once */
    static const int hours[] = {1, 2, 4, 8, 16, 24, 24};
    for (size_t i = 0; i < sizeof hours / sizeof *hours; i++) {
        auto_rebuild_ended(&ar, "the blue=one", now, false);
        const int64_t at = now + hours[i] * HOUR * S;
        look(&ar, at - 1, &l);
        assert_int_equal(due(&ar, at - 1, at), AUTO_REBUILD_NONE);
        now = at;
        look(&ar, now, &l);
        assert_int_equal(due(&ar, now, now), AUTO_REBUILD_BEGIN);
    }
    l.blue = NULL;
    l.green = "present";
    look(&ar, now, &l);
    assert_int_equal(due(&ar, now, INT64_MAX), AUTO_REBUILD_NONE);
}

static void test_lines_that_are_none(void **state)
{
    static const char too_long[] = "11-22 lost 0 1 a name that is by far too long for any drive of "
                                   "any pool, and so is none of ours";
    static const char *const lines[] = {"", "x", "11-22", "11-22 lost", "11-22 lost 0",
        "11-22 lost 0 1", "11-22 lost 0 1 ", "11-22 lost many 1 blue", too_long};
    struct auto_rebuild ar = {.on = false};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        auto_rebuild_line(&ar, "drive", lines[i]);
    auto_rebuild_looked(&ar, start);
    assert_int_equal(ar.n, 0);
    char text[64];
    for (int i = 0; i < AUTO_REBUILD_DRIVES + 10; i++) {
        snprintf(text, sizeof text, "%d lost 0 1 d%d", i, i);
        auto_rebuild_line(&ar, "drive", text);
    }
    auto_rebuild_looked(&ar, start);
    assert_int_equal(ar.n, AUTO_REBUILD_DRIVES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_after_the_delay),
        cmocka_unit_test(test_it_comes_back),
        cmocka_unit_test(test_what_speaks_against_it),
        cmocka_unit_test(test_two_of_two),
        cmocka_unit_test(test_begun_and_failing),
        cmocka_unit_test(test_lines_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
