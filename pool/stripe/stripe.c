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
 *     the files that the intents name, and their temporary names. Where it ends here without a cut, the files are removed at
 *     once, durably, and only then the intents.
 *  4  the commit: one transaction puts the new image in place of the old, takes what it claims out
 *     of the exposed ranges, turns the MAKE intents into nothing and adds a DROP intent for each old
 *     row. All new rows are durable by then. Before it, 3; after it, 5.
 *  5  old rows are removed. What is left of them is named by DROP intents, which start-up carries
 *     out. An old row on a drive that is away stays in the catalog as a DROP intent: the obsolete
 *     row. It goes when the drive returns.
 *
 * Before 4 each drive that takes part is asked once more whether it still carries our session (I5),
 * and the new generation must leave everything wanted with at least the margin it had, counted from
 * what is readable now. That is asked while writers still write, for a drive that hangs would take
 * them along, and again if they did not stand still within a moment. They stand still for 4 itself, and for a moment before 2. What is
 * written between the two through MRMR is seen at 4: by the stat of each file that is claimed; or, of one that was written to after the scan, and whose stat
 * is another all the time, by what is noted of each leaf (written.h). What is claimed of that one was read after the moment and not written to
 * since, and the file does not end before it; the catalog goes on having the stat of the scan, so the next one compares the file. Who
 * writes to such a file on its drive besides, in that time, is not seen: it is as if he did so just after 4, and the next scan finds it. Nothing is ever decoded across generations: a view pins one, and a row of a
 * pinned generation is not removed in 5 but by the next settling.
 */
#include "pool/stripe/stripe.h"
#include "pool/drive/hung.h"
#include "pool/records/direct.h"
#include "pool/records/touched.h"

#include <stdio.h>
#include <string.h>

/* --- Intents and commit --- */

/* I2: what is wanted keeps its margin. A generation of fewer rows than asked may still be the
 * better one. */
static mrmr_err run_check_margin(struct pool_run *run)
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
    struct pool_run *run = arg;
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
    struct pool_run *run = arg;
    for (unsigned i = 0; i < run->nrows; i++)
        if (run->row[i].intent)
            MRMR_TRY(meta_intent_remove(meta, run->row[i].intent));
    return MRMR_OK;
}

/* A DROP intent for a row of a superseded generation. */
static mrmr_err run_supersede_row(struct pool_run *run, struct meta *meta,
    const struct meta_stripe *image, const struct meta_row *row)
{
    if (!pool_drive_by_id(run->pool, row->drive))
        return MRMR_OK;
    char path[POOL_ROW_PATH];
    struct meta_intent intent = {.kind = META_INTENT_DROP, .drive = row->drive};
    pool_row_path(&image->uuid, image->generation, row->index, path);
    snprintf(intent.file, sizeof intent.file, "%s", path + sizeof POOL_DOT);
    return meta_intent_add(meta, &intent);
}

static mrmr_err run_supersede(
    struct pool_run *run, struct meta *meta, const struct meta_stripe *image)
{
    for (size_t i = 0; i < image->rows; i++)
        MRMR_TRY(run_supersede_row(run, meta, image, &image->row[i]));
    return MRMR_OK;
}

static mrmr_err run_commit_rows_only(struct pool_run *run, struct meta *meta)
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

static mrmr_err run_commit_generation(struct pool_run *run, struct meta *meta)
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
    struct pool_run *run = arg;
    MRMR_TRY(run->change->rows_only ? run_commit_rows_only(run, meta)
                                    : run_commit_generation(run, meta));
    return run_unintend(meta, run);
}

/* Some bytes of the block are new in it. */
static bool run_claims_of(const struct meta_stripe *next, const struct meta_block *block)
{
    for (size_t i = 0; i < block->extents; i++)
        if (!next->extent[block->first_extent + i].id)
            return true;
    return false;
}

/* The last look before the commit, not older than a moment when the writers stand still. */
static mrmr_err run_may_commit(void *arg)
{
    struct pool_run *run = arg;
    const struct meta_stripe *next = &run->change->next;
    MRMR_TRY(run_check_margin(run));
    for (unsigned i = 0; i < run->nrows; i++)
        MRMR_TRY(pool_drive_still_ours(run->pool, run->row[i].drive));
    for (size_t i = 0; i < next->blocks; i++) {
        struct pool_drive *drive = pool_drive_by_id(run->pool, next->block[i].drive);
        if (pool_drive_writable(drive))
            MRMR_TRY(pool_drive_still_ours(run->pool, drive));
        else if (run_claims_of(next, &next->block[i]) && !pool_drive_present(drive))
            return mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "it is not ours any more, or is away"),
                drive ? drive->meta.name : "?");
    }
    return MRMR_OK;
}

