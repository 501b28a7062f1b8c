/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The program that is run for each event, with real ones: what it is given, that they come one after the other, and that
 * one which fails, hangs, prints without end or is not there is told of once and in nobody's way.
 */
#include "tools/hook.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/support/skip.h"
#include "tools/hook_run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MS INT64_C(1000000)
enum { LINES = 64, PATIENCE_MS = 60000, LARGE = 1 << 16 };

struct world {
    char dir[100];
    struct hook *hook;
    char line[LINES][2100]; /* of the log */
    size_t lines;
};

/* --- means --- */

static void assert_ok(mrmr_err err)
{
    char text[1024];
    if (err)
        fail_msg("%s", mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

static void log_take(enum mrmr_log_level level, const char *line, void *arg)
{
    struct world *w = arg;
    assert_int_equal(level, MRMR_LOG_WARN);
    assert_true(w->lines < LINES);
    snprintf(w->line[w->lines++], sizeof w->line[0], "%s", line);
}

static size_t logged(const struct world *w, const char *words)
{
    size_t n = 0;
    for (size_t i = 0; i < w->lines; i++)
        n += strstr(w->line[i], words) != NULL;
    return n;
}

static const char *path(const struct world *w, const char *name)
{
    static char paths[4][200];
    static unsigned at;
    char *p = paths[at++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", w->dir, name);
    return p;
}

static void hook_of(struct world *w, struct hook_options options)
{
    options.pool = w->dir;
    assert_ok(hook_create(&options, &w->hook));
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const char *temp = getenv("TMPDIR");
    snprintf(w->dir, sizeof w->dir, "%s/mrmr-hook-XXXXXX", temp ? temp : "/tmp");
    if (!mkdtemp(w->dir))
        return -1;
    mrmr_log_set(log_take, w, MRMR_LOG_DEBUG);
    *state = w;
    return 0;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(name);
}

static int teardown(void **state)
{
    struct world *w = *state;
    hook_destroy(w->hook);
    mrmr_log_set(NULL, NULL, MRMR_LOG_WARN);
    nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

/* A script of this body, in the test's folder, whose name is $T there. */
static const char *script(const struct world *w, const char *name, const char *body)
{
    const char *at = path(w, name);
    char temp[220];
    snprintf(temp, sizeof temp, "%s~", at);
    FILE *f = fopen(temp, "we");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\nT='%s'\n%s\n", w->dir, body);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(temp, 0755), 0);
    assert_int_equal(rename(temp, at), 0);
    return at;
}

static size_t content(const struct world *w, const char *name, char *buf, size_t room)
{
    mrmr_autoclose int fd = open(path(w, name), O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, buf, room - 1);
    assert_true(n >= 0);
    buf[n] = '\0';
    return (size_t)n;
}

static const char *text_of(const struct world *w, const char *name)
{
    static char buf[LARGE];
    content(w, name, buf, sizeof buf);
    return buf;
}

static void happens(struct world *w, int64_t id, const char *kind)
{
    const struct pool_event event = {.id = id,
        .time = INT64_C(1764425102) * MRMR_NS_PER_S,
        .kind = kind,
        .drive = "",
        .text = "words"};
    assert_ok(hook_event(&event, w->hook));
}

/* As a loop would. */
static void turn(struct world *w)
{
    struct pollfd wait = {.fd = hook_fd(w->hook), .events = POLLIN};
    assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
    hook_step(w->hook);
}

static void until_idle(struct world *w)
{
    while (!hook_idle(w->hook))
        turn(w);
}

static void until_there(struct world *w, const char *name)
{
    struct pollfd wait = {.fd = hook_fd(w->hook), .events = POLLIN};
    const int64_t until = mrmr_clock_monotonic() + PATIENCE_MS * MS;
    while (access(path(w, name), F_OK) < 0) {
        assert_true(mrmr_clock_monotonic() < until);
        if (poll(&wait, 1, 1) == 1)
            hook_step(w->hook);
    }
}

/* Ended, whether or not somebody has waited for it. */
static bool is_over(const char *pid)
{
    char name[64], stat[512], state = 'Z';
    snprintf(name, sizeof name, "/proc/%d/stat", atoi(pid));
    assert_true(atoi(pid) > 1);
    FILE *f = fopen(name, "re");
    if (!f)
        return true;
    if (fgets(stat, sizeof stat, f) && strrchr(stat, ')'))
        state = strrchr(stat, ')')[2];
    fclose(f);
    return state == 'Z' || state == 'X';
}

/* What was killed ends a moment later. */
static void ends(const char *pid)
{
    const int64_t until = mrmr_clock_monotonic() + PATIENCE_MS * MS;
    while (!is_over(pid)) {
        assert_true(mrmr_clock_monotonic() < until);
        poll(NULL, 0, 1);
    }
}

/* --- what it is given --- */

/* The value in `env -0`, of n bytes; NULL: none. */
static const char *value_of(const char *environment, size_t n, const char *name)
{
    const size_t length = strlen(name);
    for (size_t at = 0; at < n; at += strlen(environment + at) + 1)
        if (strncmp(environment + at, name, length) == 0 && environment[at + length] == '=')
            return environment + at + length + 1;
    return NULL;
}

static void test_what_it_is_given(void **state)
{
    struct world *w = *state;
    static char environment[LARGE];
    char command[300];
    assert_int_equal(setenv("MRMR_TEST_SECRET", "x", 1), 0);
    snprintf(command, sizeof command, "  %s one\t two  ",
        script(w, "hook",
            "env -0 >$T/env; printf '<%s>' \"$@\" >$T/args; cat >$T/in; pwd >$T/cwd; ls "
            "/proc/$$/fd >$T/fds;"
            "ps -o pgid= -p $$ >$T/group 2>/dev/null; echo $$ >$T/pid; grep SigIgn /proc/$$/status "
            ">$T/ignored"));
    signal(SIGPIPE, SIG_IGN);
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(w->hook, command));
    const struct pool_event event = {.id = 42,
        .time = INT64_C(1764425102) * MRMR_NS_PER_S + 5,
        .kind = "drive-lost",
        .drive = "r\xff"
                 "d",
        .text = "a\nb \x1b[31m 'c' $(touch /x) \\ \xc3\xa4",
        .warning = true};
    assert_ok(hook_event(&event, w->hook));
    until_idle(w);
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(hook_counts(w->hook).well, 1);
    assert_int_equal(w->lines, 0);
    const size_t n = content(w, "env", environment, sizeof environment);
    assert_string_equal(value_of(environment, n, "MRMR_EVENT"), "drive-lost");
    assert_string_equal(value_of(environment, n, "MRMR_EVENT_ID"), "42");
    assert_string_equal(
        value_of(environment, n, "MRMR_EVENT_TIME"), "2025-11-29T14:05:02.000000005Z");
    assert_string_equal(value_of(environment, n, "MRMR_EVENT_DRIVE"), "r\\xffd");
    assert_string_equal(value_of(environment, n, "MRMR_EVENT_TEXT"),
        "a\\x0ab \\x1b[31m 'c' $(touch /x) \\\\ \xc3\xa4");
    assert_string_equal(value_of(environment, n, "MRMR_EVENT_WARNING"), "1");
    assert_string_equal(value_of(environment, n, "MRMR_POOL"), w->dir);
    assert_string_equal(value_of(environment, n, "PATH"), getenv("PATH"));
    assert_null(value_of(environment, n, "MRMR_TEST_SECRET"));
    assert_null(value_of(environment, n, "MRMR_SOURCE"));
    assert_string_equal(text_of(w, "args"), "<one><two>");
    assert_string_equal(text_of(w, "in"), "");
    assert_string_equal(text_of(w, "cwd"), "/\n");
    assert_int_equal(strtoull(text_of(w, "ignored") + 7, NULL, 16) >> (SIGPIPE - 1) & 1, 0);
    const int pid = atoi(text_of(w, "pid"));
    if (text_of(w, "group")[0])
        assert_int_equal(atoi(text_of(w, "group")), pid);
}

/* No descriptor of ours but the three, whatever was left open. */
static void test_no_descriptors(void **state)
{
    struct world *w = *state;
    mrmr_autoclose int left = open("/", O_RDONLY | O_DIRECTORY); /* without O_CLOEXEC */
    const int high = fcntl(left, F_DUPFD, 50);
    assert_true(high >= 50);
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(
        w->hook, script(w, "hook", "for f in /proc/$$/fd/*; do readlink $f; done >$T/fds")));
    happens(w, 1, "test");
    until_idle(w);
    close(high);
    assert_non_null(strstr(text_of(w, "fds"), "/dev/null\n"));
    assert_null(strstr(text_of(w, "fds"), "\n/\n"));
    assert_null(strstr(text_of(w, "fds"), "eventpoll"));
}

static void test_one_after_the_other(void **state)
{
    struct world *w = *state;
    char wanted[200] = "";
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(w->hook, script(w, "hook",
                                    "mkdir $T/alone || echo overlap >>$T/ids; echo $MRMR_EVENT_ID "
                                    ">>$T/ids; rmdir $T/alone")));
    for (int i = 1; i <= 20; i++) {
        happens(w, i, "test");
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%d\n", i);
        if (i % 3 == 0)
            hook_step(w->hook);
    }
    until_idle(w);
    assert_string_equal(text_of(w, "ids"), wanted);
    assert_int_equal(hook_counts(w->hook).well, 20);
    assert_int_equal(w->lines, 0);
}

/* --- what it may do wrong --- */

static void test_it_fails(void **state)
{
    struct world *w = *state;
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(w->hook, script(w, "hook",
                                    "[ $MRMR_EVENT = killed ] && kill -9 $$; echo \"cannot: "
                                    "$MRMR_EVENT_ID\" >&2; exit 3")));
    for (int i = 1; i <= 3; i++)
        happens(w, i, "hold");
    until_idle(w);
    assert_int_equal(hook_counts(w->hook).failed, 3);
    assert_int_equal(w->lines, 2);
    assert_int_equal(logged(w, "/hook ended with code 3 (for hold)"), 1);
    assert_int_equal(logged(w, "printed: cannot: 1"), 1);
    /* Another program is another one; it is told by how it ends. */
    assert_ok(hook_set(w->hook, script(w, "hook2", "kill -9 $$")));
    happens(w, 4, "killed");
    until_idle(w);
    assert_int_equal(logged(w, "/hook2 ended with signal 9 (for killed)"), 1);
}

