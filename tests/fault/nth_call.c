/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The N-th driver call goes wrong: it fails, once or for good, of one drive or of all; there is no
 * space; what it reads is nonsense; it takes effect and says that it failed. Whatever the job makes
 * of it, everything survives as many losses as before, nothing that was claimed is lost, and the
 * next undisturbed run ends well.
 *
 *     test_fault_nth_call [long [SCENARIO]]
 *
 * One N of every fourth kind, at random; long: 12 of each kind. MRMR_ROUNDS says how many of each (0: every
 * N there is), MRMR_SEED repeats a run, MRMR_CALL one of its rounds.
 */
#include "tests/support/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_long;

/* The drive that a fault for good is of, and where in what is read, or how far from full: of the
 * round at hand. */
static unsigned victim;
static uint64_t amount;
static bool fresh;

static void add_rule(struct rig_drive *drive, const struct drv_fault_rule *rule)
{
    rig_ok(drv_fault_add(drive->fault, rule, NULL));
}

static void tap_io(struct rig *rig, struct rig_drive *drive)
{
    (void)rig;
    add_rule(drive, &(struct drv_fault_rule){.times = 1, .err = MRMR_IO});
}

static void tap_space(struct rig *rig, struct rig_drive *drive)
{
    (void)rig;
    add_rule(drive, &(struct drv_fault_rule){.times = 1, .err = MRMR_SPACE});
}

static void tap_late(struct rig *rig, struct rig_drive *drive)
{
    (void)rig;
    add_rule(drive, &(struct drv_fault_rule){.times = 1, .err = MRMR_IO, .late = true});
}

static void tap_drive(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    add_rule(&rig->drive[victim], &(struct drv_fault_rule){.err = MRMR_IO});
}

static void tap_all(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    for (unsigned i = 0; i < rig->n; i++)
        add_rule(&rig->drive[i], &(struct drv_fault_rule){.err = MRMR_IO});
}

static void tap_no_space(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    struct drv_fault_rule rule = {.ops = DRV_FAULT_CREATE | DRV_FAULT_FILE_WRITE |
                                         DRV_FAULT_FILE_ALLOCATE | DRV_FAULT_MKDIR |
                                         DRV_FAULT_LINK | DRV_FAULT_RENAME,
        .err = MRMR_SPACE};
    add_rule(&rig->drive[victim], &rule);
}

static void tap_full(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    struct drv_fault_rule rule = {
        .action = DRV_FAULT_FULL, .bytes = amount % (amount % 2 ? 20000 : 3 * RIG_MIB)};
    add_rule(&rig->drive[victim], &rule);
}

static struct drv_fault_rule flip_rule(uint64_t times)
{
    return (struct drv_fault_rule){.ops = DRV_FAULT_FILE_READ,
        .part = fresh ? POOL_DOT "/" : NULL,
        .times = times,
        .action = DRV_FAULT_FLIP,
        .bytes = amount,
        .mask = (uint8_t)(1U << amount % 8)};
}

static void tap_flip(struct rig *rig, struct rig_drive *drive)
{
    (void)rig;
    struct drv_fault_rule rule = flip_rule(1);
    add_rule(drive, &rule);
}

static void tap_nonsense(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    struct drv_fault_rule rule = flip_rule(0);
    add_rule(&rig->drive[victim], &rule);
}

static const struct how {
    const char *what;
    uint32_t ops; /* N counts calls of these */
    void (*tap)(struct rig *rig, struct rig_drive *drive);
    bool one_drive; /* of the victim, whichever drive is called */
    unsigned spent; /* drives that count as lost from then on: new generations are without them */
} hows[] = {
    {"fails once with an I/O error", DRV_FAULT_ALL, tap_io, false, 0},
    {"fails once with no space", DRV_FAULT_CHANGES, tap_space, false, 0},
    {"from then on one drive fails", DRV_FAULT_ALL, tap_drive, true, 1},
    {"from then on all drives fail", DRV_FAULT_ALL, tap_all, false, 0},
    {"from then on one drive has no space", DRV_FAULT_CHANGES, tap_no_space, true, 0},
    {"from then on one drive is nearly full", DRV_FAULT_CHANGES, tap_full, true, 0},
    {"reads nonsense once", DRV_FAULT_FILE_READ, tap_flip, false, 0},
    {"from then on one drive reads nonsense", DRV_FAULT_FILE_READ, tap_nonsense, true, 1},
    {"takes effect and says that it failed", DRV_FAULT_CHANGES, tap_late, false, 0},
};
enum { HOWS = sizeof hows / sizeof *hows };

