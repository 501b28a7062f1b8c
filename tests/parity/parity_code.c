/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * encode, update and merge against the bit-by-bit reference: lengths, alignments, edges of mapped
 * memory, ranges, short and absent blocks, wide stripes, bad input.
 */
#include "parity/code.h"
#include "tests/parity/code_reference.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS PARITY_ROWS_MAX
#define SLOTS PARITY_SLOTS_MAX

/* A stripe in memory: k blocks on random slots, all len long, and m of its rows as the reference
 * has them. */
struct stripe {
    unsigned k, m;
    size_t len;
    uint8_t slots[SLOTS], index[ROWS];
    uint8_t *blocks[SLOTS];
    uint8_t *expect[ROWS], *rows[ROWS];
    struct parity_part parts[SLOTS];
};

static void stripe_expect(struct stripe *s)
{
    for (unsigned j = 0; j < s->k; j++)
        s->parts[j] = (struct parity_part){s->slots[j], s->blocks[j]};
    for (unsigned i = 0; i < s->m; i++)
        ref_row(
            s->index[i], s->k, s->slots, (const uint8_t *const *)s->blocks, s->expect[i], s->len);
}

static struct stripe *stripe_make(struct ref_random *random, unsigned k, unsigned m, size_t len)
{
    struct stripe *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->k = k;
    s->m = m;
    s->len = len;
    ref_distinct(random, k, SLOTS, s->slots);
    ref_distinct(random, m, ROWS, s->index);
    for (unsigned j = 0; j < k; j++) {
        s->blocks[j] = malloc(len + 1);
        ref_fill(random, s->blocks[j], len);
    }
    for (unsigned i = 0; i < m; i++) {
        s->expect[i] = malloc(len + 1);
        s->rows[i] = malloc(len + 1);
        ref_fill(random, s->rows[i], len);
    }
    stripe_expect(s);
    return s;
}

static void stripe_free(struct stripe *s)
{
    for (unsigned j = 0; j < SLOTS; j++)
        free(s->blocks[j]);
    for (unsigned i = 0; i < ROWS; i++) {
        free(s->expect[i]);
        free(s->rows[i]);
    }
    free(s);
}

static void stripe_encode(struct stripe *s)
{
    assert_int_equal(parity_encode(s->k, s->parts, s->m, s->index, s->rows, s->len), MRMR_OK);
}

static void stripe_check(const struct stripe *s)
{
    for (unsigned i = 0; i < s->m; i++)
        assert_memory_equal(s->rows[i], s->expect[i], s->len);
}

static void test_encode_shapes(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("encode, all k to 12 and m to 8");
    for (unsigned k = 0; k <= 12; k++)
        for (unsigned m = 0; m <= ROWS; m++) {
            struct stripe *s = stripe_make(&random, k, m, 100 + ref_below(&random, 400));
            stripe_encode(s);
            stripe_check(s);
            stripe_free(s);
        }
}

/* Row 0 needs no MRMR. */
static void test_row_0_is_xor(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("row 0");
    struct stripe *s = stripe_make(&random, 9, 1, 5000);
    const uint8_t row_0 = 0;
    assert_int_equal(parity_encode(s->k, s->parts, 1, &row_0, s->rows, s->len), MRMR_OK);
    for (size_t i = 0; i < s->len; i++) {
        uint8_t sum = 0;
        for (unsigned j = 0; j < s->k; j++)
            sum ^= s->blocks[j][i];
        assert_int_equal(s->rows[0][i], sum);
    }
    stripe_free(s);
}

static void check_length(struct ref_random *random, size_t len, int before)
{
    enum { K = 3 };
    unsigned m = 1 + ref_below(random, ROWS);
    uint8_t slots[K], index[ROWS], expect[ROWS][600];
    struct ref_guarded blocks[K], rows[ROWS];
    struct parity_part parts[K];
    const uint8_t *data[K];
    uint8_t *out[ROWS];

    ref_distinct(random, K, SLOTS, slots);
    ref_distinct(random, m, ROWS, index);
    for (unsigned j = 0; j < K; j++) {
        blocks[j] = ref_guard(random, len, before);
        data[j] = blocks[j].data;
        parts[j] = (struct parity_part){slots[j], data[j]};
    }
    for (unsigned i = 0; i < m; i++) {
        rows[i] = ref_guard(random, len, before);
        out[i] = rows[i].data;
        ref_row(index[i], K, slots, data, expect[i], len);
    }
    assert_int_equal(parity_encode(K, parts, m, index, out, len), MRMR_OK);
    for (unsigned i = 0; i < m; i++)
        assert_memory_equal(out[i], expect[i], len);

    /* Taking every part out again leaves zeros; merging the rows into zeros brings them back. */
    assert_int_equal(parity_update(K, parts, m, index, out, len), MRMR_OK);
    for (unsigned i = 0; i < m; i++) {
        for (size_t b = 0; b < len; b++)
            assert_int_equal(out[i][b], 0);
        memcpy(blocks[0].data, expect[i], len);
        parity_merge(out[i], blocks[0].data, len);
        assert_memory_equal(out[i], expect[i], len);
        ref_unguard(&rows[i]);
    }
    for (unsigned j = 0; j < K; j++)
        ref_unguard(&blocks[j]);
}

