/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What one node is: lookup, attributes, symlinks, and lists of names.
 *
 * A node is reached by path: by the name that was seen last, then by the others it had. What is found
 * there must be the node (its drive, its inode), or the name is forgotten and the next one tried.
 */
#include "pool/tree/tree_look.h"
#include "pool/change/tree_replaced.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree_stay.h"
#include "pool/tree/tree_went.h"

#include <string.h>

enum { LOOK_TRIES = 3, NAME_TRIES = 64, PATH_TRIES = 8 };

struct tree_spot tree_spot(struct pool_tree *tree, const struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    return (struct tree_spot){node->number, node->kind, node->on, tree_set_first(&node->on)};
}

/* --- by path --- */

static mrmr_err first_path(struct pool_tree *tree, struct tree_node *node, struct mrmr_bytes *path,
    struct tree_node **ret_parent, char name[256])
{
    mrmr_locked(&tree->lock);
    mrmr_bytes_clear(path);
    MRMR_TRY(tree_path_locked(node, path));
    *ret_parent = NULL;
    if (node->links) {
        *ret_parent = node->links->parent;
        tree_ref_locked(*ret_parent);
        strncpy(name, node->links->name, 255);
        name[255] = '\0';
    }
    return MRMR_OK;
}

/* False: it is being brought to another drive, or was, and is to be looked for there. */
static bool path_failed(struct pool_tree *tree, struct tree_node *node, struct tree_node *parent,
    const char *name, const struct tree_set *on)
{
    mrmr_locked(&tree->lock);
    if (node->kind != POOL_DIR && (node->leaving || !tree_set_equal(&node->on, on)))
        return false;
    tree_unlink_locked(tree, node, parent, name);
    return true;
}

mrmr_err tree_by_path(struct pool_tree *tree, struct tree_node *node, tree_path_fn fn, void *arg)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    char name[256];
    for (unsigned tries = 0;; tries++) {
        struct tree_node *parent;
        uint64_t moves = tree_moves(tree);
        const struct tree_set on = tree_spot(tree, node).on;
        MRMR_TRY(first_path(tree, node, &path, &parent, name));
        mrmr_err err = fn(path.data, arg);
        if (err == MRMR_NOT_DIR)
            err = MRMR_ABSENT; /* a folder on the way is none any more */
        bool gone = mrmr_class_of(err) == MRMR_CLASS_ABSENT && parent;
        /* It may have another path by now; but not again and again. */
        bool again = gone && ((tries < PATH_TRIES && tree_moved_since(tree, moves)) ||
                                 path_failed(tree, node, parent, name, &on));
        tree_put(tree, parent);
        if (!again)
            return err;
    }
}

mrmr_err tree_check_stat(struct pool_tree *tree, const struct tree_spot *spot, const char *path,
    const struct drv_stat *stat)
{
    const char *slash = strrchr(path, '/');
    if ((int)stat->type != (int)spot->kind)
        return mrmr_fail(MRMR_ABSENT, NULL);
    if (spot->kind == POOL_DIR || stat->ino == 0)
        return MRMR_OK;
    const char *name = slash ? slash + 1 : path;
    uint64_t number = tree_number(tree, spot->drive, stat->ino, "", name);
    if (number != spot->number) {
        MRMR_TRY(tree_replaced_look(tree));
        number = tree_number(tree, spot->drive, stat->ino, "", name);
    }
    return number == spot->number ? MRMR_OK : mrmr_fail(MRMR_ABSENT, NULL);
}

/* --- attributes --- */

void tree_attr_from_stat(const struct drv_stat *stat, struct pool_attr *ret_attr)
{
    *ret_attr = (struct pool_attr){
        .kind = (enum pool_kind)stat->type,
        .mode = stat->mode,
        .uid = stat->uid,
        .gid = stat->gid,
        .generation = stat->type == DRV_REG ? (uint64_t)stat->btime : 0,
        .nlink = stat->type == DRV_DIR ? 1 : stat->nlink,
        .size = stat->size,
        .allocated = stat->allocated,
        .rdev = stat->rdev,
        .mtime = stat->mtime,
        .ctime = stat->ctime ? stat->ctime : stat->mtime,
        .atime = stat->atime,
    };
}

