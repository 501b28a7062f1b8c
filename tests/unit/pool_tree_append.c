/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Appends through the live tree go to where the file ends on its drive, wherever the caller believes that
 * to be: also among many, also when a first try has written some of it.
 */
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include "tests/support/pause.h"
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, APPENDS = 50, LINE = 100 };

/* The rig knows of it. */
static void append_part(struct world *w, struct pool_tree_file *file, const char *path,
    uint64_t believed, uint64_t size)
{
    struct rig_file *known = rig_find(w->rig, path);
    mrmr_autofree uint8_t *buf = malloc(size);
    const uint64_t end = known->size;
    known->patch[known->patches++] = (struct rig_patch){end, size, rig_random(w->rig, UINT64_MAX)};
    known->size = end + size;
    rig_expected(known, end, buf, size);
    rig_ok(pool_tree_file_append(file, believed, buf, size));
}

/* What is appended on the drive meanwhile stays, and what is kept of the leaf in which it ended is what
 * stripes count on. */
static void test_where_it_ends(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 410);
    struct pool_tree_file *file = open_file(&w, "f0");
    const uint64_t believed = rig_find(w.rig, "f0")->size;
    rig_append(w.rig, "f0", RIG_MIB + 77);
    append_part(&w, file, "f0", believed, 1000);
    append_part(&w, file, "f0", believed + 1000, 1000);
    rig_truncate(w.rig, "f0", RIG_MIB / 2);
    append_part(&w, file, "f0", believed + 2000, 1000);
    assert_int_equal(look(&w, POOL_ROOT, "f0").size, RIG_MIB / 2 + 1000);
    rig_check_originals(w.rig);
    pool_tree_file_close(file);
    close_tree(&w);
    end_after(&w);
}

static void *append_lines(void *arg)
{
    struct pool_tree_file *file = arg;
    char line[LINE];
    memset(line, 'a', sizeof line);
    for (unsigned i = 0; i < APPENDS; i++)
        if (pool_tree_file_append(file, 0, line, sizeof line))
            return NULL;
    return file;
}

static void test_many_at_once(void **state)
{
    struct pool_tree_file *file[THREADS];
    pthread_t thread[THREADS];
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 411);
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "log", 0600, &attr, &file[0]));
    for (unsigned i = 1; i < THREADS; i++)
        file[i] = open_node(&w, attr.node);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, append_lines, file[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *done;
        pthread_join(thread[i], &done);
        assert_ptr_equal(done, file[i]);
    }
    rig_ok(pool_tree_file_attr(file[0], &attr));
    assert_int_equal(attr.size, THREADS * APPENDS * LINE);
    for (unsigned i = 0; i < THREADS; i++)
        pool_tree_file_close(file[i]);
    close_tree(&w);
    end_after(&w);
}

/* The drive is full when some of it is written: it goes whole to another, once. */
static void test_tried_again(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 412);
    struct pool_tree_file *file = open_file(&w, "f0");
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_FILE_WRITE, .prefix = "f0", .action = DRV_FAULT_FULL, .bytes = 400};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &full, NULL));
    append_part(&w, file, "f0", 0, 1000);
    assert_int_equal(look(&w, POOL_ROOT, "f0").size, rig_find(w.rig, "f0")->size);
    for (unsigned d = 1; d < DRIVES; d++)
        if (rig_holds(w.rig, d, "f0"))
            rig_find(w.rig, "f0")->drive = d;
    rig_check_originals(w.rig);
    pool_tree_file_close(file);
    close_tree(&w);
    end_after(&w);
}

/* --- it fails --- */

enum { WROTE = 400, THEIRS = 50 };

struct meanwhile {
    struct world *w;
    uint64_t end;
    bool done;
};

/* Somebody appends on the drive once a part of ours is there. */
static void append_directly(void *arg, enum drv_fault_op op, const char *path)
{
    static const char theirs[THEIRS] = "theirs";
    struct meanwhile *m = arg;
    struct drv *raw = m->w->rig->drive[0].raw;
    struct drv_file *file;
    struct drv_stat stat;
    (void)op;
    rig_ok(drv_stat(raw, path, &stat));
    if (m->done || stat.size == m->end)
        return;
    m->done = true;
    rig_ok(drv_file_open(raw, path, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, stat.size, theirs, sizeof theirs));
    drv_file_close(file);
}

