/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree, changed, on drives that are away, fail, or are full.
 */
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include "pool/records/touched.h"
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void test_drives_fail(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file;
    (void)state;
    begin(&w, RIG_MEM, 186);
    const struct drv_fault_rule full = {.ops = DRV_FAULT_CREATE, .err = MRMR_SPACE};
    for (unsigned d = 0; d < DRIVES - 1; d++)
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &full, NULL));
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "one", 0600, &attr, &file));
    pool_tree_file_close(file);
    assert_true(rig_holds(w.rig, DRIVES - 1, "one"));
    rig_ok(drv_fault_add(w.rig->drive[DRIVES - 1].fault, &full, NULL));
    assert_int_equal(
        pool_tree_create(w.tree, NULL, POOL_ROOT, "two", 0600, &attr, &file), MRMR_SPACE);
    assert_int_equal(try_look(&w, POOL_ROOT, "two"), MRMR_ABSENT);
    rig_clear_faults(w.rig);
    /* What is new goes elsewhere, and what is removed goes when the drive is back (pool_gone.c). */
    rig_take_away(w.rig, 0);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    rig_find(w.rig, "f0")->there = false;
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "three", 0600, &attr, &file));
    rig_ok(pool_tree_file_write(file, 0, "x", 1));
    pool_tree_file_close(file);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_protect_all(w.rig);
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_check(w.rig);
    rig_verify(w.rig, true);
    rig_destroy(w.rig);
}

/* A file whose drive is away is brought to another, from parity, before it is changed; the old one
 * goes when its drive is back. */
static void test_written_while_away(void **state)
{
    const struct pool_attr mode = {.mode = 0600};
    static uint8_t got[RIG_MIB], wanted[RIG_MIB];
    struct world w;
    struct pool_attr attr;
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 198);
    struct pool_tree_file *file = open_file(&w, "f0");
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_take_away(w.rig, 0);
    write_part(&w, file, "f0", RIG_MIB + 3, 1000);
    struct rig_file *known = rig_find(w.rig, "f0");
    for (uint64_t at = 0; at < known->size; at += RIG_MIB) {
        rig_ok(pool_tree_file_read(file, at, got, RIG_MIB, &n));
        rig_expected(known, at, wanted, n);
        assert_memory_equal(got, wanted, n);
    }
    rig_ok(pool_tree_set(w.tree, NULL, node, NULL, POOL_SET_MODE, &mode, &attr));
    assert_int_equal(attr.mode, 0600);
    assert_int_equal(attr.node, node);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "another", 0));
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, node);
    assert_int_equal(try_look(&w, POOL_ROOT, "other"), MRMR_ABSENT);
    pool_tree_file_close(file);
    close_tree(&w);
    assert_true(rig_holds(w.rig, 0, "f0") && rig_holds(w.rig, 0, "other"));
    rig_bring_back(w.rig, 0);
    strcpy(rig_find(w.rig, "other")->path, "another");
    for (unsigned d = 1; d < DRIVES; d++) {
        if (rig_holds(w.rig, d, "f0"))
            known->drive = d;
        if (rig_holds(w.rig, d, "another"))
            rig_find(w.rig, "another")->drive = d;
    }
    rig_protect_all(w.rig);
    assert_false(rig_holds(w.rig, 0, "f0") || rig_holds(w.rig, 0, "other"));
    rig_check_originals(w.rig);
    end_after(&w);
}

/* Bytes that were written, and not protected when their drive went, are not made up from old ones. */
static void test_away_before_it_was_protected(void **state)
{
    struct world w;
    struct pool_tree_file *file;
    struct pool_attr attr;
    uint8_t got[4];
    size_t n;
    bool same;
    (void)state;
    begin(&w, RIG_MEM, 199);
    overwrite(&w, "f0", 10, 1000);
    attr = look(&w, POOL_ROOT, "f0");
    rig_take_away(w.rig, 0);
    mrmr_err err = pool_tree_file_open(w.tree, attr.node, false, &file, &same);
    if (!err) {
        err = pool_tree_file_read(file, 0, got, 4, &n);
        pool_tree_file_close(file);
    }
    assert_int_equal(err, MRMR_OFFLINE);
    if (!pool_tree_file_open(w.tree, attr.node, true, &file, &same)) {
        assert_int_equal(pool_tree_file_write(file, 0, "x", 1), MRMR_OFFLINE);
        pool_tree_file_close(file);
    }
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    rig_check_originals(w.rig);
    rig_destroy(w.rig);
}

