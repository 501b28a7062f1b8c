/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that are written to through the pool's mount while they are being protected (written.h), by a sync of another handle, as of another
 * process: what is claimed of them is what nobody wrote to, and all of it can be given back.
 */
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include "pool/records/direct.h"
#include "pool/records/touched.h"
#include "pool/records/written.h"
#include "pool/records/written_format.h"
#include "pool/retained/retained.h"
#include "pool/stripe/leaf_cache.h"
#include "tests/support/pause.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEAVES = 4 };

/* Drives call from several threads. */
static pthread_mutex_t hooks = PTHREAD_MUTEX_INITIALIZER;

struct hot {
    struct world w;
    struct pool_tree_file *file;
    unsigned times; /* that somebody comes */
    void (*comes)(struct hot *hot);
    unsigned came;
};

static uint64_t exposed(struct hot *hot, const char *path)
{
    struct meta_exposed *ranges = NULL;
    struct meta_node node = rig_node(hot->w.rig, path);
    uint64_t bytes = 0;
    size_t n;
    rig_ok(meta_exposed_of(hot->w.rig->pool->meta, node.id, &ranges, &n));
    for (size_t i = 0; i < n; i++)
        bytes += ranges[i].bytes;
    free(ranges);
    return bytes;
}

static void begin_hot_on(struct hot *hot, enum rig_kind kind, uint64_t seed)
{
    struct world *w = &hot->w;
    begin(w, kind, seed);
    rig_put(w->rig, 0, "new", LEAVES * RIG_MIB);
    rig_put(w->rig, 1, "beside", LEAVES * RIG_MIB);
    for (unsigned i = 0; i < 10000 && try_look(w, POOL_ROOT, "new"); i++)
        pause_a_while();
    hot->file = open_file(w, "new");
}

static void begin_hot(struct hot *hot, uint64_t seed)
{
    begin_hot_on(hot, RIG_LOCAL, seed);
}

/* All that was claimed is as the catalog has it, others lost nothing; and a sync that nobody disturbs brings the rest. */
static void end_hot(struct hot *hot)
{
    rig_clear_faults(hot->w.rig);
    rig_check(hot->w.rig);
    rig_verify(hot->w.rig, false);
    pool_tree_file_close(hot->file);
    close_tree(&hot->w);
    end_after(&hot->w);
}

static void write_leaf(struct hot *hot, uint64_t leaf)
{
    write_part(&hot->w, hot->file, "new", leaf * RIG_MIB + 1000 + hot->came, 100);
}

/* Before a row is named all bytes were read. */
static void when_asked(void *arg, enum drv_fault_op op, const char *path)
{
    struct hot *hot = arg;
    (void)op, (void)path;
    mrmr_locked(&hooks);
    if (hot->came < hot->times) {
        hot->came++;
        hot->comes(hot);
    }
}

static struct pool_sync_report protect(struct hot *hot)
{
    struct pool_sync_report report = {0};
    struct pool_job job = rig_job(hot->w.rig);
    for (unsigned d = 0; hot->comes && d < hot->w.rig->n; d++) {
        const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
            .prefix = ".mrmr/parity",
            .action = DRV_FAULT_HOOK,
            .hook = when_asked,
            .arg = hot};
        rig_ok(drv_fault_add(hot->w.rig->drive[d].fault, &rule, NULL));
    }
    rig_ok(pool_protect(hot->w.rig->pool, &job, NULL, &report));
    assert_int_equal(hot->came, hot->times);
    return report;
}

static void scan(struct hot *hot)
{
    struct pool_sync_report report = {0};
    struct pool_job job = rig_job(hot->w.rig);
    rig_ok(pool_scan(hot->w.rig->pool, &job, false, &report));
    assert_int_equal(exposed(hot, "new"), LEAVES * RIG_MIB);
}

static void test_written_after_the_scan(void **state)
{
    struct hot hot = {.came = 0};
    (void)state;
    begin_hot(&hot, 501);
    scan(&hot);
    write_leaf(&hot, 1);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_int_equal(exposed(&hot, "new"), RIG_MIB);
    assert_string_equal(rig_states(hot.w.rig, "new"), "LLL");
    end_hot(&hot);
}

static void writes_a_leaf(struct hot *hot)
{
    write_leaf(hot, hot->came);
}

static void test_written_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = writes_a_leaf, .times = 1};
    (void)state;
    begin_hot(&hot, 502);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_int_equal(exposed(&hot, "new"), RIG_MIB);
    assert_int_equal(exposed(&hot, "beside"), 0);
    end_hot(&hot);
}

/* Each time another one, until none is left to claim but the first. */
static void test_written_each_time_that_it_is_tried(void **state)
{
    struct hot hot = {.comes = writes_a_leaf, .times = LEAVES - 1};
    (void)state;
    begin_hot(&hot, 503);
    scan(&hot);
    protect(&hot);
    assert_int_equal(exposed(&hot, "new"), (LEAVES - 1) * RIG_MIB);
    assert_string_equal(rig_states(hot.w.rig, "new"), "L");
    end_hot(&hot);
}

static void punches(struct hot *hot)
{
    rig_ok(pool_tree_file_range(hot->file, POOL_RANGE_PUNCH, 100, LEAVES * RIG_MIB / 2));
    struct rig_file *known = rig_find(hot->w.rig, "new");
    known->hole_begin = 100;
    known->hole_end = 100 + LEAVES * RIG_MIB / 2;
}

static void test_punched_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = punches, .times = 1};
    (void)state;
    begin_hot(&hot, 504);
    scan(&hot);
    protect(&hot);
    assert_int_equal(exposed(&hot, "new"), 3 * RIG_MIB);
    end_hot(&hot);
}

/* --- its end goes to and fro --- */

