/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What drives said of a folder that is changed through the mount, so that they are not asked at each look
 * (tree_known.c), and what their copies say that is none of the folder (tree_quiet.c).
 */
#ifndef MRMR_POOL_TREE_KNOWN_H
#define MRMR_POOL_TREE_KNOWN_H

#include "pool/tree/tree.h"

/* --- tree_known.c --- */

struct tree_known_ticket { /* of a folder, before something is asked or done */
    uint32_t owns, voids;
};
/* What the drive said of its copy of the folder, if that holds still. Else it is asked, and what it
 * says is kept if nothing happened since the ticket. */
bool tree_known_get(struct pool_tree *tree, const struct tree_node *folder, size_t drive,
    struct pool_attr *ret_attr, struct tree_known_ticket *ret_ticket);
void tree_known_put(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct pool_attr *attr, const struct tree_known_ticket *ticket);
/* Inside of a change by one name, between tree_own_name and tree_owned_name: before the op; and after all
 * of it was settled, what the op said of the drive's copy. */
struct tree_known_ticket tree_known_change(struct pool_tree *tree, const struct tree_node *folder);
void tree_known_brought(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *stat, const struct tree_known_ticket *ticket);
/* The drive's copy changed; by an event that is taken for ours. */
void tree_known_void_locked(struct tree_node *folder, size_t drive);
void tree_known_own_event_locked(struct tree_node *folder, size_t drive);
void tree_known_void_all_locked(struct tree_node *folder);
/* After tree_own_name and tree_owned_name around one name that was made or taken: on this drive alone. */
void tree_known_settle_locked(struct tree_node *folder, size_t drive);
/* The same after a name that showed this was taken. */
void tree_known_taken(
    struct pool_tree *tree, struct tree_node *folder, const struct tree_name *shows);

/* --- tree_quiet.c --- */

/* Around making something in the folder's copy on a drive that is no change of the folder; one at a time
 * on a drive. before, after: that copy (NULL: not known); after, with the mtime that it had before. The
 * ticket is taken before the drive is asked for `before`. */
struct tree_quiet_ticket {
    bool alone; /* nothing else of ours was changing its names */
    uint32_t named;
};
struct tree_quiet_ticket tree_quiet_take(struct pool_tree *tree, const struct tree_node *folder);
void tree_quiet_begin(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *before, const struct tree_quiet_ticket *ticket);
/* Between the two: the folder's names were changed by nothing else of ours since the ticket, so its mtime
 * may be put back. */
bool tree_quiet_alone(struct pool_tree *tree, const struct tree_node *folder, size_t drive);
void tree_quiet_end(
    struct pool_tree *tree, struct tree_node *folder, size_t drive, const struct drv_stat *after);
/* A copy of it was made on this drive, of the one on another, which has it like that. */
void tree_quiet_copy(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *is, size_t source, const struct drv_stat *of);
/* What the copy on a drive is said to be, as it is to be seen. */
void tree_quiet_attr(
    struct pool_tree *tree, const struct tree_node *folder, size_t drive, struct pool_attr *attr);
/* Its attributes were changed through us. */
void tree_quiet_changed(struct pool_tree *tree, struct tree_node *folder);
void tree_quiet_free(struct tree_quiet *quiet); /* NULL-safe */

#endif
