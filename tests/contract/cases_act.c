/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Acting as another user, and what folders hand down to what is made in them, on this machine.
 */
#include "contract.h"
#include "tests/support/skip.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const unsigned CREATE = DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE;
static const struct drv_caller alice = {.uid = 1000, .gid = 1001};
static const struct drv_caller nobody = {.uid = 65534, .gid = 65534};

/* False: not root, or a drive without owners. */
static bool may_act(struct contract *c)
{
    if (geteuid() != 0)
        skip_for("to act as another user takes root");
    return contract_can(c, DRV_CAP_OWNER | DRV_CAP_MODE);
}

static void give(struct contract *c, const char *path, uint32_t uid, uint32_t gid, uint32_t mode)
{
    const struct drv_stat attr = {.mode = mode, .uid = uid, .gid = gid};
    assert_ok(drv_set_attr(c->drv, path, DRV_ATTR_OWNER | DRV_ATTR_MODE, &attr));
}

static void make_dir(
    struct contract *c, const char *path, uint32_t uid, uint32_t gid, uint32_t mode)
{
    assert_ok(drv_mkdir(c->drv, path, 0700));
    give(c, path, uid, gid, mode);
}

static void assert_owner(struct contract *c, const char *path, const struct drv_caller *who)
{
    const struct drv_stat stat = stat_of(c, path);
    assert_int_equal(stat.uid, who->uid);
    assert_int_equal(stat.gid, who->gid);
}

/* The capabilities in effect: all that the process may have. */
static uint64_t caps(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    assert_int_equal(syscall(SYS_capget, &head, data), 0);
    assert_int_equal(data[0].effective, data[0].permitted);
    return (uint64_t)data[1].effective << 32 | data[0].effective;
}

static void assert_is_root(void)
{
    assert_true(caps() >> CAP_DAC_OVERRIDE & 1);
    assert_int_equal(setfsuid((uid_t)-1), 0);
    assert_int_equal(setfsgid((gid_t)-1), getegid());
}

/* Everything that makes something. */
static void what_is_made_belongs_to_the_caller(void **state)
{
    struct contract *c = *state;
    static const char *const made[] = {"d/f", "d/d", "d/link", "d/fifo", "d/named"};
    struct drv_file *file = NULL;
    if (!may_act(c))
        return;
    make_dir(c, "d", 0, 0, 0777);
    const int groups = getgroups(0, NULL);
    const uint64_t before = caps();
    drv_act_as(&alice);
    assert_ok(drv_file_open(c->drv, "d/f", CREATE, 0640, &file));
    assert_ok(drv_file_write(file, 0, "hers", 4));
    drv_file_close(file);
    assert_ok(drv_mkdir(c->drv, "d/d", 0750));
    assert_ok(drv_symlink(c->drv, "f", "d/link"));
    assert_ok(drv_mknod(c->drv, "d/fifo", DRV_FIFO, 0600, 0));
    mrmr_err err = drv_mknod(c->drv, "d/null", DRV_CHAR, 0666, 0x103);
    assert_err(err, MRMR_DENIED); /* devices are root's */
    assert_ok(drv_file_open_unnamed(c->drv, "d", DRV_OPEN_WRITE, 0600, &file));
    assert_ok(drv_file_link(file, "d/named"));
    drv_file_close(file);
    assert_is_root(); /* between the ops */
    drv_act_as(NULL);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        assert_owner(c, made[i], &alice);
    assert_int_equal(stat_of(c, "d/f").mode, 0640);
    assert_int_equal(stat_of(c, "d/d").mode, 0750);
    assert_ok(drv_mkdir(c->drv, "mine", 0755));
    assert_owner(c, "mine", &(struct drv_caller){.uid = 0, .gid = getegid()});
    assert_int_equal(getgroups(0, NULL), groups);
    assert_int_equal(caps(), before);
}

