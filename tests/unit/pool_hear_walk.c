/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What cannot be looked at on a drive that is followed: it is tried again, soon at first, and nothing is told while nothing is changed.
 */
#include <stddef.h>
#include <stdint.h>

#include "tests/support/rights.h"
#include "tests/unit/pool_drive_world.h"

#include "base/log.h"
#include "drivers/fault.h"
#include "pool/drive/hear_drive.h"
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* A drive that is followed, without its thread, whose work is done here; and what its watch tells is none of it. */
struct followed {
    struct world *w;
    struct hear hear;
    struct drv *local; /* the watch's */
    struct drv_fault *fault;
    struct hear_drive d;
};

static void ignore(enum drv_event what, enum drv_who who, uint64_t key, const char *name, void *arg)
{
    (void)what, (void)who, (void)key, (void)name, (void)arg;
}

static void followed_begin(struct followed *f, void **state)
{
    struct drv_stat root;
    struct drv *inner;
    memset(f, 0, sizeof *f);
    f->w = *state;
    world_mkdir(world_path(f->w, "red"));
    f->hear.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(f->hear.wake >= 0);
    f->d.hear = &f->hear;
    f->d.name = (char *)"red";
    f->d.todo_last = &f->d.todo;
    pthread_mutex_init(&f->d.lock, NULL);
    pthread_cond_init(&f->d.wake, NULL);
    assert_ok(drv_open(world_path(f->w, "red"), &f->local));
    assert_ok(drv_open(world_path(f->w, "red"), &inner));
    assert_ok(drv_fault_create(&f->fault));
    assert_ok(drv_fault_wrap(inner, f->fault, &f->d.drv));
    assert_ok(drv_stat(f->local, "", &root));
    f->d.dev = root.dev;
    assert_ok(drv_watch_open(f->local, ignore, NULL, &f->d.watch));
}

static void followed_end(struct followed *f)
{
    drv_watch_close(f->d.watch);
    drv_close(f->d.drv);
    drv_close(f->local);
    drv_fault_destroy(f->fault);
    hear_todo_free(hear_todo_take(&f->d));
    hear_hindered_clear(&f->d);
    hear_folders_clear(&f->d.folders);
    pthread_cond_destroy(&f->d.wake);
    pthread_mutex_destroy(&f->d.lock);
    close(f->hear.wake);
}

static bool told(const struct followed *f)
{
    eventfd_t n;
    return eventfd_read(f->hear.wake, &n) == 0;
}

static void retry(struct followed *f)
{
    f->d.hindered_again = 0;
    hear_hindered_look(&f->d);
}

static void new_place(struct followed *f, const char *path)
{
    struct hear_todo *todo = hear_todo_new(path, "", false);
    assert_non_null(todo);
    hear_look_at_each(&f->d, todo);
}

/* --- very many --- */

enum { MANY = HEAR_TODO_MOST + 6, ALL = 1 + MANY + 3 };

static unsigned warned;

static void count(enum mrmr_log_level level, const char *line, void *arg)
{
    (void)level, (void)arg;
    warned += strstr(line, "cannot be read") != NULL;
}

static void rights_to_read(bool up)
{
    assert_true(right_put(CAP_DAC_OVERRIDE, up) && right_put(CAP_DAC_READ_SEARCH, up));
}

/* And below one that can be read one that cannot: it comes last, and what is below it is known all the same. */
static void many(struct followed *f, bool make, mode_t mode)
{
    static const char *const below[] = {"red/read", "red/read/not", "red/read/not/seen"};
    char name[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "red/%u", i);
        if (make)
            world_mkdir(world_path(f->w, name));
        assert_int_equal(chmod(world_path(f->w, name), mode), 0);
    }
    for (unsigned i = 0; make && i < 3; i++)
        world_mkdir(world_path(f->w, below[i]));
    assert_int_equal(chmod(world_path(f->w, below[1]), mode), 0);
}

static void all(struct followed *f)
{
    rights_to_read(false);
    hear_walk_all(&f->d);
    rights_to_read(true);
}

