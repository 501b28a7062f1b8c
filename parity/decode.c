/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * With A the coefficients of the missing blocks in the rows used, and B those of the known ones:
 * rows = A · missing + B · known, so missing = A^-1 · B · known + A^-1 · rows (in GF(2^8) minus is
 * plus). The decoder holds the coefficients of that sum; A is always invertible.
 */
#include "parity/code_internal.h"
#include <isa-l/erasure_code.h>
#include <string.h>

struct parity_decoder {
    unsigned nk, ne;
    /* [j][i]: of known block j < nk, then of row j - nk, in missing block i */
    uint8_t coef[PARITY_SLOTS_MAX][PARITY_ROWS_MAX];
};

/* ret_inverse = the inverse of the missing blocks' coefficients in the first ne rows. */
static mrmr_err decode_invert(
    unsigned ne, const uint8_t missing[], const uint8_t row_index[], uint8_t ret_inverse[])
{
    uint8_t matrix[PARITY_ROWS_MAX * PARITY_ROWS_MAX];
    for (unsigned i = 0; i < ne; i++)
        for (unsigned j = 0; j < ne; j++)
            matrix[i * ne + j] = parity_coefficient(row_index[i], missing[j]);
    if (ne && gf_invert_matrix(matrix, ret_inverse, (int)ne) != 0)
        return mrmr_fail(MRMR_INTERNAL, "a matrix of the code is singular");
    return MRMR_OK;
}

static void decode_fill(struct parity_decoder *d, const uint8_t known[], const uint8_t row_index[],
    const uint8_t inverse[])
{
    for (unsigned j = 0; j < d->nk; j++)
        for (unsigned r = 0; r < d->ne; r++) {
            uint8_t c = parity_coefficient(row_index[r], known[j]);
            for (unsigned i = 0; i < d->ne; i++)
                d->coef[j][i] ^= gf_mul(inverse[i * d->ne + r], c);
        }
    for (unsigned r = 0; r < d->ne; r++)
        for (unsigned i = 0; i < d->ne; i++)
            d->coef[d->nk + r][i] = inverse[i * d->ne + r];
}

mrmr_err parity_decoder_create(unsigned nk, const uint8_t known[], unsigned ne,
    const uint8_t missing[], unsigned nr, const uint8_t row_index[],
    struct parity_decoder **ret_decoder)
{
    bool slots[PARITY_SLOTS_MAX] = {false}, rows[PARITY_ROWS_MAX] = {false};
    uint8_t inverse[PARITY_ROWS_MAX * PARITY_ROWS_MAX];

    MRMR_TRY(parity_check_once("slot", nk, known, PARITY_SLOTS_MAX, slots));
    MRMR_TRY(parity_check_once("slot", ne, missing, PARITY_SLOTS_MAX, slots));
    MRMR_TRY(parity_check_once("row", nr, row_index, PARITY_ROWS_MAX, rows));
    if (nr < ne)
        return mrmr_fail(MRMR_LOST, "blocks missing: %u, rows at hand: %u", ne, nr);
    MRMR_TRY(decode_invert(ne, missing, row_index, inverse));

    struct parity_decoder *d = calloc(1, sizeof *d);
    if (!d)
        return mrmr_nomem();
    d->nk = nk;
    d->ne = ne;
    decode_fill(d, known, row_index, inverse);
    *ret_decoder = d;
    return MRMR_OK;
}

mrmr_err parity_decode(const struct parity_decoder *d, const uint8_t *const known[],
    const uint8_t *const rows[], uint8_t *const out[], size_t len)
{
    struct parity_term terms[PARITY_SLOTS_MAX];
    uint8_t *dst[PARITY_ROWS_MAX];
    unsigned wanted[PARITY_ROWS_MAX], m = 0;

    for (unsigned r = 0; r < d->ne; r++)
        if (!rows[r] && len)
            return mrmr_fail(MRMR_INVALID, "the row in place %u has no buffer", r);
    for (unsigned i = 0; i < d->ne; i++)
        if (out[i]) {
            wanted[m] = i;
            dst[m++] = out[i];
        }
    for (unsigned j = 0; j < d->nk + d->ne; j++) {
        terms[j].data = j < d->nk ? known[j] : rows[j - d->nk];
        for (unsigned i = 0; i < m; i++)
            terms[j].coef[i] = d->coef[j][wanted[i]];
    }
    parity_dot(false, d->nk + d->ne, terms, m, dst, len);
    return MRMR_OK;
}

void parity_decoder_destroy(struct parity_decoder *d)
{
    free(d);
}