static mrmr_err entry_as_root(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    assert_string_equal(name, "f");
    assert_true(stat && !err);
    assert_is_root();
    ++*(unsigned *)arg;
    return MRMR_OK;
}

static mrmr_err xattr_as_root(const char *name, const void *value, size_t size, void *arg)
{
    (void)value;
    (void)size;
    assert_is_root();
    *(unsigned *)arg += !strcmp(name, "user.x");
    return MRMR_OK;
}

static void callbacks_run_as_the_process(void **state)
{
    struct contract *c = *state;
    unsigned n = 0;
    if (!may_act(c))
        return;
    make_dir(c, "d", alice.uid, alice.gid, 0700);
    make_file(c, "d/f", "x");
    give(c, "d/f", alice.uid, alice.gid, 0600);
    drv_act_as(&alice);
    assert_ok(drv_list(c->drv, "d", entry_as_root, &n));
    assert_int_equal(n, 1);
    if (contract_can(c, DRV_CAP_XATTR)) {
        assert_ok(drv_xattr_set(c->drv, "d/f", "user.x", "1", 1));
        assert_ok(drv_xattr_list(c->drv, "d/f", xattr_as_root, &n));
        assert_int_equal(n, 2);
    }
    drv_act_as(NULL);
}

static void make_hers_and_others(struct contract *c)
{
    make_dir(c, "closed", 1, 1, 0700);
    make_file(c, "closed/f", "x");
    make_dir(c, "open", 1, 1, 0755);
    make_file(c, "open/f", "x");
    give(c, "open/f", 1, 1, 0644);
    make_file(c, "open/secret", "x");
    give(c, "open/secret", 1, 1, 0600);
    make_dir(c, "hers", nobody.uid, nobody.gid, 0755);
}

/* Each op, on what belongs to another. */
static void rights_are_the_callers(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    struct drv_stat stat;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    if (!may_act(c))
        return;
    make_hers_and_others(c);
    drv_act_as(&nobody);
    const mrmr_err errs[] = {
        drv_stat(c->drv, "closed/f", &stat),
        drv_file_open(c->drv, "closed/f", DRV_OPEN_READ, 0, &file),
        drv_list(c->drv, "closed", NULL, NULL),
        drv_readlink(c->drv, "closed/f", &b),
        drv_xattr_list(c->drv, "closed/f", NULL, NULL),
        drv_file_open(c->drv, "closed/new", CREATE, 0600, &file),
        drv_file_open(c->drv, "open/new", CREATE, 0600, &file),
        drv_file_open(c->drv, "open/f", DRV_OPEN_WRITE, 0, &file),
        drv_file_open(c->drv, "open/secret", DRV_OPEN_READ, 0, &file),
        drv_file_open_unnamed(c->drv, "open", DRV_OPEN_WRITE, 0600, &file),
        drv_mkdir(c->drv, "open/d", 0755),
        drv_unlink(c->drv, "open/f"),
        drv_rmdir(c->drv, "hers"), /* the root of the drive is not hers */
        drv_rename(c->drv, "open/f", "hers/f", DRV_RENAME_REPLACE),
        drv_link(c->drv, "hers", "open/x"),
        drv_symlink(c->drv, "x", "open/link"),
        drv_mknod(c->drv, "open/fifo", DRV_FIFO, 0600, 0),
        drv_set_attr(c->drv, "open/f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0666}),
        drv_set_attr(c->drv, "open/f", DRV_ATTR_UID, &(struct drv_stat){.uid = nobody.uid}),
        drv_set_attr(c->drv, "open/f", DRV_ATTR_MTIME, &(struct drv_stat){.mtime = 5}),
        drv_set_attr(c->drv, "hers", DRV_ATTR_UID, &(struct drv_stat){.uid = 0}),
    };
    assert_is_root(); /* also after a failure */
    const mrmr_err xattr = drv_xattr_set(c->drv, "open/f", "user.x", "1", 1);
    assert_ok(drv_dir_sync(c->drv, "closed")); /* takes no right */
    drv_act_as(NULL);
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) {
        if (errs[i] != MRMR_DENIED)
            print_error("call %zu\n", i);
        assert_err(errs[i], MRMR_DENIED);
    }
    if (contract_can(c, DRV_CAP_XATTR))
        assert_err(xattr, MRMR_DENIED);
    assert_text(c, "closed/f", "x");
    assert_ok(drv_unlink(c->drv, "closed/f"));
}

