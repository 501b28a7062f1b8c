/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading nodes out of queries. Called with meta->lock held.
 */
#ifndef MRMR_META_NODE_H
#define MRMR_META_NODE_H

#include "meta/query.h"

/* With the node table as n. */
#define META_NODE_COLUMNS                                                                          \
    "n.id, n.drive, n.type, n.mode, n.uid, n.gid, n.nlink, n.size, n.ino, n.rdev, n.mtime, "       \
    "n.ctime, n.btime, n.version, n.sequence, n.recheck"
#define META_NODE_NCOLUMNS 16

/* META_NODE_COLUMNS from column 0 on; call meta_query_sound afterwards. */
void meta_node_read(struct meta_query *q, struct meta_node *node);
/* The eleven columns from type to btime, from column col on. */
void meta_node_read_stat(struct meta_query *q, int col, struct meta_node *node);
mrmr_err meta_node_sane(const struct meta_node *node);
/* 1 … 255 bytes without '/', and not "." or "..": MRMR_INVALID, MRMR_NAME_TOO_LONG. */
mrmr_err meta_name_sane(const char *name);
/* A column that must be such a name. buf has META_NAME_MAX + 1 bytes. */
void meta_name_read(struct meta_query *q, int col, char *buf);

#endif
