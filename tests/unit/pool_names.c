/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whoever goes by the catalog does so by the names that things have now, and not by those that the last
 * scan saw: ls, where, cat, and a rebuild of a part of a drive that may come back.
 */
#include "tests/unit/pool_tree_user.h"

#include "base/cleanup.h"
#include <string.h>

/* --- what they say --- */

static mrmr_err add_listed(const struct pool_entry *entry, void *arg)
{
    return mrmr_bytes_fmt(arg, "%s ", entry->name);
}

static void ls_has(struct pool *pool, const char *path, const char *expected)
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    rig_ok(mrmr_bytes_str(&names, ""));
    rig_ok(pool_ls(pool, path, add_listed, &names));
    assert_string_equal(names.data, expected);
}

static mrmr_err only_drive(const struct pool_entry *entry, void *arg)
{
    *(char *)arg = *(char *)arg ? '?' : entry->drive[1];
    return MRMR_OK;
}

/* The only drive that it lies on, by the last letter of its name; 0: none. */
static char where(struct pool *pool, const char *path)
{
    char drive = 0;
    mrmr_err err = pool_where(pool, path, only_drive, &drive);
    assert_true(!err || (err == MRMR_ABSENT && !drive));
    return drive;
}

/* As the command does it. */
static void cats(struct world *w, const char *path)
{
    const struct rig_file *file = rig_find(w->rig, path);
    mrmr_autofree uint8_t *got = malloc(file->size + 1), *expected = malloc(file->size + 1);
    struct pool_file *open;
    size_t n;
    rig_ok(pool_file_open(w->rig->pool, path, POOL_READ_VERIFY, &open));
    assert_int_equal(pool_file_size(open), file->size);
    for (size_t done = 0; done < file->size; done += n) {
        rig_ok(pool_file_read(open, done, got + done, file->size - done, &n));
        assert_true(n > 0);
    }
    pool_file_close(open);
    rig_expected(file, 0, expected, file->size);
    assert_memory_equal(got, expected, file->size);
}

/* --- what was done --- */

static void begin_names(struct world *w, uint64_t seed)
{
    begin(w, RIG_LOCAL, seed);
    close_tree(w);
    rig_put(w->rig, 0, "folder/in/one", 1000);
    rig_put(w->rig, 0, "folder/two", RIG_MIB + 3000);
    rig_put(w->rig, 0, "kept", 5000);
    rig_put(w->rig, 0, "linked", 6000);
    rig_ok(drv_link(w->rig->drive[0].raw, "linked", "folder/link"));
    rig_put(w->rig, 1, "folder/far", 7000);
    rig_put(w->rig, 1, "a-last", 10);
    rig_protect_all(w->rig);
    open_tree(w);
    renames(w, "f0", "renamed", 0);
    renames(w, "folder", "other-folder", 0);
    renames(w, "other-folder/two", "other-folder/three", 0);
    makes(w, "made");
    renames(w, "kept", "made/kept", 0);
    renames(w, "linked", "made/linked", 0);
    rig_ok(unlink_at(w, "other-folder/link"));
    removes(w, "other-folder/in/one");
    rig_ok(rmdir_at(w, "other-folder/in"));
    close_tree(w);
}

static void they_go_by_the_new_names(struct world *w)
{
    static const char *const old[] = {"f0", "folder", "folder/two", "folder/far", "kept", "linked",
        "other-folder/two", "other-folder/in", "other-folder/in/one", "other-folder/link"};
    static const char *const now[] = {
        "renamed", "other-folder/three", "other-folder/far", "made/kept", "made/linked"};
    struct pool *pool = w->rig->pool;
    struct pool_file *file;
    ls_has(pool, "", "a-last f1 f2 f3 f4 made other other-folder renamed ");
    ls_has(pool, "other-folder", "far three ");
    ls_has(pool, "made", "kept linked ");
    for (size_t i = 0; i < sizeof now / sizeof *now; i++) {
        assert_int_equal(where(pool, now[i]), i == 2 ? '1' : '0');
        cats(w, now[i]);
    }
    assert_true(where(pool, "made"));
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        assert_int_equal(where(pool, old[i]), 0);
        assert_int_equal(pool_ls(pool, old[i], add_listed, NULL), MRMR_ABSENT);
        assert_int_equal(pool_file_open(pool, old[i], 0, &file), MRMR_ABSENT);
    }
}

