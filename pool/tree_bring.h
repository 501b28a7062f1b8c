/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of tree_bring.c and tree_bring_record.c.
 */
#ifndef MRMR_POOL_TREE_BRING_H
#define MRMR_POOL_TREE_BRING_H

#include "drivers/driver.h"
#include "pool/tree.h"

#define TREE_BRING_FOLDER POOL_DOT "/moving"
#define TREE_BRING_RECORD "bring-"
#define TREE_BRING_TRY "try-b-" /* of what says nothing */
enum { TREE_BRING_NAME = 24 };

struct tree_bring_record {
    size_t from, to;      /* drives of the tree */
    const char *path;     /* of the file on both; of whoever made it */
    bool knows;           /* what follows; else the copy may be the file by now */
    uint64_t ino;         /* of the file, where it came from */
    struct drv_stat copy; /* inode, size and time */
};

/* Durable on return. */
mrmr_err tree_bring_record_write(struct pool_tree *tree, const struct tree_bring_record *record,
    const char *prefix, char ret_name[TREE_BRING_NAME]);
/* In the place of the one of this name. */
mrmr_err tree_bring_record_put(
    struct pool_tree *tree, const struct tree_bring_record *record, const char *name);
/* The name that it has there, or has lost there. */
mrmr_err tree_bring_durable(struct pool_tree *tree, size_t drive, const char *path);

#endif
