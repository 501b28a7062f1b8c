/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the judgement lets happen. Everything here runs inside the judge's transaction: a crash
 * leaves all of a drive's changes in the catalog, or none. The drive is read only, and only for
 * what the walk did not record: attributes, and where data lies in sparse files.
 */
#include "pool/records/gone.h"
#include "pool/scan/scan.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

bool pool_scan_is_other(
    const struct drv_info *info, const struct meta_node *node, const struct meta_node *now)
{
    if (!(info->caps & DRV_CAP_STABLE_INO) || !node->ino || !now->ino)
        return false;
    return node->ino != now->ino ||
           ((info->caps & DRV_CAP_BTIME) && node->btime && now->btime && node->btime != now->btime);
}

void pool_scan_node_take(struct meta_node *node, const struct meta_node *now)
{
    struct meta_node taken = *now;
    taken.id = node->id;
    taken.drive = node->drive;
    taken.version = node->version;
    taken.sequence = node->sequence;
    taken.recheck = node->recheck;
    *node = taken;
}

/* --- Questions --- */

struct apply_name {
    int64_t parent;
    char name[META_NAME_MAX + 1];
};

static mrmr_err apply_name_add(int64_t parent, const char *name, void *arg)
{
    struct apply_name entry = {.parent = parent};
    memcpy(entry.name, name, strlen(name) + 1);
    return mrmr_bytes_add(arg, &entry, sizeof entry);
}

static mrmr_err apply_name_count(int64_t parent, const char *name, void *arg)
{
    (void)parent, (void)name;
    ++*(size_t *)arg;
    return MRMR_OK;
}

mrmr_err pool_scan_count_names(struct pool_scan_drive *scan, int64_t node, size_t *ret_n)
{
    size_t n = 0;
    MRMR_TRY(meta_names(scan->pool->meta, node, apply_name_count, &n));
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err pool_scan_extents_in(struct meta *meta, int64_t node, unsigned states, bool *ret_any)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    MRMR_TRY(meta_extents_of(meta, node, &extents, &n));
    bool any = false;
    for (size_t i = 0; i < n; i++)
        any = any || (states >> extents[i].state & 1);
    *ret_any = any;
    return MRMR_OK;
}

/* --- Content --- */

/* What lies at the path is what was seen, and has not changed since, as far as the drive can tell. */
static bool apply_is_seen(
    const struct pool_scan_drive *scan, const char *path, const struct meta_node *seen)
{
    const struct drv_info *info = &scan->drive->info;
    struct meta_node now = {0};
    struct drv_stat stat;
    if (drv_stat(scan->drive->drv, path, &stat))
        return false;
    pool_node_from_stat(&now, &stat);
    return now.type == seen->type && !pool_scan_is_other(info, seen, &now) &&
           (!(info->caps & DRV_CAP_STABLE_CTIME) || now.ctime == seen->ctime);
}

/* A path is the catalog's, which another file may have by now, or have still: of what was not seen
 * there by the scan nothing is taken. */
static mrmr_err apply_attrs(struct pool_scan_drive *scan, int64_t node,
    const struct meta_node *seen, const char *path, bool *ret_read)
{
    mrmr_autobytes struct mrmr_bytes attrs = MRMR_BYTES_INIT;
    *ret_read = true;
    if (!(scan->drive->info.caps & DRV_CAP_XATTR))
        return MRMR_OK;
    *ret_read = apply_is_seen(scan, path, seen);
    if (!*ret_read)
        return MRMR_OK;
    mrmr_err err = pool_attrs_read(scan->drive->drv, path, &attrs);
    *ret_read = !err && apply_is_seen(scan, path, seen);
    if (!*ret_read)
        return mrmr_ran_short(err) ? err : MRMR_OK;
    return meta_attr_set(scan->pool->meta, node, attrs.data, attrs.size);
}

