/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fault driver: each action, when a rule is due, what it matches, and that a run of "fail the
 * N-th call for N = 0, 1, …" meets every call once and ends clean.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "drivers/fault.h"
#include "drivers/mem.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define assert_ok(expr) assert_int_equal(expr, MRMR_OK)
#define RULE(...) (&(struct drv_fault_rule){__VA_ARGS__})

static const unsigned CREATE = DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE;

struct world {
    struct drv_fault *fault;
    struct drv *drv;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct drv *inner = NULL;
    assert_non_null(w);
    assert_ok(drv_fault_create(&w->fault));
    assert_ok(drv_open("mem://inner?size=64M", &inner));
    assert_ok(drv_fault_wrap(inner, w->fault, &w->drv));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    drv_fault_destroy(w->fault);
    drv_close(w->drv);
    drv_mem_reset_all();
    free(w);
    return 0;
}

static mrmr_err put(struct drv *drv, const char *path, const char *text)
{
    struct drv_file *file = NULL;
    mrmr_err err = drv_file_open(drv, path, CREATE, 0600, &file);
    if (!err)
        err = drv_file_write(file, 0, text, strlen(text));
    drv_file_close(file);
    return err;
}

static void assert_text(struct drv *drv, const char *path, const char *text)
{
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(drv_read_all(drv, path, 1 << 20, &b));
    assert_int_equal(b.size, strlen(text));
    assert_string_equal(b.data ? b.data : "", text);
}

/* --- when a rule is due --- */

static void errors_come_when_due(void **state)
{
    struct world *w = *state;
    struct drv_stat stat = {.size = 4711};
    unsigned id;
    assert_ok(put(w->drv, "f", "text"));
    assert_ok(drv_fault_add(
        w->fault, RULE(.ops = DRV_FAULT_STAT, .after = 2, .times = 3, .err = MRMR_IO), &id));
    for (int i = 0; i < 10; i++) {
        mrmr_err err = drv_stat(w->drv, "f", &stat);
        assert_int_equal(err, i >= 2 && i < 5 ? MRMR_IO : MRMR_OK);
        if (err) {
            assert_string_equal(mrmr_story_get()->path, "f");
            assert_string_equal(mrmr_story_get()->text, "injected fault");
        }
    }
    assert_int_equal(drv_fault_hits(w->fault, id), 3);
    assert_int_equal(drv_fault_calls(w->fault, DRV_FAULT_STAT), 10);
    drv_fault_remove(w->fault, id);
    assert_int_equal(drv_fault_hits(w->fault, id), 0);
    /* For good, until it is cleared; outputs stay untouched. */
    stat.size = 4711;
    assert_ok(drv_fault_add(w->fault, RULE(.ops = DRV_FAULT_STAT, .err = MRMR_OFFLINE), NULL));
    for (int i = 0; i < 5; i++)
        assert_int_equal(drv_stat(w->drv, "f", &stat), MRMR_OFFLINE);
    assert_int_equal(stat.size, 4711);
    drv_fault_clear(w->fault);
    assert_ok(drv_stat(w->drv, "f", &stat));
}

static void paths_select(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    assert_ok(drv_mkdir(w->drv, "d", 0755));
    assert_ok(put(w->drv, "d/one", "1"));
    assert_ok(put(w->drv, "d/two", "2"));
    assert_ok(drv_fault_add(w->fault, RULE(.prefix = "d/", .part = "wo", .err = MRMR_IO), NULL));
    assert_ok(drv_stat(w->drv, "d/one", &stat));
    assert_ok(drv_stat(w->drv, "d", &stat));
    assert_int_equal(drv_stat(w->drv, "d/two", &stat), MRMR_IO);
    assert_int_equal(drv_rename(w->drv, "d/one", "d/two", 0), MRMR_IO); /* by either path */
    assert_int_equal(drv_rename(w->drv, "d/two", "d/one", 0), MRMR_IO);
    drv_fault_clear(w->fault);
    /* An open file goes by the path it was opened with. */
    struct drv_file *file = NULL;
    char byte;
    size_t got;
    assert_ok(drv_file_open(w->drv, "d/one", DRV_OPEN_READ, 0, &file));
    assert_ok(drv_rename(w->drv, "d/one", "d/three", 0));
    assert_ok(drv_fault_add(w->fault, RULE(.prefix = "d/one", .err = MRMR_IO), NULL));
    assert_int_equal(drv_file_read(file, 0, &byte, 1, &got), MRMR_IO);
    drv_file_close(file);
}

