/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Looking right after a change of ours, in a folder that lies on several drives which tell of changes;
 * how often they are asked is counted. Only the drive that was changed is asked for a name, and none for the folder, what is seen is what
 * lies on all of them nevertheless, and what somebody does on another drive meanwhile is seen, too.
 */
#include "tests/unit/pool_drive_world.h"

#include "drivers/guard.h"
#include "pool/change/tree_change.h"
#include "tests/support/elsewhere.h"
#include "tests/support/pause.h"
#include "tests/support/rights.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DRIVES = 5, TIMES = 20 };

/* The linker leads calls of drv_stat here (--wrap); a guard's thread asks its drive by it. */
static atomic_uint asked;
mrmr_err __real_drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat);
mrmr_err __wrap_drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat);
mrmr_err __wrap_drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    if (strcmp(drv->ops->scheme, "local") == 0)
        atomic_fetch_add(&asked, 1);
    return __real_drv_stat(drv, path, ret_stat);
}

/* Likewise: what a drive can do is another thing than it was. */
static atomic_bool other_info;
mrmr_err __real_drv_info(struct drv *drv, struct drv_info *ret_info);
mrmr_err __wrap_drv_info(struct drv *drv, struct drv_info *ret_info);
mrmr_err __wrap_drv_info(struct drv *drv, struct drv_info *ret_info)
{
    mrmr_err err = __real_drv_info(drv, ret_info);
    if (strcmp(drv->ops->scheme, "local") == 0 && atomic_load(&other_info))
        ret_info->caps ^= DRV_CAP_REFLINK;
    return err;
}

/* Likewise: what somebody does right after a folder was made on a drive. */
static _Atomic(void *) meanwhile_arg;
static void (*meanwhile)(void *arg);
mrmr_err __real_drv_mkdir(struct drv *drv, const char *path, uint32_t mode);
mrmr_err __wrap_drv_mkdir(struct drv *drv, const char *path, uint32_t mode);
mrmr_err __wrap_drv_mkdir(struct drv *drv, const char *path, uint32_t mode)
{
    mrmr_err err = __real_drv_mkdir(drv, path, mode);
    void *arg =
        strcmp(drv->ops->scheme, "local") == 0 ? NULL : atomic_exchange(&meanwhile_arg, NULL);
    if (arg)
        meanwhile(arg);
    return err;
}

struct lived {
    struct world *w;
    struct pool *pool;
    struct pool_tree *tree;
    uint64_t folder;
};

static atomic_uint told; /* that what is called "name" may be another thing */

static void name_changed(uint64_t folder, const char *name, void *arg)
{
    (void)folder;
    (void)arg;
    atomic_fetch_add(&told, strcmp(name, "name") == 0);
}

static const struct pool_tree_events events = {.name_changed = name_changed};

static const char *on_drive(struct lived *l, unsigned drive, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "d%u/%s", drive, name);
    return world_path(l->w, path);
}

static mrmr_err find(struct lived *l, const char *name, struct pool_attr *ret_attr)
{
    int64_t keep;
    return pool_tree_lookup(l->tree, l->folder, name, ret_attr, &keep);
}

/* "dir" lies on each drive, with a file of its own; it is held, and was looked into. */
static void live(struct lived *l, struct world *w)
{
    *l = (struct lived){.w = w, .folder = POOL_ROOT};
    for (unsigned d = 0; d < DRIVES; d++) {
        char name[32];
        snprintf(name, sizeof name, "d%u", d);
        world_add(w, name);
        world_mkdir(on_drive(l, d, "dir"));
        snprintf(name, sizeof name, "dir/of %u", d);
        world_write(on_drive(l, d, name), "here");
    }
    struct pool_attr attr;
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &l->pool));
    assert_ok(pool_tree_open(l->pool, &events, &l->tree));
    assert_ok(find(l, "dir", &attr));
    l->folder = attr.node;
    assert_ok(find(l, "of 0", &attr));
}

static void leave(struct lived *l)
{
    pool_tree_close(l->tree);
    pool_close(l->pool);
}

static uint64_t make(struct lived *l, const char *name)
{
    const struct pool_new what = {.kind = POOL_REG, .mode = 0644};
    struct pool_attr attr;
    assert_ok(pool_tree_make(l->tree, NULL, l->folder, name, &what, &attr));
    return attr.node;
}

