/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/daemon.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const int64_t anew_after = 10 * MRMR_NS_PER_S, ends_within = 10 * MRMR_NS_PER_S;

/* The command beside this program. */
static mrmr_err program_path(struct mrmr_bytes *path)
{
    char self[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return mrmr_fail_errno(errno, "find", "mrmr");
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    return mrmr_bytes_fmt(path, "%.*s/mrmr", (int)(slash - self), self);
}

static mrmr_err spawn(const struct mfs_daemon *d, int input, pid_t *ret_pid)
{
    char name[] = "mrmr", option[] = "--pool", command[] = "daemon", with[] = "--with-input";
    char log[] = "--syslog";
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    mrmr_autofree char *pool = strdup(d->pool);
    char *const argv[] = {name, option, pool, command, with, d->to_syslog ? log : NULL, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    if (!pool)
        return mrmr_nomem();
    MRMR_TRY(program_path(&path));
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    int why = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    if (!why)
        why = posix_spawnattr_setsigmask(&attr, &none);
    if (!why)
        why = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (!why)
        why = posix_spawn(ret_pid, path.data, &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return why ? mrmr_fail_errno(why, "start", path.data) : MRMR_OK;
}

/* *ret_pid 0: it is about to end. */
static mrmr_err begin(struct mfs_daemon *d, pid_t *ret_pid)
{
    int ends[2];
    *ret_pid = 0;
    mrmr_locked(&d->lock);
    if (d->ends)
        return MRMR_OK;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return mrmr_fail_errno(errno, "start", "the daemon");
    mrmr_err err = spawn(d, ends[0], ret_pid);
    close(ends[0]);
    if (err) {
        close(ends[1]);
        *ret_pid = 0;
        return err;
    }
    d->input = ends[1];
    return MRMR_OK;
}

static bool sleeps(struct mfs_daemon *d, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ns / MRMR_NS_PER_S);
    mrmr_locked(&d->lock);
    while (!d->ends && pthread_cond_timedwait(&d->wake, &d->lock, &until) != ETIMEDOUT)
        ;
    return !d->ends;
}

/* Until it has ended, or should have long since. */
static void wait_for(struct mfs_daemon *d, pid_t pid)
{
    const struct timespec moment = {0, 50 * 1000000};
    int64_t until = 0;
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        nanosleep(&moment, NULL);
        mrmr_locked(&d->lock);
        if (d->ends && !until)
            until = mrmr_clock_monotonic() + ends_within;
        if (until && mrmr_clock_monotonic() > until)
            return;
    }
}

static void *keep(void *arg)
{
    struct mfs_daemon *d = arg;
    do {
        pid_t pid;
        if (begin(d, &pid))
            mrmr_log_story(MRMR_LOG_WARN, "what is new is not protected by itself");
        if (pid)
            wait_for(d, pid);
        mrmr_locked(&d->lock);
        if (d->input >= 0)
            close(d->input);
        d->input = -1;
    } while (sleeps(d, anew_after));
    return NULL;
}

void mfs_daemon_start(struct mfs_daemon *d, const char *pool, bool to_syslog)
{
    pthread_condattr_t attr;
    *d = (struct mfs_daemon){.pool = pool, .to_syslog = to_syslog, .input = -1};
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attr);
    pthread_condattr_destroy(&attr);
    d->runs = pthread_create(&d->thread, NULL, keep, d) == 0;
    if (!d->runs)
        mrmr_log(MRMR_LOG_WARN, "what is new is not protected by itself: no thread can be made");
}

void mfs_daemon_stop(struct mfs_daemon *d)
{
    if (!d->runs)
        return;
    {
        mrmr_locked(&d->lock);
        d->ends = true;
        if (d->input >= 0)
            close(d->input);
        d->input = -1;
        pthread_cond_broadcast(&d->wake);
    }
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    d->runs = false;
}
