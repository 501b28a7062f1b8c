/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * decode: every erasure pattern of small stripes with every choice of rows, random wide ones,
 * ranges, outputs that are not wanted, bad input, several threads on one decoder, no memory. Rows
 * come from the bit-by-bit reference, so that encode has no part in it.
 */
#include "parity/code.h"
#include "tests/parity/code_reference.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROWS PARITY_ROWS_MAX
#define SLOTS PARITY_SLOTS_MAX
#define LEN 67 /* a kernel's length and a bit */

static bool out_of_memory;

/* The linker sends the library's calls here. */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return out_of_memory ? NULL : __real_calloc(n, size);
}

/* A stripe with all eight rows. */
struct stripe {
    unsigned k;
    uint8_t slots[SLOTS];
    uint8_t blocks[SLOTS][LEN], rows[ROWS][LEN];
};

static void stripe_fill(struct ref_random *random, struct stripe *s, unsigned k)
{
    const uint8_t *blocks[SLOTS];
    s->k = k;
    ref_distinct(random, k, SLOTS, s->slots);
    for (unsigned j = 0; j < k; j++) {
        ref_fill(random, s->blocks[j], LEN);
        blocks[j] = s->blocks[j];
    }
    for (unsigned i = 0; i < ROWS; i++)
        ref_row(i, k, s->slots, blocks, s->rows[i], LEN);
}

/* Which blocks are gone, which rows are at hand: places into the stripe, in the order the decoder
 * gets them. */
struct pattern {
    unsigned nk, ne, nr;
    uint8_t known[SLOTS], missing[SLOTS], rows[ROWS];
};

static mrmr_err pattern_create(
    const struct stripe *s, const struct pattern *p, struct parity_decoder **ret_decoder)
{
    uint8_t known[SLOTS], missing[SLOTS];
    for (unsigned j = 0; j < p->nk; j++)
        known[j] = s->slots[p->known[j]];
    for (unsigned i = 0; i < p->ne; i++)
        missing[i] = s->slots[p->missing[i]];
    return parity_decoder_create(p->nk, known, p->ne, missing, p->nr, p->rows, ret_decoder);
}

/* Decode [a, b) and compare; the rows past the first ne are not even passed. */
static void pattern_decode(const struct stripe *s, const struct pattern *p,
    const struct parity_decoder *decoder, size_t a, size_t b)
{
    const uint8_t *known[SLOTS], *rows[ROWS] = {NULL};
    uint8_t found[ROWS][LEN], *out[ROWS];
    for (unsigned j = 0; j < p->nk; j++)
        known[j] = s->blocks[p->known[j]] + a;
    for (unsigned i = 0; i < p->ne; i++) {
        rows[i] = s->rows[p->rows[i]] + a;
        out[i] = found[i];
        memset(found[i], 0x5a, LEN);
    }
    assert_int_equal(parity_decode(decoder, known, rows, out, b - a), MRMR_OK);
    for (unsigned i = 0; i < p->ne; i++)
        assert_memory_equal(found[i], s->blocks[p->missing[i]] + a, b - a);
}

static void pattern_check(const struct stripe *s, const struct pattern *p)
{
    struct parity_decoder *decoder = NULL;
    mrmr_err err = pattern_create(s, p, &decoder);
    if (p->nr < p->ne) {
        assert_int_equal(err, MRMR_LOST);
        assert_null(decoder);
        return;
    }
    assert_int_equal(err, MRMR_OK);
    pattern_decode(s, p, decoder, 0, LEN);
    parity_decoder_destroy(decoder);
}

/* The members of a set of n things, in random order. */
static unsigned members(struct ref_random *random, unsigned set, unsigned n, uint8_t ret[])
{
    uint8_t order[SLOTS];
    unsigned count = 0;
    ref_distinct(random, n, n, order);
    for (unsigned i = 0; i < n; i++)
        if (set >> order[i] & 1)
            ret[count++] = order[i];
    return count;
}

/* Every k ≤ 6 and m ≤ 3: whichever m of the eight rows the stripe has, whichever of them and of the
 * blocks are lost (more than can be recovered, too). A set of rows at hand stands for every stripe
 * that has it. */
