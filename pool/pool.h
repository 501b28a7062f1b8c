/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool: the one public header of the engine. tools/ and fuse/ see this and base/, nothing
 * below.
 *
 * A pool is a folder (the catalog, a lock) and the drives named in it. One process owns a pool for
 * writing; others may look (POOL_LOOK) at any time.
 *
 * Threads. A struct pool may be used from several threads for reads (pool_read, queries); jobs
 * (scan, protect, scrub, rebuild, …) run one at a time and take all their threads themselves.
 * Progress and notices are called from the job's own thread.
 *
 * Cancelling. A job looks at job->cancel at every leaf; it then returns MRMR_CANCELLED with
 * everything it had committed kept, and goes on from there the next time.
 *
 * Errors. A job goes on past what concerns one file, one stripe or one drive: it counts it, gives a
 * notice and records an event; it returns an error only if it cannot go on at all.
 *
 * Units: bytes; nanoseconds since 1970. Strings in results are owned by the result.
 */
#ifndef MRMR_POOL_POOL_H
#define MRMR_POOL_POOL_H

#include "base/bytes.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/thread.h"
#include "base/uuid.h"

#define POOL_REDUNDANCY_MAX 8

struct pool;

/* --- Life --- */

/* CATALOG: as LOOK, of what the catalog itself says, as events and settings: no drive is looked at or held, and the pool
 * has none. For who stays. */
enum pool_access { POOL_LOOK, POOL_OWN, POOL_CATALOG };

/* Make a new, empty pool in dir (made if missing; must be empty or hold nothing of a pool). */
mrmr_err pool_create(const char *dir);
/* who: the command's name, shown to others who find the pool busy (MRMR_BUSY names it and its
 * process). OWN finishes what a crash interrupted: intents are redone or undone before it returns.
 * A drive that is away, foreign or diverged does not fail the open; see pool_drives. */
mrmr_err pool_open(
    const char *dir, enum pool_access access, const char *who, struct pool **ret_pool);
/* Detaches the drives that were attached. NULL-safe. */
void pool_close(struct pool *pool);
const char *pool_home(const struct pool *pool); /* as it was given to pool_open */
/* Nobody else can decide what is done here by our rights: the folder, and the catalog in it, are this user's own or root's, and
 * nobody else may write them (base/ours.h). A catalog that is not there says nothing. MRMR_DENIED. */
mrmr_err pool_is_ours(const char *dir);
/* Until what served the pool at this mountpoint, where it was unmounted, has ended, and with it let go of the drives, or so long
 * has passed (ns). What is mounted elsewhere, too, is not waited for. */
mrmr_err pool_mount_ended(
    const char *dir, const char *mountpoint, int64_t timeout, bool *ret_ended);

/* --- Jobs --- */

struct pool_progress {
    const char *phase;           /* "scan", "compare", "protect", "mend", "scrub", "rebuild" */
    uint64_t bytes, bytes_total; /* total 0: not known */
    uint64_t items, items_total;
};

struct pool_job {
    struct mrmr_cancel *cancel; /* may be NULL */
    /* Both may be NULL. A notice is one thing a person should know now; warning: it needs a look.
     */
    void (*progress)(const struct pool_progress *progress, void *arg);
    void (*notice)(bool warning, const char *text, void *arg);
    void *arg;
};

/* From now on this process reads and writes files of drives with no more bytes a second than the setting `worker-rate` says,
 * for a job in the background; job->cancel, which must live to the end of the process, ends every wait for that. */
mrmr_err pool_job_slowly(struct pool *pool, const struct pool_job *job);

/* --- Drives --- */

struct pool_drive_spec {
    const char *uri;
    const char *name;   /* NULL: made from the URI */
    const char *role;   /* NULL: "data"; "parity" */
    const char *domain; /* NULL: its own */
    uint64_t reserve;   /* bytes to leave free */
    uint64_t max_usage; /* 0: no limit */
};
/* Takes a folder into the pool. Refused, with the reason and the next step: missing, unreadable, a
 * file, inside or around another drive or the pool's folder, already in this or another pool, a
 * mountpoint with nothing mounted (a root that was listed as one before). */
mrmr_err pool_drive_add(struct pool *pool, const struct pool_drive_spec *spec);

enum pool_presence {
    POOL_PRESENT,
    POOL_AWAY,     /* its root is not there, or holds no drive of ours */
    POOL_FOREIGN,  /* another drive, or another pool's, is at its root */
    POOL_DIVERGED, /* its session is neither the recorded nor the intended one (I5): read, never
                      written */
    POOL_FAILED, /* what is there cannot be used: it answers errors, or did to a mount, again and again */
    POOL_DETACHED, /* out of service by the user's word (pool_detach), whether it is there or not */
};

