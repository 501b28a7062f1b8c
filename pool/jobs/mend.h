/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of mending share: mend.c; mend_rows.c, where rows get their places; mend_evict.c, where a stripe gives up blocks; and mend_give_up.c,
 * what nothing can give back. Everyone else uses pool/engine.h.
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

/* Rows for an image: those it has stay on their drives where these can be written; the others get
 * new ones. Ends with fewer than wanted where there is no drive for them. staying: the stripe whose
 * rows beyond the redundancy stay beside the image's for now; NULL if the image replaces all. */
mrmr_err pool_mend_place_rows(
    struct mend *m, struct pool_image *image, const struct meta_stripe *staying, uint64_t length);

/* The stripe lacks a row, and spans every drive: blocks of it leave, if that is worth it. */
mrmr_err pool_mend_deepen(struct mend *m, const struct meta_stripe *stripe);

/* Leaves of the stripe that nothing can give back are not waited for any longer. MRMR_LOST: a drive of it is not there, which may. */
mrmr_err pool_mend_give_up(struct mend *m, const struct meta_stripe *stripe);

#endif
