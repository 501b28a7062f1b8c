/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Watching folders of a local drive: what is told of each change, with the right key; what is not
 * told any more; and that too much at once is said, not swallowed. The same with either source of
 * events: fanotify, which wants a right that is put down for the tests of inotify.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "drivers/driver.h"
#include "tests/support/elsewhere.h"
#include "tests/support/rights.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define assert_ok(expr) assert_int_equal(expr, MRMR_OK)

enum { TOLD_MOST = 4096 };

static bool with_fanotify; /* this run of the tests */

struct told {
    enum drv_event event;
    enum drv_who who;
    uint64_t key;
    char name[32];
};

struct world {
    char root[64];
    struct drv *drv;
    struct drv_watch *watch;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* Guarded by lock. */
    struct told told[TOLD_MOST];
    size_t n, taken;
    bool block, lost;
};

static void on_event(
    enum drv_event event, enum drv_who who, uint64_t key, const char *name, void *arg)
{
    struct world *w = arg;
    mrmr_locked(&w->lock);
    while (w->block)
        pthread_cond_wait(&w->more, &w->lock);
    w->lost = w->lost || event == DRV_EVENT_LOST;
    if (w->n < TOLD_MOST) {
        w->told[w->n] = (struct told){.event = event, .who = who, .key = key};
        snprintf(w->told[w->n].name, sizeof w->told->name, "%s", name ? name : "");
        w->n++;
    }
    pthread_cond_broadcast(&w->more);
}

/* This is told, after what was expected before; other things may be told in between. */
static void expect(struct world *w, enum drv_event event, uint64_t key, const char *name)
{
    struct timespec end = mrmr_clock_to_timespec(mrmr_clock_real() + 20 * MRMR_NS_PER_S);
    mrmr_locked(&w->lock);
    for (size_t i = w->taken;; i++) {
        while (i == w->n)
            if (pthread_cond_timedwait(&w->more, &w->lock, &end))
                fail_msg("never told: event %d, key %d, '%s'", (int)event, (int)key, name);
        if (w->told[i].event == event && w->told[i].key == key && !strcmp(w->told[i].name, name)) {
            w->taken = i + 1;
            return;
        }
    }
}

static void expect_nothing_of(struct world *w, const char *name)
{
    mrmr_locked(&w->lock);
    for (size_t i = 0; i < w->n; i++)
        assert_string_not_equal(w->told[i].name, name);
}

/* --- which source --- */

/* This process has a descriptor of this kind. */
static bool has_descriptor(const char *kind)
{
    char path[300], leads_to[64];
    bool has = false;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t n = readlink(path, leads_to, sizeof leads_to - 1);
        leads_to[n > 0 ? n : 0] = 0;
        has = has || strstr(leads_to, kind);
    }
    closedir(dir);
    return has;
}

