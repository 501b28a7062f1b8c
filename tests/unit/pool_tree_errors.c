/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive that is live and gives an error says nothing of what is there: no name is taken for absent by
 * that, be it looked up or listed. What the catalog has not seen yet nobody else knows of.
 */
#include "tests/unit/pool_tree_world.h"

#include <string.h>

/* As an event of the first drive, which watches. */
static void touched(struct world *w, const char *name)
{
    mrmr_locked(&w->tree->lock);
    struct tree_name *shows = tree_name_touch_locked(w->tree->root, name);
    shows->own = false;
    tree_name_doubt(shows, 0);
    w->tree->root->watched = true;
}

/* So many calls of these ops about such names fail on the first drive; 0: all. */
static void fails(struct world *w, uint32_t ops, const char *prefix, uint64_t times, mrmr_err err)
{
    const struct drv_fault_rule rule = {.ops = ops, .prefix = prefix, .times = times, .err = err};
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
}

static void new_name(uint64_t seed, uint64_t times, mrmr_err err, mrmr_err wanted)
{
    struct world w;
    begin(&w, RIG_MEM, seed);
    assert_int_equal(try_look(&w, POOL_ROOT, "fresh"), MRMR_ABSENT);
    rig_put(w.rig, 0, "fresh", 1000);
    fails(&w, DRV_FAULT_STAT, "fresh", times, err);
    touched(&w, "fresh");
    assert_int_equal(try_look(&w, POOL_ROOT, "fresh"), wanted);
    if (err == MRMR_IO) /* else the drive is out of service by now */
        rig_ok(try_look(&w, POOL_ROOT, "fresh"));
    close_tree(&w);
    end_after(&w);
}

/* An error once is nobody's business. */
static void test_a_new_name(void **state)
{
    (void)state;
    new_name(429, 1, MRMR_IO, MRMR_OK);
    new_name(430, 2, MRMR_IO, MRMR_IO);
    new_name(431, 1, MRMR_TIMEOUT, MRMR_TIMEOUT);
}

struct names {
    char text[200];
    unsigned n;
};

static bool add_name(const struct pool_dir_entry *entry, void *arg)
{
    struct names *names = arg;
    strcat(strcat(names->text, entry->name), " ");
    names->n++;
    return true;
}

static mrmr_err list(struct world *w, uint64_t folder, bool attrs, struct names *ret_names)
{
    *ret_names = (struct names){.n = 0};
    return pool_tree_list(w->tree, folder, 0, attrs, add_name, ret_names);
}

/* One that the catalog has shows as that has it, and is looked at again. */
static void test_a_known_name(void **state)
{
    struct names names;
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 432);
    const uint64_t size = look(&w, POOL_ROOT, "f0").size;
    rig_append(w.rig, "f0", 1000);
    fails(&w, DRV_FAULT_STAT, "f0", 0, MRMR_IO);
    touched(&w, "f0");
    assert_int_equal(look(&w, POOL_ROOT, "f0").size, size);
    rig_clear_faults(w.rig);
    assert_int_equal(look(&w, POOL_ROOT, "f0").size, size + 1000);
    fails(&w, DRV_FAULT_STAT, "f0", 0, MRMR_IO);
    rig_unlink(w.rig, "f0");
    touched(&w, "f0");
    rig_ok(list(&w, POOL_ROOT, false, &names));
    assert_int_equal(names.n, DRIVES + 1);
    rig_clear_faults(w.rig);
    rig_ok(list(&w, POOL_ROOT, false, &names));
    assert_int_equal(names.n, DRIVES);
    close_tree(&w);
    end_after(&w);
}

/* Whatever fails when names are looked at, all of them are there. */
static void test_names_are_listed(void **state)
{
    struct names names;
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 433);
    rig_ok(list(&w, POOL_ROOT, true, &names));
    assert_int_equal(names.n, DRIVES + 1);
    fails(&w, DRV_FAULT_STAT, "f0", 0, MRMR_NOMEM);
    fails(&w, DRV_FAULT_STAT, "fresh", 0, MRMR_IO);
    rig_put(w.rig, 0, "fresh", 1000);
    for (unsigned attrs = 0; attrs < 2; attrs++) {
        touched(&w, "f0");
        touched(&w, "fresh");
        rig_ok(list(&w, POOL_ROOT, attrs, &names));
        assert_int_equal(names.n, DRIVES + 2);
        assert_true(strstr(names.text, "f0 ") && strstr(names.text, "fresh "));
    }
    close_tree(&w);
    rig_clear_faults(w.rig);
    end_after(&w);
}

/* The time for which it may be kept is over. */
static void is_old(struct world *w, uint64_t folder)
{
    mrmr_locked(&w->tree->lock);
    tree_find_locked(w->tree, folder)->loaded = -tree_second * 3600;
}

/* A folder with a bad place: what is known is listed, then that there may be more. */
static void test_a_folder_that_cannot_be_read(void **state)
{
    struct names names;
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 434);
    rig_put(w.rig, 0, "dir/known", 1000);
    rig_protect_all(w.rig);
    rig_put(w.rig, 0, "dir/new", 1000);
    fails(&w, DRV_FAULT_LIST, "dir", 0, MRMR_IO);
    const uint64_t dir = look(&w, POOL_ROOT, "dir").node;
    assert_int_equal(list(&w, dir, false, &names), MRMR_IO);
    assert_string_equal(names.text, "known ");
    rig_ok(try_look(&w, dir, "new"));
    assert_int_equal(try_look(&w, dir, "nothing"), MRMR_ABSENT);
    fails(&w, DRV_FAULT_STAT, "dir/no", 0, MRMR_IO);
    assert_int_equal(try_look(&w, dir, "nothing"), MRMR_IO);
    assert_int_equal(pool_tree_rmdir(w.tree, NULL, POOL_ROOT, "dir"), MRMR_NOT_EMPTY);
    rig_clear_faults(w.rig);
    is_old(&w, dir);
    rig_ok(list(&w, dir, false, &names));
    assert_int_equal(names.n, 2);
    close_tree(&w);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_name),
        cmocka_unit_test(test_a_known_name),
        cmocka_unit_test(test_names_are_listed),
        cmocka_unit_test(test_a_folder_that_cannot_be_read),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_errors", tests, NULL, NULL);
}
