/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Renames. A file stays on its drive; a folder is renamed on every drive where it lies.
 *
 * Crash argument. Of a file: one rename on its drive, and what it replaces there has a name where it
 * is kept before that (tree_keep.c). A copy of the replaced name on another drive is removed after
 * it is durable: a cut in between leaves both, and the one that was renamed shows, being new to the catalog.
 * The same is left where that copy cannot be removed: the rename was made, and has not failed for who asked.
 *
 * Of a folder on several drives: which drives and which names is written down first, durably, in a
 * file `rename-<16 hex>` of the pool's folder; then each drive renames, and has its folders synced; then
 * the file goes. A cut in between leaves the folder under both names, every file in one of them; a power cut may
 * take the rename back on one drive and not on another only as long as the file is there. Whoever opens the tree next
 * renames what is left (tree_move_record.c).
 *
 * A drive of the folder that is away has its part recorded, and makes it when it is back (later.h): it
 * shows under the new name, and the old one is free. If a part can neither be made nor recorded, those that
 * were are taken back. Where that fails, too, the record is replaced by one that says the way back for these drives:
 * whoever opens the tree next makes it. A cut before that finds the first record, and renames the folder everywhere.
 */
#include "pool/tree_change.h"
#include "pool/tree_load.h"
#include "pool/tree_look.h"
#include "pool/tree_number.h"
#include "pool/tree_parted.h"

#include <string.h>

enum { MOVE_TRIES = 3 };

struct moving {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *from_folder, *to_folder;
    const char *from_name, *to_name;
    unsigned flags;
    struct tree_name *from, *to; /* what they show */
    struct tree_node *from_node, *to_node;
    bool replaces; /* to shows something */
    bool stale;    /* the drive has something else by the name, or nothing: it was changed there */
    bool folded;   /* the drive takes both names for one */
    struct mrmr_bytes from_path, to_path;
    struct tree_set waits; /* drives that rename it when they are back */
    uint64_t epoch;
};

/* --- what may be --- */

/* Of a folder what is away is renamed when it is back; of anything else a copy that is there. */
static mrmr_err live_all(struct pool_tree *tree, const struct tree_set *on)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && !tree_live(&tree->drive[i]))
            return mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "it lies on a drive that is away"),
                tree->drive[i].drive->meta.name);
    return MRMR_OK;
}

static mrmr_err folder_at_empty(struct moving *m)
{
    struct tree_node *node;
    struct pool_attr attr;
    int64_t keep;
    MRMR_TRY(pool_tree_lookup(m->tree, m->to_folder->number, m->to_name, &attr, &keep));
    mrmr_err err = tree_node(m->tree, attr.node, true, &node);
    pool_tree_forget(m->tree, attr.node, 1);
    MRMR_TRY(err);
    err = tree_folder_empty(m->tree, node);
    tree_put(m->tree, node);
    return err;
}

/* Both names would have to change at one moment, and who records what is to be done later has no way to
 * promise that: as where two drives would have to. */
static mrmr_err may_exchange(struct moving *m)
{
    if (!live_all(m->tree, &m->from->on) && !live_all(m->tree, &m->to->on))
        return MRMR_OK;
    return mrmr_fail(MRMR_CROSS_DEVICE, "one of them lies on a drive that is away");
}

static mrmr_err may_replace(struct moving *m)
{
    bool from_folder = m->from->kind == POOL_DIR, to_folder = m->to->kind == POOL_DIR;
    if (m->flags & POOL_RENAME_NOREPLACE)
        return mrmr_fail(MRMR_EXISTS, NULL);
    if (m->flags & POOL_RENAME_EXCHANGE)
        return may_exchange(m);
    if (from_folder != to_folder)
        return mrmr_fail(from_folder ? MRMR_NOT_DIR : MRMR_IS_DIR, NULL);
    return to_folder ? folder_at_empty(m) : MRMR_OK;
}

static bool is_itself(const struct moving *m)
{
    return m->replaces && m->from->number == m->to->number;
}

static mrmr_err look(struct moving *m)
{
    MRMR_TRY(tree_folder_ready(m->tree, m->from_folder));
    MRMR_TRY(tree_folder_ready(m->tree, m->to_folder));
    MRMR_TRY(tree_name_stay(m->tree, m->from_folder, m->from_name, m->from, &m->from_node));
    mrmr_err err = tree_name_stay(m->tree, m->to_folder, m->to_name, m->to, &m->to_node);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    m->replaces = !err;
    if (!m->replaces && m->flags & POOL_RENAME_EXCHANGE)
        return mrmr_fail(MRMR_ABSENT, NULL);
    if (is_itself(m))
        return m->flags & POOL_RENAME_NOREPLACE ? mrmr_fail(MRMR_EXISTS, NULL) : MRMR_OK;
    if (m->from->kind != POOL_DIR)
        MRMR_TRY(live_all(m->tree, &m->from->on));
    return m->replaces ? may_replace(m) : MRMR_OK;
}

