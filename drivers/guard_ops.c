/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard's ops that look, and the table of all: each puts its arguments into a job, and copies
 * what the job brought out of it. guard_write.c has those that change something, guard_named.c two that
 * open a file as well, guard_watch.c those of a watch.
 */
#include "drivers/guard_internal.h"

#include "base/cleanup.h"
#include <string.h>
#include <unistd.h>

void guard_op_put_auto(struct guard_op **op)
{
    if (*op)
        guard_job_put(&(*op)->job);
}

/* Where an op was given up, this is a thread of the drive. */
static void handle_put(struct guard_handle *handle)
{
    if (!handle || atomic_fetch_sub(&handle->refs, 1) != 1)
        return;
    drv_file_close(handle->own);
    free(handle);
}

static void op_free(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    handle_put(op->handle);
    handle_put(op->to);
    free(op->path);
    free(op->other);
    mrmr_bytes_free(&op->bytes);
    free(op);
}

mrmr_err guard_op_create(
    const char *path, mrmr_err (*run)(struct guard_job *), struct guard_op **ret_op)
{
    struct guard_op *op = guard_job_create(sizeof *op, run, op_free);
    if (!op)
        return mrmr_nomem();
    if (path && !(op->path = strdup(path))) {
        guard_job_put(&op->job);
        return mrmr_nomem();
    }
    *ret_op = op;
    return MRMR_OK;
}

mrmr_err guard_op_create_change(
    const char *path, mrmr_err (*run)(struct guard_job *), struct guard_op **ret_op)
{
    MRMR_TRY(guard_op_create(path, run, ret_op));
    (*ret_op)->job.changes = true;
    return MRMR_OK;
}

mrmr_err guard_op_call(struct drv *drv, struct guard_op *op)
{
    return mrmr_err_path(guard_call(drv, NULL, &op->job), op->path);
}

mrmr_err guard_op_call_file(struct drv_file *file, struct guard_op *op)
{
    struct guard_file *own = (struct guard_file *)file;
    op->handle = own->handle;
    atomic_fetch_add(&op->handle->refs, 1);
    return mrmr_err_path(guard_call(file->drv, own->inner, &op->job), op->path);
}

/* --- the drive --- */

static mrmr_err space_run(struct guard_job *job)
{
    return drv_space(job->drv, &((struct guard_op *)job)->space);
}

static mrmr_err guard_space(struct drv *drv, struct drv_space *ret_space)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, space_run, &op));
    MRMR_TRY(guard_op_call(drv, op));
    *ret_space = op->space;
    return MRMR_OK;
}

static mrmr_err stat_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_stat(job->drv, op->path, &op->stat);
}

static mrmr_err guard_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(path, stat_run, &op));
    MRMR_TRY(guard_op_call(drv, op));
    *ret_stat = op->stat;
    return MRMR_OK;
}

/* --- listings: records in op->bytes, told to the caller on its own thread --- */

struct list_record { /* followed by the name */
    struct drv_stat stat;
    mrmr_err err;
    size_t name_size; /* with its NUL */
};

static mrmr_err list_note(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct guard_op *op = arg;
    struct list_record record = {.err = stat ? MRMR_OK : err, .name_size = strlen(name) + 1};
    if (stat)
        record.stat = *stat;
    atomic_fetch_add(&op->job.progress, 1);
    MRMR_TRY(mrmr_bytes_add(&op->bytes, &record, sizeof record));
    return mrmr_bytes_add(&op->bytes, name, record.name_size);
}

static mrmr_err list_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_list(job->drv, op->path, list_note, op);
}

static mrmr_err guard_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(path, list_run, &op));
    MRMR_TRY(guard_op_call(drv, op));
    for (size_t at = 0; at < op->bytes.size;) {
        struct list_record record;
        memcpy(&record, op->bytes.data + at, sizeof record);
        at += sizeof record;
        if (record.err)
            mrmr_err_path(mrmr_fail(record.err, NULL), op->bytes.data + at);
        MRMR_TRY(fn(op->bytes.data + at, record.err ? NULL : &record.stat, record.err, arg));
        at += record.name_size;
    }
    return MRMR_OK;
}

static mrmr_err readlink_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_readlink(job->drv, op->path, &op->bytes);
}

static mrmr_err guard_readlink(struct drv *drv, const char *path, struct mrmr_bytes *target)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(path, readlink_run, &op));
    MRMR_TRY(guard_op_call(drv, op));
    return mrmr_bytes_add(target, op->bytes.data, op->bytes.size);
}

static mrmr_err xattr_note(const char *name, const void *value, size_t size, void *arg)
{
    struct guard_op *op = arg;
    MRMR_TRY(mrmr_bytes_add(&op->bytes, &size, sizeof size));
    MRMR_TRY(mrmr_bytes_add(&op->bytes, name, strlen(name) + 1));
    return mrmr_bytes_add(&op->bytes, value, size);
}

