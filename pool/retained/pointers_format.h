/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The file .mrmr/pointers of a drive: records one after another, without a header, and behind them
 * zeros to the end of the file, which are room for more. The first record with a digest of zeros is
 * the end, whatever comes after it; so is a record that the end of the file cuts off. The number is
 * little-endian.
 *
 * Who reads believes no record: what it leads to is taken if its digest is right, so one that was
 * torn, or that somebody made up, costs nothing but the look.
 */
#ifndef MRMR_POOL_POINTERS_FORMAT_H
#define MRMR_POOL_POINTERS_FORMAT_H

#include <assert.h>
#include <stdint.h>

struct pointers_record {
    uint8_t digest[32]; /* of the leaf */
    uint8_t file[8];    /* in hex, its name below .mrmr/retained/files */
    uint8_t leaf[8];    /* which one of that file, from 0 */
};
static_assert(sizeof(struct pointers_record) == 48, "a record has no gaps");

#endif
