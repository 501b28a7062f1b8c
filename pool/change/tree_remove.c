/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that go.
 *
 * A name is removed from all drives that have it, the copy that shows last: a cut in between leaves
 * the one that everybody saw. A copy on a drive that is away is recorded instead (gone.h), as what
 * the catalog has of it.
 */
#include "pool/change/tree_change.h"
#include "pool/change/tree_room.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree_sync.h"

#include <string.h>

enum { REMOVE_TRIES = 3 };

/* --- removing --- */

/* The node of an inode of a drive, counted; NULL: nobody holds it. */
static struct tree_node *node_of(
    struct pool_tree *tree, size_t drive, const struct drv_stat *stat, const char *name)
{
    mrmr_locked(&tree->lock);
    struct tree_node *node = tree_find_locked(tree, tree_number(tree, drive, stat->ino, "", name));
    if (node)
        tree_ref_locked(node);
    return node;
}

static mrmr_err remove_held(struct pool_tree *tree, struct tree_node *node, size_t drive,
    const struct drv_stat *stat, uint64_t epoch)
{
    const struct tree_inode inode = {drive, stat->ino};
    /* Whether or not it is open for writing now: it may be opened until its name is gone. */
    return node && stat->type == DRV_REG
               ? tree_keep_known(tree, node, &inode, stat->nlink <= 1, epoch)
               : MRMR_OK;
}

/* Before its last name goes: once that is gone, its number may be another's. */
void tree_node_goes(struct pool_tree *tree, struct tree_node *node, const struct drv_stat *stat)
{
    struct pool_attr *last = malloc(sizeof *last);
    if (last)
        tree_attr_from_stat(stat, last);
    mrmr_locked(&tree->lock);
    free(node->last);
    node->last = last;
    node->gone = node->going = true;
}

void tree_node_went(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->going = false;
}

/* It did not. */
void tree_node_stays(struct pool_tree *tree, struct tree_node *node)
{
    {
        mrmr_locked(&tree->lock);
        node->gone = node->going = false;
    }
    if (node->kind == POOL_REG)
        tree_keep_unknown(tree, node);
}

bool tree_node_parts(struct pool_tree *tree, const struct tree_node *node,
    const struct tree_node *folder, const char *name)
{
    mrmr_locked(&tree->lock);
    for (const struct tree_link *link = node->links; link; link = link->next)
        if (link->parent != folder || strcmp(link->name, name) != 0)
            return false;
    return true;
}

static void removed(struct pool_tree *tree, struct tree_node *node, struct tree_node *folder,
    const char *name, const struct drv_stat *stat)
{
    if (!node)
        return;
    if (stat->nlink > 1)
        tree_own_node(tree, node);
    mrmr_locked(&tree->lock);
    tree_unlink_locked(tree, node, folder, name);
}

/* One drive's copy of a name. */
struct removing {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *folder;
    const struct tree_node *node; /* whose name it must be; NULL: whatever has it */
    const char *name, *path;
    size_t drive;
    uint64_t epoch;
};

/* The file that was asked for: a folder above may have been renamed directly on the drive. */
static mrmr_err remove_check(const struct removing *r, const struct drv_stat *stat)
{
    if (stat->type == DRV_DIR)
        return mrmr_fail(MRMR_IS_DIR, NULL);
    if (!r->node && tree_gone_compared(r->tree, r->drive, r->path, stat))
        return mrmr_fail(MRMR_ABSENT, "it goes when it was compared");
    if (!r->node)
        return MRMR_OK;
    const struct tree_spot spot = tree_spot(r->tree, r->node);
    mrmr_err err =
        spot.drive == r->drive ? tree_check_stat(r->tree, &spot, r->path, stat) : MRMR_OK;
    return err == MRMR_ABSENT ? mrmr_fail(MRMR_CHANGED, "another file has its name") : err;
}

