/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is claimed was read (I4): a new extent's file must be as the catalog knows it when it is
 * opened and still so after its last byte was read, and it must not have been modified within the
 * clock tick before. The catalog knew its times before the lane began: what is stored while lanes run is of a release, which waits
 * for itself. Or it must have been changed since the scan by who writes to it through MRMR: what is read of it then is what it
 * holds now, leaf by leaf, and the catalog's times are older than any that it gets from now on, so the next scan compares it whatever
 * is claimed (I4), the power going before or not: what was read is durable before the commit, and with it such a time, else the file could be back as
 * the catalog has it, and without these bytes. Leaves that are written to after the change of the stripe began are noted by who writes (written.h), and the commit claims none of
 * them; what was torn while it was read is one of those. What was cut off meanwhile cannot be read, and would not be claimed: the change
 * ends, and the next one goes without it (supply.h). The digests are of the very bytes that go into the ring. Where an older extent stands in for what is exposed, its digests are those of this version, too: bytes that differ were
 * read wrong, or have rotted since, and are not claimed in its place.
 */
#include "pool/stripe/lane.h"
#include "pool/records/touched.h"

#include <string.h>

enum {
    LANE_BATCH = 64,
    EXTENT_MOST = 256, /* leaves: of the largest block that can be set */
    WINDOW_MOST = 4    /* as many leaves as base/digest_lanes.c takes side by side */
};

static const char while_read[] = "it was changed while it was read";

/* Leaves of a window whose digests are still to be computed: what is new gets them, what was known
 * is checked against them. */
struct lane_batch {
    struct mrmr_span span[LANE_BATCH];
    struct lane_leaf {
        const struct pool_lane_item *item;
        uint64_t leaf;
        uint8_t *buf;
        bool known; /* of what is new: somebody knows its digest */
        struct mrmr_digest must_be;
    } leaf[LANE_BATCH];
    size_t n;
};

/* A known leaf that is not in place as it was, another way. */
static mrmr_err lane_known_otherwise(struct pool_lane *lane, const struct lane_leaf *leaf)
{
    const struct meta_extent *from = leaf->item->from;
    /* What is not wanted any more need not be in its place: it may be retained. */
    if (lane->how == POOL_LEAF_DIRECT && from->state != META_STALE)
        return mrmr_fail(MRMR_DIGEST, NULL);
    return pool_leaf_read(lane->pool, lane->view, from, leaf->leaf, lane->how, leaf->buf, NULL);
}

/* The file is not as the catalog has it any more. It may have been when it was opened, and may be open no longer. */
static bool lane_was_edited(struct pool_lane *lane, int64_t id)
{
    struct meta_node node;
    struct drv_stat stat;
    const char *path;
    if (meta_node_get(lane->pool->meta, id, &node) ||
        pool_paths_get(lane->pool, &lane->paths, id, &path))
        return false;
    const struct pool_drive *drive = pool_drive_by_id(lane->pool, node.drive);
    if (!pool_drive_readable(drive))
        return false;
    const mrmr_err err = drv_stat(drive->drv, path, &stat);
    return err ? mrmr_class_of(err) == MRMR_CLASS_ABSENT
               : pool_stat_same(&drive->info, &node, &stat) != POOL_SAME;
}

static mrmr_err batch_flush(struct pool_lane *lane, struct lane_batch *batch)
{
    struct mrmr_digest digest[LANE_BATCH];
    size_t n = batch->n;
    batch->n = 0;
    mrmr_digest_batch(n, batch->span, digest);
    for (size_t i = 0; i < n; i++) {
        const struct lane_leaf *leaf = &batch->leaf[i];
        const struct meta_extent *from = leaf->item->from;
        if (!from && leaf->known && !mrmr_digest_equal(&digest[i], &leaf->must_be)) {
            lane->unstable = leaf->item->to->node;
            if (lane_was_edited(lane, lane->unstable))
                return mrmr_fail(MRMR_CHANGED, "%s", while_read);
            return mrmr_fail(MRMR_DIGEST, "what was read is not what the file held when it was "
                                          "protected, and nobody has edited it");
        }
        if (!from)
            leaf->item->to->digests[leaf->leaf] = digest[i];
        else if (!mrmr_digest_equal(&digest[i], &from->digests[leaf->leaf]))
            MRMR_TRY(lane_known_otherwise(lane, leaf));
    }
    return MRMR_OK;
}

static mrmr_err batch_add(
    struct pool_lane *lane, struct lane_batch *batch, const struct lane_leaf *leaf, size_t size)
{
    if (batch->n == LANE_BATCH)
        MRMR_TRY(batch_flush(lane, batch));
    batch->span[batch->n] = (struct mrmr_span){leaf->buf, size};
    batch->leaf[batch->n++] = *leaf;
    return MRMR_OK;
}

