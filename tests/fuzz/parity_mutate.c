/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fuzz entries over the golden files, as they are and mutated at random for a few seconds
 * (MRMR_FUZZ_SECONDS), so that builds without libFuzzer run them, too. MRMR_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "drivers/driver.h"
#include "parity_fuzz.h"
#include "pool/stripe/gzip.h"
#include "pool/stripe/parity_format.h"

#define MOST 20000 /* larger golden files are run as they are only */

static uint64_t seed_state;

static uint64_t any(void)
{
    seed_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = seed_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

struct corpus {
    struct mrmr_bytes file[256], text[256];
    size_t n, texts;
};
static struct corpus corpus;

static mrmr_err corpus_text(const char *text, size_t size, bool *ret_enough, void *arg)
{
    struct mrmr_bytes *b = arg;
    *ret_enough = b->size > MOST;
    return mrmr_bytes_add(b, text, size);
}

/* The text of a file's manifest, if it has one. */
static void corpus_unpack(const struct mrmr_bytes *file)
{
    uint64_t payload = 0;
    struct pool_gunzip *gunzip;
    if (file->size < POOL_FOOTER_SIZE || corpus.texts == 256)
        return;
    for (unsigned i = 0; i < 8; i++)
        payload |= (uint64_t)(uint8_t)file->data[file->size - POOL_FOOTER_SIZE + i] << (8 * i);
    if (payload > file->size - POOL_FOOTER_SIZE)
        return;
    struct mrmr_bytes *text = &corpus.text[corpus.texts];
    assert_int_equal(pool_gunzip_create(MOST, corpus_text, text, &gunzip), MRMR_OK);
    mrmr_err err =
        pool_gunzip_feed(gunzip, file->data + payload, file->size - POOL_FOOTER_SIZE - payload);
    pool_gunzip_destroy(gunzip);
    if (!err && text->size)
        corpus.texts++;
    else
        mrmr_bytes_free(text);
}

static mrmr_err corpus_add(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    size_t length = strlen(name);
    if (err || !stat || length < 4 || strcmp(name + length - 4, ".row") != 0)
        return err;
    assert_true(corpus.n < 256);
    struct mrmr_bytes *file = &corpus.file[corpus.n++];
    err = drv_read_all(arg, name, 16 << 20, file);
    if (!err)
        corpus_unpack(file);
    return err;
}

static int all_begin(void **state)
{
    (void)state;
    char folder[1000];
    struct drv *local;
    const char *given = getenv("MRMR_SEED"), *source = getenv("MRMR_SOURCE");
    assert_non_null(source);
    seed_state = given ? strtoull(given, NULL, 0) : (uint64_t)mrmr_clock_real();
    print_message("MRMR_SEED=%llu\n", (unsigned long long)seed_state);
    snprintf(folder, sizeof folder, "%s/tests/golden/parity", source);
    if (drv_open(folder, &local) || drv_list(local, "", corpus_add, local))
        return -1;
    drv_close(local);
    print_message("%zu files, %zu texts\n", corpus.n, corpus.texts);
    return corpus.n > 100 && corpus.texts > 50 ? 0 : -1;
}

static int all_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < 256; i++) {
        mrmr_bytes_free(&corpus.file[i]);
        mrmr_bytes_free(&corpus.text[i]);
    }
    return 0;
}

static void test_as_they_are(void **state)
{
    (void)state;
    unsigned good = 0;
    for (size_t i = 0; i < corpus.n; i++)
        good += !parity_fuzz_file((const uint8_t *)corpus.file[i].data, corpus.file[i].size);
    assert_true(good >= 10);
    good = 0;
    for (size_t i = 0; i < corpus.texts; i++)
        good += !parity_fuzz_text((const uint8_t *)corpus.text[i].data, corpus.text[i].size);
    assert_true(good >= 10);
}

static const char *const spice[] = {"0", "-1", "18446744073709551615", "18446744073709551616",
    "9223372036854775807", "4294967296", "1048576", "..", "/", "%00", "%2F", "?", " ", "\n", "leaf",
    "extent", "block", "file", "end\n", "payload", "supersedes"};

