/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The red team's list: orders of events made to lose something.
 */
#include "tests/support/rig.h"

#include <inttypes.h>
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

static void row_path(const struct meta_stripe *image, unsigned index, char path[POOL_ROW_PATH])
{
    pool_row_path(&image->uuid, image->generation, index, path);
}

/* --- Rows --- */

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

/* --- Files that change under the job --- */

struct hand {
    struct rig *rig;
    const char *path;
    unsigned left, done;
    int64_t mtime; /* to set back to; 0: no */
};

/* The user writes, in the middle of a call of the engine. */
static void hand_edits(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_edit(hand->rig, hand->path, 123, 50);
        hand->done++;
    }
}

static void test_red_team_file_written_between_read_and_commit(void **state)
{
    struct rig *rig = *state;
    for (unsigned d = 0; d < 3; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 3 * RIG_MIB);
    }
    /* The row is being named: all has been read, nothing is committed. */
    struct hand hand = {.rig = rig, .path = "f1", .left = 1};
    struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
        .prefix = ".mrmr/parity",
        .action = DRV_FAULT_HOOK,
        .hook = hand_edits,
        .arg = &hand};
    for (unsigned d = 0; d < rig->n; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_int_equal(hand.done, 1);
    rig_check(rig);
    rig_verify(rig, false);
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

static void hand_appends(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_append(hand->rig, hand->path, 700 * 1024);
        hand->done++;
    }
}

static void hand_truncates(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_truncate(hand->rig, hand->path, RIG_MIB + 10);
        hand->done++;
    }
}

static void hand_unlinks(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_unlink(hand->rig, hand->path);
        hand->done++;
    }
}

/* As editors save: a new file beside it takes its name. */
static void hand_renames_over(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        struct rig *rig = hand->rig;
        struct rig_file *old = rig_find(rig, hand->path);
        unsigned drive = old->drive;
        rig_put(rig, drive, ".save", 5 * RIG_MIB + 4321);
        rig_find(rig, hand->path)->there = false;
        rig_ok(drv_rename(rig->drive[drive].raw, ".save", hand->path, DRV_RENAME_REPLACE));
        struct rig_file *saved = rig_find(rig, ".save");
        snprintf(saved->path, sizeof saved->path, "%s", hand->path);
        hand->done++;
    }
}

/* The user's hand comes in before the file is read for the `at`th time: nothing is claimed that was
 * not read as it is, and the neighbour's protection is no worse for it. */
static void hand_meets_reader(enum rig_kind kind, drv_fault_hook change, unsigned at)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind, .seed = 46 + at});
    rig_put(rig, 2, "there", 2 * RIG_MIB);
    rig_protect_all(rig);
    rig_put(rig, 0, "f0", 6 * RIG_MIB);
    rig_put(rig, 0, "stays", 1000); /* a drive that is empty all at once would be held */
    rig_put(rig, 1, "f1", 2 * RIG_MIB);
    rig_promise(rig);
    struct hand hand = {.rig = rig, .path = "f0", .left = at};
    struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ,
        .prefix = "f0",
        .action = DRV_FAULT_HOOK,
        .hook = change,
        .arg = &hand};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    rig_sync(rig);
    rig_clear_faults(rig);
    assert_int_equal(hand.done, 1);
    rig_check(rig);
    assert_true(rig_promise_check(rig, 1) > 0); /* what was protected of f0 may share its stripe */
    assert_true(rig_verify(rig, false) > 0);
    if (rig_find(rig, "f0"))
        assert_true(rig->report.exposed_bytes >= 2 * RIG_MIB); /* not claimed */
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    assert_true(rig_verify(rig, true) > 0);
    rig_destroy(rig);
}

static void hand_meets_readers(drv_fault_hook change)
{
    for (unsigned at = 1; at <= 5; at += 2) {
        hand_meets_reader(RIG_MEM, change, at);
        hand_meets_reader(RIG_LOCAL, change, at);
    }
}

static void test_red_team_file_edited_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_edits);
}

static void test_red_team_file_appended_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_appends);
}

static void test_red_team_file_truncated_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_truncates);
}

static void test_red_team_file_unlinked_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_unlinks);
}

static void test_red_team_file_replaced_while_it_is_read(void **state)
{
    (void)state;
    hand_meets_readers(hand_renames_over);
}

/* The old short leaf counts as it lies, until the longer one is protected. */
static void test_red_team_append_to_a_short_last_leaf(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, RIG_MIB + 500 * 1024);
    rig_append(rig, "f0", 700 * 1024);
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    rig_ok(pool_compare(rig->pool, &job, &rig->report));
    assert_string_equal(rig_states(rig, "f0"), "LT");
    assert_true(rig->report.exposed_bytes >= 700 * 1024);
    rig_check(rig);
    rig_verify(rig, false);
    for (unsigned d = 1; d < 3; d++) /* the neighbours have lost nothing */
        assert_true(rig_verify_without(rig, 1U << d | 8, false) >= RIG_MIB + 500 * 1024);
    rig_protect_all(rig);
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    rig_check(rig);
    rig_verify(rig, true);
}

/* Size, time and inode are as they were: only the bytes, and the time of the inode's own change,
 * are not. */