/* Confined as ever. */
static void what_is_hers_she_may_change(void **state)
{
    struct contract *c = *state;
    static const uint8_t file_caps[20] = {0, 0, 0, 2, 1}; /* linux/capability.h: vfs_cap_data */
    struct drv_file *file = NULL;
    if (!may_act(c))
        return;
    make_hers_and_others(c);
    drv_act_as(&nobody);
    assert_ok(drv_file_open(c->drv, "hers/f", CREATE, 0600, &file));
    assert_ok(drv_file_set_attr(file, DRV_ATTR_MODE, &(struct drv_stat){.mode = 0604}));
    assert_err(drv_file_set_attr(file, DRV_ATTR_UID, &(struct drv_stat){.uid = 1}), MRMR_DENIED);
    drv_file_close(file);
    assert_ok(drv_set_attr(c->drv, "hers/f", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0640}));
    assert_ok(drv_set_attr(c->drv, "hers", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0711}));
    if (contract_can(c, DRV_CAP_XATTR)) {
        assert_ok(drv_xattr_set(c->drv, "hers/f", "user.x", "1", 1));
        /* Of her own file, but not hers to set. */
        assert_err(drv_xattr_set(c->drv, "hers/f", "trusted.x", "1", 1), MRMR_DENIED);
        assert_err(
            drv_xattr_set(c->drv, "hers/f", "security.capability", file_caps, sizeof file_caps),
            MRMR_DENIED);
    }
    drv_act_as(NULL);
    assert_int_equal(stat_of(c, "hers/f").mode, 0640);
}

static void groups_grant(void **state)
{
    struct contract *c = *state;
    enum { MANY = 1000 };
    uint32_t many[MANY];
    struct drv_stat stat;
    if (!may_act(c))
        return;
    for (uint32_t i = 0; i < MANY; i++)
        many[i] = 70000 + i;
    make_dir(c, "shared", 0, 70500, 0770);
    const struct drv_caller without = {.uid = 1000, .gid = 1001, .groups = many, .ngroups = 500};
    const struct drv_caller with = {.uid = 1000, .gid = 1001, .groups = many, .ngroups = MANY};
    drv_act_as(&without);
    assert_err(drv_mkdir(c->drv, "shared/a", 0755), MRMR_DENIED);
    drv_act_as(&with);
    memset(many, 0, sizeof many); /* they were copied */
    assert_ok(drv_mkdir(c->drv, "shared/a", 0755));
    drv_act_as(&alice);
    assert_err(drv_stat(c->drv, "shared/a", &stat), MRMR_DENIED);
    drv_act_as(NULL);
    assert_owner(c, "shared/a", &alice);
    assert_int_equal(stat_of(c, "shared/a").gid, 1001);
}

static void sticky_folders_keep_what_is_anothers(void **state)
{
    struct contract *c = *state;
    if (!may_act(c))
        return;
    make_dir(c, "tmp", 0, 0, 01777);
    make_file(c, "tmp/his", "x");
    give(c, "tmp/his", 1, 1, 0666);
    make_file(c, "tmp/hers", "x");
    give(c, "tmp/hers", nobody.uid, nobody.gid, 0644);
    drv_act_as(&nobody);
    assert_err(drv_unlink(c->drv, "tmp/his"), MRMR_DENIED);
    assert_err(drv_rename(c->drv, "tmp/hers", "tmp/his", DRV_RENAME_REPLACE), MRMR_DENIED);
    assert_ok(drv_unlink(c->drv, "tmp/hers"));
    drv_act_as(NULL);
    assert_ok(drv_unlink(c->drv, "tmp/his"));
}

