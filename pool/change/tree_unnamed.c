/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that are made without a name (O_TMPFILE), and get one later, or never.
 *
 * Such a file lies on the drive that a new file would lie on. It is a node to which no name leads,
 * as one that was removed and is open; so it stays on its drive, also when that is full.
 *
 * Crash argument. Until it is named nothing of it is promised: a cut leaves nothing, the file system
 * frees it. It is named in one step, without replacing, on its own drive, so no bytes that count lose
 * their name by it; a cut leaves the whole file under the name, or no name. No stripe counts on its
 * bytes before a scan has seen them under a name; that its inode may be one that the catalog knows
 * of another file is taken care of at each write, as of any (tree_keep.c).
 */
#include "pool/change/tree_change.h"
#include "pool/change/tree_room.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_sync.h"

#include <string.h>

struct nameless {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *folder;
    uint32_t mode;
    size_t drive;
    struct drv_file *file;
    struct drv_stat stat;
};

static mrmr_err make_on(struct nameless *n)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct drv *drv = n->tree->drive[n->drive].drive->drv;
    uint32_t mode = n->mode;
    tree_paths_held(n->tree, n->folder, NULL);
    MRMR_TRY(tree_place_folder(n->tree, n->folder, n->drive, &path));
    if (n->caller && n->caller->umask & mode &&
        !tree_hands_down(n->tree, n->folder, n->drive, path.data))
        mode &= ~n->caller->umask;
    {
        tree_act_as(n->caller);
        MRMR_TRY(drv_file_open_unnamed(drv, path.data ? path.data : "",
            DRV_OPEN_READ | DRV_OPEN_WRITE, mode | DRV_MODE_INHERIT, &n->file));
    }
    return drv_file_stat(n->file, &n->stat);
}

static mrmr_err make_somewhere(struct nameless *n)
{
    struct tree_set but = {{0}};
    struct mrmr_story story = {.err = MRMR_OK};
    for (;;) {
        if (tree_place_choose(n->tree, &but, 0, &n->drive))
            return story.err ? mrmr_story_restore(&story) : mrmr_story_get()->err;
        mrmr_err err = make_on(n);
        bool elsewhere = mrmr_class_of(err) == MRMR_CLASS_SPACE || err == MRMR_READONLY ||
                         err == MRMR_NOT_DIR || err == MRMR_BUSY ||
                         mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED ||
                         tree_silent(&n->tree->drive[n->drive], err);
        if (!err || !elsewhere)
            return mrmr_err_drive(err, n->tree->drive[n->drive].drive->meta.name);
        drv_file_close(mrmr_steal(n->file));
        mrmr_story_save(&story);
        tree_set_add(&but, n->drive);
    }
}

static mrmr_err open_made(
    struct nameless *n, struct pool_attr *ret_attr, struct pool_tree_file **ret_file)
{
    struct tree_node *node;
    MRMR_TRY(tree_node_unnamed(n->tree, n->drive, &n->stat, &node));
    mrmr_err err = tree_file_made(n->tree, node, mrmr_steal(n->file), &n->stat, ret_file);
    if (!err) {
        pool_tree_file_act(*ret_file, n->caller);
        tree_attr_from_stat(&n->stat, ret_attr);
        ret_attr->node = node->number;
        ret_attr->keep = tree_own_window;
        mrmr_locked(&n->tree->lock);
        ret_attr->generation += node->births;
        node->held++;
    }
    tree_put(n->tree, node);
    return err;
}

static mrmr_err create_unnamed_tried(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t folder, uint32_t mode, struct pool_attr *ret_attr, struct pool_tree_file **ret_file)
{
    struct nameless n = {.tree = tree, .caller = caller, .mode = mode};
    if (!pool_tree_writable(tree))
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    MRMR_TRY(tree_node(tree, folder, true, &n.folder));
    mrmr_err err = tree_folder_ready(tree, n.folder);
    if (!err)
        err = make_somewhere(&n);
    if (!err)
        err = open_made(&n, ret_attr, ret_file);
    drv_file_close(n.file);
    tree_put(tree, n.folder);
    return err;
}

mrmr_err pool_tree_create_unnamed(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t folder, uint32_t mode, struct pool_attr *ret_attr, struct pool_tree_file **ret_file)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = create_unnamed_tried(tree, caller, folder, mode, ret_attr, ret_file);
    while (tree_room_came(tree, &room, err));
    return err;
}

/* --- a name for it --- */

mrmr_err tree_name_unnamed(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *node, struct tree_node *folder, const char *name)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const struct tree_spot spot = tree_spot(tree, node);
    MRMR_TRY(tree_place_folder(tree, folder, spot.drive, &path));
    if (path.size)
        MRMR_TRY(mrmr_bytes_add(&path, "/", 1));
    MRMR_TRY(mrmr_bytes_str(&path, name));
    struct tree_original *original = tree_original_of_node(tree, node, false);
    if (!original)
        return mrmr_fail(MRMR_ABSENT, "it is not open any more");
    mrmr_err err;
    tree_owe(tree, folder, spot.drive);
    {
        tree_act_as(caller);
        err = drv_file_link(tree_original_file(original), path.data);
    }
    tree_owe(tree, folder, spot.drive);
    tree_original_put(original);
    MRMR_TRY(mrmr_err_drive(err, tree->drive[spot.drive].drive->meta.name));
    mrmr_locked(&tree->lock);
    node->gone = node->unnamed = false;
    return MRMR_OK;
}
