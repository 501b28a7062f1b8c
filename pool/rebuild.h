/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of a rebuild: rebuild.c decides what comes back, restore_choose.c where to and whether it is
 * there already, restore.c puts nodes in place.
 */
#ifndef MRMR_POOL_REBUILD_H
#define MRMR_POOL_REBUILD_H

#include "pool/engine.h"

struct rebuild {
    struct pool *pool;
    const struct pool_job *job;
    const struct pool_rebuild_options *options;
    struct pool_rebuild_report *report;
    struct pool_drive *drive; /* whose content comes back */
    bool away;                /* into free space on other drives; else onto the drive itself */
    uint64_t items_total, bytes_total;
    uint64_t planned[META_SLOTS_MAX + 1]; /* by drive: what this batch will put there */

    struct rebuild_folder { /* made by this run, or noted: their attributes are set
                                at the end */
        struct pool_drive *on;
        char *path; /* owned */
    } * folders;
    size_t nfolders, folders_room;
};

/* --- One node on its way: restore.c and restore_choose.c only --- */

enum restore_state {
    RESTORE_NONE,
    RESTORE_COPIED,
    RESTORE_PLACED,
    RESTORE_KEPT,
    RESTORE_ENDED,
    RESTORE_FAILED,
};

struct restore {
    struct rebuild *rebuild;
    struct meta_node node;
    struct mrmr_bytes path; /* relative to both drives */
    struct pool_drive *target;
    char work[sizeof POOL_WORK + 32];
    enum restore_state state;
    bool held;     /* another version is in its place, and the protected one is to come back */
    bool conflict; /* something else is in its place: what is protected is held, */
    struct drv_stat other; /* this */
    struct drv_stat there; /* what was placed, or found right: to be the same when it is recorded */
};

/* Decide where the node comes back: its target, and its state if it is there already or may not come.
 * Attaches the target. MRMR_SPACE where there is no room for it. */
mrmr_err pool_restore_choose(struct restore *item);

/* --- What rebuild.c calls --- */

/* Bring back a batch of nodes; each ends restored, kept, in conflict or failed. Those that failed
 * stay to do while the drive is being rebuilt: another run may find more drives present. */
mrmr_err pool_restore_batch(struct rebuild *rebuild, const int64_t nodes[], size_t n);
/* All folders of the drive, whichever run made them: of a fresh drive, which is all ours. */
mrmr_err pool_restore_note_all(struct rebuild *rebuild);
/* Attributes of the folders that were noted, deepest first; frees the list. */
mrmr_err pool_restore_folders(struct rebuild *rebuild);

#endif