static bool run_gave_slack(const struct pool_run *run, const struct pool_drive *drive)
{
    for (unsigned i = 0; i < run->ngave; i++)
        if (run->gave[i] == drive)
            return true;
    return false;
}

/* A row of the next generation was made in the drive's slack, or in what was free without it: what it replaces takes its place. */
static bool run_used_slack(const struct pool_run *run, const struct pool_drive *drive)
{
    for (unsigned i = 0; i < run->nrows; i++)
        if (run->row[i].slack && run->row[i].drive == drive)
            return true;
    return run_gave_slack(run, drive);
}

/* Remove the rows of a superseded image that can be removed now; the DROP intents stay until the
 * next settling. */
static void run_drop(struct pool_run *run, const struct meta_stripe *image)
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
        if (!run_used_slack(run, drive) || pool_drive_slack_put(drive, path))
            pool_row_remove(drive->drv, path);
    }
}

/* What was the slack may have been longer than what is now. */
static void run_keep_slack(struct pool_run *run)
{
    for (unsigned i = 0; i < run->nrows; i++)
        if (run_used_slack(run, run->row[i].drive) &&
            pool_drive_slack_keep(run->pool, run->row[i].drive))
            mrmr_log_story(MRMR_LOG_INFO, "keeping slack");
}

/* A row made again in place of a damaged one has its name: old or new, something may depend on what
 * lies there, and only the temporary file is ours to remove. On a drive that has diverged nothing
 * is: another host's file may have the name. */
