/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was removed from a drive that is given up, or replaced there, since its last scan, while it
 * answered. A newer version may have been put in its place, was not protected, and went with the drive:
 * then the older one is the best that there is, and is restored. Too much that comes back can be removed
 * again. But nothing of it comes back where something else is known to have its path: it would be shown in
 * the place of that, or, since nobody may take it, the rebuild would never end. So the path is
 * looked for on each other drive, in the catalog where it is away; and what was renamed to the
 * path, or to that of a folder above it, has it (rebuild_moved.c). A folder goes with another folder of
 * its path.
 *
 * A drive may take as long as it likes to answer, and neither writers nor a transaction wait for that.
 * So the transaction is done, finds out which paths have not been looked for, and is rolled back; then they
 * are; and it is done once more. What comes to be at a path between that look and the commit is not
 * seen: the older version is restored, as if it had been there before.
 *
 * A drive that has taken the lost one's place has records of its own, for what is restored there already
 * and then removed: those are the next scan's.
 */
#include "pool/jobs/rebuild_forget.h"
#include "pool/records/names.h"

#include <string.h>

enum { NONE = -1 };

/* By its folder's node, which stays the same whatever that is renamed to. */
struct went_name {
    int64_t parent, node;
    char *name;     /* owned */
    size_t step;    /* that says so */
    ptrdiff_t next; /* in its bucket, or NONE */
    bool over;      /* it is out of the catalog */
};

struct went_look {
    char *path; /* where it would come back; owned; NULL: it was not asked for */
    bool done;
    bool folder, other; /* there is one on another drive; something that is none */
};

struct forget_went {
    struct went_name *name; /* not more than steps */
    size_t n, room;
    ptrdiff_t *bucket;      /* by node */
    size_t buckets;         /* a power of two */
    struct went_look *look; /* by step */
    size_t looks;
    struct pool_names *names[META_SLOTS_MAX + 1]; /* of drives that are away, as needed */
};

/* --- life --- */

static void names_clear(struct forget_went *went)
{
    while (went->n)
        free(went->name[--went->n].name);
}

mrmr_err forget_went_create(struct forgetting *f)
{
    f->went = calloc(1, sizeof *f->went);
    return f->went ? MRMR_OK : mrmr_nomem();
}

void forget_went_destroy(struct forgetting *f)
{
    struct forget_went *went = f->went;
    if (!went)
        return;
    names_clear(went);
    for (size_t i = 0; i < went->looks; i++)
        free(went->look[i].path);
    for (size_t i = 0; i < f->rebuild->pool->ndrives; i++)
        pool_names_destroy(went->names[i]);
    free(went->name);
    free(went->bucket);
    free(went->look);
    free(went);
    f->went = NULL;
}

static mrmr_err room_for(struct forget_went *went, size_t n)
{
    size_t buckets = 16;
    while (buckets < 2 * n)
        buckets *= 2;
    struct went_name *name = realloc(went->name, (n + 1) * sizeof *name);
    if (name)
        went->name = name;
    ptrdiff_t *bucket = realloc(went->bucket, buckets * sizeof *bucket);
    if (bucket)
        went->bucket = bucket;
    struct went_look *look = realloc(went->look, (n + 1) * sizeof *look);
    if (look)
        went->look = look;
    if (!name || !bucket || !look)
        return mrmr_nomem();
    memset(look + went->looks, 0, (n + 1 - went->looks) * sizeof *look);
    went->looks = n + 1;
    went->buckets = buckets;
    went->room = n;
    return MRMR_OK;
}

mrmr_err forget_went_begin(struct forgetting *f)
{
    struct forget_went *went = f->went;
    names_clear(went);
    if (!went->bucket || f->moved.n > went->room)
        MRMR_TRY(room_for(went, f->moved.n));
    for (size_t i = 0; i < went->buckets; i++)
        went->bucket[i] = NONE;
    return MRMR_OK;
}

/* --- which --- */

