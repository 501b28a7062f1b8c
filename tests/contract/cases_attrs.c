/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attributes: times, mode, owner, extended attributes and ACLs, and what info promises of them.
 */
#include "contract.h"
#include "tests/support/skip.h"

#define SECOND INT64_C(1000000000)

static void set_and_see_mtime(struct contract *c, const char *path, int64_t mtime)
{
    assert_ok(drv_set_attr(c->drv, path, DRV_ATTR_MTIME, &(struct drv_stat){.mtime = mtime}));
    const struct drv_stat stat = stat_of(c, path);
    if (contract_can(c, DRV_CAP_NS_TIMES))
        assert_int_equal(stat.mtime, mtime);
    else
        assert_true(stat.mtime <= mtime && mtime - stat.mtime < c->info.time_grain);
}

static void times_to_the_nanosecond(void **state)
{
    struct contract *c = *state;
    static const int64_t times[] = {0, 1, 999999999, 1234567890 * SECOND + 123456789,
        2147483647 * SECOND + 5, 4294967296 * SECOND + 7, 7000000000 * SECOND + 999999999};
    static const int64_t early[] = {
        -1, -SECOND, -SECOND - 1, -86400 * 365 * SECOND + 1, -2000000000 * SECOND + 3};
    make_file(c, "f", "x");
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        set_and_see_mtime(c, "f", times[i]);
        set_and_see_mtime(c, "d", times[i]);
        set_and_see_mtime(c, "", times[i]);
    }
    CONTRACT_NEEDS(c, DRV_CAP_NS_TIMES);
    for (size_t i = 0; i < sizeof early / sizeof *early; i++)
        set_and_see_mtime(c, "f", early[i]);
    assert_text(c, "f", "x");
}

/* Each time alone leaves the other as it is; both may be set at once, and to now. */
static void access_and_change_times(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_NS_TIMES);
    const struct drv_stat set = {.mtime = 1111 * SECOND + 1, .atime = 2222 * SECOND + 2};
    make_file(c, "f", "x");
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_ATIME | DRV_ATTR_MTIME, &set));
    assert_int_equal(stat_of(c, "f").mtime, set.mtime);
    assert_int_equal(stat_of(c, "f").atime, set.atime);
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_ATIME, &(struct drv_stat){.atime = 7}));
    assert_int_equal(stat_of(c, "f").mtime, set.mtime);
    assert_int_equal(stat_of(c, "f").atime, 7);
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_MTIME, &(struct drv_stat){.mtime = 8}));
    assert_int_equal(stat_of(c, "f").mtime, 8);
    assert_int_equal(stat_of(c, "f").atime, 7);
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_MTIME, &(struct drv_stat){.mtime = DRV_TIME_NOW}));
    assert_true(stat_of(c, "f").mtime > 1600000000 * SECOND);
    assert_int_equal(stat_of(c, "f").atime, 7);
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_ATIME, &(struct drv_stat){.atime = DRV_TIME_NOW}));
    assert_true(stat_of(c, "f").atime > 1600000000 * SECOND);
}

static void owner_and_group_alone(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_OWNER);
    if (geteuid() != 0)
        skip_for("to give files away takes root");
    const struct drv_stat attr = {.uid = 77, .gid = 88};
    make_file(c, "f", "x");
    const struct drv_stat before = stat_of(c, "f");
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_UID, &attr));
    assert_int_equal(stat_of(c, "f").uid, 77);
    assert_int_equal(stat_of(c, "f").gid, before.gid);
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_GID, &(struct drv_stat){.uid = 1, .gid = 88}));
    assert_int_equal(stat_of(c, "f").uid, 77);
    assert_int_equal(stat_of(c, "f").gid, 88);
}

static void mode_and_owner(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_MODE);
    make_file(c, "f", "x");
    const struct drv_stat before = stat_of(c, "f");
    assert_ok(
        drv_set_attr(c->drv, "f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0641, .mtime = 1}));
    assert_int_equal(stat_of(c, "f").mode, 0641);
    assert_int_equal(stat_of(c, "f").mtime, before.mtime);
    assert_int_equal(stat_of(c, "f").uid, before.uid);
    assert_ok(drv_set_attr(c->drv, "f", 0, &(struct drv_stat){.mode = 0777}));
    assert_int_equal(stat_of(c, "f").mode, 0641);
    assert_err(
        drv_set_attr(c->drv, "f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 010644}), MRMR_INVALID);
    assert_err(drv_set_attr(c->drv, "f", 64, &(struct drv_stat){.mode = 0}), MRMR_INVALID);
    CONTRACT_NEEDS(c, DRV_CAP_OWNER);
    if (geteuid() != 0)
        skip_for("to give files away takes root");
    /* Owner and mode in one call: the set-id bits survive the change of owner. */
    const struct drv_stat attr = {.mode = 06755, .uid = 12345, .gid = 4000000000};
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_MODE | DRV_ATTR_OWNER, &attr));
    const struct drv_stat after = stat_of(c, "f");
    assert_int_equal(after.mode, 06755);
    assert_int_equal(after.uid, 12345);
    assert_int_equal(after.gid, 4000000000);
}

static void attributes_of_symlinks(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_SYMLINK | DRV_CAP_OWNER | DRV_CAP_NS_TIMES);
    make_file(c, "f", "x");
    assert_ok(drv_symlink(c->drv, "f", "link"));
    const struct drv_stat target = stat_of(c, "f"), link = stat_of(c, "link");
    const struct drv_stat attr = {.mode = 0600,
        .uid = geteuid() ? link.uid : 4242,
        .gid = link.gid,
        .mtime = 77 * SECOND + 7};
    assert_ok(drv_set_attr(c->drv, "link", DRV_ATTR_OWNER | DRV_ATTR_MODE | DRV_ATTR_MTIME, &attr));
    const struct drv_stat after = stat_of(c, "link");
    assert_int_equal(after.uid, attr.uid);
    assert_int_equal(after.mtime, attr.mtime);
    assert_int_equal(after.mode, link.mode);
    assert_int_equal(stat_of(c, "f").mtime, target.mtime);
    assert_int_equal(stat_of(c, "f").uid, target.uid);
    assert_int_equal(stat_of(c, "f").mode, target.mode);
}

