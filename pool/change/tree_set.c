/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attributes that change: of a file on its drive, of a folder on all drives where it lies; on those
 * that are away it is recorded, and done when they are back (later.h).
 *
 * A file that is open is reached through its descriptor, if no name leads to it any more.
 *
 * Crash argument. What is set of a file is on its drive; then a record says so (touched.h), and then it is acknowledged,
 * all among the writers, so that a scan either sees what was set or leaves the record. If the drive goes before a
 * scan, what the catalog has of the file is without it: the file is not made again elsewhere from that, and
 * whoever wants it changed is refused until the drive is back (tree_bring.c). A cut between the two leaves
 * it set and not recorded: nobody was told. The record comes second since a drive that has just died refuses what is asked of it, and then
 * the file is made again elsewhere, as the catalog has it, and has it set there.
 */
#include "pool/change/tree_change.h"
#include "pool/change/tree_room.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_stay.h"
#include "pool/tree/tree_sync.h"

#include <string.h>

#define OWN_PREFIX "user.mrmr."

/* --- on each drive --- */

/* What is done at a path of a drive. */
struct setting {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *node;
    struct tree_spot spot;
    mrmr_err (*fn)(struct drv *drv, const char *path, void *arg);
    void *arg;
    unsigned what;         /* of it: enum drv_attr */
    const char *xattr;     /* likewise: NULL, or the name of one */
    const bool *nothing;   /* NULL, or whether nothing was set after all */
    uint64_t epoch;        /* of a file: among the writers since then */
    struct tree_seen seen; /* after its attributes were set in one op */
};

/* It is so on the drive. */
static mrmr_err set_made(const struct setting *setting, size_t drive, uint64_t ino)
{
    const struct tree_inode inode = {drive, ino};
    /* The catalog has no access times. */
    const bool counts = setting->spot.kind == POOL_REG &&
                        (setting->what & ~(unsigned)DRV_ATTR_ATIME || setting->xattr);
    return counts ? tree_keep_attrs(setting->tree, setting->node, &inode, setting->epoch) : MRMR_OK;
}

static mrmr_err set_now(const struct setting *setting, size_t drive, const char *path)
{
    struct tree_drive *own = &setting->tree->drive[drive];
    struct drv_stat stat;
    if (!tree_live(own))
        return mrmr_err_drive(
            mrmr_fail(MRMR_OFFLINE, "the drive of this file is away"), own->drive->meta.name);
    MRMR_TRY(drv_stat(own->drive->drv, path, &stat));
    MRMR_TRY(tree_check_stat(setting->tree, &setting->spot, path, &stat));
    tree_owe(setting->tree, setting->node, drive);
    mrmr_err err;
    {
        tree_act_as(setting->caller);
        err = setting->fn(own->drive->drv, path, setting->arg);
    }
    tree_owe(setting->tree, setting->node, drive);
    if (!err && setting->spot.kind == POOL_DIR)
        tree_quiet_changed(setting->tree, setting->node);
    MRMR_TRY(mrmr_err_drive(err, own->drive->meta.name));
    return set_made(setting, drive, stat.ino);
}

/* A folder's copy whose mtime is being put back (tree_place.c) is left alone as long. */
static mrmr_err set_at(const struct setting *setting, size_t drive, const char *path)
{
    if (setting->spot.kind != POOL_DIR)
        return set_now(setting, drive, path);
    mrmr_locked(&setting->tree->drive[drive].placing);
    return set_now(setting, drive, path);
}

/* On those of its drives that are away it is set when they are back (later.h). */
static mrmr_err set_later(
    const struct setting *setting, const struct tree_set *away, size_t model, const char *path)
{
    if (setting->nothing && *setting->nothing)
        return MRMR_OK;
    for (size_t i = 0; i < setting->tree->ndrives; i++) {
        if (!tree_set_has(away, i))
            continue;
        mrmr_err err = tree_later_set(setting->tree, i, model, path, setting->what, setting->xattr);
        if (err == MRMR_CHANGED)
            err = set_at(setting, i, path);
        if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
            MRMR_TRY(err);
    }
    return MRMR_OK;
}

/* A folder that is on a drive that is away, and was made after the last scan, is one that nothing can be
 * recorded of: it would come back as it was. */
