/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders that are renamed, and have their attributes changed, while a drive on which they lie is away:
 * seen at once, after a remount, when it is back, after a cut, and when it never comes back.
 */
#include "pool/later.h"
#include "tests/unit/pool_tree_user.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the world: of five drives the first is away; a folder on two, one on it alone, an empty one --- */

static void begin_folders(struct world *w, enum rig_kind kind, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = kind, .drives = DRIVES, .seed = seed})};
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(w->rig, d, path, 20000);
    }
    rig_put(w->rig, 0, "other", 5000);
    rig_put(w->rig, 0, "a/one", 1000);
    rig_put(w->rig, 0, "a/sub/two", 70000);
    rig_put(w->rig, 1, "a/three", 300);
    rig_put(w->rig, 0, "deep/in/it", 4000);
    rig_put(w->rig, 1, "far/away", 500);
    rig_ok(drv_mkdir(w->rig->drive[0].raw, "empty", 0750));
    rig_protect_all(w->rig);
    rig_sync_drives(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
}

static void remount(struct world *w)
{
    close_tree(w);
    open_tree(w);
}

static unsigned conflicts;

static mrmr_err count_conflict(const struct pool_event *event, void *arg)
{
    (void)arg;
    conflicts += strcmp(event->kind, "conflict") == 0;
    return MRMR_OK;
}

static unsigned count_conflicts(struct world *w)
{
    conflicts = 0;
    rig_ok(pool_events(w->rig->pool, 0, 1000, count_conflict, NULL));
    return conflicts;
}

/* The drive is there, and the tree is closed: all is as it is expected, and nothing is left to do. */
static void all_is_well(struct world *w)
{
    rig_reopen(w->rig);
    rig_sync(w->rig);
    assert_int_equal(w->rig->report.held, 0);
    assert_int_equal(records(w, false) + records(w, true), 0);
    rig_protect_all(w->rig);
    rig_check(w->rig);
    rig_check_originals(w->rig);
    rig_verify(w->rig, true);
}

static void end_well(struct world *w)
{
    close_tree(w);
    all_is_well(w);
    rig_destroy(w->rig);
}

/* --- names --- */

static void is_absent(struct world *w, const char *path)
{
    if (is_there(w, path) != MRMR_ABSENT)
        fail_msg("'%s' shows", path);
}

static void makes(struct world *w, const char *name)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    rig_ok(pool_tree_make(w->tree, NULL, POOL_ROOT, name, &folder, &attr));
}

static void some_are_renamed(struct world *w)
{
    renames(w, "a", "empty", 0); /* over it */
    renames(w, "empty/sub", "empty/below", 0);
    renames(w, "empty", "far/b", 0); /* where the drive has no folder */
    removes(w, "far/b/one");
    renames(w, "deep", "a", 0); /* whose name is free */
    makes(w, "deep");
    renames(w, "a/in", "deep/in", 0);
}

static void they_have_new_names(struct world *w)
{
    static const char *const gone[] = {
        "empty", "a/one", "a/sub", "a/three", "far/b/one", "far/b/sub", "deep/it", "a/in"};
    reads(w, "far/b/below/two");
    reads(w, "far/b/three");
    reads(w, "far/away");
    reads(w, "deep/in/it");
    rig_ok(is_there(w, "a"));
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        is_absent(w, gone[i]);
}

static void the_drive_has_new_names(struct world *w)
{
    static const char *const has[] = {"far/b/below/two", "deep/in/it", "a"};
    static const char *const has_not[] = {
        "empty", "a/one", "a/sub", "a/in", "far/b/one", "far/b/sub"};
    for (size_t i = 0; i < sizeof has / sizeof *has; i++)
        assert_true(rig_holds(w->rig, 0, has[i]));
    for (size_t i = 0; i < sizeof has_not / sizeof *has_not; i++)
        assert_false(rig_holds(w->rig, 0, has_not[i]));
}

