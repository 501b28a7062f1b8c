/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Requests that change something. Whether the caller may was asked by the kernel, of what the tree
 * shows; names are made and taken with the caller's own rights on the drive besides. Attributes are
 * not: the kernel also changes them on behalf of who writes a file (it takes set-id bits away), who
 * may not do so himself.
 */
#include "fuse/mfs.h"

#include "base/clock.h"
#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

static enum pool_kind kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return POOL_DIR;
    case S_IFIFO:
        return POOL_FIFO;
    case S_IFSOCK:
        return POOL_SOCK;
    case S_IFCHR:
        return POOL_CHR;
    case S_IFBLK:
        return POOL_BLK;
    default:
        return POOL_REG;
    }
}

/* --- names --- */

static void make(fuse_req_t req, fuse_ino_t folder, const char *name, const struct pool_new *what)
{
    struct mfs_caller who;
    struct pool_attr attr;
    mrmr_err err = mfs_caller_of(req, &who);
    if (!err)
        err = pool_tree_make(mfs_tree(req), &who.caller, folder, name, what, &attr);
    mfs_caller_free(&who);
    mfs_reply_entry(req, mfs_of(req, err, "make", folder, name), &attr);
}

void mfs_mknod(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode, dev_t rdev)
{
    const struct pool_new what = {.kind = kind_of(mode), .mode = mode & 07777, .rdev = rdev};
    make(req, folder, name, &what);
}

void mfs_mkdir(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode)
{
    const struct pool_new what = {.kind = POOL_DIR, .mode = mode & 07777};
    make(req, folder, name, &what);
}

void mfs_symlink(fuse_req_t req, const char *target, fuse_ino_t folder, const char *name)
{
    const struct pool_new what = {.kind = POOL_LNK, .mode = 0777, .target = target};
    make(req, folder, name, &what);
}

static mrmr_err create(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode,
    struct pool_attr *ret_attr, struct pool_tree_file **ret_file)
{
    struct mfs_caller who;
    mrmr_err err = mfs_caller_of(req, &who);
    if (!err)
        err = pool_tree_create(
            mfs_tree(req), &who.caller, folder, name, mode & 07777, ret_attr, ret_file);
    mfs_caller_free(&who);
    return err;
}

static void reply_created(fuse_req_t req, mrmr_err err, const struct pool_attr *attr,
    struct pool_tree_file *file, struct fuse_file_info *fi)
{
    const struct mfs *mfs = fuse_req_userdata(req);
    struct pool_tree *tree = mfs_tree(req);
    struct fuse_entry_param entry;
    if (err)
        return mfs_reply_failed(req, err);
    mfs_entry(attr, &entry);
    fi->fh = (uintptr_t)file;
    mfs_direct_open(req, file, fi);
    if (fuse_reply_create(req, &entry, fi)) {
        mfs_direct_close(mfs, file);
        pool_tree_forget(tree, attr->node, 1);
    }
}

void mfs_create(
    fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct pool_tree_file *file = NULL;
    struct pool_attr attr;
    mrmr_err err = create(req, folder, name, mode, &attr, &file);
    if (err == MRMR_EXISTS && !(fi->flags & O_EXCL)) {
        /* Somebody made it on a drive just now: the kernel looks again, and asks whether this caller
         * may open it. */
        fuse_reply_err(req, ESTALE);
        return;
    }
    reply_created(req, mfs_of(req, err, "make", folder, name), &attr, file, fi);
}

void mfs_tmpfile(fuse_req_t req, fuse_ino_t folder, mode_t mode, struct fuse_file_info *fi)
{
    struct pool_tree_file *file = NULL;
    struct mfs_caller who;
    struct pool_attr attr;
    mrmr_err err = mfs_caller_of(req, &who);
    if (!err)
        err = pool_tree_create_unnamed(
            mfs_tree(req), &who.caller, folder, mode & 07777, &attr, &file);
    mfs_caller_free(&who);
    reply_created(req, mfs_of(req, err, "make a file in", folder, NULL), &attr, file, fi);
}

void mfs_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t folder, const char *name)
{
    struct mfs_caller who;
    struct pool_attr attr;
    mrmr_err err = mfs_caller_of(req, &who);
    if (!err)
        err = pool_tree_link(mfs_tree(req), &who.caller, node, folder, name, &attr);
    mfs_caller_free(&who);
    mfs_reply_entry(req, mfs_of(req, err, "link", folder, name), &attr);
}

void mfs_unlink(fuse_req_t req, fuse_ino_t folder, const char *name)
{
    struct mfs_caller who;
    mrmr_err err = mfs_caller_of(req, &who);
    if (!err)
        err = pool_tree_unlink(mfs_tree(req), &who.caller, folder, name);
    mfs_caller_free(&who);
    mfs_reply_done(req, mfs_of(req, err, "remove", folder, name));
}

