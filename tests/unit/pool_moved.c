/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is renamed through MRMR lowers nobody's protection: not before the next scan, not while it is
 * under way, and not after it. What the file of renames may hold, however it came to that.
 */
#include "pool/moved.h"
#include "pool/retained.h"
#include "pool/writers.h"
#include "tests/support/rig.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { DRIVES = 5, MANY = 100, FEW = 6 };

/* The mount: a process of its own, which only looks at the pool, and writes to drive 0. */
struct mount {
    struct rig *rig;
    struct pool *pool;
    struct pool_writers *writers;
    char was[256][128]; /* the catalog's path of each file of the rig */
};

static void mount_open(struct mount *m)
{
    char path[256];
    snprintf(path, sizeof path, "%s/pool", m->rig->dir);
    rig_ok(pool_open(path, POOL_LOOK, "test", &m->pool));
    rig_ok(pool_writers_open(m->pool->dirfd, &m->writers));
}

static void mount_close(struct mount *m)
{
    pool_writers_close(m->writers);
    pool_close(m->pool);
}

/* The catalog and the drives agree. */
static void mount_note(struct mount *m)
{
    for (size_t i = 0; i < m->rig->files; i++)
        snprintf(m->was[i], sizeof m->was[i], "%s", m->rig->file[i].path);
}

/* Files of a bit less than two leaves on each drive, and a folder with small ones on drive 0. */
static struct mount *begin_with(uint64_t seed, unsigned small)
{
    struct mount *m = calloc(1, sizeof *m);
    char path[32];
    assert_non_null(m);
    m->rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = seed});
    for (unsigned d = 0; d < DRIVES; d++)
        for (unsigned i = 0; i < 2; i++) {
            snprintf(path, sizeof path, "f%u%c", d, "ab"[i]);
            rig_put(m->rig, d, path, 2 * RIG_MIB - 100);
        }
    for (unsigned i = 0; i < small; i++) {
        snprintf(path, sizeof path, "in/%u", i);
        rig_put(m->rig, 0, path, 3000 + i);
    }
    rig_put(m->rig, 0, "in/deep/er", 5000);
    rig_protect_all(m->rig);
    mount_note(m);
    mount_open(m);
    return m;
}

static struct mount *begin(uint64_t seed)
{
    return begin_with(seed, FEW);
}

static void end(struct mount *m)
{
    mount_close(m);
    rig_destroy(m->rig);
    free(m);
}

static void record(struct mount *m, const char *from, const char *to, enum pool_moved_kind kind)
{
    int fd;
    rig_ok(pool_moved_open(m->pool->dirfd, &fd));
    rig_ok(pool_moved_add(fd, rig_pool_drive(m->rig, 0)->meta.id, from, to, kind, true));
    close(fd);
}

/* What of the rig's files lies at or below `from` is at `to`. */
static void rig_moved(struct rig *rig, const char *from, const char *to)
{
    size_t n = strlen(from);
    for (size_t i = 0; i < rig->files; i++) {
        struct rig_file *file = &rig->file[i];
        char rest[128];
        if (!file->there || file->drive || strncmp(file->path, from, n) != 0 ||
            (file->path[n] && file->path[n] != '/'))
            continue;
        snprintf(rest, sizeof rest, "%s", file->path + n);
        snprintf(file->path, sizeof file->path, "%.60s%.60s", to, rest);
    }
}

static void move(struct mount *m, const char *from, const char *to)
{
    uint64_t epoch;
    rig_ok(pool_writers_enter(m->writers, &epoch));
    record(m, from, to, POOL_MOVED_RENAME);
    rig_ok(drv_rename(m->rig->drive[0].raw, from, to, DRV_RENAME_REPLACE));
    rig_moved(m->rig, from, to);
    pool_writers_leave(m->writers);
}

