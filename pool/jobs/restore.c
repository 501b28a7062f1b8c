/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Putting nodes of a drive in place again, a batch at a time.
 *
 * Crash argument. The cut points of a batch:
 *
 *  1  copies are made under .mrmr/work on the target drives: nothing of a user's is touched; the
 *     next opening of the pool empties that folder.
 *  2  all copies are synced, then each is given its name without replacing anything (I1), then the
 *     names are synced. A name that is there with whole, synced, verified content is not in the
 *     catalog yet: the next run finds it, compares it leaf by leaf, and keeps it.
 *  3  one catalog transaction takes the whole batch: where the files are now, and that they are no
 *     longer to do. Writers stand still (writers.h), and each file is looked at once more: one that
 *     somebody wrote to since it was placed, or removed, is a user's, and nothing is claimed of it.
 *
 * A crash between any two costs the work of one batch, never a byte. A file of somebody else under
 * the same name is a conflict and stays.
 */
#include "pool/drive/hung.h"
#include "pool/jobs/rebuild.h"
#include "pool/records/names.h"

#include "pool/stripe/buffers.h"
#include <stdio.h>
#include <string.h>

enum { RESTORE_CREW = 4 };

/* --- Copies --- */

static void restore_failed(struct restore *item, const char *what)
{
    struct pool_rebuild_report *report = item->rebuild->report;
    report->failed++;
    report->failed_bytes += item->node.type == META_REG ? item->node.size : 0;
    item->state = RESTORE_FAILED;
    mrmr_err_path(mrmr_story_get()->err, item->path.data);
    pool_tell_story(item->rebuild->pool, item->rebuild->job, true, "restore-failed",
        item->rebuild->drive, what);
}

/* On a worker: touches its item only. */
struct restore_copy {
    struct mrmr_task task; /* first */
    struct restore *item;
    mrmr_err err;
    struct mrmr_story story;
};

static mrmr_err restore_copy_run(struct mrmr_task *t)
{
    struct restore_copy *copy = (struct restore_copy *)t;
    struct restore *item = copy->item;
    copy->err = pool_copy_make(item->rebuild->pool, item->rebuild->job, &item->node, item->target,
        item->work, pool_restore_may_lack(item) ? &item->missing : NULL);
    if (copy->err)
        mrmr_story_save(&copy->story);
    return copy->err == MRMR_CANCELLED ? copy->err : MRMR_OK;
}

/* What of it is protected comes back where the drive is given up. */
static void restore_hint_part(const struct restore *item, mrmr_err err)
{
    const struct rebuild *rebuild = item->rebuild;
    if (err == MRMR_LOST && rebuild->away && rebuild->drive->meta.state == META_DRIVE_ACTIVE)
        mrmr_err_hint(err,
            "the drive is not given up: what there is of it comes back where it is, by `mrmr "
            "rebuild "
            "%s` without --path",
            rebuild->drive->meta.name);
}

static mrmr_err restore_copied(const struct restore_copy *copy)
{
    struct restore *item = copy->item;
    mrmr_err err = copy->err;
    if (err) {
        mrmr_story_restore(&copy->story);
        restore_hint_part(item, err);
    } else if (item->missing.n) {
        err = pool_restore_incomplete(item);
    }
    if (mrmr_ran_short(err))
        return err;
    if (err)
        restore_failed(item, "it cannot be brought back");
    return MRMR_OK;
}

static mrmr_err restore_copies(struct restore *items, size_t n)
{
    mrmr_autofree struct restore_copy *copies = calloc(n, sizeof *copies);
    struct mrmr_crew *crew = NULL;
    if (!copies)
        return mrmr_nomem();
    MRMR_TRY(mrmr_crew_create(RESTORE_CREW, RESTORE_CREW, &crew));
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; i < n && !err; i++) {
        copies[i] = (struct restore_copy){.task.run = restore_copy_run, .item = &items[i]};
        if (items[i].state == RESTORE_NONE && !items[i].held && items[i].node.type != META_DIR)
            err = mrmr_crew_submit(crew, &copies[i].task);
    }
    mrmr_err crew_err = mrmr_crew_wait(crew);
    mrmr_crew_destroy(crew);
    if (crew_err || err)
        return crew_err ? crew_err : err;
    for (size_t i = 0; i < n; i++) {
        if (items[i].state != RESTORE_NONE || items[i].held || items[i].node.type == META_DIR)
            continue;
        items[i].state = RESTORE_COPIED;
        MRMR_TRY(restore_copied(&copies[i]));
    }
    return MRMR_OK;
}

