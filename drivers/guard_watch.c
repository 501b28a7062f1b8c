/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Watching through the guard: the watch has a thread of its own; only adding a folder touches the
 * drive.
 */
#include "drivers/guard_internal.h"

#include "base/cleanup.h"
#include <string.h>

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

static void watch_tell(
    enum drv_event event, enum drv_who who, uint64_t key, const char *name, void *arg)
{
    struct watch_handle *handle = arg;
    pthread_rwlock_rdlock(&handle->telling);
    if (!handle->closed)
        handle->fn(event, who, key, name, handle->arg);
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

mrmr_err guard_watch_open(struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch)
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
    watch->watch.tells_who = handle->own->tells_who;
    watch->inner = guard_inner_get(op->job.inner);
    watch->handle = handle;
    guard_job_put(&op->job);
    *ret_watch = &mrmr_steal(watch)->watch;
    return MRMR_OK;
}

void guard_watch_close(struct drv_watch *watch)
{
    struct guard_watch *own = (struct guard_watch *)watch;
    pthread_rwlock_wrlock(&own->handle->telling);
    own->handle->closed = true;
    pthread_rwlock_unlock(&own->handle->telling);
    watch_handle_put(own->handle);
    guard_inner_put(own->inner);
    free(own);
}

mrmr_err guard_watch_add(struct drv_watch *watch, const char *path, uint64_t key)
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

void guard_watch_remove(struct drv_watch *watch, uint64_t key)
{
    drv_watch_remove(((struct guard_watch *)watch)->handle->own, key);
}