static void exchange(struct mount *m, const char *a, const char *b)
{
    uint64_t epoch;
    rig_ok(pool_writers_enter(m->writers, &epoch));
    record(m, a, b, POOL_MOVED_EXCHANGE);
    rig_ok(drv_rename(m->rig->drive[0].raw, a, b, DRV_RENAME_EXCHANGE));
    rig_moved(m->rig, a, "exchanging");
    rig_moved(m->rig, b, a);
    rig_moved(m->rig, "exchanging", b);
    pool_writers_leave(m->writers);
}

/* --- what is asked --- */

static void reads(struct mount *m, struct pool *pool, unsigned flags)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    for (size_t i = 0; i < m->rig->files; i++) {
        const struct rig_file *file = &m->rig->file[i];
        struct pool_file *f = NULL;
        if (!file->there)
            continue;
        rig_ok(pool_file_open(pool, m->was[i], flags, &f));
        for (uint64_t at = 0; at < file->size; at += RIG_LEAF) {
            size_t n;
            if (pool_file_read(f, at, got, RIG_LEAF, &n))
                fail_msg("%s, now %s, at %" PRIu64 ": %s", m->was[i], file->path, at,
                    mrmr_err_name(mrmr_story_get()->err));
            rig_expected(file, at, wanted, n);
            assert_memory_equal(got, wanted, n);
        }
        pool_file_close(f);
    }
}

/* With choices of two other drives away (all of them with MRMR_ROUNDS above 1, else every third,
 * another one each time), by the owner or by the mount. */
static void reads_all(struct mount *m)
{
    static unsigned turn;
    const bool all = rig_rounds(1) > 1;
    unsigned choice = turn++;
    for (unsigned a = 1; a < DRIVES; a++)
        for (unsigned b = a + 1; b < DRIVES; b++) {
            if (!all && choice++ % 3)
                continue;
            rig_take_away(m->rig, a);
            rig_take_away(m->rig, b);
            if ((a + b) % 2)
                reads(m, m->rig->pool, POOL_READ_VERIFY);
            else
                reads(m, m->pool, 0);
            rig_bring_back(m->rig, a);
            rig_bring_back(m->rig, b);
        }
}

static uint64_t moved_size(struct mount *m)
{
    struct stat st = {.st_size = 0};
    assert_true(!fstatat(m->pool->dirfd, MOVED_NAME, &st, 0) || errno == ENOENT);
    return (uint64_t)st.st_size;
}

/* No row can be made anywhere, until rig_clear_faults. */
static void no_new_rows(struct rig *rig)
{
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_CREATE, .prefix = ".mrmr/parity", .err = MRMR_SPACE};
    for (unsigned d = 0; d < rig->n; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
}

/* Before a scan, after it while nothing can be encoded, and afterwards. */
static void nobody_suffers(struct mount *m)
{
    reads_all(m);
    rig_check(m->rig);
    no_new_rows(m->rig);
    rig_sync(m->rig);
    assert_int_equal(m->rig->report.held, 0);
    assert_int_equal(m->rig->report.vanished, 0);
    assert_int_equal(moved_size(m), 0);
    mount_note(m);
    reads_all(m);
    rig_clear_faults(m->rig);
    rig_protect_all(m->rig);
    rig_check(m->rig);
    rig_verify(m->rig, true);
    end(m);
}

static void test_a_file(void **state)
{
    (void)state;
    struct mount *m = begin(1);
    move(m, "f0a", "renamed");
    reads_all(m);
    move(m, "f0b", "in/f0b");
    move(m, "renamed", "again");
    nobody_suffers(m);
}

static void test_a_folder(void **state)
{
    (void)state;
    struct mount *m = begin_with(2, MANY);
    move(m, "in", "out");
    move(m, "out/deep", "deep");
    nobody_suffers(m);
}

static void test_a_folder_and_back(void **state)
{
    (void)state;
    struct mount *m = begin(3);
    move(m, "in", "out");
    move(m, "out/1", "out/one");
    move(m, "out/deep/er", "deeper");
    reads_all(m);
    move(m, "out", "in");
    move(m, "in/2", "in/1");
    rig_find(m->rig, "in/1"); /* there was none by then */
    nobody_suffers(m);
}

