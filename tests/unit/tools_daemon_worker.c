/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the daemon does by itself while it is paused: it lets go of what is kept, once, and not again after each change. And that a
 * scrub which is done is not done again.
 */
#include "tests/unit/base_check.h"
#include "tools/daemon_inside.h"

#include "base/clock.h"
#include <signal.h>
#include <stdlib.h>

enum { HOUR = 3600, LASTS = 3, SETTLE = 60 };

static int64_t now_s; /* s */
static unsigned releases;
int64_t __wrap_mrmr_clock_boot(void);
int64_t __wrap_mrmr_clock_monotonic(void);

int64_t __wrap_mrmr_clock_boot(void)
{
    return now_s * MRMR_NS_PER_S;
}

int64_t __wrap_mrmr_clock_monotonic(void)
{
    return now_s * MRMR_NS_PER_S;
}

/* --- the rest of the daemon --- */

void daemon_hear_stop(struct daemon *d)
{
    (void)d;
}

mrmr_err hook_set(struct hook *hook, const char *program)
{
    (void)hook, (void)program;
    return MRMR_OK;
}

mrmr_err daemon_task_begin_own(struct daemon_task *task, enum daemon_task_kind kind,
    char *const argv[], const char *name, const sigset_t *mask)
{
    (void)argv, (void)name, (void)mask;
    *task = (struct daemon_task){.kind = kind, .says = -1, .begun = mrmr_clock_boot()};
    task->begun_awake = mrmr_clock_monotonic();
    releases += kind == TASK_RELEASE;
    return MRMR_OK;
}

/* --- */

static struct daemon paused(void)
{
    now_s = 1000;
    releases = 0;
    return (struct daemon){.dir = "pool",
        .dirfd = -1,
        .lock = -1,
        .task = {.says = -1},
        .look_regular = INT64_MAX,
        .looked = {.is = true, .paused = true, .settle = SETTLE, .scan_interval = HOUR},
        .view = {.synced = 1}};
}

/* For so long (s): whoever writes does so each second, and what is begun lasts LASTS and lets go of all, or not. */
static void goes_on(struct daemon *d, int64_t seconds, bool writes, bool lets_go)
{
    for (const int64_t until = now_s + seconds; now_s < until;) {
        if (d->task.kind == TASK_NONE)
            daemon_worker_next(d);
        now_s++;
        if (writes)
            daemon_worker_changed(d);
        if (d->task.kind == TASK_NONE || mrmr_clock_boot() < d->task.begun + LASTS * MRMR_NS_PER_S)
            continue;
        assert_int_equal(d->task.kind, TASK_RELEASE);
        d->task.let_go = lets_go;
        daemon_worker_ended(d, 0);
        d->task.kind = TASK_NONE;
    }
}

/* All that is kept is let go of: no change asks for another release, also one that comes while it is under way. */
static void test_nothing_is_kept(void **state)
{
    struct daemon d = paused();
    (void)state;
    goes_on(&d, 6 * HOUR, true, true);
    assert_in_range(releases, 1, 2);
    const unsigned before = releases;
    daemon_worker_kept(&d);
    goes_on(&d, HOUR, true, true);
    assert_int_equal(releases, before + 1);
}

/* What came while a release was under way may be the return of the drive that it found away. */
static void test_a_return_meanwhile(void **state)
{
    struct daemon d = paused();
    (void)state;
    goes_on(&d, HOUR, true, true);
    daemon_worker_kept(&d);
    const unsigned before = releases;
    while (releases == before)
        goes_on(&d, 1, false, false);
    daemon_worker_changed(&d);
    goes_on(&d, LASTS, false, false);
    goes_on(&d, HOUR, false, true);
    assert_int_equal(releases, before + 2);
}

/* A drive is away for good: less and less often, and not less than the drives are looked at otherwise. Once it is back, soon. */
static void test_something_is_left(void **state)
{
    struct daemon d = paused();
    (void)state;
    goes_on(&d, 24 * HOUR, true, false);
    const unsigned first = releases;
    assert_in_range(first, 24, 32);
    goes_on(&d, 24 * HOUR, true, false);
    assert_in_range(releases - first, 23, 24);
    const unsigned before = releases;
    while (releases == before)
        goes_on(&d, 1, true, false);
    goes_on(&d, LASTS, true, false);
    daemon_worker_unsure(&d); /* whoever called has ended, as with an attach */
    goes_on(&d, 2 * SETTLE, true, true);
    assert_int_equal(releases, before + 2);
}

/* Those for whoever is short of room say nothing of how long a change waits. */
static void test_many_who_are_short_of_room(void **state)
{
    struct daemon d = paused();
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        daemon_worker_short(&d);
        goes_on(&d, 4 * LASTS, false, false);
    }
    assert_int_equal(releases, 20);
    daemon_worker_changed(&d);
    goes_on(&d, 2 * SETTLE, false, false);
    assert_int_equal(releases, 21);
}

/* A scrub that is stopped is one that goes on later, but where it has said that it is done. */
static void test_a_scrub_is_stopped(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        struct daemon d = paused();
        d.scrub_part = 1;
        d.task = (struct daemon_task){
            .kind = TASK_SCRUB, .says = -1, .stopped = true, .scrubbed = 7, .scrubbed_all = all};
        daemon_worker_ended(&d, 128 + SIGTERM);
        assert_int_equal(d.view.scrubbed, all ? mrmr_clock_boot() : 0);
        assert_int_equal(d.scrub_part, all ? 0 : 1);
        assert_int_equal(d.scrub_done, 7);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_kept),
        cmocka_unit_test(test_a_return_meanwhile),
        cmocka_unit_test(test_something_is_left),
        cmocka_unit_test(test_many_who_are_short_of_room),
        cmocka_unit_test(test_a_scrub_is_stopped),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("tools_daemon_worker", tests, NULL, NULL);
}
