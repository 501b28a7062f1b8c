/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A rotten file replaced by its right content (I1): repair meets a user who may save the same file
 * at any moment, and the user wins.
 *
 * Crash argument. The right copy is made, verified and synced under .mrmr/work, and then gets the
 * name .mrmr/quarantine/pending-<node>. While writers stand still (writers.h) the file is looked at
 * once more, copy and file are exchanged in one step, so that the name is never missing, the folder
 * is synced, and the catalog learns of the new inode: whoever writes next finds what stripes count
 * on by it, and a record that was made before the exchange tells whoever has the file open
 * (replaced.h). What was displaced then lies under the pending name; it is read again: unless it is
 * what was judged rotten (the same inode, size, time and digests), because somebody wrote to it past
 * the mount, it is exchanged back. Only then does it get its lasting name in the quarantine. The cut
 * points:
 *
 *  1  the copy is being made: the file is untouched, and the next opening of the pool empties the
 *     work folder.
 *  2  the copy has the pending name, and is not in place. Settling puts it into the quarantine: by
 *     what it looks like it may as well be 4.
 *  3  after the exchange, before the catalog knows of it: the pending name holds the inode that the
 *     catalog knows. Settling looks at it: with the size and time that the catalog knows, too, it is
 *     the rotten file and goes into the quarantine; otherwise a user had saved it, and it is
 *     exchanged back. The next scan sees another inode with the same size and time, reads and
 *     compares it (I4), and it is live again.
 *  4  after the catalog knows of it: the pending name holds the rotten file, and settling puts it
 *     into the quarantine.
 *  5  it is being exchanged back: the catalog takes its word back before that, so that a cut leaves
 *     3 or a file of which nothing is claimed.
 *
 * Nothing is ever deleted but copies of our own that were never in place.
 */
#include "pool/drive/hung.h"
#include "pool/engine.h"
#include "pool/records/replaced.h"
#include "pool/records/touched.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

enum { REPAIR_PATH = sizeof POOL_QUARANTINE + META_NAME_MAX + 2 };

struct repair {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_drive *drive;
    struct meta_node node;
    struct mrmr_bytes path;
    char work[sizeof POOL_WORK + 32]; /* the copy, while it is being made */
    char pending[REPAIR_PATH];
    struct drv_stat was;       /* of what is in place and was judged */
    struct mrmr_digest judged; /* its content */
    struct drv_stat ours;      /* of our copy, before it is put in place */
    struct meta_node now;      /* of our copy as the catalog has it; id 0: it has not */
    bool placed;               /* our copy was in place, for some time at least */
};

/* --- What a file holds now, also where it cannot be read --- */

/* The tree digest of all leaves; an unreadable leaf counts as zeros' digest, so that two looks at
 * the same bad medium agree. */
static mrmr_err repair_fingerprint(
    struct repair *r, const char *path, struct mrmr_digest *ret_digest)
{
    uint64_t leaves = (r->was.size + META_LEAF - 1) / META_LEAF;
    mrmr_autofree struct mrmr_digest *digest = calloc(leaves + 1, sizeof *digest);
    mrmr_autofree void *buf = malloc(META_LEAF);
    struct drv_file *file = NULL;
    if (!digest || !buf)
        return mrmr_nomem();
    MRMR_TRY(drv_file_open(r->drive->drv, path, DRV_OPEN_READ, 0, &file));
    mrmr_err err = MRMR_OK;
    for (uint64_t i = 0; !err && i < leaves; i++) {
        size_t got;
        err = pool_job_poll(r->job);
        if (!err && !drv_file_read(file, i * META_LEAF, buf, META_LEAF, &got))
            digest[i] = mrmr_digest_of(buf, got);
    }
    drv_file_close(file);
    if (!err)
        *ret_digest = mrmr_digest_tree(leaves, digest, r->was.size);
    return err;
}

/* What was judged, by its stat; the exchange itself changes ctime. */
static bool repair_is_what_was(const struct repair *r, const struct drv_stat *stat)
{
    return stat->type == r->was.type && stat->size == r->was.size && stat->mtime == r->was.mtime &&
           (!(r->drive->info.caps & DRV_CAP_STABLE_INO) || stat->ino == r->was.ino);
}

/* The same before anything of ours changed its ctime. */
static bool repair_is_untouched(const struct repair *r, const struct drv_stat *stat)
{
    return repair_is_what_was(r, stat) &&
           (!(r->drive->info.caps & DRV_CAP_STABLE_CTIME) || stat->ctime == r->was.ctime);
}