static void test_a_swap(void **state)
{
    (void)state;
    struct mount *m = begin(4);
    move(m, "f0a", "third");
    move(m, "f0b", "f0a");
    move(m, "third", "f0b");
    nobody_suffers(m);
}

/* Of the same size and time, so that these say nothing. */
static void test_an_exchange(void **state)
{
    (void)state;
    struct mount *m = begin(5);
    rig_set_mtime(m->rig, "f0a", rig_mtime(m->rig, "f0b"));
    rig_protect_all(m->rig);
    exchange(m, "f0a", "f0b");
    reads_all(m);
    exchange(m, "in/deep", "f0a");
    move(m, "in", "out");
    nobody_suffers(m);
}

/* Over a file that is retained before. */
static void test_over_another(void **state)
{
    (void)state;
    struct mount *m = begin(6);
    struct drv *drv = rig_pool_drive(m->rig, 0)->drv;
    struct meta_node node = rig_node(m->rig, "f0b");
    struct pool_retained_leaf leaf[8];
    struct meta_extent *extents;
    char kept[POOL_RETAINED_PATH];
    size_t n, leaves = 0;
    rig_ok(meta_extents_of(m->rig->pool->meta, node.id, &extents, &n));
    for (size_t e = 0; e < n; e++)
        for (uint64_t i = 0; i < extents[e].leaves; i++)
            leaf[leaves++] = (struct pool_retained_leaf){
                extents[e].first + i, pool_leaf_size(&extents[e], i), extents[e].digests[i]};
    free(extents);
    rig_ok(pool_retained_point(drv, leaf, leaves, kept));
    rig_ok(drv_link(drv, "f0b", kept));
    rig_find(m->rig, "f0b")->there = false;
    move(m, "f0a", "f0b");
    reads_all(m);
    no_new_rows(m->rig);
    rig_sync(m->rig);
    assert_int_equal(moved_size(m), 0);
    mount_note(m);
    reads_all(m);
    rig_clear_faults(m->rig);
    rig_protect_all(m->rig);
    rig_check(m->rig);
    rig_verify(m->rig, true);
    end(m);
}

/* Records whose renames failed, or were cut off, between others. */
static void test_records_without_a_rename(void **state)
{
    (void)state;
    struct mount *m = begin(7);
    record(m, "f0a", "never", POOL_MOVED_RENAME);
    record(m, "in", "f0b", POOL_MOVED_EXCHANGE);
    reads_all(m);
    move(m, "f0b", "never");
    record(m, "f0a", "neither", POOL_MOVED_RENAME);
    move(m, "f0a", "there");
    move(m, "in", "inside");
    record(m, "inside/1", "inside/one", POOL_MOVED_RENAME);
    nobody_suffers(m);
}

/* A stripe's rows are made anew from what was renamed since the scan; a scrub finds it, too. path: the
 * catalog's. */
static void rows_are_made(struct mount *m, const char *of)
{
    struct pool_job job = rig_job(m->rig);
    struct pool_sync_report report = {0};
    struct meta_stripe image = rig_stripe_of(m->rig, of, 0);
    char path[POOL_ROW_PATH];
    unsigned d = rig_row_drive(&image, 0);
    pool_row_path(&image.uuid, image.generation, 0, path);
    meta_stripe_free(&image);
    rig_ok(drv_unlink(m->rig->drive[d].raw, path));
    struct pool_scrub_report scrub = rig_scrub(m->rig, false);
    assert_int_equal(scrub.damaged, 0);
    assert_int_equal(scrub.edited, 0);
    assert_int_equal(scrub.rows_damaged, 1);
    uint64_t opened = rig_calls(m->rig, DRV_FAULT_CREATE);
    rig_ok(pool_mend(m->rig->pool, &job, false, &report));
    assert_true(rig_calls(m->rig, DRV_FAULT_CREATE) > opened);
    assert_int_equal(rig_scrub(m->rig, false).rows_damaged, 0);
}

