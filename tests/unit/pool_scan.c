/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The walk and what follows from it when nothing is suspicious: each test runs on a drive in memory
 * and on a folder.
 */
#include "pool_scan_world.h"
#include "tests/support/skip.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* Files that keep the rest from being most of the drive. */
static void ballast(struct scan_world *w)
{
    char path[64];
    scan_world_mkdir(w, "ballast");
    for (int i = 0; i < 40; i++)
        scan_world_file(w, (snprintf(path, sizeof path, "ballast/%d", i), path), 10, 1);
}

static void all_kinds_of_entries_are_taken_in(void **state)
{
    struct scan_world *w = *state;
    struct drv *drv = scan_world_drv(w);
    char name[300] = "deep/";
    memset(name + 5, 'n', 255);
    scan_world_mkdir(w, "deep/er/and/deeper");
    scan_world_file(w, "deep/er/file", 3 * LEAF + 5, 1);
    scan_world_file(w, "deep/empty", 0, 0);
    scan_world_file(w, "deep/new\nline \xff\xfe", 12, 2);
    scan_world_file(w, name, 1, 3);
    assert_ok(drv_link(drv, "deep/er/file", "deep/link"));
    assert_ok(drv_symlink(drv, "../nowhere \x80", "deep/symlink"));
    assert_ok(drv_mknod(drv, "deep/fifo", DRV_FIFO, 0600, 0));
    assert_ok(drv_mknod(drv, "deep/socket", DRV_SOCKET, 0600, 0));
    scan_world_mkdir(w, POOL_DOT "/parity");
    scan_world_file(w, POOL_DOT "/parity/row", 100, 4);
    scan_world_mkdir(w, "lost+found");
    uint64_t opened = drv_fault_calls(w->fault[0], DRV_FAULT_FILE_READ);
    scan_world_scan(w);
    assert_int_equal(drv_fault_calls(w->fault[0], DRV_FAULT_FILE_READ), opened);
    struct meta_node node;
    assert_false(scan_world_knows(w, POOL_DOT, &node));
    assert_false(scan_world_knows(w, "lost+found", &node));
    assert_int_equal(scan_world_node(w, "deep/link").id, scan_world_node(w, "deep/er/file").id);
    assert_int_equal(scan_world_exposed(w, "deep/er/file"), 3 * LEAF + 5);
    assert_int_equal(scan_world_exposed(w, "deep/empty"), 0);
    assert_int_equal(scan_world_node(w, "deep/fifo").type, META_FIFO);
    scan_world_unlink(w, POOL_DOT "/parity/row");
    scan_world_rmdir(w, POOL_DOT "/parity");
    scan_world_rmdir(w, POOL_DOT);
    scan_world_check(w);
    assert_int_equal(w->report.files, 5);
    assert_int_equal(w->report.held + w->report.unreadable + w->report.vanished, 0);
}

static void xattrs_are_recorded_and_follow_changes(void **state)
{
    struct scan_world *w = *state;
    struct drv *drv = scan_world_drv(w);
    if (!(w->drive[0]->info.caps & DRV_CAP_XATTR))
        return;
    scan_world_file(w, "file", 5, 1);
    assert_ok(drv_xattr_set(drv, "file", "user.colour", "blue", 4));
    scan_world_scan(w);
    struct mrmr_bytes known = MRMR_BYTES_INIT, there = MRMR_BYTES_INIT;
    int64_t id = scan_world_node(w, "file").id;
    assert_ok(meta_attr_get(w->pool.meta, id, &known));
    assert_ok(pool_attrs_read(drv, "file", &there));
    assert_true(known.size > 4 && known.size == there.size);
    assert_memory_equal(known.data, there.data, known.size);
    assert_ok(drv_xattr_set(drv, "file", "user.colour", NULL, 0));
    scan_world_sync(w);
    mrmr_bytes_clear(&known);
    assert_ok(meta_attr_get(w->pool.meta, id, &known));
    assert_int_equal(known.size, 0);
    mrmr_bytes_free(&known);
    mrmr_bytes_free(&there);
}

