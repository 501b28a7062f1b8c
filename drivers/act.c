/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * As whom a thread acts: one counted, immutable object a call of drv_act_as, so that an op that
 * passes to another thread takes it along without a copy.
 */
#include "drivers/act.h"

#include "drivers/driver.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct counted {
    struct drv_act act;
    atomic_uint refs;
    uint32_t groups[];
};

/* Who had no memory for the groups is nobody: its ops fail. Never freed. */
static struct counted act_lost = {.act = {.lost = true}, .refs = 1};
static _Thread_local struct drv_act *act_own;

static struct drv_act *act_create(const struct drv_caller *caller)
{
    const size_t size = caller->ngroups * sizeof *caller->groups;
    struct counted *c = malloc(sizeof *c + size);
    if (!c)
        return drv_act_share(&act_lost.act);
    c->act = (struct drv_act){.bytes = caller->bytes,
        .uid = caller->uid,
        .gid = caller->gid,
        .groups = c->groups,
        .ngroups = caller->ngroups};
    c->refs = 1;
    if (size)
        memcpy(c->groups, caller->groups, size);
    return &c->act;
}

struct drv_act *drv_act_share(struct drv_act *act)
{
    if (act)
        atomic_fetch_add(&((struct counted *)act)->refs, 1);
    return act;
}

void drv_act_put(struct drv_act *act)
{
    if (act && atomic_fetch_sub(&((struct counted *)act)->refs, 1) == 1)
        free(act);
}

struct drv_act *drv_act_own(void)
{
    return act_own;
}

void drv_act_set(struct drv_act *act)
{
    drv_act_share(act);
    drv_act_put(act_own);
    act_own = act;
}

void drv_act_as(const struct drv_caller *caller)
{
    struct drv_act *act = caller ? act_create(caller) : NULL;
    drv_act_set(act);
    drv_act_put(act);
}
