/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard: what hangs costs one deadline and nobody else anything; what was cut off stays so until
 * another drive is put in. That every op gives what the drive itself gives is for the contract suite,
 * which runs over a guard too.
 */
#include "drivers_guard_world.h"

#include "base/cleanup.h"
#include "drivers/act.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>

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
    struct guarded_world *w = *state;
    struct drv_stat stat;
    struct drv_space space;
    struct drv_info info;
    struct drv_file *file = NULL;
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    unsigned n = 0;
    char buf[16];
    size_t got;
    uint64_t start, end;
    guarded_put(w);
    assert_ok(drv_info(w->guard, &info));
    assert_true(info.caps & DRV_CAP_WRITABLE);
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
    assert_ok(drv_unlink(w->guard, "folder/c"));
    assert_int_equal(drv_stat(w->guard, "folder/c", &stat), MRMR_ABSENT);
    assert_int_equal(w->cuts, 0);
}

/* Cut off until something is put in, and again afterwards. */
static void test_cut_off(void **state)
{
    struct guarded_world *w = *state;
    struct drv_stat stat;
    struct drv_file *file = NULL;
    char buf[4];
    size_t got;
    assert_false(drv_guard_serves(w->guard));
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    guarded_put(w);
    assert_true(drv_guard_serves(w->guard));
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    drv_guard_cut(w->guard, MRMR_OFFLINE);
    assert_int_equal(w->cuts, 1);
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    assert_int_equal(drv_file_read(file, 0, buf, 4, &got), MRMR_OFFLINE);
    guarded_put(w);
    assert_ok(drv_stat(w->guard, "folder", &stat));
    assert_int_equal(drv_file_read(file, 0, buf, 4, &got), MRMR_OFFLINE); /* of the one before */
    drv_file_close(file);
    assert_true(drv_guard_serves(w->guard));
    assert_int_equal(w->cuts, 1);
}

