/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names: making and removing them, renames with their flags, hard links, special files, and the
 * helpers built on them.
 */
#include "contract.h"

static void folders_are_made_and_removed(void **state)
{
    struct contract *c = *state;
    assert_ok(drv_mkdir(c->drv, "d", 0750));
    assert_int_equal(stat_of(c, "d").type, DRV_DIR);
    if (contract_can(c, DRV_CAP_MODE))
        assert_int_equal(stat_of(c, "d").mode, 0750);
    assert_err(drv_mkdir(c->drv, "d", 0755), MRMR_EXISTS);
    make_file(c, "d/f", "x");
    assert_err(drv_mkdir(c->drv, "d/f", 0755), MRMR_EXISTS);
    assert_err(drv_rmdir(c->drv, "d"), MRMR_NOT_EMPTY);
    assert_err(drv_unlink(c->drv, "d"), MRMR_IS_DIR);
    assert_err(drv_rmdir(c->drv, "d/f"), MRMR_NOT_DIR);
    assert_text(c, "d/f", "x");
    assert_ok(drv_unlink(c->drv, "d/f"));
    assert_ok(drv_rmdir(c->drv, "d"));
    assert_absent(c, "d");
    assert_err(drv_rmdir(c->drv, "d"), MRMR_ABSENT);
    assert_err(drv_unlink(c->drv, "d"), MRMR_ABSENT);
}

static void mkdirs_makes_what_is_missing(void **state)
{
    struct contract *c = *state;
    assert_ok(drv_mkdirs(c->drv, "", 0755));
    assert_ok(drv_mkdirs(c->drv, "a/b/c", 0755));
    assert_ok(drv_mkdirs(c->drv, "a/b/c", 0755));
    assert_ok(drv_mkdirs(c->drv, "a/x/y/z", 0755));
    assert_int_equal(stat_of(c, "a/b/c").type, DRV_DIR);
    assert_int_equal(stat_of(c, "a/x/y/z").type, DRV_DIR);
    make_file(c, "a/f", "x");
    assert_err(drv_mkdirs(c->drv, "a/f", 0755), MRMR_NOT_DIR);
    assert_err(drv_mkdirs(c->drv, "a/f/g/h", 0755), MRMR_NOT_DIR);
    assert_err(drv_mkdirs(c->drv, "a/../b", 0755), MRMR_INVALID);
    if (contract_can(c, DRV_CAP_SYMLINK)) {
        assert_ok(drv_symlink(c->drv, "b", "a/link"));
        assert_err(drv_mkdirs(c->drv, "a/link", 0755), MRMR_NOT_DIR);
        assert_err(drv_mkdirs(c->drv, "a/link/g", 0755), MRMR_LOOP);
    }
}

static void rename_replaces(void **state)
{
    struct contract *c = *state;
    make_file(c, "a", "A");
    make_file(c, "b", "B");
    const struct drv_stat a = stat_of(c, "a");
    assert_ok(drv_rename(c->drv, "a", "b", DRV_RENAME_REPLACE));
    assert_absent(c, "a");
    assert_text(c, "b", "A");
    assert_int_equal(stat_of(c, "b").ino, a.ino);
    assert_int_equal(stat_of(c, "b").mtime, a.mtime);
    assert_ok(drv_mkdirs(c->drv, "d/sub", 0755));
    assert_ok(drv_rename(c->drv, "b", "d/sub/b", DRV_RENAME_REPLACE));
    assert_text(c, "d/sub/b", "A");
    assert_ok(drv_rename(c->drv, "d/sub/b", "d/sub/b", DRV_RENAME_REPLACE));
    assert_text(c, "d/sub/b", "A");
    assert_err(drv_rename(c->drv, "none", "x", DRV_RENAME_REPLACE), MRMR_ABSENT);
}

static void rename_of_folders(void **state)
{
    struct contract *c = *state;
    assert_ok(drv_mkdirs(c->drv, "d/sub", 0755));
    assert_ok(drv_mkdir(c->drv, "empty", 0755));
    make_file(c, "d/sub/f", "x");
    make_file(c, "file", "y");
    assert_err(drv_rename(c->drv, "d", "d/sub/in", DRV_RENAME_REPLACE), MRMR_INVALID);
    assert_err(drv_rename(c->drv, "d/sub", "d", DRV_RENAME_REPLACE), MRMR_NOT_EMPTY);
    assert_err(drv_rename(c->drv, "empty", "d", DRV_RENAME_REPLACE), MRMR_NOT_EMPTY);
    assert_err(drv_rename(c->drv, "d", "file", DRV_RENAME_REPLACE), MRMR_NOT_DIR);
    assert_err(drv_rename(c->drv, "file", "empty", DRV_RENAME_REPLACE), MRMR_IS_DIR);
    assert_ok(drv_rename(c->drv, "d", "empty", DRV_RENAME_REPLACE));
    assert_text(c, "empty/sub/f", "x");
    assert_text(c, "file", "y");
    assert_absent(c, "d");
}

