/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Catalogs restored from text that nobody wrote, or that was damaged: what is no copy is refused, and what is
 * refused leaves nothing behind.
 */
#include "meta_copies.h"

#include "base/cleanup.h"
#include "catalog_same.h"

static const char *const good_head[] = {
    "BEGIN;", "PRAGMA application_id=1297239378;", "PRAGMA user_version=1;"};

static mrmr_err feed(struct meta_restore *r, bool base, const char *const *lines, size_t n)
{
    MRMR_TRY(meta_restore_begin(r, base));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(meta_restore_line(r, lines[i], strlen(lines[i])));
    return MRMR_OK;
}

/* The lines after a good head: refused, and nothing stays. */
static void refused(struct world *w, const char *line)
{
    char path[160];
    struct meta_restore *r = NULL;
    world_file(w, path, "hostile.sqlite");
    assert_ok(meta_restore_create(path, &r));
    assert_ok(feed(r, true, good_head, 3));
    mrmr_err err = meta_restore_line(r, line, strlen(line));
    if (err != MRMR_FORMAT)
        fail_msg("'%s' gave %s", line, mrmr_err_name(err));
    assert_err(meta_restore_line(r, "COMMIT;", 7), MRMR_INTERNAL);
    assert_true(meta_restore_end(r) != MRMR_OK);
    assert_err(meta_restore_finish(r, NULL), MRMR_INTERNAL);
    meta_restore_destroy(r);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(world_int(w, "SELECT 1"), 1);
}

static void hostile_lines(void **state)
{
    struct world *w = *state;
    static const char *const lines[] = {
        "",
        "DROP TABLE node;",
        "ATTACH 'x' AS y;",
        "PRAGMA writable_schema=1;",
        "INSERT INTO sqlite_schema VALUES('table','x','x',0,'');",
        "INSERT INTO nothing VALUES(1);",
        "INSERT INTO Setting VALUES('a','b');",
        "insert into setting VALUES('a','b');",
        "INSERT INTO setting VALUES('a','b'); DROP TABLE node;",
        "INSERT INTO setting VALUES('a','b')",
        "INSERT INTO setting VALUES('a','b';",
        "INSERT INTO setting VALUES('a');",
        "INSERT INTO setting VALUES('a','b','c');",
        "INSERT INTO setting VALUES('a',load_extension('x'));",
        "INSERT INTO setting VALUES('a',(SELECT 1));",
        "INSERT INTO setting VALUES('a',1+1);",
        "INSERT INTO setting VALUES('a','b' 'c');",
        "INSERT INTO setting VALUES('a','b);",
        "INSERT INTO setting VALUES('a',X'0);",
        "INSERT INTO setting VALUES('a',CAST(X'00' AS BLOB));",
        "INSERT INTO setting VALUES('a',CAST('00' AS INTEGER));",
        "INSERT INTO setting VALUES('a',CAST('00' AS BLOB);",
        "INSERT INTO slot_used VALUES(9223372036854775808);",
        "INSERT INTO slot_used VALUES(1.5);",
        "INSERT INTO slot_used VALUES(-);",
        "INSERT INTO slot_used VALUES('one');",
        "INSERT INTO slot_used VALUES(--1);",
        "INSERT INTO retired VALUES(X'00','short');",
        "INSERT INTO name VALUES(1,X'zz',1);",
        "INSERT INTO name VALUES(1,X'0',1);",
        "INSERT INTO name VALUES(1,X'',1);",
        "INSERT INTO node VALUES(1,1,9,0,0,0,0,0,0,0,0,0,0,0,0,0);",
        "UPDATE node SET size=1 WHERE id=1;",
        "UPDATE node SET id=1 WHERE id=1;",
        "UPDATE node SET nothing=1 WHERE id=1;",
        "UPDATE node SET size=1;",
        "UPDATE node SET size=1 WHERE id=1 OR 1=1;",
        "UPDATE name SET node=1 WHERE parent=1;",
        "UPDATE sqlite_sequence SET seq=1;",
        "DELETE FROM node;",
        "DELETE FROM node WHERE id=1;",
        "DELETE FROM node WHERE id<100;",
        "DELETE FROM event;",
        "DELETE FROM setting WHERE key='a' OR 1=1;",
        "SELECT 1;",
        "BEGIN;",
        "COMMIT; DROP TABLE node;",
        "ROLLBACK;",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        refused(w, lines[i]);
}

static void hostile_heads(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *lines[3];
        size_t n;
        mrmr_err err;
    } heads[] = {
        {{"COMMIT;"}, 1, MRMR_FORMAT},
        {{"BEGIN;", "COMMIT;"}, 2, MRMR_FORMAT},
        {{"BEGIN;", "PRAGMA application_id=1;"}, 2, MRMR_FORMAT},
        {{"BEGIN;", "PRAGMA user_version=1;"}, 2, MRMR_FORMAT},
        {{"BEGIN;", "INSERT INTO setting VALUES('a','b');"}, 2, MRMR_FORMAT},
        {{"BEGIN;", "PRAGMA application_id=1297239378;", "PRAGMA user_version=0;"}, 3, MRMR_FORMAT},
        {{"BEGIN;", "PRAGMA application_id=1297239378;", "PRAGMA user_version=-1;"}, 3,
            MRMR_FORMAT},
        {{"BEGIN;", "PRAGMA application_id=1297239378;", "PRAGMA user_version=99;"}, 3, MRMR_NEWER},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char path[160];
        struct meta_restore *r = NULL;
        world_file(w, path, "hostile.sqlite");
        assert_ok(meta_restore_create(path, &r));
        assert_err(feed(r, true, heads[i].lines, heads[i].n), heads[i].err);
        meta_restore_destroy(r);
        assert_int_equal(access(path, F_OK), -1);
    }
}