static void renamed(enum rig_kind kind, uint64_t seed)
{
    struct world w;
    begin_folders(&w, kind, seed);
    some_are_renamed(&w);
    they_have_new_names(&w);
    remount(&w);
    they_have_new_names(&w);
    comes_back(&w, NULL);
    they_have_new_names(&w);
    the_drive_has_new_names(&w);
    assert_int_equal(records(&w, false), 0);
    rig_take_away(w.rig, 0); /* not scanned yet */
    remount(&w);
    they_have_new_names(&w);
    comes_back(&w, NULL);
    they_have_new_names(&w);
    close_tree(&w);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), 0);
    rig_take_away(w.rig, 0);
    open_tree(&w); /* by the catalog */
    they_have_new_names(&w);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_renamed(void **state)
{
    (void)state;
    renamed(RIG_MEM, 501);
    renamed(RIG_LOCAL, 502);
}

/* No mount sees it come back. */
static void test_renamed_and_scanned(void **state)
{
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM, 503);
    some_are_renamed(&w);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    all_is_well(&w);
    the_drive_has_new_names(&w);
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_changes_below_a_new_name(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file;
    (void)state;
    begin_folders(&w, RIG_MEM, 504);
    renames(&w, "a", "z", 0);
    rig_ok(look_at(&w, "z/one", &attr));
    file = open_node(&w, attr.node);
    write_part(&w, file, "z/one", 100, 500);
    pool_tree_file_close(file);
    rig_find(w.rig, "z/one")->drive = 1;
    for (unsigned d = 1; d < DRIVES; d++)
        if (rig_holds(w.rig, d, "z/one"))
            rig_find(w.rig, "z/one")->drive = d;
    reads(&w, "z/one");
    removes(&w, "z/sub/two");
    rig_ok(rmdir_at(&w, "z/sub"));
    renames(&w, "z", "y", 0);
    reads(&w, "y/one");
    comes_back(&w, NULL);
    reads(&w, "y/one");
    reads(&w, "y/three");
    assert_false(rig_holds(w.rig, 0, "y/one"));
    assert_false(rig_holds(w.rig, 0, "y/sub"));
    assert_false(rig_holds(w.rig, 0, "a"));
    assert_true(rig_holds(w.rig, 0, "y"));
    end_well(&w);
}

/* And removed in the end: neither name comes back to life; nor does a folder through which it went. By
 * the mount, or by a scan, which tells. */
static void renamed_then_removed(uint64_t seed, bool scanned)
{
    struct world w;
    begin_folders(&w, RIG_MEM, seed);
    makes(&w, "new");
    renames(&w, "a", "new/a", 0);
    renames(&w, "new/a", "a", 0);
    rig_ok(rmdir_at(&w, "new"));
    renames(&w, "deep", "far/deep", 0);
    removes(&w, "far/deep/in/it");
    rig_ok(rmdir_at(&w, "far/deep/in"));
    rig_ok(rmdir_at(&w, "far/deep"));
    renames(&w, "a", "far/deep", 0);
    if (!scanned) {
        comes_back(&w, NULL);
        reads(&w, "far/deep/one");
    } else {
        rig_bring_back(w.rig, 0);
    }
    close_tree(&w);
    all_is_well(&w);
    assert_false(rig_holds(w.rig, 0, "deep"));
    assert_false(rig_holds(w.rig, 0, "far/deep/in"));
    assert_false(rig_holds(w.rig, 0, "new"));
    assert_true(rig_holds(w.rig, 0, "far/deep/one"));
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_renamed_then_removed(void **state)
{
    (void)state;
    renamed_then_removed(505, false);
    renamed_then_removed(505, true);
}

static void test_refused(void **state)
{
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM, 506);
    assert_int_equal(rename_at(&w, "a", "empty", POOL_RENAME_NOREPLACE), MRMR_EXISTS);
    assert_int_equal(rename_at(&w, "a", "deep", 0), MRMR_NOT_EMPTY);
    assert_int_equal(rename_at(&w, "deep", "empty", POOL_RENAME_EXCHANGE), MRMR_CROSS_DEVICE);
    assert_int_equal(rename_at(&w, "deep", "far/away", 0), MRMR_NOT_DIR);
    assert_int_equal(rename_at(&w, "deep", "deep/in/deep", 0), MRMR_INVALID);
    renames(&w, "a", "free", POOL_RENAME_NOREPLACE);
    reads(&w, "free/one");
    assert_int_equal(records(&w, false), 1);
    comes_back(&w, NULL);
    end_well(&w);
}

