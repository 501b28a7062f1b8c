/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rebuild: the content of a drive comes back, and the parity that lay on it.
 *
 *   onto a fresh drive   that one takes the lost one's place in the catalog, with its slot and everything that
 *                        refers to it (rebuild_take.c). From then on the drive is being rebuilt until
 *                        nothing is left to do.
 *   onto itself          it is present, and files on it vanished or changed: what is protected is put
 *                        back.
 *   into free space      it is gone and nothing takes its place: its files go to other drives, where they
 *                        are exposed until the next protect; the old stripes go on standing in for them
 *                        until then.
 *
 * Crash argument. That the drive is given up is one transaction (rebuild_take.c), which for a fresh drive also lists what
 * is to do. Before it nothing else has happened; after it the rebuild goes on from the list, or lists anew what is in the catalog of a drive that nothing
 * took the place of, which is all that has not come back. The rest is restore.c's, batch by batch, and stripe.c's for the rows.
 */
#include "pool/jobs/rebuild.h"
#include "pool/drive/failing.h"
#include "pool/records/names.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

enum { REBUILD_BATCH = 256 };

/* --- The list --- */

static bool path_is_below(const char *path, const char *top)
{
    size_t n = strlen(top);
    return strncmp(path, top, n) == 0 && (n == 0 || path[n] == '\0' || path[n] == '/');
}

static mrmr_err rebuild_name_is_below(struct restore *item, const struct restore_name *name)
{
    item->alive =
        item->alive || (name->path && path_is_below(name->path, item->rebuild->options->path));
    return MRMR_OK;
}

/* By any of its names. */
static mrmr_err rebuild_is_below(
    struct rebuild *rebuild, const struct meta_node *node, bool *ret_below)
{
    struct restore item = {.rebuild = rebuild, .node = *node};
    if (node->id != rebuild->drive->meta.root)
        MRMR_TRY(pool_restore_names(&item, rebuild_name_is_below));
    *ret_below = item.alive;
    return MRMR_OK;
}

static mrmr_err rebuild_list_path(struct meta *meta, void *arg)
{
    struct rebuild *rebuild = arg;
    mrmr_autofree struct meta_node *nodes = calloc(REBUILD_BATCH, sizeof *nodes);
    int64_t after = 0;
    size_t n, listed = 0;
    if (!nodes)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_nodes_after(meta, rebuild->drive->meta.id, after, nodes, REBUILD_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            bool below;
            after = nodes[i].id;
            MRMR_TRY(rebuild_is_below(rebuild, &nodes[i], &below));
            if (!below)
                continue;
            MRMR_TRY(meta_todo_add(meta, POOL_REBUILD_JOB, nodes[i].id));
            listed++;
        }
    } while (n);
    if (!listed)
        return mrmr_err_drive(mrmr_fail(MRMR_ABSENT, "the catalog knows nothing at '%s' on it",
                                  rebuild->options->path),
            rebuild->drive->meta.name);
    return MRMR_OK;
}

static mrmr_err rebuild_list(struct rebuild *rebuild)
{
    struct meta *meta = rebuild->pool->meta;
    uint64_t n;
    if (rebuild->drive->meta.state == META_DRIVE_REBUILDING)
        return MRMR_OK; /* the takeover listed everything, and what is done is off the list */
    if (rebuild->options->path)
        return meta_atomically(meta, rebuild_list_path, rebuild);
    return meta_todo_add_drive(meta, POOL_REBUILD_JOB, rebuild->drive->meta.id, &n);
}

static void rebuild_progress(struct rebuild *rebuild)
{
    const struct pool_rebuild_report *report = rebuild->report;
    if (rebuild->job && rebuild->job->progress)
        rebuild->job->progress(
            &(struct pool_progress){.phase = "rebuild",
                .bytes = report->bytes,
                .bytes_total = rebuild->bytes_total,
                .items = report->files + report->incomplete + report->folders + report->others +
                         report->kept + report->conflicts + report->failed,
                .items_total = rebuild->items_total},
            rebuild->job->arg);
}

static mrmr_err rebuild_batches(struct rebuild *rebuild)
{
    int64_t nodes[REBUILD_BATCH], after = 0;
    for (;;) {
        size_t n;
        MRMR_TRY(pool_job_poll(rebuild->job));
        MRMR_TRY(meta_todo_after(
            rebuild->pool->meta, POOL_REBUILD_JOB, after, nodes, REBUILD_BATCH, &n));
        if (!n)
            return MRMR_OK;
        MRMR_TRY(pool_restore_batch(rebuild, nodes, n));
        after = nodes[n - 1];
        rebuild_progress(rebuild);
    }
}

