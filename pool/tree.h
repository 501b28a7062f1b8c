/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the live tree share: tree.c (nodes, paths, life), tree_number.c, tree_map.c (a
 * folder's names), tree_load.c (the names, found on the drives), tree_inherit.c (which numbers they keep), tree_times.c (whether they still
 * are), tree_catalog.c (or known of them), tree_look.c (lookup, attributes, lists), tree_known.c (what
 * drives said of a folder), tree_find.c (nodes by number), tree_parted.c (what lost its name and is
 * held), tree_watch.c (events, and the monitor), tree_stores.c (what no event tells of), tree_drives.c
 * (drives that go and come), tree_file.c, tree_open.c and tree_read.c (open files), leaf_cache.c, tree_direct.c (files that the kernel uses without asking). What changes the
 * drives has a header of its own: tree_change.h.
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
 * Locks: the tree's alone, for all of memory; no input or output and no callback under it.
 */
#ifndef MRMR_POOL_TREE_H
#define MRMR_POOL_TREE_H

#include "pool/engine.h"
#include "pool/scan.h"

struct pool_tree;

enum { TREE_DRIVES_MAX = 256 };
static const int64_t tree_second = MRMR_NS_PER_S;
/* For so long after a change of ours the drives' events about the same thing are taken for ours, and
 * nobody is told; and what is answered meanwhile may be kept for no longer. So whatever somebody else
 * does at that moment is seen within twice of it. Where events tell who did it (tree_tells_who) others'
 * never are, and what is answered may be kept as long as ever. */
static const int64_t tree_own_window = MRMR_NS_PER_S / 2;

