/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

#include "tests/unit/base_check.h"

static void nanoseconds_and_timespecs_are_inverse(void **state)
{
    (void)state;
    static const int64_t values[] = {0, 1, -1, 999999999, 1000000000, -999999999, -1000000000,
        -1000000001, INT64_C(1700000000123456789), INT64_C(-62135596800) * 100000007, INT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct timespec ts = mrmr_clock_to_timespec(values[i]);
        assert_in_range(ts.tv_nsec, 0, 999999999);
        assert_true(mrmr_clock_from_timespec(&ts) == values[i]);
    }
    struct timespec before = mrmr_clock_to_timespec(-1);
    assert_true(before.tv_sec == -1 && before.tv_nsec == 999999999);
}

static void it_saturates_instead_of_overflowing(void **state)
{
    (void)state;
    struct timespec late = {.tv_sec = INT64_MAX, .tv_nsec = 999999999};
    struct timespec early = {.tv_sec = INT64_MIN, .tv_nsec = 0};
    struct timespec edge = mrmr_clock_to_timespec(INT64_MAX);
    edge.tv_nsec++;
    assert_true(mrmr_clock_from_timespec(&late) == INT64_MAX);
    assert_true(mrmr_clock_from_timespec(&early) == INT64_MIN);
    assert_true(mrmr_clock_from_timespec(&edge) == INT64_MAX);
    struct timespec first = mrmr_clock_to_timespec(INT64_MIN);
    assert_in_range(first.tv_nsec, 0, 999999999);
}

static void real_time_is_the_system_s(void **state)
{
    (void)state;
    struct timespec before, after;
    clock_gettime(CLOCK_REALTIME, &before);
    int64_t now = mrmr_clock_real();
    clock_gettime(CLOCK_REALTIME, &after);
    assert_true(mrmr_clock_from_timespec(&before) <= now);
    assert_true(now <= mrmr_clock_from_timespec(&after));
}

static void monotonic_time_moves_and_never_back(void **state)
{
    (void)state;
    int64_t start = mrmr_clock_monotonic(), last = start;
    while (last == start) { /* ends as soon as the clock ticks */
        int64_t now = mrmr_clock_monotonic();
        assert_true(now >= last);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nanoseconds_and_timespecs_are_inverse),
        cmocka_unit_test(it_saturates_instead_of_overflowing),
        cmocka_unit_test(real_time_is_the_system_s),
        cmocka_unit_test(monotonic_time_moves_and_never_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
