/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Paths: what is refused, what any byte may be, depth, and that nothing is followed out of the
 * root.
 */
#include "contract.h"

/* What each op that takes a path says to it. */
typedef mrmr_err (*path_op)(struct contract *c, const char *path);

static mrmr_err ignore_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name;
    (void)stat;
    (void)arg;
    return err;
}

static mrmr_err ignore_xattr(const char *name, const void *value, size_t size, void *arg)
{
    (void)name;
    (void)value;
    (void)size;
    (void)arg;
    return MRMR_OK;
}

static mrmr_err op_stat(struct contract *c, const char *path)
{
    struct drv_stat stat;
    return drv_stat(c->drv, path, &stat);
}
static mrmr_err op_list(struct contract *c, const char *path)
{
    return drv_list(c->drv, path, ignore_entry, NULL);
}
static mrmr_err op_open(struct contract *c, const char *path)
{
    struct drv_file *file = NULL;
    mrmr_err err = drv_file_open(c->drv, path, DRV_OPEN_READ, 0, &file);
    drv_file_close(file);
    return err;
}
static mrmr_err op_create(struct contract *c, const char *path)
{
    struct drv_file *file = NULL;
    mrmr_err err = drv_file_open(c->drv, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file);
    drv_file_close(file);
    return err;
}
static mrmr_err op_readlink(struct contract *c, const char *path)
{
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    return drv_readlink(c->drv, path, &b);
}
static mrmr_err op_xattr_list(struct contract *c, const char *path)
{
    return drv_xattr_list(c->drv, path, ignore_xattr, NULL);
}
static mrmr_err op_xattr_set(struct contract *c, const char *path)
{
    return drv_xattr_set(c->drv, path, "user.x", "1", 1);
}
static mrmr_err op_set_attr(struct contract *c, const char *path)
{
    return drv_set_attr(c->drv, path, DRV_ATTR_MTIME, &(struct drv_stat){.mtime = 1});
}
static mrmr_err op_dir_sync(struct contract *c, const char *path)
{
    return drv_dir_sync(c->drv, path);
}
static mrmr_err op_mkdir(struct contract *c, const char *path)
{
    return drv_mkdir(c->drv, path, 0755);
}
static mrmr_err op_unlink(struct contract *c, const char *path)
{
    return drv_unlink(c->drv, path);
}
static mrmr_err op_rmdir(struct contract *c, const char *path)
{
    return drv_rmdir(c->drv, path);
}
static mrmr_err op_rename_from(struct contract *c, const char *path)
{
    return drv_rename(c->drv, path, "other", DRV_RENAME_REPLACE);
}
static mrmr_err op_rename_to(struct contract *c, const char *path)
{
    return drv_rename(c->drv, "file", path, DRV_RENAME_REPLACE);
}
static mrmr_err op_link_from(struct contract *c, const char *path)
{
    return drv_link(c->drv, path, "other");
}
static mrmr_err op_link_to(struct contract *c, const char *path)
{
    return drv_link(c->drv, "file", path);
}
static mrmr_err op_symlink(struct contract *c, const char *path)
{
    return drv_symlink(c->drv, "target", path);
}
static mrmr_err op_mknod(struct contract *c, const char *path)
{
    return drv_mknod(c->drv, path, DRV_FIFO, 0600, 0);
}
static mrmr_err op_clone_from(struct contract *c, const char *path)
{
    return drv_clone(c->drv, path, "other");
}
static mrmr_err op_clone_to(struct contract *c, const char *path)
{
    return drv_clone(c->drv, "file", path);
}

static const struct {
    const char *name;
    path_op run;
    uint32_t caps;
    bool root;  /* takes "" */
    bool makes; /* a missing last component is fine */
} path_ops[] = {
    {"stat", op_stat, 0, true, false},
    {"list", op_list, 0, true, false},
    {"open", op_open, 0, false, false},
    {"create", op_create, 0, false, true},
    {"readlink", op_readlink, DRV_CAP_SYMLINK, false, false},
    {"xattr_list", op_xattr_list, DRV_CAP_XATTR, true, false},
    {"xattr_set", op_xattr_set, DRV_CAP_XATTR, true, false},
    {"set_attr", op_set_attr, 0, true, false},
    {"dir_sync", op_dir_sync, 0, true, false},
    {"mkdir", op_mkdir, 0, false, true},
    {"unlink", op_unlink, 0, false, false},
    {"rmdir", op_rmdir, 0, false, false},
    {"rename from", op_rename_from, 0, false, false},
    {"rename to", op_rename_to, 0, false, true},
    {"link from", op_link_from, DRV_CAP_HARDLINK, false, false},
    {"link to", op_link_to, DRV_CAP_HARDLINK, false, true},
    {"symlink", op_symlink, DRV_CAP_SYMLINK, false, true},
    {"mknod", op_mknod, DRV_CAP_SPECIAL, false, true},
    {"clone from", op_clone_from, DRV_CAP_REFLINK, false, false},
    {"clone to", op_clone_to, DRV_CAP_REFLINK, false, true},
};
#define PATH_OPS (sizeof path_ops / sizeof *path_ops)