static void test_it_hangs(void **state)
{
    struct world *w = *state;
    hook_of(w, (struct hook_options){.deadline = 300 * MS, .grace = 100 * MS});
    assert_ok(hook_set(w->hook,
        script(w, "hook",
            "[ $MRMR_EVENT = good ] && { echo $MRMR_EVENT_ID >>$T/good; exit; }\n"
            "[ $MRMR_EVENT = deaf ] && trap '' TERM\n"
            "sleep 1000 & echo $! >>$T/child-$MRMR_EVENT; echo $$ >>$T/leader-$MRMR_EVENT\n"
            "while :; do wait; sleep 1000; done")));
    happens(w, 1, "deaf");
    happens(w, 2, "good");
    happens(w, 3, "hangs");
    happens(w, 4, "good");
    until_idle(w);
    assert_string_equal(text_of(w, "good"), "2\n4\n");
    assert_int_equal(hook_counts(w->hook).hung, 2);
    assert_int_equal(hook_counts(w->hook).well, 2);
    assert_int_equal(w->lines, 1);
    assert_int_equal(logged(w, "/hook did not end within 0 s (for deaf)"), 1);
    ends(text_of(w, "child-deaf"));
    ends(text_of(w, "leader-deaf"));
    ends(text_of(w, "child-hangs"));
    ends(text_of(w, "leader-hangs"));
}

