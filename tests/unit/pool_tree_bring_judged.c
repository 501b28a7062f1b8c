/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which one of two copies is the file, where a bring was cut, is told before either could be changed; also where a drive does not say
 * what it has, where it cannot be recorded, and where somebody changed the file on its drive meanwhile.
 */
#include "tests/unit/pool_tree_bring_world.h"

#include "base/log.h"
#include "pool/change/tree_bring.h"
#include "pool/change/tree_change.h"
#include "pool/tree/tree_node.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Both are there, and the one that is over can neither be taken nor recorded: it does not show before it is, and the copy is changed. */
static void test_what_goes_does_not_show(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_cut(&w, 1221);
    rig_bring_back(w.rig, 0);
    rig_open(w.rig);
    fails(w.rig, 0, DRV_FAULT_RENAME, MRMR_DENIED);
    nothing_recorded = true;
    open_tree(&w);
    assert_false(tree_live(&w.tree->drive[0]));
    assert_true(tree_live(&w.tree->drive[on]));
    assert_int_equal(count_named(&w, TREE_BRING_OVER), 1);
    rig_ok(sets_mode(&w, "f0", 0600));
    nothing_recorded = false;
    rig_clear_faults(w.rig);
    wait_live(&w, 0);
    nothing_waits(&w);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    ends(&w);
}

/* The file's drive is away: the copy is the file, also while that cannot be recorded, and whichever of the two drives is there after
 * that. */
static void test_the_copy_shows_once_it_is_told(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_cut(&w, 1222);
    rig_open(w.rig);
    nothing_recorded = true;
    open_tree(&w);
    assert_true(tree_live(&w.tree->drive[on]));
    assert_int_equal(count_named(&w, TREE_BRING_OVER), 1);
    reads(&w, "f0");
    rig_ok(sets_mode(&w, "f0", 0600));
    leaves(&w, on);
    nothing_recorded = false;
    rig_bring_back(w.rig, 0);
    waits(&w, 0);
    returns(&w, on);
    wait_live(&w, 0);
    nothing_waits(&w);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    ends(&w);
}

/* Its drive goes when it is to be taken from it, and that it is over cannot be recorded: the copy is the file, is changed, and stays, also
 * where the file's drive is back while the copy's is away. */
static void test_what_is_over_stays_so(void **state)
{
    struct world w;
    struct tree_node *node;
    (void)state;
    begin(&w, RIG_MEM, 1223);
    overwrite(&w, "f0", 3000, 100); /* no scan has seen it so */
    rig_ok(tree_node(w.tree, look(&w, POOL_ROOT, "f0").node, false, &node));
    goes_when_taken(&w, 0);
    nothing_recorded = true;
    rig_ok(tree_bring(w.tree, node, 0, 0));
    tree_put(w.tree, node);
    const unsigned on = elsewhere(&w, "f0");
    assert_int_not_equal(on, 0);
    assert_int_equal(count_named(&w, TREE_BRING_OVER), 1);
    rig_ok(sets_mode(&w, "f0", 0600));
    leaves(&w, on);
    nothing_recorded = false;
    rig_clear_faults(w.rig);
    waits(&w, 0);
    returns(&w, on);
    wait_live(&w, 0);
    nothing_waits(&w);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    close_tree(&w);
    end_after(&w);
}

/* The copy has the file's name, and is not wanted: its drive neither says that the name is durable nor takes it back, and that cannot be
 * recorded. It is before that drive is in service again. */
