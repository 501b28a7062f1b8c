/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether what lies on a drive is the version that was removed while it was away.
 *
 * Type, inode, birth time, size and modification time say that it is another one, and never that it is
 * the same: whoever edits a file in place and sets its time back, as keepers of containers and of
 * photos' tags do, leaves them all (I4). So a file is the version that was removed if its change time is
 * the one of then, too. If that is another one it may be for us: a name that it had besides was removed,
 * its mode was changed before the drive went. Then its bytes decide, its holes among them, against what the catalog has of
 * that version; and what the catalog cannot answer for, since nobody had protected it, is another one.
 *
 * A drive whose change times are not stable cannot tell; what it has counts by the rest, as in a scan.
 */
#include "pool/records/gone.h"

#include <string.h>

/* By the catalog, on both sides. Of a folder only who it is: what it held went before it. */
bool pool_gone_is_node(const struct pool_gone_record *record, const struct meta_node *node)
{
    if (record->type != node->type || record->ino != node->ino || record->btime != node->btime)
        return false;
    return record->type == META_DIR || (record->size == node->size && record->mtime == node->mtime);
}

static bool fact_differs(uint32_t caps, uint32_t cap, uint64_t known, uint64_t seen)
{
    return (caps & cap) && known && seen && known != seen;
}

bool pool_gone_is(
    const struct pool_gone_record *record, const struct drv_info *info, const struct drv_stat *stat)
{
    if (record->kind == POOL_GONE_LATE)
        return pool_gone_late_is(record, stat);
    if ((int)record->type != (int)stat->type ||
        fact_differs(info->caps, DRV_CAP_STABLE_INO, record->ino, stat->ino) ||
        fact_differs(info->caps, DRV_CAP_BTIME, (uint64_t)record->btime, (uint64_t)stat->btime))
        return false;
    return record->type == META_DIR || (record->size == stat->size && record->mtime == stat->mtime);
}

bool pool_gone_is_surely(
    const struct pool_gone_record *record, const struct drv_info *info, const struct drv_stat *stat)
{
    if (record->kind == POOL_GONE_LATE)
        return info->caps & DRV_CAP_STABLE_CTIME ? pool_gone_late_is_surely(record, stat)
                                                 : pool_gone_late_is(record, stat);
    return pool_gone_is(record, info, stat) &&
           (stat->type != DRV_REG || !(info->caps & DRV_CAP_STABLE_CTIME) ||
               (record->ctime && record->ctime == stat->ctime));
}

/* --- by its bytes --- */

struct comparing {
    const struct pool_job *job;
    const struct drv_info *info;
    const struct pool_gone_record *record;
    struct drv_file *file;
    struct drv_stat stat; /* of the file, before it was read */
    int64_t until;
    struct meta_extent *extent; /* by their first leaves */
    size_t n, first;            /* first: those before it end before the leaf at hand */
    struct meta_exposed *exposed;
    size_t nexposed;
    bool holes; /* which leaves are, is known */
    uint8_t *buf;
};

/* The catalog's node of this version, at the record's path or where a scan has found it since. */
static mrmr_err node_of(struct pool *pool, const struct pool_drive *drive,
    const struct pool_gone_record *record, struct meta_node *ret_node)
{
    mrmr_autofree char *path = NULL;
    mrmr_err err = meta_lookup_path(pool->meta, drive->meta.root, record->path, ret_node);
    if (!err && pool_gone_is_node(record, ret_node))
        return MRMR_OK;
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    MRMR_TRY(pool_gone_by_inode(pool, record, &path));
    if (!path)
        return mrmr_fail(MRMR_ABSENT, NULL);
    return meta_lookup_path(pool->meta, drive->meta.root, path, ret_node);
}

/* Nobody has protected it. */
static bool leaf_is_exposed(const struct comparing *c, uint64_t leaf)
{
    for (size_t i = 0; i < c->nexposed; i++)
        if (leaf >= c->exposed[i].first && leaf - c->exposed[i].first < c->exposed[i].leaves)
            return true;
    return false;
}

static bool is_zeros(const uint8_t *buf, uint32_t size)
{
    return size == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, size - 1) == 0);
}

