/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the daemon does by itself, and when: pure, so that any hour can be tried.
 *
 * A sync takes what has been quiet for `settle`. It is due when something was changed that long ago, or is left exposed from
 * the last one that long ago, and twice as long after each that could do nothing about it, as where a drive is away; or nobody has looked at the drives for `scan-interval`; and not before nine times as long as the last one looked
 * at the drives has passed, so that looking takes a tenth of the time at most. A scrub is due once a day, of what was not scrubbed for
 * `scrub-interval`, a day's part of it: so all is read once in that time, and no day has more than another; one that was cut short goes on with its part. Paused, and in the
 * quiet hours, neither is due.
 *
 * A release, which lets go of old bytes that are kept and protects nothing, never rests. It is due at once when somebody waits for room; and
 * where no sync does it on the way, since it rests, `settle` after a change by which something may be kept. What the last one had to leave, as on a drive
 * that is away, may be let go of after any change, if that was the drive's return; mostly it was not, so that is tried again after twice as long each time, up to `scan-interval`;
 * and soon once a command has ended, or a mount says that something is kept, as it does of a drive that is back.
 *
 * Times: ns, by a clock that does not jump, and goes on while the computer sleeps (mrmr_clock_boot).
 */
#ifndef MRMR_TOOLS_WORKER_H
#define MRMR_TOOLS_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct worker_view {
    int64_t now;
    bool rests; /* it is paused, or these are the quiet hours */
    int64_t settle, scan_every;
    int64_t changed;       /* the first change since the last sync began; 0: none is known */
    bool exposed;          /* something is left */
    unsigned idle;         /* so many syncs in a row left as much */
    int64_t synced;        /* the end of the last sync; 0: none was */
    int64_t looking;       /* how long that looked at the drives, whatever it did then */
    int64_t again;         /* neither a sync nor a scrub before this, since the last one failed */
    bool scrubs;           /* `scrub-interval` is set */
    int64_t scrubbed;      /* the end of the last scrub; 0: none was */
    int64_t gone;          /* the first such change since the last release or sync began; 0: none */
    int64_t unsure;        /* likewise, any change at all, if something may be left; 0: none */
    int64_t released;      /* the end of the last release; 0: none was */
    unsigned left;         /* so many in a row may have left something */
    bool waits_for_room;   /* somebody does */
    int64_t release_again; /* no release before this, since the last one failed */
};

enum worker_job { WORKER_RESTS, WORKER_SYNC, WORKER_SCRUB, WORKER_RELEASE };

/* What is due now. *ret_again: when to ask again, if nothing changes; INT64_MAX: not at all. */
enum worker_job worker_due(const struct worker_view *view, int64_t *ret_again);

#endif
