/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Renames that were made through MRMR since the last scan (I3). Stripes count on a file's bytes, and
 * the catalog has the path at which they were: between a rename and the commit of the next scan
 * whoever needs a block of that drive would find nothing there. So each rename is noted in the file
 * `moved` of the pool's folder (moved_format.h), and whoever misses a file at the catalog's path, or
 * finds another there, looks where the records say that it went. What is read there is believed by
 * its digest, as anything is.
 *
 * Whoever renames is among the writers (writers.h) from before it adds the record until the rename
 * is done, and opens the file anew at each epoch that it has not seen. What a scan leaves out
 * (`set exclude`) is no place to rename to: for the stripes that is a deletion (retained.h).
 *
 * Crash argument. (1) The record is added, and, where a stripe counts on the file or on one in the
 * folder, durable: a cut leaves it, or a torn one, which is no record. (2) The rename is made, and
 * becomes durable whenever the drive's file system does that. A cut leaves a record whose rename may
 * never have happened, or may yet be undone by the power cut; so may a rename fail after its record.
 * Hence a record says no more than that the file may have gone there: the catalog's path is always
 * tried first, and each record counts both as done and as not done. (3) A scan brings the catalog's
 * paths up to date in one transaction; a cut leaves records that need not be any more, and do no harm
 * for the same reason. (4) Only after that commit those records are dropped which were there, and
 * whose renames were done, before the scan began; of drives that were seen whole. The file is
 * replaced in one durable step: a cut leaves the old one or the new one.
 *
 * Who cannot look at the drive since it is away takes every record for done whose inode the catalog
 * has still where it was, and reads them backwards (moved_now.c). So a rename that is not made after
 * all is followed by a record that takes it back (POOL_MOVED_UNDONE): a rename the other way round
 * would not do, since what had the new name would be gone by both. What was taken back is no step
 * for them; who looks at the drive still tries it, after all else, since what a drive was asked for
 * in vain may happen late. After a cut between (1) and (2), or before the taking back, the record
 * stands alone: as long as the drive is away the thing shows under its new name, and if the drive
 * never comes back it is restored under it, in the place of what had that. It is what somebody asked
 * for, whole, and was not told of otherwise; so a rename is not answered before it is taken back.
 * Whoever opens the tree next does not look whether it was made, though its drive may be there: that
 * would be a look at the drive for each record since the last scan, at each start, and names that went forth
 * and back say nothing; the next scan settles it.
 * Where that cannot be recorded either it is answered with MRMR_IO, which says no more than that it
 * may have been made or not, and it is tried again before anything else is recorded (tree_keep.c).
 *
 * A reader looks at the file again each time it has missed something, after it missed it: the record
 * is older than the rename. It looks at the catalog again, too: records go after their scan's commit.
 *
 * Names that went. What was removed through MRMR from a drive that answers, or replaced there by what
 * the catalog does not have, is in the catalog until the next scan: if the drive goes before that, the
 * name would show again. So what the catalog has of it is recorded here, too, after it went
 * (POOL_MOVED_REMOVED, POOL_MOVED_REPLACED), by the name alone: a file may have others. It counts for
 * who cannot look at the drive, if the catalog has just that inode at the name; nobody looks for
 * anything where it leads. Of what the catalog has not there is no record, unless a scan is under way.
 *
 * Under a scan. What was made since the last one may be met by the walk under its name, and be given another, or none, before
 * that is in the catalog: so while a scan is under way (writers.h) all that is changed is recorded, as if the catalog had it. This
 * scan drops no record that was added since it began; the next one does. If it was met under the new name, or under none, the record
 * says nothing: a name that went does so only where the catalog has just that inode by it, and a rename of an inode that the catalog has
 * elsewhere, or nowhere, hides nothing that it has by either name (moved_now.c).
 *
 * Crash argument of that. (1) The name goes from the drive, as it goes without a record: what stripes
 * count on was kept before (tree_keep.c), and the record has no part in it. (2) The record is added;
 * then the caller is told. A process that is killed between the two leaves a name that is gone without a
 * record of it, and nobody who was told so: it shows once more if the drive goes before the next scan,
 * and that is all. It is not synced. A power cut may take the record and leave the removal: the same.
 * Or it takes the removal, which was not synced either, and leaves the record: the file is on its
 * drive, shows there, and does not while that is away. Its bytes are safe, in place or where
 * they are kept, and the next scan finds it; and if the drive never comes back, it is restored
 * like all that was removed there, unless something else has its path (rebuild_went.c). (3) The scan's commit, and dropping: as with renames. Between the
 * two the catalog has not the name, or another inode at it: then the record does not count. A drive that
 * tells no times of birth may have given a new file the same number, at the same name: that one does not show
 * while the drive is away, until a scan has dropped the record. If a record cannot be added, or there are too many of
 * them, the log says so, and the name may show again; a removal does not fail for that. While a folder above
 * is renamed at the same moment the two records may have the other order: then the same.
 *
 * What was replaced is the older version of something that was never protected, and went with its drive: it
 * does not show while that may come back, and a rebuild of a drive that never does restores it, unless
 * something else is known to have its path.
 *
 * What lost a name may live on by one that the catalog does not have yet: `ln a c`, `rm a`. Then nothing of it
 * would show while the drive is away, and by `a` it must not: that may be another file's by then, on this drive or
 * on another. So each name that is given to an inode of the catalog's is recorded (POOL_MOVED_LINKED), which means
 * nothing by itself; and when a name goes, such a one, or one that whoever removes it has seen, is looked for on the
 * drive, and if it leads to the inode, it is recorded that what was at the one has the other now (POOL_MOVED_LIVES): for who
 * cannot look at the drive that is a rename. It is none for who looks for what stripes count on by another name (original.c):
 * the name may be lost in a power cut. The record is durable before the removal is answered: by the new name the file is
 * said to survive the loss of its drive from then on. By a name that the catalog has, and of which no rename is recorded, it shows
 * without that. Where the drive does not say whether a name leads there nothing is recorded: a name that went shows again then, rather
 * than that the file has none; and one that was to be replaced is not.
 *
 * Crash argument of that. (1) The link is made; (2) it is recorded; then the caller is told. (3) A name goes, with (4) either
 * record of it, as above. Of a name that another file is renamed to it is recorded before that rename is, since by that the name leads
 * to the other one; if the rename is not made after all it is taken back, as below. A cut before the rename leaves a file that shows by its new name
 * alone while its drive is away, and is restored by that. A process that is killed after (1) leaves a name of which nobody was told: if the other one goes
 * before the next scan, the file does not show while its drive is away. After (3): it shows by the one that went, as above.
 * A name that is linked directly on the drive, and that nobody has seen, is as one after (1). The one that was found may be
 * renamed or removed before (4): it is looked at once more after that, and if the drive says that it went, that is recorded.
 *
 * A name that its inode is given again, by a link, is no name that went: a record without a second path takes that back
 * (POOL_MOVED_UNDONE). It is added after the link was made; without it, as after a cut, the name does not show while the drive is away,
 * until the next scan, and is not restored by a rebuild of a part of the drive before that.
 *
 * Paths are relative to the drive's root, with the names as the drive lists them. Threads: any.
 */