void tree_attr_seen(
    struct pool_tree *tree, size_t drive, const struct drv_stat *stat, struct pool_attr *ret_attr)
{
    tree_attr_from_stat(stat, ret_attr);
    if (ret_attr->nlink > 1)
        ret_attr->nlink = tree_kept_nlink(&tree->drive[drive], stat);
    if (!ret_attr->nlink)
        ret_attr->nlink = 1; /* it has gone since */
}

mrmr_err tree_attr_from_node(
    struct pool_tree *tree, const struct meta_node *node, struct pool_attr *ret_attr)
{
    const struct drv_stat stat = {
        .type = (enum drv_type)node->type,
        .mode = node->mode,
        .uid = node->uid,
        .gid = node->gid,
        .nlink = node->nlink,
        .size = node->size,
        .allocated = (node->size + 511) / 512 * 512,
        .rdev = node->rdev,
        .mtime = node->mtime,
        .ctime = node->ctime,
        .btime = node->btime,
        .atime = node->mtime,
    };
    size_t names = 0;
    tree_attr_from_stat(&stat, ret_attr);
    if (ret_attr->nlink <= 1)
        return MRMR_OK;
    MRMR_TRY(tree_went_names(tree->pool, node->id, &names));
    if (names && names < ret_attr->nlink)
        ret_attr->nlink = (uint32_t)names;
    return MRMR_OK;
}

struct look {
    struct pool_tree *tree;
    struct tree_node *node;
    struct tree_spot spot;
    struct pool_attr attr;
    bool kept; /* by the catalog: not what a drive says now */
};

/* On one drive. */
static mrmr_err look_at(
    struct look *look, size_t drive, const char *path, struct pool_attr *ret_attr)
{
    struct tree_drive *own = &look->tree->drive[drive];
    struct drv_stat stat;
    struct meta_node node;
    mrmr_err err =
        tree_live(own) ? drv_stat(own->drive->drv, path, &stat) : mrmr_fail(MRMR_OFFLINE, NULL);
    if (!err) {
        tree_attr_seen(look->tree, drive, &stat, ret_attr);
        return tree_check_stat(look->tree, &look->spot, path, &stat);
    }
    if (!tree_silent(own, err))
        return mrmr_err_drive(err, own->drive->meta.name);
    look->kept = true;
    MRMR_TRY(tree_catalog_known(look->tree, drive, path, &node));
    MRMR_TRY(tree_gone_shows(look->tree, drive, path, &node));
    return tree_attr_from_node(look->tree, &node, ret_attr);
}

/* A folder's copy on one drive: as it was said before, if that holds still. */
static mrmr_err look_copy(
    struct look *look, size_t drive, const char *path, struct pool_attr *ret_attr)
{
    struct tree_known_ticket ticket;
    if (tree_known_get(look->tree, look->node, drive, ret_attr, &ticket))
        return MRMR_OK;
    MRMR_TRY(look_at(look, drive, path, ret_attr));
    if (!look->kept)
        tree_known_put(look->tree, look->node, drive, ret_attr, &ticket);
    return MRMR_OK;
}

/* A folder's, over its drives: the first that has it, with the newest times. */
static mrmr_err look_folder(struct look *look, const char *path)
{
    mrmr_err err = MRMR_ABSENT;
    bool found = false;
    for (size_t i = 0; i < look->tree->ndrives; i++) {
        struct pool_attr attr;
        if (!tree_set_has(&look->spot.on, i))
            continue;
        mrmr_err one = look_copy(look, i, path, &attr);
        if (one || attr.kind != POOL_DIR) {
            err = one ? one : err;
            continue;
        }
        tree_quiet_attr(look->tree, look->node, i, &attr);
        if (!found)
            look->attr = attr;
        else if (attr.mtime > look->attr.mtime)
            look->attr.mtime = attr.mtime;
        if (attr.ctime > look->attr.ctime)
            look->attr.ctime = attr.ctime;
        if (attr.atime > look->attr.atime)
            look->attr.atime = attr.atime;
        found = true;
    }
    return found ? MRMR_OK : err;
}

