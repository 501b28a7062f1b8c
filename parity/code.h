/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The erasure code: rows from blocks, changed rows from what changed, lost blocks from what is
 * left.
 *
 * Purpose. Row j of a stripe is the sum over its blocks of c(j, slot) · block in GF(2^8) with the
 * polynomial 0x11d, where
 *
 *     c(j, s) = y · (j xor y)^-1   with y = s + 8
 *
 * a Cauchy matrix whose columns are scaled so that row 0 is all ones: row 0 is the plain XOR of the
 * blocks. A coefficient depends on the block's slot and the row alone, never on the stripe.
 *
 * Guarantees.
 * - Every square submatrix of the 8 × 248 coefficients is invertible: any n rows recover any n
 * missing blocks.
 * - Byte i of every output depends on byte i of the inputs alone. So all of this works on any byte
 * range [a, b) of a stripe by itself: pass pointers to its first byte and len = b - a.
 * - Any len, 0 included, and any alignment; nothing outside the len bytes is read or written.
 * - The result is the same on every processor.
 *
 * Non-guarantees. Nothing is verified: a wrong source gives a wrong result, and digests are the
 * caller's. It is not checked that buffers are apart: outputs must not overlap each other or any
 * source (nothing works in place, but for the rows of parity_update and parity_merge, which are
 * changed where they are); sources may overlap each other.
 *
 * What is not here because it needs no function. Add a row: parity_encode with that row's index
 * alone; the others stay as they are. Drop a row: delete it. A block that is shorter than the
 * range's end: split the range there, or pad it with zeros; a block that ends before the range: a
 * part whose data is NULL, or no part at all.
 *
 * Ownership: the caller's throughout; only parity_decoder_create allocates. Threads: all functions
 * are pure; any thread, at once. Units: bytes. Errors: MRMR_INVALID for a slot, row or count out of
 * range, one named twice, or a missing buffer; MRMR_LOST; MRMR_NOMEM. A call that fails leaves its
 * outputs untouched. Source: design §4; the arithmetic is ISA-L's.
 */
#ifndef MRMR_PARITY_CODE_H
#define MRMR_PARITY_CODE_H

#include "base/cleanup.h"
#include "base/err.h"

#define PARITY_ROWS_MAX 8    /* rows are 0…7 */
#define PARITY_SLOTS_MAX 248 /* slots are 0…247 */

/* c(row, slot), never 0; 0 for a row or slot that does not exist. */
uint8_t parity_coefficient(unsigned row, unsigned slot);

/* One source: a block's bytes over the range. NULL data: zeros. */
struct parity_part {
    uint8_t slot;
    const uint8_t *data;
};

/* rows[i] = Σ c(row_index[i], part.slot) · part.data over the k parts (zeros if there are none),
 * for i < m. Slots and rows are each named once. */
mrmr_err parity_encode(unsigned k, const struct parity_part parts[], unsigned m,
    const uint8_t row_index[], uint8_t *const rows[], size_t len);

/* rows[i] ^= Σ c(row_index[i], part.slot) · part.data. Fill and widen with the new bytes, take out
 * with the old ones; an overwrite passes old xor new, or both: here a slot may be named more than
 * once. */
mrmr_err parity_update(unsigned k, const struct parity_part parts[], unsigned m,
    const uint8_t row_index[], uint8_t *const rows[], size_t len);

/* row ^= other, a row of the same index of a stripe on other slots: the row of both stripes as one.
 */
void parity_merge(uint8_t *row, const uint8_t *other, size_t len);

/* A decoder for one pattern of erasures. Immutable: many threads may use one at once. */
struct parity_decoder;

/* The blocks on slots known[0…nk) are at hand and those on missing[0…ne) are not. Every block of
 * the stripe is in one of the two. Rows row_index[0…nr) are at hand, in order of preference: the
 * first ne are used, the others ignored. ne may be 0. MRMR_LOST if nr < ne. */
mrmr_err parity_decoder_create(unsigned nk, const uint8_t known[], unsigned ne,
    const uint8_t missing[], unsigned nr, const uint8_t row_index[],
    struct parity_decoder **ret_decoder);

/* out[i] = the bytes of missing[i] over the range, for i < ne; a NULL out[i] is not wanted and
 * costs nothing. known[i] are the bytes of the block on known[i] at creation, NULL for zeros;
 * rows[i] for i < ne those of row row_index[i] at creation, never NULL. */
mrmr_err parity_decode(const struct parity_decoder *decoder, const uint8_t *const known[],
    const uint8_t *const rows[], uint8_t *const out[], size_t len);

/* NULL-safe. */
void parity_decoder_destroy(struct parity_decoder *decoder);
MRMR_DEFINE_AUTO(struct parity_decoder, parity_decoder_destroy);

#endif
