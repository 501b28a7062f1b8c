/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was asked, through MRMR, of folders that lie on a drive that is away: another name, and other
 * attributes. It is recorded in the journal `gone` (gone.h), shown from then on in the place of what the
 * catalog has, and done on the drive when it is back, before anything on it is shown (later_apply.h).
 *
 * A record is of a folder as the catalog knows it: its path there, its inode and time of birth. Whatever
 * else lies at its place by then is left as it is, and told of.
 *
 * Names. A rename is a record here, with both paths as they were when it was asked for, and one in the file
 * `moved` (moved.h), as of a rename that was made: by that the catalog's paths are found under the new
 * ones, also by who removes something there, reads it by reconstruction, or restores it. They are made in the order
 * in which they were asked for, and after all removals but of folders that hold yet what is to be renamed: those go by the catalog's paths, and find what
 * was renamed meanwhile as they find all that was. So a rename onto the name of an empty folder records
 * that one's removal first. One that cannot be made since another thing has the name now, or the
 * folder is not there, is taken back in `moved`: nothing is replaced, and nothing is put together. Whatever
 * else a drive answers, as that it is full, read-only, or busy, says nothing for ever: the record waits, and
 * those that come after it.
 *
 * Attributes. The last word counts: each value is set that was asked for. What somebody set directly on
 * the drive after that (its ctime is later, or the drive has none that can be trusted), and is neither
 * what the catalog had nor what is asked for, is left and told of. Names that were made or removed
 * after that in a folder change its time in the same way.
 *
 * Crash argument. A change is made on the drives that are there first, as its user, who is refused there
 * if he may not; then it is recorded for those that are away. It is acknowledged only after that. A rename has
 * a record of its own in the pool's folder from before the first drive makes it until the last one is
 * done or recorded (tree_move_record.c): a cut in between is finished by who opens the tree next. (1) A
 * cut between the two records of a rename, that in `moved` first: the same, also of a drive that was there
 * and may have renamed it or not; rebuild goes by either. (2) While it is made on the
 * drive: a record of it in `moved` is there already, so blocks are found by either path. The rename is
 * durable (both folders synced) before its record is over. A cut before that finds the folder at its
 * new name, or at the old one, and goes on from there; one after it has nothing to do. (3) A cut
 * between attributes: what was set already is what is asked for, by a record that is there still, since
 * those that were begun are made one with no other (gone_compact.c). Attributes are durable (the folder is
 * synced) before their records are over. The time of a folder from which this run removed something
 * is put back before it is judged; a cut in between has it judged as changed later: it is left, and told of.
 * (4) Folders above a new name that the drive has not are made, as other drives have them. They go again as soon as
 * what they were made for has gone on from there, before the next name is given: a rename of a folder above would else take an empty one along, to
 * where nobody looks for it, and it would show there. A cut between may leave one, which is empty. (5) What is over stays
 * until a scan has seen the drive, as removals do, and longer if that is cut before it lets go of it: so
 * it shows, and is restored, only as long as the catalog has neither seen the folder since, by its ctime,
 * nor values that are neither those from before nor those that were asked for. What a rebuild has taken
 * over goes with removals.
 *
 * Threads, errors: those of the journal.
 */
#ifndef MRMR_POOL_LATER_H
#define MRMR_POOL_LATER_H

#include "pool/records/gone.h"
#include "pool/writers.h"

#include <assert.h>

/* --- later.c: the records --- */

struct pool_later_rename {
    const char *from, *to; /* within the record */
};
/* path: the catalog's; from, to: those of the moment. */
mrmr_err pool_later_add_rename(struct pool_gone *gone, const char *path,
    const struct meta_node *node, const char *from, const char *to, uint64_t *ret_id);
/* False: it is none, or its paths are none to believe (I9). */
bool pool_later_rename(const struct pool_gone_record *record, struct pool_later_rename *ret_rename);

enum pool_later_xattr { POOL_LATER_NONE, POOL_LATER_XATTR_SET, POOL_LATER_XATTR_REMOVED };

struct pool_later_values {
    uint32_t mode, uid, gid, unused;
    int64_t atime, mtime; /* ns */
};
/* As it lies in the journal, followed by an attribute's name, with its NUL, and its value. */
struct pool_later_fixed {
    int64_t asked; /* when; ns */
    uint32_t what; /* enum drv_attr */
    uint32_t xattr;
    struct pool_later_values now, was; /* was: as the catalog has it, and what was recorded since */
    uint8_t xattr_was[MRMR_DIGEST_SIZE]; /* of the value; zeros: it had none */
};
static_assert(sizeof(struct pool_later_fixed) == 80 + MRMR_DIGEST_SIZE, "it has no gaps");
struct pool_later_set {
    struct pool_later_fixed fixed;
    const char *name; /* of an extended attribute; within the record, as the value */
    const void *value;
    size_t size;
};
/* set->fixed.was and xattr_was are filled in. */
mrmr_err pool_later_add_set(struct pool *pool, struct pool_gone *gone, const char *path,
    const struct meta_node *node, struct pool_later_set *set);
bool pool_later_set(const struct pool_gone_record *record, struct pool_later_set *ret_set);
struct mrmr_digest pool_later_digest(const void *value, size_t size); /* never zeros */

/* --- what is shown meanwhile --- */

/* The catalog's node of this path, as it was asked to be; its extended attributes. */
mrmr_err pool_later_node(struct pool_gone *gone, const char *path, struct meta_node *node);
mrmr_err pool_later_attrs(struct pool *pool, struct pool_gone *gone, const char *path,
    const struct meta_node *node, struct mrmr_bytes *ret_blob);

#endif
