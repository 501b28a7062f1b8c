/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The footer of a parity file, to and from bytes (parity_format.h). Pure; any thread.
 *
 * Guarantee: a footer that parses has lengths within their limits that fill the file exactly. Not
 * checked here: payload and manifest, which lie elsewhere.
 */
#ifndef MRMR_POOL_FOOTER_H
#define MRMR_POOL_FOOTER_H

#include "base/err.h"
#include "pool/stripe/parity_format.h"

struct pool_footer {
    uint64_t payload_length, manifest_length; /* bytes */
    struct mrmr_digest payload, manifest;
};

void pool_footer_print(const struct pool_footer *footer, uint8_t ret_bytes[POOL_FOOTER_SIZE]);

/* tail: the last `size` bytes of a file of file_size bytes; all of it, or POOL_FOOTER_SIZE_MAX.
 * MRMR_TRUNCATED if the file is too short for any footer, MRMR_FORMAT, MRMR_DIGEST if the footer's
 * own digest is wrong, MRMR_NEWER. */
mrmr_err pool_footer_parse(
    const uint8_t *tail, size_t size, uint64_t file_size, struct pool_footer *ret_footer);

#endif
