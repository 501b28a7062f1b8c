/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names that come: new files, folders, symlinks and special files, links. Those that go are in
 * tree_remove.c.
 *
 * Crash argument. What is made or not is one step of its drive. A drive that hangs may take that step when whoever asked was told
 * that it failed, and has made it elsewhere, also after this process was killed: so it is recorded, durably, before he is
 * told (gone_late.c).
 *
 * Whatever is done to a name is said to the tree before and after (tree_own_name, tree_owned_name): before, since the
 * drive's event about it may come first; after, so that whoever looks next looks at the drives.
 */
#include "pool/change/tree_change.h"
#include "pool/change/tree_room.h"
#include "pool/return/tree_return.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_stay.h"
#include "pool/tree/tree_sync.h"
#include "pool/tree/tree_watch.h"

#include <string.h>

/* --- callers --- */

void tree_act_begin(const struct pool_caller *caller)
{
    if (!caller)
        return;
    const struct drv_caller as = {caller->uid, caller->gid, caller->groups, caller->ngroups, false};
    drv_act_as(&as);
}

void tree_act_bytes_begin(const struct pool_caller *caller)
{
    if (!caller)
        return;
    const struct drv_caller as = {.uid = caller->uid, .gid = caller->gid, .bytes = true};
    drv_act_as(&as);
}

void tree_act_end(const int *unused)
{
    (void)unused;
    drv_act_as(NULL);
}

/* --- names --- */

mrmr_err tree_name_allowed(struct pool_tree *tree, struct tree_node *folder, const char *name)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    if (strlen(name) > META_NAME_MAX)
        return mrmr_fail(MRMR_NAME_TOO_LONG, NULL);
    MRMR_TRY(tree_path(tree, folder, &path));
    if (!pool_scan_excluded(tree_excludes(tree), path.data, name))
        return MRMR_OK;
    return mrmr_err_hint(
        mrmr_err_path(mrmr_fail(MRMR_DENIED, "this name is kept out of the pool"), name),
        "see: mrmr get exclude");
}

static void own_name_locked(struct tree_node *folder, const char *name)
{
    int64_t until = mrmr_clock_monotonic() + tree_own_window;
    struct tree_name *shows = tree_name_touch_locked(folder, name);
    folder->own_until = until;
    folder->owns++;
    folder->named++;
    if (shows)
        shows->own_until = until;
}

void tree_own_name(struct pool_tree *tree, struct tree_node *folder, const char *name)
{
    mrmr_locked(&tree->lock);
    own_name_locked(folder, name);
    folder->changing++;
}

void tree_owned_name(struct pool_tree *tree, struct tree_node *folder, const char *name)
{
    mrmr_locked(&tree->lock);
    own_name_locked(folder, name);
    folder->changing--;
    tree_due_locked(tree, folder);
}

void tree_own_node(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->own_until = mrmr_clock_monotonic() + tree_own_window;
    node->owns++;
}

void tree_name_shows_locked(
    struct tree_node *folder, const char *name, const struct tree_name *shows)
{
    struct tree_name *at = tree_map_find(&folder->map, name);
    if (!at)
        return;
    at->number = shows->number;
    at->kind = shows->kind;
    at->on = shows->on;
}

/* Something that was removed had the inode before, and whoever looked it up holds it still: the kernel
 * would take the one for the other. */
static bool number_is_held(struct pool_tree *tree, uint64_t number)
{
    mrmr_locked(&tree->lock);
    const struct tree_node *node = tree_find_locked(tree, number);
    return node && node->gone && (node->held || node->refs);
}

/* Of an inode that was just made, and what shows it. */
static mrmr_err number_new(struct pool_tree *tree, size_t drive, const struct drv_stat *stat,
    const char *name, struct tree_name *shows)
{
    *shows = (struct tree_name){.kind = (enum pool_kind)stat->type};
    tree_number_forget(tree, drive, stat->ino); /* of a file that was there before */
    shows->number = tree_number(tree, drive, stat->ino, "", name);
    tree_set_add(&shows->on, drive);
    if (number_is_held(tree, shows->number))
        shows->number = tree_number_other(tree, drive, stat->ino);
    if (!stat->ino || tree_number_is_own(tree, drive, stat->ino, shows->number))
        return MRMR_OK;
    return tree_number_keep(
        tree, drive, stat->ino, shows->number, stat->type == DRV_REG ? (uint64_t)stat->btime : 0);
}

