/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Renames of files, and exchanges (tree_move.c has the crash argument).
 */
#include "pool/change/tree_move.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_parted.h"

/* --- over another file --- */

static struct tree_node *node_at(struct moving *m, size_t drive, const struct drv_stat *stat)
{
    mrmr_locked(&m->tree->lock);
    struct tree_node *node =
        tree_find_locked(m->tree, tree_number(m->tree, drive, stat->ino, "", m->to_name));
    if (node)
        tree_ref_locked(node);
    return node;
}

/* What another file takes the place of: what counts of it is kept, also against writes that are to
 * come. */
static mrmr_err keep_replaced(struct moving *m, size_t drive, const struct drv_stat *stat,
    struct tree_node *node, struct tree_replacing *ret_replaced)
{
    const struct tree_inode inode = {drive, stat->ino};
    if (node && stat->type == DRV_REG)
        MRMR_TRY(tree_keep_known(m->tree, node, &inode, stat->nlink <= 1, m->epoch));
    return tree_keep_replaced(m->tree, drive, m->to_path.data, stat, m->epoch, ret_replaced);
}

/* Its only name, to a drive that tells no upper case from lower: it is written another way. */
static mrmr_err rename_folded(struct moving *m, size_t drive, const struct drv_stat *from)
{
    m->folded = true;
    MRMR_TRY(moving_record(m, drive, from));
    mrmr_err err = moving_rename(m, drive, DRV_RENAME_REPLACE);
    return err ? moving_not_made(m, drive, from) : MRMR_OK;
}

/* Nothing is there, as far as is known. */
static mrmr_err rename_to_free(struct moving *m, size_t drive, const struct drv_stat *from)
{
    MRMR_TRY(moving_record(m, drive, from));
    mrmr_err err = moving_rename(m, drive, DRV_RENAME_NOREPLACE);
    if (err == MRMR_UNSUPPORTED)
        err = moving_rename(m, drive, DRV_RENAME_REPLACE);
    return err ? moving_not_made(m, drive, from) : MRMR_OK;
}

/* Two names of one file: the old one goes. */
static mrmr_err rename_to_itself(struct moving *m, size_t drive, const struct drv_stat *from)
{
    MRMR_TRY(moving_record(m, drive, from));
    mrmr_err err = tree_remove_copy(
        m->tree, m->caller, m->from_folder, m->from_name, m->from_path.data, drive, m->epoch);
    return err ? moving_not_made(m, drive, from) : MRMR_OK;
}

/* What may fail for want of room comes before the record. */
static mrmr_err rename_over(
    struct moving *m, size_t drive, const struct drv_stat *from, const struct drv_stat *stat)
{
    struct tree_node *node = node_at(m, drive, stat);
    struct tree_replacing replaced;
    bool goes = node && stat->nlink <= 1;
    bool parts = goes || (node && tree_node_parts(m->tree, node, m->to_folder, m->to_name));
    mrmr_err err = keep_replaced(m, drive, stat, node, &replaced);
    const bool keeps = !err;
    if (!err)
        err = moving_record(m, drive, from);
    bool recorded = !err;
    if (!err && parts)
        tree_parted_keep(m->tree, node, drive, m->to_path.data, stat);
    if (!err && goes)
        tree_node_goes(m->tree, node, stat);
    if (!err)
        err = moving_rename(m, drive, DRV_RENAME_REPLACE);
    if (keeps)
        tree_keep_replaced_end(m->tree, drive, m->to_path.data, stat, m->epoch, &replaced, err);
    if (err && goes)
        tree_node_stays(m->tree, node);
    else if (goes)
        tree_node_went(m->tree, node);
    if (err && parts)
        tree_parted_drop(m->tree, node);
    if (!err && node)
        moving_node_removed(m, node);
    if (err && recorded)
        err = moving_not_made(m, drive, from);
    tree_put(m->tree, node);
    return err;
}

static mrmr_err place_copy(struct moving *m, size_t drive, const struct drv_stat *from)
{
    struct drv *drv = m->tree->drive[drive].drive->drv;
    struct drv_stat to;
    mrmr_err err = drv_stat(drv, m->to_path.data, &to);
    if (err == MRMR_ABSENT) {
        err = rename_to_free(m, drive, from);
        if (err != MRMR_EXISTS || m->flags & POOL_RENAME_NOREPLACE)
            return err;
        err = drv_stat(drv, m->to_path.data, &to); /* somebody made it just now */
    }
    MRMR_TRY(err);
    if (m->flags & POOL_RENAME_NOREPLACE)
        return mrmr_fail(MRMR_EXISTS, NULL);
    if (to.type == DRV_DIR)
        return mrmr_fail(MRMR_IS_DIR, "a folder lies there that does not show");
    MRMR_TRY(tree_gone_compared(m->tree, drive, m->to_path.data, &to));
    if (to.ino && to.ino == from->ino)
        return from->nlink > 1 ? rename_to_itself(m, drive, from) : rename_folded(m, drive, from);
    return rename_over(m, drive, from, &to);
}

static mrmr_err from_stat(struct moving *m, size_t drive, struct drv_stat *ret_stat)
{
    const bool shown = drive == tree_set_first(&m->from->on);
    mrmr_err err = drv_stat(m->tree->drive[drive].drive->drv, m->from_path.data, ret_stat);
    if (!err && shown) { /* that is the file that was asked for */
        const struct tree_spot spot = tree_spot(m->tree, m->from_node);
        err = tree_check_stat(m->tree, &spot, m->from_path.data, ret_stat);
    } else if (!err && ret_stat->type == DRV_DIR)
        err = mrmr_fail(MRMR_ABSENT, NULL);
    m->stale = shown && mrmr_class_of(err) == MRMR_CLASS_ABSENT;
    return err;
}

