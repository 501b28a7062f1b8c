/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the catalog knows of a drive, by the paths at which things are now: what was renamed through MRMR
 * since the last scan has its new name, and the old one leads nowhere; what was removed leads nowhere,
 * whether the drive was there (moved.h) or away (gone.h). The one place that says so, for all who cannot ask
 * the drive, or do not: the live tree of drives that are away, ls, where, cat, rebuild.
 *
 * A folder that was made since the last scan, and into which something was moved, is none of the
 * catalog's: it is shown as the nearest folder above it that is, and its node has no id.
 *
 * The catalog and the records are read when something is asked, so an answer is of one moment, and the
 * next one may be of another. What the records say is worked out once, and anew when they are others.
 *
 * Threads: one at a time for each of these. Paths are relative to the drive's root. Errors: the
 * catalog's, and those of the records; MRMR_ABSENT, MRMR_NOT_DIR: nothing is there.
 */
#ifndef MRMR_POOL_NAMES_H
#define MRMR_POOL_NAMES_H

#include "pool/engine.h"

struct pool_gone;
struct pool_names;

/* gone: what was removed while drives were away, which is left out, as it is in its table; NULL: the
 * caller sees to that. It stays the caller's. */
mrmr_err pool_names_create(struct pool *pool, const struct meta_drive *drive,
    struct pool_gone *gone, struct pool_names **ret_names);
void pool_names_destroy(struct pool_names *names); /* NULL-safe */
/* What the catalog says may be another thing now, though the records are the same. */
void pool_names_forget(struct pool_names *names);

/* From now on by the records as they are at this moment, for who places by the names what it finds by
 * them. */
mrmr_err pool_names_hold(struct pool_names *names);

/* What is at the path now. */
mrmr_err pool_names_lookup(struct pool_names *names, const char *path, struct meta_node *ret_node);
/* The path at which the catalog has what is at this one now; the same one, if it has it nowhere. */
mrmr_err pool_names_origin(struct pool_names *names, const char *path, struct mrmr_bytes *ret_path);
/* The path at which is now what the catalog has at this one. MRMR_ABSENT: that name of it is gone. */
mrmr_err pool_names_place(struct pool_names *names, const char *path, struct mrmr_bytes *ret_path);

/* Adds the paths, each with its NUL, at which are now those names of the node that are not gone. */
mrmr_err pool_names_places(struct pool_names *names, int64_t node, struct mrmr_bytes *paths);

/* Calls fn for each thing that is in the folder now, those that the catalog has there first. It may not
 * ask of the same names. */
typedef mrmr_err (*pool_names_fn)(const char *name, const struct meta_node *node, void *arg);
mrmr_err pool_names_list(struct pool_names *names, const char *folder, pool_names_fn fn, void *arg);
/* The same, sorted by name (memcmp order): one allocation to free(). */
mrmr_err pool_names_children(
    struct pool_names *names, const char *folder, struct meta_child **ret_children, size_t *ret_n);

#endif
