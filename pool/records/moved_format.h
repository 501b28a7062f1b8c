/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The file `moved` in the pool's folder: records one after another, without a header or gaps, each a
 * head and then two paths, with their NULs, and mostly two inode numbers of 8 bytes: of what is
 * renamed, and of what it is exchanged for (0: not known, as where there are none). Numbers are as
 * this machine has them: the file does not leave it, as the catalog beside it does not.
 *
 * A record of what was removed or replaced has an empty second path, and for the second inode number
 * the inode's time of birth (0: not known). So has the one that takes such a record back. One of a name that was made has an
 * empty second path, too, and 0.
 *
 * A version of MRMR that does not know of a kind takes such a record for none. One that does not know of POOL_MOVED_UNDONE takes the one
 * before it for a rename that may have been made. Files that have none are read as ever: there what
 * was not made is followed by a rename the other way round.
 *
 * Whoever reads looks for the magic, and takes what follows it only if sizes and digest are right;
 * else it looks for the next magic. So a record that was torn, and what else does not belong there,
 * costs itself alone, wherever it is. Neither path can contain a whole record: a record has NULs.
 */
#ifndef MRMR_POOL_MOVED_FORMAT_H
#define MRMR_POOL_MOVED_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define MOVED_MAGIC UINT64_C(0x016465766f6d726d) /* "mrmoved" and the version, 1 */

struct moved_head {
    uint64_t magic;
    uint8_t check[16]; /* the first of BLAKE2b-256 of all that comes after it in the record */
    int64_t drive;     /* its id in the catalog */
    uint32_t size;     /* of the record, this head included; with inode numbers or without */
    uint32_t kind;     /* enum pool_moved_kind; others are no record */
    uint32_t from, to; /* bytes of each path, without the NUL: 1 … POOL_MOVED_PATH_MOST; to: 0 of
                          what has none */
};
static_assert(sizeof(struct moved_head) == 48, "a record's head has no gaps");

enum { MOVED_INODES = 2 * sizeof(uint64_t) };

#endif
