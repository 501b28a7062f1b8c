/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Status: what the catalog says, reckoned with the drives that are there.
 *
 * All stripes are streamed once, without their extents. Those that are dirty, or miss more than
 * they have rows, are then loaded one by one, because only the extents tell whether wanted bytes
 * are lost: a stripe that misses bytes which nobody wants any more has lost none.
 */
#include "parity/planner.h"
#include "pool/conflict.h"
#include "pool/drive/drive.h"
#include "pool/drive/hung.h"
#include "pool/events/noted.h"
#include "pool/margin.h"
#include "pool/records/direct.h"
#include "pool/records/touched.h"

#include <stdio.h>
#include <string.h>

struct status_pass {
    struct pool *pool;
    struct pool_status *status;
    uint64_t stripe_bytes;
    size_t *domain;    /* by drive: the first drive of the same domain */
    unsigned *members; /* by drive: of the stripe at hand, in the domain that begins here */
    int64_t *look;     /* stripes to be loaded */
    size_t nlook, room;
    uint64_t lost_away; /* wanted bytes on absent drives that cannot be reconstructed */
    uint64_t damaged_decodable;
};

static void status_pass_free(struct status_pass *pass)
{
    free(pass->domain);
    free(pass->members);
    free(pass->look);
}

/* --- All stripes --- */

static mrmr_err status_domains(struct status_pass *pass)
{
    struct pool *pool = pass->pool;
    pass->domain = calloc(pool->ndrives + 1, sizeof *pass->domain);
    pass->members = calloc(pool->ndrives + 1, sizeof *pass->members);
    if (!pass->domain || !pass->members)
        return mrmr_nomem();
    for (size_t i = 0; i < pool->ndrives; i++)
        pass->domain[i] = pool_drive_domain(pool, i);
    /* A member on a drive that is not in memory counts as a domain of its own, nowhere. */
    pass->domain[pool->ndrives] = pool->ndrives;
    return MRMR_OK;
}

static bool status_is_domain_unsafe(struct status_pass *pass, const struct meta_stripe_brief *brief)
{
    unsigned redundancy = pass->status->redundancy, most = 0;
    size_t n = pass->pool->ndrives;
    memset(pass->members, 0, (n + 1) * sizeof *pass->members);
    for (size_t i = 0; i < brief->blocks; i++)
        pass->members[pass->domain[pool_drive_index(pass->pool, brief->block[i].drive)]]++;
    for (size_t i = 0; i < brief->rows; i++)
        pass->members[pass->domain[pool_drive_index(pass->pool, brief->row[i].drive)]]++;
    for (size_t i = 0; i < n; i++)
        most = pass->members[i] > most ? pass->members[i] : most;
    return most > redundancy;
}

