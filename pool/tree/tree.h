/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree, as all of its files share it: tree.c (nodes, paths, life). Its parts have headers of
 * their own: tree_drives.h (drives, which go and come), tree_node.h (nodes), tree_map.h (a folder's names),
 * tree_times.h (whether they still are), tree_number.h (numbers, and nodes by them), tree_load.h (the names,
 * found on the drives, and the numbers that they keep), tree_look.h (lookup, attributes, lists; by the
 * catalog, too), tree_known.h (what drives said of a folder), tree_watch.h (events, and the monitor),
 * tree_file.h (open files; those that the kernel uses without asking; what no event tells of),
 * tree_parted.h (what lost its name and is held), tree_gone.h (what was asked of drives that are away), tree_stay.h,
 * tree_sync.h, leaf_cache.h. What changes the drives: tree_change.h, tree_return.h.
 *
 * A node is in the table while the kernel holds it, or anything here does. A folder's map says for
 * each name on which drives it lies and what it shows; it is made at the first look into the folder,
 * after each live drive's copy of the folder is watched, and events keep it true: they only mark a
 * name unsure, and whoever wants it next looks at the drives again.
 *
 * States of a map: none -> loading -> valid; valid -> stale (an event was lost, a drive went or
 * came, its second is over) -> loading. What changed meanwhile is told by comparing old and new.
 *
 * Invariants: a name of a valid map that is not unsure is as the drives were after the last event
 * that was seen of it. A node's number never changes. A folder node with a valid map has its watch
 * key on every drive that is live and watches.
 *
 * Locks: the tree's alone, for all of memory; no input or output and no callback under it. What paths lead
 * to while the drives are changed: tree_paths.c.
 */
#ifndef MRMR_POOL_TREE_H
#define MRMR_POOL_TREE_H

#include "pool/drive/detach_ask.h"
#include "pool/engine.h"
#include "pool/scan/scan.h"
#include "pool/tree/tree_node.h"

static const int64_t tree_second = MRMR_NS_PER_S;
/* For so long after a change of ours the drives' events about the same thing are taken for ours, and
 * nobody is told; and what is answered meanwhile may be kept for no longer. So whatever somebody else
 * does at that moment is seen within twice of it. Where events tell who did it (tree_tells_who) others'
 * never are, and what is answered may be kept as long as ever. */
static const int64_t tree_own_window = MRMR_NS_PER_S / 2;

struct tree_todo { /* for the monitor */
    struct tree_todo *next;
    enum tree_todo_kind {
        TREE_LOOK,       /* at a name in the folder */
        TREE_LOAD,       /* the folder */
        TREE_TELL,       /* of the node once more: a lookup was under way when it changed */
        TREE_TELL_ATTRS, /* of the node's attributes */
        TREE_TELL_NAME,  /* of the name in the folder */
    } kind;
    uint64_t number;
    char name[];
};

struct pool_tree {
    struct pool *pool;
    struct pool_tree_events events;
    struct tree_excludes *_Atomic excludes; /* tree_excludes.c's */
    struct tree_drive *drive;               /* room for TREE_DRIVES_MAX */
    _Atomic size_t ndrives;                 /* grows: what is below it is there */
    _Atomic uint64_t members; /* the epoch for which the drives are what the catalog has */
    int64_t deadline;         /* of an op on a drive, ns */
    struct leaf_cache *leaves;
    atomic_bool verify;                  /* set verify-reads; the monitor keeps it */
    _Atomic int64_t remote_ttl;          /* set remote-ttl, ns; likewise */
    _Atomic uint64_t retain_share;       /* set retain-share, percent; likewise */
    atomic_uint error_limit, redundancy; /* as they are set; likewise */
    struct tree_keeper *keeper;          /* tree_keeper.c's; NULL: nothing may be changed */
    struct tree_numbers *numbers;
    struct tree_replaced *replaced; /* tree_replaced.c's; NULL: nothing may be changed */
    struct tree_finder *finder;
    struct tree_directs *directs; /* tree_direct.c's; NULL: nothing may be changed */
    struct tree_stores *stores;   /* tree_stores.c's; NULL: nobody is to be told */
    struct pool_gone *gone;       /* what was removed from drives that were away */
    pthread_mutex_t gone_gate;    /* tree_return.c's */
    pthread_mutex_t brings_gate;  /* tree_bring_record.c's */
    pthread_t monitor;
    bool monitored;
    struct tree_detach { /* tree_detach.c's, and the monitor's */
        bool stands, answered;
        int64_t since; /* monotonic */
        struct pool_detach_question question;
        struct tree_drive *drive; /* NULL: it is none of the tree's */
    } detach;

    struct mrmr_cancel leaving; /* with stop: of what a drive that comes back is told to do */
    atomic_bool records_left;   /* of renames: tree_move_record.c */
    atomic_bool brings_left; /* there may be some that could not be judged: tree_bring_record.c */
    atomic_bool changed;     /* something was, and the daemon was not told so yet (tree_watch.c) */
    atomic_bool kept;        /* something is kept that was not, or may be let go of now; likewise */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    pthread_cond_t moved; /* a map was loaded */
    pthread_cond_t monitor_wake;
    struct tree_node **table;
    size_t n, buckets;
    struct tree_node *root;
    struct pool_tree_file *files; /* that are open */
    struct pool_tree_file
        *turn; /* of them, the one that tree_stores.c looks at next; NULL: it begins anew */
    struct tree_parted *parted, **parted_last, *let_go; /* tree_parted.c's */
    size_t nparted, parted_most;
    struct tree_todo *todo, **todo_last;
    struct tree_due *due, *due_last; /* tree_due.c's; the first to tell of first */
    struct tree_bring_begun *begun;  /* tree_bring.c's: what is being brought now */
    struct tree_paths *paths;        /* tree_paths.c's: the first that came first */
    unsigned paths_moving, paths_waiting;
    pthread_cond_t paths_left;
    bool stop, suspects;
    uint64_t losses;         /* drives that went, so far */
    size_t remembered;       /* nodes that stay for what they owe */
    unsigned moving;         /* renames of ours that are under way */
    uint64_t moves;          /* that ended, so far */
    int64_t room_at;         /* when the drives' room was looked at; monotonic */
    size_t placed_last;      /* the drive that the last new file went to; SIZE_MAX: none yet */
    int64_t space_at;        /* when space was reckoned; monotonic */
    unsigned room_waiters;   /* changes that wait for room (tree_room.h) */
    int64_t room_vain_until; /* monotonic: until then none does */
    int64_t left_at;         /* tree_rmdir.c's: when it was told of; monotonic; 0: never */
    struct pool_tree_space space;
};

/* --- tree_excludes.c --- */

mrmr_err tree_excludes_start(struct pool_tree *tree);
void tree_excludes_stop(struct pool_tree *tree);
/* What is set now. The monitor's. */
mrmr_err tree_excludes_follow(struct pool_tree *tree);
/* As long as the tree is open. */
const struct pool_scan_excludes *tree_excludes(const struct pool_tree *tree);

#endif
