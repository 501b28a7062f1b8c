/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where new files go: the least-used drive with room (design, §7), and the folders above them, made
 * there as they are elsewhere.
 *
 * A drive's use is what lies on it: of a drive that is a whole file system all that is taken there,
 * of a folder on one what the catalog knows. It is looked at once a second; what is written
 * meanwhile is added, and of what only the catalog knows all that was written since the last scan.
 *
 * As long as no drive is used much less, what is new goes to the drive that the last one went to: what
 * is made together lies together, in folders that need not be made, listed and removed on every drive,
 * and the others may sleep. A pool is as even as before, but for so much (place_stays).
 *
 * A folder that is made on a further drive has the mode, owner, attributes and times that it has on the
 * first; and the folder it is made in keeps its time, since nothing was put into it for anyone to see;
 * the ctimes that both are left with do not show (tree_quiet.c). A cut may leave such a folder with
 * mode 0700 and root's: it shows nowhere, since the first drive's attributes show. It may leave none of
 * it, either: making a folder syncs nothing. Whoever is about to remove something elsewhere since it is
 * in that folder by now has it synced before, with all that leads to it (tree_place_sync).
 */
#include "pool/change/tree_change.h"
#include "pool/drive/drive.h"
#include "pool/return/tree_return.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint64_t room_spare = 64; /* of a drive's total is left free while others have room */
static const uint64_t room_least = 1ULL << 20;   /* bytes: less is no room at all */
static const uint64_t place_stays = 64ULL << 20; /* bytes */

/* --- which drive --- */

static bool may_take_files(const struct tree_drive *drive)
{
    const struct meta_drive *meta = &drive->drive->meta;
    return tree_live(drive) && meta->state == META_DRIVE_ACTIVE &&
           (meta->role == META_ROLE_DATA || meta->role == META_ROLE_REMOVABLE) &&
           (drive->drive->info.caps & DRV_CAP_WRITABLE);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static struct tree_room room_of(struct pool_tree *tree, const struct tree_drive *drive)
{
    const struct meta_drive *meta = &drive->drive->meta;
    struct tree_room room = {.known = false};
    struct meta_totals totals = {0};
    struct drv_space space;
    if (!may_take_files(drive) || drv_space(drive->drive->drv, &space))
        return room;
    bool ask = meta->max_usage || !drive->drive->info.is_mountpoint;
    if (ask && meta_totals(tree->pool->meta, meta->id, &totals))
        return room;
    uint64_t ours = totals.file_bytes + totals.row_bytes;
    room.used = drive->drive->info.is_mountpoint ? less(space.total, space.avail) : ours;
    room.avail = less(space.avail, meta->reserve);
    if (meta->max_usage && room.avail > less(meta->max_usage, ours))
        room.avail = less(meta->max_usage, ours);
    room.known = true;
    return room;
}

/* The catalog does not know of what was written until a scan has ended. */
static void room_take_locked(
    struct tree_drive *drive, const struct meta_drive *known, struct tree_room room)
{
    const uint64_t placed = atomic_exchange(&drive->placed, 0);
    room.since = 0;
    room.scanned = known ? known->scanned : drive->room.scanned;
    if (!drive->drive->info.is_mountpoint)
        room.since = (room.scanned == drive->room.scanned ? drive->room.since : 0) + placed;
    room.used += room.since;
    drive->room = room;
}

static const struct meta_drive *drive_among(const struct meta_drive *drives, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (drives[i].id == id)
            return &drives[i];
    return NULL;
}

static bool rooms_are_old(struct pool_tree *tree)
{
    int64_t now = mrmr_clock_monotonic();
    mrmr_locked(&tree->lock);
    if (tree->room_at && now - tree->room_at < tree_second)
        return false;
    tree->room_at = now; /* others go by what was known meanwhile */
    return true;
}

static void rooms_look(struct pool_tree *tree)
{
    struct meta_drive *known = NULL;
    size_t nknown = 0;
    if (meta_drives(tree->pool->meta, &known, &nknown)) /* before what the catalog has of each */
        mrmr_log_story(MRMR_LOG_DEBUG, "when drives were scanned");
    for (size_t i = 0; i < tree->ndrives; i++) {
        struct tree_drive *drive = &tree->drive[i];
        struct tree_room room = room_of(tree, drive);
        mrmr_locked(&tree->lock);
        room_take_locked(drive, drive_among(known, nknown, drive->drive->meta.id), room);
    }
    meta_drives_free(known, nknown);
}

static uint64_t used_locked(const struct tree_drive *drive)
{
    return drive->room.used + drive->placed;
}

/* spare: it would be left with some of its room. */
static bool has_room_locked(const struct tree_drive *drive, uint64_t need, bool spare)
{
    uint64_t avail = less(drive->room.avail, drive->placed);
    uint64_t want = spare ? (used_locked(drive) + avail) / room_spare : 0;
    return drive->room.known && tree_live(drive) &&
           avail >= (want > room_least ? want : room_least) + need;
}

static bool choose(struct pool_tree *tree, const struct tree_set *but, uint64_t need, bool spare,
    size_t *ret_drive)
{
    uint64_t least = UINT64_MAX, last = UINT64_MAX;
    mrmr_locked(&tree->lock);
    for (size_t i = 0; i < tree->ndrives; i++) {
        const struct tree_drive *drive = &tree->drive[i];
        if (tree_set_has(but, i) || !has_room_locked(drive, need, spare))
            continue;
        const uint64_t used = used_locked(drive);
        if (i == tree->placed_last)
            last = used;
        if (used < least) {
            least = used;
            *ret_drive = i;
        }
    }
    if (least == UINT64_MAX)
        return false;
    if (last != UINT64_MAX && last - least < place_stays)
        *ret_drive = tree->placed_last;
    tree->placed_last = *ret_drive;
    return true;
}

static mrmr_err choose_failed(const struct pool_tree *tree)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (may_take_files(&tree->drive[i]))
            return mrmr_err_hint(mrmr_fail(MRMR_SPACE, "no drive has room"),
                "add a drive (mrmr add-drive), or remove files");
    return mrmr_err_hint(
        mrmr_fail(MRMR_OFFLINE, "no drive that takes files is there"), "see: mrmr drives");
}

