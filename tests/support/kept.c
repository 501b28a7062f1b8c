/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/kept.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- what is asked --- */

void reads_but(struct rig *rig, const char *but)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    for (size_t i = 0; i < rig->files; i++) {
        const struct rig_file *file = &rig->file[i];
        struct pool_file *f = NULL;
        if (!file->there || (but && strcmp(file->path, but) == 0))
            continue;
        rig_ok(pool_file_open(rig->pool, file->path, 0, &f));
        for (uint64_t at = 0; at < file->size; at += RIG_LEAF) {
            size_t n;
            if (pool_file_read(f, at, got, RIG_LEAF, &n))
                fail_msg(
                    "%s at %" PRIu64 ": %s", file->path, at, mrmr_err_name(mrmr_story_get()->err));
            rig_expected(file, at, wanted, n);
            assert_memory_equal(got, wanted, n);
        }
        pool_file_close(f);
    }
}

void reads_without(struct rig *rig, unsigned a, unsigned b, const char *but, unsigned its_drive)
{
    if (a == its_drive || b == its_drive || a == b)
        return;
    rig_take_away(rig, a);
    rig_take_away(rig, b);
    reads_but(rig, but);
    rig_bring_back(rig, a);
    rig_bring_back(rig, b);
    pool_views_forget(rig->pool, 0);
}

void reads_all_but(struct rig *rig, const char *but, unsigned its_drive)
{
    static unsigned turn; /* normally every third choice, another one each time */
    unsigned choice = 0;
    const bool all = rig_all();
    turn++;
    for (unsigned a = 0; a < rig->n; a++)
        for (unsigned b = a + 1; b < rig->n; b++)
            if (a != its_drive && b != its_drive && (all || (choice++ + turn) % 3 == 0))
                reads_without(rig, a, b, but, its_drive);
}

mrmr_err count_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name, (void)err;
    *(unsigned *)arg += stat && stat->type != DRV_DIR;
    return MRMR_OK;
}

mrmr_err list_name(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)stat, (void)err;
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

unsigned count_retained(struct rig *rig, unsigned drive)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct drv *raw = rig->drive[drive].raw;
    unsigned n = 0;
    if (drv_list(raw, POOL_RETAINED, list_name, &names))
        return 0;
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) {
        char path[POOL_RETAINED_PATH];
        snprintf(path, sizeof path, POOL_RETAINED "/%.80s", names.data + at);
        rig_ok(drv_list(raw, path, count_entry, &n));
    }
    mrmr_bytes_free(&names);
    return n;
}

void no_new_rows(struct rig *rig)
{
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_CREATE, .prefix = ".mrmr/parity", .err = MRMR_SPACE};
    for (unsigned d = 0; d < rig->n; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
}

void nobody_suffers(struct rig *rig, const char *changed)
{
    assert_true(count_retained(rig, 0) > 0);
    reads_all_but(rig, changed, 0); /* what it was is what the catalog knows of it so far */
    no_new_rows(rig);
    rig_sync(rig);
    assert_int_equal(rig->report.held, 0);
    assert_true(count_retained(rig, 0) > 0);
    reads_all_but(rig, NULL, 0);
    for (unsigned d = 1; d < rig->n; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        struct meta_stripe image = rig_stripe_of(rig, path, 0);
        assert_int_equal(pool_image_margin(rig->pool, &image), 2);
        meta_stripe_free(&image);
    }
    rig_reopen(rig);
    reads_all_but(rig, NULL, 0);
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_sync(rig); /* what was listed before the rows were made goes now, at the latest */
    assert_int_equal(count_retained(rig, 0), 0);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}
