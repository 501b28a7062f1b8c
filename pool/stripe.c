/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One generation of a stripe to the next: the one write path of the pool (design §4, I2).
 *
 * Crash argument. The cut points, in order, and why the data survives the power going at each:
 *
 *  1  before anything: the old generation is whole and is what the catalog names.
 *  2  MAKE intents are in the catalog (one transaction, durable before 3). Old generation as in 1;
 *     start-up finds nothing to remove.
 *  3  new row files are being written under temporary names, synced, named, their folders synced.
 *     The catalog still names the old generation, of which nothing was touched. Start-up removes
 *     the files that the intents name, and their temporary names.
 *  4  the commit: one transaction puts the new image in place of the old, takes what it claims out
 *     of the exposed ranges, turns the MAKE intents into nothing and adds a DROP intent for each old
 *     row. All new rows are durable by then. Before it, 3; after it, 5.
 *  5  old rows are removed. What is left of them is named by DROP intents, which start-up carries
 *     out. An old row on a drive that is away stays in the catalog as a DROP intent: the obsolete
 *     row. It goes when the drive returns.
 *
 * At 4 each drive that takes part is asked once more whether it still carries our session (I5), and
 * the new generation must leave everything wanted with at least the margin it had, counted from
 * what is readable now. Nothing is ever decoded across generations: a view pins one, and a row of a
 * pinned generation is not removed in 5 but by the next settling.
 */
#include "pool/lane.h"

#include "parity/code.h"
#include <stdio.h>
#include <string.h>

enum { CHANGES_AT_ONCE = 2 };

/* One row file being made. */
struct run_row {
    struct run *run;
    struct meta_row *row; /* in change->next */
    struct pool_drive *drive;
    char path[POOL_ROW_PATH];
    int64_t intent;
    struct pool_row_writer *writer;
    bool named; /* finished: the final name is there */
    struct pool_ring ring;
    pthread_t thread;
    bool started;
    struct mrmr_story story;
};

struct run {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_change *change;
    struct pool_view *view, *other_view;
    struct pool_lane *lanes;
    size_t nlanes, lanes_room;
    struct run_row row[META_ROWS_MAX];
    unsigned nrows;
    size_t window;
    struct mrmr_bytes body; /* of the manifests */
};

/* --- What is to be made --- */

static bool run_makes_row(const struct pool_change *change, const struct meta_row *row)
{
    if (!change->rows_only)
        return true;
    const struct meta_row *old = pool_image_row(&change->old, row->index);
    return !old || old->state != META_ROW_OK || old->drive != row->drive;
}

/* I6: another row would be on the same drive, one of next or one of old that stays. */
static bool run_row_meets_row(const struct pool_change *change, const struct meta_row *row)
{
    const struct meta_stripe *next = &change->next, *old = &change->old;
    for (size_t i = 0; i < next->rows; i++)
        if (next->row[i].index != row->index && next->row[i].drive == row->drive)
            return true;
    for (size_t i = 0; change->rows_only && i < old->rows; i++)
        if (old->row[i].index != row->index && old->row[i].drive == row->drive &&
            !pool_image_row(next, old->row[i].index))
            return true;
    return false;
}

static mrmr_err run_plan_rows(struct run *run)
{
    struct meta_stripe *next = &run->change->next;
    for (size_t i = 0; i < next->rows; i++) {
        if (!run_makes_row(run->change, &next->row[i]))
            continue;
        next->row[i].state = META_ROW_OK;
        struct run_row *row = &run->row[run->nrows];
        row->run = run;
        row->row = &next->row[i];
        row->drive = pool_drive_by_id(run->pool, row->row->drive);
        if (!pool_drive_writable(row->drive))
            return mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "it shall take row %u", row->row->index),
                row->drive ? row->drive->meta.name : "?");
        if (pool_image_block(next, row->row->drive) || run_row_meets_row(run->change, row->row))
            return mrmr_fail(MRMR_INTERNAL, "two members of one stripe on one drive");
        pool_row_path(&next->uuid, next->generation, row->row->index, row->path);
        run->nrows++;
    }
    return run->nrows ? MRMR_OK : mrmr_fail(MRMR_INTERNAL, "a generation without rows");
}

