/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive is detached while a tree shows it: who has the tree lets go of all of it, or says what is in the way; the files are read
 * and changed meanwhile as those of a drive that is away; and it comes back by the user's word, by itself, or since whoever
 * asked was killed.
 */
#include "pool/tree/tree_detach.h"
#include "tests/unit/pool_tree_hang.h"
#include "tests/unit/pool_tree_user.h"

#include "drivers/guard.h"
#include "pool/drive/detach_ask.h"
#include "pool/drive/detached.h"
#include "pool/records/mounted.h"
#include "tests/support/pause.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static mrmr_err detach(struct world *w, struct pool_detach_report *ret_report)
{
    struct pool_job job = rig_job(w->rig);
    return pool_detach(w->rig->pool, &job, "d0", ret_report);
}

static void detach_now(struct world *w)
{
    struct pool_detach_report report;
    rig_ok(detach(w, &report));
    assert_false(tree_live(&w->tree->drive[0]));
    assert_true(drv_guard_idle(w->tree->drive[0].drive->drv)); /* at once */
}

static void detach_is_refused(struct world *w, const char *why)
{
    struct pool_detach_report report;
    char text[1024];
    assert_int_equal(detach(w, &report), MRMR_BUSY);
    mrmr_story_print(mrmr_story_get(), text, sizeof text);
    if (!strstr(text, why))
        fail_msg("%s: %s", why, text);
    assert_true(tree_live(&w->tree->drive[0]));
    assert_true(pool_drive_present(rig_pool_drive(w->rig, 0)));
}

static void attach(struct world *w)
{
    rig_ok(pool_attach(w->rig->pool, "d0", NULL));
}

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

static bool is_out(struct world *w)
{
    return drv_guard_idle(w->tree->drive[0].drive->drv);
}

/* The monitor looks at its drives. */
static void look_now(struct world *w)
{
    mrmr_locked(&w->tree->lock);
    w->tree->suspects = true;
    pthread_cond_signal(&w->tree->monitor_wake);
}

static bool is_seen_gone(struct world *w)
{
    enum pool_detached state = POOL_DETACHED_NOT;
    struct mrmr_uuid mark;
    rig_ok(pool_detached_get(w->pool, &w->tree->drive[0].drive->meta.uuid, &state, &mark));
    return state == POOL_DETACHED_WENT;
}

static struct pool_tree_file *open_to_read(struct world *w, const char *path)
{
    struct pool_attr attr = look(w, POOL_ROOT, path);
    struct pool_tree_file *file;
    bool same;
    rig_ok(pool_tree_file_open(w->tree, attr.node, false, &file, &same));
    pool_tree_forget(w->tree, attr.node, 1);
    return file;
}

static void reads_on(struct world *w, struct pool_tree_file *file, const char *path)
{
    const struct rig_file *known = rig_find(w->rig, path);
    uint8_t got[5000], want[sizeof got];
    size_t n;
    rig_ok(pool_tree_file_read(file, RIG_MIB - 100, got, sizeof got, &n));
    assert_int_equal(n, sizeof got);
    rig_expected(known, RIG_MIB - 100, want, sizeof want);
    assert_memory_equal(got, want, sizeof want);
}

/* --- letting go --- */

/* Under who reads; what is written, removed and renamed meanwhile is so when it is back. */
static void test_let_go(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 801);
    rig_put(w.rig, 0, "removed", RIG_MIB + 70);
    rig_put(w.rig, 0, "renamed", RIG_MIB + 80);
    rig_protect_all(w.rig);
    struct pool_tree_file *file = open_to_read(&w, "f0");
    reads_on(&w, file, "f0");
    detach_now(&w);
    reads_on(&w, file, "f0");
    pool_tree_file_close(file);
    reads(&w, "other");
    overwrite(&w, "f0", 3000, 500);
    removes(&w, "removed");
    renames(&w, "renamed", "new name", 0);
    reads(&w, "f0");
    assert_true(rig_holds(w.rig, 0, "removed"));
    rig_protect_all(w.rig); /* leaves it alone */
    assert_int_equal(w.rig->report.drives_away, 0);
    assert_true(rig_holds(w.rig, 0, "removed"));
    attach(&w);
    wait_until(is_live, &w);
    assert_false(rig_holds(w.rig, 0, "removed"));
    reads(&w, "f0");
    reads(&w, "new name");
    close_tree(&w);
    end_after(&w);
}

