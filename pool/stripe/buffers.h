/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Large buffers, recycled: giving one back to the system and asking for another costs a page fault
 * for each 4 KiB of it, which at these rates is a good part of the work. What is kept idle is
 * bounded, and goes for what is asked for anew: all together are never more than were in use at a time. Any thread.
 */
#ifndef MRMR_POOL_BUFFERS_H
#define MRMR_POOL_BUFFERS_H

#include "base/err.h"

struct pool_buffers;

mrmr_err pool_buffers_create(struct pool_buffers **ret_buffers);
void pool_buffers_destroy(struct pool_buffers *buffers); /* NULL-safe; all are back by then */

/* NULL if there is no memory. */
void *pool_buffers_get(struct pool_buffers *buffers, size_t size);
/* buffer of that size; NULL is fine. */
void pool_buffers_put(struct pool_buffers *buffers, void *buffer, size_t size);

#endif
