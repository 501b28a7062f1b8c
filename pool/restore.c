/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Putting nodes of a drive in place again, a batch at a time.
 *
 * Crash argument. The cut points of a batch:
 *
 *  1  copies are made under .mrmr/work on the target drives: nothing of a user's is touched;
 *     start-up and the next job empty that folder.
 *  2  all copies are synced, then each is given its name without replacing anything (I1), then the
 *     names are synced. A name that is there with whole, synced, verified content is not in the
 *     catalog yet: the next run finds it, compares it leaf by leaf, and keeps it.
 *  3  one catalog transaction takes the whole batch: where the files are now, and that they are no
 *     longer to do.
 *
 * A crash between any two costs the work of one batch, never a byte. A file of somebody else under
 * the same name is a conflict and stays.
 */
#include "pool/rebuild.h"

#include "pool/buffers.h"
#include <stdio.h>
#include <string.h>

enum { RESTORE_CREW = 4 };

enum restore_state {
    RESTORE_NONE,
    RESTORE_COPIED,
    RESTORE_PLACED,
    RESTORE_KEPT,
    RESTORE_ENDED,
    RESTORE_FAILED,
};

struct restore {
    struct mrmr_task task; /* first */
    struct rebuild *rebuild;
    struct meta_node node;
    struct mrmr_bytes path; /* relative to both drives */
    struct pool_drive *target;
    char work[sizeof POOL_WORK + 32];
    enum restore_state state;
    bool held; /* another version is in its place, and the protected one is to come back */
};

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

static bool restore_may_take(const struct rebuild *rebuild, const struct pool_drive *drive)
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
    *ret_drive = NULL;
    MRMR_TRY(restore_bytes(item, &bytes));
    for (size_t i = 0; i < rebuild->pool->ndrives; i++) {
        struct pool_drive *drive = rebuild->pool->drives[i];
        struct drv_space space;
        struct drv_stat stat;
        if (!restore_may_take(rebuild, drive) || drv_space(drive->drv, &space) ||
            space.avail < drive->meta.reserve + bytes + 16 * META_LEAF ||
            mrmr_class_of(drv_stat(drive->drv, item->path.data, &stat)) != MRMR_CLASS_ABSENT)
            continue;
        if (!*ret_drive || space.total - space.avail < best_used) {
            *ret_drive = drive;
            best_used = space.total - space.avail;
        }
    }
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

/* Something lies at the path on the drive itself: is it the file already, a changed version of it,
 * or somebody else's? */