/* Drives, by their place in pool->drives. */
struct tree_set {
    uint64_t word[TREE_DRIVES_MAX / 64];
};
static inline void tree_set_add(struct tree_set *set, size_t i)
{
    set->word[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline void tree_set_remove(struct tree_set *set, size_t i)
{
    set->word[i / 64] &= ~(UINT64_C(1) << (i % 64));
}
static inline bool tree_set_has(const struct tree_set *set, size_t i)
{
    return set->word[i / 64] >> (i % 64) & 1;
}
static inline size_t tree_set_first(const struct tree_set *set) /* it is not empty */
{
    size_t i = 0;
    while (i < TREE_DRIVES_MAX - 1 && !tree_set_has(set, i))
        i++;
    return i;
}
static inline bool tree_set_equal(const struct tree_set *a, const struct tree_set *b)
{
    return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
           a->word[3] == b->word[3];
}
static inline bool tree_set_meet(const struct tree_set *a, const struct tree_set *b)
{
    return a->word[0] & b->word[0] || a->word[1] & b->word[1] || a->word[2] & b->word[2] ||
           a->word[3] & b->word[3];
}

/* --- tree_map.c --- */

/* What one name shows. */
struct tree_name {
    struct tree_name *next;
    uint64_t place;     /* in the list: from the hash of the name; places are distinct */
    uint64_t number;    /* of its node; 0: not known */
    int64_t mtime;      /* of a file: of the copy that shows */
    struct tree_set on; /* a folder's drives; of anything else the one that shows */
    enum pool_kind kind;
    bool several;      /* there are copies that do not show */
    bool unsure;       /* look at the drives before this is believed */
    bool own;          /* because of a change of ours, whose end is not known */
    uint16_t doubt;    /* the drive that has to be looked at, counted from 1, or TREE_DOUBT_ALL */
    uint32_t events;   /* another one with each event about it; 0: there was none */
    int64_t own_until; /* monotonic: events are of our own doing */
    char name[];
};

struct tree_map {
    struct tree_name **bucket; /* by the first `bits` of the place, so buckets are in its order */
    unsigned bits;
    size_t n;
};

enum { TREE_DOUBT_NONE, TREE_DOUBT_ALL = UINT16_MAX };
/* It is not what it was, on this drive. */
static inline void tree_name_doubt(struct tree_name *name, size_t drive)
{
    bool same = name->doubt == TREE_DOUBT_NONE || name->doubt == drive + 1;
    name->unsure = true;
    name->doubt = same ? (uint16_t)(drive + 1) : TREE_DOUBT_ALL;
}
static inline void tree_name_doubt_all(struct tree_name *name)
{
    name->unsure = true;
    name->doubt = TREE_DOUBT_ALL;
}

void tree_map_free(struct tree_map *map); /* the memory; reusable afterwards */
struct tree_name *tree_map_find(const struct tree_map *map, const char *name);
/* A new one, or the one that is there. NULL without memory. */
struct tree_name *tree_map_add(struct tree_map *map, const char *name);
void tree_map_remove(struct tree_map *map, const char *name);
/* The first name at or after the place; NULL at the end. */
struct tree_name *tree_map_at(const struct tree_map *map, uint64_t place);

/* --- tree_times.c --- */

/* When a folder's names changed last, on each of its drives that is not watched. */
struct tree_times {
    struct tree_time {
        size_t drive;
        uint64_t ino;
        int64_t ctime; /* the drive's */
        int64_t since; /* monotonic: when it was first seen */
    } * at;            /* owned */
    size_t n;
    bool fresh;   /* one of them may be from the tick in which the folder was read */
    bool unknown; /* one of them cannot be had, or not be trusted */
};
struct tree_drive;

void tree_times_free(struct tree_times *times); /* the memory; reusable afterwards */
/* Before the drive's copy of the folder is read. was: of the time before. */
void tree_times_take(struct tree_times *times, const struct tree_times *was,
    const struct tree_drive *drive, const char *path);
/* The names that were read after these times were taken are those that are there now. */
bool tree_times_same(
    const struct pool_tree *tree, const struct tree_times *times, const char *path);
mrmr_err tree_times_copy(const struct tree_times *times, struct tree_times *ret_copy);

/* --- tree_number.c --- */

mrmr_err tree_numbers_start(struct pool_tree *tree);
void tree_numbers_stop(struct pool_tree *tree);
/* The number of an inode of a drive; folder and name stand in where a drive has none. */
uint64_t tree_number(
    const struct pool_tree *tree, size_t drive, uint64_t ino, const char *folder, const char *name);
/* From now on this inode has another file's number and generation: it is that file, here. */
mrmr_err tree_number_keep(
    struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number, uint64_t generation);
/* The inode that a node of this number has on this drive. False: it has none there, or none is known. */
bool tree_number_inode(struct pool_tree *tree, uint64_t number, size_t drive, uint64_t *ret_ino);
/* A number that nothing has. */
uint64_t tree_number_other(struct pool_tree *tree, size_t drive, uint64_t ino);
/* It was removed, or is another file. */
void tree_number_forget(struct pool_tree *tree, size_t drive, uint64_t ino);
/* Of a file that was brought elsewhere the one it had, else this one. */
uint64_t tree_generation(struct pool_tree *tree, uint64_t number, uint64_t generation);
/* The inode that a number is of, by catalog id. True: it was brought there. */
bool tree_number_where(
    struct pool_tree *tree, uint64_t number, int64_t *ret_drive, uint64_t *ret_ino);

/* --- tree.c --- */

struct tree_node;
struct tree_counted;
struct tree_known;
struct tree_quiet;
struct tree_parted;

struct tree_link { /* one name that led to the node */
    struct tree_link *next;
    struct tree_node *parent; /* counted */
    char name[];
};

struct tree_node {
    uint64_t number;
    enum pool_kind kind;

    /* Guarded by the tree's lock, as all that follows. */
    struct tree_node *next;  /* in the table */
    uint64_t held;           /* lookups that were not let go of */
    unsigned refs;           /* links of children, open files, calls that are under way */
    struct tree_link *links; /* the latest first; none: the root, or nothing is known any more */
    struct tree_set on;      /* the drives it lies on; of a file one */

    /* Folders. */
    struct tree_map map;
    bool valid, loading;
    unsigned busy;             /* lookups under way: what they found is not the kernel's yet */
    bool watched;              /* events tell of all that happens in it */
    int64_t loaded;            /* monotonic; of a map that is not watched */
    int64_t ttl;               /* likewise: how long it is good */
    struct tree_times times;   /* likewise */
    uint64_t version;          /* counts up when the names may have changed */
    bool lost;                 /* while it was loading, events were lost */
    struct mrmr_bytes touched; /* names, each with its NUL, that changed while it was loading */

    enum tree_acl { TREE_ACL_UNKNOWN, TREE_ACL_NONE, TREE_ACL_HAS } acl; /* a default one */
    int64_t acl_at; /* monotonic: when that was found out */

    struct tree_known *known;     /* tree_known.c's; NULL: nothing */
    uint32_t owns, voids, others; /* others: voids that are not of our doing */
    unsigned changing;            /* changes of ours by a name in it that are under way */
    uint32_t named;               /* counts up before and after each of them */
    struct tree_quiet *quiet;     /* tree_quiet.c's; NULL: nothing */

    int64_t own_until;  /* monotonic: events about it are of our own doing */
    bool kept;          /* somebody was told that he may keep its attributes for long */
    bool due;           /* in tree_due.c's list */
    struct tree_shown { /* of a file: what whoever asked for its attributes was told last */
        bool is;        /* false: nothing yet, or he was told to ask again */
        uint32_t nlink;
        int64_t mtime;
        uint64_t size;
    } shown;

    /* Files: what the last open found. */
    int64_t open_mtime, open_ctime;
    uint64_t open_size, open_changes;
    bool open_late;               /* no change after it leaves these times behind */
    bool stored;                  /* others could store to it when it was looked at last */
    uint64_t changes;             /* events about its bytes */
    struct pool_tree_file *files; /* that are open */
    unsigned writers;             /* of them, those for writing */
    int64_t uncapped_at;          /* monotonic: it had no capabilities then; 0: not known */
    int64_t plain_at;             /* the same of set-id bits */
    int64_t attr_events;    /* monotonic: when its attributes changed last, as far as was told */
    uint64_t writes;        /* through us, so far */
    bool gone;              /* its last name was removed through us */
    bool going;             /* it is being removed */
    unsigned taking;        /* likewise, and tree_take.c opens it in the same op */
    bool unnamed;           /* gone, since it never had a name: it may get one */
    uint32_t births;        /* inodes that had this number while the node was held */
    struct pool_attr *last; /* of one that is gone, and is no open file; NULL: not kept */
    unsigned staying;       /* changes under way that want it to be where it is */
    bool leaving;           /* it is being brought elsewhere */
    struct tree_counted *counted; /* tree_keep.c's; NULL until it was needed */

    /* tree_sync.c's. */
    struct tree_set owes;       /* the drives on which something of it is not known to be durable */
    uint64_t owed;              /* counts up with each change of that kind */
    uint64_t loss;              /* the last one of something that it owed; 0: none */
    bool told;                  /* somebody was */
    bool remembered;            /* counted among those that stay for it */
    struct tree_parted *parted; /* tree_parted.c's; NULL: nothing is kept of it */
    struct tree_direct *direct; /* tree_direct.c's; NULL: it is not in use directly */
};

struct tree_probe;

struct tree_drive {
    struct pool_tree *tree;
    struct pool_drive *drive;
    _Atomic uint64_t dev;    /* of its root, while it is live; for what is mounted below it */
    struct drv_watch *watch; /* NULL: none. Changed by the monitor only, under the lock */
    unsigned watch_users;    /* guarded by lock */
    atomic_bool silent;      /* no events can be had of it, ever: set remote-ttl */
    atomic_bool tells_who;   /* its events say whether we did it */
    bool changed;            /* it went or came, or events of it were lost; guarded by lock */
    bool suspect;            /* it gave an error: is it still there? guarded by lock */
    bool forgot;   /* that something was owed on it, by a node that is no more; guarded by lock */
    uint64_t loss; /* the loss of that; guarded by lock */
    struct tree_probe *probe; /* the monitor's */

    pthread_mutex_t known_lock;
    struct pool_names *known; /* guarded by known_lock; tree_catalog.c's */

    atomic_bool
        gone_left; /* it is live, and something that was removed could not be taken from it */
    atomic_bool returning;         /* it serves, and what was asked of it meanwhile is done first */
    int64_t again_at, again_after; /* monotonic, ns: when that is tried again; the monitor's */
    bool told_waits;               /* that it cannot be done now; the monitor's */
    pthread_mutex_t placing;       /* over making a folder on it, I/O included */
    pthread_mutex_t keeping;       /* over making something retained on it, I/O included */
    struct tree_room {             /* guarded by lock */
        uint64_t used;             /* bytes, when it was last looked */
        uint64_t avail;            /* bytes that originals may take */
        uint64_t since;            /* of used: written since the last scan */
        int64_t scanned;           /* when that scan ended; 0: never */
        bool known;
    } room;
    _Atomic uint64_t placed; /* bytes written since it was last looked */
};

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
    struct pool_scan_excludes excludes;
    struct tree_drive *drive; /* room for TREE_DRIVES_MAX */
    _Atomic size_t ndrives;   /* grows: what is below it is there */
    int64_t deadline;         /* of an op on a drive, ns */
    struct leaf_cache *leaves;
    atomic_bool verify;         /* set verify-reads; the monitor keeps it */
    _Atomic int64_t remote_ttl; /* set remote-ttl, ns; likewise */
    struct tree_keeper *keeper; /* tree_keep.c's; NULL: nothing may be changed */
    struct tree_numbers *numbers;
    struct tree_replaced *replaced; /* tree_replaced.c's; NULL: nothing may be changed */
    struct tree_finder *finder;
    struct tree_directs *directs; /* tree_direct.c's; NULL: nothing may be changed */
    struct tree_stores *stores;   /* tree_stores.c's; NULL: nobody is to be told */
    struct pool_gone *gone;       /* what was removed from drives that were away */
    pthread_mutex_t gone_gate;    /* tree_gone.c's */
    pthread_t monitor;
    bool monitored;

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
    bool stop, suspects;
    uint64_t losses;    /* drives that went, so far */
    size_t remembered;  /* nodes that stay for what they owe */
    unsigned moving;    /* renames of ours that are under way */
    uint64_t moves;     /* that ended, so far */
    int64_t room_at;    /* when the drives' room was looked at; monotonic */
    size_t placed_last; /* the drive that the last new file went to; SIZE_MAX: none yet */
    int64_t space_at;   /* when space was reckoned; monotonic */
    struct pool_tree_space space;
};

/* Its files are seen as they are now. */
bool tree_live(const struct tree_drive *drive);

/* All with the lock held. */
struct tree_node *tree_find_locked(struct pool_tree *tree, uint64_t number);
/* The node, made if it is not there, with this name of it as the latest; counted once in refs. */
struct tree_node *tree_get_locked(struct pool_tree *tree, struct tree_node *parent,
    const char *name, const struct tree_name *shows);
/* Likewise of a file that was just made without a name. */
struct tree_node *tree_get_unnamed_locked(struct pool_tree *tree, const struct tree_name *shows);
void tree_ref_locked(struct tree_node *node);
/* It lies on these drives now; a folder's map that was made of others is stale. */
void tree_lies_on_locked(struct pool_tree *tree, struct tree_node *node, const struct tree_set *on);
void tree_put_locked(struct pool_tree *tree, struct tree_node *node);
/* Appends the path of the link that was seen last. MRMR_ABSENT: no name leads to it any more. */
mrmr_err tree_path_locked(const struct tree_node *node, struct mrmr_bytes *path);
/* The name is another thing than before, by a change of ours unless the caller says otherwise: whoever
 * wants it next looks at the drives. NULL: the folder's names are not known, or there is no memory:
 * all of it is looked at. */
struct tree_name *tree_name_touch_locked(struct tree_node *folder, const char *name);
/* This name does not lead to the node any more. */
void tree_unlink_locked(struct pool_tree *tree, struct tree_node *node,
    const struct tree_node *parent, const char *name);

/* Counted; MRMR_ABSENT (and MRMR_NOT_DIR, if it must be a folder). */
mrmr_err tree_node(
    struct pool_tree *tree, uint64_t number, bool folder, struct tree_node **ret_node);
void tree_put(struct pool_tree *tree, struct tree_node *node); /* NULL-safe */
mrmr_err tree_path(struct pool_tree *tree, struct tree_node *node, struct mrmr_bytes *path);
/* "folder/name" */
mrmr_err tree_join(const char *folder, const char *name, struct mrmr_bytes *path);

/* --- tree_load.c --- */

/* The folder's map is valid, and as fresh as it must be. */
mrmr_err tree_folder_ready(struct pool_tree *tree, struct tree_node *folder);
/* Load it anew, whatever it was; tell of what changed. Not on a thread that serves a request. */
mrmr_err tree_folder_reload(struct pool_tree *tree, struct tree_node *folder);
/* How long a map that was just made is good; POOL_KEEP: until an event says otherwise. */
int64_t tree_folder_ttl_locked(const struct tree_node *folder);
/* Of what we changed a moment ago: nothing less, or tree_own_window if events do not tell who did it. */
int64_t tree_own_ttl(const struct pool_tree *tree, const struct tree_set *on, int64_t ttl);
/* The name is looked at on the drives, if it is unsure. A copy of what it shows, then: MRMR_ABSENT. */
mrmr_err tree_name_get(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct tree_name *ret_name);
/* What a drive said of the copy that shows, when the name was looked at just now. */
struct tree_seen {
    bool is; /* false: it was not looked at, or is a folder */
    size_t drive;
    struct drv_stat stat;
};
/* The same, with that. */
mrmr_err tree_name_see(struct pool_tree *tree, struct tree_node *folder, const char *name,
    struct tree_name *ret_name, struct tree_seen *ret_seen);
struct tree_known_ticket { /* of a folder, before something is asked or done */
    uint32_t owns, voids;
};
/* A change of ours made it on this drive, where no drive had anything: another one has something only
 * if its events say so. ticket: of tree_known_change. */
void tree_name_made_locked(const struct pool_tree *tree, struct tree_node *folder, const char *name,
    size_t drive, const struct tree_known_ticket *ticket);
/* A change of ours took it from all drives that had it. shows: what it was. */
void tree_name_taken(struct pool_tree *tree, struct tree_node *folder, const char *name,
    const struct tree_name *shows, const struct tree_known_ticket *ticket);

/* --- tree_inherit.c --- */

struct tree_copy {          /* of a folder, besides the first */
    uint64_t place, number; /* of its name; the number that it would have alone */
};
/* What was found at a name keeps the number of what was there before. copies: of what was found. */
bool tree_inherits_locked(struct pool_tree *tree, const struct tree_node *folder,
    const struct tree_name *found, const struct tree_name *was, const struct mrmr_bytes *copies);

/* --- tree_catalog.c --- */

/* What the catalog knows of what is at a path of a drive now. The node's id is 0 if it is a folder
 * that was made since the last scan, and known by what was moved into it. */
mrmr_err tree_catalog(
    struct pool_tree *tree, size_t drive, const char *path, struct meta_node *ret_node);
/* The path at which the catalog has it; the same one, if it has it nowhere. */
mrmr_err tree_catalog_path(
    struct pool_tree *tree, size_t drive, const char *path, struct mrmr_bytes *ret_path);
/* Calls fn for each thing that is in the folder now. It may not call any of these. */
typedef mrmr_err (*tree_known_fn)(const char *name, const struct meta_node *node, void *arg);
mrmr_err tree_catalog_list(
    struct pool_tree *tree, size_t drive, const char *folder, tree_known_fn fn, void *arg);
/* The drive goes: from now on what is known is asked for, and worked out anew. */
void tree_catalog_forget(struct tree_drive *drive);

/* --- tree_look.c --- */

void tree_attr_from_stat(const struct drv_stat *stat, struct pool_attr *ret_attr);
/* What a node is and where, as it was at one moment. */
struct tree_spot {
    uint64_t number;
    enum pool_kind kind;
    struct tree_set on;
    size_t drive; /* the one of a file; the first of a folder's */
};
struct tree_spot tree_spot(struct pool_tree *tree, const struct tree_node *node);
/* Calls fn with each path that may lead to the node, the latest first, until one is not MRMR_ABSENT;
 * those that are forgotten. MRMR_ABSENT: none does. */
typedef mrmr_err (*tree_path_fn)(const char *path, void *arg);
mrmr_err tree_by_path(struct pool_tree *tree, struct tree_node *node, tree_path_fn fn, void *arg);
/* MRMR_ABSENT: another thing is there now. */
mrmr_err tree_check_stat(struct pool_tree *tree, const struct tree_spot *spot, const char *path,
    const struct drv_stat *stat);
/* Nobody answered, or the medium failed: ask the catalog. The monitor looks after the drive then. */
bool tree_silent(struct tree_drive *drive, mrmr_err err);

/* The node's attributes now. */
mrmr_err tree_look(struct pool_tree *tree, struct tree_node *node, struct pool_attr *ret_attr);

/* What they are, by what was seen at this name. False: that is not of this node. */
bool tree_look_seen(struct pool_tree *tree, struct tree_node *node, const char *name,
    const struct tree_seen *seen, struct pool_attr *ret_attr);

/* --- tree_known.c --- */

/* What the drive said of its copy of the folder, if that holds still. Else it is asked, and what it
 * says is kept if nothing happened since the ticket. */
bool tree_known_get(struct pool_tree *tree, const struct tree_node *folder, size_t drive,
    struct pool_attr *ret_attr, struct tree_known_ticket *ret_ticket);
void tree_known_put(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct pool_attr *attr, const struct tree_known_ticket *ticket);
/* Inside of a change by one name, between tree_own_name and tree_owned_name: before the op; and after all
 * of it was settled, what the op said of the drive's copy. */
struct tree_known_ticket tree_known_change(struct pool_tree *tree, const struct tree_node *folder);
void tree_known_brought(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *stat, const struct tree_known_ticket *ticket);
/* The drive's copy changed; by an event that is taken for ours. */
void tree_known_void_locked(struct tree_node *folder, size_t drive);
void tree_known_own_event_locked(struct tree_node *folder, size_t drive);
void tree_known_void_all_locked(struct tree_node *folder);
/* After tree_own_name and tree_owned_name around one name that was made or taken: on this drive alone. */
void tree_known_settle_locked(struct tree_node *folder, size_t drive);
/* The same after a name that showed this was taken. */
void tree_known_taken(
    struct pool_tree *tree, struct tree_node *folder, const struct tree_name *shows);

/* --- tree_quiet.c --- */

/* Around making something in the folder's copy on a drive that is no change of the folder; one at a time
 * on a drive. before, after: that copy (NULL: not known); after, with the mtime that it had before. The
 * ticket is taken before the drive is asked for `before`. */
struct tree_quiet_ticket {
    bool alone; /* nothing else of ours was changing its names */
    uint32_t named;
};
struct tree_quiet_ticket tree_quiet_take(struct pool_tree *tree, const struct tree_node *folder);
void tree_quiet_begin(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *before, const struct tree_quiet_ticket *ticket);
/* Between the two: the folder's names were changed by nothing else of ours since the ticket, so its mtime
 * may be put back. */
bool tree_quiet_alone(struct pool_tree *tree, const struct tree_node *folder, size_t drive);
void tree_quiet_end(
    struct pool_tree *tree, struct tree_node *folder, size_t drive, const struct drv_stat *after);
/* A copy of it was made on this drive, of the one on another, which has it like that. */
void tree_quiet_copy(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *is, size_t source, const struct drv_stat *of);
/* What the copy on a drive is said to be, as it is to be seen. */
void tree_quiet_attr(
    struct pool_tree *tree, const struct tree_node *folder, size_t drive, struct pool_attr *attr);
/* Its attributes were changed through us. */
void tree_quiet_changed(struct pool_tree *tree, struct tree_node *folder);
void tree_quiet_free(struct tree_quiet *quiet); /* NULL-safe */

/* --- tree_find.c --- */

mrmr_err tree_finder_start(struct pool_tree *tree);
void tree_finder_stop(struct pool_tree *tree);
/* Calls fn with each path at which an inode of a drive may be that no scan has seen there, until one
 * is not MRMR_ABSENT; fn may change it. May take as long as a look at each folder of the drive. */
mrmr_err tree_find_path(struct pool_tree *tree, size_t drive, uint64_t ino,
    mrmr_err (*fn)(char *path, void *arg), void *arg);

/* --- tree_watch.c --- */

mrmr_err tree_watch_start(struct pool_tree *tree);
void tree_watch_stop(struct pool_tree *tree);
/* Watch a drive's copy of a folder. False: it is not watched. */
bool tree_watch_folder(struct tree_drive *drive, const char *path, uint64_t number);
void tree_unwatch_locked(struct pool_tree *tree, const struct tree_node *folder);
/* For the monitor. Without memory it is not done: a map that should be loaded is stale by then. */
void tree_later_locked(
    struct pool_tree *tree, enum tree_todo_kind kind, uint64_t number, const char *name);
void tree_tell_name(struct pool_tree *tree, uint64_t folder, const char *name);
void tree_tell_node(struct pool_tree *tree, uint64_t node, bool bytes);

/* --- tree_due.c --- */

/* We changed it just now: whoever keeps its attributes is told, after tree_own_window. */
void tree_due_locked(struct pool_tree *tree, struct tree_node *node);
/* Monotonic: when there is something to tell. INT64_MAX: nothing. */
int64_t tree_due_next_locked(const struct pool_tree *tree);
/* Of all that is due by now. The monitor's. */
void tree_due_tell(struct pool_tree *tree);
void tree_due_forget(struct pool_tree *tree);

/* The drive serves anew: a watch of what served before knows nothing of it. */
void tree_watch_drive(struct tree_drive *drive);

/* --- tree_drives.c --- */

mrmr_err tree_drives_start(struct pool_tree *tree);
/* Drives that were added to the pool since. The monitor's. */
void tree_drives_grow(struct pool_tree *tree);
/* At what is at the root of a drive that is out of service, or gave an error. The monitor's. True: a
 * look is under way. */
bool tree_drive_look(struct tree_drive *drive, bool may_start);
void tree_drive_leave(struct tree_drive *drive);

/* --- tree_file.c, tree_open.c, tree_read.c: open files --- */

/* The drive went: no open file holds anything on it any more, so that it can be unmounted. */
void tree_files_let_go(struct pool_tree *tree, size_t drive);

/* Any open file of the node, or what is kept of it; for writing, if it must be. NULL: there is none.
 * The file stays open as long as the caller does not let go of it. */
struct tree_original;
struct tree_original *tree_original_of_node(
    struct pool_tree *tree, struct tree_node *node, bool writing);
struct tree_original *tree_original_of_file(struct pool_tree_file *file);
/* Somebody has it open on its drive: nothing else has its inode. The tree's lock is held. */
bool tree_node_open_locked(const struct tree_node *node);
/* Opened again, if its drive has come back or it lies on another by now. */
struct tree_original *tree_original_now(struct pool_tree_file *file);
void tree_original_ref(struct tree_original *original);
void tree_original_put(struct tree_original *original); /* NULL-safe */
struct drv_file *tree_original_file(const struct tree_original *original);
uint64_t tree_original_ino(const struct tree_original *original);
/* What it was when it was opened, or looked at last; guarded by the tree's lock. */
struct tree_seen_file {
    bool is; /* false: nothing is known */
    int64_t mtime;
    uint64_t size, writes; /* writes: of its node, through us */
};
struct tree_seen_file *tree_original_seen(struct tree_original *original);
/* Goes on to the next of the open files. Of one that stands for its node what it has open, counted, with the node
 * and the drive; NULL: another stands for that, its drive is away or tells nothing, or it is used directly. */
struct tree_original *tree_files_turn_locked(
    struct pool_tree *tree, struct tree_node **ret_node, size_t *ret_drive);
mrmr_err tree_open_original(struct drv *drv, const char *path, bool writing,
    struct drv_file **ret_file, struct drv_stat *ret_stat);
/* A file that was just made, open for writing. Takes the original, also when it fails. */
mrmr_err tree_file_made(struct pool_tree *tree, struct tree_node *node, struct drv_file *original,
    const struct drv_stat *stat, struct pool_tree_file **ret_file);
/* Takes the open file, also when there is no memory: NULL. */
struct tree_original *tree_original_new(struct drv_file *opened, uint64_t ino);
struct pool_tree *tree_file_tree(const struct pool_tree_file *file);
/* The node of an open file, which holds it. */
struct tree_node *tree_file_node(const struct pool_tree_file *file);
size_t tree_file_drive(const struct pool_tree_file *file);
/* As whom its bytes are written; NULL: as the process. */
const struct pool_caller *tree_file_caller(const struct pool_tree_file *file);
/* Its drive is back: open the original again, if it is what was opened. */
void tree_file_open_again(struct pool_tree_file *file);
/* It lies on another drive: whoever has it open opens it there. The tree's lock is held. */
void tree_files_brought_locked(
    struct tree_node *node, size_t drive, struct tree_original **ret_old);
void tree_originals_put(struct tree_original *list);
uint64_t *tree_file_seen(struct pool_tree_file *file); /* for tree_sync_end */
/* Bytes that are written, and not what the catalog knows of this content. */
void tree_file_written(struct pool_tree *tree, struct tree_node *node);

/* How an open file was given to whoever wanted it; guarded by the tree's lock. */
enum tree_way {
    TREE_WAY_OWN,      /* not at all: it is used here alone, or he does not say */
    TREE_WAY_ORDINARY, /* he asks for each byte */
    TREE_WAY_DIRECT,
};
enum tree_way *tree_file_way_locked(struct pool_tree_file *file);
bool tree_node_ordinary_locked(const struct tree_node *node); /* some open file of it is that */
bool tree_file_writes(const struct pool_tree_file *file);

/* --- tree_direct.c: files that the kernel uses without asking --- */

mrmr_err tree_direct_start(struct pool_tree *tree);
void tree_direct_stop(struct pool_tree *tree);
/* Somebody may write it now, and nobody sees it. */
bool tree_direct_has(struct pool_tree *tree, const struct tree_node *node);
/* The same of an inode, also of what an earlier mount left behind. */
mrmr_err tree_direct_recorded(
    struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_recorded);

/* --- tree_stores.c: what others store into files that are open --- */

mrmr_err tree_stores_start(struct pool_tree *tree);
void tree_stores_stop(struct pool_tree *tree);
void tree_stores_opened_locked(struct pool_tree *tree); /* a file was */

/* --- tree_parted.c: what lost its name and is held --- */

void tree_parted_start(struct pool_tree *tree);
/* Before the last name of the node that is known goes from a drive, or goes to another: it is kept,
 * if that can be. What has this stat is at the path. No lock is held. */
void tree_parted_keep(struct pool_tree *tree, struct tree_node *node, size_t drive,
    const char *path, const struct drv_stat *stat);
/* The same after it went: takes the open file. */
void tree_parted_take(
    struct pool_tree *tree, struct tree_node *node, size_t drive, struct drv_named *named);
/* The name did not go. */
void tree_parted_drop(struct pool_tree *tree, struct tree_node *node);
/* The drive went; TREE_DRIVES_MAX: all of them. */
void tree_parted_let_go(struct pool_tree *tree, size_t drive);
/* The node goes, or lies elsewhere now; with the tree's lock held. Whoever has it takes what was let
 * go of, and clears it when he has left the lock; if he does not, the next one does. */
void tree_parted_leave_locked(struct pool_tree *tree, struct tree_node *node);
struct tree_parted *tree_let_go_take_locked(struct pool_tree *tree);
void tree_parted_clear(struct tree_parted *list); /* NULL-safe */
/* Counted; NULL: there is none. */
struct tree_original *tree_parted_original_locked(const struct tree_node *node, bool writing);
bool tree_parted_open_locked(const struct tree_node *node);
/* Appends what the symlink led to. MRMR_ABSENT: it is not kept. */
mrmr_err tree_parted_target(
    struct pool_tree *tree, const struct tree_node *node, struct mrmr_bytes *target);

/* --- leaf_cache.c: leaves that were made, in bounded memory, with read-ahead --- */

struct leaf_cache;
struct pool_file;
mrmr_err leaf_cache_create(size_t leaves, unsigned threads, struct leaf_cache **ret_cache);
void leaf_cache_destroy(struct leaf_cache *cache); /* NULL-safe; its files closed by then */
/* Part of one leaf of a file. The same leaf is made once, whoever else wants it; a reader that goes
 * on from leaf to leaf has the next ones made meanwhile. */
mrmr_err leaf_cache_read(struct leaf_cache *cache, struct pool_file *file, uint64_t leaf,
    size_t from, void *buf, size_t size);
/* The file is about to be closed: nobody makes a leaf of it any more. */
void leaf_cache_leave(struct leaf_cache *cache, struct pool_file *file);

/* --- read.c --- */

/* For one node, as the catalog knows it now. */
mrmr_err pool_file_open_node(
    struct pool *pool, const struct meta_node *node, unsigned flags, struct pool_file **ret_file);
/* One whole leaf (less at the end), verified; several threads at once. */
mrmr_err pool_file_leaf(struct pool_file *file, uint64_t leaf, void *buf);
const struct meta_node *pool_file_node(const struct pool_file *file);

#endif