/* Of a file that is exposed already: one that changes again and again has been so since then. */
static mrmr_err exposed_since(
    struct pool_scan_drive *scan, const struct meta_node *node, int64_t *ret_since)
{
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n;
    *ret_since = scan->now;
    MRMR_TRY(meta_exposed_of(scan->pool->meta, node->id, &ranges, &n));
    for (size_t i = 0; i < n; i++)
        if (ranges[i].since < *ret_since)
            *ret_since = ranges[i].since;
    return MRMR_OK;
}

/* What the drive has beside the stat. Attributes that cannot be read stay as the catalog has them. Where that is since the file
 * is not there any more, as if a folder above it was renamed under the scan, the change time stays, too: by it the next scan
 * looks for them. */
static mrmr_err apply_details(struct pool_scan_drive *scan, struct meta_node *node, int64_t ctime,
    bool all_of_it, int64_t since)
{
    struct meta *meta = scan->pool->meta;
    struct drv *drv = scan->drive->drv;
    const char *path;
    struct drv_stat stat;
    bool read;
    MRMR_TRY(pool_paths_get(scan->pool, &scan->paths, node->id, &path));
    MRMR_TRY(apply_attrs(scan, node->id, node, path, &read));
    if (!read && ctime != node->ctime && !apply_is_seen(scan, path, node)) {
        node->ctime = ctime;
        MRMR_TRY(meta_node_store(meta, node));
    }
    mrmr_err err = drv_stat(drv, path, &stat);
    if (mrmr_ran_short(err))
        return err;
    if (err || stat.type != DRV_REG || stat.size != node->size)
        stat = (struct drv_stat){.type = DRV_REG, .size = node->size, .allocated = node->size};
    struct pool_scan_leaves leaves = {.n = 0};
    err = pool_scan_leaves_of(drv, path, &stat, &leaves);
    if (!err)
        err = all_of_it ? pool_scan_leaves_expose(meta, node->drive, node->id, &leaves, since)
                        : pool_scan_leaves_expose_rest(meta, node->drive, node->id, &leaves, since);
    pool_scan_leaves_free(&leaves);
    return err;
}

mrmr_err pool_scan_suspect(
    struct meta *meta, const struct meta_node *node, unsigned states, bool edited)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    MRMR_TRY(meta_extents_of(meta, node->id, &extents, &n));
    for (size_t i = 0; i < n; i++) {
        /* What stands in for a file that moved here from another drive lies nowhere any more: it
         * cannot be compared. It is over if the file was edited, and goes on standing in if it
         * should be as it was. */
        bool moved = extents[i].drive != node->drive;
        const struct meta_verdict verdict = {
            extents[i].leaves, moved ? META_GONE : META_SUSPECT, false};
        if ((states >> extents[i].state & 1) && (edited || !moved))
            MRMR_TRY(meta_extent_judge(meta, extents[i].id, &verdict, 1));
    }
    return MRMR_OK;
}

/* Compare will look at all that may be in place: what is wanted, and what was left for an older
 * version. */
static mrmr_err apply_suspect(struct meta *meta, const struct meta_node *node, bool edited)
{
    const unsigned states = 1U << META_LIVE | 1U << META_MISSING | 1U << META_STALE;
    return pool_scan_suspect(meta, node, states, edited);
}

mrmr_err pool_scan_expects_same(struct meta *meta, const struct meta_node *node, bool *ret_expects)
{
    bool any = false, suspect = false;
    MRMR_TRY(pool_scan_extents_in(meta, node->id, POOL_SCAN_WANTED, &any));
    if (any && !node->recheck)
        MRMR_TRY(pool_scan_extents_in(meta, node->id, 1U << META_SUSPECT, &suspect));
    *ret_expects = any && !suspect;
    return MRMR_OK;
}