static void take_is_foretold(struct contract *c, uint32_t owner, uint32_t mode, uint32_t his,
    const struct drv_caller *caller)
{
    give(c, "d", owner, owner, mode);
    make_file(c, "d/f", "x");
    give(c, "d/f", his, his, 0600);
    drv_act_as(caller);
    const mrmr_err may = drv_unlink_may(c->drv, "d/f");
    assert_is_root();
    drv_act_as(NULL);
    assert_text(c, "d/f", "x");
    drv_act_as(caller);
    const mrmr_err err = drv_unlink(c->drv, "d/f");
    drv_act_as(NULL);
    if (err != may)
        print_error("mode %o of %u, the file of %u, taken by %u\n", mode, owner, his, caller->uid);
    assert_err(may, err);
    if (err)
        assert_ok(drv_unlink(c->drv, "d/f"));
}

/* Whoever is told that he may take a name can, and who is told that he may not cannot. */
static void who_may_take_a_name(void **state)
{
    struct contract *c = *state;
    static const uint32_t modes[] = {0755, 0777, 01777, 0666, 0722, 01775};
    const struct drv_caller root = {.uid = 0, .gid = 77};
    const struct drv_caller *const callers[] = {&alice, &nobody, &root};
    if (!may_act(c))
        return;
    make_dir(c, "d", 0, 0, 0777);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        for (size_t owner = 0; owner < 3; owner++)
            for (size_t his = 0; his < 3; his++)
                for (size_t who = 0; who < 3; who++)
                    take_is_foretold(
                        c, callers[owner]->uid, modes[i], callers[his]->uid, callers[who]);
    drv_act_as(&alice);
    assert_err(drv_unlink_may(c->drv, "d/f"), MRMR_DENIED); /* the last one's folder is root's */
    drv_act_as(NULL);
    assert_err(drv_unlink_may(c->drv, "d/f"), MRMR_ABSENT);
    assert_ok(drv_unlink_may(c->drv, "d"));
}

/* Anybody who may write may say "now", only the owner may say another time. */
static void the_time_now_needs_less(void **state)
{
    struct contract *c = *state;
    const unsigned both = DRV_ATTR_MTIME | DRV_ATTR_ATIME;
    if (!may_act(c))
        return;
    make_file(c, "f", "x");
    give(c, "f", 1, 1, 0666);
    drv_act_as(&nobody);
    mrmr_err now = drv_set_attr(
        c->drv, "f", both, &(struct drv_stat){.mtime = DRV_TIME_NOW, .atime = DRV_TIME_NOW});
    mrmr_err then = drv_set_attr(c->drv, "f", both, &(struct drv_stat){.mtime = 5, .atime = 5});
    drv_act_as(NULL);
    assert_err(now, MRMR_OK);
    assert_err(then, MRMR_DENIED);
}

/* A write by who is not root takes the set-id bits away. */
static void writing_clears_set_id_bits(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    if (!may_act(c))
        return;
    make_file(c, "f", "x");
    give(c, "f", 1, 1, 04777);
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_WRITE, 0, &file));
    assert_ok(drv_file_write(file, 0, "y", 1));
    assert_int_equal(stat_of(c, "f").mode, 04777);
    drv_act_as(&nobody);
    assert_ok(drv_file_write(file, 0, "z", 1));
    drv_act_as(NULL);
    assert_int_equal(stat_of(c, "f").mode, 0777);
    drv_file_close(file);
}

struct actor {
    struct contract *c;
    struct drv_caller caller;
    mrmr_err err;
};

