/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A name is given to something new while what had it, and was removed, lies on a drive still: nobody is told that
 * the name is taken, since nobody sees by what.
 */
#include "tests/unit/pool_gone_world.h"

#include <stdio.h>
#include <string.h>

/* h0, h1, ... on the first drive, and the folder hd, are removed while it is away. */
enum { NAMES = 9, RECORDS = NAMES + 1 };

static struct pool_gone *other; /* of another process, which applies; NULL: none does */

static void lets_go(void)
{
    pool_gone_apply_end(other);
    pool_gone_close(other);
    other = NULL;
}

/* What is new goes to the first drive; other drives can be had, or not. */
static void others_take_files(struct world *w, bool take)
{
    const struct drv_fault_rule unknown = {.ops = DRV_FAULT_SPACE, .err = MRMR_IO};
    rig_clear_faults(w->rig);
    for (unsigned d = 1; d < DRIVES && !take; d++)
        rig_ok(drv_fault_add(w->rig->drive[d].fault, &unknown, NULL));
    w->tree->room_at = 0;
    w->tree->placed_last = 0;
}

static void begin_names(struct world *w, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = seed})};
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(w->rig, d, path, 5000);
    }
    for (unsigned i = 0; i < NAMES; i++) {
        char path[32];
        snprintf(path, sizeof path, "h%u", i);
        rig_put(w->rig, 0, path, 1000 + i);
    }
    rig_ok(drv_mkdir(w->rig->drive[0].raw, "sub", 0755));
    rig_ok(drv_mkdir(w->rig->drive[0].raw, "hd", 0755));
    rig_protect_all(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
}

/* The drive is live, and has them still: another applies at this moment, and goes on, or not. */
static void begin_waiting(struct world *w, uint64_t seed, bool goes_on)
{
    begin_names(w, seed);
    for (unsigned i = 0; i < NAMES; i++) {
        char path[32];
        snprintf(path, sizeof path, "h%u", i);
        removes(w, path);
    }
    rig_ok(rmdir_at(w, "hd"));
    close_tree(w);
    rig_ok(pool_gone_open(w->rig->pool->dirfd, true, &other));
    rig_ok(pool_gone_apply_begin(other, NULL, 0, 0));
    rig_bring_back(w->rig, 0);
    open_tree(w);
    assert_true(tree_live(&w->tree->drive[0]));
    assert_int_equal(records(w, false), RECORDS);
    if (!goes_on)
        lets_go();
    others_take_files(w, false);
    make_anew(w, "src", "source");
    assert_true(rig_holds(w->rig, 0, "src"));
}

/* The same for who opens the tree next, and nothing waits any more. */
static void end_waiting(struct world *w, const char *has)
{
    rig_clear_faults(w->rig);
    lists(w, "", has, "src sub");
    close_tree(w);
    open_tree(w);
    lists(w, "", has, "src sub");
    assert_int_equal(records(w, false), 0);
    for (unsigned i = 0; i < NAMES; i++) {
        char path[32];
        snprintf(path, sizeof path, "h%u", i);
        assert_int_equal(drives_with(w->rig, path), strstr(has, path) ? 1 : 0);
    }
    close_tree(w);
    rig_protect_all(w->rig);
    rig_check(w->rig);
    rig_verify(w->rig, true);
    rig_destroy(w->rig);
}

/* --- what users do --- */

