/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Protecting never unprotects: what waits to be encoded anew is as safe as it was until that is
 * done, and a change that would make something less safe waits.
 */
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>

/* No row can be made anywhere, until rig_clear_faults. */
static void no_new_rows(struct rig *rig)
{
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_CREATE, .prefix = ".mrmr/parity", .err = MRMR_SPACE};
    for (unsigned d = 0; d < rig->n; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
}

/* Every byte of every file, whether its leaves are claimed or stood in for, with these drives away.
 */
static void reads_all_without(struct rig *rig, unsigned away)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    unsigned taken = 0;
    for (unsigned d = 0; d < rig->n; d++)
        if (away >> d & 1 && rig_present(rig, d)) {
            rig_take_away(rig, d);
            taken |= 1U << d;
        }
    for (size_t i = 0; i < rig->files; i++) {
        const struct rig_file *file = &rig->file[i];
        struct pool_file *f = NULL;
        rig_ok(pool_file_open(rig->pool, file->path, 0, &f));
        for (uint64_t at = 0; at < file->size; at += RIG_LEAF) {
            size_t n;
            if (pool_file_read(f, at, got, RIG_LEAF, &n))
                fail_msg("%s at %llu, without %#x: %s", file->path, (unsigned long long)at, away,
                    mrmr_err_name(mrmr_story_get()->err));
            rig_expected(file, at, wanted, n);
            assert_memory_equal(got, wanted, n);
        }
        pool_file_close(f);
    }
    for (unsigned d = 0; d < rig->n; d++)
        if (taken >> d & 1)
            rig_bring_back(rig, d);
    pool_views_forget(rig->pool, 0);
}

/* Blocks that leave a full stripe to make room for a row are in nobody's stripe for a while: the
 * old ones stand in. */
static void test_evicted_blocks_are_stood_in_for(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.redundancy = 1, .seed = 61});
    for (unsigned d = 0; d < rig->n; d++) {
        char path[32];
        snprintf(path, sizeof path, "even/%u", d);
        rig_put(rig, d, path, 6 * RIG_MIB);
    }
    rig_protect_all(rig);
    rig_edit(rig, "even/0", RIG_MIB + 5, 10); /* extents of two versions */
    rig_edit(rig, "even/3", 5, 10);
    rig_protect_all(rig);
    rig_ok(pool_set_redundancy(rig->pool, 2));
    no_new_rows(rig);
    for (unsigned i = 0; i < 3; i++) {
        rig_sync(rig);
        rig_check(rig);
        for (unsigned d = 0; d < rig->n; d++)
            reads_all_without(rig, 1U << d);
        rig_close(rig);
        rig_open(rig);
    }
    assert_true(rig->report.exposed_bytes > 0);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* Files that a rebuild brought to other drives are exposed there: the stripes that held them stand
 * in. */
static void test_moved_files_are_stood_in_for(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.seed = 62});
    for (unsigned d = 0; d < rig->n; d++) {
        char path[32];
        snprintf(path, sizeof path, "f/%u", d);
        rig_put(rig, d, path, 3 * RIG_MIB + 5000);
    }
    rig_protect_all(rig);
    rig_edit(rig, "f/4", RIG_MIB + 5, 10);
    rig_protect_all(rig);
    rig_close(rig);
    rig_take_away(rig, 4);
    rig_open(rig);
    no_new_rows(rig);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d4"}, &report));
    assert_int_equal(report.files, 1);
    rig_check(rig);
    for (unsigned d = 0; d < 4; d++) /* one is gone for good: one more */
        reads_all_without(rig, 1U << d);
    rig_sync(rig);
    for (unsigned d = 0; d < 4; d++)
        reads_all_without(rig, 1U << d);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

static void lie_noticed(bool warning, const char *text, void *arg)
{
    *(unsigned *)arg += warning && strstr(text, "is not what the file held") != NULL;
}

/* A file that moved is read once more to be protected where it is now, and the medium lies about a
 * byte: that is no reason to claim it, for what stands in for it tells what it must be. */