static mrmr_err remove_now(const struct removing *r)
{
    struct pool_tree *tree = r->tree;
    const struct pool_drive *own = tree->drive[r->drive].drive;
    const size_t drive = r->drive;
    struct drv_stat stat;
    MRMR_TRY(mrmr_err_drive(drv_stat(own->drv, r->path, &stat), own->meta.name));
    MRMR_TRY(remove_check(r, &stat));
    struct tree_node *node = node_of(tree, drive, &stat, r->name);
    bool goes = node && stat.nlink <= 1;
    bool parts = goes || (node && tree_node_parts(tree, node, r->folder, r->name));
    mrmr_err err = remove_held(tree, node, drive, &stat, r->epoch);
    if (!err && parts)
        tree_parted_keep(tree, node, drive, r->path, &stat);
    if (!err && goes)
        tree_node_goes(tree, node, &stat);
    tree_owe(tree, r->folder, drive);
    if (!err)
        err = tree_keep_removed(tree, r->caller, drive, r->path, &stat, r->epoch);
    tree_owe(tree, r->folder, drive);
    if (err && goes)
        tree_node_stays(tree, node);
    else if (goes)
        tree_node_went(tree, node);
    if (err && parts)
        tree_parted_drop(tree, node);
    if (!err)
        removed(tree, node, r->folder, r->name, &stat);
    if (!err && goes)
        tree_number_forget(tree, drive, stat.ino);
    tree_put(tree, node);
    return err;
}

/* When the drive is back. */
static mrmr_err remove_later(const struct removing *r)
{
    struct pool_tree *tree = r->tree;
    struct meta_node known;
    MRMR_TRY(tree_gone_known(tree, r->drive, r->path, &known));
    if (known.type == META_DIR)
        return mrmr_fail(MRMR_IS_DIR, NULL);
    MRMR_TRY(tree_bring_removed(tree, r->drive, r->path, &known));
    const struct drv_stat stat = {.ino = known.ino, .nlink = known.nlink};
    struct tree_node *node = node_of(tree, r->drive, &stat, r->name);
    removed(tree, node, r->folder, r->name, &stat);
    tree_put(tree, node);
    return MRMR_OK;
}

static mrmr_err remove_copy(const struct removing *r)
{
    struct tree_drive *own = &r->tree->drive[r->drive];
    mrmr_err err = tree_live(own) ? remove_now(r) : mrmr_fail(MRMR_OFFLINE, NULL);
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE || !tree_drive_failed(own, err))
        return err;
    err = remove_later(r);
    return err == MRMR_CHANGED ? remove_now(r) : err;
}

mrmr_err tree_remove_copy(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *folder, const char *name, const char *path, size_t drive, uint64_t epoch)
{
    const struct removing r = {tree, caller, folder, NULL, name, path, drive, epoch};
    return remove_copy(&r);
}

/* A name that goes. */
struct unlinking {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *folder, *node;
    const struct tree_name *shows;
    const char *name, *path;
    uint64_t epoch;
    struct drv_stat in; /* the folder on the drive of what showed, after it went; or another type */
    bool recorded; /* the version that shows is recorded as removed from a drive that is away */
    struct tree_drive
        *left; /* what showed lay on a medium that is not in this place of the pool any more */
};

/* It was not found where it was looked for. A medium that has got another's place in the pool just now does not serve in
 * its old one, and nothing is known in that. What lies on it may have been restored there, which a record takes back
 * (rebuild_gone.c); else nobody may say that it went, or was not there. */
static mrmr_err unlink_absent(const struct unlinking *u)
{
    if (!u->left)
        return mrmr_fail(MRMR_ABSENT, "it is another file at each look");
    if (u->recorded)
        return MRMR_OK;
    mrmr_err err = mrmr_fail(MRMR_OFFLINE, "it gets another's place in the pool just now");
    return mrmr_err_hint(mrmr_err_drive(err, u->left->drive->meta.name), "try again");
}

static mrmr_err unlink_last(struct unlinking *u)
{
    const size_t drive = tree_set_first(&u->shows->on);
    mrmr_err err = tree_take(
        u->tree, u->caller, u->folder, u->node, u->name, u->path, drive, u->epoch, &u->in);
    if (!err || (err != MRMR_CHANGED && !tree_drive_failed(&u->tree->drive[drive], err)))
        return err;
    struct tree_drive *own = &u->tree->drive[drive];
    const struct removing r = {
        u->tree, u->caller, u->folder, u->node, u->name, u->path, drive, u->epoch};
    err = remove_copy(&r);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT && !tree_live(own) && !tree_drive_is_member(own))
        u->left = own;
    return err;
}

