/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Orders of events: jobs cut off, drives that go in the middle of one, another host, another process.
 */
#include "tests/support/rig.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static mrmr_err read_leaf(struct rig *rig, const char *path, uint64_t leaf, bool *ret_right)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    struct pool_file *f = NULL;
    size_t n = 0;
    const struct rig_file *file = rig_find(rig, path);
    rig_ok(pool_file_open(rig->pool, path, 0, &f));
    mrmr_err err = pool_file_read(f, leaf * RIG_LEAF, got, RIG_LEAF, &n);
    pool_file_close(f);
    rig_expected(file, leaf * RIG_LEAF, wanted, n);
    *ret_right = !err && n && !memcmp(got, wanted, n);
    return err;
}

/* Making row 0 again removes the file of row 1, which the catalog goes on counting. */
static void test_rows_only_keeps_a_row_that_counts(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.redundancy = 2, .seed = 71});
    rig_one_each(rig, 3, 2 * RIG_MIB);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    char path[2][POOL_ROW_PATH];
    unsigned on[2];
    assert_int_equal(image.rows, 2);
    for (unsigned i = 0; i < 2; i++) {
        pool_row_path(&image.uuid, image.generation, i, path[i]);
        on[i] = rig_row_drive(&image, i);
    }
    rig_rot(rig, on[0], path[0], 1000);
    rig_scrub(rig, false); /* row 0 is known to be damaged */
    rig_close(rig);
    rig_take_away(rig, 0);
    rig_open(rig);
    rig_ok(pool_set_redundancy(rig->pool, 1));
    rig_sync(rig);
    struct meta_stripe now = rig_stripe_of(rig, "f0", 0);
    if (now.generation == image.generation && pool_image_row(&now, 1))
        assert_true(rig_holds(rig, on[1], path[1]));
    for (unsigned i = 0; i < 3; i++)
        rig_sync(rig);
    rig_verify_without(rig, 2, false);
    rig_check(rig);
    meta_stripe_free(&image);
    meta_stripe_free(&now);
    rig_destroy(rig);
}

/* Killed while a damaged row is made again: settling removes the damaged one, on which all that
 * can still be read depends. */
static void test_kill_while_a_damaged_row_is_made_again(void **state)
{
    (void)state;
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = 4, .redundancy = 1, .seed = 72});
    rig_one_each(rig, 3, 2 * RIG_MIB);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    char path[POOL_ROW_PATH];
    unsigned on = rig_row_drive(&image, 0);
    pool_row_path(&image.uuid, image.generation, 0, path);
    rig_rot(rig, on, path, RIG_MIB + 1000);
    rig_scrub(rig, false);
    rig_close(rig);
    rig_take_away(rig, 0);
    rig_open(rig);
    bool right;
    rig_ok(read_leaf(rig, "f0", 0, &right));
    assert_true(right);
    rig_close(rig);
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_CREATE, .prefix = ".mrmr/parity", .action = DRV_FAULT_KILL, .late = true};
    rig_ok(drv_fault_add(rig->drive[on].fault, &rule, NULL));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        rig_open(rig);
        rig_sync(rig);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    rig_clear_faults(rig);
    rig_open(rig);
    rig_ok(read_leaf(rig, "f0", 0, &right));
    assert_true(right);
    meta_stripe_free(&image);
    rig_destroy(rig);
}