/* Every length to 300, the buffers' ends and then their beginnings at the edge of mapped memory:
 * ends sit at every alignment, and a kernel that reads or writes one byte too many is found. */
static void test_lengths_and_edges(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("lengths and edges");
    for (size_t len = 0; len <= 300; len++)
        for (int before = 0; before < 2; before++)
            check_length(&random, len, before);
}

/* Inputs and outputs each at their own alignment, with bytes around the outputs that must stay. */
static void test_alignments(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("alignments");
    enum { K = 4, M = 3, ROOM = 8192 + 512 };
    static uint8_t in[K][ROOM], out[M][ROOM], before[M][ROOM], expect[ROOM];
    for (unsigned round = 0; round < 500; round++) {
        uint8_t slots[K], index[M], *rows[M];
        const uint8_t *data[K];
        struct parity_part parts[K];
        size_t len = ref_below(&random, round % 8 ? 400 : 8192 + 300), place[M];
        int update = round & 1;
        ref_distinct(&random, K, SLOTS, slots);
        ref_distinct(&random, M, ROWS, index);
        for (unsigned j = 0; j < K; j++) {
            ref_fill(&random, in[j], ROOM);
            data[j] = in[j] + ref_below(&random, 128);
            parts[j] = (struct parity_part){slots[j], data[j]};
        }
        for (unsigned i = 0; i < M; i++) {
            place[i] = ref_below(&random, 128);
            ref_fill(&random, out[i], ROOM);
            memcpy(before[i], out[i], ROOM);
            rows[i] = out[i] + place[i];
        }
        assert_int_equal(
            (update ? parity_update : parity_encode)(K, parts, M, index, rows, len), MRMR_OK);
        for (unsigned i = 0; i < M; i++) {
            ref_row(index[i], K, slots, data, expect, len);
            for (size_t b = 0; b < len; b++)
                before[i][place[i] + b] =
                    (uint8_t)(expect[b] ^ (update ? before[i][place[i] + b] : 0));
            assert_memory_equal(out[i], before[i], ROOM);
        }
    }
}

/* Lengths around the pieces in which long ranges are worked on. */
static void test_long_ranges(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("long ranges");
    static const size_t lens[] = {
        8191, 8192, 8193, 8255, 8256, 8257, 16384, 16385, 24639, 100003, 1 << 20};
    for (size_t l = 0; l < sizeof lens / sizeof *lens; l++) {
        struct stripe *s = stripe_make(&random, 3, 2, lens[l]);
        stripe_encode(s);
        stripe_check(s);
        assert_int_equal(parity_update(s->k, s->parts, s->m, s->index, s->rows, s->len), MRMR_OK);
        for (unsigned i = 0; i < s->m; i++)
            memset(s->expect[i], 0, s->len);
        stripe_check(s);
        stripe_free(s);
    }
}

static void test_ranges_equal_whole(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("ranges");
    for (unsigned round = 0; round < 200; round++) {
        struct stripe *s =
            stripe_make(&random, 1 + ref_below(&random, 8), 1 + ref_below(&random, 4), 3000);
        for (size_t a = 0, b; a < s->len; a = b) {
            struct parity_part parts[8];
            uint8_t *rows[ROWS];
            b = a + 1 + ref_below(&random, round % 2 ? 2000 : 70);
            b = b < s->len ? b : s->len;
            for (unsigned j = 0; j < s->k; j++)
                parts[j] = (struct parity_part){s->slots[j], s->blocks[j] + a};
            for (unsigned i = 0; i < s->m; i++)
                rows[i] = s->rows[i] + a;
            assert_int_equal(parity_encode(s->k, parts, s->m, s->index, rows, b - a), MRMR_OK);
        }
        stripe_check(s);
        stripe_free(s);
    }
}