/* It cannot be recorded: it is as it was, on every drive. */
static void not_recorded(uint64_t seed, const char *path, const char *file)
{
    struct world w;
    begin_folders(&w, RIG_MEM, seed);
    rig_ok(is_there(&w, path));
    assert_int_equal(
        mkdirat(w.rig->pool->dirfd, file, 0700), 0); /* where a record would be written */
    mrmr_err err = pool_tree_rename(w.tree, NULL, POOL_ROOT, path, POOL_ROOT, "z", 0);
    assert_int_equal(unlinkat(w.rig->pool->dirfd, file, AT_REMOVEDIR), 0);
    assert_int_not_equal(err, MRMR_OK);
    for (unsigned i = 0; i < 2; i++) {
        reads(&w, "a/one");
        reads(&w, "a/three");
        reads(&w, "deep/in/it");
        is_absent(&w, "z");
        assert_int_equal(records(&w, false), 0);
        remount(&w);
    }
    comes_back(&w, NULL);
    end_well(&w);
}

static void test_not_recorded(void **state)
{
    (void)state;
    not_recorded(507, "a", "gone");
    not_recorded(508, "deep", "gone");
}

/* Nor can the second of its records. */
static void test_not_recorded_twice(void **state)
{
    enum { MOST = 1 << 16 };
    const struct rlimit most = {MOST, RLIM_INFINITY};
    struct rlimit was;
    struct world w;
    (void)state;
    begin_folders(&w, RIG_MEM, 509);
    rig_ok(is_there(&w, "deep"));
    mrmr_autofree char *zeros = calloc(1, MOST); /* no record at all, and no room for one */
    rig_ok(mrmr_durable_replace(w.rig->pool->dirfd, "moved", zeros, MOST, 0600));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &most), 0);
    mrmr_err err = pool_tree_rename(w.tree, NULL, POOL_ROOT, "deep", POOL_ROOT, "z", 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, handler);
    assert_int_not_equal(err, MRMR_OK);
    assert_int_equal(records(&w, false), 0);
    comes_back(&w, NULL);
    reads(&w, "deep/in/it");
    is_absent(&w, "z");
    end_well(&w);
}

/* --- the drive comes back changed --- */

static void each_has_its_own(struct world *w)
{
    static const char *const has[] = {"a/one", "z", "deep", "moved/in/it"};
    for (size_t i = 0; i < sizeof has / sizeof *has; i++)
        assert_true(rig_holds(w->rig, 0, has[i]));
    assert_false(rig_holds(w->rig, 0, "y"));
    rig_take_away(w->rig, 0);
    remount(w);
    reads(w, "a/one");
    reads(w, "z/three");
    is_absent(w, "y");
    close_tree(w);
    rig_bring_back(w->rig, 0);
}

/* Something has the new name, and something else the old one. */
static void something_has_the_name(uint64_t seed, bool scanned)
{
    struct world w;
    begin_folders(&w, RIG_MEM, seed);
    renames(&w, "a", "z", 0);
    renames(&w, "deep", "y", 0);
    close_tree(&w);
    rig_ok(drv_mkdir(w.rig->drive[0].raw, "z", 0700));
    rig_ok(drv_rename(w.rig->drive[0].raw, "deep", "moved", DRV_RENAME_NOREPLACE));
    rig_ok(drv_mkdir(w.rig->drive[0].raw, "deep", 0700)); /* another one */
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    if (scanned)
        rig_sync(w.rig);
    open_tree(&w);
    assert_int_equal(records(&w, false), 0);
    strcpy(rig_find(w.rig, "z/one")->path, "a/one"); /* what the drive has is so */
    strcpy(rig_find(w.rig, "z/sub/two")->path, "a/sub/two");
    strcpy(rig_find(w.rig, "y/in/it")->path, "moved/in/it");
    each_has_its_own(&w);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), scanned ? 2 : 0); /* the log of a mount tells */
    rig_destroy(w.rig);
}