static mrmr_err run_add_lane(struct run *run, struct pool_lane **ret_lane)
{
    if (run->nlanes == run->lanes_room)
        return mrmr_fail(MRMR_INTERNAL, "more lanes than members");
    struct pool_lane *lane = &run->lanes[run->nlanes++];
    lane->pool = run->pool;
    lane->job = run->job;
    lane->view = run->view;
    *ret_lane = lane;
    return MRMR_OK;
}

static int by_extent_id(const void *a, const void *b)
{
    int64_t x = (*(const struct meta_extent *const *)a)->id;
    int64_t y = (*(const struct meta_extent *const *)b)->id;
    return x < y ? -1 : x > y;
}

/* The image's extents by id; free(). */
static const struct meta_extent **extents_by_id(const struct meta_stripe *image)
{
    const struct meta_extent **by_id = calloc(image->extents + 1, sizeof *by_id);
    for (size_t i = 0; by_id && i < image->extents; i++)
        by_id[i] = &image->extent[i];
    if (by_id && image->extents)
        qsort(by_id, image->extents, sizeof *by_id, by_extent_id);
    return by_id;
}

static const struct meta_extent *extent_find(
    const struct meta_extent *const *by_id, size_t n, int64_t id)
{
    struct meta_extent key = {.id = id};
    const struct meta_extent *k = &key;
    const struct meta_extent *const *hit =
        n ? bsearch(&k, by_id, n, sizeof *by_id, by_extent_id) : NULL;
    return hit ? *hit : NULL;
}

enum lane_what { LANE_ALL, LANE_NEW };

/* A lane for one block of next: all its extents, or the new ones. None if there is nothing to read.
 */
static mrmr_err run_lane_of_block(struct run *run, const struct meta_block *block,
    enum lane_what what, const struct meta_extent *const *by_id, size_t n)
{
    struct meta_stripe *next = &run->change->next;
    mrmr_autofree struct pool_lane_item *items = calloc(block->extents + 1, sizeof *items);
    if (!items)
        return mrmr_nomem();
    size_t count = 0;
    for (size_t i = 0; i < block->extents; i++) {
        struct meta_extent *extent = &next->extent[block->first_extent + i];
        if (what == LANE_NEW && extent->id)
            continue;
        const struct meta_extent *from = extent->id ? extent_find(by_id, n, extent->id) : NULL;
        if (extent->id && !from)
            return mrmr_fail(MRMR_CHANGED, "an extent is not the stripe's any more");
        items[count++] = (struct pool_lane_item){extent, from};
    }
    if (!count)
        return MRMR_OK;
    struct pool_lane *lane = NULL;
    MRMR_TRY(run_add_lane(run, &lane));
    lane->items = mrmr_steal(items);
    lane->nitems = count;
    lane->slot = block->slot;
    return MRMR_OK;
}

/* A lane for what leaves one block of the old image. */
static mrmr_err run_lane_of_removed(struct run *run, const struct meta_block *block,
    const struct meta_extent *const *kept, size_t nkept)
{
    const struct meta_stripe *old = pool_view_image(run->view);
    mrmr_autofree struct pool_lane_item *items = calloc(block->extents + 1, sizeof *items);
    if (!items)
        return mrmr_nomem();
    size_t count = 0;
    for (size_t i = 0; i < block->extents; i++) {
        struct meta_extent *extent = &old->extent[block->first_extent + i];
        if (!extent_find(kept, nkept, extent->id))
            items[count++] = (struct pool_lane_item){extent, extent};
    }
    if (!count)
        return MRMR_OK;
    struct pool_lane *lane = NULL;
    MRMR_TRY(run_add_lane(run, &lane));
    lane->items = mrmr_steal(items);
    lane->nitems = count;
    lane->slot = block->slot;
    return MRMR_OK;
}

static mrmr_err run_lane_of_row(struct run *run, struct pool_view *view, unsigned index)
{
    struct pool_lane *lane = NULL;
    MRMR_TRY(run_add_lane(run, &lane));
    lane->view = view;
    lane->is_row = true;
    lane->index = index;
    return MRMR_OK;
}

