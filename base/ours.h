/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether something on disk is this user's own: it belongs to him or to root, and nobody else may write it. For what is
 * done on the word of a file, as running a program that it names.
 *
 * Not looked at: the folders above it, and who may become root otherwise. What others may do by an access list shows in the
 * group's bits, and counts. Threads: any.
 */
#ifndef MRMR_BASE_OURS_H
#define MRMR_BASE_OURS_H

#include "base/err.h"

/* MRMR_DENIED: it is not; the story says who else could write it, and what to do. Else the errors of a look at it. A symlink is
 * followed. */
mrmr_err mrmr_ours_check(const char *path);

#endif
