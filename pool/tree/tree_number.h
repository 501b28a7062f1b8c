/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers: which one an inode of a drive has (tree_number.c), and where the inode is that has one
 * (tree_find.c). Threads: any.
 */
#ifndef MRMR_POOL_TREE_NUMBER_H
#define MRMR_POOL_TREE_NUMBER_H

#include "pool/tree/tree_drives.h"

/* --- tree_number.c --- */

mrmr_err tree_numbers_start(struct pool_tree *tree);
void tree_numbers_stop(struct pool_tree *tree);
/* The number of an inode of a drive; folder and name stand in where a drive has none. */
uint64_t tree_number(
    const struct pool_tree *tree, size_t drive, uint64_t ino, const char *folder, const char *name);
/* It is the one that the inode has by itself: nothing need be recorded. */
bool tree_number_is_own(const struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number);
/* From now on this inode has another file's number and generation: it is that file, here. */
mrmr_err tree_number_keep(
    struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number, uint64_t generation);
/* The inode that a node of this number has on this drive. False: it has none there, or none is known. */
bool tree_number_inode(struct pool_tree *tree, uint64_t number, size_t drive, uint64_t *ret_ino);
/* A number that nothing has. */
uint64_t tree_number_other(struct pool_tree *tree, size_t drive, uint64_t ino);
/* It was removed, or is another file. */
void tree_number_forget(struct pool_tree *tree, size_t drive, uint64_t ino);
/* Of a file that was brought elsewhere the one it had, else this one. */
uint64_t tree_generation(struct pool_tree *tree, uint64_t number, uint64_t generation);
/* The inode that a number is of, by catalog id. True: it was brought there. */
bool tree_number_where(
    struct pool_tree *tree, uint64_t number, int64_t *ret_drive, uint64_t *ret_ino);

/* --- tree_find.c --- */

mrmr_err tree_finder_start(struct pool_tree *tree);
void tree_finder_stop(struct pool_tree *tree);
/* Calls fn with each path at which an inode of a drive may be that no scan has seen there, until one
 * is not MRMR_ABSENT; fn may change it. May take as long as a look at each folder of the drive. */
mrmr_err tree_find_path(struct pool_tree *tree, size_t drive, uint64_t ino,
    mrmr_err (*fn)(char *path, void *arg), void *arg);

#endif