static mrmr_err act(struct actor *actor, unsigned round)
{
    char path[64];
    struct drv_stat stat;
    snprintf(path, sizeof path, "d/%u-%u", (unsigned)actor->caller.uid, round);
    MRMR_TRY(drv_mkdir(actor->c->drv, path, 0700));
    MRMR_TRY(drv_stat(actor->c->drv, path, &stat));
    if (stat.uid != actor->caller.uid || stat.gid != actor->caller.gid)
        return mrmr_fail(MRMR_INTERNAL, "%s belongs to %u:%u", path, stat.uid, stat.gid);
    return drv_rmdir(actor->c->drv, path);
}

static void *act_run(void *arg)
{
    struct actor *actor = arg;
    drv_act_as(&actor->caller);
    for (unsigned i = 0; i < 150 && !actor->err; i++)
        actor->err = act(actor, i);
    drv_act_as(NULL);
    return NULL;
}

static void threads_act_apart(void **state)
{
    struct contract *c = *state;
    enum { ACTORS = 4 };
    struct actor actors[ACTORS];
    pthread_t threads[ACTORS];
    if (!may_act(c))
        return;
    make_dir(c, "d", 0, 0, 0777);
    for (uint32_t i = 0; i < ACTORS; i++) { /* the last as the process itself */
        const uint32_t id = i + 1 < ACTORS ? 2000 + i : 0;
        actors[i] = (struct actor){.c = c, .caller = {.uid = id, .gid = id}};
        assert_int_equal(pthread_create(&threads[i], NULL, act_run, &actors[i]), 0);
    }
    for (uint32_t i = 0; i < ACTORS; i++) {
        pthread_join(threads[i], NULL);
        assert_err(actors[i].err, MRMR_OK);
    }
    assert_is_root();
}

static void an_impossible_caller_is_denied(void **state)
{
    struct contract *c = *state;
    if (!may_act(c))
        return;
    static const struct drv_caller bad[] = {
        {.uid = UINT32_MAX, .gid = 1}, {.uid = 1, .gid = UINT32_MAX}};
    for (size_t i = 0; i < 2; i++) {
        drv_act_as(&bad[i]);
        assert_err(drv_mkdir(c->drv, "d", 0755), MRMR_DENIED);
        assert_is_root();
    }
    drv_act_as(NULL);
    assert_absent(c, "d");
    assert_ok(drv_mkdir(c->drv, "d", 0755));
}

/* As him, with no right but to leave set-id bits as they are. */
static void bytes_are_written_as_the_caller(void **state)
{
    struct contract *c = *state;
    struct drv_file *file;
    if (!may_act(c))
        return;
    const struct drv_caller root = {.uid = 0, .gid = 77, .bytes = true};
    const struct drv_caller user = {.uid = 1000, .gid = 1001, .bytes = true};
    assert_ok(drv_file_open(c->drv, "f", CREATE, 0600, &file));
    give(c, "f", 0, 0, 04755);
    drv_act_as(&root);
    assert_ok(drv_file_write(file, 0, "bytes", 5));
    assert_int_equal(stat_of(c, "f").mode, 04755);
    drv_act_as(&user);
    assert_ok(drv_file_write(file, 0, "bytes", 5));
    assert_is_root();
    assert_err(drv_unlink(c->drv, "f"), MRMR_DENIED);
    drv_act_as(NULL);
    assert_int_equal(stat_of(c, "f").mode, 04755);
    drv_file_close(file);
    assert_is_root();
}

/* --- what folders hand down --- */

static void make_all(struct contract *c, const char *folder, uint32_t mode, uint32_t how)
{
    char path[64];
    struct drv_file *file = NULL;
    snprintf(path, sizeof path, "%s/f", folder);
    assert_ok(drv_file_open(c->drv, path, CREATE, mode | how, &file));
    drv_file_close(file);
    snprintf(path, sizeof path, "%s/d", folder);
    assert_ok(drv_mkdir(c->drv, path, mode | how));
    snprintf(path, sizeof path, "%s/p", folder);
    assert_ok(drv_mknod(c->drv, path, DRV_FIFO, mode | how, 0));
}