static void round_of(
    const struct scenario *scenario, unsigned how, uint64_t n, unsigned drive, uint64_t seed)
{
    struct rig *rig = scenario_begin(scenario, RIG_MEM, seed);
    printf("%s: call %" PRIu64 " %s", scenario->name, n, hows[how].what);
    if (hows[how].one_drive)
        printf(": d%u", drive);
    printf(" (MRMR_CALL=%u:%" PRIu64 ":%u)\n", how, n, drive);
    fflush(stdout);
    victim = drive;
    amount = rig_hash(seed + n);
    fresh = scenario->fresh;
    rig_tap(rig, hows[how].ops, n, false, hows[how].tap);
    if (rig_try_open(rig) == MRMR_OK)
        (void)!scenario->run(rig); /* it may fail; it must not lose anything */
    rig_close(rig);
    rig_clear_faults(rig);
    scenario_end(scenario, rig, hows[how].spent);
}

static bool round_is_given(const struct scenario *scenario, uint64_t seed)
{
    const char *one = getenv("MRMR_CALL"); /* HOW:N:DRIVE, to see a failure again */
    unsigned how, drive;
    unsigned long long n;
    if (!one || sscanf(one, "%u:%llu:%u", &how, &n, &drive) != 3 || how >= HOWS)
        return false;
    round_of(scenario, how, n, drive, seed);
    return true;
}

static uint64_t rounds_of(const struct scenario *scenario, unsigned how, uint64_t calls,
    unsigned drives, uint64_t rounds, uint64_t seed)
{
    if (!rounds || rounds >= calls) {
        for (uint64_t n = 0; n < calls; n++)
            round_of(scenario, how, n, (unsigned)(n % drives), seed);
        return calls;
    }
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t random = rig_hash(seed + how * 1000 + i);
        round_of(scenario, how, random % calls, (unsigned)(random / calls % drives), seed);
    }
    return rounds;
}

static void test_scenario(void **state)
{
    const struct scenario *scenario = *state;
    uint64_t seed = rig_seed(scenario->name), calls[HOWS], done = 0;
    unsigned drives = scenario->drives ? scenario->drives : 5;
    uint32_t ops[HOWS];
    if (round_is_given(scenario, seed))
        return;
    for (unsigned how = 0; how < HOWS; how++)
        ops[how] = hows[how].ops;
    scenario_measure(scenario, RIG_MEM, seed, ops, HOWS, calls);
    /* A quarter of the kinds, drawn from the seed. */
    unsigned step = is_long ? 1 : 4;
    for (unsigned how = (unsigned)(seed % step); how < HOWS; how += step)
        done += rounds_of(scenario, how, calls[how], drives, rig_rounds(is_long ? 12 : 1), seed);
    printf("%s: %" PRIu64 " calls, something went wrong with %" PRIu64 " in turn\n", scenario->name,
        calls[0], done);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[16];
    size_t n = 0;
    is_long = argc > 1 && strcmp(argv[1], "long") == 0;
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    for (size_t i = 0; i < nscenarios; i++)
        if (argc < 3 || strcmp(argv[2], scenarios[i].name) == 0)
            tests[n++] = (struct CMUnitTest){
                scenarios[i].name, test_scenario, NULL, NULL, (void *)&scenarios[i]};
    if (!n)
        fprintf(stderr, "there is no scenario '%s'\n", argv[2]);
    return n ? _cmocka_run_group_tests("nth_call", tests, n, NULL, NULL) : 2;
}