static void rename_without_replacing(void **state)
{
    struct contract *c = *state;
    make_file(c, "a", "A");
    make_file(c, "b", "B");
    assert_ok(drv_mkdir(c->drv, "empty", 0755));
    mrmr_err err = drv_rename(c->drv, "a", "b", DRV_RENAME_NOREPLACE);
    assert_err(err, contract_can(c, DRV_CAP_RENAME_NOREPLACE) ? MRMR_EXISTS : MRMR_UNSUPPORTED);
    CONTRACT_NEEDS(c, DRV_CAP_RENAME_NOREPLACE);
    assert_err(drv_rename(c->drv, "a", "empty", DRV_RENAME_NOREPLACE), MRMR_EXISTS);
    assert_err(drv_rename(c->drv, "a", "a", DRV_RENAME_NOREPLACE), MRMR_EXISTS);
    assert_err(drv_rename(c->drv, "none", "x", DRV_RENAME_NOREPLACE), MRMR_ABSENT);
    assert_text(c, "a", "A");
    assert_text(c, "b", "B");
    assert_ok(drv_rename(c->drv, "a", "c", DRV_RENAME_NOREPLACE));
    assert_text(c, "c", "A");
    assert_absent(c, "a");
}

static void rename_exchanges(void **state)
{
    struct contract *c = *state;
    make_file(c, "a", "A");
    assert_ok(drv_mkdirs(c->drv, "d/sub", 0755));
    make_file(c, "d/f", "F");
    mrmr_err err = drv_rename(c->drv, "a", "d/f", DRV_RENAME_EXCHANGE);
    assert_err(err, contract_can(c, DRV_CAP_RENAME_EXCHANGE) ? MRMR_OK : MRMR_UNSUPPORTED);
    CONTRACT_NEEDS(c, DRV_CAP_RENAME_EXCHANGE);
    assert_text(c, "a", "F");
    assert_text(c, "d/f", "A");
    assert_ok(drv_rename(c->drv, "a", "d/sub", DRV_RENAME_EXCHANGE));
    assert_int_equal(stat_of(c, "a").type, DRV_DIR);
    assert_text(c, "d/sub", "F");
    assert_err(drv_rename(c->drv, "a", "none", DRV_RENAME_EXCHANGE), MRMR_ABSENT);
    assert_err(drv_rename(c->drv, "none", "a", DRV_RENAME_EXCHANGE), MRMR_ABSENT);
    assert_err(drv_rename(c->drv, "d", "d/f", DRV_RENAME_EXCHANGE), MRMR_INVALID);
    assert_err(drv_rename(c->drv, "a", "d", 99), MRMR_INVALID);
}

static void hard_links_share_one_file(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_HARDLINK);
    make_file(c, "a", "text");
    assert_int_equal(stat_of(c, "a").nlink, 1);
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    assert_ok(drv_link(c->drv, "a", "d/b"));
    assert_ok(drv_link(c->drv, "a", "c"));
    assert_int_equal(stat_of(c, "a").nlink, 3);
    assert_int_equal(stat_of(c, "d/b").nlink, 3);
    assert_int_equal(stat_of(c, "a").ino, stat_of(c, "d/b").ino);
    assert_ok(
        drv_rename(c->drv, "a", "c", DRV_RENAME_REPLACE)); /* the same file: nothing happens */
    assert_int_equal(stat_of(c, "a").nlink, 3);
    assert_ok(drv_unlink(c->drv, "a"));
    assert_int_equal(stat_of(c, "c").nlink, 2);
    assert_text(c, "d/b", "text");
    make_file(c, "other", "o");
    assert_err(drv_link(c->drv, "c", "other"), MRMR_EXISTS);
    assert_err(drv_link(c->drv, "c", "c"), MRMR_EXISTS);
    assert_err(drv_link(c->drv, "d", "d2"), MRMR_IS_DIR);
    assert_err(drv_link(c->drv, "none", "x"), MRMR_ABSENT);
    assert_text(c, "other", "o");
    if (contract_can(c, DRV_CAP_SYMLINK)) { /* a link to a symlink, not to what it points to */
        assert_ok(drv_symlink(c->drv, "c", "sym"));
        assert_ok(drv_link(c->drv, "sym", "sym2"));
        assert_int_equal(stat_of(c, "sym2").type, DRV_SYMLINK);
        assert_int_equal(stat_of(c, "c").nlink, 2);
    }
}