static void watch_with_the_source(struct world *w)
{
    if (!with_fanotify && may_administer()) {
        assert_true(right_put(CAP_SYS_ADMIN, false));
        assert_ok(drv_watch_open(w->drv, on_event, w, &w->watch));
        assert_true(right_put(CAP_SYS_ADMIN, true));
    } else {
        assert_ok(drv_watch_open(w->drv, on_event, w, &w->watch));
    }
    assert_int_equal(has_descriptor("fanotify"), with_fanotify);
    assert_int_equal(has_descriptor("inotify"), !with_fanotify);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    strcpy(w->root, "/tmp/mrmr-watch-XXXXXX");
    assert_non_null(mkdtemp(w->root));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    assert_ok(drv_open(w->root, &w->drv));
    watch_with_the_source(w);
    assert_ok(drv_mkdir(w->drv, "a", 0755));
    assert_ok(drv_mkdir(w->drv, "a/b", 0755));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[96];
    drv_watch_close(w->watch);
    drv_close(w->drv);
    snprintf(command, sizeof command, "rm -rf %s", w->root);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void make(struct world *w, const char *path, const char *text)
{
    char whole[128];
    snprintf(whole, sizeof whole, "%s/%s", w->root, path);
    int fd = open(whole, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_each_change(void **state)
{
    struct world *w = *state;
    struct drv_stat attr = {.mode = 0600};
    assert_ok(drv_watch_add(w->watch, "", 1));
    assert_ok(drv_watch_add(w->watch, "a", 2));
    make(w, "one", "x");
    expect(w, DRV_EVENT_NAME, 1, "one");
    expect(w, DRV_EVENT_BYTES, 1, "one");
    make(w, "a/two", "");
    expect(w, DRV_EVENT_NAME, 2, "two");
    make(w, "a/two", "more");
    expect(w, DRV_EVENT_BYTES, 2, "two");
    assert_ok(drv_set_attr(w->drv, "a/two", DRV_ATTR_MODE, &attr));
    expect(w, DRV_EVENT_ATTRS, 2, "two");
    attr.mode = 0700;
    assert_ok(drv_set_attr(w->drv, "a", DRV_ATTR_MODE, &attr));
    expect(w, DRV_EVENT_ATTRS, 2, "");
    assert_ok(drv_rename(w->drv, "a/two", "three", DRV_RENAME_REPLACE));
    expect(w, DRV_EVENT_NAME, 2, "two");
    expect(w, DRV_EVENT_NAME, 1, "three");
    assert_ok(drv_unlink(w->drv, "three"));
    expect(w, DRV_EVENT_NAME, 1, "three");
    assert_ok(drv_mkdir(w->drv, "a/c", 0755));
    expect(w, DRV_EVENT_NAME, 2, "c");
}

/* What happens to a folder itself; a removed one ends its watch. */
static void test_the_folder_itself(void **state)
{
    struct world *w = *state;
    struct drv_stat attr = {.mode = 0700};
    assert_ok(drv_watch_add(w->watch, "a/b", 7));
    assert_ok(drv_set_attr(w->drv, "a/b", DRV_ATTR_MODE, &attr));
    expect(w, DRV_EVENT_ATTRS, 7, "");
    assert_ok(drv_rename(w->drv, "a/b", "moved", DRV_RENAME_REPLACE));
    expect(w, DRV_EVENT_MOVED, 7, "");
    make(w, "moved/x", ""); /* it is still watched, by its old key */
    expect(w, DRV_EVENT_NAME, 7, "x");
    assert_ok(drv_watch_add(w->watch, "moved", 8));
    make(w, "moved/y", "");
    expect(w, DRV_EVENT_NAME, 8, "y");
    drv_watch_remove(w->watch, 7); /* of nothing now: the folder is the newer key's */
    make(w, "moved/z", "");
    expect(w, DRV_EVENT_NAME, 8, "z");
    assert_ok(drv_unlink(w->drv, "moved/x"));
    assert_ok(drv_unlink(w->drv, "moved/y"));
    assert_ok(drv_unlink(w->drv, "moved/z"));
    assert_ok(drv_rmdir(w->drv, "moved"));
    expect(w, DRV_EVENT_END, 8, "");
    drv_watch_remove(w->watch, 8);
}

/* A key that is removed hears nothing more; one that goes to another folder hears of that. */
static void test_keys(void **state)
{
    struct world *w = *state;
    assert_ok(drv_watch_add(w->watch, "a", 1));
    assert_ok(drv_watch_add(w->watch, "", 2));
    drv_watch_remove(w->watch, 1);
    drv_watch_remove(w->watch, 99);
    make(w, "a/quiet", "");
    make(w, "told", "");
    expect(w, DRV_EVENT_NAME, 2, "told");
    expect_nothing_of(w, "quiet");
    assert_ok(drv_watch_add(w->watch, "a", 2)); /* not the root any more */
    make(w, "not told", "");
    make(w, "a/told too", "");
    expect(w, DRV_EVENT_NAME, 2, "told too");
    expect_nothing_of(w, "not told");
    struct drv_stat stat;
    assert_int_equal(drv_watch_add(w->watch, "none", 3), MRMR_ABSENT);
    assert_int_equal(drv_watch_add(w->watch, "told", 3), MRMR_NOT_DIR);
    assert_ok(drv_symlink(w->drv, "/tmp", "link"));
    assert_true(drv_watch_add(w->watch, "link", 3) != MRMR_OK); /* never out of the root */
    assert_ok(drv_stat(w->drv, "a", &stat));
}

/* Some hundreds of folders, so that the tables grow, each with its own key. */
static void test_many(void **state)
{
    enum { MANY = 500 };
    struct world *w = *state;
    char path[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "f%u", i);
        assert_ok(drv_mkdir(w->drv, path, 0755));
        assert_ok(drv_watch_add(w->watch, path, 1000 + i));
    }
    for (unsigned i = 0; i < MANY; i += 7) {
        snprintf(path, sizeof path, "f%u/x", i);
        make(w, path, "");
        expect(w, DRV_EVENT_NAME, 1000 + i, "x");
    }
}

/* While nobody takes events, more happens than the system keeps. */
static void test_too_much(void **state)
{
    struct world *w = *state;
    unsigned most = 16384;
    char path[32];
    FILE *limit = fopen(with_fanotify ? "/proc/sys/fs/fanotify/max_queued_events"
                                      : "/proc/sys/fs/inotify/max_queued_events",
        "r");
    if (limit && fscanf(limit, "%u", &most) != 1)
        most = 16384;
    if (limit)
        fclose(limit);
    assert_ok(drv_watch_add(w->watch, "a", 1));
    pthread_mutex_lock(&w->lock);
    w->block = true;
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < most + 8192; i++) {
        snprintf(path, sizeof path, "a/%u", i); /* what happens to one name may be one event */
        make(w, path, "");
        assert_ok(drv_unlink(w->drv, path));
    }
    pthread_mutex_lock(&w->lock);
    w->block = false;
    pthread_cond_broadcast(&w->more);
    struct timespec end = mrmr_clock_to_timespec(mrmr_clock_real() + 60 * MRMR_NS_PER_S);
    while (!w->lost)
        assert_int_equal(pthread_cond_timedwait(&w->more, &w->lock, &end), 0);
    pthread_mutex_unlock(&w->lock);
}

/* The last event of this name said who did it. */
static enum drv_who who_of(struct world *w, const char *name)
{
    enum drv_who who = DRV_WHO_UNKNOWN;
    mrmr_locked(&w->lock);
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->told[i].name, name) == 0)
            who = w->told[i].who;
    return who;
}

