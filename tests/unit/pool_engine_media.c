/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Media and drives that fail in the middle of a job, and what may not be concluded from it.
 */
#include "tests/support/pause.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>

static int rig_setup(void **state)
{
    *state = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 41});
    return 0;
}
static int rig_teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}
/* A file was edited in its first leaf, and the medium has a bad spot in its third: the third leaf,
 * which nobody touched, is in a stripe, and must not be given up because it cannot be read. */
static void test_edited_file_with_a_bad_spot(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 3 * RIG_MIB);
    rig_edit(rig, "f0", 5, 10);
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_FILE_READ, .prefix = "f0", .err = MRMR_IO, .after = 2, .times = 1};
    /* leaves are compared in order: the third read is leaf 2's */
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    struct pool_job job = rig_job(rig);
    struct pool_sync_report report;
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_compare(rig->pool, &job, &report));
    assert_null(strchr(rig_states(rig, "f0") + 2, 'G'));
}

static mrmr_err count_failing(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "drive-failing") == 0 && event->warning &&
                        !strcmp(event->drive, "d0") && strstr(event->text, "scrub --repair");
    return MRMR_OK;
}

static unsigned told_failing(struct rig *rig)
{
    unsigned n = 0;
    rig_ok(pool_events(rig->pool, 0, 0, count_failing, &n));
    return n;
}

/* A job goes on past it, protects what can be read, and tells of the drive. */
static void test_errors_are_counted(void **state)
{
    struct rig *rig = *state;
    rig_ok(pool_set(rig->pool, "error-limit", "1"));
    rig_fill(rig, 0, 3, 3, 300000);
    rig_put(rig, 0, "bad", RIG_MIB);
    rig_put(rig, 0, "good", RIG_MIB);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ, .prefix = "bad", .err = MRMR_IO};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    rig_sync(rig);
    assert_int_equal(rig->report.exposed_files, 1);
    assert_int_equal(told_failing(rig), 1);
    assert_true(pool_drive_present(rig->pool->drives[0]));
    rig_clear_faults(rig);
    rig_protect_all(rig);
    assert_int_equal(told_failing(rig), 1);
    rule.prefix = "good";
    const int64_t second = mrmr_clock_monotonic() / MRMR_NS_PER_S; /* each counts once */
    while (mrmr_clock_monotonic() / MRMR_NS_PER_S == second)
        pause_a_while();
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    rig_scrub(rig, false);
    assert_int_equal(told_failing(rig), 2);
    rig_ok(pool_set(rig->pool, "error-limit", "0"));
    rig_scrub(rig, false);
    assert_int_equal(told_failing(rig), 2);
    rig_clear_faults(rig);
    rig_scrub(rig, true);
}

/* The same, and a row of its stripe is lost meanwhile: it is made again, from what can be decoded. */
static void test_rows_beside_a_file_that_cannot_be_compared(void **state)
{
    struct rig *rig = rig_create(&(struct rig_spec){.redundancy = 2, .seed = 43});
    char path[POOL_ROW_PATH];
    (void)state;
    rig_one_each(rig, 3, 2 * RIG_MIB);
    mrmr_autofree struct meta_extent *extent = NULL;
    struct meta_stripe image = {0}, now = {0};
    rig_ok(meta_extent_at(rig->pool->meta, rig_node(rig, "f1").id, 0, &extent));
    rig_ok(meta_stripe_load(rig->pool->meta, extent->stripe, &image));
    rig_edit(rig, "f0", 5, 10);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ, .prefix = "f0", .err = MRMR_IO};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    pool_row_path(&image.uuid, image.generation, image.row[0].index, path);
    rig_ok(drv_unlink(rig->drive[image.row[0].drive - 1].raw, path));
    pool_views_forget(rig->pool, 0);
    rig_scrub(rig, false);
    rig_sync(rig);
    rig_ok(meta_stripe_load(rig->pool->meta, image.id, &now));
    for (size_t i = 0; i < now.rows; i++)
        assert_int_equal(now.row[i].state, META_ROW_OK);
    assert_int_equal(now.rows, 2);
    meta_stripe_free(&image);
    meta_stripe_free(&now);
    rig_destroy(rig);
}

/* The drive dies while an edited file is compared (the medium answers EIO): the old version, of
 * which every byte is in stripes, is still there afterwards. */
static void test_drive_dies_while_an_edited_file_is_compared(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 3 * RIG_MIB);
    rig_edit(rig, "f0", 5, 10);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ, .prefix = "f0", .err = MRMR_IO};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    struct meta_node node = rig_node(rig, "f0");
    rig_sync(rig);
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    uint64_t kept = 0;
    rig_ok(meta_extents_of(rig->pool->meta, node.id, &extents, &n));
    for (size_t i = 0; i < n; i++)
        if (pool_extent_wanted(&extents[i]))
            kept += extents[i].bytes;
    assert_true(kept >= 2 * RIG_MIB);
}

/* The identity's rename happened, and the sync of its folder says that there is no room; the
 * attach tries again with the slack's room, and the power goes within that. */
