/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where rows go: what a drive's role, its domain and its limit say (I6).
 */
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>

static void set(struct rig *rig, unsigned drive, const char *key, const char *value)
{
    char name[64];
    snprintf(name, sizeof name, "drive.d%u.%s", drive, key);
    rig_ok(pool_set(rig->pool, name, value));
}

/* A file that nobody looks at: the drive is fuller by it, and others are chosen first. */
static void make_fuller(struct rig *rig, unsigned drive, uint64_t bytes)
{
    struct drv_file *file = NULL;
    static uint8_t buf[RIG_LEAF];
    rig_ok(drv_file_open(
        rig->drive[drive].raw, "ballast", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    for (uint64_t at = 0; at < bytes; at += sizeof buf)
        rig_ok(drv_file_write(file, at, buf, sizeof buf));
    drv_file_close(file);
}

struct rows {
    struct rig *rig;
    unsigned n[RIG_DRIVES_MAX];
    unsigned apart; /* stripes of which no two members share a domain */
    unsigned stripes;
};

static mrmr_err rows_add(const struct meta_stripe_brief *brief, void *arg)
{
    struct rows *rows = arg;
    const struct pool_drive *drive[META_SLOTS_MAX + META_ROWS_MAX];
    size_t n = 0;
    bool apart = true;
    for (uint32_t i = 0; i < brief->blocks; i++)
        drive[n++] = pool_drive_by_id(rows->rig->pool, brief->block[i].drive);
    for (uint32_t i = 0; i < brief->rows; i++) {
        drive[n++] = pool_drive_by_id(rows->rig->pool, brief->row[i].drive);
        rows->n[brief->row[i].drive - 1]++;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            apart = apart && strcmp(drive[i]->meta.domain, drive[j]->meta.domain) != 0;
    rows->apart += apart;
    rows->stripes++;
    return MRMR_OK;
}

static struct rows rows_of(struct rig *rig)
{
    struct rows rows = {.rig = rig};
    rig_ok(meta_stripes(rig->pool->meta, rows_add, &rows));
    return rows;
}

static mrmr_err count_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name, (void)stat, (void)err;
    ++*(unsigned *)arg;
    return MRMR_OK;
}

/* In the catalog and on the drive itself. */
static void has_no_rows(struct rig *rig, unsigned drive)
{
    unsigned entries = 0;
    assert_int_equal(rows_of(rig).n[drive], 0);
    mrmr_err err = drv_list(rig->drive[drive].raw, ".mrmr/parity", count_entry, &entries);
    assert_true(!err || err == MRMR_ABSENT);
    assert_int_equal(entries, 0);
}

/* Its files are protected like others, and no job gives it a row, although it is the emptiest. */
static void test_a_removable_drive_never_gets_a_row(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 6, .seed = 81});
    char path[32];
    set(rig, 5, "role", "removable");
    for (unsigned d = 0; d < 3; d++) {
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 3 * RIG_MIB);
    }
    rig_put(rig, 5, "f5", RIG_MIB);
    rig_protect_all(rig);
    has_no_rows(rig, 5);
    assert_string_equal(rig_states(rig, "f5"), "L");
    rig_ok(pool_set_redundancy(rig->pool, 3)); /* deepened */
    rig_put(rig, 3, "f3", RIG_MIB);            /* widened */
    rig_protect_all(rig);
    has_no_rows(rig, 5);
    rig_ok(pool_set_redundancy(rig->pool, 2));
    rig_sync(rig);
    rig_close(rig);
    rig_take_away(rig, 4); /* its rows are made again elsewhere */
    rig_open(rig);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d4"}, &report));
    rig_protect_all(rig);
    has_no_rows(rig, 5);
    rig_check(rig);
    assert_true(rig_verify(rig, true) > 0);
    /* Five drives are left, of which four may hold rows. */
    assert_int_equal(pool_set_redundancy(rig->pool, 5), MRMR_INVALID);
    rig_destroy(rig);
}

