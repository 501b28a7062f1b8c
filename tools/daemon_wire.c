/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/daemon_wire.h"

#include "base/cleanup.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* --- the socket --- */

/* Through the folder's descriptor: the path of a pool may be longer than an address has room for. */
static struct sockaddr_un address_of(int dirfd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" DAEMON_SOCKET, dirfd);
    return address;
}

static mrmr_err socket_make(int *ret_fd)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const int size = 2 * DAEMON_MOST;
    if (fd < 0)
        return mrmr_fail_errno(errno, "make", DAEMON_SOCKET);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size,
        sizeof size); /* or a long command is refused, and run by itself */
    *ret_fd = fd;
    return MRMR_OK;
}

mrmr_err daemon_listen(int dirfd, int *ret_fd)
{
    const struct sockaddr_un address = address_of(dirfd);
    mrmr_autoclose int fd = -1;
    MRMR_TRY(socket_make(&fd));
    if (unlinkat(dirfd, DAEMON_SOCKET, 0) < 0 && errno != ENOENT)
        return mrmr_fail_errno(errno, "remove an old", DAEMON_SOCKET);
    const mode_t mask = umask(0177);
    const int bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
    const int why = errno;
    umask(mask);
    if (bound < 0)
        return mrmr_fail_errno(why, "make", DAEMON_SOCKET);
    if (listen(fd, SOMAXCONN) < 0)
        return mrmr_fail_errno(errno, "listen at", DAEMON_SOCKET);
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

mrmr_err daemon_connect(const char *dir, int *ret_fd)
{
    mrmr_autoclose int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
    if (dirfd < 0)
        return mrmr_fail(MRMR_ABSENT, NULL);
    const struct sockaddr_un address = address_of(dirfd);
    MRMR_TRY(socket_make(&fd));
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return errno == ENOENT || errno == ECONNREFUSED || errno == EACCES || errno == EPERM
                   ? mrmr_fail(MRMR_ABSENT, NULL)
                   : mrmr_fail_errno(errno, "reach the daemon at", dir);
    /* Another user's would be given all that is this one's, and do it as who it is. */
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.uid != geteuid())
        return mrmr_fail(MRMR_ABSENT, NULL);
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

mrmr_err daemon_accept(int listener, int *ret_fd)
{
    mrmr_autoclose int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred who;
    socklen_t size = sizeof who;
    if (fd < 0)
        return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR
                   ? mrmr_fail(MRMR_ABSENT, NULL)
                   : mrmr_fail_errno(errno, "accept at", DAEMON_SOCKET);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 ||
        (who.uid != 0 && who.uid != geteuid()))
        return mrmr_fail(MRMR_DENIED, "another user called");
    *ret_fd = mrmr_steal_fd(&fd);
    return MRMR_OK;
}

/* --- messages --- */

static mrmr_err send_with(int fd, const struct mrmr_bytes *message, const int fds[], size_t nfds)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(DAEMON_FDS * sizeof(int))];
    } control = {0};
    struct iovec part = {message->data, message->size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (nfds) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&m);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(head), fds, nfds * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return MRMR_OK;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? mrmr_fail(MRMR_ABSENT, NULL)
           : errno == EMSGSIZE                                        ? mrmr_fail(MRMR_SPACE, NULL)
                               : mrmr_fail_errno(errno, "speak to", DAEMON_SOCKET);
}

mrmr_err daemon_send(int fd, enum daemon_word word, const void *data, size_t size)
{
    mrmr_autobytes struct mrmr_bytes message = MRMR_BYTES_INIT;
    const char letter = (char)word;
    MRMR_TRY(mrmr_bytes_add(&message, &letter, 1));
    MRMR_TRY(mrmr_bytes_add(&message, data, size));
    return send_with(fd, &message, NULL, 0);
}

mrmr_err daemon_send_text(int fd, enum daemon_word word, const char *text)
{
    return daemon_send(fd, word, text, strlen(text) + 1);
}

/* Their number, and each with its NUL. */
static mrmr_err add_list(struct mrmr_bytes *message, char *const list[])
{
    char number[24];
    size_t n = 0;
    while (list[n])
        n++;
    snprintf(number, sizeof number, "%zu", n);
    MRMR_TRY(mrmr_bytes_add(message, number, strlen(number) + 1));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(mrmr_bytes_add(message, list[i], strlen(list[i]) + 1));
    return MRMR_OK;
}

mrmr_err daemon_send_run(
    int fd, const char *version, char *const argv[], char *const envp[], const int fds[DAEMON_FDS])
{
    mrmr_autobytes struct mrmr_bytes message = MRMR_BYTES_INIT;
    const char letter = DAEMON_RUN;
    MRMR_TRY(mrmr_bytes_add(&message, &letter, 1));
    MRMR_TRY(mrmr_bytes_add(&message, version, strlen(version) + 1));
    MRMR_TRY(add_list(&message, argv));
    MRMR_TRY(add_list(&message, envp));
    return message.size > DAEMON_MOST ? mrmr_fail(MRMR_SPACE, NULL)
                                      : send_with(fd, &message, fds, DAEMON_FDS);
}

