/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/scenario.h"
#include "pool/records/touched.h"
#include "tests/support/kept.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_DRIVES = 5, LOST = 1 };

static void fill(struct rig *rig)
{
    for (unsigned d = 0; d < FIRST_DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "big/%u", d);
        rig_put(rig, d, path, RIG_MIB + rig_random(rig, RIG_MIB / 4));
    }
    rig_fill(rig, 0, FIRST_DRIVES, 4, 100 * 1024);
    rig_protect_all(rig);
}

/* --- Sync of changes of every kind --- */

static void sync_prepare(struct rig *rig)
{
    for (unsigned d = 0; d < 3; d++) { /* a stripe of its own, of which nothing changes */
        char path[32];
        snprintf(path, sizeof path, "keep/%u", d);
        rig_put(rig, d, path, RIG_MIB);
    }
    rig_protect_all(rig);
    fill(rig);
    rig_append(rig, "big/0", 300 * 1024);
    rig_edit(rig, "big/1", 1000, 100);
    rig_unlink(rig, "big/2");
    rig_put(rig, 3, "big/3", RIG_MIB + 5);
    rig_rename(rig, "big/4", "moved");
    rig_put(rig, 2, "new/two", RIG_MIB + 77);
    rig_put(rig, 0, "new/zero", 3000);
}

static mrmr_err sync_run(struct rig *rig)
{
    struct pool_job job = rig_job(rig);
    return pool_sync(rig->pool, &job, NULL, &rig->report);
}

/* --- Scrub that finds rot in files and rows --- */

struct a_row {
    struct rig *rig;
    unsigned rotten;
};

static mrmr_err rot_row(const struct meta_stripe_brief *brief, void *arg)
{
    struct a_row *a = arg;
    if (a->rotten || !brief->rows)
        return MRMR_OK;
    char path[POOL_ROW_PATH];
    pool_row_path(&brief->uuid, brief->generation, brief->row[0].index, path);
    rig_rot(a->rig, (unsigned)brief->row[0].drive - 1, path, brief->length / 2);
    a->rotten++;
    return MRMR_OK;
}

static void scrub_prepare(struct rig *rig)
{
    fill(rig);
    struct a_row a = {.rig = rig};
    rig_ok(meta_stripes(rig->pool->meta, rot_row, &a));
    rig_rot(rig, 0, "big/0", RIG_MIB - 3);
}

static mrmr_err scrub_run(struct rig *rig)
{
    struct pool_job job = rig_job(rig);
    struct pool_scrub_options options = {.repair = true};
    struct pool_scrub_report report;
    return pool_scrub(rig->pool, &job, &options, &report);
}

/* --- Rebuild of a lost drive onto a fresh one --- */

static void onto_prepare(struct rig *rig)
{
    fill(rig);
    rig_add_drive(rig);
    rig_sync(rig);
    rig_take_away(rig, LOST);
    rig_close(rig);
    rig_open(rig);
}

static mrmr_err onto_run(struct rig *rig)
{
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    struct pool_rebuild_options options = {.drive = "d1", .onto = "d5"};
    if (!rig_pool_drive(rig, LOST)) /* d5 has taken its place already */
        options = (struct pool_rebuild_options){.drive = "d5"};
    return pool_rebuild(rig->pool, &job, &options, &report);
}

/* --- Rebuild into free space --- */

static void away_prepare(struct rig *rig)
{
    fill(rig);
    rig_take_away(rig, LOST);
    rig_close(rig);
    rig_open(rig);
}

static mrmr_err away_run(struct rig *rig)
{
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    struct pool_rebuild_options options = {.drive = "d1"};
    if (!rig_pool_drive(rig, LOST))
        return MRMR_OK;
    return pool_rebuild(rig->pool, &job, &options, &report);
}

/* --- Rebuild of files that vanished from a drive that is there --- */

static void place_prepare(struct rig *rig)
{
    fill(rig);
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].drive == LOST)
            rig_ok(drv_unlink(rig->drive[LOST].raw, rig->file[i].path));
}

static mrmr_err place_run(struct rig *rig)
{
    return away_run(rig);
}

/* --- Redundancy up and down --- */

static mrmr_err redundancy_run_to(struct rig *rig, unsigned rows)
{
    MRMR_TRY(pool_set_redundancy(rig->pool, rows));
    return sync_run(rig);
}

static mrmr_err up_run(struct rig *rig)
{
    return redundancy_run_to(rig, 3);
}

static mrmr_err down_run(struct rig *rig)
{
    return redundancy_run_to(rig, 1);
}

/* --- Two stripes that become one --- */

