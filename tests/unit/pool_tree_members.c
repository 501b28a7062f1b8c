/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the catalog says of the pool's drives changes while a tree shows them: a medium gets another's
 * place, a drive leaves the pool, one is looked for elsewhere. The tree follows, and what is changed
 * through it lowers nobody's protection meanwhile.
 */
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_watch.h"
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
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

static void end_held(struct world *w, struct held *held)
{
    close_tree(w);
    end_after(w);
    sem_destroy(&held->begun);
    sem_destroy(&held->go_on);
}

/* The first drive is lost, and the tree shows a sixth, which is empty. */
static void begin_lost(struct world *w, struct held *held, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    close_tree(w);
    rig_add_drive(w->rig);
    rig_sync(w->rig);
    rig_take_away(w->rig, 0);
    hold_monitor(w, held);
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

/* Until it is written; at first the file's drive may be out of service, and until it is in service again a change would bring the file to
 * another one, as it should. */
static void overwrite_soon(struct world *w, struct held *held, const char *path, uint64_t seed)
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
        if (!i)
            release_monitor(held);
        if (err)
            wait_live(w, 0);
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
    struct held held;
    (void)state;
    begin_lost(&w, &held, 701);
    rebuild(&w, "d5");
    overwrite_soon(&w, &held, "f0", 11);
    nobody_else_suffers(&w, "f0", 5);
    wait_live(&w, 0);
    assert_string_equal(name_of(&w, 0), "d5");
    assert_false(tree_live(&w.tree->drive[5]));
    files_moved(&w);
    overwrite(&w, "other", 100, 1000);
    rig_check_originals(w.rig);
    end_held(&w, &held);
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
    struct held held;
    (void)state;
    begin_lost(&w, &held, 702);
    rebuild(&w, "d5");
    rig_ok(set_mode(&w, "f1"));
    assert_false(tree_live(&w.tree->drive[5]));
    release_monitor(&held);
    wait_live(&w, 0);
    files_moved(&w);
    overwrite(&w, "f0", 3000, 500);
    nobody_else_suffers(&w, "f0", 5);
    rig_check_originals(w.rig);
    end_held(&w, &held);
}

/* --- a drive leaves the pool --- */

static bool count_name(const struct pool_dir_entry *entry, void *arg)
{
    (void)entry;
    ++*(unsigned *)arg;
    return true;
}

static mrmr_err no_xattr(const char *name, const void *value, size_t size, void *arg)
{
    (void)name, (void)value, (void)size, (void)arg;
    return MRMR_OK;
}

/* The folder is what it was, by all that is asked of its node; a name that comes to lie elsewhere, in a
 * folder that is new there, shows as soon as that does. */
static void folder_has(struct world *w, uint64_t folder, unsigned names)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 500 && n != names; i++, moment()) {
        struct pool_attr attr;
        n = 0;
        rig_ok(pool_tree_xattrs(w->tree, folder, no_xattr, NULL));
        rig_ok(pool_tree_attr(w->tree, folder, &attr));
        rig_ok(pool_tree_list(w->tree, folder, 0, false, count_name, &n));
    }
    assert_int_equal(n, names);
}

static void file_reads(struct world *w, struct pool_tree_file *file, const char *path)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    const struct rig_file *known = rig_find(w->rig, path);
    struct pool_attr attr;
    rig_ok(pool_tree_file_attr(file, &attr));
    assert_int_equal(attr.size, known->size);
    for (uint64_t at = 0; at < known->size; at += RIG_LEAF) {
        size_t n;
        rig_ok(pool_tree_file_read(file, at, got, RIG_LEAF, &n));
        rig_expected(known, at, wanted, n);
        assert_memory_equal(got, wanted, n);
    }
}

static bool lies_on(struct world *w, uint64_t folder, size_t place)
{
    mrmr_locked(&w->tree->lock);
    return tree_set_has(&tree_find_locked(w->tree, folder)->on, place);
}