static mrmr_err xattr_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_xattr_list(job->drv, op->path, xattr_note, op);
}

static mrmr_err xattr_tell(const struct guard_op *op, drv_xattr_fn fn, void *arg)
{
    for (size_t at = 0; at < op->bytes.size;) {
        size_t size;
        memcpy(&size, op->bytes.data + at, sizeof size);
        const char *name = op->bytes.data + at + sizeof size;
        const char *value = name + strlen(name) + 1;
        MRMR_TRY(fn(name, value, size, arg));
        at = (size_t)(value - op->bytes.data) + size;
    }
    return MRMR_OK;
}

static mrmr_err guard_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(path, xattr_run, &op));
    MRMR_TRY(guard_op_call(drv, op));
    return xattr_tell(op, fn, arg);
}

static mrmr_err file_xattr_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_xattr_list(op->handle->own, xattr_note, op);
}

static mrmr_err guard_file_xattr_list(struct drv_file *file, drv_xattr_fn fn, void *arg)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, file_xattr_run, &op));
    MRMR_TRY(guard_op_call_file(file, op));
    return xattr_tell(op, fn, arg);
}

/* --- files --- */

/* The handle goes with the job, on this thread. */
static mrmr_err file_close_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    handle_put(mrmr_steal(op->handle));
    return MRMR_OK;
}

/* Whoever wanted it was told that it failed, and may have made it elsewhere meanwhile, and written it:
 * an empty one that comes late would be taken for the newer. As long as this has not ended the drive is
 * away, so nobody else writes to it through a mount. */
static void made_too_late(struct guard_job *job)
{
    const struct guard_op *op = (struct guard_op *)job;
    struct drv_stat made, there;
    if (!op->file || drv_file_stat(op->file, &made) || made.size || !made.ino)
        return;
    if (!drv_stat(job->drv, op->path, &there) && there.ino == made.ino)
        drv_unlink(job->drv, op->path);
}

/* Whoever opened it may have given up by then: the last to let go of the job closes the file. */
static void file_open_free(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    drv_file_close(op->file);
    op_free(job);
}

void guard_op_makes(struct guard_op *op)
{
    op->job.changes = true;
    op->job.late = made_too_late;
}

static mrmr_err file_open_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_open(job->drv, op->path, op->flags, op->mode, &op->file);
}

static mrmr_err file_open_stat_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_open_stat(job->drv, op->path, op->flags, op->mode, &op->file, &op->stat);
}

static mrmr_err file_open_unnamed_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_open_unnamed(job->drv, op->path, op->flags, op->mode, &op->file);
}

mrmr_err guard_op_create_open(
    const char *path, mrmr_err (*run)(struct guard_job *), struct guard_op **ret_op)
{
    MRMR_TRY(guard_op_create(path, run, ret_op));
    (*ret_op)->job.free = file_open_free;
    return MRMR_OK;
}

mrmr_err guard_op_call_open(struct drv *drv, struct guard_op *op, struct drv_file **ret_file)
{
    mrmr_autofree struct guard_file *file = calloc(1, sizeof *file);
    mrmr_autofree struct guard_handle *handle = calloc(1, sizeof *handle);
    if (!file || !handle)
        return mrmr_nomem();
    MRMR_TRY(guard_op_call(drv, op));
    file->file.drv = drv;
    file->inner = guard_inner_get(op->job.inner);
    handle->refs = 1;
    handle->own = mrmr_steal(op->file);
    file->handle = mrmr_steal(handle);
    *ret_file = &mrmr_steal(file)->file;
    return MRMR_OK;
}

static mrmr_err file_open(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
    mrmr_err (*run)(struct guard_job *), struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_open(path, run, &op));
    op->flags = flags;
    op->mode = mode;
    op->job.writes = flags & DRV_OPEN_WRITE;
    if (flags & DRV_OPEN_CREATE)
        guard_op_makes(op);
    MRMR_TRY(guard_op_call_open(drv, op, ret_file));
    *ret_stat = op->stat;
    return MRMR_OK;
}

static mrmr_err guard_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct drv_stat unused;
    return file_open(drv, path, flags, mode, file_open_run, ret_file, &unused);
}

static mrmr_err guard_file_open_stat(struct drv *drv, const char *path, unsigned flags,
    uint32_t mode, struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    return file_open(drv, path, flags, mode, file_open_stat_run, ret_file, ret_stat);
}

static mrmr_err guard_file_open_unnamed(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct drv_stat unused;
    return file_open(drv, path, flags, mode, file_open_unnamed_run, ret_file, &unused);
}

static void guard_file_close(struct drv_file *file)
{
    struct guard_file *own = (struct guard_file *)file;
    struct guard_op *op = NULL;
    if (guard_op_create(NULL, file_close_run, &op)) {
        handle_put(own->handle); /* without memory: here */
    } else {
        op->handle = own->handle;
        guard_post(own->inner, &op->job);
    }
    guard_inner_put(own->inner);
    free(own);
}

