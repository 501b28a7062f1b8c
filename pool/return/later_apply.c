/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was asked of folders while their drive was away is done on it (later.h): names first, in order,
 * each durable and over before the next one (later_rename.c), then attributes (later_set.c).
 */
#include "pool/return/later_apply.h"

#include "base/text.h"
#include <string.h>

/* --- telling --- */

void later_tell(struct pool_later *l, const char *path, const char *other, const char *what)
{
    mrmr_autobytes struct mrmr_bytes shown = MRMR_BYTES_INIT, more = MRMR_BYTES_INIT;
    const char *name = l->drive->meta.name;
    if (mrmr_text_print(&shown, *path ? path : "/", *path ? strlen(path) : 1) ||
        (other && (mrmr_bytes_str(&more, " to '") || mrmr_text_print(&more, other, strlen(other)) ||
                      mrmr_bytes_str(&more, "'"))))
        return;
    const char *to = other ? more.data : "";
    pool_tell(l->pool, l->job, true, "conflict", l->drive,
        "on drive %s, '%.600s' was changed%.600s while the drive was away: %s", name, shown.data,
        to, what);
    if (l->pool->access != POOL_OWN)
        mrmr_log(MRMR_LOG_WARN, "drive %s: '%.600s' was changed%.600s while the drive was away: %s",
            name, shown.data, to, what);
}

/* --- where a folder is --- */

/* Not to know whether it is there is not to know that it is gone. */
mrmr_err later_is_at(struct pool_later *l, const struct pool_gone_record *record, const char *path,
    struct drv_stat *ret_stat, bool *ret_is)
{
    mrmr_err err = drv_stat(l->drive->drv, path, ret_stat);
    *ret_is = !err && pool_gone_is(record, &l->drive->info, ret_stat);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR || err == MRMR_LOOP
               ? MRMR_OK
               : err;
}

static mrmr_err find_in(struct pool_later *l, const struct pool_gone_record *record,
    const struct pool_moved_paths *moved, const char **ret_path, struct drv_stat *ret_stat)
{
    bool is;
    MRMR_TRY(later_is_at(l, record, record->path, ret_stat, &is));
    *ret_path = is ? record->path : NULL;
    for (size_t i = 0; !is && i < moved->n; i++) {
        MRMR_TRY(later_is_at(l, record, moved->path[i], ret_stat, &is));
        *ret_path = is ? moved->path[i] : NULL;
    }
    return MRMR_OK;
}

/* Where a scan has found it since, by its inode. */
static mrmr_err find_by_inode(struct pool_later *l, const struct pool_gone_record *record,
    char **ret_path, struct drv_stat *ret_stat)
{
    mrmr_autofree char *path = NULL;
    bool is = false;
    if (l->drive->info.caps & DRV_CAP_STABLE_INO)
        MRMR_TRY(pool_gone_by_inode(l->pool, record, &path));
    if (path)
        MRMR_TRY(later_is_at(l, record, path, ret_stat, &is));
    *ret_path = is ? mrmr_steal(path) : NULL;
    return MRMR_OK;
}

/* At the catalog's path, or where records of renames lead, or where it was found since. *ret_path NULL: it is
 * not there. */
mrmr_err later_find(struct pool_later *l, const struct pool_gone_record *record, char **ret_path,
    struct drv_stat *ret_stat)
{
    struct pool_moved_paths moved = {.n = 0};
    const char *found;
    if (*record->path && pool_moved_any(l->pool))
        MRMR_TRY(pool_moved_paths(l->pool, record->drive, record->path, &moved));
    mrmr_err err = find_in(l, record, &moved, &found, ret_stat);
    *ret_path = !err && found ? strdup(found) : NULL;
    if (!err && found && !*ret_path)
        err = mrmr_nomem();
    pool_moved_paths_free(&moved);
    return err || found ? err : find_by_inode(l, record, ret_path, ret_stat);
}

/* --- what answers mean --- */

/* Who asks again gets the same answer, until somebody changes what lies there. Anything else may pass:
 * a drive that is full, busy, read-only, or not this user's. */
bool later_is_final(mrmr_err err)
{
    switch (err) {
    case MRMR_EXISTS:
    case MRMR_NOT_EMPTY:
    case MRMR_NOT_DIR:
    case MRMR_IS_DIR:
    case MRMR_LOOP:
    case MRMR_NAME_TOO_LONG:
    case MRMR_INVALID:
    case MRMR_VALUE_TOO_LARGE:
        return true;
    default:
        return mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED;
    }
}

