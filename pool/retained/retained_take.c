/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a scan would find of the files that were removed or overwritten through MRMR, found without one:
 * of the inodes that are recorded as touched (touched.h) and whose bytes are kept. Nobody's word is asked
 * for them but the user's who removed them, so a hold of the drive is none of theirs (I5).
 *
 *     removed       its inode is a kept file, and has no other name on the drive. All that stripes count
 *                   on of it must be kept, and right, by reading it: then the catalog forgets the file, as a scan would, and its
 *                   extents are STALE, without a node.
 *     overwritten   its inode is in its place, and a leaf there has other bytes than were coded, which
 *                   are kept, and right: the leaf becomes STALE, without a node, and what lies there
 *                   now is exposed.
 *
 * What waits for a scan: all that was changed directly on a drive; a file whose bytes are not all kept,
 * or not right, for its loss is a scan's to judge; what was brought to another drive since the last scan (brought.h); what was overwritten on a drive that is held, since the catalog's
 * version of it may be brought back by then; what is compared already (SUSPECT); a drive that is being
 * restored, or has no inode numbers that last; and all that a power cut took the records of.
 *
 * Crash argument. No drive is written to. In the catalog a file changes in one transaction: its extents, its
 * names and it itself go together, or a leaf's verdict together with its exposure, so that no leaf is in no
 * extent and not exposed. A cut leaves some files for the next time. While one that was removed is
 * judged, some at a time, writers stand still: nobody is between taking a file from its name and putting it back
 * (retained.h), and who writes finds out anew what counts after that. The retained bytes themselves stay
 * until a release, which asks the catalog, lets go of them. If the name of a kept file comes back after all, it is
 * a file that the catalog does not know, which the next scan finds.
 */
#include "pool/drive/hung.h"
#include "pool/records/brought.h"
#include "pool/records/touched.h"
#include "pool/retained/retained_list.h"

#include <stdio.h>
#include <string.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

enum { SAME_INODE = 8, POLL_EVERY = 64, TAKE_BATCH = 64 };

struct taking {
    struct pool *pool;
    const struct pool_job *job;
    struct pool_retained *retained;
    struct retained_drive *d;
    const struct pool_touched *touched;
    const struct pool_brought *brought;
    struct pool_retained_taken *taken;
    size_t sorted; /* of its inodes: those of earlier turns */
    uint8_t *buf;  /* a leaf */
    uint64_t leaves;
};

/* --- in turns --- */

/* What was read of an inode says nothing new when it is read again in the same release. */
struct looked {
    int64_t drive;
    uint64_t ino;
    uint64_t how;
};
enum { LOOKED_REMOVED = 1, LOOKED_OVERWRITTEN };

static int looked_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct looked));
}

static void looked_sort(struct taking *t)
{
    t->sorted = t->taken->looked.size / sizeof(struct looked);
    if (t->sorted)
        qsort(t->taken->looked.data, t->sorted, sizeof(struct looked), looked_compare);
}

/* *ret_first: it was not in an earlier turn; it is noted. */
static mrmr_err look_first(struct taking *t, uint64_t ino, uint64_t how, bool *ret_first)
{
    const struct looked key = {t->d->drive->meta.id, ino, how};
    *ret_first =
        !t->sorted || !bsearch(&key, t->taken->looked.data, t->sorted, sizeof key, looked_compare);
    t->taken->any = t->taken->any || *ret_first;
    return *ret_first ? mrmr_bytes_add(&t->taken->looked, &key, sizeof key) : MRMR_OK;
}

/* The rest is for the next turn. */
static bool turn_is_over(struct taking *t)
{
    if (t->taken->any && t->taken->until && mrmr_clock_monotonic() >= t->taken->until)
        t->taken->all = false;
    return !t->taken->all;
}

/* --- removed --- */

/* Every leaf of it is on its drive's list, and what is kept there is right. */
static mrmr_err is_kept(struct taking *t, const struct meta_extent *extent, bool *ret_kept)
{
    const struct retained_drive *d = pool_retained_of(t->retained, extent->drive);
    *ret_kept = d && pool_drive_readable(d->drive);
    for (uint64_t i = 0; *ret_kept && i < extent->leaves; i++) {
        const struct mrmr_digest *digest = &extent->digests[i];
        MRMR_TRY(pool_job_poll(t->job));
        mrmr_err err = pool_retained_find(d, digest) ? pool_retained_read(d->drive->drv, digest,
                                                           t->buf, pool_leaf_size(extent, i))
                                                     : MRMR_ABSENT;
        if (mrmr_ran_short(err))
            return err;
        *ret_kept = !err;
    }
    return MRMR_OK;
}

