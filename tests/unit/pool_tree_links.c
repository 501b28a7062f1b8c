/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How many names a file has that lost some while stripes counted on its bytes: what keeps those is no name of it.
 */
#include "pool/records/moved.h"
#include "tests/support/pause.h"
#include "tests/unit/pool_tree_user.h"

#include <string.h>

static unsigned shown(struct world *w, const char *path)
{
    struct pool_attr attr, again;
    rig_ok(look_at(w, path, &attr));
    rig_ok(pool_tree_attr(w->tree, attr.node, &again));
    assert_int_equal(attr.nlink, again.nlink);
    pool_tree_forget(w->tree, attr.node, 1);
    return attr.nlink;
}

static unsigned open_shows(struct world *w, struct pool_tree_file *file)
{
    struct pool_attr attr, again;
    rig_ok(pool_tree_file_attr(file, &attr));
    rig_ok(pool_tree_attr(w->tree, attr.node, &again));
    assert_int_equal(attr.nlink, again.nlink);
    return attr.nlink;
}

static unsigned on_drive(struct world *w, const char *path)
{
    struct drv_stat stat;
    rig_ok(drv_stat(w->rig->drive[0].raw, path, &stat));
    return stat.nlink;
}

static void links(struct world *w, const char *from, const char *to)
{
    struct pool_attr attr;
    const uint64_t node = look(w, POOL_ROOT, from).node;
    rig_ok(pool_tree_link(w->tree, NULL, node, POOL_ROOT, to, &attr));
}

/* A protected file gets another name, and loses the one that the catalog has. */
static void begin_links(struct world *w, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    links(w, "f0", "c");
    assert_int_equal(shown(w, "c"), 2);
    rig_ok(unlink_at(w, "f0"));
    strcpy(rig_find(w->rig, "f0")->path, "c");
    assert_int_equal(on_drive(w, "c"), 2);
    assert_int_equal(shown(w, "c"), 1);
}

static void ends(struct world *w)
{
    close_tree(w);
    rig_destroy(w->rig);
}

static void syncs(struct world *w)
{
    close_tree(w);
    rig_sync(w->rig);
    open_tree(w);
}

static void test_removed(void **state)
{
    struct world w;
    struct pool_attr attr;
    (void)state;
    begin_links(&w, 881);
    links(&w, "c", "d");
    assert_int_equal(shown(&w, "c"), 2);
    assert_int_equal(shown(&w, "d"), 2);
    rig_ok(unlink_at(&w, "d"));
    assert_int_equal(shown(&w, "c"), 1);
    close_tree(&w); /* who opens it next knows of nothing that was done */
    open_tree(&w);
    assert_int_equal(on_drive(&w, "c"), 3);
    assert_int_equal(shown(&w, "c"), 1);
    links(&w, "c", "e");
    assert_int_equal(shown(&w, "e"), 2);
    rig_ok(unlink_at(&w, "e"));
    rig_ok(look_at(&w, "c", &attr));
    struct pool_attr set = {.mode = 0600};
    rig_ok(pool_tree_set(w.tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr));
    assert_int_equal(attr.nlink, 1);
    syncs(&w);
    assert_int_equal(on_drive(&w, "c"), 1);
    assert_int_equal(shown(&w, "c"), 1);
    goes_away(&w);
    assert_int_equal(shown(&w, "c"), 1);
    comes_back(&w, NULL);
    links(&w, "c", "d");
    assert_int_equal(shown(&w, "c"), 2);
    close_tree(&w);
    end_after(&w);
}

/* A sync lets go of what is kept while the tree is open, and what has the names from then on is something else. */
static void test_let_go_of(void **state)
{
    struct world w;
    (void)state;
    begin_links(&w, 882);
    rig_sync(w.rig);
    assert_int_equal(on_drive(&w, "c"), 1);
    assert_int_equal(shown(&w, "c"), 1);
    links(&w, "c", "d");
    links(&w, "c", "e");
    assert_int_equal(shown(&w, "c"), 3);
    ends(&w);
}

