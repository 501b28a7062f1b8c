/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guard's threads and deadlines.
 *
 * An inner drive has a queue and up to `threads` threads, started as they are needed. It lives as
 * long as anyone counts on it: the guard while it is served, each job, each open file, each thread.
 * Cut off, it answers every caller that waits and takes no new call; threads that are idle end, and
 * one that hangs in the kernel ends when it comes back, if it ever does.
 *
 * An op has its deadline from when it begins, and as much before to get a thread. A slow op (a sync)
 * has more time than others, and holds its thread for as long: slow ops have half of the threads at
 * most, so that the others need not wait for them, and whoever does wait because there is but one
 * thread gets more time while slow ops run.
 *
 * A thread that sleeps takes longer to wake than most ops do. So a caller looks for a moment whether
 * its job is done before it sleeps, and of the threads without a job one looks for the next for a
 * moment before it does: for longer where that was worth it the last time. They look without the lock,
 * and yield.
 *
 * What nobody waits for (the closing of a file) is done by a thread that is awake and has nothing
 * better to do. Whoever hands over a job just then wakes another thread only if the first is not done
 * when he has looked for his moment. Who hands over what nobody waits for wakes none, and starts none,
 * as long as one looks, or is at something that has not taken long: a job's caller who finds that it
 * does has another thread do what was counted on this one for. (Nobody sees it of a closing that hangs
 * from its first moment: what was handed over in that moment waits for the next job, or closing.)
 *
 * Locks: the guard's, then an inner drive's. No op runs under either, and nobody is woken under it.
 */
#include "drivers/guard_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <sched.h>
#include <string.h>

enum { MINUTE = 60 }; /* s */

static const int64_t caller_looks = 60 * 1000; /* ns; making a file takes about as long */
static const int64_t worker_looks = 50 * 1000, worker_looks_most = 400 * 1000;
static const int64_t long_after = 2 * 1000 * 1000;    /* ns: a job takes long */
static const int64_t posted_most = 100 * 1000 * 1000; /* ns that a job does what was posted */

struct guard {
    struct drv drv;
    struct drv_guard_options options;
    atomic_uint refs;  /* the drive itself, and every inner drive */
    atomic_uint stuck; /* jobs that were given up and have not come back */
    atomic_uint
        late; /* of them, and of those that ran when their drive was cut off, all that are held */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct guard_inner *inner; /* served; NULL: cut off */
    struct drv_info info;      /* of the last one */
    unsigned error_limit;      /* seconds; 0: none */
    uint64_t errors;           /* seconds with errors, of the one that is served */
    int64_t error_at[MINUTE];  /* the last of them, in turn; s, monotonic */
};

struct guard_inner {
    struct guard *guard;
    struct drv *drv;
    bool only_read;
    atomic_uint refs;

    pthread_mutex_t lock;
    pthread_cond_t work;
    /* Guarded by lock. */
    bool cut;
    mrmr_err why;
    unsigned threads, idle;
    unsigned coming;       /* of them, that are about to look for the next job */
    bool looking;          /* one of the idle ones looks at pushed */
    int64_t looks;         /* ns: for so long */
    atomic_uint pushed;    /* jobs so far, and what was posted */
    unsigned queued, slow; /* jobs that wait; slow ones that run */
    int64_t slow_ended;    /* when the last slow one came back */
    struct guard_job *first, **last;
    struct guard_job *posted, **posted_last; /* nobody waits for them */
    unsigned nposted, posting;               /* of those: that wait; that run */
    unsigned brief;                          /* jobs that run and have not taken long */
    unsigned held, gave_up; /* held ones that run; of them, those that were given up */
    const struct guard_job *posting_last; /* the one begun last, if it runs still */
    struct guard_job *running;            /* all that run, the one begun last first */
};

enum { POSTED_MANY = 64 };

/* --- counted things --- */

