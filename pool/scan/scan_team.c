/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The owner's thread begins, checkpoints and commits the transaction, tells notes and progress;
 * workers write to the catalog in groups that no checkpoint cuts: a crash leaves a group wholly in
 * the catalog or not at all.
 */
#include "pool/scan/scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    TEAM_CHECKPOINT = 50000, /* writes */
    TEAM_NOTES = 64,         /* that may wait for the owner */
    TEAM_TELL = 20,          /* notices of one worker; the rest is counted and logged */
    TEAM_TICK_MS = 200,      /* between two looks at the progress */
};

_Static_assert(TEAM_TELL < TEAM_NOTES, "one worker's notes fit without anybody taking them");

struct pool_scan_note {
    struct pool_scan_note *next;
    const struct pool_drive *drive;
    bool warning;
    char kind[32];
    char text[1400];
};

/* --- For workers --- */

void pool_scan_write_begin(struct pool_scan_worker *worker)
{
    pthread_rwlock_rdlock(&worker->team->gate);
}

void pool_scan_write_end(struct pool_scan_worker *worker, unsigned writes)
{
    atomic_fetch_add_explicit(&worker->team->writes, writes, memory_order_relaxed);
    pthread_rwlock_unlock(&worker->team->gate);
}

mrmr_err pool_scan_poll(struct pool_scan_worker *worker)
{
    MRMR_TRY(pool_job_poll(worker->team->job));
    if (atomic_load_explicit(&worker->team->stop, memory_order_relaxed))
        return mrmr_fail(MRMR_CANCELLED, NULL);
    return MRMR_OK;
}

static void team_post(struct pool_scan_worker *worker, struct pool_scan_note *note)
{
    struct pool_scan_team *team = worker->team;
    mrmr_locked(&team->lock);
    while (team->nnotes >= TEAM_NOTES)
        pthread_cond_wait(&team->room, &team->lock);
    if (team->last)
        team->last->next = note;
    else
        team->first = note;
    team->last = note;
    team->nnotes++;
    pthread_cond_signal(&team->moved);
}

static void team_note(
    struct pool_scan_worker *worker, bool warning, const char *kind, const char *text)
{
    struct pool_scan_note *note = worker->told++ < TEAM_TELL ? calloc(1, sizeof *note) : NULL;
    if (!note) {
        mrmr_log(MRMR_LOG_WARN, "%s: drive %s: %s", kind, worker->drive->meta.name, text);
        return;
    }
    note->drive = worker->drive;
    note->warning = warning;
    snprintf(note->kind, sizeof note->kind, "%s", kind);
    snprintf(note->text, sizeof note->text, "%s%s", text,
        worker->told == TEAM_TELL ? " (there are more; the log has them)" : "");
    team_post(worker, note);
}

void pool_scan_note(struct pool_scan_worker *worker, const char *kind, const char *fmt, ...)
{
    char text[1280];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    team_note(worker, true, kind, text);
}

void pool_scan_note_story(
    struct pool_scan_worker *worker, bool warning, const char *kind, const char *what)
{
    char text[1280];
    mrmr_err_drive(mrmr_story_get()->err, worker->drive->meta.name);
    int n = snprintf(text, sizeof text, "%s: ", what);
    if (n > 0 && (size_t)n < sizeof text)
        mrmr_story_print(mrmr_story_get(), text + n, sizeof text - (size_t)n);
    team_note(worker, warning, kind, text);
}

static void *team_thread(void *arg)
{
    struct pool_scan_worker *worker = arg;
    struct pool_scan_team *team = worker->team;
    worker->err = team->work(worker);
    if (worker->err)
        mrmr_story_save(&worker->story);
    mrmr_locked(&team->lock);
    if (worker->err && !worker->stopped) {
        atomic_store(&team->stop, true);
        /* What made the others stop matters more than that they were stopped. */
        if (!team->err || team->err == MRMR_CANCELLED) {
            team->err = worker->err;
            team->story = worker->story;
        }
    }
    team->running--;
    pthread_cond_signal(&team->moved);
    return NULL;
}

/* --- For the owner --- */

static void team_tell(struct pool_scan_team *team)
{
    for (;;) {
        struct pool_scan_note *note;
        {
            mrmr_locked(&team->lock);
            note = team->first;
            if (!note)
                return;
            team->first = note->next;
            if (!team->first)
                team->last = NULL;
            team->nnotes--;
            pthread_cond_broadcast(&team->room);
        }
        pool_tell(team->pool, team->job, note->warning, note->kind, note->drive, "%s", note->text);
        free(note);
    }
}

