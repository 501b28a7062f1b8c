/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mend: stripes that are not what they should be. Blocks that lost bytes, or hold bytes that nobody
 * wants any more, are left out of a new generation; rows that were lost are made again; rows beyond
 * the wanted redundancy go. Exposed stripes come first: this runs before protect.
 *
 * What nobody wants any more, and can still be read, is taken out of the rows by itself (design §4): the old
 * rows and those bytes are read, verified, and nobody else's. Where that cannot be (a row is not
 * there, or wrong; the bytes are gone), or where packing what is left makes the rows much shorter, everything still wanted is
 * read, verified or reconstructed from the old generation, before the new one replaces it (stripe.c). What
 * cannot be read now waits with its old generation untouched, for the drive that may bring it back.
 *
 * A row whose drive is away is made anew on another one, or the stripe waits, with its old bytes retained
 * (I2): a generation of fewer rows is none to wait for that drive with. Only where bytes of the old
 * generation are gone, so that it is an erasure short as it is, a new one of fewer rows may be the better.
 *
 * Crash argument. Rows are made by stripe.c alone. What happens here are single transactions, so a
 * cut leaves the catalog before one or after it:
 *
 *  1  a stripe, or rows beyond the redundancy, are dropped: the rows leave the catalog and get DROP
 *     intents in one step; their files are removed after it, by settling. Before: all still counts.
 *     After: nothing counts on the files, and the intents name them until they are gone.
 *  2  blocks leave a full stripe: mend_evict.c.
 *  3  leaves are given up on the user's word: mend_give_up.c.
 */
#include "pool/jobs/mend.h"
#include "pool/retained/retained.h"

#include <stdio.h>
#include <string.h>

enum { MEND_BATCH = 64 };

static const char mend_no_room[] = "no other drive has room for a row of it";

/* --- The cases --- */

struct mend_drop {
    const struct meta_stripe *stripe;
    unsigned from; /* rows of this index and beyond */
    bool whole;    /* the stripe, too */
    uint64_t rows;
    struct pool *pool;
};

static mrmr_err mend_drop_in(struct meta *meta, void *arg)
{
    struct mend_drop *drop = arg;
    for (size_t i = 0; i < drop->stripe->rows; i++) {
        const struct meta_row *row = &drop->stripe->row[i];
        if (row->index < drop->from)
            continue;
        char path[POOL_ROW_PATH];
        struct meta_intent intent = {.kind = META_INTENT_DROP, .drive = row->drive};
        pool_row_path(&drop->stripe->uuid, drop->stripe->generation, row->index, path);
        snprintf(intent.file, sizeof intent.file, "%s", path + sizeof POOL_DOT);
        if (pool_drive_by_id(drop->pool, row->drive))
            MRMR_TRY(meta_intent_add(meta, &intent));
        if (!drop->whole)
            MRMR_TRY(meta_row_remove(meta, drop->stripe->id, row->index));
        drop->rows++;
    }
    return drop->whole ? meta_stripe_remove(meta, drop->stripe->id) : MRMR_OK;
}

/* Rows beyond the wanted redundancy, or all of a stripe in which nobody wants anything: intents
 * now, files when the intents are settled. */
static mrmr_err mend_drop(
    struct mend *m, const struct meta_stripe *stripe, unsigned from, bool whole)
{
    struct mend_drop drop = {.stripe = stripe, .from = from, .whole = whole, .pool = m->pool};
    MRMR_TRY(meta_atomically(m->pool->meta, mend_drop_in, &drop));
    pool_views_forget(m->pool, stripe->id);
    m->report->rows_dropped += drop.rows;
    return MRMR_OK;
}

/* Rows beyond the redundancy go only where those that stay give at least as much as is asked, or as
 * there is: a high row may be what a block that is away, or a low row that is lost, depends on.
 * Where it is, the low rows are made again first. */
static bool mend_may_drop(struct mend *m, const struct meta_stripe *stripe)
{
    int before = pool_image_margin(m->pool, stripe), after = before;
    for (size_t i = 0; i < stripe->rows; i++)
        if (stripe->row[i].index >= m->redundancy && stripe->row[i].state == META_ROW_OK &&
            pool_drive_present(pool_drive_by_id(m->pool, stripe->row[i].drive)))
            after--;
    return after >= (before < (int)m->redundancy ? before : (int)m->redundancy);
}

