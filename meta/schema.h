/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The catalog's schema and how an older one becomes this one. Called with meta->lock held, or
 * before anyone else has the connection.
 */
#ifndef MRMR_META_SCHEMA_H
#define MRMR_META_SCHEMA_H

#include "meta/query.h"

#define META_APPLICATION 0x4d524d52 /* "MRMR" as PRAGMA application_id */
#define META_SCHEMA 1               /* PRAGMA user_version */

/* Looks at the file without changing it: MRMR_CORRUPT if it is not a catalog, MRMR_NEWER.
 * *ret_version 0 = empty. */
mrmr_err meta_schema_probe(struct meta *meta, int *ret_version);
/* The schema of a version (1 to META_SCHEMA) in an empty database; inside a transaction. */
mrmr_err meta_schema_make(struct meta *meta, int version);
/* All steps from the version found to META_SCHEMA, in one transaction. */
mrmr_err meta_schema_migrate(struct meta *meta);
/* Every object of this schema is there, word for word; others may be there as well. */
mrmr_err meta_schema_check(struct meta *meta);

#endif
