/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard: what hangs costs one deadline and nobody else anything; what was cut off stays so until
 * another drive is put in; late answers touch nothing of the caller's. That every op gives what the
 * drive itself gives is for the contract suite, which runs over a guard too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "drivers/act.h"
#include "drivers/fault.h"
#include "drivers/guard.h"
#include "drivers/mem.h"
#include "tests/support/pause.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define assert_ok(expr) assert_int_equal(expr, MRMR_OK)

static const int64_t ms = 1000000;
static const unsigned CREATE = DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE;

struct world {
    struct drv_fault *fault;
    struct drv *guard;
    atomic_uint cuts, removals;
};

static void cut(mrmr_err why, void *arg)
{
    assert_true(why == MRMR_TIMEOUT || why == MRMR_OFFLINE);
    atomic_fetch_add(&((struct world *)arg)->cuts, 1);
}

/* The same drive in memory, each time anew behind the faults. */
static void put(struct world *w)
{
    struct drv *inner = NULL, *faulty = NULL;
    assert_ok(drv_open("mem://guarded?size=64M", &inner));
    assert_ok(drv_fault_wrap(inner, w->fault, &faulty));
    assert_ok(drv_guard_put(w->guard, faulty));
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct drv *drv = NULL;
    struct drv_file *file = NULL;
    assert_non_null(w);
    assert_ok(drv_open("mem://guarded?size=64M", &drv));
    assert_ok(drv_mkdir(drv, "folder", 0755));
    for (char name[] = "folder/a"; name[7] <= 'j'; name[7]++) {
        assert_ok(drv_file_open(drv, name, CREATE, 0600, &file));
        assert_ok(drv_file_write(file, 0, "some bytes", 10));
        drv_file_close(file);
    }
    assert_ok(drv_symlink(drv, "elsewhere", "link"));
    assert_ok(drv_xattr_set(drv, "folder", "user.x", "value", 5));
    drv_close(drv);
    assert_ok(drv_fault_create(&w->fault));
    const struct drv_guard_options options = {
        .threads = 4, .deadline = 200 * ms, .cut = cut, .arg = w};
    assert_ok(drv_guard_create(&options, &w->guard));
    *state = w;
    return 0;
}

/* What was given up comes back in the end: nothing is left behind. */
static int teardown(void **state)
{
    struct world *w = *state;
    drv_fault_clear(w->fault);
    while (drv_guard_stuck(w->guard))
        pause_a_while();
    drv_close(w->guard);
    drv_fault_destroy(w->fault);
    drv_mem_reset_all();
    free(w);
    return 0;
}

static unsigned delay(struct world *w, unsigned ops, int64_t ns)
{
    unsigned id;
    const struct drv_fault_rule rule = {
        .ops = ops, .action = DRV_FAULT_DELAY, .delay_ns = (uint64_t)ns};
    assert_ok(drv_fault_add(w->fault, &rule, &id));
    return id;
}

static mrmr_err count(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    assert_true(name[0] >= 'a' && name[0] <= 'j' && stat && !err && stat->size == 10);
    ++*(unsigned *)arg;
    return MRMR_OK;
}

static mrmr_err xattr(const char *name, const void *value, size_t size, void *arg)
{
    assert_string_equal(name, "user.x");
    assert_int_equal(size, 5);
    assert_memory_equal(value, "value", 5);
    ++*(unsigned *)arg;
    return MRMR_OK;
}