static mrmr_err restore_look_at_present(struct restore *item, const struct drv_stat *stat)
{
    struct rebuild *rebuild = item->rebuild;
    bool missing = false;
    if (stat->type == (enum drv_type)item->node.type) {
        MRMR_TRY(restore_has_missing(rebuild, item->node.id, &missing));
        bool same_bytes =
            item->node.type != META_REG ||
            (!missing && pool_stat_same(&rebuild->drive->info, &item->node, stat) == POOL_SAME) ||
            (stat->size == item->node.size && stat->mtime == item->node.mtime &&
                !restore_verify_at(rebuild, &item->node, item->target, item->path.data));
        if (same_bytes) {
            item->state = RESTORE_KEPT;
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
        if (item->node.type == META_REG && restore_may_take(rebuild, drive) &&
            !drv_stat(drive->drv, item->path.data, &stat) && stat.type == DRV_REG &&
            stat.size == item->node.size && stat.mtime == item->node.mtime &&
            meta_lookup_path(rebuild->pool->meta, drive->meta.root, item->path.data, &known) &&
            !restore_verify_at(rebuild, &item->node, drive, item->path.data))
            return drive;
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

static mrmr_err restore_choose(struct restore *item)
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

/* --- Copies --- */

static void restore_failed(struct restore *item, const char *what)
{
    struct pool_rebuild_report *report = item->rebuild->report;
    report->failed++;
    report->failed_bytes += item->node.type == META_REG ? item->node.size : 0;
    item->state = RESTORE_FAILED;
    mrmr_err_path(mrmr_story_get()->err, item->path.data);
    pool_tell_story(item->rebuild->pool, item->rebuild->job, true, "restore-failed",
        item->rebuild->drive, what);
}

/* On a worker: touches its item only. */
struct restore_copy {
    struct mrmr_task task; /* first */
    struct restore *item;
    mrmr_err err;
    struct mrmr_story story;
};

static mrmr_err restore_copy_run(struct mrmr_task *t)
{
    struct restore_copy *copy = (struct restore_copy *)t;
    struct restore *item = copy->item;
    copy->err = pool_copy_make(
        item->rebuild->pool, item->rebuild->job, &item->node, item->target, item->work);
    if (copy->err)
        mrmr_story_save(&copy->story);
    return copy->err == MRMR_CANCELLED ? copy->err : MRMR_OK;
}

static mrmr_err restore_copies(struct restore *items, size_t n)
{
    mrmr_autofree struct restore_copy *copies = calloc(n, sizeof *copies);
    struct mrmr_crew *crew = NULL;
    if (!copies)
        return mrmr_nomem();
    MRMR_TRY(mrmr_crew_create(RESTORE_CREW, RESTORE_CREW, &crew));
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; i < n && !err; i++) {
        copies[i] = (struct restore_copy){.task.run = restore_copy_run, .item = &items[i]};
        if (items[i].state == RESTORE_NONE && !items[i].held && items[i].node.type != META_DIR)
            err = mrmr_crew_submit(crew, &copies[i].task);
    }
    mrmr_err crew_err = mrmr_crew_wait(crew);
    mrmr_crew_destroy(crew);
    if (crew_err || err)
        return crew_err ? crew_err : err;
    for (size_t i = 0; i < n; i++) {
        if (items[i].state != RESTORE_NONE || items[i].held || items[i].node.type == META_DIR)
            continue;
        items[i].state = RESTORE_COPIED;
        if (copies[i].err) {
            mrmr_story_restore(&copies[i].story);
            restore_failed(&items[i], "it cannot be brought back");
        }
    }
    return MRMR_OK;
}

/* --- Names --- */

static mrmr_err restore_note_folder(
    struct rebuild *rebuild, struct pool_drive *on, const char *path, size_t size)
{
    if (rebuild->nfolders == rebuild->folders_room) {
        size_t room = rebuild->folders_room ? 2 * rebuild->folders_room : 64;
        struct rebuild_folder *grown = realloc(rebuild->folders, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        rebuild->folders = grown;
        rebuild->folders_room = room;
    }
    char *copy = strndup(path, size);
    if (!copy)
        return mrmr_nomem();
    rebuild->folders[rebuild->nfolders++] = (struct rebuild_folder){on, copy};
    return MRMR_OK;
}

static mrmr_err restore_folder_node_at(
    struct rebuild *rebuild, const char *path, struct meta_node *ret_node)
{
    return meta_lookup_path(rebuild->pool->meta, rebuild->drive->meta.root, path, ret_node);
}

/* A folder that was just made: its attributes as far as they do not hinder the filling, so that
 * little is missing should this run not reach its end, where they are set in full (and a failure is
 * told). */
static void restore_folder_early(struct restore *item, const char *path)
{
    struct meta_node node;
    if (restore_folder_node_at(item->rebuild, path, &node))
        return;
    node.mode |= 0700;
    (void)pool_copy_attrs(item->rebuild->pool, &node, item->target, path);
}

/* Make the folder at the first `size` bytes of path, and its parents; what was not there is noted.
 */
static mrmr_err restore_make_folder(struct restore *item, const char *path, size_t size)
{
    mrmr_autofree char *folder = strndup(path, size);
    if (!folder)
        return mrmr_nomem();
    for (size_t end = 0; end <= size; end++) {
        if (end < size && folder[end] != '/')
            continue;
        char saved = folder[end];
        folder[end] = '\0';
        mrmr_err err = drv_mkdir(item->target->drv, folder, 0700);
        if (!err) {
            restore_folder_early(item, folder);
            err = restore_note_folder(item->rebuild, item->target, folder, end);
        }
        if (err && err != MRMR_EXISTS)
            return mrmr_err_drive(err, item->target->meta.name);
        folder[end] = saved;
    }
    return MRMR_OK;
}

static mrmr_err restore_parents(struct restore *item, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? restore_make_folder(item, path, (size_t)(slash - path)) : MRMR_OK;
}

static mrmr_err restore_name_free(struct pool_drive *target, const char *from, const char *to)
{
    mrmr_err err = drv_rename(target->drv, from, to, DRV_RENAME_NOREPLACE);
    if (err != MRMR_UNSUPPORTED)
        return err;
    MRMR_TRY(drv_link(target->drv, from, to)); /* a link never replaces either */
    return drv_unlink(target->drv, from);
}

static mrmr_err restore_list_name(int64_t parent, const char *name, void *arg)
{
    MRMR_TRY(mrmr_bytes_add(arg, &parent, sizeof parent));
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

/* fn for each further name of a hard-linked node. */
static mrmr_err restore_other_names(struct restore *item,
    mrmr_err (*fn)(struct restore *item, int64_t parent, const char *name, const char *path))
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct meta *meta = item->rebuild->pool->meta;
    MRMR_TRY(meta_names(meta, item->node.id, restore_list_name, &names));
    for (size_t at = 0; at < names.size;) {
        int64_t parent;
        memcpy(&parent, names.data + at, sizeof parent);
        const char *name = names.data + at + sizeof parent;
        at += sizeof parent + strlen(name) + 1;
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        MRMR_TRY(meta_path(meta, parent, &path));
        if (path.size)
            MRMR_TRY(mrmr_bytes_str(&path, "/"));
        MRMR_TRY(mrmr_bytes_str(&path, name));
        MRMR_TRY(fn(item, parent, name, path.data));
    }
    return MRMR_OK;
}

static mrmr_err restore_link(
    struct restore *item, int64_t parent, const char *name, const char *path)
{
    (void)parent;
    (void)name;
    if (strcmp(path, item->path.data) == 0)
        return MRMR_OK;
    MRMR_TRY(restore_parents(item, path));
    mrmr_err err = drv_link(item->target->drv, item->path.data, path);
    return err == MRMR_EXISTS ? MRMR_OK : mrmr_err_drive(err, item->target->meta.name);
}

static mrmr_err restore_place(struct restore *item)
{
    if (item->held) {
        MRMR_TRY(pool_repair_node(item->rebuild->pool, item->rebuild->job, item->node.id, true));
        item->state = RESTORE_PLACED;
        return MRMR_OK;
    }
    if (item->node.type == META_DIR) {
        MRMR_TRY(restore_make_folder(item, item->path.data, item->path.size));
        item->state = RESTORE_PLACED;
        return MRMR_OK;
    }
    MRMR_TRY(restore_parents(item, item->path.data));
    MRMR_TRY(mrmr_err_drive(
        restore_name_free(item->target, item->work, item->path.data), item->target->meta.name));
    item->state = RESTORE_PLACED;
    return item->node.nlink > 1 ? restore_other_names(item, restore_link) : MRMR_OK;
}

static mrmr_err restore_places(struct restore *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool due =
            items[i].state == RESTORE_COPIED ||
            (items[i].state == RESTORE_NONE && (items[i].held || items[i].node.type == META_DIR));
        if (!due)
            continue;
        mrmr_err err = restore_place(&items[i]);
        if (err == MRMR_CANCELLED || err == MRMR_NOMEM)
            return err;
        if (err)
            restore_failed(&items[i], "it cannot be put in place");
    }
    return MRMR_OK;
}

static mrmr_err restore_sync(struct restore *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool first = items[i].target != NULL;
        for (size_t j = 0; j < i && first; j++)
            first = items[j].target != items[i].target;
        if (first)
            MRMR_TRY(
                mrmr_err_drive(drv_sync_all(items[i].target->drv), items[i].target->meta.name));
    }
    return MRMR_OK;
}

/* --- The catalog --- */

/* The target's folder node for a folder of the lost drive; made where the catalog has none. */
static mrmr_err restore_folder_node(struct restore *item, int64_t folder, int64_t *ret_node)
{
    struct meta *meta = item->rebuild->pool->meta;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct meta_node node = {.id = item->target->meta.root};
    MRMR_TRY(meta_path(meta, folder, &path));
    for (size_t at = 0; at < path.size;) {
        char *name = path.data + at;
        size_t size = strcspn(name, "/");
        bool last = name[size] == '\0';
        name[size] = '\0';
        int64_t parent = node.id;
        mrmr_err err = meta_lookup(meta, parent, name, &node);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
            struct drv_stat stat;
            MRMR_TRY(drv_stat(item->target->drv, path.data, &stat));
            pool_node_from_stat(&node, &stat);
            node.id = 0;
            node.drive = item->target->meta.id;
            node.version = 1;
            err = meta_node_add(meta, &node, parent, name);
        }
        MRMR_TRY(err);
        if (!last)
            name[size] = '/';
        at += size + 1;
    }
    *ret_node = node.id;
    return MRMR_OK;
}