/* Some extent that counts has just these bytes as this leaf. One that none covers, and that is protected, is a hole. */
static bool leaf_is_known(struct comparing *c, uint64_t leaf, uint32_t size)
{
    const struct mrmr_digest digest = mrmr_digest_of(c->buf, size);
    bool covered = false;
    while (c->first < c->n && c->extent[c->first].first + c->extent[c->first].leaves <= leaf)
        c->first++;
    for (size_t i = c->first; i < c->n && c->extent[i].first <= leaf; i++) {
        const struct meta_extent *extent = &c->extent[i];
        const uint64_t at = leaf - extent->first;
        if (!pool_extent_wanted(extent) || at >= extent->leaves)
            continue;
        covered = true;
        if (pool_leaf_size(extent, at) == size && mrmr_digest_equal(&digest, &extent->digests[at]))
            return true;
    }
    return !covered && c->holes && !leaf_is_exposed(c, leaf) && is_zeros(c->buf, size);
}

static mrmr_err read_all(struct comparing *c, bool *ret_same)
{
    *ret_same = true;
    for (uint64_t leaf = 0; *ret_same && leaf * META_LEAF < c->stat.size; leaf++) {
        const uint64_t left = c->stat.size - leaf * META_LEAF;
        const uint32_t size = left < META_LEAF ? (uint32_t)left : META_LEAF;
        MRMR_TRY(pool_job_poll(c->job));
        if (c->until && mrmr_clock_monotonic() >= c->until)
            return mrmr_err_hint(
                mrmr_fail(MRMR_BUSY, "it was changed since it was protected, and to compare it "
                                     "takes longer than a mount has for that"),
                "mrmr sync compares it, however long that takes");
        MRMR_TRY(drv_file_read_exact(c->file, leaf * META_LEAF, c->buf, size));
        *ret_same = leaf_is_known(c, leaf, size);
    }
    return MRMR_OK;
}

/* As it was when its reading began. */
static mrmr_err stands_still(struct comparing *c, bool *ret_same)
{
    struct drv_stat now;
    MRMR_TRY(drv_file_stat(c->file, &now));
    *ret_same = pool_gone_is(c->record, c->info, &now) && now.ctime == c->stat.ctime;
    return MRMR_OK;
}

static mrmr_err compare(struct comparing *c, bool *ret_same)
{
    MRMR_TRY(drv_file_stat(c->file, &c->stat));
    *ret_same = pool_gone_is(c->record, c->info, &c->stat);
    if (!*ret_same)
        return MRMR_OK;
    pool_tick_wait(c->info, &c->stat, mrmr_clock_monotonic());
    c->buf = malloc(META_LEAF);
    if (!c->buf)
        return mrmr_nomem();
    MRMR_TRY(read_all(c, ret_same));
    return *ret_same ? stands_still(c, ret_same) : MRMR_OK;
}

static mrmr_err compare_with(struct comparing *c, struct pool *pool, const struct pool_drive *drive,
    const char *path, bool *ret_same)
{
    struct meta_node node;
    mrmr_err err = node_of(pool, drive, c->record, &node);
    *ret_same = false;
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
    if (c->record->ctime && c->record->version != node.version)
        return MRMR_OK; /* the catalog has taken in another one since */
    MRMR_TRY(meta_extents_of(pool->meta, node.id, &c->extent, &c->n));
    MRMR_TRY(meta_exposed_of(pool->meta, node.id, &c->exposed, &c->nexposed));
    c->holes = !node.recheck;
    MRMR_TRY(drv_file_open(drive->drv, path, DRV_OPEN_READ, 0, &c->file));
    return compare(c, ret_same);
}

mrmr_err pool_gone_same(struct pool *pool, const struct pool_job *job,
    const struct pool_drive *drive, const struct pool_gone_record *record, const char *path,
    int64_t until, struct drv_stat *stat, bool *ret_same)
{
    struct comparing c = {
        .job = job, .info = &drive->info, .record = record, .until = until, .stat = *stat};
    *ret_same = pool_gone_is(record, &drive->info, stat);
    if (!*ret_same || pool_gone_is_surely(record, &drive->info, stat))
        return MRMR_OK;
    mrmr_err err = compare_with(&c, pool, drive, path, ret_same);
    drv_file_close(c.file);
    free(c.extent);
    free(c.exposed);
    free(c.buf);
    if (!err)
        *stat = c.stat;
    return err;
}