static void senseless_rules_are_refused(void **state)
{
    struct world *w = *state;
    assert_int_equal(drv_fault_add(w->fault, RULE(.action = DRV_FAULT_ERROR), NULL), MRMR_INVALID);
    assert_int_equal(drv_fault_add(w->fault, RULE(.action = DRV_FAULT_HOOK), NULL), MRMR_INVALID);
    assert_int_equal(
        drv_fault_add(w->fault, RULE(.action = DRV_FAULT_FLIP, .late = true), NULL), MRMR_INVALID);
    assert_int_equal(drv_fault_add(w->fault, RULE(.action = 99), NULL), MRMR_INVALID);
}

/* --- actions --- */

static void a_late_error_comes_after_the_deed(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    struct drv_file *file = NULL;
    assert_ok(drv_fault_add(
        w->fault, RULE(.ops = DRV_FAULT_CHANGES, .late = true, .err = MRMR_TIMEOUT), NULL));
    assert_int_equal(drv_mkdir(w->drv, "d", 0755), MRMR_TIMEOUT);
    assert_ok(drv_stat(w->drv, "d", &stat));
    assert_int_equal(drv_file_open(w->drv, "f", CREATE, 0600, &file), MRMR_TIMEOUT);
    assert_null(file);
    assert_ok(drv_stat(w->drv, "f", &stat));
    assert_int_equal(
        drv_unlink(w->drv, "none"), MRMR_ABSENT); /* the deed's own error comes first */
}

static void short_reads(void **state)
{
    struct world *w = *state;
    char buf[8] = "........";
    size_t got = 99;
    struct drv_file *file = NULL;
    unsigned id;
    assert_ok(put(w->drv, "f", "12345678"));
    assert_ok(drv_file_open(w->drv, "f", DRV_OPEN_READ, 0, &file));
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_FILE_READ, .action = DRV_FAULT_SHORT, .bytes = 3, .err = MRMR_IO),
        &id));
    assert_int_equal(drv_file_read(file, 0, buf, 8, &got), MRMR_IO);
    assert_int_equal(got, 3);
    assert_memory_equal(buf, "123.....", 8);
    drv_fault_remove(w->fault, id);
    assert_ok(drv_fault_add(
        w->fault, RULE(.ops = DRV_FAULT_FILE_READ, .action = DRV_FAULT_SHORT, .bytes = 3), NULL));
    assert_ok(drv_file_read(file, 2, buf, 4, &got));
    assert_int_equal(got, 3);
    assert_int_equal(drv_file_read_exact(file, 0, buf, 8), MRMR_TRUNCATED);
    drv_file_close(file);
}

static void short_writes(void **state)
{
    struct world *w = *state;
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_FILE_WRITE, .times = 1, .action = DRV_FAULT_SHORT, .bytes = 3,
            .err = MRMR_IO),
        NULL));
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_FILE_WRITE, .times = 1, .action = DRV_FAULT_SHORT, .bytes = 2),
        NULL));
    assert_int_equal(put(w->drv, "f", "12345678"), MRMR_IO);
    assert_text(w->drv, "f", "123");
    assert_ok(put(w->drv, "g", "12345678")); /* a lying medium */
    assert_text(w->drv, "g", "12");
    assert_ok(put(w->drv, "h", "12345678"));
    assert_text(w->drv, "h", "12345678");
}

