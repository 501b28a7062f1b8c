/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Before originals change (I3): what stripes count on is kept.
 *
 * Every change runs among the writers (writers.h). Until it is done no stripe commits, so what the
 * catalog says when the change begins holds to its end; and what was found out once holds as long as
 * the epoch is the same.
 *
 * What counts is asked by inode, so that it does not matter by which name, link or descriptor the
 * change comes. A file that is removed while it is open for writing has no inode in the catalog after
 * the next scan: what counted when its name went counts until its node is let go of (tree_keep_known).
 *
 * Crash argument. Of a write: each leaf that it touches and that counts is durable where it is kept
 * before the write is issued (retained.h). Of a removal: the symlinks, or what stands in for them on
 * a drive without room, are durable, then one rename
 * takes the file from its name to where it is kept; of a copy that goes since the file was brought to
 * another drive, to the name beside, where it is judged (retained.h). Of a replacement: the symlinks, then a link to
 * where it is kept, then the rename of the other file, made by the caller: the name is never missing,
 * and after a cut anywhere the bytes have one name or two. The link need not be durable: a cut that
 * loses it loses the rename, too, or, where a drive does not keep that order, is seen as a file that
 * was replaced directly. To be sure of the order the folder where it is kept is synced before.
 *
 * Of a name that goes, or is given to another file, while its inode has others. If another name that the
 * catalog has leads to the inode, for each node that it has of that, all who read find the bytes by it
 * (original.c), and nothing is kept. What was linked since the last scan, lies in a folder that is left out, or outside
 * of the root, is found by nobody: then the name goes where things are kept, in the one rename or before it by the link,
 * as if it were the last. After a cut there is the name, or what is kept, or both, or another name that the catalog has;
 * a cut that takes back a rename of that one, too, leaves it where the catalog has it, and the records of renames are
 * tried in both ways (moved.h). Two names that go at a time must not count on each other: from the look at the
 * others to the end of the op the drive's keeping is held. Until it is let go of, at the end of the next sync,
 * what is kept counts as one of the inode's names. Its bytes may be written to after the name went, also when a scan
 * has let the inode go since it knows none of the names that are left: what counted then is saved for as long
 * as the node is held, besides what the catalog says.
 *
 * What the catalog has by a name that went is recorded after that (moved.h): no bytes depend on it.
 *
 * What goes to where it is kept is moved by the process itself; whoever asked for that has been found to have the right to
 * take the name before anything was done, on the drive on which it lies. What replaces it is renamed by him.
 *
 * Locks: the node's counted.lock, then the drive's keeping, both over I/O; then none but the tree's and
 * that of the records.
 */
#include "pool/tree_keep.h"

#include "pool/touched.h"
#include "pool/writers.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)TREE_KEPT_PATH == (int)POOL_RETAINED_PATH, "a path to what is kept");

/* Several changes in a row, and not what a commit would notice. */
static const int64_t stay_in = 2 * 1000 * 1000; /* ns */

/* --- life --- */

/* The last chance for what could not be written before. */
static void keeper_settle(struct pool_tree *tree)
{
    struct tree_keeper *keeper = tree->keeper;
    uint64_t epoch;
    if (!keeper->records || !tree_records_owe(keeper->records))
        return;
    mrmr_err err = pool_writers_begin(keeper->writers, &epoch);
    if (!err) {
        err = tree_records_settle(keeper->records, epoch);
        pool_writers_end();
    }
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "taking back the record of a rename");
}

void tree_keep_stop(struct pool_tree *tree)
{
    struct tree_keeper *keeper = tree->keeper;
    if (!keeper)
        return;
    keeper_settle(tree);
    tree->keeper = NULL;
    pool_writers_close(keeper->writers);
    if (keeper->mounted >= 0)
        close(keeper->mounted);
    tree_records_close(keeper->records);
    free(keeper);
}

void pool_tree_shown_at(struct pool_tree *tree, const char *mountpoint)
{
    if (tree->keeper)
        tree_mounted_tell(tree->keeper->mounted, mountpoint);
}

mrmr_err tree_keep_start(struct pool_tree *tree)
{
    struct tree_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return mrmr_nomem();
    keeper->mounted = -1;
    tree->keeper = keeper;
    mrmr_err err = tree_records_open(tree->pool, &keeper->records);
    if (!err)
        err = pool_writers_open(tree->pool->dirfd, &keeper->writers);
    if (!err) {
        pool_writers_stay(keeper->writers, stay_in);
        /* What one knows of files that are removed and open, and what it has begun, another does not. */
        err = tree_mounted_lock(tree->pool, &keeper->mounted);
    }
    if (mrmr_class_of(err) != MRMR_CLASS_DENIED)
        return err;
    mrmr_log_story(
        MRMR_LOG_INFO, "the pool's folder cannot be written, so its files cannot either");
    tree_keep_stop(tree);
    return MRMR_OK;
}

