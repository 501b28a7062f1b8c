/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When a file leaves its drive for want of room, and when it stays: it leaves only if that drive has no room for
 * bytes, and it is copied once.
 */
#include "pool/change/tree_change.h"
#include "tests/unit/pool_gone_world.h"

#include "base/cleanup.h"
#include "pool/change/tree_record.h"
#include "pool/records/spare.h"
#include "pool/tree/tree_node.h"
#include "pool/tree/tree_number.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* --- the pool's folder is full --- */

static bool no_touched, no_records, no_numbers;

static mrmr_err folder_is_full(const char *name)
{
    return mrmr_fail_errno(ENOSPC, "write", name);
}

mrmr_err __wrap_tree_record_touched(
    struct tree_records *records, int64_t drive, uint64_t ino, int64_t as, uint64_t epoch);
mrmr_err __real_tree_record_touched(
    struct tree_records *records, int64_t drive, uint64_t ino, int64_t as, uint64_t epoch);
mrmr_err __wrap_tree_record_touched(
    struct tree_records *records, int64_t drive, uint64_t ino, int64_t as, uint64_t epoch)
{
    return no_touched ? folder_is_full("touched")
                      : __real_tree_record_touched(records, drive, ino, as, epoch);
}

mrmr_err __wrap_pool_spare_record(
    int dirfd, const char *dir, const char *name, const struct mrmr_bytes *text);
mrmr_err __real_pool_spare_record(
    int dirfd, const char *dir, const char *name, const struct mrmr_bytes *text);
mrmr_err __wrap_pool_spare_record(
    int dirfd, const char *dir, const char *name, const struct mrmr_bytes *text)
{
    return no_records ? folder_is_full(name) : __real_pool_spare_record(dirfd, dir, name, text);
}

mrmr_err __wrap_tree_number_keep(
    struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number, uint64_t generation);
mrmr_err __real_tree_number_keep(
    struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number, uint64_t generation);
mrmr_err __wrap_tree_number_keep(
    struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number, uint64_t generation)
{
    return no_numbers ? folder_is_full("numbers")
                      : __real_tree_number_keep(tree, drive, ino, number, generation);
}

/* --- copies that are made --- */

static unsigned copies;

static void count_copy(void *arg, enum drv_fault_op op, const char *path)
{
    (void)arg, (void)op, (void)path;
    copies++;
}

static void count_copies(struct world *w)
{
    const struct drv_fault_rule count = {.ops = DRV_FAULT_CREATE,
        .prefix = ".mrmr/moving",
        .action = DRV_FAULT_HOOK,
        .hook = count_copy};
    copies = 0;
    for (unsigned d = 0; d < DRIVES; d++)
        rig_ok(drv_fault_add(w->rig->drive[d].fault, &count, NULL));
}

static void fails(
    struct world *w, unsigned drive, uint32_t ops, const char *prefix, mrmr_err err, uint64_t times)
{
    const struct drv_fault_rule rule = {.ops = ops, .prefix = prefix, .times = times, .err = err};
    rig_ok(drv_fault_add(w->rig->drive[drive].fault, &rule, NULL));
}

static mrmr_err truncates(struct world *w, const char *name, uint64_t size)
{
    struct pool_attr attr = look(w, POOL_ROOT, name);
    const struct pool_attr set = {.size = size};
    return pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_SIZE, &set, &attr);
}

static mrmr_err sets_xattr(struct world *w, const char *name, size_t size)
{
    static const char value[60000];
    return pool_tree_set_xattr(
        w->tree, NULL, look(w, POOL_ROOT, name).node, "user.big", value, size, 0);
}

static void stays(struct world *w, const char *name, unsigned of_copies)
{
    assert_int_equal(copies, of_copies);
    assert_true(rig_holds(w->rig, 0, name));
    assert_int_equal(drives_with(w->rig, name), 1);
}

