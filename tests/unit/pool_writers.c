/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Writers and whoever stops them: as two processes have it, with a handle each.
 */
#include "pool/writers.h"

#include "base/clock.h"
#include "base/thread.h"
#include "drivers/hold.h"
#include "pool/pool.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WRITERS = 4, STOPS = 200, WAIT_MS = 100, LONG_MS = 700, ALARM_S = 30 };

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

static void they_stand_still(int64_t stay)
{
    struct bench bench = {.in = 0};
    pthread_t thread[WRITERS];
    uint64_t first, epoch, before, after;
    for (unsigned i = 0; i < 2; i++)
        ok(pool_writers_open(dirfd_of_folder, &bench.writers[i]));
    pool_writers_stay(bench.writers[0], stay);
    ok(pool_writers_epoch(bench.writers[1], &first));
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, writer_run, &bench), 0);
    for (unsigned i = 0; i < STOPS; i++) {
        ok(pool_writers_stop(
            bench.writers[1], NULL)); /* is not starved by those who go in and out */
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
    ok(pool_writers_stop(bench.writers[1], NULL));
    ok(pool_writers_turn(bench.writers[1], &before));
    pool_writers_go(bench.writers[1]);
    ok(pool_writers_enter(bench.writers[0], &epoch));
    assert_int_equal(epoch, first + STOPS);
    pool_writers_leave(bench.writers[0]);
    ok(pool_writers_turn(bench.writers[1], &after));
    assert_true(after != before);
    for (unsigned i = 0; i < 2; i++)
        pool_writers_close(bench.writers[i]);
}

static void test_they_stand_still(void **state)
{
    (void)state;
    they_stand_still(0);
}

static void test_they_stand_still_and_stay_in(void **state)
{
    (void)state;
    they_stand_still(2 * 1000 * 1000);
}

/* Threads of one owner commit side by side: while one of them has stopped the writers, neither a
 * writer nor another of them is in. */
static void *stopper_run(void *arg)
{
    struct bench *bench = arg;
    for (unsigned i = 0; i < STOPS; i++) {
        ok(pool_writers_stop(bench->writers[1], NULL));
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

static void sleep_ms(long ms)
{
    const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&ts, NULL);
}

static int64_t ms_since(int64_t then)
{
    return (mrmr_clock_monotonic() - then) / 1000000;
}

/* From a stop on, by a new epoch, until the owner says that it is over, or dies; and it is in nobody's way. */
static void test_a_scan_is_under_way(void **state)
{
    (void)state;
    struct pool_writers *writer, *owner;
    uint64_t before, after;
    ok(pool_writers_open(dirfd_of_folder, &writer));
    for (unsigned i = 0; i < 2; i++) {
        ok(pool_writers_open(dirfd_of_folder, &owner));
        ok(pool_writers_enter(writer, &before));
        assert_false(pool_writers_scanned(writer));
        pool_writers_leave(writer);
        ok(pool_writers_stop(owner, NULL));
        ok(pool_writers_scan_begin(owner));
        pool_writers_go(owner);
        for (unsigned j = 0; j < 2; j++) {
            ok(pool_writers_enter(writer, &after));
            assert_int_not_equal(before, after);
            assert_true(pool_writers_scanned(writer));
            pool_writers_leave(writer);
            ok(pool_writers_stop(owner, NULL));
            pool_writers_go(owner);
        }
        if (i)
            pool_writers_scan_end(owner);
        else
            pool_writers_close(owner);
        assert_false(pool_writers_scanned(writer));
    }
    pool_writers_close(owner);
    pool_writers_close(writer);
}

/* The wait for one that hangs ends, whoever stops; and nobody is stopped then. */
static void test_a_writer_hangs(void **state)
{
    (void)state;
    struct bench bench = {.in = 0};
    uint64_t epoch;
    for (unsigned i = 0; i < 2; i++)
        ok(pool_writers_open(dirfd_of_folder, &bench.writers[i]));
    pool_writers_wait_at_most(bench.writers[1], WAIT_MS * INT64_C(1000000));
    ok(pool_writers_enter(bench.writers[0], &epoch));
    alarm(ALARM_S); /* rather than to wait for ever */
    for (unsigned i = 0; i < 2; i++) {
        int64_t begin = mrmr_clock_monotonic();
        assert_int_equal(pool_writers_stop(bench.writers[1], NULL), MRMR_BUSY);
        assert_true(ms_since(begin) >= WAIT_MS);
        assert_non_null(strstr(mrmr_story_get()->text, "mount"));
        assert_non_null(strstr(mrmr_story_get()->hint, "mrmr drives"));
    }
    ok(pool_writers_enter(bench.writers[0], &epoch)); /* the gate is open */
    pool_writers_leave(bench.writers[0]);
    pool_writers_leave(bench.writers[0]);
    ok(pool_writers_stop(bench.writers[1], NULL));
    pool_writers_go(bench.writers[1]);
    alarm(0);
    for (unsigned i = 0; i < 2; i++)
        pool_writers_close(bench.writers[i]);
}

/* An op of a change goes on after its caller gave it up: nobody stops the writers until it has ended,
 * and nobody else waits for it. What is closed meanwhile, or stopped just then, makes no difference. */
static void test_a_change_is_late(void **state)
{
    (void)state;
    struct pool_writers *writer, *other, *owner;
    uint64_t epoch;
    ok(pool_writers_open(dirfd_of_folder, &writer));
    ok(pool_writers_open(dirfd_of_folder, &other));
    ok(pool_writers_open(dirfd_of_folder, &owner));
    pool_writers_wait_at_most(owner, WAIT_MS * INT64_C(1000000));
    assert_false(pool_writers_inside());
    ok(pool_writers_begin(writer, &epoch));
    assert_true(pool_writers_inside());
    struct drv_hold *op[2] = {drv_hold_share(drv_hold_own()), drv_hold_share(drv_hold_own())};
    pool_writers_end();
    assert_false(pool_writers_inside());
    pool_writers_close(writer);
    alarm(ALARM_S);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pool_writers_stop(owner, NULL), MRMR_BUSY);
        assert_non_null(strstr(mrmr_story_get()->text, "may be written yet"));
        assert_non_null(strstr(mrmr_story_get()->hint, "mrmr drives"));
        ok(pool_writers_begin(other, &epoch));
        pool_writers_end();
        drv_hold_put(op[i]);
    }
    ok(pool_writers_stop(owner, NULL));
    pool_writers_go(owner);
    alarm(0);
    pool_writers_close(other);
    pool_writers_close(owner);
}

