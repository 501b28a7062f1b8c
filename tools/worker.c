/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/worker.h"

#include "base/clock.h"

enum { REST_FACTOR = 9 };

static const int64_t least_wait = 10 * MRMR_NS_PER_S; /* for what is left */
static const int64_t a_day = 24 * 3600 * MRMR_NS_PER_S;

static int64_t later_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t sooner_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* After so many that could do nothing about it; never longer than the drives are not looked at. */
static int64_t left_waits(const struct worker_view *v, unsigned idle)
{
    int64_t waits = later_of(v->settle, least_wait);
    for (unsigned i = 0; i < idle && waits < v->scan_every; i++)
        waits *= 2;
    return sooner_of(waits, v->scan_every);
}

/* These three: INT64_MAX: never. */
static int64_t sync_at(const struct worker_view *v)
{
    if (v->rests)
        return INT64_MAX;
    int64_t at = v->synced ? v->synced + v->scan_every : v->now;
    if (v->changed)
        at = sooner_of(at, v->changed + v->settle);
    if (v->exposed && v->synced)
        at = sooner_of(at, v->synced + left_waits(v, v->idle));
    if (v->synced)
        at = later_of(at, v->synced + REST_FACTOR * v->looking);
    return later_of(at, v->again);
}

static int64_t scrub_at(const struct worker_view *v)
{
    if (v->rests || !v->scrubs || !v->synced)
        return INT64_MAX;
    return later_of(v->scrubbed ? v->scrubbed + a_day : v->now, v->again);
}

static int64_t release_at(const struct worker_view *v)
{
    if (v->waits_for_room)
        return later_of(v->now, v->release_again);
    if (!v->rests)
        return INT64_MAX;
    int64_t at = INT64_MAX;
    if (v->unsure)
        at = v->unsure + v->settle;
    if (v->unsure && v->left)
        at = later_of(at, v->released + left_waits(v, v->left - 1));
    if (v->gone)
        at = sooner_of(at, v->gone + v->settle);
    return later_of(at, v->release_again);
}

enum worker_job worker_due(const struct worker_view *v, int64_t *ret_again)
{
    const int64_t sync = sync_at(v), scrub = scrub_at(v), release = release_at(v);
    *ret_again = sooner_of(release, sooner_of(sync, scrub));
    return release <= v->now ? WORKER_RELEASE
           : sync <= v->now  ? WORKER_SYNC
           : scrub <= v->now ? WORKER_SCRUB
                             : WORKER_RESTS;
}
