/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a drive may be given up: by itself, or because somebody said so. Asked before a rebuild begins, and once more when the writers stand
 * still and nothing happens any more but the transaction (rebuild_take.c). Nothing is written here.
 */
#include "pool/drive/drive.h"
#include "pool/jobs/rebuild.h"
#include "pool/margin.h"
#include "pool/records/touched.h"

#include <string.h>

enum { GIVE_UP_BATCH = 256 };

/* --- What would wait for other drives --- */

/* By its place: what is open on it goes on answering where it was unmounted lazily, or its root moved, until it is closed. */
static mrmr_err give_up_finds(const struct pool_drive *drive)
{
    struct drv *drv = NULL;
    struct pool_identity found;
    MRMR_TRY(drv_open(drive->meta.uri, &drv));
    mrmr_err err = pool_identity_read(drv, &found);
    drv_close(drv);
    if (!err && !mrmr_uuid_equal(&found.uuid, &drive->meta.uuid))
        return mrmr_fail(MRMR_OFFLINE, "another drive is in its place");
    return err;
}

/* A drive may have gone since the pool was opened: those that answer no more are away. */
static mrmr_err give_up_look_again(const struct rebuild *rebuild)
{
    struct pool *pool = rebuild->pool;
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        if (drive == rebuild->drive || !pool_drive_present(drive))
            continue;
        mrmr_err err = pool_drive_writable(drive) ? pool_drive_still_ours(pool, drive) : MRMR_OK;
        if (!err)
            err = give_up_finds(drive);
        if (mrmr_ran_short(err))
            return err;
        if (!err || !pool_drive_present(drive))
            continue;
        mrmr_log_story(MRMR_LOG_WARN, "a drive does not answer, and counts as away");
        mrmr_locked(&drive->lock);
        pool_drive_verdict(drive, POOL_AWAY);
    }
    return MRMR_OK;
}

/* By being connected; or, unless that losses are accepted says that it will not, by a rebuild of its own that goes on. */
static bool give_up_may_give(
    const struct rebuild *rebuild, const struct pool_drive *drive, bool dirty)
{
    if (!pool_drive_present(drive) && drive->meta.state != META_DRIVE_RETIRED)
        return true;
    return !rebuild->options->accept_losses &&
           (!pool_drive_present(drive) || (dirty && drive->meta.state == META_DRIVE_REBUILDING));
}

/* Another drive on which something of the stripe lies, or is still to be brought back to; NULL: no
 * drive that is connected, and no rebuild that is ended, would give more of it. */
static const struct pool_drive *give_up_waits_for(
    const struct rebuild *rebuild, const struct meta_stripe_brief *brief)
{
    for (uint32_t i = 0; i < brief->blocks; i++) {
        const struct pool_drive *drive = pool_drive_by_id(rebuild->pool, brief->block[i].drive);
        if (drive && drive != rebuild->drive &&
            give_up_may_give(rebuild, drive, brief->block[i].dirty))
            return drive;
    }
    for (uint32_t i = 0; i < brief->rows; i++) {
        const struct pool_drive *drive = pool_drive_by_id(rebuild->pool, brief->row[i].drive);
        if (drive && drive != rebuild->drive && brief->row[i].state == META_ROW_OK &&
            !pool_drive_present(drive))
            return drive;
    }
    return NULL;
}

/* The drive's stripes that cannot be decoded now, and might be later; *ret_for: what the first one
 * waits for. */
static mrmr_err give_up_counts(
    const struct rebuild *rebuild, uint64_t *ret_n, const struct pool_drive **ret_for)
{
    struct pool *pool = rebuild->pool;
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    int64_t ids[GIVE_UP_BATCH], after = 0;
    size_t n;
    *ret_n = 0;
    if (!brief)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_stripes_of_drive(
            pool->meta, rebuild->drive->meta.id, after, ids, GIVE_UP_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            after = ids[i];
            MRMR_TRY(meta_stripe_brief_get(pool->meta, ids[i], brief));
            const struct pool_drive *other = give_up_waits_for(rebuild, brief);
            if (!other || pool_brief_margin(pool, brief) >= 0)
                continue;
            if (!*ret_n)
                *ret_for = other;
            ++*ret_n;
        }
    } while (n);
    return MRMR_OK;
}

mrmr_err pool_rebuild_waits(
    const struct rebuild *rebuild, int64_t node, const struct pool_drive **ret_for)
{
    struct meta *meta = rebuild->pool->meta;
    mrmr_autofree struct meta_stripe_brief *brief = malloc(sizeof *brief);
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    *ret_for = NULL;
    if (!brief)
        return mrmr_nomem();
    MRMR_TRY(give_up_look_again(rebuild));
    MRMR_TRY(meta_extents_of(meta, node, &extents, &n));
    for (size_t i = 0; i < n && !*ret_for; i++) {
        if (i && extents[i].stripe == extents[i - 1].stripe)
            continue;
        MRMR_TRY(meta_stripe_brief_get(meta, extents[i].stripe, brief));
        *ret_for = give_up_waits_for(rebuild, brief);
    }
    return MRMR_OK;
}