/* The digest of a leaf of the file being read, of an extent that stands in for it; NULL if there is
 * none. */
static const struct mrmr_digest *lane_stand_in(const struct pool_lane *lane, uint64_t leaf)
{
    for (size_t i = 0; i < lane->formers; i++)
        if (pool_stand_in_fits(&lane->node, &lane->former[i], leaf))
            return &lane->former[i].digests[leaf - lane->former[i].first];
    return NULL;
}

/* Those that may stand in for a leaf of this one. */
static mrmr_err lane_load_formers(struct pool_lane *lane, const struct meta_extent *extent)
{
    uint64_t from = extent->first < EXTENT_MOST ? 0 : extent->first - EXTENT_MOST;
    free(mrmr_steal(lane->former));
    lane->formers = 0;
    return meta_extents_stale(lane->pool->meta, extent->node, from, extent->first + extent->leaves,
        &lane->former, &lane->formers);
}

static mrmr_err lane_file_changed(struct pool_lane *lane, const char *what)
{
    return mrmr_err_path(mrmr_fail(MRMR_CHANGED, "%s", what), lane->paths.path.data);
}

/* What of it is not what the catalog knows. */
static const char *lane_difference(const struct pool_lane *lane, const struct drv_stat *stat)
{
    const struct meta_node *node = &lane->node;
    return node->size != stat->size     ? "its size"
           : node->mtime != stat->mtime ? "its time"
           : node->ino != stat->ino     ? "its inode"
                                        : "its change time";
}

bool pool_lane_hot(struct pool *pool, const struct pool_drive *drive, const struct meta_node *node,
    const struct drv_stat *stat)
{
    bool touched = false;
    return pool_stat_later(&drive->info, node, stat) &&
           !pool_touched_find_itself(pool, node->drive, node->ino, &touched) && touched;
}

/* The file is the one the catalog knows, now, or is that but for what is written to it through MRMR. */
static mrmr_err lane_file_same(
    struct pool_lane *lane, const char *else_what, struct drv_stat *ret_stat)
{
    MRMR_TRY(drv_file_stat(lane->file, ret_stat));
    if (lane->hot || pool_stat_same(&lane->file_drive->info, &lane->node, ret_stat) == POOL_SAME)
        return MRMR_OK;
    lane->hot = pool_lane_hot(lane->pool, lane->file_drive, &lane->node, ret_stat);
    if (lane->hot)
        return MRMR_OK;
    return mrmr_err_path(
        mrmr_fail(MRMR_CHANGED, "%s (%s is another)", else_what, lane_difference(lane, ret_stat)),
        lane->paths.path.data);
}

/* It ended before the leaf. Whether somebody cut it through MRMR is told by what it is now. */
static mrmr_err lane_file_short(struct pool_lane *lane)
{
    struct drv_stat stat;
    MRMR_TRY(lane_file_same(lane, while_read, &stat));
    lane->cut = lane->hot;
    return lane_file_changed(lane, while_read);
}

static mrmr_err lane_file_end(struct pool_lane *lane)
{
    if (!lane->file)
        return MRMR_OK;
    struct drv_stat stat;
    mrmr_err err = lane_file_same(lane, while_read, &stat);
    if (!err && lane->hot)
        err = mrmr_err_drive(drv_file_sync(lane->file), lane->file_drive->meta.name);
    if (err)
        lane->unstable = lane->node.id;
    drv_file_close(lane->file);
    lane->file = NULL;
    return err;
}

static mrmr_err lane_file_begin(struct pool_lane *lane, const struct meta_extent *extent)
{
    if (lane->file && lane->node.id == extent->node) {
        lane->unstable = extent->node;
        return MRMR_OK;
    }
    MRMR_TRY(lane_file_end(lane));
    lane->unstable = extent->node;
    MRMR_TRY(meta_node_get(lane->pool->meta, extent->node, &lane->node));
    const char *path;
    MRMR_TRY(pool_paths_get(lane->pool, &lane->paths, extent->node, &path));
    if (lane->node.version != extent->version)
        return lane_file_changed(lane, "it has another version by now");
    lane->file_drive = pool_drive_by_id(lane->pool, lane->node.drive);
    if (!pool_drive_readable(lane->file_drive))
        return mrmr_fail(MRMR_OFFLINE, NULL);
    lane->hot = false;
    MRMR_TRY(drv_file_open(lane->file_drive->drv, path, DRV_OPEN_READ, 0, &lane->file));
    struct drv_stat stat;
    MRMR_TRY(lane_file_same(lane, "it was changed since it was looked at", &stat));
    pool_tick_wait(&lane->file_drive->info, &stat, meta_nodes_stored(lane->pool->meta));
    drv_file_advise(lane->file, extent->first * META_LEAF, extent->bytes, false);
    return MRMR_OK;
}