static void test_it_prints(void **state)
{
    struct world *w = *state;
    hook_of(w, (struct hook_options){.deadline = 20 * MRMR_NS_PER_S, .grace = 100 * MS});
    assert_ok(hook_set(w->hook, script(w, "hook",
                                    "printf 'one\\033[31m\\n\\ntw\\0o\\n'; head -c 30000000 "
                                    "/dev/zero | tr '\\0' x; echo end; echo well >>$T/out")));
    happens(w, 1, "test");
    happens(w, 2, "test");
    until_idle(w);
    assert_string_equal(text_of(w, "out"), "well\nwell\n");
    assert_int_equal(hook_counts(w->hook).well, 2);
    assert_int_equal(hook_counts(w->hook).printed, 2);
    assert_int_equal(w->lines, 4);
    assert_string_equal(w->line[0], "on-event printed: one\\x1b[31m");
    assert_string_equal(w->line[1], "on-event printed: tw?o");
    assert_int_equal(strncmp(w->line[2], "on-event printed: xxxx", 22), 0);
    assert_string_equal(w->line[3], "on-event printed more than that");
}

/* It has its time and no more, and each step is over soon. */
static void test_it_prints_without_end(void **state)
{
    struct world *w = *state;
    hook_of(w, (struct hook_options){.deadline = 300 * MS, .grace = 100 * MS});
    assert_ok(hook_set(w->hook, script(w, "hook", "trap '' PIPE; exec yes")));
    happens(w, 1, "test");
    until_idle(w);
    assert_int_equal(hook_counts(w->hook).hung, 1);
    assert_int_equal(logged(w, "did not end"), 1);
    assert_true(w->lines < 20);
}

