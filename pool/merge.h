/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders of several drives, merged by name: the children of each, and a walk over the names in
 * memcmp order. Used by ls and by the search for conflicts. One thread; the memory is that of the
 * folders' children.
 */
#ifndef MRMR_POOL_MERGE_H
#define MRMR_POOL_MERGE_H

#include "pool/engine.h"

struct pool_merge {
    struct pool_merge_list {
        struct meta_child *children;
        size_t n, at;
    } * list; /* one a folder */
    size_t n;

    /* Set by next: a name, and the nodes that have it (one a folder at most), in the order of the
     * folders. */
    const char *name;
    struct meta_node *found;
    size_t nfound;
};

mrmr_err pool_merge_start(
    struct pool *pool, const int64_t folders[], size_t n, struct pool_merge *ret_merge);
/* The same, of lists as meta_children() gives them, which the merge owns: up to `most`. */
mrmr_err pool_merge_create(size_t most, struct pool_merge *ret_merge);
void pool_merge_add(struct pool_merge *merge, struct meta_child *children, size_t n);
bool pool_merge_next(struct pool_merge *merge); /* false at the end */
void pool_merge_free(struct pool_merge *merge); /* reusable afterwards */

#endif
