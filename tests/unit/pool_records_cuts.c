/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Killed at each call by which records in the pool's folder change, before it and after it: nothing of what they say is lost, and
 * whoever comes next does the rest.
 */
#include "pool/drive/failing.h"
#include "pool/events/noted.h"
#include "pool/events/noted_format.h"
#include "pool/records/brought.h"
#include "pool/records/pair.h"
#include "pool/records/touched.h"
#include "tests/support/rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- calls --- */

static unsigned calls_left; /* until the one at which the process dies; 0: it does not */
static bool after;          /* that */

static void at_call(bool is_after)
{
    if (calls_left && after == is_after && --calls_left == 0)
        kill(getpid(), SIGKILL);
}

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    at_call(false);
    const int done = __real_renameat(from_dir, from, to_dir, to);
    at_call(true);
    return done;
}

int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags)
{
    at_call(false);
    const int done = __real_unlinkat(dir, name, flags);
    at_call(true);
    return done;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    at_call(false);
    const int done = __real_fsync(fd);
    at_call(true);
    return done;
}

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    at_call(false);
    const ssize_t done = __real_write(fd, data, size);
    at_call(true);
    return done;
}

static struct rig *rig;
static int64_t a, b; /* drives */

/* False: it came to its end before. The pool is another one then. */
static bool dies_at(unsigned n, bool is_after, mrmr_err (*act)(void))
{
    int status;
    rig_close(rig);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        if (rig_try_open(rig))
            _exit(2);
        calls_left = n;
        after = is_after;
        const bool failed = act();
        calls_left = 0;
        _exit(failed ? 1 : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_open(rig);
    if (WIFSIGNALED(status))
        assert_int_equal(WTERMSIG(status), SIGKILL);
    else
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

/* At each call there is, before and after it; of these at least so many. */
static void each_cut(
    unsigned least, mrmr_err (*act)(void), void (*before)(unsigned), void (*then)(unsigned))
{
    unsigned cuts = 0;
    for (unsigned is_after = 0; is_after < 2; is_after++) {
        bool died = true;
        for (unsigned n = 1; died; n++) {
            before(cuts);
            died = dies_at(n, is_after, act);
            then(cuts);
            cuts += died;
        }
    }
    print_message("killed at %u moments\n", cuts);
    assert_true(cuts >= 2 * least);
}

static int setup(void **state)
{
    (void)state;
    rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = 3, .seed = 72});
    a = rig_pool_drive(rig, 0)->meta.id;
    b = rig_pool_drive(rig, 1)->meta.id;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_destroy(rig);
    return 0;
}

static bool is_in_the_folder(const char *name)
{
    struct stat st;
    return fstatat(rig->pool->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- what was touched --- */

static void touch(int64_t drive, uint64_t ino)
{
    int fd;
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, drive, ino, 0));
    close(fd);
}

static bool is_touched(int64_t drive, uint64_t ino)
{
    struct pool_touched touched;
    bool found;
    rig_ok(pool_touched_load(rig->pool, &touched));
    rig_ok(pool_touched_find(rig->pool, drive, ino, &found));
    assert_int_equal(found, pool_touched_has(&touched, drive, ino));
    pool_touched_free(&touched);
    return found;
}

static mrmr_err set_aside(void)
{
    return pool_touched_begin(rig->pool, NULL);
}

static mrmr_err drop_a(void)
{
    int64_t drive = a;
    return pool_touched_drop(rig->pool, NULL, &drive, 1);
}

static void touch_some(unsigned cuts)
{
    (void)cuts;
    touch(b, 1);
    rig_ok(set_aside());
    touch(a, 2);
}

static void assert_none_is_lost(unsigned cuts)
{
    (void)cuts;
    assert_true(is_touched(a, 2) && is_touched(b, 1));
    touch(a, 3);
    rig_ok(set_aside());
    assert_true(is_touched(a, 2) && is_touched(a, 3) && is_touched(b, 1));
    assert_false(is_in_the_folder("touched.cut"));
    rig_ok(drop_a());
    assert_true(!is_touched(a, 2) && !is_touched(a, 3) && is_touched(b, 1));
}

/* touched.h, 1 to 4. */
static void test_set_aside(void **state)
{
    (void)state;
    each_cut(5, set_aside, touch_some, assert_none_is_lost);
}

static void set_some_aside(unsigned cuts)
{
    touch_some(cuts);
    rig_ok(set_aside());
    touch(a, 4); /* for the next scan */
}

static void assert_the_others_stay(unsigned cuts)
{
    (void)cuts;
    assert_true(is_touched(b, 1) && is_touched(a, 4));
    rig_ok(drop_a());
    assert_true(is_touched(b, 1) && is_touched(a, 4) && !is_touched(a, 2));
}

static void test_dropped(void **state)
{
    (void)state;
    each_cut(3, drop_a, set_some_aside, assert_the_others_stay);
}

static uint64_t same, other; /* inodes: as the catalog has it, and changed since */

static mrmr_err settle(void)
{
    return pool_touched_settle(rig->pool, NULL);
}

static void touch_files(unsigned cuts)
{
    (void)cuts;
    touch(a, same);
    touch(a, other);
}

static void assert_what_changed_stays(unsigned cuts)
{
    (void)cuts;
    assert_true(is_touched(a, other));
    touch(a, same); /* or nothing may be new */
    rig_ok(settle());
    assert_true(is_touched(a, other) && !is_touched(a, same));
}