/* A name in one drive's .mrmr/catalog makes every copy on every drive unreadable. */
static void test_hostile_sequence_of_a_catalog_copy(void **state)
{
    (void)state;
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = 4, .redundancy = 1, .seed = 73});
    rig_one_each(rig, 3, RIG_MIB);
    struct pool_job job = rig_job(rig);
    rig_ok(pool_catalog_copy(rig->pool, &job, POOL_COPIES_ALL, NULL));
    struct drv_file *file = NULL;
    rig_ok(drv_file_open(rig->drive[0].raw, ".mrmr/catalog/base-999999999999999999.sql.gz",
        DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    for (unsigned i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "new%u", i);
        rig_put(rig, 1, name, 1000);
        rig_sync(rig);
        rig_ok(pool_catalog_copy(rig->pool, &job, POOL_COPIES_ALL, NULL));
    }
    rig_close(rig);
    char dir[300];
    snprintf(dir, sizeof dir, "%s/restored", rig->dir);
    mrmr_err err = pool_catalog_restore(dir, rig->drive[2].inner);
    assert_int_equal(err, MRMR_OK);
    rig_open(rig);
    rig_destroy(rig);
}

/* --accept-changes, and a drive falls off the bus in the middle of the job. */
static struct rig *the_rig;
static _Atomic bool took;
static void hook_takes_away(void *arg, enum drv_fault_op op, const char *path)
{
    (void)arg, (void)op, (void)path;
    if (!took)
        rig_take_away(the_rig, 1);
    took = true;
}
static void accept_while_a_drive_falls_off(bool falls)
{
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 4, .redundancy = 1, .seed = 74});
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 0, "f0", 5);
    rig_scrub(rig, false);
    assert_string_equal(rig_states(rig, "f0"), "ML");
    rig_edit(rig, "f2", RIG_MIB + 5, 10);
    the_rig = rig;
    took = !falls;
    struct drv_fault_rule rule = {.ops = DRV_FAULT_CREATE,
        .prefix = ".mrmr/parity",
        .action = DRV_FAULT_HOOK,
        .hook = hook_takes_away};
    for (unsigned d = 0; d < rig->n; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
    struct pool_job job = rig_job(rig);
    (void)!pool_sync(
        rig->pool, &job, &(struct pool_sync_options){.accept_changes = true}, &rig->report);
    assert_true(took);
    rig_close(rig);
    rig_clear_faults(rig);
    if (falls)
        rig_bring_back(rig, 1);
    rig_open(rig);
    rig_sync(rig);
    assert_int_equal(rig_scrub(rig, true).repaired, 1);
    rig_check_originals(rig);
    rig_destroy(rig);
}

static void test_accept_without_a_fall(void **state)
{
    (void)state;
    accept_while_a_drive_falls_off(false);
}
static void test_accept_while_a_drive_falls_off(void **state)
{
    (void)state;
    accept_while_a_drive_falls_off(true);
}

/* A drive dies between the scan that saw an edit and the comparison; it is rebuilt: the old bytes
 * are not given out as the edited file. */
static void test_edited_not_compared_then_rebuilt(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 5, .redundancy = 1, .seed = 75});
    rig_one_each(rig, 3, 3 * RIG_MIB);
    rig_add_drive(rig);
    rig_sync(rig);
    rig_edit(rig, "f0", RIG_MIB + 5, 1000);
    struct pool_job job = rig_job(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &rig->report));
    rig_close(rig);
    rig_take_away(rig, 0);
    rig_open(rig);
    bool right;
    mrmr_err err = read_leaf(rig, "f0", 1, &right);
    assert_true(err || right);
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(
        rig->pool, &job, &(struct pool_rebuild_options){.drive = "d0", .onto = "d5"}, &report));
    assert_int_equal(report.incomplete, 1);
    assert_true(rig_holds(rig, 5, "f0.incomplete"));
    assert_false(rig_holds(rig, 5, "f0"));
    rig_destroy(rig);
}

/* Another host takes the drive between the naming of a row and the commit: what lies there under
 * the row's name is that host's. */