static void resize(struct hot *hot, uint64_t size)
{
    const struct pool_attr set = {.size = size};
    struct rig_file *known = rig_find(hot->w.rig, "new");
    struct pool_attr attr;
    rig_ok(pool_tree_set(hot->w.tree, NULL, look(&hot->w, POOL_ROOT, "new").node, hot->file,
        POOL_SET_SIZE, &set, &attr));
    if (size > known->size) {
        known->hole_begin = known->size;
        known->hole_end = size;
    }
    known->size = size;
}

static void cuts_short(struct hot *hot)
{
    resize(hot, RIG_MIB + 10);
}

static void test_cut_short_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = cuts_short, .times = 1};
    (void)state;
    begin_hot(&hot, 509);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "L");
    assert_int_equal(exposed(&hot, "beside"), 0);
    end_hot(&hot);
}

/* All that was read of it is what it was, but for what was cut off and is zeros now. */
static void cuts_and_grows(struct hot *hot)
{
    resize(hot, 2 * RIG_MIB + 10);
    resize(hot, LEAVES * RIG_MIB);
}

static void test_cut_and_grown_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = cuts_and_grows, .times = 1};
    (void)state;
    begin_hot(&hot, 514);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "LL");
    assert_int_equal(exposed(&hot, "new"), 2 * RIG_MIB);
    end_hot(&hot);
}

/* Room is got for it, which changes no byte, and is not noted: that it was cut is. */
static void cuts_and_allocates(struct hot *hot)
{
    struct rig_file *known = rig_find(hot->w.rig, "new");
    resize(hot, 2 * RIG_MIB + 10);
    rig_ok(pool_tree_file_range(hot->file, POOL_RANGE_ALLOCATE, 0, LEAVES * RIG_MIB));
    known->hole_begin = known->size;
    known->hole_end = known->size = LEAVES * RIG_MIB;
}

static void test_cut_and_allocated_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = cuts_and_allocates, .times = 1};
    (void)state;
    begin_hot(&hot, 523);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "LL");
    end_hot(&hot);
}

static void grows(struct hot *hot)
{
    resize(hot, 2 * LEAVES * RIG_MIB + 100);
}

static void test_grown_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = grows, .times = 1};
    (void)state;
    begin_hot(&hot, 515);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "LLLL");
    end_hot(&hot);
}

/* As where it was opened with O_TRUNC; what is written then is no longer than it was. */
static void empties(struct hot *hot)
{
    resize(hot, 0);
    resize(hot, LEAVES * RIG_MIB);
}

static void test_emptied_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = empties, .times = 1};
    (void)state;
    begin_hot(&hot, 516);
    scan(&hot);
    protect(&hot);
    assert_string_equal(rig_states(hot.w.rig, "new"), "");
    assert_int_equal(exposed(&hot, "new"), LEAVES * RIG_MIB);
    assert_int_equal(exposed(&hot, "beside"), 0);
    end_hot(&hot);
}

/* An append goes to where it ends then. Of zeros. */
static void cuts_and_appends(struct hot *hot)
{
    struct rig_file *known = rig_find(hot->w.rig, "new");
    uint8_t *zeros = calloc(1, RIG_MIB);
    assert_non_null(zeros);
    resize(hot, 3 * RIG_MIB - 10);
    rig_ok(pool_tree_file_append(hot->file, LEAVES * RIG_MIB, zeros, RIG_MIB));
    free(zeros);
    known->hole_begin = known->size;
    known->hole_end = known->size += RIG_MIB;
}

static void test_cut_and_appended_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = cuts_and_appends, .times = 1};
    (void)state;
    begin_hot(&hot, 517);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "LL");
    assert_int_equal(exposed(&hot, "new"), 2 * RIG_MIB);
    end_hot(&hot);
}

static void punches_the_end(struct hot *hot)
{
    rig_ok(pool_tree_file_range(hot->file, POOL_RANGE_PUNCH, 3 * RIG_MIB + 1, 2 * RIG_MIB));
    struct rig_file *known = rig_find(hot->w.rig, "new");
    known->hole_begin = 3 * RIG_MIB + 1;
    known->hole_end = LEAVES * RIG_MIB;
}

static void test_punched_at_its_end_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = punches_the_end, .times = 1};
    (void)state;
    begin_hot(&hot, 518);
    scan(&hot);
    protect(&hot);
    assert_string_equal(rig_states(hot.w.rig, "new"), "LLL");
    end_hot(&hot);
}

static atomic_flag in_read = ATOMIC_FLAG_INIT; /* who cuts reads, too */

/* It is open, and the first of its bytes are about to be read. */
static void when_read(void *arg, enum drv_fault_op op, const char *path)
{
    struct hot *hot = arg;
    (void)op, (void)path;
    if (atomic_flag_test_and_set(&in_read))
        return;
    if (!hot->came++)
        cuts_short(hot);
    atomic_flag_clear(&in_read);
}

/* What is left is protected in the same run, and what is coded with it. */
static void test_cut_short_while_it_is_read(void **state)
{
    struct hot hot = {.came = 0};
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ,
        .prefix = "new",
        .action = DRV_FAULT_HOOK,
        .hook = when_read,
        .arg = &hot};
    struct pool_sync_report report = {0};
    (void)state;
    begin_hot(&hot, 519);
    scan(&hot);
    struct pool_job job = rig_job(hot.w.rig);
    rig_ok(drv_fault_add(hot.w.rig->drive[0].fault, &rule, NULL));
    rig_ok(pool_protect(hot.w.rig->pool, &job, NULL, &report));
    assert_true(hot.came > 0);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "L");
    assert_int_equal(exposed(&hot, "beside"), 0);
    end_hot(&hot);
}

