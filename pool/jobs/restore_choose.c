/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a node comes back, and what is made of what lies there: the node itself, an older or newer
 * version of it, or somebody else's. Nothing is written here.
 */
#include "pool/jobs/rebuild.h"

#include "pool/stripe/buffers.h"
#include <string.h>

/* --- Where to --- */

/* What the file takes on a drive: its leaves that hold data. */
static mrmr_err restore_bytes(const struct restore *item, uint64_t *ret_bytes)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n, nranges;
    struct meta *meta = item->rebuild->pool->meta;
    MRMR_TRY(meta_extents_of(meta, item->node.id, &extents, &n));
    MRMR_TRY(meta_exposed_of(meta, item->node.id, &ranges, &nranges));
    *ret_bytes = 0;
    for (size_t i = 0; i < n; i++)
        *ret_bytes += pool_extent_wanted(&extents[i]) ? extents[i].bytes : 0;
    for (size_t i = 0; i < nranges; i++)
        *ret_bytes += ranges[i].bytes;
    return MRMR_OK;
}

bool pool_restore_may_take(const struct rebuild *rebuild, const struct pool_drive *drive)
{
    return drive != rebuild->drive && pool_drive_writable(drive) &&
           (drive->meta.role == META_ROLE_DATA || drive->meta.role == META_ROLE_REMOVABLE) &&
           drive->meta.state == META_DRIVE_ACTIVE;
}

/* The least-used other drive that has room for the file and nothing under its path; NULL if there
 * is none. */
static mrmr_err restore_free_drive(const struct restore *item, struct pool_drive **ret_drive)
{
    struct rebuild *rebuild = item->rebuild;
    uint64_t best_used = 0, bytes;
    size_t best = 0;
    *ret_drive = NULL;
    MRMR_TRY(restore_bytes(item, &bytes));
    for (size_t i = 0; i < rebuild->pool->ndrives; i++) {
        struct pool_drive *drive = rebuild->pool->drives[i];
        struct drv_space space;
        struct drv_stat stat;
        if (!pool_restore_may_take(rebuild, drive) || drv_space(drive->drv, &space) ||
            space.avail < drive->meta.reserve + rebuild->planned[i] + bytes + 16 * META_LEAF ||
            mrmr_class_of(drv_stat(drive->drv, item->path.data, &stat)) != MRMR_CLASS_ABSENT)
            continue;
        uint64_t used = space.total - space.avail + rebuild->planned[i];
        if (!*ret_drive || used < best_used) {
            *ret_drive = drive;
            best_used = used;
            best = i;
        }
    }
    if (*ret_drive)
        rebuild->planned[best] += bytes;
    return MRMR_OK;
}

/* --- What is there already --- */

/* Every leaf that is wanted of the file is right in the one at this path. A file of which some leaf
 * is exposed cannot be told. */
static mrmr_err restore_verify_at(struct rebuild *rebuild, const struct meta_node *node,
    struct pool_drive *drive, const char *path)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n, nranges;
    MRMR_TRY(meta_extents_of(rebuild->pool->meta, node->id, &extents, &n));
    MRMR_TRY(meta_exposed_of(rebuild->pool->meta, node->id, &ranges, &nranges));
    if (nranges)
        return mrmr_fail(MRMR_CONFLICT, "part of it was not protected");
    struct drv_file *file = NULL;
    void *buf = pool_buffers_get(rebuild->pool->buffers, META_LEAF);
    mrmr_err err = buf ? drv_file_open(drive->drv, path, DRV_OPEN_READ, 0, &file) : mrmr_nomem();
    for (size_t i = 0; i < n && !err; i++) {
        for (uint64_t leaf = 0; leaf < extents[i].leaves && !err; leaf++) {
            uint32_t size = pool_leaf_size(&extents[i], leaf);
            if (!pool_extent_wanted(&extents[i]))
                break;
            err = drv_file_read_exact(file, (extents[i].first + leaf) * META_LEAF, buf, size);
            struct mrmr_digest digest = mrmr_digest_of(buf, err ? 0 : size);
            if (!err && !mrmr_digest_equal(&digest, &extents[i].digests[leaf]))
                err = mrmr_fail(MRMR_DIGEST, NULL);
        }
    }
    drv_file_close(file);
    pool_buffers_put(rebuild->pool->buffers, buf, META_LEAF);
    return err;
}

static mrmr_err restore_has_missing(struct rebuild *rebuild, int64_t node, bool *ret_missing)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    MRMR_TRY(meta_extents_of(rebuild->pool->meta, node, &extents, &n));
    *ret_missing = false;
    for (size_t i = 0; i < n; i++)
        *ret_missing = *ret_missing || extents[i].state == META_MISSING;
    return MRMR_OK;
}

static bool restore_is_same_file(
    const struct restore *item, const struct drv_stat *stat, bool missing)
{
    const struct rebuild *rebuild = item->rebuild;
    if (!missing && pool_stat_same(&rebuild->drive->info, &item->node, stat) == POOL_SAME)
        return true;
    return stat->size == item->node.size && stat->mtime == item->node.mtime &&
           !restore_verify_at(item->rebuild, &item->node, item->target, item->path.data);
}

