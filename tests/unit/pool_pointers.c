/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A whole file that counts is removed from a drive without room for a folder, a symlink or a name:
 * its bytes are found all the same, also when the power goes at any moment, and are let go of when no
 * stripe counts on them any more. What lies in the file of pointers is not believed.
 */
#include "pool/retained/pointers.h"
#include "pool/retained/pointers_format.h"
#include "tests/support/kept.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DRIVES = 5, FILE_LEAVES = 3, RECORD = sizeof(struct pointers_record) };

static struct rig *begin(enum rig_kind kind, uint64_t seed)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind, .drives = DRIVES, .seed = seed});
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_put(rig, 0, "other", 5000); /* so that the drive is not empty afterwards */
    rig_protect_all(rig);
    return rig;
}

static void full(struct rig *rig, uint32_t ops, uint64_t times)
{
    const struct drv_fault_rule rule = {
        .ops = ops, .prefix = POOL_RETAINED, .err = MRMR_SPACE, .times = times};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
}

static void no_symlinks(struct rig *rig)
{
    full(rig, DRV_FAULT_SYMLINK | DRV_FAULT_MKDIR | DRV_FAULT_CREATE, 0);
}

static mrmr_err keep(struct rig *rig, const char *path, enum pool_retained_how how)
{
    struct pool_drive *drive = rig_pool_drive(rig, 0);
    struct pool_retained_leaf *leaves;
    char kept[POOL_RETAINED_PATH];
    size_t n;
    bool known;
    struct meta_node node;
    rig_ok(meta_lookup_path(rig->pool->meta, drive->meta.root, path, &node));
    rig_ok(pool_retained_counted(rig->pool, drive, path, node.ino, &leaves, &n, &known));
    assert_true(n > 0);
    mrmr_err err = pool_retained_keep(drive->drv, path, leaves, n, how, kept);
    free(leaves);
    MRMR_TRY(err);
    return drv_dir_sync(drive->drv, POOL_RETAINED_FILES);
}

static mrmr_err count_pointer(const struct pool_pointer *pointer, void *arg)
{
    (void)pointer;
    ++*(size_t *)arg;
    return MRMR_OK;
}

static size_t pointers(struct rig *rig)
{
    size_t n = 0;
    rig_ok(pool_pointers_each(rig->drive[0].raw, count_pointer, &n));
    return n;
}

static uint64_t room(struct rig *rig)
{
    uint64_t bytes;
    rig_ok(pool_pointers_room(rig->drive[0].raw, &bytes));
    return bytes;
}

static void test_without_symlinks(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 301);
    assert_true(room(rig) >= 128 << 10);
    no_symlinks(rig);
    rig_ok(keep(rig, "f0", POOL_RETAINED_MOVE));
    assert_int_equal(pointers(rig), FILE_LEAVES);
    assert_int_equal(count_retained(rig, 0), 1); /* the file, and nothing else */
    rig_find(rig, "f0")->there = false;
    nobody_suffers(rig, "f0");
}

static void test_let_go_of(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 302);
    no_symlinks(rig);
    rig_ok(keep(rig, "f0", POOL_RETAINED_MOVE));
    rig_ok(keep(rig, "other", POOL_RETAINED_LINK)); /* and is not replaced after all */
    assert_int_equal(pointers(rig), FILE_LEAVES + 1);
    rig_find(rig, "f0")->there = false;
    no_new_rows(rig);
    rig_sync(rig); /* nothing can be encoded: what counts stays, and only that */
    assert_int_equal(pointers(rig), FILE_LEAVES);
    assert_int_equal(count_retained(rig, 0), 1);
    reads_all_but(rig, NULL, 0);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_sync(rig);
    assert_int_equal(pointers(rig), 0);
    assert_int_equal(count_retained(rig, 0), 0);
    assert_true(room(rig) >= 128 << 10); /* there is room again for the next ones */
    rig_check_originals(rig);
    rig_destroy(rig);
}

static struct pool_sync_report release(struct rig *rig)
{
    const struct pool_sync_options options = {.release = true};
    struct pool_job job = rig_job(rig);
    struct pool_sync_report report;
    rig_ok(pool_sync(rig->pool, &job, &options, &report));
    return report;
}

/* The file of those that are left could not be written: a release does not say that it let go of all. */
static void test_no_room_to_let_go(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 304);
    const struct drv_fault_rule full_up = {
        .ops = DRV_FAULT_CREATE, .prefix = POOL_POINTERS, .err = MRMR_SPACE};
    no_symlinks(rig);
    rig_ok(keep(rig, "f0", POOL_RETAINED_MOVE));
    rig_ok(keep(rig, "other", POOL_RETAINED_LINK)); /* and is not replaced after all */
    rig_find(rig, "f0")->there = false;
    rig_ok(drv_fault_add(rig->drive[0].fault, &full_up, NULL));
    assert_true(release(rig).release_left_out);
    assert_int_equal(pointers(rig), FILE_LEAVES + 1);
    rig_clear_faults(rig);
    assert_false(release(rig).release_left_out);
    assert_int_equal(pointers(rig), FILE_LEAVES); /* of f0, which counts: no scan has missed it */
    reads_all_but(rig, NULL, 0);
    rig_destroy(rig);
}