/* Every op gives what the drive itself gives. */
static void test_forwards(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    struct drv_space space;
    struct drv_info info;
    struct drv_file *file = NULL;
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    unsigned n = 0;
    char buf[16];
    size_t got;
    uint64_t start, end;
    put(w);
    assert_ok(drv_info(w->guard, &info));
    assert_true(info.caps & DRV_CAP_WRITABLE);
    assert_ok(drv_space(w->guard, &space));
    assert_int_equal(space.total, 64 << 20);
    assert_ok(drv_stat(w->guard, "folder", &stat));
    assert_int_equal(stat.type, DRV_DIR);
    assert_int_equal(drv_stat(w->guard, "none", &stat), MRMR_ABSENT);
    assert_string_equal(mrmr_story_get()->path, "none");
    assert_ok(drv_list(w->guard, "folder", count, &n));
    assert_int_equal(n, 10);
    assert_ok(drv_readlink(w->guard, "link", &target));
    assert_string_equal(target.data, "elsewhere");
    n = 0;
    assert_ok(drv_xattr_list(w->guard, "folder", xattr, &n));
    assert_int_equal(n, 1);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    assert_ok(drv_file_stat(file, &stat));
    assert_int_equal(stat.size, 10);
    assert_ok(drv_file_read(file, 5, buf, sizeof buf, &got));
    assert_int_equal(got, 5);
    assert_memory_equal(buf, "bytes", 5);
    assert_ok(drv_file_next_data(file, 0, &start, &end));
    assert_int_equal(end, 10);
    drv_file_close(file);
    assert_ok(drv_unlink(w->guard, "folder/c"));
    assert_int_equal(drv_stat(w->guard, "folder/c", &stat), MRMR_ABSENT);
    assert_int_equal(w->cuts, 0);
}

/* Cut off until something is put in, and again afterwards. */
static void test_cut_off(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    struct drv_file *file = NULL;
    char buf[4];
    size_t got;
    assert_false(drv_guard_serves(w->guard));
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    put(w);
    assert_true(drv_guard_serves(w->guard));
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    drv_guard_cut(w->guard, MRMR_OFFLINE);
    assert_int_equal(w->cuts, 1);
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    assert_int_equal(drv_file_read(file, 0, buf, 4, &got), MRMR_OFFLINE);
    put(w);
    assert_ok(drv_stat(w->guard, "folder", &stat));
    assert_int_equal(drv_file_read(file, 0, buf, 4, &got), MRMR_OFFLINE); /* of the one before */
    drv_file_close(file);
    assert_true(drv_guard_serves(w->guard));
    assert_int_equal(w->cuts, 1);
}

struct caller {
    struct world *w;
    mrmr_err err;
};

static void *call(void *arg)
{
    struct caller *caller = arg;
    struct drv_stat stat;
    caller->err = drv_stat(caller->w->guard, "folder", &stat);
    return NULL;
}