static mrmr_err stop_for(struct pool_writers *owner, int64_t drive)
{
    mrmr_err err = pool_writers_stop_of(owner, NULL, &(struct pool_writers_of){&drive, 1});
    if (!err)
        pool_writers_go(owner);
    return err;
}

static bool is_late(int64_t drive)
{
    bool late;
    ok(pool_writers_late_on(dirfd_of_folder, drive, &late));
    return late;
}

/* What was given up of the change, before it ended. */
static struct drv_hold *late_on(struct pool_writers *writer, const int64_t drives[], size_t n)
{
    uint64_t epoch;
    ok(pool_writers_begin(writer, &epoch));
    struct drv_hold *op = drv_hold_share(drv_hold_own());
    for (size_t i = 0; i < n; i++)
        drv_hold_gave_up(drives[i]);
    pool_writers_end();
    return op;
}

/* Only who stops them for that drive, or for all, waits. Two changes on one drive are late until both
 * have ended, and one on two drives on either. */
static void test_late_on_a_drive(void **state)
{
    (void)state;
    struct pool_writers *writer, *owner;
    ok(pool_writers_open(dirfd_of_folder, &writer));
    ok(pool_writers_open(dirfd_of_folder, &owner));
    pool_writers_wait_at_most(owner, WAIT_MS * INT64_C(1000000));
    struct drv_hold *both = late_on(writer, (int64_t[]){7, 9, 7}, 3);
    struct drv_hold *seven = late_on(writer, (int64_t[]){7}, 1);
    alarm(ALARM_S);
    assert_int_equal(stop_for(owner, 7), MRMR_BUSY);
    assert_int_equal(stop_for(owner, 9), MRMR_BUSY);
    int64_t begin = mrmr_clock_monotonic();
    ok(stop_for(owner, 8));
    ok(stop_for(owner, 10)); /* whichever is added */
    ok(pool_writers_stop_of(owner, NULL, &(struct pool_writers_of){NULL, 0}));
    pool_writers_go(owner);
    assert_true(ms_since(begin) < WAIT_MS);
    assert_int_equal(pool_writers_stop(owner, NULL), MRMR_BUSY);
    assert_true(is_late(7) && is_late(9) && !is_late(8));
    drv_hold_put(both);
    assert_true(is_late(7) && !is_late(9));
    ok(stop_for(owner, 9));
    assert_int_equal(stop_for(owner, 7), MRMR_BUSY);
    drv_hold_put(seven);
    assert_false(is_late(7));
    ok(pool_writers_stop(owner, NULL));
    pool_writers_go(owner);
    alarm(0);
    pool_writers_close(writer);
    pool_writers_close(owner);
}

