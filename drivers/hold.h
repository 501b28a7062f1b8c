/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What must last until every op that was begun for it has ended, also one that its caller has given
 * up and that hangs in the kernel (guard.h).
 *
 *     drv_hold_begin(&hold, ended);     ops of this thread are begun for it
 *     ...
 *     drv_hold_end();                   no more; ended() is called now, or when the last op has ended
 *
 * It is the caller's memory, which ended() may free. A thread has one at a time.
 *
 * Threads: ended() is called once, by the thread on which the last of it ended, without a lock of
 * the drivers'.
 */
#ifndef MRMR_DRIVERS_HOLD_H
#define MRMR_DRIVERS_HOLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drv_hold {
    atomic_uint refs; /* whoever began it, and each op */
    void (*ended)(struct drv_hold *hold);
    /* Whose ops were given up, as their drivers name them, each once; of the thread that began it. */
    int64_t *drive; /* freed before it ends */
    size_t ndrives;
    bool more; /* and one without a name, or one that there was no memory for */
};

void drv_hold_begin(struct drv_hold *hold, void (*ended)(struct drv_hold *hold));
void drv_hold_end(void);
struct drv_hold *drv_hold_own(void); /* this thread's; NULL: none */
/* Ops of it go on, whose caller has given them up. Asked by whoever began it, outside of an op: false
 * does not change any more. */
bool drv_hold_goes_on(const struct drv_hold *hold);

/* For drivers, on the thread that began it: an op on this drive was given up (0: one without a name). */
void drv_hold_gave_up(int64_t drive);
/* One more op is begun for it, and has ended; NULL is fine. */
struct drv_hold *drv_hold_share(struct drv_hold *hold);
void drv_hold_put(struct drv_hold *hold);

#endif