struct pool_drive_view {
    char name[64], uri[1024], domain[128], role[16], state[16];
    struct mrmr_uuid uuid;
    unsigned slot;
    enum pool_presence presence;
    char why[512];  /* if not present: cause and next step */
    char hold[160]; /* "" = none */
    uint64_t total, avail, reserve, max_usage;
    uint64_t files, file_bytes, protected_bytes, exposed_bytes, row_bytes;
    uint64_t
        touched; /* files that were written, made or removed through MRMR since it was looked through last, as far as is
                         known; UINT64_MAX: any may have been. What is new of them may be on it alone */
    int64_t scanned, seen;
    bool
        lost; /* nothing but the user's word, or its return, brings it back into service, and it may be given up: it is away, or
                  out of service for its errors; it was looked through, and is not held */
};
mrmr_err pool_drives(
    struct pool *pool, struct pool_drive_view **ret_views, size_t *ret_n); /* free() */
/* What of that is known without counting and without asking the drives: up to `hold`; the rest is 0. */
mrmr_err pool_drives_known(
    struct pool *pool, struct pool_drive_view **ret_views, size_t *ret_n); /* free() */

struct pool_detach_report {
    bool away; /* it was: it is marked, and that is all */
    uint64_t exposed_files,
        exposed_bytes; /* of it, known from the last scan: not to be read until it is back */
};
/* Takes a drive out of service, so that it can be unmounted: all that was acknowledged is on it, nobody has anything of it open, and
 * nobody uses it until pool_attach, or until it was seen gone and is there again. Its files are read by
 * reconstruction, as those of a drive that is away. MRMR_BUSY: a file of it is open for writing in the mount,
 * or in use there otherwise, or the mount does not answer: it stays in service. MRMR_EXISTS: it is detached
 * already. MRMR_CONFLICT: no other drive is in service. */
mrmr_err pool_detach(struct pool *pool, const struct pool_job *job, const char *drive,
    struct pool_detach_report *ret_report);
/* Back into service, also one that was taken out for its errors; it is there, in a session that is known (else why not). place (may be NULL): where it is now. Nothing to do for
 * one that is in service there. */
mrmr_err pool_attach(struct pool *pool, const char *drive, const char *place);

/* --- Settings --- */

/* Keys with their meaning, default and current value; unknown keys and values that make no sense
 * are MRMR_INVALID, naming what is understood. Drive settings are
 * "drive.NAME.reserve|max-usage|domain|role|name|uri". */
typedef mrmr_err (*pool_setting_fn)(
    const char *key, const char *value, const char *meaning, bool is_default, void *arg);
mrmr_err pool_set(struct pool *pool, const char *key, const char *value);
mrmr_err pool_get(struct pool *pool, const char *key, struct mrmr_bytes *value); /* appends */
mrmr_err pool_settings(struct pool *pool, pool_setting_fn fn, void *arg);

/* The wanted redundancy r. Refused if the drives at hand cannot give it. Takes effect by pool_sync
 * (rows are added or dropped, nothing else is touched). */
mrmr_err pool_set_redundancy(struct pool *pool, unsigned rows);
unsigned pool_redundancy(struct pool *pool);

/* --- Scan and protect --- */

