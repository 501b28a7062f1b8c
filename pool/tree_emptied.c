/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A protected file is cut to nothing, as by whoever opens it to write all of it anew: its bytes are kept as the file that
 * they are, and none is copied, however many they are. An empty file takes its place, and is the same node: the same
 * number, the same open descriptors, and the same attributes. Then that one is cut, as whoever asked for it, which changes its times, and
 * what else such a change does.
 *
 * Only where that spares something: of a file with one name, of which stripes count on several leaves that are not kept yet, on a
 * drive that cannot clone. Where it cannot be done nothing has happened, and what counts is kept leaf by leaf, as ever
 * (tree_write.c).
 *
 * Changes of a node's file want it to stay where it is (tree_bring.c), and wait.
 *
 * Crash argument. (1) A temporary file under .mrmr/moving gets the attributes, and is synced: a cut leaves that, and whoever
 * opens the tree next clears it away. (2) and (3) are those of a replacement (tree_keep.c): the file gets a link where it
 * is kept, which is durable, and then the empty one is renamed over it: the name is never missing. (4) The folder is synced, before anything
 * is written to the empty one: nobody is told of a byte that the next moment has not. A cut before (3) leaves the file by
 * two names, one of which is no name to people; after it the file is empty, which was asked for.
 */
#include "pool/tree_bring.h"
#include "pool/tree_change.h"
#include "pool/tree_file.h"
#include "pool/tree_number.h"
#include "pool/tree_parted.h"

#include "base/uuid.h"
#include <inttypes.h>
#include <stdio.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

enum { LEAVES_LEAST = 3 };

struct emptying {
    struct pool_tree *tree;
    struct tree_node *node, *folder;
    size_t drive;
    char name[META_NAME_MAX + 1];
    struct mrmr_bytes path;
    struct drv_stat stat; /* what it is */
    struct drv_stat now;  /* what takes its place */
    char temp[TREE_BRING_PATH];
    char kept[TREE_KEPT_PATH];
};

static struct drv *drv_of(const struct emptying *e)
{
    return e->tree->drive[e->drive].drive->drv;
}

/* --- whether --- */

static mrmr_err is_worth_it(const struct emptying *e, uint64_t epoch, bool *ret_is)
{
    const struct tree_inode inode = {e->drive, e->stat.ino};
    size_t leaves = 0;
    bool recorded = true; /* in use directly, also by who was there before this mount */
    *ret_is = false;
    if (e->stat.type != DRV_REG || e->stat.nlink != 1)
        return MRMR_OK;
    MRMR_TRY(tree_keep_leaves(e->tree, e->node, &inode, epoch, &leaves));
    if (leaves < LEAVES_LEAST)
        return MRMR_OK;
    MRMR_TRY(tree_direct_recorded(e->tree, e->drive, e->stat.ino, &recorded));
    *ret_is = !recorded;
    return MRMR_OK;
}

/* What lies at the path is this node. */
static mrmr_err look(struct emptying *e)
{
    MRMR_TRY(tree_leave_path(e->tree, e->folder, e->name, &e->path));
    MRMR_TRY(drv_stat(drv_of(e), e->path.data, &e->stat));
    return tree_number(e->tree, e->drive, e->stat.ino, "", e->name) == e->node->number
               ? MRMR_OK
               : mrmr_fail(MRMR_CHANGED, "another file lies there");
}

static bool lies_there(const struct emptying *e, uint64_t ino)
{
    struct drv_stat stat;
    return drv_stat(drv_of(e), e->path.data, &stat) == MRMR_OK && stat.ino == ino;
}

/* --- an empty one --- */

static mrmr_err make(struct emptying *e)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct drv *drv = drv_of(e);
    MRMR_TRY(drv_mkdirs(drv, TREE_BRING_FOLDER, 0700));
    MRMR_TRY(drv_file_open(drv, e->temp, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    MRMR_TRY(pool_copy_attrs_of(drv, e->path.data, drv, e->temp));
    MRMR_TRY(drv_file_sync(file));
    MRMR_TRY(drv_stat(drv, e->temp, &e->now));
    uint64_t generation = tree_generation(e->tree, e->node->number, (uint64_t)e->stat.btime);
    return tree_number_keep(e->tree, e->drive, e->now.ino, e->node->number, generation);
}

/* It has not got the place. What is kept stays if that cannot be told. */
static void unmake(struct emptying *e)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    drv_unlink(drv_of(e), e->temp);
    if (e->now.ino)
        tree_number_forget(e->tree, e->drive, e->now.ino);
    if (e->kept[0] && lies_there(e, e->stat.ino))
        drv_unlink(drv_of(e), e->kept);
    mrmr_story_restore(&story);
}

