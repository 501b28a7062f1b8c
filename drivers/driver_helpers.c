/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is built on the ops, the same for every backend.
 *
 * Crash argument of drv_replace: base/durable.h's. The temporary name is the path with ".new"; one
 * that was left behind is removed first.
 */
#include "drivers/driver.h"

#include "base/cleanup.h"
#include "drivers/act.h"
#include <string.h>

#define DRV_READ_CHUNK 65536

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

/* --- names, with the file opened --- */

/* As the process itself; without an answer the type is another. */
static void folder_look(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    const char *slash = strrchr(path, '/');
    mrmr_autofree char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
    struct drv_act *as = drv_act_share(drv_act_own());
    struct mrmr_story story;
    mrmr_story_save(&story);
    drv_act_set(NULL);
    if (!folder || drv_stat(drv, folder, ret_stat) || ret_stat->type != DRV_DIR)
        *ret_stat = (struct drv_stat){.type = DRV_REG};
    drv_act_set(as);
    drv_act_put(as);
    mrmr_story_restore(&story);
}

mrmr_err drv_file_make(
    struct drv *drv, const char *path, uint32_t mode, struct drv_named *ret_named)
{
    struct drv_named named = {.flags = DRV_OPEN_READ | DRV_OPEN_WRITE};
    if (drv->ops->file_make)
        return drv->ops->file_make(drv, path, mode, ret_named);
    MRMR_TRY(drv_file_open_stat(
        drv, path, named.flags | DRV_OPEN_CREATE, mode, &named.file, &named.stat));
    folder_look(drv, path, &named.folder);
    *ret_named = named;
    return MRMR_OK;
}

/* For reading and writing, or else for reading. As the process itself. */
static mrmr_err take_open(struct drv *drv, const char *path, struct drv_named *ret_named)
{
    struct drv_act *as = drv_act_share(drv_act_own());
    drv_act_set(NULL);
    ret_named->flags = DRV_OPEN_READ | DRV_OPEN_WRITE;
    mrmr_err err =
        drv_file_open_stat(drv, path, ret_named->flags, 0, &ret_named->file, &ret_named->stat);
    if (err && mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE) {
        ret_named->flags = DRV_OPEN_READ;
        err =
            drv_file_open_stat(drv, path, ret_named->flags, 0, &ret_named->file, &ret_named->stat);
    }
    drv_act_set(as);
    drv_act_put(as);
    if (err && mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE)
        return mrmr_fail(MRMR_CHANGED, "it cannot be opened");
    return err;
}

mrmr_err drv_file_take(struct drv *drv, const char *path, uint64_t ino, struct drv_named *ret_named)
{
    struct drv_named named;
    if (drv->ops->file_take)
        return drv->ops->file_take(drv, path, ino, ret_named);
    MRMR_TRY(take_open(drv, path, &named));
    mrmr_err err = named.stat.ino == ino && named.stat.nlink == 1
                       ? drv_unlink(drv, path)
                       : mrmr_fail(MRMR_CHANGED, "it is another file, or has more names");
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_file_close(named.file);
        return mrmr_story_restore(&story);
    }
    folder_look(drv, path, &named.folder);
    *ret_named = named;
    return MRMR_OK;
}

/* --- attributes --- */

mrmr_err drv_set_attr_of(struct drv *drv, const char *path, const struct drv_stat *of,
    unsigned what, const struct drv_stat *attr, struct drv_stat *ret_stat)
{
    struct drv_stat stat;
    if (drv->ops->set_attr_of)
        return drv->ops->set_attr_of(drv, path, of, what, attr, ret_stat);
    MRMR_TRY(drv_stat(drv, path, &stat));
    if (stat.type != of->type || stat.ino != of->ino)
        return mrmr_fail(MRMR_CHANGED, "something else has this name");
    MRMR_TRY(drv_set_attr(drv, path, what, attr));
    return drv_stat(drv, path, ret_stat);
}

/* --- bytes --- */

mrmr_err drv_file_read_sure(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct drv_stat stat;
    if (file->drv->ops->file_read_sure)
        return file->drv->ops->file_read_sure(file, offset, buf, size, ret_got);
    MRMR_TRY(drv_file_read(file, offset, buf, size, ret_got));
    if (*ret_got == size)
        return MRMR_OK;
    MRMR_TRY(drv_file_stat(file, &stat));
    return stat.size <= offset + *ret_got
               ? MRMR_OK
               : mrmr_fail(MRMR_TRUNCATED, "the drive gave less than there is");
}

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