static void xattrs_are_known(struct scan_world *w, const char *path)
{
    struct mrmr_bytes known = MRMR_BYTES_INIT, there = MRMR_BYTES_INIT;
    assert_ok(meta_attr_get(w->pool.meta, scan_world_node(w, path).id, &known));
    assert_ok(pool_attrs_read(scan_world_drv(w), path, &there));
    assert_true(known.size > 0 && known.size == there.size);
    assert_memory_equal(known.data, there.data, known.size);
    mrmr_bytes_free(&known);
    mrmr_bytes_free(&there);
}

/* At once, or, if they cannot be read then, by the next scan. */
static void xattrs_follow_what_is_moved(void **state)
{
    static const char *const moved[] = {"to/moved", "to/sub", "top/in", "top"};
    struct scan_world *w = *state;
    struct drv *drv = scan_world_drv(w);
    const uint32_t needs = DRV_CAP_XATTR | DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME;
    if ((w->drive[0]->info.caps & needs) != needs)
        return;
    scan_world_mkdir(w, "to");
    scan_world_mkdir(w, "sub");
    scan_world_mkdir(w, "old");
    scan_world_file(w, "file", 5, 1);
    scan_world_file(w, "other", 5, 2);
    scan_world_scan(w);
    scan_world_rename(w, "file", "to/moved");
    scan_world_rename(w, "sub", "to/sub");
    scan_world_rename(w, "other", "old/in");
    scan_world_rename(w, "old", "top");
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
        assert_ok(drv_xattr_set(drv, moved[i], "user.colour", "blue", 4));
    const struct drv_fault_rule once = {
        .ops = DRV_FAULT_XATTR_LIST, .prefix = "to/moved", .times = 1, .err = MRMR_BUSY};
    assert_ok(drv_fault_add(w->fault[0], &once, NULL));
    scan_world_sync(w);
    for (size_t i = 1; i < sizeof moved / sizeof *moved; i++)
        xattrs_are_known(w, moved[i]);
    scan_world_sync(w);
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++)
        xattrs_are_known(w, moved[i]);
    scan_world_check(w);
}

static void rename_above(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    scan_world_rename(arg, "folder", "renamed");
}

static bool has_tag(struct scan_world *w, const char *path, const char *value)
{
    mrmr_autobytes struct mrmr_bytes blob = MRMR_BYTES_INIT;
    assert_ok(meta_attr_get(w->pool.meta, scan_world_node(w, path).id, &blob));
    return blob.data && memmem(blob.data, blob.size, value, strlen(value));
}

/* A folder above it is renamed between the look at the file and that at its attributes. */
static void xattrs_that_were_missed_are_found_later(void **state)
{
    struct scan_world *w = *state;
    if (!(w->drive[0]->info.caps & DRV_CAP_XATTR))
        return;
    ballast(w);
    scan_world_mkdir(w, "folder");
    scan_world_file(w, "folder/a", LEAF, 1);
    assert_ok(drv_xattr_set(scan_world_drv(w), "folder/a", "user.tag", "before", 6));
    scan_world_scan(w);
    scan_world_protect(w, "folder/a");
    assert_true(has_tag(w, "folder/a", "before"));
    assert_ok(drv_xattr_set(scan_world_drv(w), "folder/a", "user.tag", "later", 5));
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_STAT | DRV_FAULT_XATTR_LIST,
            .part = "folder/a",
            .times = 1,
            .action = DRV_FAULT_HOOK,
            .hook = rename_above,
            .arg = w},
        NULL));
    scan_world_sync(w);
    drv_fault_clear(w->fault[0]);
    scan_world_sync(w);
    scan_world_sync(w);
    assert_true(has_tag(w, "renamed/a", "later"));
    assert_states(w, scan_world_node(w, "renamed/a").id, "L");
    scan_world_check(w);
}