static mrmr_err move_copy(struct moving *m, size_t drive)
{
    mrmr_autobytes struct mrmr_bytes folder = MRMR_BYTES_INIT;
    struct drv_stat from;
    MRMR_TRY(from_stat(m, drive, &from));
    MRMR_TRY(tree_place_folder(m->tree, m->to_folder, drive, &folder));
    mrmr_err err = place_copy(m, drive, &from);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    mrmr_bytes_clear(&folder); /* its copy on this drive may have been removed directly */
    MRMR_TRY(moving_place_anew(m));
    MRMR_TRY(tree_place_folder(m->tree, m->to_folder, drive, &folder));
    return place_copy(m, drive, &from);
}

/* Copies that do not show go along with the one that does, or would show in its place: one on a drive
 * that is away is removed. */
static mrmr_err move_hidden(struct moving *m, size_t shown)
{
    const struct tree_set on = tree_spot(m->tree, m->from_folder).on;
    for (size_t i = 0; i < m->tree->ndrives; i++) {
        bool live = tree_live(&m->tree->drive[i]);
        if (i == shown || !tree_set_has(&on, i) || (live && !m->from->several))
            continue;
        mrmr_err err = live ? move_copy(m, i)
                            : tree_remove_copy(m->tree, m->caller, m->from_folder, m->from_name,
                                  m->from_path.data, i, m->epoch);
        if (!moving_is_fine(err))
            return err;
    }
    return MRMR_OK;
}

/* What had the name on other drives. */
static mrmr_err remove_replaced(struct moving *m, size_t shown)
{
    const struct tree_set on = tree_spot(m->tree, m->to_folder).on;
    if (m->replaces && (m->to->several || !tree_set_has(&m->to->on, shown)))
        MRMR_TRY(tree_place_sync_name(m->tree, shown, m->to_path.data));
    for (size_t i = 0; m->replaces && i < m->tree->ndrives; i++) {
        bool has = m->to->several || tree_set_has(&m->to->on, i) || !tree_live(&m->tree->drive[i]);
        if (i == shown || !has || !tree_set_has(&on, i))
            continue;
        mrmr_err err = tree_remove_copy(
            m->tree, m->caller, m->to_folder, m->to_name, m->to_path.data, i, m->epoch);
        if (!moving_is_fine(err))
            return err;
    }
    return MRMR_OK;
}

mrmr_err moving_file(struct moving *m)
{
    size_t shown = tree_set_first(&m->from->on);
    mrmr_err err = moving_over_begin(m, shown);
    if (!err)
        err = move_copy(m, shown);
    if (err) {
        moving_over_end(m, false);
        return mrmr_err_drive(err, m->tree->drive[shown].drive->meta.name);
    }
    moving_node_moved(
        m->tree, m->from->number, m->from_folder, m->from_name, m->to_folder, m->to_name);
    err = remove_replaced(m, shown);
    moving_over_end(m, true);
    if (!err)
        err = move_hidden(m, shown);
    if (!err)
        return MRMR_OK;
    /* Whoever is told that it failed removes what he would have renamed: by its new name it is there. */
    mrmr_log_story(
        MRMR_LOG_WARN, "a copy that a rename would have taken along, or replaced, stays");
    mrmr_log(MRMR_LOG_WARN,
        "%s was renamed to %s, and another drive still has an older file by one of these names "
        "(see: mrmr where)",
        m->from_path.data, m->to_path.data);
    return MRMR_OK;
}

/* --- exchanges --- */

/* If either is a folder, or known, whoever looks for it must know. */
static mrmr_err exchange_on(struct moving *m, size_t drive)
{
    struct drv *drv = m->tree->drive[drive].drive->drv;
    struct drv_stat a, b;
    MRMR_TRY(drv_stat(drv, m->from_path.data, &a));
    MRMR_TRY(drv_stat(drv, m->to_path.data, &b));
    MRMR_TRY(tree_keep_moved(m->tree, drive, m->from_path.data, m->to_path.data, &a, &b, m->epoch));
    mrmr_err err = moving_rename(m, drive, DRV_RENAME_EXCHANGE);
    return err ? tree_not_moved(
                     m->tree, drive, m->from_path.data, m->to_path.data, &a, &b, m->epoch)
               : MRMR_OK;
}

mrmr_err moving_exchange(struct moving *m)
{
    size_t drive = tree_set_first(&m->from->on);
    struct tree_set alone = {{0}};
    tree_set_add(&alone, drive);
    if (!tree_set_equal(&m->from->on, &alone) || !tree_set_equal(&m->to->on, &alone) ||
        m->from->several || m->to->several)
        return mrmr_fail(MRMR_CROSS_DEVICE, "they lie on different drives");
    mrmr_err err = exchange_on(m, drive);
    MRMR_TRY(mrmr_err_drive(err, m->tree->drive[drive].drive->meta.name));
    moving_node_moved(
        m->tree, m->from->number, m->from_folder, m->from_name, m->to_folder, m->to_name);
    moving_node_moved(
        m->tree, m->to->number, m->to_folder, m->to_name, m->from_folder, m->from_name);
    return MRMR_OK;
}
