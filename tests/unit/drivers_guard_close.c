/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard: what is closed is closed soon, whatever else hangs or takes long, and nobody waits for it.
 */
#include "drivers_guard_world.h"

#include "base/cleanup.h"
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* What is closed is closed soon, though nobody waits for it and nothing else happens: much at once, one
 * alone, and what was closed just before the drive is cut off. */
static void test_closes(void **state)
{
    enum { FILES = 200 };
    struct guarded_world *w = *state;
    struct drv_file *file[FILES];
    struct drv *local;
    char root[] = "/tmp/mrmr-guard-XXXXXX";
    assert_non_null(mkdtemp(root));
    assert_ok(drv_open(root, &local));
    assert_ok(drv_guard_put(w->guard, local));
    assert_ok(drv_file_open(w->guard, "f", CREATE, 0600, &file[0]));
    drv_file_close(file[0]);
    assert_ok(drv_file_open(w->guard, "f", DRV_OPEN_READ, 0, &file[0]));
    const unsigned before = descriptors();
    for (unsigned turn = 0; turn < 3; turn++) {
        const unsigned n = turn == 1 ? 2 : FILES;
        for (unsigned i = 1; i < n; i++)
            assert_ok(drv_file_open(w->guard, "f", DRV_OPEN_READ, 0, &file[i]));
        for (unsigned i = 1; i < n; i++)
            drv_file_close(file[i]);
        if (turn == 2)
            drv_guard_cut(w->guard, MRMR_OFFLINE);
        while (descriptors() > before) /* the test's time limit ends it */
            pause_a_while();
    }
    drv_file_close(file[0]);
    char path[64];
    snprintf(path, sizeof path, "%s/f", root);
    unlink(path);
    rmdir(root);
}

/* A drive whose files are on this system, behind the faults. */
static void put_local(struct guarded_world *w, struct drv *guard, const char *root)
{
    struct drv *local = NULL, *faulty = NULL;
    assert_ok(drv_open(root, &local));
    assert_ok(drv_fault_wrap(local, w->fault, &faulty));
    assert_ok(drv_guard_put(guard, faulty));
}

struct hang {
    struct drv_file *first; /* closed by what hangs, in its first moment; NULL: none */
    atomic_bool begun, over;
};

static void hang(void *arg, enum drv_fault_op op, const char *path)
{
    struct hang *hang = arg;
    (void)op, (void)path;
    drv_file_close(hang->first);
    hang->begun = true;
    while (!hang->over)
        pause_a_while();
}

/* What is closed does not wait for an op that takes long, or hangs: not if it was closed in the first
 * moment of that, nor later, nor when the drive has been cut off for it. */
static void test_closes_beside_a_long_op(void **state)
{
    enum { FIRST, LATER, CUT_OFF, MOMENTS };
    struct guarded_world *w = *state;
    char root[] = "/tmp/mrmr-guard-XXXXXX", path[64];
    const struct drv_guard_options options = {
        .threads = 4, .deadline = 1000 * ms, .cut = guarded_cut, .arg = w};
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/f", root);
    for (unsigned moment = FIRST; moment < MOMENTS; moment++) {
        struct drv *guard = NULL;
        struct drv_file *file = NULL;
        struct hang long_one = {.over = false};
        struct guarded_world there = {.fault = w->fault};
        struct guarded_caller caller = {.w = &there};
        pthread_t thread;
        const struct drv_fault_rule rule = {
            .ops = DRV_FAULT_STAT, .action = DRV_FAULT_HOOK, .hook = hang, .arg = &long_one};
        assert_ok(drv_guard_create(&options, &guard));
        put_local(w, guard, root);
        there.guard = guard;
        const unsigned before = descriptors();
        assert_ok(drv_file_open(guard, "f", CREATE, 0600, &file));
        if (moment == FIRST)
            long_one.first = mrmr_steal(file);
        assert_ok(drv_fault_add(w->fault, &rule, NULL));
        assert_int_equal(pthread_create(&thread, NULL, guarded_call, &caller), 0);
        while (!long_one.begun)
            pause_a_while();
        const int64_t begun = mrmr_clock_monotonic();
        while (moment == LATER && mrmr_clock_monotonic() < begun + 10 * ms)
            pause_a_while();
        while (moment == CUT_OFF && drv_guard_serves(guard))
            pause_a_while();
        drv_file_close(file);
        while (descriptors() > before) { /* who waits for the op is told after its deadline */
            assert_true(moment == CUT_OFF || drv_guard_serves(guard));
            pause_a_while();
        }
        long_one.over = true;
        pthread_join(thread, NULL);
        assert_int_equal(caller.err == MRMR_TIMEOUT, moment == CUT_OFF);
        while (drv_guard_stuck(guard))
            pause_a_while();
        drv_fault_clear(w->fault);
        drv_close(guard);
        unlink(path);
    }
    rmdir(root);
}

