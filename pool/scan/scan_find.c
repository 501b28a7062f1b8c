/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who is it? What the walk meets under a name that the catalog does not have for it may have had another one.
 */
#include "pool/scan/scan.h"

static bool is_same_thing(
    const struct pool_scan_drive *scan, const struct meta_node *node, const struct drv_stat *stat)
{
    if (node->id == scan->drive->meta.root || (int)node->type != (int)stat->type)
        return false;
    if ((scan->drive->info.caps & DRV_CAP_BTIME) && node->btime && stat->btime)
        return node->btime == stat->btime;
    /* Inode numbers are used again: without a time of birth the rest must speak for it. */
    return node->mtime == stat->mtime && node->size == stat->size;
}

/* The folder is not at the path. Where the drive does not say it is taken for being there still. */
static bool has_left(
    struct pool_scan_drive *scan, const struct mrmr_bytes *path, const struct drv_stat *stat)
{
    struct drv_stat there;
    mrmr_err err = drv_stat(scan->drive->drv, path->size ? path->data : "", &there);
    return err ? mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR
               : there.ino != stat->ino || there.type != DRV_DIR;
}

/* Where this walk met it under another name before. */
static mrmr_err met_at(struct pool_scan_drive *scan, int64_t node, struct mrmr_bytes *ret_path)
{
    enum { BATCH = 32 };
    mrmr_autofree struct meta_change *changes = calloc(BATCH, sizeof *changes);
    int64_t after = 0;
    size_t n = 0;
    if (!changes)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_changes_after(scan->pool->meta, scan->drive->meta.id, META_CHANGE_APPEARED,
            after, changes, BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            if (changes[i].node != node)
                continue;
            MRMR_TRY(meta_path(scan->pool->meta, changes[i].parent, ret_path));
            return mrmr_bytes_fmt(ret_path, "%s%s", ret_path->size ? "/" : "", changes[i].name);
        }
        after = n ? changes[n - 1].id : after;
    } while (n);
    return meta_path(scan->pool->meta, node, ret_path); /* it was moved there by now */
}

/* A folder can be in one place only, and not in two comparisons: what was met in another one by this walk, and is not there
 * any more, was renamed under it. The next scan takes it up: as another folder it would be known twice, and the one that is
 * not there would never go, since what it was is found by the records. */
static mrmr_err may_take_folder(struct pool_scan_drive *scan, int64_t node,
    const struct drv_stat *stat, bool *ret_may, bool *ret_later)
{
    const bool met =
        pool_scan_ids_has(&scan->appeared, node) || pool_scan_ids_has(&scan->renewed, node);
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    *ret_may = false;
    mrmr_err err = met ? met_at(scan, node, &path) : meta_path(scan->pool->meta, node, &path);
    const bool nameless =
        mrmr_class_of(err) == MRMR_CLASS_ABSENT; /* it was taken from it already */
    if (err && !nameless)
        return err;
    const bool left = nameless || has_left(scan, &path, stat);
    *ret_may = left && !met;
    *ret_later = *ret_later || (left && met);
    return MRMR_OK;
}

mrmr_err pool_scan_find(struct pool_scan_drive *scan, const struct drv_stat *stat,
    struct meta_node *ret_node, bool *ret_later)
{
    enum { MOST = 8 };
    struct meta_node nodes[MOST];
    size_t n = 0;
    ret_node->id = 0;
    *ret_later = false;
    bool linked = stat->type != DRV_DIR && stat->nlink > 1;
    if (!(scan->drive->info.caps & DRV_CAP_STABLE_INO) || !stat->ino || (scan->blank && !linked))
        return MRMR_OK;
    MRMR_TRY(meta_node_by_ino(scan->pool->meta, scan->drive->meta.id, stat->ino, nodes, MOST, &n));
    for (size_t i = 0; i < n; i++) {
        bool take = is_same_thing(scan, &nodes[i], stat);
        if (take && stat->type == DRV_DIR)
            MRMR_TRY(may_take_folder(scan, nodes[i].id, stat, &take, ret_later));
        if (take) {
            *ret_later = false;
            *ret_node = nodes[i];
            return MRMR_OK;
        }
    }
    return MRMR_OK;
}
