/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The code once more, bit by bit and from its definition alone, to check the fast one against; and
 * what its tests share: seeds, random numbers, guarded buffers. Test code: failures end the test.
 */
#ifndef MRMR_TESTS_PARITY_CODE_REFERENCE_H
#define MRMR_TESTS_PARITY_CODE_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

/* Product in GF(2^8) with 0x11d, by shifts; the inverse by trying all; c(row, slot) as the design
 * has it. */
uint8_t ref_mul(uint8_t a, uint8_t b);
uint8_t ref_inverse(uint8_t a);
uint8_t ref_coefficient(unsigned row, unsigned slot);

/* out = row `row` of k blocks, NULL ones being zeros. */
void ref_row(unsigned row, unsigned k, const uint8_t slots[], const uint8_t *const blocks[],
    uint8_t *out, size_t len);

/* xorshift64*; the seed is $MRMR_TEST_SEED or the clock, and printed with the test's name. */
struct ref_random {
    uint64_t state;
};
struct ref_random ref_seed(const char *test);
uint64_t ref_next(struct ref_random *random);
unsigned ref_below(struct ref_random *random, unsigned n); /* 0 … n - 1 */
void ref_fill(struct ref_random *random, uint8_t *buffer, size_t len);

/* n distinct numbers below limit in random order. */
void ref_distinct(struct ref_random *random, unsigned n, unsigned limit, uint8_t ret[]);

/* A buffer of random bytes that no mapped memory follows (or, with `before`, precedes): a read or
 * write over the edge ends the test. */
struct ref_guarded {
    uint8_t *data;
    void *map;
    size_t map_size;
};
struct ref_guarded ref_guard(struct ref_random *random, size_t len, int before);
void ref_unguard(struct ref_guarded *guarded);

#endif