/* Many wait for a drive that hangs: all are answered after one deadline, and the next at once. */
static void test_hangs(void **state)
{
    enum { CALLERS = 20 };
    struct guarded_world *w = *state;
    struct guarded_caller caller[CALLERS];
    pthread_t thread[CALLERS];
    struct drv_stat stat;
    guarded_put(w);
    guarded_delay(w, DRV_FAULT_STAT, 3000 * ms);
    int64_t start = mrmr_clock_monotonic();
    for (unsigned i = 0; i < CALLERS; i++) {
        caller[i].w = w;
        assert_int_equal(pthread_create(&thread[i], NULL, guarded_call, &caller[i]), 0);
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
    guarded_put(w);
    assert_ok(drv_stat(w->guard, "folder", &stat));
}

/* A list may take longer than the deadline, as long as it goes on. */
static void test_long_list(void **state)
{
    struct guarded_world *w = *state;
    unsigned n = 0;
    guarded_put(w);
    guarded_delay(w, DRV_FAULT_LIST, 20 * ms);
    assert_ok(drv_list(w->guard, "folder", count, &n));
    assert_int_equal(n, 10);
    drv_fault_clear(w->fault);
    guarded_delay(w, DRV_FAULT_LIST, 2000 * ms);
    assert_int_equal(drv_list(w->guard, "folder", count, &n), MRMR_TIMEOUT);
    assert_int_equal(n, 10); /* nothing of what comes late */
}

struct syncer {
    struct drv *guard;
    mrmr_err err;
    atomic_uint *running;
};

static void *sync_one(void *arg)
{
    struct syncer *syncer = arg;
    struct drv_file *file = NULL;
    syncer->err = drv_file_open(syncer->guard, "folder/c", DRV_OPEN_WRITE, 0, &file);
    if (!syncer->err)
        syncer->err = drv_file_sync(file);
    drv_file_close(file);
    atomic_fetch_sub(syncer->running, 1);
    return NULL;
}

/* More syncs than threads, each of more than a deadline: all come back, and the others' ops need not
 * wait for them, or, with one thread, are patient. */
static void slow_syncs(struct guarded_world *w, struct drv *guard, unsigned syncs, int64_t patience)
{
    struct syncer syncer[8];
    pthread_t thread[8];
    struct drv_stat stat;
    atomic_uint running = syncs;
    mrmr_err err = MRMR_OK;
    int64_t longest = 0;
    for (unsigned i = 0; i < syncs; i++) {
        syncer[i] = (struct syncer){.guard = guard, .running = &running};
        assert_int_equal(pthread_create(&thread[i], NULL, sync_one, &syncer[i]), 0);
    }
    while (running && !err) {
        const int64_t start = mrmr_clock_monotonic();
        err = drv_stat(guard, "folder", &stat);
        const int64_t took = mrmr_clock_monotonic() - start;
        longest = took > longest ? took : longest;
        sched_yield();
    }
    for (unsigned i = 0; i < syncs; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(syncer[i].err, MRMR_OK);
    }
    assert_int_equal(err, MRMR_OK);
    assert_true(longest < patience);
    assert_int_equal(w->cuts, 0);
}

static void test_slow_syncs(void **state)
{
    struct guarded_world *w = *state;
    guarded_put(w);
    guarded_delay(w, DRV_FAULT_FILE_SYNC, 700 * ms);
    slow_syncs(w, w->guard, 6, 650 * ms);
}

static void test_one_thread_is_patient(void **state)
{
    struct guarded_world *w = *state;
    struct drv *guard = NULL, *inner = NULL, *faulty = NULL;
    const struct drv_guard_options options = {
        .threads = 1, .deadline = 200 * ms, .cut = guarded_cut, .arg = w};
    assert_ok(drv_guard_create(&options, &guard));
    assert_ok(drv_open("mem://guarded?size=64M", &inner));
    assert_ok(drv_fault_wrap(inner, w->fault, &faulty));
    assert_ok(drv_guard_put(guard, faulty));
    guarded_delay(w, DRV_FAULT_FILE_SYNC, 500 * ms);
    slow_syncs(w, guard, 2, 1900 * ms);
    drv_close(guard);
}

/* Ten deadlines are not for ever. */
static void test_sync_hangs(void **state)
{
    struct guarded_world *w = *state;
    struct drv_file *file = NULL;
    guarded_put(w);
    guarded_delay(w, DRV_FAULT_FILE_SYNC, 3000 * ms);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_WRITE, 0, &file));
    const int64_t start = mrmr_clock_monotonic();
    assert_int_equal(drv_file_sync(file), MRMR_TIMEOUT);
    assert_true(mrmr_clock_monotonic() - start >= 2000 * ms);
    assert_int_equal(w->cuts, 1);
    drv_file_close(file);
}

static void note_act(void *arg, enum drv_fault_op op, const char *path)
{
    const struct drv_act *act = drv_act_own();
    (void)op;
    (void)path;
    *(uint32_t *)arg = !act ? 0 : act->ngroups == 2 && act->groups[1] == 8 ? act->uid : UINT32_MAX;
}

/* The inner op runs as its caller's thread acts, and the next one on the same thread does not. */
static void test_acting(void **state)
{
    struct guarded_world *w = *state;
    const uint32_t groups[] = {7, 8};
    const struct drv_caller caller = {.uid = 1234, .gid = 5, .groups = groups, .ngroups = 2};
    uint32_t uid = 99;
    struct drv_stat stat;
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT | DRV_FAULT_MKDIR,
        .action = DRV_FAULT_HOOK,
        .hook = note_act,
        .arg = &uid};
    guarded_put(w);
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
    drv_act_as(&caller);
    assert_ok(drv_mkdir(w->guard, "new", 0700));
    assert_int_equal(uid, 1234);
    drv_act_as(NULL);
    for (unsigned i = 0; i < 20; i++) {
        uid = 99;
        assert_ok(drv_stat(w->guard, "new", &stat));
        assert_int_equal(uid, 0);
    }
}

/* Files of a drive that was cut off do not mix with those of the one in its place. */
static void test_copy_across_a_cut(void **state)
{
    struct guarded_world *w = *state;
    struct drv_file *before = NULL, *after = NULL;
    uint64_t n = 0;
    guarded_put(w);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &before));
    guarded_put(w);
    assert_ok(drv_file_open(w->guard, "folder/d", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &after));
    assert_int_equal(drv_file_copy(before, 0, after, 0, 5, &n), MRMR_OFFLINE);
    assert_int_equal(drv_file_copy(after, 0, before, 0, 5, &n), MRMR_OFFLINE);
    assert_ok(drv_file_copy(after, 0, after, 10, 5, &n));
    assert_int_equal(n, 5);
    assert_true(drv_guard_serves(w->guard));
    drv_file_close(before);
    drv_file_close(after);
}

