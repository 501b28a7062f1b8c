/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Exposed ranges, by example and against a plain array of leaves.
 */
#include "meta_support.h"

static struct meta_exposed range(
    const struct meta_node *node, uint64_t first, uint64_t leaves, uint64_t tail, int64_t since)
{
    return (struct meta_exposed){
        node->drive, node->id, first, leaves, (leaves - 1) * META_LEAF + tail, since};
}

static void expose(struct world *w, const struct meta_node *node, uint64_t first, uint64_t leaves,
    uint64_t tail, int64_t since)
{
    struct meta_exposed r = range(node, first, leaves, tail, since);
    assert_ok(meta_expose(w->meta, &r));
}

static void assert_ranges(struct world *w, const struct meta_node *node, const char *want)
{
    struct meta_exposed *ranges;
    size_t n;
    struct mrmr_bytes got = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&got, ""));
    assert_ok(meta_exposed_of(w->meta, node->id, &ranges, &n));
    for (size_t i = 0; i < n; i++)
        assert_ok(mrmr_bytes_fmt(&got, "%llu+%llu-%llu@%lld ", (unsigned long long)ranges[i].first,
            (unsigned long long)ranges[i].leaves,
            (unsigned long long)(ranges[i].leaves * META_LEAF - ranges[i].bytes),
            (long long)ranges[i].since));
    assert_string_equal(got.data, want);
    mrmr_bytes_free(&got);
    free(ranges);
}

static void merge_and_split(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct meta_node f = make_node(w, &d, d.root, "f", META_REG, 10 * META_LEAF - 6);
    assert_ranges(w, &f, "");
    expose(w, &f, 2, 2, META_LEAF, 50);
    expose(w, &f, 6, 1, META_LEAF, 60);
    assert_ranges(w, &f, "2+2-0@50 6+1-0@60 ");
    expose(w, &f, 4, 1, META_LEAF, 40); /* touches the first */
    assert_ranges(w, &f, "2+3-0@40 6+1-0@60 ");
    expose(w, &f, 5, 1, META_LEAF, 70); /* joins both; the oldest counts */
    assert_ranges(w, &f, "2+5-0@40 ");
    expose(w, &f, 3, 1, META_LEAF, 1); /* inside */
    assert_ranges(w, &f, "2+5-0@1 ");
    expose(w, &f, 9, 1, META_LEAF - 6, 5); /* the short last leaf */
    expose(w, &f, 7, 2, META_LEAF, 5);
    assert_ranges(w, &f, "2+8-6@1 ");
    assert_ok(meta_unexpose(w->meta, f.id, 4, 2));
    assert_ranges(w, &f, "2+2-0@1 6+4-6@1 ");
    assert_ok(meta_unexpose(w->meta, f.id, 0, 3));
    assert_ok(meta_unexpose(w->meta, f.id, 9, 100));
    assert_ranges(w, &f, "3+1-0@1 6+3-0@1 ");
    assert_ok(meta_unexpose(w->meta, f.id, 4, 2)); /* nothing there */
    assert_ok(meta_unexpose(w->meta, f.id, 8, 0));
    assert_ranges(w, &f, "3+1-0@1 6+3-0@1 ");
    assert_ok(meta_unexpose(w->meta, f.id, 0, UINT64_MAX));
    assert_ranges(w, &f, "");
    /* A file that grew: its last leaf is whole now. */
    expose(w, &f, 0, 3, 10, 1);
    expose(w, &f, 2, 3, 20, 1);
    char want[64];
    snprintf(want, sizeof want, "0+5-%llu@1 ", (unsigned long long)META_LEAF - 20);
    assert_ranges(w, &f, want);
}