/* A drive of nothing but files that take long to close. */
static void shut(struct drv *drv)
{
    free(drv);
}

static mrmr_err shut_info(struct drv *drv, struct drv_info *ret_info)
{
    (void)drv;
    *ret_info = (struct drv_info){.caps = 0};
    return MRMR_OK;
}

static mrmr_err shut_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    (void)path, (void)flags, (void)mode;
    struct drv_file *file = calloc(1, sizeof *file);
    assert_non_null(file);
    file->drv = drv;
    *ret_file = file;
    return MRMR_OK;
}

static void shut_close(struct drv_file *file)
{
    const int64_t until = mrmr_clock_monotonic() + 150 * ms;
    while (mrmr_clock_monotonic() < until)
        pause_a_while();
    free(file);
}

static mrmr_err shut_is_written(struct drv_file *file, bool *ret_written)
{
    (void)file;
    const int64_t until = mrmr_clock_monotonic() + 100 * ms;
    while (mrmr_clock_monotonic() < until)
        pause_a_while();
    *ret_written = true;
    return MRMR_OK;
}

/* Whoever asks whether a file is written does not have the drive cut off because many are being closed,
 * each of them in time; nor does he wait for all. */
static void test_asks_behind_slow_closes(void **state)
{
    enum { FILES = 5 };
    static const struct drv_ops ops = {.scheme = "shut",
        .close = shut,
        .info = shut_info,
        .file_open = shut_open,
        .file_close = shut_close,
        .file_is_written = shut_is_written};
    struct guarded_world *w = *state;
    struct drv *drv = calloc(1, sizeof *drv), *guard = NULL;
    struct drv_file *asked = NULL, *file[FILES];
    bool written = false;
    const struct drv_guard_options options = {
        .threads = 1, .deadline = 200 * ms, .cut = guarded_cut, .arg = w};
    assert_non_null(drv);
    drv->ops = &ops;
    assert_ok(drv_guard_create(&options, &guard));
    assert_ok(drv_guard_put(guard, drv));
    assert_ok(drv_file_open(guard, "asked", DRV_OPEN_READ, 0, &asked));
    for (unsigned i = 0; i < FILES; i++)
        assert_ok(drv_file_open(guard, "f", DRV_OPEN_READ, 0, &file[i]));
    for (unsigned i = 0; i < FILES; i++)
        drv_file_close(file[i]);
    const int64_t start = mrmr_clock_monotonic();
    assert_ok(drv_file_is_written(asked, &written));
    assert_true(mrmr_clock_monotonic() - start < 5 * 150 * ms);
    assert_true(written);
    assert_int_equal(w->cuts, 0);
    assert_true(drv_guard_serves(guard));
    drv_file_close(asked);
    drv_close(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_closes, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(
            test_closes_beside_a_long_op, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(
            test_asks_behind_slow_closes, guarded_setup, guarded_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
