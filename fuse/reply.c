/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/mfs.h"

#include "base/clock.h"
#include <errno.h>
#include <string.h>

/* libfuse takes seconds; the kernel keeps what it is told for at most this. */
static const double keep_most = 365 * 86400.0;

double mfs_seconds(int64_t keep)
{
    double seconds = (double)keep / (double)MRMR_NS_PER_S;
    return seconds > keep_most ? keep_most : seconds;
}

static mode_t type_bits(enum pool_kind kind)
{
    static const mode_t bits[] = {
        [POOL_REG] = S_IFREG,
        [POOL_DIR] = S_IFDIR,
        [POOL_LNK] = S_IFLNK,
        [POOL_FIFO] = S_IFIFO,
        [POOL_SOCK] = S_IFSOCK,
        [POOL_CHR] = S_IFCHR,
        [POOL_BLK] = S_IFBLK,
    };
    return bits[kind];
}

void mfs_stat(const struct pool_attr *attr, struct stat *ret_stat)
{
    enum { BLOCK = 4096, UNIT = 512 };
    *ret_stat = (struct stat){
        .st_ino = attr->node,
        .st_mode = type_bits(attr->kind) | attr->mode,
        .st_nlink = attr->nlink,
        .st_uid = attr->uid,
        .st_gid = attr->gid,
        .st_rdev = attr->rdev,
        .st_size = (off_t)attr->size,
        .st_blksize = BLOCK,
        .st_blocks = (blkcnt_t)(attr->allocated / UNIT),
        .st_atim = mrmr_clock_to_timespec(attr->atime),
        .st_mtim = mrmr_clock_to_timespec(attr->mtime),
        .st_ctim = mrmr_clock_to_timespec(attr->ctime),
    };
}

void mfs_entry(const struct pool_attr *attr, struct fuse_entry_param *ret_entry)
{
    *ret_entry = (struct fuse_entry_param){
        .ino = attr->node,
        .generation = attr->generation,
        .attr_timeout = mfs_seconds(attr->keep),
        .entry_timeout = mfs_seconds(attr->keep_name),
    };
    mfs_stat(attr, &ret_entry->attr);
}

void mfs_reply_entry(fuse_req_t req, mrmr_err err, const struct pool_attr *attr)
{
    struct pool_tree *tree = mfs_tree(req);
    struct fuse_entry_param entry;
    if (err)
        return mfs_reply_failed(req, err);
    mfs_entry(attr, &entry);
    if (fuse_reply_entry(req, &entry))
        pool_tree_forget(tree, attr->node, 1);
}

/* The system's own word, where a drive gave it: EPERM and EACCES are one code of ours. */
static int errno_of(mrmr_err err)
{
    const struct mrmr_story *story = mrmr_story_get();
    if (err == MRMR_NO_DESCRIPTORS)
        return ENFILE; /* EMFILE would be for the caller's own */
    bool told =
        story->err == err && story->foreign > 0 && mrmr_err_from_errno(story->foreign) == err;
    return told ? story->foreign : mrmr_err_to_errno(err);
}

/* It is no ordinary answer, and is logged. */
static bool is_told(mrmr_err err)
{
    enum mrmr_class class = mrmr_class_of(err);
    return class == MRMR_CLASS_UNAVAILABLE || class == MRMR_CLASS_CORRUPT ||
           class == MRMR_CLASS_MEMORY || class == MRMR_CLASS_INTERNAL;
}

mrmr_err mfs_of(fuse_req_t req, mrmr_err err, const char *op, fuse_ino_t node, const char *name)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct mrmr_story story;
    if (!is_told(err))
        return err;
    mrmr_story_save(&story);
    bool known = !pool_tree_path(mfs_tree(req), node, &path) &&
                 !mrmr_bytes_fmt(&path, "%s%s", name && path.size ? "/" : "", name ? name : "");
    mrmr_story_restore(&story);
    mrmr_err_op(err, op);
    return known ? mrmr_err_path(err, path.data) : err;
}

void mfs_reply_failed(fuse_req_t req, mrmr_err err)
{
    enum mrmr_class class = mrmr_class_of(err);
    if (err == MRMR_NO_DESCRIPTORS)
        mrmr_err_hint(err, "raise the mount's limit of open files (ulimit -n, LimitNOFILE=)");
    if (is_told(err))
        mrmr_log_story(MRMR_LOG_WARN, "answered with an error");
    /* ENODEV and ETIMEDOUT are not what programs look for when a disk fails. */
    bool silent = class == MRMR_CLASS_UNAVAILABLE || class == MRMR_CLASS_CORRUPT;
    fuse_reply_err(req, silent ? EIO : errno_of(err));
}

void mfs_reply_stale(fuse_req_t req, mrmr_err err)
{
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT && err != MRMR_NO_ATTR)
        fuse_reply_err(req, ESTALE);
    else
        mfs_reply_failed(req, err);
}

void mfs_reply_done(fuse_req_t req, mrmr_err err)
{
    if (err)
        mfs_reply_failed(req, err);
    else
        fuse_reply_err(req, 0);
}
