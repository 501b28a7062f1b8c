/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree, changed, and the power goes in the middle: what was counted on is there, or can be made.
 */
#include "tests/unit/pool_tree_world.h"

#include <stdio.h>
#include <string.h>

static mrmr_err cut_overwrite(struct world *w)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    static uint8_t noise[2 * RIG_MIB];
    int64_t keep;
    bool same;
    MRMR_TRY(pool_tree_lookup(w->tree, POOL_ROOT, "f0", &attr, &keep));
    MRMR_TRY(pool_tree_file_open(w->tree, attr.node, true, &file, &same));
    mrmr_err err = pool_tree_file_write(file, 1000, noise, sizeof noise);
    pool_tree_file_close(file);
    return err;
}

static mrmr_err cut_short(struct world *w)
{
    const struct pool_attr set = {.size = 5};
    struct pool_attr attr;
    int64_t keep;
    MRMR_TRY(pool_tree_lookup(w->tree, POOL_ROOT, "f0", &attr, &keep));
    return pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_SIZE, &set, &attr);
}

static mrmr_err cut_unlink(struct world *w)
{
    MRMR_TRY(pool_tree_unlink(w->tree, NULL, POOL_ROOT, "f0"));
    return sync_folder(w, POOL_ROOT);
}

static mrmr_err cut_replace(struct world *w)
{
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    return sync_folder(w, POOL_ROOT);
}

static mrmr_err cut_replace_across(struct world *w)
{
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "far", POOL_ROOT, "f0", 0));
    return sync_folder(w, POOL_ROOT);
}

static mrmr_err cut_bring(struct world *w)
{
    drive_is_full(w->rig, 0);
    return cut_overwrite(w);
}

/* --- f0 is opened, and this is done to it --- */

static mrmr_err with_f0(struct world *w, mrmr_err (*change)(struct pool_tree_file *file))
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    int64_t keep;
    bool same;
    MRMR_TRY(pool_tree_lookup(w->tree, POOL_ROOT, "f0", &attr, &keep));
    MRMR_TRY(pool_tree_file_open(w->tree, attr.node, true, &file, &same));
    mrmr_err err = change(file);
    if (!err)
        err = pool_tree_file_sync(file);
    pool_tree_file_close(file);
    return err;
}

static mrmr_err append_some(struct pool_tree_file *file)
{
    static uint8_t noise[RIG_MIB];
    return pool_tree_file_append(file, FILE_LEAVES * RIG_MIB - 100, noise, sizeof noise);
}

static mrmr_err cut_append(struct world *w)
{
    return with_f0(w, append_some);
}

static mrmr_err punch_some(struct pool_tree_file *file)
{
    return pool_tree_file_range(file, POOL_RANGE_PUNCH, 1000, RIG_MIB);
}

static mrmr_err cut_punch(struct world *w)
{
    return with_f0(w, punch_some);
}

static mrmr_err cut_set(struct world *w)
{
    const struct pool_attr set = {.mode = 0600};
    struct pool_attr attr;
    int64_t keep;
    MRMR_TRY(pool_tree_lookup(w->tree, POOL_ROOT, "f0", &attr, &keep));
    return pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr);
}

static mrmr_err cut_link(struct world *w)
{
    struct pool_attr attr;
    int64_t keep;
    MRMR_TRY(pool_tree_lookup(w->tree, POOL_ROOT, "f0", &attr, &keep));
    MRMR_TRY(pool_tree_link(w->tree, NULL, attr.node, POOL_ROOT, "linked", &attr));
    return sync_folder(w, POOL_ROOT);
}

static mrmr_err cut_make(struct world *w)
{
    static uint8_t noise[1000];
    struct pool_tree_file *file;
    struct pool_attr attr;
    MRMR_TRY(pool_tree_create(w->tree, NULL, POOL_ROOT, "made", 0644, &attr, &file));
    mrmr_err err = pool_tree_file_write(file, 0, noise, sizeof noise);
    if (!err)
        err = pool_tree_file_sync(file);
    pool_tree_file_close(file);
    MRMR_TRY(err);
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "made", POOL_ROOT, "f0", 0));
    return sync_folder(w, POOL_ROOT);
}

/* f0 has another name, which the catalog does not know. */
static mrmr_err cut_unlink_besides(struct world *w)
{
    return cut_unlink(w);
}

static mrmr_err cut_replace_besides(struct world *w)
{
    return cut_replace(w);
}

/* It knows another one, which is renamed just before. */
static mrmr_err cut_unlink_known(struct world *w)
{
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "second", POOL_ROOT, "third", 0));
    return cut_unlink(w);
}

typedef mrmr_err (*cut_change)(struct world *w);

static void linked_before(struct world *w, cut_change change)
{
    struct drv *raw = w->rig->drive[0].raw;
    if (change == cut_unlink_besides || change == cut_replace_besides) {
        rig_ok(drv_mkdirs(raw, ".Trash-9", 0755));
        rig_ok(drv_link(raw, "f0", ".Trash-9/x"));
    }
    if (change != cut_unlink_known)
        return;
    close_tree(w);
    rig_ok(drv_link(raw, "f0", "second"));
    rig_protect_all(w->rig);
    open_tree(w);
}

static bool removes_it(cut_change change)
{
    return change == cut_unlink || change == cut_unlink_besides || change == cut_unlink_known;
}

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    const struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)drive;
    for (unsigned d = 0; d < rig->n; d++)
        drv_fault_add(rig->drive[d].fault, &rule, NULL);
}