static void *stop_for_7_run(void *arg)
{
    assert_int_equal(stop_for(arg, 7), MRMR_BUSY);
    return NULL;
}

/* Nor does another thread of the owner, which commits for another drive, wait with the one that waits. */
static void test_one_waits_and_another_commits(void **state)
{
    (void)state;
    struct pool_writers *writer, *owner;
    pthread_t thread;
    ok(pool_writers_open(dirfd_of_folder, &writer));
    ok(pool_writers_open(dirfd_of_folder, &owner));
    pool_writers_wait_at_most(owner, LONG_MS * INT64_C(1000000));
    struct drv_hold *op = late_on(writer, (int64_t[]){7}, 1);
    alarm(ALARM_S);
    int64_t begin = mrmr_clock_monotonic();
    assert_int_equal(pthread_create(&thread, NULL, stop_for_7_run, owner), 0);
    sleep_ms(WAIT_MS);
    ok(stop_for(owner, 8));
    assert_true(ms_since(begin) < LONG_MS);
    pthread_join(thread, NULL);
    assert_true(ms_since(begin) >= LONG_MS);
    drv_hold_put(op);
    alarm(0);
    pool_writers_close(writer);
    pool_writers_close(owner);
}

/* However many drives gave ops of it up, it is late on those and no other. */
static void test_late_on_many_drives(void **state)
{
    (void)state;
    enum { MANY = 70 };
    struct pool_writers *writer, *owner;
    int64_t drives[MANY];
    ok(pool_writers_open(dirfd_of_folder, &writer));
    ok(pool_writers_open(dirfd_of_folder, &owner));
    pool_writers_wait_at_most(owner, WAIT_MS * INT64_C(1000000));
    alarm(ALARM_S);
    for (size_t i = 0; i < MANY; i++)
        drives[i] = (int64_t)i + 1;
    for (size_t n = 1; n <= MANY; n += 3) {
        struct drv_hold *op = late_on(writer, drives, n);
        assert_int_equal(stop_for(owner, MANY + 1), MRMR_OK);
        assert_int_equal(stop_for(owner, (int64_t)n), MRMR_BUSY);
        for (size_t i = 0; i < MANY; i++)
            assert_int_equal(is_late(drives[i]), i < n);
        drv_hold_put(op);
        ok(stop_for(owner, (int64_t)n));
    }
    alarm(0);
    pool_writers_close(writer);
    pool_writers_close(owner);
}

/* One that has no name could be any. */
static void test_late_on_any_drive(void **state)
{
    (void)state;
    struct pool_writers *writer, *owner;
    static const int64_t some[] = {1, 0};
    ok(pool_writers_open(dirfd_of_folder, &writer));
    ok(pool_writers_open(dirfd_of_folder, &owner));
    pool_writers_wait_at_most(owner, WAIT_MS * INT64_C(1000000));
    alarm(ALARM_S);
    for (size_t i = 0; i < 3; i++) {
        struct drv_hold *op = late_on(writer, i == 0 ? NULL : &some[i - 1], i == 0 ? 0 : 3 - i);
        assert_int_equal(stop_for(owner, 99), MRMR_BUSY);
        drv_hold_put(op);
        ok(stop_for(owner, 99));
    }
    ok(pool_writers_stop(owner, NULL));
    pool_writers_go(owner);
    alarm(0);
    pool_writers_close(writer);
    pool_writers_close(owner);
}

static void *late_run(void *arg)
{
    struct pool_writers *writer = arg;
    uint64_t epoch;
    ok(pool_writers_begin(writer, &epoch));
    struct drv_hold *op = drv_hold_share(drv_hold_own());
    sleep_ms(WAIT_MS);
    pool_writers_end();
    sleep_ms(WAIT_MS);
    drv_hold_put(op);
    return NULL;
}

/* One that becomes late while it is waited for is waited for further. */
static void test_a_change_becomes_late(void **state)
{
    (void)state;
    struct pool_writers *writer, *owner;
    pthread_t thread;
    uint64_t before, after;
    ok(pool_writers_open(dirfd_of_folder, &writer));
    ok(pool_writers_open(dirfd_of_folder, &owner));
    ok(pool_writers_turn(owner, &before));
    assert_int_equal(pthread_create(&thread, NULL, late_run, writer), 0);
    do
        ok(pool_writers_turn(owner, &after));
    while (after == before);
    int64_t begin = mrmr_clock_monotonic();
    ok(pool_writers_stop(owner, NULL));
    assert_true(ms_since(begin) >= 2 * WAIT_MS - 20);
    pool_writers_go(owner);
    pthread_join(thread, NULL);
    pool_writers_close(writer);
    pool_writers_close(owner);
}

