/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What others store on a drive into files that are open in the tree is told of for as long as they may,
 * and once after that; nobody is told while nobody may, and no drive is asked while nothing is
 * open. How often drives are asked is counted.
 */
#include "tests/unit/pool_drive_world.h"

#include "pool/tree/tree.h"
#include "tests/support/pause.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SIZE = 4096, MANY = 300, FEW = 20, OFTEN = 900, LOOK_MS = 500 };

/* The linker leads calls of these two here (--wrap); a guard's thread asks its drive by them. */
static atomic_uint stats, asked;
static atomic_bool denied;
static _Atomic uint64_t ino_of[MANY]; /* of test_many's files, and whether they were looked at */
static atomic_bool looked_at[MANY];

mrmr_err __real_drv_file_stat(struct drv_file *file, struct drv_stat *ret_stat);
mrmr_err __wrap_drv_file_stat(struct drv_file *file, struct drv_stat *ret_stat);
mrmr_err __wrap_drv_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    mrmr_err err = __real_drv_file_stat(file, ret_stat);
    if (err || strcmp(file->drv->ops->scheme, "local") != 0)
        return err;
    atomic_fetch_add(&stats, 1);
    for (unsigned i = 0; i < MANY; i++)
        if (ino_of[i] == ret_stat->ino)
            looked_at[i] = true;
    return err;
}

mrmr_err __real_drv_file_is_written(struct drv_file *file, bool *ret_written);
mrmr_err __wrap_drv_file_is_written(struct drv_file *file, bool *ret_written);
mrmr_err __wrap_drv_file_is_written(struct drv_file *file, bool *ret_written)
{
    if (strcmp(file->drv->ops->scheme, "local") == 0) {
        atomic_fetch_add(&asked, 1);
        if (denied)
            return mrmr_fail(MRMR_DENIED, NULL);
    }
    return __real_drv_file_is_written(file, ret_written);
}

struct lived {
    struct world *w;
    struct pool *pool;
    struct pool_tree *tree;
    uint64_t folder, node;  /* node: the last one that was found */
    atomic_uint told;       /* that bytes may have changed */
    atomic_uint told_attrs; /* that attributes may have, and bytes have not */
};

static void on_node(uint64_t node, bool bytes, void *arg)
{
    assert_true(node);
    struct lived *l = arg;
    atomic_fetch_add(bytes ? &l->told : &l->told_attrs, 1);
}

static const char *on_drive(struct lived *l, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "red/%s", name);
    return world_path(l->w, path);
}

static uint64_t find(struct lived *l, const char *name)
{
    struct pool_attr attr;
    int64_t keep;
    assert_ok(pool_tree_lookup(l->tree, l->folder, name, &attr, &keep));
    return l->node = attr.node;
}

/* "dir" with a file; it is held, and was looked into. Nobody looks into "unseen". */
static void live(struct lived *l, struct world *w)
{
    char bytes[SIZE + 1];
    const struct pool_tree_events events = {.node_changed = on_node, .arg = l};
    memset(bytes, 'a', SIZE);
    bytes[SIZE] = '\0';
    *l = (struct lived){.w = w, .folder = POOL_ROOT};
    world_add(w, "red");
    world_mkdir(on_drive(l, "dir"));
    world_mkdir(on_drive(l, "unseen"));
    world_write(on_drive(l, "dir/file"), bytes);
    assert_int_equal(link(on_drive(l, "dir/file"), on_drive(l, "unseen/other")), 0);
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &l->pool));
    assert_ok(pool_tree_open(l->pool, &events, &l->tree));
    l->folder = find(l, "dir");
}

static const char *one_more_name(struct lived *l, const char *name, const char *more)
{
    char from[300];
    snprintf(from, sizeof from, "%s", on_drive(l, name));
    assert_int_equal(link(from, on_drive(l, more)), 0);
    return on_drive(l, more);
}

static void leave(struct lived *l)
{
    pool_tree_close(l->tree);
    pool_close(l->pool);
}

static struct pool_tree_file *open_file(struct lived *l, const char *name, bool writing)
{
    struct pool_tree_file *file = NULL;
    bool same;
    assert_ok(pool_tree_file_open(l->tree, find(l, name), writing, &file, &same));
    return file;
}

