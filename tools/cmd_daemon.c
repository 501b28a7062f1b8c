/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * daemon; and the look that it has taken at the pool, and hearing of what is changed on the drives, each by a process of its own, since a
 * drive that hangs may hang that.
 */
#include "tools/cmd.h"

#include "base/background.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "tools/daemon.h"
#include "tools/daemon_task.h"
#include "tools/mrmr_job.h"
#include "tools/mrmr_screen.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* --- to the background --- */

static void log_line(enum mrmr_log_level level, const char *line, void *arg)
{
    static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    (void)arg;
    syslog(priority[level], "%s", line);
}

static void use_syslog(void)
{
    openlog("mrmr-daemon", LOG_PID, LOG_DAEMON);
    mrmr_log_set(log_line, NULL, MRMR_LOG_WARN);
}

struct starting {
    int pipe; /* to whoever started it; -1: nobody waits */
    bool reached;
};

static void ready(void *arg)
{
    struct starting *starting = arg;
    starting->reached = true;
    if (starting->pipe < 0)
        return;
    use_syslog();
    mrmr_background_alone();
    mrmr_background_ready(&starting->pipe);
}

/* --- daemon --- */

static mrmr_err pool_is_there(struct cmd_call *call, struct pool *pool)
{
    (void)call, (void)pool;
    return MRMR_OK;
}

static mrmr_err serve(struct cmd_call *call, const char *dir, bool background)
{
    enum { STANDARD_INPUT = 0 };
    struct starting starting = {.pipe = -1};
    if (background)
        MRMR_TRY(mrmr_background("the daemon", &starting.pipe));
    if (cmd_flag(call, "syslog"))
        use_syslog();
    umask(
        022); /* that of a mount lets everybody write what a command, or the program of on-event, makes */
    mrmr_err err =
        daemon_serve(dir, cmd_flag(call, "with-input") ? STANDARD_INPUT : -1, ready, &starting);
    if (err && cmd_flag(call, "again") && !starting.reached) {
        call->exit = CMD_FAILED;
        return MRMR_OK;
    }
    if (err && (cmd_flag(call, "syslog") || (background && starting.reached)))
        mrmr_log_story(MRMR_LOG_ERROR, "the daemon ends"); /* nobody sees stderr */
    return err;
}

