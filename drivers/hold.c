/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/hold.h"

#include <stddef.h>

static _Thread_local struct drv_hold *hold_own;

void drv_hold_begin(struct drv_hold *hold, void (*ended)(struct drv_hold *hold))
{
    hold->refs = 1;
    hold->ended = ended;
    hold->ndrives = 0;
    hold->more = false;
    hold_own = hold;
}

void drv_hold_end(void)
{
    struct drv_hold *hold = hold_own;
    hold_own = NULL;
    drv_hold_put(hold);
}

struct drv_hold *drv_hold_own(void)
{
    return hold_own;
}

bool drv_hold_goes_on(const struct drv_hold *hold)
{
    return atomic_load(&hold->refs) > 1;
}

void drv_hold_gave_up(int64_t drive)
{
    struct drv_hold *hold = hold_own;
    if (!hold)
        return;
    for (unsigned i = 0; i < hold->ndrives; i++)
        if (hold->drive[i] == drive)
            return;
    if (!drive || hold->ndrives == DRV_HOLD_DRIVES)
        hold->more = true;
    else
        hold->drive[hold->ndrives++] = drive;
}

struct drv_hold *drv_hold_share(struct drv_hold *hold)
{
    if (hold)
        atomic_fetch_add(&hold->refs, 1);
    return hold;
}

void drv_hold_put(struct drv_hold *hold)
{
    if (hold && atomic_fetch_sub(&hold->refs, 1) == 1)
        hold->ended(hold);
}
