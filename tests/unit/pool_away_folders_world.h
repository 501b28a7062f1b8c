/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A live tree of a pool one of whose drives is away, with folders that lie on it: alone, on another one,
 * too, and an empty one.
 */
#ifndef MRMR_TESTS_POOL_AWAY_FOLDERS_WORLD_H
#define MRMR_TESTS_POOL_AWAY_FOLDERS_WORLD_H

#include "tests/unit/pool_tree_user.h"

void begin_folders(struct world *w, enum rig_kind kind, uint64_t seed);
void remount(struct world *w);
/* The drive is there, and the tree is closed: all is as it is expected, and nothing is left to do. */
void all_is_well(struct world *w);
/* The same, and the end; the tree is open. */
void end_well(struct world *w);
/* The first drive never comes back: a fresh one takes its place. */
void is_rebuilt_onto_d5(struct world *w);
/* Events of that kind, so far. */
unsigned count_conflicts(struct world *w);

/* --- names --- */

void is_absent(struct world *w, const char *path);
/* One over another, several times, into folders that the drive has not, one after another with the same name. */
void some_are_renamed(struct world *w);
void they_have_new_names(struct world *w);
void the_drive_has_new_names(struct world *w);

/* --- attributes --- */

static const int64_t some_time = 1234567890 * MRMR_NS_PER_S + 5;
/* As begin_folders, and folders have an extended attribute which sets() removes. */
void begin_attributes(struct world *w, enum rig_kind kind, uint64_t seed);
/* uid 0: none. */
void sets(struct world *w, const char *path, uint32_t mode, uint32_t uid, int64_t mtime);
void shows(struct world *w, const char *path, uint32_t mode, uint32_t uid, int64_t mtime);
void has_attrs(
    struct rig *rig, unsigned drive, const char *path, uint32_t mode, uint32_t uid, int64_t mtime);

#endif