mrmr_err pool_scan_apply_change(
    struct pool_scan_drive *scan, struct meta_node *node, const struct meta_node *now)
{
    struct meta *meta = scan->pool->meta;
    const int64_t ctime = node->ctime;
    int64_t since;
    MRMR_TRY(apply_suspect(meta, node, true));
    pool_scan_node_take(node, now);
    node->version++;
    node->recheck = false;
    MRMR_TRY(meta_node_store(meta, node));
    MRMR_TRY(exposed_since(scan, node, &since));
    MRMR_TRY(meta_unexpose(meta, node->id, 0, UINT64_MAX));
    scan->changed++;
    return apply_details(scan, node, ctime, true, since);
}

mrmr_err pool_scan_apply_recheck(
    struct pool_scan_drive *scan, struct meta_node *node, const struct meta_node *now)
{
    struct meta *meta = scan->pool->meta;
    const int64_t ctime = node->ctime;
    bool same;
    MRMR_TRY(pool_scan_expects_same(meta, node, &same));
    MRMR_TRY(apply_suspect(meta, node, false));
    pool_scan_node_take(node, now);
    node->recheck = same;
    MRMR_TRY(meta_node_store(meta, node));
    return apply_details(scan, node, ctime, false, scan->now);
}

mrmr_err pool_scan_hold_file(struct pool_scan_drive *scan, const struct meta_change *change)
{
    struct meta *meta = scan->pool->meta;
    struct meta_node node;
    MRMR_TRY(meta_extents_mark(meta, change->node, META_LIVE, META_MISSING));
    MRMR_TRY(meta_node_get(meta, change->node, &node));
    MRMR_TRY(pool_stale_settle(scan->pool, &node));
    scan->held_files++;
    if (scan->hold) /* the drive's hold says it for all */
        return MRMR_OK;
    struct meta_change held = *change;
    held.kind = META_CHANGE_HELD;
    return meta_change_add(meta, &held);
}

/* --- Names --- */

static mrmr_err apply_drop_names(struct pool_scan_drive *scan, int64_t node)
{
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    MRMR_TRY(meta_names(scan->pool->meta, node, apply_name_add, &list));
    const struct apply_name *names = (const struct apply_name *)list.data;
    for (size_t i = 0; i < list.size / sizeof *names; i++)
        MRMR_TRY(meta_name_remove(scan->pool->meta, names[i].parent, names[i].name));
    return MRMR_OK;
}

/* Through a mount, while its drive was away: what has no inode number is known by its path. */
static bool was_removed(const struct pool_scan_drive *scan, const struct meta_node *node)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    return pool_gone_any(scan->gone) && !meta_path(scan->pool->meta, node->id, &path) &&
           pool_gone_has(scan->gone, path.data, node);
}

/* A mark is nobody's word for what was held before it. */
static bool is_held_by_all(const struct pool_scan_drive *scan, const struct meta_node *node)
{
    return scan->was_held && pool_touched_all(scan->touched, node->drive);
}

bool pool_scan_is_touched(const struct pool_scan_drive *scan, const struct meta_node *node)
{
    if (is_held_by_all(scan, node))
        return false;
    return node->ino ? pool_touched_has(scan->touched, node->drive, node->ino)
                     : was_removed(scan, node);
}

bool pool_scan_is_written(const struct pool_scan_drive *scan, const struct meta_node *node)
{
    return !is_held_by_all(scan, node) &&
           pool_touched_has_bytes(scan->touched, node->drive, node->ino);
}

enum pool_brought_source pool_scan_brought(
    const struct pool_scan_drive *scan, const struct meta_node *node)
{
    return node->ino ? pool_brought_source(scan->pool, scan->brought, node->drive, node->ino)
                     : POOL_BROUGHT_NOT;
}