/* What is free behind the pointers makes room for a name; and when there is none left, nothing has
 * happened. */
static void test_no_room_for_a_name(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 303);
    uint64_t before = room(rig);
    no_symlinks(rig);
    full(rig, DRV_FAULT_RENAME | DRV_FAULT_LINK, 3);
    rig_ok(keep(rig, "f0", POOL_RETAINED_MOVE));
    assert_true(room(rig) < before);
    assert_int_equal(pointers(rig), FILE_LEAVES);
    full(rig, DRV_FAULT_RENAME | DRV_FAULT_LINK, 0);
    assert_int_equal(keep(rig, "other", POOL_RETAINED_LINK), MRMR_SPACE);
    assert_int_equal(room(rig), pointers(rig) * RECORD);
    rig_find(rig, "f0")->there = false;
    rig_check_originals(rig);
    rig_clear_faults(rig);
    nobody_suffers(rig, "f0");
}

/* Whatever lies there: nothing is believed, nothing breaks, and what is right is found. */
static void test_not_believed(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("pointers");
    struct rig *rig = begin(RIG_LOCAL, 304);
    uint8_t noise[3 * RECORD + 7];
    struct drv_file *file;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(rig_hash(seed + i) | 1);
    no_symlinks(rig);
    rig_ok(drv_file_open(rig->drive[0].raw, POOL_POINTERS, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 0, noise, 2 * RECORD));
    drv_file_close(file);
    rig_ok(keep(rig, "f0", POOL_RETAINED_MOVE));
    assert_int_equal(pointers(rig), FILE_LEAVES + 2);
    rig_find(rig, "f0")->there = false;
    /* Behind a gap: of an addition that was never finished. */
    rig_ok(drv_file_open(rig->drive[0].raw, POOL_POINTERS, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, (uint64_t)(FILE_LEAVES + 4) * RECORD, noise, sizeof noise));
    drv_file_close(file);
    assert_int_equal(pointers(rig), FILE_LEAVES + 2);
    reads_all_but(rig, "f0", 0);
    rig_ok(keep(rig, "other", POOL_RETAINED_LINK));
    nobody_suffers(rig, "f0");
}

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)rig;
    drv_fault_add(drive->fault, &rule, NULL);
}

/* The power goes at call n; true: all was through before. */
static bool power_goes_at(uint64_t n, bool late, uint64_t seed)
{
    struct rig *rig = begin(RIG_MEM_CUT, 305);
    no_symlinks(rig);
    full(rig, DRV_FAULT_RENAME, 2);
    rig_sync_drives(rig);
    rig_tap(rig, RIG_CUTS | DRV_FAULT_FILE_WRITE, n, late, tap_cut);
    /* The count wraps at the call that is meant. */
    bool through = keep(rig, "f0", POOL_RETAINED_MOVE) == MRMR_OK && rig->tap_left <= n;
    rig_close(rig);
    rig_clear_faults(rig);
    rig_power_cut(rig, seed);
    rig_open(rig);
    reads_without(rig, 1 + seed % 4, 1 + (seed / 4) % 4, "f0", 0);
    rig_destroy(rig);
    return through;
}

static void test_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("pointers"), cuts = 0;
    for (int late = 0; late < 2; late++) {
        uint64_t n = 0;
        while (!power_goes_at(n, late, rig_hash(seed + cuts++)))
            assert_true(++n < 100);
        assert_true(n > 8);
    }
    printf("%" PRIu64 " cuts\n", cuts);
}

/* --- what somebody saved --- */

static mrmr_err count_saved(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += !strcmp(event->kind, "saved-aside") && strstr(event->text, "quarantine");
    return MRMR_OK;
}