bool pool_tree_writable(const struct pool_tree *tree)
{
    return tree->keeper;
}

mrmr_err tree_change_begin(struct pool_tree *tree, uint64_t *ret_epoch)
{
    if (!tree->keeper)
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    MRMR_TRY(pool_writers_begin(tree->keeper->writers, ret_epoch));
    mrmr_err err = tree_drives_look_among(tree, *ret_epoch);
    if (!err)
        err = tree_replaced_look_among(tree);
    if (err)
        pool_writers_end();
    return err;
}

void tree_change_end(struct pool_tree *tree)
{
    (void)tree;
    pool_writers_end();
}

/* --- what counts --- */

void tree_counted_clear(struct tree_counted *counted)
{
    free(counted->leaf);
    counted->leaf = NULL;
    counted->n = 0;
    counted->known = counted->in_catalog = counted->touched = counted->named = false;
}

static void went_clear(struct tree_counted *counted)
{
    free(counted->went);
    counted->went = NULL;
    counted->nwent = 0;
}

void tree_counted_free(struct tree_counted *counted)
{
    if (!counted)
        return;
    tree_counted_clear(counted);
    went_clear(counted);
    pthread_mutex_destroy(&counted->lock);
    free(counted);
}

static size_t leaf_first(const struct tree_counted *counted, uint64_t leaf)
{
    size_t low = 0, high = counted->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (counted->leaf[middle].leaf < leaf)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int leaf_compare(const void *a, const void *b)
{
    const struct pool_retained_leaf *x = a, *y = b;
    return x->leaf < y->leaf ? -1 : x->leaf > y->leaf;
}

static bool counted_has(const struct tree_counted *counted, const struct pool_retained_leaf *leaf)
{
    for (size_t i = leaf_first(counted, leaf->leaf);
         i < counted->n && counted->leaf[i].leaf == leaf->leaf; i++)
        if (counted->leaf[i].size == leaf->size &&
            mrmr_digest_equal(&counted->leaf[i].digest, &leaf->digest))
            return true;
    return false;
}

/* What counted when a name went counts, too. */
static mrmr_err counted_add_went(struct tree_counted *counted)
{
    size_t n = counted->n;
    if (!counted->nwent)
        return MRMR_OK;
    struct pool_retained_leaf *all =
        realloc(counted->leaf, (n + counted->nwent) * sizeof *counted->leaf);
    if (!all)
        return mrmr_nomem();
    counted->leaf = all;
    for (size_t i = 0; i < counted->nwent; i++)
        if (!counted_has(counted, &counted->went[i]))
            all[n++] = counted->went[i];
    counted->n = n;
    qsort(all, n, sizeof *all, leaf_compare);
    return MRMR_OK;
}

/* From now on. */
static mrmr_err went_take(struct tree_counted *counted)
{
    struct pool_retained_leaf *went = malloc((counted->n + 1) * sizeof *went);
    size_t n = 0;
    if (!went)
        return mrmr_nomem();
    for (size_t i = 0; i < counted->n; i++)
        if (counted->leaf[i].size) /* else its bytes are kept by themselves */
            went[n++] = counted->leaf[i];
    went_clear(counted);
    counted->went = went;
    counted->nwent = n;
    return MRMR_OK;
}

/* Of all nodes that the catalog has with this inode: which of them it is does not matter, since only
 * bytes with the right digest are kept. */
mrmr_err tree_counted_load(
    struct pool_tree *tree, const struct tree_inode *inode, struct tree_counted *counted)
{
    struct pool_drive *drive = tree->drive[inode->drive].drive;
    tree_counted_clear(counted);
    if (!inode->ino)
        return mrmr_err_drive(
            mrmr_fail(MRMR_READONLY, "it has no inode numbers that last"), drive->meta.name);
    MRMR_TRY(pool_retained_counted(
        tree->pool, drive, NULL, inode->ino, &counted->leaf, &counted->n, &counted->in_catalog));
    MRMR_TRY(counted_add_went(counted));
    counted->known = true;
    return MRMR_OK;
}

/* It stays as long as the node does; births: which of the inodes that had its number it is of. */
struct tree_counted *tree_counted_of(
    struct pool_tree *tree, struct tree_node *node, uint32_t *ret_births)
{
    mrmr_locked(&tree->lock);
    *ret_births = node->births;
    if (node->counted)
        return node->counted;
    struct tree_counted *counted = calloc(1, sizeof *counted);
    if (counted)
        pthread_mutex_init(&counted->lock, NULL);
    return node->counted = counted;
}

static mrmr_err counted_now(struct pool_tree *tree, const struct tree_inode *inode, uint32_t births,
    struct tree_counted *counted, uint64_t epoch)
{
    bool same = counted->inode.drive == inode->drive && counted->inode.ino == inode->ino &&
                counted->births == births;
    if (same && (counted->for_ever || (counted->known && counted->epoch == epoch)))
        return MRMR_OK;
    if (!same)
        went_clear(counted);
    counted->for_ever = false;
    counted->inode = *inode;
    counted->births = births;
    counted->epoch = epoch;
    return tree_counted_load(tree, inode, counted);
}

mrmr_err tree_keep_epoch(struct pool_tree *tree, uint64_t *ret_epoch)
{
    return pool_writers_epoch(tree->keeper->writers, ret_epoch);
}

uint64_t tree_keep_stays(struct pool_tree *tree)
{
    return pool_writers_stays(tree->keeper->writers);
}

/* Only a commit can make something count on it, and that begins another epoch. What the catalog has
 * by its inode number is of a file that is gone with its bytes. */
void tree_keep_new(
    struct pool_tree *tree, struct tree_node *node, const struct tree_inode *inode, uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = inode->ino ? tree_counted_of(tree, node, &births) : NULL;
    if (!counted)
        return; /* it is asked when it is needed */
    mrmr_locked(&counted->lock);
    tree_counted_clear(counted);
    went_clear(counted);
    counted->for_ever = false;
    counted->inode = *inode;
    counted->births = births;
    counted->epoch = epoch;
    counted->known = true;
}

void tree_keep_unknown(struct pool_tree *tree, struct tree_node *node)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return;
    mrmr_locked(&counted->lock);
    counted->known = counted->for_ever = false;
}