static void guard_put(struct guard *guard)
{
    if (atomic_fetch_sub(&guard->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}

struct guard_inner *guard_inner_get(struct guard_inner *inner)
{
    atomic_fetch_add(&inner->refs, 1);
    return inner;
}

void guard_inner_put(struct guard_inner *inner)
{
    if (!inner || atomic_fetch_sub(&inner->refs, 1) != 1)
        return;
    drv_close(inner->drv);
    pthread_mutex_destroy(&inner->lock);
    pthread_cond_destroy(&inner->work);
    guard_put(inner->guard);
    free(inner);
}

void *guard_job_create(
    size_t size, mrmr_err (*run)(struct guard_job *), void (*free_job)(struct guard_job *))
{
    struct guard_job *job = calloc(1, size);
    pthread_condattr_t attr;
    if (!job)
        return NULL;
    job->run = run;
    job->free = free_job;
    job->act = drv_act_share(drv_act_own());
    job->refs = 1;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&job->changed, &attr);
    pthread_condattr_destroy(&attr);
    return job;
}

static void job_free(struct guard_job *job)
{
    struct guard_inner *inner = job->inner;
    pthread_cond_destroy(&job->changed);
    drv_act_put(job->act);
    drv_hold_put(job->hold); /* it never ran */
    job->free(job);
    guard_inner_put(inner);
}

void guard_job_put(struct guard_job *job)
{
    if (job && atomic_fetch_sub(&job->refs, 1) == 1)
        job_free(job);
}

/* --- threads --- */

/* Take a job out of the queue; at is the link that leads to it. */
static struct guard_job *job_unlink_locked(struct guard_inner *inner, struct guard_job **at)
{
    struct guard_job *job = *at;
    *at = job->next;
    if (!*at)
        inner->last = at;
    job->next = NULL;
    inner->queued--;
    return job;
}

/* The first job that may run now; a link to NULL: none. */
static struct guard_job **job_ready_locked(struct guard_inner *inner)
{
    const unsigned most = inner->guard->options.threads > 1 ? inner->guard->options.threads / 2 : 1;
    struct guard_job **at = &inner->first;
    while (*at && (*at)->slow && inner->slow >= most)
        at = &(*at)->next;
    return at;
}

/* For so many ns, or until a job is pushed: true. */
static bool look_for_work(const struct guard_inner *inner, unsigned pushed, int64_t ns)
{
    const int64_t until = mrmr_clock_monotonic() + ns;
    while (atomic_load(&inner->pushed) == pushed) {
        if (mrmr_clock_monotonic() >= until)
            return false;
        sched_yield();
    }
    return true;
}

static void worker_look_locked(struct guard_inner *inner)
{
    const unsigned pushed = atomic_load(&inner->pushed);
    const int64_t ns = inner->looks;
    inner->looking = true;
    pthread_mutex_unlock(&inner->lock);
    const bool found = look_for_work(inner, pushed, ns);
    pthread_mutex_lock(&inner->lock);
    inner->looking = false;
    if (found)
        inner->looks = 2 * ns < worker_looks_most ? 2 * ns : worker_looks_most;
    else
        inner->looks = ns / 2 > worker_looks ? ns / 2 : worker_looks;
}

/* Until a job may be ready. One that looks is not woken for a job (job_push_locked). */
static void worker_idle_locked(struct guard_inner *inner, bool *looked)
{
    inner->idle++;
    if (*looked || inner->looking) {
        pthread_cond_wait(&inner->work, &inner->lock);
        *looked = false;
    } else {
        *looked = true;
        worker_look_locked(inner);
    }
    inner->idle--;
}

static void job_begin_locked(struct guard_inner *inner, struct guard_job *job)
{
    job->state = GUARD_RUNNING;
    job->began = mrmr_clock_monotonic();
    job->brief = job->waited && !job->slow && !job->is_long;
    inner->slow += job->slow;
    inner->brief += job->brief;
    inner->held += job->held;
    job->next = inner->running;
    inner->running = job;
    if (inner->cut)
        atomic_fetch_add(&inner->guard->late, job->held);
}

static void job_runs_no_more_locked(struct guard_inner *inner, struct guard_job *job)
{
    struct guard_job **at = &inner->running;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    job->next = NULL;
}

static void job_not_brief_locked(struct guard_inner *inner, struct guard_job *job)
{
    inner->brief -= job->brief;
    job->brief = false;
}

/* The oldest that nobody waits for; NULL: none. */
static struct guard_job *posted_take_locked(struct guard_inner *inner)
{
    struct guard_job *job = inner->posted;
    if (!job)
        return NULL;
    inner->posted = job->next;
    if (!inner->posted)
        inner->posted_last = &inner->posted;
    job->next = NULL;
    inner->nposted--;
    inner->posting++;
    inner->posting_last = job;
    job_begin_locked(inner, job);
    return job;
}

static bool worker_start_locked(struct guard_inner *inner);

/* What was posted is not to wait for whom it was to wait for. */
static void posted_wake_locked(struct guard_inner *inner)
{
    if (inner->posted && worker_start_locked(inner))
        pthread_cond_signal(&inner->work);
}

/* One that somebody waits for comes first, if the others are not many; NULL: none. */
static struct guard_job *job_take_locked(struct guard_inner *inner)
{
    struct guard_job **at = job_ready_locked(inner);
    if (!*at || inner->nposted >= POSTED_MANY)
        return posted_take_locked(inner);
    struct guard_job *job = job_unlink_locked(inner, at);
    job_begin_locked(inner, job);
    if (job->is_long)
        posted_wake_locked(inner); /* its caller looks no more */
    return job;
}

/* The next job; NULL: end. */
static struct guard_job *worker_next(struct guard_inner *inner)
{
    bool looked = false;
    mrmr_locked(&inner->lock);
    inner->coming--;
    while (!*job_ready_locked(inner) && !inner->posted && !inner->cut)
        worker_idle_locked(inner, &looked);
    struct guard_job *job = job_take_locked(inner);
    if (!job)
        inner->threads--;
    return job;
}

/* comes: the thread looks for the next one then. */
static void worker_done(struct guard_inner *inner, struct guard_job *job, mrmr_err err, bool comes)
{
    {
        mrmr_locked(&inner->lock);
        job_runs_no_more_locked(inner, job);
        const bool gave_up = job->state == GUARD_GIVEN_UP;
        atomic_fetch_sub(&inner->guard->stuck, gave_up);
        if (gave_up || inner->cut)
            atomic_fetch_sub(&inner->guard->late, job->held);
        inner->held -= job->held;
        inner->gave_up -= gave_up && job->held;
        if (job->slow) {
            inner->slow--;
            inner->slow_ended = mrmr_clock_monotonic();
        }
        inner->posting -= !job->waited;
        if (inner->posting_last == job)
            inner->posting_last = NULL;
        job_not_brief_locked(inner, job);
        inner->coming += comes;
        job->err = err;
        if (err)
            mrmr_story_save(&job->story);
        job->state = GUARD_DONE;
    }
    atomic_store(&job->over, true);
    pthread_cond_signal(&job->changed);
}

/* False: nobody can give it up any more. */
static bool job_is_late(struct guard_inner *inner, struct guard_job *job)
{
    mrmr_locked(&inner->lock);
    if (job->state == GUARD_GIVEN_UP)
        return true;
    job->state = GUARD_ENDING;
    return false;
}

static mrmr_err worker_do(struct guard_inner *inner, struct guard_job *job)
{
    drv_act_set(job->act);
    mrmr_err err = job->run(job);
    drv_act_set(NULL);
    if (job->late && job_is_late(inner, job))
        job->late(job);
    drv_hold_put(mrmr_steal(job->hold)); /* before its caller is told, who ends it as a rule */
    return err;
}

static void worker_job(struct guard_inner *inner, struct guard_job *job, bool comes)
{
    worker_done(inner, job, worker_do(inner, job), comes);
    guard_job_put(job);
}

static struct guard_job *posted_take(struct guard_inner *inner)
{
    mrmr_locked(&inner->lock);
    return posted_take_locked(inner);
}

void guard_posted_run(struct guard_job *on)
{
    const int64_t until = mrmr_clock_monotonic() + posted_most;
    for (struct guard_job *job; (job = posted_take(on->inner));) {
        worker_job(on->inner, job, false);
        atomic_fetch_add(&on->progress, 1);
        if (mrmr_clock_monotonic() >= until)
            break;
    }
    drv_act_set(on->act);
}

static void *worker_run(void *arg)
{
    struct guard_inner *inner = arg;
    for (struct guard_job *job; (job = worker_next(inner));)
        worker_job(inner, job, true);
    guard_inner_put(inner);
    return NULL;
}

/* One more thread for one more job, if there may be one and none is idle that no other job waits
 * for. False: nobody would run a job. */
static bool worker_start_locked(struct guard_inner *inner)
{
    pthread_t thread;
    pthread_attr_t attr;
    if (inner->queued < inner->idle || inner->threads >= inner->guard->options.threads)
        return true;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attr, worker_run, guard_inner_get(inner)) == 0;
    pthread_attr_destroy(&attr);
    inner->threads += started;
    inner->coming += started;
    if (!started)
        atomic_fetch_sub(&inner->refs, 1); /* ours keeps it alive */
    return started || inner->threads > 0;
}