static void pause_ms(unsigned ms)
{
    const struct timespec ts = mrmr_clock_to_timespec(ms * INT64_C(1000000));
    nanosleep(&ts, NULL);
}

static void until_more(atomic_uint *count, unsigned more)
{
    const unsigned wanted = *count + more;
    for (unsigned i = 0; *count < wanted; i++) {
        assert_true(i < 60000);
        pause_a_while();
    }
}

/* In so long there would have been two. */
static void expect_no_looks(void)
{
    const unsigned before = stats;
    pause_ms(5 * LOOK_MS / 2);
    assert_true(stats - before <= 1); /* the one that was under way */
}

static char *map(struct lived *l, const char *name)
{
    int fd = open(on_drive(l, name), O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(fd >= 0 && at != MAP_FAILED);
    close(fd);
    return at;
}

static void test_as_long_as_somebody_may_store(void **state)
{
    struct lived l;
    live(&l, *state);
    struct pool_tree_file *file = open_file(&l, "file", false);
    until_more(&asked, 3);
    assert_int_equal(l.told, 0);
    char *mapped = map(&l, "unseen/other"); /* no event tells when it is closed */
    for (char c = 'b'; c < 'e'; c++) {
        mapped[7] = c;
        until_more(&l.told, 2); /* the first one may have been under way */
    }
    mapped[7] = 'z';
    munmap(mapped, SIZE);
    until_more(&l.told, 1);
    until_more(&asked, 2);
    const unsigned told = l.told;
    until_more(&asked, 3);
    assert_int_equal(l.told, told);
    pool_tree_file_close(file);
    expect_no_looks();
    leave(&l);
}

/* By another name, and let go of before anybody is asked. */
static void write_at_once(struct lived *l, const char *text)
{
    int fd = open(on_drive(l, "unseen/other"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    close(fd);
}

/* Also to who is not told by the drive whether anybody writes. */
static void test_times_tell_where_no_event_does(void **state)
{
    struct lived l;
    live(&l, *state);
    struct pool_tree_file *file = open_file(&l, "file", false);
    write_at_once(&l, "text");
    until_more(&l.told, 1);
    denied = true;
    until_more(&asked, 2);
    const unsigned told = l.told;
    write_at_once(&l, "more");
    until_more(&l.told, 1);
    char *mapped = map(&l, "unseen/other");
    until_more(&asked, 3);
    assert_int_equal(l.told, told + 1);
    munmap(mapped, SIZE);
    denied = false;
    pool_tree_file_close(file);
    leave(&l);
}

static void test_what_is_written_through_us(void **state)
{
    struct lived l;
    live(&l, *state);
    struct pool_tree_file *file = open_file(&l, "file", false), *own = open_file(&l, "file", true);
    until_more(&stats, 2);
    const unsigned before = asked;
    until_more(&stats, 3);
    assert_int_equal(asked, before); /* it would always say that somebody does */
    assert_int_equal(l.told, 0);
    write_at_once(&l, "of others");
    until_more(&l.told, 1);
    const unsigned told = l.told;
    for (unsigned i = 0; i < 5; i++) {
        assert_ok(pool_tree_file_write(own, 0, "ours", 4));
        until_more(&stats, 1);
    }
    assert_int_equal(l.told, told);
    char *mapped = map(&l, "unseen/other");
    pool_tree_file_close(own);
    until_more(&l.told, 2);
    munmap(mapped, SIZE);
    pool_tree_file_close(file);
    leave(&l);
}

/* Of what was done by a name that is not watched, while nothing was open, an open tells before it is done. */
static void test_an_open_tells_of_other_attributes(void **state)
{
    struct lived l;
    live(&l, *state);
    world_write(on_drive(&l, "dir/alone"), "one");
    find(&l, "alone");
    pool_tree_file_close(open_file(&l, "alone", false));
    int fd = open(one_more_name(&l, "dir/alone", "unseen/more"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "two", 3), 3);
    close(fd);
    struct pool_tree_file *file = NULL;
    bool same;
    unsigned before = l.told_attrs;
    assert_ok(pool_tree_file_open(l.tree, l.node, false, &file, &same));
    assert_int_equal(l.told_attrs, before + 1);
    pool_tree_file_close(file);
    find(&l, "alone"); /* he asks */
    before = l.told_attrs;
    pool_tree_file_close(open_file(&l, "alone", false));
    assert_int_equal(l.told_attrs, before);
    leave(&l);
}

/* Who may keep its attributes for long is told so, or that is still known. */
static void test_what_is_kept_while_it_is_written(void **state)
{
    struct lived l;
    struct tree_node *node;
    live(&l, *state);
    world_write(on_drive(&l, "dir/alone"), "one");
    find(&l, "alone");
    assert_ok(tree_node(l.tree, l.node, false, &node));
    if (!node->kept)
        fail_msg("a drive that tells of changes, and nobody may keep anything");
    const bool exact = l.tree->drive[0].tells_who;
    const unsigned before = l.told_attrs;
    struct pool_tree_file *file = open_file(&l, "alone", true);
    assert_int_equal(node->kept, exact);
    while (!exact && l.told_attrs == before) /* the test's time limit ends it */
        pause_a_while();
    pool_tree_file_close(file);
    tree_put(l.tree, node);
    leave(&l);
}

/* A file that is opened again and again is one: those that have their turn after it do not wait. */
static void test_one_that_is_open_often(void **state)
{
    static struct pool_tree_file *often[OFTEN];
    struct lived l;
    struct stat st;
    live(&l, *state);
    world_write(on_drive(&l, "dir/alone"), "x");
    assert_int_equal(stat(on_drive(&l, "dir/alone"), &st), 0);
    struct pool_tree_file *file = open_file(&l, "alone", false);
    for (unsigned i = 0; i < OFTEN; i++)
        often[i] = open_file(&l, "file", false);
    int64_t began = 0;
    ino_of[0] = st.st_ino;
    for (unsigned looks = 0; looks < 3; looks++) {
        looked_at[0] = false;
        while (!looked_at[0]) /* the test's time limit ends it */
            pause_a_while();
        if (!looks)
            began = mrmr_clock_monotonic();
    }
    assert_true(mrmr_clock_monotonic() - began < 8 * LOOK_MS * INT64_C(1000000));
    ino_of[0] = 0;
    looked_at[0] = false;
    for (unsigned i = 0; i < OFTEN; i++)
        pool_tree_file_close(often[i]);
    pool_tree_file_close(file);
    leave(&l);
}

static bool all_looked_at(void)
{
    unsigned i = 0;
    while (i < MANY && looked_at[i])
        i++;
    return i == MANY;
}

/* Each comes in turn, while a few are opened and closed. */
static void test_many(void **state)
{
    struct lived l;
    struct pool_tree_file *file[MANY];
    char name[32];
    live(&l, *state);
    for (unsigned i = 0; i < MANY; i++) {
        struct stat st;
        snprintf(name, sizeof name, "dir/%u", i);
        world_write(on_drive(&l, name), "x");
        assert_int_equal(stat(on_drive(&l, name), &st), 0);
        ino_of[i] = st.st_ino;
    }
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%u", i);
        file[i] = open_file(&l, name, false);
    }
    for (unsigned n = 0; !all_looked_at(); n++) {
        const unsigned i = n % FEW;
        assert_true(n < 60000);
        snprintf(name, sizeof name, "%u", i);
        pool_tree_file_close(file[i]);
        file[i] = open_file(&l, name, false);
        pause_a_while();
    }
    for (unsigned i = 0; i < MANY; i++)
        pool_tree_file_close(file[i]);
    leave(&l);
}

/* Of what is on another machine nothing is asked for but once in remote-ttl. */
static void test_a_drive_that_tells_nothing(void **state)
{
    struct lived l;
    live(&l, *state);
    l.tree->drive[0].silent = true;
    struct pool_tree_file *file = open_file(&l, "file", false);
    expect_no_looks();
    pool_tree_file_close(file);
    leave(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_as_long_as_somebody_may_store, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_times_tell_where_no_event_does, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_what_is_written_through_us, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_an_open_tells_of_other_attributes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_what_is_kept_while_it_is_written, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_open_often, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_many, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_drive_that_tells_nothing, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