/* --- the scan shall know that it was us (I5) --- */

/* bytes: else only a name of it goes. */
mrmr_err tree_keep_touch(
    struct pool_tree *tree, const struct tree_inode *inode, bool bytes, uint64_t epoch)
{
    return tree_record_touched(
        tree->keeper->records, tree_keep_id(tree, inode->drive), inode->ino, bytes, epoch);
}

/* Of what the catalog has. */
void tree_keep_name_went(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, enum pool_moved_kind kind, bool kept, uint64_t epoch)
{
    tree_record_went(
        tree->keeper->records, tree_keep_id(tree, drive), path, stat, kind, kept, epoch);
}

mrmr_err tree_counted_touch(struct pool_tree *tree, const struct tree_inode *inode,
    struct tree_counted *counted, bool bytes, uint64_t epoch)
{
    bool *noted = bytes ? &counted->touched : &counted->named;
    /* also what the catalog does not have: a scan may be about to add it */
    if (counted->touched || *noted)
        return MRMR_OK;
    MRMR_TRY(tree_keep_touch(tree, inode, bytes, epoch));
    *noted = true;
    return MRMR_OK;
}

mrmr_err tree_keep_touched(struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_touched)
{
    *ret_touched = false;
    return tree->keeper ? pool_touched_find_bytes(
                              tree->pool, tree->drive[drive].drive->meta.id, ino, ret_touched)
                        : MRMR_OK;
}

/* --- bytes --- */

static mrmr_err keep_leaf(
    struct tree_drive *drive, struct drv_file *file, struct pool_retained_leaf *leaf)
{
    mrmr_locked(&drive->keeping);
    MRMR_TRY(pool_retained_save_leaf(drive->drive->drv, file, leaf));
    leaf->size = 0;
    return MRMR_OK;
}

mrmr_err tree_keep_bytes(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, struct drv_file *file, uint64_t from, uint64_t to,
    uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return mrmr_nomem();
    mrmr_locked(&counted->lock);
    MRMR_TRY(counted_now(tree, inode, births, counted, epoch));
    for (size_t i = leaf_first(counted, from / META_LEAF);
         i < counted->n && counted->leaf[i].leaf * META_LEAF < to; i++)
        if (counted->leaf[i].size)
            MRMR_TRY(mrmr_err_drive(keep_leaf(&tree->drive[inode->drive], file, &counted->leaf[i]),
                tree->drive[inode->drive].drive->meta.name));
    /* Last: if something could not be kept nothing is changed, and it is as the catalog has it. */
    return tree_counted_touch(tree, inode, counted, true, epoch);
}

