/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who writes over a protected file from its start to its end finds leaves kept ahead of him, several at a time. What is kept and
 * not written over yet is let go of like anything else, and kept anew before it is.
 */
#include "tests/unit/pool_tree_world.h"

#include <stdio.h>

/* Written over are leaves 0 and 1; kept is leaf 2, too. */
static void two_written_one_ahead(struct world *w)
{
    begin(w, RIG_LOCAL, 301);
    overwrite(w, "f0", 0, RIG_MIB);
    assert_int_equal(count_retained(w->rig, 0), 1);
    overwrite(w, "f0", RIG_MIB, 1000);
    /* two symlinks, and the file of them */
    assert_int_equal(count_retained(w->rig, 0), 1 + 2 + 1);
}

static void release(struct world *w, struct pool_retained *retained)
{
    struct pool_job job = rig_job(w->rig);
    rig_ok(pool_retained_release(w->rig->pool, &job, retained));
    pool_retained_free(retained);
}

/* Nothing is protected anew, so that stripes count on what was there. */
static void ends_with_all_readable(struct world *w)
{
    reads_all_but(w->rig, "f0", 0);
    end(w, "f0");
}

static void test_kept_ahead_is_not_kept_again(void **state)
{
    struct world w;
    (void)state;
    two_written_one_ahead(&w);
    overwrite(&w, "f0", 2 * RIG_MIB, 1000);
    assert_int_equal(count_retained(w.rig, 0), 1 + 2 + 1);
    ends_with_all_readable(&w);
}

static void test_let_go_of_and_kept_anew(void **state)
{
    struct pool_retained *retained;
    struct world w;
    (void)state;
    two_written_one_ahead(&w);
    rig_ok(pool_retained_list(w.rig->pool, &retained));
    release(&w, retained);
    assert_int_equal(count_retained(w.rig, 0), 1 + 1 + 1); /* leaf 2 is in its place */
    overwrite(&w, "f0", 2 * RIG_MIB, 1000);
    ends_with_all_readable(&w);
}

static void test_written_over_after_the_list(void **state)
{
    struct pool_retained *retained;
    struct world w;
    (void)state;
    two_written_one_ahead(&w);
    rig_ok(pool_retained_list(w.rig->pool, &retained));
    overwrite(&w, "f0", 2 * RIG_MIB, 1000);
    release(&w, retained);
    ends_with_all_readable(&w);
}

static struct world *tapped;

static void tap_overwrite(struct rig *rig, struct rig_drive *drive)
{
    (void)drive;
    rig_untap(rig);
    overwrite(tapped, "f0", 2 * RIG_MIB, 1000);
}

/* At each read of the look at what is in its place. */
static void test_written_over_while_it_is_looked_at(void **state)
{
    (void)state;
    bool came = true;
    for (uint64_t n = 0; came; n++) {
        struct pool_retained *retained;
        struct world w;
        two_written_one_ahead(&w);
        rig_ok(pool_retained_list(w.rig->pool, &retained));
        tapped = &w;
        rig_tap(w.rig, DRV_FAULT_FILE_READ, n, true, tap_overwrite);
        release(&w, retained);
        came = !w.rig->tap_left;
        rig_untap(w.rig);
        ends_with_all_readable(&w);
    }
}

/* The same bytes once more, which the rig does not know of. */
static void put_copy(struct rig *rig)
{
    const struct rig_file *known = rig_find(rig, "f0");
    mrmr_autofree uint8_t *buf = malloc(known->size);
    struct drv_file *file;
    rig_expected(known, 0, buf, known->size);
    rig_ok(drv_file_open(rig->drive[0].raw, "copy", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, buf, known->size));
    drv_file_close(file);
}

static void overwrite_copy(struct world *w)
{
    static uint8_t noise[RIG_MIB];
    struct pool_tree_file *file = open_file(w, "copy");
    for (uint64_t at = 0; at < 3 * RIG_MIB; at += sizeof noise)
        rig_ok(pool_tree_file_write(file, at, noise, sizeof noise));
    pool_tree_file_close(file);
}

/* What is kept of one serves the other. */
static void test_of_another_file_with_the_same_bytes(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 302);
    close_tree(&w);
    put_copy(w.rig);
    rig_sync_drives(w.rig);
    rig_protect_all(w.rig);
    open_tree(&w);
    overwrite(&w, "f0", 0, 3 * RIG_MIB);
    const unsigned kept = count_retained(w.rig, 0);
    overwrite_copy(&w);
    assert_true(count_retained(w.rig, 0) >= kept);
    ends_with_all_readable(&w);
}

/* As it was, of the copy; the rig does not know that f0 was written over. */
static void all_is_kept(struct rig *rig)
{
    static uint8_t was[RIG_MIB], got[RIG_MIB];
    const struct rig_file *file = rig_find(rig, "f0");
    for (uint64_t at = 0; at < file->size; at += RIG_MIB) {
        const uint32_t size = file->size - at < RIG_MIB ? (uint32_t)(file->size - at) : RIG_MIB;
        rig_expected(file, at, was, size);
        const struct mrmr_digest digest = mrmr_digest_of(was, size);
        rig_ok(pool_retained_read(rig->drive[0].raw, &digest, got, size));
    }
    reads_all_but(rig, "f0", 0);
}

/* What has the same bytes is kept whole since its name went. The change n of the drive fails; false: there were not so many. */
static bool fails_at(uint64_t n, uint64_t times, mrmr_err err)
{
    static uint8_t noise[RIG_MIB];
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_CHANGES, .after = n, .times = times, .err = err};
    struct world w;
    unsigned id;
    begin(&w, RIG_LOCAL, 304);
    close_tree(&w);
    put_copy(w.rig);
    rig_sync_drives(w.rig);
    rig_protect_all(w.rig);
    open_tree(&w);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "copy"));
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(pool_tree_file_write(file, 0, noise, sizeof noise));
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, &id));
    if (pool_tree_file_write(file, RIG_MIB, noise, 1000)) /* leaves 1 and 2 at a time */
        print_message("change %llu: it is not written\n", (unsigned long long)n);
    const bool came = drv_fault_hits(w.rig->drive[0].fault, id) > 0;
    rig_clear_faults(w.rig);
    pool_tree_file_close(file);
    close_tree(&w);
    all_is_kept(w.rig);
    rig_destroy(w.rig);
    return came;
}

static void test_what_fails_takes_nothing_that_was_kept(void **state)
{
    (void)state;
    static const mrmr_err errs[] = {MRMR_SPACE, MRMR_IO};
    for (size_t i = 0; i < (rig_all() ? 2 : 1); i++)
        for (uint64_t times = 0; times < 2; times++) /* for good; once */
            for (uint64_t n = 0; fails_at(n, times, errs[i]); n++)
                ;
}

/* It is kept whole since its name went, and changed by who has it open: that it can be read where it is kept does not do. */
static void test_of_a_file_that_is_kept_whole(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 303);
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    write_part(&w, file, "f0", 0, 3 * RIG_MIB);
    pool_tree_file_close(file);
    rig_find(w.rig, "f0")->there = false;
    ends_with_all_readable(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_ahead_is_not_kept_again),
        cmocka_unit_test(test_let_go_of_and_kept_anew),
        cmocka_unit_test(test_written_over_after_the_list),
        cmocka_unit_test(test_written_over_while_it_is_looked_at),
        cmocka_unit_test(test_of_another_file_with_the_same_bytes),
        cmocka_unit_test(test_what_fails_takes_nothing_that_was_kept),
        cmocka_unit_test(test_of_a_file_that_is_kept_whole),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_ahead", tests, NULL, NULL);
}