static void test_before_and_after_a_scan(void **state)
{
    struct world w;
    (void)state;
    begin_names(&w, 481);
    rig_reopen(w.rig);
    they_go_by_the_new_names(&w); /* also of a drive that is there */
    rig_take_away(w.rig, 0);
    rig_reopen(w.rig);
    they_go_by_the_new_names(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    they_go_by_the_new_names(&w);
    rig_verify(w.rig, false);
    rig_destroy(w.rig);
}

/* Removed while its drive was away, under the new name. */
static void test_removed_since(void **state)
{
    struct world w;
    struct pool_file *file;
    (void)state;
    begin_names(&w, 482);
    rig_take_away(w.rig, 0);
    open_tree(&w);
    removes(&w, "renamed");
    removes(&w, "made/kept");
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool *pool = w.rig->pool;
    ls_has(pool, "", "a-last f1 f2 f3 f4 made other other-folder ");
    ls_has(pool, "made", "linked ");
    assert_int_equal(where(pool, "renamed"), 0);
    assert_int_equal(pool_file_open(pool, "renamed", 0, &file), MRMR_ABSENT);
    assert_int_equal(pool_file_open(pool, "f0", 0, &file), MRMR_ABSENT);
    rig_destroy(w.rig);
}

/* --- a part of a drive that may come back --- */

static mrmr_err rebuild(struct world *w, const char *path)
{
    struct pool_job job = rig_job(w->rig);
    const struct pool_rebuild_options options = {.drive = "d0", .path = path};
    struct pool_rebuild_report report;
    return pool_rebuild(w->rig->pool, &job, &options, &report);
}

static void is_brought(struct world *w, const char *path)
{
    struct rig_file *file = rig_find(w->rig, path);
    char drive = where(w->rig->pool, path);
    if (drive < '1' || drive > '4')
        fail_msg("'%s' is on '%c'", path, drive ? drive : '-');
    file->drive = (unsigned)(drive - '0');
    assert_true(rig_holds(w->rig, file->drive, path));
    cats(w, path);
}

static void test_rebuilt_in_part(void **state)
{
    static const char *const old[] = {"f0", "folder/two", "folder/in/one", "kept", "linked",
        "folder/link", "other-folder/in", "other-folder/link"};
    struct world w;
    (void)state;
    begin_names(&w, 483);
    rig_take_away(w.rig, 0);
    rig_reopen(w.rig);
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        assert_int_equal(rebuild(&w, old[i]), MRMR_ABSENT);
    assert_int_equal(where(w.rig->pool, "other-folder/three"), '0');
    rig_ok(rebuild(&w, "other-folder"));
    rig_ok(rebuild(&w, "made"));
    is_brought(&w, "other-folder/three");
    is_brought(&w, "made/kept");
    is_brought(&w, "made/linked");
    assert_int_equal(where(w.rig->pool, "renamed"), '0');
    ls_has(w.rig->pool, "other-folder", "far three ");
    for (unsigned d = 1; d < w.rig->n; d++)
        for (size_t i = 0; i < sizeof old / sizeof *old; i++)
            assert_false(rig_holds(w.rig, d, old[i]));
    rig_ok(rebuild(&w, "renamed"));
    is_brought(&w, "renamed");
    rig_sync(w.rig);
    rig_check(w.rig);
    rig_verify(w.rig, false);
    rig_destroy(w.rig);
}

/* --- names of one file --- */

static bool has_names(struct world *w, const char *paths, size_t size)
{
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    struct drv *drv = w->rig->drive[0].raw;
    struct drv_stat stat;
    rig_ok(mrmr_bytes_add(&list, paths, size));
    rig_ok(drv_stat(drv, "one", &stat));
    const struct meta_node node = {.ino = stat.ino};
    const struct pool_found_file found = {.ino = stat.ino, .nlink = stat.nlink};
    return pool_node_has_names(drv, &node, &found, &list);
}

/* However often one of them is listed: as many as it has must lead to it. */
static void test_each_name_counts_once(void **state)
{
    static const char all[] = "one\0folder\0two", twice[] = "one\0two\0one",
                      three[] = "two\0one\0other\0third";
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 484);
    struct drv *drv = w.rig->drive[0].raw;
    rig_put(w.rig, 0, "one", 6000);
    rig_ok(drv_link(drv, "one", "two"));
    assert_true(has_names(&w, all, sizeof all));
    assert_true(has_names(&w, twice, sizeof twice));
    rig_ok(drv_link(drv, "one", "third"));
    assert_false(has_names(&w, all, sizeof all));
    assert_false(has_names(&w, twice, sizeof twice));
    assert_true(has_names(&w, three, sizeof three));
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_and_after_a_scan),
        cmocka_unit_test(test_removed_since),
        cmocka_unit_test(test_rebuilt_in_part),
        cmocka_unit_test(test_each_name_counts_once),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_names", tests, NULL, NULL);
}
