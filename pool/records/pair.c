/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/pair.h"
#include "pool/records/spare.h"

#include "base/durable.h"
#include "base/uuid.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_MOST = 64 << 10 };

mrmr_err pool_pair_name(const char *prefix, char ret_name[POOL_PAIR_NAME])
{
    uint64_t random;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    snprintf(ret_name, POOL_PAIR_NAME, "%s%016" PRIx64, prefix, random);
    return MRMR_OK;
}

/* "<from> <to> <inode> <inode of the copy> <its size> <its time> <its type> <the file's size> <its time> <its
 * change time> <the copy's> <the file's time of birth>"; the path; with a NUL behind each. Records of before have less. */
mrmr_err pool_pair_put(struct pool *pool, const struct pool_pair *pair, const char *name)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_fmt(&text,
        "%lld %lld %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %d %" PRIu64 " %" PRId64
        " %" PRId64 " %" PRId64 " %" PRId64,
        (long long)pair->from, (long long)pair->to, pair->file.ino, pair->copy.ino, pair->copy.size,
        pair->copy.mtime, (int)pair->copy.type, pair->file.size, pair->file.mtime, pair->file.ctime,
        pair->copy.ctime, pair->file.btime));
    MRMR_TRY(mrmr_bytes_add(&text, "", 1));
    MRMR_TRY(mrmr_bytes_add(&text, pair->path, strlen(pair->path) + 1));
    return pool_spare_record(pool->dirfd, pool->dir, name, &text);
}

static bool parse(const struct mrmr_bytes *text, struct pool_pair *ret_pair)
{
    long long from, to;
    int type = DRV_REG;
    const char *nul = text->size ? memchr(text->data, '\0', text->size) : NULL;
    *ret_pair = (struct pool_pair){.path = nul ? nul + 1 : NULL};
    if (!nul || ret_pair->path == text->data + text->size || text->data[text->size - 1] ||
        drv_path_check(ret_pair->path))
        return false;
    struct drv_stat *file = &ret_pair->file, *copy = &ret_pair->copy;
    const int n = sscanf(text->data,
        "%lld %lld %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNd64 " %d %" SCNu64 " %" SCNd64
        " %" SCNd64 " %" SCNd64 " %" SCNd64,
        &from, &to, &file->ino, &copy->ino, &copy->size, &copy->mtime, &type, &file->size,
        &file->mtime, &file->ctime, &copy->ctime, &file->btime);
    copy->type = (enum drv_type)type;
    ret_pair->knows = n >= 6 && copy->ino;
    if (n >= 2) {
        ret_pair->from = from;
        ret_pair->to = to;
    }
    return n >= 2;
}

mrmr_err pool_pair_read(
    struct pool *pool, const char *name, struct mrmr_bytes *text, struct pool_pair *ret_pair)
{
    MRMR_TRY(mrmr_durable_read(pool->dirfd, name, RECORD_MOST, text));
    return parse(text, ret_pair)
               ? MRMR_OK
               : mrmr_err_path(mrmr_fail(MRMR_FORMAT, "not the record of two copies"), name);
}
