/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of a view, for view.c and reconstruct.c only; everyone else uses pool/engine.h.
 */
#ifndef MRMR_POOL_VIEW_H
#define MRMR_POOL_VIEW_H

#include "pool/engine.h"

struct pool_view {
    struct meta_stripe image; /* never changes */

    pthread_mutex_t lock;
    struct pool_row_reader *row[META_ROWS_MAX]; /* guarded by lock; once set, stays */

    /* Guarded by the lock of pool_stripes. */
    struct pool_view *next;
    unsigned holders;
    bool stale; /* the stripe has a newer generation: not handed out any more */
};

/* The row's open reader; it lives as long as the view. */
mrmr_err pool_view_row(
    struct pool *pool, struct pool_view *view, unsigned index, struct pool_row_reader **ret_reader);

#endif
