/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool that one handle owns, and a live tree of another handle of it: for tests that change it.
 */
#ifndef MRMR_TESTS_POOL_TREE_WORLD_H
#define MRMR_TESTS_POOL_TREE_WORLD_H

#include "pool/tree/tree.h"
#include "tests/support/kept.h"
#include <semaphore.h>

enum { DRIVES = 5, FILE_LEAVES = 3 };

struct world {
    struct rig *rig;   /* its pool owns */
    struct pool *pool; /* and this one looks */
    struct pool_tree *tree;
};

mrmr_err try_open_tree(struct world *w);
/* events: whom it tells; NULL: nobody. */
mrmr_err try_open_tree_telling(struct world *w, const struct pool_tree_events *events);
void open_tree(struct world *w);
void close_tree(struct world *w);
/* Five drives with a protected file f0 … f4 each, and `other` on the first; the tree is open. */
void begin(struct world *w, enum rig_kind kind, uint64_t seed);
struct pool_attr look(struct world *w, uint64_t folder, const char *name);
mrmr_err try_look(struct world *w, uint64_t folder, const char *name);
struct pool_tree_file *open_node(struct world *w, uint64_t node);
struct pool_tree_file *open_file(struct world *w, const char *name);
mrmr_err sync_folder(struct world *w, uint64_t folder);
/* The rig knows of it, and the bytes are those that it expects. */
void write_part(
    struct world *w, struct pool_tree_file *file, const char *path, uint64_t offset, uint64_t size);
void overwrite(struct world *w, const char *path, uint64_t offset, uint64_t size);
/* The tree is closed: all is well after a sync. Destroys the rig. */
void end_after(struct world *w);
/* Closes the tree; `changed` may differ from what was protected. Destroys the rig. */
void end(struct world *w, const char *changed);
/* Nothing more can be written to it, until rig_clear_faults. */
void drive_is_full(struct rig *rig, unsigned drive);
unsigned drives_with(struct rig *rig, const char *path);

/* The tree is opened, and its monitor, which follows what leaves and comes, does nothing until it is let go on; which it must be before
 * the tree is closed. */
struct held {
    sem_t begun, go_on;
};
void hold_monitor(struct world *w, struct held *held);
void release_monitor(struct held *held);

#endif
