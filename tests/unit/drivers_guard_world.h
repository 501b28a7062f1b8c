/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive in memory behind faults, and those behind a guard: for tests of the guard.
 */
#ifndef MRMR_TESTS_UNIT_DRIVERS_GUARD_WORLD_H
#define MRMR_TESTS_UNIT_DRIVERS_GUARD_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "drivers/fault.h"
#include "drivers/guard.h"
#include "tests/support/pause.h"
#include <stdatomic.h>

#define assert_ok(expr) assert_int_equal(expr, MRMR_OK)

static const int64_t ms = 1000000;
static const unsigned CREATE = DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE;

struct guarded_world {
    struct drv_fault *fault;
    struct drv *guard;
    atomic_uint cuts, removals;
};

/* A folder of ten files of ten bytes, `folder/a` to `folder/j`, and a link; nothing is put in yet. Four
 * threads, and a deadline of 200 ms. */
int guarded_setup(void **state);
/* What was given up comes back in the end: nothing is left behind. */
int guarded_teardown(void **state);
/* The same drive in memory, each time anew behind the faults. */
void guarded_put(struct guarded_world *w);
/* For a guard of a test's own; arg: the world, which counts. */
void guarded_cut(mrmr_err why, void *arg);
/* Each of these ops takes so long from now on. */
unsigned guarded_delay(struct guarded_world *w, unsigned ops, int64_t ns);

struct guarded_caller {
    struct guarded_world *w;
    mrmr_err err;
};
void *guarded_call(void *arg); /* a thread's, that asks once for a folder */

#endif