struct mend_needs {
    size_t wanted, unwanted, gone, suspect;
    size_t rows_over; /* beyond the redundancy */
    size_t rows_bad;  /* lost, damaged, or of an index above one that there is none of */
};

/* I2, for what the margin does not tell: a row on a drive that is away counts again when that is back. One beyond the redundancy, which may go
 * to another drive beside them (mend_wants_over), stands in for none of these. */
static mrmr_err mend_keeps_rows(
    const struct mend *m, const struct pool_change *change, const struct mend_needs *needs)
{
    size_t had = 0, has = 0, away = 0;
    for (size_t i = 0; i < change->old.rows; i++) {
        const struct meta_row *row = &change->old.row[i];
        if (row->state != META_ROW_OK || row->index >= m->redundancy)
            continue;
        had++;
        away +=
            row->drive != m->leave && !pool_drive_writable(pool_drive_by_id(m->pool, row->drive));
    }
    for (size_t i = 0; i < change->next.rows; i++)
        has += change->next.row[i].index < m->redundancy;
    if (has >= had || needs->gone)
        return MRMR_OK;
    if (!away)
        return mrmr_fail(MRMR_SPACE, mend_no_room);
    return mrmr_fail(MRMR_OFFLINE,
        "a row of it is on a drive that is away or cannot be written, and "
        "no other drive has room for it");
}

/* A new generation of what is wanted, its blocks packed without gaps. */
static mrmr_err mend_encode_anew(
    struct mend *m, struct pool_change *change, const struct mend_needs *needs)
{
    struct pool_image image;
    change->mode = POOL_CHANGE_DATA;
    mrmr_err err = pool_image_start_from(m->pool, &image, &change->old);
    image.head.generation++;
    image.head.made = mrmr_clock_real();
    if (!err)
        err = pool_mend_place_rows(m, &image, NULL, change->old.length);
    if (!err && !image.head.rows)
        err = mrmr_fail(MRMR_SPACE, "no drive has room for a row of it");
    if (!err)
        err = pool_image_finish(m->pool, &image, true, &change->next);
    pool_image_free(&image);
    MRMR_TRY(err);
    MRMR_TRY(mend_keeps_rows(m, change, needs));
    MRMR_TRY(pool_change_run(m->pool, m->job, change));
    m->report->stripes_changed++;
    m->report->rows_made += change->next.rows;
    return MRMR_OK;
}

/* --- Taking out --- */

/* What leaves can be read where it is kept, and every row can be updated where it lies. */
static bool mend_can_update(
    struct mend *m, const struct meta_stripe *stripe, const struct mend_needs *needs)
{
    if (needs->gone || needs->rows_bad || !stripe->rows)
        return false;
    for (size_t i = 0; i < stripe->rows; i++)
        if (!pool_drive_writable(pool_drive_by_id(m->pool, stripe->row[i].drive)))
            return false;
    for (size_t i = 0; i < stripe->extents; i++)
        if (stripe->extent[i].state == META_STALE &&
            !pool_drive_readable(pool_drive_by_id(m->pool, stripe->extent[i].drive)))
            return false;
    return true;
}

/* The length that the longest block would have without gaps. */
static uint64_t mend_packed(const struct meta_stripe *next)
{
    uint64_t longest = 0;
    for (size_t b = 0; b < next->blocks; b++) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < next->block[b].extents; i++)
            bytes += next->extent[next->block[b].first_extent + i].bytes;
        longest = bytes > longest ? bytes : longest;
    }
    return longest;
}

/* The image without what nobody wants, all else in its place. */
static mrmr_err mend_without(struct mend *m, struct pool_change *change)
{
    struct pool_image image;
    mrmr_err err = pool_image_start_from(m->pool, &image, &change->old);
    image.head.generation++;
    image.head.made = mrmr_clock_real();
    if (!err)
        err = pool_image_finish(m->pool, &image, false, &change->next);
    pool_image_free(&image);
    return err;
}