/* A drive that is full is no place for what comes back, unless it is its own. */
static mrmr_err rebuild_work_begin(struct rebuild *rebuild, struct pool_drive *drive)
{
    if (!pool_drive_writable(drive))
        return MRMR_OK;
    mrmr_err err = pool_work_begin(rebuild->pool, drive);
    if (err != MRMR_SPACE || drive == rebuild->drive)
        return err;
    mrmr_log_story(MRMR_LOG_INFO, "a full drive takes no files");
    return MRMR_OK;
}

static mrmr_err rebuild_files(struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    struct mrmr_story story;
    MRMR_TRY(pool_rebuild_forget(rebuild));
    MRMR_TRY(rebuild_list(rebuild));
    MRMR_TRY(meta_todo_totals(pool->meta, POOL_REBUILD_JOB, rebuild->drive->meta.id,
        &rebuild->items_total, &rebuild->bytes_total));
    for (size_t i = 0; i < pool->ndrives; i++)
        MRMR_TRY(rebuild_work_begin(rebuild, pool->drives[i]));
    mrmr_err err = rebuild_batches(rebuild);
    if (!err && rebuild->drive->meta.state == META_DRIVE_REBUILDING)
        err = pool_restore_note_all(rebuild);
    mrmr_story_save(&story);
    mrmr_err folders = pool_restore_folders(rebuild); /* also of a run that was cut short */
    if (err)
        return mrmr_story_restore(&story);
    MRMR_TRY(folders);
    return pool_rebuild_forget(rebuild); /* what was removed meanwhile */
}

/* --- The end --- */

/* In the catalog's settings, beside those that people set: "rebuild-tried.<uuid>". */
static const char *rebuild_tried_key(const struct pool_drive *drive, char key[64])
{
    char uuid[MRMR_UUID_TEXT];
    snprintf(key, 64, "rebuild-tried.%s", mrmr_uuid_print(&drive->meta.uuid, uuid));
    return key;
}

mrmr_err pool_rebuild_was_tried(struct pool *pool, const struct pool_drive *drive, bool *ret_tried)
{
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    char key[64];
    mrmr_err err = meta_get(pool->meta, rebuild_tried_key(drive, key), &value);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    *ret_tried = !err && value.size == 1 && value.data[0] == '1';
    return MRMR_OK;
}

static mrmr_err rebuild_note_tried(const struct rebuild *rebuild, bool tried)
{
    char key[64];
    bool was;
    MRMR_TRY(pool_rebuild_was_tried(rebuild->pool, rebuild->drive, &was));
    if (was == tried)
        return MRMR_OK;
    return meta_set(rebuild->pool->meta, rebuild_tried_key(rebuild->drive, key), tried ? "1" : "0");
}

/* Before the drive is let go of, if it is. */
static void rebuild_tell(struct rebuild *rebuild, bool whole)
{
    const struct pool_rebuild_report *r = rebuild->report;
    char size[MRMR_TEXT_SHORT];
    pool_tell(rebuild->pool, rebuild->job, !whole || r->incomplete, "rebuild-done", rebuild->drive,
        "drive %s: %llu files (%s) and %llu folders restored, %llu were there already, %llu parity "
        "rows made; %llu files incomplete, %llu failed, %llu conflicts",
        rebuild->drive->meta.name, (unsigned long long)r->files,
        mrmr_text_print_size(r->bytes, size), (unsigned long long)r->folders,
        (unsigned long long)r->kept, (unsigned long long)r->rows, (unsigned long long)r->incomplete,
        (unsigned long long)r->failed, (unsigned long long)r->conflicts);
}

static mrmr_err rebuild_finish(struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    struct pool_sync_report mended = {0};
    uint64_t left, bytes;
    MRMR_TRY(pool_mend_and_protect(pool, rebuild->job, NULL, &mended));
    rebuild->report->rows += mended.rows_made;
    MRMR_TRY(
        meta_todo_totals(pool->meta, POOL_REBUILD_JOB, rebuild->drive->meta.id, &left, &bytes));
    if (rebuild->away) {
        rebuild_tell(rebuild, left == 0);
        return pool_let_go_retired(pool, rebuild->job);
    }
    MRMR_TRY(rebuild_note_tried(rebuild, left != 0));
    if (left == 0 && rebuild->drive->meta.state == META_DRIVE_REBUILDING) {
        rebuild->drive->meta.state = META_DRIVE_ACTIVE;
        MRMR_TRY(meta_drive_store(pool->meta, &rebuild->drive->meta));
    }
    rebuild_tell(rebuild, left == 0);
    return MRMR_OK;
}

/* The same command again after it was interrupted: the lost drive's name went when the fresh one
 * took its place. */
static struct pool_drive *rebuild_heir(const struct rebuild *rebuild)
{
    const char *onto = rebuild->options->onto;
    struct pool_drive *drive = onto ? pool_drive_by_name(rebuild->pool, onto) : NULL;
    return drive && drive->meta.state == META_DRIVE_REBUILDING ? drive : NULL;
}