/* Well-formed, and still no catalog: meta_check has the last word. */
static void inconsistent_copies(void **state)
{
    struct world *w = *state;
    char path[160];
    struct meta_restore *r = NULL;
    world_file(w, path, "hostile.sqlite");
    assert_ok(meta_restore_create(path, &r));
    assert_ok(feed(r, true, good_head, 3));
    const char *line = "INSERT INTO name VALUES(7,CAST('a' AS BLOB),8);";
    assert_ok(meta_restore_line(r, line, strlen(line)));
    assert_ok(meta_restore_line(r, "COMMIT;", 7));
    assert_ok(meta_restore_end(r));
    assert_err(meta_restore_finish(r, NULL), MRMR_CORRUPT);
    meta_restore_destroy(r);
    assert_int_equal(access(path, F_OK), -1);
}

/* A log that breaks off or does not fit is taken back whole; the catalog is as it was before. */
static void broken_logs(void **state)
{
    struct world *w = *state;
    static struct copies c;
    char path[160];
    struct meta_restore *r = NULL;
    world_file(w, path, "ours.sqlite");
    assert_ok(meta_journal_start(w->meta));
    struct meta_drive d = make_drive(w, "one");
    make_node(w, &d, d.root, "f", META_REG, 5);
    copies_base(w, &c);
    assert_ok(meta_restore_create(path, &r));
    assert_ok(copies_restore(r, &c.base, true));
    assert_err(meta_restore_begin(r, true), MRMR_INTERNAL);
    static const char *const torn[] = {"BEGIN;", "DELETE FROM setting;",
        "INSERT INTO setting VALUES('torn','1');", "UPDATE node SET size=1 WHERE id=2;"};
    assert_ok(feed(r, false, torn, 4));
    assert_err(meta_restore_end(r), MRMR_TRUNCATED);
    meta_restore_undo(r);
    static const char *const strange[] = {
        "BEGIN;", "INSERT INTO setting VALUES('strange','1');", "DELETE FROM node WHERE id=99;"};
    assert_err(feed(r, false, strange, 3), MRMR_FORMAT);
    meta_restore_undo(r);
    static const char *const created[] = {"BEGIN;", "CREATE TABLE x (y);"};
    assert_err(feed(r, false, created, 2), MRMR_FORMAT);
    meta_restore_undo(r);
    assert_ok(meta_restore_finish(r, NULL));
    meta_restore_destroy(r);
    catalog_assert_same(w->path, path);
    /* There is one now: another is not put in its place. */
    r = NULL;
    assert_ok(meta_restore_create(path, &r));
    assert_ok(copies_restore(r, &c.base, true));
    assert_err(meta_restore_finish(r, NULL), MRMR_EXISTS);
    meta_restore_destroy(r);
    catalog_assert_same(w->path, path);
    struct meta *meta = NULL;
    struct meta_copy_state s;
    assert_ok(meta_open(path, 0, &meta));
    assert_ok(meta_journal_start(meta));
    assert_ok(meta_copy_state(meta, &s));
    assert_false(s.whole);
    assert_int_equal(s.sequence, c.sequence);
    meta_close(meta);
    unlink(path);
    copies_free(&c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(hostile_lines),
        TEST(hostile_heads),
        TEST(inconsistent_copies),
        TEST(broken_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