mrmr_err tree_place_choose(
    struct pool_tree *tree, const struct tree_set *but, uint64_t need, size_t *ret_drive)
{
    if (rooms_are_old(tree))
        rooms_look(tree);
    if (choose(tree, but, need, true, ret_drive) || choose(tree, but, need, false, ret_drive))
        return MRMR_OK;
    rooms_look(tree); /* another thread may be about to look for the first time */
    return choose(tree, but, need, false, ret_drive) ? MRMR_OK : choose_failed(tree);
}

/* --- whether one is full --- */

/* Quotas are in no drive's word about its room. */
static bool says_otherwise(
    const struct pool_drive *own, const struct mrmr_story *story, uint64_t need, bool little)
{
    struct drv_space space;
    if (story->foreign == EDQUOT || drv_space(own->drv, &space))
        return false;
    uint64_t spare = little ? 0 : space.total / room_spare;
    return space.avail >= need + (spare > room_least ? spare : room_least);
}

bool tree_place_full(struct pool_tree *tree, size_t drive, uint64_t need, bool little, mrmr_err err)
{
    const struct pool_drive *own = tree->drive[drive].drive;
    struct mrmr_story story;
    mrmr_story_save(&story);
    if (err != MRMR_SPACE || story.err != err || strcmp(story.drive, own->meta.name) != 0)
        return false;
    /* a leaf of what counts is kept there, too */
    const bool full = !says_otherwise(own, &story, little ? need : need + META_LEAF, little);
    mrmr_story_restore(&story);
    return full;
}

/* --- the folders above --- */

struct
    step { /* one folder of the way down; above is counted, and node, which is that of the step below */
    struct step *below; /* NULL: it is the folder that was asked for */
    struct tree_node *node, *above;
    struct tree_set on;
    char name[META_NAME_MAX + 1];
};

/* As it is on a drive that is there, or as the catalog has it of one that is not. *ret_of: that one's
 * times. */
static mrmr_err copy_attrs(struct pool_tree *tree, const struct tree_set *on, size_t drive,
    const char *path, size_t *ret_source, struct drv_stat *ret_of)
{
    struct pool_drive *to = tree->drive[drive].drive;
    mrmr_autobytes struct mrmr_bytes attrs = MRMR_BYTES_INIT;
    struct meta_node known;
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && tree_live(&tree->drive[i])) {
            struct drv *drv = tree->drive[i].drive->drv;
            *ret_source = i;
            MRMR_TRY(drv_stat(drv, path, ret_of));
            return pool_copy_attrs_of(drv, path, to->drv, path);
        }
    *ret_source = tree_set_first(on);
    MRMR_TRY(tree_gone_known(tree, *ret_source, path, &known));
    MRMR_TRY(tree_gone_attrs(tree, *ret_source, path, &known, &attrs));
    *ret_of = (struct drv_stat){.mtime = known.mtime, .ctime = known.ctime};
    return pool_copy_attrs_and(&known, &attrs, to, path);
}

