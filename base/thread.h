/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Threads: a crew of workers over a bounded queue, and a cancel flag.
 *
 * A crew runs tasks that touch nothing but themselves; whoever submitted them merges the results
 * after mrmr_crew_wait(). The first task that fails gives the crew its error and story; tasks
 * submitted or still queued after it are not run, so a task's `done` is called for every submitted
 * task exactly once, with the error it ended with (MRMR_CANCELLED if it never ran).
 */
#ifndef MRMR_BASE_THREAD_H
#define MRMR_BASE_THREAD_H

#include "base/err.h"
#include <pthread.h>
#include <stdatomic.h>

/* Set from a signal handler or another thread; long work looks at it at every leaf and between
 * steps. */
struct mrmr_cancel {
    atomic_bool flag;
};
static inline bool mrmr_cancelled(struct mrmr_cancel *c)
{
    return c && atomic_load_explicit(&c->flag, memory_order_relaxed);
}

struct mrmr_crew;

struct mrmr_task {
    mrmr_err (*run)(struct mrmr_task *task); /* on a worker */
    void (*done)(
        struct mrmr_task *task, mrmr_err err); /* on a worker, after run; may free the task */
};

/* queue: how many submitted tasks may wait; submit blocks beyond that. */
mrmr_err mrmr_crew_create(unsigned workers, unsigned queue, struct mrmr_crew **ret_crew);
/* Returns the crew's sticky error (and restores its story) if a task has failed already; the task
 * then was not taken and done is not called. */
mrmr_err mrmr_crew_submit(struct mrmr_crew *crew, struct mrmr_task *task);
/* Until all submitted tasks are done; returns and clears the sticky error. */
mrmr_err mrmr_crew_wait(struct mrmr_crew *crew);
/* Waits for running tasks, cancels queued ones. NULL-safe. */
void mrmr_crew_destroy(struct mrmr_crew *crew);

#endif
