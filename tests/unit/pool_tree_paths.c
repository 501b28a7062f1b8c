/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders that get another name while something below them is changed: the change is made where it was asked
 * for, whether the folder was renamed through the tree, which waits for it, or directly on the drive.
 */
#include "pool/change/tree_change.h"
#include "tests/support/pause.h"
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* What another does while an op of a drive is about to be carried out. */
struct meanwhile {
    struct world *w;
    void (*fn)(struct world *w);
    pthread_t thread;
    unsigned runs;
    atomic_bool done;
};

static void *run(void *arg)
{
    struct meanwhile *m = arg;
    m->fn(m->w);
    atomic_store(&m->done, true);
    return NULL;
}

static bool somebody_waits(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    return tree->paths_waiting;
}

/* To its end, or, if it has to wait for whoever is under way here, until he is done. */
static void other_thread(void *arg, enum drv_fault_op op, const char *path)
{
    struct meanwhile *m = arg;
    (void)op, (void)path;
    if (m->runs++)
        return;
    assert_int_equal(pthread_create(&m->thread, NULL, run, m), 0);
    /* or he waits for this drive, which serves nobody until this returns */
    for (unsigned i = 0; i < 100 && !atomic_load(&m->done) && !somebody_waits(m->w->tree); i++)
        pause_a_while();
    if (atomic_load(&m->done)) {
        pthread_join(m->thread, NULL);
        m->runs++;
    }
}

static void other_hand(void *arg, enum drv_fault_op op, const char *path)
{
    struct meanwhile *m = arg;
    (void)op, (void)path;
    m->fn(m->w);
    m->runs++;
}

static void on_op(struct meanwhile *m, unsigned drive, uint32_t ops, uint64_t after,
    const char *prefix, drv_fault_hook hook)
{
    const struct drv_fault_rule rule = {.ops = ops,
        .prefix = prefix,
        .after = after,
        .action = DRV_FAULT_HOOK,
        .hook = hook,
        .arg = m,
        .times = 1};
    rig_ok(drv_fault_add(m->w->rig->drive[drive].fault, &rule, NULL));
}

static void joined(struct meanwhile *m)
{
    assert_true(m->runs > 0);
    if (m->runs == 1)
        pthread_join(m->thread, NULL);
    m->runs = 0;
    rig_clear_faults(m->w->rig);
}

/* --- two folders are exchanged --- */

static void exchange(struct world *w)
{
    rig_ok(pool_tree_rename(w->tree, NULL, POOL_ROOT, "D", POOL_ROOT, "E", POOL_RENAME_EXCHANGE));
}

static void exchange_directly(struct world *w)
{
    rig_ok(drv_rename(w->rig->drive[0].raw, "D", "E", DRV_RENAME_EXCHANGE));
}

static mrmr_err makes_file(struct world *w, uint64_t sub)
{
    struct pool_tree_file *file;
    struct pool_attr attr;
    w->tree->placed_last = 0;
    MRMR_TRY(pool_tree_create(w->tree, NULL, sub, "made", 0644, &attr, &file));
    pool_tree_file_close(file);
    return MRMR_OK;
}

static mrmr_err links_file(struct world *w, uint64_t sub)
{
    struct pool_attr attr;
    return pool_tree_link(w->tree, NULL, look(w, sub, "linked").node, sub, "link", &attr);
}

static mrmr_err sets_mode(struct world *w, uint64_t sub)
{
    struct pool_attr attr = {.mode = 0600};
    return pool_tree_set(
        w->tree, NULL, look(w, sub, "mode").node, NULL, POOL_SET_MODE, &attr, &attr);
}

static mrmr_err sets_size(struct world *w, uint64_t sub)
{
    struct pool_attr attr = {.size = 0};
    return pool_tree_set(
        w->tree, NULL, look(w, sub, "size").node, NULL, POOL_SET_SIZE, &attr, &attr);
}

static mrmr_err renames_file(struct world *w, uint64_t sub)
{
    return pool_tree_rename(w->tree, NULL, sub, "from", sub, "to", 0);
}

static mrmr_err removes_file(struct world *w, uint64_t sub)
{
    return pool_tree_unlink(w->tree, NULL, sub, "gone");
}

