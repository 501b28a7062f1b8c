/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What changed a moment ago will often change again: whoever protects by himself leaves it exposed
 * until it has been quiet for a while, and so encodes it once.
 *
 * Young is what is exposed of a file whose last change is less than `settle` ago, as the last scan
 * saw the file: its ctime where that is stable, or its mtime, whichever is later. A time to come is
 * nobody's last change: somebody set it, or a clock was wrong. Then the file counts as changed when
 * the catalog first saw these bytes exposed; if that is to come as well, the clock was set back
 * since, nothing tells, and the file is not young. So nothing waits for longer than `settle` after
 * a time of the past. A file that goes on changing waits for ten times `settle`, and ten minutes, after
 * its bytes were first seen exposed. Of such a one leaves are hot that were written to through MRMR less than `settle`, or ten seconds, ago, if the
 * file was since the scan: they are left exposed, since the commit would not claim them (written.h), nor what is coded with them. The
 * others are protected. What was protected and is as it was stays so (compare.c). Who writes on the drive itself, more often than
 * it takes to read the file and to commit, is claimed nothing new of.
 *
 * Nothing depends on it that matters for safety: what is claimed was read, and is looked at again
 * before the commit (I4), whatever its age.
 *
 * Threads: a judge does not change; any thread.
 */
#ifndef MRMR_POOL_YOUNG_H
#define MRMR_POOL_YOUNG_H

#include "pool/records/touched.h"
#include "pool/records/written.h"

struct pool_young {
    struct pool *pool;
    int64_t settle; /* ns; 0: nothing is young */
    int64_t now;    /* of all judgements, so that each comes out the same */
    /* Of what was written to through MRMR since the scan. */
    struct pool_touched touched;
    struct pool_written_table written;
    struct pool_written_since rested; /* what was not written to since is not hot */
};
/* settle: seconds. */
void pool_young_init(struct pool_young *young, struct pool *pool, uint64_t settle);

/* Look again at what was written to meanwhile; before that nothing is hot. */
mrmr_err pool_young_look(struct pool_young *young);
void pool_young_free(struct pool_young *young);
/* The file was written to since the scan; of such a one: so was the leaf, a moment ago. */
bool pool_young_is_hot(const struct pool_young *young, const struct meta_node *node);
bool pool_young_leaf_is_hot(
    const struct pool_young *young, const struct meta_node *node, uint64_t leaf);

/* *ret_until: when it will have settled (real time), after now; 0: it has. */
mrmr_err pool_young_until(
    const struct pool_young *young, const struct meta_exposed *range, int64_t *ret_until);

struct pool_young_total {
    uint64_t files, bytes;
    int64_t until; /* the first of them; 0: there are none */
};
/* What is young on a drive; adds. Costs a walk over all that is exposed there, if anything may be. */
mrmr_err pool_young_on(
    const struct pool_young *young, const struct pool_drive *drive, struct pool_young_total *total);

#endif
