/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the scan share (scan*.c, compare.c); everyone else uses pool/engine.h.
 *
 * scan.c runs it, scan_team.c has the threads and the transaction, scan_walk.c compares a drive
 * with the catalog, scan_find.c knows what had another name, scan_judge.c decides what of that takes
 * effect, scan_moved.c looks for what was renamed meanwhile, scan_apply.c carries it out.
 *
 * Lock order: the team's lock is taken with nothing held; its gate before the catalog's mutex.
 */
#ifndef MRMR_POOL_SCAN_H
#define MRMR_POOL_SCAN_H

#include "pool/engine.h"
#include "pool/records/brought.h"
#include "pool/records/touched.h"
#include "pool/retained/retained.h"

#include <stdatomic.h>

/* --- scan_set.c: small collections --- */

/* A set of node ids (positive). Zero-initialise. One thread at a time. */
struct pool_scan_ids {
    int64_t *slot;
    size_t n, room;
};
mrmr_err pool_scan_ids_add(struct pool_scan_ids *ids, int64_t id);
bool pool_scan_ids_has(const struct pool_scan_ids *ids, int64_t id);
void pool_scan_ids_free(struct pool_scan_ids *ids);

/* A list of node ids in the order they were added. */
struct pool_scan_list {
    int64_t *id;
    size_t n, room;
};
mrmr_err pool_scan_list_add(struct pool_scan_list *list, int64_t id);
void pool_scan_list_free(struct pool_scan_list *list);

/* The HELD changes of a drive by node, as they were when the scan began. */
struct pool_scan_held {
    struct meta_change *change; /* sorted by node */
    size_t n;
};
mrmr_err pool_scan_held_load(struct meta *meta, int64_t drive, struct pool_scan_held *ret_held);
const struct meta_change *pool_scan_held_find(const struct pool_scan_held *held, int64_t node);
void pool_scan_held_free(struct pool_scan_held *held);

/* --- scan_exclude.c: what is left out --- */

struct pool_scan_excludes {
    char *text;
    const char **pattern;
    size_t n;
};
/* The setting "exclude": globs separated by ':' or line ends; of names, or of paths where they
 * contain a '/'. */
mrmr_err pool_scan_excludes_load(struct pool *pool, struct pool_scan_excludes *ret_excludes);
void pool_scan_excludes_free(struct pool_scan_excludes *excludes);
/* Whether an entry of this folder ("" = the root) is left out. */
bool pool_scan_excluded(
    const struct pool_scan_excludes *excludes, const char *folder, const char *name);

/* --- scan_leaves.c: which leaves of a file hold data --- */

struct pool_scan_run {
    uint64_t first, leaves, bytes;
};
struct pool_scan_leaves {
    struct pool_scan_run *run;
    size_t n, room;
};
/* Of a file of that size: all leaves, or where it has holes those with data. One that cannot be
 * looked at counts as all data. MRMR_NOMEM. */
mrmr_err pool_scan_leaves_of(struct drv *drv, const char *path, const struct drv_stat *stat,
    struct pool_scan_leaves *leaves);
mrmr_err pool_scan_leaves_expose(struct meta *meta, int64_t drive, int64_t node,
    const struct pool_scan_leaves *leaves, int64_t since);
/* Those that neither a wanted extent nor an exposed range covers. */
mrmr_err pool_scan_leaves_expose_rest(struct meta *meta, int64_t drive, int64_t node,
    const struct pool_scan_leaves *leaves, int64_t since);
void pool_scan_leaves_free(struct pool_scan_leaves *leaves);

/* --- scan_team.c: one thread a drive, one transaction --- */

struct pool_scan_team;

struct pool_scan_worker {
    struct pool_drive *drive;
    struct pool_scan_team *team;
    void *arg;
    /* Set by the work before it returns an error that concerns this drive alone. */
    bool stopped;
    mrmr_err err; /* how it ended; read after the run */
    struct mrmr_story story;
    unsigned told; /* notices so far */
    pthread_t thread;
};
typedef mrmr_err (*pool_scan_work)(struct pool_scan_worker *worker);

struct pool_scan_note;
struct pool_scan_team {
    struct pool *pool;
    const struct pool_job *job;
    const char *phase;
    pool_scan_work work;

    /* A checkpoint never falls into a group of writes: groups hold it for reading. */
    pthread_rwlock_t gate;
    atomic_uint_fast64_t writes, items, bytes;
    atomic_bool stop;

