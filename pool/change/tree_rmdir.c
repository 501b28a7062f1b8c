/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders that go: from all drives that have them, on which nothing of them shows.
 */
#include "pool/change/tree_change.h"
#include "pool/change/tree_room.h"
#include "pool/scan/scan.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_sync.h"

#include <stdio.h>

static bool any_entry(const struct pool_dir_entry *entry, void *arg)
{
    (void)entry;
    *(bool *)arg = true;
    return false;
}

mrmr_err tree_folder_empty(struct pool_tree *tree, struct tree_node *folder)
{
    bool any = false;
    MRMR_TRY(pool_tree_list(tree, folder->number, 0, false, any_entry, &any));
    return any ? mrmr_fail(MRMR_NOT_EMPTY, NULL) : MRMR_OK;
}

static mrmr_err rmdir_now(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, uint64_t epoch)
{
    mrmr_err err = tree_keep_rmdir(tree, caller, drive, path, epoch);
    return mrmr_err_drive(err, tree->drive[drive].drive->meta.name);
}

static mrmr_err rmdir_later(struct pool_tree *tree, size_t drive, const char *path)
{
    struct meta_node known;
    MRMR_TRY(tree_gone_known(tree, drive, path, &known));
    if (known.type != META_DIR)
        return mrmr_fail(MRMR_ABSENT, "it is no folder");
    return tree_gone_add(tree, drive, path, &known);
}

mrmr_err tree_remove_folder(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, uint64_t epoch)
{
    struct tree_drive *own = &tree->drive[drive];
    mrmr_err err = tree_live(own) ? rmdir_now(tree, caller, drive, path, epoch)
                                  : mrmr_fail(MRMR_OFFLINE, NULL);
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE || !tree_drive_failed(own, err))
        return err;
    err = rmdir_later(tree, drive, path);
    return err == MRMR_CHANGED ? rmdir_now(tree, caller, drive, path, epoch) : err;
}

/* --- why it is not empty --- */

struct left {
    const struct pool_scan_excludes *excludes;
    const char *folder;
    uint64_t dev;   /* of the drive's root */
    char name[256]; /* "": nothing that is no part of the pool */
    bool mounted;
};

static mrmr_err left_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct left *left = arg;
    (void)err;
    left->mounted = stat && stat->dev != left->dev;
    if (!left->mounted && !pool_scan_excluded(left->excludes, left->folder, name))
        return MRMR_OK; /* somebody has made it just now, or it waits to be removed */
    snprintf(left->name, sizeof left->name, "%s", name);
    return MRMR_EXISTS; /* that will do */
}

/* Once in a while: who removes many folders would fill the log. */
static bool left_is_due(struct pool_tree *tree)
{
    const int64_t now = mrmr_clock_monotonic(), seldom = 60 * MRMR_NS_PER_S;
    mrmr_locked(&tree->lock);
    if (tree->left_at && now - tree->left_at < seldom)
        return false;
    tree->left_at = now;
    return true;
}

/* Nothing shows in it, and it cannot be removed: whoever looks for the reason in the tree finds none. */
static void tell_left(struct pool_tree *tree, size_t drive, const char *path)
{
    const struct tree_drive *own = &tree->drive[drive];
    struct left left = {.excludes = tree_excludes(tree), .folder = path, .dev = own->dev};
    struct mrmr_story story;
    if (!left_is_due(tree))
        return;
    mrmr_story_save(&story);
    drv_list(own->drive->drv, path, left_entry, &left);
    if (left.name[0])
        mrmr_log(MRMR_LOG_WARN,
            "drive %s: the folder '%s' cannot be removed: in it is '%s', which is no part of the "
            "pool: %s",
            own->drive->meta.name, path, left.name,
            left.mounted ? "something is mounted there; unmount it first"
                         : "it is kept out (see: mrmr get); remove it on the drive first");
    mrmr_story_restore(&story);
}

/* Drives that are away come last: what is not empty after all is found on the others. */
static mrmr_err rmdir_on(struct pool_tree *tree, const struct pool_caller *caller,
    const struct tree_set *on, const char *path, uint64_t epoch)
{
    struct tree_set left = *on;
    bool any = false;
    for (unsigned away = 0; away < 2; away++)
        for (size_t i = 0; i < tree->ndrives; i++) {
            if (!tree_set_has(&left, i) || (!away && !tree_live(&tree->drive[i])))
                continue;
            mrmr_err err = tree_remove_folder(tree, caller, i, path, epoch);
            any = any || !err;
            if (err == MRMR_NOT_EMPTY)
                tell_left(tree, i, path);
            if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
                return err;
            tree_set_remove(&left, i);
        }
    return any ? MRMR_OK : mrmr_fail(MRMR_ABSENT, NULL);
}

/* What is seen of it last; nothing, if all its drives are away. */
void tree_folder_stat(
    struct pool_tree *tree, const struct tree_set *on, const char *path, struct drv_stat *stat)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && tree_live(&tree->drive[i]) &&
            !drv_stat(tree->drive[i].drive->drv, path, stat))
            return;
}

static mrmr_err rmdir_shown(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *folder, struct tree_node *child, const char *name)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct drv_stat stat = {.type = DRV_DIR};
    uint64_t epoch;
    MRMR_TRY(tree_folder_empty(tree, child));
    tree_paths_held(tree, child, folder);
    const struct tree_set on = tree_spot(tree, child).on;
    MRMR_TRY(tree_path(tree, child, &path));
    MRMR_TRY(tree_change_begin(tree, &epoch));
    tree_folder_stat(tree, &on, path.data, &stat);
    tree_node_goes(tree, child, &stat);
    tree_owe_live(tree, folder, &on);
    mrmr_err err = rmdir_on(tree, caller, &on, path.data, epoch);
    tree_owe_live(tree, folder, &on);
    tree_change_end(tree);
    if (err) {
        tree_node_stays(tree, child);
        return err;
    }
    tree_node_went(tree, child);
    mrmr_locked(&tree->lock);
    tree_unlink_locked(tree, child, folder, name);
    return MRMR_OK;
}

static mrmr_err rmdir_in(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *folder, const char *name)
{
    struct pool_attr attr;
    struct tree_node *child;
    int64_t keep;
    if (!pool_tree_writable(tree))
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    MRMR_TRY(pool_tree_lookup(tree, folder->number, name, &attr, &keep));
    mrmr_err err = tree_node(tree, attr.node, true, &child);
    pool_tree_forget(tree, attr.node, 1);
    MRMR_TRY(err);
    tree_own_name(tree, folder, name);
    err = rmdir_shown(tree, caller, folder, child, name);
    tree_owned_name(tree, folder, name);
    tree_put(tree, child);
    return err;
}

static mrmr_err rmdir_tried(
    struct pool_tree *tree, const struct pool_caller *caller, uint64_t number, const char *name)
{
    struct tree_node *folder;
    MRMR_TRY(tree_node(tree, number, true, &folder));
    mrmr_err err = rmdir_in(tree, caller, folder, name);
    tree_put(tree, folder);
    return err;
}

mrmr_err pool_tree_rmdir(
    struct pool_tree *tree, const struct pool_caller *caller, uint64_t number, const char *name)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = rmdir_tried(tree, caller, number, name);
    while (tree_room_came(tree, &room, err));
    return err;
}
