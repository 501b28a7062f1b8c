/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether the names in a folder that is not watched are what they were: by the folder's own change
 * time on each drive, instead of reading it anew.
 *
 * A change in the same tick of the drive's clock as the one before leaves the same time. So a list
 * counts only if the time was the same for longer than a tick before it was read; by our clock, as
 * the drive's may be another. What a name leads to does not change without the folder, but which of
 * several copies shows may: such names are looked at again.
 */
#include "pool/tree/tree.h"

#include "pool/drive/drive.h"
#include <string.h>

static const struct tree_time *time_find(const struct tree_times *times, size_t drive)
{
    for (size_t i = 0; i < times->n; i++)
        if (times->at[i].drive == drive)
            return &times->at[i];
    return NULL;
}

static bool time_equal(const struct tree_time *time, const struct drv_stat *stat)
{
    return time->ino == stat->ino && time->ctime == stat->ctime;
}

void tree_times_free(struct tree_times *times)
{
    free(times->at);
    *times = (struct tree_times){.at = NULL};
}

void tree_times_take(struct tree_times *times, const struct tree_times *was,
    const struct tree_drive *drive, const char *path)
{
    const struct drv_info *info = &drive->drive->info;
    size_t i = (size_t)(drive - drive->tree->drive);
    struct drv_stat stat;
    int64_t now = mrmr_clock_monotonic();
    struct tree_time *more = NULL;
    if (!times->unknown && info->caps & DRV_CAP_STABLE_CTIME && info->caps & DRV_CAP_STABLE_INO &&
        drv_stat(drive->drive->drv, path, &stat) == MRMR_OK)
        more = reallocarray(times->at, times->n + 1, sizeof *more);
    if (!more) {
        times->unknown = true;
        return;
    }
    const struct tree_time *old = time_find(was, i);
    int64_t since = old && time_equal(old, &stat) ? old->since : now;
    times->at = more;
    more[times->n++] = (struct tree_time){i, stat.ino, stat.ctime, since};
    if (now - since <= info->time_grain)
        times->fresh = true;
}

bool tree_times_same(const struct pool_tree *tree, const struct tree_times *times, const char *path)
{
    if (times->unknown || times->fresh || !times->n)
        return false;
    for (size_t i = 0; i < times->n; i++) {
        const struct tree_drive *drive = &tree->drive[times->at[i].drive];
        struct drv_stat stat;
        if (!tree_live(drive) || drv_stat(drive->drive->drv, path, &stat) ||
            !time_equal(&times->at[i], &stat))
            return false;
    }
    return true;
}

mrmr_err tree_times_copy(const struct tree_times *times, struct tree_times *ret_copy)
{
    struct tree_times copy = *times;
    copy.at = NULL;
    if (times->n) {
        copy.at = reallocarray(NULL, times->n, sizeof *copy.at);
        if (!copy.at)
            return mrmr_nomem();
        memcpy(copy.at, times->at, times->n * sizeof *copy.at);
    }
    *ret_copy = copy;
    return MRMR_OK;
}
