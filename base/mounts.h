/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is mounted where, in this process's view of the file systems (/proc/self/mounts). Nobody who
 * serves a mount is asked, so that one that hangs or is dead holds nobody up. Any thread.
 */
#ifndef MRMR_BASE_MOUNTS_H
#define MRMR_BASE_MOUNTS_H

#include "base/err.h"

/* The type of a mounted pool. */
#define MRMR_MOUNTS_POOL "fuse.mrmr"

struct mrmr_mount {
    const char *source, *point, *type, *options;
};
/* Each mount, in the order in which they were made; of several at one point the last is on top. The
 * strings live until it returns. */
typedef void (*mrmr_mount_fn)(const struct mrmr_mount *mount, void *arg);
mrmr_err mrmr_mounts_each(mrmr_mount_fn fn, void *arg);

struct mrmr_mounted {
    char type[64];      /* "": nothing is mounted exactly there */
    unsigned long user; /* of a FUSE file system: who mounted it */
    char source[4096];  /* of a pool: its folder */
};
/* What is on top at this point, which is canonical. */
mrmr_err mrmr_mounts_at(const char *point, struct mrmr_mounted *ret_mounted);

/* The absolute path without symlinks (free()); its last name may be a mount that is dead. op: what it
 * is wanted for, for the story. */
mrmr_err mrmr_mounts_path(const char *given, const char *op, char **ret_path);

/* The hint "words PATH", the path as a shell takes it. Returns err. */
mrmr_err mrmr_mounts_hint(mrmr_err err, const char *words, const char *path);

#endif
