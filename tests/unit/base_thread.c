/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * No test here sleeps: what must overlap is held at a gate until it does, and the test's time limit
 * catches the rest.
 */
#include "base/thread.h"

#include "base/cleanup.h"
#include "tests/unit/base_check.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>

/* Opens once, for all. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    unsigned waiting;
};
#define GATE_INIT                                                                                  \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                     \
    }

static void gate_pass(struct gate *gate)
{
    mrmr_locked(&gate->lock);
    gate->waiting++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    gate->waiting--;
}

static void gate_open(struct gate *gate)
{
    mrmr_locked(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
}

static void gate_wait_for(struct gate *gate, unsigned waiting)
{
    mrmr_locked(&gate->lock);
    while (gate->waiting < waiting)
        pthread_cond_wait(&gate->changed, &gate->lock);
}

struct job {
    struct mrmr_task task; /* first, so that a task is a job */
    struct gate *gate;     /* passed before anything else, if there is one */
    struct mrmr_cancel *cancel;
    mrmr_err result;
    bool silent; /* fails without a story */
    unsigned number;
    atomic_uint runs, dones;
    mrmr_err ended;
    char text[64]; /* the story at done */
};

static mrmr_err job_run(struct mrmr_task *task)
{
    struct job *job = (struct job *)task;
    atomic_fetch_add(&job->runs, 1);
    if (job->gate)
        gate_pass(job->gate);
    while (job->cancel && !mrmr_cancelled(job->cancel))
        sched_yield();
    if (job->cancel)
        return mrmr_fail(MRMR_CANCELLED, "stopped by hand");
    if (job->result && !job->silent) {
        mrmr_fail(job->result, "job %u", job->number);
        return mrmr_err_drive(job->result, "red");
    }
    return job->result;
}

static void job_done(struct mrmr_task *task, mrmr_err err)
{
    struct job *job = (struct job *)task;
    job->ended = err;
    snprintf(job->text, sizeof job->text, "%.63s", err ? mrmr_story_get()->text : "");
    atomic_fetch_add(&job->dones, 1);
}

static struct job job_make(unsigned number, mrmr_err result)
{
    return (struct job){
        .task = {job_run, job_done}, .number = number, .result = result, .ended = MRMR_INTERNAL};
}

MRMR_DEFINE_AUTO(struct mrmr_crew, mrmr_crew_destroy);

static void every_task_runs_once_and_is_done_once(void **state)
{
    (void)state;
    enum { JOBS = 2000 };
    static struct job jobs[JOBS];
    for (unsigned workers = 1; workers <= 8; workers *= 2) {
        struct mrmr_crew *crew = NULL;
        assert_ok(mrmr_crew_create(workers, 3, &crew));
        for (unsigned i = 0; i < JOBS; i++) {
            jobs[i] = job_make(i, MRMR_OK);
            assert_ok(mrmr_crew_submit(crew, &jobs[i].task));
        }
        assert_ok(mrmr_crew_wait(crew));
        for (unsigned i = 0; i < JOBS; i++) {
            assert_int_equal(jobs[i].runs, 1);
            assert_int_equal(jobs[i].dones, 1);
            assert_int_equal(jobs[i].ended, MRMR_OK);
        }
        mrmr_crew_destroy(crew);
    }
}

/* With fewer than four threads at work this would never end. */
static void workers_work_at_the_same_time(void **state)
{
    (void)state;
    struct gate gate = GATE_INIT;
    struct job jobs[4];
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(4, 1, &crew));
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = job_make(i, MRMR_OK);
        jobs[i].gate = &gate;
        assert_ok(mrmr_crew_submit(crew, &jobs[i].task));
    }
    gate_wait_for(&gate, 4);
    gate_open(&gate);
    assert_ok(mrmr_crew_wait(crew));
}

struct submitter {
    struct mrmr_crew *crew;
    struct job *job;
    mrmr_err err;
    char text[64];
    atomic_bool returned;
};

static void *submit_from_a_thread(void *arg)
{
    struct submitter *submitter = arg;
    submitter->err = mrmr_crew_submit(submitter->crew, &submitter->job->task);
    snprintf(submitter->text, sizeof submitter->text, "%.63s", mrmr_story_get()->text);
    atomic_store(&submitter->returned, true);
    return NULL;
}

/* One job runs, two wait in the queue, and the fourth must not be taken before there is a place for
 * it. */
