/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Gzip members (RFC 1952): text to one member, and members one after another back to text, piece by
 * piece. zlib does the work.
 *
 * Members that are simply concatenated are one text to every reader (zcat, Python), which is how
 * the rows of a generation share one compressed body.
 *
 * Unpacking holds a fixed amount of memory whatever the input is, and stops at a bound that the
 * caller gives. Errors: MRMR_FORMAT for what is no gzip or fails gzip's own checksum,
 * MRMR_TRUNCATED, MRMR_NOMEM, and what the sink returns.
 */
#ifndef MRMR_POOL_GZIP_H
#define MRMR_POOL_GZIP_H

#include "base/bytes.h"

/* Append data as one member. No time and no name in it: the same data give the same bytes. */
mrmr_err pool_gzip_add(struct mrmr_bytes *b, const void *data, size_t size);

/* Takes the next piece of text. *ret_enough set: nothing more is wanted. */
typedef mrmr_err (*pool_gzip_sink)(const char *text, size_t size, bool *ret_enough, void *arg);

struct pool_gunzip;
/* most: text beyond that many bytes in all is MRMR_FORMAT. */
mrmr_err pool_gunzip_create(
    uint64_t most, pool_gzip_sink sink, void *arg, struct pool_gunzip **ret_gunzip);
/* Input after the sink has had enough is ignored. */
mrmr_err pool_gunzip_feed(struct pool_gunzip *gunzip, const void *data, size_t size);
bool pool_gunzip_enough(const struct pool_gunzip *gunzip); /* the sink had */
/* MRMR_TRUNCATED if a member is not complete. Fine if the sink had enough. */
mrmr_err pool_gunzip_finish(struct pool_gunzip *gunzip);
void pool_gunzip_destroy(struct pool_gunzip *gunzip); /* NULL-safe */

#endif
