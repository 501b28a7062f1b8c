/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is retained on each drive at one moment, for the files that take it in and let go of it
 * (retained_list.c, retained_take.c, retained_release.c); everyone else uses pool/retained.h.
 *
 * Threads: one. What leaf_find gives is the list's.
 */
#ifndef MRMR_POOL_RETAINED_LIST_H
#define MRMR_POOL_RETAINED_LIST_H

#include "pool/retained/retained.h"

enum { POOL_RETAINED_DIGEST_HEX = 2 * MRMR_DIGEST_SIZE, POOL_RETAINED_FILE_HEX = 16 };

struct retained_leaf {
    struct mrmr_digest digest;
    uint64_t ino;
    int64_t mtime, ctime;
    uint64_t size; /* of the file that it is; of a symlink or a pointer 0 */
    bool needed;
};

/* A name below files/; what is longer is none of ours. */
struct retained_file {
    char name[48];
    bool seen; /* stat is known */
    struct drv_stat stat;
};

struct retained_drive {
    struct pool_drive *drive;
    struct mrmr_bytes leaves; /* struct retained_leaf, sorted by digest */
    struct mrmr_bytes files;  /* struct retained_file */
    struct mrmr_bytes temps;  /* paths that were being made, each with its NUL */
    size_t pointers;          /* records that were there; of leaves, with inode 0 */
    bool skipped;             /* not all of it could be seen, put back, or let go of */
    uint64_t freed;           /* bytes, by the release */
};

struct pool_retained {
    uint64_t freed; /* bytes */
    bool left_out;  /* of a drive: it was not let go of all that nobody needs, or nobody can tell */
    size_t n;
    struct retained_drive drive[];
};

static inline size_t retained_leaves(const struct retained_drive *d)
{
    return d->leaves.size / sizeof(struct retained_leaf);
}
static inline struct retained_leaf *retained_leaf_at(const struct retained_drive *d, size_t i)
{
    return (struct retained_leaf *)(void *)d->leaves.data + i;
}
static inline size_t retained_files(const struct retained_drive *d)
{
    return d->files.size / sizeof(struct retained_file);
}
static inline struct retained_file *retained_file_at(const struct retained_drive *d, size_t i)
{
    return (struct retained_file *)(void *)d->files.data + i;
}

/* One of those with this digest; NULL: nothing is kept under it. */
struct retained_leaf *pool_retained_find(
    const struct retained_drive *d, const struct mrmr_digest *digest);
/* The drive's part of the list; NULL if it has none. */
struct retained_drive *pool_retained_of(struct pool_retained *retained, int64_t drive);
/* What lies in the folders of one drive, pointers left aside; into what is empty, in no order. */
mrmr_err pool_retained_list_folders(struct retained_drive *d);
void pool_retained_list_free(struct retained_drive *d);
/* It is 16 hex digits: the name of a kept file. */
bool pool_retained_is_file_name(const char *name);

#endif