#ifndef MRMR_POOL_MOVED_H
#define MRMR_POOL_MOVED_H

#include "pool/engine.h"

enum pool_moved_kind {
    POOL_MOVED_RENAME = 1, /* from became to; what was there before is elsewhere or gone */
    POOL_MOVED_EXCHANGE,   /* each became the other, in one step */
    POOL_MOVED_UNDONE,     /* the last record before that has the same paths and inodes is of what
                              was not made, or, without a path `to`, of a name that its inode has
                              again; of itself it is no rename */
    POOL_MOVED_REMOVED,    /* the name `from` went, and has no other path */
    POOL_MOVED_REPLACED,   /* the same, since something has it that the catalog does not know */
    POOL_MOVED_LINKED,     /* an inode of the catalog's was given the name `from`; no other path */
    POOL_MOVED_LIVES, /* the name `from` went, or is another's, and what it led to has the name `to` */
};
enum {
    POOL_MOVED_MOST = 16, /* places at which one file is looked for */
    POOL_MOVED_PATH_MOST = 1 << 16
};

/* --- for who renames --- */

/* To add: a descriptor, to be closed by the caller. */
mrmr_err pool_moved_open(int dirfd, int *ret_fd);
/* A file or a folder is about to be renamed. durable: needed wherever a stripe counts on it, or on
 * something in it. On failure nothing is to be renamed. */
