/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whoever is short of room asks for a release (release.c), and is told how far those are. Both by files in
 * the pool's folder, since the mount, the daemon and the one that owns the pool are processes of their own:
 *
 *     short      touched: somebody waits for room. The daemon watches it, and runs `mrmr sync --release`
 *                at once, and once more if it is touched while that runs.
 *     released   three numbers of 8 bytes, as this machine has them: how many releases have begun, how often
 *                retained bytes were let go of, and how many releases have ended.
 *     daemon     locked while a daemon runs: without one nobody answers, and nobody need wait.
 *
 * A release that began before somebody asked may have passed by what he waits for; one that begins after,
 * and has ended, gave all there was. One that is killed never ends: who waits does so for a bounded time.
 *
 * None of it survives anything, or is synced: the numbers are compared while somebody waits. They are written
 * in place, which takes no room.
 *
 * Threads: any; began, turn and ended the owner's. Errors: of the folder.
 */
#ifndef MRMR_POOL_SHORT_H
#define MRMR_POOL_SHORT_H

#include "base/err.h"

#include <stdint.h>

struct pool_short {
    uint64_t began, turns, ended;
};

/* Asks. */
mrmr_err pool_short_tell(int dirfd);
/* A daemon is there. */
bool pool_short_heard(int dirfd);
/* One let go of something, or began or ended, not longer ago than this (ns). */
bool pool_short_recent(int dirfd, int64_t ns);
/* All 0: there was none yet. */
mrmr_err pool_short_look(int dirfd, struct pool_short *ret_short);

enum pool_short_step { POOL_SHORT_BEGAN, POOL_SHORT_TURN, POOL_SHORT_ENDED };
/* What cannot be written is logged: who waits tries again by himself in the end. */
void pool_short_step(int dirfd, enum pool_short_step step);

#endif