static void test_rows_are_made_from_it(void **state)
{
    (void)state;
    struct mount *m = begin(8);
    exchange(m, "f0a", "f0b");
    move(m, "in", "out");
    rows_are_made(m, "f0a");
    nobody_suffers(m);
}

/* --- drives without stable inodes --- */

static void no_inodes(struct mount *m)
{
    const uint32_t stable = DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME | DRV_CAP_BTIME;
    rig_pool_drive(m->rig, 0)->info.caps &= ~stable;
    for (size_t i = 0; i < m->pool->ndrives; i++)
        if (m->pool->drives[i]->meta.id == rig_pool_drive(m->rig, 0)->meta.id)
            m->pool->drives[i]->info.caps &= ~stable;
}

/* Nothing but size and time says which file it is, and here they lie: the digests tell. */
static void test_an_exchange_without_inodes(void **state)
{
    (void)state;
    struct mount *m = begin(11);
    rig_set_mtime(m->rig, "f0a", rig_mtime(m->rig, "f0b"));
    rig_protect_all(m->rig);
    no_inodes(m);
    exchange(m, "f0a", "f0b");
    reads_all(m);
    rows_are_made(m, "f0a");
    end(m);
}

/* What was edited is not compared with what came in its place since the scan. */
static void test_a_compare_without_inodes(void **state)
{
    (void)state;
    struct mount *m = begin(13);
    struct pool_job job = rig_job(m->rig);
    struct pool_sync_report report = {0};
    no_inodes(m);
    rig_set_mtime(m->rig, "f0a", mrmr_clock_real());
    rig_ok(pool_scan(m->rig->pool, &job, false, &report));
    assert_null(strpbrk(rig_states(m->rig, "f0a"), "LG"));
    rig_set_mtime(m->rig, "f0b", rig_mtime(m->rig, "f0a"));
    exchange(m, "f0a", "f0b");
    rig_ok(pool_compare(m->rig->pool, &job, &report));
    assert_null(strpbrk(rig_states(m->rig, "f0a"), "LG"));
    rig_find(m->rig, "f0a")->there = rig_find(m->rig, "f0b")->there = false;
    reads_all(m);
    end(m);
}

/* Nothing of it is let go of, or held. */
static void all_is_live(struct mount *m, size_t i)
{
    struct meta_extent *extents;
    struct meta_node node;
    size_t n;
    int64_t root = rig_pool_drive(m->rig, m->rig->file[i].drive)->meta.root;
    rig_ok(meta_lookup_path(m->rig->pool->meta, root, m->was[i], &node));
    rig_ok(meta_extents_of(m->rig->pool->meta, node.id, &extents, &n));
    assert_true(n > 0);
    for (size_t e = 0; e < n; e++)
        if (extents[e].state != META_LIVE)
            fail_msg("%s: state %d", m->was[i], extents[e].state);
    free(extents);
}

/* A scan cannot tell by inodes what moved: the records do. */
static void test_a_scan_without_inodes(void **state)
{
    (void)state;
    struct mount *m = begin(12);
    no_inodes(m);
    move(m, "f0a", "renamed");
    move(m, "in", "out");
    move(m, "out/1", "out/one");
    move(m, "out/deep/er", "f0a");
    reads_all(m);
    no_new_rows(m->rig);
    rig_sync(m->rig);
    assert_int_equal(m->rig->report.held, 0);
    mount_note(m);
    for (size_t i = 0; i < m->rig->files; i++)
        all_is_live(m, i);
    reads_all(m);
    rig_sync(m->rig);
    assert_int_equal(moved_size(m), 0);
    reads_all(m);
    rig_clear_faults(m->rig);
    rig_protect_all(m->rig);
    rig_check(m->rig);
    end(m);
}

/* --- under the walk --- */

struct late {
    struct mount *m;
    void (*change)(struct mount *m);
    bool done;
};

static void late_hook(void *arg, enum drv_fault_op op, const char *path)
{
    struct late *late = arg;
    (void)op, (void)path;
    if (late->done)
        return;
    late->done = true;
    late->change(late->m);
}

/* Files in folders that are read early (a) and late (z), and in between the change; then a look as
 * above, but that what was renamed may stay noted for one more scan. */
