/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Scrub: is everything that stripes count on still there, and do the rows still give it back?
 *
 * A stripe is read once, all its drives in parallel: every leaf against its digest, every row
 * against its digests and against the rows that its blocks give (I7). Only where something is wrong
 * is it looked at leaf by leaf, to tell an edit (size, time or inode differ from the catalog: the
 * next scan takes it in) from rot (the file is as it was, its bytes are not). Findings go into the
 * catalog stripe by stripe, so an interrupted scrub goes on where it was. Nothing on a drive is
 * changed, except by repair.c with --repair.
 */
#include "pool/drive/failing.h"
#include "pool/events/noted.h"
#include "pool/stripe/lane.h"
#include "pool/stripe/manifest.h"
#include "pool/stripe/rot.h"

#include "base/text.h"
#include "parity/code.h"
#include <string.h>

enum { SCRUB_BATCH = 32 };

struct scrub {
    struct pool *pool;
    const struct pool_job *job;
    const struct pool_scrub_options *options;
    struct pool_scrub_report *report;
    int64_t edited; /* the last file counted as edited: its leaves come one after another */
};

/* --- The fast look: everything at once --- */

struct look {
    struct scrub *scrub;
    struct pool_view *view;
    struct pool_lane *lanes; /* blocks, then rows */
    size_t nlanes, blocks;
    size_t window;
    uint8_t *row[META_ROWS_MAX]; /* what the blocks give */
    uint32_t wrong;              /* rows that differ, by index */
};

static void look_free(struct look *look)
{
    for (size_t i = 0; i < look->nlanes; i++) {
        pool_lane_join(&look->lanes[i]);
        pool_lane_free(&look->lanes[i]);
    }
    for (unsigned i = 0; i < META_ROWS_MAX; i++)
        pool_buffers_put(look->scrub->pool->buffers, look->row[i], look->window);
    free(look->lanes);
}

static mrmr_err look_prepare(struct look *look)
{
    const struct meta_stripe *image = pool_view_image(look->view);
    look->lanes = calloc(image->blocks + image->rows, sizeof *look->lanes);
    if (!look->lanes)
        return mrmr_nomem();
    MRMR_TRY(pool_lane_window(look->scrub->pool, image->blocks + 2 * image->rows, &look->window));
    for (size_t i = 0; i < image->blocks + image->rows; i++) {
        struct pool_lane *lane = &look->lanes[look->nlanes++];
        lane->pool = look->scrub->pool;
        lane->job = look->scrub->job;
        lane->view = look->view;
        lane->length = image->length;
        lane->window = look->window;
        lane->how = POOL_LEAF_DIRECT;
        if (i >= image->blocks) {
            lane->is_row = true;
            lane->index = image->row[i - image->blocks].index;
            continue;
        }
        const struct meta_block *block = &image->block[i];
        lane->slot = block->slot;
        lane->nitems = block->extents;
        lane->items = calloc(block->extents, sizeof *lane->items);
        if (!lane->items)
            return mrmr_nomem();
        for (size_t e = 0; e < block->extents; e++)
            lane->items[e].from = lane->items[e].to = &image->extent[block->first_extent + e];
    }
    look->blocks = image->blocks;
    for (size_t i = 0; i < image->rows; i++)
        if (!(look->row[i] = pool_buffers_get(look->scrub->pool->buffers, look->window)))
            return mrmr_nomem();
    return MRMR_OK;
}

