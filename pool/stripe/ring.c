/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/stripe/ring.h"

#include "base/cleanup.h"
#include <string.h>

mrmr_err pool_ring_init(struct pool_ring *ring, struct pool_buffers *buffers, size_t size)
{
    memset(ring, 0, sizeof *ring);
    ring->buffers = buffers;
    ring->size = size;
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->moved, NULL);
    for (unsigned i = 0; i < POOL_RING_DEPTH; i++)
        if (!(ring->buf[i] = pool_buffers_get(buffers, size))) {
            pool_ring_free(ring);
            return mrmr_nomem();
        }
    return MRMR_OK;
}

void pool_ring_free(struct pool_ring *ring)
{
    if (!ring->size)
        return;
    for (unsigned i = 0; i < POOL_RING_DEPTH; i++)
        pool_buffers_put(ring->buffers, ring->buf[i], ring->size);
    pthread_mutex_destroy(&ring->lock);
    pthread_cond_destroy(&ring->moved);
    memset(ring, 0, sizeof *ring);
}

mrmr_err pool_ring_put_begin(struct pool_ring *ring, uint8_t **ret_buf)
{
    mrmr_locked(&ring->lock);
    while (!ring->closed && ring->put - ring->got == POOL_RING_DEPTH)
        pthread_cond_wait(&ring->moved, &ring->lock);
    if (ring->closed)
        return ring->closed;
    *ret_buf = ring->buf[ring->put % POOL_RING_DEPTH];
    return MRMR_OK;
}

void pool_ring_put_end(struct pool_ring *ring, size_t used)
{
    mrmr_locked(&ring->lock);
    ring->used[ring->put % POOL_RING_DEPTH] = used;
    ring->put++;
    pthread_cond_signal(&ring->moved);
}

mrmr_err pool_ring_get_begin(struct pool_ring *ring, uint8_t **ret_buf, size_t *ret_used)
{
    mrmr_locked(&ring->lock);
    while (!ring->closed && ring->put == ring->got)
        pthread_cond_wait(&ring->moved, &ring->lock);
    if (ring->closed)
        return ring->closed;
    *ret_buf = ring->buf[ring->got % POOL_RING_DEPTH];
    *ret_used = ring->used[ring->got % POOL_RING_DEPTH];
    return MRMR_OK;
}

void pool_ring_get_end(struct pool_ring *ring)
{
    mrmr_locked(&ring->lock);
    ring->got++;
    pthread_cond_signal(&ring->moved);
}

void pool_ring_close(struct pool_ring *ring, mrmr_err err)
{
    mrmr_locked(&ring->lock);
    if (!ring->closed)
        ring->closed = err;
    pthread_cond_broadcast(&ring->moved);
}
