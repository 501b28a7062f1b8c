/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file that is open through the tree while a scrub of the pool's owner repairs it: the open file
 * comes along, and so does everything that was acknowledged.
 */
#include "drivers/guard.h"
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include <string.h>

/* A file that is open before it is repaired. */
struct open {
    struct world w;
    struct pool_tree_file *writer, *reader;
    uint64_t node, generation;
    bool met; /* a hook did its work */
};

static void begin_open(struct open *o, uint64_t seed)
{
    bool same;
    o->met = false;
    begin(&o->w, RIG_MEM, seed);
    rig_rot(o->w.rig, 0, "f0", RIG_MIB + 77);
    struct pool_attr attr = look(&o->w, POOL_ROOT, "f0");
    o->node = attr.node;
    o->generation = attr.generation;
    o->writer = open_node(&o->w, o->node);
    rig_ok(pool_tree_file_open(o->w.tree, o->node, false, &o->reader, &same));
}

static void repaired(struct open *o, unsigned files)
{
    struct pool_scrub_report report = rig_scrub(o->w.rig, true);
    assert_int_equal(report.repaired, files);
}

static void reads(struct open *o, struct pool_tree_file *file)
{
    static uint8_t got[RIG_MIB], wanted[RIG_MIB];
    size_t n;
    const struct rig_file *known = rig_find(o->w.rig, "f0");
    for (uint64_t at = 0; at < known->size; at += RIG_MIB) {
        rig_ok(pool_tree_file_read(file, at, got, RIG_MIB, &n));
        rig_expected(known, at, wanted, n);
        assert_memory_equal(got, wanted, n);
    }
}

static void close_files(struct open *o)
{
    pool_tree_file_close(o->writer);
    pool_tree_file_close(o->reader);
}

/* It is the same file to whoever looks, by its name or by what he has of it. */
static void same_file(struct open *o)
{
    struct pool_attr attr;
    rig_ok(pool_tree_attr(o->w.tree, o->node, &attr));
    assert_int_equal(attr.generation, o->generation);
    attr = look(&o->w, POOL_ROOT, "f0");
    assert_int_equal(attr.node, o->node);
    assert_int_equal(attr.generation, o->generation);
}

static void end_open(struct open *o)
{
    same_file(o);
    close_files(o);
    close_tree(&o->w);
    rig_check_originals(o->w.rig);
    end_after(&o->w);
}

static void test_it_is_read(void **state)
{
    struct open o;
    (void)state;
    begin_open(&o, 311);
    repaired(&o, 1);
    reads(&o, o.reader);
    reads(&o, o.writer);
    end_open(&o);
}

static void test_it_is_written_to(void **state)
{
    struct open o;
    (void)state;
    begin_open(&o, 312);
    repaired(&o, 1);
    write_part(&o.w, o.writer, "f0", RIG_MIB + 50, 1000);
    assert_true(rig_original_is_right(o.w.rig, 0, rig_find(o.w.rig, "f0")));
    reads(&o, o.reader);
    rig_ok(pool_tree_file_sync(o.writer));
    end_open(&o);
}

static void test_it_is_cut_short(void **state)
{
    struct open o;
    struct pool_attr attr;
    const struct pool_attr set = {.size = RIG_MIB + 200};
    (void)state;
    begin_open(&o, 313);
    repaired(&o, 1);
    rig_ok(pool_tree_set(o.w.tree, NULL, o.node, o.writer, POOL_SET_SIZE, &set, &attr));
    rig_find(o.w.rig, "f0")->size = set.size;
    assert_int_equal(attr.size, set.size);
    assert_true(rig_original_is_right(o.w.rig, 0, rig_find(o.w.rig, "f0")));
    end_open(&o);
}

/* Each of its names, and first the one that the tree does not know it by. */
static void test_it_has_two_names(void **state)
{
    struct open o;
    struct pool_attr attr;
    (void)state;
    begin_open(&o, 314);
    rig_ok(pool_tree_link(o.w.tree, NULL, o.node, POOL_ROOT, "a-second", &attr));
    rig_protect_all(o.w.rig);
    repaired(&o, 1);
    write_part(&o.w, o.writer, "f0", 5, 1000);
    assert_true(rig_original_is_right(o.w.rig, 0, rig_find(o.w.rig, "f0")));
    assert_int_equal(look(&o.w, POOL_ROOT, "a-second").node, o.node);
    rig_ok(pool_tree_unlink(o.w.tree, NULL, POOL_ROOT, "a-second"));
    end_open(&o);
}

/* --- at that very moment --- */

