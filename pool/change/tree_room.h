/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A change of the live tree for which there is no room waits for a release (release.c), if one can give some:
 * a daemon is there to run it, and on some drive something is retained. It is tried again whenever something was let go of, and fails as it did when a
 * release that began after it had asked has ended, or `set room-wait` is over.
 *
 * A release may have ended between the try and the look at what is retained, and have given the room: where there was one just now
 * the change is tried once more before it fails.
 *
 * Around a whole change, as it is asked for from outside the tree: nothing is held while it waits, no gate, stay,
 * path, place in a file or lock, so neither the release nor any other change waits for it. At most
 * some changes wait at a time, fewer than a mount has threads; those beyond fail at once. When a release has given
 * nothing nobody waits for a while: a program that writes on and on is told soon.
 *
 *     struct tree_wait room = {0};
 *     do
 *         err = change_once(…);
 *     while (tree_room_came(tree, &room, err));
 *
 * A change that failed for lack of room must have done nothing, or what doing it again does once more.
 *
 * Threads: any. The story of an error is kept where it is not tried again.
 */
#ifndef MRMR_POOL_TREE_ROOM_H
#define MRMR_POOL_TREE_ROOM_H

#include "pool/records/short.h"
#include "pool/tree/tree.h"

struct tree_wait {
    int64_t until;          /* monotonic; 0: it did not wait yet */
    struct pool_short seen; /* at its last try */
    uint64_t before;        /* releases that had begun when it asked */
    uint64_t turns;         /* how often something had been let go of by then */
    bool last;              /* that was the last try */
    bool once_more;         /* it was tried again without asking */
};

/* So many bytes more are kept on the drive, or may be. Asks for a release each time that `set retain-share` of the drive has
 * come together since the last time; does not wait for it. What is kept is bounded by what is protected of each
 * file: a leaf is saved once, until other bytes of it are protected. This bounds how long it stays while the worker rests. */
void tree_room_kept(struct tree_drive *drive, uint64_t bytes);

/* err is no lack of room, or waiting does not help: false. */
bool tree_room_came(struct pool_tree *tree, struct tree_wait *room, mrmr_err err);

#endif