static mrmr_err run_plan_data(struct run *run)
{
    const struct meta_stripe *old = run->view ? pool_view_image(run->view) : &run->change->old;
    mrmr_autofree const struct meta_extent **by_id = extents_by_id(old);
    if (!by_id)
        return mrmr_nomem();
    struct meta_stripe *next = &run->change->next;
    for (size_t i = 0; i < next->blocks; i++)
        MRMR_TRY(run_lane_of_block(run, &next->block[i], LANE_ALL, by_id, old->extents));
    return MRMR_OK;
}

static mrmr_err run_plan_delta(struct run *run)
{
    struct meta_stripe *next = &run->change->next;
    const struct meta_stripe *old = pool_view_image(run->view);
    mrmr_autofree const struct meta_extent **kept = extents_by_id(next);
    if (!kept)
        return mrmr_nomem();
    for (unsigned i = 0; i < run->nrows; i++) {
        MRMR_TRY(run_lane_of_row(run, run->view, run->row[i].row->index));
        if (run->other_view)
            MRMR_TRY(run_lane_of_row(run, run->other_view, run->row[i].row->index));
    }
    for (size_t i = 0; i < next->blocks; i++)
        MRMR_TRY(run_lane_of_block(run, &next->block[i], LANE_NEW, kept, next->extents));
    for (size_t i = 0; i < old->blocks; i++)
        MRMR_TRY(run_lane_of_removed(run, &old->block[i], kept, next->extents));
    return MRMR_OK;
}

static mrmr_err run_size_window(struct run *run)
{
    MRMR_TRY(
        pool_lane_window(run->pool, CHANGES_AT_ONCE * (run->nlanes + run->nrows), &run->window));
    uint64_t length = run->change->next.length;
    for (size_t i = 0; i < run->nlanes; i++) {
        run->lanes[i].window = run->window;
        run->lanes[i].length = length;
    }
    return MRMR_OK;
}

static mrmr_err run_view(
    struct run *run, const struct meta_stripe *image, struct pool_view **ret_view)
{
    if (!image->id)
        return MRMR_OK;
    MRMR_TRY(pool_view_get(run->pool, image->id, ret_view));
    if (pool_view_image(*ret_view)->generation != image->generation)
        return mrmr_fail(MRMR_CHANGED, "the stripe has a newer generation");
    return MRMR_OK;
}

/* Widen, fill and merge need every block and row (I2): a stripe that could lose fewer than its rows
 * already must not gain members. */
static mrmr_err run_check_whole(struct run *run, const struct meta_stripe *image)
{
    if (image->id && pool_image_margin(run->pool, image) != (int)image->rows)
        return mrmr_fail(MRMR_CONFLICT, "a block or row of it is missing or damaged");
    return MRMR_OK;
}

static bool run_gains(const struct pool_change *change)
{
    if (change->other.id)
        return true;
    for (size_t i = 0; change->old.id && i < change->next.extents; i++)
        if (!change->next.extent[i].id)
            return true;
    return false;
}

/* The next generation's number is higher than any that a file of the stripe may carry which was
 * named and never committed: on a drive that went away before it could be undone. */
static mrmr_err run_number_generation(struct run *run)
{
    struct pool_change *change = run->change;
    struct meta_intent intent[4 * META_ROWS_MAX];
    char from[POOL_ROW_PATH], before[POOL_ROW_PATH + 1];
    size_t n;
    if (change->rows_only || !change->old.id)
        return MRMR_OK;
    pool_row_path(&change->next.uuid, 1, 0, from);
    strrchr(from, 'g')[0] = '\0'; /* before the generation */
    snprintf(before, sizeof before, "%s~", from);
    MRMR_TRY(meta_intents_between(run->pool->meta, from + sizeof POOL_DOT, before + sizeof POOL_DOT,
        intent, sizeof intent / sizeof *intent, &n));
    for (size_t i = 0; i < n; i++) {
        struct mrmr_uuid uuid;
        uint64_t generation;
        unsigned index;
        if (pool_row_file_parse(intent[i].file, &uuid, &generation, &index) &&
            generation >= change->next.generation)
            change->next.generation = generation + 1;
    }
    return MRMR_OK;
}