/* The file as the catalog knows it. */
static bool repair_is_known(const struct repair *r, const struct drv_stat *stat)
{
    return stat->type == DRV_REG && stat->size == r->node.size && stat->mtime == r->node.mtime &&
           (!(r->drive->info.caps & DRV_CAP_STABLE_INO) || stat->ino == r->node.ino);
}

static mrmr_err repair_was_judged(struct repair *r, const char *path)
{
    struct drv_stat stat;
    struct mrmr_digest now;
    MRMR_TRY(drv_stat(r->drive->drv, path, &stat));
    if (!repair_is_what_was(r, &stat))
        return mrmr_fail(MRMR_CHANGED, "it was saved while it was being repaired");
    MRMR_TRY(repair_fingerprint(r, path, &now));
    if (!mrmr_digest_equal(&now, &r->judged))
        return mrmr_fail(MRMR_CHANGED, "it was written to while it was being repaired");
    return MRMR_OK;
}

/* --- Into the quarantine --- */

/* .mrmr/quarantine/<seconds>-<node>-<name>, the name cut to what fits. */
static void repair_quarantine_path(const struct repair *r, unsigned turn, char path[REPAIR_PATH])
{
    const char *name = r->path.data ? strrchr(r->path.data, '/') : NULL;
    name = name ? name + 1 : r->path.data ? r->path.data : "";
    int n = snprintf(path, REPAIR_PATH, POOL_QUARANTINE "/%lld-%lld-",
        (long long)(mrmr_clock_real() / MRMR_NS_PER_S), (long long)r->node.id);
    if (turn)
        n += snprintf(path + n, REPAIR_PATH - (size_t)n, "%u-", turn);
    snprintf(path + n, REPAIR_PATH - (size_t)n, "%.200s", name);
}

static mrmr_err repair_keep_as(struct repair *r, const char *path)
{
    struct drv_stat stat;
    mrmr_err err = drv_rename(r->drive->drv, r->pending, path, DRV_RENAME_NOREPLACE);
    if (err != MRMR_UNSUPPORTED)
        return err;
    if (!drv_stat(r->drive->drv, path, &stat))
        return mrmr_fail(MRMR_EXISTS, "the quarantine holds '%s' already", path);
    return drv_rename(r->drive->drv, r->pending, path, DRV_RENAME_REPLACE);
}

/* Twice within a second, as when an interrupted repair is settled and made again, it has two names. */
static mrmr_err repair_keep_displaced(struct repair *r)
{
    enum { TURNS = 100 };
    mrmr_err err = MRMR_EXISTS;
    for (unsigned turn = 0; err == MRMR_EXISTS && turn < TURNS; turn++) {
        char path[REPAIR_PATH];
        repair_quarantine_path(r, turn, path);
        err = repair_keep_as(r, path);
    }
    MRMR_TRY(err);
    return drv_dir_sync(r->drive->drv, POOL_QUARANTINE);
}

static mrmr_err repair_sync_folder_of(struct repair *r, const char *path)
{
    mrmr_autofree char *folder = strdup(path);
    if (!folder)
        return mrmr_nomem();
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    return drv_dir_sync(r->drive->drv, slash ? folder : "");
}

/* --- One file --- */

static mrmr_err repair_copy_sync(struct repair *r)
{
    struct drv_file *file = NULL;
    mrmr_err err = drv_file_open(r->drive->drv, r->work, DRV_OPEN_READ, 0, &file);
    if (!err)
        err = drv_file_sync(file);
    drv_file_close(file);
    return err;
}

/* On return it has the pending name, durably. */
static mrmr_err repair_make_copy(struct repair *r)
{
    struct drv *drv = r->drive->drv;
    MRMR_TRY(drv_mkdirs(drv, POOL_QUARANTINE, 0700));
    MRMR_TRY(drv_mkdirs(drv, POOL_WORK, 0700));
    drv_unlink(drv, r->work); /* of a try that could not */
    MRMR_TRY(pool_copy_make(r->pool, r->job, &r->node, r->drive, r->work, NULL));
    mrmr_err err = repair_copy_sync(r);
    if (!err)
        err = drv_rename(drv, r->work, r->pending, DRV_RENAME_REPLACE);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, r->work);
        return mrmr_story_restore(&story);
    }
    MRMR_TRY(drv_stat(drv, r->pending, &r->ours));
    return drv_dir_sync(drv, POOL_QUARANTINE);
}

