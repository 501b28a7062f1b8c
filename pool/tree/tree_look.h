/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a node is now: by its drives (tree_look.c), or by the catalog, where they do not answer
 * (tree_catalog.c). Input on drives, and the catalog: no lock is held.
 */
#ifndef MRMR_POOL_TREE_LOOK_H
#define MRMR_POOL_TREE_LOOK_H

#include "pool/records/written.h"
#include "pool/tree/tree.h"

struct tree_seen; /* tree_load.h */

/* --- tree_catalog.c --- */

/* What the catalog knows of what is at a path of a drive now. The node's id is 0 if it is a folder
 * that was made since the last scan, and known by what was moved into it. Of a drive that is there it may be
 * what had the path at the last scan: who asks compares inode, size and time with what the drive says. */
mrmr_err tree_catalog(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node);
/* The same, whether the drive is there or not: what it would show if it were not; also for who asked it of this one
 * thing, and was not answered. */
mrmr_err tree_catalog_without(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node);
/* Adds the paths, each with its NUL, at which it would show a node of the catalog then. */
mrmr_err tree_catalog_places(
    struct pool_tree *tree, size_t drive, int64_t node, struct mrmr_bytes *paths);
/* When the drive's last scan that came to its end began; 0: never, or it is none any more. */
mrmr_err tree_catalog_scanned(const struct tree_drive *drive, int64_t *ret_at);
/* The same as the first of a drive that did not answer, which is this thread's story: that stays the error where the
 * catalog knows of nothing, for that says nothing of the drive. */
mrmr_err tree_catalog_known(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node);
/* A file of this size and time that was at this path of a drive that has left the pool since, where it is now
 * (rebuild): *ret_drive. MRMR_ABSENT: nowhere, or the drive has not. */
mrmr_err tree_catalog_left(struct pool_tree *tree, size_t drive, const char *path, uint64_t size,
    int64_t mtime, size_t *ret_drive, struct meta_node *ret_node);
/* The path at which the catalog has it; the same one, if it has it nowhere. */
mrmr_err tree_catalog_path(
    struct pool_tree *tree, size_t drive, const char *path, struct mrmr_bytes *ret_path);
/* Calls fn for each thing that is in the folder now. It may not call any of these. */
typedef mrmr_err (*tree_known_fn)(const char *name, const struct meta_node *node, void *arg);
mrmr_err tree_catalog_list(
    struct pool_tree *tree, size_t drive, const char *folder, tree_known_fn fn, void *arg);
/* A record says that it was changed through us since the catalog has seen it. */
mrmr_err tree_catalog_touched(
    struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_touched);
/* The same, and since that moment, taken before the catalog was asked for the node, nothing is known of all of it that could make it
 * another file than that: what of it was written to is known leaf by leaf (written.h). */
bool tree_catalog_since(struct pool_tree *tree, size_t drive, uint64_t number,
    const struct meta_node *node, struct pool_written_since since);
/* The drive goes: from now on what is known is asked for, and worked out anew. */
void tree_catalog_forget(struct tree_drive *drive);

/* --- tree_look.c --- */

void tree_attr_from_stat(const struct drv_stat *stat, struct pool_attr *ret_attr);
/* The same of what a drive said now, as people see it: by which names we keep it does not count. It has a name. */
void tree_attr_seen(
    struct pool_tree *tree, size_t drive, const struct drv_stat *stat, struct pool_attr *ret_attr);
/* By the catalog: it has no more names than that has. A scan counts those by which we keep it, too. */
mrmr_err tree_attr_from_node(
    struct pool_tree *tree, const struct meta_node *node, struct pool_attr *ret_attr);
/* What a node is and where, as it was at one moment. */
struct tree_spot {
    uint64_t number;
    enum pool_kind kind;
    struct tree_set on;
    size_t drive; /* the one of a file; the first of a folder's */
};
struct tree_spot tree_spot(struct pool_tree *tree, const struct tree_node *node);
/* Calls fn with each path that may lead to the node, the latest first, until one is not MRMR_ABSENT;
 * those that are forgotten. MRMR_ABSENT: none does. */
typedef mrmr_err (*tree_path_fn)(const char *path, void *arg);
mrmr_err tree_by_path(struct pool_tree *tree, struct tree_node *node, tree_path_fn fn, void *arg);
/* MRMR_ABSENT: another thing is there now. */
mrmr_err tree_check_stat(struct pool_tree *tree, const struct tree_spot *spot, const char *path,
    const struct drv_stat *stat);

/* The node's attributes now. */
mrmr_err tree_look(struct pool_tree *tree, struct tree_node *node, struct pool_attr *ret_attr);

/* What they are, by what was seen at this name. False: that is not of this node. */
bool tree_look_seen(struct pool_tree *tree, struct tree_node *node, const char *name,
    const struct tree_seen *seen, struct pool_attr *ret_attr);

#endif