/* --- Names --- */

static mrmr_err restore_parents(struct restore *item, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? pool_restore_make_folder(item, path, (size_t)(slash - path)) : MRMR_OK;
}

static mrmr_err restore_name_free(struct pool_drive *target, const char *from, const char *to)
{
    mrmr_err err = drv_rename(target->drv, from, to, DRV_RENAME_NOREPLACE);
    if (err != MRMR_UNSUPPORTED)
        return err;
    MRMR_TRY(drv_link(target->drv, from, to)); /* a link never replaces either */
    return drv_unlink(target->drv, from);
}

static mrmr_err restore_list_name(int64_t parent, const char *name, void *arg)
{
    MRMR_TRY(mrmr_bytes_add(arg, &parent, sizeof parent));
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

/* *path: the catalog's; then that of this moment, and ret_name leads into it. */
static mrmr_err restore_name_now(
    const struct rebuild *rebuild, struct mrmr_bytes *now, struct restore_name *name)
{
    name->path = name->known;
    if (!rebuild->names)
        return MRMR_OK;
    mrmr_err err = pool_names_place(rebuild->names, name->known, now);
    name->path = err ? NULL : now->data;
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

mrmr_err pool_restore_names(struct restore *item, restore_name_fn fn)
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct meta *meta = item->rebuild->pool->meta;
    MRMR_TRY(meta_names(meta, item->node.id, restore_list_name, &names));
    for (size_t at = 0; at < names.size;) {
        int64_t parent;
        memcpy(&parent, names.data + at, sizeof parent);
        const char *name = names.data + at + sizeof parent;
        at += sizeof parent + strlen(name) + 1;
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, now = MRMR_BYTES_INIT;
        MRMR_TRY(meta_path(meta, parent, &path));
        if (path.size)
            MRMR_TRY(mrmr_bytes_str(&path, "/"));
        MRMR_TRY(mrmr_bytes_str(&path, name));
        struct restore_name restore = {.parent = parent, .name = name, .known = path.data};
        MRMR_TRY(restore_name_now(item->rebuild, &now, &restore));
        MRMR_TRY(fn(item, &restore));
    }
    return MRMR_OK;
}

/* Of a file that was there already: so was this name of it, or nothing can tell. */
static bool restore_is_linked(const struct restore *item, const char *path)
{
    struct drv_stat one, other;
    const struct pool_drive *drive = item->target;
    if (!(drive->info.caps & DRV_CAP_STABLE_INO))
        return true;
    return !drv_stat(drive->drv, item->path.data, &one) && !drv_stat(drive->drv, path, &other) &&
           one.ino == other.ino && one.dev == other.dev;
}

static mrmr_err restore_link(struct restore *item, const struct restore_name *name)
{
    const char *path = name->path;
    if (pool_restore_is_gone(item, name) || strcmp(path, item->path.data) == 0)
        return MRMR_OK;
    MRMR_TRY(restore_parents(item, path));
    mrmr_err err = drv_link(item->target->drv, item->path.data, path);
    if (err != MRMR_EXISTS)
        return mrmr_err_drive(err, item->target->meta.name);
    if (item->state == RESTORE_KEPT && restore_is_linked(item, path))
        return MRMR_OK;
    item->rebuild->report->conflicts++;
    pool_tell(item->rebuild->pool, item->rebuild->job, true, "conflict", item->target,
        "'%s', another name of '%s', is not restored: another file is in its place on drive %s",
        path, item->path.data, item->target->meta.name);
    return MRMR_OK;
}

mrmr_err pool_restore_stat(struct restore *item, struct drv_stat *ret_stat)
{
    return mrmr_err_drive(
        drv_stat(item->target->drv, item->path.data, ret_stat), item->target->meta.name);
}

bool pool_restore_is_there(const struct restore *item, const struct drv_stat *stat)
{
    struct meta_node there;
    pool_node_from_stat(&there, &item->there);
    return pool_stat_same(&item->target->info, &there, stat) == POOL_SAME;
}

/* Writers stand still: what is seen of the file afterwards is what the names and nobody else made
 * of it. */
static mrmr_err restore_names_locked(struct restore *item, bool due)
{
    struct drv_stat stat;
    if (due) {
        MRMR_TRY(mrmr_err_drive(
            restore_name_free(item->target, item->work, item->path.data), item->target->meta.name));
        item->state = RESTORE_PLACED;
    } else {
        MRMR_TRY(pool_restore_stat(item, &stat));
        if (!pool_restore_is_there(item, &stat))
            return mrmr_fail(MRMR_CHANGED, "it was saved while its other names were looked for");
    }
    if (item->node.nlink > 1 && !item->incomplete)
        MRMR_TRY(pool_restore_names(item, restore_link));
    return pool_restore_stat(item, &item->there);
}

/* due: the copy gets its name; else only its further names are made. */
static mrmr_err restore_names(struct restore *item, bool due)
{
    struct pool *pool = item->rebuild->pool;
    MRMR_TRY(pool_stop_for(pool, item->rebuild->job, &item->target->meta.id, 1));
    mrmr_err err = restore_names_locked(item, due);
    pool_writers_go(pool->writers);
    return err;
}

static mrmr_err restore_place(struct restore *item)
{
    if (item->held) {
        MRMR_TRY(pool_repair_node(item->rebuild->pool, item->rebuild->job, item->node.id, true));
        item->state = RESTORE_PLACED;
        return MRMR_OK;
    }
    if (item->node.type == META_DIR) {
        MRMR_TRY(pool_restore_make_folder(item, item->path.data, item->path.size));
        item->state = RESTORE_PLACED;
        return MRMR_OK;
    }
    if (item->incomplete)
        MRMR_TRY(pool_restore_incomplete_path(item));
    if (item->state == RESTORE_KEPT)
        return MRMR_OK;
    MRMR_TRY(restore_parents(item, item->path.data));
    return restore_names(item, true);
}

static mrmr_err restore_places(struct restore *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool due =
            items[i].state == RESTORE_COPIED ||
            (items[i].state == RESTORE_NONE && (items[i].held || items[i].node.type == META_DIR));
        /* A run that was cut short may have placed a file and not all of its names. */
        bool names = items[i].state == RESTORE_KEPT && items[i].node.type == META_REG &&
                     items[i].node.nlink > 1;
        if (!due && !names)
            continue;
        mrmr_err err = due ? restore_place(&items[i]) : restore_names(&items[i], false);
        if (err == MRMR_CANCELLED || mrmr_ran_short(err) || err == MRMR_BUSY)
            return err;
        if (err)
            restore_failed(&items[i], "it cannot be put in place");
    }
    return MRMR_OK;
}