static void test_something_has_the_name(void **state)
{
    (void)state;
    something_has_the_name(510, true);
    something_has_the_name(510, false);
}

/* --- attributes --- */

static const int64_t some_time = 1234567890 * MRMR_NS_PER_S + 5;

static void sets(struct world *w, const char *path, uint32_t mode, uint32_t uid, int64_t mtime)
{
    const struct pool_attr set = {.mode = mode, .uid = uid, .mtime = mtime};
    struct pool_attr attr;
    rig_ok(look_at(w, path, &attr));
    rig_ok(pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr));
    if (uid)
        rig_ok(pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_UID, &set, &attr));
    rig_ok(pool_tree_set_xattr(w->tree, NULL, attr.node, "user.one", "value", 5, 0));
    mrmr_err err = pool_tree_set_xattr(w->tree, NULL, attr.node, "user.old", NULL, 0, 0);
    assert_true(!err || mrmr_class_of(err) == MRMR_CLASS_ABSENT);
    rig_ok(pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MTIME, &set, &attr));
    assert_int_equal(attr.mode, mode);
    assert_int_equal(attr.mtime, mtime);
}

static mrmr_err see_xattr(const char *name, const void *value, size_t size, void *arg)
{
    unsigned *seen = arg;
    if (strcmp(name, "user.one") == 0 && size == 5 && memcmp(value, "value", 5) == 0)
        *seen |= 1;
    if (strcmp(name, "user.old") == 0)
        *seen |= 2;
    return MRMR_OK;
}

static void shows(struct world *w, const char *path, uint32_t mode, uint32_t uid, int64_t mtime)
{
    struct pool_attr attr;
    unsigned seen = 0;
    rig_ok(look_at(w, path, &attr));
    assert_int_equal(attr.mode, mode);
    assert_int_equal(attr.mtime, mtime);
    if (uid)
        assert_int_equal(attr.uid, uid);
    rig_ok(pool_tree_xattrs(w->tree, attr.node, see_xattr, &seen));
    assert_int_equal(seen, 1);
}

static void has(
    struct rig *rig, unsigned drive, const char *path, uint32_t mode, uint32_t uid, int64_t mtime)
{
    struct drv *drv = rig->drive[drive].raw;
    struct drv_stat stat;
    unsigned seen = 0;
    rig_ok(drv_stat(drv, path, &stat));
    assert_int_equal(stat.mode, mode);
    assert_int_equal(stat.mtime, mtime);
    if (uid)
        assert_int_equal(stat.uid, uid);
    rig_ok(drv_xattr_list(drv, path, see_xattr, &seen));
    assert_int_equal(seen, 1);
}