/* To whoever has it open, also when no name is left that anyone could give. */
static void test_open(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 883);
    links(&w, "f0", "c");
    struct pool_tree_file *file = open_file(&w, "f0");
    assert_int_equal(open_shows(&w, file), 2);
    rig_ok(unlink_at(&w, "f0"));
    assert_int_equal(open_shows(&w, file), 1);
    rig_ok(unlink_at(&w, "c"));
    rig_find(w.rig, "f0")->there = false;
    assert_int_equal(open_shows(&w, file), 0);
    pool_tree_file_close(file);
    ends(&w);
}

static void test_replaced(void **state)
{
    const struct drv_fault_rule refused = {
        .ops = DRV_FAULT_RENAME, .prefix = "new", .err = MRMR_DENIED};
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 884);
    rig_put(w.rig, 0, "new", 1000)->there = false; /* it is not protected yet */
    links(&w, "f0", "c");
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &refused, NULL));
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0), MRMR_DENIED);
    rig_clear_faults(w.rig);
    assert_int_equal(shown(&w, "f0"), 2);
    assert_int_equal(shown(&w, "c"), 2);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    assert_int_equal(shown(&w, "f0"), 1);
    assert_int_equal(on_drive(&w, "c"), 2);
    assert_int_equal(shown(&w, "c"), 1);
    strcpy(rig_find(w.rig, "f0")->path, "c");
    reads(&w, "c");
    ends(&w);
}

static void expires(struct tree_kept *kept)
{
    mrmr_locked(&kept->lock);
    assert_true(kept->again_at > mrmr_clock_monotonic());
    kept->again_at = 1;
}

/* The drive was away, and something was kept on it meanwhile, for all that the tree knows. Then what is kept cannot be listed: the file is
 * there all the same, with names too many, and it is tried again later. */
static void test_back(void **state)
{
    const struct drv_fault_rule refused = {
        .ops = DRV_FAULT_LIST, .prefix = ".mrmr/retained/files", .err = MRMR_DENIED};
    struct world w;
    (void)state;
    begin_links(&w, 885);
    goes_away(&w);
    rig_ok(drv_link(w.rig->drive[0].raw, "c", ".mrmr/retained/files/00112233445566aa"));
    comes_back(&w, NULL);
    assert_int_equal(on_drive(&w, "c"), 3);
    assert_int_equal(shown(&w, "c"), 1);
    close_tree(&w);
    open_tree(&w);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &refused, NULL));
    assert_int_equal(shown(&w, "c"), 3);
    reads(&w, "c");
    rig_clear_faults(w.rig);
    expires(&w.tree->drive[0].kept);
    assert_int_equal(shown(&w, "c"), 1);
    ends(&w);
}

/* Who opens the file is not told that it changed. What the monitor tells is its own. */
static _Thread_local bool opens;
static unsigned told;

static void tell_node(uint64_t node, bool bytes, void *arg)
{
    (void)node, (void)bytes, (void)arg;
    told += opens;
}

static void test_opened(void **state)
{
    const struct pool_tree_events events = {.node_changed = tell_node};
    struct world w;
    (void)state;
    begin_links(&w, 887);
    close_tree(&w);
    rig_ok(try_open_tree_telling(&w, &events));
    assert_int_equal(shown(&w, "c"), 1);
    const uint64_t node = look(&w, POOL_ROOT, "c").node;
    opens = true;
    pool_tree_file_close(open_node(&w, node));
    assert_int_equal(told, 0);
    rig_ok(drv_link(w.rig->drive[0].raw, "c", "d"));
    pool_tree_file_close(open_node(&w, node));
    assert_int_equal(told, 1);
    ends(&w);
}

/* --- what is said to be safe --- */

static mrmr_err is_safe_there(const struct pool_entry *entry, void *arg)
{
    *(bool *)arg = entry->survives == 2 && !entry->exposed_bytes && entry->version;
    return MRMR_OK;
}

/* Whoever asks on which drive it is hears the same. */
static bool is_said_to_be_safe(struct world *w, const char *path)
{
    bool there = false;
    mrmr_autobytes struct mrmr_bytes said = MRMR_BYTES_INIT;
    struct pool_attr attr;
    rig_ok(look_at(w, path, &attr));
    rig_ok(pool_tree_xattr(w->tree, attr.node, "user.mrmr.protection", &said));
    rig_ok(mrmr_bytes_add(&said, "", 1));
    rig_ok(pool_where(w->rig->pool, path, is_safe_there, &there));
    assert_int_equal(there, strcmp(said.data, "survives 2") == 0);
    return there;
}

