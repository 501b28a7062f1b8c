/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/stripe/rot.h"
#include "pool/drive/identity.h"
#include "pool/events/noted.h"
#include "pool/records/touched.h"

#include <stdio.h>
#include <string.h>

enum { TEXT = 1400 };

#define KIND "damage-found"

enum rot_finding rot_judge(struct pool *pool, const struct meta_extent *extent, mrmr_err why)
{
    switch (mrmr_class_of(why)) {
    case MRMR_CLASS_SPACE:
    case MRMR_CLASS_DENIED:
    case MRMR_CLASS_MEMORY:
    case MRMR_CLASS_INTERNAL:
        return ROT_UNKNOWN; /* nothing is known about its bytes */
    default:
        break;
    }
    struct meta_node node;
    struct drv_stat stat;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (!extent->node && extent->state == META_STALE) /* retained, and not there */
        return mrmr_class_of(why) == MRMR_CLASS_UNAVAILABLE ? ROT_UNKNOWN : ROT_NOT_KEPT;
    if (!extent->node || meta_node_get(pool->meta, extent->node, &node))
        return ROT_UNKNOWN;
    struct pool_drive *drive = pool_drive_by_id(pool, node.drive);
    if (!pool_drive_readable(drive) || meta_path(pool->meta, node.id, &path))
        return ROT_UNKNOWN;
    mrmr_err err = drv_stat(drive->drv, path.data, &stat);
    if (mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE)
        return ROT_UNKNOWN;
    if (err && extent->state == META_MISSING && drive->meta.state == META_DRIVE_REBUILDING)
        return ROT_UNKNOWN; /* it has not come back yet: nobody edited it */
    bool hides;
    if (err || pool_stat_same(&drive->info, &node, &stat) != POOL_SAME)
        return ROT_EDITED;
    if (pool_touched_may_hide(pool, drive, stat.ino, &hides))
        return ROT_UNKNOWN;
    return hides ? ROT_EDITED : ROT_FOUND;
}

/* --- the list --- */

/* The bytes, or the medium below them; not a drive that went, and not what this process lacks. */
static bool is_the_medium(mrmr_err why)
{
    return mrmr_class_of(why) == MRMR_CLASS_CORRUPT || why == MRMR_IO;
}

void rot_add_leaf(
    struct rot_list *list, const struct meta_extent *extent, uint64_t leaf, mrmr_err why)
{
    if (!is_the_medium(why) || extent->state != META_LIVE || list->n == ROT_MOST)
        return;
    for (size_t i = 0; i < list->n; i++)
        if (list->found[i].extent == extent && list->found[i].leaf == leaf)
            return;
    list->found[list->n].extent = extent;
    list->found[list->n].leaf = leaf;
    list->found[list->n++].why = why;
}

void rot_add_row(struct rot_list *list, unsigned row, mrmr_err why)
{
    bool counts = is_the_medium(why) || why == MRMR_ABSENT || why == MRMR_CHANGED;
    if (!counts || list->n == ROT_MOST)
        return;
    for (size_t i = 0; i < list->n; i++)
        if (!list->found[i].extent && list->found[i].row == row)
            return;
    list->found[list->n].extent = NULL;
    list->found[list->n].row = row;
    list->found[list->n++].why = why;
}

/* --- telling --- */

/* It is the medium in one place, and not all of a drive that is dying, or was pulled: that one's files are not rotten. */
static bool drive_answers(const struct pool_drive *drive)
{
    struct pool_identity identity;
    return !pool_identity_read(drive->drv, &identity) &&
           mrmr_uuid_equal(&identity.uuid, &drive->meta.uuid);
}

struct telling {
    struct pool *pool;
    const struct meta_stripe *image;
    struct meta_stripe_brief now; /* as the catalog has it at this moment */
};

static const char *in_words(mrmr_err why)
{
    switch (why) {
    case MRMR_IO:
        return "cannot be read";
    case MRMR_ABSENT:
        return "is gone";
    case MRMR_CHANGED:
        return "does not match what it was made of";
    default:
        return "is damaged";
    }
}

/* It is rot, and the catalog does not know of it. */
static bool leaf_is_rotten(
    struct pool *pool, const struct meta_extent *extent, uint64_t leaf, mrmr_err why)
{
    mrmr_autofree struct meta_extent *now = NULL;
    return !meta_extent_at(pool->meta, extent->node, extent->first + leaf, &now) &&
           now->id == extent->id && now->state == META_LIVE &&
           rot_judge(pool, extent, why) == ROT_FOUND;
}