/* --- what was written while a sync met it --- */

struct meeting {
    struct world *w;
    struct pool_tree_file *file;
    atomic_bool written;
};

/* The scan is about to look at the drive. */
static void write_to_it(void *arg, enum drv_fault_op op, const char *path)
{
    struct meeting *m = arg;
    (void)op;
    if (!*path && !atomic_exchange(&m->written, true))
        write_part(m->w, m->file, "f0", 10, 1000);
}

static void begin_meeting(struct meeting *m, struct world *w, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    *m = (struct meeting){.w = w, .file = open_file(w, "f0")};
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_LIST, .action = DRV_FAULT_HOOK, .hook = write_to_it, .arg = m};
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &rule, NULL));
    rig_protect_all(w->rig);
    assert_true(m->written);
    pool_tree_file_close(m->file);
}

static bool is_said_to_be_safe(struct world *w, uint64_t node)
{
    mrmr_autobytes struct mrmr_bytes said = MRMR_BYTES_INIT;
    rig_ok(pool_tree_xattr(w->tree, node, "user.mrmr.protection", &said));
    rig_ok(mrmr_bytes_add(&said, "", 1));
    return strcmp(said.data, "survives 2") == 0;
}

static mrmr_err where_it_is(const struct pool_entry *entry, void *arg)
{
    *(struct pool_entry *)arg = *entry;
    return MRMR_OK;
}

/* It is protected as it is now, so it is read without its drive. */
static void test_written_while_it_is_scanned(void **state)
{
    struct world w;
    struct meeting m;
    struct pool_tree_file *file;
    uint8_t got[2000], wanted[2000];
    size_t n;
    bool same;
    (void)state;
    begin_meeting(&m, &w, 198);
    const uint64_t node = look(&w, POOL_ROOT, "f0").node;
    assert_true(is_said_to_be_safe(&w, node));
    rig_take_away(w.rig, 0);
    rig_ok(pool_tree_file_open(w.tree, node, false, &file, &same));
    rig_ok(pool_tree_file_read(file, 0, got, sizeof got, &n));
    rig_expected(rig_find(w.rig, "f0"), 0, wanted, n);
    assert_memory_equal(got, wanted, n);
    pool_tree_file_close(file);
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    end_after(&w);
}

/* A sync that ended before it knew that: nothing of it is claimed. */
static void test_touched_after_it_was_protected(void **state)
{
    struct world w;
    struct meeting m;
    struct pool_tree_file *file;
    struct pool_entry entry;
    int fd;
    bool same;
    (void)state;
    begin_meeting(&m, &w, 197);
    const uint64_t node = look(&w, POOL_ROOT, "f0").node, ino = rig_node(w.rig, "f0").ino;
    rig_ok(pool_touched_open(w.rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, rig_pool_drive(w.rig, 0)->meta.id, ino, 0));
    close(fd);
    assert_false(is_said_to_be_safe(&w, node));
    rig_ok(pool_where(w.rig->pool, "f0", where_it_is, &entry));
    assert_true(entry.exposed_bytes == entry.size && !entry.version && !entry.survives);
    rig_take_away(w.rig, 0);
    rig_ok(
        pool_tree_file_open(w.tree, node, false, &file, &same)); /* leaf by leaf: none is noted */
    pool_tree_file_close(file);
    assert_false(is_said_to_be_safe(&w, node));
    rig_bring_back(w.rig, 0);
    close_tree(&w); /* else it may not have the drive again yet */
    open_tree(&w);
    const uint64_t again = look(&w, POOL_ROOT, "f0").node;
    rig_sync(w.rig); /* nothing of it is new: the record goes */
    assert_true(is_said_to_be_safe(&w, again));
    /* It was written to after the scan met it, and before the sync is through: that record stays. */
    overwrite(&w, "f0", 3000, 500);
    rig_ok(pool_touched_settle(w.rig->pool, NULL));
    rig_ok(pool_touched_find_bytes(w.rig->pool, rig_pool_drive(w.rig, 0)->meta.id, ino, &same));
    assert_true(same);
    assert_false(is_said_to_be_safe(&w, again));
    close_tree(&w);
    end_after(&w);
}

struct renaming {
    struct world *w;
    struct tree_node *node;
    pthread_t thread;
    unsigned copied;  /* leaves */
    unsigned held_up; /* leaves of these after the first that were copied while the rename waited */
};

