/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Open files, for the rest of the live tree: what they have open on their drives (tree_file.c,
 * tree_open.c, tree_read.c), those that the kernel uses without asking (tree_direct.c), and what others
 * store into them (tree_stores.c). How one is in memory: tree_open.h.
 *
 * Ownership: an original is counted, so that whoever is on it may go on while it is given up. Locks: the
 * tree's is taken, but by what is _locked.
 */
#ifndef MRMR_POOL_TREE_FILE_H
#define MRMR_POOL_TREE_FILE_H

#include "pool/tree/tree.h"

/* --- tree_file.c, tree_open.c --- */

/* The drive went: no open file holds anything on it any more, so that it can be unmounted. */
void tree_files_let_go(struct pool_tree *tree, size_t drive);

/* Any open file of the node, or what is kept of it; for writing, if it must be. NULL: there is none.
 * The file stays open as long as the caller does not let go of it. */
struct tree_original;
struct tree_original *tree_original_of_node(
    struct pool_tree *tree, struct tree_node *node, bool writing);
struct tree_original *tree_original_of_file(struct pool_tree_file *file);
/* Somebody has it open on its drive: nothing else has its inode. The tree's lock is held. */
bool tree_node_open_locked(const struct tree_node *node);
/* Opened again, if its drive has come back or it lies on another by now. */
struct tree_original *tree_original_now(struct pool_tree_file *file);
void tree_original_ref(struct tree_original *original);
void tree_original_put(struct tree_original *original); /* NULL-safe */
struct drv_file *tree_original_file(const struct tree_original *original);
uint64_t tree_original_ino(const struct tree_original *original);
/* What it was when it was opened, or looked at last; guarded by the tree's lock. */
struct tree_seen_file {
    bool is; /* false: nothing is known */
    int64_t mtime;
    uint64_t size, writes; /* writes: of its node, through us */
};
struct tree_seen_file *tree_original_seen(struct tree_original *original);
/* Goes on to the next of the open files. Of one that stands for its node what it has open, counted, with the node
 * and the drive; NULL: another stands for that, its drive is away or tells nothing, or it is used directly. */
struct tree_original *tree_files_turn_locked(
    struct pool_tree *tree, struct tree_node **ret_node, size_t *ret_drive);
mrmr_err tree_open_original(struct drv *drv, const char *path, bool writing,
    struct drv_file **ret_file, struct drv_stat *ret_stat);
/* A file that was just made, open for writing. Takes the original, also when it fails. */
mrmr_err tree_file_made(struct pool_tree *tree, struct tree_node *node, struct drv_file *original,
    const struct drv_stat *stat, struct pool_tree_file **ret_file);
/* Takes the open file, also when there is no memory: NULL. */
struct tree_original *tree_original_new(struct drv_file *opened, uint64_t ino);
struct pool_tree *tree_file_tree(const struct pool_tree_file *file);
/* The node of an open file, which holds it. */
struct tree_node *tree_file_node(const struct pool_tree_file *file);
size_t tree_file_drive(const struct pool_tree_file *file);
/* As whom its bytes are written; NULL: as the process. */
const struct pool_caller *tree_file_caller(const struct pool_tree_file *file);
/* Its drive is back: open the original again, if it is what was opened. */
void tree_file_open_again(struct pool_tree_file *file);
/* It lies on another drive: whoever has it open opens it there. The tree's lock is held. */
void tree_files_brought_locked(
    struct tree_node *node, size_t drive, struct tree_original **ret_old);
void tree_originals_put(struct tree_original *list);
uint64_t *tree_file_seen(struct pool_tree_file *file); /* for tree_sync_end */
/* What the catalog knows of this content, verified, whatever its drive has. ABSENT: it knows nothing, or of another
 * content than was opened. */
mrmr_err tree_file_read_known(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
/* Bytes that are written, and not what the catalog knows of this content. */
void tree_file_written(struct pool_tree *tree, struct tree_node *node);

/* How an open file was given to whoever wanted it; guarded by the tree's lock. */
enum tree_way {
    TREE_WAY_OWN,      /* not at all: it is used here alone, or he does not say */
    TREE_WAY_ORDINARY, /* he asks for each byte */
    TREE_WAY_DIRECT,
};
enum tree_way *tree_file_way_locked(struct pool_tree_file *file);
bool tree_node_ordinary_locked(const struct tree_node *node); /* some open file of it is that */
bool tree_file_writes(const struct pool_tree_file *file);

/* --- tree_direct.c: files that the kernel uses without asking --- */

mrmr_err tree_direct_start(struct pool_tree *tree);
void tree_direct_stop(struct pool_tree *tree);
/* A file of the drive that is used so, or may be; NULL: none. */
const struct tree_node *tree_direct_on_locked(const struct pool_tree *tree, size_t drive);
/* Somebody may write it now, and nobody sees it. */
bool tree_direct_has(struct pool_tree *tree, const struct tree_node *node);
/* The same of an inode, also of what an earlier mount left behind. */
mrmr_err tree_direct_recorded(
    struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_recorded);

/* --- tree_stores.c: what others store into files that are open --- */

mrmr_err tree_stores_start(struct pool_tree *tree);
void tree_stores_stop(struct pool_tree *tree);
void tree_stores_opened_locked(struct pool_tree *tree); /* a file was */

#endif