/* Files that one change of the user's does not give up. */
static mrmr_err apply_is_kept(struct pool_scan_drive *scan, const struct meta_node *node,
    enum pool_scan_absence absence, bool *ret_kept)
{
    *ret_kept = false;
    if (pool_scan_ids_has(&scan->escaped, node->id))
        return pool_scan_extents_in(scan->pool->meta, node->id, POOL_SCAN_WANTED, ret_kept);
    if (node->type != META_REG)
        return MRMR_OK;
    /* That the user takes what is there for right says nothing of a copy that nobody has met. */
    const enum pool_brought_source source = pool_scan_brought(scan, node);
    if (source == POOL_BROUGHT_WAITS || (source == POOL_BROUGHT_LOST && !scan->accept))
        return pool_scan_extents_in(scan->pool->meta, node->id, POOL_SCAN_WANTED, ret_kept);
    if (scan->accept)
        return MRMR_OK;
    bool unsure = scan->unclean && source == POOL_BROUGHT_NOT && !pool_scan_is_touched(scan, node);
    if (absence == POOL_SCAN_GONE && !unsure && !pool_scan_held_find(&scan->held, node->id))
        return MRMR_OK;
    return pool_scan_extents_in(scan->pool->meta, node->id, POOL_SCAN_WANTED, ret_kept);
}

/* Its attributes may have been changed, too, and nothing would tell the next scan. Where they cannot be
 * read, as where a folder above it has moved and is not in its place yet, and another file may have its
 * path there, that is done once all is in its place. If it is not there then, either, the next scan
 * finds another ctime. */
static mrmr_err apply_moved_take(
    struct pool_scan_drive *scan, struct meta_node *node, const struct meta_node *now, bool recheck)
{
    struct meta *meta = scan->pool->meta;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    const int64_t ctime = node->ctime;
    bool read = true;
    if (!(scan->drive->info.caps & DRV_CAP_STABLE_CTIME) || ctime != now->ctime) {
        MRMR_TRY(meta_path(meta, node->id, &path));
        MRMR_TRY(apply_attrs(scan, node->id, now, path.data, &read));
    }
    pool_scan_node_take(node, now);
    if (!read) {
        struct meta_node seen = *now;
        seen.id = node->id;
        node->ctime = ctime;
        MRMR_TRY(mrmr_bytes_add(&scan->unread, &seen, sizeof seen));
    }
    node->recheck = recheck;
    return meta_node_store_came(meta, node);
}

static mrmr_err apply_unread_one(struct pool_scan_drive *scan, const struct meta_node *seen)
{
    struct meta *meta = scan->pool->meta;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct meta_node node;
    bool read;
    mrmr_err err = meta_node_get(meta, seen->id, &node);
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
    if (node.ctime == seen->ctime || meta_path(meta, node.id, &path) || !path.size)
        return MRMR_OK;
    MRMR_TRY(apply_attrs(scan, node.id, seen, path.data, &read));
    if (!read)
        return MRMR_OK;
    node.ctime = seen->ctime;
    return meta_node_store(meta, &node);
}

mrmr_err pool_scan_apply_unread(struct pool_scan_drive *scan)
{
    struct meta_node seen;
    for (size_t at = 0; at < scan->unread.size; at += sizeof seen) {
        memcpy(&seen, scan->unread.data + at, sizeof seen);
        MRMR_TRY(apply_unread_one(scan, &seen));
    }
    mrmr_bytes_clear(&scan->unread);
    return MRMR_OK;
}

/* The node itself as it was seen under its new name; other content than before is judged like any
 * change. */
static mrmr_err apply_moved_node(struct pool_scan_drive *scan, struct meta_node *node,
    const struct meta_change *change, bool only)
{
    const struct meta_node *now = &change->now;
    struct meta *meta = scan->pool->meta;
    struct meta_change changed = *change;
    changed.kind = META_CHANGE_CHANGED;
    if (node->type == META_REG && (node->size != now->size || node->mtime != now->mtime))
        return meta_change_add(meta, &changed);
    changed.kind = META_CHANGE_RECHECK;
    if (!only) /* a link: not a plain move, and another time of change */
        return node->type == META_REG ? meta_change_add(meta, &changed) : MRMR_OK;
    bool recheck = node->recheck;
    if (!recheck && node->type == META_REG && (scan->drive->info.caps & DRV_CAP_STABLE_CTIME) &&
        node->ctime != now->ctime)
        MRMR_TRY(pool_scan_expects_same(meta, node, &recheck));
    return apply_moved_take(scan, node, now, recheck);
}

