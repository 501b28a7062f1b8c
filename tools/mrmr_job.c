/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/mrmr_job.h"

#include "tools/mrmr_screen.h"
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int job_signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { JOB_SIGNALS = sizeof job_signals / sizeof *job_signals };

static struct {
    struct mrmr_cancel cancel;
    volatile sig_atomic_t signal; /* that cancelled it; 0: none */
    bool quiet;
    struct sigaction before[JOB_SIGNALS];
    struct pool_job job;
} current;

static void job_on_signal(int signal)
{
    current.signal = signal;
    atomic_store_explicit(&current.cancel.flag, true, memory_order_relaxed);
}

static void job_progress(const struct pool_progress *progress, void *arg)
{
    (void)arg;
    mrmr_screen_progress(progress, mrmr_cancelled(&current.cancel));
}

static void job_notice(bool warning, const char *text, void *arg)
{
    (void)arg;
    if (warning || !current.quiet)
        mrmr_screen_line("mrmr: %s%s", warning ? "warning: " : "", text);
}

const struct pool_job *mrmr_job_start(const struct cmd_call *call)
{
    struct sigaction action = {.sa_handler = job_on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};
    atomic_store(&current.cancel.flag, false);
    current.signal = 0;
    current.quiet = call->quiet;
    current.job = (struct pool_job){
        .cancel = &current.cancel, .progress = job_progress, .notice = job_notice};
    for (size_t i = 0; i < JOB_SIGNALS; i++) {
        sigaction(job_signals[i], NULL, &current.before[i]);
        if (current.before[i].sa_handler != SIG_IGN)
            sigaction(job_signals[i], &action, NULL);
    }
    return &current.job;
}

void mrmr_job_low(void)
{
    /* linux/ioprio.h: the last of those that share; none of it is an error where it is not to be had. */
    enum { NICE = 10, WHO_PROCESS = 1, CLASS_BEST_EFFORT = 2, CLASS_SHIFT = 13, LEVEL_LAST = 7 };
    const bool nice_is_low = getpriority(PRIO_PROCESS, 0) >= NICE;
    const bool gives_way = nice_is_low || setpriority(PRIO_PROCESS, 0, NICE) == 0;
    if (syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_BEST_EFFORT << CLASS_SHIFT | LEVEL_LAST) <
            0 ||
        !gives_way)
        mrmr_log(MRMR_LOG_INFO, "it runs with ordinary priority");
}

mrmr_err mrmr_job_pace(const struct cmd_call *call, struct pool *pool)
{
    return cmd_flag(call, "background") ? pool_job_slowly(pool, &current.job) : MRMR_OK;
}

mrmr_err mrmr_job_end(struct cmd_call *call, mrmr_err err, const char *again)
{
    for (size_t i = 0; i < JOB_SIGNALS; i++)
        sigaction(job_signals[i], &current.before[i], NULL);
    mrmr_screen_end();
    if (err != MRMR_CANCELLED)
        return err;
    if (again)
        mrmr_screen_line(
            "mrmr: %s was interrupted; what is done is kept, and it goes on from there "
            "with: %s",
            call->cmd->name, again);
    call->exit = current.signal ? CMD_SIGNAL + (int)current.signal : CMD_FAILED;
    return MRMR_OK;
}
