/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/change/tree_room.h"
#include "pool/drive/drive.h"
#include "pool/retained/retained.h"

#include "base/log.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WAITERS_MOST = 32, LOOK_MS = 50 };

static const int64_t vain_for = 10 * MRMR_NS_PER_S, just_now = 60 * MRMR_NS_PER_S;

/* --- what could come --- */

static mrmr_err any_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)err;
    if (strchr(name, '~') || (stat && stat->type == DRV_DIR))
        return MRMR_OK;
    *(bool *)arg = true;
    return MRMR_EXISTS; /* that is enough */
}

static mrmr_err folder_add(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)err;
    return stat && stat->type == DRV_DIR ? mrmr_bytes_add(arg, name, strlen(name) + 1) : MRMR_OK;
}

/* Something is retained on the drive. One that cannot be asked has nothing to give now. */
static bool retains(const struct tree_drive *drive)
{
    mrmr_autobytes struct mrmr_bytes folders = MRMR_BYTES_INIT;
    struct drv *drv = drive->drive->drv;
    bool any = false;
    if (!tree_live(drive) || drv_list(drv, POOL_RETAINED, folder_add, &folders))
        return false;
    for (size_t at = 0; !any && at < folders.size; at += strlen(folders.data + at) + 1) {
        char path[POOL_RETAINED_PATH];
        snprintf(path, sizeof path, POOL_RETAINED "/%.80s", folders.data + at);
        drv_list(drv, path, any_entry, &any);
    }
    return any;
}

/* Also on another drive than the one that is full, to which the file can go then. */
static bool may_come(struct pool_tree *tree)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (retains(&tree->drive[i]))
            return true;
    return false;
}

/* --- waiting --- */

static bool wait_enter(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    if (tree->room_waiters >= WAITERS_MOST || mrmr_clock_monotonic() < tree->room_vain_until)
        return false;
    tree->room_waiters++;
    return true;
}

static void wait_leave(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    tree->room_waiters--;
}

/* Nothing came of a release that was asked for. */
static void was_in_vain(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    tree->room_vain_until = mrmr_clock_monotonic() + vain_for;
}

/* The first time: asks. */
static bool wait_begin(struct pool_tree *tree, struct tree_wait *room)
{
    uint64_t seconds;
    if (!tree->keeper || !pool_short_heard(tree->pool->dirfd) ||
        pool_setting_u64(tree->pool, "room-wait", &seconds) || !seconds ||
        pool_short_look(tree->pool->dirfd, &room->seen) || pool_short_tell(tree->pool->dirfd))
        return false;
    room->before = room->seen.began;
    room->turns = room->seen.turns;
    room->until = mrmr_clock_monotonic() + (int64_t)seconds * MRMR_NS_PER_S;
    return true;
}

/* One that began after it was asked for has ended. */
static bool is_over(const struct tree_wait *room, const struct pool_short *now)
{
    return now->ended > room->before && now->ended == now->began;
}

/* *ret_again: something was let go of since the last try, or all was by now that can be. */
static void wait_for_step(struct pool_tree *tree, struct tree_wait *room, bool *ret_again)
{
    const struct timespec moment = {.tv_nsec = LOOK_MS * 1000000L};
    struct pool_short now;
    *ret_again = false;
    while (!atomic_load(&tree->leaving.flag) && pool_short_heard(tree->pool->dirfd) &&
           !pool_short_look(tree->pool->dirfd, &now)) {
        room->last = is_over(room, &now) || mrmr_clock_monotonic() >= room->until;
        *ret_again = now.turns != room->seen.turns || room->last;
        room->seen = now;
        if (*ret_again)
            return;
        nanosleep(&moment, NULL);
    }
}

/* A release may have ended since the change was tried. */
static bool came_meanwhile(struct pool_tree *tree, struct tree_wait *room)
{
    const bool once_more = !room->once_more && pool_short_recent(tree->pool->dirfd, just_now);
    room->once_more = true;
    return once_more;
}

static bool room_came(struct pool_tree *tree, struct tree_wait *room)
{
    bool again = false;
    if (room->last) {
        if (room->seen.turns == room->turns) /* else it gave room, and this asked for more */
            was_in_vain(tree);
        return false;
    }
    if (!room->until && !may_come(tree))
        return came_meanwhile(tree, room);
    if (!wait_enter(tree))
        return false;
    if (room->until || wait_begin(tree, room))
        wait_for_step(tree, room, &again);
    wait_leave(tree);
    return again;
}

static uint64_t kept_most(const struct tree_drive *drive)
{
    mrmr_locked(&drive->drive->lock);
    return drive->drive->meta.total / 100 * atomic_load(&drive->tree->retain_share);
}

void tree_room_kept(struct tree_drive *drive, uint64_t bytes)
{
    struct pool_tree *tree = drive->tree;
    const uint64_t most = kept_most(drive);
    const uint64_t kept = atomic_fetch_add(&drive->kept_bytes, bytes) + bytes;
    if (!most || kept < most || !pool_short_heard(tree->pool->dirfd))
        return;
    atomic_store(&drive->kept_bytes, 0);
    if (pool_short_tell(tree->pool->dirfd))
        mrmr_log_story(MRMR_LOG_INFO, "asking for a release");
}

bool tree_room_came(struct pool_tree *tree, struct tree_wait *room, mrmr_err err)
{
    struct mrmr_story story;
    if (err != MRMR_SPACE)
        return false;
    mrmr_story_save(&story);
    const bool came = room_came(tree, room);
    mrmr_story_restore(&story);
    return came;
}