static mrmr_err run_plan(struct run *run)
{
    struct pool_change *change = run->change;
    if (run_gains(change)) {
        MRMR_TRY(run_check_whole(run, &change->old));
        MRMR_TRY(run_check_whole(run, &change->other));
    }
    MRMR_TRY(run_view(run, &change->old, &run->view));
    MRMR_TRY(run_view(run, &change->other, &run->other_view));
    MRMR_TRY(run_number_generation(run));
    MRMR_TRY(run_plan_rows(run));
    run->lanes_room = 2 * META_SLOTS_MAX + 2 * META_ROWS_MAX;
    run->lanes = calloc(run->lanes_room, sizeof *run->lanes);
    if (!run->lanes)
        return mrmr_nomem();
    MRMR_TRY(change->mode == POOL_CHANGE_DATA ? run_plan_data(run) : run_plan_delta(run));
    return run_size_window(run);
}

/* --- Making the rows --- */

static mrmr_err row_thread_run(struct run_row *row)
{
    uint64_t length = row->run->change->next.length;
    for (uint64_t a = 0; a < length; a += row->run->window) {
        uint8_t *buf;
        size_t used;
        MRMR_TRY(pool_ring_get_begin(&row->ring, &buf, &used));
        MRMR_TRY(pool_row_append(row->writer, buf, used));
        pool_ring_get_end(&row->ring);
    }
    return MRMR_OK;
}

static void *row_thread(void *arg)
{
    struct run_row *row = arg;
    mrmr_err err = row_thread_run(row);
    if (err) {
        mrmr_err_drive(err, row->drive->meta.name);
        mrmr_story_save(&row->story);
        row->story.err = err;
        pool_ring_close(&row->ring, err);
    }
    return NULL;
}

static void *row_finish_thread(void *arg)
{
    struct run_row *row = arg;
    mrmr_err err = pool_row_finish(
        row->writer, (unsigned)row->run->change->next.rows, &row->run->body, &row->row->file_size);
    row->named = !err;
    if (err) {
        mrmr_err_drive(err, row->drive->meta.name);
        mrmr_story_save(&row->story);
        row->story.err = err;
    }
    return NULL;
}

static mrmr_err run_start(struct run *run)
{
    for (unsigned i = 0; i < run->nrows; i++) {
        struct run_row *row = &run->row[i];
        MRMR_TRY(pool_ring_init(&row->ring, run->pool->buffers, run->window));
        MRMR_TRY(mrmr_err_drive(pool_row_create(row->drive->drv, &run->change->next.uuid,
                                    run->change->next.generation, row->row->index, &row->writer),
            row->drive->meta.name));
        int posix = pthread_create(&row->thread, NULL, row_thread, row);
        if (posix)
            return mrmr_fail_errno(posix, "start a thread", NULL);
        row->started = true;
    }
    for (size_t i = 0; i < run->nlanes; i++)
        MRMR_TRY(pool_lane_start(&run->lanes[i]));
    return MRMR_OK;
}

/* One window: rows from the lanes' rows (delta, merge) and the lanes' blocks. */
static mrmr_err run_code_window(
    struct run *run, uint8_t *const in[], uint8_t *const out[], size_t size)
{
    struct parity_part parts[2 * META_SLOTS_MAX];
    uint8_t index[META_ROWS_MAX];
    unsigned k = 0;
    for (size_t i = 0; i < run->nlanes; i++)
        if (!run->lanes[i].is_row && in[i])
            parts[k++] = (struct parity_part){run->lanes[i].slot, in[i]};
    for (unsigned j = 0; j < run->nrows; j++)
        index[j] = run->row[j].row->index;
    if (run->change->mode == POOL_CHANGE_DATA)
        return parity_encode(k, parts, run->nrows, index, out, size);
    for (unsigned j = 0; j < run->nrows; j++) {
        memset(out[j], 0, size);
        for (size_t i = 0; i < run->nlanes; i++)
            if (run->lanes[i].is_row && run->lanes[i].index == index[j] && in[i])
                parity_merge(out[j], in[i], size);
    }
    return parity_update(k, parts, run->nrows, index, out, size);
}

