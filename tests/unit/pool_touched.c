/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The record of what was touched: set aside by scans, bounded, and nothing of it lost at any cut.
 */
#include "pool/records/touched.h"
#include "tests/support/rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = sizeof(struct pool_touched_inode), OTHER = 99 };

static struct rig *rig;
static int64_t a, b; /* drives */

static int setup(void **state)
{
    (void)state;
    rig = rig_create(&(struct rig_spec){.seed = 71});
    a = rig_pool_drive(rig, 0)->meta.id;
    b = rig_pool_drive(rig, 1)->meta.id;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_destroy(rig);
    return 0;
}

static void add_as(int64_t drive, uint64_t ino, int64_t as)
{
    int fd;
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, drive, ino, as));
    close(fd);
}

static void add(int64_t drive, uint64_t ino)
{
    add_as(drive, ino, 0);
}

/* As those who load it see it, and those who look for one. */
static bool has(int64_t drive, uint64_t ino)
{
    struct pool_touched touched;
    bool found;
    rig_ok(pool_touched_load(rig->pool, &touched));
    rig_ok(pool_touched_find(rig->pool, drive, ino, &found));
    assert_int_equal(found, pool_touched_has(&touched, drive, ino));
    pool_touched_free(&touched);
    return found;
}

/* What of it the catalog does not have any more. */
static void assert_changed(uint64_t ino, bool any, bool bytes, bool attrs)
{
    struct pool_touched touched;
    bool found;
    assert_int_equal(has(a, ino), any);
    rig_ok(pool_touched_load(rig->pool, &touched));
    assert_int_equal(pool_touched_has_bytes(&touched, a, ino), bytes);
    pool_touched_free(&touched);
    rig_ok(pool_touched_find_bytes(rig->pool, a, ino, &found));
    assert_int_equal(found, bytes);
    rig_ok(pool_touched_find_attrs(rig->pool, a, ino, &found));
    assert_int_equal(found, attrs);
}

static uint64_t size_of(const char *name)
{
    struct stat st;
    return fstatat(rig->pool->dirfd, name, &st, 0) ? 0 : (uint64_t)st.st_size;
}

static void drop(int64_t drive)
{
    rig_ok(pool_touched_drop(rig->pool, NULL, &drive, 1));
}

/* What comes after a scan began outlasts it, and so does what is of a drive that was not judged. */
static void test_what_a_scan_takes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        for (uint64_t ino = 9; ino >= 3; ino -= 2) {
            add(b, ino);
            add(a, ino);
        }
    rig_ok(pool_touched_begin(rig->pool, NULL));
    assert_int_equal(size_of("touched.old"), 8 * RECORD); /* each once */
    assert_int_equal(size_of("touched") + size_of("touched.cut"), 0);
    assert_true(has(a, 3) && has(a, 9) && has(b, 5) && !has(a, 4) && !has(a, 1) && !has(a, 11));
    add(a, 4);
    add(a, 5);
    drop(a);
    assert_true(has(a, 4) && has(a, 5) && !has(a, 3) && !has(a, 9));
    assert_true(has(b, 3) && has(b, 9));
    assert_int_equal(size_of("touched.old"), 4 * RECORD);
    rig_ok(pool_touched_begin(rig->pool, NULL));
    drop(a);
    assert_true(!has(a, 4) && !has(a, 5) && has(b, 9));
    assert_false(has(a, 0)); /* no number: nothing is known of it */
    add(a, 0);
    assert_int_equal(size_of("touched"), 0);
}

/* Of several records the one that says most is left. */
static void test_what_was_changed(void **state)
{
    (void)state;
    const int64_t as[] = {POOL_TOUCHED_NAME, POOL_TOUCHED_ATTRS, 0};
    for (uint64_t ino = 1; ino <= 3; ino++)
        for (uint64_t i = 0; i < ino; i++)
            add_as(a, ino, as[i]);
    add_as(a, 4, POOL_TOUCHED_ATTRS);
    add_as(b, 7, 0);
    for (unsigned round = 0; round < 2; round++) {
        assert_changed(1, true, false, false);
        assert_changed(2, true, false, true);
        assert_changed(3, true, true, true);
        assert_changed(4, false, false, true);
        rig_ok(pool_touched_begin(rig->pool, NULL));
        assert_int_equal(size_of("touched.old"), 5 * RECORD);
    }
    drop(a);
    for (uint64_t ino = 1; ino <= 4; ino++)
        assert_changed(ino, false, false, false);
    assert_true(has(b, 7));
}