/* The original of a known extent, open; it stays so for the extents of the same node. */
static mrmr_err lane_known_open(struct pool_lane *lane, const struct meta_extent *from)
{
    if (lane->known && lane->known_node == from->node)
        return MRMR_OK;
    drv_file_close(mrmr_steal(lane->known));
    MRMR_TRY(pool_node_open(lane->pool, from->node, &lane->known));
    lane->known_node = from->node;
    drv_file_advise(lane->known, from->first * META_LEAF, from->bytes, false);
    return MRMR_OK;
}

/* A leaf that was claimed before. What is not there, or not right, is got another way. */
static mrmr_err lane_read_known(
    struct pool_lane *lane, const struct lane_leaf *leaf, struct lane_batch *batch)
{
    const struct meta_extent *from = leaf->item->from;
    uint32_t size = pool_leaf_size(from, leaf->leaf);
    mrmr_err err = lane->how == POOL_LEAF_DECODE || from->state == META_GONE
                       ? mrmr_fail(MRMR_ABSENT, NULL)
                       : lane_known_open(lane, from);
    if (!err)
        err = drv_file_read_exact(
            lane->known, (from->first + leaf->leaf) * META_LEAF, leaf->buf, size);
    if (!err)
        return batch_add(lane, batch, leaf, size);
    bool give_up = lane->how == POOL_LEAF_DIRECT && from->state != META_STALE;
    return give_up || mrmr_ran_short(err) ? err : lane_known_otherwise(lane, leaf);
}

/* One leaf of an item into buf. */
static mrmr_err lane_read_leaf(struct pool_lane *lane, const struct pool_lane_item *item,
    uint64_t i, uint8_t *buf, struct lane_batch *batch)
{
    struct lane_leaf leaf = {.item = item, .leaf = i, .buf = buf};
    MRMR_TRY(pool_job_poll(lane->job));
    if (item->from)
        return lane_read_known(lane, &leaf, batch);
    MRMR_TRY(lane_file_begin(lane, item->to));
    if (i == 0)
        MRMR_TRY(lane_load_formers(lane, item->to));
    const struct mrmr_digest *must_be = lane_stand_in(lane, item->to->first + i);
    leaf.known = must_be != NULL;
    if (must_be)
        leaf.must_be = *must_be;
    uint32_t size = pool_leaf_size(item->to, i);
    mrmr_err err = drv_file_read_exact(lane->file, (item->to->first + i) * META_LEAF, buf, size);
    if (err == MRMR_TRUNCATED)
        err = lane_file_short(lane);
    MRMR_TRY(err);
    MRMR_TRY(batch_add(lane, batch, &leaf, size));
    bool last = i + 1 == item->to->leaves;
    if (last) {
        /* The next extent may be of the same file: it is looked at again then, too. */
        struct drv_stat stat;
        MRMR_TRY(lane_file_same(lane, while_read, &stat));
        lane->unstable = 0;
    }
    return MRMR_OK;
}

/* The carried rest of a leaf that began in the window before. Returns where it ends: what is taken out may be longer
 * than the stripe that is left. */
static uint64_t lane_fill_carry(struct pool_lane *lane, uint64_t a, uint64_t b, uint8_t *buf)
{
    const uint64_t end = lane->carry_end < b ? lane->carry_end : b;
    if (end <= a)
        return a;
    memcpy(buf, lane->carry + (a - lane->carry_at), end - a);
    return end;
}

/* The block's bytes [a, b); *ret_used is 0 if they are all zeros. */
static mrmr_err lane_fill(
    struct pool_lane *lane, uint64_t a, uint64_t b, uint8_t *buf, size_t *ret_used)
{
    struct lane_batch batch = {.n = 0};
    uint64_t pos = lane_fill_carry(lane, a, b, buf);
    while (lane->item < lane->nitems) {
        const struct pool_lane_item *item = &lane->items[lane->item];
        uint64_t place = item->to->place + lane->leaf * META_LEAF;
        uint32_t size = pool_leaf_size(item->to, lane->leaf);
        if (place >= b)
            break;
        memset(buf + (pos - a), 0, place - pos);
        bool crosses = place + size > b;
        uint8_t *into = crosses ? lane->carry : buf + (place - a);
        MRMR_TRY(lane_read_leaf(lane, item, lane->leaf, into, &batch));
        pos = place + size;
        if (crosses) {
            MRMR_TRY(batch_flush(lane, &batch));
            memcpy(buf + (place - a), lane->carry, b - place);
            lane->carry_at = place;
            lane->carry_end = place + size;
            pos = b;
        }
        if (++lane->leaf == item->to->leaves) {
            lane->leaf = 0;
            lane->item++;
        }
    }
    MRMR_TRY(batch_flush(lane, &batch));
    if (pos > a)
        memset(buf + (pos - a), 0, b - pos);
    *ret_used = pos > a ? b - a : 0;
    return MRMR_OK;
}