static void under_the_walk(
    uint64_t seed, void (*before)(struct mount *), void (*change)(struct mount *))
{
    struct mount *m = begin(seed);
    struct late late = {.m = m, .change = change};
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST,
        .prefix = "m",
        .action = DRV_FAULT_HOOK,
        .hook = late_hook,
        .arg = &late};
    rig_put(m->rig, 0, "a/keep", 4000);
    rig_put(m->rig, 0, "m/keep", 4000);
    rig_put(m->rig, 0, "z/f", 2 * RIG_MIB - 5);
    rig_put(m->rig, 0, "z/g", 2 * RIG_MIB - 5);
    rig_put(m->rig, 0, "z/sub/h", RIG_MIB);
    rig_put(m->rig, 0, "z/sub/i", RIG_MIB);
    for (unsigned i = 0; i < 40; i++) {
        char path[32];
        snprintf(path, sizeof path, "z/many/%u", i);
        rig_put(m->rig, 0, path, 500);
    }
    rig_protect_all(m->rig);
    mount_note(m);
    if (before)
        before(m);
    no_new_rows(m->rig);
    rig_ok(drv_fault_add(m->rig->drive[0].fault, &rule, NULL));
    rig_sync(m->rig);
    assert_true(late.done);
    assert_int_equal(m->rig->report.held, 0);
    assert_int_equal(m->rig->report.drives_held, 0);
    assert_int_equal(m->rig->report.vanished, 0);
    /* Where the catalog has them by now. */
    for (size_t i = 0; i < m->rig->files; i++) {
        struct meta_node node;
        int64_t root = rig_pool_drive(m->rig, m->rig->file[i].drive)->meta.root;
        if (!meta_lookup_path(m->rig->pool->meta, root, m->rig->file[i].path, &node))
            snprintf(m->was[i], sizeof m->was[i], "%s", m->rig->file[i].path);
        all_is_live(m, i);
    }
    reads_all(m);
    rig_clear_faults(m->rig);
    nobody_suffers(m);
}

static void late_file(struct mount *m)
{
    move(m, "z/f", "a/f");
}

static void test_a_file_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(21, NULL, late_file);
}

/* And once more when it is looked for. */
static void later_hook(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    move(arg, "a/f", "a/g");
}

static void late_and_later(struct mount *m)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT,
        .prefix = "a/f",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = later_hook,
        .arg = m};
    move(m, "z/f", "a/f");
    rig_ok(drv_fault_add(m->rig->drive[0].fault, &rule, NULL));
}

static void test_a_file_under_the_look(void **state)
{
    (void)state;
    under_the_walk(30, NULL, late_and_later);
}

static void late_many(struct mount *m)
{
    move(m, "z/f", "a/f");
    move(m, "a/f", "a/f2");
    move(m, "z/g", "z/f");
    move(m, "z/sub", "a/sub");
    move(m, "a/sub/h", "a/h");
}

static void test_many_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(22, NULL, late_many);
}

/* Into folders that were not there when the one above was read; of one that is gone itself then. */
static void late_folders(struct mount *m)
{
    rig_ok(drv_mkdirs(m->rig->drive[0].raw, "a/new/er", 0700));
    move(m, "z/f", "a/new/er/f");
    move(m, "z/sub/h", "a/h");
    move(m, "z/sub/i", "a/new/i");
    rig_ok(drv_rmdir(m->rig->drive[0].raw, "z/sub"));
}

static void test_new_folders_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(23, NULL, late_folders);
}

/* A folder in which something was renamed before the scan, and which is itself renamed under it. */
static void early_inside(struct mount *m)
{
    move(m, "z/sub/h", "z/sub/h2");
    move(m, "z/f", "z/f2");
}

static void late_around(struct mount *m)
{
    move(m, "z", "a/z");
}

static void test_a_folder_renamed_before_it_is_read(void **state)
{
    (void)state;
    under_the_walk(24, early_inside, late_around);
}