static void team_progress(struct pool_scan_team *team)
{
    if (!team->job || !team->job->progress)
        return;
    const struct pool_progress progress = {.phase = team->phase,
        .bytes = atomic_load(&team->bytes),
        .items = atomic_load(&team->items)};
    team->job->progress(&progress, team->job->arg);
}

static mrmr_err team_checkpoint(struct pool_scan_team *team)
{
    if (atomic_load(&team->writes) < TEAM_CHECKPOINT)
        return MRMR_OK;
    pthread_rwlock_wrlock(&team->gate);
    mrmr_err err = meta_checkpoint(team->pool->meta);
    atomic_store(&team->writes, 0);
    pthread_rwlock_unlock(&team->gate);
    return err;
}

/* Until a note came, a worker ended or it is time for a look. */
static size_t team_wait(struct pool_scan_team *team)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until = mrmr_clock_to_timespec(
        mrmr_clock_from_timespec(&until) + TEAM_TICK_MS * (MRMR_NS_PER_S / 1000));
    mrmr_locked(&team->lock);
    if (team->running && !team->nnotes)
        pthread_cond_timedwait(&team->moved, &team->lock, &until);
    return team->running;
}

static void team_watch(struct pool_scan_team *team)
{
    size_t running;
    do {
        running = team_wait(team);
        team_tell(team);
        team_progress(team);
        mrmr_err err = team_checkpoint(team);
        if (err) {
            atomic_store(&team->stop, true);
            mrmr_locked(&team->lock);
            team->err = err;
            mrmr_story_save(&team->story);
        }
    } while (running);
    team_tell(team);
}

static void team_init(struct pool_scan_team *team)
{
    pthread_rwlockattr_t gate;
    pthread_condattr_t clock;
    pthread_rwlockattr_init(&gate);
    /* Else a checkpoint might wait for ever for a moment without a writer. */
    pthread_rwlockattr_setkind_np(&gate, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&team->gate, &gate);
    pthread_rwlockattr_destroy(&gate);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&team->moved, &clock);
    pthread_condattr_destroy(&clock);
    pthread_cond_init(&team->room, NULL);
    pthread_mutex_init(&team->lock, NULL);
}

static void team_free(struct pool_scan_team *team)
{
    pthread_rwlock_destroy(&team->gate);
    pthread_cond_destroy(&team->moved);
    pthread_cond_destroy(&team->room);
    pthread_mutex_destroy(&team->lock);
}

static void team_start(struct pool_scan_team *team, struct pool_scan_worker workers[], size_t n)
{
    team->running = n;
    for (size_t i = 0; i < n; i++) {
        workers[i].team = team;
        int posix = pthread_create(&workers[i].thread, NULL, team_thread, &workers[i]);
        if (!posix)
            continue;
        workers[i].err = mrmr_fail_errno(posix, "start a thread", NULL);
        workers[i].thread = pthread_self();
        atomic_store(&team->stop, true);
        mrmr_locked(&team->lock);
        team->running--;
        team->err = workers[i].err;
        mrmr_story_save(&team->story);
    }
}

static mrmr_err team_end(struct pool_scan_team *team)
{
    if (!team->err || team->err == MRMR_CANCELLED) {
        mrmr_err err = meta_commit(team->pool->meta);
        if (!err)
            return team->err ? mrmr_story_restore(&team->story) : MRMR_OK;
        team->err = err;
        mrmr_story_save(&team->story);
    }
    meta_rollback(team->pool->meta);
    return mrmr_story_restore(&team->story);
}

mrmr_err pool_scan_team_run(struct pool *pool, const struct pool_job *job, const char *phase,
    struct pool_scan_worker workers[], size_t n, pool_scan_work work)
{
    struct pool_scan_team team = {.pool = pool, .job = job, .phase = phase, .work = work};
    MRMR_TRY(meta_begin(pool->meta));
    team_init(&team);
    team_start(&team, workers, n);
    team_watch(&team);
    for (size_t i = 0; i < n; i++)
        if (!pthread_equal(workers[i].thread, pthread_self()))
            pthread_join(workers[i].thread, NULL);
    mrmr_err err = team_end(&team);
    team_free(&team);
    return err;
}

mrmr_err pool_scan_team_alone(struct pool *pool, const struct pool_job *job, const char *phase,
    struct pool_scan_worker *worker, pool_scan_work work)
{
    struct pool_scan_team team = {.pool = pool, .job = job, .phase = phase, .work = work};
    struct mrmr_story story;
    team_init(&team);
    worker->team = &team;
    mrmr_err err = work(worker);
    mrmr_story_save(&story);
    team_tell(&team); /* fewer than may wait: a worker has only so many */
    mrmr_story_restore(&story);
    team_free(&team);
    return err;
}
