/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Scrub, repair and rebuild, and jobs that are cancelled and go on.
 */
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>

static int rig_setup(void **state)
{
    *state = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 21});
    return 0;
}

static int rig_teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}

static void fill(struct rig *rig)
{
    for (unsigned d = 0; d < 5; d++) {
        char path[32];
        snprintf(path, sizeof path, "big/%u", d);
        rig_put(rig, d, path, 3 * RIG_MIB + 1000 * d);
    }
    rig_fill(rig, 0, 5, 4, 300 * 1024);
    rig_protect_all(rig);
}

struct a_row {
    struct rig *rig;
    char path[POOL_ROW_PATH];
    unsigned drive;
};

static mrmr_err a_row_found(const struct meta_stripe_brief *brief, void *arg)
{
    struct a_row *row = arg;
    pool_row_path(&brief->uuid, brief->generation, brief->row[1].index, row->path);
    row->drive = (unsigned)brief->row[1].drive - 1;
    return MRMR_OK;
}

/* Row 1 of some stripe. */
static struct a_row a_row(struct rig *rig)
{
    struct a_row row = {.rig = rig};
    rig_ok(meta_stripes(rig->pool->meta, a_row_found, &row));
    return row;
}

struct kept {
    unsigned n;
    char name[META_NAME_MAX + 1];
};

static mrmr_err kept_seen(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct kept *kept = arg;
    (void)stat, (void)err;
    kept->n++;
    snprintf(kept->name, sizeof kept->name, "%s", name);
    return MRMR_OK;
}

static struct kept quarantine(struct rig *rig, unsigned drive)
{
    struct kept kept = {0};
    mrmr_err err = drv_list(rig->drive[drive].raw, POOL_QUARANTINE, kept_seen, &kept);
    assert_true(!err || err == MRMR_ABSENT);
    return kept;
}

/* --- Scrub --- */

static void test_scrub_finds_nothing_in_a_good_pool(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.stripes, rig_totals(rig).stripes);
    assert_int_equal(report.damaged + report.rows_damaged + report.edited + report.lost, 0);
    assert_int_equal(report.repaired + report.rows_repaired + report.unreadable, 0);
    assert_true(report.bytes >= 16 * RIG_MIB);
}

static void test_scrub_finds_and_repairs_a_rotten_file(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    rig_rot(rig, 2, "big/2", RIG_MIB + 77);
    struct pool_scrub_report report = rig_scrub(rig, false);
    assert_int_equal(report.damaged, 1);
    assert_int_equal(report.damaged_bytes, RIG_MIB);
    assert_int_equal(report.repaired, 0);
    assert_string_equal(rig_states(rig, "big/2"), "LMLL");
    assert_false(rig_original_is_right(rig, 2, rig_find(rig, "big/2")));
    rig_check(rig);         /* known damage is no finding */
    rig_verify(rig, false); /* and costs others no more than their margin */
    report = rig_scrub(rig, true);
    assert_int_equal(report.repaired, 1);
    assert_string_equal(rig_states(rig, "big/2"), "LLLL");
    rig_check_originals(rig);
    struct kept kept = quarantine(rig, 2);
    assert_int_equal(kept.n, 1);
    char path[META_NAME_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", POOL_QUARANTINE, kept.name);
    struct drv_stat stat;
    rig_ok(drv_stat(rig->drive[2].raw, path, &stat));
    assert_int_equal(stat.size, rig_find(rig, "big/2")->size);
    rig_check(rig);
    rig_verify(rig, true);
    rig_sync(rig);
    assert_int_equal(rig->report.changed + rig->report.stripes_changed, 0);
}

static void test_scrub_repairs_rows(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    struct a_row row = a_row(rig);
    rig_rot(rig, row.drive, row.path, 4096);
    assert_true(rig_findings(rig, true, NULL) > 0);
    struct pool_scrub_report report = rig_scrub(rig, false);
    assert_int_equal(report.rows_damaged, 1);
    report = rig_scrub(rig, true);
    assert_int_equal(report.rows_repaired, 1);
    rig_check(rig);
    row = a_row(rig);
    rig_ok(drv_unlink(rig->drive[row.drive].raw, row.path));
    assert_true(rig_findings(rig, false, NULL) > 0);
    report = rig_scrub(rig, true);
    assert_int_equal(report.rows_damaged, 1);
    assert_int_equal(report.rows_repaired, 1);
    rig_check(rig);
    rig_verify(rig, true);
}

static void test_scrub_leaves_an_edit_alone(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    rig_edit(rig, "big/1", 500, 1000);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.edited, 1);
    assert_int_equal(report.damaged + report.repaired + report.rows_damaged, 0);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* More rot at one place than rows: said, not made up, and nothing is touched. */
static void test_scrub_does_not_invent_what_is_lost(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 5, .redundancy = 1, .seed = 31});
    for (unsigned d = 0; d < 4; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, RIG_MIB);
    }
    rig_protect_all(rig);
    for (unsigned d = 0; d < 4; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_rot(rig, d, path, 10);
    }
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.damaged, 4);
    assert_int_equal(report.repaired + report.lost, 4);
    assert_true(report.lost > 0);
    for (unsigned d = 0; d < 4; d++)
        assert_true(quarantine(rig, d).n <= 1);
    rig_check(rig);
    rig_destroy(rig);
}

