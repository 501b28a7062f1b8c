/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How often somebody waits for a thread of a drive: counted, since a rate says less on a machine that
 * others use. And that what is done in one op is as good as what was done in several: whoever holds a
 * file that loses its name finds it at each moment.
 */
#include "tests/unit/pool_drive_world.h"

#include "drivers/guard_internal.h"
#include "pool/tree/tree.h"
#include "tests/support/elsewhere.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DRIVES = 3, TIMES = 20 };

/* The linker leads calls of guard_call here (--wrap): one for each op that somebody waits for. */
static atomic_uint waited;
mrmr_err __real_guard_call(struct drv *drv, struct guard_inner *inner, struct guard_job *job);
mrmr_err __wrap_guard_call(struct drv *drv, struct guard_inner *inner, struct guard_job *job);
mrmr_err __wrap_guard_call(struct drv *drv, struct guard_inner *inner, struct guard_job *job)
{
    atomic_fetch_add(&waited, 1);
    return __real_guard_call(drv, inner, job);
}

/* The name is gone, and the op goes on for so long, in ms. */
static atomic_uint unlink_lasts;
mrmr_err __real_drv_unlink(struct drv *drv, const char *path);
mrmr_err __wrap_drv_unlink(struct drv *drv, const char *path);
mrmr_err __wrap_drv_unlink(struct drv *drv, const char *path)
{
    const unsigned ms = strcmp(drv->ops->scheme, "local") == 0 ? atomic_load(&unlink_lasts) : 0;
    const struct timespec ts = mrmr_clock_to_timespec(ms * INT64_C(1000000));
    mrmr_err err = __real_drv_unlink(drv, path);
    if (ms)
        nanosleep(&ts, NULL);
    return err;
}

/* What time it is for the tree, where it is not 0. */
static _Atomic int64_t clock_says;
int64_t __real_mrmr_clock_real(void);
int64_t __wrap_mrmr_clock_real(void);
int64_t __wrap_mrmr_clock_real(void)
{
    const int64_t says = atomic_load(&clock_says);
    return says ? says : __real_mrmr_clock_real();
}

struct lived {
    struct world *w;
    struct pool *pool;
    struct pool_tree *tree;
    uint64_t folder;
};

static const char *on_drive(struct lived *l, unsigned drive, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "d%u/%s", drive, name);
    return world_path(l->w, path);
}

static struct pool_attr find(struct lived *l, const char *name)
{
    struct pool_attr attr;
    int64_t keep;
    assert_ok(pool_tree_lookup(l->tree, l->folder, name, &attr, &keep));
    return attr;
}

/* "dir" lies on each drive; it is held, and was looked into. */
static void live(struct lived *l, struct world *w)
{
    *l = (struct lived){.w = w, .folder = POOL_ROOT};
    for (unsigned d = 0; d < DRIVES; d++) {
        char name[32];
        snprintf(name, sizeof name, "d%u", d);
        world_add(w, name);
        world_mkdir(on_drive(l, d, "dir"));
    }
    world_write(on_drive(l, 0, "dir/old"), "old");
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &l->pool));
    assert_ok(pool_tree_open(l->pool, NULL, &l->tree));
    l->folder = find(l, "dir").node;
    find(l, "old");
}

static void leave(struct lived *l)
{
    pool_tree_close(l->tree);
    pool_close(l->pool);
}

static struct pool_tree_file *make(struct lived *l, const char *name, uint64_t *ret_node)
{
    struct pool_tree_file *file = NULL;
    struct pool_attr attr;
    assert_ok(pool_tree_create(l->tree, NULL, l->folder, name, 0644, &attr, &file));
    *ret_node = attr.node;
    return file;
}

static unsigned hops(void)
{
    return atomic_exchange(&waited, 0);
}

static void look_at_folder(struct lived *l)
{
    struct pool_attr attr;
    assert_ok(pool_tree_attr(l->tree, l->folder, &attr));
}

/* A file that is made, written, set to a time, closed, and loses its name: one op each, and none for the folder's
 * attributes, which the kernel asks for after each of these. */
