/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of one drive that is followed share: hear_drive.c is its thread, hear_event.c what its watch tells, hear_walk.c puts
 * folders into the watch.
 *
 * Threads: the drive's own, and the watch's, which calls hear_event alone. Under the lock nobody asks the drive; a watch's table is taken under it.
 */
#ifndef MRMR_POOL_HEAR_DRIVE_H
#define MRMR_POOL_HEAR_DRIVE_H

#include "pool/drive/hear.h"

#include <pthread.h>

enum { HEAR_TODO_MOST = 10000 };

/* A place on the drive that is to be looked at. */
struct hear_todo {
    struct hear_todo *next;
    bool told; /* else it is, if there is such a thing */
    char path[];
};

struct hear_drive {
    struct hear *hear;
    struct mrmr_uuid uuid;
    char *uri, *name;
    pthread_t thread;
    pthread_cond_t wake; /* with lock */

    /* The drive's thread's. */
    struct drv *drv;
    struct drv_watch *watch;
    uint64_t
        dev; /* of the root: others are mounted there, or btrfs subvolumes, which are none of the drive */
    struct hear_todo *hindered; /* what could not be looked at */
    size_t nhindered;
    bool hindered_more;                    /* there were more, which are not in it */
    int64_t hindered_again, hindered_wait; /* looked at again then (monotonic), after so long */
    int64_t walk_again; /* monotonic: not looked through as a whole before this */
    bool said_full, said_failed, said_hindered;

    pthread_mutex_t lock;
    /* Guarded by lock. */
    bool stop, ended;
    bool gone; /* the root is not what was opened any more */
    bool lost; /* not all was told of, or looked at: its folders may be others */
    struct hear_folders folders;
    struct hear_todo *todo, **todo_last;
    size_t ntodo;
};

/* To whoever protects: something was changed, or may have been. */
void hear_tell(const struct hear_drive *drive);
/* It is not to be followed any more. */
bool hear_is_stopped(struct hear_drive *drive);

/* --- hear_event.c --- */

/* The watch's: drv_event_fn. */
void hear_event(enum drv_event what, enum drv_who who, uint64_t key, const char *name, void *drive);
/* NULL: no memory. */
struct hear_todo *hear_todo_new(const char *folder, const char *name, bool told);
/* All that the events left to do. */
struct hear_todo *hear_todo_take(struct hear_drive *drive);
void hear_todo_free(struct hear_todo *todo);

/* --- hear_walk.c --- */

/* The folder, and all below it. False: it could not be looked at, and nothing is known of it. */
bool hear_walk(struct hear_drive *drive, const char *top);
/* All of the drive; folders that are not seen any more are none. */
void hear_walk_all(struct hear_drive *drive);
/* Each of them: a folder is walked, and what is none any more forgotten; told of as far as that was not. They are freed. */
void hear_look_at_each(struct hear_drive *drive, struct hear_todo *todo);
/* Likewise those that were hindered, if they are to be looked at again by now. */
void hear_hindered_look(struct hear_drive *drive);
void hear_hindered_clear(struct hear_drive *drive);

#endif