static void a_scan_without_changes_writes_nothing(void **state)
{
    struct scan_world *w = *state;
    scan_world_mkdir(w, "a/b");
    for (int i = 0; i < 20; i++) {
        char path[32];
        scan_world_file(w, (snprintf(path, sizeof path, "a/b/%d", i), path), 100, 1);
    }
    scan_world_sync(w);
    struct meta_node before[64], after[64];
    size_t n, m;
    assert_ok(meta_nodes_after(w->pool.meta, w->drive[0]->meta.id, 0, before, 64, &n));
    int64_t scanned = w->drive[0]->meta.scanned;
    scan_world_sync(w);
    assert_ok(meta_nodes_after(w->pool.meta, w->drive[0]->meta.id, 0, after, 64, &m));
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(before[i].sequence, after[i].sequence); /* every store gives a new one */
    assert_true(w->drive[0]->meta.scanned > scanned);
    assert_int_equal(w->report.files, 20);
    assert_int_equal(w->report.added + w->report.changed + w->report.moved + w->report.vanished, 0);
}

static void what_is_moved_keeps_its_node_and_is_not_read(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_mkdir(w, "from/sub");
    scan_world_mkdir(w, "to");
    scan_world_file(w, "from/file", 2 * LEAF, 1);
    scan_world_file(w, "from/sub/other", LEAF, 2);
    scan_world_scan(w);
    scan_world_protect(w, "from/file");
    scan_world_protect(w, "from/sub/other");
    struct meta_node file = scan_world_node(w, "from/file"), sub = scan_world_node(w, "from/sub"),
                     other = scan_world_node(w, "from/sub/other");
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_INO))
        return;
    scan_world_rename(w, "from/file", "to/renamed");
    scan_world_rename(w, "from/sub", "to/sub2");
    uint64_t reads = drv_fault_calls(w->fault[0], DRV_FAULT_FILE_READ);
    scan_world_sync(w);
    assert_int_equal(drv_fault_calls(w->fault[0], DRV_FAULT_FILE_READ), reads);
    assert_int_equal(scan_world_node(w, "to/renamed").id, file.id);
    assert_int_equal(scan_world_node(w, "to/renamed").version, file.version);
    assert_int_equal(scan_world_node(w, "to/sub2").id, sub.id);
    assert_int_equal(scan_world_node(w, "to/sub2/other").id, other.id);
    assert_states(w, file.id, "LL");
    assert_states(w, other.id, "L");
    assert_int_equal(w->report.moved, 2);
    assert_int_equal(w->report.added + w->report.vanished + w->report.changed, 0);
    scan_world_check(w);
}

static void folders_may_trade_places_and_be_turned_inside_out(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_mkdir(w, "a/b");
    scan_world_mkdir(w, "c");
    scan_world_file(w, "a/b/x", LEAF, 1);
    scan_world_file(w, "a/y", LEAF, 2);
    scan_world_file(w, "c/z", LEAF, 3);
    scan_world_scan(w);
    scan_world_protect(w, "a/b/x");
    scan_world_protect(w, "a/y");
    scan_world_protect(w, "c/z");
    struct meta_node x = scan_world_node(w, "a/b/x"), y = scan_world_node(w, "a/y"),
                     z = scan_world_node(w, "c/z");
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_INO))
        return;
    /* a and c trade places; then b, which was inside, becomes what holds all. */
    scan_world_rename(w, "a", "t");
    scan_world_rename(w, "c", "a");
    scan_world_rename(w, "t", "c");
    scan_world_sync(w);
    scan_world_check(w);
    assert_int_equal(scan_world_node(w, "a/z").id, z.id);
    assert_int_equal(scan_world_node(w, "c/b/x").id, x.id);
    scan_world_rename(w, "c/b", "b");
    scan_world_rename(w, "c", "b/c");
    scan_world_sync(w);
    scan_world_check(w);
    assert_int_equal(scan_world_node(w, "b/x").id, x.id);
    assert_int_equal(scan_world_node(w, "b/c/y").id, y.id);
    assert_states(w, x.id, "L");
    assert_states(w, y.id, "L");
    assert_states(w, z.id, "L");
    assert_int_equal(w->report.vanished + w->report.added, 0);
}

