/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Copies of the catalog on drives that fail at any call, and across power cuts.
 */
#include "catalog_same.h"
#include "pool_catalog_world.h"

#include "drivers/fault.h"
#include "drivers/mem.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct faulty {
    struct world w;
    struct drv_fault *fault[2];
};

static int faulty_setup(void **state)
{
    struct faulty *f = calloc(1, sizeof *f);
    void *inner = NULL;
    if (!f || world_setup(&inner))
        return -1;
    f->w = *(struct world *)inner;
    free(inner);
    drv_mem_reset_all();
    for (int i = 0; i < 2; i++) {
        char name[32], mem[32], uri[32];
        snprintf(name, sizeof name, "copy%d", i);
        snprintf(mem, sizeof mem, "mem://copy%d?cut=1", i);
        snprintf(uri, sizeof uri, "fault://copy%d", i);
        assert_ok(drv_fault_create(&f->fault[i]));
        assert_ok(drv_fault_serve(f->fault[i], name, mem));
        struct pool_drive_spec spec = {.uri = uri, .name = name, .domain = name};
        assert_ok(pool_drive_add(f->w.pool, &spec));
    }
    *state = f;
    return 0;
}

static int faulty_teardown(void **state)
{
    struct faulty *f = *state;
    pool_close(f->w.pool);
    for (int i = 0; i < 2; i++)
        drv_fault_destroy(f->fault[i]);
    drv_mem_reset_all();
    world_remove(f->w.dir);
    free(f);
    return 0;
}

static void assert_mem_restores(struct world *w, int drive)
{
    char uri[32];
    snprintf(uri, sizeof uri, "mem://copy%d", drive);
    assert_ok(catalog_restore(w, uri));
    catalog_assert_same(catalog_path(w), catalog_again(w));
}

/* A drive that fails in the middle keeps what it had; the other drive and the job go on; and it
 * catches up. Every call in turn, once and for good; normally every fifth. */
static void failing_calls(void **state)
{
    struct faulty *f = *state;
    struct world *w = &f->w;
    const unsigned step = rig_all() ? 1 : 5; /* of each kind some */
    catalog_copy_now(w);
    for (unsigned n = 0, over = 0; over < 4; n += step) {
        bool for_good = n % 2, base = n % 4 > 1;
        struct drv_fault_rule rule = {.ops = DRV_FAULT_CHANGES,
            .part = "catalog",
            .after = n / 4,
            .times = for_good ? 0 : 1,
            .err = n % 3 ? MRMR_IO : MRMR_SPACE};
        uint64_t hits = 0;
        if (base) { /* behind: this round gives it a base */
            struct drv_fault_rule all = {
                .ops = DRV_FAULT_CREATE, .part = "catalog", .err = MRMR_IO};
            catalog_change(w);
            assert_ok(drv_fault_add(f->fault[1], &all, NULL));
            catalog_copy_now(w);
            drv_fault_clear(f->fault[1]);
        }
        catalog_change(w);
        unsigned id;
        assert_ok(drv_fault_add(f->fault[1], &rule, &id));
        size_t told = world_events(w, "catalog-copy", NULL);
        catalog_copy_now(w);
        hits = drv_fault_hits(f->fault[1], id);
        drv_fault_clear(f->fault[1]);
        assert_true(world_events(w, "catalog-copy", NULL) <= told + 1);
        /* The other drive is up to date but for what was told. */
        assert_ok(catalog_restore(w, "mem://copy0"));
        assert_ok(catalog_restore(w, "mem://copy1")); /* some whole state */
        if (!hits)
            over++;
        catalog_copy_now(w);
        catalog_change(w);
        catalog_copy_now(w);
        assert_mem_restores(w, 0);
        assert_mem_restores(w, 1);
    }
}

/* The power goes at each call of a round, with whatever the drive then keeps: its copies give the
 * state before or the state after, never another, never nothing. */
