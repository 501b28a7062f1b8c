/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Between two looks at what another thread, or another process, brings about. A loop that spins instead
 * takes the processor from the one it waits for, and from the tests beside it.
 */
#ifndef MRMR_TESTS_PAUSE_H
#define MRMR_TESTS_PAUSE_H

#include <time.h>

static inline void pause_a_while(void)
{
    nanosleep(&(const struct timespec){.tv_nsec = 500000}, NULL);
}

/* What is changed from now on has later times on a file system than what was changed before. */
static inline void a_tick_passes(void)
{
    struct timespec was, now;
    for (unsigned i = 0; i < 2; i++) {
        clock_gettime(CLOCK_REALTIME_COARSE, &was);
        do {
            pause_a_while();
            clock_gettime(CLOCK_REALTIME_COARSE, &now);
        } while (now.tv_sec == was.tv_sec && now.tv_nsec == was.tv_nsec);
    }
}

#endif
