/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A release gives back the room of what was removed or overwritten, lowers nobody's protection, and asks
 * for nobody else's bytes; what it cannot take out waits.
 */
#include "tests/unit/pool_retained_world.h"

#include <stdio.h>
#include <string.h>

static void release(struct rig *rig)
{
    const struct pool_sync_options options = {.release = true};
    struct pool_job job = rig_job(rig);
    rig_ok(pool_sync(rig->pool, &job, &options, &rig->report));
}

static bool is_known(struct rig *rig, const char *path)
{
    struct meta_node node;
    return !meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, 0)->meta.root, path, &node);
}

/* Through MRMR, as the mount does it. */
static void remove_file(struct rig *rig, const char *path)
{
    touch(rig, path);
    rig_ok(delete_file(rig, path));
    rig_find(rig, path)->there = false;
}

/* With what is left on drive 0. */
static struct rig *begin_with_other(enum rig_kind kind, uint64_t seed)
{
    struct rig *rig = begin(kind, seed);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    return rig;
}

static void margins_are(struct rig *rig, int margin)
{
    for (unsigned d = 1; d < rig->n; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        assert_int_equal(margin_of(rig, path), margin);
    }
}

/* Nothing is retained, and all is as protected as before. */
static void all_is_free(struct rig *rig)
{
    assert_int_equal(rig->report.release_waits, 0);
    assert_string_equal(rig->report.release_cause, "");
    assert_int_equal(count_retained(rig, 0), 0);
    margins_are(rig, 2);
    reads_all_but(rig, NULL, 0);
    rig_check(rig);
}

static void end(struct rig *rig)
{
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* Nobody reads the files of others, nor what is left on the drive. */
static void test_removed_by_deltas_alone(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 301);
    unsigned counter[DRIVES];
    remove_file(rig, "f0");
    assert_true(count_retained(rig, 0) > FILE_LEAVES);
    for (unsigned d = 0; d < DRIVES; d++)
        counter[d] = rig_count_reads(rig, d, d ? "f" : "o");
    release(rig);
    for (unsigned d = 0; d < DRIVES; d++)
        assert_int_equal(rig_reads(rig, d, counter[d]), 0);
    assert_true(rig->report.stripes_changed > 0);
    assert_true(rig->report.released_bytes >= (FILE_LEAVES - 1) * RIG_MIB);
    assert_false(is_known(rig, "f0"));
    rig_clear_faults(rig);
    all_is_free(rig);
    release(rig); /* there is nothing more to do */
    assert_int_equal(rig->report.stripes_changed, 0);
    end(rig);
}

/* What was overwritten is exposed as it is now, and the rest of the file is as protected as it was. */
static void test_overwritten(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 302);
    touch(rig, "f0");
    rig_ok(save(rig, "f0", 1, 2));
    rig_edit(rig, "f0", RIG_MIB + 10, 100);
    release(rig);
    assert_string_equal(rig_states(rig, "f0"), "LL"); /* and one exposed */
    assert_int_equal(rig->report.exposed_bytes, RIG_MIB);
    assert_int_equal(rig->report.release_waits, 0);
    assert_int_equal(count_retained(rig, 0), 0);
    margins_are(rig, 2);
    reads_all_but(rig, "f0", 0);
    rig_check(rig);
    end(rig);
}

/* Saved, and not written to after all: nothing is taken out. */
static void test_not_overwritten(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 303);
    touch(rig, "f0");
    rig_ok(save(rig, "f0", 0, 2));
    release(rig);
    assert_int_equal(rig->report.stripes_changed, 0);
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    all_is_free(rig);
    end(rig);
}

/* Removed past MRMR, or not recorded: a scan's to judge. Its bytes count until then. */
static void test_not_through_mrmr(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 304);
    rig_ok(delete_file(rig, "f0"));
    rig_find(rig, "f0")->there = false;
    unsigned n = count_retained(rig, 0);
    release(rig);
    assert_int_equal(rig->report.stripes_changed, 0);
    assert_int_equal(count_retained(rig, 0), n);
    assert_true(is_known(rig, "f0"));
    reads_all_but(rig, NULL, 0);
    end(rig);
}

/* Another name of it is left: it is not removed. */
static void test_other_name(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 305);
    rig_ok(drv_link(rig->drive[0].raw, "f0", "again"));
    remove_file(rig, "f0");
    release(rig);
    assert_int_equal(rig->report.stripes_changed, 0);
    assert_true(is_known(rig, "f0"));
    reads_all_but(rig, NULL, 0);
    end(rig);
}

