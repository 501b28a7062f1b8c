/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files that are used directly (direct.h, tree_direct.c), and a sync of another handle, as of another
 * process: both orders of use and claim, use that comes while a stripe is made, mappings that nobody
 * sees, and what a mount that is killed leaves behind. The kernel's part is played by the test: it
 * opens what it is given anew, and closes its own when it likes.
 */
#include "pool/records/direct.h"
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include "tests/support/elsewhere.h"
#include "tests/support/pause.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct kernel {
    int file, given;
    bool refuses, reads;
};

static int give(int descriptor, void *arg)
{
    struct kernel *kernel = arg;
    char path[64];
    if (kernel->refuses)
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    kernel->file = open(path, (kernel->reads ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    assert_true(kernel->file >= 0);
    return ++kernel->given;
}

static void begin_direct(struct world *w, uint64_t seed)
{
    begin(w, RIG_LOCAL, seed);
    rig_ok(pool_tree_direct(w->tree));
}

static uint64_t exposed(struct world *w, const char *path)
{
    struct meta_exposed *ranges = NULL;
    struct meta_node node = rig_node(w->rig, path);
    uint64_t bytes = 0;
    size_t n;
    rig_ok(meta_exposed_of(w->rig->pool->meta, node.id, &ranges, &n));
    for (size_t i = 0; i < n; i++)
        bytes += ranges[i].bytes;
    free(ranges);
    return bytes;
}

/* Put on its drive a moment ago: events tell the tree. */
static struct pool_tree_file *open_new(struct world *w, const char *name)
{
    for (unsigned i = 0; i < 10000 && try_look(w, POOL_ROOT, name); i++)
        pause_a_while();
    return open_file(w, name);
}

/* A new file of two mebibytes that the kernel uses itself. */
static struct pool_tree_file *make_direct(struct world *w, const char *name, struct kernel *kernel)
{
    rig_put(w->rig, 0, name, 2 * RIG_MIB);
    struct pool_tree_file *file = open_new(w, name);
    assert_int_equal(pool_tree_file_direct(file, give, kernel), 1);
    return file;
}

static uint64_t recorded(struct world *w)
{
    uint64_t n;
    rig_ok(pool_direct_count(w->rig->pool, &n));
    return n;
}

/* Soon, but not at once: a thread looks. */
static void recorded_comes_to(struct world *w, uint64_t n)
{
    for (unsigned i = 0; i < 20000 && recorded(w) != n; i++)
        pause_a_while();
    assert_int_equal(recorded(w), n);
}

/* The owner asks the drive, on which what was closed a moment ago may be open yet: a guard closes behind its caller's back. */
static void settled_by_a_sync(struct world *w)
{
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    for (rig_sync(w->rig); recorded(w); rig_sync(w->rig)) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
}

static void close_direct(struct pool_tree_file *file, int number)
{
    assert_int_equal(pool_tree_file_undirect(file), number);
    pool_tree_file_close(file);
}

static void test_used_then_claimed(void **state)
{
    struct world w;
    struct kernel kernel = {.given = 0};
    (void)state;
    begin_direct(&w, 401);
    struct pool_tree_file *file = make_direct(&w, "new", &kernel);
    rig_put(w.rig, 1, "beside", RIG_MIB);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.skipped, 1);
    assert_int_equal(exposed(&w, "new"), 2 * RIG_MIB);
    assert_int_equal(exposed(&w, "beside"), 0);
    close(kernel.file);
    close_direct(file, 1);
    recorded_comes_to(&w, 0);
    rig_sync(w.rig);
    assert_int_equal(exposed(&w, "new"), 0);
    close_tree(&w);
    end_after(&w);
}

/* Read directly it is left out as well, and by the mount that is there: nobody asks the drive. */
static void test_read_then_claimed(void **state)
{
    struct world w;
    struct kernel kernel = {.reads = true};
    struct pool_tree_file *file;
    bool same;
    (void)state;
    begin_direct(&w, 411);
    rig_put(w.rig, 0, "new", 2 * RIG_MIB);
    pool_tree_file_close(open_new(&w, "new"));
    rig_ok(pool_tree_file_open(w.tree, look(&w, POOL_ROOT, "new").node, false, &file, &same));
    assert_int_equal(pool_tree_file_direct(file, give, &kernel), 1);
    pool_tree_file_close(open_new(&w, "f0")); /* of another one nothing is recorded */
    assert_int_equal(recorded(&w), 1);
    rig_sync(w.rig);
    assert_int_equal(exposed(&w, "new"), 2 * RIG_MIB);
    assert_int_equal(recorded(&w), 1);
    close(kernel.file);
    close_direct(file, 1);
    recorded_comes_to(&w, 0);
    close_tree(&w);
    end_after(&w);
}

/* More of them than a sync makes plans: what lies beside is protected, and none of them is planned. */
static void test_many_in_use(void **state)
{
    enum { MANY = 26 };
    struct world w;
    struct kernel kernel[MANY] = {{.given = 0}};
    struct pool_tree_file *file[MANY];
    char name[32];
    (void)state;
    begin_direct(&w, 412);
    for (unsigned i = 0; i < 2 * MANY; i++) {
        snprintf(name, sizeof name, "%s%u", i < MANY ? "many" : "beside", i);
        rig_put(w.rig, 0, name, RIG_MIB);
    }
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many%u", i);
        file[i] = open_new(&w, name);
        assert_int_equal(pool_tree_file_direct(file[i], give, &kernel[i]), 1);
    }
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.skipped, MANY);
    assert_int_equal(w.rig->report.exposed_bytes, MANY * RIG_MIB);
    for (unsigned i = 0; i < MANY; i++) {
        close(kernel[i].file);
        close_direct(file[i], 1);
    }
    recorded_comes_to(&w, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_claimed_then_used(void **state)
{
    struct world w;
    struct kernel kernel = {.given = 0};
    (void)state;
    begin_direct(&w, 402);
    struct pool_tree_file *file = open_new(&w, "f1");
    assert_int_equal(pool_tree_file_direct(file, give, &kernel), 0);
    assert_int_equal(kernel.given, 0);
    assert_int_equal(recorded(&w), 0);
    /* One byte that counts is one too many: the last leaf of it is what the catalog has still. */
    rig_truncate(w.rig, "f2", 1);
    struct pool_tree_file *other = open_new(&w, "f2");
    assert_int_equal(pool_tree_file_direct(other, give, &kernel), 0);
    pool_tree_file_close(file);
    pool_tree_file_close(other);
    close_tree(&w);
    end_after(&w);
}

/* --- while a stripe is made --- */

/* Drives call from several threads. */
static pthread_mutex_t hooks = PTHREAD_MUTEX_INITIALIZER;

struct meanwhile {
    struct world w;
    struct kernel kernel;
    struct pool_tree_file *file;
    bool stays, came;
};

/* With the time set back: as much as can be done to hide it. */
static void store_hidden(struct meanwhile *m)
{
    struct drv_stat stat;
    rig_ok(drv_stat(m->w.rig->drive[0].raw, "new", &stat));
    rig_edit(m->w.rig, "new", 100, 50);
    rig_set_mtime(m->w.rig, "new", stat.mtime);
}

/* A row is about to be named: all bytes were read. */
static void comes_meanwhile(void *arg, enum drv_fault_op op, const char *path)
{
    struct meanwhile *m = arg;
    (void)op, (void)path;
    mrmr_locked(&hooks);
    if (m->came)
        return;
    m->came = true;
    m->file = open_new(&m->w, "new");
    assert_int_equal(pool_tree_file_direct(m->file, give, &m->kernel), 1);
    if (m->stays)
        return;
    store_hidden(m);
    close(m->kernel.file);
    close_direct(m->file, 1);
    recorded_comes_to(&m->w, 0);
}

static void hook_all(
    struct meanwhile *m, uint32_t ops, const char *prefix, uint64_t after, drv_fault_hook hook)
{
    for (unsigned d = 0; d < m->w.rig->n; d++) {
        const struct drv_fault_rule rule = {.ops = ops,
            .prefix = prefix,
            .after = after,
            .action = DRV_FAULT_HOOK,
            .hook = hook,
            .arg = m};
        rig_ok(drv_fault_add(m->w.rig->drive[d].fault, &rule, NULL));
    }
}

static void begin_meanwhile(struct meanwhile *m, uint64_t seed)
{
    begin_direct(&m->w, seed);
    rig_put(m->w.rig, 0, "new", 2 * RIG_MIB);
    hook_all(m, DRV_FAULT_RENAME, ".mrmr/parity", 0, comes_meanwhile);
}

static void test_used_while_a_stripe_is_made(void **state)
{
    struct meanwhile m = {.stays = true};
    (void)state;
    begin_meanwhile(&m, 403);
    rig_sync(m.w.rig);
    assert_true(m.came);
    assert_int_equal(exposed(&m.w, "new"), 2 * RIG_MIB);
    assert_int_equal(m.w.rig->report.skipped, 1);
    close(m.kernel.file);
    close_direct(m.file, 1);
    recorded_comes_to(&m.w, 0);
    close_tree(&m.w);
    end_after(&m.w);
}

/* It is not recorded any more when the stripe is committed: what was written tells by its ctime. */
static void test_used_and_let_go_of_while_a_stripe_is_made(void **state)
{
    struct meanwhile m = {.stays = false};
    (void)state;
    begin_meanwhile(&m, 404);
    rig_sync(m.w.rig);
    assert_true(m.came);
    assert_int_equal(exposed(&m.w, "new"), 2 * RIG_MIB);
    close_tree(&m.w);
    end_after(&m.w);
}

/* It is used from a moment on at which the drive is asked for its room, and let go of before the commit: a store
 * that leaves no trace, to a page that was dirty all along, may have come last. Whether the stripe was planned
 * by then, or begun, or neither: it looks for records before it reads. */
static void comes_early(void *arg, enum drv_fault_op op, const char *path)
{
    struct meanwhile *m = arg;
    (void)op, (void)path;
    mrmr_locked(&hooks);
    if (m->came)
        return;
    m->came = true;
    m->file = open_new(&m->w, "new");
    if (pool_tree_file_direct(m->file, give, &m->kernel))
        return;
    assert_int_equal(exposed(&m->w, "new"), 0); /* it was committed by then */
    pool_tree_file_close(m->file);
    m->file = NULL;
}

static void goes_late(void *arg, enum drv_fault_op op, const char *path)
{
    struct meanwhile *m = arg;
    (void)op, (void)path;
    mrmr_locked(&hooks);
    if (!m->came || !m->file)
        return;
    rig_edit(m->w.rig, "new", 100, 50);
    close(m->kernel.file);
    close_direct(m->file, 1);
    m->file = NULL;
    recorded_comes_to(&m->w, 0);
}

static void test_used_before_a_stripe_is_made(void **state)
{
    (void)state;
    unsigned used = 0, out = 0;
    for (unsigned n = 0; n < 5; n++) {
        struct meanwhile m = {.came = false};
        struct pool_sync_report report = {0};
        begin_direct(&m.w, 420 + n);
        rig_put(m.w.rig, 0, "new", 2 * RIG_MIB);
        pool_tree_file_close(open_new(&m.w, "new"));
        struct pool_job job = rig_job(m.w.rig);
        rig_ok(pool_scan(m.w.rig->pool, &job, false, &report));
        hook_all(&m, DRV_FAULT_SPACE, NULL, n, comes_early);
        hook_all(&m, DRV_FAULT_RENAME, ".mrmr/parity", 0, goes_late);
        rig_ok(pool_protect(m.w.rig->pool, &job, NULL, &report));
        assert_true(m.came);
        used += m.kernel.given;
        out += exposed(&m.w, "new") != 0;
        rig_clear_faults(m.w.rig);
        goes_late(&m, 0, "");
        rig_check(m.w.rig);
        rig_verify(m.w.rig, false);
        close_tree(&m.w);
        end_after(&m.w);
    }
    assert_int_equal(used, out);
    assert_true(used > 1);
}

/* --- mappings --- */

/* Whether somebody writes it is asked more than once. */
static void asked_again(struct world *w)
{
    const struct drv_fault_rule counts = {
        .ops = DRV_FAULT_FILE_STAT, .prefix = "new", .action = DRV_FAULT_DELAY};
    const int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    unsigned rule;
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &counts, &rule));
    while (drv_fault_hits(w->rig->drive[0].fault, rule) < 2) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    drv_fault_remove(w->rig->drive[0].fault, rule);
}