static void files_may_rotate_and_be_replaced(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_file(w, "log", LEAF, 1);
    scan_world_file(w, "log.1", LEAF + 1, 2);
    scan_world_file(w, "log.2", LEAF + 2, 3);
    scan_world_scan(w);
    scan_world_protect(w, "log");
    scan_world_protect(w, "log.1");
    scan_world_protect(w, "log.2");
    struct meta_node log0 = scan_world_node(w, "log"), log1 = scan_world_node(w, "log.1"),
                     log2 = scan_world_node(w, "log.2");
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_INO))
        return;
    scan_world_rename(w, "log.1", "log.2");
    scan_world_rename(w, "log", "log.1");
    scan_world_file(w, "log", 17, 4);
    scan_world_sync(w);
    assert_int_equal(scan_world_node(w, "log.1").id, log0.id);
    assert_int_equal(scan_world_node(w, "log.2").id, log1.id);
    assert_int_not_equal(scan_world_node(w, "log").id, log0.id);
    assert_states(w, log0.id, "L");
    assert_states(w, log1.id, "LL");
    struct meta_node gone;
    assert_int_equal(meta_node_get(w->pool.meta, log2.id, &gone), MRMR_ABSENT);
    assert_int_equal(scan_world_exposed(w, "log"), 17);
    assert_int_equal(w->report.vanished, 1);
    scan_world_check(w);
}

static void a_file_moved_and_edited_is_both(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_file(w, "old", 2 * LEAF, 1);
    scan_world_scan(w);
    scan_world_protect(w, "old");
    struct meta_node old = scan_world_node(w, "old");
    if (!(w->drive[0]->info.caps & DRV_CAP_BTIME))
        return;
    scan_world_rename(w, "old", "new");
    scan_world_write(w, "new", LEAF, 10, 9);
    scan_world_mtime(w, "new", old.mtime + MRMR_NS_PER_S);
    scan_world_sync(w);
    struct meta_node now = scan_world_node(w, "new");
    assert_int_equal(now.id, old.id);
    assert_int_equal(now.version, old.version + 1);
    assert_states(w, old.id, "LG");
    assert_int_equal(scan_world_exposed(w, "new"), LEAF);
    scan_world_check(w);
}

static void hard_links_come_and_go(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_file(w, "a", LEAF, 1);
    scan_world_scan(w);
    scan_world_protect(w, "a");
    int64_t id = scan_world_node(w, "a").id;
    assert_ok(drv_link(scan_world_drv(w), "a", "b"));
    scan_world_sync(w);
    scan_world_check(w);
    if (w->drive[0]->info.caps & DRV_CAP_STABLE_INO)
        assert_int_equal(scan_world_node(w, "b").id, id);
    scan_world_rename(w, "a", "c");
    scan_world_sync(w);
    scan_world_sync(w);
    scan_world_check(w);
    scan_world_unlink(w, "b");
    scan_world_sync(w);
    scan_world_check(w);
    if (w->drive[0]->info.caps & DRV_CAP_STABLE_INO)
        assert_int_equal(scan_world_node(w, "c").id, id);
    assert_states(w, scan_world_node(w, "c").id, "L");
    assert_int_equal(w->report.held, 0);
}