static void test_attach_after_a_failed_folder_sync(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, RIG_MIB);
    rig_close(rig);
    rig_open(rig);
    unsigned d = 0;
    struct drv_stat slack;
    while (d < rig->n && drv_stat(rig->drive[d].raw, ".mrmr/slack", &slack))
        d++;
    if (d == rig->n) { /* a drive that the pool once kept slack on */
        d = 0;
        struct drv_file *file = NULL;
        rig_ok(drv_file_open(
            rig->drive[0].raw, ".mrmr/slack", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
        rig_ok(drv_file_allocate(file, RIG_MIB));
        drv_file_close(file);
    }
    struct drv_fault_rule full = {
        .ops = DRV_FAULT_DIR_SYNC, .prefix = ".mrmr", .late = true, .times = 1, .err = MRMR_SPACE};
    struct drv_fault_rule gone = {
        .ops = DRV_FAULT_CREATE, .prefix = ".mrmr/drive", .after = 1, .err = MRMR_OFFLINE};
    rig_ok(drv_fault_add(rig->drive[d].fault, &full, NULL));
    rig_ok(drv_fault_add(rig->drive[d].fault, &gone, NULL));
    (void)!pool_drive_attach(rig->pool, rig_pool_drive(rig, d));
    rig_clear_faults(rig);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(rig_pool_drive(rig, d)->presence, POOL_PRESENT);
}

/* What may not be opened has not rotted. */
static void test_scrub_that_may_not_read(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, RIG_MIB);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_OPEN, .prefix = "f", .err = MRMR_DENIED};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    struct pool_scrub_report r = rig_scrub(rig, false);
    assert_int_equal(r.damaged, 0);
}

/* Without descriptors nothing can be said about the files, so no job goes on as if it could. */
static void test_without_descriptors(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, RIG_MIB);
    const struct pool_job job = rig_job(rig);
    const struct pool_scrub_options all = {0};
    struct pool_scrub_report scrubbed;
    struct pool_sync_report scanned;
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_FILE_OPEN | DRV_FAULT_LIST, .err = MRMR_NO_DESCRIPTORS};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    assert_int_equal(pool_scrub(rig->pool, &job, &all, &scrubbed), MRMR_NO_DESCRIPTORS);
    assert_int_equal(scrubbed.damaged + scrubbed.rows_damaged, 0);
    assert_int_equal(pool_scan(rig->pool, &job, false, &scanned), MRMR_NO_DESCRIPTORS);
    rig_clear_faults(rig);
    assert_string_equal(rig_states(rig, "f0"), "L");
    rig_sync(rig);
    rig_check(rig);
}

#define rig_test(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
struct counting {
    const char *kind;
    unsigned n;
};

static mrmr_err counted(const struct pool_event *event, void *arg)
{
    struct counting *counting = arg;
    counting->n += strcmp(event->kind, counting->kind) == 0;
    return MRMR_OK;
}

static unsigned events_of(struct rig *rig, const char *kind)
{
    struct counting counting = {kind, 0};
    rig_ok(pool_events(rig->pool, 0, 0, counted, &counting));
    return counting.n;
}

static void it_goes(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    if (!rig->drive[1].away)
        rig_take_away(rig, 1);
}

/* A drive that stopped answering in a job is no news to who opens the pool next. */
static void test_a_drive_that_went_in_a_job_is_told_of_once(void **state)
{
    struct rig *rig = *state;
    struct pool_job job = rig_job(rig);
    rig_one_each(rig, 3, RIG_MIB);
    for (unsigned d = 0; d < 4; d++) {
        char path[16];
        snprintf(path, sizeof path, "g%u", d);
        rig_put(rig, d, path, 2 * RIG_MIB);
    }
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    rig_tap(rig, DRV_FAULT_FILE_READ, 0, false, it_goes);
    rig_ok(pool_protect(rig->pool, &job, NULL, &rig->report));
    rig_untap(rig);
    assert_int_equal(rig_pool_drive(rig, 1)->presence, POOL_FAILED);
    for (unsigned i = 0; i < 3; i++, rig_reopen(rig)) {
        assert_int_equal(events_of(rig, "drive-lost"), 1);
        assert_int_equal(events_of(rig, "drive-returned"), 0);
    }
    rig_bring_back(rig, 1);
    for (unsigned i = 0; i < 2; i++) {
        rig_reopen(rig);
        assert_int_equal(events_of(rig, "drive-lost"), 1);
        assert_int_equal(events_of(rig, "drive-returned"), 1);
    }
    rig_protect_all(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(test_edited_file_with_a_bad_spot),
        rig_test(test_errors_are_counted),
        cmocka_unit_test(test_rows_beside_a_file_that_cannot_be_compared),
        rig_test(test_drive_dies_while_an_edited_file_is_compared),
        rig_test(test_scrub_that_may_not_read),
        rig_test(test_without_descriptors),
        rig_test(test_a_drive_that_went_in_a_job_is_told_of_once),
        rig_test(test_attach_after_a_failed_folder_sync),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
