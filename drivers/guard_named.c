/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard's ops that give a file its name or take it, and open it besides: one job each, since handing
 * an op over costs more than most ops do.
 *
 * One that was given up may have done so, or do it yet, like any change; then the file is closed when
 * it comes back. A file that is made too late goes again if nobody wrote it (guard_ops.c).
 */
#include "drivers/guard_internal.h"

#include "base/cleanup.h"

/* What the inner drive said, in the job. */
static void named_note(struct guard_op *op, const struct drv_named *named)
{
    op->file = named->file;
    op->flags |= named->flags;
    op->stat = named->stat;
    op->folder = named->folder;
}

/* start, mode, flags: as the run wants them. */
static mrmr_err named_call(struct drv *drv, const char *path, mrmr_err (*run)(struct guard_job *),
    const struct guard_op *wants, struct drv_named *ret_named)
{
    guard_auto_op *op = NULL;
    MRMR_TRY(guard_op_create_open(path, run, &op));
    op->start = wants->start;
    op->mode = wants->mode;
    op->flags = wants->flags;
    op->job.changes = true;
    if (op->flags & DRV_OPEN_CREATE)
        guard_op_makes(op);
    MRMR_TRY(guard_op_call_open(drv, op, &ret_named->file));
    ret_named->flags = op->flags & (DRV_OPEN_READ | DRV_OPEN_WRITE);
    ret_named->stat = op->stat;
    ret_named->folder = op->folder;
    return MRMR_OK;
}

static mrmr_err file_make_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    struct drv_named named;
    MRMR_TRY(drv_file_make(job->drv, op->path, op->mode, &named));
    named_note(op, &named);
    return MRMR_OK;
}

mrmr_err guard_file_make(
    struct drv *drv, const char *path, uint32_t mode, struct drv_named *ret_named)
{
    const struct guard_op wants = {.mode = mode, .flags = DRV_OPEN_CREATE};
    return named_call(drv, path, file_make_run, &wants, ret_named);
}

static mrmr_err file_take_run(struct guard_job *job)
{
    struct guard_op *op = (struct guard_op *)job;
    struct drv_named named;
    MRMR_TRY(drv_file_take(job->drv, op->path, op->start, &named));
    named_note(op, &named);
    return MRMR_OK;
}

mrmr_err guard_file_take(
    struct drv *drv, const char *path, uint64_t ino, struct drv_named *ret_named)
{
    return named_call(drv, path, file_take_run, &(struct guard_op){.start = ino}, ret_named);
}
