/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Renames of folders: on every drive where one lies (tree_move.c has the crash argument).
 */
#include "pool/change/tree_move.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_sync.h"

#include <string.h>

static mrmr_err place_everywhere(struct moving *m)
{
    for (size_t i = 0; i < m->tree->ndrives; i++) {
        mrmr_autobytes struct mrmr_bytes folder = MRMR_BYTES_INIT;
        if (!tree_set_has(&m->from->on, i))
            continue;
        mrmr_err err = tree_live(&m->tree->drive[i])
                           ? tree_place_folder(m->tree, m->to_folder, i, &folder)
                           : MRMR_OFFLINE;
        if (mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE && !tree_live(&m->tree->drive[i]))
            err = tree_place_away(m->tree, m->to_folder, i);
        MRMR_TRY(err);
    }
    return MRMR_OK;
}

static const struct tree_set none = {{0}};

static mrmr_err folder_back_on(struct moving *m, size_t drive)
{
    struct drv *drv = m->tree->drive[drive].drive->drv;
    struct drv_stat stat;
    if (!tree_live(&m->tree->drive[drive]))
        return tree_later_not_renamed(m->tree, drive, m->from_path.data, m->to_path.data, m->epoch);
    MRMR_TRY(drv_stat(drv, m->to_path.data, &stat));
    MRMR_TRY(
        tree_keep_moved(m->tree, drive, m->to_path.data, m->from_path.data, &stat, NULL, m->epoch));
    mrmr_err err = drv_rename(drv, m->to_path.data, m->from_path.data, DRV_RENAME_NOREPLACE);
    return err ? tree_not_moved(
                     m->tree, drive, m->to_path.data, m->from_path.data, &stat, NULL, m->epoch)
               : MRMR_OK;
}

/* Drives that renamed it already do so again, the other way round; *done: those that cannot. */
static void folder_back(struct moving *m, struct tree_set *done)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    for (size_t i = 0; i < m->tree->ndrives; i++) {
        if (!tree_set_has(done, i))
            continue;
        if (!folder_back_on(m, i)) {
            tree_set_remove(done, i);
            continue;
        }
        mrmr_log_story(MRMR_LOG_WARN, "a folder has a new name on one drive and not on another");
        mrmr_log(MRMR_LOG_WARN,
            "drive %s has the folder %s as %s until the pool is mounted the next time, or until "
            "somebody renames it there",
            m->tree->drive[i].drive->meta.name, m->from_path.data, m->to_path.data);
    }
    mrmr_story_restore(&story);
}

static mrmr_err folder_on(struct moving *m, size_t drive)
{
    struct drv *drv = m->tree->drive[drive].drive->drv;
    struct drv_stat stat;
    MRMR_TRY(drv_stat(drv, m->from_path.data, &stat));
    MRMR_TRY(moving_record(m, drive, &stat));
    mrmr_err err = moving_rename(m, drive, DRV_RENAME_REPLACE);
    return err ? moving_not_made(m, drive, &stat) : MRMR_OK;
}

/* When the drive is back. What an empty folder leaves there goes first. Only the record says that the folder above lies there, too:
 * whoever looked at that before has not seen it, and may be about to say so. */
static mrmr_err folder_later(struct moving *m, size_t drive)
{
    if (m->replaces && tree_set_has(&m->to->on, drive)) {
        mrmr_err err = tree_remove_folder(m->tree, NULL, drive, m->to_path.data, m->epoch);
        if (!moving_is_fine(err))
            return err;
    }
    MRMR_TRY(tree_later_rename(m->tree, drive, m->from_path.data, m->to_path.data, m->epoch));
    tree_set_add(&m->waits, drive);
    if (tree_place_away(m->tree, m->to_folder, drive))
        mrmr_log_story(MRMR_LOG_WARN, "that a folder lies on a drive that is away may not show");
    return MRMR_OK;
}

/* Of one that goes at this moment nobody knows whether it has renamed it. */
static mrmr_err folder_now_or_later(struct moving *m, size_t drive)
{
    struct tree_drive *own = &m->tree->drive[drive];
    mrmr_err err = tree_live(own) ? folder_on(m, drive) : MRMR_OFFLINE;
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE || !tree_drive_failed(own, err))
        return err;
    err = folder_later(m, drive);
    return err == MRMR_CHANGED ? folder_on(m, drive) : err;
}

