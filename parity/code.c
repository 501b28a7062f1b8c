/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parity/code_internal.h"
#include <isa-l/erasure_code.h>
#include <string.h>

uint8_t parity_coefficient(unsigned row, unsigned slot)
{
    if (row >= PARITY_ROWS_MAX || slot >= PARITY_SLOTS_MAX)
        return 0;
    uint8_t y = (uint8_t)(slot + PARITY_ROWS_MAX);
    return gf_mul(y, gf_inv((uint8_t)(row ^ y)));
}

mrmr_err parity_check_once(
    const char *what, unsigned n, const uint8_t index[], unsigned limit, bool seen[])
{
    for (unsigned i = 0; i < n; i++) {
        if (index[i] >= limit)
            return mrmr_fail(MRMR_INVALID, "there is no %s %u", what, index[i]);
        if (seen[index[i]])
            return mrmr_fail(MRMR_INVALID, "%s %u is named twice", what, index[i]);
        seen[index[i]] = true;
    }
    return MRMR_OK;
}

static mrmr_err code_check_rows(
    unsigned m, const uint8_t row_index[], uint8_t *const rows[], size_t len)
{
    bool seen[PARITY_ROWS_MAX] = {false};
    MRMR_TRY(parity_check_once("row", m, row_index, PARITY_ROWS_MAX, seen));
    for (unsigned i = 0; i < m; i++)
        if (!rows[i] && len)
            return mrmr_fail(MRMR_INVALID, "row %u has no buffer", row_index[i]);
    return MRMR_OK;
}

/* An update may name a slot more than once. */
static mrmr_err code_check_parts(unsigned k, const struct parity_part parts[], bool once)
{
    bool seen[PARITY_SLOTS_MAX] = {false};
    for (unsigned j = 0; j < k; j++) {
        MRMR_TRY(parity_check_once("slot", 1, &parts[j].slot, PARITY_SLOTS_MAX, seen));
        if (!once)
            seen[parts[j].slot] = false;
    }
    return MRMR_OK;
}

static struct parity_term code_term(
    const struct parity_part *part, unsigned m, const uint8_t row_index[])
{
    struct parity_term term = {.data = part->data};
    for (unsigned i = 0; i < m; i++)
        term.coef[i] = parity_coefficient(row_index[i], part->slot);
    return term;
}

mrmr_err parity_encode(unsigned k, const struct parity_part parts[], unsigned m,
    const uint8_t row_index[], uint8_t *const rows[], size_t len)
{
    struct parity_term terms[PARITY_SLOTS_MAX];

    MRMR_TRY(code_check_rows(m, row_index, rows, len));
    MRMR_TRY(code_check_parts(k, parts, true));
    for (unsigned j = 0; j < k; j++)
        terms[j] = code_term(&parts[j], m, row_index);
    parity_dot(false, k, terms, m, rows, len);
    return MRMR_OK;
}

mrmr_err parity_update(unsigned k, const struct parity_part parts[], unsigned m,
    const uint8_t row_index[], uint8_t *const rows[], size_t len)
{
    struct parity_term terms[PARITY_SLOTS_MAX];

    MRMR_TRY(code_check_rows(m, row_index, rows, len));
    MRMR_TRY(code_check_parts(k, parts, false));
    while (k > 0) {
        unsigned n = k < PARITY_SLOTS_MAX ? k : PARITY_SLOTS_MAX;
        for (unsigned j = 0; j < n; j++)
            terms[j] = code_term(&parts[j], m, row_index);
        parity_dot(true, n, terms, m, rows, len);
        parts += n;
        k -= n;
    }
    return MRMR_OK;
}

void parity_merge(uint8_t *row, const uint8_t *other, size_t len)
{
    size_t i = 0;
    for (; len - i >= 64; i += 64) {
        uint64_t a[8], b[8];
        memcpy(a, row + i, sizeof a);
        memcpy(b, other + i, sizeof b);
        for (int w = 0; w < 8; w++)
            a[w] ^= b[w];
        memcpy(row + i, a, sizeof a);
    }
    for (; i < len; i++)
        row[i] ^= other[i];
}