/* The other is there, and most of it can be read. */
static mrmr_err give_up_needs_failing(
    const struct rebuild *rebuild, const struct pool_drive *other, uint64_t waiting)
{
    const char *name = rebuild->drive->meta.name;
    return mrmr_err_hint(
        mrmr_fail(MRMR_OFFLINE,
            "drive '%s' is not given up now: %llu of its stripes cannot be decoded while '%s' is "
            "out of service for its errors",
            name, (unsigned long long)waiting, other->meta.name),
        "use it again for that, as far as it can be read: mrmr attach %s; then run rebuild again",
        other->meta.name);
}

/* --- Whether it may be given up by itself --- */

/* As it is at this moment: whoever decided that may have looked a while ago. */
static mrmr_err give_up_is_lost(struct rebuild *rebuild, bool *ret_lost)
{
    struct pool *pool = rebuild->pool;
    struct pool_drive *drive = rebuild->drive;
    struct meta_exposed_total exposed;
    struct pool_touched touched;
    unsigned out = 0;
    pool_drive_look(pool, drive);
    for (size_t i = 0; i < pool->ndrives; i++) {
        bool over;
        MRMR_TRY(pool_drive_is_over(pool, pool->drives[i], &over));
        out += !over && pool->drives[i]->presence != POOL_PRESENT &&
               pool->drives[i]->presence != POOL_DETACHED;
    }
    MRMR_TRY(meta_exposed_total(pool->meta, drive->meta.id, &exposed));
    MRMR_TRY(pool_touched_load(pool, &touched));
    *ret_lost = pool_drive_is_lost(drive) && !exposed.files && !exposed.bytes &&
                !pool_touched_count(&touched, drive->meta.id) && out <= pool_redundancy(pool);
    pool_touched_free(&touched);
    return MRMR_OK;
}

mrmr_err pool_rebuild_may_begin(struct rebuild *rebuild, bool *ret_begins)
{
    *ret_begins = true;
    if (!rebuild->options->if_lost || rebuild->drive->meta.state == META_DRIVE_RETIRED)
        return MRMR_OK;
    MRMR_TRY(give_up_is_lost(rebuild, ret_begins));
    rebuild->report->not_lost = !*ret_begins;
    return MRMR_OK;
}

/* --- Whether it may be given up at all --- */

/* A drive is given up for good, and its rows count no more from then on: not for a hub that came
 * unplugged, when nothing could be made again and the other stripes would be left with less. */
mrmr_err pool_rebuild_may_give_up(const struct rebuild *rebuild)
{
    const char *name = rebuild->drive->meta.name, *onto = rebuild->options->onto;
    const struct pool_drive *other = NULL;
    uint64_t waiting;
    if (rebuild->drive->meta.state == META_DRIVE_RETIRED || rebuild->options->accept_losses)
        return MRMR_OK;
    MRMR_TRY(give_up_look_again(rebuild));
    MRMR_TRY(give_up_counts(rebuild, &waiting, &other));
    if (!waiting)
        return MRMR_OK;
    if (other->failing)
        return give_up_needs_failing(rebuild, other, waiting);
    onto = onto && strcmp(onto, name) != 0 ? onto : NULL;
    return mrmr_err_hint(
        mrmr_fail(MRMR_OFFLINE,
            "drive '%s' is not given up now: %llu of its stripes cannot be decoded while '%s' is "
            "%s too",
            name, (unsigned long long)waiting, other->meta.name,
            pool_drive_present(other) ? "not whole" : "away"),
        "connect one of them, or finish its rebuild; or, if all are lost for good: mrmr rebuild "
        "%s%s%s --accept-losses",
        name, onto ? " --onto " : "", onto ? onto : "");
}

static bool give_up_is_there(const struct pool_drive *drive)
{
    return drive->presence != POOL_AWAY && drive->presence != POOL_FOREIGN &&
           !(drive->presence == POOL_DETACHED && drive->mark_gone);
}

/* A drive that is back is not given up by any word. One that only answers again may hold its files all the same. */
mrmr_err pool_rebuild_is_not_back(struct rebuild *rebuild)
{
    struct pool_drive *drive = rebuild->drive;
    const bool was_there = give_up_is_there(drive);
    if (drive->meta.state == META_DRIVE_RETIRED)
        return MRMR_OK;
    pool_views_forget(rebuild->pool, 0); /* they hold rows as they were opened before */
    pool_drive_look(rebuild->pool, drive);
    if (drive->presence != POOL_PRESENT &&
        (was_there || !give_up_is_there(drive) || rebuild->options->accept_losses))
        return MRMR_OK;
    if (drive->presence == POOL_PRESENT)
        return mrmr_err_hint(
            mrmr_fail(MRMR_CONFLICT, "drive '%s' is back, and is not given up", drive->meta.name),
            "`mrmr rebuild %s` puts back what is missing on it; to give it up all the same, "
            "unmount or unplug it first",
            drive->meta.name);
    return mrmr_err_hint(mrmr_fail(MRMR_CONFLICT,
                             "drive '%s' answers again, and is not given up: what is on it may be "
                             "whole",
                             drive->meta.name),
        "`mrmr drives` says what is wrong with it; to give it up all the same, unmount or unplug "
        "it first");
}
