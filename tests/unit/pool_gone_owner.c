/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was removed while its drive was away is taken from it by the pool's owner, beside a mount: while nobody else keeps
 * anything there.
 */
#include "base/cleanup.h"
#include "pool/return/gone_apply.h"
#include "pool/writers.h"
#include "tests/unit/pool_gone_world.h"

#include <stdio.h>
#include <string.h>

enum { MOMENT_MS = 100 };

/* The drive is back, and no mount has seen that. */
static void is_back_for_the_owner(struct world *w)
{
    close_tree(w);
    rig_bring_back(w->rig, 0);
    rig_reopen(w->rig);
}

static mrmr_err applies(struct world *w, size_t *ret_left)
{
    struct pool_gone *gone;
    struct pool_job job = rig_job(w->rig);
    rig_ok(pool_gone_open(w->rig->pool->dirfd, true, &gone));
    mrmr_err err =
        pool_gone_apply(w->rig->pool, &job, gone, rig_pool_drive(w->rig, 0), NULL, ret_left);
    pool_gone_close(gone);
    return err;
}

static mrmr_err count_waits(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "removal-waits") == 0;
    return MRMR_OK;
}

/* A change is on its way for longer than the owner waits: all of it waits, and he has waited once. */
static void test_somebody_writes(void **state)
{
    struct world w;
    struct pool_writers *writers;
    uint64_t epoch;
    size_t left = 0;
    unsigned waits = 0;
    (void)state;
    begin_away(&w, 331);
    removes(&w, "folder/in/one");
    removes(&w, "f0");
    is_back_for_the_owner(&w);
    rig_ok(pool_writers_open(w.rig->pool->dirfd, &writers));
    pool_writers_wait_at_most(w.rig->pool->writers, MOMENT_MS * INT64_C(1000000));
    rig_ok(pool_writers_begin(writers, &epoch));
    assert_int_equal(applies(&w, &left), MRMR_BUSY);
    assert_int_equal(left, 2);
    assert_true(rig_holds(w.rig, 0, "f0") && rig_holds(w.rig, 0, "folder/in/one"));
    rig_ok(pool_events(w.rig->pool, 0, 0, count_waits, &waits));
    assert_int_equal(
        waits, 0); /* each that is waited for is told of, or whoever asked for all of it */
    pool_writers_end();
    pool_writers_close(writers);
    rig_ok(applies(&w, &left));
    assert_int_equal(left, 0);
    assert_true(!rig_holds(w.rig, 0, "f0") && !rig_holds(w.rig, 0, "folder/in/one"));
    no_new_rows(w.rig);
    nobody_suffers(w.rig, "f0");
}

/* The drive has no room for symlinks: what it keeps for that is used, as by a mount. */
static void test_on_a_full_drive(void **state)
{
    struct world w;
    size_t left = 1;
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_SYMLINK, .prefix = ".mrmr/retained", .err = MRMR_SPACE};
    (void)state;
    begin_away(&w, 332);
    removes(&w, "f0");
    is_back_for_the_owner(&w);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &full, NULL));
    rig_ok(applies(&w, &left));
    assert_int_equal(left, 0);
    assert_false(rig_holds(w.rig, 0, "f0"));
    no_new_rows(w.rig);
    nobody_suffers(w.rig, "f0");
}

/* --- the same bytes in two files --- */

/* On drive 0, as f0; protected, with a file on each of the others, and removed while the drive was away. It is back, and the mount's turn to remove that has passed. */
static void twin_waits(struct world *w)
{
    const struct rig_file *file = rig_find(w->rig, "f0");
    mrmr_autofree uint8_t *buf = malloc(file->size);
    struct rig_file *twin;
    struct drv_file *raw;
    struct pool_gone *other;
    assert_non_null(buf);
    close_tree(w);
    rig_bring_back(w->rig, 0);
    rig_expected(file, 0, buf, file->size);
    twin = rig_put(w->rig, 0, "twin", file->size);
    twin->seed = rig_find(w->rig, "f0")->seed;
    rig_ok(drv_file_open(w->rig->drive[0].raw, "twin", DRV_OPEN_WRITE, 0, &raw));
    rig_ok(drv_file_write(raw, 0, buf, twin->size));
    drv_file_close(raw);
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "beside%u", d);
        rig_put(w->rig, d, path, twin->size);
    }
    rig_reopen(w->rig);
    rig_protect_all(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
    removes(w, "twin");
    rig_ok(pool_gone_open(w->rig->pool->dirfd, true, &other));
    rig_ok(pool_gone_apply_begin(other, NULL, 0, 0));
    comes_back(w, "twin");
    pool_gone_apply_end(other);
    pool_gone_close(other);
    rig_reopen(w->rig);
    assert_true(rig_holds(w->rig, 0, "twin"));
}

static void owner_applies(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    size_t left = 0;
    (void)op, (void)path;
    pool_writers_wait_at_most(w->rig->pool->writers, MOMENT_MS * INT64_C(1000000));
    assert_int_equal(applies(w, &left), MRMR_BUSY);
    assert_int_equal(left, 1);
}

/* A file is about to be replaced, and kept for that, which has the bytes of one that the owner is to remove; then the replacement fails. */
static void test_a_replacement_fails(void **state)
{
    struct world w;
    size_t left = 1;
    (void)state;
    begin_away(&w, 333);
    twin_waits(&w);
    const struct drv_fault_rule rules[] = {{.ops = DRV_FAULT_RENAME,
                                               .prefix = "other",
                                               .times = 1,
                                               .action = DRV_FAULT_HOOK,
                                               .hook = owner_applies,
                                               .arg = &w},
        {.ops = DRV_FAULT_RENAME, .prefix = "other", .err = MRMR_NOMEM}};
    for (unsigned i = 0; i < 2; i++)
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rules[i], NULL));
    assert_int_equal(rename_at(&w, "other", "f0", 0), MRMR_NOMEM);
    close_tree(&w);
    rig_clear_faults(w.rig);
    rig_ok(applies(&w, &left));
    assert_int_equal(left, 0);
    assert_false(rig_holds(w.rig, 0, "twin"));
    no_new_rows(w.rig);
    nobody_suffers(w.rig, "twin");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_somebody_writes),
        cmocka_unit_test(test_on_a_full_drive),
        cmocka_unit_test(test_a_replacement_fails),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_owner", tests, NULL, NULL);
}