static void late_exchange(struct mount *m)
{
    exchange(m, "a", "z");
}

static void test_an_exchange_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(25, early_inside, late_exchange);
}

static void late_out_of_it(struct mount *m)
{
    move(m, "z/sub/h", "a/h");
    move(m, "z/sub/i", "m/i"); /* which is not read yet */
    rig_ok(drv_rmdir(m->rig->drive[0].raw, "z/sub"));
}

static void test_out_of_a_folder_that_goes(void **state)
{
    (void)state;
    under_the_walk(29, NULL, late_out_of_it);
}

/* Another file comes in its place. */
static void late_replaced(struct mount *m)
{
    static const char text[] = "another file";
    struct drv_file *file;
    move(m, "z/f", "a/f~");
    rig_ok(
        drv_file_open(m->rig->drive[0].raw, "z/f", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    rig_ok(drv_file_write(file, 0, text, sizeof text));
    drv_file_close(file);
}

static void test_replaced_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(26, NULL, late_replaced);
}

/* Much at once: not lost, and no hold. */
static void early_limit(struct mount *m)
{
    rig_ok(pool_set(m->rig->pool, "hold-percent", "30"));
}

static void late_much(struct mount *m)
{
    move(m, "z/many", "a/many");
}

static void test_no_hold_under_the_walk(void **state)
{
    (void)state;
    under_the_walk(27, early_limit, late_much);
}

/* A rename that is noted, and not made yet, when a scan begins. */
struct slow {
    struct mount *m;
    atomic_bool in, asked;
};

static void *slow_rename(void *arg)
{
    struct slow *slow = arg;
    struct mount *m = slow->m;
    const struct timespec moment = {.tv_nsec = 200 * 1000000L};
    uint64_t epoch;
    rig_ok(pool_writers_enter(m->writers, &epoch));
    record(m, "f0a", "renamed", POOL_MOVED_RENAME);
    slow->in = true;
    while (!slow->asked)
        nanosleep(&(struct timespec){.tv_nsec = 1000000L}, NULL);
    nanosleep(&moment, NULL);
    rig_ok(drv_rename(m->rig->drive[0].raw, "f0a", "renamed", DRV_RENAME_REPLACE));
    pool_writers_leave(m->writers);
    return NULL;
}

static void test_a_scan_begins_after_it(void **state)
{
    (void)state;
    struct mount *m = begin(28);
    struct slow slow = {.m = m};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, slow_rename, &slow), 0);
    while (!slow.in)
        nanosleep(&(struct timespec){.tv_nsec = 1000000L}, NULL);
    slow.asked = true;
    rig_sync(m->rig);
    pthread_join(thread, NULL);
    rig_moved(m->rig, "f0a", "renamed");
    assert_int_equal(moved_size(m), 0);
    mount_note(m);
    reads_all(m);
    nobody_suffers(m);
}

/* --- what lies in the file --- */

static void file_add(struct mount *m, const void *data, size_t size)
{
    mrmr_autoclose int fd =
        openat(m->pool->dirfd, MOVED_NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
}

static void file_cut(struct mount *m, uint64_t less)
{
    mrmr_autoclose int fd = openat(m->pool->dirfd, MOVED_NAME, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(moved_size(m) - less)), 0);
}

/* However much of the last record is there: those before and after it count. */
static void test_a_torn_record(void **state)
{
    (void)state;
    struct mount *m = begin(31);
    move(m, "f0a", "renamed");
    uint64_t before = moved_size(m);
    record(m, "renamed", "never", POOL_MOVED_RENAME);
    uint64_t size = moved_size(m) - before;
    reads(m, m->pool, POOL_READ_DECODE);
    for (uint64_t less = 1; less < size; less += 7) {
        file_cut(m, less);
        if (less % 3 == 0)
            reads_all(m);
        move(m, "f0b", "f0c");
        move(m, "f0c", "f0b");
        record(m, "renamed", "never", POOL_MOVED_RENAME);
    }
    move(m, "f0b", "other");
    nobody_suffers(m);
}