static ptrdiff_t *bucket_of(const struct forget_went *went, int64_t node)
{
    uint64_t hash = (uint64_t)node * UINT64_C(0x9e3779b97f4a7c15);
    return &went->bucket[(hash >> 32) & (went->buckets - 1)];
}

static struct went_name *name_of(
    const struct forget_went *went, int64_t parent, const char *name, int64_t node)
{
    for (ptrdiff_t i = *bucket_of(went, node); i != NONE; i = went->name[i].next) {
        struct went_name *known = &went->name[i];
        if (!known->over && known->node == node && known->parent == parent &&
            strcmp(known->name, name) == 0)
            return known;
    }
    return NULL;
}

bool forget_went_is(const struct forgetting *f, int64_t parent, const char *name, int64_t node)
{
    return name_of(f->went, parent, name, node);
}

void forget_went_is_over(struct forgetting *f, const struct name_at *at)
{
    struct went_name *name = name_of(f->went, at->parent, at->name, at->node.id);
    if (name)
        name->over = true;
}

static mrmr_err add(struct forget_went *went, const struct name_at *at, size_t step)
{
    char *name = strdup(at->name);
    ptrdiff_t *bucket = bucket_of(went, at->node.id);
    if (!name)
        return mrmr_nomem();
    went->name[went->n] = (struct went_name){
        .parent = at->parent, .node = at->node.id, .name = name, .step = step, .next = *bucket};
    *bucket = (ptrdiff_t)went->n++;
    return MRMR_OK;
}

mrmr_err forget_is_lost(const struct rebuild *rebuild, int64_t node, bool *ret_lost)
{
    *ret_lost = true;
    return rebuild->away ? MRMR_OK
                         : meta_todo_has(rebuild->pool->meta, POOL_REBUILD_JOB, node, ret_lost);
}

mrmr_err forget_went(struct forgetting *f, size_t at)
{
    const struct pool_moved_step *step = &f->moved.step[at];
    const uint64_t *inode = step->inode;
    struct name_at name;
    bool found, lost;
    MRMR_TRY(forget_find(
        f->rebuild->pool->meta, f->rebuild->drive->meta.root, step->from, &name, &found));
    if (!found || name.node.ino != inode[0] ||
        (inode[1] && name.node.btime && (int64_t)inode[1] != name.node.btime) ||
        forget_went_is(f, name.parent, name.name, name.node.id))
        return MRMR_OK;
    MRMR_TRY(forget_is_lost(f->rebuild, name.node.id, &lost));
    return lost ? add(f->went, &name, at) : MRMR_OK;
}

/* --- room for what has its name --- */

static mrmr_err all_went(const struct forgetting *f, const struct meta_node *folder, bool *ret_went)
{
    mrmr_autofree struct meta_child *child = NULL;
    size_t n = 0;
    *ret_went = true;
    MRMR_TRY(meta_children(f->rebuild->pool->meta, folder->id, &child, &n));
    for (size_t i = 0; i < n && *ret_went; i++) {
        *ret_went = forget_went_is(f, folder->id, child[i].name, child[i].node.id);
        if (*ret_went && child[i].node.type == META_DIR)
            MRMR_TRY(all_went(f, &child[i].node, ret_went));
    }
    return MRMR_OK;
}

static mrmr_err clear(struct forgetting *f, const struct meta_node *folder)
{
    mrmr_autofree struct meta_child *child = NULL;
    size_t n = 0;
    MRMR_TRY(meta_children(f->rebuild->pool->meta, folder->id, &child, &n));
    for (size_t i = 0; i < n; i++) {
        if (child[i].node.type == META_DIR)
            MRMR_TRY(clear(f, &child[i].node));
        f->removed++;
        MRMR_TRY(forget_take_out(f, &(struct name_at){child[i].node, folder->id, child[i].name}));
    }
    return MRMR_OK;
}

mrmr_err forget_went_clear(struct forgetting *f, const struct meta_node *folder, bool *ret_empty)
{
    MRMR_TRY(all_went(f, folder, ret_empty));
    return *ret_empty ? clear(f, folder) : MRMR_OK;
}

/* --- what comes back --- */