/* What was written and not synced is durable by then, so nobody is told of a loss. */
static void test_nothing_is_lost(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM_CUT, 802);
    overwrite(&w, "f0", 3000, 500);
    struct pool_tree_file *file = open_to_read(&w, "f0");
    detach_now(&w);
    rig_ok(sync_folder(&w, POOL_ROOT));
    attach(&w);
    wait_until(is_live, &w);
    rig_ok(pool_tree_file_sync(file));
    pool_tree_file_close(file);
    rig_sync_drives(w.rig);
    overwrite(&w, "f0", 6000, 500);
    detach_now(&w);
    close_tree(&w);
    rig_close(w.rig);
    rig_power_cut(w.rig, 5);
    rig_open(w.rig);
    attach(&w);
    assert_true(rig_original_is_right(w.rig, 0, rig_find(w.rig, "f0")));
    end_after(&w);
}

/* --- in the way --- */

static void test_open_for_writing(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 803);
    struct pool_tree_file *file = open_file(&w, "f0"), *more = open_file(&w, "f0");
    struct pool_tree_file *elsewhere = open_file(&w, "f1");
    write_part(&w, file, "f0", 100, 200);
    detach_is_refused(&w, "'f0' is open for writing, and 1 more");
    write_part(&w, file, "f0", 500, 200);
    pool_tree_file_close(more);
    detach_is_refused(&w, "'f0' is open for writing");
    pool_tree_file_close(file);
    /* What has no name any more is nowhere else, whoever only reads it. */
    file = open_to_read(&w, "other");
    removes(&w, "other");
    detach_is_refused(&w, "was removed, and is open still");
    pool_tree_file_close(file);
    write_part(&w, elsewhere, "f1", 100, 200);
    detach_now(&w);
    write_part(&w, elsewhere, "f1", 500, 200);
    pool_tree_file_close(elsewhere);
    attach(&w);
    wait_until(is_live, &w);
    overwrite(&w, "f0", 5000, 100);
    close_tree(&w);
    end_after(&w);
}

/* What was written cannot be synced: it stays in service, and who syncs is told. */
static void test_sync_fails(void **state)
{
    struct world w;
    struct pool_detach_report report;
    (void)state;
    for (unsigned n = 0; n < 3; n++) { /* before, by who has the tree, after */
        begin(&w, RIG_MEM, 804);
        overwrite(&w, "f0", 3000, 500);
        const struct drv_fault_rule rule = {.ops = DRV_FAULT_SYNC_ALL,
            .after = n,
            .times = 1,
            .action = DRV_FAULT_ERROR,
            .err = MRMR_IO};
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
        assert_int_equal(detach(&w, &report), n == 1 ? MRMR_BUSY : MRMR_IO);
        wait_until(is_live, &w);
        overwrite(&w, "f0", 5000, 100);
        rig_clear_faults(w.rig);
        close_tree(&w);
        end_after(&w);
    }
}

struct reader {
    struct world *w;
    struct pool_tree_file *file;
};

static void *reader_run(void *arg)
{
    const struct reader *reader = arg;
    uint8_t byte;
    size_t n;
    rig_ok(pool_tree_file_read(reader->file, 100, &byte, 1, &n)); /* in the end */
    return NULL;
}

/* A read that hangs is waited for a little, while everybody writes on, and told of; and the drive serves on. */
static void test_a_read_hangs(void **state)
{
    struct world w;
    struct hang hang;
    pthread_t thread;
    (void)state;
    begin(&w, RIG_MEM, 812);
    hang_begin(&hang);
    struct reader reader = {&w, open_to_read(&w, "f0")};
    hang_at(&w, &hang, 0, DRV_FAULT_FILE_READ, "f0", false);
    assert_int_equal(pthread_create(&thread, NULL, reader_run, &reader), 0);
    sem_wait(&hang.begun);
    while (drv_guard_slowest(w.tree->drive[0].drive->drv) < MRMR_NS_PER_S / 2)
        pause_a_while();
    const int64_t began = mrmr_clock_monotonic();
    detach_is_refused(&w, "has not come back");
    assert_true(mrmr_clock_monotonic() - began < 20 * MRMR_NS_PER_S);
    overwrite(&w, "f1", 3000, 500);
    overwrite(&w, "other", 3000, 500);
    sem_post(&hang.go_on);
    pthread_join(thread, NULL);
    pool_tree_file_close(reader.file);
    rig_protect_all(w.rig);
    detach_now(&w);
    attach(&w);
    wait_until(is_live, &w);
    close_tree(&w);
    end_after(&w);
    hang_end(&hang);
}

