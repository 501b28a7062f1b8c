/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * I4: what counts as unchanged, and when a time stamp can be trusted.
 */
#include "pool/engine.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* A fact that the catalog or the drive does not have (0) says nothing. */
static bool stat_fact_differs(uint32_t caps, uint32_t cap, uint64_t known, uint64_t seen)
{
    return (caps & cap) && known && seen && known != seen;
}

enum pool_same pool_stat_same(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat)
{
    if ((int)node->type != (int)stat->type || node->size != stat->size ||
        node->mtime != stat->mtime)
        return POOL_DIFFERENT;
    if (stat_fact_differs(
            info->caps, DRV_CAP_STABLE_CTIME, (uint64_t)node->ctime, (uint64_t)stat->ctime) ||
        stat_fact_differs(info->caps, DRV_CAP_STABLE_INO, node->ino, stat->ino) ||
        stat_fact_differs(info->caps, DRV_CAP_BTIME, (uint64_t)node->btime, (uint64_t)stat->btime))
        return POOL_RECHECK;
    return POOL_SAME;
}

bool pool_stat_later(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat)
{
    static const uint32_t needed = DRV_CAP_STABLE_CTIME | DRV_CAP_STABLE_INO;
    return (info->caps & needed) == needed && node->ino && stat->ino &&
           pool_node_is(info, node, stat) && node->ctime && stat->ctime > node->ctime;
}

void pool_node_from_stat(struct meta_node *node, const struct drv_stat *stat)
{
    node->type = (enum meta_type)stat->type;
    node->mode = stat->mode;
    node->uid = stat->uid;
    node->gid = stat->gid;
    node->nlink = stat->nlink;
    node->size = stat->size;
    node->ino = stat->ino;
    node->rdev = stat->rdev;
    node->mtime = stat->mtime;
    node->ctime = stat->ctime;
    node->btime = stat->btime;
}

/* How old its times are by our clock; less than 0: that says nothing, since another machine stamps them, or they are to come: ours was set back, or somebody
 * set them. */
static int64_t tick_age(const struct drv_info *info, const struct drv_stat *stat, int64_t now)
{
    int64_t last = (info->caps & DRV_CAP_STABLE_CTIME) && stat->ctime ? stat->ctime : stat->mtime;
    int64_t age;
    if (!(info->caps & DRV_CAP_OUR_CLOCK))
        return -1;
    return __builtin_sub_overflow(now, last, &age) ? (last > now ? -1 : INT64_MAX) : age;
}

bool pool_tick_over(const struct drv_info *info, const struct drv_stat *stat, int64_t now)
{
    return tick_age(info, stat, now) >= 2 * info->time_grain;
}

/* By a clock that nobody sets. What nobody can tell the age of was there when it was seen. */
void pool_tick_wait(const struct drv_info *info, const struct drv_stat *stat, int64_t seen)
{
    int64_t age = tick_age(info, stat, mrmr_clock_real());
    if (age < 0)
        age = mrmr_clock_monotonic() - seen;
    const int64_t ns = 2 * info->time_grain - age;
    struct timespec left = mrmr_clock_to_timespec(ns > 0 ? ns : 0);
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}

bool pool_node_claims(const struct meta_node *node, const struct pool_found_file *found)
{
    const bool same = !found->ino || !node->ino || found->ino == node->ino;
    return same && node->type == META_REG && node->size == found->size &&
           node->mtime == found->mtime;
}

bool pool_node_keeps_names(const struct drv_info *info, const struct meta_node *node,
    const struct pool_found_file *found, int64_t scanned)
{
    const struct drv_stat stat = {.mtime = found->mtime, .ctime = found->ctime};
    return found->nlink <= 1 || (info->caps & DRV_CAP_STABLE_CTIME && found->ctime == node->ctime &&
                                    pool_tick_over(info, &stat, scanned));
}

static int path_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted; NULL: no memory. */
static const char **paths_sorted(const struct mrmr_bytes *paths, size_t *ret_n)
{
    size_t n = 0;
    for (size_t at = 0; at < paths->size; at += strlen(paths->data + at) + 1)
        n++;
    const char **path = calloc(n + 1, sizeof *path);
    *ret_n = path ? n : 0;
    for (size_t at = 0, i = 0; path && at < paths->size; at += strlen(paths->data + at) + 1)
        path[i++] = paths->data + at;
    if (path)
        qsort(path, n, sizeof *path, path_compare);
    return path;
}

bool pool_node_has_names(struct drv *drv, const struct meta_node *node,
    const struct pool_found_file *found, const struct mrmr_bytes *paths)
{
    uint32_t names = 0;
    size_t n;
    mrmr_autofree const char **path = paths_sorted(paths, &n);
    for (size_t i = 0; i < n; i++) {
        struct drv_stat stat;
        if (i && strcmp(path[i - 1], path[i]) == 0)
            continue;
        names += !drv_stat(drv, path[i], &stat) && stat.type == DRV_REG && stat.ino == node->ino;
    }
    return path && names >= found->nlink;
}
