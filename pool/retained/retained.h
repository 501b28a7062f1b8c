/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Old bytes that stripes still count on, kept on the drive whose block they are (I3).
 *
 *     .mrmr/retained/3f/<64 hex>       one leaf, named by its digest: its bytes, or a symlink
 *                                      "../files/<16 hex>#<leaf>" into a whole file
 *     .mrmr/retained/files/<16 hex>    a file that was deleted or replaced: the very inode
 *     .mrmr/retained/files/saved-<16 hex>   the same, taken from its name and not judged yet
 *     .mrmr/pointers                   where leaves lie in such files, if the drive had no room for
 *                                      symlinks (pointers.h)
 *
 * A leaf is found by the digest that its extent has in the catalog, so neither has to know of the
 * other: whoever misses a leaf in its place looks here, and believes it only when its digest is
 * right. Nothing of it is in the catalog, and after a crash what is retained is what lies here.
 *
 * Crash argument of saving a leaf. (1) Its bytes are written under a temporary name and synced: a
 * cut leaves a temporary file, which release clears away. (2) They get their name, and the folder is
 * synced: from here on they are found. Only then is the write issued that changes them in place. A
 * name that is there already has these bytes, or it is made anew (its bytes are checked): a saved
 * leaf is never replaced by other bytes.
 *
 * Of those who save at the same time on one drive: bytes are written and synced, and folders synced, side by side, so
 * that a journal has them in one commit; what they share, `names`, is held while names are made or led elsewhere, and
 * while a folder for them is made and synced. So (a) no symlink is led over a leaf that somebody has just saved: it is looked at
 * and led elsewhere under one hold. And (b) whoever finds a folder that another has made does not count on him to make it durable: his sync may
 * have failed, or he was killed before it. He syncs those above it before he is through, once for as long as he has the drive open.
 *
 * Of saving several leaves of a file at a time, which costs as many syncs as one. (1) Their bytes are written, or cloned, to a
 * temporary file, and synced: a cut leaves that. (2) It gets a name where whole files are kept, durably: a cut leaves a file that
 * nothing leads to, which release clears away. (3) A symlink for each leaf is made, or led to it from wherever it led, in one
 * step; they are synced: after a cut each leads to where it did, or to bytes that are there. The write that changes them in place
 * is issued after that.
 *
 * Of keeping a whole file. (1) A symlink is made for each leaf, to a name that is not there yet: a
 * cut leaves symlinks that lead nowhere, and the file in its place. They are synced. (2) The file is renamed (or
 * linked) to that name, in one step: wherever it lies, its bytes are the same, and are found. Where
 * the drive has hardly room for symlinks, pointers.h takes the place of (1), and if it has none for the
 * name either, what is free behind the pointers is given back to it, and (2) tried again: a cut leaves
 * less of that. When nothing is left to give it fails, and the file is as it was.
 *
 * Of taking one that may be another by now, since somebody saves to its name at any moment. The symlinks
 * are as above. (2) The file is renamed to the name beside, saved-<16 hex>, which nothing is let go of by;
 * (3) there, where nobody reaches it by its name any more, it is looked at; (4) it is renamed to the name
 * that the symlinks lead to, or goes back. A cut between (2) and (4) leaves it beside, whatever it is: who
 * reads looks there, too, and believes only digests, so what is counted on is found (I3); and when no
 * symlink and no pointer leads to it any more it goes to the quarantine (I1), also if it was the right one.
 * One that nothing counts on is removed after (3), from the name beside.
 *
 * Of release. A leaf is removed when the catalog, durably, has no stripe that counts on it, or only
 * such that have it in its place, and durably; a whole file when no symlink leads to it. A cut leaves some of them for the next time.
 *
 * Threads: any. Units: bytes. A drive's own errors; MRMR_ABSENT: nothing is kept under that digest.
 */
#ifndef MRMR_POOL_RETAINED_H
#define MRMR_POOL_RETAINED_H

#include "pool/engine.h"

#define POOL_RETAINED POOL_DOT "/retained"
#define POOL_RETAINED_FILES POOL_RETAINED "/files"

enum { POOL_RETAINED_PATH = 128 };

/* The verified bytes of a leaf. MRMR_DIGEST: they are not what their name says. */
mrmr_err pool_retained_read(
    struct drv *drv, const struct mrmr_digest *digest, void *buf, uint32_t size);
/* The same for leaf i of an extent, on the drive of its block. */
mrmr_err pool_retained_leaf(
    struct pool *pool, const struct meta_extent *extent, uint64_t i, void *buf);
/* Durable on return. data has this digest. The entry is also new where it was there before: release
 * leaves alone what came after it had begun. names: of all who keep anything on this drive, in this process; not held. */
mrmr_err pool_retained_save(struct drv *drv, pthread_mutex_t *names,
    const struct mrmr_digest *digest, const void *data, uint32_t size);

/* A leaf of a file, as it was coded. */
struct pool_retained_leaf {
    uint64_t leaf; /* of the file */
    uint32_t size;
    struct mrmr_digest digest;
};
/* Before bytes of this leaf of an open file of the drive change: it is saved, if it is what was
 * coded. Bytes that are not any more are nobody's to save. names: as above. */
mrmr_err pool_retained_save_leaf(struct drv *drv, pthread_mutex_t *names, struct drv_file *file,
    const struct pool_retained_leaf *leaf);

/* The same for n leaves of the file that follow each other, at most POOL_RETAINED_RUN, kept as one file. A drive
 * without symlinks (MRMR_UNSUPPORTED) or with little room (MRMR_SPACE) may still take them one by one. */
enum { POOL_RETAINED_RUN = 16 };
mrmr_err pool_retained_save_run(struct drv *drv, pthread_mutex_t *names, struct drv_file *file,
    const struct pool_retained_leaf leaves[], size_t n);

