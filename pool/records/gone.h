/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that were removed through MRMR while their drive was away: they do not show, and are removed
 * from the drive when it is back, if what lies there is what was removed (gone_apply.h).
 *
 * The file `gone` in the pool's folder is a journal of them (gone_format.h): drive, path, kind and the
 * version that the catalog had of it, with its change time (gone_version.c). A record waits until it is applied, and is over then: there is
 * nothing to do any more, but the catalog may still have the name, which must not show if the drive
 * goes once more; the scan that has looked at the drive since drops it. Only files and empty folders
 * are recorded, so paths are compared as a whole: whoever removes a folder has removed all that the
 * catalog knows in it before.
 *
 * Crash argument. A record is appended and synced before the caller is told; a cut leaves no record, or
 * a torn one, which nobody believes, and the name as it was. Applying removes one name after another
 * from the drive, syncs the folders they lay in, and only then are the records over: a cut anywhere
 * leaves some that wait still, and whoever applies them finds nothing there, or another file that got
 * the name since, and leaves it. Records become over, and are dropped, by a mark that is appended and
 * synced: a cut leaves none, or a torn one, and records that wait still. Now and then, when as much of
 * the journal says nothing any more as says something, it is written anew without that
 * (gone_compact.c), by a durable replace (base/durable.h): it is the old or the new one, and by both
 * the same names are gone, and the same is asked of each folder. Where that fails, as in a folder that is
 * full, the journal is written on, and tried again when it has doubled; and where a new one cannot be
 * read, what was known of the old one counts, so that nothing that was removed shows for that.
 *
 * A record goes by the path that the catalog had. A scan that brings the catalog up to date with what
 * was renamed gives the records that are left the new paths (gone_follow.c), after its commit and
 * before it drops the records of renames (moved.h): a cut in between leaves the old paths and these,
 * and the next scan does it. Who adds a record is among the writers from before it asks for the
 * catalog's path until the record is there; so the scan looks for records that came meanwhile once
 * more while the writers stand still, and lets the renames go in the same stop: each record has the
 * new path by then, or is added by what the catalog has now. Where a record cannot be given its path
 * the drive keeps the records of its renames, which say where it leads.
 *
 * A drive that has neither inode numbers nor times of birth cannot tell a file that was put back with
 * the same size and time from the one that was removed. So that such a file is not removed again nothing is applied
 * twice but after a crash.
 *
 * What else was asked of a folder of such a drive lies in the same journal, so that all of it has one
 * order (later.h): new names, and new attributes. So does what was asked of a drive that hung, and may come
 * late (gone_late.c): that goes likewise.
 *
 * Processes. The mount adds; whoever takes a drive into service, and the scan, apply. The file
 * `gone-lock` has two locks, the kernel's (F_OFD_SETLK): one over each change of the journal, one for whoever
 * applies. Readers need none of them for what is whole, since what is torn is not believed.
 *
 * Threads: any. One lock over the table and the journal, input and output in the pool's folder included;
 * one over applying, which is taken before any other. Errors: the pool's folder's; MRMR_SPACE: the journal
 * is full.
 */
#ifndef MRMR_POOL_GONE_H
#define MRMR_POOL_GONE_H

#include "pool/engine.h"

struct pool_gone;

/* dirfd: the pool's folder, which stays the caller's. It must be writable for whoever changes what is
 * recorded. */
mrmr_err pool_gone_open(int dirfd, bool changes, struct pool_gone **ret_gone);
void pool_gone_close(struct pool_gone *gone); /* NULL-safe */

/* What the journal has now is in the table. */
mrmr_err pool_gone_refresh(struct pool_gone *gone);
/* The same. *ret_stamp: another one whenever there may be other records. */
mrmr_err pool_gone_stamp(struct pool_gone *gone, uint64_t *ret_stamp);

/* By the table. Whether there is any record; cheap. */
bool pool_gone_any(const struct pool_gone *gone);
/* The catalog's node of this path on its drive was removed. */
bool pool_gone_has(struct pool_gone *gone, const char *path, const struct meta_node *node);
/* What lies at the path on the drive was removed, or came late, and could not be taken from it yet. *ret_surely (may be NULL): else it may be
 * another version by now, and was not compared: nobody else takes its place, or its name, before it is. */
bool pool_gone_waits(struct pool_gone *gone, const struct pool_drive *drive, const char *path,
    const struct drv_stat *stat, bool *ret_surely);

/* The catalog's node of this path on its drive, which is away, is removed: durable on return. */
mrmr_err pool_gone_add(struct pool_gone *gone, const char *path, const struct meta_node *node);

enum pool_gone_kind { POOL_GONE_REMOVED, POOL_GONE_RENAMED, POOL_GONE_SET, POOL_GONE_LATE };

struct pool_gone_record {
    enum pool_gone_kind kind;
    uint64_t id;
    int64_t drive;
    enum meta_type type;
    uint64_t size, ino;
    int64_t mtime, btime; /* mtime of what is no removal, and over: since when (real time) */
    int64_t ctime;        /* of a file that is removed; 0: neither it nor the version is known */
    uint64_t version;     /* of its content, in the catalog */
    bool over;
    char *path;
    const void *extra; /* later.c's; behind the path */
    size_t extra_size;
};
/* What is asked of a folder of a drive that is away: durable on return. */
mrmr_err pool_gone_add_later(struct pool_gone *gone, enum pool_gone_kind kind, const char *path,
    const struct meta_node *node, const void *extra, size_t size, uint64_t *ret_id);
