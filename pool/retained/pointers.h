/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where the leaves of retained files lie, on a drive that is too full for symlinks (retained.h): in
 * one file, .mrmr/pointers, which is made and allocated while there is room. It takes no inode to
 * keep a file whole there, and no block but for its name; for that, a part of the room behind the
 * records is given back to the drive.
 *
 * Crash argument. Records are added behind the last one, and synced; only then is the file that they
 * lead to renamed to where it is kept. A cut before that leaves some of them, perhaps with gaps: what
 * is before the first gap is all of every addition that was finished, since each began at the first
 * gap there was. Later ones write over what is behind it, and what is left there leads nowhere, or to
 * bytes that are checked. Records are dropped by replacing the file by another, durably, or by
 * cutting it to nothing: a cut leaves more than are needed. Room that is taken or given back is
 * behind the records.
 *
 * Where the records end is remembered for each drive, and looked at before it is believed: adding to
 * a long file reads two records of it. A drive that was out of service may come back with another file, or
 * an older one, whose record there is the same: it is read anew.
 *
 * Threads: add and give are for the one tree that changes the pool, one at a time on a drive, or for the owner while no writer is on its
 * way. The others are for anyone; replacing while no writer is on its way (pool_writers_stop).
 * Errors: the drive's own. A file that is not there has no records.
 */
#ifndef MRMR_POOL_POINTERS_H
#define MRMR_POOL_POINTERS_H

#include "pool/retained/retained.h"

#define POOL_POINTERS POOL_DOT "/pointers"

enum { POOL_POINTERS_FILE = 8 };

struct pool_pointer {
    struct mrmr_digest digest;
    uint8_t file[POOL_POINTERS_FILE]; /* the name of the retained file, in hex */
    uint64_t leaf;
};

/* Each record in order, until fn gives an error. */
typedef mrmr_err (*pool_pointer_fn)(const struct pool_pointer *pointer, void *arg);
mrmr_err pool_pointers_each(struct drv *drv, pool_pointer_fn fn, void *arg);

/* Durable on return. */
mrmr_err pool_pointers_add(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    const uint8_t file[POOL_POINTERS_FILE]);
/* The drive is out of service, or comes back: the next add reads all of the file. */
void pool_pointers_forget(const struct drv *drv);
/* Some of the room goes back to the drive. *ret_gave false: there is none left. */
mrmr_err pool_pointers_give(struct drv *drv, bool *ret_gave);

/* Only these are left, in the order given; n 0: none, and no room either. */
mrmr_err pool_pointers_replace(struct drv *drv, const struct pool_pointer pointers[], size_t n);

/* How long the file should be on a drive of `total` bytes. */
uint64_t pool_pointers_wanted(uint64_t total);
/* How long it is. */
mrmr_err pool_pointers_room(struct drv *drv, uint64_t *ret_bytes);
/* It is there, with the folders that keeping a file needs, and this long if there is room for that.
 * MRMR_SPACE: it is shorter. */
mrmr_err pool_pointers_make(struct drv *drv, uint64_t bytes);

#endif