static mrmr_err take_parent(int64_t parent, const char *name, void *arg)
{
    (void)name;
    *(int64_t *)arg = parent;
    return MRMR_OK;
}

/* Whether a folder lies in another, or is it, by the catalog as it is now. */
static mrmr_err is_in(struct meta *meta, int64_t folder, int64_t other, bool *ret_is)
{
    enum { DEPTH_MOST = 65536 }; /* a hostile catalog may hold a circle */
    int64_t at = folder;
    for (unsigned depth = 0; at && at != other && depth < DEPTH_MOST; depth++) {
        int64_t parent = 0;
        MRMR_TRY(meta_names(meta, at, take_parent, &parent));
        at = parent;
    }
    *ret_is = at == other;
    return MRMR_OK;
}

mrmr_err pool_scan_apply_move(
    struct pool_scan_drive *scan, const struct meta_change *change, bool replace, bool *ret_done)
{
    struct meta *meta = scan->pool->meta;
    struct meta_node node, parent, there;
    mrmr_err err = meta_node_get(meta, change->node, &node);
    if (!err)
        err = meta_node_get(meta, change->parent, &parent);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) { /* a hostile or outdated catalog: look again */
        *ret_done = true;
        return pool_scan_list_add(&scan->revisit, change->parent);
    }
    MRMR_TRY(err);
    err = meta_lookup(meta, change->parent, change->name, &there);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    bool named = !err && there.id == node.id, free_name = err != MRMR_OK;
    /* A folder, and a file with one link, is nowhere else any more. */
    bool only = node.type == META_DIR || change->now.nlink <= 1;
    *ret_done = named;
    /* Into a folder that lies in it as yet: that one has moved, too, and goes first. Else they were a circle. */
    bool within = false;
    if (!named && node.type == META_DIR)
        MRMR_TRY(is_in(meta, parent.id, node.id, &within));
    if (within)
        return MRMR_OK;
    if (!named && !free_name && replace)
        MRMR_TRY(pool_scan_apply_free(scan, change, &there, &free_name));
    if (free_name) {
        if (only)
            MRMR_TRY(apply_drop_names(scan, node.id));
        MRMR_TRY(meta_name_add(meta, change->parent, change->name, node.id));
        scan->moved += only;
        scan->added += !only;
        *ret_done = true;
    }
    return *ret_done ? apply_moved_node(scan, &node, change, only) : MRMR_OK;
}

/* --- What vanished --- */

/* A node on the way down, and what is below it. */
struct vanish {
    struct vanish *above;
    struct meta_node node;
    int64_t parent; /* 0: it has no name left */
    char name[META_NAME_MAX + 1];
    struct meta_child *children;
    size_t n, i;
    bool elsewhere; /* it has another name: only this one goes, and nothing below it */
    bool kept;      /* something below stays */
};

static mrmr_err vanish_push(struct pool_scan_drive *scan, struct vanish **top, int64_t parent,
    const char *name, const struct meta_node *node)
{
    mrmr_autofree struct vanish *frame = calloc(1, sizeof *frame);
    if (!frame)
        return mrmr_nomem();
    frame->node = *node;
    frame->parent = parent;
    snprintf(frame->name, sizeof frame->name, "%s", name);
    size_t names;
    MRMR_TRY(pool_scan_count_names(scan, node->id, &names));
    frame->elsewhere = names > (parent ? 1U : 0U);
    if (node->type == META_DIR && !frame->elsewhere)
        MRMR_TRY(meta_children(scan->pool->meta, node->id, &frame->children, &frame->n));
    frame->above = *top;
    *top = mrmr_steal(frame);
    return MRMR_OK;
}

