/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard's ops: each puts its arguments into a job, and copies what the job brought out of it.
 */
#include "drivers/guard_internal.h"

#include "base/cleanup.h"
#include <string.h>

/* What the ops need, all in one: it is short-lived. */
struct op {
    struct guard_job job;
    char *path;
    struct guard_handle *handle; /* counted; of the file that the op is on */
    struct drv_file *file;       /* that it opened */
    uint64_t offset;
    size_t size;
    uint64_t start, end;
    bool drop;
    unsigned flags;
    uint32_t mode;
    struct drv_stat stat;
    struct drv_space space;
    struct mrmr_bytes bytes; /* results of any length */
    size_t got;
};

#define auto_op __attribute__((cleanup(op_put_auto))) struct op

static void op_put_auto(struct op **op)
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
    struct op *op = (struct op *)job;
    handle_put(op->handle);
    free(op->path);
    mrmr_bytes_free(&op->bytes);
    free(op);
}

static mrmr_err op_create(const char *path, mrmr_err (*run)(struct guard_job *), struct op **ret_op)
{
    struct op *op = guard_job_create(sizeof *op, run, op_free);
    if (!op)
        return mrmr_nomem();
    if (path && !(op->path = strdup(path))) {
        guard_job_put(&op->job);
        return mrmr_nomem();
    }
    *ret_op = op;
    return MRMR_OK;
}

static mrmr_err op_call(struct drv *drv, struct op *op)
{
    return mrmr_err_path(guard_call(drv, NULL, &op->job), op->path);
}

static mrmr_err op_call_file(struct drv_file *file, struct op *op)
{
    struct guard_file *own = (struct guard_file *)file;
    op->handle = own->handle;
    atomic_fetch_add(&op->handle->refs, 1);
    return guard_call(file->drv, own->inner, &op->job);
}

/* --- the drive --- */

static mrmr_err space_run(struct guard_job *job)
{
    return drv_space(job->drv, &((struct op *)job)->space);
}

static mrmr_err guard_space(struct drv *drv, struct drv_space *ret_space)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(NULL, space_run, &op));
    MRMR_TRY(op_call(drv, op));
    *ret_space = op->space;
    return MRMR_OK;
}

static mrmr_err stat_run(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    return drv_stat(job->drv, op->path, &op->stat);
}

static mrmr_err guard_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(path, stat_run, &op));
    MRMR_TRY(op_call(drv, op));
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
    struct op *op = arg;
    struct list_record record = {.err = stat ? MRMR_OK : err, .name_size = strlen(name) + 1};
    if (stat)
        record.stat = *stat;
    atomic_fetch_add(&op->job.progress, 1);
    MRMR_TRY(mrmr_bytes_add(&op->bytes, &record, sizeof record));
    return mrmr_bytes_add(&op->bytes, name, record.name_size);
}

static mrmr_err list_run(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    return drv_list(job->drv, op->path, list_note, op);
}

static mrmr_err guard_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(path, list_run, &op));
    MRMR_TRY(op_call(drv, op));
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
    struct op *op = (struct op *)job;
    return drv_readlink(job->drv, op->path, &op->bytes);
}

static mrmr_err guard_readlink(struct drv *drv, const char *path, struct mrmr_bytes *target)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(path, readlink_run, &op));
    MRMR_TRY(op_call(drv, op));
    return mrmr_bytes_add(target, op->bytes.data, op->bytes.size);
}

static mrmr_err xattr_note(const char *name, const void *value, size_t size, void *arg)
{
    struct op *op = arg;
    MRMR_TRY(mrmr_bytes_add(&op->bytes, &size, sizeof size));
    MRMR_TRY(mrmr_bytes_add(&op->bytes, name, strlen(name) + 1));
    return mrmr_bytes_add(&op->bytes, value, size);
}

static mrmr_err xattr_run(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    return drv_xattr_list(job->drv, op->path, xattr_note, op);
}

static mrmr_err guard_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(path, xattr_run, &op));
    MRMR_TRY(op_call(drv, op));
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