/* As if all that was noted so far had been a long time ago. */
static void time_goes_by(struct hot *hot)
{
    static const uint8_t zeros[1 << 16];
    struct stat stat;
    int fd = openat(hot->w.rig->pool->dirfd, "written", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &stat), 0);
    for (off_t at = sizeof(struct written_head); at < stat.st_size;) {
        const ssize_t n = pwrite(fd, zeros,
            stat.st_size - at < (off_t)sizeof zeros ? (size_t)(stat.st_size - at) : sizeof zeros,
            at);
        assert_true(n > 0);
        at += n;
    }
    close(fd);
}

/* Not a moment ago; and the leaf is not there. */
static void test_cut_short_long_after_the_scan(void **state)
{
    struct hot hot = {.came = 0};
    (void)state;
    begin_hot(&hot, 521);
    scan(&hot);
    cuts_short(&hot);
    time_goes_by(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "L");
    assert_int_equal(exposed(&hot, "beside"), 0);
    end_hot(&hot);
}

/* On the drive itself, beside who writes to it through the mount. */
static void is_cut_on_the_drive(struct hot *hot)
{
    struct drv_file *raw;
    write_leaf(hot, 1);
    rig_ok(drv_file_open(hot->w.rig->drive[0].raw, "new", DRV_OPEN_WRITE, 0, &raw));
    rig_ok(drv_file_truncate(raw, 2 * RIG_MIB + 10));
    drv_file_close(raw);
    rig_find(hot->w.rig, "new")->size = 2 * RIG_MIB + 10;
}

/* Nobody noted it, and it is not there. */
static void test_cut_on_the_drive_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = is_cut_on_the_drive, .times = 1};
    (void)state;
    begin_hot(&hot, 522);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 0);
    assert_string_equal(rig_states(hot.w.rig, "new"), "L");
    end_hot(&hot);
}

/* --- and others --- */

/* What was claimed of it counts from the commit on: who writes to it keeps it before. */
static void test_claimed_and_then_written(void **state)
{
    struct hot hot = {.comes = writes_a_leaf, .times = 1};
    (void)state;
    begin_hot(&hot, 505);
    scan(&hot);
    protect(&hot);
    const unsigned kept = count_retained(hot.w.rig, 0);
    write_leaf(&hot, 3); /* claimed */
    assert_int_equal(count_retained(hot.w.rig, 0), kept + 1);
    write_leaf(&hot, 1); /* exposed */
    assert_int_equal(count_retained(hot.w.rig, 0), kept + 1);
    end_hot(&hot);
}

/* On the drive itself, beside who writes elsewhere through the mount: nobody noted which leaves. */
static void edits_on_the_drive(struct hot *hot)
{
    rig_edit(hot->w.rig, "new", RIG_MIB + 5, 50);
    overwrite(&hot->w, "f3", 10, 100);
}

static void test_edited_on_the_drive_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = edits_on_the_drive, .times = 1};
    (void)state;
    begin_hot(&hot, 506);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 1);
    assert_int_equal(exposed(&hot, "new"), LEAVES * RIG_MIB);
    end_hot(&hot);
}

/* So much is touched on its drive that a mark stands for all: it does not say that this was the mount. */
static void test_edited_on_a_drive_with_a_mark(void **state)
{
    struct hot hot = {.comes = edits_on_the_drive, .times = 1};
    int fd;
    (void)state;
    begin_hot(&hot, 513);
    scan(&hot);
    rig_ok(pool_touched_open(hot.w.rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, rig_pool_drive(hot.w.rig, 0)->meta.id, POOL_TOUCHED_ALL, 0));
    close(fd);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 1);
    assert_int_equal(exposed(&hot, "new"), LEAVES * RIG_MIB);
    end_hot(&hot);
}

/* Another mount notes from now on, and nobody knows what the one before it did. */
static void is_mounted_anew(struct hot *hot)
{
    write_leaf(hot, 1);
    pool_tree_file_close(hot->file);
    close_tree(&hot->w);
    open_tree(&hot->w);
    hot->file = open_file(&hot->w, "new");
}

static void test_mounted_anew_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = is_mounted_anew, .times = 1};
    (void)state;
    begin_hot(&hot, 507);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 1);
    assert_int_equal(exposed(&hot, "new"), LEAVES * RIG_MIB);
    end_hot(&hot);
}

/* Nobody notes from now on, and what a mount does that comes is not known: it may not know of the notes. */
static void is_unmounted(struct hot *hot)
{
    write_leaf(hot, 1);
    pool_tree_file_close(hot->file);
    close_tree(&hot->w);
}

static void test_unmounted_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = is_unmounted, .times = 1};
    (void)state;
    begin_hot(&hot, 511);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 1);
    assert_int_equal(exposed(&hot, "new"), LEAVES * RIG_MIB);
    open_tree(&hot.w);
    hot.file = open_file(&hot.w, "new");
    end_hot(&hot);
}

/* As where the pool's folder had no room for it. */
static void nothing_is_noted(struct hot *hot)
{
    write_leaf(hot, 1);
    assert_int_equal(unlinkat(hot->w.rig->pool->dirfd, "written", 0), 0);
}

static void test_not_noted_while_it_is_protected(void **state)
{
    struct hot hot = {.comes = nothing_is_noted, .times = 1};
    (void)state;
    begin_hot(&hot, 508);
    scan(&hot);
    struct pool_sync_report report = protect(&hot);
    assert_int_equal(report.skipped, 1);
    assert_int_equal(exposed(&hot, "new"), LEAVES * RIG_MIB);
    end_hot(&hot);
}

/* --- what can be read of it without its drive --- */

/* Protected, and written to in one leaf before its drive was scanned once more: what was not since is as the catalog has it. */
static void begin_known(struct hot *hot, uint64_t seed)
{
    begin_hot(hot, seed);
    rig_sync(hot->w.rig);
    write_leaf(hot, 1);
    rig_sync(hot->w.rig);
    write_leaf(hot, 2);
}

