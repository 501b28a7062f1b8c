/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/parity/code_reference.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

uint8_t ref_mul(uint8_t a, uint8_t b)
{
    unsigned product = 0;
    for (unsigned bit = 0; bit < 8; bit++)
        if (b >> bit & 1)
            product ^= (unsigned)a << bit;
    for (unsigned bit = 14; bit >= 8; bit--)
        if (product >> bit & 1)
            product ^= 0x11du << (bit - 8);
    return (uint8_t)product;
}

uint8_t ref_inverse(uint8_t a)
{
    for (unsigned b = 1; b < 256; b++)
        if (ref_mul(a, (uint8_t)b) == 1)
            return (uint8_t)b;
    return 0;
}

uint8_t ref_coefficient(unsigned row, unsigned slot)
{
    uint8_t y = (uint8_t)(slot + 8);
    return ref_mul(y, ref_inverse((uint8_t)(row ^ y)));
}

void ref_row(unsigned row, unsigned k, const uint8_t slots[], const uint8_t *const blocks[],
    uint8_t *out, size_t len)
{
    memset(out, 0, len);
    for (unsigned j = 0; j < k; j++) {
        uint8_t c = ref_coefficient(row, slots[j]);
        for (size_t i = 0; blocks[j] && i < len; i++)
            out[i] ^= ref_mul(c, blocks[j][i]);
    }
}

struct ref_random ref_seed(const char *test)
{
    const char *given = getenv("MRMR_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given ? strtoull(given, NULL, 0)
                          : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    printf("%s: MRMR_TEST_SEED=%llu\n", test, (unsigned long long)seed);
    return (struct ref_random){seed ? seed : 1};
}

uint64_t ref_next(struct ref_random *random)
{
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned ref_below(struct ref_random *random, unsigned n)
{
    return (unsigned)((ref_next(random) >> 32) * n >> 32);
}

void ref_fill(struct ref_random *random, uint8_t *buffer, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buffer[i] = (uint8_t)(ref_next(random) >> 56);
}

void ref_distinct(struct ref_random *random, unsigned n, unsigned limit, uint8_t ret[])
{
    uint8_t all[256];
    for (unsigned i = 0; i < limit; i++)
        all[i] = (uint8_t)i;
    for (unsigned i = 0; i < n; i++) {
        unsigned pick = i + ref_below(random, limit - i);
        ret[i] = all[pick];
        all[pick] = all[i];
    }
}

struct ref_guarded ref_guard(struct ref_random *random, size_t len, int before)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (len + page) / page * page;
    struct ref_guarded g = {.map_size = body + 2 * page};
    uint8_t *map =
        mmap(NULL, g.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) ||
        mprotect(map + page + body, page, PROT_NONE)) {
        perror("guarded buffer");
        abort();
    }
    g.map = map;
    g.data = map + page + (before ? 0 : body - len);
    ref_fill(random, g.data, len);
    return g;
}

void ref_unguard(struct ref_guarded *g)
{
    munmap(g->map, g->map_size);
}