static mrmr_err look_window(struct look *look, size_t size)
{
    struct parity_part parts[META_SLOTS_MAX] = {0};
    uint8_t index[META_ROWS_MAX] = {0}, *got[META_ROWS_MAX];
    unsigned k = 0, m = 0;
    for (size_t i = 0; i < look->nlanes; i++) {
        struct pool_lane *lane = &look->lanes[i];
        uint8_t *buf;
        size_t used;
        MRMR_TRY(pool_ring_get_begin(&lane->ring, &buf, &used));
        if (lane->is_row) {
            index[m] = (uint8_t)lane->index;
            got[m++] = buf;
        } else if (used) {
            parts[k++] = (struct parity_part){lane->slot, buf};
        }
        look->scrub->report->bytes += used;
    }
    MRMR_TRY(parity_encode(k, parts, m, index, look->row, size));
    for (unsigned j = 0; j < m; j++)
        if (memcmp(look->row[j], got[j], size) != 0)
            look->wrong |= UINT32_C(1) << index[j];
    for (size_t i = 0; i < look->nlanes; i++)
        pool_ring_get_end(&look->lanes[i].ring);
    return MRMR_OK;
}

static mrmr_err look_run(struct look *look)
{
    MRMR_TRY(look_prepare(look));
    for (size_t i = 0; i < look->nlanes; i++)
        MRMR_TRY(pool_lane_start(&look->lanes[i]));
    uint64_t length = pool_view_image(look->view)->length;
    for (uint64_t a = 0; a < length; a += look->window)
        MRMR_TRY(look_window(look, a + look->window < length ? look->window : length - a));
    return MRMR_OK;
}

/* Everything is there and right, or *ret_wrong names the rows that differ from what the blocks
 * give; an error says only that the stripe must be looked at closely. */
static mrmr_err scrub_look(struct scrub *scrub, struct pool_view *view, uint32_t *ret_wrong)
{
    struct look look = {.scrub = scrub, .view = view};
    const struct meta_stripe *image = pool_view_image(view);
    for (size_t i = 0; i < image->extents; i++)
        if (image->extent[i].state != META_LIVE && image->extent[i].state != META_STALE)
            return mrmr_fail(MRMR_CORRUPT, "known to be incomplete");
    mrmr_err err = look_run(&look);
    *ret_wrong = look.wrong;
    look_free(&look);
    return err;
}

/* A manifest that does not parse is no help when the catalog is lost, whatever its digests say.
 * Rows that cannot be read at all are the look's. */
static mrmr_err scrub_manifests(
    struct scrub *scrub, const struct meta_stripe *image, uint32_t *wrong)
{
    for (size_t i = 0; i < image->rows; i++) {
        const struct meta_row *row = &image->row[i];
        const struct pool_drive *drive = pool_drive_by_id(scrub->pool, row->drive);
        struct pool_manifest *manifest = NULL;
        struct drv_stat stat;
        char path[POOL_ROW_PATH];
        if (row->state != META_ROW_OK || !pool_drive_readable(drive))
            continue;
        pool_row_path(&image->uuid, image->generation, row->index, path);
        mrmr_err err = pool_manifest_read(drive->drv, path, &manifest);
        pool_manifest_free(manifest);
        if (mrmr_ran_short(err))
            return err;
        if (mrmr_class_of(err) == MRMR_CLASS_CORRUPT ||
            (!err && !drv_stat(drive->drv, path, &stat) && stat.size != row->file_size))
            *wrong |= UINT32_C(1) << row->index;
    }
    return MRMR_OK;
}

/* --- The close look: leaf by leaf --- */

static void scrub_tell_leaf(struct scrub *scrub, const struct meta_extent *extent, uint64_t leaf)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct pool_drive *drive = pool_drive_by_id(scrub->pool, extent->drive);
    if (meta_path(scrub->pool->meta, extent->node, &path))
        return;
    pool_tell(scrub->pool, scrub->job, true, "damage-found", drive,
        "'%s' on drive %s is damaged at byte %llu: its bytes changed although nobody wrote to it; "
        "`mrmr scrub --repair` replaces it by its right content",
        path.data, drive ? drive->meta.name : "?",
        (unsigned long long)((extent->first + leaf) * META_LEAF));
}

