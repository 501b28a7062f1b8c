/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What lost the last name that is known of it, through us, and may be asked for still.
 *
 * Between looking a name up and opening what it led to, the kernel holds the node and nothing else;
 * on a file system of its own that is enough, whatever becomes of the name. So before a file's name
 * is taken or given to another, the file is opened, and stays open as long as its node is held (the
 * kernel lets go of it at once when nobody has it open); of a symlink the target is read. Who opens
 * the node then gets a descriptor of this one (tree_original_of_node).
 *
 * It is opened before the name goes, or by the same op, whose end is waited for (tree_take.c): at no
 * moment is there neither. Nothing is written, so there is
 * nothing that a power cut could lose. Without a descriptor to spare, or without an answer of the
 * drive, it is not kept, and who comes too late is told that the node is stale: the kernel looks the
 * name up again, once. At most a quarter of the descriptors that this process may have are used so,
 * and the one that was opened first goes first.
 *
 * Locks: the tree's alone. Files are not closed under it: what is let go of is put on a list, which
 * whoever let go of a node clears when he has left the lock.
 */
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_number.h"

#include <string.h>
#include <sys/resource.h>

enum { SHARE = 4, MOST = 1 << 16 };

struct tree_parted {
    struct tree_parted *next, **at; /* among the tree's, the oldest first */
    struct tree_node *node;
    size_t drive;
    bool writing;
    struct tree_original *original; /* of a file */
    struct mrmr_bytes target;       /* of a symlink */
};

void tree_parted_start(struct pool_tree *tree)
{
    struct rlimit files;
    tree->parted_last = &tree->parted;
    tree->parted_most = MOST;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / SHARE < MOST)
        tree->parted_most = (size_t)files.rlim_cur / SHARE;
}

void tree_parted_clear(struct tree_parted *list)
{
    while (list) {
        struct tree_parted *next = list->next;
        tree_original_put(list->original);
        mrmr_bytes_free(&list->target);
        free(list);
        list = next;
    }
}

static void let_go_locked(struct pool_tree *tree, struct tree_parted *parted)
{
    *parted->at = parted->next;
    if (parted->next)
        parted->next->at = parted->at;
    else
        tree->parted_last = parted->at;
    tree->nparted--;
    parted->node->parted = NULL;
    parted->next = tree->let_go;
    tree->let_go = parted;
}

void tree_parted_leave_locked(struct pool_tree *tree, struct tree_node *node)
{
    if (node->parted)
        let_go_locked(tree, node->parted);
}

struct tree_parted *tree_let_go_take_locked(struct pool_tree *tree)
{
    return mrmr_steal(tree->let_go);
}

void tree_parted_let_go(struct pool_tree *tree, size_t drive)
{
    struct tree_parted *list;
    {
        mrmr_locked(&tree->lock);
        for (struct tree_parted *at = tree->parted, *next; at; at = next) {
            next = at->next;
            if (drive == TREE_DRIVES_MAX || at->drive == drive)
                let_go_locked(tree, at);
        }
        list = tree_let_go_take_locked(tree);
    }
    tree_parted_clear(list);
}

/* --- before a name goes --- */

/* For reading and writing, where that can be had; the descriptor of whoever has it open will do. */
static mrmr_err open_file(struct tree_parted *parted, struct pool_tree *tree, const char *path)
{
    struct drv *drv = tree->drive[parted->drive].drive->drv;
    struct drv_file *file;
    struct drv_stat stat;
    parted->writing = true;
    parted->original = tree_original_of_node(tree, parted->node, true);
    if (parted->original)
        return MRMR_OK;
    if (drv_file_open_stat(drv, path, DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file, &stat)) {
        parted->writing = false;
        MRMR_TRY(drv_file_open_stat(drv, path, DRV_OPEN_READ, 0, &file, &stat));
    }
    if (tree_number(tree, parted->drive, stat.ino, "", "") != parted->node->number) {
        drv_file_close(file);
        return mrmr_fail(MRMR_CHANGED, "another file has its name");
    }
    parted->original = tree_original_new(file, stat.ino);
    return parted->original ? MRMR_OK : mrmr_nomem();
}

static void put_in_locked(struct pool_tree *tree, struct tree_parted *parted)
{
    parted->next = NULL;
    parted->at = tree->parted_last;
    *tree->parted_last = parted;
    tree->parted_last = &parted->next;
    tree->nparted++;
    parted->node->parted = parted;
    if (tree->nparted > tree->parted_most)
        let_go_locked(tree, tree->parted);
}

static bool is_kept(struct pool_tree *tree, const struct tree_node *node, size_t drive)
{
    mrmr_locked(&tree->lock);
    return node->parted && node->parted->drive == drive;
}

void tree_parted_keep(struct pool_tree *tree, struct tree_node *node, size_t drive,
    const char *path, const struct drv_stat *stat)
{
    if (!stat->ino || (stat->type != DRV_REG && stat->type != DRV_SYMLINK) ||
        is_kept(tree, node, drive))
        return;
    struct tree_parted *parted = calloc(1, sizeof *parted), *list;
    if (!parted)
        return;
    parted->node = node;
    parted->drive = drive;
    mrmr_err err = stat->type == DRV_REG
                       ? open_file(parted, tree, path)
                       : drv_readlink(tree->drive[drive].drive->drv, path, &parted->target);
    if (err) {
        mrmr_log_story(MRMR_LOG_DEBUG, "what loses its name is not kept open");
        tree_parted_clear(parted);
        return;
    }
    {
        mrmr_locked(&tree->lock);
        tree_parted_leave_locked(tree, node);
        put_in_locked(tree, parted);
        list = tree_let_go_take_locked(tree);
    }
    tree_parted_clear(list);
}

void tree_parted_take(
    struct pool_tree *tree, struct tree_node *node, size_t drive, struct drv_named *named)
{
    struct tree_parted *parted = calloc(1, sizeof *parted), *list;
    struct tree_original *original = tree_original_new(named->file, named->stat.ino);
    if (!parted || !original) {
        free(parted);
        tree_original_put(original);
        return;
    }
    *parted = (struct tree_parted){.node = node,
        .drive = drive,
        .writing = named->flags & DRV_OPEN_WRITE,
        .original = original};
    {
        mrmr_locked(&tree->lock);
        tree_parted_leave_locked(tree, node);
        put_in_locked(tree, parted);
        list = tree_let_go_take_locked(tree);
    }
    tree_parted_clear(list);
}

void tree_parted_drop(struct pool_tree *tree, struct tree_node *node)
{
    struct tree_parted *list;
    {
        mrmr_locked(&tree->lock);
        tree_parted_leave_locked(tree, node);
        list = tree_let_go_take_locked(tree);
    }
    tree_parted_clear(list);
}

/* --- after it went --- */

struct tree_original *tree_parted_original_locked(const struct tree_node *node, bool writing)
{
    const struct tree_parted *parted = node->parted;
    if (!parted || !parted->original || (writing && !parted->writing))
        return NULL;
    tree_original_ref(parted->original);
    return parted->original;
}

bool tree_parted_open_locked(const struct tree_node *node)
{
    return node->parted && node->parted->original;
}

mrmr_err tree_parted_target(
    struct pool_tree *tree, const struct tree_node *node, struct mrmr_bytes *target)
{
    mrmr_locked(&tree->lock);
    const struct tree_parted *parted = node->parted;
    if (!parted || !parted->target.data)
        return mrmr_fail(MRMR_ABSENT, NULL);
    return mrmr_bytes_add(target, parted->target.data, parted->target.size);
}