/* So that each target has its turn once. */
static bool restore_is_first_on(const struct restore *items, size_t i)
{
    bool first = items[i].target != NULL;
    for (size_t j = 0; j < i && first; j++)
        first = items[j].target != items[i].target;
    return first;
}

static mrmr_err restore_sync(struct restore *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (restore_is_first_on(items, i))
            MRMR_TRY(
                mrmr_err_drive(drv_sync_all(items[i].target->drv), items[i].target->meta.name));
    return MRMR_OK;
}

/* Into free space: not through MRMR, or it would be recorded. */
static void restore_tell_went(struct restore *item)
{
    if (!item->rebuild->away || item->node.type == META_DIR)
        return;
    mrmr_err_hint(
        mrmr_err_drive(mrmr_fail(MRMR_ABSENT, "it was removed while it was brought there"),
            item->target->meta.name),
        "run rebuild again to have it back");
    restore_failed(item, "it cannot be brought back");
}

static void restore_count(struct restore *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pool_rebuild_report *report = items[i].rebuild->report;
        if (items[i].incomplete &&
            (items[i].state == RESTORE_KEPT || items[i].state == RESTORE_PLACED)) {
            report->incomplete++;
            report->missing_bytes += pool_restore_missing_bytes(&items[i]);
            continue;
        }
        if (items[i].state == RESTORE_KEPT)
            report->kept++;
        if (items[i].state == RESTORE_WENT)
            restore_tell_went(&items[i]);
        if (items[i].state != RESTORE_PLACED)
            continue;
        report->folders += items[i].node.type == META_DIR;
        report->files += items[i].node.type == META_REG;
        report->others += items[i].node.type != META_DIR && items[i].node.type != META_REG;
        if (items[i].node.type == META_REG)
            report->bytes += items[i].node.size;
    }
}

