/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Killed between two changes of the catalog of which the one without the other would be a hole: where blocks leave a stripe, and
 * where what is lost is given up.
 */
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- changes --- */

static unsigned changes_left; /* until the one before which the process dies; 0: it does not */

static void at_change(void)
{
    if (changes_left && --changes_left == 0)
        kill(getpid(), SIGKILL);
}

mrmr_err __real_meta_expose(struct meta *meta, const struct meta_exposed *range);
mrmr_err __wrap_meta_expose(struct meta *meta, const struct meta_exposed *range);
mrmr_err __wrap_meta_expose(struct meta *meta, const struct meta_exposed *range)
{
    at_change();
    return __real_meta_expose(meta, range);
}

mrmr_err __real_meta_extent_judge(
    struct meta *meta, int64_t id, const struct meta_verdict *verdict, size_t n);
mrmr_err __wrap_meta_extent_judge(
    struct meta *meta, int64_t id, const struct meta_verdict *verdict, size_t n);
mrmr_err __wrap_meta_extent_judge(
    struct meta *meta, int64_t id, const struct meta_verdict *verdict, size_t n)
{
    at_change();
    return __real_meta_extent_judge(meta, id, verdict, n);
}

static mrmr_err sync_and_accept(struct rig *rig)
{
    struct pool_job job = rig_job(rig);
    const struct pool_sync_options accept = {.accept_changes = true};
    return pool_sync(rig->pool, &job, &accept, &rig->report);
}

/* False: it came to its end before. */
static bool dies_before(struct rig *rig, unsigned n)
{
    int status;
    rig_close(rig);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        if (rig_try_open(rig))
            _exit(2);
        changes_left = n;
        const bool failed = sync_and_accept(rig);
        _exit(failed ? 1 : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_open(rig);
    if (WIFSIGNALED(status))
        assert_int_equal(WTERMSIG(status), SIGKILL);
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static void each_cut(struct rig *(*make)(void), void (*then)(struct rig *rig), unsigned least)
{
    unsigned cuts = 0;
    for (bool died = true; died;) {
        struct rig *rig = make();
        died = dies_before(rig, cuts + 1);
        rig_check(rig); /* a leaf that is neither wanted of a stripe nor exposed, too */
        then(rig);
        rig_check(rig);
        rig_destroy(rig);
        cuts += died;
    }
    print_message("killed before %u changes\n", cuts);
    assert_true(cuts >= least);
}

/* --- blocks that leave a stripe (mend_evict.c) --- */

static struct rig *make_full(void)
{
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .redundancy = 1, .seed = 91});
    rig_one_each(rig, 5, 2 * RIG_MIB);
    rig_ok(pool_set_redundancy(rig->pool, 2));
    return rig;
}

static void has_two_rows(struct rig *rig)
{
    rig_verify_without(rig, 1, false); /* nothing is less safe */
    rig_protect_all(rig);
    rig_verify(rig, true);
    rig_check_originals(rig);
}

static void test_blocks_leave(void **state)
{
    (void)state;
    each_cut(make_full, has_two_rows, 2);
}

/* --- what is lost (mend_give_up.c) --- */

static struct rig *make_lost(void)
{
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = 4, .redundancy = 1, .seed = 92});
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 0, "f0", 5);
    rig_rot(rig, 1, "f1", 5);
    rig_scrub(rig, false);
    rig_edit(rig, "f2", RIG_MIB + 5, 10);
    return rig;
}

static void is_protected_as_it_is(struct rig *rig)
{
    for (unsigned i = 0; i < 8 && (!i || rig->report.exposed_bytes); i++)
        rig_ok(sync_and_accept(rig));
    assert_int_equal(rig->report.exposed_bytes, 0);
    const struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.damaged + report.lost, 0);
}

static void test_given_up(void **state)
{
    (void)state;
    each_cut(make_lost, is_protected_as_it_is, 4);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_leave),
        cmocka_unit_test(test_given_up),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_mend_cuts", tests, NULL, NULL);
}