static void hook_on(
    struct open *o, uint32_t ops, const char *prefix, bool late, drv_fault_hook hook)
{
    const struct drv_fault_rule rule = {.ops = ops,
        .prefix = prefix,
        .times = 1,
        .late = late,
        .action = DRV_FAULT_HOOK,
        .hook = hook,
        .arg = o};
    rig_ok(drv_fault_add(o->w.rig->drive[0].fault, &rule, NULL));
}

static void write_now(void *arg, enum drv_fault_op op, const char *path)
{
    struct open *o = arg;
    (void)op, (void)path;
    write_part(&o->w, o->writer, "f0", 5000, 1000);
    o->met = true;
}

/* The copy is made and the file is written to: the repair steps back, and the next one finds the file
 * changed. */
static void test_it_was_written_to_before(void **state)
{
    struct open o;
    (void)state;
    begin_open(&o, 315);
    hook_on(&o, DRV_FAULT_RENAME, ".mrmr/work", true, write_now);
    repaired(&o, 0);
    assert_true(o.met);
    write_part(&o.w, o.writer, "f0", RIG_MIB, 1000); /* over what is rotten, too */
    reads(&o, o.reader);
    end_open(&o);
}

static void write_past_the_mount(void *arg, enum drv_fault_op op, const char *path)
{
    struct open *o = arg;
    (void)op, (void)path;
    int64_t mtime = rig_mtime(o->w.rig, "f0");
    rig_edit(o->w.rig, "f0", 100, 50);
    rig_set_mtime(o->w.rig, "f0", mtime);
}

static void read_now(void *arg, enum drv_fault_op op, const char *path)
{
    struct open *o = arg;
    uint8_t buf[1];
    size_t n;
    (void)op, (void)path;
    rig_ok(pool_tree_file_read(o->writer, 0, buf, 1, &n));
    o->met = true;
}

/* Somebody wrote to it past the mount, and it has its place again: so has whoever came to the copy
 * meanwhile. */
static void test_it_is_exchanged_back(void **state)
{
    struct open o;
    (void)state;
    begin_open(&o, 316);
    hook_on(&o, DRV_FAULT_RENAME, "f0", false, write_past_the_mount);
    hook_on(&o, DRV_FAULT_FILE_READ, ".mrmr/quarantine", false, read_now);
    repaired(&o, 0);
    assert_true(o.met);
    write_part(&o.w, o.writer, "f0", RIG_MIB, 1000);
    assert_true(rig_original_is_right(o.w.rig, 0, rig_find(o.w.rig, "f0")));
    reads(&o, o.reader);
    end_open(&o);
}

/* Its drive is out of service for the tree while it is repaired. */
static void test_its_drive_is_away(void **state)
{
    enum { TRIES = 1000 };
    struct open o;
    (void)state;
    begin_open(&o, 317);
    drv_guard_cut(o.w.tree->drive[0].drive->drv, MRMR_OFFLINE);
    repaired(&o, 1);
    reads(&o, o.reader);
    for (unsigned i = 0; i < TRIES && !tree_live(&o.w.tree->drive[0]); i++) {
        const struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};
        nanosleep(&moment, NULL);
    }
    assert_true(tree_live(&o.w.tree->drive[0]));
    write_part(&o.w, o.writer, "f0", 5, 1000);
    assert_true(rig_original_is_right(o.w.rig, 0, rig_find(o.w.rig, "f0")));
    end_open(&o);
}

/* What is kept of the name that went is of the inode in the quarantine by then. */
static void test_one_of_its_names_was_removed(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct drv_stat stat;
    const struct pool_attr cut = {.size = 10};
    (void)state;
    begin(&w, RIG_LOCAL, 991);
    close_tree(&w);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "linked"));
    rig_sync(w.rig);
    open_tree(&w);
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    assert_int_equal(look(&w, POOL_ROOT, "linked").node, node);
    rig_sync(w.rig);
    rig_find(w.rig, "f0")->there = false;
    rig_rot(w.rig, 0, "linked", RIG_MIB + 77);
    assert_int_equal(rig_scrub(w.rig, true).repaired, 1);
    assert_int_equal(look(&w, POOL_ROOT, "linked").node, node);
    rig_ok(pool_tree_set(w.tree, NULL, node, NULL, POOL_SET_SIZE, &cut, &attr));
    rig_ok(drv_stat(w.rig->drive[0].raw, "linked", &stat));
    assert_int_equal(stat.size, 10);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_of_its_names_was_removed),
        cmocka_unit_test(test_it_is_read),
        cmocka_unit_test(test_it_is_written_to),
        cmocka_unit_test(test_it_is_cut_short),
        cmocka_unit_test(test_it_has_two_names),
        cmocka_unit_test(test_it_was_written_to_before),
        cmocka_unit_test(test_it_is_exchanged_back),
        cmocka_unit_test(test_its_drive_is_away),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_repaired", tests, NULL, NULL);
}