/* As far as the catalog has it on a drive that is away. */
static bool is_what_shows(const struct unlinking *u, size_t drive)
{
    struct meta_node known;
    return !tree_live(&u->tree->drive[drive]) &&
           !tree_gone_known(u->tree, drive, u->path, &known) &&
           (int)known.type == (int)u->shows->kind && known.mtime == u->shows->mtime;
}

/* The copies that do not show, then the one that does. */
static mrmr_err unlink_copies(struct unlinking *u)
{
    struct pool_tree *tree = u->tree;
    const struct tree_set on = tree_spot(tree, u->folder).on;
    size_t shown = tree_set_first(&u->shows->on);
    for (size_t i = 0; i < tree->ndrives; i++) {
        if (i == shown || !tree_set_has(&on, i) ||
            (!u->shows->several && tree_live(&tree->drive[i])))
            continue;
        const bool same = is_what_shows(u, i);
        mrmr_err err = tree_remove_copy(tree, u->caller, u->folder, u->name, u->path, i, u->epoch);
        u->recorded = u->recorded || (!err && same);
        if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_IS_DIR &&
            err != MRMR_NOT_DIR)
            return err;
    }
    return unlink_last(u);
}

static mrmr_err unlink_shown(struct unlinking *u)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (u->shows->kind == POOL_DIR)
        return mrmr_fail(MRMR_IS_DIR, NULL);
    tree_paths_held(u->tree, u->folder, NULL);
    MRMR_TRY(tree_path(u->tree, u->folder, &path));
    if (path.size)
        MRMR_TRY(mrmr_bytes_add(&path, "/", 1));
    MRMR_TRY(mrmr_bytes_str(&path, u->name));
    u->path = path.data;
    MRMR_TRY(tree_change_begin(u->tree, &u->epoch));
    mrmr_err err = unlink_copies(u);
    tree_change_end(u->tree);
    return err;
}

static mrmr_err unlink_once(struct unlinking *u)
{
    struct tree_name shows;
    MRMR_TRY(tree_name_stay(u->tree, u->folder, u->name, &shows, &u->node));
    u->shows = &shows;
    u->in.type = DRV_REG;
    tree_own_name(u->tree, u->folder, u->name);
    const struct tree_known_ticket ticket = tree_known_change(u->tree, u->folder);
    mrmr_err err = unlink_shown(u);
    tree_owned_name(u->tree, u->folder, u->name);
    tree_known_taken(u->tree, u->folder, &shows);
    if (!err)
        tree_name_taken(u->tree, u->folder, u->name, &shows, &ticket);
    tree_known_brought(u->tree, u->folder, tree_set_first(&shows.on), &u->in, &ticket);
    tree_name_leave(u->tree, u->node);
    return err;
}

static mrmr_err unlink_in(struct pool_tree *tree, const struct pool_caller *caller,
    struct tree_node *folder, const char *name)
{
    struct unlinking u = {.tree = tree, .caller = caller, .folder = folder, .name = name};
    MRMR_TRY(tree_folder_ready(tree, folder));
    for (unsigned i = 0; i < REMOVE_TRIES; i++) {
        mrmr_err err = unlink_once(&u);
        if (mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_CHANGED)
            return err;
        if (err == MRMR_CHANGED) /* the name is another thing by now, or the folder is elsewhere */
            MRMR_TRY(tree_place_anew(tree, folder));
    }
    return unlink_absent(&u);
}

static mrmr_err unlink_tried(
    struct pool_tree *tree, const struct pool_caller *caller, uint64_t number, const char *name)
{
    struct tree_node *folder;
    MRMR_TRY(tree_node(tree, number, true, &folder));
    mrmr_err err = unlink_in(tree, caller, folder, name);
    tree_put(tree, folder);
    return err;
}

mrmr_err pool_tree_unlink(
    struct pool_tree *tree, const struct pool_caller *caller, uint64_t number, const char *name)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = unlink_tried(tree, caller, number, name);
    while (tree_room_came(tree, &room, err));
    return err;
}
