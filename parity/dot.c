/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parity/code_internal.h"
#include <isa-l/erasure_code.h>
#include <string.h>

#define TABLE 32  /* bytes of table a coefficient takes, for every kernel of ISA-L */
#define KERNEL 64 /* the shortest range that no kernel of ISA-L sends to its slow path */
/* Bytes of each output that stay in cache while all terms are added; see NOTES. */
#define PIECE 8192

/* dst ^= c · src for short ranges: products of a byte's low and high half, from ISA-L's table. */
static void dot_short(uint8_t c, const uint8_t *src, uint8_t *dst, size_t len)
{
    uint8_t table[TABLE];
    gf_vect_mul_init(c, table);
    for (size_t i = 0; i < len; i++)
        dst[i] ^= table[src[i] & 15] ^ table[16 + (src[i] >> 4)];
}

static void dot_add(
    const uint8_t *src, unsigned m, const uint8_t coef[], uint8_t *const dst[], size_t len)
{
    uint8_t tables[TABLE * PARITY_ROWS_MAX];
    if (len < KERNEL) {
        for (unsigned i = 0; i < m; i++)
            dot_short(coef[i], src, dst[i], len);
        return;
    }
    /* ISA-L's declarations lack const: it writes to the buffers in dst only. */
    ec_init_tables(1, (int)m, (unsigned char *)coef, tables);
    ec_encode_data_update(
        (int)len, 1, (int)m, 0, tables, (unsigned char *)src, (unsigned char **)dst);
}

/* The next piece: never a rest too short for the kernels. */
static size_t dot_piece(size_t left)
{
    return left < PIECE + KERNEL ? left : PIECE;
}

void parity_dot(bool add, unsigned k, const struct parity_term terms[], unsigned m,
    uint8_t *const dst[], size_t len)
{
    uint8_t *out[PARITY_ROWS_MAX];
    if (m == 0)
        return;
    for (size_t at = 0, n; at < len; at += n) {
        n = dot_piece(len - at);
        for (unsigned i = 0; i < m; i++) {
            out[i] = dst[i] + at;
            if (!add)
                memset(out[i], 0, n);
        }
        for (unsigned j = 0; j < k; j++)
            if (terms[j].data)
                dot_add(terms[j].data + at, m, terms[j].coef, out, n);
    }
}