mrmr_err tree_node_unnamed(
    struct pool_tree *tree, size_t drive, const struct drv_stat *stat, struct tree_node **ret_node)
{
    struct tree_name shows;
    if (!stat->ino)
        return mrmr_fail(MRMR_UNSUPPORTED, "the drive has no inode numbers");
    MRMR_TRY(number_new(tree, drive, stat, "", &shows));
    mrmr_locked(&tree->lock);
    struct tree_node *node = tree_get_unnamed_locked(tree, &shows);
    if (!node)
        return mrmr_nomem();
    *ret_node = node;
    return MRMR_OK;
}

mrmr_err tree_node_new(struct pool_tree *tree, struct tree_node *folder, const char *name,
    size_t drive, const struct drv_stat *stat, const struct tree_known_ticket *ticket,
    struct tree_node **ret_node)
{
    struct tree_name shows;
    MRMR_TRY(number_new(tree, drive, stat, name, &shows));
    mrmr_locked(&tree->lock);
    struct tree_node *node = tree_get_locked(tree, folder, name, &shows);
    if (!node)
        return mrmr_story_get()->err;
    tree_name_touch_locked(folder, name); /* who looked just before knew nothing of its number */
    tree_name_shows_locked(folder, name, &shows);
    tree_name_made_locked(tree, folder, name, drive, ticket);
    node->own_until = mrmr_clock_monotonic() + tree_own_window;
    tree_owe_locked(node, drive);
    tree_owe_locked(folder, drive);
    *ret_node = node;
    return MRMR_OK;
}

mrmr_err tree_name_stay(struct pool_tree *tree, struct tree_node *folder, const char *name,
    struct tree_name *ret_shows, struct tree_node **ret_node)
{
    MRMR_TRY(tree_name_get(tree, folder, name, ret_shows));
    {
        mrmr_locked(&tree->lock);
        *ret_node = tree_get_locked(tree, folder, name, ret_shows);
    }
    if (!*ret_node)
        return mrmr_story_get()->err;
    tree_stay_begin_name(tree, *ret_node);
    if (ret_shows->kind != POOL_DIR) /* it may have been brought elsewhere since the look */
        ret_shows->on = tree_spot(tree, *ret_node).on;
    return MRMR_OK;
}

void tree_name_leave(struct pool_tree *tree, struct tree_node *node)
{
    if (!node)
        return;
    tree_stay_end(tree, node);
    tree_put(tree, node);
}

/* --- making --- */

struct making {
    struct pool_tree *tree;
    const struct pool_caller *caller;
    struct tree_node *folder;
    const char *name;
    const struct pool_new *what;
    size_t drive;
    uint64_t epoch;           /* before it was made */
    bool scanned;             /* likewise: a scan was under way, which may meet it */
    bool asked;               /* it was told to make it */
    struct drv_stat stat, in; /* in: the folder after that, of a regular file */
    struct drv_file *file;    /* of a regular file */
    int64_t keep_name;        /* how long it may be kept that the name leads to it */
};

static mrmr_err acl_seen(const char *name, const void *value, size_t size, void *arg)
{
    (void)value;
    (void)size;
    if (strcmp(name, "system.posix_acl_default") == 0)
        *(bool *)arg = true;
    return MRMR_OK;
}

bool tree_hands_down(
    struct pool_tree *tree, struct tree_node *folder, size_t drive, const char *path)
{
    bool has = false;
    {
        mrmr_locked(&tree->lock);
        bool fresh = folder->watched || mrmr_clock_monotonic() - folder->acl_at < tree_second;
        if (folder->acl != TREE_ACL_UNKNOWN && fresh)
            return folder->acl == TREE_ACL_HAS;
    }
    if (drv_xattr_list(tree->drive[drive].drive->drv, path, acl_seen, &has))
        return false;
    mrmr_locked(&tree->lock);
    folder->acl = has ? TREE_ACL_HAS : TREE_ACL_NONE;
    folder->acl_at = mrmr_clock_monotonic();
    return has;
}

