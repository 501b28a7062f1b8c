/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/background.h"

#include "base/cleanup.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void mrmr_standard_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The lowest that is free is this one. */
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(EXIT_FAILURE);
    }
}

mrmr_err mrmr_background(const char *what, int *ret_pipe)
{
    int ends[2];
    char word;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return mrmr_fail_errno(errno, "start", what);
    const pid_t child = fork();
    if (child < 0) {
        const int why = errno;
        close(ends[0]);
        close(ends[1]);
        return mrmr_fail_errno(why, "start", what);
    }
    if (child == 0) {
        close(ends[0]);
        setsid();
        *ret_pipe = ends[1];
        return MRMR_OK;
    }
    close(ends[1]);
    ssize_t n;
    do
        n = read(ends[0], &word, 1);
    while (n < 0 && errno == EINTR);
    _exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

void mrmr_background_alone(void)
{
    mrmr_autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    if (chdir("/") < 0)
        mrmr_log(MRMR_LOG_INFO, "the working folder stays in use");
}

void mrmr_background_ready(int *pipe)
{
    while (write(*pipe, "", 1) < 0 && errno == EINTR)
        ;
    close(*pipe);
    *pipe = -1;
}
