/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pool_check: nothing to say about a good pool, and something about each way in which one can be
 * bad.
 */
#include "pool/check.h"
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

/* All findings, a line each. */
struct found {
    char text[1 << 16];
    size_t n;
};

static void found_add(const char *finding, void *arg)
{
    struct found *found = arg;
    size_t at = strlen(found->text);
    snprintf(found->text + at, sizeof found->text - at, "%s\n", finding);
    found->n++;
}

static void must_have(const struct found *found, const char *words)
{
    if (!strstr(found->text, words))
        fail_msg("'%s' is not in: %s", words, found->n ? found->text : "nothing");
}

/* deep or not, with words that one finding must have. */
static void finds(struct rig *rig, bool deep, const char *words)
{
    static struct found found;
    found = (struct found){.n = 0};
    assert_int_equal(pool_check(rig->pool, deep, found_add, &found), MRMR_CORRUPT);
    must_have(&found, words);
}

/* The same of one image, which need not be the catalog's. */
static void finds_in(struct rig *rig, const struct meta_stripe *image, bool deep, const char *words)
{
    static struct found found;
    found = (struct found){.n = 0};
    struct check check = {.pool = rig->pool, .deep = deep, .fn = found_add, .arg = &found};
    rig_ok(pool_check_stripe(&check, image));
    assert_int_equal(check.findings, found.n);
    must_have(&found, words);
}

static void nothing_in(struct rig *rig, const struct meta_stripe *image, bool deep)
{
    static struct found found;
    found = (struct found){.n = 0};
    struct check check = {.pool = rig->pool, .deep = deep, .fn = found_add, .arg = &found};
    rig_ok(pool_check_stripe(&check, image));
    if (found.n)
        fail_msg("%s", found.text);
}

