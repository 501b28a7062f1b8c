/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How fast this process may read and write files of drives, all of them together: for one that works in the background. A token
 * bucket, of which each read or write that is not small takes what it moved, and waits until that is there. Small ones (below
 * PACE_FREE: identities, footers) take nothing and never wait, so that what others wait for is not held up by it. What is copied within
 * a drive, names and syncs take nothing either. What goes through a decorator (guard.h) is counted twice: it is not for a mount.
 *
 * Threads: any call from any thread; the wait is each caller's own, with no lock held.
 */
#ifndef MRMR_DRIVERS_PACE_H
#define MRMR_DRIVERS_PACE_H

#include "base/thread.h"
#include <stdint.h>

enum { PACE_FREE = 64 << 10 };

/* Bytes a second; 0: as fast as can be. cancel (may be NULL): ends every wait; it must outlive the pace. Before what it is for
 * begins. */
void drv_pace_set(uint64_t rate, struct mrmr_cancel *cancel);
/* So much was moved. */
void drv_pace_take(uint64_t bytes);

#endif