static void set_gid_folders_hand_down(void **state)
{
    struct contract *c = *state;
    if (!may_act(c))
        return;
    const mode_t umask_was = umask(0);
    make_dir(c, "in", 0, 4321, 02777);
    make_all(c, "in", 0666, DRV_MODE_INHERIT);
    umask(umask_was);
    assert_int_equal(stat_of(c, "in/d").mode, 02666);
    assert_int_equal(stat_of(c, "in/f").mode, 0666);
    assert_int_equal(stat_of(c, "in/p").mode, 0666);
    assert_int_equal(stat_of(c, "in/d").gid, 4321);
    assert_int_equal(stat_of(c, "in/f").gid, 4321);
    make_dir(c, "exact", 0, 4321, 02777);
    make_all(c, "exact", 0666, 0);
    assert_int_equal(stat_of(c, "exact/d").mode, 0666);
}

static void the_umask_is_the_processs(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_MODE);
    const mode_t umask_was = umask(027);
    assert_ok(drv_mkdir(c->drv, "in", 0777));
    make_all(c, "in", 0666, DRV_MODE_INHERIT);
    assert_ok(drv_mkdir(c->drv, "exact", 0777));
    make_all(c, "exact", 0666, 0);
    umask(umask_was);
    assert_int_equal(stat_of(c, "in/f").mode, 0640);
    assert_int_equal(stat_of(c, "in/d").mode, 0640);
    assert_int_equal(stat_of(c, "in/p").mode, 0640);
    assert_int_equal(stat_of(c, "exact/f").mode, 0666);
    assert_int_equal(stat_of(c, "exact/d").mode, 0666);
    assert_int_equal(stat_of(c, "exact/p").mode, 0666);
}

/* The kernel's form (linux/posix_acl_xattr.h), as in cases_attrs.c: others get nothing, the group
 * reads. */
static const struct {
    uint32_t version;
    struct {
        uint16_t tag, perm;
        uint32_t id;
    } entries[3];
} default_acl = {2, {{0x01, 7, UINT32_MAX}, {0x04, 5, UINT32_MAX}, {0x20, 0, UINT32_MAX}}};

static void default_acls_hand_down(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_MODE | DRV_CAP_XATTR);
    struct drv_file *file = NULL;
    assert_ok(drv_mkdir(c->drv, "in", 0777));
    mrmr_err err =
        drv_xattr_set(c->drv, "in", "system.posix_acl_default", &default_acl, sizeof default_acl);
    if (err == MRMR_UNSUPPORTED)
        return;
    assert_err(err, MRMR_OK);
    make_all(c, "in", 0666, DRV_MODE_INHERIT);
    assert_int_equal(stat_of(c, "in/f").mode, 0640);
    assert_int_equal(stat_of(c, "in/d").mode, 0640);
    assert_int_equal(stat_of(c, "in/p").mode, 0640);
    assert_ok(drv_file_open_unnamed(c->drv, "in", DRV_OPEN_WRITE, 0666 | DRV_MODE_INHERIT, &file));
    assert_ok(drv_file_link(file, "unnamed"));
    drv_file_close(file);
    assert_int_equal(stat_of(c, "unnamed").mode, 0640);
}

const struct CMUnitTest cases_act[] = {
    CASE(what_is_made_belongs_to_the_caller),
    CASE(callbacks_run_as_the_process),
    CASE(rights_are_the_callers),
    CASE(what_is_hers_she_may_change),
    CASE(groups_grant),
    CASE(sticky_folders_keep_what_is_anothers),
    CASE(who_may_take_a_name),
    CASE(the_time_now_needs_less),
    CASE(writing_clears_set_id_bits),
    CASE(threads_act_apart),
    CASE(an_impossible_caller_is_denied),
    CASE(bytes_are_written_as_the_caller),
    CASE(set_gid_folders_hand_down),
    CASE(the_umask_is_the_processs),
    CASE(default_acls_hand_down),
};
const size_t cases_act_count = sizeof cases_act / sizeof *cases_act;