static void special_files_are_made_and_never_opened(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_SPECIAL);
    static const enum drv_type types[] = {DRV_FIFO, DRV_SOCKET, DRV_CHAR, DRV_BLOCK};
    struct drv_file *file = NULL;
    alarm(20); /* opening a FIFO would wait for ever */
    for (size_t i = 0; i < 4; i++) {
        bool device = types[i] == DRV_CHAR || types[i] == DRV_BLOCK;
        mrmr_err err = drv_mknod(c->drv, "node", types[i], 0640, device ? 0x0107 : 0);
        if (device && err == MRMR_DENIED)
            continue; /* only root makes devices */
        assert_err(err, MRMR_OK);
        const struct drv_stat stat = stat_of(c, "node");
        assert_int_equal(stat.type, types[i]);
        assert_int_equal(stat.mode, 0640);
        assert_int_equal(stat.rdev, device ? 0x0107 : 0);
        assert_err(drv_file_open(c->drv, "node", DRV_OPEN_READ, 0, &file), MRMR_INVALID);
        assert_err(
            drv_file_open(c->drv, "node", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file), MRMR_INVALID);
        assert_err(drv_file_open(c->drv, "node", DRV_OPEN_WRITE, 0, &file), MRMR_INVALID);
        assert_null(file);
        assert_err(drv_mknod(c->drv, "node", DRV_FIFO, 0600, 0), MRMR_EXISTS);
        assert_ok(drv_unlink(c->drv, "node"));
    }
    alarm(0);
    assert_err(drv_mknod(c->drv, "node", DRV_REG, 0600, 0), MRMR_INVALID);
    assert_err(drv_mknod(c->drv, "node", DRV_DIR, 0600, 0), MRMR_INVALID);
}

static void replace_is_whole(void **state)
{
    struct contract *c = *state;
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    assert_ok(drv_replace(c->drv, "d/f", "one", 3, 0640));
    assert_text(c, "d/f", "one");
    if (contract_can(c, DRV_CAP_MODE))
        assert_int_equal(stat_of(c, "d/f").mode, 0640);
    make_file(c, "d/f.new", "left behind by a crash, and longer");
    assert_ok(drv_replace(c->drv, "d/f", "two", 3, 0600));
    assert_text(c, "d/f", "two");
    assert_absent(c, "d/f.new");
    assert_ok(drv_replace(c->drv, "top", "", 0, 0600));
    assert_int_equal(stat_of(c, "top").size, 0);
    assert_ok(drv_mkdir(c->drv, "d/dir", 0755));
    assert_err(drv_replace(c->drv, "d/dir", "x", 1, 0600), MRMR_IS_DIR);
    assert_absent(c, "d/dir.new");
    assert_err(drv_replace(c->drv, "none/f", "x", 1, 0600), MRMR_ABSENT);
}

static void read_all_is_bounded(void **state)
{
    struct contract *c = *state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    make_file(c, "f", "12345");
    assert_ok(mrmr_bytes_str(&b, "0"));
    assert_ok(drv_read_all(c->drv, "f", 5, &b));
    assert_string_equal(b.data, "012345");
    assert_err(drv_read_all(c->drv, "f", 4, &b), MRMR_SPACE);
    assert_err(drv_read_all(c->drv, "none", 4, &b), MRMR_ABSENT);
    assert_string_equal(b.data, "012345");
    mrmr_autofree uint8_t *big = malloc(300001);
    assert_non_null(big);
    fill(big, 300001, 0, 7);
    assert_ok(drv_replace(c->drv, "big", big, 300001, 0600));
    mrmr_bytes_clear(&b);
    assert_ok(drv_read_all(c->drv, "big", 300001, &b));
    assert_int_equal(b.size, 300001);
    assert_memory_equal(b.data, big, 300001);
}

static void syncs_succeed(void **state)
{
    struct contract *c = *state;
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    make_file(c, "d/f", "x");
    if (contract_can(c, DRV_CAP_DURABLE_NAMES)) {
        assert_ok(drv_dir_sync(c->drv, "d"));
        assert_ok(drv_dir_sync(c->drv, ""));
    }
    mrmr_err err = drv_sync_all(c->drv);
    assert_true(err == MRMR_OK || err == MRMR_UNSUPPORTED);
}

const struct CMUnitTest cases_names[] = {
    CASE(folders_are_made_and_removed),
    CASE(mkdirs_makes_what_is_missing),
    CASE(rename_replaces),
    CASE(rename_of_folders),
    CASE(rename_without_replacing),
    CASE(rename_exchanges),
    CASE(hard_links_share_one_file),
    CASE(special_files_are_made_and_never_opened),
    CASE(replace_is_whole),
    CASE(read_all_is_bounded),
    CASE(syncs_succeed),
};
const size_t cases_names_count = sizeof cases_names / sizeof *cases_names;