static mrmr_err path_below(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct mrmr_bytes *path)
{
    MRMR_TRY(tree_path(tree, folder, path));
    if (path->size)
        MRMR_TRY(mrmr_bytes_add(path, "/", 1));
    return mrmr_bytes_str(path, name);
}

/* --- the nodes --- */

static void node_removed(struct moving *m, struct tree_node *node)
{
    mrmr_locked(&m->tree->lock);
    tree_unlink_locked(m->tree, node, m->to_folder, m->to_name);
}

/* A name leads to another node than before. */
static void node_moved(struct pool_tree *tree, uint64_t number, struct tree_node *from,
    const char *from_name, struct tree_node *to, const char *to_name)
{
    mrmr_locked(&tree->lock);
    struct tree_node *node = tree_find_locked(tree, number);
    if (!node)
        return;
    const struct tree_name shows = {.number = number, .kind = node->kind, .on = node->on};
    tree_ref_locked(node);
    node->own_until = mrmr_clock_monotonic() + tree_own_window;
    struct tree_node *again = tree_get_locked(tree, to, to_name, &shows);
    if (again)
        tree_put_locked(tree, again);
    tree_name_shows_locked(to, to_name, &shows);
    tree_unlink_locked(tree, node, from, from_name);
    tree_put_locked(tree, node);
}

uint64_t tree_moves(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    return tree->moves;
}

bool tree_moved_since(struct pool_tree *tree, uint64_t moves)
{
    mrmr_locked(&tree->lock);
    /* One of those under way at the most: there may always be another. */
    for (uint64_t now = tree->moves; tree->moving && tree->moves == now;)
        pthread_cond_wait(&tree->moved, &tree->lock);
    return tree->moves != moves;
}

static void moving_begin(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    tree->moving++;
}

static void moving_end(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    tree->moving--;
    tree->moves++;
    pthread_cond_broadcast(&tree->moved);
}

/* --- files --- */

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
    struct tree_node *node, char kept[TREE_KEPT_PATH], bool *ret_known)
{
    const struct tree_inode inode = {drive, stat->ino};
    if (node && stat->nlink <= 1 && stat->type == DRV_REG)
        MRMR_TRY(tree_keep_known(m->tree, node, &inode, m->epoch));
    return tree_keep_replaced(m->tree, drive, m->to_path.data, stat, m->epoch, kept, ret_known);
}

static void owe_names(struct moving *m, size_t drive)
{
    tree_owe(m->tree, m->from_folder, drive);
    tree_owe(m->tree, m->to_folder, drive);
}

static mrmr_err rename_as_caller(struct moving *m, size_t drive, unsigned flags)
{
    owe_names(m, drive);
    tree_act_as(m->caller);
    mrmr_err err =
        drv_rename(m->tree->drive[drive].drive->drv, m->from_path.data, m->to_path.data, flags);
    owe_names(m, drive);
    return err;
}

mrmr_err tree_not_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *a, const struct drv_stat *b, uint64_t epoch)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (!tree_keep_not_moved(tree, drive, from, to, a, b, epoch))
        return mrmr_story_restore(&story);
    mrmr_log_story(MRMR_LOG_WARN, "taking back the record of a rename");
    mrmr_story_restore(&story);
    mrmr_log_story(MRMR_LOG_WARN, "the rename itself");
    return mrmr_fail(MRMR_IO, "a rename failed, and its record could not be taken back");
}

/* from: what is renamed. */
static mrmr_err record_move(struct moving *m, size_t drive, const struct drv_stat *from)
{
    return tree_keep_moved(
        m->tree, drive, m->from_path.data, m->to_path.data, from, NULL, m->epoch);
}

static mrmr_err record_not_moved(struct moving *m, size_t drive, const struct drv_stat *from)
{
    return tree_not_moved(m->tree, drive, m->from_path.data, m->to_path.data, from, NULL, m->epoch);
}

/* Its only name, to a drive that tells no upper case from lower: it is written another way. */
static mrmr_err rename_folded(struct moving *m, size_t drive, const struct drv_stat *from)
{
    m->folded = true;
    MRMR_TRY(record_move(m, drive, from));
    mrmr_err err = rename_as_caller(m, drive, DRV_RENAME_REPLACE);
    return err ? record_not_moved(m, drive, from) : MRMR_OK;
}

