/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mrmr: the command. Reads the command line, finds the pool's folder, runs one command, prints what
 * went wrong and gives the exit code.
 *
 * SIGPIPE is ignored while a command runs, so that work goes on when nobody reads its report; in
 * the end a report that could not be written because its reader left ends the process by that
 * signal, as is usual.
 */
#include "tools/mrmr.h"

#include "base/background.h"
#include "base/cleanup.h"
#include "tools/daemon.h"
#include "tools/daemon_wire.h"
#include "tools/mrmr_screen.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cmd *const mrmr_commands[] = {
    &cmd_init,
    &cmd_add_drive,
    &cmd_drives,
    &cmd_status,
    &cmd_sync,
    &cmd_scrub,
    &cmd_rebuild,
    &cmd_detach,
    &cmd_attach,
    &cmd_set_redundancy,
    &cmd_ls,
    &cmd_where,
    &cmd_cat,
    &cmd_mount,
    &cmd_umount,
    &cmd_daemon,
    &cmd_set,
    &cmd_get,
    &cmd_events,
    &cmd_check,
    &cmd_daemon_look,
    &cmd_daemon_hear,
    NULL,
};

const struct cmd *mrmr_command(const char *name)
{
    for (size_t i = 0; mrmr_commands[i]; i++)
        if (strcmp(mrmr_commands[i]->name, name) == 0)
            return mrmr_commands[i];
    return NULL;
}

static const char *env_set(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

/* The pool's folder; free(). */
static mrmr_err pool_folder(const char *given, char **ret_dir)
{
    const char *named = given ? given : env_set("MRMR_POOL");
    const char *data = env_set("XDG_DATA_HOME"), *home = env_set("HOME");
    char *dir = NULL;
    int n = 0;
    if (named)
        dir = strdup(named);
    else if (data && data[0] == '/') /* a relative one is to be ignored, says its specification */
        n = asprintf(&dir, "%s/mrmr/default", data);
    else if (home)
        n = asprintf(&dir, "%s/.local/share/mrmr/default", home);
    else
        return mrmr_err_hint(mrmr_fail(MRMR_INVALID, "no pool was named, and there is no $HOME"),
            "name the pool's folder with --pool or $MRMR_POOL");
    if (n < 0 || !dir)
        return mrmr_nomem();
    *ret_dir = dir;
    return MRMR_OK;
}

/* Of a write that failed some time ago, as far as it can still be told. */
static int output_errno(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) ? EPIPE : EIO;
}

/* What was printed has to arrive. */
static int output_end(int code)
{
    errno = 0;
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    if (!failed)
        return code;
    int why = errno ? errno : output_errno();
    if (why == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    mrmr_fail_errno(why, "write", "standard output");
    mrmr_screen_story();
    return CMD_FAILED;
}

/* Run by the daemon, for whoever asked it to: that is told how far it is. */
static void listener_take(void)
{
    const char *inside = getenv(DAEMON_INSIDE);
    struct stat st;
    if (!inside || strcmp(inside, DAEMON_LISTENS) != 0 || fstat(DAEMON_LISTENS_FD, &st) < 0 ||
        !S_ISFIFO(st.st_mode) || fcntl(DAEMON_LISTENS_FD, F_SETFD, FD_CLOEXEC) < 0)
        return;
    mrmr_screen_tell(DAEMON_LISTENS_FD);
}

/* What changes the pool is done by its daemon, if it has one. False: it is to be run here. */
static bool passed_on(
    const struct cmd_call *call, const char *dir, char *const given[], int *ret_code)
{
    if (!call->cmd->owns || getenv(DAEMON_INSIDE))
        return false;
    mrmr_err err = daemon_ask(dir, given, ret_code);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return false;
    if (err) {
        mrmr_screen_story();
        *ret_code = CMD_FAILED;
    }
    return true;
}

/* given: the command line as it was. */
static int run_command(struct mrmr_line *line, char *const given[])
{
    mrmr_autofree char *dir = NULL;
    struct cmd_call *call = &line->call;
    int code;
    mrmr_err err = pool_folder(line->pool, &dir);
    if (!err && passed_on(call, dir, given, &code))
        return code;
    if (!err) {
        call->dir = dir;
        call->json = line->json;
        call->quiet = line->quiet;
        err = line->cmd->run(call);
    }
    mrmr_bytes_free(&call->looks);
    if (!err || ferror(stdout))
        return output_end((int)call->exit);
    if (call->exit == CMD_USAGE)
        return CMD_USAGE; /* it was said already */
    fflush(stdout);
    mrmr_screen_story();
    return CMD_FAILED;
}

int main(int argc, char **argv)
{
    struct mrmr_line line;
    mrmr_standard_open();
    mrmr_autofree char **given =
        calloc((size_t)argc + 1, sizeof *given); /* parsing puts it in order */
    if (!given)
        return CMD_FAILED;
    memcpy(given, argv, (size_t)argc * sizeof *given);
    /* Many short-lived threads would each get an arena of their own, and memory would follow their
     * number. */
    mallopt(M_ARENA_MAX, 2);
    mrmr_screen_setup(false, MRMR_LOG_WARN);
    if (mrmr_parse(argc, argv, &line))
        return CMD_USAGE;
    if (line.version) {
        printf("mrmr %s\n", MRMR_VERSION);
        return output_end(CMD_DONE);
    }
    if (line.help) {
        if (line.cmd)
            mrmr_help_command(line.cmd);
        else
            mrmr_help();
        return output_end(CMD_DONE);
    }
    enum mrmr_log_level most = line.verbose >= 2   ? MRMR_LOG_DEBUG
                               : line.verbose == 1 ? MRMR_LOG_INFO
                                                   : MRMR_LOG_WARN;
    mrmr_screen_setup(!line.quiet, most);
    signal(SIGPIPE, SIG_IGN);
    listener_take();
    return run_command(&line, given);
}
