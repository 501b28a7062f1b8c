/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Leaves that are made for readers: each once for all who read parts of it, the next ones ahead of
 * who goes on, and no more kept than was said.
 */
#include "pool/stripe/leaf_cache.h"
#include "tests/support/rig.h"

#include <sched.h>
#include <stdio.h>

enum { LEAVES = 24, AHEAD = 8, PIECE = 65536, GONE = 0, SURVIVOR = 1 };

struct leaves {
    struct rig *rig;
    struct pool_file *file; /* on the drive that is away */
    struct leaf_cache *cache;
    unsigned counter; /* of what the survivor is asked for */
};

static void begin(struct leaves *l, size_t kept, unsigned threads)
{
    l->rig = rig_create(&(struct rig_spec){.drives = 3, .redundancy = 1});
    for (unsigned i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%u", i);
        rig_put(l->rig, i, name, LEAVES * RIG_LEAF - 100);
    }
    rig_sync(l->rig);
    rig_take_away(l->rig, GONE);
    rig_reopen(l->rig);
    rig_ok(pool_file_open(l->rig->pool, "f0", POOL_READ_VERIFY, &l->file));
    l->counter = rig_count_reads(l->rig, SURVIVOR, "f1");
    rig_ok(leaf_cache_create(kept, threads, &l->cache));
}

static void end(struct leaves *l)
{
    leaf_cache_leave(l->cache, l->file);
    leaf_cache_destroy(l->cache);
    pool_file_close(l->file);
    rig_destroy(l->rig);
}

/* How often the survivor was asked: once for each leaf that was made. */
static uint64_t made(struct leaves *l)
{
    return rig_reads(l->rig, SURVIVOR, l->counter);
}

static size_t leaf_size(uint64_t leaf)
{
    return leaf < LEAVES - 1 ? RIG_LEAF : RIG_LEAF - 100;
}

static void reads(struct leaves *l, uint64_t leaf, size_t from, size_t size)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    rig_ok(leaf_cache_read(l->cache, l->file, leaf, from, got, size));
    rig_expected(rig_find(l->rig, "f0"), leaf * RIG_LEAF + from, wanted, size);
    assert_memory_equal(got, wanted, size);
}

static void test_once_for_all_its_parts(void **state)
{
    struct leaves l;
    (void)state;
    begin(&l, LEAVES, 1);
    for (uint64_t leaf = 0; leaf < LEAVES; leaf++)
        for (size_t at = 0; at < leaf_size(leaf); at += PIECE)
            reads(&l, leaf, at, leaf_size(leaf) - at < PIECE ? leaf_size(leaf) - at : PIECE);
    assert_int_equal(made(&l), LEAVES);
    for (uint64_t leaf = LEAVES; leaf-- > 0;)
        reads(&l, leaf, 10, 10);
    assert_int_equal(made(&l), LEAVES);
    end(&l);
}

static void test_no_more_are_kept(void **state)
{
    enum { KEPT = 4, STEP = 3 };
    struct leaves l;
    (void)state;
    begin(&l, KEPT, 0);
    /* None follows another, so nobody is ahead: the last ones are those that are kept. */
    for (uint64_t i = 0; i < LEAVES / STEP; i++)
        reads(&l, i * STEP + 1, 0, RIG_LEAF / 2);
    assert_int_equal(made(&l), LEAVES / STEP);
    for (uint64_t i = LEAVES / STEP - KEPT; i < LEAVES / STEP; i++)
        reads(&l, i * STEP + 1, RIG_LEAF / 2, 1000);
    assert_int_equal(made(&l), LEAVES / STEP);
    reads(&l, (LEAVES / STEP - KEPT - 1) * STEP + 1, 0, 1);
    assert_int_equal(made(&l), LEAVES / STEP + 1);
    end(&l);
}

/* Waits until so many were made. */
static void comes_to(struct leaves *l, uint64_t n)
{
    while (made(l) < n)
        sched_yield();
}

static void test_ahead_of_who_goes_on(void **state)
{
    struct leaves l;
    (void)state;
    begin(&l, LEAVES, 2);
    reads(&l, 5, 0, 1); /* somewhere: nobody knows how it goes on */
    reads(&l, 6, 0, 1);
    comes_to(&l, 2 + AHEAD);
    for (uint64_t leaf = 6; leaf <= 6 + AHEAD; leaf++)
        reads(&l, leaf, 0, leaf_size(leaf));
    comes_to(&l, 2 + 2 * AHEAD);
    leaf_cache_leave(l.cache, l.file);
    assert_int_equal(made(&l), 2 + 2 * AHEAD);
    end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_for_all_its_parts),
        cmocka_unit_test(test_no_more_are_kept),
        cmocka_unit_test(test_ahead_of_who_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
