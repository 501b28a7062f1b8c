/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was renamed on a drive that is given up, since its last scan, is renamed in the catalog. A record
 * counts if the catalog has that inode where it was renamed from. It gets the name that it claims: what the
 * catalog has there went by then, as the rename says itself, or as records before it say of what lies
 * in a folder there (rebuild_went.c).
 */
#include "pool/jobs/rebuild_forget.h"

#include <string.h>

/* --- names in the catalog --- */

bool forget_is_absent(mrmr_err err)
{
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR;
}

mrmr_err forget_find(
    struct meta *meta, int64_t root, const char *path, struct name_at *ret_at, bool *ret_found)
{
    const char *slash = strrchr(path, '/');
    mrmr_autofree char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
    struct meta_node parent;
    if (!folder)
        return mrmr_nomem();
    *ret_found = false;
    mrmr_err err = meta_lookup_path(meta, root, folder, &parent);
    ret_at->name = slash ? slash + 1 : path;
    ret_at->parent = parent.id;
    if (!err)
        err = meta_lookup(meta, parent.id, ret_at->name, &ret_at->node);
    *ret_found = !err;
    return forget_is_absent(err) ? MRMR_OK : err;
}

static mrmr_err count_name(int64_t parent, const char *name, void *arg)
{
    (void)parent;
    (void)name;
    ++*(size_t *)arg;
    return MRMR_OK;
}

mrmr_err forget_has_children(struct meta *meta, const struct meta_node *node, bool *ret_has)
{
    mrmr_autofree struct meta_child *children = NULL;
    size_t n = 0;
    if (node->type == META_DIR)
        MRMR_TRY(meta_children(meta, node->id, &children, &n));
    *ret_has = n > 0;
    return MRMR_OK;
}

mrmr_err forget_take_out(struct forgetting *f, const struct name_at *at)
{
    struct meta *meta = f->rebuild->pool->meta;
    size_t names = 0;
    forget_went_is_over(f, at);
    MRMR_TRY(meta_name_remove(meta, at->parent, at->name));
    MRMR_TRY(meta_names(meta, at->node.id, count_name, &names));
    if (names)
        return MRMR_OK;
    MRMR_TRY(meta_extents_mark(meta, at->node.id, META_STALE, META_GONE));
    return meta_node_remove(meta, at->node.id);
}

/* --- what was renamed --- */

/* What was there is what was renamed, and is not yet known elsewhere. */
static bool is_inode(const struct meta_node *node, uint64_t inode)
{
    return !inode || !node->ino || node->ino == inode;
}

/* One that came to be after the last scan: as the one above it, until somebody sets it right. */
static mrmr_err add_folder(struct meta *meta, const struct meta_node *above, int64_t drive,
    const char *name, struct meta_node *ret_node)
{
    struct meta_node node = {.drive = drive,
        .type = META_DIR,
        .mode = above->mode,
        .uid = above->uid,
        .gid = above->gid,
        .nlink = 2,
        .mtime = mrmr_clock_real(),
        .version = 1};
    MRMR_TRY(meta_node_add(meta, &node, above->id, name));
    *ret_node = node;
    return MRMR_OK;
}

/* The next folder on a path. *next has no folder's type: something that did not go lies in the way. */
static mrmr_err next_folder(
    struct forgetting *f, const struct meta_node *above, const char *name, struct meta_node *next)
{
    struct meta *meta = f->rebuild->pool->meta;
    mrmr_err err = meta_lookup(meta, above->id, name, next);
    if (!err && next->type != META_DIR && forget_went_is(f, above->id, name, next->id)) {
        MRMR_TRY(forget_take_out(f, &(struct name_at){*next, above->id, name}));
        err = MRMR_ABSENT;
    }
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = add_folder(meta, above, f->rebuild->drive->meta.id, name, next);
    return err;
}