/* Nothing is there, as far as is known. */
static mrmr_err rename_to_free(struct moving *m, size_t drive, const struct drv_stat *from)
{
    MRMR_TRY(record_move(m, drive, from));
    mrmr_err err = rename_as_caller(m, drive, DRV_RENAME_NOREPLACE);
    if (err == MRMR_UNSUPPORTED)
        err = rename_as_caller(m, drive, DRV_RENAME_REPLACE);
    return err ? record_not_moved(m, drive, from) : MRMR_OK;
}

/* Two names of one file: the old one goes. */
static mrmr_err rename_to_itself(struct moving *m, size_t drive, const struct drv_stat *from)
{
    MRMR_TRY(record_move(m, drive, from));
    mrmr_err err = tree_remove_copy(
        m->tree, m->caller, m->from_folder, m->from_name, m->from_path.data, drive, m->epoch);
    return err ? record_not_moved(m, drive, from) : MRMR_OK;
}

/* What may fail for want of room comes before the record. */
static mrmr_err rename_over(
    struct moving *m, size_t drive, const struct drv_stat *from, const struct drv_stat *stat)
{
    struct drv *drv = m->tree->drive[drive].drive->drv;
    struct tree_node *node = node_at(m, drive, stat);
    char kept[TREE_KEPT_PATH] = "";
    bool goes = node && stat->nlink <= 1;
    bool parts = goes || (node && tree_node_parts(m->tree, node, m->to_folder, m->to_name));
    bool known = false;
    mrmr_err err = keep_replaced(m, drive, stat, node, kept, &known);
    if (!err)
        err = record_move(m, drive, from);
    bool recorded = !err;
    if (!err && parts)
        tree_parted_keep(m->tree, node, drive, m->to_path.data, stat);
    if (!err && goes)
        tree_node_goes(m->tree, node, stat);
    if (!err)
        err = rename_as_caller(m, drive, DRV_RENAME_REPLACE);
    if (!err && known)
        tree_keep_replaced_by(m->tree, drive, m->to_path.data, stat, m->epoch);
    if (err && goes)
        tree_node_stays(m->tree, node);
    else if (goes)
        tree_node_went(m->tree, node);
    if (err && parts)
        tree_parted_drop(m->tree, node);
    if (!err && node)
        node_removed(m, node);
    if (err && recorded)
        err = record_not_moved(m, drive, from);
    if (err && kept[0]) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, kept);
        err = mrmr_story_restore(&story);
    }
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
    if (to.ino && to.ino == from->ino)
        return from->nlink > 1 ? rename_to_itself(m, drive, from) : rename_folded(m, drive, from);
    return rename_over(m, drive, from, &to);
}

/* Nothing was renamed so far: whoever reads a folder on the way, and waits for the renames under way, does not
 * wait for this one, which waits for him. */
static mrmr_err place_anew(struct moving *m)
{
    moving_end(m->tree);
    mrmr_err err = tree_place_anew(m->tree, m->to_folder);
    moving_begin(m->tree);
    return err;
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
    MRMR_TRY(place_anew(m));
    MRMR_TRY(tree_place_folder(m->tree, m->to_folder, drive, &folder));
    return place_copy(m, drive, &from);
}

static bool is_fine(mrmr_err err)
{
    return !err || mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
           err == MRMR_IS_DIR;
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
        if (!is_fine(err))
            return err;
    }
    return MRMR_OK;
}

/* The name is durable on the drive that has it now, before it goes from another. */
static mrmr_err sync_name(struct moving *m, size_t shown)
{
    mrmr_autobytes struct mrmr_bytes folder = MRMR_BYTES_INIT;
    MRMR_TRY(tree_path(m->tree, m->to_folder, &folder));
    return tree_place_sync(m->tree, shown, folder.data);
}

/* What had the name on other drives. */
static mrmr_err remove_replaced(struct moving *m, size_t shown)
{
    const struct tree_set on = tree_spot(m->tree, m->to_folder).on;
    if (m->replaces && (m->to->several || !tree_set_has(&m->to->on, shown)))
        MRMR_TRY(sync_name(m, shown));
    for (size_t i = 0; m->replaces && i < m->tree->ndrives; i++) {
        bool has = m->to->several || tree_set_has(&m->to->on, i) || !tree_live(&m->tree->drive[i]);
        if (i == shown || !has || !tree_set_has(&on, i))
            continue;
        mrmr_err err = tree_remove_copy(
            m->tree, m->caller, m->to_folder, m->to_name, m->to_path.data, i, m->epoch);
        if (!is_fine(err))
            return err;
    }
    return MRMR_OK;
}