static void refused(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct meta_node f = make_node(w, &d, d.root, "f", META_REG, 10);
    struct meta_exposed r = range(&f, 0, 1, 10, 1);
    r.bytes = 0;
    assert_err(meta_expose(w->meta, &r), MRMR_INVALID);
    r.bytes = META_LEAF + 1;
    assert_err(meta_expose(w->meta, &r), MRMR_INVALID);
    r = range(&f, 0, 2, 10, 1);
    r.bytes = META_LEAF;
    assert_err(meta_expose(w->meta, &r), MRMR_INVALID);
    r = range(&f, UINT64_MAX, 1, 10, 1);
    assert_err(meta_expose(w->meta, &r), MRMR_INVALID);
    r = range(&f, 0, UINT64_MAX, 10, 1);
    assert_err(meta_expose(w->meta, &r), MRMR_INVALID);
    r = range(&f, 0, 1, 10, 1);
    r.drive++;
    assert_err(meta_expose(w->meta, &r), MRMR_INVALID);
    r = range(&f, 0, 1, 10, 1);
    r.node = d.root;
    assert_err(meta_expose(w->meta, &r), MRMR_INVALID);
    r.node = 99;
    assert_err(meta_expose(w->meta, &r), MRMR_ABSENT);
    assert_err(meta_unexpose(w->meta, 99, 0, 1), MRMR_ABSENT);
    assert_ranges(w, &f, "");
}

static void listed_and_summed(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_node a = make_node(w, &d[0], d[0].root, "a", META_REG, 10 * META_LEAF);
    struct meta_node b = make_node(w, &d[1], d[1].root, "b", META_REG, 10 * META_LEAF);
    struct meta_node c = make_node(w, &d[0], d[0].root, "c", META_REG, 10 * META_LEAF);
    struct meta_exposed got[2];
    struct meta_exposed_total total;
    size_t n;
    assert_ok(meta_exposed_total(w->meta, 0, &total));
    assert_int_equal(total.bytes + total.files + (uint64_t)total.oldest, 0);
    for (int i = 0; i < 3; i++)
        expose(w, &c, (uint64_t)i * 2, 1, META_LEAF, 30 + i);
    expose(w, &a, 1, 2, 7, 40);
    expose(w, &b, 0, 1, 9, 20);
    assert_ok(meta_exposed_total(w->meta, d[0].id, &total));
    assert_int_equal(total.bytes, 4 * META_LEAF + 7);
    assert_int_equal(total.files, 2);
    assert_int_equal(total.oldest, 30);
    assert_ok(meta_exposed_total(w->meta, 0, &total));
    assert_int_equal(total.bytes, 4 * META_LEAF + 16);
    assert_int_equal(total.files, 3);
    assert_int_equal(total.oldest, 20);
    assert_ok(meta_exposed_after(w->meta, d[0].id, 0, 0, got, 2, &n));
    assert_int_equal(n, 2);
    assert_int_equal(got[0].node, a.id);
    assert_int_equal(got[0].bytes, META_LEAF + 7);
    assert_int_equal(got[1].node, c.id);
    assert_int_equal(got[1].drive, d[0].id);
    assert_ok(meta_exposed_after(w->meta, d[0].id, c.id, got[1].first, got, 2, &n));
    assert_int_equal(n, 2);
    assert_int_equal(got[0].first, 2);
    assert_int_equal(got[1].first, 4);
    assert_ok(meta_exposed_after(w->meta, d[0].id, c.id, 4, got, 2, &n));
    assert_int_equal(n, 0);
    /* The node moves to another drive, and its ranges with it. */
    a.drive = d[1].id;
    assert_ok(meta_node_store(w->meta, &a));
    assert_ok(meta_exposed_total(w->meta, d[1].id, &total));
    assert_int_equal(total.files, 2);
}