static mrmr_err status_look_later(struct status_pass *pass, int64_t stripe)
{
    if (pass->nlook == pass->room) {
        size_t room = pass->room ? 2 * pass->room : 1024;
        int64_t *grown = reallocarray(pass->look, room, sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        pass->look = grown;
        pass->room = room;
    }
    pass->look[pass->nlook++] = stripe;
    return MRMR_OK;
}

static void status_count_margin(struct pool_status *status, int margin)
{
    status->margin[margin < 0 ? 0 : margin > POOL_REDUNDANCY_MAX ? POOL_REDUNDANCY_MAX : margin]++;
}

static bool status_on_detached(struct pool *pool, int64_t id)
{
    const struct pool_drive *drive = pool_drive_by_id(pool, id);
    return drive && drive->presence == POOL_DETACHED;
}

/* Margin that it will have again when detached drives are back. */
static int status_detached(struct pool *pool, const struct meta_stripe_brief *brief)
{
    int n = 0;
    for (size_t i = 0; i < brief->blocks; i++)
        n += status_on_detached(pool, brief->block[i].drive);
    for (size_t i = 0; i < brief->rows; i++)
        n += status_on_detached(pool, brief->row[i].drive) && brief->row[i].state == META_ROW_OK;
    return n;
}

static mrmr_err status_brief(const struct meta_stripe_brief *brief, void *arg)
{
    struct status_pass *pass = arg;
    struct pool_status *status = pass->status;
    status->stripes++;
    pass->stripe_bytes += brief->length;
    if (!brief->wanted)
        return MRMR_OK;
    status->suspect_stripes += brief->scrubbed == META_SCRUB_FIRST;
    status->domain_unsafe += status_is_domain_unsafe(pass, brief);
    int margin = pool_brief_margin(pass->pool, brief);
    const int wanted = (int)status->redundancy;
    if (margin >= 0)
        status_count_margin(status, margin);
    if (margin >= 0 && margin < wanted && margin + status_detached(pass->pool, brief) >= wanted)
        status->detached_stripes++;
    return margin < 0 || brief->dirty_blocks ? status_look_later(pass, brief->id) : MRMR_OK;
}

/* --- Those that miss something --- */

static void status_extent(struct status_pass *pass, const struct meta_stripe *stripe,
    const struct meta_extent *e, bool *lost)
{
    bool away = !pool_drive_readable(pool_drive_by_id(pass->pool, e->drive)), erased;
    /* A suspect file of a present drive can be read. */
    if (!pool_extent_wanted(e) || (!away && e->state != META_MISSING))
        return;
    bool decodable = pool_extent_margin(pass->pool, stripe, e, &erased) >= 0;
    *lost = *lost || !decodable;
    if (away) {
        pass->lost_away += decodable ? 0 : e->bytes;
    } else {
        pass->status->damaged_bytes += e->bytes;
        pass->damaged_decodable += decodable ? e->bytes : 0;
    }
}

static mrmr_err status_look_close(struct status_pass *pass, int64_t id)
{
    struct meta_stripe stripe = {0};
    bool lost = false;
    mrmr_err err = meta_stripe_load(pass->pool->meta, id, &stripe);
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
    for (size_t i = 0; i < stripe.extents; i++)
        status_extent(pass, &stripe, &stripe.extent[i], &lost);
    int margin = pool_image_margin(pass->pool, &stripe);
    pass->status->lost_stripes += lost;
    if (margin < 0 && !lost)
        status_count_margin(pass->status, 0);
    meta_stripe_free(&stripe);
    return MRMR_OK;
}

/* --- Drives --- */

static mrmr_err status_drives(struct status_pass *pass)
{
    struct pool *pool = pass->pool;
    struct pool_status *status = pass->status;
    for (size_t i = 0; i < pool->ndrives; i++) {
        const struct pool_drive *drive = pool->drives[i];
        uint64_t held = 0;
        bool over;
        MRMR_TRY(pool_drive_is_over(pool, drive, &over));
        if (over)
            continue;
        status->drives++;
        status->drives_present += drive->presence == POOL_PRESENT;
        status->drives_detached += drive->presence == POOL_DETACHED;
        status->held_drives += drive->meta.hold[0] != '\0';
        MRMR_TRY(meta_changes_count(pool->meta, drive->meta.id, META_CHANGE_HELD, &held));
        status->held_files += held;
        if (!pool_drive_readable(drive)) {
            struct meta_totals totals;
            MRMR_TRY(meta_totals(pool->meta, drive->meta.id, &totals));
            status->degraded_bytes += totals.extent_bytes - totals.unwanted_bytes;
            if (drive->presence == POOL_DETACHED)
                status->detached_bytes += totals.extent_bytes - totals.unwanted_bytes;
        }
    }
    return MRMR_OK;
}

/* How many drives share this one's file system, itself included: its free space is theirs as well.
 */
static uint64_t status_sharers(struct pool *pool, const struct pool_drive *drive)
{
    struct drv_stat mine, other;
    uint64_t sharers = 1;
    if (!pool_place_is_local(drive->meta.uri) || drv_stat(drive->drv, "", &mine))
        return 1;
    for (size_t i = 0; i < pool->ndrives; i++) {
        const struct pool_drive *at = pool->drives[i];
        sharers += at != drive && pool_drive_writable(at) && pool_place_is_local(at->meta.uri) &&
                   !drv_stat(at->drv, "", &other) && other.dev == mine.dev;
    }
    return sharers;
}

static mrmr_err status_space(
    struct pool *pool, struct pool_drive *drive, struct parity_planner_space *ret_space)
{
    struct parity_planner_space space = {0};
    struct meta_totals totals;
    MRMR_TRY(meta_totals(pool->meta, drive->meta.id, &totals));
    space.data = totals.file_bytes;
    space.rows = totals.row_bytes;
    if (pool_drive_writable(drive) && drive->meta.state != META_DRIVE_RETIRED) {
        if (drive->meta.role == META_ROLE_DATA || drive->meta.role == META_ROLE_REMOVABLE)
            space.flags |= PARITY_PLANNER_SPACE_DATA;
        if (pool_drive_may_hold_rows(&drive->meta))
            space.flags |= PARITY_PLANNER_SPACE_ROWS;
        /* A drive that fails at this moment has no room; it is no reason to have no status. */
        if (space.flags && pool_drive_free(pool, drive, &space.free))
            space.free = 0;
        space.free /= status_sharers(pool, drive);
    }
    *ret_space = space;
    return MRMR_OK;
}

static mrmr_err status_storable(struct status_pass *pass)
{
    struct pool *pool = pass->pool;
    mrmr_autofree struct parity_planner_space *space = calloc(pool->ndrives + 1, sizeof *space);
    if (!space)
        return mrmr_nomem();
    for (size_t i = 0; i < pool->ndrives; i++)
        MRMR_TRY(status_space(pool, pool->drives[i], &space[i]));
    pass->status->storable_bytes = parity_planner_capacity(
        pass->status->redundancy, (unsigned)pool->ndrives, space, pass->stripe_bytes);
    return MRMR_OK;
}

/* --- The interface --- */

static mrmr_err status_totals(struct pool *pool, struct pool_status *status)
{
    struct meta_totals totals;
    struct meta_exposed_total exposed;
    MRMR_TRY(meta_totals(pool->meta, 0, &totals));
    MRMR_TRY(meta_exposed_total(pool->meta, 0, &exposed));
    status->files = totals.files;
    status->file_bytes = totals.file_bytes;
    status->row_bytes = totals.row_bytes;
    status->exposed_files = exposed.files;
    status->exposed_bytes = exposed.bytes;
    status->exposed_oldest = exposed.oldest;
    return MRMR_OK;
}

/* Before the catalog is read: what moves on meanwhile may count in both, and is missed in neither. */
static mrmr_err status_noted(struct pool *pool, struct pool_status *status)
{
    struct pool_noted_list noted;
    MRMR_TRY(pool_noted_load(pool, &noted));
    for (size_t i = 0; i < noted.n; i++)
        status->noted += noted.entry[i].warning;
    pool_noted_list_free(&noted);
    return MRMR_OK;
}

/* By the clock as it was then, but not before the last scan: what that has judged is recorded no more, so the clock was wrong, as
 * that of a machine that keeps no time. Of a drive that is held, on which a file could have been overlooked, or a change hangs, a scan
 * may leave what there is. */
static int64_t status_touched_since(
    const struct pool *pool, const struct pool_touched *touched, const struct pool_drive *drive)
{
    const int64_t since = pool_touched_since(touched, drive->meta.id);
    const bool drops = !drive->meta.hold[0] && drive->info.caps & DRV_CAP_STABLE_CTIME &&
                       !pool_drive_hangs(pool, drive);
    const int64_t least = drops ? drive->meta.scanned : 0;
    return since && since < least && least <= mrmr_clock_real() ? least : since;
}

static void status_touched_on(const struct pool *pool, const struct pool_touched *touched,
    const struct pool_drive *drive, struct pool_status *status)
{
    const uint64_t n = pool_touched_count(touched, drive->meta.id), before = status->touched_files;
    const int64_t since = status_touched_since(pool, touched, drive);
    status->touched_files = n < UINT64_MAX - before ? before + n : UINT64_MAX;
    if (since && (!status->touched_oldest || since < status->touched_oldest))
        status->touched_oldest = since;
}

/* Likewise. Of a drive that was given up nothing new is to be had. */
static mrmr_err status_touched(struct pool *pool, struct pool_status *status)
{
    struct pool_touched touched;
    MRMR_TRY(pool_touched_load(pool, &touched));
    for (size_t i = 0; i < pool->ndrives && touched.n; i++)
        if (pool->drives[i]->meta.state != META_DRIVE_RETIRED)
            status_touched_on(pool, &touched, pool->drives[i], status);
    pool_touched_free(&touched);
    return MRMR_OK;
}

static mrmr_err status_run(struct status_pass *pass)
{
    struct pool_status *status = pass->status;
    MRMR_TRY(status_noted(pass->pool, status));
    MRMR_TRY(status_touched(pass->pool, status));
    MRMR_TRY(status_totals(pass->pool, status));
    MRMR_TRY(status_drives(pass));
    MRMR_TRY(status_domains(pass));
    MRMR_TRY(meta_stripes(pass->pool->meta, status_brief, pass));
    for (size_t i = 0; i < pass->nlook; i++)
        MRMR_TRY(status_look_close(pass, pass->look[i]));
    status->degraded_bytes += pass->damaged_decodable;
    status->degraded_bytes -=
        pass->lost_away < status->degraded_bytes ? pass->lost_away : status->degraded_bytes;
    MRMR_TRY(status_storable(pass));
    MRMR_TRY(pool_direct_count(pass->pool, &status->direct_files));
    return pool_conflicts(pass->pool, &status->conflicts);
}

mrmr_err pool_status(struct pool *pool, struct pool_status *ret_status)
{
    struct pool_status status = {.redundancy = pool_redundancy(pool)};
    struct status_pass pass = {.pool = pool, .status = &status};
    pool_drives_still(pool);
    mrmr_err err = status_run(&pass);
    status_pass_free(&pass);
    if (!err)
        *ret_status = status;
    return err;
}

/* --- Views of the drives --- */

static void view_words(const struct pool_drive *drive, struct pool_drive_view *view)
{
    const struct meta_drive *meta = &drive->meta;
    snprintf(view->name, sizeof view->name, "%s", meta->name);
    snprintf(view->uri, sizeof view->uri, "%s", meta->uri);
    snprintf(view->domain, sizeof view->domain, "%s", meta->domain);
    snprintf(view->role, sizeof view->role, "%s", pool_role_name(meta->role));
    snprintf(view->state, sizeof view->state, "%s", pool_state_name(meta->state));
    snprintf(view->hold, sizeof view->hold, "%s", meta->hold);
    view->uuid = meta->uuid;
    view->slot = meta->slot;
    view->presence = drive->presence;
    if (view->presence != POOL_PRESENT) {
        struct mrmr_story why = drive->why;
        why.drive[0] = '\0'; /* the view names it */
        mrmr_story_print(&why, view->why, sizeof view->why);
    }
}

static mrmr_err view_numbers(struct pool *pool, const struct pool_drive *drive,
    const struct pool_touched *touched, struct pool_drive_view *view)
{
    const struct meta_drive *meta = &drive->meta;
    struct meta_totals totals;
    struct meta_exposed_total exposed;
    struct drv_space space = {.total = meta->total, .avail = meta->avail};
    MRMR_TRY(meta_totals(pool->meta, meta->id, &totals));
    MRMR_TRY(meta_exposed_total(pool->meta, meta->id, &exposed));
    if (pool_drive_readable(drive) && drv_space(drive->drv, &space))
        space = (struct drv_space){.total = meta->total, .avail = meta->avail};
    view->total = space.total;
    view->avail = space.avail;
    view->reserve = meta->reserve;
    view->max_usage = meta->max_usage;
    view->files = totals.files;
    view->file_bytes = totals.file_bytes;
    view->protected_bytes = totals.extent_bytes - totals.unwanted_bytes;
    view->exposed_bytes = exposed.bytes;
    view->row_bytes = totals.row_bytes;
    view->touched = pool_touched_count(touched, meta->id);
    view->lost = pool_drive_is_lost(drive);
    view->scanned = meta->scanned;
    view->seen = drive->presence == POOL_PRESENT ? mrmr_clock_real() : meta->seen;
    return MRMR_OK;
}

/* touched NULL: without numbers. */
static mrmr_err views_make(struct pool *pool, const struct pool_touched *touched,
    struct pool_drive_view **ret_views, size_t *ret_n)
{
    pool_drives_still(pool);
    mrmr_autofree struct pool_drive_view *views = calloc(pool->ndrives + 1, sizeof *views);
    size_t n = 0;
    if (!views)
        return mrmr_nomem();
    for (size_t i = 0; i < pool->ndrives; i++) {
        bool over;
        MRMR_TRY(pool_drive_is_over(pool, pool->drives[i], &over));
        if (over)
            continue;
        view_words(pool->drives[i], &views[n]);
        if (touched)
            MRMR_TRY(view_numbers(pool, pool->drives[i], touched, &views[n]));
        n++;
    }
    *ret_views = mrmr_steal(views);
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err pool_drives(struct pool *pool, struct pool_drive_view **ret_views, size_t *ret_n)
{
    struct pool_touched touched;
    MRMR_TRY(pool_touched_load(pool, &touched));
    mrmr_err err = views_make(pool, &touched, ret_views, ret_n);
    pool_touched_free(&touched);
    return err;
}

mrmr_err pool_drives_known(struct pool *pool, struct pool_drive_view **ret_views, size_t *ret_n)
{
    return views_make(pool, NULL, ret_views, ret_n);
}