/* What lies at the path is our copy, as we made it. */
static bool repair_is_ours(const struct repair *r, const struct drv_stat *stat)
{
    return stat->type == DRV_REG && stat->size == r->ours.size && stat->mtime == r->ours.mtime &&
           (!(r->drive->info.caps & DRV_CAP_STABLE_INO) || stat->ino == r->ours.ino);
}

struct repair_record {
    struct repair *repair;
    struct meta_node node;
    enum meta_extent_state from, to;
};

static mrmr_err repair_record_in(struct meta *meta, void *arg)
{
    const struct repair_record *record = arg;
    MRMR_TRY(meta_node_store(meta, &record->node));
    return meta_extents_mark(meta, record->node.id, record->from, record->to);
}

/* The copy is in place, durably: it is what the catalog knows from now on. Somebody who saved since
 * the exchange, past the mount, is found by the next scan: then nothing is recorded, so that it
 * looks. */
static mrmr_err repair_record(struct repair *r)
{
    struct repair_record record = {r, r->node, META_MISSING, META_LIVE};
    struct drv_stat stat;
    MRMR_TRY(drv_stat(r->drive->drv, r->path.data, &stat));
    if (!repair_is_ours(r, &stat))
        return mrmr_fail(MRMR_CHANGED, "it was saved right after it was repaired");
    pool_node_from_stat(&record.node, &stat);
    MRMR_TRY(meta_atomically(r->pool->meta, repair_record_in, &record));
    r->now = record.node;
    return MRMR_OK;
}

/* What is in place again was never read right: nothing is claimed of it, until a scan has compared
 * it. */
static mrmr_err repair_unrecord(struct repair *r)
{
    struct repair_record record = {r, r->node, META_LIVE, META_MISSING};
    return meta_atomically(r->pool->meta, repair_record_in, &record);
}

struct repair_place {
    struct repair *repair;
    const char *path;
};

/* Before the writers stand still: the drive is ours (I5), and syncing the folder takes little time
 * when it is done again. */
static mrmr_err repair_look(void *arg)
{
    const struct repair_place *place = arg;
    MRMR_TRY(repair_sync_folder_of(place->repair, place->path));
    return pool_drive_still_ours(place->repair->pool, place->repair->drive);
}

static mrmr_err repair_may_place(struct repair *r, const char *path)
{
    struct drv_stat stat;
    bool first = path == r->path.data;
    MRMR_TRY(drv_stat(r->drive->drv, path, &stat));
    if (first ? !repair_is_untouched(r, &stat) : !repair_is_what_was(r, &stat))
        return mrmr_fail(MRMR_CHANGED, "it was saved while it was being repaired");
    return MRMR_OK;
}

/* Another name of the file: our copy gets it, if it is as it was put in place. */
static mrmr_err repair_link_copy(struct repair *r)
{
    struct drv_stat stat;
    MRMR_TRY(drv_stat(r->drive->drv, r->path.data, &stat));
    if (pool_stat_same(&r->drive->info, &r->now, &stat) != POOL_SAME)
        return mrmr_fail(MRMR_CHANGED, "it was saved right after it was repaired");
    return drv_link(r->drive->drv, r->path.data, r->pending);
}

/* Writers stand still. *ret_swapped: whatever lies at the path was displaced. */
static mrmr_err repair_swap(
    struct repair *r, const char *path, enum drv_rename_flag how, bool *ret_swapped)
{
    MRMR_TRY(repair_may_place(r, path));
    MRMR_TRY(pool_writers_new_epoch(r->pool->writers));
    MRMR_TRY(pool_replaced_add(r->pool, r->drive, &r->was, &r->ours));
    if (path != r->path.data)
        MRMR_TRY(repair_link_copy(r));
    mrmr_err err = drv_rename(r->drive->drv, r->pending, path, how);
    if (err && path != r->path.data)
        drv_unlink(r->drive->drv, r->pending); /* a second name of what is in place */
    MRMR_TRY(err);
    *ret_swapped = true;
    MRMR_TRY(repair_sync_folder_of(r, path));
    return repair_record(r);
}

