/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool, and a mount that renames on its first drive: for tests of the file of renames (pool/records/moved.h).
 */
#ifndef MRMR_TESTS_POOL_MOVED_WORLD_H
#define MRMR_TESTS_POOL_MOVED_WORLD_H

#include "pool/records/moved.h"
#include "pool/writers.h"
#include "tests/support/kept.h"

enum { DRIVES = 5, MANY = 100, FEW = 6 };

/* The mount: a process of its own, which only looks at the pool, and writes to drive 0. */
struct mount {
    struct rig *rig;
    struct pool *pool;
    struct pool_writers *writers;
    char was[256][128]; /* the catalog's path of each file of the rig */
};

/* Files of a bit less than two leaves on each drive, and a folder with small ones on drive 0: FEW, or
 * as many as are asked for. */
struct mount *begin(uint64_t seed);
struct mount *begin_with(uint64_t seed, unsigned small);
void end(struct mount *m);
/* The catalog and the drives agree. */
void mount_note(struct mount *m);

/* A record of a rename, without the rename. */
void record(struct mount *m, const char *from, const char *to, enum pool_moved_kind kind);
void move(struct mount *m, const char *from, const char *to);
void exchange(struct mount *m, const char *a, const char *b);
/* What of the rig's files lies at or below `from` is at `to`. */
void rig_moved(struct rig *rig, const char *from, const char *to);

/* Every byte of every file, by its path in the catalog, through that pool. */
void reads(struct mount *m, struct pool *pool, unsigned flags);
/* With choices of two other drives away (all of them where rig_all says so, else every third,
 * another one each time), by the owner or by the mount. */
void reads_all(struct mount *m);
/* Of the file of renames. */
uint64_t moved_size(struct mount *m);
/* Nothing of this file of the rig is let go of, or held. */
void all_is_live(struct mount *m, size_t i);
/* Before a scan, after it while nothing can be encoded, and afterwards. Destroys the rig. */
void renames_harm_nobody(struct mount *m);

#endif
