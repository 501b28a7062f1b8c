/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading a file of the pool, leaf by leaf: from its original while that is there, else
 * reconstructed. What is reconstructed is always verified; a plain read of a present drive is
 * verified on request.
 *
 * A generation may be dropped between looking a leaf up and reading it; the read then looks it up
 * again (I7).
 */
#include "pool/records/gone.h"
#include "pool/records/moved.h"
#include "pool/records/names.h"
#include "pool/stripe/leaf_cache.h"

#include <string.h>

enum { READ_TRIES = 3 };

MRMR_DEFINE_AUTO(struct pool_gone, pool_gone_close);

struct pool_file {
    struct pool *pool;
    unsigned flags;
    struct meta_node node;
    struct pool_drive *drive;
    struct drv_file *original; /* NULL if it cannot be opened */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    uint8_t *buf; /* the last leaf that was made */
    uint64_t leaf;
    size_t size; /* 0: none */
};

static mrmr_err file_find_on(struct pool *pool, const struct pool_drive *drive,
    struct pool_gone *gone, const char *path, struct meta_node *ret_node)
{
    struct pool_names *names;
    MRMR_TRY(pool_names_create(pool, &drive->meta, gone, &names));
    mrmr_err err = pool_names_lookup(names, path, ret_node);
    pool_names_destroy(names);
    return err;
}

/* The newest copy of what is at a path now, over all drives. */
static mrmr_err file_find(struct pool *pool, const char *path, struct meta_node *ret_node)
{
    MRMR_AUTO(pool_gone_close) struct pool_gone *gone = NULL;
    struct meta_node best = {0}, node;
    MRMR_TRY(pool_gone_open(pool->dirfd, false, &gone));
    for (size_t i = 0; i < pool->ndrives; i++) {
        mrmr_err err = file_find_on(pool, pool->drives[i], gone, path, &node);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
            continue;
        MRMR_TRY(err);
        if (node.type == META_REG && (!best.id || meta_node_newer(&node, &best)))
            best = node;
    }
    if (!best.id)
        return mrmr_err_path(mrmr_fail(MRMR_ABSENT, "the pool has no such file"), path);
    *ret_node = best;
    return MRMR_OK;
}

static void file_open_original(struct pool_file *file)
{
    struct drv_stat stat;
    file->drive = pool_drive_by_id(file->pool, file->node.drive);
    if ((file->flags & POOL_READ_DECODE) || !pool_drive_readable(file->drive) ||
        pool_node_open(file->pool, file->node.id, &file->original))
        return;
    /* What was renamed there may have the same size and time. */
    if (!(file->drive->info.caps & DRV_CAP_STABLE_INO) && pool_moved_any(file->pool))
        file->flags |= POOL_READ_VERIFY;
    /* Another content than the catalog's: what is protected is the older one, and that is what is
     * read. */
    if (drv_file_stat(file->original, &stat) || stat.size != file->node.size ||
        stat.mtime != file->node.mtime) {
        drv_file_close(file->original);
        file->original = NULL;
    }
}

mrmr_err pool_file_open(
    struct pool *pool, const char *path, unsigned flags, struct pool_file **ret_file)
{
    struct meta_node node;
    MRMR_TRY(file_find(pool, path, &node));
    return pool_file_open_node(pool, &node, flags, ret_file);
}

mrmr_err pool_file_open_node(
    struct pool *pool, const struct meta_node *node, unsigned flags, struct pool_file **ret_file)
{
    struct pool_file *file = calloc(1, sizeof *file);
    if (!file || !(file->buf = malloc(META_LEAF))) {
        free(file);
        return mrmr_nomem();
    }
    file->pool = pool;
    file->flags = flags;
    file->node = *node;
    pthread_mutex_init(&file->lock, NULL);
    file_open_original(file);
    *ret_file = file;
    return MRMR_OK;
}

uint64_t pool_file_size(const struct pool_file *file)
{
    return file->node.size;
}

void pool_file_close(struct pool_file *file)
{
    if (!file)
        return;
    drv_file_close(file->original);
    pthread_mutex_destroy(&file->lock);
    free(file->buf);
    free(file);
}

static mrmr_err file_is_exposed(struct pool_file *file, uint64_t leaf, bool *ret_exposed)
{
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n;
    MRMR_TRY(meta_exposed_of(file->pool->meta, file->node.id, &ranges, &n));
    *ret_exposed = false;
    for (size_t i = 0; i < n; i++)
        if (leaf >= ranges[i].first && leaf < ranges[i].first + ranges[i].leaves)
            *ret_exposed = true;
    return MRMR_OK;
}

static size_t file_leaf_size(const struct pool_file *file, uint64_t leaf)
{
    uint64_t rest = file->node.size - leaf * META_LEAF;
    return rest < META_LEAF ? rest : META_LEAF;
}

/* A leaf that should be as it was, but could not be compared yet: what its stripe holds. A leaf
 * that no such extent covers is a hole. */
static mrmr_err file_leaf_suspect(struct pool_file *file, uint64_t leaf, uint8_t *buf)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    MRMR_TRY(meta_extents_of(file->pool->meta, file->node.id, &extents, &n));
    for (size_t i = 0; i < n; i++)
        if (extents[i].state == META_SUSPECT && leaf >= extents[i].first &&
            leaf - extents[i].first < extents[i].leaves)
            return pool_extent_leaf_read(
                file->pool, &extents[i], leaf - extents[i].first, POOL_LEAF_ANY, buf, NULL);
    memset(buf, 0, file_leaf_size(file, leaf));
    return MRMR_OK;
}

