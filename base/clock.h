/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Time: real time in nanoseconds since 1970 as int64 (good until 2262), monotonic nanoseconds for
 * durations: the first stands still while the computer sleeps, as what is done does, the other goes on, for what is due once in a while.
 * Their values are not of one kind.
 */
#ifndef MRMR_BASE_CLOCK_H
#define MRMR_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define MRMR_NS_PER_S INT64_C(1000000000)

int64_t mrmr_clock_real(void);
int64_t mrmr_clock_monotonic(void);
int64_t mrmr_clock_boot(void);

/* Saturates instead of overflowing. */
int64_t mrmr_clock_from_timespec(const struct timespec *ts);
struct timespec mrmr_clock_to_timespec(int64_t ns); /* tv_nsec is always 0…999,999,999 */

#endif