static mrmr_err run_window(struct run *run, size_t size)
{
    uint8_t *in[2 * META_SLOTS_MAX + 2 * META_ROWS_MAX], *out[META_ROWS_MAX];
    for (size_t i = 0; i < run->nlanes; i++) {
        size_t used;
        MRMR_TRY(pool_ring_get_begin(&run->lanes[i].ring, &in[i], &used));
        if (!used)
            in[i] = NULL;
    }
    for (unsigned j = 0; j < run->nrows; j++)
        MRMR_TRY(pool_ring_put_begin(&run->row[j].ring, &out[j]));
    MRMR_TRY(run_code_window(run, in, out, size));
    for (unsigned j = 0; j < run->nrows; j++)
        pool_ring_put_end(&run->row[j].ring, size);
    for (size_t i = 0; i < run->nlanes; i++)
        pool_ring_get_end(&run->lanes[i].ring);
    return MRMR_OK;
}

struct row_mark {
    const struct meta_stripe *image;
    struct meta_row row;
};

static mrmr_err row_mark_in(struct meta *meta, void *arg)
{
    const struct row_mark *mark = arg;
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    if (!brief)
        return mrmr_nomem();
    MRMR_TRY(meta_stripe_brief_get(meta, mark->image->id, brief));
    if (brief->generation != mark->image->generation)
        return mrmr_fail(MRMR_CHANGED, "the stripe has a newer generation");
    return meta_row_store(meta, mark->image->id, &mark->row);
}

mrmr_err pool_row_mark(struct pool *pool, const struct pool_job *job,
    const struct meta_stripe *image, const struct meta_row *row, enum meta_row_state state)
{
    struct row_mark mark = {image, *row};
    struct pool_drive *drive = pool_drive_by_id(pool, row->drive);
    char uuid[MRMR_UUID_TEXT];
    mark.row.state = state;
    MRMR_TRY(meta_atomically(pool->meta, row_mark_in, &mark));
    pool_tell(pool, job, true, "damage-found", drive,
        "parity row %u of stripe %s on drive %s is %s; `mrmr sync` makes it again", row->index,
        mrmr_uuid_print(&image->uuid, uuid), drive ? drive->meta.name : "?",
        state == META_ROW_LOST ? "gone" : "damaged");
    return MRMR_OK;
}

/* An old row that a delta needed has rotted: it is not counted on any more, and mend makes it
 * again. */
static void run_note_rotten_row(struct run *run, const struct pool_lane *lane)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    const struct meta_stripe *image = pool_view_image(lane->view);
    const struct meta_row *row = pool_image_row(image, lane->index);
    struct pool_drive *drive = row ? pool_drive_by_id(run->pool, row->drive) : NULL;
    if (drive && row->state == META_ROW_OK && !pool_drive_still_ours(run->pool, drive) &&
        !pool_row_mark(run->pool, NULL, image, row, META_ROW_DAMAGED))
        pool_views_forget(run->pool, image->id);
    mrmr_story_restore(&story);
}

/* End all threads. The error is that of who failed first in causing: a lane's or a row's own story
 * tells more than the ring's. */
static mrmr_err run_join(struct run *run, mrmr_err err)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    for (size_t i = 0; i < run->nlanes; i++) {
        mrmr_err lane_err = pool_lane_join(&run->lanes[i]);
        if (lane_err && lane_err != MRMR_CANCELLED) {
            err = lane_err;
            mrmr_story_save(&story);
            run->change->unstable = run->lanes[i].unstable;
            if (run->lanes[i].is_row && mrmr_class_of(lane_err) == MRMR_CLASS_CORRUPT)
                run_note_rotten_row(run, &run->lanes[i]);
        }
    }
    for (unsigned i = 0; i < run->nrows; i++) {
        struct run_row *row = &run->row[i];
        if (!row->started)
            continue;
        if (err)
            pool_ring_close(&row->ring, MRMR_CANCELLED);
        pthread_join(row->thread, NULL);
        row->started = false;
        if (row->story.err && row->story.err != MRMR_CANCELLED) {
            err = row->story.err;
            story = row->story;
        }
    }
    return err ? (mrmr_story_restore(&story), err) : MRMR_OK;
}

