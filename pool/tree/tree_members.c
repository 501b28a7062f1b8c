/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The tree's drives are the pool's, as the catalog has them now. Other processes change that while the
 * tree shows them: a drive is added, set otherwise, or looked for elsewhere; one is given up; another
 * medium takes the place of one that was lost (rebuild --onto), and what that one was is no drive any more.
 *
 * A drive's place in the tree is its id in the catalog. Anyone may look at a struct pool_drive at any
 * moment, so none is changed: another one takes its place, and the one before stays what it was for as
 * long as the pool is open. With the same medium it has the same guard, and who uses it goes on. With
 * another, or none, the guard of the one before is cut off first; the new one is looked for like any
 * that is out of service. One that was given up (retired) is away for good, and shows by the catalog, as any that
 * is away, what was not brought to other drives yet. Once it has left the catalog it stays in its place as one that has nothing.
 *
 * Crash argument (I3). What a change keeps is asked of the catalog by the drive's id and the inode. On a
 * medium that serves under an id which is not its own any more nothing would be found, and what stripes
 * count on would be written over. Whoever gives a medium another id does it in one transaction of the
 * catalog, while the writers stand still, and begins a new epoch (rebuild_take.c). So a change either has ended
 * before, or is of the new epoch; then it compares before anything else, and cuts off what is not what
 * the catalog has: nothing reaches the medium under its old id. A drive that is put into service at that
 * moment is compared once more after it serves (tree_drive_is_member): it was seen serving by the
 * change, or sees what the change saw. No power cut comes in between what is in memory alone.
 *
 * Threads: the monitor's, but for what is among the writers, and reads the catalog alone. Locks: the
 * pool's gate and the tree's, for memory.
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_watch.h"

#include "drivers/guard.h"
#include "pool/drive/drive.h"
#include <string.h>

/* --- the list --- */

/* One of the pool's drives as the tree's next. */
static mrmr_err drives_take(struct pool_tree *tree, struct pool_drive *own)
{
    struct tree_drive *drive = &tree->drive[tree->ndrives];
    pthread_mutex_init(&drive->keeping, NULL);
    sem_init(&drive->savers, 0, TREE_SAVERS);
    pthread_mutex_init(&drive->alone, NULL);
    tree_kept_start(&drive->kept);
    pthread_mutex_init(&drive->placing, NULL);
    pthread_mutex_init(&drive->known_lock, NULL);
    drive->tree = tree;
    drive->drive = own;
    return tree_drive_guard(drive, own);
}

static void drives_show(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    size_t i = tree->ndrives;
    tree_set_add(&tree->root->on, i);
    tree->ndrives = i + 1;
}

/* Readers of the list go on while it grows: it has room from the start. */
static mrmr_err drives_reserve(struct pool *pool)
{
    struct pool_drive *_Atomic *room = reallocarray(pool->drives, TREE_DRIVES_MAX, sizeof *room);
    if (!room)
        return mrmr_nomem();
    pool->drives = room;
    return MRMR_OK;
}

mrmr_err tree_drives_start(struct pool_tree *tree)
{
    struct pool *pool = tree->pool;
    uint64_t timeout;
    MRMR_TRY(pool_setting_u64(pool, "drive-timeout", &timeout));
    tree->deadline = (int64_t)timeout * MRMR_NS_PER_S;
    tree->members = UINT64_MAX; /* no epoch: nothing was compared yet */
    if (pool->ndrives > TREE_DRIVES_MAX)
        return mrmr_fail(MRMR_UNSUPPORTED, "a pool of more than %d drives", TREE_DRIVES_MAX);
    tree->drive = calloc(TREE_DRIVES_MAX, sizeof *tree->drive);
    if (!tree->drive)
        return mrmr_nomem();
    MRMR_TRY(drives_reserve(pool));
    for (size_t i = 0; i < pool->ndrives; i++) {
        MRMR_TRY(drives_take(tree, pool->drives[i]));
        drives_show(tree);
    }
    return MRMR_OK;
}