struct pool_sync_options {
    bool accept_changes; /* what is held is right, and what nothing can give back is given up */
    /* Seconds: what is exposed of a file that changed less than so long ago, by its times as the scan
     * saw them, stays exposed and waits for another run. A time to come counts from when the bytes
     * were found. 0: all is taken. Stripes that lost bytes are mended all the same. */
    uint64_t settle;
    /* Nothing but a release; the other options say nothing then. Old bytes that are kept since they were
     * removed or overwritten through a mount are taken out of parity, and let go of. Nothing is scanned, nothing new is
     * protected, and no file's bytes are read but those that leave (and those of a stripe of which a row must be made anew). It works
     * while drives are held, full or away, and makes no stripe survive less. What waits:
     *   - stripes with a row on a drive that is away, or cannot be written, while no other drive has
     *     room for that row beside its slack; and what is kept on a drive that is away;
     *   - what was overwritten on a drive that is held, and what vanished or changed there otherwise:
     *     for the user's word;
     *   - files of which some counted bytes are not kept, or not right: for a sync, which judges them;
     *   - what a full drive's file counts for since it was brought to another one: until a sync has met it there.
     * A file that was overwritten has its new bytes exposed before and after; of its old version, what
     * was overwritten cannot be reconstructed any more. */
    bool release;
};
struct pool_sync_report {
    uint64_t files, added, changed, moved, vanished, unreadable; /* of the scan */
    uint64_t held; /* files whose change or disappearance is held */
    uint64_t drives_held, drives_away;
    uint64_t protected_bytes, protected_files; /* newly */
    uint64_t stripes_made, stripes_changed, rows_made, rows_dropped;
    uint64_t skipped; /* files that changed while they were read, or could not be read */
    uint64_t exposed_bytes, exposed_files; /* left */
    /* Of those: what waits because it has not settled; nothing is wrong with it. */
    uint64_t waiting_bytes, waiting_files;
    int64_t settles;     /* real time: when the first of them will have; 0: none waits */
    uint64_t settle;     /* as it was asked for */
    uint64_t lost_bytes; /* wanted bytes that no survivor can give back */
    int64_t looking;     /* ns, for looking at the drives, whether anything is found or not */
    /* Of a release alone. */
    uint64_t released_bytes; /* given back to the drives, as far as it is known by size */
    uint64_t release_waits;  /* stripes in which old bytes still count that are retained */
    char release_cause[512]; /* of the first of them; "": none waits */
    bool
        release_left_out; /* a drive is away, or not all of it could be seen: something may be kept there yet */
    uint64_t
        retained_leaves; /* leaves that were found removed or overwritten since the last scan */
};
/* Scan all drives that are present, compare what changed, mend stripes that lost bytes, add or drop
 * rows, protect what is exposed: of each drive what has been so for longest first. options: NULL for
 * all zero. */
mrmr_err pool_sync(struct pool *pool, const struct pool_job *job,
    const struct pool_sync_options *options, struct pool_sync_report *ret_report);
/* The scan alone, and everything after it alone. */
mrmr_err pool_scan(struct pool *pool, const struct pool_job *job, bool accept_changes,
    struct pool_sync_report *ret_report);
mrmr_err pool_protect(struct pool *pool, const struct pool_job *job,
    const struct pool_sync_options *options, struct pool_sync_report *ret_report);

/* --- Scrub --- */

struct pool_scrub_options {
    unsigned percent;    /* of all stripes, those not scrubbed for longest; 0 or 100: all */
    uint64_t older_than; /* seconds since the last scrub; 0: any */
    uint64_t
        done; /* so many stripes of that part were scrubbed before, by scrubs that were cut short */
    bool repair;
};
struct pool_scrub_report {
    uint64_t stripes, stripes_total, bytes; /* bytes read and compared */
    uint64_t edited; /* files that were edited since the scan: nothing is wrong, the next sync takes
                        them in */
    uint64_t damaged, damaged_bytes; /* leaves of files whose bytes rotted */
    uint64_t rows_damaged;
    uint64_t copies_damaged;                /* of the catalog, on drives */
    uint64_t repaired, rows_repaired, lost; /* files, rows, files that could not be repaired */
    uint64_t unreadable; /* stripes that could not be looked at in full: a drive is away */
};
mrmr_err pool_scrub(struct pool *pool, const struct pool_job *job,
    const struct pool_scrub_options *options, struct pool_scrub_report *ret_report);

/* --- Rebuild --- */

struct pool_rebuild_options {
    const char *drive; /* the drive whose content comes back */
    const char *onto;  /* NULL: where it was if it is present, else into free space anywhere; the
                          name of an empty drive: that one takes its place */
    const char
        *path; /* NULL: all; only what lies at or below it, by the names of ls if the drive is
                           away, and under those */
    bool accept_losses; /* give it up though some of it waits for others that are away; else
                           MRMR_OFFLINE, and nothing has changed */
    bool
        if_lost; /* give it up only where nothing speaks against it, as it is now: it is lost (pool_drive_view), nothing is known to
                     be on it alone, and no more drives are out of service than the redundancy. Else report.not_lost, and nothing was
                     done. One that was given up goes on */
};
struct pool_rebuild_report {
    uint64_t files, folders, others, bytes; /* restored */
    uint64_t kept;                          /* already there with the right bytes */
    uint64_t conflicts;                     /* another file is there: left alone */
    uint64_t rows, row_bytes;
    uint64_t failed, failed_bytes; /* could not be recovered */
    uint64_t incomplete,
        missing_bytes; /* files of which not all could be: what could is beside its place; and how much not */
    uint64_t
        older; /* of files: written to after the last scan on the drive that is given up, and as they were at that scan */
    bool not_lost; /* if_lost: it is in service, or what is on it may be wanted */
};
mrmr_err pool_rebuild(struct pool *pool, const struct pool_job *job,
    const struct pool_rebuild_options *options, struct pool_rebuild_report *ret_report);