void mfs_rmdir(fuse_req_t req, fuse_ino_t folder, const char *name)
{
    struct mfs_caller who;
    mrmr_err err = mfs_caller_of(req, &who);
    if (!err)
        err = pool_tree_rmdir(mfs_tree(req), &who.caller, folder, name);
    mfs_caller_free(&who);
    mfs_reply_done(req, mfs_of(req, err, "remove", folder, name));
}

void mfs_rename(fuse_req_t req, fuse_ino_t folder, const char *name, fuse_ino_t to_folder,
    const char *to_name, unsigned flags)
{
    struct mfs_caller who;
    unsigned how = (flags & RENAME_NOREPLACE ? POOL_RENAME_NOREPLACE : 0) |
                   (flags & RENAME_EXCHANGE ? POOL_RENAME_EXCHANGE : 0);
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    mrmr_err err = mfs_caller_of(req, &who);
    if (!err)
        err = pool_tree_rename(mfs_tree(req), &who.caller, folder, name, to_folder, to_name, how);
    mfs_caller_free(&who);
    mfs_reply_done(req, mfs_of(req, err, "rename", folder, name));
}

/* --- what a change of bytes costs --- */

/* A change that may cost a file its set-id bits. */
struct costs {
    struct mfs *mfs;
    fuse_ino_t node;
    bool may;
    struct mfs_caller who;
};

/* Where the kernel leaves that to us, and we leave it to the drive's kernel: to that it is the caller
 * who changes the file. A page that is written back is nobody's, and costs nothing. */
static mrmr_err costs_begin(fuse_req_t req, fuse_ino_t node, bool writeback, struct costs *costs)
{
    *costs = (struct costs){.mfs = fuse_req_userdata(req), .node = node};
    costs->may = costs->mfs->kills && !writeback && pool_tree_may_be_setid(mfs_tree(req), node);
    if (!costs->may || geteuid() != 0 || fuse_req_ctx(req)->uid == 0)
        return MRMR_OK;
    MRMR_TRY(mfs_caller_of(req, &costs->who));
    pool_tree_change_as(&costs->who.caller);
    return MRMR_OK;
}

/* Before the answer: the kernel has the mode from before. It takes no lock of the file for that. */
static void costs_end(struct costs *costs)
{
    pool_tree_change_as(NULL);
    mfs_caller_free(&costs->who);
    if (costs->may)
        fuse_lowlevel_notify_inval_inode(costs->mfs->session, costs->node, -1, 0);
}

/* --- attributes --- */

/* The latest that there is means "now". */
static int64_t time_of(const struct timespec *time)
{
    int64_t ns = mrmr_clock_from_timespec(time);
    return ns == POOL_TIME_NOW ? POOL_TIME_NOW - 1 : ns;
}

static unsigned set_of(const struct stat *st, int what, struct pool_attr *ret_attr)
{
    static const int pairs[][2] = {
        {FUSE_SET_ATTR_MODE, POOL_SET_MODE},
        {FUSE_SET_ATTR_UID, POOL_SET_UID},
        {FUSE_SET_ATTR_GID, POOL_SET_GID},
        {FUSE_SET_ATTR_SIZE, POOL_SET_SIZE},
        {FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW, POOL_SET_ATIME},
        {FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW, POOL_SET_MTIME},
    };
    unsigned set = 0;
    *ret_attr = (struct pool_attr){
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = (uint64_t)st->st_size,
        .atime = what & FUSE_SET_ATTR_ATIME_NOW ? POOL_TIME_NOW : time_of(&st->st_atim),
        .mtime = what & FUSE_SET_ATTR_MTIME_NOW ? POOL_TIME_NOW : time_of(&st->st_mtim),
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (what & pairs[i][0])
            set |= (unsigned)pairs[i][1];
    return set;
}

/* An owner set to nobody else: nothing is left of that but what it costs, if that is ours to take away. */
static mrmr_err own_again(
    struct pool_tree *tree, fuse_ino_t node, unsigned *set, struct pool_attr *wanted)
{
    struct pool_attr attr;
    MRMR_TRY(pool_tree_attr(tree, node, &attr));
    if (attr.kind == POOL_REG) {
        wanted->uid = attr.uid;
        *set = POOL_SET_UID;
    }
    return MRMR_OK;
}

void mfs_setattr(
    fuse_req_t req, fuse_ino_t node, struct stat *st, int what, struct fuse_file_info *fi)
{
    struct pool_attr wanted, attr;
    struct stat now;
    unsigned set = set_of(st, what, &wanted);
    struct costs costs = {.may = false};
    mrmr_err err = set & POOL_SET_SIZE ? costs_begin(req, node, false, &costs) : MRMR_OK;
    if (!set && ((struct mfs *)fuse_req_userdata(req))->kills)
        err = own_again(mfs_tree(req), node, &set, &wanted);
    if (!err)
        err = pool_tree_set(
            mfs_tree(req), NULL, node, fi && fi->fh ? mfs_file(fi) : NULL, set, &wanted, &attr);
    costs_end(&costs);
    if (err)
        return mfs_reply_stale(req, mfs_of(req, err, "set attributes", node, NULL));
    mfs_stat(&attr, &now);
    fuse_reply_attr(req, &now, mfs_seconds(attr.keep));
}

/* What is the security modules' is asked of them by the kernel, and changed by it, too. */
static mrmr_err xattr_set(fuse_req_t req, fuse_ino_t node, const char *name, const void *value,
    size_t size, unsigned flags)
{
    static const char security[] = "security.";
    struct mfs_caller who;
    bool kernels = strncmp(name, security, strlen(security)) == 0;
    if (!mfs_xattr_known(name))
        return mrmr_fail(MRMR_UNSUPPORTED, NULL);
    MRMR_TRY(mfs_caller_of(req, &who));
    mrmr_err err = pool_tree_set_xattr(
        mfs_tree(req), kernels ? NULL : &who.caller, node, name, value, size, flags);
    mfs_caller_free(&who);
    return err;
}

static void xattr_reply(fuse_req_t req, fuse_ino_t node, mrmr_err err)
{
    if (err)
        mfs_reply_stale(req, mfs_of(req, err, "set attributes", node, NULL));
    else
        fuse_reply_err(req, 0);
}

void mfs_setxattr(
    fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags)
{
    unsigned how = (flags & XATTR_CREATE ? POOL_XATTR_CREATE : 0) |
                   (flags & XATTR_REPLACE ? POOL_XATTR_REPLACE : 0);
    xattr_reply(req, node, xattr_set(req, node, name, value, size, how));
}

void mfs_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
    xattr_reply(req, node, xattr_set(req, node, name, NULL, 0, 0));
}