static mrmr_err make_file(struct making *m, struct drv *drv, const char *path, uint32_t mode)
{
    struct drv_named named;
    MRMR_TRY(drv_file_make(drv, path, mode, &named));
    m->file = named.file;
    m->stat = named.stat;
    m->in = named.folder;
    return MRMR_OK;
}

static mrmr_err make_thing(struct making *m, struct drv *drv, const char *path, uint32_t mode)
{
    const struct pool_new *what = m->what;
    tree_act_as(m->caller);
    switch (what->kind) {
    case POOL_REG:
        return make_file(m, drv, path, mode);
    case POOL_DIR:
        return drv_mkdir(drv, path, mode);
    case POOL_LNK:
        return drv_symlink(drv, what->target, path);
    case POOL_FIFO:
    case POOL_SOCK:
    case POOL_CHR:
    case POOL_BLK:
        return drv_mknod(drv, path, (enum drv_type)what->kind, mode, what->rdev);
    }
    return mrmr_fail(MRMR_INVALID, "not a kind of file");
}

/* It may be made yet, and its caller makes it elsewhere once he is told. */
static void make_gave_up(const struct making *m, mrmr_err err, const char *path)
{
    const struct pool_new *what = m->what;
    const struct drv_stat is = {.type = (enum drv_type)what->kind,
        .size = what->kind == POOL_LNK ? strlen(what->target) : 0};
    tree_gone_gave_up(m->tree, m->drive, err, POOL_GONE_LATE_NEW, path, &is);
}

static mrmr_err make_on(struct making *m)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct drv *drv = m->tree->drive[m->drive].drive->drv;
    uint32_t mode = m->what->mode;
    m->asked = false;
    tree_paths_held(m->tree, m->folder, NULL);
    MRMR_TRY(tree_place_folder(m->tree, m->folder, m->drive, &path));
    if (m->caller && m->caller->umask & mode &&
        !tree_hands_down(m->tree, m->folder, m->drive, path.data))
        mode &= ~m->caller->umask;
    if (path.size)
        MRMR_TRY(mrmr_bytes_add(&path, "/", 1));
    MRMR_TRY(mrmr_bytes_str(&path, m->name));
    m->asked = true;
    tree_owe(m->tree, m->folder, m->drive);
    MRMR_TRY(tree_change_beside(m->tree));
    mrmr_err err = make_thing(m, drv, path.data, mode | DRV_MODE_INHERIT);
    tree_change_end(m->tree);
    if (!err && !m->file)
        err = drv_stat(drv, path.data, &m->stat);
    if (err)
        make_gave_up(m, err, path.data);
    return err;
}

/* What has the name and shows nowhere goes, or is in the way (MRMR_BUSY). */
static mrmr_err make_there(struct making *m)
{
    struct tree_set on = {{0}};
    mrmr_err err = make_on(m);
    if (err != MRMR_EXISTS)
        return err;
    tree_set_add(&on, m->drive);
    MRMR_TRY(tree_return_yields(m->tree, m->folder, m->name, &on));
    return make_on(m);
}

/* Another drive may do: this one is full, does not answer, or has something else in the way. */
static bool elsewhere(const struct making *m, mrmr_err err)
{
    /* One that was asked to make it and did not answer may make it yet. */
    bool silent = tree_silent(&m->tree->drive[m->drive], err);
    return mrmr_class_of(err) == MRMR_CLASS_SPACE || (silent && !m->asked) || err == MRMR_NOT_DIR ||
           err == MRMR_BUSY || err == MRMR_READONLY || err == MRMR_CROSS_DEVICE ||
           mrmr_class_of(err) == MRMR_CLASS_UNSUPPORTED;
}

static mrmr_err make_somewhere(struct making *m)
{
    struct tree_set but = {{0}};
    struct mrmr_story story = {.err = MRMR_OK};
    for (;;) {
        if (tree_place_choose(m->tree, &but, 0, &m->drive))
            return story.err ? mrmr_story_restore(&story) : mrmr_story_get()->err;
        mrmr_err err = make_there(m);
        if (!elsewhere(m, err))
            return mrmr_err_drive(err, m->tree->drive[m->drive].drive->meta.name);
        mrmr_story_save(&story);
        tree_set_add(&but, m->drive);
    }
}