static void hook_other_host(void *arg, enum drv_fault_op op, const char *path)
{
    struct rig_drive *drive = arg;
    (void)op;
    struct pool_identity_raw {
        char text[4096];
    } id;
    struct drv_file *file = NULL;
    size_t got = 0;
    if (!strstr(path, ".mrmr/parity"))
        return;
    rig_ok(drv_file_open(drive->raw, ".mrmr/drive", DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read(file, 0, id.text, sizeof id.text - 1, &got));
    drv_file_close(file);
    id.text[got] = '\0';
    char *session = strstr(id.text, "token=");
    assert_non_null(session);
    char *end = strchr(session, '\n');
    end[-1] = end[-1] == '0' ? '1' : '0';
    rig_ok(drv_file_open(
        drive->raw, ".mrmr/drive.new", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, id.text, got));
    drv_file_close(file);
    rig_ok(drv_rename(drive->raw, ".mrmr/drive.new", ".mrmr/drive", DRV_RENAME_REPLACE));
}
static void test_undo_on_a_diverged_drive(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 4, .redundancy = 1, .seed = 76});
    rig_one_each(rig, 3, 2 * RIG_MIB);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    unsigned on = rig_row_drive(&image, 0);
    char next[POOL_ROW_PATH];
    pool_row_path(&image.uuid, image.generation + 1, 0, next);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
        .prefix = ".mrmr/parity",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .late = true,
        .hook = hook_other_host,
        .arg = &rig->drive[on]};
    the_rig = rig;
    rig_ok(drv_fault_add(rig->drive[on].fault, &rule, NULL));
    rig_edit(rig, "f2", 5, 10);
    struct pool_job job = rig_job(rig);
    (void)!pool_sync(rig->pool, &job, NULL, &rig->report);
    assert_int_equal(rig_pool_drive(rig, on)->presence, POOL_DIVERGED);
    assert_true(rig_holds(rig, on, next));
    meta_stripe_free(&image);
    rig_destroy(rig);
}

/* A generation that was not committed, on a drive that went away, and the committed one of the same
 * number. */
static unsigned away_drive;
static void hook_row_drive_goes(void *arg, enum drv_fault_op op, const char *path)
{
    (void)arg, (void)op, (void)path;
    if (!took)
        rig_take_away(the_rig, away_drive);
    took = true;
}
static void test_generation_number_used_twice(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 5, .redundancy = 1, .seed = 77});
    for (unsigned d = 0; d < 3; d++) {
        char name[8];
        snprintf(name, sizeof name, "f%u", d);
        rig_put(rig, d, name, RIG_MIB);
        name[0] = (char)103;
        rig_put(rig, d, name, RIG_MIB);
    }
    rig_protect_all(rig);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    away_drive = rig_row_drive(&image, 0);
    char path[POOL_ROW_PATH];
    pool_row_path(&image.uuid, image.generation + 1, 0, path);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
        .prefix = ".mrmr/parity",
        .action = DRV_FAULT_HOOK,
        .late = true,
        .hook = hook_row_drive_goes};
    the_rig = rig;
    took = false;
    rig_ok(drv_fault_add(rig->drive[away_drive].fault, &rule, NULL));
    rig_unlink(rig, "g2");
    struct pool_job job = rig_job(rig);
    (void)!pool_sync(rig->pool, &job, NULL, &rig->report);
    assert_true(took);
    rig_unlink(rig, "g1");
    rig_close(rig);
    rig_open(rig);
    rig_sync(rig);
    struct meta_stripe now = rig_stripe_of(rig, "f0", 0);
    unsigned on = rig_row_drive(&now, 0);
    struct pool_row_reader *a = NULL, *b = NULL;
    if (now.generation == image.generation + 1 && on != away_drive &&
        rig_holds(rig, away_drive, path)) {
        rig_ok(pool_row_open(
            rig->drive[away_drive].raw, &now.uuid, now.generation, 0, image.length, &a));
        rig_ok(pool_row_open(rig->drive[on].raw, &now.uuid, now.generation, 0, now.length, &b));
        bool same = image.length == now.length && !memcmp(pool_row_digests(a), pool_row_digests(b),
                                                      2 * sizeof(struct mrmr_digest)); /* 2 MiB */
        pool_row_close(a);
        pool_row_close(b);
        assert_true(same);
    }
    meta_stripe_free(&image);
    meta_stripe_free(&now);
    rig_destroy(rig);
}

