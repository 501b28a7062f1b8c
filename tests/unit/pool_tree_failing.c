/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive that answers errors again and again while a tree uses it is out of service for everybody, with all its protected files
 * still readable, until the user takes it back or it was unplugged and is back.
 */
#include "tests/unit/pool_tree_user.h"

#include "drivers/guard.h"
#include "pool/drive/failing.h"
#include "tests/support/pause.h"
#include <string.h>

static void wait_until(bool (*is)(struct world *w), struct world *w)
{
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (!is(w)) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
}

static bool is_live(struct world *w)
{
    return tree_live(&w->tree->drive[0]);
}

static enum pool_failing noted(struct world *w)
{
    return pool_failing_get(w->rig->pool, &w->rig->pool->drives[0]->meta.uuid);
}

static bool is_noted(struct world *w)
{
    return noted(w) == POOL_FAILING_HERE;
}

static bool is_noted_gone(struct world *w)
{
    return noted(w) == POOL_FAILING_WENT;
}

static mrmr_err count_failing(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "drive-failing") == 0 && event->warning &&
                        strstr(event->text, "mrmr attach d0") && !strcmp(event->drive, "d0");
    return MRMR_OK;
}

static unsigned told(struct world *w)
{
    unsigned n = 0;
    rig_ok(pool_events(w->rig->pool, 0, 0, count_failing, &n));
    return n;
}

static void begin_failing(struct world *w, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    rig_ok(pool_set(w->rig->pool, "error-limit", "2"));
    close_tree(w);
    open_tree(w);
}

/* Its identity can be read, so it would be put back at once. */
static void gives_errors(struct world *w)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ | DRV_FAULT_FILE_WRITE,
        .prefix = "f",
        .action = DRV_FAULT_ERROR,
        .err = MRMR_IO};
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (is_live(w)) {
        assert_true(mrmr_clock_monotonic() < end);
        reads(w, "f0"); /* each byte, from the first error on */
        pause_a_while();
    }
    rig_clear_faults(w->rig);
    wait_until(is_noted, w);
}

/* Nobody puts it back, though all is well with it now; who owns the pool leaves it out, too. */
static void is_out(struct world *w)
{
    assert_false(is_live(w));
    reads(w, "f0");
    rig_reopen(w->rig);
    assert_int_equal(w->rig->pool->drives[0]->presence, POOL_FAILED);
    assert_null(w->rig->pool->drives[0]->drv);
    assert_int_equal(told(w), 1);
}

static void works(struct world *w)
{
    overwrite(w, "f0", 3000, 500);
    rig_protect_all(w->rig);
    assert_true(rig_original_is_right(w->rig, 0, rig_find(w->rig, "f0")));
}

static void test_until_attached(void **state)
{
    struct world w;
    (void)state;
    begin_failing(&w, 901);
    gives_errors(&w);
    is_out(&w);
    for (unsigned i = 0; i < 2; i++) { /* a tree that begins, too */
        close_tree(&w);
        open_tree(&w);
        is_out(&w);
    }
    overwrite(&w, "f0", 5000, 100); /* on another drive */
    rig_protect_all(w.rig);
    assert_int_equal(w.rig->report.drives_away, 1);
    rig_ok(pool_attach(w.rig->pool, "d0", NULL));
    wait_until(is_live, &w);
    assert_int_equal(noted(&w), POOL_FAILING_NOT);
    close_tree(&w);
    end_after(&w);
}

static void test_until_unplugged(void **state)
{
    struct world w;
    (void)state;
    for (unsigned owner = 0; owner < 2; owner++) { /* who sees it gone, and back */
        begin_failing(&w, 902 + owner);
        gives_errors(&w);
        is_out(&w);
        if (owner)
            close_tree(&w);
        rig_take_away(w.rig, 0);
        if (owner)
            rig_reopen(w.rig);
        wait_until(is_noted_gone, &w);
        rig_reopen(w.rig);
        assert_int_equal(w.rig->pool->drives[0]->presence, POOL_AWAY);
        rig_bring_back(w.rig, 0);
        if (owner) {
            rig_reopen(w.rig);
            assert_int_equal(noted(&w), POOL_FAILING_NOT);
            open_tree(&w);
        }
        wait_until(is_live, &w);
        assert_int_equal(noted(&w), POOL_FAILING_NOT);
        rig_reopen(w.rig);
        works(&w);
        close_tree(&w);
        end_after(&w);
    }
}