/* As many as there may be, of another drive. */
static void fill_as(const char *name, int64_t as)
{
    const size_t n = POOL_TOUCHED_MOST / RECORD;
    struct pool_touched_inode *record = calloc(n, RECORD);
    int fd = openat(rig->pool->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(record && fd >= 0);
    for (size_t i = 0; i < n; i++)
        record[i] = (struct pool_touched_inode){OTHER | as, i + 1};
    assert_int_equal(write(fd, record, n * RECORD), n * RECORD);
    close(fd);
    free(record);
}

static void fill(const char *name)
{
    fill_as(name, 0);
}

/* Too many attributes say nothing of bytes, or of names that went. */
static void test_the_bound_of_attributes(void **state)
{
    (void)state;
    fill_as("touched", POOL_TOUCHED_ATTRS);
    for (uint64_t ino = 1; ino < 9; ino++)
        add_as(a, ino, POOL_TOUCHED_ATTRS);
    assert_int_equal(size_of("touched"), POOL_TOUCHED_MOST + RECORD); /* a mark */
    assert_changed(12345, false, false, true);
    rig_ok(pool_touched_begin(rig->pool, NULL));
    assert_int_equal(size_of("touched.old"), 2 * RECORD);
    assert_changed(12345, false, false, true);
    assert_false(has(OTHER, 7));
    add(a, 5);
    assert_changed(5, true, true, true);
    assert_changed(6, false, false, true);
}

static void test_the_bound(void **state)
{
    (void)state;
    fill("touched");
    for (uint64_t ino = 1; ino < 50; ino++) {
        add(a, ino);
        add(b, ino);
    }
    assert_int_equal(size_of("touched"), POOL_TOUCHED_MOST + 2 * RECORD); /* a mark each */
    assert_true(has(a, 12345) && has(b, 1) && has(OTHER, 7) && !has(OTHER + 1, 7));
    bool itself;
    rig_ok(pool_touched_find_itself(rig->pool, a, 12345, &itself));
    assert_false(itself);
    rig_ok(pool_touched_begin(rig->pool, NULL));
    assert_int_equal(size_of("touched.old"), 3 * RECORD);
    assert_true(has(a, 12345) && has(b, 1) && has(OTHER, UINT64_C(1) << 60));
    assert_false(has(OTHER + 1, 7));
    add(a, 77);
    assert_int_equal(size_of("touched"), RECORD); /* one by one again */
    drop(a);
    assert_true(has(a, 77) && !has(a, 78) && has(b, 1));
}

/* What earlier scans left and what is new are no more together: who has most has a mark, and those who
 * have few keep them. */
static void test_the_bound_of_old_ones(void **state)
{
    (void)state;
    fill("touched.old");
    add(a, 5);
    add(b, 6);
    rig_ok(pool_touched_begin(rig->pool, NULL));
    assert_int_equal(size_of("touched.old"), 3 * RECORD);
    assert_true(has(a, 5) && !has(a, 6) && has(b, 6) && !has(b, 5) && has(OTHER, 1));
}

/* --- since when --- */

static int64_t since(int64_t drive)
{
    struct pool_touched touched;
    rig_ok(pool_touched_load(rig->pool, &touched));
    const int64_t at = pool_touched_since(&touched, drive);
    pool_touched_free(&touched);
    return at / MRMR_NS_PER_S;
}

/* One of that second, at the end. */
static void add_of(const char *name, int64_t drive, uint64_t ino, int64_t as, int64_t second)
{
    const struct pool_touched_inode record = {drive | as | second * POOL_TOUCHED_SECOND, ino};
    int fd = openat(rig->pool->dirfd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, &record, RECORD), RECORD);
    close(fd);
}

static void test_since_when(void **state)
{
    (void)state;
    const int64_t now = mrmr_clock_real() / MRMR_NS_PER_S;
    assert_int_equal(since(a), 0);
    add_as(a, 1, POOL_TOUCHED_NAME); /* nothing of it is new */
    assert_int_equal(since(a), 0);
    add(a, 2);
    const int64_t then = since(a);
    assert_true(then >= now && then <= mrmr_clock_real() / MRMR_NS_PER_S);
    assert_int_equal(since(b), 0);
    int fd;
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    assert_int_equal(pool_touched_add(fd, POOL_TOUCHED_DRIVE + 1, 2, 0), MRMR_INVALID);
    close(fd);
    add_of(
        "touched", b, 3, 0, (INT64_C(1) << 36) - 1); /* nobody wrote that: a block that was torn */
    assert_true(since(b) > now && has(b, 3));
}

/* The first of what was touched, whatever records become one, and in whatever file they are. */
static void test_since_when_it_first_was(void **state)
{
    (void)state;
    add_of("touched", a, 5, POOL_TOUCHED_NAME, 1000); /* says nothing of that */
    add_of("touched", a, 5, 0, 5000);
    add_of("touched", a, 5, POOL_TOUCHED_ATTRS, 4000);
    add_of("touched", a, 5, 0, 6000);
    add_of("touched", a, 6, POOL_TOUCHED_NAME, 2000);
    add_of("touched", a, 6, POOL_TOUCHED_ATTRS, 7000);
    add_of("touched", b, 5, 0, 0); /* it is not known */
    add_of("touched", b, 6, 0, 9000);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(since(a), 4000);
        assert_int_equal(since(b), 9000);
        assert_true(has(a, 5) && has(a, 6) && has(b, 5) && !has(b, 7));
        rig_ok(pool_touched_begin(rig->pool, NULL));
        assert_int_equal(size_of("touched.old"), 4 * RECORD);
        add_of("touched", a, 6, POOL_TOUCHED_ATTRS, 8000);
        add_of("touched", b, 6, 0, 9500);
    }
    drop(b);
    assert_int_equal(since(b), 9500); /* touched once more */
    assert_int_equal(since(a), 4000);
}

