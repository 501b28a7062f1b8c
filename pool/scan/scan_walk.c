/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The walk: folder by folder, the drive's listing against the catalog's. What is new is added at
 * once, which harms nobody; everything else that differs in a file or a name is staged for the
 * judgement (I5).
 *
 * A folder's entries are handled before its subfolders are entered, so memory holds one folder's
 * listing, and the paths of folders still to enter.
 *
 * Identity. Where the drive calls inode numbers stable, a name whose inode the catalog knows under
 * another name (scan_find.c) has been moved or linked: staged as APPEARED. A folder that kept its name but not
 * its inode (a drive copied file by file) is compared like any other, but only when all the rest
 * was seen: if the old folder turned up elsewhere, this one is new.
 */
#include "pool/scan/scan.h"

#include <string.h>

struct pool_scan_place {
    struct pool_scan_place *next;
    int64_t node, parent;
    bool fresh;           /* new in the catalog: it has no children there */
    bool shallow;         /* known subfolders are not entered */
    struct drv_stat stat; /* of a folder to look at later */
    size_t name;          /* where in the path its name begins */
    char path[];
};

struct entry {
    size_t name; /* in names */
    mrmr_err err;
    struct drv_stat stat;
};

struct listing {
    const struct pool_scan_drive *scan;
    const char *folder;
    struct mrmr_bytes names;
    struct mrmr_bytes entries; /* of struct entry */
};

/* --- Places --- */

static mrmr_err place_new(const struct pool_scan_place *in, const char *folder, const char *name,
    struct pool_scan_place **ret_place)
{
    size_t nfolder = strlen(folder), nname = strlen(name);
    struct pool_scan_place *place = malloc(sizeof *place + nfolder + nname + 2);
    if (!place)
        return mrmr_nomem();
    *place = *in;
    place->name = nfolder ? nfolder + 1 : 0;
    memcpy(place->path, folder, nfolder);
    place->path[nfolder] = '/';
    memcpy(place->path + place->name, name, nname + 1);
    *ret_place = place;
    return MRMR_OK;
}

/* What is pushed while a folder is handled comes out sorted by name: the list is turned when it is
 * done. */
static mrmr_err place_push(struct pool_scan_place **list, const struct pool_scan_place *in,
    const char *folder, const char *name)
{
    struct pool_scan_place *place;
    MRMR_TRY(place_new(in, folder, name, &place));
    place->next = *list;
    *list = place;
    return MRMR_OK;
}

static void places_move(struct pool_scan_place **from, struct pool_scan_place **to)
{
    while (*from) {
        struct pool_scan_place *place = *from;
        *from = place->next;
        place->next = *to;
        *to = place;
    }
}

static void places_free(struct pool_scan_place **list)
{
    while (*list) {
        struct pool_scan_place *place = *list;
        *list = place->next;
        free(place);
    }
}

/* One folder's turn: the place, and the subfolders found in it. */
struct turn {
    struct pool_scan_drive *scan;
    const struct pool_scan_place *place;
    struct pool_scan_place *below;
    struct mrmr_bytes path; /* of the entry at hand */
};

static mrmr_err turn_path(struct turn *turn, const char *name)
{
    mrmr_bytes_clear(&turn->path);
    return mrmr_bytes_fmt(
        &turn->path, "%s%s%s", turn->place->path, *turn->place->path ? "/" : "", name);
}

static mrmr_err turn_enter(struct turn *turn, const char *name, int64_t node, bool fresh)
{
    const struct pool_scan_place place = {
        .node = node, .parent = turn->place->node, .fresh = fresh};
    return place_push(&turn->below, &place, turn->place->path, name);
}

/* --- Errors of the drive --- */

/* True if the drive as a whole does not answer; an unreadable spot on it is not that. */
static bool walk_drive_gone(struct pool_scan_drive *scan, mrmr_err err)
{
    struct drv_stat root;
    if (mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE)
        return false;
    if (err == MRMR_OFFLINE || err == MRMR_TIMEOUT || err == MRMR_UNAVAILABLE)
        return true;
    struct mrmr_story story;
    mrmr_story_save(&story);
    bool gone = drv_stat(scan->drive->drv, "", &root) != MRMR_OK;
    mrmr_story_restore(&story);
    return gone;
}

/* What cannot be looked at keeps what the catalog has; only the whole drive's failure ends its
 * scan. */