/* for_ever: nobody will ask of this inode again, for its name goes. */
static mrmr_err counts(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool for_ever, bool *ret_counts)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return mrmr_nomem();
    mrmr_locked(&counted->lock);
    MRMR_TRY(counted_now(tree, inode, births, counted, epoch));
    *ret_counts = counted->n > 0;
    if (*ret_counts)
        return MRMR_OK;
    MRMR_TRY(tree_counted_touch(tree, inode, counted, !for_ever, epoch));
    counted->for_ever = counted->for_ever || for_ever;
    return MRMR_OK;
}

mrmr_err tree_keep_counts(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool *ret_counts)
{
    return counts(tree, node, inode, epoch, false, ret_counts);
}

mrmr_err tree_keep_nothing(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool *ret_counts)
{
    return counts(tree, node, inode, epoch, true, ret_counts);
}

mrmr_err tree_keep_known(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, bool last, uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return mrmr_nomem();
    mrmr_locked(&counted->lock);
    MRMR_TRY(counted_now(tree, inode, births, counted, epoch));
    if (!last)
        return went_take(counted);
    counted->for_ever = true;
    return MRMR_OK;
}

/* --- whole files --- */

static mrmr_err keep_away_locked(struct tree_drive *drive, const struct tree_counted *counted,
    const char *path, const struct drv_stat *stat, enum pool_retained_how how,
    char ret_path[TREE_KEPT_PATH])
{
    MRMR_TRY(pool_retained_keep(drive->drive->drv, path, counted->leaf, counted->n, how, ret_path));
    if (stat->nlink > 1)
        tree_kept_add(drive, stat->ino, ret_path);
    return MRMR_OK;
}

static mrmr_err move_away_locked(struct tree_drive *drive, const struct tree_counted *counted,
    const char *path, const struct drv_stat *stat)
{
    char to[POOL_RETAINED_PATH];
    return keep_away_locked(drive, counted, path, stat, POOL_RETAINED_MOVE, to);
}

static mrmr_err link_away_locked(struct tree_drive *drive, const struct tree_counted *counted,
    const char *path, const struct drv_stat *stat, char ret_path[TREE_KEPT_PATH])
{
    char to[POOL_RETAINED_PATH];
    MRMR_TRY(keep_away_locked(drive, counted, path, stat, POOL_RETAINED_LINK, to));
    memcpy(ret_path, to, sizeof to);
    return drv_dir_sync(drive->drive->drv, POOL_RETAINED_FILES);
}

mrmr_err tree_counted_in_catalog(
    struct pool_tree *tree, const struct tree_inode *inode, bool *known)
{
    struct meta_node node;
    size_t n = 0;
    MRMR_TRY(meta_node_by_ino(
        tree->pool->meta, tree->drive[inode->drive].drive->meta.id, inode->ino, &node, 1, &n));
    *known = *known || n > 0;
    return MRMR_OK;
}

/* What counts of a file one of whose names goes. The scan is told. */
static mrmr_err counted_whole(struct pool_tree *tree, size_t drive, const struct drv_stat *stat,
    uint64_t epoch, struct tree_counted *counted)
{
    const struct tree_inode inode = {drive, stat->ino};
    if (stat->type != DRV_REG) {
        MRMR_TRY(tree_counted_in_catalog(tree, &inode, &counted->in_catalog));
        return tree_keep_touch(tree, &inode, false, epoch);
    }
    MRMR_TRY(tree_counted_load(tree, &inode, counted));
    return tree_counted_touch(tree, &inode, counted, false, epoch);
}

/* Nothing of one that is found by another name; `keeping` is held until this one is gone. */
static mrmr_err counted_besides_locked(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, struct tree_counted *counted)
{
    bool found = false;
    if (counted->n && stat->nlink > 1)
        MRMR_TRY(
            pool_inode_found_but(tree->pool, tree->drive[drive].drive, stat->ino, path, &found));
    if (found)
        counted->n = 0;
    return MRMR_OK;
}

static mrmr_err unlink_now(
    const struct tree_drive *drive, const struct pool_caller *caller, const char *path)
{
    tree_act_as(caller);
    return drv_unlink(drive->drive->drv, path);
}

/* What is kept is moved by us, who may do anything: whether the caller may take the name is asked of its folder on
 * this drive, since who asked before may have asked another drive's. */
