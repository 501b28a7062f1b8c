/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The side of whoever asks the pool's daemon.
 *
 * SIGINT and SIGTERM are passed on, as they would have come to the command itself; SIGHUP is not: whoever's terminal goes
 * away has asked for something to be done, and not for it to be left undone.
 */
#include "tools/daemon.h"
#include "tools/daemon_wire.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/mrmr_screen.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static volatile sig_atomic_t got_signal, last_signal, signals;

/* The first is passed on, and so is the second, for which the command ends at once; who says it once more is not kept
 * waiting for an answer. */
static void on_signal(int number)
{
    got_signal = last_signal = number;
    if (++signals > 2)
        _exit(128 + number);
}

struct asking {
    int fd;
    bool begins, begun;
    int code;
};

/* True: that was the last word. */
static bool heard(struct asking *a, const struct mrmr_bytes *message, mrmr_err *ret_err)
{
    const char *text = message->data + 1;
    switch ((enum daemon_word)message->data[0]) {
    case DAEMON_WAITS:
        mrmr_screen_line("mrmr: waits: %s", text);
        return false;
    case DAEMON_BEGINS:
        a->begins = true;
        return false;
    case DAEMON_BEGUN:
        a->begun = true;
        return false;
    case DAEMON_ENDED:
        a->code = message->size > 1 ? (unsigned char)text[0] : 1;
        *ret_err = MRMR_OK;
        return true;
    case DAEMON_REFUSED:
        *ret_err = mrmr_fail(MRMR_CONFLICT, "%s", text);
        return true;
    default:
        *ret_err = mrmr_fail(MRMR_FORMAT, "the pool's daemon says what this version does not know");
        return true;
    }
}

static mrmr_err went(const struct asking *a)
{
    if (!a->begins && !signals)
        return mrmr_fail(MRMR_ABSENT, NULL);
    if (!a->begins) /* it was not wanted any more */
        return mrmr_fail(MRMR_CANCELLED, NULL);
    if (!a->begun) /* to run it here may be to run it twice */
        return mrmr_err_hint(mrmr_fail(MRMR_UNAVAILABLE,
                                 "the pool's daemon ended when the command was about to begin: it "
                                 "may be under way, or not"),
            "mrmr status and mrmr events tell what was done; if it was not, give it again");
    return mrmr_err_hint(mrmr_fail(MRMR_UNAVAILABLE,
                             "the pool's daemon ended before the command, which goes on by itself"),
        "mrmr status tells what is under way");
}

static mrmr_err listen_to(struct asking *a)
{
    mrmr_autobytes struct mrmr_bytes message = MRMR_BYTES_INIT;
    struct pollfd poll_fd = {.fd = a->fd, .events = POLLIN};
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    mrmr_err err = MRMR_OK;
    for (bool last = false; !last;) {
        int fds[DAEMON_FDS];
        if (got_signal) {
            const char number = (char)got_signal;
            got_signal = 0;
            daemon_send(a->fd, DAEMON_SIGNAL, &number, 1);
        }
        if (ppoll(&poll_fd, 1, NULL, &before) < 0)
            continue; /* a signal */
        err = daemon_receive(a->fd, &message, fds);
        if (err) {
            err = mrmr_class_of(err) == MRMR_CLASS_ABSENT ? went(a) : err;
            break;
        }
        last = heard(a, &message, &err);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return err;
}

static mrmr_err send_command(int fd, char *const argv[])
{
    int fds[DAEMON_FDS] = {-1, -1, -1, -1};
    mrmr_err err = MRMR_OK;
    for (int i = 0; !err && i < DAEMON_FDS - 1; i++) {
        fds[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
        if (fds[i] < 0)
            err = mrmr_fail_errno(errno, "pass on", "standard input and output");
    }
    fds[DAEMON_FDS - 1] = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!err && fds[DAEMON_FDS - 1] < 0)
        err = mrmr_fail(MRMR_ABSENT, NULL); /* without a folder to run it in it is run here */
    if (!err)
        err = daemon_send_run(fd, MRMR_VERSION, argv, environ, fds);
    for (size_t i = 0; i < DAEMON_FDS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return err == MRMR_SPACE ? mrmr_fail(MRMR_ABSENT, NULL) : err;
}

mrmr_err daemon_ask(const char *dir, char *const argv[], int *ret_code)
{
    struct sigaction action = {.sa_handler = on_signal}, before[2];
    struct asking a = {.fd = -1};
    MRMR_TRY(daemon_connect(dir, &a.fd));
    sigaction(SIGINT, &action, &before[0]);
    sigaction(SIGTERM, &action, &before[1]);
    mrmr_err err = send_command(a.fd, argv);
    if (!err)
        err = listen_to(&a);
    sigaction(SIGINT, &before[0], NULL);
    sigaction(SIGTERM, &before[1], NULL);
    close(a.fd);
    *ret_code = a.code;
    if (err != MRMR_CANCELLED)
        return err;
    *ret_code = 128 + last_signal; /* as if it had been here */
    return MRMR_OK;
}

/* Waits for an answer of this kind, for so many ms (-1: for as long as it takes). */
static mrmr_err answer(int fd, int ms, struct mrmr_bytes *message)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int fds[DAEMON_FDS];
    int n;
    do
        n = poll(&poll_fd, 1, ms);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return mrmr_fail(MRMR_ABSENT, NULL);
    MRMR_TRY(daemon_receive(fd, message, fds));
    return message->data[0] == DAEMON_IS ? MRMR_OK : mrmr_fail(MRMR_FORMAT, NULL);
}

mrmr_err daemon_end(const char *dir)
{
    mrmr_autobytes struct mrmr_bytes message = MRMR_BYTES_INIT;
    mrmr_autoclose int fd = -1;
    mrmr_err err = daemon_connect(dir, &fd);
    if (!err)
        err = daemon_send(fd, DAEMON_STOP, "", 0);
    if (!err)
        err = answer(fd, -1, &message);
    if (err)
        return err;
    err = answer(fd, -1, &message); /* it is about to end, and closes this when it does */
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

static void take(char *to, size_t size, const struct mrmr_bytes *message, size_t *at)
{
    const char *text = *at < message->size ? message->data + *at : "";
    *at += strlen(text) + 1;
    strncpy(to, text, size - 1);
    to[size - 1] = '\0';
}

mrmr_err daemon_ask_state(const char *dir, struct daemon_state *ret_state)
{
    mrmr_autobytes struct mrmr_bytes message = MRMR_BYTES_INIT;
    mrmr_autoclose int fd = -1;
    size_t at = 1;
    MRMR_TRY(daemon_connect(dir, &fd));
    MRMR_TRY(daemon_send(fd, DAEMON_STATE, "", 0));
    MRMR_TRY(answer(fd, 1000, &message));
    take(ret_state->does, sizeof ret_state->does, &message, &at);
    take(ret_state->progress, sizeof ret_state->progress, &message, &at);
    take(ret_state->why, sizeof ret_state->why, &message, &at);
    return MRMR_OK;
}
