/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Protect: plan what is exposed into stripes, and carry the plan out.
 *
 * Order. Mend comes before it (sync.c): a stripe that lost bytes or rows endangers all that lies in
 * it. Then what no stripe covers comes before rows that a stripe never had, and what can have all its
 * rows before what gets fewer: the planner's phases (planner.c). Of each drive the bytes that have been
 * exposed for longest come first (supply.h). How much of which drive comes when is the planner's
 * choice: it knows of sizes alone, and the least parity is worth more than the age of one drive's
 * bytes beside another's. What is young waits (young.h), and the planner does not hear of it.
 *
 * The owner's thread plans and gathers (which bytes go into which block); two changes at a time run
 * in a crew, so that one stripe's rows are synced while the next one's drives are read. Each change
 * commits by itself (stripe.c's crash argument): interrupted anywhere, what was committed stays
 * protected, and the next run plans the rest anew.
 */
#include "pool/drive/hung.h"
#include "pool/records/direct.h"
#include "pool/stripe/supply.h"

#include "parity/planner.h"
#include <stdio.h>
#include <string.h>

enum {
    PROTECT_CREW = 2,
    PROTECT_PASSES = 24,
    PROTECT_AGAIN = 4, /* passes after which what is still written to keeps nobody else waiting */
};

struct protect {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_sync_report *report;
    unsigned redundancy;
    uint64_t block;
    struct pool_supply *supply; /* by index of the pool's drives */
    struct pool_young young;
    uint64_t *waits;         /* by index of the pool's drives: bytes that are young */
    uint64_t total;          /* exposed bytes at the start of the pass */
    struct pool_skips skips; /* nodes left out in this run; the owner's */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct pool_skips
        unstable;              /* nodes found so by workers; the owner takes them over into skips */
    struct pool_skips stripes; /* that refused a change in this run */
    bool *full;                /* by index of the pool's drives: no more rows there in this run */
    bool *failed;              /* likewise: it does not answer; the owner takes it out of service */
    bool replan;               /* the plan counts on a drive that has failed */
    bool again;                /* what was written to meanwhile is left out by the next plan */
    unsigned agains;           /* plans for that alone, so far */
    struct mrmr_bytes notes;   /* what went wrong: each 'w' or 'n', the text and its NUL; the owner
                                  tells it */
    uint64_t changes_done, bytes_done;
};

struct protect_task {
    struct mrmr_task task; /* first */
    struct protect *protect;
    struct pool_change change;
    enum parity_planner_kind kind;
    uint64_t bytes; /* new ones */
};

static void task_free(struct protect_task *task)
{
    if (!task)
        return;
    pool_change_free(&task->change);
    free(task);
}
MRMR_DEFINE_AUTO(struct protect_task, task_free);

/* --- What the planner is told --- */

/* What of a node is exposed and not young. */
static mrmr_err protect_skipped_bytes(
    struct protect *p, int64_t node, int64_t *ret_drive, uint64_t *ret_bytes)
{
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n;
    MRMR_TRY(meta_exposed_of(p->pool->meta, node, &ranges, &n));
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t until;
        MRMR_TRY(pool_young_until(&p->young, &ranges[i], &until));
        bytes += until ? 0 : ranges[i].bytes;
        *ret_drive = ranges[i].drive;
    }
    *ret_bytes = bytes;
    return MRMR_OK;
}

/* What is young, on drives that take part. */
static mrmr_err protect_count_young(struct protect *p, uint64_t *ret_bytes)
{
    struct pool_young_total all = {0};
    for (size_t i = 0; i < p->pool->ndrives; i++) {
        uint64_t before = all.bytes;
        if (pool_drive_present(p->pool->drives[i]))
            MRMR_TRY(pool_young_on(&p->young, p->pool->drives[i], &all));
        p->waits[i] = all.bytes - before;
    }
    p->report->waiting_files = all.files;
    p->report->waiting_bytes = all.bytes;
    p->report->settles = all.until;
    *ret_bytes = all.bytes;
    return MRMR_OK;
}