/* The copy goes to where the file is, and no writer is between the last look and the catalog. */
static mrmr_err repair_put(
    struct repair *r, const char *path, enum drv_rename_flag how, bool *ret_swapped)
{
    struct repair_place place = {r, path};
    *ret_swapped = false;
    MRMR_TRY(pool_stop_for_after(r->pool, r->job, &r->drive->meta.id, 1, repair_look, &place));
    mrmr_err err = repair_swap(r, path, how, ret_swapped);
    pool_writers_go(r->pool->writers);
    r->placed = r->placed || *ret_swapped;
    return err;
}

/* Writers stand still. */
static mrmr_err repair_swap_back(struct repair *r, const char *path)
{
    MRMR_TRY(pool_writers_new_epoch(r->pool->writers));
    if (path == r->path.data && r->now.id)
        MRMR_TRY(repair_unrecord(r));
    MRMR_TRY(pool_replaced_add(r->pool, r->drive, &r->ours, &r->was));
    MRMR_TRY(drv_rename(r->drive->drv, r->pending, path, DRV_RENAME_EXCHANGE));
    return repair_sync_folder_of(r, path);
}

/* What was displaced is a user's: it gets its place back. */
static void repair_take_back(struct repair *r, const char *path)
{
    struct drv *drv = r->drive->drv;
    struct drv_stat ours;
    struct repair_place place = {r, path};
    mrmr_err err = pool_stop_for_after(r->pool, NULL, &r->drive->meta.id, 1, repair_look, &place);
    if (!err) {
        err = repair_swap_back(r, path);
        pool_writers_go(r->pool->writers);
    }
    if (err)
        pool_tell_story(r->pool, r->job, true, "repair-conflict", r->drive,
            "what a user saved during a repair lies in the quarantine and could not be put back");
    else if (path != r->path.data || (!drv_stat(drv, r->pending, &ours) &&
                                         ours.size == r->node.size && ours.mtime == r->node.mtime))
        drv_unlink(drv, r->pending); /* our own copy, and nobody wrote to it while it was in place;
                                        or a second name of it */
    else
        repair_keep_displaced(r);
}

/* The rotten file gets its lasting name; the quarantine keeps it already when it is displaced from
 * another name. */
static mrmr_err repair_put_away(struct repair *r, const char *path)
{
    return path == r->path.data ? repair_keep_displaced(r) : drv_unlink(r->drive->drv, r->pending);
}

/* Swap copy and file, look at what was displaced, and swap back unless it is what was judged. */
static mrmr_err repair_exchange(struct repair *r, const char *path)
{
    struct mrmr_story story;
    bool swapped;
    mrmr_err err = repair_put(r, path, DRV_RENAME_EXCHANGE, &swapped);
    if (!swapped)
        return err;
    mrmr_story_save(&story);
    mrmr_err judged = repair_was_judged(r, r->pending);
    if (!judged) {
        mrmr_err away = repair_put_away(r, path);
        return err ? mrmr_story_restore(&story) : away;
    }
    mrmr_story_save(&story);
    repair_take_back(r, path);
    return mrmr_story_restore(&story);
}

/* Where the drive cannot exchange: the file is kept by a second name, looked at once more, and
 * replaced. */
static mrmr_err repair_replace(struct repair *r)
{
    struct drv *drv = r->drive->drv;
    struct drv_stat linked;
    char kept[REPAIR_PATH];
    repair_quarantine_path(r, 0, kept);
    MRMR_TRY(drv_link(drv, r->path.data, kept));
    MRMR_TRY(drv_dir_sync(drv, POOL_QUARANTINE));
    MRMR_TRY(drv_stat(drv, kept, &linked));
    if (!repair_is_what_was(r, &linked))
        return mrmr_fail(MRMR_CHANGED, "it was saved while it was being repaired");
    r->was.ctime = linked.ctime; /* the link's doing */
    MRMR_TRY(repair_was_judged(r, kept));
    bool swapped;
    return repair_put(r, r->path.data, DRV_RENAME_REPLACE, &swapped);
}

static mrmr_err repair_collect_name(int64_t parent, const char *name, void *arg)
{
    struct mrmr_bytes *list = arg;
    MRMR_TRY(mrmr_bytes_add(list, &parent, sizeof parent));
    return mrmr_bytes_add(list, name, strlen(name) + 1);
}

