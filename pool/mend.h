/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the two files of mending share: mend.c, and mend_evict.c, where a stripe gives up blocks. Everyone
 * else uses pool/engine.h.
 *
 * Threads: the owner's one that mends.
 */
#ifndef MRMR_POOL_MEND_H
#define MRMR_POOL_MEND_H

#include "pool/engine.h"

struct mend {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_sync_report *report;
    unsigned redundancy;
    bool accept;      /* the user gave up what is lost */
    bool release;     /* nothing is done but to take out what nobody wants */
    int64_t leave;    /* nothing is done but to have no rows on this drive; 0: no such drive */
    int64_t leave_to; /* of stripes that have something on this one */
    uint64_t done;
    uint64_t waits; /* stripes of which something could not be taken out */
    char *cause;    /* of the first of them, of POOL_MEND_CAUSE bytes; NULL: nobody asks */
    int64_t until;  /* monotonic: the release ends its turn; 0: no such end */
    uint64_t evicted, evict_room; /* stripes; bytes that rows of what is evicted may still take */
};

/* The stripe lacks a row, and spans every drive: blocks of it leave, if that is worth it. */
mrmr_err pool_mend_deepen(struct mend *m, const struct meta_stripe *stripe);

#endif