static void test_what_is_not_wanted_goes(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 1228);
    struct pool_tree_file *file = open_file(&w, "f0");
    drive_is_full(w.rig, 0);
    for (unsigned d = 1; d < DRIVES; d++) {
        const struct drv_fault_rule no_sync = {.ops = DRV_FAULT_DIR_SYNC, .err = MRMR_IO};
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &no_sync, NULL));
        fails(w.rig, d, DRV_FAULT_UNLINK, MRMR_IO);
    }
    nothing_recorded = true;
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    nothing_recorded = false;
    pool_tree_file_close(file);
    rig_clear_faults(w.rig);
    const unsigned on = elsewhere(&w, "f0");
    assert_int_not_equal(on, 0);
    assert_int_equal(count_named(&w, TREE_BRING_LATE), 1);
    leaves(&w, on);
    rig_ok(sets_mode(&w, "f0", 0600));
    returns(&w, on);
    nothing_waits(&w);
    assert_int_equal(mode_of(&w, "f0"), 0600);
    reads(&w, "f0");
    is_on(&w, "f0", 0);
    close_tree(&w);
    end_after(&w);
}

/* A record that says nothing keeps no drive away. */
static void test_a_record_that_cannot_be_read(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 1229);
    const int fd = openat(w.rig->pool->dirfd, TREE_BRING_RECORD "0123456789abcdef",
        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "nothing", 7), 7);
    close(fd);
    returns(&w, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Nobody waits for a drive that never says what it has: the copy is the file, whose drive is there. */
static void test_the_files_drive_does_not_say(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_cut(&w, 1224);
    rig_bring_back(w.rig, 0);
    rig_take_away(w.rig, on);
    rig_open(w.rig);
    fails(w.rig, 0, DRV_FAULT_STAT, MRMR_IO);
    open_tree(&w);
    returns(&w, on);
    reads(&w, "f0");
    rig_clear_faults(w.rig);
    nothing_waits(&w);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    ends(&w);
}

/* Nobody else can tell: it is in service, and nothing goes, also where it does not say it when the file's drive is back. */
static void test_the_copys_drive_does_not_say(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_cut(&w, 1225);
    rig_take_away(w.rig, on);
    rig_open(w.rig);
    open_tree(&w);
    fails(w.rig, on, DRV_FAULT_STAT, MRMR_IO);
    returns(&w, on);
    assert_int_equal(count_named(&w, TREE_BRING_RECORD), 1);
    returns(&w, 0);
    assert_int_equal(count_named(&w, TREE_BRING_RECORD), 0);
    rig_clear_faults(w.rig);
    assert_int_equal(records(&w, false), 0);
    assert_int_equal(drives_with(w.rig, "f0"), 2);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- it was told that the copy is the file, and its drive is away --- */

/* The file is where it was, and nobody takes it. */
static void file_waits(struct world *w)
{
    assert_true(rig_holds(w->rig, 0, "f0"));
    assert_int_equal(count_named(w, TREE_BRING_OVER), 1);
    assert_int_equal(records(w, false), 0);
    reads(w, "f0");
}

static unsigned begin_told(struct world *w, uint64_t seed, bool both)
{
    const unsigned on = begin_cut(w, seed);
    rig_take_away(w->rig, on);
    if (!both)
        rig_bring_back(w->rig, 0);
    rig_open(w->rig);
    is_over(w);
    open_tree(w);
    if (both)
        rig_bring_back(w->rig, 0);
    waits(w, 0);
    file_waits(w);
    return on;
}

static void test_the_file_waits_for_its_copy(void **state)
{
    (void)state;
    for (unsigned both = 0; both < 2; both++) {
        struct world w;
        const unsigned on = begin_told(&w, 1351 + both, both);
        returns(&w, on);
        wait_live(&w, 0);
        nothing_waits(&w);
        reads(&w, "f0");
        is_on(&w, "f0", on);
        ends(&w);
    }
}

/* It never comes back: the file is the one that there is. */
static void test_its_copy_is_lost(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_told(&w, 1353, false);
    struct meta_drive meta = rig_pool_drive(w.rig, on)->meta;
    meta.state = META_DRIVE_RETIRED;
    rig_ok(meta_drive_store(w.rig->pool->meta, &meta));
    wait_live(&w, 0);
    assert_true(rig_holds(w.rig, 0, "f0"));
    reads(&w, "f0");
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Whoever opens the tree runs short while he asks: neither shows before it is told. */
static void test_it_cannot_be_told(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_cut(&w, 1354);
    rig_bring_back(w.rig, 0);
    rig_open(w.rig);
    fails(w.rig, 0, DRV_FAULT_STAT, MRMR_NOMEM);
    open_tree(&w);
    assert_false(tree_live(&w.tree->drive[0]));
    assert_false(tree_live(&w.tree->drive[on]));
    assert_int_equal(count_named(&w, TREE_BRING_RECORD), 1);
    rig_clear_faults(w.rig);
    wait_live(&w, 0);
    wait_live(&w, on);
    nothing_waits(&w);
    reads(&w, "f0");
    is_on(&w, "f0", on);
    ends(&w);
}

/* --- both are somebody's --- */

static atomic_uint told;

static void hears(enum mrmr_log_level level, const char *line, void *arg)
{
    (void)arg;
    told += level == MRMR_LOG_WARN && strstr(line, "both stay") != NULL;
}

/* Before whoever opens the tree next: the copy was touched last. */
static void test_both_were_touched(void **state)
{
    struct world w;
    (void)state;
    const unsigned on = begin_cut(&w, 1230);
    rig_bring_back(w.rig, 0);
    edits(w.rig, 0, "f0");
    edits(w.rig, on, "f0");
    rig_open(w.rig);
    told = 0;
    mrmr_log_set(hears, NULL, MRMR_LOG_WARN);
    open_tree(&w);
    close_tree(&w);
    mrmr_log_set(NULL, NULL, MRMR_LOG_ERROR);
    assert_int_equal(told, 1);
    assert_int_equal(drives_with(w.rig, "f0"), 2);
    rig_destroy(w.rig);
}

/* --- a scan has seen the file changed since --- */

static void appends(struct rig *rig, unsigned drive, const char *path)
{
    struct drv_stat stat;
    struct drv_file *file;
    rig_ok(drv_stat(rig->drive[drive].raw, path, &stat));
    rig_ok(drv_file_open(rig->drive[drive].raw, path, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, stat.size, "more", 4));
    drv_file_close(file);
}

/* It is somebody's, and kept on the drive that comes back, beside the copy. */
static void seen_since(
    uint64_t seed, void (*changes)(struct rig *rig, unsigned drive, const char *path))
{
    struct world w;
    const unsigned on = begin_cut(&w, seed);
    rig_bring_back(w.rig, 0);
    rig_open(w.rig);
    changes(w.rig, 0, "f0");
    rig_sync(w.rig);
    rig_close(w.rig);
    rig_take_away(w.rig, 0);
    rig_open(w.rig);
    open_tree(&w);
    assert_int_equal(records(&w, false), 1); /* it is asked for when its drive is back */
    returns(&w, 0);
    nothing_waits(&w);
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_true(rig_holds(w.rig, on, "f0"));
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_a_scan_saw_it_changed(void **state)
{
    (void)state;
    seen_since(1226, edits);
    seen_since(1227, appends);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_does_not_show),
        cmocka_unit_test(test_the_copy_shows_once_it_is_told),
        cmocka_unit_test(test_what_is_over_stays_so),
        cmocka_unit_test(test_what_is_not_wanted_goes),
        cmocka_unit_test(test_a_record_that_cannot_be_read),
        cmocka_unit_test(test_the_files_drive_does_not_say),
        cmocka_unit_test(test_the_copys_drive_does_not_say),
        cmocka_unit_test(test_the_file_waits_for_its_copy),
        cmocka_unit_test(test_its_copy_is_lost),
        cmocka_unit_test(test_it_cannot_be_told),
        cmocka_unit_test(test_both_were_touched),
        cmocka_unit_test(test_a_scan_saw_it_changed),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_bring_judged", tests, NULL, NULL);
}
