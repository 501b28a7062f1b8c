/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/daemon_inside.h"
#include "tools/mrmr.h"

#include "base/clock.h"
#include "base/log.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static const int64_t again_after = 60 * MRMR_NS_PER_S;   /* it ended by itself */
static const int64_t failed_after = 600 * MRMR_NS_PER_S; /* it could not be begun */
static const int64_t patience = 2 * MRMR_NS_PER_S;       /* with its end */
static const int64_t killing = MRMR_NS_PER_S / 2;        /* likewise, once it was killed */
static const int64_t silence = 3600 * MRMR_NS_PER_S;     /* once that it ended was said */

/* --- whom it makes room for --- */

static bool has_word(char *const argv[], const char *begin)
{
    for (size_t i = 1; argv[i]; i++)
        if (strncmp(argv[i], begin, strlen(begin)) == 0)
            return true;
    return false;
}

/* Commands by which the drives are others, are somewhere else, or are about to be unmounted; or what is left out of them is another. */
static bool makes_others(char *const argv[])
{
    static const char *const names[] = {"add-drive", "attach", "detach", "rebuild"};
    const char *name = "";
    for (size_t i = 1; argv[i] && !*name; i++)
        if (mrmr_command(argv[i]))
            name = argv[i];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strcmp(name, "set") == 0 && (has_word(argv, "drive.") || has_word(argv, "exclude"));
}

static bool is_in_the_way(const struct daemon *d)
{
    const struct caller *waits = daemon_caller_waits(d), *runs = d->task.caller;
    return (runs && makes_others(runs->request.argv)) ||
           (waits && makes_others(waits->request.argv));
}

/* --- life --- */

void daemon_hear_stop(struct daemon *d)
{
    if (d->hear.kind == TASK_NONE || d->hear_until)
        return;
    d->hear_until = mrmr_clock_boot() + patience;
    kill(d->hear.pid, SIGTERM);
}

/* Where it ends again and again, once an hour. */
static void say(struct daemon *d, const char *what)
{
    const int64_t now = mrmr_clock_boot();
    if (d->hear_said && now < d->hear_said + silence)
        return;
    d->hear_said = now;
    mrmr_log(MRMR_LOG_WARN,
        "%s: until it is begun anew, what is changed on the drives is found by scans alone", what);
}

/* Those that have ended by now; a place for another one, or NULL. */
static pid_t *late_place(struct daemon *d)
{
    pid_t *place = NULL;
    for (size_t i = 0; i < sizeof d->hear_late / sizeof *d->hear_late; i++) {
        pid_t *late = &d->hear_late[i];
        if (*late && waitpid(*late, NULL, WNOHANG) != 0)
            *late = 0;
        place = *late ? place : late;
    }
    return place;
}

/* One that waits for a drive in the kernel ends when that gives up, and not before: another one takes its place, unless that goes on and on. */
static void leave_late(struct daemon *d, int64_t now)
{
    pid_t *place = late_place(d);
    if (d->hear.kind == TASK_NONE || !d->hear_killed || now < d->hear_until + killing || !place)
        return;
    *place = d->hear.pid;
    daemon_task_clear(&d->hear);
    d->hear_until = 0;
    d->hear_again = now + again_after;
}

/* It owns nothing. */
static void kill_late(struct daemon *d, int64_t now)
{
    if (d->hear.kind == TASK_NONE || !d->hear_until || now < d->hear_until || d->hear_killed)
        return;
    d->hear_killed = true;
    kill(d->hear.pid, SIGKILL);
    say(d, "hearing of changes hangs with a drive, and was ended");
}

void daemon_hear_next(struct daemon *d)
{
    const int64_t now = mrmr_clock_boot();
    kill_late(d, now);
    leave_late(d, now);
    if (d->ends || d->hear.kind != TASK_NONE || now < d->hear_again || is_in_the_way(d))
        return;
    d->hear_until = 0;
    d->hear_killed = false;
    if (!daemon_own_begin(
            d, &d->hear, TASK_HEAR, "hear", (const char *const[]){"daemon-hear", NULL}))
        return;
    mrmr_log_story(MRMR_LOG_WARN, "what is changed on the drives is found by scans alone");
    d->hear_again = now + failed_after;
}

int64_t daemon_hear_due(const struct daemon *d)
{
    if (d->hear.kind == TASK_NONE)
        return d->ends || is_in_the_way(d) ? INT64_MAX : d->hear_again;
    const int64_t now = mrmr_clock_boot();
    if (!d->hear_until || now >= d->hear_until + killing)
        return INT64_MAX;
    return d->hear_killed ? d->hear_until + killing : d->hear_until;
}

void daemon_hear_says(struct daemon *d)
{
    daemon_task_hear(&d->hear);
    if (d->hear.heard)
        daemon_worker_changed(d);
    d->hear.heard = false;
}

void daemon_hear_ended(struct daemon *d)
{
    if (d->hear.says >= 0)
        daemon_hear_says(d);
    if (!d->hear_until)
        say(d, "hearing of changes has ended");
    d->hear_again = d->hear_until ? 0 : mrmr_clock_boot() + again_after;
    d->hear_until = 0;
    daemon_task_clear(&d->hear);
}

bool daemon_hear_lets_go(struct daemon *d, const struct caller *caller)
{
    if (d->hear.kind == TASK_NONE || !makes_others(caller->request.argv))
        return true;
    daemon_hear_stop(d);
    return mrmr_clock_boot() >= d->hear_until + killing;
}

void daemon_hear_end(struct daemon *d)
{
    const struct timespec moment = {0, 10 * 1000000};
    daemon_hear_stop(d);
    while (d->hear.kind != TASK_NONE && mrmr_clock_boot() < d->hear_until) {
        if (waitpid(d->hear.pid, NULL, WNOHANG) != 0)
            daemon_task_clear(&d->hear);
        else
            nanosleep(&moment, NULL);
    }
    if (d->hear.kind != TASK_NONE) /* it hangs with a drive */
        kill(d->hear.pid, SIGKILL);
    daemon_task_clear(&d->hear);
}