/* Every op gives this error for the path. */
static void all_ops_give(struct contract *c, const char *path, mrmr_err want)
{
    for (size_t i = 0; i < PATH_OPS; i++) {
        if (!contract_can(c, path_ops[i].caps) || (!*path && path_ops[i].root))
            continue;
        mrmr_err got = path_ops[i].run(c, path);
        if (got != want)
            print_error("%s '%.40s'\n", path_ops[i].name, path);
        assert_err(got, want);
    }
}

static void malformed_paths_are_refused(void **state)
{
    struct contract *c = *state;
    static const char *const bad[] = {
        "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/../b", "a/.", "//", ""};
    make_file(c, "file", "x");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        all_ops_give(c, bad[i], MRMR_INVALID);
    char name[257];
    memset(name, 'n', 256);
    name[256] = '\0';
    all_ops_give(c, name, MRMR_NAME_TOO_LONG);
    assert_text(c, "file", "x");
}

static void a_missing_folder_is_absent(void **state)
{
    struct contract *c = *state;
    make_file(c, "file", "x");
    all_ops_give(c, "none/x", MRMR_ABSENT);
    all_ops_give(c, "none/deep/x", MRMR_ABSENT);
    for (size_t i = 0; i < PATH_OPS; i++)
        if (!path_ops[i].makes && contract_can(c, path_ops[i].caps))
            assert_err(path_ops[i].run(c, "none"), MRMR_ABSENT);
    assert_text(c, "file", "x");
}

static void a_file_in_the_middle_is_not_dir(void **state)
{
    struct contract *c = *state;
    make_file(c, "file", "x");
    make_file(c, "plain", "y");
    all_ops_give(c, "plain/x", MRMR_NOT_DIR);
    all_ops_give(c, "plain/x/y", MRMR_NOT_DIR);
    assert_err(op_list(c, "plain"), MRMR_NOT_DIR);
    assert_err(op_dir_sync(c, "plain"), MRMR_NOT_DIR);
    assert_err(op_rmdir(c, "plain"), MRMR_NOT_DIR);
    assert_text(c, "plain", "y");
}

static void a_symlink_in_the_middle_is_loop(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_SYMLINK);
    make_file(c, "file", "x");
    assert_ok(drv_mkdir(c->drv, "inside", 0755));
    make_file(c, "inside/etc", "y");
    assert_ok(drv_symlink(c->drv, "inside", "in"));
    assert_ok(drv_symlink(c->drv, "/", "out"));
    assert_ok(drv_symlink(c->drv, "..", "up"));
    assert_ok(drv_symlink(c->drv, "nowhere", "dangling"));
    assert_ok(drv_symlink(c->drv, "self", "self"));
    static const char *const paths[] = {
        "in/etc", "out/etc", "up/etc", "dangling/etc", "self/etc", "in/new", "out/tmp/new"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        all_ops_give(c, paths[i], MRMR_LOOP);
    assert_err(op_list(c, "in"), MRMR_LOOP);
    assert_err(op_dir_sync(c, "in"), MRMR_LOOP);
    assert_text(c, "inside/etc", "y");
}

static void the_last_component_is_not_followed(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_SYMLINK);
    make_file(c, "target", "text");
    assert_ok(drv_symlink(c->drv, "target", "link"));
    const struct drv_stat before = stat_of(c, "target"), link = stat_of(c, "link");
    assert_int_equal(link.type, DRV_SYMLINK);
    assert_int_equal(link.size, strlen("target"));
    assert_err(op_open(c, "link"), MRMR_INVALID);
    assert_err(op_create(c, "link"), MRMR_EXISTS);
    assert_err(op_mkdir(c, "link"), MRMR_EXISTS);
    const struct drv_stat attr = {.mode = 0600, .mtime = 5};
    assert_ok(drv_set_attr(c->drv, "link", DRV_ATTR_MODE | DRV_ATTR_MTIME, &attr));
    const struct drv_stat after = stat_of(c, "target");
    assert_int_equal(after.mtime, before.mtime);
    assert_int_equal(after.mode, before.mode);
    assert_ok(drv_rename(c->drv, "link", "moved", DRV_RENAME_REPLACE));
    assert_int_equal(stat_of(c, "moved").type, DRV_SYMLINK);
    assert_ok(drv_unlink(c->drv, "moved"));
    assert_text(c, "target", "text");
}