static void test_scrub_in_parts_comes_to_every_stripe(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    struct a_row row = a_row(rig);
    rig_rot(rig, row.drive, row.path, 0);
    rig_rot(rig, 0, "big/0", 0);
    uint64_t stripes = 0, found = 0;
    struct pool_job job = rig_job(rig);
    for (unsigned i = 0; i < 3; i++) {
        struct pool_scrub_options options = {.percent = 34};
        struct pool_scrub_report report;
        rig_ok(pool_scrub(rig->pool, &job, &options, &report));
        stripes += report.stripes;
        found += report.damaged + report.rows_damaged;
    }
    assert_true(stripes >= rig_totals(rig).stripes);
    assert_true(found >= 2);
}

/* --- Rebuild --- */

static struct pool_rebuild_report rebuild(struct rig *rig, const char *drive, const char *onto)
{
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_options options = {.drive = drive, .onto = onto};
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(rig->pool, &job, &options, &report));
    return report;
}

static unsigned files_of(struct rig *rig, unsigned drive)
{
    unsigned n = 0;
    for (size_t i = 0; i < rig->files; i++)
        n += rig->file[i].there && rig->file[i].drive == drive;
    return n;
}

static void moved_to(struct rig *rig, unsigned from, unsigned to)
{
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].drive == from)
            rig->file[i].drive = to;
}

static void test_rebuild_onto_a_fresh_drive(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    uint8_t slot = rig_pool_drive(rig, 1)->meta.slot;
    rig_add_drive(rig);
    rig_sync(rig);
    rig_close(rig);
    rig_take_away(rig, 1);
    rig_open(rig);
    struct pool_rebuild_report report = rebuild(rig, "d1", "d5");
    assert_int_equal(report.files, files_of(rig, 1));
    assert_int_equal(report.failed + report.conflicts, 0);
    moved_to(rig, 1, 5);
    assert_null(rig_pool_drive(rig, 1));
    assert_int_equal(rig_pool_drive(rig, 5)->meta.slot, slot);
    assert_int_equal(rig_pool_drive(rig, 5)->meta.state, META_DRIVE_ACTIVE);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify(rig, true);
    rig_sync(rig);
    assert_int_equal(rig->report.added + rig->report.changed + rig->report.vanished, 0);
    assert_int_equal(rig->report.exposed_bytes, 0);
}