static mrmr_err removes_folder(struct world *w, uint64_t sub)
{
    return pool_tree_rmdir(w->tree, NULL, sub, "empty");
}

static const struct changing {
    uint32_t ops;
    const char *name,
        *now; /* of what is there before; of what is there afterwards, NULL: nothing */
    mrmr_err (*fn)(struct world *w, uint64_t sub);
} changing[] = {
    {DRV_FAULT_CREATE, "made", "made", makes_file},
    {DRV_FAULT_LINK, "linked", "link", links_file},
    {DRV_FAULT_SET_ATTR, "mode", "mode", sets_mode},
    {DRV_FAULT_FILE_OPEN, "size", "size", sets_size},
    {DRV_FAULT_RENAME, "from", "to", renames_file},
    {DRV_FAULT_FILE_OPEN | DRV_FAULT_UNLINK, "gone", NULL, removes_file},
    {DRV_FAULT_RMDIR, "empty", NULL, removes_folder},
};
enum { CHANGES = sizeof changing / sizeof *changing };

static void below(struct world *w, const char *folder, bool all)
{
    char path[64];
    for (size_t i = 0; i < CHANGES; i++) {
        snprintf(path, sizeof path, "%s/sub/%s", folder, changing[i].name);
        if (changing[i].ops == DRV_FAULT_RMDIR)
            rig_ok(drv_mkdir(w->rig->drive[0].raw, path, 0755));
        else if (all || changing[i].ops != DRV_FAULT_CREATE)
            rig_put(w->rig, 0, path, 100)->there = false;
    }
}

static struct drv_stat stat_of(struct world *w, const char *folder, const char *name)
{
    struct drv_stat stat = {.type = DRV_REG};
    char path[64];
    snprintf(path, sizeof path, "%s/sub/%s", folder, name);
    if (drv_stat(w->rig->drive[0].raw, path, &stat))
        stat.nlink = 0;
    return stat;
}

/* The folder E has all that it had, as it was; but for what is made, which it must not get. */
static void was_left_alone(struct world *w, const char *folder, const struct changing *c)
{
    const struct drv_stat is = stat_of(w, folder, c->name);
    if (c->ops == DRV_FAULT_CREATE) {
        assert_int_equal(is.nlink, 0);
        return;
    }
    assert_int_not_equal(is.nlink, 0);
    assert_int_not_equal(is.mode, 0600);
    assert_true(is.type == DRV_DIR || is.size == 100);
    if (c->now && strcmp(c->now, c->name) != 0)
        assert_int_equal(stat_of(w, folder, c->now).nlink, 0);
}

static void was_changed(struct world *w, const char *folder, const struct changing *c)
{
    const struct drv_stat is = stat_of(w, folder, c->now ? c->now : c->name);
    assert_int_equal(is.nlink != 0, c->now != NULL);
    if (c->fn == sets_mode)
        assert_int_equal(is.mode, 0600);
    if (c->fn == sets_size)
        assert_int_equal(is.size, 0);
}

static uint64_t two_folders(struct world *w, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    rig_put(w->rig, 0, "D/sub/x", 10)->there = false;
    rig_put(w->rig, 0, "E/sub/x", 10)->there = false;
    below(w, "D", false);
    below(w, "E", false);
    look(w, POOL_ROOT, "E");
    return look(w, look(w, POOL_ROOT, "D").node, "sub").node;
}

