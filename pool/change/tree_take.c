/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file's only name goes in one op of its drive, as nearly all names that go: a regular file that
 * lies on one drive, which answers, has no other name that is known, and nothing of which counts. What
 * is not like that goes the long way (tree_remove.c).
 *
 * The node's number says which inode it is. Of that it is asked what counts; then the drive is told
 * to take the name from just that inode, if it has no other, and opens it before (drv_file_take): what
 * lost its name is kept open, as tree_parted.c says. While the op is under way whoever finds that no
 * name leads to the node waits for its end (tree_original_of_node), so he has the one or the other.
 *
 * Crash argument. Nothing counts on the inode, among the writers and so to the end of the change (I3):
 * no stripe reads its bytes, and nothing is to be kept. That it was our doing is noted before the op
 * (I5). The op is one unlink: after a cut the name is there or not, and the open file, which has no
 * bytes of its own, is gone. What the catalog has by the name is recorded after that (moved.h). An op that was given up takes the name late, or never; it is a change that
 * is late (writers.h), and the caller was told that it failed, as with any unlink.
 */
#include "pool/change/tree_change.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree_sync.h"

struct taking {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *node;
    struct tree_inode inode;
    const char *path;
};

static void taking_begin(const struct taking *taking)
{
    mrmr_locked(&taking->tree->lock);
    taking->node->taking++;
    taking->node->going = true; /* gone it is only then: it may have another name */
}

static void taking_end(const struct taking *taking)
{
    mrmr_locked(&taking->tree->lock);
    taking->node->taking--;
    pthread_cond_broadcast(&taking->tree->moved);
}

static mrmr_err take(const struct taking *taking, struct drv_named *ret_named)
{
    struct pool_drive *drive = taking->tree->drive[taking->inode.drive].drive;
    tree_act_as(taking->caller);
    return mrmr_err_drive(
        drv_file_take(drive->drv, taking->path, taking->inode.ino, ret_named), drive->meta.name);
}

static void taken(const struct taking *taking, struct tree_node *folder, const char *name,
    struct drv_named *named)
{
    struct pool_tree *tree = taking->tree;
    tree_node_goes(tree, taking->node, &named->stat);
    tree_parted_take(tree, taking->node, taking->inode.drive, named);
    tree_node_went(tree, taking->node);
    taking_end(taking);
    {
        mrmr_locked(&tree->lock);
        tree_unlink_locked(tree, taking->node, folder, name);
    }
    tree_number_forget(tree, taking->inode.drive, taking->inode.ino);
}

mrmr_err tree_take(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *folder, struct tree_node *node, const char *name, const char *path,
    size_t drive, uint64_t epoch, struct drv_stat *ret_folder)
{
    struct taking taking = {tree, caller, node, {drive, 0}, path};
    struct drv_named named;
    bool counts;
    if (node->kind != POOL_REG || !tree_live(&tree->drive[drive]) ||
        !tree_number_inode(tree, node->number, drive, &taking.inode.ino) ||
        !tree_node_parts(tree, node, folder, name))
        return MRMR_CHANGED;
    MRMR_TRY(tree_keep_nothing(tree, node, &taking.inode, epoch, &counts));
    if (counts)
        return MRMR_CHANGED;
    tree_owe(tree, folder, drive);
    taking_begin(&taking);
    mrmr_err err = take(&taking, &named);
    tree_owe(tree, folder, drive);
    if (err) {
        tree_node_stays(tree, node);
        taking_end(&taking);
        return err;
    }
    tree_keep_named(tree, node, drive, path, &named.stat, epoch);
    taken(&taking, folder, name, &named);
    *ret_folder = named.folder;
    return MRMR_OK;
}