static void left(struct world *w, const char *name)
{
    assert_false(rig_holds(w->rig, 0, name));
    assert_int_equal(drives_with(w->rig, name), 1);
    for (unsigned d = 1; d < DRIVES; d++)
        if (rig_holds(w->rig, d, name))
            rig_find(w->rig, name)->drive = d;
    rig_check_originals(w->rig);
}

/* One for all that needs no drive of its own. */
static struct world shared;

static int shared_begin(void **state)
{
    (void)state;
    begin(&shared, RIG_MEM, 601);
    for (char name[] = "a"; *name <= 'e'; ++*name)
        rig_put(shared.rig, 0, name, 100000);
    return 0;
}

static int shared_end(void **state)
{
    (void)state;
    close_tree(&shared);
    end_after(&shared);
    return 0;
}

static struct world *as_new(void)
{
    rig_clear_faults(shared.rig);
    shared.tree->room_at = 0;
    count_copies(&shared);
    return &shared;
}

/* What cannot be recorded has nothing to do with the drive, which is not named. */
static void test_what_changes_is_not_recorded(void **state)
{
    struct world *w = as_new();
    (void)state;
    struct pool_tree_file *file = open_file(w, "f0");
    no_touched = true;
    const mrmr_err wrote = pool_tree_file_write(file, 10, "lost", 4);
    const bool named = mrmr_story_get()->drive[0];
    const mrmr_err cut = truncates(w, "f0", 0);
    no_touched = false;
    assert_int_equal(wrote, MRMR_SPACE);
    assert_int_equal(cut, MRMR_SPACE);
    assert_false(named);
    stays(w, "f0", 0);
    pool_tree_file_close(file);
    file = open_file(w,
        "a"); /* of which nothing is kept: the folder is asked first, whatever the drive would say */
    drive_is_full(w->rig, 0);
    no_touched = true;
    const mrmr_err both = pool_tree_file_write(file, 10, "lost", 4);
    no_touched = false;
    assert_int_equal(both, MRMR_SPACE);
    stays(w, "a", 0);
    rig_check_originals(w->rig);
    pool_tree_file_close(file);
}

/* The drive is full, too: nothing is copied that cannot be recorded; or, if that is known only then, once. */
static void test_bringing_is_not_recorded(void **state)
{
    struct world *w = as_new();
    (void)state;
    struct pool_tree_file *file = open_file(w, "a");
    drive_is_full(w->rig, 0);
    no_records = true;
    mrmr_err err = pool_tree_file_write(file, 10, "lost", 4);
    no_records = false;
    assert_int_equal(err, MRMR_SPACE);
    stays(w, "a", 0);
    no_numbers = true;
    err = pool_tree_file_write(file, 10, "lost", 4);
    no_numbers = false;
    assert_int_equal(err, MRMR_SPACE);
    stays(w, "a", 1);
    rig_check_originals(w->rig);
    write_part(w, file, "a", 10, 4);
    left(w, "a");
    pool_tree_file_close(file);
}

/* What counts of it cannot be kept where it comes from, whatever drive it would go to. */
static void test_it_cannot_be_taken(void **state)
{
    struct world *w = as_new();
    (void)state;
    struct pool_tree_file *file = open_file(w, "f0");
    drive_is_full(w->rig, 0);
    fails(w, 0, DRV_FAULT_SYMLINK | DRV_FAULT_MKDIR, ".mrmr/retained", MRMR_SPACE, 0);
    fails(w, 0, DRV_FAULT_FILE_OPEN, ".mrmr/pointers", MRMR_SPACE, 0);
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    stays(w, "f0", 1);
    rig_check_originals(w->rig);
    pool_tree_file_close(file);
}

/* The first ones that it would go to cannot take it: the next one does. */
static void test_to_the_next_drive(void **state)
{
    static const mrmr_err why[] = {MRMR_SPACE, MRMR_READONLY, MRMR_UNSUPPORTED};
    struct world *w = as_new();
    (void)state;
    struct pool_tree_file *file = open_file(w, "b");
    drive_is_full(w->rig, 0);
    w->tree->placed_last = 1; /* the first that is tried */
    for (unsigned d = 1; d < DRIVES - 1; d++)
        fails(w, d, d % 2 ? DRV_FAULT_FILE_WRITE : DRV_FAULT_RENAME, ".mrmr/moving", why[d - 1], 0);
    write_part(w, file, "b", 10, 4);
    assert_true(copies > 1);
    assert_true(rig_holds(w->rig, DRIVES - 1, "b"));
    left(w, "b");
    pool_tree_file_close(file);
}