static mrmr_err mend_update(struct mend *m, struct pool_change *change)
{
    change->mode = POOL_CHANGE_DELTA;
    MRMR_TRY(pool_change_run(m->pool, m->job, change));
    m->report->stripes_changed++;
    m->report->rows_made += change->next.rows;
    return MRMR_OK;
}

/* Packing pays where it makes the rows shorter by a quarter at least; for a release it never does. */
static mrmr_err mend_take_out(
    struct mend *m, struct pool_change *change, const struct mend_needs *needs)
{
    if (!mend_can_update(m, &change->old, needs))
        return mend_encode_anew(m, change, needs);
    MRMR_TRY(mend_without(m, change));
    const uint64_t length = change->next.length;
    if (m->release || mend_packed(&change->next) > length - length / 4) {
        mrmr_err err = mend_update(m, change);
        /* A row that is wrong is no row. */
        if (mrmr_class_of(err) != MRMR_CLASS_CORRUPT)
            return err;
        pool_views_forget(m->pool, change->old.id);
    }
    meta_stripe_free(&change->next);
    change->next = (struct meta_stripe){0};
    return mend_encode_anew(m, change, needs);
}

/* Rows that were lost or damaged, made again at the same generation. */
static mrmr_err mend_rows(struct mend *m, struct pool_change *change)
{
    struct pool_image image;
    change->mode = POOL_CHANGE_DATA;
    change->rows_only = true;
    mrmr_err err = pool_image_start_from(m->pool, &image, &change->old);
    if (!err)
        err = pool_mend_place_rows(m, &image, &change->old, change->old.length);
    if (!err)
        err = pool_image_finish(m->pool, &image, false, &change->next);
    pool_image_free(&image);
    MRMR_TRY(err);
    uint64_t made = 0;
    for (size_t i = 0; i < change->next.rows; i++) {
        const struct meta_row *old = pool_image_row(&change->old, change->next.row[i].index);
        made += !old || old->state != META_ROW_OK || old->drive != change->next.row[i].drive;
    }
    if (!made && m->leave)
        return mrmr_fail(MRMR_SPACE, mend_no_room);
    if (!made)
        return pool_mend_deepen(m, &change->old);
    MRMR_TRY(pool_change_run(m->pool, m->job, change));
    m->report->rows_made += made;
    return MRMR_OK;
}

static mrmr_err mend_look(
    struct mend *m, const struct meta_stripe *stripe, struct mend_needs *ret_needs)
{
    struct mend_needs needs = {0};
    for (size_t i = 0; i < stripe->extents; i++) {
        const struct meta_extent *extent = &stripe->extent[i];
        bool counts;
        MRMR_TRY(pool_extent_still_counts(m->pool, extent, &counts));
        needs.suspect += extent->state == META_SUSPECT;
        needs.gone += extent->state == META_GONE;
        if (counts || pool_extent_wanted(extent))
            needs.wanted++;
        else
            needs.unwanted++;
    }
    for (size_t i = 0; i < stripe->rows; i++) {
        needs.rows_over += stripe->row[i].index >= m->redundancy;
        needs.rows_bad += stripe->row[i].state != META_ROW_OK || stripe->row[i].index != i;
    }
    *ret_needs = needs;
    return MRMR_OK;
}

/* A changed file could not be compared yet. What cannot be decoded for a row waits with it, and is not lost. */
static mrmr_err mend_rows_beside_suspects(struct mend *m, struct pool_change *change)
{
    mrmr_err err = mend_rows(m, change);
    if (err != MRMR_LOST)
        return err;
    return mrmr_fail(MRMR_CONFLICT,
        m->leave ? "a row of it has to go elsewhere, and a changed file of it cannot be read, or "
                   "waits to be compared: mrmr sync"
                 : "a row of it is missing, and a changed file of it cannot be read");
}

/* Nothing of it is given up, but rows are made again all the same. */
static mrmr_err mend_beside_suspects(
    struct mend *m, struct pool_change *change, const struct mend_needs *needs)
{
    if (!needs->rows_bad || needs->unwanted)
        return MRMR_OK;
    return mend_rows_beside_suspects(m, change);
}