/* --- extended attributes --- */

struct wanted {
    const char *name;
    const void *value;
    size_t size;
    unsigned found, others;
};

static mrmr_err look_for(const char *name, const void *value, size_t size, void *arg)
{
    struct wanted *w = arg;
    if (strcmp(name, w->name) != 0) {
        w->others += !strncmp(name, "user.", 5);
        return MRMR_OK;
    }
    w->found++;
    assert_int_equal(size, w->size);
    if (size)
        assert_memory_equal(value, w->value, size);
    return MRMR_OK;
}

static void assert_xattr(
    struct contract *c, const char *path, const char *name, const void *value, size_t size)
{
    struct wanted w = {name, value, size, 0, 0};
    assert_ok(drv_xattr_list(c->drv, path, look_for, &w));
    assert_int_equal(w.found, 1);
}

static unsigned count_user_xattrs(struct contract *c, const char *path)
{
    struct wanted w = {"", NULL, 0, 0, 0};
    assert_ok(drv_xattr_list(c->drv, path, look_for, &w));
    return w.others;
}

static void xattrs_are_kept(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_XATTR);
    static const char *const paths[] = {"f", "d", ""};
    char big[500]; /* ext4 with small blocks has room for about 900 in all */
    memset(big, 'b', sizeof big);
    make_file(c, "f", "x");
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    for (size_t i = 0; i < 3; i++) {
        const char *path = paths[i];
        assert_int_equal(count_user_xattrs(c, path), 0);
        assert_ok(drv_xattr_set(c->drv, path, "user.bytes", "\0\xff\n", 3));
        assert_ok(drv_xattr_set(c->drv, path, "user.empty", "", 0));
        assert_ok(drv_xattr_set(c->drv, path, "user.big", big, sizeof big));
        assert_xattr(c, path, "user.bytes", "\0\xff\n", 3);
        assert_xattr(c, path, "user.empty", "", 0);
        assert_xattr(c, path, "user.big", big, sizeof big);
        assert_int_equal(count_user_xattrs(c, path), 3);
        assert_ok(drv_xattr_set(c->drv, path, "user.big", "small", 5));
        assert_xattr(c, path, "user.big", "small", 5);
        assert_ok(drv_xattr_set(c->drv, path, "user.bytes", NULL, 0));
        assert_int_equal(count_user_xattrs(c, path), 2);
        assert_err(drv_xattr_set(c->drv, path, "user.bytes", NULL, 0), MRMR_NO_ATTR);
        assert_err(drv_xattr_set(c->drv, path, "nonamespace", "x", 1), MRMR_INVALID);
        assert_err(drv_xattr_set(c->drv, path, "user.x", NULL, 1), MRMR_INVALID);
    }
}

static void xattrs_of_an_open_file(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_XATTR);
    struct wanted w = {"user.mark", "it", 2, 0, 0};
    struct drv_file *file = NULL;
    make_file(c, "f", "x");
    assert_ok(drv_xattr_set(c->drv, "f", "user.mark", "it", 2));
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_READ, 0, &file));
    assert_ok(drv_unlink(c->drv, "f"));
    make_file(c, "f", "another");
    mrmr_err err = drv_file_xattr_list(file, look_for, &w);
    drv_file_close(file);
    if (err == MRMR_UNSUPPORTED)
        return;
    assert_err(err, MRMR_OK);
    assert_int_equal(w.found, 1);
    assert_int_equal(w.others, 0);
}

static mrmr_err stop(const char *name, const void *value, size_t size, void *arg)
{
    (void)name;
    (void)value;
    (void)size;
    ++*(unsigned *)arg;
    return mrmr_fail(MRMR_HELD, NULL);
}

static void an_error_stops_the_xattrs(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_XATTR);
    unsigned n = 0;
    make_file(c, "f", "x");
    assert_ok(drv_xattr_set(c->drv, "f", "user.a", "1", 1));
    assert_ok(drv_xattr_set(c->drv, "f", "user.b", "1", 1));
    assert_err(drv_xattr_list(c->drv, "f", stop, &n), MRMR_HELD);
    assert_int_equal(n, 1);
}

