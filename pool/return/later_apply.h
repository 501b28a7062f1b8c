/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is done on a drive that is back, in parts: later_apply.c (the run; where a folder is),
 * later_rename.c (names), later_set.c (attributes). For those three, and for gone_apply.c, whose last part it is; the crash
 * argument is later.h's.
 *
 * Threads: one run at a time on a drive, by one thread. Errors: what says nothing for ever (later_is_final)
 * ends the run, and its record waits, as do all after it; what does is told of, and is over.
 */
#ifndef MRMR_POOL_LATER_APPLY_H
#define MRMR_POOL_LATER_APPLY_H

#include "pool/records/later.h"
#include "pool/records/moved.h"

typedef mrmr_err (*pool_later_fn)(void *arg, const char *to);

struct later_seen { /* a folder before anything was done: for who judges what others changed */
    bool is;
    struct drv_stat stat;
};

struct pool_later {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_gone *gone;
    struct pool_drive *drive;
    struct pool_writers *writers;
    const struct pool_gone_list *list;
    struct later_seen *seen; /* of each record of the list */
    struct mrmr_bytes
        made; /* folders that were made above new names, where they lie now, each with its NUL */
    struct mrmr_bytes ids;         /* of attributes that are durable */
    size_t done;                   /* records that are over */
    struct pool_moved_steps steps; /* of the drive, as they were read last */
    pool_later_fn before;
    void *arg;
};

/* --- later_apply.c --- */

/* Before anything is removed from the drive: as folders are now. The list is the caller's, and stays. */
mrmr_err pool_later_begin(struct pool *pool, const struct pool_job *job, struct pool_gone *gone,
    struct pool_drive *drive, struct pool_writers *writers, const struct pool_gone_list *list,
    struct pool_later **ret_later);
/* After that. `before` is called ahead of each rename, with the new name: something that was removed may have it
 * still; and with NULL after the last one. Not among the writers. *ret_left: of its records, those
 * that wait still. */
mrmr_err pool_later_run(
    struct pool_later *later, pool_later_fn before, void *arg, size_t *ret_left);
void pool_later_end(struct pool_later *later); /* NULL-safe */

/* For those three. */

/* That what was asked for of the folder at path, to be called `other` (NULL: something else), was not done. */
void later_tell(struct pool_later *l, const char *path, const char *other, const char *what);
/* The record's folder is at the path. Not to know whether it is there is not to know that it is gone. */
mrmr_err later_is_at(struct pool_later *l, const struct pool_gone_record *record, const char *path,
    struct drv_stat *ret_stat, bool *ret_is);
/* At the catalog's path, or where records of renames lead, or where it was found since. *ret_path, owned;
 * NULL: it is not there. */
mrmr_err later_find(struct pool_later *l, const struct pool_gone_record *record, char **ret_path,
    struct drv_stat *ret_stat);
/* Who asks again gets the same answer, until somebody changes what lies there. */
bool later_is_final(mrmr_err err);
/* It was removed in the end, and that has been done, or has been told of. */
bool later_was_removed(struct pool_later *l, const struct pool_gone_record *record);
/* It is durable, or its drive has nothing to make it so. */
mrmr_err later_sync_folder(struct pool_later *l, const char *folder);

/* --- later_rename.c: names, in order; each durable, and its record over --- */

mrmr_err later_rename_one(struct pool_later *l, const struct pool_gone_record *record);
/* After the last one, or where it ends: folders that were made for what went on from there, and are empty. Keeps no story. */
void later_unmake(struct pool_later *l);

/* --- later_set.c: attributes, after all names --- */

/* Before the first one: their records are made one with no others any more. */
mrmr_err later_sets_begin(struct pool_later *l);
/* The i-th of the list. Its record is over once l->ids are settled. */
mrmr_err later_set_one(struct pool_later *l, size_t i);

#endif