static void test_a_mapping_is_waited_for(void **state)
{
    struct world w;
    struct kernel kernel = {.given = 0};
    (void)state;
    begin_direct(&w, 406);
    struct pool_tree_file *file = make_direct(&w, "new", &kernel);
    uint8_t *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, kernel.file, 0);
    assert_true(map != MAP_FAILED);
    close(kernel.file);
    close_direct(file, 1);
    asked_again(&w);
    assert_int_equal(recorded(&w), 1);
    rig_sync(w.rig);
    assert_int_equal(exposed(&w, "new"), 2 * RIG_MIB);
    /* Opened meanwhile it is used as it is recorded, by another number. */
    file = open_new(&w, "new");
    assert_int_equal(pool_tree_file_direct(file, give, &kernel), 2);
    close(kernel.file);
    close_direct(file, 2);
    munmap(map, 4096);
    recorded_comes_to(&w, 0);
    rig_sync(w.rig);
    assert_int_equal(exposed(&w, "new"), 0);
    close_tree(&w);
    end_after(&w);
}

/* The tree goes while it is mapped: the next one holds nothing, and the owner asks the drive. */
static void test_what_is_left_behind(void **state)
{
    struct world w;
    struct kernel kernel = {.given = 0};
    (void)state;
    begin_direct(&w, 407);
    struct pool_tree_file *file = make_direct(&w, "new", &kernel);
    uint8_t *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, kernel.file, 0);
    assert_true(map != MAP_FAILED);
    close(kernel.file);
    close_direct(file, 1);
    close_tree(&w);
    for (unsigned i = 0; i < 2; i++) {
        rig_sync(w.rig);
        assert_int_equal(exposed(&w, "new"), 2 * RIG_MIB);
        assert_int_equal(recorded(&w), 1);
        if (!i)
            open_tree(&w); /* without passthrough */
    }
    munmap(map, 4096);
    rig_sync(w.rig);
    assert_int_equal(exposed(&w, "new"), 0);
    assert_int_equal(recorded(&w), 0);
    close_tree(&w);
    end_after(&w);
}

