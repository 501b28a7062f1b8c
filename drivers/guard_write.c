/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard's ops that change something. All that the inner op reads is copied into the job: the
 * caller may have given up by the time it runs, and its memory is its own again.
 */
#include "drivers/guard_internal.h"

#include "base/cleanup.h"
#include <string.h>

/* Bytes of one copy, of which a slow disk writes as many in one deadline. */
#define GUARD_COPY_MOST (UINT64_C(64) << 20)

static mrmr_err text_copy(const char *text, char **ret_copy)
{
    *ret_copy = strdup(text);
    return *ret_copy ? MRMR_OK : mrmr_nomem();
}

/* --- bytes of open files --- */

static mrmr_err file_write_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_write(op->handle->own, op->offset, op->bytes.data, (size_t)op->size);
}

mrmr_err guard_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(NULL, file_write_run, &op));
    MRMR_TRY(mrmr_bytes_add(&op->bytes, buf, size));
    op->offset = offset;
    op->size = size;
    return guard_op_call_file(file, op);
}

static mrmr_err file_truncate_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_truncate(op->handle->own, op->size);
}

mrmr_err guard_file_truncate(struct drv_file *file, uint64_t size)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(NULL, file_truncate_run, &op));
    op->size = size;
    return guard_op_call_file(file, op);
}

static mrmr_err file_allocate_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_allocate(op->handle->own, op->size);
}

mrmr_err guard_file_allocate(struct drv_file *file, uint64_t size)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(NULL, file_allocate_run, &op));
    op->size = size;
    return guard_op_call_file(file, op);
}

static mrmr_err file_range_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_range(op->handle->own, op->range, op->offset, op->size);
}

mrmr_err guard_file_range(
    struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(NULL, file_range_run, &op));
    op->range = what;
    op->offset = offset;
    op->size = size;
    return guard_op_call_file(file, op);
}

/* An op on two open files. If one was opened before the drive was cut off, it is of no use. */
static mrmr_err call_two(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, struct guard_op *op)
{
    struct guard_file *src = (struct guard_file *)from, *dst = (struct guard_file *)to;
    if (src->inner != dst->inner)
        return mrmr_fail(MRMR_OFFLINE, "the drive was out of service since a file was opened");
    op->to = dst->handle;
    atomic_fetch_add(&op->to->refs, 1);
    op->offset = from_offset;
    op->to_offset = to_offset;
    op->job.slow = true; /* what is not yet on the medium is written there first */
    return guard_op_call_file(from, op);
}

static mrmr_err file_copy_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_copy(
        op->handle->own, op->offset, op->to->own, op->to_offset, op->size, &op->end);
}

mrmr_err guard_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(NULL, file_copy_run, &op));
    op->size = size < GUARD_COPY_MOST ? size : GUARD_COPY_MOST;
    MRMR_TRY(call_two(from, from_offset, to, to_offset, op));
    *ret_copied = op->end;
    return MRMR_OK;
}

static mrmr_err file_clone_range_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_clone_range(op->handle->own, op->offset, op->to->own, op->to_offset, op->size);
}

mrmr_err guard_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(NULL, file_clone_range_run, &op));
    op->size = size;
    return call_two(from, from_offset, to, to_offset, op);
}

/* --- open files --- */

static mrmr_err file_set_attr_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_set_attr(op->handle->own, op->flags, &op->stat);
}

mrmr_err guard_file_set_attr(struct drv_file *file, unsigned what, const struct drv_stat *attr)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(NULL, file_set_attr_run, &op));
    op->flags = what;
    op->stat = *attr;
    return guard_op_call_file(file, op);
}

static mrmr_err file_link_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_link(op->handle->own, op->path);
}

mrmr_err guard_file_link(struct drv_file *file, const char *path)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, file_link_run, &op));
    return guard_op_call_file(file, op);
}

static mrmr_err file_sync_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_file_sync(op->handle->own);
}

mrmr_err guard_file_sync(struct drv_file *file)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, file_sync_run, &op));
    op->job.slow = true;
    return guard_op_call_file(file, op);
}

/* --- the drive --- */

static mrmr_err dir_sync_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_dir_sync(job->drv, op->path);
}

mrmr_err guard_dir_sync(struct drv *drv, const char *path)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(path, dir_sync_run, &op));
    op->job.slow = true;
    return guard_op_call(drv, op);
}