/* A part of it is written, and no drive has room for all. */
static struct pool_tree_file *append_fails(struct world *w, mrmr_err err)
{
    static const char piece[1000] = "ours";
    struct pool_tree_file *file = open_file(w, "f0");
    const struct drv_fault_rule some = {.ops = DRV_FAULT_FILE_WRITE,
        .prefix = "f0",
        .times = err != MRMR_SPACE,
        .action = err == MRMR_SPACE ? DRV_FAULT_FULL : DRV_FAULT_SHORT,
        .bytes = WROTE,
        .err = err};
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &some, NULL));
    for (unsigned d = 1; d < DRIVES; d++)
        drive_is_full(w->rig, d);
    assert_int_equal(
        pool_tree_file_append(file, rig_find(w->rig, "f0")->size, piece, sizeof piece), err);
    rig_clear_faults(w->rig);
    return file;
}

/* Nothing of it stays: what is appended again lies where the file ended. */
static void test_taken_back(void **state)
{
    static const mrmr_err why[] = {MRMR_SPACE, MRMR_IO};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world w;
        begin(&w, RIG_MEM, 414);
        struct pool_tree_file *file = append_fails(&w, why[i]);
        rig_check_originals(w.rig);
        append_part(&w, file, "f0", rig_find(w.rig, "f0")->size, 1000);
        rig_check_originals(w.rig);
        pool_tree_file_close(file);
        close_tree(&w);
        end_after(&w);
    }
}

/* What somebody appended directly behind it stays. */
static void test_not_taken_back(void **state)
{
    struct world w;
    char got[THEIRS];
    size_t n;
    (void)state;
    begin(&w, RIG_MEM, 415);
    struct meanwhile m = {.w = &w, .end = rig_find(w.rig, "f0")->size};
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_FILE_STAT,
        .prefix = "f0",
        .action = DRV_FAULT_HOOK,
        .hook = append_directly,
        .arg = &m};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    struct pool_tree_file *file = append_fails(&w, MRMR_SPACE);
    assert_true(m.done);
    rig_ok(pool_tree_file_append(file, m.end, "x", 1));
    rig_ok(pool_tree_file_read(file, m.end + WROTE, got, sizeof got, &n));
    assert_int_equal(n, sizeof got);
    assert_string_equal(got, "theirs");
    assert_int_equal(look(&w, POOL_ROOT, "f0").size, m.end + WROTE + THEIRS + 1);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void on_node(uint64_t node, bool bytes, void *arg)
{
    (void)node;
    if (bytes)
        atomic_fetch_add((atomic_uint *)arg, 1);
}

/* Whoever has the pages is told where they are wrong, and only there. */
static void test_told(void **state)
{
    struct world w;
    char dir[300];
    atomic_uint told = 0;
    const struct pool_tree_events events = {.node_changed = on_node, .arg = &told};
    (void)state;
    begin(&w, RIG_MEM, 413);
    close_tree(&w);
    snprintf(dir, sizeof dir, "%s/pool", w.rig->dir);
    rig_ok(pool_open(dir, POOL_LOOK, "test", &w.pool));
    rig_ok(pool_tree_open(w.pool, &events, &w.tree));
    struct pool_tree_file *file = open_file(&w, "f0");
    const uint64_t end_is = rig_find(w.rig, "f0")->size;
    append_part(&w, file, "f0", end_is, 1000);
    append_part(&w, file, "f0", end_is, 1000); /* he has not heard of it */
    while (!told)
        pause_a_while();
    append_part(&w, file, "f0", end_is + 2000, 1000);
    pool_tree_file_close(file);
    close_tree(&w);
    assert_int_equal(told, 1);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_it_ends),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_tried_again),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_not_taken_back),
        cmocka_unit_test(test_told),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_append", tests, NULL, NULL);
}
