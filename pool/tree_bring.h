/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of tree_bring.c and tree_bring_record.c.
 */
#ifndef MRMR_POOL_TREE_BRING_H
#define MRMR_POOL_TREE_BRING_H

#include "pool/brought.h"
#include "pool/tree_pair.h"

#define TREE_BRING_FOLDER POOL_DOT "/moving"
#define TREE_BRING_RECORD POOL_BROUGHT_BEGUN
#define TREE_BRING_TRY "try-b-" /* of what says nothing */

/* It is through: the record is for whoever asks what was brought (brought.h), who removes it. */
void tree_bring_ended(struct pool_tree *tree, const char *record);

#endif
