/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Changes that are made directly on local drives are heard of while no mount is there, which would hear of them itself: hear.c
 * is the whole, hear_drive.c one drive (with hear_event.c and hear_walk.c, see hear_drive.h), hear_folders.c the folders of it.
 *
 * Nothing on a drive is open, but while its folders are looked through: a drive that is not used can be unmounted. What is
 * heard is that something was changed, and not what: whoever protects looks the drives through.
 */
#ifndef MRMR_POOL_HEAR_H
#define MRMR_POOL_HEAR_H

#include "pool/engine.h"
#include "pool/scan/scan.h"

/* --- hear_folders.c --- */

/* Each folder that is followed takes about 200 bytes here, and where it has a watch of its own (inotify), about 1 KiB of the kernel's. */
enum { HEAR_FOLDERS_MOST = 100000 };

/* Folders of a drive, and the keys by which its watch calls them: digests of their paths. One thread at a time. */
struct hear_folder;
struct hear_folders {
    size_t n;
    struct hear_folder **bucket; /* NULL: none was added yet */
    unsigned round;
};
uint64_t hear_folders_key(const char *path);
/* MRMR_SPACE: there are HEAR_FOLDERS_MOST. One that is there is fine. */
mrmr_err hear_folders_add(struct hear_folders *folders, const char *path);
/* NULL: unknown. It lives until the next call. */
const char *hear_folders_path(const struct hear_folders *folders, uint64_t key);
/* It, and all below it. gone is called with the key of each after that, but NULL. */
void hear_folders_remove(struct hear_folders *folders, const char *path,
    void (*gone)(uint64_t key, void *arg), void *arg);
void hear_folders_clear(struct hear_folders *folders);
/* As if it, and all below it, were added again; a path that was not added is nothing. */
void hear_folders_keep(struct hear_folders *folders, const char *path);
/* All are looked through anew; those that were neither added nor kept since are none any more. gone: as of remove. */
void hear_folders_begin(struct hear_folders *folders);
void hear_folders_sweep(
    struct hear_folders *folders, void (*gone)(uint64_t key, void *arg), void *arg);

/* --- hear_drive.c --- */

struct hear {
    struct pool *pool;
    int wake; /* an eventfd: something was changed */
    struct pool_scan_excludes excludes;
};

/* A thread of its own follows the drive, whether it is there or not: a drive may hang. hear must outlive it. */
struct hear_drive;
mrmr_err hear_drive_start(
    struct hear *hear, const struct meta_drive *meta, struct hear_drive **ret_drive);
/* Soon; waits for nothing. */
void hear_drive_stop(struct hear_drive *drive);
/* Waits for its end until then; monotonic. One that has ended by now is destroyed also after that. MRMR_TIMEOUT: it hangs with its drive, and goes on when that answers: it and hear are there for good. */
mrmr_err hear_drive_destroy(struct hear_drive *drive, int64_t until);

#endif