static mrmr_err name_is_free(struct making *m)
{
    struct tree_name shows;
    MRMR_TRY(tree_folder_ready(m->tree, m->folder));
    mrmr_err err = tree_name_get(m->tree, m->folder, m->name, &shows);
    if (!err)
        return mrmr_fail(MRMR_EXISTS, NULL);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
}

/* What the first write would ask. */
static void made_file(struct making *m, struct tree_node *node)
{
    const struct tree_inode inode = {m->drive, m->stat.ino};
    tree_keep_new(m->tree, node, &inode, m->scanned, m->epoch);
    mrmr_locked(&m->tree->lock);
    if (!node->attr_events)
        node->uncapped_at = mrmr_clock_monotonic();
}

static void made_name(struct making *m)
{
    mrmr_locked(&m->tree->lock);
    m->keep_name = tree_own_ttl(m->tree, &m->folder->on, tree_folder_ttl_locked(m->folder));
}

static mrmr_err make_anew(struct making *m)
{
    MRMR_TRY(tree_place_anew(m->tree, m->folder));
    MRMR_TRY(name_is_free(m));
    return make_somewhere(m);
}

static mrmr_err make(struct making *m, struct tree_node **ret_node)
{
    if (!pool_tree_writable(m->tree))
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    MRMR_TRY(tree_name_allowed(m->tree, m->folder, m->name));
    MRMR_TRY(name_is_free(m));
    MRMR_TRY(tree_keep_epoch(m->tree, &m->epoch));
    m->scanned = tree_keep_scanned(m->tree);
    tree_own_name(m->tree, m->folder, m->name);
    const struct tree_known_ticket ticket = tree_known_change(m->tree, m->folder);
    mrmr_err err = make_somewhere(m);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = make_anew(m);
    tree_owned_name(m->tree, m->folder, m->name);
    MRMR_TRY(err);
    MRMR_TRY(tree_node_new(m->tree, m->folder, m->name, m->drive, &m->stat, &ticket, ret_node));
    tree_known_brought(m->tree, m->folder, m->drive, &m->in, &ticket);
    made_name(m);
    if (m->what->kind == POOL_REG)
        made_file(m, *ret_node);
    return MRMR_OK;
}

/* Holds the node once. */
static void made_attr(struct making *m, struct tree_node *node, struct pool_attr *ret_attr)
{
    tree_attr_from_stat(&m->stat, ret_attr);
    ret_attr->node = node->number;
    ret_attr->keep = tree_own_window;
    ret_attr->keep_name = m->keep_name;
    mrmr_locked(&m->tree->lock);
    ret_attr->generation += node->births;
    node->held++;
}

static mrmr_err make_in(struct making *m, uint64_t folder, struct tree_node **ret_node)
{
    MRMR_TRY(tree_node(m->tree, folder, true, &m->folder));
    mrmr_err err = make(m, ret_node);
    tree_put(m->tree, m->folder);
    return err;
}

static mrmr_err make_tried(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t folder, const char *name, const struct pool_new *what, struct pool_attr *ret_attr)
{
    struct making m = {.tree = tree, .caller = caller, .name = name, .what = what};
    struct tree_node *node;
    mrmr_err err = make_in(&m, folder, &node);
    drv_file_close(m.file);
    MRMR_TRY(err);
    made_attr(&m, node, ret_attr);
    tree_put(tree, node);
    return MRMR_OK;
}

mrmr_err pool_tree_make(struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder,
    const char *name, const struct pool_new *what, struct pool_attr *ret_attr)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = make_tried(tree, caller, folder, name, what, ret_attr);
    while (tree_room_came(tree, &room, err));
    return err;
}