struct removal {
    bool is;
};

static mrmr_err note_removal(const struct pool_gone_record *record, void *arg)
{
    (void)record;
    ((struct removal *)arg)->is = true;
    return MRMR_OK;
}

/* It was removed in the end, and that has been done, or has been told of. */
bool later_was_removed(struct pool_later *l, const struct pool_gone_record *record)
{
    const struct meta_node node = {
        .drive = record->drive, .type = record->type, .ino = record->ino, .btime = record->btime};
    struct removal removal = {false};
    return !pool_gone_each(
               l->gone, POOL_GONE_REMOVED, record->path, &node, note_removal, &removal) &&
           removal.is;
}

/* Who may not read a folder cannot sync it alone. */
mrmr_err later_sync_folder(struct pool_later *l, const char *folder)
{
    mrmr_err err = drv_dir_sync(l->drive->drv, folder);
    if (err == MRMR_DENIED)
        err = drv_sync_all(l->drive->drv);
    return mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED ? MRMR_OK : err;
}

/* --- all of it --- */

static mrmr_err look_before(struct pool_later *l)
{
    for (size_t i = 0; i < l->list->n; i++) {
        mrmr_autofree char *path = NULL;
        if (l->list->record[i].kind != POOL_GONE_SET)
            continue;
        mrmr_err err = later_find(l, &l->list->record[i], &path, &l->seen[i].stat);
        if (err && err != MRMR_DENIED) /* what was asked by who may look is done first */
            return err;
        l->seen[i].is = path;
    }
    return MRMR_OK;
}

mrmr_err pool_later_begin(struct pool *pool, const struct pool_job *job, struct pool_gone *gone,
    struct pool_drive *drive, struct pool_writers *writers, const struct pool_gone_list *list,
    struct pool_later **ret_later)
{
    struct pool_later *l = calloc(1, sizeof *l);
    if (!l)
        return mrmr_nomem();
    *l = (struct pool_later){.pool = pool,
        .job = job,
        .gone = gone,
        .drive = drive,
        .writers = writers,
        .list = list,
        .seen = calloc(list->n + 1, sizeof *l->seen)};
    mrmr_err err = l->seen ? look_before(l) : mrmr_nomem();
    if (err)
        pool_later_end(l);
    else
        *ret_later = l;
    return err;
}

static mrmr_err names(struct pool_later *l)
{
    for (size_t i = 0; i < l->list->n; i++)
        if (l->list->record[i].kind == POOL_GONE_RENAMED)
            MRMR_TRY(later_rename_one(l, &l->list->record[i]));
    return l->before(l->arg, NULL);
}

/* Whatever ends it: who goes on does not know what was made. */
static mrmr_err run(struct pool_later *l)
{
    struct mrmr_story story;
    mrmr_err err = names(l);
    if (err)
        mrmr_story_save(&story);
    later_unmake(l);
    if (err)
        return mrmr_story_restore(&story);
    MRMR_TRY(later_sets_begin(l));
    for (size_t i = 0; i < l->list->n; i++)
        if (l->list->record[i].kind == POOL_GONE_SET)
            MRMR_TRY(later_set_one(l, i));
    return MRMR_OK;
}

mrmr_err pool_later_run(struct pool_later *l, pool_later_fn before, void *arg, size_t *ret_left)
{
    struct mrmr_story story;
    size_t n = 0;
    l->before = before;
    l->arg = arg;
    for (size_t i = 0; i < l->list->n; i++)
        n += !pool_gone_takes(&l->list->record[i]);
    mrmr_err err = mrmr_err_drive(run(l), l->drive->meta.name);
    if (err)
        mrmr_story_save(&story);
    size_t ids = l->ids.size / sizeof(uint64_t);
    mrmr_err settled = pool_gone_settle(l->gone, (uint64_t *)(void *)l->ids.data, ids, false);
    l->done += settled ? 0 : ids;
    *ret_left = n - l->done;
    return err ? mrmr_story_restore(&story) : settled;
}

void pool_later_end(struct pool_later *l)
{
    if (!l)
        return;
    free(l->seen);
    pool_moved_steps_free(&l->steps);
    mrmr_bytes_free(&l->made);
    mrmr_bytes_free(&l->ids);
    free(l);
}