/* Many wait for a drive that hangs: all are answered after one deadline, and the next at once. */
static void test_hangs(void **state)
{
    enum { CALLERS = 20 };
    struct world *w = *state;
    struct caller caller[CALLERS];
    pthread_t thread[CALLERS];
    struct drv_stat stat;
    put(w);
    delay(w, DRV_FAULT_STAT, 3000 * ms);
    int64_t start = mrmr_clock_monotonic();
    for (unsigned i = 0; i < CALLERS; i++) {
        caller[i].w = w;
        assert_int_equal(pthread_create(&thread[i], NULL, call, &caller[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(thread[i], NULL);
        assert_true(caller[i].err == MRMR_TIMEOUT || caller[i].err == MRMR_OFFLINE);
    }
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    assert_true(mrmr_clock_monotonic() - start < 2900 * ms);
    assert_int_equal(w->cuts, 1);
    assert_in_range(drv_guard_stuck(w->guard), 1, 4);
    /* The drive in its place does not wait for what hangs in the one before. */
    drv_fault_clear(w->fault);
    put(w);
    assert_ok(drv_stat(w->guard, "folder", &stat));
}

/* A list may take longer than the deadline, as long as it goes on. */
static void test_long_list(void **state)
{
    struct world *w = *state;
    unsigned n = 0;
    put(w);
    delay(w, DRV_FAULT_LIST, 20 * ms);
    assert_ok(drv_list(w->guard, "folder", count, &n));
    assert_int_equal(n, 10);
    drv_fault_clear(w->fault);
    delay(w, DRV_FAULT_LIST, 2000 * ms);
    assert_int_equal(drv_list(w->guard, "folder", count, &n), MRMR_TIMEOUT);
    assert_int_equal(n, 10); /* nothing of what comes late */
}

/* The buffer of a read that was given up is the caller's again. */
static void test_late_read(void **state)
{
    struct world *w = *state;
    struct drv_file *file = NULL;
    size_t got = 0;
    put(w);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &file));
    delay(w, DRV_FAULT_FILE_READ, 600 * ms);
    char *buf = malloc(10);
    assert_int_equal(drv_file_read(file, 0, buf, 10, &got), MRMR_TIMEOUT);
    assert_int_equal(drv_guard_late(w->guard), 0); /* it changes nothing */
    free(buf);
    drv_file_close(file);
    while (drv_guard_stuck(w->guard))
        pause_a_while();
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* What is closed is closed soon, though nobody waits for it and nothing else happens: much at once, one
 * alone, and what was closed just before the drive is cut off. */
static void test_closes(void **state)
{
    enum { FILES = 200 };
    struct world *w = *state;
    struct drv_file *file[FILES];
    struct drv *local;
    char root[] = "/tmp/mrmr-guard-XXXXXX";
    assert_non_null(mkdtemp(root));
    assert_ok(drv_open(root, &local));
    assert_ok(drv_guard_put(w->guard, local));
    assert_ok(drv_file_open(w->guard, "f", CREATE, 0600, &file[0]));
    drv_file_close(file[0]);
    assert_ok(drv_file_open(w->guard, "f", DRV_OPEN_READ, 0, &file[0]));
    const unsigned before = descriptors();
    for (unsigned turn = 0; turn < 3; turn++) {
        const unsigned n = turn == 1 ? 2 : FILES;
        for (unsigned i = 1; i < n; i++)
            assert_ok(drv_file_open(w->guard, "f", DRV_OPEN_READ, 0, &file[i]));
        for (unsigned i = 1; i < n; i++)
            drv_file_close(file[i]);
        if (turn == 2)
            drv_guard_cut(w->guard, MRMR_OFFLINE);
        while (descriptors() > before) /* the test's time limit ends it */
            pause_a_while();
    }
    drv_file_close(file[0]);
    char path[64];
    snprintf(path, sizeof path, "%s/f", root);
    unlink(path);
    rmdir(root);
}

/* A drive whose files are on this system, behind the faults. */
static void put_local(struct world *w, struct drv *guard, const char *root)
{
    struct drv *local = NULL, *faulty = NULL;
    assert_ok(drv_open(root, &local));
    assert_ok(drv_fault_wrap(local, w->fault, &faulty));
    assert_ok(drv_guard_put(guard, faulty));
}

struct hang {
    struct drv_file *first; /* closed by what hangs, in its first moment; NULL: none */
    atomic_bool begun, over;
};

static void hang(void *arg, enum drv_fault_op op, const char *path)
{
    struct hang *hang = arg;
    (void)op, (void)path;
    drv_file_close(hang->first);
    hang->begun = true;
    while (!hang->over)
        pause_a_while();
}

/* What is closed does not wait for an op that takes long, or hangs: not if it was closed in the first
 * moment of that, nor later, nor when the drive has been cut off for it. */
static void test_closes_beside_a_long_op(void **state)
{
    enum { FIRST, LATER, CUT_OFF, MOMENTS };
    struct world *w = *state;
    char root[] = "/tmp/mrmr-guard-XXXXXX", path[64];
    const struct drv_guard_options options = {
        .threads = 4, .deadline = 1000 * ms, .cut = cut, .arg = w};
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/f", root);
    for (unsigned moment = FIRST; moment < MOMENTS; moment++) {
        struct drv *guard = NULL;
        struct drv_file *file = NULL;
        struct hang long_one = {.over = false};
        struct world there = {.fault = w->fault};
        struct caller caller = {.w = &there};
        pthread_t thread;
        const struct drv_fault_rule rule = {
            .ops = DRV_FAULT_STAT, .action = DRV_FAULT_HOOK, .hook = hang, .arg = &long_one};
        assert_ok(drv_guard_create(&options, &guard));
        put_local(w, guard, root);
        there.guard = guard;
        const unsigned before = descriptors();
        assert_ok(drv_file_open(guard, "f", CREATE, 0600, &file));
        if (moment == FIRST)
            long_one.first = mrmr_steal(file);
        assert_ok(drv_fault_add(w->fault, &rule, NULL));
        assert_int_equal(pthread_create(&thread, NULL, call, &caller), 0);
        while (!long_one.begun)
            pause_a_while();
        const int64_t begun = mrmr_clock_monotonic();
        while (moment == LATER && mrmr_clock_monotonic() < begun + 10 * ms)
            pause_a_while();
        while (moment == CUT_OFF && drv_guard_serves(guard))
            pause_a_while();
        drv_file_close(file);
        while (descriptors() > before) { /* who waits for the op is told after its deadline */
            assert_true(moment == CUT_OFF || drv_guard_serves(guard));
            pause_a_while();
        }
        long_one.over = true;
        pthread_join(thread, NULL);
        assert_int_equal(caller.err == MRMR_TIMEOUT, moment == CUT_OFF);
        while (drv_guard_stuck(guard))
            pause_a_while();
        drv_fault_clear(w->fault);
        drv_close(guard);
        unlink(path);
    }
    rmdir(root);
}

/* A drive of nothing but files that take long to close. */
static void shut(struct drv *drv)
{
    free(drv);
}

static mrmr_err shut_info(struct drv *drv, struct drv_info *ret_info)
{
    (void)drv;
    *ret_info = (struct drv_info){.caps = 0};
    return MRMR_OK;
}

static mrmr_err shut_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    (void)path, (void)flags, (void)mode;
    struct drv_file *file = calloc(1, sizeof *file);
    assert_non_null(file);
    file->drv = drv;
    *ret_file = file;
    return MRMR_OK;
}

static void shut_close(struct drv_file *file)
{
    const int64_t until = mrmr_clock_monotonic() + 150 * ms;
    while (mrmr_clock_monotonic() < until)
        pause_a_while();
    free(file);
}

static mrmr_err shut_is_written(struct drv_file *file, bool *ret_written)
{
    (void)file;
    const int64_t until = mrmr_clock_monotonic() + 100 * ms;
    while (mrmr_clock_monotonic() < until)
        pause_a_while();
    *ret_written = true;
    return MRMR_OK;
}

/* Whoever asks whether a file is written does not have the drive cut off because many are being closed,
 * each of them in time; nor does he wait for all. */
static void test_asks_behind_slow_closes(void **state)
{
    enum { FILES = 5 };
    static const struct drv_ops ops = {.scheme = "shut",
        .close = shut,
        .info = shut_info,
        .file_open = shut_open,
        .file_close = shut_close,
        .file_is_written = shut_is_written};
    struct world *w = *state;
    struct drv *drv = calloc(1, sizeof *drv), *guard = NULL;
    struct drv_file *asked = NULL, *file[FILES];
    bool written = false;
    const struct drv_guard_options options = {
        .threads = 1, .deadline = 200 * ms, .cut = cut, .arg = w};
    assert_non_null(drv);
    drv->ops = &ops;
    assert_ok(drv_guard_create(&options, &guard));
    assert_ok(drv_guard_put(guard, drv));
    assert_ok(drv_file_open(guard, "asked", DRV_OPEN_READ, 0, &asked));
    for (unsigned i = 0; i < FILES; i++)
        assert_ok(drv_file_open(guard, "f", DRV_OPEN_READ, 0, &file[i]));
    for (unsigned i = 0; i < FILES; i++)
        drv_file_close(file[i]);
    const int64_t start = mrmr_clock_monotonic();
    assert_ok(drv_file_is_written(asked, &written));
    assert_true(mrmr_clock_monotonic() - start < 5 * 150 * ms);
    assert_true(written);
    assert_int_equal(w->cuts, 0);
    assert_true(drv_guard_serves(guard));
    drv_file_close(asked);
    drv_close(guard);
}

/* An open that was given up leaves no file open: teardown's sanitizer run would tell. */
static void test_late_open(void **state)
{
    struct world *w = *state;
    struct drv_file *file = NULL;
    put(w);
    delay(w, DRV_FAULT_FILE_OPEN, 600 * ms);
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

static mrmr_err late_write(struct world *w)
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

static mrmr_err late_rename(struct world *w)
{
    char *from = fleeting("folder/d"), *to = fleeting("folder/e");
    mrmr_err err = drv_rename(w->guard, from, to, DRV_RENAME_REPLACE);
    free(from);
    free(to);
    return err;
}

static mrmr_err late_xattr(struct world *w)
{
    char *path = fleeting("folder"), *name = fleeting("user.y"), *value = fleeting("late");
    mrmr_err err = drv_xattr_set(w->guard, path, name, value, 4);
    memset(value, 'X', 4);
    free(path);
    free(name);
    free(value);
    return err;
}

static mrmr_err late_attr(struct world *w)
{
    struct drv_stat *attr = calloc(1, sizeof *attr);
    assert_non_null(attr);
    attr->mode = 0604;
    mrmr_err err = drv_set_attr(w->guard, "folder/f", DRV_ATTR_MODE, attr);
    attr->mode = 0;
    free(attr);
    return err;
}

static mrmr_err late_symlink(struct world *w)
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
    struct world *w = *state;
    static mrmr_err (*const changes[])(struct world *) = {
        late_write, late_rename, late_xattr, late_attr, late_symlink};
    const unsigned ops = DRV_FAULT_FILE_WRITE | DRV_FAULT_RENAME | DRV_FAULT_XATTR_SET |
                         DRV_FAULT_SET_ATTR | DRV_FAULT_SYMLINK;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT, target = MRMR_BYTES_INIT;
    struct drv_stat stat;
    bool found = false;
    delay(w, ops, 600 * ms);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        put(w);
        assert_int_equal(changes[i](w), MRMR_TIMEOUT);
        assert_true(drv_guard_late(w->guard) > 0); /* though nobody holds for it */
        while (drv_guard_stuck(w->guard))
            pause_a_while();
        assert_int_equal(drv_guard_late(w->guard), 0);
    }
    while (drv_guard_stuck(w->guard))
        pause_a_while();
    drv_fault_clear(w->fault);
    put(w);
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

static mrmr_err create_open(struct world *w)
{
    struct drv_file *file = NULL;
    mrmr_err err = drv_file_open(w->guard, "new", CREATE, 0600, &file);
    assert_null(file);
    return err;
}

static mrmr_err create_make(struct world *w)
{
    struct drv_named named = {.file = NULL};
    mrmr_err err = drv_file_make(w->guard, "new", 0600, &named);
    assert_null(named.file);
    return err;
}

static void removing(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    (void)op, (void)path;
    atomic_fetch_add(&w->removals, drv_guard_late(w->guard));
    pause_a_while();
}

/* A file that was made, but too late, is closed and removed: whoever wanted it was told that it was
 * not made. The op is late until that has happened, so that the drive is away meanwhile. */
static void test_late_create(void **state)
{
    struct world *w = *state;
    static mrmr_err (*const creates[])(struct world *) = {create_open, create_make};
    struct drv *raw = NULL;
    struct drv_stat stat;
    assert_ok(drv_open("mem://guarded?size=64M", &raw));
    for (unsigned i = 0; i < sizeof creates / sizeof *creates; i++) {
        const struct drv_fault_rule rule = {
            .ops = DRV_FAULT_UNLINK, .action = DRV_FAULT_HOOK, .hook = removing, .arg = w};
        put(w);
        delay(w, DRV_FAULT_CREATE, 600 * ms);
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

struct syncer {
    struct drv *guard;
    mrmr_err err;
    atomic_uint *running;
};

static void *sync_one(void *arg)
{
    struct syncer *syncer = arg;
    struct drv_file *file = NULL;
    syncer->err = drv_file_open(syncer->guard, "folder/c", DRV_OPEN_WRITE, 0, &file);
    if (!syncer->err)
        syncer->err = drv_file_sync(file);
    drv_file_close(file);
    atomic_fetch_sub(syncer->running, 1);
    return NULL;
}

/* More syncs than threads, each of more than a deadline: all come back, and the others' ops need not
 * wait for them, or, with one thread, are patient. */
static void slow_syncs(struct world *w, struct drv *guard, unsigned syncs, int64_t patience)
{
    struct syncer syncer[8];
    pthread_t thread[8];
    struct drv_stat stat;
    atomic_uint running = syncs;
    mrmr_err err = MRMR_OK;
    int64_t longest = 0;
    for (unsigned i = 0; i < syncs; i++) {
        syncer[i] = (struct syncer){.guard = guard, .running = &running};
        assert_int_equal(pthread_create(&thread[i], NULL, sync_one, &syncer[i]), 0);
    }
    while (running && !err) {
        const int64_t start = mrmr_clock_monotonic();
        err = drv_stat(guard, "folder", &stat);
        const int64_t took = mrmr_clock_monotonic() - start;
        longest = took > longest ? took : longest;
        sched_yield();
    }
    for (unsigned i = 0; i < syncs; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(syncer[i].err, MRMR_OK);
    }
    assert_int_equal(err, MRMR_OK);
    assert_true(longest < patience);
    assert_int_equal(w->cuts, 0);
}

static void test_slow_syncs(void **state)
{
    struct world *w = *state;
    put(w);
    delay(w, DRV_FAULT_FILE_SYNC, 700 * ms);
    slow_syncs(w, w->guard, 6, 650 * ms);
}

static void test_one_thread_is_patient(void **state)
{
    struct world *w = *state;
    struct drv *guard = NULL, *inner = NULL, *faulty = NULL;
    const struct drv_guard_options options = {
        .threads = 1, .deadline = 200 * ms, .cut = cut, .arg = w};
    assert_ok(drv_guard_create(&options, &guard));
    assert_ok(drv_open("mem://guarded?size=64M", &inner));
    assert_ok(drv_fault_wrap(inner, w->fault, &faulty));
    assert_ok(drv_guard_put(guard, faulty));
    delay(w, DRV_FAULT_FILE_SYNC, 500 * ms);
    slow_syncs(w, guard, 2, 1900 * ms);
    drv_close(guard);
}

/* Ten deadlines are not for ever. */
static void test_sync_hangs(void **state)
{
    struct world *w = *state;
    struct drv_file *file = NULL;
    put(w);
    delay(w, DRV_FAULT_FILE_SYNC, 3000 * ms);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_WRITE, 0, &file));
    const int64_t start = mrmr_clock_monotonic();
    assert_int_equal(drv_file_sync(file), MRMR_TIMEOUT);
    assert_true(mrmr_clock_monotonic() - start >= 2000 * ms);
    assert_int_equal(w->cuts, 1);
    drv_file_close(file);
}

static void note_act(void *arg, enum drv_fault_op op, const char *path)
{
    const struct drv_act *act = drv_act_own();
    (void)op;
    (void)path;
    *(uint32_t *)arg = !act ? 0 : act->ngroups == 2 && act->groups[1] == 8 ? act->uid : UINT32_MAX;
}

/* The inner op runs as its caller's thread acts, and the next one on the same thread does not. */
static void test_acting(void **state)
{
    struct world *w = *state;
    const uint32_t groups[] = {7, 8};
    const struct drv_caller caller = {.uid = 1234, .gid = 5, .groups = groups, .ngroups = 2};
    uint32_t uid = 99;
    struct drv_stat stat;
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT | DRV_FAULT_MKDIR,
        .action = DRV_FAULT_HOOK,
        .hook = note_act,
        .arg = &uid};
    put(w);
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
    drv_act_as(&caller);
    assert_ok(drv_mkdir(w->guard, "new", 0700));
    assert_int_equal(uid, 1234);
    drv_act_as(NULL);
    for (unsigned i = 0; i < 20; i++) {
        uid = 99;
        assert_ok(drv_stat(w->guard, "new", &stat));
        assert_int_equal(uid, 0);
    }
}

