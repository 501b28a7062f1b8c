/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What shows of a drive that is away, or was, by what was asked of it meanwhile (gone.h, later.h): what was removed does not,
 * also on a drive that is back, as long as it could not be taken from it; and folders show with the attributes that were asked
 * for. How that is recorded: tree_gone_add.c, tree_later.c. How it is done on the drive: tree_return.h.
 *
 * Threads: any. No lock is held but gone_gate. Errors: those of the catalog and of the pool's folder.
 */
#ifndef MRMR_POOL_TREE_GONE_H
#define MRMR_POOL_TREE_GONE_H

#include "pool/tree/tree.h"

/* What is recorded now hides names. */
void tree_gone_refresh(struct pool_tree *tree);
bool tree_gone_hides_node(struct pool_tree *tree, size_t drive, const char *folder,
    const char *name, const struct meta_node *node);
bool tree_gone_hides_stat(struct pool_tree *tree, size_t drive, const char *folder,
    const char *name, const struct drv_stat *stat);
/* MRMR_BUSY: what lies there, and does not show, waits to be compared with what was removed. */
mrmr_err tree_gone_compared(
    struct pool_tree *tree, size_t drive, const char *path, const struct drv_stat *stat);
/* What the catalog has at this path of a drive that is away. MRMR_ABSENT also if it was removed. */
mrmr_err tree_gone_known(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node);
/* The catalog's node of this path of a drive as it shows, and its extended attributes. */
mrmr_err tree_gone_shows(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *node);
mrmr_err tree_gone_attrs(struct pool_tree *tree, size_t drive, const char *path,
    const struct meta_node *node, struct mrmr_bytes *ret_blob);

#endif
