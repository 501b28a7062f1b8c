/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What retained.c, which reads and saves leaves, and retained_whole.c, which keeps files with symlinks into them, share; for
 * these alone.
 */
#ifndef MRMR_POOL_RETAINED_PARTS_H
#define MRMR_POOL_RETAINED_PARTS_H

#include "pool/retained/pointers.h"
#include "pool/retained/retained.h"

enum { RETAINED_NAME_HEX = 16, RETAINED_FOLDER_MODE = 0700, RETAINED_LEAF_MODE = 0600 };

void retained_leaf_path(const struct mrmr_digest *digest, char path[POOL_RETAINED_PATH]);
void retained_file_path(const uint8_t file[POOL_POINTERS_FILE], char path[POOL_RETAINED_PATH]);
/* The name beside of a whole file. */
void retained_saved_path(const char *file, char ret_path[POOL_RETAINED_PATH]);
void retained_folder_of(const char *path, char folder[POOL_RETAINED_PATH]);
/* The name of the folder that the path lies in, and those above it, are durable, whoever made it, and whatever became of him. They are synced
 * once for as long as the drive is open: such a folder stays. */
mrmr_err retained_folder_durable(struct drv *drv, const char *path);
/* It is, and what it has. */
mrmr_err retained_folder_sync(struct drv *drv, const char *path);
/* The folder that the path lies in is made, and durable. */
mrmr_err retained_folder_make(struct drv *drv, const char *path);
/* The same by whom does not hold the names (retained.h). */
mrmr_err retained_folder_make_named(struct drv *drv, pthread_mutex_t *names, const char *path);

/* The verified bytes that lie under the leaf's name, or where its symlink leads. */
mrmr_err retained_read_named(
    struct drv *drv, const struct mrmr_digest *digest, void *buf, uint32_t size);
/* It is saved already, under its own name and with the right bytes. */
bool retained_is_by_itself(
    struct drv *drv, const char *path, const struct mrmr_digest *digest, uint32_t size);
/* What is there is needed anew: release leaves it alone. */
mrmr_err retained_renew(struct drv *drv, const char *path);

#endif