static mrmr_err protect_describe_drives(struct protect *p, struct parity_planner_drive *drives)
{
    struct pool *pool = p->pool;
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        drives[i] = (struct parity_planner_drive){.domain = (uint32_t)pool_drive_domain(pool, i)};
        if (pool_drive_present(drive)) {
            struct meta_exposed_total exposed;
            MRMR_TRY(meta_exposed_total(pool->meta, drive->meta.id, &exposed));
            drives[i].exposed = exposed.bytes > p->waits[i] ? exposed.bytes - p->waits[i] : 0;
        }
        struct drv_space space = {0};
        if (!pool_drive_writable(drive) || drv_space(drive->drv, &space))
            continue;
        drives[i].used = space.total - space.avail;
        if (!p->full[i])
            MRMR_TRY(pool_drive_room(pool, drive, &drives[i].room));
        if (drives[i].room)
            drives[i].flags |= PARITY_PLANNER_ROWS;
    }
    for (size_t i = 0; i < p->skips.n; i++) {
        int64_t id = 0;
        uint64_t bytes;
        MRMR_TRY(protect_skipped_bytes(p, p->skips.node[i], &id, &bytes));
        for (size_t d = 0; d < pool->ndrives; d++)
            if (bytes && pool->drives[d]->meta.id == id)
                drives[d].exposed -= bytes < drives[d].exposed ? bytes : drives[d].exposed;
    }
    return MRMR_OK;
}

struct protect_feed {
    struct protect *protect;
    struct parity_planner *planner;
};

/* A stripe that is whole may change; one that is not is mend's, and one that is full of small files
 * stays as it is. */
static bool brief_is_whole(const struct protect *p, const struct meta_stripe_brief *brief)
{
    if (brief->dirty_blocks || brief->unwanted || !brief->rows || !brief->blocks ||
        brief->wanted > pool_extents_most(brief->length) / 8 * 7 ||
        pool_skips_has(&p->stripes, brief->id))
        return false;
    for (uint32_t i = 0; i < brief->rows; i++)
        if (brief->row[i].state != META_ROW_OK || brief->row[i].index != i ||
            !pool_drive_writable(pool_drive_by_id(p->pool, brief->row[i].drive)))
            return false;
    for (uint32_t i = 0; i < brief->blocks; i++)
        if (!pool_drive_writable(pool_drive_by_id(p->pool, brief->block[i].drive)))
            return false;
    return true;
}

static mrmr_err protect_feed_stripe(const struct meta_stripe_brief *brief, void *arg)
{
    struct protect_feed *feed = arg;
    struct parity_planner_member member[META_SLOTS_MAX + META_ROWS_MAX];
    unsigned n = 0;
    if (!brief_is_whole(feed->protect, brief))
        return MRMR_OK;
    for (uint32_t i = 0; i < brief->blocks; i++)
        member[n++] = (struct parity_planner_member){.end = (uint32_t)brief->block[i].length,
            .drive = (uint8_t)pool_drive_index(feed->protect->pool, brief->block[i].drive),
            .row = PARITY_PLANNER_IS_BLOCK};
    for (uint32_t i = 0; i < brief->rows; i++)
        member[n++] = (struct parity_planner_member){
            .drive = (uint8_t)pool_drive_index(feed->protect->pool, brief->row[i].drive),
            .row = brief->row[i].index};
    struct parity_planner_stripe stripe = {.id = (uint64_t)brief->id,
        .length = (uint32_t)brief->length,
        .members = n,
        .member = member};
    return parity_planner_stripe(feed->planner, &stripe);
}