static void make_elsewhere(struct world *w, const char *path, const char *text)
{
    if (elsewhere()) {
        make(w, path, text);
        _exit(0);
    }
}

/* What we do is told apart from what others do to the same file, also if nobody reads of it in between. */
static void test_who(void **state)
{
    struct world *w = *state;
    const bool tells = w->watch->tells_who;
    assert_int_equal(tells, with_fanotify);
    assert_ok(drv_watch_add(w->watch, "a", 1));
    make_elsewhere(w, "a/theirs", "one");
    expect(w, DRV_EVENT_BYTES, 1, "theirs");
    assert_int_equal(who_of(w, "theirs"), tells ? DRV_WHO_OTHERS : DRV_WHO_UNKNOWN);
    make(w, "a/ours", "one");
    expect(w, DRV_EVENT_BYTES, 1, "ours");
    assert_int_equal(who_of(w, "ours"), tells ? DRV_WHO_US : DRV_WHO_UNKNOWN);
    make(w, "a/both", "one");
    make_elsewhere(w, "a/both", "two");
    make(w, "a/end", "");
    expect(w, DRV_EVENT_BYTES, 1, "end");
    assert_int_equal(who_of(w, "both"), tells ? DRV_WHO_OTHERS : DRV_WHO_UNKNOWN);
}

/* Nothing is told of what lies elsewhere, or where something was that is no more. */
static void test_others(void **state)
{
    struct world *w = *state;
    char around[160];
    assert_ok(drv_watch_add(w->watch, "a", 1));
    /* Outside of the root, in its file system, by the names of what is watched. */
    snprintf(around, sizeof around, "%s-around", w->root);
    assert_int_equal(mkdir(around, 0700), 0);
    strcat(around, "/a");
    assert_int_equal(mkdir(around, 0700), 0);
    strcat(around, "/outside");
    int fd = open(around, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    close(fd);
    make(w, "a/b/unwatched", "");
    make(w, "a/inside", "");
    expect(w, DRV_EVENT_NAME, 1, "inside");
    expect_nothing_of(w, "outside");
    expect_nothing_of(w, "unwatched");
    /* A folder that is made anew with the inode of one that was removed is another. */
    assert_ok(drv_watch_add(w->watch, "a/b", 2));
    assert_ok(drv_unlink(w->drv, "a/b/unwatched"));
    assert_ok(drv_rmdir(w->drv, "a/b"));
    assert_ok(drv_mkdir(w->drv, "a/b", 0755));
    make(w, "a/b/later", "");
    expect(w, DRV_EVENT_END, 2, "");
    make(w, "a/last", "");
    expect(w, DRV_EVENT_NAME, 1, "last");
    expect_nothing_of(w, "later");
    char command[200];
    snprintf(command, sizeof command, "rm -rf %s-around", w->root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_folder_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_much, setup, teardown),
    };
    int failed = cmocka_run_group_tests_name("inotify", tests, NULL, NULL);
    with_fanotify = may_administer();
    if (!with_fanotify)
        print_message("SKIPPED: fanotify: it takes CAP_SYS_ADMIN\n");
    else
        failed += cmocka_run_group_tests_name("fanotify", tests, NULL, NULL);
    return failed;
}
