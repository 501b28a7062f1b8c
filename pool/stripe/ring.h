/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A bounded ring of equal buffers between one producing and one consuming thread: memory is fixed,
 * the faster side waits. Either side may close it: with an error the other side gets that error at
 * its next call.
 */
#ifndef MRMR_POOL_RING_H
#define MRMR_POOL_RING_H

#include "pool/stripe/buffers.h"
#include <pthread.h>

enum { POOL_RING_DEPTH = 2 };

struct pool_ring {
    struct pool_buffers *buffers;
    size_t size; /* of a buffer; fixed */

    pthread_mutex_t lock;
    pthread_cond_t moved;
    /* Guarded by lock. A buffer's bytes belong to the side that holds it. */
    uint8_t *buf[POOL_RING_DEPTH];
    size_t used[POOL_RING_DEPTH]; /* bytes put; 0 stands for zeros */
    unsigned put, got;            /* counts; put − got ≤ DEPTH */
    mrmr_err closed;              /* sticky */
};

mrmr_err pool_ring_init(struct pool_ring *ring, struct pool_buffers *buffers, size_t size);
void pool_ring_free(struct pool_ring *ring);

/* The producer's next buffer, and handing it over with the bytes used. */
mrmr_err pool_ring_put_begin(struct pool_ring *ring, uint8_t **ret_buf);
void pool_ring_put_end(struct pool_ring *ring, size_t used);
/* The consumer's next buffer, and giving it back. */
mrmr_err pool_ring_get_begin(struct pool_ring *ring, uint8_t **ret_buf, size_t *ret_used);
void pool_ring_get_end(struct pool_ring *ring);
/* Either side: the other gets err (not MRMR_OK) at its next call, also if it waits now; the first
 * one stays. */
void pool_ring_close(struct pool_ring *ring, mrmr_err err);

#endif
