/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Writers and whoever stops them: as two processes have it, with a handle each.
 */
#include "pool/writers.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WRITERS = 4, STOPS = 200 };

static char folder[128];
static int dirfd_of_folder;

#define ok(err) assert_int_equal((err), MRMR_OK)

struct bench {
    struct pool_writers *writers[2]; /* as two processes have them */
    atomic_int in;
    atomic_bool stopped, end;
    atomic_uint_fast64_t entries;
};

static void *writer_run(void *arg)
{
    struct bench *bench = arg;
    uint64_t last = 0, epoch;
    while (!atomic_load(&bench->end)) {
        ok(pool_writers_enter(bench->writers[0], &epoch));
        atomic_fetch_add(&bench->in, 1);
        assert_false(atomic_load(&bench->stopped));
        assert_true(epoch >= last);
        last = epoch;
        atomic_fetch_add(&bench->entries, 1);
        atomic_fetch_sub(&bench->in, 1);
        pool_writers_leave(bench->writers[0]);
    }
    return NULL;
}

static void test_they_stand_still(void **state)
{
    (void)state;
    struct bench bench = {.in = 0};
    pthread_t thread[WRITERS];
    uint64_t epoch, before, after;
    for (unsigned i = 0; i < 2; i++)
        ok(pool_writers_open(dirfd_of_folder, &bench.writers[i]));
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, writer_run, &bench), 0);
    for (unsigned i = 0; i < STOPS; i++) {
        ok(pool_writers_stop(bench.writers[1])); /* is not starved by those who go in and out */
        atomic_store(&bench.stopped, true);
        uint64_t entries = atomic_load(&bench.entries);
        assert_int_equal(atomic_load(&bench.in), 0);
        ok(pool_writers_new_epoch(bench.writers[1]));
        sched_yield();
        assert_int_equal(atomic_load(&bench.entries), entries);
        atomic_store(&bench.stopped, false);
        pool_writers_go(bench.writers[1]);
    }
    atomic_store(&bench.end, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    ok(pool_writers_turn(bench.writers[1], &before));
    ok(pool_writers_enter(bench.writers[0], &epoch));
    assert_int_equal(epoch, STOPS);
    pool_writers_leave(bench.writers[0]);
    ok(pool_writers_turn(bench.writers[1], &after));
    assert_true(after != before);
    for (unsigned i = 0; i < 2; i++)
        pool_writers_close(bench.writers[i]);
}

/* Threads of one owner commit side by side: while one of them has stopped the writers, neither a
 * writer nor another of them is in. */
static void *stopper_run(void *arg)
{
    struct bench *bench = arg;
    for (unsigned i = 0; i < STOPS; i++) {
        ok(pool_writers_stop(bench->writers[1]));
        assert_false(atomic_exchange(&bench->stopped, true));
        assert_int_equal(atomic_load(&bench->in), 0);
        ok(pool_writers_new_epoch(bench->writers[1]));
        sched_yield();
        assert_int_equal(atomic_load(&bench->in), 0);
        assert_true(atomic_exchange(&bench->stopped, false));
        pool_writers_go(bench->writers[1]);
    }
    return NULL;
}

static void test_two_stop_them(void **state)
{
    (void)state;
    struct bench bench = {.in = 0};
    pthread_t writer[WRITERS], stopper[2];
    uint64_t before, after;
    for (unsigned i = 0; i < 2; i++)
        ok(pool_writers_open(dirfd_of_folder, &bench.writers[i]));
    ok(pool_writers_enter(bench.writers[0], &before));
    pool_writers_leave(bench.writers[0]);
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writer[i], NULL, writer_run, &bench), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&stopper[i], NULL, stopper_run, &bench), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(stopper[i], NULL);
    atomic_store(&bench.end, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writer[i], NULL);
    ok(pool_writers_enter(bench.writers[0], &after));
    pool_writers_leave(bench.writers[0]);
    assert_int_equal(after - before, 2 * STOPS); /* no epoch is lost */
    for (unsigned i = 0; i < 2; i++)
        pool_writers_close(bench.writers[i]);
}

/* A process that ends among the writers, or while it stops them, is in nobody's way. */
static void test_a_process_ends(void **state)
{
    (void)state;
    for (int stops = 0; stops < 2; stops++) {
        struct pool_writers *writers;
        uint64_t epoch;
        int status;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            mrmr_err err = pool_writers_open(dirfd_of_folder, &writers);
            if (!err)
                err = stops ? pool_writers_stop(writers) : pool_writers_enter(writers, &epoch);
            _exit(err != MRMR_OK);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        ok(pool_writers_open(dirfd_of_folder, &writers));
        ok(pool_writers_stop(writers));
        pool_writers_go(writers);
        ok(pool_writers_enter(writers, &epoch));
        pool_writers_leave(writers);
        pool_writers_close(writers);
    }
}

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.80s/mrmr-writers-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    dirfd_of_folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd_of_folder < 0 ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlinkat(dirfd_of_folder, "writers", 0);
    close(dirfd_of_folder);
    return rmdir(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_they_stand_still),
        cmocka_unit_test(test_two_stop_them),
        cmocka_unit_test(test_a_process_ends),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_writers", tests, make_folder, remove_folder);
}
