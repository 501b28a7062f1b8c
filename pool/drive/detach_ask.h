/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A command that detaches a drive asks the process that shows the pool, which may have the drive in use, to let go
 * of it. There is one such process at a time (mounted.h), and one that asks: the pool's owner.
 *
 * There are two questions, one after another. The first is whether the drive could be let go of: it stops nobody, and
 * what takes long is done in it, as syncing, and waiting for what is under way on the drive. The second, for which the writers have been
 * stopped, is that it be let go of now, and takes a moment.
 *
 * The file `detach-ask` in the pool's folder is locked for as long as they stand, and says "ask drive word": two
 * uuids, of which the first is another one for each question, and `may` or `now`. The file `detach-answer` says "ask word text": `free`, or
 * `busy` with who is in the way. Who is asked for `now` and says `free` has nothing of the drive open by then, and does not use it as
 * long as the question stands. It ends with the mark in the catalog (detached.h), or without: then the drive goes on.
 *
 * Crash argument. The lock goes with the process that asks, so that a drive for which one was killed is in
 * service again. The mark is in the catalog before the lock goes: who looks first whether he is asked, and then at
 * the marks, uses the drive at no moment in between. Neither file need survive anything: an answer is for the question that it
 * names. A pool's folder that is full gives no answer, which is a refusal.
 *
 * Threads: any. Errors: the pool's folder's.
 */
#ifndef MRMR_POOL_DETACH_ASK_H
#define MRMR_POOL_DETACH_ASK_H

#include "pool/engine.h"

/* --- who asks --- */

/* Whether it could be let go of. Until it is answered, or nobody shows the pool, at most so long (ns). Nobody does: MRMR_OK.
 * MRMR_BUSY: who is asked cannot let go of it, or says nothing; MRMR_CANCELLED. *ret_fd: the question stands until it is closed; only on
 * MRMR_OK. */
mrmr_err pool_detach_ask(struct pool *pool, const struct pool_job *job,
    const struct pool_drive *drive, int64_t timeout, int *ret_fd);
/* That it be let go of; the writers stand still. fd: of the question before. Else likewise. */
mrmr_err pool_detach_ask_now(struct pool *pool, const struct pool_job *job,
    const struct pool_drive *drive, int64_t timeout, int fd);

/* --- who is asked --- */

struct pool_detach_question {
    struct mrmr_uuid ask, drive;
    bool now;
};
/* False: no question stands. */
bool pool_detach_asked(int dirfd, struct pool_detach_question *ret_question);
/* busy NULL: nothing of it is held. */
mrmr_err pool_detach_answer(
    int dirfd, const struct pool_detach_question *question, const char *busy);

#endif
