/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_retained_world.h"

#include <stdio.h>

pthread_mutex_t retained_names = PTHREAD_MUTEX_INITIALIZER;

mrmr_err save_counted(struct rig *rig, const struct meta_node *node, struct drv_file *file,
    uint64_t from, uint64_t to)
{
    struct pool_drive *drive = pool_drive_by_id(rig->pool, node->drive);
    struct pool_retained_leaf *leaf;
    mrmr_err err = MRMR_OK;
    bool known;
    size_t n;
    rig_ok(pool_retained_counted(rig->pool, drive, NULL, node->ino, &leaf, &n, &known));
    for (size_t i = 0; !err && i < n; i++)
        if (leaf[i].leaf >= from && leaf[i].leaf < to)
            err = pool_retained_save_leaf(drive->drv, &retained_names, file, &leaf[i]);
    free(leaf);
    return err;
}

mrmr_err save(struct rig *rig, const char *path, uint64_t from, uint64_t to)
{
    struct meta_node node = rig_node(rig, path);
    struct drv_file *file = NULL;
    MRMR_TRY(
        drv_file_open(pool_drive_by_id(rig->pool, node.drive)->drv, path, DRV_OPEN_READ, 0, &file));
    mrmr_err err = save_counted(rig, &node, file, from, to);
    drv_file_close(file);
    return err;
}

/* On drive 0; the rig need not know of it. */
struct meta_node node_at(struct rig *rig, const char *path)
{
    struct meta_node node;
    rig_ok(meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, 0)->meta.root, path, &node));
    return node;
}

/* Symlinks for all leaves of the file. */
mrmr_err point(struct rig *rig, const char *path, char kept[POOL_RETAINED_PATH])
{
    struct pool_retained_leaf leaf[64];
    struct meta_node node = node_at(rig, path);
    struct meta_extent *extents;
    size_t n, leaves = 0;
    rig_ok(meta_extents_of(rig->pool->meta, node.id, &extents, &n));
    for (size_t e = 0; e < n; e++)
        for (uint64_t i = 0; i < extents[e].leaves; i++)
            leaf[leaves++] = (struct pool_retained_leaf){
                extents[e].first + i, pool_leaf_size(&extents[e], i), extents[e].digests[i]};
    free(extents);
    return pool_retained_point(rig_pool_drive(rig, 0)->drv, leaf, leaves, kept);
}

void touch_inode(struct rig *rig, const struct meta_node *node)
{
    int fd;
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, node->drive, node->ino, 0));
    close(fd);
}

/* And then the rename. */
mrmr_err delete_file(struct rig *rig, const char *path)
{
    char kept[POOL_RETAINED_PATH];
    MRMR_TRY(point(rig, path, kept));
    return drv_rename(rig_pool_drive(rig, 0)->drv, path, kept, DRV_RENAME_REPLACE);
}

struct rig *begin(enum rig_kind kind, uint64_t seed)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind, .drives = DRIVES, .seed = seed});
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_protect_all(rig);
    return rig;
}

int margin_of(struct rig *rig, const char *path)
{
    struct meta_stripe image = rig_stripe_of(rig, path, 0);
    int margin = pool_image_margin(rig->pool, &image);
    meta_stripe_free(&image);
    return margin;
}

/* A file whose block is in the stripe of f0. */
const char *beside_f0(struct rig *rig)
{
    const char *beside = NULL;
    struct meta_stripe image = rig_stripe_of(rig, "f0", 0);
    for (unsigned d = 1; d < DRIVES && !beside; d++)
        if (pool_image_block(&image, rig_pool_drive(rig, d)->meta.id))
            beside = rig->file[d].path;
    meta_stripe_free(&image);
    assert_non_null(beside);
    return beside;
}

void touch(struct rig *rig, const char *path)
{
    struct meta_node node = rig_node(rig, path);
    touch_inode(rig, &node);
}

/* As drives are on which nothing else tells of a write. Until the pool is opened anew. */
void no_ctime(struct rig *rig)
{
    for (unsigned d = 0; d < rig->n; d++)
        rig_pool_drive(rig, d)->info.caps &= ~(uint32_t)DRV_CAP_STABLE_CTIME;
}
