/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Leaves that were made for readers, in bounded memory, with read-ahead (leaf_cache.c), and the files that
 * they are of, by the catalog's node (read.c).
 *
 * Threads: any; its lock stands apart, and nothing is made under it.
 */
#ifndef MRMR_POOL_LEAF_CACHE_H
#define MRMR_POOL_LEAF_CACHE_H

#include "pool/engine.h"

struct leaf_cache;
struct pool_file;
mrmr_err leaf_cache_create(size_t leaves, unsigned threads, struct leaf_cache **ret_cache);
void leaf_cache_destroy(struct leaf_cache *cache); /* NULL-safe; its files closed by then */
/* Part of one leaf of a file. The same leaf is made once, whoever else wants it; a reader that goes
 * on from leaf to leaf has the next ones made meanwhile. */
mrmr_err leaf_cache_read(struct leaf_cache *cache, struct pool_file *file, uint64_t leaf,
    size_t from, void *buf, size_t size);
/* The file is about to be closed: nobody makes a leaf of it any more. */
void leaf_cache_leave(struct leaf_cache *cache, struct pool_file *file);

/* --- read.c --- */

/* For one node, as the catalog knows it now. flags: enum pool_read_flags, or: nothing of what is not in place on its drive. */
enum { POOL_READ_IN_PLACE = 1 << 8 };
mrmr_err pool_file_open_node(
    struct pool *pool, const struct meta_node *node, unsigned flags, struct pool_file **ret_file);
/* One whole leaf (less at the end), verified; several threads at once. */
mrmr_err pool_file_leaf(struct pool_file *file, uint64_t leaf, void *buf);
const struct meta_node *pool_file_node(const struct pool_file *file);

#endif
