/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The file `written` in the pool's folder: a head, and then places of one size, each with the moment at which something that
 * belongs there was written last, or 0. A file that is shorter than that counts as none. Numbers are as this machine has them: the
 * file does not leave it, and means nothing to who did not look at it since it was made. Behind the places there is one more moment for each
 * drive of the first WRITTEN_DRIVES: its last scan's, or 0.
 *
 * A format that changes takes another magic: to an old reader all counts as written then.
 */
#ifndef MRMR_POOL_WRITTEN_FORMAT_H
#define MRMR_POOL_WRITTEN_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define WRITTEN_MAGIC UINT64_C(0x026e747277726d72) /* "rmrwrtn" and the version, 2 */

/* Of leaves, behind them of whole inodes, and behind those of inodes of another size, or whose name went. */
enum {
    WRITTEN_LEAVES = 1 << 16,
    WRITTEN_WHOLE = 1 << 12,
    WRITTEN_SIZES = 1 << 12,
    WRITTEN_PLACES = WRITTEN_LEAVES + WRITTEN_WHOLE + WRITTEN_SIZES,
    WRITTEN_DRIVES = 1 << 10
};

struct written_head {
    uint64_t magic;
    uint64_t life;  /* random; not 0 */
    int64_t moment; /* no note from now on is of an earlier one */
    uint64_t unused;
};
static_assert(sizeof(struct written_head) == 32, "the head has no gaps");

#endif
