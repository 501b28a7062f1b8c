/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The red team's list: orders of events made to lose something, of rows of parity.
 */
#include "pool_engine_red_team.h"

#include <stdio.h>

/* The path of the first file of a stripe. */
static void first_path(struct rig *rig, const struct meta_stripe *image, char path[64])
{
    mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
    rig_ok(meta_path(rig->pool->meta, image->extent[0].node, &name));
    snprintf(path, 64, "%s", name.data);
}

/* Blocks and intact rows lie on distinct drives, of which none is away. */
static void lies_apart(struct rig *rig, const struct meta_stripe *image, unsigned rows)
{
    unsigned seen = 0, ok = 0;
    for (size_t i = 0; i < image->blocks + image->rows; i++) {
        bool is_row = i >= image->blocks;
        const struct meta_row *row = is_row ? &image->row[i - image->blocks] : NULL;
        unsigned drive = (unsigned)(is_row ? row->drive : image->block[i].drive) - 1;
        if (is_row && row->state != META_ROW_OK)
            continue;
        assert_true(rig_present(rig, drive));
        assert_false(seen >> drive & 1);
        seen |= 1U << drive;
        ok += is_row;
    }
    assert_int_equal(ok, rows);
}

/* The stripe changes while a row's drive is away: the row is made anew elsewhere, and the old one
 * is nothing when its drive returns. */
static void row_drive_away(struct rig *rig, unsigned blocks_then)
{
    char old_row[POOL_ROW_PATH], path[64];
    rig_one_each(rig, 3, 2 * RIG_MIB);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    unsigned away = rig_row_drive(&image, 1);
    uint64_t generation = image.generation;
    int64_t id = image.id;
    row_path(&image, 1, old_row);
    first_path(rig, &image, path); /* of that very stripe, and not on the drive that goes */
    meta_stripe_free(&image);
    rig_close(rig);
    rig_take_away(rig, away);
    rig_open(rig);
    rig_ok(meta_stripe_load(rig->pool->meta, id, &image));
    assert_int_equal(pool_image_margin(rig->pool, &image), 1);
    meta_stripe_free(&image);
    rig_promise(rig);
    rig_edit(rig, path, 5, 10);
    rig_sync(rig);
    rig_check(rig);
    assert_true(rig_promise_check(rig, 0) > 0);
    rig_ok(meta_stripe_load(rig->pool->meta, id, &image));
    assert_true(image.generation > generation);
    assert_int_equal(image.blocks, blocks_then);
    assert_int_equal(pool_image_margin(rig->pool, &image), 2);
    lies_apart(rig, &image, 2);
    uint64_t bytes = 0;
    for (unsigned d = 0; d < rig->n; d++) /* two more may go, now */
        for (unsigned e = 0; e < d; e++)
            if (d != away && e != away)
                bytes += rig_verify_without(rig, 1U << d | 1U << e | 1U << away, true);
    assert_true(bytes >= 6 * RIG_MIB);
    meta_stripe_free(&image);
    rig_close(rig);
    rig_bring_back(rig, away);
    assert_true(rig_holds(rig, away, old_row));
    rig_open(rig);
    rig_protect_all(rig);
    assert_false(rig_holds(rig, away, old_row));
    rig_check(rig);
    assert_true(rig_verify(rig, true) > 0);
}

static void test_red_team_row_drive_away_when_its_stripe_changes(void **state)
{
    row_drive_away(*state, 2); /* a block has to leave: there are four drives */
}

/* With a sixth drive the row is made anew there. */
static void test_red_team_row_drive_away_and_a_drive_is_free(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 6, .seed = 44});
    row_drive_away(rig, 3);
    rig_destroy(rig);
}

/* A file that nobody looks at takes most of a drive. */
static void make_fuller(struct rig *rig, unsigned drive, uint64_t bytes)
{
    struct drv_file *file = NULL;
    static uint8_t buf[RIG_LEAF];
    rig_ok(drv_file_open(
        rig->drive[drive].raw, "ballast", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    for (uint64_t at = 0; at < bytes; at += sizeof buf)
        rig_ok(drv_file_write(file, at, buf, sizeof buf));
    drv_file_close(file);
}

/* Redundancy is lowered while row 0 cannot be had: it is made again before row 1 goes, and not on
 * row 1's drive, although that is the emptiest: for a moment both are counted on. */
static void row_0_gone_and_redundancy_lowered(bool lost)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 5, .seed = 45});
    char path[POOL_ROW_PATH];
    rig_ok(pool_set(rig->pool, "exclude", "ballast"));
    rig_put(rig, 0, "f0", 2 * RIG_MIB);
    rig_put(rig, 1, "f1", 2 * RIG_MIB - 5);
    rig_protect_all(rig);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    assert_int_equal(image.blocks, 2);
    unsigned first = rig_row_drive(&image, 0), second = rig_row_drive(&image, 1);
    unsigned idle = 2 + 3 + 4 - first - second;
    uint64_t generation = image.generation;
    row_path(&image, 0, path);
    meta_stripe_free(&image);
    make_fuller(rig, idle, 40 * RIG_MIB);
    if (lost) { /* its drive is gone for good, and nothing takes its place yet */
        rig_close(rig);
        rig_take_away(rig, first);
        rig_open(rig);
    } else { /* it has rotted, and its drive cannot be written any more */
        rig_rot(rig, first, path, 100);
        rig_scrub(rig, false);
        rig_pool_drive(rig, first)->info.caps &= ~(unsigned)DRV_CAP_WRITABLE;
        pool_views_forget(rig->pool, 0);
    }
    rig_ok(pool_set_redundancy(rig->pool, 1));
    rig_promise(rig);
    for (unsigned i = 0; i < 2; i++) {
        rig_sync(rig);
        rig_check(rig);
        assert_true(rig_promise_check(rig, 0) > 0);
    }
    image = rig_stripe_of(rig, "f0", 0);
    assert_int_equal(image.generation, generation);
    assert_int_equal(image.rows, 1);
    assert_int_equal(rig_row_drive(&image, 0), idle);
    assert_int_equal(pool_image_margin(rig->pool, &image), 1);
    lies_apart(rig, &image, 1);
    meta_stripe_free(&image);
    assert_int_equal(rig_verify(rig, true), 4 * RIG_MIB - 5);
    rig_destroy(rig);
}