static mrmr_err may_take(
    const struct tree_drive *drive, const struct pool_caller *caller, const char *path)
{
    tree_act_as(caller);
    return drv_unlink_may(drive->drive->drv, path);
}

static mrmr_err removed(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, const struct drv_stat *stat, uint64_t epoch, struct tree_counted *counted)
{
    struct tree_drive *own = &tree->drive[drive];
    MRMR_TRY(counted_whole(tree, drive, stat, epoch, counted));
    if (!counted->n)
        return unlink_now(own, caller, path);
    mrmr_locked(&own->keeping);
    MRMR_TRY(counted_besides_locked(tree, drive, path, stat, counted));
    if (!counted->n)
        return unlink_now(own, caller, path);
    MRMR_TRY(may_take(own, caller, path));
    return move_away_locked(own, counted, path, stat);
}

mrmr_err tree_keep_removed(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, const struct drv_stat *stat, uint64_t epoch)
{
    struct tree_counted counted = {.known = false};
    mrmr_err err = removed(tree, caller, drive, path, stat, epoch, &counted);
    if (!err && counted.in_catalog)
        tree_keep_name_went(tree, drive, path, stat, POOL_MOVED_REMOVED, counted.n > 0, epoch);
    tree_counted_clear(&counted);
    return mrmr_err_drive(err, tree->drive[drive].drive->meta.name);
}

static mrmr_err take(struct tree_drive *drive, const struct tree_counted *counted, const char *path,
    const struct drv_stat *stat)
{
    struct drv *drv = drive->drive->drv;
    char to[POOL_RETAINED_PATH];
    struct drv_stat taken;
    mrmr_locked(&drive->keeping);
    MRMR_TRY(pool_retained_keep(drv, path, counted->leaf, counted->n, POOL_RETAINED_TAKE, to));
    mrmr_err err = drv_stat(drv, to, &taken);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        pool_retained_put_back(drv, to, path); /* it could be anyone's */
        return mrmr_story_restore(&story);
    }
    if (taken.ino != stat->ino || taken.size != stat->size || taken.mtime != stat->mtime) {
        MRMR_TRY(pool_retained_put_back(drv, to, path));
        return mrmr_fail(MRMR_CHANGED, "it was changed on its drive meanwhile");
    }
    return counted->n ? pool_retained_taken(drv, to, path, true) : drv_unlink(drv, to);
}

mrmr_err tree_keep_taken(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    struct tree_counted counted = {.known = false};
    mrmr_err err = counted_whole(tree, drive, stat, epoch, &counted);
    if (!err)
        err = take(&tree->drive[drive], &counted, path, stat);
    if (!err && counted.in_catalog)
        tree_keep_name_went(tree, drive, path, stat, POOL_MOVED_REMOVED, false, epoch);
    tree_counted_clear(&counted);
    return mrmr_err_drive(err, tree->drive[drive].drive->meta.name);
}

void tree_keep_named(struct pool_tree *tree, struct tree_node *node, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    bool known = !counted;
    if (counted) {
        mrmr_locked(&counted->lock);
        known =
            counted->in_catalog || counted->inode.drive != drive || counted->inode.ino != stat->ino;
    }
    if (known)
        tree_keep_name_went(tree, drive, path, stat, POOL_MOVED_REMOVED, false, epoch);
}

void tree_keep_replaced_by(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    tree_keep_name_went(tree, drive, path, stat, POOL_MOVED_REPLACED, false, epoch);
}

static mrmr_err linked(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    const struct meta_drive *own = &tree->drive[drive].drive->meta;
    struct meta_node node;
    mrmr_err err = meta_lookup_path(tree->pool->meta, own->root, path, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
        (!err && node.ino != stat->ino))
        return MRMR_OK;
    MRMR_TRY(err);
    return tree_record_linked(tree->keeper->records, own->id, path, stat, epoch);
}

void tree_keep_linked(
    struct pool_tree *tree, size_t drive, const char *path, const struct drv_stat *stat)
{
    uint64_t epoch, stamp;
    bool any = false;
    mrmr_err err =
        stat->ino ? pool_moved_stamp(tree->pool, tree->drive[drive].drive->meta.id, &stamp, &any)
                  : MRMR_OK;
    if (!err && !any)
        return;
    if (!err)
        err = pool_writers_begin(tree->keeper->writers, &epoch);
    if (!err) {
        err = linked(tree, drive, path, stat, epoch);
        pool_writers_end();
    }
    if (err)
        mrmr_log_story(MRMR_LOG_WARN,
            "a name that was made is not listed if its drive goes before the next sync");
}