    pthread_mutex_t lock;
    pthread_cond_t moved; /* for the owner: a note, a worker that ended */
    pthread_cond_t room;  /* for workers: notes were taken */
    /* Guarded by lock. */
    size_t running, nnotes;
    struct pool_scan_note *first, *last;
    mrmr_err err; /* what ended the whole run */
    struct mrmr_story story;
};
/* Runs the work for each worker in a transaction of its own, tells their notes and the progress
 * from this thread, and commits what was written, also after MRMR_CANCELLED; another error that is
 * not one drive's own rolls back to the last checkpoint. */
mrmr_err pool_scan_team_run(struct pool *pool, const struct pool_job *job, const char *phase,
    struct pool_scan_worker workers[], size_t n, pool_scan_work work);
/* The work of one worker in this thread, inside a transaction that the caller has begun and ends.
 */
mrmr_err pool_scan_team_alone(struct pool *pool, const struct pool_job *job, const char *phase,
    struct pool_scan_worker *worker, pool_scan_work work);
/* Around writes that belong together. */
void pool_scan_write_begin(struct pool_scan_worker *worker);
void pool_scan_write_end(struct pool_scan_worker *worker, unsigned writes);
/* MRMR_CANCELLED also when another worker ended the run. */
mrmr_err pool_scan_poll(struct pool_scan_worker *worker);
/* An event and a notice, a warning unless said otherwise, through the owner; beyond the first few of a
 * worker they are only logged. */
