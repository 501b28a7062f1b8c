/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A bring was cut, and which one of the two copies is the file cannot be told, or not be recorded: what is changed, renamed or removed
 * meanwhile stays so.
 */
#include "tests/unit/pool_tree_bring_world.h"

#include "pool/change/tree_bring.h"
#include "pool/change/tree_change.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_node.h"

static void gone_for_good(struct world *w, const char *name)
{
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(is_there(w, name), MRMR_ABSENT);
        assert_int_equal(drives_with(w->rig, name), 0);
        close_tree(w);
        open_tree(w);
    }
    close_tree(w);
    rig_destroy(w->rig);
}

/* --- what was judged is not judged anew --- */

static void test_the_file_is_removed(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_unrecorded(&w, 1331);
    rig_ok(unlink_at(&w, "f0"));
    returns(&w, on);
    nothing_waits(&w);
    gone_for_good(&w, "f0");
}

static void test_the_file_is_changed(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_unrecorded(&w, 1332);
    overwrite(&w, "f0", 3000, 100); /* no scan sees it so */
    rig_ok(sets_mode(&w, "f0", 0600));
    leaves(&w, 0);
    returns(&w, on);
    returns(&w, 0);
    nothing_waits(&w);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", 0);
    ends(&w);
}

/* The copy is judged to be it, and is removed or renamed before that can be recorded of the file, whose drive is there, or away. */
static void copy_is_it(uint64_t seed, bool away, bool renamed)
{
    struct world w;
    begin_cut(&w, seed);
    if (!away)
        rig_bring_back(w.rig, 0);
    rig_open(w.rig);
    if (!away)
        fails(w.rig, 0, DRV_FAULT_RENAME, MRMR_DENIED);
    nothing_recorded = true;
    open_tree(&w);
    assert_false(tree_live(&w.tree->drive[0]));
    assert_int_equal(count_named(&w, TREE_BRING_OVER), 1);
    nothing_recorded = false;
    rig_ok(renamed ? rename_at(&w, "f0", "g0", 0) : unlink_at(&w, "f0"));
    rig_clear_faults(w.rig);
    if (away)
        rig_bring_back(w.rig, 0);
    wait_live(&w, 0);
    nothing_waits(&w);
    assert_int_equal(is_there(&w, "g0"), renamed ? MRMR_OK : MRMR_ABSENT);
    gone_for_good(&w, "f0");
}

static void test_the_copy_is_removed(void **state)
{
    (void)state;
    copy_is_it(1333, false, false);
    copy_is_it(1334, false, true);
    copy_is_it(1335, true, false);
    copy_is_it(1336, true, true);
}

/* --- its drive says nothing at that moment --- */

/* What was copied no scan has seen, and its drive is away; the copy's drive cannot make its name durable when the tree is opened, and
 * shows it. */
static void test_its_drive_fails_once(void **state)
{
    const struct drv_fault_rule no_sync = {.ops = DRV_FAULT_DIR_SYNC, .err = MRMR_IO};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 1337);
    overwrite(&w, "f0", 3000, 100);
    const unsigned on = is_cut_when_named(&w);
    rig_clear_faults(w.rig);
    rig_take_away(w.rig, 0);
    rig_open(w.rig);
    rig_ok(drv_fault_add(w.rig->drive[on].fault, &no_sync, NULL));
    open_tree(&w);
    rig_clear_faults(w.rig);
    assert_true(tree_live(&w.tree->drive[on]));
    rig_ok(sets_mode(&w, "f0", 0600));
    returns(&w, 0);
    nothing_waits(&w);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- both are away --- */

/* What shows is what the catalog has of the file. */
static unsigned begin_both_away(struct world *w, uint64_t seed)
{
    const unsigned on = begin_cut(w, seed);
    rig_take_away(w->rig, on);
    rig_open(w->rig);
    open_tree(w);
    return on;
}

static void both_return(struct world *w, unsigned first, unsigned second)
{
    returns(w, first);
    returns(w, second);
    nothing_waits(w);
}

static void test_it_is_removed_while_both_are_away(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world w;
        const unsigned on = begin_both_away(&w, 1338 + i);
        rig_ok(unlink_at(&w, "f0"));
        both_return(&w, i ? 0 : on, i ? on : 0);
        gone_for_good(&w, "f0");
    }
}

static sem_t judges, judged;

static void judge_stops(void)
{
    sem_post(&judges);
    while (sem_wait(&judged))
        ;
}

/* The copy's drive returns, and it was told that the copy is the file when the file is removed, as one that is away. */
static void test_it_is_removed_while_it_is_judged(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_both_away(&w, 1346);
    sem_init(&judges, 0, 0);
    sem_init(&judged, 0, 0);
    atomic_store(&before_removed, judge_stops);
    rig_bring_back(w.rig, on);
    while (sem_wait(&judges))
        ;
    assert_int_equal(count_named(&w, TREE_BRING_OVER), 1);
    const mrmr_err err = unlink_at(&w, "f0");
    sem_post(&judged);
    rig_ok(err);
    wait_live(&w, on);
    returns(&w, 0);
    nothing_waits(&w);
    sem_destroy(&judges);
    sem_destroy(&judged);
    gone_for_good(&w, "f0");
}

