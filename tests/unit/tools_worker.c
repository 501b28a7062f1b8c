/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the daemon does by itself, and when.
 */
#include "tests/unit/base_check.h"
#include "tools/worker.h"

#include "base/clock.h"
#include <stdlib.h>

#define S MRMR_NS_PER_S
enum { HOUR = 3600, DAY = 24 * HOUR };

/* Hours after it began, with everything protected. */
static struct worker_view idle(void)
{
    return (struct worker_view){.now = 1000000 * S,
        .settle = 60 * S,
        .scan_every = HOUR * S,
        .synced = 1000000 * S - 100 * S,
        .looking = 2 * S,
        .scrubbed = 1000000 * S - HOUR * S};
}

static void due(const struct worker_view *view, enum worker_job job, int64_t again)
{
    int64_t at;
    assert_int_equal(worker_due(view, &at), job);
    assert_int_equal(at, again);
}

static void test_at_its_start(void **state)
{
    struct worker_view v = {.now = 5 * S, .settle = 60 * S, .scan_every = HOUR * S};
    (void)state;
    due(&v, WORKER_SYNC, 5 * S);
}

static void test_nothing_to_do(void **state)
{
    struct worker_view v = idle();
    (void)state;
    due(&v, WORKER_RESTS, v.synced + HOUR * S);
    v.now = v.synced + HOUR * S;
    due(&v, WORKER_SYNC, v.now);
}

static void test_a_change(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.changed = v.now - 59 * S;
    due(&v, WORKER_RESTS, v.now + S);
    v.changed = v.now - 60 * S;
    due(&v, WORKER_SYNC, v.now);
}

/* Something was not quiet yet, or could not be protected. */
static void test_something_is_left(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.exposed = true;
    due(&v, WORKER_SYNC, v.synced + 60 * S);
    v.now = v.synced + 10 * S;
    due(&v, WORKER_RESTS, v.synced + 60 * S);
    /* Nothing could be done about it: less and less often, and never less than without it. */
    v.idle = 1;
    due(&v, WORKER_RESTS, v.synced + 120 * S);
    v.idle = 3;
    due(&v, WORKER_RESTS, v.synced + 480 * S);
    v.idle = 1000;
    due(&v, WORKER_RESTS, v.synced + HOUR * S);
    v.idle = 0;
    v.settle = 0;
    v.looking = 0;
    v.now = v.synced;
    due(&v, WORKER_RESTS, v.synced + 10 * S);
}

/* A pool that takes ten minutes to be looked through is looked through every hundred minutes at most. */
static void test_it_rests_most_of_the_time(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.looking = 600 * S;
    v.changed = v.now - 90 * S;
    due(&v, WORKER_RESTS, v.synced + 5400 * S);
    v.now = v.synced + 5400 * S;
    due(&v, WORKER_SYNC, v.now);
}

static void test_paused(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.rests = true;
    v.changed = v.now - HOUR * S;
    v.scrubs = true;
    v.scrubbed = 0;
    due(&v, WORKER_RESTS, INT64_MAX);
}

/* Old bytes are let go of all the same: once what was changed has settled, and at once when somebody waits for the room. */
static void test_a_release(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.gone = v.now - HOUR * S;
    due(&v, WORKER_RESTS, v.synced + HOUR * S); /* a sync does it on the way */
    v.rests = true;
    v.gone = v.now - 59 * S;
    due(&v, WORKER_RESTS, v.now + S);
    v.gone = v.now - 60 * S;
    due(&v, WORKER_RELEASE, v.now);
    v.release_again = v.now + 30 * S;
    due(&v, WORKER_RESTS, v.release_again);
    v.release_again = v.gone = 0;
    v.waits_for_room = true;
    due(&v, WORKER_RELEASE, v.now);
    v.release_again = v.now + 5 * S;
    due(&v, WORKER_RESTS, v.release_again);
    /* Before what else is due, and whatever failed of that. */
    v = idle();
    v.changed = v.now - HOUR * S;
    v.waits_for_room = true;
    due(&v, WORKER_RELEASE, v.synced + 18 * S);
    v.again = v.now + 30 * S;
    due(&v, WORKER_RELEASE, v.now);
}

/* What the last release had to leave, as on a drive that is away for good: any change may be its return, and mostly is not. */
static void test_releases_that_leave_something(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.unsure = v.now - HOUR * S;
    due(&v, WORKER_RESTS, v.synced + HOUR * S); /* a sync does it on the way */
    v.rests = true;
    due(&v, WORKER_RELEASE, v.now - HOUR * S + 60 * S); /* nothing is known of a release yet */
    v.released = v.now;
    v.left = 1;
    due(&v, WORKER_RESTS, v.released + 60 * S);
    v.left = 3;
    due(&v, WORKER_RESTS, v.released + 240 * S);
    v.left = 1000; /* and never less often than the drives are looked at */
    due(&v, WORKER_RESTS, v.released + HOUR * S);
    v.settle = 0;
    v.left = 1;
    due(&v, WORKER_RESTS, v.released + 10 * S);
    v.unsure = v.now + 20 * S; /* it was long ago by then */
    v.now += 20 * S;
    due(&v, WORKER_RELEASE, v.unsure);
    /* What is known to be kept does not wait for that. */
    v.left = 1000;
    v.gone = v.now;
    due(&v, WORKER_RELEASE, v.now);
    v.gone = v.unsure = 0;
    due(&v, WORKER_RESTS, INT64_MAX);
}

static void test_after_a_failure(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.changed = v.now - HOUR * S;
    v.again = v.now + 30 * S;
    due(&v, WORKER_RESTS, v.again);
}

static void test_a_scrub_each_day(void **state)
{
    struct worker_view v = idle();
    (void)state;
    v.scrubs = true;
    due(&v, WORKER_RESTS, v.synced + HOUR * S);
    v.scrubbed = v.now - DAY * S;
    due(&v, WORKER_SCRUB, v.now);
    v.changed = v.now - HOUR * S; /* what is new comes first */
    due(&v, WORKER_SYNC, v.synced + 18 * S);
    v.changed = v.synced = 0; /* and a first sync */
    due(&v, WORKER_SYNC, v.now);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_its_start),
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_a_change),
        cmocka_unit_test(test_something_is_left),
        cmocka_unit_test(test_it_rests_most_of_the_time),
        cmocka_unit_test(test_paused),
        cmocka_unit_test(test_a_release),
        cmocka_unit_test(test_releases_that_leave_something),
        cmocka_unit_test(test_after_a_failure),
        cmocka_unit_test(test_a_scrub_each_day),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("tools_worker", tests, NULL, NULL);
}
