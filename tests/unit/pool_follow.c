/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Following events: each is told once, from the last ones on; what was noted, too, which is told of before it is in the
 * catalog; and nothing of the drives is held meanwhile.
 */
#include "pool/events/noted.h"
#include "tests/unit/pool_drive_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { TEXTS = 64, DEADLINE_MS = 20000 };

struct told {
    size_t n;
    char text[TEXTS][64];
    int64_t id[TEXTS];
    const char *refused; /* an error is returned for it */
};

struct following {
    struct pool *pool; /* of who follows */
    struct pool_follow *follow;
    struct told told;
};

static mrmr_err take(const struct pool_event *event, void *arg)
{
    struct told *told = arg;
    if (told->refused && strcmp(told->refused, event->text) == 0)
        return mrmr_fail(MRMR_IO, NULL);
    assert_true(told->n < TEXTS);
    told->id[told->n] = event->id;
    snprintf(told->text[told->n++], sizeof told->text[0], "%s", event->text);
    return MRMR_OK;
}

static void happens(struct pool *pool, const char *text)
{
    pool_tell(pool, NULL, true, "test", NULL, "%s", text);
}

static struct following follow(struct world *w, int64_t after, size_t last)
{
    struct following f = {.told = {.n = 0}};
    assert_ok(pool_open(world_path(w, "pool"), POOL_CATALOG, "test", &f.pool));
    assert_ok(pool_follow_create(f.pool, after, last, &f.follow));
    return f;
}

static void leave(struct following *f)
{
    pool_follow_destroy(f->follow);
    pool_close(f->pool);
}

/* What is told of from the last look to this one, as "a b c". */
static const char *fresh(struct following *f)
{
    static char text[TEXTS * 64];
    text[0] = '\0';
    f->told.n = 0;
    assert_ok(pool_follow_look(f->follow, take, &f->told));
    for (size_t i = 0; i < f->told.n; i++)
        snprintf(
            text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", f->told.text[i]);
    return text;
}

static void test_each_once(void **state)
{
    struct world *w = *state;
    for (char name[] = "a"; name[0] <= 'e'; name[0]++)
        happens(w->pool, name);
    struct following f = follow(w, 0, 2), all = follow(w, 0, SIZE_MAX), none = follow(w, 0, 0);
    assert_string_equal(fresh(&f), "d e");
    assert_string_equal(fresh(&f), "");
    assert_string_equal(fresh(&all), "a b c d e");
    assert_string_equal(fresh(&none), "");
    const int64_t id = pool_follow_id(f.follow);
    happens(w->pool, "f");
    happens(w->pool, "f"); /* the same again is another one */
    assert_string_equal(fresh(&f), "f f");
    assert_string_equal(fresh(&f), "");
    assert_string_equal(fresh(&none), "f f");
    assert_int_equal(pool_follow_id(f.follow), id + 2);
    struct following later = follow(w, id, SIZE_MAX);
    assert_string_equal(fresh(&later), "f f");
    leave(&later);
    leave(&none);
    leave(&all);
    leave(&f);
}

/* A note is told at once; its way into the catalog is no news, whatever happens beside it. */
static void test_notes(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    happens(w->pool, "a");
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    happens(look, "noted-before");
    struct following f = follow(w, 0, 1), two = follow(w, 0, 2);
    assert_string_equal(fresh(&f), "noted-before");
    assert_string_equal(fresh(&two), "a noted-before");
    assert_int_equal(two.told.id[1], 0);
    happens(look, "noted");
    happens(w->pool, "b");
    assert_string_equal(fresh(&f), "b noted");
    assert_string_equal(fresh(&f), "");
    assert_ok(pool_noted_take(w->pool, NULL));
    happens(w->pool, "c");
    assert_string_equal(fresh(&f), "c");
    assert_string_equal(fresh(&two), "b noted c"); /* it saw them in the catalog first */
    assert_true(two.told.id[1] > 0);
    happens(look, "noted-after");
    assert_string_equal(fresh(&f), "noted-after");
    assert_ok(pool_noted_take(w->pool, NULL));
    assert_string_equal(fresh(&f), "");
    pool_close(look);
    leave(&two);
    leave(&f);
}

static void stands(struct pool *pool, const char *kind, const char *text)
{
    pool_tell(pool, NULL, true, kind, NULL, "%s", text);
}

/* What each sync finds again is told once, by whoever finds it, and again after it was over, or a day. */
static void test_what_stands(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    struct following f = follow(w, 0, 0);
    assert_string_equal(fresh(&f), "");
    for (unsigned i = 0; i < 3; i++)
        stands(w->pool, "stripe-waits", "one");
    stands(w->pool, "stripe-waits", "two");
    stands(w->pool, "lost", "one"); /* another kind */
    assert_string_equal(fresh(&f), "one two one");
    world_close(w); /* another process */
    world_open(w);
    stands(w->pool, "stripe-waits", "one");
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    stands(look, "stripe-waits", "two");
    stands(look, "stripe-waits", "three");
    assert_string_equal(fresh(&f), "three");
    assert_ok(pool_noted_take(w->pool, NULL));
    stands(w->pool, "stripe-waits", "three");
    assert_string_equal(fresh(&f), "");
    assert_int_equal(world_events(w, "stripe-waits", NULL), 3);
    stands(w->pool, "drive-returned", "back");
    stands(w->pool, "stripe-waits", "one");
    stands(w->pool, "stripe-waits", "one");
    assert_string_equal(fresh(&f), "back one");
    pool_close(look);
    leave(&f);
}

/* An event so many hours ago, as a process before this one told of it. */
static void told_before(struct world *w, const char *text, int64_t hours)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    struct meta_event event = {
        .time = mrmr_clock_real() - hours * 3600 * MRMR_NS_PER_S, .warning = true, .text = copy};
    snprintf(event.kind, sizeof event.kind, "lost");
    assert_ok(meta_event_add(w->pool->meta, &event));
}