static mrmr_err count(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name;
    (void)stat;
    ++*(unsigned *)arg;
    return err;
}

static void short_lists(void **state)
{
    struct world *w = *state;
    unsigned n = 0;
    assert_ok(put(w->drv, "a", ""));
    assert_ok(put(w->drv, "b", ""));
    assert_ok(put(w->drv, "c", ""));
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_LIST, .times = 1, .action = DRV_FAULT_SHORT, .bytes = 2,
            .err = MRMR_IO),
        NULL));
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_LIST, .times = 1, .action = DRV_FAULT_SHORT, .bytes = 1), NULL));
    assert_int_equal(drv_list(w->drv, "", count, &n), MRMR_IO);
    assert_int_equal(n, 2);
    n = 0;
    assert_ok(drv_list(w->drv, "", count, &n));
    assert_int_equal(n, 1);
    n = 0;
    assert_ok(drv_list(w->drv, "", count, &n));
    assert_int_equal(n, 3);
}

static void flipped_bytes(void **state)
{
    struct world *w = *state;
    assert_ok(put(w->drv, "f", "text"));
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_FILE_READ, .times = 1, .action = DRV_FAULT_FLIP, .bytes = 5,
            .mask = 'e' ^ 'a'),
        NULL));
    assert_text(w->drv, "f", "taxt");
    assert_text(w->drv, "f", "text"); /* the medium itself is well */
}

static void delays(void **state)
{
    struct world *w = *state;
    struct drv_stat stat;
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_STAT, .action = DRV_FAULT_DELAY, .delay_ns = 20000000), NULL));
    assert_ok(
        drv_fault_add(w->fault, RULE(.ops = DRV_FAULT_STAT, .times = 1, .err = MRMR_IO), NULL));
    int64_t start = mrmr_clock_monotonic();
    assert_int_equal(
        drv_stat(w->drv, "", &stat), MRMR_IO); /* waits, and the next rule still acts */
    assert_true(mrmr_clock_monotonic() - start >= 20000000);
}

static void a_full_drive(void **state)
{
    struct world *w = *state;
    struct drv_space space;
    struct drv_stat stat;
    struct drv_file *file = NULL;
    assert_ok(drv_mkdir(w->drv, "d", 0755));
    assert_ok(drv_fault_add(w->fault, RULE(.action = DRV_FAULT_FULL, .bytes = 10), NULL));
    assert_ok(put(w->drv, "a", "123456"));
    assert_ok(drv_space(w->drv, &space));
    assert_int_equal(space.avail, 4);
    assert_int_equal(put(w->drv, "b", "123456"), MRMR_SPACE);
    assert_text(w->drv, "b", "1234"); /* what fitted was written */
    assert_int_equal(put(w->drv, "c", "x"), MRMR_SPACE);
    assert_int_equal(drv_stat(w->drv, "c", &stat), MRMR_ABSENT);
    assert_int_equal(drv_mkdir(w->drv, "e", 0755), MRMR_SPACE);
    assert_ok(drv_file_open(w->drv, "a", DRV_OPEN_WRITE, 0, &file));
    assert_int_equal(drv_file_allocate(file, 100), MRMR_SPACE);
    drv_file_close(file);
    assert_ok(drv_unlink(w->drv, "a"));
    assert_ok(drv_rename(w->drv, "b", "d/b", 0));
    assert_ok(drv_space(w->drv, &space));
    assert_int_equal(space.avail, 0);
    drv_fault_clear(w->fault);
    assert_ok(put(w->drv, "c", "x"));
}

