/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The file `direct` in the pool's folder: a head, and then places of one size, at any of which there
 * is a record or none (all zeros). What is beyond the file's end is none. Numbers are as this machine
 * has them: the file does not leave it, and means nothing once the machine was started anew.
 *
 * A format that changes takes another magic: an old reader says so, and protects nothing until then,
 * since what it does not know may be in use.
 */
#ifndef MRMR_POOL_DIRECT_FORMAT_H
#define MRMR_POOL_DIRECT_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define DIRECT_MAGIC UINT64_C(0x01746372646d726d) /* "mrmdrct" and the version, 1 */

struct direct_head {
    uint64_t magic;
    char boot[40]; /* the kernel's boot id, as text */
    uint8_t unused[16];
};
static_assert(sizeof(struct direct_head) == 64, "the head has no gaps");

enum direct_state {
    DIRECT_NONE,
    DIRECT_HELD, /* by the mount that has the lock `mounted`; if nobody has it, the same as LEFT */
    DIRECT_LEFT, /* by one that has ended, or lost the drive: who uses the file still is not known */
};

struct direct_record {
    int64_t drive; /* its id in the catalog */
    uint64_t ino;
    uint64_t state; /* enum direct_state; others count as LEFT */
    uint64_t unused;
};
static_assert(sizeof(struct direct_record) == 32, "a record has no gaps");

#endif