/* Two names of one file, one of which is then another file. */
static void a_name_may_leave_its_links(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_file(w, "a", LEAF, 1);
    assert_ok(drv_link(scan_world_drv(w), "a", "b"));
    scan_world_scan(w);
    scan_world_protect(w, "a");
    int64_t id = scan_world_node(w, "a").id;
    scan_world_unlink(w, "b");
    scan_world_file(w, "b", 33, 2);
    scan_world_sync(w);
    scan_world_check(w);
    if (w->drive[0]->info.caps & DRV_CAP_STABLE_INO)
        assert_int_equal(scan_world_node(w, "a").id, id);
    assert_states(w, scan_world_node(w, "a").id, "L");
    assert_int_equal(scan_world_exposed(w, "b"), 33);
}

static void link_it(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    assert_ok(drv_link(scan_world_drv(arg), "a", "folder/b"));
}

/* Another file has the name of a known one, and gets a second name while the walk is between the two. */
static void a_file_may_get_a_name_under_the_walk(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_mkdir(w, "folder");
    scan_world_file(w, "a", LEAF, 1);
    scan_world_scan(w);
    scan_world_protect(w, "a");
    scan_world_file(w, "new", LEAF, 2);
    scan_world_rename(w, "new", "a");
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_LIST,
            .prefix = "folder",
            .times = 1,
            .action = DRV_FAULT_HOOK,
            .hook = link_it,
            .arg = w},
        NULL));
    scan_world_sync(w);
    drv_fault_clear(w->fault[0]);
    scan_world_sync(w);
    if (w->drive[0]->info.caps & DRV_CAP_STABLE_INO)
        assert_int_equal(scan_world_node(w, "folder/b").id, scan_world_node(w, "a").id);
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

static void a_name_may_become_another_kind_of_thing(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_file(w, "thing", LEAF, 1);
    scan_world_mkdir(w, "folder/sub");
    scan_world_file(w, "folder/sub/in", LEAF, 1);
    scan_world_scan(w);
    scan_world_protect(w, "thing");
    int64_t stripe_node = scan_world_node(w, "thing").id;
    scan_world_unlink(w, "thing");
    scan_world_mkdir(w, "thing");
    scan_world_file(w, "thing/inside", 5, 2);
    scan_world_unlink(w, "folder/sub/in");
    scan_world_rmdir(w, "folder/sub");
    scan_world_rmdir(w, "folder");
    assert_ok(drv_symlink(scan_world_drv(w), "x", "folder"));
    scan_world_sync(w);
    scan_world_check(w);
    assert_states(w, stripe_node, "");
    assert_int_equal(scan_world_exposed(w, "thing/inside"), 5);
    assert_int_equal(w->report.vanished, 2);
}

/* mv d e; mkdir d: the new d must not be taken for the old one's emptied remains. */
static void a_folder_may_be_moved_away_and_made_anew(void **state)
{
    struct scan_world *w = *state;
    scan_world_mkdir(w, "d");
    scan_world_mkdir(w, "zz");
    scan_world_file(w, "d/x", LEAF, 1);
    scan_world_scan(w);
    scan_world_protect(w, "d/x");
    int64_t x = scan_world_node(w, "d/x").id;
    if (!(w->drive[0]->info.caps & DRV_CAP_BTIME))
        return;
    scan_world_rename(w, "d", "zz/e");
    scan_world_mkdir(w, "d");
    scan_world_file(w, "d/x", 7, 2);
    scan_world_sync(w);
    scan_world_check(w);
    assert_int_equal(scan_world_node(w, "zz/e/x").id, x);
    assert_states(w, x, "L");
    assert_int_equal(scan_world_exposed(w, "d/x"), 7);
    assert_int_equal(w->report.vanished + w->report.drives_held, 0);
}

