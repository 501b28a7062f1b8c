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

static unsigned rounds = 8;

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

/* How long an undisturbed run takes, and how many calls it makes. */
static void measure(
    const struct scenario *scenario, uint64_t seed, int64_t *ret_ns, uint64_t *ret_calls)
{
    struct rig *rig = scenario_begin(scenario, RIG_LOCAL, seed);
    uint64_t calls = rig->calls;
    int64_t start = mrmr_clock_monotonic();
    rig_open(rig);
    rig_ok(scenario->run(rig));
    rig_close(rig);
    *ret_ns = mrmr_clock_monotonic() - start;
    *ret_calls = rig->calls - calls;
    scenario_end(scenario, rig);
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

static void test_killed(void **state)
{
    const struct scenario *scenario = *state;
    uint64_t seed = rig_seed(scenario->name), calls, died = 0;
    int64_t ns;
    measure(scenario, seed, &ns, &calls);
    for (unsigned i = 0; i < rounds; i++) {
        struct rig *rig = scenario_begin(scenario, RIG_LOCAL, seed + i);
        int64_t after = (int64_t)rig_random(rig, (uint64_t)ns);
        printf("%s: round %u of seed %" PRIu64 ": killed after %" PRId64 " of %" PRId64 " us\n",
            scenario->name, i, seed, after / 1000, ns / 1000);
        died += run_to_death(scenario, rig, after);
        scenario_end(scenario, rig);
    }
    uint64_t stride = calls > rounds && rounds ? calls / rounds : 1;
    for (uint64_t n = seed % stride; n < calls; n += stride) {
        struct rig *rig = scenario_begin(scenario, RIG_LOCAL, seed);
        printf("%s: seed %" PRIu64 ": dies at call %" PRIu64 " of %" PRIu64 "\n", scenario->name,
            seed, n, calls);
        rig_tap(rig, n, tap_die);
        died += run_to_death(scenario, rig, -1);
        rig_clear_faults(rig);
        scenario_end(scenario, rig);
    }
    printf("%s: %" PRIu64 " deaths\n", scenario->name, died);
    assert_true(died > 0);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[16];
    rounds = rig_rounds(argc > 1 && strcmp(argv[1], "long") == 0 ? 500 : rounds);
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    for (size_t i = 0; i < nscenarios; i++)
        tests[i] =
            (struct CMUnitTest){scenarios[i].name, test_killed, NULL, NULL, (void *)&scenarios[i]};
    return _cmocka_run_group_tests("kill", tests, nscenarios, NULL, NULL);
}