static void submit_blocks_while_the_queue_is_full(void **state)
{
    (void)state;
    struct gate gate = GATE_INIT;
    struct job jobs[4];
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(1, 2, &crew));
    for (unsigned i = 0; i < 4; i++)
        jobs[i] = job_make(i, MRMR_OK);
    jobs[0].gate = &gate;
    assert_ok(mrmr_crew_submit(crew, &jobs[0].task));
    gate_wait_for(&gate, 1);
    assert_ok(mrmr_crew_submit(crew, &jobs[1].task));
    assert_ok(mrmr_crew_submit(crew, &jobs[2].task));
    struct submitter submitter = {.crew = crew, .job = &jobs[3]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, submit_from_a_thread, &submitter), 0);
    for (unsigned i = 0; i < 2000; i++) { /* many chances to return too early */
        sched_yield();
        assert_false(atomic_load(&submitter.returned));
    }
    gate_open(&gate);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_ok(submitter.err);
    assert_ok(mrmr_crew_wait(crew));
    assert_int_equal(jobs[3].dones, 1);
}

static void a_blocked_submit_returns_when_a_task_fails(void **state)
{
    (void)state;
    struct gate gate = GATE_INIT;
    struct job jobs[3] = {job_make(0, MRMR_IO), job_make(1, MRMR_OK), job_make(2, MRMR_OK)};
    jobs[0].gate = &gate;
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(1, 1, &crew));
    assert_ok(mrmr_crew_submit(crew, &jobs[0].task));
    gate_wait_for(&gate, 1);
    assert_ok(mrmr_crew_submit(crew, &jobs[1].task));
    struct submitter submitter = {.crew = crew, .job = &jobs[2]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, submit_from_a_thread, &submitter), 0);
    gate_open(&gate);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_err(submitter.err, MRMR_IO);
    assert_string_equal(submitter.text, "job 0");
    assert_err(mrmr_crew_wait(crew), MRMR_IO);
    assert_int_equal(jobs[1].dones, 1);
    assert_int_equal(jobs[2].dones, 0); /* it was not taken */
}

static void the_first_failure_stops_the_rest(void **state)
{
    (void)state;
    struct gate gate = GATE_INIT;
    struct job jobs[5];
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(1, 8, &crew));
    for (unsigned i = 0; i < 5; i++)
        jobs[i] = job_make(i, i == 1 ? MRMR_DIGEST : i == 2 ? MRMR_SPACE : MRMR_OK);
    jobs[0].gate = &gate;
    for (unsigned i = 0; i < 5; i++)
        assert_ok(mrmr_crew_submit(crew, &jobs[i].task));
    gate_open(&gate);
    mrmr_fail(MRMR_BUSY, "something of the owner");
    assert_err(mrmr_crew_wait(crew), MRMR_DIGEST);
    assert_string_equal(mrmr_story_get()->text, "job 1");
    assert_string_equal(mrmr_story_get()->drive, "red");
    static const mrmr_err ended[5] = {
        MRMR_OK, MRMR_DIGEST, MRMR_CANCELLED, MRMR_CANCELLED, MRMR_CANCELLED};
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(jobs[i].dones, 1);
        assert_int_equal(jobs[i].runs, i < 2);
        assert_err(jobs[i].ended, ended[i]);
    }
    assert_string_equal(jobs[1].text, "job 1");
    assert_string_not_equal(jobs[2].text, "job 1"); /* a cancelled task tells its own story */
}

static void wait_clears_the_error_and_the_crew_goes_on(void **state)
{
    (void)state;
    struct job bad = job_make(1, MRMR_OFFLINE), refused = job_make(2, MRMR_OK),
               good = job_make(3, MRMR_OK);
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(2, 2, &crew));
    assert_ok(mrmr_crew_submit(crew, &bad.task));
    while (atomic_load(&bad.dones) == 0) /* the error is set before done is called */
        sched_yield();
    mrmr_fail(MRMR_BUSY, "something of the owner");
    assert_err(mrmr_crew_submit(crew, &refused.task), MRMR_OFFLINE);
    assert_string_equal(mrmr_story_get()->text, "job 1");
    assert_err(mrmr_crew_wait(crew), MRMR_OFFLINE);
    assert_ok(mrmr_crew_wait(crew));
    assert_int_equal(refused.dones, 0);
    assert_ok(mrmr_crew_submit(crew, &good.task));
    assert_ok(mrmr_crew_wait(crew));
    assert_int_equal(good.runs, 1);
}