static mrmr_err look_path(const char *path, void *arg)
{
    struct look *look = arg;
    look->kept = false;
    if (look->spot.kind == POOL_DIR)
        return look_folder(look, path);
    return look_at(look, look->spot.drive, path, &look->attr);
}

static bool own_locked(const struct tree_node *node)
{
    return node->writers || node->own_until > mrmr_clock_monotonic();
}

/* How long it may be kept. */
static int64_t keep_locked(const struct look *look)
{
    const struct tree_node *node = look->node;
    const struct tree_node *tells = node->kind == POOL_DIR ? node
                                    : node->links          ? node->links->parent
                                                           : NULL;
    int64_t keep = tells && !look->kept ? tree_folder_ttl_locked(tells) : tree_second;
    /* A change through another name of it is not told of here. */
    if (node->kind != POOL_DIR && look->attr.nlink != 1 &&
        !look->tree->drive[look->spot.drive].silent && keep > tree_second)
        keep = tree_second;
    if (own_locked(node))
        keep = tree_own_ttl(look->tree, &node->on, keep);
    if (node->direct && keep > tree_own_window) /* nobody tells who writes it */
        keep = tree_own_window;
    return keep;
}

/* Likewise its attributes: those of a folder that we change may be of before the change (tree_due.c). */
static int64_t keep_attrs_locked(struct look *look, int64_t keep)
{
    struct tree_node *node = look->node;
    if (node->kind == POOL_DIR && own_locked(node) && keep > tree_own_window)
        keep = tree_own_window;
    node->kept = node->kept || keep > tree_second;
    return keep;
}

/* What it was when it went. */
static mrmr_err look_last(
    struct pool_tree *tree, const struct tree_node *node, struct pool_attr *ret_attr)
{
    mrmr_locked(&tree->lock);
    if (!node->gone || !node->last)
        return mrmr_fail(MRMR_ABSENT, NULL);
    *ret_attr = *node->last;
    ret_attr->nlink = 0;
    return MRMR_OK;
}

/* By an open file of it: no name leads to it any more, or none that is known. */
static mrmr_err look_open(
    struct pool_tree *tree, struct tree_node *node, struct pool_attr *ret_attr)
{
    struct tree_original *original = tree_original_of_node(tree, node, false);
    struct drv_stat stat;
    if (!original)
        return look_last(tree, node, ret_attr);
    mrmr_err err = drv_file_stat(tree_original_file(original), &stat);
    tree_original_put(original);
    MRMR_TRY(err);
    tree_attr_from_stat(&stat, ret_attr);
    ret_attr->nlink = tree_kept_nlink(&tree->drive[tree_spot(tree, node).drive], &stat);
    mrmr_locked(&tree->lock);
    if (node->gone)
        ret_attr->nlink = 0; /* where it is kept is no name of it */
    return MRMR_OK;
}

/* What a look found, as people see it. */
static void look_done_locked(struct look *look, struct pool_attr *ret_attr)
{
    const struct tree_node *node = look->node;
    look->attr.node = node->number;
    look->attr.generation =
        tree_generation(look->tree, node->number, look->attr.generation) + node->births;
    look->attr.keep_name = keep_locked(look);
    look->attr.keep = keep_attrs_locked(look, look->attr.keep_name);
    look->node->shown = (struct tree_shown){
        true, look->attr.nlink, look->attr.mtime, look->attr.size}; /* tree_file.c */
    *ret_attr = look->attr;
}