static mrmr_err copy_quietly(
    struct pool_tree *tree, const struct step *step, size_t drive, const char *path)
{
    struct drv *to = tree->drive[drive].drive->drv;
    struct drv_stat of, is;
    size_t source;
    MRMR_TRY(copy_attrs(tree, &step->on, drive, path, &source, &of));
    if (drv_stat(to, path, &is) == MRMR_OK)
        tree_quiet_copy(tree, step->node, drive, &is, source, &of);
    return MRMR_OK;
}

static void set_time(struct drv *drv, const char *folder, int64_t mtime)
{
    if (drv_set_attr(drv, folder, DRV_ATTR_MTIME, &(struct drv_stat){.mtime = mtime}))
        mrmr_log_story(MRMR_LOG_DEBUG, "the time of a folder");
}

/* The folder that a path lies in keeps its times, unless something of ours changes it at this moment. */
static void keep_time(struct pool_tree *tree, const struct step *step, size_t drive,
    const char *above, const struct drv_stat *before)
{
    struct drv *drv = tree->drive[drive].drive->drv;
    if (!tree_quiet_alone(tree, step->above, drive))
        return;
    set_time(drv, above, before->mtime);
    if (!tree_quiet_alone(tree, step->above, drive))
        set_time(drv, above, mrmr_clock_real());
}

static mrmr_err make_copy(struct pool_tree *tree, const struct step *step, size_t drive,
    const char *above, const char *path)
{
    struct drv *to = tree->drive[drive].drive->drv;
    struct drv_stat before, after, there;
    mrmr_locked(&tree->drive[drive].placing); /* nobody uses it before it has its attributes */
    const struct tree_quiet_ticket ticket = tree_quiet_take(tree, step->above);
    MRMR_TRY(drv_stat(to, above, &before));
    tree_quiet_begin(tree, step->above, drive, &before, &ticket);
    mrmr_err err = drv_mkdir(to, path, 0700);
    if (!err)
        keep_time(tree, step, drive, above, &before);
    bool known = (!err || err == MRMR_EXISTS) && drv_stat(to, above, &after) == MRMR_OK;
    tree_quiet_end(tree, step->above, drive, known ? &after : NULL);
    if (!err)
        err = copy_quietly(tree, step, drive, path);
    if (err == MRMR_EXISTS) {
        MRMR_TRY(drv_stat(to, path, &there));
        if (tree_gone_hides_stat(tree, drive, above, step->name, &there))
            return tree_return_busy(&tree->drive[drive], path); /* nothing in it would show */
        if (there.type != DRV_DIR)
            return mrmr_fail(MRMR_NOT_DIR, "a file lies there");
        return there.dev == tree->drive[drive].dev
                   ? MRMR_OK
                   : mrmr_fail(MRMR_CROSS_DEVICE, "another file system is mounted there");
    }
    return mrmr_err_drive(err, tree->drive[drive].drive->meta.name);
}

/* Whether the way ends at this folder, under the lock. */
typedef bool (*way_ends_fn)(struct pool_tree *tree, struct tree_node *folder, size_t drive);

static bool lies_there(struct pool_tree *tree, struct tree_node *folder, size_t drive)
{
    return folder == tree->root || tree_set_has(&folder->on, drive);
}

/* On the way nothing that is known of names counts any more. */
static bool is_root(struct pool_tree *tree, struct tree_node *folder, size_t drive)
{
    (void)drive;
    folder->valid = false;
    return folder == tree->root;
}

static mrmr_err step_of(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    way_ends_fn ends, struct step *step)
{
    mrmr_locked(&tree->lock);
    if (ends(tree, folder, drive))
        return MRMR_OK;
    if (!folder->links)
        return mrmr_fail(MRMR_ABSENT, "it was removed");
    step->node = folder;
    step->above = folder->links->parent;
    step->on = folder->on;
    strncpy(step->name, folder->links->name, META_NAME_MAX);
    tree_ref_locked(step->above);
    return MRMR_OK;
}

static void steps_free(struct pool_tree *tree, struct step *first)
{
    for (struct step *step = first, *below; step; step = below) {
        below = step->below;
        tree_put(tree, step->above);
        free(step);
    }
}

/* The way to a folder, from above. It may be of any length: nothing here recurses. *ret_first: freed by steps_free, also on
 * failure; NULL: it ends where it begins. */
static mrmr_err steps_to(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    way_ends_fn ends, struct step **ret_first)
{
    for (*ret_first = NULL;;) {
        struct step *step = calloc(1, sizeof *step);
        mrmr_err err = step ? step_of(tree, folder, drive, ends, step) : mrmr_nomem();
        if (err || !step->above) {
            free(step);
            return err;
        }
        step->below = *ret_first;
        *ret_first = step;
        folder = step->above;
    }
}

