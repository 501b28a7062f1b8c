/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the file of renames may hold, however it came to that.
 */
#include "tests/unit/pool_moved_world.h"

#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

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
    renames_harm_nobody(m);
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
    renames_harm_nobody(m);
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
    renames_harm_nobody(m);
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
    renames_harm_nobody(m);
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
    renames_harm_nobody(m);
}

static mrmr_err count_copy(const struct pool_entry *entry, void *arg)
{
    assert_string_equal(entry->drive, "d0");
    ++*(unsigned *)arg;
    return MRMR_OK;
}

static void is_where(struct pool *pool, const char *path, bool there)
{
    unsigned n = 0;
    assert_int_equal(pool_where(pool, path, count_copy, &n), there ? MRMR_OK : MRMR_ABSENT);
    assert_int_equal(n, there);
}

/* A file is found by the name that it has now, before and after a scan has seen it. */
static void test_where(void **state)
{
    (void)state;
    struct mount *m = begin(37);
    move(m, "f0a", "renamed");
    move(m, "in", "out");
    move(m, "out/1", "out/deep/one");
    exchange(m, "out/2", "f0b");
    for (unsigned scanned = 0; scanned < 2; scanned++) {
        struct pool *pools[] = {m->pool, m->rig->pool};
        for (unsigned i = 0; i < 2; i++) {
            static const char *const now[] = {
                "renamed", "out", "out/0", "out/deep/er", "out/deep/one", "f0b", "out/2"};
            static const char *const before[] = {"f0a", "in", "in/0", "in/deep/er", "out/1"};
            for (unsigned j = 0; j < sizeof now / sizeof *now; j++)
                is_where(pools[i], now[j], true);
            for (unsigned j = 0; j < sizeof before / sizeof *before; j++)
                is_where(pools[i], before[j], false);
        }
        rig_sync(m->rig);
    }
    end(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_torn_record),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_what_is_dropped),
        cmocka_unit_test(test_older_records),
        cmocka_unit_test(test_where),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_moved_file", tests, NULL, NULL);
}
