/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard: late answers touch nothing of the caller's, and what was given up may happen late, but not by
 * halves.
 */
#include "drivers_guard_world.h"

#include "base/cleanup.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

/* The buffer of a read that was given up is the caller's again. */
static void test_late_read(void **state)
{
    struct guarded_world *w = *state;
    struct drv_file *file = NULL;
    size_t got = 0;
    guarded_put(w);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    guarded_delay(w, DRV_FAULT_FILE_READ, 600 * ms);
    char *buf = malloc(10);
    assert_int_equal(drv_file_read(file, 0, buf, 10, &got), MRMR_TIMEOUT);
    assert_int_equal(drv_guard_late(w->guard), 0); /* it changes nothing */
    free(buf);
    drv_file_close(file);
    while (drv_guard_stuck(w->guard))
        pause_a_while();
}

/* An open that was given up leaves no file open: teardown's sanitizer run would tell. */
static void test_late_open(void **state)
{
    struct guarded_world *w = *state;
    struct drv_file *file = NULL;
    guarded_put(w);
    guarded_delay(w, DRV_FAULT_FILE_OPEN, 600 * ms);
    assert_int_equal(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file), MRMR_TIMEOUT);
    assert_null(file);
}

/* Bytes of the caller's that are gone as soon as the op has been given up. */
static char *fleeting(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    return copy;
}

static mrmr_err late_write(struct guarded_world *w)
{
    struct drv_file *file = NULL;
    char *bytes = fleeting("late bytes");
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_WRITE, 0, &file));
    mrmr_err err = drv_file_write(file, 0, bytes, 10);
    memset(bytes, 'X', 10);
    free(bytes);
    drv_file_close(file);
    return err;
}

static mrmr_err late_rename(struct guarded_world *w)
{
    char *from = fleeting("folder/d"), *to = fleeting("folder/e");
    mrmr_err err = drv_rename(w->guard, from, to, DRV_RENAME_REPLACE);
    free(from);
    free(to);
    return err;
}

static mrmr_err late_xattr(struct guarded_world *w)
{
    char *path = fleeting("folder"), *name = fleeting("user.y"), *value = fleeting("late");
    mrmr_err err = drv_xattr_set(w->guard, path, name, value, 4);
    memset(value, 'X', 4);
    free(path);
    free(name);
    free(value);
    return err;
}

static mrmr_err late_attr(struct guarded_world *w)
{
    struct drv_stat *attr = calloc(1, sizeof *attr);
    assert_non_null(attr);
    attr->mode = 0604;
    mrmr_err err = drv_set_attr(w->guard, "folder/f", DRV_ATTR_MODE, attr);
    attr->mode = 0;
    free(attr);
    return err;
}

static mrmr_err late_symlink(struct guarded_world *w)
{
    char *target = fleeting("target"), *path = fleeting("late");
    mrmr_err err = drv_symlink(w->guard, target, path);
    free(target);
    free(path);
    return err;
}

static mrmr_err find_y(const char *name, const void *value, size_t size, void *arg)
{
    if (!strcmp(name, "user.y"))
        *(bool *)arg = size == 4 && !memcmp(value, "late", 4);
    return MRMR_OK;
}

/* A change that was given up may happen late, with what the caller gave it then. */
static void test_late_changes(void **state)
{
    struct guarded_world *w = *state;
    static mrmr_err (*const changes[])(struct guarded_world *) = {
        late_write, late_rename, late_xattr, late_attr, late_symlink};
    const unsigned ops = DRV_FAULT_FILE_WRITE | DRV_FAULT_RENAME | DRV_FAULT_XATTR_SET |
                         DRV_FAULT_SET_ATTR | DRV_FAULT_SYMLINK;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT, target = MRMR_BYTES_INIT;
    struct drv_stat stat;
    bool found = false;
    guarded_delay(w, ops, 600 * ms);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        guarded_put(w);
        assert_int_equal(changes[i](w), MRMR_TIMEOUT);
        assert_true(drv_guard_late(w->guard) > 0); /* though nobody holds for it */
        while (drv_guard_stuck(w->guard))
            pause_a_while();
        assert_int_equal(drv_guard_late(w->guard), 0);
    }
    while (drv_guard_stuck(w->guard))
        pause_a_while();
    drv_fault_clear(w->fault);
    guarded_put(w);
    assert_ok(drv_read_all(w->guard, "folder/c", 100, &b));
    assert_string_equal(b.data, "late bytes");
    assert_int_equal(drv_stat(w->guard, "folder/d", &stat), MRMR_ABSENT);
    assert_ok(drv_xattr_list(w->guard, "folder", find_y, &found));
    assert_true(found);
    assert_ok(drv_stat(w->guard, "folder/f", &stat));
    assert_int_equal(stat.mode, 0604);
    assert_ok(drv_readlink(w->guard, "late", &target));
    assert_string_equal(target.data, "target");
}

