/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was touched while a sync ran, and is in the catalog as it is now all the same: the scan met the file after the change. Of
 * such a file everything is known, and what is claimed of it holds, but its record is for the next scan: until that
 * whoever needs the file while its drive is away would be told that nobody knows its bytes. So a sync
 * looks at those once more when it is through.
 *
 * Crash argument. (1) The records are set aside, with a new epoch, as a scan does (touched.h): from then on who changes one of these files
 * records it again, before the change. (2) No change that began before is under way any more, on the drives that are looked
 * at: the writers stood still, and where one is late nothing is looked at. (3) Each file is looked at by the
 * path that the catalog has. What has the size, times, inode and attributes that the catalog has is what the scan met, by what counts
 * as unchanged (scan_stat.c); one that was written to after (1) has a record in the new file, whatever is seen here. (4) The
 * records of those are dropped in one durable step (touched.h): a cut before leaves them, for the next scan.
 *
 * Left alone: drives that are held, since a record of such excuses nothing and says what was the user's; that are being
 * restored; and those without stable inode numbers and change times, where a stat does not tell all. And a file that is to be
 * compared yet.
 */
#include "pool/drive/hung.h"
#include "pool/records/touched.h"
#include "pool/scan/scan.h"

#include <string.h>

struct settling {
    struct pool *pool;
    struct pool_paths paths;
};

static bool tells_all(const struct pool_drive *drive)
{
    static const uint32_t needed = DRV_CAP_STABLE_CTIME | DRV_CAP_STABLE_INO;
    return pool_drive_present(drive) && (drive->info.caps & needed) == needed &&
           drive->meta.state == META_DRIVE_ACTIVE && !drive->meta.hold[0];
}

static bool looks_the_same(
    const struct pool_drive *drive, const struct meta_node *node, const struct drv_stat *stat)
{
    return stat->ctime && stat->ino && pool_stat_same(&drive->info, node, stat) == POOL_SAME &&
           node->nlink == stat->nlink && node->mode == stat->mode && node->uid == stat->uid &&
           node->gid == stat->gid;
}

static mrmr_err node_is_known(struct settling *s, const struct meta_node *node, bool *ret_known)
{
    const struct pool_drive *drive = pool_drive_by_id(s->pool, node->drive);
    struct drv_stat stat;
    const char *path;
    bool compared = true;
    *ret_known = false;
    if (node->recheck || pool_paths_get(s->pool, &s->paths, node->id, &path) ||
        drv_stat(drive->drv, path, &stat) || !looks_the_same(drive, node, &stat))
        return MRMR_OK;
    MRMR_TRY(pool_scan_extents_in(s->pool->meta, node->id, 1U << META_SUSPECT, &compared));
    *ret_known = !compared;
    return MRMR_OK;
}

/* Of one that the catalog does not have nothing is known. */
static mrmr_err is_left(int64_t drive, uint64_t ino, void *arg, bool *ret_left)
{
    enum { MOST = 8 };
    struct settling *s = arg;
    struct meta_node nodes[MOST];
    size_t n = 0;
    MRMR_TRY(meta_node_by_ino(s->pool->meta, drive, ino, nodes, MOST, &n));
    bool known = n && n < MOST;
    for (size_t i = 0; known && i < n; i++)
        MRMR_TRY(node_is_known(s, &nodes[i], &known));
    *ret_left = !known;
    return MRMR_OK;
}

mrmr_err pool_touched_settle(struct pool *pool, const struct pool_job *job)
{
    mrmr_autofree int64_t *drives = calloc(pool->ndrives + 1, sizeof *drives);
    struct settling s = {.pool = pool};
    size_t n = 0;
    bool any;
    if (!drives)
        return mrmr_nomem();
    for (size_t i = 0; i < pool->ndrives; i++)
        if (tells_all(pool->drives[i]))
            drives[n++] = pool->drives[i]->meta.id;
    MRMR_TRY(pool_touched_any(pool, &any));
    if (!any || !n)
        return MRMR_OK;
    MRMR_TRY(pool_touched_begin(pool, job));
    MRMR_TRY(pool_stop_for_some(pool, job, drives, &n));
    pool_writers_go(pool->writers);
    mrmr_err err = pool_touched_drop_but(pool, drives, n, is_left, &s);
    pool_paths_free(&s.paths);
    return err;
}
