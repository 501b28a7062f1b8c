/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/change/tree_pair.h"
#include "pool/change/tree_change.h"
#include "pool/records/spare.h"

#include "base/durable.h"
#include "base/uuid.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_MOST = 64 << 10 };

/* "<from> <to> <inode> <inode of the copy> <its size> <its time> <its type> <the file's size> <its time> <its
 * change time> <the copy's> <the file's time of birth>"; the path; with a NUL behind each. Records of before have less. */
mrmr_err tree_pair_put(struct pool_tree *tree, const struct tree_pair *pair, const char *name)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_fmt(&text,
        "%lld %lld %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %d %" PRIu64 " %" PRId64
        " %" PRId64 " %" PRId64 " %" PRId64,
        (long long)tree->drive[pair->from].drive->meta.id,
        (long long)tree->drive[pair->to].drive->meta.id, pair->file.ino, pair->copy.ino,
        pair->copy.size, pair->copy.mtime, (int)pair->copy.type, pair->file.size, pair->file.mtime,
        pair->file.ctime, pair->copy.ctime, pair->file.btime));
    MRMR_TRY(mrmr_bytes_add(&text, "", 1));
    MRMR_TRY(mrmr_bytes_add(&text, pair->path, strlen(pair->path) + 1));
    return pool_spare_record(tree->pool->dirfd, tree->pool->dir, name, &text);
}

mrmr_err tree_pair_name(const char *prefix, char ret_name[TREE_PAIR_NAME])
{
    uint64_t random;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    snprintf(ret_name, TREE_PAIR_NAME, "%s%016" PRIx64, prefix, random);
    return MRMR_OK;
}

mrmr_err tree_pair_write(struct pool_tree *tree, const struct tree_pair *pair, const char *prefix,
    char ret_name[TREE_PAIR_NAME])
{
    MRMR_TRY(tree_pair_name(prefix, ret_name));
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

bool tree_pair_parse(const struct mrmr_bytes *text, struct tree_pair_ids *ret_ids)
{
    long long from, to;
    int type = DRV_REG;
    const char *nul = text->size ? memchr(text->data, '\0', text->size) : NULL;
    *ret_ids = (struct tree_pair_ids){.path = nul ? nul + 1 : NULL};
    if (!nul || ret_ids->path == text->data + text->size || text->data[text->size - 1] ||
        drv_path_check(ret_ids->path))
        return false;
    struct drv_stat *file = &ret_ids->file, *copy = &ret_ids->copy;
    const int n = sscanf(text->data,
        "%lld %lld %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNd64 " %d %" SCNu64 " %" SCNd64
        " %" SCNd64 " %" SCNd64 " %" SCNd64,
        &from, &to, &file->ino, &copy->ino, &copy->size, &copy->mtime, &type, &file->size,
        &file->mtime, &file->ctime, &copy->ctime, &file->btime);
    copy->type = (enum drv_type)type;
    ret_ids->knows = n >= 6 && copy->ino;
    if (n >= 2) {
        ret_ids->from = from;
        ret_ids->to = to;
    }
    return n >= 2;
}

static bool parse(const struct pool_tree *tree, const struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours)
{
    struct tree_pair_ids ids;
    if (!tree_pair_parse(text, &ids))
        return false;
    *ret_pair = (struct tree_pair){
        .path = ids.path, .knows = ids.knows, .file = ids.file, .copy = ids.copy};
    *ret_ours = drive_of(tree, ids.from, &ret_pair->from) && drive_of(tree, ids.to, &ret_pair->to);
    return true;
}

mrmr_err tree_pair_read(struct pool_tree *tree, const char *name, struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours)
{
    MRMR_TRY(mrmr_durable_read(tree->pool->dirfd, name, RECORD_MOST, text));
    return parse(tree, text, ret_pair, ret_ours)
               ? MRMR_OK
               : mrmr_err_path(mrmr_fail(MRMR_FORMAT, "not the record of two copies"), name);
}