static void test_garbage(void **state)
{
    (void)state;
    struct mount *m = begin(32);
    struct pool_moved_paths moved;
    int64_t drive = rig_pool_drive(m->rig, 0)->meta.id;
    uint8_t noise[8192];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)rig_random(m->rig, 256);
    move(m, "f0a", "renamed");
    /* A good record, with each of its bytes changed. */
    char good[256];
    uint64_t size = moved_size(m);
    mrmr_autoclose int fd = openat(m->pool->dirfd, MOVED_NAME, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, good, size, 0), (ssize_t)size);
    for (uint64_t i = 0; i < size; i++) {
        char bad[256];
        memcpy(bad, good, size);
        bad[i] ^= (char)(1 + rig_random(m->rig, 255));
        file_add(m, bad, size);
    }
    file_add(m, noise, sizeof noise);
    for (unsigned i = 0; i < 3000; i++) /* as many beginnings */
        file_add(m, good, 48 + i % 4);
    rig_ok(pool_moved_paths(m->pool, drive, "f0a", &moved));
    assert_int_equal(moved.n, 1);
    assert_string_equal(moved.path[0], "renamed");
    pool_moved_paths_free(&moved);
    move(m, "f0b", "other"); /* and it goes on */
    nobody_suffers(m);
}

/* What is no file of ours: nobody who reads minds, and a sync says so. */
static void test_no_file(void **state)
{
    (void)state;
    struct mount *m = begin(33);
    struct pool_sync_report report;
    struct pool_job job = rig_job(m->rig);
    assert_int_equal(mkdirat(m->pool->dirfd, MOVED_NAME, 0700), 0);
    reads_all(m);
    assert_int_not_equal(pool_scan(m->rig->pool, &job, false, &report), MRMR_OK);
    assert_int_equal(unlinkat(m->pool->dirfd, MOVED_NAME, AT_REMOVEDIR), 0);
    assert_int_equal(mkfifoat(m->pool->dirfd, MOVED_NAME, 0600), 0);
    reads_all(m);
    assert_int_equal(unlinkat(m->pool->dirfd, MOVED_NAME, 0), 0);
    assert_int_equal(symlinkat("/dev/zero", m->pool->dirfd, MOVED_NAME), 0);
    reads_all(m);
    assert_int_equal(unlinkat(m->pool->dirfd, MOVED_NAME, 0), 0);
    nobody_suffers(m);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct mount *m = begin(34);
    static const char *const bad[] = {"", "/f0a", "../f0a", "a//b", "a/./b", "a/"};
    char *huge = malloc(POOL_MOVED_PATH_MOST + 2);
    int fd;
    assert_non_null(huge);
    for (size_t i = 0; i <= POOL_MOVED_PATH_MOST; i++)
        huge[i] = i % 2 ? '/' : 'd';
    huge[POOL_MOVED_PATH_MOST + 1] = '\0';
    rig_ok(pool_moved_open(m->pool->dirfd, &fd));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(pool_moved_add(fd, 1, bad[i], "b", POOL_MOVED_RENAME, false), 0);
        assert_int_not_equal(pool_moved_add(fd, 1, "b", bad[i], POOL_MOVED_RENAME, false), 0);
    }
    assert_int_equal(
        pool_moved_add(fd, 1, huge, "b", POOL_MOVED_RENAME, false), MRMR_NAME_TOO_LONG);
    assert_int_equal(moved_size(m), 0);
    /* A path that grows for ever, or goes on for ever, is left alone at some time. */
    for (unsigned i = 0; i < 20000; i++) {
        rig_ok(pool_moved_add(fd, 1, "g", "g/g/g/g/g/g/g/g", POOL_MOVED_RENAME, false));
        rig_ok(pool_moved_add(fd, 1, "x", "y", POOL_MOVED_EXCHANGE, false));
    }
    close(fd);
    struct pool_moved_paths moved;
    rig_ok(pool_moved_paths(m->pool, 1, "g", &moved));
    assert_true(moved.n <= POOL_MOVED_MOST);
    pool_moved_paths_free(&moved);
    rig_ok(pool_moved_paths(m->pool, 1, "x", &moved));
    assert_true(moved.n <= 1);
    pool_moved_paths_free(&moved);
    free(huge);
    end(m);
}

