/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was brought to another drive, since its own is full, counts where it was until it is protected there (I6): neither a
 * release nor a scan takes it for what nobody wants, and whoever loses the drive that it went to has what was protected of it.
 */
#include "pool/brought.h"
#include "tests/unit/pool_tree_world.h"

#include <stdio.h>
#include <string.h>

static void sync_with(struct rig *rig, const struct pool_sync_options *options)
{
    struct pool_job job = rig_job(rig);
    rig_ok(pool_sync(rig->pool, &job, options, &rig->report));
}

static void release(struct rig *rig)
{
    sync_with(rig, &(struct pool_sync_options){.release = true});
}

/* The scan finds it, and nothing new is protected. */
static void sync_waits(struct rig *rig)
{
    sync_with(rig, &(struct pool_sync_options){.settle = 3600});
}

static bool is_known(struct rig *rig, unsigned drive, const char *path)
{
    struct meta_node node;
    return !meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, drive)->meta.root, path, &node);
}

static size_t records(struct rig *rig)
{
    struct pool_brought brought;
    rig_ok(pool_brought_load(rig->pool, &brought));
    const size_t n = brought.n;
    pool_brought_free(&brought);
    return n;
}

/* f0 leaves drive 0, which is full, for room to append to it. Where it is now. */
static unsigned bring(struct world *w)
{
    struct rig_file *file = rig_find(w->rig, "f0");
    unsigned to = 0;
    drive_is_full(w->rig, 0);
    overwrite(w, "f0", file->size, RIG_MIB + 100);
    rig_clear_faults(w->rig);
    assert_int_equal(drives_with(w->rig, "f0"), 1);
    while (!rig_holds(w->rig, to, "f0"))
        to++;
    assert_true(to > 0);
    file->drive = to;
    assert_int_equal(records(w->rig), 1);
    return to;
}

/* Those that were protected, and are as they were: the last one was short, and is longer now. */
static void has_whole_leaves(struct rig *rig, const char *path)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    struct pool_file *file;
    rig_ok(pool_file_open(rig->pool, path, 0, &file));
    for (uint64_t leaf = 0; leaf + 1 < FILE_LEAVES; leaf++) {
        size_t n;
        rig_ok(pool_file_read(file, leaf * RIG_LEAF, got, RIG_LEAF, &n));
        assert_int_equal(n, RIG_LEAF);
        rig_expected(rig_find(rig, path), leaf * RIG_LEAF, wanted, n);
        assert_memory_equal(got, wanted, n);
    }
    pool_file_close(file);
}

static void without(struct rig *rig, unsigned a, unsigned b, const char *path)
{
    rig_take_away(rig, a);
    if (b != a)
        rig_take_away(rig, b);
    rig_reopen(rig);
    has_whole_leaves(rig, path);
    rig_bring_back(rig, a);
    if (b != a)
        rig_bring_back(rig, b);
    rig_reopen(rig);
}

static void margins_are_whole(struct rig *rig)
{
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        struct meta_stripe image = rig_stripe_of(rig, path, 0);
        assert_int_equal(pool_image_margin(rig->pool, &image), 2);
        meta_stripe_free(&image);
    }
}

static void test_a_release_leaves_it(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 401);
    const unsigned to = bring(&w), n = count_retained(w.rig, 0);
    assert_true(n > FILE_LEAVES);
    release(w.rig);
    assert_int_equal(w.rig->report.retained_leaves, 0);
    assert_int_equal(count_retained(w.rig, 0), n);
    assert_true(is_known(w.rig, 0, "f0"));
    reads_all_but(w.rig, "f0", to);
    close_tree(&w);
    end_after(&w);
}

/* It stands in for the copy, while that waits to be protected; with the copy's drive lost, and another one, the one that it
 * came from or any. */
static void test_it_stands_in(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 402);
    const unsigned to = bring(&w), n = count_retained(w.rig, 0);
    close_tree(&w);
    sync_waits(w.rig);
    assert_true(w.rig->report.exposed_bytes > 0);
    assert_false(is_known(w.rig, 0, "f0"));
    assert_true(is_known(w.rig, to, "f0"));
    release(w.rig);
    assert_int_equal(records(w.rig), 0);
    assert_in_range(count_retained(w.rig, 0), FILE_LEAVES, n);
    reads_all_but(w.rig, "f0", to);
    for (unsigned d = 0; d < DRIVES; d++)
        without(w.rig, to, d, "f0");
    rig_protect_all(w.rig);
    end_after(&w);
}

/* A sync that does not wait protects it before it lets go of anything. */
static void test_it_is_protected(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 403);
    bring(&w);
    close_tree(&w);
    rig_protect_all(w.rig);
    assert_int_equal(records(w.rig), 0);
    assert_int_equal(count_retained(w.rig, 0), 0);
    end_after(&w);
}

/* Nobody can tell what became of the copy: all stays as it is, scan after scan. */
static void test_its_drive_is_away(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 404);
    const unsigned to = bring(&w), n = count_retained(w.rig, 0);
    close_tree(&w);
    rig_take_away(w.rig, to);
    rig_reopen(w.rig);
    for (unsigned i = 0; i < 2; i++) {
        rig_sync(w.rig);
        release(w.rig);
        assert_true(is_known(w.rig, 0, "f0"));
        assert_int_equal(count_retained(w.rig, 0), n);
        assert_int_equal(w.rig->report.drives_held, 0);
    }
    rig_bring_back(w.rig, to);
    rig_reopen(w.rig);
    sync_waits(w.rig);
    without(w.rig, to, to, "f0");
    end_after(&w);
}

/* The copy was changed, removed, or replaced since: of what counted nobody is worse off for it. */
static void test_the_copy_changes(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        struct world w;
        begin(&w, RIG_LOCAL, 405);
        const unsigned to = bring(&w);
        if (how % 2) {
            close_tree(&w);
            sync_waits(w.rig);
            open_tree(&w);
        }
        if (how < 2)
            overwrite(&w, "f0", 100, RIG_MIB);
        else {
            rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
            rig_find(w.rig, "f0")->there = false;
        }
        close_tree(&w);
        release(w.rig);
        reads_all_but(w.rig, "f0", to);
        no_new_rows(w.rig);
        sync_waits(w.rig);
        rig_clear_faults(w.rig);
        margins_are_whole(w.rig);
        reads_all_but(w.rig, "f0", to);
        end_after(&w);
    }
}

/* Brought once more before anybody looked. */
static void test_brought_again(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 406);
    const unsigned first = bring(&w);
    drive_is_full(w.rig, 0);
    drive_is_full(w.rig, first);
    overwrite(&w, "f0", rig_find(w.rig, "f0")->size, RIG_MIB);
    rig_clear_faults(w.rig);
    unsigned to = 0;
    while (!rig_holds(w.rig, to, "f0"))
        to++;
    assert_true(to != first);
    rig_find(w.rig, "f0")->drive = to;
    assert_int_equal(records(w.rig), 2);
    close_tree(&w);
    release(w.rig);
    assert_true(is_known(w.rig, 0, "f0"));
    sync_waits(w.rig);
    without(w.rig, to, 0, "f0");
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_release_leaves_it),
        cmocka_unit_test(test_it_stands_in),
        cmocka_unit_test(test_it_is_protected),
        cmocka_unit_test(test_its_drive_is_away),
        cmocka_unit_test(test_the_copy_changes),
        cmocka_unit_test(test_brought_again),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_brought", tests, NULL, NULL);
}