/* A block that ends before the range may be NULL, zeros or no part at all. */
static void test_absent_blocks_are_zeros(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("absent blocks");
    for (unsigned round = 0; round < 300; round++) {
        unsigned k = ref_below(&random, 9), left = 0;
        struct stripe *s = stripe_make(&random, k, 3, 1 + ref_below(&random, 500));
        struct parity_part fewer[9];
        for (unsigned j = 0; j < k; j++)
            if (ref_below(&random, 2)) {
                free(s->blocks[j]);
                s->blocks[j] = NULL;
            }
        stripe_expect(s);
        stripe_encode(s);
        stripe_check(s);
        for (unsigned j = 0; j < k; j++)
            if (s->parts[j].data)
                fewer[left++] = s->parts[j];
        for (unsigned i = 0; i < s->m; i++)
            ref_fill(&random, s->rows[i], s->len);
        assert_int_equal(parity_encode(left, fewer, s->m, s->index, s->rows, s->len), MRMR_OK);
        stripe_check(s);
        for (unsigned j = 0; j < k; j++)
            s->parts[j].data = NULL;
        assert_int_equal(parity_update(k, s->parts, s->m, s->index, s->rows, s->len), MRMR_OK);
        stripe_check(s);
        stripe_free(s);
    }
}

static void test_wide(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("wide stripes");
    for (unsigned round = 0; round < 20; round++) {
        unsigned k = round ? 100 + ref_below(&random, SLOTS - 100 + 1) : SLOTS;
        struct stripe *s =
            stripe_make(&random, k, 1 + ref_below(&random, ROWS), 50 + ref_below(&random, 200));
        stripe_encode(s);
        stripe_check(s);
        stripe_free(s);
    }
}

/* A random life of a stripe: blocks are filled, join, are taken out and overwritten; rows join and
 * leave. After each step the rows are those of the stripe as it then is. */
static void test_update_equals_encode(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("fill, widen, take out, add and drop rows");
    enum { LEN = 400, LIVES = 40, STEPS = 20 };
    static uint8_t zeros[LEN];
    for (unsigned life = 0; life < LIVES; life++) {
        struct stripe *s = stripe_make(&random, 20, ROWS, LEN);
        unsigned m = 0;
        for (unsigned j = 0; j < s->k; j++)
            memset(s->blocks[j], 0, LEN);
        for (unsigned step = 0; step < STEPS; step++) {
            unsigned j = ref_below(&random, s->k);
            size_t a = ref_below(&random, LEN), len = 1 + ref_below(&random, LEN - (unsigned)a);
            uint8_t old[LEN], new[LEN], *rows[ROWS], *at = s->blocks[j] + a;
            int take_out = ref_below(&random, 3) == 0;
            memcpy(old, at, len);
            if (take_out)
                memset(new, 0, len);
            else
                ref_fill(&random, new, len);
            for (unsigned i = 0; i < m; i++)
                rows[i] = s->rows[i] + a;
            /* old bytes that are zeros (a fill, a block that joins) and new ones that are (take
             * out) may be left out */
            struct parity_part parts[2] = {
                {s->slots[j], old}, {s->slots[j], take_out ? NULL : new}};
            int fresh = memcmp(old, zeros, len) == 0;
            assert_int_equal(
                parity_update(fresh ? 1 : 2, fresh ? parts + 1 : parts, m, s->index, rows, len),
                MRMR_OK);
            memcpy(at, new, len);
            if (m < ROWS && ref_below(&random, 3)) { /* add a row: the others are not touched */
                assert_int_equal(
                    parity_encode(s->k, s->parts, 1, s->index + m, s->rows + m, LEN), MRMR_OK);
                m++;
            } else if (m) {
                m -= ref_below(&random, 4) == 0; /* drop a row: nothing to do */
            }
            s->m = m;
            stripe_expect(s);
            stripe_check(s);
        }
        s->m = ROWS;
        stripe_free(s);
    }
}

/* More terms than there are slots, a slot among them many times. */
static void test_update_many_parts(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("600 parts");
    enum { PARTS = 600, LEN = 97 };
    static uint8_t data[PARTS][LEN];
    struct parity_part parts[PARTS];
    uint8_t row[LEN], expect[LEN], product[LEN];
    const uint8_t index = 5;
    ref_fill(&random, row, LEN);
    memcpy(expect, row, LEN);
    for (unsigned j = 0; j < PARTS; j++) {
        const uint8_t *block = data[j], slot = (uint8_t)ref_below(&random, SLOTS);
        ref_fill(&random, data[j], LEN);
        parts[j] = (struct parity_part){slot, data[j]};
        ref_row(index, 1, &slot, &block, product, LEN);
        for (unsigned b = 0; b < LEN; b++)
            expect[b] ^= product[b];
    }
    assert_int_equal(parity_update(PARTS, parts, 1, &index, (uint8_t *[]){row}, LEN), MRMR_OK);
    assert_memory_equal(row, expect, LEN);
}

/* Two stripes on disjoint slots, with the same rows: the rows of both as one are the XOR of theirs.
 */
