/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the catalog says of the pool's drives changes while a tree shows them: a medium gets another's
 * place, a drive leaves the pool, one is looked for elsewhere. The tree follows, and what is changed
 * through it lowers nobody's protection meanwhile.
 */
#include "pool/tree_file.h"
#include "tests/unit/pool_tree_world.h"

#include "drivers/guard.h"
#include <string.h>
#include <time.h>

static void moment(void)
{
    const struct timespec wait = {.tv_nsec = 10 * 1000 * 1000};
    nanosleep(&wait, NULL);
}

static void wait_live(struct world *w, size_t place)
{
    for (unsigned i = 0; i < 3000 && !tree_live(&w->tree->drive[place]); i++)
        moment();
    assert_true(tree_live(&w->tree->drive[place]));
}

static const char *name_of(struct world *w, size_t place)
{
    return w->tree->drive[place].drive->meta.name;
}

/* The first drive is lost, and the tree shows a sixth, which is empty. */
static void begin_lost(struct world *w, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    close_tree(w);
    rig_add_drive(w->rig);
    rig_sync(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
    assert_true(tree_live(&w->tree->drive[5]));
    rig_reopen(w->rig);
}

static void rebuild(struct world *w, const char *onto)
{
    struct pool_job job = rig_job(w->rig);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = onto};
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(w->rig->pool, &job, &options, &report));
    assert_int_equal(report.failed + report.conflicts, 0);
}

/* Where each file of the lost drive is now. */
static void files_moved(struct world *w)
{
    for (size_t i = 0; i < w->rig->files; i++)
        for (unsigned d = 1; w->rig->file[i].drive == 0 && d < w->rig->n; d++)
            if (rig_holds(w->rig, d, w->rig->file[i].path))
                w->rig->file[i].drive = d;
}

/* Until it is written; at first the file's drive may be out of service. */
static void overwrite_soon(struct world *w, const char *path, uint64_t seed)
{
    uint8_t buf[500];
    struct rig_file *known = rig_find(w->rig, path);
    mrmr_err err = MRMR_OFFLINE;
    known->patch[known->patches++] = (struct rig_patch){3000, sizeof buf, seed};
    rig_expected(known, 3000, buf, sizeof buf);
    for (unsigned i = 0; err && i < 3000; i++, moment()) {
        struct pool_tree_file *file = open_file(w, path);
        err = pool_tree_file_write(file, 3000, buf, sizeof buf);
        pool_tree_file_close(file);
        if (err)
            assert_int_equal(mrmr_class_of(err), MRMR_CLASS_UNAVAILABLE);
    }
    rig_ok(err);
}

/* With any two drives away but the one on which it was changed. */
static void nobody_else_suffers(struct world *w, const char *changed, unsigned its_drive)
{
    assert_true(count_retained(w->rig, its_drive) > 0);
    for (unsigned a = 1; a < w->rig->n; a++)
        reads_without(w->rig, a, a % (w->rig->n - 1) + 1, changed, its_drive);
}

/* --- another medium has the place --- */

/* f0's bytes on it count from the moment it is what the lost one was, and are kept. */
static void test_a_medium_gets_anothers_place(void **state)
{
    struct world w;
    (void)state;
    begin_lost(&w, 701);
    rebuild(&w, "d5");
    overwrite_soon(&w, "f0", 11);
    nobody_else_suffers(&w, "f0", 5);
    wait_live(&w, 0);
    assert_string_equal(name_of(&w, 0), "d5");
    assert_false(tree_live(&w.tree->drive[5]));
    files_moved(&w);
    overwrite(&w, "other", 100, 1000);
    rig_check_originals(w.rig);
    close_tree(&w);
    end_after(&w);
}

static mrmr_err set_mode(struct world *w, const char *path)
{
    const struct pool_attr set = {.mode = 0600};
    struct pool_attr attr = look(w, POOL_ROOT, path);
    return pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr);
}

/* Whatever the next change is of: nothing is written under the old id after it. */
static void test_the_next_change_looks(void **state)
{
    struct world w;
    (void)state;
    begin_lost(&w, 702);
    rebuild(&w, "d5");
    rig_ok(set_mode(&w, "f1"));
    assert_false(tree_live(&w.tree->drive[5]));
    wait_live(&w, 0);
    files_moved(&w);
    overwrite(&w, "f0", 3000, 500);
    nobody_else_suffers(&w, "f0", 5);
    rig_check_originals(w.rig);
    close_tree(&w);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_medium_gets_anothers_place),
        cmocka_unit_test(test_the_next_change_looks),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_members", tests, NULL, NULL);
}