/* Some are not tried again, which is said once; and all is looked through once the others can be read. */
static void test_very_many(void **state)
{
    struct followed f;
    followed_begin(&f, state);
    many(&f, true, 0755);
    all(&f);
    assert_int_equal(f.d.folders.n, ALL);
    many(&f, false, 0);
    f.d.lost = true;
    warned = 0;
    mrmr_log_set(count, NULL, MRMR_LOG_WARN);
    all(&f);
    all(&f);
    assert_int_equal(warned, 1);
    mrmr_log_set(NULL, NULL, MRMR_LOG_WARN);
    assert_false(f.d.lost);
    assert_int_equal(f.d.folders.n, ALL);
    rights_to_read(false);
    retry(&f);
    rights_to_read(true);
    assert_false(told(&f));
    assert_false(f.d.lost);
    many(&f, false, 0755);
    retry(&f);
    assert_true(f.d.lost);
    all(&f);
    assert_false(f.d.lost || f.d.hindered_more || f.d.hindered);
    followed_end(&f);
}

/* --- one --- */

static unsigned fails(struct followed *f, const struct drv_fault_rule *rule)
{
    unsigned id;
    assert_ok(drv_fault_add(f->fault, rule, &id));
    return id;
}

/* A folder of which some is read before it fails is not looked into yet, though what is below it is. */
static void test_midway(void **state)
{
    struct followed f;
    followed_begin(&f, state);
    hear_walk_all(&f.d);
    world_mkdir(world_path(f.w, "red/a"));
    world_mkdir(world_path(f.w, "red/a/b"));
    world_mkdir(world_path(f.w, "red/a/c"));
    /* Below it nothing fails. */
    fails(&f, &(struct drv_fault_rule){
                  .ops = DRV_FAULT_LIST, .prefix = "a/", .action = DRV_FAULT_SHORT, .bytes = 9});
    const unsigned id = fails(&f, &(struct drv_fault_rule){.ops = DRV_FAULT_LIST,
                                      .prefix = "a",
                                      .action = DRV_FAULT_SHORT,
                                      .bytes = 1,
                                      .err = MRMR_IO});
    new_place(&f, "a");
    for (unsigned i = 0; i < 3; i++)
        retry(&f);
    assert_int_equal(f.d.folders.n, 3);
    assert_false(told(&f));
    drv_fault_remove(f.fault, id);
    retry(&f);
    assert_true(told(&f));
    assert_int_equal(f.d.folders.n, 4);
    assert_null(f.d.hindered);
    followed_end(&f);
}

/* Tried again after a second, and then less often; and once that is over another one begins with a second. */
static void test_how_soon(void **state)
{
    struct followed f;
    followed_begin(&f, state);
    world_mkdir(world_path(f.w, "red/a"));
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST, .prefix = "a", .err = MRMR_IO};
    const unsigned id = fails(&f, &rule);
    hear_walk_all(&f.d);
    assert_int_equal(f.d.hindered_wait, MRMR_NS_PER_S);
    for (unsigned i = 0; i < 9; i++)
        retry(&f);
    assert_int_equal(f.d.hindered_wait, 60 * MRMR_NS_PER_S);
    drv_fault_remove(f.fault, id);
    retry(&f);
    assert_null(f.d.hindered);
    fails(&f, &rule);
    new_place(&f, "a");
    assert_non_null(f.d.hindered);
    assert_int_equal(f.d.hindered_wait, MRMR_NS_PER_S);
    followed_end(&f);
}

/* Where there is no memory all is looked through again; and not sooner than it would be anyway. */
static void test_no_memory(void **state)
{
    struct followed f;
    followed_begin(&f, state);
    const int64_t rests = mrmr_clock_monotonic() + 3600 * MRMR_NS_PER_S;
    f.d.walk_again = rests;
    fails(&f, &(struct drv_fault_rule){.ops = DRV_FAULT_LIST, .err = MRMR_NOMEM});
    hear_walk_all(&f.d);
    assert_true(f.d.lost);
    assert_int_equal(f.d.walk_again, rests);
    followed_end(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_very_many, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_midway, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_how_soon, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, world_setup, world_teardown),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