static mrmr_err restore_move_name(
    struct restore *item, int64_t parent, const char *name, const char *path)
{
    (void)path;
    int64_t to;
    MRMR_TRY(restore_folder_node(item, parent, &to));
    return meta_name_move(item->rebuild->pool->meta, parent, name, to, name);
}

/* A file that moved to another drive: there it is exposed, and its old extents stand in for it
 * until it is protected (I6). */
static mrmr_err restore_expose_moved(struct restore *item)
{
    struct meta *meta = item->rebuild->pool->meta;
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n, nranges;
    MRMR_TRY(meta_extents_of(meta, item->node.id, &extents, &n));
    MRMR_TRY(meta_exposed_of(meta, item->node.id, &ranges, &nranges));
    MRMR_TRY(meta_extents_mark(meta, item->node.id, META_LIVE, META_STALE));
    MRMR_TRY(meta_extents_mark(meta, item->node.id, META_MISSING, META_STALE));
    MRMR_TRY(meta_extents_mark(meta, item->node.id, META_SUSPECT, META_STALE));
    for (size_t i = 0; i < nranges; i++) {
        MRMR_TRY(meta_unexpose(meta, item->node.id, ranges[i].first, ranges[i].leaves));
        ranges[i].drive = item->target->meta.id;
        MRMR_TRY(meta_expose(meta, &ranges[i]));
    }
    for (size_t i = 0; i < n; i++) {
        if (!pool_extent_wanted(&extents[i]))
            continue;
        struct meta_exposed range = {.drive = item->target->meta.id,
            .node = item->node.id,
            .first = extents[i].first,
            .leaves = extents[i].leaves,
            .bytes = extents[i].bytes,
            .since = mrmr_clock_real()};
        MRMR_TRY(meta_expose(meta, &range));
    }
    return MRMR_OK;
}

