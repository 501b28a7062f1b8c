/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What another process does: a drive may tell its events from ours.
 *
 *     if (elsewhere())
 *         _exit(change_something());
 */
#ifndef MRMR_TESTS_ELSEWHERE_H
#define MRMR_TESTS_ELSEWHERE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

/* True: this is the other process, which ends with _exit(0) if it did what it should. False: it has
 * ended. */
static inline bool elsewhere(void)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        return true;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return false;
}

#endif