static int64_t ns_of(struct timespec ts)
{
    return ts.tv_sec * MRMR_NS_PER_S + ts.tv_nsec;
}

/* The folder's times and mode are those that its copies have at this moment. */
static void folder_is_right(struct lived *l)
{
    struct pool_attr attr;
    int64_t mtime = 0, ctime = 0;
    struct stat st;
    assert_ok(pool_tree_attr(l->tree, l->folder, &attr));
    for (unsigned d = DRIVES; d-- > 0;) {
        assert_int_equal(stat(on_drive(l, d, "dir"), &st), 0);
        mtime = ns_of(st.st_mtim) > mtime ? ns_of(st.st_mtim) : mtime;
        ctime = ns_of(st.st_ctim) > ctime ? ns_of(st.st_ctim) : ctime;
    }
    assert_int_equal(attr.mtime, mtime);
    assert_int_equal(attr.ctime, ctime);
    assert_int_equal(attr.mode, st.st_mode & 07777);
}

/* The drive of the five that has it. */
static unsigned drive_with(struct lived *l, const char *path)
{
    struct stat st;
    unsigned d = 0;
    while (d < DRIVES && lstat(on_drive(l, d, path), &st) < 0)
        d++;
    assert_true(d < DRIVES);
    return d;
}

/* For a name, an event may come between, and the drive is asked once more. */
static void test_only_the_changed_drive_is_asked(void **state)
{
    struct lived l;
    struct pool_attr attr;
    char name[32];
    unsigned lookups = 0, attrs = 0, after = 0;
    live(&l, *state);
    make(&l, "first");
    folder_is_right(&l);
    for (unsigned i = 0; i < TIMES; i++) {
        snprintf(name, sizeof name, "made %u", i);
        make(&l, name);
        atomic_store(&asked, 0);
        assert_ok(find(&l, name, &attr));
        lookups += atomic_exchange(&asked, 0);
        folder_is_right(&l);
        attrs += atomic_load(&asked);
    }
    for (unsigned i = 0; i < TIMES; i++) {
        snprintf(name, sizeof name, "made %u", i);
        assert_ok(pool_tree_unlink(l.tree, NULL, l.folder, name));
        atomic_store(&asked, 0);
        folder_is_right(&l);
        after += atomic_load(&asked);
    }
    print_message("%u drives; asked for a name just made %.2f times, for its folder %.2f, and after"
                  " it was removed %.2f\n",
        DRIVES, (double)lookups / TIMES, (double)attrs / TIMES, (double)after / TIMES);
    assert_in_range(lookups, TIMES, 2 * TIMES);
    assert_int_equal(attrs, 0); /* the ops brought them along */
    assert_int_equal(after, 0);
    leave(&l);
}

/* For a moment; then the drive is asked, once. */
static void test_what_an_op_brought_is_asked_again(void **state)
{
    const struct timespec moment = mrmr_clock_to_timespec(tree_own_window + tree_own_window / 5),
                          event_comes = mrmr_clock_to_timespec(tree_own_window / 10);
    struct lived l;
    live(&l, *state);
    make(&l, "first");
    folder_is_right(&l);
    make(&l, "second");
    nanosleep(&event_comes, NULL); /* about this name, which is no reason to ask */
    atomic_store(&asked, 0);
    folder_is_right(&l);
    assert_int_equal(atomic_load(&asked), 0);
    nanosleep(&moment, NULL);
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&asked, 0);
        folder_is_right(&l);
        assert_int_equal(atomic_load(&asked), 1 - i);
    }
    leave(&l);
}

/* Somebody makes another name on the same drive, right after we did: the folder's time is the later. */
static void test_the_same_drive_meanwhile(void **state)
{
    struct lived l;
    struct pool_attr attr;
    struct stat st;
    live(&l, *state);
    make(&l, "first");
    folder_is_right(&l);
    make(&l, "name");
    const unsigned d = drive_with(&l, "dir/name");
    if (elsewhere()) {
        world_write(on_drive(&l, d, "dir/name of somebody else"), "");
        _exit(0);
    }
    assert_int_equal(stat(on_drive(&l, d, "dir"), &st), 0);
    const int64_t until = mrmr_clock_monotonic() + tree_own_window / 2;
    do { /* until the event is here, and not only until it is not believed any more */
        assert_true(mrmr_clock_monotonic() < until);
        sched_yield();
        assert_ok(pool_tree_attr(l.tree, l.folder, &attr));
    } while (attr.mtime != ns_of(st.st_mtim));
    leave(&l);
}

