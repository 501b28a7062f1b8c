/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was acknowledged and may not be durable yet; and who is told when it may be lost.
 *
 * A node owes on a drive what was changed of it there and not synced since: a file its bytes and
 * attributes, a folder its names. When the drive goes, whatever was owed on it may be lost, and each
 * descriptor of the node that was open is told so once, by the next sync through it; if none was, the
 * first that is opened later. So it is where Linux writes back what fails (errseq).
 *
 * A change is owed before it is made and once more before it is acknowledged: a drive that goes, or a
 * sync that begins, in between takes the one or the other. A sync pays what was owed when it began,
 * and only if nothing was added since; what is paid twice, or told without need, does no harm.
 *
 * A node that owes, or has lost something of which nobody was told, stays in the table when nobody
 * holds it any more. There may be many, where nobody ever syncs: from some number on they are
 * forgotten, and if the drive goes then, each node of it that is looked up anew may be one of them.
 *
 * Locks: the tree's.
 */
#include "pool/tree/tree_sync.h"
#include "pool/tree/tree_look.h"

enum { REMEMBERED_MOST = 8192, SYNC_TRIES = 8 };

struct pool_tree_folder {
    struct pool_tree *tree;
    struct tree_node *node; /* counted */
    uint64_t seen;          /* guarded by the tree's lock */
};

/* --- owing --- */

static bool set_is_empty(const struct tree_set *set)
{
    const struct tree_set none = {{0}};
    return tree_set_equal(set, &none);
}

void tree_owe_locked(struct tree_node *node, size_t drive)
{
    tree_set_add(&node->owes, drive);
    node->owed++;
}

void tree_owe(struct pool_tree *tree, struct tree_node *node, size_t drive)
{
    mrmr_locked(&tree->lock);
    tree_owe_locked(node, drive);
}

void tree_owe_live(struct pool_tree *tree, struct tree_node *node, const struct tree_set *on)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && tree_live(&tree->drive[i]))
            tree_owe(tree, node, i);
}

bool tree_remembers_locked(struct pool_tree *tree, struct tree_node *node)
{
    bool untold = node->loss && !node->told;
    if (node->gone || (!untold && set_is_empty(&node->owes)))
        return false;
    if (!node->remembered && tree->remembered == REMEMBERED_MOST) {
        for (size_t i = 0; i < tree->ndrives; i++) {
            struct tree_drive *drive = &tree->drive[i];
            drive->forgot = drive->forgot || tree_set_has(&node->owes, i);
            if (untold && tree_set_has(&node->on, i))
                drive->loss = node->loss;
        }
        return false;
    }
    tree->remembered += !node->remembered;
    node->remembered = true;
    return true;
}

/* --- losses --- */

void tree_lost_locked(struct pool_tree *tree, size_t drive)
{
    struct tree_drive *own = &tree->drive[drive];
    tree->losses++;
    for (size_t i = 0; i < tree->buckets; i++)
        for (struct tree_node *node = tree->table[i]; node; node = node->next) {
            if (!tree_set_has(&node->owes, drive))
                continue;
            tree_set_remove(&node->owes, drive);
            node->loss = tree->losses;
            node->told = false;
        }
    if (own->forgot)
        own->loss = tree->losses;
    own->forgot = false;
}

void tree_paid_locked(struct pool_tree *tree, size_t drive)
{
    for (size_t i = 0; i < tree->buckets; i++)
        for (struct tree_node *node = tree->table[i]; node; node = node->next)
            tree_set_remove(&node->owes, drive);
    tree->drive[drive].forgot = false;
}

uint64_t tree_lost_of_locked(const struct pool_tree *tree, const struct tree_set *on)
{
    uint64_t loss = 0;
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && tree->drive[i].loss > loss)
            loss = tree->drive[i].loss;
    return loss;
}

uint64_t tree_seen_locked(const struct tree_node *node)
{
    return node->told ? node->loss : 0;
}

/* --- syncing --- */

uint64_t tree_sync_begin(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    return node->owed;
}

mrmr_err tree_sync_end(
    struct pool_tree *tree, struct tree_node *node, uint64_t owed, uint64_t *seen, mrmr_err err)
{
    mrmr_locked(&tree->lock);
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(&node->owes, i) && !tree_live(&tree->drive[i]))
            tree_lost_locked(tree, i); /* it goes at this moment */
    if (!err && node->owed == owed)
        node->owes = (struct tree_set){{0}};
    bool lost = node->loss != *seen;
    *seen = node->loss;
    node->told = node->told || lost;
    return err || !lost
               ? err
               : mrmr_fail(MRMR_IO, "its drive went before what was acknowledged was durable");
}

/* --- folders --- */

mrmr_err pool_tree_folder_open(
    struct pool_tree *tree, uint64_t number, struct pool_tree_folder **ret_folder)
{
    struct pool_tree_folder *folder = calloc(1, sizeof *folder);
    if (!folder)
        return mrmr_nomem();
    folder->tree = tree;
    mrmr_err err = tree_node(tree, number, true, &folder->node);
    if (err) {
        free(folder);
        return err;
    }
    mrmr_locked(&tree->lock);
    folder->seen = tree_seen_locked(folder->node);
    *ret_folder = folder;
    return MRMR_OK;
}

void pool_tree_folder_close(struct pool_tree_folder *folder)
{
    if (!folder)
        return;
    tree_put(folder->tree, folder->node);
    free(folder);
}

/* *ret_absent: a drive does not have it at its path. */
static mrmr_err folder_sync_once(struct pool_tree *tree, struct tree_node *folder, bool *ret_absent)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const struct tree_set on = tree_spot(tree, folder).on;
    mrmr_err err = tree_path(tree, folder, &path);
    for (size_t i = 0; !err && i < tree->ndrives; i++) {
        if (!tree_set_has(&on, i) || !tree_live(&tree->drive[i]))
            continue;
        err = mrmr_err_drive(
            drv_dir_sync(tree->drive[i].drive->drv, path.data), tree->drive[i].drive->meta.name);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
            *ret_absent = true;
            err = MRMR_OK;
        }
    }
    return err;
}

/* Where it is absent it was removed, and there is nothing to keep, or it has another path by now. */
static mrmr_err folder_sync(struct pool_tree *tree, struct tree_node *folder)
{
    for (unsigned i = 0; i < SYNC_TRIES; i++) {
        bool absent = false;
        uint64_t moves = tree_moves(tree);
        MRMR_TRY(folder_sync_once(tree, folder, &absent));
        if (!absent || !tree_moved_since(tree, moves))
            return MRMR_OK;
    }
    return mrmr_fail(MRMR_BUSY, "the folder is renamed again and again");
}

mrmr_err pool_tree_folder_sync(struct pool_tree_folder *folder)
{
    uint64_t owed = tree_sync_begin(folder->tree, folder->node);
    mrmr_err err = folder_sync(folder->tree, folder->node);
    return tree_sync_end(folder->tree, folder->node, owed, &folder->seen, err);
}