static mrmr_err create_open(struct guarded_world *w)
{
    struct drv_file *file = NULL;
    mrmr_err err = drv_file_open(w->guard, "new", CREATE, 0600, &file);
    assert_null(file);
    return err;
}

static mrmr_err create_make(struct guarded_world *w)
{
    struct drv_named named = {.file = NULL};
    mrmr_err err = drv_file_make(w->guard, "new", 0600, &named);
    assert_null(named.file);
    return err;
}

static void removing(void *arg, enum drv_fault_op op, const char *path)
{
    struct guarded_world *w = arg;
    (void)op, (void)path;
    atomic_fetch_add(&w->removals, drv_guard_late(w->guard));
    pause_a_while();
}

/* A file that was made, but too late, is closed and removed: whoever wanted it was told that it was
 * not made. The op is late until that has happened, so that the drive is away meanwhile. */
static void test_late_create(void **state)
{
    struct guarded_world *w = *state;
    static mrmr_err (*const creates[])(struct guarded_world *) = {create_open, create_make};
    struct drv *raw = NULL;
    struct drv_stat stat;
    assert_ok(drv_open("mem://guarded?size=64M", &raw));
    for (unsigned i = 0; i < sizeof creates / sizeof *creates; i++) {
        const struct drv_fault_rule rule = {
            .ops = DRV_FAULT_UNLINK, .action = DRV_FAULT_HOOK, .hook = removing, .arg = w};
        guarded_put(w);
        guarded_delay(w, DRV_FAULT_CREATE, 600 * ms);
        assert_ok(drv_fault_add(w->fault, &rule, NULL));
        assert_int_equal(creates[i](w), MRMR_TIMEOUT);
        assert_int_equal(drv_guard_late(w->guard), 1);
        while (drv_guard_late(w->guard))
            pause_a_while();
        assert_int_equal(drv_stat(raw, "new", &stat), MRMR_ABSENT);
        assert_int_equal(w->removals, i + 1);
        drv_fault_clear(w->fault);
        assert_int_equal(drv_guard_stuck(w->guard), 0);
    }
    drv_close(raw);
}

struct hanging {
    struct guarded_world *w;
    sem_t begun, go_on;
};

static void hang_here(void *arg, enum drv_fault_op op, const char *path)
{
    struct hanging *hanging = arg;
    (void)op, (void)path;
    sem_post(&hanging->begun);
    sem_wait(&hanging->go_on);
}

static void *hanging_call(void *arg)
{
    late_attr(((struct hanging *)arg)->w);
    return NULL;
}

/* It runs while its drive is cut off, and its caller waits still: whoever is told of the cut sees that
 * it may happen yet. */
static void test_late_from_the_cut_on(void **state)
{
    struct guarded_world *w = *state;
    struct hanging hanging = {.w = w};
    pthread_t caller;
    sem_init(&hanging.begun, 0, 0);
    sem_init(&hanging.go_on, 0, 0);
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_SET_ATTR, .action = DRV_FAULT_HOOK, .hook = hang_here, .arg = &hanging};
    guarded_put(w);
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
    assert_int_equal(pthread_create(&caller, NULL, hanging_call, &hanging), 0);
    assert_int_equal(sem_wait(&hanging.begun), 0);
    assert_int_equal(drv_guard_late(w->guard), 0);
    drv_guard_cut(w->guard, MRMR_OFFLINE);
    assert_int_equal(drv_guard_late(w->guard), 1);
    pthread_join(caller, NULL); /* he has given up */
    assert_int_equal(drv_guard_late(w->guard), 1);
    sem_post(&hanging.go_on);
    while (drv_guard_late(w->guard))
        pause_a_while();
    assert_int_equal(drv_guard_stuck(w->guard), 0);
    sem_destroy(&hanging.begun);
    sem_destroy(&hanging.go_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_late_read, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_late_open, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_late_changes, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_late_create, guarded_setup, guarded_teardown),
        cmocka_unit_test_setup_teardown(test_late_from_the_cut_on, guarded_setup, guarded_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