static void test_rebuild_in_place(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    unsigned gone = 0;
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].drive == 3 && ++gone)
            rig_ok(drv_unlink(rig->drive[3].raw, rig->file[i].path));
    struct pool_rebuild_report report = rebuild(rig, "d3", NULL);
    assert_int_equal(report.files, gone);
    rig_check_originals(rig);
    rig_sync(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

static void test_rebuild_into_free_space(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    rig_close(rig);
    rig_take_away(rig, 4);
    rig_open(rig);
    struct pool_rebuild_report report = rebuild(rig, "d4", NULL);
    assert_int_equal(report.files, files_of(rig, 4));
    assert_int_equal(report.failed, 0);
    rig_protect_all(rig);
    assert_null(rig_pool_drive(rig, 4)); /* out of the pool */
    for (size_t i = 0; i < rig->files; i++) {
        unsigned places = 0;
        for (unsigned d = 0; d < 4; d++)
            places += rig_original_is_right(rig, d, &rig->file[i]);
        assert_int_equal(places, 1);
    }
    rig_check(rig);
    rig_verify(rig, true);
}

/* Drives away or not answering that are more than the rows make up for: one of them is not given up,
 * neither for free space nor for a fresh drive, unless that is the user's word. */
static void expect_not_given_up(struct rig *rig, const char *drive, const char *onto)
{
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_options options = {.drive = drive, .onto = onto};
    struct pool_rebuild_report report;
    assert_int_equal(pool_rebuild(rig->pool, &job, &options, &report), MRMR_OFFLINE);
    assert_non_null(strstr(mrmr_story_get()->hint, "--accept-losses"));
}

static void test_a_drive_is_not_given_up_beside_too_many(void **state)
{
    struct rig *rig = *state;
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    fill(rig);
    rig_add_drive(rig);
    rig_promise(rig);
    rig_close(rig);
    for (unsigned d = 2; d < 5; d++)
        rig_take_away(rig, d);
    rig_open(rig);
    expect_not_given_up(rig, "d3", NULL);
    expect_not_given_up(rig, "d3", "d5");
    rig_close(rig);
    for (unsigned d = 2; d < 5; d++)
        if (d != 3)
            rig_bring_back(rig, d);
    rig_open(rig);
    for (unsigned d = 0; d < 5; d++) /* none of them answers, though they did a moment ago */
        rig_ok(drv_fault_add(rig->drive[d].fault, &(struct drv_fault_rule){.err = MRMR_IO}, NULL));
    expect_not_given_up(rig, "d3", NULL);
    rig_close(rig);
    rig_clear_faults(rig);
    rig_bring_back(rig, 3);
    rig_open(rig);
    rig_promise_check(rig, 0);
    rig_close(rig);
    for (unsigned d = 2; d < 5; d++)
        rig_take_away(rig, d);
    rig_open(rig);
    rig_ok(pool_rebuild(rig->pool, &job,
        &(struct pool_rebuild_options){.drive = "d3", .accept_losses = true}, &report));
    assert_true(report.failed > 0);
    assert_int_equal(rig_pool_drive(rig, 3)->meta.state, META_DRIVE_RETIRED);
}

/* What a user saved in the place of a lost file stays. */
static void test_rebuild_leaves_another_file_alone(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    rig_ok(drv_unlink(rig->drive[0].raw, "big/0"));
    struct rig_file lost = *rig_find(rig, "big/0");
    rig_put(rig, 0, "big/0", 12345); /* not scanned */
    struct pool_rebuild_report report = rebuild(rig, "d0", NULL);
    assert_int_equal(report.conflicts, 1);
    assert_int_equal(report.files, 0);
    rig_check_originals(rig);
    assert_false(rig_original_is_right(rig, 0, &lost));
}

/* --- Interrupted --- */

static struct mrmr_cancel cancel;

static void tap_cancel(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    atomic_store(&cancel.flag, true);
}

enum what { SYNC, SCRUB, REBUILD };

static mrmr_err run(struct rig *rig, enum what what)
{
    struct pool_job job = rig_job(rig);
    job.cancel = &cancel;
    struct pool_scrub_report scrubbed;
    struct pool_rebuild_report rebuilt;
    if (what == SYNC)
        return pool_sync(rig->pool, &job, NULL, &rig->report);
    if (what == SCRUB)
        return pool_scrub(rig->pool, &job, &(struct pool_scrub_options){.repair = true}, &scrubbed);
    return pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d2"}, &rebuilt);
}

static void cancelled_again_and_again(struct rig *rig, enum what what)
{
    unsigned cancelled = 0;
    for (uint64_t step = 40;; step += 40) {
        atomic_store(&cancel.flag, false);
        rig_tap(rig, DRV_FAULT_ALL, rig_random(rig, step), false, tap_cancel);
        mrmr_err err = run(rig, what);
        rig_untap(rig);
        bool was = err == MRMR_CANCELLED;
        if (!was)
            rig_ok(err);
        cancelled += was;
        rig_findings(rig, false, NULL);
        rig_verify_without(rig, 0x3, false);
        if (!was && !atomic_load(&cancel.flag))
            break;
        if (what == SYNC && cancelled % 2)
            rig_stir(rig);
    }
    assert_true(cancelled > 0);
    atomic_store(&cancel.flag, false);
}

static void test_sync_goes_on_after_cancel(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    for (unsigned i = 0; i < 10; i++)
        rig_stir(rig);
    cancelled_again_and_again(rig, SYNC);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

static void test_scrub_goes_on_after_cancel(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    rig_rot(rig, 2, "big/2", 5);
    cancelled_again_and_again(rig, SCRUB);
    rig_check(rig);
    rig_check_originals(rig);
}

static void test_rebuild_goes_on_after_cancel(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].drive == 2)
            rig_ok(drv_unlink(rig->drive[2].raw, rig->file[i].path));
    cancelled_again_and_again(rig, REBUILD);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* --- What was done is not done again --- */

struct stop {
    uint64_t after; /* items */
};

static void stop_progress(const struct pool_progress *progress, void *arg)
{
    const struct stop *stop = arg;
    if (stop->after && progress->items >= stop->after)
        atomic_store(&cancel.flag, true);
}

static struct pool_job stopping_job(struct stop *stop)
{
    atomic_store(&cancel.flag, false);
    return (struct pool_job){.cancel = &cancel, .progress = stop_progress, .arg = stop};
}

static void test_a_cancelled_scrub_goes_on_where_it_was(void **state)
{
    struct rig *rig = *state;
    fill(rig);
    uint64_t stripes = rig_totals(rig).stripes, done = 0;
    assert_true(stripes >= 4);
    const struct pool_scrub_options options = {.older_than = 3600};
    for (uint64_t run = 0; run < 3; run++) {
        struct stop stop = {.after = run < 2 ? 1 + run : 0};
        struct pool_job job = stopping_job(&stop);
        struct pool_scrub_report report;
        assert_int_equal(
            pool_scrub(rig->pool, &job, &options, &report), run < 2 ? MRMR_CANCELLED : MRMR_OK);
        assert_int_equal(report.stripes, run < 2 ? stop.after : stripes - done);
        done += report.stripes;
        rig_close(rig);
        rig_open(rig);
    }
    assert_int_equal(done, stripes);
    struct pool_job job = rig_job(rig);
    struct pool_scrub_report report;
    rig_ok(pool_scrub(rig->pool, &job, &options, &report));
    assert_int_equal(report.stripes, 0);
}

/* More files on drive 2 than one batch of a rebuild takes. */
static unsigned fill_many(struct rig *rig)
{
    fill(rig);
    for (unsigned i = 0; i < 300; i++) {
        char path[32];
        snprintf(path, sizeof path, "many/%u", i);
        rig_put(rig, 2, path, 100 + i);
    }
    rig_protect_all(rig);
    return files_of(rig, 2);
}

static mrmr_err rebuild_until(struct rig *rig, uint64_t items, const char *drive, const char *onto,
    struct pool_rebuild_report *ret_report)
{
    struct stop stop = {.after = items};
    struct pool_job job = stopping_job(&stop);
    const struct pool_rebuild_options options = {.drive = drive, .onto = onto};
    mrmr_err err = pool_rebuild(rig->pool, &job, &options, ret_report);
    rig_close(rig);
    rig_open(rig);
    return err;
}

static void test_a_cancelled_rebuild_in_place_keeps_what_is_there(void **state)
{
    struct rig *rig = *state;
    struct pool_rebuild_report first, second;
    unsigned all = fill_many(rig);
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].drive == 2)
            rig_ok(drv_unlink(rig->drive[2].raw, rig->file[i].path));
    assert_int_equal(rebuild_until(rig, 1, "d2", NULL, &first), MRMR_CANCELLED);
    assert_true(first.files > 0 && first.files < all);
    rig_ok(rebuild_until(rig, 0, "d2", NULL, &second));
    assert_int_equal(second.files, all - first.files);
    assert_true(second.kept >= first.files); /* and folders */
    assert_int_equal(first.failed + second.failed + first.conflicts + second.conflicts, 0);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    assert_true(rig_verify(rig, true) > 0);
}

