/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the transactions of the catalog tell the journal. Called with meta->lock held; both do
 * nothing where no journal runs. Not for anyone outside meta/.
 */
#ifndef MRMR_META_JOURNAL_H
#define MRMR_META_JOURNAL_H

#include "meta/query.h"

/* Just before COMMIT, inside the transaction. */
mrmr_err meta_journal_commit(struct meta *meta);
/* The transaction that meta_journal_commit saw ended; nothing is open now. */
void meta_journal_committed(struct meta *meta, bool kept);
void meta_journal_close(struct meta *meta);

#endif
