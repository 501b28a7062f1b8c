/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The expected digests were made by an independent implementation: Python's hashlib.blake2b(x,
 * digest_size=32).
 */
#include "base/digest.h"

#include "base/text.h"
#include "tests/unit/base_check.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MIB ((size_t)1 << 20)

/* Byte i of the pattern is (7·i + 3) mod 251. */
static const struct {
    size_t size;
    const char *hex;
} vectors[] = {
    {0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
    {128, "6afdad1409d770bce274b62a69123c97c86ffb40ce9708f3ff9ae4cbba8ba080"},
    {129, "69e98b10112e4b7ae396bfbddaee75cc5fe6a9dc1fffc2b11e7c0fc48de04ae5"},
    {1000, "655483217562ae552fae4c276411ebd441ae1615754212965b82aee8aa76e9d8"},
    {MIB, "6856218b770a694963373f539a34eaf6a3551c51c6fbc1c52a36a9f5e9dc6d11"},
};
enum { VECTORS = sizeof vectors / sizeof *vectors };

static uint8_t pattern[MIB];

static int make_pattern(void **state)
{
    (void)state;
    for (size_t i = 0; i < MIB; i++)
        pattern[i] = (uint8_t)((i * 7 + 3) % 251);
    return 0;
}

static void assert_digest(const struct mrmr_digest *digest, const char *want)
{
    char hex[2 * MRMR_DIGEST_SIZE + 1];
    mrmr_text_hex(digest->bytes, MRMR_DIGEST_SIZE, hex);
    assert_string_equal(hex, want);
}

static void a_batch_matches_the_known_vectors(void **state)
{
    (void)state;
    struct mrmr_span spans[VECTORS];
    struct mrmr_digest digests[VECTORS];
    for (size_t i = 0; i < VECTORS; i++)
        spans[i] = (struct mrmr_span){pattern, vectors[i].size};
    mrmr_digest_batch(VECTORS, spans, digests);
    for (size_t i = 0; i < VECTORS; i++)
        assert_digest(&digests[i], vectors[i].hex);
}

static void one_is_a_batch_of_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        struct mrmr_digest digest = mrmr_digest_of(pattern, vectors[i].size);
        assert_digest(&digest, vectors[i].hex);
    }
    struct mrmr_digest abc = mrmr_digest_of("abc", 3);
    assert_digest(&abc, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

/* Whatever lengths come side by side, in whatever order. */
static void a_batch_is_what_its_pieces_are(void **state)
{
    (void)state;
    enum { MOST = 13 };
    const char *given = getenv("MRMR_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("MRMR_SEED=%u\n", seed);
    srandom(seed);
    for (unsigned round = 0; round < 3000; round++) {
        struct mrmr_span spans[MOST];
        struct mrmr_digest batch[MOST];
        size_t n = 1 + (size_t)random() % MOST;
        for (size_t i = 0; i < n; i++) {
            static const size_t bounds[] = {2, 130, 600, 20000};
            size_t size = (size_t)random() % bounds[random() % 4];
            if (random() % 3 == 0)
                size = size / 128 * 128;
            spans[i] = (struct mrmr_span){pattern + random() % 1000, size};
        }
        mrmr_digest_batch(n, spans, batch);
        for (size_t i = 0; i < n; i++) {
            struct mrmr_digest one = mrmr_digest_of(spans[i].data, spans[i].size);
            assert_true(mrmr_digest_equal(&one, &batch[i]));
        }
    }
}

static void an_empty_batch_writes_nothing(void **state)
{
    (void)state;
    struct mrmr_digest digest, before;
    memset(&digest, 0xa5, sizeof digest);
    before = digest;
    mrmr_digest_batch(0, NULL, &digest);
    assert_true(mrmr_digest_equal(&digest, &before));
}

static void the_tree_covers_leaves_order_and_size(void **state)
{
    (void)state;
    struct mrmr_digest none = mrmr_digest_tree(0, NULL, 0);
    assert_digest(&none, "81e47a19e6b29b0a65b9591762ce5143ed30d0261e5d24a3201752506b20f15c");
    struct mrmr_digest leaves[2] = {mrmr_digest_of("abc", 3), mrmr_digest_of("", 0)};
    struct mrmr_digest two = mrmr_digest_tree(2, leaves, UINT64_C(0x0123456789abcdef));
    assert_digest(&two, "470a4e4f90d7983c07781649eea0daba94ae4c97e1a448c32b353059bb4647fa");
    struct mrmr_digest swapped[2] = {leaves[1], leaves[0]};
    struct mrmr_digest other = mrmr_digest_tree(2, swapped, UINT64_C(0x0123456789abcdef));
    assert_false(mrmr_digest_equal(&two, &other));
}

static void equal_looks_at_every_bit(void **state)
{
    (void)state;
    struct mrmr_digest a = mrmr_digest_of("abc", 3);
    for (unsigned bit = 0; bit < 8 * MRMR_DIGEST_SIZE; bit++) {
        struct mrmr_digest b = a;
        assert_true(mrmr_digest_equal(&a, &b));
        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(mrmr_digest_equal(&a, &b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_matches_the_known_vectors),
        cmocka_unit_test(one_is_a_batch_of_one),
        cmocka_unit_test(a_batch_is_what_its_pieces_are),
        cmocka_unit_test(an_empty_batch_writes_nothing),
        cmocka_unit_test(the_tree_covers_leaves_order_and_size),
        cmocka_unit_test(equal_looks_at_every_bit),
    };
    return cmocka_run_group_tests(tests, make_pattern, NULL);
}
