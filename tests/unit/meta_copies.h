/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Copies of a catalog as a test holds them: the text of a base and of the logs after it, and catalogs
 * that are restored from them.
 */
#ifndef MRMR_TESTS_UNIT_META_COPIES_H
#define MRMR_TESTS_UNIT_META_COPIES_H

#include "meta_support.h"

struct copies {
    struct mrmr_bytes base, log[64];
    size_t logs;
    int64_t sequence;
};

/* The texts; reusable afterwards. */
void copies_free(struct copies *c);
/* What the text has, in place of what is in `out`. Frees it. */
void copies_read(struct meta_text *text, struct mrmr_bytes *out);
struct meta_copy_state copies_state(struct world *w);
/* A base in place of all that c has; a log more. Each is one more in sequence. */
void copies_base(struct world *w, struct copies *c);
void copies_log(struct world *w, struct copies *c);
/* A file of the test's folder. */
void world_file(struct world *w, char path[160], const char *name);
/* One text, line by line, as our code reads it. */
mrmr_err copies_restore(struct meta_restore *r, const struct mrmr_bytes *text, bool base);
/* SQLite alone and our code make of them the catalog that is. */
void copies_assert_restores(struct world *w, const struct copies *c);

#endif