/* One of the names is there, whole: old or new. */
static void still_there(struct world *w)
{
    struct pool_tree_file *file = open_file(w, "f0");
    struct pool_attr attr;
    uint8_t got[10];
    size_t n;
    rig_ok(pool_tree_file_attr(file, &attr));
    rig_ok(pool_tree_file_read(file, attr.size > 10 ? attr.size - 10 : 0, got, 10, &n));
    pool_tree_file_close(file);
}

/* The power goes at call n; true: the change was through before. */
static bool power_goes_at(cut_change change, uint64_t n, bool late, uint64_t seed)
{
    struct world w;
    begin(&w, RIG_MEM_CUT, 196);
    rig_put(w.rig, 0, "new", 2000)->there = false;
    rig_put(w.rig, 1, "far", 2000)->there = false;
    linked_before(&w, change);
    rig_sync_drives(w.rig);
    rig_tap(w.rig, RIG_CUTS, n, late, tap_cut);
    bool through = change(&w) == MRMR_OK && w.rig->tap_left;
    close_tree(&w);
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    reads_without(w.rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    open_tree(&w);
    if (!removes_it(change))
        still_there(&w);
    close_tree(&w);
    reads_without(w.rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    rig_destroy(w.rig);
    return through;
}

static void test_power_cuts(void **state)
{
    static const cut_change changes[] = {cut_overwrite, cut_short, cut_unlink, cut_replace,
        cut_replace_across, cut_bring, cut_unlink_besides, cut_replace_besides, cut_unlink_known,
        cut_append, cut_punch, cut_set, cut_link, cut_make};
    const size_t common = 6, rare = sizeof changes / sizeof *changes - common;
    (void)state;
    uint64_t seed = rig_seed("tree_power_cuts"), cuts = 0;
    /* Normally at some of the calls only. */
    const bool all = rig_all();
    const uint64_t step = all ? 1 : 13;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (int late = 0; late < 2; late++) {
            uint64_t n = rig_hash(seed + i) % step;
            if (!all && late != (int)(rig_hash(seed - i) % 2))
                continue;
            if (!all && i >= common && i != common + seed % rare &&
                i != common + rig_hash(seed) % rare)
                continue;
            while (!power_goes_at(changes[i], n, late, rig_hash(seed + cuts++)))
                assert_true((n += step) < 1000);
            print_message("change %zu, %s: up to call %llu\n", i, late ? "after" : "before",
                (unsigned long long)n);
        }
    printf("%llu cuts\n", (unsigned long long)cuts);
}

/* --- a folder that lies on several drives is renamed --- */

enum { FOLDER_DRIVES = 3 };

static void begin_folder(struct world *w, uint64_t seed)
{
    char path[32];
    begin(w, RIG_MEM_CUT, seed);
    close_tree(w);
    for (unsigned d = 0; d < FOLDER_DRIVES; d++) {
        snprintf(path, sizeof path, "folder/%u", d);
        rig_put(w->rig, d, path, 3000);
    }
    rig_protect_all(w->rig);
    rig_sync_drives(w->rig);
    open_tree(w);
}

static mrmr_err rename_it(struct world *w)
{
    MRMR_TRY(pool_tree_rename(w->tree, NULL, POOL_ROOT, "folder", POOL_ROOT, "renamed", 0));
    return sync_folder(w, POOL_ROOT);
}

/* It has one of the names, on all drives, and everything in it; the new one if that was said. */
static void has_one_name(struct world *w, bool said)
{
    struct drv_stat stat;
    char path[32];
    const char *name = "renamed";
    if (try_look(w, POOL_ROOT, name)) {
        assert_false(said);
        name = "folder";
    }
    assert_int_equal(
        try_look(w, POOL_ROOT, strcmp(name, "folder") ? "folder" : "renamed"), MRMR_ABSENT);
    const uint64_t folder = look(w, POOL_ROOT, name).node;
    for (unsigned d = 0; d < FOLDER_DRIVES; d++) {
        snprintf(path, sizeof path, "%u", d);
        assert_int_equal(look(w, folder, path).size, 3000);
        snprintf(path, sizeof path, "folder/%u", d);
        struct rig_file *known = rig_find(w->rig, path);
        snprintf(known->path, sizeof known->path, "%s/%u", name, d);
        rig_ok(drv_stat(w->rig->drive[d].raw, known->path, &stat));
    }
}

/* True: it was through before. */
static bool power_goes_in_a_rename(uint64_t n, bool late, uint64_t seed)
{
    struct world w;
    begin_folder(&w, 195);
    rig_tap(w.rig, RIG_CUTS, n, late, tap_cut);
    const bool said = rename_it(&w) == MRMR_OK, through = said && w.rig->tap_left;
    close_tree(&w);
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    open_tree(&w);
    has_one_name(&w, said);
    close_tree(&w);
    reads_without(w.rig, 1 + seed % 4, 1 + (seed / 4) % 4, NULL, 0);
    rig_destroy(w.rig);
    return through;
}

static void test_power_cuts_in_a_folder_rename(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("folder_power_cuts"), cuts = 0;
    const uint64_t step = rig_all() ? 1 : 3;
    for (int late = 0; late < 2; late++) {
        uint64_t n = rig_hash(seed) % step;
        while (!power_goes_in_a_rename(n, late, rig_hash(seed + cuts++)))
            assert_true((n += step) < 1000);
        print_message("%s: up to call %llu\n", late ? "after" : "before", (unsigned long long)n);
    }
    printf("%llu cuts in a rename of a folder\n", (unsigned long long)cuts);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_power_cuts_in_a_folder_rename),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_cuts", tests, NULL, NULL);
}