static void power_cuts(void **state)
{
    struct faulty *f = *state;
    struct world *w = &f->w;
    uint64_t seed = (uint64_t)mrmr_clock_real();
    if (getenv("MRMR_SEED"))
        seed = strtoull(getenv("MRMR_SEED"), NULL, 0);
    print_message("power_cuts: MRMR_SEED=%llu\n", (unsigned long long)seed);
    catalog_change(w);
    catalog_copy_now(w);
    for (unsigned n = 0, over = 0; over < 2; n++) {
        bool base = n % 2;
        struct drv_fault_rule rule = {
            .ops = DRV_FAULT_CHANGES, .part = "catalog", .after = n / 2, .err = MRMR_IO};
        unsigned id;
        catalog_copy_now(w);
        mrmr_autobytes struct mrmr_bytes before = MRMR_BYTES_INIT, after = MRMR_BYTES_INIT;
        assert_ok(meta_get(w->pool->meta, "exclude", &before));
        catalog_change(w);
        if (base) { /* behind: this round gives it a base */
            struct drv_fault_rule all = {
                .ops = DRV_FAULT_CREATE, .part = "catalog", .err = MRMR_IO};
            assert_ok(drv_fault_add(f->fault[1], &all, NULL));
            catalog_copy_now(w);
            drv_fault_clear(f->fault[1]);
            catalog_change(w);
        }
        assert_ok(drv_fault_add(f->fault[1], &rule, &id));
        catalog_copy_now(w);
        uint64_t hits = drv_fault_hits(f->fault[1], id);
        drv_fault_clear(f->fault[1]);
        if (!hits)
            over++;
        assert_ok(drv_mem_power_cut("copy1", seed + n));
        world_remove(world_path(w, "again"));
        mrmr_err err = pool_catalog_restore(world_path(w, "again"), "mem://copy1");
        if (err)
            fail_msg("cut %u: %s", n, mrmr_err_name(err));
        /* Neither half a log nor a mixture: it is what one of the copies was. */
        struct meta *meta = NULL;
        assert_ok(meta_open(catalog_again(w), 0, &meta));
        assert_ok(meta_check(meta));
        mrmr_autobytes struct mrmr_bytes now = MRMR_BYTES_INIT;
        assert_ok(meta_get(meta, "exclude", &now));
        meta_close(meta);
        assert_ok(meta_get(w->pool->meta, "exclude", &after));
        if (strcmp(now.data, after.data) != 0 && (!hits || strcmp(now.data, before.data) != 0))
            fail_msg("cut %u: '%s', neither '%s' nor '%s'", n, now.data, before.data, after.data);
        assert_null(strstr(catalog_event(w), "catalog-restored"));
        /* The process went with the power. */
        f->w.pool->drives[1]->attached = f->w.pool->drives[0]->attached = false;
        world_close(w);
        world_open(w);
        if (w->pool->drives[1]->presence == POOL_DIVERGED)
            fail_msg("cut %u: diverged", n);
    }
    catalog_change(w);
    catalog_copy_now(w);
    assert_mem_restores(w, 1);
}

/* Dies at call n of the drive's file; true: it was through before. */
static bool restore_dies_at(struct world *w, uint64_t n)
{
    const struct drv_fault_rule rule = {.after = n, .times = 1, .action = DRV_FAULT_KILL};
    struct drv_fault *fault;
    int status;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        if (drv_fault_create(&fault) || drv_fault_serve(fault, "dies", "mem://copy1") ||
            drv_fault_add(fault, &rule, NULL))
            _exit(2);
        _exit(pool_catalog_restore(world_path(w, "again"), "fault://dies") ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return !WIFSIGNALED(status);
}

/* There is no catalog as long as it is not whole, and the next restore begins anew. */
static void killed_restores(void **state)
{
    struct faulty *f = *state;
    struct world *w = &f->w;
    unsigned n = 0;
    catalog_change(w);
    catalog_copy_now(w);
    catalog_change(w);
    catalog_copy_now(w);
    for (;; n++) {
        world_remove(world_path(w, "again"));
        if (restore_dies_at(w, n))
            break;
        assert_int_not_equal(access(catalog_again(w), F_OK), 0);
        assert_ok(pool_catalog_restore(world_path(w, "again"), "mem://copy1"));
        catalog_assert_same(catalog_path(w), catalog_again(w));
    }
    assert_true(n > 4);
    print_message("%u deaths of a restore\n", n);
}

int main(void)
{
#define FAULTY(name) cmocka_unit_test_setup_teardown(name, faulty_setup, faulty_teardown)
    const struct CMUnitTest tests[] = {
        FAULTY(failing_calls),
        FAULTY(power_cuts),
        FAULTY(killed_restores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