static mrmr_err away_is_known(const struct setting *setting, const char *path)
{
    struct meta_node node;
    for (size_t i = 0; i < setting->tree->ndrives; i++) {
        struct tree_drive *own = &setting->tree->drive[i];
        if (!tree_set_has(&setting->spot.on, i) || tree_live(own))
            continue;
        mrmr_err err = tree_gone_known(setting->tree, i, path, &node);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
            err = mrmr_err_hint(
                mrmr_fail(MRMR_OFFLINE,
                    "the drive is away, and the folder was made on it after the last sync"),
                "try again when the drive is back");
        MRMR_TRY(mrmr_err_drive(err, own->drive->meta.name));
    }
    return MRMR_OK;
}

/* On all of its drives; the first ones refuse who may not. */
static mrmr_err set_folder(const struct setting *setting, const char *path)
{
    struct tree_set away = {{0}};
    mrmr_err err = MRMR_ABSENT;
    size_t model = TREE_DRIVES_MAX;
    MRMR_TRY(away_is_known(setting, path));
    for (size_t i = 0; i < setting->tree->ndrives; i++) {
        if (!tree_set_has(&setting->spot.on, i))
            continue;
        mrmr_err one = set_at(setting, i, path);
        if (mrmr_class_of(one) == MRMR_CLASS_UNAVAILABLE && !tree_live(&setting->tree->drive[i])) {
            tree_set_add(&away, i);
            err = one;
            continue;
        }
        if (!one && model == TREE_DRIVES_MAX)
            model = i;
        if (one && mrmr_class_of(one) != MRMR_CLASS_ABSENT)
            return one;
        err = one ? one : err;
    }
    return model < TREE_DRIVES_MAX ? set_later(setting, &away, model, path) : err;
}

/* It lies on a drive that is there, as it does on those that are away. */
static mrmr_err folder_is_there(struct setting *setting)
{
    struct pool_tree *tree = setting->tree;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    size_t drive;
    if (setting->spot.kind != POOL_DIR)
        return MRMR_OK;
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(&setting->spot.on, i) && tree_live(&tree->drive[i]))
            return MRMR_OK;
    MRMR_TRY(tree_place_choose(tree, &setting->spot.on, 0, &drive));
    MRMR_TRY(tree_place_folder(tree, setting->node, drive, &path));
    setting->spot = tree_spot(tree, setting->node);
    return MRMR_OK;
}

static mrmr_err set_path(const char *path, void *arg)
{
    const struct setting *setting = arg;
    return setting->spot.kind == POOL_DIR ? set_folder(setting, path)
                                          : set_at(setting, setting->spot.drive, path);
}

/* --- mode, owner, times --- */

struct attrs {
    unsigned what; /* enum drv_attr */
    struct drv_stat stat;
};

static mrmr_err attrs_now(struct drv *drv, const char *path, void *arg)
{
    const struct attrs *attrs = arg;
    return drv_set_attr(drv, path, attrs->what, &attrs->stat);
}

/* In one op, if it is known which inode the drive should have there: that says what it is then. */
static mrmr_err attrs_path(const char *path, void *arg)
{
    struct setting *setting = arg;
    const struct attrs *attrs = setting->arg;
    const size_t drive = setting->spot.drive;
    struct tree_drive *own = &setting->tree->drive[drive];
    struct drv_stat of = {.type = (enum drv_type)setting->spot.kind};
    if (setting->caller || of.type == DRV_DIR || !tree_live(own) ||
        !tree_number_inode(setting->tree, setting->spot.number, drive, &of.ino))
        return set_path(path, arg);
    setting->seen = (struct tree_seen){.drive = drive};
    tree_owe(setting->tree, setting->node, drive);
    mrmr_err err =
        drv_set_attr_of(own->drive->drv, path, &of, attrs->what, &attrs->stat, &setting->seen.stat);
    tree_owe(setting->tree, setting->node, drive);
    setting->seen.is = !err;
    if (err == MRMR_CHANGED)
        return set_path(path, arg);
    MRMR_TRY(mrmr_err_drive(err, own->drive->meta.name));
    return set_made(setting, drive, of.ino);
}