static mrmr_err path_of(struct meta *meta, const struct went_name *name, struct mrmr_bytes *path)
{
    MRMR_TRY(meta_path(meta, name->parent, path));
    if (path->size)
        MRMR_TRY(mrmr_bytes_str(path, "/"));
    return mrmr_bytes_str(path, name->name);
}

/* *ret_done false: it has not been looked for there. */
static mrmr_err ask(struct went_look *look, const char *path, bool *ret_done)
{
    if (!look->path || strcmp(look->path, path) != 0) {
        char *copy = strdup(path);
        if (!copy)
            return mrmr_nomem();
        free(look->path);
        *look = (struct went_look){.path = copy};
    }
    *ret_done = look->done;
    return MRMR_OK;
}

static mrmr_err settle_one(struct forgetting *f, const struct went_name *went)
{
    struct meta *meta = f->rebuild->pool->meta;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct name_at at = {.parent = went->parent, .name = went->name};
    struct went_look *look = &f->went->look[went->step];
    bool done, full;
    mrmr_err err = meta_lookup(meta, at.parent, at.name, &at.node);
    if (err || at.node.id != went->node)
        return forget_is_absent(err) ? MRMR_OK : err;
    MRMR_TRY(path_of(meta, went, &path));
    MRMR_TRY(ask(look, path.data, &done));
    f->look = f->look || !done;
    MRMR_TRY(forget_has_children(meta, &at.node, &full));
    if (!look->other && (!look->folder || at.node.type == META_DIR)) {
        f->back++;
        return MRMR_OK;
    }
    if (full)
        return MRMR_OK;
    f->removed++;
    return forget_take_out(f, &at);
}

mrmr_err forget_went_settle(struct forgetting *f)
{
    for (size_t i = 0; i < f->went->n; i++)
        if (!f->went->name[i].over)
            MRMR_TRY(settle_one(f, &f->went->name[i]));
    return f->look ? MRMR_CHANGED : MRMR_OK;
}

/* --- on the other drives --- */

static void look_is(struct went_look *look, bool folder)
{
    look->folder = look->folder || folder;
    look->other = look->other || !folder;
}

/* A drive that does not answer, or is away, has what the catalog has of it. */
static mrmr_err look_in_catalog(const struct forgetting *f, size_t drive, struct went_look *look)
{
    struct pool *pool = f->rebuild->pool;
    struct pool_names **names = &f->went->names[drive];
    struct meta_node node;
    if (!*names)
        MRMR_TRY(pool_names_create(pool, &pool->drives[drive]->meta, f->rebuild->gone, names));
    mrmr_err err = pool_names_lookup(*names, look->path, &node);
    if (!err || err == MRMR_NOT_DIR)
        look_is(look, !err && node.type == META_DIR);
    return forget_is_absent(err) ? MRMR_OK : err;
}

static mrmr_err look_on(const struct forgetting *f, size_t drive, struct went_look *look)
{
    struct pool_drive *other = f->rebuild->pool->drives[drive];
    struct drv_stat stat;
    if (!pool_drive_present(other))
        return other == f->rebuild->drive ? MRMR_OK : look_in_catalog(f, drive, look);
    mrmr_err err = drv_stat(other->drv, look->path, &stat);
    if (!err || err == MRMR_NOT_DIR) /* a file has the name of a folder above it */
        look_is(look, !err && stat.type == DRV_DIR);
    if (!err || forget_is_absent(err))
        return MRMR_OK;
    mrmr_log_story(MRMR_LOG_WARN, "a drive does not say what it has at a path");
    return other == f->rebuild->drive ? MRMR_OK : look_in_catalog(f, drive, look);
}

mrmr_err forget_went_look(struct forgetting *f)
{
    for (size_t i = 0; i < f->went->looks; i++) {
        struct went_look *look = &f->went->look[i];
        if (!look->path || look->done)
            continue;
        for (size_t d = 0; d < f->rebuild->pool->ndrives; d++)
            MRMR_TRY(look_on(f, d, look));
        look->done = true;
    }
    return MRMR_OK;
}