/* --- the drive has room --- */

/* An attribute that its file system cannot keep, and one for which it has no room. */
static void test_a_large_attribute(void **state)
{
    struct world *w = as_new();
    (void)state;
    fails(w, 0, DRV_FAULT_XATTR_SET, "c", MRMR_SPACE, 0);
    assert_int_equal(sets_xattr(w, "c", 60000), MRMR_SPACE);
    stays(w, "c", 0);
    drive_is_full(w->rig, 0);
    rig_ok(sets_xattr(w, "c", 60000));
    left(w, "c");
}

/* It says so of bytes, too, and has room: it is asked once more, and then the user is told. */
static void test_it_says_that_it_has_room(void **state)
{
    struct world *w = as_new();
    (void)state;
    struct pool_tree_file *file = open_file(w, "d");
    fails(w, 0, DRV_FAULT_FILE_WRITE, "d", MRMR_SPACE, 1);
    write_part(w, file, "d", 10, 4);
    stays(w, "d", 0);
    fails(w, 0, DRV_FAULT_FILE_WRITE, "d", MRMR_SPACE, 0);
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    stays(w, "d", 0);
    fails(w, 0, DRV_FAULT_SPACE, NULL, MRMR_IO, 0); /* it cannot be asked */
    write_part(w, file, "d", 10, 4);
    assert_int_equal(copies, 1);
    left(w, "d");
    pool_tree_file_close(file);
}

/* No file may be that large on any of them, as far as they say. */
static void test_a_large_file(void **state)
{
    struct world *w = as_new();
    (void)state;
    struct pool_tree_file *file = open_file(w, "e");
    fails(w, 0, DRV_FAULT_FILE_WRITE | DRV_FAULT_FILE_TRUNCATE, "e", mrmr_err_from_errno(EFBIG), 0);
    drive_is_full(w->rig, 0);
    const mrmr_err wrote = pool_tree_file_write(file, 1 << 20, "x", 1);
    const mrmr_err grew = truncates(w, "e", (1 << 20) + 1);
    assert_int_equal(mrmr_err_to_errno(wrote), EFBIG);
    assert_int_equal(mrmr_err_to_errno(grew), EFBIG);
    stays(w, "e", 0);
    rig_check_originals(w->rig);
    pool_tree_file_close(file);
}

/* --- a copy that is not wanted after all --- */

/* It has the file's name when its drive stops answering, and cannot be removed: it never shows, also once the
 * file is removed, and goes. */
static unsigned copy_is_left(struct world *w, const char *name)
{
    unsigned on = 0;
    struct pool_tree_file *file = open_file(w, name);
    drive_is_full(w->rig, 0);
    for (unsigned d = 1; d < DRIVES; d++) {
        fails(w, d, DRV_FAULT_DIR_SYNC, NULL, MRMR_IO, 0);
        fails(w, d, DRV_FAULT_UNLINK, NULL, MRMR_IO, 0);
    }
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    pool_tree_file_close(file);
    rig_clear_faults(w->rig);
    for (unsigned d = 1; d < DRIVES; d++)
        on = rig_holds(w->rig, d, name) ? d : on;
    assert_int_not_equal(on, 0);
    assert_true(rig_holds(w->rig, 0, name));
    reads(w, name);
    return on;
}

static void begin_small(struct world *w, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = seed})};
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(w->rig, d, path, 20000);
    }
    rig_put(w->rig, 0, "other", 20000);
    rig_protect_all(w->rig);
    open_tree(w);
}