static mrmr_err create_tried(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t folder, const char *name, uint32_t mode, struct pool_attr *ret_attr,
    struct pool_tree_file **ret_file)
{
    const struct pool_new what = {.kind = POOL_REG, .mode = mode};
    struct making m = {.tree = tree, .caller = caller, .name = name, .what = &what};
    struct tree_node *node;
    mrmr_err err = make_in(&m, folder, &node);
    if (!err) {
        err = tree_file_made(tree, node, mrmr_steal(m.file), &m.stat, ret_file);
        if (!err)
            pool_tree_file_act(*ret_file, caller);
        if (!err)
            made_attr(&m, node, ret_attr);
        tree_put(tree, node);
    }
    drv_file_close(m.file);
    return err;
}

mrmr_err pool_tree_create(struct pool_tree *tree, const struct pool_caller *caller, uint64_t folder,
    const char *name, uint32_t mode, struct pool_attr *ret_attr, struct pool_tree_file **ret_file)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = create_tried(tree, caller, folder, name, mode, ret_attr, ret_file);
    while (tree_room_came(tree, &room, err));
    return err;
}

/* --- links --- */

struct linking {
    struct pool_tree *tree;
    struct tree_node *node;
    const struct pool_caller *caller;
    struct tree_node *folder;
    const char *name;
    size_t drive;
    mrmr_err placed;        /* whether there is a place for the new name */
    struct mrmr_bytes made; /* it, as it was asked of the drive, */
    struct drv_stat stat;   /* of this, before */
};

static mrmr_err link_path(const char *from, void *arg)
{
    struct linking *linking = arg;
    struct drv *drv = linking->tree->drive[linking->drive].drive->drv;
    mrmr_autobytes struct mrmr_bytes to = MRMR_BYTES_INIT;
    struct drv_stat stat;
    const struct tree_spot spot = tree_spot(linking->tree, linking->node);
    MRMR_TRY(drv_stat(drv, from, &stat)); /* so that what is absent is this one */
    MRMR_TRY(tree_check_stat(linking->tree, &spot, from, &stat));
    linking->placed = tree_place_folder(linking->tree, linking->folder, linking->drive, &to);
    if (!linking->placed && to.size)
        linking->placed = mrmr_bytes_add(&to, "/", 1);
    if (!linking->placed)
        linking->placed = mrmr_bytes_str(&to, linking->name);
    if (linking->placed)
        return MRMR_OK;
    tree_owe(linking->tree, linking->folder, linking->drive);
    {
        tree_act_as(linking->caller);
        linking->placed = drv_link(drv, from, to.data);
    }
    linking->stat = stat;
    mrmr_bytes_clear(&linking->made);
    mrmr_err err = mrmr_bytes_str(&linking->made, to.data);
    if (!linking->placed)
        linking->placed = err;
    tree_owe(linking->tree, linking->folder, linking->drive);
    return MRMR_OK;
}

/* The catalog takes it for a file with fewer names, as long as no scan has seen this one: one that could be brought from a
 * drive that is away, and would part from its new name. So that it is not is recorded before the link is acknowledged; a cut
 * before that leaves a name that nobody was told of. */
static mrmr_err link_made(const struct linking *linking, uint64_t epoch)
{
    const struct tree_inode inode = {linking->drive, linking->stat.ino};
    return linking->stat.type == DRV_REG
               ? tree_keep_attrs(linking->tree, linking->node, &inode, epoch)
               : MRMR_OK;
}

static mrmr_err link_node(struct linking *linking, struct tree_node *node)
{
    const struct tree_spot spot = tree_spot(linking->tree, node);
    struct tree_drive *own = &linking->tree->drive[spot.drive];
    linking->drive = spot.drive;
    if (!tree_live(own))
        return mrmr_err_drive(
            mrmr_fail(MRMR_OFFLINE, "the drive of this file is away"), own->drive->meta.name);
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(linking->tree, &epoch));
    mrmr_err err = tree_by_path(linking->tree, node, link_path, linking);
    if (!err && !linking->placed && linking->made.size)
        err = link_made(linking, epoch);
    tree_change_end(linking->tree);
    if (linking->placed && linking->made.size) /* once others know that it may come */
        tree_gone_gave_up(linking->tree, linking->drive, linking->placed, POOL_GONE_LATE_NAME,
            linking->made.data, &linking->stat);
    if (linking->placed)
        mrmr_bytes_clear(&linking->made);
    return err ? err : mrmr_err_drive(linking->placed, own->drive->meta.name);
}