static void vanish_pop(struct vanish **top)
{
    struct vanish *frame = *top;
    *top = frame->above;
    if (*top)
        (*top)->kept = (*top)->kept || frame->kept;
    free(frame->children);
    free(frame);
}

static mrmr_err tell_copy_lost(struct pool_scan_drive *scan, const struct meta_node *node)
{
    mrmr_autobytes struct mrmr_bytes name = MRMR_BYTES_INIT;
    const char *path, *drive = scan->drive->meta.name;
    if (pool_scan_held_find(&scan->held, node->id))
        return MRMR_OK;
    MRMR_TRY(pool_paths_get(scan->pool, &scan->paths, node->id, &path));
    MRMR_TRY(mrmr_text_print(&name, path, strlen(path)));
    pool_tell(scan->pool, scan->job, true, "held", scan->drive,
        "'%.600s' was brought from drive %s to one that the pool has lost since: its protected "
        "content is held. mrmr rebuild %s gives it back; if it is not wanted: mrmr sync "
        "--accept-changes",
        name.data, drive, drive);
    return MRMR_OK;
}

static mrmr_err vanish_keep(struct pool_scan_drive *scan, struct vanish *frame)
{
    frame->kept = true;
    if (frame->node.type != META_REG)
        return MRMR_OK;
    const enum pool_brought_source source = pool_scan_brought(scan, &frame->node);
    if (source == POOL_BROUGHT_WAITS && !scan->hold)
        return MRMR_OK; /* what is retained of it is what it was */
    if (source == POOL_BROUGHT_LOST && !scan->hold)
        MRMR_TRY(tell_copy_lost(scan, &frame->node));
    struct meta_change change = {
        .drive = frame->node.drive, .node = frame->node.id, .parent = frame->parent};
    snprintf(change.name, sizeof change.name, "%s", frame->name);
    bool any = scan->hold;
    if (!any)
        MRMR_TRY(pool_scan_extents_in(scan->pool->meta, frame->node.id, POOL_SCAN_WANTED, &any));
    return any ? pool_scan_hold_file(scan, &change) : MRMR_OK;
}

/* All below is done. */
static mrmr_err vanish_end(
    struct pool_scan_drive *scan, struct vanish *frame, enum pool_scan_absence absence)
{
    struct meta *meta = scan->pool->meta;
    bool keep = frame->kept || scan->hold || (absence == POOL_SCAN_HIDDEN && !scan->accept);
    if (!keep && !frame->elsewhere)
        MRMR_TRY(apply_is_kept(scan, &frame->node, absence, &keep));
    if (keep && frame->elsewhere) {
        frame->kept = true;
        return MRMR_OK;
    }
    if (keep && frame->parent)
        return vanish_keep(scan, frame);
    if (frame->parent)
        MRMR_TRY(meta_name_remove(meta, frame->parent, frame->name));
    if (frame->elsewhere)
        return MRMR_OK;
    if (frame->node.type == META_REG)
        MRMR_TRY(pool_retained_vanish(scan->pool, &frame->node, &scan->kept));
    MRMR_TRY(meta_extents_mark(meta, frame->node.id, META_STALE, META_GONE));
    MRMR_TRY(meta_node_remove(meta, frame->node.id));
    scan->vanished += frame->node.type == META_REG;
    return MRMR_OK;
}

static mrmr_err vanish_step(
    struct pool_scan_drive *scan, struct vanish **top, enum pool_scan_absence absence)
{
    struct vanish *frame = *top;
    if (frame->i < frame->n) {
        const struct meta_child *child = &frame->children[frame->i++];
        return vanish_push(scan, top, frame->node.id, child->name, &child->node);
    }
    mrmr_err err = vanish_end(scan, frame, absence);
    vanish_pop(top);
    return err;
}