/* It lies on one more drive, and so does the name that leads to it. */
static void step_taken(struct pool_tree *tree, const struct step *step, size_t drive)
{
    mrmr_locked(&tree->lock);
    struct tree_set on = step->node->on;
    tree_set_add(&on, drive);
    tree_lies_on_locked(tree, step->node, &on);
    /* Whoever looks at the name, or at all of them, at this moment may not have seen it there. */
    struct tree_name *name = tree_name_touch_locked(step->above, step->name);
    tree_known_void_locked(step->above, drive);
    if (name && name->number == step->node->number)
        tree_set_add(&name->on, drive);
    if (name)
        name->own_until = mrmr_clock_monotonic() + tree_own_window;
}

/* The folder's number is that of its copy on the first drive: that is another one from now on. */
static mrmr_err keep_number(
    struct pool_tree *tree, const struct step *step, size_t drive, const char *path)
{
    struct drv_stat stat;
    MRMR_TRY(drv_stat(tree->drive[drive].drive->drv, path, &stat));
    return tree_number_keep(tree, drive, stat.ino, step->node->number, 0);
}

static mrmr_err step_take(struct pool_tree *tree, const struct step *step, size_t drive)
{
    mrmr_autobytes struct mrmr_bytes above = MRMR_BYTES_INIT, path = MRMR_BYTES_INIT;
    MRMR_TRY(tree_path(tree, step->above, &above));
    MRMR_TRY(tree_join(above.data ? above.data : "", step->name, &path));
    MRMR_TRY(make_copy(tree, step, drive, above.data ? above.data : "", path.data));
    if (drive < tree_set_first(&step->on))
        MRMR_TRY(keep_number(tree, step, drive, path.data));
    step_taken(tree, step, drive);
    return MRMR_OK;
}

mrmr_err tree_place_folder(
    struct pool_tree *tree, struct tree_node *folder, size_t drive, struct mrmr_bytes *path)
{
    struct step *first;
    mrmr_err err = steps_to(tree, folder, drive, lies_there, &first);
    for (const struct step *step = first; step && !err; step = step->below)
        err = step_take(tree, step, drive);
    steps_free(tree, first);
    return err ? err : tree_path(tree, folder, path);
}

static bool is_top(struct pool_tree *tree, struct tree_node *folder, size_t drive)
{
    (void)drive;
    return folder == tree->root;
}

mrmr_err tree_place_away(struct pool_tree *tree, struct tree_node *folder, size_t drive)
{
    struct step *first;
    mrmr_err err = steps_to(tree, folder, drive, is_top, &first);
    for (const struct step *step = first; step && !err; step = step->below)
        step_taken(tree, step, drive);
    steps_free(tree, first);
    return err;
}

static mrmr_err step_anew(struct pool_tree *tree, const struct step *step)
{
    struct tree_name shows;
    MRMR_TRY(tree_folder_ready(tree, step->above));
    {
        mrmr_locked(&tree->lock);
        struct tree_name *known = tree_map_find(&step->above->map, step->name);
        if (known)
            tree_name_doubt_all(known);
    }
    MRMR_TRY(tree_name_get(tree, step->above, step->name, &shows));
    return shows.number == step->node->number
               ? MRMR_OK
               : mrmr_fail(MRMR_ABSENT, "another folder has its name by now");
}

mrmr_err tree_place_anew(struct pool_tree *tree, struct tree_node *folder)
{
    struct step *first;
    mrmr_err err = steps_to(tree, folder, 0, is_root, &first);
    for (const struct step *step = first; step && !err; step = step->below)
        err = step_anew(tree, step);
    steps_free(tree, first);
    return err;
}

mrmr_err tree_place_sync(struct pool_tree *tree, size_t drive, const char *path)
{
    const struct pool_drive *own = tree->drive[drive].drive;
    mrmr_autofree char *folder = strdup(path);
    if (!folder)
        return mrmr_nomem();
    for (;;) {
        MRMR_TRY(mrmr_err_drive(drv_dir_sync(own->drv, folder), own->meta.name));
        if (!*folder)
            return MRMR_OK;
        char *slash = strrchr(folder, '/');
        *(slash ? slash : folder) = '\0';
    }
}

mrmr_err tree_place_sync_name(struct pool_tree *tree, size_t drive, const char *path)
{
    const char *slash = strrchr(path, '/');
    mrmr_autofree char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
    return folder ? tree_place_sync(tree, drive, folder) : mrmr_nomem();
}
