/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The N-th driver call fails: once, and for good, of one drive, and of all. Whatever the job makes
 * of it, nothing that was claimed is lost, and the next undisturbed run ends well.
 *
 *     test_fault_nth_call [long]
 *
 * MRMR_ROUNDS says how many N of each kind are tried (0: every one); they are spread over all calls
 * that an undisturbed run makes.
 */
#include "tests/support/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum how { ONCE_IO, ONCE_SPACE, DRIVE_FOR_GOOD, ALL_FOR_GOOD, HOWS };
static const char *const how_name[HOWS] = {"fails once with an I/O error",
    "fails once with no space", "is the first of its drive's to fail", "and all after it fail"};

static unsigned normally = 5;

/* Calls of an undisturbed run: of all drives, and of each. */
struct calls {
    uint64_t all, drive[RIG_DRIVES_MAX];
};

static struct calls count_calls(const struct scenario *scenario, uint64_t seed)
{
    struct rig *rig = scenario_begin(scenario, RIG_MEM, seed);
    struct calls before = {.all = rig_calls(rig, DRV_FAULT_ALL)}, calls;
    for (unsigned i = 0; i < rig->n; i++)
        before.drive[i] = drv_fault_calls(rig->drive[i].fault, DRV_FAULT_ALL);
    rig_open(rig);
    rig_ok(scenario->run(rig));
    rig_close(rig);
    calls.all = rig_calls(rig, DRV_FAULT_ALL) - before.all;
    for (unsigned i = 0; i < rig->n; i++)
        calls.drive[i] = drv_fault_calls(rig->drive[i].fault, DRV_FAULT_ALL) - before.drive[i];
    scenario_end(scenario, rig);
    return calls;
}

static void add_rule(struct rig_drive *drive, uint64_t after, uint64_t times, mrmr_err err)
{
    struct drv_fault_rule rule = {.after = after, .times = times, .err = err};
    rig_ok(drv_fault_add(drive->fault, &rule, NULL));
}

static void tap_io(struct rig *rig, struct rig_drive *drive)
{
    (void)rig;
    add_rule(drive, 0, 1, MRMR_IO);
}

static void tap_space(struct rig *rig, struct rig_drive *drive)
{
    (void)rig;
    add_rule(drive, 0, 1, MRMR_SPACE);
}

static void tap_all(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    for (unsigned i = 0; i < rig->n; i++)
        add_rule(&rig->drive[i], 0, 0, MRMR_IO);
}

static void disturb(struct rig *rig, enum how how, unsigned drive, uint64_t n)
{
    static void (*const taps[])(struct rig * rig, struct rig_drive * drive) = {
        [ONCE_IO] = tap_io, [ONCE_SPACE] = tap_space, [ALL_FOR_GOOD] = tap_all};
    if (how == DRIVE_FOR_GOOD)
        add_rule(&rig->drive[drive], n, 0, MRMR_IO);
    else
        rig_tap(rig, DRV_FAULT_ALL, n, false, taps[how]);
}

static void round_of(
    const struct scenario *scenario, enum how how, uint64_t n, unsigned drive, uint64_t seed)
{
    struct rig *rig = scenario_begin(scenario, RIG_MEM, seed);
    printf("%s: call %" PRIu64 " %s (MRMR_CALL=%u:%" PRIu64 ":%u)\n", scenario->name, n,
        how_name[how], (unsigned)how, n, drive);
    fflush(stdout);
    disturb(rig, how, drive, n);
    if (rig_try_open(rig) == MRMR_OK)
        (void)!scenario->run(rig); /* it may fail; it must not lose anything */
    rig_close(rig);
    rig_clear_faults(rig);
    scenario_end(scenario, rig);
}

static void scenario_fails(const struct scenario *scenario)
{
    uint64_t seed = rig_seed(scenario->name);
    struct calls calls = count_calls(scenario, seed);
    uint64_t rounds = rig_rounds(normally), done = 0;
    const char *one = getenv("MRMR_CALL"); /* HOW:N:DRIVE, to see a failure again */
    unsigned how_one, drive_one;
    unsigned long long n_one;
    if (one && sscanf(one, "%u:%llu:%u", &how_one, &n_one, &drive_one) == 3) {
        round_of(scenario, (enum how)how_one, n_one, drive_one, seed);
        return;
    }
    for (enum how how = 0; how < HOWS; how++) {
        unsigned drive = (unsigned)(seed % 5);
        uint64_t total = how == DRIVE_FOR_GOOD ? calls.drive[drive] : calls.all;
        uint64_t stride = rounds && total > rounds ? total / rounds : 1;
        for (uint64_t n = seed % stride; n < total; n += stride, done++) {
            round_of(scenario, how, n, drive, seed);
            drive = (drive + (how == DRIVE_FOR_GOOD && !rounds)) % 5;
        }
    }
    printf("%s: %" PRIu64 " calls, %" PRIu64 " of them failed in turn\n", scenario->name, calls.all,
        done);
}

static void test_scenario(void **state)
{
    scenario_fails(*state);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[16];
    if (argc > 1 && strcmp(argv[1], "long") == 0)
        normally = 200;
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    for (size_t i = 0; i < nscenarios; i++)
        tests[i] = (struct CMUnitTest){
            scenarios[i].name, test_scenario, NULL, NULL, (void *)&scenarios[i]};
    return _cmocka_run_group_tests("nth_call", tests, nscenarios, NULL, NULL);
}
