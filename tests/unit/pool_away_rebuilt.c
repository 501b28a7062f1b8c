/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive never comes back, and is rebuilt: of what was removed from it after its last scan nothing comes
 * back where something else is known to have its path, on another drive or by its new name; and a
 * rename that cannot be done is told of.
 */
#include "tests/unit/pool_tree_user.h"

#include <string.h>

/* One more drive than the world has; what dies is the first one. */
static void begin_rebuilt(struct world *w, uint64_t seed)
{
    begin(w, RIG_LOCAL, seed);
    close_tree(w);
    rig_put(w->rig, 0, "build/x", 3000);
    rig_put(w->rig, 0, "build/sub/y", 2000);
    rig_put(w->rig, 0, "next/x", 4000);
    rig_put(w->rig, 0, "next/z", 1000);
    rig_protect_all(w->rig);
    rig_add_drive(w->rig);
    open_tree(w);
}

static struct pool_rebuild_report rebuilt(struct world *w, const char *onto)
{
    const struct pool_rebuild_options options = {.drive = "d0", .onto = onto};
    struct pool_rebuild_report report;
    rig_reopen(w->rig);
    struct pool_job job = rig_job(w->rig);
    rig_ok(pool_rebuild(w->rig->pool, &job, &options, &report));
    assert_int_equal(report.failed, 0);
    assert_int_equal(report.conflicts, 0);
    return report;
}

static unsigned drives_that_have(struct world *w, const char *path)
{
    unsigned n = 0;
    for (unsigned d = 1; d < w->rig->n; d++)
        n += rig_holds(w->rig, d, path);
    return n;
}

/* What comes back is whole, wherever that is; and is protected from then on. */
static void all_is_well(struct world *w)
{
    for (size_t i = 0; i < w->rig->files; i++) {
        struct rig_file *file = &w->rig->file[i];
        if (!file->there)
            continue;
        assert_int_equal(drives_that_have(w, file->path), 1);
        for (unsigned d = 1; d < w->rig->n; d++)
            if (rig_holds(w->rig, d, file->path))
                file->drive = d;
    }
    rig_protect_all(w->rig);
    rig_check_originals(w->rig);
    rig_verify(w->rig, true);
    rig_destroy(w->rig);
}

/* The one that was removed from the first drive is to be there again. */
static void is_back(struct world *w, const char *path, const char *at)
{
    for (size_t i = 0; i < w->rig->files; i++) {
        struct rig_file *file = &w->rig->file[i];
        if (file->drive || file->there || strcmp(file->path, path) != 0)
            continue;
        file->there = true;
        strcpy(file->path, at);
        return;
    }
    fail_msg("the test knows of no %s that was removed", path);
}

struct told {
    const char *kind, *text;
    unsigned n;
};

static mrmr_err count_told(const struct pool_event *event, void *arg)
{
    struct told *told = arg;
    told->n += strcmp(event->kind, told->kind) == 0 && strstr(event->text, told->text);
    return MRMR_OK;
}

static unsigned told_of(struct world *w, const char *kind, const char *text)
{
    struct told told = {kind, text, 0};
    rig_ok(pool_events(w->rig->pool, 0, 1000, count_told, &told));
    return told.n;
}

/* --- the path is on another drive --- */

enum newer { NEWER_THERE, NEWER_SYNCED, NEWER_AWAY, NEWER_FOLDER };

/* `f0` is removed, and another `f0` is on the second drive: the old one does not come back. */
static void another_has_it(enum newer newer, uint64_t seed, const char *onto)
{
    struct world w;
    begin_rebuilt(&w, seed);
    removes(&w, "f0");
    removes(&w, "other"); /* which nothing takes the place of: it does */
    goes_away(&w);
    close_tree(&w);
    rig_put(w.rig, 1, newer == NEWER_FOLDER ? "f0/in" : "f0", 5000);
    rig_reopen(w.rig);
    if (newer != NEWER_THERE)
        rig_sync(w.rig);
    if (newer == NEWER_AWAY)
        rig_take_away(w.rig, 1);
    struct pool_rebuild_report report = rebuilt(&w, onto);
    assert_int_equal(report.failed, 0);
    if (newer == NEWER_AWAY)
        rig_bring_back(w.rig, 1);
    assert_int_equal(drives_that_have(&w, "f0"), 1);
    assert_int_equal(told_of(&w, "restored-removed", "1 files"), 1);
    assert_int_equal(told_of(&w, "not-restored", "1 files"), 1);
    is_back(&w, "other", "other");
    rig_reopen(w.rig);
    all_is_well(&w);
}

static void test_another_has_it(void **state)
{
    (void)state;
    another_has_it(NEWER_SYNCED, 481, "d5");
    another_has_it(NEWER_AWAY, 482, NULL);
    if (!rig_all())
        return;
    another_has_it(NEWER_THERE, 480, NULL);
    another_has_it(NEWER_FOLDER, 483, NULL);
}

/* --- what was renamed has it --- */

static void test_renamed_into_its_place(void **state)
{
    struct world w;
    (void)state;
    begin_rebuilt(&w, 484);
    removes(&w, "build/x");
    removes(&w, "build/sub/y");
    rig_ok(rmdir_at(&w, "build/sub"));
    rig_ok(rmdir_at(&w, "build"));
    renames(&w, "next", "build", 0);
    goes_away(&w);
    close_tree(&w);
    rebuilt(&w, NULL);
    assert_int_equal(drives_that_have(&w, "build/sub"), 0);
    assert_int_equal(drives_that_have(&w, "next"), 0);
    assert_int_equal(told_of(&w, "not-renamed", ""), 0);
    all_is_well(&w);
}

/* A folder has the name of a file that went, and something was moved into it; what was removed in a folder
 * that was renamed comes back in that. */
static void test_renamed_below_it(void **state)
{
    struct world w;
    (void)state;
    begin_rebuilt(&w, 485);
    removes(&w, "f0");
    makes(&w, "f0");
    renames(&w, "build/x", "f0/x", 0);
    removes(&w, "next/z");
    renames(&w, "next", "later", 0);
    goes_away(&w);
    close_tree(&w);
    rebuilt(&w, NULL);
    is_back(&w, "next/z", "later/z");
    all_is_well(&w);
}

/* What lies in the way went without MRMR, so nobody knows that it did. */
static void test_cannot_be_renamed(void **state)
{
    struct world w;
    (void)state;
    begin_rebuilt(&w, 486);
    rig_ok(drv_unlink(w.rig->drive[0].raw, "build/x"));
    while (is_there(&w, "build/x") != MRMR_ABSENT)
        rig_ok(sync_folder(&w, POOL_ROOT));
    removes(&w, "build/sub/y");
    rig_ok(rmdir_at(&w, "build/sub"));
    rig_ok(rmdir_at(&w, "build"));
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "next", POOL_ROOT, "build", 0));
    goes_away(&w);
    close_tree(&w);
    rebuilt(&w, NULL);
    assert_int_equal(told_of(&w, "not-renamed", "'next' was renamed to 'build'"), 1);
    is_back(&w, "build/sub/y", "build/sub/y");
    all_is_well(&w); /* under the old names */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_has_it),
        cmocka_unit_test(test_renamed_into_its_place),
        cmocka_unit_test(test_renamed_below_it),
        cmocka_unit_test(test_cannot_be_renamed),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_rebuilt", tests, NULL, NULL);
}