static void *rename_it(void *arg)
{
    struct renaming *r = arg;
    rig_ok(pool_tree_rename(r->w->tree, NULL, POOL_ROOT, "f0", POOL_ROOT, "renamed", 0));
    return NULL;
}

static bool rename_waits(struct renaming *r)
{
    mrmr_locked(&r->w->tree->lock);
    return r->node->names_wait > 0;
}

/* The first leaf is copied once the rename waits. */
static void rename_while_copied(void *arg, enum drv_fault_op op, const char *path)
{
    struct renaming *r = arg;
    (void)op;
    (void)path;
    r->held_up += r->copied++ > 0 && rename_waits(r);
    if (r->copied == 1)
        pthread_create(&r->thread, NULL, rename_it, r);
    while (r->copied == 1 && !rename_waits(r))
        sched_yield();
}

/* Whoever renames it has its folder to himself meanwhile, and may not wait for as long as copying takes. */
static void test_renamed_while_it_is_brought(void **state)
{
    struct world w;
    struct renaming r = {.w = &w};
    (void)state;
    begin(&w, RIG_LOCAL, 192);
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(tree_node(w.tree, look(&w, POOL_ROOT, "f0").node, false, &r.node));
    drive_is_full(w.rig, 0);
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_FILE_WRITE,
        .prefix = ".mrmr/moving",
        .action = DRV_FAULT_HOOK,
        .hook = rename_while_copied,
        .arg = &r};
    for (unsigned d = 1; d < DRIVES; d++)
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &hook, NULL));
    rig_ok(pool_tree_file_write(file, 0, "new", 3));
    pthread_join(r.thread, NULL);
    assert_true(r.held_up <= 1); /* it looks at the name twice */
    assert_true(r.copied > FILE_LEAVES);
    assert_false(rig_holds(w.rig, 0, "f0") || rig_holds(w.rig, 0, "renamed"));
    assert_int_equal(try_look(&w, POOL_ROOT, "f0"), MRMR_ABSENT);
    assert_int_equal(look(&w, POOL_ROOT, "renamed").node, r.node->number);
    tree_put(w.tree, r.node);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The writer sees nothing of it, nor who reads it, nor who looks again after a restart. */
static void test_a_full_drive(void **state)
{
    struct world w;
    struct pool_attr attr;
    static uint8_t got[RIG_MIB], wanted[RIG_MIB];
    bool same;
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 190);
    struct pool_tree_file *file = open_file(&w, "f0"), *reader;
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_ok(pool_tree_file_open(w.tree, node, false, &reader, &same));
    drive_is_full(w.rig, 0);
    write_part(&w, file, "f0", 3 * RIG_MIB - 200, RIG_MIB);
    write_part(&w, file, "f0", 1000, 1000);
    rig_clear_faults(w.rig);
    struct rig_file *known = rig_find(w.rig, "f0");
    for (uint64_t at = 0; at < known->size; at += RIG_MIB) {
        rig_ok(pool_tree_file_read(reader, at, got, RIG_MIB, &n));
        rig_expected(known, at, wanted, n);
        assert_memory_equal(got, wanted, n);
    }
    rig_ok(pool_tree_file_sync(file));
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    attr = look(&w, POOL_ROOT, "f0");
    assert_int_equal(attr.node, node);
    assert_int_equal(attr.size, known->size);
    pool_tree_file_close(reader);
    pool_tree_file_close(file);
    close_tree(&w);
    open_tree(&w);
    assert_int_equal(look(&w, POOL_ROOT, "f0").node, node);
    assert_int_equal(look(&w, POOL_ROOT, "f0").generation, attr.generation);
    /* What has the inode's number afterwards is another file. */
    assert_int_not_equal(look(&w, POOL_ROOT, "other").node, node);
    known->there = false; /* it is not protected where it lies now */
    close_tree(&w);
    reads_all_but(w.rig, NULL, 0);
    known->there = true;
    end_after(&w);
}

/* Every drive is: then it is said, and nothing has changed. */
static void test_all_drives_are_full(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 192);
    struct pool_tree_file *file = open_file(&w, "f0");
    for (unsigned d = 0; d < DRIVES; d++)
        drive_is_full(w.rig, d);
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    rig_clear_faults(w.rig);
    rig_check_originals(w.rig);
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    write_part(&w, file, "f0", 10, 4);
    pool_tree_file_close(file);
    end(&w, "f0");
}

/* The power went when both drives had the file: the one that it came from goes, and a copy that has
 * no name yet. Where the copy's name may go with the next cut it is the copy. */