static void scrub_count(
    struct scrub *scrub, const struct meta_extent *extent, uint64_t leaf, enum rot_finding finding)
{
    struct pool_scrub_report *report = scrub->report;
    if (finding == ROT_FOUND) {
        report->damaged++;
        report->damaged_bytes += pool_leaf_size(extent, leaf);
        scrub_tell_leaf(scrub, extent, leaf);
    } else if (finding == ROT_EDITED && scrub->edited != extent->node) {
        report->edited++;
        scrub->edited = extent->node;
    }
}

/* The leaf's state after what was found: rot is remembered, and forgotten when the bytes are right
 * again. */
static enum meta_extent_state scrub_next_state(
    enum meta_extent_state state, enum rot_finding finding)
{
    if (finding == ROT_NOT_KEPT)
        return META_GONE;
    if (state == META_LIVE && finding == ROT_FOUND)
        return META_MISSING;
    if (state == META_MISSING && finding == ROT_NONE)
        return META_LIVE;
    return state;
}

/* Out of service by the user's word: that its bytes are not looked at is no news. */
static bool scrub_is_detached(const struct scrub *scrub, int64_t id)
{
    const struct pool_drive *drive = pool_drive_by_id(scrub->pool, id);
    return drive && drive->presence == POOL_DETACHED;
}

static mrmr_err scrub_extent(
    struct scrub *scrub, struct pool_view *view, const struct meta_extent *extent, bool *ret_seen)
{
    mrmr_autofree struct meta_verdict *verdict = calloc(extent->leaves, sizeof *verdict);
    mrmr_autofree void *buf = malloc(META_LEAF);
    if (!verdict || !buf)
        return mrmr_nomem();
    bool changed = false, rotten = false;
    for (uint64_t i = 0; i < extent->leaves; i++) {
        MRMR_TRY(pool_job_poll(scrub->job));
        mrmr_err err = pool_leaf_read(scrub->pool, view, extent, i, POOL_LEAF_DIRECT, buf, NULL);
        enum rot_finding finding = err ? rot_judge(scrub->pool, extent, err) : ROT_NONE;
        scrub_count(scrub, extent, i, finding);
        verdict[i] = (struct meta_verdict){1, scrub_next_state(extent->state, finding), false};
        changed = changed || verdict[i].state != extent->state;
        rotten = rotten || finding == ROT_FOUND;
        *ret_seen =
            *ret_seen && (finding != ROT_UNKNOWN || scrub_is_detached(scrub, extent->drive));
    }
    if (changed)
        MRMR_TRY(meta_extent_judge(scrub->pool->meta, extent->id, verdict, extent->leaves));
    if (rotten && scrub->options->repair)
        MRMR_TRY(meta_todo_add(scrub->pool->meta, "repair", extent->node));
    return MRMR_OK;
}

/* Its drive says what became of the file: else nothing is known about the row. */
static bool scrub_row_answers(
    struct scrub *scrub, const struct meta_stripe *image, const struct meta_row *row)
{
    struct pool_drive *drive = pool_drive_by_id(scrub->pool, row->drive);
    char path[POOL_ROW_PATH];
    struct drv_stat stat;
    pool_row_path(&image->uuid, image->generation, row->index, path);
    return pool_drive_readable(drive) &&
           mrmr_class_of(drv_stat(drive->drv, path, &stat)) != MRMR_CLASS_UNAVAILABLE;
}