/* --- coming back --- */

/* Who asked is killed before it is said in the catalog. */
static void test_who_asked_is_killed(void **state)
{
    struct world w;
    struct pool_job job;
    (void)state;
    begin(&w, RIG_MEM, 805);
    job = rig_job(w.rig);
    int question = -1;
    rig_ok(pool_detach_ask(
        w.rig->pool, &job, rig_pool_drive(w.rig, 0), 60 * MRMR_NS_PER_S, &question));
    assert_true(is_live(&w)); /* that was but a question, and stops nobody */
    overwrite(&w, "f1", 3000, 500);
    rig_ok(pool_detach_ask_now(
        w.rig->pool, &job, rig_pool_drive(w.rig, 0), 60 * MRMR_NS_PER_S, question));
    assert_true(is_out(&w));
    reads(&w, "f0");
    /* As long as it stands the drive is not used. */
    for (unsigned i = 0; i < 20; i++) {
        look_now(&w);
        pause_a_while();
    }
    assert_true(is_out(&w));
    close(question);
    wait_until(is_live, &w);
    detach_now(&w); /* and once more, to the end */
    attach(&w);
    wait_until(is_live, &w);
    close_tree(&w);
    end_after(&w);
}

static void test_unplugged(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 806);
    detach_now(&w);
    assert_false(is_seen_gone(&w));
    rig_take_away(w.rig, 0);
    wait_until(is_seen_gone, &w);
    removes(&w, "other");
    rig_bring_back(w.rig, 0);
    wait_until(is_live, &w);
    assert_false(rig_holds(w.rig, 0, "other"));
    rig_reopen(w.rig); /* the catalog says so from now on */
    assert_true(pool_drive_present(rig_pool_drive(w.rig, 0)));
    assert_false(is_seen_gone(&w));
    overwrite(&w, "f0", 3000, 500);
    assert_true(is_live(&w));
    close_tree(&w);
    end_after(&w);
}

struct busy_reader {
    struct pool_tree_file *file;
    atomic_bool *stop;
    mrmr_err err;
};

static void *read_on_and_on(void *arg)
{
    struct busy_reader *reader = arg;
    uint8_t buf[4096];
    size_t n;
    while (!*reader->stop && !reader->err)
        reader->err = pool_tree_file_read(reader->file, 0, buf, sizeof buf, &n);
    return NULL;
}

/* Something is under way at any moment, and nothing of it takes long: that is no drive that hangs. */
static void test_always_busy(void **state)
{
    enum { READERS = 3 };
    struct world w;
    struct busy_reader reader[READERS];
    pthread_t thread[READERS];
    atomic_bool stop = false;
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ,
        .prefix = "f0",
        .action = DRV_FAULT_DELAY,
        .delay_ns = 3 * MRMR_NS_PER_S / 10};
    (void)state;
    begin(&w, RIG_MEM, 812);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    for (size_t i = 0; i < READERS; i++) {
        reader[i] = (struct busy_reader){open_to_read(&w, "f0"), &stop, MRMR_OK};
        assert_int_equal(pthread_create(&thread[i], NULL, read_on_and_on, &reader[i]), 0);
        for (unsigned k = 0; k < 10; k++) /* not all at one moment */
            moment();
    }
    struct pool_detach_report report;
    const mrmr_err err = detach(&w, &report);
    stop = true;
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(reader[i].err, MRMR_OK);
        pool_tree_file_close(reader[i].file);
    }
    rig_ok(err);
    rig_clear_faults(w.rig);
    attach(&w);
    wait_until(is_live, &w);
    close_tree(&w);
    end_after(&w);
}