/* The mount finds its drive gone, as everybody does, and somebody opens the file. */
static mrmr_err open_without(struct hot *hot, struct pool_tree_file **ret_file)
{
    bool same;
    const uint64_t node = look(&hot->w, POOL_ROOT, "new").node;
    pool_tree_file_close(hot->file);
    hot->file = NULL;
    rig_take_away(hot->w.rig, 0);
    return pool_tree_file_open(hot->w.tree, node, false, ret_file, &same);
}

static mrmr_err read_leaf(struct hot *hot, struct pool_tree_file *file, uint64_t leaf)
{
    static uint8_t got[RIG_MIB], want[RIG_MIB];
    size_t n = 0;
    MRMR_TRY(pool_tree_file_read(file, leaf * RIG_MIB, got, sizeof got, &n));
    assert_int_equal(n, sizeof got);
    rig_expected(rig_find(hot->w.rig, "new"), leaf * RIG_MIB, want, sizeof want);
    assert_memory_equal(got, want, sizeof got);
    return MRMR_OK;
}

/* It returns: all is as it was left. */
static void end_known(struct hot *hot)
{
    rig_bring_back(hot->w.rig, 0);
    close_tree(&hot->w);
    end_after(&hot->w);
}

static void test_what_was_not_written_to_is_read(void **state)
{
    struct hot hot = {.came = 0};
    struct pool_tree_file *file = NULL;
    (void)state;
    begin_known(&hot, 540);
    rig_ok(open_without(&hot, &file));
    rig_ok(read_leaf(&hot, file, 0));
    rig_ok(read_leaf(&hot, file, 1)); /* written to before the last scan, and protected since */
    assert_int_equal(read_leaf(&hot, file, 2), MRMR_OFFLINE);
    rig_ok(read_leaf(&hot, file, 3));
    pool_tree_file_close(file);
    end_known(&hot);
}

/* Whatever is done, nobody gets bytes of the past for those of now: none are given at all. */
static void nothing_is_read(struct hot *hot, void (*what)(struct hot *hot))
{
    struct pool_tree_file *file = NULL;
    what(hot);
    assert_int_equal(open_without(hot, &file), MRMR_OFFLINE);
    end_known(hot);
}

/* And the rest of it is. */
static void test_what_was_cut_off_is_not_read(void **state)
{
    struct pool_tree_file *file = NULL;
    struct hot hot = {.came = 0};
    (void)state;
    begin_known(&hot, 541);
    resize(&hot, RIG_MIB + 10);
    rig_ok(open_without(&hot, &file));
    rig_ok(read_leaf(&hot, file, 0));
    for (uint64_t leaf = 1; leaf < LEAVES; leaf++)
        assert_int_equal(read_leaf(&hot, file, leaf), MRMR_OFFLINE);
    pool_tree_file_close(file);
    end_known(&hot);
}

/* It is as long as it was, and what was cut off is something else. */
static void is_cut_and_grows_again(struct hot *hot)
{
    resize(hot, RIG_MIB + 10);
    resize(hot, LEAVES * RIG_MIB);
}

static void grows_and_is_cut(struct hot *hot)
{
    static const char more[] = "more";
    rig_ok(pool_tree_file_write(hot->file, LEAVES * RIG_MIB, more, sizeof more));
    resize(hot, LEAVES * RIG_MIB); /* as the rig knows it */
}

/* What is left is only that it grew. */
static void grows_and_stays(struct hot *hot)
{
    static uint8_t zero[100];
    struct rig_file *known = rig_find(hot->w.rig, "new");
    rig_ok(pool_tree_file_write(hot->file, known->size, zero, sizeof zero));
    known->hole_begin = known->size;
    known->size += sizeof zero;
    known->hole_end = known->size;
}

static void gets_room(struct hot *hot)
{
    struct rig_file *known = rig_find(hot->w.rig, "new");
    rig_ok(pool_tree_file_range(hot->file, POOL_RANGE_ALLOCATE, 0, known->size + 100));
    known->hole_begin = known->size;
    known->size += 100;
    known->hole_end = known->size;
}

static void test_what_may_be_another_is_not_read(void **state)
{
    static void (*const what[])(struct hot *) = {is_cut_and_grows_again, grows_and_is_cut,
        grows_and_stays, gets_room, is_mounted_anew, nothing_is_noted};
    (void)state;
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        struct hot hot = {.came = 0};
        begin_known(&hot, 542 + i);
        nothing_is_read(&hot, what[i]);
    }
}

/* Its drive is listed, and not looked at yet; then it was. */
static void when_looked_at(void *arg, enum drv_fault_op op, const char *path)
{
    struct hot *hot = arg;
    mrmr_locked(&hooks);
    if (op == DRV_FAULT_LIST && !*path && !hot->came) {
        hot->came++;
        resize(hot, 2 * RIG_MIB);
    } else if (op == DRV_FAULT_SYNC_ALL && hot->came == 1) {
        hot->came++;
        resize(hot, LEAVES * RIG_MIB);
    }
}

/* A scan finds it shorter than it was when that began, and than it is. */
static void test_cut_and_grown_around_a_look(void **state)
{
    struct hot hot = {.came = 0};
    struct pool_tree_file *file = NULL;
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST | DRV_FAULT_SYNC_ALL,
        .action = DRV_FAULT_HOOK,
        .hook = when_looked_at,
        .arg = &hot};
    (void)state;
    begin_known(&hot, 554);
    rig_ok(drv_fault_add(hot.w.rig->drive[0].fault, &rule, NULL));
    rig_sync(hot.w.rig);
    assert_int_equal(hot.came, 2);
    rig_clear_faults(hot.w.rig);
    assert_int_equal(rig_node(hot.w.rig, "new").size, 2 * RIG_MIB);
    assert_int_equal(open_without(&hot, &file), MRMR_OFFLINE);
    end_known(&hot);
}