static void begin_attributes(struct world *w, enum rig_kind kind, uint64_t seed)
{
    begin_folders(w, kind, seed);
    close_tree(w);
    rig_bring_back(w->rig, 0);
    rig_ok(drv_xattr_set(w->rig->drive[0].raw, "a", "user.old", "was", 3));
    rig_ok(drv_xattr_set(w->rig->drive[1].raw, "a", "user.old", "was", 3));
    rig_ok(drv_xattr_set(w->rig->drive[0].raw, "deep", "user.old", "was", 3));
    rig_reopen(w->rig);
    rig_sync(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
}

static void attributes(enum rig_kind kind, uint64_t seed, uint32_t uid)
{
    struct world w;
    begin_attributes(&w, kind, seed);
    sets(&w, "a", 0700, 0, some_time + 9); /* overridden */
    sets(&w, "a", 0710, uid, some_time);
    sets(&w, "deep", 0701, uid, some_time + 1); /* on that drive alone */
    renames(&w, "a", "far/z", 0);
    removes(&w, "far/z/one");
    sets(&w, "far/z", 0711, uid, some_time + 2);
    for (unsigned i = 0; i < 2; i++) {
        shows(&w, "far/z", 0711, uid, some_time + 2);
        shows(&w, "deep", 0701, uid, some_time + 1);
        remount(&w);
    }
    comes_back(&w, NULL);
    shows(&w, "far/z", 0711, uid, some_time + 2);
    shows(&w, "deep", 0701, uid, some_time + 1);
    for (unsigned d = 0; d < 2; d++)
        has(w.rig, d, "far/z", 0711, uid, some_time + 2);
    has(w.rig, 0, "deep", 0701, uid, some_time + 1);
    rig_take_away(w.rig, 0);
    remount(&w);
    shows(&w, "far/z", 0711, uid, some_time + 2);
    comes_back(&w, NULL);
    close_tree(&w);
    all_is_well(&w);
    assert_int_equal(count_conflicts(&w), 0);
    rig_destroy(w.rig);
}

static void test_attributes(void **state)
{
    (void)state;
    attributes(RIG_MEM, 511, 77);
    attributes(RIG_LOCAL, 512, 0);
}

/* The last word counts, and only of the folder that it was said of. */
static void test_attributes_changed_meanwhile(void **state)
{
    struct drv_stat stat = {.mode = 0555, .mtime = some_time + 50};
    struct world w;
    (void)state;
    begin_attributes(&w, RIG_MEM, 513);
    rig_ok(
        drv_set_attr(w.rig->drive[0].raw, "a/sub", DRV_ATTR_MODE, &stat)); /* before it is asked */
    sets(&w, "a", 0710, 0, some_time);
    sets(&w, "a/sub", 0710, 0, some_time);
    sets(&w, "deep", 0701, 0, some_time);
    close_tree(&w);
    usleep(20000); /* more than a clock's tick, that is no wait for anything */
    rig_ok(drv_set_attr(w.rig->drive[0].raw, "a", DRV_ATTR_MODE | DRV_ATTR_MTIME, &stat));
    rig_ok(drv_rename(w.rig->drive[0].raw, "deep", "moved", DRV_RENAME_NOREPLACE));
    rig_ok(drv_mkdir(w.rig->drive[0].raw, "deep", 0500));
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    assert_true(count_conflicts(&w) >= 2);
    rig_ok(drv_stat(w.rig->drive[0].raw, "a", &stat));
    assert_int_equal(stat.mode, 0555);
    assert_int_equal(stat.mtime, some_time + 50);
    has(w.rig, 0, "a/sub", 0710, 0, some_time);
    rig_ok(drv_stat(w.rig->drive[0].raw, "deep", &stat));
    assert_int_equal(stat.mode, 0500);
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    rig_destroy(w.rig);
}

/* --- it never comes back --- */

static void rebuilt(enum rig_kind kind, uint64_t seed, const char *onto)
{
    struct world w;
    begin_attributes(&w, kind, seed);
    rig_add_drive(w.rig);
    remount(&w);
    some_are_renamed(&w);
    sets(&w, "far/b", 0711, 0, some_time);
    sets(&w, "deep/in", 0701, 0, some_time);
    close_tree(&w);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = onto};
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    for (unsigned d = 1; d < w.rig->n; d++) {
        static const char *const not [] = {"a/one", "a/sub", "empty", "deep/it", "far/b/one"};
        for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
            assert_false(rig_holds(w.rig, d, not [i]));
        if (rig_holds(w.rig, d, "deep/in"))
            has(w.rig, d, "deep/in", 0701, 0, some_time);
        for (size_t i = 0; i < w.rig->files; i++)
            if (w.rig->file[i].there && w.rig->file[i].drive == 0 &&
                rig_holds(w.rig, d, w.rig->file[i].path))
                w.rig->file[i].drive = d;
    }
    open_tree(&w);
    they_have_new_names(&w);
    shows(&w, "far/b", 0711, 0, some_time);
    end_well(&w);
}