static unsigned lie_about_a_moved_file(unsigned after)
{
    struct rig *rig = rig_create(&(struct rig_spec){.seed = 65});
    for (unsigned d = 0; d < rig->n; d++) {
        char path[32];
        snprintf(path, sizeof path, "f/%u", d);
        rig_put(rig, d, path, 3 * RIG_MIB + 5000);
    }
    rig_protect_all(rig);
    rig_close(rig);
    rig_take_away(rig, 4);
    rig_open(rig);
    no_new_rows(rig);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d4"}, &report));
    assert_int_equal(report.files, 1);
    rig_clear_faults(rig);
    rig_promise(rig);
    struct drv_fault_rule lie = {.ops = DRV_FAULT_FILE_READ,
        .prefix = "f/4",
        .action = DRV_FAULT_FLIP,
        .bytes = 77,
        .after = after,
        .times = 1};
    for (unsigned d = 0; d < 4; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &lie, NULL));
    unsigned refused = 0;
    job = (struct pool_job){.notice = lie_noticed, .arg = &refused};
    rig_ok(pool_sync(rig->pool, &job, NULL, &rig->report));
    rig_clear_faults(rig);
    rig_check(rig);
    assert_true(rig_promise_check(rig, 0) > 0);
    for (unsigned d = 0; d < 4; d++)
        reads_all_without(rig, 1U << d);
    rig_protect_all(rig); /* the truth this time */
    rig_check(rig);
    assert_true(rig_verify(rig, true) > 0);
    rig_destroy(rig);
    return refused;
}

static void test_a_lie_about_what_is_stood_in_for_is_not_believed(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (unsigned after = 0; after < 4; after++)
        refused += lie_about_a_moved_file(after);
    assert_true(refused > 0);
}

/* The old short leaf of a file that grew stays in its stripe while the longer one cannot be
 * protected. */
static void test_appended_file_keeps_its_prefix(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.seed = 63});
    for (unsigned d = 0; d < 3; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, RIG_MIB / 2);
    }
    rig_protect_all(rig);
    rig_append(rig, "f0", 1000);
    no_new_rows(rig);
    rig_sync(rig);
    rig_sync(rig);
    assert_string_equal(rig_states(rig, "f0"), "T");
    assert_true(rig->report.exposed_bytes > 0);
    rig_check(rig);
    for (unsigned d = 1; d < 3; d++)
        assert_int_equal(rig_verify_without(rig, 1U << d | 1U << 3, false), RIG_MIB / 2);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

static uint64_t generation_of(struct rig *rig, int *ret_margin)
{
    int64_t id;
    size_t n;
    struct meta_stripe image = {0};
    rig_ok(meta_stripes_to_scrub(rig->pool->meta, -1, 0, INT64_MAX, &id, 1, &n));
    assert_int_equal(n, 1);
    rig_ok(meta_stripe_load(rig->pool->meta, id, &image));
    uint64_t generation = image.generation;
    *ret_margin = pool_image_margin(rig->pool, &image);
    meta_stripe_free(&image);
    return generation;
}

/* Two of three rows lie where nothing can be written now: a generation without them would be safe
 * against fewer losses than the old one is, even with the hole that a deleted file left. */
static void test_a_change_that_lowers_the_margin_waits(void **state)
{
    (void)state;
    struct rig *rig =
        rig_create(&(struct rig_spec){.drives = 5, .redundancy = 3, .seed = 64, .block = RIG_MIB});
    int margin;
    rig_put(rig, 0, "f0", RIG_MIB / 2);
    rig_put(rig, 0, "g0", RIG_MIB / 4);
    rig_put(rig, 1, "f1", RIG_MIB - 100);
    rig_protect_all(rig);
    uint64_t generation = generation_of(rig, &margin);
    assert_int_equal(margin, 3);
    rig_unlink(rig, "g0");
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    for (unsigned d = 2; d < 4; d++)
        rig_pool_drive(rig, d)->info.caps &= ~(unsigned)DRV_CAP_WRITABLE;
    pool_views_forget(rig->pool, 0);
    rig_ok(pool_mend_and_protect(rig->pool, &job, NULL, &rig->report));
    assert_int_equal(generation_of(rig, &margin), generation);
    assert_int_equal(margin, 2);
    for (unsigned d = 2; d < 4; d++)
        rig_pool_drive(rig, d)->info.caps |= DRV_CAP_WRITABLE;
    rig_protect_all(rig);
    assert_true(generation_of(rig, &margin) > generation);
    assert_int_equal(margin, 3);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evicted_blocks_are_stood_in_for),
        cmocka_unit_test(test_moved_files_are_stood_in_for),
        cmocka_unit_test(test_a_lie_about_what_is_stood_in_for_is_not_believed),
        cmocka_unit_test(test_appended_file_keeps_its_prefix),
        cmocka_unit_test(test_a_change_that_lowers_the_margin_waits),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
