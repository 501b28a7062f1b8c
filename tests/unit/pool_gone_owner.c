/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was removed while its drive was away is taken from it by the pool's owner, beside a mount: while nobody else keeps
 * anything there.
 */
#include "pool/return/gone_apply.h"
#include "pool/writers.h"
#include "tests/unit/pool_gone_world.h"

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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_somebody_writes),
        cmocka_unit_test(test_on_a_full_drive),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_owner", tests, NULL, NULL);
}