/* Two drives fail together: blocks and rows lie one in each domain where that can be, when a stripe
 * is made, and when a row of it is made again. */
static void test_domains_are_kept_apart(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 6, .redundancy = 1, .seed = 82});
    static const char *const domain[] = {"a", "a", "b", "b", "c", "c"};
    char path[32];
    for (unsigned d = 0; d < 6; d++)
        set(rig, d, "domain", domain[d]);
    rig_ok(pool_set(rig->pool, "exclude", "ballast"));
    make_fuller(rig, 4, 60 * RIG_MIB); /* the others of the same domains are emptier by far */
    make_fuller(rig, 5, 70 * RIG_MIB);
    for (unsigned d = 0; d < 4; d += 2)
        for (unsigned i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "d%u/%u", d, i);
            rig_put(rig, d, path, 2 * RIG_MIB);
        }
    rig_protect_all(rig);
    struct rows rows = rows_of(rig);
    assert_true(rows.stripes >= 4);
    assert_int_equal(rows.apart, rows.stripes);
    struct pool_status status;
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.domain_unsafe, 0);
    unsigned lost = rows.n[4] ? 4 : 5;
    assert_true(rows.n[lost] > 0);
    char name[8];
    snprintf(name, sizeof name, "d%u", lost);
    rig_close(rig);
    rig_take_away(rig, lost);
    rig_open(rig);
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = name}, &report));
    rig_protect_all(rig);
    rows = rows_of(rig);
    assert_int_equal(rows.apart, rows.stripes);
    assert_int_equal(rows.n[lost], 0);
    assert_int_equal(rows.n[lost == 4 ? 5 : 4], rows.stripes);
    rig_check(rig);
    assert_true(rig_verify(rig, true) > 0);
    rig_destroy(rig);
}

/* Where there are too few domains, protection comes first. */
static void test_too_few_domains_cost_no_protection(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 4, .redundancy = 2, .seed = 83});
    for (unsigned d = 0; d < 4; d++)
        set(rig, d, "domain", d < 3 ? "one" : "two");
    rig_put(rig, 0, "f0", 2 * RIG_MIB);
    rig_protect_all(rig);
    struct pool_status status;
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.exposed_bytes, 0);
    assert_int_equal(status.margin[2], 1);
    assert_true(rows_of(rig).n[3] > 0); /* one of them, at least */
    assert_true(rig_verify(rig, true) > 0);
    rig_destroy(rig);
}

/* What a drive holds stays within its limit, files and rows together, however empty it is. */
static void test_a_limit_holds_for_rows(void **state)
{
    (void)state;
    const uint64_t limit = 5 * RIG_MIB;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 5, .redundancy = 1, .seed = 84});
    char text[32], path[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)limit);
    rig_put(rig, 4, "mine", RIG_MIB);
    set(rig, 4, "max-usage", text);
    for (unsigned d = 0; d < 3; d++)
        for (unsigned i = 0; i < 10; i++) {
            snprintf(path, sizeof path, "d%u/%u", d, i);
            rig_put(rig, d, path, 2 * RIG_MIB - 64 * 1024);
        }
    for (unsigned redundancy = 1; redundancy <= 2; redundancy++) {
        rig_ok(pool_set_redundancy(rig->pool, redundancy));
        rig_protect_all(rig);
        struct meta_totals totals;
        rig_ok(meta_totals(rig->pool->meta, rig_pool_drive(rig, 4)->meta.id, &totals));
        assert_true(totals.row_bytes > 0);
        assert_true(totals.file_bytes + totals.row_bytes <= limit);
        rig_check(rig);
        assert_true(rig_verify(rig, true) > 0);
    }
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_removable_drive_never_gets_a_row),
        cmocka_unit_test(test_domains_are_kept_apart),
        cmocka_unit_test(test_too_few_domains_cost_no_protection),
        cmocka_unit_test(test_a_limit_holds_for_rows),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
