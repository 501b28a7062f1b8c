/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers_guard_world.h"

#include "drivers/mem.h"
#include <stdlib.h>

void guarded_cut(mrmr_err why, void *arg)
{
    assert_true(why == MRMR_TIMEOUT || why == MRMR_OFFLINE || why == MRMR_IO);
    atomic_fetch_add(&((struct guarded_world *)arg)->cuts, 1);
}

/* The same drive in memory, each time anew behind the faults. */
void guarded_put(struct guarded_world *w)
{
    struct drv *inner = NULL, *faulty = NULL;
    assert_ok(drv_open("mem://guarded?size=64M", &inner));
    assert_ok(drv_fault_wrap(inner, w->fault, &faulty));
    assert_ok(drv_guard_put(w->guard, faulty));
}

int guarded_setup(void **state)
{
    struct guarded_world *w = calloc(1, sizeof *w);
    struct drv *drv = NULL;
    struct drv_file *file = NULL;
    assert_non_null(w);
    assert_ok(drv_open("mem://guarded?size=64M", &drv));
    assert_ok(drv_mkdir(drv, "folder", 0755));
    for (char name[] = "folder/a"; name[7] <= 'j'; name[7]++) {
        assert_ok(drv_file_open(drv, name, CREATE, 0600, &file));
        assert_ok(drv_file_write(file, 0, "some bytes", 10));
        drv_file_close(file);
    }
    assert_ok(drv_symlink(drv, "elsewhere", "link"));
    assert_ok(drv_xattr_set(drv, "folder", "user.x", "value", 5));
    drv_close(drv);
    assert_ok(drv_fault_create(&w->fault));
    const struct drv_guard_options options = {
        .threads = 4, .deadline = 200 * ms, .cut = guarded_cut, .arg = w};
    assert_ok(drv_guard_create(&options, &w->guard));
    *state = w;
    return 0;
}

/* What was given up comes back in the end: nothing is left behind. */
int guarded_teardown(void **state)
{
    struct guarded_world *w = *state;
    drv_fault_clear(w->fault);
    while (drv_guard_stuck(w->guard))
        pause_a_while();
    drv_close(w->guard);
    drv_fault_destroy(w->fault);
    drv_mem_reset_all();
    free(w);
    return 0;
}

unsigned guarded_delay(struct guarded_world *w, unsigned ops, int64_t ns)
{
    unsigned id;
    const struct drv_fault_rule rule = {
        .ops = ops, .action = DRV_FAULT_DELAY, .delay_ns = (uint64_t)ns};
    assert_ok(drv_fault_add(w->fault, &rule, &id));
    return id;
}

void *guarded_call(void *arg)
{
    struct guarded_caller *caller = arg;
    struct drv_stat stat;
    caller->err = drv_stat(caller->w->guard, "folder", &stat);
    return NULL;
}
