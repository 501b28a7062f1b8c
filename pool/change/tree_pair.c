/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/change/tree_pair.h"
#include "pool/change/tree_change.h"

mrmr_err tree_pair_put(struct pool_tree *tree, const struct tree_pair *pair, const char *name)
{
    const struct pool_pair record = {.from = tree->drive[pair->from].drive->meta.id,
        .to = tree->drive[pair->to].drive->meta.id,
        .path = pair->path,
        .file = pair->file,
        .copy = pair->copy};
    return pool_pair_put(tree->pool, &record, name);
}

mrmr_err tree_pair_write(struct pool_tree *tree, const struct tree_pair *pair, const char *prefix,
    char ret_name[POOL_PAIR_NAME])
{
    MRMR_TRY(pool_pair_name(prefix, ret_name));
    return tree_pair_put(tree, pair, ret_name);
}

bool tree_pair_touched(const struct pool_tree *tree, size_t drive, const struct drv_stat *recorded,
    const struct drv_stat *now)
{
    return recorded->ctime && tree->drive[drive].drive->info.caps & DRV_CAP_STABLE_CTIME &&
           now->ctime != recorded->ctime;
}

static bool drive_of(const struct pool_tree *tree, long long id, size_t *ret_drive)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree->drive[i].drive->meta.id == id) {
            *ret_drive = i;
            return true;
        }
    return false;
}

mrmr_err tree_pair_read(struct pool_tree *tree, const char *name, struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours)
{
    struct pool_pair record;
    MRMR_TRY(pool_pair_read(tree->pool, name, text, &record));
    *ret_pair = (struct tree_pair){
        .path = record.path, .knows = record.knows, .file = record.file, .copy = record.copy};
    *ret_ours =
        drive_of(tree, record.from, &ret_pair->from) && drive_of(tree, record.to, &ret_pair->to);
    return MRMR_OK;
}
