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
 * before the write is issued (retained.h). Several threads keep leaves of one file, or of one drive, at the same time, each
 * leaf by one of them: who wants to write into it too waits for that one, and keeps it himself where that failed. Of a removal: the symlinks, or what stands in for them on
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
 * others to the end of the op the drive's keeping is held. It is, too, from a link to where a file is kept to the end of its
 * replacement: where that fails the link is taken back, and another file with the same bytes that was removed meanwhile would have
 * nothing that leads to them. Where the drive gave no answer it stays: the rename may be made yet, by the thread that the guard has given up, also
 * before whoever asked comes to take the link back, if the drive serves again by then; and that link may be all there is of the old bytes. If it
 * is not made, release lets go of it as of any other. Until it is let go of, at the end of the next sync,
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
 * that of the records. While leaves are kept the former is not held, and the latter over their names alone (retained.h); whoever
 * meets a drive without room tries once more when nobody else is at it there (the drive's alone, then all of its savers, then keeping).
 */
#include "pool/change/tree_keep.h"
#include "pool/change/tree_room.h"

#include <string.h>

_Static_assert((int)TREE_KEPT_PATH == (int)POOL_RETAINED_PATH, "a path to what is kept");

static mrmr_err keep_away_locked(struct tree_drive *drive, const struct tree_counted *counted,
    const char *path, const struct drv_stat *stat, enum pool_retained_how how,
    char ret_path[TREE_KEPT_PATH])
{
    MRMR_TRY(pool_retained_keep(drive->drive->drv, path, counted->leaf, counted->n, how, ret_path));
    atomic_store_explicit(&drive->tree->kept, true, memory_order_relaxed);
    if (counted->n)
        tree_room_kept(drive, stat->size);
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

/* What counts of a file one of whose names goes. The scan is told. */
static mrmr_err counted_whole(struct pool_tree *tree, size_t drive, const struct drv_stat *stat,
    uint64_t epoch, struct tree_counted *counted)
{
    const struct tree_inode inode = {drive, stat->ino};
    if (stat->type != DRV_REG) {
        MRMR_TRY(tree_counted_in_catalog(tree, &inode, &counted->in_catalog));
        return tree_keep_touch(tree, &inode, POOL_TOUCHED_NAME, epoch);
    }
    MRMR_TRY(tree_counted_load(tree, &inode, counted));
    MRMR_TRY(pool_written_note_end(tree->keeper->written, tree_keep_id(tree, drive), stat->ino));
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
        tree_keep_name_went(tree, drive, path, stat, epoch);
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
    return counted->n ? pool_retained_taken(drv, to, path) : drv_unlink(drv, to);
}

mrmr_err tree_keep_taken(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch)
{
    struct tree_counted counted = {.known = false};
    mrmr_err err = counted_whole(tree, drive, stat, epoch, &counted);
    if (!err)
        err = take(&tree->drive[drive], &counted, path, stat);
    if (!err && counted.in_catalog)
        tree_keep_name_went(tree, drive, path, stat, epoch);
    tree_counted_clear(&counted);
    return mrmr_err_drive(err, tree->drive[drive].drive->meta.name);
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
        MRMR_TRY(tree_keep_touch(tree, &inode, POOL_TOUCHED_NAME, epoch));
    }
    MRMR_TRY(remove_folder(tree, caller, &inode, path));
    if (known)
        tree_keep_name_went(tree, drive, path, &stat, epoch);
    return MRMR_OK;
}

/* It keeps its name. Under `keeping`: who removes another file with the same bytes may count on what was kept here. */
static void kept_drop_locked(const struct tree_drive *drive, const struct tree_replacing *replaced)
{
    struct mrmr_story story;
    if (!replaced->kept[0])
        return;
    mrmr_story_save(&story);
    drv_unlink(drive->drive->drv, replaced->kept);
    mrmr_story_restore(&story);
}

static mrmr_err replaced_locked(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, struct tree_counted *counted,
    struct tree_replacing *replaced)
{
    MRMR_TRY(counted_besides_locked(tree, drive, path, stat, counted));
    if (counted->n)
        MRMR_TRY(link_away_locked(&tree->drive[drive], counted, path, stat, replaced->kept));
    replaced->known = counted->in_catalog;
    return replaced->known ? tree_keep_name_goes(tree, drive, path, stat, epoch, &replaced->other)
                           : MRMR_OK;
}

/* To the end of the op. */
static bool holds(const struct drv_stat *stat, const struct tree_replacing *replaced)
{
    return stat->nlink > 1 || replaced->kept[0];
}

mrmr_err tree_keep_replaced(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, struct tree_replacing *ret_replaced)
{
    struct tree_drive *own = &tree->drive[drive];
    struct tree_counted counted = {.known = false};
    struct tree_replacing replaced = {.other = MRMR_BYTES_INIT};
    mrmr_err err = counted_whole(tree, drive, stat, epoch, &counted);
    pthread_mutex_lock(&own->keeping);
    if (!err)
        err = replaced_locked(tree, drive, path, stat, epoch, &counted, &replaced);
    if (err)
        kept_drop_locked(own, &replaced);
    if (err || !holds(stat, &replaced))
        pthread_mutex_unlock(&own->keeping);
    tree_counted_clear(&counted);
    if (!err) {
        *ret_replaced = replaced;
        return MRMR_OK;
    }
    mrmr_bytes_free(&replaced.other);
    return mrmr_err_drive(err, own->drive->meta.name);
}

void tree_keep_replaced_end(struct pool_tree *tree, size_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch, struct tree_replacing *replaced, mrmr_err err)
{
    struct tree_drive *own = &tree->drive[drive];
    if (err && mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE)
        kept_drop_locked(own, replaced);
    if (holds(stat, replaced))
        pthread_mutex_unlock(&own->keeping);
    if (err) {
        tree_keep_name_stays(tree, drive, path, stat, &replaced->other, epoch);
    } else if (replaced->known) {
        tree_keep_name_replaced(tree, drive, path, stat, &replaced->other, epoch);
    }
    mrmr_bytes_free(&replaced->other);
}
