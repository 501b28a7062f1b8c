/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to digest.c: BLAKE2b-256 of several pieces side by side, where this processor can.
 */
#ifndef MRMR_BASE_DIGEST_LANES_H
#define MRMR_BASE_DIGEST_LANES_H

#include "base/digest.h"

/* Whether this build has lanes and this processor runs them. */
bool mrmr_digest_lanes_here(void);

/* ret_digests[i] = BLAKE2b-256 of in[i], for i < n, n > 0; only if they are here. From two pieces
 * on it is faster than one after the other. Pure; any thread. */
void mrmr_digest_lanes(size_t n, const struct mrmr_span in[], struct mrmr_digest ret_digests[]);

#endif
