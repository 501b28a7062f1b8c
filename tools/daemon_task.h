/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the daemon has running: one process of this program, for a caller or of its own, and what it says.
 *
 * Threads: one. Ownership: what is in a task is its own, until clear.
 */
#ifndef MRMR_TOOLS_DAEMON_TASK_H
#define MRMR_TOOLS_DAEMON_TASK_H

#include "tools/daemon_wire.h"

#include "base/bytes.h"
#include <signal.h>
#include <sys/types.h>

struct caller;

enum daemon_task_kind {
    TASK_NONE,
    TASK_CALLER,
    TASK_LOOK,
    TASK_SYNC,
    TASK_SCRUB,
    TASK_RELEASE,
    TASK_REBUILD,
    TASK_HEAR
};

enum { DAEMON_SAID = 64 };

/* What TASK_HEAR says, besides what is for the log. */
#define DAEMON_HEARD "changed"
/* And TASK_RELEASE, if it has let go of all that can be let go of, on all drives. */
#define DAEMON_LET_GO "all is let go of"
/* And TASK_SCRUB, when nothing is left of its part; it may be ended in what it does after that. */
#define DAEMON_SCRUBBED_ALL "all of the part is scrubbed"

struct daemon_task {
    enum daemon_task_kind kind;
    pid_t pid;
    struct caller *caller; /* of TASK_CALLER; the daemon's */
    char name[64];
    int says; /* what it writes, of a caller's how far it is; -1: nothing (any more) */
    struct mrmr_bytes said;
    char progress[256];
    int64_t begun, begun_awake; /* by mrmr_clock_boot and mrmr_clock_monotonic */
    bool stopped;               /* it was asked to stop, for whoever came */
    int64_t
        looking; /* ns, of a sync that has said so: how long it looked at the drives; 0: it has not */
    bool let_go;       /* a release has said so */
    uint64_t scrubbed; /* likewise, of a scrub, cut short or not: how many stripes */
    bool scrubbed_all;
    bool heard; /* TASK_HEAR has said that something was changed; whoever takes that sets it back */
    /* What was logged of the last ones; it stays when one ends. A job that is tried each minute says the same each minute. */
    struct daemon_said {
        uint64_t key; /* 0: free */
        int64_t at;
    } logged[DAEMON_SAID];
    size_t next; /* of these, a ring */
};

/* Nothing runs. */
void daemon_task_clear(struct daemon_task *task);
/* What a caller asked for, with his descriptors, folder and environment; how far it is comes here, too. mask: its signals'. */
mrmr_err daemon_task_begin(
    struct daemon_task *task, const struct daemon_request *request, const sigset_t *mask);
/* One of the daemon's own: what it says comes here, of a look its output, of others its errors. */
mrmr_err daemon_task_begin_own(struct daemon_task *task, enum daemon_task_kind kind,
    char *const argv[], const char *name, const sigset_t *mask);
/* What there is of that; never waits. A look's is for who takes it; of the others progress is kept, which is all that a caller's
 * says, and the rest logged, the same once an hour. */
void daemon_task_hear(struct daemon_task *task);

#endif