/* --- Looking --- */

struct pool_status {
    unsigned redundancy;
    uint64_t drives, drives_present, drives_detached;
    uint64_t files, file_bytes, exposed_files, exposed_bytes, row_bytes, stripes;
    uint64_t touched_files; /* of all drives; UINT64_MAX: any may have been (pool_drive_view) */
    int64_t touched_oldest; /* when the first of these was; 0: there are none, or it is not known */
    int64_t exposed_oldest; /* of what scans have seen; 0: none */
    uint64_t
        margin[POOL_REDUNDANCY_MAX + 1]; /* stripes that can lose exactly i further drives now */
    uint64_t lost_stripes;               /* some of their wanted bytes cannot be read now */
    uint64_t degraded_bytes;             /* wanted bytes that only reconstruction can give now */
    uint64_t detached_bytes;             /* of these, on drives that are detached */
    uint64_t
        detached_stripes;   /* can lose fewer further drives than wanted because of those alone */
    uint64_t damaged_bytes; /* wanted bytes of present drives that are rotten, or held */
    uint64_t held_files, held_drives;
    uint64_t storable_bytes; /* what can still be stored and protected */
    uint64_t domain_unsafe;  /* stripes with more than r members in one domain */
    uint64_t conflicts;      /* paths that lie on several drives */
    uint64_t direct_files;   /* in use through a mount's passthrough, or may be: left out by sync */
    uint64_t noted; /* warnings of mounts and readers that no sync or scrub has told of yet */
    uint64_t
        suspect_stripes; /* in which readers found something wrong; no scrub has looked since */
};
mrmr_err pool_status(struct pool *pool, struct pool_status *ret_status);

/* An event, once a day for each of the two, if something has been exposed for longer than the setting `exposed-alarm`, or was changed through a mount
 * longer ago and no scan has taken it in since: none has looked, or its drive is held. */
mrmr_err pool_exposed_alarm(struct pool *pool, const struct pool_status *status);

enum pool_type { POOL_FILE, POOL_FOLDER, POOL_SYMLINK, POOL_OTHER };
struct pool_entry {
    const char *name; /* of ls: the entry's; of where: the path */
    const char *drive;
    enum pool_type type;
    uint32_t mode, uid, gid;
    uint64_t size, exposed_bytes;
    int64_t mtime;
    uint64_t version;
    int survives; /* how many further drives' loss every byte survives; -1: some byte is lost now */
    bool present; /* its drive is there */
    bool degraded; /* readable only by reconstruction */
};
typedef mrmr_err (*pool_entry_fn)(const struct pool_entry *entry, void *arg);
/* A folder of the pool, merged over all drives, sorted by name, as the last scan saw it, and with what
 * was renamed or removed through a mount since; the copies of one path come one
 * after another, newest first. */
mrmr_err pool_ls(struct pool *pool, const char *path, pool_entry_fn fn, void *arg);
/* Every copy of one path, by the names of the same, and by what is on the drives that answer: of what is new there,
 * another one than the last scan saw, or has a name more than that saw, version is 0 and exposed_bytes the size. MRMR_ABSENT. */
mrmr_err pool_where(struct pool *pool, const char *path, pool_entry_fn fn, void *arg);

struct pool_event {
    int64_t id, time; /* id 0: noted by who does not own the pool, and not in the catalog yet */
    const char *kind, *drive, *text;
    bool warning;
};
typedef mrmr_err (*pool_event_fn)(const struct pool_event *event, void *arg);
/* The last of them (0: all) with id > after, oldest first, and after them what was noted; those count, too. */
mrmr_err pool_events(struct pool *pool, int64_t after, size_t last, pool_event_fn fn, void *arg);

/* Each event once, as it comes. Of those that are there at the beginning, with id > after, the last of them
 * (SIZE_MAX: all). One that was noted is told of then, and not again when it gets an id. The pool must outlive it; one
 * thread at a time. */
struct pool_follow;
mrmr_err pool_follow_create(
    struct pool *pool, int64_t after, size_t last, struct pool_follow **ret_follow);
void pool_follow_destroy(struct pool_follow *follow); /* NULL-safe */
/* To be polled for reading, until the next look: something may be new, at once or in a moment. It does not tell of
 * everything (another computer's changes, for one), so look every second, too. -1: it tells of nothing. */