/* A worker that told a story before must not lend it to a task that tells none. */
static void a_silent_failure_gets_a_story_of_its_own(void **state)
{
    (void)state;
    struct job loud = job_make(1, MRMR_IO), silent = job_make(2, MRMR_SPACE);
    silent.silent = true;
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(1, 1, &crew));
    assert_ok(mrmr_crew_submit(crew, &loud.task));
    assert_err(mrmr_crew_wait(crew), MRMR_IO);
    assert_ok(mrmr_crew_submit(crew, &silent.task));
    assert_err(mrmr_crew_wait(crew), MRMR_SPACE);
    assert_int_equal(mrmr_story_get()->err, MRMR_SPACE);
    assert_string_equal(mrmr_story_get()->text, "");
}

static void *destroy_from_a_thread(void *arg)
{
    mrmr_crew_destroy(arg);
    return NULL;
}

static void destroy_lets_the_running_end_and_cancels_the_queued(void **state)
{
    (void)state;
    struct mrmr_cancel cancel = {0};
    struct job jobs[3] = {job_make(0, MRMR_OK), job_make(1, MRMR_OK), job_make(2, MRMR_OK)};
    jobs[0].cancel = &cancel;
    struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(1, 4, &crew));
    for (unsigned i = 0; i < 3; i++)
        assert_ok(mrmr_crew_submit(crew, &jobs[i].task));
    while (atomic_load(&jobs[0].runs) == 0)
        sched_yield();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, destroy_from_a_thread, crew), 0);
    for (unsigned i = 0; i < 2000; i++) {
        sched_yield();
        assert_int_equal(atomic_load(&jobs[0].dones), 0);
    }
    atomic_store(&cancel.flag, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(jobs[i].dones, 1);
        assert_int_equal(jobs[i].runs, i == 0);
        assert_err(jobs[i].ended, MRMR_CANCELLED);
    }
}

static void a_task_may_do_without_done(void **state)
{
    (void)state;
    struct job job = job_make(1, MRMR_OK);
    job.task.done = NULL;
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(1, 1, &crew));
    assert_ok(mrmr_crew_submit(crew, &job.task));
    assert_ok(mrmr_crew_wait(crew));
    assert_int_equal(job.runs, 1);
}

static void free_task(struct mrmr_task *task, mrmr_err err)
{
    (void)err;
    free(task);
}

static void done_may_free_the_task(void **state)
{
    (void)state;
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(3, 2, &crew));
    for (unsigned i = 0; i < 500; i++) {
        struct job *job = malloc(sizeof *job);
        assert_non_null(job);
        *job = job_make(i, MRMR_OK);
        job->task.done = free_task;
        assert_ok(mrmr_crew_submit(crew, &job->task));
    }
    assert_ok(mrmr_crew_wait(crew));
}

static mrmr_err see_signal_mask(struct mrmr_task *task)
{
    (void)task;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1 ? MRMR_OK
                                                                               : MRMR_INTERNAL;
}

static void signals_go_to_the_owner(void **state)
{
    (void)state;
    struct mrmr_task task = {.run = see_signal_mask};
    MRMR_AUTO(mrmr_crew_destroy) struct mrmr_crew *crew = NULL;
    assert_ok(mrmr_crew_create(1, 1, &crew));
    assert_ok(mrmr_crew_submit(crew, &task));
    assert_ok(mrmr_crew_wait(crew));
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGINT), 0);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct mrmr_crew *crew = NULL;
    assert_err(mrmr_crew_create(0, 1, &crew), MRMR_INVALID);
    assert_err(mrmr_crew_create(1, 0, &crew), MRMR_INVALID);
    assert_null(crew);
    mrmr_crew_destroy(NULL);
}

static void the_cancel_flag_may_be_absent(void **state)
{
    (void)state;
    struct mrmr_cancel cancel = {0};
    assert_false(mrmr_cancelled(NULL));
    assert_false(mrmr_cancelled(&cancel));
    atomic_store(&cancel.flag, true);
    assert_true(mrmr_cancelled(&cancel));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once_and_is_done_once),
        cmocka_unit_test(workers_work_at_the_same_time),
        cmocka_unit_test(submit_blocks_while_the_queue_is_full),
        cmocka_unit_test(a_blocked_submit_returns_when_a_task_fails),
        cmocka_unit_test(the_first_failure_stops_the_rest),
        cmocka_unit_test(wait_clears_the_error_and_the_crew_goes_on),
        cmocka_unit_test(a_silent_failure_gets_a_story_of_its_own),
        cmocka_unit_test(destroy_lets_the_running_end_and_cancels_the_queued),
        cmocka_unit_test(a_task_may_do_without_done),
        cmocka_unit_test(done_may_free_the_task),
        cmocka_unit_test(signals_go_to_the_owner),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(the_cancel_flag_may_be_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
