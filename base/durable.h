/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Durable replace of a small local file: temp, fsync, rename, fsync of the folder.
 *
 * Crash argument. Before the rename the old file is whole under its name; a temp file may be left
 * behind, which the next replace of the same name overwrites. After the rename the name is the new
 * file, whose bytes were synced before it; if the power goes before the folder is synced, the name
 * is either. There is no point at which the name is missing or its content mixed. On return the new
 * content is durable.
 */
#ifndef MRMR_BASE_DURABLE_H
#define MRMR_BASE_DURABLE_H

#include "base/bytes.h"

/* name is one component below dirfd. mode is that of a newly made file. */
mrmr_err mrmr_durable_replace(
    int dirfd, const char *name, const void *data, size_t size, unsigned mode);

/* Read a whole small file, appending to b; MRMR_SPACE if it is longer than most bytes. */
mrmr_err mrmr_durable_read(int dirfd, const char *name, size_t most, struct mrmr_bytes *b);

#endif
