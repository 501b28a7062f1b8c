/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/digest_lanes.h"

#include <blake2.h>
#include <string.h>

void mrmr_digest_batch(size_t n, const struct mrmr_span in[], struct mrmr_digest ret_digests[])
{
    if (n > 1 && mrmr_digest_lanes_here()) {
        mrmr_digest_lanes(n, in, ret_digests);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        blake2b_state state;
        blake2b_init(&state, MRMR_DIGEST_SIZE);
        blake2b_update(&state, in[i].data, in[i].size);
        blake2b_final(&state, ret_digests[i].bytes, MRMR_DIGEST_SIZE);
    }
}

struct mrmr_digest mrmr_digest_of(const void *data, size_t size)
{
    struct mrmr_digest digest;
    mrmr_digest_batch(1, &(struct mrmr_span){data, size}, &digest);
    return digest;
}

struct mrmr_digest mrmr_digest_tree(size_t n, const struct mrmr_digest leaves[], uint64_t size)
{
    uint8_t tail[8];
    for (unsigned i = 0; i < sizeof tail; i++)
        tail[i] = (uint8_t)(size >> (8 * i));
    struct mrmr_digest digest;
    blake2b_state state;
    blake2b_init(&state, MRMR_DIGEST_SIZE);
    if (n)
        blake2b_update(&state, (const uint8_t *)leaves, n * sizeof *leaves);
    blake2b_update(&state, tail, sizeof tail);
    blake2b_final(&state, digest.bytes, MRMR_DIGEST_SIZE);
    return digest;
}

bool mrmr_digest_equal(const struct mrmr_digest *a, const struct mrmr_digest *b)
{
    return memcmp(a->bytes, b->bytes, MRMR_DIGEST_SIZE) == 0;
}