static mrmr_err scrub_row(struct scrub *scrub, struct pool_view *view, const struct meta_row *row,
    bool differs, bool *ret_seen)
{
    const struct meta_stripe *image = pool_view_image(view);
    mrmr_autofree void *buf = malloc(META_LEAF);
    if (!buf)
        return mrmr_nomem();
    mrmr_err err = MRMR_OK;
    for (uint64_t leaf = 0; !err && leaf * META_LEAF < image->length; leaf++) {
        size_t size;
        MRMR_TRY(pool_job_poll(scrub->job));
        err = pool_view_row_leaves(scrub->pool, view, row->index, leaf, 1, buf, &size);
    }
    if (mrmr_ran_short(err))
        return err;
    if (err && !scrub_row_answers(scrub, image, row)) {
        *ret_seen = *ret_seen && scrub_is_detached(scrub, row->drive);
        return MRMR_OK;
    }
    if (!err && !differs)
        return MRMR_OK;
    bool gone = mrmr_class_of(err) == MRMR_CLASS_ABSENT;
    scrub->report->rows_damaged++;
    return pool_row_mark(
        scrub->pool, scrub->job, image, row, gone ? META_ROW_LOST : META_ROW_DAMAGED);
}

static mrmr_err scrub_closely(struct scrub *scrub, struct pool_view *view, uint32_t wrong)
{
    const struct meta_stripe *image = pool_view_image(view);
    bool seen = true;
    for (size_t i = 0; i < image->extents; i++) {
        const struct meta_extent *extent = &image->extent[i];
        if (extent->state != META_GONE && extent->state != META_SUSPECT)
            MRMR_TRY(scrub_extent(scrub, view, extent, &seen));
    }
    for (size_t i = 0; i < image->rows; i++)
        if (image->row[i].state == META_ROW_OK)
            MRMR_TRY(scrub_row(scrub, view, &image->row[i],
                (wrong & UINT32_C(1) << image->row[i].index) != 0, &seen));
    scrub->report->unreadable += !seen;
    pool_views_forget(scrub->pool, image->id);
    return MRMR_OK;
}

/* --- The job --- */

static mrmr_err scrub_stripe(struct scrub *scrub, int64_t id)
{
    struct pool_view *view = NULL;
    mrmr_err err = pool_view_get(scrub->pool, id, &view);
    if (err == MRMR_NO_STRIPE)
        return MRMR_OK;
    MRMR_TRY(err);
    uint32_t wrong = 0, differ = 0;
    err = scrub_manifests(scrub, pool_view_image(view), &wrong);
    if (!err)
        err = scrub_look(scrub, view, &differ);
    wrong |= differ;
    if (err == MRMR_CANCELLED || mrmr_ran_short(err)) {
        pool_view_put(scrub->pool, view);
        return err;
    }
    err = err || wrong ? scrub_closely(scrub, view, wrong) : MRMR_OK;
    pool_view_put(scrub->pool, view);
    MRMR_TRY(err);
    scrub->report->stripes++;
    return meta_stripe_scrubbed(scrub->pool->meta, id, mrmr_clock_real());
}

static void scrub_progress(struct scrub *scrub)
{
    const struct pool_scrub_report *report = scrub->report;
    if (scrub->job && scrub->job->progress)
        scrub->job->progress(&(struct pool_progress){.phase = "scrub",
                                 .bytes = report->bytes,
                                 .items = report->stripes,
                                 .items_total = report->stripes_total},
            scrub->job->arg);
}

/* Those scrubbed longest ago first; what this run scrubs falls out of the selection by its time. */
static mrmr_err scrub_all(struct scrub *scrub)
{
    int64_t start = mrmr_clock_real(), ids[SCRUB_BATCH], last_time = -1, last_id = 0;
    int64_t before = start - (int64_t)scrub->options->older_than * MRMR_NS_PER_S;
    struct meta_totals totals;
    MRMR_TRY(meta_totals(scrub->pool->meta, 0, &totals));
    unsigned percent = scrub->options->percent ? scrub->options->percent : 100;
    const uint64_t part = (totals.stripes * percent + 99) / 100, done = scrub->options->done;
    uint64_t left = done < part ? part - done : 0;
    scrub->report->stripes_total = left;
    while (left) {
        size_t n;
        MRMR_TRY(meta_stripes_to_scrub(scrub->pool->meta, last_time, last_id, before, ids,
            left < SCRUB_BATCH ? left : SCRUB_BATCH, &n));
        if (!n)
            break;
        for (size_t i = 0; i < n; i++) {
            struct meta_stripe_brief *brief = malloc(sizeof *brief);
            if (!brief)
                return mrmr_nomem();
            mrmr_err err = meta_stripe_brief_get(scrub->pool->meta, ids[i], brief);
            if (!err) {
                last_time = brief->scrubbed;
                last_id = ids[i];
            }
            free(brief);
            MRMR_TRY(err);
            MRMR_TRY(pool_job_poll(scrub->job));
            MRMR_TRY(scrub_stripe(scrub, ids[i]));
            scrub_progress(scrub);
        }
        left -= n;
    }
    return MRMR_OK;
}