/* Its first block's file, unless that is on the drive that is left out (0: none). */
static int64_t first_file(struct rig *rig, int64_t stripe, int64_t without, char path[64])
{
    struct meta_stripe image = {0};
    int64_t drive = 0;
    rig_ok(meta_stripe_load(rig->pool->meta, stripe, &image));
    for (size_t i = 0; i < image.blocks && !drive; i++) {
        if (image.block[i].drive == without)
            continue;
        mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
        rig_ok(meta_path(rig->pool->meta, image.extent[image.block[i].first_extent].node, &name));
        snprintf(path, 64, "%s", name.data);
        drive = image.block[i].drive;
    }
    meta_stripe_free(&image);
    assert_true(drive > 0);
    return drive;
}

static size_t count_stripes(struct rig *rig, int64_t ids[8])
{
    size_t n;
    rig_ok(meta_stripes_to_scrub(rig->pool->meta, -1, 0, INT64_MAX, ids, 8, &n));
    return n;
}

void scenario_two_stripes_with_more(struct rig *rig)
{
    uint64_t block;
    int64_t ids[8];
    char path[64], keep[2][64];
    rig_ok(pool_block_size(rig->pool, &block));
    for (unsigned i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "%c", 'a' + (int)i);
        rig_put(rig, i % 4, path, block);
    }
    rig_protect_all(rig);
    assert_true(count_stripes(rig, ids) >= 2);
    /* One drive's block stays in one of them and another's in the other, whichever they are. */
    int64_t drive = first_file(rig, ids[0], 0, keep[0]);
    first_file(rig, ids[1], drive, keep[1]);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "%c", 'a' + (int)i);
        if (strcmp(path, keep[0]) != 0 && strcmp(path, keep[1]) != 0)
            rig_unlink(rig, path);
    }
}

void scenario_two_stripes(struct rig *rig)
{
    int64_t ids[8];
    scenario_two_stripes_with_more(rig);
    struct pool_job job = rig_job(rig); /* drives that are empty now are the user's word here */
    rig_ok(pool_scan(rig->pool, &job, true, &rig->report));
    rig_ok(pool_compare(rig->pool, &job, &rig->report));
    rig_ok(pool_mend(rig->pool, &job, false, &rig->report));
    assert_int_equal(count_stripes(rig, ids), 2);
}

static mrmr_err merge_run(struct rig *rig)
{
    MRMR_TRY(sync_run(rig));
    struct pool_job job = rig_job(rig);
    struct pool_sync_report report = {.stripes_changed = 1}; /* others may merge now */
    return pool_protect(rig->pool, &job, NULL, &report);
}

static void merge_done(struct rig *rig)
{
    int64_t ids[8];
    assert_int_equal(count_stripes(rig, ids), 1);
}

/* --- A release --- */

/* As the mount does it: recorded, and kept whole. */
static void remove_kept(struct rig *rig, const char *path)
{
    struct meta_node node = rig_node(rig, path);
    struct pool_drive *drive = pool_drive_by_id(rig->pool, node.drive);
    struct pool_retained_leaf *leaves = NULL;
    char kept[POOL_RETAINED_PATH];
    size_t n;
    bool known;
    int fd;
    rig_ok(pool_retained_counted(rig->pool, drive, path, node.ino, &leaves, &n, &known));
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, node.drive, node.ino, 0));
    close(fd);
    rig_ok(pool_retained_keep(drive->drv, path, leaves, n, POOL_RETAINED_MOVE, kept));
    free(leaves);
    rig_find(rig, path)->there = false;
}

/* Of three drives two files each; one of them is the longest of its stripe. */
static void release_prepare(struct rig *rig)
{
    char path[64];
    for (unsigned i = 0; i < 15; i++) {
        snprintf(path, sizeof path, "r%u", i);
        rig_put(rig, i % 5, path, RIG_MIB / 2 + i * 30000 + (i == 1) * RIG_MIB);
    }
    rig_protect_all(rig);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "r%u", i);
        if (i % 5 < 3)
            remove_kept(rig, path);
    }
}