static void test_one_op_each(void **state)
{
    unsigned creates = 0, writes = 0, reads = 0, sets = 0, unlinks = 0, folders = 0;
    struct pool_attr attr = {.mtime = INT64_C(1000000000000000000)};
    char name[32], buf[16];
    struct lived l;
    live(&l, *state);
    const int64_t start = mrmr_clock_monotonic();
    for (unsigned i = 0; i < TIMES + 2; i++) {
        uint64_t node;
        size_t got;
        if (i ==
            2) /* where new files go was asked, and what all drives said of the folder is known */
            creates = writes = reads = sets = unlinks = folders = 0;
        snprintf(name, sizeof name, "file %u", i);
        hops();
        struct pool_tree_file *file = make(&l, name, &node);
        creates += hops();
        look_at_folder(&l);
        folders += hops();
        assert_ok(pool_tree_file_write(file, 0, "text", 4));
        writes += hops();
        assert_ok(pool_tree_file_read(file, 0, buf, sizeof buf, &got));
        assert_int_equal(got, 4);
        reads += hops();
        assert_ok(pool_tree_set(l.tree, NULL, node, file, POOL_SET_MTIME, &attr, &attr));
        sets += hops();
        assert_int_equal(attr.node, node);
        assert_int_equal(attr.size, 4);
        assert_int_equal(attr.mtime, INT64_C(1000000000000000000));
        pool_tree_file_close(file);
        find(&l, name);
        hops();
        assert_ok(pool_tree_unlink(l.tree, NULL, l.folder, name));
        unlinks += hops();
        look_at_folder(&l);
        folders += hops();
        pool_tree_forget(l.tree, node, 2);
    }
    print_message(
        "waited for a drive: create %.2f, write %.2f, read %.2f, unlink %.2f, folder %.2f\n",
        (double)creates / TIMES, (double)writes / TIMES, (double)reads / TIMES,
        (double)unlinks / TIMES, (double)folders / TIMES);
    /* once a second each drive is asked how much room it has */
    const int64_t seconds = (mrmr_clock_monotonic() - start) / MRMR_NS_PER_S;
    assert_in_range(creates, TIMES, TIMES + DRIVES * seconds);
    assert_int_equal(writes, TIMES);
    assert_int_equal(reads, TIMES);
    assert_int_equal(sets, TIMES);
    assert_int_equal(unlinks, TIMES);
    assert_int_equal(folders, 0);
    leave(&l);
}

struct looking {
    struct lived *l;
    uint64_t node;
    atomic_bool stop, failed;
    atomic_uint parted; /* looks at it when it had no name any more */
};

static bool is_there(struct looking *looking)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    bool same;
    if (pool_tree_attr(looking->l->tree, looking->node, &attr) ||
        pool_tree_file_open(looking->l->tree, looking->node, true, &file, &same))
        return false;
    pool_tree_file_close(file);
    atomic_fetch_add(&looking->parted, !attr.nlink);
    return true;
}

/* By its number alone, over and over. */
static void *looks(void *arg)
{
    struct looking *looking = arg;
    while (!atomic_load(&looking->stop) && !atomic_load(&looking->failed))
        atomic_store(&looking->failed, !is_there(looking));
    return NULL;
}

/* Its name is gone, and its op is not over: whoever holds it waits, and has it. */
static void test_it_is_there_all_the_time(void **state)
{
    struct lived l;
    live(&l, *state);
    atomic_store(&unlink_lasts, 20);
    for (unsigned i = 0; i < 5; i++) {
        struct looking looking = {.l = &l};
        pthread_t thread;
        pool_tree_file_close(make(&l, "file", &looking.node));
        assert_int_equal(pthread_create(&thread, NULL, looks, &looking), 0);
        assert_ok(pool_tree_unlink(l.tree, NULL, l.folder, "file"));
        while (!atomic_load(&looking.parted) && !atomic_load(&looking.failed))
            sched_yield();
        atomic_store(&looking.stop, true);
        pthread_join(thread, NULL);
        assert_false(looking.failed);
        pool_tree_forget(l.tree, looking.node, 1);
    }
    atomic_store(&unlink_lasts, 0);
    leave(&l);
}

