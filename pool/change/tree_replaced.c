/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that a repair replaced (replaced.h) while this tree showed them. The new inode is the same
 * file: it has its number and generation, and whoever has it open comes to it at his next request. The
 * inode that was there lies in the quarantine, and nothing is read from it or written to it any more.
 *
 * Every change looks for such records once it is among the writers, so that none goes to an inode that
 * has lost its place; a request that reads looks before it begins, and whoever finds another inode at
 * a name before it takes it for another file. A record is looked at among the writers, when the
 * exchange that it is of has been made, or has failed.
 *
 * Of a drive that is out of service nothing can be told: its records wait until it is back.
 *
 * Locks: look's, over I/O, inside a change and outside of the tree's.
 */
#include "pool/change/tree_replaced.h"
#include "pool/change/tree_change.h"
#include "pool/records/replaced.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree_watch.h"
#include "pool/writers.h"

#include <string.h>
#include <unistd.h>

struct tree_replaced {
    int fd;
    _Atomic uint64_t seen;  /* bytes of records */
    atomic_bool waits;      /* some record does, for its drive */
    _Atomic uint64_t stays; /* of the writers, when all that was there had been looked at */
    pthread_mutex_t look;
    struct mrmr_bytes waiting; /* guarded by look: struct pool_replaced each */
};

mrmr_err tree_replaced_start(struct pool_tree *tree)
{
    uint64_t epoch;
    if (!tree->keeper) /* nobody writes, and what is read of a rotten leaf is not made worse */
        return MRMR_OK;
    struct tree_replaced *replaced = calloc(1, sizeof *replaced);
    if (!replaced)
        return mrmr_nomem();
    replaced->fd = -1;
    pthread_mutex_init(&replaced->look, NULL);
    mrmr_err err = tree_change_begin(tree, &epoch);
    if (!err) {
        err = pool_replaced_open(tree->pool->dirfd, &replaced->fd);
        tree_change_end(tree);
    }
    tree->replaced = replaced;
    return err;
}

void tree_replaced_stop(struct pool_tree *tree)
{
    struct tree_replaced *replaced = tree->replaced;
    tree->replaced = NULL;
    if (!replaced)
        return;
    if (replaced->fd >= 0)
        close(replaced->fd);
    mrmr_bytes_free(&replaced->waiting);
    pthread_mutex_destroy(&replaced->look);
    free(replaced);
}

/* --- one file --- */

/* All paths that lead to a node, each with its NUL. */
static mrmr_err paths_of(struct pool_tree *tree, uint64_t number, struct mrmr_bytes *paths)
{
    mrmr_locked(&tree->lock);
    const struct tree_node *node = tree_find_locked(tree, number);
    for (const struct tree_link *link = node ? node->links : NULL; link; link = link->next) {
        mrmr_autobytes struct mrmr_bytes folder = MRMR_BYTES_INIT, path = MRMR_BYTES_INIT;
        if (tree_path_locked(link->parent, &folder))
            continue;
        MRMR_TRY(tree_join(folder.data ? folder.data : "", link->name, &path));
        MRMR_TRY(mrmr_bytes_add(paths, path.data, path.size + 1));
    }
    return MRMR_OK;
}

/* The inode has the place now: the exchange was made, and nobody took it back. */
static mrmr_err has_place(
    struct pool_tree *tree, uint64_t number, size_t drive, uint64_t ino, bool *ret_has)
{
    mrmr_autobytes struct mrmr_bytes paths = MRMR_BYTES_INIT;
    struct drv *drv = tree->drive[drive].drive->drv;
    *ret_has = false;
    MRMR_TRY(paths_of(tree, number, &paths));
    for (size_t at = 0; at < paths.size && !*ret_has; at += strlen(paths.data + at) + 1) {
        struct drv_stat stat;
        mrmr_err err = drv_stat(drv, paths.data + at, &stat);
        if (mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE)
            return err;
        *ret_has = !err && stat.ino == ino;
    }
    return MRMR_OK;
}

/* Whoever has it open opens it anew, and what the kernel has of its bytes may be the rotten ones. */
static void node_replaced(struct pool_tree *tree, uint64_t number, size_t drive)
{
    struct tree_original *old = NULL;
    {
        mrmr_locked(&tree->lock);
        struct tree_node *node = tree_find_locked(tree, number);
        if (!node)
            return;
        node->changes++;
        tree_files_brought_locked(node, drive, &old);
        tree_parted_leave_locked(tree, node); /* from a name that it had besides */
        tree_later_locked(tree, TREE_TELL, number, "");
    }
    tree_originals_put(old);
}