static mrmr_err walk_unreadable(struct pool_scan_drive *scan, const char *path, mrmr_err err)
{
    if (mrmr_ran_short(err) || err == MRMR_CANCELLED)
        return err;
    if (walk_drive_gone(scan, err)) {
        scan->worker->stopped = true;
        return mrmr_err_drive(err, scan->drive->meta.name);
    }
    scan->unreadable++;
    mrmr_err_path(err, path);
    pool_scan_note_story(
        scan->worker, true, "unreadable", "it could not be looked at and is left as it was");
    return pool_scan_unseen(scan, path);
}

/* --- Writing --- */

struct details {
    struct mrmr_bytes attrs, target;
    struct pool_scan_leaves leaves;
};

static void details_free(struct details *details)
{
    mrmr_bytes_free(&details->attrs);
    mrmr_bytes_free(&details->target);
    pool_scan_leaves_free(&details->leaves);
}

/* All that is recorded of an entry beside its stat. What cannot be read is left out. */
static mrmr_err details_read(struct pool_scan_drive *scan, const char *path,
    const struct drv_stat *stat, struct details *details)
{
    struct drv *drv = scan->drive->drv;
    mrmr_err err = MRMR_OK;
    if (scan->drive->info.caps & DRV_CAP_XATTR)
        err = pool_attrs_read(drv, path, &details->attrs);
    if (!err && stat->type == DRV_SYMLINK)
        err = drv_readlink(drv, path, &details->target);
    if (err)
        MRMR_TRY(
            mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : walk_unreadable(scan, path, err));
    return pool_scan_leaves_of(drv, path, stat, &details->leaves);
}

static mrmr_err details_write(
    struct pool_scan_drive *scan, const struct meta_node *node, const struct details *details)
{
    struct meta *meta = scan->pool->meta;
    if (details->attrs.size)
        MRMR_TRY(meta_attr_set(meta, node->id, details->attrs.data, details->attrs.size));
    if (node->type == META_SYMLINK && details->target.size)
        MRMR_TRY(meta_target_set(meta, node->id, details->target.data));
    return pool_scan_leaves_expose(meta, node->drive, node->id, &details->leaves, scan->now);
}

static mrmr_err walk_stage(struct turn *turn, enum meta_change_kind kind, int64_t node,
    const char *name, const struct drv_stat *stat)
{
    struct pool_scan_drive *scan = turn->scan;
    struct meta_change change = {
        .drive = scan->drive->meta.id, .kind = kind, .node = node, .parent = turn->place->node};
    memcpy(change.name, name, strlen(name) + 1);
    if (stat)
        pool_node_from_stat(&change.now, stat);
    pool_scan_write_begin(scan->worker);
    mrmr_err err = meta_change_add(scan->pool->meta, &change);
    pool_scan_write_end(scan->worker, 1);
    return err;
}

/* On a drive that is being restored: what waits to be brought back has not vanished, what was
 * brought back and is gone has. */
static mrmr_err walk_stage_vanished(struct turn *turn, const struct meta_child *child)
{
    struct meta *meta = turn->scan->pool->meta;
    if (!turn->scan->replacing)
        return walk_stage(turn, META_CHANGE_VANISHED, child->node.id, child->name, NULL);
    if (child->node.type == META_DIR) {
        mrmr_autofree struct meta_child *children = NULL;
        size_t n = 0;
        struct turn below = {
            .scan = turn->scan, .place = &(struct pool_scan_place){.node = child->node.id}};
        MRMR_TRY(meta_children(meta, child->node.id, &children, &n));
        bool hidden = pool_scan_ids_has(&turn->scan->hidden, child->node.id);
        for (size_t i = 0; i < n; i++) {
            if (hidden)
                MRMR_TRY(pool_scan_ids_add(&turn->scan->hidden, children[i].node.id));
            MRMR_TRY(walk_stage_vanished(&below, &children[i]));
        }
        return MRMR_OK;
    }
    bool awaited;
    MRMR_TRY(meta_todo_has(meta, POOL_REBUILD_JOB, child->node.id, &awaited));
    return awaited ? MRMR_OK
                   : walk_stage(turn, META_CHANGE_VANISHED, child->node.id, child->name, NULL);
}

