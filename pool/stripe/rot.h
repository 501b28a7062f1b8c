/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What turned out wrong while bytes were read: is it rot, and who is told of it.
 *
 * Whoever reads a leaf gets right bytes, or an error, and no word of what was wrong on the way (I7). It is told as an
 * event: once for a stripe and a drive, until that stripe is scrubbed. Who owns the pool marks the stripe, as the one to be
 * scrubbed first; who does not notes it, and the next owner does (noted.h).
 *
 * What counts as rot of a file: its bytes are not those that were read when they were protected, or the
 * medium gives none, and size, times and inode are those that the catalog has. What was edited, renamed or removed is
 * none: the next scan finds that. Of a row: its file is damaged, unreadable, gone from a drive that is there, or agrees with itself
 * and not with the blocks. Nothing is said of a drive that is away, has diverged, or reads nothing any more, of a generation that the catalog has
 * replaced by now, or of what it knows as damaged.
 *
 * Nothing here is taken for sure: the catalog's states of extents and rows change by a scrub alone, which
 * reads all of it once more.
 *
 * Threads: any; each has its own list. Errors: none; what cannot be told goes to the log.
 */
#ifndef MRMR_POOL_ROT_H
#define MRMR_POOL_ROT_H

#include "pool/engine.h"

enum rot_finding {
    ROT_NONE,
    ROT_FOUND,
    ROT_EDITED,
    ROT_UNKNOWN,
    ROT_NOT_KEPT /* it was to be retained, and is not there */
};
/* A leaf could not be read right: was its file edited, or did it rot? */
enum rot_finding rot_judge(struct pool *pool, const struct meta_extent *extent, mrmr_err why);

enum { ROT_MOST = 8 };
struct rot_list {
    struct {
        const struct meta_extent *extent; /* of the view's image; NULL: a row */
        uint64_t leaf;
        unsigned row;
        mrmr_err why; /* MRMR_CHANGED, of a row: it agrees with itself alone */
    } found[ROT_MOST];
    size_t n;
};
/* Where there is no room for more, or it is there already, nothing is added. */
void rot_add_leaf(
    struct rot_list *list, const struct meta_extent *extent, uint64_t leaf, mrmr_err why);
void rot_add_row(struct rot_list *list, unsigned row, mrmr_err why);
/* What of it is rot is told. This thread's story stays. */
void rot_tell(struct pool *pool, const struct pool_view *view, const struct rot_list *list);

#endif