/* A drive that says it is gone is cut off; any other error is just passed on. */
static void test_errors(void **state)
{
    struct guarded_world *w = *state;
    struct drv_stat stat;
    guarded_put(w);
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
    struct guarded_world *w;
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
    struct guarded_world *w = *state;
    struct reader reader[READERS];
    pthread_t thread[READERS];
    guarded_put(w);
    for (unsigned i = 0; i < READERS; i++) {
        reader[i] = (struct reader){.w = w};
        assert_int_equal(pthread_create(&thread[i], NULL, read_on, &reader[i]), 0);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 3)
            drv_guard_cut(w->guard, MRMR_OFFLINE);
        sched_yield();
        guarded_put(w);
    }
    for (unsigned i = 0; i < READERS; i++) {
        reader[i].stop = true;
        pthread_join(thread[i], NULL);
    }
    struct drv_stat stat;
    assert_ok(drv_stat(w->guard, "folder", &stat));
}

/* --- errors --- */

static void fail_stats(struct guarded_world *w, unsigned times, mrmr_err err)
{
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_STAT, .times = times, .action = DRV_FAULT_ERROR, .err = err};
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
}

static mrmr_err look_once(struct guarded_world *w)
{
    struct drv_stat stat;
    return drv_stat(w->guard, "folder/a", &stat);
}

/* Until the clock's next second. */
static void next_second(void)
{
    const int64_t second = mrmr_clock_monotonic() / MRMR_NS_PER_S;
    while (mrmr_clock_monotonic() / MRMR_NS_PER_S == second)
        pause_a_while();
}

static void test_errors_in_many_seconds(void **state)
{
    struct guarded_world *w = *state;
    guarded_put(w);
    drv_guard_error_limit(w->guard, 3);
    fail_stats(w, 0, MRMR_IO);
    for (unsigned second = 1; second <= 3; second++) {
        next_second();
        for (unsigned i = 0; i < 20 && second < 3; i++) { /* a burst counts once */
            assert_int_equal(look_once(w), MRMR_IO);
            assert_true(drv_guard_serves(w->guard));
        }
    }
    assert_int_equal(look_once(w), MRMR_IO);
    assert_int_equal(look_once(w), MRMR_OFFLINE);
    assert_false(drv_guard_serves(w->guard));
    assert_int_equal(w->cuts, 1);
    drv_fault_clear(w->fault);
    /* Another one that is put in begins at none. */
    guarded_put(w);
    fail_stats(w, 1, MRMR_IO);
    next_second();
    assert_int_equal(look_once(w), MRMR_IO);
    assert_ok(look_once(w));
}

/* What is no fault of the medium, and where none is set. */
static void test_errors_that_do_not_count(void **state)
{
    struct guarded_world *w = *state;
    guarded_put(w);
    drv_guard_error_limit(w->guard, 1);
    static const int harmless[] = {EACCES, ENOKEY, EKEYEXPIRED, ENOLCK, EOVERFLOW, EILSEQ};
    for (size_t k = 0; k < sizeof harmless / sizeof *harmless; k++) {
        const mrmr_err err = mrmr_err_from_errno(harmless[k]);
        fail_stats(w, 10, err);
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(look_once(w), err);
        assert_true(drv_guard_serves(w->guard));
    }
    drv_guard_error_limit(w->guard, 0);
    fail_stats(w, 30, MRMR_IO);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(look_once(w), MRMR_IO);
    assert_true(drv_guard_serves(w->guard));
    drv_guard_error_limit(w->guard, 1);
    fail_stats(w, 1, MRMR_IO);
    assert_int_equal(look_once(w), MRMR_IO);
    assert_false(drv_guard_serves(w->guard));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forwards, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_hangs, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_long_list, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_slow_syncs, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(
            test_one_thread_is_patient, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_sync_hangs, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_acting, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_copy_across_a_cut, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_errors, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_cut_while_reading, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(
            test_errors_in_many_seconds, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(
            test_errors_that_do_not_count, guarded_setup, guarded_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
