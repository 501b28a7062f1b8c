/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One program that is run for an event (hook.h): started without a shell in a process group of its own, with nothing on
 * its standard input, and with what it prints read and mostly dropped. It has until a deadline; then its group gets
 * SIGTERM, and SIGKILL a moment later. What it leaves running in its group ends with it; what is to go on must have a
 * session of its own (setsid).
 *
 * Nothing here waits, but for the system to start the program: one on a file system that hangs holds up who starts it.
 * Nobody else may wait for this child, and SIGCHLD may not be ignored. One thread.
 */
#ifndef MRMR_TOOLS_HOOK_RUN_H
#define MRMR_TOOLS_HOOK_RUN_H

#include "base/err.h"

enum { HOOK_OUTPUT_MOST = 4096 }; /* bytes of what it prints; the rest is read, and dropped */

enum hook_end {
    HOOK_WELL,
    HOOK_FAILED, /* an exit code other than 0, or a signal */
    HOOK_HUNG,   /* it did not end in time */
};

struct hook_result {
    enum hook_end end;
    int code, signal; /* of these one is 0; both: HOOK_FAILED if it cannot be known */
    const char *output;
    size_t size;
    bool more; /* was printed than output has */
};

struct hook_run;
/* epoll: becomes readable when a step is due. deadline, grace: ns. The errors are the system's, and tell of argv[0]. */
mrmr_err hook_run_start(char *const argv[], char *const envp[], int epoll, int64_t deadline,
    int64_t grace, struct hook_run **ret_run);
/* True: it has ended, and *ret_result is what became of it, until destroy. */
bool hook_run_step(struct hook_run *run, struct hook_result *ret_result);
/* What runs still is told to end, and killed if it has not within the grace. NULL-safe. */
void hook_run_destroy(struct hook_run *run);

#endif
