/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file again, attributes and all, from verified bytes: whole; or, where the caller can do with that, without what nothing gives.
 *
 * Crash argument. A copy is made under a name of ours, in .mrmr/work or in the quarantine, where
 * nobody looks for a file: cut anywhere, it is a leftover, cleared away when the pool is next opened.
 * Giving it its place, and syncing it before that, is the caller's (restore.c, repair.c).
 */
#include "pool/engine.h"
#include "pool/stripe/buffers.h"

#include <stdio.h>
#include <string.h>

struct work_clear {
    struct pool *pool;
    struct pool_drive *drive;
};

static mrmr_err work_clear_entry(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    const struct work_clear *clear = arg;
    char path[sizeof POOL_WORK + META_NAME_MAX + 2];
    if (err || !stat || stat->type == DRV_DIR)
        return MRMR_OK;
    MRMR_TRY(pool_drive_attach(clear->pool, clear->drive));
    snprintf(path, sizeof path, POOL_WORK "/%s", name);
    return drv_unlink(clear->drive->drv, path);
}

mrmr_err pool_work_clear(struct pool *pool, struct pool_drive *drive)
{
    struct work_clear clear = {pool, drive};
    mrmr_err err = drv_list(drive->drv, POOL_WORK, work_clear_entry, &clear);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    return mrmr_err_drive(err, drive->meta.name);
}

mrmr_err pool_work_begin(struct pool *pool, struct pool_drive *drive)
{
    MRMR_TRY(pool_work_clear(pool, drive));
    MRMR_TRY(pool_drive_attach(pool, drive));
    return mrmr_err_drive(drv_mkdirs(drive->drv, POOL_WORK, 0700), drive->meta.name);
}

/* --- What is missing --- */

void pool_missing_free(struct pool_missing *missing)
{
    free(missing->run);
    *missing = (struct pool_missing){0};
}

