/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The program that the setting `on-event` names, run for each event: one at a time, in order, by whoever follows the
 * pool's events (pool_follow_look) in a loop of one thread:
 *
 *     hook_create(&options, &hook);   hook_set(hook, what pool_get says of on-event);
 *     for (;;) {
 *         poll pool_follow_fd() and hook_fd();
 *         pool_follow_look(follow, hook_event, hook);
 *         hook_step(hook);
 *     }
 *
 * No shell is asked: what follows the program in the setting are its arguments, separated by blanks. The event is in its
 * environment, and nothing else of this process's is but PATH, HOME and LANG:
 *
 *     MRMR_EVENT          the kind, as "drive-lost"
 *     MRMR_EVENT_ID       its number; 0: noted by who does not own the pool
 *     MRMR_EVENT_TIME     RFC 3339, UTC
 *     MRMR_EVENT_DRIVE    the drive's name; empty: none
 *     MRMR_EVENT_TEXT     what happened, in words
 *     MRMR_EVENT_WARNING  1: it needs a look; else 0
 *     MRMR_POOL           the pool's folder, as it is, so that `mrmr` finds it
 *
 * Names and words in it are escaped as the command prints them: no control character reaches a careless script.
 *
 * Nothing that the program does fails or holds up whoever runs it. It has HOOK_DEADLINE_S, then it is made to end
 * (hook_run.h). What waits meanwhile is bounded; beyond that the oldest are dropped, and their number told. That it
 * cannot be started, fails, hangs or prints something is told in the log, each once an hour at most.
 *
 * It runs as the user of this process, so not where somebody else can say what it is: where the pool's folder, or the catalog
 * in it, belongs to neither this user nor root, or can be written by others (base/ours.h).
 *
 * One thread. Nobody else may wait for its children, and SIGCHLD may not be ignored.
 */
#ifndef MRMR_TOOLS_HOOK_H
#define MRMR_TOOLS_HOOK_H

#include "pool/pool.h"

enum { HOOK_DEADLINE_S = 30, HOOK_GRACE_S = 2, HOOK_QUEUE_MOST = 1000 };

struct hook_options {
    const char *pool;        /* its folder */
    int64_t deadline, grace; /* ns; 0: the above */
    size_t queue_most;       /* 0: the above */
};

struct hook;
mrmr_err hook_create(const struct hook_options *options, struct hook **ret_hook);
/* What runs is made to end, within the grace and a second; what waits is forgotten. NULL-safe. */
void hook_destroy(struct hook *hook);

/* The setting's value, from the next run on; "": none, and what waits is forgotten. MRMR_INVALID: it names no absolute
 * path; nothing has changed then. */
mrmr_err hook_set(struct hook *hook, const char *command);

/* A pool_event_fn: it waits for its turn from here on. Does nothing if there is no program. MRMR_NOMEM. */
mrmr_err hook_event(const struct pool_event *event, void *hook);

/* To be polled for reading: a step is due. */
int hook_fd(const struct hook *hook);
/* What is due: reads what the program printed, sees whether it has ended, ends it if it must, starts the next. Never
 * waits. */
void hook_step(struct hook *hook);
/* Nothing runs, and nothing waits. */
bool hook_idle(const struct hook *hook);

struct hook_counts {
    uint64_t well, failed, hung; /* runs that ended so */
    uint64_t not_run;            /* events for which it could not be started */
    uint64_t printed;            /* runs that printed something */
    uint64_t dropped;            /* events, for want of room */
};
struct hook_counts hook_counts(const struct hook *hook);

#endif