static void test_every_pattern(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("every erasure of k to 6, m to 3");
    unsigned patterns = 0, lost = 0;
    static struct stripe s;
    for (unsigned k = 1; k <= 6; k++)
        for (unsigned has = 0; has < 1u << ROWS; has++) {
            if (__builtin_popcount(has) < 1 || __builtin_popcount(has) > 3)
                continue;
            stripe_fill(&random, &s, k);
            for (unsigned left = 0; left < 1u << ROWS; left++)
                for (unsigned gone = 0; !(left & ~has) && gone < 1u << k; gone++) {
                    struct pattern p;
                    p.nr = members(&random, left, ROWS, p.rows);
                    p.ne = members(&random, gone, k, p.missing);
                    p.nk = members(&random, ~gone, k, p.known);
                    pattern_check(&s, &p);
                    patterns++;
                    lost += p.nr < p.ne;
                }
        }
    printf("%u patterns of blocks and rows lost, %u of them refused as too many\n", patterns, lost);
    /* Σ over k of 2^k = 126 sets of blocks; Σ over m of C(8, m) · 2^m = 16 + 112 + 448 = 576 sets
     * of rows */
    assert_int_equal(patterns, 126 * 576);
}

static void random_pattern(struct ref_random *random, unsigned k, unsigned ne, struct pattern *p)
{
    uint8_t order[SLOTS];
    p->ne = ne;
    p->nk = k - ne;
    p->nr = ne + ref_below(random, ROWS - ne + 1);
    ref_distinct(random, k, k, order);
    memcpy(p->missing, order, ne);
    memcpy(p->known, order + ne, k - ne);
    ref_distinct(random, p->nr, ROWS, p->rows);
}

static void test_wide(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("wide stripes");
    static struct stripe s;
    for (unsigned round = 0; round < 100; round++) {
        unsigned k = round ? 8 + ref_below(&random, 240 - 8 + 1) : SLOTS;
        stripe_fill(&random, &s, k);
        for (unsigned ne = 0; ne <= ROWS; ne++) {
            struct pattern p;
            random_pattern(&random, k, ne, &p);
            pattern_check(&s, &p);
        }
    }
}

static void test_ranges(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("ranges");
    static struct stripe s;
    for (unsigned round = 0; round < 100; round++) {
        struct pattern p;
        struct parity_decoder *decoder = NULL;
        stripe_fill(&random, &s, 10);
        random_pattern(&random, 10, 1 + ref_below(&random, 4), &p);
        assert_int_equal(pattern_create(&s, &p, &decoder), MRMR_OK);
        for (size_t a = 0, b; a < LEN; a = b) {
            b = a + 1 + ref_below(&random, (unsigned)(LEN - a));
            pattern_decode(&s, &p, decoder, a, b);
        }
        pattern_decode(&s, &p, decoder, 5, 5);
        parity_decoder_destroy(decoder);
    }
}

/* Known blocks that are NULL are zeros; outputs that are NULL are not wanted. */
static void test_null_blocks_and_outputs(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("NULL blocks and outputs");
    enum { K = 7, NE = 3 };
    for (unsigned wanted = 0; wanted < 1u << NE; wanted++)
        for (unsigned present = 0; present < 1u << (K - NE); present++) {
            uint8_t slots[K], blocks[K][LEN], rows[NE][LEN], index[NE], found[NE][LEN];
            const uint8_t *at[K], *row[NE];
            uint8_t *out[NE];
            struct parity_decoder *decoder = NULL;
            ref_distinct(&random, K, SLOTS, slots);
            ref_distinct(&random, NE, ROWS, index);
            for (unsigned j = 0; j < K; j++) { /* the first NE are the missing ones */
                ref_fill(&random, blocks[j], LEN);
                at[j] = j < NE || present >> (j - NE) & 1 ? blocks[j] : NULL;
            }
            for (unsigned i = 0; i < NE; i++) {
                ref_row(index[i], K, slots, at, rows[i], LEN);
                row[i] = rows[i];
                out[i] = wanted >> i & 1 ? found[i] : NULL;
            }
            assert_int_equal(
                parity_decoder_create(K - NE, slots + NE, NE, slots, NE, index, &decoder), MRMR_OK);
            assert_int_equal(parity_decode(decoder, at + NE, row, out, LEN), MRMR_OK);
            for (unsigned i = 0; i < NE; i++)
                if (out[i])
                    assert_memory_equal(found[i], blocks[i], LEN);
            parity_decoder_destroy(decoder);
        }
}

