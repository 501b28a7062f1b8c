/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool's daemon: protects by itself (worker.h), and runs the commands that change the pool, one after another.
 *
 * It is a small process that never opens the pool to change it, and of it only the catalog, for the events that it tells of (hook.h). What is to be done is done by the same program in a process of
 * its own, as if the command had been given by hand: a command that came through the socket has its caller's terminal, folder
 * and environment, so its output, progress and exit code are what they would be. One of them at a time owns the pool. What the
 * worker is at is stopped for whoever asks, which costs what it did since its last commit; what somebody asked for is waited
 * for. Whoever asked may go away: the command goes on. Beside that, a process that owns nothing hears of what is changed on the drives (pool_hear).
 *
 * Crash argument. The daemon writes nothing but its socket, and when it has scrubbed last into the file of its lock, which is a
 * hint: torn, it costs a scrub more. If it is killed, what it started goes on to its end, and has the
 * pool's lock until then; the next daemon finds the pool busy, and waits. What it started may be killed at any time: each
 * command says so of itself. A command that was asked for is run once at most: whoever asked is told that it is about to begin (1)
 * before its process is made (2), and that it has begun after that (3). A kill before (1) leaves it to whoever asked, who runs it
 * himself; between (1) and (3) it may be under way or not, and he is told just that; after (3) it goes on.
 *
 * One daemon a pool: it has the lock of the file `daemon` in the pool's folder, which goes with its process; a socket that is
 * there without that is left over.
 *
 * Threads: one.
 */
#ifndef MRMR_TOOLS_DAEMON_H
#define MRMR_TOOLS_DAEMON_H

#include "base/err.h"

/* Serves until it is asked to end (DAEMON_STOP, SIGTERM, SIGINT), or `until` can be read to its end (-1: not so). ready is
 * called once it can be reached. MRMR_BUSY: there is one. */
mrmr_err daemon_serve(const char *dir, int until, void (*ready)(void *arg), void *arg);

/* Asks the pool's daemon to run the command as it was given. MRMR_ABSENT: there is none, or it does not come to it. What it waits for is
 * said on stderr. */
mrmr_err daemon_ask(const char *dir, char *const argv[], int *ret_code);
/* Asks it to end, and waits until it has. */
mrmr_err daemon_end(const char *dir);

struct daemon_state {
    char does[64];      /* "sync", "scrub", a command; "" = nothing */
    char progress[256]; /* of that; "" = not known */
    char why[128];      /* it rests */
};
/* MRMR_ABSENT: there is none, or it says nothing for a second. */
mrmr_err daemon_ask_state(const char *dir, struct daemon_state *ret_state);

#endif
