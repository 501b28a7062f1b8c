/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is handed out to blocks: each exposed leaf once, whatever is committed between one block and
 * the next; by age, and nothing that is young.
 */
#include "pool_scan_world.h"

#include "pool/stripe/supply.h"

#include <stdio.h>

enum { FILES = 3, LEAVES = 6 };

struct handed {
    struct scan_world *w;
    struct pool_supply supply;
    struct pool_skips skips;
    struct pool_young young;
    unsigned files;
    int64_t node[FILES];
    unsigned times[FILES][LEAVES];
    int64_t last; /* the node that came last */
    unsigned runs;
    int64_t run[16]; /* the nodes in their order */
};

static int setup_of(void **state, unsigned files)
{
    struct handed *h = calloc(1, sizeof *h);
    assert_non_null(h);
    h->w = scan_world_create(false, 2);
    h->files = files;
    for (unsigned i = 0; i < files; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%u", i);
        scan_world_file(h->w, name, LEAVES * LEAF, i);
        scan_world_scan(h->w);
        h->node[i] = scan_world_node(h->w, name).id;
    }
    pool_young_init(&h->young, &h->w->pool, 0);
    pool_supply_init(&h->supply, h->w->drive[0]->meta.id, &h->skips, &h->young);
    *state = h;
    return 0;
}

static int setup(void **state)
{
    return setup_of(state, FILES);
}

static int teardown(void **state)
{
    struct handed *h = *state;
    scan_world_destroy(h->w);
    free(h);
    return 0;
}

static void count(struct handed *h, const struct meta_extent *extent)
{
    for (unsigned f = 0; f < h->files; f++)
        for (uint64_t i = 0; h->node[f] == extent->node && i < extent->leaves; i++)
            h->times[f][extent->first + i]++;
}

/* A block of so many leaves. It is committed at once: its leaves are exposed no longer. */
static uint64_t hand_out(struct handed *h, uint64_t leaves)
{
    struct pool_image image;
    uint64_t bytes = 0;
    pool_image_init(&image);
    assert_ok(pool_supply_pack(&h->supply, &image, 0, leaves * LEAF, 100, &bytes));
    for (size_t i = 0; i < image.head.extents; i++) {
        const struct meta_extent *extent = &image.extent[i];
        count(h, extent);
        if (extent->node != h->last && h->runs < 16)
            h->run[h->runs++] = extent->node;
        h->last = extent->node;
        assert_ok(meta_unexpose(h->w->pool.meta, extent->node, extent->first, extent->leaves));
    }
    pool_image_free(&image);
    return bytes;
}

static void all_once(struct handed *h)
{
    for (unsigned f = 0; f < h->files; f++)
        for (unsigned i = 0; i < LEAVES; i++)
            assert_int_equal(h->times[f][i], 1);
}

static void each_leaf_once(void **state)
{
    struct handed *h = *state;
    while (hand_out(h, 64))
        ;
    all_once(h);
}

/* A range begins further on in the catalog, once its first leaves are committed: it is the same one,
 * and was loaded already. */
static void what_is_committed_meanwhile_is_not_handed_out_again(void **state)
{
    for (unsigned files = 1; files <= FILES; files++)
        for (uint64_t first = 1; first < files * LEAVES; first++) {
            teardown(state);
            setup_of(state, files);
            hand_out(*state, first);
            while (hand_out(*state, 1 + first % 3))
                ;
            all_once(*state);
        }
}

/* --- By age --- */

/* The leaves [first, first + n) of a file have been exposed for so many seconds. */
static void aged(struct handed *h, unsigned file, uint64_t first, uint64_t n, int64_t seconds)
{
    const struct meta_exposed range = {.drive = h->w->drive[0]->meta.id,
        .node = h->node[file],
        .first = first,
        .leaves = n,
        .bytes = n * LEAF,
        .since = seconds == INT64_MAX ? INT64_MIN : h->young.now - seconds * MRMR_NS_PER_S};
    assert_ok(meta_unexpose(h->w->pool.meta, range.node, first, n));
    assert_ok(meta_expose(h->w->pool.meta, &range));
}

