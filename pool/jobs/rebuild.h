/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of a rebuild: rebuild_give_up.c says whether the drive may be given up, rebuild_take.c does that to the catalog, rebuild.c decides what comes back,
 * rebuild_gone.c what does not since it was removed (with rebuild_moved.c and rebuild_went.c), rebuild_older.c tells what comes back as it was before, restore_choose.c where to and whether it is there already, restore.c puts nodes in place
 * (with restore_folders.c; restore_incomplete.c, where some of a file is nowhere any more), restore_record.c says so in the catalog.
 */
#ifndef MRMR_POOL_REBUILD_H
#define MRMR_POOL_REBUILD_H

#include "pool/records/gone.h"

struct pool_names;

struct rebuild {
    struct pool *pool;
    const struct pool_job *job;
    const struct pool_rebuild_options *options;
    struct pool_rebuild_report *report;
    struct pool_drive *drive; /* whose content comes back */
    bool away;                /* into free space on other drives; else onto the drive itself */
    struct pool_gone *gone;   /* what was removed while drives were away */
    struct pool_names
        *names;       /* of a drive that is away and may come back; NULL: those of the catalog */
    uint64_t removed; /* by that, and so not restored */
    uint64_t back;    /* removed or replaced before the drive went, and restored */
    uint64_t items_total, bytes_total;
    struct pool_names *target_names[META_SLOTS_MAX + 1]; /* by drive, as needed */
    uint64_t planned[META_SLOTS_MAX + 1]; /* by drive: what this batch will put there */

    struct rebuild_folder { /* made by this run, or noted: their attributes are set
                                at the end */
        struct pool_drive *on;
        char *path; /* owned */
    } * folders;
    size_t nfolders, folders_room;
};

/* --- One node on its way: the files restore*.c only --- */

enum restore_state {
    RESTORE_NONE,
    RESTORE_COPIED,
    RESTORE_PLACED,
    RESTORE_KEPT,
    RESTORE_ENDED,
    RESTORE_LEFT, /* another drive's, which a rebuild of that one has left to do */
    RESTORE_WENT, /* somebody removed it where it was put */
    RESTORE_FAILED,
};

struct restore {
    struct rebuild *rebuild;
    struct meta_node node;
    struct meta_node known; /* the same, as the catalog had it */
    struct mrmr_bytes path; /* relative to both drives, as it is now */
    struct pool_drive *target;
    char work[sizeof POOL_WORK + 32];
    enum restore_state state;
    struct pool_missing missing; /* of a file: leaves that nothing gives any more; */
    bool incomplete;  /* the others come back under a name that says so, which path is then, */
    bool named;       /* and which is the node's by now */
    bool held;        /* another version is in its place, and the protected one is to come back */
    bool conflict;    /* something else is in its place: what is protected is held, */
    bool alive, late; /* some name is wanted still; some was removed meanwhile */
    struct drv_stat other; /* this */
    struct drv_stat there; /* what was placed, or found right: to be the same when it is recorded */
};

/* Decide where the node comes back: its target, and its state if it is there already or may not come.
 * Attaches the target. MRMR_SPACE where there is no room for it. */
mrmr_err pool_restore_choose(struct restore *item);
/* Into free space: files may come to that drive. */
bool pool_restore_may_take(const struct rebuild *rebuild, const struct pool_drive *drive);

struct restore_name {
    int64_t parent; /* in the catalog, */
    const char *name, *known;
    const char *path; /* and now, under which it comes back; NULL: it was removed since */
};
/* fn for each name of the node. */
typedef mrmr_err (*restore_name_fn)(struct restore *item, const struct restore_name *name);
mrmr_err pool_restore_names(struct restore *item, restore_name_fn fn);

/* As it is now on its target; and whether that is what was placed, or found right. */
mrmr_err pool_restore_stat(struct restore *item, struct drv_stat *ret_stat);
bool pool_restore_is_there(const struct restore *item, const struct drv_stat *stat);

/* The folder at the first `size` bytes of path, and its parents; what was not there is noted: restore_folders.c. */
mrmr_err pool_restore_make_folder(struct restore *item, const char *path, size_t size);

