/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is built on the ops, the same for every backend.
 *
 * Crash argument of drv_replace: base/durable.h's. The temporary name is the path with ".new"; one
 * that was left behind is removed first.
 */
#include "drivers/driver.h"

#include "base/cleanup.h"
#include <string.h>

#define DRV_READ_CHUNK 65536

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

mrmr_err drv_file_read_exact(struct drv_file *file, uint64_t offset, void *buf, size_t size)
{
    size_t got = 0;
    MRMR_TRY(drv_file_read(file, offset, buf, size, &got));
    if (got == size)
        return MRMR_OK;
    return mrmr_err_op(
        mrmr_fail(MRMR_TRUNCATED, "the file ends %zu bytes into the %zu at offset %llu", got, size,
            (unsigned long long)offset),
        "read");
}

mrmr_err drv_read_all(struct drv *drv, const char *path, size_t most, struct mrmr_bytes *b)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    mrmr_autobytes struct mrmr_bytes all = MRMR_BYTES_INIT;
    MRMR_TRY(drv_file_open(drv, path, DRV_OPEN_READ, 0, &file));
    for (;;) {
        size_t left = most - all.size, want = left < DRV_READ_CHUNK ? left + 1 : DRV_READ_CHUNK,
               got = 0;
        MRMR_TRY(mrmr_bytes_reserve(&all, want));
        mrmr_err err = drv_file_read(file, all.size, all.data + all.size, want, &got);
        if (err)
            return mrmr_err_path(err, path);
        if (got > left)
            return mrmr_err_path(
                mrmr_fail(MRMR_SPACE, "larger than the %zu bytes it may have", most), path);
        all.size += got;
        if (got < want)
            return mrmr_bytes_add(b, all.data, all.size);
    }
}

/* MRMR_OK if a folder is there, or was just made. */
static mrmr_err mkdir_or_there(struct drv *drv, const char *path, uint32_t mode)
{
    struct drv_stat stat;
    mrmr_err err = drv_mkdir(drv, path, mode);
    if (err != MRMR_EXISTS)
        return err;
    MRMR_TRY(drv_stat(drv, path, &stat));
    if (stat.type == DRV_DIR)
        return MRMR_OK;
    return mrmr_err_op(
        mrmr_err_path(mrmr_fail(MRMR_NOT_DIR, "something else has that name"), path), "mkdir");
}

mrmr_err drv_mkdirs(struct drv *drv, const char *path, uint32_t mode)
{
    MRMR_TRY(drv_path_check(path));
    if (!*path)
        return MRMR_OK;
    mrmr_autofree char *part = strdup(path);
    if (!part)
        return mrmr_nomem();
    /* Up to the deepest folder that is there or can be made, then down again. */
    size_t size = strlen(part), at = size;
    mrmr_err err;
    while ((err = mkdir_or_there(drv, part, mode)) == MRMR_ABSENT) {
        char *slash = memrchr(part, '/', at);
        if (!slash)
            return err;
        *slash = '\0';
        at = (size_t)(slash - part);
    }
    while (!err && at < size) {
        part[at] = '/';
        at += strlen(part + at);
        err = mkdir_or_there(drv, part, mode);
    }
    return err;
}

static mrmr_err replace_write(
    struct drv *drv, const char *temp, const void *data, size_t size, uint32_t mode)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    const unsigned flags = DRV_OPEN_WRITE | DRV_OPEN_CREATE;
    mrmr_err err = drv_file_open(drv, temp, flags, mode, &file);
    if (err == MRMR_EXISTS) {
        MRMR_TRY(drv_unlink(drv, temp));
        err = drv_file_open(drv, temp, flags, mode, &file);
    }
    if (err)
        return err;
    err = drv_file_write(file, 0, data, size);
    if (!err)
        err = drv_file_sync(file);
    if (!err)
        return MRMR_OK;
    struct mrmr_story story;
    mrmr_story_save(&story);
    drv_unlink(drv, temp);
    return mrmr_err_path(mrmr_story_restore(&story), temp);
}

mrmr_err drv_replace(
    struct drv *drv, const char *path, const void *data, size_t size, uint32_t mode)
{
    mrmr_autobytes struct mrmr_bytes temp = MRMR_BYTES_INIT;
    MRMR_TRY(drv_path_check(path));
    MRMR_TRY(mrmr_bytes_fmt(&temp, "%s.new", path));
    MRMR_TRY(replace_write(drv, temp.data, data, size, mode));
    mrmr_err err = drv_rename(drv, temp.data, path, DRV_RENAME_REPLACE);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, temp.data);
        return mrmr_story_restore(&story);
    }
    const char *slash = strrchr(path, '/');
    temp.data[slash ? slash - path : 0] = '\0';
    return drv_dir_sync(drv, temp.data);
}