/* The ops on parts of open files and on files without a name. */
static void parts_of_open_files(void **state)
{
    struct world *w = *state;
    struct drv_file *from = NULL, *to = NULL, *unnamed = NULL;
    const struct drv_stat attr = {.mode = 0640};
    uint64_t n = 99;
    assert_ok(drv_file_open(w->drv, "from", CREATE, 0600, &from));
    assert_ok(drv_file_open(w->drv, "to", CREATE, 0600, &to));
    assert_ok(drv_file_write(from, 0, "0123456789", 10));
    static const struct drv_fault_rule rules[] = {
        {.ops = DRV_FAULT_FILE_RANGE, .part = "to", .err = MRMR_IO},
        {.ops = DRV_FAULT_FILE_COPY, .part = "to", .err = MRMR_IO},
        {.ops = DRV_FAULT_CLONE, .part = "to", .err = MRMR_IO},
        {.ops = DRV_FAULT_SET_ATTR, .part = "to", .err = MRMR_IO},
        {.ops = DRV_FAULT_LINK, .part = "named", .err = MRMR_IO},
        {.ops = DRV_FAULT_CREATE, .times = 1, .err = MRMR_IO},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        assert_ok(drv_fault_add(w->fault, &rules[i], NULL));
    assert_int_equal(drv_file_range(to, DRV_RANGE_ALLOCATE, 0, 10), MRMR_IO);
    assert_int_equal(drv_file_copy(from, 0, to, 0, 10, &n), MRMR_IO);
    assert_int_equal(n, 99);
    assert_int_equal(drv_file_clone_range(from, 0, to, 0, 0), MRMR_IO);
    assert_int_equal(drv_file_set_attr(to, DRV_ATTR_MODE, &attr), MRMR_IO);
    assert_int_equal(drv_file_open_unnamed(w->drv, "", DRV_OPEN_WRITE, 0600, &unnamed), MRMR_IO);
    assert_ok(drv_file_open_unnamed(w->drv, "", DRV_OPEN_WRITE, 0600, &unnamed));
    assert_int_equal(drv_file_link(unnamed, "named"), MRMR_IO);
    assert_text(w->drv, "to", "");
    drv_fault_clear(w->fault);
    /* A copy that comes short, and a drive without room. */
    assert_ok(drv_fault_add(
        w->fault, RULE(.ops = DRV_FAULT_FILE_COPY, .action = DRV_FAULT_SHORT, .bytes = 4), NULL));
    assert_ok(drv_file_copy(from, 2, to, 0, 8, &n));
    assert_int_equal(n, 4);
    assert_text(w->drv, "to", "2345");
    drv_fault_clear(w->fault);
    assert_ok(drv_fault_add(w->fault, RULE(.action = DRV_FAULT_FULL, .bytes = 5), NULL));
    assert_int_equal(drv_file_copy(from, 0, to, 0, 10, &n), MRMR_SPACE);
    assert_int_equal(drv_file_range(to, DRV_RANGE_ALLOCATE, 0, 10), MRMR_SPACE);
    assert_ok(drv_file_range(to, DRV_RANGE_PUNCH, 0, 10));
    assert_ok(drv_file_copy(from, 0, to, 0, 5, &n));
    assert_int_equal(drv_file_link(unnamed, "named"), MRMR_SPACE);
    drv_fault_clear(w->fault);
    assert_ok(drv_file_link(unnamed, "named"));
    assert_text(w->drv, "named", "");
    drv_file_close(unnamed);
    drv_file_close(from);
    drv_file_close(to);
}

struct hooked {
    struct world *w;
    unsigned calls;
    enum drv_fault_op op;
    char path[32];
    bool file_was_there;
};

/* Hooks may use the drive they are called from. */
static void hook(void *arg, enum drv_fault_op op, const char *path)
{
    struct hooked *h = arg;
    struct drv_stat stat;
    h->calls++;
    h->op = op;
    snprintf(h->path, sizeof h->path, "%s", path);
    h->file_was_there = drv_stat(h->w->drv, path, &stat) == MRMR_OK;
}

static void hooks_run_before_or_after(void **state)
{
    struct world *w = *state;
    struct hooked before = {.w = w}, after = {.w = w};
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_CREATE, .action = DRV_FAULT_HOOK, .hook = hook, .arg = &before),
        NULL));
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_CREATE, .action = DRV_FAULT_HOOK, .hook = hook, .arg = &after,
            .late = true),
        NULL));
    assert_ok(put(w->drv, "f", "x"));
    assert_int_equal(before.calls, 1);
    assert_int_equal(before.op, DRV_FAULT_CREATE);
    assert_string_equal(before.path, "f");
    assert_false(before.file_was_there);
    assert_int_equal(after.calls, 1);
    assert_true(after.file_was_there);
    assert_int_equal(put(w->drv, "f", "x"), MRMR_EXISTS);
    assert_int_equal(before.calls, 2);
    assert_int_equal(after.calls, 1); /* late ones follow success only */
}