static void listed_by_age(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_node a = make_node(w, &d[0], d[0].root, "a", META_REG, 10 * META_LEAF);
    struct meta_node b = make_node(w, &d[1], d[1].root, "b", META_REG, 10 * META_LEAF);
    struct meta_exposed got[8];
    int64_t since = -1;
    bool any = true;
    size_t n;
    assert_ok(meta_exposed_oldest(w->meta, d[0].id, INT64_MIN, &any, &since));
    assert_false(any);
    assert_int_equal(since, -1);
    expose(w, &b, 0, 1, META_LEAF, 5);
    expose(w, &a, 0, 1, META_LEAF, 30);
    expose(w, &a, 2, 1, META_LEAF, INT64_MAX);
    expose(w, &a, 4, 1, META_LEAF, INT64_MIN);
    expose(w, &a, 6, 1, META_LEAF, 20);
    static const struct {
        int64_t from, oldest;
    } steps[] = {{INT64_MIN, INT64_MIN}, {0, 20}, {20, 20}, {21, 30}, {31, INT64_MAX},
        {INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_ok(meta_exposed_oldest(w->meta, d[0].id, steps[i].from, &any, &since));
        assert_true(any);
        assert_int_equal(since, steps[i].oldest);
    }
    assert_ok(meta_exposed_aged(w->meta, d[0].id, 20, 30, 0, 0, got, 8, &n)); /* both included */
    assert_int_equal(n, 2);
    assert_int_equal(got[0].first, 0);
    assert_int_equal(got[1].first, 6);
    assert_ok(meta_exposed_aged(w->meta, d[0].id, INT64_MIN, 30, a.id - 1, 99, got, 2, &n));
    assert_int_equal(n, 2);
    assert_int_equal(got[0].first, 0);
    assert_int_equal(got[1].first, 4);
    assert_ok(meta_exposed_aged(w->meta, d[0].id, INT64_MIN, 30, a.id, 4, got, 8, &n));
    assert_int_equal(n, 1);
    assert_int_equal(got[0].first, 6);
    assert_int_equal(got[0].since, 20);
    assert_ok(meta_exposed_aged(w->meta, d[0].id, 21, 29, 0, 0, got, 8, &n));
    assert_int_equal(n, 0);
    assert_ok(meta_exposed_oldest(w->meta, d[1].id, 6, &any, &since));
    assert_false(any);
}

/* A leaf is exposed since some time, or not (0); its size only matters for the last. */
#define LEAVES 40
static void model(void **state)
{
    struct world *w = *state;
    struct rng rng = rng_seeded(__func__);
    struct meta_drive d = make_drive(w, "one");
    struct meta_node f = make_node(w, &d, d.root, "f", META_REG, (LEAVES - 1) * META_LEAF + 77);
    bool exposed[LEAVES] = {false};
    assert_ok(meta_begin(w->meta));
    for (int step = 0; step < 4000; step++) {
        uint64_t first = rng_below(&rng, LEAVES);
        uint64_t leaves = 1 + rng_below(&rng, rng_below(&rng, 4) ? 4 : LEAVES);
        if (leaves > LEAVES - first)
            leaves = LEAVES - first;
        bool add = rng_below(&rng, 2);
        if (add)
            expose(w, &f, first, leaves, first + leaves == LEAVES ? 77 : META_LEAF, 1 + step);
        else
            assert_ok(meta_unexpose(w->meta, f.id, first, leaves));
        for (uint64_t i = first; i < first + leaves; i++)
            exposed[i] = add;

        struct meta_exposed *ranges;
        size_t n, at = 0;
        assert_ok(meta_exposed_of(w->meta, f.id, &ranges, &n));
        for (uint64_t i = 0; i < LEAVES;) {
            if (!exposed[i]) {
                i++;
                continue;
            }
            uint64_t end = i;
            while (end < LEAVES && exposed[end])
                end++;
            assert_true(at < n); /* maximal runs, in order, and no others */
            assert_int_equal(ranges[at].first, i);
            assert_int_equal(ranges[at].leaves, end - i);
            assert_int_equal(
                ranges[at].bytes, (end - i) * META_LEAF - (end == LEAVES ? META_LEAF - 77 : 0));
            at++;
            i = end;
        }
        assert_int_equal(at, n);
        free(ranges);
    }
    assert_ok(meta_commit(w->meta));
    assert_ok(meta_check(w->meta));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(merge_and_split),
        TEST(refused),
        TEST(listed_and_summed),
        TEST(listed_by_age),
        TEST(model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