/* Another thread of the owner has stopped them, and does not let them go. */
static void *stop_busy_run(void *arg)
{
    assert_int_equal(pool_writers_stop(arg, NULL), MRMR_BUSY);
    return NULL;
}

static void test_who_stops_hangs(void **state)
{
    (void)state;
    struct pool_writers *writers;
    pthread_t thread;
    ok(pool_writers_open(dirfd_of_folder, &writers));
    pool_writers_wait_at_most(writers, WAIT_MS * INT64_C(1000000));
    ok(pool_writers_stop(writers, NULL));
    alarm(ALARM_S);
    assert_int_equal(pthread_create(&thread, NULL, stop_busy_run, writers), 0);
    pthread_join(thread, NULL);
    alarm(0);
    pool_writers_go(writers);
    ok(pool_writers_stop(writers, NULL));
    pool_writers_go(writers);
    pool_writers_close(writers);
}

static void *cancel_run(void *arg)
{
    struct mrmr_cancel *cancel = arg;
    sleep_ms(WAIT_MS);
    atomic_store(&cancel->flag, true);
    return NULL;
}

static void test_the_job_is_cancelled(void **state)
{
    (void)state;
    struct pool_writers *writers[2];
    struct mrmr_cancel cancel = {.flag = false};
    const struct pool_job job = {.cancel = &cancel};
    pthread_t thread;
    uint64_t epoch;
    for (unsigned i = 0; i < 2; i++)
        ok(pool_writers_open(dirfd_of_folder, &writers[i]));
    ok(pool_writers_enter(writers[0], &epoch));
    assert_int_equal(pthread_create(&thread, NULL, cancel_run, &cancel), 0);
    alarm(ALARM_S);
    int64_t begin = mrmr_clock_monotonic();
    assert_int_equal(pool_writers_stop(writers[1], &job), MRMR_CANCELLED);
    assert_true(ms_since(begin) < ALARM_S * 1000 / 2);
    pthread_join(thread, NULL);
    ok(pool_writers_enter(writers[0], &epoch));
    alarm(0);
    for (unsigned i = 0; i < 2; i++)
        pool_writers_leave(writers[0]);
    for (unsigned i = 0; i < 2; i++)
        pool_writers_close(writers[i]);
}

/* What was looked at before a long wait is looked at again. */
struct looks {
    unsigned n;
    atomic_bool left;
    bool after; /* the last look was taken when the writer had left */
    struct pool_writers *writers;
};

static mrmr_err look(void *arg)
{
    struct looks *looks = arg;
    looks->n++;
    looks->after = atomic_load(&looks->left);
    return MRMR_OK;
}

static mrmr_err look_fails(void *arg)
{
    look(arg);
    return mrmr_fail(MRMR_DIVERGED, NULL);
}

static void *leave_run(void *arg)
{
    struct looks *looks = arg;
    sleep_ms(LONG_MS);
    atomic_store(&looks->left, true);
    pool_writers_leave(looks->writers);
    return NULL;
}

static void test_a_look_is_new(void **state)
{
    (void)state;
    struct pool_writers *writers;
    struct looks looks = {.left = false};
    pthread_t thread;
    uint64_t epoch;
    ok(pool_writers_open(dirfd_of_folder, &looks.writers));
    ok(pool_writers_open(dirfd_of_folder, &writers));
    ok(pool_writers_stop_after(writers, NULL, NULL, look, &looks));
    assert_int_equal(looks.n, 1);
    pool_writers_go(writers);
    ok(pool_writers_enter(looks.writers, &epoch));
    assert_int_equal(pthread_create(&thread, NULL, leave_run, &looks), 0);
    ok(pool_writers_stop_after(writers, NULL, NULL, look, &looks));
    assert_int_equal(looks.n, 3);
    assert_true(looks.after);
    pool_writers_go(writers);
    pthread_join(thread, NULL);
    assert_int_equal(
        pool_writers_stop_after(writers, NULL, NULL, look_fails, &looks), MRMR_DIVERGED);
    ok(pool_writers_enter(looks.writers, &epoch));
    pool_writers_leave(looks.writers);
    pool_writers_close(writers);
    pool_writers_close(looks.writers);
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
                err =
                    stops ? pool_writers_stop(writers, NULL) : pool_writers_enter(writers, &epoch);
            _exit(err != MRMR_OK);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        ok(pool_writers_open(dirfd_of_folder, &writers));
        ok(pool_writers_stop(writers, NULL));
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

static uint64_t turn_in_file(void)
{
    uint64_t turn = 0;
    int fd = openat(dirfd_of_folder, "writers", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, &turn, sizeof turn, sizeof turn), sizeof turn);
    close(fd);
    return turn;
}

