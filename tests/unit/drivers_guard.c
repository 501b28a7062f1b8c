/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard: what hangs costs one deadline and nobody else anything; what was cut off stays so until
 * another drive is put in; late answers touch nothing of the caller's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "drivers/fault.h"
#include "drivers/guard.h"
#include "drivers/mem.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define assert_ok(expr) assert_int_equal(expr, MRMR_OK)

static const int64_t ms = 1000000;
static const unsigned CREATE = DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE;

struct world {
    struct drv_fault *fault;
    struct drv *guard;
    atomic_uint cuts;
};

static void cut(mrmr_err why, void *arg)
{
    assert_true(why == MRMR_TIMEOUT || why == MRMR_OFFLINE);
    atomic_fetch_add(&((struct world *)arg)->cuts, 1);
}

/* The same drive in memory, each time anew behind the faults. */
static void put(struct world *w)
{
    struct drv *inner = NULL, *faulty = NULL;
    assert_ok(drv_open("mem://guarded?size=64M", &inner));
    assert_ok(drv_fault_wrap(inner, w->fault, &faulty));
    assert_ok(drv_guard_put(w->guard, faulty));
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
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
        .threads = 4, .deadline = 200 * ms, .cut = cut, .arg = w};
    assert_ok(drv_guard_create(&options, &w->guard));
    *state = w;
    return 0;
}

/* What was given up comes back in the end: nothing is left behind. */
static int teardown(void **state)
{
    struct world *w = *state;
    drv_fault_clear(w->fault);
    while (drv_guard_stuck(w->guard))
        sched_yield();
    drv_close(w->guard);
    drv_fault_destroy(w->fault);
    drv_mem_reset_all();
    free(w);
    return 0;
}

static unsigned delay(struct world *w, unsigned ops, int64_t ns)
{
    unsigned id;
    const struct drv_fault_rule rule = {
        .ops = ops, .action = DRV_FAULT_DELAY, .delay_ns = (uint64_t)ns};
    assert_ok(drv_fault_add(w->fault, &rule, &id));
    return id;
}

static mrmr_err count(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    assert_true(name[0] >= 'a' && name[0] <= 'j' && stat && !err && stat->size == 10);
    ++*(unsigned *)arg;
    return MRMR_OK;
}

static mrmr_err xattr(const char *name, const void *value, size_t size, void *arg)
{
    assert_string_equal(name, "user.x");
    assert_int_equal(size, 5);
    assert_memory_equal(value, "value", 5);
    ++*(unsigned *)arg;
    return MRMR_OK;
}

/* Every op gives what the drive itself gives. */
static void test_forwards(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    struct drv_space space;
    struct drv_info info;
    struct drv_file *file = NULL;
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    unsigned n = 0;
    char buf[16];
    size_t got;
    uint64_t start, end;
    put(w);
    assert_ok(drv_info(w->guard, &info));
    assert_false(info.caps & DRV_CAP_WRITABLE);
    assert_ok(drv_space(w->guard, &space));
    assert_int_equal(space.total, 64 << 20);
    assert_ok(drv_stat(w->guard, "folder", &stat));
    assert_int_equal(stat.type, DRV_DIR);
    assert_int_equal(drv_stat(w->guard, "none", &stat), MRMR_ABSENT);
    assert_string_equal(mrmr_story_get()->path, "none");
    assert_ok(drv_list(w->guard, "folder", count, &n));
    assert_int_equal(n, 10);
    assert_ok(drv_readlink(w->guard, "link", &target));
    assert_string_equal(target.data, "elsewhere");
    n = 0;
    assert_ok(drv_xattr_list(w->guard, "folder", xattr, &n));
    assert_int_equal(n, 1);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    assert_ok(drv_file_stat(file, &stat));
    assert_int_equal(stat.size, 10);
    assert_ok(drv_file_read(file, 5, buf, sizeof buf, &got));
    assert_int_equal(got, 5);
    assert_memory_equal(buf, "bytes", 5);
    assert_ok(drv_file_next_data(file, 0, &start, &end));
    assert_int_equal(end, 10);
    drv_file_close(file);
    assert_int_equal(drv_unlink(w->guard, "folder/c"), MRMR_UNSUPPORTED);
    assert_int_equal(w->cuts, 0);
}

/* Cut off until something is put in, and again afterwards. */
static void test_cut_off(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    struct drv_file *file = NULL;
    char buf[4];
    size_t got;
    assert_false(drv_guard_serves(w->guard));
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    put(w);
    assert_true(drv_guard_serves(w->guard));
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    drv_guard_cut(w->guard, MRMR_OFFLINE);
    assert_int_equal(w->cuts, 1);
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    assert_int_equal(drv_file_read(file, 0, buf, 4, &got), MRMR_OFFLINE);
    put(w);
    assert_ok(drv_stat(w->guard, "folder", &stat));
    assert_int_equal(drv_file_read(file, 0, buf, 4, &got), MRMR_OFFLINE); /* of the one before */
    drv_file_close(file);
    assert_true(drv_guard_serves(w->guard));
    assert_int_equal(w->cuts, 1);
}