static void sparse_files_expose_their_data_only(void **state)
{
    struct scan_world *w = *state;
    if (!(w->drive[0]->info.caps & DRV_CAP_SPARSE))
        return;
    ballast(w);
    scan_world_file(w, "sparse", 0, 0);
    scan_world_truncate(w, "sparse", UINT64_C(1) << 40);
    scan_world_write(w, "sparse", 5 * LEAF, 3, 1);
    scan_world_write(w, "sparse", 9 * LEAF - 10, 20, 2); /* over the edge of two leaves */
    scan_world_file(w, "hole", 0, 0);
    scan_world_truncate(w, "hole", 10 * LEAF + 1);
    scan_world_scan(w);
    assert_int_equal(scan_world_exposed(w, "sparse"), 3 * LEAF);
    assert_int_equal(scan_world_exposed(w, "hole"), 0);
    /* A hole that is filled, with the time put back, is found. */
    int64_t mtime = scan_world_get_mtime(w, "hole");
    scan_world_write(w, "hole", 10 * LEAF, 1, 1);
    scan_world_mtime(w, "hole", mtime);
    scan_world_sync(w);
    assert_int_equal(scan_world_exposed(w, "hole"), 1);
    assert_int_equal(scan_world_exposed(w, "sparse"), 3 * LEAF);
}

static void excluded_names_are_left_out(void **state)
{
    struct scan_world *w = *state;
    assert_ok(meta_set(w->pool.meta, "exclude", "*.tmp:cache\n/photos/raw/*:keep/[ab]"));
    scan_world_mkdir(w, "photos/raw");
    scan_world_mkdir(w, "deep/cache");
    scan_world_mkdir(w, "keep");
    scan_world_mkdir(w, ".Trash-1000");
    scan_world_mkdir(w, "deep/lost+found");
    const char *const out[] = {
        "a.tmp", "deep/cache/x", "photos/raw/y", "keep/a", ".Trash-1000/z", "deep/b.tmp"};
    const char *const in[] = {"photos/raw.jpg", "keep/c", "deep/lost+found/q", "tmp"};
    for (size_t i = 0; i < 6; i++)
        scan_world_file(w, out[i], 1, 1);
    for (size_t i = 0; i < 4; i++)
        scan_world_file(w, in[i], 1, 1);
    scan_world_scan(w);
    struct meta_node node;
    for (size_t i = 0; i < 6; i++)
        assert_false(scan_world_knows(w, out[i], &node));
    for (size_t i = 0; i < 4; i++)
        assert_true(scan_world_knows(w, in[i], &node));
}

static void paths_may_be_longer_than_the_system_takes(void **state)
{
    struct scan_world *w = *state;
    struct mrmr_bytes path = MRMR_BYTES_INIT;
    char name[200];
    memset(name, 'd', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < 30; i++)
        assert_ok(mrmr_bytes_fmt(&path, "%s%s", i ? "/" : "", name));
    scan_world_mkdir(w, path.data);
    assert_ok(mrmr_bytes_str(&path, "/file"));
    assert_true(path.size > 4096);
    scan_world_file(w, path.data, 44, 1);
    scan_world_scan(w);
    assert_int_equal(scan_world_exposed(w, path.data), 44);
    scan_world_write(w, path.data, 44, 10, 2);
    scan_world_sync(w);
    assert_int_equal(scan_world_exposed(w, path.data), 54);
    scan_world_check(w);
    mrmr_bytes_free(&path);
}

/* --- Things that fail --- */

static void unreadable_folders_keep_what_is_known(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_mkdir(w, "closed/sub");
    scan_world_file(w, "closed/sub/file", LEAF, 1);
    scan_world_scan(w);
    scan_world_protect(w, "closed/sub/file");
    scan_world_file(w, "open", 5, 1);
    scan_world_unlink(w, "ballast/1");
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_LIST,
            .prefix = "closed",
            .action = DRV_FAULT_ERROR,
            .err = MRMR_DENIED},
        NULL));
    scan_world_sync(w);
    assert_int_equal(w->report.unreadable, 1);
    assert_int_equal(w->report.vanished, 1);
    assert_non_null(strstr(w->last, "closed"));
    assert_int_equal(scan_world_events(w, "unreadable"), 1);
    assert_states(w, scan_world_node(w, "closed/sub/file").id, "L");
    assert_int_equal(scan_world_exposed(w, "open"), 5);
    drv_fault_clear(w->fault[0]);
    scan_world_sync(w);
    scan_world_check(w);
}

