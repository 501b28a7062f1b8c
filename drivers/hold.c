/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/hold.h"

#include <stdlib.h>

static _Thread_local struct drv_hold *hold_own;

void drv_hold_begin(struct drv_hold *hold, void (*ended)(struct drv_hold *hold))
{
    hold->refs = 1;
    hold->ended = ended;
    hold->drive = NULL;
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

static void gave_up(struct drv_hold *hold, int64_t drive)
{
    for (size_t i = 0; i < hold->ndrives; i++)
        if (hold->drive[i] == drive)
            return;
    int64_t *more = drive ? reallocarray(hold->drive, hold->ndrives + 1, sizeof *more) : NULL;
    if (!more) {
        hold->more = true;
        return;
    }
    hold->drive = more;
    more[hold->ndrives++] = drive;
}

void drv_hold_gave_up(int64_t drive)
{
    if (hold_own)
        gave_up(hold_own, drive);
}

struct drv_hold *drv_hold_share(struct drv_hold *hold)
{
    if (hold)
        atomic_fetch_add(&hold->refs, 1);
    return hold;
}

void drv_hold_put(struct drv_hold *hold)
{
    if (!hold || atomic_fetch_sub(&hold->refs, 1) != 1)
        return;
    free(hold->drive);
    hold->drive = NULL;
    hold->ended(hold);
}