/* Whatever is done through us, the folder's attributes are right at once. */
static void test_right_after_each_change(void **state)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    const struct pool_new symlink = {.kind = POOL_LNK, .target = "nowhere"};
    struct pool_attr attr, set = {.mode = 0711, .mtime = 1000000000 * MRMR_NS_PER_S};
    struct lived l;
    live(&l, *state);
#define THEN_RIGHT(expr) (assert_ok(expr), folder_is_right(&l))
    for (unsigned round = 0; round < 3; round++) {
        make(&l, "a");
        folder_is_right(&l);
        const uint64_t in = l.folder, b = make(&l, "b");
        folder_is_right(&l);
        THEN_RIGHT(pool_tree_make(l.tree, NULL, in, "folder", &folder, &attr));
        THEN_RIGHT(pool_tree_make(l.tree, NULL, in, "symlink", &symlink, &attr));
        THEN_RIGHT(pool_tree_link(l.tree, NULL, b, in, "c", &attr));
        THEN_RIGHT(pool_tree_rename(l.tree, NULL, in, "a", in, "d", 0));
        THEN_RIGHT(pool_tree_rename(l.tree, NULL, in, "d", in, "of 1", 0));
        THEN_RIGHT(pool_tree_rename(l.tree, NULL, in, "of 1", POOL_ROOT, "out", 0));
        THEN_RIGHT(pool_tree_rename(l.tree, NULL, POOL_ROOT, "out", in, "of 1", 0));
        set.mode ^= 1;
        THEN_RIGHT(pool_tree_set(l.tree, NULL, in, NULL, POOL_SET_MODE, &set, &attr));
        set.mtime += 1;
        THEN_RIGHT(pool_tree_set(l.tree, NULL, in, NULL, POOL_SET_MTIME, &set, &attr));
        THEN_RIGHT(pool_tree_unlink(l.tree, NULL, in, "b"));
        THEN_RIGHT(pool_tree_unlink(l.tree, NULL, in, "c"));
        THEN_RIGHT(pool_tree_unlink(l.tree, NULL, in, "symlink"));
        THEN_RIGHT(pool_tree_rmdir(l.tree, NULL, in, "folder"));
    }
    leave(&l);
}

/* Somebody makes the same name on another drive, and changes another copy of the folder, right after
 * we made a name: both are seen. */
static void test_another_drive_meanwhile(void **state)
{
    struct lived l;
    struct pool_attr attr;
    const struct timespec later[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 4000000000}};
    live(&l, *state);
    make(&l, "first");
    folder_is_right(&l); /* what all of them said is known */
    make(&l, "name");
    const unsigned other = drive_with(&l, "dir/name") ? 0 : 1;
    if (elsewhere()) {
        world_write(on_drive(&l, other, "dir/name"), "of somebody else");
        _exit(utimensat(AT_FDCWD, on_drive(&l, other, "dir/name"), later, 0));
    }
    do { /* until the event is here; the test's time limit ends it */
        pause_a_while();
        assert_ok(find(&l, "name", &attr));
    } while (attr.size != strlen("of somebody else"));
    if (elsewhere())
        _exit(utimensat(AT_FDCWD, on_drive(&l, other, "dir"), later, 0));
    do {
        pause_a_while();
        assert_ok(pool_tree_attr(l.tree, l.folder, &attr));
    } while (attr.mtime != 4000000000 * MRMR_NS_PER_S);
    leave(&l);
}

/* Somebody puts another file in the place of one that we made just now: whoever may keep its name for
 * long is told. */
