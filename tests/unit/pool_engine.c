/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The engine from outside: files come, change and go, drives go, redundancy changes; and whatever
 * was said to be protected is read back.
 */
#include "tests/support/scenario.h"

#include <stdio.h>
#include <string.h>

static int rig_setup(void **state)
{
    *state = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 11});
    return 0;
}

static int rig_setup_local(void **state)
{
    *state = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .seed = 12});
    return 0;
}

static int rig_teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}

/* Everything there is survives any two drives, and nothing on the drives was touched. */
static void all_is_well(struct rig *rig)
{
    rig_check(rig);
    rig_check_originals(rig);
    assert_true(rig_verify(rig, true) > 0);
}

static void test_first_sync_protects_everything(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 12, 3 * RIG_MIB);
    rig_put(rig, 1, "big/one", 9 * RIG_MIB + 12345);
    rig_sync(rig);
    assert_int_equal(rig->report.exposed_bytes, 0);
    assert_int_equal(rig->report.files, 61);
    assert_true(rig->report.stripes_made > 0);
    all_is_well(rig);
    assert_true(rig_verify_decoded(rig) > 20 * RIG_MIB);
}

static void test_nothing_changed_does_nothing(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 6, RIG_MIB);
    rig_protect_all(rig);
    struct meta_totals before = rig_totals(rig);
    rig_close(rig);
    rig_open(rig);
    rig_sync(rig);
    struct meta_totals after = rig_totals(rig);
    assert_int_equal(rig->report.changed, 0);
    assert_int_equal(rig->report.stripes_made + rig->report.stripes_changed, 0);
    assert_int_equal(rig->report.rows_made + rig->report.rows_dropped, 0);
    assert_memory_equal(&before, &after, sizeof before);
    all_is_well(rig);
}

static void test_changes_of_every_kind(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "a/appended", RIG_MIB + 500);
    rig_put(rig, 1, "a/edited", 4 * RIG_MIB);
    rig_put(rig, 2, "a/deleted", 2 * RIG_MIB + 7);
    rig_put(rig, 3, "a/renamed", RIG_MIB);
    rig_put(rig, 4, "a/replaced", 3 * RIG_MIB);
    rig_put(rig, 0, "a/truncated", 3 * RIG_MIB + 3);
    rig_fill(rig, 0, rig->n, 4, RIG_MIB);
    rig_protect_all(rig);
    rig_append(rig, "a/appended", 2 * RIG_MIB);
    rig_edit(rig, "a/edited", RIG_MIB + 17, 100);
    rig_unlink(rig, "a/deleted");
    rig_rename(rig, "a/renamed", "b-renamed");
    rig_put(rig, 4, "a/replaced", 2 * RIG_MIB);
    rig_truncate(rig, "a/truncated", RIG_MIB + 3);
    rig_sync(rig);
    assert_int_equal(rig->report.moved, 1);
    assert_int_equal(rig->report.vanished, 1);
    assert_int_equal(rig->report.exposed_bytes, 0);
    all_is_well(rig);
    assert_true(rig_verify_decoded(rig) > 0);
}

/* Changes in any order, synced now and then. */
static void test_random_changes(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 5, RIG_MIB);
    for (unsigned round = 0; round < 12; round++) {
        rig_protect_all(rig);
        rig_check(rig);
        rig_verify_without(rig, 3U << round % (rig->n - 1), true);
        for (unsigned i = 0; i < 6; i++)
            rig_stir(rig);
        if (round % 3 == 2) {
            rig_close(rig);
            rig_open(rig);
        }
    }
    rig_protect_all(rig);
    all_is_well(rig);
}

static void test_redundancy_up_and_down(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 6, 2 * RIG_MIB);
    static const unsigned way[] = {1, 3, 2, 1, 2};
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        rig_ok(pool_set_redundancy(rig->pool, way[i]));
        rig_protect_all(rig);
        struct meta_totals totals = rig_totals(rig);
        rig_check(rig);
        assert_true(rig_verify(rig, true) > 0);
        assert_true(totals.row_bytes > 0);
    }
}