static mrmr_err follow(struct pool_tree *tree, size_t drive, const struct pool_replaced *record)
{
    uint64_t number = tree_number(tree, drive, record->was, "", "");
    bool has;
    MRMR_TRY(has_place(tree, number, drive, record->now, &has));
    if (!has)
        return MRMR_OK; /* nobody holds it, or it was not replaced */
    uint64_t generation = tree_generation(tree, number, (uint64_t)record->btime);
    MRMR_TRY(tree_number_keep(tree, drive, record->now, number, generation));
    node_replaced(tree, number, drive);
    return MRMR_OK;
}

/* --- all that are new --- */

/* left: those that wait from now on. */
static mrmr_err record_look(
    struct pool_tree *tree, const struct pool_replaced *record, struct mrmr_bytes *left)
{
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; i < tree->ndrives; i++) {
        if (tree->drive[i].drive->meta.id != record->drive)
            continue;
        err = tree_live(&tree->drive[i]) ? follow(tree, i, record) : mrmr_fail(MRMR_OFFLINE, NULL);
        if (mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE)
            err = mrmr_bytes_add(left, record, sizeof *record);
    }
    return err;
}

/* If it fails, for want of memory, all of them are looked at again. */
static mrmr_err look(struct pool_tree *tree)
{
    struct tree_replaced *replaced = tree->replaced;
    mrmr_autobytes struct mrmr_bytes records = MRMR_BYTES_INIT, left = MRMR_BYTES_INIT;
    mrmr_locked(&replaced->look);
    const size_t waited = replaced->waiting.size;
    MRMR_TRY(mrmr_bytes_add(&records, replaced->waiting.data, waited));
    MRMR_TRY(pool_replaced_read(replaced->fd, replaced->seen, &records));
    const struct pool_replaced *record = (const struct pool_replaced *)(void *)records.data;
    for (size_t i = 0; i < records.size / sizeof *record; i++)
        MRMR_TRY(record_look(tree, &record[i], &left));
    mrmr_bytes_free(&replaced->waiting);
    replaced->waiting = left;
    left = (struct mrmr_bytes)MRMR_BYTES_INIT;
    replaced->waits = replaced->waiting.size > 0;
    replaced->seen += records.size - waited;
    return MRMR_OK;
}

/* Its drive serves again. */
static bool any_returned(struct pool_tree *tree)
{
    struct tree_replaced *replaced = tree->replaced;
    mrmr_locked(&replaced->look);
    const struct pool_replaced *record =
        (const struct pool_replaced *)(void *)replaced->waiting.data;
    for (size_t i = 0; i < replaced->waiting.size / sizeof *record; i++)
        for (size_t d = 0; d < tree->ndrives; d++)
            if (tree->drive[d].drive->meta.id == record[i].drive && tree_live(&tree->drive[d]))
                return true;
    return false;
}

static bool any_new(struct pool_tree *tree)
{
    const struct tree_replaced *replaced = tree->replaced;
    uint64_t size;
    if (!replaced)
        return false;
    if (pool_replaced_size(replaced->fd, &size))
        return true; /* whoever looks fails */
    return size - size % sizeof(struct pool_replaced) != replaced->seen ||
           (replaced->waits && any_returned(tree));
}

/* None comes as long as they cannot have stood still. */
mrmr_err tree_replaced_look_among(struct pool_tree *tree)
{
    struct tree_replaced *replaced = tree->replaced;
    const uint64_t stays = replaced ? tree_keep_stays(tree) : 0;
    if (!replaced || (stays == replaced->stays && !replaced->waits))
        return MRMR_OK;
    if (any_new(tree))
        MRMR_TRY(look(tree));
    replaced->stays = stays;
    return MRMR_OK;
}

mrmr_err tree_replaced_look(struct pool_tree *tree)
{
    uint64_t epoch;
    if (pool_writers_inside())
        return tree_replaced_look_among(tree);
    if (!any_new(tree))
        return MRMR_OK;
    MRMR_TRY(tree_change_begin(tree, &epoch)); /* which looks */
    tree_change_end(tree);
    return MRMR_OK;
}