/* *ret_wake: somebody is to be woken for it, without the lock. Nobody if one looks, or does what nobody
 * waits for: then job_run looks after it. */
static bool job_push_locked(struct guard_inner *inner, struct guard_job *job, bool *ret_wake)
{
    if (!worker_start_locked(inner))
        return false;
    *inner->last = job;
    inner->last = &job->next;
    atomic_fetch_add(&job->refs, 1);
    atomic_fetch_add(&inner->pushed, 1);
    *ret_wake = inner->queued++ > 0 || !(inner->looking || inner->posting);
    return true;
}

/* A thread comes by soon without being woken: one looks, or is about to, or runs what has not taken long. */
static bool worker_comes_locked(const struct guard_inner *inner)
{
    const struct guard_job *last = inner->posting_last;
    return inner->looking || inner->coming > 0 || inner->brief > 0 ||
           (last && mrmr_clock_monotonic() - last->began < long_after);
}

static bool job_post_locked(struct guard_inner *inner, struct guard_job *job, bool *ret_wake)
{
    const bool comes = worker_comes_locked(inner);
    if (!comes && !worker_start_locked(inner))
        return false;
    *inner->posted_last = job;
    inner->posted_last = &job->next;
    atomic_fetch_add(&job->refs, 1);
    atomic_fetch_add(&inner->pushed, 1);
    *ret_wake = ++inner->nposted % POSTED_MANY == 0 || !comes;
    return true;
}