/* The catalog's entry is moved in. Ids only rise, so the new one is the last. */
static mrmr_err drives_add(struct pool_tree *tree, struct meta_drive *meta)
{
    struct pool *pool = tree->pool;
    struct pool_drive *drive;
    size_t i = pool->ndrives;
    if (i == TREE_DRIVES_MAX)
        return mrmr_fail(MRMR_UNSUPPORTED, "more than %d drives", TREE_DRIVES_MAX);
    MRMR_TRY(pool_drive_create(meta, &drive));
    mrmr_fail(MRMR_OFFLINE, "it was added just now");
    pool_drive_verdict(drive, POOL_AWAY);
    mrmr_err err = drives_take(tree, drive);
    if (err) { /* nobody has seen it; the next look tries again */
        pool_drive_destroy(drive);
        return err;
    }
    pthread_rwlock_wrlock(&pool->drives_gate);
    pool->drives[i] = drive;
    pool->ndrives = i + 1;
    pthread_rwlock_unlock(&pool->drives_gate);
    drives_show(tree);
    mrmr_log(MRMR_LOG_INFO, "drive %s: it was added to the pool", drive->meta.name);
    return MRMR_OK;
}

/* --- what the catalog has in a place --- */

static struct meta_drive *find(struct meta_drive *metas, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (metas[i].id == id)
            return &metas[i];
    return NULL;
}

/* What serves as the one may serve as the other. now: NULL if the catalog has none. */
static bool is_same(const struct meta_drive *was, const struct meta_drive *now)
{
    return now && was->state != META_DRIVE_RETIRED && now->state != META_DRIVE_RETIRED &&
           mrmr_uuid_equal(&was->uuid, &now->uuid) && was->root == now->root;
}

/* Likewise all that is looked at here and that people, or jobs, may set meanwhile. */
static bool is_set_alike(const struct meta_drive *was, const struct meta_drive *now)
{
    return was->state == now->state && mrmr_uuid_equal(&was->uuid, &now->uuid) &&
           was->root == now->root && strcmp(was->uri, now->uri) == 0 &&
           strcmp(was->name, now->name) == 0 && strcmp(was->domain, now->domain) == 0 &&
           was->role == now->role && was->slot == now->slot && was->reserve == now->reserve &&
           was->max_usage == now->max_usage;
}

bool tree_drive_is_member(struct tree_drive *drive)
{
    const struct meta_drive *own = &drive->drive->meta;
    struct meta_drive *metas = NULL;
    size_t n = 0;
    if (meta_drives(drive->tree->pool->meta, &metas, &n))
        return false;
    bool member = is_same(own, find(metas, n, own->id));
    meta_drives_free(metas, n);
    return member;
}

mrmr_err tree_drives_look_among(struct pool_tree *tree, uint64_t epoch)
{
    struct meta_drive *metas = NULL;
    size_t n = 0;
    bool cut = false;
    if (tree->members == epoch)
        return MRMR_OK;
    MRMR_TRY(meta_drives(tree->pool->meta, &metas, &n));
    for (size_t i = 0; i < tree->ndrives; i++) {
        struct pool_drive *own = tree->drive[i].drive;
        if (!drv_guard_serves(own->drv) || is_same(&own->meta, find(metas, n, own->meta.id)))
            continue;
        mrmr_fail(MRMR_OFFLINE, "it has left its place in the pool");
        drv_guard_cut(own->drv, MRMR_OFFLINE);
        cut = true;
    }
    meta_drives_free(metas, n);
    tree->members = epoch;
    mrmr_locked(&tree->lock);
    tree->suspects = tree->suspects || cut; /* the monitor follows at once */
    if (cut)
        pthread_cond_signal(&tree->monitor_wake);
    return MRMR_OK;
}

/* --- another one takes the place --- */

/* Nothing lies there any more, as far as something else is known to have it. */
static void leave_locked(struct pool_tree *tree, struct tree_node *node, size_t i)
{
    static const struct tree_set none = {{0}};
    struct tree_set on = node->on;
    tree_set_remove(&on, i);
    if (node->kind != POOL_DIR)
        tree_later_locked(tree, TREE_TELL, node->number, "");
    else if (!tree_set_equal(&on, &none))
        tree_lies_on_locked(tree, node, &on);
}

static void place_changed(struct tree_drive *drive)
{
    struct pool_tree *tree = drive->tree;
    const size_t place = (size_t)(drive - tree->drive);
    const bool left = drive->left;
    mrmr_locked(&tree->lock);
    for (size_t i = 0; left && i < tree->buckets; i++)
        for (struct tree_node *node = tree->table[i]; node; node = node->next)
            if (tree_set_has(&node->on, place))
                leave_locked(tree, node, place);
    if (!left && !tree_set_has(&tree->root->on, place)) {
        struct tree_set on = tree->root->on;
        tree_set_add(&on, place);
        tree_lies_on_locked(tree, tree->root, &on);
    }
    drive->room.known = false;
    drive->changed = true;
}

