/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was brought from one drive to another through a mount (tree_bring.c) since the last scan. Its source was removed like
 * any other file, and the catalog does not have the copy yet: whoever takes in removals without a scan (retained_take.c) leaves
 * it alone, so that what stripes count on of it stays counted until a scan has met the copy (I6). A scan that has, takes the source for vanished, as
 * before: what it finds of the copy is exposed from then on, and protected in the same sync if it is quiet. One that has not looked at the copy's
 * drive, as it is away, or held, leaves the source in the catalog as it was, with what is retained of it. Where the pool has lost that drive
 * the source is held, as what vanished without anyone's word: it can be restored, or be given up by that word.
 *
 * The pool's folder has a record for each (pair.h), durable before the copy has a name: `bring-<16 hex>` while it is
 * brought, `bring-over-<16 hex>` where that it is over at its source is not recorded yet, and `brought-<16 hex>` from when it is through. All are looked at, so it does not matter which name a cut leaves. A
 * sync removes those that had ended before its scan, if both drives were there, and are not held; a drive that is none of the pool any more need not be.
 *
 * Crash argument. No drive is written to. A record that a cut leaves behind keeps a release from letting go of one file until
 * the next sync.
 *
 * Threads: the owner's. Errors: of the pool's folder.
 */
#ifndef MRMR_POOL_BROUGHT_H
#define MRMR_POOL_BROUGHT_H

#include "pool/engine.h"

#define POOL_BROUGHT_BEGUN "bring-"
#define POOL_BROUGHT_ENDED "brought-"

struct pool_brought_file;
struct pool_brought {
    struct pool_brought_file *file; /* by drive and inode */
    size_t n;
};
mrmr_err pool_brought_load(struct pool *pool, struct pool_brought *ret_brought);
void pool_brought_free(struct pool_brought *brought);
/* The inode of the drive was brought to another one; or some of that drive was, and it is not known which. */
bool pool_brought_has(const struct pool_brought *brought, int64_t drive, uint64_t ino);
/* A drive whose scan this is saw that it is not there any more. */
enum pool_brought_source {
    POOL_BROUGHT_NOT,   /* nobody has brought it */
    POOL_BROUGHT_MET,   /* a scan looks at the copy's drive, too */
    POOL_BROUGHT_WAITS, /* none does */
    POOL_BROUGHT_LOST   /* nor will one: the pool has lost that drive */
};
enum pool_brought_source pool_brought_source(
    struct pool *pool, const struct pool_brought *brought, int64_t drive, uint64_t ino);
/* After a scan, of what was loaded before it. */
void pool_brought_forget(struct pool *pool, const struct pool_brought *brought);

#endif