static mrmr_err restore_record_node(struct restore *item)
{
    struct meta *meta = item->rebuild->pool->meta;
    struct drv_stat stat;
    if (item->held)
        return MRMR_OK; /* repair recorded it */
    MRMR_TRY(mrmr_err_drive(
        drv_stat(item->target->drv, item->path.data, &stat), item->target->meta.name));
    /* What the drive or this user cannot hold stays as the catalog had it. */
    item->node.ino = stat.ino;
    item->node.ctime = stat.ctime;
    item->node.btime = stat.btime;
    item->node.nlink = stat.nlink;
    if (!item->rebuild->away) {
        MRMR_TRY(meta_node_store(meta, &item->node));
        return meta_extents_mark(meta, item->node.id, META_MISSING, META_LIVE);
    }
    if (item->node.type == META_DIR) {
        int64_t folder;
        return restore_folder_node(item, item->node.id, &folder);
    }
    item->node.drive = item->target->meta.id;
    MRMR_TRY(restore_other_names(item, restore_move_name));
    MRMR_TRY(meta_node_store(meta, &item->node));
    return restore_expose_moved(item);
}

struct restore_set {
    struct restore *items;
    size_t n;
};

static mrmr_err restore_record(struct meta *meta, void *arg)
{
    const struct restore_set *set = arg;
    for (size_t i = 0; i < set->n; i++) {
        struct restore *item = &set->items[i];
        if (item->state == RESTORE_PLACED || item->state == RESTORE_KEPT)
            MRMR_TRY(restore_record_node(item));
        if (item->state != RESTORE_FAILED ||
            item->rebuild->drive->meta.state != META_DRIVE_REBUILDING)
            MRMR_TRY(meta_todo_done(meta, POOL_REBUILD_JOB, item->node.id));
    }
    return MRMR_OK;
}

static void restore_count(struct restore *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pool_rebuild_report *report = items[i].rebuild->report;
        if (items[i].state == RESTORE_KEPT)
            report->kept++;
        if (items[i].state != RESTORE_PLACED)
            continue;
        report->folders += items[i].node.type == META_DIR;
        report->files += items[i].node.type == META_REG;
        report->others += items[i].node.type != META_DIR && items[i].node.type != META_REG;
        if (items[i].node.type == META_REG)
            report->bytes += items[i].node.size;
    }
}