static void test_bad_input(void **state)
{
    (void)state;
    static const uint8_t known[3] = {0, 1, 2}, missing[2] = {3, 247}, rows[3] = {7, 0, 4};
    static const uint8_t twice[2] = {5, 5}, far[2] = {1, 248}, overlap[2] = {3, 2},
                         no_row[2] = {0, 8};
    static const uint8_t nine[9] = {0, 1, 2, 3, 4, 5, 6, 7, 7};
    struct parity_decoder *d = NULL;

    assert_int_equal(parity_decoder_create(2, twice, 2, missing, 3, rows, &d), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "slot 5 is named twice");
    assert_int_equal(parity_decoder_create(3, known, 2, twice, 3, rows, &d), MRMR_INVALID);
    assert_int_equal(parity_decoder_create(3, known, 2, overlap, 3, rows, &d), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "slot 2 is named twice");
    assert_int_equal(parity_decoder_create(2, far, 2, missing, 3, rows, &d), MRMR_INVALID);
    assert_int_equal(parity_decoder_create(3, known, 2, far, 3, rows, &d), MRMR_INVALID);
    assert_int_equal(parity_decoder_create(3, known, 2, missing, 2, twice, &d), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "row 5 is named twice");
    assert_int_equal(parity_decoder_create(3, known, 2, missing, 2, no_row, &d), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "there is no row 8");
    assert_int_equal(parity_decoder_create(3, known, 2, missing, 9, nine, &d), MRMR_INVALID);
    assert_int_equal(parity_decoder_create(3, known, 2, missing, 1, rows, &d), MRMR_LOST);
    assert_string_equal(mrmr_story_get()->text, "blocks missing: 2, rows at hand: 1");
    assert_int_equal(parity_decoder_create(0, NULL, 9, nine, 8, nine, &d), MRMR_INVALID);
    assert_null(d);

    /* A row that is needed has no buffer: refused, the output untouched. */
    uint8_t a[LEN] = {1}, found[2][LEN] = {{9}, {9}};
    const uint8_t *blocks[3] = {a, a, a}, *one[2] = {a, NULL};
    uint8_t *out[2] = {found[0], found[1]};
    assert_int_equal(parity_decoder_create(3, known, 2, missing, 3, rows, &d), MRMR_OK);
    assert_int_equal(parity_decode(d, blocks, one, out, LEN), MRMR_INVALID);
    assert_int_equal(found[0][0], 9);
    assert_int_equal(found[1][0], 9);
    parity_decoder_destroy(d);
    parity_decoder_destroy(NULL);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const uint8_t known[1] = {0}, missing[1] = {3}, rows[1] = {7};
    struct parity_decoder *d = NULL;
    out_of_memory = true;
    mrmr_err err = parity_decoder_create(1, known, 1, missing, 1, rows, &d);
    out_of_memory = false;
    assert_int_equal(err, MRMR_NOMEM);
    assert_null(d);
}

struct reader {
    pthread_t thread;
    const struct stripe *stripe;
    const struct pattern *pattern;
    const struct parity_decoder *decoder;
    unsigned wrong;
};

static void *reader_run(void *arg)
{
    struct reader *r = arg;
    const struct pattern *p = r->pattern;
    const uint8_t *known[SLOTS], *rows[ROWS];
    uint8_t found[ROWS][LEN], *out[ROWS];
    for (unsigned j = 0; j < p->nk; j++)
        known[j] = r->stripe->blocks[p->known[j]];
    for (unsigned i = 0; i < p->ne; i++) {
        rows[i] = r->stripe->rows[p->rows[i]];
        out[i] = found[i];
    }
    for (unsigned round = 0; round < 500; round++) {
        memset(found, 0, sizeof found);
        r->wrong += parity_decode(r->decoder, known, rows, out, LEN) != MRMR_OK;
        for (unsigned i = 0; i < p->ne; i++)
            r->wrong += memcmp(found[i], r->stripe->blocks[p->missing[i]], LEN) != 0;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("threads");
    static struct stripe s;
    struct pattern p;
    struct parity_decoder *decoder = NULL;
    struct reader readers[4];
    stripe_fill(&random, &s, 12);
    random_pattern(&random, 12, 3, &p);
    assert_int_equal(pattern_create(&s, &p, &decoder), MRMR_OK);
    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (struct reader){.stripe = &s, .pattern = &p, .decoder = decoder};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].wrong, 0);
    }
    parity_decoder_destroy(decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pattern),
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_null_blocks_and_outputs),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