static mrmr_err sync_all_run(struct guard_job *job)
{
    return drv_sync_all(job->drv);
}

mrmr_err guard_sync_all(struct drv *drv)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(NULL, sync_all_run, &op));
    op->job.slow = true;
    return guard_op_call(drv, op);
}

/* --- names --- */

static mrmr_err mkdir_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_mkdir(job->drv, op->path, op->mode);
}

mrmr_err guard_mkdir(struct drv *drv, const char *path, uint32_t mode)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, mkdir_run, &op));
    op->mode = mode;
    return guard_op_call(drv, op);
}

static mrmr_err unlink_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_unlink(job->drv, op->path);
}

mrmr_err guard_unlink(struct drv *drv, const char *path)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, unlink_run, &op));
    return guard_op_call(drv, op);
}

static mrmr_err unlink_may_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_unlink_may(job->drv, op->path);
}

/* It changes nothing. */
mrmr_err guard_unlink_may(struct drv *drv, const char *path)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create(path, unlink_may_run, &op));
    return guard_op_call(drv, op);
}

static mrmr_err rmdir_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_rmdir(job->drv, op->path);
}

mrmr_err guard_rmdir(struct drv *drv, const char *path)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, rmdir_run, &op));
    return guard_op_call(drv, op);
}

/* An op on two paths. Its story names the one that it is about. */
static mrmr_err call_paths(struct drv *drv, const char *from, const char *to, unsigned flags,
    mrmr_err (*run)(struct guard_job *))
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(from, run, &op));
    MRMR_TRY(text_copy(to, &op->other));
    op->flags = flags;
    return guard_op_call(drv, op);
}

static mrmr_err rename_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_rename(job->drv, op->path, op->other, op->flags);
}

mrmr_err guard_rename(struct drv *drv, const char *from, const char *to, unsigned flags)
{
    return call_paths(drv, from, to, flags, rename_run);
}

static mrmr_err link_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_link(job->drv, op->path, op->other);
}

mrmr_err guard_link(struct drv *drv, const char *from, const char *to)
{
    return call_paths(drv, from, to, 0, link_run);
}

static mrmr_err clone_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_clone(job->drv, op->path, op->other);
}

mrmr_err guard_clone(struct drv *drv, const char *from, const char *to)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(from, clone_run, &op));
    MRMR_TRY(text_copy(to, &op->other));
    op->job.slow = true; /* as in call_two */
    return guard_op_call(drv, op);
}

static mrmr_err symlink_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_symlink(job->drv, op->other, op->path);
}

mrmr_err guard_symlink(struct drv *drv, const char *target, const char *path)
{
    return call_paths(drv, path, target, 0, symlink_run);
}

static mrmr_err mknod_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_mknod(job->drv, op->path, op->type, op->mode, op->rdev);
}

mrmr_err guard_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, mknod_run, &op));
    op->type = type;
    op->mode = mode;
    op->rdev = rdev;
    return guard_op_call(drv, op);
}

/* --- attributes --- */

static mrmr_err set_attr_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_set_attr(job->drv, op->path, op->flags, &op->stat);
}

mrmr_err guard_set_attr(
    struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, set_attr_run, &op));
    op->flags = what;
    op->stat = *attr;
    return guard_op_call(drv, op);
}

static mrmr_err set_attr_of_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    return drv_set_attr_of(job->drv, op->path, &op->of, op->flags, &op->stat, &op->stat);
}

mrmr_err guard_set_attr_of(struct drv *drv, const char *path, const struct drv_stat *of,
    unsigned what, const struct drv_stat *attr, struct drv_stat *ret_stat)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, set_attr_of_run, &op));
    op->of = *of;
    op->flags = what;
    op->stat = *attr;
    MRMR_TRY(guard_op_call(drv, op));
    *ret_stat = op->stat;
    return MRMR_OK;
}

static mrmr_err xattr_set_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    const char *value = op->remove ? NULL : op->bytes.data ? op->bytes.data : "";
    return drv_xattr_set(job->drv, op->path, op->other, value, op->bytes.size);
}

mrmr_err guard_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_change(path, xattr_set_run, &op));
    MRMR_TRY(text_copy(name, &op->other));
    MRMR_TRY(mrmr_bytes_add(&op->bytes, value, size));
    op->remove = !value;
    return guard_op_call(drv, op);
}