/* No byte is left on any drive: rows are made in the slack. Folders are on somebody's disk, which is not to be filled. */
static void release_full_prepare(struct rig *rig)
{
    static uint8_t buf[4096];
    rig_ok(pool_set(rig->pool, "exclude", "ballast"));
    release_prepare(rig);
    for (unsigned d = 0; rig->kind != RIG_LOCAL && d < rig->n; d++) {
        struct drv_file *file = NULL;
        rig_ok(drv_file_open(
            rig->drive[d].raw, "ballast", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
        for (uint64_t at = 0; !drv_file_write(file, at, buf, sizeof buf); at += sizeof buf) {
        }
        drv_file_close(file);
    }
}

static mrmr_err release_run(struct rig *rig)
{
    const struct pool_sync_options options = {.release = true};
    struct pool_job job = rig_job(rig);
    return pool_sync(rig->pool, &job, &options, &rig->report);
}

static void release_done(struct rig *rig)
{
    assert_true(rig->report.stripes_changed > 0);
    assert_int_equal(rig->report.release_waits, 0);
    for (unsigned d = 0; d < rig->n; d++)
        assert_int_equal(count_retained(rig, d), 0);
}

const struct scenario scenarios[] = {
    {"sync", sync_prepare, sync_run, 0, 0, true, NULL},
    {"first-sync", NULL, sync_run, 0, 0, true, NULL},
    {"scrub", scrub_prepare, scrub_run, 0, 0, false, NULL},
    {"rebuild-onto", onto_prepare, onto_run, 0, 0, false, NULL},
    {"rebuild-away", away_prepare, away_run, 0, 0, false, NULL},
    {"rebuild-in-place", place_prepare, place_run, 0, 0, false, NULL},
    {"redundancy-up", fill, up_run, 0, 0, false, NULL},
    {"redundancy-down", fill, down_run, 0, 0, false, NULL},
    {"release", release_prepare, release_run, 0, 0, false, release_done},
    {"release-full", release_full_prepare, release_run, 0, 0, false, release_done},
    {"merge", scenario_two_stripes, merge_run, 6, 1, false, merge_done},
};
const size_t nscenarios = sizeof scenarios / sizeof *scenarios;

struct rig *scenario_begin(const struct scenario *scenario, enum rig_kind kind, uint64_t seed)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind,
        .drives = scenario->drives ? scenario->drives : FIRST_DRIVES,
        .redundancy = scenario->redundancy,
        .block = RIG_MIB,
        .size = 64 * RIG_MIB,
        .seed = seed});
    if (scenario->prepare)
        scenario->prepare(rig);
    else
        rig_fill(rig, 0, FIRST_DRIVES, 4, RIG_MIB / 2);
    rig_promise(rig);
    rig_close(rig);
    if (kind != RIG_LOCAL)
        rig_sync_drives(rig);
    return rig;
}

/* What fills drives goes. While they are full, what was cut may leave no room for all rows: what was promised holds, and the rest is exposed. */
static void make_room(struct rig *rig)
{
    for (unsigned d = 0; d < rig->n; d++)
        (void)!drv_unlink(rig->drive[d].raw, "ballast");
}

void scenario_end(const struct scenario *scenario, struct rig *rig, unsigned spent)
{
    char first[512];
    rig_open(rig);
    /* Rot that was not found yet is a finding, as it should be: then only what does not read bytes
     * is looked at. */
    if (rig_findings(rig, !rig->rotten, first))
        fail_msg("pool_check: %s", first);
    uint64_t leaves = rig_promise_check(rig, spent), bytes = rig_verify(rig, false);
    assert_true(bytes > 0 || !leaves);
    /* A repair that took its word back leaves a file with another ctime: it is compared by the next
     * sync and repaired by the next scrub. */
    for (unsigned i = 0; i < 2; i++) {
        rig_ok(scenario->run(rig));
        rig_protect_all(rig);
        make_room(rig);
    }
    if (getenv("MRMR_VERBOSE"))
        rig_print_stripes(rig);
    rig_check(rig);
    rig_verify(rig, true);
    /* What a rebuild brought back lies where the catalog says. */
    for (size_t i = 0; i < rig->files; i++) {
        struct rig_file *file = &rig->file[i];
        bool right = !file->there;
        for (unsigned d = 0; d < rig->n && !right; d++)
            right = rig_pool_drive(rig, d) && rig_present(rig, d) &&
                    rig_original_is_right(rig, d, file);
        if (!right)
            fail_msg("%s is nowhere as its user left it", file->path);
    }
    rig_destroy(rig);
}

int64_t scenario_measure(const struct scenario *scenario, enum rig_kind kind, uint64_t seed,
    const uint32_t ops[], size_t n, uint64_t ret_calls[])
{
    struct rig *rig = scenario_begin(scenario, kind, seed);
    rig_open(rig);
    if (scenario->prepare) { /* what is promised is more than a word */
        assert_true(rig_promise_check(rig, 0) > 0);
        assert_true(rig_verify(rig, false) > 0);
    }
    rig_close(rig);
    for (size_t i = 0; i < n; i++)
        ret_calls[i] = rig_calls(rig, ops[i]);
    int64_t start = mrmr_clock_monotonic();
    rig_open(rig);
    rig_ok(scenario->run(rig));
    if (scenario->done)
        scenario->done(rig);
    rig_close(rig);
    int64_t ns = mrmr_clock_monotonic() - start;
    for (size_t i = 0; i < n; i++)
        ret_calls[i] = rig_calls(rig, ops[i]) - ret_calls[i];
    scenario_end(scenario, rig, 0);
    return ns;
}
