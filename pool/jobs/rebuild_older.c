/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is given up with a drive: the bytes that were written to it after its last scan are on it alone (touched.h), and what comes
 * back of those files is as they were at that scan. Nothing can be done about that, but it is said, file by file.
 *
 * It is told inside the transaction that gives the drive up, so it is told if that is done, and once. The
 * records stay: nobody asks for those of a drive that is none, and the scan of one that has its place drops them.
 */
#include "pool/jobs/rebuild.h"
#include "pool/records/touched.h"

#include <inttypes.h>

enum { NAMED_MOST = 1000, NODES_MOST = 8 };

struct older {
    struct rebuild *rebuild;
    uint64_t known,
        others; /* files that come back as they were; and records of what no scan has met */
};

static mrmr_err tell_one(struct older *older, const struct meta_node *node)
{
    struct rebuild *rebuild = older->rebuild;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (older->known++ >= NAMED_MOST)
        return MRMR_OK;
    MRMR_TRY(meta_path(rebuild->pool->meta, node->id, &path));
    pool_tell(rebuild->pool, NULL, true, "restored-older", rebuild->drive,
        "'%.1000s' was written to or removed after the last scan, which is on drive %s alone; it "
        "comes back as it was at that scan, as far as it was protected",
        path.data, rebuild->drive->meta.name);
    return MRMR_OK;
}

static mrmr_err tell_inode(struct older *older, uint64_t ino)
{
    struct rebuild *rebuild = older->rebuild;
    struct meta_node nodes[NODES_MOST];
    size_t n = 0;
    MRMR_TRY(
        meta_node_by_ino(rebuild->pool->meta, rebuild->drive->meta.id, ino, nodes, NODES_MOST, &n));
    older->others += n == 0;
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(tell_one(older, &nodes[i]));
    return MRMR_OK;
}

static mrmr_err tell_all(struct older *older, const struct pool_touched *touched)
{
    const int64_t drive = older->rebuild->drive->meta.id;
    for (size_t i = 0; i < touched->n; i++) {
        const struct pool_touched_inode *record = &touched->inode[i];
        if (pool_touched_is_bytes(record, drive))
            MRMR_TRY(tell_inode(older, record->ino));
    }
    return MRMR_OK;
}

static void tell_rest(const struct older *older, bool any)
{
    const struct rebuild *rebuild = older->rebuild;
    const char *name = rebuild->drive->meta.name;
    if (any)
        pool_tell(rebuild->pool, NULL, true, "restored-older", rebuild->drive,
            "drive %s: so much was written to it after its last scan that nobody knows to which "
            "files: what comes back is as it was at that scan",
            name);
    if (older->known > NAMED_MOST)
        pool_tell(rebuild->pool, NULL, true, "restored-older", rebuild->drive,
            "drive %s: likewise %" PRIu64 " more files", name, older->known - NAMED_MOST);
    if (older->others)
        pool_tell(rebuild->pool, NULL, true, "restored-older", rebuild->drive,
            "drive %s: up to %" PRIu64
            " files that were made on it after its last scan are given up with it; should it be "
            "readable again, copy them from it by hand",
            name, older->others);
}

mrmr_err pool_rebuild_tell_older(struct rebuild *rebuild)
{
    struct older older = {.rebuild = rebuild};
    struct pool_touched touched;
    MRMR_TRY(pool_touched_load(rebuild->pool, &touched));
    mrmr_err err = tell_all(&older, &touched);
    const bool any = pool_touched_all(&touched, rebuild->drive->meta.id);
    pool_touched_free(&touched);
    MRMR_TRY(err);
    tell_rest(&older, any);
    rebuild->report->older = older.known + older.others + any;
    return MRMR_OK;
}

mrmr_err pool_rebuild_tell_gone(
    struct pool *pool, const struct pool_job *job, const struct pool_drive *drive)
{
    struct pool_touched touched;
    MRMR_TRY(pool_touched_load(pool, &touched));
    const bool older = pool_touched_count(&touched, drive->meta.id) > 0;
    pool_touched_free(&touched);
    pool_tell(pool, job, false, "drive-removed", NULL,
        !drive->meta.scanned ? "drive %s is out of the pool: it was never looked through, and "
                               "nothing of it is on other drives"
        : older ? "drive %s is out of the pool: its files are on other drives as its last scan "
                  "found them; what was written to it after that went with it"
                : "drive %s is out of the pool: all its files, as its last scan found them, are on "
                  "other drives",
        drive->meta.name);
    return MRMR_OK;
}
