/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a tree writes down of its changes: that a file may have changed, for the scan (touched.h), and
 * where names went, for who cannot look at the drive (moved.h). No bytes depend on it.
 *
 * Drives are by their catalog ids. epoch: of the change that this is part of, as the caller is among
 * the writers (writers.h); what was open in another epoch may be another file by now.
 *
 * Threads: any; one lock, held over I/O on the pool's folder. Errors: those of touched.h and moved.h.
 */
#ifndef MRMR_POOL_TREE_RECORD_H
#define MRMR_POOL_TREE_RECORD_H

#include "drivers/driver.h"
#include "pool/records/moved.h"

struct tree_records;

/* A rename on a drive, or an exchange. */
struct tree_renamed {
    int64_t drive;
    const char *from, *to;
    bool exchange;
    uint64_t inode[2]; /* of what was at from, and at to; 0: no exchange */
};

mrmr_err tree_records_open(struct pool *pool, struct tree_records **ret_records);
void tree_records_close(struct tree_records *records); /* NULL-safe */

/* What could not be written so far is tried again by each record of a name, and by this. */
bool tree_records_owe(struct tree_records *records);
mrmr_err tree_records_settle(struct tree_records *records, uint64_t epoch);

/* as: touched.h has what that may be. */
mrmr_err tree_record_touched(
    struct tree_records *records, int64_t drive, uint64_t ino, int64_t as, uint64_t epoch);
/* A name of what the catalog has went (POOL_MOVED_REMOVED), or leads to another file
 * (POOL_MOVED_REPLACED), or what it led to has the name `other` (POOL_MOVED_LIVES; else NULL); the stat is of before.
 * If that cannot be recorded it may show again; it stays removed. */
void tree_record_went(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, enum pool_moved_kind kind, const char *other, uint64_t epoch);
/* The same of one of which it could not be found out what is to be recorded, for the reason that the story has. */
void tree_record_not(struct tree_records *records);
/* How many names went so far without a record. */
uint64_t tree_records_lost(struct tree_records *records);
/* What is recorded of names is durable, in whichever epoch that was. */
mrmr_err tree_records_sync(struct tree_records *records);
/* Before it is made. */
mrmr_err tree_record_renamed(
    struct tree_records *records, const struct tree_renamed *renamed, bool durable, uint64_t epoch);
/* It was not made after all. On failure no rename is recorded before this is: so its record is the
 * last one of its kind. */
mrmr_err tree_record_undone(
    struct tree_records *records, const struct tree_renamed *renamed, uint64_t epoch);
/* A name that went is its inode's again, or did not go after all. */
mrmr_err tree_record_stays(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch);
/* What the catalog has was given this name. If that cannot be recorded it may not show; it stays. */
void tree_record_linked(struct tree_records *records, int64_t drive, const char *path,
    const struct drv_stat *stat, uint64_t epoch);

#endif