/* What has the name by now is not what the tree knows; or it has another name that it does not know:
 * the long way, and what people see is the same. */
static void test_what_is_not_taken_at_once(void **state)
{
    struct lived l;
    struct pool_attr attr;
    struct stat st;
    int64_t keep;
    uint64_t node;
    live(&l, *state);
    pool_tree_file_close(make(&l, "file", &node));
    unsigned d = 0;
    while (d < DRIVES && stat(on_drive(&l, d, "dir/file"), &st) < 0)
        d++;
    char from[300];
    snprintf(from, sizeof from, "%s", on_drive(&l, d, "dir/file"));
    assert_int_equal(link(from, on_drive(&l, d, "other")), 0);
    find(&l, "file");
    hops();
    assert_ok(pool_tree_unlink(l.tree, NULL, l.folder, "file"));
    assert_true(hops() >= 3);
    assert_int_equal(stat(on_drive(&l, d, "other"), &st), 0);
    assert_int_equal(st.st_nlink, 1);
    assert_int_not_equal(stat(from, &st), 0);
    while (pool_tree_lookup(l.tree, POOL_ROOT, "other", &attr, &keep)) /* until its event is here */
        sched_yield();
    assert_int_equal(attr.node, node);
    assert_int_equal(attr.nlink, 1);
    leave(&l);
}

static bool opened_same(struct lived *l, uint64_t node)
{
    struct pool_tree_file *file;
    bool same;
    assert_ok(pool_tree_file_open(l->tree, node, false, &file, &same));
    pool_tree_file_close(file);
    return same;
}

static uint64_t changes(struct lived *l, uint64_t node)
{
    mrmr_locked(&l->tree->lock);
    return tree_find_locked(l->tree, node)->changes;
}

/* What was read is kept, if it was opened when its times could tell of any later change; how long ago
 * that was does not matter. */
static void test_what_is_read_again(void **state)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    struct lived l;
    struct stat st;
    live(&l, *state);
    const int64_t grain = l.tree->drive[0].drive->info.time_grain;
    const uint64_t node = find(&l, "old").node;
    uint64_t seen;
    bool same;
    assert_true(2 * grain < moment.tv_nsec);
    do { /* once more where an event came that late that it is what tells */
        const uint64_t before = changes(&l, node);
        if (elsewhere()) {
            world_write(on_drive(&l, 0, "dir/old"), "new");
            _exit(0);
        }
        while (changes(&l, node) == before)
            sched_yield();
        nanosleep(&moment, NULL);
        seen = changes(&l, node);
        assert_int_equal(stat(on_drive(&l, 0, "dir/old"), &st), 0);
        atomic_store(&clock_says, mrmr_clock_from_timespec(&st.st_ctim) + grain);
        opened_same(&l, node);
        atomic_store(&clock_says, 0);
        same = opened_same(&l, node); /* it could have changed once more, and have the same times */
    } while (seen != changes(&l, node));
    assert_false(same);
    assert_true(opened_same(&l, node));
    assert_true(opened_same(&l, node));
    leave(&l);
}

/* A store through a mapping on the drive changes no times where the page is dirty already, and no event
 * tells of it: as long as somebody may store, what was read is read anew. */
static void test_mapped_on_the_drive(void **state)
{
    const struct timespec moment = {.tv_nsec = 100000000};
    struct lived l;
    live(&l, *state);
    const uint64_t node = find(&l, "old").node;
    int fd = open(on_drive(&l, 0, "dir/old"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    char *bytes = mmap(NULL, 2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    close(fd);
    bytes[0] = '1';
    for (unsigned i = 0; i < 3; i++) {
        nanosleep(&moment, NULL);
        assert_false(opened_same(&l, node));
        bytes[0]++;
    }
    assert_int_equal(munmap(bytes, 2), 0);
    nanosleep(&moment, NULL);
    opened_same(&l, node);
    assert_true(opened_same(&l, node));
    leave(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_read_again, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_one_op_each, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_it_is_there_all_the_time, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_what_is_not_taken_at_once, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_mapped_on_the_drive, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