static void test_what_stands_for_days(void **state)
{
    struct world *w = *state;
    told_before(w, "yesterday", 25);
    told_before(w, "today", 23);
    told_before(w, "to come", -25); /* the clock was wrong */
    stands(w->pool, "lost", "yesterday");
    stands(w->pool, "lost", "today");
    stands(w->pool, "lost", "to come");
    assert_int_equal(world_events(w, "lost", NULL), 5);
}

/* What could not be told of is told of the next time. */
static void test_who_cannot_take_it(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    struct following f = follow(w, 0, 0);
    assert_string_equal(fresh(&f), "");
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    happens(w->pool, "a");
    happens(w->pool, "b");
    happens(look, "noted");
    f.told.n = 0;
    f.told.refused = "b";
    assert_int_equal(pool_follow_look(f.follow, take, &f.told), MRMR_IO);
    assert_int_equal(f.told.n, 1);
    f.told.refused = "noted";
    f.told.n = 0;
    assert_int_equal(pool_follow_look(f.follow, take, &f.told), MRMR_IO);
    assert_int_equal(f.told.n, 1);
    assert_string_equal(f.told.text[0], "b");
    f.told.refused = NULL;
    assert_string_equal(fresh(&f), "noted");
    assert_string_equal(fresh(&f), "");
    pool_close(look);
    leave(&f);
}

static bool wakes(const struct following *f, int milliseconds)
{
    struct pollfd wait = {.fd = pool_follow_fd(f->follow), .events = POLLIN};
    return poll(&wait, 1, milliseconds) == 1;
}

static void test_it_wakes(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    struct following f = follow(w, 0, 0);
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    fresh(&f);
    fresh(&f); /* what the first may have caused */
    assert_false(wakes(&f, 0));
    happens(w->pool, "a");
    assert_true(wakes(&f, DEADLINE_MS));
    assert_string_equal(fresh(&f), "a");
    assert_false(wakes(&f, 0));
    for (unsigned i = 0; i < 2; i++) { /* a new file, and one that grows */
        happens(look, i ? "c" : "b");
        assert_true(wakes(&f, DEADLINE_MS));
        assert_string_equal(fresh(&f), i ? "c" : "b");
    }
    pool_close(look);
    leave(&f);
}

/* Whether this process has it open. */
static bool is_open(const char *path)
{
    DIR *fds = opendir("/proc/self/fd");
    char link[32], to[600];
    bool found = false;
    assert_non_null(fds);
    for (struct dirent *entry; (entry = readdir(fds));) {
        snprintf(link, sizeof link, "/proc/self/fd/%.16s", entry->d_name);
        const ssize_t n = readlink(link, to, sizeof to - 1);
        to[n > 0 ? n : 0] = '\0';
        found = found || strncmp(to, path, strlen(path)) == 0;
    }
    closedir(fds);
    return found;
}

static void test_drives_are_left_alone(void **state)
{
    struct world *w = *state;
    struct pool *look = NULL;
    world_add(w, "a");
    world_close(w);
    struct following f = follow(w, 0, SIZE_MAX);
    assert_true(strlen(fresh(&f)) > 0);
    assert_false(is_open(world_path(w, "a")));
    assert_ok(pool_open(world_path(w, "pool"), POOL_LOOK, "test", &look));
    assert_true(is_open(world_path(w, "a")));
    pool_close(look);
    assert_int_not_equal(pool_set(f.pool, "memory", "32M"), MRMR_OK);
    leave(&f);
}

static void test_another_catalog(void **state)
{
    struct world *w = *state;
    happens(w->pool, "a");
    world_close(w);
    struct following f = follow(w, 0, SIZE_MAX);
    assert_string_equal(fresh(&f), "a");
    world_copy(world_path(w, "pool"), world_path(w, "old"));
    assert_int_equal(
        rename(world_path(w, "old/catalog.sqlite"), world_path(w, "pool/catalog.sqlite")), 0);
    expect_failure(
        pool_follow_look(f.follow, take, &f.told), MRMR_CHANGED, "pool", "replaced", "begin anew");
    leave(&f);
}

int main(void)
{
#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_each_once),
        WORLD_TEST(test_notes),
        WORLD_TEST(test_what_stands),
        WORLD_TEST(test_what_stands_for_days),
        WORLD_TEST(test_who_cannot_take_it),
        WORLD_TEST(test_it_wakes),
        WORLD_TEST(test_drives_are_left_alone),
        WORLD_TEST(test_another_catalog),
    };
    return cmocka_run_group_tests_name("pool_follow", tests, NULL, NULL);
}