/* --- cutting off --- */

/* Everyone who waits is answered. What nobody waits for stays in the queue, and is run. What runs is late
 * from this moment: its caller may not have noticed yet that it is given up. */
static void inner_cut(struct guard_inner *inner, mrmr_err why)
{
    mrmr_locked(&inner->lock);
    if (inner->cut)
        return;
    atomic_fetch_add(&inner->guard->late, inner->held - inner->gave_up);
    inner->cut = true;
    inner->why = why;
    for (struct guard_job *job = inner->first; job; job = job->next)
        pthread_cond_signal(&job->changed);
    if (inner->posted)
        worker_start_locked(inner);
    pthread_cond_broadcast(&inner->work);
}

/* The inner drive is no longer served, if it still is. */
static bool guard_take_out(struct guard *guard, const struct guard_inner *inner)
{
    mrmr_locked(&guard->lock);
    if (!guard->inner || (inner && guard->inner != inner))
        return false;
    guard->inner = NULL;
    return true;
}

/* First what runs is late, then whoever asks sees that nothing is served. */
static void guard_cut_inner(struct guard *guard, struct guard_inner *inner, mrmr_err why)
{
    inner_cut(inner, why);
    if (!guard_take_out(guard, inner))
        return;
    guard_inner_put(inner);
    if (guard->options.cut)
        guard->options.cut(why, guard->options.arg);
}

