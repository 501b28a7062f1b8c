/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file is brought to another drive, and that is cut, or the drive that it was on stops answering: it is on one drive
 * afterwards, and has what was set of it since, whichever drives are there when it is finished.
 */
#include "tests/unit/pool_tree_bring_world.h"

#include "pool/change/tree_bring.h"
#include "pool/change/tree_change.h"
#include "pool/tree/tree_node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Its drive comes back while the copy's is away: neither is there twice, nor lost. */
static void apart(struct world *w, unsigned on)
{
    close_tree(w);
    rig_bring_back(w->rig, 0);
    rig_take_away(w->rig, on);
    open_tree(w);
    close_tree(w);
    rig_bring_back(w->rig, on);
    open_tree(w);
}

static bool is_cut_at(uint64_t n, bool late, bool is_apart)
{
    struct world w;
    begin_away(&w, 1201);
    close_tree(&w);
    rig_close(w.rig);
    const bool died = dies(&w, n, late, opens_and_changes);
    rig_open(w.rig);
    open_tree(&w);
    rig_ok(sets_mode(&w, "f0", 0600));
    const unsigned on = elsewhere(&w, "f0");
    assert_int_not_equal(on, 0);
    if (is_apart)
        apart(&w, on);
    else
        comes_back(&w, NULL);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    close_tree(&w);
    rig_reopen(w.rig);
    end_after(&w);
    return died;
}

static void test_cut_while_its_drive_is_away(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("bring_cuts"), step = rig_all() ? 1 : 3, n = rig_hash(seed) % step;
    for (; is_cut_at(n, rig_hash(seed + n) % 2, rig_hash(seed - n) % 3); n += step)
        assert_true(n < 100);
    print_message("up to call %llu\n", (unsigned long long)n);
    assert_true(n > 5);
}

/* Its drive was there, and full, and went when that was cut: what was said of the file is on the copy, or it is where it was. */
static bool is_cut_and_goes(uint64_t n, bool late)
{
    struct world w;
    begin_away(&w, 1202);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_protect_all(w.rig);
    rig_close(w.rig);
    const bool died = dies(&w, n, late, opens_and_changes);
    rig_take_away(w.rig, 0);
    rig_open(w.rig);
    open_tree(&w);
    const bool is_set = sets_mode(&w, "f0", 0600) == MRMR_OK; /* else it was touched where it is */
    reads(&w, "f0");
    comes_back(&w, NULL);
    if (is_set)
        assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", drive_of(&w, "f0"));
    close_tree(&w);
    rig_reopen(w.rig);
    end_after(&w);
    return died;
}

/* After a call that failed, as writes to the full drive do, nothing dies late: then at it. */
static bool is_cut_and_goes_there(uint64_t n, bool late)
{
    return is_cut_and_goes(n, late) || (late && is_cut_and_goes(n, false));
}

static void test_cut_and_its_drive_goes(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("bring_cuts_goes"), step = rig_all() ? 1 : 7,
             n = rig_hash(seed) % step;
    for (; is_cut_and_goes_there(n, rig_hash(seed + n) % 2); n += step)
        assert_true(n < 100);
    print_message("up to call %llu\n", (unsigned long long)n);
    assert_true(n > 5);
}

/* --- its drive goes when it is to be removed from it --- */

/* new: no scan has seen it as it is. */
static void goes_at_the_end(uint64_t seed, bool new)
{
    struct world w;
    begin(&w, RIG_MEM, seed);
    if (new)
        overwrite(&w, "f0", 3000, 100);
    struct pool_tree_file *file = open_file(&w, "f0");
    drive_is_full(w.rig, 0);
    goes_when_taken(&w, 0);
    write_part(&w, file, "f0", 10, 4);
    pool_tree_file_close(file);
    assert_false(tree_live(&w.tree->drive[0]));
    const unsigned on = elsewhere(&w, "f0");
    assert_int_not_equal(on, 0);
    assert_true(rig_holds(w.rig, 0, "f0"));
    rig_ok(sets_mode(&w, "f0", 0600));
    rig_clear_faults(w.rig);
    wait_live(&w, 0);
    is_on(&w, "f0", on);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    close_tree(&w);
    end_after(&w);
}

static void test_its_drive_goes_at_the_end(void **state)
{
    (void)state;
    goes_at_the_end(1203, false);
    goes_at_the_end(1204, true);
}

/* --- both drives are away when it is looked for --- */

static void both_are_away(uint64_t seed, unsigned first, unsigned last)
{
    struct world w;
    const unsigned on = begin_cut(&w, seed);
    rig_open(w.rig);
    const unsigned back[] = {first ? on : 0, last ? on : 0};
    rig_take_away(w.rig, on);
    open_tree(&w);
    for (unsigned i = 0; i < 2; i++) {
        rig_bring_back(w.rig, back[i]);
        wait_live(&w, back[i]);
    }
    reads(&w, "f0");
    is_on(&w, "f0", back[0]);
    close_tree(&w);
    rig_reopen(w.rig);
    end_after(&w);
}

static void test_both_drives_are_away(void **state)
{
    (void)state;
    both_are_away(1205, 0, 1);
    both_are_away(1206, 1, 0);
}

/* --- it is edited on its own drive meanwhile --- */

/* A cut before it: the copy has the name, and all is recorded but that it is through. */
static void is_not_ended(struct world *w)
{
    char from[700], to[700];
    const char *dir = w->rig->pool->dir;
    unsigned n = 0;
    DIR *entries = opendir(dir);
    assert_non_null(entries);
    for (const struct dirent *e; (e = readdir(entries)) != NULL;)
        if (strncmp(e->d_name, POOL_BROUGHT_ENDED, strlen(POOL_BROUGHT_ENDED)) == 0) {
            snprintf(from, sizeof from, "%s/%s", dir, e->d_name);
            snprintf(to, sizeof to, "%s/" POOL_BROUGHT_BEGUN "%s", dir,
                e->d_name + strlen(POOL_BROUGHT_ENDED));
            assert_int_equal(rename(from, to), 0);
            n++;
        }
    closedir(entries);
    assert_int_equal(n, 1);
}

