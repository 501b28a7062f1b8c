/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What people were told of already, so that what each sync finds again is one event, and not one a minute.
 *
 * An event of a kind that tells how things stand (told.c has the list) is no news where an equal one, of the same kind, drive
 * and text, was recorded within a day, and nothing since has told that it is over: a drive that returned, a repair, a hold that
 * was lifted, a rebuild. Every other kind tells of something that happened, each time.
 *
 * It is learnt from the catalog's events when it is first asked for, and is right after that for the owner, who alone adds
 * to them; for others it may be behind, and then something is told once more. A transaction that is taken back leaves what was told
 * in it as told, for this process. Times: real; one that jumps by a day makes everything news.
 *
 * Threads: any. Errors: none; what cannot be known is news.
 */
#ifndef MRMR_POOL_TOLD_H
#define MRMR_POOL_TOLD_H

#include "pool/engine.h"

mrmr_err pool_told_create(struct pool *pool);
void pool_told_destroy(struct pool *pool); /* NULL-safe */

/* It is no news. The thread's story stays. */
bool pool_told_knows(
    struct pool *pool, int64_t time, const char *kind, const char *drive, const char *text);
/* It is recorded now. */
void pool_told_add(
    struct pool *pool, int64_t time, const char *kind, const char *drive, const char *text);

#endif
