/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Nodes of the live tree (tree.c): in the table while the kernel holds one, or anything here does. A node's
 * number never changes.
 *
 * Ownership: by counts, get and put. Locks: the tree's, for all but the number and the kind.
 */
#ifndef MRMR_POOL_TREE_NODE_H
#define MRMR_POOL_TREE_NODE_H

#include "pool/tree/tree_map.h"
#include "pool/tree/tree_times.h"

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
    bool partial;              /* the map may lack names: a drive that is live could not be read */
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
    unsigned names_wait; /* of these, changes of its names that wait until nobody is bringing it */
    bool leaving;        /* it is being brought elsewhere */
    bool appending;      /* an append finds out where it ends, and writes there */
    struct tree_counted *counted; /* tree_counted.c's; NULL until it was needed */

    /* tree_sync.c's. */
    struct tree_set owes;       /* the drives on which something of it is not known to be durable */
    uint64_t owed;              /* counts up with each change of that kind */
    uint64_t loss;              /* the last one of something that it owed; 0: none */
    bool told;                  /* somebody was */
    bool remembered;            /* counted among those that stay for it */
    struct tree_parted *parted; /* tree_parted.c's; NULL: nothing is kept of it */
    struct tree_direct *direct; /* tree_direct.c's; NULL: it is not in use directly */
};

/* All with the lock held. */
struct tree_node *tree_find_locked(struct pool_tree *tree, uint64_t number);
/* The node, made if it is not there, with this name of it as the latest; counted once in refs. NULL: the story
 * says why (MRMR_NOMEM; MRMR_ABSENT: a folder that this one lies in). */
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

/* Renames so far; and whether what was not found since may have another path by now: after those that
 * are under way. Not for who renames. */
uint64_t tree_moves(struct pool_tree *tree);
bool tree_moved_since(struct pool_tree *tree, uint64_t moves);

#endif
