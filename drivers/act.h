/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Between drv_act_as() and the drivers: as whom this thread acts. Immutable and counted, so it may
 * go from thread to thread. Not for other folders.
 */
#ifndef MRMR_DRIVERS_ACT_H
#define MRMR_DRIVERS_ACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drv_act {
    bool lost;  /* there was no memory to keep who it is */
    bool bytes; /* driver.h */
    uint32_t uid, gid;
    const uint32_t *groups;
    size_t ngroups;
};

struct drv_act *drv_act_own(void); /* of this thread, borrowed; NULL: the process itself */
struct drv_act *drv_act_share(struct drv_act *act); /* one more reference; NULL is fine */
void drv_act_put(struct drv_act *act);              /* NULL-safe */
/* This thread acts so from now on; takes a reference of its own. */
void drv_act_set(struct drv_act *act);

#endif