/* --- one way at a time --- */

static void test_one_way_at_a_time(void **state)
{
    struct world w;
    struct kernel kernel = {.refuses = true};
    (void)state;
    begin_direct(&w, 408);
    rig_put(w.rig, 0, "new", RIG_MIB);
    struct pool_tree_file *one = open_new(&w, "new");
    assert_int_equal(
        pool_tree_file_direct(one, give, &kernel), 0); /* the kernel would not have it */
    assert_int_equal(recorded(&w), 0);
    kernel.refuses = false;
    struct pool_tree_file *two = open_new(&w, "new");
    assert_int_equal(pool_tree_file_direct(two, give, &kernel), 0); /* one is ordinary */
    assert_int_equal(pool_tree_file_undirect(two), 0);
    pool_tree_file_close(one);
    pool_tree_file_close(two);
    one = open_new(&w, "new");
    two = open_new(&w, "new");
    assert_int_equal(pool_tree_file_direct(one, give, &kernel), 1);
    assert_int_equal(pool_tree_file_direct(two, give, &kernel), 1);
    assert_int_equal(kernel.given, 1);
    assert_int_equal(pool_tree_file_undirect(one), 0);
    pool_tree_file_close(one);
    assert_int_equal(recorded(&w), 1);
    close(kernel.file);
    close_direct(two, 1);
    recorded_comes_to(&w, 0);
    close_tree(&w);
    end_after(&w);
}

