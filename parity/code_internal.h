/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What code.c, decode.c and dot.c share; private to this folder.
 *
 * Guarantees: any length and alignment; nothing outside the ranges is touched; nothing is
 * allocated. Non-guarantees: parity_dot takes its arguments as checked, and its outputs must not
 * overlap each other or a source. Threads: pure; any thread. Source: ISA-L, whose kernels are
 * picked by processor at run time.
 */
#ifndef MRMR_PARITY_CODE_INTERNAL_H
#define MRMR_PARITY_CODE_INTERNAL_H

#include "parity/code.h"

/* MRMR_INVALID unless every index is below limit and none was seen before; marks them in
 * seen[limit]. what: "row" or "slot". */
mrmr_err parity_check_once(
    const char *what, unsigned n, const uint8_t index[], unsigned limit, bool seen[]);

/* One term: data (NULL: zeros) times coef[i] in output i. */
struct parity_term {
    const uint8_t *data;
    uint8_t coef[PARITY_ROWS_MAX];
};

/* dst[i] = Σ coef[i] · data over the k terms and [0, len), for i < m ≤ 8; with `add`, dst[i] ^=
 * that. */
void parity_dot(bool add, unsigned k, const struct parity_term terms[], unsigned m,
    uint8_t *const dst[], size_t len);

#endif