struct caller {
    struct world *w;
    mrmr_err err;
};

static void *call(void *arg)
{
    struct caller *caller = arg;
    struct drv_stat stat;
    caller->err = drv_stat(caller->w->guard, "folder", &stat);
    return NULL;
}

/* Many wait for a drive that hangs: all are answered after one deadline, and the next at once. */
static void test_hangs(void **state)
{
    enum { CALLERS = 20 };
    struct world *w = *state;
    struct caller caller[CALLERS];
    pthread_t thread[CALLERS];
    struct drv_stat stat;
    put(w);
    delay(w, DRV_FAULT_STAT, 3000 * ms);
    int64_t start = mrmr_clock_monotonic();
    for (unsigned i = 0; i < CALLERS; i++) {
        caller[i].w = w;
        assert_int_equal(pthread_create(&thread[i], NULL, call, &caller[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(thread[i], NULL);
        assert_true(caller[i].err == MRMR_TIMEOUT || caller[i].err == MRMR_OFFLINE);
    }
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    assert_true(mrmr_clock_monotonic() - start < 2900 * ms);
    assert_int_equal(w->cuts, 1);
    assert_in_range(drv_guard_stuck(w->guard), 1, 4);
    /* The drive in its place does not wait for what hangs in the one before. */
    drv_fault_clear(w->fault);
    put(w);
    assert_ok(drv_stat(w->guard, "folder", &stat));
}

/* A list may take longer than the deadline, as long as it goes on. */
static void test_long_list(void **state)
{
    struct world *w = *state;
    unsigned n = 0;
    put(w);
    delay(w, DRV_FAULT_LIST, 20 * ms);
    assert_ok(drv_list(w->guard, "folder", count, &n));
    assert_int_equal(n, 10);
    drv_fault_clear(w->fault);
    delay(w, DRV_FAULT_LIST, 2000 * ms);
    assert_int_equal(drv_list(w->guard, "folder", count, &n), MRMR_TIMEOUT);
    assert_int_equal(n, 10); /* nothing of what comes late */
}

/* The buffer of a read that was given up is the caller's again. */
static void test_late_read(void **state)
{
    struct world *w = *state;
    struct drv_file *file = NULL;
    size_t got = 0;
    put(w);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    delay(w, DRV_FAULT_FILE_READ, 600 * ms);
    char *buf = malloc(10);
    assert_int_equal(drv_file_read(file, 0, buf, 10, &got), MRMR_TIMEOUT);
    free(buf);
    drv_file_close(file);
    while (drv_guard_stuck(w->guard))
        sched_yield();
}

/* An open that was given up leaves no file open: teardown's sanitizer run would tell. */
static void test_late_open(void **state)
{
    struct world *w = *state;
    struct drv_file *file = NULL;
    put(w);
    delay(w, DRV_FAULT_FILE_OPEN, 600 * ms);
    assert_int_equal(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file), MRMR_TIMEOUT);
    assert_null(file);
}

/* A drive that says it is gone is cut off; any other error is just passed on. */
static void test_errors(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    put(w);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT, .times = 1, .err = MRMR_IO};
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_IO);
    assert_ok(drv_stat(w->guard, "folder", &stat));
    assert_int_equal(w->cuts, 0);
    rule.err = MRMR_OFFLINE;
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    assert_int_equal(w->cuts, 1);
    assert_false(drv_guard_serves(w->guard));
}

struct reader {
    struct world *w;
    atomic_bool stop;
    unsigned served;
};

static void *read_on(void *arg)
{
    struct reader *reader = arg;
    while (!reader->stop) {
        struct drv_file *file = NULL;
        char buf[10];
        size_t got;
        mrmr_err err = drv_file_open(reader->w->guard, "folder/c", DRV_OPEN_READ, 0, &file);
        if (!err)
            err = drv_file_read(file, 0, buf, sizeof buf, &got);
        assert_true(!err || err == MRMR_OFFLINE);
        if (!err)
            assert_memory_equal(buf, "some bytes", 10);
        reader->served += !err;
        drv_file_close(file);
    }
    return NULL;
}

/* Drives are cut off and put in while everyone reads. */
static void test_cut_while_reading(void **state)
{
    enum { READERS = 6, ROUNDS = 200 };
    struct world *w = *state;
    struct reader reader[READERS];
    pthread_t thread[READERS];
    put(w);
    for (unsigned i = 0; i < READERS; i++) {
        reader[i] = (struct reader){.w = w};
        assert_int_equal(pthread_create(&thread[i], NULL, read_on, &reader[i]), 0);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 3)
            drv_guard_cut(w->guard, MRMR_OFFLINE);
        sched_yield();
        put(w);
    }
    for (unsigned i = 0; i < READERS; i++) {
        reader[i].stop = true;
        pthread_join(thread[i], NULL);
    }
    struct drv_stat stat;
    assert_ok(drv_stat(w->guard, "folder", &stat));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forwards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_while_reading, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
