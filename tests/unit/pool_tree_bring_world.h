/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file that is brought to another drive, and that is cut.
 */
#ifndef MRMR_TESTS_POOL_TREE_BRING_WORLD_H
#define MRMR_TESTS_POOL_TREE_BRING_WORLD_H

#include "tests/unit/pool_gone_world.h"
#include "tests/unit/pool_tree_hang.h"

/* That something is to go from a drive cannot be recorded, as in a pool's folder that is full. */
extern _Atomic bool nothing_recorded;
/* The same of what is recorded as removed alone; and no record of two copies can be read. */
extern _Atomic bool nothing_removed, nothing_read;
/* The same of what is late alone. */
extern _Atomic bool nothing_late;
/* Called once, by whoever records next that something was removed, before he does. */
extern void (*_Atomic before_removed)(void);

/* A process of its own that is killed before the n-th call that changes a drive, or after it. False: it was over before. */
bool dies(struct world *w, uint64_t n, bool late, void (*what)(struct world *w));
/* f0 is brought from drive 0, which is full, or away. */
void opens_and_changes(struct world *w);
/* The tree is closed, and that was cut when the copy of f0 had its name, on the drive that is returned. The rig is closed. */
unsigned is_cut_when_named(struct world *w);
/* Drive 0 is away, and it was cut when the copy of f0 had its name, on the drive that is returned. The rig is closed. */
unsigned begin_cut(struct world *w, uint64_t seed);
/* The one record of a file that is being brought says that its copy is it, as where whoever judged that is killed then. */
void is_over(struct world *w);
/* The drive serves, and waits for what cannot be done. */
void waits(struct world *w, unsigned drive);
/* The same; then the tree is opened with drive 0, without the copy's, and that the copy is to go cannot be recorded. */
unsigned begin_unrecorded(struct world *w, uint64_t seed);
/* The drive is away from when something is to be kept on it. */
void goes_when_taken(struct world *w, unsigned drive);

/* A mode leaves size and time as they are. */
mrmr_err sets_mode(struct world *w, const char *name, unsigned mode);
unsigned mode_of(struct world *w, const char *name);
/* In place, and its time is set back, as keepers of containers do. */
void edits(struct rig *rig, unsigned drive, const char *path);
void has_edit(struct rig *rig, unsigned drive, const char *path);

/* The one drive that has it; DRIVES: none has. */
unsigned drive_of(struct world *w, const char *name);
/* One that is not the first; 0: none. */
unsigned elsewhere(struct world *w, const char *name);
/* It is on this one alone, and nothing waits. */
void is_on(struct world *w, const char *name, unsigned drive);

/* Of f0 alone. */
void fails(struct rig *rig, unsigned drive, uint32_t ops, mrmr_err err);
/* What was asked of it is asked for, so that it is noticed. */
void leaves(struct world *w, unsigned drive);
void returns(struct world *w, unsigned drive);
void nothing_waits(struct world *w);
void ends(struct world *w);
/* Files of the pool's folder. */
unsigned count_named(struct world *w, const char *prefix);

#endif