/* What is neither a file nor a name: attributes of a folder, a link, a special file. */
static mrmr_err walk_update(
    struct pool_scan_drive *scan, const char *path, int64_t id, const struct drv_stat *stat)
{
    struct meta *meta = scan->pool->meta;
    struct details details = {.leaves = {.n = 0}};
    struct meta_node node;
    mrmr_err err = meta_node_get(meta, id, &node);
    if (!err)
        err = details_read(scan, path, stat, &details);
    details.leaves.n = 0;
    pool_scan_write_begin(scan->worker);
    if (!err) {
        pool_node_from_stat(&node, stat);
        err = meta_node_store(meta, &node);
    }
    if (!err && !details.attrs.size)
        err = meta_attr_set(meta, id, NULL, 0);
    if (!err)
        err = details_write(scan, &node, &details);
    pool_scan_write_end(scan->worker, 3);
    details_free(&details);
    return err;
}

/* --- Another thing, or another name --- */

/* The name leads to another inode than the catalog has; numbers are used again, so the time of
 * birth counts, too. */
static bool walk_is_other_thing(
    const struct pool_scan_drive *scan, const struct meta_node *node, const struct drv_stat *stat)
{
    struct meta_node now;
    pool_node_from_stat(&now, stat);
    return pool_scan_is_other(&scan->drive->info, node, &now);
}

/* A name that now leads to a known node. */
static mrmr_err walk_appeared(
    struct turn *turn, const char *name, const struct meta_node *node, const struct drv_stat *stat)
{
    MRMR_TRY(walk_stage(turn, META_CHANGE_APPEARED, node->id, name, stat));
    if (stat->type != DRV_DIR)
        return MRMR_OK;
    MRMR_TRY(pool_scan_ids_add(&turn->scan->appeared, node->id));
    return turn_enter(turn, name, node->id, false);
}

/* --- The three cases --- */

static mrmr_err walk_add(struct turn *turn, const char *name, const struct drv_stat *stat)
{
    struct pool_scan_drive *scan = turn->scan;
    struct details details = {.leaves = {.n = 0}};
    struct meta_node node = {.drive = scan->drive->meta.id, .version = 1};
    pool_node_from_stat(&node, stat);
    mrmr_err err = details_read(scan, turn->path.data, stat, &details);
    if (!err) {
        pool_scan_write_begin(scan->worker);
        err = meta_node_add(scan->pool->meta, &node, turn->place->node, name);
        if (!err)
            err = details_write(scan, &node, &details);
        pool_scan_write_end(scan->worker, 3);
    }
    details_free(&details);
    MRMR_TRY(err);
    scan->added++;
    scan->added_files += stat->type == DRV_REG;
    return stat->type == DRV_DIR ? turn_enter(turn, name, node.id, true) : MRMR_OK;
}

static mrmr_err walk_new(struct turn *turn, const char *name, const struct entry *entry)
{
    struct pool_scan_drive *scan = turn->scan;
    struct meta_node node;
    if (entry->stat.dev != scan->dev) {
        mrmr_log(MRMR_LOG_INFO,
            "drive %s: another file system or subvolume lies below it: left out",
            scan->drive->meta.name);
        return MRMR_OK;
    }
    bool later;
    MRMR_TRY(pool_scan_find(scan, &entry->stat, &node, &later));
    if (later)
        return pool_scan_unseen(scan, turn->path.data);
    return node.id ? walk_appeared(turn, name, &node, &entry->stat)
                   : walk_add(turn, name, &entry->stat);
}

/* Held before, or on a drive that is: its bytes count as missing. It is as it was, so they are
 * compared again; unless just that was done already. */
static mrmr_err walk_revive(
    struct turn *turn, const struct meta_child *child, const struct drv_stat *stat)
{
    struct pool_scan_drive *scan = turn->scan;
    const struct meta_change *held = pool_scan_held_find(&scan->held, child->node.id);
    if (held ? pool_stat_same(&scan->drive->info, &held->now, stat) == POOL_SAME
             : !scan->drive->meta.hold[0])
        return MRMR_OK;
    bool missing;
    MRMR_TRY(pool_scan_extents_in(scan->pool->meta, child->node.id, 1U << META_MISSING, &missing));
    if (!missing)
        return MRMR_OK;
    struct meta_node node = child->node;
    node.recheck = true;
    pool_scan_write_begin(scan->worker);
    mrmr_err err = meta_node_store(scan->pool->meta, &node);
    if (!err)
        err = pool_scan_suspect(scan->pool->meta, &node, 1U << META_MISSING, false);
    pool_scan_write_end(scan->worker, 2);
    return err;
}