/* Syncing takes longer than who asks waits, and the writers go on by then: what they write was not synced, so the drive stays. */
static void test_who_asked_gave_up(void **state)
{
    struct world w;
    struct hang hang;
    int fd = -1;
    (void)state;
    begin(&w, RIG_MEM, 811);
    struct pool_drive *drive = rig_pool_drive(w.rig, 0);
    const unsigned cuts = w.tree->drive[0].cuts;
    overwrite(&w, "f0", 3000, 500);
    rig_ok(pool_detach_ask(w.rig->pool, NULL, drive, 30 * MRMR_NS_PER_S, &fd));
    hang_begin(&hang);
    hang_at(&w, &hang, 0, DRV_FAULT_SYNC_ALL, NULL, true);
    assert_int_equal(pool_detach_ask_now(w.rig->pool, NULL, drive, MRMR_NS_PER_S, fd), MRMR_BUSY);
    sem_wait(&hang.begun);
    close(fd);
    overwrite(&w, "f0", 9000, 100);
    sem_post(&hang.go_on);
    /* The next one is answered when that is over. */
    rig_ok(pool_detach_ask(w.rig->pool, NULL, drive, 30 * MRMR_NS_PER_S, &fd));
    close(fd);
    assert_true(is_live(&w));
    assert_int_equal(w.tree->drive[0].cuts, cuts);
    hang_end(&hang);
    detach_now(&w);
    attach(&w);
    wait_until(is_live, &w);
    close_tree(&w);
    end_after(&w);
}

static mrmr_err count_lost(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "drive-lost") == 0;
    return MRMR_OK;
}

static mrmr_err count_gone_again(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg +=
        strcmp(event->kind, "drive-attached") == 0 && strstr(event->text, "has gone again");
    return MRMR_OK;
}

static unsigned told_lost(struct world *w)
{
    unsigned n = 0;
    rig_ok(pool_events(w->rig->pool, 0, 0, count_lost, &n));
    return n;
}

/* It went and came, was written to, and is pulled before anyone could take the mark out: that is a drive which is lost, and none
 * that is detached. So it is if the tree found it there when it began. */
static void test_pulled_again(void **state)
{
    struct world w;
    (void)state;
    for (unsigned early = 0; early < 2; early++) {
        begin(&w, RIG_MEM, 808 + early);
        detach_now(&w);
        rig_take_away(w.rig, 0);
        wait_until(is_seen_gone, &w);
        if (early)
            close_tree(&w);
        rig_bring_back(w.rig, 0);
        if (early)
            open_tree(&w);
        wait_until(is_live, &w);
        overwrite(&w, "f0", 3000, 500);
        rig_take_away(w.rig, 0);
        const unsigned before = told_lost(&w);
        rig_reopen(w.rig);
        assert_int_equal(rig_pool_drive(w.rig, 0)->presence, POOL_AWAY);
        assert_int_equal(told_lost(&w), before + 1);
        rig_reopen(w.rig);
        assert_int_equal(rig_pool_drive(w.rig, 0)->presence, POOL_AWAY);
        assert_int_equal(told_lost(&w), before + 1);
        unsigned again = 0; /* and nobody says that it is in service */
        rig_ok(pool_events(w.rig->pool, 0, 0, count_gone_again, &again));
        assert_int_equal(again, 1);
        rig_bring_back(w.rig, 0);
        rig_reopen(w.rig);
        assert_true(pool_drive_present(rig_pool_drive(w.rig, 0)));
        close_tree(&w);
        end_after(&w);
    }
}

/* A tree that begins while it is detached does not use it, nor does one that was not asked. */
static void test_by_the_catalog(void **state)
{
    struct world w;
    struct pool_detach_report report;
    (void)state;
    begin(&w, RIG_MEM, 807);
    close_tree(&w);
    rig_ok(detach(&w, &report));
    open_tree(&w);
    assert_false(is_live(&w));
    reads(&w, "f0");
    attach(&w);
    wait_until(is_live, &w);
    struct mrmr_uuid mark;
    rig_ok(mrmr_uuid_make(&mark));
    rig_ok(pool_detached_set(w.rig->pool->meta, &w.tree->drive[0].drive->meta.uuid, &mark, NULL));
    wait_until(is_out, &w);
    reads(&w, "f0");
    rig_ok(pool_detached_set(w.rig->pool->meta, &w.tree->drive[0].drive->meta.uuid, NULL, NULL));
    wait_until(is_live, &w);
    close_tree(&w);
    end_after(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_let_go),
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_open_for_writing),
        cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_a_read_hangs),
        cmocka_unit_test(test_who_asked_is_killed),
        cmocka_unit_test(test_always_busy),
        cmocka_unit_test(test_who_asked_gave_up),
        cmocka_unit_test(test_unplugged),
        cmocka_unit_test(test_pulled_again),
        cmocka_unit_test(test_by_the_catalog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