/* A leaf of it is not kept: its loss is not the user's word. */
static void test_not_all_is_kept(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 306);
    struct mrmr_bytes names = MRMR_BYTES_INIT, leaves = MRMR_BYTES_INIT;
    char path[POOL_RETAINED_PATH];
    remove_file(rig, "f0");
    rig_ok(drv_list(rig->drive[0].raw, POOL_RETAINED, list_name, &names));
    const char *folder = names.data;
    while (strcmp(folder, "files") == 0)
        folder += strlen(folder) + 1;
    snprintf(path, sizeof path, POOL_RETAINED "/%.20s", folder);
    rig_ok(drv_list(rig->drive[0].raw, path, list_name, &leaves));
    snprintf(path, sizeof path, POOL_RETAINED "/%.20s/%.70s", folder, leaves.data);
    rig_ok(drv_unlink(rig->drive[0].raw, path));
    mrmr_bytes_free(&names);
    mrmr_bytes_free(&leaves);
    release(rig);
    assert_true(is_known(rig, "f0"));
    assert_int_equal(rig->report.stripes_changed, 0);
    reads_but(rig, NULL);
    end(rig);
}

/* What was kept of it is not what was coded, since it had been edited directly: a scan's to judge, as it is. */
static void test_what_is_kept_is_not_right(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 314);
    rig_edit(rig, "f0", 10, 10);
    remove_file(rig, "f0");
    release(rig);
    assert_true(is_known(rig, "f0"));
    assert_int_equal(rig->report.retained_leaves, 0);
    assert_int_equal(rig->report.stripes_changed, 0);
    reads_but(rig, NULL);
    end(rig);
}

/* Much vanished from the drive, and is held: what was removed through MRMR goes all the same, and what
 * is held can still be brought back. */
static void test_under_a_hold(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 307);
    for (unsigned i = 0; i < 12; i++) {
        char path[32];
        snprintf(path, sizeof path, "small%u", i);
        rig_put(rig, 0, path, 5000 + i);
    }
    rig_protect_all(rig);
    rig_ok(pool_set(rig->pool, "hold-percent", "30"));
    for (unsigned i = 0; i < 8; i++) {
        char path[32];
        snprintf(path, sizeof path, "small%u", i);
        rig_unlink(rig, path);
    }
    rig_sync(rig);
    assert_int_equal(rig->report.drives_held, 1);
    remove_file(rig, "f0");
    unsigned before = count_retained(rig, 0);
    release(rig);
    assert_true(count_retained(rig, 0) < before);
    assert_int_equal(count_retained(rig, 0), 0);
    assert_false(is_known(rig, "f0"));
    assert_true(is_known(rig, "small0"));
    assert_true(rig_pool_drive(rig, 0)->meta.hold[0] != '\0');
    rig_sync(rig);
    assert_int_equal(rig->report.drives_held, 1);
    rig_destroy(rig);
}

/* The same when a scan has found the removal under the hold: it is held with the rest, and goes. */
static void test_under_a_hold_that_saw_it(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 308);
    for (unsigned i = 0; i < 12; i++) {
        char path[32];
        snprintf(path, sizeof path, "small%u", i);
        rig_put(rig, 0, path, 5000 + i);
    }
    rig_protect_all(rig);
    rig_ok(pool_set(rig->pool, "hold-percent", "30"));
    remove_file(rig, "f0");
    for (unsigned i = 0; i < 8; i++) {
        char path[32];
        snprintf(path, sizeof path, "small%u", i);
        rig_unlink(rig, path);
    }
    rig_sync(rig);
    assert_int_equal(rig->report.drives_held, 1);
    assert_true(count_retained(rig, 0) > 0);
    release(rig);
    assert_int_equal(count_retained(rig, 0), 0);
    assert_false(is_known(rig, "f0"));
    assert_true(is_known(rig, "small0"));
    rig_destroy(rig);
}

static void no_room(struct rig *rig, bool none)
{
    for (unsigned d = 0; d < rig->n; d++) {
        char key[64];
        snprintf(key, sizeof key, "drive.%s.max-usage", rig->drive[d].name);
        rig_ok(pool_set(rig->pool, key, none ? "1" : "0"));
    }
}

static struct meta_stripe stripe_of(struct rig *rig, const struct mrmr_uuid *uuid)
{
    struct meta_stripe stripe;
    int64_t id;
    rig_ok(meta_stripe_by_uuid(rig->pool->meta, uuid, &id));
    rig_ok(meta_stripe_load(rig->pool->meta, id, &stripe));
    return stripe;
}

/* With a row's drive away, and no room for that row elsewhere, the stripe waits with all it has. */
static void test_with_a_row_away(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 309);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    unsigned away = rig_row_drive(&image, 0);
    const struct mrmr_uuid uuid = image.uuid;
    const uint64_t generation = image.generation;
    meta_stripe_free(&image);
    remove_file(rig, "f0");
    no_room(rig, true);
    rig_take_away(rig, away);
    rig_reopen(rig);
    release(rig);
    assert_true(rig->report.release_waits > 0);
    assert_non_null(strstr(rig->report.release_cause, "away"));
    assert_true(count_retained(rig, 0) > 0);
    rig_bring_back(rig, away);
    rig_reopen(rig);
    image = stripe_of(rig, &uuid);
    assert_int_equal(image.generation, generation);
    assert_int_equal(pool_image_margin(rig->pool, &image), 2);
    meta_stripe_free(&image);
    no_room(rig, false);
    release(rig);
    all_is_free(rig);
    end(rig);
}