/* Attributes that I4 does not look at, for drives without a change time that would tell. */
static bool walk_attributes_differ(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat)
{
    return ((info->caps & DRV_CAP_MODE) && node->mode != stat->mode) ||
           ((info->caps & DRV_CAP_OWNER) && (node->uid != stat->uid || node->gid != stat->gid)) ||
           node->rdev != stat->rdev;
}

static mrmr_err walk_known_file(
    struct turn *turn, const struct meta_child *child, const struct drv_stat *stat)
{
    struct pool_scan_drive *scan = turn->scan;
    enum pool_same same = pool_stat_same(&scan->drive->info, &child->node, stat);
    if (same == POOL_SAME && pool_touched_hides(scan->touched_before, scan->drive, stat->ino))
        same = POOL_RECHECK;
    if (same != POOL_SAME) {
        bool awaited = false; /* of a drive that is being restored: not all of it may be there */
        if (scan->replacing)
            MRMR_TRY(meta_todo_has(scan->pool->meta, POOL_REBUILD_JOB, child->node.id, &awaited));
        if (awaited)
            return MRMR_OK;
        return walk_stage(turn, same == POOL_RECHECK ? META_CHANGE_RECHECK : META_CHANGE_CHANGED,
            child->node.id, child->name, stat);
    }
    if (walk_attributes_differ(&scan->drive->info, &child->node, stat))
        MRMR_TRY(walk_update(scan, turn->path.data, child->node.id, stat));
    return walk_revive(turn, child, stat);
}

static mrmr_err walk_known_folder(
    struct turn *turn, const struct meta_child *child, const struct drv_stat *stat)
{
    struct pool_scan_drive *scan = turn->scan;
    const struct drv_info *info = &scan->drive->info;
    if (walk_is_other_thing(scan, &child->node, stat)) {
        const struct pool_scan_place place = {
            .node = child->node.id, .parent = turn->place->node, .stat = *stat};
        return place_push(&scan->later, &place, turn->place->path, child->name);
    }
    /* While it is being restored the catalog knows better than the drive. */
    if (!scan->replacing && (pool_stat_same(info, &child->node, stat) != POOL_SAME ||
                                walk_attributes_differ(info, &child->node, stat)))
        MRMR_TRY(walk_update(scan, turn->path.data, child->node.id, stat));
    return turn->place->shallow ? MRMR_OK : turn_enter(turn, child->name, child->node.id, false);
}

/* The name leads to another inode than before. *ret_taken: it is not the old node's any more. */
static mrmr_err walk_other_inode(
    struct turn *turn, const struct meta_child *child, const struct drv_stat *stat, bool *ret_taken)
{
    struct pool_scan_drive *scan = turn->scan;
    struct meta_node node;
    bool type_differs = (int)child->node.type != (int)stat->type;
    bool later;
    MRMR_TRY(pool_scan_find(scan, stat, &node, &later));
    *ret_taken = true;
    if (later)
        return pool_scan_unseen(scan, turn->path.data);
    if (node.id && node.id != child->node.id) {
        MRMR_TRY(walk_stage_vanished(turn, child));
        return walk_appeared(turn, child->name, &node, stat);
    }
    /* One of several names left the others, or another kind of thing is there, or a file with other
     * names that will be known then. */
    if (type_differs ||
        (child->node.type != META_DIR && (child->node.nlink > 1 || stat->nlink > 1))) {
        MRMR_TRY(walk_stage_vanished(turn, child));
        MRMR_TRY(pool_scan_ids_add(&scan->replaced, child->node.id));
        return pool_scan_list_add(&scan->revisit, turn->place->node);
    }
    *ret_taken = false;
    return MRMR_OK;
}

static mrmr_err walk_known(
    struct turn *turn, const struct meta_child *child, const struct entry *entry)
{
    struct pool_scan_drive *scan = turn->scan;
    const struct drv_stat *stat = &entry->stat;
    if (stat->dev != scan->dev) {
        MRMR_TRY(pool_scan_ids_add(&scan->hidden, child->node.id));
        return walk_stage_vanished(turn, child);
    }
    if (walk_is_other_thing(scan, &child->node, stat) || (int)child->node.type != (int)stat->type) {
        bool taken;
        MRMR_TRY(walk_other_inode(turn, child, stat, &taken));
        if (taken)
            return MRMR_OK;
    }
    if (stat->type == DRV_REG)
        return walk_known_file(turn, child, stat);
    if (stat->type == DRV_DIR)
        return walk_known_folder(turn, child, stat);
    if (pool_stat_same(&scan->drive->info, &child->node, stat) == POOL_SAME &&
        !walk_attributes_differ(&scan->drive->info, &child->node, stat))
        return MRMR_OK;
    return walk_update(scan, turn->path.data, child->node.id, stat);
}

