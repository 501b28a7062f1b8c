/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Renames. A file stays on its drive; a folder is renamed on every drive where it lies.
 *
 * Crash argument. Of a file: one rename on its drive, and what it replaces there has a name where it
 * is kept before that (tree_keep.c). A copy of the replaced name on another drive is removed after
 * it is durable: a cut in between leaves both, and the one that was renamed shows, having its name since
 * the catalog saw the other one have it (tree_newer.c). Where the catalog did not see that, and the copy would hide what was
 * renamed, it is recorded before that (tree_move_over.c). The same is left where that copy cannot be
 * removed: the rename was made, and has not failed for who asked.
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
#include "pool/change/tree_move.h"
#include "pool/change/tree_room.h"
#include "pool/return/tree_return.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_stay.h"
#include "pool/tree/tree_sync.h"

#include <string.h>

enum { MOVE_TRIES = 3 };

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

/* One that is only read would keep what it has by the old name. */
static mrmr_err writable_all(struct pool_tree *tree, const struct tree_set *on)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && tree_live(&tree->drive[i]) &&
            !(tree->drive[i].drive->info.caps & DRV_CAP_WRITABLE))
            return mrmr_err_drive(mrmr_fail(MRMR_READONLY, "it lies on a drive that is only read"),
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
    if (m->from->kind == POOL_REG)
        m->from_drive = tree_set_first(&m->from->on);
    mrmr_err err = tree_name_stay(m->tree, m->to_folder, m->to_name, m->to, &m->to_node);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    m->replaces = !err;
    if (!m->replaces && m->flags & POOL_RENAME_EXCHANGE)
        return mrmr_fail(MRMR_ABSENT, NULL);
    if (is_itself(m))
        return m->flags & POOL_RENAME_NOREPLACE ? mrmr_fail(MRMR_EXISTS, NULL) : MRMR_OK;
    MRMR_TRY(writable_all(m->tree, &m->from->on));
    if (m->replaces)
        MRMR_TRY(writable_all(m->tree, &m->to->on));
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

/* --- renames under way --- */

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

/* Nothing was renamed so far: whoever reads a folder on the way, and waits for the renames under way, does not
 * wait for this one, which waits for him. */
mrmr_err moving_place_anew(struct moving *m)
{
    moving_end(m->tree);
    mrmr_err err = tree_place_anew(m->tree, m->to_folder);
    moving_begin(m->tree);
    return err;
}

/* --- what is recorded --- */

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

mrmr_err moving_record(struct moving *m, size_t drive, const struct drv_stat *from)
{
    return tree_keep_moved(
        m->tree, drive, m->from_path.data, m->to_path.data, from, NULL, m->epoch);
}

mrmr_err moving_not_made(struct moving *m, size_t drive, const struct drv_stat *from)
{
    return tree_not_moved(m->tree, drive, m->from_path.data, m->to_path.data, from, NULL, m->epoch);
}

/* --- on a drive --- */

static void owe_names(struct moving *m, size_t drive)
{
    tree_owe(m->tree, m->from_folder, drive);
    tree_owe(m->tree, m->to_folder, drive);
}

mrmr_err moving_rename(struct moving *m, size_t drive, unsigned flags)
{
    owe_names(m, drive);
    tree_act_as(m->caller);
    mrmr_err err =
        drv_rename(m->tree->drive[drive].drive->drv, m->from_path.data, m->to_path.data, flags);
    owe_names(m, drive);
    return err;
}

bool moving_is_fine(mrmr_err err)
{
    return !err || mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
           err == MRMR_IS_DIR;
}

/* --- the nodes --- */

void moving_node_removed(struct moving *m, struct tree_node *node)
{
    mrmr_locked(&m->tree->lock);
    tree_unlink_locked(m->tree, node, m->to_folder, m->to_name);
}

void moving_node_moved(struct pool_tree *tree, uint64_t number, struct tree_node *from,
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
    mrmr_err err = m->flags & POOL_RENAME_EXCHANGE ? moving_exchange(m)
                   : m->from->kind == POOL_DIR     ? moving_folder(m)
                                                   : moving_file(m);
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

/* What has the new name there, and shows nowhere, goes first. If it cannot yet a file may replace it nevertheless. */
static mrmr_err name_is_free(struct moving *m)
{
    mrmr_err err = tree_return_yields(m->tree, m->to_folder, m->to_name, &m->from->on);
    return m->from->kind == POOL_DIR || m->flags & POOL_RENAME_NOREPLACE ? err : MRMR_OK;
}

static mrmr_err move_once(struct moving *m)
{
    MRMR_TRY(bring_first(m));
    MRMR_TRY(look(m));
    MRMR_TRY(name_is_free(m));
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
    mrmr_bytes_free(&m->over);
}

/* The drive of a file has just gone: it is brought to another first. */
static bool from_went(struct moving *m, mrmr_err err)
{
    return m->from_drive != SIZE_MAX && tree_drive_failed(&m->tree->drive[m->from_drive], err);
}

/* As who removes (tree_remove.c): nothing was done to a name that is another thing by now. */
static mrmr_err move(struct moving *m)
{
    MRMR_TRY(tree_name_allowed(m->tree, m->to_folder, m->to_name));
    for (unsigned tries = 1;; tries++) {
        m->stale = m->folded = false;
        m->from_drive = SIZE_MAX;
        mrmr_err err = move_once(m);
        leave(m);
        if (!(m->stale || from_went(m, err)) || tries == MOVE_TRIES)
            return err;
        MRMR_TRY(tree_place_anew(m->tree, m->from_folder));
    }
}

static mrmr_err rename_tried(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t folder, const char *name, uint64_t to_folder, const char *to_name, unsigned flags)
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

mrmr_err pool_tree_rename(struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder,
    const char *name, uint64_t to_folder, const char *to_name, unsigned flags)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = rename_tried(tree, caller, folder, name, to_folder, to_name, flags);
    while (tree_room_came(tree, &room, err));
    return err;
}