/* --- A batch --- */

static mrmr_err restore_begin(struct rebuild *rebuild, int64_t node, struct restore *item)
{
    item->rebuild = rebuild;
    mrmr_err err = meta_node_get(rebuild->pool->meta, node, &item->node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
        item->node.id = node;
        item->state = RESTORE_ENDED;
        return MRMR_OK;
    }
    MRMR_TRY(err);
    MRMR_TRY(meta_path(rebuild->pool->meta, node, &item->path));
    snprintf(item->work, sizeof item->work, POOL_WORK "/%lld", (long long)node);
    err = restore_choose(item);
    if (err == MRMR_SPACE) {
        restore_failed(item, "it cannot be brought back");
        err = MRMR_OK;
    }
    return err;
}

mrmr_err pool_restore_batch(struct rebuild *rebuild, const int64_t nodes[], size_t n)
{
    mrmr_autofree struct restore *items = calloc(n, sizeof *items);
    if (!items)
        return mrmr_nomem();
    struct restore_set set = {items, n};
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; i < n && !err; i++)
        err = restore_begin(rebuild, nodes[i], &items[i]);
    if (!err)
        err = restore_copies(items, n);
    if (!err)
        err = restore_sync(items, n);
    if (!err)
        err = restore_places(items, n);
    if (!err)
        err = restore_sync(items, n);
    for (size_t i = 0; i < n && !err; i++)
        if (items[i].target)
            err = pool_drive_still_ours(rebuild->pool, items[i].target);
    if (!err)
        err = meta_atomically(rebuild->pool->meta, restore_record, &set);
    if (!err)
        restore_count(items, n);
    for (size_t i = 0; i < n; i++)
        mrmr_bytes_free(&items[i].path);
    pool_views_forget(rebuild->pool, 0);
    return err;
}

/* --- Folders at the end --- */

static size_t path_depth(const char *path)
{
    size_t depth = 0;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static int deepest_first(const void *a, const void *b)
{
    size_t x = path_depth(((const struct rebuild_folder *)a)->path);
    size_t y = path_depth(((const struct rebuild_folder *)b)->path);
    return x > y ? -1 : x < y;
}

static mrmr_err restore_folder_attrs(struct rebuild *rebuild, const struct rebuild_folder *folder)
{
    struct meta_node node;
    MRMR_TRY(restore_folder_node_at(rebuild, folder->path, &node));
    mrmr_err err = pool_copy_attrs(rebuild->pool, &node, folder->on, folder->path);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err; /* a user removed it since */
}

static void restore_forget_folders(struct rebuild *rebuild)
{
    for (size_t i = 0; i < rebuild->nfolders; i++)
        free(rebuild->folders[i].path);
    rebuild->nfolders = 0;
}

mrmr_err pool_restore_note_all(struct rebuild *rebuild)
{
    enum { NOTE_BATCH = 256 };
    mrmr_autofree struct meta_node *nodes = calloc(NOTE_BATCH, sizeof *nodes);
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    int64_t after = 0;
    size_t n;
    if (!nodes)
        return mrmr_nomem();
    restore_forget_folders(rebuild);
    do {
        MRMR_TRY(meta_nodes_after(
            rebuild->pool->meta, rebuild->drive->meta.id, after, nodes, NOTE_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            after = nodes[i].id;
            if (nodes[i].type != META_DIR || after == rebuild->drive->meta.root)
                continue;
            mrmr_bytes_clear(&path);
            MRMR_TRY(meta_path(rebuild->pool->meta, after, &path));
            MRMR_TRY(restore_note_folder(rebuild, rebuild->drive, path.data, path.size));
        }
    } while (n);
    return MRMR_OK;
}

mrmr_err pool_restore_folders(struct rebuild *rebuild)
{
    if (rebuild->nfolders)
        qsort(rebuild->folders, rebuild->nfolders, sizeof *rebuild->folders, deepest_first);
    for (size_t i = 0; i < rebuild->nfolders; i++) {
        if (restore_folder_attrs(rebuild, &rebuild->folders[i]))
            pool_tell_story(rebuild->pool, rebuild->job, true, "restore-failed", rebuild->drive,
                "a folder's attributes could not be set");
    }
    restore_forget_folders(rebuild);
    free(rebuild->folders);
    rebuild->folders = NULL;
    rebuild->folders_room = 0;
    return MRMR_OK;
}
