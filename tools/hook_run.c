/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/hook_run.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

enum { RUN_READS = 16 /* of output, in one step: whoever prints without end is in nobody's way */ };

/* At the end: how often it is looked for, and for how long after it was killed. */
enum { RUN_ENDS_MS = 50 };
#define RUN_KILLED_NS MRMR_NS_PER_S

enum run_phase { RUN_ON, RUN_ASKED, RUN_KILLED };

struct hook_run {
    pid_t pid;
    int pidfd, output, timer;
    enum run_phase phase;
    int64_t grace;
    size_t size;
    bool more;
    char kept[HOOK_OUTPUT_MOST];
};

/* --- starting it --- */

static mrmr_err start_fail(int why, const char *program)
{
    return mrmr_fail_errno(why, "run", program);
}

/* Of three things, each may be without memory. */
static int actions_make(posix_spawn_file_actions_t *actions, int output)
{
    int err = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!err)
        err = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
    if (!err)
        err = posix_spawn_file_actions_adddup2(actions, output, STDERR_FILENO);
    if (!err)
        err = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    if (!err) /* so that it keeps no drive and no mount busy */
        err = posix_spawn_file_actions_addchdir_np(actions, "/");
    return err;
}

/* Signals as at login, whatever this process does with them. */
static int attributes_make(posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int err = posix_spawnattr_setsigdefault(attributes, &all);
    if (!err)
        err = posix_spawnattr_setsigmask(attributes, &none);
    if (!err)
        err = posix_spawnattr_setpgroup(attributes, 0);
    if (!err)
        err = posix_spawnattr_setflags(
            attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    return err;
}

static int start_with(struct hook_run *run, char *const argv[], char *const envp[], int output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int err = posix_spawn_file_actions_init(&actions);
    if (err)
        return err;
    err = posix_spawnattr_init(&attributes);
    if (!err) {
        err = actions_make(&actions, output);
        if (!err)
            err = attributes_make(&attributes);
        if (!err)
            err = posix_spawn(&run->pid, argv[0], &actions, &attributes, argv, envp);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return err;
}

/* Our end does not block; the program's is one like any other, and not among the first three. */
static int pipe_make(int *ret_read, int *ret_write)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return errno;
    mrmr_autoclose int in = fds[0], out = fds[1];
    mrmr_autoclose int high = fcntl(out, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (high < 0 || fcntl(in, F_SETFL, O_NONBLOCK) < 0)
        return errno;
    *ret_read = mrmr_steal_fd(&in);
    *ret_write = mrmr_steal_fd(&high);
    return 0;
}

static bool watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void timer_set(const struct hook_run *run, int64_t in)
{
    const struct itimerspec when = {.it_value = mrmr_clock_to_timespec(in > 0 ? in : 1)};
    timerfd_settime(run->timer, 0, &when, NULL);
}

static mrmr_err start_in(
    struct hook_run *run, char *const argv[], char *const envp[], int epoll, int64_t deadline)
{
    mrmr_autoclose int output = -1;
    run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!watch(epoll, run->timer))
        return start_fail(errno, argv[0]);
    int err = pipe_make(&run->output, &output);
    if (!err && !watch(epoll, run->output))
        err = errno;
    if (!err)
        err = start_with(run, argv, envp, output);
    if (err)
        return start_fail(err, argv[0]);
    run->pidfd = pidfd_open(run->pid, 0); /* while nobody has waited for it, it is this one's */
    if (!watch(epoll, run->pidfd))
        return start_fail(errno, argv[0]);
    timer_set(run, deadline);
    return MRMR_OK;
}

mrmr_err hook_run_start(char *const argv[], char *const envp[], int epoll, int64_t deadline,
    int64_t grace, struct hook_run **ret_run)
{
    struct hook_run *run = calloc(1, sizeof *run);
    if (!run)
        return mrmr_nomem();
    run->pidfd = run->output = run->timer = -1;
    run->grace = grace;
    mrmr_err err = start_in(run, argv, envp, epoll, deadline);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        hook_run_destroy(run);
        return mrmr_story_restore(&story);
    }
    *ret_run = run;
    return MRMR_OK;
}

/* --- while it runs --- */

static void output_read(struct hook_run *run)
{
    char spare[4096];
    for (unsigned i = 0; run->output >= 0 && i < RUN_READS; i++) {
        const bool full = run->size == sizeof run->kept;
        ssize_t n = full ? read(run->output, spare, sizeof spare)
                         : read(run->output, run->kept + run->size, sizeof run->kept - run->size);
        if (n < 0) /* nothing, for now */
            return;
        if (n == 0) {
            close(run->output); /* all have closed it */
            run->output = -1;
        } else if (full) {
            run->more = true;
        } else {
            run->size += (size_t)n;
        }
    }
}

/* Its whole group; the leader was not waited for yet, so the number is still its own. */
static void signal_group(const struct hook_run *run, int number)
{
    kill(-run->pid, number);
}

static void time_is_up(struct hook_run *run)
{
    uint64_t times;
    if (read(run->timer, &times, sizeof times) != sizeof times)
        return;
    signal_group(run, run->phase == RUN_ON ? SIGTERM : SIGKILL);
    run->phase = run->phase == RUN_ON ? RUN_ASKED : RUN_KILLED;
    if (run->phase == RUN_ASKED)
        timer_set(run, run->grace);
}

/* Whether it has ended; then it is waited for, and nothing is left of its group. */
static bool reap(struct hook_run *run, siginfo_t *ret_info)
{
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
        run->pid = 0; /* somebody else has waited for it: the number may be another's by now */
        *ret_info = info;
        return true;
    }
    if (!info.si_pid)
        return false;
    signal_group(run, SIGKILL);
    waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG);
    run->pid = 0;
    *ret_info = info;
    return true;
}

bool hook_run_step(struct hook_run *run, struct hook_result *ret_result)
{
    siginfo_t info;
    output_read(run);
    if (!reap(run, &info)) {
        time_is_up(run);
        return false;
    }
    output_read(run); /* what it printed last */
    const bool exited = info.si_code == CLD_EXITED;
    struct hook_result result = {.end = HOOK_WELL,
        .code = exited ? info.si_status : 0,
        .signal = exited ? 0 : info.si_status,
        .output = run->kept,
        .size = run->size,
        .more = run->more};
    if (run->phase != RUN_ON)
        result.end = HOOK_HUNG;
    else if (result.code || result.signal || !info.si_pid)
        result.end = HOOK_FAILED;
    *ret_result = result;
    return true;
}

/* --- the end --- */

static bool ends_within(struct hook_run *run, int64_t ns)
{
    struct pollfd wait = {.fd = run->pidfd, .events = POLLIN};
    siginfo_t info;
    const int64_t until = mrmr_clock_monotonic() + ns;
    while (!reap(run, &info)) {
        if (mrmr_clock_monotonic() >= until)
            return false;
        poll(&wait, 1, RUN_ENDS_MS);
    }
    return true;
}

void hook_run_destroy(struct hook_run *run)
{
    if (!run)
        return;
    if (run->pid) {
        signal_group(run, SIGTERM);
        if (!ends_within(run, run->grace)) {
            signal_group(run, SIGKILL);
            (void)ends_within(run, RUN_KILLED_NS);
        }
    }
    if (run->pidfd >= 0)
        close(run->pidfd);
    if (run->output >= 0)
        close(run->output);
    if (run->timer >= 0)
        close(run->timer);
    free(run);
}