/* --- files --- */

/* The handle goes with the job, on this thread. */
static mrmr_err file_close_run(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    handle_put(mrmr_steal(op->handle));
    return MRMR_OK;
}

/* Whoever opened it may have given up by then: the last to let go of the job closes the file. */
static void file_open_free(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    drv_file_close(op->file);
    op_free(job);
}

static mrmr_err file_open_run(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    return drv_file_open(job->drv, op->path, op->flags, op->mode, &op->file);
}

static mrmr_err guard_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    auto_op *op = NULL;
    mrmr_autofree struct guard_file *file = calloc(1, sizeof *file);
    mrmr_autofree struct guard_handle *handle = calloc(1, sizeof *handle);
    if (!file || !handle)
        return mrmr_nomem();
    MRMR_TRY(op_create(path, file_open_run, &op));
    op->job.free = file_open_free;
    op->flags = flags;
    op->mode = mode;
    MRMR_TRY(op_call(drv, op));
    file->file.drv = drv;
    file->inner = guard_inner_get(op->job.inner);
    handle->refs = 1;
    handle->own = mrmr_steal(op->file);
    file->handle = mrmr_steal(handle);
    *ret_file = &mrmr_steal(file)->file;
    return MRMR_OK;
}

static void guard_file_close(struct drv_file *file)
{
    struct guard_file *own = (struct guard_file *)file;
    struct op *op = NULL;
    if (op_create(NULL, file_close_run, &op)) {
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
    struct op *op = (struct op *)job;
    return drv_file_stat(op->handle->own, &op->stat);
}

static mrmr_err guard_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(NULL, file_stat_run, &op));
    MRMR_TRY(op_call_file(file, op));
    *ret_stat = op->stat;
    return MRMR_OK;
}

static mrmr_err file_read_run(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    return drv_file_read(op->handle->own, op->offset, op->bytes.data, op->size, &op->got);
}

static mrmr_err guard_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(NULL, file_read_run, &op));
    MRMR_TRY(mrmr_bytes_reserve(&op->bytes, size));
    op->offset = offset;
    op->size = size;
    mrmr_err err = op_call_file(file, op);
    if (err == MRMR_TIMEOUT || err == MRMR_OFFLINE)
        return err; /* the buffer may still be written to */
    memcpy(buf, op->bytes.data, op->got);
    *ret_got = op->got;
    return err;
}

static mrmr_err next_data_run(struct guard_job *job)
{
    struct op *op = (struct op *)job;
    return drv_file_next_data(op->handle->own, op->offset, &op->start, &op->end);
}

static mrmr_err guard_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
    auto_op *op = NULL;
    MRMR_TRY(op_create(NULL, next_data_run, &op));
    op->offset = offset;
    MRMR_TRY(op_call_file(file, op));
    *ret_start = op->start;
    *ret_end = op->end;
    return MRMR_OK;
}

/* --- watching: the watch has a thread of its own; only adding a folder touches the drive --- */

/* The inner drive's watch is closed when neither the caller has it any more nor an op is on it,
 * which may have been given up. That can be late, so what is told passes here: nothing after the
 * caller has closed it. */
struct watch_handle {
    atomic_uint refs;
    struct drv_watch *own;
    drv_event_fn fn;
    void *arg;
    pthread_rwlock_t telling; /* held for reading while fn runs */
    bool closed;              /* guarded by telling */
};

struct guard_watch {
    struct drv_watch watch;
    struct guard_inner *inner;   /* owned */
    struct watch_handle *handle; /* counted */
};

struct watch_op {
    struct guard_job job;
    char *path;
    uint64_t key;
    struct watch_handle *handle; /* counted */
};

static void watch_handle_put(struct watch_handle *handle)
{
    if (!handle || atomic_fetch_sub(&handle->refs, 1) != 1)
        return;
    drv_watch_close(handle->own);
    pthread_rwlock_destroy(&handle->telling);
    free(handle);
}