/* Those that are there first: they refuse who may not. */
static mrmr_err folder_on_these(struct moving *m, bool live, struct tree_set *done)
{
    for (size_t i = 0; i < m->tree->ndrives; i++) {
        if (!tree_set_has(&m->from->on, i) || tree_set_has(done, i) ||
            (live && !tree_live(&m->tree->drive[i])))
            continue;
        mrmr_err err = folder_now_or_later(m, i);
        if (!live && mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            continue; /* the catalog has it not: it is not known to lie there */
        MRMR_TRY(mrmr_err_drive(err, m->tree->drive[i].drive->meta.name));
        tree_set_add(done, i);
    }
    return MRMR_OK;
}

/* *done: those that renamed it; if it fails, and was not taken back. */
static mrmr_err folder_on_each(struct moving *m, struct tree_set *done)
{
    *done = none;
    mrmr_err err = folder_on_these(m, true, done);
    if (!err)
        err = folder_on_these(m, false, done);
    if (err)
        folder_back(m, done);
    else if (tree_set_equal(done, &none))
        return mrmr_fail(MRMR_ABSENT, NULL);
    return err;
}

/* The empty folder that was replaced, on drives where nothing took its place. */
static void folder_replaced(struct moving *m)
{
    for (size_t i = 0; m->replaces && i < m->tree->ndrives; i++)
        if (tree_set_has(&m->to->on, i) && !tree_set_has(&m->from->on, i)) {
            if (tree_remove_folder(m->tree, NULL, i, m->to_path.data, m->epoch))
                mrmr_log_story(MRMR_LOG_INFO, "an empty folder stays");
            tree_owe_live(m->tree, m->to_folder, &m->to->on);
        }
}

/* More than one thing is to be done: on several drives, or in two records. */
static bool takes_several(const struct moving *m)
{
    const struct tree_set *on = &m->from->on;
    struct tree_set alone = {{0}};
    tree_set_add(&alone, tree_set_first(on));
    return !tree_set_equal(on, &alone) || !tree_live(&m->tree->drive[tree_set_first(on)]);
}

static bool is_below(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    return strncmp(path, folder, size) == 0 && path[size] == '/';
}

/* MRMR_OK: it lies there. */
static mrmr_err lies_on(const struct moving *m, size_t drive, const char *above)
{
    const struct tree_drive *own = &m->tree->drive[drive];
    struct meta_node known;
    struct drv_stat stat;
    if (own->drive->meta.state == META_DRIVE_RETIRED)
        return mrmr_fail(MRMR_OFFLINE, NULL);
    if (!tree_live(own)) {
        MRMR_TRY(tree_gone_known(m->tree, drive, m->from_path.data, &known));
        return known.type == META_DIR ? MRMR_OK : mrmr_fail(MRMR_NOT_DIR, NULL);
    }
    MRMR_TRY(drv_stat(own->drive->drv, m->from_path.data, &stat));
    const bool hidden = tree_gone_hides_stat(m->tree, drive, above, m->from_name, &stat);
    return stat.type == DRV_DIR && stat.dev == own->dev && !hidden ? MRMR_OK
                                                                   : mrmr_fail(MRMR_NOT_DIR, NULL);
}

/* A folder is what has its path on any drive. What is known of that may be older than what lies there now, or half of what
 * another rename had done when somebody looked: it would leave the folder under both names. So the drives that
 * are there are asked, and the catalog of those that are away; the path is ours alone. */
static mrmr_err lies_on_these(struct moving *m)
{
    mrmr_autobytes struct mrmr_bytes above = MRMR_BYTES_INIT;
    MRMR_TRY(tree_path(m->tree, m->from_folder, &above));
    for (size_t i = 0; i < m->tree->ndrives; i++) {
        const struct tree_drive *own = &m->tree->drive[i];
        const bool was = tree_set_has(&m->from->on, i);
        mrmr_err err = lies_on(m, i, above.data ? above.data : "");
        if (was && mrmr_class_of(err) == MRMR_CLASS_ABSENT && tree_live(own))
            tree_set_remove(&m->from->on, i);
        if (err || was)
            continue;
        if (tree_live(own) && !(own->drive->info.caps & DRV_CAP_WRITABLE))
            return mrmr_err_drive(mrmr_fail(MRMR_READONLY, "it lies on a drive that is only read"),
                own->drive->meta.name);
        tree_set_add(&m->from->on, i);
    }
    return MRMR_OK;
}

/* What it lay on when it was renamed, whatever somebody saw of that in between. */
static void lies_on_all(struct moving *m)
{
    mrmr_locked(&m->tree->lock);
    struct tree_node *node = tree_find_locked(m->tree, m->from->number);
    if (node)
        tree_lies_on_locked(m->tree, node, &m->from->on);
}

static mrmr_err folder_rename(struct moving *m)
{
    char record[TREE_RECORD_NAME] = "";
    struct tree_set done;
    if (is_below(m->to_path.data, m->from_path.data))
        return mrmr_fail(MRMR_INVALID, "a folder cannot be moved into itself");
    MRMR_TRY(lies_on_these(m));
    if (tree_set_equal(&m->from->on, &none))
        return mrmr_fail(MRMR_ABSENT, NULL);
    MRMR_TRY(place_everywhere(m));
    MRMR_TRY(tree_move_records_settle(m->tree, &m->from->on, m->from_path.data));
    if (takes_several(m))
        MRMR_TRY(
            tree_move_record(m->tree, &m->from->on, m->from_path.data, m->to_path.data, record));
    mrmr_err err = folder_on_each(m, &done);
    if (err && record[0] && !tree_set_equal(&done, &none)) {
        tree_move_record_back(m->tree, record, &done);
        return err;
    }
    if (!err)
        folder_replaced(m);
    for (size_t i = 0; i < m->tree->ndrives; i++)
        if (tree_set_has(&m->waits, i))
            tree_set_remove(&done, i);
    tree_move_record_end(m->tree, record, &done, m->from_path.data, m->to_path.data, !err);
    return err;
}

/* The empty one that is replaced. */
static void folder_goes(struct moving *m)
{
    struct drv_stat stat = {.type = DRV_DIR};
    tree_folder_stat(m->tree, &m->to->on, m->to_path.data, &stat);
    tree_node_goes(m->tree, m->to_node, &stat);
}

mrmr_err moving_folder(struct moving *m)
{
    if (m->replaces)
        folder_goes(m);
    mrmr_err err = folder_rename(m);
    if (err && m->replaces)
        tree_node_stays(m->tree, m->to_node);
    MRMR_TRY(err);
    lies_on_all(m);
    moving_node_moved(
        m->tree, m->from->number, m->from_folder, m->from_name, m->to_folder, m->to_name);
    if (m->replaces) {
        tree_node_went(m->tree, m->to_node);
        moving_node_removed(m, m->to_node);
    }
    return MRMR_OK;
}
