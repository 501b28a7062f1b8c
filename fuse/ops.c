/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The kernel's requests, each answered from the pool's tree; those that change something are in
 * ops_change.c. Permissions are checked by the kernel (default_permissions).
 */
#include "fuse/mfs.h"

#include <errno.h>
#include <string.h>

static void op_init(void *arg, struct fuse_conn_info *conn)
{
    static const unsigned wanted[] = {
        FUSE_CAP_ASYNC_READ,
        FUSE_CAP_AUTO_INVAL_DATA,
        FUSE_CAP_CACHE_SYMLINKS, /* one that changes is another node */
        FUSE_CAP_DONT_MASK,      /* a default ACL takes the place of the umask */
        FUSE_CAP_EXPORT_SUPPORT,
        FUSE_CAP_PARALLEL_DIROPS,
        FUSE_CAP_POSIX_ACL, /* the kernel judges by them, and keeps them */
        FUSE_CAP_READDIRPLUS,
        FUSE_CAP_READDIRPLUS_AUTO,
    };
    struct mfs *mfs = arg;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (conn->capable & wanted[i])
            conn->want |= wanted[i];
    conn->want &= ~(unsigned)(FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_ATOMIC_O_TRUNC);
    /* Where it is not offered, the kernel takes set-id bits away itself when a file is written or cut,
     * and says so, and asks for capabilities before each write. */
    mfs->kills = conn->capable & MFS_KILLPRIV;
    conn->want |= conn->capable & MFS_KILLPRIV;
    mfs_direct_init(mfs, conn);
}

/* --- names --- */

static void op_lookup(fuse_req_t req, fuse_ino_t folder, const char *name)
{
    struct pool_attr attr;
    struct fuse_entry_param entry = {.ino = 0};
    int64_t keep;
    mrmr_err err;
    if (strcmp(name, "..") == 0) {
        uint64_t parent;
        err = pool_tree_parent(mfs_tree(req), folder, &parent);
        if (!err)
            err = pool_tree_lookup(mfs_tree(req), parent, ".", &attr, &keep);
    } else {
        err = pool_tree_lookup(mfs_tree(req), folder, name, &attr, &keep);
    }
    if (!err)
        mfs_entry(&attr, &entry);
    else if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return mfs_reply_stale(req, err); /* a handle of what is gone */
    else if (err == MRMR_ABSENT && keep)
        entry.entry_timeout = mfs_seconds(keep);
    else
        return mfs_reply_failed(req, mfs_of(req, err, "look up", folder, name));
    if (fuse_reply_entry(req, &entry) && !err) /* it was interrupted: nobody holds it */
        pool_tree_forget(mfs_tree(req), attr.node, 1);
}