/* --- bytes --- */

/* The kernel appends where the file ended when it asked last, and a write does not make it ask again. What
 * it flushes of a mapping belongs where it is. (To write elsewhere through a descriptor that appends, as
 * RWF_NOAPPEND would, is not told to us, and appends.) */
static mrmr_err write_bytes(
    const char *buf, size_t size, off_t off, const struct fuse_file_info *fi)
{
    if (fi->flags & O_APPEND && !fi->writepage)
        return pool_tree_file_append(mfs_file(fi), (uint64_t)off, buf, size);
    return pool_tree_file_write(mfs_file(fi), (uint64_t)off, buf, size);
}

void mfs_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size, off_t off,
    struct fuse_file_info *fi)
{
    struct costs costs;
    mrmr_err err = costs_begin(req, node, fi->writepage, &costs);
    if (!err)
        err = write_bytes(buf, size, off, fi);
    costs_end(&costs);
    if (err)
        return mfs_reply_failed(req, mfs_of(req, err, "write", node, NULL));
    fuse_reply_write(req, size);
}

void mfs_fallocate(
    fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t length, struct fuse_file_info *fi)
{
    static const struct {
        int mode;
        enum pool_range range;
    } ranges[] = {
        {0, POOL_RANGE_ALLOCATE},
        {FALLOC_FL_KEEP_SIZE, POOL_RANGE_ALLOCATE_KEEP},
        {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, POOL_RANGE_PUNCH},
        {FALLOC_FL_ZERO_RANGE, POOL_RANGE_ZERO},
        {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, POOL_RANGE_ZERO_KEEP},
    };
    struct costs costs;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (ranges[i].mode != mode)
            continue;
        mrmr_err err = costs_begin(req, node, false, &costs);
        if (!err)
            err = pool_tree_file_range(
                mfs_file(fi), ranges[i].range, (uint64_t)off, (uint64_t)length);
        costs_end(&costs);
        return mfs_reply_done(req, mfs_of(req, err, "allocate", node, NULL));
    }
    fuse_reply_err(req, EOPNOTSUPP);
}

void mfs_copy_file_range(fuse_req_t req, fuse_ino_t node_in, off_t off_in,
    struct fuse_file_info *fi_in, fuse_ino_t node_out, off_t off_out, struct fuse_file_info *fi_out,
    size_t len, int flags)
{
    uint64_t copied = 0;
    struct costs costs;
    (void)node_in;
    (void)flags;
    mrmr_err err = costs_begin(req, node_out, false, &costs);
    if (!err)
        err = pool_tree_file_copy(
            mfs_file(fi_in), (uint64_t)off_in, mfs_file(fi_out), (uint64_t)off_out, len, &copied);
    costs_end(&costs);
    if (mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED)
        fuse_reply_err(req, EXDEV); /* the kernel copies by reading and writing */
    else if (err)
        mfs_reply_failed(req, mfs_of(req, err, "copy to", node_out, NULL));
    else
        fuse_reply_write(req, copied);
}

void mfs_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    mfs_reply_done(req, mfs_of(req, pool_tree_file_sync(mfs_file(fi)), "sync", node, NULL));
}

void mfs_fsyncdir(fuse_req_t req, fuse_ino_t folder, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    mfs_reply_done(req, mfs_of(req, pool_tree_folder_sync(mfs_folder(fi)), "sync", folder, NULL));
}