/* What is used directly is not brought elsewhere by what goes through the tree; what is not, is. */
static void test_it_stays_on_its_drive(void **state)
{
    struct world w;
    struct kernel kernel = {.given = 0};
    const char byte = 'x';
    (void)state;
    begin_direct(&w, 409);
    rig_put(w.rig, 0, "another", RIG_MIB);
    struct pool_tree_file *file = make_direct(&w, "new", &kernel);
    struct pool_tree_file *ordinary = open_new(&w, "another");
    drive_is_full(w.rig, 0);
    assert_int_equal(pool_tree_file_write(file, 2 * RIG_MIB, &byte, 1), MRMR_SPACE);
    assert_true(rig_holds(w.rig, 0, "new"));
    assert_int_equal(drives_with(w.rig, "new"), 1);
    write_part(&w, ordinary, "another", RIG_MIB, 1);
    assert_false(rig_holds(w.rig, 0, "another"));
    rig_clear_faults(w.rig);
    pool_tree_file_close(ordinary);
    close(kernel.file);
    close_direct(file, 1);
    recorded_comes_to(&w, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

struct told {
    _Atomic uint64_t node;
    atomic_uint attrs, bytes;
};

static void name_told(uint64_t folder, const char *name, void *arg)
{
    (void)folder, (void)name, (void)arg;
}

static void node_told(uint64_t node, bool bytes, void *arg)
{
    struct told *told = arg;
    if (node == told->node)
        atomic_fetch_add(bytes ? &told->bytes : &told->attrs, 1);
}

static void comes(atomic_uint *count)
{
    for (unsigned i = 0; i < 20000 && !*count; i++)
        pause_a_while();
    assert_true(*count);
}

/* While it is used directly nobody keeps its attributes for long: what is written to it is told of by no
 * event that counts. What others do to its attributes is told of, and that its bytes may be others when
 * it is let go of. */
static void test_what_others_do_is_told(void **state)
{
    struct world w;
    struct kernel kernel = {.given = 0};
    struct told told = {.node = 0};
    const struct pool_tree_events events = {name_told, node_told, &told};
    struct pool_attr attr;
    char path[300];
    (void)state;
    begin(&w, RIG_LOCAL, 413);
    close_tree(&w);
    snprintf(path, sizeof path, "%s/pool", w.rig->dir);
    rig_ok(pool_open(path, POOL_LOOK, "test", &w.pool));
    rig_ok(pool_tree_open(w.pool, &events, &w.tree));
    rig_ok(pool_tree_direct(w.tree));
    struct pool_tree_file *file = make_direct(&w, "new", &kernel);
    told.node = look(&w, POOL_ROOT, "new").node;
    const bool tells_who = w.tree->drive[0].tells_who;
    w.tree->drive[0].tells_who = true; /* as a drive that could have it kept for ever */
    rig_ok(pool_tree_attr(w.tree, told.node, &attr));
    assert_true(attr.keep <= tree_own_window);
    w.tree->drive[0].tells_who = tells_who;
    told.attrs = 0;
    snprintf(path, sizeof path, "%s/d0/new", w.rig->dir);
    if (elsewhere())
        _exit(truncate(path, RIG_MIB) || chmod(path, 0604));
    if (tells_who)
        comes(&told.attrs);
    told.bytes = 0;
    close(kernel.file);
    close_direct(file, 1);
    recorded_comes_to(&w, 0);
    comes(&told.bytes);
    pool_tree_forget(w.tree, told.node, 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Nor is what was left behind, by a mount that does not even use anything directly. */
static void test_what_is_left_behind_stays(void **state)
{
    struct world w;
    struct kernel kernel = {.given = 0};
    const char byte = 'x';
    (void)state;
    begin_direct(&w, 411);
    struct pool_tree_file *file = make_direct(&w, "new", &kernel);
    uint8_t *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, kernel.file, 0);
    assert_true(map != MAP_FAILED);
    close(kernel.file);
    close_direct(file, 1);
    close_tree(&w);
    open_tree(&w);
    file = open_new(&w, "new");
    drive_is_full(w.rig, 0);
    assert_int_equal(pool_tree_file_write(file, 2 * RIG_MIB, &byte, 1), MRMR_SPACE);
    assert_int_equal(drives_with(w.rig, "new"), 1);
    munmap(map, 4096);
    pool_tree_file_close(file);
    rig_clear_faults(w.rig);
    settled_by_a_sync(&w); /* and is brought when it is known that nobody has it */
    file = open_new(&w, "new");
    drive_is_full(w.rig, 0);
    rig_ok(pool_tree_file_write(file, 2 * RIG_MIB, &byte, 1));
    pool_tree_file_close(file);
    rig_clear_faults(w.rig);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- the records --- */

static void test_records_are_bounded_and_used_again(void **state)
{
    struct world w;
    struct pool_direct *direct;
    unsigned place = 0;
    (void)state;
    begin(&w, RIG_LOCAL, 410);
    close_tree(&w);
    rig_ok(pool_direct_open(w.rig->pool->dirfd, &direct));
    for (unsigned i = 0; i < POOL_DIRECT_MOST; i++)
        rig_ok(pool_direct_add(direct, 1, 1000 + i, &place));
    assert_int_equal(pool_direct_add(direct, 1, 9, &place), MRMR_SPACE);
    pool_direct_remove(direct, 77);
    rig_ok(pool_direct_add(direct, 1, 9, &place));
    assert_int_equal(place, 77);
    pool_direct_close(direct);
    assert_int_equal(recorded(&w), POOL_DIRECT_MOST);
    /* Left behind: the next mount has no place, until the owner has dropped one. */
    rig_ok(pool_direct_open(w.rig->pool->dirfd, &direct));
    assert_int_equal(pool_direct_add(direct, 1, 10, &place), MRMR_SPACE);
    pool_direct_close(direct);
    /* From before the machine was started they are none. */
    int fd = openat(w.rig->pool->dirfd, "direct", O_RDWR);
    assert_int_equal(pwrite(fd, "another boot", 12, 8), 12);
    assert_int_equal(recorded(&w), 0);
    rig_ok(pool_direct_open(w.rig->pool->dirfd, &direct));
    rig_ok(pool_direct_add(direct, 1, 10, &place));
    assert_int_equal(place, 0);
    pool_direct_close(direct);
    close(fd);
    assert_int_equal(recorded(&w), 1);
    /* What nobody understands keeps all from being claimed. */
    fd = openat(w.rig->pool->dirfd, "direct", O_RDWR);
    assert_int_equal(pwrite(fd, "?", 1, 0), 1);
    close(fd);
    uint64_t n;
    assert_int_equal(pool_direct_count(w.rig->pool, &n), MRMR_CORRUPT);
    assert_int_equal(unlinkat(w.rig->pool->dirfd, "direct", 0), 0);
    end_after(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_used_then_claimed),
        cmocka_unit_test(test_read_then_claimed),
        cmocka_unit_test(test_many_in_use),
        cmocka_unit_test(test_claimed_then_used),
        cmocka_unit_test(test_used_while_a_stripe_is_made),
        cmocka_unit_test(test_used_and_let_go_of_while_a_stripe_is_made),
        cmocka_unit_test(test_used_before_a_stripe_is_made),
        cmocka_unit_test(test_a_mapping_is_waited_for),
        cmocka_unit_test(test_what_is_left_behind),
        cmocka_unit_test(test_what_is_left_behind_stays),
        cmocka_unit_test(test_one_way_at_a_time),
        cmocka_unit_test(test_it_stays_on_its_drive),
        cmocka_unit_test(test_what_others_do_is_told),
        cmocka_unit_test(test_records_are_bounded_and_used_again),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_direct", tests, NULL, NULL);
}