static void is_finished(bool durable)
{
    struct world w;
    char path[320], record[300];
    struct drv_stat stat, copy;
    struct drv_file *raw;
    begin(&w, RIG_LOCAL, 193);
    close_tree(&w);
    struct rig_file *known = rig_find(w.rig, "f0");
    mrmr_autofree uint8_t *buf = malloc(known->size);
    rig_expected(known, 0, buf, known->size);
    rig_ok(drv_stat(w.rig->drive[0].raw, "f0", &stat));
    rig_ok(drv_file_open(w.rig->drive[1].raw, "f0", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    rig_ok(drv_file_write(raw, 0, buf, known->size));
    rig_ok(drv_file_set_attr(raw, DRV_ATTR_MTIME, &stat));
    drv_file_close(raw);
    rig_ok(drv_stat(w.rig->drive[1].raw, "f0", &copy));
    rig_ok(drv_mkdirs(w.rig->drive[1].raw, ".mrmr/moving", 0700));
    rig_ok(drv_file_open(
        w.rig->drive[1].raw, ".mrmr/moving/x", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    drv_file_close(raw);
    snprintf(path, sizeof path, "%s/pool/bring-0123456789abcdef", w.rig->dir);
    int n = snprintf(record, sizeof record,
        "1 2 %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %d %" PRIu64 " %" PRId64 " %" PRId64
        " 0 %" PRId64,
        stat.ino, copy.ino, copy.size, copy.mtime, (int)copy.type, stat.size, stat.mtime,
        stat.ctime, stat.btime);
    memcpy(record + n, "\0f0", 4);
    FILE *f = fopen(path, "w");
    assert_int_equal(fwrite(record, (size_t)n + 4, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    const struct drv_fault_rule no_sync = {.ops = DRV_FAULT_DIR_SYNC, .err = MRMR_IO};
    rig_ok(drv_fault_add(w.rig->drive[1].fault, &no_sync, NULL));
    if (durable)
        rig_clear_faults(w.rig);
    open_tree(&w);
    close_tree(&w);
    rig_clear_faults(w.rig);
    open_tree(&w);
    assert_int_equal(rig_holds(w.rig, 0, "f0"), !durable);
    assert_int_equal(rig_holds(w.rig, 1, "f0"), durable);
    assert_false(rig_holds(w.rig, 1, ".mrmr/moving/x"));
    assert_int_equal(access(path, F_OK), -1);
    close_tree(&w);
    reads_all_but(w.rig, "f0", 0);
    rig_destroy(w.rig);
}

static void test_a_copy_is_finished(void **state)
{
    (void)state;
    is_finished(true);
    is_finished(false);
}

/* A write whose saving fails does not happen. */
static void test_saving_fails(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 187);
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_CHANGES, .prefix = ".mrmr/retained", .err = MRMR_SPACE};
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &full, NULL));
    assert_int_equal(pool_tree_file_write(file, 10, "lost", 4), MRMR_SPACE);
    assert_int_equal(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"), MRMR_SPACE);
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "f0", 0), MRMR_SPACE);
    pool_tree_file_close(file);
    rig_check_originals(w.rig);
    rig_clear_faults(w.rig);
    overwrite(&w, "f0", 10, 4);
    end(&w, "f0");
}

/* What was written is never read back as what it was, when its drive goes. */
static void test_no_old_bytes(void **state)
{
    struct world w;
    uint8_t got[4];
    size_t n;
    (void)state;
    begin(&w, RIG_MEM, 188);
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(pool_tree_file_read(file, 0, got, 4, &n));
    rig_ok(pool_tree_file_write(file, 0, "new!", 4));
    rig_take_away(w.rig, 0);
    assert_int_not_equal(pool_tree_file_read(file, 0, got, 4, &n), MRMR_OK);
    pool_tree_file_close(file);
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drives_fail),
        cmocka_unit_test(test_written_while_away),
        cmocka_unit_test(test_away_before_it_was_protected),
        cmocka_unit_test(test_written_while_it_is_scanned),
        cmocka_unit_test(test_touched_after_it_was_protected),
        cmocka_unit_test(test_a_full_drive),
        cmocka_unit_test(test_renamed_while_it_is_brought),
        cmocka_unit_test(test_all_drives_are_full),
        cmocka_unit_test(test_a_copy_is_finished),
        cmocka_unit_test(test_saving_fails),
        cmocka_unit_test(test_no_old_bytes),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_full", tests, NULL, NULL);
}