/* What it leaves behind ends with it, and holds nobody up though it could print yet. */
static void test_it_leaves_something_behind(void **state)
{
    struct world *w = *state;
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(w->hook, script(w, "hook", "sleep 1000 & echo $! >$T/pid")));
    happens(w, 1, "test");
    until_idle(w);
    assert_int_equal(hook_counts(w->hook).well, 1);
    assert_int_equal(w->lines, 0);
    ends(text_of(w, "pid"));
}

static void test_it_is_not_there(void **state)
{
    struct world *w = *state;
    const char *hook = script(w, "hook", "echo $MRMR_EVENT_ID >>$T/ids");
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(w->hook, hook));
    happens(w, 1, "test");
    until_idle(w);
    assert_int_equal(rename(path(w, "hook"), path(w, "away")), 0);
    for (int i = 2; i <= 4; i++)
        happens(w, i, "test");
    until_idle(w);
    assert_int_equal(hook_counts(w->hook).not_run, 3);
    assert_int_equal(w->lines, 1);
    assert_int_equal(logged(w, "/hook"), 1);
    assert_int_equal(logged(w, "No such file"), 1);
    assert_int_equal(rename(path(w, "away"), path(w, "hook")), 0);
    assert_int_equal(chmod(path(w, "hook"), 0644), 0);
    happens(w, 5, "test");
    until_idle(w);
    assert_int_equal(hook_counts(w->hook).not_run, 4);
    assert_int_equal(chmod(path(w, "hook"), 0755), 0);
    happens(w, 6, "test");
    until_idle(w);
    assert_string_equal(text_of(w, "ids"), "1\n6\n");
    assert_int_equal(w->lines, 1);
}

/* --- what waits --- */

static void test_too_many(void **state)
{
    struct world *w = *state;
    hook_of(w, (struct hook_options){.queue_most = 5});
    assert_ok(hook_set(
        w->hook, script(w, "hook",
                     "echo $MRMR_EVENT_ID >>$T/ids; until [ -e $T/go ]; do sleep 0.01; done")));
    happens(w, 1, "test");
    until_there(w, "ids");
    for (int i = 2; i <= 9; i++)
        happens(w, i, "test");
    assert_int_equal(hook_counts(w->hook).dropped, 3);
    assert_int_equal(w->lines, 0);
    assert_int_equal(close(creat(path(w, "go"), 0600)), 0);
    until_idle(w);
    assert_string_equal(text_of(w, "ids"), "1\n5\n6\n7\n8\n9\n");
    assert_int_equal(w->lines, 1);
    assert_int_equal(logged(w, "3 events were dropped"), 1);
}

