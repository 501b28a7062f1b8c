/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Between the rules (fault.c) and the ops (fault_ops.c) of the fault driver.
 */
#ifndef MRMR_DRIVERS_FAULT_INTERNAL_H
#define MRMR_DRIVERS_FAULT_INTERNAL_H

#include "drivers/fault.h"

enum { FAULT_HOOKS_MAX = 4 }; /* hooks on one call, early and late each */

struct fault_hooks {
    unsigned count;
    struct {
        drv_fault_hook hook;
        void *arg;
    } at[FAULT_HOOKS_MAX];
};

/* What the rules decided about one call. */
struct fault_turn {
    enum drv_fault_op op;
    const char *path;
    enum drv_fault_action action; /* of the deciding rule */
    bool decided, late;
    mrmr_err err;
    uint64_t bytes, delay_ns;
    uint8_t mask;
    struct fault_hooks hooks_early, hooks_late;
};

extern const struct drv_ops fault_ops;

/* Count a call, ask the rules, and do what they want done before it. An error: the call must fail
 * with it. other may be NULL; size is what a write or reservation wants. */
mrmr_err fault_begin(struct drv_fault *fault, enum drv_fault_op op, const char *path,
    const char *other, uint64_t size, struct fault_turn *ret_turn);
/* Do what the rules want done after it; err is how it went. */
mrmr_err fault_end(const struct fault_turn *turn, mrmr_err err);
mrmr_err fault_error(const struct fault_turn *turn);
/* Room left by FULL rules; UINT64_MAX without one. */
uint64_t fault_room(struct drv_fault *fault);

void fault_get(struct drv_fault *fault);
void fault_put(struct drv_fault *fault);
/* The handle and inner URI of fault://name, with a reference; MRMR_NO_DRIVE. */
mrmr_err fault_served(const char *name, struct drv_fault **ret_fault, char **ret_uri);

#endif