static mrmr_err rebuild_no_drive(const struct pool_rebuild_options *options)
{
    mrmr_fail(MRMR_NO_DRIVE, "the pool has no drive '%s'", options->drive);
    if (!options->onto)
        return mrmr_err_hint(MRMR_NO_DRIVE, "`mrmr drives` lists them");
    return mrmr_err_hint(MRMR_NO_DRIVE,
        "`mrmr drives` lists them; where '%s' has taken its place already: mrmr rebuild %s",
        options->onto, options->onto);
}

/* What is done to the catalog itself where the drive is given up is only looked up where it is not. */
static mrmr_err rebuild_names(struct rebuild *rebuild)
{
    if (!rebuild->away || rebuild->drive->meta.state != META_DRIVE_ACTIVE)
        return MRMR_OK;
    MRMR_TRY(pool_names_create(rebuild->pool, &rebuild->drive->meta, NULL, &rebuild->names));
    return pool_names_hold(rebuild->names);
}

/* One that is not there any more may be given up as any that is away; this one only needs to be used again. */
static mrmr_err rebuild_is_detached(const struct pool_drive *drive)
{
    mrmr_fail(MRMR_CONFLICT, "it is detached, and still there");
    return mrmr_err_hint(mrmr_err_drive(MRMR_CONFLICT, drive->meta.name),
        "to put back what is missing on it: mrmr attach %s first; to give it up, unmount it first",
        drive->meta.name);
}

static mrmr_err rebuild_run(struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    rebuild->drive = pool_drive_by_name(pool, rebuild->options->drive);
    struct pool_drive *heir = rebuild->drive ? NULL : rebuild_heir(rebuild);
    if (heir)
        rebuild->drive = heir;
    if (!rebuild->drive)
        return rebuild_no_drive(rebuild->options);
    bool begins;
    MRMR_TRY(pool_rebuild_may_begin(rebuild, &begins));
    if (!begins)
        return MRMR_OK;
    if (rebuild->drive->presence == POOL_DETACHED && !rebuild->drive->mark_gone)
        return rebuild_is_detached(rebuild->drive);
    if (rebuild->options->onto && !heir)
        MRMR_TRY(pool_rebuild_take_over(rebuild));
    if (rebuild->drive->presence == POOL_DIVERGED || rebuild->drive->presence == POOL_FOREIGN)
        return mrmr_story_restore(&rebuild->drive->why);
    rebuild->away = !pool_drive_writable(rebuild->drive);
    if (rebuild->away && rebuild->drive->presence == POOL_PRESENT)
        return mrmr_err_hint(
            mrmr_err_drive(mrmr_fail(MRMR_READONLY, "it is there, but cannot be written"),
                rebuild->drive->meta.name),
            "mount it writable; or unmount it and run rebuild again, to bring its files to other "
            "drives");
    if (rebuild->away && !rebuild->options->path)
        MRMR_TRY(pool_rebuild_retire(rebuild));
    MRMR_TRY(pool_gone_open(pool->dirfd, true, &rebuild->gone));
    mrmr_err err = rebuild_names(rebuild);
    if (!err)
        err = rebuild_files(rebuild);
    pool_names_destroy(rebuild->names);
    for (size_t i = 0; i < pool->ndrives; i++)
        pool_names_destroy(rebuild->target_names[i]);
    for (size_t i = 0; i < rebuild->nfolders; i++)
        free(rebuild->folders[i].path);
    free(rebuild->folders);
    pool_gone_close(rebuild->gone);
    MRMR_TRY(err);
    if (rebuild->removed)
        pool_tell(pool, rebuild->job, false, "not-restored", rebuild->drive,
            "drive %s: %llu files and folders were removed since its last scan, and stay removed",
            rebuild->drive->meta.name, (unsigned long long)rebuild->removed);
    if (rebuild->back)
        pool_tell(pool, rebuild->job, false, "restored-removed", rebuild->drive,
            "drive %s: %llu files and folders that were removed or replaced after its last scan "
            "are "
            "back, since what was put in their place may have gone with the drive; remove again "
            "what "
            "is not wanted",
            rebuild->drive->meta.name, (unsigned long long)rebuild->back);
    return rebuild_finish(rebuild);
}

mrmr_err pool_rebuild(struct pool *pool, const struct pool_job *job,
    const struct pool_rebuild_options *options, struct pool_rebuild_report *ret_report)
{
    struct pool_rebuild_report report = {0};
    if (options->if_lost && (options->onto || options->path))
        return mrmr_fail(
            MRMR_INVALID, "if it is lost it is given up: into free space, and all of it");
    struct rebuild rebuild = {.pool = pool, .job = job, .options = options, .report = &report};
    mrmr_err err = rebuild_run(&rebuild);
    pool_failing_tell(pool, job);
    if (!err && !report.not_lost)
        err = pool_catalog_copy(pool, job, POOL_COPIES_ALL, NULL);
    *ret_report = report;
    return err;
}