/* Files of a drive that was cut off do not mix with those of the one in its place. */
static void test_copy_across_a_cut(void **state)
{
    struct world *w = *state;
    struct drv_file *before = NULL, *after = NULL;
    uint64_t n = 0;
    put(w);
    assert_ok(drv_file_open(w->guard, "folder/c", DRV_OPEN_READ, 0, &before));
    put(w);
    assert_ok(drv_file_open(w->guard, "folder/d", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &after));
    assert_int_equal(drv_file_copy(before, 0, after, 0, 5, &n), MRMR_OFFLINE);
    assert_int_equal(drv_file_copy(after, 0, before, 0, 5, &n), MRMR_OFFLINE);
    assert_ok(drv_file_copy(after, 0, after, 10, 5, &n));
    assert_int_equal(n, 5);
    assert_true(drv_guard_serves(w->guard));
    drv_file_close(before);
    drv_file_close(after);
}

/* A drive that says it is gone is cut off; any other error is just passed on. */
static void test_errors(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    put(w);
    struct drv_fault_rule rule = {.ops = DRV_FAULT_STAT, .times = 1, .err = MRMR_IO};
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_IO);
    assert_ok(drv_stat(w->guard, "folder", &stat));
    assert_int_equal(w->cuts, 0);
    rule.err = MRMR_OFFLINE;
    assert_ok(drv_fault_add(w->fault, &rule, NULL));
    assert_int_equal(drv_stat(w->guard, "folder", &stat), MRMR_OFFLINE);
    assert_int_equal(w->cuts, 1);
    assert_false(drv_guard_serves(w->guard));
}

