/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the mount share: mount.c (the program), options.c (its arguments), mountpoint.c
 * (where it may go), session.c (libfuse's session, its threads), ops.c (the kernel's requests),
 * ops_change.c (those that change something), caller.c (who asks), direct.c (files that the kernel uses without us), reply.c (their answers),
 * invalidate.c (what the kernel should forget), watchdog.h (a mount whose process was killed).
 *
 * A number of the pool's tree is the kernel's node id and the st_ino that people see; the root is 1
 * in both. A request is answered on the thread that read it; the tree sees to it that this takes a
 * bounded time. What the tree tells goes to the kernel from the tree's own threads: the kernel takes
 * locks then that a request under way may hold.
 */
#ifndef MRMR_FUSE_MFS_H
#define MRMR_FUSE_MFS_H

#define FUSE_USE_VERSION 312

#include "base/cleanup.h"
#include "base/log.h"
#include "fuse/watchdog.h"
#include "pool/pool.h"
#include <fuse_lowlevel.h>
#include <sys/resource.h>

/* What libfuse has only since then. */
#define MFS_HAS_TMPFILE (FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17))
#define MFS_HAS_PASSTHROUGH (FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17))
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
#define MFS_KILLPRIV FUSE_CAP_HANDLE_KILLPRIV_V2
#else
#define MFS_KILLPRIV 0
#endif

struct mfs {
    struct fuse_session *session;
    pthread_rwlock_t telling; /* read: over telling the kernel, which may wait for a lock in it */
    atomic_bool mute;         /* the session's descriptor is closed, or about to be */
    struct mfs_watchdog *dog;
    bool passthrough; /* wanted, and the kernel has it */
    bool refused;     /* wanted, and the kernel has it not: the session ends */
    bool kills;       /* set-id bits and capabilities are ours to take away (HANDLE_KILLPRIV_V2) */
    struct pool_tree *tree; /* there before the session's first request */
};

static inline struct pool_tree *mfs_tree(fuse_req_t req)
{
    return ((struct mfs *)fuse_req_userdata(req))->tree;
}
static inline struct pool_tree_file *mfs_file(const struct fuse_file_info *fi)
{
    return (struct pool_tree_file *)(uintptr_t)fi->fh;
}
static inline struct pool_tree_folder *mfs_folder(const struct fuse_file_info *fi)
{
    return (struct pool_tree_folder *)(uintptr_t)fi->fh;
}

/* --- options.c --- */

struct mfs_options {
    char *pool;       /* its folder; owned */
    char *mountpoint; /* as it was given; owned */
    bool foreground, verbose, passthrough;
    bool daemon; /* the pool's, beside it; unless told otherwise, if it is not only to read */
    bool daemon_said, readonly;
    bool fake;             /* only look whether it could be mounted */
    struct rlimit files;   /* as they were when it was started */
    struct fuse_args args; /* for libfuse; owned */
};
/* From the command's own arguments, or from mount(8)'s: SOURCE DIR -o … . MRMR_INVALID, told on
 * stderr already; *ret_done: help or version was printed. */
mrmr_err mfs_options_parse(int argc, char **argv, struct mfs_options *options, bool *ret_done);
void mfs_options_free(struct mfs_options *options);

/* --- mountpoint.c --- */

/* The folder, canonical (free()): empty, not mounted on by us, not inside a drive of the pool or
 * its folder, and by a user who may mount. What a dead mount left there is cleared away. For a fake one
 * nothing is, and a pool may be mounted there: it is what is rehearsed. */
mrmr_err mfs_mountpoint_check(
    struct pool *pool, const struct mfs_options *options, char **ret_path);

/* --- session.c --- */

/* libfuse takes the options. */
mrmr_err mfs_session_check(struct mfs_options *options);
/* Mount, call ready, serve until it is unmounted or a signal comes. */
mrmr_err mfs_session_run(struct mfs *mfs, struct mfs_options *options, const char *mountpoint,
    void (*ready)(void *arg), void *arg);

/* --- ops.c --- */

extern const struct fuse_lowlevel_ops mfs_ops;

/* --- ops_change.c --- */

void mfs_create(
    fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode, struct fuse_file_info *fi);
