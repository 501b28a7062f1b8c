/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which of several drives' copies of a name shows: the newest (I9).
 *
 * What the catalog has not, or not so, is newer than what it has; of two that it has its own sequence
 * says which, and of two that it has not, or that one sync found, their times do: so a sync changes nothing in that. What it has by another name, from which it was
 * renamed to this one since (moved.h), was given this name after the catalog saw the other copy have
 * it: it is the newer one, however old it is. So where a rename over another drive's file was cut before
 * that was removed, or it could not be (tree_move.c), the file that was renamed shows, and what it
 * replaced does not come back in its place. What was renamed with a folder above was not given its name
 * by itself: there the sequence says it as before. So it does where both were renamed to this name.
 *
 * The catalog may have seen the other copy's drive alone since the rename, as where two copies were
 * renamed together and the one's drive was away in the next scan. Then that copy's own change of that
 * time is in the catalog, and is later than the last scan of the drive of the one that was renamed:
 * nobody knows which was first, and the sequence says it, too.
 */
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_look.h"

#include <string.h>

struct known {
    bool is;   /* the catalog has this copy */
    bool came; /* by another name, from which it was renamed */
    struct meta_node node;
};

/* The name itself was given to it, and not to a folder above it. */
static mrmr_err name_came(struct pool_tree *tree, size_t drive, const char *folder,
    const char *name, const char *path, bool *ret_came)
{
    mrmr_autobytes struct mrmr_bytes origin = MRMR_BYTES_INIT, above = MRMR_BYTES_INIT;
    mrmr_autobytes struct mrmr_bytes with = MRMR_BYTES_INIT;
    MRMR_TRY(tree_catalog_path(tree, drive, path, &origin));
    MRMR_TRY(tree_catalog_path(tree, drive, folder, &above));
    MRMR_TRY(tree_join(above.data ? above.data : "", name, &with));
    *ret_came = strcmp(origin.data, with.data) != 0 && strcmp(origin.data, path) != 0;
    return MRMR_OK;
}

static bool is_known(struct pool_tree *tree, const char *path, const struct tree_version *copy,
    struct meta_node *ret_node)
{
    return !tree_catalog(tree, copy->drive, path, ret_node) && ret_node->mtime == copy->mtime &&
           (!copy->ino || !ret_node->ino || ret_node->ino == copy->ino);
}

static struct known known_of(struct pool_tree *tree, const char *folder, const char *name,
    const char *path, const struct tree_version *copy)
{
    struct known known = {.is = false};
    known.is = is_known(tree, path, copy, &known.node);
    if (known.is && name_came(tree, copy->drive, folder, name, path, &known.came))
        known.came = false;
    return known;
}

/* The one that was renamed is newer than what the catalog has by the name. */
static bool came_after(struct pool_tree *tree, size_t drive, const struct meta_node *there)
{
    int64_t scanned;
    return !tree_catalog_scanned(&tree->drive[drive], &scanned) && there->ctime <= scanned;
}

bool tree_version_newer(struct pool_tree *tree, const char *folder, const char *name,
    const struct tree_version *shows, const struct tree_version *other)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (tree_join(folder, name, &path))
        return false;
    const struct known a = known_of(tree, folder, name, path.data, shows);
    const struct known b = known_of(tree, folder, name, path.data, other);
    if (a.is != b.is)
        return a.is;
    if (!a.is)
        return other->mtime > shows->mtime;
    if (a.came != b.came &&
        came_after(tree, a.came ? shows->drive : other->drive, a.came ? &b.node : &a.node))
        return b.came;
    return meta_node_newer(&b.node, &a.node);
}
