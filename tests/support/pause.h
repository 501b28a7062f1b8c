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

#endif