/* It is shorter on its drive, and nothing says that this is an edit: it is held, as it was. Written to then, it is neither. */
static void test_what_is_held_is_not_read(void **state)
{
    struct hot hot = {.came = 0};
    struct pool_tree_file *file = NULL;
    struct drv_file *raw;
    (void)state;
    begin(&hot.w, RIG_LOCAL, 555);
    rig_put_sparse(hot.w.rig, 0, "new", LEAVES * RIG_MIB, RIG_MIB, LEAVES * RIG_MIB);
    rig_sync(hot.w.rig);
    const int64_t mtime = rig_mtime(hot.w.rig, "new");
    rig_ok(drv_file_open(hot.w.rig->drive[0].raw, "new", DRV_OPEN_WRITE, 0, &raw));
    rig_ok(drv_file_truncate(raw, 2 * RIG_MIB));
    drv_file_close(raw);
    rig_set_mtime(hot.w.rig, "new", mtime);
    struct pool_sync_report report = {0};
    struct pool_job job = rig_job(hot.w.rig);
    pool_sync(hot.w.rig->pool, &job, NULL, &report);
    assert_int_equal(report.held, 1);
    for (unsigned i = 0; i < 10000 && try_look(&hot.w, POOL_ROOT, "new"); i++)
        pause_a_while();
    hot.file = open_file(&hot.w, "new");
    static const char more[] = "more";
    rig_ok(pool_tree_file_write(hot.file, 0, more, sizeof more));
    assert_int_equal(open_without(&hot, &file), MRMR_OFFLINE);
    rig_bring_back(hot.w.rig, 0);
    close_tree(&hot.w);
    rig_destroy(hot.w.rig);
}

/* What a scan makes doubtful while it is open is taken for no hole; and given by nobody who goes by what is in place. */
static void test_what_became_doubtful_is_no_hole(void **state)
{
    static uint8_t got[RIG_MIB], want[RIG_MIB];
    struct hot hot = {.came = 0};
    struct pool_file *plain, *in_place;
    struct pool_sync_report report = {0};
    size_t n;
    (void)state;
    begin_known(&hot, 556);
    struct pool *pool = hot.w.rig->pool;
    struct pool_job job = rig_job(hot.w.rig);
    const struct meta_node node = rig_node(hot.w.rig, "beside");
    rig_ok(pool_file_open_node(pool, &node, POOL_READ_DECODE, &plain));
    rig_ok(pool_file_open_node(pool, &node, POOL_READ_VERIFY | POOL_READ_IN_PLACE, &in_place));
    rig_ok(drv_set_attr(
        hot.w.rig->drive[1].raw, "beside", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0600}));
    rig_ok(pool_scan(pool, &job, false, &report));
    assert_true(rig_node(hot.w.rig, "beside").recheck);
    rig_ok(pool_file_read(plain, RIG_MIB, got, sizeof got, &n));
    rig_expected(rig_find(hot.w.rig, "beside"), RIG_MIB, want, sizeof want);
    assert_memory_equal(got, want, sizeof got);
    assert_int_equal(pool_file_read(in_place, RIG_MIB, got, sizeof got, &n), MRMR_OFFLINE);
    rig_ok(meta_extents_mark(pool->meta, node.id, META_SUSPECT, META_MISSING));
    assert_int_equal(pool_file_read(in_place, RIG_MIB, got, sizeof got, &n), MRMR_OFFLINE);
    pool_file_close(plain);
    pool_file_close(in_place);
    pool_tree_file_close(hot.file);
    close_tree(&hot.w);
    rig_destroy(hot.w.rig);
}

static int64_t scanned(struct hot *hot, unsigned drive)
{
    struct pool_sync_report report = {0};
    struct pool_job job = rig_job(hot->w.rig);
    struct pool *pool = hot->w.rig->pool;
    rig_ok(pool_scan(pool, &job, false, &report));
    return pool_written_since_scan(pool, rig_pool_drive(hot->w.rig, drive)->meta.id).moment;
}

/* One that did not see all of the drive, or while a file of it was in direct use: the one before counts, and of other drives this one. */
static void test_not_every_scan_counts(void **state)
{
    struct hot hot = {.came = 0};
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_LIST, .prefix = "folder", .err = MRMR_DENIED};
    struct pool_direct *direct;
    unsigned place;
    (void)state;
    begin_hot(&hot, 557);
    rig_put(hot.w.rig, 0, "folder/file", 100);
    struct pool *pool = hot.w.rig->pool;
    const int64_t first = scanned(&hot, 0), beside = scanned(&hot, 1);
    const int64_t then = scanned(&hot, 0);
    assert_true(first && beside > first && then > beside);
    rig_ok(drv_fault_add(hot.w.rig->drive[0].fault, &rule, NULL));
    assert_int_equal(scanned(&hot, 0), then);
    rig_clear_faults(hot.w.rig);
    rig_ok(pool_direct_open(pool->dirfd, &direct));
    rig_ok(pool_direct_add(direct, rig_pool_drive(hot.w.rig, 0)->meta.id, 9999, &place));
    assert_int_equal(scanned(&hot, 0), then);
    assert_true(scanned(&hot, 1) > then);
    pool_direct_remove(direct, place);
    assert_true(scanned(&hot, 0) > then);
    pool_direct_close(direct);
    pool_tree_file_close(hot.file);
    close_tree(&hot.w);
    rig_destroy(hot.w.rig);
}

/* With so many touched that a mark stands for all. */
static void gets_a_mark(struct hot *hot)
{
    int fd;
    rig_ok(pool_touched_open(hot->w.rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, rig_pool_drive(hot->w.rig, 0)->meta.id, POOL_TOUCHED_ALL, 0));
    close(fd);
}

static void test_with_a_mark_nothing_is_read(void **state)
{
    struct hot hot = {.came = 0};
    (void)state;
    begin_known(&hot, 550);
    nothing_is_read(&hot, gets_a_mark);
}

