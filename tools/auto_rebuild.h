/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which lost drive the daemon brings to other drives by itself (set auto-rebuild on), and when: pure, so that any hour can be tried.
 *
 * A drive is given up for ever by that (mrmr rebuild DRIVE), so it is done where nothing speaks against it alone:
 *
 *     - it was seen lost, away or out of service for errors, at each look for `auto-rebuild-delay`, as far as this daemon saw: one
 *       that was started anew, as after a restart of the computer, counts from its first look
 *     - it is not detached, which is the user's word that it comes back; nor is another drive, or another medium, in its place,
 *       or it there, and not to be read for any other reason than its errors; it is not held, and was looked through at least
 *       once: all those wait for the user
 *     - no more drives are out of service, for whatever reason but the user's word, than the redundancy: more at once are a hub,
 *       a cable or a computer that went
 *     - nothing on it exists nowhere else, as far as is known: that would be given up with it. What was written to it through the
 *       mount since its last scan counts as such
 *     - what is protected of it fits into the free space, with its parity
 *     - a look says so that is not older than a minute
 *
 * Whoever does it looks once more (mrmr rebuild --if-lost). One that was begun, by whomever, goes on. One that failed is tried again after an hour, then two, up to a day.
 *
 * Times: ns, monotonic: a clock that jumps changes nothing, and while the computer sleeps, when nobody could bring the drive back, no time passes. Ownership: none.
 */
#ifndef MRMR_TOOLS_AUTO_REBUILD_H
#define MRMR_TOOLS_AUTO_REBUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AUTO_REBUILD_DRIVES = 256 };

struct auto_rebuild_drive {
    char uuid[40], name[64];
    bool seen;            /* by the look that is being taken, or was last */
    bool lost;            /* and may be given up, but for what follows */
    bool begun;           /* it was given up, and is not brought elsewhere yet */
    bool out;             /* not in service, and not to be given up by anybody but the user */
    uint64_t only, bytes; /* on it alone; protected */
    int64_t since;        /* lost at each look; 0: it is not */
    int64_t again;        /* it failed: not before this */
    unsigned failures;    /* in a row */
};

struct auto_rebuild {
    bool on;
    uint64_t delay, redundancy, room; /* s; ; bytes */
    int64_t looked;                   /* 0: no look was taken */
    size_t n;
    struct auto_rebuild_drive drive[AUTO_REBUILD_DRIVES];
};

/* A look: its lines, "auto-rebuild=on", "auto-rebuild-delay=21600", "redundancy=1", "storable=1000" and, a drive each,
 * "drive=UUID WORD ONLY BYTES NAME", with WORD `lost`, `begun`, `out` or any other; all other lines are none of ours. */
void auto_rebuild_look(struct auto_rebuild *ar);
void auto_rebuild_line(struct auto_rebuild *ar, const char *key, const char *value);
void auto_rebuild_looked(struct auto_rebuild *ar, int64_t now);

enum auto_rebuild_job { AUTO_REBUILD_NONE, AUTO_REBUILD_LOOK, AUTO_REBUILD_BEGIN };
/* *ret_name: of BEGIN, the drive's, for as long as no look is taken. *ret_again: when to ask again, if nothing changes; INT64_MAX: not at all. */
enum auto_rebuild_job auto_rebuild_due(
    const struct auto_rebuild *ar, int64_t now, const char **ret_name, int64_t *ret_again);
/* It has ended, and not because it was stopped for whoever came. */
void auto_rebuild_ended(struct auto_rebuild *ar, const char *name, int64_t now, bool done);

#endif