/* The other names of a hard-linked file get the new inode, each by the same exchange. */
static mrmr_err repair_other_names(struct repair *r)
{
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    MRMR_TRY(meta_names(r->pool->meta, r->node.id, repair_collect_name, &list));
    for (size_t at = 0; at < list.size;) {
        int64_t parent;
        memcpy(&parent, list.data + at, sizeof parent);
        const char *name = list.data + at + sizeof parent;
        at += sizeof parent + strlen(name) + 1;
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        MRMR_TRY(meta_path(r->pool->meta, parent, &path));
        if (path.size)
            MRMR_TRY(mrmr_bytes_str(&path, "/"));
        MRMR_TRY(mrmr_bytes_str(&path, name));
        if (strcmp(path.data, r->path.data) == 0)
            continue;
        MRMR_TRY(repair_exchange(r, path.data));
    }
    return MRMR_OK;
}

/* Put the copy in place; on return the rotten file is in the quarantine. */
static mrmr_err repair_place(struct repair *r)
{
    if (!(r->drive->info.caps & DRV_CAP_RENAME_EXCHANGE)) {
        if (r->node.nlink > 1)
            return mrmr_fail(MRMR_UNSUPPORTED,
                "it has several names, and its drive cannot exchange files in one step");
        return repair_replace(r);
    }
    MRMR_TRY(repair_exchange(r, r->path.data));
    return r->node.nlink > 1 ? repair_other_names(r) : MRMR_OK;
}

/* A copy that never was in place is ours to delete. */
static mrmr_err repair_place_or_not(struct repair *r)
{
    mrmr_err err = repair_place(r);
    if (!err || r->placed)
        return err;
    struct mrmr_story story;
    mrmr_story_save(&story);
    drv_unlink(r->drive->drv, r->pending);
    return mrmr_story_restore(&story);
}

/* What is in place was put there after the last scan: nobody has held it, so the user's word to
 * bring the held version back is not about it. */
static bool repair_is_unseen(const struct repair *r)
{
    bool known = (r->drive->info.caps & DRV_CAP_STABLE_CTIME) && r->was.ctime;
    return pool_stat_same(&r->drive->info, &r->node, &r->was) != POOL_SAME &&
           (known ? r->was.ctime : r->was.mtime) > r->drive->meta.scanned;
}

static mrmr_err repair_file(struct repair *r, bool bring_back)
{
    MRMR_TRY(drv_stat(r->drive->drv, r->path.data, &r->was));
    if (r->was.type != DRV_REG)
        return mrmr_fail(MRMR_CONFLICT, "something else than a file is in its place");
    bool hides;
    MRMR_TRY(pool_touched_may_hide(r->pool, r->drive, r->was.ino, &hides));
    if (!bring_back && (hides || pool_stat_same(&r->drive->info, &r->node, &r->was) != POOL_SAME))
        return mrmr_fail(MRMR_CHANGED, "it was edited; the next sync takes it in");
    if (bring_back && repair_is_unseen(r))
        return mrmr_err_hint(
            mrmr_fail(MRMR_CHANGED, "it was edited since the last sync, and is left alone"),
            "run mrmr sync first");
    MRMR_TRY(pool_drive_attach(r->pool, r->drive));
    MRMR_TRY(repair_fingerprint(r, r->path.data, &r->judged));
    MRMR_TRY(repair_make_copy(r));
    mrmr_err err = repair_place_or_not(r);
    pool_views_forget(r->pool, 0);
    MRMR_TRY(err);
    pool_tell(r->pool, r->job, false, "damage-repaired", r->drive,
        "'%s' has its right content again; what was there lies in %s", r->path.data,
        POOL_QUARANTINE);
    return MRMR_OK;
}

/* Writers stand still: what is exchanged is what was looked at. */
static mrmr_err settle_pending_locked(struct repair *r)
{
    struct drv *drv = r->drive->drv;
    struct drv_stat pending, target;
    MRMR_TRY(drv_stat(drv, r->pending, &pending));
    mrmr_err err = drv_stat(drv, r->path.data, &target);
    /* Without inode numbers nothing tells whose it is: then nothing is deleted. */
    bool stable = r->drive->info.caps & DRV_CAP_STABLE_INO;
    if (!err && stable && target.ino == pending.ino)
        return drv_unlink(drv, r->pending); /* a second name of what is in place */
    if (repair_is_known(r, &pending) || (!err && stable && repair_is_known(r, &target)))
        return repair_keep_displaced(r); /* cut points 3; 2 and 4 */
    /* Cut point 3, and a user had saved it. What is in place now may be our copy, or newer still:
     * both are kept. */
    if (!err && target.size == r->node.size && target.mtime == r->node.mtime) {
        MRMR_TRY(pool_writers_new_epoch(r->pool->writers));
        MRMR_TRY(pool_replaced_add(r->pool, r->drive, &target, &pending));
        MRMR_TRY(drv_rename(drv, r->pending, r->path.data, DRV_RENAME_EXCHANGE));
        MRMR_TRY(repair_sync_folder_of(r, r->path.data));
    }
    pool_tell(r->pool, r->job, true, "repair-conflict", r->drive,
        "a repair of '%s' was interrupted while somebody saved it; both are kept, one in %s",
        r->path.data, POOL_QUARANTINE);
    return repair_keep_displaced(r);
}

