/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool of protected files, and a user who overwrites and deletes with the saving that I3 asks for:
 * for tests of what is retained (pool/retained/retained.h).
 */
#ifndef MRMR_TESTS_POOL_RETAINED_WORLD_H
#define MRMR_TESTS_POOL_RETAINED_WORLD_H

#include "pool/records/touched.h"
#include "pool/writers.h"
#include "tests/support/kept.h"

enum { DRIVES = 5, FILE_LEAVES = 3 };

/* Five drives with a protected file f0 … f4 each. */
struct rig *begin(enum rig_kind kind, uint64_t seed);
/* The user, through MRMR: leaves from..to-1 are saved before they are written to. */
mrmr_err save(struct rig *rig, const char *path, uint64_t from, uint64_t to);
/* The same of a file that is open. */
mrmr_err save_counted(struct rig *rig, const struct meta_node *node, struct drv_file *file,
    uint64_t from, uint64_t to);
/* What those share who keep anything. */
extern pthread_mutex_t retained_names;
/* On drive 0; the rig need not know of it. */
struct meta_node node_at(struct rig *rig, const char *path);
/* Symlinks for all leaves of the file, on drive 0; and where it is to be kept. */
mrmr_err point(struct rig *rig, const char *path, char kept[POOL_RETAINED_PATH]);
/* And then the rename. */
mrmr_err delete_file(struct rig *rig, const char *path);
/* It is changed through MRMR, as the file of what is touched says from now. */
void touch_inode(struct rig *rig, const struct meta_node *node);
void touch(struct rig *rig, const char *path);
int margin_of(struct rig *rig, const char *path);
/* A file whose block is in the stripe of f0. */
const char *beside_f0(struct rig *rig);
/* As drives are on which nothing else tells of a write. Until the pool is opened anew. */
void no_ctime(struct rig *rig);

#endif