static void readlink_gives_the_target(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_SYMLINK);
    char target[1001]; /* XFS keeps up to 1,023 bytes */
    memset(target, 't', 1000);
    target[1000] = '\0';
    memcpy(target, "../\n\xff/", 6);
    assert_ok(drv_symlink(c->drv, target, "link"));
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&b, "kept:"));
    assert_ok(drv_readlink(c->drv, "link", &b));
    assert_memory_equal(b.data, "kept:", 5);
    assert_string_equal(b.data + 5, target);
    make_file(c, "file", "x");
    assert_err(drv_readlink(c->drv, "file", &b), MRMR_INVALID);
    assert_err(drv_symlink(c->drv, "x", "link"), MRMR_EXISTS);
    assert_err(drv_symlink(c->drv, "", "empty"), MRMR_INVALID);
}

static void names_are_any_bytes(void **state)
{
    struct contract *c = *state;
    char longest[256], all[256];
    memset(longest, 'L', 255);
    longest[255] = '\0';
    size_t n = 0;
    for (int byte = 1; byte < 256; byte++)
        if (byte != '/')
            all[n++] = (char)byte;
    all[n] = '\0';
    const char *const names[] = {"new\nline", "\xff\xfe not UTF-8", " ", "-rf", "a\\b", "...",
        ".hidden", "tab\t", "ü", "u\xcc\x88", longest, all};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        make_file(c, names[i], names[i]);
        assert_text(c, names[i], names[i]);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_text(c, names[i], names[i]);
        assert_ok(drv_unlink(c->drv, names[i]));
        assert_absent(c, names[i]);
    }
}

/* 40 folders of 200 bytes each: 8,000 bytes of path. */
static void paths_may_be_longer_than_the_kernel_takes(void **state)
{
    struct contract *c = *state;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT, file = MRMR_BYTES_INIT,
                                     moved = MRMR_BYTES_INIT;
    for (int i = 0; i < 40; i++) {
        char name[201];
        memset(name, 'a' + i % 26, 200);
        name[200] = '\0';
        assert_ok(mrmr_bytes_fmt(&path, "%s%s", i ? "/" : "", name));
    }
    assert_ok(drv_mkdirs(c->drv, path.data, 0755));
    assert_int_equal(stat_of(c, path.data).type, DRV_DIR);
    assert_ok(mrmr_bytes_fmt(&file, "%s/file", path.data));
    assert_ok(mrmr_bytes_fmt(&moved, "%s/moved", path.data));
    make_file(c, file.data, "deep");
    assert_text(c, file.data, "deep");
    assert_ok(op_list(c, path.data));
    assert_ok(op_dir_sync(c, path.data));
    assert_ok(op_set_attr(c, file.data));
    assert_int_equal(stat_of(c, file.data).mtime, 1);
    if (contract_can(c, DRV_CAP_XATTR))
        assert_ok(op_xattr_set(c, file.data));
    assert_ok(drv_rename(c->drv, file.data, moved.data, DRV_RENAME_REPLACE));
    assert_text(c, moved.data, "deep");
    assert_ok(drv_replace(c->drv, file.data, "new", 3, 0644));
    assert_text(c, file.data, "new");
    assert_ok(drv_unlink(c->drv, moved.data));
    assert_absent(c, moved.data);
    assert_ok(mrmr_bytes_str(&moved, "/x"));
    assert_err(op_stat(c, moved.data), MRMR_ABSENT);
}

static void the_story_names_op_and_path(void **state)
{
    struct contract *c = *state;
    assert_err(op_stat(c, "no/such"), MRMR_ABSENT);
    assert_string_equal(mrmr_story_get()->op, "stat");
    assert_string_equal(mrmr_story_get()->path, "no/such");
    assert_err(op_mkdir(c, "no/such"), MRMR_ABSENT);
    assert_string_equal(mrmr_story_get()->op, "mkdir");
    assert_string_equal(mrmr_story_get()->path, "no/such");
}

const struct CMUnitTest cases_paths[] = {
    CASE(malformed_paths_are_refused),
    CASE(a_missing_folder_is_absent),
    CASE(a_file_in_the_middle_is_not_dir),
    CASE(a_symlink_in_the_middle_is_loop),
    CASE(the_last_component_is_not_followed),
    CASE(readlink_gives_the_target),
    CASE(names_are_any_bytes),
    CASE(paths_may_be_longer_than_the_kernel_takes),
    CASE(the_story_names_op_and_path),
};
const size_t cases_paths_count = sizeof cases_paths / sizeof *cases_paths;
