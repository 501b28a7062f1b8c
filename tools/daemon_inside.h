/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the daemon share. daemon.c has its life and decides what is next; daemon_callers.c is with those who ask;
 * daemon_worker.c does what it does by itself, daemon_hear.c has it hear of changes. Not for anyone else. One thread.
 *
 * Times: by mrmr_clock_boot, so that what is due is due however long the computer slept meanwhile; but those of auto_rebuild.h.
 */
#ifndef MRMR_TOOLS_DAEMON_INSIDE_H
#define MRMR_TOOLS_DAEMON_INSIDE_H

#include "tools/auto_rebuild.h"
#include "tools/daemon_task.h"
#include "tools/hook.h"
#include "tools/worker.h"

#define DAEMON_LOCK "daemon" /* a file in the pool's folder */

enum { DAEMON_CALLERS_MOST = 64 };

struct caller {
    int fd; /* -1: it went away */
    bool asks;
    struct daemon_request request; /* if it asks */
    bool told;                     /* that it waits */
    struct caller *next;
};

/* What a look tells of the pool. */
struct daemon_looked {
    bool is; /* else nothing is known, and nothing is done by itself */
    uint64_t settle, scan_interval, scrub_interval; /* s */
    bool paused;
    uint64_t exposed; /* bytes, and files without any */
    char quiet_hours[32], on_event[8192];
};

struct daemon {
    const char *dir;
    int dirfd, lock, listener, signals, notify, until;
    bool ends;
    struct caller *callers; /* in the order in which they came */
    struct daemon_task task;
    struct daemon_task hear; /* TASK_HEAR, beside the other */
    int64_t hear_again;      /* not begun before this */
    int64_t hear_until;      /* it is to end, and is waited for so long; 0: it is not */
    bool hear_killed;        /* it was not over by then */
    pid_t hear_late
        [4]; /* killed, and waited for no more: the kernel has them wait for a drive; 0: none */
    int64_t hear_said; /* when it was said that it ended, or does not; 0: never */
    struct daemon_looked looked;
    struct pool *pool; /* its catalog alone; NULL: it could not be opened yet */
    struct pool_follow *follow;
    struct hook *hook;
    int64_t events_again; /* they could not be followed: not before this */
    bool look_due, synced_since_look;
    int64_t looked_at;    /* the end of the last */
    int64_t look_again;   /* one failed: not before this; 0: none did */
    int64_t look_regular; /* the next one, if nothing else asks for it */
    struct worker_view view;
    struct auto_rebuild rebuild;
    char rebuilds[64];    /* the drive of TASK_REBUILD */
    int64_t changed_last; /* that we know of; 0: none */
    int64_t gone_last;    /* likewise, by which something may be kept */
    bool
        nothing_kept; /* by the last release: what is kept since mounts tell of; else it is not known */
    int64_t short_last;  /* likewise, that somebody waits for room */
    int64_t scrub_part;  /* when the day's part was begun; 0: none is under way */
    uint64_t scrub_done; /* stripes of it */
    unsigned room_stops; /* syncs that were stopped for that, since one ended */
    int64_t due;         /* when the worker is to be asked again */
    sigset_t before;
};

/* --- daemon.c --- */

/* Whoever comes from now on runs by himself, or goes to the next daemon, which may begin; those that are here are served. */
void daemon_end_begin(struct daemon *d);

/* --- daemon_callers.c --- */

/* Takes in those who wait to be. */
void daemon_callers_come(struct daemon *d);
/* It removes no other. */
void daemon_caller_says(struct daemon *d, struct caller *caller);
void daemon_caller_remove(struct daemon *d, struct caller *caller);
/* The first whose command does not run yet; NULL: none. */
struct caller *daemon_caller_waits(const struct daemon *d);
/* Starts its command; nothing else runs. */
void daemon_caller_begin(struct daemon *d, struct caller *caller);
/* Those who wait are told for what, once. */
void daemon_callers_tell(struct daemon *d);
void daemon_caller_ended(struct daemon *d, int code);

/* --- daemon_worker.c --- */

/* Its own task is asked to stop, once. */
void daemon_worker_stop(struct daemon *d);
/* What it is at gives way to what may not wait: the quiet hours, or who is short of room. */
void daemon_worker_yield(struct daemon *d);
/* When to ask for that again, by the monotonic clock; INT64_MAX: whenever something comes. */
int64_t daemon_worker_yields_at(const struct daemon *d);
/* Starts what is due; nothing else runs. */
void daemon_worker_next(struct daemon *d);
/* One of its tasks has ended. */
void daemon_worker_ended(struct daemon *d, int code);
/* Why it does nothing by itself; "": it does. */
const char *daemon_worker_rests(const struct daemon *d);
/* Something was changed; something is kept that a release may let go of; somebody waits for room. */
void daemon_worker_changed(struct daemon *d);
void daemon_worker_kept(struct daemon *d);
void daemon_worker_short(struct daemon *d);
/* Something ended, or was cut, that may have left something kept, as a sync does what is not quiet yet: the next change asks for a release,
 * however many left something before. */
void daemon_worker_unsure(struct daemon *d);
/* What it left for the next daemon, in the file of its lock. */
void daemon_worker_recall(struct daemon *d);
/* This program, for the pool. words: of its command line, behind the pool; they end with NULL. */
mrmr_err daemon_own_begin(const struct daemon *d, struct daemon_task *task,
    enum daemon_task_kind kind, const char *name, const char *const words[]);

/* --- daemon_hear.c --- */

/* A process of its own hears of what is changed directly on the drives (pool_hear), since a drive that hangs may hang that: begun, where it is to be. */
void daemon_hear_next(struct daemon *d);
/* When to ask for that again; INT64_MAX: whenever something comes. */
int64_t daemon_hear_due(const struct daemon *d);
/* What it says is there to be read; it has ended. */
void daemon_hear_says(struct daemon *d);
void daemon_hear_ended(struct daemon *d);
/* It is to end: the drives, or what it goes by, are others now. Begun anew after that. */
void daemon_hear_stop(struct daemon *d);
/* Nothing of it is at any drive that this command may have unmounted or replaced; if it is, it is asked to end, and this is to be asked again. One
 * that does not end, as where a drive hangs, is waited for for two seconds, and killed. */
bool daemon_hear_lets_go(struct daemon *d, const struct caller *caller);
/* With the daemon. */
void daemon_hear_end(struct daemon *d);

#endif