static struct guard_inner *guard_served(struct guard *guard)
{
    mrmr_locked(&guard->lock);
    return guard->inner ? guard_inner_get(guard->inner) : NULL;
}

void drv_guard_cut(struct drv *drv, mrmr_err why)
{
    struct guard *guard = (struct guard *)drv;
    struct guard_inner *inner = guard_served(guard);
    if (inner)
        guard_cut_inner(guard, inner, why);
    guard_inner_put(inner);
}

void drv_guard_error_limit(struct drv *drv, unsigned seconds)
{
    struct guard *guard = (struct guard *)drv;
    mrmr_locked(&guard->lock);
    guard->error_limit = seconds < MINUTE ? seconds : MINUTE;
}

bool drv_guard_serves(struct drv *drv)
{
    struct guard *guard = (struct guard *)drv;
    mrmr_locked(&guard->lock);
    return guard->inner != NULL;
}

/* The last one's count goes after it is closed. */
bool drv_guard_idle(struct drv *drv)
{
    return atomic_load(&((struct guard *)drv)->refs) == 1;
}

unsigned drv_guard_stuck(struct drv *drv)
{
    return atomic_load(&((struct guard *)drv)->stuck);
}

static int64_t inner_slowest(struct guard_inner *inner)
{
    const int64_t now = mrmr_clock_monotonic();
    int64_t slowest = 0;
    mrmr_locked(&inner->lock);
    for (const struct guard_job *job = inner->running; job; job = job->next)
        if (now - job->began > slowest)
            slowest = now - job->began;
    return slowest;
}

int64_t drv_guard_slowest(struct drv *drv)
{
    struct guard_inner *inner = guard_served((struct guard *)drv);
    const int64_t slowest = inner ? inner_slowest(inner) : 0;
    guard_inner_put(inner);
    return slowest;
}

unsigned drv_guard_late(struct drv *drv)
{
    return atomic_load(&((struct guard *)drv)->late);
}

/* --- calls --- */

/* The caller goes: a job that runs is left to its thread, one that does not is taken back. */
static void job_leave_locked(struct guard_inner *inner, struct guard_job *job)
{
    if (job->state == GUARD_RUNNING) {
        job->state = GUARD_GIVEN_UP;
        atomic_fetch_add(&inner->guard->stuck, 1);
        inner->gave_up += job->held;
        if (!inner->cut) /* else it is counted already */
            atomic_fetch_add(&inner->guard->late, job->held);
        if (job->held)
            drv_hold_gave_up(inner->guard->options.id);
        return;
    }
    struct guard_job **at = &inner->first;
    while (*at != job)
        at = &(*at)->next;
    job_unlink_locked(inner, at);
    job->state = GUARD_DONE;
    guard_job_put(job); /* the caller has it yet */
}

/* When the time of a job is over, counted from the time given, or from when it began if that is
 * later. */
static int64_t job_until_locked(
    const struct guard_inner *inner, const struct guard_job *job, int64_t from)
{
    const int64_t start = job->began > from ? job->began : from;
    return start + inner->guard->options.deadline * (job->slow ? GUARD_SLOW : 1);
}

/* It has not begun, and since that time a slow op had a thread. One that takes too long has a caller
 * of its own, who cuts the drive off. */
static bool job_behind_slow_locked(
    const struct guard_inner *inner, const struct guard_job *job, int64_t from)
{
    return job->state == GUARD_QUEUED && (inner->slow > 0 || inner->slow_ended > from);
}

/* For a moment, or until it is done. */
static void look_whether_over(const struct guard_job *job)
{
    const int64_t until = mrmr_clock_monotonic() + caller_looks;
    while (!atomic_load(&job->over) && mrmr_clock_monotonic() < until)
        sched_yield();
}