/* A mount takes all that there are, which is not for what its daemon runs. */
static mrmr_err limit_files(struct cmd_call *call)
{
    struct rlimit limit;
    uint64_t files = 0;
    MRMR_TRY(cmd_value_number(call, "files", 1, UINT64_MAX, &files));
    if (!files || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return MRMR_OK;
    limit.rlim_cur = files < limit.rlim_max ? files : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        mrmr_log(MRMR_LOG_INFO, "as many files can be open as in the mount");
    return MRMR_OK;
}

static mrmr_err daemon_run(struct cmd_call *call)
{
    mrmr_autofree char *dir =
        realpath(call->dir, NULL); /* in the background it is in another folder */
    if (cmd_flag(call, "stop"))
        return mrmr_class_of(daemon_end(call->dir)) == MRMR_CLASS_ABSENT
                   ? mrmr_fail(MRMR_ABSENT, "the pool in %s has no daemon", call->dir)
                   : MRMR_OK;
    MRMR_TRY(limit_files(call));
    /* Whatever whoever starts it has open: it would stay so for as long as the daemon and what it runs. */
    if (close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
        mrmr_log(MRMR_LOG_INFO, "what was open when it was started stays so");
    MRMR_TRY(cmd_with_pool(call, POOL_CATALOG, pool_is_there));
    if (!dir)
        return mrmr_fail_errno(errno, "open", call->dir);
    if (geteuid() == 0)
        MRMR_TRY(pool_is_ours(dir));
    return serve(call, dir, !cmd_flag(call, "foreground") && !cmd_flag(call, "with-input"));
}

const struct cmd cmd_daemon = {
    .name = "daemon",
    .args = "",
    .summary = "protect what is new or changed, by itself",
    .text = "Runs in the background, protects what has been quiet for a while, scrubs a part each "
            "day, and runs the "
            "commands that\nchange the pool, one after another; a mount starts one "
            "itself. See "
            "mrmr get: worker, settle, "
            "scan-interval, scrub-interval,\nquiet-hours.",
    .options = {{"foreground", 'f', NULL, "stay in the foreground, and log to standard error"},
        {"with-input", 0, NULL,
            "the same, until standard input ends; where one runs, it waits for its end"},
        {"syslog", 0, NULL, "log to the system's log all the same"},
        {"files", 0, "N", "so many may be open, in what it runs, too"},
        {"again", 0, NULL, "it could not be started before: if it cannot be, nothing is said"},
        {"stop", 0, NULL, "end the one that runs, and wait until it has"}},
    .run = daemon_run,
};

/* --- a look --- */

static mrmr_err look_text(struct pool *pool, const char *key, struct mrmr_bytes *value)
{
    mrmr_bytes_clear(value);
    MRMR_TRY(mrmr_bytes_add(value, "", 0));
    return pool_get(pool, key, value);
}

/* As auto_rebuild.h has them. */
static const char *drive_word(const struct pool_drive_view *view)
{
    return strcmp(view->state, "retired") == 0 ? "begun"
           : view->lost && !view->touched      ? "lost"
           : view->presence == POOL_PRESENT    ? "present"
           : view->presence == POOL_DETACHED   ? "detached"
                                               : "out";
}

static mrmr_err look_drives(struct pool *pool)
{
    mrmr_autofree struct pool_drive_view *views = NULL;
    char uuid[MRMR_UUID_TEXT];
    size_t n = 0;
    MRMR_TRY(pool_drives(pool, &views, &n));
    for (size_t i = 0; i < n; i++)
        printf("drive=%s %s %" PRIu64 " %" PRIu64 " %s\n", mrmr_uuid_print(&views[i].uuid, uuid),
            drive_word(&views[i]), views[i].exposed_bytes, views[i].protected_bytes, views[i].name);
    return MRMR_OK;
}

static mrmr_err look_in(struct cmd_call *call, struct pool *pool)
{
    static const char *const keys[] = {"settle", "scan-interval", "scrub-interval", "quiet-hours",
        "redundancy", "auto-rebuild", "auto-rebuild-delay"};
    mrmr_autobytes struct mrmr_bytes value = MRMR_BYTES_INIT;
    struct pool_status status;
    (void)call;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        MRMR_TRY(look_text(pool, keys[i], &value));
        printf("%s=%s\n", keys[i], value.data);
    }
    MRMR_TRY(look_text(pool, "worker", &value));
    printf("paused=%d\n", strcmp(value.data, "paused") == 0);
    MRMR_TRY(pool_status(pool, &status));
    MRMR_TRY(pool_exposed_alarm(pool, &status));
    printf("exposed=%" PRIu64 "\n", status.exposed_bytes + status.exposed_files);
    printf("storable=%" PRIu64 "\n", status.storable_bytes);
    MRMR_TRY(look_drives(pool));
    MRMR_TRY(look_text(pool, "on-event", &value));
    printf("on-event=%s\n", value.data);
    return MRMR_OK;
}

static mrmr_err look_run(struct cmd_call *call)
{
    return cmd_with_pool(call, POOL_LOOK, look_in);
}

const struct cmd cmd_daemon_look = {
    .name = "daemon-look",
    .args = "",
    .summary = "what the daemon goes by",
    .text = "Lines of key=value, for the daemon.",
    .hidden = true,
    .run = look_run,
};

/* --- hearing --- */

static void hear_changed(void *arg)
{
    (void)arg;
    mrmr_screen_line("mrmr: " DAEMON_HEARD);
}

/* Whoever started it, and reads what it says, is gone. */
static bool is_alone(void)
{
    struct pollfd said = {.fd = STDERR_FILENO};
    return poll(&said, 1, 0) > 0 && said.revents & POLLERR;
}

static mrmr_err hear_until(struct pool *pool, int until)
{
    bool hangs = false;
    const mrmr_err err = pool_hear(pool, until, hear_changed, NULL, &hangs);
    if (!hangs)
        return err;
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "hearing of changes ends");
    _exit(CMD_FAILED); /* threads use the pool */
}

static mrmr_err hear_in(struct cmd_call *call, struct pool *pool)
{
    sigset_t ends;
    (void)call;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    mrmr_autoclose int until = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    if (until < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) /* it may hang, and has nothing to lose */
        return mrmr_fail_errno(errno, "hear", pool_home(pool));
    return is_alone() ? MRMR_OK : hear_until(pool, until);
}

static mrmr_err hear_run(struct cmd_call *call)
{
    mrmr_job_low();
    return cmd_with_pool(call, POOL_CATALOG, hear_in);
}

const struct cmd cmd_daemon_hear = {
    .name = "daemon-hear",
    .args = "",
    .summary = "changes on the drives, for the daemon",
    .text = "A line for each time that something was changed directly on a drive, for the daemon.",
    .hidden = true,
    .run = hear_run,
};