/* A generation that was made while no drive could take row 0 has row 1 alone: row 0 comes when one
 * can. */
static void test_a_row_that_was_skipped_is_made(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 5, .redundancy = 2, .seed = 79});
    rig_one_each(rig, 3, RIG_MIB);
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0), now;
    char path[POOL_ROW_PATH];
    assert_int_equal(image.rows, 2);
    pool_row_path(&image.uuid, image.generation, 0, path);
    rig_ok(drv_unlink(rig->drive[rig_row_drive(&image, 0)].raw, path));
    rig_ok(meta_row_remove(rig->pool->meta, image.id, 0));
    pool_views_forget(rig->pool, 0);
    rig_protect_all(rig);
    now = rig_stripe_of(rig, "f0", 0);
    assert_int_equal(now.rows, 2);
    assert_int_equal(pool_image_margin(rig->pool, &now), 2);
    meta_stripe_free(&now);
    meta_stripe_free(&image);
    rig_check(rig);
    rig_verify(rig, true);
    rig_destroy(rig);
}

/* Another process (`mrmr cat`) reads while this one encodes the stripe anew. */
static void test_reader_of_another_process(void **state)
{
    (void)state;
    struct rig *rig = rig_create(&(struct rig_spec){.drives = 6, .redundancy = 2, .seed = 78});
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_close(rig);
    rig_take_away(rig, 0);
    rig_open(rig);
    char dir[300];
    snprintf(dir, sizeof dir, "%s/pool", rig->dir);
    struct pool *other = NULL;
    struct pool_file *f = NULL;
    size_t n;
    rig_ok(pool_open(dir, POOL_LOOK, "cat", &other));
    rig_ok(pool_file_open(other, "f0", POOL_READ_VERIFY, &f));
    rig_ok(pool_file_read(f, 0, got, RIG_LEAF, &n));
    rig_edit(rig, "f2", 5, 10);
    rig_sync(rig);
    mrmr_err err = pool_file_read(f, RIG_LEAF, got, RIG_LEAF, &n);
    pool_file_close(f);
    pool_close(other);
    rig_expected(rig_find(rig, "f0"), RIG_LEAF, wanted, RIG_LEAF);
    assert_int_equal(err, MRMR_OK);
    assert_memory_equal(got, wanted, RIG_LEAF);
    rig_destroy(rig);
}

static bool all_present(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++)
        if (!rig_present(rig, i))
            return false;
    return true;
}

/* The file of one of some stripe's rows goes from its drive, if that is there. */
static void lose_a_row(struct rig *rig)
{
    mrmr_autofree struct meta_stripe_brief *b = malloc(sizeof *b);
    char path[POOL_ROW_PATH];
    int64_t ids[64];
    size_t n;
    rig_ok(meta_stripes_to_scrub(rig->pool->meta, -1, 0, INT64_MAX, ids, 64, &n));
    if (!n)
        return;
    rig_ok(meta_stripe_brief_get(rig->pool->meta, ids[rig_random(rig, n)], b));
    if (!b->rows)
        return;
    const uint32_t r = (uint32_t)rig_random(rig, b->rows);
    const unsigned on = (unsigned)b->row[r].drive - 1;
    if (!rig_present(rig, on) || !pool_drive_present(rig_pool_drive(rig, on)))
        return;
    pool_row_path(&b->uuid, b->generation, b->row[r].index, path);
    (void)!drv_unlink(rig->drive[on].raw, path);
    pool_views_forget(rig->pool, 0);
    rig_scrub(rig, false);
}