/* Of what is no file. */
static bool restore_is_same_other(const struct restore *item, const struct drv_stat *stat)
{
    mrmr_autobytes struct mrmr_bytes known = MRMR_BYTES_INIT, there = MRMR_BYTES_INIT;
    if (item->node.type == META_CHAR || item->node.type == META_BLOCK)
        return item->node.rdev == stat->rdev;
    if (item->node.type != META_SYMLINK)
        return true;
    return !meta_target_get(item->rebuild->pool->meta, item->node.id, &known) &&
           !drv_readlink(item->target->drv, item->path.data, &there) && known.size == there.size &&
           (!known.size || memcmp(known.data, there.data, known.size) == 0);
}

/* Something lies at the path on the drive itself: is it the file already, a changed version of it,
 * or somebody else's? */
static mrmr_err restore_look_at_present(struct restore *item, const struct drv_stat *stat)
{
    struct rebuild *rebuild = item->rebuild;
    bool missing = false;
    MRMR_TRY(restore_has_missing(rebuild, item->node.id, &missing));
    if (stat->type == (enum drv_type)item->node.type) {
        bool same = item->node.type == META_REG ? restore_is_same_file(item, stat, missing)
                                                : restore_is_same_other(item, stat);
        if (same) {
            item->state = RESTORE_KEPT;
            item->there = *stat;
            return MRMR_OK;
        }
        if (missing && item->node.type == META_REG &&
            rebuild->drive->meta.state == META_DRIVE_ACTIVE) {
            item->held = true;
            return MRMR_OK;
        }
    }
    rebuild->report->conflicts++;
    item->state = RESTORE_ENDED;
    item->conflict = missing && item->node.type == META_REG;
    item->other = *stat;
    pool_tell(rebuild->pool, rebuild->job, true, "conflict", item->target,
        "'%s' is not restored: another file is in its place on drive %s; move it away and run "
        "rebuild again",
        item->path.data, item->target->meta.name);
    return MRMR_OK;
}

/* A folder that another drive has already needs no second home. */
static struct pool_drive *restore_folder_there(struct restore *item)
{
    for (size_t i = 0; i < item->rebuild->pool->ndrives; i++) {
        struct pool_drive *drive = item->rebuild->pool->drives[i];
        struct drv_stat stat;
        if (drive != item->rebuild->drive && pool_drive_writable(drive) &&
            !drv_stat(drive->drv, item->path.data, &stat) && stat.type == DRV_DIR)
            return drive;
    }
    return NULL;
}

/* A copy with the right bytes that an interrupted run placed on another drive, and that the catalog
 * does not know yet. */
static struct pool_drive *restore_placed_before(struct restore *item)
{
    struct rebuild *rebuild = item->rebuild;
    for (size_t i = 0; i < rebuild->pool->ndrives; i++) {
        struct pool_drive *drive = rebuild->pool->drives[i];
        struct drv_stat stat;
        struct meta_node known;
        if (item->node.type == META_REG && pool_restore_may_take(rebuild, drive) &&
            !drv_stat(drive->drv, item->path.data, &stat) && stat.type == DRV_REG &&
            stat.size == item->node.size && stat.mtime == item->node.mtime &&
            meta_lookup_path(rebuild->pool->meta, drive->meta.root, item->path.data, &known) &&
            !restore_verify_at(rebuild, &item->node, drive, item->path.data)) {
            item->there = stat;
            return drive;
        }
    }
    return NULL;
}

static mrmr_err restore_choose_away(struct restore *item)
{
    item->target = restore_placed_before(item);
    if (!item->target)
        return restore_free_drive(item, &item->target);
    MRMR_TRY(pool_drive_attach(item->rebuild->pool, item->target));
    item->state = RESTORE_KEPT;
    return MRMR_OK;
}

mrmr_err pool_restore_choose(struct restore *item)
{
    struct rebuild *rebuild = item->rebuild;
    struct drv_stat stat;
    if (rebuild->away && item->node.type == META_DIR &&
        (item->target = restore_folder_there(item)) != NULL) {
        item->state = RESTORE_KEPT;
        return MRMR_OK;
    }
    item->target = rebuild->drive;
    if (rebuild->away)
        MRMR_TRY(restore_choose_away(item));
    if (item->state == RESTORE_KEPT)
        return MRMR_OK;
    if (!item->target)
        return mrmr_err_hint(
            mrmr_err_path(mrmr_fail(MRMR_SPACE, "no drive has room for it, or all have another "
                                                "file at its path"),
                item->path.data),
            "add a drive and run rebuild again");
    MRMR_TRY(pool_drive_attach(rebuild->pool, item->target));
    mrmr_err err = drv_stat(item->target->drv, item->path.data, &stat);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(mrmr_err_drive(err, item->target->meta.name));
    return restore_look_at_present(item, &stat);
}