/* The same with room: the row is made anew, and the one that is away is not counted on any more. */
static void test_with_a_row_away_and_room(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 311);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    unsigned away = rig_row_drive(&image, 0);
    const struct mrmr_uuid uuid = image.uuid;
    meta_stripe_free(&image);
    remove_file(rig, "f0");
    rig_take_away(rig, away);
    rig_reopen(rig);
    release(rig);
    image = stripe_of(rig, &uuid);
    assert_int_equal(image.rows, 2);
    assert_int_equal(pool_image_margin(rig->pool, &image),
        2 - (pool_image_block(&image, rig_pool_drive(rig, away)->meta.id) != NULL));
    meta_stripe_free(&image);
    rig_bring_back(rig, away);
    rig_reopen(rig);
    release(rig);
    all_is_free(rig);
    end(rig);
}

/* What is left is shorter than what was, and ends within a leaf. */
static void test_the_longest_goes(void **state)
{
    (void)state;
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = 312});
    rig_put(rig, 0, "f0", 2 * RIG_MIB);
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, RIG_MIB / 2 - 100);
    }
    rig_protect_all(rig);
    rig_put(rig, 0, "other", 5000);
    rig_protect_all(rig);
    remove_file(rig, "f0");
    release(rig);
    all_is_free(rig);
    end(rig);
}

/* And a leaf that is taken out begins in one window, and ends in the next one, which the rest does not fill. */
static void test_the_longest_goes_across_windows(void **state)
{
    enum { FIRST = 93957, REST = 13338 };
    (void)state;
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = 314});
    rig_ok(pool_set(rig->pool, "memory", "16M")); /* windows are of one leaf then */
    rig_put(rig, 0, "a", FIRST);
    rig_put(rig, 0, "f0", RIG_MIB);
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, RIG_MIB + REST);
    }
    rig_protect_all(rig);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    bool crosses = false;
    for (size_t i = 0; i < image.extents; i++)
        crosses = crosses || (image.extent[i].place == FIRST && image.extent[i].bytes == RIG_MIB);
    assert_true(crosses);
    assert_int_equal(image.length, FIRST + RIG_MIB);
    meta_stripe_free(&image);
    remove_file(rig, "a");
    remove_file(rig, "f0");
    release(rig);
    all_is_free(rig);
    end(rig);
}

/* What was overwritten on a drive that is held waits: the catalog's version of it may be brought back. */
static void test_overwritten_under_a_hold(void **state)
{
    (void)state;
    struct rig *rig = begin(RIG_LOCAL, 313);
    for (unsigned i = 0; i < 12; i++) {
        char path[32];
        snprintf(path, sizeof path, "small%u", i);
        rig_put(rig, 0, path, 5000 + i);
    }
    rig_protect_all(rig);
    rig_ok(pool_set(rig->pool, "hold-percent", "30"));
    for (unsigned i = 0; i < 8; i++) {
        char path[32];
        snprintf(path, sizeof path, "small%u", i);
        rig_unlink(rig, path);
    }
    rig_sync(rig);
    assert_int_equal(rig->report.drives_held, 1);
    touch(rig, "f0");
    rig_ok(save(rig, "f0", 1, 2));
    rig_edit(rig, "f0", RIG_MIB + 10, 100);
    unsigned n = count_retained(rig, 0);
    release(rig);
    assert_int_equal(count_retained(rig, 0), n);
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    rig_destroy(rig);
}

/* A row that has rotted is made anew from verified bytes. */
static void test_with_a_rotten_row(void **state)
{
    (void)state;
    struct rig *rig = begin_with_other(RIG_LOCAL, 310);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    char path[POOL_ROW_PATH];
    unsigned drive = rig_row_drive(&image, 1);
    pool_row_path(&image.uuid, image.generation, 1, path);
    meta_stripe_free(&image);
    rig_rot(rig, drive, path, 1000);
    remove_file(rig, "f0");
    release(rig);
    rig_reopen(rig);
    all_is_free(rig);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_by_deltas_alone),
        cmocka_unit_test(test_overwritten),
        cmocka_unit_test(test_not_overwritten),
        cmocka_unit_test(test_not_through_mrmr),
        cmocka_unit_test(test_other_name),
        cmocka_unit_test(test_not_all_is_kept),
        cmocka_unit_test(test_what_is_kept_is_not_right),
        cmocka_unit_test(test_under_a_hold),
        cmocka_unit_test(test_under_a_hold_that_saw_it),
        cmocka_unit_test(test_overwritten_under_a_hold),
        cmocka_unit_test(test_with_a_row_away),
        cmocka_unit_test(test_with_a_row_away_and_room),
        cmocka_unit_test(test_the_longest_goes),
        cmocka_unit_test(test_the_longest_goes_across_windows),
        cmocka_unit_test(test_with_a_rotten_row),
    };
    return cmocka_run_group_tests_name("pool_release", tests, NULL, NULL);
}