static mrmr_err file_stat_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_stat(op->handle->own, &op->stat);
}

static mrmr_err guard_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, file_stat_run, &op));
    MRMR_TRY(guard_op_call_file(file, op));
    *ret_stat = op->stat;
    return MRMR_OK;
}

static mrmr_err file_read_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_read(op->handle->own, op->offset, op->bytes.data, (size_t)op->size, &op->got);
}

static mrmr_err file_read_sure_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_read_sure(
        op->handle->own, op->offset, op->bytes.data, (size_t)op->size, &op->got);
}

static mrmr_err file_read(struct drv_file *file, uint64_t offset, void *buf, size_t size,
    mrmr_err (*run)(struct guard_job *), size_t *ret_got)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, run, &op));
    MRMR_TRY(mrmr_bytes_reserve(&op->bytes, size));
    op->offset = offset;
    op->size = size;
    mrmr_err err = guard_op_call_file(file, op);
    if (err == MRMR_TIMEOUT || err == MRMR_OFFLINE)
        return err; /* the buffer may still be written to */
    memcpy(buf, op->bytes.data, op->got);
    *ret_got = op->got;
    return err;
}

static mrmr_err guard_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    return file_read(file, offset, buf, size, file_read_run, ret_got);
}

static mrmr_err guard_file_read_sure(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    return file_read(file, offset, buf, size, file_read_sure_run, ret_got);
}

static mrmr_err next_data_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_next_data(op->handle->own, op->offset, &op->start, &op->end);
}

static mrmr_err guard_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, next_data_run, &op));
    op->offset = offset;
    MRMR_TRY(guard_op_call_file(file, op));
    *ret_start = op->start;
    *ret_end = op->end;
    return MRMR_OK;
}

/* What was given up keeps its result, and frees it. */
static void descriptor_free(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    if (op->fd > 0)
        close(op->fd);
    op->fd = 0;
    op_free(job);
}

static mrmr_err descriptor_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_descriptor(op->handle->own, &op->fd);
}

static mrmr_err guard_file_descriptor(struct drv_file *file, int *ret_fd)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, descriptor_run, &op));
    op->job.free = descriptor_free;
    MRMR_TRY(guard_op_call_file(file, op));
    *ret_fd = op->fd;
    op->fd = 0;
    return MRMR_OK;
}

static mrmr_err is_written_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    guard_posted_run(job); /* it may be we who had it open, until now; else it is asked again */
    return drv_file_is_written(op->handle->own, &op->answer);
}

static mrmr_err guard_file_is_written(struct drv_file *file, bool *ret_written)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, is_written_run, &op));
    MRMR_TRY(guard_op_call_file(file, op));
    *ret_written = op->answer;
    return MRMR_OK;
}

const struct drv_ops drv_guard_ops = {
    .scheme = "guard",
    .close = guard_close,
    .info = guard_info,
    .space = guard_space,
    .stat = guard_stat,
    .list = guard_list,
    .readlink = guard_readlink,
    .xattr_list = guard_xattr_list,
    .file_xattr_list = guard_file_xattr_list,
    .file_open = guard_file_open,
    .file_open_stat = guard_file_open_stat,
    .file_make = guard_file_make,
    .file_take = guard_file_take,
    .file_close = guard_file_close,
    .file_stat = guard_file_stat,
    .file_read = guard_file_read,
    .file_read_sure = guard_file_read_sure,
    .file_next_data = guard_file_next_data,
    .file_descriptor = guard_file_descriptor,
    .file_is_written = guard_file_is_written,
    .file_write = guard_file_write,
    .file_truncate = guard_file_truncate,
    .file_allocate = guard_file_allocate,
    .file_range = guard_file_range,
    .file_copy = guard_file_copy,
    .file_clone_range = guard_file_clone_range,
    .file_set_attr = guard_file_set_attr,
    .file_open_unnamed = guard_file_open_unnamed,
    .file_link = guard_file_link,
    .file_sync = guard_file_sync,
    .dir_sync = guard_dir_sync,
    .sync_all = guard_sync_all,
    .mkdir = guard_mkdir,
    .unlink = guard_unlink,
    .unlink_may = guard_unlink_may,
    .rmdir = guard_rmdir,
    .rename = guard_rename,
    .link = guard_link,
    .symlink = guard_symlink,
    .mknod = guard_mknod,
    .set_attr = guard_set_attr,
    .set_attr_of = guard_set_attr_of,
    .xattr_set = guard_xattr_set,
    .clone = guard_clone,
    .watch_open = guard_watch_open,
    .watch_close = guard_watch_close,
    .watch_add = guard_watch_add,
    .watch_remove = guard_watch_remove,
};