static mrmr_err move_file(struct moving *m)
{
    size_t shown = tree_set_first(&m->from->on);
    MRMR_TRY(mrmr_err_drive(move_copy(m, shown), m->tree->drive[shown].drive->meta.name));
    node_moved(m->tree, m->from->number, m->from_folder, m->from_name, m->to_folder, m->to_name);
    mrmr_err err = remove_replaced(m, shown);
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
    mrmr_err err = rename_as_caller(m, drive, DRV_RENAME_EXCHANGE);
    return err ? tree_not_moved(
                     m->tree, drive, m->from_path.data, m->to_path.data, &a, &b, m->epoch)
               : MRMR_OK;
}

static mrmr_err exchange(struct moving *m)
{
    size_t drive = tree_set_first(&m->from->on);
    struct tree_set alone = {{0}};
    tree_set_add(&alone, drive);
    if (!tree_set_equal(&m->from->on, &alone) || !tree_set_equal(&m->to->on, &alone) ||
        m->from->several || m->to->several)
        return mrmr_fail(MRMR_CROSS_DEVICE, "they lie on different drives");
    mrmr_err err = exchange_on(m, drive);
    MRMR_TRY(mrmr_err_drive(err, m->tree->drive[drive].drive->meta.name));
    node_moved(m->tree, m->from->number, m->from_folder, m->from_name, m->to_folder, m->to_name);
    node_moved(m->tree, m->to->number, m->to_folder, m->to_name, m->from_folder, m->from_name);
    return MRMR_OK;
}

/* --- folders --- */

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
    MRMR_TRY(record_move(m, drive, &stat));
    mrmr_err err = rename_as_caller(m, drive, DRV_RENAME_REPLACE);
    return err ? record_not_moved(m, drive, &stat) : MRMR_OK;
}

/* When the drive is back. What an empty folder leaves there goes first. */
static mrmr_err folder_later(struct moving *m, size_t drive)
{
    if (m->replaces && tree_set_has(&m->to->on, drive)) {
        mrmr_err err = tree_remove_folder(m->tree, NULL, drive, m->to_path.data, m->epoch);
        if (!is_fine(err))
            return err;
    }
    MRMR_TRY(tree_later_rename(m->tree, drive, m->from_path.data, m->to_path.data, m->epoch));
    tree_set_add(&m->waits, drive);
    return MRMR_OK;
}

/* Of one that goes at this moment nobody knows whether it has renamed it. */
static mrmr_err folder_now_or_later(struct moving *m, size_t drive)
{
    const struct tree_drive *own = &m->tree->drive[drive];
    mrmr_err err = tree_live(own) ? folder_on(m, drive) : MRMR_OFFLINE;
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE || tree_live(own))
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