static void test_rebuilt(void **state)
{
    (void)state;
    rebuilt(RIG_MEM, 521, NULL);
    rebuilt(RIG_LOCAL, 522, "d5");
}

/* --- cuts --- */

static void tap_die(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

static bool dies(struct world *w, uint64_t n, bool late, void (*what)(struct world *w))
{
    int status;
    rig_tap(w->rig, RIG_CUTS, n, late, tap_die);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        what(w);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_untap(w->rig);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* The process that does what was asked dies at a call; who opens the tree next goes on. */
static bool killed_at(uint64_t n, bool late)
{
    struct world w;
    begin_attributes(&w, RIG_LOCAL, 531);
    some_are_renamed(&w);
    sets(&w, "far/b", 0711, 0, some_time);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_close(w.rig);
    bool died = dies(&w, n, late, open_tree);
    rig_open(w.rig);
    open_tree(&w);
    they_have_new_names(&w);
    the_drive_has_new_names(&w);
    assert_int_equal(records(&w, false), 0);
    end_well(&w);
    return died;
}

static void test_killed(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("away_folders_killed"), n = 0, step = rig_rounds(1) > 1 ? 1 : 11;
    for (n = rig_hash(seed) % step; killed_at(n, rig_hash(seed + n) % 2); n += step)
        assert_true(n < 1000);
    print_message("up to call %llu\n", (unsigned long long)n);
    assert_true(n > 20);
}

/* While it is renamed on the drives that are there: it is finished on them, and waits for the other. */
static void rename_a(struct world *w)
{
    open_tree(w);
    pool_tree_rename(w->tree, NULL, POOL_ROOT, "a", POOL_ROOT, "z", 0);
}

static bool killed_while_it_is_renamed(uint64_t n, bool late)
{
    struct world w;
    begin_folders(&w, RIG_LOCAL, 532);
    rig_put(w.rig, 2, "a/four", 10);
    close_tree(&w);
    rig_close(w.rig);
    bool died = dies(&w, n, late, rename_a);
    rig_open(w.rig);
    open_tree(&w);
    bool is_new = is_there(&w, "z") == MRMR_OK;
    if (is_new)
        for (size_t i = 0; i < w.rig->files; i++)
            if (strncmp(w.rig->file[i].path, "a/", 2) == 0)
                w.rig->file[i].path[0] = 'z';
    is_absent(&w, is_new ? "a" : "z");
    reads(&w, is_new ? "z/one" : "a/one");
    reads(&w, is_new ? "z/four" : "a/four");
    comes_back(&w, NULL);
    reads(&w, is_new ? "z/sub/two" : "a/sub/two");
    is_absent(&w, is_new ? "a" : "z");
    end_well(&w);
    return died;
}

static void test_killed_while_it_is_renamed(void **state)
{
    (void)state;
    uint64_t n = 0;
    while (killed_while_it_is_renamed(n / 2, n % 2))
        assert_true(n++ < 100);
    assert_true(n >= 4);
}

/* The process died after some of the records: all that it had written by then. */
enum { HAS_INTENT = 1, HAS_WAITING = 2, HAS_MOVED = 4 };

static void keep_record(struct world *w, const char *name, bool keep)
{
    if (!keep)
        assert_int_equal(unlinkat(w->rig->pool->dirfd, name, 0), 0);
}

static void begin_cut(struct world *w, uint64_t seed, unsigned has_records)
{
    char record[100];
    begin_folders(w, RIG_MEM, seed);
    struct drv_stat stat;
    rig_ok(drv_stat(w->rig->drive[0].raw, "deep", &stat));
    renames(w, "deep", "z", 0);
    close_tree(w);
    keep_record(w, "gone", has_records & HAS_WAITING);
    keep_record(w, "moved", has_records & HAS_MOVED);
    int n = snprintf(record, sizeof record, "1:%llu %cdeep%cz", (unsigned long long)stat.ino, 0, 0);
    if (has_records & HAS_INTENT)
        rig_ok(mrmr_durable_replace(
            w->rig->pool->dirfd, "rename-0123456789abcdef", record, (size_t)n + 1, 0600));
}

static void test_cut_between_records(void **state)
{
    static const unsigned cuts[] = {HAS_INTENT, HAS_INTENT | HAS_WAITING,
        HAS_INTENT | HAS_WAITING | HAS_MOVED, HAS_WAITING | HAS_MOVED};
    (void)state;
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct world w;
        begin_cut(&w, 534, cuts[i]);
        for (unsigned twice = 0; twice < 2; twice++) {
            open_tree(&w);
            reads(&w, "z/in/it");
            is_absent(&w, "deep");
            assert_int_equal(records(&w, false), 1);
            close_tree(&w);
        }
        assert_int_equal(faccessat(w.rig->pool->dirfd, "rename-0123456789abcdef", F_OK, 0), -1);
        open_tree(&w);
        comes_back(&w, NULL);
        assert_true(rig_holds(w.rig, 0, "z/in/it"));
        end_well(&w);
    }
}

/* And nobody opened the tree before the drive was given up. */
static void test_cut_and_rebuilt(void **state)
{
    struct world w;
    (void)state;
    begin_cut(&w, 535, HAS_WAITING);
    rig_add_drive(w.rig);
    rig_reopen(w.rig);
    struct pool_job job = rig_job(w.rig);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(w.rig->pool, &job, &options, &report));
    assert_true(rig_holds(w.rig, 5, "z/in/it"));
    assert_false(rig_holds(w.rig, 5, "deep"));
    rig_destroy(w.rig);
}