/* Nothing comes of it on a drive that is not there. */
static bool mend_has_retained(struct mend *m, const struct meta_stripe *stripe)
{
    for (size_t i = 0; i < stripe->extents; i++)
        if (stripe->extent[i].state == META_STALE &&
            pool_drive_writable(pool_drive_by_id(m->pool, stripe->extent[i].drive)))
            return true;
    return false;
}

/* A file that is to be compared yet is left in its place, with the others. */
static mrmr_err mend_release(struct mend *m, struct pool_change *change)
{
    struct mend_needs needs;
    if (!mend_has_retained(m, &change->old))
        return MRMR_OK;
    MRMR_TRY(mend_look(m, &change->old, &needs));
    if (!needs.wanted)
        return mend_drop(m, &change->old, 0, true);
    if (!needs.unwanted)
        return MRMR_OK;
    if (needs.suspect && !mend_can_update(m, &change->old, &needs))
        return mrmr_fail(MRMR_CONFLICT, "a changed file of it waits to be compared: mrmr sync");
    return mend_take_out(m, change, &needs);
}

static bool mend_has_member(const struct meta_stripe *stripe, int64_t drive)
{
    for (size_t i = 0; i < stripe->rows; i++)
        if (stripe->row[i].drive == drive)
            return true;
    return pool_image_block(stripe, drive) != NULL;
}

/* A row on the drive that is left goes to another one, if the stripe has something on the drive whose
 * place that one takes. */
static mrmr_err mend_leave(struct mend *m, struct pool_change *change)
{
    struct mend_needs needs;
    if (!mend_has_member(&change->old, m->leave_to))
        return MRMR_OK;
    MRMR_TRY(mend_look(m, &change->old, &needs));
    if (!needs.wanted)
        return mend_drop(m, &change->old, 0, true);
    if (needs.unwanted && needs.suspect)
        return mrmr_fail(MRMR_CONFLICT, "a changed file of it waits to be compared: mrmr sync");
    if (needs.suspect)
        return mend_rows_beside_suspects(m, change);
    return needs.unwanted ? mend_encode_anew(m, change, &needs) : mend_rows(m, change);
}

static mrmr_err mend_stripe(struct mend *m, struct pool_change *change)
{
    if (m->release)
        return mend_release(m, change);
    if (m->leave)
        return mend_leave(m, change);
    struct mend_needs needs;
    MRMR_TRY(mend_look(m, &change->old, &needs));
    if (!needs.wanted)
        return mend_drop(m, &change->old, 0, true);
    if (needs.rows_over && mend_may_drop(m, &change->old))
        return mend_drop(m, &change->old, m->redundancy, false);
    if (needs.suspect)
        return mend_beside_suspects(m, change, &needs);
    if (needs.unwanted)
        return mend_take_out(m, change, &needs);
    return needs.rows_bad || needs.rows_over ? mend_rows(m, change)
                                             : pool_mend_deepen(m, &change->old);
}

static bool mend_has_rows_over(struct mend *m, const struct meta_stripe *stripe)
{
    for (size_t i = 0; i < stripe->rows; i++)
        if (stripe->row[i].index >= m->redundancy)
            return true;
    return false;
}

/* Rows are dropped by what the margin is without them, which must not be hearsay. */
static mrmr_err mend_try(struct mend *m, int64_t id, struct pool_change *change)
{
    bool lost = false;
    MRMR_TRY(meta_stripe_load(m->pool->meta, id, &change->old));
    if (!m->release && mend_has_rows_over(m, &change->old))
        MRMR_TRY(pool_retained_confirm(m->pool, m->job, &change->old, &lost));
    if (lost) {
        pool_views_forget(m->pool, id);
        pool_change_free(change);
        *change = (struct pool_change){0};
        MRMR_TRY(meta_stripe_load(m->pool->meta, id, &change->old));
    }
    return mend_stripe(m, change);
}

/* A release tells of what waits once, as a whole: it runs often. */
static void mend_tell(struct mend *m, const struct pool_change *change, mrmr_err err)
{
    if (m->cause && !m->cause[0])
        mrmr_story_print(mrmr_story_get(), m->cause, POOL_MEND_CAUSE);
    if (m->release) {
        mrmr_log_story(MRMR_LOG_INFO, "what nobody wants of a stripe stays in it for now");
        return;
    }
    if (err == MRMR_LOST)
        m->report->lost_bytes += change->old.length;
    pool_tell_story(m->pool, m->job, true, err == MRMR_LOST ? "lost" : "stripe-waits", NULL,
        "a stripe cannot be encoded anew now and stays as it is");
}