static void test_a_cancelled_rebuild_onto_another_goes_on_where_it_was(void **state)
{
    struct rig *rig = *state;
    struct pool_rebuild_report first, second;
    unsigned all = fill_many(rig);
    rig_add_drive(rig);
    rig_sync(rig);
    rig_close(rig);
    rig_take_away(rig, 2);
    rig_open(rig);
    assert_int_equal(rebuild_until(rig, 1, "d2", "d5", &first), MRMR_CANCELLED);
    assert_true(first.files > 0 && first.files < all);
    uint64_t left, bytes;
    rig_ok(meta_todo_totals(
        rig->pool->meta, "rebuild", rig_pool_drive(rig, 5)->meta.id, &left, &bytes));
    assert_true(left > 0 && left < all);
    rig_ok(rebuild_until(rig, 0, "d5", NULL, &second));
    assert_int_equal(second.files, all - first.files);
    assert_int_equal(second.kept, 0);
    assert_int_equal(first.failed + second.failed + first.conflicts + second.conflicts, 0);
    moved_to(rig, 2, 5);
    rig_check_originals(rig);
    rig_protect_all(rig);
    rig_check(rig);
    assert_true(rig_verify(rig, true) > 0);
}

/* A drive that is being rebuilt is there, and not whole: what is still to come back to it counts as
 * missing when the next one is to be given up. */
