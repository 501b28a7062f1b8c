/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The red team's list: drives that come back, drives that are full, and readers of what is dropped.
 */
#include "pool_engine_red_team.h"

#include <inttypes.h>
#include <stdio.h>

/* --- Drives that come back --- */

struct listing {
    struct mrmr_bytes text;
};

static mrmr_err listing_add(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct listing *listing = arg;
    (void)err;
    return mrmr_bytes_fmt(&listing->text, "%s %d %" PRIu64 " %" PRId64 "\n", name, (int)stat->type,
        stat->type == DRV_DIR ? 0 : stat->size, stat->mtime);
}

/* What lies in a few folders of a drive. */
static struct mrmr_bytes listing_of(struct rig *rig, unsigned drive)
{
    struct listing listing = {0};
    char folder[32] = "";
    rig_ok(drv_list(rig->drive[drive].raw, "", listing_add, &listing));
    for (unsigned i = 0; i < 256; i++) {
        snprintf(folder, sizeof folder, ".mrmr/parity/%02x", i);
        mrmr_err err = drv_list(rig->drive[drive].raw, folder, listing_add, &listing);
        assert_true(!err || err == MRMR_ABSENT);
    }
    return listing.text;
}

static void test_red_team_drive_returns_after_its_slot_was_passed_on(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 4, 2 * RIG_MIB);
    char uri[1100];
    snprintf(uri, sizeof uri, "%s", rig_pool_drive(rig, 1)->meta.uri);
    rig_add_drive(rig);
    rig_sync(rig);
    rig_close(rig);
    rig_take_away(rig, 1);
    rig_open(rig);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(
        rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1", .onto = "d5"}, &report));
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].drive == 1)
            rig->file[i].drive = 5;
    rig_close(rig);
    rig_bring_back(rig, 1);
    struct mrmr_bytes before = listing_of(rig, 1);
    rig_open(rig);
    struct pool_drive_spec spec = {.uri = uri, .name = "old"};
    mrmr_err err = pool_drive_add(rig->pool, &spec);
    assert_int_equal(mrmr_class_of(err), MRMR_CLASS_CONFLICT);
    rig_protect_all(rig);
    struct mrmr_bytes after = listing_of(rig, 1);
    assert_string_equal(before.data, after.data);
    mrmr_bytes_free(&before);
    mrmr_bytes_free(&after);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

/* An old catalog meets drives that have gone on: it must not take their rows for superseded or
 * unknown ones. */