void pool_scan_note(struct pool_scan_worker *worker, const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void pool_scan_note_story(
    struct pool_scan_worker *worker, bool warning, const char *kind, const char *what);

/* --- scan_walk.c --- */

struct pool_scan_place;

/* One drive's scan, from the walk to the judgement. */
struct pool_scan_drive {
    struct pool *pool;
    struct pool_drive *drive;
    const struct pool_job *job;
    const struct pool_scan_excludes *excludes;
    const struct pool_touched *touched;        /* from the judgement on */
    const struct pool_touched *touched_before; /* when the scan began */
    const struct pool_brought *brought;        /* likewise */
    struct pool_gone *gone;                    /* of what has no inode number */
    bool was_held;                             /* then */
    struct pool_scan_worker *worker;
    struct pool_scan_held held;
    bool accept;
    bool blank;     /* the catalog knew nothing on it before */
    bool unclean;   /* the power went while it was attached */
    bool replacing; /* its content is being restored: what is not there has not vanished */
    int64_t now;
    uint64_t dev;

    struct pool_scan_place *todo, *later; /* folders still to look at: last in, first out */
    struct pool_scan_ids appeared;        /* folders found under another name */
    struct pool_scan_ids renewed;  /* folders with another inode that were compared all the same */
    struct pool_scan_ids hidden;   /* nodes over which something is mounted */
    struct pool_scan_ids stranded; /* nodes that may not have their new name yet */
    struct pool_scan_ids replaced; /* nodes whose name has become another thing's */
    struct pool_scan_list revisit; /* folders in which such a name waits for the judgement */
    struct mrmr_bytes unseen;      /* paths that could not be looked at, each with its NUL */

    uint64_t files, added, added_files, unreadable;

    /* Of the judgement. */
    bool hold;               /* nothing that vanished or changed takes effect */
    unsigned waits;          /* for files that were being cut short */
    struct mrmr_bytes aside; /* struct meta_change that do not count */
    struct mrmr_bytes
        unread; /* struct meta_node: what moved, and was not found for its attributes */
    struct pool_scan_ids escaped;  /* nodes that were renamed under the walk, and not found yet */
    struct pool_scan_list orphans; /* nodes whose last name may have gone */
    struct pool_paths paths;
    struct pool_retained_kept kept; /* of what may have vanished, read before it is judged */
    uint64_t moved, vanished, changed, held_files;
};
/* The whole drive, or the folders of revisit alone (which it empties). Sets worker->stopped with
 * errors that are the drive's. */
mrmr_err pool_scan_walk(struct pool_scan_drive *scan);
mrmr_err pool_scan_walk_again(struct pool_scan_drive *scan);
void pool_scan_walk_free(struct pool_scan_drive *scan);

/* --- scan_find.c --- */

/* The node that what has this stat was, under whatever name; id 0 if it is unknown. *ret_later: that is for the next scan to say. */
mrmr_err pool_scan_find(struct pool_scan_drive *scan, const struct drv_stat *stat,
    struct meta_node *ret_node, bool *ret_later);

/* --- scan_moved.c: what was renamed through MRMR under the walk --- */

/* Inside the judge's transaction: of what vanished or was replaced, that which is elsewhere becomes
 * `escaped`, and the folders in which it lies are to be looked at again. */
mrmr_err pool_scan_escaped(struct pool_scan_drive *scan);
/* What lies there may not be where the catalog has it. */
mrmr_err pool_scan_unseen(struct pool_scan_drive *scan, const char *path);
/* A name of a known file has come to lead to another inode, which had that one name when the walk met it, and one more when the
 * walk met that: both are names of one node. The first is free then, and looked at again. */
mrmr_err pool_scan_linked(struct pool_scan_drive *scan, const struct meta_change *change);
/* After the judgement: what was renamed before the scan began is known by its new name. */
mrmr_err pool_scan_is_done_with_moves(struct pool_scan_drive *scan, bool *ret_done);

/* --- scan_apply.c: what takes effect, inside the judge's transaction --- */

/* Another inode, as far as the drive can tell. */
bool pool_scan_is_other(
    const struct drv_info *info, const struct meta_node *node, const struct meta_node *now);
/* What became of it is the user's word: it was changed or removed through MRMR. */
bool pool_scan_is_touched(const struct pool_scan_drive *scan, const struct meta_node *node);
/* The same, of its bytes. */
bool pool_scan_is_written(const struct pool_scan_drive *scan, const struct meta_node *node);
/* Its drive does not have it any more: whether it was brought to another one, and a scan meets the copy. */
enum pool_brought_source pool_scan_brought(
    const struct pool_scan_drive *scan, const struct meta_node *node);
/* What was seen becomes what the node is: everything but identity, version and flags. */
void pool_scan_node_take(struct meta_node *node, const struct meta_node *now);
/* Extents in one of the states (a bit each) become SUSPECT. */
mrmr_err pool_scan_suspect(
    struct meta *meta, const struct meta_node *node, unsigned states, bool edited);
/* Whether the bytes should be what the stripes hold: yes, if there are any and no change of them
 * waits to be compared. */
mrmr_err pool_scan_expects_same(struct meta *meta, const struct meta_node *node, bool *ret_expects);
/* Its content may be another: a new version, to be compared with what the stripes hold. */
mrmr_err pool_scan_apply_change(
    struct pool_scan_drive *scan, struct meta_node *node, const struct meta_node *now);
/* Its content should be as it was: to be compared. */
mrmr_err pool_scan_apply_recheck(
    struct pool_scan_drive *scan, struct meta_node *node, const struct meta_node *now);
/* A name that was found for a known node. *ret_done false: the name is another node's, and
 * `replace` did not allow to take it. */
mrmr_err pool_scan_apply_move(
    struct pool_scan_drive *scan, const struct meta_change *change, bool replace, bool *ret_done);
/* Once all that moved is in its place: the attributes of what was not to be found before. */
mrmr_err pool_scan_apply_unread(struct pool_scan_drive *scan);
/* Take a name from its node, which has a turn at the end if that was its last. *ret_free false: the
 * node is kept as it is, with the name. */
mrmr_err pool_scan_apply_free(struct pool_scan_drive *scan, const struct meta_change *change,
    const struct meta_node *occupant, bool *ret_free);
enum pool_scan_absence {
    POOL_SCAN_GONE,
    POOL_SCAN_STRANDED, /* it is there, under a name that something held has: its protected files
                           are held, too */
    POOL_SCAN_HIDDEN,   /* it is there, below a mount: all of it stays, and its protected files are
                           held */
};
/* A name that is not there, with all below; while scan->hold, all of it stays and its bytes count
 * as missing. */
mrmr_err pool_scan_apply_vanish(struct pool_scan_drive *scan, int64_t parent, const char *name,
    int64_t node, enum pool_scan_absence absence);
mrmr_err pool_scan_apply_orphans(struct pool_scan_drive *scan);
/* The bytes of one file are held as they were, until the user says yes. */
mrmr_err pool_scan_hold_file(struct pool_scan_drive *scan, const struct meta_change *change);
mrmr_err pool_scan_count_names(struct pool_scan_drive *scan, int64_t node, size_t *ret_n);
/* Whether some extent of the node is in one of the states (a bit each). */
mrmr_err pool_scan_extents_in(struct meta *meta, int64_t node, unsigned states, bool *ret_any);
#define POOL_SCAN_WANTED ((1U << META_LIVE) | (1U << META_MISSING) | (1U << META_SUSPECT))
#define POOL_SCAN_UNSURE ((1U << META_MISSING) | (1U << META_SUSPECT))
/* HELD changes of what is gone, or is as it was again. */
mrmr_err pool_scan_held_sweep(struct meta *meta, int64_t drive);

/* --- scan_judge.c --- */

/* In one transaction: what a complete walk of this drive staged takes effect, or is held. Folders
 * of revisit are looked at again on the way: worker->stopped if the drive fails in that; then
 * nothing took effect. */
mrmr_err pool_scan_judge(struct pool_scan_drive *scan, struct pool_sync_report *report);

#endif
