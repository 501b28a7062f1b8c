/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An open file as it is in memory, for those who work on that: tree_file.c (the tree's open files, and
 * what they have open), tree_open.c (open, again, close), tree_read.c (its bytes). Everybody else has it
 * by tree_file.h.
 *
 * Ownership: of who opened it. It counts its node, and one of the counts of its original. Locks: the
 * tree's, and inside of it the file's own, under which there is no input or output.
 */
#ifndef MRMR_POOL_TREE_OPEN_H
#define MRMR_POOL_TREE_OPEN_H

#include "pool/tree/tree.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_look.h"

struct tree_original { /* counted: a read may still be on it when it is given up */
    atomic_uint refs;
    struct drv_file *file;
    uint64_t ino;
    struct tree_seen_file seen; /* guarded by the tree's lock */
    struct tree_original *next;
};

struct pool_tree_file {
    struct pool_tree *tree;
    /* Guarded by the tree's lock. */
    struct pool_tree_file *next, **at;           /* among the tree's */
    struct pool_tree_file *node_next, **node_at; /* among the node's */
    bool writing;
    enum tree_way way;
    uint64_t writes; /* of the node, when it was opened */
    uint32_t births; /* likewise */
    uint64_t seen;   /* the last loss of the node that a sync through this one told of, or had to */

    atomic_bool brought;    /* elsewhere, since it was opened */
    _Atomic size_t drive;   /* where it lies now */
    _Atomic int64_t btime;  /* of the inode */
    _Atomic int64_t ctime;  /* likewise, with the content that was opened */
    struct tree_node *node; /* counted */
    struct tree_spot spot;  /* when it was opened */
    bool acts;              /* its bytes are written as this user: */
    struct pool_caller caller;
    int64_t mtime; /* of the content that was opened */
    uint64_t size;

    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct tree_original *original;      /* NULL: none now */
    struct pool_file *made;              /* NULL: not wanted yet */
    struct tree_made_since {             /* of what was written to since the catalog has seen it: */
        struct pool_written_since since; /* zeros: it was not */
        int64_t drive;
        uint64_t ino;
    } made_since;
};

/* Among the open files of the tree and of its node, from now on. */
void tree_file_link(struct pool_tree_file *file);
/* Not any more; also of one that never was. */
void tree_file_unlink(struct pool_tree_file *file);

#endif
