/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The power goes at the N-th call of a driver: what the drives had not synced is kept, dropped or
 * torn, and the catalog is what it was at that moment.
 *
 * The cut is made within this process: at call N the catalog's files are copied, and every call
 * from then on fails; when the job has given up, the drives are cut and the copy takes the
 * catalog's place. The copy is whole: a transaction that was being written is a torn tail of the
 * write-ahead log, which SQLite leaves out, as after a real cut.
 *
 *     test_crash_power [long]       MRMR_ROUNDS: how many cuts for each job; MRMR_SEED repeats a
 * run
 */
#include "tests/support/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static unsigned rounds = 1;

static void shell(const struct rig *rig, const char *format)
{
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && %s", rig->dir, format);
    assert_int_equal(system(command), 0);
}

static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wb") : NULL;
    static _Thread_local char buf[1 << 16];
    for (size_t n; out && (n = fread(buf, 1, sizeof buf, in)) > 0;)
        fwrite(buf, 1, n, out);
    if (in)
        fclose(in);
    if (out)
        fclose(out);
}

/* The log first: a checkpoint in between only brings into the database what the log has anyway. */
static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    char from[300], to[300];
    static const char *const part[] = {"catalog.sqlite-wal", "catalog.sqlite"};
    for (unsigned i = 0; i < rig->n; i++) {
        struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
        drv_fault_add(rig->drive[i].fault, &rule, NULL);
    }
    for (size_t i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s/pool/%s", rig->dir, part[i]);
        snprintf(to, sizeof to, "%s/cut-%s", rig->dir, part[i]);
        copy_file(from, to);
    }
}

struct cut {
    uint32_t ops;
    uint64_t n, seed, power_seed;
    bool late;
};

static void cut_at(const struct scenario *scenario, const struct cut *cut)
{
    struct rig *rig = scenario_begin(scenario, RIG_MEM_CUT, cut->seed);
    rig_tap(rig, cut->ops, cut->n, cut->late, tap_cut);
    if (rig_try_open(rig) == MRMR_OK)
        (void)!scenario->run(rig);
    rig_close(rig);
    rig_clear_faults(rig);
    shell(rig, "if [ -e cut-catalog.sqlite ]; then rm -f pool/catalog.sqlite*;"
               " for f in cut-*; do mv $f pool/${f#cut-}; done; fi");
    rig_power_cut(rig, cut->power_seed);
    scenario_end(scenario, rig, 0);
}

static uint64_t cut_all_over(
    const struct scenario *scenario, uint32_t ops, uint64_t calls, uint64_t seed)
{
    uint64_t done = 0, stride = calls > rounds && rounds ? calls / rounds : 1;
    for (uint64_t n = seed % stride; n < calls; n += stride, done++) {
        struct cut cut = {ops, n, seed, seed + n, (seed + n) & 2};
        printf("%s: seed %" PRIu64 ": the power goes %s call %" PRIu64 " of %" PRIu64
               "%s (MRMR_CALL=%#x:%" PRIu64 ":%d:%" PRIu64 ")\n",
            scenario->name, seed, cut.late ? "after" : "at", n, calls,
            ops == RIG_CUTS ? " that change a drive" : "", (unsigned)ops, n, cut.late, seed + n);
        fflush(stdout);
        cut_at(scenario, &cut);
    }
    return done;
}

static void test_power_cut(void **state)
{
    const struct scenario *scenario = *state;
    uint64_t seed = rig_seed(scenario->name);
    const char *one = getenv("MRMR_CALL"); /* OPS:N:LATE:SEED, to see a failure again */
    unsigned ops;
    int late;
    unsigned long long n, power_seed;
    if (one && sscanf(one, "%x:%llu:%d:%llu", &ops, &n, &late, &power_seed) == 4) {
        cut_at(scenario, &(struct cut){ops, n, seed, power_seed, late});
        return;
    }
    static const uint32_t kinds[] = {DRV_FAULT_ALL & ~RIG_CUTS, RIG_CUTS};
    uint64_t calls[2], cuts = 0;
    scenario_measure(scenario, RIG_MEM_CUT, seed, kinds, 2, calls);
    for (unsigned i = 0; i < 2; i++)
        cuts += cut_all_over(scenario, kinds[i], calls[i], seed);
    printf("%s: %" PRIu64 " cuts\n", scenario->name, cuts);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[16];
    rounds = rig_rounds(argc > 1 && strcmp(argv[1], "long") == 0 ? 30 : rounds);
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    for (size_t i = 0; i < nscenarios; i++)
        tests[i] = (struct CMUnitTest){
            scenarios[i].name, test_power_cut, NULL, NULL, (void *)&scenarios[i]};
    return _cmocka_run_group_tests("power", tests, nscenarios, NULL, NULL);
}