int pool_follow_fd(const struct pool_follow *follow);
/* Calls fn with what is new, oldest first, with nothing held; what it returned an error for, which is returned, and
 * what comes after that, is new again. MRMR_CHANGED: the catalog is another one now. */
mrmr_err pool_follow_look(struct pool_follow *follow, pool_event_fn fn, void *arg);
/* Of the last one that was told of and has one. */
int64_t pool_follow_id(const struct pool_follow *follow);

/* --- Hearing --- */

/* Until `until` can be read: calls changed, on this thread, when something was changed directly on a drive of this computer, or may have been,
 * as where one came or went; soon, and for all that comes within a moment once. What is changed below .mrmr, or
 * excluded, and times of access alone are no changes. As long as a mount of the pool is there, which tells of itself what it sees, nothing is
 * called, and no drive followed. It is not told of everything: not on drives that tell of nothing (remote ones), nor in folders past
 * the system's limit of watches or past 100,000 of a drive, and not of writes through a mapping until the file is closed; that is said once
 * in the log, and found by the next scan.
 * The drives are those that the catalog has at the beginning, and so is the setting `exclude`. None is held: each can be unmounted but
 * for the moments in which its folders are looked through. One that goes is looked for every few seconds; not where
 * the system would mount something for that (autofs), and such a one that it has unmounted has not changed. One that hangs
 * holds up nothing else. *ret_hangs: threads are left that wait for one, and use the pool still, which is never to be closed then. The pool: POOL_CATALOG. */
mrmr_err pool_hear(
    struct pool *pool, int until, void (*changed)(void *arg), void *arg, bool *ret_hangs);

/* --- Reading --- */

struct pool_file;
enum pool_read_flag {
    POOL_READ_VERIFY = 1, /* check the bytes of a present drive, too */
    POOL_READ_DECODE = 2, /* do not even try the original: reconstruct (tests, scrub) */
};
/* The newest copy of a path, by the names of ls; reads go on by reconstruction when its drive is away or its bytes are
 * wrong. Threads may share it. */
mrmr_err pool_file_open(
    struct pool *pool, const char *path, unsigned flags, struct pool_file **ret_file);