/* The file of one row of a stripe. */
static struct drv_stat row_stat(
    struct rig *rig, const struct meta_stripe *image, const struct meta_row *row)
{
    struct drv_stat stat;
    char path[POOL_ROW_PATH];
    pool_row_path(&image->uuid, image->generation, row->index, path);
    rig_ok(drv_stat(rig->drive[row->drive - 1].raw, path, &stat));
    return stat;
}

static struct meta_stripe only_stripe(struct rig *rig)
{
    struct meta_stripe image = {0};
    int64_t id;
    size_t n;
    rig_ok(meta_stripes_to_scrub(rig->pool->meta, -1, 0, INT64_MAX, &id, 1, &n));
    assert_int_equal(n, 1);
    rig_ok(meta_stripe_load(rig->pool->meta, id, &image));
    return image;
}

/* A row is added or dropped; the others are the very files that they were, and to drop one nothing
 * is read. */
static void test_redundancy_changes_by_rows_alone(void **state)
{
    struct rig *rig = *state;
    rig_ok(pool_set_redundancy(rig->pool, 1));
    rig_put(rig, 0, "f0", 2 * RIG_MIB);
    rig_put(rig, 1, "f1", 2 * RIG_MIB - 7);
    rig_protect_all(rig);
    static const unsigned way[] = {2, 3, 1, 3, 2};
    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        struct meta_stripe was = only_stripe(rig);
        struct drv_stat file[META_ROWS_MAX];
        for (size_t j = 0; j < was.rows; j++)
            file[j] = row_stat(rig, &was, &was.row[j]);
        unsigned reads[3] = {rig_count_reads(rig, 0, "f0"), rig_count_reads(rig, 1, "f1"),
            rig_count_reads(rig, (unsigned)was.row[0].drive - 1, ".mrmr/parity")};
        rig_ok(pool_set_redundancy(rig->pool, way[i]));
        rig_sync(rig);
        struct meta_stripe now = only_stripe(rig);
        assert_true(mrmr_uuid_equal(&now.uuid, &was.uuid));
        assert_int_equal(now.generation, was.generation);
        assert_int_equal(now.rows, way[i]);
        for (size_t j = 0; j < was.rows && j < now.rows; j++) {
            struct drv_stat stat = row_stat(rig, &now, &now.row[j]);
            assert_int_equal(now.row[j].index, j);
            assert_int_equal(now.row[j].drive, was.row[j].drive);
            assert_int_equal(stat.ino, file[j].ino);
            assert_int_equal(stat.mtime, file[j].mtime);
        }
        bool fewer = now.rows < was.rows;
        assert_int_equal(rig_reads(rig, 0, reads[0]) == 0, fewer);
        assert_int_equal(rig_reads(rig, 1, reads[1]) == 0, fewer);
        assert_int_equal(rig_reads(rig, (unsigned)was.row[0].drive - 1, reads[2]), 0);
        rig_clear_faults(rig);
        all_is_well(rig);
        meta_stripe_free(&was);
        meta_stripe_free(&now);
    }
}

/* A stripe that already has a member on every drive has no drive for one more row. */
static void test_redundancy_up_where_every_drive_is_a_member(void **state)
{
    struct rig *rig = *state;
    rig_ok(pool_set_redundancy(rig->pool, 1));
    for (unsigned d = 0; d < rig->n; d++) {
        char path[32];
        snprintf(path, sizeof path, "even/%u", d);
        rig_put(rig, d, path, 8 * RIG_MIB);
    }
    rig_protect_all(rig);
    rig_ok(pool_set_redundancy(rig->pool, 2));
    rig_protect_all(rig);
    all_is_well(rig);
}

struct shape {
    uint64_t stripes, blocks, longest;
};

static mrmr_err shape_add(const struct meta_stripe_brief *brief, void *arg)
{
    struct shape *shape = arg;
    shape->stripes++;
    shape->blocks += brief->blocks;
    if (brief->blocks > shape->longest)
        shape->longest = brief->blocks;
    return MRMR_OK;
}

static struct shape shape_of(struct rig *rig)
{
    struct shape shape = {0};
    rig_ok(meta_stripes(rig->pool->meta, shape_add, &shape));
    return shape;
}