mrmr_err pool_moved_add(int fd, int64_t drive, const char *from, const char *to,
    enum pool_moved_kind kind, bool durable);
/* The same, with the inodes of what is renamed and of what it is exchanged for (0: not known). */
mrmr_err pool_moved_add_inodes(int fd, int64_t drive, const char *from, const char *to,
    enum pool_moved_kind kind, const uint64_t inodes[2], bool durable);
/* After a name went: of what has this inode, and was born at that time (ns; 0: not known). MRMR_SPACE:
 * there are too many such records. */
mrmr_err pool_moved_add_gone(int fd, int64_t drive, const char *path, enum pool_moved_kind kind,
    uint64_t inode, int64_t btime);
/* The same of one that lives on at `to`; durable on return, since it is claimed by that name from then on. */
mrmr_err pool_moved_add_lives(
    int fd, int64_t drive, const char *path, const char *to, uint64_t inode);
/* After a name was made for an inode that the catalog has. MRMR_SPACE: as above. */
mrmr_err pool_moved_add_linked(int fd, int64_t drive, const char *path, uint64_t inode);

/* --- for who reads --- */

mrmr_err pool_moved_create(struct pool *pool);
void pool_moved_destroy(struct pool *pool);

struct pool_moved_paths {
    char *path[POOL_MOVED_MOST];
    size_t n;
    uint64_t stamp; /* another one whenever the records are others */
};
/* Where that which the catalog has at this path may be now: the likeliest first, which is where it
 * is if all renames of the records were made; not the path itself. Mostly there are none. */
mrmr_err pool_moved_paths(
    struct pool *pool, int64_t drive, const char *path, struct pool_moved_paths *ret_paths);
void pool_moved_paths_free(struct pool_moved_paths *paths);
/* Without names that may not last: those by which only POOL_MOVED_LIVES says that it lives on. */
mrmr_err pool_moved_paths_sure(
    struct pool *pool, int64_t drive, const char *path, struct pool_moved_paths *ret_paths);
/* The names that an inode was given, the latest first, not more than POOL_MOVED_MOST, each with its NUL: as they were then. */
mrmr_err pool_moved_linked(
    struct pool *pool, int64_t drive, uint64_t inode, struct mrmr_bytes *paths);
/* There are records of renames. False also if they cannot be read, which the log tells. */
bool pool_moved_any(struct pool *pool);
/* Some record of a rename on the drive has to do with the path: is of it, above it or below it. */
mrmr_err pool_moved_concerns(
    struct pool *pool, int64_t drive, const char *path, bool *ret_concerns);

/* --- for who cannot look at the drive: moved_steps.c, moved_now.h --- */

/* A drive's records, in order, as they are at one moment; without those that were taken back. */
struct pool_moved_steps {
    struct pool_moved_step {
        enum pool_moved_kind kind;
        char *from, *to;   /* owned; to NULL: of a name that went */
        uint64_t inode[2]; /* of such a one the second is the time of birth */
    } * step;
    size_t n;
    uint64_t stamp; /* another one whenever the drive's records are others */
};
mrmr_err pool_moved_steps(struct pool *pool, int64_t drive, struct pool_moved_steps *ret_steps);
void pool_moved_steps_free(struct pool_moved_steps *steps);
mrmr_err pool_moved_stamp(struct pool *pool, int64_t drive, uint64_t *ret_stamp, bool *ret_any);

struct pool_moved_now;
/* root: the node of the drive's root. As the records, and the catalog, are at this moment. */
mrmr_err pool_moved_now_create(
    struct pool *pool, int64_t drive, int64_t root, struct pool_moved_now **ret_now);
