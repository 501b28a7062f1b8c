/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The catalog as a file and its transactions: what it opens and what it refuses, what survives, who
 * sees what.
 */
#include "meta_support.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool has_setting(struct meta *meta, const char *key)
{
    struct mrmr_bytes value = MRMR_BYTES_INIT;
    mrmr_err err = meta_get(meta, key, &value);
    mrmr_bytes_free(&value);
    if (err != MRMR_ABSENT)
        assert_ok(err);
    return !err;
}

/* --- Opening --- */

static void open_absent(void **state)
{
    struct world *w = *state;
    struct meta *meta = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/nothing.sqlite", w->dir);
    assert_err(meta_open(path, 0, &meta), MRMR_ABSENT);
    assert_told("nothing.sqlite");
    assert_err(meta_open(path, META_READONLY, &meta), MRMR_ABSENT);
    assert_int_equal(access(path, F_OK), -1); /* and nothing was made */
    assert_err(meta_open(w->dir, 0, &meta), MRMR_IS_DIR);
    assert_err(meta_open("", META_CREATE, &meta), MRMR_INVALID);
    assert_err(meta_open(path, META_CREATE | META_READONLY, &meta), MRMR_INVALID);
    snprintf(path, sizeof path, "%s/pipe", w->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_err(meta_open(path, 0, &meta), MRMR_INVALID);
    assert_null(meta);
}

static void open_is_private(void **state)
{
    struct world *w = *state;
    struct stat st;
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* Names that SQLite would take for something else. */
static void open_odd_names(void **state)
{
    struct world *w = *state;
    static const char *const names[] = {":memory:", "file:x?mode=memory", "a%20b?c#d"};
    char back[512];
    assert_non_null(getcwd(back, sizeof back));
    assert_int_equal(chdir(w->dir), 0);
    for (size_t i = 0; i < 3; i++) {
        struct meta *meta;
        assert_ok(meta_open(names[i], META_CREATE, &meta));
        meta_close(meta);
        assert_int_equal(access(names[i], F_OK), 0);
        assert_ok(meta_open(names[i], META_READONLY, &meta));
        meta_close(meta);
    }
    assert_int_equal(chdir(back), 0);
}

static void open_settings_of_the_file(void **state)
{
    struct world *w = *state;
    assert_int_equal(world_int(w, "PRAGMA application_id"), 0x4d524d52);
    assert_int_equal(world_int(w, "PRAGMA user_version"), 1);
    assert_int_equal(
        world_int(w, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
}

static void open_newer(void **state)
{
    struct world *w = *state;
    struct meta *meta;
    meta_close(w->meta);
    w->meta = NULL;
    world_sql(w, "PRAGMA user_version = 99; CREATE TABLE of_the_future (a)");
    assert_err(meta_open(w->path, 0, &meta), MRMR_NEWER);
    assert_told(w->path);
    assert_told("version 99");
    assert_told("up to 1");
    assert_told("newer one");
    assert_err(meta_open(w->path, META_CREATE, &meta), MRMR_NEWER);
    assert_err(meta_open(w->path, META_READONLY, &meta), MRMR_NEWER);
    assert_int_equal(world_int(w, "PRAGMA user_version"), 99);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void open_not_a_catalog(void **state)
{
    struct world *w = *state;
    struct meta *meta;
    char path[128], text[5000];
    memset(text, 'x', sizeof text);
    snprintf(path, sizeof path, "%s/letter", w->dir);
    write_file(path, text, sizeof text);
    for (unsigned flags = 0; flags < 3; flags++)
        assert_err(meta_open(path, flags, &meta), MRMR_CORRUPT);
    assert_told("letter");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, sizeof text); /* it was left alone */

    snprintf(path, sizeof path, "%s/empty", w->dir);
    write_file(path, "", 0);
    assert_err(meta_open(path, 0, &meta), MRMR_ABSENT);
    assert_err(meta_open(path, META_READONLY, &meta), MRMR_ABSENT);
    assert_ok(meta_open(path, META_CREATE, &meta)); /* what a crash in the first open leaves */
    meta_close(meta);
}

static void open_database_of_others(void **state)
{
    struct world *w = *state;
    struct meta *meta;
    struct world other = {.meta = NULL};
    snprintf(other.path, sizeof other.path, "%s/other", w->dir);
    world_sql(&other, "CREATE TABLE bookmark (url)");
    assert_err(meta_open(other.path, META_CREATE, &meta), MRMR_CORRUPT);
    assert_told("not a catalog");
    assert_int_equal(world_int(&other, "SELECT count(*) FROM sqlite_schema"), 1);
}

/* Root may write anything, so a child gives up being root. */
static void as_nobody(struct world *w, void (*fn)(struct world *w))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(2);
        fn(w);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void nobody_expect(struct world *w, unsigned flags, mrmr_err want)
{
    struct meta *meta = NULL;
    mrmr_err got = meta_open(w->path, flags, &meta);
    if (got != want) {
        fprintf(stderr, "got %s (%s)\n", mrmr_err_name(got), story_text());
        _exit(3);
    }
    if (got && !strstr(story_text(), w->dir))
        _exit(4);
    meta_close(meta);
}
static void nobody_reads(struct world *w)
{
    nobody_expect(w, 0, MRMR_READONLY);
    nobody_expect(w, META_CREATE, MRMR_READONLY);
}
static void nobody_cannot_make(struct world *w)
{
    struct world next = *w;
    snprintf(next.path, sizeof next.path, "%s/new.sqlite", w->dir);
    nobody_expect(&next, META_CREATE, MRMR_READONLY);
}
static void nobody_not_even(struct world *w)
{
    nobody_expect(w, META_READONLY, MRMR_DENIED);
}

static void open_read_only_file_and_folder(void **state)
{
    struct world *w = *state;
    meta_close(w->meta);
    w->meta = NULL;
    assert_int_equal(chmod(w->dir, 0777), 0);
    assert_int_equal(chmod(w->path, 0444), 0);
    as_nobody(w, nobody_reads);
    assert_int_equal(chmod(w->path, 0666), 0);
    assert_int_equal(chmod(w->dir, 0555), 0);
    as_nobody(w, nobody_reads);
    as_nobody(w, nobody_cannot_make);
    assert_int_equal(chmod(w->path, 0000), 0);
    as_nobody(w, nobody_not_even);
    assert_int_equal(chmod(w->dir, 0700), 0);
}

static void open_full_disk(void **state)
{
    struct world *w = *state;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* No file may grow beyond this: the write-ahead log soon wants to. */
        struct rlimit limit = {256 << 10, 256 << 10};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        static char big[512 << 10];
        memset(big, 'v', sizeof big - 1);
        struct meta *meta;
        if (meta_open(w->path, 0, &meta))
            _exit(2);
        mrmr_err err = meta_set(meta, "big", big);
        if (err != MRMR_SPACE || !strstr(story_text(), w->path)) {
            fprintf(stderr, "%s\n", story_text());
            _exit(3);
        }
        if (meta_set(meta, "small", "1")) /* and there is a way on */
            _exit(4);
        meta_close(meta);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(has_setting(w->meta, "small"));
    assert_false(has_setting(w->meta, "big"));
    assert_ok(meta_check(w->meta));
}

/* --- Transactions --- */

static void transaction_commit_and_rollback(void **state)
{
    struct world *w = *state;
    assert_err(meta_commit(w->meta), MRMR_INTERNAL);
    assert_err(meta_checkpoint(w->meta), MRMR_INTERNAL);
    assert_ok(meta_begin(w->meta));
    assert_err(meta_begin(w->meta), MRMR_INTERNAL);
    assert_ok(meta_set(w->meta, "a", "1"));
    assert_ok(meta_checkpoint(w->meta));
    assert_ok(meta_set(w->meta, "b", "1"));
    meta_rollback(w->meta);
    meta_rollback(w->meta); /* nothing to do */
    assert_true(has_setting(w->meta, "a"));
    assert_false(has_setting(w->meta, "b"));
    assert_ok(meta_begin(w->meta));
    assert_ok(meta_set(w->meta, "c", "1"));
    assert_ok(meta_commit(w->meta));
    assert_ok(meta_begin(w->meta));
    assert_ok(meta_set(w->meta, "d", "1"));
    world_reopen(w); /* close rolls back */
    assert_true(has_setting(w->meta, "c"));
    assert_false(has_setting(w->meta, "d"));
}

static mrmr_err set_two(struct meta *meta, void *arg)
{
    if (meta_set(meta, "x", "1") || meta_set(meta, "y", "1"))
        return MRMR_INTERNAL;
    if (meta_commit(meta) != MRMR_INTERNAL || meta_checkpoint(meta) != MRMR_INTERNAL)
        return MRMR_INVALID; /* not its business */
    return arg ? mrmr_fail(MRMR_CANCELLED, "by the test") : MRMR_OK;
}

static void transaction_atomically(void **state)
{
    struct world *w = *state;
    assert_err(meta_atomically(w->meta, set_two, w), MRMR_CANCELLED);
    assert_told("by the test");
    assert_false(has_setting(w->meta, "x"));
    assert_ok(meta_atomically(w->meta, set_two, NULL));
    assert_true(has_setting(w->meta, "x") && has_setting(w->meta, "y"));
    assert_ok(meta_begin(w->meta));
    assert_err(meta_atomically(w->meta, set_two, NULL), MRMR_INTERNAL);
    assert_ok(meta_commit(w->meta));
}

static mrmr_err pass_setting(const char *key, const char *value, void *arg)
{
    struct meta *meta = arg;
    (void)value;
    assert_string_equal(key, "a");
    assert_err(meta_begin(meta), MRMR_INTERNAL);
    assert_err(meta_atomically(meta, set_two, NULL), MRMR_INTERNAL);
    assert_true(has_setting(meta, "a")); /* reading does no harm */
    return mrmr_fail(MRMR_CANCELLED, NULL);
}

static void transaction_not_in_callbacks(void **state)
{
    struct world *w = *state;
    assert_ok(meta_set(w->meta, "a", "1"));
    assert_ok(meta_set(w->meta, "b", "1"));
    assert_err(meta_settings(w->meta, pass_setting, w->meta), MRMR_CANCELLED);
    assert_ok(meta_begin(w->meta));
    assert_ok(meta_commit(w->meta));
}

/* A refusal has written nothing and the transaction goes on; what fails on the way makes it fail
 * for good. */
static void transaction_sticky(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct meta_node node = make_node(w, &d, d.root, "file", META_REG, 5);
    struct meta_exposed range = {d.id, node.id, 0, 1, 5, 1};
    world_sql(w, "UPDATE node SET type = 77 WHERE type = 0");

    assert_ok(meta_begin(w->meta));
    assert_ok(meta_set(w->meta, "a", "1"));
    assert_err(meta_name_remove(w->meta, d.root, "nobody"), MRMR_ABSENT);
    assert_err(meta_name_add(w->meta, d.root, "file", node.id), MRMR_EXISTS);
    assert_err(meta_name_add(w->meta, d.root, "x/y", node.id), MRMR_INVALID);
    assert_ok(meta_checkpoint(w->meta));
    assert_ok(meta_set(w->meta, "b", "1"));
    assert_err(meta_expose(w->meta, &range), MRMR_CORRUPT);
    assert_err(meta_set(w->meta, "c", "1"), MRMR_CORRUPT);
    assert_told("type"); /* the story of the first failure */
    assert_err(meta_name_remove(w->meta, d.root, "nobody"), MRMR_CORRUPT);
    assert_err(meta_commit(w->meta), MRMR_CORRUPT);
    assert_err(meta_checkpoint(w->meta), MRMR_CORRUPT);
    assert_err(meta_commit(w->meta), MRMR_CORRUPT);
    meta_rollback(w->meta);
    assert_true(has_setting(w->meta, "a"));
    assert_false(has_setting(w->meta, "b") || has_setting(w->meta, "c"));
    assert_ok(meta_set(w->meta, "d", "1"));
    world_reopen(w);
    assert_true(has_setting(w->meta, "a") && has_setting(w->meta, "d"));
}

static int64_t sequence_after(struct world *w, const struct meta_drive *d, int nodes)
{
    int64_t last = 0;
    for (int i = 0; i < nodes; i++) {
        struct meta_node node = make_node(w, d, d->root, "f", META_REG, 0);
        assert_true(node.sequence > last);
        last = node.sequence;
        assert_ok(meta_name_remove(w->meta, d->root, "f"));
        assert_ok(meta_node_remove(w->meta, node.id));
    }
    return last;
}

/* No sequence number that was committed comes again; more are taken than are reserved at a time. */
static void transaction_sequence_grows(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    for (int round = 0; round < 3; round++) {
        assert_ok(meta_begin(w->meta));
        int64_t lost = sequence_after(w, &d, 5000);
        meta_rollback(w->meta);
        assert_ok(meta_begin(w->meta));
        int64_t kept = sequence_after(w, &d, 10);
        assert_ok(meta_commit(w->meta));
        assert_true(kept > lost); /* within one life not even those that were rolled back */
        world_reopen(w);
        assert_true(sequence_after(w, &d, 1) > kept);
    }
}

/* --- Others beside us --- */

static void beside_a_writer(void **state)
{
    struct world *w = *state;
    struct meta *look, *second;
    assert_ok(meta_set(w->meta, "a", "1"));
    assert_ok(meta_open(w->path, META_READONLY, &look));
    assert_ok(meta_begin(w->meta));
    assert_ok(meta_set(w->meta, "b", "1"));
    assert_true(has_setting(look, "a"));
    assert_false(has_setting(look, "b"));
    assert_err(meta_set(look, "c", "1"), MRMR_READONLY);
    assert_err(meta_begin(look), MRMR_READONLY);
    assert_ok(meta_open(w->path, 0, &second));
    assert_err(meta_set(second, "c", "1"), MRMR_BUSY);
    assert_told(w->path);
    assert_ok(meta_commit(w->meta));
    assert_true(has_setting(look, "b"));
    assert_ok(meta_set(second, "c", "1"));
    assert_true(has_setting(w->meta, "c"));
    meta_close(second);
    meta_close(look);
}

/* Nobody has it open: the log and its index are not there. */
static void look_alone(void **state)
{
    struct world *w = *state;
    assert_ok(meta_set(w->meta, "a", "1"));
    meta_close(w->meta);
    assert_ok(meta_open(w->path, META_READONLY, &w->meta));
    assert_true(has_setting(w->meta, "a"));
}

/* A child writes for ever, and is killed at some moment in the middle of a transaction; what it
 * committed is there, and no half of what it had not. Each transaction writes one number under two
 * keys and as many nodes. */
static void child_writes(const char *path, int fd)
{
    struct meta *meta;
    if (meta_open(path, 0, &meta))
        _exit(2);
    struct meta_drive *drives;
    size_t n;
    if (meta_drives(meta, &drives, &n))
        _exit(2);
    for (int i = 1;; i++) {
        char text[16], name[32];
        snprintf(text, sizeof text, "%d", i);
        mrmr_err err = meta_begin(meta);
        err = err ? err : meta_set(meta, "left", text);
        for (int j = 0; j < 50 && !err; j++) {
            struct meta_node node = {.drive = drives[0].id, .version = 1};
            snprintf(name, sizeof name, "%d.%d", i, j);
            err = meta_node_add(meta, &node, drives[0].root, name);
        }
        err = err ? err : meta_set(meta, "right", text);
        if (write(fd, "", 1) != 1) /* in the middle: killable from here on */
            _exit(3);
        err = err ? err : meta_commit(meta);
        if (err)
            _exit(4);
    }
}

static int setting_int(struct meta *meta, const char *key)
{
    struct mrmr_bytes value = MRMR_BYTES_INIT;
    if (meta_get(meta, key, &value))
        return 0;
    int n = atoi(value.data);
    mrmr_bytes_free(&value);
    return n;
}

static void killed_in_a_transaction(void **state)
{
    struct world *w = *state;
    struct rng rng = rng_seeded(__func__);
    make_drive(w, "one");
    meta_close(w->meta);
    w->meta = NULL;
    for (int round = 0; round < 12; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(pipes[0]);
            child_writes(w->path, pipes[1]);
        }
        close(pipes[1]);
        unsigned count = 1 + (unsigned)rng_below(&rng, 20);
        char byte;
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(read(pipes[0], &byte, 1), 1);
        for (uint64_t spin = rng_below(&rng, 200000); spin; spin--)
            __asm__ volatile("");
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        close(pipes[0]);
        assert_ok(meta_open(w->path, 0, &w->meta));
        assert_ok(meta_check(w->meta));
        int left = setting_int(w->meta, "left");
        assert_int_equal(left, setting_int(w->meta, "right"));
        assert_true(left >= (int)count - 1); /* count-1 commits had returned */
        assert_int_equal(world_int(w, "SELECT count(*) FROM name"), 50 * left);
        world_sql(w, "DELETE FROM setting; DELETE FROM name; DELETE FROM node WHERE type = 0");
        meta_close(w->meta);
        w->meta = NULL;
    }
}

/* --- Copies and checks --- */

static void copy_and_check(void **state)
{
    struct world *w = *state;
    struct meta *copy;
    char path[128];
    make_drive(w, "one");
    assert_ok(meta_set(w->meta, "a", "1"));
    snprintf(path, sizeof path, "%s/copy", w->dir);
    assert_ok(meta_begin(w->meta));
    assert_err(meta_copy_to(w->meta, path), MRMR_BUSY);
    assert_ok(meta_commit(w->meta));
    assert_ok(meta_copy_to(w->meta, path));
    assert_err(meta_copy_to(w->meta, path), MRMR_EXISTS);
    assert_ok(meta_set(w->meta, "b", "1"));
    char log[160];
    snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(access(log, F_OK), -1); /* one file is the whole of it */
    assert_ok(meta_open(path, 0, &copy));
    assert_true(has_setting(copy, "a"));
    assert_false(has_setting(copy, "b"));
    assert_ok(meta_check(copy));
    meta_close(copy);
    snprintf(path, sizeof path, "%s/no/such/folder", w->dir);
    assert_err(meta_copy_to(w->meta, path), MRMR_ABSENT);
}

static void check_finds(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *harm, *heal;
    } harms[] = {
        {"INSERT INTO name VALUES (999, x'61', 999)", "DELETE FROM name WHERE parent = 999"},
        {"UPDATE node SET type = 9 WHERE type = 0", "UPDATE node SET type = 0 WHERE type = 9"},
        {"UPDATE block SET extents = extents + 1", "UPDATE block SET extents = extents - 1"},
        {"UPDATE block SET length = 1", "UPDATE block SET length = 3000000"},
        {"UPDATE stripe SET length = 1", "UPDATE stripe SET length = 3000000"},
        {"INSERT INTO exposed VALUES (1, 888, 0, 1, 5, 0)", "DELETE FROM exposed"},
        {"UPDATE drive SET root = root + 1000", "UPDATE drive SET root = root - 1000"},
        {"DROP VIEW file", "CREATE VIEW file AS SELECT 1"},
    };
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_node file = make_node(w, &d[0], d[0].root, "f", META_REG, 3000000);
    make_exposed(w, &file);
    make_stripe(w, d, &file, 1, &d[1], 1);
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        assert_ok(meta_check(w->meta));
        world_sql(w, harms[i].harm);
        assert_err(meta_check(w->meta), MRMR_CORRUPT);
        assert_told("zcat DRIVE");
        world_sql(w, harms[i].heal);
    }
    assert_err(meta_check(w->meta), MRMR_CORRUPT); /* the last healing is no healing */
}

/* --- Threads --- */

struct worker {
    struct world *w;
    const struct meta_drive *drive;
    int number;
    mrmr_err err;
};

static void *work(void *arg)
{
    struct worker *me = arg;
    for (int i = 0; i < 200 && !me->err; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.%d", me->number, i);
        struct meta_node node = {.drive = me->drive->id, .version = 1}, got;
        struct mrmr_bytes path = MRMR_BYTES_INIT;
        me->err = meta_node_add(me->w->meta, &node, me->drive->root, name);
        if (!me->err)
            me->err = meta_lookup(me->w->meta, me->drive->root, name, &got);
        if (!me->err)
            me->err = meta_path(me->w->meta, got.id, &path);
        if (!me->err && (got.id != node.id || strcmp(path.data, name) != 0))
            me->err = MRMR_INTERNAL;
        mrmr_bytes_free(&path);
    }
    return NULL;
}

static void threads_share(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct worker workers[4];
    pthread_t threads[4];
    assert_ok(meta_begin(w->meta));
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){w, &d, i, MRMR_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        assert_ok(meta_checkpoint(w->meta));
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_ok(workers[i].err);
    }
    assert_ok(meta_commit(w->meta));
    assert_int_equal(world_int(w, "SELECT count(*) FROM name"), 800);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(open_absent),
        TEST(open_is_private),
        TEST(open_odd_names),
        TEST(open_settings_of_the_file),
        TEST(open_newer),
        TEST(open_not_a_catalog),
        TEST(open_database_of_others),
        TEST(open_read_only_file_and_folder),
        TEST(open_full_disk),
        TEST(transaction_commit_and_rollback),
        TEST(transaction_atomically),
        TEST(transaction_not_in_callbacks),
        TEST(transaction_sticky),
        TEST(transaction_sequence_grows),
        TEST(beside_a_writer),
        TEST(look_alone),
        TEST(killed_in_a_transaction),
        TEST(copy_and_check),
        TEST(check_finds),
        TEST(threads_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