/* A drive that no stripe has a block or row on. */
static unsigned drive_without_part(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++) {
        int64_t id;
        size_t n;
        rig_ok(
            meta_stripes_of_drive(rig->pool->meta, rig_pool_drive(rig, i)->meta.id, 0, &id, 1, &n));
        if (!n)
            return i;
    }
    fail_msg("every drive has a part");
    return 0;
}

/* New data of other drives joins the stripes there are. */
static void test_stripes_are_widened_and_filled(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "first", 2 * RIG_MIB);
    rig_put(rig, 1, "second", 512 * 1024);
    rig_protect_all(rig);
    struct shape before = shape_of(rig);
    struct meta_totals rows = rig_totals(rig);
    rig_put(rig, 1, "third", 512 * 1024);                               /* fills */
    rig_put(rig, drive_without_part(rig), "fourth", 2 * RIG_MIB - 100); /* widens */
    unsigned first = rig_count_reads(rig, 0, "first"), second = rig_count_reads(rig, 1, "second");
    rig_protect_all(rig);
    assert_int_equal(rig_reads(rig, 0, first), 0); /* nobody else's data is read */
    assert_int_equal(rig_reads(rig, 1, second), 0);
    rig_clear_faults(rig);
    struct shape after = shape_of(rig);
    assert_int_equal(after.stripes, before.stripes);
    assert_true(after.blocks > before.blocks);
    assert_true(rig_totals(rig).row_bytes < rows.row_bytes + 64 * 1024);
    all_is_well(rig);
}

/* Stripes of which most was deleted become one, and no data is read for it. */
static void test_stripes_are_merged(void **state)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 6, .redundancy = 1, .seed = 13});
    (void)state;
    scenario_two_stripes(rig);
    assert_int_equal(shape_of(rig).blocks, 2);
    unsigned counter[RIG_DRIVES_MAX];
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].there)
            counter[i] = rig_count_reads(rig, rig->file[i].drive, rig->file[i].path);
    struct pool_job job = rig_job(rig);
    rig->report = (struct pool_sync_report){.stripes_changed = 1}; /* others may merge now */
    rig_ok(pool_protect(rig->pool, &job, NULL, &rig->report));
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].there)
            assert_int_equal(rig_reads(rig, rig->file[i].drive, counter[i]), 0);
    rig_clear_faults(rig);
    assert_int_equal(shape_of(rig).stripes, 1);
    assert_int_equal(shape_of(rig).blocks, 2);
    all_is_well(rig);
    rig_destroy(rig);
}

/* The whole way, in one sync. */
static void test_deleting_most_makes_one_stripe_of_two(void **state)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 6, .redundancy = 1, .seed = 14});
    (void)state;
    scenario_two_stripes_with_more(rig);
    assert_true(shape_of(rig).stripes >= 2);
    struct pool_job job = rig_job(rig); /* drives that are empty now are the user's word here */
    rig_ok(pool_sync(
        rig->pool, &job, &(struct pool_sync_options){.accept_changes = true}, &rig->report));
    assert_int_equal(shape_of(rig).stripes, 1);
    assert_int_equal(shape_of(rig).blocks, 2);
    all_is_well(rig);
    rig_destroy(rig);
}

static void test_thousands_of_small_files(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 400, 24 * 1024);
    rig_sync(rig);
    assert_int_equal(rig->report.exposed_bytes, 0);
    struct meta_totals totals = rig_totals(rig);
    assert_int_equal(totals.files, 2000);
    rig_check(rig);
    assert_true(rig_verify_without(rig, 0x5, true) > 0);
    /* Packed tightly: two rows over three blocks of data. */
    assert_true(totals.row_bytes < totals.file_bytes);
}

