/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/watchdog.h"

#include "base/cleanup.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>

/* The kernel's word that who started it is dead. Nobody else sends this one. */
#define SIGNAL_DEATH SIGRTMAX

/* The root of what is mounted there, opened without asking who serves it. -1: it cannot be. */
static int root_open(const char *path)
{
    return open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Likewise. 0: it cannot be had. */
static uint32_t device_of(int root)
{
    struct statx sx;
    if (statx(root, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) < 0 ||
        sx.stx_dev_major) /* of a real device */
        return 0;
    return sx.stx_dev_minor;
}

/* --- aborting --- */

static bool abort_by_file(uint32_t device)
{
    char name[64];
    snprintf(name, sizeof name, "/sys/fs/fuse/connections/%u/abort", device);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = write(fd, "1", 1) == 1;
    close(fd);
    return done;
}

/* That the way down is begun aborts it. */
static bool abort_by_force(int root)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", root);
    return umount2(name, MNT_FORCE) == 0 || errno == EBUSY;
}

/* As long as its root is open it stays: nobody writes into the folder below by mistake, and its number
 * is no other's. What is not ours is left alone. */
static bool abort_connection(const struct mfs_connection *connection)
{
    int root = connection->device ? root_open(connection->path) : -1;
    bool done = root < 0 || device_of(root) != connection->device || /* it is gone, or another's */
                abort_by_file(connection->device) || abort_by_force(root);
    if (root >= 0)
        close(root);
    return done;
}

/* --- the process beside it --- */

/* The pipe is 3 from now on, and nothing else is open. */
static void alone(int pipe)
{
    int kept = fcntl(pipe, F_DUPFD, 4); /* it may be one of those that are replaced */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++)
        dup2(null, fd);
    dup2(kept, 3);
    close_range(4, ~0U, 0);
    if (chdir("/") < 0)
        _exit(EXIT_FAILURE);
}

/* False: the other one ended without a word. */
static bool is_told(int pipe, struct mfs_connection *connection)
{
    size_t n = 0;
    while (n < sizeof *connection) {
        ssize_t got = read(pipe, (char *)connection + n, sizeof *connection - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return true;
}

static _Noreturn void watch(pid_t parent, int pipe)
{
    struct mfs_connection connection;
    sigset_t signals;
    sigfillset(&signals); /* SIGTERM too: it is for the other one */
    sigprocmask(SIG_SETMASK, &signals, NULL);
    prctl(PR_SET_NAME, "mrmr-watchdog");
    alone(pipe);
    if (prctl(PR_SET_PDEATHSIG, SIGNAL_DEATH) < 0 || !is_told(3, &connection))
        _exit(EXIT_FAILURE);
    sigemptyset(&signals);
    sigaddset(&signals, SIGNAL_DEATH);
    if (getppid() == parent) /* it may be for ever: a thread of it is left */
        sigwaitinfo(&signals, NULL);
    if (!abort_connection(&connection)) {
        openlog("mrmr-mount", LOG_PID, LOG_DAEMON);
        syslog(LOG_WARNING, "what served %s died; if what uses it hangs, as root: umount -f %s",
            connection.path, connection.path);
    }
    _exit(EXIT_SUCCESS);
}

/* --- the process that mounts --- */

mrmr_err mfs_watchdog_start(struct mfs_watchdog *ret_dog)
{
    int ends[2];
    const pid_t self = getpid();
    *ret_dog = (struct mfs_watchdog){.pipe = -1};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return mrmr_fail_errno(errno, "mount", "");
    pid_t child = fork();
    if (child == 0)
        watch(self, ends[0]);
    close(ends[0]);
    if (child < 0) {
        mrmr_err err = mrmr_fail_errno(errno, "mount", "");
        close(ends[1]);
        return err;
    }
    ret_dog->pid = child;
    ret_dog->pipe = ends[1];
    return MRMR_OK;
}

void mfs_watchdog_mounted(struct mfs_watchdog *dog, const char *mountpoint)
{
    struct mfs_connection *connection = &dog->connection;
    const size_t n = strlen(mountpoint);
    mrmr_autoclose int root = root_open(mountpoint);
    if (root >= 0 && n < sizeof connection->path)
        connection->device = device_of(root);
    if (connection->device)
        memcpy(connection->path, mountpoint, n + 1);
    if (!connection->device ||
        write(dog->pipe, connection, sizeof *connection) != sizeof *connection)
        mrmr_log(MRMR_LOG_WARN, "should this process be killed, then what uses the mount may hang");
}

void mfs_watchdog_abort(const struct mfs_watchdog *dog)
{
    if (!abort_connection(&dog->connection))
        mrmr_log(MRMR_LOG_INFO, "the mount's connection cannot be aborted: there is no fusectl");
}

void mfs_watchdog_stop(struct mfs_watchdog *dog)
{
    if (!dog->pid)
        return;
    kill(dog->pid, SIGKILL);
    while (waitpid(dog->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(dog->pipe);
    dog->pid = 0;
}
