/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/stripe/buffers.h"

#include "base/cleanup.h"

enum { BUFFERS_KEPT = 128 };
#define BUFFERS_BYTES_KEPT ((size_t)64 << 20)

struct pool_buffers {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct idle {
        void *buffer;
        size_t size;
    } idle[BUFFERS_KEPT];
    size_t n, bytes;
};

mrmr_err pool_buffers_create(struct pool_buffers **ret_buffers)
{
    struct pool_buffers *buffers = calloc(1, sizeof *buffers);
    if (!buffers)
        return mrmr_nomem();
    pthread_mutex_init(&buffers->lock, NULL);
    *ret_buffers = buffers;
    return MRMR_OK;
}

void pool_buffers_destroy(struct pool_buffers *buffers)
{
    if (!buffers)
        return;
    while (buffers->n)
        free(buffers->idle[--buffers->n].buffer);
    pthread_mutex_destroy(&buffers->lock);
    free(buffers);
}

static void *buffers_take_locked(struct pool_buffers *buffers, size_t at)
{
    void *buffer = buffers->idle[at].buffer;
    buffers->bytes -= buffers->idle[at].size;
    buffers->idle[at] = buffers->idle[--buffers->n];
    return buffer;
}

/* Those of other sizes go for a new one, so that all together are never more than were in use at a time. */
static void buffers_trade_locked(struct pool_buffers *buffers, size_t size)
{
    for (size_t freed = 0; buffers->n && freed < size;) {
        freed += buffers->idle[0].size;
        free(buffers_take_locked(buffers, 0));
    }
}

void *pool_buffers_get(struct pool_buffers *buffers, size_t size)
{
    {
        mrmr_locked(&buffers->lock);
        for (size_t i = buffers->n; i-- > 0;)
            if (buffers->idle[i].size == size)
                return buffers_take_locked(buffers, i);
        buffers_trade_locked(buffers, size);
    }
    return malloc(size);
}

void pool_buffers_put(struct pool_buffers *buffers, void *buffer, size_t size)
{
    if (!buffer)
        return;
    {
        mrmr_locked(&buffers->lock);
        if (buffers->n < BUFFERS_KEPT && buffers->bytes + size <= BUFFERS_BYTES_KEPT) {
            buffers->idle[buffers->n++] = (struct idle){buffer, size};
            buffers->bytes += size;
            return;
        }
    }
    free(buffer);
}