static void mutate(struct mrmr_bytes *b)
{
    size_t at = b->size ? any() % b->size : 0, length = 1 + any() % 40;
    const char *word = spice[any() % (sizeof spice / sizeof *spice)];
    if (length > b->size - at)
        length = b->size - at;
    switch (any() % 6) {
    case 0:
        if (b->size)
            b->data[at] = (char)(b->data[at] ^ (1 << any() % 8));
        break;
    case 1: /* cut out */
        memmove(b->data + at, b->data + at + length, b->size - at - length);
        b->size -= length;
        break;
    case 2: /* double a piece */
        assert_int_equal(mrmr_bytes_reserve(b, length), MRMR_OK);
        memmove(b->data + at + length, b->data + at, b->size - at);
        b->size += length;
        break;
    case 3: /* a word in */
        length = strlen(word);
        assert_int_equal(mrmr_bytes_reserve(b, length), MRMR_OK);
        memmove(b->data + at + length, b->data + at, b->size - at);
        memcpy(b->data + at, word, length);
        b->size += length;
        break;
    case 4: /* a word over */
        length = strlen(word);
        if (length <= b->size - at)
            memcpy(b->data + at, word, length);
        break;
    default: /* a digit */
        for (size_t i = 0; i < 30 && at + i < b->size; i++)
            if (b->data[at + i] >= '0' && b->data[at + i] <= '9') {
                b->data[at + i] = (char)('0' + any() % 10);
                break;
            }
    }
}

static double seconds(void)
{
    const char *given = getenv("MRMR_FUZZ_SECONDS");
    return given ? atof(given) : 2;
}

static void run(const struct mrmr_bytes *from, size_t n, mrmr_err (*entry)(const uint8_t *, size_t))
{
    int64_t until = mrmr_clock_monotonic() + (int64_t)(seconds() * 1e9);
    struct mrmr_bytes copy = MRMR_BYTES_INIT;
    unsigned long long runs = 0, good = 0;
    for (; mrmr_clock_monotonic() < until; runs++) {
        const struct mrmr_bytes *one = &from[any() % n];
        if (one->size > MOST)
            continue;
        mrmr_bytes_clear(&copy);
        assert_int_equal(mrmr_bytes_add(&copy, one->data, one->size), MRMR_OK);
        for (uint64_t i = any() % 4 + 1; i; i--)
            mutate(&copy);
        good += !entry((const uint8_t *)copy.data, copy.size);
    }
    print_message("%llu runs, %llu accepted\n", runs, good);
    assert_true(runs > 100);
    mrmr_bytes_free(&copy);
}

static void test_text(void **state)
{
    (void)state;
    run(corpus.text, corpus.texts, parity_fuzz_text);
}

/* Mutated text, packed: what is behind a sound gzip. */
static mrmr_err packed(const uint8_t *data, size_t size)
{
    struct mrmr_bytes b = MRMR_BYTES_INIT;
    size_t half = any() % (size + 1);
    assert_int_equal(pool_gzip_add(&b, data, half), MRMR_OK);
    assert_int_equal(pool_gzip_add(&b, data + half, size - half), MRMR_OK);
    mrmr_err whole = parity_fuzz_text(data, size),
             err = parity_fuzz_gzip((const uint8_t *)b.data, b.size);
    assert_int_equal(!whole, !err); /* in pieces or at once: the same verdict */
    mrmr_bytes_free(&b);
    return err;
}

static void test_gzip(void **state)
{
    (void)state;
    run(corpus.text, corpus.texts, packed);
}

static void test_file(void **state)
{
    (void)state;
    run(corpus.file, corpus.n, parity_fuzz_file);
}

static void test_fixed(void **state)
{
    (void)state;
    run(corpus.file, corpus.n, parity_fuzz_fixed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_they_are),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_fixed),
    };
    return cmocka_run_group_tests(tests, all_begin, all_end);
}