static mrmr_err protect_plan(struct protect *p, struct parity_planner **ret_planner)
{
    struct parity_planner_config config = {
        .redundancy = p->redundancy, .block = (uint32_t)p->block, .grain = META_LEAF};
    mrmr_autofree struct parity_planner_drive *drives =
        calloc(p->pool->ndrives + 1, sizeof *drives);
    if (!drives)
        return mrmr_nomem();
    MRMR_TRY(protect_describe_drives(p, drives));
    p->total = 0;
    for (size_t i = 0; i < p->pool->ndrives; i++)
        p->total += drives[i].exposed;
    struct protect_feed feed = {.protect = p};
    MRMR_TRY(parity_planner_create(&config, (unsigned)p->pool->ndrives, drives, &feed.planner));
    mrmr_err err = meta_stripes(p->pool->meta, protect_feed_stripe, &feed);
    if (err)
        parity_planner_destroy(feed.planner);
    else
        *ret_planner = feed.planner;
    return err;
}

/* --- From an operation to a change --- */

static mrmr_err gather_adds(struct protect *p, const struct parity_planner_op *op,
    struct pool_image *image, const struct meta_stripe *old, struct protect_task *task)
{
    size_t most = pool_extents_most(op->length);
    for (unsigned i = 0; i < op->adds; i++) {
        const struct pool_drive *drive = p->pool->drives[op->add[i].drive];
        const struct meta_block *block = old->id ? pool_image_block(old, drive->meta.id) : NULL;
        uint64_t place = block ? block->length : 0, bytes = 0;
        if (place >= op->length || image->head.extents >= most)
            continue;
        MRMR_TRY(pool_supply_pack(&p->supply[op->add[i].drive], image, place, op->length - place,
            (most - image->head.extents) / (op->adds - i), &bytes));
        task->bytes += bytes;
    }
    return MRMR_OK;
}

static mrmr_err gather_rows(
    struct protect *p, const struct parity_planner_op *op, struct pool_image *image)
{
    for (unsigned j = op->kind == PARITY_PLANNER_DEEPEN ? op->old_rows : 0; j < op->rows; j++)
        MRMR_TRY(pool_image_add_row(image, j, p->pool->drives[op->row_drive[j]]->meta.id));
    return MRMR_OK;
}

/* Nothing, if there is nothing to add any more. */
static mrmr_err gather_filled(struct protect *p, const struct parity_planner_op *op,
    struct pool_image *image, struct protect_task *task)
{
    MRMR_TRY(gather_adds(p, op, image, &task->change.old, task));
    return task->bytes ? pool_image_finish(p->pool, image, false, &task->change.next) : MRMR_OK;
}

static mrmr_err gather_make(
    struct protect *p, const struct parity_planner_op *op, struct protect_task *task)
{
    struct pool_change *change = &task->change;
    struct pool_image image;
    pool_image_init(&image);
    change->mode = POOL_CHANGE_DATA;
    image.head.generation = 1;
    image.head.made = mrmr_clock_real();
    mrmr_err err = mrmr_uuid_make(&image.head.uuid);
    if (!err)
        err = gather_rows(p, op, &image);
    if (!err)
        err = gather_filled(p, op, &image, task);
    pool_image_free(&image);
    return err;
}

static mrmr_err gather_add(
    struct protect *p, const struct parity_planner_op *op, struct protect_task *task)
{
    struct pool_change *change = &task->change;
    struct pool_image image;
    change->mode = POOL_CHANGE_DELTA;
    MRMR_TRY(meta_stripe_load(p->pool->meta, (int64_t)op->stripe, &change->old));
    mrmr_err err = pool_image_start_from(p->pool, &image, &change->old);
    image.head.generation++;
    image.head.made = mrmr_clock_real();
    if (!err)
        err = gather_filled(p, op, &image, task);
    pool_image_free(&image);
    return err;
}

