/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/thread.h"

#include "base/cleanup.h"
#include <signal.h>
#include <string.h>

struct mrmr_crew {
    unsigned workers; /* how many were started; fixed once create has returned */
    unsigned room;    /* places in queue */
    pthread_t *threads;

    pthread_mutex_t lock; /* guards all below; never held while a task runs */
    pthread_cond_t work;  /* a task is queued, or closing */
    pthread_cond_t space; /* a place is free, or an error is set */
    pthread_cond_t idle;  /* pending reached 0 */
    struct mrmr_task **queue;
    unsigned first, queued;
    uint64_t pending; /* taken and not yet done: queued or running */
    bool closing;
    mrmr_err err; /* sticky until crew_wait */
    struct mrmr_story story;
};

/* The next task, and whether to run it; NULL when the crew closes and the queue is empty. */
static struct mrmr_task *crew_take(struct mrmr_crew *crew, bool *ret_run)
{
    mrmr_locked(&crew->lock);
    while (!crew->queued && !crew->closing)
        pthread_cond_wait(&crew->work, &crew->lock);
    if (!crew->queued)
        return NULL;
    struct mrmr_task *task = crew->queue[crew->first];
    crew->first = (crew->first + 1) % crew->room;
    crew->queued--;
    pthread_cond_signal(&crew->space);
    *ret_run = !crew->err && !crew->closing;
    return task;
}

/* Make err, and this thread's story of it, the crew's own, unless a task has failed before. */
static void crew_record(struct mrmr_crew *crew, mrmr_err err)
{
    mrmr_locked(&crew->lock);
    if (crew->err)
        return;
    crew->err = err;
    mrmr_story_save(&crew->story);
    pthread_cond_broadcast(&crew->space);
}

static mrmr_err crew_run(struct mrmr_crew *crew, struct mrmr_task *task, bool run)
{
    if (!run)
        return mrmr_fail(
            MRMR_CANCELLED, "not started, because an earlier step failed or was stopped");
    mrmr_err err = task->run(task);
    if (!err)
        return MRMR_OK;
    if (mrmr_story_get()->err !=
        err) /* the task told no story: an older one must not be taken for it */
        mrmr_fail(err, NULL);
    crew_record(crew, err);
    return err;
}

static void crew_finish(struct mrmr_crew *crew)
{
    mrmr_locked(&crew->lock);
    if (--crew->pending == 0)
        pthread_cond_broadcast(&crew->idle);
}

static void *crew_worker(void *arg)
{
    struct mrmr_crew *crew = arg;
    struct mrmr_task *task;
    bool run;
    while ((task = crew_take(crew, &run))) {
        mrmr_err err = crew_run(crew, task, run);
        if (task->done)
            task->done(task, err); /* may free the task */
        crew_finish(crew);
    }
    return NULL;
}

/* Workers take no signals, so that an interrupt reaches the thread that looks after the work. */
static mrmr_err crew_start(struct mrmr_crew *crew, unsigned workers)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    while (!failed && crew->workers < workers) {
        failed = pthread_create(&crew->threads[crew->workers], NULL, crew_worker, crew);
        if (!failed)
            crew->workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return mrmr_fail(MRMR_SPACE, "cannot start thread %u of %u: %s", crew->workers + 1, workers,
            strerrordesc_np(failed));
    return MRMR_OK;
}

mrmr_err mrmr_crew_create(unsigned workers, unsigned queue, struct mrmr_crew **ret_crew)
{
    if (!workers || !queue)
        return mrmr_fail(MRMR_INVALID, "a crew needs at least one worker and one place to wait");
    struct mrmr_crew *crew = calloc(1, sizeof *crew);
    if (!crew)
        return mrmr_nomem();
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->work, NULL);
    pthread_cond_init(&crew->space, NULL);
    pthread_cond_init(&crew->idle, NULL);
    crew->room = queue;
    crew->queue = calloc(queue, sizeof *crew->queue);
    crew->threads = calloc(workers, sizeof *crew->threads);
    mrmr_err err = crew->queue && crew->threads ? crew_start(crew, workers) : mrmr_nomem();
    if (err) {
        mrmr_crew_destroy(crew);
        return err;
    }
    *ret_crew = crew;
    return MRMR_OK;
}

mrmr_err mrmr_crew_submit(struct mrmr_crew *crew, struct mrmr_task *task)
{
    mrmr_locked(&crew->lock);
    while (crew->queued == crew->room && !crew->err)
        pthread_cond_wait(&crew->space, &crew->lock);
    if (crew->err)
        return mrmr_story_restore(&crew->story);
    crew->queue[(crew->first + crew->queued++) % crew->room] = task;
    crew->pending++;
    pthread_cond_signal(&crew->work);
    return MRMR_OK;
}

mrmr_err mrmr_crew_wait(struct mrmr_crew *crew)
{
    mrmr_locked(&crew->lock);
    while (crew->pending)
        pthread_cond_wait(&crew->idle, &crew->lock);
    if (!crew->err)
        return MRMR_OK;
    crew->err = MRMR_OK;
    return mrmr_story_restore(&crew->story);
}

static void crew_close(struct mrmr_crew *crew)
{
    mrmr_locked(&crew->lock);
    crew->closing = true;
    pthread_cond_broadcast(&crew->work);
}

void mrmr_crew_destroy(struct mrmr_crew *crew)
{
    if (!crew)
        return;
    crew_close(crew);
    for (unsigned i = 0; i < crew->workers; i++)
        pthread_join(crew->threads[i], NULL);
    pthread_cond_destroy(&crew->idle);
    pthread_cond_destroy(&crew->space);
    pthread_cond_destroy(&crew->work);
    pthread_mutex_destroy(&crew->lock);
    free(crew->threads);
    free(crew->queue);
    free(crew);
}
