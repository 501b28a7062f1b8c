/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A protected file is cut to nothing on a drive that cannot clone: what stripes count on is kept as the file that it was, none of
 * it is copied, and whoever has the file open goes on with the same one.
 */
#include "tests/unit/pool_tree_world.h"

#include <string.h>

#define F0_TAG "user.tag"

static mrmr_err try_empty(struct world *w, uint64_t node)
{
    const struct pool_attr set = {.size = 0};
    struct pool_attr attr;
    return pool_tree_set(w->tree, NULL, node, NULL, POOL_SET_SIZE, &set, &attr);
}

static void empty(struct world *w, const char *name)
{
    struct rig_file *known = rig_find(w->rig, name);
    rig_ok(try_empty(w, look(w, POOL_ROOT, name).node));
    known->size = known->patches = 0;
}

static void begin_without_clones(struct world *w, uint64_t seed)
{
    begin(w, RIG_LOCAL, seed);
    w->tree->drive[0].drive->info.caps &= ~(uint32_t)DRV_CAP_REFLINK;
}

static struct drv_stat stat_of(struct world *w, const char *path)
{
    struct drv_stat stat;
    rig_ok(drv_stat(w->rig->drive[0].raw, path, &stat));
    return stat;
}

struct search {
    uint64_t ino;
    bool found;
};

static mrmr_err search_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct search *search = arg;
    (void)name;
    search->found = search->found || (!err && stat->ino == search->ino);
    return MRMR_OK;
}

static bool is_kept_whole(struct world *w, uint64_t ino)
{
    struct search search = {.ino = ino};
    const mrmr_err err = drv_list(w->rig->drive[0].raw, POOL_RETAINED_FILES, search_entry, &search);
    assert_true(!err || err == MRMR_ABSENT);
    return search.found;
}

static void nothing_half_made(struct world *w)
{
    unsigned entries = 0;
    const mrmr_err err = drv_list(w->rig->drive[0].raw, POOL_DOT "/moving", count_entry, &entries);
    assert_true(!err || err == MRMR_ABSENT);
    assert_int_equal(entries, 0);
}

static void test_kept_as_it_is(void **state)
{
    struct mrmr_bytes value = MRMR_BYTES_INIT;
    struct world w;
    (void)state;
    begin_without_clones(&w, 401);
    const struct drv_stat was = stat_of(&w, "f0");
    const struct pool_attr before = look(&w, POOL_ROOT, "f0");
    rig_ok(pool_tree_set_xattr(w.tree, NULL, before.node, F0_TAG, "x", 1, 0));
    struct pool_tree_file *file = open_file(&w, "f0");
    empty(&w, "f0");
    assert_true(is_kept_whole(&w, was.ino));
    nothing_half_made(&w);
    const struct pool_attr after = look(&w, POOL_ROOT, "f0");
    assert_int_equal(after.node, before.node);
    assert_int_equal(after.mode, before.mode);
    assert_int_equal(after.size, 0);
    assert_true(after.mtime > before.mtime);
    write_part(&w, file, "f0", 0, RIG_MIB + 7); /* by whoever had it open */
    pool_tree_file_close(file);
    assert_int_equal(stat_of(&w, "f0").size, RIG_MIB + 7);
    assert_int_equal(stat_of(&w, "f0").nlink, 1);
    rig_ok(pool_tree_xattr(w.tree, before.node, F0_TAG, &value));
    mrmr_bytes_free(&value);
    end(&w, "f0");
}

/* Once more, when nothing counts on it: it is the same inode afterwards. */
static void test_only_what_counts(void **state)
{
    struct world w;
    (void)state;
    begin_without_clones(&w, 402);
    empty(&w, "f0");
    const uint64_t ino = stat_of(&w, "f0").ino;
    overwrite(&w, "f0", 0, 5 * RIG_MIB);
    empty(&w, "f0");
    assert_int_equal(stat_of(&w, "f0").ino, ino);
    end(&w, "f0");
}

static void test_of_two_names_it_is_copied(void **state)
{
    struct world w;
    (void)state;
    begin_without_clones(&w, 403);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "second"));
    const uint64_t ino = stat_of(&w, "f0").ino;
    empty(&w, "f0");
    assert_int_equal(stat_of(&w, "second").ino, ino);
    assert_int_equal(stat_of(&w, "second").size, 0);
    assert_false(is_kept_whole(&w, ino));
    rig_ok(drv_unlink(w.rig->drive[0].raw, "second"));
    end(&w, "f0");
}

/* The change n of the drive fails; false: there were not so many. */
static bool fails_at(uint64_t n, uint64_t times)
{
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_CHANGES, .after = n, .times = times, .err = MRMR_IO};
    struct world w;
    unsigned id;
    begin_without_clones(&w, 404);
    const uint64_t node = look(&w, POOL_ROOT, "f0").node, whole = stat_of(&w, "f0").size;
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, &id));
    const mrmr_err err = try_empty(&w, node);
    const bool came = drv_fault_hits(w.rig->drive[0].fault, id) > 0;
    rig_clear_faults(w.rig);
    const uint64_t size = stat_of(&w, "f0").size;
    assert_true(size == 0 || (err && size == whole));
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, node);
    rig_find(w.rig, "f0")->patches = 0;
    rig_find(w.rig, "f0")->size = size;
    close_tree(&w);
    reads_all_but(w.rig, "f0", 0);
    open_tree(&w);
    nothing_half_made(&w);
    if (size) {
        close_tree(&w);
        end_after(&w);
    } else {
        end(&w, "f0");
    }
    return came;
}

static void test_what_fails_takes_nothing(void **state)
{
    (void)state;
    for (uint64_t times = 0; times < 2; times++) /* for good; once */
        for (uint64_t n = 0; fails_at(n, times); n++)
            ;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_as_it_is),
        cmocka_unit_test(test_only_what_counts),
        cmocka_unit_test(test_of_two_names_it_is_copied),
        cmocka_unit_test(test_what_fails_takes_nothing),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_emptied", tests, NULL, NULL);
}
