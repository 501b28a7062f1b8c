/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Write scopes: every function of the catalog that writes does so between meta_write_begin and
 * meta_write_end. Outside of a meta_begin the scope is a transaction of its own; inside, it is a
 * part of the open one.
 *
 * A refusal (absent, conflict, invalid) that changed no row leaves the open transaction usable.
 * Every other error makes it sticky-failed: what it holds is then half of something, and only
 * meta_rollback leaves that state.
 *
 * Called with meta->lock held. Scopes nest; only the outermost one commits.
 */
#ifndef MRMR_META_TRANSACTION_H
#define MRMR_META_TRANSACTION_H

#include "meta/query.h"

/* After MRMR_OK a meta_write_end must follow; after an error it must not. */
mrmr_err meta_write_begin(struct meta *meta);
/* err is how the scope's work went; returns how the scope went. */
mrmr_err meta_write_end(struct meta *meta, mrmr_err err);

/* One statement as a scope; takes the lock itself. */
mrmr_err meta_write(struct meta *meta, const char *sql, const struct meta_arg *args);

/* Inside a scope: the next value of node.sequence, or the shared one. came: newer than what shares that. */
mrmr_err meta_sequence_next(struct meta *meta, bool came, int64_t *ret_sequence);

#endif