static struct attrs attrs_of(unsigned what, const struct pool_attr *set)
{
    static const unsigned pairs[][2] = {
        {POOL_SET_MODE, DRV_ATTR_MODE},
        {POOL_SET_UID, DRV_ATTR_UID},
        {POOL_SET_GID, DRV_ATTR_GID},
        {POOL_SET_ATIME, DRV_ATTR_ATIME},
        {POOL_SET_MTIME, DRV_ATTR_MTIME},
    };
    struct attrs attrs = {.stat = {.mode = set->mode,
                              .uid = set->uid,
                              .gid = set->gid,
                              .atime = set->atime,
                              .mtime = set->mtime}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (what & pairs[i][0])
            attrs.what |= pairs[i][1];
    return attrs;
}

/* It is gone, and somebody holds it still: he sees what he sets. */
static mrmr_err attrs_last(const struct setting *setting, const struct attrs *attrs)
{
    mrmr_locked(&setting->tree->lock);
    struct pool_attr *last = setting->node->last;
    if (!setting->node->gone || !last)
        return mrmr_fail(MRMR_ABSENT, NULL);
    int64_t now = mrmr_clock_real();
    if (attrs->what & DRV_ATTR_MODE)
        last->mode = attrs->stat.mode;
    if (attrs->what & DRV_ATTR_UID)
        last->uid = attrs->stat.uid;
    if (attrs->what & DRV_ATTR_GID)
        last->gid = attrs->stat.gid;
    if (attrs->what & DRV_ATTR_ATIME)
        last->atime = attrs->stat.atime == DRV_TIME_NOW ? now : attrs->stat.atime;
    if (attrs->what & DRV_ATTR_MTIME)
        last->mtime = attrs->stat.mtime == DRV_TIME_NOW ? now : attrs->stat.mtime;
    last->ctime = now;
    return MRMR_OK;
}

/* Its last name is gone: by an open file. */
static mrmr_err attrs_open(const struct setting *setting, const struct attrs *attrs)
{
    struct tree_original *original =
        setting->spot.kind == POOL_REG ? tree_original_of_node(setting->tree, setting->node, false)
                                       : NULL;
    if (!original)
        return attrs_last(setting, attrs);
    mrmr_err err;
    {
        tree_act_as(setting->caller);
        err = drv_file_set_attr(tree_original_file(original), attrs->what, &attrs->stat);
    }
    tree_original_put(original);
    return err;
}

static mrmr_err set_attrs_now(struct setting *setting, struct attrs *attrs)
{
    setting->fn = attrs_now;
    setting->arg = attrs;
    setting->what = attrs->what;
    mrmr_err err = folder_is_there(setting);
    if (!err)
        err = tree_by_path(setting->tree, setting->node, attrs_path, setting);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? attrs_open(setting, attrs) : err;
}

/* Of a file among the writers: what is given up may be done after what is set later, so the drive is late
 * until it is over, also for whoever mounts the pool next. */
static mrmr_err set_attrs(struct setting *setting, unsigned what, const struct pool_attr *set)
{
    struct attrs attrs = attrs_of(what, set);
    if (!attrs.what)
        return MRMR_OK;
    tree_paths_held(setting->tree, setting->node, NULL);
    if (setting->spot.kind == POOL_DIR)
        return set_attrs_now(setting, &attrs);
    MRMR_TRY(tree_change_begin(setting->tree, &setting->epoch));
    mrmr_err err = set_attrs_now(setting, &attrs);
    tree_change_end(setting->tree);
    return err;
}

/* --- size --- */

struct sizing {
    const struct setting *of;
    struct drv_file *file;
    struct drv_stat stat;
};

static mrmr_err size_now(struct drv *drv, const char *path, void *arg)
{
    struct sizing *sizing = arg;
    drv_file_close(mrmr_steal(sizing->file));
    MRMR_TRY(tree_open_original(drv, path, true, &sizing->file, &sizing->stat));
    return tree_check_stat(sizing->of->tree, &sizing->of->spot, path, &sizing->stat);
}

/* As the process: whether the caller may has been asked. */
static mrmr_err size_open(struct setting *setting, struct tree_original **ret_original)
{
    struct sizing sizing = {.of = setting, .file = NULL};
    struct setting opening = *setting;
    opening.caller = NULL;
    opening.fn = size_now;
    opening.arg = &sizing;
    mrmr_err err = tree_by_path(setting->tree, setting->node, set_path, &opening);
    if (err) {
        drv_file_close(sizing.file);
        return err;
    }
    *ret_original = tree_original_new(sizing.file, sizing.stat.ino);
    return *ret_original ? MRMR_OK : mrmr_nomem();
}

/* By the caller's open file, or any other for writing, or one of our own: paths are held until that is
 * open. */
static mrmr_err size_begin(struct setting *setting, struct pool_tree_file *file,
    struct tree_original **ret_original, uint64_t *ret_epoch)
{
    tree_paths_held(setting->tree, setting->node, NULL);
    MRMR_TRY(tree_change_begin(setting->tree, ret_epoch));
    *ret_original = file ? tree_original_now(file) : NULL;
    if (!*ret_original)
        *ret_original = tree_original_of_node(setting->tree, setting->node, true);
    mrmr_err err = *ret_original ? MRMR_OK : size_open(setting, ret_original);
    if (err)
        tree_change_end(setting->tree);
    return err;
}

static mrmr_err set_size(struct setting *setting, struct pool_tree_file *file, uint64_t size)
{
    struct tree_original *original;
    uint64_t epoch;
    MRMR_TRY(size_begin(setting, file, &original, &epoch));
    mrmr_err err =
        tree_truncate(setting->tree, setting->node, setting->spot.drive, original, size, epoch);
    tree_original_put(original);
    tree_change_end(setting->tree);
    return err;
}

/* --- both --- */

static mrmr_err set_both(struct setting *setting, struct pool_tree_file *file, unsigned what,
    const struct pool_attr *set)
{
    tree_stay_begin(setting->tree, setting->node);
    setting->spot = tree_spot(setting->tree, setting->node);
    mrmr_err err = what & POOL_SET_SIZE ? set_size(setting, file, set->size) : MRMR_OK;
    if (!err)
        err = set_attrs(setting, what, set);
    tree_stay_end(setting->tree, setting->node);
    return err;
}

/* A file whose drive is full, or away, goes to another. xattr: the bytes of one; SIZE_MAX: it is none. */
static bool may_leave(const struct setting *setting, size_t xattr, mrmr_err err)
{
    const bool little = xattr != SIZE_MAX;
    return setting->spot.kind == POOL_REG &&
           (tree_place_full(setting->tree, setting->spot.drive, little ? xattr : 0, little, err) ||
               tree_drive_failed(&setting->tree->drive[setting->spot.drive], err));
}

static mrmr_err set_somewhere(struct setting *setting, struct pool_tree_file *file, unsigned what,
    const struct pool_attr *set)
{
    struct mrmr_story story;
    mrmr_err err = set_both(setting, file, what, set);
    if (!may_leave(setting, SIZE_MAX, err))
        return err;
    mrmr_story_save(&story);
    if (tree_bring(setting->tree, setting->node, setting->spot.drive, 0))
        return mrmr_story_restore(&story);
    return set_both(setting, file, what, set);
}

/* The event that tells of it may come later than who asks. */
static void attrs_changed(struct setting *setting)
{
    mrmr_locked(&setting->tree->lock);
    setting->node->plain_at = 0;
    setting->node->attr_events = mrmr_clock_monotonic();
}

static mrmr_err set_all(struct setting *setting, struct pool_tree_file *file, unsigned what,
    const struct pool_attr *set)
{
    setting->spot = tree_spot(setting->tree, setting->node);
    if (!pool_tree_writable(setting->tree))
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    if (what & POOL_SET_SIZE && setting->spot.kind != POOL_REG)
        return mrmr_fail(setting->spot.kind == POOL_DIR ? MRMR_IS_DIR : MRMR_INVALID, NULL);
    tree_own_node(setting->tree, setting->node);
    mrmr_err err = set_somewhere(setting, file, what, set);
    attrs_changed(setting);
    tree_own_node(setting->tree, setting->node);
    return err;
}

static mrmr_err set_tried(struct pool_tree *tree, const struct pool_caller *caller, uint64_t number,
    struct pool_tree_file *file, unsigned what, const struct pool_attr *set,
    struct pool_attr *ret_attr)
{
    struct setting setting = {.tree = tree, .caller = caller};
    MRMR_TRY(tree_node(tree, number, false, &setting.node));
    mrmr_err err = set_all(&setting, file, what, set);
    if (!err && !tree_look_seen(tree, setting.node, "", &setting.seen, ret_attr))
        err = tree_look(tree, setting.node, ret_attr);
    tree_put(tree, setting.node);
    return err;
}

mrmr_err pool_tree_set(struct pool_tree *tree, const struct pool_caller *caller, uint64_t number,
    struct pool_tree_file *file, unsigned what, const struct pool_attr *set,
    struct pool_attr *ret_attr)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = set_tried(tree, caller, number, file, what, set, ret_attr);
    while (tree_room_came(tree, &room, err));
    return err;
}