static void happens(struct rig *rig)
{
    const uint64_t what = rig_random(rig, 8);
    const unsigned d = (unsigned)rig_random(rig, rig->n);
    unsigned away = 0;
    for (unsigned i = 0; i < rig->n; i++)
        away += !rig_present(rig, i);
    if (what == 0)
        (void)!pool_set_redundancy(rig->pool, 1 + (unsigned)rig_random(rig, 3));
    else if (what < 3 && !rig_present(rig, d))
        rig_bring_back(rig, d);
    else if (what < 5 && rig_present(rig, d) && away < 2)
        rig_take_away(rig, d);
    else
        for (unsigned i = 0; i < 3 && all_present(rig); i++)
            rig_stir(rig);
    if (what == 5 || what == 1 || what == 3)
        rig_reopen(rig);
    if (what == 6)
        lose_a_row(rig);
}

static void claims_hold(struct rig *rig)
{
    rig_check(rig);
    rig_verify_without(rig, 0, false);
    for (unsigned i = 0; i < rig->n; i++)
        rig_verify_without(rig, 1U << i, false);
    rig_verify(rig, false);
}

static void all_is_well_in_the_end(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++)
        if (!rig_present(rig, i))
            rig_bring_back(rig, i);
    rig_reopen(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    rig_verify(rig, true);
}

/* Whatever the redundancy becomes and whichever drives go and come. */
static void test_stress_redundancy_and_drives(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("stress");
    for (unsigned round = 0; round < rig_rounds(rig_all() ? 2 : 1); round++) {
        struct rig *rig = rig_create(&(struct rig_spec){
            .drives = 6, .redundancy = 2, .block = RIG_MIB, .seed = seed + round});
        rig_fill(rig, 0, 6, 6, 3 * RIG_MIB);
        rig_protect_all(rig);
        for (unsigned step = 0; step < 14; step++) {
            happens(rig);
            struct pool_job job = rig_job(rig);
            (void)!pool_sync(rig->pool, &job, NULL, &rig->report);
            claims_hold(rig);
        }
        all_is_well_in_the_end(rig);
        rig_destroy(rig);
    }
}

/* Rows of a change that failed are removed again, and the intents that named them go: the files do not come back. */
static void test_undone_and_then_the_power_goes(void **state)
{
    (void)state;
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_FILE_SYNC, .prefix = POOL_DOT "/parity", .err = MRMR_IO};
    for (unsigned seed = 0; seed < 8; seed++) {
        struct rig *rig = rig_create(&(struct rig_spec){
            .kind = RIG_MEM_CUT, .drives = 5, .redundancy = 2, .seed = 76 + seed});
        for (unsigned d = 0; d < rig->n; d++) {
            char path[16];
            snprintf(path, sizeof path, "f%u", d);
            rig_put(rig, d, path, 20000);
        }
        rig_sync_drives(rig);
        rig_ok(drv_fault_add(rig->drive[seed % rig->n].fault, &rule, NULL));
        struct pool_job job = rig_job(rig);
        (void)!pool_sync(rig->pool, &job, NULL, &rig->report);
        rig_clear_faults(rig);
        rig_close(rig);
        rig_power_cut(rig, seed);
        rig_open(rig);
        rig_check(rig);
        rig_destroy(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_only_keeps_a_row_that_counts),
        cmocka_unit_test(test_kill_while_a_damaged_row_is_made_again),
        cmocka_unit_test(test_hostile_sequence_of_a_catalog_copy),
        cmocka_unit_test(test_accept_without_a_fall),
        cmocka_unit_test(test_accept_while_a_drive_falls_off),
        cmocka_unit_test(test_edited_not_compared_then_rebuilt),
        cmocka_unit_test(test_generation_number_used_twice),
        cmocka_unit_test(test_a_row_that_was_skipped_is_made),
        cmocka_unit_test(test_reader_of_another_process),
        cmocka_unit_test(test_stress_redundancy_and_drives),
        cmocka_unit_test(test_undo_on_a_diverged_drive),
        cmocka_unit_test(test_undone_and_then_the_power_goes),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