/* As the catalog has it, which is moved in; or as one that is none any more. */
static mrmr_err heir_create(
    const struct pool_drive *old, struct meta_drive *meta, struct pool_drive **ret_heir)
{
    struct meta_drive gone = old->meta;
    if (meta)
        return pool_drive_create(meta, ret_heir);
    gone.state = META_DRIVE_RETIRED;
    gone.uuid = (struct mrmr_uuid){{0}};
    gone.uri = strdup(old->meta.uri);
    if (!gone.uri)
        return mrmr_nomem();
    mrmr_err err = pool_drive_create(&gone, ret_heir);
    meta_drive_free(&gone);
    return err;
}

/* The same medium: whoever uses it goes on. */
static void heir_goes_on(struct pool_drive *heir, const struct pool_drive *old)
{
    heir->drv = old->drv;
    heir->info = old->info;
    heir->why = old->why;
    heir->presence = old->presence;
}

static mrmr_err heir_begins(
    struct tree_drive *drive, struct pool_drive *heir, const struct pool_drive *old)
{
    const bool left = heir->meta.state == META_DRIVE_RETIRED;
    mrmr_fail(MRMR_OFFLINE, left ? "it was given up" : "it has another's place just now");
    pool_drive_verdict(heir, POOL_AWAY);
    MRMR_TRY(tree_drive_guard(drive, heir));
    mrmr_fail(MRMR_OFFLINE, left ? "it was given up" : "another has its place in the pool");
    drv_guard_cut(old->drv, MRMR_OFFLINE);
    return MRMR_OK;
}

/* meta: what the catalog has, moved in if it is another (its id is 0 then); NULL: nothing. */
static mrmr_err place_follow(struct tree_drive *drive, struct meta_drive *meta, bool *ret_look)
{
    struct pool_tree *tree = drive->tree;
    struct pool_drive *old = drive->drive, *heir;
    if (drive->coming) /* the next look */
        return MRMR_OK;
    if (meta ? is_set_alike(&old->meta, meta) : drive->left)
        return MRMR_OK;
    const bool same = is_same(&old->meta, meta), left = !meta;
    MRMR_TRY(heir_create(old, meta, &heir));
    mrmr_err err = MRMR_OK;
    if (same)
        heir_goes_on(heir, old);
    else
        err = heir_begins(drive, heir, old);
    if (err) {
        pool_drive_destroy(heir);
        return err;
    }
    pool_drive_replace(tree->pool, (size_t)(drive - tree->drive), heir, same);
    drive->drive = heir;
    *ret_look = true;
    tree_drive_leave(drive); /* a look at the place where it was before */
    tree_catalog_forget(drive);
    if (same)
        return MRMR_OK;
    drive->left = left;
    drive->returning = drive->gone_left = drive->told_waits = false;
    drive->fails = false;
    drive->again_at = drive->again_after = 0;
    pool_views_forget(tree->pool, 0);
    place_changed(drive);
    if (heir->meta.state != META_DRIVE_RETIRED)
        mrmr_log(
            MRMR_LOG_INFO, "drive %s: it has the place of %s now", heir->meta.name, old->meta.name);
    return MRMR_OK;
}

bool tree_drives_follow(struct pool_tree *tree)
{
    struct meta_drive *metas = NULL;
    size_t n = 0;
    bool look = false;
    mrmr_err err = meta_drives(tree->pool->meta, &metas, &n);
    for (size_t i = 0; !err && i < tree->ndrives; i++)
        err = place_follow(&tree->drive[i], find(metas, n, tree->drive[i].drive->meta.id), &look);
    for (size_t i = 0; !err && i < n; i++)
        if (metas[i].id && metas[i].state != META_DRIVE_RETIRED &&
            !pool_drive_by_id(tree->pool, metas[i].id))
            err = drives_add(tree, &metas[i]);
    meta_drives_free(metas, n);
    if (err)
        mrmr_log_story(MRMR_LOG_INFO, "looking for new drives");
    return look;
}
