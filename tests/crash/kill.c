/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The process dies (SIGKILL) in the middle of a job: at a random moment, and at the N-th call of a
 * driver, on folders as drives. What was claimed is there, the catalog opens, what was begun is
 * settled, and the job goes on to its end.
 *
 *     test_crash_kill [long]       MRMR_ROUNDS: how many deaths of each kind for each job;
 * MRMR_SEED repeats a run
 */
#include "tests/support/scenario.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static unsigned rounds = 1;

static void tap_die(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

/* In a child: no expectation fails here. */
static void run_and_exit(const struct scenario *scenario, struct rig *rig)
{
    if (!freopen("/dev/null", "w", stderr))
        _exit(2);
    mrmr_err err = rig_try_open(rig);
    if (!err)
        err = scenario->run(rig);
    rig_close(rig);
    _exit(err ? 1 : 0);
}

/* True if it died before its end. */
static bool run_to_death(const struct scenario *scenario, struct rig *rig, int64_t after_ns)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        run_and_exit(scenario, rig);
    assert_true(pid > 0);
    if (after_ns >= 0) {
        struct timespec wait = {after_ns / MRMR_NS_PER_S, after_ns % MRMR_NS_PER_S};
        nanosleep(&wait, NULL);
        kill(pid, SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status);
}

static unsigned killed_at_random(const struct scenario *scenario, int64_t ns, uint64_t seed)
{
    unsigned died = 0;
    for (unsigned i = 0; i < rounds; i++) {
        struct rig *rig = scenario_begin(scenario, RIG_LOCAL, seed + i);
        int64_t after = (int64_t)rig_random(rig, (uint64_t)ns);
        printf("%s: round %u of seed %" PRIu64 ": killed after %" PRId64 " of %" PRId64 " us\n",
            scenario->name, i, seed, after / 1000, ns / 1000);
        died += run_to_death(scenario, rig, after);
        scenario_end(scenario, rig, 0);
    }
    return died;
}

static unsigned killed_at_calls(
    const struct scenario *scenario, uint32_t ops, uint64_t calls, uint64_t seed)
{
    unsigned died = 0;
    uint64_t stride = calls > rounds && rounds ? calls / rounds : 1;
    for (uint64_t n = seed % stride; n < calls; n += stride) {
        struct rig *rig = scenario_begin(scenario, RIG_LOCAL, seed);
        bool late = rig_random(rig, 2);
        printf("%s: seed %" PRIu64 ": dies %s call %" PRIu64 " of %" PRIu64 "%s\n", scenario->name,
            seed, late ? "after" : "at", n, calls, ops == RIG_CUTS ? " that change a drive" : "");
        rig_tap(rig, ops, n, late, tap_die);
        died += run_to_death(scenario, rig, -1);
        rig_clear_faults(rig);
        scenario_end(scenario, rig, 0);
    }
    return died;
}

static void test_killed(void **state)
{
    const struct scenario *scenario = *state;
    uint64_t seed = rig_seed(scenario->name);
    static const uint32_t ops[] = {DRV_FAULT_ALL & ~RIG_CUTS, RIG_CUTS};
    uint64_t calls[2];
    int64_t ns = scenario_measure(scenario, RIG_LOCAL, seed, ops, 2, calls);
    unsigned died = killed_at_random(scenario, ns, seed);
    /* Once at a call of either kind, if it is not to be more often. */
    for (unsigned i = rounds == 1 ? seed % 2 : 0; i < 2; i += rounds == 1 ? 2 : 1)
        died += killed_at_calls(scenario, ops[i], calls[i], seed);
    printf("%s: %u deaths\n", scenario->name, died);
    assert_true(died > 0);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[16];
    rounds = rig_rounds(argc > 1 && strcmp(argv[1], "long") == 0 ? 20 : rounds);
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    for (size_t i = 0; i < nscenarios; i++)
        tests[i] =
            (struct CMUnitTest){scenarios[i].name, test_killed, NULL, NULL, (void *)&scenarios[i]};
    return _cmocka_run_group_tests("kill", tests, nscenarios, NULL, NULL);
}