/* Writes to the file, and so its locks, are as many as moments, not as changes; who stops them waits for
 * the moment, and not for those who come and come. */
static void test_who_writes_stays_in(void **state)
{
    enum { LOOKS = 200, STAY_MS = 100 };
    struct pool_writers *writer, *stopper;
    uint64_t epoch, next, turn = 0, turns = 0;
    (void)state;
    ok(pool_writers_open(dirfd_of_folder, &writer));
    ok(pool_writers_open(dirfd_of_folder, &stopper));
    pool_writers_stay(writer, STAY_MS * INT64_C(1000000));
    const int64_t start = mrmr_clock_monotonic();
    for (unsigned i = 0; i < LOOKS; i++) {
        ok(pool_writers_enter(writer, &epoch));
        pool_writers_leave(writer);
        turns += turn != turn_in_file();
        turn = turn_in_file();
    }
    const int64_t took = mrmr_clock_monotonic() - start;
    assert_in_range(turns, 1, 1 + took / (STAY_MS * INT64_C(1000000)));
    ok(pool_writers_enter(writer, &epoch));
    const uint64_t stays = pool_writers_stays(writer);
    pool_writers_leave(writer);
    ok(pool_writers_stop(stopper, NULL)); /* nobody comes who would give the lock back */
    ok(pool_writers_new_epoch(stopper));
    turn = turn_in_file();
    pool_writers_go(stopper);
    ok(pool_writers_enter(writer, &next));
    assert_int_equal(next, epoch + 1);
    assert_int_not_equal(turn_in_file(), turn);
    assert_int_not_equal(pool_writers_stays(writer), stays);
    pool_writers_leave(writer);
    pool_writers_close(writer);
    ok(pool_writers_stop(stopper, NULL));
    pool_writers_go(stopper);
    pool_writers_close(stopper);
}

/* Stays in until another one has come after it, or for a moment. */
static void *relay_run(void *arg)
{
    struct bench *bench = arg;
    uint64_t epoch;
    while (!atomic_load(&bench->end)) {
        ok(pool_writers_enter(bench->writers[0], &epoch));
        const int64_t until = mrmr_clock_monotonic() + MRMR_NS_PER_S / 2;
        const uint64_t mine = atomic_fetch_add(&bench->entries, 1) + 1;
        while (atomic_load(&bench->entries) == mine && mrmr_clock_monotonic() < until)
            sched_yield();
        pool_writers_leave(bench->writers[0]);
    }
    return NULL;
}

/* At each moment somebody is in; who stops them is not kept out by that. */
static void test_there_is_always_one_in(void **state)
{
    (void)state;
    struct bench bench = {.in = 0};
    pthread_t thread[2];
    for (unsigned i = 0; i < 2; i++)
        ok(pool_writers_open(dirfd_of_folder, &bench.writers[i]));
    pool_writers_stay(bench.writers[0], 2 * 1000 * 1000);
    pool_writers_wait_at_most(bench.writers[1], 3 * MRMR_NS_PER_S);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, relay_run, &bench), 0);
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; !err && i < 3; i++) {
        err = pool_writers_stop(bench.writers[1], NULL);
        if (!err)
            pool_writers_go(bench.writers[1]);
    }
    atomic_store(&bench.end, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    ok(err);
    for (unsigned i = 0; i < 2; i++)
        pool_writers_close(bench.writers[i]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_they_stand_still),
        cmocka_unit_test(test_they_stand_still_and_stay_in),
        cmocka_unit_test(test_who_writes_stays_in),
        cmocka_unit_test(test_there_is_always_one_in),
        cmocka_unit_test(test_two_stop_them),
        cmocka_unit_test(test_a_process_ends),
        cmocka_unit_test(test_a_scan_is_under_way),
        cmocka_unit_test(test_a_writer_hangs),
        cmocka_unit_test(test_a_change_is_late),
        cmocka_unit_test(test_a_change_becomes_late),
        cmocka_unit_test(test_late_on_a_drive),
        cmocka_unit_test(test_one_waits_and_another_commits),
        cmocka_unit_test(test_late_on_many_drives),
        cmocka_unit_test(test_late_on_any_drive),
        cmocka_unit_test(test_who_stops_hangs),
        cmocka_unit_test(test_the_job_is_cancelled),
        cmocka_unit_test(test_a_look_is_new),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_writers", tests, make_folder, remove_folder);
}