/* *ret_folder 0: something that is no folder lies in the way. */
static mrmr_err make_folders(struct forgetting *f, const char *path, int64_t *ret_folder)
{
    struct meta_node at;
    MRMR_TRY(meta_node_get(f->rebuild->pool->meta, f->rebuild->drive->meta.root, &at));
    *ret_folder = 0;
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        mrmr_autofree char *name = strndup(path, (size_t)(slash - path));
        struct meta_node next;
        if (!name)
            return mrmr_nomem();
        MRMR_TRY(next_folder(f, &at, name, &next));
        if (next.type != META_DIR)
            return MRMR_OK;
        at = next;
    }
    *ret_folder = at.id;
    return MRMR_OK;
}

static mrmr_err exchange(struct meta *meta, const struct name_at *a, const struct name_at *b)
{
    MRMR_TRY(meta_name_remove(meta, a->parent, a->name));
    MRMR_TRY(meta_name_move(meta, b->parent, b->name, a->parent, a->name));
    return meta_name_add(meta, b->parent, b->name, a->node.id);
}

static mrmr_err unrenamed(struct forgetting *f, const char *from, const char *to)
{
    MRMR_TRY(mrmr_bytes_add(&f->unrenamed, from, strlen(from) + 1));
    return mrmr_bytes_add(&f->unrenamed, to, strlen(to) + 1);
}

/* The name is free afterwards, if it may be. */
static mrmr_err make_room(
    struct forgetting *f, const struct name_at *from, const struct name_at *to, bool *ret_free)
{
    *ret_free = to->node.id != from->node.id;
    if (*ret_free && to->node.type == META_DIR)
        MRMR_TRY(forget_went_clear(f, &to->node, ret_free));
    return *ret_free ? forget_take_out(f, to) : MRMR_OK;
}

static mrmr_err rename_to(
    struct forgetting *f, const struct name_at *from, const char *from_path, const char *to)
{
    const char *slash = strrchr(to, '/');
    int64_t folder;
    MRMR_TRY(make_folders(f, to, &folder));
    if (!folder)
        return unrenamed(f, from_path, to);
    return meta_name_move(
        f->rebuild->pool->meta, from->parent, from->name, folder, slash ? slash + 1 : to);
}

/* `to` (has: the catalog has something there) is not what it was exchanged for. */
static mrmr_err rename_over(struct forgetting *f, const struct name_at *from, const char *from_path,
    const struct name_at *to, const char *to_path, bool has)
{
    bool free = true;
    if (has)
        MRMR_TRY(make_room(f, from, to, &free));
    return free ? rename_to(f, from, from_path, to_path) : unrenamed(f, from_path, to_path);
}

struct side {
    struct name_at at;
    bool has, is, went; /* something is there; what is in the record; it went before */
};

static mrmr_err side_of(
    const struct forgetting *f, const char *path, uint64_t inode, struct side *side)
{
    MRMR_TRY(forget_find(
        f->rebuild->pool->meta, f->rebuild->drive->meta.root, path, &side->at, &side->has));
    side->went = side->has && forget_went_is(f, side->at.parent, side->at.name, side->at.node.id);
    side->is = side->has && !side->went && is_inode(&side->at.node, inode);
    return MRMR_OK;
}

/* What the catalog does not know of the two is on neither side. */
static mrmr_err exchange_one(struct forgetting *f, const struct pool_moved_step *step,
    const struct side *from, const struct side *to)
{
    if (from->is && to->is)
        return exchange(f->rebuild->pool->meta, &from->at, &to->at);
    if (from->is && (!to->has || to->went))
        return rename_over(f, &from->at, step->from, &to->at, step->to, to->has);
    if (to->is && (!from->has || from->went))
        return rename_over(f, &to->at, step->to, &from->at, step->from, from->has);
    return MRMR_OK;
}

mrmr_err forget_rename(struct forgetting *f, const struct pool_moved_step *step)
{
    struct side from, to;
    MRMR_TRY(side_of(f, step->from, step->inode[0], &from));
    MRMR_TRY(side_of(f, step->to, step->inode[1], &to));
    if (step->kind == POOL_MOVED_EXCHANGE)
        return exchange_one(f, step, &from, &to);
    if (!from.is)
        return MRMR_OK;
    if (to.has && to.at.node.id == from.at.node.id) /* two names of one file: the old one went */
        return meta_name_remove(f->rebuild->pool->meta, from.at.parent, from.at.name);
    return rename_over(f, &from.at, step->from, &to.at, step->to, to.has);
}