static mrmr_err missing_add(struct pool_missing *missing, uint64_t leaf, bool older)
{
    struct pool_missing_run *last = missing->n ? &missing->run[missing->n - 1] : NULL;
    if (last && last->older == older && last->first + last->leaves == leaf) {
        last->leaves++;
        return MRMR_OK;
    }
    if (missing->n == missing->room) {
        size_t room = missing->room ? 2 * missing->room : 16;
        struct pool_missing_run *grown = realloc(missing->run, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        missing->run = grown;
        missing->room = room;
    }
    missing->run[missing->n++] = (struct pool_missing_run){leaf, 1, older};
    return MRMR_OK;
}

static int missing_by_first(const void *a, const void *b)
{
    const struct pool_missing_run *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* A leaf that could not be decoded may be exposed, too. */
static void missing_order(struct pool_missing *missing)
{
    size_t n = 0;
    if (missing->n)
        qsort(missing->run, missing->n, sizeof *missing->run, missing_by_first);
    for (size_t i = 0; i < missing->n; i++) {
        const struct pool_missing_run run = missing->run[i];
        struct pool_missing_run *last = n ? &missing->run[n - 1] : NULL;
        if (!last || last->older != run.older || run.first > last->first + last->leaves)
            missing->run[n++] = run;
        else if (run.first + run.leaves > last->first + last->leaves)
            last->leaves = run.first + run.leaves - last->first;
    }
    missing->n = n;
}

static int missing_with(const void *key, const void *element)
{
    const uint64_t leaf = *(const uint64_t *)key;
    const struct pool_missing_run *run = element;
    return leaf < run->first ? -1 : leaf >= run->first + run->leaves;
}

const struct pool_missing_run *pool_missing_at(const struct pool_missing *missing, uint64_t leaf)
{
    return missing->n ? bsearch(&leaf, missing->run, missing->n, sizeof *missing->run, missing_with)
                      : NULL;
}

/* --- Content --- */

struct copy {
    struct pool *pool;
    const struct pool_job *job;
    const struct meta_node *node;
    struct pool_drive *drive;
    struct drv_file *to;
    struct drv_file *from; /* the original, opened when an exposed leaf wants it */
    uint8_t *buf;
    struct pool_missing *missing; /* or NULL: all of it, or nothing */
    size_t undecoded;             /* the runs of it that no extent gave; in order */
    const struct meta_extent *extents;
    size_t nextents;
};

/* The leaf is in buf, or err says why not. */
static mrmr_err copy_leaf(struct copy *copy, uint64_t leaf, size_t size, mrmr_err err)
{
    if (err == MRMR_LOST && copy->missing)
        return missing_add(copy->missing, leaf, false);
    MRMR_TRY(err);
    if (copy->missing)
        copy->missing->got++;
    return mrmr_err_drive(
        drv_file_write(copy->to, leaf * META_LEAF, copy->buf, size), copy->drive->meta.name);
}

/* Extents of the current version, one stripe's view after the other. */
static mrmr_err copy_extent(struct copy *copy, const struct meta_extent *of_node)
{
    struct pool_view *view = NULL;
    MRMR_TRY(pool_view_get(copy->pool, of_node->stripe, &view));
    const struct meta_stripe *image = pool_view_image(view);
    const struct meta_extent *extent = NULL;
    for (size_t i = 0; i < image->extents && !extent; i++)
        if (image->extent[i].id == of_node->id)
            extent = &image->extent[i];
    mrmr_err err = extent ? MRMR_OK : mrmr_fail(MRMR_CHANGED, "its stripe changed meanwhile");
    for (uint64_t i = 0; !err && i < extent->leaves; i++) {
        err = pool_job_poll(copy->job);
        if (err)
            break;
        err = pool_leaf_read(copy->pool, view, extent, i, POOL_LEAF_ANY, copy->buf, NULL);
        if (err == MRMR_LOST && copy->missing)
            copy->missing->undecoded = true;
        err = copy_leaf(copy, extent->first + i, pool_leaf_size(extent, i), err);
    }
    pool_view_put(copy->pool, view);
    return err;
}

static mrmr_err copy_open_original(struct copy *copy)
{
    struct pool_drive *drive = pool_drive_by_id(copy->pool, copy->node->drive);
    if (copy->from)
        return MRMR_OK;
    if (!pool_drive_readable(drive))
        return mrmr_fail(MRMR_LOST, "it was not protected when its drive went away");
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    MRMR_TRY(meta_path(copy->pool->meta, copy->node->id, &path));
    struct drv_stat stat;
    MRMR_TRY(drv_file_open(drive->drv, path.data, DRV_OPEN_READ, 0, &copy->from));
    MRMR_TRY(drv_file_stat(copy->from, &stat));
    if (pool_stat_same(&drive->info, copy->node, &stat) != POOL_SAME)
        return mrmr_fail(MRMR_CHANGED, NULL);
    return MRMR_OK;
}

/* An exposed leaf: from the original, or from what stands in for it. */
static mrmr_err copy_exposed_leaf(struct copy *copy, uint64_t leaf, size_t size)
{
    mrmr_err err = copy_open_original(copy);
    if (!err)
        err = drv_file_read_exact(copy->from, leaf * META_LEAF, copy->buf, size);
    if (!err)
        return MRMR_OK;
    struct mrmr_story story;
    size_t got = 0;
    mrmr_story_save(&story);
    mrmr_err other = pool_leaf_stand_in(copy->pool, copy->node, leaf, copy->buf, &got);
    if (!other && got == size)
        return MRMR_OK;
    if (copy->missing && other && other != MRMR_ABSENT && other != MRMR_LOST)
        return other;
    if (copy->missing && other == MRMR_LOST)
        copy->missing->undecoded = true;
    mrmr_story_restore(&story);
    /* Of a drive that is given up nothing is waited for: it is not there, or is another medium. */
    return copy->missing && mrmr_class_of(err) == MRMR_CLASS_ABSENT
               ? mrmr_fail(MRMR_LOST, "it was not protected when its drive went away")
               : err;
}

/* In the copy already: what was protected of it, before a scan found it written to; that was not compared yet. */
static bool copy_has_older(const struct copy *copy, uint64_t leaf)
{
    bool has = false;
    for (size_t i = 0; i < copy->nextents && !has; i++)
        has = pool_extent_wanted(&copy->extents[i]) && leaf >= copy->extents[i].first &&
              leaf - copy->extents[i].first < copy->extents[i].leaves;
    const struct pool_missing undecoded = {.run = copy->missing->run, .n = copy->undecoded};
    return has && !pool_missing_at(&undecoded, leaf);
}

static mrmr_err copy_exposed(struct copy *copy, const struct meta_exposed *range)
{
    for (uint64_t i = 0; i < range->leaves; i++) {
        uint64_t rest = range->bytes - i * META_LEAF, leaf = range->first + i;
        size_t size = rest < META_LEAF ? rest : META_LEAF;
        MRMR_TRY(pool_job_poll(copy->job));
        mrmr_err err = copy_exposed_leaf(copy, leaf, size);
        if (err == MRMR_LOST && copy->missing && copy_has_older(copy, leaf))
            MRMR_TRY(missing_add(copy->missing, leaf, true));
        else
            MRMR_TRY(copy_leaf(copy, leaf, size, err));
    }
    return MRMR_OK;
}

/* What is neither in an extent nor exposed is a hole. */
static mrmr_err copy_content(struct copy *copy)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t nextents, nranges;
    struct meta *meta = copy->pool->meta;
    MRMR_TRY(meta_extents_of(meta, copy->node->id, &extents, &nextents));
    MRMR_TRY(meta_exposed_of(meta, copy->node->id, &ranges, &nranges));
    for (size_t i = 0; i < nextents; i++)
        if (pool_extent_wanted(&extents[i]))
            MRMR_TRY(copy_extent(copy, &extents[i]));
    if (copy->missing)
        missing_order(copy->missing);
    copy->undecoded = copy->missing ? copy->missing->n : 0;
    copy->extents = extents;
    copy->nextents = nextents;
    for (size_t i = 0; i < nranges; i++)
        MRMR_TRY(copy_exposed(copy, &ranges[i]));
    if (copy->missing)
        missing_order(copy->missing);
    return mrmr_err_drive(drv_file_truncate(copy->to, copy->node->size), copy->drive->meta.name);
}

/* *ret_made: the name is ours from here on, to be taken back if the rest fails. */
static mrmr_err copy_file(struct pool *pool, const struct pool_job *job,
    const struct meta_node *node, struct pool_drive *drive, const char *path,
    struct pool_missing *missing, bool *ret_made)
{
    struct copy copy = {.pool = pool, .job = job, .node = node, .drive = drive, .missing = missing};
    copy.buf = pool_buffers_get(pool->buffers, META_LEAF);
    mrmr_err err = copy.buf ? MRMR_OK : mrmr_nomem();
    if (!err)
        err = mrmr_err_drive(drv_file_open(drive->drv, path,
                                 DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &copy.to),
            drive->meta.name);
    *ret_made = copy.to != NULL;
    if (!err)
        err = copy_content(&copy);
    drv_file_close(copy.to);
    drv_file_close(copy.from);
    pool_buffers_put(pool->buffers, copy.buf, META_LEAF);
    return err;
}

/* --- Attributes and kinds: as another drive has them, or the catalog --- */

struct likening {
    struct drv *to;
    const char *path;
};

static mrmr_err copy_xattr(const char *name, const void *value, size_t size, void *arg)
{
    const struct likening *likening = arg;
    mrmr_err err = drv_xattr_set(likening->to, likening->path, name, value, size);
    enum mrmr_class class = mrmr_class_of(err);
    /* What the drive or this user cannot have is not had; but without an ACL others would have more
     * rights than with it. */
    if (err == MRMR_UNSUPPORTED && strcmp(name, "system.posix_acl_access") == 0)
        return err;
    return class == MRMR_CLASS_UNSUPPORTED || class == MRMR_CLASS_DENIED ? MRMR_OK : err;
}

mrmr_err pool_copy_attrs_of(
    struct drv *from, const char *from_path, struct drv *to, const char *to_path)
{
    struct likening likening = {to, to_path};
    struct drv_stat stat;
    MRMR_TRY(drv_stat(from, from_path, &stat));
    mrmr_err err = drv_set_attr(to, to_path, DRV_ATTR_OWNER, &stat);
    /* Of a user who is not root the owner stays. */
    if (err && mrmr_class_of(err) != MRMR_CLASS_DENIED &&
        mrmr_class_of(err) != MRMR_CLASS_UNSUPPORTED)
        return err;
    err = drv_xattr_list(from, from_path, copy_xattr, &likening);
    if (err && err != MRMR_UNSUPPORTED)
        return err;
    return drv_set_attr(
        to, to_path, DRV_ATTR_MODE | DRV_ATTR_MTIME | (stat.atime ? DRV_ATTR_ATIME : 0), &stat);
}

mrmr_err pool_copy_attrs_and(const struct meta_node *node, const struct mrmr_bytes *attrs,
    struct pool_drive *drive, const char *path)
{
    struct drv_stat stat = {
        .mode = node->mode, .uid = node->uid, .gid = node->gid, .mtime = node->mtime};
    mrmr_err err = drv_set_attr(drive->drv, path, DRV_ATTR_OWNER, &stat);
    /* An ordinary user cannot give files away: they stay that user's. */
    if (err && mrmr_class_of(err) != MRMR_CLASS_DENIED &&
        mrmr_class_of(err) != MRMR_CLASS_UNSUPPORTED)
        return mrmr_err_drive(err, drive->meta.name);
    MRMR_TRY(
        mrmr_err_drive(drv_set_attr(drive->drv, path, DRV_ATTR_MODE, &stat), drive->meta.name));
    if (attrs->size)
        MRMR_TRY(mrmr_err_drive(
            pool_attrs_write(drive->drv, path, attrs->data, attrs->size), drive->meta.name));
    return mrmr_err_drive(drv_set_attr(drive->drv, path, DRV_ATTR_MTIME, &stat), drive->meta.name);
}

mrmr_err pool_copy_attrs(
    struct pool *pool, const struct meta_node *node, struct pool_drive *drive, const char *path)
{
    mrmr_autobytes struct mrmr_bytes attrs = MRMR_BYTES_INIT;
    MRMR_TRY(meta_attr_get(pool->meta, node->id, &attrs));
    return pool_copy_attrs_and(node, &attrs, drive, path);
}

static mrmr_err copy_other(
    struct pool *pool, const struct meta_node *node, struct pool_drive *drive, const char *path)
{
    if (node->type != META_SYMLINK)
        return drv_mknod(drive->drv, path, (enum drv_type)node->type, node->mode, node->rdev);
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    MRMR_TRY(meta_target_get(pool->meta, node->id, &target));
    return drv_symlink(drive->drv, target.data ? target.data : "", path);
}

mrmr_err pool_copy_make(struct pool *pool, const struct pool_job *job, const struct meta_node *node,
    struct pool_drive *drive, const char *path, struct pool_missing *missing)
{
    if (node->type == META_DIR)
        return mrmr_fail(MRMR_INTERNAL, "a folder is not copied");
    mrmr_err err;
    bool made = false;
    if (node->type == META_REG) {
        err = copy_file(pool, job, node, drive, path, missing, &made);
    } else {
        err = mrmr_err_drive(copy_other(pool, node, drive, path), drive->meta.name);
        made = !err;
    }
    if (!err)
        err = pool_copy_attrs(pool, node, drive, path);
    if (err && made) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drive->drv, path);
        mrmr_story_restore(&story);
    }
    return err;
}