/* Whoever has it open counts on the moment at which he opened it: what was written to since is not given, whatever was scanned meanwhile. */
static void test_a_later_scan_makes_nothing_older(void **state)
{
    struct hot hot = {.came = 0};
    struct pool_written_since first, then;
    (void)state;
    begin_known(&hot, 551);
    struct pool *pool = hot.w.rig->pool;
    const int64_t drive = rig_pool_drive(hot.w.rig, 0)->meta.id;
    const uint64_t ino = rig_node(hot.w.rig, "new").ino;
    first = pool_written_since_scan(pool, drive);
    assert_int_not_equal(first.life, 0);
    assert_true(pool_written_is_same(pool, first, drive, ino, 0));
    assert_false(pool_written_is_same(pool, first, drive, ino, 2));
    rig_sync(hot.w.rig);
    then = pool_written_since_scan(pool, drive);
    assert_true(then.moment > first.moment);
    assert_true(pool_written_is_same(pool, then, drive, ino, 2));
    assert_false(pool_written_is_same(pool, first, drive, ino, 2));
    end_hot(&hot);
}

/* Scanned, and not compared yet: what it has of the file was read by nobody since. */
static void test_what_was_not_compared_is_not_read(void **state)
{
    struct hot hot = {.came = 0};
    struct pool_sync_report report = {0};
    struct pool_tree_file *file = NULL;
    (void)state;
    begin_known(&hot, 552);
    struct pool_job job = rig_job(hot.w.rig);
    rig_ok(pool_scan(hot.w.rig->pool, &job, false, &report));
    write_leaf(&hot, 3);
    rig_ok(open_without(&hot, &file));
    for (uint64_t leaf = 0; leaf < LEAVES; leaf++)
        assert_int_equal(read_leaf(&hot, file, leaf), MRMR_OFFLINE);
    pool_tree_file_close(file);
    end_known(&hot);
}

/* Another file gets its name; none of its own bytes are protected. */
static void test_what_took_its_place_is_not_read(void **state)
{
    struct hot hot = {.came = 0};
    (void)state;
    begin_known(&hot, 553);
    struct pool *pool = hot.w.rig->pool;
    const int64_t drive = rig_pool_drive(hot.w.rig, 0)->meta.id;
    const uint64_t ino = rig_node(hot.w.rig, "new").ino;
    const struct pool_written_since since = pool_written_since_scan(pool, drive);
    assert_true(pool_written_is_same(pool, since, drive, ino, POOL_WRITTEN_NO_LEAF));
    rig_ok(pool_tree_rename(hot.w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "new", 0));
    assert_false(pool_written_is_same(pool, since, drive, ino, POOL_WRITTEN_NO_LEAF));
    pool_tree_file_close(hot.file);
    close_tree(&hot.w);
    rig_destroy(hot.w.rig);
}

/* --- what leaves a stripe --- */

static atomic_flag writes = ATOMIC_FLAG_INIT; /* who writes reads, too */

/* A file is open, and as it was; the first of its bytes are about to be read. */
static void when_first_read(void *arg, enum drv_fault_op op, const char *path)
{
    struct hot *hot = arg;
    (void)op;
    if (atomic_flag_test_and_set(&writes))
        return;
    if (hot->came < hot->times) {
        hot->came++;
        overwrite(&hot->w, path, 1000 + hot->came, 100);
    }
    atomic_flag_clear(&writes);
}

static void rot_noticed(bool warning, const char *text, void *arg)
{
    (void)warning;
    *(unsigned *)arg += strstr(text, "nobody has edited it") != NULL;
}

/* Rows that a stripe shall have more have no drive there, so blocks leave it, and are read to be protected elsewhere: as they were
 * protected before, or somebody has edited them. */
static void leaves_a_stripe(uint64_t seed)
{
    struct hot hot = {.times = DRIVES};
    unsigned rotten = 0;
    begin(&hot.w, RIG_LOCAL, seed);
    struct rig *rig = hot.w.rig;
    rig_ok(pool_set_redundancy(rig->pool, 3));
    for (unsigned d = 0; d < rig->n; d++) {
        const struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_READ,
            .prefix = "f",
            .action = DRV_FAULT_HOOK,
            .hook = when_first_read,
            .arg = &hot};
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
    }
    struct pool_job job = {.notice = rot_noticed, .arg = &rotten};
    rig_ok(pool_sync(rig->pool, &job, NULL, &rig->report));
    assert_int_equal(hot.came, hot.times);
    assert_int_equal(rotten, 0);
    rig_clear_faults(rig);
    close_tree(&hot.w);
    end_after(&hot.w);
}

/* Whichever lane comes first. */
static void test_written_while_it_leaves_a_stripe(void **state)
{
    (void)state;
    for (uint64_t seed = 510; seed < 513; seed++)
        leaves_a_stripe(seed);
}

/* --- the power goes --- */

/* Of what was claimed of it no byte need be on its drive yet, nor the times that it has by then. */
static void claimed_and_then_cut(uint64_t seed)
{
    struct hot hot = {.comes = writes_a_leaf, .times = 1};
    struct pool_sync_report report = {0};
    char first[512];
    begin_hot_on(&hot, RIG_MEM_CUT, seed);
    struct rig *rig = hot.w.rig;
    rig_sync_drives(rig);
    scan(&hot);
    /* Asked for the plan: what is written to from then on is not left out. */
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_SPACE, .action = DRV_FAULT_HOOK, .hook = when_asked, .arg = &hot};
    rig_ok(drv_fault_add(rig->drive[0].fault, &rule, NULL));
    struct pool_job job = rig_job(rig);
    rig_ok(pool_protect(rig->pool, &job, NULL, &report));
    assert_int_equal(hot.came, 1);
    assert_int_equal(exposed(&hot, "new"), 0);
    rig_clear_faults(rig);
    pool_tree_file_close(hot.file);
    close_tree(&hot.w);
    rig_close(rig);
    rig_power_cut(rig, seed);
    rig_open(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_compare(rig->pool, &job, &report));
    if (rig_findings(rig, true, first))
        fail_msg("%s", first);
    rig_destroy(rig);
}