/* Whether the catalog has it, and stripes may count on it, or on what lies below it. */
static mrmr_err whether_known(
    struct pool_tree *tree, size_t drive, const struct drv_stat *stat, bool *known, bool *counts)
{
    const struct tree_inode inode = {drive, stat->ino};
    struct tree_counted counted = {.known = false};
    if (stat->type == DRV_DIR)
        *known = *counts = true;
    if (stat->type != DRV_REG)
        return *known ? MRMR_OK : tree_counted_in_catalog(tree, &inode, known);
    mrmr_err err = tree_counted_load(tree, &inode, &counted);
    *known = *known || counted.in_catalog;
    *counts = *counts || counted.n > 0;
    tree_counted_clear(&counted);
    return err;
}

mrmr_err tree_keep_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *stat, const struct drv_stat *exchanged, uint64_t epoch)
{
    const struct tree_renamed renamed = {tree_keep_id(tree, drive), from, to, exchanged,
        {stat->ino, exchanged ? exchanged->ino : 0}};
    bool known = false, counts = false;
    MRMR_TRY(whether_known(tree, drive, stat, &known, &counts));
    if (exchanged)
        MRMR_TRY(whether_known(tree, drive, exchanged, &known, &counts));
    /* What the catalog has not nobody needs to find. */
    return known ? tree_record_renamed(tree->keeper->records, &renamed, counts, epoch) : MRMR_OK;
}

/* Durable in any case: what had the new name may count where what was to have it does not. */
mrmr_err tree_keep_not_moved(struct pool_tree *tree, size_t drive, const char *from, const char *to,
    const struct drv_stat *stat, const struct drv_stat *exchanged, uint64_t epoch)
{
    const struct tree_renamed renamed = {tree_keep_id(tree, drive), from, to, exchanged,
        {stat->ino, exchanged ? exchanged->ino : 0}};
    bool known = false, counts = false;
    if (whether_known(tree, drive, stat, &known, &counts) ||
        (exchanged && whether_known(tree, drive, exchanged, &known, &counts)))
        known = true; /* of what was not recorded it says nothing */
    return known ? tree_record_undone(tree->keeper->records, &renamed, epoch) : MRMR_OK;
}

static mrmr_err remove_folder(struct pool_tree *tree, const struct pool_caller *caller,
    const struct tree_inode *inode, const char *path)
{
    struct drv *drv = tree->drive[inode->drive].drive->drv;
    tree_act_as(caller);
    return drv_rmdir(drv, path);
}

mrmr_err tree_keep_rmdir(struct pool_tree *tree, const struct pool_caller *caller, size_t drive,
    const char *path, uint64_t epoch)
{
    struct drv_stat stat;
    MRMR_TRY(drv_stat(tree->drive[drive].drive->drv, path, &stat));
    const struct tree_inode inode = {drive, stat.ino};
    bool known = false;
    if (stat.type == DRV_DIR && stat.ino) {
        MRMR_TRY(tree_counted_in_catalog(tree, &inode, &known));
        MRMR_TRY(tree_keep_touch(tree, &inode, false, epoch));
    }
    MRMR_TRY(remove_folder(tree, caller, &inode, path));
    if (known)
        tree_keep_name_went(tree, drive, path, &stat, POOL_MOVED_REMOVED, false, epoch);
    return MRMR_OK;
}

mrmr_err tree_keep_replaced(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, char ret_path[TREE_KEPT_PATH], bool *ret_known)
{
    struct tree_drive *own = &tree->drive[drive];
    struct tree_counted counted = {.known = false};
    ret_path[0] = '\0';
    mrmr_err err = counted_whole(tree, drive, stat, epoch, &counted);
    pthread_mutex_lock(&own->keeping);
    if (!err)
        err = counted_besides_locked(tree, drive, path, stat, &counted);
    if (!err && counted.n)
        err = link_away_locked(own, &counted, path, stat, ret_path);
    if (err || stat->nlink <= 1)
        pthread_mutex_unlock(&own->keeping);
    *ret_known = !err && counted.in_catalog;
    tree_counted_clear(&counted);
    return mrmr_err_drive(err, own->drive->meta.name);
}

void tree_keep_replaced_end(struct pool_tree *tree, size_t drive, const struct drv_stat *stat)
{
    if (stat->nlink > 1)
        pthread_mutex_unlock(&tree->drive[drive].keeping);
}