/* The power of the drive goes while it is done, and what was not synced may be lost. */
static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    const struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)drive;
    for (unsigned d = 0; d < rig->n; d++)
        drv_fault_add(rig->drive[d].fault, &rule, NULL);
}

static bool power_goes_at(uint64_t n, bool late, uint64_t seed)
{
    struct world w;
    begin_attributes(&w, RIG_MEM_CUT, 533);
    some_are_renamed(&w);
    sets(&w, "far/b", 0711, 0, some_time);
    close_tree(&w);
    rig_sync_drives(w.rig);
    rig_bring_back(w.rig, 0);
    rig_tap(w.rig, RIG_CUTS, n, late, tap_cut);
    if (!try_open_tree(&w))
        close_tree(&w);
    bool cut = w.rig->tap_left > n; /* it counts on, from below 0 */
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    open_tree(&w);
    they_have_new_names(&w);
    the_drive_has_new_names(&w);
    end_well(&w);
    return cut;
}

static void test_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = rig_seed("away_folders_power"), step = rig_rounds(1) > 1 ? 1 : 7, n;
    for (n = rig_hash(seed) % step; power_goes_at(n, rig_hash(seed + n) % 2, rig_hash(seed ^ n));
         n += step)
        assert_true(n < 1000);
    print_message("up to call %llu\n", (unsigned long long)n);
    assert_true(n > 20);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renamed),
        cmocka_unit_test(test_renamed_and_scanned),
        cmocka_unit_test(test_changes_below_a_new_name),
        cmocka_unit_test(test_renamed_then_removed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_recorded),
        cmocka_unit_test(test_not_recorded_twice),
        cmocka_unit_test(test_something_has_the_name),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_attributes_changed_meanwhile),
        cmocka_unit_test(test_rebuilt),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_killed_while_it_is_renamed),
        cmocka_unit_test(test_cut_between_records),
        cmocka_unit_test(test_cut_and_rebuilt),
        cmocka_unit_test(test_power_cuts),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_away_folders", tests, NULL, NULL);
}
