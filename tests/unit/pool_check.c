/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pool_check: nothing to say about a good pool, and something about each way in which one can be
 * bad.
 */
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>

static int rig_setup(void **state)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 51});
    for (unsigned d = 0; d < 3; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 2 * RIG_MIB + 100);
    }
    rig_put_sparse(rig, 0, "sparse", 9 * RIG_MIB, RIG_MIB, 8 * RIG_MIB);
    rig_protect_all(rig);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}

static struct meta_stripe stripe_of(struct rig *rig, const char *path, uint64_t leaf)
{
    struct meta_stripe image = {0};
    mrmr_autofree struct meta_extent *extent = NULL;
    rig_ok(meta_extent_at(rig->pool->meta, rig_node(rig, path).id, leaf, &extent));
    rig_ok(meta_stripe_load(rig->pool->meta, extent->stripe, &image));
    return image;
}

/* deep or not, with words that one finding must have. */
static void finds(struct rig *rig, bool deep, const char *words)
{
    char first[512];
    assert_true(rig_findings(rig, deep, first) > 0);
    if (!strstr(first, words))
        fail_msg("'%s' is not in: %s", words, first);
}

static void test_a_good_pool(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    assert_int_equal(rig_findings(rig, true, NULL), 0);
    rig_take_away(rig, 1);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(rig_findings(rig, true, NULL), 0); /* what is away is no finding */
}

static void test_an_edit_that_was_not_scanned_is_no_finding(void **state)
{
    struct rig *rig = *state;
    rig_edit(rig, "f0", 100, 100);
    rig_append(rig, "f1", 100);
    rig_unlink(rig, "f2");
    assert_int_equal(rig_findings(rig, true, NULL), 0);
}

static void test_rot_in_a_file(void **state)
{
    struct rig *rig = *state;
    rig_rot(rig, 1, "f1", RIG_MIB + 3);
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    finds(rig, true, "leaf 1 of node");
}

static void test_a_row_file(void **state)
{
    struct rig *rig = *state;
    struct meta_stripe image = stripe_of(rig, "f1", 0);
    unsigned drive = (unsigned)image.row[0].drive - 1;
    char path[POOL_ROW_PATH];
    pool_row_path(&image.uuid, image.generation, image.row[0].index, path);
    rig_rot(rig, drive, path, 12);
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    finds(rig, true, "does not give back");
    rig_rot(rig, drive, path, 12); /* back again */
    assert_int_equal(rig_findings(rig, true, NULL), 0);
    rig_rot(rig, drive, path, image.row[0].file_size - 100); /* in manifest or footer */
    finds(rig, true, "row 0");
    rig_ok(drv_unlink(rig->drive[drive].raw, path));
    finds(rig, false, "row 0");
    meta_stripe_free(&image);
}

static void test_a_row_with_digests_of_its_own_that_is_not_the_sum(void **state)
{
    struct rig *rig = *state;
    struct meta_stripe image = stripe_of(rig, "f1", 0);
    struct mrmr_bytes body = MRMR_BYTES_INIT;
    struct pool_row_writer *writer = NULL;
    uint64_t size;
    uint8_t *wrong = calloc(1, image.length);
    rig_ok(pool_manifest_build(rig->pool, &image, NULL, 0, &body));
    rig_ok(pool_row_create(
        rig->drive[image.row[1].drive - 1].raw, &image.uuid, image.generation, 1, &writer));
    rig_ok(pool_row_append(writer, wrong, image.length));
    rig_ok(pool_row_finish(writer, (unsigned)image.rows, &body, &size));
    pool_row_discard(writer);
    image.row[1].file_size = size;
    rig_ok(meta_row_store(rig->pool->meta, image.id, &image.row[1]));
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    finds(rig, true, "is not the sum");
    free(wrong);
    mrmr_bytes_free(&body);
    meta_stripe_free(&image);
}

static void test_parity_files_that_nobody_knows(void **state)
{
    struct rig *rig = *state;
    struct drv_file *file = NULL;
    rig_ok(drv_mkdirs(rig->drive[2].raw, ".mrmr/parity/ab", 0700));
    static const char path[] = ".mrmr/parity/ab/abababababababababababababababab-g1.0";
    rig_ok(drv_file_open(rig->drive[2].raw, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    finds(rig, false, "abababababababababababababababab-g1.0");
    struct meta_intent intent = {
        .kind = META_INTENT_DROP, .drive = rig_pool_drive(rig, 2)->meta.id};
    snprintf(intent.file, sizeof intent.file, "%s", path + sizeof POOL_DOT);
    rig_ok(meta_intent_add(rig->pool->meta, &intent));
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    snprintf(intent.file, sizeof intent.file, "parity/ab/nonsense");
    rig_ok(meta_intent_add(rig->pool->meta, &intent));
    finds(rig, false, "an intent names no row");
}

static void test_leaves_that_nothing_covers(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 4, "new", 3 * RIG_MIB);
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    assert_int_equal(rig_findings(rig, true, NULL), 0);
    rig_ok(meta_unexpose(rig->pool->meta, rig_node(rig, "new").id, 1, 1));
    finds(rig, true, "leaf 1 has bytes, and neither");
}

static void test_leaves_that_are_covered_twice(void **state)
{
    struct rig *rig = *state;
    struct meta_node node = rig_node(rig, "f0");
    struct meta_exposed range = {
        .drive = node.drive, .node = node.id, .first = 1, .leaves = 1, .bytes = RIG_MIB};
    rig_ok(meta_expose(rig->pool->meta, &range));
    finds(rig, false, "covered twice");
}

static void test_a_session_that_is_not_the_recorded_one(void **state)
{
    struct rig *rig = *state;
    struct pool_drive *drive = rig_pool_drive(rig, 3);
    drive->meta.session.number++;
    finds(rig, false, "session");
    drive->meta.session.number--;
}

static void test_slots(void **state)
{
    struct rig *rig = *state;
    struct pool_drive *a = rig_pool_drive(rig, 3), *b = rig_pool_drive(rig, 4);
    uint8_t was = a->meta.slot;
    a->meta.slot = b->meta.slot;
    finds(rig, false, "slot");
    a->meta.slot = was;
    assert_int_equal(rig_findings(rig, false, NULL), 0);
}

#define rig_test(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(test_a_good_pool),
        rig_test(test_an_edit_that_was_not_scanned_is_no_finding),
        rig_test(test_rot_in_a_file),
        rig_test(test_a_row_file),
        rig_test(test_a_row_with_digests_of_its_own_that_is_not_the_sum),
        rig_test(test_parity_files_that_nobody_knows),
        rig_test(test_leaves_that_nothing_covers),
        rig_test(test_leaves_that_are_covered_twice),
        rig_test(test_a_session_that_is_not_the_recorded_one),
        rig_test(test_slots),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
