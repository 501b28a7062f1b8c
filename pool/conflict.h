/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The number of paths that lie on several drives and are not folders on all of them. Reads the
 * catalog only.
 */
#ifndef MRMR_POOL_CONFLICT_H
#define MRMR_POOL_CONFLICT_H

#include "pool/engine.h"

mrmr_err pool_conflicts(struct pool *pool, uint64_t *ret_conflicts);

#endif
