/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of gone_apply.c: one name.
 *
 * Only what is the version that was removed goes (I1, gone_version.c), and it is compared, where it must be,
 * before anyone has to wait for its removal: among the writers it must have the change time with which it was found
 * to be that version. A mount compares for a moment only, since a drive does not serve before this is over;
 * what it has no time for waits for a sync, does not show meanwhile, and keeps its place on the drive. A file is looked at once more after it was
 * taken from its name, where nobody changes it by that name any more: what has come to be another one at
 * that moment is put back. So every file goes through the folder of what is retained, with symlinks
 * for the leaves that stripes count on (I3), under the name beside until it was looked at (retained.h);
 * one that nothing counts on, or that is found by another name (tree_keep.c), is unlinked there. After a
 * cut in between it may be either, and goes to the quarantine.
 *
 * Nobody else keeps anything on the drive meanwhile, or takes back what he kept. Leaves are found by their digests alone, so one that
 * another file has, too, is believed to be kept where somebody keeps that one at this moment, and goes when his replacement fails; and a symlink
 * that leads nowhere yet is led here while he puts a leaf into its place, which is lost. A mount does this among the writers, with its `keeping`
 * held; the pool's owner, who does not share that, while the writers stand still for that drive. So both may use what a full drive keeps for
 * this (pointers.h), and count on another name that the file has. Where they do not stand still in time (BUSY), or a change of theirs hangs on
 * the drive (OFFLINE), nothing was done, the records of that drive wait for the next scan or mount, and nobody asks again for each of them.
 */
#ifndef MRMR_POOL_GONE_TAKE_H
#define MRMR_POOL_GONE_TAKE_H

#include "pool/records/gone.h"
#include "pool/records/moved.h"

struct gone_take {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_drive *drive;
    pthread_mutex_t *keeping; /* as that of pool_gone_apply */
    bool busy;                /* nothing more can be taken now: the writers do not stand still */
    struct pool_writers *writers;
    int64_t until;         /* for comparing; monotonic; 0: as long as it takes */
    const char *path;      /* at which the record's file lies */
    int64_t ctime;         /* with which that was found to be the version that was removed */
    struct mrmr_bytes own; /* what files with several names became by this; the user's to free */
};

/* t->path: the record's own path, unless what was removed lies where it was renamed to. */
void gone_take_find(struct gone_take *t, const struct pool_gone_record *record,
    const struct pool_moved_paths *moved);
/* Removes what lies at t->path; its folder is not synced. *ret_kept: it is another version. ABSENT, NOT_DIR: nothing
 * is there; NOT_EMPTY: a folder that waits for renames; BUSY: there was no time to compare it, or t->busy. */
mrmr_err gone_take(struct gone_take *t, const struct pool_gone_record *record, bool *ret_kept);

#endif