static mrmr_err run_remove_row(struct pool_run *run, struct pool_run_row *row)
{
    const struct meta_row *old = pool_image_row(&run->change->old, row->row->index);
    if (!pool_drive_present(row->drive))
        return MRMR_DIVERGED;
    const bool replaces = run->change->rows_only && old && old->drive == row->row->drive;
    if (row->slack && row->named && !replaces && !pool_drive_slack_put(row->drive, row->path))
        return MRMR_OK;
    if (!replaces)
        return pool_row_remove(row->drive->drv, row->path);
    char temp[POOL_ROW_PATH + 1];
    snprintf(temp, sizeof temp, "%s~", row->path);
    mrmr_err err = drv_unlink(row->drive->drv, temp);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

/* The intent goes only when it is durable that the file has gone: it may come back with the power, and nobody would know it. */
static mrmr_err run_undo_row(struct pool_run *run, struct pool_run_row *row)
{
    char folder[POOL_ROW_PATH];
    pool_row_discard(row->writer);
    row->writer = NULL;
    if (!row->intent)
        return MRMR_OK;
    MRMR_TRY(run_remove_row(run, row));
    snprintf(folder, sizeof folder, "%s", row->path);
    *strrchr(folder, '/') = '\0';
    mrmr_err err = drv_dir_sync(row->drive->drv, folder);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

/* Nothing was committed: take back what was made. What cannot be removed now is left to the
 * intents. */
static void run_undo(struct pool_run *run)
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

static void run_free(struct pool_run *run)
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
static void run_queue_up(struct pool_run *run)
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

static mrmr_err run_give_slack(struct pool_run *run, struct pool_drive *drive)
{
    MRMR_TRY(pool_drive_slack_give(run->pool, drive));
    if (!run_gave_slack(run, drive))
        run->gave[run->ngave++] = drive;
    return MRMR_OK;
}

/* A drive that takes a row: its session is ours, and its slack is free if the row would not fit
 * beside it. */
static mrmr_err run_ready_row(struct pool_run *run, struct pool_run_row *row)
{
    const uint64_t bytes = pool_row_bound(run->change->next.length);
    struct pool_drive *drive = row->drive;
    MRMR_TRY(pool_drive_attach(run->pool, drive));
    struct drv_space space;
    MRMR_TRY(mrmr_err_drive(drv_space(drive->drv, &space), drive->meta.name));
    if (!run->change->old.id || space.avail >= bytes)
        return MRMR_OK;
    /* What comes behind the payload is some blocks, mostly as many as behind the one that it replaces. */
    row->slack = pool_drive_slack_has(drive, run->change->next.length);
    return row->slack ? MRMR_OK : run_give_slack(run, drive);
}

/* The drives of whose files something is claimed: what is late on others makes no difference. */
static size_t run_claimed(const struct pool_run *run, int64_t ret_drives[META_SLOTS_MAX])
{
    const struct meta_stripe *next = &run->change->next;
    size_t n = 0;
    for (size_t i = 0; i < next->blocks; i++)
        if (run_claims_of(next, &next->block[i]))
            ret_drives[n++] = next->block[i].drive;
    return n;
}

/* Writers stand still. What is in use directly is not claimed, and not even read (direct.h). */
static mrmr_err run_claims_direct(struct pool_run *run)
{
    int64_t node;
    mrmr_err err = pool_direct_claims(run->pool, &run->change->next, &node);
    if (err == MRMR_CHANGED)
        run->change->unstable = node;
    return err;
}

/* Whoever writes from now on has come since. */
static mrmr_err run_begin(struct pool_run *run)
{
    int64_t claimed[META_SLOTS_MAX];
    MRMR_TRY(pool_stop_for(run->pool, run->job, claimed, run_claimed(run, claimed)));
    mrmr_err err = pool_writers_turn(run->pool->writers, &run->turn);
    run->since = pool_written_begin(run->pool);
    if (!err)
        err = run_claims_direct(run);
    pool_writers_go(run->pool->writers);
    return err;
}

/* At the commit, at the files of new extents, one after another. */
struct claiming {
    struct pool_run *run;
    struct pool_paths paths;
    struct pool_touched touched;
    struct pool_written_table written;
    struct meta_node node; /* looked at last; id 0: none yet */
    uint64_t size;         /* that its file has now */
    bool hot;              /* not as it was read: leaf by leaf */
};

static void claiming_free(struct claiming *c)
{
    pool_paths_free(&c->paths);
    pool_touched_free(&c->touched);
    pool_written_free(&c->written);
}

static mrmr_err claim_changed(void)
{
    return mrmr_fail(MRMR_CHANGED, "it was written to while it was being protected");
}

/* What was written since it was read is known. */
static mrmr_err claim_hot(struct claiming *c)
{
    const struct pool_written_since since = c->run->since;
    c->hot = true;
    if (!c->written.life)
        MRMR_TRY(pool_written_load(c->run->pool, &c->written));
    return since.life && since.life == c->written.life ? MRMR_OK : claim_changed();
}

/* The file is as it was read, but for what was written to it. */
static mrmr_err claim_file(struct claiming *c, int64_t node)
{
    struct pool *pool = c->run->pool;
    struct drv_stat stat;
    const char *path;
    c->hot = false;
    MRMR_TRY(meta_node_get(pool->meta, node, &c->node));
    const struct pool_drive *drive = pool_drive_by_id(pool, c->node.drive);
    MRMR_TRY(pool_paths_get(pool, &c->paths, node, &path));
    if (!pool_drive_readable(drive) || drv_stat(drive->drv, path, &stat) ||
        pool_touched_hides(&c->touched, drive, stat.ino))
        return claim_changed();
    if (pool_stat_same(&drive->info, &c->node, &stat) == POOL_SAME)
        return MRMR_OK;
    c->size = stat.size;
    return pool_lane_hot(pool, drive, &c->node, &stat) ? claim_hot(c) : claim_changed();
}

/* Another has cut it off, or written to it, since it was read. */
static bool claim_is_of_the_past(const struct claiming *c, uint64_t leaf)
{
    return pool_leaf_is_cut(&c->node, leaf, c->size) ||
           pool_written_has(&c->written, c->run->since, c->node.drive, c->node.ino, leaf);
}

static mrmr_err claim_extent(struct claiming *c, const struct meta_extent *extent)
{
    struct pool_change *change = c->run->change;
    change->unstable = extent->node;
    if (c->node.id != extent->node)
        MRMR_TRY(claim_file(c, extent->node));
    for (uint64_t i = 0; c->hot && !change->overwritten && i < extent->leaves; i++)
        change->overwritten = claim_is_of_the_past(c, extent->first + i);
    if (change->overwritten)
        return claim_changed();
    change->unstable = 0;
    return MRMR_OK;
}

/* On some drive that it claims of a stat does not tell all (touched.h). */
static bool run_claims_what_hides(struct pool_run *run)
{
    const struct meta_stripe *next = &run->change->next;
    for (size_t i = 0; i < next->blocks; i++) {
        const struct pool_drive *drive = pool_drive_by_id(run->pool, next->block[i].drive);
        if (drive && !(drive->info.caps & DRV_CAP_STABLE_CTIME))
            return true;
    }
    return false;
}

/* Writers stand still. What was written through them since the files were read cancels the claim: a
 * look at each file tells, for it was older than a clock tick when its first byte was read; or, where
 * a time that is set back would hide it, that it was touched since the last scan began. Of a file that is written to all the time
 * it cancels what claims the leaves that it touched. */
static mrmr_err run_claims_same(struct pool_run *run)
{
    const struct meta_stripe *next = &run->change->next;
    struct claiming c = {.run = run};
    mrmr_err err = MRMR_OK;
    uint64_t turn;
    MRMR_TRY(pool_writers_turn(run->pool->writers, &turn));
    if (turn == run->turn)
        return MRMR_OK;
    MRMR_TRY(run_claims_direct(run));
    if (run_claims_what_hides(run))
        MRMR_TRY(pool_touched_load(run->pool, &c.touched));
    for (size_t i = 0; !err && i < next->extents; i++)
        if (!next->extent[i].id)
            err = claim_extent(&c, &next->extent[i]);
    claiming_free(&c);
    return err;
}

/* I3: what is claimed and what is written are decided under one lock. *ret_tried: the commit was
 * begun. */
static mrmr_err run_commit(struct pool_run *run, bool *ret_tried)
{
    struct pool_writers *writers = run->pool->writers;
    int64_t claimed[META_SLOTS_MAX];
    MRMR_TRY(pool_stop_for_after(
        run->pool, run->job, claimed, run_claimed(run, claimed), run_may_commit, run));
    mrmr_err err = run_claims_same(run);
    if (!err)
        err = pool_writers_new_epoch(writers);
    if (!err) {
        *ret_tried = true;
        err = meta_atomically(run->pool->meta, run_commit_in, run);
    }
    pool_writers_go(writers);
    return err;
}

static mrmr_err run_all(struct pool_run *run)
{
    MRMR_TRY(run_begin(run));
    MRMR_TRY(pool_run_plan(run));
    for (unsigned i = 0; i < run->nrows; i++)
        MRMR_TRY(run_ready_row(run, &run->row[i]));
    MRMR_TRY(meta_atomically(run->pool->meta, run_intend, run));
    run_queue_up(run);
    bool tried = false;
    mrmr_err err = pool_run_make(run);
    if (!err)
        err = run_commit(run, &tried);
    /* After a commit that failed in any other way the transaction may be in the catalog or not:
     * settling looks, and removes what is not. */
    if (err && (!tried || err == MRMR_CHANGED))
        run_undo(run);
    return err;
}

/* A row did not fit where the drive had said that there was room, or into the slack's blocks: it was longer than they, with not a
 * block beside; or the file system writes nothing over in place, as btrfs. With all of the slack free it may have room after all, if nobody else
 * takes it. Each time there is one slack less that can be given. */
static bool run_gives_slack(struct pool_run *run)
{
    struct mrmr_story story;
    bool gave = false;
    mrmr_story_save(&story);
    for (unsigned i = 0; run->change->old.id && i < run->nrows; i++) {
        const struct pool_run_row *row = &run->row[i];
        if (strcmp(story.drive, row->drive->meta.name) != 0)
            continue;
        const bool there = row->slack || pool_drive_slack_has(row->drive, 1);
        gave = (there && !run_give_slack(run, row->drive)) || gave;
    }
    mrmr_story_restore(&story);
    return gave;
}

mrmr_err pool_change_run(struct pool *pool, const struct pool_job *job, struct pool_change *change)
{
    struct pool_run run = {.pool = pool, .job = job, .change = change};
    change->unstable = 0;
    change->overwritten = false;
    mrmr_err err = run_all(&run);
    while (err == MRMR_SPACE && run_gives_slack(&run)) {
        const struct pool_run was = run;
        run_free(&run);
        run = (struct pool_run){.pool = pool, .job = job, .change = change, .ngave = was.ngave};
        memcpy(run.gave, was.gave, sizeof run.gave);
        err = run_all(&run);
    }
    run_free(&run);
    if (err) {
        char uuid[MRMR_UUID_TEXT];
        struct mrmr_story story;
        mrmr_story_save(&story);
        run_keep_slack(&run);
        mrmr_story_restore(&story);
        return mrmr_err_stripe(err, mrmr_uuid_print(&change->next.uuid, uuid));
    }
    if (change->old.id)
        pool_views_forget(pool, change->old.id);
    if (change->other.id)
        pool_views_forget(pool, change->other.id);
    run_drop(&run, &change->old);
    run_drop(&run, &change->other);
    run_keep_slack(&run);
    return MRMR_OK;
}

void pool_change_free(struct pool_change *change)
{
    meta_stripe_free(&change->old);
    meta_stripe_free(&change->other);
    meta_stripe_free(&change->next);
}