/* What concerns one stripe is told and does not end the job. A writer that does not let itself be
 * stopped concerns all. */
static mrmr_err mend_one(struct mend *m, int64_t id)
{
    struct pool_change change = {0};
    mrmr_err err = mend_try(m, id, &change);
    if (err == MRMR_LOST && m->accept) {
        err = pool_mend_give_up(m, &change.old);
        pool_change_free(&change);
        change = (struct pool_change){0};
        if (!err)
            err = mend_try(m, id, &change);
    }
    if (err && err != MRMR_CANCELLED && !mrmr_ran_short(err) && err != MRMR_BUSY) {
        m->waits++;
        mend_tell(m, &change, err);
        err = MRMR_OK;
    }
    pool_change_free(&change);
    return err;
}

static void mend_progress(struct mend *m)
{
    if (m->job && m->job->progress)
        m->job->progress(&(struct pool_progress){.phase = "mend", .items = m->done}, m->job->arg);
}

mrmr_err pool_mend(struct pool *pool, const struct pool_job *job, bool accept_losses,
    struct pool_sync_report *report)
{
    struct mend m = {.pool = pool,
        .job = job,
        .report = report,
        .redundancy = pool_redundancy(pool),
        .accept = accept_losses};
    int64_t ids[MEND_BATCH], after = 0;
    for (;;) {
        size_t n;
        MRMR_TRY(meta_stripes_to_mend(pool->meta, after, m.redundancy, ids, MEND_BATCH, &n));
        if (!n)
            break;
        for (size_t i = 0; i < n; i++) {
            MRMR_TRY(pool_job_poll(job));
            MRMR_TRY(mend_one(&m, ids[i]));
            m.done++;
            mend_progress(&m);
        }
        after = ids[n - 1];
    }
    MRMR_TRY(pool_intents_settle(pool));
    return MRMR_OK;
}

mrmr_err pool_mend_leave(struct pool *pool, const struct pool_job *job, int64_t drive, int64_t to,
    struct pool_sync_report *report, char ret_cause[POOL_MEND_CAUSE])
{
    struct mend m = {.pool = pool,
        .job = job,
        .report = report,
        .redundancy = pool_redundancy(pool),
        .leave = drive,
        .leave_to = to,
        .cause = ret_cause};
    int64_t ids[MEND_BATCH], after = 0;
    size_t n;
    ret_cause[0] = '\0';
    do {
        MRMR_TRY(meta_stripes_of_drive(pool->meta, drive, after, ids, MEND_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            MRMR_TRY(pool_job_poll(job));
            MRMR_TRY(mend_one(&m, ids[i]));
            after = ids[i];
            m.done++;
            mend_progress(&m);
        }
    } while (n);
    return pool_intents_settle(pool);
}

static bool mend_turn_is_over(const struct mend *m)
{
    return m->until && mrmr_clock_monotonic() >= m->until;
}

mrmr_err pool_mend_release(struct pool *pool, const struct pool_job *job,
    struct pool_mend_turn *turn, struct pool_sync_report *report)
{
    struct mend m = {.pool = pool,
        .job = job,
        .report = report,
        .redundancy = pool_redundancy(pool),
        .release = true,
        .cause = turn->cause,
        .until = turn->until};
    int64_t ids[MEND_BATCH];
    size_t n = 1;
    while (n && !mend_turn_is_over(&m)) {
        MRMR_TRY(meta_stripes_to_mend(pool->meta, turn->at, m.redundancy, ids, MEND_BATCH, &n));
        for (size_t i = 0; i < n && !mend_turn_is_over(&m); i++) {
            MRMR_TRY(pool_job_poll(job));
            MRMR_TRY(mend_one(&m, ids[i]));
            turn->at = ids[i];
            m.done++;
            mend_progress(&m);
        }
    }
    turn->all = !n;
    turn->waits += m.waits;
    return pool_intents_settle(pool);
}