/* --- killing --- */

/* In a child: make a folder under a rule that kills; what is left is seen through a shared counter.
 */
static int killed_by(bool late, atomic_uint *reached)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct drv_fault *fault = NULL;
        struct drv *inner = NULL, *drv = NULL;
        struct drv_file *file = NULL;
        static const struct drv_fault_rule on_mkdir = {
            .ops = DRV_FAULT_MKDIR, .action = DRV_FAULT_KILL};
        struct drv_fault_rule rule = on_mkdir;
        rule.late = late;
        if (drv_fault_create(&fault) || drv_open("mem://killed", &inner) ||
            drv_fault_wrap(inner, fault, &drv) || drv_fault_add(fault, &rule, NULL) ||
            drv_file_open(drv, "f", CREATE, 0600, &file))
            _exit(1);
        atomic_store(reached, 1);
        drv_mkdir(drv, "d", 0755);
        atomic_store(reached, 2);
        _exit(0);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void kills_are_final(void **state)
{
    (void)state;
    atomic_uint *reached =
        mmap(NULL, sizeof *reached, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int late = 0; late < 2; late++) {
        atomic_store(reached, 0);
        assert_int_equal(killed_by(late, reached), SIGKILL);
        assert_int_equal(atomic_load(reached), 1);
    }
    munmap(reached, sizeof *reached);
}

/* --- every N-th call --- */

static mrmr_err job(struct drv *drv)
{
    MRMR_TRY(drv_mkdirs(drv, "a/b", 0755));
    MRMR_TRY(drv_replace(drv, "a/b/f", "text", 4, 0600));
    MRMR_TRY(drv_rename(drv, "a/b/f", "a/f", DRV_RENAME_REPLACE));
    return drv_sync_all(drv);
}

static void every_call_fails_once(void **state)
{
    struct world *w = *state;
    uint64_t calls = 0;
    assert_ok(job(w->drv));
    calls = drv_fault_calls(w->fault, DRV_FAULT_ALL);
    assert_int_equal(
        drv_fault_calls(w->fault, DRV_FAULT_LOOKS) + drv_fault_calls(w->fault, DRV_FAULT_CHANGES),
        calls);
    assert_true(calls >= 9);
    uint64_t n = 0, failed = 0;
    for (unsigned id; n < 100; n++) {
        drv_mem_reset("inner");
        struct drv *inner = NULL;
        drv_close(w->drv);
        assert_ok(drv_open("mem://inner", &inner));
        assert_ok(drv_fault_wrap(inner, w->fault, &w->drv));
        drv_fault_clear(w->fault);
        assert_ok(drv_fault_add(w->fault, RULE(.after = n, .times = 1, .err = MRMR_IO), &id));
        mrmr_err err = job(w->drv);
        assert_int_equal(err, drv_fault_hits(w->fault, id) ? MRMR_IO : MRMR_OK);
        failed += err != MRMR_OK;
        if (!err)
            break;
    }
    assert_int_equal(failed, calls);
    drv_fault_clear(w->fault);
    assert_text(w->drv, "a/f", "text");
}

/* --- fault:// --- */

