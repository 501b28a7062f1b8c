/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a stripe counts on stays readable after it was overwritten, cut short or deleted with the
 * saving that I3 asks for, also when the power goes at any moment.
 */
#include "tests/unit/pool_retained_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void test_overwritten(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 71);
    rig_ok(save(rig, "f0", 1, 2));
    rig_edit(rig, "f0", RIG_MIB + 10, 100);
    nobody_suffers(rig, "f0");
}

static void test_cut_short(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 72);
    rig_ok(save(rig, "f0", 0, FILE_LEAVES));
    rig_truncate(rig, "f0", 1000);
    nobody_suffers(rig, "f0");
}

static void test_saved_twice_and_appended(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_MEM, 73);
    rig_ok(save(rig, "f0", 2, 3));
    unsigned n = count_retained(rig, 0);
    rig_ok(save(rig, "f0", 2, 3));
    assert_int_equal(count_retained(rig, 0), n);
    rig_edit(rig, "f0", 2 * RIG_MIB, 1);
    rig_ok(save(rig, "f0", 0, FILE_LEAVES)); /* what was changed by now is not saved over it */
    assert_int_equal(count_retained(rig, 0), n + 2);
    rig_append(rig, "f0", RIG_MIB);
    nobody_suffers(rig, "f0");
}

static void test_deleted(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 74);
    rig_put(rig, 0, "other", 5000); /* so that the drive is not empty afterwards */
    rig_protect_all(rig);
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    nobody_suffers(rig, "f0");
}

/* --- a file with two names --- */

enum how { UNLINKED, REPLACED };

/* One of them goes, past MRMR or through it: nothing has to be kept, for the other still leads to the
 * bytes. Before the scan as after it. */
static void one_name_goes(const char *other, enum how how, bool through_mrmr)
{
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = 79});
    struct drv *raw = rig->drive[0].raw;
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_ok(drv_link(raw, "f0", other));
    rig_protect_all(rig);
    rig_put(rig, 0, "n", 5000);
    struct meta_node node = node_at(rig, "f0");
    assert_int_equal(node_at(rig, other).id, node.id);
    if (through_mrmr)
        touch_inode(rig, &node);
    if (how == UNLINKED)
        rig_ok(drv_unlink(raw, "f0"));
    else
        rig_ok(drv_rename(raw, "n", "f0", DRV_RENAME_REPLACE));
    struct rig_file *file = rig_find(rig, "f0"), *replaced = rig_find(rig, "n");
    file->there = replaced->there = false; /* the catalog knows them not, or not so */
    reads_all_but(rig, NULL, 0);
    no_new_rows(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.held, 0);
    assert_int_equal(node_at(rig, other).id, node.id);
    snprintf(file->path, sizeof file->path, "%s", other);
    file->there = true;
    replaced->there = how == UNLINKED;
    assert_string_equal(rig_states(rig, other), "LLL");
    reads_all_but(rig, NULL, 0);
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        struct meta_stripe image = rig_stripe_of(rig, path, 0);
        assert_int_equal(pool_image_margin(rig->pool, &image), 2);
        meta_stripe_free(&image);
    }
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

static void test_one_of_two_names_goes(void **state)
{
    (void)state;
    for (int through_mrmr = 0; through_mrmr < 2; through_mrmr++)
        for (int how = UNLINKED; how <= REPLACED; how++) {
            one_name_goes("z", (enum how)how, through_mrmr); /* the catalog's path is f0 */
            one_name_goes("a", (enum how)how, through_mrmr); /* it is a */
        }
}

/* A whole file that is retained, and then written to by someone who still has it open. */
static void test_deleted_and_written_to(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 75);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    struct meta_node node = rig_node(rig, "f0");
    struct drv_file *file;
    rig_ok(drv_file_open(drv, "f0", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file));
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    rig_ok(save_counted(rig, &node, file, 1, 2));
    rig_ok(drv_file_write(file, RIG_MIB + 7, "written", 7));
    drv_file_close(file);
    nobody_suffers(rig, "f0");
}

/* --- the same bytes twice --- */

static void copy_on_drive(struct rig *rig, unsigned drive, const char *from, const char *to)
{
    static uint8_t buf[FILE_LEAVES * RIG_MIB];
    struct drv *raw = rig->drive[drive].raw;
    struct drv_file *file;
    struct drv_stat stat;
    rig_ok(drv_stat(raw, from, &stat));
    rig_ok(drv_file_open(raw, from, DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read_exact(file, 0, buf, stat.size));
    drv_file_close(file);
    rig_ok(drv_file_open(raw, to, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, buf, stat.size));
    rig_ok(drv_file_sync(file));
    drv_file_close(file);
}

/* The power goes when symlinks for the second are made: those of the first still lead to it. */
static void test_the_same_bytes_twice(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 83);
    char kept[POOL_RETAINED_PATH];
    copy_on_drive(rig, 0, "f0", "copy");
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    rig_ok(point(rig, "copy", kept));
    reads_all_but(rig, NULL, 0);
    rig_ok(drv_rename(rig_pool_drive(rig, 0)->drv, "copy", kept, DRV_RENAME_REPLACE));
    nobody_suffers(rig, "f0");
}

/* A symlink that leads to other bytes than its name says protects nobody: it is led to the file that
 * has them. */