static void make_file(struct rig *rig, unsigned drive, const char *folder, const char *name)
{
    struct drv_file *file = NULL;
    char path[256];
    rig_ok(drv_mkdirs(rig->drive[drive].raw, folder, 0700));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    rig_ok(
        drv_file_open(rig->drive[drive].raw, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
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
    struct meta_stripe image = rig_stripe_of(rig, "f1", 0);
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
    struct meta_stripe image = rig_stripe_of(rig, "f1", 0);
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

/* --- Drives --- */

static void test_identities(void **state)
{
    struct rig *rig = *state;
    struct pool_drive *d3 = rig_pool_drive(rig, 3);
    struct meta_drive was = d3->meta;
    d3->meta.slot = 100; /* nobody's */
    finds(rig, false, "drive d3: it says slot 3, the catalog 100");
    d3->meta = was;
    d3->meta.uuid = rig_pool_drive(rig, 4)->meta.uuid;
    finds(rig, false, "drive d3: another drive's identity is there");
    d3->meta = was;
    struct mrmr_uuid pool = rig->pool->uuid;
    rig_ok(mrmr_uuid_make(&rig->pool->uuid));
    finds(rig, false, "drive d0: another drive's identity is there");
    rig->pool->uuid = pool;
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    rig_ok(drv_unlink(rig->drive[3].raw, ".mrmr/drive"));
    finds(rig, false, "drive d3: its identity cannot be read");
}

static void test_a_retired_uuid_among_the_drives(void **state)
{
    struct rig *rig = *state;
    struct pool_drive *d3 = rig_pool_drive(rig, 3);
    rig_ok(meta_uuid_retire(rig->pool->meta, &d3->meta.uuid, "old"));
    finds(rig, false, "drive d3 has the uuid of a drive that was given up for good");
    d3->meta.state = META_DRIVE_RETIRED; /* as it should be */
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    d3->meta.state = META_DRIVE_ACTIVE;
}

/* An obsolete row holds its drive's slot, whether or not that drive is there. */
static void test_the_slot_of_an_obsolete_row(void **state)
{
    struct rig *rig = *state;
    struct meta_intent intent = {
        .kind = META_INTENT_DROP, .drive = rig_pool_drive(rig, 4)->meta.id};
    snprintf(intent.file, sizeof intent.file, "parity/ab/abababababababababababababababab-g1.0");
    rig_ok(meta_intent_add(rig->pool->meta, &intent));
    rig_take_away(rig, 4);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    struct pool_drive *d3 = rig_pool_drive(rig, 3);
    uint8_t slot = d3->meta.slot;
    d3->meta.slot = rig_pool_drive(rig, 4)->meta.slot;
    finds(rig, false, "drives d4 and d3 have the same slot 4");
    d3->meta.slot = slot;
}

/* --- Catalog and files --- */

static void test_a_catalog_that_does_not_agree_with_itself(void **state)
{
    struct rig *rig = *state;
    char command[400];
    snprintf(command, sizeof command,
        "sqlite3 '%s/pool/catalog.sqlite' \"UPDATE block SET extents = extents + 1\"", rig->dir);
    rig_close(rig);
    assert_int_equal(system(command), 0);
    rig_open(rig);
    finds(rig, false, "the catalog: ");
}

static void test_what_does_not_fit_its_file(void **state)
{
    struct rig *rig = *state;
    struct meta_node node = rig_node(rig, "f1"), changed = node;
    changed.size = RIG_MIB + 100;
    rig_ok(meta_node_store(rig->pool->meta, &changed));
    finds(rig, false, "'f1' on drive d1: leaf 2 begins an extent that does not fit the file");
    changed = node;
    changed.version = 0;
    rig_ok(meta_node_store(rig->pool->meta, &changed));
    finds(rig, false, "'f1' on drive d1: leaf 0 is of a version that the file never had");
    changed = node;
    changed.drive = rig_pool_drive(rig, 2)->meta.id;
    rig_ok(meta_node_store(rig->pool->meta, &changed));
    finds(rig, false, "leaf 0 is in a block of a drive that its file is not on");
    rig_ok(meta_node_store(rig->pool->meta, &node));
    assert_int_equal(rig_findings(rig, false, NULL), 0);
}

static void test_what_does_not_fit_as_exposed(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 4, "new", 3 * RIG_MIB);
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    struct meta_node node = rig_node(rig, "new");
    struct meta_exposed range = {
        .drive = node.drive, .node = node.id, .first = 1, .leaves = 1, .bytes = RIG_MIB - 1};
    rig_ok(meta_unexpose(rig->pool->meta, node.id, 0, UINT64_MAX));
    rig_ok(meta_expose(rig->pool->meta, &range));
    finds(rig, false, "'new' on drive d4: leaf 1 begins an exposed range that does not fit");
    node.drive = rig_pool_drive(rig, 2)->meta.id; /* the range stays where it is */
    rig_ok(meta_node_store(rig->pool->meta, &node));
    finds(rig, false, "the catalog: ");
}

/* --- What lies around --- */

static void test_the_parity_folder(void **state)
{
    struct rig *rig = *state;
    make_file(rig, 2, ".mrmr/parity", "stray");
    finds(rig, false, "drive d2: 'stray' has no business in .mrmr/parity");
    rig_ok(drv_unlink(rig->drive[2].raw, ".mrmr/parity/stray"));
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_LIST, .prefix = ".mrmr/parity", .err = MRMR_DENIED};
    rig_ok(drv_fault_add(rig->drive[2].fault, &rule, NULL));
    finds(rig, false, "drive d2: .mrmr/parity cannot be listed");
    rig_clear_faults(rig);
    /* A temporary name is known by the intent for its file, and by nothing else. */
    make_file(rig, 2, ".mrmr/parity/ab", "abababababababababababababababab-g1.0~");
    finds(rig, false, "abababababababababababababababab-g1.0~");
    struct meta_intent intent = {
        .kind = META_INTENT_MAKE, .drive = rig_pool_drive(rig, 2)->meta.id};
    snprintf(intent.file, sizeof intent.file, "parity/ab/abababababababababababababababab-g1.0");
    rig_ok(meta_intent_add(rig->pool->meta, &intent));
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    rig_close(rig); /* settled: the intent and its file go together */
    rig_open(rig);
    assert_int_equal(rig_findings(rig, false, NULL), 0);
}

/* An old generation's row, or a row on another drive than its own. */
static void test_rows_that_are_not_where_they_should_be(void **state)
{
    struct rig *rig = *state;
    struct meta_stripe image = rig_stripe_of(rig, "f1", 0);
    char path[POOL_ROW_PATH], folder[POOL_ROW_PATH];
    for (unsigned old = 0; old < 2; old++) {
        unsigned drive = old ? (unsigned)image.row[0].drive - 1 : (unsigned)image.row[1].drive - 1;
        pool_row_path(&image.uuid, image.generation + (old ? 8 : 0), 0, path);
        snprintf(folder, sizeof folder, "%s", path);
        char *slash = strrchr(folder, '/');
        *slash = '\0';
        make_file(rig, drive, folder, slash + 1);
        finds(rig, false, path + sizeof POOL_DOT);
        rig_ok(drv_unlink(rig->drive[drive].raw, path));
        assert_int_equal(rig_findings(rig, false, NULL), 0);
    }
    meta_stripe_free(&image);
}

static void test_an_intent_for_a_drive_that_is_not_there(void **state)
{
    struct rig *rig = *state;
    struct meta_intent intent = {
        .kind = META_INTENT_DROP, .drive = rig_pool_drive(rig, 4)->meta.id};
    snprintf(intent.file, sizeof intent.file, "parity/ab/abababababababababababababababab-g1.0");
    rig_ok(meta_intent_add(rig->pool->meta, &intent));
    rig->pool->ndrives--; /* d4, the last */
    finds(rig, false, "an intent is for a drive that the pool does not have");
    rig->pool->ndrives++;
}

static void test_what_jobs_left_behind(void **state)
{
    struct rig *rig = *state;
    make_file(rig, 1, POOL_WORK, "17");
    finds(rig, false, "drive d1: a job left .mrmr/work/17 behind");
    make_file(rig, 2, POOL_QUARANTINE, "1700000000-5-kept");
    make_file(rig, 2, POOL_QUARANTINE, "pending-4711");
    finds(rig, false, "drive d2: a repair left .mrmr/quarantine/pending-4711 behind");
    rig_close(rig); /* start-up settles both; what was kept stays */
    rig_open(rig);
    assert_int_equal(rig_findings(rig, false, NULL), 0);
    struct drv_stat stat;
    assert_int_equal(drv_stat(rig->drive[1].raw, POOL_WORK "/17", &stat), MRMR_ABSENT);
    rig_ok(drv_stat(rig->drive[2].raw, POOL_QUARANTINE "/1700000000-5-kept", &stat));
}

/* --- A stripe's shape --- */

static void test_shape_of_blocks(void **state)
{
    struct rig *rig = *state;
    struct meta_stripe image = rig_stripe_of(rig, "f1", 0), was = image;
    struct meta_block *block = image.block, block_was = *block;
    struct meta_extent *extent = &image.extent[block->first_extent], extent_was = *extent;
    assert_true(image.blocks >= 2);
    nothing_in(rig, &image, true);
    extent->drive++;
    finds_in(rig, &image, false, "an extent is in another drive's block");
    *extent = extent_was;
    extent->bytes = extent->leaves * META_LEAF + 1;
    finds_in(rig, &image, false, "an extent of ");
    *extent = extent_was;
    block->length--;
    finds_in(rig, &image, false, "a block of ");
    *block = block_was;
    block->slot = 200;
    finds_in(rig, &image, false, "a block has slot 200, its drive ");
    *block = block_was;
    block->drive = image.block[1].drive;
    finds_in(rig, &image, false, "two blocks are on one drive or slot");
    *block = block_was;
    block->slot = image.block[1].slot;
    finds_in(rig, &image, false, "two blocks are on one drive or slot");
    *block = block_was;
    block->drive = 4711;
    finds_in(rig, &image, false, "a block is on a drive that the pool does not have");
    *block = block_was;
    image.length++;
    finds_in(rig, &image, false, "its longest block has ");
    image = was;
    image.blocks = 0;
    finds_in(rig, &image, false, "it has 0 blocks");
    image = was;
    image.rows = 0;
    finds_in(rig, &image, false, "0 rows");
    image = was;
    image.generation = 0;
    finds_in(rig, &image, false, "generation 0");
    image = was;
    nothing_in(rig, &image, true);
    meta_stripe_free(&image);
}

static void test_extents_that_overlap(void **state)
{
    struct rig *rig = *state;
    rig_put(rig, 1, "g1", 1000);
    rig_put(rig, 1, "h1", 1000);
    rig_protect_all(rig);
    struct meta_stripe image = rig_stripe_of(rig, "h1", 0);
    const struct meta_block *block = pool_image_block(&image, rig_node(rig, "h1").drive);
    assert_true(block->extents >= 2);
    image.extent[block->first_extent + 1].place--;
    finds_in(rig, &image, false, "two extents overlap at ");
    meta_stripe_free(&image);
}

static void test_shape_of_rows(void **state)
{
    struct rig *rig = *state;
    struct meta_stripe image = rig_stripe_of(rig, "f1", 0);
    struct meta_row *row = image.row, was = *row;
    row->index = META_ROWS_MAX;
    finds_in(rig, &image, false, "it has a row 8");
    *row = was;
    row->drive = 4711;
    finds_in(rig, &image, false, "row 0 is on a drive that the pool does not have");
    *row = was;
    row->drive = image.block[0].drive;
    finds_in(rig, &image, false, "row 0 and a block are on one drive");
    *row = was;
    row->index = image.row[1].index;
    finds_in(rig, &image, false, "row 1 is there twice");
    *row = was;
    row->drive = image.row[1].drive;
    finds_in(rig, &image, false, "rows 0 and 1 are on one drive");
    *row = was;
    row->file_size++;
    finds_in(rig, &image, false, " bytes, the catalog says ");
    *row = was;
    nothing_in(rig, &image, true);
    meta_stripe_free(&image);
}

/* --- Manifest and catalog --- */

static void test_a_manifest_that_says_something_else(void **state)
{
    struct rig *rig = *state;
    struct meta_stripe image = rig_stripe_of(rig, "f1", 0), was = image;
    struct meta_extent *extent = &image.extent[image.block[0].first_extent];
    struct mrmr_digest digest = extent->digests[0], other = mrmr_digest_of("x", 1);
    extent->digests[0] = other;
    finds_in(rig, &image, true, "the manifest of row 0 and the catalog differ about what is at 0");
    extent->digests[0] = digest;
    uint64_t place = extent->place;
    extent->place += 10; /* nothing begins there */
    finds_in(rig, &image, true, "the manifest of row 1 and the catalog differ about what is at 10");
    extent->place = place;
    image.blocks--;
    finds_in(rig, &image, true, "the manifest of row 0 has another shape than the catalog");
    image = was;
    uint8_t slot = image.block[0].slot;
    image.block[0].slot = 201;
    finds_in(rig, &image, true, "the manifest of row 0 has no block on slot 201");
    image.block[0].slot = slot;
    nothing_in(rig, &image, true);
    char path[POOL_ROW_PATH];
    pool_row_path(&image.uuid, image.generation, 0, path);
    rig_rot(rig, (unsigned)image.row[0].drive - 1, path, image.length + 20);
    finds_in(rig, &image, true, "row 0");
    meta_stripe_free(&image);
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
        rig_test(test_identities),
        rig_test(test_a_retired_uuid_among_the_drives),
        rig_test(test_the_slot_of_an_obsolete_row),
        rig_test(test_a_catalog_that_does_not_agree_with_itself),
        rig_test(test_what_does_not_fit_its_file),
        rig_test(test_what_does_not_fit_as_exposed),
        rig_test(test_the_parity_folder),
        rig_test(test_rows_that_are_not_where_they_should_be),
        rig_test(test_an_intent_for_a_drive_that_is_not_there),
        rig_test(test_what_jobs_left_behind),
        rig_test(test_shape_of_blocks),
        rig_test(test_extents_that_overlap),
        rig_test(test_shape_of_rows),
        rig_test(test_a_manifest_that_says_something_else),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
