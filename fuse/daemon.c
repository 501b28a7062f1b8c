/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/daemon.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const int64_t first_wait = 10 * MRMR_NS_PER_S, last_wait = 600 * MRMR_NS_PER_S,
                     ends_within = 10 * MRMR_NS_PER_S;

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

static mrmr_err spawn(const struct mfs_daemon *d, int input, bool again, pid_t *ret_pid)
{
    char name[] = "mrmr", option[] = "--pool", command[] = "daemon", with[] = "--with-input";
    char log[] = "--syslog", quietly[] = "--again", limit[] = "--files", files[24];
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    mrmr_autofree char *pool = strdup(d->pool);
    char *argv[] = {name, option, pool, command, with, limit, files, NULL, NULL, NULL};
    size_t n = 7;
    snprintf(files, sizeof files, "%llu", (unsigned long long)d->files.rlim_cur);
    if (d->to_syslog)
        argv[n++] = log;
    if (again)
        argv[n++] = quietly;
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
static mrmr_err begin(struct mfs_daemon *d, bool again, pid_t *ret_pid)
{
    int ends[2];
    *ret_pid = 0;
    mrmr_locked(&d->lock);
    if (d->ends)
        return MRMR_OK;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return mrmr_fail_errno(errno, "start", "the daemon");
    mrmr_err err = spawn(d, ends[0], again, ret_pid);
    close(ends[0]);
    if (err) {
        close(ends[1]);
        *ret_pid = 0;
        return err;
    }
    d->input = ends[1];
    return MRMR_OK;
}

/* Until one of them can be read, or so long (-1: for ever). */
static void wait_until(int a, int b, int64_t ns)
{
    struct pollfd fds[] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    const int64_t until = mrmr_clock_monotonic() + ns;
    for (;;) {
        const int64_t left = ns < 0 ? -1 : until - mrmr_clock_monotonic();
        if (ns >= 0 && left <= 0)
            return;
        if (poll(fds, 2, ns < 0 ? -1 : (int)(left / 1000000 + 1)) >= 0 || errno != EINTR)
            return;
    }
}

static bool is_to_end(struct mfs_daemon *d)
{
    mrmr_locked(&d->lock);
    return d->ends;
}

/* Until it has ended, or should have long since. *ret_status: how, if it has. */
static void wait_for(struct mfs_daemon *d, pid_t pid, int *ret_status)
{
    mrmr_autoclose int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) { /* a kernel before 5.3 */
        waitpid(pid, ret_status, 0);
        return;
    }
    wait_until(pidfd, d->wake, -1);
    if (is_to_end(d))
        wait_until(pidfd, -1, ends_within);
    waitpid(pid, ret_status, WNOHANG);
}

/* Of a row of those that did not last, the first. */
static void tell_ended(int status, bool first)
{
    if (WIFEXITED(status))
        mrmr_log(first ? MRMR_LOG_WARN : MRMR_LOG_INFO,
            "the pool's daemon ended (code %d), and is started anew, if need be less and less "
            "often; "
            "until then "
            "nothing is protected by itself",
            WEXITSTATUS(status));
    else
        mrmr_log(first ? MRMR_LOG_WARN : MRMR_LOG_INFO,
            "the pool's daemon was ended by signal %d, and is started anew, if need be less and "
            "less often",
            WTERMSIG(status));
}

static void run_once(struct mfs_daemon *d, bool first)
{
    pid_t pid;
    int status = 0;
    if (begin(d, !first, &pid)) {
        if (first)
            mrmr_log_story(MRMR_LOG_WARN, "what is new is not protected by itself");
        return;
    }
    if (pid)
        wait_for(d, pid, &status);
    if (pid && status && !is_to_end(d))
        tell_ended(status, first);
    mrmr_locked(&d->lock);
    if (d->input >= 0)
        close(d->input);
    d->input = -1;
}

int64_t mfs_daemon_wait(int64_t before, int64_t lasted)
{
    if (!before || lasted > last_wait)
        return first_wait;
    return 2 * before < last_wait ? 2 * before : last_wait;
}

static void *keep(void *arg)
{
    struct mfs_daemon *d = arg;
    int64_t wait = 0, lasted = INT64_MAX;
    while (!is_to_end(d)) {
        const int64_t begun = mrmr_clock_monotonic();
        run_once(d, lasted > last_wait);
        lasted = mrmr_clock_monotonic() - begun;
        wait = mfs_daemon_wait(wait, lasted);
        wait_until(d->wake, -1, wait);
    }
    return NULL;
}

void mfs_daemon_start(
    struct mfs_daemon *d, const char *pool, const struct rlimit *files, bool to_syslog)
{
    *d = (struct mfs_daemon){.pool = pool, .files = *files, .to_syslog = to_syslog, .input = -1};
    d->wake = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&d->lock, NULL);
    d->runs = d->wake >= 0 && pthread_create(&d->thread, NULL, keep, d) == 0;
    if (d->runs)
        return;
    mrmr_log(MRMR_LOG_WARN, "what is new is not protected by itself: no thread can be made");
    if (d->wake >= 0)
        close(d->wake);
}

void mfs_daemon_stop(struct mfs_daemon *d)
{
    const uint64_t one = 1;
    if (!d->runs)
        return;
    {
        mrmr_locked(&d->lock);
        d->ends = true;
        if (d->input >= 0)
            close(d->input);
        d->input = -1;
    }
    (void)!write(d->wake, &one, sizeof one);
    pthread_join(d->thread, NULL);
    close(d->wake);
    pthread_mutex_destroy(&d->lock);
    d->runs = false;
}