static void op_forget(fuse_req_t req, fuse_ino_t node, uint64_t times)
{
    pool_tree_forget(mfs_tree(req), node, times);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        pool_tree_forget(mfs_tree(req), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct pool_attr attr;
    struct stat st;
    mrmr_err err = pool_tree_attr(mfs_tree(req), node, &attr);
    (void)fi;
    if (err)
        return mfs_reply_stale(req, mfs_of(req, err, "stat", node, NULL));
    mfs_stat(&attr, &st);
    fuse_reply_attr(req, &st, mfs_seconds(attr.keep));
}

static void op_readlink(fuse_req_t req, fuse_ino_t node)
{
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    mrmr_err err = pool_tree_readlink(mfs_tree(req), node, &target);
    if (err)
        return mfs_reply_stale(req, mfs_of(req, err, "read link", node, NULL));
    fuse_reply_readlink(req, target.data);
}

/* --- folders --- */

/* Places of a folder's list as the kernel has them: 1 after ".", 2 after "..", then the tree's. */
enum { PLACE_DOT = 1, PLACE_DOTS = 2 };

struct filling {
    fuse_req_t req;
    bool plus;
    char *buf;
    size_t size, used;
};

static bool fill(
    struct filling *filling, const char *name, const struct fuse_entry_param *entry, uint64_t place)
{
    char *to = filling->buf + filling->used;
    size_t left = filling->size - filling->used;
    size_t n = filling->plus
                   ? fuse_add_direntry_plus(filling->req, to, left, name, entry, (off_t)place)
                   : fuse_add_direntry(filling->req, to, left, name, &entry->attr, (off_t)place);
    if (n > left)
        return false;
    filling->used += n;
    return true;
}

static bool fill_entry(const struct pool_dir_entry *e, void *arg)
{
    enum { UNKNOWN = UINT32_MAX }; /* what has the number 0 is left out */
    const struct pool_attr bare = {.node = e->node, .kind = e->kind};
    struct fuse_entry_param entry;
    mfs_entry(e->attr ? e->attr : &bare, &entry);
    if (!e->attr)
        entry.ino = 0; /* nothing to hold, nothing to keep */
    if (!e->attr && !e->node)
        entry.attr = (struct stat){.st_ino = UNKNOWN};
    return fill(arg, e->name, &entry, e->next);
}

static bool fill_dots(struct filling *filling, fuse_ino_t folder, uint64_t place)
{
    struct fuse_entry_param entry = {.ino = 0};
    uint64_t parent = folder;
    entry.attr.st_mode = S_IFDIR;
    entry.attr.st_ino = folder;
    if (place < PLACE_DOT && !fill(filling, ".", &entry, PLACE_DOT))
        return false;
    if (pool_tree_parent(mfs_tree(filling->req), folder, &parent))
        parent = folder;
    entry.attr.st_ino = parent;
    return place >= PLACE_DOTS || fill(filling, "..", &entry, PLACE_DOTS);
}

static void read_folder(fuse_req_t req, fuse_ino_t folder, size_t size, off_t off, bool plus)
{
    mrmr_autofree char *buf = malloc(size);
    struct filling filling = {.req = req, .plus = plus, .buf = buf, .size = size};
    mrmr_err err = buf ? MRMR_OK : mrmr_nomem();
    uint64_t place = (uint64_t)off;
    if (!err && fill_dots(&filling, folder, place))
        err = pool_tree_list(
            mfs_tree(req), folder, place <= PLACE_DOTS ? 0 : place, plus, fill_entry, &filling);
    if (err && !filling.used) /* else it is told where these end */
        return mfs_reply_failed(req, mfs_of(req, err, "list", folder, NULL));
    fuse_reply_buf(req, buf, filling.used);
}

static void op_opendir(fuse_req_t req, fuse_ino_t folder, struct fuse_file_info *fi)
{
    uint64_t version;
    struct pool_tree_folder *open = NULL;
    mrmr_err err = pool_tree_list_version(mfs_tree(req), folder, &version);
    if (!err)
        err = pool_tree_folder_open(mfs_tree(req), folder, &open);
    if (err)
        return mfs_reply_stale(req, mfs_of(req, err, "list", folder, NULL));
    fi->fh = (uintptr_t)open;
    /* The kernel keeps the list as long as events tell of changes. */
    fi->cache_readdir = fi->keep_cache = version != 0;
    if (fuse_reply_open(req, fi))
        pool_tree_folder_close(open);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t folder, struct fuse_file_info *fi)
{
    (void)folder;
    pool_tree_folder_close(mfs_folder(fi));
    fuse_reply_err(req, 0);
}

static void op_readdir(
    fuse_req_t req, fuse_ino_t folder, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    read_folder(req, folder, size, off, false);
}

static void op_readdirplus(
    fuse_req_t req, fuse_ino_t folder, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    read_folder(req, folder, size, off, true);
}

/* --- files --- */

static void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    const struct mfs *mfs = fuse_req_userdata(req);
    struct pool_tree_file *file;
    bool same = false, writing = (fi->flags & O_ACCMODE) != O_RDONLY;
    mrmr_err err = pool_tree_file_open(mfs_tree(req), node, writing, &file, &same);
    if (err)
        return mfs_reply_stale(req, mfs_of(req, err, "open", node, NULL));
    if (writing)
        mfs_act_as_caller(req, file);
    fi->fh = (uintptr_t)file;
    fi->keep_cache = same;
    mfs_direct_open(req, file, fi);
    if (fuse_reply_open(req, fi))
        mfs_direct_close(mfs, file);
}

static void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    (void)node;
    mfs_direct_close(fuse_req_userdata(req), mfs_file(fi));
    fuse_reply_err(req, 0);
}

