/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The power goes while what was removed goes from its drive, and somebody saves to its name at that
 * moment or not: what he saved is there after (I1), and what stripes count on of the one that goes is
 * found wherever it lies by then (I3).
 */
#include "tests/unit/pool_gone_world.h"

#include <stdio.h>
#include <string.h>

enum { SAVED_SIZE = 4321, SYNCS = 4 };

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    const struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)drive;
    for (unsigned d = 0; d < rig->n; d++)
        drv_fault_add(rig->drive[d].fault, &rule, NULL);
}

/* Before the name is taken: durable by then. */
static void somebody_saves(void *arg, enum drv_fault_op op, const char *path)
{
    struct rig *rig = arg;
    (void)op;
    if (strcmp(path, "f0") != 0 || !rig_holds(rig, 0, "mine"))
        return;
    rig_ok(drv_rename(rig->drive[0].raw, "mine", "f0", DRV_RENAME_REPLACE));
    rig_ok(drv_sync_all(rig->drive[0].raw));
}

static mrmr_err find_saved(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name, (void)err;
    *(unsigned *)arg += stat && stat->type == DRV_REG && stat->size == SAVED_SIZE;
    return MRMR_OK;
}

/* In its place, or where nothing clears it away. */
static unsigned saved_copies(struct rig *rig)
{
    unsigned n = 0;
    struct drv *raw = rig->drive[0].raw;
    rig_ok(drv_list(raw, "", find_saved, &n));
    if (rig_holds(rig, 0, POOL_QUARANTINE))
        rig_ok(drv_list(raw, POOL_QUARANTINE, find_saved, &n));
    return n;
}

static void removed_while_away(struct world *w, bool saves, uint64_t n, bool late)
{
    begin(w, RIG_MEM_CUT, 322);
    rig_put(w->rig, 0, "mine", SAVED_SIZE)->there = false;
    goes_away(w);
    removes(w, "f0");
    close_tree(w);
    rig_sync_drives(w->rig);
    rig_bring_back(w->rig, 0);
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
        .prefix = "f0",
        .action = DRV_FAULT_HOOK,
        .hook = somebody_saves,
        .arg = w->rig};
    if (saves)
        rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
    rig_tap(w->rig, RIG_CUTS, n, late, tap_cut);
    if (!try_open_tree(w))
        close_tree(w);
}

/* True: it went at call n, and not after all of them. */
static bool power_goes_at(bool saves, uint64_t n, bool late, uint64_t seed)
{
    struct world w;
    removed_while_away(&w, saves, n, late);
    bool cut = w.rig->tap_left > n; /* it counts on, from below 0 */
    const bool saved = !rig_holds(w.rig, 0, "mine");
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    if (!saved) /* else what was there was replaced directly: a margin less until the next sync */
        reads_without(w.rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    open_tree(&w);
    close_tree(&w);
    if (!saved)
        reads_without(w.rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    for (unsigned i = 0; i < SYNCS; i++)
        rig_sync(w.rig);
    if (saved)
        assert_int_equal(saved_copies(w.rig), 1);
    else
        assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(count_retained(w.rig, 0), 0);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    rig_destroy(w.rig);
    return cut;
}

/* Normally at some of the calls only. */
static void all_cuts(const char *what, bool saves)
{
    const uint64_t seed = rig_seed(what);
    const bool all = rig_all();
    uint64_t n = all ? 0 : rig_hash(seed) % 4;
    for (; power_goes_at(saves, n / 2, n % 2, rig_hash(seed ^ n)); n += all ? 1 : 9)
        assert_true(n < 1000);
    print_message("up to call %llu\n", (unsigned long long)n / 2);
    assert_true(n > 10);
}

static void test_power_cuts(void **state)
{
    (void)state;
    all_cuts("gone_power", false);
}

static void test_power_cuts_while_somebody_saves(void **state)
{
    (void)state;
    all_cuts("gone_saved_power", true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_power_cuts_while_somebody_saves),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_cuts", tests, NULL, NULL);
}
