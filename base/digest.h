/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Digests: BLAKE2b with 32 bytes of output (RFC 7693, no key), computed by libb2, or several side
 * by side where the processor can (digest_lanes.c): four at once take little longer than one.
 *
 * There is one interface, and it takes a batch: many pieces in, as many digests out. Callers gather
 * what they have. Pure; any thread.
 */
#ifndef MRMR_BASE_DIGEST_H
#define MRMR_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MRMR_DIGEST_SIZE 32

struct mrmr_digest {
    uint8_t bytes[MRMR_DIGEST_SIZE];
};

struct mrmr_span {
    const void *data;
    size_t size;
};

/* ret_digests[i] = BLAKE2b-256 of in[i], for i < n. */
void mrmr_digest_batch(size_t n, const struct mrmr_span in[], struct mrmr_digest ret_digests[]);

/* A batch of one. */
struct mrmr_digest mrmr_digest_of(const void *data, size_t size);

/* The digest of a sequence of leaf digests and a size:
 * BLAKE2b-256(digest 0 ‖ … ‖ digest n-1 ‖ size as 8 bytes, little-endian). A version's content id
 * and the payload digest of a parity file are both this. */
struct mrmr_digest mrmr_digest_tree(size_t n, const struct mrmr_digest leaves[], uint64_t size);

bool mrmr_digest_equal(const struct mrmr_digest *a, const struct mrmr_digest *b);

#endif
