/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * guard.c runs jobs with a deadline; guard_ops.c, guard_named.c, guard_write.c and guard_watch.c make
 * one of each op.
 *
 * A job is shared between its caller and a thread: whoever lets go last frees it. So all that the
 * inner op reads or writes lies in the job, and the caller copies results out only after the job was
 * done in time.
 */
#ifndef MRMR_DRIVERS_GUARD_INTERNAL_H
#define MRMR_DRIVERS_GUARD_INTERNAL_H

#include "drivers/act.h"
#include "drivers/guard.h"
#include "drivers/hold.h"
#include <pthread.h>
#include <stdatomic.h>

enum { GUARD_SLOW = 10 }; /* deadlines of a slow op: guard.h */

struct guard_inner; /* an inner drive with its threads and its queue; counted */

/* ending: it has run, and cannot be given up any more. */
enum guard_job_state { GUARD_QUEUED, GUARD_RUNNING, GUARD_ENDING, GUARD_DONE, GUARD_GIVEN_UP };

struct guard_job {
    mrmr_err (*run)(struct guard_job *job); /* on a thread of the inner drive */
    void (*free)(struct guard_job *job);    /* all of it */
    struct drv *drv;                        /* the inner drive; set by guard_call */
    atomic_uint_fast64_t progress;          /* run may count up: the deadline starts again */
    struct drv_act *act;                    /* as whom it runs: as its caller did; counted */
    /* After run, if it was given up, and before anybody may take it to be over; NULL: nothing. */
    void (*late)(struct guard_job *job);
    bool changes;          /* something on the drive */
    bool writes;           /* or opens a file for that */
    bool held;             /* it does, or had a hold */
    struct drv_hold *hold; /* that its caller began; counted, until it has run */
    bool slow;             /* has GUARD_SLOW times the deadline */

    struct guard_inner *inner;
    atomic_uint refs;
    atomic_bool over; /* it is done; for who looks without the lock */
    /* Guarded by the inner drive's lock. */
    enum guard_job_state state;
    int64_t began;          /* to run, on the monotonic clock; 0: not yet */
    bool waited;            /* somebody waits for it; else it must run, also after a cut */
    bool is_long;           /* who waits for it has found that it takes long, or to begin */
    bool brief;             /* it runs, and is none of those: counted */
    struct guard_job *next; /* in the queue; then among those that run */
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

/* What the ops need, all in one: it is short-lived. What an op reads is a copy. */
struct guard_op {
    struct guard_job job;
    char *path, *other;               /* owned; other: the second path, a target, a name */
    struct guard_handle *handle, *to; /* counted; of the files that the op is on */
    struct drv_file *file;            /* that it opened */
    uint64_t offset, to_offset, size;
    uint64_t start, end; /* start: also an inode that is wanted */
    unsigned flags;      /* of an open or a rename; the attributes to set */
    uint32_t mode;
    enum drv_type type;
    enum drv_range range;
    uint64_t rdev;
    struct drv_stat stat, folder, of; /* of: what must be there */
    struct drv_space space;
    struct mrmr_bytes bytes; /* to write, or results of any length */
    bool remove;             /* an extended attribute */
    bool answer;
    int fd; /* of the system; 0: none */
    size_t got;
};

void guard_op_put_auto(struct guard_op **op);
#define guard_auto_op __attribute__((cleanup(guard_op_put_auto))) struct guard_op
/* path is copied; NULL: none. */
mrmr_err guard_op_create(
    const char *path, mrmr_err (*run)(struct guard_job *), struct guard_op **ret_op);
/* The same of one that changes something on the drive. */
mrmr_err guard_op_create_change(
    const char *path, mrmr_err (*run)(struct guard_job *), struct guard_op **ret_op);
/* One that leaves an open file in op->file, which is closed if nobody waits for it any more: the file. */
mrmr_err guard_op_create_open(
    const char *path, mrmr_err (*run)(struct guard_job *), struct guard_op **ret_op);
void guard_op_makes(struct guard_op *op); /* it makes the file: it goes again if it came too late */
mrmr_err guard_op_call_open(struct drv *drv, struct guard_op *op, struct drv_file **ret_file);
/* Run it on the drive, or on the inner drive of an open file, which becomes op->handle. */
mrmr_err guard_op_call(struct drv *drv, struct guard_op *op);
mrmr_err guard_op_call_file(struct drv_file *file, struct guard_op *op);

/* Zeroed memory of `size` bytes that begins with a struct guard_job; NULL without memory. */
void *guard_job_create(
    size_t size, mrmr_err (*run)(struct guard_job *), void (*free_job)(struct guard_job *));
/* Run it on the inner drive that is served now, or on the one given, and wait. The caller keeps its
 * reference, and looks at results only when this is MRMR_OK. */
mrmr_err guard_call(struct drv *guard, struct guard_inner *inner, struct guard_job *job);
/* Run it some time, and do not wait; takes the reference. */
void guard_post(struct guard_inner *inner, struct guard_job *job);
/* From a job that runs: what was posted before it is done, as far as that does not take long: it counts
 * as progress of the job. */
void guard_posted_run(struct guard_job *on);
void guard_job_put(struct guard_job *job);

struct guard_inner *guard_inner_get(struct guard_inner *inner);
void guard_inner_put(struct guard_inner *inner);

void guard_close(struct drv *drv);
mrmr_err guard_info(struct drv *drv, struct drv_info *ret_info);

/* guard_named.c */
mrmr_err guard_file_make(
    struct drv *drv, const char *path, uint32_t mode, struct drv_named *ret_named);
mrmr_err guard_file_take(
    struct drv *drv, const char *path, uint64_t ino, struct drv_named *ret_named);

/* guard_write.c */
mrmr_err guard_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size);
mrmr_err guard_file_truncate(struct drv_file *file, uint64_t size);
mrmr_err guard_file_allocate(struct drv_file *file, uint64_t size);
mrmr_err guard_file_range(
    struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size);
mrmr_err guard_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied);
mrmr_err guard_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size);
mrmr_err guard_file_set_attr(struct drv_file *file, unsigned what, const struct drv_stat *attr);
mrmr_err guard_file_link(struct drv_file *file, const char *path);
mrmr_err guard_file_sync(struct drv_file *file);
mrmr_err guard_dir_sync(struct drv *drv, const char *path);
mrmr_err guard_sync_all(struct drv *drv);
mrmr_err guard_mkdir(struct drv *drv, const char *path, uint32_t mode);
mrmr_err guard_unlink(struct drv *drv, const char *path);
mrmr_err guard_unlink_may(struct drv *drv, const char *path);
mrmr_err guard_rmdir(struct drv *drv, const char *path);
mrmr_err guard_rename(struct drv *drv, const char *from, const char *to, unsigned flags);
mrmr_err guard_link(struct drv *drv, const char *from, const char *to);
mrmr_err guard_symlink(struct drv *drv, const char *target, const char *path);
mrmr_err guard_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev);
mrmr_err guard_set_attr(
    struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr);
mrmr_err guard_set_attr_of(struct drv *drv, const char *path, const struct drv_stat *of,
    unsigned what, const struct drv_stat *attr, struct drv_stat *ret_stat);
mrmr_err guard_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size);
mrmr_err guard_clone(struct drv *drv, const char *from, const char *to);

/* guard_watch.c */
mrmr_err guard_watch_open(
    struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch);
void guard_watch_close(struct drv_watch *watch);
mrmr_err guard_watch_add(struct drv_watch *watch, const char *path, uint64_t key);
void guard_watch_remove(struct drv_watch *watch, uint64_t key);

extern const struct drv_ops drv_guard_ops;

#endif