static void a_list_that_breaks_off_makes_nothing_vanish(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_scan(w);
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_LIST,
            .prefix = "ballast",
            .action = DRV_FAULT_SHORT,
            .bytes = 3,
            .err = MRMR_IO},
        NULL));
    scan_world_scan(w);
    assert_int_equal(w->report.unreadable, 1);
    assert_int_equal(w->report.vanished + w->report.held, 0);
    drv_fault_clear(w->fault[0]);
    scan_world_check(w);
}

static void a_drive_that_goes_away_is_not_judged(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    for (int i = 0; i < 4; i++) {
        char path[32];
        scan_world_mkdir(w, (snprintf(path, sizeof path, "f%d", i), path));
        scan_world_file(w, (snprintf(path, sizeof path, "f%d/x", i), path), 10, 1);
    }
    struct drv_file *file;
    assert_ok(
        drv_file_open(w->drive[1]->drv, "other", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    scan_world_scan(w);
    scan_world_unlink(w, "ballast/1");
    assert_ok(drv_unlink(w->drive[1]->drv, "other"));
    assert_ok(
        drv_file_open(w->drive[1]->drv, "new", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    drv_file_close(file);
    assert_ok(meta_set(w->pool.meta, "hold-percent", "100"));
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){
            .ops = DRV_FAULT_LIST, .after = 3, .action = DRV_FAULT_ERROR, .err = MRMR_OFFLINE},
        NULL));
    int64_t scanned = w->drive[0]->meta.scanned;
    scan_world_scan(w);
    assert_int_equal(w->report.drives_away, 1);
    assert_int_equal(w->drive[0]->presence, POOL_AWAY);
    assert_int_equal(w->drive[0]->meta.scanned, scanned);
    scan_world_node(w, "ballast/1"); /* still known */
    struct meta_node node;
    assert_ok(meta_lookup(w->pool.meta, w->drive[1]->meta.root, "new", &node));
    assert_int_equal(scan_world_events(w, "drive-failed"), 1);
    /* Back again: what was staged is thrown away and found anew. */
    drv_fault_clear(w->fault[0]);
    w->drive[0]->presence = POOL_PRESENT;
    scan_world_scan(w);
    assert_false(scan_world_knows(w, "ballast/1", &node));
    scan_world_check(w);
}

static void cancel(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    atomic_store(&((struct scan_world *)arg)->cancel.flag, true);
}

static void an_interrupted_scan_goes_on_the_next_time(void **state)
{
    struct scan_world *w = *state;
    ballast(w);
    scan_world_scan(w);
    scan_world_unlink(w, "ballast/3");
    scan_world_mkdir(w, "more/and/more");
    scan_world_file(w, "more/and/more/x", 9, 1);
    assert_ok(drv_fault_add(w->fault[0],
        &(struct drv_fault_rule){.ops = DRV_FAULT_LIST,
            .prefix = "more/and",
            .action = DRV_FAULT_HOOK,
            .hook = cancel,
            .arg = w},
        NULL));
    assert_int_equal(scan_world_try(w, false), MRMR_CANCELLED);
    scan_world_node(w, "ballast/3");
    scan_world_node(w, "more");
    drv_fault_clear(w->fault[0]);
    atomic_store(&w->cancel.flag, false);
    scan_world_scan(w);
    assert_int_equal(w->report.vanished, 1);
    scan_world_check(w);
}

static void what_is_mounted_below_is_not_the_drives(void **state)
{
    struct scan_world *w = *state;
    char path[128];
    if (!w->local)
        return;
    if (geteuid() != 0)
        skip_for("mounting needs root");
    ballast(w);
    scan_world_mkdir(w, "under/sub");
    scan_world_file(w, "under/sub/file", LEAF, 1);
    scan_world_file(w, "under/bare", 5, 1);
    scan_world_scan(w);
    scan_world_protect(w, "under/sub/file");
    struct meta_node node = scan_world_node(w, "under/sub/file");
    snprintf(path, sizeof path, "%s/d1/under", w->dir);
    if (mount("none", path, "tmpfs", 0, "size=1M"))
        skip_for("a tmpfs cannot be mounted here");
    scan_world_sync(w);
    mrmr_err again = scan_world_try(w, false);
    uint64_t held = scan_world_held(w);
    char states[8];
    snprintf(states, sizeof states, "%s", scan_world_states(w, node.id));
    assert_int_equal(umount(path), 0);
    assert_ok(again);
    assert_int_equal(held, 1);
    assert_string_equal(states, "M");
    assert_int_equal(scan_world_events(w, "hidden"), 1);
    assert_int_equal(w->report.drives_held, 0);
    scan_world_node(w, "under/bare");
    scan_world_sync(w);
    assert_states(w, node.id, "L");
    assert_int_equal(scan_world_held(w), 0);
    scan_world_check(w);
}

/* --- Size --- */

/* On one kind of drive, drawn each time, since the drives' part in it is that of the tests above. */
static void many_files_cross_checkpoints(void **state)
{
    static int64_t drawn;
    struct scan_world *w = *state;
    char path[64];
    if (!drawn)
        drawn = mrmr_clock_real() / 1000 % 2 + 1;
    if (!getenv("MRMR_ALL") && w->local != (drawn == 1))
        return;
    for (int d = 0; d < 40; d++) {
        scan_world_mkdir(w, (snprintf(path, sizeof path, "d%02d", d), path));
        for (int i = 0; i < 500; i++)
            scan_world_file(w, (snprintf(path, sizeof path, "d%02d/%d", d, i), path), 1, 1);
    }
    scan_world_scan(w);
    assert_int_equal(w->report.files, 20000);
    assert_int_equal(w->report.exposed_files, 20000);
    int64_t start = mrmr_clock_monotonic();
    scan_world_sync(w);
    print_message("a scan of 20,000 unchanged files (%s) took %.0f ms\n",
        w->local ? "a folder" : "memory", (double)(mrmr_clock_monotonic() - start) / 1e6);
    assert_int_equal(w->report.added, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(all_kinds_of_entries_are_taken_in),
        BOTH(xattrs_are_recorded_and_follow_changes),
        BOTH(xattrs_follow_what_is_moved),
        BOTH(xattrs_that_were_missed_are_found_later),
        BOTH(a_scan_without_changes_writes_nothing),
        BOTH(what_is_moved_keeps_its_node_and_is_not_read),
        BOTH(folders_may_trade_places_and_be_turned_inside_out),
        BOTH(files_may_rotate_and_be_replaced),
        BOTH(a_file_moved_and_edited_is_both),
        BOTH(hard_links_come_and_go),
        BOTH(a_name_may_leave_its_links),
        BOTH(a_file_may_get_a_name_under_the_walk),
        BOTH(a_name_may_become_another_kind_of_thing),
        BOTH(a_folder_may_be_moved_away_and_made_anew),
        BOTH(sparse_files_expose_their_data_only),
        BOTH(excluded_names_are_left_out),
        BOTH(paths_may_be_longer_than_the_system_takes),
        BOTH(unreadable_folders_keep_what_is_known),
        BOTH(a_list_that_breaks_off_makes_nothing_vanish),
        BOTH(a_drive_that_goes_away_is_not_judged),
        BOTH(an_interrupted_scan_goes_on_the_next_time),
        BOTH(what_is_mounted_below_is_not_the_drives),
        BOTH(many_files_cross_checkpoints),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