/* The kernel's form (linux/posix_acl_xattr.h): version 2, then tag, permissions, id, little-endian.
 */
struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};
struct acl {
    uint32_t version;
    struct acl_entry entries[5];
};
static const struct acl acl = {2, {{0x01, 6, UINT32_MAX}, {0x02, 4, 12345}, {0x04, 4, UINT32_MAX},
                                      {0x10, 6, UINT32_MAX}, {0x20, 0, UINT32_MAX}}};
_Static_assert(sizeof acl == 44, "no padding");

static void acls_are_xattrs(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_XATTR);
    make_file(c, "f", "x");
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    mrmr_err err = drv_xattr_set(c->drv, "f", "system.posix_acl_access", &acl, sizeof acl);
    if (err == MRMR_UNSUPPORTED)
        return;
    assert_err(err, MRMR_OK);
    assert_xattr(c, "f", "system.posix_acl_access", &acl, sizeof acl);
    assert_ok(drv_xattr_set(c->drv, "d", "system.posix_acl_default", &acl, sizeof acl));
    assert_xattr(c, "d", "system.posix_acl_default", &acl, sizeof acl);
    /* A file or folder made below a default ACL still gets exactly the mode it was asked for. */
    struct drv_file *file = NULL;
    assert_ok(drv_file_open(c->drv, "d/f", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0644, &file));
    drv_file_close(file);
    assert_ok(drv_mkdir(c->drv, "d/d", 0755));
    assert_int_equal(stat_of(c, "d/f").mode, 0644);
    assert_int_equal(stat_of(c, "d/d").mode, 0755);
}

static void xattrs_of_symlinks_are_their_own(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_XATTR | DRV_CAP_SYMLINK);
    if (geteuid() != 0)
        skip_for(
            "it takes root"); /* only trusted.* and security.* go onto a symlink, and only from root */
    make_file(c, "f", "x");
    assert_ok(drv_symlink(c->drv, "f", "link"));
    mrmr_err err = drv_xattr_set(c->drv, "link", "trusted.mark", "L", 1);
    if (err == MRMR_DENIED || err == MRMR_UNSUPPORTED)
        return;
    assert_err(err, MRMR_OK);
    assert_xattr(c, "link", "trusted.mark", "L", 1);
    struct wanted w = {"trusted.mark", "L", 1, 0, 0};
    assert_ok(drv_xattr_list(c->drv, "f", look_for, &w));
    assert_int_equal(w.found, 0);
}

/* --- info --- */

static void stable_facts_survive_reopening(void **state)
{
    struct contract *c = *state;
    make_file(c, "f", "x");
    const struct drv_stat before = stat_of(c, "f");
    contract_reopen(c);
    const struct drv_stat after = stat_of(c, "f");
    assert_int_equal(before.ino, after.ino);
    assert_int_equal(before.ctime, after.ctime);
    assert_int_equal(before.btime, after.btime);
    assert_int_equal(before.mtime, after.mtime);
    assert_int_equal(before.ino != 0, contract_can(c, DRV_CAP_STABLE_INO));
    assert_int_equal(before.ctime != 0, contract_can(c, DRV_CAP_STABLE_CTIME));
    assert_int_equal(before.btime != 0, contract_can(c, DRV_CAP_BTIME));
    struct drv_info info;
    assert_ok(drv_info(c->drv, &info));
    assert_int_equal(info.caps, c->info.caps);
    assert_string_equal(info.fs_id, c->info.fs_id);
    assert_string_equal(info.fs_name, c->info.fs_name);
    assert_true(info.time_grain > 0);
    assert_true(info.caps & DRV_CAP_WRITABLE);
}

/* A change is seen in ctime where that is claimed to be stable, even if mtime is put back. */
static void ctime_tells_of_hidden_edits(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_STABLE_CTIME);
    make_file(c, "f", "x");
    const struct drv_stat before = stat_of(c, "f");
    struct drv_stat after;
    do { /* until the clock of the file system has ticked */
        assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_MTIME, &before));
        after = stat_of(c, "f");
    } while (after.ctime == before.ctime);
    assert_true(after.ctime > before.ctime);
    assert_int_equal(after.mtime, before.mtime);
}

const struct CMUnitTest cases_attrs[] = {
    CASE(times_to_the_nanosecond),
    CASE(access_and_change_times),
    CASE(owner_and_group_alone),
    CASE(mode_and_owner),
    CASE(attributes_of_symlinks),
    CASE(xattrs_are_kept),
    CASE(xattrs_of_an_open_file),
    CASE(an_error_stops_the_xattrs),
    CASE(acls_are_xattrs),
    CASE(xattrs_of_symlinks_are_their_own),
    CASE(stable_facts_survive_reopening),
    CASE(ctime_tells_of_hidden_edits),
};
const size_t cases_attrs_count = sizeof cases_attrs / sizeof *cases_attrs;