/* What was taken by mistake, and can go neither back nor to the quarantine, is not let go of. */
static void test_what_was_saved_stays(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 308);
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    const char *kept = POOL_RETAINED_FILES "/00112233445566aa";
    struct rig_file *other = rig_find(rig, "other");
    unsigned told = 0;
    rig_ok(drv_mkdirs(drv, POOL_RETAINED_FILES, 0700));
    rig_ok(drv_rename(rig->drive[0].raw, "other", kept, DRV_RENAME_REPLACE));
    for (unsigned i = 0; i < 2; i++) { /* each time the third try is the one that works */
        const struct drv_fault_rule rule = {
            .ops = DRV_FAULT_RENAME, .prefix = kept, .err = MRMR_DENIED, .times = 2};
        rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
        rig_ok(pool_retained_put_back(drv, kept, "other"));
        rig_clear_faults(rig);
        assert_false(rig_holds(rig, 0, kept));
        const char *name = POOL_RETAINED_FILES "/" POOL_RETAINED_SAVED "00112233445566aa";
        assert_true(rig_holds(rig, 0, name));
        if (!i)
            rig_ok(drv_rename(rig->drive[0].raw, name, kept, DRV_RENAME_REPLACE));
    }
    other->there = false;
    rig_sync(rig);
    assert_true(rig_holds(rig, 0, POOL_QUARANTINE "/saved-00112233445566aa"));
    rig_ok(pool_events(rig->pool, 0, 100, count_saved, &told));
    assert_int_equal(told, 1);
    /* Denied its place for another reason than that it is taken, it goes to the quarantine at once. */
    rig_ok(drv_rename(
        rig->drive[0].raw, POOL_QUARANTINE "/saved-00112233445566aa", kept, DRV_RENAME_REPLACE));
    const struct drv_fault_rule once = {
        .ops = DRV_FAULT_RENAME, .prefix = kept, .err = MRMR_DENIED, .times = 1};
    rig_ok(drv_fault_add(rig->drive[0].fault, &once, NULL));
    rig_ok(pool_retained_put_back(drv, kept, "other"));
    rig_clear_faults(rig);
    assert_true(rig_holds(rig, 0, POOL_QUARANTINE "/saved-00112233445566aa"));
    rig_destroy(rig);
}

/* --- how much is read --- */

enum { MANY_LEAVES = 20000, MANY_AT_ONCE = 100 };

static void add_many(struct drv *drv, unsigned from, unsigned n)
{
    struct pool_retained_leaf leaves[MANY_AT_ONCE];
    uint8_t name[POOL_POINTERS_FILE] = {(uint8_t)from, (uint8_t)(from >> 8), 1};
    for (unsigned i = 0; i < n; i++) {
        leaves[i] = (struct pool_retained_leaf){.leaf = i, .size = META_LEAF};
        memset(leaves[i].digest.bytes, 1, sizeof leaves[i].digest.bytes);
        memcpy(leaves[i].digest.bytes, &(unsigned){from + i}, sizeof from);
    }
    rig_ok(pool_pointers_add(drv, leaves, n, name));
}

struct in_order {
    unsigned next;
    struct pool_pointer first;
};

static mrmr_err is_next(const struct pool_pointer *pointer, void *arg)
{
    struct in_order *order = arg;
    if (!order->next)
        order->first = *pointer;
    assert_memory_equal(pointer->digest.bytes, &order->next, sizeof order->next);
    order->next++;
    return MRMR_OK;
}

static unsigned all_in_order(struct rig *rig)
{
    struct in_order order = {.next = 0};
    rig_ok(pool_pointers_each(rig->drive[0].raw, is_next, &order));
    return order.next;
}

static uint64_t reads_to_add(struct rig *rig, struct drv *drv, unsigned from, unsigned n)
{
    unsigned counter = rig_count_reads(rig, 0, POOL_POINTERS);
    add_many(drv, from, n);
    uint64_t reads = rig_reads(rig, 0, counter);
    rig_clear_faults(rig);
    return reads;
}

/* Each addition reads the end, and not all. What another process made of the file is seen. */
static void test_long(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 307);
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    bool gave;
    for (unsigned i = 0; i < MANY_LEAVES; i += MANY_AT_ONCE)
        assert_true(reads_to_add(rig, drv, i, MANY_AT_ONCE) <= 2);
    assert_int_equal(all_in_order(rig), MANY_LEAVES);
    unsigned counter = rig_count_reads(rig, 0, POOL_POINTERS);
    rig_ok(pool_pointers_give(drv, &gave));
    assert_true(rig_reads(rig, 0, counter) <= 2);
    rig_clear_faults(rig);
    assert_int_equal(all_in_order(rig), MANY_LEAVES);

    /* The owner has let go of all but the first one. */
    struct in_order order = {.next = 0};
    rig_ok(pool_pointers_each(rig->drive[0].raw, is_next, &order));
    rig_ok(pool_pointers_replace(rig->drive[0].raw, &order.first, 1));
    add_many(drv, 1, 7);
    assert_int_equal(all_in_order(rig), 8);
    /* Somebody added behind what is remembered. */
    add_many(rig->drive[0].raw, 8, 3);
    add_many(drv, 11, 2);
    assert_int_equal(all_in_order(rig), 13);
    /* Of all. */
    rig_ok(pool_pointers_replace(rig->drive[0].raw, NULL, 0));
    rig_ok(pool_pointers_make(rig->drive[0].raw, 128 << 10)); /* with room behind */
    add_many(drv, 0, 5);
    assert_int_equal(all_in_order(rig), 5);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_symlinks),
        cmocka_unit_test(test_let_go_of),
        cmocka_unit_test(test_no_room_to_let_go),
        cmocka_unit_test(test_no_room_for_a_name),
        cmocka_unit_test(test_not_believed),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_what_was_saved_stays),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