/* Manifest, sync and name of all rows side by side: they lie on different drives. */
static mrmr_err run_finish_rows(struct run *run)
{
    const struct pool_change *change = run->change;
    struct pool_superseded superseded[2];
    size_t n = 0;
    if (change->old.id && !change->rows_only)
        superseded[n++] = (struct pool_superseded){change->old.uuid, change->old.generation};
    if (change->other.id)
        superseded[n++] = (struct pool_superseded){change->other.uuid, change->other.generation};
    MRMR_TRY(pool_manifest_build(run->pool, &change->next, superseded, n, &run->body));
    for (unsigned i = 0; i < run->nrows; i++) {
        int posix = pthread_create(&run->row[i].thread, NULL, row_finish_thread, &run->row[i]);
        if (posix)
            row_finish_thread(&run->row[i]);
        run->row[i].started = !posix;
    }
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; i < run->nrows; i++) {
        if (run->row[i].started)
            pthread_join(run->row[i].thread, NULL);
        run->row[i].started = false;
        if (run->row[i].story.err)
            err = mrmr_story_restore(&run->row[i].story);
    }
    return err;
}

static mrmr_err run_make(struct run *run)
{
    mrmr_err err = run_start(run);
    uint64_t length = run->change->next.length;
    for (uint64_t a = 0; !err && a < length; a += run->window) {
        err = pool_job_poll(run->job);
        if (!err)
            err = run_window(run, a + run->window < length ? run->window : length - a);
    }
    MRMR_TRY(run_join(run, err));
    return run_finish_rows(run);
}

/* --- Intents and commit --- */

/* I2: what is wanted keeps its margin. A generation of fewer rows than asked may still be the
 * better one. */
static mrmr_err run_check_margin(struct run *run)
{
    if (!run->change->old.id || run->change->rows_only)
        return MRMR_OK;
    int before = pool_image_margin(run->pool, &run->change->old);
    if (run->change->other.id) {
        int other = pool_image_margin(run->pool, &run->change->other);
        before = other > before ? other : before;
    }
    int after = pool_image_margin(run->pool, &run->change->next);
    if (after < before)
        return mrmr_fail(MRMR_CONFLICT, "the next generation would lower the margin from %d to %d",
            before, after);
    return MRMR_OK;
}

static mrmr_err run_intend(struct meta *meta, void *arg)
{
    struct run *run = arg;
    for (unsigned i = 0; i < run->nrows; i++) {
        struct meta_intent intent = {.kind = META_INTENT_MAKE, .drive = run->row[i].drive->meta.id};
        snprintf(intent.file, sizeof intent.file, "%s", run->row[i].path + sizeof POOL_DOT);
        MRMR_TRY(meta_intent_add(meta, &intent));
        run->row[i].intent = intent.id;
    }
    return MRMR_OK;
}

static mrmr_err run_unintend(struct meta *meta, void *arg)
{
    struct run *run = arg;
    for (unsigned i = 0; i < run->nrows; i++)
        if (run->row[i].intent)
            MRMR_TRY(meta_intent_remove(meta, run->row[i].intent));
    return MRMR_OK;
}

/* A DROP intent for a row of a superseded generation. */
static mrmr_err run_supersede_row(
    struct run *run, struct meta *meta, const struct meta_stripe *image, const struct meta_row *row)
{
    if (!pool_drive_by_id(run->pool, row->drive))
        return MRMR_OK;
    char path[POOL_ROW_PATH];
    struct meta_intent intent = {.kind = META_INTENT_DROP, .drive = row->drive};
    pool_row_path(&image->uuid, image->generation, row->index, path);
    snprintf(intent.file, sizeof intent.file, "%s", path + sizeof POOL_DOT);
    return meta_intent_add(meta, &intent);
}

static mrmr_err run_supersede(struct run *run, struct meta *meta, const struct meta_stripe *image)
{
    for (size_t i = 0; i < image->rows; i++)
        MRMR_TRY(run_supersede_row(run, meta, image, &image->row[i]));
    return MRMR_OK;
}