/* A leaf that no stripe covers for sure: exposed, not compared yet, or a hole. */
static mrmr_err file_leaf_uncovered(struct pool_file *file, uint64_t leaf, uint8_t *buf)
{
    size_t size = file_leaf_size(file, leaf), got;
    bool exposed;
    MRMR_TRY(file_is_exposed(file, leaf, &exposed));
    if (!exposed) {
        /* As it is in the catalog now: a scan may have been there since it was opened. */
        struct meta_node now;
        MRMR_TRY(meta_node_get(file->pool->meta, file->node.id, &now));
        if (now.recheck && (file->flags & POOL_READ_IN_PLACE))
            return mrmr_fail(MRMR_OFFLINE, "it was not compared with what was protected yet");
        if (now.recheck)
            return file_leaf_suspect(file, leaf, buf);
        /* A hole; unless it was protected between the two looks. */
        mrmr_autofree struct meta_extent *extent = NULL;
        mrmr_err covered = meta_extent_at(file->pool->meta, file->node.id, leaf, &extent);
        if (!covered)
            return mrmr_fail(MRMR_CHANGED, "it was protected just now");
        if (mrmr_class_of(covered) != MRMR_CLASS_ABSENT)
            return covered;
        memset(buf, 0, size);
        return MRMR_OK;
    }
    mrmr_err err = file->original
                       ? drv_file_read_exact(file->original, leaf * META_LEAF, buf, size)
                       : mrmr_fail(MRMR_OFFLINE, "this part of it was not protected yet, and its "
                                                 "drive cannot be read");
    if (err && !pool_leaf_stand_in(file->pool, &file->node, leaf, buf, &got) && got == size)
        return MRMR_OK;
    return err;
}

static mrmr_err file_leaf_once(struct pool_file *file, uint64_t leaf, uint8_t *buf)
{
    mrmr_autofree struct meta_extent *extent = NULL;
    mrmr_err err = meta_extent_at(file->pool->meta, file->node.id, leaf, &extent);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return file_leaf_uncovered(file, leaf, buf);
    MRMR_TRY(err);
    if (extent->state == META_MISSING && (file->flags & POOL_READ_IN_PLACE))
        return mrmr_fail(MRMR_OFFLINE, "what its drive has of it is not what was protected");
    if (extent->state == META_MISSING && extent->version != file->node.version) {
        /* It was edited, and its drive went before the edit was compared: this is the older version,
         * which is not to pass for the newer one. */
        bool exposed;
        MRMR_TRY(file_is_exposed(file, leaf, &exposed));
        if (exposed)
            return file_leaf_uncovered(file, leaf, buf);
    }
    enum pool_leaf_how how = file->flags & POOL_READ_DECODE ? POOL_LEAF_DECODE : POOL_LEAF_ANY;
    return pool_extent_leaf_read(file->pool, extent, leaf - extent->first, how, buf, NULL);
}

static mrmr_err file_leaf(struct pool_file *file, uint64_t leaf, uint8_t *buf)
{
    mrmr_err err = MRMR_OK;
    for (unsigned i = 0; i < READ_TRIES; i++) {
        err = file_leaf_once(file, leaf, buf);
        if (err != MRMR_CHANGED && err != MRMR_NO_STRIPE && err != MRMR_LOST)
            break;
    }
    return err;
}

mrmr_err pool_file_leaf(struct pool_file *file, uint64_t leaf, void *buf)
{
    return file_leaf(file, leaf, buf);
}

const struct meta_node *pool_file_node(const struct pool_file *file)
{
    return &file->node;
}

/* Part of a leaf that has to be made whole first; the last one is remembered for the next small
 * read. */
static mrmr_err file_read_made(
    struct pool_file *file, uint64_t leaf, size_t from, uint8_t *buf, size_t size)
{
    mrmr_locked(&file->lock);
    if (!file->size || file->leaf != leaf) {
        file->size = 0;
        MRMR_TRY(file_leaf(file, leaf, file->buf));
        file->leaf = leaf;
        file->size = file_leaf_size(file, leaf);
    }
    memcpy(buf, file->buf + from, size);
    return MRMR_OK;
}

mrmr_err pool_file_read(
    struct pool_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    size_t done = 0;
    if (offset >= file->node.size)
        size = 0;
    else if (size > file->node.size - offset)
        size = file->node.size - offset;
    while (done < size) {
        uint64_t at = offset + done, leaf = at / META_LEAF;
        size_t from = at % META_LEAF, part = META_LEAF - from;
        if (part > size - done)
            part = size - done;
        mrmr_err err = MRMR_ABSENT;
        if (file->original && !(file->flags & POOL_READ_VERIFY))
            err = drv_file_read_exact(file->original, at, (uint8_t *)buf + done, part);
        if (err)
            err = file_read_made(file, leaf, from, (uint8_t *)buf + done, part);
        if (err)
            return err;
        done += part;
    }
    *ret_got = done;
    return MRMR_OK;
}