/* --- A batch --- */

/* A file or symlink stands where a folder of the path should, something is mounted there, or the
 * spot cannot be read: the others can still be brought back. */
static bool restore_is_one_files(mrmr_err err)
{
    switch (mrmr_class_of(err)) {
    case MRMR_CLASS_SPACE:
    case MRMR_CLASS_DENIED:
    case MRMR_CLASS_INVALID:
    case MRMR_CLASS_UNSUPPORTED:
        return true;
    default:
        return mrmr_of_one_thing(err);
    }
}

static mrmr_err restore_begin(struct rebuild *rebuild, int64_t node, struct restore *item)
{
    item->rebuild = rebuild;
    mrmr_err err = meta_node_get(rebuild->pool->meta, node, &item->node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
        item->node.id = node;
        item->state = RESTORE_ENDED;
        return MRMR_OK;
    }
    MRMR_TRY(err);
    if (item->node.drive != rebuild->drive->meta.id) {
        item->state = RESTORE_LEFT;
        return MRMR_OK;
    }
    MRMR_TRY(pool_restore_path(item));
    if (!item->path.size && node != rebuild->drive->meta.root) {
        item->late = true; /* it was removed */
        item->state = RESTORE_ENDED;
        return MRMR_OK;
    }
    snprintf(item->work, sizeof item->work, POOL_WORK "/%lld", (long long)node);
    err = pool_restore_choose(item);
    if (err && restore_is_one_files(err)) {
        restore_failed(item, "it cannot be brought back");
        err = MRMR_OK;
    }
    return err;
}

/* I5: the drives are ours. */
static mrmr_err restore_look(void *arg)
{
    const struct restore_set *set = arg;
    for (size_t i = 0; i < set->n; i++)
        if (restore_is_first_on(set->items, i))
            MRMR_TRY(pool_drive_still_ours(set->items[i].rebuild->pool, set->items[i].target));
    return MRMR_OK;
}

static mrmr_err restore_commit(struct rebuild *rebuild, struct restore_set *set)
{
    struct pool_writers *writers = rebuild->pool->writers;
    mrmr_autofree int64_t *targets = calloc(set->n + 1, sizeof *targets);
    size_t n = 0;
    if (!targets)
        return mrmr_nomem();
    for (size_t i = 0; i < set->n; i++)
        if (restore_is_first_on(set->items, i))
            targets[n++] = set->items[i].target->meta.id;
    MRMR_TRY(pool_stop_for_after(rebuild->pool, rebuild->job, targets, n, restore_look, set));
    mrmr_err err = pool_writers_new_epoch(writers);
    if (!err)
        err = pool_gone_refresh(rebuild->gone);
    for (size_t i = 0; i < set->n && !err; i++)
        err = pool_restore_late(&set->items[i]);
    if (!err)
        err = meta_atomically(rebuild->pool->meta, pool_restore_record, set);
    pool_writers_go(writers);
    return err;
}

mrmr_err pool_restore_batch(struct rebuild *rebuild, const int64_t nodes[], size_t n)
{
    mrmr_autofree struct restore *items = calloc(n, sizeof *items);
    if (!items)
        return mrmr_nomem();
    struct restore_set set = {items, n};
    memset(rebuild->planned, 0, sizeof rebuild->planned);
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; i < n && !err; i++)
        err = restore_begin(rebuild, nodes[i], &items[i]);
    if (!err)
        err = restore_copies(items, n);
    if (!err)
        err = restore_sync(items, n);
    if (!err)
        err = restore_places(items, n);
    if (!err)
        err = restore_sync(items, n);
    if (!err)
        err = restore_commit(rebuild, &set);
    if (!err)
        restore_count(items, n);
    for (size_t i = 0; i < n; i++) {
        mrmr_bytes_free(&items[i].path);
        pool_missing_free(&items[i].missing);
    }
    pool_views_forget(rebuild->pool, 0);
    return err;
}