static mrmr_err run_commit_rows_only(struct run *run, struct meta *meta)
{
    const struct pool_change *change = run->change;
    struct meta_stripe_brief brief;
    MRMR_TRY(meta_stripe_brief_get(meta, change->next.id, &brief));
    if (brief.generation != change->old.generation)
        return mrmr_fail(MRMR_CHANGED, "the stripe has a newer generation");
    for (unsigned i = 0; i < run->nrows; i++) {
        const struct meta_row *old = pool_image_row(&change->old, run->row[i].row->index);
        if (old && old->drive != run->row[i].row->drive)
            MRMR_TRY(run_supersede_row(run, meta, &change->old, old));
        MRMR_TRY(meta_row_store(meta, change->next.id, run->row[i].row));
    }
    return MRMR_OK;
}

static mrmr_err run_commit_generation(struct run *run, struct meta *meta)
{
    struct pool_change *change = run->change;
    mrmr_autofree struct meta_claim *claims = calloc(change->next.extents + 1, sizeof *claims);
    if (!claims)
        return mrmr_nomem();
    size_t n = 0;
    for (size_t i = 0; i < change->next.extents; i++) {
        const struct meta_extent *extent = &change->next.extent[i];
        if (!extent->id)
            claims[n++] =
                (struct meta_claim){extent->node, extent->version, extent->first, extent->leaves};
    }
    if (change->other.id)
        MRMR_TRY(meta_stripe_remove(meta, change->other.id));
    MRMR_TRY(meta_stripe_store(meta, &change->next, change->old.generation, claims, n));
    MRMR_TRY(run_supersede(run, meta, &change->old));
    return run_supersede(run, meta, &change->other);
}

static mrmr_err run_commit_in(struct meta *meta, void *arg)
{
    struct run *run = arg;
    MRMR_TRY(run->change->rows_only ? run_commit_rows_only(run, meta)
                                    : run_commit_generation(run, meta));
    return run_unintend(meta, run);
}

/* The last look before the commit. */
static mrmr_err run_may_commit(struct run *run)
{
    const struct meta_stripe *next = &run->change->next;
    MRMR_TRY(run_check_margin(run));
    for (unsigned i = 0; i < run->nrows; i++)
        MRMR_TRY(pool_drive_still_ours(run->pool, run->row[i].drive));
    for (size_t i = 0; i < next->blocks; i++) {
        struct pool_drive *drive = pool_drive_by_id(run->pool, next->block[i].drive);
        if (pool_drive_writable(drive))
            MRMR_TRY(pool_drive_still_ours(run->pool, drive));
    }
    return MRMR_OK;
}

/* Remove the rows of a superseded image that can be removed now; the DROP intents stay until the
 * next settling. */
static void run_drop(struct run *run, const struct meta_stripe *image)
{
    for (size_t i = 0; image->id && i < image->rows; i++) {
        const struct meta_row *row = &image->row[i];
        struct pool_drive *drive = pool_drive_by_id(run->pool, row->drive);
        const struct meta_row *next = pool_image_row(&run->change->next, row->index);
        /* Of the same generation only a row that went to another drive is superseded: one that next
         * does not have was left alone, and the catalog counts on it. */
        bool kept = run->change->rows_only && (!next || next->drive == row->drive);
        if (kept || !pool_drive_writable(drive) ||
            pool_view_pinned(run->pool, &image->uuid, image->generation))
            continue;
        char path[POOL_ROW_PATH];
        pool_row_path(&image->uuid, image->generation, row->index, path);
        pool_row_remove(drive->drv, path);
    }
}

/* A row made again in place of a damaged one has its name: old or new, something may depend on what
 * lies there, and only the temporary file is ours to remove. On a drive that has diverged nothing
 * is: another host's file may have the name. */