static void test_exchanged_through_the_tree(void **state)
{
    struct world w;
    (void)state;
    uint64_t sub = two_folders(&w, 301);
    for (size_t i = 0; i < CHANGES; i++) { /* and the other way round the next time */
        const char *was = i % 2 ? "E" : "D", *is = i % 2 ? "D" : "E";
        struct meanwhile m = {.w = &w, .fn = exchange};
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s/sub/", was);
        on_op(&m, 0, changing[i].ops, 0, prefix, other_thread);
        rig_ok(changing[i].fn(&w, sub));
        joined(&m);
        was_left_alone(&w, was, &changing[i]);
        was_changed(&w, is, &changing[i]);
    }
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Nobody waits for that: what is done is refused, rather than done to another file. */
static void test_exchanged_directly(void **state)
{
    mrmr_err (*const fn[])(struct world *, uint64_t) = {sets_size, removes_file};
    struct world w;
    (void)state;
    uint64_t sub = two_folders(&w, 302);
    for (size_t i = 0; i < sizeof fn / sizeof *fn; i++) {
        struct meanwhile m = {.w = &w, .fn = exchange_directly};
        on_op(&m, 0, DRV_FAULT_FILE_OPEN, 0, "D/sub/", other_hand);
        assert_int_equal(mrmr_class_of(fn[i](&w, sub)), MRMR_CLASS_ABSENT);
        assert_int_equal(m.runs, 1);
        rig_clear_faults(w.rig);
        assert_int_equal(stat_of(&w, "D", "size").size, 100);
        assert_int_equal(stat_of(&w, "E", "size").size, 100);
        assert_int_equal(stat_of(&w, "D", "gone").nlink, 1);
        assert_int_equal(stat_of(&w, "E", "gone").nlink, 1);
        exchange_directly(&w);
        close_tree(&w); /* what it believes of them is not the matter */
        open_tree(&w);
        sub = look(&w, look(&w, POOL_ROOT, "D").node, "sub").node;
    }
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- a folder of several drives is renamed --- */

static uint64_t made_in;

static void make_now(struct world *w)
{
    rig_ok(makes_file(w, made_in));
}

/* One drive has the new name, another the old one still. */
static void test_made_while_it_is_renamed(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 303);
    rig_put(w.rig, 0, "F/sub/a", 10)->there = false;
    rig_put(w.rig, 1, "F/sub/b", 10)->there = false;
    made_in = look(&w, look(&w, POOL_ROOT, "F").node, "sub").node;
    struct meanwhile m = {.w = &w, .fn = make_now};
    on_op(&m, 1, DRV_FAULT_RENAME, 0, "F", other_thread);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "F", POOL_ROOT, "G", 0));
    joined(&m);
    assert_int_equal(drives_with(w.rig, "F"), 0);
    assert_int_equal(drives_with(w.rig, "G/sub/made"), 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The rename has looked where the folder lies; then something is made in it on a further drive. */
static void rename_now(struct world *w)
{
    rig_ok(pool_tree_rename(w->tree, NULL, POOL_ROOT, "F", POOL_ROOT, "G", 0));
}

static void test_made_on_a_further_drive(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 304);
    rig_put(w.rig, 1, "F/sub/a", 10)->there = false;
    made_in = look(&w, look(&w, POOL_ROOT, "F").node, "sub").node;
    struct meanwhile m = {.w = &w, .fn = rename_now};
    on_op(&m, 0, DRV_FAULT_MKDIR, 0, "F", other_thread);
    make_now(&w);
    joined(&m);
    assert_int_equal(drives_with(w.rig, "F"), 0);
    assert_int_equal(drives_with(w.rig, "G/sub/made"), 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- and a file below is brought to another drive --- */

static void brought_while(uint64_t seed, uint32_t ops, uint64_t after, bool looked)
{
    struct world w;
    uint8_t got[4];
    size_t n;
    begin(&w, RIG_MEM, seed);
    rig_put(w.rig, 0, "F/n", 100000)->there = false;
    uint64_t folder = look(&w, POOL_ROOT, "F").node, node = look(&w, folder, "n").node;
    struct pool_tree_file *file = open_node(&w, node);
    struct meanwhile m = {.w = &w, .fn = rename_now};
    drive_is_full(w.rig, 0);
    for (unsigned d = 1; d < DRIVES && !looked; d++)
        on_op(&m, d, ops, after, ".mrmr/moving", other_thread);
    if (looked)
        on_op(&m, 0, ops, after, "F/n", other_thread);
    rig_ok(pool_tree_file_write(file, 10, "more", 4));
    joined(&m);
    pool_tree_file_close(file);
    assert_int_equal(drives_with(w.rig, "F/n"), 0);
    assert_int_equal(drives_with(w.rig, "G/n"), 1);
    assert_int_equal(look(&w, folder, "n").node, node);
    file = open_node(&w, node);
    rig_ok(pool_tree_file_read(file, 10, got, 4, &n));
    assert_memory_equal(got, "more", 4);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_renamed_while_it_is_looked_at(void **state)
{
    (void)state;
    brought_while(310, DRV_FAULT_STAT, 0, true);
}

static void test_renamed_while_it_is_copied(void **state)
{
    (void)state;
    brought_while(305, DRV_FAULT_CREATE, 0, false);
}

/* Of two syncs the later one, of the attributes. */
static void test_renamed_once_it_is_copied(void **state)
{
    (void)state;
    brought_while(307, DRV_FAULT_FILE_SYNC, 1, false);
}

static void test_renamed_while_the_copy_is_named(void **state)
{
    (void)state;
    brought_while(306, DRV_FAULT_RENAME, 0, false);
}

/* --- somebody puts two folders into each other, by turns --- */

/* `inner` was looked up in `outer`, and then what was seen before, `outer` in `inner`, comes late. */
static void test_no_folder_lies_in_itself(void **state)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct tree_name shows;
    struct tree_node *outer, *inner;
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 308);
    rig_put(w.rig, 0, "outer/inner/a", 10)->there = false;
    uint64_t number = look(&w, POOL_ROOT, "outer").node;
    rig_ok(tree_node(w.tree, look(&w, number, "inner").node, true, &inner));
    rig_ok(tree_node(w.tree, number, true, &outer));
    {
        mrmr_locked(&w.tree->lock);
        shows = (struct tree_name){.number = number, .kind = POOL_DIR, .on = outer->on};
        assert_null(tree_get_locked(w.tree, inner, "outer", &shows));
        assert_int_equal(mrmr_story_get()->err, MRMR_ABSENT);
        assert_null(tree_get_locked(w.tree, outer, "outer", &shows));
    }
    rig_ok(tree_path(w.tree, inner, &path));
    assert_string_equal(path.data, "outer/inner");
    tree_put(w.tree, inner);
    tree_put(w.tree, outer);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- what is elsewhere --- */

static void change_elsewhere(struct world *w)
{
    rig_ok(pool_tree_rename(w->tree, NULL, POOL_ROOT, "A", POOL_ROOT, "B", 0));
    rig_ok(pool_tree_unlink(w->tree, NULL, look(w, POOL_ROOT, "C").node, "gone"));
}

/* While a drive is about to remove a file, folders on another are renamed, and what is in them is removed. */
static void test_elsewhere_nobody_waits(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 309);
    rig_put(w.rig, 0, "A/here", 10)->there = false;
    rig_put(w.rig, 0, "C/gone", 10)->there = false;
    rig_put(w.rig, 1, "D/gone", 10)->there = false;
    const uint64_t folder = look(&w, POOL_ROOT, "D").node;
    struct meanwhile m = {.w = &w, .fn = change_elsewhere};
    look(&w, folder, "gone");
    look(&w, look(&w, POOL_ROOT, "C").node, "gone");
    look(&w, POOL_ROOT, "A");
    on_op(&m, 1, DRV_FAULT_FILE_OPEN | DRV_FAULT_UNLINK, 0, "D/", other_hand);
    rig_ok(pool_tree_unlink(w.tree, NULL, folder, "gone"));
    assert_int_equal(m.runs, 1);
    rig_clear_faults(w.rig);
    assert_int_equal(drives_with(w.rig, "B/here"), 1);
    assert_int_equal(drives_with(w.rig, "C/gone"), 0);
    assert_int_equal(drives_with(w.rig, "D/gone"), 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchanged_through_the_tree),
        cmocka_unit_test(test_exchanged_directly),
        cmocka_unit_test(test_made_while_it_is_renamed),
        cmocka_unit_test(test_made_on_a_further_drive),
        cmocka_unit_test(test_renamed_while_it_is_looked_at),
        cmocka_unit_test(test_renamed_while_it_is_copied),
        cmocka_unit_test(test_renamed_once_it_is_copied),
        cmocka_unit_test(test_renamed_while_the_copy_is_named),
        cmocka_unit_test(test_no_folder_lies_in_itself),
        cmocka_unit_test(test_elsewhere_nobody_waits),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_paths", tests, NULL, NULL);
}