static void served_by_uri(void **state)
{
    struct world *w = *state;
    struct drv *drv = NULL;
    struct drv_fault *second = NULL;
    assert_int_equal(drv_fault_serve(w->fault, "", "mem://x"), MRMR_INVALID);
    assert_ok(drv_fault_serve(w->fault, "d1", "mem://behind"));
    assert_int_equal(drv_fault_serve(w->fault, "d2", "mem://x"), MRMR_INVALID);
    assert_ok(drv_fault_create(&second));
    assert_int_equal(drv_fault_serve(second, "d1", "mem://x"), MRMR_EXISTS);
    assert_int_equal(drv_open("fault://none", &drv), MRMR_NO_DRIVE);
    assert_ok(drv_fault_add(
        w->fault, RULE(.ops = DRV_FAULT_OPEN, .times = 1, .err = MRMR_OFFLINE), NULL));
    assert_ok(drv_fault_add(w->fault,
        RULE(.ops = DRV_FAULT_OPEN, .times = 1, .late = true, .err = MRMR_TIMEOUT), NULL));
    assert_int_equal(drv_open("fault://d1", &drv), MRMR_OFFLINE);
    assert_int_equal(drv_open("fault://d1", &drv), MRMR_TIMEOUT);
    assert_null(drv);
    assert_ok(drv_open("fault://d1", &drv));
    assert_ok(put(drv, "f", "x"));
    drv_close(drv);
    struct drv *behind = NULL;
    assert_ok(drv_open("mem://behind", &behind));
    assert_text(behind, "f", "x");
    drv_close(behind);
    /* A destroyed handle serves no longer; an open drive goes on. */
    assert_ok(drv_fault_serve(second, "d2", "mem://behind"));
    assert_ok(drv_open("fault://d2", &drv));
    assert_ok(drv_fault_add(second, RULE(.err = MRMR_IO), NULL));
    drv_fault_destroy(second);
    assert_text(drv, "f", "x");
    drv_close(drv);
    assert_int_equal(drv_open("fault://d2", &drv), MRMR_NO_DRIVE);
}

/* --- threads --- */

static void *stat_often(void *arg)
{
    struct world *w = arg;
    uintptr_t failed = 0;
    struct drv_stat stat;
    for (int i = 0; i < 1000; i++)
        failed += drv_stat(w->drv, "", &stat) != MRMR_OK;
    return (void *)failed;
}

static void rules_count_across_threads(void **state)
{
    struct world *w = *state;
    pthread_t threads[4];
    uintptr_t failed = 0;
    assert_ok(drv_fault_add(
        w->fault, RULE(.ops = DRV_FAULT_STAT, .after = 500, .times = 1234, .err = MRMR_IO), NULL));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, stat_often, w), 0);
    for (int i = 0; i < 4; i++) {
        void *n;
        unsigned id;
        assert_ok(drv_fault_add(w->fault, RULE(.ops = DRV_FAULT_LIST, .err = MRMR_IO), &id));
        pthread_join(threads[i], &n);
        drv_fault_remove(w->fault, id);
        failed += (uintptr_t)n;
    }
    assert_int_equal(failed, 1234);
    assert_int_equal(drv_fault_calls(w->fault, DRV_FAULT_STAT), 4000);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(errors_come_when_due),
        TEST(paths_select),
        TEST(senseless_rules_are_refused),
        TEST(a_late_error_comes_after_the_deed),
        TEST(short_reads),
        TEST(short_writes),
        TEST(short_lists),
        TEST(flipped_bytes),
        TEST(delays),
        TEST(a_full_drive),
        TEST(parts_of_open_files),
        TEST(hooks_run_before_or_after),
        TEST(kills_are_final),
        TEST(every_call_fails_once),
        TEST(served_by_uri),
        TEST(rules_count_across_threads),
    };
    return cmocka_run_group_tests_name("drivers: fault", tests, NULL, NULL);
}