static void what_was_exposed_first_comes_first(void **state)
{
    /* Files in the order in which they were scanned, each so many seconds old, and how they come. */
    static const struct {
        int64_t age[FILES];
        unsigned order[FILES];
    } cases[] = {
        {{100, 200, 300}, {2, 1, 0}},
        {{200, 300, 100}, {1, 0, 2}},
        {{3600, 31536000, 86400}, {1, 2, 0}},
        {{10, 30, 20}, {0, 1, 2}},               /* all of one minute: as they were scanned */
        {{10000, 8001, 12000}, {0, 2, 1}},       /* a quarter of an age, likewise */
        {{-31536000, 100, -1}, {1, 0, 2}},       /* a clock was ahead */
        {{0, INT64_MAX, 4000000000}, {1, 2, 0}}, /* or far behind */
        {{1000, 1000, 1000}, {0, 1, 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t block = 1; block <= 64; block *= 64) {
            teardown(state);
            setup_of(state, FILES);
            struct handed *h = *state;
            for (unsigned f = 0; f < FILES; f++)
                aged(h, f, 0, LEAVES, cases[i].age[f]);
            while (hand_out(h, block))
                ;
            all_once(h);
            assert_int_equal(h->runs, FILES);
            for (unsigned f = 0; f < FILES; f++)
                if (h->run[f] != h->node[cases[i].order[f]])
                    fail_msg("case %zu, block %d: place %u", i, (int)block, f);
        }
}

/* Parts of files, each with an age of its own. */
static void parts_of_files(void **state)
{
    struct handed *h = *state;
    for (unsigned f = 0; f < FILES; f++)
        for (unsigned i = 0; i < LEAVES; i += 2) {
            assert_ok(meta_unexpose(h->w->pool.meta, h->node[f], i + 1, 1));
            h->times[f][i + 1] = 1;
            aged(h, f, i, 1, 100 << (4 * (f + i) % 24));
        }
    while (hand_out(h, 2))
        ;
    all_once(h);
}

/* More ranges than a window holds, in each of several spans. */
static void many_ranges(void **state)
{
    enum { RANGES = 3 * POOL_SUPPLY_WINDOW + 7, AGES = 3 };
    static bool seen[RANGES];
    struct handed *h = *state;
    uint64_t bytes, n = 0, age = AGES;
    for (unsigned f = 0; f < FILES; f++)
        assert_ok(meta_unexpose(h->w->pool.meta, h->node[f], 0, LEAVES));
    assert_ok(meta_begin(h->w->pool.meta));
    for (uint64_t i = 0; i < RANGES; i++)
        aged(h, 0, 2 * i, 1, 1000 << (i % AGES));
    assert_ok(meta_commit(h->w->pool.meta));
    do {
        struct pool_image image;
        pool_image_init(&image);
        assert_ok(pool_supply_pack(&h->supply, &image, 0, 64 * LEAF, 100, &bytes));
        for (size_t i = 0; i < image.head.extents; i++) {
            uint64_t range = image.extent[i].first / 2;
            assert_false(seen[range]);
            seen[range] = true;
            n++;
            assert_true(range % AGES < age); /* the oldest come first */
            age = range % AGES + 1;
            assert_ok(meta_unexpose(h->w->pool.meta, h->node[0], 2 * range, 1));
        }
        pool_image_free(&image);
    } while (bytes);
    assert_int_equal(n, RANGES);
}

static void what_is_young_is_not_handed_out(void **state)
{
    struct handed *h = *state;
    h->young.settle = 60 * MRMR_NS_PER_S;
    for (unsigned f = 0; f < FILES; f++) {
        struct meta_node node;
        assert_ok(meta_node_get(h->w->pool.meta, h->node[f], &node));
        node.mtime = node.ctime = h->young.now - (f == 1 ? 59 : 61) * MRMR_NS_PER_S;
        assert_ok(meta_node_store(h->w->pool.meta, &node));
        aged(h, f, 0, LEAVES, 100 * (int64_t)f);
    }
    while (hand_out(h, 4))
        ;
    for (unsigned f = 0; f < FILES; f++)
        for (unsigned i = 0; i < LEAVES; i++)
            assert_int_equal(h->times[f][i], f != 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_leaf_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_committed_meanwhile_is_not_handed_out_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_exposed_first_comes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_of_files, setup, teardown),
        cmocka_unit_test_setup_teardown(many_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_young_is_not_handed_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