static void test_a_copy_is_left(void **state)
{
    struct world w;
    (void)state;
    begin_small(&w, 608);
    copy_is_left(&w, "other");
    removes(&w, "other");
    assert_int_equal(is_there(&w, "other"), MRMR_ABSENT);
    const unsigned on = copy_is_left(&w, "f0");
    rig_take_away(w.rig, on);
    const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (tree_live(&w.tree->drive[on])) {
        char path[32];
        snprintf(path, sizeof path, "f%u", on);
        assert_true(mrmr_clock_monotonic() < until);
        is_there(&w, path); /* it does not answer */
    }
    removes(&w, "f0");
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    rig_bring_back(w.rig, on);
    close_tree(&w);
    open_tree(&w);
    lists(&w, "", "f1 f2 f3 f4", "f0 other");
    assert_int_equal(drives_with(w.rig, "f0"), 0);
    assert_int_equal(drives_with(w.rig, "other"), 0);
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* --- it is looked at while its copy has its number, and does not get its name --- */

static _Atomic bool stays_now;

void __wrap_tree_stay_begin(struct pool_tree *tree, struct tree_node *node);
void __real_tree_stay_begin(struct pool_tree *tree, struct tree_node *node);
void __wrap_tree_stay_begin(struct pool_tree *tree, struct tree_node *node)
{
    stays_now = true;
    __real_tree_stay_begin(tree, node);
}

struct looker {
    struct world *w;
    uint64_t node;
    pthread_t thread;
    mrmr_err err;
};

static void *looks(void *arg)
{
    struct looker *looker = arg;
    struct pool_attr attr;
    looker->err = pool_tree_attr(looker->w->tree, looker->node, &attr);
    return NULL;
}

static void looks_meanwhile(void *arg, enum drv_fault_op op, const char *path)
{
    struct looker *looker = arg;
    (void)op, (void)path;
    assert_int_equal(pthread_create(&looker->thread, NULL, looks, looker), 0);
    const int64_t until = mrmr_clock_monotonic() + 20 * MRMR_NS_PER_S;
    while (!stays_now && mrmr_clock_monotonic() < until)
        sched_yield();
}

static void test_it_is_there_while_it_cannot_be_brought(void **state)
{
    struct world own, *w = &own;
    struct tree_node *node;
    (void)state;
    begin(w, RIG_MEM, 602);
    struct looker looker = {.w = w, .node = look(w, POOL_ROOT, "f0").node};
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_RENAME,
        .prefix = ".mrmr/moving",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = looks_meanwhile,
        .arg = &looker};
    const struct drv_fault_rule denied = {
        .ops = DRV_FAULT_RENAME, .prefix = ".mrmr/moving", .err = MRMR_DENIED};
    for (unsigned d = 1; d < DRIVES; d++) {
        rig_ok(drv_fault_add(w->rig->drive[d].fault, &hook, NULL));
        rig_ok(drv_fault_add(w->rig->drive[d].fault, &denied, NULL));
    }
    rig_ok(tree_node(w->tree, looker.node, false, &node));
    stays_now = false;
    assert_int_equal(tree_bring(w->tree, node, 0, 0), MRMR_DENIED);
    tree_put(w->tree, node);
    rig_clear_faults(w->rig);
    assert_int_equal(pthread_join(looker.thread, NULL), 0);
    rig_ok(looker.err);
    assert_true(stays_now);
    assert_int_equal(look(w, POOL_ROOT, "f0").node, looker.node);
    close_tree(w);
    end_after(w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_changes_is_not_recorded),
        cmocka_unit_test(test_bringing_is_not_recorded),
        cmocka_unit_test(test_it_cannot_be_taken),
        cmocka_unit_test(test_to_the_next_drive),
        cmocka_unit_test(test_a_large_attribute),
        cmocka_unit_test(test_it_says_that_it_has_room),
        cmocka_unit_test(test_a_large_file),
        cmocka_unit_test(test_a_copy_is_left),
        cmocka_unit_test(test_it_is_there_while_it_cannot_be_brought),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_bring", tests, shared_begin, shared_end);
}