static bool leaf_text(
    struct pool *pool, const struct meta_extent *extent, uint64_t leaf, mrmr_err why, char *text)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const struct pool_drive *drive = pool_drive_by_id(pool, extent->drive);
    if (!leaf_is_rotten(pool, extent, leaf, why) || meta_path(pool->meta, extent->node, &path))
        return false;
    snprintf(text, TEXT,
        "'%.900s' on drive %s %s at byte %llu, although nobody wrote to it, as a reader found: "
        "`mrmr scrub --repair` replaces it by its right content",
        path.data, drive->meta.name, in_words(why),
        (unsigned long long)((extent->first + leaf) * META_LEAF));
    return true;
}

static bool row_is_gone(
    const struct pool_drive *drive, const struct meta_stripe *image, unsigned row)
{
    char path[POOL_ROW_PATH];
    struct drv_stat stat;
    pool_row_path(&image->uuid, image->generation, row, path);
    return drv_stat(drive->drv, path, &stat) == MRMR_ABSENT;
}

static bool row_text(const struct telling *t, const struct meta_row *row, mrmr_err why, char *text)
{
    const struct pool_drive *drive = pool_drive_by_id(t->pool, row->drive);
    char uuid[MRMR_UUID_TEXT];
    if (row->state != META_ROW_OK ||
        (why == MRMR_ABSENT && !row_is_gone(drive, t->image, row->index)))
        return false;
    snprintf(text, TEXT,
        "parity row %u of stripe %s on drive %s %s, as a reader found: `mrmr scrub --repair` makes "
        "it again",
        row->index, mrmr_uuid_print(&t->image->uuid, uuid), drive->meta.name, in_words(why));
    return true;
}

static const struct meta_row *row_now(const struct telling *t, unsigned index)
{
    for (uint32_t i = 0; i < t->now.rows; i++)
        if (t->now.row[i].index == index)
            return &t->now.row[i];
    return NULL;
}

/* The stripe is marked, so nobody tells of it again. */
static void tell_own(const struct telling *t, const struct pool_drive *drive, const char *text)
{
    pool_tell(t->pool, NULL, true, KIND, drive, "%s", text);
    if (meta_stripe_scrubbed(t->pool->meta, t->image->id, META_SCRUB_FIRST))
        mrmr_log_story(MRMR_LOG_WARN, "marking a stripe to be scrubbed");
}

static void tell_one(const struct telling *t, const struct rot_list *list, size_t i)
{
    const struct meta_extent *extent = list->found[i].extent;
    const struct meta_row *row = extent ? NULL : row_now(t, list->found[i].row);
    const struct pool_drive *drive = pool_drive_by_id(t->pool, extent ? extent->drive
                                                               : row  ? row->drive
                                                                      : 0);
    const mrmr_err why = list->found[i].why;
    char text[TEXT];
    if (!pool_drive_present(drive)) /* what a diverged one has may be of another time */
        return;
    const struct pool_note note = {
        mrmr_clock_real(), true, KIND, drive->meta.name, text, &t->image->uuid, t->now.scrubbed};
    if (t->pool->access != POOL_OWN && pool_noted_knows(t->pool, &note))
        return;
    if ((why == MRMR_IO || why == MRMR_ABSENT) && !drive_answers(drive))
        return;
    if (!(extent ? leaf_text(t->pool, extent, list->found[i].leaf, why, text)
                 : row_text(t, row, why, text)))
        return;
    if (t->pool->access == POOL_OWN)
        tell_own(t, drive, text);
    else
        pool_noted_add(t->pool, &note, false);
}

void rot_tell(struct pool *pool, const struct pool_view *view, const struct rot_list *list)
{
    struct mrmr_story kept;
    if (!list->n)
        return;
    mrmr_autofree struct telling *t = malloc(sizeof *t);
    if (!t)
        return;
    mrmr_story_save(&kept);
    t->pool = pool;
    t->image = pool_view_image(view);
    if (!meta_stripe_brief_get(pool->meta, t->image->id, &t->now) &&
        t->now.generation == t->image->generation && t->now.scrubbed != META_SCRUB_FIRST)
        for (size_t i = 0; i < list->n; i++)
            tell_one(t, list, i);
    mrmr_story_restore(&kept);
}