static bool is_unnamed(struct pool_tree *tree, const struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    return node->unnamed;
}

static mrmr_err link_held(struct linking *linking, struct tree_node *node)
{
    tree_paths_held(linking->tree, node, linking->folder);
    mrmr_err err = link_node(linking, node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT && is_unnamed(linking->tree, node))
        err =
            tree_name_unnamed(linking->tree, linking->caller, node, linking->folder, linking->name);
    return err;
}

/* One whose drive is away goes to another first. */
static mrmr_err link_stay(struct linking *linking, struct tree_node *node)
{
    const struct tree_spot spot = tree_spot(linking->tree, node);
    if (spot.kind == POOL_REG && !tree_live(&linking->tree->drive[spot.drive]))
        MRMR_TRY(tree_bring(linking->tree, node, spot.drive, 0));
    tree_stay_begin(linking->tree, node);
    mrmr_err err = link_held(linking, node);
    tree_stay_end(linking->tree, node);
    return err;
}

static mrmr_err link_anew(struct linking *linking, struct making *m, struct tree_node *node)
{
    MRMR_TRY(tree_place_anew(linking->tree, linking->folder));
    MRMR_TRY(name_is_free(m));
    linking->placed = MRMR_OK;
    return link_stay(linking, node);
}

/* It is made on one drive, and nowhere else. */
static mrmr_err link_there(struct linking *linking, struct tree_node *node)
{
    struct tree_set on = {{0}};
    mrmr_err err = link_stay(linking, node);
    if (err != MRMR_EXISTS)
        return err;
    tree_set_add(&on, linking->drive);
    linking->placed = MRMR_OK;
    MRMR_TRY(tree_return_yields(linking->tree, linking->folder, linking->name, &on));
    return link_stay(linking, node);
}

static mrmr_err link_in(struct linking *linking, struct tree_node *node, struct pool_attr *ret_attr)
{
    struct making m = {.tree = linking->tree, .folder = linking->folder, .name = linking->name};
    const struct tree_spot spot = tree_spot(linking->tree, node);
    int64_t keep;
    if (!pool_tree_writable(linking->tree))
        return mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    if (spot.kind == POOL_DIR)
        return mrmr_fail(MRMR_IS_DIR, NULL);
    MRMR_TRY(tree_name_allowed(linking->tree, linking->folder, linking->name));
    MRMR_TRY(name_is_free(&m));
    tree_own_name(linking->tree, linking->folder, linking->name);
    tree_own_node(linking->tree, node);
    mrmr_err err = link_there(linking, node);
    if (mrmr_class_of(linking->placed) == MRMR_CLASS_ABSENT)
        err = link_anew(linking, &m, node);
    tree_owned_name(linking->tree, linking->folder, linking->name);
    MRMR_TRY(err);
    if (linking->made.size)
        tree_keep_linked(linking->tree, linking->drive, linking->made.data, &linking->stat);
    return pool_tree_lookup(linking->tree, linking->folder->number, linking->name, ret_attr, &keep);
}

static mrmr_err link_tried(struct pool_tree *tree, const struct pool_caller *caller,
    uint64_t number, uint64_t folder, const char *name, struct pool_attr *ret_attr)
{
    struct linking linking = {
        .tree = tree, .caller = caller, .name = name, .made = MRMR_BYTES_INIT};
    struct tree_node *node;
    MRMR_TRY(tree_node(tree, number, false, &node));
    linking.node = node;
    mrmr_err err = tree_node(tree, folder, true, &linking.folder);
    if (!err)
        err = link_in(&linking, node, ret_attr);
    mrmr_bytes_free(&linking.made);
    tree_put(tree, linking.folder);
    tree_put(tree, node);
    return err;
}

mrmr_err pool_tree_link(struct pool_tree *tree, const struct pool_caller *caller, uint64_t number,
    uint64_t folder, const char *name, struct pool_attr *ret_attr)
{
    struct tree_wait room = {0};
    mrmr_err err;
    do
        err = link_tried(tree, caller, number, folder, name, ret_attr);
    while (tree_room_came(tree, &room, err));
    return err;
}