void pool_moved_now_destroy(struct pool_moved_now *now); /* NULL-safe */
/* The drive's records are those that it was made of; the stamp is pool_moved_stamp's. */
mrmr_err pool_moved_now_same(struct pool_moved_now *now, uint64_t stamp, bool *ret_same);
/* None of these by two threads at once. */
/* The path at which the catalog has what is at this path now, if it has it at all. MRMR_ABSENT: it
 * knows nothing that would be there. */
mrmr_err pool_moved_now_origin(
    const struct pool_moved_now *now, const char *path, struct mrmr_bytes *ret_path);
/* The path at which is now what the catalog has at this one. MRMR_ABSENT: it was removed, or replaced. */
mrmr_err pool_moved_now_place(
    const struct pool_moved_now *now, const char *path, struct mrmr_bytes *ret_path);
/* Something that the catalog knows was moved to somewhere below this folder. */
bool pool_moved_now_leads(const struct pool_moved_now *now, const char *folder);
/* Names in the folder to which such things lead, each with its NUL, sorted, once. */
mrmr_err pool_moved_now_names(
    const struct pool_moved_now *now, const char *folder, struct mrmr_bytes *names);
/* How much both have looked at so far: not more than n log n, of what lies below the folder. */
uint64_t pool_moved_now_looks(const struct pool_moved_now *now);

/* --- for the scan; POOL_OWN --- */

/* Bytes of records whose renames are done, or never will be. */
mrmr_err pool_moved_size(struct pool *pool, const struct pool_job *job, uint64_t *ret_size);
/* The same as a scan begins, before it walks. Until its end, after its last commit, all that has a name on a drive counts as known to the
 * catalog (writers.h). */
mrmr_err pool_moved_begin(struct pool *pool, const struct pool_job *job, uint64_t *ret_size);
void pool_moved_end(struct pool *pool);
/* A scan has ended: records of these drives within the first `size` bytes are done with, and what is
 * no record. A new epoch begins if the file is another now. A drive on which a change hangs keeps its
 * records, and drives[] is without it after. Those that were given up come last in it, and are not waited for; what is
 * recorded of one that is not among them stays, since it may have something still. */
mrmr_err pool_moved_drop(
    struct pool *pool, const struct pool_job *job, uint64_t size, int64_t drives[], size_t ndrives);
/* The same; `last` is asked while the writers stand still, and takes out those drives that keep their
 * records after all. */
typedef mrmr_err (*pool_moved_last)(void *arg, int64_t drives[], size_t *ndrives);
mrmr_err pool_moved_drop_after(struct pool *pool, const struct pool_job *job, uint64_t size,
    int64_t drives[], size_t ndrives, pool_moved_last last, void *arg);

/* --- between moved.c and moved_map.c --- */

#define MOVED_NAME "moved"

struct moved_record {
    int64_t drive;
    enum pool_moved_kind kind;
    const char *from, *to; /* in the bytes, as is the record */
    uint64_t inode[2];     /* of what was at from, and at to if that is exchanged; 0: not known. Of
                              a name that went the second is its time of birth */
    size_t at, size;
};
static inline bool moved_is_gone(enum pool_moved_kind kind)
{
    return kind == POOL_MOVED_REMOVED || kind == POOL_MOVED_REPLACED;
}
static inline bool moved_is_alone(enum pool_moved_kind kind) /* has no path `to` */
{
    return moved_is_gone(kind) || kind == POOL_MOVED_LINKED;
}
/* The first record at or after *at, which is then behind it; false: there is none. *waste: bytes of
 * which a digest may be computed for nothing; when none are left, no record is found any more. */
bool moved_next(
    const struct mrmr_bytes *bytes, size_t *at, size_t *waste, struct moved_record *ret_record);
/* The file from `offset` on. */
mrmr_err moved_read(int fd, uint64_t offset, struct mrmr_bytes *bytes);
enum { MOVED_WASTE = 64 << 20 };

#endif
