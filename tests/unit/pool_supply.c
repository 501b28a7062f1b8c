/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is exposed is handed out leaf by leaf, each once, also while what was handed out before is
 * being committed.
 */
#include "pool/supply.h"
#include "tests/support/rig.h"

/* How often each leaf of a file was handed out. */
static void count_leaves(const struct pool_image *image, int64_t node, unsigned times[], size_t n)
{
    for (size_t i = 0; i < image->head.extents; i++)
        for (uint64_t leaf = 0; image->extent[i].node == node && leaf < image->extent[i].leaves;
             leaf++) {
            assert_true(image->extent[i].first + leaf < n);
            times[image->extent[i].first + leaf]++;
        }
}

/* A block takes the front of the last range, and is committed before the next one is packed: the
 * rest of that range is in the window and in the catalog, as a range that begins later. */
static void test_a_commit_between_two_blocks(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.seed = 71});
    static struct pool_supply supply;
    struct pool_skips skips = {0};
    struct pool_image image;
    uint64_t bytes;
    rig_put(rig, 0, "a", 3 * RIG_MIB + 77);
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    struct meta_node node = rig_node(rig, "a");
    unsigned times[4] = {0};
    pool_supply_init(&supply, rig->pool, node.drive, &skips);
    for (unsigned block = 0; block < 4; block++) {
        pool_image_init(&image);
        rig_ok(pool_supply_pack(&supply, &image, 0, RIG_MIB, 64, &bytes));
        assert_int_equal(bytes, block < 3 ? RIG_MIB : 77);
        count_leaves(&image, node.id, times, 4);
        pool_image_free(&image);
        rig_ok(meta_unexpose(rig->pool->meta, node.id, block, 1));
    }
    pool_image_init(&image);
    rig_ok(pool_supply_pack(&supply, &image, 0, RIG_MIB, 64, &bytes));
    assert_int_equal(bytes, 0);
    pool_image_free(&image);
    for (unsigned leaf = 0; leaf < 4; leaf++)
        assert_int_equal(times[leaf], 1);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_commit_between_two_blocks),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