static mrmr_err are_kept(
    struct taking *t, const struct meta_extent extents[], size_t n, bool *ret_kept)
{
    *ret_kept = n > 0;
    for (size_t i = 0; *ret_kept && i < n; i++)
        if (extents[i].state != META_GONE)
            MRMR_TRY(is_kept(t, &extents[i], ret_kept));
    return MRMR_OK;
}

struct name {
    int64_t parent;
    char name[META_NAME_MAX + 1];
};

static mrmr_err name_add(int64_t parent, const char *name, void *arg)
{
    struct name entry = {.parent = parent};
    memcpy(entry.name, name, strlen(name) + 1);
    return mrmr_bytes_add(arg, &entry, sizeof entry);
}

/* A node, its extents, and the file that it is kept as. */
struct removal {
    const struct retained_file *file;
    struct meta_node node;
    struct meta_extent *extent; /* owned */
    size_t n;
    bool is; /* it was found so with the writers still */
};

struct removals {
    struct removal one[TAKE_BATCH];
    size_t n;
};

static void removals_clear(struct removals *removals)
{
    for (size_t i = 0; i < removals->n; i++)
        free(removals->one[i].extent);
    removals->n = 0;
}

static mrmr_err remove_names(struct meta *meta, int64_t node)
{
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    MRMR_TRY(meta_names(meta, node, name_add, &list));
    const struct name *names = (const struct name *)(void *)list.data;
    for (size_t i = 0; i < list.size / sizeof *names; i++)
        MRMR_TRY(meta_name_remove(meta, names[i].parent, names[i].name));
    return MRMR_OK;
}

static mrmr_err remove_one(struct meta *meta, const struct removal *removal)
{
    for (size_t i = 0; i < removal->n; i++) {
        const struct meta_verdict stale = {removal->extent[i].leaves, META_STALE, true};
        if (removal->extent[i].state != META_GONE)
            MRMR_TRY(meta_extent_judge(meta, removal->extent[i].id, &stale, 1));
    }
    MRMR_TRY(remove_names(meta, removal->node.id));
    return meta_node_remove(meta, removal->node.id);
}

static mrmr_err remove_in(struct meta *meta, void *arg)
{
    const struct removals *removals = arg;
    for (size_t i = 0; i < removals->n; i++)
        if (removals->one[i].is)
            MRMR_TRY(remove_one(meta, &removals->one[i]));
    return MRMR_OK;
}

/* Nothing but the kept name leads to the inode. */
static bool is_alone(
    const struct taking *t, const struct meta_node *node, const struct retained_file *file)
{
    char path[POOL_RETAINED_PATH];
    struct drv_stat now;
    snprintf(path, sizeof path, POOL_RETAINED_FILES "/%s", file->name);
    return !drv_stat(t->d->drive->drv, path, &now) && now.type == DRV_REG && now.nlink == 1 &&
           now.ino == file->stat.ino && pool_node_is(&t->d->drive->info, node, &now);
}

/* Writers stand still. */
static mrmr_err remove_still(struct taking *t, struct removals *removals)
{
    uint64_t leaves = 0;
    for (size_t r = 0; r < removals->n; r++) {
        struct removal *removal = &removals->one[r];
        removal->is = is_alone(t, &removal->node, removal->file);
        for (size_t i = 0; removal->is && i < removal->n; i++)
            leaves += removal->extent[i].leaves;
    }
    if (!leaves)
        return MRMR_OK;
    MRMR_TRY(pool_writers_new_epoch(t->pool->writers));
    MRMR_TRY(meta_atomically(t->pool->meta, remove_in, removals));
    t->leaves += leaves;
    return MRMR_OK;
}

static mrmr_err remove_batch(struct taking *t, struct removals *removals)
{
    mrmr_err err = MRMR_OK;
    if (removals->n) {
        err = pool_stop_for(t->pool, t->job, &t->d->drive->meta.id, 1);
        if (!err) {
            err = remove_still(t, removals);
            pool_writers_go(t->pool->writers);
        }
    }
    removals_clear(removals);
    return err;
}

/* A mark for all says nothing of what was held before it (touched.h). */
static bool is_the_users_word(const struct taking *t, uint64_t ino)
{
    const struct meta_drive *meta = &t->d->drive->meta;
    return pool_touched_has(t->touched, meta->id, ino) &&
           !(meta->hold[0] && pool_touched_all(t->touched, meta->id));
}