static void test_red_team_touch_r_edit(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 2 * RIG_MIB);
    struct rig_file was = *rig_find(rig, "f0");
    int64_t mtime = rig_mtime(rig, "f0");
    rig_edit(rig, "f0", RIG_MIB + 9, 100);
    rig_set_mtime(rig, "f0", mtime);
    rig_sync(rig);
    assert_int_equal(rig->report.held, 1);
    assert_string_equal(rig_states(rig, "f0"), "LM");
    rig_check_originals(rig); /* what the user wrote stays where it is */
    rig_check(rig);
    struct rig_file now = *rig_find(rig, "f0");
    *rig_find(rig, "f0") = was; /* and what was protected can still be had */
    assert_int_equal(rig_verify_without(rig, 1, true), 2 * RIG_MIB);
    assert_int_equal(rig_verify_without(rig, 2, true), 2 * RIG_MIB);
    *rig_find(rig, "f0") = now;
    struct pool_job job = rig_job(rig);
    rig_ok(pool_sync(rig->pool, &job, true, &rig->report));
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

/* It shrank, and its time did not move: not an edit of a user. */
static void test_red_team_file_truncated_by_fsck(void **state)
{
    struct rig *rig = *state;
    rig_one_each(rig, 3, 2 * RIG_MIB + 10);
    struct rig_file was = *rig_find(rig, "f1");
    int64_t mtime = rig_mtime(rig, "f1");
    rig_truncate(rig, "f1", RIG_MIB / 2);
    rig_set_mtime(rig, "f1", mtime);
    rig_sync(rig);
    rig_check(rig);
    *rig_find(rig, "f1") = was;
    /* Every byte of what was there, with its drive gone besides. */
    assert_int_equal(rig_verify_without(rig, 2, true), 2 * RIG_MIB + 10);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(
        rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1", .path = "f1"}, &report));
    assert_int_equal(report.files, 1);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* --- Repair and a user --- */

static void hand_replaces(void *arg, enum drv_fault_op op, const char *path)
{
    struct hand *hand = arg;
    (void)op, (void)path;
    if (hand->left && !--hand->left) {
        rig_put(hand->rig, rig_find(hand->rig, hand->path)->drive, hand->path, RIG_MIB + 99);
        hand->done++;
    }
}

/* A user saves the rotten file, in place or as a new one, before or after the exchange: what the
 * user saved is what is there. */
static void repair_meets_user(struct rig *rig, drv_fault_hook save, bool late)
{
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 1, "f1", RIG_MIB + 1);
    struct hand hand = {.rig = rig, .path = "f1", .left = 1};
    struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
        .prefix = "f1", /* only the exchange names it */
        .action = DRV_FAULT_HOOK,
        .late = late,
        .hook = save,
        .arg = &hand};
    rig_ok(drv_fault_add(rig->drive[1].fault, &rule, NULL));
    rig_scrub(rig, true);
    rig_clear_faults(rig);
    assert_int_equal(hand.done, 1);
    rig_protect_all(rig);
    rig_scrub(rig, true);
    rig_protect_all(rig);
    rig_check(rig);
}

static void test_red_team_repair_meets_a_user_who_saves_before(void **state)
{
    struct rig *rig = *state;
    repair_meets_user(rig, hand_replaces, false);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

static void test_red_team_repair_meets_a_user_who_saves_after(void **state)
{
    struct rig *rig = *state;
    repair_meets_user(rig, hand_replaces, true);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

/* In place: of what the user had not written, the rotten byte may stay or be right; what was
 * written is there. */
static void repair_meets_writer(struct rig *rig, bool late)
{
    repair_meets_user(rig, hand_edits, late);
    uint8_t got[50], wanted[50];
    struct drv_file *file = NULL;
    rig_ok(drv_file_open(rig->drive[1].raw, "f1", DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read_exact(file, 123, got, sizeof got));
    drv_file_close(file);
    rig_expected(rig_find(rig, "f1"), 123, wanted, sizeof wanted);
    assert_memory_equal(got, wanted, sizeof got);
}

static void test_red_team_repair_meets_a_writer_before(void **state)
{
    repair_meets_writer(*state, false);
}

static void test_red_team_repair_meets_a_writer_after(void **state)
{
    repair_meets_writer(*state, true);
}

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
    (void)!pool_sync(rig->pool, &job, true, &rig->report);
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

#define rig_test(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(test_red_team_row_drive_away_when_its_stripe_changes),
        cmocka_unit_test(test_red_team_row_drive_away_and_a_drive_is_free),
        cmocka_unit_test(test_red_team_row_0_lost_and_redundancy_lowered),
        cmocka_unit_test(test_red_team_row_0_damaged_and_redundancy_lowered),
        rig_test(test_red_team_old_row_corrupt_when_a_delta_needs_it),
        cmocka_unit_test(test_red_team_two_stripes_with_one_erasure_each_do_not_merge),
        rig_test(test_red_team_file_written_between_read_and_commit),
        cmocka_unit_test(test_red_team_file_edited_while_it_is_read),
        cmocka_unit_test(test_red_team_file_appended_while_it_is_read),
        cmocka_unit_test(test_red_team_file_truncated_while_it_is_read),
        cmocka_unit_test(test_red_team_file_unlinked_while_it_is_read),
        cmocka_unit_test(test_red_team_file_replaced_while_it_is_read),
        rig_test(test_red_team_append_to_a_short_last_leaf),
        rig_test(test_red_team_touch_r_edit),
        rig_test(test_red_team_file_truncated_by_fsck),
        rig_test(test_red_team_repair_meets_a_user_who_saves_before),
        rig_test(test_red_team_repair_meets_a_user_who_saves_after),
        rig_test(test_red_team_repair_meets_a_writer_before),
        rig_test(test_red_team_repair_meets_a_writer_after),
        rig_test(test_red_team_drive_returns_after_its_slot_was_passed_on),
        rig_test(test_red_team_old_catalog_meets_newer_drives),
        cmocka_unit_test(test_red_team_every_drive_full_and_a_file_is_deleted),
        rig_test(test_red_team_reader_in_the_middle_when_its_generation_is_dropped),
        rig_test(test_red_team_open_file_outlives_its_generation),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
