/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/daemon_task.h"
#include "tools/mrmr.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MOST = 4096 };

static const int64_t seldom = 3600 * MRMR_NS_PER_S;

extern char **environ;

void daemon_task_clear(struct daemon_task *task)
{
    if (task->says >= 0)
        close(task->says);
    mrmr_bytes_free(&task->said);
    struct daemon_task none = {.kind = TASK_NONE, .says = -1, .next = task->next};
    memcpy(none.logged, task->logged, sizeof none.logged);
    *task = none;
}

struct spawning {
    char *const *argv, *const *envp;
    int fd[3], cwd; /* cwd -1: this folder */
    int tells;      /* its DAEMON_LISTENS_FD; -1: it has none */
    const sigset_t *mask;
};

static mrmr_err spawn(const struct spawning *s, pid_t *ret_pid)
{
    static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGPIPE};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t ordinary;
    sigemptyset(&ordinary);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&ordinary, handled[i]);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    int why = posix_spawnattr_setflags(
        &attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    if (!why)
        why = posix_spawnattr_setsigmask(&attr, s->mask);
    if (!why)
        why = posix_spawnattr_setsigdefault(&attr, &ordinary);
    for (int i = 0; !why && i < 3; i++)
        why = posix_spawn_file_actions_adddup2(&actions, s->fd[i], i);
    if (!why && s->cwd >= 0)
        why = posix_spawn_file_actions_addfchdir_np(&actions, s->cwd);
    if (!why && s->tells >= 0) /* at last: one of the others may have that number here */
        why = posix_spawn_file_actions_adddup2(&actions, s->tells, DAEMON_LISTENS_FD);
    if (!why)
        why = posix_spawn(ret_pid, "/proc/self/exe", &actions, &attr, s->argv, s->envp);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return why ? mrmr_fail_errno(why, "start", s->argv[1]) : MRMR_OK;
}

static mrmr_err environment_inside(char *const envp[], char *inside, char ***ret_envp)
{
    size_t n = 0;
    while (envp[n])
        n++;
    char **all = malloc((n + 2) * sizeof *all);
    if (!all)
        return mrmr_nomem();
    memcpy(all, envp, n * sizeof *all);
    all[n] = inside;
    all[n + 1] = NULL;
    *ret_envp = all;
    return MRMR_OK;
}

/* The command's name, for others to read. */
static const char *command_of(char *const argv[])
{
    for (size_t i = 1; argv[i]; i++) {
        const struct cmd *cmd = mrmr_command(argv[i]);
        if (cmd)
            return cmd->name;
    }
    return "";
}

/* waits: who writes there waits until there is room. */
static mrmr_err pipe_open(const char *name, bool waits, int *ret_out, int *ret_in)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return mrmr_fail_errno(errno, "start", name);
    mrmr_autoclose int out = ends[0], in = ends[1];
    if (waits && fcntl(in, F_SETFL, 0) < 0)
        return mrmr_fail_errno(errno, "start", name);
    *ret_out = mrmr_steal_fd(&out);
    *ret_in = mrmr_steal_fd(&in);
    return MRMR_OK;
}

static void task_began(
    struct daemon_task *task, enum daemon_task_kind kind, pid_t pid, int *says, const char *name)
{
    task->kind = kind;
    task->pid = pid;
    task->says = mrmr_steal_fd(says);
    task->begun = mrmr_clock_boot();
    task->begun_awake = mrmr_clock_monotonic();
    snprintf(task->name, sizeof task->name, "%s", name);
}

mrmr_err daemon_task_begin(
    struct daemon_task *task, const struct daemon_request *request, const sigset_t *mask)
{
    static char inside[] = DAEMON_INSIDE "=" DAEMON_LISTENS;
    const char *name = command_of(request->argv);
    mrmr_autofree char **envp = NULL;
    mrmr_autoclose int out = -1, in = -1;
    pid_t pid;
    MRMR_TRY(environment_inside(request->envp, inside, &envp));
    MRMR_TRY(pipe_open(name, false, &out, &in));
    const struct spawning s = {.argv = request->argv,
        .envp = envp,
        .fd = {request->fd[0], request->fd[1], request->fd[2]},
        .cwd = request->fd[3],
        .tells = in,
        .mask = mask};
    MRMR_TRY(spawn(&s, &pid));
    task_began(task, TASK_CALLER, pid, &out, name);
    return MRMR_OK;
}