/* --- in its place --- */

/* Whoever has it open comes to the empty one at his next request. */
static void node_emptied(struct emptying *e, uint64_t epoch)
{
    const struct tree_inode inode = {e->drive, e->now.ino};
    struct tree_node *node = e->node;
    struct tree_original *old = NULL;
    {
        mrmr_locked(&e->tree->lock);
        tree_files_brought_locked(node, e->drive, &old);
        tree_parted_leave_locked(e->tree, node);
    }
    tree_originals_put(old);
    tree_keep_new(e->tree, node, &inode, epoch);
}

static mrmr_err rename_over(struct emptying *e, bool *ret_made)
{
    struct mrmr_story story;
    mrmr_err err = drv_rename(drv_of(e), e->temp, e->path.data, DRV_RENAME_REPLACE);
    *ret_made = !err;
    if (!err)
        return MRMR_OK;
    mrmr_story_save(&story);
    *ret_made = lies_there(e, e->now.ino); /* whatever the answer was */
    return mrmr_story_restore(&story);
}

static mrmr_err replace(struct emptying *e, uint64_t epoch, bool *ret_made)
{
    const char *path = e->path.data;
    bool known = false;
    MRMR_TRY(tree_keep_replaced(e->tree, e->drive, path, &e->stat, epoch, e->kept, &known));
    tree_own_name(e->tree, e->folder, e->name);
    mrmr_err err = rename_over(e, ret_made);
    tree_owned_name(e->tree, e->folder, e->name);
    tree_keep_replaced_end(e->tree, e->drive, &e->stat);
    if (!*ret_made)
        return err;
    if (known)
        tree_keep_replaced_by(e->tree, e->drive, path, &e->stat, epoch);
    node_emptied(e, epoch);
    return err ? err : tree_place_sync_name(e->tree, e->drive, path);
}

static mrmr_err empty_among(struct emptying *e, uint64_t epoch)
{
    bool worth = false, made = false;
    MRMR_TRY(look(e));
    MRMR_TRY(is_worth_it(e, epoch, &worth));
    if (!worth)
        return MRMR_OK;
    mrmr_err err = make(e);
    if (!err)
        err = replace(e, epoch, &made);
    if (!made)
        unmake(e);
    return err;
}

static mrmr_err empty(struct emptying *e)
{
    uint64_t epoch;
    MRMR_TRY(tree_leave_names(e->tree, e->node, &e->folder, e->name));
    tree_paths_held(e->tree, e->node, e->folder);
    MRMR_TRY(tree_change_begin(e->tree, &epoch));
    mrmr_err err = empty_among(e, epoch);
    tree_change_end(e->tree);
    return err;
}

void tree_empty(struct pool_tree *tree, struct tree_node *node, size_t drive)
{
    const struct tree_drive *own = &tree->drive[drive];
    struct emptying e = {.tree = tree, .node = node, .drive = drive};
    uint64_t random;
    if (!tree_live(own) || own->drive->drv == NULL ||
        (own->drive->info.caps & (DRV_CAP_REFLINK | DRV_CAP_HARDLINK | DRV_CAP_STABLE_INO)) !=
            (DRV_CAP_HARDLINK | DRV_CAP_STABLE_INO))
        return;
    if (mrmr_random(&random, sizeof random) || !tree_leave_begin(tree, node, drive))
        return;
    snprintf(e.temp, sizeof e.temp, TREE_BRING_FOLDER "/%016" PRIx64, random);
    if (!tree_direct_has(tree, node) && empty(&e))
        mrmr_log_story(MRMR_LOG_INFO, "a file that is cut to nothing is kept piece by piece");
    tree_leave_end(tree, node);
    tree_put(tree, e.folder);
    mrmr_bytes_free(&e.path);
}