static void wait_left(struct world *w, size_t place)
{
    for (unsigned i = 0; i < 3000 && w->tree->drive[place].drive->meta.state != META_DRIVE_RETIRED;
         i++)
        moment();
    assert_int_equal(w->tree->drive[place].drive->meta.state, META_DRIVE_RETIRED);
}

/* One of its folders lies elsewhere, too, and one of its files is open: both go on, before the tree has
 * noticed and after. */
static void test_a_drive_leaves(void **state)
{
    struct world w;
    struct pool_tree_file *file;
    struct held held;
    bool same;
    (void)state;
    begin(&w, RIG_MEM, 703);
    close_tree(&w);
    rig_put(w.rig, 0, "both/a", 1000);
    rig_put(w.rig, 1, "both/b", 1000);
    rig_protect_all(w.rig);
    rig_take_away(w.rig, 0);
    hold_monitor(&w, &held);
    const uint64_t both = look(&w, POOL_ROOT, "both").node;
    folder_has(&w, both, 2);
    const struct pool_attr f0 = look(&w, POOL_ROOT, "f0");
    rig_ok(pool_tree_file_open(w.tree, f0.node, false, &file, &same));
    rig_reopen(w.rig);
    rebuild(&w, NULL);
    folder_has(&w, both, 2);
    file_reads(&w, file, "f0");
    release_monitor(&held);
    wait_left(&w, 0);
    folder_has(&w, both, 2);
    file_reads(&w, file, "f0");
    pool_tree_file_close(file);
    for (unsigned i = 0; i < 1000 && (lies_on(&w, POOL_ROOT, 0) || lies_on(&w, both, 0)); i++)
        moment();
    assert_false(lies_on(&w, POOL_ROOT, 0) || lies_on(&w, both, 0));
    files_moved(&w);
    rig_put(w.rig, 1, "both/new", 1000);
    while (try_look(&w, both, "new"))
        moment();
    folder_has(&w, both, 3);
    overwrite(&w, "f0", 100, 1000);
    end_held(&w, &held);
}

/* --- what is set meanwhile --- */

static void set(struct world *w, const char *key, const char *value)
{
    rig_ok(pool_set(w->rig->pool, key, value));
}

/* A drive that is looked for elsewhere is found there; who uses one of which something else is set goes on
 * using it; and what is left out is, until it is not any more. */
static void test_what_is_set_is_followed(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 704);
    close_tree(&w);
    rig_take_away(w.rig, 1);
    rig_reopen(w.rig);
    open_tree(&w);
    assert_false(tree_live(&w.tree->drive[1]));
    const struct tree_drive *third = &w.tree->drive[2];
    const struct drv *serves = third->drive->drv;
    struct pool_tree_file *file = open_file(&w, "f2");
    set(&w, "drive.d1.uri", w.rig->drive[1].inner);
    set(&w, "drive.d2.reserve", "12345678");
    set(&w, "exclude", "f3");
    wait_live(&w, 1);
    assert_int_equal(third->drive->meta.reserve, 12345678);
    assert_ptr_equal(third->drive->drv, serves);
    write_part(&w, file, "f2", 10, 1000);
    pool_tree_file_close(file);
    overwrite(&w, "f1", 10, 1000);
    while (try_look(&w, POOL_ROOT, "f3") == MRMR_OK)
        moment();
    assert_int_equal(try_look(&w, POOL_ROOT, "f3"), MRMR_ABSENT);
    set(&w, "exclude", "");
    while (try_look(&w, POOL_ROOT, "f3"))
        moment();
    close_tree(&w);
    rig_bring_back(w.rig, 1);
    rig_reopen(w.rig);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_medium_gets_anothers_place),
        cmocka_unit_test(test_the_next_change_looks),
        cmocka_unit_test(test_a_drive_leaves),
        cmocka_unit_test(test_what_is_set_is_followed),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_members", tests, NULL, NULL);
}