static void test_the_same_bytes_but_changed(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 84);
    struct drv *raw = rig->drive[0].raw;
    static uint8_t noise[FILE_LEAVES * RIG_MIB - 100];
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    char path[POOL_RETAINED_PATH];
    struct drv_file *file;
    copy_on_drive(rig, 0, "f0", "copy");
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    rig_ok(drv_list(raw, POOL_RETAINED_FILES, list_name, &names));
    snprintf(path, sizeof path, POOL_RETAINED_FILES "/%.40s", names.data);
    mrmr_bytes_free(&names);
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 0, noise, sizeof noise));
    drv_file_close(file);
    rig_ok(delete_file(rig, "copy"));
    nobody_suffers(rig, "f0");
}

/* --- the power --- */

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)rig;
    drv_fault_add(drive->fault, &rule, NULL);
}

/* Saved, then written in place at once; or deleted. */
static mrmr_err change(struct rig *rig, bool deletes)
{
    struct drv *drv = rig_pool_drive(rig, 0)->drv;
    static uint8_t noise[2 * RIG_MIB];
    struct drv_file *file = NULL;
    if (deletes) {
        MRMR_TRY(delete_file(rig, "f0"));
        return drv_dir_sync(drv, POOL_RETAINED_FILES); /* the rename stays */
    }
    MRMR_TRY(save(rig, "f0", 0, 2));
    MRMR_TRY(drv_file_open(drv, "f0", DRV_OPEN_WRITE, 0, &file));
    mrmr_err err = drv_file_write(file, 0, noise, sizeof noise);
    drv_file_close(file);
    return err;
}

/* The power goes at call n; true: the change was through before. */
static bool power_goes_at(uint64_t n, bool late, bool deletes, uint64_t seed)
{
    struct rig *rig = begin(RIG_MEM_CUT, 78);
    rig_sync_drives(rig);
    rig_tap(rig, RIG_CUTS, n, late, tap_cut);
    /* What is left wraps round when the tap is due, also by a call of another drive. */
    bool through = change(rig, deletes) == MRMR_OK && rig->tap_left <= n;
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
    uint64_t seed = rig_seed("power_cuts"), cuts = 0;
    for (int deletes = 0; deletes < 2; deletes++) {
        /* Normally at every fifth call of a write; a removal has few. */
        const uint64_t step = rig_all() ? 1 : deletes ? 2 : 5;
        for (int late = 0; late < 2; late++) {
            uint64_t n = rig_hash(seed + (uint64_t)(2 * deletes + late)) % step;
            while (!power_goes_at(n, late, deletes, rig_hash(seed + cuts++)))
                assert_true((n += step) < 1000);
            assert_true(n > (deletes ? 3 : 5)); /* it was cut, and often */
        }
    }
    printf("%" PRIu64 " cuts\n", cuts);
}

/* A folder is made, and not durable: its sync fails, or who made it is killed before that (and comes again). Whoever keeps something there next
 * does not count on him. True: it has no such sync any more. */
static bool a_sync_fails(uint64_t n, bool deletes, bool anew, uint64_t seed)
{
    struct rig *rig = begin(RIG_MEM_CUT, 79);
    const struct drv_fault_rule fails = {
        .ops = DRV_FAULT_DIR_SYNC, .prefix = POOL_DOT, .after = n, .times = 1, .err = MRMR_IO};
    rig_sync_drives(rig);
    rig_ok(drv_fault_add(rig->drive[0].fault, &fails, NULL));
    mrmr_err err = change(rig, deletes);
    const bool failed = err;
    rig_clear_faults(rig);
    if (failed && anew) {
        rig_close(rig);
        rig_open(rig);
    }
    if (failed)
        err = change(rig, deletes);
    if (err == MRMR_ABSENT) /* it is where it is kept, and only that was not durable */
        err = drv_dir_sync(rig_pool_drive(rig, 0)->drv, POOL_RETAINED_FILES);
    rig_ok(err);
    rig_close(rig);
    rig_power_cut(rig, seed);
    rig_open(rig);
    reads_without(rig, 1 + seed % 4, 1 + (seed % 4 + 1 + seed / 4 % 3) % 4, "f0", 0);
    rig_destroy(rig);
    return !failed;
}

static void test_a_sync_fails_and_the_power_goes(void **state)
{
    /* Each time another part is left of what was not durable. */
    const uint64_t seed = rig_seed("sync_fails"), each = rig_all() ? 8 : 3;
    (void)state;
    uint64_t cuts = 0;
    for (int deletes = 0; deletes < 2; deletes++) {
        uint64_t times = 0, n = 0;
        while (!a_sync_fails(n, deletes, times % 2, rig_hash(seed + cuts++)))
            assert_true((n = ++times / each) < 100);
        assert_true(n > 3);
    }
    printf("%" PRIu64 " cuts after a sync had failed\n", cuts);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overwritten),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_saved_twice_and_appended),
        cmocka_unit_test(test_deleted),
        cmocka_unit_test(test_one_of_two_names_goes),
        cmocka_unit_test(test_deleted_and_written_to),
        cmocka_unit_test(test_the_same_bytes_twice),
        cmocka_unit_test(test_the_same_bytes_but_changed),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_a_sync_fails_and_the_power_goes),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_retained", tests, NULL, NULL);
}