mrmr_err pool_scan_apply_vanish(struct pool_scan_drive *scan, int64_t parent, const char *name,
    int64_t node, enum pool_scan_absence absence)
{
    struct meta_node gone;
    MRMR_TRY(meta_node_get(scan->pool->meta, node, &gone));
    struct vanish *top = NULL;
    mrmr_err err = vanish_push(scan, &top, parent, name, &gone);
    while (top && !err)
        err = vanish_step(scan, &top, absence);
    while (top)
        vanish_pop(&top);
    return err;
}

/* Whether anything at or below a node would be kept if it vanished. */
static mrmr_err vanish_keeps(
    struct pool_scan_drive *scan, const struct meta_node *node, bool *ret_keeps)
{
    struct vanish *top = NULL;
    bool keeps = false, look = scan->unclean || scan->held.n || scan->escaped.n || scan->brought->n;
    mrmr_err err = look ? vanish_push(scan, &top, 1, "", node) : MRMR_OK;
    while (top && !err && !keeps) {
        struct vanish *frame = top;
        if (frame->i < frame->n) {
            const struct meta_child *child = &frame->children[frame->i++];
            err = vanish_push(scan, &top, frame->node.id, child->name, &child->node);
            continue;
        }
        if (!frame->elsewhere)
            err = apply_is_kept(scan, &frame->node, POOL_SCAN_GONE, &keeps);
        vanish_pop(&top);
    }
    while (top)
        vanish_pop(&top);
    if (!err)
        *ret_keeps = keeps;
    return err;
}

mrmr_err pool_scan_apply_free(struct pool_scan_drive *scan, const struct meta_change *change,
    const struct meta_node *occupant, bool *ret_free)
{
    bool keeps;
    *ret_free = false;
    if (scan->replacing)
        return MRMR_OK;
    MRMR_TRY(vanish_keeps(scan, occupant, &keeps));
    if (keeps)
        return MRMR_OK;
    MRMR_TRY(meta_name_remove(scan->pool->meta, change->parent, change->name));
    *ret_free = true;
    return pool_scan_list_add(&scan->orphans, occupant->id);
}

mrmr_err pool_scan_apply_orphans(struct pool_scan_drive *scan)
{
    for (size_t i = 0; i < scan->orphans.n; i++) {
        size_t names;
        struct meta_node node;
        mrmr_err err = meta_node_get(scan->pool->meta, scan->orphans.id[i], &node);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            continue;
        MRMR_TRY(err);
        MRMR_TRY(pool_scan_count_names(scan, node.id, &names));
        if (!names)
            MRMR_TRY(pool_scan_apply_vanish(scan, 0, "", node.id, POOL_SCAN_GONE));
    }
    scan->orphans.n = 0;
    return MRMR_OK;
}

/* --- What was held --- */

static mrmr_err held_sweep_one(struct meta *meta, const struct meta_change *held)
{
    bool unsure;
    MRMR_TRY(pool_scan_extents_in(meta, held->node, POOL_SCAN_UNSURE, &unsure));
    return unsure ? MRMR_OK : meta_change_remove(meta, held->id);
}

mrmr_err pool_scan_held_sweep(struct meta *meta, int64_t drive)
{
    enum { BATCH = 32 };
    mrmr_autofree struct meta_change *held = calloc(BATCH, sizeof *held);
    if (!held)
        return mrmr_nomem();
    int64_t after = 0;
    for (;;) {
        size_t n;
        MRMR_TRY(meta_changes_after(meta, drive, META_CHANGE_HELD, after, held, BATCH, &n));
        if (!n)
            return MRMR_OK;
        after = held[n - 1].id;
        for (size_t i = 0; i < n; i++)
            MRMR_TRY(held_sweep_one(meta, &held[i]));
    }
}