static void test_the_same_name_meanwhile(void **state)
{
    struct lived l;
    struct pool_attr attr;
    live(&l, *state);
    make(&l, "first");
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t made = make(&l, "name");
        const unsigned d = drive_with(&l, "dir/name"), before = atomic_load(&told);
        assert_ok(find(&l, "name", &attr));
        const bool kept = attr.keep_name > tree_own_window;
        assert_int_equal(kept, may_administer()); /* then events tell who did it */
        if (elsewhere()) {
            world_write(on_drive(&l, d, "dir/other"), "of somebody else");
            char from[300];
            strcpy(from, on_drive(&l, d, "dir/other"));
            _exit(rename(from, on_drive(&l, d, "dir/name")));
        }
        const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
        do {
            assert_true(mrmr_clock_monotonic() < until);
            pause_a_while();
            assert_ok(find(&l, "name", &attr));
        } while (attr.node == made || (kept && atomic_load(&told) == before));
        assert_int_equal(attr.size, strlen("of somebody else"));
        assert_ok(pool_tree_unlink(l.tree, NULL, l.folder, "name"));
    }
    leave(&l);
}

static struct pool_attr attr_of(struct lived *l, uint64_t folder)
{
    struct pool_attr attr;
    assert_ok(pool_tree_attr(l->tree, folder, &attr));
    return attr;
}

static void is_as_it_was(struct lived *l, uint64_t folder, const struct pool_attr *was)
{
    const struct pool_attr attr = attr_of(l, folder);
    assert_int_equal(attr.mtime, was->mtime);
    assert_int_equal(attr.ctime, was->ctime);
}

static uint64_t made_folder(struct lived *l, uint64_t in, const char *name)
{
    const struct pool_new what = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    assert_ok(pool_tree_make(l->tree, NULL, in, name, &what, &attr));
    return attr.node;
}

/* Folders come to be on one more drive, since something is put into the lowest of them there: to the
 * others nothing happens, however they are looked at. What is done to them does show. */