static void test_red_team_row_0_lost_and_redundancy_lowered(void **state)
{
    (void)state;
    row_0_gone_and_redundancy_lowered(true);
}

static void test_red_team_row_0_damaged_and_redundancy_lowered(void **state)
{
    (void)state;
    row_0_gone_and_redundancy_lowered(false);
}

/* Filling a stripe makes its next rows from the old ones: one that has rotted must not go on into
 * the next generation. It is made again, and the new file goes elsewhere meanwhile; the next one
 * comes into this stripe. */
static void test_red_team_old_row_corrupt_when_a_delta_needs_it(void **state)
{
    struct rig *rig = *state;
    char path[POOL_ROW_PATH];
    rig_put(rig, 0, "f0", RIG_MIB);
    rig_put(rig, 1, "f1", RIG_MIB / 2);
    rig_protect_all(rig);
    struct meta_stripe image = rig_stripe_of(rig, "f1", 0), now;
    unsigned drive = rig_row_drive(&image, 0);
    row_path(&image, 0, path);
    rig_rot(rig, drive, path, 1000);
    rig_put(rig, 1, "g1", RIG_MIB / 4);
    rig_promise(rig);
    unsigned of_row = rig_count_reads(rig, drive, path);
    rig_sync(rig);
    assert_true(rig_reads(rig, drive, of_row) > 0); /* it was tried */
    rig_clear_faults(rig);
    assert_true(rig_promise_check(rig, 0) > 0);
    now = rig_stripe_of(rig, "f1", 0);
    assert_true(mrmr_uuid_equal(&now.uuid, &image.uuid));
    assert_int_equal(now.generation, image.generation);
    meta_stripe_free(&now);
    assert_string_equal(rig_states(rig, "g1"), "L");
    assert_int_equal(rig->report.exposed_bytes, 0);
    assert_true(rig_verify(rig, false) > 0);
    assert_int_equal(rig_scrub(rig, false).rows_damaged, 0); /* it was made again at once */
    rig_put(rig, 1, "h1", RIG_MIB / 4 - 10);
    unsigned of_file = rig_count_reads(rig, 0, "f0");
    rig_protect_all(rig);
    assert_int_equal(rig_reads(rig, 0, of_file), 0); /* by a delta */
    rig_clear_faults(rig);
    now = rig_stripe_of(rig, "h1", 0);
    assert_true(mrmr_uuid_equal(&now.uuid, &image.uuid));
    assert_int_equal(now.generation, image.generation + 1);
    meta_stripe_free(&now);
    meta_stripe_free(&image);
    rig_check(rig);
    assert_true(rig_verify(rig, true) > 0);
}

static mrmr_err count_stripe(const struct meta_stripe_brief *brief, void *arg)
{
    (void)brief;
    ++*(unsigned *)arg;
    return MRMR_OK;
}

/* Each has a block away already: as one stripe they would have two, and only one row. */
static void test_red_team_two_stripes_with_one_erasure_each_do_not_merge(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 5, .redundancy = 1, .seed = 42});
    unsigned before = 0, after = 0, other = 1, third = 1;
    rig_put(rig, 0, "a", 2 * RIG_MIB);
    rig_protect_all(rig);
    struct meta_stripe image = rig_stripe_of(rig, "a", 0);
    other += rig_row_drive(&image, 0) == other;
    rig_take_away(rig, 0);
    rig_reopen(rig);
    rig_put(
        rig, other, "b", 2 * RIG_MIB); /* no block can join the frozen one: a stripe of its own */
    rig_sync(rig);
    rig_ok(meta_stripes(rig->pool->meta, count_stripe, &before));
    assert_int_equal(before, 2);
    rig_take_away(rig, other);
    rig_reopen(rig);
    while (third == other || third == rig_row_drive(&image, 0))
        third++;
    rig_put(rig, third, "c", 1000); /* something to do, so that a plan is made */
    rig_sync(rig);
    rig_ok(meta_stripes(rig->pool->meta, count_stripe, &after));
    assert_true(after >= before);
    rig_check(rig);
    assert_int_equal(rig_verify_without(rig, 0, false), 4 * RIG_MIB); /* both are read, degraded */
    rig_bring_back(rig, 0);
    rig_bring_back(rig, other);
    rig_reopen(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    meta_stripe_free(&image);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(test_red_team_row_drive_away_when_its_stripe_changes),
        cmocka_unit_test(test_red_team_row_drive_away_and_a_drive_is_free),
        cmocka_unit_test(test_red_team_row_0_lost_and_redundancy_lowered),
        cmocka_unit_test(test_red_team_row_0_damaged_and_redundancy_lowered),
        rig_test(test_red_team_old_row_corrupt_when_a_delta_needs_it),
        cmocka_unit_test(test_red_team_two_stripes_with_one_erasure_each_do_not_merge),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