mrmr_err daemon_task_begin_own(struct daemon_task *task, enum daemon_task_kind kind,
    char *const argv[], const char *name, const sigset_t *mask)
{
    static char inside[] = DAEMON_INSIDE "=1";
    mrmr_autofree char **envp = NULL;
    mrmr_autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    mrmr_autoclose int out = -1, in = -1;
    pid_t pid;
    if (null < 0)
        return mrmr_fail_errno(errno, "start", name);
    MRMR_TRY(environment_inside(environ, inside, &envp));
    MRMR_TRY(pipe_open(name, true, &out, &in));
    const struct spawning s = {.argv = argv,
        .envp = envp,
        .fd = {null, kind == TASK_LOOK ? in : null, kind == TASK_LOOK ? null : in},
        .cwd = -1,
        .tells = -1,
        .mask = mask};
    MRMR_TRY(spawn(&s, &pid));
    task_began(task, kind, pid, &out, name);
    return MRMR_OK;
}

/* Numbers in it do not count: a process's, or how many seconds ago. */
static uint64_t line_key(const char *line)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    uint64_t key;
    for (; *line; line++)
        if ((*line < '0' || *line > '9') && mrmr_bytes_add(&text, line, 1))
            return 0;
    const struct mrmr_digest digest = mrmr_digest_of(text.data, text.size);
    memcpy(&key, digest.bytes, sizeof key);
    return key ? key : 1;
}

static bool was_logged(struct daemon_task *task, const char *line)
{
    const uint64_t key = line_key(line);
    const int64_t now = mrmr_clock_boot();
    for (size_t i = 0; key && i < DAEMON_SAID; i++)
        if (task->logged[i].key == key && now - task->logged[i].at < seldom)
            return true;
    task->logged[task->next++ % DAEMON_SAID] = (struct daemon_said){key, now};
    return false;
}

/* The number between the two. */
static bool number_line(const char *text, const char *lead, const char *unit, uint64_t *ret_number)
{
    char number[24];
    const size_t n = strlen(text), around = strlen(lead) + strlen(unit);
    if (n <= around || n - around >= sizeof number || strncmp(text, lead, strlen(lead)) != 0 ||
        strcmp(text + n - strlen(unit), unit) != 0)
        return false;
    snprintf(number, sizeof number, "%.*s", (int)(n - around), text + strlen(lead));
    return mrmr_text_u64(number, ret_number);
}

static bool looking_line(struct daemon_task *task, const char *text)
{
    uint64_t ms;
    if (!number_line(text, "looking: ", " ms", &ms) || ms > INT64_MAX / 1000000)
        return false;
    task->looking = (int64_t)ms * 1000000 + 1;
    return true;
}

static bool scrubbed_line(struct daemon_task *task, const char *text)
{
    return number_line(text, "scrubbed: ", " stripes", &task->scrubbed);
}

/* "mrmr: protect: 40%, 2 GB of 5 GB, …" is progress; everything else is for the log. */
static void own_line(struct daemon_task *task, const char *line)
{
    static const char *const phases[] = {
        "scan", "compare", "protect", "mend", "scrub", "rebuild", "release"};
    static const char lead[] = "mrmr: ";
    const char *text = strncmp(line, lead, strlen(lead)) == 0 ? line + strlen(lead) : line;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        const size_t n = strlen(phases[i]);
        if (strncmp(text, phases[i], n) == 0 && text[n] == ':') {
            snprintf(task->progress, sizeof task->progress, "%s", text);
            return;
        }
    }
    if (task->kind == TASK_CALLER)
        return; /* what else there is goes to who asked for it */
    if (task->kind == TASK_HEAR && strcmp(text, DAEMON_HEARD) == 0)
        task->heard = true;
    else if (task->kind == TASK_RELEASE && strcmp(text, DAEMON_LET_GO) == 0)
        task->let_go = true;
    else if (task->kind == TASK_SCRUB && strcmp(text, DAEMON_SCRUBBED_ALL) == 0)
        task->scrubbed_all = true;
    else if (!looking_line(task, text) && !scrubbed_line(task, text) && !was_logged(task, text))
        mrmr_log(MRMR_LOG_WARN, "%s: %s", task->name, text);
}

static void own_lines(struct daemon_task *task)
{
    char *line = task->said.data, *end;
    while (line && (end = strchr(line, '\n'))) {
        *end = '\0';
        own_line(task, line);
        line = end + 1;
    }
    if (line && line > task->said.data) {
        const size_t left = task->said.size - (size_t)(line - task->said.data);
        memmove(task->said.data, line, left + 1);
        task->said.size = left;
    }
}

/* A look is read whole when it is over. */
void daemon_task_hear(struct daemon_task *task)
{
    char room[1024];
    for (;;) {
        const ssize_t n = read(task->says, room, sizeof room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0) {
                close(task->says);
                task->says = -1;
            }
            return;
        }
        if (task->said.size < 16 * LINE_MOST && mrmr_bytes_add(&task->said, room, (size_t)n))
            return;
        if (task->kind != TASK_LOOK)
            own_lines(task);
        if (task->kind != TASK_LOOK && task->said.size >= LINE_MOST)
            mrmr_bytes_clear(&task->said); /* a line without an end */
    }
}