void mfs_tmpfile(fuse_req_t req, fuse_ino_t folder, mode_t mode, struct fuse_file_info *fi);
void mfs_mknod(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode, dev_t rdev);
void mfs_mkdir(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode);
void mfs_symlink(fuse_req_t req, const char *target, fuse_ino_t folder, const char *name);
void mfs_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t folder, const char *name);
void mfs_unlink(fuse_req_t req, fuse_ino_t folder, const char *name);
void mfs_rmdir(fuse_req_t req, fuse_ino_t folder, const char *name);
void mfs_rename(fuse_req_t req, fuse_ino_t folder, const char *name, fuse_ino_t to_folder,
    const char *to_name, unsigned flags);
void mfs_setattr(
    fuse_req_t req, fuse_ino_t node, struct stat *st, int what, struct fuse_file_info *fi);
void mfs_setxattr(
    fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags);
void mfs_removexattr(fuse_req_t req, fuse_ino_t node, const char *name);
void mfs_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size, off_t off,
    struct fuse_file_info *fi);
void mfs_fallocate(
    fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t length, struct fuse_file_info *fi);
void mfs_copy_file_range(fuse_req_t req, fuse_ino_t node_in, off_t off_in,
    struct fuse_file_info *fi_in, fuse_ino_t node_out, off_t off_out, struct fuse_file_info *fi_out,
    size_t len, int flags);
void mfs_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi);
void mfs_fsyncdir(fuse_req_t req, fuse_ino_t folder, int datasync, struct fuse_file_info *fi);

/* --- caller.c --- */

struct mfs_caller {
    struct pool_caller caller;
    uint32_t *groups; /* owned */
};
/* Who makes the request; to be freed. */
mrmr_err mfs_caller_of(fuse_req_t req, struct mfs_caller *ret_who);
void mfs_caller_free(struct mfs_caller *who);
/* What is written through a file that he opened takes his room. */
void mfs_act_as_caller(fuse_req_t req, struct pool_tree_file *file);

/* --- direct.c --- */

/* MRMR_UNSUPPORTED or MRMR_DENIED, with the reason: not with this libfuse, user or kernel. */
mrmr_err mfs_direct_check(void);
/* At the kernel's first word. */
void mfs_direct_init(struct mfs *mfs, struct fuse_conn_info *conn);
/* The file was just opened, by who asks: the kernel may use it without us, and is told so. */
void mfs_direct_open(fuse_req_t req, struct pool_tree_file *file, struct fuse_file_info *fi);
/* Closes it. No request is needed: one that was answered in vain is gone. */
void mfs_direct_close(const struct mfs *mfs, struct pool_tree_file *file);
mrmr_err mfs_direct_refused(void); /* why the session ended, if it was refused */

/* --- reply.c --- */

void mfs_stat(const struct pool_attr *attr, struct stat *ret_stat);
double mfs_seconds(int64_t keep);
void mfs_entry(const struct pool_attr *attr, struct fuse_entry_param *ret_entry);
/* A new or further name; the node is let go of again if nobody hears of it. */
void mfs_reply_entry(fuse_req_t req, mrmr_err err, const struct pool_attr *attr);
/* Adds to the story of what will be logged what was done to which node, or to this name in it (NULL: to
 * itself). Returns err. */
mrmr_err mfs_of(fuse_req_t req, mrmr_err err, const char *op, fuse_ino_t node, const char *name);
/* The error of this thread's last failure; what is no ordinary answer is logged. */
void mfs_reply_failed(fuse_req_t req, mrmr_err err);
/* The same of a node: one that is absent had a name a moment ago, and the kernel looks again. */
void mfs_reply_stale(fuse_req_t req, mrmr_err err);
/* False: no file system has attributes of this name. */
bool mfs_xattr_known(const char *name);
/* 0 or the error. */
void mfs_reply_done(fuse_req_t req, mrmr_err err);

/* --- invalidate.c --- */

/* Nothing more is told: the session's descriptor will be closed. Waits for who is telling, who is let go of once the
 * connection is aborted. */
void mfs_mute(struct mfs *mfs);

extern const struct pool_tree_events mfs_events; /* arg: a struct mfs */

#endif