static void op_read(
    fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
    mrmr_autofree char *buf = malloc(size ? size : 1);
    size_t got = 0;
    mrmr_err err =
        buf ? pool_tree_file_read(mfs_file(fi), (uint64_t)off, buf, size, &got) : mrmr_nomem();
    if (err)
        return mfs_reply_failed(req, mfs_of(req, err, "read", node, NULL));
    fuse_reply_buf(req, buf, got);
}

static void op_lseek(
    fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi)
{
    uint64_t found;
    (void)node;
    if (off < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        fuse_reply_err(req, off < 0 ? ENXIO : EINVAL);
        return;
    }
    mrmr_err err = pool_tree_file_seek(mfs_file(fi), (uint64_t)off, whence == SEEK_HOLE, &found);
    if (err == MRMR_ABSENT)
        fuse_reply_err(req, ENXIO);
    else if (err)
        mfs_reply_failed(req, err);
    else
        fuse_reply_lseek(req, (off_t)found);
}

/* --- attributes --- */

/* A value, or its length for a size of 0. */
static void reply_value(fuse_req_t req, const struct mrmr_bytes *value, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, value->size);
    else if (size < value->size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, value->data, value->size);
}

/* Without SELinux here nobody can use its labels, and who asks for each file's (ls -l does) is told
 * so once, instead of file by file. */
static bool is_no_selinux(const char *name)
{
    return strcmp(name, "security.selinux") == 0 && access("/sys/fs/selinux/enforce", F_OK) < 0;
}

bool mfs_xattr_known(const char *name)
{
    static const char *const prefixes[] = {"user.", "trusted.", "security.", "system.posix_acl_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static void op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    if (is_no_selinux(name) || !mfs_xattr_known(name)) {
        fuse_reply_err(req, ENOTSUP);
        return;
    }
    mrmr_err err = pool_tree_xattr(mfs_tree(req), node, name, &value);
    if (err)
        mfs_reply_stale(req, mfs_of(req, err, "read attributes", node, NULL));
    else
        reply_value(req, &value, size);
}

static mrmr_err add_name(const char *name, const void *value, size_t size, void *arg)
{
    (void)value;
    (void)size;
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    mrmr_err err = pool_tree_xattrs(mfs_tree(req), node, add_name, &names);
    if (err)
        return mfs_reply_stale(req, mfs_of(req, err, "read attributes", node, NULL));
    reply_value(req, &names, size);
}

static void op_statfs(fuse_req_t req, fuse_ino_t node)
{
    enum { UNIT = 4096, NAME_MOST = 255 };
    struct pool_tree_space space;
    (void)node;
    mrmr_err err = pool_tree_space(mfs_tree(req), &space);
    if (err)
        return mfs_reply_failed(req, err);
    const struct statvfs fs = {
        .f_bsize = UNIT,
        .f_frsize = UNIT,
        .f_blocks = space.total / UNIT,
        .f_bfree = space.avail / UNIT,
        .f_bavail = space.avail / UNIT,
        .f_files = space.files + space.files_avail,
        .f_ffree = space.files_avail,
        .f_favail = space.files_avail,
        .f_namemax = NAME_MOST,
    };
    fuse_reply_statfs(req, &fs);
}

const struct fuse_lowlevel_ops mfs_ops = {
    .init = op_init,
    .create = mfs_create,
#if MFS_HAS_TMPFILE
    .tmpfile = mfs_tmpfile,
#endif
    .mknod = mfs_mknod,
    .mkdir = mfs_mkdir,
    .symlink = mfs_symlink,
    .link = mfs_link,
    .unlink = mfs_unlink,
    .rmdir = mfs_rmdir,
    .rename = mfs_rename,
    .setattr = mfs_setattr,
    .setxattr = mfs_setxattr,
    .removexattr = mfs_removexattr,
    .write = mfs_write,
    .fallocate = mfs_fallocate,
    .copy_file_range = mfs_copy_file_range,
    .fsync = mfs_fsync,
    .fsyncdir = mfs_fsyncdir,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .readlink = op_readlink,
    .opendir = op_opendir,
    .releasedir = op_releasedir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .open = op_open,
    .release = op_release,
    .read = op_read,
    .lseek = op_lseek,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .statfs = op_statfs,
};