/* What stripes count on of a file of this inode, by leaf, of all nodes that the catalog has with it;
 * where the drive has no inode numbers (0), of the node of this path. free(). *ret_known: there is a
 * node. */
mrmr_err pool_retained_counted(struct pool *pool, const struct pool_drive *drive, const char *path,
    uint64_t ino, struct pool_retained_leaf **ret_leaves, size_t *ret_n, bool *ret_known);

/* Before a whole file goes: symlinks for its leaves to a new name, to which the caller then renames
 * or links the file at once. Leaves that are kept already stay as
 * they are: a symlink is led elsewhere only if it does not lead to
 * the right bytes. The symlinks are durable on return. Not for one digest by two threads at a time. */
mrmr_err pool_retained_point(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    char ret_path[POOL_RETAINED_PATH]);

/* A whole file goes from its path: what pool_retained_point does, on a drive without room by other
 * means (above), and then it has the name in ret_kept, where it is moved to or linked. Not durable:
 * sync POOL_RETAINED_FILES where that matters. For the one tree that changes the pool, one at a time
 * on a drive, and for the owner while the writers stand still. MRMR_SPACE: there is really no room. */
enum pool_retained_how {
    POOL_RETAINED_MOVE,
    POOL_RETAINED_LINK,
    POOL_RETAINED_TAKE, /* moved to the name beside, to be judged: taken, put_back, or unlinked */
};
mrmr_err pool_retained_keep(struct drv *drv, const char *path,
    const struct pool_retained_leaf leaves[], size_t n, enum pool_retained_how how,
    char ret_kept[POOL_RETAINED_PATH]);

/* What was taken to the name beside is what was meant, and gets its own. For whom keep is. On failure it is put back to the path. */
mrmr_err pool_retained_taken(struct drv *drv, const char *taken, const char *path);

/* What was found kept on one drive, and read. Zero-initialise. */
struct pool_retained_kept {
    struct mrmr_digest *digest;
    size_t n, room;
    bool sorted;
};
/* Outside of a transaction, for it takes as long as there are bytes kept of this file: its leaves
 * that are kept, and right, are noted. */
mrmr_err pool_retained_note(struct pool *pool, const struct pool_job *job,
    const struct meta_node *node, struct pool_retained_kept *kept);
void pool_retained_kept_free(struct pool_retained_kept *kept);
/* What was taken to `kept` is not what was meant, or nobody can tell, and goes back to its path; if that
 * cannot be, as when something has it by now, to the quarantine, which nothing clears away (I1). If that
 * cannot be either it gets a name beside, by which nothing is let go of (it may have that already), and settle_saved takes it to
 * the quarantine later, once nothing leads to it, and tells so; of other names nothing. On failure of all it is where it was. */
#define POOL_RETAINED_SAVED "saved-"
mrmr_err pool_retained_put_back(struct drv *drv, const char *kept, const char *path);
mrmr_err pool_retained_settle_saved(
    struct pool *pool, const struct pool_job *job, struct pool_drive *drive, const char *name);

/* Inside the caller's transaction: the node's file goes. Leaves of it that were noted become STALE,
 * without a node; all others are left to the caller. Nothing is read. */
mrmr_err pool_retained_vanish(
    struct pool *pool, const struct meta_node *node, struct pool_retained_kept *kept);

/* Before redundancy of a stripe is given up: its leaves that count as kept, and belong to no file
 * any more, are read. What is not there becomes GONE (*ret_lost: load the stripe anew). A drive that
 * does not answer: MRMR_UNAVAILABLE and its like, and nothing is known. */
mrmr_err pool_retained_confirm(struct pool *pool, const struct pool_job *job,
    const struct meta_stripe *stripe, bool *ret_lost);

/* Inside the caller's transaction: the drive's medium is gone, and all that was kept on it. */
mrmr_err pool_retained_lost(struct pool *pool, int64_t drive);

/* What is kept now on each drive that answers, to be looked at again when the job has ended. */
struct pool_retained;
mrmr_err pool_retained_list(struct pool *pool, struct pool_retained **ret_retained);
/* Lets go of what was on the list, is as it was then, and no stripe counts on any more: by the
 * catalog, and, of what the catalog takes to be in place, by reading it there. */
mrmr_err pool_retained_release(
    struct pool *pool, const struct pool_job *job, struct pool_retained *retained);
void pool_retained_free(struct pool_retained *retained); /* NULL-safe */
/* There is anything on the list. */
bool pool_retained_list_any(const struct pool_retained *retained);
/* Of some drive nobody can tell, or it was not let go of all that could be. */
bool pool_retained_left_out(const struct pool_retained *retained);
/* Bytes that release has given back to the drives. */
uint64_t pool_retained_freed(const struct pool_retained *retained);

/* What was removed or overwritten through MRMR since the last scan is taken into the catalog, as far as it
 * is kept: retained_take.c. Writes to no drive. Stripes then count on it as on bytes that nobody
 * wants; they can be taken out of parity without a scan. ret_leaves: how many were. taken: of all turns of one
 * release, in which nothing is read twice. */
struct pool_retained_taken {
    int64_t
        turn; /* ns: after so long no other file is begun with, but one is taken in any case; 0: no such end */
    bool all;                 /* it came to the last */
    struct mrmr_bytes looked; /* its own; mrmr_bytes_free */
    int64_t until;            /* its own */
    bool any;                 /* its own: one was looked at in this turn */
};
mrmr_err pool_retained_take_in(struct pool *pool, const struct pool_job *job,
    struct pool_retained *retained, struct pool_retained_taken *taken, uint64_t *ret_leaves);

#endif