static mrmr_err creates(struct world *w, const char *name)
{
    struct pool_tree_file *file;
    struct pool_attr attr;
    MRMR_TRY(pool_tree_create(w->tree, NULL, POOL_ROOT, name, 0600, &attr, &file));
    mrmr_err err = pool_tree_file_write(file, 0, "new", 3);
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

static mrmr_err makes_kind(struct world *w, enum pool_kind kind, const char *name)
{
    const struct pool_new what = {.kind = kind, .mode = 0700, .target = "x"};
    struct pool_attr attr;
    mrmr_err err = pool_tree_make(w->tree, NULL, POOL_ROOT, name, &what, &attr);
    if (!err)
        pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

static mrmr_err links_src(struct world *w, const char *name)
{
    struct pool_attr attr;
    mrmr_err err =
        pool_tree_link(w->tree, NULL, look(w, POOL_ROOT, "src").node, POOL_ROOT, name, &attr);
    if (!err)
        pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

static mrmr_err moves(struct world *w, const char *from, const char *name, unsigned flags)
{
    return pool_tree_rename(w->tree, NULL, POOL_ROOT, from, POOL_ROOT, name, flags);
}

/* --- nobody applies --- */

/* Each takes what has its name from it, and nothing else is done. */
static void test_it_is_taken(void **state)
{
    struct world w;
    (void)state;
    begin_waiting(&w, 620, false);
    rig_ok(creates(&w, "h0"));
    assert_true(has_text(&w, "h0", "new"));
    assert_int_equal(records(&w, false), RECORDS - 1);
    assert_int_equal(drives_with(w.rig, "h0"), 1);
    rig_ok(makes_kind(&w, POOL_DIR, "h1"));
    rig_ok(makes_kind(&w, POOL_LNK, "h2"));
    rig_ok(links_src(&w, "h3"));
    assert_true(has_text(&w, "h3", "source"));
    rig_ok(moves(&w, "src", "h4", POOL_RENAME_NOREPLACE));
    rig_ok(moves(&w, "h4", "h5", 0));
    assert_true(has_text(&w, "h5", "source"));
    rig_ok(moves(&w, "sub", "h6", 0));
    assert_int_equal(records(&w, false), 3);
    assert_true(rig_holds(w.rig, 0, "h7"));
    rig_ok(pool_gone_apply_begin(w.tree->gone, NULL, 0, 0)); /* the monitor, of another drive */
    assert_int_equal(creates(&w, "h7"), MRMR_BUSY);
    pool_gone_apply_end(w.tree->gone);
    rig_ok(creates(&w, "h7"));
    rig_ok(makes_kind(&w, POOL_DIR, "hd"));
    makes(&w, "hd/below");
    end_waiting(&w, "h0 h1 h2 h3 h5 h6 h7 hd");
}

/* What somebody put there directly is not what was removed: the name is taken. */
static void test_another_file_is_there(void **state)
{
    struct world w;
    (void)state;
    begin_waiting(&w, 621, false);
    rig_ok(drv_unlink(w.rig->drive[0].raw, "h0"));
    rig_put(w.rig, 0, "h0", 1000);
    assert_int_equal(creates(&w, "h0"), MRMR_EXISTS);
    assert_true(rig_original_is_right(w.rig, 0, rig_find(w.rig, "h0")));
    assert_int_equal(moves(&w, "src", "h0", POOL_RENAME_NOREPLACE), MRMR_EXISTS);
    rig_ok(moves(&w, "src", "h1", 0));
    rig_ok(moves(&w, "sub", "h2", 0));
    end_waiting(&w, "h0 h1 h2");
}

/* --- another applies, and goes on --- */

/* A busy machine may not come to it in the moment for which who renames waits. */
static void moves_at_last(struct world *w, const char *from, const char *to)
{
    const int64_t until = mrmr_clock_monotonic() + 20 * MRMR_NS_PER_S;
    mrmr_err err;
    while ((err = moves(w, from, to, 0)) == MRMR_BUSY)
        assert_true(mrmr_clock_monotonic() < until);
    rig_ok(err);
}

/* What can be made on another drive is; of the rest it is said what is in the way, and that it will go. */
static void test_another_applies(void **state)
{
    struct world w;
    (void)state;
    begin_waiting(&w, 622, true);
    assert_int_equal(creates(&w, "h0"), MRMR_BUSY);
    assert_non_null(strstr(mrmr_story_get()->text, "removed"));
    assert_int_equal(makes_kind(&w, POOL_DIR, "h1"), MRMR_BUSY);
    assert_int_equal(links_src(&w, "h3"), MRMR_BUSY);
    assert_int_equal(moves(&w, "src", "h4", POOL_RENAME_NOREPLACE), MRMR_BUSY);
    assert_int_equal(moves(&w, "sub", "h6", 0), MRMR_BUSY);
    rig_ok(moves(&w, "src", "h5", 0));
    assert_true(has_text(&w, "h5", "source"));
    others_take_files(&w, true);
    rig_ok(creates(&w, "h0"));
    assert_true(has_text(&w, "h0", "new"));
    assert_int_equal(drives_with(w.rig, "h0"), 2);
    rig_ok(makes_kind(&w, POOL_DIR, "h1"));
    rig_ok(makes_kind(&w, POOL_DIR, "hd"));
    w.tree->placed_last = 0;
    makes(&w, "hd/below"); /* not in the folder that was removed */
    rig_ok(makes_kind(&w, POOL_LNK, "h2"));
    assert_int_equal(records(&w, false), RECORDS);
    assert_false(rig_holds(w.rig, 0, "hd/below"));
    lets_go();
    moves_at_last(&w, "sub", "h6");
    end_waiting(&w, "h0 h1 h2 h5 h6 hd");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_taken),
        cmocka_unit_test(test_another_file_is_there),
        cmocka_unit_test(test_another_applies),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_name", tests, NULL, NULL);
}