/* touched_same.c, 1 to 4. */
static void test_settled(void **state)
{
    (void)state;
    rig_put(rig, 0, "same", 1000);
    rig_put(rig, 0, "other", 1000);
    rig_put(rig, 1, "else", 1000);
    rig_protect_all(rig);
    same = rig_node(rig, "same").ino;
    other = rig_node(rig, "other").ino;
    rig_edit(rig, "other", 0, 10);
    each_cut(8, settle, touch_files, assert_what_changed_stays);
}

/* --- what was noted --- */

static char text[32]; /* of this round */

static mrmr_err count_notes(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += !strcmp(event->kind, "cut-test") && !strcmp(event->text, text);
    return MRMR_OK;
}

static unsigned notes(void)
{
    unsigned n = 0;
    rig_ok(pool_events(rig->pool, 0, 0, count_notes, &n));
    return n;
}

static mrmr_err note(void)
{
    const struct pool_note one = {
        .time = mrmr_clock_real(), .kind = "cut-test", .drive = "", .text = text};
    pool_noted_add(rig->pool, &one, true);
    return MRMR_OK;
}

static mrmr_err take_notes(void)
{
    return pool_noted_take(rig->pool, NULL);
}

static void say(unsigned cuts)
{
    snprintf(text, sizeof text, "round %u", cuts);
}

static void say_and_note(unsigned cuts)
{
    static unsigned rounds;
    (void)cuts;
    say(rounds++);
    note();
}

/* Shown once at each moment; and never lost. */
static void assert_is_told(unsigned cuts)
{
    (void)cuts;
    assert_int_equal(notes(), 1);
    rig_ok(take_notes());
    assert_in_range(notes(), 1, 2);
    assert_false(is_in_the_folder(NOTED_NAME) || is_in_the_folder(NOTED_CUT));
}

/* noted.h, 2 to 4. */
static void test_taken_in(void **state)
{
    (void)state;
    each_cut(2, take_notes, say_and_note, assert_is_told);
}

static void assert_is_whole(unsigned cuts)
{
    (void)cuts;
    assert_in_range(notes(), 0, 1);
    note();
    assert_int_equal(notes(), 1);
    rig_ok(take_notes());
    assert_int_equal(notes(), 1);
}

static void say_anew(unsigned cuts)
{
    static unsigned rounds = 1000;
    (void)cuts;
    say(rounds++);
}

/* noted.h, 1. */
static void test_noted(void **state)
{
    (void)state;
    each_cut(2, note, say_anew, assert_is_whole);
}

/* --- what was brought --- */

enum { BROUGHT = 3 };

static void bring_some(unsigned cuts)
{
    (void)cuts;
    for (unsigned i = 0; i <= BROUGHT; i++) {
        char name[POOL_PAIR_NAME];
        const struct pool_pair pair = {
            .from = a, .to = b, .path = "f", .file = {.ino = 10 + i}, .copy = {.ino = 20}};
        rig_ok(pool_pair_name(i < BROUGHT ? POOL_BROUGHT_ENDED : POOL_BROUGHT_BEGUN, name));
        rig_ok(pool_pair_put(rig->pool, &pair, name));
    }
}

static mrmr_err forget_brought(void)
{
    struct pool_brought brought;
    MRMR_TRY(pool_brought_load(rig->pool, &brought));
    pool_brought_forget(rig->pool, &brought);
    pool_brought_free(&brought);
    return MRMR_OK;
}

static void assert_only_what_began_stays(unsigned cuts)
{
    struct pool_brought brought;
    (void)cuts;
    rig_ok(pool_brought_load(rig->pool, &brought));
    assert_true(pool_brought_has(&brought, a, 10 + BROUGHT));
    pool_brought_free(&brought);
    rig_ok(forget_brought());
    rig_ok(pool_brought_load(rig->pool, &brought));
    for (unsigned i = 0; i <= BROUGHT; i++)
        assert_int_equal(pool_brought_has(&brought, a, 10 + i), i == BROUGHT);
    pool_brought_free(&brought);
}

/* brought.h: after the scan. */
static void test_brought(void **state)
{
    (void)state;
    each_cut(BROUGHT, forget_brought, bring_some, assert_only_what_began_stays);
}

/* --- drives that fail --- */

static struct mrmr_uuid fails;

static mrmr_err set_failing(void)
{
    return pool_failing_set(rig->pool, &fails);
}

static mrmr_err goes(void)
{
    pool_failing_goes(rig->pool, &fails);
    return MRMR_OK;
}

static mrmr_err is_back(void)
{
    pool_failing_back(rig->pool, &fails);
    return MRMR_OK;
}

static void one_step(mrmr_err (*act)(void), enum pool_failing before_it, enum pool_failing after_it)
{
    assert_true(dies_at(1, false, act));
    assert_int_equal(pool_failing_get(rig->pool, &fails), before_it);
    assert_true(dies_at(1, true, act));
    assert_int_equal(pool_failing_get(rig->pool, &fails), after_it);
}

/* failing.h: it is out of service from when that is noted, until it was seen gone and is used again. */
static void test_failing(void **state)
{
    (void)state;
    memset(&fails, 7, sizeof fails); /* one that is not there, and that nobody uses again */
    one_step(set_failing, POOL_FAILING_HERE, POOL_FAILING_HERE);
    one_step(goes, POOL_FAILING_HERE, POOL_FAILING_WENT);
    one_step(is_back, POOL_FAILING_WENT, POOL_FAILING_NOT);
}

int main(void)
{
#define cuts_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        cuts_test(test_set_aside),
        cuts_test(test_dropped),
        cuts_test(test_settled),
        cuts_test(test_taken_in),
        cuts_test(test_noted),
        cuts_test(test_brought),
        cuts_test(test_failing),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_records_cuts", tests, NULL, NULL);
}
