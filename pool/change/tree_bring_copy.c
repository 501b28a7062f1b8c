/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The bytes and the attributes of a file that is brought to another drive, in a temporary file there, which is synced: (1) of
 * tree_bring.c's crash argument.
 */
#include "pool/change/tree_bring.h"
#include "pool/change/tree_change.h"
#include "pool/tree/tree_file.h"

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

/* Whoever changes a name of it has its folder to himself, which may not be for as long as a copy takes. */
static mrmr_err give_way(struct bringing *b)
{
    mrmr_locked(&b->tree->lock);
    b->gave_way = !b->stays && b->node->names_wait > 0;
    return b->gave_way ? mrmr_fail(MRMR_BUSY, "its name is changed") : MRMR_OK;
}

mrmr_err tree_bring_to_said(struct bringing *b, mrmr_err err)
{
    b->to_failed = b->to_failed || err;
    return mrmr_err_drive(err, b->tree->drive[b->to].drive->meta.name);
}

static mrmr_err copy_part(struct bringing *b, struct pool_tree_file *from, struct drv_file *to,
    uint64_t offset, uint64_t end, uint8_t *buf)
{
    while (offset < end) {
        size_t got, size = end - offset < META_LEAF ? (size_t)(end - offset) : META_LEAF;
        MRMR_TRY(give_way(b));
        mrmr_err err = b->live ? pool_tree_file_read(from, offset, buf, size, &got)
                               : tree_file_read_known(from, offset, buf, size, &got);
        MRMR_TRY(mrmr_err_drive(err, b->tree->drive[b->from].drive->meta.name));
        if (!got)
            return MRMR_OK;
        MRMR_TRY(tree_bring_to_said(b, drv_file_write(to, offset, buf, got)));
        offset += got;
    }
    return MRMR_OK;
}

/* Where the drive answers holes stay holes. Of one that is away it is the catalog's content that comes, all of it,
 * even if the drive is there for a moment, and what it has is another one by then. */
static mrmr_err copy_bytes(struct bringing *b, struct pool_tree_file *from, struct drv_file *to)
{
    const uint64_t size = b->stat.size;
    mrmr_autofree uint8_t *buf = malloc(META_LEAF);
    uint64_t start = 0, end;
    if (!buf)
        return mrmr_nomem();
    if (!b->live)
        MRMR_TRY(copy_part(b, from, to, 0, size, buf));
    while (b->live && start < size) {
        mrmr_err err = pool_tree_file_seek(from, start, false, &start);
        if (err == MRMR_ABSENT)
            break;
        MRMR_TRY(err);
        MRMR_TRY(pool_tree_file_seek(from, start, true, &end));
        MRMR_TRY(copy_part(b, from, to, start, end, buf));
        start = end;
    }
    MRMR_TRY(tree_bring_to_said(b, drv_file_truncate(to, size)));
    return tree_bring_to_said(b, drv_file_sync(to));
}

mrmr_err tree_bring_path_now(struct bringing *b)
{
    mrmr_autobytes struct mrmr_bytes folder = MRMR_BYTES_INIT;
    MRMR_TRY(tree_path(b->tree, b->folder, &folder));
    mrmr_bytes_clear(&b->path);
    return tree_join(folder.data ? folder.data : "", b->name, &b->path);
}

static mrmr_err copy_attrs(struct bringing *b)
{
    struct tree_drive *to = &b->tree->drive[b->to];
    tree_paths_held(b->tree, b->node, b->folder);
    MRMR_TRY(tree_bring_path_now(b));
    struct drv *from = b->tree->drive[b->from].drive->drv;
    return tree_bring_to_said(
        b, b->live ? pool_copy_attrs_of(from, b->path.data, to->drive->drv, b->temp)
                   : pool_copy_attrs(b->tree->pool, &b->known, to->drive, b->temp));
}

mrmr_err tree_bring_copy(struct bringing *b)
{
    MRMR_AUTO(drv_file_close) struct drv_file *to = NULL;
    struct drv *drv = b->tree->drive[b->to].drive->drv;
    struct pool_tree_file *from;
    bool same;
    MRMR_TRY(pool_tree_file_open(b->tree, b->node->number, false, &from, &same));
    mrmr_err err = tree_bring_to_said(b, drv_mkdirs(drv, TREE_BRING_FOLDER, 0700));
    if (!err)
        err = tree_bring_to_said(
            b, drv_file_open(drv, b->temp, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &to));
    if (!err)
        err = copy_bytes(b, from, to);
    pool_tree_file_close(from);
    if (!err)
        err = copy_attrs(b);
    return err ? err : tree_bring_to_said(b, drv_file_sync(to)); /* its attributes, too */
}