/* --- extended attributes --- */

struct xattr {
    const char *name;
    const void *value;
    size_t size;
    unsigned flags; /* enum pool_xattr_flag */
    bool missing;   /* the file is there, and has it not */
    bool begun;     /* a drive has it now */
};

struct seeing {
    const char *name;
    bool found;
};

static mrmr_err xattr_seen(const char *name, const void *value, size_t size, void *arg)
{
    struct seeing *seeing = arg;
    (void)value;
    (void)size;
    seeing->found = seeing->found || strcmp(name, seeing->name) == 0;
    return MRMR_OK;
}

static mrmr_err xattr_flags(struct drv *drv, const char *path, struct xattr *xattr)
{
    struct seeing seeing = {.name = xattr->name};
    MRMR_TRY(drv_xattr_list(drv, path, xattr_seen, &seeing));
    if (seeing.found && xattr->flags & POOL_XATTR_CREATE)
        return mrmr_fail(MRMR_EXISTS, NULL);
    xattr->missing = !seeing.found && xattr->flags & POOL_XATTR_REPLACE;
    return MRMR_OK;
}

static mrmr_err xattr_now(struct drv *drv, const char *path, void *arg)
{
    struct xattr *xattr = arg;
    if (xattr->flags)
        MRMR_TRY(xattr_flags(drv, path, xattr));
    if (xattr->missing)
        return MRMR_OK;
    mrmr_err err = drv_xattr_set(drv, path, xattr->name, xattr->value, xattr->size);
    xattr->begun = xattr->begun || !err;
    xattr->missing = !xattr->value && err == MRMR_NO_ATTR;
    return xattr->missing ? MRMR_OK : err;
}

