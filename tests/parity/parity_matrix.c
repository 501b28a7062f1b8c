/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The 8 × 248 coefficients: what they are, and that every square submatrix is invertible: all
 * minors of order 1, 2 and 3, random ones of order 4 to 8.
 */
#include "parity/code.h"
#include "tests/parity/code_reference.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ROWS PARITY_ROWS_MAX
#define SLOTS PARITY_SLOTS_MAX
#define RANDOM_MINORS 200000

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED
#endif

static uint8_t mul[256][256], inverse[256], code[ROWS][SLOTS];

static int setup(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        inverse[a] = ref_inverse((uint8_t)a);
        for (unsigned b = 0; b < 256; b++)
            mul[a][b] = ref_mul((uint8_t)a, (uint8_t)b);
    }
    for (unsigned j = 0; j < ROWS; j++)
        for (unsigned s = 0; s < SLOTS; s++)
            code[j][s] = parity_coefficient(j, s);
    return 0;
}

/* How many 2 × 2 minors are singular. */
static uint64_t singular_2(uint8_t m[ROWS][SLOTS], uint64_t *ret_count)
{
    uint64_t singular = 0, count = 0;
    for (unsigned a = 0; a < ROWS; a++)
        for (unsigned b = a + 1; b < ROWS; b++)
            for (unsigned s = 0; s < SLOTS; s++)
                for (unsigned t = s + 1; t < SLOTS; t++, count++)
                    singular += mul[m[a][s]][m[b][t]] == mul[m[a][t]][m[b][s]];
    *ret_count = count;
    return singular;
}

/* How many 3 × 3 minors of rows a, b, c are singular: Laplace along the third slot, whose cofactors
 * are fixed in the inner loop. */
static uint64_t singular_3_rows(
    const uint8_t a[SLOTS], const uint8_t b[SLOTS], const uint8_t c[SLOTS], uint64_t *count)
{
    uint64_t singular = 0;
    for (unsigned s = 0; s < SLOTS; s++)
        for (unsigned t = s + 1; t < SLOTS; t++) {
            const uint8_t *pa = mul[mul[b[s]][c[t]] ^ mul[b[t]][c[s]]];
            const uint8_t *pb = mul[mul[a[s]][c[t]] ^ mul[a[t]][c[s]]];
            const uint8_t *pc = mul[mul[a[s]][b[t]] ^ mul[a[t]][b[s]]];
            for (unsigned u = t + 1; u < SLOTS; u++)
                singular += (pa[a[u]] ^ pb[b[u]] ^ pc[c[u]]) == 0;
            *count += SLOTS - 1 - t;
        }
    return singular;
}

static uint64_t singular_3(uint8_t m[ROWS][SLOTS], uint64_t *ret_count)
{
    uint64_t singular = 0, count = 0;
    for (unsigned a = 0; a < ROWS; a++)
        for (unsigned b = a + 1; b < ROWS; b++)
            for (unsigned c = b + 1; c < ROWS; c++)
                singular += singular_3_rows(m[a], m[b], m[c], &count);
    *ret_count = count;
    return singular;
}

/* Whether the n × n submatrix is invertible, by elimination. */
static int invertible(
    uint8_t m[ROWS][SLOTS], unsigned n, const uint8_t rows[], const uint8_t slots[])
{
    uint8_t x[ROWS][ROWS];
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++)
            x[i][j] = m[rows[i]][slots[j]];
    for (unsigned p = 0; p < n; p++) {
        unsigned q = p;
        while (q < n && !x[q][p])
            q++;
        if (q == n)
            return 0;
        for (unsigned j = 0; j < n; j++) {
            uint8_t swap = x[p][j];
            x[p][j] = x[q][j];
            x[q][j] = swap;
        }
        for (unsigned i = p + 1; i < n; i++) {
            uint8_t f = mul[x[i][p]][inverse[x[p][p]]];
            for (unsigned j = p; j < n; j++)
                x[i][j] ^= mul[f][x[p][j]];
        }
    }
    return 1;
}