static void edited_while_away(uint64_t seed, bool cut)
{
    struct world w;
    begin_away(&w, seed);
    rig_ok(sets_mode(&w, "f0", 0640)); /* by which it is brought */
    assert_int_not_equal(elsewhere(&w, "f0"), 0);
    close_tree(&w);
    if (cut)
        is_not_ended(&w);
    open_tree(&w); /* its drive is away still */
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    edits(w.rig, 0, "f0");
    open_tree(&w);
    has_edit(w.rig, 0, "f0");
    assert_int_not_equal(elsewhere(&w, "f0"), 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_edited_while_it_was_away(void **state)
{
    (void)state;
    edited_while_away(1207, false);
    edited_while_away(1208, true);
}

/* Both drives are there when the next one finishes it. The copy has its name; and somebody edits the file, or nobody. */
static void edited_after_a_cut(uint64_t seed, bool edited)
{
    struct world w;
    const unsigned on = begin_cut(&w, seed);
    rig_bring_back(w.rig, 0);
    if (edited)
        edits(w.rig, 0, "f0");
    rig_open(w.rig);
    open_tree(&w);
    if (edited)
        has_edit(w.rig, 0, "f0");
    else
        is_on(&w, "f0", on);
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_edited_after_a_cut(void **state)
{
    (void)state;
    edited_after_a_cut(1209, false);
    edited_after_a_cut(1210, true);
}

/* No scan has seen what it was. */
static void test_edited_after_its_drive_went(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 1211);
    overwrite(&w, "f0", 3000, 100);
    struct pool_tree_file *file = open_file(&w, "f0");
    drive_is_full(w.rig, 0);
    goes_when_taken(&w, 0);
    write_part(&w, file, "f0", 10, 4);
    pool_tree_file_close(file);
    assert_int_not_equal(elsewhere(&w, "f0"), 0);
    close_tree(&w);
    edits(w.rig, 0, "f0");
    rig_clear_faults(w.rig);
    open_tree(&w);
    wait_live(&w, 0);
    has_edit(w.rig, 0, "f0");
    assert_int_not_equal(elsewhere(&w, "f0"), 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- which one is the file cannot be recorded --- */

/* The file is where it was, with what was set of it since; the copy never shows. */
static void test_unrecorded_when_it_was_opened(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_unrecorded(&w, 1213);
    rig_ok(sets_mode(&w, "f0", 0600));
    rig_bring_back(w.rig, on);
    wait_live(&w, on);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    is_on(&w, "f0", 0);
    close_tree(&w);
    open_tree(&w);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    is_on(&w, "f0", 0);
    close_tree(&w);
    rig_reopen(w.rig);
    end_after(&w);
}

/* Nor when the copy's drive is back: that waits until it can be. */
static void test_unrecorded_when_its_drive_returns(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_unrecorded(&w, 1214);
    struct tree_drive *drive = &w.tree->drive[on];
    nothing_recorded = true;
    rig_bring_back(w.rig, on);
    for (unsigned i = 0; i < 3000 && !drive->told_waits; i++)
        moment();
    assert_true(drive->told_waits);
    assert_false(tree_live(drive));
    nothing_recorded = false;
    wait_live(&w, on);
    reads(&w, "f0");
    is_on(&w, "f0", 0);
    close_tree(&w);
    rig_reopen(w.rig);
    end_after(&w);
}

/* Nor that the one it came from is over, on a drive that went when it was to be removed: it goes all the same, if nobody edits it. */
static void unrecorded_at_the_end(uint64_t seed, bool edited)
{
    struct world w;
    struct tree_node *node;
    begin(&w, RIG_MEM, seed);
    overwrite(&w, "f0", 3000, 100); /* no scan has seen it so */
    rig_ok(tree_node(w.tree, look(&w, POOL_ROOT, "f0").node, false, &node));
    goes_when_taken(&w, 0);
    nothing_recorded = true;
    rig_ok(tree_bring(w.tree, node, 0, 0));
    nothing_recorded = false;
    tree_put(w.tree, node);
    const unsigned on = elsewhere(&w, "f0");
    assert_int_not_equal(on, 0);
    assert_true(rig_holds(w.rig, 0, "f0"));
    close_tree(&w);
    if (edited)
        edits(w.rig, 0, "f0");
    rig_clear_faults(w.rig);
    open_tree(&w);
    wait_live(&w, 0);
    if (edited)
        has_edit(w.rig, 0, "f0");
    else
        is_on(&w, "f0", on);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_unrecorded_at_the_end(void **state)
{
    (void)state;
    unrecorded_at_the_end(1215, false);
    unrecorded_at_the_end(1216, true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_while_its_drive_is_away),
        cmocka_unit_test(test_cut_and_its_drive_goes),
        cmocka_unit_test(test_its_drive_goes_at_the_end),
        cmocka_unit_test(test_both_drives_are_away),
        cmocka_unit_test(test_edited_while_it_was_away),
        cmocka_unit_test(test_unrecorded_when_it_was_opened),
        cmocka_unit_test(test_unrecorded_when_its_drive_returns),
        cmocka_unit_test(test_unrecorded_at_the_end),
        cmocka_unit_test(test_edited_after_a_cut),
        cmocka_unit_test(test_edited_after_its_drive_went),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_bring_cuts", tests, NULL, NULL);
}
