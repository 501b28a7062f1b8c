/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The making of a generation's rows: lanes read, each on a thread of its own, window by window; the
 * caller's thread codes; each row is written by a thread of its own. Then all rows get their
 * manifest, are synced and named side by side (cut point 3 of stripe.c's crash argument).
 */
#include "pool/stripe/stripe.h"

#include "parity/code.h"
#include <string.h>

static mrmr_err row_thread_run(struct pool_run_row *row)
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
    struct pool_run_row *row = arg;
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
    struct pool_run_row *row = arg;
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

static mrmr_err run_start(struct pool_run *run)
{
    for (unsigned i = 0; i < run->nrows; i++) {
        struct pool_run_row *row = &run->row[i];
        MRMR_TRY(pool_ring_init(&row->ring, run->pool->buffers, run->window));
        MRMR_TRY(mrmr_err_drive(pool_row_create_in(row->drive->drv, &run->change->next.uuid,
                                    run->change->next.generation, row->row->index,
                                    row->slack ? POOL_SLACK : NULL, &row->writer),
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
    struct pool_run *run, uint8_t *const in[], uint8_t *const out[], size_t size)
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

static mrmr_err run_window(struct pool_run *run, size_t size)
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
static void run_note_rotten_row(struct pool_run *run, const struct pool_lane *lane)
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
static mrmr_err run_join(struct pool_run *run, mrmr_err err)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    for (size_t i = 0; i < run->nlanes; i++) {
        mrmr_err lane_err = pool_lane_join(&run->lanes[i]);
        if (lane_err && lane_err != MRMR_CANCELLED) {
            err = lane_err;
            mrmr_story_save(&story);
            run->change->unstable = run->lanes[i].unstable;
            run->change->overwritten = run->lanes[i].cut && run->since.life;
            if (run->lanes[i].is_row && mrmr_class_of(lane_err) == MRMR_CLASS_CORRUPT)
                run_note_rotten_row(run, &run->lanes[i]);
        }
    }
    for (unsigned i = 0; i < run->nrows; i++) {
        struct pool_run_row *row = &run->row[i];
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
static mrmr_err run_finish_rows(struct pool_run *run)
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

mrmr_err pool_run_make(struct pool_run *run)
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