uint64_t pool_file_size(const struct pool_file *file);
mrmr_err pool_file_read(
    struct pool_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
void pool_file_close(struct pool_file *file);

/* --- The live tree ---
 *
 * The pool as one tree, as it is on the drives at this moment. What is there is found on the drives
 * themselves; the catalog answers for drives that are away, orders copies of one path, and leads to
 * the parity from which bytes are reconstructed.
 *
 * Names. A node is a file or folder of the tree, known by its number: of a drive and of its inode
 * there, so the same across restarts and renames on that drive. Lookup holds a node once more,
 * forget lets go. The root is POOL_ROOT and always held.
 *
 * One tree of several drives. A folder shows what it holds on all drives. A path that is a folder on
 * one drive and a file on another is the folder. Of several files the newest by the catalog's order
 * shows; one that the catalog has not seen as it is now is newer than all it has, and among those the mtime
 * decides. A folder's mode, owner and attributes are those on the drive that has been in the pool
 * longest, of those where it lies; its times are the newest. .mrmr, lost+found and what the setting
 * `exclude` names are not in the tree, nor are file systems mounted below a root, or btrfs subvolumes
 * there.
 *
 * Freshness. Each answer says for how long it may be kept: as long as events tell of every change
 * (POOL_KEEP), else for a second, or for as long as reading it took; of a drive that can never tell, for
 * the setting remote-ttl. Folders are watched from the first look into them until their node is let go
 * of. A file with several names, or one written through a shared mapping, is told of late or not: it
 * may be kept for a second.
 *
 * Drives. Ops run with a deadline on threads of the drive. One that does not answer is taken out of
 * service, and looked at again every few seconds; it comes back when what is at its root proves to
 * be the drive in a session that the catalog knows. Meanwhile its folders are listed from the
 * catalog, and its files read by reconstruction.
 *
 * Changes. A new file or folder lies on the least-used drive with room, and what it lies in is made
 * there as it is elsewhere; a link lies with its target, a renamed file stays on its drive. What is
 * done to a folder's attributes is done on all its drives. Removing, renaming or replacing a name is
 * done to all copies of it, hidden ones included. Bytes that stripes count on are kept before they
 * change (I3), whoever changes them here. Nothing can be changed on a drive that is away
 * (MRMR_OFFLINE) but what lies elsewhere, and only what is acknowledged is done: nothing is written
 * later. Where a change takes several drives and one of them fails, it may be half done, and says so
 * with an error; no bytes are lost by it.
 *
 * Callers. Changes are made with the rights of the caller (NULL: of the process), and what is new is
 * the caller's, where the process is root; else with its own. Whether the caller may do what it asks
 * is to be asked of the folder as it is shown before, as the kernel does (default_permissions).
 *
 * Threads: any call from any thread; but one caller at a time changes names in one folder. The events' functions are called from threads of the tree's
 * own, with no lock held; they may block, but not call the tree. */

struct pool_tree;
#define POOL_ROOT UINT64_C(1)
#define POOL_KEEP INT64_MAX

enum pool_kind { POOL_REG, POOL_DIR, POOL_LNK, POOL_FIFO, POOL_SOCK, POOL_CHR, POOL_BLK };

struct pool_attr {
    uint64_t node;
    uint64_t generation; /* tells apart files that had the same number one after another */
    enum pool_kind kind;
    uint32_t mode, uid, gid, nlink; /* mode: 07777; of a folder nlink is 1: not counted */
    uint64_t size, allocated, rdev;
    int64_t mtime, ctime, atime;
    int64_t keep; /* ns that all of this may be kept */
    int64_t
        keep_name; /* of what was found or made by its name: ns that the name is known to lead to it */
};

struct pool_tree_events {
    /* The name in this folder may lead elsewhere now, or nowhere. */
    void (*name_changed)(uint64_t folder, const char *name, void *arg);
    /* Its attributes may have changed, its bytes too, or, of a folder, its list of names. */
    void (*node_changed)(uint64_t node, bool bytes, void *arg);
    void *arg;
};

/* The pool must have been opened for it alone, and stay open. events may be NULL. */
mrmr_err pool_tree_open(
    struct pool *pool, const struct pool_tree_events *events, struct pool_tree **ret_tree);
/* This process shows it there: whoever would mount it, too, is told. Nothing else comes of it. */
void pool_tree_shown_at(struct pool_tree *tree, const char *mountpoint);
/* Every file and folder of it closed by then; held nodes are let go of. NULL-safe. */
void pool_tree_close(struct pool_tree *tree);

/* MRMR_ABSENT also sets *ret_keep: how long that may be kept. name "." : the node itself. */
mrmr_err pool_tree_lookup(struct pool_tree *tree, uint64_t folder, const char *name,
    struct pool_attr *ret_attr, int64_t *ret_keep);
void pool_tree_forget(struct pool_tree *tree, uint64_t node, uint64_t times);
mrmr_err pool_tree_attr(struct pool_tree *tree, uint64_t node, struct pool_attr *ret_attr);
/* Appends a path that led to it last; no drive is asked. MRMR_ABSENT: none does any more. */
mrmr_err pool_tree_path(struct pool_tree *tree, uint64_t node, struct mrmr_bytes *path);
mrmr_err pool_tree_readlink(struct pool_tree *tree, uint64_t node, struct mrmr_bytes *target);
/* Attributes of the file, without user.mrmr.*: those are asked for by name. */
typedef mrmr_err (*pool_xattr_fn)(const char *name, const void *value, size_t size, void *arg);
mrmr_err pool_tree_xattrs(struct pool_tree *tree, uint64_t node, pool_xattr_fn fn, void *arg);
/* Appends. MRMR_NO_ATTR; MRMR_ABSENT: the file itself is not there. user.mrmr.drive, .protection, .exposed and .version are the pool's word.
 * What is claimed of a file holds for each of its names: of one that has a name more than a scan has seen nothing is claimed. */
mrmr_err pool_tree_xattr(
    struct pool_tree *tree, uint64_t node, const char *name, struct mrmr_bytes *value);

/* A folder's names in the order of a hash of theirs, which does not depend on what else is there: a
 * place in the list stays the same while names come and go, across opens. */
struct pool_dir_entry {
    const char *name;
    uint64_t node; /* 0: neither that nor the kind is known */
    enum pool_kind kind;
    uint64_t next;                /* the place after it */
    const struct pool_attr *attr; /* if wanted, and it could be had: the node is held once more */
};
/* Stop by returning false: the entry was not taken, and is let go of again. */
typedef bool (*pool_dir_fn)(const struct pool_dir_entry *entry, void *arg);
/* From a place on, 0 being the beginning; without "." and "..". A name that cannot be looked at now is in it
 * as it was seen last. MRMR_IO after all that is known: a drive that answers could not read the folder. */
mrmr_err pool_tree_list(
    struct pool_tree *tree, uint64_t folder, uint64_t place, bool attrs, pool_dir_fn fn, void *arg);
/* Reads the folder, if it was not. The version changes whenever the list of names may have; 0: that
 * cannot be told. */
mrmr_err pool_tree_list_version(struct pool_tree *tree, uint64_t folder, uint64_t *ret_version);
/* The folder that a folder lies in; the root's is the root. */
mrmr_err pool_tree_parent(struct pool_tree *tree, uint64_t folder, uint64_t *ret_parent);

/* An open file stays what it was at open: its bytes come from its drive while that answers, then
 * from parity, verified, if the catalog knows this content. Threads may share it. */
struct pool_tree_file;
/* *ret_same: nothing has changed since the last open, as far as can be told. */
mrmr_err pool_tree_file_open(struct pool_tree *tree, uint64_t node, bool writing,
    struct pool_tree_file **ret_file, bool *ret_same);
/* Short only at the end of the file. */
mrmr_err pool_tree_file_read(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
/* The next data (or the next hole) at or after offset; at the end of the last data the file's size.
 * MRMR_ABSENT: there is no more. */
mrmr_err pool_tree_file_seek(
    struct pool_tree_file *file, uint64_t offset, bool hole, uint64_t *ret_offset);
mrmr_err pool_tree_file_attr(struct pool_tree_file *file, struct pool_attr *ret_attr);
void pool_tree_file_close(struct pool_tree_file *file); /* NULL-safe */

/* Its bytes are written as this user from now on, by whoever writes them: so that quotas, and the room
 * that a file system keeps for root, are as on any disk. Before the first of them; one that was created
 * by a caller is his. */
struct pool_caller;
void pool_tree_file_act(struct pool_tree_file *file, const struct pool_caller *caller);

/* --- Past the tree (passthrough) ---
 *
 * The kernel may read and write a file on its drive itself, without a word to the tree, if no stripe
 * counts on any byte of it; and no stripe will, whoever protects the pool, until nobody uses it that way any
 * more, through a mapping that outlived its descriptor included. Whoever asks for one open file of a
 * node must ask for each: all that are open at a time are used in the same way. What the drive answers
 * is what people get: errors, and a full disk; the file does not go to another drive meanwhile. */

/* From now on, for as long as the tree is open. MRMR_READONLY: nothing may be changed in this pool. */
mrmr_err pool_tree_direct(struct pool_tree *tree);
/* For a file that was just opened: what give returned for it, or did for another one of the node that is
 * in use directly; 0: it is used as any other. give is called with no lock held, with a descriptor that
 * is open during the call only; it returns a number that stands for it, or 0: then it is used as any
 * other. */
int pool_tree_file_direct(
    struct pool_tree_file *file, int (*give)(int descriptor, void *arg), void *arg);
/* Before it is closed. The number, if this was the last file that it stood for, else 0: it is never
 * given again. */
int pool_tree_file_undirect(struct pool_tree_file *file);

/* Whole, or an error: then part of it may be written. */
mrmr_err pool_tree_file_write(
    struct pool_tree_file *file, uint64_t offset, const void *buf, size_t size);
/* The same where the file ends on its drive, whatever the caller believes; who believed otherwise is told
 * that the bytes are not what he has. What is appended on the drive at the same instant may be lost. */
mrmr_err pool_tree_file_append(
    struct pool_tree_file *file, uint64_t believed, const void *buf, size_t size);
/* As fallocate(2) does it. */
enum pool_range {
    POOL_RANGE_ALLOCATE,
    POOL_RANGE_ALLOCATE_KEEP, /* the size stays */
    POOL_RANGE_PUNCH,
    POOL_RANGE_ZERO,
    POOL_RANGE_ZERO_KEEP,
};
/* MRMR_UNSUPPORTED where the drive cannot do that one. */
mrmr_err pool_tree_file_range(
    struct pool_tree_file *file, enum pool_range what, uint64_t offset, uint64_t size);
/* Up to size bytes, shared where the drive can; may copy fewer, 0 only at the end of `from`.
 * MRMR_CROSS_DEVICE: they lie on different drives. */
mrmr_err pool_tree_file_copy(struct pool_tree_file *from, uint64_t from_offset,
    struct pool_tree_file *to, uint64_t to_offset, uint64_t size, uint64_t *ret_copied);
/* Its bytes are durable on its drive. MRMR_IO: something that was acknowledged before, through whichever
 * file, may be lost with a drive; each open file of it is told once. */
mrmr_err pool_tree_file_sync(struct pool_tree_file *file);

/* --- Changing the live tree --- */

struct pool_caller {
    uint32_t uid, gid;
    const uint32_t *groups; /* supplementary ones */
    size_t ngroups;
    uint32_t umask; /* of new things; none where a folder hands down a default ACL */
};

/* Bytes of files that this thread changes from now on it changes as the caller, whose change takes
 * set-id bits away where root's does not; NULL: as the process. Nothing else is done as the caller. */
void pool_tree_change_as(const struct pool_caller *caller);
/* False: the file has no set-id bits. Mostly known without asking its drive. */
bool pool_tree_may_be_setid(struct pool_tree *tree, uint64_t node);

/* False: the pool's folder cannot be written, and every change is MRMR_READONLY. */
bool pool_tree_writable(const struct pool_tree *tree);

/* MRMR_EXISTS. The new node is held once. */
struct pool_new {
    enum pool_kind kind;
    uint32_t mode;
    uint64_t rdev;      /* of a device */
    const char *target; /* of a symlink */
};
mrmr_err pool_tree_make(struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder,
    const char *name, const struct pool_new *what, struct pool_attr *ret_attr);
/* A regular file, open for reading and writing. MRMR_EXISTS. */
mrmr_err pool_tree_create(struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder,
    const char *name, uint32_t mode, struct pool_attr *ret_attr, struct pool_tree_file **ret_file);
/* The same without a name, on the drive of a file that would be made in this folder: it is gone when
 * nobody has it open, unless pool_tree_link gives it a name. MRMR_UNSUPPORTED: no drive can do that. */
mrmr_err pool_tree_create_unnamed(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t folder, uint32_t mode, struct pool_attr *ret_attr, struct pool_tree_file **ret_file);
/* A further name of a node, which is held once more. */
mrmr_err pool_tree_link(struct pool_tree *tree, const struct pool_caller *caller, uint64_t node,
    uint64_t folder, const char *name, struct pool_attr *ret_attr);
/* A name of anything but a folder. */
mrmr_err pool_tree_unlink(
    struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder, const char *name);
mrmr_err pool_tree_rmdir(
    struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder, const char *name);
/* MRMR_CROSS_DEVICE: two drives would have to exchange. */
enum pool_rename_flag { POOL_RENAME_NOREPLACE = 1, POOL_RENAME_EXCHANGE = 2 };
mrmr_err pool_tree_rename(struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder,
    const char *name, uint64_t to_folder, const char *to_name, unsigned flags);
/* A folder that somebody has open, to sync it: its names are durable on its drives. MRMR_IO: some that
 * were acknowledged before may be lost with a drive; each that is open is told once. */
struct pool_tree_folder;
mrmr_err pool_tree_folder_open(
    struct pool_tree *tree, uint64_t folder, struct pool_tree_folder **ret_folder);
void pool_tree_folder_close(struct pool_tree_folder *folder); /* NULL-safe */
mrmr_err pool_tree_folder_sync(struct pool_tree_folder *folder);

enum pool_set {
    POOL_SET_MODE = 1,
    POOL_SET_UID = 2,
    POOL_SET_GID = 4,
    POOL_SET_SIZE = 8,
    POOL_SET_ATIME = 16,
    POOL_SET_MTIME = 32,
};
#define POOL_TIME_NOW INT64_MAX /* as atime or mtime */
/* file: an open one of the node, or NULL. Of a symlink, the link's own. */
mrmr_err pool_tree_set(struct pool_tree *tree, const struct pool_caller *caller, uint64_t node,
    struct pool_tree_file *file, unsigned what, const struct pool_attr *set,
    struct pool_attr *ret_attr);
/* value NULL: remove it. MRMR_EXISTS, MRMR_ABSENT as the flags ask. */
enum pool_xattr_flag { POOL_XATTR_CREATE = 1, POOL_XATTR_REPLACE = 2 };
mrmr_err pool_tree_set_xattr(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t node, const char *name, const void *value, size_t size, unsigned flags);

struct pool_tree_space {
    uint64_t total, avail; /* bytes; avail: what can still be stored and protected */
    uint64_t files, files_avail;
};
mrmr_err pool_tree_space(struct pool_tree *tree, struct pool_tree_space *ret_space);

/* --- The invariants, executed --- */

/* Checks I1–I7 against drives and catalog, reading every byte (deep) or names and sizes only. Each
 * finding is told to fn; returns MRMR_CORRUPT if there was any. Changes nothing. */
mrmr_err pool_check(
    struct pool *pool, bool deep, void (*fn)(const char *finding, void *arg), void *arg);

#endif