/* Nor that the copy goes, or what there is of it, can be recorded, or read: whoever removes it is told so, and it is there. */
static void removal_fails(uint64_t seed, _Atomic bool *fails_now)
{
    struct world w;
    const unsigned on = begin_both_away(&w, seed);
    *fails_now = true;
    const mrmr_err err = unlink_at(&w, "f0");
    *fails_now = false;
    assert_true(err != MRMR_OK);
    assert_int_equal(records(&w, false), 0);
    reads(&w, "f0");
    both_return(&w, on, 0);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    ends(&w);
}

static void test_its_removal_cannot_be_recorded(void **state)
{
    (void)state;
    removal_fails(1347, &nothing_late);
    removal_fails(1348, &nothing_read);
}

/* The copy's drive is live, and did not say what it has when it became that. */
static void test_it_is_removed_beside_its_copy(void **state)
{
    struct world w;
    struct meta_node known;
    uint64_t epoch;
    (void)state;
    const unsigned on = begin_both_away(&w, 1349);
    fails(w.rig, on, DRV_FAULT_STAT, MRMR_IO);
    returns(&w, on);
    assert_int_equal(count_named(&w, TREE_BRING_RECORD), 1);
    rig_ok(tree_gone_known(w.tree, 0, "f0", &known));
    rig_ok(tree_change_begin(w.tree, &epoch));
    const mrmr_err err = tree_bring_removed(w.tree, 0, "f0", &known);
    tree_change_end(w.tree);
    rig_ok(err);
    rig_clear_faults(w.rig);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    returns(&w, 0);
    close_tree(&w);
    open_tree(&w);
    gone_for_good(&w, "f0");
}

/* It goes to a third drive for that. */
static void test_it_is_changed_while_both_are_away(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_both_away(&w, 1340);
    rig_ok(sets_mode(&w, "f0", 0601));
    both_return(&w, on, 0);
    assert_int_equal(mode_of(&w, "f0"), 0601);
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    reads(&w, "f0");
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_it_is_renamed_while_both_are_away(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_both_away(&w, 1341);
    rig_ok(rename_at(&w, "f0", "g0", 0));
    both_return(&w, on, 0);
    assert_int_equal(is_there(&w, "g0"), MRMR_OK);
    gone_for_good(&w, "f0");
}

/* The catalog has an earlier version than what was brought: it is removed, and the later one, of which nobody was asked, is kept. */
static void later_version(uint64_t seed, bool edited)
{
    struct world w;
    begin(&w, RIG_LOCAL, seed);
    if (edited) {
        close_tree(&w);
        edits(w.rig, 0, "f0");
        open_tree(&w);
    } else {
        overwrite(&w, "f0", 3000, 100);
    }
    const unsigned on = is_cut_when_named(&w);
    rig_clear_faults(w.rig);
    rig_take_away(w.rig, 0);
    rig_take_away(w.rig, on);
    rig_open(w.rig);
    open_tree(&w);
    rig_ok(unlink_at(&w, "f0"));
    returns(&w, on);
    returns(&w, 0);
    assert_int_equal(is_there(&w, "f0"), MRMR_OK);
    if (edited)
        has_edit(w.rig, on, "f0");
    else
        reads(&w, "f0");
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_a_later_version_is_kept(void **state)
{
    (void)state;
    later_version(1342, false);
    later_version(1345, true);
}

/* --- the pool's folder --- */

/* What could be recorded is recorded once, however often the rest could not. */
static void test_it_is_recorded_once(void **state)
{
    struct world w;
    (void)state;
    begin_cut(&w, 1343);
    struct meta_node known;
    rig_open(w.rig);
    open_tree(&w);
    rig_ok(tree_catalog_without(w.tree, 1, "f1", &known));
    const struct drv_stat other = {/* of which a scan has seen another version: it is both */
        .type = DRV_REG,
        .ino = known.ino,
        .size = 2,
        .mtime = 3,
        .ctime = INT64_MAX};
    leaves(&w, 1);
    const size_t before = records(&w, false);
    nothing_removed = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_not_equal(tree_bring_goes_later(w.tree, 1, "f1", &other), MRMR_OK);
    nothing_removed = false;
    assert_int_equal(records(&w, false), before);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* None can be read: nothing shows, since nobody knows which one is the file. */
static void test_a_record_that_is_not_read(void **state)
{
    struct world w;
    (void)state;
    begin_cut(&w, 1344);
    rig_open(w.rig);
    nothing_read = true;
    assert_int_equal(try_open_tree(&w), MRMR_IO);
    nothing_read = false;
    pool_close(w.pool);
    open_tree(&w);
    reads(&w, "f0");
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_file_is_removed),
        cmocka_unit_test(test_the_file_is_changed),
        cmocka_unit_test(test_the_copy_is_removed),
        cmocka_unit_test(test_its_drive_fails_once),
        cmocka_unit_test(test_it_is_removed_while_both_are_away),
        cmocka_unit_test(test_it_is_removed_while_it_is_judged),
        cmocka_unit_test(test_its_removal_cannot_be_recorded),
        cmocka_unit_test(test_it_is_removed_beside_its_copy),
        cmocka_unit_test(test_it_is_changed_while_both_are_away),
        cmocka_unit_test(test_it_is_renamed_while_both_are_away),
        cmocka_unit_test(test_a_later_version_is_kept),
        cmocka_unit_test(test_it_is_recorded_once),
        cmocka_unit_test(test_a_record_that_is_not_read),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_bring_after", tests, NULL, NULL);
}