/* open: an open file of it will do, if no name leads to it any more. */
static mrmr_err look_node(
    struct pool_tree *tree, struct tree_node *node, bool open, struct pool_attr *ret_attr)
{
    struct look look = {.tree = tree, .node = node, .spot = tree_spot(tree, node)};
    mrmr_err err = tree_by_path(tree, node, look_path, &look);
    for (unsigned i = 0; mrmr_class_of(err) == MRMR_CLASS_ABSENT && i < LOOK_TRIES; i++) {
        /* It may have been brought to another drive meanwhile; or could not be, and had another number while that was tried. */
        tree_stay_begin(tree, node);
        const struct tree_spot now = tree_spot(tree, node);
        tree_stay_end(tree, node);
        if (i && tree_set_equal(&now.on, &look.spot.on))
            break;
        look.spot = now;
        err = tree_by_path(tree, node, look_path, &look);
    }
    if (open && mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = look_open(tree, node, &look.attr);
    MRMR_TRY(err);
    mrmr_locked(&tree->lock);
    look_done_locked(&look, ret_attr);
    return MRMR_OK;
}

mrmr_err tree_look(struct pool_tree *tree, struct tree_node *node, struct pool_attr *ret_attr)
{
    return look_node(tree, node, true, ret_attr);
}

mrmr_err pool_tree_attr(struct pool_tree *tree, uint64_t number, struct pool_attr *ret_attr)
{
    struct tree_node *node;
    MRMR_TRY(tree_node(tree, number, false, &node));
    mrmr_err err = tree_look(tree, node, ret_attr);
    tree_put(tree, node);
    return err;
}

/* --- lookup --- */

/* How long what a name leads to, or that it leads nowhere, may be kept; at most that of its node. */
static int64_t name_keep(
    struct pool_tree *tree, const struct tree_node *folder, const char *name, int64_t most)
{
    mrmr_locked(&tree->lock);
    const struct tree_name *shows = tree_map_find(&folder->map, name);
    int64_t keep = tree_folder_ttl_locked(folder);
    if (keep != POOL_KEEP) { /* it is as old as the folder's map */
        keep -= mrmr_clock_monotonic() - folder->loaded;
        keep = keep < 0 ? 0 : keep;
    }
    if (shows && shows->unsure && keep > tree_second) /* a drive could not say */
        keep = tree_second;
    if (shows && shows->own_until > mrmr_clock_monotonic())
        keep = tree_own_ttl(tree, &folder->on, keep);
    return keep < most ? keep : most;
}

/* The node that the name shows, counted, and what was seen of it meanwhile. */
static mrmr_err lookup_node(struct pool_tree *tree, struct tree_node *folder, const char *name,
    struct tree_node **ret_node, struct tree_seen *ret_seen)
{
    struct tree_name shows;
    MRMR_TRY(tree_name_see(tree, folder, name, &shows, ret_seen));
    mrmr_locked(&tree->lock);
    *ret_node = tree_get_locked(tree, folder, name, &shows);
    return *ret_node ? MRMR_OK : mrmr_story_get()->err;
}

bool tree_look_seen(struct pool_tree *tree, struct tree_node *node, const char *name,
    const struct tree_seen *seen, struct pool_attr *ret_attr)
{
    struct look look = {.tree = tree, .node = node, .spot = tree_spot(tree, node)};
    if (!seen->is || look.spot.drive != seen->drive ||
        tree_check_stat(tree, &look.spot, name, &seen->stat))
        return false;
    tree_attr_seen(tree, seen->drive, &seen->stat, &look.attr);
    if (look.spot.kind == POOL_DIR)
        tree_quiet_attr(tree, node, seen->drive, &look.attr);
    mrmr_locked(&tree->lock);
    look_done_locked(&look, ret_attr);
    return true;
}

/* Events about what the name showed so far. */
static uint64_t changes_before(
    struct pool_tree *tree, const struct tree_node *folder, const char *name)
{
    mrmr_locked(&tree->lock);
    const struct tree_name *shows = tree_map_find(&folder->map, name);
    const struct tree_node *node = shows ? tree_find_locked(tree, shows->number) : NULL;
    return node ? node->changes : 0;
}

/* False: it is no name that is known. */
static bool lookup_unsure(struct pool_tree *tree, struct tree_node *folder, const char *name)
{
    mrmr_locked(&tree->lock);
    struct tree_name *shows = tree_map_find(&folder->map, name);
    if (shows)
        tree_name_doubt_all(shows);
    return shows;
}

static mrmr_err lookup_once(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct pool_attr *ret_attr)
{
    struct tree_node *node;
    struct tree_seen seen;
    uint64_t changes = changes_before(tree, folder, name);
    MRMR_TRY(lookup_node(tree, folder, name, &node, &seen));
    mrmr_err err = MRMR_OK;
    if (!tree_look_seen(tree, node, name, &seen, ret_attr))
        err = look_node(tree, node, false, ret_attr);
    mrmr_locked(&tree->lock);
    if (!err) {
        node->held++;
        if (node->changes != changes)
            ret_attr->keep = 0;
    }
    tree_put_locked(tree, node);
    return err;
}

static void busy_add(struct pool_tree *tree, struct tree_node *folder, int by)
{
    mrmr_locked(&tree->lock);
    folder->busy += (unsigned)by;
}

static mrmr_err lookup_in(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct pool_attr *ret_attr)
{
    mrmr_err err = MRMR_OK;
    MRMR_TRY(tree_folder_ready(tree, folder));
    /* A name that is given to one file after another leads to something at each moment. */
    for (unsigned i = 0; i < NAME_TRIES; i++) {
        err = lookup_once(tree, folder, name, ret_attr);
        /* A drive that was given up does not answer, and what it had may be elsewhere by now: all drives are asked. */
        if (err == MRMR_OFFLINE && i == 0 && lookup_unsure(tree, folder, name))
            continue;
        if (mrmr_class_of(err) != MRMR_CLASS_ABSENT ||
            (!lookup_unsure(tree, folder, name) && i + 1 >= LOOK_TRIES))
            break;
    }
    return err;
}

/* A node by its number alone, held; found through the catalog if nobody holds it. */
static mrmr_err lookup_number(struct pool_tree *tree, uint64_t number, struct pool_attr *ret_attr);

mrmr_err pool_tree_lookup(struct pool_tree *tree, uint64_t number, const char *name,
    struct pool_attr *ret_attr, int64_t *ret_keep)
{
    struct tree_node *folder;
    *ret_keep = 0;
    if (strcmp(name, ".") == 0)
        return lookup_number(tree, number, ret_attr);
    if (strlen(name) > META_NAME_MAX)
        return mrmr_fail(MRMR_NAME_TOO_LONG, NULL);
    MRMR_TRY(tree_node(tree, number, true, &folder));
    busy_add(tree, folder, 1);
    mrmr_err err = lookup_in(tree, folder, name, ret_attr);
    busy_add(tree, folder, -1);
    /* A folder that was not looked into yet is not watched, its name is. */
    const bool apart = !err && ret_attr->kind == POOL_DIR && ret_attr->keep > 0;
    *ret_keep = name_keep(tree, folder, name, err || apart ? POOL_KEEP : ret_attr->keep);
    if (!err)
        ret_attr->keep_name = *ret_keep;
    if (!err && ret_attr->keep > *ret_keep)
        ret_attr->keep = *ret_keep;
    tree_put(tree, folder);
    return err;
}

/* Down a path from the root; what is on the way is let go of again. */
static mrmr_err lookup_path(struct pool_tree *tree, char *path, struct pool_attr *ret_attr)
{
    uint64_t at = POOL_ROOT;
    int64_t keep;
    mrmr_err err = MRMR_OK;
    while (!err && path) {
        const char *name = strsep(&path, "/");
        err = pool_tree_lookup(tree, at, name, ret_attr, &keep);
        if (at != POOL_ROOT)
            pool_tree_forget(tree, at, 1);
        at = ret_attr->node;
    }
    return err;
}

struct by_number {
    struct pool_tree *tree;
    uint64_t number;
    struct pool_attr *attr;
};

/* Whether this path leads to it: MRMR_ABSENT. */
static mrmr_err lookup_number_at(char *path, void *arg)
{
    const struct by_number *by = arg;
    MRMR_TRY(lookup_path(by->tree, path, by->attr));
    if (by->attr->node == by->number)
        return MRMR_OK;
    pool_tree_forget(by->tree, by->attr->node, 1);
    return mrmr_fail(MRMR_ABSENT, NULL);
}

/* On its drive: no scan has seen it yet where it is. */
static mrmr_err lookup_drive(const struct by_number *by, int64_t id, uint64_t ino)
{
    for (size_t i = 0; i < by->tree->ndrives; i++)
        if (by->tree->drive[i].drive->meta.id == id)
            return tree_find_path(by->tree, i, ino, lookup_number_at, (void *)(uintptr_t)by);
    return mrmr_fail(MRMR_ABSENT, "nothing is known by this number");
}

static mrmr_err lookup_catalog(struct pool_tree *tree, uint64_t number, struct pool_attr *ret_attr)
{
    const struct by_number by = {tree, number, ret_attr};
    enum { SAME_INODE = 8 };
    struct meta_node nodes[SAME_INODE];
    int64_t drive;
    uint64_t ino;
    size_t n = 0;
    tree_number_where(tree, number, &drive, &ino);
    MRMR_TRY(meta_node_by_ino(tree->pool->meta, drive, ino, nodes, SAME_INODE, &n));
    for (size_t i = 0; i < n; i++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        MRMR_TRY(meta_path(tree->pool->meta, nodes[i].id, &path));
        if (path.size && !lookup_number_at(path.data, (void *)(uintptr_t)&by))
            return MRMR_OK;
    }
    return lookup_drive(&by, drive, ino);
}

static mrmr_err lookup_number(struct pool_tree *tree, uint64_t number, struct pool_attr *ret_attr)
{
    struct tree_node *node;
    if (tree_node(tree, number, false, &node))
        return lookup_catalog(tree, number, ret_attr);
    mrmr_err err = look_node(tree, node, false, ret_attr);
    mrmr_locked(&tree->lock);
    if (!err)
        node->held++;
    tree_put_locked(tree, node);
    return err;
}

mrmr_err pool_tree_parent(struct pool_tree *tree, uint64_t number, uint64_t *ret_parent)
{
    struct tree_node *folder;
    MRMR_TRY(tree_node(tree, number, true, &folder));
    mrmr_locked(&tree->lock);
    *ret_parent = folder->links ? folder->links->parent->number : POOL_ROOT;
    tree_put_locked(tree, folder);
    return MRMR_OK;
}

/* --- symlinks --- */

struct target {
    struct pool_tree *tree;
    size_t drive;
    struct mrmr_bytes *text;
};

static mrmr_err target_read(const char *path, void *arg)
{
    const struct target *target = arg;
    struct tree_drive *own = &target->tree->drive[target->drive];
    struct meta_node node;
    mrmr_err err = tree_live(own) ? drv_readlink(own->drive->drv, path, target->text)
                                  : mrmr_fail(MRMR_OFFLINE, NULL);
    if (err == MRMR_INVALID)
        return mrmr_fail(MRMR_ABSENT, "another thing has its name");
    if (!tree_silent(own, err))
        return err;
    MRMR_TRY(tree_catalog_known(target->tree, target->drive, path, &node));
    return meta_target_get(target->tree->pool->meta, node.id, target->text);
}

mrmr_err pool_tree_readlink(struct pool_tree *tree, uint64_t number, struct mrmr_bytes *text)
{
    struct tree_node *node;
    MRMR_TRY(tree_node(tree, number, false, &node));
    const struct tree_spot spot = tree_spot(tree, node);
    struct target target = {tree, spot.drive, text};
    mrmr_err err = spot.kind == POOL_LNK ? tree_by_path(tree, node, target_read, &target)
                                         : mrmr_fail(MRMR_INVALID, "not a symlink");
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = tree_parted_target(tree, node, text);
    tree_put(tree, node);
    return err;
}

/* --- lists --- */

struct listed {
    char name[META_NAME_MAX + 1];
    uint64_t number, next;
    enum pool_kind kind;
    bool unsure;
};

/* The first name at or after the place. False: there is none. */
static bool list_next(
    struct pool_tree *tree, const struct tree_node *folder, uint64_t place, struct listed *ret)
{
    mrmr_locked(&tree->lock);
    const struct tree_name *name = tree_map_at(&folder->map, place);
    if (!name)
        return false;
    strncpy(ret->name, name->name, META_NAME_MAX);
    ret->name[META_NAME_MAX] = '\0';
    ret->number = name->number;
    ret->next = name->place + 1;
    ret->kind = name->kind;
    ret->unsure = name->unsure;
    return true;
}

/* Whether it is there, and what it is. */
static mrmr_err list_look(struct pool_tree *tree, struct tree_node *folder, struct listed *listed)
{
    struct tree_name shows;
    if (!listed->unsure)
        return MRMR_OK;
    MRMR_TRY(tree_name_get(tree, folder, listed->name, &shows));
    listed->number = shows.number;
    listed->kind = shows.kind;
    return MRMR_OK;
}

/* False: it was not taken. A name whose look fails is there all the same, as far as it is known: whoever
 * does not see it takes it for removed. */
static bool list_one(struct pool_tree *tree, struct tree_node *folder, struct listed *listed,
    bool attrs, pool_dir_fn fn, void *arg)
{
    struct pool_attr attr;
    int64_t keep;
    mrmr_err err =
        attrs ? pool_tree_lookup(tree, folder->number, listed->name, &attr, &keep) : MRMR_OK;
    bool has_attr = attrs && !err;
    if (!err && !attrs)
        err = list_look(tree, folder, listed);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return true;
    const struct pool_dir_entry entry = {
        .name = listed->name,
        .node = has_attr ? attr.node : listed->number,
        .kind = has_attr ? attr.kind : listed->kind,
        .next = listed->next,
        .attr = has_attr ? &attr : NULL,
    };
    if (fn(&entry, arg))
        return true;
    if (has_attr)
        pool_tree_forget(tree, attr.node, 1);
    return false;
}

/* Names that are not known may be there. */
static mrmr_err list_end(struct pool_tree *tree, const struct tree_node *folder)
{
    mrmr_locked(&tree->lock);
    return folder->partial ? mrmr_fail(MRMR_IO, "a drive could not read all of this folder")
                           : MRMR_OK;
}

static mrmr_err list_run(struct pool_tree *tree, struct tree_node *folder, uint64_t place,
    bool attrs, pool_dir_fn fn, void *arg)
{
    struct listed listed;
    for (; list_next(tree, folder, place, &listed); place = listed.next)
        if (!list_one(tree, folder, &listed, attrs, fn, arg))
            return MRMR_OK;
    return list_end(tree, folder);
}

mrmr_err pool_tree_list(
    struct pool_tree *tree, uint64_t number, uint64_t place, bool attrs, pool_dir_fn fn, void *arg)
{
    struct tree_node *folder;
    MRMR_TRY(tree_node(tree, number, true, &folder));
    mrmr_err err = tree_folder_ready(tree, folder);
    if (!err)
        err = list_run(tree, folder, place, attrs, fn, arg);
    tree_put(tree, folder);
    return err;
}

mrmr_err pool_tree_list_version(struct pool_tree *tree, uint64_t number, uint64_t *ret_version)
{
    struct tree_node *folder;
    MRMR_TRY(tree_node(tree, number, true, &folder));
    mrmr_err err = tree_folder_ready(tree, folder);
    mrmr_locked(&tree->lock);
    if (!err)
        *ret_version =
            folder->valid && folder->watched && folder->own_until <= mrmr_clock_monotonic()
                ? folder->version
                : 0;
    tree_put_locked(tree, folder);
    return err;
}