static void test_sparse_files(void **state)
{
    struct rig *rig = *state;
    rig_put_sparse(rig, 0, "sparse", 400 * RIG_MIB, RIG_MIB + 5, 399 * RIG_MIB + 11);
    rig_put_sparse(rig, 1, "only-hole", 50 * RIG_MIB, 0, 50 * RIG_MIB);
    rig_put(rig, 2, "empty", 0);
    rig_put(rig, 3, "other", RIG_MIB);
    rig_sync(rig);
    assert_int_equal(rig->report.exposed_bytes, 0);
    assert_true(rig_totals(rig).extent_bytes <= 5 * RIG_MIB);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify_without(rig, 0x3, true);
    rig_verify_without(rig, 0x9, true);
}

static void test_hard_links_are_one_file(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 0, "one", 2 * RIG_MIB);
    rig_put(rig, 1, "x", RIG_MIB);
    rig_put(rig, 2, "y", RIG_MIB);
    rig_ok(drv_link(rig->drive[0].raw, "one", "two"));
    rig_protect_all(rig);
    assert_int_equal(rig_totals(rig).extent_bytes, 4 * RIG_MIB);
    rig_unlink(rig, "one"); /* the other name keeps it */
    rig_sync(rig);
    assert_int_equal(rig_totals(rig).extent_bytes, 4 * RIG_MIB);
    rig_check(rig);
}

/* Where there is no room for all rows, what can be protected is, and the rest is shown. */
static void test_drives_that_fill_up(void **state)
{
    (void)state;
    struct rig *rig = rig_create(
        &(struct rig_spec){.drives = 4, .size = 32 * RIG_MIB, .block = RIG_MIB, .seed = 5});
    for (unsigned d = 0; d < 4; d++)
        for (unsigned i = 0; i < 18; i++) {
            char path[32];
            snprintf(path, sizeof path, "d%u/%u", d, i);
            rig_put(rig, d, path, RIG_MIB + 100 * i);
        }
    rig_sync(rig);
    assert_true(rig->report.protected_bytes > 0);
    assert_true(rig->report.exposed_bytes > 0);
    rig_check(rig);
    rig_check_originals(rig);
    assert_true(rig_verify(rig, false) > 0);
    for (unsigned d = 0; d < 4; d++)
        for (unsigned i = 0; i < 12; i++) {
            char path[32];
            snprintf(path, sizeof path, "d%u/%u", d, i);
            rig_unlink(rig, path);
        }
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* Away for real: the pool is opened without it, its files change meanwhile, and it comes back. */
static void test_a_drive_is_away_and_comes_back(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 6, 2 * RIG_MIB);
    rig_protect_all(rig);
    rig_close(rig);
    rig_take_away(rig, 2);
    rig_open(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.drives_away, 1);
    rig_verify_without(rig, 1U << 2, true);
    rig_put(rig, 0, "meanwhile", 2 * RIG_MIB);
    rig_sync(rig);
    rig_close(rig);
    rig_bring_back(rig, 2);
    rig_open(rig);
    rig_protect_all(rig);
    all_is_well(rig);
}

static void test_local_folders(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig, 0, rig->n, 8, 2 * RIG_MIB);
    rig_put_sparse(rig, 0, "sparse", 40 * RIG_MIB, RIG_MIB, 39 * RIG_MIB);
    rig_protect_all(rig);
    all_is_well(rig);
    for (unsigned i = 0; i < 12; i++)
        rig_stir(rig);
    rig_close(rig);
    rig_open(rig);
    rig_protect_all(rig);
    all_is_well(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_first_sync_protects_everything, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_nothing_changed_does_nothing, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_changes_of_every_kind, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_random_changes, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_redundancy_up_and_down, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(
            test_redundancy_changes_by_rows_alone, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(
            test_redundancy_up_where_every_drive_is_a_member, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(
            test_stripes_are_widened_and_filled, rig_setup, rig_teardown),
        cmocka_unit_test(test_stripes_are_merged),
        cmocka_unit_test(test_deleting_most_makes_one_stripe_of_two),
        cmocka_unit_test_setup_teardown(test_thousands_of_small_files, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_sparse_files, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_hard_links_are_one_file, rig_setup, rig_teardown),
        cmocka_unit_test(test_drives_that_fill_up),
        cmocka_unit_test_setup_teardown(
            test_a_drive_is_away_and_comes_back, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_local_folders, rig_setup_local, rig_teardown),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