/* The old row's bytes [a, b), checked, with zeros past its own length. */
static mrmr_err lane_fill_row(
    struct pool_lane *lane, uint64_t a, uint64_t b, uint8_t *buf, size_t *ret_used)
{
    uint64_t length = pool_view_image(lane->view)->length;
    uint64_t pos = a;
    MRMR_TRY(pool_job_poll(lane->job));
    if (a < length) {
        size_t got;
        MRMR_TRY(pool_view_row_leaves(lane->pool, lane->view, lane->index, a / META_LEAF,
            (b - a + META_LEAF - 1) / META_LEAF, buf, &got));
        pos += got < b - a ? got : b - a; /* the view's row may be longer, too */
    }
    if (pos > a)
        memset(buf + (pos - a), 0, b - pos);
    *ret_used = pos > a ? b - a : 0;
    return MRMR_OK;
}

static void lane_take_turn(struct pool_lane *lane)
{
    if (!lane->turn_on)
        return;
    mrmr_locked(&lane->pool->turns_lock);
    while (lane->turn_on->turns_served != lane->turn)
        pthread_cond_wait(&lane->pool->turns_moved, &lane->pool->turns_lock);
}

static void lane_pass_turn(struct pool_lane *lane)
{
    if (!lane->turn_on)
        return;
    mrmr_locked(&lane->pool->turns_lock);
    lane->turn_on->turns_served++;
    pthread_cond_broadcast(&lane->pool->turns_moved);
}

static mrmr_err lane_run(struct pool_lane *lane)
{
    for (uint64_t a = 0; a < lane->length; a += lane->window) {
        uint64_t b = a + lane->window < lane->length ? a + lane->window : lane->length;
        uint8_t *buf;
        size_t used = 0;
        MRMR_TRY(pool_ring_put_begin(&lane->ring, &buf));
        MRMR_TRY(lane->is_row ? lane_fill_row(lane, a, b, buf, &used)
                              : lane_fill(lane, a, b, buf, &used));
        if (lane->item == lane->nitems)
            MRMR_TRY(lane_file_end(lane));
        pool_ring_put_end(&lane->ring, used);
    }
    return MRMR_OK;
}

static void *lane_thread(void *arg)
{
    struct pool_lane *lane = arg;
    lane_take_turn(lane);
    mrmr_err err = lane_run(lane);
    lane_pass_turn(lane);
    if (err) {
        mrmr_story_save(&lane->story);
        lane->story.err = err;
        pool_ring_close(&lane->ring, err);
    }
    return NULL;
}

mrmr_err pool_lane_window(struct pool *pool, size_t rings, size_t *ret_bytes)
{
    uint64_t budget;
    MRMR_TRY(pool_memory(pool, &budget));
    uint64_t share = budget / (POOL_RING_DEPTH * rings * META_LEAF);
    *ret_bytes = META_LEAF * (size_t)(share < 1 ? 1 : share > WINDOW_MOST ? WINDOW_MOST : share);
    return MRMR_OK;
}

mrmr_err pool_lane_start(struct pool_lane *lane)
{
    MRMR_TRY(pool_ring_init(&lane->ring, lane->pool->buffers, lane->window));
    if (!lane->is_row && !(lane->carry = pool_buffers_get(lane->pool->buffers, META_LEAF)))
        return mrmr_nomem();
    int posix = pthread_create(&lane->thread, NULL, lane_thread, lane);
    if (posix)
        return mrmr_fail_errno(posix, "start a thread", NULL);
    lane->started = true;
    return MRMR_OK;
}

mrmr_err pool_lane_join(struct pool_lane *lane)
{
    if (!lane->started) {
        lane_take_turn(lane);
        lane_pass_turn(lane);
        return MRMR_OK;
    }
    pool_ring_close(&lane->ring, MRMR_CANCELLED);
    pthread_join(lane->thread, NULL);
    lane->started = false;
    lane->turn_on = NULL;
    return lane->story.err ? mrmr_story_restore(&lane->story) : MRMR_OK;
}

void pool_lane_free(struct pool_lane *lane)
{
    drv_file_close(lane->file);
    drv_file_close(lane->known);
    pool_paths_free(&lane->paths);
    pool_ring_free(&lane->ring);
    free(lane->items);
    free(lane->former);
    pool_buffers_put(lane->pool->buffers, lane->carry, META_LEAF);
    lane->file = lane->known = NULL;
    lane->items = NULL;
    lane->former = NULL;
    lane->carry = NULL;
}