static mrmr_err add_exposed(const struct pool_entry *entry, void *arg)
{
    *(uint64_t *)arg += entry->exposed_bytes;
    return MRMR_OK;
}

/* What `where` says of it. */
static uint64_t exposed_of(struct world *w, const char *path)
{
    uint64_t bytes = 0;
    rig_ok(pool_where(w->rig->pool, path, add_exposed, &bytes));
    return bytes;
}

/* A name more goes with the drive, until a sync has seen it. */
static void test_a_further_name_is_not_safe(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 888);
    assert_true(is_said_to_be_safe(&w, "f0"));
    links(&w, "f0", "c");
    assert_false(is_said_to_be_safe(&w, "c"));
    close_tree(&w);
    open_tree(&w);
    look(&w, POOL_ROOT, "c"); /* in either order: it is one file */
    assert_false(is_said_to_be_safe(&w, "f0"));
    assert_false(is_said_to_be_safe(&w, "c"));
    assert_true(is_said_to_be_safe(&w, "f1"));
    rig_sync(w.rig);
    assert_true(is_said_to_be_safe(&w, "c"));
    rig_take_away(w.rig, 0);
    rig_ok(is_there(&w, "c"));
    rig_bring_back(w.rig, 0);
    ends(&w);
}

static void are_safe(struct world *w, const char *a, const char *b)
{
    assert_true(is_said_to_be_safe(w, a));
    assert_true(is_said_to_be_safe(w, b));
    rig_take_away(w->rig, 0);
    rig_ok(is_there(w, a));
    rig_ok(is_there(w, b));
    comes_back(w, NULL);
}

/* A walk that was cut has brought the file into the catalog, as it is now, and one of its names. */
static void test_a_name_that_no_scan_judged_is_not_safe(void **state)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST, .prefix = "z", .err = MRMR_OFFLINE};
    struct world w;
    struct drv_stat stat;
    (void)state;
    begin(&w, RIG_MEM, 895);
    struct drv *drv = w.rig->drive[0].raw;
    rig_ok(drv_mkdir(drv, "z", 0755));
    rig_put(w.rig, 0, "empty", 0);
    rig_ok(drv_link(drv, "empty", "z/empty"));
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    rig_sync(w.rig);
    rig_clear_faults(w.rig);
    w.rig->pool->drives[0]->presence = POOL_PRESENT;
    rig_ok(drv_stat(drv, "empty", &stat));
    assert_int_equal(rig_node(w.rig, "empty").ctime, stat.ctime);
    assert_false(is_said_to_be_safe(&w, "empty"));
    assert_false(is_said_to_be_safe(&w, "z/empty"));
    rig_sync(w.rig);
    are_safe(&w, "empty", "z/empty");
    ends(&w);
}

/* Nor is one that it has in the place of another: there are no more of them than the catalog has. */
static void test_another_name_is_not_safe(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 891);
    links(&w, "f0", "c");
    rig_sync(w.rig);
    assert_true(is_said_to_be_safe(&w, "c"));
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "d")); /* and nobody records that */
    rig_ok(drv_unlink(w.rig->drive[0].raw, "c"));
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (is_there(&w, "d")) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    assert_false(is_said_to_be_safe(&w, "d"));
    look(&w, POOL_ROOT, "f0"); /* whichever of them was looked at last */
    assert_false(is_said_to_be_safe(&w, "f0"));
    assert_false(is_said_to_be_safe(&w, "d"));
    renames(&w, "f0", "r", 0);
    assert_false(is_said_to_be_safe(&w, "d"));
    rig_sync(w.rig);
    are_safe(&w, "d", "r");
    renames(&w, "d", "e", 0); /* both are found by what was renamed */
    are_safe(&w, "e", "r");
    ends(&w);
}