static mrmr_err gather_merge(
    struct protect *p, const struct parity_planner_op *op, struct protect_task *task)
{
    struct pool_change *change = &task->change;
    struct pool_image image;
    change->mode = POOL_CHANGE_DELTA;
    MRMR_TRY(meta_stripe_load(p->pool->meta, (int64_t)op->stripe, &change->old));
    MRMR_TRY(meta_stripe_load(p->pool->meta, (int64_t)op->other, &change->other));
    if (change->old.extents + change->other.extents > pool_extents_most(op->length)) {
        mrmr_locked(&p->lock);
        return pool_skips_add(&p->stripes, change->other.id);
    }
    mrmr_err err = pool_image_start_from(p->pool, &image, &change->old);
    image.head.rows = 0;
    if (change->other.generation > image.head.generation)
        image.head.generation = change->other.generation;
    image.head.generation++;
    image.head.made = mrmr_clock_real();
    for (size_t i = 0; !err && i < change->other.extents; i++)
        if (pool_extent_wanted(&change->other.extent[i]))
            err = pool_image_add_extent(&image, &change->other.extent[i]);
    if (!err)
        err = gather_rows(p, op, &image);
    if (!err)
        err = pool_image_finish(p->pool, &image, false, &change->next);
    pool_image_free(&image);
    return err;
}

static mrmr_err gather_deepen(
    struct protect *p, const struct parity_planner_op *op, struct protect_task *task)
{
    struct pool_change *change = &task->change;
    struct pool_image image;
    change->mode = POOL_CHANGE_DATA;
    change->rows_only = true;
    MRMR_TRY(meta_stripe_load(p->pool->meta, (int64_t)op->stripe, &change->old));
    mrmr_err err = pool_image_start_from(p->pool, &image, &change->old);
    if (!err)
        err = gather_rows(p, op, &image);
    if (!err)
        err = pool_image_finish(p->pool, &image, false, &change->next);
    pool_image_free(&image);
    return err;
}

static mrmr_err gather(
    struct protect *p, const struct parity_planner_op *op, struct protect_task *task)
{
    task->kind = op->kind;
    switch (op->kind) {
    case PARITY_PLANNER_MAKE:
        return gather_make(p, op, task);
    case PARITY_PLANNER_ADD:
        return gather_add(p, op, task);
    case PARITY_PLANNER_MERGE:
        return gather_merge(p, op, task);
    case PARITY_PLANNER_DEEPEN:
        return gather_deepen(p, op, task);
    default:
        return mrmr_fail(MRMR_INTERNAL, "the planner gave an unknown operation");
    }
}

/* --- Running changes --- */

/* A stripe, a file or a drive that a change failed for is left alone for the rest of this run.
 * *ret_kind: the event's name; NULL if it concerns none of them, and the job ends. */
static mrmr_err task_remember(
    struct protect_task *task, const struct pool_drive *drive, const char **ret_kind)
{
    struct protect *p = task->protect;
    mrmr_locked(&p->lock);
    if (task->change.unstable) {
        *ret_kind = "file-skipped";
        p->report->skipped += !pool_skips_has(&p->unstable, task->change.unstable);
        return pool_skips_add(&p->unstable, task->change.unstable);
    }
    if (drive) {
        *ret_kind = "drive-trouble";
        p->full[pool_drive_index(p->pool, drive->meta.id)] = true;
        return MRMR_OK;
    }
    *ret_kind = NULL;
    if (!task->change.old.id)
        return MRMR_OK;
    *ret_kind = "stripe-left";
    if (task->change.other.id)
        MRMR_TRY(pool_skips_add(&p->stripes, task->change.other.id));
    return pool_skips_add(&p->stripes, task->change.old.id);
}

/* After an error of a medium: which drives do not answer at all any more? */
static void task_note_failed_drives(struct protect *p, mrmr_err err)
{
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE)
        return;
    for (size_t i = 0; i < p->pool->ndrives; i++) {
        struct drv_space space;
        struct pool_drive *drive = p->pool->drives[i];
        if (!pool_drive_readable(drive) ||
            (!pool_drive_hangs(p->pool, drive) && !drv_space(drive->drv, &space)))
            continue;
        mrmr_locked(&p->lock);
        p->failed[i] = p->replan = true;
    }
}