struct pool_gone_list {
    struct pool_gone_record *record; /* in the journal's order */
    size_t n;
};
/* Those of a drive (0: of all) that wait, or are over; of each kind. */
mrmr_err pool_gone_list(
    struct pool_gone *gone, int64_t drive, bool over, struct pool_gone_list *ret_list);
void pool_gone_list_free(struct pool_gone_list *list);
/* They are over, or dropped: durable on return. Ids that are not there any more are fine; the array is used
 * up. It costs as much as there are ids, and now and then, by what was added since, the journal. */
mrmr_err pool_gone_settle(struct pool_gone *gone, uint64_t ids[], size_t n, bool drop);

/* What they ask for may be on the drive from now on: durable on return. None of them is made one with
 * another until it is over; those that were before are not there any more, so they are read again after
 * that. Ids that are not there are fine; the array is used up. */
mrmr_err pool_gone_begin(struct pool_gone *gone, uint64_t ids[], size_t n);
/* The record of this id as it is now, or none. */
mrmr_err pool_gone_get(struct pool_gone *gone, uint64_t id, struct pool_gone_list *ret_list);

/* What the catalog has at the paths of these records has others now: they are given these, which are
 * valid, and not too long (pool_gone_path_fits). The array is put in order. MRMR_SPACE: the journal
 * would be too long; all have the paths that they had. */
struct pool_gone_path {
    uint64_t id;
    char *path;
};
mrmr_err pool_gone_repath(struct pool_gone *gone, struct pool_gone_path paths[], size_t n);
bool pool_gone_path_fits(const char *path);

/* Calls fn with each record of this kind of what the catalog has at this path, in order, whether it waits
 * or is over; under the lock. */
typedef mrmr_err (*pool_gone_fn)(const struct pool_gone_record *record, void *arg);
mrmr_err pool_gone_each(struct pool_gone *gone, enum pool_gone_kind kind, const char *path,
    const struct meta_node *node, pool_gone_fn fn, void *arg);

/* --- gone_late.c --- */

/* What may come late: a thing that was to be made, or a copy that was to get this path, or another name of a file. */
enum pool_gone_late { POOL_GONE_LATE_NEW, POOL_GONE_LATE_COPY, POOL_GONE_LATE_NAME };

/* What was asked of the drive at this path, which is the one on the drive, was given up, and may be there, or come yet: it
 * is not wanted. The node has what is known of it: drive and type; of what is new the size, of a copy all
 * that it keeps when it is renamed, and its change time if that is known (else 0), of a name the inode. Durable on return. */
mrmr_err pool_gone_add_late(struct pool_gone *gone, enum pool_gone_late what, const char *path,
    const struct meta_node *node);
/* What lies there is what came late, and as it was made. */
bool pool_gone_late_is(const struct pool_gone_record *record, const struct drv_stat *stat);
/* As pool_gone_is_surely. */
bool pool_gone_late_is_surely(const struct pool_gone_record *record, const struct drv_stat *stat);
/* It is what came late, and somebody has changed it since. */
bool pool_gone_late_changed(const struct pool_gone_record *record, const struct drv_stat *stat);
/* It would be a copy, which its inode tells from all that is made there by others. */
bool pool_gone_late_is_copy(const struct pool_gone_record *record);
/* Something is to be taken from the drive: it was removed, or came late. */
static inline bool pool_gone_takes(const struct pool_gone_record *record)
{
    return record->kind == POOL_GONE_REMOVED || record->kind == POOL_GONE_LATE;
}

/* --- gone_version.c --- */

/* What the catalog has, or what lies on the drive, may be what the record is of: nothing that is cheap to ask for
 * tells them apart. */
bool pool_gone_is_node(const struct pool_gone_record *record, const struct meta_node *node);
bool pool_gone_is(const struct pool_gone_record *record, const struct drv_info *info,
    const struct drv_stat *stat);
/* It is, as far as the drive can tell: no byte need be compared. */
bool pool_gone_is_surely(const struct pool_gone_record *record, const struct drv_info *info,
    const struct drv_stat *stat);
/* What lies at the path, which has this stat, is the version that was removed for sure; *stat: as it was then.
 * until: monotonic, by when it must be read; MRMR_BUSY: that takes longer; 0: as long as it takes. */
mrmr_err pool_gone_same(struct pool *pool, const struct pool_job *job,
    const struct pool_drive *drive, const struct pool_gone_record *record, const char *path,
    int64_t until, struct drv_stat *stat, bool *ret_same);

/* --- */

/* For applying: one at a time, of all processes. MRMR_BUSY: another thread of this one applied until then (monotonic; 0: as
 * long as it takes), or another process for that long after (ns; 0: likewise). */
mrmr_err pool_gone_apply_begin(struct pool_gone *gone, const struct pool_job *job,
    int64_t thread_until, int64_t process_waits);
void pool_gone_apply_end(struct pool_gone *gone);

/* --- gone_follow.c --- */

/* After a scan's commit: the drive's records have the paths that the catalog has now. *ret_left: of
 * those that wait, which need the records of renames still, since a path is too long to be recorded. */
mrmr_err pool_gone_follow(struct pool *pool, const struct pool_job *job, struct pool_gone *gone,
    const struct pool_drive *drive, size_t *ret_left);
/* Where the catalog has it, by its inode, owned; NULL: nowhere, or the drive has no inode numbers. */
mrmr_err pool_gone_by_inode(
    struct pool *pool, const struct pool_gone_record *record, char **ret_path);

#endif