/* One that is recorded to be in the place of another is. */
static void test_a_name_in_the_place_of_another_is_safe(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 894);
    links(&w, "f0", "c");
    rig_sync(w.rig);
    links(&w, "f0", "d");
    assert_false(is_said_to_be_safe(&w, "d")); /* there are three */
    rig_ok(unlink_at(&w, "c"));
    assert_int_equal(shown(&w, "d"), 2);
    are_safe(&w, "f0", "d");
    assert_int_equal(is_there(&w, "c"), MRMR_ABSENT);
    ends(&w);
}

/* An empty file, over another of the same time: only the drive knows that. */
static void test_what_replaced_it_is_not_safe(void **state)
{
    struct world w;
    struct drv_stat stat;
    (void)state;
    begin(&w, RIG_MEM, 889);
    struct drv *drv = w.rig->drive[0].raw;
    rig_put(w.rig, 0, "empty", 0);
    rig_protect_all(w.rig);
    assert_true(is_said_to_be_safe(&w, "empty"));
    rig_put(w.rig, 0, "new", 0);
    rig_ok(drv_stat(drv, "empty", &stat));
    rig_ok(drv_set_attr(drv, "new", DRV_ATTR_MTIME, &stat));
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (is_there(&w, "new")) { /* until the event is here */
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "empty", 0));
    assert_false(is_said_to_be_safe(&w, "empty"));
    rig_sync(w.rig);
    assert_true(is_said_to_be_safe(&w, "empty"));
    ends(&w);
}

/* Directly on the drive. */
static void test_another_of_the_same_time_is_not_safe(void **state)
{
    struct world w;
    struct drv_stat stat;
    (void)state;
    begin(&w, RIG_MEM, 893);
    struct drv *drv = w.rig->drive[0].raw;
    const uint64_t size = rig_find(w.rig, "f0")->size;
    assert_int_equal(exposed_of(&w, "f0"), 0);
    rig_put(w.rig, 0, "other", size);
    rig_ok(drv_stat(drv, "f0", &stat));
    rig_ok(drv_set_attr(drv, "other", DRV_ATTR_MTIME, &stat));
    rig_ok(drv_rename(drv, "other", "f0", DRV_RENAME_REPLACE));
    rig_find(w.rig, "f0")->there = false;
    strcpy(rig_find(w.rig, "other")->path, "f0");
    assert_int_equal(exposed_of(&w, "f0"), size);
    assert_false(is_said_to_be_safe(&w, "f0"));
    ends(&w);
}

/* A new name alone is found without the drive. */
static void test_what_was_renamed_is_safe(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 890);
    renames(&w, "f0", "r", 0);
    assert_true(is_said_to_be_safe(&w, "r"));
    rig_take_away(w.rig, 0);
    reads(&w, "r");
    rig_bring_back(w.rig, 0);
    ends(&w);
}

/* Renamed while a scan is under way, which finds it by its new name: the record of that stays. */
static void renames_and_asks(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    (void)op, (void)path;
    renames(w, "z/f", "z/r", 0);
    assert_true(is_said_to_be_safe(w, "z/r"));
}

static void test_what_a_scan_found_renamed_is_safe(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 892);
    rig_put(w.rig, 0, "m/keep", 4000);
    rig_put(w.rig, 0, "z/f", RIG_MIB); /* which is read later */
    rig_protect_all(w.rig);
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST,
        .prefix = "m",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = renames_and_asks,
        .arg = &w};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    rig_sync(w.rig);
    assert_true(pool_moved_any(w.rig->pool));
    assert_int_equal(rig_node(w.rig, "z/r").size, RIG_MIB);
    assert_true(is_said_to_be_safe(&w, "z/r"));
    rig_take_away(w.rig, 0);
    reads(&w, "z/r");
    rig_bring_back(w.rig, 0);
    ends(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_let_go_of),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_back),
        cmocka_unit_test(test_opened),
        cmocka_unit_test(test_a_further_name_is_not_safe),
        cmocka_unit_test(test_a_name_that_no_scan_judged_is_not_safe),
        cmocka_unit_test(test_another_name_is_not_safe),
        cmocka_unit_test(test_a_name_in_the_place_of_another_is_safe),
        cmocka_unit_test(test_what_replaced_it_is_not_safe),
        cmocka_unit_test(test_another_of_the_same_time_is_not_safe),
        cmocka_unit_test(test_what_was_renamed_is_safe),
        cmocka_unit_test(test_what_a_scan_found_renamed_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