static mrmr_err removals_add(struct taking *t, struct removals *removals,
    const struct retained_file *file, const struct meta_node *node)
{
    struct removal *removal = &removals->one[removals->n];
    bool kept = false;
    if (node->type != META_REG || !is_alone(t, node, file))
        return MRMR_OK;
    if (pool_brought_has(t->brought, node->drive, node->ino))
        return MRMR_OK;
    *removal = (struct removal){.file = file, .node = *node};
    MRMR_TRY(meta_extents_of(t->pool->meta, node->id, &removal->extent, &removal->n));
    mrmr_err err = are_kept(t, removal->extent, removal->n, &kept);
    if (kept && !err)
        removals->n++;
    else
        free(removal->extent);
    MRMR_TRY(err);
    return removals->n == TAKE_BATCH ? remove_batch(t, removals) : MRMR_OK;
}

static mrmr_err take_removed(
    struct taking *t, struct removals *removals, const struct retained_file *file)
{
    struct meta_node nodes[SAME_INODE];
    size_t n;
    if (!file->seen || file->stat.type != DRV_REG || file->stat.nlink != 1 ||
        !pool_retained_is_file_name(file->name) || !is_the_users_word(t, file->stat.ino))
        return MRMR_OK;
    MRMR_TRY(meta_node_by_ino(
        t->pool->meta, t->d->drive->meta.id, file->stat.ino, nodes, SAME_INODE, &n));
    bool first = false;
    if (n)
        MRMR_TRY(look_first(t, file->stat.ino, LOOKED_REMOVED, &first));
    for (size_t i = 0; first && i < n; i++)
        MRMR_TRY(removals_add(t, removals, file, &nodes[i]));
    return MRMR_OK;
}

static mrmr_err take_all_removed(struct taking *t)
{
    mrmr_autofree struct removals *removals = calloc(1, sizeof *removals);
    mrmr_err err = removals ? MRMR_OK : mrmr_nomem();
    for (size_t i = 0; !err && i < retained_files(t->d) && !turn_is_over(t); i++) {
        err = pool_job_poll(t->job);
        if (!err)
            err = take_removed(t, removals, retained_file_at(t->d, i));
    }
    if (!err)
        err = remove_batch(t, removals);
    if (removals)
        removals_clear(removals);
    return err;
}

/* --- overwritten --- */

/* *ret_over: the file has other bytes there, and what was coded is kept. */
static mrmr_err is_over(struct taking *t, struct drv_file *file, const struct meta_extent *extent,
    uint64_t i, bool *ret_over)
{
    const struct mrmr_digest *digest = &extent->digests[i];
    uint32_t size = pool_leaf_size(extent, i);
    *ret_over = false;
    if (!pool_retained_find(t->d, digest))
        return MRMR_OK;
    mrmr_err err = drv_file_read_exact(file, (extent->first + i) * META_LEAF, t->buf, size);
    if (err && err != MRMR_TRUNCATED)
        return mrmr_ran_short(err) ? err : MRMR_OK;
    if (!err) {
        struct mrmr_digest got = mrmr_digest_of(t->buf, size);
        if (mrmr_digest_equal(&got, digest))
            return MRMR_OK;
    }
    err = pool_retained_read(t->d->drive->drv, digest, t->buf, size);
    *ret_over = !err;
    return mrmr_ran_short(err) ? err : MRMR_OK;
}

struct change {
    const struct meta_extent *extent;
    const struct meta_verdict *verdict; /* one a leaf */
    int64_t drive;
};

static mrmr_err change_in(struct meta *meta, void *arg)
{
    const struct change *change = arg;
    const struct meta_extent *extent = change->extent;
    MRMR_TRY(meta_extent_judge(meta, extent->id, change->verdict, extent->leaves));
    for (uint64_t i = 0; i < extent->leaves; i++) {
        const struct meta_exposed range = {.drive = change->drive,
            .node = extent->node,
            .first = extent->first + i,
            .leaves = 1,
            .bytes = pool_leaf_size(extent, i),
            .since = mrmr_clock_real()};
        if (change->verdict[i].apart)
            MRMR_TRY(meta_expose(meta, &range));
    }
    return MRMR_OK;
}

static mrmr_err take_extent(
    struct taking *t, struct drv_file *file, const struct meta_extent *extent)
{
    mrmr_autofree struct meta_verdict *verdict = calloc(extent->leaves, sizeof *verdict);
    struct change change = {extent, verdict, t->d->drive->meta.id};
    uint64_t over = 0;
    if (!verdict)
        return mrmr_nomem();
    for (uint64_t i = 0; i < extent->leaves; i++) {
        bool is;
        MRMR_TRY(pool_job_poll(t->job));
        MRMR_TRY(is_over(t, file, extent, i, &is));
        verdict[i] = (struct meta_verdict){1, is ? META_STALE : extent->state, is};
        over += is;
    }
    t->leaves += over;
    return over ? meta_atomically(t->pool->meta, change_in, &change) : MRMR_OK;
}