static mrmr_err run_undo_row(struct run *run, struct run_row *row)
{
    const struct meta_row *old = pool_image_row(&run->change->old, row->row->index);
    pool_row_discard(row->writer);
    row->writer = NULL;
    if (!row->intent)
        return MRMR_OK;
    if (!pool_drive_present(row->drive))
        return MRMR_DIVERGED;
    if (!run->change->rows_only || !old || old->drive != row->row->drive)
        return pool_row_remove(row->drive->drv, row->path);
    char temp[POOL_ROW_PATH + 1];
    snprintf(temp, sizeof temp, "%s~", row->path);
    mrmr_err err = drv_unlink(row->drive->drv, temp);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

/* Nothing was committed: take back what was made. What cannot be removed now is left to the
 * intents. */
static void run_undo(struct run *run)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    bool all = true;
    for (unsigned i = 0; i < run->nrows; i++)
        if (run_undo_row(run, &run->row[i]))
            all = false;
    if (all)
        meta_atomically(run->pool->meta, run_unintend, run);
    mrmr_story_restore(&story);
}

static void run_free(struct run *run)
{
    for (size_t i = 0; i < run->nlanes; i++)
        pool_lane_free(&run->lanes[i]);
    free(run->lanes);
    for (unsigned i = 0; i < run->nrows; i++) {
        pool_row_discard(run->row[i].writer);
        pool_ring_free(&run->row[i].ring);
    }
    mrmr_bytes_free(&run->body);
    pool_view_put(run->pool, run->view);
    pool_view_put(run->pool, run->other_view);
}

/* Drives whose files a new stripe reads are read by one stripe after the other, in the order in
 * which the changes began. */
static void run_queue_up(struct run *run)
{
    if (run->change->old.id)
        return;
    mrmr_locked(&run->pool->turns_lock);
    for (size_t i = 0; i < run->nlanes; i++) {
        const struct pool_lane_item *first = run->lanes[i].items;
        struct pool_drive *drive = first ? pool_drive_by_id(run->pool, first->to->drive) : NULL;
        run->lanes[i].turn_on = drive;
        if (drive)
            run->lanes[i].turn = drive->turns_issued++;
    }
}

/* A drive that takes a row: its session is ours, and its slack is free if the row would not fit
 * beside it. */
static mrmr_err run_ready_drive(struct run *run, struct pool_drive *drive)
{
    MRMR_TRY(pool_drive_attach(run->pool, drive));
    struct drv_space space;
    MRMR_TRY(mrmr_err_drive(drv_space(drive->drv, &space), drive->meta.name));
    if (run->change->old.id && space.avail < pool_row_bound(run->change->next.length))
        return pool_drive_slack_give(run->pool, drive);
    return MRMR_OK;
}

static mrmr_err run_all(struct run *run)
{
    MRMR_TRY(run_plan(run));
    for (unsigned i = 0; i < run->nrows; i++)
        MRMR_TRY(run_ready_drive(run, run->row[i].drive));
    MRMR_TRY(meta_atomically(run->pool->meta, run_intend, run));
    run_queue_up(run);
    mrmr_err err = run_make(run);
    if (!err)
        err = run_may_commit(run);
    if (err) {
        run_undo(run);
        return err;
    }
    err = meta_atomically(run->pool->meta, run_commit_in, run);
    /* After any other failure the transaction may be in the catalog or not: settling looks, and
     * removes what is not. */
    if (err == MRMR_CHANGED)
        run_undo(run);
    return err;
}

mrmr_err pool_change_run(struct pool *pool, const struct pool_job *job, struct pool_change *change)
{
    struct run run = {.pool = pool, .job = job, .change = change};
    change->unstable = 0;
    mrmr_err err = run_all(&run);
    run_free(&run);
    if (err) {
        char uuid[MRMR_UUID_TEXT];
        return mrmr_err_stripe(err, mrmr_uuid_print(&change->next.uuid, uuid));
    }
    if (change->old.id)
        pool_views_forget(pool, change->old.id);
    if (change->other.id)
        pool_views_forget(pool, change->other.id);
    run_drop(&run, &change->old);
    run_drop(&run, &change->other);
    return MRMR_OK;
}

void pool_change_free(struct pool_change *change)
{
    meta_stripe_free(&change->old);
    meta_stripe_free(&change->other);
    meta_stripe_free(&change->next);
}
