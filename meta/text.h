/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The SQL text of a copy: of a log in a spool (an unlinked file beside the catalog, so that no text
 * is held in memory), of a base in a snapshot of the catalog, which is a connection of its own with
 * a read transaction: it shows one state whatever is committed meanwhile, and takes no lock of
 * ours.
 *
 * The functions of meta.h (meta_text_read, meta_text_free) are for everyone; these are not for
 * anyone outside meta/. A text belongs to one thread at a time.
 */
#ifndef MRMR_META_TEXT_H
#define MRMR_META_TEXT_H

#include "meta/table.h"

/* An empty spool in the folder of the catalog at path. */
mrmr_err meta_text_spool(const char *path, struct meta_text **ret_text);
mrmr_err meta_text_add(struct meta_text *text, const char *data, size_t size);
uint64_t meta_text_size(const struct meta_text *text);
/* Add the buffer and clear it if it is long by now, or at the end. */
mrmr_err meta_text_spill(struct meta_text *text, struct mrmr_bytes *buffer, bool end);
/* A meta_text_fn: arg is a spool. */
mrmr_err meta_text_to_spool(const char *data, size_t size, void *arg);

/* A snapshot of the catalog as it is; meta->lock is held, and nothing is open. */
mrmr_err meta_text_dump(struct meta *meta, struct meta_text **ret_text);

/* A table's rows as INSERTs, of an event table those with id > after, to fn in pieces. What is in
 * `text` goes before them. */
mrmr_err meta_text_rows(struct meta *meta, sqlite3 *db, const struct meta_table *table,
    int64_t after, struct mrmr_bytes *text, meta_text_fn fn, void *arg);

#endif