static mrmr_err take_overwritten_node(struct taking *t, const struct meta_node *node)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    mrmr_autofree struct meta_extent *extents = NULL;
    struct drv_stat stat;
    size_t n;
    mrmr_err err = pool_node_open(t->pool, node->id, &file);
    if (!err)
        err = drv_file_stat(file, &stat);
    if (err || !pool_node_is(&t->d->drive->info, node, &stat))
        return mrmr_ran_short(err) ? err : MRMR_OK;
    MRMR_TRY(meta_extents_of(t->pool->meta, node->id, &extents, &n));
    for (size_t i = 0; i < n; i++)
        if (extents[i].state == META_LIVE && extents[i].drive == node->drive)
            MRMR_TRY(take_extent(t, file, &extents[i]));
    return MRMR_OK;
}

static mrmr_err take_overwritten(struct taking *t, uint64_t ino)
{
    struct meta_node nodes[SAME_INODE];
    size_t n;
    bool first = false;
    MRMR_TRY(meta_node_by_ino(t->pool->meta, t->d->drive->meta.id, ino, nodes, SAME_INODE, &n));
    if (n)
        MRMR_TRY(look_first(t, ino, LOOKED_OVERWRITTEN, &first));
    for (size_t i = 0; first && i < n; i++)
        if (nodes[i].type == META_REG)
            MRMR_TRY(take_overwritten_node(t, &nodes[i]));
    return MRMR_OK;
}

/* Of a mark for all it is not known what was: that waits for the scan. */
static mrmr_err take_all_overwritten(struct taking *t)
{
    const int64_t drive = t->d->drive->meta.id;
    if (t->d->drive->meta.hold[0] || !t->d->leaves.size)
        return MRMR_OK;
    for (size_t i = 0; i < t->touched->n && !turn_is_over(t); i++) {
        const struct pool_touched_inode *inode = &t->touched->inode[i];
        if (i % POLL_EVERY == 0)
            MRMR_TRY(pool_job_poll(t->job));
        if (pool_touched_is_bytes(inode, drive))
            MRMR_TRY(take_overwritten(t, inode->ino));
    }
    return MRMR_OK;
}

/* --- a drive --- */

static bool may_take(const struct retained_drive *d)
{
    return d->leaves.size && d->drive->meta.state != META_DRIVE_REBUILDING &&
           (d->drive->info.caps & DRV_CAP_STABLE_INO) && !d->skipped;
}

static mrmr_err take_drive(struct taking *t)
{
    MRMR_TRY(take_all_removed(t));
    return take_all_overwritten(t);
}

static mrmr_err take_drives(struct taking *t)
{
    for (size_t i = 0; i < t->retained->n; i++) {
        t->d = &t->retained->drive[i];
        if (!may_take(t->d) || !pool_drive_writable(t->d->drive))
            continue;
        mrmr_err err = take_drive(t);
        if (mrmr_ran_short(err) || err == MRMR_CANCELLED || err == MRMR_BUSY)
            return err;
        if (err) {
            mrmr_err_drive(err, t->d->drive->meta.name);
            mrmr_log_story(MRMR_LOG_INFO, "what was removed there waits for the next time");
        }
    }
    return MRMR_OK;
}

mrmr_err pool_retained_take_in(struct pool *pool, const struct pool_job *job,
    struct pool_retained *retained, struct pool_retained_taken *taken, uint64_t *ret_leaves)
{
    struct pool_touched touched = {.n = 0};
    struct pool_brought brought = {.n = 0};
    mrmr_autofree uint8_t *buf = malloc(META_LEAF);
    if (!buf)
        return mrmr_nomem();
    struct taking t = {.pool = pool,
        .job = job,
        .retained = retained,
        .touched = &touched,
        .brought = &brought,
        .taken = taken,
        .buf = buf};
    taken->all = true;
    looked_sort(&t);
    mrmr_err err = pool_touched_load(pool, &touched);
    if (!err)
        err = pool_brought_load(pool, &brought);
    /* Loading is none of the turn: each comes to at least one file. */
    taken->any = false;
    taken->until = taken->turn ? mrmr_clock_monotonic() + taken->turn : 0;
    if (!err)
        err = take_drives(&t);
    pool_touched_free(&touched);
    pool_brought_free(&brought);
    pool_views_forget(pool, 0);
    *ret_leaves = t.leaves;
    return err;
}