static void watch_tell(enum drv_event event, uint64_t key, const char *name, void *arg)
{
    struct watch_handle *handle = arg;
    pthread_rwlock_rdlock(&handle->telling);
    if (!handle->closed)
        handle->fn(event, key, name, handle->arg);
    pthread_rwlock_unlock(&handle->telling);
}

static void watch_op_free(struct guard_job *job)
{
    struct watch_op *op = (struct watch_op *)job;
    watch_handle_put(op->handle);
    free(op->path);
    free(op);
}

static mrmr_err watch_op_create(
    struct watch_handle *handle, mrmr_err (*run)(struct guard_job *), struct watch_op **ret_op)
{
    struct watch_op *op = guard_job_create(sizeof *op, run, watch_op_free);
    if (!op)
        return mrmr_nomem();
    atomic_fetch_add(&handle->refs, 1);
    op->handle = handle;
    *ret_op = op;
    return MRMR_OK;
}

static mrmr_err watch_open_run(struct guard_job *job)
{
    struct watch_handle *handle = ((struct watch_op *)job)->handle;
    return drv_watch_open(job->drv, watch_tell, handle, &handle->own);
}

static mrmr_err watch_add_run(struct guard_job *job)
{
    struct watch_op *op = (struct watch_op *)job;
    return drv_watch_add(op->handle->own, op->path, op->key);
}

static struct watch_handle *watch_handle_create(drv_event_fn fn, void *arg)
{
    struct watch_handle *handle = calloc(1, sizeof *handle);
    if (!handle)
        return NULL;
    handle->refs = 1;
    handle->fn = fn;
    handle->arg = arg;
    pthread_rwlock_init(&handle->telling, NULL);
    return handle;
}

static mrmr_err guard_watch_open(
    struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch)
{
    mrmr_autofree struct guard_watch *watch = calloc(1, sizeof *watch);
    struct watch_handle *handle = watch_handle_create(fn, arg);
    struct watch_op *op = NULL;
    mrmr_err err = watch && handle ? watch_op_create(handle, watch_open_run, &op) : mrmr_nomem();
    if (!err)
        err = guard_call(drv, NULL, &op->job);
    if (err) {
        watch_handle_put(handle);
        guard_job_put(op ? &op->job : NULL);
        return err;
    }
    watch->watch.drv = drv;
    watch->inner = guard_inner_get(op->job.inner);
    watch->handle = handle;
    guard_job_put(&op->job);
    *ret_watch = &mrmr_steal(watch)->watch;
    return MRMR_OK;
}

static void guard_watch_close(struct drv_watch *watch)
{
    struct guard_watch *own = (struct guard_watch *)watch;
    pthread_rwlock_wrlock(&own->handle->telling);
    own->handle->closed = true;
    pthread_rwlock_unlock(&own->handle->telling);
    watch_handle_put(own->handle);
    guard_inner_put(own->inner);
    free(own);
}

static mrmr_err guard_watch_add(struct drv_watch *watch, const char *path, uint64_t key)
{
    struct guard_watch *own = (struct guard_watch *)watch;
    struct watch_op *op = NULL;
    MRMR_TRY(watch_op_create(own->handle, watch_add_run, &op));
    mrmr_err err = (op->path = strdup(path)) ? MRMR_OK : mrmr_nomem();
    op->key = key;
    if (!err)
        err = mrmr_err_path(guard_call(watch->drv, own->inner, &op->job), path);
    guard_job_put(&op->job);
    return err;
}

static void guard_watch_remove(struct drv_watch *watch, uint64_t key)
{
    drv_watch_remove(((struct guard_watch *)watch)->handle->own, key);
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
    .file_open = guard_file_open,
    .file_close = guard_file_close,
    .file_stat = guard_file_stat,
    .file_read = guard_file_read,
    .file_next_data = guard_file_next_data,
    .watch_open = guard_watch_open,
    .watch_close = guard_watch_close,
    .watch_add = guard_watch_add,
    .watch_remove = guard_watch_remove,
};