static void test_no_drive_is_given_up_beside_one_not_whole(void **state)
{
    struct rig *rig = *state;
    struct pool_rebuild_report report;
    fill_many(rig);
    rig_add_drive(rig);
    rig_sync(rig);
    rig_close(rig);
    rig_take_away(rig, 2);
    rig_open(rig);
    assert_int_equal(rebuild_until(rig, 1, "d2", "d5", &report), MRMR_CANCELLED);
    rig_close(rig);
    rig_take_away(rig, 3);
    rig_take_away(rig, 4);
    rig_open(rig);
    expect_not_given_up(rig, "d3", NULL);
    rig_close(rig);
    rig_bring_back(rig, 4);
    rig_open(rig);
    rig_ok(rebuild_until(rig, 0, "d3", NULL, &report)); /* two pieces at most are missing now */
    assert_int_equal(report.failed, 0);
}

#define rig_test(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(test_scrub_finds_nothing_in_a_good_pool),
        rig_test(test_scrub_finds_and_repairs_a_rotten_file),
        rig_test(test_scrub_repairs_rows),
        rig_test(test_scrub_leaves_an_edit_alone),
        cmocka_unit_test(test_scrub_does_not_invent_what_is_lost),
        rig_test(test_scrub_in_parts_comes_to_every_stripe),
        rig_test(test_rebuild_onto_a_fresh_drive),
        rig_test(test_rebuild_in_place),
        rig_test(test_rebuild_into_free_space),
        rig_test(test_a_drive_is_not_given_up_beside_too_many),
        rig_test(test_rebuild_leaves_another_file_alone),
        rig_test(test_sync_goes_on_after_cancel),
        rig_test(test_scrub_goes_on_after_cancel),
        rig_test(test_rebuild_goes_on_after_cancel),
        rig_test(test_a_cancelled_scrub_goes_on_where_it_was),
        rig_test(test_a_cancelled_rebuild_in_place_keeps_what_is_there),
        rig_test(test_a_cancelled_rebuild_onto_another_goes_on_where_it_was),
        rig_test(test_no_drive_is_given_up_beside_one_not_whole),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
