/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

static int64_t clock_now(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return mrmr_clock_from_timespec(&ts);
}

int64_t mrmr_clock_real(void)
{
    return clock_now(CLOCK_REALTIME);
}

int64_t mrmr_clock_monotonic(void)
{
    return clock_now(CLOCK_MONOTONIC);
}

int64_t mrmr_clock_boot(void)
{
    return clock_now(CLOCK_BOOTTIME);
}

int64_t mrmr_clock_from_timespec(const struct timespec *ts)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)ts->tv_sec, MRMR_NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
        return ts->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

struct timespec mrmr_clock_to_timespec(int64_t ns)
{
    int64_t s = ns / MRMR_NS_PER_S, rest = ns % MRMR_NS_PER_S;
    if (rest < 0) {
        rest += MRMR_NS_PER_S;
        s--;
    }
    return (struct timespec){.tv_sec = s, .tv_nsec = rest};
}