static mrmr_err folder_rename(struct moving *m)
{
    char record[TREE_RECORD_NAME] = "";
    struct tree_set done;
    if (is_below(m->to_path.data, m->from_path.data))
        return mrmr_fail(MRMR_INVALID, "a folder cannot be moved into itself");
    MRMR_TRY(place_everywhere(m));
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

static mrmr_err move_folder(struct moving *m)
{
    if (m->replaces)
        folder_goes(m);
    mrmr_err err = folder_rename(m);
    if (err && m->replaces)
        tree_node_stays(m->tree, m->to_node);
    MRMR_TRY(err);
    node_moved(m->tree, m->from->number, m->from_folder, m->from_name, m->to_folder, m->to_name);
    if (m->replaces) {
        tree_node_went(m->tree, m->to_node);
        node_removed(m, m->to_node);
    }
    return MRMR_OK;
}

/* --- the call --- */

/* A file whose drive is away goes to another first. */
static mrmr_err bring_first(struct moving *m)
{
    struct tree_name shows;
    struct tree_node *node;
    MRMR_TRY(tree_folder_ready(m->tree, m->from_folder));
    MRMR_TRY(tree_name_stay(m->tree, m->from_folder, m->from_name, &shows, &node));
    tree_stay_end(m->tree, node);
    size_t drive = tree_set_first(&shows.on);
    mrmr_err err = shows.kind == POOL_REG && !tree_live(&m->tree->drive[drive])
                       ? tree_bring(m->tree, node, drive, 0)
                       : MRMR_OK;
    tree_put(m->tree, node);
    return err;
}

static void own_names(struct moving *m)
{
    tree_own_name(m->tree, m->from_folder, m->from_name);
    tree_own_name(m->tree, m->to_folder, m->to_name);
}

/* Asked for the old name the drive would say that it is there: only a list tells. */
static void spellings_changed(struct moving *m)
{
    mrmr_locked(&m->tree->lock);
    m->from_folder->valid = m->to_folder->valid = false;
}

/* With the paths held, of a folder alone: something may have been made in it on a further drive since the
 * look. */
static mrmr_err move_held(struct moving *m)
{
    if (m->from->kind == POOL_DIR)
        m->from->on = tree_spot(m->tree, m->from_node).on;
    if (m->replaces && m->to->kind == POOL_DIR)
        m->to->on = tree_spot(m->tree, m->to_node).on;
    MRMR_TRY(path_below(m->tree, m->from_folder, m->from_name, &m->from_path));
    MRMR_TRY(path_below(m->tree, m->to_folder, m->to_name, &m->to_path));
    MRMR_TRY(tree_change_begin(m->tree, &m->epoch));
    own_names(m);
    moving_begin(m->tree);
    mrmr_err err = m->flags & POOL_RENAME_EXCHANGE ? exchange(m)
                   : m->from->kind == POOL_DIR     ? move_folder(m)
                                                   : move_file(m);
    moving_end(m->tree);
    tree_change_end(m->tree);
    tree_owned_name(m->tree, m->from_folder, m->from_name);
    tree_owned_name(m->tree, m->to_folder, m->to_name);
    if (m->folded)
        spellings_changed(m);
    return err;
}

/* One name, which the drive knows by either spelling. */
static mrmr_err is_folded(struct moving *m, bool *ret_folded)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const size_t drive = tree_set_first(&m->from->on);
    struct drv_stat stat;
    *ret_folded = false;
    if (m->flags & POOL_RENAME_EXCHANGE ||
        (m->from_folder == m->to_folder && strcmp(m->from_name, m->to_name) == 0))
        return MRMR_OK;
    MRMR_TRY(path_below(m->tree, m->from_folder, m->from_name, &path));
    mrmr_err err = drv_stat(m->tree->drive[drive].drive->drv, path.data, &stat);
    *ret_folded = !err && (stat.type == DRV_DIR || stat.nlink <= 1);
    return mrmr_err_drive(err, m->tree->drive[drive].drive->meta.name);
}

/* A folder that nobody has looked up may be above anything, as far as is known. */
static struct tree_paths paths_of(const struct moving *m)
{
    const bool from = m->from->kind == POOL_DIR, to = m->replaces && m->to->kind == POOL_DIR;
    return (struct tree_paths){.tree = m->tree,
        .by = {m->from_folder, m->to_folder},
        .moves = {from ? m->from_node : NULL, to ? m->to_node : NULL},
        .moving = from || to,
        .all = (from && !m->from_node) || (to && !m->to_node)};
}

static mrmr_err move_once(struct moving *m)
{
    MRMR_TRY(bring_first(m));
    MRMR_TRY(look(m));
    if (is_itself(m)) {
        MRMR_TRY(is_folded(m, &m->folded));
        if (!m->folded)
            return MRMR_OK; /* two names of one file, as rename(2) has it */
        m->replaces = false;
    }
    struct tree_paths paths = paths_of(m);
    tree_paths_hold(&paths);
    mrmr_err err = move_held(m);
    tree_paths_let_go(&paths);
    return err;
}

static void leave(struct moving *m)
{
    tree_name_leave(m->tree, m->to_node);
    tree_name_leave(m->tree, m->from_node);
    m->to_node = m->from_node = NULL;
    mrmr_bytes_free(&m->from_path);
    mrmr_bytes_free(&m->to_path);
}

/* As who removes (tree_remove.c): nothing was done to a name that is another thing by now. */
static mrmr_err move(struct moving *m)
{
    MRMR_TRY(tree_name_allowed(m->tree, m->to_folder, m->to_name));
    for (unsigned tries = 1;; tries++) {
        m->stale = m->folded = false;
        mrmr_err err = move_once(m);
        leave(m);
        if (!m->stale || tries == MOVE_TRIES)
            return err;
        MRMR_TRY(tree_place_anew(m->tree, m->from_folder));
    }
}

mrmr_err pool_tree_rename(struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder,
    const char *name, uint64_t to_folder, const char *to_name, unsigned flags)
{
    struct tree_name from, to;
    struct moving m = {.tree = tree,
        .caller = caller,
        .from_name = name,
        .to_name = to_name,
        .flags = flags,
        .from = &from,
        .to = &to};
    if (!pool_tree_writable(tree))
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    MRMR_TRY(tree_node(tree, folder, true, &m.from_folder));
    mrmr_err err = tree_node(tree, to_folder, true, &m.to_folder);
    if (!err)
        err = move(&m);
    tree_put(tree, m.to_folder);
    tree_put(tree, m.from_folder);
    return err;
}