/* An event now; the notice is the owner's to give. */
static mrmr_err task_tell(struct protect *p, bool warning, const char *kind,
    const struct pool_drive *drive, const struct mrmr_story *story)
{
    char text[1024];
    mrmr_story_restore(story);
    pool_tell_story(p->pool, NULL, warning, kind, drive, "not protected in this run");
    mrmr_story_print(story, text, sizeof text);
    mrmr_locked(&p->lock);
    MRMR_TRY(
        mrmr_bytes_fmt(&p->notes, "%cnot protected in this run: %s", warning ? 'w' : 'n', text));
    return mrmr_bytes_add(&p->notes, "", 1);
}

static void protect_tell_notes(struct protect *p)
{
    for (size_t at = 0; at < p->notes.size; at += strlen(p->notes.data + at) + 1)
        if (p->job && p->job->notice)
            p->job->notice(p->notes.data[at] == 'w', p->notes.data + at + 1, p->job->arg);
    mrmr_bytes_free(&p->notes);
}

/* What was written to is left out by the next pass. */
static bool task_again(struct protect *p)
{
    mrmr_locked(&p->lock);
    p->again = p->again || p->agains < PROTECT_AGAIN;
    return p->agains < PROTECT_AGAIN;
}

static mrmr_err task_went_wrong(struct protect_task *task, mrmr_err err)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (err == MRMR_CANCELLED || mrmr_ran_short(err) || err == MRMR_BUSY)
        return err;
    if (err == MRMR_CHANGED && task->change.overwritten && task_again(task->protect))
        return MRMR_OK;
    struct pool *pool = task->protect->pool;
    struct pool_drive *drive = story.drive[0] ? pool_drive_by_name(pool, story.drive) : NULL;
    const char *kind;
    task_note_failed_drives(task->protect, err);
    MRMR_TRY(task_remember(task, drive, &kind));
    if (!kind)
        return mrmr_story_restore(&story);
    return task_tell(task->protect, err != MRMR_CHANGED, kind, drive, &story);
}

static mrmr_err task_run(struct mrmr_task *t)
{
    struct protect_task *task = (struct protect_task *)t;
    struct protect *p = task->protect;
    mrmr_err err = pool_change_run(p->pool, p->job, &task->change);
    if (err)
        return task_went_wrong(task, err);
    mrmr_locked(&p->lock);
    p->changes_done++;
    p->bytes_done += task->bytes;
    p->report->protected_bytes += task->bytes;
    if (task->kind == PARITY_PLANNER_MAKE)
        p->report->stripes_made++;
    else
        p->report->stripes_changed++;
    p->report->rows_made += task->change.next.rows;
    return MRMR_OK;
}

static void task_done(struct mrmr_task *t, mrmr_err err)
{
    (void)err; /* the crew keeps it */
    task_free((struct protect_task *)t);
}

static void protect_progress(struct protect *p)
{
    if (!p->job || !p->job->progress)
        return;
    struct pool_progress progress = {.phase = "protect", .bytes_total = p->total};
    {
        mrmr_locked(&p->lock);
        progress.bytes = p->bytes_done;
    }
    if (progress.bytes > progress.bytes_total)
        progress.bytes_total = progress.bytes;
    p->job->progress(&progress, p->job->arg);
}

static mrmr_err protect_take_over_skips(struct protect *p)
{
    mrmr_locked(&p->lock);
    for (size_t i = 0; i < p->unstable.n; i++)
        MRMR_TRY(pool_skips_add(&p->skips, p->unstable.node[i]));
    return MRMR_OK;
}

static mrmr_err protect_op(
    struct protect *p, struct mrmr_crew *crew, const struct parity_planner_op *op)
{
    MRMR_AUTO(task_free) struct protect_task *task = calloc(1, sizeof *task);
    if (!task)
        return mrmr_nomem();
    task->protect = p;
    task->task = (struct mrmr_task){.run = task_run, .done = task_done};
    MRMR_TRY(protect_take_over_skips(p));
    MRMR_TRY(gather(p, op, task));
    if (!task->change.next.memory)
        return MRMR_OK; /* nothing fitted: it stays exposed for the next pass */
    MRMR_TRY(mrmr_crew_submit(crew, &task->task));
    (void)mrmr_steal(task);
    protect_progress(p);
    return MRMR_OK;
}