static void test_claimed_and_then_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 520; seed < 525; seed++)
        claimed_and_then_cut(seed);
}

/* Nobody writes to it any more, and it is in memory yet: as the catalog has it after the cut, it has what was claimed. */
static void written_synced_and_then_cut(uint64_t seed)
{
    struct world w;
    struct pool_sync_report report = {0};
    char first[512];
    begin(&w, RIG_MEM_CUT, seed);
    struct rig *rig = w.rig;
    struct pool_job job = rig_job(rig);
    rig_sync_drives(rig);
    overwrite(&w, "f0", RIG_MIB + 7, 100);
    rig_sync(rig);
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    close_tree(&w);
    rig_close(rig);
    rig_power_cut(rig, seed);
    rig_open(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_compare(rig->pool, &job, &report));
    if (rig_findings(rig, true, first))
        fail_msg("seed %u: %s", (unsigned)seed, first);
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    rig_destroy(rig);
}

static void test_written_synced_and_then_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 560; seed < 570; seed++)
        written_synced_and_then_cut(seed);
}

/* Part of f0 is written over, and gets the bytes again that a stripe has of it: in memory, and what was kept of them is let go of; or, where
 * the file goes on to be written to, a scan does not look at it again. */
enum back { BACK_AFTER_SCAN, BACK_BEFORE_SCAN, BACK_WITHOUT_SCAN };

static void written_back_and_then_cut(enum back back, uint64_t seed)
{
    enum { SIZE = 100 };
    struct world w;
    struct pool_sync_report report = {0};
    struct pool_retained *retained = NULL;
    uint8_t was[SIZE];
    char first[512];
    begin(&w, RIG_MEM_CUT, seed);
    struct rig *rig = w.rig;
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_expected(rig_find(rig, "f0"), RIG_MIB, was, SIZE);
    write_part(&w, file, "f0", RIG_MIB, SIZE);
    rig_ok(pool_tree_file_sync(file));
    rig_sync_drives(rig);
    struct pool_job job = rig_job(rig);
    if (back != BACK_AFTER_SCAN)
        rig_ok(pool_tree_file_write(file, RIG_MIB, was, SIZE));
    rig_ok(pool_retained_list(rig->pool, &retained));
    if (back != BACK_WITHOUT_SCAN)
        rig_ok(pool_scan(rig->pool, &job, false, &report));
    if (back == BACK_AFTER_SCAN)
        rig_ok(pool_tree_file_write(file, RIG_MIB, was, SIZE));
    if (back != BACK_WITHOUT_SCAN)
        rig_ok(pool_compare(rig->pool, &job, &report));
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    if (back != BACK_AFTER_SCAN) {
        rig_ok(pool_retained_release(rig->pool, &job, retained));
        assert_int_equal(count_retained(rig, 0), 0);
    }
    pool_retained_free(retained);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_close(rig);
    rig_power_cut(rig, seed);
    rig_open(rig);
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    rig_ok(pool_compare(rig->pool, &job, &report));
    assert_string_equal(rig_states(rig, "f0"), "LLL");
    if (rig_findings(rig, true, first))
        fail_msg("%s", first);
    rig_destroy(rig);
}

static void test_written_back_and_then_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 530; seed < 535; seed++)
        written_back_and_then_cut(BACK_AFTER_SCAN, seed);
}

static void test_written_back_scanned_and_then_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 540; seed < 550; seed++)
        written_back_and_then_cut(BACK_BEFORE_SCAN, seed);
}

static void test_written_back_released_and_then_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 550; seed < 560; seed++)
        written_back_and_then_cut(BACK_WITHOUT_SCAN, seed);
}

/* --- the table --- */

struct table {
    char dir[64];
    struct pool pool; /* nothing else of it is looked at */
    struct pool_written *written;
    struct pool_written_since since;
    struct pool_written_table table;
};

static void table_begin(struct table *t)
{
    *t = (struct table){.dir = "/tmp/mrmr-written-XXXXXX"};
    assert_non_null(mkdtemp(t->dir));
    t->pool.dirfd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(t->pool.dirfd >= 0);
    rig_ok(pool_written_open(t->pool.dirfd, &t->written));
    t->since = pool_written_begin(&t->pool);
    assert_int_not_equal(t->since.life, 0);
}

static void table_end(struct table *t)
{
    pool_written_free(&t->table);
    pool_written_close(t->written);
    unlinkat(t->pool.dirfd, "written", 0);
    close(t->pool.dirfd);
    rmdir(t->dir);
}

/* Of some that have a leaf's place by chance a leaf counts as written, and not all that they have. */
static void test_others_have_its_place(void **state)
{
    enum { WRITTEN = 6000, INODES = 1000, PIECES = 8 };
    struct table t;
    unsigned leaves = 0, wholes = 0;
    (void)state;
    table_begin(&t);
    for (uint64_t leaf = 0; leaf < WRITTEN; leaf++)
        rig_ok(pool_written_note(t.written, 1, 77, leaf * RIG_MIB, leaf * RIG_MIB + 1));
    rig_ok(pool_written_load(&t.pool, &t.table));
    for (uint64_t ino = 1000; ino < 1000 + INODES; ino++) {
        unsigned n = 0;
        for (uint64_t leaf = 0; leaf < PIECES; leaf++)
            n += pool_written_has(&t.table, t.since, 1, ino, leaf);
        leaves += n;
        wholes += n == PIECES;
    }
    assert_int_equal(wholes, 0);
    assert_in_range(leaves, 1, INODES * PIECES / 8);
    for (uint64_t leaf = 0; leaf < WRITTEN; leaf++)
        assert_true(pool_written_has(&t.table, t.since, 1, 77, leaf));
    rig_ok(pool_written_note(t.written, 1, 1000, 0, INT64_MAX));
    pool_written_free(&t.table);
    rig_ok(pool_written_load(&t.pool, &t.table));
    for (uint64_t leaf = 0; leaf < WRITTEN; leaf++)
        assert_true(pool_written_has(&t.table, t.since, 1, 1000, leaf));
    table_end(&t);
}