static void test_merge(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("merge");
    for (unsigned round = 0; round < 200; round++) {
        unsigned first = ref_below(&random, 9);
        struct stripe *s = stripe_make(&random, 8, 3, ref_below(&random, 700));
        uint8_t *other[3];
        for (unsigned i = 0; i < s->m; i++)
            other[i] = malloc(s->len + 1);
        assert_int_equal(parity_encode(first, s->parts, s->m, s->index, s->rows, s->len), MRMR_OK);
        assert_int_equal(
            parity_encode(8 - first, s->parts + first, s->m, s->index, other, s->len), MRMR_OK);
        for (unsigned i = 0; i < s->m; i++) {
            parity_merge(s->rows[i], other[i], s->len);
            free(other[i]);
        }
        stripe_check(s);
        stripe_free(s);
    }
}

/* Each bad call gets MRMR_INVALID, and leaves the rows as they were. */
static void test_bad_input(void **state)
{
    (void)state;
    enum { LEN = 80 };
    uint8_t data[LEN] = {1, 2, 3}, row[2][LEN], untouched[LEN];
    memset(row, 0x5a, sizeof row);
    memset(untouched, 0x5a, sizeof untouched);
    uint8_t *rows[2] = {row[0], row[1]}, *hole[2] = {row[0], NULL};
    struct parity_part good[2] = {{0, data}, {247, data}}, twice[2] = {{9, data}, {9, data}};
    struct parity_part range[2] = {{1, data}, {248, data}}, far[1] = {{255, NULL}};
    const uint8_t index[2] = {0, 7}, same[2] = {3, 3}, beyond[2] = {0, 8},
                  nine[9] = {0, 1, 2, 3, 4, 5, 6, 7, 0};
    uint8_t *many[9] = {row[0], row[0], row[0], row[0], row[0], row[0], row[0], row[0], row[0]};
    struct parity_part all[SLOTS + 1];
    for (unsigned j = 0; j <= SLOTS; j++)
        all[j] = (struct parity_part){(uint8_t)(j % SLOTS), data};

    assert_int_equal(parity_encode(2, twice, 2, index, rows, LEN), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "slot 9 is named twice");
    assert_int_equal(parity_encode(2, range, 2, index, rows, LEN), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "there is no slot 248");
    assert_int_equal(parity_encode(SLOTS + 1, all, 2, index, rows, LEN), MRMR_INVALID);
    assert_int_equal(parity_encode(2, good, 2, same, rows, LEN), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "row 3 is named twice");
    assert_int_equal(parity_encode(2, good, 2, beyond, rows, LEN), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "there is no row 8");
    assert_int_equal(parity_encode(2, good, 9, nine, many, LEN), MRMR_INVALID);
    assert_int_equal(parity_encode(2, good, 2, index, hole, LEN), MRMR_INVALID);
    assert_string_equal(mrmr_story_get()->text, "row 7 has no buffer");

    assert_int_equal(parity_update(2, range, 2, index, rows, LEN), MRMR_INVALID);
    assert_int_equal(parity_update(1, far, 2, index, rows, LEN), MRMR_INVALID);
    assert_int_equal(parity_update(2, good, 2, same, rows, LEN), MRMR_INVALID);
    assert_int_equal(parity_update(2, good, 2, beyond, rows, LEN), MRMR_INVALID);
    assert_int_equal(parity_update(2, good, 2, index, hole, LEN), MRMR_INVALID);
    assert_memory_equal(row[0], untouched, LEN);
    assert_memory_equal(row[1], untouched, LEN);

    /* What is odd but well defined. */
    assert_int_equal(parity_encode(2, good, 2, index, (uint8_t *[]){NULL, NULL}, 0), MRMR_OK);
    assert_int_equal(parity_encode(2, good, 0, NULL, NULL, LEN), MRMR_OK);
    assert_int_equal(parity_update(0, NULL, 2, index, rows, LEN), MRMR_OK);
    assert_memory_equal(row[0], untouched, LEN);
    memset(untouched, 0, LEN);
    assert_int_equal(parity_encode(0, NULL, 2, index, rows, LEN), MRMR_OK);
    assert_memory_equal(row[0], untouched, LEN);
    assert_memory_equal(row[1], untouched, LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_shapes),
        cmocka_unit_test(test_row_0_is_xor),
        cmocka_unit_test(test_lengths_and_edges),
        cmocka_unit_test(test_alignments),
        cmocka_unit_test(test_long_ranges),
        cmocka_unit_test(test_ranges_equal_whole),
        cmocka_unit_test(test_absent_blocks_are_zeros),
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_update_equals_encode),
        cmocka_unit_test(test_update_many_parts),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
