/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is handed out to blocks: each exposed leaf once, whatever is committed between one block and
 * the next.
 */
#include "pool_scan_world.h"

#include "pool/supply.h"

#include <stdio.h>

enum { FILES = 3, LEAVES = 6 };

struct handed {
    struct scan_world *w;
    struct pool_supply supply;
    struct pool_skips skips;
    unsigned files;
    int64_t node[FILES];
    unsigned times[FILES][LEAVES];
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
    pool_supply_init(&h->supply, &h->w->pool, h->w->drive[0]->meta.id, &h->skips);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_leaf_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_committed_meanwhile_is_not_handed_out_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