static mrmr_err scrub_repair_files(struct scrub *scrub)
{
    int64_t node, after = 0;
    size_t n;
    for (;;) {
        MRMR_TRY(meta_todo_after(scrub->pool->meta, "repair", after, &node, 1, &n));
        if (!n)
            return MRMR_OK;
        after = node;
        mrmr_err err = pool_repair_node(scrub->pool, scrub->job, node, false);
        if (err == MRMR_CANCELLED || err == MRMR_BUSY)
            return err;
        if (err) {
            scrub->report->lost += err == MRMR_LOST;
            pool_tell_story(scrub->pool, scrub->job, true,
                err == MRMR_LOST ? "lost" : "repair-failed", NULL, "not repaired");
        } else {
            scrub->report->repaired++;
        }
        MRMR_TRY(meta_todo_done(scrub->pool->meta, "repair", node));
    }
}

/* The report is the caller's to show: no notice. */
static void scrub_tell(const struct scrub *scrub)
{
    const struct pool_scrub_report *r = scrub->report;
    char size[MRMR_TEXT_SHORT];
    const bool look = r->lost || r->unreadable || r->rows_damaged > r->rows_repaired ||
                      (r->damaged && !scrub->options->repair);
    pool_tell(scrub->pool, NULL, look, "scrub-done", NULL,
        "scrub%s: %llu of %llu stripes read (%s); damaged: %llu leaves of files, %llu parity rows; "
        "repaired: %llu files, %llu rows; %llu files not repaired; %llu stripes not read in full",
        scrub->options->done ? " (the last piece of one that was cut short)" : "",
        (unsigned long long)r->stripes, (unsigned long long)r->stripes_total,
        mrmr_text_print_size(r->bytes, size), (unsigned long long)r->damaged,
        (unsigned long long)r->rows_damaged, (unsigned long long)r->repaired,
        (unsigned long long)r->rows_repaired, (unsigned long long)r->lost,
        (unsigned long long)r->unreadable);
}

mrmr_err pool_scrub(struct pool *pool, const struct pool_job *job,
    const struct pool_scrub_options *options, struct pool_scrub_report *ret_report)
{
    struct pool_scrub_report report = {0};
    pool_views_forget(pool, 0); /* an open file of a row says nothing about its name */
    struct scrub scrub = {.pool = pool, .job = job, .options = options, .report = &report};
    if (options->percent > 100)
        return mrmr_fail(MRMR_INVALID, "%u percent is more than all", options->percent);
    MRMR_TRY(pool_noted_take(pool, job)); /* what readers found is looked at first */
    mrmr_err err = scrub_all(&scrub);
    if (!err && options->repair)
        err = scrub_repair_files(&scrub);
    if (!err && options->repair) {
        struct pool_sync_report mended = {0};
        err = pool_mend(pool, job, false, &mended);
        report.rows_repaired = mended.rows_made;
    }
    pool_failing_tell(pool, job);
    if (!err) {
        scrub_tell(&scrub); /* before the catalog is copied: copies have it, too */
        err = pool_catalog_copy(pool, job, POOL_COPIES_VERIFIED, &report.copies_damaged);
    }
    *ret_report = report;
    return err;
}