static void test_definition(void **state)
{
    (void)state;
    for (unsigned j = 0; j < ROWS; j++)
        for (unsigned s = 0; s < SLOTS; s++) {
            assert_int_equal(code[j][s], ref_coefficient(j, s));
            assert_int_not_equal(code[j][s], 0);
        }
    for (unsigned s = 0; s < SLOTS; s++)
        assert_int_equal(code[0][s], 1);
    assert_int_equal(parity_coefficient(ROWS, 0), 0);
    assert_int_equal(parity_coefficient(0, SLOTS), 0);
    assert_int_equal(parity_coefficient(256, 256), 0);
}

/* Parity on users' drives holds these for ever: computed once by hand with a few lines of Python.
 */
static void test_pinned(void **state)
{
    (void)state;
    static const struct {
        uint8_t row, slot, c;
    } pinned[] = {{1, 0, 0x9c}, {1, 1, 0xac}, {2, 0, 0xa6}, {3, 7, 0x46}, {4, 100, 0x54},
        {5, 13, 0x9e}, {6, 200, 0xc9}, {7, 0, 0xc4}, {7, 247, 0xd2}, {1, 247, 0x7f}};
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++)
        assert_int_equal(parity_coefficient(pinned[i].row, pinned[i].slot), pinned[i].c);
}

static void test_minors_2(void **state)
{
    (void)state;
    uint64_t count;
    assert_int_equal(singular_2(code, &count), 0);
    assert_int_equal(count, 28 * 30628);
    printf("2 x 2 minors: %llu, none singular\n", (unsigned long long)count);
}

/* Some 0.4 s on one core; a sanitizer may take its time. */
static void assert_quick(clock_t start, double *ret_seconds)
{
    *ret_seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
#ifndef SANITIZED
    assert_true(*ret_seconds <= 5);
#endif
}

static void test_minors_3(void **state)
{
    (void)state;
    uint64_t count;
    double seconds;
    clock_t start = clock();
    assert_int_equal(singular_3(code, &count), 0);
    assert_int_equal(count, 56 * UINT64_C(2511496));
    assert_quick(start, &seconds);
    printf("3 x 3 minors: %llu, none singular, in %.2f s\n", (unsigned long long)count, seconds);
}

static void test_minors_random(void **state)
{
    (void)state;
    struct ref_random random = ref_seed("random minors");
    for (unsigned i = 0; i < RANDOM_MINORS; i++) {
        uint8_t rows[ROWS], slots[ROWS];
        unsigned n = 4 + ref_below(&random, 5);
        ref_distinct(&random, n, ROWS, rows);
        ref_distinct(&random, n, SLOTS, slots);
        if (!invertible(code, n, rows, slots))
            fail_msg("minor %u of order %u is singular", i, n);
    }
    printf("4 x 4 to 8 x 8 minors: %d random ones, none singular\n", RANDOM_MINORS);
}

/* The checks above can fail: powers of 2, a matrix that is often taken for a code, have singular
 * minors of every order that is checked. */
static void test_checks_find_faults(void **state)
{
    (void)state;
    static uint8_t powers[ROWS][SLOTS];
    struct ref_random random = ref_seed("faulty matrix");
    uint64_t count;
    unsigned singular = 0;
    for (unsigned s = 0; s < SLOTS; s++) {
        uint8_t g = 1, c = 1;
        for (unsigned i = 0; i < s; i++)
            g = mul[g][2];
        for (unsigned j = 0; j < ROWS; j++, c = mul[c][g])
            powers[j][s] = c;
    }
    assert_true(singular_2(powers, &count) > 0);
    assert_true(singular_3(powers, &count) > 0);
    for (unsigned i = 0; i < RANDOM_MINORS / 10; i++) {
        uint8_t rows[ROWS], slots[ROWS];
        ref_distinct(&random, 4, ROWS, rows);
        ref_distinct(&random, 4, SLOTS, slots);
        singular += !invertible(powers, 4, rows, slots);
    }
    assert_true(singular > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_minors_2),
        cmocka_unit_test(test_minors_3),
        cmocka_unit_test(test_minors_random),
        cmocka_unit_test(test_checks_find_faults),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