static bool is_same(struct table *t, struct pool_written_since since, uint64_t ino, uint64_t leaf)
{
    return pool_written_is_same(&t->pool, since, 1, ino, leaf);
}

/* Of a drive that was scanned, and of no other; until somebody else notes. */
static void test_since_a_scan(void **state)
{
    struct table t;
    (void)state;
    table_begin(&t);
    assert_int_equal(pool_written_since_scan(&t.pool, 1).life, 0);
    pool_written_scanned(&t.pool, t.since, 1);
    const struct pool_written_since since = pool_written_since_scan(&t.pool, 1);
    assert_true(since.life == t.since.life && since.moment == t.since.moment);
    assert_int_equal(pool_written_since_scan(&t.pool, 2).life, 0);
    assert_true(is_same(&t, since, 77, 0) && is_same(&t, since, 78, 100));
    rig_ok(pool_written_note(t.written, 1, 77, 0, 1));
    assert_false(is_same(&t, since, 77, 0));
    assert_true(is_same(&t, since, 77, 100));
    rig_ok(pool_written_note(t.written, 1, 77, 0, (POOL_WRITTEN_WIDE + 1) * RIG_MIB));
    assert_false(is_same(&t, since, 77, 100));
    rig_ok(pool_written_note_end(t.written, 1, 78));
    assert_false(is_same(&t, since, 78, 100));
    assert_true(is_same(&t, since, 79, 100));
    pool_written_close(t.written);
    assert_false(is_same(&t, since, 79, 100));
    rig_ok(pool_written_open(t.pool.dirfd, &t.written));
    assert_int_equal(pool_written_since_scan(&t.pool, 1).life, 0);
    assert_false(is_same(&t, since, 79, 100));
    table_end(&t);
}

/* Then nobody believes what was noted before, or will be. */
static void test_a_note_cannot_be_made(void **state)
{
    struct table t;
    struct rlimit was;
    (void)state;
    table_begin(&t);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    const struct rlimit little = {.rlim_cur = 16, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    const mrmr_err err = pool_written_note(t.written, 1, 77, 0, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_DFL);
    rig_ok(err);
    rig_ok(pool_written_note(t.written, 1, 77, RIG_MIB, RIG_MIB + 1));
    rig_ok(pool_written_load(&t.pool, &t.table));
    assert_true(pool_written_has(&t.table, t.since, 1, 77, 0));
    assert_int_equal(pool_written_begin(&t.pool).life, 0);
    table_end(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_after_the_scan),
        cmocka_unit_test(test_written_while_it_is_protected),
        cmocka_unit_test(test_written_each_time_that_it_is_tried),
        cmocka_unit_test(test_punched_while_it_is_protected),
        cmocka_unit_test(test_cut_short_while_it_is_protected),
        cmocka_unit_test(test_cut_and_grown_while_it_is_protected),
        cmocka_unit_test(test_cut_and_allocated_while_it_is_protected),
        cmocka_unit_test(test_grown_while_it_is_protected),
        cmocka_unit_test(test_emptied_while_it_is_protected),
        cmocka_unit_test(test_cut_and_appended_while_it_is_protected),
        cmocka_unit_test(test_punched_at_its_end_while_it_is_protected),
        cmocka_unit_test(test_cut_short_while_it_is_read),
        cmocka_unit_test(test_cut_short_long_after_the_scan),
        cmocka_unit_test(test_cut_on_the_drive_while_it_is_protected),
        cmocka_unit_test(test_claimed_and_then_written),
        cmocka_unit_test(test_edited_on_the_drive_while_it_is_protected),
        cmocka_unit_test(test_edited_on_a_drive_with_a_mark),
        cmocka_unit_test(test_mounted_anew_while_it_is_protected),
        cmocka_unit_test(test_unmounted_while_it_is_protected),
        cmocka_unit_test(test_not_noted_while_it_is_protected),
        cmocka_unit_test(test_what_was_not_written_to_is_read),
        cmocka_unit_test(test_what_was_cut_off_is_not_read),
        cmocka_unit_test(test_what_may_be_another_is_not_read),
        cmocka_unit_test(test_cut_and_grown_around_a_look),
        cmocka_unit_test(test_what_is_held_is_not_read),
        cmocka_unit_test(test_what_became_doubtful_is_no_hole),
        cmocka_unit_test(test_not_every_scan_counts),
        cmocka_unit_test(test_with_a_mark_nothing_is_read),
        cmocka_unit_test(test_a_later_scan_makes_nothing_older),
        cmocka_unit_test(test_what_was_not_compared_is_not_read),
        cmocka_unit_test(test_what_took_its_place_is_not_read),
        cmocka_unit_test(test_written_while_it_leaves_a_stripe),
        cmocka_unit_test(test_claimed_and_then_cut),
        cmocka_unit_test(test_written_synced_and_then_cut),
        cmocka_unit_test(test_written_back_and_then_cut),
        cmocka_unit_test(test_written_back_scanned_and_then_cut),
        cmocka_unit_test(test_written_back_released_and_then_cut),
        cmocka_unit_test(test_others_have_its_place),
        cmocka_unit_test(test_since_a_scan),
        cmocka_unit_test(test_a_note_cannot_be_made),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_hot", tests, NULL, NULL);
}