static bool protect_must_replan(struct protect *p)
{
    mrmr_locked(&p->lock);
    return p->replan;
}

/* It is told of, so the next who opens the pool does not tell of it as news. */
static void protect_note_lost(struct pool *pool, struct pool_drive *drive)
{
    struct mrmr_story kept;
    mrmr_story_save(&kept);
    drive->meta.present = false;
    if (meta_drive_store(pool->meta, &drive->meta))
        mrmr_log_story(MRMR_LOG_WARN, "recording that a drive stopped answering");
    mrmr_story_restore(&kept);
}

/* Drives that stopped answering are away from now on, for this process. */
static void protect_retire_failed(struct protect *p)
{
    p->replan = false;
    for (size_t i = 0; i < p->pool->ndrives; i++) {
        struct pool_drive *drive = p->pool->drives[i];
        const bool failed = p->failed[i];
        p->failed[i] = false;
        if (!failed || drive->presence == POOL_FAILED)
            continue;
        if (pool_drive_hangs(p->pool, drive)) {
            pool_drive_leave_out(p->pool, p->job, drive);
            continue;
        }
        mrmr_err_hint(mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "it stopped answering during a job"),
                          drive->meta.name),
            "look at its cable, its file system and the kernel's log");
        mrmr_story_save(&drive->why);
        drive->presence = POOL_FAILED;
        pool_tell(p->pool, p->job, true, "drive-lost", drive,
            "drive %s stopped answering: its files are read by reconstruction until it is back",
            drive->meta.name);
        protect_note_lost(p->pool, drive);
    }
}

static mrmr_err protect_ops(struct protect *p, struct parity_planner *planner)
{
    struct mrmr_crew *crew = NULL;
    MRMR_TRY(mrmr_crew_create(PROTECT_CREW, 1, &crew));
    mrmr_err err = MRMR_OK;
    mrmr_autofree struct parity_planner_op *op = malloc(sizeof *op);
    if (!op)
        err = mrmr_nomem();
    while (!err && !protect_must_replan(p)) {
        err = pool_job_poll(p->job);
        if (!err)
            err = parity_planner_next(planner, op);
        if (err || op->kind == PARITY_PLANNER_END)
            break;
        err = protect_op(p, crew, op);
    }
    struct mrmr_story story;
    mrmr_story_save(&story);
    mrmr_err crew_err = mrmr_crew_wait(crew);
    mrmr_crew_destroy(crew);
    protect_tell_notes(p);
    if (err && !crew_err)
        mrmr_story_restore(&story);
    return crew_err ? crew_err : err;
}

/* Something is exposed that does not wait, some stripe lacks a row, or this run changed stripes, so
 * that others may merge now: else there is nothing to plan. */
static mrmr_err protect_is_due(struct protect *p, bool exposed, bool *ret_due)
{
    const struct pool_sync_report *report = p->report;
    int64_t id;
    size_t n = 0;
    *ret_due = exposed || report->stripes_made || report->stripes_changed || report->rows_dropped;
    if (!*ret_due)
        MRMR_TRY(meta_stripes_to_mend(p->pool->meta, 0, p->redundancy, &id, 1, &n));
    *ret_due = *ret_due || n;
    return MRMR_OK;
}