struct restore_set {
    struct restore *items;
    size_t n;
};

/* --- restore_incomplete.c: what there is of a file --- */

/* If not all of it can be made, the rest may be. */
bool pool_restore_may_lack(const struct restore *item);
/* Its copy lacks leaves: it comes back as incomplete; or it does not, nothing is left of the copy, and the error says why. */
mrmr_err pool_restore_incomplete(struct restore *item);
/* item->path is where; item->state is RESTORE_KEPT if it is there already, on the target, which may be another then. */
mrmr_err pool_restore_incomplete_path(struct restore *item);
/* Inside a transaction. In the catalog leaves that are missing are holes; and what became of the file that was at the path `was` is told. */
mrmr_err pool_restore_give_up_missing(struct restore *item);
mrmr_err pool_restore_tell_incomplete(struct restore *item, const char *was);
uint64_t pool_restore_missing_bytes(const struct restore *item);

/* Inside a transaction, while writers stand still, of a struct restore_set: where all of them are now, and that they are no longer to do: restore_record.c. */
mrmr_err pool_restore_record(struct meta *meta, void *arg);

/* --- rebuild_gone.c --- */

/* Of a drive that is given up: what was removed while it was away, and renamed, is so in the catalog
 * on return, and the records are gone. Of any other nothing is done. */
mrmr_err pool_rebuild_forget(struct rebuild *rebuild);
/* The first of the node's names that was not removed; its path stays empty if all were. */
mrmr_err pool_restore_path(struct restore *item);
/* This name of it was removed. */
bool pool_restore_is_gone(const struct restore *item, const struct restore_name *name);
/* While writers stand still, before the batch is recorded: names that were removed since are taken
 * away again. */
mrmr_err pool_restore_late(struct restore *item);

/* --- rebuild_older.c --- */

/* Inside the transaction by which the drive is given up: the files that were written to on it after its last scan, each by name,
 * and how many more there may have been, are told of. */
mrmr_err pool_rebuild_tell_older(struct rebuild *rebuild);
/* It has left the catalog, and what of it is on other drives. */
mrmr_err pool_rebuild_tell_gone(
    struct pool *pool, const struct pool_job *job, const struct pool_drive *drive);

/* --- rebuild_give_up.c --- */

/* *ret_begins false: it is to begin only if the drive is lost, and it is not; the report says so. */
mrmr_err pool_rebuild_may_begin(struct rebuild *rebuild, bool *ret_begins);
/* Stripes of it that cannot be decoded now, and might be later, keep it from being given up. Drives that do not answer are away from then on. */
mrmr_err pool_rebuild_may_give_up(const struct rebuild *rebuild);
/* *ret_for: a drive that may give more of the node's stripes another time, or NULL. That losses are accepted does not say that one that is away never
 * comes back: then it has to be given up, too. */
mrmr_err pool_rebuild_waits(
    const struct rebuild *rebuild, int64_t node, const struct pool_drive **ret_for);
/* It is looked at once more, which may hang. */
mrmr_err pool_rebuild_is_not_back(struct rebuild *rebuild);

/* --- rebuild_take.c --- */

/* The fresh drive of the options takes the place of rebuild->drive, which is that from then on: all drives are others. */
mrmr_err pool_rebuild_take_over(struct rebuild *rebuild);
/* Nothing does; again where that is so already. */
mrmr_err pool_rebuild_retire(struct rebuild *rebuild);

/* --- What rebuild.c calls --- */

/* Bring back a batch of nodes; each ends restored, kept, in conflict or failed. Those that failed
 * stay to do while the drive is being rebuilt: another run may find more drives present. */
mrmr_err pool_restore_batch(struct rebuild *rebuild, const int64_t nodes[], size_t n);
/* All folders of the drive, whichever run made them: of a fresh drive, which is all ours. */
mrmr_err pool_restore_note_all(struct rebuild *rebuild);
/* Attributes of the folders that were noted, deepest first; frees the list. */
mrmr_err pool_restore_folders(struct rebuild *rebuild);

#endif