static void fds_close(int fds[DAEMON_FDS])
{
    for (size_t i = 0; i < DAEMON_FDS; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* False: others than it may have been sent; all are closed. */
static bool fds_take(struct msghdr *m, int fds[DAEMON_FDS])
{
    bool fine = !(m->msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *head = CMSG_FIRSTHDR(m); head; head = CMSG_NXTHDR(m, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            if (i < DAEMON_FDS && n == DAEMON_FDS && fds[i] < 0)
                fds[i] = fd;
            else
                close(fd);
        }
        fine = fine && n == DAEMON_FDS;
    }
    if (!fine)
        fds_close(fds);
    return fine;
}

mrmr_err daemon_receive(int fd, struct mrmr_bytes *message, int fds[DAEMON_FDS])
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(DAEMON_FDS * sizeof(int))];
    } control;
    mrmr_autofree char *room = malloc(DAEMON_MOST + 1);
    if (!room)
        return mrmr_nomem();
    struct iovec part = {room, DAEMON_MOST};
    struct msghdr m = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control};
    for (size_t i = 0; i < DAEMON_FDS; i++)
        fds[i] = -1;
    ssize_t n;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == ECONNRESET) /* what it sent before it went is there still */
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN ? mrmr_fail(MRMR_BUSY, NULL) : mrmr_fail(MRMR_ABSENT, NULL);
    const bool fine = fds_take(&m, fds);
    mrmr_bytes_clear(message);
    mrmr_err err = n == 0 ? mrmr_fail(MRMR_ABSENT, NULL)
                   : !fine || m.msg_flags & MSG_TRUNC
                       ? mrmr_fail(MRMR_FORMAT, "a message that is none")
                       : mrmr_bytes_add(message, room, (size_t)n);
    if (err)
        fds_close(fds);
    return err;
}

/* --- a command --- */

/* The string at *at, which is moved on; NULL: it does not end. */
static char *string_at(const struct mrmr_bytes *message, size_t *at)
{
    char *text = message->data + *at;
    const char *nul = *at < message->size ? memchr(text, '\0', message->size - *at) : NULL;
    if (!nul)
        return NULL;
    *at = (size_t)(nul - message->data) + 1;
    return text;
}

/* Whether a list of *ret_n strings is there, and ends in the message. */
static bool list_at(const struct mrmr_bytes *message, size_t *at, size_t *ret_n)
{
    const char *number = string_at(message, at);
    uint64_t n;
    if (!number || !mrmr_text_u64(number, &n) || n > DAEMON_MOST)
        return false;
    *ret_n = (size_t)n;
    return true;
}

static bool list_fill(const struct mrmr_bytes *message, size_t *at, char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(list[i] = string_at(message, at)))
            return false;
    list[n] = NULL;
    return true;
}

/* Where the lists point to is copied behind them. */
static char **lists_make(const struct mrmr_bytes *message, size_t n, struct mrmr_bytes *ret_copy)
{
    char **lists = malloc((n + 2) * sizeof *lists + message->size);
    if (!lists)
        return NULL;
    *ret_copy = (struct mrmr_bytes){.data = (char *)(lists + n + 2), .size = message->size};
    memcpy(ret_copy->data, message->data, message->size);
    return lists;
}

mrmr_err daemon_request_parse(
    const struct mrmr_bytes *message, const int fds[DAEMON_FDS], struct daemon_request *ret)
{
    size_t at = 1, argc, envc, skip;
    struct mrmr_bytes copy;
    if (!string_at(message, &at) || !list_at(message, &at, &argc) || argc < 2)
        return mrmr_fail(MRMR_FORMAT, "a command that is none");
    for (size_t i = 0; i < argc; i++)
        if (!string_at(message, &at))
            return mrmr_fail(MRMR_FORMAT, "a command that is none");
    if (!list_at(message, &at, &envc))
        return mrmr_fail(MRMR_FORMAT, "a command that is none");
    char **lists = lists_make(message, argc + envc, &copy);
    if (!lists)
        return mrmr_nomem();
    at = 1;
    *ret = (struct daemon_request){.argv = lists, .envp = lists + argc + 1};
    ret->version = string_at(&copy, &at);
    if (!list_at(&copy, &at, &skip) || !list_fill(&copy, &at, ret->argv, argc) ||
        !list_at(&copy, &at, &skip) || !list_fill(&copy, &at, ret->envp, envc)) {
        free(lists);
        return mrmr_fail(MRMR_FORMAT, "a command that is none");
    }
    memcpy(ret->fd, fds, sizeof ret->fd);
    return MRMR_OK;
}