struct reader {
    struct world *w;
    atomic_bool stop;
    unsigned served;
};

static void *read_on(void *arg)
{
    struct reader *reader = arg;
    while (!reader->stop) {
        struct drv_file *file = NULL;
        char buf[10];
        size_t got;
        mrmr_err err = drv_file_open(reader->w->guard, "folder/c", DRV_OPEN_READ, 0, &file);
        if (!err)
            err = drv_file_read(file, 0, buf, sizeof buf, &got);
        assert_true(!err || err == MRMR_OFFLINE);
        if (!err)
            assert_memory_equal(buf, "some bytes", 10);
        reader->served += !err;
        drv_file_close(file);
    }
    return NULL;
}

/* Drives are cut off and put in while everyone reads. */
static void test_cut_while_reading(void **state)
{
    enum { READERS = 6, ROUNDS = 200 };
    struct world *w = *state;
    struct reader reader[READERS];
    pthread_t thread[READERS];
    put(w);
    for (unsigned i = 0; i < READERS; i++) {
        reader[i] = (struct reader){.w = w};
        assert_int_equal(pthread_create(&thread[i], NULL, read_on, &reader[i]), 0);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 3)
            drv_guard_cut(w->guard, MRMR_OFFLINE);
        sched_yield();
        put(w);
    }
    for (unsigned i = 0; i < READERS; i++) {
        reader[i].stop = true;
        pthread_join(thread[i], NULL);
    }
    struct drv_stat stat;
    assert_ok(drv_stat(w->guard, "folder", &stat));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forwards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closes_beside_a_long_op, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asks_behind_slow_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_create, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_syncs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_thread_is_patient, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sync_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_acting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy_across_a_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_while_reading, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