/* As far as it goes: what cannot be decoded fails. */
static void tries(struct world *w, const char *path)
{
    const struct pool_attr attr = look(w, POOL_ROOT, path);
    struct pool_tree_file *file;
    bool same;
    uint8_t buf[5000];
    size_t got;
    if (!pool_tree_file_open(w->tree, attr.node, false, &file, &same)) {
        (void)!pool_tree_file_read(file, 0, buf, sizeof buf, &got);
        pool_tree_file_close(file);
    }
    pool_tree_forget(w->tree, attr.node, 1);
}

static bool are_two_away(struct world *w)
{
    reads(w, "f0");
    return !tree_live(&w->tree->drive[3]) && !tree_live(&w->tree->drive[4]);
}

static bool are_all_live(struct world *w)
{
    bool live = true;
    for (size_t i = 0; i < DRIVES; i++)
        live = live && tree_live(&w->tree->drive[i]);
    return live;
}

/* With as many away as may be lost, what it still gives is all that there is of much. */
static void test_with_others_away(void **state)
{
    enum { SECONDS = 5 }; /* of errors; the limit is 2 */
    struct world w;
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ | DRV_FAULT_FILE_WRITE,
        .prefix = "f0",
        .action = DRV_FAULT_ERROR,
        .err = MRMR_IO};
    (void)state;
    begin_failing(&w, 906);
    rig_take_away(w.rig, 3);
    rig_take_away(w.rig, 4);
    wait_until(are_two_away, &w);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    const int64_t end = mrmr_clock_monotonic() + SECONDS * MRMR_NS_PER_S;
    while (mrmr_clock_monotonic() < end) {
        tries(&w, "f0");
        assert_true(is_live(&w));
        pause_a_while();
    }
    rig_clear_faults(w.rig);
    /* Where it was cut off at the moment at which the others went it is back at once. */
    mrmr_fail(MRMR_IO, "it answers errors again and again");
    drv_guard_cut(w.tree->drive[0].drive->drv, MRMR_IO);
    wait_until(is_live, &w);
    assert_int_equal(noted(&w), POOL_FAILING_NOT);
    assert_int_equal(told(&w), 0);
    reads(&w, "f0");
    rig_bring_back(w.rig, 3);
    rig_bring_back(w.rig, 4);
    wait_until(are_all_live, &w);
    gives_errors(&w);
    close_tree(&w);
    rig_reopen(w.rig);
    rig_ok(pool_attach(w.rig->pool, "d0", NULL));
    end_after(&w);
}

/* Why, and the next step. */
static void test_refused(void **state)
{
    struct world w;
    struct pool_detach_report report;
    char text[1024];
    (void)state;
    begin_failing(&w, 905);
    gives_errors(&w);
    rig_reopen(w.rig);
    assert_int_equal(pool_detach(w.rig->pool, NULL, "d0", &report), MRMR_IO);
    mrmr_story_print(mrmr_story_get(), text, sizeof text);
    assert_non_null(strstr(text, "mrmr attach d0"));
    rig_take_away(w.rig, 0);
    assert_int_not_equal(pool_attach(w.rig->pool, "d0", NULL), MRMR_OK);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_ok(pool_attach(w.rig->pool, "d0", NULL));
    wait_until(is_live, &w);
    works(&w);
    close_tree(&w);
    end_after(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_until_attached),
        cmocka_unit_test(test_until_unplugged),
        cmocka_unit_test(test_with_others_away),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