/* For a moment longer. What was posted does not wait for one that is not done then. */
static void job_wait_briefly_locked(struct guard_inner *inner, struct guard_job *job)
{
    const int64_t until = mrmr_clock_monotonic() + long_after;
    struct timespec at = mrmr_clock_to_timespec(until);
    while (job->state != GUARD_DONE && !inner->cut && mrmr_clock_monotonic() < until)
        pthread_cond_timedwait(&job->changed, &inner->lock, &at);
    if (job->state == GUARD_DONE)
        return;
    job->is_long = true;
    job_not_brief_locked(inner, job);
    posted_wake_locked(inner);
}

/* Until the job is done, its time is over, or the drive is cut off. True: it is done. */
static bool job_wait_locked(struct guard_inner *inner, struct guard_job *job)
{
    uint64_t progress = atomic_load(&job->progress);
    int64_t from = mrmr_clock_monotonic();
    while (job->state != GUARD_DONE && !(inner->cut && job->state != GUARD_ENDING)) {
        if (job->state == GUARD_ENDING) {
            pthread_cond_wait(&job->changed, &inner->lock);
            continue;
        }
        struct timespec at = mrmr_clock_to_timespec(job_until_locked(inner, job, from));
        pthread_cond_timedwait(&job->changed, &inner->lock, &at);
        if (job->state == GUARD_ENDING ||
            mrmr_clock_monotonic() < job_until_locked(inner, job, from))
            continue;
        uint64_t now = atomic_load(&job->progress);
        if (now == progress && !job_behind_slow_locked(inner, job, from))
            break;
        progress = now;
        from = mrmr_clock_monotonic();
    }
    if (job->state == GUARD_DONE)
        return true;
    job_leave_locked(inner, job);
    return false;
}

static mrmr_err job_hand_over(struct guard_inner *inner, struct guard_job *job)
{
    bool wake = false;
    {
        mrmr_locked(&inner->lock);
        job->waited = true;
        if (inner->cut)
            return mrmr_fail(MRMR_OFFLINE, "the drive is out of service");
        if (!job_push_locked(inner, job, &wake))
            return mrmr_nomem();
    }
    if (wake)
        pthread_cond_signal(&inner->work);
    return MRMR_OK;
}

/* What became of the job. */
static mrmr_err job_run(struct guard_inner *inner, struct guard_job *job)
{
    MRMR_TRY(job_hand_over(inner, job));
    look_whether_over(job);
    mrmr_locked(&inner->lock);
    if (job->state == GUARD_QUEUED)
        pthread_cond_signal(&inner->work);
    job_wait_briefly_locked(inner, job);
    if (job_wait_locked(inner, job))
        return job->err ? mrmr_story_restore(&job->story) : MRMR_OK;
    if (inner->cut)
        return mrmr_fail(MRMR_OFFLINE, "the drive was taken out of service");
    return mrmr_fail(MRMR_TIMEOUT, "the drive did not answer in time");
}

/* One more now. True: that is one too many. */
static bool errors_add(struct guard *guard, const struct guard_inner *inner)
{
    const int64_t now = mrmr_clock_monotonic() / MRMR_NS_PER_S;
    mrmr_locked(&guard->lock);
    const unsigned limit = guard->error_limit;
    if (guard->inner != inner || !limit ||
        (guard->errors && guard->error_at[(guard->errors - 1) % MINUTE] == now))
        return false;
    guard->error_at[guard->errors++ % MINUTE] = now;
    return guard->errors >= limit &&
           guard->error_at[(guard->errors - limit) % MINUTE] > now - MINUTE;
}

static mrmr_err inner_failed(struct guard_inner *inner, mrmr_err err)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (err == MRMR_TIMEOUT || err == MRMR_OFFLINE) {
        guard_cut_inner(inner->guard, inner, err);
    } else if (err == MRMR_IO && errors_add(inner->guard, inner)) {
        mrmr_fail(MRMR_IO, "it answers errors again and again");
        guard_cut_inner(inner->guard, inner, MRMR_IO);
    }
    return mrmr_story_restore(&story);
}