static void test_a_further_copy_is_no_change(void **state)
{
    struct timespec now;
    struct pool_attr was, sub, low, set = {.mode = 0700};
    struct lived l;
    live(&l, *state);
    const unsigned other = DRIVES - 1;
    world_mkdir(on_drive(&l, other, "dir/sub"));
    world_mkdir(on_drive(&l, other, "dir/sub/low"));
    const uint64_t dir = l.folder;
    while (find(&l, "sub", &sub)) /* until the event is here; the test's time limit ends it */
        pause_a_while();
    l.folder = sub.node;
    assert_ok(find(&l, "low", &low));
    was = attr_of(&l, dir);
    sub = attr_of(&l, sub.node);
    do { /* what is made from now on has another ctime */
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (ns_of(now) <= low.ctime);
    made_folder(&l, low.node, "here");
    assert_int_equal(drive_with(&l, "dir/sub/low/here"), 0);
    is_as_it_was(&l, dir, &was);
    is_as_it_was(&l, sub.node, &sub);
    assert_true(attr_of(&l, low.node).ctime > low.ctime);
    assert_int_equal(chmod(on_drive(&l, 0, "dir"), 0750), 0); /* it is another ctime: it shows */
    do {
        pause_a_while();
    } while (attr_of(&l, dir).ctime == was.ctime);
    assert_ok(pool_tree_set(l.tree, NULL, sub.node, NULL, POOL_SET_MODE, &set, &low));
    assert_true(attr_of(&l, sub.node).ctime > sub.ctime);
    leave(&l);
}

static void make_x(void *arg)
{
    make(arg, "x");
}

static void write_x(void *arg)
{
    world_write(on_drive(arg, 0, "dir/x"), "");
}

static atomic_bool is_set;
static void *set_dir(void *arg)
{
    struct lived *l = arg;
    struct pool_attr set = {.mtime = 4000000000 * MRMR_NS_PER_S}, attr;
    assert_ok(pool_tree_set(l->tree, NULL, l->folder, NULL, POOL_SET_MTIME, &set, &attr));
    atomic_store(&is_set, true);
    return NULL;
}

/* It is done now, or as soon as it may be. */
static pthread_t setter;
static void begin_to_set(void *arg)
{
    const int64_t until = mrmr_clock_monotonic() + MRMR_NS_PER_S / 10;
    assert_int_equal(pthread_create(&setter, NULL, set_dir, arg), 0);
    while (!atomic_load(&is_set) && mrmr_clock_monotonic() < until)
        pause_a_while();
}

/* "sub" comes to be on drive 0 by what is put into it; what is done to "dir" is done meanwhile. */
static void place_sub(struct lived *l, bool around, void (*what)(void *arg))
{
    struct tree_node *dir;
    struct pool_attr sub;
    world_mkdir(on_drive(l, DRIVES - 1, "dir/sub"));
    while (find(l, "sub", &sub)) /* until the event is here; the test's time limit ends it */
        pause_a_while();
    assert_ok(tree_node(l->tree, l->folder, true, &dir));
    if (around)
        tree_own_name(l->tree, dir, "x");
    meanwhile = what;
    atomic_store(&meanwhile_arg, l);
    made_folder(l, sub.node, "here");
    if (around)
        tree_owned_name(l->tree, dir, "x");
    tree_put(l->tree, dir);
    assert_null(atomic_load(&meanwhile_arg));
    assert_int_equal(drive_with(l, "dir/sub/here"), 0);
}

/* Nothing of ours that happens to a folder is lost while it keeps its times: before or after. */
static void x_shows_in_the_times(struct lived *l)
{
    const struct pool_attr dir = attr_of(l, l->folder);
    struct stat x, on;
    assert_int_equal(drive_with(l, "dir/x"), 0);
    assert_int_equal(stat(on_drive(l, 0, "dir/x"), &x), 0);
    assert_int_equal(stat(on_drive(l, 0, "dir"), &on), 0);
    assert_true(ns_of(on.st_mtim) >= ns_of(x.st_mtim));
    assert_true(dir.mtime >= ns_of(x.st_mtim));
    assert_true(dir.ctime >= ns_of(x.st_mtim));
}

static void test_a_change_while_a_copy_is_made(void **state)
{
    struct lived l;
    live(&l, *state);
    place_sub(&l, false, make_x);
    x_shows_in_the_times(&l);
    leave(&l);
}

/* It began before, and ends after. */
static void test_a_change_around_a_copy_that_is_made(void **state)
{
    struct lived l;
    live(&l, *state);
    place_sub(&l, true, write_x);
    x_shows_in_the_times(&l);
    leave(&l);
}

static void test_a_time_that_is_set_while_a_copy_is_made(void **state)
{
    struct lived l;
    live(&l, *state);
    place_sub(&l, false, begin_to_set);
    pthread_join(setter, NULL);
    assert_int_equal(attr_of(&l, l.folder).mtime, 4000000000 * MRMR_NS_PER_S);
    struct stat st;
    assert_int_equal(stat(on_drive(&l, 0, "dir"), &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 4000000000);
    leave(&l);
}

/* --- what a drive can do --- */

struct looking {
    const struct pool_drive *drive;
    atomic_bool ends;
    uint32_t seen;
};

/* Nothing here orders it after, or before, what others do. */
static void *look_on(void *arg)
{
    struct looking *looking = arg;
    while (!atomic_load_explicit(&looking->ends, memory_order_relaxed)) {
        looking->seen = looking->drive->info.caps;
        pause_a_while();
    }
    return NULL;
}

/* It is found out anew when the drive comes back, while others look at it (ThreadSanitizer). */
static void test_what_a_drive_can_do_is_asked_anew(void **state)
{
    struct lived l;
    pthread_t thread;
    live(&l, *state);
    const struct tree_drive *drive = &l.tree->drive[0];
    struct looking looking = {.drive = drive->drive};
    const uint32_t was = drive->drive->info.caps;
    assert_int_equal(pthread_create(&thread, NULL, look_on, &looking), 0);
    atomic_store(&other_info, true);
    drv_guard_cut(drive->drive->drv, MRMR_OFFLINE);
    while (!tree_live(drive)) /* the test's time limit ends it */
        pause_a_while();
    atomic_store(&other_info, false);
    atomic_store_explicit(&looking.ends, true, memory_order_relaxed);
    pthread_join(thread, NULL);
    assert_int_equal(drive->drive->info.caps, was ^ DRV_CAP_REFLINK);
    leave(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_only_the_changed_drive_is_asked, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_what_an_op_brought_is_asked_again, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_the_same_drive_meanwhile, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_right_after_each_change, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_another_drive_meanwhile, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_the_same_name_meanwhile, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_further_copy_is_no_change, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_change_while_a_copy_is_made, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_change_around_a_copy_that_is_made, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_time_that_is_set_while_a_copy_is_made, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_what_a_drive_can_do_is_asked_anew, world_setup, world_teardown),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
