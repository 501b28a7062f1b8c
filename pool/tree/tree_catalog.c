/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the catalog knows of a drive, by the paths at which things are now (names.h). So a drive that goes
 * away shows what it showed before.
 *
 * Locks: the drive's known_lock, over that; none is taken under it but the catalog's and that of the
 * records.
 */
#include "pool/records/names.h"
#include "pool/records/touched.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"

void tree_catalog_forget(struct tree_drive *drive)
{
    mrmr_locked(&drive->known_lock);
    pool_names_destroy(drive->known);
    drive->known = NULL;
}

/* What was removed while it was away the tree itself leaves out (tree_gone.c). */
static mrmr_err names_locked(struct tree_drive *drive, struct pool_names **ret_names)
{
    if (!drive->known)
        MRMR_TRY(pool_names_create(drive->tree->pool, &drive->drive->meta, NULL, &drive->known));
    *ret_names = drive->known;
    return MRMR_OK;
}

mrmr_err tree_catalog_scanned(const struct tree_drive *drive, int64_t *ret_at)
{
    struct meta_drive *drives;
    size_t n;
    MRMR_TRY(meta_drives(drive->tree->pool->meta, &drives, &n));
    *ret_at = 0;
    for (size_t i = 0; i < n; i++)
        if (drives[i].id == drive->drive->meta.id)
            *ret_at = drives[i].scanned;
    meta_drives_free(drives, n);
    return MRMR_OK;
}

/* What the records lead to was worked out by the catalog as it was then: of a drive that is there a scan may have
 * made another one of it since, and left records that are newer than it. One that goes is worked out anew then. */
static mrmr_err names_anew_locked(struct tree_drive *drive, struct pool_names **ret_names)
{
    int64_t at = drive->known_at;
    if (tree_live(drive))
        MRMR_TRY(tree_catalog_scanned(drive, &at));
    if (drive->known && at != drive->known_at)
        pool_names_forget(drive->known);
    drive->known_at = at;
    return names_locked(drive, ret_names);
}

/* Of a drive that answers all is asked that is asked often, and mostly nothing was renamed: who asks
 * compares inode, size and time. */
static bool is_found(struct tree_drive *drive, const char *path, struct meta_node *ret_node)
{
    return tree_live(drive) && meta_lookup_path(drive->tree->pool->meta, drive->drive->meta.root,
                                   path, ret_node) == MRMR_OK;
}

mrmr_err tree_catalog(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node)
{
    struct tree_drive *own = &tree->drive[drive];
    struct pool_names *names;
    mrmr_locked(&own->known_lock);
    if (is_found(own, path, ret_node))
        return MRMR_OK;
    MRMR_TRY(names_locked(own, &names));
    return pool_names_lookup(names, path, ret_node);
}

mrmr_err tree_catalog_without(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node)
{
    struct tree_drive *own = &tree->drive[drive];
    struct pool_names *names;
    mrmr_locked(&own->known_lock);
    MRMR_TRY(names_anew_locked(own, &names));
    return pool_names_lookup(names, path, ret_node);
}

mrmr_err tree_catalog_places(
    struct pool_tree *tree, size_t drive, int64_t node, struct mrmr_bytes *paths)
{
    struct tree_drive *own = &tree->drive[drive];
    struct pool_names *names;
    mrmr_locked(&own->known_lock);
    MRMR_TRY(names_anew_locked(own, &names));
    return pool_names_places(names, node, paths);
}

mrmr_err tree_catalog_known(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    mrmr_err err = tree_catalog_without(tree, drive, path, ret_node);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR
               ? mrmr_story_restore(&story)
               : err;
}

mrmr_err tree_catalog_left(struct pool_tree *tree, size_t drive, const char *path, uint64_t size,
    int64_t mtime, size_t *ret_drive, struct meta_node *ret_node)
{
    if (tree_live(&tree->drive[drive]) || tree_drive_is_member(&tree->drive[drive]))
        return mrmr_fail(MRMR_ABSENT, NULL);
    for (size_t i = 0; i < tree->ndrives; i++) {
        struct meta_node node;
        if (i == drive || tree_catalog(tree, i, path, &node) || node.type != META_REG ||
            node.size != size || node.mtime != mtime)
            continue;
        *ret_drive = i;
        *ret_node = node;
        return MRMR_OK;
    }
    return mrmr_fail(MRMR_ABSENT, NULL);
}

mrmr_err tree_catalog_path(
    struct pool_tree *tree, size_t drive, const char *path, struct mrmr_bytes *ret_path)
{
    struct tree_drive *own = &tree->drive[drive];
    struct pool_names *names;
    mrmr_locked(&own->known_lock);
    MRMR_TRY(names_locked(own, &names));
    return pool_names_origin(names, path, ret_path);
}

mrmr_err tree_catalog_list(
    struct pool_tree *tree, size_t drive, const char *folder, tree_known_fn fn, void *arg)
{
    struct tree_drive *own = &tree->drive[drive];
    struct pool_names *names;
    mrmr_locked(&own->known_lock);
    MRMR_TRY(names_locked(own, &names));
    return pool_names_list(names, folder, fn, arg);
}

mrmr_err tree_catalog_touched(struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_touched)
{
    *ret_touched = false;
    return tree->keeper ? pool_touched_find_bytes(
                              tree->pool, tree->drive[drive].drive->meta.id, ino, ret_touched)
                        : MRMR_OK;
}

/* What its drive has of it was found to be something else, and is not taken for it: it is held, or rotten. */
static bool is_held(struct pool_tree *tree, const struct meta_node *node)
{
    bool held = true;
    return pool_scan_extents_in(tree->pool->meta, node->id, 1U << META_MISSING, &held) || held;
}

/* By the inode that it is, as far as the tree knows; where so much was touched that a mark stands for all, nothing is said. */
bool tree_catalog_since(struct pool_tree *tree, size_t drive, uint64_t number,
    const struct meta_node *node, struct pool_written_since since)
{
    const int64_t id = tree->drive[drive].drive->meta.id;
    uint64_t ino;
    bool all = true;
    return since.life && node->ino && !node->recheck &&
           tree_number_inode(tree, number, drive, &ino) && ino == node->ino &&
           !pool_touched_find_bytes(tree->pool, id, POOL_TOUCHED_ALL, &all) && !all &&
           pool_written_is_same(tree->pool, since, id, ino, POOL_WRITTEN_NO_LEAF) &&
           !is_held(tree, node);
}