/* One plan, carried out. *ret_more: something was done, so that another plan may do more. */
static mrmr_err protect_pass(struct protect *p, bool *ret_more)
{
    struct parity_planner *planner = NULL;
    size_t skips = p->skips.n;
    MRMR_TRY(protect_take_over_skips(p));
    MRMR_TRY(pool_young_look(&p->young));
    MRMR_TRY(protect_plan(p, &planner));
    for (size_t i = 0; i < p->pool->ndrives; i++)
        pool_supply_init(&p->supply[i], p->pool->drives[i]->meta.id, &p->skips, &p->young);
    uint64_t changes = p->changes_done;
    size_t left = p->stripes.n;
    p->bytes_done = 0;
    mrmr_err err = protect_ops(p, planner);
    parity_planner_destroy(planner);
    protect_progress(p);
    bool replan = p->replan || p->again;
    p->agains += p->again;
    p->again = false;
    protect_retire_failed(p);
    *ret_more = replan || p->changes_done > changes || p->unstable.n > skips || p->stripes.n > left;
    return err;
}

/* What is in use directly stays exposed in this run (direct.h). */
static mrmr_err protect_leave_out(int64_t node, const struct pool_drive *drive, void *arg)
{
    struct protect *p = arg;
    struct mrmr_story story;
    int64_t unused;
    uint64_t bytes;
    mrmr_story_save(&story);
    MRMR_TRY(protect_skipped_bytes(p, node, &unused, &bytes));
    if (!bytes || pool_skips_has(&p->skips, node))
        return MRMR_OK;
    mrmr_story_restore(&story);
    pool_tell_story(p->pool, p->job, false, "file-skipped", drive, "not protected in this run");
    p->report->skipped++;
    return pool_skips_add(&p->skips, node);
}

static mrmr_err protect_run(struct protect *p)
{
    bool more = true;
    MRMR_TRY(pool_direct_settle(p->pool, protect_leave_out, p));
    for (unsigned pass = 0; more && pass < PROTECT_PASSES; pass++)
        MRMR_TRY(protect_pass(p, &more));
    return MRMR_OK;
}

static mrmr_err protect_all(struct protect *p, uint64_t exposed)
{
    uint64_t young = 0;
    bool due = false;
    MRMR_TRY(protect_count_young(p, &young));
    MRMR_TRY(protect_is_due(p, exposed > young, &due));
    return due ? protect_run(p) : MRMR_OK;
}

mrmr_err pool_protect(struct pool *pool, const struct pool_job *job,
    const struct pool_sync_options *options, struct pool_sync_report *ret_report)
{
    struct protect p = {
        .pool = pool, .job = job, .report = ret_report, .redundancy = pool_redundancy(pool)};
    MRMR_TRY(pool_block_size(pool, &p.block));
    ret_report->settle = options ? options->settle : 0;
    pool_young_init(&p.young, pool, ret_report->settle);
    pthread_mutex_init(&p.lock, NULL);
    p.supply = calloc(pool->ndrives + 1, sizeof *p.supply);
    p.waits = calloc(pool->ndrives + 1, sizeof *p.waits);
    p.full = calloc(pool->ndrives + 1, sizeof *p.full);
    p.failed = calloc(pool->ndrives + 1, sizeof *p.failed);
    mrmr_err err = p.supply && p.waits && p.full && p.failed ? MRMR_OK : mrmr_nomem();
    struct meta_exposed_total before = {0};
    if (!err)
        err = meta_exposed_total(pool->meta, 0, &before);
    if (!err)
        err = protect_all(&p, before.bytes);
    struct mrmr_story story;
    mrmr_story_save(&story);
    mrmr_err settle_err = pool_intents_settle(pool);
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool->drives[i]->attached)
            pool_drive_slack_keep(pool, pool->drives[i]);
    struct meta_exposed_total exposed = {0};
    if (!meta_exposed_total(pool->meta, 0, &exposed)) {
        ret_report->exposed_bytes = exposed.bytes;
        ret_report->exposed_files = exposed.files;
        if (!err && exposed.files < before.files)
            ret_report->protected_files += before.files - exposed.files;
    }
    pool_young_free(&p.young);
    free(p.supply);
    free(p.waits);
    free(p.full);
    free(p.failed);
    free(p.skips.node);
    free(p.unstable.node);
    free(p.stripes.node);
    pthread_mutex_destroy(&p.lock);
    if (err)
        return mrmr_story_restore(&story), err;
    return settle_err;
}
