/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * guard.c runs jobs with a deadline; guard_ops.c makes one of each op.
 *
 * A job is shared between its caller and a thread: whoever lets go last frees it. So all that the
 * inner op reads or writes lies in the job, and the caller copies results out only after the job was
 * done in time.
 */
#ifndef MRMR_DRIVERS_GUARD_INTERNAL_H
#define MRMR_DRIVERS_GUARD_INTERNAL_H

#include "drivers/guard.h"
#include <pthread.h>
#include <stdatomic.h>

struct guard_inner; /* an inner drive with its threads and its queue; counted */

enum guard_job_state { GUARD_QUEUED, GUARD_RUNNING, GUARD_DONE, GUARD_GIVEN_UP };

struct guard_job {
    mrmr_err (*run)(struct guard_job *job); /* on a thread of the inner drive */
    void (*free)(struct guard_job *job);    /* all of it */
    struct drv *drv;                        /* the inner drive; set by guard_call */
    atomic_uint_fast64_t progress;          /* run may count up: the deadline starts again */

    struct guard_inner *inner;
    /* Guarded by the inner drive's lock. */
    enum guard_job_state state;
    unsigned refs;
    bool waited; /* somebody waits for it; else it must run, also after a cut */
    struct guard_job *next;
    pthread_cond_t changed;
    mrmr_err err;
    struct mrmr_story story;
};

/* An open file of the inner drive: it is closed when neither the caller has it any more nor an op
 * is on it, which may have been given up. */
struct guard_handle {
    atomic_uint refs;
    struct drv_file *own;
};

struct guard_file {
    struct drv_file file;
    struct guard_inner *inner;   /* owned */
    struct guard_handle *handle; /* counted */
};

/* Zeroed memory of `size` bytes that begins with a struct guard_job; NULL without memory. */
void *guard_job_create(
    size_t size, mrmr_err (*run)(struct guard_job *), void (*free_job)(struct guard_job *));
/* Run it on the inner drive that is served now, or on the one given, and wait. The caller keeps its
 * reference, and looks at results only when this is MRMR_OK. */
mrmr_err guard_call(struct drv *guard, struct guard_inner *inner, struct guard_job *job);
/* Run it some time, and do not wait; takes the reference. */
void guard_post(struct guard_inner *inner, struct guard_job *job);
void guard_job_put(struct guard_job *job);

struct guard_inner *guard_inner_get(struct guard_inner *inner);
void guard_inner_put(struct guard_inner *inner);

void guard_close(struct drv *drv);
mrmr_err guard_info(struct drv *drv, struct drv_info *ret_info);

extern const struct drv_ops drv_guard_ops;

#endif