static mrmr_err settle_pending(struct repair *r)
{
    MRMR_TRY(pool_stop_for(r->pool, r->job, &r->drive->meta.id, 1));
    mrmr_err err = settle_pending_locked(r);
    pool_writers_go(r->pool->writers);
    return err;
}

/* What an earlier repair of this file left behind is somebody's, or ours: look before the name is
 * used again. */
static mrmr_err repair_settle_left(struct repair *r)
{
    struct drv_stat left;
    mrmr_err err = drv_stat(r->drive->drv, r->pending, &left);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(pool_drive_attach(r->pool, r->drive));
    return settle_pending(r);
}

mrmr_err pool_repair_node(
    struct pool *pool, const struct pool_job *job, int64_t node, bool bring_back)
{
    struct repair r = {.pool = pool, .job = job};
    MRMR_TRY(meta_node_get(pool->meta, node, &r.node));
    r.drive = pool_drive_by_id(pool, r.node.drive);
    if (!pool_drive_writable(r.drive))
        return mrmr_err_drive(mrmr_fail(MRMR_OFFLINE, "it cannot be written now"),
            r.drive ? r.drive->meta.name : "?");
    snprintf(r.pending, sizeof r.pending, POOL_QUARANTINE "/pending-%lld", (long long)node);
    snprintf(r.work, sizeof r.work, POOL_WORK "/repair-%lld", (long long)node);
    mrmr_err err = meta_path(pool->meta, node, &r.path);
    if (!err)
        err = repair_settle_left(&r);
    if (!err)
        err = repair_file(&r, bring_back);
    mrmr_err_path(err, r.path.data);
    mrmr_bytes_free(&r.path);
    return mrmr_err_drive(err, r.drive->meta.name);
}

/* --- After a crash --- */

struct settle_names {
    int64_t *node;
    size_t n;
};

static mrmr_err settle_collect(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct settle_names *names = arg;
    int64_t node;
    if (err || !stat || strncmp(name, "pending-", 8) != 0 || !mrmr_text_i64(name + 8, &node))
        return MRMR_OK;
    int64_t *grown = realloc(names->node, (names->n + 1) * sizeof *grown);
    if (!grown)
        return mrmr_nomem();
    names->node = grown;
    names->node[names->n++] = node;
    return MRMR_OK;
}

static mrmr_err settle_drive(struct pool *pool, struct pool_drive *drive)
{
    struct settle_names names = {0};
    mrmr_err err = drv_list(drive->drv, POOL_QUARANTINE, settle_collect, &names);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = MRMR_OK;
    if (!err && names.n)
        err = pool_drive_attach(pool, drive);
    for (size_t i = 0; !err && i < names.n; i++) {
        struct repair r = {.pool = pool, .drive = drive};
        snprintf(
            r.pending, sizeof r.pending, POOL_QUARANTINE "/pending-%lld", (long long)names.node[i]);
        err = meta_node_get(pool->meta, names.node[i], &r.node);
        if (!err)
            err = meta_path(pool->meta, names.node[i], &r.path);
        if (!err)
            err = settle_pending(&r);
        else if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            err =
                repair_keep_displaced(&r); /* the catalog knows no such file: kept, never deleted */
        mrmr_bytes_free(&r.path);
    }
    free(names.node);
    return mrmr_err_drive(err, drive->meta.name);
}

mrmr_err pool_repairs_settle(struct pool *pool)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool_drive_writable(pool->drives[i]) && settle_drive(pool, pool->drives[i]))
            mrmr_log_story(MRMR_LOG_WARN, "an interrupted repair could not be settled");
    return MRMR_OK;
}
