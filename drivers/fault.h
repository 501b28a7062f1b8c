/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A decorator for tests: it forwards every op to an inner drive and, by rules that may change at
 * any moment, lets chosen calls fail, wait, come back short or wrong, or take the process down.
 *
 *     struct drv_fault *fault;
 *     drv_fault_create(&fault);
 *     drv_fault_serve(fault, "d1", "mem://d1?cut=1");      the pool opens fault://d1
 *     struct drv_fault_rule rule = {
 *         .ops = DRV_FAULT_CHANGES, .after = n, .times = 1, .err = MRMR_IO};
 *     drv_fault_add(fault, &rule, NULL);                   the (n+1)-th change fails, once
 *
 * A call is offered to the rules in the order they were added. A rule that matches it (op and path)
 * counts it, lets the first `after` of them pass, and acts on the next `times`. Waiting and hooks
 * go on to the next rule; the first rule that does more decides, and later rules do not see the
 * call. Calls are counted whether or not they fail; close and advise are neither counted nor
 * offered. An open file is matched by the path it was opened with.
 *
 * Threads: any function, any time; hooks run on the calling thread with no lock held. Ownership: a
 * drive holds its handle, so drv_fault_destroy() may come before or after drv_close().
 */
#ifndef MRMR_DRIVERS_FAULT_H
#define MRMR_DRIVERS_FAULT_H

#include "drivers/driver.h"

/* The ops of driver.h by name. A file_open with DRV_OPEN_CREATE, and file_open_unnamed, is
 * DRV_FAULT_CREATE; file_is_written is DRV_FAULT_FILE_STAT; unlink_may is DRV_FAULT_STAT; file_set_attr, file_xattr_list, file_link and file_clone_range are as the ops that name a path. */
enum drv_fault_op {
    DRV_FAULT_OPEN = 1 << 0, /* through fault:// only */
    DRV_FAULT_INFO = 1 << 1,
    DRV_FAULT_SPACE = 1 << 2,
    DRV_FAULT_STAT = 1 << 3,
    DRV_FAULT_LIST = 1 << 4,
    DRV_FAULT_FILE_OPEN = 1 << 5,
    DRV_FAULT_FILE_STAT = 1 << 6,
    DRV_FAULT_FILE_READ = 1 << 7,
    DRV_FAULT_FILE_NEXT_DATA = 1 << 8,
    DRV_FAULT_READLINK = 1 << 9,
    DRV_FAULT_XATTR_LIST = 1 << 10,

    DRV_FAULT_CREATE = 1 << 11,
    DRV_FAULT_FILE_WRITE = 1 << 12,
    DRV_FAULT_FILE_TRUNCATE = 1 << 13,
    DRV_FAULT_FILE_ALLOCATE = 1 << 14,
    DRV_FAULT_FILE_SYNC = 1 << 15,
    DRV_FAULT_DIR_SYNC = 1 << 16,
    DRV_FAULT_SYNC_ALL = 1 << 17,
    DRV_FAULT_MKDIR = 1 << 18,
    DRV_FAULT_UNLINK = 1 << 19,
    DRV_FAULT_RMDIR = 1 << 20,
    DRV_FAULT_RENAME = 1 << 21,
    DRV_FAULT_LINK = 1 << 22,
    DRV_FAULT_SYMLINK = 1 << 23,
    DRV_FAULT_MKNOD = 1 << 24,
    DRV_FAULT_SET_ATTR = 1 << 25,
    DRV_FAULT_XATTR_SET = 1 << 26,
    DRV_FAULT_CLONE = 1 << 27,

    DRV_FAULT_FILE_RANGE = 1 << 28,
    DRV_FAULT_FILE_COPY = 1 << 29,

    DRV_FAULT_ALL = (1 << 30) - 1,
    DRV_FAULT_LOOKS = DRV_FAULT_CREATE - 1,
    DRV_FAULT_CHANGES = DRV_FAULT_ALL & ~DRV_FAULT_LOOKS,
};

enum drv_fault_action {
    DRV_FAULT_ERROR, /* the call fails with err */
    DRV_FAULT_DELAY, /* the call waits delay_ns first */
    /* A read, write, copy or list of which only the first `bytes` (a list: entries) come through; then it
     * fails with err. With err MRMR_OK a read or copy just comes back short and a write just
     * loses its tail; a list ends early. Others fail with err. */
    DRV_FAULT_SHORT,
    DRV_FAULT_FLIP, /* a read comes back with the byte at `bytes` (modulo what was read)
                       exclusive-ored with mask */
    /* Room for `bytes` more bytes written; what does not fit is MRMR_SPACE, as is making anything
     * once it is used up. Deleting does not make room. space reports no more than what is left. */
    DRV_FAULT_FULL,
    DRV_FAULT_KILL, /* SIGKILL for this process */
    DRV_FAULT_HOOK, /* call hook */
};

typedef void (*drv_fault_hook)(void *arg, enum drv_fault_op op, const char *path);

struct drv_fault_rule {
    uint32_t ops;       /* enum drv_fault_op, or'ed; 0 is DRV_FAULT_ALL */
    const char *prefix; /* the path begins with it; NULL: any */
    const char *part;   /* the path has it somewhere; NULL: any. Both are copied, and rename, link
                         and copies match by either path */
    uint64_t after;     /* let so many matching calls pass first */
    uint64_t times;     /* then act on so many; 0: on all (a FULL or DELAY rule wants 0) */
    enum drv_fault_action action;
    bool late;    /* ERROR, KILL, HOOK: once the call has been carried out and succeeded, as when an
                     answer is lost */
    mrmr_err err; /* of ERROR and SHORT */
    uint64_t delay_ns;
    uint64_t bytes;
    uint8_t mask; /* 0 is 1 */
    drv_fault_hook hook;
    void *arg;
};

struct drv_fault;

mrmr_err drv_fault_create(struct drv_fault **ret_fault);
void drv_fault_destroy(
    struct drv_fault *fault); /* NULL-safe; drives that are open go on without rules */

/* Wrap an open drive, which then belongs to the new one; on failure it stays the caller's. */
mrmr_err drv_fault_wrap(struct drv *inner, struct drv_fault *fault, struct drv **ret_drv);

/* Make fault://name open the inner URI under this handle, until the handle is destroyed. The first
 * call adds the scheme to the table of drivers, so call it before threads start. MRMR_EXISTS if the
 * name is served already. */
mrmr_err drv_fault_serve(struct drv_fault *fault, const char *name, const char *uri);

/* ret_id may be NULL. */
mrmr_err drv_fault_add(
    struct drv_fault *fault, const struct drv_fault_rule *rule, unsigned *ret_id);
void drv_fault_remove(struct drv_fault *fault, unsigned id); /* none of that id: nothing */
void drv_fault_clear(struct drv_fault *fault);               /* all rules; the counts stay */

uint64_t drv_fault_calls(struct drv_fault *fault, uint32_t ops); /* calls of these ops so far */
uint64_t drv_fault_hits(
    struct drv_fault *fault, unsigned id); /* calls a rule has acted on; 0 if it is gone */

#endif