static mrmr_err xattr_allowed(const struct setting *setting, const char *name)
{
    if (!pool_tree_writable(setting->tree))
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    if (strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0)
        return mrmr_fail(MRMR_DENIED, "user.mrmr.* is the pool's own word");
    return MRMR_OK;
}

static mrmr_err xattr_held(struct setting *setting)
{
    tree_paths_held(setting->tree, setting->node, NULL);
    setting->spot = tree_spot(setting->tree, setting->node);
    MRMR_TRY(folder_is_there(setting));
    if (setting->spot.kind == POOL_DIR)
        return tree_by_path(setting->tree, setting->node, set_path, setting);
    MRMR_TRY(tree_change_begin(setting->tree, &setting->epoch));
    mrmr_err err = tree_by_path(setting->tree, setting->node, set_path, setting);
    tree_change_end(setting->tree);
    return err;
}

static mrmr_err xattr_once(struct setting *setting)
{
    tree_stay_begin(setting->tree, setting->node);
    mrmr_err err = xattr_held(setting);
    tree_stay_end(setting->tree, setting->node);
    return err;
}

static void xattrs_unknown(struct setting *setting)
{
    mrmr_locked(&setting->tree->lock);
    setting->node->acl = TREE_ACL_UNKNOWN;
    setting->node->uncapped_at = 0;
    setting->node->attr_events = mrmr_clock_monotonic();
}

/* One that its file system cannot keep, whatever room it has, is refused there, and the file stays: ext4 says of both
 * that it has no room. */
static mrmr_err xattr_somewhere(struct setting *setting, size_t size)
{
    struct mrmr_story story;
    mrmr_err err = xattr_once(setting);
    if (!may_leave(setting, size, err))
        return err;
    mrmr_story_save(&story);
    if (tree_bring(setting->tree, setting->node, setting->spot.drive, 0))
        return mrmr_story_restore(&story);
    return xattr_once(setting);
}

/* Of a folder some drives may have it when another one has no room: when it is tried again, it is there by ourselves. */
static mrmr_err set_xattr_tried(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t number, const char *name, const void *value, size_t size, unsigned *flags)
{
    struct xattr xattr = {.name = name, .value = value, .size = size, .flags = *flags};
    struct setting setting = {
        .tree = tree, .caller = caller, .fn = xattr_now, .arg = &xattr, .xattr = name};
    if (value) /* what is not there to be removed may be there on another drive */
        setting.nothing = &xattr.missing;
    MRMR_TRY(tree_node(tree, number, false, &setting.node));
    setting.spot = tree_spot(tree, setting.node);
    mrmr_err err = xattr_allowed(&setting, name);
    if (!err) {
        tree_own_node(tree, setting.node);
        err = xattr_somewhere(&setting, size);
        xattrs_unknown(&setting);
        tree_own_node(tree, setting.node);
    }
    tree_put(tree, setting.node);
    if (xattr.begun)
        *flags &= ~(unsigned)POOL_XATTR_CREATE;
    return !err && xattr.missing ? mrmr_fail(MRMR_NO_ATTR, NULL) : err;
}

mrmr_err pool_tree_set_xattr(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t number, const char *name, const void *value, size_t size, unsigned flags)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = set_xattr_tried(tree, caller, number, name, value, size, &flags);
    while (tree_room_came(tree, &room, err));
    return err;
}
