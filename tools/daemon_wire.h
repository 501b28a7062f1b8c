/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What commands and the pool's daemon say to each other, over the socket `socket` in the pool's folder (0600): who cannot
 * write the folder does not reach it, and the daemon asks the kernel besides who it is. Each message is a letter and what
 * belongs to it; it comes whole or not at all (SOCK_SEQPACKET). Descriptors go along with DAEMON_RUN alone.
 *
 * Ownership: descriptors that were received are the receiver's. Threads: one for each socket. Errors: MRMR_ABSENT: nobody is
 * at the other end (any more); MRMR_FORMAT: what came is none of this.
 */
#ifndef MRMR_TOOLS_DAEMON_WIRE_H
#define MRMR_TOOLS_DAEMON_WIRE_H

#include "base/bytes.h"

enum daemon_word {
    /* To the daemon. */
    DAEMON_RUN = 'r',    /* a command: daemon_request */
    DAEMON_SIGNAL = 'k', /* a byte: to the command that was asked for */
    DAEMON_STATE = 's',  /* what it does */
    DAEMON_STOP = 'q',   /* end */
    /* From it. */
    DAEMON_WAITS = 'w',   /* a string: what the command waits for */
    DAEMON_BEGINS = 'g',  /* nothing: from now on it is the daemon's, and nobody else runs it */
    DAEMON_BEGUN = 'b',   /* a decimal: its process */
    DAEMON_ENDED = 'e',   /* a byte: its exit code */
    DAEMON_REFUSED = 'n', /* a string: why not */
    DAEMON_IS = 'i',      /* strings: of DAEMON_STATE, and of DAEMON_STOP */
};

enum { DAEMON_MOST = 128 << 10, DAEMON_FDS = 4 };

#define DAEMON_SOCKET "socket"
/* In the environment of a command that the daemon runs: it runs itself. */
#define DAEMON_INSIDE "MRMR_DIRECT"
/* Its value for one that somebody asked for: how far it is goes to this descriptor, too, a pipe at which nobody waits. */
#define DAEMON_LISTENS "listens"
#define DAEMON_LISTENS_FD 3

/* A command as it was given: the program's version, its arguments and environment; standard input, output and error, and the
 * folder in which it was given. */
struct daemon_request {
    char *version;
    char **argv,
        **envp; /* each with a NULL behind it; of one piece of memory with what they point to: free(argv) */
    int fd[DAEMON_FDS];
};

/* Of the folder, whatever the length of its path. Listen replaces a socket that is there: for whoever has the daemon's lock. */
mrmr_err daemon_listen(int dirfd, int *ret_fd);
mrmr_err daemon_connect(const char *dir, int *ret_fd);
/* MRMR_DENIED: neither this user nor root. */
mrmr_err daemon_accept(int listener, int *ret_fd);

mrmr_err daemon_send(int fd, enum daemon_word word, const void *data, size_t size);
mrmr_err daemon_send_text(int fd, enum daemon_word word, const char *text);
/* MRMR_SPACE: the command line and its environment are too long. */
mrmr_err daemon_send_run(
    int fd, const char *version, char *const argv[], char *const envp[], const int fds[DAEMON_FDS]);

/* Replaces what is in the message: its letter, what belongs to it, and a NUL. fds: DAEMON_FDS, or -1 each. */
mrmr_err daemon_receive(int fd, struct mrmr_bytes *message, int fds[DAEMON_FDS]);
/* The message is DAEMON_RUN. */
mrmr_err daemon_request_parse(
    const struct mrmr_bytes *message, const int fds[DAEMON_FDS], struct daemon_request *ret);

#endif