static void test_another_or_none(void **state)
{
    struct world *w = *state;
    hook_of(w, (struct hook_options){.queue_most = 0});
    happens(w, 1, "test"); /* nothing was set */
    assert_true(hook_idle(w->hook));
    assert_ok(hook_set(w->hook, script(w, "hook", "echo $1 $MRMR_EVENT_ID >>$T/ids")));
    happens(w, 2, "test");
    assert_int_equal(hook_set(w->hook, "sh -c true"), MRMR_INVALID);
    assert_int_equal(hook_set(w->hook, "  "), MRMR_INVALID);
    until_idle(w);
    char other[300];
    snprintf(other, sizeof other, "%s other", path(w, "hook"));
    happens(w, 3, "test");
    assert_ok(hook_set(w->hook, other));
    until_idle(w);
    happens(w, 4, "test");
    assert_ok(hook_set(w->hook, ""));
    assert_true(hook_idle(w->hook));
    happens(w, 5, "test");
    assert_true(hook_idle(w->hook));
    assert_string_equal(text_of(w, "ids"), "2\nother 3\n");
}

/* The end waits for what runs, but not for long. */
static void test_the_end(void **state)
{
    struct world *w = *state;
    for (unsigned deaf = 0; deaf < 2; deaf++) {
        hook_of(w, (struct hook_options){.grace = 100 * MS});
        assert_ok(hook_set(w->hook,
            script(w, "hook",
                deaf ? "trap '' TERM; echo $$ >$T/p; mv $T/p $T/deaf; while :; do sleep 1000; done"
                     : "echo $$ >$T/p; mv $T/p $T/mild; exec sleep 1000")));
        happens(w, 1, "test");
        until_there(w, deaf ? "deaf" : "mild");
        hook_destroy(mrmr_steal(w->hook));
        assert_true(is_over(text_of(w, deaf ? "deaf" : "mild")));
    }
    assert_int_equal(w->lines, 0);
}

/* The same by the mode of the folder, and of the catalog in it. */
static void test_what_others_can_write(void **state)
{
    struct world *w = *state;
    char catalog[PATH_MAX];
    snprintf(catalog, sizeof catalog, "%s/catalog.sqlite", w->dir);
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(w->hook, script(w, "hook", "echo $MRMR_EVENT_ID >>$T/ids")));
    assert_int_equal(chmod(w->dir, 0770), 0);
    happens(w, 1, "test");
    until_idle(w);
    assert_int_equal(logged(w, "can be written by its group"), 1);
    assert_int_equal(chmod(w->dir, 0755), 0);
    const int fd = open(catalog, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0602), 0);
    happens(w, 2, "test");
    until_idle(w);
    assert_int_equal(hook_counts(w->hook).not_run, 2);
    assert_int_equal(fchmod(fd, 0644), 0);
    close(fd);
    happens(w, 3, "test");
    until_idle(w);
    assert_string_equal(text_of(w, "ids"), "3\n");
}

/* Who could say what is run as us. */
static void test_a_folder_of_another_user(void **state)
{
    struct world *w = *state;
    if (geteuid() != 0)
        skip_for("not root");
    hook_of(w, (struct hook_options){.queue_most = 0});
    assert_ok(hook_set(w->hook, script(w, "hook", "echo $MRMR_EVENT_ID >>$T/ids")));
    assert_int_equal(chown(w->dir, 65534, 65534), 0);
    happens(w, 1, "test");
    happens(w, 2, "test");
    until_idle(w);
    assert_int_equal(hook_counts(w->hook).not_run, 2);
    assert_int_equal(w->lines, 1);
    assert_int_equal(logged(w, "belongs to user 65534"), 1);
    assert_int_equal(chown(w->dir, 0, 0), 0);
    happens(w, 3, "test");
    until_idle(w);
    assert_string_equal(text_of(w, "ids"), "3\n");
}

int main(void)
{
#define HOOK_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        HOOK_TEST(test_what_it_is_given),
        HOOK_TEST(test_no_descriptors),
        HOOK_TEST(test_one_after_the_other),
        HOOK_TEST(test_it_fails),
        HOOK_TEST(test_it_hangs),
        HOOK_TEST(test_it_prints),
        HOOK_TEST(test_it_prints_without_end),
        HOOK_TEST(test_it_leaves_something_behind),
        HOOK_TEST(test_it_is_not_there),
        HOOK_TEST(test_too_many),
        HOOK_TEST(test_another_or_none),
        HOOK_TEST(test_the_end),
        HOOK_TEST(test_what_others_can_write),
        HOOK_TEST(test_a_folder_of_another_user),
    };
    return cmocka_run_group_tests_name("tools_hook", tests, NULL, NULL);
}
