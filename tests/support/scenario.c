/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/scenario.h"

#include <stdio.h>
#include <string.h>

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
    return pool_sync(rig->pool, &job, false, &rig->report);
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

const struct scenario scenarios[] = {
    {"sync", sync_prepare, sync_run},
    {"first-sync", NULL, sync_run},
    {"scrub", scrub_prepare, scrub_run},
    {"rebuild-onto", onto_prepare, onto_run},
    {"rebuild-away", away_prepare, away_run},
    {"rebuild-in-place", place_prepare, place_run},
    {"redundancy-up", fill, up_run},
    {"redundancy-down", fill, down_run},
};
const size_t nscenarios = sizeof scenarios / sizeof *scenarios;

struct rig *scenario_begin(const struct scenario *scenario, enum rig_kind kind, uint64_t seed)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind,
        .drives = FIRST_DRIVES,
        .block = RIG_MIB,
        .size = 64 * RIG_MIB,
        .seed = seed});
    if (scenario->prepare)
        scenario->prepare(rig);
    else
        rig_fill(rig, 0, FIRST_DRIVES, 4, RIG_MIB / 2);
    rig_close(rig);
    if (kind != RIG_LOCAL)
        rig_sync_drives(rig);
    return rig;
}

void scenario_end(const struct scenario *scenario, struct rig *rig)
{
    char first[512];
    rig_open(rig);
    /* Rot that was not found yet is a finding, as it should be: then only what does not read bytes
     * is looked at. */
    if (rig_findings(rig, !rig->rotten, first))
        fail_msg("pool_check: %s", first);
    rig_verify(rig, false);
    /* A repair that took its word back leaves a file with another ctime: it is compared by the next
     * sync and repaired by the next scrub. */
    for (unsigned i = 0; i < 2; i++) {
        rig_ok(scenario->run(rig));
        rig_protect_all(rig);
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