/* Records of drives that the scan could not see stay; so do those that came while it was under way. */
static void test_what_is_dropped(void **state)
{
    (void)state;
    struct mount *m = begin(35);
    struct pool_moved_paths moved;
    int64_t drive = rig_pool_drive(m->rig, 1)->meta.id;
    uint64_t size;
    int fd;
    move(m, "f0a", "renamed");
    rig_ok(pool_moved_open(m->pool->dirfd, &fd));
    rig_ok(pool_moved_add(fd, drive, "f1a", "later", POOL_MOVED_RENAME, true));
    close(fd);
    rig_ok(pool_moved_size(m->rig->pool, NULL, &size));
    move(m, "f0b", "during");
    int64_t scanned = rig_pool_drive(m->rig, 0)->meta.id;
    rig_ok(pool_moved_drop(m->rig->pool, NULL, size, &scanned, 1));
    rig_ok(pool_moved_paths(m->pool, scanned, "f0a", &moved));
    assert_int_equal(moved.n, 0);
    rig_ok(pool_moved_paths(m->pool, drive, "f1a", &moved));
    assert_int_equal(moved.n, 1);
    pool_moved_paths_free(&moved);
    rig_ok(pool_moved_paths(m->pool, scanned, "f0b", &moved));
    assert_int_equal(moved.n, 1);
    pool_moved_paths_free(&moved);
    rig_take_away(m->rig, 1);
    rig_reopen(m->rig);
    rig_sync(m->rig);
    rig_ok(pool_moved_paths(m->rig->pool, drive, "f1a", &moved));
    assert_int_equal(moved.n, 1);
    pool_moved_paths_free(&moved);
    rig_bring_back(m->rig, 1);
    rig_reopen(m->rig);
    mount_note(m);
    nobody_suffers(m);
}

/* The catalog is newer than some records: a file has the name of one that was renamed before. */
static void test_older_records(void **state)
{
    (void)state;
    struct mount *m = begin(36);
    move(m, "f0a", "first");
    move(m, "f0b", "f0a");
    rig_sync(m->rig);
    mount_note(m);
    /* The scan's commit was seen, and not yet that it dropped them. */
    record(m, "f0a", "first", POOL_MOVED_RENAME);
    record(m, "f0b", "f0a", POOL_MOVED_RENAME);
    reads_all(m);
    move(m, "f0a", "second");
    move(m, "first", "f0a");
    nobody_suffers(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file),
        cmocka_unit_test(test_a_folder),
        cmocka_unit_test(test_a_folder_and_back),
        cmocka_unit_test(test_a_swap),
        cmocka_unit_test(test_an_exchange),
        cmocka_unit_test(test_over_another),
        cmocka_unit_test(test_records_without_a_rename),
        cmocka_unit_test(test_rows_are_made_from_it),
        cmocka_unit_test(test_an_exchange_without_inodes),
        cmocka_unit_test(test_a_compare_without_inodes),
        cmocka_unit_test(test_a_scan_without_inodes),
        cmocka_unit_test(test_a_file_under_the_walk),
        cmocka_unit_test(test_a_file_under_the_look),
        cmocka_unit_test(test_many_under_the_walk),
        cmocka_unit_test(test_new_folders_under_the_walk),
        cmocka_unit_test(test_out_of_a_folder_that_goes),
        cmocka_unit_test(test_a_folder_renamed_before_it_is_read),
        cmocka_unit_test(test_an_exchange_under_the_walk),
        cmocka_unit_test(test_replaced_under_the_walk),
        cmocka_unit_test(test_no_hold_under_the_walk),
        cmocka_unit_test(test_a_scan_begins_after_it),
        cmocka_unit_test(test_a_torn_record),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_what_is_dropped),
        cmocka_unit_test(test_older_records),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_moved", tests, NULL, NULL);
}