static void test_red_team_old_catalog_meets_newer_drives(void **state)
{
    struct rig *rig = *state;
    char command[700];
    rig_put(rig, 3, "g3", 1000); /* so that the drive is not empty later, which would be held */
    rig_one_each(rig, 4, 2 * RIG_MIB);
    rig_close(rig);
    snprintf(command, sizeof command, "cp -a '%s/pool' '%s/old'", rig->dir, rig->dir);
    assert_int_equal(system(command), 0);
    rig_open(rig);
    rig_edit(rig, "f0", 0, 10);
    rig_put(rig, 4, "f4", RIG_MIB);
    rig_unlink(rig, "f3");
    rig_protect_all(rig);
    for (unsigned d = 0; d < 5; d++) /* every drive has seen the newer catalog */
        rig_ok(pool_drive_attach(rig->pool, rig_pool_drive(rig, d)));
    rig_close(rig);
    struct mrmr_bytes before[5], after[5];
    for (unsigned d = 0; d < 5; d++)
        before[d] = listing_of(rig, d);
    snprintf(command, sizeof command, "cd '%s' && mv pool new && mv old pool", rig->dir);
    assert_int_equal(system(command), 0);
    rig_open(rig);
    for (unsigned d = 0; d < 5; d++)
        assert_int_equal(rig_pool_drive(rig, d)->presence, POOL_DIVERGED);
    struct pool_job job = rig_job(rig);
    (void)!pool_sync(
        rig->pool, &job, &(struct pool_sync_options){.accept_changes = true}, &rig->report);
    struct pool_scrub_report scrubbed;
    (void)!pool_scrub(rig->pool, &job, &(struct pool_scrub_options){.repair = true}, &scrubbed);
    rig_close(rig);
    for (unsigned d = 0; d < 5; d++) {
        after[d] = listing_of(rig, d);
        assert_string_equal(before[d].data, after[d].data);
        mrmr_bytes_free(&before[d]);
        mrmr_bytes_free(&after[d]);
    }
    snprintf(command, sizeof command, "cd '%s' && rm -rf pool && mv new pool", rig->dir);
    assert_int_equal(system(command), 0);
    rig_open(rig);
    rig_sync(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* --- Space, readers --- */

/* No drive has a byte free, and a file goes: its stripe is encoded anew all the same, in the slack.
 */
static void test_red_team_every_drive_full_and_a_file_is_deleted(void **state)
{
    (void)state;
    struct rig *rig = rig_create(
        &(struct rig_spec){.drives = 4, .size = 48 * RIG_MIB, .block = RIG_MIB, .seed = 43});
    rig_ok(pool_set(rig->pool, "exclude", "ballast"));
    for (unsigned d = 0; d < 4; d++)
        for (unsigned i = 0; i < 8; i++) {
            char path[32];
            snprintf(path, sizeof path, "d%u/%u", d, i);
            rig_put(rig, d, path, RIG_MIB);
        }
    rig_protect_all(rig);
    for (unsigned d = 0; d < 4; d++) {
        struct drv_file *file = NULL;
        struct drv_space space;
        static uint8_t buf[4096];
        rig_ok(drv_file_open(
            rig->drive[d].raw, "ballast", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
        for (uint64_t at = 0; !drv_file_write(file, at, buf, sizeof buf); at += sizeof buf) {
        }
        drv_file_close(file);
        rig_ok(drv_space(rig->drive[d].raw, &space));
        assert_true(space.avail < sizeof buf);
    }
    rig_unlink(rig, "d0/3");
    rig_sync(rig);
    assert_int_equal(rig_totals(rig).unwanted_bytes, 0);
    assert_int_equal(rig->report.exposed_bytes, 0);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* A reader holds a generation while it is superseded: its rows stay until the reader is through. */
static void test_red_team_reader_in_the_middle_when_its_generation_is_dropped(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 2 * RIG_MIB);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    struct pool_view *view = NULL;
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    char old[META_ROWS_MAX][POOL_ROW_PATH];
    rig_ok(pool_view_get(rig->pool, image.id, &view));
    for (unsigned i = 0; i < image.rows; i++)
        row_path(&image, i, old[i]);
    /* Another file of the stripe is edited, where the stripe has it. */
    uint64_t leaf = 0;
    struct meta_node mine = rig_node(rig, "f0");
    const struct meta_extent *extent = NULL;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    for (size_t i = 0; i < image.extents; i++)
        if (pool_view_image(view)->extent[i].node == mine.id && !extent)
            extent = &pool_view_image(view)->extent[i];
        else if (pool_view_image(view)->extent[i].node != mine.id && !path.size) {
            rig_ok(meta_path(rig->pool->meta, pool_view_image(view)->extent[i].node, &path));
            leaf = pool_view_image(view)->extent[i].first;
        }
    assert_non_null(extent);
    rig_edit(rig, path.data, leaf * RIG_LEAF + 7, 5);
    rig_sync(rig);
    struct meta_stripe next = rig_stripe_of(rig, "f0", 0);
    assert_true(next.generation > image.generation);
    for (unsigned i = 0; i < image.rows; i++)
        assert_true(rig_holds(rig, rig_row_drive(&image, i), old[i]));
    rig_ok(pool_leaf_read(rig->pool, view, extent, 0, POOL_LEAF_DIRECT, got, NULL));
    rig_expected(rig_find(rig, "f0"), extent->first * RIG_LEAF, wanted, pool_leaf_size(extent, 0));
    assert_memory_equal(got, wanted, pool_leaf_size(extent, 0));
    pool_view_put(rig->pool, view);
    rig_sync(rig);
    for (unsigned i = 0; i < image.rows; i++)
        assert_false(rig_holds(rig, rig_row_drive(&image, i), old[i]));
    meta_stripe_free(&image);
    meta_stripe_free(&next);
    rig_check(rig);
    rig_verify(rig, true);
}

/* The same through the public door: a file is open and half read when its stripe is encoded anew.
 */
static void test_red_team_open_file_outlives_its_generation(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 3 * RIG_MIB);
    struct pool_file *file = NULL;
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    size_t n;
    rig_ok(pool_file_open(rig->pool, "f0", POOL_READ_DECODE, &file));
    for (unsigned leaf = 0; leaf < 3; leaf++) {
        rig_ok(pool_file_read(file, leaf * RIG_LEAF, got, RIG_LEAF, &n));
        rig_expected(rig_find(rig, "f0"), leaf * RIG_LEAF, wanted, RIG_LEAF);
        assert_memory_equal(got, wanted, RIG_LEAF);
        rig_edit(rig, leaf ? "f2" : "f1", 10, 10);
        rig_protect_all(rig);
    }
    pool_file_close(file);
    rig_check(rig);
    rig_verify(rig, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(test_red_team_drive_returns_after_its_slot_was_passed_on),
        rig_test(test_red_team_old_catalog_meets_newer_drives),
        cmocka_unit_test(test_red_team_every_drive_full_and_a_file_is_deleted),
        rig_test(test_red_team_reader_in_the_middle_when_its_generation_is_dropped),
        rig_test(test_red_team_open_file_outlives_its_generation),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