/* --- One folder --- */

static mrmr_err listing_add(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct listing *listing = arg;
    if (pool_scan_excluded(listing->scan->excludes, listing->folder, name))
        return MRMR_OK;
    struct entry entry = {.name = listing->names.size, .err = stat ? MRMR_OK : err};
    if (stat)
        entry.stat = *stat;
    MRMR_TRY(mrmr_bytes_add(&listing->names, name, strlen(name) + 1));
    return mrmr_bytes_add(&listing->entries, &entry, sizeof entry);
}

static int listing_order(const void *a, const void *b, void *names)
{
    return strcmp((char *)names + ((const struct entry *)a)->name,
        (char *)names + ((const struct entry *)b)->name);
}

static mrmr_err walk_entry(
    struct turn *turn, const char *name, const struct entry *entry, const struct meta_child *child)
{
    MRMR_TRY(turn_path(turn, name));
    if (entry->err) {
        mrmr_fail(entry->err, NULL);
        return walk_unreadable(turn->scan, turn->path.data, entry->err);
    }
    turn->scan->files += entry->stat.type == DRV_REG;
    return child ? walk_known(turn, child, entry) : walk_new(turn, name, entry);
}

static mrmr_err walk_merge(struct turn *turn, const struct listing *listing,
    const struct meta_child *children, size_t nchildren)
{
    const struct entry *entries = (const struct entry *)listing->entries.data;
    size_t nentries = listing->entries.size / sizeof *entries, i = 0, j = 0;
    while (i < nentries || j < nchildren) {
        const char *name = i < nentries ? listing->names.data + entries[i].name : NULL;
        int order = !name ? 1 : (j == nchildren ? -1 : strcmp(name, children[j].name));
        if (i % 256 == 255)
            MRMR_TRY(pool_scan_poll(turn->scan->worker));
        if (order > 0) {
            MRMR_TRY(walk_stage_vanished(turn, &children[j++]));
            continue;
        }
        MRMR_TRY(walk_entry(turn, name, &entries[i++], order ? NULL : &children[j]));
        j += order == 0;
    }
    atomic_fetch_add_explicit(&turn->scan->worker->team->items, nentries, memory_order_relaxed);
    return MRMR_OK;
}

static mrmr_err walk_list(struct turn *turn, struct listing *listing)
{
    MRMR_TRY(drv_list(turn->scan->drive->drv, turn->place->path, listing_add, listing));
    if (listing->entries.size)
        qsort_r(listing->entries.data, listing->entries.size / sizeof(struct entry),
            sizeof(struct entry), listing_order, listing->names.data);
    return MRMR_OK;
}

/* The folder could not be listed. */
static mrmr_err walk_not_listed(struct turn *turn, mrmr_err err)
{
    const struct pool_scan_place *place = turn->place;
    if (err == MRMR_CROSS_DEVICE) {
        struct turn above = {
            .scan = turn->scan, .place = &(struct pool_scan_place){.node = place->parent}};
        struct meta_child child = {.name = place->path + place->name, .node = {.id = place->node}};
        MRMR_TRY(pool_scan_ids_add(&turn->scan->hidden, place->node));
        return walk_stage_vanished(&above, &child);
    }
    /* Moved or removed in between: the next scan sees where it ended. The root does not go away
     * like that. */
    if (*place->path && (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR))
        return pool_scan_unseen(turn->scan, place->path);
    return walk_unreadable(turn->scan, place->path, err);
}

static mrmr_err walk_folder(struct pool_scan_drive *scan, const struct pool_scan_place *place)
{
    struct turn turn = {.scan = scan, .place = place};
    struct listing listing = {.scan = scan, .folder = place->path};
    mrmr_autofree struct meta_child *children = NULL;
    size_t n = 0;
    mrmr_err err = pool_scan_poll(scan->worker);
    if (!err) {
        err = walk_list(&turn, &listing);
        if (err)
            err = walk_not_listed(&turn, err);
        else if (place->fresh ||
                 !(err = meta_children(scan->pool->meta, place->node, &children, &n)))
            err = walk_merge(&turn, &listing, children, n);
    }
    places_move(&turn.below, &scan->todo);
    mrmr_bytes_free(&turn.path);
    mrmr_bytes_free(&listing.names);
    mrmr_bytes_free(&listing.entries);
    return err;
}