/* A mark is of when the first was that it stands for. */
static void test_since_when_of_marks(void **state)
{
    (void)state;
    add_of("touched", a, 5, 0, 3000);
    add_of("touched", a, POOL_TOUCHED_ALL, 0, 4000);
    add_of("touched.old", OTHER, 7, 0, 2000);
    assert_int_equal(since(a), 3000);
    rig_ok(pool_touched_begin(rig->pool, NULL));
    assert_int_equal(since(a), 3000);
    fill("touched");
    add_of("touched", OTHER, 8, 0, 2500);
    rig_ok(pool_touched_begin(rig->pool, NULL)); /* more than there may be */
    assert_int_equal(size_of("touched.old"), 2 * RECORD);
    assert_int_equal(since(OTHER), 2000);
    assert_true(has(OTHER, 12345) && has(a, 1));
}

static void rename_to(const char *from, const char *to)
{
    assert_int_equal(renameat(rig->pool->dirfd, from, rig->pool->dirfd, to), 0);
}

/* The scan before was cut: at the rename, whoever adds still has the file open; at the replacement; at
 * the removal. */
static void test_a_scan_was_cut(void **state)
{
    (void)state;
    int fd;
    add(b, 1);
    rig_ok(pool_touched_begin(rig->pool, NULL));
    add(a, 2);
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    rename_to("touched", "touched.cut");
    assert_true(has(a, 2) && has(b, 1));
    rig_ok(pool_touched_add(fd, a, 3, 0));
    close(fd);
    add(a, 4);
    assert_true(has(a, 2) && has(a, 3) && has(a, 4) && has(b, 1));
    rig_ok(pool_touched_begin(rig->pool, NULL));
    assert_true(has(a, 2) && has(a, 3) && has(a, 4) && has(b, 1));
    assert_int_equal(size_of("touched.old"), 4 * RECORD);
    add(a, 4); /* again, as what the replacement has taken in */
    rename_to("touched", "touched.cut");
    rig_ok(pool_touched_begin(rig->pool, NULL));
    assert_int_equal(size_of("touched.old"), 4 * RECORD);
    assert_int_equal(size_of("touched.cut"), 0);
    drop(a);
    assert_true(!has(a, 2) && !has(a, 3) && !has(a, 4) && has(b, 1));
}

/* --- what a mark costs --- */

static void all_vanish(const char *what, unsigned round)
{
    char path[32];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "%s%u/%u", what, round, i);
        rig_put(rig, 0, path, 3000);
    }
    rig_protect_all(rig);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "%s%u/%u", what, round, i);
        rig_unlink(rig, path);
    }
}

static mrmr_err count_told(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += !strcmp(event->kind, "touched-all") && !strcmp(event->drive, "d0");
    return MRMR_OK;
}

static void mark_a(void)
{
    fill("touched");
    add(a, 1);
}

/* It lifts a hold once, of its drive, and says so. */
static void test_a_mark_holds_nothing_once(void **state)
{
    (void)state;
    unsigned told = 0;
    rig_put(rig, 1, "one", 3000);
    all_vanish("f", 0);
    mark_a();
    rig_sync(rig);
    assert_int_equal(rig->report.vanished, 40);
    assert_int_equal(rig->report.drives_held, 0);
    rig_ok(pool_events(rig->pool, 0, 100, count_told, &told));
    assert_int_equal(told, 1);
    assert_false(has(a, 1));
    all_vanish("f", 1);
    rig_sync(rig);
    assert_int_equal(rig->report.drives_held, 1);
    rig_ok(pool_events(rig->pool, 0, 100, count_told, &told));
    assert_int_equal(told, 2); /* the one from before */
    mark_a();
    rig_sync(rig); /* nor does it lift one that is there */
    assert_int_equal(rig->report.drives_held, 1);
    rig_check(rig);
}

int main(void)
{
#define touched_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        touched_test(test_what_a_scan_takes),
        touched_test(test_what_was_changed),
        touched_test(test_the_bound_of_attributes),
        touched_test(test_the_bound),
        touched_test(test_the_bound_of_old_ones),
        touched_test(test_since_when),
        touched_test(test_since_when_it_first_was),
        touched_test(test_since_when_of_marks),
        touched_test(test_a_scan_was_cut),
        touched_test(test_a_mark_holds_nothing_once),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_touched", tests, NULL, NULL);
}