static mrmr_err inner_call(struct guard_inner *inner, struct guard_job *job)
{
    mrmr_err err = job_run(inner, job);
    return err ? inner_failed(inner, err) : MRMR_OK;
}

mrmr_err guard_call(struct drv *drv, struct guard_inner *inner, struct guard_job *job)
{
    job->inner = inner ? guard_inner_get(inner) : guard_served((struct guard *)drv);
    if (!job->inner)
        return mrmr_fail(MRMR_OFFLINE, "the drive is out of service");
    job->drv = job->inner->drv;
    if ((job->changes || job->writes) && job->inner->only_read)
        return mrmr_fail(MRMR_READONLY, "this drive is only read");
    job->hold = drv_hold_share(drv_hold_own());
    job->held = job->changes || job->hold;
    return inner_call(job->inner, job);
}

void guard_post(struct guard_inner *inner, struct guard_job *job)
{
    job->inner = guard_inner_get(inner);
    job->drv = inner->drv;
    bool pushed, wake = false;
    {
        mrmr_locked(&inner->lock);
        pushed = job_post_locked(inner, job, &wake);
    }
    if (wake)
        pthread_cond_signal(&inner->work);
    if (!pushed)
        job->run(job); /* no thread can be had: better here than never */
    guard_job_put(job);
}

/* --- life --- */

mrmr_err drv_guard_create(const struct drv_guard_options *options, struct drv **ret_guard)
{
    struct guard *guard = calloc(1, sizeof *guard);
    if (!guard)
        return mrmr_nomem();
    guard->drv.ops = &drv_guard_ops;
    guard->options = *options;
    guard->refs = 1;
    pthread_mutex_init(&guard->lock, NULL);
    *ret_guard = &guard->drv;
    return MRMR_OK;
}

uint32_t drv_guard_caps(const struct drv *drv, uint32_t caps)
{
    const uint32_t take = ((const struct guard *)drv)->options.changes_take;
    return (caps & take) == take ? caps : caps & ~(uint32_t)DRV_CAP_WRITABLE;
}

mrmr_err drv_guard_put(struct drv *drv, struct drv *own)
{
    struct guard *guard = (struct guard *)drv;
    const uint32_t changes_take = guard->options.changes_take;
    struct guard_inner *inner = calloc(1, sizeof *inner), *old;
    struct drv_info info;
    mrmr_err err = inner ? drv_info(own, &info) : mrmr_nomem();
    if (err) {
        free(inner);
        drv_close(own);
        return err;
    }
    inner->guard = guard;
    inner->drv = own;
    inner->only_read = (info.caps & changes_take) != changes_take;
    info.caps = drv_guard_caps(drv, info.caps);
    inner->refs = 1;
    inner->last = &inner->first;
    inner->posted_last = &inner->posted;
    inner->looks = worker_looks;
    pthread_mutex_init(&inner->lock, NULL);
    pthread_cond_init(&inner->work, NULL);
    atomic_fetch_add(&guard->refs, 1);
    {
        mrmr_locked(&guard->lock);
        old = guard->inner;
        guard->inner = inner;
        guard->info = info;
        guard->errors = 0;
    }
    if (old)
        inner_cut(old, MRMR_OFFLINE);
    guard_inner_put(old);
    return MRMR_OK;
}

mrmr_err guard_info(struct drv *drv, struct drv_info *ret_info)
{
    struct guard *guard = (struct guard *)drv;
    mrmr_locked(&guard->lock);
    *ret_info = guard->info;
    return MRMR_OK;
}

void guard_close(struct drv *drv)
{
    struct guard *guard = (struct guard *)drv;
    struct guard_inner *inner = guard_served(guard);
    if (inner && guard_take_out(guard, inner)) {
        inner_cut(inner, MRMR_OFFLINE);
        guard_inner_put(inner);
    }
    guard_inner_put(inner);
    guard_put(guard);
}