/* --- The whole --- */

static mrmr_err walk_todo(struct pool_scan_drive *scan)
{
    while (scan->todo) {
        struct pool_scan_place *place = scan->todo;
        scan->todo = place->next;
        mrmr_err err = walk_folder(scan, place);
        free(place);
        MRMR_TRY(err);
    }
    return MRMR_OK;
}

/* A folder that kept its name, but not its inode. */
static mrmr_err walk_renewed(struct pool_scan_drive *scan, const struct pool_scan_place *place)
{
    if (pool_scan_ids_has(&scan->appeared, place->node))
        return pool_scan_list_add(&scan->revisit, place->parent);
    MRMR_TRY(pool_scan_ids_add(&scan->renewed, place->node));
    if (!scan->replacing)
        MRMR_TRY(walk_update(scan, place->path, place->node, &place->stat));
    const struct pool_scan_place whole = {.node = place->node, .parent = place->parent};
    const char *name = place->path + place->name;
    mrmr_autofree char *folder = strndup(place->path, place->name ? place->name - 1 : 0);
    return folder ? place_push(&scan->todo, &whole, folder, name) : mrmr_nomem();
}

static mrmr_err walk_all(struct pool_scan_drive *scan)
{
    MRMR_TRY(walk_todo(scan));
    while (scan->later) {
        struct pool_scan_place *batch = NULL;
        places_move(&scan->later, &batch);
        mrmr_err err = MRMR_OK;
        while (batch) {
            struct pool_scan_place *place = batch;
            batch = place->next;
            if (!err)
                err = walk_renewed(scan, place);
            free(place);
        }
        MRMR_TRY(err);
        MRMR_TRY(walk_todo(scan));
    }
    return MRMR_OK;
}

/* The root's own attributes, too, are part of the drive. */
static mrmr_err walk_root(struct pool_scan_drive *scan)
{
    struct drv_stat stat;
    struct meta_node root;
    mrmr_err err = drv_stat(scan->drive->drv, "", &stat);
    if (err) {
        scan->worker->stopped = true;
        return mrmr_err_drive(err, scan->drive->meta.name);
    }
    scan->dev = stat.dev;
    MRMR_TRY(meta_node_get(scan->pool->meta, scan->drive->meta.root, &root));
    if (pool_stat_same(&scan->drive->info, &root, &stat) == POOL_SAME &&
        !walk_attributes_differ(&scan->drive->info, &root, &stat))
        return MRMR_OK;
    return walk_update(scan, "", root.id, &stat);
}

mrmr_err pool_scan_walk(struct pool_scan_drive *scan)
{
    const struct pool_scan_place root = {.node = scan->drive->meta.root};
    MRMR_TRY(walk_root(scan));
    MRMR_TRY(place_push(&scan->todo, &root, "", ""));
    return walk_all(scan);
}

mrmr_err pool_scan_walk_again(struct pool_scan_drive *scan)
{
    struct pool_scan_list again = scan->revisit;
    scan->revisit = (struct pool_scan_list){.n = 0};
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && i < again.n; i++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        const struct pool_scan_place place = {.node = again.id[i], .shallow = true};
        err = meta_path(scan->pool->meta, again.id[i], &path);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
            err = MRMR_OK; /* the folder itself went */
            continue;
        }
        if (!err)
            err = place_push(&scan->todo, &place, "", path.size ? path.data : "");
        if (!err)
            err = walk_all(scan);
    }
    pool_scan_list_free(&again);
    return err;
}

void pool_scan_walk_free(struct pool_scan_drive *scan)
{
    places_free(&scan->todo);
    places_free(&scan->later);
    mrmr_bytes_free(&scan->aside);
    mrmr_bytes_free(&scan->unread);
    mrmr_bytes_free(&scan->unseen);
    pool_scan_ids_free(&scan->escaped);
    pool_scan_ids_free(&scan->appeared);
    pool_scan_ids_free(&scan->renewed);
    pool_scan_ids_free(&scan->hidden);
    pool_scan_ids_free(&scan->replaced);
    pool_scan_ids_free(&scan->stranded);
    pool_scan_list_free(&scan->revisit);
    pool_scan_list_free(&scan->orphans);
    pool_scan_held_free(&scan->held);
    pool_paths_free(&scan->paths);
    pool_retained_kept_free(&scan->kept);
}
